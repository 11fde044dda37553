/*
 * nlt_quota.c - sliding windows and the table of them.
 */
#include <string.h>

#include "nlt_quota.h"

#define COUNT_BITS  36
#define COUNT_MASK  ((UINT64_C(1) << COUNT_BITS) - 1)
#define STAMP_MASK  ((UINT64_C(1) << (64 - COUNT_BITS)) - 1)
#define WAYS        8
#define ACTIVE_BITS 40
#define ACTIVE_MASK ((UINT64_C(1) << ACTIVE_BITS) - 1)
#define TELL_MS     10000

struct nlt_quotas_s {
    uint8_t secret[NLT_HASH_SECRET_BYTES];
    uint64_t n_sets;
    _Atomic uint64_t n_forgotten;
    uint64_t pad[6];
    nlt_quota_t quota[];
};

/* ---- windows ---- */

static uint64_t
part_ms(uint32_t window_ms)
{
    uint64_t ms = (window_ms + NLT_WINDOW_PARTS - 2) / (NLT_WINDOW_PARTS - 1);

    return ms ? ms : 1;
}

/* How long before `now` a part is, in parts; the clock's processes may differ
 * by one, so what lies after `now` is now. */
static uint64_t
age(uint64_t now, uint64_t part)
{
    uint64_t d = (now - (part >> COUNT_BITS)) & STAMP_MASK;

    return d > STAMP_MASK / 2 ? 0 : d;
}

void
nlt_window_add(nlt_window_t *w, uint64_t t_ms, uint32_t window_ms, uint64_t n)
{
    uint64_t now = t_ms / part_ms(window_ms);
    _Atomic uint64_t *p = &w->part[now % NLT_WINDOW_PARTS];
    uint64_t was = atomic_load_explicit(p, memory_order_relaxed), is, count;

    do {
        if (age(now, was) == 0 && was != 0) {
            count = (was & COUNT_MASK) + n;
            is = (was & ~COUNT_MASK)
                 | (count < COUNT_MASK ? count : COUNT_MASK);
        } else {
            is = (now & STAMP_MASK) << COUNT_BITS
                 | (n < COUNT_MASK ? n : COUNT_MASK);
        }
    } while (!atomic_compare_exchange_weak_explicit(
        p, &was, is, memory_order_relaxed, memory_order_relaxed));
}

uint64_t
nlt_window_sum(const nlt_window_t *w, uint64_t t_ms, uint32_t window_ms)
{
    uint64_t now = t_ms / part_ms(window_ms), sum = 0, part;

    for (size_t i = 0; i < NLT_WINDOW_PARTS; i++) {
        part = atomic_load_explicit(&w->part[i], memory_order_relaxed);
        if (age(now, part) < NLT_WINDOW_PARTS) {
            sum += part & COUNT_MASK;
        }
    }
    return sum;
}

uint64_t
nlt_window_wait(const nlt_window_t *w, uint64_t t_ms, uint32_t window_ms,
                uint64_t max)
{
    uint64_t ms = part_ms(window_ms), now = t_ms / ms;
    uint64_t by_age[NLT_WINDOW_PARTS] = {0}, sum = 0;
    size_t oldest = NLT_WINDOW_PARTS;

    for (size_t i = 0; i < NLT_WINDOW_PARTS; i++) {
        uint64_t part =
            atomic_load_explicit(&w->part[i], memory_order_relaxed);

        if (age(now, part) < NLT_WINDOW_PARTS) {
            by_age[age(now, part)] += part & COUNT_MASK;
            sum += part & COUNT_MASK;
        }
    }
    if (sum < max) {
        return 0;
    }
    while (oldest > 0 && sum >= max) {
        sum -= by_age[--oldest];
    }
    /* The part of age `oldest` leaves when it is NLT_WINDOW_PARTS old. */
    return (now + NLT_WINDOW_PARTS - oldest) * ms - t_ms;
}

/* ---- the table ---- */

nlt_quotas_t *
nlt_quotas_init(void *p, size_t size)
{
    nlt_quotas_t *t = p;
    size_t set = WAYS * sizeof(nlt_quota_t);

    if (size < sizeof(*t) + set
        || !nlt_random_bytes(t->secret, sizeof(t->secret))) {
        return NULL;
    }
    t->n_sets = (size - sizeof(*t)) / set;
    return t;
}

uint64_t
nlt_quotas_forgotten(const nlt_quotas_t *t)
{
    return atomic_load_explicit(&t->n_forgotten, memory_order_relaxed);
}

/* Gives the quota that was not used for the longest time to another key. */
static nlt_quota_t *
take_oldest(nlt_quotas_t *t, nlt_quota_t *set, uint64_t tag, uint64_t t_ms)
{
    nlt_quota_t *q = set;
    uint64_t was, used_ms;

    for (size_t i = 1; i < WAYS; i++) {
        if (atomic_load_explicit(&set[i].used_ms, memory_order_relaxed)
            < atomic_load_explicit(&q->used_ms, memory_order_relaxed)) {
            q = &set[i];
        }
    }
    was = atomic_load_explicit(&q->tag, memory_order_relaxed);
    if (was == tag || !atomic_compare_exchange_strong(&q->tag, &was, tag)) {
        return q; /* somebody else took it: close enough, for once */
    }
    used_ms = atomic_load_explicit(&q->used_ms, memory_order_relaxed);
    if (t_ms < used_ms + NLT_WINDOW_HOUR_MS) {
        (void) atomic_fetch_add_explicit(&t->n_forgotten, 1,
                                         memory_order_relaxed);
    }
    atomic_store_explicit(&q->active, 0, memory_order_relaxed);
    atomic_store_explicit(&q->told_ms, 0, memory_order_relaxed);
    atomic_store_explicit(&q->refused, 0, memory_order_relaxed);
    for (size_t i = 0; i < NLT_WINDOW_PARTS; i++) {
        atomic_store_explicit(&q->samples.part[i], 0, memory_order_relaxed);
        atomic_store_explicit(&q->created.part[i], 0, memory_order_relaxed);
    }
    return q;
}

nlt_quota_t *
nlt_quotas_get(nlt_quotas_t *t, nlt_str_t key, uint64_t kind, uint64_t t_ms)
{
    nlt_hash128_t h = nlt_hash128(key.data, key.len, t->secret);
    uint64_t tag = nlt_mix64(h.hi ^ nlt_mix64(kind)), was;
    nlt_quota_t *set, *q = NULL;

    tag = tag ? tag : 1;
    set = t->quota + nlt_mix64(h.lo ^ kind) % t->n_sets * WAYS;
    for (size_t i = 0; i < WAYS && q == NULL; i++) {
        was = atomic_load_explicit(&set[i].tag, memory_order_relaxed);
        if (was == tag
            || (was == 0
                && (atomic_compare_exchange_strong(&set[i].tag, &was, tag)
                    || was == tag))) {
            q = &set[i];
        }
    }
    if (q == NULL) {
        q = take_oldest(t, set, tag, t_ms);
    }
    atomic_store_explicit(&q->used_ms, t_ms, memory_order_relaxed);
    return q;
}

/* ---- series, log ---- */

bool
nlt_quota_grow(nlt_quota_t *q, uint64_t arena_no, uint64_t max)
{
    uint64_t was = atomic_load_explicit(&q->active, memory_order_relaxed);
    uint64_t base = arena_no << ACTIVE_BITS, n;

    do {
        n = (was & ~ACTIVE_MASK) == base ? was & ACTIVE_MASK : 0;
        if (n >= max) {
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(
        &q->active, &was, base | (n + 1), memory_order_relaxed,
        memory_order_relaxed));
    return true;
}

uint64_t
nlt_quota_active(const nlt_quota_t *q, uint64_t arena_no)
{
    uint64_t is = atomic_load_explicit(&q->active, memory_order_relaxed);

    return (is & ~ACTIVE_MASK) == arena_no << ACTIVE_BITS ? is & ACTIVE_MASK
                                                          : 0;
}

void
nlt_quota_shrink(nlt_quota_t *q, uint64_t arena_no)
{
    uint64_t was = atomic_load_explicit(&q->active, memory_order_relaxed);

    do {
        if ((was & ~ACTIVE_MASK) != arena_no << ACTIVE_BITS
            || (was & ACTIVE_MASK) == 0) {
            return;
        }
    } while (!atomic_compare_exchange_weak_explicit(&q->active, &was, was - 1,
                                                    memory_order_relaxed,
                                                    memory_order_relaxed));
}

bool
nlt_quota_tell(nlt_quota_t *q, uint64_t t_ms, uint64_t *n)
{
    uint64_t told = atomic_load_explicit(&q->told_ms, memory_order_relaxed);

    (void) atomic_fetch_add_explicit(&q->refused, 1, memory_order_relaxed);
    if ((told != 0 && t_ms < told + TELL_MS)
        || !atomic_compare_exchange_strong(&q->told_ms, &told,
                                           t_ms ? t_ms : 1)) {
        return false;
    }
    *n = atomic_exchange_explicit(&q->refused, 0, memory_order_relaxed);
    return true;
}
