/*
 * nlt_head_side.c - the side file: made, mapped, replaced.
 */
#include "nlt_head_side.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "nlt_head_priv.h"

#define PAGE 4096u

#define SIDE_MAGIC UINT64_C(0x3145444953544c4e) /* "NLTSIDE1" */

/* The first page. */
typedef struct {
    uint64_t magic;
    uint64_t no;
    uint64_t exemplar_bytes;
    uint64_t metadata_bytes;
    uint8_t store_id[NLT_STORE_ID_BYTES];
    uint32_t crc; /* of the above */
} side_page_t;

static uint32_t
page_crc(const side_page_t *p)
{
    return nlt_crc32c(0, p, offsetof(side_page_t, crc));
}

static void
side_name(char *out, const uint8_t *store_id, uint64_t no)
{
    char suffix[32];

    (void) snprintf(suffix, sizeof(suffix), "side.%llu",
                    (unsigned long long) no);
    nlt_head_file_name(out, store_id, suffix, 0);
}

/* Whole pages, and not less than a stash can be; 0 stays 0. */
static uint64_t
stash_bytes(uint64_t bytes)
{
    if (bytes == 0) {
        return 0;
    }
    bytes = bytes / PAGE * PAGE;
    return bytes < NLT_STASH_BYTES_MIN   ? NLT_STASH_BYTES_MIN
           : bytes > NLT_STASH_BYTES_MAX ? NLT_STASH_BYTES_MAX
                                         : bytes;
}

uint64_t
nlt_head_side_bytes(uint64_t exemplar_bytes, uint64_t metadata_bytes)
{
    uint64_t sum = stash_bytes(exemplar_bytes) + stash_bytes(metadata_bytes);

    return sum > 0 ? PAGE + sum : 0;
}

/* ---- mapping ---- */

static void
side_free(const nlt_env_t *env, nlt_head_side_t *side)
{
    if (side->base != NULL) {
        nlt_unmap(side->base, side->size);
    }
    if (side->fd >= 0) {
        (void) env->io->close(env->io->ctx, side->fd);
    }
    nlt_mem_free(env->mem, side, sizeof(*side));
}

static nlt_rc_t
open_stashes(nlt_head_t *h, nlt_head_side_t *side, nlt_err_t *err)
{
    const nlt_io_t *io = h->env->io;
    uint64_t off = PAGE;
    nlt_rc_t rc = NLT_OK;

    if (side->exemplar_bytes > 0) {
        rc = nlt_stash_open(&side->exemplars, side->base + off,
                            side->exemplar_bytes, io, side->fd, off, err);
        off += side->exemplar_bytes;
    }
    if (rc == NLT_OK && side->metadata_bytes > 0) {
        rc = nlt_stash_open(&side->metadata, side->base + off,
                            side->metadata_bytes, io, side->fd, off, err);
    }
    return rc;
}

static nlt_rc_t
map_file(nlt_head_t *h, nlt_head_side_t *side, uint64_t no, nlt_err_t *err)
{
    const nlt_io_t *io = h->env->io;
    char name[NLT_HEAD_NAME_MAX];
    side_page_t page;
    struct stat st;
    nlt_rc_t rc;

    side_name(name, h->conf.store_id, no);
    side->fd = io->open(io->ctx, h->conf.dir_fd, name, O_RDWR | O_NOFOLLOW, 0);
    if (side->fd < 0) {
        return nlt_err_set_errno(err, NLT_EIO, -side->fd, "open \"%s\"", name);
    }
    if (io->read(io->ctx, side->fd, &page, sizeof(page), 0)
            != (ssize_t) sizeof(page)
        || page.magic != SIDE_MAGIC || page.no != no
        || memcmp(page.store_id, h->conf.store_id, sizeof(page.store_id)) != 0
        || page.crc != page_crc(&page)) {
        return nlt_err_set(err, NLT_EDATA, "\"%s\" is damaged", name);
    }
    side->no = no;
    side->exemplar_bytes = page.exemplar_bytes;
    side->metadata_bytes = page.metadata_bytes;
    side->size = nlt_head_side_bytes(page.exemplar_bytes, page.metadata_bytes);
    if (fstat(side->fd, &st) < 0 || (uint64_t) st.st_size != side->size) {
        return nlt_err_set(err, NLT_EDATA, "\"%s\" has another size", name);
    }
    rc = nlt_map_shared(side->fd, side->size, &side->base, err);
    return rc == NLT_OK ? open_stashes(h, side, err) : rc;
}

/* Maps number no and makes it the current one; h->lock is held. */
static nlt_rc_t
map_side(nlt_head_t *h, uint64_t no, nlt_err_t *err)
{
    nlt_head_side_t *side = nlt_mem_zalloc(h->env->mem, sizeof(*side));
    nlt_rc_t rc;

    if (side == NULL) {
        return nlt_err_set(err, NLT_ENOMEM, "side file: no memory");
    }
    side->fd = -1;
    rc = map_file(h, side, no, err);
    if (rc != NLT_OK) {
        side_free(h->env, side);
        return rc;
    }
    side->older = atomic_load(&h->side);
    atomic_store_explicit(&h->side, side, memory_order_release);
    return NLT_OK;
}

nlt_head_side_t *
nlt_head_side(nlt_head_t *h)
{
    uint64_t no = atomic_load_explicit(&h->ctl->side_no, memory_order_acquire);
    nlt_head_side_t *side =
        atomic_load_explicit(&h->side, memory_order_acquire);

    if (nlt_likely(side != NULL && side->no == no)) {
        return side;
    }
    if (no == 0 || pthread_mutex_lock(&h->lock) != 0) {
        return NULL;
    }
    side = atomic_load(&h->side);
    if (side == NULL || side->no != no) {
        side = map_side(h, no, NULL) == NLT_OK ? atomic_load(&h->side) : NULL;
    }
    (void) pthread_mutex_unlock(&h->lock);
    return side;
}

nlt_stash_t *
nlt_head_exemplars(nlt_head_t *h)
{
    nlt_head_side_t *side = nlt_head_side(h);

    return side != NULL && side->exemplar_bytes > 0 ? &side->exemplars : NULL;
}

nlt_stash_t *
nlt_head_metadata(nlt_head_t *h)
{
    nlt_head_side_t *side = nlt_head_side(h);

    return side != NULL && side->metadata_bytes > 0 ? &side->metadata : NULL;
}

bool
nlt_head_side_is_lost(const nlt_head_t *h)
{
    const nlt_io_t *io = h->env->io;
    uint64_t no = atomic_load(&h->ctl->side_no);
    char name[NLT_HEAD_NAME_MAX];
    nlt_io_stat_t st;

    side_name(name, h->conf.store_id, no);
    return no != 0 && io->stat(io->ctx, h->conf.dir_fd, name, &st) == -ENOENT
           && atomic_load(&h->ctl->side_no) == no;
}

void
nlt_head_side_unmap(nlt_head_t *h)
{
    nlt_head_side_t *side = atomic_load(&h->side);

    atomic_store(&h->side, NULL);
    while (side != NULL) {
        nlt_head_side_t *older = side->older;

        side_free(h->env, side);
        side = older;
    }
}

uint64_t
nlt_head_side_reserved(const nlt_head_t *h)
{
    const nlt_head_side_t *side = atomic_load(&h->side);
    uint64_t sum = 0;

    if (side != NULL) {
        sum = PAGE;
        sum += side->exemplar_bytes ? nlt_stash_reserved(&side->exemplars) : 0;
        sum += side->metadata_bytes ? nlt_stash_reserved(&side->metadata) : 0;
    }
    return sum;
}

/* ---- making ---- */

static nlt_rc_t
reserve(const nlt_head_t *h, int fd, uint64_t off, uint64_t len,
        nlt_err_t *err)
{
    const nlt_io_t *io = h->env->io;
    int sys = io->allocate(io->ctx, fd, (int64_t) off, (int64_t) len);

    return sys < 0
               ? nlt_err_set_errno(err, sys == -ENOSPC ? NLT_EFULL : NLT_EIO,
                                   -sys, "reserve the side file of the head")
               : NLT_OK;
}

/* Two empty stashes in the new file. */
static nlt_rc_t
format(nlt_head_t *h, int fd, const side_page_t *page, nlt_err_t *err)
{
    const nlt_io_t *io = h->env->io;
    const uint64_t bytes[] = {page->exemplar_bytes, page->metadata_bytes};
    uint64_t size = nlt_head_side_bytes(bytes[0], bytes[1]), off = PAGE;
    uint8_t *base = NULL;
    nlt_rc_t rc = NLT_OK;
    int sys = io->truncate(io->ctx, fd, (int64_t) size);

    if (sys < 0) {
        return nlt_err_set_errno(err, NLT_EIO, -sys,
                                 "size of the side file of the head");
    }
    rc = reserve(h, fd, 0, PAGE, err);
    for (size_t i = 0; rc == NLT_OK && i < NLT_COUNT(bytes); i++) {
        if (bytes[i] > 0) {
            rc = reserve(h, fd, off, nlt_stash_first_bytes(bytes[i]), err);
        }
        off += bytes[i];
    }
    if (rc == NLT_OK) {
        rc = nlt_map_shared(fd, size, &base, err);
    }
    if (rc != NLT_OK) {
        return rc;
    }
    memcpy(base, page, sizeof(*page));
    off = PAGE;
    for (size_t i = 0; rc == NLT_OK && i < NLT_COUNT(bytes); i++) {
        if (bytes[i] > 0) {
            rc = nlt_stash_format(base + off, bytes[i], err);
        }
        off += bytes[i];
    }
    nlt_unmap(base, size);
    return rc;
}

static nlt_rc_t
make_file(nlt_head_t *h, uint64_t no, const char *name, nlt_err_t *err)
{
    const nlt_io_t *io = h->env->io;
    side_page_t page = {
        .magic = SIDE_MAGIC,
        .no = no,
        .exemplar_bytes = stash_bytes(h->conf.exemplar_bytes),
        .metadata_bytes = stash_bytes(h->conf.metadata_bytes),
    };
    nlt_rc_t rc;
    int fd;

    memcpy(page.store_id, h->conf.store_id, sizeof(page.store_id));
    page.crc = page_crc(&page);
    (void) io->unlink(io->ctx, h->conf.dir_fd, name);
    fd = io->open(io->ctx, h->conf.dir_fd, name,
                  O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return nlt_err_set_errno(err, fd == -ENOSPC ? NLT_EFULL : NLT_EIO, -fd,
                                 "create \"%s\"", name);
    }
    rc = format(h, fd, &page, err);
    (void) io->close(io->ctx, fd);
    if (rc != NLT_OK) {
        (void) io->unlink(io->ctx, h->conf.dir_fd, name);
    }
    return rc;
}

/* What the old one has goes into the new one. */
static void
move(nlt_head_side_t *from, nlt_head_side_t *to, nlt_stash_page_t *page)
{
    if (from->exemplar_bytes > 0 && to->exemplar_bytes > 0) {
        nlt_stash_move(&from->exemplars, &to->exemplars, page);
    }
    if (from->metadata_bytes > 0 && to->metadata_bytes > 0) {
        nlt_stash_move(&from->metadata, &to->metadata, page);
    }
}

static nlt_rc_t
replace(nlt_head_t *h, nlt_head_side_t *old, nlt_err_t *err)
{
    const nlt_io_t *io = h->env->io;
    uint64_t was = atomic_load(&h->ctl->side_no), no = was + 1;
    char name[NLT_HEAD_NAME_MAX], old_name[NLT_HEAD_NAME_MAX];
    nlt_stash_page_t *page = nlt_mem_zalloc(h->env->mem, sizeof(*page));
    nlt_rc_t rc;

    if (page == NULL) {
        return nlt_err_set(err, NLT_ENOMEM, "side file: no memory");
    }
    side_name(name, h->conf.store_id, no);
    rc = make_file(h, no, name, err);
    if (rc == NLT_OK && pthread_mutex_lock(&h->lock) != 0) {
        rc = nlt_err_set(err, NLT_EBUG, "the head's handle cannot lock");
    } else if (rc == NLT_OK) {
        rc = map_side(h, no, err);
        (void) pthread_mutex_unlock(&h->lock);
    }
    if (rc == NLT_OK) {
        if (old != NULL) {
            move(old, atomic_load(&h->side), page);
        }
        atomic_store(&h->ctl->side_no, no);
        side_name(old_name, h->conf.store_id, was);
        (void) io->unlink(io->ctx, h->conf.dir_fd, old_name);
    }
    nlt_mem_free(h->env->mem, page, sizeof(*page));
    return rc;
}

nlt_rc_t
nlt_head_side_make(nlt_head_t *h, nlt_err_t *err)
{
    nlt_head_side_t *old = nlt_head_side(h);
    uint64_t exemplars = stash_bytes(h->conf.exemplar_bytes);
    uint64_t metadata = stash_bytes(h->conf.metadata_bytes);

    if (old != NULL ? old->exemplar_bytes == exemplars
                          && old->metadata_bytes == metadata
                    : exemplars + metadata == 0) {
        return NLT_OK;
    }
    if (exemplars + metadata > 0) {
        return replace(h, old, err);
    }
    atomic_store(&h->ctl->side_no, 0);
    return NLT_OK;
}
