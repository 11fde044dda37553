/*
 * nlt_head_arena.c - arena files: creating, mapping, reserving, allocating.
 *
 * The file has its full size from the start but is sparse; pages are
 * reserved with fallocate up to a megabyte ahead of the bump pointer.
 * Reserving is idempotent, so processes need not agree on who does it: each
 * reserves from the mark it saw, and the mark only rises.
 */
#include "nlt_head_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nlt_xhash.h"
#include "nlt_mutex.h"

/* Of an arena, for requests that have begun when it is nearly full. */
#define KEPT_BYTES (64u << 10)

/* A 128th of what there is, a power of two, between these: an arena of a few
 * series is small, and one that grows fast asks the kernel seldom. */
#define RESERVE_STEP_MIN (UINT64_C(128) << 10)
#define RESERVE_STEP_MAX (UINT64_C(1) << 20)

void
nlt_head_file_name(char *out, const uint8_t *store_id, const char *suffix,
                   uint64_t no)
{
    static const char hex[] = "0123456789abcdef";
    char id[2 * NLT_STORE_ID_BYTES + 1];

    for (size_t i = 0; i < NLT_STORE_ID_BYTES; i++) {
        id[2 * i] = hex[store_id[i] >> 4];
        id[2 * i + 1] = hex[store_id[i] & 15];
    }
    id[2 * NLT_STORE_ID_BYTES] = '\0';
    if (suffix) {
        (void) snprintf(out, NLT_HEAD_NAME_MAX, "head.%s.%s", id, suffix);
    } else {
        (void) snprintf(out, NLT_HEAD_NAME_MAX, "head.%s.%llu", id,
                        (unsigned long long) no);
    }
}

bool
nlt_arena_covers(const nlt_arena_t *a, uint64_t end)
{
    uint64_t used =
        atomic_load_explicit(&a->hdr->used_bytes, memory_order_acquire);

    if (used > a->size) {
        used = a->size;
    }
    if (end > used) {
        return false;
    }
    atomic_store_explicit(a->used_seen, used, memory_order_relaxed);
    return true;
}

static void
raise_to(_Atomic uint64_t *mark, uint64_t to)
{
    uint64_t now = atomic_load_explicit(mark, memory_order_relaxed);

    while (now < to
           && !atomic_compare_exchange_weak_explicit(
               mark, &now, to, memory_order_release, memory_order_relaxed)) {
    }
}

bool
nlt_arena_reserve(nlt_arena_t *a, uint64_t end)
{
    const nlt_io_t *io = a->env->io;
    uint64_t step = RESERVE_STEP_MIN,
             from = atomic_load_explicit(&a->hdr->reserved_bytes,
                                         memory_order_acquire);

    if (end <= from) {
        return true;
    }
    if (end > a->size) {
        return false;
    }
    while (step < RESERVE_STEP_MAX && 2 * step <= end / 128) {
        step *= 2;
    }
    end = nlt_align_u64(end, step);
    if (end > a->size) {
        end = a->size;
    }
    if (io->allocate(io->ctx, a->fd, (int64_t) from, (int64_t) (end - from))
        < 0) {
        return false;
    }
    raise_to(&a->hdr->reserved_bytes, end);
    raise_to(&a->slot->reserved_bytes, end);
    return true;
}

nlt_off_t
nlt_arena_alloc(nlt_arena_t *a, uint64_t bytes, uint64_t align, uint64_t limit)
{
    _Atomic uint64_t *mark = &a->hdr->used_bytes;
    uint64_t used = atomic_load_explicit(mark, memory_order_relaxed);
    uint64_t begin, end;

    do {
        begin = nlt_align_u64(used, align);
        end = begin + nlt_align_u64(bytes, 8);
        if (nlt_unlikely(end > limit || end < begin
                         || begin < NLT_ARENA_HEAP)) {
            return (nlt_off_t){0};
        }
        if (nlt_unlikely(end > atomic_load_explicit(&a->hdr->reserved_bytes,
                                                    memory_order_acquire))
            && !nlt_arena_reserve(a, end)) {
            return (nlt_off_t){0};
        }
    } while (!atomic_compare_exchange_weak_explicit(
        mark, &used, end, memory_order_release, memory_order_relaxed));
    return (nlt_off_t){(uint32_t) (begin >> 3)};
}

/* Opens an existing arena file and looks whether it may be ours. */
static nlt_rc_t
open_file(const nlt_head_t *h, uint64_t no, int *out, uint64_t *size,
          nlt_err_t *err)
{
    const nlt_io_t *io = h->env->io;
    char name[NLT_HEAD_NAME_MAX];
    struct stat st;
    int fd;

    nlt_head_file_name(name, h->conf.store_id, NULL, no);
    fd = io->open(io->ctx, h->conf.dir_fd, name, O_RDWR | O_NOFOLLOW, 0);
    if (fd < 0) {
        return nlt_err_set_errno(err, fd == -ENOENT ? NLT_ENOENT : NLT_EIO,
                                 -fd, "open \"%s\"", name);
    }
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (st.st_mode & 077)
        || (st.st_uid != geteuid() && geteuid() != 0)
        || (uint64_t) st.st_size < sizeof(nlt_arena_header_t)) {
        (void) io->close(io->ctx, fd);
        return nlt_err_set(err, NLT_EDATA,
                           "\"%s\" has another owner, mode or size", name);
    }
    *out = fd;
    *size = (uint64_t) st.st_size;
    return NLT_OK;
}

static nlt_rc_t
map_file(nlt_head_t *h, size_t i, uint64_t no, int fd, uint64_t size,
         nlt_err_t *err)
{
    nlt_arena_t *a = &h->arena[i];
    uint8_t *base;
    nlt_rc_t rc = nlt_map_shared(fd, size, &base, err);

    if (rc != NLT_OK) {
        return rc;
    }
    atomic_store_explicit(&h->used_seen[i], 0, memory_order_relaxed);
    *a = (nlt_arena_t){
        .base = base,
        .size = size,
        .hdr = (nlt_arena_header_t *) (void *) base,
        .used_seen = &h->used_seen[i],
        .ctl = h->ctl,
        .slot = &h->ctl->arenas[i],
        .env = h->env,
        .no = no,
        .fd = fd,
        .pins = 0,
    };
    return NLT_OK;
}

void
nlt_arena_unmap(nlt_head_t *h, size_t i)
{
    nlt_arena_t *a = &h->arena[i];

    if (a->base == NULL) {
        return;
    }
    nlt_unmap(a->base, a->size);
    (void) h->env->io->close(h->env->io->ctx, a->fd);
    *a = (nlt_arena_t){.base = NULL};
    if (h->self) {
        atomic_store(&h->self->mapped[i], 0);
    }
}

nlt_rc_t
nlt_arena_map(nlt_head_t *h, size_t i, uint64_t no, nlt_err_t *err)
{
    const nlt_arena_header_t *hdr;
    uint64_t size = 0;
    nlt_rc_t rc;
    int fd = -1;

    /* First say so, then look again: the helper frees the slot of a retired
     * arena only if it sees no such word. */
    atomic_store(&h->self->mapped[i], no);
    if (atomic_load(&h->ctl->arenas[i].no) != no) {
        atomic_store(&h->self->mapped[i], 0);
        return nlt_err_set(err, NLT_ENOENT, "arena %llu is gone",
                           (unsigned long long) no);
    }
    rc = open_file(h, no, &fd, &size, err);
    if (rc == NLT_OK) {
        rc = map_file(h, i, no, fd, size, err);
        if (rc != NLT_OK) {
            (void) h->env->io->close(h->env->io->ctx, fd);
        }
    }
    if (rc != NLT_OK) {
        atomic_store(&h->self->mapped[i], 0);
        return rc;
    }
    hdr = h->arena[i].hdr;
    if (hdr->magic != NLT_ARENA_MAGIC || hdr->version != NLT_HEAD_VERSION
        || hdr->layout != nlt_head_layout_crc() || hdr->no != no
        || hdr->size_bytes != size
        || memcmp(hdr->store_id, h->conf.store_id, NLT_STORE_ID_BYTES) != 0) {
        nlt_arena_unmap(h, i);
        return nlt_err_set(err, NLT_EDATA, "arena %llu has a wrong header",
                           (unsigned long long) no);
    }
    return NLT_OK;
}

static bool
init_mutexes(nlt_arena_header_t *hdr)
{
    bool ok = nlt_mutex_init_robust(&hdr->registration);

    for (size_t i = 0; ok && i < NLT_STRIPES; i++) {
        ok = nlt_mutex_init_robust(&hdr->stripes[i].mutex);
    }
    return ok;
}

static nlt_rc_t
init_arena(nlt_arena_t *a, const nlt_head_t *h, nlt_err_t *err)
{
    nlt_arena_header_t *hdr = a->hdr;
    uint64_t begin = NLT_ARENA_HEAP;

    if (h->env->io->allocate(h->env->io->ctx, a->fd, 0, (int64_t) begin) < 0) {
        return nlt_err_set(err, NLT_EFULL, "no memory for a new arena");
    }
    hdr->version = NLT_HEAD_VERSION;
    hdr->layout = nlt_head_layout_crc();
    memcpy(hdr->store_id, h->conf.store_id, NLT_STORE_ID_BYTES);
    hdr->no = a->no;
    hdr->size_bytes = a->size;
    hdr->created_ms = nlt_now_ms(h->env);
    atomic_store(&hdr->used_bytes, begin);
    atomic_store(&hdr->reserved_bytes, begin);
    atomic_store(&hdr->t_min_ms, INT64_MAX);
    atomic_store(&hdr->t_max_ms, INT64_MIN);
    if (!init_mutexes(hdr)) {
        return nlt_err_set(err, NLT_EBUG, "no robust mutexes here");
    }
    if (!nlt_xhash_init(a, &hdr->by_hash)
        || !nlt_xhash_init(a, &hdr->by_pair)) {
        return nlt_err_set(err, NLT_EFULL, "no memory for a new arena");
    }
    atomic_thread_fence(memory_order_release);
    hdr->magic = NLT_ARENA_MAGIC;
    return NLT_OK;
}

nlt_rc_t
nlt_arena_create(nlt_head_t *h, size_t i, uint64_t no, nlt_err_t *err)
{
    const nlt_io_t *io = h->env->io;
    uint64_t size = h->ctl->arena_bytes;
    char name[NLT_HEAD_NAME_MAX];
    nlt_rc_t rc;
    int fd, sys;

    nlt_head_file_name(name, h->conf.store_id, NULL, no);
    /* What a helper left that died in here. */
    (void) io->unlink(io->ctx, h->conf.dir_fd, name);
    fd = io->open(io->ctx, h->conf.dir_fd, name,
                  O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return nlt_err_set_errno(err, fd == -ENOSPC ? NLT_EFULL : NLT_EIO, -fd,
                                 "create \"%s\"", name);
    }
    sys = io->truncate(io->ctx, fd, (int64_t) size);
    if (sys < 0) {
        rc = nlt_err_set_errno(err, NLT_EIO, -sys, "size \"%s\"", name);
    } else {
        rc = map_file(h, i, no, fd, size, err);
    }
    if (rc != NLT_OK) {
        (void) io->close(io->ctx, fd);
        (void) io->unlink(io->ctx, h->conf.dir_fd, name);
        return rc;
    }
    atomic_store(&h->ctl->arenas[i].reserved_bytes, 0);
    rc = init_arena(&h->arena[i], h, err);
    if (rc != NLT_OK) {
        nlt_arena_unmap(h, i);
        (void) io->unlink(io->ctx, h->conf.dir_fd, name);
    }
    return rc;
}

uint64_t
nlt_arena_no(const nlt_arena_t *a)
{
    return a->no;
}

const nlt_arena_header_t *
nlt_arena_header(const nlt_arena_t *a)
{
    return a->hdr;
}

nlt_memory_stage_t
nlt_arena_stage(const nlt_arena_t *a)
{
    uint64_t used =
        atomic_load_explicit(&a->hdr->used_bytes, memory_order_relaxed);

    return used >= a->size - KEPT_BYTES     ? NLT_MEMORY_NO_SAMPLES
           : used >= nlt_arena_limit_new(a) ? NLT_MEMORY_NO_SERIES
           : used >= a->size / 100 * NLT_ARENA_FLUSH_PERCENT
               ? NLT_MEMORY_FLUSHING
               : NLT_MEMORY_OK;
}

const nlt_arena_labels_t *
nlt_arena_labels_of(const nlt_arena_t *a, const nlt_arena_series_t *e)
{
    const nlt_arena_labels_t *l =
        nlt_arena_at(a, e->labels.u, sizeof(nlt_arena_labels_t));

    if (nlt_unlikely(
            l == NULL
            || nlt_arena_at(a, e->labels.u,
                            sizeof(*l) + (uint64_t) l->n * sizeof(uint32_t))
                   == NULL)) {
        return NULL;
    }
    return l;
}
