/*
 * nlt_self.c - the store's metrics about itself, as text and as samples.
 *
 * One list feeds /metrics and nlt_self_write(), so what an operator sees in
 * either has the same names and the same meaning.
 */
#include <stddef.h>

#include "nlt_api.h"
#include "nlt_num.h"

/* What a metric is, but for its value. */
typedef struct {
    const char *name;
    const char *help;
    nlt_self_type_t type;
    const char *label; /* NULL: none */
    const char *text;  /* its value */
} about_t;

/* Room for one more; NULL when there is no memory, which is remembered. */
static nlt_self_metric_t *
more(nlt_self_list_t *l, const about_t *m)
{
    nlt_self_metric_t *v;

    if (l->n == l->cap) {
        size_t cap = l->cap > 0 ? 2 * l->cap : 256;

        v = l->failed ? NULL
                      : nlt_pool_grow(l->pool, l->v, l->cap * sizeof(*v),
                                      cap * sizeof(*v));
        if (v == NULL) {
            l->failed = true;
            return NULL;
        }
        l->v = v;
        l->cap = cap;
    }
    v = &l->v[l->n++];
    *v = (nlt_self_metric_t){
        .name = m->name, .suffix = "", .help = m->help, .type = m->type};
    if (m->label != NULL) {
        v->label[v->n_labels++] = (nlt_label_t){{strlen(m->label), m->label},
                                                {strlen(m->text), m->text}};
    }
    return v;
}

static void
add_about(nlt_self_list_t *l, const about_t *m, double value)
{
    nlt_self_metric_t *v = more(l, m);

    if (v != NULL) {
        v->value = value;
    }
}

static void
add(nlt_self_list_t *l, bool counter, const char *name, double value,
    const char *help)
{
    about_t m = {name, help, counter ? NLT_SELF_COUNTER : NLT_SELF_GAUGE, NULL,
                 NULL};

    add_about(l, &m, value);
}

static void
add_labelled(nlt_self_list_t *l, nlt_self_type_t type, const char *name,
             const char *label, const char *text, double value,
             const char *help)
{
    about_t m = {name, help, type, label, text};

    add_about(l, &m, value);
}

/* ---- histograms ---- */

/* In order of labels: "le" comes behind "kind". */
static void
add_bucket(nlt_self_list_t *l, const about_t *m, const char *le, uint64_t n)
{
    nlt_self_metric_t *v = more(l, m);

    if (v != NULL) {
        v->suffix = "_bucket";
        v->label[v->n_labels++] =
            (nlt_label_t){NLT_STR("le"), {strlen(le), le}};
        v->value = (double) n;
    }
}

static void
add_histogram(nlt_self_list_t *l, const nlt_head_histogram_t *h,
              const char *name, const char *help, const char *label,
              const char *text)
{
    static const double bound[] = NLT_HEAD_BUCKET_SECONDS;
    about_t m = {name, help, NLT_SELF_HISTOGRAM, label, text};
    nlt_self_metric_t *v;
    uint64_t n = 0;

    for (size_t i = 0; i <= NLT_HEAD_BUCKETS; i++) {
        char *le = nlt_pool_zalloc(l->pool, NLT_NUM_TEXT_MAX + 1);

        if (le == NULL) {
            l->failed = true;
            return;
        }
        if (i < NLT_HEAD_BUCKETS) {
            le[nlt_num_sample(le, bound[i])] = '\0';
        } else {
            memcpy(le, "+Inf", 5);
        }
        n += atomic_load_explicit(&h->n[i], memory_order_relaxed);
        add_bucket(l, &m, le, n);
    }
    v = more(l, &m);
    if (v != NULL) {
        v->suffix = "_sum";
        v->value =
            (double) atomic_load_explicit(&h->sum_ns, memory_order_relaxed)
            / 1e9;
    }
    v = more(l, &m);
    if (v != NULL) {
        v->suffix = "_count";
        v->value = (double) n;
    }
}

#define QUERY_TIME                                                            \
    "nightlight_query_duration_seconds",                                      \
        "Time that threads worked on API requests, by kind.", "kind"
#define SELF_time_instant  QUERY_TIME, "instant"
#define SELF_time_range    QUERY_TIME, "range"
#define SELF_time_series   QUERY_TIME, "series"
#define SELF_time_labels   QUERY_TIME, "labels"
#define SELF_time_read     QUERY_TIME, "read"
#define SELF_time_federate QUERY_TIME, "federate"
#define SELF_time_other    QUERY_TIME, "other"
#define SELF_time_queue                                                       \
    "nightlight_query_queue_duration_seconds",                                \
        "Time that API requests waited for a thread.", NULL, NULL
#define WRITE_TIME                                                            \
    "nightlight_write_duration_seconds",                                      \
        "Time from the body of a remote_write request to its answer.",        \
        "result"
#define SELF_time_write_ok      WRITE_TIME, "ok"
#define SELF_time_write_refused WRITE_TIME, "refused"
#define SELF_time_write_failed  WRITE_TIME, "failed"
#define SELF_time_wal_write                                                   \
    "nightlight_wal_write_duration_seconds",                                  \
        "Time of writes to the write-ahead log.", NULL, NULL
#define SELF_time_wal_sync                                                    \
    "nightlight_wal_fsync_duration_seconds",                                  \
        "Time of syncs of the write-ahead log.", NULL, NULL
#define SELF_time_flush                                                       \
    "nightlight_flush_duration_seconds",                                      \
        "Time of flushes: an arena written as blocks.", NULL, NULL
#define SELF_time_compaction                                                  \
    "nightlight_compaction_duration_seconds", "Time of compactions.", NULL,   \
        NULL

/* ---- counters ---- */

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
#define SELF_samples_dropped                                                  \
    "nightlight_samples_dropped_total",                                       \
        "Samples of series that nightlight_drop keeps out.", 1
#define SELF_samples_over_series                                              \
    "nightlight_samples_over_series_limit_total",                             \
        "Samples refused because their series is over a limit of series.", 1
#define SELF_series_over_labels                                               \
    "nightlight_series_over_label_limits_total",                              \
        "Series refused for the number or length of their labels.", 1
#define SELF_requests_over_rate                                               \
    "nightlight_requests_over_rate_limit_total",                              \
        "remote_write requests refused unread, over a limit of samples.", 1
#define SELF_dry_run_requests_over_rate                                       \
    "nightlight_dry_run_requests_over_rate_limit_total",                      \
        "remote_write requests that would have been refused unread.", 1
#define SELF_requests_over_size                                               \
    "nightlight_requests_over_size_limit_total",                              \
        "remote_write requests refused for their decompressed size.", 1
#define SELF_dry_run_requests_over_size                                       \
    "nightlight_dry_run_requests_over_size_limit_total",                      \
        "remote_write requests that would have been refused for their "       \
        "decompressed size.",                                                 \
        1
#define SELF_dry_run_samples_over_series                                      \
    "nightlight_dry_run_samples_over_series_limit_total",                     \
        "Samples of new series that would have been over a limit.", 1
#define SELF_dry_run_series_over_labels                                       \
    "nightlight_dry_run_series_over_label_limits_total",                      \
        "New series that would have been over a limit of labels.", 1
#define SELF_dry_run_series_dropped                                           \
    "nightlight_dry_run_series_dropped_total",                                \
        "New series that nightlight_drop would have kept out.", 1
#define SELF_dry_run_samples_over_age                                         \
    "nightlight_dry_run_samples_over_age_limit_total",                        \
        "Samples that would have been too old or too new.", 1
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
#define SELF_conversions                                                      \
    "nightlight_conversions_total",                                           \
        "Compactions that only changed the format of blocks.", 1
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
#define SELF_queries_at_once                                                  \
    "nightlight_queries_at_once_total",                                       \
        "Small API requests that were answered without a thread.", 1
#define SELF_query_help                                                       \
    "nightlight_query_help_total",                                            \
        "Threads that were given to queries beside their own.", 1
#define SELF_slow_queries                                                     \
    "nightlight_slow_queries_total",                                          \
        "API requests that took longer than nightlight_slow_query says.", 1
#define SELF_recoveries                                                       \
    "nightlight_lock_recoveries_total",                                       \
        "Locks taken over from a process that died.", 1

static void
add_counter(nlt_self_list_t *l, const _Atomic uint64_t *field,
            const char *name, const char *help, double divisor)
{
    uint64_t n = atomic_load_explicit(field, memory_order_relaxed);

    add(l, true, name, (double) n / divisor, help);
}

/* Unix seconds of a mark; 0: never. */
#define SELF_flush_last_ms                                                    \
    "nightlight_flush_last_success_timestamp_seconds",                        \
        "When an arena was written as blocks the last time."
#define SELF_compaction_last_ms                                               \
    "nightlight_compaction_last_success_timestamp_seconds",                   \
        "When a compaction ended well the last time."

static void
add_mark(nlt_self_list_t *l, const _Atomic uint64_t *field, const char *name,
         const char *help)
{
    add(l, false, name,
        (double) atomic_load_explicit(field, memory_order_relaxed) / 1000,
        help);
}

static void
add_counters(nlt_self_list_t *l, const nlt_head_ctl_t *ctl)
{
    static const char *const outcome[] = {
#define TEXT(name, text) text,
        NLT_OUTCOMES(TEXT)
#undef TEXT
    };
    static const char *const limit[] = {
#define TEXT(name, text) text,
        NLT_QUERY_LIMITS(TEXT)
#undef TEXT
    };

#define ADD(field) add_counter(l, &ctl->counters.field, SELF_##field);
    NLT_HEAD_COUNTERS(ADD)
#undef ADD
#define ADD(field) add_mark(l, &ctl->counters.field, SELF_##field);
    NLT_HEAD_MARKS(ADD)
#undef ADD
    for (size_t i = 0; i < NLT_COUNT(outcome); i++) {
        add_labelled(l, NLT_SELF_COUNTER, "nightlight_query_outcomes_total",
                     "outcome", outcome[i],
                     (double) atomic_load_explicit(&ctl->counters.outcomes[i],
                                                   memory_order_relaxed),
                     "API requests by how they ended.");
    }
    for (size_t i = 0; i < NLT_COUNT(limit); i++) {
        add_labelled(
            l, NLT_SELF_COUNTER, "nightlight_query_refusals_dry_run_total",
            "limit", limit[i],
            (double) atomic_load_explicit(&ctl->counters.queries_dry_run[i],
                                          memory_order_relaxed),
            "API requests that a limit would have refused but for "
            "dry_run.");
    }
#define ADD(field) add_histogram(l, &ctl->counters.field, SELF_##field);
    NLT_HEAD_HISTOGRAMS(ADD)
#undef ADD
    add(l, false, "nightlight_disk_low", (double) atomic_load(&ctl->disk_low),
        "Writes are refused because min_free= of the disk is not free.");
}

static const char *const digit[] = {"0", "1", "2", "3", "4", "5", "6"};

static void
add_arenas(nlt_self_list_t *l, const nlt_store_gauges_t *g)
{
    for (size_t i = 0; i < NLT_HEAD_ARENAS; i++) {
        add_labelled(l, NLT_SELF_GAUGE, "nightlight_arena_bytes", "slot",
                     digit[i], (double) g->arena[i].reserved_bytes,
                     "Memory of the head's arenas, by slot.");
    }
    for (size_t i = 0; i < NLT_HEAD_ARENAS; i++) {
        add_labelled(l, NLT_SELF_GAUGE, "nightlight_arena_state", "slot",
                     digit[i],
                     g->arena[i].active   ? 2
                     : g->arena[i].sealed ? 3
                     : g->arena[i].no > 0 ? 1
                                          : 0,
                     "State of the head's arenas, by slot: 0 none, 1 ready or "
                     "let go of, 2 takes samples, 3 is written as blocks.");
    }
}

static void
add_levels(nlt_self_list_t *l, const nlt_store_gauges_t *g)
{
    _Static_assert(NLT_STORE_LEVELS < NLT_COUNT(digit), "a digit each");
    _Static_assert(NLT_HEAD_ARENAS <= NLT_COUNT(digit), "likewise");

    for (size_t i = 0; i < NLT_STORE_LEVELS; i++) {
        add_labelled(l, NLT_SELF_GAUGE, "nightlight_level_blocks", "level",
                     digit[i + 1], (double) g->level_blocks[i],
                     "Blocks on disk by level of compaction; the last level "
                     "has all above it.");
    }
    for (size_t i = 0; i < NLT_STORE_LEVELS; i++) {
        add_labelled(l, NLT_SELF_GAUGE, "nightlight_level_block_bytes",
                     "level", digit[i + 1], (double) g->level_bytes[i],
                     "Bytes of blocks by level of compaction.");
    }
}

static void
add_format(nlt_self_list_t *l, const char *name, uint64_t all, uint64_t dense,
           const char *help)
{
    add_labelled(l, NLT_SELF_GAUGE, name, "format", "portable",
                 (double) (all - dense), help);
    add_labelled(l, NLT_SELF_GAUGE, name, "format", "dense", (double) dense,
                 help);
}

static void
add_formats(nlt_self_list_t *l, const nlt_store_gauges_t *g)
{
    add_format(l, "nightlight_format_blocks", g->blocks, g->dense_blocks,
               "Blocks on disk by format.");
    add_format(l, "nightlight_format_block_bytes", g->block_bytes,
               g->dense_bytes, "Bytes of blocks by format.");
    add_format(l, "nightlight_format_block_samples", g->block_samples,
               g->dense_samples, "Samples of blocks by format.");
}

static void
add_gauges(nlt_self_list_t *l, nlt_store_t *s)
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
    add_arenas(l, &g);
    add_levels(l, &g);
    add_formats(l, &g);
    add(l, false, "nightlight_queries_running", g.load.n_running,
        "API requests that threads work on.");
    add(l, false, "nightlight_queries_waiting", g.load.n_waiting,
        "API requests that wait for a thread.");
    add(l, false, "nightlight_query_answer_bytes", (double) g.load.held_bytes,
        "Memory of answers that wait for their readers.");
    add(l, false, "nightlight_processes", g.load.n_processes,
        "Processes that have the head mapped, the helper included.");
}

static void
add_conn(nlt_self_list_t *l, const nlt_self_conn_t *c)
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

/* ---- tenants ---- */

/* As many are named; more would be a store of their own. */
#define SELF_TENANTS_MAX 1000

/* One number of every tenant; what is 0 is left out but for the default. */
static void
add_tenants_by(nlt_self_list_t *l, const nlt_tenants_t *t, const about_t *m,
               size_t field, double divisor)
{
    size_t n = 0;

    for (uint32_t no = 0; no < nlt_tenants_end(t) && n < SELF_TENANTS_MAX;
         no++) {
        nlt_tenant_t *slot =
            nlt_tenants_lives(t, no) ? nlt_tenants_slot(t, no) : NULL;
        nlt_self_metric_t *v;
        uint64_t value;

        if (slot == NULL) {
            continue;
        }
        value = atomic_load_explicit(
            (_Atomic uint64_t *) ((uint8_t *) &slot->counters + field),
            memory_order_relaxed);
        n++;
        v = value != 0 || no == 0 ? more(l, m) : NULL;
        if (v == NULL) {
            continue;
        }
        v->value = (double) value / divisor;
        if (nlt_tenant_name(slot).len > 0) {
            v->label[v->n_labels++] =
                (nlt_label_t){NLT_STR("tenant"), nlt_tenant_name(slot)};
        }
    }
}

static void
add_tenants(nlt_self_list_t *l, const nlt_tenants_t *t, bool counter,
            const char *name, size_t field, double divisor, const char *help)
{
    about_t m = {name, help, counter ? NLT_SELF_COUNTER : NLT_SELF_GAUGE, NULL,
                 NULL};

    add_tenants_by(l, t, &m, field, divisor);
}

/* The same for each of n texts of a label; fields follow each other. */
static void
add_tenants_each(nlt_self_list_t *l, const nlt_tenants_t *t, const char *name,
                 const char *label, const char *const *text, size_t n,
                 size_t field, const char *help)
{
    for (size_t i = 0; i < n; i++) {
        about_t m = {name, help, NLT_SELF_COUNTER, label, text[i]};

        add_tenants_by(l, t, &m, field + i * sizeof(uint64_t), 1);
    }
}

static void
add_tenant_refusals(nlt_self_list_t *l, const nlt_tenants_t *t)
{
    static const char *const reason[] = {
#define TEXT(name, text) text,
        NLT_TENANT_REASONS(TEXT)
#undef TEXT
    };
    static const char *const limit[] = {
#define TEXT(name, text) text,
        NLT_QUERY_LIMITS(TEXT)
#undef TEXT
    };
    static const char *const of_request[] = {"rate", "size"};

    add_tenants_each(l, t, "nightlight_tenant_samples_refused_total", "reason",
                     reason, NLT_COUNT(reason),
                     offsetof(nlt_tenant_counters_t, refused),
                     "Samples that were not taken, by tenant and reason.");
    add_tenants_each(l, t, "nightlight_tenant_requests_over_limit_total",
                     "limit", of_request, NLT_COUNT(of_request),
                     offsetof(nlt_tenant_counters_t, requests_over_rate),
                     "remote_write requests refused as a whole, by tenant and "
                     "limit.");
    add_tenants_each(l, t, "nightlight_tenant_query_refusals_total", "limit",
                     limit, NLT_COUNT(limit),
                     offsetof(nlt_tenant_counters_t, query_refused),
                     "API requests that a limit ended, by tenant and limit.");
}

static void
add_all_tenants(nlt_self_list_t *l, const nlt_tenants_t *t)
{
#define FIELD(f) offsetof(nlt_tenant_counters_t, f)
    add(l, false, "nightlight_tenants", nlt_tenants_count(t),
        "Tenants that there are, the default one not counted.");
    add_tenants(l, t, true, "nightlight_tenant_samples_total", FIELD(samples),
                1, "Samples that were taken, by tenant.");
    add_tenants(l, t, true, "nightlight_tenant_series_created_total",
                FIELD(series_created), 1, "New series, by tenant.");
    add_tenant_refusals(l, t);
    add_tenants(l, t, true, "nightlight_tenant_queries_total", FIELD(queries),
                1, "API requests that read data, by tenant.");
    add_tenants(l, t, true, "nightlight_tenant_query_errors_total",
                FIELD(query_errors), 1, "Those that failed.");
    add_tenants(l, t, true, "nightlight_tenant_query_samples_total",
                FIELD(query_samples), 1, "Samples that they read.");
    add_tenants(l, t, true, "nightlight_tenant_query_seconds_total",
                FIELD(query_ns), 1e9, "Time that threads worked on them.");
    add_tenants(l, t, false, "nightlight_client_certificate_expiry_seconds",
                FIELD(cert_not_after_s), 1,
                "Unix time at which the newest certificate of a client ends, "
                "by tenant; 0: none was seen.");
#undef FIELD
}

/* Of the program around the store. */
static void
add_program(nlt_self_list_t *l, const nlt_self_conn_t *c)
{
    about_t m = {"nightlight_build_info", "1; the labels say what is running.",
                 NLT_SELF_GAUGE, "nginx_version",
                 c->server_version ? c->server_version : ""};
    nlt_self_metric_t *v = more(l, &m);

    if (v != NULL) {
        v->label[v->n_labels++] =
            (nlt_label_t){NLT_STR("version"), NLT_STR(NLT_VERSION)};
        v->value = 1;
    }
    add(l, false, "nightlight_start_time_seconds",
        (double) c->t_start_ms / 1000,
        "When nginx was started, in Unix seconds.");
    add(l, false, "nightlight_config_time_seconds",
        (double) c->t_config_ms / 1000,
        "When the configuration that is in force was read.");
}

nlt_rc_t
nlt_self_collect(nlt_store_t *s, const nlt_self_conn_t *conn,
                 nlt_self_list_t *l)
{
    nlt_head_ctl_t *ctl = nlt_store_ctl_hold(s);
    nlt_store_status_t st;

    nlt_store_status(s, &st);
    add(l, false, "nightlight_up", 1, "The module is running.");
    add(l, false, "nightlight_ready", st.ready,
        "The store takes samples and answers queries.");
    add_program(l, conn);
    if (ctl != NULL) {
        int64_t drained = atomic_load(&ctl->drained_ms);

        add(l, false, "nightlight_draining",
            drained != 0 && drained == conn->t_start_ms,
            "The server is about to be stopped, and ready says no.");
        add_counters(l, ctl);
        add_gauges(l, s);
        if (nlt_store_tenants(s) != NULL) {
            add_all_tenants(l, nlt_store_tenants(s));
        }
        nlt_store_ctl_release(s);
    }
    add_conn(l, conn);
    return l->failed ? NLT_ENOMEM : NLT_OK;
}

/* Metrics and their labels; far more than they need. */
#define SELF_BYTES_MAX (16u << 20)

/* The labels of one sample, sorted, with `instance` and `job`. */
static size_t
own_labels(nlt_pool_t *pool, const nlt_self_metric_t *m, nlt_str_t instance,
           nlt_label_t *out)
{
    size_t len = strlen(m->name), n = 0;
    char *name = nlt_pool_alloc(pool, len + strlen(m->suffix));

    if (name == NULL) {
        return 0;
    }
    memcpy(name, m->name, len);
    memcpy(name + len, m->suffix, strlen(m->suffix));
    out[n++] = (nlt_label_t){NLT_METRIC_NAME, {len + strlen(m->suffix), name}};
    out[n++] = (nlt_label_t){NLT_STR("instance"), instance};
    out[n++] = (nlt_label_t){NLT_STR("job"), NLT_STR("nightlight")};
    for (size_t i = 0; i < m->n_labels; i++) {
        size_t at = n++;

        while (nlt_str_cmp(m->label[i].name, out[at - 1].name) < 0) {
            out[at] = out[at - 1];
            at--;
        }
        out[at] = m->label[i];
    }
    return n;
}

static nlt_rc_t
write_all(nlt_store_t *s, const nlt_env_t *env, nlt_str_t instance,
          uint32_t tenant, const nlt_self_list_t *l, nlt_err_t *err)
{
    nlt_ingest_t *ingest = nlt_store_ingest(s);
    int64_t now = nlt_now_ms(env);
    nlt_ingest_own_t *samples =
        nlt_pool_array(l->pool, l->n, sizeof(*samples));

    if (samples == NULL) {
        return nlt_err_set(err, NLT_ENOMEM, "out of memory");
    }
    for (size_t i = 0; i < l->n; i++) {
        nlt_label_t *labels =
            nlt_pool_array(l->pool, 3 + NLT_SELF_LABELS_MAX, sizeof(*labels));
        size_t n = labels != NULL
                       ? own_labels(l->pool, &l->v[i], instance, labels)
                       : 0;

        if (n == 0) {
            return nlt_err_set(err, NLT_ENOMEM, "out of memory");
        }
        samples[i] = (nlt_ingest_own_t){{labels, n}, now, l->v[i].value};
    }
    return nlt_ingest_own(ingest, tenant, samples, l->n, err);
}

nlt_rc_t
nlt_self_write(nlt_store_t *s, const nlt_env_t *env, nlt_str_t instance,
               uint32_t tenant, const nlt_self_conn_t *conn, nlt_err_t *err)
{
    nlt_pool_t pool;
    nlt_self_list_t l = {.pool = &pool};
    nlt_rc_t rc;

    if (nlt_store_ingest(s) == NULL) {
        return nlt_err_set(err, NLT_ENOTREADY, "the store is not ready");
    }
    nlt_pool_init(&pool, env->mem, SELF_BYTES_MAX);
    rc = nlt_self_collect(s, conn, &l);
    rc = rc == NLT_OK ? write_all(s, env, instance, tenant, &l, err)
                      : nlt_err_set(err, rc, "out of memory");
    nlt_pool_deinit(&pool);
    return rc;
}
