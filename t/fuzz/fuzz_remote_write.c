/*
 * fuzz_remote_write.c - the walker against protobuf-c.
 *
 * Whatever protobuf-c accepts the walker accepts, with the same labels and
 * samples, and the other way round, but for the documented differences:
 *  - the walker refuses field number 0, and tags and lengths beyond 32 bits
 *    (nlt_pb.h); the refusal must point at such a number.
 */
#include <stdio.h>
#include <stdlib.h>

#include "fuzz_pb.h"
#include "nlt_limits.h"
#include "nlt_rw_histogram.h"
#include "nlt_rw_side.h"
#include "remote.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LABELS_MAX 4096

static void
fail(const char *what, size_t at)
{
    fprintf(stderr, "# fuzz_remote_write: %s (series %zu)\n", what, at);
    abort();
}

static void
must(bool ok, const char *what, size_t at)
{
    if (!ok) {
        fail(what, at);
    }
}

static void
compare_labels(const nlt_rw_series_t *s, const Prometheus__TimeSeries *want,
               bool *rejected, nlt_err_t *err)
{
    static nlt_label_t got[LABELS_MAX], again[LABELS_MAX];
    const nlt_rw_limits_t limits = {LABELS_MAX, UINT32_MAX, UINT32_MAX};
    nlt_rw_labels_t verdict;
    size_t n, n_again, kept = 0;
    nlt_buf_t canon;
    bool usual;

    usual = nlt_rw_labels_usual(s, &limits, again, &n_again);
    verdict = nlt_rw_labels(s, &limits, got, &n, err);
    must(!usual
             || (verdict == NLT_RW_LABELS_OK
                 && nlt_labels_eq((nlt_labels_t){got, n},
                                  (nlt_labels_t){again, n_again})),
         "usual labels", s->idx);
    must(!usual
             || (nlt_rw_labels_split(s->labels, again, LABELS_MAX, &n_again)
                 && nlt_labels_eq((nlt_labels_t){got, n},
                                  (nlt_labels_t){again, n_again})),
         "labels split again", s->idx);
    if (verdict == NLT_RW_LABELS_BROKEN) {
        *rejected = true;
        return;
    }
    if (want == NULL || verdict == NLT_RW_LABELS_LIMIT) {
        return;
    }
    must(s->n_labels == want->n_labels, "label count", s->idx);
    if (verdict == NLT_RW_LABELS_INVALID
        || verdict == NLT_RW_LABELS_DUPLICATE) {
        return;
    }
    /* Each label that was sent is in the set, once, unless it is empty. */
    for (size_t i = 0; i < want->n_labels; i++) {
        const Prometheus__Label *l = want->labels[i];
        nlt_str_t name = {l->name.len, (char *) l->name.data};
        nlt_str_t value = {l->value.len, (char *) l->value.data};
        nlt_labels_t set = {got, n};

        kept += value.len != 0;
        must(nlt_str_eq(nlt_labels_get(set, name), value), "label", s->idx);
    }
    must(kept == n, "empty labels are dropped", s->idx);

    nlt_buf_init(&canon, &nlt_mem_libc, 64u << 20);
    nlt_rw_canonical(&canon, (nlt_labels_t){got, n});
    must(canon.rc == NLT_OK, "memory", s->idx);
    must(canon.len == nlt_rw_canonical_len((nlt_labels_t){got, n}),
         "canonical length", s->idx);
    must(!usual || nlt_str_eq(nlt_buf_str(&canon), s->labels),
         "usual labels are canonical", s->idx);
    must(nlt_rw_canonical_parse(nlt_buf_str(&canon), again, LABELS_MAX,
                                &n_again)
             == NLT_OK,
         "canonical parses", s->idx);
    must(nlt_labels_eq((nlt_labels_t){got, n}, (nlt_labels_t){again, n_again}),
         "canonical says the same", s->idx);
    nlt_buf_deinit(&canon);
}

static void
compare_samples(const nlt_rw_series_t *s, const Prometheus__TimeSeries *want)
{
    nlt_rw_samples_t it;
    int64_t t_ms;
    uint64_t bits;
    size_t i = 0;

    must(want == NULL || s->n_samples == want->n_samples, "sample count",
         s->idx);
    nlt_rw_samples_init(&it, s);
    while (nlt_rw_samples_next(&it, &t_ms, &bits)) {
        if (want != NULL) {
            must(i < want->n_samples, "samples past the end", s->idx);
            must(t_ms == want->samples[i]->timestamp, "time", s->idx);
            must(bits == nlt_bits_of(want->samples[i]->value), "value",
                 s->idx);
        }
        i++;
        if (i == s->n_samples) {
            must(t_ms == s->t_ms && bits == s->v_bits, "last sample", s->idx);
        }
    }
    must(i == s->n_samples, "all samples", s->idx);
}

static bool
same(nlt_str_t s, ProtobufCBinaryData want)
{
    return nlt_str_eq(s, (nlt_str_t){want.len, (char *) want.data});
}

static void
compare_exemplars(const nlt_rw_series_t *s, const Prometheus__TimeSeries *want)
{
    nlt_rw_exemplars_t it;
    nlt_rw_exemplar_t ex;
    nlt_label_t labels[4];
    nlt_rc_t rc;
    size_t i = 0;

    nlt_rw_exemplars_init(&it, s->body, NULL);
    while ((rc = nlt_rw_exemplars_next(&it, &ex, labels, 4, NULL)) == NLT_OK) {
        if (want != NULL) {
            const Prometheus__Exemplar *e = want->exemplars[i];

            must(ex.t_ms == e->timestamp && ex.v_bits == nlt_bits_of(e->value)
                     && ex.n_labels == e->n_labels,
                 "exemplar", i);
            for (size_t k = 0; k < e->n_labels && k < 4; k++) {
                must(same(labels[k].name, e->labels[k]->name)
                         && same(labels[k].value, e->labels[k]->value),
                     "label of an exemplar", i);
            }
        }
        i++;
    }
    must(rc == NLT_EOF && i == s->n_exemplars, "all exemplars", i);
}

static void
compare_histograms(const nlt_rw_series_t *s,
                   const Prometheus__TimeSeries *want)
{
    nlt_rw_histograms_t it;
    nlt_rw_histogram_t h;
    nlt_err_t err;
    size_t i = 0;

    nlt_rw_histograms_init(&it, s->body, 1);
    while (nlt_rw_histograms_next(&it, &h)) {
        must(want == NULL || h.t_ms == want->histograms[i]->timestamp,
             "time of a histogram", i);
        err.text[0] = '\0';
        must(nlt_rw_histogram_validate(&h, &err) == NLT_OK
                 || err.text[0] != '\0',
             "an invalid histogram has a text", i);
        i++;
    }
    must(i == s->n_histograms, "all histograms", i);
}

static void
compare_metadata(nlt_str_t request, const Prometheus__WriteRequest *want,
                 size_t n)
{
    nlt_rw_metadata_iter_t it;
    nlt_rw_metadata_t md;
    size_t i = 0;

    nlt_rw_metadata_init(&it, request);
    while (nlt_rw_metadata_next(&it, &md)) {
        if (want != NULL) {
            const Prometheus__MetricMetadata *m = want->metadata[i];

            must(md.type == (uint32_t) m->type
                     && same(md.family, m->metric_family_name)
                     && same(md.help, m->help) && same(md.unit, m->unit),
                 "metadata", i);
        }
        i++;
    }
    must(i == n, "all metadata", i);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char scratch[1u << 16], scratch2[1u << 16];
    Prometheus__WriteRequest *want;
    nlt_str_t request = {size, (const char *) data};
    bool rejected = false;
    nlt_rw_series_t s, alone;
    nlt_rw_walk_t w;
    nlt_err_t err = {0};
    nlt_rc_t rc;
    size_t n = 0;

    want = prometheus__write_request__unpack(NULL, size, data);
    nlt_rw_walk_init(&w, request, scratch, sizeof(scratch));
    while ((rc = nlt_rw_walk_next(&w, &s, &err)) == NLT_OK) {
        const Prometheus__TimeSeries *ts = NULL;

        must(s.idx == n, "position", n);
        if (want != NULL) {
            must(n < want->n_timeseries, "series past the end", n);
            ts = want->timeseries[n];
            must(s.n_exemplars == ts->n_exemplars, "exemplars", n);
            must(s.n_histograms == ts->n_histograms, "histograms", n);
        }
        n++;
        must(nlt_rw_series_parse(s.body, scratch2, sizeof(scratch2), &alone,
                                 NULL)
                     == NLT_OK
                 && nlt_str_eq(alone.labels, s.labels)
                 && alone.n_samples == s.n_samples,
             "a series by itself", n);
        compare_samples(&s, ts);
        compare_exemplars(&s, ts);
        compare_histograms(&s, ts);
        compare_labels(&s, ts, &rejected, &err);
        if (rejected) {
            /* Positions in labels count from the series. */
            if (err.pos >= 0) {
                err.pos += (const uint8_t *) s.body.data - data;
            }
            break;
        }
    }
    if (rc == NLT_EINVAL || rejected) {
        must(err.text[0] != '\0', "a refusal has a reason", n);
        /* Scattered labels lie in scratch: there is no position. */
        must(want == NULL || (rejected && s.gathered)
                 || fuzz_pb_strict(data, size, &err),
             "refused what protobuf-c takes", n);
    } else if (rc == NLT_EOF) {
        must(want != NULL, "took what protobuf-c refuses", n);
        compare_metadata(request, want, w.n_metadata);
        if (want != NULL) {
            must(n == want->n_timeseries, "all series", n);
            must(w.n_metadata == want->n_metadata, "metadata", n);
        }
    } else {
        must(rc == NLT_ETOOBIG, "an unexpected code", n);
    }
    if (want != NULL) {
        prometheus__write_request__free_unpacked(want, NULL);
    }
    return 0;
}
