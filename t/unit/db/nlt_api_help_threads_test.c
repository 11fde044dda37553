/*
 * nlt_api_help_threads_test.c - one view of a store, read by several threads.
 *
 * Blocks of both formats, head, samples out of order, and a writer that
 * appends meanwhile: with help an answer is the same as without.
 */
#include "store/nlt_store_fixture.h"
#include "store/nlt_store_check.h"

#include "nlt_api.h"
#include "nlt_test_help.h"

#define BEGIN "1700040000"
#define END   "1700054300" /* nothing is written before that meanwhile */

static const char *const asked[][2] = {
    {"query", "query=m&time=" END},
    {"query", "query=sum(rate(m%5B1h%5D))&time=" END "&stats=all"},
    {"query", "query=sum(last_over_time(m%5B4h%5D))&time=" END},
    {"query", "query=rate(m%5B10m%5D)&time=" END},
    {"query_range", "query=m&start=" BEGIN "&end=" END "&step=60"},
    {"query_range",
     "query=sum(rate(m%5B5m%5D))&start=" BEGIN "&end=" END "&step=30&stats=1"},
    {"query_range",
     "query=max_over_time(m%5B1h%5D)&start=" BEGIN "&end=" END "&step=300"},
    {"query_range",
     "query=m-m%20offset%201h&start=" BEGIN "&end=" END "&step=120"},
};

static nlt_api_t *
create(fx_t *fx, const char *const ask[2], const nlt_help_t *help)
{
    const nlt_api_conf_t conf = {.timeout_ms = 600000,
                                 .samples_max = 1000000,
                                 .series_max = 1000000,
                                 .memory_max = 256u << 20,
                                 .lookback_ms = 300000,
                                 .help = help};
    const nlt_api_request_t req = {.kind = NLT_API_QUERY,
                                   .method = NLT_HTTP_GET,
                                   .suffix = nlt_test_str(ask[0]),
                                   .args = nlt_test_str(ask[1])};
    nlt_api_t *a = NULL;

    NLT_CHECK_INT(nlt_api_create(&fx->env, fx->store, &conf, &req, &a),
                  NLT_OK);
    return a;
}

/* The answer, all of it but the times that it took. */
static nlt_buf_t
answer(fx_t *fx, const char *const ask[2], const nlt_help_t *help,
       uint64_t *given)
{
    nlt_api_t *a = create(fx, ask, help);
    char part[4096];
    nlt_rc_t rc = NLT_AGAIN;
    const char *cut;
    nlt_buf_t b;
    size_t len;

    nlt_buf_init(&b, &nlt_mem_libc, 64u << 20);
    nlt_api_run(a);
    NLT_CHECK_INT(nlt_api_answer(a)->status, 200);
    while (rc == NLT_AGAIN) {
        if (nlt_api_needs_work(a)) {
            nlt_api_more(a);
        }
        rc = nlt_api_render(a, part, sizeof(part), &len);
        nlt_buf_add(&b, part, len);
    }
    NLT_CHECK_INT(rc, NLT_OK);
    *given += nlt_api_answer(a)->help;
    nlt_api_destroy(a);
    cut = memmem(b.data, b.len, "\"timings\":{", 11);
    if (cut != NULL) {
        size_t at = (size_t) (cut - (const char *) b.data), n = 0;

        while (b.data[at + n] != '}') {
            n++;
        }
        memmove(b.data + at, b.data + at + n, b.len - at - n);
        b.len -= n;
    }
    return b;
}

static void
write_all(fx_t *fx, int64_t from_ms, int64_t upto_ms, int64_t step_ms)
{
    for (unsigned no = 0; no < FX_SERIES; no++) {
        for (int64_t t = from_ms + no % 7; t < upto_ms; t += step_ms) {
            NLT_CHECK_INT(fx_write(fx, no, t, (double) (t % 100000) * no),
                          NLT_OK);
        }
    }
}

/* What the writer and a reader of one series do to each other is a matter of
 * store/nlt_store_threads_test.c; here ThreadSanitizer looks at readers. */
#if defined(__SANITIZE_THREAD__)
#define WRITTEN "w"
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define WRITTEN "w"
#endif
#endif
#ifndef WRITTEN
#define WRITTEN "m"
#endif

/* Appends until it is told to end. */
static _Atomic bool ends;

static void *
append(void *arg)
{
    fx_t *fx = arg;
    nlt_ingest_t *in = nlt_store_ingest(fx->store);

    for (int64_t k = 0; !atomic_load(&ends) && k < 200000; k++) {
        char text[16];
        nlt_label_t labels[2] = {{NLT_METRIC_NAME, NLT_STR(WRITTEN)},
                                 {NLT_STR("i"), {0}}};
        nlt_ingest_own_t s = {.labels = {labels, 2},
                              .t_ms = FX_NOW + 1000 + k / FX_SERIES,
                              .v = (double) k};
        nlt_err_t err;

        labels[1].value =
            fx_text(text, sizeof(text), (unsigned) (k % FX_SERIES));
        NLT_CHECK_INT(nlt_ingest_own(in, 0, &s, 1, &err), NLT_OK);
    }
    return NULL;
}

static void
compare(fx_t *fx)
{
    static nlt_test_help_t h;
    uint64_t given = 0, none = 0;
    pthread_t writer;

    atomic_store(&ends, false);
    NLT_CHECK_INT(pthread_create(&writer, NULL, append, fx), 0);
    for (size_t i = 0; i < NLT_COUNT(asked); i++) {
        nlt_buf_t want = answer(fx, asked[i], NULL, &none);

        for (unsigned n = 1; n <= 3; n++) {
            nlt_test_help_init(&h, n);

            nlt_buf_t got = answer(fx, asked[i], &h.help, &given);

            NLT_CHECK(want.len > 60
                      && nlt_str_eq(nlt_buf_str(&want), nlt_buf_str(&got)));
            nlt_test_help_done(&h);
            nlt_buf_deinit(&got);
        }
        nlt_buf_deinit(&want);
    }
    atomic_store(&ends, true);
    (void) pthread_join(writer, NULL);
    NLT_CHECK_INT(none, 0);
    NLT_CHECK(given >= NLT_COUNT(asked));
}

static void
head_and_blocks(bool dense)
{
    fx_t fx;

    fx_init(&fx);
    fx.conf.dense = dense;
    NLT_CHECK(fx_start(&fx));
    write_all(&fx, FX_NOW - 4 * FX_HOUR, FX_NOW - FX_HOUR, 30000);
    compare(&fx);
    NLT_CHECK(fx_flush(&fx));
    compare(&fx);
    write_all(&fx, FX_NOW - FX_HOUR, FX_NOW, 60000);
    write_all(&fx, FX_NOW - 3 * FX_HOUR, FX_NOW - 2 * FX_HOUR, 47000);
    compare(&fx);
    fx_deinit(&fx);
}

static void
head_and_portable_blocks_are_read_by_all(void)
{
    head_and_blocks(false);
}

static void
head_and_dense_blocks_are_read_by_all(void)
{
    head_and_blocks(true);
}

int
main(void)
{
    NLT_TEST(head_and_portable_blocks_are_read_by_all);
    NLT_TEST(head_and_dense_blocks_are_read_by_all);
    return nlt_test_done();
}
