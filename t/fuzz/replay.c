/*
 * replay.c - runs a fuzz target over its corpus: the regression form.
 *
 * A target is a file fuzz_NAME.c with LLVMFuzzerTestOneInput(); the same
 * object is linked with libFuzzer (make fuzz) or with this driver (make
 * check), which feeds it every file named on the command line, every prefix
 * of small files, and each file with single bits flipped.  TAP: one test.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define WHOLE_MAX    (8u << 20)
#define MUTATE_MAX   4096
#define MUTATE_EVERY 7 /* bits between flips */

/* A heap block of exactly n bytes, so that ASan sees any overrun. */
static void
run_one(const uint8_t *p, size_t n)
{
    uint8_t *copy = calloc(n ? n : 1, 1);

    if (copy == NULL) {
        abort();
    }
    memcpy(copy, p, n);
    (void) LLVMFuzzerTestOneInput(copy, n);
    free(copy);
}

static size_t
replay(const char *path)
{
    static uint8_t buf[WHOLE_MAX];
    size_t runs = 0;
    FILE *f = fopen(path, "rb");

    if (f == NULL) {
        fprintf(stderr, "# cannot open %s\n", path);
        exit(1);
    }
    size_t n = fread(buf, 1, sizeof(buf), f);
    fclose(f);

    run_one(buf, n);
    runs++;
    if (n > MUTATE_MAX) {
        return runs;
    }
    for (size_t i = 0; i < n; i++, runs++) {
        run_one(buf, i);
    }
    for (size_t bit = 0; bit < n * 8; bit += MUTATE_EVERY, runs++) {
        buf[bit / 8] ^= (uint8_t) (1u << (bit % 8));
        run_one(buf, n);
        buf[bit / 8] ^= (uint8_t) (1u << (bit % 8));
    }
    return runs;
}

int
main(int argc, char **argv)
{
    size_t runs = 0;

    run_one((const uint8_t *) "", 0);
    for (int i = 1; i < argc; i++) {
        runs += replay(argv[i]);
    }
    printf("# %zu runs over %d files\n", runs, argc - 1);
    printf("%s 1 - corpus replayed without a crash\n1..1\n",
           argc > 1 ? "ok" : "not ok");
    return argc > 1 ? 0 : 1;
}
