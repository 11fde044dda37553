/*
 * nlt_xor_many_test.c - streams decoded side by side against each by itself:
 * samples, errors, and how far behind a stream is read.
 *
 * In every form that the processor has; the test says how many those are, and
 * if it is one, both are the same code.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "nlt_bytes.h"
#include "nlt_test.h"
#include "nlt_xor_many.h"

#define N_MAX    1200
#define JOBS_MAX 90
#define GUARD    INT64_C(0x5eed5eed5eed5eed)

/* One stream, that ends NLT_XOR_MANY_PAD bytes before what cannot be read. */
typedef struct {
    uint8_t *map;
    size_t map_len;
    uint8_t *p;
    size_t len;
    uint32_t count;
} stream_t;

static int64_t t_ms[N_MAX];
static double v[N_MAX];

static uint64_t
below(uint64_t n)
{
    return nlt_test_below(n);
}

/* Times a step apart, late now and then, with gaps, seldom far apart. */
static void
make_times(size_t n)
{
    static const int64_t steps[] = {1, 1000, 15000, 60000, 3600000};
    int64_t step = steps[below(NLT_COUNT(steps))], t = 1700000000000;
    uint64_t late = below(3) ? below(40) : 0, jitter = 1 + below(20);
    uint64_t odd = below(4) ? 0 : 1 + below(200);

    if (below(10) == 0) {
        t = (int64_t) below(2) - (int64_t) below(1 << 20);
    }
    for (size_t i = 0; i < n; i++) {
        t_ms[i] = t + (late && below(late) == 0 ? (int64_t) below(jitter) : 0);
        if (i > 0 && t_ms[i] <= t_ms[i - 1]) {
            t_ms[i] = t_ms[i - 1] + 1;
        }
        t = (t > t_ms[i] ? t : t_ms[i]) + step;
        if (odd && below(odd) == 0) {
            t += (int64_t) 1 << below(36);
        }
    }
}

static void
make_values(size_t n)
{
    unsigned kind = (unsigned) below(7);
    double x = 0;

    for (size_t i = 0; i < n; i++) {
        switch (kind) {
        case 0: /* never another */
            break;
        case 1:
            x += (double) below(500);
            break;
        case 2:
            x += (double) below(15000) / 1000;
            break;
        case 3:
            x += below(5) ? 0 : (double) below(40);
            break;
        case 4:
            x = nlt_double_of(nlt_test_rand());
            break;
        case 5:
            x = (double) below(4096) * 4096;
            break;
        default:
            x = below(9) ? x + 0.1 : nlt_double_of(NLT_STALE_NAN_BITS);
        }
        v[i] = x;
    }
}

static void
stream_make(stream_t *s, const uint8_t *data, size_t len, uint32_t count)
{
    size_t page = (size_t) sysconf(_SC_PAGESIZE), need;

    need = (len + NLT_XOR_MANY_PAD + page - 1) / page * page;
    s->map_len = need + page;
    s->map = mmap(NULL, s->map_len, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (s->map == MAP_FAILED
        || mprotect(s->map + need, page, PROT_NONE) != 0) {
        NLT_CHECK(!"no memory");
        exit(1);
    }
    s->p = s->map + need - NLT_XOR_MANY_PAD - len;
    s->len = len;
    s->count = count;
    memcpy(s->p, data, len);
    for (size_t i = 0; i < NLT_XOR_MANY_PAD; i++) {
        s->p[len + i] = (uint8_t) nlt_test_rand(); /* means nothing */
    }
}

/* A stream of n samples; if `broken`, not quite. */
static void
stream_random(stream_t *s, size_t n, bool broken)
{
    static uint8_t chunk[N_MAX * NLT_XOR_SAMPLE_BYTES_MAX + 16];
    uint32_t count = (uint32_t) n;
    size_t len;

    make_times(n);
    make_values(n);
    len = nlt_xor_encode_chunk(t_ms, v, n, below(2) ? 16 : 0, chunk) - 2;
    if (broken) {
        switch (below(4)) {
        case 0:
            len = (size_t) below(len);
            break;
        case 1:
            count += 1 + (uint32_t) below(3);
            break;
        case 2:
            for (size_t i = 0; i < 1 + below(3); i++) {
                chunk[2 + below(len)] ^= (uint8_t) (1 << below(8));
            }
            break;
        default:
            for (size_t i = (size_t) below(len); i < len; i++) {
                chunk[2 + i] = (uint8_t) nlt_test_rand();
            }
        }
    }
    stream_make(s, chunk + 2, len, count);
}

/* Decodes n streams together and each by itself. */
static void
check_form(nlt_xor_form_t form, const stream_t *s, size_t n, unsigned *failed)
{
    static int64_t t1[N_MAX + 8], t[JOBS_MAX * (N_MAX + 8)];
    static double v1[N_MAX + 8], vs[JOBS_MAX * (N_MAX + 8)];
    nlt_xor_job_t job[JOBS_MAX];
    size_t at = 0;

    for (size_t i = 0; i < n; i++) {
        job[i] = (nlt_xor_job_t){.p = s[i].p,
                                 .len = s[i].len,
                                 .count = s[i].count,
                                 .rc = NLT_EBUG,
                                 .t_ms = t + at,
                                 .v = vs + at};
        at += s[i].count;
        t[at] = GUARD; /* until the next one writes here, in any order */
        vs[at++] = nlt_double_of((uint64_t) GUARD);
    }
    nlt_xor_decode_many_by(form, job, n);
    for (size_t i = 0; i < n; i++) {
        size_t bytes = s[i].count * sizeof(*t);
        nlt_rc_t rc = nlt_xor_decode_rising(s[i].p, s[i].len, s[i].count, t1,
                                            v1, NULL, NULL);

        NLT_CHECK_INT(job[i].rc, rc);
        *failed += rc != NLT_OK;
        if (rc == NLT_OK) {
            NLT_CHECK(memcmp(job[i].t_ms, t1, bytes) == 0);
            NLT_CHECK(memcmp(job[i].v, v1, bytes) == 0);
        }
        NLT_CHECK_INT(job[i].t_ms[s[i].count], GUARD);
        NLT_CHECK_BITS(job[i].v[s[i].count], nlt_double_of((uint64_t) GUARD));
    }
}

/* In every form that there is here. */
static void
check(const stream_t *s, size_t n, unsigned *failed)
{
    for (nlt_xor_form_t f = NLT_XOR_ONE; f <= nlt_xor_many_form(); f++) {
        check_form(f, s, n, failed);
    }
    for (size_t i = 0; i < n; i++) {
        munmap(s[i].map, s[i].map_len);
    }
}

static void
together_is_as_one_by_one(void)
{
    unsigned failed = 0;

    for (unsigned round = 0; round < 150; round++) {
        stream_t s[JOBS_MAX];
        size_t n = 1 + below(round % 3 ? JOBS_MAX : 20);
        size_t most = 1 + below(round % 2 ? 60 : N_MAX - 4);

        for (size_t i = 0; i < n; i++) {
            stream_random(&s[i], round % 5 ? 1 + below(most) : most, false);
        }
        check(s, n, &failed);
    }
    NLT_CHECK_INT(failed, 0);
}

static void
broken_streams_spoil_no_others(void)
{
    unsigned failed = 0;

    for (unsigned round = 0; round < 200; round++) {
        stream_t s[JOBS_MAX];
        size_t n = 5 + below(30), part = 1 + below(10);

        for (size_t i = 0; i < n; i++) {
            stream_random(&s[i], 1 + below(300), below(part) == 0);
        }
        check(s, n, &failed);
    }
    NLT_CHECK(failed > 100);
}

/* Bytes of any kind, also those that send a lane the longest way. */
static void
noise_is_refused_the_same_way(void)
{
    unsigned failed = 0;

    for (unsigned round = 0; round < 200; round++) {
        stream_t s[JOBS_MAX];
        size_t n = 5 + below(20);

        for (size_t i = 0; i < n; i++) {
            uint8_t data[400];
            size_t len = below(sizeof(data));

            memset(data, below(2) ? 0xff : (int) below(256), sizeof(data));
            for (size_t k = 0; k < len && round % 2; k++) {
                data[k] = (uint8_t) nlt_test_rand();
            }
            data[0] &= 0x7f;
            if (len > 10) {
                data[9] = 1 + (data[9] & 0x3f); /* a step that rises */
                data[10] &= below(4) ? 0x7f : 0xff;
            }
            stream_make(&s[i], data, len, 2 + (uint32_t) below(600));
        }
        check(s, n, &failed);
    }
    NLT_CHECK(failed > 1000);
}

int
main(void)
{
    (void) nlt_test_seed();
    printf("# forms: %d\n", nlt_xor_many_form() + 1);
    NLT_TEST(together_is_as_one_by_one);
    NLT_TEST(broken_streams_spoil_no_others);
    NLT_TEST(noise_is_refused_the_same_way);
    return nlt_test_done();
}
