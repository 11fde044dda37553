/*
 * nlt_chunks.c - large pieces of memory: mapped, kept a while, unmapped.
 *
 * A kept piece has its links in its own first bytes.  System calls happen
 * outside of the lock: munmap() of a large piece takes milliseconds.
 */
#include "nlt_chunks.h"

#include <stdint.h>
#include <sys/mman.h>

/* Pieces larger than this part of keep_bytes are not kept. */
#define KEEP_PART 8

struct nlt_chunk_s {
    nlt_chunk_t *newer, *older;
    size_t bytes;
};

/* 4, 5, 6 or 7 times a power of two; 0: too large. */
static size_t
round_up(size_t size)
{
    unsigned log2 = 63 - (unsigned) __builtin_clzll(size);
    size_t step = (size_t) 1 << (log2 - 2);

    return size > PTRDIFF_MAX ? 0 : (size + step - 1) & ~(step - 1);
}

static void
unlink_chunk(nlt_chunks_t *c, nlt_chunk_t *k)
{
    *(k->newer != NULL ? &k->newer->older : &c->newest) = k->older;
    *(k->older != NULL ? &k->older->newer : &c->oldest) = k->newer;
    c->kept_bytes -= k->bytes;
    if (c->kept_bytes < c->idle_bytes) {
        c->idle_bytes = c->kept_bytes;
    }
}

/* Unlinks the oldest pieces down to keep_bytes, at_most bytes or one piece; a
 * list by `older` of what is to be unmapped. */
static nlt_chunk_t *
take_oldest(nlt_chunks_t *c, size_t keep_bytes, size_t at_most)
{
    nlt_chunk_t *list = NULL;
    size_t taken = 0;

    while (c->oldest != NULL && c->kept_bytes > keep_bytes
           && taken < at_most) {
        nlt_chunk_t *k = c->oldest;

        taken += k->bytes;
        unlink_chunk(c, k);
        k->older = list;
        list = k;
    }
    return list;
}

static void
unmap(nlt_chunk_t *list)
{
    while (list != NULL) {
        nlt_chunk_t *next = list->older;

        (void) munmap(list, list->bytes);
        list = next;
    }
}

void *
nlt_chunks_alloc(void *ctx, size_t size)
{
    nlt_chunks_t *c = ctx;
    size_t bytes;
    nlt_chunk_t *k;
    void *p;

    if (size < NLT_CHUNK_BYTES_MIN) {
        return c->below->alloc(c->below->ctx, size);
    }
    bytes = round_up(size);
    if (bytes == 0) {
        return NULL;
    }
    (void) pthread_mutex_lock(&c->lock);
    k = bytes <= c->keep_bytes / KEEP_PART ? c->newest : NULL;
    while (k != NULL && k->bytes != bytes) {
        k = k->older;
    }
    if (k != NULL) {
        unlink_chunk(c, k);
    }
    c->used_bytes += bytes;
    (void) pthread_mutex_unlock(&c->lock);
    if (k != NULL) {
        return k;
    }
    p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
             -1, 0);
    if (p != MAP_FAILED) {
        return p;
    }
    (void) pthread_mutex_lock(&c->lock);
    c->used_bytes -= bytes;
    (void) pthread_mutex_unlock(&c->lock);
    return NULL;
}

void
nlt_chunks_free(void *ctx, void *p, size_t size)
{
    nlt_chunks_t *c = ctx;
    nlt_chunk_t *k = p, *gone;
    size_t bytes;

    if (size < NLT_CHUNK_BYTES_MIN) {
        c->below->free(c->below->ctx, p, size);
        return;
    }
    bytes = round_up(size);
    (void) pthread_mutex_lock(&c->lock);
    c->used_bytes -= bytes;
    if (bytes > c->keep_bytes / KEEP_PART) {
        (void) pthread_mutex_unlock(&c->lock);
        (void) munmap(p, bytes);
        return;
    }
    *k = (nlt_chunk_t){.older = c->newest, .bytes = bytes};
    *(c->newest != NULL ? &c->newest->newer : &c->oldest) = k;
    c->newest = k;
    c->kept_bytes += bytes;
    gone = take_oldest(c, c->keep_bytes, SIZE_MAX);
    (void) pthread_mutex_unlock(&c->lock);
    unmap(gone);
}

void
nlt_chunks_trim(nlt_chunks_t *c, size_t at_most)
{
    nlt_chunk_t *gone;
    size_t idle;

    (void) pthread_mutex_lock(&c->lock);
    idle = c->idle_bytes;
    gone = take_oldest(c, c->kept_bytes - idle, at_most);
    c->idle_bytes = c->kept_bytes;
    (void) pthread_mutex_unlock(&c->lock);
    unmap(gone);
}
