/*
 * nlt_ingest_fixture.h - head, log and ingester in a temporary directory,
 * and what is in them as lists that can be compared.
 */
#ifndef NLT_INGEST_FIXTURE_H
#define NLT_INGEST_FIXTURE_H

#include "nlt_head_fixture.h"
#include "nlt_ingest.h"
#include "nlt_rw_build.h"

#define NOW INT64_C(1700000000000)

/* ---- what is in the head, what is in the log: lists of rows ---- */

typedef struct {
    char labels[120];
    int64_t t_ms;
    uint64_t bits;
    uint32_t seq;
} row_t;

typedef struct {
    row_t *v;
    size_t n, cap;
} rows_t;

static inline void
row_add(rows_t *r, nlt_str_t labels, int64_t t_ms, uint64_t bits)
{
    size_t len = labels.len < 119 ? labels.len : 119;

    if (r->n == r->cap) {
        r->cap = r->cap ? 2 * r->cap : 1024;
        r->v = realloc(r->v, r->cap * sizeof(*r->v));
        if (r->v == NULL) {
            abort();
        }
    }
    row_t *row = &r->v[r->n];

    memset(row, 0, sizeof(*row));
    memcpy(row->labels, labels.data, len);
    row->t_ms = t_ms;
    row->bits = bits;
    row->seq = (uint32_t) r->n++;
}

static inline int
row_cmp(const void *pa, const void *pb)
{
    const row_t *a = pa, *b = pb;
    int c = strcmp(a->labels, b->labels);

    if (c == 0) {
        c = (a->t_ms > b->t_ms) - (a->t_ms < b->t_ms);
    }
    return c ? c : (a->seq > b->seq) - (a->seq < b->seq);
}

/* Sorted; of equal times the first one stays. */
static inline void
rows_settle(rows_t *r)
{
    size_t n = 0;

    if (r->n) {
        qsort(r->v, r->n, sizeof(*r->v), row_cmp);
    }
    for (size_t i = 0; i < r->n; i++) {
        if (n == 0 || strcmp(r->v[n - 1].labels, r->v[i].labels) != 0
            || r->v[n - 1].t_ms != r->v[i].t_ms) {
            r->v[n++] = r->v[i];
        }
    }
    r->n = n;
}

static inline bool
rows_equal(const rows_t *a, const rows_t *b)
{
    for (size_t i = 0; i < a->n && i < b->n; i++) {
        if (strcmp(a->v[i].labels, b->v[i].labels) != 0
            || a->v[i].t_ms != b->v[i].t_ms || a->v[i].bits != b->v[i].bits) {
            printf("# row %zu: %s %lld %016llx / %s %lld %016llx\n", i,
                   a->v[i].labels, (long long) a->v[i].t_ms,
                   (unsigned long long) a->v[i].bits, b->v[i].labels,
                   (long long) b->v[i].t_ms,
                   (unsigned long long) b->v[i].bits);
            return false;
        }
    }
    if (a->n != b->n) {
        printf("# %zu rows and %zu\n", a->n, b->n);
    }
    return a->n == b->n;
}

static inline void
rows_free(rows_t *r)
{
    free(r->v);
    *r = (rows_t){0};
}

static inline rows_t
rows_of_head(nlt_head_t *h)
{
    nlt_head_view_t view;
    nlt_pool_t pool;
    rows_t rows = {0};
    uint32_t *no;
    nlt_err_t err;
    size_t n;

    nlt_head_pin(h, &view);
    for (size_t k = 0; k < view.n; k++) {
        nlt_pool_init(&pool, &nlt_mem_libc, 1u << 30);
        nlt_samples_t out = {.pool = &pool};

        NLT_CHECK_INT(
            nlt_arena_select(view.arena[k], &pool, 0, NULL, 0, &no, &n, &err),
            NLT_OK);
        for (size_t i = 0; i < n; i++) {
            nlt_labels_t labels;
            nlt_buf_t text;

            out.n = 0;
            NLT_CHECK_INT(
                nlt_arena_labels(view.arena[k], no[i], &pool, &labels),
                NLT_OK);
            NLT_CHECK_INT(nlt_arena_read(view.arena[k], no[i], NLT_READ_ALL,
                                         INT64_MIN, INT64_MAX, &out, &err),
                          NLT_OK);
            nlt_buf_init(&text, &nlt_mem_libc, 1 << 20);
            nlt_labels_print(&text, labels);
            for (size_t s = 0; s < out.n; s++) {
                row_add(&rows, nlt_buf_str(&text), out.t_ms[s],
                        nlt_bits_of(out.v[s]));
            }
            nlt_buf_deinit(&text);
        }
        nlt_pool_deinit(&pool);
    }
    nlt_head_unpin(h, &view);
    rows_settle(&rows);
    return rows;
}

typedef struct {
    rows_t rows;
    char (*labels)[120];
} log_ctx_t;

#define LOG_SERIES 100000

static inline nlt_rc_t
log_series_cb(void *ctx, uint32_t series, uint32_t tenant, nlt_str_t canonical)
{
    static nlt_label_t v[1000];
    log_ctx_t *c = ctx;
    nlt_buf_t text;
    size_t n;

    (void) tenant;
    NLT_CHECK(series < LOG_SERIES);
    NLT_CHECK_INT(nlt_rw_canonical_parse(canonical, v, 1000, &n), NLT_OK);
    nlt_buf_init(&text, &nlt_mem_libc, 1 << 20);
    nlt_labels_print(&text, (nlt_labels_t){v, n});
    snprintf(c->labels[series], 120, "%.*s", NLT_FMT(nlt_buf_str(&text)));
    nlt_buf_deinit(&text);
    return NLT_OK;
}

static inline nlt_rc_t
log_samples_cb(void *ctx, const nlt_wal_sample_t *s, size_t n)
{
    log_ctx_t *c = ctx;

    for (size_t i = 0; i < n; i++) {
        const char *labels = c->labels[s[i].series];

        NLT_CHECK(labels[0] != '\0');
        row_add(&c->rows, (nlt_str_t){strlen(labels), labels}, s[i].t_ms,
                s[i].v_bits);
    }
    return NLT_OK;
}

/* ---- the whole thing in a temporary directory ---- */

typedef struct {
    fixture_t f;
    nlt_env_t env;
    nlt_io_t io;
    nlt_head_t *head;
    nlt_ingest_t *in;
    nlt_ingest_conf_t conf;
    nlt_ingest_result_t res;
    rwb_t b;
    unsigned slices; /* of the last request */
} bed_t;

static int64_t now_ms = NOW;
static int disk_fails; /* errno of every write */

static inline int64_t
fixed_now(void *ctx)
{
    (void) ctx;
    return now_ms;
}

static inline ssize_t
test_write(void *ctx, int fd, const void *p, size_t n)
{
    return disk_fails ? -disk_fails : nlt_io_posix.write(ctx, fd, p, n);
}

/* What disks that fail on purpose make core say. */
static inline void
quiet_log(void *ctx, nlt_log_level_t level, const char *text, size_t len)
{
    (void) ctx;
    if (getenv("NLT_TEST_VERBOSE") != NULL) {
        printf("# log %d: %.*s\n", (int) level, (int) len, text);
    }
}

static inline void
bed_open(bed_t *t, uint64_t memory)
{
    nlt_err_t err;

    memset(t, 0, sizeof(*t));
    now_ms = NOW;
    disk_fails = 0;
    fixture_open(&t->f, memory);
    t->io = nlt_io_posix;
    t->io.write = test_write;
    t->env = nlt_env_posix;
    t->env.io = &t->io;
    t->env.now_ms = fixed_now;
    t->env.log = quiet_log;
    t->f.conf.env = &t->env;
    if (nlt_head_create(&t->f.conf, 1, &t->head, &err) != NLT_OK
        || nlt_wal_create(&t->env, t->f.conf.dir_fd, t->f.conf.store_id, 1,
                          NOW, &err)
               != NLT_OK
        || nlt_ingest_create(&t->env, t->head, t->f.conf.dir_fd, &t->in, &err)
               != NLT_OK) {
        printf("# %s\n", err.text);
        exit(2);
    }
    nlt_head_set_state(t->head, NLT_HEAD_OPEN);
    atomic_store(&nlt_head_ctl(t->head)->t_oldest_ms, NOW - 86400000);
    t->conf = (nlt_ingest_conf_t){
        .labels = {64, 1024, 4096}, .decoded_max = 32u << 20, .version = 1};
    rwb_init(&t->b);
}

static inline void
bed_close(bed_t *t)
{
    nlt_ingest_destroy(t->in);
    nlt_head_detach(t->head);
    fixture_close(&t->f);
    rwb_free(&t->b);
}

static inline void
rotate(bed_t *t, uint64_t next)
{
    uint64_t sealed;
    nlt_err_t err;

    NLT_CHECK_INT(nlt_wal_create(&t->env, t->f.conf.dir_fd, t->f.conf.store_id,
                                 next, NOW, &err),
                  NLT_OK);
    NLT_CHECK_INT(nlt_head_prepare(t->head, &err), NLT_OK);
    NLT_CHECK_INT(nlt_head_rotate(t->head, &sealed, &err), NLT_OK);
    NLT_CHECK_INT(sealed, next - 1);
}

/* Sends a body; rotates to arena `rotate_to` before slice `at` if not 0. */
static inline int
send_body_rotating(bed_t *t, nlt_str_t body, uint64_t rotate_to, unsigned at)
{
    nlt_ingest_req_t *r;

    NLT_CHECK_INT(nlt_ingest_begin(t->in, &t->conf, body, &r), NLT_OK);
    memset(&t->res, 0, sizeof(t->res));
    for (t->slices = 1;; t->slices++) {
        if (rotate_to && t->slices == at) {
            rotate(t, rotate_to);
        }
        if (nlt_ingest_run(r, &t->res) == NLT_OK) {
            break;
        }
        if (t->slices > 100000) {
            nlt_test_fail(__FILE__, __LINE__, "the request ends");
            break;
        }
    }
    return t->res.status;
}

static inline int
send_body(bed_t *t, nlt_str_t body)
{
    return send_body_rotating(t, body, 0, 0);
}

/* Sends what t->b has, and begins a new request. */
static inline int
send(bed_t *t)
{
    int status = send_body(t, rwb_snappy(&t->b));

    rwb_reset(&t->b);
    return status;
}

/* One series with one sample into the request. */
static inline void
add(bed_t *t, const char *name, int64_t t_ms, double v)
{
    rwb_label(&t->b, "__name__", name);
    rwb_label(&t->b, "job", "test");
    rwb_sample(&t->b, t_ms, v);
    rwb_end(&t->b);
}

static inline bool
says(const bed_t *t, const char *text)
{
    if (strcmp(t->res.err.text, text) != 0) {
        printf("# it says: %s\n", t->res.err.text);
        return false;
    }
    return true;
}

static inline size_t
count_rows(bed_t *t)
{
    rows_t rows = rows_of_head(t->head);
    size_t n = rows.n;

    rows_free(&rows);
    return n;
}

static inline void
read_log_into(bed_t *t, log_ctx_t *c, uint64_t arena)
{
    const nlt_wal_read_cb_t cb = {
        .ctx = c, .series = log_series_cb, .samples = log_samples_cb};
    nlt_wal_stats_t stats;
    nlt_err_t err;
    nlt_buf_t data;
    char name[40];

    snprintf(name, sizeof(name), "%016llx.wal", (unsigned long long) arena);
    nlt_buf_init(&data, &nlt_mem_libc, 1u << 30);
    NLT_CHECK_INT(
        nlt_io_read_file(&nlt_io_posix, t->f.conf.dir_fd, name, &data, &err),
        NLT_OK);
    memset(c->labels, 0, LOG_SERIES * sizeof(*c->labels));
    NLT_CHECK_INT(nlt_wal_read(&t->env, (const uint8_t *) data.data, data.len,
                               t->f.conf.store_id, &cb, &stats, &err),
                  NLT_OK);
    nlt_buf_deinit(&data);
}

/* Head and logs say the same. */
static inline void
check_logged(bed_t *t, uint64_t arenas)
{
    log_ctx_t c = {.labels = calloc(LOG_SERIES, 120)};
    rows_t head = rows_of_head(t->head);

    for (uint64_t a = 1; a <= arenas; a++) {
        read_log_into(t, &c, a);
    }
    rows_settle(&c.rows);
    NLT_CHECK(rows_equal(&head, &c.rows));
    rows_free(&head);
    rows_free(&c.rows);
    free(c.labels);
}

#endif
