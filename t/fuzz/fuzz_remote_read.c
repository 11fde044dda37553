/*
 * fuzz_remote_read.c - the reader of remote_read requests against protobuf-c.
 *
 * Both take the same messages and read the same out of them, but for what
 * nlt_pb.h is stricter about: the refusal must point at such a number.
 */
#include <stdio.h>
#include <stdlib.h>

#include "fuzz_pb.h"
#include "nlt_remote_read.h"
#include "remote_read.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool ok, const char *what, size_t at)
{
    if (!ok) {
        fprintf(stderr, "# fuzz_remote_read: %s (%zu)\n", what, at);
        abort();
    }
}

static bool
same(nlt_str_t got, ProtobufCBinaryData want)
{
    return nlt_str_eq(got, (nlt_str_t){want.len, (char *) want.data});
}

/* Is there something at pos that nlt_pb.h is stricter about? */
static bool
strict_about(const uint8_t *data, size_t size, const nlt_err_t *err)
{
    /* protobuf-c takes a bool of any wire type */
    return (err->pos >= 0 && (size_t) err->pos < size
            && strstr(err->text, "illegal tag 0") == NULL
            && strstr(err->text, "for field By") != NULL)
           || fuzz_pb_strict(data, size, err);
}

/* true: a matcher is of no type that there is */
static bool
compare_query(const nlt_rr_query_t *q, const Prometheus__Query *want,
              size_t at)
{
    bool odd = false;

    must(q->t_start_ms == want->start_timestamp_ms
             && q->t_end_ms == want->end_timestamp_ms,
         "range", at);
    must(q->n_matchers == want->n_matchers, "number of matchers", at);
    for (size_t i = 0; i < want->n_matchers; i++) {
        static const nlt_match_op_t ops[] = {NLT_MATCH_EQ, NLT_MATCH_NE,
                                             NLT_MATCH_RE, NLT_MATCH_NRE};
        const Prometheus__LabelMatcher *m = want->matchers[i];

        must(same(q->matchers[i].name, m->name)
                 && same(q->matchers[i].value, m->value),
             "matcher", at);
        if (m->type < 0 || m->type > 3) {
            odd = true;
        } else {
            must(q->matchers[i].op == ops[m->type], "operator", at);
        }
    }
    must(q->has_hints == (want->hints != NULL), "hints", at);
    if (want->hints != NULL) {
        const Prometheus__ReadHints *h = want->hints;

        /* of hints that come twice protobuf-c forgets the first */
        must((q->hint_start_ms == h->start_ms || h->start_ms == 0)
                 && (q->hint_end_ms == h->end_ms || h->end_ms == 0)
                 && (same(q->func, h->func) || h->func.len == 0),
             "what the hints say", at);
    }
    return odd;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    nlt_str_t request = {size, (const char *) data};
    Prometheus__ReadRequest *want =
        prometheus__read_request__unpack(NULL, size, data);
    nlt_rr_request_t got;
    nlt_pool_t pool;
    nlt_err_t err = {.pos = -1};
    nlt_rc_t rc;

    nlt_pool_init(&pool, &nlt_mem_libc, 64u << 20);
    rc = nlt_rr_parse(&pool, request, &got, &err);
    if (rc == NLT_OK || rc == NLT_EEXEC) {
        bool odd = false;

        must(want != NULL, "took what protobuf-c refuses", 0);
        must(got.n_queries == want->n_queries, "number of queries", 0);
        for (size_t i = 0; i < want->n_queries; i++) {
            odd |= compare_query(&got.queries[i], want->queries[i], i);
        }
        must(odd == (rc == NLT_EEXEC), "type of a matcher", 0);
        must(got.n_types == want->n_accepted_response_types, "number of types",
             0);
        for (size_t i = 0; i < got.n_types; i++) {
            must(got.types[i] == want->accepted_response_types[i], "type", i);
        }
    } else {
        must(rc == NLT_EINVAL, "an unexpected code", 0);
        must(err.text[0] != '\0', "a refusal has a reason", 0);
        must(want == NULL || strict_about(data, size, &err),
             "refused what protobuf-c takes", 0);
    }
    nlt_pool_deinit(&pool);
    if (want != NULL) {
        prometheus__read_request__free_unpacked(want, NULL);
    }
    return 0;
}
