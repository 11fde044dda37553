/*
 * nlt_quota.h - who has written how much lately: sliding windows in shared
 * memory.
 *
 * Floor 3 (store); uses base.
 * Threads: any number in any number of processes; lock-free, so the death of
 * one in the middle of a call leaves nothing that another would wait for.
 *
 * A window of W milliseconds is a ring of 32 parts of W/31 each.  A part is
 * one atomic word of the time it stands for and what was counted in it:
 *
 *     63            36 35                       0
 *     [ time / (W/31) ][        count           ]
 *
 * Parts whose time is not within the last 32 count nothing, so nobody has to
 * clear them.  The sum is over the part that runs and the 31 before it: at
 * least W, at most W and a thirty-first of it.  Somebody who is held to N in
 * the sum has never more than N in any W milliseconds.
 *
 * A table has quotas by key, in sets of eight by hash.  When all of a set are
 * taken, the one that was not used for the longest time is given to the new
 * key, and its count begins anew.  Who still holds it then counts into it;
 * that makes the new one's a little too strict, for one window.
 *
 * Keys may be chosen by an attacker, so the hash is keyed with random bytes of
 * the table, and 64 bits of it stand for the key.
 */
#ifndef NLT_STORE_QUOTA_H
#define NLT_STORE_QUOTA_H

#include <stdatomic.h>

#include "nlt_hash.h"

#define NLT_WINDOW_PARTS   32
#define NLT_WINDOW_MS_MIN  100u
#define NLT_WINDOW_MS_MAX  3600000u
#define NLT_WINDOW_HOUR_MS 3600000u

/* All zero: nothing was counted. */
typedef struct {
    _Atomic uint64_t part[NLT_WINDOW_PARTS];
} nlt_window_t;

/* Counts n at t_ms, of a clock that all processes share. */
void
nlt_window_add(nlt_window_t *w, uint64_t t_ms, uint32_t window_ms, uint64_t n);

/* What was counted in the window that ends at t_ms. */
uint64_t
nlt_window_sum(const nlt_window_t *w, uint64_t t_ms, uint32_t window_ms);

/*
 * Milliseconds from t_ms until the sum is below max, if nothing is added; 0
 * if it is now.  max > 0.
 */
uint64_t nlt_window_wait(const nlt_window_t *w, uint64_t t_ms,
                         uint32_t window_ms, uint64_t max);

typedef struct {
    _Atomic uint64_t tag; /* of the key; 0: free */
    _Atomic uint64_t used_ms;
    _Atomic uint64_t told_ms; /* when its refusal was logged last */
    _Atomic uint64_t refused; /* requests, since then */
    _Atomic uint64_t active;  /* arena number << 40 | series in it */
    uint64_t pad[3];
    nlt_window_t samples;
    nlt_window_t created; /* series, in an hour */
} nlt_quota_t;

typedef struct nlt_quotas_s nlt_quotas_t;

/*
 * Makes a table of `size` zeroed bytes (8-aligned), which stays in them.
 * NULL: not even one set fits, or the kernel gives no random bytes.
 */
nlt_quotas_t *nlt_quotas_init(void *p, size_t size);

/* Keys that had to go for others within an hour of their use, so far. */
uint64_t nlt_quotas_forgotten(const nlt_quotas_t *t);

/*
 * The quota of a key and a kind (two kinds of one key are counted apart; e.g.
 * the length of the window).  Never NULL.  One or two cache misses.
 */
nlt_quota_t *
nlt_quotas_get(nlt_quotas_t *t, nlt_str_t key, uint64_t kind, uint64_t t_ms);

/*
 * One more series in an arena, of at most max; false: there are so many.
 * Another arena begins from none.  With max UINT64_MAX it is only counted.
 */
bool nlt_quota_grow(nlt_quota_t *q, uint64_t arena_no, uint64_t max);

/* Series of that arena, so far. */
uint64_t nlt_quota_active(const nlt_quota_t *q, uint64_t arena_no);

/* It was not registered after all. */
void nlt_quota_shrink(nlt_quota_t *q, uint64_t arena_no);

/*
 * A refusal that may be logged: once in 10 s.  *n: refusals since the last
 * time, this one included.  false: counted, not to be logged.
 */
bool nlt_quota_tell(nlt_quota_t *q, uint64_t t_ms, uint64_t *n);

#endif
