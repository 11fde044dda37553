/*
 * nlt_stash_death_test.c - a process dies while it changes a stash.
 *
 * Wherever it dies (nlt_dying.h), the next one finds either all that was there
 * before, or with the change, or nothing at all; and goes on.
 */
#include "nlt_dying.h"

#include "nlt_mem.h"
#include "nlt_stash_priv.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#endif
#if defined(SANITIZED)
#define ROUNDS 160
#else
#define ROUNDS 800
#endif

#define BYTES NLT_STASH_BYTES_MIN

static nlt_stash_t stash;

typedef struct {
    int kind;
    nlt_stash_new_t n;
    char group[200];
    char text[200];
} work_ctx_t;

static void
work(void *ctx)
{
    work_ctx_t *w = ctx;

    switch (w->kind) {
    case 0:
    case 1:
        w->n.only = w->kind == 1;
        (void) !nlt_stash_put(&stash, &w->n);
        break;
    case 2:
        nlt_stash_touch(&stash, w->n.key, w->n.t_ms);
        break;
    default:
        (void) nlt_stash_cut(&stash, w->n.key, INT64_MIN, w->n.t_ms);
    }
}

static void
random_work(work_ctx_t *w)
{
    uint64_t g = nlt_test_below(12);
    size_t n_group = 1 + nlt_test_below(150), n_text = nlt_test_below(180);

    memset(w->group, 'g', sizeof(w->group));
    memset(w->text, 't', sizeof(w->text));
    w->kind = (int) nlt_test_below(8);
    w->kind = w->kind < 5 ? 0 : w->kind - 4;
    w->n = (nlt_stash_new_t){
        .key = {nlt_mix64(g + 1), nlt_mix64(g + 99)},
        .tenant = (uint32_t) (g % 3),
        .group = {n_group, w->group},
        .t_ms = (int64_t) nlt_test_below(1000),
        .v_bits = nlt_test_rand(),
        .text = {n_text, w->text},
    };
}

static void
a_dead_writer_costs_the_content_at_most(void)
{
    sites_t *sites[4], *s;
    unsigned died = 0, emptied = 0;
    nlt_err_t err;

    for (size_t i = 0; i < NLT_COUNT(sites); i++) {
        sites[i] = new_sites();
    }
    for (unsigned round = 0; round < ROUNDS; round++) {
        uint32_t resets = atomic_load(&stash.hdr->resets);
        uint64_t serial = atomic_load(&stash.hdr->serial);
        work_ctx_t w;

        /* something to be lost, and mostly full */
        for (int i = 0; i < 20; i++) {
            random_work(&w);
            w.kind = 0;
            work(&w);
        }
        NLT_CHECK_INT(atomic_load(&stash.hdr->serial), serial + 20);
        random_work(&w);
        s = sites[w.kind];
        died += die_somewhere(work, &w, s, NULL, round % 40 == 0);
        NLT_CHECK_INT(nlt_stash_check(&stash, &nlt_mem_libc, &err), NLT_OK);
        if (atomic_load(&stash.hdr->resets) != resets) {
            emptied++;
            NLT_CHECK_INT(atomic_load(&stash.hdr->n_items), 0);
        }
    }
    printf("# %u died, %u times it was emptied\n", died, emptied);
    NLT_CHECK(died > ROUNDS / 2);
    NLT_CHECK(emptied > 0 && emptied < died);
}

static void
a_reader_that_dies_costs_nothing(void)
{
    uint32_t resets = atomic_load(&stash.hdr->resets);
    work_ctx_t w;
    int status;
    pid_t pid;

    random_work(&w);
    NLT_CHECK_INT(nlt_stash_put(&stash, &w.n), NLT_OK);
    pid = fork();
    if (pid == 0) {
        (void) !nlt_stash_lock(&stash);
        (void) kill(getpid(), SIGKILL);
    }
    (void) waitpid(pid, &status, 0);
    NLT_CHECK(nlt_stash_has(&stash, w.n.key, w.n.t_ms, w.n.v_bits, w.n.text));
    NLT_CHECK_INT(atomic_load(&stash.hdr->resets), resets);
}

int
main(void)
{
    void *base = mmap(NULL, BYTES, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (base == MAP_FAILED || nlt_stash_format(base, BYTES, NULL) != NLT_OK
        || nlt_stash_open(&stash, base, BYTES, NULL, -1, 0, NULL) != NLT_OK) {
        return 2;
    }
    stepped = new_sites();
    NLT_TEST(a_dead_writer_costs_the_content_at_most);
    NLT_TEST(a_reader_that_dies_costs_nothing);
    return nlt_test_done();
}
