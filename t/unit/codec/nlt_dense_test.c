#include "nlt_bytes.h"
#include "nlt_dense.h"
#include "nlt_dense_models.h"
#include "nlt_dense_slow.h"
#include "nlt_hash.h"
#include "nlt_test.h"

#define N NLT_DENSE_SAMPLES_MAX

static nlt_dense_work_t work;
static double v[N], back[N + 1];
static int64_t t[N], t_back[N];
static uint8_t out[32 * N + 4096];

/* Encodes v[0..n); decodes all of it and some parts; the length. */
static size_t
round_trip(size_t n, const char *what)
{
    size_t len = nlt_dense_encode_values(&work, v, n, out);
    uint8_t *exact = malloc(len);
    bool ok = len <= nlt_dense_bytes_max(n);

    if (exact == NULL) {
        abort();
    }
    memcpy(exact, out, len); /* so that a sanitizer sees a read behind it */
    back[n] = 42;
    ok = ok && nlt_dense_decode_values(exact, len, n, 0, n, back) == NLT_OK
         && memcmp(back, v, n * sizeof(*v)) == 0 && back[n] == 42;
    for (int i = 0; ok && i < 6; i++) {
        size_t from = model_rand(n), k = 1 + model_rand(n - from);

        back[k] = 42;
        ok = nlt_dense_decode_values(exact, len, n, from, from + k, back)
                 == NLT_OK
             && memcmp(back, v + from, k * sizeof(*v)) == 0 && back[k] == 42;
    }
    free(exact);
    if (!ok) {
        printf("# %s, %zu values\n", what, n);
    }
    NLT_CHECK(ok);
    return len;
}

static void
every_value_comes_back_with_its_bits(void)
{
    static const size_t sizes[] = {1,   2,   3,    17,   127,  128,  129, 512,
                                   513, 514, 1024, 1025, 1026, 5760, N};

    for (model_t m = 0; m < M_END; m++) {
        for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
            model_values(m, v, sizes[i]);
            round_trip(sizes[i], model_names[m]);
        }
    }
}

static void
mixed_series_come_back(void)
{
    for (int round = 0; round < 400; round++) {
        size_t n = 1 + model_rand(1500);
        model_t a = (model_t) model_rand(M_END);
        model_t b = (model_t) model_rand(M_END);
        size_t rare = 1 + model_rand(200), cut = model_rand(n + 1);

        model_values(a, v, n);
        model_values(b, v + cut, n - cut);
        for (size_t i = 0; i < n; i++) {
            if (model_rand(rare) == 0) {
                v[i] = model_special();
            }
        }
        round_trip(n, model_names[a]);
    }
}

static void
times_come_back_whatever_they_are(void)
{
    for (int round = 0; round < 200; round++) {
        size_t n = 1 + model_rand(3000), len, from = model_rand(n);
        size_t to = from + 1 + model_rand(n - from);

        model_times(t, n);
        if (round % 4 == 1) {
            for (size_t i = n / 2; i < n; i++) {
                t[i] += 3600000;
            }
        }
        for (size_t i = 0; round % 4 == 2 && i < n; i++) {
            t[i] = (int64_t) model_u64();
        }
        for (size_t i = 0; round % 4 == 3 && i < n; i++) {
            t[i] = i % 3 ? INT64_MIN : INT64_MAX;
        }
        len = nlt_dense_encode_times(&work, t, n, out);
        NLT_CHECK(len <= nlt_dense_bytes_max(n));
        NLT_CHECK_INT(nlt_dense_decode_times(out, len, n, 0, n, t_back),
                      NLT_OK);
        NLT_CHECK(memcmp(t, t_back, n * sizeof(*t)) == 0);
        NLT_CHECK_INT(nlt_dense_decode_times(out, len, n, from, to, t_back),
                      NLT_OK);
        NLT_CHECK(memcmp(t + from, t_back, (to - from) * sizeof(*t)) == 0);
    }
}

/* Sizes that the format promises, with room for other random numbers. */
static void
what_is_simple_is_small(void)
{
    size_t n = 5760, sum = 0;

    for (size_t i = 0; i < n; i++) {
        v[i] = 0.25;
    }
    NLT_CHECK(round_trip(n, "constant") <= 8);
    for (size_t i = 0; i < n; i++) {
        v[i] = (double) i * 15 + 7;
    }
    NLT_CHECK(round_trip(n, "line") <= 16);
    for (size_t i = 0; i < n; i++) {
        v[i] = (double) model_rand(1024) / 100;
    }
    NLT_CHECK(round_trip(n, "ten bits") <= n * 10 / 8 + 60);
    for (size_t i = 0; i < n; i++) {
        v[i] = (double) (4096 * model_rand(16));
    }
    NLT_CHECK(round_trip(n, "pages") <= n / 2 + 60);
    for (model_t m = 0; m < M_REALISTIC_END; m++) {
        model_values(m, v, n);
        sum += round_trip(n, model_names[m]);
    }
    NLT_CHECK(sum <= n * M_REALISTIC_END * 5 / 4);
}

/* Of the slow reader, which was written from the page of the format. */
static void
a_second_reader_reads_the_same(void)
{
    static const size_t sizes[] = {1, 2, 64, 65, 130, 514, 1025, 2500};

    for (model_t m = 0; m < M_END; m++) {
        for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
            size_t n = sizes[i], len;
            bool ok;

            model_values(m, v, n);
            v[n / 2] = model_rand(2) ? model_special() : v[n / 2];
            len = nlt_dense_encode_values(&work, v, n, out);
            ok = slow_values(out, len, n, back)
                 && memcmp(v, back, n * sizeof(*v)) == 0;
            if (!ok) {
                printf("# %s, %zu values\n", model_names[m], n);
            }
            NLT_CHECK(ok);
        }
        model_times(t, 2500);
        t[1200] += m % 2 ? 3600000 : 0;
        NLT_CHECK(slow_times(out, nlt_dense_encode_times(&work, t, 2500, out),
                             2500, t_back));
        NLT_CHECK(memcmp(t, t_back, 2500 * sizeof(*t)) == 0);
    }
}

static void
arguments_out_of_range_are_refused(void)
{
    size_t len;

    model_values(M_COUNTER, v, 100);
    len = nlt_dense_encode_values(&work, v, 100, out);
    NLT_CHECK_INT(nlt_dense_decode_values(out, len, 0, 0, 1, back),
                  NLT_EINVAL);
    NLT_CHECK_INT(nlt_dense_decode_values(out, len, N + 1, 0, 1, back),
                  NLT_EINVAL);
    NLT_CHECK_INT(nlt_dense_decode_values(out, len, 100, 5, 5, back),
                  NLT_EINVAL);
    NLT_CHECK_INT(nlt_dense_decode_times(out, len, 100, 0, 101, t),
                  NLT_EINVAL);
}

static void
each_shorter_chunk_is_refused(void)
{
    for (model_t m = 0; m < M_END; m++) {
        size_t len;

        model_values(m, v, 700);
        len = nlt_dense_encode_values(&work, v, 700, out);
        for (size_t k = 0; k < len; k++) {
            uint8_t *p = malloc(k + 1);

            if (p == NULL) {
                abort();
            }
            memcpy(p, out, k);
            NLT_CHECK_INT(nlt_dense_decode_values(p, k, 700, 0, 700, back),
                          NLT_EDATA);
            free(p);
        }
    }
}

/* Whatever comes, nothing is written behind what was asked for. */
static void
damaged_chunks_stay_in_bounds(void)
{
    for (int round = 0; round < 10000; round++) {
        size_t n = 2 + model_rand(1200), len, k, flips = 1 + model_rand(6);
        uint8_t *p;

        if (round % 50 == 0) {
            model_values((model_t) model_rand(M_END), v, n);
        }
        n = round % 50 == 0 ? n : 600;
        len = nlt_dense_encode_values(&work, v, n, out);
        k = model_rand(4) ? len : 1 + model_rand(len);
        p = malloc(k);
        if (p == NULL) {
            abort();
        }
        memcpy(p, out, k);
        for (size_t i = 0; i < flips; i++) {
            p[model_rand(model_rand(2) && k > 24 ? 24 : k)] ^=
                (uint8_t) (1u << model_rand(8));
        }
        back[n] = 42;
        (void) !nlt_dense_decode_values(p, k, n, 0, n, back);
        (void) !nlt_dense_decode_times(p, k, n, n / 2, n, t_back);
        NLT_CHECK(back[n] == 42);
        free(p);
    }
}

/*
 * t/golden/dense-1.hex: a line for each model: number of values, CRC-32C of
 * them as little-endian doubles, chunk.  The files stay as they are for ever;
 * `nlt_dense_test.t --write` shows what this version writes.
 */
#define GOLDEN 600

static void
write_golden(void)
{
    model_state = 1;
    for (model_t m = 0; m < M_END; m++) {
        size_t len;

        model_values(m, v, GOLDEN);
        len = nlt_dense_encode_values(&work, v, GOLDEN, out);
        printf("%d %08x ", GOLDEN, nlt_crc32c(0, v, GOLDEN * sizeof(*v)));
        for (size_t i = 0; i < len; i++) {
            printf("%02x", out[i]);
        }
        printf("\n");
    }
}

static void
golden_chunks_are_read(void)
{
    static char line[65536];
    FILE *f = fopen("t/golden/dense-1.hex", "r");
    int n_lines = 0;

    NLT_CHECK(f != NULL);
    while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
        size_t n, len = 0;
        uint32_t crc;
        char *p;

        if (line[0] == '#') {
            continue;
        }
        n = strtoul(line, &p, 10);
        crc = (uint32_t) strtoul(p, &p, 16);
        for (p++; *p != '\n' && *p != 0; p += 2) {
            char hex[3] = {p[0], p[1], 0};

            out[len++] = (uint8_t) strtoul(hex, NULL, 16);
        }
        NLT_CHECK_INT(nlt_dense_decode_values(out, len, n, 0, n, back),
                      NLT_OK);
        NLT_CHECK_INT(nlt_crc32c(0, back, n * sizeof(*back)), crc);
        n_lines++;
    }
    NLT_CHECK(n_lines >= M_END);
    if (f != NULL) {
        (void) fclose(f);
    }
}

int
main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--write") == 0) {
        write_golden();
        return 0;
    }
    model_state = nlt_test_seed();
    NLT_TEST(golden_chunks_are_read);
    NLT_TEST(every_value_comes_back_with_its_bits);
    NLT_TEST(mixed_series_come_back);
    NLT_TEST(times_come_back_whatever_they_are);
    NLT_TEST(a_second_reader_reads_the_same);
    NLT_TEST(what_is_simple_is_small);
    NLT_TEST(arguments_out_of_range_are_refused);
    NLT_TEST(each_shorter_chunk_is_refused);
    NLT_TEST(damaged_chunks_stay_in_bounds);
    return nlt_test_done();
}
