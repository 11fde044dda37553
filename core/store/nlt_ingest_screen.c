/*
 * nlt_ingest_screen.c - what a location adds to series, and keeps out.
 *
 * Stamped labels and drop rules are applied when the labels of a series are
 * parsed, which is when its bytes are not known.  The keys of its bytes are
 * seeded with both (nlt_ingest_seed), so another location or another
 * configuration finds nothing under them and looks at the labels itself; from
 * then on the series costs what others cost.
 *
 * A series that was refused is remembered by its key: in sets of four entries
 * by hash, the oldest of which goes.  So its next sample costs a lookup and
 * no look at its labels.  What a drop rule refused stays refused, as rules
 * are part of the key; what a limit refused, for a while.
 */
#include "nlt_ingest_priv.h"

#define WAYS 4

/* Sets of the table of refused series; 64 bytes each. */
#define SETS (1u << 15)

/* How long a series that was over a limit is not looked at again. */
#define REFUSED_S 10

typedef struct {
    uint64_t tag;     /* of the key and who is refused; 0: free */
    uint32_t until_s; /* of the monotonic clock; UINT32_MAX: for good */
    uint32_t why;
} entry_t;

struct nlt_ingest_refused_s {
    entry_t entry[SETS][WAYS];
};

void
nlt_ingest_screen_free(nlt_ingest_t *in)
{
    nlt_mem_free(in->env->mem, in->refused, sizeof(*in->refused));
    in->refused = NULL;
}

/* ---- seed ---- */

/* Refuses a request whose stamped values could not be kept. */
static nlt_rc_t
check_stamps(nlt_ingest_req_t *r)
{
    const nlt_ingest_screen_t *sc = r->conf.screen;
    uint32_t max = r->conf.labels.value_bytes_max;

    for (size_t i = 0; i < sc->n_stamps; i++) {
        nlt_str_t v = sc->stamps[i].value;

        if (v.len > max) {
            return nlt_ingest_refuse(
                r, 400, NLT_ELIMIT, NULL,
                "value of label \"%.*s\" of nightlight_label has %zu bytes, "
                "limit is %u (nightlight_max_label_value)",
                NLT_FMT(sc->stamps[i].name), v.len, max);
        }
        if (!nlt_utf8_valid(v)) {
            return nlt_ingest_refuse(
                r, 400, NLT_EINVAL, NULL,
                "value of label \"%.*s\" of nightlight_label is not UTF-8",
                NLT_FMT(sc->stamps[i].name));
        }
    }
    return NLT_OK;
}

nlt_rc_t
nlt_ingest_seed(nlt_ingest_req_t *r)
{
    const nlt_ingest_screen_t *sc = r->conf.screen;
    nlt_buf_t *b = &r->s->canonical;
    nlt_rc_t rc;

    if (nlt_likely(sc == NULL)) {
        return NLT_OK;
    }
    /* what was refused is not, once limits are only tried */
    r->who = sc->dry_run;
    for (size_t i = 0; i < sc->n_quotas; i++) {
        const nlt_ingest_quota_t *l = &sc->quotas[i];

        r->who = nlt_mix64(r->who ^ (uintptr_t) l->quota ^ l->active_max << 32
                           ^ l->created_max);
    }
    if (sc->n_stamps == 0 && sc->n_drops == 0) {
        return NLT_OK;
    }
    rc = check_stamps(r);
    if (rc != NLT_OK) {
        return rc;
    }
    /* No label bytes begin with 0, so this is no key of a series. */
    nlt_buf_reset(b);
    nlt_buf_add_byte(b, 0);
    for (size_t i = 0; i < sc->n_stamps; i++) {
        nlt_str_t name = sc->stamps[i].name, value = sc->stamps[i].value;

        nlt_buf_addf(b, "%zu:%zu:", name.len, value.len);
        nlt_buf_add(b, name.data, name.len);
        nlt_buf_add(b, value.data, value.len);
    }
    for (size_t i = 0; i < sc->n_drops; i++) {
        nlt_buf_addf(b, "%c%zu:", sc->dry_run ? '?' : '!',
                     sc->drops[i].text.len);
        nlt_buf_add(b, sc->drops[i].text.data, sc->drops[i].text.len);
    }
    if (b->rc != NLT_OK) {
        return nlt_ingest_refuse(r, 400, NLT_ELIMIT, NULL,
                                 "labels of nightlight_label and rules of "
                                 "nightlight_drop have more than %u bytes",
                                 NLT_SERIES_BYTES_MAX);
    }
    r->seed = nlt_head_key(r->in->ctl, r->conf.tenant, b->data, b->len);
    return NLT_OK;
}

/* ---- refused series ---- */

/* The clock of the request: to look at it for each series costs a tenth. */
static uint32_t
now_s(const nlt_ingest_req_t *r)
{
    return (uint32_t) (r->begin_ns / 1000000000);
}

void
nlt_ingest_prefetch_refused(const nlt_ingest_req_t *r, nlt_hash128_t key)
{
    const nlt_ingest_refused_t *t = r->in->refused;

    if (t != NULL && r->conf.screen != NULL) {
        __builtin_prefetch(&t->entry[key.lo % SETS][0]);
        __builtin_prefetch(&t->entry[key.lo % SETS][WAYS - 1]);
    }
}

static nlt_ingest_why_t
recall(nlt_ingest_req_t *r, nlt_hash128_t key)
{
    nlt_ingest_refused_t *t = r->in->refused;
    uint64_t tag = key.hi ^ r->who;
    const entry_t *e;

    if (t == NULL) {
        return NLT_INGEST_TAKEN;
    }
    e = t->entry[key.lo % SETS];
    for (size_t i = 0; i < WAYS; i++) {
        if (e[i].tag == tag && tag != 0) {
            return e[i].until_s == UINT32_MAX || now_s(r) < e[i].until_s
                       ? (nlt_ingest_why_t) e[i].why
                       : NLT_INGEST_TAKEN;
        }
    }
    return NLT_INGEST_TAKEN;
}

/* Without memory for it, series are only looked at more often. */
static void
remember(nlt_ingest_req_t *r, nlt_hash128_t key, nlt_ingest_why_t why)
{
    nlt_ingest_t *in = r->in;
    uint64_t tag = key.hi ^ r->who;
    size_t at = 0;
    entry_t *e;

    if (in->refused == NULL) {
        in->refused = nlt_mem_zalloc(in->env->mem, sizeof(*in->refused));
        if (in->refused == NULL) {
            return;
        }
    }
    e = in->refused->entry[key.lo % SETS];
    while (at < WAYS - 1 && e[at].tag != 0 && e[at].tag != tag) {
        at++;
    }
    memmove(e + 1, e, at * sizeof(*e));
    e[0] =
        (entry_t){.tag = tag,
                  .until_s = why == NLT_INGEST_DROPPED ? UINT32_MAX
                                                       : now_s(r) + REFUSED_S,
                  .why = (uint32_t) why};
}

static void
count_refused(nlt_ingest_req_t *r, const nlt_ingest_series_t *e,
              nlt_ingest_why_t why)
{
    nlt_ingest_found_t *f = &r->at.found;

    if (why == NLT_INGEST_DROPPED) {
        f->out.n_dropped += e->n;
        return;
    }
    f->out.n_over += e->n;
    f->out.n_over_series++;
    if (r->over.why == NLT_INGEST_TAKEN) {
        r->over.why = why;
        if (e->body != NULL) {
            nlt_ingest_describe(r, e, r->over.shown);
        }
    }
}

bool
nlt_ingest_recall(nlt_ingest_req_t *r, const nlt_ingest_series_t *e)
{
    nlt_ingest_why_t why;

    if (nlt_likely(r->conf.screen == NULL)) {
        return false;
    }
    why = recall(r, e->key);
    if (why == NLT_INGEST_TAKEN) {
        return false;
    }
    r->budget--;
    count_refused(r, e, why);
    return true;
}

/* ---- labels ---- */

/* Lays the stamped labels over the n of s->labels, which has room. */
static size_t
stamp(nlt_ingest_scratch_t *s, size_t n, const nlt_ingest_screen_t *sc)
{
    size_t kept = 0, at = 0;

    /* both are sorted by name */
    for (size_t i = 0; i < n; i++) {
        while (at < sc->n_stamps
               && nlt_str_cmp(sc->stamps[at].name, s->labels[i].name) < 0) {
            at++;
        }
        if (at == sc->n_stamps
            || !nlt_str_eq(sc->stamps[at].name, s->labels[i].name)) {
            s->labels[kept++] = s->labels[i];
        }
    }
    for (size_t i = 0; i < sc->n_stamps; i++) {
        if (sc->stamps[i].value.len != 0) {
            s->labels[kept++] = sc->stamps[i];
        }
    }
    nlt_labels_sort(s->labels, kept);
    return kept;
}

/* Labels over a limit that is only tried out. */
static void
try_limits(nlt_ingest_req_t *r, size_t n)
{
    const nlt_rw_limits_t *l = &r->conf.screen->tried;
    bool over = n > l->labels_max;

    for (size_t i = 0; i < n && !over; i++) {
        over = r->s->labels[i].name.len > l->name_bytes_max
               || r->s->labels[i].value.len > l->value_bytes_max;
    }
    r->at.found.out.n_over_labels_dry += over;
}

nlt_rc_t
nlt_ingest_screen(nlt_ingest_req_t *r, const nlt_ingest_series_t *e, size_t *n)
{
    const nlt_ingest_screen_t *sc = r->conf.screen;
    nlt_labels_t labels;
    nlt_rc_t rc;

    if (sc->tried.labels_max != 0 && r->phase == NLT_INGEST_REGISTERING) {
        try_limits(r, *n);
    }
    if (sc->n_stamps != 0) {
        *n = stamp(r->s, *n, sc);
    }
    labels = (nlt_labels_t){r->s->labels, *n};
    if (nlt_rw_canonical_len(labels) > NLT_SERIES_BYTES_MAX) {
        rc = nlt_ingest_fault(r, NLT_ELIMIT, e,
                              "labels have more than %u bytes in all with "
                              "those of nightlight_label",
                              NLT_SERIES_BYTES_MAX);
        return rc == NLT_OK ? NLT_EINVAL : rc;
    }
    for (size_t i = 0; i < sc->n_drops; i++) {
        r->budget--;
        /* A regular expression that gives up matches nothing. */
        if (nlt_matchers_test(sc->drops[i].matchers, sc->drops[i].n, labels)
            == NLT_OK) {
            if (sc->dry_run) {
                r->at.found.out.n_dropped_dry +=
                    r->phase == NLT_INGEST_REGISTERING;
                continue;
            }
            remember(r, e->key, NLT_INGEST_DROPPED);
            count_refused(r, e, NLT_INGEST_DROPPED);
            return NLT_EEXIST;
        }
    }
    return NLT_OK;
}

/* ---- series ---- */

/* Takes back what the first n quotas were charged. */
static void
give_back(nlt_ingest_req_t *r, const nlt_arena_t *a, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        nlt_quota_t *q = r->conf.screen->quotas[i].quota;

        if (q != NULL) {
            nlt_quota_shrink(q, nlt_arena_no(a));
        }
    }
}

/* Charges it, unless it is over and not only tried. */
static nlt_ingest_why_t
charge(const nlt_ingest_req_t *r, const nlt_ingest_quota_t *l,
       const nlt_arena_t *a, bool is_new, uint64_t t_ms)
{
    bool dry = r->conf.screen->dry_run;
    uint64_t no = nlt_arena_no(a);

    if (l->quota == NULL) {
        return nlt_arena_tenant_series(a, r->conf.tenant) >= l->active_max
                   ? NLT_INGEST_OVER_ACTIVE
                   : NLT_INGEST_TAKEN;
    }
    if (is_new && l->created_max
        && nlt_window_sum(&l->quota->created, t_ms, NLT_WINDOW_HOUR_MS)
               >= l->created_max) {
        return NLT_INGEST_OVER_CREATED;
    }
    if (!nlt_quota_grow(l->quota, no,
                        l->active_max && !dry ? l->active_max : UINT64_MAX)) {
        return NLT_INGEST_OVER_ACTIVE;
    }
    return dry && l->active_max
                   && nlt_quota_active(l->quota, no) > l->active_max
               ? NLT_INGEST_OVER_ACTIVE
               : NLT_INGEST_TAKEN;
}

bool
nlt_ingest_admit(nlt_ingest_req_t *r, const nlt_arena_t *a,
                 const nlt_ingest_series_t *e, bool is_new)
{
    const nlt_ingest_screen_t *sc = r->conf.screen;
    uint64_t t_ms;
    nlt_ingest_why_t why;

    if (nlt_likely(sc == NULL || sc->n_quotas == 0)) {
        return true;
    }
    t_ms = (uint64_t) (nlt_mono_ns(r->in->env) / 1000000);
    for (size_t i = 0; i < sc->n_quotas; i++) {
        const nlt_ingest_quota_t *l = &sc->quotas[i];

        why = charge(r, l, a, is_new, t_ms);
        if (why == NLT_INGEST_TAKEN) {
            continue;
        }
        if (sc->dry_run) {
            r->at.found.out.n_over_dry += e->n;
            continue;
        }
        give_back(r, a, i);
        r->over.quota = r->over.why == NLT_INGEST_TAKEN ? l : r->over.quota;
        remember(r, e->key, why);
        count_refused(r, e, why);
        return false;
    }
    for (size_t i = 0; is_new && i < sc->n_quotas; i++) {
        if (sc->quotas[i].quota != NULL) {
            nlt_window_add(&sc->quotas[i].quota->created, t_ms,
                           NLT_WINDOW_HOUR_MS, 1);
        }
    }
    return true;
}

void
nlt_ingest_unadmit(nlt_ingest_req_t *r, const nlt_arena_t *a)
{
    if (nlt_unlikely(r->conf.screen != NULL)) {
        give_back(r, a, r->conf.screen->n_quotas);
    }
}

void
nlt_ingest_say_over(nlt_ingest_req_t *r, nlt_buf_t *b)
{
    const nlt_ingest_quota_t *l = r->over.quota;
    bool created = r->over.why == NLT_INGEST_OVER_CREATED;
    uint64_t max = l == NULL ? 0 : created ? l->created_max : l->active_max;

    /* Of a refusal that was remembered, it is not known which of several. */
    for (size_t i = 0; l == NULL && i < r->conf.screen->n_quotas; i++) {
        const nlt_ingest_quota_t *q = &r->conf.screen->quotas[i];

        max = created ? q->created_max : q->active_max;
        if (max != 0) {
            l = q;
        }
    }
    nlt_buf_addf(b,
                 "%llu samples of series over the limit of %llu %s "
                 "(nightlight_limit_series %s=), the rest was taken; one of "
                 "them is %s",
                 (unsigned long long) r->at.found.out.n_over,
                 (unsigned long long) max,
                 created ? "new series per hour" : "active series",
                 created ? "created" : "active", r->over.shown);
}
