/*
 * nlt_pql_edges.c - see the header.
 */
#include "nlt_pql_edges.h"

/* Steps, and samples a step, for which keeping times pays. */
#define KEEP_STEPS_MIN   16u
#define KEEP_SAMPLES_MAX 24u

nlt_rc_t
nlt_pql_edges_open(nlt_pql_ctx_t *ctx, size_t n_steps, bool stretches,
                   nlt_pql_edges_t *e)
{
    size_t words = nlt_pql_words(n_steps);

    e->lo = nlt_pool_array(ctx->pool, n_steps, 2 * sizeof(*e->lo));
    if (e->lo == NULL) {
        return NLT_ENOMEM;
    }
    e->hi = e->lo + n_steps;
    e->n_steps = n_steps;
    if (stretches && n_steps >= KEEP_STEPS_MIN) {
        nlt_pql_stretch_t *k = &e->stretch;

        k->factor = nlt_pool_array(ctx->pool, words, 128 * sizeof(*k->factor));
        k->present = nlt_pool_array(ctx->pool, words, sizeof(*k->present));
        if (k->factor == NULL || k->present == NULL) {
            return NLT_ENOMEM;
        }
        k->squares = k->factor + words * 64;
    }
    return NLT_OK;
}

static void
count_edges(const nlt_pql_edges_t *e, const nlt_pql_steps_t *s)
{
    size_t n = e->n_steps, shift = n;

    nlt_pql_count_upto(s->t_ms, s->n, s->end_ms, s->step_ms, n, e->hi);
    if (s->range_ms % s->step_ms == 0
        && (uint64_t) (s->range_ms / s->step_ms) < n) {
        /* A window begins where one `shift` steps before has ended. */
        shift = (size_t) (s->range_ms / s->step_ms);
    }
    nlt_pql_count_upto(s->t_ms, s->n, s->end_ms - s->range_ms, s->step_ms,
                       shift, e->lo);
    memcpy(e->lo + shift, e->hi, (n - shift) * sizeof(*e->lo));
}

/* Are the times those of the series before? */
static inline bool
same_times(const nlt_pql_edges_t *e, const nlt_pql_steps_t *s)
{
    return e->t_ms != NULL && e->n == s->n && e->t_ms[0] == s->t_ms[0]
           && memcmp(e->t_ms, s->t_ms, s->n * sizeof(*s->t_ms)) == 0;
}

/* Keeps the times; without memory for them they are just not kept. */
static bool
keep_times(nlt_pql_ctx_t *ctx, nlt_pql_edges_t *e, const nlt_pql_steps_t *s)
{
    e->n = 0;
    if (s->n > e->cap) {
        size_t cap = s->n > 2 * e->cap ? s->n : 2 * e->cap;
        int64_t *t = nlt_pool_array(ctx->pool, cap, sizeof(*t));

        if (t == NULL) {
            return false;
        }
        e->t_ms = t;
        e->cap = cap;
    }
    memcpy(e->t_ms, s->t_ms, s->n * sizeof(*s->t_ms));
    e->n = s->n;
    return true;
}

void
nlt_pql_edges_find(nlt_pql_ctx_t *ctx, nlt_pql_edges_t *e, nlt_pql_steps_t *s)
{
    bool keeps = e->stretch.factor != NULL && s->n > 0
                 && s->n / KEEP_SAMPLES_MAX <= e->n_steps;

    s->lo = e->lo;
    s->hi = e->hi;
    s->stretch = keeps ? &e->stretch : NULL;
    if (keeps && same_times(e, s)) {
        return;
    }
    e->stretch.known = false;
    e->n_seen = 0;
    if (keeps && !keep_times(ctx, e, s)) {
        s->stretch = NULL;
    } else if (!keeps) {
        e->n = 0;
    }
    count_edges(e, s);
    for (size_t i = 0; i < e->n_steps; i++) {
        e->n_seen += e->hi[i] - e->lo[i];
    }
}
