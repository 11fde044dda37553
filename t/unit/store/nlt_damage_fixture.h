/*
 * nlt_damage_fixture.h - a store of which one block is going to be damaged.
 *
 * It has two blocks of other hours and an arena.  Something is done to one
 * block; whatever it is, an answer has all of the block or nothing of it, and
 * says so.
 */
#ifndef NLT_DAMAGE_FIXTURE_H
#define NLT_DAMAGE_FIXTURE_H

#include "nlt_delete_fixture.h"

#include <dirent.h>

#include "nlt_guard.h"
#include "nlt_manifest.h"

#define OLD (FX_NOW - 8 * FX_HOUR)
#define MID (FX_NOW - 4 * FX_HOUR)

static size_t n_lines;
static char last_line[NLT_ERR_TEXT_MAX];

static inline void
note_lines(void *ctx, nlt_log_level_t level, const char *text, size_t len)
{
    if (level <= NLT_LOG_WARN) {
        n_lines++;
        (void) snprintf(last_line, sizeof(last_line), "%.*s", (int) len, text);
    }
    fx_log(ctx, level, text, len);
}

typedef struct {
    fx_t fx;
    fx_series_t without[FX_SERIES]; /* the model less the damaged block */
    char ulid[NLT_ULID_LEN + 1];    /* of the block of the hours at MID */
    char path[256];                 /* of its directory */
} dm_t;

/* 40 samples of each of 12 series from t on; twice the same at MID. */
static inline void
write_hours(fx_t *fx, int64_t t)
{
    for (unsigned k = 0; k < 40; k++) {
        for (unsigned no = 0; no < 12; no++) {
            NLT_CHECK_INT(fx_write(fx, no, t + 60000 * k, no * 1000 + k),
                          NLT_OK);
        }
    }
}

static inline void
copy_model(dm_t *d, int64_t from, int64_t to)
{
    for (size_t i = 0; i < FX_SERIES; i++) {
        const fx_series_t *s = &d->fx.series[i];
        fx_series_t *c = &d->without[i];

        c->v = malloc((s->n + 1) * sizeof(*c->v));
        for (size_t k = 0; k < s->n; k++) {
            if (s->v[k].t_ms < from || s->v[k].t_ms >= to) {
                c->v[c->n++] = s->v[k];
            }
        }
    }
}

/* The name of the block that has the sample at t. */
static inline void
find_block(dm_t *d, int64_t t)
{
    nlt_manifest_t m;
    nlt_err_t err;
    int fd = open(d->fx.path, O_RDONLY | O_DIRECTORY);

    nlt_manifest_init(&m, &nlt_mem_libc, NULL);
    NLT_CHECK_INT(nlt_manifest_load(&m, &d->fx.env, fd, NULL, &err), NLT_OK);
    d->ulid[0] = '\0';
    for (size_t i = 0; i < m.n_blocks; i++) {
        if (m.blocks[i].t_min_ms <= t && m.blocks[i].t_end_ms > t) {
            memcpy(d->ulid, m.blocks[i].ulid.c, sizeof(d->ulid));
        }
    }
    NLT_CHECK(d->ulid[0] != '\0');
    (void) snprintf(d->path, sizeof(d->path), "%s/blocks/%s", d->fx.path,
                    d->ulid);
    nlt_manifest_deinit(&m);
    (void) close(fd);
}

static inline void
setup(dm_t *d)
{
    memset(d, 0, sizeof(*d));
    fx_init(&d->fx);
    d->fx.env.log = note_lines;
    NLT_CHECK(fx_start(&d->fx));
    write_hours(&d->fx, OLD);
    write_hours(&d->fx, MID);
    NLT_CHECK(fx_flush(&d->fx));
    write_hours(&d->fx, FX_NOW - FX_HOUR);
    copy_model(d, MID, MID + FX_HOUR);
    find_block(d, MID);
    n_lines = 0;
}

static inline void
teardown(dm_t *d)
{
    fx_deinit(&d->fx);
    for (size_t i = 0; i < FX_SERIES; i++) {
        free(d->without[i].v);
    }
}

/* Puts bytes into a file of the block at off (from its end if negative). */
static inline void
poke(const dm_t *d, const char *file, long off, const void *p, size_t n)
{
    char path[320];
    FILE *f;

    (void) snprintf(path, sizeof(path), "%s/%s", d->path, file);
    f = fopen(path, "r+b");
    NLT_CHECK(f != NULL && fseek(f, off, off < 0 ? SEEK_END : SEEK_SET) == 0
              && fwrite(p, 1, n, f) == n && fclose(f) == 0);
}

static inline long
size_of(const dm_t *d, const char *file)
{
    char path[320];
    struct stat st;

    (void) snprintf(path, sizeof(path), "%s/%s", d->path, file);
    NLT_CHECK_INT(stat(path, &st), 0);
    return st.st_size;
}

static inline void
cut(const dm_t *d, const char *file, long size)
{
    char path[320];

    (void) snprintf(path, sizeof(path), "%s/%s", d->path, file);
    NLT_CHECK_INT(truncate(path, size), 0);
}

static inline bool
exists(const fx_t *fx, const char *dir, const char *ulid)
{
    char path[320];

    (void) snprintf(path, sizeof(path), "%s/%s/%s", fx->path, dir, ulid);
    return access(path, F_OK) == 0;
}

/* ---- asking ---- */

typedef enum {
    WHOLE,
    WITHOUT, /* the block at MID */
    WRONG
} answer_t;

typedef struct {
    nlt_pool_t pool;
    nlt_samples_t got[FX_SERIES];
    size_t n_warnings;
    char warning[NLT_ERR_TEXT_MAX]; /* the first */
    unsigned rounds;
} ask_t;

static inline nlt_rc_t
evaluate(nlt_view_t *view, ask_t *a, int64_t t_min, int64_t t_max,
         nlt_err_t *err)
{
    nlt_matcher_t m = {NLT_MATCH_EQ, NLT_METRIC_NAME, NLT_STR("m"), NULL};
    nlt_select_t sel = {&m, 1, t_min, t_max};
    nlt_series_set_t *set;
    nlt_rc_t rc =
        view->source.ops->select(&view->source, &a->pool, &sel, &set, err);

    for (size_t i = 0; rc == NLT_OK && i < set->n; i++) {
        unsigned no = fx_series_no(set, i);

        if (no == FX_SERIES) {
            continue; /* a label that could not be read */
        }
        a->got[no].pool = &a->pool;
        rc = view->source.ops->read(set, i, NLT_READ_ALL, t_min, t_max,
                                    &a->got[no], err);
    }
    return rc;
}

static inline bool
same_as(const ask_t *a, const fx_series_t *model, int64_t t_min, int64_t t_max)
{
    for (unsigned no = 0; no < FX_SERIES; no++) {
        size_t j = 0;

        for (size_t i = 0; i < model[no].n; i++) {
            const fx_sample_t *w = &model[no].v[i];

            if (w->t_ms < t_min || w->t_ms > t_max) {
                continue;
            }
            if (j >= a->got[no].n || a->got[no].t_ms[j] != w->t_ms
                || nlt_bits_of(a->got[no].v[j]) != nlt_bits_of(w->v)) {
                return false;
            }
            j++;
        }
        if (j != a->got[no].n) {
            return false;
        }
    }
    return true;
}

/* As the API asks: again until no block turns out damaged. */
static inline answer_t
ask_view(dm_t *d, nlt_view_t *view, ask_t *a, int64_t t_min, int64_t t_max)
{
    nlt_str_t *w = NULL;
    nlt_err_t err;
    answer_t what;
    nlt_rc_t rc;

    memset(a, 0, sizeof(*a));
    nlt_pool_init(&a->pool, &nlt_mem_libc, 64 << 20);
    do {
        memset(a->got, 0, sizeof(a->got));
        a->rounds++;
        rc = evaluate(view, a, t_min, t_max, &err);
    } while (nlt_view_again(view) && a->rounds < 10);
    if (rc != NLT_OK) {
        printf("# %s\n", err.text);
    }
    NLT_CHECK_INT(nlt_view_warnings(view, &a->pool, &w, &a->n_warnings, &err),
                  NLT_OK);
    if (a->n_warnings > 0) {
        (void) snprintf(a->warning, sizeof(a->warning), "%.*s", NLT_FMT(w[0]));
    }
    what = rc != NLT_OK || a->rounds == 10          ? WRONG
           : same_as(a, d->fx.series, t_min, t_max) ? WHOLE
           : same_as(a, d->without, t_min, t_max)   ? WITHOUT
                                                    : WRONG;
    nlt_pool_deinit(&a->pool);
    return what;
}

static inline answer_t
ask(dm_t *d, ask_t *a, int64_t t_min, int64_t t_max)
{
    nlt_view_t view;
    nlt_err_t err;
    answer_t what;

    if (nlt_view_open(d->fx.store, 0, NULL, &view, &err) != NLT_OK) {
        printf("# %s\n", err.text);
        return WRONG;
    }
    what = ask_view(d, &view, a, t_min, t_max);
    nlt_view_close(&view);
    return what;
}

static inline answer_t
ask_all(dm_t *d, ask_t *a)
{
    return ask(d, a, INT64_MIN, INT64_MAX);
}

static inline bool
warns_of(const ask_t *a, const dm_t *d, const char *what)
{
    char want[128];

    (void) snprintf(want, sizeof(want),
                    "block %s %s, its samples are missing: ", d->ulid, what);
    if (a->n_warnings != 1 || strncmp(a->warning, want, strlen(want)) != 0) {
        printf("# %zu warnings: %s\n", a->n_warnings, a->warning);
        return false;
    }
    return true;
}

/* Entries of a directory of the store. */
static inline size_t
count_in(const fx_t *fx, const char *dir)
{
    char path[320];
    struct dirent *e;
    size_t n = 0;
    DIR *dp;

    (void) snprintf(path, sizeof(path), "%s/%s", fx->path, dir);
    dp = opendir(path);
    while (dp != NULL && (e = readdir(dp)) != NULL) {
        n += e->d_name[0] != '.';
    }
    if (dp != NULL) {
        closedir(dp);
    }
    return n;
}

#endif
