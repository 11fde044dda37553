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

/*
 * Counters of the control page: name, help, and by what the field is divided.
 * A field without a line here does not compile.
 */
#define SELF_samples_appended                                                 \
    "nightlight_samples_appended_total", "Samples taken in order of time.", 1
#define SELF_samples_ooo                                                      \
    "nightlight_samples_out_of_order_total",                                  \
        "Samples taken that are older than the newest of their series.", 1
#define SELF_samples_duplicate                                                \
    "nightlight_samples_duplicate_total",                                     \
        "Samples that were there already, bit for bit.", 1
#define SELF_samples_conflict                                                 \
    "nightlight_samples_conflict_total",                                      \
        "Samples whose time was taken by another value.", 1
#define SELF_samples_too_old                                                  \
    "nightlight_samples_too_old_total",                                       \
        "Samples refused because they are older than the retention.", 1
#define SELF_samples_too_new                                                  \
    "nightlight_samples_too_new_total",                                       \
        "Samples refused because they are too far in the future.", 1
#define SELF_samples_no_room                                                  \
    "nightlight_samples_no_room_total",                                       \
        "Samples refused because the head is full.", 1
#define SELF_series_created                                                   \
    "nightlight_series_created_total", "Series seen for the first time.", 1
#define SELF_series_carried                                                   \
    "nightlight_series_carried_total",                                        \
        "Series carried over into a new arena.", 1
#define SELF_series_refused                                                   \
    "nightlight_series_refused_total",                                        \
        "New series refused because the head is nearly full.", 1
#define SELF_aliases_created                                                  \
    "nightlight_series_aliases_total",                                        \
        "Other spellings of known label sets remembered.", 1
#define SELF_series_invalid                                                   \
    "nightlight_series_invalid_total",                                        \
        "Series in requests whose labels are not valid.", 1
#define SELF_histograms_not_stored                                            \
    "nightlight_histograms_not_stored_total",                                 \
        "Valid native histograms received, which are not stored yet.", 1
#define SELF_histograms_invalid                                               \
    "nightlight_histograms_invalid_total",                                    \
        "Native histograms refused because they are not valid.", 1
#define SELF_exemplars_added                                                  \
    "nightlight_exemplars_added_total", "Exemplars taken.", 1
#define SELF_exemplars_duplicate                                              \
    "nightlight_exemplars_duplicate_total",                                   \
        "Exemplars that were there already.", 1
#define SELF_exemplars_refused                                                \
    "nightlight_exemplars_refused_total",                                     \
        "Exemplars whose labels are too long or invalid, or whose time is "   \
        "out of bounds.",                                                     \
        1
#define SELF_exemplars_no_room                                                \
    "nightlight_exemplars_no_room_total", "Exemplars that found no memory.", 1
#define SELF_metadata_updates                                                 \
    "nightlight_metadata_updates_total",                                      \
        "Metric families whose type, help or unit was new.", 1
#define SELF_metadata_refused                                                 \
    "nightlight_metadata_refused_total",                                      \
        "Metadata that was invalid or too long, or found no memory.", 1
#define SELF_requests_ok                                                      \
    "nightlight_write_requests_ok_total",                                     \
        "remote_write requests acknowledged.", 1
#define SELF_requests_refused                                                 \
    "nightlight_write_requests_refused_total",                                \
        "remote_write requests refused with 4xx.", 1
#define SELF_requests_partial                                                 \
    "nightlight_write_requests_partial_total",                                \
        "remote_write 2.0 requests of which a part was refused with 400.", 1
#define SELF_requests_failed                                                  \
    "nightlight_write_requests_failed_total",                                 \
        "remote_write requests answered with 5xx.", 1
#define SELF_bytes_received                                                   \
    "nightlight_write_bytes_total",                                           \
        "Compressed bytes of remote_write bodies.", 1
#define SELF_bytes_decoded                                                    \
    "nightlight_write_decoded_bytes_total",                                   \
        "Decompressed bytes of remote_write bodies.", 1
#define SELF_wal_bytes                                                        \
    "nightlight_wal_bytes_total", "Bytes appended to the write-ahead log.", 1
#define SELF_wal_records                                                      \
    "nightlight_wal_records_total",                                           \
        "Frames appended to the write-ahead log.", 1
#define SELF_wal_fsyncs                                                       \
    "nightlight_wal_fsyncs_total", "Syncs of the write-ahead log.", 1
#define SELF_wal_sync_waits                                                   \
    "nightlight_wal_sync_waits_total",                                        \
        "Write requests that waited for a sync: wal_sync=always.", 1
#define SELF_wal_sync_ns                                                      \
    "nightlight_wal_sync_seconds_total",                                      \
        "Time spent in syncs of the write-ahead log.", 1e9
#define SELF_wal_errors                                                       \
    "nightlight_wal_errors_total",                                            \
        "Failed writes and syncs of the write-ahead log.", 1
#define SELF_wal_skipped_bytes                                                \
    "nightlight_wal_skipped_bytes_total",                                     \
        "Bytes that replay skipped because they were torn or corrupt.", 1
#define SELF_replayed_samples                                                 \
    "nightlight_wal_replayed_samples_total",                                  \
        "Samples recovered from the write-ahead log.", 1
#define SELF_flushes "nightlight_flushes_total", "Arenas written as blocks.", 1
#define SELF_flush_errors                                                     \
    "nightlight_flush_errors_total",                                          \
        "Flushes that failed and were tried again.", 1
#define SELF_early_flushes                                                    \
    "nightlight_early_flushes_total",                                         \
        "Arenas sealed before their time because they were full.", 1
#define SELF_blocks_written                                                   \
    "nightlight_blocks_written_total", "Blocks written by flushes.", 1
#define SELF_blocks_removed                                                   \
    "nightlight_blocks_removed_total", "Blocks removed for the retention.", 1
#define SELF_blocks_quarantined                                               \
    "nightlight_blocks_quarantined_total",                                    \
        "Damaged blocks moved to quarantine.", 1
#define SELF_blocks_imported                                                  \
    "nightlight_blocks_imported_total",                                       \
        "Blocks adopted from the import directory.", 1
#define SELF_imports_refused                                                  \
    "nightlight_imports_refused_total",                                       \
        "Blocks in the import directory that were refused.", 1
#define SELF_compactions                                                      \
    "nightlight_compactions_total", "Compactions finished.", 1
#define SELF_compaction_errors                                                \
    "nightlight_compaction_errors_total", "Compactions that failed.", 1
#define SELF_compaction_blocks                                                \
    "nightlight_compaction_source_blocks_total",                              \
        "Blocks that went into compactions.", 1
#define SELF_compaction_samples                                               \
    "nightlight_compaction_samples_total", "Samples that compactions wrote.", 1
#define SELF_compaction_bytes                                                 \
    "nightlight_compaction_bytes_total", "Bytes that compactions wrote.", 1
#define SELF_compaction_ns                                                    \
    "nightlight_compaction_seconds_total", "Time spent in compactions.", 1e9
#define SELF_deletes                                                          \
    "nightlight_deletes_total", "Deletes of series accepted.", 1
#define SELF_snapshots "nightlight_snapshots_total", "Snapshots made.", 1
#define SELF_queries                                                          \
    "nightlight_queries_total", "API requests that read data.", 1
#define SELF_query_errors                                                     \
    "nightlight_query_errors_total",                                          \
        "API requests that read data and failed.", 1
#define SELF_query_samples                                                    \
    "nightlight_query_samples_total", "Samples read by queries.", 1
#define SELF_query_ns                                                         \
    "nightlight_query_seconds_total",                                         \
        "Time spent in API requests that read data.", 1e9
#define SELF_recoveries                                                       \
    "nightlight_lock_recoveries_total",                                       \
        "Locks taken over from a process that died.", 1

static void
add_counter(list_t *l, const _Atomic uint64_t *field, const char *name,
            const char *help, double divisor)
{
    uint64_t n = atomic_load_explicit(field, memory_order_relaxed);

    add(l, true, name, (double) n / divisor, help);
}

static void
add_counters(list_t *l, const nlt_head_ctl_t *ctl)
{
#define ADD(field) add_counter(l, &ctl->counters.field, SELF_##field);
    NLT_HEAD_COUNTERS(ADD)
#undef ADD
    add(l, false, "nightlight_disk_low", (double) atomic_load(&ctl->disk_low),
        "Writes are refused because min_free= of the disk is not free.");
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
    add(l, false, "nightlight_memory_stage", (double) g.memory_stage,
        "What the memory= limit makes the store do: 0 nothing, 1 flush early, "
        "2 refuse new series, 3 refuse writes.");
    add(l, false, "nightlight_head_series", (double) g.active_series,
        "Series in the active arena.");
    add(l, false, "nightlight_head_samples", (double) g.active_samples,
        "Samples in the active arena.");
    add(l, false, "nightlight_head_arenas", (double) g.arenas,
        "Arenas that hold samples.");
    add(l, false, "nightlight_exemplars", (double) g.exemplars,
        "Exemplars that are kept.");
    add(l, false, "nightlight_exemplar_series", (double) g.exemplar_series,
        "Series that have exemplars.");
    add(l, false, "nightlight_exemplar_bytes", (double) g.exemplar_bytes,
        "Memory that exemplars have taken so far, of exemplars=.");
    add(l, true, "nightlight_exemplars_evicted_total",
        (double) g.exemplars_evicted,
        "Exemplars that went to make room for newer ones.");
    add(l, false, "nightlight_metadata_families", (double) g.metadata_families,
        "Metric families whose type, help and unit are known.");
    add(l, true, "nightlight_metadata_evicted_total",
        (double) g.metadata_evicted,
        "Metric families that were forgotten to make room for others.");
    add(l, false, "nightlight_wal_failed_logs", (double) g.failed_logs,
        "Logs that could not be written or synced and whose samples are not "
        "in blocks yet.");
    add(l, false, "nightlight_blocks", (double) g.blocks, "Blocks on disk.");
    add(l, false, "nightlight_deletes_pending", (double) g.delete_rules,
        "Deletes that hold and whose samples are not off the disk yet.");
    add(l, false, "nightlight_blocks_left_out", (double) g.blocks_left_out,
        "Blocks that queries miss: in quarantine, damaged or unreadable.");
    add(l, false, "nightlight_block_bytes", (double) g.block_bytes,
        "Bytes of blocks on disk.");
    add(l, false, "nightlight_block_samples", (double) g.block_samples,
        "Samples in blocks.");
    add(l, false, "nightlight_disk_free_bytes", (double) g.disk_free_bytes,
        "Free bytes of the file system that the store lies on.");
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
