/*
 * nlt_stash_open.c - layout, lock and memory of a stash.
 */
#include "nlt_stash_priv.h"
#include "nlt_mutex.h"

#include <errno.h>

#define PAGE 4096u

/* More memory is asked for when so many cells are left, so much at a time. */
#define BACK_SOON  256u
#define BACK_BYTES (UINT64_C(256) << 10)

#define RELAXED memory_order_relaxed

/* ---- layout ---- */

typedef struct {
    uint32_t n_heads;
    uint32_t n_heap;
    uint32_t n_cells;
    uint64_t heap_off;
    uint64_t cells_off;
} shape_t;

static shape_t
shape_of(uint64_t bytes)
{
    shape_t sh = {.n_heads = 256};
    uint64_t n = bytes / NLT_STASH_CELL;

    while ((uint64_t) sh.n_heads * 8 <= n) {
        sh.n_heads *= 2;
    }
    sh.n_heap = (uint32_t) (n / 4);
    sh.heap_off = PAGE + (uint64_t) sh.n_heads * sizeof(uint32_t);
    sh.cells_off = (sh.heap_off + (uint64_t) sh.n_heap * sizeof(uint32_t)
                    + NLT_STASH_CELL - 1)
                   / NLT_STASH_CELL * NLT_STASH_CELL;
    sh.n_cells = (uint32_t) ((bytes - sh.cells_off) / NLT_STASH_CELL) - 1;
    return sh;
}

uint32_t
nlt_stash_layout_crc(void)
{
    const uint32_t facts[] = {
        NLT_STASH_VERSION,
        NLT_STASH_CELL,
        sizeof(nlt_stash_header_t),
        sizeof(nlt_stash_tenant_cell_t),
        sizeof(nlt_stash_group_cell_t),
        sizeof(nlt_stash_item_cell_t),
        sizeof(pthread_mutex_t),
        offsetof(nlt_stash_header_t, lock),
        shape_of(NLT_STASH_BYTES_MAX).n_heads,
        shape_of(NLT_STASH_BYTES_MAX).n_cells,
    };

    return nlt_crc32c(0, facts, sizeof(facts));
}

uint64_t
nlt_stash_first_bytes(uint64_t bytes)
{
    uint64_t first = shape_of(bytes).cells_off + NLT_STASH_BYTES_MIN / 2;

    first = nlt_align_u64(first, PAGE);
    return first < bytes ? first : bytes;
}

/* Number of the last cell that lies whole in the first `bytes`. */
static uint32_t
cells_in(uint64_t bytes, const shape_t *sh)
{
    uint64_t n = (bytes - sh->cells_off) / NLT_STASH_CELL - 1;

    return n < sh->n_cells ? (uint32_t) n : sh->n_cells;
}

static uint32_t
fixed_crc(const nlt_stash_header_t *hdr)
{
    return nlt_crc32c(0, hdr, offsetof(nlt_stash_header_t, fixed_crc));
}

nlt_rc_t
nlt_stash_format(void *base, uint64_t bytes, nlt_err_t *err)
{
    nlt_stash_header_t *hdr = base;
    shape_t sh = shape_of(bytes);

    hdr->magic = NLT_STASH_MAGIC;
    hdr->version = NLT_STASH_VERSION;
    hdr->bytes = bytes;
    hdr->n_heads = sh.n_heads;
    hdr->n_heap = sh.n_heap;
    hdr->n_cells = sh.n_cells;
    hdr->fixed_crc = fixed_crc(hdr);
    atomic_store(&hdr->n_backed, cells_in(nlt_stash_first_bytes(bytes), &sh));
    return nlt_mutex_init_robust(&hdr->lock)
               ? NLT_OK
               : nlt_err_set(err, NLT_EBUG, "no robust mutexes here");
}

nlt_rc_t
nlt_stash_open(nlt_stash_t *s, void *base, uint64_t bytes, const nlt_io_t *io,
               int fd, uint64_t off, nlt_err_t *err)
{
    nlt_stash_header_t *hdr = base;
    shape_t sh = shape_of(bytes);

    *s = (nlt_stash_t){
        .io = io,
        .fd = fd,
        .off = off,
        .hdr = hdr,
        .heads = (uint32_t *) (void *) ((uint8_t *) base + PAGE),
        .heap = (uint32_t *) (void *) ((uint8_t *) base + sh.heap_off),
        .cells = (uint8_t *) base + sh.cells_off,
        .n_heads = sh.n_heads,
        .n_heap = sh.n_heap,
        .n_cells = sh.n_cells,
    };
    if (hdr->magic != NLT_STASH_MAGIC || hdr->version != NLT_STASH_VERSION
        || hdr->bytes != bytes || hdr->n_heads != sh.n_heads
        || hdr->n_heap != sh.n_heap || hdr->n_cells != sh.n_cells
        || hdr->fixed_crc != fixed_crc(hdr)) {
        return nlt_err_set(err, NLT_EDATA, "not a stash of this version");
    }
    return NLT_OK;
}

uint64_t
nlt_stash_reserved(const nlt_stash_t *s)
{
    uint64_t first = (uint64_t) (s->cells - (uint8_t *) s->hdr);
    uint32_t n = atomic_load_explicit(&s->hdr->n_backed, RELAXED);

    return first + ((uint64_t) n + 1) * NLT_STASH_CELL;
}

/* ---- the lock ---- */

void
nlt_stash_damaged(nlt_stash_t *s)
{
    atomic_store_explicit(&s->hdr->damaged, 1, RELAXED);
}

void
nlt_stash_reset_locked(nlt_stash_t *s)
{
    nlt_stash_header_t *h = s->hdr;

    nlt_stash_change_begin(s);
    memset(s->heads, 0, (size_t) s->n_heads * sizeof(*s->heads));
    atomic_store(&h->n_bumped, 0);
    atomic_store(&h->n_free, 0);
    h->free = 0;
    atomic_store(&h->n_items, 0);
    atomic_store(&h->n_groups, 0);
    atomic_store(&h->n_tenants, 0);
    (void) atomic_fetch_add(&h->resets, 1);
    atomic_store(&h->damaged, 0);
    nlt_stash_change_end(s);
}

bool
nlt_stash_lock(nlt_stash_t *s)
{
    nlt_stash_header_t *h = s->hdr;
    int rc = pthread_mutex_lock(&h->lock);

    if (nlt_unlikely(rc == EOWNERDEAD)) {
        rc = pthread_mutex_consistent(&h->lock);
    }
    if (nlt_unlikely(rc != 0)) {
        return false;
    }
    if (nlt_unlikely(atomic_load_explicit(&h->n_backed, RELAXED) > s->n_cells
                     || atomic_load_explicit(&h->n_bumped, RELAXED)
                            > atomic_load_explicit(&h->n_backed, RELAXED))) {
        uint64_t first = nlt_stash_first_bytes(h->bytes);
        shape_t sh = shape_of(h->bytes);

        atomic_store(&h->n_backed, cells_in(first, &sh));
        nlt_stash_damaged(s);
    }
    if (nlt_unlikely(atomic_load_explicit(&h->dirty, RELAXED)
                     || atomic_load_explicit(&h->damaged, RELAXED))) {
        nlt_stash_reset_locked(s);
    }
    if (nlt_unlikely(atomic_load_explicit(&h->moved, RELAXED))) {
        (void) pthread_mutex_unlock(&h->lock);
        return false;
    }
    return true;
}

void
nlt_stash_unlock(nlt_stash_t *s)
{
    if (nlt_unlikely(atomic_load_explicit(&s->hdr->damaged, RELAXED))) {
        nlt_stash_reset_locked(s);
    }
    (void) pthread_mutex_unlock(&s->hdr->lock);
}

void
nlt_stash_reset(nlt_stash_t *s)
{
    if (nlt_stash_lock(s)) {
        nlt_stash_reset_locked(s);
        nlt_stash_unlock(s);
    }
}

/* ---- memory ---- */

void
nlt_stash_back(nlt_stash_t *s, uint32_t need)
{
    nlt_stash_header_t *h = s->hdr;
    uint32_t backed = atomic_load_explicit(&h->n_backed, RELAXED),
             now = backed;
    uint64_t from, to;
    shape_t sh;

    if (nlt_likely(s->io == NULL || backed >= s->n_cells
                   || nlt_stash_available(s) >= need + BACK_SOON)) {
        return;
    }
    sh = shape_of(h->bytes);
    from = sh.cells_off + ((uint64_t) backed + 1) * NLT_STASH_CELL;
    to = from + (uint64_t) need * NLT_STASH_CELL + BACK_BYTES;
    to = to < h->bytes ? to / PAGE * PAGE : h->bytes;
    from = from / PAGE * PAGE;
    if (s->io->allocate(s->io->ctx, s->fd, (int64_t) (s->off + from),
                        (int64_t) (to - from))
        < 0) {
        return;
    }
    /* Another process may have been faster, or have emptied it. */
    (void) atomic_compare_exchange_strong(&h->n_backed, &now,
                                          cells_in(to, &sh));
}
