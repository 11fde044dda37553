/*
 * nlt_self.c - the store's metrics about itself, as text and as samples.
 *
 * One list feeds /metrics and nlt_self_write(), so what an operator sees in
 * either has the same names and the same meaning.
 */
#include <stdlib.h>

#include "nlt_api.h"

typedef struct {
    nlt_self_metric_t *out;
    size_t n;
} list_t;

static void
add(list_t *l, bool counter, const char *name, double value, const char *help)
{
    if (l->n < NLT_SELF_METRICS_MAX) {
        l->out[l->n++] = (nlt_self_metric_t){name, help, counter, value};
    }
}

/* Counters of the control page by field: metric name, help. */
#define COUNTERS(X)                                                           \
    X(samples_appended, "nightlight_samples_appended_total",                  \
      "Samples taken in order of time.")                                      \
    X(samples_ooo, "nightlight_samples_out_of_order_total",                   \
      "Samples taken that are older than the newest of their series.")        \
    X(samples_duplicate, "nightlight_samples_duplicate_total",                \
      "Samples that were there already, bit for bit.")                        \
    X(samples_conflict, "nightlight_samples_conflict_total",                  \
      "Samples whose time was taken by another value.")                       \
    X(samples_too_old, "nightlight_samples_too_old_total",                    \
      "Samples refused because they are older than the retention.")           \
    X(samples_too_new, "nightlight_samples_too_new_total",                    \
      "Samples refused because they are too far in the future.")              \
    X(samples_no_room, "nightlight_samples_no_room_total",                    \
      "Samples refused because the head is full.")                            \
    X(series_created, "nightlight_series_created_total",                      \
      "Series seen for the first time.")                                      \
    X(series_carried, "nightlight_series_carried_total",                      \
      "Series carried over into a new arena.")                                \
    X(series_refused, "nightlight_series_refused_total",                      \
      "New series refused because the head is nearly full.")                  \
    X(aliases_created, "nightlight_series_aliases_total",                     \
      "Other spellings of known label sets remembered.")                      \
    X(requests_ok, "nightlight_write_requests_ok_total",                      \
      "remote_write requests acknowledged.")                                  \
    X(requests_refused, "nightlight_write_requests_refused_total",            \
      "remote_write requests refused with 4xx.")                              \
    X(requests_failed, "nightlight_write_requests_failed_total",              \
      "remote_write requests answered with 5xx.")                             \
    X(bytes_received, "nightlight_write_bytes_total",                         \
      "Compressed bytes of remote_write bodies.")                             \
    X(bytes_decoded, "nightlight_write_decoded_bytes_total",                  \
      "Decompressed bytes of remote_write bodies.")                           \
    X(wal_bytes, "nightlight_wal_bytes_total",                                \
      "Bytes appended to the write-ahead log.")                               \
    X(wal_records, "nightlight_wal_records_total",                            \
      "Frames appended to the write-ahead log.")                              \
    X(wal_fsyncs, "nightlight_wal_fsyncs_total",                              \
      "Syncs of the write-ahead log.")                                        \
    X(wal_sync_waits, "nightlight_wal_sync_waits_total",                      \
      "Write requests that waited for a sync: wal_sync=always.")              \
    X(wal_errors, "nightlight_wal_errors_total",                              \
      "Failed writes and syncs of the write-ahead log.")                      \
    X(wal_skipped_bytes, "nightlight_wal_skipped_bytes_total",                \
      "Bytes that replay skipped because they were torn or corrupt.")         \
    X(replayed_samples, "nightlight_wal_replayed_samples_total",              \
      "Samples recovered from the write-ahead log.")                          \
    X(flushes, "nightlight_flushes_total", "Arenas written as blocks.")       \
    X(flush_errors, "nightlight_flush_errors_total",                          \
      "Flushes that failed and were tried again.")                            \
    X(blocks_written, "nightlight_blocks_written_total", "Blocks written.")   \
    X(blocks_removed, "nightlight_blocks_removed_total",                      \
      "Blocks removed for the retention.")                                    \
    X(queries, "nightlight_queries_total", "API requests that read data.")    \
    X(query_errors, "nightlight_query_errors_total",                          \
      "API requests that read data and failed.")                              \
    X(query_samples, "nightlight_query_samples_total",                        \
      "Samples read by queries.")                                             \
    X(recoveries, "nightlight_lock_recoveries_total",                         \
      "Locks taken over from a process that died.")

static void
add_counters(list_t *l, nlt_head_ctl_t *ctl)
{
#define ADD(field, name, help)                                                \
    add(l, true, name,                                                        \
        (double) atomic_load_explicit(&ctl->counters.field,                   \
                                      memory_order_relaxed),                  \
        help);
    COUNTERS(ADD)
#undef ADD
    add(l, true, "nightlight_query_seconds_total",
        (double) atomic_load_explicit(&ctl->counters.query_ns,
                                      memory_order_relaxed)
            / 1e9,
        "Time spent in API requests that read data.");
    add(l, true, "nightlight_wal_sync_seconds_total",
        (double) atomic_load_explicit(&ctl->counters.wal_sync_ns,
                                      memory_order_relaxed)
            / 1e9,
        "Time spent in syncs of the write-ahead log.");
}

static void
add_gauges(list_t *l, nlt_store_t *s)
{
    nlt_store_gauges_t g;

    nlt_store_gauges(s, &g);
    add(l, false, "nightlight_head_bytes", (double) g.head_bytes,
        "Bytes of shared memory that the head has reserved.");
    add(l, false, "nightlight_head_limit_bytes", (double) g.memory_bytes,
        "The memory= of the store.");
    add(l, false, "nightlight_head_series", (double) g.active_series,
        "Series in the active arena.");
    add(l, false, "nightlight_head_samples", (double) g.active_samples,
        "Samples in the active arena.");
    add(l, false, "nightlight_head_arenas", (double) g.arenas,
        "Arenas that hold samples.");
    add(l, false, "nightlight_wal_failed_logs", (double) g.failed_logs,
        "Logs that could not be written or synced and whose samples are not "
        "in blocks yet.");
    add(l, false, "nightlight_blocks", (double) g.blocks, "Blocks on disk.");
    add(l, false, "nightlight_block_bytes", (double) g.block_bytes,
        "Bytes of blocks on disk.");
    add(l, false, "nightlight_block_samples", (double) g.block_samples,
        "Samples in blocks.");
    add(l, false, "nightlight_oldest_sample_seconds",
        (double) g.oldest_ms / 1000, "Time of the oldest sample.");
    add(l, false, "nightlight_newest_sample_seconds",
        (double) g.newest_ms / 1000, "Time of the newest sample.");
}

static void
add_conn(list_t *l, const nlt_self_conn_t *c)
{
    add(l, true, "nginx_connections_accepted_total", (double) c->accepted,
        "Client connections accepted.");
    add(l, true, "nginx_connections_handled_total", (double) c->handled,
        "Client connections handled.");
    add(l, true, "nginx_http_requests_total", (double) c->requests,
        "Client requests.");
    add(l, false, "nginx_connections_active", (double) c->active,
        "Client connections, waiting ones included.");
    add(l, false, "nginx_connections_reading", (double) c->reading,
        "Connections whose request header is being read.");
    add(l, false, "nginx_connections_writing", (double) c->writing,
        "Connections that are being answered.");
    add(l, false, "nginx_connections_waiting", (double) c->waiting,
        "Idle connections.");
    add(l, false, "nginx_worker_processes", (double) c->workers,
        "Worker processes configured.");
}

size_t
nlt_self_collect(nlt_store_t *s, const nlt_env_t *env,
                 const nlt_self_conn_t *conn, nlt_self_metric_t *out)
{
    list_t l = {out, 0};
    nlt_head_ctl_t *ctl = nlt_store_ctl(s);
    nlt_store_status_t st;

    (void) env;
    nlt_store_status(s, &st);
    add(&l, false, "nightlight_up", 1, "The module is running.");
    add(&l, false, "nightlight_ready", st.ready,
        "The store takes samples and answers queries.");
    if (ctl != NULL) {
        add_counters(&l, ctl);
        add_gauges(&l, s);
    }
    add_conn(&l, conn);
    return l.n;
}

nlt_rc_t
nlt_self_write(nlt_store_t *s, const nlt_env_t *env, nlt_str_t instance,
               uint32_t tenant, const nlt_self_conn_t *conn, nlt_err_t *err)
{
    nlt_self_metric_t m[NLT_SELF_METRICS_MAX];
    nlt_label_t labels[NLT_SELF_METRICS_MAX][3];
    nlt_ingest_own_t samples[NLT_SELF_METRICS_MAX];
    nlt_ingest_t *ingest = nlt_store_ingest(s);
    int64_t now = nlt_now_ms(env);
    size_t n;

    if (ingest == NULL) {
        return nlt_err_set(err, NLT_ENOTREADY, "the store is not ready");
    }
    n = nlt_self_collect(s, env, conn, m);
    for (size_t i = 0; i < n; i++) {
        labels[i][0].name = NLT_METRIC_NAME;
        labels[i][0].value = (nlt_str_t){strlen(m[i].name), m[i].name};
        labels[i][1].name = NLT_STR("instance");
        labels[i][1].value = instance;
        labels[i][2].name = NLT_STR("job");
        labels[i][2].value = NLT_STR("nightlight");
        samples[i] = (nlt_ingest_own_t){{labels[i], 3}, now, m[i].value};
    }
    return nlt_ingest_own(ingest, tenant, samples, n, err);
}
