/*
 * nlt_test_help.h - help from threads that begin at once.
 *
 *     nlt_test_help_t h;
 *     nlt_test_help_init(&h, 3);     three at most
 *     ... &h.help ...
 *     nlt_test_help_done(&h);        all have ended
 */
#ifndef NLT_TEST_HELP_H
#define NLT_TEST_HELP_H

#include <pthread.h>
#include <stdlib.h>

#include "nlt_help.h"

typedef struct {
    nlt_help_t help;
    pthread_mutex_t lock;
    pthread_t thread[4096];
    size_t n;      /* threads so far */
    unsigned busy; /* that have not ended */
} nlt_test_help_t;

/* Is this one of the threads that help? */
static _Thread_local bool nlt_test_is_help;

typedef struct {
    nlt_test_help_t *h;
    nlt_help_call_t *call;
} nlt_test_hand_t;

static inline void *
nlt_test_help_thread(void *arg)
{
    nlt_test_hand_t hand = *(nlt_test_hand_t *) arg;

    free(arg);
    nlt_test_is_help = true;
    nlt_help_run(hand.call);
    (void) pthread_mutex_lock(&hand.h->lock);
    hand.h->busy--;
    (void) pthread_mutex_unlock(&hand.h->lock);
    return NULL;
}

static inline bool
nlt_test_help_post(void *ctx, nlt_help_call_t *call)
{
    nlt_test_help_t *h = ctx;
    nlt_test_hand_t *hand = malloc(sizeof(*hand));
    bool yes;

    *hand = (nlt_test_hand_t){h, call};
    (void) pthread_mutex_lock(&h->lock);
    yes = h->busy < h->help.n_max
          && h->n < sizeof(h->thread) / sizeof(h->thread[0])
          && pthread_create(&h->thread[h->n], NULL, nlt_test_help_thread, hand)
                 == 0;
    h->n += yes;
    h->busy += yes;
    (void) pthread_mutex_unlock(&h->lock);
    if (!yes) {
        free(hand);
    }
    return yes;
}

/* worth_ns 0: it is asked for as soon as can be. */
static inline void
nlt_test_help_init(nlt_test_help_t *h, unsigned n_max)
{
    h->help = (nlt_help_t){.post = nlt_test_help_post,
                           .ctx = h,
                           .mem = &nlt_mem_libc,
                           .n_max = n_max};
    (void) pthread_mutex_init(&h->lock, NULL);
    h->n = 0;
    h->busy = 0;
}

/* Waits for all. */
static inline void
nlt_test_help_done(nlt_test_help_t *h)
{
    for (size_t i = 0; i < h->n; i++) {
        (void) pthread_join(h->thread[i], NULL);
    }
    (void) pthread_mutex_destroy(&h->lock);
}

#endif
