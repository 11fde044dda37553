/*
 * nlt_ingest_v2_twin_test.c - remote_write 2.0 against a model of sorted
 * arrays.
 *
 * Random requests whose series are good, or wrong in a random way, with
 * samples that are new, repeated, late, in conflict, in the future or too
 * old; now and then of several batches, now and then sealed in the middle.
 * The model knows of each sample whether it is to be taken; after each request
 * status, count and number of faults must be its, and in the end so must head
 * and log.
 */
#include "nlt_test.h"

#include "store/nlt_ingest_fixture.h"
#include "nlt_limits.h"
#include "nlt_rw2_build.h"

#define SERIES  400
#define SAMPLES 300

/* What the store should have of a series. */
typedef struct {
    int64_t t[SAMPLES];
    uint64_t bits[SAMPLES];
    unsigned n;
    int64_t newest; /* of what was committed before this request */
    uint64_t newest_bits;
    uint64_t newest_arena;
    int64_t next; /* newest, this request included */
} model_t;

typedef struct {
    bed_t t;
    rw2b_t b;
    model_t m[SERIES];

    uint64_t arena;
    uint64_t samples; /* of this request: to be taken */
    uint64_t faults;
    uint64_t histograms;

} twin_t;

static unsigned
below(unsigned n)
{
    return (unsigned) nlt_test_below(n);
}

/* Of equal times the first one stays. */
static void
take(twin_t *w, model_t *m, int64_t t_ms, uint64_t bits)
{
    unsigned i = 0;

    w->samples++;
    while (i < m->n && m->t[i] != t_ms) {
        i++;
    }
    if (i == m->n && m->n < SAMPLES) {
        m->t[i] = t_ms;
        m->bits[i] = bits;
        m->n++;
    }
    if (t_ms > m->next) {
        m->next = t_ms;
    }
}

/* One sample of a series whose labels are good, if `good`; steady: no arena is
 * sealed in the middle of the request. */
static void
sample(twin_t *w, model_t *m, bool good, bool steady)
{
    uint64_t bits = nlt_bits_of(below(1000) / 8.0);
    int64_t t_ms = m->next + 1 + below(5);
    bool taken = good, fault = false;

    switch (below(12)) {
    case 0: /* there already */
        if (m->newest) {
            t_ms = m->newest;
            bits = m->newest_bits;
        }
        break;
    case 1: /* conflict with what is committed, there or in the arena before */
        if (m->newest && m->newest_arena + steady >= w->arena) {
            t_ms = m->newest;
            bits = m->newest_bits + 1;
            fault = true;
        }
        break;
    case 2: /* twice in this request, the second one is kept out */
        if (m->next > m->newest) {
            t_ms = m->next;
        }
        break;
    case 3:
        if (steady && m->newest && m->newest_arena == w->arena) {
            t_ms = m->newest - 1 - below(100);
        }
        break;
    case 4:
        t_ms = NOW + NLT_FUTURE_MS_MAX + 1 + below(9);
        fault = true;
        break;
    case 5:
        t_ms = NOW - 86400001 - below(9);
        fault = true;
        break;
    default:
        break;
    }
    rw2b_sample_bits(&w->b, t_ms, bits);
    if (good && fault) {
        w->faults++;
        taken = false;
    }
    if (taken) {
        take(w, m, t_ms, bits);
    }
}

/* References of series no, in random order, wrong in a way if `way` < 5. */
static void
labels(twin_t *w, unsigned no, unsigned way)
{
    char text[32];
    bool flip = below(4) == 0;

    snprintf(text, sizeof(text), "s%u", no);
    if (flip) {
        rw2b_label(&w->b, "no", text);
    }
    if (way != 0) {
        rw2b_label(&w->b, "__name__", way == 1 ? "" : "m");
    }
    if (below(5) == 0) {
        rw2b_label(&w->b, "empty", "");
    }
    if (!flip) {
        rw2b_label(&w->b, "no", text);
    }
    switch (way) {
    case 2:
        rw2b_label(&w->b, "no", "again");
        break;
    case 3:
        rw2b_ref(&w->b, 1);
        break;
    case 4:
        rw2b_ref(&w->b, 1);
        rw2b_ref(&w->b, 1u << 20);
        break;
    default:
        break;
    }
}

/*
 * Is this series in the arena for certain?  An exemplar would carry one over
 * from the arena before, without its samples: then nobody is told any more of
 * a conflict with them.
 */
static bool
is_here(const twin_t *w, const model_t *m, bool steady)
{
    return steady && m->newest && m->newest_arena == w->arena;
}

static void
series(twin_t *w, unsigned no, bool steady)
{
    unsigned way = below(12), n = below(4);
    bool good = way >= 5, valid = below(2);
    model_t *m = &w->m[no];
    bool exemplar = false;
    uint64_t histograms = 0, before = w->samples;

    labels(w, no, way);
    for (unsigned i = 0; i < n; i++) {
        sample(w, m, good, steady);
    }
    if (below(6) == 0) {
        /* Valid ones are one fault in all, others one each. */
        for (unsigned i = below(3); i < 3; i++) {
            histograms++;
            rw2b_histogram(&w->b, 3, valid ? 3 : 2, NOW);
        }
    }
    if (below(3) == 0) {
        rw2b_metadata(&w->b, 1, "help", "unit");
    }
    /* Exemplars without a sample are of a series that is known. */
    if (below(5) == 0 && (w->samples > before || is_here(w, m, steady))) {
        rw2b_exemplar(&w->b, "trace", "x", NOW, 1);
        exemplar = true;
    }
    if (!good) {
        w->faults++;
    } else if (n == 0 && histograms == 0 && !exemplar) {
        w->faults++;
    } else if (histograms) {
        w->faults += valid ? 1 : histograms;
        w->histograms += valid ? histograms : 0;
    }
    rw2b_end(&w->b);
}

/* Faults that the answer has or counts. */
static uint64_t
faults_told(nlt_str_t text)
{
    uint64_t lines = text.len ? 1 : 0, more = 0;
    const char *last = text.data, *end = text.data + text.len;

    for (const char *p = text.data; p < end; p++) {
        if (*p == '\n') {
            lines++;
            last = p + 1;
        }
    }
    if (end - last > 8 && strncmp(last, "and ", 4) == 0) {
        more = strtoull(last + 4, NULL, 10);
        lines--;
    }
    return lines + more;
}

static void
request(twin_t *w)
{
    /* Each series once, so that no batch sees what another one wrote. */
    unsigned n = 1 + below(SERIES), from = below(SERIES), at = 0;
    uint64_t before = w->histograms, arena = w->arena;
    bool rotate = w->arena < 3 && below(6) == 0;

    rw2b_reset(&w->b);
    for (unsigned i = below(50); i > 0; i--) {
        char text[16];

        /* So that numbers differ from request to request. */
        snprintf(text, sizeof(text), "x%u", below(1000));
        (void) rw2b_symbol(&w->b, text);
    }

    w->samples = 0;
    w->faults = 0;

    for (unsigned i = 0; i < n; i++) {
        series(w, (from + i) % SERIES, !rotate);
    }
    if (rotate) {
        at = 1 + below(2);
        /* Large enough for several slices: series without a name. */
        for (unsigned i = 0; i < 30000; i++) {
            rw2b_label(&w->b, "no", "name");
            rw2b_end(&w->b);
            w->faults++;
        }
    }
    (void) send_body_rotating(&w->t, rw2b_snappy(&w->b),
                              rotate ? w->arena + 1 : 0, at);
    if (rotate && w->t.slices >= at) {
        w->arena++;
    }
    NLT_CHECK_INT(w->t.res.status, w->faults ? 400 : 204);
    NLT_CHECK_INT(w->t.res.written_samples, w->samples);
    NLT_CHECK_INT(w->t.res.written_histograms, 0);
    NLT_CHECK_INT(w->t.res.skipped_histograms, w->histograms - before);
    NLT_CHECK_INT(faults_told(w->t.res.text), w->faults);
    for (unsigned i = 0; i < SERIES; i++) {
        model_t *m = &w->m[i];

        if (m->n && m->next > m->newest) {
            m->newest = m->next;
            m->newest_arena = arena; /* perhaps, if it was sealed */
            for (unsigned k = 0; k < m->n; k++) {
                if (m->t[k] == m->newest) {
                    m->newest_bits = m->bits[k];
                }
            }
        }
    }
}

static void
check_head(twin_t *w)
{
    rows_t want = {0}, have = rows_of_head(w->t.head);
    char text[64];

    for (unsigned i = 0; i < SERIES; i++) {
        for (unsigned k = 0; k < w->m[i].n; k++) {
            int len = snprintf(text, sizeof(text),
                               "{__name__=\"m\", no=\"s%u\"}", i);

            row_add(&want, (nlt_str_t){(size_t) len, text}, w->m[i].t[k],
                    w->m[i].bits[k]);
        }
    }
    rows_settle(&want);
    NLT_CHECK(rows_equal(&want, &have));
    NLT_CHECK(have.n > 1000);
    rows_free(&want);
    rows_free(&have);
    check_logged(&w->t, w->arena);
}

static void
random_requests_leave_what_the_model_says(void)
{
    static twin_t w;

    (void) nlt_test_seed();
    for (unsigned scenario = 0; scenario < 12; scenario++) {
        memset(&w, 0, sizeof(w));
        bed_open(&w.t, 2 * NLT_HEAD_MEMORY_MIN);
        w.t.conf.version = 2;
        w.arena = 1;
        rw2b_init(&w.b);
        for (unsigned i = 0; i < SERIES; i++) {
            w.m[i].next = NOW - 100000;
        }
        for (unsigned i = 0; i < 40; i++) {
            request(&w);
        }
        check_head(&w);
        bed_close(&w.t);
        rw2b_free(&w.b);
    }
}

int
main(void)
{
    NLT_TEST(random_requests_leave_what_the_model_says);
    return nlt_test_done();
}
