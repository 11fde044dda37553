/*
 * nlt_pql_fn_change.c - rate, increase and delta of all windows of a series.
 *
 * What a change is multiplied with hangs on times alone, but for counters
 * that would have begun below zero.  So the factors are computed for 64 steps
 * at once, two in each register, and kept for the next series, which mostly
 * has the same times; of each step are left two values, a difference and a
 * product.  Where resets or beginnings are about, steps go one by one.
 * Either way each result has the additions and roundings of one window's.
 */
#include "nlt_pair.h"
#include "nlt_pql_change.h"

#define BLOCK 64u /* steps, bits of a word */

/* Less steps at the end are not worth a block. */
#define BLOCK_MIN 16u

/* Changes below this may lose digits when multiplied. */
#define CHANGE_TINY 1e-290

/* Where the value falls from the sample before: indices in work, rising. */
static size_t
find_resets(const nlt_pql_steps_t *s)
{
    const double *v = s->v;
    size_t n = 0, i = 1;

    /* Counters seldom fall: look at 16 at a time. */
    for (; i + 16 <= s->n; i += 16) {
        nlt_pair_mask_t fell = {0, 0};

        for (size_t k = 0; k < 16; k += 2) {
            fell |= (nlt_pair_mask_t) (nlt_pair_load(v + i + k)
                                       < nlt_pair_load(v + i + k - 1));
        }
        if (nlt_likely(!nlt_pair_any(fell))) {
            continue;
        }
        for (size_t k = 0; k < 16; k++) {
            s->work[n] = (uint32_t) (i + k);
            n += v[i + k] < v[i + k - 1];
        }
    }
    for (; i < s->n; i++) {
        s->work[n] = (uint32_t) i;
        n += v[i] < v[i - 1];
    }
    return n;
}

/* One pass over a series. */
typedef struct {
    const nlt_pql_steps_t *s;
    nlt_pql_change_t kind;
    double range_s;
    size_t n_resets; /* in s->work */
    size_t next;     /* the first of them that may matter from here on */
    /* of the block at hand */
    const double *factor;
    double near;
    double first[BLOCK], change[BLOCK];
    double own[BLOCK]; /* factors that are not kept */
} pass_t;

/* The change of step i from one value to the other, and what resets took
 * away, in the order of a walk through the window. */
static inline double
change_at(pass_t *p, size_t i)
{
    const nlt_pql_steps_t *s = p->s;
    size_t lo = s->lo[i], hi = s->hi[i];
    double change = s->v[hi - 1] - s->v[lo];

    while (p->next < p->n_resets && s->work[p->next] <= lo) {
        p->next++;
    }
    for (size_t k = p->next; k < p->n_resets && s->work[k] < hi; k++) {
        change += s->v[s->work[k] - 1];
    }
    return change;
}

/* Step i, whose window has two samples or more, by itself. */
static inline double
stretched_at(const pass_t *p, size_t i, double change)
{
    const nlt_pql_steps_t *s = p->s;
    size_t lo = s->lo[i], hi = s->hi[i];
    int64_t end_ms = s->end_ms + (int64_t) i * s->step_ms;
    nlt_pql_reach_t r = {.start_ms = end_ms - s->range_ms,
                         .end_ms = end_ms,
                         .first_ms = s->t_ms[lo],
                         .last_ms = s->t_ms[hi - 1],
                         .n = hi - lo,
                         .first = s->v[lo],
                         .change = change,
                         .range_s = p->range_s};

    return nlt_pql_stretched(&r, p->kind);
}

/* Distances in a block of windows, ms, and samples less one. */
typedef struct {
    int32_t to_start[BLOCK], to_end[BLOCK], span[BLOCK], n[BLOCK];
} spans_t;

static inline nlt_pair_t
pair_of_ints(const int32_t *v)
{
    return (nlt_pair_t){v[0], v[1]};
}

/* nlt_pql_stretched() of a change of 1 that nothing limits. */
static void
factors_of(const spans_t *d, bool rate, double range_s, double *out)
{
    const nlt_pair_t thousand = nlt_pair_of(1000), two = nlt_pair_of(2);
    const nlt_pair_t more = nlt_pair_of(1.1), range = nlt_pair_of(range_s);

    for (size_t k = 0; k < BLOCK; k += 2) {
        nlt_pair_t start = pair_of_ints(d->to_start + k) / thousand;
        nlt_pair_t end = pair_of_ints(d->to_end + k) / thousand;
        nlt_pair_t span = pair_of_ints(d->span + k) / thousand;
        nlt_pair_t average = span / pair_of_ints(d->n + k);
        nlt_pair_t half = average / two, limit = average * more;
        nlt_pair_t x;

        start =
            nlt_pair_select((nlt_pair_mask_t) (start >= limit), half, start);
        end = nlt_pair_select((nlt_pair_mask_t) (end >= limit), half, end);
        x = (span + start + end) / span;
        nlt_pair_store(out + k, rate ? x / range : x);
    }
}

/*
 * The factors of up to BLOCK steps from `at` on; returns which of them have
 * a value.  *near: only a counter whose first value is below so many changes
 * can be limited by its zero, for no window is stretched to its start by more
 * than 1.1 of its span by its samples less one.
 */
static uint64_t
block_factors(const pass_t *p, size_t at, size_t m, double *factor,
              double *near)
{
    const nlt_pql_steps_t *s = p->s;
    int64_t end_ms = s->end_ms + (int64_t) at * s->step_ms;
    uint64_t bits = 0;
    uint32_t least = UINT32_MAX;
    spans_t d;

    for (size_t k = 0; k < BLOCK; k++, end_ms += s->step_ms) {
        uint32_t lo = k < m ? s->lo[at + k] : 0;
        uint32_t hi = k < m ? s->hi[at + k] : 0;

        if (hi - lo < 2) {
            d.to_start[k] = d.to_end[k] = 0;
            d.span[k] = d.n[k] = 1;
            continue;
        }
        d.to_start[k] = (int32_t) (s->t_ms[lo] - (end_ms - s->range_ms));
        d.to_end[k] = (int32_t) (end_ms - s->t_ms[hi - 1]);
        d.span[k] = (int32_t) (s->t_ms[hi - 1] - s->t_ms[lo]);
        d.n[k] = (int32_t) (hi - lo - 1);
        least = hi - lo - 1 < least ? hi - lo - 1 : least;
        bits |= UINT64_C(1) << k;
    }
    factors_of(&d, p->kind == NLT_PQL_RATE, p->range_s, factor);
    *near = 1.1000001 / (double) least;
    return bits;
}

/* All BLOCK steps from `at` on, none of which has a reset or may be limited;
 * false: some may be. */
static bool
block_plain(pass_t *p, size_t at, double *out)
{
    const nlt_pql_steps_t *s = p->s;
    const nlt_pair_t zero = {0, 0}, near = nlt_pair_of(p->near);
    const nlt_pair_t tiny = nlt_pair_of(CHANGE_TINY);
    nlt_pair_mask_t limited = {0, 0};

    for (size_t k = 0; k < BLOCK; k++) {
        double first = s->v[s->lo[at + k]];

        p->first[k] = first;
        p->change[k] = s->v[s->hi[at + k] - 1] - first;
    }
    for (size_t k = 0; k < BLOCK; k += 2) {
        nlt_pair_t first = nlt_pair_load(p->first + k);
        nlt_pair_t change = nlt_pair_load(p->change + k);

        limited |= (nlt_pair_mask_t) (change > zero)
                   & ((nlt_pair_mask_t) (first < change * near)
                      | (nlt_pair_mask_t) (change < tiny));
        nlt_pair_store(out + k, change * nlt_pair_load(p->factor + k));
    }
    return p->kind == NLT_PQL_DELTA || !nlt_pair_any(limited);
}

/* The steps of `bits` from `at` on, one by one. */
static void
block_slow(pass_t *p, size_t at, uint64_t bits, double *out)
{
    for (; bits; bits &= bits - 1) {
        size_t k = (size_t) __builtin_ctzll(bits);
        double change = change_at(p, at + k),
               first = p->s->v[p->s->lo[at + k]];

        if (p->kind != NLT_PQL_DELTA && change > 0
            && (first < change * p->near || change < CHANGE_TINY)) {
            out[k] = stretched_at(p, at + k, change);
        } else {
            out[k] = change * p->factor[k];
        }
    }
}

/* Steps without factors; returns which have a value. */
static uint64_t
few_steps(pass_t *p, size_t at, size_t m, double *out)
{
    uint64_t bits = 0;

    for (size_t k = 0; k < m; k++) {
        if (p->s->hi[at + k] - p->s->lo[at + k] >= 2) {
            out[k] = stretched_at(p, at + k, change_at(p, at + k));
            bits |= UINT64_C(1) << k;
        }
    }
    return bits;
}

static inline bool
block_has_resets(pass_t *p, size_t at)
{
    const nlt_pql_steps_t *s = p->s;

    while (p->next < p->n_resets && s->work[p->next] <= s->lo[at]) {
        p->next++;
    }
    return p->next < p->n_resets && s->work[p->next] < s->hi[at + BLOCK - 1];
}

/* Finds the factors of a block, or has them from the series before. */
static uint64_t
factors_at(pass_t *p, size_t at, size_t m)
{
    nlt_pql_stretch_t *kept = p->s->stretch;
    uint64_t bits;

    if (kept == NULL) {
        p->factor = p->own;
        return block_factors(p, at, m, p->own, &p->near);
    }
    p->factor = kept->factor + at;
    if (kept->known) {
        p->near = kept->near;
        return kept->present[at / BLOCK];
    }
    bits = block_factors(p, at, m, kept->factor + at, &p->near);
    kept->present[at / BLOCK] = bits;
    kept->near = p->near > kept->near || at == 0 ? p->near : kept->near;
    return bits;
}

static bool
all_changes(const nlt_pql_steps_t *s, nlt_pql_change_t kind, double *out,
            uint64_t *present)
{
    pass_t p; /* large: its arrays are not cleared for a few steps */
    uint64_t any = 0;

    p.s = s;
    p.kind = kind;
    p.range_s = nlt_pql_seconds_of(s->range_ms);
    p.next = 0;
    p.n_resets = kind == NLT_PQL_DELTA ? 0 : find_resets(s);
    for (size_t at = 0; at < s->n_steps; at += BLOCK) {
        size_t m = s->n_steps - at < BLOCK ? s->n_steps - at : BLOCK;
        uint64_t bits;

        if (s->range_ms > INT32_MAX || (m < BLOCK_MIN && s->stretch == NULL)) {
            bits = few_steps(&p, at, m, out + at);
        } else {
            bits = factors_at(&p, at, m);
            if (~bits != 0 || block_has_resets(&p, at)
                || !block_plain(&p, at, out + at)) {
                block_slow(&p, at, bits, out + at);
            }
        }
        present[at / BLOCK] = bits;
        any |= bits;
    }
    if (s->stretch) {
        s->stretch->known = s->range_ms <= INT32_MAX;
    }
    return any != 0;
}

NLT_PQL_STEPS_FN(rate)
{
    if (all_changes(s, NLT_PQL_RATE, out, present)) {
        nlt_pql_note_counter(f, s->metric_name);
    }
}

NLT_PQL_STEPS_FN(increase)
{
    if (all_changes(s, NLT_PQL_INCREASE, out, present)) {
        nlt_pql_note_counter(f, s->metric_name);
    }
}

NLT_PQL_STEPS_FN(delta)
{
    (void) f;
    (void) all_changes(s, NLT_PQL_DELTA, out, present);
}
