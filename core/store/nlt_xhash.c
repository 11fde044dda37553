/*
 * nlt_xhash.c - lookup, insertion, split.
 */
#include "nlt_xhash.h"

#include <sched.h>

#define RELAXED memory_order_relaxed
#define ACQUIRE memory_order_acquire
#define RELEASE memory_order_release

static inline uint32_t
dir_index(uint64_t lo, unsigned depth)
{
    return depth ? (uint32_t) (lo >> (64 - depth)) : 0;
}

static inline uint32_t
first_slot(uint32_t hi)
{
    return (uint32_t) ((uint64_t) hi * NLT_XHASH_SLOTS >> 32);
}

/* The directory and its depth as of now; NULL when corrupt. */
static inline _Atomic uint32_t *
directory(const nlt_arena_t *a, nlt_xhash_root_t *root, unsigned *depth)
{
    uint64_t w = atomic_load_explicit(&root->dir, ACQUIRE);

    *depth = (unsigned) (w >> 32) & 0xff;
    if (nlt_unlikely(*depth > NLT_XHASH_DEPTH_MAX)) {
        return NULL;
    }
    return nlt_arena_at(a, (uint32_t) w, UINT64_C(4) << *depth);
}

static inline nlt_xhash_seg_t *
segment_of(const nlt_arena_t *a, nlt_xhash_root_t *root, uint64_t lo)
{
    unsigned depth;
    _Atomic uint32_t *dir = directory(a, root, &depth);

    if (nlt_unlikely(dir == NULL)) {
        return NULL;
    }
    return nlt_arena_at(
        a, atomic_load_explicit(&dir[dir_index(lo, depth)], ACQUIRE),
        sizeof(nlt_xhash_seg_t));
}

bool
nlt_xhash_init(nlt_arena_t *a, nlt_xhash_root_t *root)
{
    nlt_off_t seg = nlt_arena_alloc(a, sizeof(nlt_xhash_seg_t), 64, a->size);
    nlt_off_t dir = nlt_arena_alloc(a, 8, 8, a->size);
    _Atomic uint32_t *d;

    if (seg.u == 0 || dir.u == 0) {
        return false;
    }
    d = nlt_arena_at(a, dir.u, 4);
    if (d == NULL) {
        return false;
    }
    atomic_store_explicit(&d[0], seg.u, RELAXED);
    root->n = 0;
    root->n_segments = 1;
    atomic_store_explicit(&root->seq, 0, RELAXED);
    atomic_store_explicit(&root->dir, dir.u, RELEASE);
    return true;
}

uint32_t
nlt_xhash_find(const nlt_arena_t *a, nlt_xhash_root_t *root,
               nlt_xhash_key_t key)
{
    nlt_xhash_seg_t *seg = segment_of(a, root, key.lo);
    uint32_t i = first_slot(key.hi);

    if (nlt_unlikely(seg == NULL)) {
        return 0;
    }
    for (unsigned probes = 0; probes < NLT_XHASH_SLOTS; probes++) {
        nlt_xhash_slot_t *s = &seg->slot[i];
        uint32_t number = atomic_load_explicit(&s->number, ACQUIRE);

        if (number == 0) {
            return 0;
        }
        if (atomic_load_explicit(&s->lo, RELAXED) == key.lo
            && atomic_load_explicit(&s->hi, RELAXED) == key.hi) {
            /* The slot may have been reused between the loads. */
            atomic_thread_fence(ACQUIRE);
            if (atomic_load_explicit(&s->number, RELAXED) == number) {
                return number;
            }
            return 0;
        }
        i = i + 1 < NLT_XHASH_SLOTS ? i + 1 : 0;
    }
    return 0;
}

uint32_t
nlt_xhash_find_settled(const nlt_arena_t *a, nlt_xhash_root_t *root,
                       nlt_xhash_key_t key, bool *settled)
{
    *settled = true;
    for (unsigned tries = 0; tries < 10000; tries++) {
        uint32_t before = atomic_load_explicit(&root->seq, ACQUIRE);
        uint32_t number = nlt_xhash_find(a, root, key);

        if (number) {
            return number;
        }
        atomic_thread_fence(ACQUIRE);
        if ((before & 1) == 0
            && atomic_load_explicit(&root->seq, RELAXED) == before) {
            return 0;
        }
        if (atomic_load_explicit(&a->hdr->registration_broken, ACQUIRE)) {
            break;
        }
        if (tries % 64 == 63) {
            (void) sched_yield();
        }
    }
    *settled = false;
    return 0;
}

void
nlt_xhash_prefetch(const nlt_arena_t *a, nlt_xhash_root_t *root,
                   nlt_xhash_key_t key)
{
    nlt_xhash_seg_t *seg = segment_of(a, root, key.lo);

    if (nlt_likely(seg != NULL)) {
        __builtin_prefetch(&seg->slot[first_slot(key.hi)]);
    }
}

/* Into a segment with a free slot (also a corrupt one: then nowhere). */
static void
put(nlt_xhash_seg_t *seg, nlt_xhash_key_t key, uint32_t number)
{
    uint32_t i = first_slot(key.hi), probes = 0;

    while (atomic_load_explicit(&seg->slot[i].number, RELAXED)) {
        i = i + 1 < NLT_XHASH_SLOTS ? i + 1 : 0;
        if (++probes == NLT_XHASH_SLOTS) {
            return;
        }
    }
    atomic_store_explicit(&seg->slot[i].lo, key.lo, RELAXED);
    atomic_store_explicit(&seg->slot[i].hi, key.hi, RELAXED);
    atomic_store_explicit(&seg->slot[i].number, number, RELEASE);
    seg->n++;
}

/* A directory of twice the size; the old one stays for who reads it. */
static bool
double_directory(nlt_arena_t *a, nlt_xhash_root_t *root)
{
    unsigned depth;
    _Atomic uint32_t *old = directory(a, root, &depth), *dir;
    nlt_off_t off;

    if (old == NULL || depth >= NLT_XHASH_DEPTH_MAX) {
        return false;
    }
    off =
        nlt_arena_alloc(a, UINT64_C(8) << depth, 8, nlt_arena_limit_series(a));
    dir = nlt_arena_at(a, off.u, UINT64_C(8) << depth);
    if (dir == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < 1u << depth; i++) {
        uint32_t seg = atomic_load_explicit(&old[i], RELAXED);

        atomic_store_explicit(&dir[2 * i], seg, RELAXED);
        atomic_store_explicit(&dir[2 * i + 1], seg, RELAXED);
    }
    atomic_store_explicit(&root->dir, (uint64_t) (depth + 1) << 32 | off.u,
                          RELEASE);
    return true;
}

/* Empties seg and puts back what belongs there; the rest goes to upper. */
static void
distribute(nlt_xhash_seg_t *seg, nlt_xhash_seg_t *upper, unsigned depth)
{
    struct {
        nlt_xhash_key_t key;
        uint32_t number;
    } keep[NLT_XHASH_SLOTS];
    uint32_t n = 0;

    for (uint32_t i = 0; i < NLT_XHASH_SLOTS; i++) {
        nlt_xhash_slot_t *s = &seg->slot[i];
        nlt_xhash_key_t key = {atomic_load_explicit(&s->lo, RELAXED),
                               atomic_load_explicit(&s->hi, RELAXED)};
        uint32_t number = atomic_load_explicit(&s->number, RELAXED);

        if (number == 0) {
            continue;
        }
        if (key.lo >> (64 - depth) & 1) {
            put(upper, key, number);
        } else {
            keep[n].key = key;
            keep[n++].number = number;
        }
    }
    for (uint32_t i = 0; i < NLT_XHASH_SLOTS; i++) {
        atomic_store_explicit(&seg->slot[i].number, 0, RELAXED);
    }
    /* Key stores of put() must not be seen before the zeros. */
    atomic_thread_fence(RELEASE);
    seg->n = 0;
    for (uint32_t i = 0; i < n; i++) {
        put(seg, keep[i].key, keep[i].number);
    }
}

static bool
split(nlt_arena_t *a, nlt_xhash_root_t *root, nlt_xhash_seg_t *seg,
      uint64_t lo)
{
    unsigned depth, local = seg->depth + 1;
    _Atomic uint32_t *dir = directory(a, root, &depth);
    nlt_xhash_seg_t *upper;
    nlt_off_t off;

    if (dir == NULL || local > NLT_XHASH_DEPTH_MAX) {
        return false;
    }
    if (local > depth) {
        if (!double_directory(a, root)) {
            return false;
        }
        dir = directory(a, root, &depth);
    }
    off = nlt_arena_alloc(a, sizeof(*upper), 64, nlt_arena_limit_series(a));
    upper = nlt_arena_at(a, off.u, sizeof(*upper));
    if (upper == NULL || dir == NULL || local > depth) {
        return false;
    }
    uint32_t seq = atomic_load_explicit(&root->seq, RELAXED);

    atomic_store_explicit(&root->seq, seq + 1, RELAXED);
    atomic_thread_fence(RELEASE);
    upper->depth = local;
    distribute(seg, upper, local);
    /* The upper half of the directory entries that led to seg. */
    uint32_t first = dir_index(lo, local) | 1;

    first <<= depth - local;
    for (uint32_t i = 0; i < 1u << (depth - local); i++) {
        atomic_store_explicit(&dir[first + i], off.u, RELEASE);
    }
    seg->depth = local;
    root->n_segments++;
    atomic_store_explicit(&root->seq, seq + 2, RELEASE);
    return true;
}

/* The segment for a key, with room for it; NULL: there is none. */
static nlt_xhash_seg_t *
roomy(nlt_arena_t *a, nlt_xhash_root_t *root, nlt_xhash_key_t key)
{
    nlt_xhash_seg_t *seg = segment_of(a, root, key.lo);

    while (seg && seg->n >= NLT_XHASH_SLOTS_MAX) {
        if (!split(a, root, seg, key.lo)) {
            return NULL;
        }
        seg = segment_of(a, root, key.lo);
    }
    return seg;
}

bool
nlt_xhash_room(nlt_arena_t *a, nlt_xhash_root_t *root, nlt_xhash_key_t key)
{
    return roomy(a, root, key) != NULL;
}

bool
nlt_xhash_insert(nlt_arena_t *a, nlt_xhash_root_t *root, nlt_xhash_key_t key,
                 uint32_t number)
{
    nlt_xhash_seg_t *seg = roomy(a, root, key);

    if (seg == NULL) {
        return false;
    }
    put(seg, key, number);
    root->n++;
    return true;
}
