/*
 * nlt_chunks.h - an allocator that gives large memory back to the kernel.
 *
 * Floor 0 (base); uses nlt_mem.
 * Threads: any number may allocate and free at once.
 *
 * A process that answered a few heavy queries would keep their memory for
 * ever: the C library has an arena for each thread, raises by itself the size
 * from which it maps pieces, and returns only what lies at the end of an
 * arena.  Sixteen arenas that have each held a query of 256 MB are 4 GB of a
 * worker that does nothing, and no limit on running queries bounds them.
 *
 * So pieces of NLT_CHUNK_BYTES_MIN and more are mappings of their own; smaller
 * ones come from another allocator.  Fresh pages cost a fault each, which is
 * more than the query does with some of them, so what is freed is kept for the
 * next one, up to keep_bytes:
 *
 *     alloc  --> kept piece of this size --> or mmap()
 *     free   --> kept, the oldest beyond keep_bytes: munmap()
 *     trim   --> what nobody took since the last trim: munmap(), a little
 *
 * Sizes are rounded up to 4, 5, 6 or 7 times a power of two, so that pieces
 * fit again; what a piece has behind the size asked for is never touched, and
 * costs no memory.  Pieces larger than an eighth of keep_bytes are not kept.
 */
#ifndef NLT_BASE_CHUNKS_H
#define NLT_BASE_CHUNKS_H

#include <pthread.h>

#include "nlt_mem.h"

/* Smaller pieces come from below. */
#define NLT_CHUNK_BYTES_MIN ((size_t) 64 << 10)

typedef struct nlt_chunk_s nlt_chunk_t;

typedef struct {
    pthread_mutex_t lock;
    const nlt_mem_t *below;
    size_t keep_bytes;

    nlt_chunk_t *newest; /* kept pieces, by the time they were freed */
    nlt_chunk_t *oldest;
    size_t kept_bytes;
    size_t idle_bytes; /* the least that kept_bytes was since the last trim */
    size_t used_bytes; /* handed out */
} nlt_chunks_t;

/* Initial value of an nlt_chunks_t; below is retained for ever. */
#define NLT_CHUNKS_INIT(below, keep_bytes)                                    \
    {                                                                         \
        PTHREAD_MUTEX_INITIALIZER, (below), (keep_bytes), NULL, NULL, 0, 0, 0 \
    }

/* Functions of an nlt_mem_t whose ctx is an nlt_chunks_t.  Memory is not
 * zeroed.  O(kept pieces), some hundred at most, for pieces of
 * NLT_CHUNK_BYTES_MIN and more; a system call when none fits. */
void *nlt_chunks_alloc(void *ctx, size_t size);
void nlt_chunks_free(void *ctx, void *p, size_t size);

/*
 * Gives pieces back to the kernel that nobody needed since the last call, the
 * oldest first and about at_most bytes, which bounds the time: 0.1 ms for each
 * MB.  For a timer.
 */
void nlt_chunks_trim(nlt_chunks_t *c, size_t at_most);

#endif
