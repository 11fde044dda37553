/*
 * nlt_delete_fixture.h - deletes in the store of nlt_store_fixture.h, and in
 * its model.
 */
#ifndef NLT_DELETE_FIXTURE_H
#define NLT_DELETE_FIXTURE_H

#include "store/nlt_store_fixture.h"

/*
 * A delete of the series in the mask: what is there of them in [t_min, t_max]
 * goes, or, when it was not acknowledged, may go.
 */
static inline void
fx_model_delete(fx_t *fx, uint64_t mask, int64_t t_min, int64_t t_max,
                bool maybe)
{
    for (unsigned no = 0; no < FX_SERIES; no++) {
        fx_series_t *s = &fx->series[no];
        size_t n = 0;

        for (size_t i = 0; i < s->n; i++) {
            bool hit = (mask >> no & 1) && s->v[i].t_ms >= t_min
                       && s->v[i].t_ms <= t_max;

            if (!hit || maybe) {
                s->v[i].maybe |= hit;
                s->v[n++] = s->v[i];
            }
        }
        s->n = n;
    }
}

typedef struct {
    fx_t *fx;
    int pauses_left;
} fx_wait_t;

/* The helper lives in this thread: waiting for it is letting it step. */
static inline nlt_rc_t
fx_pause(void *ctx)
{
    fx_wait_t *w = ctx;

    if (w->pauses_left-- == 0) {
        return NLT_ETIMEOUT;
    }
    fx_step(w->fx, 1);
    return NLT_OK;
}

static inline nlt_rc_t
fx_poll(void *ctx)
{
    (void) ctx;
    return NLT_OK;
}

/* The series of the mask as a matcher of label i; text has room. */
static inline nlt_matcher_t
fx_matcher(const fx_t *fx, uint64_t mask, char text[4 * FX_SERIES])
{
    nlt_matcher_t m = {NLT_MATCH_EQ, NLT_STR("i"), {0, text}, NULL};

    for (unsigned no = 0; no < FX_SERIES; no++) {
        if (mask >> no & 1) {
            m.op = m.value.len > 0 ? NLT_MATCH_RE : NLT_MATCH_EQ;
            m.value.len +=
                (size_t) snprintf(text + m.value.len, 8, "%s%u",
                                  m.value.len ? "|" : "", fx_i(fx, no));
        }
    }
    return m;
}

static inline nlt_rc_t
fx_delete(fx_t *fx, uint64_t mask, int64_t t_min, int64_t t_max,
          nlt_err_t *err)
{
    char text[4 * FX_SERIES];
    unsigned like = mask ? (unsigned) __builtin_ctzll(mask) : 0;
    nlt_matcher_t m;
    nlt_delete_set_t set = {&m, 1};
    nlt_delete_t d = {.tenant = fx_tenant(fx, like),
                      .t_min_ms = t_min,
                      .t_max_ms = t_max,
                      .sets = &set,
                      .n_sets = 1};
    fx_wait_t w = {fx, 30};
    const nlt_store_wait_t wait = {fx_pause, fx_poll, &w};
    nlt_rc_t rc;

    /* A delete is of one tenant. */
    for (unsigned no = 0; no < FX_SERIES; no++) {
        if (fx_tenant(fx, no) != d.tenant) {
            mask &= ~(UINT64_C(1) << no);
        }
    }
    m = fx_matcher(fx, mask, text);
    rc = fx->store ? nlt_store_delete(fx->store, &d, &wait, err)
                   : NLT_ENOTREADY;

    fx_model_delete(fx, mask, t_min, t_max, rc != NLT_OK);
    return rc;
}

static inline nlt_rc_t
fx_clean(fx_t *fx, nlt_err_t *err)
{
    fx_wait_t w = {fx, 2000};
    const nlt_store_wait_t wait = {fx_pause, fx_poll, &w};

    return nlt_store_clean(fx->store, &wait, err);
}

/* Rules that are in force, SIZE_MAX when they cannot be read. */
static inline size_t
fx_rules(fx_t *fx)
{
    int fd = open(fx->path, O_RDONLY | O_DIRECTORY);
    nlt_delete_list_t *l;
    nlt_err_t err;
    size_t n = SIZE_MAX;

    if (nlt_deletes_load(&nlt_env_posix, fd, NULL, &l, &err) == NLT_OK) {
        n = l->n;
        nlt_deletes_free(&nlt_env_posix, l);
    }
    close(fd);
    return n;
}

#endif
