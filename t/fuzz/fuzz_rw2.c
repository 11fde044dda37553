/*
 * fuzz_rw2.c - the walker of remote_write 2.0 against protobuf-c.
 *
 * As fuzz_remote_write.c: what protobuf-c accepts the walker accepts, with
 * the same symbols, references, samples, exemplars, metadata and times of
 * histograms, and the other way round, but for field number 0, and tags and
 * lengths beyond 32 bits.  Several Metadata messages in one series are merged
 * otherwise by protobuf-c (a later zero does not count), so they are not
 * compared.
 */
#include <stdio.h>
#include <stdlib.h>

#include "fuzz_pb.h"
#include "nlt_rw_histogram.h"
#include "nlt_rw_side.h"
#include "write_v2.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef Io__Prometheus__Write__V2__Request request_t;
typedef Io__Prometheus__Write__V2__TimeSeries series_t;

#define REFS_MAX 64

static void
must(bool ok, const char *what, size_t at)
{
    if (!ok) {
        fprintf(stderr, "# fuzz_rw2: %s (number %zu)\n", what, at);
        abort();
    }
}

static bool
same(nlt_str_t s, const request_t *rq, uint32_t ref)
{
    const ProtobufCBinaryData *want = &rq->symbols[ref];

    return nlt_str_eq(s, (nlt_str_t){want->len, (char *) want->data});
}

/* Symbols as they are noted, with room that grows one by one. */
static nlt_rc_t
scan(nlt_str_t request, nlt_rw2_scan_t *s, nlt_err_t *err)
{
    nlt_rc_t rc;

    nlt_rw2_scan_init(s, request);
    while ((rc = nlt_rw2_scan(s, 3, err)) == NLT_EFULL || rc == NLT_AGAIN) {
        if (rc == NLT_EFULL) {
            must(s->n == s->cap, "full only when it is", s->n);
            s->cap = s->cap * 2 + 1;
            s->v = realloc(s->v, s->cap * sizeof(*s->v));
            must(s->v != NULL, "memory", s->n);
        }
    }
    return rc;
}

static void
compare_labels(const nlt_rw2_symbols_t *sy, const uint32_t *refs, size_t n,
               const request_t *rq)
{
    nlt_label_t v[REFS_MAX / 2];
    nlt_err_t err = {0};
    bool inside = n % 2 == 0;
    size_t n_out;
    nlt_rc_t rc;

    for (size_t i = 0; i < n; i++) {
        inside &= refs[i] < sy->n;
    }
    rc = nlt_rw2_labels(sy, refs, n, v, &n_out, &err);
    must((rc == NLT_OK) == inside, "references inside of the table", n);
    must(inside || err.text[0] != '\0', "a text", n);
    for (size_t i = 0; i < n_out && rq != NULL; i++) {
        must(same(v[i].name, rq, refs[2 * i])
                 && same(v[i].value, rq, refs[2 * i + 1]),
             "label", i);
    }
    must(!inside || n_out == n / 2, "all labels", n);
}

static void
compare_exemplars(const nlt_rw2_series_t *s, const nlt_rw2_symbols_t *sy,
                  const series_t *ts, const request_t *rq)
{
    nlt_rw_exemplars_t it;
    nlt_rw_exemplar_t ex;
    nlt_label_t v[4];
    nlt_err_t err;
    nlt_rc_t rc;
    size_t i = 0;

    nlt_rw_exemplars_init(&it, s->s.body, sy);
    while ((rc = nlt_rw_exemplars_next(&it, &ex, v, 4, &err)) != NLT_EOF) {
        if (ts != NULL) {
            const Io__Prometheus__Write__V2__Exemplar *e = ts->exemplars[i];
            bool inside = e->n_labels_refs % 2 == 0;

            for (size_t k = 0; k < e->n_labels_refs; k++) {
                inside &= e->labels_refs[k] < sy->n;
            }
            must(inside == (rc == NLT_OK), "references of an exemplar", i);
            must(ex.t_ms == e->timestamp && ex.v_bits == nlt_bits_of(e->value),
                 "exemplar", i);
            must(!inside || ex.n_labels == e->n_labels_refs / 2,
                 "labels of an exemplar", i);
            for (size_t k = 0; inside && k < ex.n_labels && k < 4; k++) {
                must(same(v[k].name, rq, e->labels_refs[2 * k])
                         && same(v[k].value, rq, e->labels_refs[2 * k + 1]),
                     "label of an exemplar", i);
            }
        }
        i++;
    }
    must(i == s->s.n_exemplars, "all exemplars", i);
}

/* How many fields of that number does the series have? */
static unsigned
count_fields(nlt_str_t body, uint8_t tag)
{
    unsigned n = 0;

    for (size_t i = 0; i < body.len; i++) {
        n += (uint8_t) body.data[i] == tag;
    }
    return n;
}

static void
compare_rest(const nlt_rw2_series_t *s, const nlt_rw2_symbols_t *sy,
             const series_t *ts)
{
    nlt_rw_histograms_t it;
    nlt_rw_histogram_t h;
    nlt_rw_metadata_t md;
    nlt_rw_samples_t samples;
    nlt_err_t err;
    uint64_t bits;
    int64_t t_ms;
    size_t i = 0;

    nlt_rw_samples_init(&samples, &s->s);
    while (nlt_rw_samples_next(&samples, &t_ms, &bits)) {
        must(ts == NULL
                 || (t_ms == ts->samples[i]->timestamp
                     && bits == nlt_bits_of(ts->samples[i]->value)),
             "sample", i);
        i++;
        must(i < s->s.n_samples || (t_ms == s->s.t_ms && bits == s->s.v_bits),
             "last sample", i);
    }
    must(i == s->s.n_samples, "all samples", i);

    i = 0;
    nlt_rw_histograms_init(&it, s->s.body, 2);
    while (nlt_rw_histograms_next(&it, &h)) {
        must(ts == NULL || h.t_ms == ts->histograms[i]->timestamp,
             "time of a histogram", i);
        err.text[0] = '\0';
        must(nlt_rw_histogram_validate(&h, &err) == NLT_OK
                 || err.text[0] != '\0',
             "an invalid histogram has a text", i);
        i++;
    }
    must(i == s->s.n_histograms, "all histograms", i);

    must((nlt_rw2_metadata(sy, s, &md, &err) == NLT_OK)
             == (s->help_ref < sy->n && s->unit_ref < sy->n),
         "references of metadata", 0);
    if (ts != NULL && count_fields(s->s.body, 0x2a) < 2) {
        const Io__Prometheus__Write__V2__Metadata *m = ts->metadata;

        must(s->meta_type == (m ? (uint32_t) m->type : 0)
                 && s->help_ref == (m ? m->help_ref : 0)
                 && s->unit_ref == (m ? m->unit_ref : 0),
             "metadata", 0);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    nlt_str_t request = {size, (const char *) data};
    uint32_t refs[REFS_MAX], again[REFS_MAX];
    nlt_rw2_series_t s, alone;
    nlt_rw2_symbols_t sy = {0};
    nlt_rw2_scan_t sc;
    nlt_rw2_walk_t w;
    nlt_err_t err = {0};
    request_t *want;
    nlt_rc_t rc;
    size_t n = 0;

    want = io__prometheus__write__v2__request__unpack(NULL, size, data);
    rc = scan(request, &sc, &err);
    if (rc == NLT_OK) {
        sy = (nlt_rw2_symbols_t){request.data, sc.v, sc.n};
        must(want == NULL || sc.n == want->n_symbols, "symbol count", sc.n);
        for (uint32_t i = 0; want != NULL && i < sc.n; i++) {
            must(same(nlt_rw2_symbol(&sy, i), want, i), "symbol", i);
        }
        nlt_rw2_walk_init(&w, request, refs, REFS_MAX);
        while ((rc = nlt_rw2_walk_next(&w, &s, &err)) == NLT_OK) {
            const series_t *ts = want ? want->timeseries[n] : NULL;

            must(s.s.idx == n, "position", n);
            n++;
            must(nlt_rw2_series_parse(s.s.body, again, REFS_MAX, &alone, NULL)
                         == NLT_OK
                     && alone.n_refs == s.n_refs
                     && alone.s.n_samples == s.s.n_samples,
                 "a series by itself", n);
            if (ts != NULL) {
                must(s.n_refs == ts->n_labels_refs
                         && s.s.n_samples == ts->n_samples
                         && s.s.n_exemplars == ts->n_exemplars
                         && s.s.n_histograms == ts->n_histograms,
                     "counts", n);
                for (size_t k = 0; k < s.n_refs && k < REFS_MAX; k++) {
                    must(refs[k] == ts->labels_refs[k] && again[k] == refs[k],
                         "reference", k);
                }
            }
            compare_labels(&sy, refs, s.n_refs < REFS_MAX ? s.n_refs : 0,
                           want);
            compare_exemplars(&s, &sy, ts, want);
            compare_rest(&s, &sy, ts);
        }
    }
    if (rc == NLT_EOF) {
        must(want != NULL, "took what protobuf-c refuses", n);
        must(n == want->n_timeseries, "all series", n);
    } else {
        must(rc == NLT_EINVAL && err.text[0] != '\0', "a reason", n);
        must(want == NULL || fuzz_pb_strict(data, size, &err),
             "refused what protobuf-c takes", n);
    }
    free(sc.v);
    if (want != NULL) {
        io__prometheus__write__v2__request__free_unpacked(want, NULL);
    }
    return 0;
}
