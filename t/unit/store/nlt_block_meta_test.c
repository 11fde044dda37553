/*
 * nlt_block_meta_test.c - ULIDs and meta.json.
 */
#include "nlt_block_meta.h"
#include "nlt_test.h"

static nlt_pool_t pool;
static nlt_err_t err;

static nlt_rc_t
parse(const char *json, nlt_block_meta_t *m)
{
    return nlt_block_meta_parse(&pool, (nlt_str_t){strlen(json), json}, m,
                                &err);
}

static void
ulids_begin_with_their_time_and_differ(void)
{
    nlt_ulid_t a, b, later;

    NLT_CHECK_INT(nlt_ulid_new(1700000000000, &a), NLT_OK);
    NLT_CHECK_INT(nlt_ulid_new(1700000000000, &b), NLT_OK);
    NLT_CHECK_INT(nlt_ulid_new(1700000000001, &later), NLT_OK);
    NLT_CHECK(strncmp(a.c, "01HF7YAT00", 10) == 0);
    NLT_CHECK(strcmp(a.c, b.c) != 0);
    NLT_CHECK(strcmp(later.c, a.c) > 0);
    NLT_CHECK(nlt_ulid_valid((nlt_str_t){NLT_ULID_LEN, a.c}));
}

static void
only_canonical_ulids_are_valid(void)
{
    NLT_CHECK(nlt_ulid_valid(NLT_STR("7ZZZZZZZZZZZZZZZZZZZZZZZZZ")));
    NLT_CHECK(!nlt_ulid_valid(NLT_STR("8ZZZZZZZZZZZZZZZZZZZZZZZZZ")));
    NLT_CHECK(!nlt_ulid_valid(NLT_STR("01HF7YAT00000000000000000")));
    NLT_CHECK(!nlt_ulid_valid(NLT_STR("01hf7yat000000000000000000")));
    NLT_CHECK(!nlt_ulid_valid(NLT_STR("01HF7YAT00I000000000000000")));
    NLT_CHECK(!nlt_ulid_valid(NLT_STR("01HF7YAT00000000000000000/")));
    NLT_CHECK(!nlt_ulid_valid(NLT_STR("01HF7YAT0000000000000000\0\0")));
    NLT_CHECK(!nlt_ulid_valid(NLT_STR("")));
}

static void
check_printed(bool dense)
{
    nlt_ulid_t sources[2] = {{"01HF7YAT000000000000000001"},
                             {"01HF7YAT000000000000000002"}};
    nlt_block_meta_t m = {.ulid = {"01HF7YAT000000000000000000"},
                          .t_min_ms = -7200000,
                          .t_end_ms = 1700000000000,
                          .n_samples = 12,
                          .n_float_samples = 10,
                          .n_histogram_samples = 2,
                          .n_series = 3,
                          .n_chunks = 4,
                          .n_tombstones = 5,
                          .level = 2,
                          .arena = 77,
                          .n_sources = 2,
                          .sources = sources,
                          .n_parents = 1,
                          .parents = sources + 1,
                          .dense = dense},
                     got;
    nlt_buf_t b;

    nlt_buf_init(&b, &nlt_mem_libc, 65536);
    nlt_block_meta_print(&b, &m);
    NLT_CHECK_INT(b.rc, NLT_OK);
    NLT_CHECK_INT(nlt_block_meta_parse(&pool, nlt_buf_str(&b), &got, &err),
                  NLT_OK);
    NLT_CHECK(strcmp(got.ulid.c, m.ulid.c) == 0);
    NLT_CHECK_INT(got.t_min_ms, m.t_min_ms);
    NLT_CHECK_INT(got.t_end_ms, m.t_end_ms);
    NLT_CHECK_INT(got.n_samples, 12);
    NLT_CHECK_INT(got.n_float_samples, 10);
    NLT_CHECK_INT(got.n_histogram_samples, 2);
    NLT_CHECK_INT(got.n_series, 3);
    NLT_CHECK_INT(got.n_chunks, 4);
    NLT_CHECK_INT(got.n_tombstones, 5);
    NLT_CHECK_INT(got.level, 2);
    NLT_CHECK_INT(got.arena, 77);
    NLT_CHECK_INT(got.dense, dense);
    NLT_CHECK_INT(got.n_sources, 2);
    NLT_CHECK_INT(got.n_parents, 1);
    NLT_CHECK(strcmp(got.sources[1].c, sources[1].c) == 0);
    NLT_CHECK(strcmp(got.parents[0].c, sources[1].c) == 0);

    /* Any other digit is found: by checksum, syntax or sense. */
    for (size_t i = 0; i < b.len; i++) {
        if (b.data[i] >= '0' && b.data[i] <= '9') {
            char was = b.data[i];

            b.data[i] = was == '9' ? '8' : (char) (was + 1);
            NLT_CHECK(nlt_block_meta_parse(&pool, nlt_buf_str(&b), &got, &err)
                      != NLT_OK);
            b.data[i] = was;
        }
    }
    for (size_t n = 0; n + 1 < b.len; n++) {
        NLT_CHECK_INT(
            nlt_block_meta_parse(&pool, (nlt_str_t){n, b.data}, &got, &err),
            NLT_EDATA);
    }
    nlt_buf_deinit(&b);
}

static void
printed_meta_reads_back(void)
{
    check_printed(false);
    check_printed(true);
}

/* Others look at the version first, and say which one it is. */
static void
dense_blocks_are_of_another_version(void)
{
    static const char head[] = "{\"ulid\": \"01HF7YAT000000000000000000\", "
                               "\"minTime\": 0, \"maxTime\": 1, ";
    static const struct {
        const char *tail;
        nlt_rc_t rc;
        const char *text;
    } want[] = {
        {"\"version\": 1, \"nightlight\": {\"arena\": 1}}", NLT_OK, NULL},
        {"\"version\": 128, \"nightlight\": {\"format\": \"dense\"}}", NLT_OK,
         NULL},
        {"\"version\": 128}", NLT_EVERSION,
         "meta.json: unexpected meta file version 128"},
        {"\"version\": 1, \"nightlight\": {\"format\": \"dense\"}}", NLT_EDATA,
         "meta.json: format \"dense\", but version 1"},
        {"\"version\": 129, \"nightlight\": {\"format\": \"dense\"}}",
         NLT_EVERSION, "meta.json: unexpected meta file version 129"},
        {"\"version\": 129, \"nightlight\": {\"format\": \"denser\"}}",
         NLT_EVERSION, "meta.json: format \"denser\" is not known"},
        {"\"version\": 1, \"nightlight\": {\"format\": \"\\\"\"}}",
         NLT_EVERSION, "meta.json: format \"\\\"\" is not known"},
    };

    for (size_t i = 0; i < NLT_COUNT(want); i++) {
        nlt_block_meta_t m;
        char json[256];

        (void) snprintf(json, sizeof(json), "%s%s", head, want[i].tail);
        NLT_CHECK_INT(parse(json, &m), want[i].rc);
        if (want[i].text) {
            NLT_CHECK_STR(((nlt_str_t){err.len, err.text}), want[i].text);
        } else {
            NLT_CHECK_INT(m.dense, i == 1);
        }
    }
}

static void
a_fresh_block_is_its_own_source(void)
{
    nlt_block_meta_t m = {.ulid = {"01HF7YAT000000000000000000"},
                          .t_end_ms = 1,
                          .level = 1},
                     got;
    nlt_buf_t b;

    nlt_buf_init(&b, &nlt_mem_libc, 65536);
    nlt_block_meta_print(&b, &m);
    NLT_CHECK_INT(nlt_block_meta_parse(&pool, nlt_buf_str(&b), &got, &err),
                  NLT_OK);
    NLT_CHECK_INT(got.n_sources, 1);
    NLT_CHECK(got.n_sources == 1 && strcmp(got.sources[0].c, m.ulid.c) == 0);
    nlt_buf_deinit(&b);
}

static void
metas_of_prometheus_are_read(void)
{
    nlt_block_meta_t m;

    NLT_CHECK_INT(
        parse("{\n\t\"ulid\": \"01HF7YAT000000000000000000\",\n"
              "\t\"minTime\": 1602237600000,\n\t\"maxTime\": 1602244800000,\n"
              "\t\"stats\": {\n\t\t\"numSamples\": 553673232,\n"
              "\t\t\"numSeries\": 1346066,\n\t\t\"numChunks\": 4440437\n\t},\n"
              "\t\"compaction\": {\n\t\t\"level\": 1,\n\t\t\"sources\": [\n"
              "\t\t\t\"01EM6Q6A1YPX4G9TEB20J22B2R\"\n\t\t],\n"
              "\t\t\"parents\": null, \"hints\": [\"from-out-of-order\"]\n"
              "\t},\n\t\"version\": 1,\n \"thanos\": {\"labels\": "
              "{\"a\\\"\": \"\"}, \"x\": [1.5e3, true, {}, []]}\n}",
              &m),
        NLT_OK);
    NLT_CHECK_INT(m.n_samples, 553673232);
    NLT_CHECK_INT(m.n_series, 1346066);
    NLT_CHECK_INT(m.n_sources, 1);
    NLT_CHECK_INT(m.n_parents, 0);
    NLT_CHECK_INT(m.arena, 0);
}

static void
other_versions_and_nonsense_are_refused(void)
{
    nlt_block_meta_t m;

    NLT_CHECK_INT(parse("{\"version\": 2, \"ulid\": "
                        "\"01HF7YAT000000000000000000\", \"minTime\": 0, "
                        "\"maxTime\": 1}",
                        &m),
                  NLT_EVERSION);
    NLT_CHECK_STR(((nlt_str_t){err.len, err.text}),
                  "meta.json: unexpected meta file version 2");
    NLT_CHECK_INT(parse("{\"version\": 1, \"ulid\": "
                        "\"01HF7YAT000000000000000000\", \"minTime\": 0}",
                        &m),
                  NLT_EDATA);
    NLT_CHECK_INT(parse("{\"version\": 1, \"ulid\": \"../../../etc\", "
                        "\"minTime\": 0, \"maxTime\": 1}",
                        &m),
                  NLT_EDATA);
    NLT_CHECK_INT(parse("{\"version\": 1, \"ulid\": "
                        "\"01HF7YAT000000000000000000\", \"minTime\": 2, "
                        "\"maxTime\": 1}",
                        &m),
                  NLT_EDATA);
    NLT_CHECK_INT(parse("", &m), NLT_EDATA);
    NLT_CHECK_INT(parse("[]", &m), NLT_EDATA);
    NLT_CHECK_INT(parse("{} {}", &m), NLT_EDATA);
    NLT_CHECK_INT(parse("{,}", &m), NLT_EDATA);
}

static void
nesting_is_bounded(void)
{
    for (size_t depth = 30; depth <= 33; depth++) {
        char open[64], close[64], json[512];
        nlt_block_meta_t m;

        memset(open, '[', sizeof(open));
        memset(close, ']', sizeof(close));
        snprintf(json, sizeof(json),
                 "{\"x\":%.*s%.*s,\"version\": 1, \"minTime\": 0, "
                 "\"maxTime\": 1, \"ulid\": "
                 "\"01HF7YAT000000000000000000\"}",
                 (int) depth, open, (int) depth, close);
        NLT_CHECK_INT(parse(json, &m), depth < 32 ? NLT_OK : NLT_EDATA);
    }
}

int
main(void)
{
    nlt_pool_init(&pool, &nlt_mem_libc, 16 << 20);
    NLT_TEST(ulids_begin_with_their_time_and_differ);
    NLT_TEST(only_canonical_ulids_are_valid);
    NLT_TEST(printed_meta_reads_back);
    NLT_TEST(dense_blocks_are_of_another_version);
    NLT_TEST(a_fresh_block_is_its_own_source);
    NLT_TEST(metas_of_prometheus_are_read);
    NLT_TEST(other_versions_and_nonsense_are_refused);
    NLT_TEST(nesting_is_bounded);
    nlt_pool_deinit(&pool);
    return nlt_test_done();
}
