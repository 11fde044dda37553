/*
 * nlt_block_meta.c - ULIDs, and meta.json printed and parsed.
 *
 * The parser walks the text once and keeps what it knows; it needs no tree.
 * Reading is sticky: the first fault sets `bad` to where it was, and later
 * reads find nothing.
 */
#include "nlt_block_meta.h"

#include "nlt_hash.h"
#include "nlt_num.h"

#define META_BYTES_MAX (1u << 20)
#define META_VERSION   1   /* Prometheus's */
#define DENSE_VERSION  128 /* as the encoding of its chunks */
#define DEPTH_MAX      32

static const char crockford[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

nlt_rc_t
nlt_ulid_new(int64_t now_ms, nlt_ulid_t *out)
{
    uint8_t b[16];
    unsigned __int128 u = 0;

    if (!nlt_random_bytes(b + 6, 10)) {
        return NLT_EIO;
    }
    for (int i = 0; i < 6; i++) {
        b[i] = (uint8_t) ((uint64_t) now_ms >> (40 - 8 * i));
    }
    for (int i = 0; i < 16; i++) {
        u = u << 8 | b[i];
    }
    for (int i = NLT_ULID_LEN - 1; i >= 0; i--) {
        out->c[i] = crockford[(unsigned) u & 31];
        u >>= 5;
    }
    out->c[NLT_ULID_LEN] = '\0';
    return NLT_OK;
}

bool
nlt_ulid_valid(nlt_str_t s)
{
    if (s.len != NLT_ULID_LEN || s.data[0] > '7') {
        return false; /* 26 letters hold 130 bits, two more than there are */
    }
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] == '\0' || strchr(crockford, s.data[i]) == NULL) {
            return false;
        }
    }
    return true;
}

static void
print_u64(nlt_buf_t *b, const char *key, uint64_t v)
{
    nlt_buf_add_c(b, key);
    nlt_buf_add_u64(b, v);
}

int
nlt_block_meta_version(const nlt_block_meta_t *meta)
{
    return meta->dense ? DENSE_VERSION : META_VERSION;
}

void
nlt_block_meta_print(nlt_buf_t *b, const nlt_block_meta_t *m)
{
    size_t begin = b->len, n = m->n_sources ? m->n_sources : 1;
    const nlt_ulid_t *sources = m->n_sources ? m->sources : &m->ulid;

    nlt_buf_add_c(b, "{\n  \"ulid\": \"");
    nlt_buf_add_c(b, m->ulid.c);
    nlt_buf_add_c(b, "\",\n  \"minTime\": ");
    nlt_buf_add_i64(b, m->t_min_ms);
    nlt_buf_add_c(b, ",\n  \"maxTime\": ");
    nlt_buf_add_i64(b, m->t_end_ms);
    print_u64(b, ",\n  \"stats\": {\n    \"numSamples\": ", m->n_samples);
    print_u64(b, ",\n    \"numFloatSamples\": ", m->n_float_samples);
    print_u64(b, ",\n    \"numHistogramSamples\": ", m->n_histogram_samples);
    print_u64(b, ",\n    \"numSeries\": ", m->n_series);
    print_u64(b, ",\n    \"numChunks\": ", m->n_chunks);
    print_u64(b, ",\n    \"numTombstones\": ", m->n_tombstones);
    print_u64(b, "\n  },\n  \"compaction\": {\n    \"level\": ", m->level);
    nlt_buf_add_c(b, ",\n    \"sources\": [");
    for (size_t i = 0; i < n; i++) {
        nlt_buf_add_c(b, i ? ", \"" : "\"");
        nlt_buf_add_c(b, sources[i].c);
        nlt_buf_add_c(b, "\"");
    }
    nlt_buf_add_c(b, "]");
    for (size_t i = 0; i < m->n_parents; i++) {
        nlt_buf_add_c(b, i ? ", {\"ulid\": \""
                           : ",\n    \"parents\": [{\"ulid\": \"");
        nlt_buf_add_c(b, m->parents[i].c);
        nlt_buf_add_c(b, "\"}");
    }
    print_u64(b,
              m->n_parents ? "]\n  },\n  \"version\": "
                           : "\n  },\n  \"version\": ",
              (uint64_t) nlt_block_meta_version(m));
    print_u64(b, ",\n  \"nightlight\": {\n    \"arena\": ", m->arena);
    nlt_buf_add_c(b, m->dense ? ",\n    \"format\": \"dense\",\n    "
                              : ",\n    ");
    if (b->rc == NLT_OK) {
        /* Of everything before its own key. */
        uint32_t crc = nlt_crc32c(0, b->data + begin, b->len - begin);

        print_u64(b, "\"checksum\": ", crc);
    }
    nlt_buf_add_c(b, "\n  }\n}\n");
}

typedef struct {
    const char *begin;
    const char *p;
    const char *end;
    const char *bad; /* where it went wrong, or NULL */
    unsigned depth;
} json_t;

static bool
fail(json_t *j)
{
    if (j->bad == NULL) {
        j->bad = j->p;
    }
    j->p = j->end;
    return false;
}

/* The next character that is no blank, not taken; 0 at the end. */
static char
look(json_t *j)
{
    while (
        j->p < j->end
        && (*j->p == ' ' || *j->p == '\n' || *j->p == '\t' || *j->p == '\r')) {
        j->p++;
    }
    return j->p < j->end ? *j->p : '\0';
}

static bool
take(json_t *j, char c)
{
    if (look(j) != c) {
        return fail(j);
    }
    j->p++;
    return true;
}

/* Text between quotes, escapes left as they are. */
static bool
take_string(json_t *j, nlt_str_t *out)
{
    *out = (nlt_str_t){0, NULL};
    if (!take(j, '"')) {
        return false;
    }
    const char *from = j->p;

    while (j->p < j->end && *j->p != '"') {
        if ((uint8_t) *j->p < 0x20) {
            return fail(j);
        }
        if (*j->p == '\\' && ++j->p == j->end) {
            break;
        }
        j->p++;
    }
    if (j->p == j->end) {
        return fail(j);
    }
    *out = (nlt_str_t){(size_t) (j->p - from), from};
    j->p++;
    return true;
}

/* true, false, null or a number: whatever has these characters. */
static bool
take_word(json_t *j, nlt_str_t *out)
{
    (void) look(j);
    const char *from = j->p;

    while (j->p < j->end
           && ((*j->p >= 'a' && *j->p <= 'z') || (*j->p >= '0' && *j->p <= '9')
               || *j->p == '-' || *j->p == '+' || *j->p == '.'
               || *j->p == 'E')) {
        j->p++;
    }
    *out = (nlt_str_t){(size_t) (j->p - from), from};
    return out->len > 0 || fail(j);
}

static bool
take_open(json_t *j, char bracket)
{
    if (j->depth == DEPTH_MAX) {
        return fail(j);
    }
    j->depth++;
    return take(j, bracket);
}

/*
 * Inside a bracket: takes the comma before another member.  False at the
 * closing bracket, which is taken, and after a fault.
 */
static bool
take_next(json_t *j, char close, bool *first)
{
    if (j->bad) {
        return false;
    }
    if (look(j) == close) {
        j->p++;
        j->depth--;
        return false;
    }
    if (!*first && !take(j, ',')) {
        return false;
    }
    *first = false;
    return true;
}

static bool
take_key(json_t *j, bool *first, nlt_str_t *key)
{
    return take_next(j, '}', first) && take_string(j, key) && take(j, ':');
}

/* Passes over any value; the recursion ends at DEPTH_MAX. */
static void
skip_value(json_t *j)
{
    char c = look(j);
    bool first = true;
    nlt_str_t s;

    if (c == '{') {
        if (take_open(j, '{')) {
            while (take_key(j, &first, &s)) {
                skip_value(j);
            }
        }
    } else if (c == '[') {
        if (take_open(j, '[')) {
            while (take_next(j, ']', &first)) {
                skip_value(j);
            }
        }
    } else if (c == '"') {
        (void) take_string(j, &s);
    } else {
        (void) take_word(j, &s);
    }
}

static int64_t
take_i64(json_t *j)
{
    nlt_str_t s;
    int64_t v = 0;

    if (take_word(j, &s) && !nlt_num_parse_i64(s, &v)) {
        j->p = s.data;
        (void) fail(j);
    }
    return v;
}

static uint64_t
take_u64(json_t *j)
{
    int64_t v = take_i64(j);

    if (v < 0) {
        (void) fail(j);
        return 0;
    }
    return (uint64_t) v;
}

static void
take_ulid(json_t *j, nlt_ulid_t *out)
{
    nlt_str_t s;

    if (take_string(j, &s)) {
        if (!nlt_ulid_valid(s)) {
            j->p = s.data;
            (void) fail(j);
            return;
        }
        memcpy(out->c, s.data, NLT_ULID_LEN);
        out->c[NLT_ULID_LEN] = '\0';
    }
}

static void
parse_stats(json_t *j, nlt_block_meta_t *m)
{
    bool first = true;
    nlt_str_t key;

    if (!take_open(j, '{')) {
        return;
    }
    while (take_key(j, &first, &key)) {
        if (nlt_str_eq(key, NLT_STR("numSamples"))) {
            m->n_samples = take_u64(j);
        } else if (nlt_str_eq(key, NLT_STR("numFloatSamples"))) {
            m->n_float_samples = take_u64(j);
        } else if (nlt_str_eq(key, NLT_STR("numHistogramSamples"))) {
            m->n_histogram_samples = take_u64(j);
        } else if (nlt_str_eq(key, NLT_STR("numSeries"))) {
            m->n_series = take_u64(j);
        } else if (nlt_str_eq(key, NLT_STR("numChunks"))) {
            m->n_chunks = take_u64(j);
        } else if (nlt_str_eq(key, NLT_STR("numTombstones"))) {
            m->n_tombstones = take_u64(j);
        } else {
            skip_value(j);
        }
    }
}

/* One member of sources, or of parents: an object with a ulid. */
static void
parse_member(json_t *j, bool object, nlt_ulid_t *out)
{
    bool first = true;
    nlt_str_t key;

    if (!object) {
        take_ulid(j, out);
        return;
    }
    if (!take_open(j, '{')) {
        return;
    }
    while (take_key(j, &first, &key)) {
        if (nlt_str_eq(key, NLT_STR("ulid"))) {
            take_ulid(j, out);
        } else {
            skip_value(j);
        }
    }
    if (out->c[0] == '\0') {
        (void) fail(j);
    }
}

/* A list of ULIDs into the pool; null is an empty one. */
static nlt_rc_t
parse_ulids(json_t *j, nlt_pool_t *pool, bool objects, nlt_ulid_t **out,
            size_t *n)
{
    nlt_ulid_t *v = NULL;
    size_t k = 0, cap = 0;
    bool first = true;

    if (look(j) == 'n') {
        skip_value(j);
        return NLT_OK;
    }
    if (!take_open(j, '[')) {
        return NLT_OK;
    }
    while (take_next(j, ']', &first)) {
        if (k == NLT_BLOCK_SOURCES_MAX) {
            return NLT_ELIMIT;
        }
        if (k == cap) {
            size_t more = cap ? 2 * cap : 8;
            nlt_ulid_t *grown =
                nlt_pool_grow(pool, v, cap * sizeof(*v), more * sizeof(*v));

            if (grown == NULL) {
                return NLT_ENOMEM;
            }
            v = grown;
            cap = more;
        }
        v[k] = (nlt_ulid_t){{0}};
        parse_member(j, objects, &v[k]);
        k++;
    }
    *out = v;
    *n = k;
    return NLT_OK;
}

static nlt_rc_t
parse_compaction(json_t *j, nlt_pool_t *pool, nlt_block_meta_t *m)
{
    bool first = true;
    nlt_str_t key;
    nlt_rc_t rc = NLT_OK;

    if (!take_open(j, '{')) {
        return NLT_OK;
    }
    while (rc == NLT_OK && take_key(j, &first, &key)) {
        if (nlt_str_eq(key, NLT_STR("level"))) {
            uint64_t level = take_u64(j);

            m->level = level > UINT32_MAX ? UINT32_MAX : (unsigned) level;
        } else if (nlt_str_eq(key, NLT_STR("sources"))) {
            rc = parse_ulids(j, pool, false, &m->sources, &m->n_sources);
        } else if (nlt_str_eq(key, NLT_STR("parents"))) {
            rc = parse_ulids(j, pool, true, &m->parents, &m->n_parents);
        } else {
            skip_value(j);
        }
    }
    return rc;
}

/*
 * Our own key; false when its checksum does not fit the text before it.
 * *format is what it says, or empty.
 */
static bool
parse_own(json_t *j, nlt_block_meta_t *m, nlt_str_t *format)
{
    bool first = true, ok = true;
    nlt_str_t key;

    if (!take_open(j, '{')) {
        return true;
    }
    while (take_key(j, &first, &key)) {
        if (nlt_str_eq(key, NLT_STR("arena"))) {
            m->arena = take_u64(j);
        } else if (nlt_str_eq(key, NLT_STR("format"))) {
            (void) take_string(j, format);
        } else if (nlt_str_eq(key, NLT_STR("checksum"))) {
            size_t n = (size_t) (key.data - 1 - j->begin);

            ok = take_u64(j) == nlt_crc32c(0, j->begin, n);
        } else {
            skip_value(j);
        }
    }
    return ok;
}

/* Which of the keys that must be there were seen. */
#define SEEN_ULID    1u
#define SEEN_MIN     2u
#define SEEN_MAX     4u
#define SEEN_VERSION 8u
#define SEEN_ALL     15u

/* What the text says beside the meta itself. */
typedef struct {
    unsigned seen;
    int64_t version;
    nlt_str_t format;
    bool sum_ok;
} said_t;

static nlt_rc_t
parse_keys(json_t *j, nlt_pool_t *pool, nlt_block_meta_t *m, said_t *said)
{
    bool first = true;
    nlt_str_t key;
    nlt_rc_t rc = NLT_OK;

    if (!take_open(j, '{')) {
        return NLT_OK;
    }
    while (rc == NLT_OK && take_key(j, &first, &key)) {
        if (nlt_str_eq(key, NLT_STR("ulid"))) {
            take_ulid(j, &m->ulid);
            said->seen |= SEEN_ULID;
        } else if (nlt_str_eq(key, NLT_STR("minTime"))) {
            m->t_min_ms = take_i64(j);
            said->seen |= SEEN_MIN;
        } else if (nlt_str_eq(key, NLT_STR("maxTime"))) {
            m->t_end_ms = take_i64(j);
            said->seen |= SEEN_MAX;
        } else if (nlt_str_eq(key, NLT_STR("version"))) {
            said->version = take_i64(j);
            said->seen |= SEEN_VERSION;
        } else if (nlt_str_eq(key, NLT_STR("stats"))) {
            parse_stats(j, m);
        } else if (nlt_str_eq(key, NLT_STR("compaction"))) {
            rc = parse_compaction(j, pool, m);
        } else if (nlt_str_eq(key, NLT_STR("nightlight"))) {
            m->ours = true;
            said->sum_ok = parse_own(j, m, &said->format);
        } else {
            skip_value(j);
        }
    }
    return rc;
}

/* Does this program know the version and the format? */
static nlt_rc_t
check_format(const said_t *said, nlt_block_meta_t *m, nlt_err_t *err)
{
    bool named = said->format.len > 0;

    m->dense = nlt_str_eq(said->format, NLT_STR("dense"));
    if (named && !m->dense) {
        return nlt_err_set(err, NLT_EVERSION,
                           "meta.json: format \"%.*s\" is not known",
                           (int) nlt_min_i64((int64_t) said->format.len, 32),
                           said->format.data);
    }
    if (said->version != (m->dense ? DENSE_VERSION : META_VERSION)) {
        return m->dense && said->version == META_VERSION
                   ? nlt_err_set(err, NLT_EDATA,
                                 "meta.json: format \"dense\", but version 1")
                   : nlt_err_set(err, NLT_EVERSION,
                                 "meta.json: unexpected meta file version "
                                 "%lld",
                                 (long long) said->version);
    }
    return NLT_OK;
}

nlt_rc_t
nlt_block_meta_parse(nlt_pool_t *pool, nlt_str_t json, nlt_block_meta_t *out,
                     nlt_err_t *err)
{
    json_t j = {.begin = json.data, .p = json.data};
    nlt_block_meta_t m = {.level = 1};
    said_t said = {.sum_ok = true};
    nlt_rc_t rc;

    if (json.len == 0 || json.len > META_BYTES_MAX) {
        return nlt_err_set(err, NLT_EDATA, "meta.json of %zu bytes", json.len);
    }
    j.end = json.data + json.len;
    rc = parse_keys(&j, pool, &m, &said);
    if (rc == NLT_ENOMEM) {
        return nlt_err_set(err, rc, "out of memory for meta.json");
    }
    if (rc == NLT_ELIMIT) {
        return nlt_err_set(err, NLT_EDATA,
                           "meta.json: more than %d sources or parents",
                           NLT_BLOCK_SOURCES_MAX);
    }
    if (j.bad == NULL && look(&j) != '\0') {
        (void) fail(&j);
    }
    if (j.bad) {
        return nlt_err_set_at(err, NLT_EDATA, j.bad - j.begin,
                              "meta.json: unexpected text at byte %lld",
                              (long long) (j.bad - j.begin));
    }
    rc = said.seen & SEEN_VERSION ? check_format(&said, &m, err) : NLT_OK;
    if (rc != NLT_OK) {
        return rc;
    }
    if (said.seen != SEEN_ALL) {
        return nlt_err_set(err, NLT_EDATA,
                           "meta.json: ulid, minTime, maxTime or version is "
                           "missing");
    }
    if (!said.sum_ok) {
        return nlt_err_set(err, NLT_EDATA, "meta.json: checksum mismatch");
    }
    if (m.t_end_ms < m.t_min_ms) {
        return nlt_err_set(err, NLT_EDATA, "meta.json: ends before it begins");
    }
    *out = m;
    return NLT_OK;
}
