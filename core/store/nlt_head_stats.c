/*
 * nlt_head_stats.c - see the header.
 */
#include "nlt_head_stats.h"

#include "nlt_head_pairs.h"
#include "nlt_sort.h"
#include "nlt_strtab.h"

#define ACQUIRE    memory_order_acquire
#define POLL_EVERY 1024

typedef struct {
    uint64_t n_series;
    uint32_t name; /* number of its name */
} pair_t;

typedef struct {
    const nlt_head_view_t *view;
    uint32_t tenant;
    nlt_pool_t *pool;
    const int *cancel;
    nlt_strtab_t names;
    nlt_strtab_t keys; /* of pairs: number of the name, value */
    pair_t *pairs;     /* by number of their key */
    size_t cap;
    nlt_buf_t key;
    size_t steps; /* since the last look at cancel */
    nlt_head_stats_t *out;
} count_t;

static nlt_rc_t
poll(count_t *c)
{
    if (++c->steps < POLL_EVERY) {
        return NLT_OK;
    }
    c->steps = 0;
    return c->cancel != NULL && __atomic_load_n(c->cancel, __ATOMIC_RELAXED)
               ? NLT_ECANCELED
               : NLT_OK;
}

/* Of the arena's pair p there are n series more. */
static nlt_rc_t
add_pair(count_t *c, const nlt_arena_t *a, const nlt_arena_pair_t *p,
         uint64_t n)
{
    uint32_t name, no;
    bool is_new;

    if (!nlt_strtab_add(&c->names, nlt_arena_pair_name(a, p), &name, NULL)) {
        return NLT_ENOMEM;
    }
    nlt_buf_reset(&c->key);
    nlt_buf_add_le32(&c->key, name);
    nlt_buf_add_str(&c->key, nlt_arena_pair_value(a, p));
    if (c->key.rc != NLT_OK
        || !nlt_strtab_add(&c->keys, nlt_buf_str(&c->key), &no, &is_new)) {
        return NLT_ENOMEM;
    }
    if (is_new) {
        /* the table has borrowed what is written over for the next pair */
        c->keys.v[no] = nlt_pool_str(c->pool, nlt_buf_str(&c->key));
        if (c->keys.v[no].data == NULL) {
            return NLT_ENOMEM;
        }
    }
    if (no >= c->cap) {
        size_t cap = c->cap ? c->cap * 2 : 1024;
        pair_t *v = nlt_pool_grow(c->pool, c->pairs, c->cap * sizeof(*v),
                                  cap * sizeof(*v));

        if (v == NULL) {
            return NLT_ENOMEM;
        }
        c->pairs = v;
        c->cap = cap;
    }
    if (is_new) {
        c->pairs[no] = (pair_t){0, name};
    }
    c->pairs[no].n_series += n;
    return poll(c);
}

/* ---- arenas ---- */

static uint64_t
chunks_of(const nlt_arena_t *a, const nlt_arena_series_t *e)
{
    nlt_chunk_pub_t pub =
        nlt_chunk_pub_unpack(atomic_load_explicit(&e->pub, ACQUIRE));
    uint64_t n = pub.seq; /* the first chunk has 1 */
    uint32_t off = atomic_load_explicit(&e->ooo, ACQUIRE);
    const nlt_arena_ooo_t *o =
        off ? nlt_arena_at(a, off, sizeof(nlt_arena_ooo_t)) : NULL;
    const nlt_arena_chunk_t *c;

    if (o == NULL) {
        return n;
    }
    n += atomic_load_explicit(&o->n, ACQUIRE) > 0;
    off = atomic_load_explicit(&o->chunks, ACQUIRE);
    while (off && (c = nlt_chunk_at(a, off)) != NULL && c->next.u < off) {
        n++;
        off = c->next.u;
    }
    return n;
}

/* Has one of the arenas behind number i of the view this label set? */
static bool
is_newer(const count_t *c, size_t i, const nlt_arena_labels_t *l)
{
    nlt_hash128_t key = {.lo = l->key[0] | (uint64_t) l->key[1] << 32,
                         .hi = l->key[2]};

    while (++i < c->view->n) {
        if (nlt_arena_find(c->view->arena[i], key) != 0) {
            return true;
        }
    }
    return false;
}

/* The series of an arena; all but the newest add their pairs one by one. */
static nlt_rc_t
add_series(count_t *c, size_t i)
{
    const nlt_arena_t *a = c->view->arena[i];
    uint32_t n = atomic_load_explicit(&a->hdr->n_series, ACQUIRE);
    bool newest = i + 1 == c->view->n;
    nlt_rc_t rc = NLT_OK;

    for (uint32_t s = 1; rc == NLT_OK && s <= n; s++) {
        const nlt_arena_series_t *e = nlt_arena_series(a, s);
        const nlt_arena_labels_t *l = e ? nlt_arena_labels_of(a, e) : NULL;

        if (l == NULL) {
            return NLT_EDATA;
        }
        rc = poll(c);
        if (l->tenant != c->tenant) {
            continue;
        }
        c->out->n_chunks += chunks_of(a, e);
        if (!newest && is_newer(c, i, l)) {
            continue;
        }
        c->out->n_series++;
        for (uint32_t k = 0; !newest && rc == NLT_OK && k < l->n; k++) {
            const nlt_arena_pair_t *p = nlt_arena_pair(a, l->pair[k]);

            rc = p != NULL ? add_pair(c, a, p, 1) : NLT_EDATA;
        }
    }
    return rc;
}

/* The pairs of the newest arena, by their postings. */
static nlt_rc_t
add_pairs(count_t *c, const nlt_arena_t *a)
{
    uint32_t n = atomic_load_explicit(&a->hdr->n_pairs, ACQUIRE);
    nlt_rc_t rc = NLT_OK;

    for (uint32_t i = 1; rc == NLT_OK && i <= n; i++) {
        const nlt_arena_pair_t *p = nlt_arena_pair(a, i);
        uint32_t n_series;

        if (p == NULL) {
            return NLT_EDATA;
        }
        n_series = atomic_load_explicit(&p->n, ACQUIRE);
        /* the root of a tenant has no name */
        if (p->tenant == c->tenant && n_series > 0
            && nlt_arena_pair_name(a, p).len > 0) {
            rc = add_pair(c, a, p, n_series);
        }
    }
    return rc;
}

static void
add_times(nlt_head_stats_t *out, const nlt_arena_header_t *h)
{
    if (atomic_load(&h->n_samples) > 0) {
        out->t_min_ms = nlt_min_i64(out->t_min_ms, atomic_load(&h->t_min_ms));
        out->t_max_ms = nlt_max_i64(out->t_max_ms, atomic_load(&h->t_max_ms));
    }
}

/* ---- lists ---- */

/*
 * The first `limit` of many: a heap whose root is the last of those that are
 * kept, so that nearly all others cost one comparison.
 */
typedef struct {
    nlt_stat_list_t *list;
    size_t limit;
} top_t;

/* Does a come before b? */
static bool
stat_less(const nlt_stat_t *a, const nlt_stat_t *b, const void *ctx)
{
    int order;

    (void) ctx;
    if (a->n != b->n) {
        return a->n > b->n;
    }
    order = nlt_str_cmp(a->name, b->name);
    return order != 0 ? order < 0 : nlt_str_cmp(a->value, b->value) < 0;
}

NLT_HEAP_SORT(sort_stats, nlt_stat_t, stat_less);

static bool
top_begin(count_t *c, top_t *t, nlt_stat_list_t *list, size_t n, size_t limit)
{
    t->limit = n < limit ? n : limit;
    t->list = list;
    list->n = 0;
    list->v = nlt_pool_array(c->pool, t->limit + 1, sizeof(*list->v));
    return list->v != NULL;
}

static void
top_add(top_t *t, nlt_stat_t s)
{
    nlt_stat_list_t *l = t->list;

    if (l->n < t->limit) {
        l->v[l->n++] = s;
        if (l->n == t->limit) {
            for (size_t k = l->n / 2; k-- > 0;) {
                sort_stats_sift(l->v, k, l->n, NULL);
            }
        }
    } else if (l->n > 0 && stat_less(&s, &l->v[0], NULL)) {
        l->v[0] = s;
        sort_stats_sift(l->v, 0, l->n, NULL);
    }
}

/* What a string takes in a label set of Prometheus. */
static uint64_t
string_bytes(size_t len)
{
    return len + (len < 255 ? 1 : 4);
}

static nlt_rc_t
make_lists(count_t *c, size_t limit)
{
    nlt_head_stats_t *out = c->out;
    top_t metrics, pairs, values, bytes;
    uint64_t *sum =
        nlt_pool_zalloc(c->pool, 2 * (c->names.n + 1) * sizeof(*sum));

    out->n_pairs = c->keys.n;
    if (sum == NULL
        || !top_begin(c, &metrics, &out->series_by_metric, c->keys.n, limit)
        || !top_begin(c, &pairs, &out->series_by_pair, c->keys.n, limit)
        || !top_begin(c, &values, &out->values_by_name, c->names.n, limit)
        || !top_begin(c, &bytes, &out->bytes_by_name, c->names.n, limit)) {
        return NLT_ENOMEM;
    }
    for (size_t i = 0; i < c->keys.n; i++) {
        const pair_t *p = &c->pairs[i];
        nlt_str_t name = c->names.v[p->name];
        nlt_str_t value = {c->keys.v[i].len - 4, c->keys.v[i].data + 4};

        top_add(&pairs, (nlt_stat_t){name, value, p->n_series});
        if (nlt_str_eq(name, NLT_METRIC_NAME)) {
            top_add(&metrics, (nlt_stat_t){.name = value, .n = p->n_series});
        }
        sum[2 * p->name]++;
        sum[2 * p->name + 1] +=
            p->n_series * (string_bytes(name.len) + string_bytes(value.len));
    }
    for (size_t i = 0; i < c->names.n; i++) {
        top_add(&values, (nlt_stat_t){.name = c->names.v[i], .n = sum[2 * i]});
        top_add(&bytes,
                (nlt_stat_t){.name = c->names.v[i], .n = sum[2 * i + 1]});
    }
    sort_stats(metrics.list->v, metrics.list->n, NULL);
    sort_stats(pairs.list->v, pairs.list->n, NULL);
    sort_stats(values.list->v, values.list->n, NULL);
    sort_stats(bytes.list->v, bytes.list->n, NULL);
    return NLT_OK;
}

nlt_rc_t
nlt_head_stats(const nlt_head_view_t *view, uint32_t tenant, size_t limit,
               nlt_pool_t *pool, const int *cancel, nlt_head_stats_t *out,
               nlt_err_t *err)
{
    count_t c = {.view = view,
                 .tenant = tenant,
                 .pool = pool,
                 .cancel = cancel,
                 .out = out};
    nlt_rc_t rc = NLT_OK;

    *out = (nlt_head_stats_t){.t_min_ms = INT64_MAX, .t_max_ms = INT64_MIN};
    nlt_strtab_init(&c.names, pool);
    nlt_strtab_init(&c.keys, pool);
    nlt_buf_init(&c.key, pool->mem, NLT_SERIES_BYTES_MAX);
    for (size_t i = 0; rc == NLT_OK && i < view->n; i++) {
        add_times(out, view->arena[i]->hdr);
        rc = add_series(&c, i);
    }
    if (rc == NLT_OK && view->n > 0) {
        rc = add_pairs(&c, view->arena[view->n - 1]);
    }
    if (rc == NLT_OK) {
        rc = make_lists(&c, limit);
    }
    nlt_buf_deinit(&c.key);
    return rc == NLT_OK ? rc
                        : nlt_err_set(err, rc, "statistics of the head: %s",
                                      nlt_rc_text(rc));
}

void
nlt_head_set_load(nlt_head_t *h, const nlt_head_load_t *load)
{
    if (h->self != NULL) {
        atomic_store(&h->self->n_running, load->n_running);
        atomic_store(&h->self->n_waiting, load->n_waiting);
        atomic_store(&h->self->held_bytes, load->held_bytes);
        atomic_store(&h->self->t_config_ms, load->t_config_ms);
    }
}

void
nlt_head_get_load(const nlt_head_t *h, nlt_head_load_t *out)
{
    *out = (nlt_head_load_t){0};
    for (size_t i = 0; i < NLT_HEAD_PROCESSES; i++) {
        const nlt_head_process_t *p = &h->ctl->processes[i];

        if (atomic_load(&p->pid) == 0) {
            continue;
        }
        out->n_processes++;
        out->n_running += atomic_load(&p->n_running);
        out->n_waiting += atomic_load(&p->n_waiting);
        out->held_bytes += atomic_load(&p->held_bytes);
        out->t_config_ms =
            nlt_max_i64(out->t_config_ms, atomic_load(&p->t_config_ms));
    }
}
