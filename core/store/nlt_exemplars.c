/*
 * nlt_exemplars.c - exemplars: encoding, and search.
 */
#include "nlt_exemplars.h"

#include "nlt_bytes.h"
#include "nlt_head_side.h"
#include "nlt_remote_write.h"
#include "nlt_replay.h"
#include "nlt_sort.h"

/* ---- labels of an exemplar ---- */

static size_t
runes_of(nlt_str_t s)
{
    size_t n = 0;

    for (size_t i = 0; i < s.len; i++) {
        n += ((uint8_t) s.data[i] & 0xc0) != 0x80;
    }
    return n;
}

nlt_exemplar_result_t
nlt_exemplar_encode(nlt_labels_t labels, char *out, size_t *len)
{
    nlt_label_t v[NLT_EXEMPLAR_LABELS_MAX];
    size_t runes = 0, n = 0;
    char *p = out;

    *len = 0;
    for (size_t i = 0; i < labels.n; i++) {
        const nlt_label_t *l = &labels.v[i];

        if (l->value.len == 0) {
            continue;
        }
        /* Before it is looked at: lengths are the sender's. */
        if (l->name.len > 4 * NLT_EXEMPLAR_RUNES_MAX
            || l->value.len > 4 * NLT_EXEMPLAR_RUNES_MAX) {
            return NLT_EXEMPLAR_TOO_LONG;
        }
        runes += runes_of(l->name) + runes_of(l->value);
        if (runes > NLT_EXEMPLAR_RUNES_MAX) {
            return NLT_EXEMPLAR_TOO_LONG;
        }
        if (l->name.len == 0 || !nlt_utf8_valid(l->name)
            || !nlt_utf8_valid(l->value)) {
            return NLT_EXEMPLAR_INVALID;
        }
        v[n++] = *l; /* each has two runes, so n is in bounds */
    }
    nlt_labels_sort(v, n);
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && nlt_str_eq(v[i - 1].name, v[i].name)) {
            return NLT_EXEMPLAR_INVALID;
        }
        p = nlt_put_uvarint_str(nlt_put_uvarint_str(p, v[i].name), v[i].value);
    }
    *len = (size_t) (p - out);
    return NLT_EXEMPLAR_OK;
}

nlt_rc_t
nlt_exemplar_decode(nlt_str_t bytes, nlt_label_t *out, size_t *n)
{
    nlt_reader_t r = nlt_reader(bytes.data, bytes.len);
    size_t runes = 0;

    *n = 0;
    while (nlt_reader_left(&r) > 0) {
        nlt_label_t *l = &out[*n];

        if (*n == NLT_EXEMPLAR_LABELS_MAX) {
            return NLT_EDATA;
        }
        l->name = nlt_read_uvarint_str(&r);
        l->value = nlt_read_uvarint_str(&r);
        if (r.failed || l->name.len == 0 || l->value.len == 0
            || !nlt_utf8_valid(l->name) || !nlt_utf8_valid(l->value)
            || (*n > 0 && nlt_str_cmp(out[*n - 1].name, l->name) >= 0)) {
            return NLT_EDATA;
        }
        runes += runes_of(l->name) + runes_of(l->value);
        ++*n;
    }
    return runes <= NLT_EXEMPLAR_RUNES_MAX ? NLT_OK : NLT_EDATA;
}

/* ---- putting ---- */

bool
nlt_exemplars_has(nlt_stash_t *s, const nlt_arena_t *a,
                  const nlt_wal_exemplar_t *x)
{
    nlt_hash128_t key;

    return nlt_arena_key(a, x->series, &key)
           && nlt_stash_has(s, key, x->t_ms, x->v_bits, x->labels);
}

nlt_rc_t
nlt_exemplars_put(nlt_stash_t *s, const nlt_arena_t *a,
                  const nlt_wal_exemplar_t *x, nlt_pool_t *pool,
                  nlt_buf_t *work)
{
    nlt_stash_new_t n = {
        .tenant = nlt_arena_tenant(a, x->series),
        .t_ms = x->t_ms,
        .v_bits = x->v_bits,
        .text = x->labels,
    };
    nlt_pool_mark_t mark;
    nlt_labels_t labels;
    nlt_rc_t rc;

    if (!nlt_arena_key(a, x->series, &n.key)) {
        return NLT_ENOENT;
    }
    if (nlt_stash_has(s, n.key, x->t_ms, x->v_bits, x->labels)) {
        return NLT_EDUP;
    }
    mark = nlt_pool_mark(pool);
    rc = nlt_arena_labels(a, x->series, pool, &labels);
    if (rc == NLT_OK) {
        nlt_buf_reset(work);
        nlt_rw_canonical(work, labels);
        rc = work->rc;
    }
    nlt_pool_rewind(pool, mark);
    if (rc != NLT_OK) {
        return rc;
    }
    n.group = nlt_buf_str(work);
    return nlt_stash_put(s, &n);
}

/* ---- search ---- */

typedef struct {
    nlt_stash_t *s;
    const nlt_exemplar_query_t *q;
    nlt_pool_t *pool;
    nlt_stash_page_t *page; /* groups */
    nlt_stash_page_t *items;
    nlt_exemplar_series_t *v;
    size_t n;
    size_t cap;
    nlt_err_t *err;
} search_t;

static bool
earlier(const nlt_exemplar_t *a, const nlt_exemplar_t *b, const void *ctx)
{
    (void) ctx;
    return a->t_ms != b->t_ms ? a->t_ms < b->t_ms : a->serial < b->serial;
}

NLT_HEAP_SORT(sort_exemplars, nlt_exemplar_t, earlier);

static bool
series_less(const nlt_exemplar_series_t *a, const nlt_exemplar_series_t *b,
            const void *ctx)
{
    (void) ctx;
    return nlt_labels_cmp(a->labels, b->labels) < 0;
}

NLT_HEAP_SORT(sort_series, nlt_exemplar_series_t, series_less);

static nlt_rc_t
no_memory(search_t *x)
{
    return nlt_err_set(x->err, NLT_ENOMEM, "exemplars: no memory");
}

/* Does a set of the query match?  NLT_OK, NLT_EOF (no), NLT_ELIMIT. */
static nlt_rc_t
matches(search_t *x, nlt_labels_t labels)
{
    const nlt_exemplar_query_t *q = x->q;

    for (size_t i = 0; i < q->n_sets; i++) {
        const nlt_exemplar_set_t *set = &q->sets[i];
        nlt_rc_t rc = NLT_OK;

        for (size_t k = 0; k < set->n && rc == NLT_OK; k++) {
            rc = nlt_matcher_test(&set->v[k],
                                  nlt_labels_get(labels, set->v[k].name));
            if (rc != NLT_OK && rc != NLT_EOF) {
                return nlt_matcher_failed(&set->v[k], rc, x->err);
            }
        }
        if (rc == NLT_OK) {
            return NLT_OK;
        }
    }
    return NLT_EOF;
}

/* Room for one more; arrays double. */
static bool
have_room(search_t *x, size_t n, size_t *cap, void **v, size_t size)
{
    void *more;

    if (n < *cap) {
        return true;
    }
    *cap = *cap ? 2 * *cap : 16;
    more = nlt_pool_array(x->pool, *cap, size);
    if (more == NULL) {
        return false;
    }
    if (n > 0) {
        memcpy(more, *v, n * size);
    }
    *v = more;
    return true;
}

/* An item of the page in the pool.  NLT_EOF: it is not one. */
static nlt_rc_t
take_item(search_t *x, const nlt_stash_item_t *it, nlt_exemplar_t *out)
{
    nlt_label_t v[NLT_EXEMPLAR_LABELS_MAX];
    size_t n;
    nlt_str_t text;
    nlt_label_t *labels;

    if (nlt_exemplar_decode(it->text, v, &n) != NLT_OK) {
        return NLT_EOF;
    }
    text = nlt_pool_str(x->pool, it->text);
    labels = nlt_pool_array(x->pool, n + 1, sizeof(*labels));
    if (labels == NULL || (text.len > 0 && text.data == NULL)
        || (text.len > 0 && nlt_exemplar_decode(text, v, &n) != NLT_OK)) {
        return no_memory(x);
    }
    memcpy(labels, v, n * sizeof(*v));
    *out = (nlt_exemplar_t){
        it->t_ms, nlt_double_of(it->v_bits), {labels, n}, it->serial};
    return NLT_OK;
}

static bool
same(const nlt_exemplar_t *a, const nlt_exemplar_t *b)
{
    return a->t_ms == b->t_ms && nlt_bits_of(a->v) == nlt_bits_of(b->v)
           && nlt_labels_eq(a->labels, b->labels);
}

/* Sorted, and each once.  Equal ones may lie apart among those of one time. */
static size_t
settle(nlt_exemplar_t *v, size_t n)
{
    size_t kept = 0, first = 0;

    for (size_t i = 1; i < n; i++) {
        if (earlier(&v[i], &v[i - 1], NULL)) {
            sort_exemplars(v, n, NULL);
            break;
        }
    }
    for (size_t i = 0; i < n; i++) {
        bool twice = false;

        if (kept > 0 && v[kept - 1].t_ms != v[i].t_ms) {
            first = kept;
        }
        /* Of more than that at one time, only the neighbours are compared. */
        for (size_t k = kept; k-- > first && kept - k <= 2 * NLT_STASH_LOOK;) {
            twice = twice || same(&v[k], &v[i]);
        }
        if (!twice) {
            v[kept++] = v[i];
        }
    }
    return kept;
}

/* Reads the items of one series of x->v. */
static nlt_rc_t
read_items(search_t *x, nlt_hash128_t key, nlt_exemplar_series_t *out)
{
    const nlt_exemplar_query_t *q = x->q;
    nlt_stash_at_t at = {0, 0};
    size_t cap = 0;
    void *v = NULL;
    nlt_rc_t rc;

    while ((rc = nlt_stash_items(x->s, key, &at, x->items)) == NLT_OK) {
        for (size_t i = 0; i < x->items->n; i++) {
            const nlt_stash_item_t *it = &x->items->u.item[i];

            if (it->t_ms < q->t_min_ms || it->t_ms > q->t_max_ms) {
                continue;
            }
            if (!have_room(x, out->n, &cap, &v, sizeof(*out->v))) {
                return no_memory(x);
            }
            out->v = v;
            rc = take_item(x, it, &out->v[out->n]);
            if (rc == NLT_ENOMEM) {
                return rc;
            }
            out->n += rc == NLT_OK;
        }
    }
    out->n = settle(out->v, out->n);
    return rc == NLT_EOF ? NLT_OK : rc;
}

/* A group of the page, if it matches. */
static nlt_rc_t
take_group(search_t *x, const nlt_stash_group_t *g)
{
    nlt_pool_mark_t mark = nlt_pool_mark(x->pool);
    nlt_str_t text = nlt_pool_str(x->pool, g->text);
    nlt_exemplar_series_t one = {.n = 0};
    size_t cap = x->cap;
    void *v = x->v;
    nlt_rc_t rc;

    if (g->text.len > 0 && text.data == NULL) {
        return no_memory(x);
    }
    rc = nlt_replay_labels(text, x->pool, &one.labels);
    if (rc == NLT_OK) {
        rc = matches(x, one.labels);
    } else if (rc == NLT_EDATA) {
        rc = NLT_EOF;
    } else {
        rc = no_memory(x);
    }
    if (rc == NLT_OK) {
        rc = read_items(x, g->key, &one);
    }
    if (rc == NLT_OK && one.n > 0) {
        if (!have_room(x, x->n, &cap, &v, sizeof(*x->v))) {
            return no_memory(x);
        }
        x->cap = cap;
        x->v = v;
        x->v[x->n++] = one;
        return NLT_OK;
    }
    nlt_pool_rewind(x->pool, mark);
    return rc == NLT_EOF ? NLT_OK : rc;
}

static bool
is_canceled(const search_t *x)
{
    return x->q->cancel != NULL
           && __atomic_load_n(x->q->cancel, __ATOMIC_RELAXED) != 0;
}

nlt_rc_t
nlt_exemplars_select(nlt_stash_t *s, const nlt_exemplar_query_t *q,
                     nlt_pool_t *pool, nlt_exemplar_series_t **out, size_t *n,
                     nlt_err_t *err)
{
    search_t x = {.s = s, .q = q, .pool = pool, .err = err};
    nlt_stash_walk_t w = {0, 0};
    size_t kept = 0;
    nlt_rc_t rc;

    *out = NULL;
    *n = 0;
    x.page = nlt_pool_alloc(pool, sizeof(*x.page));
    x.items = nlt_pool_alloc(pool, sizeof(*x.items));
    if (x.page == NULL || x.items == NULL) {
        return no_memory(&x);
    }
    while ((rc = nlt_stash_groups(s, &w, q->tenant, x.page)) == NLT_OK) {
        for (size_t i = 0; i < x.page->n && rc == NLT_OK; i++) {
            rc = is_canceled(&x) ? NLT_ECANCELED
                                 : take_group(&x, &x.page->u.group[i]);
        }
        if (rc != NLT_OK) {
            return rc == NLT_ECANCELED
                       ? nlt_err_set(err, rc, "exemplars: canceled")
                       : rc;
        }
    }
    if (rc != NLT_EOF) {
        return rc;
    }
    sort_series(x.v, x.n, NULL);
    /* One that went and came during the walk may have been met twice. */
    for (size_t i = 0; i < x.n; i++) {
        if (kept == 0 || !nlt_labels_eq(x.v[kept - 1].labels, x.v[i].labels)) {
            x.v[kept++] = x.v[i];
        }
    }
    *out = x.v;
    *n = kept;
    return NLT_OK;
}
