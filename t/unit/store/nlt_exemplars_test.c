/*
 * nlt_exemplars_test.c - labels of exemplars, and search.
 */
#include "nlt_test.h"

#include <sys/mman.h>

#include "nlt_exemplars.h"
#include "nlt_remote_write.h"

static nlt_stash_t stash;
static nlt_pool_t pool;

static nlt_exemplar_result_t
encode(const char *const *pairs, size_t n, char *out, size_t *len)
{
    nlt_label_t v[200];

    for (size_t i = 0; i < n; i++) {
        v[i].name = nlt_test_str(pairs[2 * i]);
        v[i].value = nlt_test_str(pairs[2 * i + 1]);
    }
    return nlt_exemplar_encode((nlt_labels_t){v, n}, out, len);
}

static void
labels_are_sorted_and_come_back(void)
{
    static const char *const pairs[] = {"trace_id", "x\xc3\xa9", "a", "2",
                                        "b c",      "1",         "e", ""};
    char out[NLT_EXEMPLAR_BYTES_MAX];
    nlt_label_t back[NLT_EXEMPLAR_LABELS_MAX];
    size_t len, n;

    NLT_CHECK_INT(encode(pairs, 4, out, &len), NLT_EXEMPLAR_OK);
    NLT_CHECK_INT(nlt_exemplar_decode((nlt_str_t){len, out}, back, &n),
                  NLT_OK);
    NLT_CHECK_INT(n, 3);
    NLT_CHECK_STR(back[0].name, "a");
    NLT_CHECK_STR(back[0].value, "2");
    NLT_CHECK_STR(back[1].name, "b c");
    NLT_CHECK_STR(back[2].value, "x\xc3\xa9");
    for (size_t cut = 1; cut < len; cut++) {
        nlt_rc_t rc = nlt_exemplar_decode((nlt_str_t){cut, out}, back, &n);

        /* cut between two labels it is a shorter set */
        NLT_CHECK(rc == NLT_EDATA || cut == 4 || cut == 10);
    }
    NLT_CHECK_INT(encode(pairs, 0, out, &len), NLT_EXEMPLAR_OK);
    NLT_CHECK_INT(len, 0);
}

static void
the_limit_is_128_characters(void)
{
    char value[600];
    const char *pairs[] = {"n", value};
    char out[NLT_EXEMPLAR_BYTES_MAX];
    size_t len;

    memset(value, 'x', sizeof(value));
    value[127] = '\0';
    NLT_CHECK_INT(encode(pairs, 1, out, &len), NLT_EXEMPLAR_OK);
    value[127] = 'x';
    value[128] = '\0';
    NLT_CHECK_INT(encode(pairs, 1, out, &len), NLT_EXEMPLAR_TOO_LONG);
    /* runes, not bytes: U+1F600 has four */
    for (size_t i = 0; i < 128; i++) {
        memcpy(value + 4 * i, "\xf0\x9f\x98\x80", 4);
    }
    value[4 * 127] = '\0';
    NLT_CHECK_INT(encode(pairs, 1, out, &len), NLT_EXEMPLAR_OK);
    NLT_CHECK(len <= sizeof(out));
    value[4 * 127] = '\xf0';
    value[4 * 128] = '\0';
    NLT_CHECK_INT(encode(pairs, 1, out, &len), NLT_EXEMPLAR_TOO_LONG);
}

static void
the_longest_set_of_labels_fits(void)
{
    char names[65][2];
    const char *pairs[130];
    char out[NLT_EXEMPLAR_BYTES_MAX];
    nlt_label_t back[NLT_EXEMPLAR_LABELS_MAX];
    size_t len, n;

    for (int i = 0; i < 65; i++) {
        names[i][0] = (char) (i + 33);
        names[i][1] = '\0';
        pairs[2 * i] = names[i];
        pairs[2 * i + 1] = "v";
    }
    NLT_CHECK_INT(encode(pairs, 64, out, &len), NLT_EXEMPLAR_OK);
    NLT_CHECK_INT(nlt_exemplar_decode((nlt_str_t){len, out}, back, &n),
                  NLT_OK);
    NLT_CHECK_INT(n, 64);
    NLT_CHECK_INT(encode(pairs, 65, out, &len), NLT_EXEMPLAR_TOO_LONG);
}

static void
labels_that_are_none_are_refused(void)
{
    static const char *const empty[] = {"", "v"};
    static const char *const twice[] = {"a", "1", "b", "2", "a", "1"};
    static const char *const bytes[] = {"a", "\xff"};
    char out[NLT_EXEMPLAR_BYTES_MAX];
    const char *many[400];
    size_t len;

    for (size_t i = 0; i < 400; i++) {
        many[i] = i % 2 ? "" : "n";
    }
    NLT_CHECK_INT(encode(empty, 1, out, &len), NLT_EXEMPLAR_INVALID);
    NLT_CHECK_INT(encode(twice, 3, out, &len), NLT_EXEMPLAR_INVALID);
    NLT_CHECK_INT(encode(bytes, 1, out, &len), NLT_EXEMPLAR_INVALID);
    /* those without a value are none, however many */
    NLT_CHECK_INT(encode(many, 200, out, &len), NLT_EXEMPLAR_OK);
    NLT_CHECK_INT(len, 0);
}

/* ---- search ---- */

static void
put(uint32_t tenant, const char *series, int64_t t_ms, double v,
    const char *trace)
{
    const char *pairs[] = {"trace_id", trace};
    nlt_label_t l[] = {{NLT_METRIC_NAME, nlt_test_str(series)},
                       {NLT_STR("job"), NLT_STR("j")}};
    char text[NLT_EXEMPLAR_BYTES_MAX];
    nlt_buf_t canonical;
    nlt_stash_new_t n = {
        .tenant = tenant, .t_ms = t_ms, .v_bits = nlt_bits_of(v)};
    size_t len;

    NLT_CHECK_INT(encode(pairs, 1, text, &len), NLT_EXEMPLAR_OK);
    nlt_buf_init(&canonical, &nlt_mem_libc, 1 << 20);
    nlt_rw_canonical(&canonical, (nlt_labels_t){l, 2});
    n.key.lo = nlt_hash64(canonical.data, canonical.len, tenant);
    n.group = nlt_buf_str(&canonical);
    n.text = (nlt_str_t){len, text};
    NLT_CHECK_INT(nlt_stash_put(&stash, &n), NLT_OK);
    nlt_buf_deinit(&canonical);
}

/* "m1: 1@10(a) 2@20(b)\n..." */
static const char *
found(uint32_t tenant, int64_t t_min, int64_t t_max, nlt_match_op_t op,
      const char *name)
{
    static char text[4096];
    nlt_matcher_t m[] = {
        {.op = op, .name = NLT_METRIC_NAME, .value = nlt_test_str(name)},
        {.op = NLT_MATCH_EQ, .name = NLT_STR("no"), .value = NLT_STR("such")}};
    nlt_exemplar_set_t sets[] = {{&m[1], 1}, {&m[0], 1}};
    nlt_exemplar_query_t q = {tenant, t_min, t_max, sets, 2, NULL};
    nlt_exemplar_series_t *v;
    nlt_err_t err;
    size_t n;

    text[0] = '\0';
    NLT_CHECK_INT(nlt_matcher_compile(&pool, &m[0], &err), NLT_OK);
    NLT_CHECK_INT(nlt_exemplars_select(&stash, &q, &pool, &v, &n, &err),
                  NLT_OK);
    for (size_t i = 0; i < n; i++) {
        size_t at = strlen(text);

        at += (size_t) snprintf(
            text + at, sizeof(text) - at,
            "%.*s:", NLT_FMT(nlt_labels_get(v[i].labels, NLT_METRIC_NAME)));
        for (size_t k = 0; k < v[i].n; k++) {
            const nlt_exemplar_t *x = &v[i].v[k];

            at += (size_t) snprintf(
                text + at, sizeof(text) - at, " %g@%lld(%.*s)", x->v,
                (long long) x->t_ms, NLT_FMT(x->labels.v[0].value));
        }
        (void) snprintf(text + at, sizeof(text) - at, "\n");
    }
    nlt_matcher_release(&m[0]);
    return text;
}

static void
exemplars_are_found_sorted_and_once(void)
{
    nlt_stash_reset(&stash);
    put(0, "m2", 30, 3, "c");
    put(0, "m2", 10, 1, "a");
    put(0, "m2", 30, 2, "b"); /* one time: as they came */
    put(0, "m2", 10, 1, "a"); /* again */
    put(0, "m1", 5, nlt_double_of(NLT_STALE_NAN_BITS), "n");
    put(1, "m1", 7, 9, "other tenant");
    NLT_CHECK_STR(nlt_test_str(found(0, 0, 100, NLT_MATCH_RE, "m.*")),
                  "m1: nan@5(n)\nm2: 1@10(a) 3@30(c) 2@30(b)\n");
    NLT_CHECK_STR(nlt_test_str(found(1, 0, 100, NLT_MATCH_RE, "m.*")),
                  "m1: 9@7(other tenant)\n");
    NLT_CHECK_STR(nlt_test_str(found(0, 10, 29, NLT_MATCH_RE, "m.*")),
                  "m2: 1@10(a)\n");
    NLT_CHECK_STR(nlt_test_str(found(0, 11, 29, NLT_MATCH_RE, "m.*")), "");
    NLT_CHECK_STR(nlt_test_str(found(0, 0, 100, NLT_MATCH_EQ, "m1")),
                  "m1: nan@5(n)\n");
    NLT_CHECK_STR(nlt_test_str(found(2, 0, 100, NLT_MATCH_RE, "m.*")), "");
}

static void
many_of_a_series_are_all_found(void)
{
    nlt_exemplar_series_t *v;
    nlt_exemplar_set_t all = {NULL, 0};
    nlt_exemplar_query_t q = {0, INT64_MIN, INT64_MAX, &all, 1, NULL};
    nlt_err_t err;
    size_t n;

    nlt_stash_reset(&stash);
    /* more than a page, in an order that is none */
    for (int i = 0; i < 1000; i++) {
        put(0, "m", (i * 7) % 1000, i, "t");
    }
    NLT_CHECK_INT(nlt_exemplars_select(&stash, &q, &pool, &v, &n, &err),
                  NLT_OK);
    NLT_CHECK_INT(n, 1);
    NLT_CHECK_INT(v[0].n, 1000);
    for (size_t i = 0; n == 1 && i < v[0].n; i++) {
        NLT_CHECK_INT(v[0].v[i].t_ms, i);
    }
}

static void
a_search_has_a_budget_and_can_be_canceled(void)
{
    nlt_exemplar_set_t all = {NULL, 0};
    int cancel = 1;
    nlt_exemplar_query_t q = {0, INT64_MIN, INT64_MAX, &all, 1, &cancel};
    nlt_exemplar_series_t *v;
    nlt_pool_t small;
    nlt_err_t err;
    size_t n;

    NLT_CHECK_INT(nlt_exemplars_select(&stash, &q, &pool, &v, &n, &err),
                  NLT_ECANCELED);
    q.cancel = NULL;
    nlt_pool_init(&small, &nlt_mem_libc, 2 * sizeof(nlt_stash_page_t) + 30000);
    NLT_CHECK_INT(nlt_exemplars_select(&stash, &q, &small, &v, &n, &err),
                  NLT_ENOMEM);
    nlt_pool_deinit(&small);
}

int
main(void)
{
    size_t bytes = 16 * NLT_STASH_BYTES_MIN;
    void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (base == MAP_FAILED || nlt_stash_format(base, bytes, NULL) != NLT_OK
        || nlt_stash_open(&stash, base, bytes, NULL, -1, 0, NULL) != NLT_OK) {
        return 2;
    }
    atomic_store(&stash.hdr->n_backed, stash.n_cells);
    nlt_pool_init(&pool, &nlt_mem_libc, 64 << 20);
    NLT_TEST(labels_are_sorted_and_come_back);
    NLT_TEST(the_limit_is_128_characters);
    NLT_TEST(the_longest_set_of_labels_fits);
    NLT_TEST(labels_that_are_none_are_refused);
    NLT_TEST(exemplars_are_found_sorted_and_once);
    NLT_TEST(many_of_a_series_are_all_found);
    NLT_TEST(a_search_has_a_budget_and_can_be_canceled);
    nlt_pool_deinit(&pool);
    return nlt_test_done();
}
