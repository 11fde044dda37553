/*
 * nlt_store_check.h - writes to store and model of nlt_store_fixture.h, and
 * compares them; included by it.
 */
#ifndef NLT_STORE_CHECK_H
#define NLT_STORE_CHECK_H

static inline nlt_str_t
fx_text(char *text, size_t size, unsigned no)
{
    return (nlt_str_t){(size_t) snprintf(text, size, "%u", no), text};
}

static inline nlt_rc_t
fx_write(fx_t *fx, unsigned no, int64_t t_ms, double v)
{
    char text[16], own[16];
    nlt_label_t labels[3] = {{NLT_METRIC_NAME, NLT_STR("m")},
                             {NLT_STR("i"), {0}},
                             {NLT_STR("own"), {0}}};
    nlt_ingest_own_t s = {
        .labels = {labels, fx->n_tenants ? 3 : 2}, .t_ms = t_ms, .v = v};
    nlt_ingest_t *in = fx->store ? nlt_store_ingest(fx->store) : NULL;
    nlt_err_t err;
    nlt_rc_t rc;

    labels[1].value = fx_text(text, sizeof(text), fx_i(fx, no));
    labels[2].value = fx_text(own, sizeof(own), fx_tenant(fx, no));
    if (in == NULL) {
        return NLT_ENOTREADY;
    }
    rc = nlt_ingest_own(in, fx_tenant(fx, no), &s, 1, &err);
    fx_model_add(fx, no, t_ms, v, rc != NLT_OK);
    return rc;
}

/* The number that is a series' label i; FX_SERIES: it is none. */
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

/*
 * Names and values are the tenant's own, and all that its series have is
 * there; what is deleted may be.
 */
static inline bool
fx_check_lists(fx_t *fx, unsigned like, nlt_view_t *view, nlt_pool_t *pool,
               int64_t t_min, int64_t t_max)
{
    nlt_select_t sel = {NULL, 0, t_min, t_max};
    const nlt_source_ops_t *ops = view->source.ops;
    char own[16];
    nlt_str_t want = fx_text(own, sizeof(own), fx_tenant(fx, like));
    nlt_str_t *v;
    size_t n;
    nlt_err_t err;

    if (ops->label_names(&view->source, pool, &sel, &v, &n, &err) != NLT_OK
        || n > 3) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (v[i].data[0] == '\0') {
            return false;
        }
    }
    if (ops->label_values(&view->source, pool, NLT_TENANT_NAME, &sel, &v, &n,
                          &err)
            != NLT_OK
        || n != 0
        || ops->label_values(&view->source, pool, NLT_STR("own"), &sel, &v, &n,
                             &err)
               != NLT_OK) {
        return false;
    }
    return n == 0 || (n == 1 && nlt_str_eq(v[0], want));
}

/* No series has the private label, asked by number. */
static inline bool
fx_check_keys(const nlt_series_set_t *set, nlt_pool_t *pool)
{
    const nlt_source_ops_t *ops = set->source->ops;
    nlt_str_t name = NLT_TENANT_NAME;
    uint64_t value = 0;
    void *keys = NULL;

    if (ops->keys_open(set, &name, 1, pool, &keys) != NLT_OK) {
        return false;
    }
    for (size_t i = 0; keys != NULL && i < set->n; i++) {
        if (ops->keys(set, keys, i, &value) && value != 0) {
            return false;
        }
    }
    return true;
}

/* Of the tenant that has series `like`. */
static inline bool
fx_check_tenant(fx_t *fx, unsigned like, int64_t t_min, int64_t t_max)
{
    nlt_matcher_t m = {NLT_MATCH_EQ, NLT_METRIC_NAME, NLT_STR("m"), NULL};
    nlt_select_t sel = {&m, 1, t_min, t_max};
    bool seen[FX_SERIES] = {false}, good = true;
    nlt_series_set_t *set;
    nlt_samples_t got = {.n = 0}, newest = {.n = 0}, any = {.n = 0};
    nlt_pool_t pool;
    nlt_view_t view;
    nlt_err_t err;

    if (nlt_view_open(fx->store, fx_tenant(fx, like), NULL, &view, &err)
        != NLT_OK) {
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
    if (fx->n_tenants > 0
        && (!fx_check_lists(fx, like, &view, &pool, t_min, t_max)
            || !fx_check_keys(set, &pool))) {
        printf("# tenant %u: names or values are not its own\n",
               fx_tenant(fx, like));
        good = false;
    }
    for (size_t i = 0; i < set->n; i++) {
        unsigned no = fx_series_no(set, i);

        if (no < FX_SERIES && fx->n_tenants > 0) {
            no = no * fx->n_tenants + like;
        }

        if (no >= FX_SERIES || seen[no]
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
    for (unsigned no = like; no < FX_SERIES;
         no += fx->n_tenants ? fx->n_tenants : 1) {
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

/* Does the store answer what the model says in [t_min, t_max]? */
static inline bool
fx_check(fx_t *fx, int64_t t_min, int64_t t_max)
{
    bool good = true;

    for (unsigned like = 0; like == 0 || like < fx->n_tenants; like++) {
        good &= fx_check_tenant(fx, like, t_min, t_max);
    }
    return good;
}

#endif
