/* nlt_chunks_threads_test.c - large memory: kept for the next one, given back.
 */
#include "nlt_chunks.h"
#include "nlt_test.h"
#include "nlt_test_mem.h"

#include <sys/mman.h>
#include <unistd.h>

#define MB ((size_t) 1 << 20)

static bool
is_mapped(const void *p)
{
    unsigned char in;

    return mincore((void *) ((uintptr_t) p & ~(uintptr_t) 4095), 1, &in) == 0;
}

static void
small_pieces_come_from_below(void)
{
    nlt_test_mem_t mem;

    nlt_test_mem_init(&mem, -1);

    nlt_chunks_t c = NLT_CHUNKS_INIT(&mem.mem, 8 * MB);
    void *p = nlt_chunks_alloc(&c, NLT_CHUNK_BYTES_MIN - 1);

    NLT_CHECK_INT(mem.bytes, NLT_CHUNK_BYTES_MIN - 1);
    NLT_CHECK_INT(c.used_bytes, 0);
    nlt_chunks_free(&c, p, NLT_CHUNK_BYTES_MIN - 1);
    NLT_CHECK_INT(mem.bytes, 0);
    p = nlt_chunks_alloc(&c, NLT_CHUNK_BYTES_MIN);
    NLT_CHECK_INT(mem.bytes, 0);
    NLT_CHECK_INT(c.used_bytes, NLT_CHUNK_BYTES_MIN);
    nlt_chunks_free(&c, p, NLT_CHUNK_BYTES_MIN);
    nlt_chunks_trim(&c, SIZE_MAX);
    nlt_chunks_trim(&c, SIZE_MAX);
    NLT_CHECK(!is_mapped(p));
}

static void
what_was_freed_is_taken_again(void)
{
    nlt_chunks_t c = NLT_CHUNKS_INIT(&nlt_mem_libc, 8 * MB);
    void *p = nlt_chunks_alloc(&c, MB), *q;

    nlt_chunks_free(&c, p, MB);
    NLT_CHECK_INT(c.kept_bytes, MB);
    NLT_CHECK_INT(c.used_bytes, 0);
    q = nlt_chunks_alloc(&c, MB / 2); /* not a part of it */
    NLT_CHECK_INT(c.kept_bytes, MB);
    NLT_CHECK(nlt_chunks_alloc(&c, MB - 1000) == p); /* rounded up */
    NLT_CHECK_INT(c.kept_bytes, 0);
    nlt_chunks_free(&c, p, MB - 1000);
    nlt_chunks_free(&c, q, MB / 2);
    nlt_chunks_trim(&c, SIZE_MAX);
    nlt_chunks_trim(&c, SIZE_MAX);
    NLT_CHECK_INT(c.kept_bytes, 0);
    NLT_CHECK(c.oldest == NULL && c.newest == NULL);
}

static void
no_more_is_kept_than_allowed(void)
{
    nlt_chunks_t c = NLT_CHUNKS_INIT(&nlt_mem_libc, 8 * MB);
    void *p[12], *large = nlt_chunks_alloc(&c, 4 * MB);

    memset(large, 1, 4 * MB);
    nlt_chunks_free(&c, large, 4 * MB); /* too large to be kept */
    NLT_CHECK_INT(c.kept_bytes, 0);
    NLT_CHECK(!is_mapped(large));
    for (int i = 0; i < 12; i++) {
        p[i] = nlt_chunks_alloc(&c, MB);
    }
    for (int i = 0; i < 12; i++) {
        nlt_chunks_free(&c, p[i], MB);
        NLT_CHECK(c.kept_bytes <= 8 * MB);
    }
    NLT_CHECK_INT(c.kept_bytes, 8 * MB);
    for (int i = 0; i < 12; i++) {
        NLT_CHECK(is_mapped(p[i]) == (i >= 4)); /* the oldest went */
    }
    nlt_chunks_trim(&c, SIZE_MAX);
    nlt_chunks_trim(&c, SIZE_MAX);
    NLT_CHECK_INT(c.kept_bytes, 0);
}

static void
only_what_nobody_needed_goes(void)
{
    nlt_chunks_t c = NLT_CHUNKS_INIT(&nlt_mem_libc, 64 * MB);
    void *p[10];

    for (int i = 0; i < 10; i++) {
        p[i] = nlt_chunks_alloc(&c, MB);
    }
    for (int i = 0; i < 10; i++) {
        nlt_chunks_free(&c, p[i], MB);
    }
    nlt_chunks_trim(&c, SIZE_MAX); /* was in use a moment ago */
    NLT_CHECK_INT(c.kept_bytes, 10 * MB);
    for (int i = 0; i < 4; i++) {
        p[i] = nlt_chunks_alloc(&c, MB);
    }
    for (int i = 0; i < 4; i++) {
        nlt_chunks_free(&c, p[i], MB);
    }
    nlt_chunks_trim(&c, SIZE_MAX); /* four of them were needed */
    NLT_CHECK_INT(c.kept_bytes, 4 * MB);
    nlt_chunks_trim(&c, MB);
    NLT_CHECK_INT(c.kept_bytes, 3 * MB);
    nlt_chunks_trim(&c, MB + 1);
    NLT_CHECK_INT(c.kept_bytes, 1 * MB);
    nlt_chunks_trim(&c, MB);
    NLT_CHECK_INT(c.kept_bytes, 0);
    NLT_CHECK_INT(c.used_bytes, 0);
}

static void
impossible_sizes_are_refused(void)
{
    nlt_chunks_t c = NLT_CHUNKS_INIT(&nlt_mem_libc, 8 * MB);

    NLT_CHECK(nlt_chunks_alloc(&c, SIZE_MAX) == NULL);
    NLT_CHECK(nlt_chunks_alloc(&c, (size_t) 1 << 62) == NULL);
    NLT_CHECK_INT(c.used_bytes, 0);
}

/* Random pieces from random threads do not overlap. */

static nlt_chunks_t shared = NLT_CHUNKS_INIT(&nlt_mem_libc, 4 * MB);

static void *
worker(void *arg)
{
    uint64_t seed = (uintptr_t) arg, wrong = 0;
    struct {
        char *p;
        size_t n;
    } at[8] = {{0}};

    for (int i = 0; i < 20000; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;

        unsigned k = (unsigned) (seed >> 40) % 8;

        if (at[k].p != NULL) {
            wrong +=
                at[k].p[0] != (char) k || at[k].p[at[k].n - 1] != (char) k;
            nlt_chunks_free(&shared, at[k].p, at[k].n);
            at[k].p = NULL;
            continue;
        }
        at[k].n = 40000 + (size_t) (seed >> 33) % 700000;
        at[k].p = nlt_chunks_alloc(&shared, at[k].n);
        if (at[k].p == NULL) {
            return (void *) 1;
        }
        at[k].p[0] = (char) k;
        at[k].p[at[k].n - 1] = (char) k;
        if (i % 100 == 0) {
            nlt_chunks_trim(&shared, MB);
        }
    }
    for (int k = 0; k < 8; k++) {
        if (at[k].p != NULL) {
            nlt_chunks_free(&shared, at[k].p, at[k].n);
        }
    }
    return wrong ? (void *) 1 : NULL;
}

static void
threads_do_not_get_the_same_piece(void)
{
    uintptr_t seed = (uintptr_t) nlt_test_seed();
    pthread_t t[4];
    void *wrong;

    for (uintptr_t i = 0; i < 4; i++) {
        NLT_CHECK_INT(pthread_create(&t[i], NULL, worker, (void *) (seed + i)),
                      0);
    }
    for (int i = 0; i < 4; i++) {
        NLT_CHECK_INT(pthread_join(t[i], &wrong), 0);
        NLT_CHECK(wrong == NULL);
    }
    NLT_CHECK_INT(shared.used_bytes, 0);
    NLT_CHECK(shared.kept_bytes <= 4 * MB);
    nlt_chunks_trim(&shared, SIZE_MAX);
    nlt_chunks_trim(&shared, SIZE_MAX);
    NLT_CHECK_INT(shared.kept_bytes, 0);
}

int
main(void)
{
    NLT_TEST(small_pieces_come_from_below);
    NLT_TEST(what_was_freed_is_taken_again);
    NLT_TEST(no_more_is_kept_than_allowed);
    NLT_TEST(only_what_nobody_needed_goes);
    NLT_TEST(impossible_sizes_are_refused);
    NLT_TEST(threads_do_not_get_the_same_piece);
    return nlt_test_done();
}
