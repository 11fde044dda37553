/*
 * nlt_store_fixture.h - a store in temporary directories, its helper in the
 * same process, a clock that stands still, a disk that fails on command, and
 * a model: per series the samples that must be there.
 */
#ifndef NLT_STORE_FIXTURE_H
#define NLT_STORE_FIXTURE_H

#include "nlt_test.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nlt_store.h"
#include "nlt_store_fault.h"

#define FX_SERIES 64
#define FX_HOUR   INT64_C(3600000)
#define FX_NOW    INT64_C(1700054400000)

/* ---- the model ---- */

typedef struct {
    int64_t t_ms;
    double v;
    bool maybe; /* was not acknowledged: may be there or not */
} fx_sample_t;

typedef struct {
    fx_sample_t *v; /* ascending */
    size_t n;
    size_t cap;
} fx_series_t;

typedef struct {
    nlt_env_t env;
    nlt_io_t io;
    fx_fault_t fault;
    int64_t now_ms;
    _Atomic int64_t mono_ns;
    char root[48];
    char path[64];
    char head_path[64];
    nlt_store_conf_t conf;
    nlt_store_t *store;
    nlt_helper_t *helper;
    fx_series_t series[FX_SERIES];
    bool verbose;
} fx_t;

/* First written wins, acknowledged beats maybe. */
static inline void
fx_model_add(fx_t *fx, unsigned no, int64_t t_ms, double v, bool maybe)
{
    fx_series_t *s = &fx->series[no];
    size_t at = s->n;

    while (at > 0 && s->v[at - 1].t_ms > t_ms) {
        at--;
    }
    if (at > 0 && s->v[at - 1].t_ms == t_ms) {
        s->v[at - 1].maybe &= maybe;
        return;
    }
    if (s->n == s->cap) {
        s->cap = s->cap ? s->cap * 2 : 64;
        s->v = realloc(s->v, s->cap * sizeof(*s->v));
    }
    memmove(s->v + at + 1, s->v + at, (s->n - at) * sizeof(*s->v));
    s->v[at] = (fx_sample_t){t_ms, v, maybe};
    s->n++;
}

/* ---- life ---- */

static inline int64_t
fx_clock(void *ctx)
{
    return ((fx_t *) ctx)->now_ms;
}

static inline int64_t
fx_mono(void *ctx)
{
    return atomic_fetch_add(&((fx_t *) ctx)->mono_ns, 1000);
}

static inline void
fx_log(void *ctx, nlt_log_level_t level, const char *text, size_t len)
{
    if (((fx_t *) ctx)->verbose) {
        printf("# log %d: %.*s\n", (int) level, (int) len, text);
    }
}

static inline void
fx_init(fx_t *fx)
{
    nlt_err_t err;

    memset(fx, 0, sizeof(*fx));
    fx->verbose = getenv("NLT_TEST_VERBOSE") != NULL;
    fx->io = fx_fault_io(&fx->fault);
    fx->env =
        (nlt_env_t){&nlt_mem_libc, &fx->io, fx_clock, fx_mono, fx_log, fx};
    fx->now_ms = FX_NOW;
    fx->mono_ns = 1000000000;
    (void) snprintf(fx->root, sizeof(fx->root), "/dev/shm/nlt-store-XXXXXX");
    if (mkdtemp(fx->root) == NULL) {
        (void) snprintf(fx->root, sizeof(fx->root), "/tmp/nlt-store-XXXXXX");
        NLT_CHECK(mkdtemp(fx->root) != NULL);
    }
    (void) snprintf(fx->path, sizeof(fx->path), "%s/data", fx->root);
    (void) snprintf(fx->head_path, sizeof(fx->head_path), "%s/head", fx->root);
    NLT_CHECK_INT(mkdir(fx->path, 0700), 0);
    fx->conf = (nlt_store_conf_t){
        .path = fx->path,
        .head_path = fx->head_path,
        .memory_bytes = NLT_HEAD_MEMORY_MIN,
        .retention_ms = 15 * 24 * FX_HOUR,
        .wal_sync_ms = 1000,
        .arena_age_ms = 2 * FX_HOUR,
    };
    NLT_CHECK_INT(nlt_store_prepare_dir(&fx->env, &fx->conf, &err), NLT_OK);
}

static inline void
fx_close(fx_t *fx)
{
    nlt_store_close(fx->store);
    nlt_helper_close(fx->helper);
    fx->store = NULL;
    fx->helper = NULL;
}

static inline void
fx_deinit(fx_t *fx)
{
    nlt_err_t err;

    fx_close(fx);
    NLT_CHECK_INT(nlt_io_remove_tree(&nlt_io_posix, AT_FDCWD, fx->root, &err),
                  NLT_OK);
    for (size_t i = 0; i < FX_SERIES; i++) {
        free(fx->series[i].v);
    }
}

static inline void
fx_remove_head(fx_t *fx)
{
    nlt_err_t err;

    NLT_CHECK_INT(
        nlt_io_remove_tree(&nlt_io_posix, AT_FDCWD, fx->head_path, &err),
        NLT_OK);
    NLT_CHECK_INT(mkdir(fx->head_path, 0700), 0);
}

/* Opens store and helper, steps until ready; false: never was. */
static inline bool
fx_start(fx_t *fx)
{
    nlt_store_status_t status = {.ready = false};
    nlt_err_t err;

    if (nlt_helper_open(&fx->env, &fx->conf, &fx->helper, &err) != NLT_OK
        || nlt_store_open(&fx->env, &fx->conf, NLT_ROLE_WORKER, &fx->store,
                          &err)
               != NLT_OK) {
        return false;
    }
    for (int i = 0; i < 200 && !status.ready; i++) {
        (void) nlt_helper_step(fx->helper, NULL);
        nlt_store_tick(fx->store);
        nlt_store_status(fx->store, &status);
        fx->mono_ns += 100000000;
    }
    if (!status.ready && fx->fault.fail_at == 0) {
        printf("# not ready: %s\n", status.reason);
    }
    return status.ready;
}

static inline void
fx_step(fx_t *fx, int n)
{
    while (n-- > 0) {
        (void) nlt_helper_step(fx->helper, NULL);
        nlt_store_tick(fx->store);
        fx->mono_ns += 100000000;
    }
}

/* Everything in blocks; false: it did not happen within 50 steps. */
static inline bool
fx_flush(fx_t *fx)
{
    nlt_head_ctl_t *ctl = nlt_store_ctl(fx->store);
    uint64_t before = ctl ? atomic_load(&ctl->counters.flushes) : 0;

    nlt_helper_flush_soon(fx->helper);
    for (int i = 0; i < 50; i++) {
        fx_step(fx, 1);
        ctl = nlt_store_ctl(fx->store);
        if (ctl != NULL && atomic_load(&ctl->counters.flushes) > before) {
            fx_step(fx, 1);
            return true;
        }
    }
    return false;
}

/* ---- writing and checking ---- */

static inline nlt_rc_t
fx_write(fx_t *fx, unsigned no, int64_t t_ms, double v)
{
    char text[16];
    nlt_label_t labels[2] = {{NLT_METRIC_NAME, NLT_STR("m")},
                             {NLT_STR("i"), {0}}};
    nlt_ingest_own_t s = {.labels = {labels, 2}, .t_ms = t_ms, .v = v};
    nlt_ingest_t *in = fx->store ? nlt_store_ingest(fx->store) : NULL;
    nlt_err_t err;
    nlt_rc_t rc;

    labels[1].value.len = (size_t) snprintf(text, sizeof(text), "%u", no);
    labels[1].value.data = text;
    if (in == NULL) {
        return NLT_ENOTREADY;
    }
    rc = nlt_ingest_own(in, 0, &s, 1, &err);
    fx_model_add(fx, no, t_ms, v, rc != NLT_OK);
    return rc;
}

/* Index of a series by its label i, or FX_SERIES. */
static inline unsigned
fx_series_no(const nlt_series_set_t *set, size_t idx)
{
    nlt_str_t i = set->source->ops->label(set, idx, NLT_STR("i"));
    unsigned no = 0;

    for (size_t k = 0; k < i.len; k++) {
        no = no * 10 + (unsigned) (i.data[k] - '0');
    }
    return i.len == 0 || no >= FX_SERIES ? FX_SERIES : no;
}

/* Compares one series in [t_min, t_max]; true when it is as it must be. */
static inline bool
fx_same(const fx_series_t *want, const nlt_samples_t *got, int64_t t_min,
        int64_t t_max)
{
    size_t j = 0;

    for (size_t i = 0; i < want->n; i++) {
        const fx_sample_t *w = &want->v[i];

        if (w->t_ms < t_min || w->t_ms > t_max) {
            continue;
        }
        if (j < got->n && got->t_ms[j] == w->t_ms) {
            if (nlt_bits_of(got->v[j]) != nlt_bits_of(w->v)) {
                printf("# t %lld: got %g, want %g\n", (long long) w->t_ms,
                       got->v[j], w->v);
                return false;
            }
            j++;
        } else if (!w->maybe) {
            printf("# t %lld is missing\n", (long long) w->t_ms);
            return false;
        }
    }
    if (j != got->n) {
        printf("# sample %zu of %zu is one too many, t %lld\n", j, got->n,
               (long long) got->t_ms[j]);
    }
    return j == got->n;
}

/* Does the store answer what the model says in [t_min, t_max]? */
static inline bool
fx_check(fx_t *fx, int64_t t_min, int64_t t_max)
{
    nlt_matcher_t m = {NLT_MATCH_EQ, NLT_METRIC_NAME, NLT_STR("m"), NULL};
    nlt_select_t sel = {&m, 1, t_min, t_max};
    bool seen[FX_SERIES] = {false}, good = true;
    nlt_series_set_t *set;
    nlt_samples_t got = {.n = 0}, newest = {.n = 0}, any = {.n = 0};
    nlt_pool_t pool;
    nlt_view_t view;
    nlt_err_t err;

    if (nlt_view_open(fx->store, 0, NULL, &view, &err) != NLT_OK) {
        printf("# no view: %s\n", err.text);
        return false;
    }
    nlt_pool_init(&pool, &nlt_mem_libc, 256 << 20);
    got.pool = newest.pool = any.pool = &pool;
    if (view.source.ops->select(&view.source, &pool, &sel, &set, &err)
        != NLT_OK) {
        printf("# select: %s\n", err.text);
        good = false;
        goto done;
    }
    for (size_t i = 0; i < set->n; i++) {
        unsigned no = fx_series_no(set, i);

        if (no == FX_SERIES || seen[no]
            || view.source.ops->read(set, i, NLT_READ_ALL, t_min, t_max, &got,
                                     &err)
                   != NLT_OK
            || view.source.ops->read(set, i, NLT_READ_NEWEST, t_min, t_max,
                                     &newest, &err)
                   != NLT_OK
            || view.source.ops->read(set, i, NLT_READ_ANY, t_min, t_max, &any,
                                     &err)
                   != NLT_OK) {
            printf("# series %u: twice, or %s\n", no, err.text);
            good = false;
            goto done;
        }
        seen[no] = true;
        if (!fx_same(&fx->series[no], &got, t_min, t_max)
            || newest.n != (got.n > 0) || any.n != (got.n > 0)
            || (got.n > 0
                && (newest.t_ms[0] != got.t_ms[got.n - 1]
                    || nlt_bits_of(newest.v[0])
                           != nlt_bits_of(got.v[got.n - 1])))) {
            printf("# series %u differs\n", no);
            good = false;
        }
    }
    got.n = 0;
    for (unsigned no = 0; no < FX_SERIES; no++) {
        if (!seen[no] && !fx_same(&fx->series[no], &got, t_min, t_max)) {
            printf("# series %u is missing\n", no);
            good = false;
        }
    }
    view.source.ops->close(set);
done:
    nlt_pool_deinit(&pool);
    nlt_view_close(&view);
    return good;
}

#endif
