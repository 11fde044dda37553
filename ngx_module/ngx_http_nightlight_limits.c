
/*
 * ngx_http_nightlight_limits.c - limits of writing: what becomes of a request.
 *
 * The rate of samples is looked at before the body is read: who is over it is
 * refused unread.  How many samples a request has is known when it is decoded,
 * so it is charged as it is, slice by slice, and may go beyond the limit once;
 * the window then has no room until that is made up for.  All other limits are
 * core's (nlt_ingest_screen_t), which is told of them here.
 */


#include "ngx_http_nightlight.h"


#define NGX_HTTP_NIGHTLIGHT_SHOWN_KEY     64
#define NGX_HTTP_NIGHTLIGHT_TELL          60000   /* ms */
#define NGX_HTTP_NIGHTLIGHT_DRAIN         (64 * 1024)

/* What limits of labels that are only tried out are replaced with. */
#define NGX_HTTP_NIGHTLIGHT_TRIED_LABELS  1024

#define ngx_http_nightlight_kind_series(store)                                \
    ((uint64_t) 1 << 32 | ngx_crc32_short((store)->data, (store)->len))


/* The quota of a zone for a request; NGX_DECLINED: its key is empty. */

static ngx_int_t
ngx_http_nightlight_quota(ngx_http_request_t *r, ngx_shm_zone_t *shm_zone,
    uint64_t kind, ngx_str_t *key, nlt_quota_t **quota)
{
    ngx_http_nightlight_zone_t *zone = shm_zone->data;

    uint64_t  n;

    if (ngx_http_complex_value(r, &zone->key, key) != NGX_OK) {
        return NGX_ERROR;
    }

    if (key->len == 0) {
        return NGX_DECLINED;
    }

    *quota = nlt_quotas_get(zone->table, ngx_http_nightlight_str(key), kind,
                            ngx_current_msec);

    n = nlt_quotas_forgotten(zone->table);

    if (n != zone->forgotten
        && (zone->told == 0
            || (ngx_msec_int_t) (ngx_current_msec - zone->told)
               >= NGX_HTTP_NIGHTLIGHT_TELL))
    {
        ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                      "nightlight: zone \"%V\" is full, and has forgotten %uL "
                      "keys that were in use: their limits began anew; make "
                      "it larger, or see who invents keys",
                      &shm_zone->shm.name, n - zone->forgotten);

        zone->forgotten = n;
        zone->told = ngx_current_msec ? ngx_current_msec : 1;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_nightlight_limits_labels(ngx_http_request_t *r, ngx_array_t *labels,
    nlt_ingest_screen_t *screen)
{
    ngx_str_t                     value;
    ngx_uint_t                    i;
    nlt_label_t                  *stamp;
    ngx_http_nightlight_label_t  *label;

    label = labels->elts;

    stamp = ngx_palloc(r->pool, labels->nelts * sizeof(nlt_label_t));
    if (stamp == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < labels->nelts; i++) {

        if (ngx_http_complex_value(r, &label[i].value, &value) != NGX_OK) {
            return NGX_ERROR;
        }

        stamp[i].name = ngx_http_nightlight_str(&label[i].name);
        stamp[i].value = ngx_http_nightlight_str(&value);
    }

    screen->stamps = stamp;
    screen->n_stamps = labels->nelts;

    return NGX_OK;
}


/* 0: there is no such limit. */

static uint64_t
ngx_http_nightlight_limits_number(ngx_http_request_t *r,
    ngx_http_nightlight_bounds_t *bounds, ngx_http_nightlight_value_t *value,
    uint64_t standard)
{
    return ngx_http_nightlight_value_is_set(value)
           ? ngx_http_nightlight_value(r, bounds, value, standard) : 0;
}


static ngx_int_t
ngx_http_nightlight_limits_quotas(ngx_http_request_t *r, ngx_array_t *series,
    ngx_str_t *store, nlt_ingest_screen_t *screen)
{
    ngx_int_t                      rc;
    ngx_str_t                      key;
    ngx_uint_t                     i;
    nlt_quota_t                   *quota;
    nlt_ingest_quota_t            *q;
    ngx_http_nightlight_series_t  *limit;

    limit = series->elts;

    q = ngx_palloc(r->pool, series->nelts * sizeof(nlt_ingest_quota_t));
    if (q == NULL) {
        return NGX_ERROR;
    }

    screen->quotas = q;

    for (i = 0; i < series->nelts; i++) {

        /* without a zone it is the tenant, and the head counts */

        rc = NGX_OK;
        quota = NULL;

        if (limit[i].zone) {
            rc = ngx_http_nightlight_quota(r, limit[i].zone,
                                       ngx_http_nightlight_kind_series(store),
                                       &key, &quota);
        }

        if (rc == NGX_ERROR) {
            return NGX_ERROR;
        }

        if (rc == NGX_OK) {
            q->quota = quota;
            q->active_max = ngx_http_nightlight_limits_number(r,
                                   &ngx_http_nightlight_active_bounds,
                                   &limit[i].active, limit[i].standard);
            q->created_max = ngx_http_nightlight_limits_number(r,
                                   &ngx_http_nightlight_created_bounds,
                                   &limit[i].created, limit[i].standard);
            q++;
        }
    }

    screen->n_quotas = q - screen->quotas;

    return NGX_OK;
}


ngx_int_t
ngx_http_nightlight_limits_begin(ngx_http_request_t *r,
    ngx_http_nightlight_limits_conf_t *conf, ngx_str_t *store,
    ngx_http_nightlight_limits_t *lim)
{
    ngx_int_t                           rc;
    ngx_uint_t                          i;
    nlt_ingest_screen_t                *screen;
    ngx_http_nightlight_rate_t         *rate;
    ngx_http_nightlight_charge_t       *charge;

    if (conf->rates) {
        rate = conf->rates->elts;

        charge = ngx_palloc(r->pool, conf->rates->nelts
                                     * sizeof(ngx_http_nightlight_charge_t));
        if (charge == NULL) {
            return NGX_ERROR;
        }

        lim->charges = charge;

        for (i = 0; i < conf->rates->nelts; i++) {

            rc = ngx_http_nightlight_quota(r, rate[i].zone, rate[i].window,
                                           &charge->key, &charge->quota);
            if (rc == NGX_ERROR) {
                return NGX_ERROR;
            }

            if (rc == NGX_OK) {
                charge->rate = &rate[i];
                charge->per_second = ngx_http_nightlight_value(r,
                                         &ngx_http_nightlight_rate_bounds,
                                         &rate[i].rate, rate[i].standard);
                charge->max = charge->per_second * rate[i].window / 1000;
                charge++;
            }
        }

        lim->ncharges = charge - lim->charges;
        lim->dry_run = conf->dry_run;
    }

    if (conf->labels == NULL && conf->drops == NULL && conf->series == NULL
        && conf->age_max == 0 && conf->future_max == 0 && !conf->dry_run)
    {
        return NGX_OK;
    }

    screen = ngx_pcalloc(r->pool, sizeof(nlt_ingest_screen_t));
    if (screen == NULL) {
        return NGX_ERROR;
    }

    screen->over_status = (int) conf->series_status;
    screen->age_max_ms = (int64_t) conf->age_max;
    screen->future_max_ms = (int64_t) conf->future_max;
    screen->dry_run = conf->dry_run;

    if (conf->drops) {
        screen->drops = conf->drops->elts;
        screen->n_drops = conf->drops->nelts;
    }

    lim->screen = screen;

    if (conf->labels
        && ngx_http_nightlight_limits_labels(r, conf->labels, screen)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return conf->series
           ? ngx_http_nightlight_limits_quotas(r, conf->series, store,
                                               screen)
           : NGX_OK;
}


void
ngx_http_nightlight_limits_shape(ngx_http_request_t *r,
    ngx_http_nightlight_limits_conf_t *conf,
    ngx_http_nightlight_limits_t *lim, nlt_ingest_conf_t *out)
{
#define ngx_http_nightlight_shape(max, bounds)                                \
    ngx_http_nightlight_value(r, &ngx_http_nightlight_##bounds##_bounds,      \
                              &conf->max,                                     \
                              ngx_http_nightlight_##bounds##_bounds.standard)

    out->labels.labels_max =
                    (uint32_t) ngx_http_nightlight_shape(labels_max, labels);
    out->labels.name_bytes_max =
            (uint32_t) ngx_http_nightlight_shape(label_name_max, label_name);
    out->labels.value_bytes_max =
          (uint32_t) ngx_http_nightlight_shape(label_value_max, label_value);
    out->decoded_max =
                    (size_t) ngx_http_nightlight_shape(decoded_max, decoded);

#undef ngx_http_nightlight_shape

    out->screen = lim->screen;

    if (lim->screen && lim->screen->dry_run) {
        lim->screen->tried = out->labels;
        lim->screen->tried_decoded = out->decoded_max;
        out->labels.labels_max = NGX_HTTP_NIGHTLIGHT_TRIED_LABELS;
        out->labels.name_bytes_max = NLT_SERIES_BYTES_MAX;
        out->labels.value_bytes_max = NLT_SERIES_BYTES_MAX;
        out->decoded_max = NLT_WRITE_DECODED_MAX;
    }
}


/* Of the first limit that has no room: how long, in seconds. */

static ngx_http_nightlight_charge_t *
ngx_http_nightlight_limits_full(ngx_http_nightlight_limits_t *lim,
    ngx_uint_t *wait)
{
    uint64_t                       ms;
    ngx_uint_t                     i;
    ngx_http_nightlight_charge_t  *charge, *full;

    full = NULL;
    *wait = 0;

    for (i = 0; i < lim->ncharges; i++) {
        charge = &lim->charges[i];

        ms = nlt_window_wait(&charge->quota->samples, ngx_current_msec,
                             charge->rate->window, charge->max);

        if (ms && (ms + 999) / 1000 > *wait) {
            *wait = (ngx_uint_t) ((ms + 999) / 1000);
            full = charge;
        }
    }

    return full;
}


ngx_int_t
ngx_http_nightlight_limits_over(ngx_http_request_t *r,
    ngx_http_nightlight_limits_t *lim, nlt_ingest_t *ingest, nlt_err_t *err,
    ngx_uint_t *wait)
{
    uint64_t                       n;
    ngx_str_t                      key;
    ngx_http_nightlight_charge_t  *full;
    ngx_http_nightlight_record_t  *rec;

    if (lim->ncharges == 0) {
        return NGX_OK;
    }

    full = ngx_http_nightlight_limits_full(lim, wait);

    if (full == NULL) {
        return NGX_OK;
    }

    if (ingest && (!lim->dry_run || !lim->counted)) {
        rec = ngx_http_nightlight_record(r);
        ngx_str_null(&key);

        nlt_ingest_over_rate(ingest,
                             ngx_http_nightlight_str(rec ? &rec->tenant
                                                         : &key),
                             lim->dry_run);
        lim->counted = 1;
    }

    key = full->key;
    key.len = ngx_min(key.len, NGX_HTTP_NIGHTLIGHT_SHOWN_KEY);

    if (nlt_quota_tell(full->quota, ngx_current_msec, &n)) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "nightlight: remote_write of \"%V\" %s: more than %uL "
                      "samples/s by zone \"%V\", %uL requests so far; have "
                      "it send less, or raise \"rate=\" of "
                      "\"nightlight_limit_samples\"",
                      &key, lim->dry_run ? "would be refused, dry run"
                                         : "refused with 429",
                      full->per_second, &full->rate->zone->shm.name, n);
    }

    if (lim->dry_run) {
        return NGX_OK;
    }

    (void) nlt_err_set(err, NLT_ELIMIT,
                       "over the limit of %lu samples per second "
                       "(nightlight_limit_samples zone=%.*s): no room in the "
                       "window of %lu s for another %lu s",
                       (unsigned long) full->per_second,
                       (int) full->rate->zone->shm.name.len,
                       full->rate->zone->shm.name.data,
                       (unsigned long) full->rate->window / 1000,
                       (unsigned long) *wait);

    return NGX_DECLINED;
}


/*
 * Throws away what has come of a body, in large pieces: nginx's own way, 4 KB
 * at a time, costs more than all the rest of a refusal.  It does what is left.
 */

void
ngx_http_nightlight_limits_drain(ngx_http_request_t *r)
{
    off_t         rest;
    size_t        size;
    ssize_t       n;
    ngx_buf_t    *b;

    static u_char  buf[NGX_HTTP_NIGHTLIGHT_DRAIN];

#if (NGX_HTTP_V2)
    if (r->stream) {
        return;
    }
#endif

    if (r->http_version < NGX_HTTP_VERSION_10
        || r->http_version > NGX_HTTP_VERSION_11 || r->headers_in.chunked
        || r->request_body || r->discard_body)
    {
        return;
    }

    b = r->header_in;
    rest = r->headers_in.content_length_n - (b->last - b->pos);

    if (rest <= 0) {
        return;
    }

    b->pos = b->last;

    while (rest > 0) {
        size = (size_t) ngx_min(rest, (off_t) sizeof(buf));

#if (NGX_LINUX)
        if (r->connection->ssl == NULL) {

            /* not even copied */

            n = recv(r->connection->fd, NULL, (size_t) rest, MSG_TRUNC);

            if (n > 0) {
                rest -= n;
                continue;
            }
        }
#endif

        n = r->connection->recv(r->connection, buf, size);

        if (n <= 0) {
            break;
        }

        rest -= n;
    }

    r->headers_in.content_length_n = rest;
}


void
ngx_http_nightlight_limits_charge(ngx_http_nightlight_limits_t *lim,
    uint64_t samples)
{
    ngx_uint_t  i;

    /* a request that is walked twice counts from 0 again */

    if (samples <= lim->charged) {
        return;
    }

    for (i = 0; i < lim->ncharges; i++) {
        nlt_window_add(&lim->charges[i].quota->samples, ngx_current_msec,
                       lim->charges[i].rate->window, samples - lim->charged);
    }

    lim->charged = samples;
}


ngx_int_t
ngx_http_nightlight_limits_headers(ngx_http_request_t *r,
    ngx_http_nightlight_limits_t *lim)
{
    size_t                         i;
    u_char                         value[NGX_INT64_LEN + 1];
    uint64_t                       sum, left, least, values[3];
    ngx_uint_t                     k, wait;
    ngx_http_nightlight_charge_t  *charge, *shown;

    static const char  *names[] = { "X-RateLimit-Limit",
                                    "X-RateLimit-Remaining",
                                    "X-RateLimit-Reset" };

    if (lim->ncharges == 0 || lim->dry_run) {
        return NGX_OK;
    }

    shown = NULL;
    least = 0;

    for (k = 0; k < lim->ncharges; k++) {
        charge = &lim->charges[k];

        sum = nlt_window_sum(&charge->quota->samples, ngx_current_msec,
                             charge->rate->window);
        left = sum < charge->max ? charge->max - sum : 0;

        if (shown == NULL || left < least) {
            shown = charge;
            least = left;
        }
    }

    (void) ngx_http_nightlight_limits_full(lim, &wait);

    values[0] = shown->max;
    values[1] = least;
    values[2] = wait;

    for (i = 0; i < 3; i++) {

        *ngx_sprintf(value, "%uL", values[i]) = '\0';

        if (ngx_http_nightlight_add_header(r, names[i], (char *) value)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}
