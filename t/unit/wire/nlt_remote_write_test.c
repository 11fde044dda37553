/*
 * nlt_remote_write_test.c - walker, labels, canonical bytes, headers, snappy.
 */
#include "nlt_limits.h"
#include "nlt_remote_write.h"
#include "nlt_test.h"

#define T0 INT64_C(1700000000000)

static const nlt_rw_limits_t limits = {64, 1024, 4096};

/* A small writer of protobuf by hand, so that odd forms can be written. */
static nlt_buf_t *
fresh(void)
{
    static nlt_buf_t bufs[8];
    static unsigned next;
    nlt_buf_t *b = &bufs[next++ % NLT_COUNT(bufs)];

    if (b->mem != NULL) {
        nlt_buf_deinit(b);
    }
    nlt_buf_init(b, &nlt_mem_libc, 64u << 20);
    return b;
}

static void
add_field(nlt_buf_t *b, uint32_t no, nlt_str_t s)
{
    nlt_buf_add_uvarint(b, no << 3 | 2);
    nlt_buf_add_uvarint(b, s.len);
    nlt_buf_add_str(b, s);
}

static void
add_label(nlt_buf_t *b, nlt_str_t name, nlt_str_t value)
{
    nlt_buf_t l;

    nlt_buf_init(&l, &nlt_mem_libc, 2u << 20);
    add_field(&l, 1, name);
    add_field(&l, 2, value);
    add_field(b, 1, nlt_buf_str(&l));
    nlt_buf_deinit(&l);
}

#define LABEL(b, name, value) add_label(b, NLT_STR(name), NLT_STR(value))

static void
add_sample(nlt_buf_t *b, int64_t t_ms, double v)
{
    char s[20] = "\x09";
    size_t n = 9;

    nlt_put_le64(s + 1, nlt_bits_of(v));
    s[n++] = 0x10;
    n += nlt_put_uvarint(s + n, (uint64_t) t_ms);
    add_field(b, 2, (nlt_str_t){n, s});
}

static void
walk_gives_labels_and_samples(void)
{
    nlt_buf_t *ts = fresh(), *req = fresh();
    nlt_rw_samples_t it;
    nlt_rw_series_t s;
    nlt_rw_walk_t w;
    uint64_t bits;
    int64_t t_ms;
    char scratch[64];

    LABEL(ts, "__name__", "up");
    LABEL(ts, "job", "a");
    size_t labels_len = ts->len;
    add_sample(ts, T0, 1.5);
    add_sample(ts, T0 + 1, nlt_double_of(NLT_STALE_NAN_BITS));
    add_field(req, 1, nlt_buf_str(ts));
    add_field(req, 3, NLT_STR(""));

    nlt_rw_walk_init(&w, nlt_buf_str(req), scratch, sizeof(scratch));
    NLT_CHECK_INT(nlt_rw_walk_next(&w, &s, NULL), NLT_OK);
    NLT_CHECK_INT(s.labels.len, labels_len);
    NLT_CHECK_INT(s.n_labels, 2);
    NLT_CHECK_INT(s.n_samples, 2);
    NLT_CHECK(!s.gathered);
    nlt_rw_samples_init(&it, &s);
    NLT_CHECK(nlt_rw_samples_next(&it, &t_ms, &bits));
    NLT_CHECK_INT(t_ms, T0);
    NLT_CHECK_BITS(nlt_double_of(bits), 1.5);
    NLT_CHECK(nlt_rw_samples_next(&it, &t_ms, &bits));
    NLT_CHECK_INT(t_ms, T0 + 1);
    NLT_CHECK(bits == NLT_STALE_NAN_BITS);
    NLT_CHECK(!nlt_rw_samples_next(&it, &t_ms, &bits));
    NLT_CHECK_INT(nlt_rw_walk_next(&w, &s, NULL), NLT_EOF);
    NLT_CHECK_INT(w.n_metadata, 1);
}

static void
scattered_labels_are_gathered(void)
{
    nlt_buf_t *ts = fresh(), *req = fresh(), *plain = fresh();
    nlt_rw_series_t s;
    nlt_rw_walk_t w;
    char scratch[64];

    LABEL(ts, "__name__", "up");
    add_sample(ts, T0, 1);
    LABEL(ts, "job", "a");
    LABEL(ts, "x", "y");
    LABEL(plain, "__name__", "up");
    LABEL(plain, "job", "a");
    LABEL(plain, "x", "y");
    add_field(req, 1, nlt_buf_str(ts));

    nlt_rw_walk_init(&w, nlt_buf_str(req), scratch, sizeof(scratch));
    NLT_CHECK_INT(nlt_rw_walk_next(&w, &s, NULL), NLT_OK);
    NLT_CHECK(s.gathered);
    NLT_CHECK_INT(s.n_labels, 3);
    NLT_CHECK(nlt_str_eq(s.labels, nlt_buf_str(plain)));

    nlt_rw_walk_init(&w, nlt_buf_str(req), scratch, plain->len - 1);
    NLT_CHECK_INT(nlt_rw_walk_next(&w, &s, NULL), NLT_ETOOBIG);
    NLT_CHECK_INT(nlt_rw_walk_next(&w, &s, NULL), NLT_EOF);
}

/* Every cut of a request is refused or is a shorter whole request. */
static void
half_a_request_is_refused(void)
{
    nlt_buf_t *ts = fresh(), *req = fresh();
    nlt_rw_series_t s;
    nlt_rw_walk_t w;
    nlt_err_t err;
    nlt_rc_t rc;

    LABEL(ts, "__name__", "up");
    add_sample(ts, T0, 1);
    add_field(req, 1, nlt_buf_str(ts));
    for (size_t n = 1; n < req->len; n++) {
        nlt_rw_walk_init(&w, (nlt_str_t){n, req->data}, NULL, 0);
        rc = nlt_rw_walk_next(&w, &s, &err);
        NLT_CHECK_INT(rc, NLT_EINVAL);
        NLT_CHECK(strcmp(err.text, "unexpected EOF") == 0);
    }
}

static void
faults_say_what_and_where(void)
{
    static const struct {
        const char *bytes;
        size_t n;
        const char *text;
        int64_t pos;
    } cases[] = {
        {"\x08\x01", 2, "proto: wrong wireType = 0 for field Timeseries", 0},
        {"\x0a\x00\x0b", 3, "proto: illegal wireType 3", 2},
        {"\x0a\x00\x02\x00", 4, "proto: illegal tag 0 (wire type 2)", 2},
        {"\x0a\xff\xff\xff\xff\xff\x01", 7, "proto: integer overflow", 0},
        {"\x0a\x05\x12\x03\x08\x01\x00", 7,
         "proto: wrong wireType = 0 for field Value", 5},
        {"\x0a\x02\x1a\x05", 4, "unexpected EOF", 2},
        {"\x0a\x04\x1a\x02\x0a\x05", 6, "unexpected EOF", 4},
    };

    for (size_t i = 0; i < NLT_COUNT(cases); i++) {
        nlt_rw_series_t s;
        nlt_rw_walk_t w;
        nlt_err_t err;
        nlt_rc_t rc;

        nlt_rw_walk_init(&w, (nlt_str_t){cases[i].n, cases[i].bytes}, NULL, 0);
        do {
            rc = nlt_rw_walk_next(&w, &s, &err);
        } while (rc == NLT_OK);
        NLT_CHECK_INT(rc, NLT_EINVAL);
        NLT_CHECK_STR(((nlt_str_t){err.len, err.text}), cases[i].text);
        NLT_CHECK_INT(err.pos, cases[i].pos);
    }
}

/*
 * The quick way must agree with the general one, of which out, n and verdict
 * are, and take every set that lies there in canonical form.
 */
static void
compare_usual(const nlt_rw_series_t *s, const nlt_rw_limits_t *lim,
              nlt_rw_labels_t verdict, const nlt_label_t *out, size_t n)
{
    static nlt_label_t usual[1024];
    nlt_buf_t *canonical = fresh();
    size_t n_usual;
    bool is_usual = nlt_rw_labels_usual(s, lim, usual, &n_usual);

    if (verdict != NLT_RW_LABELS_OK) {
        NLT_CHECK(!is_usual);
        return;
    }
    nlt_rw_canonical(canonical, (nlt_labels_t){out, n});
    NLT_CHECK_INT(is_usual, nlt_str_eq(nlt_buf_str(canonical), s->labels));
    if (is_usual) {
        NLT_CHECK(nlt_labels_eq((nlt_labels_t){out, n},
                                (nlt_labels_t){usual, n_usual}));
    }
    /* Split again, they are the same; too many for the room are refused. */
    if (nlt_rw_labels_split(nlt_buf_str(canonical), usual,
                            sizeof(usual) / sizeof(usual[0]), &n_usual)) {
        NLT_CHECK(nlt_labels_eq((nlt_labels_t){out, n},
                                (nlt_labels_t){usual, n_usual}));
        NLT_CHECK(n == 0
                  || !nlt_rw_labels_split(nlt_buf_str(canonical), usual, n - 1,
                                          &n_usual));
    } else {
        NLT_CHECK(!is_usual);
    }
}

static nlt_rw_labels_t
parse_labels(nlt_buf_t *ts, const nlt_rw_limits_t *lim, nlt_label_t *out,
             size_t *n, nlt_err_t *err)
{
    static char scratch[1 << 16];
    nlt_rw_series_t s;
    nlt_rw_labels_t verdict;

    NLT_CHECK_INT(nlt_rw_series_parse(nlt_buf_str(ts), scratch,
                                      sizeof(scratch), &s, err),
                  NLT_OK);
    verdict = nlt_rw_labels(&s, lim, out, n, err);
    compare_usual(&s, lim, verdict, out, *n);
    return verdict;
}

static void
sorted_labels_are_canonical_as_they_are(void)
{
    char text[300];
    nlt_label_t v[64];
    nlt_buf_t *ts;
    size_t n;

    /* Lengths around those that need another byte, and UTF-8. */
    for (size_t len = 100; len < sizeof(text); len++) {
        memset(text, 'x', sizeof(text));
        ts = fresh();
        LABEL(ts, "__name__", "m");
        add_label(ts, NLT_STR("a"), (nlt_str_t){len, text});
        LABEL(ts, "ab", "\xc3\xa4");
        add_sample(ts, T0, 1);
        NLT_CHECK_INT(parse_labels(ts, &limits, v, &n, NULL),
                      NLT_RW_LABELS_OK);
        NLT_CHECK_INT(n, 3);
        text[len / 2] = '\x80';
        NLT_CHECK_INT(parse_labels(ts, &limits, v, &n, NULL),
                      NLT_RW_LABELS_OK);
        add_label(ts, NLT_STR("b"), (nlt_str_t){len, text});
        NLT_CHECK_INT(parse_labels(ts, &limits, v, &n, NULL),
                      NLT_RW_LABELS_INVALID);
    }
    /* The same with lengths that are not minimal, and scattered. */
    ts = fresh();
    LABEL(ts, "__name__", "m");
    nlt_buf_add_str(ts, NLT_STR("\x0a\x87\0\x0a\x01"
                                "a\x12\x02xy"));
    NLT_CHECK_INT(parse_labels(ts, &limits, v, &n, NULL), NLT_RW_LABELS_OK);
    ts = fresh();
    LABEL(ts, "__name__", "m");
    add_sample(ts, T0, 1);
    LABEL(ts, "a", "b");
    NLT_CHECK_INT(parse_labels(ts, &limits, v, &n, NULL), NLT_RW_LABELS_OK);
    NLT_CHECK_INT(n, 2);
}

static void
labels_are_sorted_and_empty_ones_dropped(void)
{
    nlt_buf_t *ts = fresh();
    nlt_label_t v[64];
    size_t n;

    LABEL(ts, "z", "1");
    LABEL(ts, "empty", "");
    LABEL(ts, "__name__", "m");
    LABEL(ts, "a b\n", "2");
    NLT_CHECK_INT(parse_labels(ts, &limits, v, &n, NULL), NLT_RW_LABELS_OK);
    NLT_CHECK_INT(n, 3);
    NLT_CHECK_STR(v[0].name, "__name__");
    NLT_CHECK_STR(v[1].name, "a b\n");
    NLT_CHECK_STR(v[2].name, "z");
    NLT_CHECK_STR(v[2].value, "1");
}

static void
many_labels_are_sorted(void)
{
    static nlt_label_t v[1000];
    const nlt_rw_limits_t wide = {1000, 1024, 4096};
    nlt_buf_t *ts = fresh();
    char name[16];
    size_t n;

    LABEL(ts, "__name__", "m");
    for (unsigned i = 0; i < 999; i++) {
        int len = snprintf(name, sizeof(name), "l%03u", i * 7 % 999);

        add_label(ts, (nlt_str_t){(size_t) len, name}, NLT_STR("x"));
    }
    NLT_CHECK_INT(parse_labels(ts, &wide, v, &n, NULL), NLT_RW_LABELS_OK);
    NLT_CHECK_INT(n, 1000);
    for (size_t i = 1; i < n; i++) {
        NLT_CHECK(nlt_str_cmp(v[i - 1].name, v[i].name) < 0);
    }
}

static void
bad_label_sets_are_told_apart(void)
{
    nlt_label_t v[64];
    nlt_buf_t *ts;
    nlt_err_t err;
    size_t n;

#define EXPECT(verdict, part)                                                 \
    do {                                                                      \
        NLT_CHECK_INT(parse_labels(ts, &limits, v, &n, &err), verdict);       \
        if (strstr(err.text, part) == NULL) {                                 \
            printf("# %s\n", err.text);                                       \
            nlt_test_fail(__FILE__, __LINE__, "the text says why");           \
        }                                                                     \
    } while (0)

    ts = fresh();
    LABEL(ts, "job", "a");
    EXPECT(NLT_RW_LABELS_INVALID, "no metric name");
    LABEL(ts, "__name__", "");
    EXPECT(NLT_RW_LABELS_INVALID, "no metric name");
    ts = fresh();
    EXPECT(NLT_RW_LABELS_INVALID, "no metric name");
    LABEL(ts, "__name__", "m");
    LABEL(ts, "", "x");
    EXPECT(NLT_RW_LABELS_INVALID, "empty label name");
    ts = fresh();
    LABEL(ts, "__name__", "m");
    LABEL(ts, "a", "x");
    LABEL(ts, "a", "");
    EXPECT(NLT_RW_LABELS_DUPLICATE, "label name \"a\" is not unique");
    NLT_CHECK_STR(v[n].name, "a");
    LABEL(ts, "b", "\xff"); /* what is invalid comes first */
    EXPECT(NLT_RW_LABELS_INVALID, "\"b\" has a value that is not valid");
    ts = fresh();
    LABEL(ts, "__name__", "m");
    LABEL(ts, "a", "\xff");
    EXPECT(NLT_RW_LABELS_INVALID, "\"a\" has a value that is not valid");
    ts = fresh();
    LABEL(ts, "__name__", "m");
    LABEL(ts, "\xc0\x80", "x");
    EXPECT(NLT_RW_LABELS_INVALID, "is not valid UTF-8");
    ts = fresh();
    LABEL(ts, "__name__", "m");
    LABEL(ts, "\0t", "3");
    EXPECT(NLT_RW_LABELS_INVALID, "begins with NUL");
    ts = fresh();
    LABEL(ts, "__name__", "m");
    LABEL(ts, "t\0", "3");
    EXPECT(NLT_RW_LABELS_OK, "");
    ts = fresh();
    LABEL(ts, "__name__", "m");
    add_field(ts, 1, NLT_STR("\x0a\x05"));
    EXPECT(NLT_RW_LABELS_BROKEN, "unexpected EOF");
    ts = fresh();
    add_field(ts, 1, NLT_STR("\x08\x05"));
    EXPECT(NLT_RW_LABELS_BROKEN, "wrong wireType = 0 for field Name");
#undef EXPECT
}

static void
limits_name_what_is_over(void)
{
    static char big[1 << 20];
    static nlt_label_t v[10001];
    nlt_rw_limits_t lim = limits;
    nlt_buf_t *ts = fresh();
    nlt_err_t err;
    size_t n;

    memset(big, 'x', sizeof(big));
    LABEL(ts, "__name__", "m");
    add_label(ts, NLT_STR("big"), (nlt_str_t){sizeof(big), big});
    NLT_CHECK_INT(parse_labels(ts, &limits, v, &n, &err), NLT_RW_LABELS_LIMIT);
    NLT_CHECK(strstr(err.text, "value of label \"big\" has 1048576 bytes"));
    lim.value_bytes_max = UINT32_MAX;
    NLT_CHECK_INT(parse_labels(ts, &lim, v, &n, &err), NLT_RW_LABELS_LIMIT);
    NLT_CHECK(strstr(err.text, "more than 61440 bytes"));

    ts = fresh();
    for (unsigned i = 0; i < 10000; i++) {
        LABEL(ts, "a", "b");
    }
    NLT_CHECK_INT(parse_labels(ts, &limits, v, &n, &err), NLT_RW_LABELS_LIMIT);
    NLT_CHECK(strstr(err.text, "10000 labels, limit is 64"));
    /* Scattered or not, the canonical form must fit its record. */
    lim = (nlt_rw_limits_t){10001, 1024, 4096};
    ts = fresh();
    LABEL(ts, "__name__", "m");
    for (unsigned i = 0; i < 10000; i++) {
        char name[8];
        int len = snprintf(name, sizeof(name), "%u", i);

        add_label(ts, (nlt_str_t){(size_t) len, name}, NLT_STR("b"));
    }
    NLT_CHECK_INT(parse_labels(ts, &lim, v, &n, &err), NLT_RW_LABELS_LIMIT);
}

static void
canonical_is_what_a_sorting_sender_writes(void)
{
    nlt_buf_t *ts = fresh(), *canon = fresh();
    nlt_label_t v[64], again[64];
    size_t n, n_again;

    LABEL(ts, "__name__", "m");
    LABEL(ts, "a", "1");
    LABEL(ts, "b",
          "a longer value, so long that its length takes two bytes "
          "of varint, which is what the test wants to see: it has "
          "to have 128 bytes at least, and now it has them");
    NLT_CHECK_INT(parse_labels(ts, &limits, v, &n, NULL), NLT_RW_LABELS_OK);
    nlt_rw_canonical(canon, (nlt_labels_t){v, n});
    NLT_CHECK(nlt_str_eq(nlt_buf_str(ts), nlt_buf_str(canon)));
    NLT_CHECK_INT(
        nlt_rw_canonical_parse(nlt_buf_str(canon), again, 64, &n_again),
        NLT_OK);
    NLT_CHECK(
        nlt_labels_eq((nlt_labels_t){v, n}, (nlt_labels_t){again, n_again}));
    NLT_CHECK_INT(
        nlt_rw_canonical_parse(nlt_buf_str(canon), again, 2, &n_again),
        NLT_EDATA);
}

static void
only_canonical_bytes_parse_as_such(void)
{
    static const struct {
        const char *p;
        size_t n;
    } bad[] = {
        {"\x0a\x06\x0a\x01"
         "b"
         "\x12\x01"
         "1"
         "\x0a\x06\x0a\x01"
         "a"
         "\x12\x01"
         "1",
         16}, /* order */
        {"\x0a\x06\x0a\x01"
         "a"
         "\x12\x01"
         "1"
         "\x0a\x06\x0a\x01"
         "a"
         "\x12\x01"
         "2",
         16}, /* twice */
        {"\x0a\x05\x0a\x01"
         "a"
         "\x12\x00",
         7}, /* empty value */
        {"\x0a\x05\x0a\x00"
         "\x12\x01"
         "1",
         7}, /* empty name */
        {"\x0a\x07\x0a\x81\x00"
         "a"
         "\x12\x01"
         "1",
         9}, /* long varint */
        {"\x0a\x06\x0a\x01\xff\x12\x01"
         "1",
         8}, /* UTF-8 */
        {"\x0a\x06\x12\x01"
         "1"
         "\x0a\x01"
         "a",
         8}, /* field order */
        {"\x0a\x06\x0a\x01"
         "a"
         "\x12\x01",
         7}, /* cut */
        {"\x0a\x08\x0a\x01"
         "a"
         "\x12\x01"
         "1"
         "\x18\x01",
         10}, /* more */
    };
    nlt_label_t v[4];
    size_t n;

    NLT_CHECK_INT(nlt_rw_canonical_parse(NLT_STR("\x0a\x06\x0a\x01"
                                                 "a"
                                                 "\x12\x01"
                                                 "1"),
                                         v, 4, &n),
                  NLT_OK);
    NLT_CHECK_INT(n, 1);
    for (size_t i = 0; i < NLT_COUNT(bad); i++) {
        NLT_CHECK_INT(
            nlt_rw_canonical_parse((nlt_str_t){bad[i].n, bad[i].p}, v, 4, &n),
            NLT_EDATA);
    }
}

static void
headers_are_judged_as_prometheus_does(void)
{
    static const struct {
        const char *type, *encoding;
        nlt_rc_t rc;
        int version;
        const char *text;
    } cases[] = {
        {"", "", NLT_OK, 1, ""},
        {"application/x-protobuf", "snappy", NLT_OK, 1, ""},
        {"application/x-protobuf;proto=prometheus.WriteRequest", "snappy",
         NLT_OK, 1, ""},
        {"Application/X-Protobuf; proto=prometheus.WriteRequest", "Snappy",
         NLT_OK, 1, ""},
        {"application/x-protobuf;charset=x", "", NLT_OK, 1, ""},
        {"application/x-protobuf; proto=io.prometheus.write.v2.Request",
         "snappy", NLT_OK, 2, ""},
        {"application/x-protobuf;proto=io.prometheus.write.v2.Request", "gzip",
         NLT_ETYPE, 2,
         "gzip encoding (compression) is not accepted by this server; only "
         "snappy is acceptable"},
        {"application/json", "snappy", NLT_ETYPE, 1,
         "expected application/x-protobuf as the first (media) part, got "
         "application/json content-type"},
        {"application/x-protobuf;proto=foo", "snappy", NLT_ETYPE, 1,
         "got application/x-protobuf;proto=foo content type; unknown type "
         "for remote write protobuf message foo, supported: "
         "prometheus.WriteRequest, io.prometheus.write.v2.Request"},
        {"application/x-protobuf;proto=", "snappy", NLT_ETYPE, 1, NULL},
        {"application/x-protobuf;x", "snappy", NLT_ETYPE, 1,
         "as per https://www.rfc-editor.org/rfc/rfc9110#parameter expected "
         "parameters to be key-values, got x in application/x-protobuf;x "
         "content-type"},
        {"application/x-protobuf", "gzip", NLT_ETYPE, 1,
         "gzip encoding (compression) is not accepted by this server; only "
         "snappy is acceptable"},
    };

    for (size_t i = 0; i < NLT_COUNT(cases); i++) {
        nlt_err_t err = {0};
        int version = 0;

        NLT_CHECK_INT(
            nlt_rw_negotiate(
                (nlt_str_t){strlen(cases[i].type), cases[i].type},
                (nlt_str_t){strlen(cases[i].encoding), cases[i].encoding},
                &version, &err),
            cases[i].rc);
        NLT_CHECK_INT(version, cases[i].version);
        if (cases[i].text != NULL) {
            NLT_CHECK_STR(((nlt_str_t){err.len, err.text}), cases[i].text);
        }
    }
}

static void
lying_snappy_headers_allocate_nothing(void)
{
    nlt_err_t err;
    size_t n;

    NLT_CHECK_INT(nlt_snappy_length(NLT_STR(""), 1 << 20, &n, &err),
                  NLT_EINVAL);
    NLT_CHECK_STR(((nlt_str_t){err.len, err.text}), "s2: corrupt input");
    /* 2^31 - 1 announced: over the limit. */
    NLT_CHECK_INT(
        nlt_snappy_length(NLT_STR("\xff\xff\xff\xff\x07"), 1 << 25, &n, &err),
        NLT_ETOOBIG);
    NLT_CHECK_STR(((nlt_str_t){err.len, err.text}),
                  "decoded size exceeds the 33554432 bytes limit");
    /* 16 MiB announced by 5 bytes: inside the limit, yet impossible. */
    NLT_CHECK_INT(
        nlt_snappy_length(NLT_STR("\x80\x80\x80\x08\x00"), 1 << 25, &n, &err),
        NLT_EINVAL);
    NLT_CHECK_INT(n, 0);
}

/* The densest real block passes the plausibility test. */
static void
snappy_returns_what_went_in(void)
{
    static char zeros[1 << 20], packed[1 << 21], back[1 << 20];
    size_t len = nlt_snappy_encode((nlt_str_t){sizeof(zeros), zeros}, packed);
    size_t n;

    NLT_CHECK(len > 0 && len < 60000);
    NLT_CHECK_INT(
        nlt_snappy_length((nlt_str_t){len, packed}, sizeof(zeros), &n, NULL),
        NLT_OK);
    NLT_CHECK_INT(n, sizeof(zeros));
    memset(back, 1, sizeof(back));
    NLT_CHECK_INT(nlt_snappy_decode((nlt_str_t){len, packed}, back, n, NULL),
                  NLT_OK);
    NLT_CHECK(memcmp(zeros, back, n) == 0);
    NLT_CHECK_INT(
        nlt_snappy_decode((nlt_str_t){len - 1, packed}, back, n, NULL),
        NLT_EINVAL);
}

int
main(void)
{
    NLT_TEST(walk_gives_labels_and_samples);
    NLT_TEST(scattered_labels_are_gathered);
    NLT_TEST(half_a_request_is_refused);
    NLT_TEST(faults_say_what_and_where);
    NLT_TEST(labels_are_sorted_and_empty_ones_dropped);
    NLT_TEST(many_labels_are_sorted);
    NLT_TEST(sorted_labels_are_canonical_as_they_are);
    NLT_TEST(bad_label_sets_are_told_apart);
    NLT_TEST(limits_name_what_is_over);
    NLT_TEST(canonical_is_what_a_sorting_sender_writes);
    NLT_TEST(only_canonical_bytes_parse_as_such);
    NLT_TEST(headers_are_judged_as_prometheus_does);
    NLT_TEST(lying_snappy_headers_allocate_nothing);
    NLT_TEST(snappy_returns_what_went_in);
    return nlt_test_done();
}
