/*
 * nlt_flush.c - ranks, windows and chunks of a sealed arena.
 */
#include "nlt_flush.h"

#include "nlt_block_dense.h"
#include "nlt_block_tenant.h"
#include "nlt_block_write.h"
#include "nlt_bytes.h"
#include "nlt_compact_plan.h"
#include "nlt_cuts.h"
#include "nlt_head_spans.h"
#include "nlt_limits.h"
#include "nlt_retention.h"
#include "nlt_strtab.h"

#define WINDOWS_MAX 64 /* of one group: bits of a mask */
#define POLL_SERIES 256
#define LOOKAHEAD   16

/* Series whose chunks are asked for at a time. */
#define FETCH_SERIES 8

/* Windows are joined that have together at least this, */
#define JOIN_MS (INT64_C(5) * 3600000)
/* and of samples in a time at least one in so many of the fullest; */
#define EVEN 4
/* so many of them: late samples of a few series are no backlog; */
#define JOIN_SAMPLES 4096
/* what has fewer minutes counts as if it had these. */
#define COVERED_MS_MIN (INT64_C(10) * 60000)

static int64_t
add_saturated(int64_t a, int64_t b)
{
    int64_t sum;

    return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

size_t
nlt_flush_chunks(size_t n)
{
    return (n + NLT_FLUSH_CHUNK_SAMPLES - 1) / NLT_FLUSH_CHUNK_SAMPLES;
}

/* ---- names ---- */

static const char crockford[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

void
nlt_flush_ulid(const uint8_t *store_id, uint64_t arena, int64_t t_min_ms,
               int64_t now_ms, nlt_ulid_t *out)
{
    uint8_t key[NLT_STORE_ID_BYTES + 24];
    uint64_t ms = (uint64_t) now_ms & ((UINT64_C(1) << 48) - 1);
    unsigned __int128 x;

    memcpy(key, store_id, NLT_STORE_ID_BYTES);
    nlt_put_le64(key + NLT_STORE_ID_BYTES, arena);
    nlt_put_le64(key + NLT_STORE_ID_BYTES + 8, (uint64_t) t_min_ms);
    nlt_put_le64(key + NLT_STORE_ID_BYTES + 16, ms);
    x = ms;
    x = x << 16 | (nlt_hash64(key, sizeof(key), 1) & 0xffff);
    x = x << 64 | nlt_hash64(key, sizeof(key), 2);
    for (int i = NLT_ULID_LEN - 1; i >= 0; i--) {
        out->c[i] = crockford[(unsigned) x & 31];
        x >>= 5;
    }
    out->c[NLT_ULID_LEN] = '\0';
}

bool
nlt_flush_owns(const uint8_t *store_id, const nlt_block_meta_t *meta)
{
    nlt_ulid_t want;
    uint64_t ms = 0;

    /* Ten characters are the time. */
    for (int i = 0; i < 10; i++) {
        const char *at = strchr(crockford, meta->ulid.c[i]);

        if (at == NULL || *at == '\0') {
            return false;
        }
        ms = ms << 5 | (uint64_t) (at - crockford);
    }
    if (!meta->ours || ms >> 48 != 0) {
        return false;
    }
    nlt_flush_ulid(store_id, meta->arena, meta->t_min_ms, (int64_t) ms, &want);
    return strcmp(want.c, meta->ulid.c) == 0;
}

/* ---- one flush ---- */

typedef struct {
    int64_t start_ms; /* [start, end) */
    int64_t end_ms;
    int64_t t_min_ms; /* of the samples in it, inclusive */
    int64_t t_max_ms;
    uint64_t n_series;
    uint64_t n_samples;
} window_t;

typedef struct {
    const nlt_flush_conf_t *conf;
    const nlt_arena_t *arena;
    nlt_err_t *err;
    nlt_pool_t keep;    /* until the end */
    nlt_pool_t samples; /* of the series in hand */
    nlt_pool_t scratch; /* rewound after each series */
    nlt_samples_t s;
    nlt_dense_work_t *work; /* NULL: chunks are portable */
    nlt_cutter_t cutter;
    nlt_cuts_t cuts; /* what is deleted */
    uint32_t *id;    /* numbers of the series in the arena */
    size_t n;        /* series */
    uint32_t *order; /* indexes into id, in label order */
    uint32_t *off;   /* vec[off[i] .. off[i + 1]): ranks of name, value, .. */
    uint32_t *vec;
    size_t n_vec;
    size_t vec_cap;
    nlt_str_t *ranked; /* string of a rank */
    size_t n_ranked;
    uint64_t *mask; /* windows of the group that series i has samples in */
    uint8_t *used;  /* ranks that occur in the window */
    window_t w[WINDOWS_MAX];
    size_t n_w;
    size_t polled;
    uint32_t tenant; /* of tenant_text, unless that is empty */
    nlt_str_t tenant_text;
} flush_t;

static nlt_rc_t
no_memory(flush_t *f)
{
    return nlt_err_set(f->err, NLT_ENOMEM, "flush of arena %llu: no memory",
                       (unsigned long long) nlt_arena_no(f->arena));
}

static nlt_rc_t
poll_now(void *ctx)
{
    flush_t *f = ctx;
    nlt_rc_t rc = f->conf->poll ? f->conf->poll(f->conf->poll_ctx) : NLT_OK;

    return rc == NLT_OK ? rc : nlt_err_set(f->err, rc, "flush interrupted");
}

static nlt_rc_t
poll_series(flush_t *f)
{
    return ++f->polled % POLL_SERIES == 0 ? poll_now(f) : NLT_OK;
}

static bool
vec_add(flush_t *f, uint32_t no)
{
    if (f->n_vec == f->vec_cap) {
        size_t cap = f->vec_cap ? f->vec_cap * 2 : 4096;
        uint32_t *v = nlt_pool_grow(&f->keep, f->vec, f->vec_cap * sizeof(*v),
                                    cap * sizeof(*v));

        if (v == NULL || cap > UINT32_MAX) {
            return false;
        }
        f->vec = v;
        f->vec_cap = cap;
    }
    f->vec[f->n_vec++] = no;
    return true;
}

/* Adds a label to the vector in hand. */
static bool
collect_label(flush_t *f, nlt_strtab_t *strings, nlt_str_t name,
              nlt_str_t value)
{
    uint32_t no[2];

    return nlt_strtab_add(strings, name, &no[0], NULL)
           && nlt_strtab_add(strings, value, &no[1], NULL) && vec_add(f, no[0])
           && vec_add(f, no[1]);
}

/* The private label of a tenant other than 0.  Strings must last. */
static bool
collect_tenant(flush_t *f, nlt_strtab_t *strings, uint32_t tenant)
{
    char text[NLT_TENANT_TEXT_BYTES];

    if (tenant != f->tenant) {
        f->tenant = tenant;
        f->tenant_text = nlt_pool_str(&f->keep, nlt_tenant_text(tenant, text));
    }
    return f->tenant_text.data != NULL
           && collect_label(f, strings, NLT_TENANT_NAME, f->tenant_text);
}

/* Every string gets a number, every series its vector of numbers. */
static nlt_rc_t
collect(flush_t *f, nlt_strtab_t *strings)
{
    for (size_t i = 0; i < f->n; i++) {
        nlt_pool_mark_t mark = nlt_pool_mark(&f->scratch);
        uint32_t tenant = nlt_arena_tenant(f->arena, f->id[i]);
        nlt_labels_t labels;
        nlt_rc_t rc;

        rc = nlt_arena_labels(f->arena, f->id[i], &f->scratch, &labels);
        if (rc != NLT_OK) {
            return nlt_err_set(f->err, rc, "flush: labels of series %u: %s",
                               f->id[i], nlt_rc_text(rc));
        }
        f->off[i] = (uint32_t) f->n_vec;
        if (tenant != 0 && !collect_tenant(f, strings, tenant)) {
            return no_memory(f);
        }
        for (size_t k = 0; k < labels.n; k++) {
            if (!collect_label(f, strings, labels.v[k].name,
                               labels.v[k].value)) {
                return no_memory(f);
            }
        }
        nlt_pool_rewind(&f->scratch, mark);
        rc = poll_series(f);
        if (rc != NLT_OK) {
            return rc;
        }
    }
    f->off[f->n] = (uint32_t) f->n_vec;
    return NLT_OK;
}

/* Numbers become ranks: equal order, and comparable. */
static nlt_rc_t
rank(flush_t *f, const nlt_strtab_t *strings)
{
    uint32_t *order = nlt_strtab_order(strings);
    uint32_t *rank_of = nlt_pool_array(&f->keep, strings->n, sizeof(*rank_of));

    f->n_ranked = strings->n;
    f->ranked = nlt_pool_array(&f->keep, strings->n, sizeof(*f->ranked));
    f->used = nlt_pool_array(&f->keep, strings->n, 1);
    if (order == NULL || rank_of == NULL || f->ranked == NULL
        || f->used == NULL) {
        return no_memory(f);
    }
    for (size_t r = 0; r < strings->n; r++) {
        rank_of[order[r]] = (uint32_t) r;
        f->ranked[r] = strings->v[order[r]];
    }
    for (size_t i = 0; i < f->n_vec; i++) {
        f->vec[i] = rank_of[f->vec[i]];
    }
    return NLT_OK;
}

static int
cmp_series(const void *ctx, uint32_t a, uint32_t b)
{
    const flush_t *f = ctx;
    const uint32_t *va = f->vec + f->off[a], *vb = f->vec + f->off[b];
    size_t na = f->off[a + 1] - f->off[a], nb = f->off[b + 1] - f->off[b];

    for (size_t i = 0; i < na && i < nb; i++) {
        if (va[i] != vb[i]) {
            return va[i] < vb[i] ? -1 : 1;
        }
    }
    return (na > nb) - (na < nb);
}

static nlt_rc_t
prepare(flush_t *f)
{
    nlt_strtab_t strings;
    uint32_t *tmp;
    nlt_rc_t rc;

    f->n = atomic_load(&nlt_arena_header(f->arena)->n_series);
    f->id = nlt_pool_array(&f->keep, f->n, sizeof(*f->id));
    if (f->id == NULL) {
        return no_memory(f);
    }
    for (size_t i = 0; i < f->n; i++) {
        f->id[i] = (uint32_t) i + 1;
    }
    f->off = nlt_pool_array(&f->keep, f->n + 1, sizeof(*f->off));
    f->order = nlt_pool_array(&f->keep, f->n, sizeof(*f->order));
    f->mask = nlt_pool_array(&f->keep, f->n, sizeof(*f->mask));
    tmp = nlt_pool_array(&f->keep, f->n, sizeof(*tmp));
    if (f->off == NULL || f->order == NULL || f->mask == NULL || tmp == NULL) {
        return no_memory(f);
    }
    rc = nlt_cutter_arena(&f->cutter, &f->keep, f->arena, NULL, &f->cuts,
                          f->err);
    if (rc != NLT_OK) {
        return rc;
    }
    nlt_strtab_init(&strings, &f->keep);
    rc = collect(f, &strings);
    if (rc != NLT_OK) {
        return rc;
    }
    rc = rank(f, &strings);
    if (rc != NLT_OK) {
        return rc;
    }
    for (size_t i = 0; i < f->n; i++) {
        f->order[i] = (uint32_t) i;
    }
    return nlt_sort_u32(f->order, f->n, tmp, cmp_series, f, poll_now, f);
}

/* Samples of series i in [from, to] into f->s, but for the deleted ones. */
static nlt_rc_t
read_series(flush_t *f, size_t i, int64_t from, int64_t to)
{
    nlt_interval_t gone[NLT_DELETES_MAX];
    nlt_rc_t rc;

    f->s.n = 0;
    rc = nlt_arena_read(f->arena, f->id[i], NLT_READ_ALL, from, to, &f->s,
                        f->err);
    if (rc == NLT_OK && f->cuts.n > 0) {
        nlt_intervals_cut(gone, nlt_cuts_of(&f->cuts, f->id[i], gone), &f->s,
                          0);
    }
    return rc;
}

/* Windows from `from` on; what ends the group is returned. */
static int64_t
plan_group(flush_t *f, int64_t from, int64_t t_max)
{
    f->n_w = 0;
    while (f->n_w < WINDOWS_MAX && from <= t_max) {
        window_t *w = &f->w[f->n_w++];

        *w = (window_t){.t_min_ms = INT64_MAX, .t_max_ms = INT64_MIN};
        nlt_compact_window(f->conf->now_ms, f->conf->retention_ms, from,
                           &w->start_ms, &w->end_ms);
        if (w->end_ms == INT64_MAX) {
            return INT64_MAX;
        }
        from = w->end_ms;
    }
    return from;
}

/* n samples of the series in hand, from first to last, are in window k. */
static void
scan_add(flush_t *f, size_t k, int64_t first, int64_t last, uint64_t n)
{
    window_t *w = &f->w[k];

    w->t_min_ms = nlt_min_i64(w->t_min_ms, first);
    w->t_max_ms = nlt_max_i64(w->t_max_ms, last);
    w->n_samples += n;
}

/* The same of a series whose samples have to be looked at. */
static nlt_rc_t
scan_samples(flush_t *f, size_t i, int64_t from, int64_t to, uint64_t *mask)
{
    nlt_rc_t rc = read_series(f, i, from, to);
    size_t k = 0;

    for (size_t j = 0; rc == NLT_OK && j < f->s.n; j++) {
        int64_t t = f->s.t_ms[j];

        while (t >= f->w[k].end_ms && k + 1 < f->n_w) {
            k++;
        }
        scan_add(f, k, t, t, 1);
        *mask |= UINT64_C(1) << k;
    }
    return rc;
}

/* What chunks of a series say. */
typedef struct {
    const flush_t *f;
    size_t k;   /* of the window of the last one */
    bool split; /* one lies in several windows */
    uint64_t mask;
    struct {
        int64_t first; /* of the window: set with its bit of mask */
        int64_t last;
        uint64_t n;
    } w[WINDOWS_MAX];
} spans_t;

static bool
scan_span_cb(void *ctx, int64_t first, int64_t last, uint32_t n)
{
    spans_t *s = ctx;
    size_t k = s->k;

    while (k > 0 && last < s->f->w[k].start_ms) {
        k--;
    }
    s->k = k;
    s->split = first < s->f->w[k].start_ms || last >= s->f->w[k].end_ms;
    if (s->split) {
        return false;
    }
    if (!(s->mask >> k & 1)) {
        s->mask |= UINT64_C(1) << k;
        s->w[k].last = last;
        s->w[k].n = 0;
    }
    s->w[k].first = first;
    s->w[k].n += n;
    return true;
}

/*
 * Which windows have samples of series i.  Mostly its chunks say so, which
 * are cut at the borders of windows.
 */
static nlt_rc_t
scan_series(flush_t *f, size_t i, int64_t from, int64_t to, uint64_t *mask)
{
    spans_t s = {.f = f, .k = f->n_w - 1};
    nlt_rc_t rc;

    *mask = 0;
    if (f->cuts.n > 0) {
        return scan_samples(f, i, from, to, mask);
    }
    rc = nlt_arena_spans(f->arena, f->id[i], from, to, scan_span_cb, &s);
    if (rc == NLT_AGAIN || (rc == NLT_OK && s.split)) {
        return scan_samples(f, i, from, to, mask);
    }
    if (rc != NLT_OK) {
        return nlt_err_set(f->err, rc, "flush: chunks of series %u: %s",
                           f->id[i], nlt_rc_text(rc));
    }
    *mask = s.mask;
    for (uint64_t m = s.mask; m != 0; m &= m - 1) {
        size_t k = (size_t) __builtin_ctzll(m);

        scan_add(f, k, s.w[k].first, s.w[k].last, s.w[k].n);
    }
    return NLT_OK;
}

/* Which series has samples in which window of the group. */
static nlt_rc_t
scan_group(flush_t *f)
{
    int64_t from = f->w[0].start_ms, to = f->w[f->n_w - 1].end_ms - 1;

    for (size_t i = 0; i < f->n; i++) {
        nlt_rc_t rc = scan_series(f, i, from, to, &f->mask[i]);

        for (uint64_t m = f->mask[i]; rc == NLT_OK && m != 0; m &= m - 1) {
            f->w[__builtin_ctzll(m)].n_series++;
        }
        rc = rc == NLT_OK ? poll_series(f) : rc;
        if (rc != NLT_OK) {
            return rc;
        }
    }
    return NLT_OK;
}

/* ---- windows that become one block ---- */

/* Part of a window that lies between the ends of the arena. */
static double
covered_ms(const flush_t *f, const window_t *w)
{
    const nlt_arena_header_t *h = nlt_arena_header(f->arena);
    int64_t from = nlt_max_i64(w->start_ms, atomic_load(&h->t_min_ms));
    int64_t to = nlt_min_i64(w->end_ms - 1, atomic_load(&h->t_max_ms));

    return (double) nlt_max_i64(to - from + 1, COVERED_MS_MIN);
}

/* Samples in a millisecond. */
static double
density(const flush_t *f, const window_t *w)
{
    return (double) w->n_samples / covered_ms(f, w);
}

/* Windows [a, b) become the first of them. */
static void
join(flush_t *f, size_t a, size_t b)
{
    uint64_t all = 0;

    for (size_t k = a; k < b; k++) {
        all |= UINT64_C(1) << k;
    }
    f->w[a].end_ms = f->w[b - 1].end_ms;
    f->w[a].t_max_ms = f->w[b - 1].t_max_ms;
    for (size_t k = a + 1; k < b; k++) {
        f->w[a].n_samples += f->w[k].n_samples;
        f->w[k].n_series = f->w[k].n_samples = 0;
    }
    f->w[a].n_series = 0;
    for (size_t i = 0; i < f->n; i++) {
        if (f->mask[i] & all) {
            f->mask[i] = (f->mask[i] & ~all) | UINT64_C(1) << a;
            f->w[a].n_series++;
        }
    }
}

/*
 * Joins what is about equally full, of windows [a, b) that lie in one window
 * of the highest range.
 */
static void
join_even(flush_t *f, size_t a, size_t b)
{
    double most = 0;

    for (size_t k = a; k < b; k++) {
        double d = density(f, &f->w[k]);

        most = d > most ? d : most;
    }
    while (a < b) {
        uint64_t n_samples = 0;
        size_t end = a;

        while (end < b && f->w[end].n_samples > 0
               && density(f, &f->w[end]) * EVEN >= most) {
            n_samples += f->w[end++].n_samples;
        }
        if (end > a + 1 && n_samples >= JOIN_SAMPLES
            && f->w[end - 1].t_max_ms - f->w[a].t_min_ms >= JOIN_MS) {
            join(f, a, end);
        }
        a = end > a ? end : a + 1;
    }
}

/* Number of the window of the highest range that t is in. */
static int64_t
top_window(const flush_t *f, int64_t t)
{
    unsigned level = 1;
    int64_t range;

    while (nlt_compact_range(level + 1, f->conf->retention_ms) != 0) {
        level++;
    }
    range = nlt_compact_range(level, f->conf->retention_ms);
    return t / range - (t % range < 0);
}

static void
join_windows(flush_t *f)
{
    for (size_t a = 0, b; a < f->n_w; a = b) {
        for (b = a + 1; b < f->n_w
                        && top_window(f, f->w[b].start_ms)
                               == top_window(f, f->w[a].start_ms);
             b++) {
        }
        join_even(f, a, b);
    }
}

static nlt_rc_t
write_symbols(flush_t *f, nlt_block_writer_t *w, size_t k)
{
    nlt_pool_mark_t mark = nlt_pool_mark(&f->scratch);
    size_t n = 0;
    nlt_str_t *symbols;
    nlt_rc_t rc;

    if (f->n_ranked > 0) {
        memset(f->used, 0, f->n_ranked);
    }
    for (size_t i = 0; i < f->n; i++) {
        if (f->mask[i] >> k & 1) {
            for (size_t j = f->off[i]; j < f->off[i + 1]; j++) {
                n += !f->used[f->vec[j]];
                f->used[f->vec[j]] = 1;
            }
        }
    }
    symbols = nlt_pool_array(&f->scratch, n, sizeof(*symbols));
    if (symbols == NULL) {
        return no_memory(f);
    }
    n = 0;
    for (size_t r = 0; r < f->n_ranked; r++) {
        if (f->used[r]) {
            symbols[n++] = f->ranked[r];
        }
    }
    rc = nlt_block_writer_symbols(w, symbols, n, f->err);
    nlt_pool_rewind(&f->scratch, mark);
    return rc;
}

/* The samples [from, from + n) of f->s as a chunk in the scratch pool. */
static bool
encode_chunk(flush_t *f, size_t from, size_t n, nlt_block_chunk_t *out)
{
    const int64_t *t = f->s.t_ms + from;
    const double *v = f->s.v + from;
    uint8_t *data =
        nlt_pool_alloc(&f->scratch, f->work ? nlt_block_dense_bytes_max(n)
                                            : nlt_xor_chunk_bytes_max(n));

    if (data == NULL) {
        return false;
    }
    if (f->work) {
        *out = nlt_block_dense_encode(f->work, t, v, n, data);
        return true;
    }
    *out = (nlt_block_chunk_t){
        .t_min_ms = t[0],
        .t_max_ms = t[n - 1],
        .encoding = 1,
        .n_samples = (uint32_t) n,
        .data = {nlt_xor_encode_chunk(t, v, n, LOOKAHEAD, data),
                 (const char *) data},
    };
    return true;
}

/* The samples in f->s as chunks in the scratch pool. */
static nlt_rc_t
encode(flush_t *f, nlt_block_chunk_t **out, size_t *n_out)
{
    size_t n =
        f->work ? (f->s.n + NLT_DENSE_SAMPLES_MAX - 1) / NLT_DENSE_SAMPLES_MAX
                : nlt_flush_chunks(f->s.n);
    nlt_block_chunk_t *c = nlt_pool_array(&f->scratch, n, sizeof(*c));
    size_t from = 0;

    if (c == NULL) {
        return no_memory(f);
    }
    for (size_t i = 0; i < n; i++) {
        size_t to = f->s.n * (i + 1) / n;

        if (!encode_chunk(f, from, to - from, &c[i])) {
            return no_memory(f);
        }
        from = to;
    }
    *out = c;
    *n_out = n;
    return NLT_OK;
}

static bool
in_order(const nlt_samples_t *s)
{
    uint64_t bad = 0;

    for (size_t i = 1; i < s->n; i++) {
        bad |= s->t_ms[i] <= s->t_ms[i - 1];
    }
    return bad == 0;
}

static nlt_rc_t
write_series(flush_t *f, nlt_block_writer_t *w, size_t k, size_t i)
{
    size_t n = (f->off[i + 1] - f->off[i]) / 2, n_chunks = 0;
    const uint32_t *vec = f->vec + f->off[i];
    nlt_label_t *v = nlt_pool_array(&f->scratch, n, sizeof(*v));
    nlt_block_chunk_t *chunks = NULL;
    nlt_rc_t rc;

    if (v == NULL) {
        return no_memory(f);
    }
    for (size_t j = 0; j < n; j++) {
        v[j].name = f->ranked[vec[2 * j]];
        v[j].value = f->ranked[vec[2 * j + 1]];
    }
    rc = read_series(f, i, f->w[k].start_ms, f->w[k].end_ms - 1);
    if (rc != NLT_OK) {
        return rc;
    }
    if (f->s.n == 0 || !in_order(&f->s)) {
        return nlt_err_set(f->err, NLT_EDATA, "flush: samples of series %u %s",
                           f->id[i],
                           f->s.n ? "are not in order" : "went away");
    }
    rc = encode(f, &chunks, &n_chunks);
    if (rc != NLT_OK) {
        return rc;
    }
    return nlt_block_writer_series(w, (nlt_labels_t){v, n}, chunks, n_chunks,
                                   f->err);
}

/* Asks for the next series of window k from order[at] on; where they end. */
static size_t
fetch_series(const flush_t *f, size_t k, size_t at)
{
    uint32_t id[FETCH_SERIES];
    size_t n = 0;

    for (; at < f->n && n < FETCH_SERIES; at++) {
        if (f->mask[f->order[at]] >> k & 1) {
            id[n++] = f->id[f->order[at]];
        }
    }
    nlt_arena_fetch(f->arena, id, n, f->w[k].start_ms, f->w[k].end_ms - 1);
    return at;
}

static nlt_rc_t
write_all_series(flush_t *f, nlt_block_writer_t *w, size_t k)
{
    size_t fetched = 0;

    for (size_t at = 0; at < f->n; at++) {
        size_t i = f->order[at];
        nlt_pool_mark_t mark;
        nlt_rc_t rc;

        if (!(f->mask[i] >> k & 1)) {
            continue;
        }
        if (at >= fetched) {
            fetched = fetch_series(f, k, at);
        }
        mark = nlt_pool_mark(&f->scratch);
        rc = write_series(f, w, k, i);
        nlt_pool_rewind(&f->scratch, mark);
        if (rc == NLT_OK) {
            rc = poll_series(f);
        }
        if (rc != NLT_OK) {
            return rc;
        }
    }
    return NLT_OK;
}

/* Writes window k as a block and names it in m. */
static nlt_rc_t
write_block(flush_t *f, size_t k, nlt_manifest_t *m)
{
    const nlt_flush_conf_t *conf = f->conf;
    nlt_block_meta_t meta = {
        .t_min_ms = f->w[k].t_min_ms,
        .t_end_ms = add_saturated(f->w[k].t_max_ms, 1),
        .level = 1,
        .arena = nlt_arena_no(f->arena),
    };
    nlt_block_writer_t *w;
    nlt_rc_t rc;

    nlt_flush_ulid(conf->store_id, meta.arena, meta.t_min_ms, conf->now_ms,
                   &meta.ulid);
    rc = nlt_block_writer_open(conf->env, conf->blocks_fd, &meta, &w, f->err);
    if (rc != NLT_OK) {
        return rc;
    }
    nlt_block_writer_poll(w, conf->poll, conf->poll_ctx);
    rc = write_symbols(f, w, k);
    if (rc == NLT_OK) {
        rc = write_all_series(f, w, k);
    }
    if (rc != NLT_OK) {
        nlt_block_writer_abort(w);
        return rc;
    }
    rc = nlt_block_writer_finish(w, &meta, f->err);
    if (rc != NLT_OK) {
        return rc;
    }
    nlt_manifest_block_t b = {
        .ulid = meta.ulid,
        .t_min_ms = meta.t_min_ms,
        .t_end_ms = meta.t_end_ms,
        .arena = meta.arena,
        .deletes = f->cutter.applied,
        .level = meta.level,
        .n_samples = meta.n_samples,
        .n_series = meta.n_series,
        .bytes = meta.bytes,
        .dense = meta.dense,
    };
    rc = nlt_manifest_add_block(m, &b);
    return rc == NLT_OK ? rc : nlt_err_set(f->err, rc, "too many blocks");
}

static nlt_rc_t
write_windows(flush_t *f, nlt_manifest_t *m)
{
    const nlt_arena_header_t *h = nlt_arena_header(f->arena);
    int64_t t_min = atomic_load(&h->t_min_ms);
    int64_t t_max = atomic_load(&h->t_max_ms);
    int64_t at, end;

    if (f->n == 0 || t_min > t_max) {
        return NLT_OK;
    }
    nlt_compact_window(f->conf->now_ms, f->conf->retention_ms, t_min, &at,
                       &end);
    while (at <= t_max && at < INT64_MAX) {
        nlt_rc_t rc;

        at = plan_group(f, at, t_max);
        rc = scan_group(f);
        if (rc == NLT_OK) {
            join_windows(f);
        }
        for (size_t k = 0; rc == NLT_OK && k < f->n_w; k++) {
            if (f->w[k].n_series > 0) {
                /* The one before was synced, which may have taken a while. */
                rc = poll_now(f);
                rc = rc == NLT_OK ? write_block(f, k, m) : rc;
            }
        }
        if (rc != NLT_OK) {
            return rc;
        }
    }
    return NLT_OK;
}

/* Takes back the blocks of m that `before` does not know. */
static void
undo(const nlt_flush_conf_t *conf, const nlt_manifest_t *before,
     const nlt_manifest_t *m)
{
    for (size_t i = 0; i < m->n_blocks; i++) {
        const char *name = m->blocks[i].ulid.c;
        nlt_err_t err;

        if (nlt_manifest_find(before, name) == before->n_blocks
            && nlt_block_dir_remove(conf->env, conf->blocks_fd, name, &err)
                   != NLT_OK) {
            nlt_log_todo(conf->env, NLT_LOG_WARN,
                         "see to the rights in its directory",
                         "unfinished block %s stays until the next start: %s",
                         name, err.text);
        }
    }
}

nlt_rc_t
nlt_flush_arena(const nlt_flush_conf_t *conf, const nlt_arena_t *a,
                nlt_manifest_t *m, size_t *n_blocks, nlt_err_t *err)
{
    flush_t f = {.conf = conf, .arena = a, .err = err};
    size_t budget = 4 * nlt_arena_header(a)->size_bytes + (64u << 20);
    nlt_manifest_t work = {.mem = conf->env->mem};
    nlt_rc_t rc;

    *n_blocks = 0;
    rc = nlt_manifest_copy(&work, m);
    if (rc != NLT_OK) {
        return nlt_err_set(err, rc, "flush: no memory for the manifest");
    }
    nlt_pool_init(&f.keep, conf->env->mem, budget);
    nlt_pool_init(&f.samples, conf->env->mem, budget);
    nlt_pool_init(&f.scratch, conf->env->mem, budget);
    f.s.pool = &f.samples;
    nlt_cutter_init(&f.cutter, conf->env->mem, conf->deletes, NLT_TENANTS_ALL);
    f.cutter.lenient = true;
    rc = poll_now(&f);
    if (rc == NLT_OK && conf->dense) {
        f.work = nlt_pool_alloc(&f.keep, sizeof(*f.work));
        rc = f.work ? NLT_OK : no_memory(&f);
    }
    if (rc == NLT_OK) {
        rc = prepare(&f);
    }
    if (rc == NLT_OK) {
        rc = write_windows(&f, &work);
    }
    nlt_cutter_deinit(&f.cutter);
    nlt_pool_deinit(&f.scratch);
    nlt_pool_deinit(&f.samples);
    nlt_pool_deinit(&f.keep);
    if (rc == NLT_OK) {
        nlt_manifest_t old = *m;

        *n_blocks = work.n_blocks - m->n_blocks;
        *m = work;
        work = old;
    } else {
        undo(conf, m, &work);
    }
    nlt_manifest_deinit(&work);
    return rc;
}
