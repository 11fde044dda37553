/*
 * nlt_metadata.c - what is known of metric families, in the stash.
 */
#include "nlt_metadata.h"

#include "nlt_bytes.h"
#include "nlt_sort.h"
#include "nlt_utf8.h"

static const nlt_str_t type_text[NLT_METADATA_TYPES] = {
    [NLT_METADATA_UNKNOWN] = {7, "unknown"},
    [NLT_METADATA_COUNTER] = {7, "counter"},
    [NLT_METADATA_GAUGE] = {5, "gauge"},
    [NLT_METADATA_HISTOGRAM] = {9, "histogram"},
    [NLT_METADATA_GAUGEHISTOGRAM] = {14, "gaugehistogram"},
    [NLT_METADATA_SUMMARY] = {7, "summary"},
    [NLT_METADATA_INFO] = {4, "info"},
    [NLT_METADATA_STATESET] = {8, "stateset"},
};

nlt_str_t
nlt_metadata_type_text(uint32_t type)
{
    return type_text[type < NLT_METADATA_TYPES ? type : NLT_METADATA_UNKNOWN];
}

static bool
cut_suffix(nlt_str_t *name, const char *suffix)
{
    size_t n = strlen(suffix);

    if (name->len <= n || memcmp(name->data + name->len - n, suffix, n) != 0) {
        return false;
    }
    name->len -= n;
    return true;
}

nlt_str_t
nlt_metadata_family(nlt_str_t name, uint32_t type)
{
    switch (type) {
    case NLT_METADATA_HISTOGRAM:
        (void) (cut_suffix(&name, "_bucket") || cut_suffix(&name, "_sum")
                || cut_suffix(&name, "_count"));
        return name;
    case NLT_METADATA_GAUGEHISTOGRAM:
        (void) (cut_suffix(&name, "_bucket") || cut_suffix(&name, "_gsum")
                || cut_suffix(&name, "_gcount"));
        return name;
    case NLT_METADATA_SUMMARY:
        (void) (cut_suffix(&name, "_sum") || cut_suffix(&name, "_count"));
        return name;
    default:
        return name;
    }
}

bool
nlt_metadata_valid(const nlt_metadata_t *m)
{
    return m->name.len > 0 && m->name.len <= NLT_METADATA_BYTES_MAX
           && m->help.len <= NLT_METADATA_BYTES_MAX
           && m->unit.len <= NLT_METADATA_BYTES_MAX
           && m->name.len + m->help.len + m->unit.len <= NLT_METADATA_BYTES_MAX
           && nlt_utf8_valid(m->name) && nlt_utf8_valid(m->help)
           && nlt_utf8_valid(m->unit);
}

/* ---- in the stash ---- */

static nlt_hash128_t
key_of(const uint8_t *secret, const nlt_metadata_t *m)
{
    nlt_hash128_t key = nlt_hash128(m->name.data, m->name.len, secret);

    key.lo ^= nlt_mix64((uint64_t) m->tenant + 1);
    return key;
}

static size_t
encode(const nlt_metadata_t *m, char *out)
{
    char *p = out;

    *p++ = (char) (m->type < NLT_METADATA_TYPES ? m->type : 0);
    p = nlt_put_uvarint_str(nlt_put_uvarint_str(p, m->help), m->unit);
    return (size_t) (p - out);
}

static bool
decode(nlt_str_t text, nlt_metadata_t *m)
{
    nlt_reader_t r = nlt_reader(text.data, text.len);

    m->type = nlt_read_u8(&r);
    m->help = nlt_read_uvarint_str(&r);
    m->unit = nlt_read_uvarint_str(&r);
    return !r.failed && nlt_reader_left(&r) == 0
           && m->type < NLT_METADATA_TYPES && nlt_metadata_valid(m);
}

/* Of what is known; keyed, so that nobody makes a change look like none. */
static uint64_t
hash_of(const uint8_t *secret, const nlt_metadata_t *m)
{
    nlt_hash128_t help = nlt_hash128(m->help.data, m->help.len, secret);
    nlt_hash128_t unit = nlt_hash128(m->unit.data, m->unit.len, secret);
    uint32_t type = m->type < NLT_METADATA_TYPES ? m->type : 0;

    return nlt_mix64(help.lo ^ nlt_mix64(unit.hi + type + 1));
}

nlt_metadata_news_t
nlt_metadata_look(nlt_stash_t *s, const uint8_t *secret,
                  const nlt_metadata_t *m, int64_t now_ms, int64_t *t_ms)
{
    uint64_t known;

    *t_ms = INT64_MIN;
    if (!nlt_stash_newest(s, key_of(secret, m), t_ms, &known)
        || known != hash_of(secret, m)) {
        return NLT_METADATA_NEW;
    }
    return now_ms - *t_ms >= NLT_METADATA_SEEN_MS ? NLT_METADATA_OLD
                                                  : NLT_METADATA_SAME;
}

nlt_rc_t
nlt_metadata_put(nlt_stash_t *s, const uint8_t *secret,
                 const nlt_metadata_t *m, int64_t t_ms)
{
    char text[NLT_METADATA_ENCODED_MAX];
    nlt_stash_new_t n = {
        .tenant = m->tenant,
        .group = m->name,
        .t_ms = t_ms,
        .only = true,
    };

    if (!nlt_metadata_valid(m)) {
        return NLT_EINVAL;
    }
    n.key = key_of(secret, m);
    n.v_bits = hash_of(secret, m);
    n.text = (nlt_str_t){encode(m, text), text};
    return nlt_stash_put(s, &n);
}

nlt_rc_t
nlt_metadata_replay(nlt_stash_t *s, const uint8_t *secret,
                    const nlt_metadata_t *m, int64_t t_ms)
{
    uint64_t known;
    int64_t known_ms;

    return nlt_stash_newest(s, key_of(secret, m), &known_ms, &known)
                   && known_ms > t_ms
               ? NLT_EORDER
               : nlt_metadata_put(s, secret, m, t_ms);
}

void
nlt_metadata_touch(nlt_stash_t *s, const uint8_t *secret,
                   const nlt_metadata_t *m, int64_t t_ms)
{
    nlt_stash_touch(s, key_of(secret, m), t_ms);
}

bool
nlt_metadata_known(nlt_stash_t *s, const uint8_t *secret,
                   const nlt_metadata_t *m)
{
    uint64_t known;
    int64_t t_ms;

    return nlt_stash_newest(s, key_of(secret, m), &t_ms, &known);
}

void
nlt_metadata_forget(nlt_stash_t *s, const uint8_t *secret,
                    const nlt_metadata_t *m, int64_t t_ms)
{
    if (t_ms > INT64_MIN) {
        (void) nlt_stash_cut(s, key_of(secret, m), INT64_MIN, t_ms - 1);
    }
}

/* ---- lists ---- */

typedef struct {
    nlt_metadata_t m;
    int64_t seen_ms;
} entry_t;

static bool
entry_less(const entry_t *a, const entry_t *b, const void *ctx)
{
    (void) ctx;
    return a->m.tenant != b->m.tenant ? a->m.tenant < b->m.tenant
                                      : nlt_str_cmp(a->m.name, b->m.name) < 0;
}

NLT_HEAP_SORT(sort_entries, entry_t, entry_less);

typedef struct {
    nlt_stash_t *s;
    nlt_pool_t *pool;
    nlt_stash_page_t *groups;
    nlt_stash_page_t *item;
    entry_t *v;
    size_t n;
    size_t cap;
} gather_t;

static bool
have_room(gather_t *g)
{
    entry_t *more;

    if (g->n < g->cap) {
        return true;
    }
    g->cap = g->cap ? 2 * g->cap : 64;
    more = nlt_pool_array(g->pool, g->cap, sizeof(*more));
    if (more == NULL) {
        return false;
    }
    if (g->n > 0) {
        memcpy(more, g->v, g->n * sizeof(*more));
    }
    g->v = more;
    return true;
}

/* One family; false: no memory. */
static bool
take(gather_t *g, const nlt_stash_group_t *from)
{
    nlt_stash_at_t at = {0, 0};
    nlt_str_t text;
    entry_t e;

    if (nlt_stash_items(g->s, from->key, &at, g->item) != NLT_OK) {
        return true; /* gone meanwhile */
    }
    text = nlt_pool_str(g->pool, g->item->u.item[0].text);
    e.m.tenant = from->tenant;
    e.m.name = nlt_pool_str(g->pool, from->text);
    e.seen_ms = g->item->u.item[0].t_ms;
    if (text.data == NULL || e.m.name.data == NULL || !have_room(g)) {
        return false;
    }
    if (decode(text, &e.m)) {
        g->v[g->n++] = e;
    }
    return true;
}

/* Sorted, and each once: a walk may meet one twice. */
static nlt_rc_t
finish(gather_t *g, nlt_metadata_list_t *out)
{
    sort_entries(g->v, g->n, NULL);
    out->v = nlt_pool_array(g->pool, g->n + 1, sizeof(*out->v));
    out->seen_ms = nlt_pool_array(g->pool, g->n + 1, sizeof(*out->seen_ms));
    if (out->v == NULL || out->seen_ms == NULL) {
        return NLT_ENOMEM;
    }
    for (size_t i = 0; i < g->n; i++) {
        if (i > 0 && !entry_less(&g->v[i - 1], &g->v[i], NULL)) {
            continue;
        }
        out->v[out->n] = g->v[i].m;
        out->seen_ms[out->n++] = g->v[i].seen_ms;
    }
    return NLT_OK;
}

nlt_rc_t
nlt_metadata_list(nlt_stash_t *s, uint32_t tenant, nlt_str_t name,
                  nlt_pool_t *pool, nlt_metadata_list_t *out, nlt_err_t *err)
{
    gather_t g = {.s = s, .pool = pool};
    nlt_stash_walk_t w = {0, 0};
    bool ok;
    nlt_rc_t rc = NLT_OK;

    *out = (nlt_metadata_list_t){.n = 0};
    g.groups = nlt_pool_alloc(pool, sizeof(*g.groups));
    g.item = nlt_pool_alloc(pool, sizeof(*g.item));
    ok = g.groups != NULL && g.item != NULL;
    while (ok && (rc = nlt_stash_groups(s, &w, tenant, g.groups)) == NLT_OK) {
        for (size_t i = 0; i < g.groups->n && ok; i++) {
            const nlt_stash_group_t *from = &g.groups->u.group[i];

            if (name.data == NULL || nlt_str_eq(from->text, name)) {
                ok = take(&g, from);
            }
        }
    }
    if (ok && rc == NLT_ENOTREADY) {
        return nlt_err_set(err, rc, "metadata: the head is being changed");
    }
    if (!ok || finish(&g, out) != NLT_OK) {
        return nlt_err_set(err, NLT_ENOMEM, "metadata: no memory");
    }
    return NLT_OK;
}
