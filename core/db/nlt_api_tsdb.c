/*
 * nlt_api_tsdb.c - status/tsdb and status/tsdb/blocks: what is in head and
 * blocks.  Jobs of threads: a head has millions of series.
 */
#include "nlt_api.h"
#include "nlt_head_stats.h"
#include "nlt_num.h"

#define LIMIT_DEFAULT 10
#define LIMIT_MAX     10000

/* ---- the head ---- */

/* H13. */
static bool
param_limit(nlt_api_t *a, size_t *limit)
{
    nlt_str_t s = nlt_api_param(a, "limit");
    int64_t n = LIMIT_DEFAULT;

    if (s.len > 0 && (!nlt_num_parse_i64(s, &n) || n < 1)) {
        nlt_api_fail(a, "bad_data", 400, "limit must be a positive number");
        return false;
    }
    if (n > LIMIT_MAX) {
        nlt_api_fail(a, "bad_data", 400, "limit must not exceed %d",
                     LIMIT_MAX);
        return false;
    }
    *limit = (size_t) n;
    return true;
}

static void
add_list(nlt_buf_t *b, const char *key, const nlt_stat_list_t *list)
{
    nlt_buf_add_c(b, key);
    nlt_buf_add_byte(b, '[');
    for (size_t i = 0; i < list->n; i++) {
        const nlt_stat_t *s = &list->v[i];

        nlt_buf_add_c(b, i > 0 ? ",{\"name\":" : "{\"name\":");
        nlt_json_string(b, s->name, true);
        if (s->value.data != NULL) {
            b->len -= b->rc == NLT_OK; /* the quote goes on */
            nlt_buf_add_byte(b, '=');
            nlt_json_chars(b, s->value, true);
            nlt_buf_add_byte(b, '"');
        }
        nlt_buf_add_c(b, ",\"value\":");
        nlt_buf_add_u64(b, s->n);
        nlt_buf_add_byte(b, '}');
    }
    nlt_buf_add_byte(b, ']');
}

static nlt_rc_t
tsdb_eval(nlt_api_t *a, void *ctx, nlt_err_t *err)
{
    const size_t *limit = ctx;
    nlt_head_stats_t st;
    nlt_buf_t *b;
    nlt_rc_t rc = nlt_head_stats(&a->view.head, a->conf.tenant, *limit,
                                 &a->pool, &a->cancel, &st, err);

    if (rc != NLT_OK) {
        return rc;
    }
    b = nlt_api_begin_text(a);
    nlt_buf_add_c(b, "{\"status\":\"success\",\"data\":{\"headStats\":{"
                     "\"numSeries\":");
    nlt_buf_add_u64(b, st.n_series);
    nlt_buf_add_c(b, ",\"numLabelPairs\":");
    nlt_buf_add_u64(b, st.n_pairs);
    nlt_buf_add_c(b, ",\"chunkCount\":");
    nlt_buf_add_u64(b, st.n_chunks);
    nlt_buf_add_c(b, ",\"minTime\":");
    nlt_buf_add_i64(b, st.t_min_ms);
    nlt_buf_add_c(b, ",\"maxTime\":");
    nlt_buf_add_i64(b, st.t_max_ms);
    add_list(b, "},\"seriesCountByMetricName\":", &st.series_by_metric);
    add_list(b, ",\"labelValueCountByLabelName\":", &st.values_by_name);
    add_list(b, ",\"memoryInBytesByLabelName\":", &st.bytes_by_name);
    add_list(b, ",\"seriesCountByLabelValuePair\":", &st.series_by_pair);
    nlt_buf_add_c(b, "}}");
    nlt_api_end_text(a);
    return NLT_OK;
}

void
nlt_api_run_tsdb(nlt_api_t *a)
{
    size_t limit;

    if (param_limit(a, &limit)) {
        nlt_api_over_view(a, tsdb_eval, &limit);
    }
}

/* ---- blocks ---- */

/* Zeros are left out, as everything of a block's statistics. */
static void
add_count(nlt_buf_t *b, const char *key, uint64_t n)
{
    if (n > 0) {
        nlt_buf_add_c(b,
                      b->len > 0 && b->data[b->len - 1] == '{' ? "\"" : ",\"");
        nlt_buf_add_c(b, key);
        nlt_buf_add_c(b, "\":");
        nlt_buf_add_u64(b, n);
    }
}

static void
add_ulids(nlt_buf_t *b, const char *key, const char *before, const char *after,
          const nlt_ulid_t *v, size_t n)
{
    nlt_buf_add_c(b, key);
    nlt_buf_add_byte(b, '[');
    for (size_t i = 0; i < n; i++) {
        nlt_buf_add_c(b, i > 0 ? "," : "");
        nlt_buf_add_c(b, before);
        nlt_buf_add_c(b, v[i].c);
        nlt_buf_add_c(b, after);
    }
    nlt_buf_add_byte(b, ']');
}

/* meta.json of Prometheus, on one line. */
static void
add_block(nlt_buf_t *b, const nlt_block_meta_t *m)
{
    nlt_buf_add_c(b, "{\"ulid\":\"");
    nlt_buf_add_c(b, m->ulid.c);
    nlt_buf_add_c(b, "\",\"minTime\":");
    nlt_buf_add_i64(b, m->t_min_ms);
    nlt_buf_add_c(b, ",\"maxTime\":");
    nlt_buf_add_i64(b, m->t_end_ms);
    nlt_buf_add_c(b, ",\"stats\":{");
    add_count(b, "numSamples", m->n_samples);
    add_count(b, "numFloatSamples", m->n_float_samples);
    add_count(b, "numHistogramSamples", m->n_histogram_samples);
    add_count(b, "numSeries", m->n_series);
    add_count(b, "numChunks", m->n_chunks);
    add_count(b, "numTombstones", m->n_tombstones);
    nlt_buf_add_c(b, "},\"compaction\":{\"level\":");
    nlt_buf_add_u64(b, m->level);
    add_ulids(b, ",\"sources\":", "\"", "\"",
              m->n_sources > 0 ? m->sources : &m->ulid,
              m->n_sources > 0 ? m->n_sources : 1);
    if (m->n_parents > 0) {
        add_ulids(b, ",\"parents\":", "{\"ulid\":\"", "\"}", m->parents,
                  m->n_parents);
    }
    nlt_buf_addf(b, "},\"version\":%d}", nlt_block_meta_version(m));
}

static nlt_rc_t
blocks_eval(nlt_api_t *a, void *ctx, nlt_err_t *err)
{
    nlt_buf_t *b = nlt_api_begin_text(a);
    size_t printed = 0;

    (void) ctx;
    (void) err;
    nlt_buf_add_c(b, "{\"status\":\"success\",\"data\":{\"blocks\":[");
    for (size_t i = 0; i < nlt_view_n_blocks(&a->view); i++) {
        const nlt_block_meta_t *m = nlt_view_block_meta(&a->view, i);

        /* Blocks are shared: what they count is not one tenant's. */
        if (m != NULL && a->conf.tenant == 0) {
            nlt_buf_add_c(b, printed++ > 0 ? "," : "");
            add_block(b, m);
        }
    }
    nlt_buf_add_c(b, "]}}");
    nlt_api_end_text(a);
    return NLT_OK;
}

void
nlt_api_run_blocks(nlt_api_t *a)
{
    nlt_api_over_view(a, blocks_eval, NULL);
}
