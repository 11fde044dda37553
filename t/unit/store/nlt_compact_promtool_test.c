/*
 * nlt_compact_promtool_test.c - Prometheus's own tool reads what was merged.
 *
 * Without promtool in the path there is nothing to ask, and the tests say so.
 */
#include <math.h>
#include <stdio.h>
#include <sys/stat.h>

#include "nlt_compact_fixture.h"

static nlt_manifest_block_t result;
static uint64_t want_samples;

/* Runs promtool tsdb ARGS; a stream of what it says. */
static FILE *
promtool(const char *args)
{
    char cmd[512];

    snprintf(cmd, sizeof(cmd), "promtool tsdb %s 2>&1", args);
    return popen(cmd, "r");
}

static bool
says(FILE *f, const char *what, int *status)
{
    char line[4096];
    bool found = false;

    while (fgets(line, sizeof(line), f)) {
        found |= strstr(line, what) != NULL;
    }
    *status = pclose(f);
    return found;
}

static void
promtool_lists_and_analyzes_it(void)
{
    char args[256], text[64];
    int status;

    snprintf(args, sizeof(args), "list %s", dir_name);
    NLT_CHECK(says(promtool(args), result.ulid.c, &status));
    NLT_CHECK_INT(status, 0);
    snprintf(args, sizeof(args), "analyze %s %s", dir_name, result.ulid.c);
    snprintf(text, sizeof(text), "Series: %llu",
             (unsigned long long) result.n_series);
    NLT_CHECK(says(promtool(args), text, &status));
    NLT_CHECK_INT(status, 0);
}

/* {labels} value time, sample by sample. */
static void
promtool_dumps_what_a_sort_of_the_sources_gives(void)
{
    char args[256], line[4096];
    bm_block_t *v[BLOCKS];
    bm_merged_t m = {NULL, 0, NULL, 0};
    size_t set = 0, i = 0, n = 0, bad = 0;
    FILE *f;

    for (size_t k = 0; k < n_blocks; k++) {
        v[k] = &block[k];
    }
    snprintf(args, sizeof(args), "dump %s", dir_name);
    f = promtool(args);
    while (fgets(line, sizeof(line), f)) {
        char *close = strrchr(line, '}'), *end;
        double x;

        while (i == m.n && set < BM_SETS) {
            m = bm_merge(v, n_blocks, set++, INT64_MIN, NULL, &pool);
            i = 0;
        }
        if (close == NULL || i == m.n) {
            NLT_CHECK(close != NULL && i < m.n);
            printf("# %s", line);
            break;
        }
        x = strtod(close + 1, &end);
        bad += !(x == m.v[i].v || (isnan(x) && isnan(m.v[i].v)));
        bad += strtoll(end, NULL, 10) != m.v[i].t_ms;
        bad += strstr(line, bm_sets[set - 1].text[1]) == NULL;
        i++;
        n++;
    }
    NLT_CHECK_INT(pclose(f), 0);
    NLT_CHECK_INT(bad, 0);
    NLT_CHECK_INT(n, want_samples);
    NLT_CHECK_INT(n, result.n_samples);
}

/* Copied, joined, merged and foreign chunks, more than two hours of them. */
static void
make(void)
{
    nlt_compact_conf_t conf = conf_of(NULL);
    bm_block_t *v[BLOCKS];

    setup();
    add(1, 0, 20, row(0, 480, 4), 4);
    add(2, 5, 30, row(1900, 173, 1), 1);
    add(3, 5, 30, row(2073, 307, 1), 1);
    add(4, 10, 5, row(2100, 400, 3), 3);
    add(5, 0, BM_SETS, row(4000, 60, 40), 40);
    block[4].block->meta.ours = false;
    for (size_t k = 0; k < n_blocks; k++) {
        v[k] = &block[k];
    }
    for (size_t set = 0; set < BM_SETS; set++) {
        want_samples += bm_merge(v, n_blocks, set, INT64_MIN, NULL, &pool).n;
    }
    if (merge(&conf, &result, NULL) != NLT_OK) {
        printf("Bail out! %s\n", err.text);
        exit(1);
    }
    /* Only the result is for promtool to read. */
    for (size_t k = 0; k < n_blocks; k++) {
        NLT_CHECK_INT(nlt_io_remove_tree(&nlt_io_posix, dir_fd,
                                         block[k].info.ulid.c, &err),
                      NLT_OK);
    }
    NLT_CHECK_INT(mkdirat(dir_fd, "wal", 0700), 0); /* it wants one */
}

static void
tests(void)
{
    make();
    NLT_TEST(promtool_lists_and_analyzes_it);
    NLT_TEST(promtool_dumps_what_a_sort_of_the_sources_gives);
    for (size_t i = 0; i < n_blocks; i++) {
        nlt_block_close(block[i].block);
    }
    nlt_pool_deinit(&pool);
    /* It made directories of its own, too. */
    NLT_CHECK_INT(nlt_io_remove_tree(&nlt_io_posix, AT_FDCWD, dir_name, &err),
                  NLT_OK);
}

int
main(void)
{
    if (system("promtool --version >/dev/null 2>&1") != 0) {
        printf("1..0 # SKIP promtool is not installed\n");
        return 0;
    }
    return run(tests);
}
