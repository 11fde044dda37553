/*
 * nlt_help.c - see the header.
 */
#include "nlt_help.h"

#include <pthread.h>

typedef enum {
    WAITS, /* nobody has called fn */
    RUNS,
    DONE /* it has returned, or will not be called */
} state_t;

struct nlt_help_call_s {
    pthread_mutex_t lock;
    pthread_cond_t done;
    state_t state;
    unsigned owners;
    void (*fn)(void *arg);
    void *arg;
    const nlt_mem_t *mem;
};

/* One owner less; called with the lock held. */
static void
leave(nlt_help_call_t *c)
{
    bool last = --c->owners == 0;

    (void) pthread_mutex_unlock(&c->lock);
    if (last) {
        (void) pthread_cond_destroy(&c->done);
        (void) pthread_mutex_destroy(&c->lock);
        nlt_mem_free(c->mem, c, sizeof(*c));
    }
}

nlt_help_call_t *
nlt_help_ask(const nlt_help_t *help, void (*fn)(void *arg), void *arg)
{
    nlt_help_call_t *c = nlt_mem_zalloc(help->mem, sizeof(*c));

    if (c == NULL) {
        return NULL;
    }
    if (pthread_mutex_init(&c->lock, NULL) != 0) {
        nlt_mem_free(help->mem, c, sizeof(*c));
        return NULL;
    }
    if (pthread_cond_init(&c->done, NULL) != 0) {
        (void) pthread_mutex_destroy(&c->lock);
        nlt_mem_free(help->mem, c, sizeof(*c));
        return NULL;
    }
    c->owners = 2;
    c->fn = fn;
    c->arg = arg;
    c->mem = help->mem;
    if (help->post(help->ctx, c)) {
        return c;
    }
    (void) pthread_mutex_lock(&c->lock);
    c->owners = 1;
    leave(c);
    return NULL;
}

bool
nlt_help_is_done(nlt_help_call_t *c)
{
    bool done;

    (void) pthread_mutex_lock(&c->lock);
    done = c->state == DONE;
    (void) pthread_mutex_unlock(&c->lock);
    return done;
}

void
nlt_help_end(nlt_help_call_t *c)
{
    (void) pthread_mutex_lock(&c->lock);
    while (c->state == RUNS) {
        (void) pthread_cond_wait(&c->done, &c->lock);
    }
    c->state = DONE;
    leave(c);
}

void
nlt_help_run(nlt_help_call_t *c)
{
    (void) pthread_mutex_lock(&c->lock);
    if (c->state == WAITS) {
        c->state = RUNS;
        (void) pthread_mutex_unlock(&c->lock);
        c->fn(c->arg);
        (void) pthread_mutex_lock(&c->lock);
        c->state = DONE;
        (void) pthread_cond_broadcast(&c->done);
    }
    leave(c);
}
