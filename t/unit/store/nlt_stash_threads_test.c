/*
 * nlt_stash_threads_test.c - writers and readers of a stash at once.
 *
 * Two threads put and cut, with mappings of their own, two read.  A reader
 * checks that each text belongs to its group and each item to its values, that
 * items of a group come in the order of their serials, and none twice.
 */
#include "nlt_test.h"

#include <pthread.h>
#include <sys/mman.h>

#include "nlt_mem.h"
#include "nlt_stash_priv.h"

#define BYTES  NLT_STASH_BYTES_MIN
#define GROUPS 20
#define PUTS   20000

static void *base;
static _Atomic int writing;
static _Atomic unsigned n_wrong, n_read;

static nlt_hash128_t
key_of(unsigned g)
{
    return (nlt_hash128_t){nlt_mix64(g + 1), nlt_mix64(g + 77)};
}

static nlt_stash_t
open_stash(void)
{
    nlt_stash_t s;

    if (nlt_stash_open(&s, base, BYTES, NULL, -1, 0, NULL) != NLT_OK) {
        abort();
    }
    return s;
}

static void *
writer(void *arg)
{
    nlt_stash_t s = open_stash();
    uint64_t r = nlt_mix64((uintptr_t) arg);
    char text[300];

    for (unsigned i = 0; i < PUTS; i++) {
        unsigned g;
        nlt_stash_new_t n;

        r = nlt_mix64(r + i);
        g = (unsigned) (r % GROUPS);
        memset(text, (int) ('a' + g), sizeof(text));
        n = (nlt_stash_new_t){
            .key = key_of(g),
            .tenant = g % 4,
            .group = {1 + g * 7, text},
            .t_ms = (int64_t) (r >> 40),
            .v_bits = ~(r >> 40),
            .text = {r >> 32 & 255, text},
            .only = r >> 20 % 64 == 0,
        };
        if (nlt_stash_put(&s, &n) != NLT_OK) {
            atomic_fetch_add(&n_wrong, 1);
        }
        if (i % 50 == 0) {
            (void) nlt_stash_cut(&s, key_of(g), INT64_MIN, INT64_MAX);
        }
        if (i % 50 == 7) {
            nlt_stash_touch(&s, key_of(g), n.t_ms);
        }
    }
    atomic_fetch_sub(&writing, 1);
    return NULL;
}

static bool
is_all(nlt_str_t s, unsigned g)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] != (char) ('a' + g)) {
            return false;
        }
    }
    return true;
}

static void
read_items(nlt_stash_t *s, unsigned g, nlt_stash_page_t *p)
{
    nlt_stash_at_t at = {0, 0};
    uint64_t last = 0;

    while (nlt_stash_items(s, key_of(g), &at, p) == NLT_OK) {
        for (size_t i = 0; i < p->n; i++) {
            const nlt_stash_item_t *it = &p->u.item[i];

            /* a touch changes the time and not the value, but both are g's */
            if (it->serial <= last || !is_all(it->text, g)) {
                atomic_fetch_add(&n_wrong, 1);
            }
            last = it->serial;
            atomic_fetch_add(&n_read, 1);
        }
    }
}

static void *
reader(void *arg)
{
    nlt_stash_page_t *p = malloc(sizeof(*p));
    nlt_stash_t s = open_stash();

    (void) arg;
    while (p != NULL && atomic_load(&writing) > 0) {
        nlt_stash_walk_t w = {0, 0};

        while (nlt_stash_groups(&s, &w, NLT_STASH_ANY_TENANT, p) == NLT_OK) {
            for (size_t i = 0; i < p->n; i++) {
                const nlt_stash_group_t *g = &p->u.group[i];
                unsigned no = (unsigned) (g->text.data[0] - 'a');

                if (no >= GROUPS || !is_all(g->text, no)
                    || g->text.len != 1 + no * 7 || g->tenant != no % 4
                    || g->key.lo != key_of(no).lo) {
                    atomic_fetch_add(&n_wrong, 1);
                }
            }
        }
        for (unsigned g = 0; g < GROUPS; g++) {
            read_items(&s, g, p);
        }
    }
    free(p);
    return NULL;
}

static void
readers_see_what_writers_put(void)
{
    pthread_t t[4];
    nlt_stash_t s = open_stash();
    nlt_err_t err;

    atomic_store(&writing, 2);
    for (uintptr_t i = 0; i < 4; i++) {
        NLT_CHECK_INT(pthread_create(&t[i], NULL, i < 2 ? writer : reader,
                                     (void *) (i + 1)),
                      0);
    }
    for (size_t i = 0; i < 4; i++) {
        (void) pthread_join(t[i], NULL);
    }
    printf("# %u items read\n", atomic_load(&n_read));
    NLT_CHECK_INT(atomic_load(&n_wrong), 0);
    NLT_CHECK(atomic_load(&n_read) > 0);
    NLT_CHECK_INT(nlt_stash_check(&s, &nlt_mem_libc, &err), NLT_OK);
    NLT_CHECK_INT(atomic_load(&s.hdr->resets), 0);
}

int
main(void)
{
    base = mmap(NULL, BYTES, PROT_READ | PROT_WRITE,
                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED || nlt_stash_format(base, BYTES, NULL) != NLT_OK) {
        return 2;
    }
    NLT_TEST(readers_see_what_writers_put);
    return nlt_test_done();
}
