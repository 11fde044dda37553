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
#include "nlt_store_tenants.h"
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
    bool named;
    unsigned n_tenants; /* 0: one; else series belong to them in turn */
    bool verbose;
} fx_t;

/* Whose a series is; those of different tenants have the same labels. */
static inline uint32_t
fx_tenant(const fx_t *fx, unsigned no)
{
    static const uint32_t numbers[] = {0, 3, 12, 2};

    return fx->n_tenants == 0 ? 0 : numbers[no % fx->n_tenants];
}

/* The value of its label i. */
static inline unsigned
fx_i(const fx_t *fx, unsigned no)
{
    return fx->n_tenants == 0 ? no : no / fx->n_tenants;
}

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
        .dense = nlt_test_dense(),
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

/*
 * Names 1 to 12 get their numbers; later those that have written still have
 * them.  Others may be forgotten with the head.
 */
static inline void
fx_name_tenants(fx_t *fx)
{
    nlt_tenants_t *t = nlt_store_tenants(fx->store);

    for (uint32_t want = 1; want <= 12; want++) {
        bool used = want == 2 || want == 3 || want == 12;
        char text[16];
        nlt_str_t name = {
            (size_t) snprintf(text, sizeof(text), "tenant %u", want), text};
        uint32_t number = 0;
        nlt_err_t err;

        if (fx->named && !used) {
            continue;
        }
        NLT_CHECK_INT(nlt_tenants_have(t, name, 100, &number, &err), NLT_OK);
        NLT_CHECK_INT(number, want);
    }
    fx->named = true;
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
    if (status.ready && fx->n_tenants > 0) {
        fx_name_tenants(fx);
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

#include "store/nlt_store_check.h"

#endif
