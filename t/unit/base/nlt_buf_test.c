/* nlt_buf_test.c - buffers, and the byte order of nlt_bytes. */
#include "nlt_buf.h"

#include <stdio.h>

#include "nlt_bytes.h"
#include "nlt_test.h"
#include "nlt_test_mem.h"

static void
what_is_added_is_there(void)
{
    nlt_test_mem_t mem;
    nlt_buf_t b;

    nlt_test_mem_init(&mem, -1);
    nlt_buf_init(&b, &mem.mem, 1 << 20);
    NLT_CHECK_STR(nlt_buf_str(&b), "");
    nlt_buf_add(&b, NULL, 0);
    nlt_buf_add_c(&b, "a");
    nlt_buf_add_str(&b, NLT_STR("bc"));
    nlt_buf_add_byte(&b, ' ');
    nlt_buf_add_u64(&b, 0);
    nlt_buf_add_byte(&b, ' ');
    nlt_buf_add_u64(&b, UINT64_MAX);
    nlt_buf_add_byte(&b, ' ');
    nlt_buf_add_i64(&b, INT64_MIN);
    nlt_buf_addf(&b, " %d %s", 7, "x");
    NLT_CHECK_STR(nlt_buf_str(&b),
                  "abc 0 18446744073709551615 -9223372036854775808 7 x");
    nlt_buf_reset(&b);
    for (int i = 0; i < 300; i++) {
        nlt_buf_addf(&b, "%0300d", i);
    }
    NLT_CHECK_INT(b.len, 300 * 300);
    NLT_CHECK(memcmp(b.data + 299 * 300 + 297, "299", 3) == 0);
    NLT_CHECK_INT(b.rc, NLT_OK);
    nlt_buf_deinit(&b);
    NLT_CHECK_INT(mem.bytes, 0);
}

static void
the_maximum_is_a_maximum(void)
{
    for (size_t max = 0; max < 300; max++) {
        nlt_buf_t b;
        size_t n = 0;

        nlt_buf_init(&b, &nlt_mem_libc, max);
        for (; b.rc == NLT_OK && n < 1000; n++) {
            nlt_buf_add_byte(&b, 'x');
        }
        NLT_CHECK_INT(b.rc, NLT_ETOOBIG);
        NLT_CHECK_INT(b.len, max);
        NLT_CHECK(b.cap <= max);
        nlt_buf_add_byte(&b, 'y');
        NLT_CHECK_INT(b.len, max);
        nlt_buf_reset(&b);
        nlt_buf_addf(&b, "%s", "0123456789");
        NLT_CHECK_INT(b.rc, max > 10 ? NLT_OK : NLT_ETOOBIG);
        nlt_buf_deinit(&b);
        NLT_CHECK(nlt_buf_reserve(&b, SIZE_MAX) == NULL);
        NLT_CHECK_INT(b.rc, NLT_ETOOBIG);
    }
}

static void
a_failed_allocation_is_remembered(void)
{
    nlt_test_mem_t mem;
    nlt_buf_t b;

    nlt_test_mem_init(&mem, 1);
    nlt_buf_init(&b, &mem.mem, 1 << 20);
    nlt_buf_add(&b, "0123456789", 10);
    NLT_CHECK_INT(b.rc, NLT_OK);
    nlt_buf_addf(&b, "%200d", 1);
    NLT_CHECK_INT(b.rc, NLT_ENOMEM);
    nlt_buf_add_c(&b, "x");
    NLT_CHECK_STR(nlt_buf_str(&b), "0123456789");
    nlt_buf_deinit(&b);
    NLT_CHECK_INT(mem.bytes, 0);
}

static void
integers_read_back(void)
{
    nlt_buf_t b;

    (void) nlt_test_seed();
    nlt_buf_init(&b, &nlt_mem_libc, 1 << 20);
    for (int i = 0; i < 20000; i++) {
        uint64_t v = nlt_test_rand() >> nlt_test_below(64);
        int64_t s = (int64_t) (nlt_test_rand() >> nlt_test_below(64));

        s = i & 1 ? s : -s;
        nlt_buf_reset(&b);
        nlt_buf_add_be16(&b, (uint16_t) v);
        nlt_buf_add_be32(&b, (uint32_t) v);
        nlt_buf_add_be64(&b, v);
        nlt_buf_add_le32(&b, (uint32_t) v);
        nlt_buf_add_le64(&b, v);
        nlt_buf_add_uvarint(&b, v);
        nlt_buf_add_varint(&b, s);
        nlt_buf_add_uvarint(&b, 3);
        nlt_buf_add_c(&b, "abc");
        nlt_reader_t r = nlt_reader(b.data, b.len);
        NLT_CHECK_INT(nlt_read_be16(&r), (uint16_t) v);
        NLT_CHECK_INT(nlt_read_be32(&r), (uint32_t) v);
        NLT_CHECK(nlt_read_be64(&r) == v);
        NLT_CHECK_INT(nlt_le32(nlt_read_bytes(&r, 4)), (uint32_t) v);
        NLT_CHECK(nlt_read_le64(&r) == v);
        NLT_CHECK(nlt_read_uvarint(&r) == v);
        NLT_CHECK_INT(nlt_read_varint(&r), s);
        NLT_CHECK_STR(nlt_read_uvarint_str(&r), "abc");
        NLT_CHECK(!r.failed && nlt_reader_left(&r) == 0);
        NLT_CHECK_INT(nlt_read_u8(&r), 0);
        NLT_CHECK(r.failed);
    }
    nlt_buf_deinit(&b);
}

static void
a_reader_stays_inside(void)
{
    static const uint8_t longest[] = {0xff, 0xff, 0xff, 0xff, 0xff,
                                      0xff, 0xff, 0xff, 0xff, 1};
    static const uint8_t over[] = {0xff, 0xff, 0xff, 0xff, 0xff,
                                   0xff, 0xff, 0xff, 0xff, 2};
    nlt_reader_t r = nlt_reader(longest, sizeof(longest));

    NLT_CHECK(nlt_read_uvarint(&r) == UINT64_MAX && !r.failed);
    r = nlt_reader(over, sizeof(over));
    NLT_CHECK(nlt_read_uvarint(&r) == 0 && r.failed);
    for (size_t n = 0; n < sizeof(longest); n++) {
        r = nlt_reader(longest, n);
        NLT_CHECK(nlt_read_uvarint(&r) == 0 && r.failed);
        NLT_CHECK(nlt_read_u8(&r) == 0);
    }
    r = nlt_reader("\x05"
                   "ab",
                   3);
    NLT_CHECK_INT(nlt_read_uvarint_str(&r).len, 0);
    NLT_CHECK(r.failed);
    r = nlt_reader(NULL, 0);
    NLT_CHECK(nlt_read_be64(&r) == 0 && r.failed);
    NLT_CHECK_INT(nlt_unzigzag(nlt_zigzag(INT64_MIN)), INT64_MIN);
    NLT_CHECK_INT(nlt_zigzag(-1), 1);
}

static void
check_digits(uint64_t v)
{
    char room[NLT_DIGITS_ROOM], want[32];
    unsigned at = nlt_put_digits(room, v);
    int n = snprintf(want, sizeof(want), "%llu", (unsigned long long) v);

    NLT_CHECK_INT(NLT_DIGITS_ROOM - at, n);
    NLT_CHECK(memcmp(room + at, want, (size_t) n) == 0);
}

static void
digits_are_those_of_printf(void)
{
    uint64_t power = 1;

    for (int i = 0; i < 20; i++, power *= 10) {
        for (uint64_t d = 0; d < 12; d++) {
            check_digits(power * d - 1);
            check_digits(power * d);
        }
    }
    check_digits(UINT64_MAX);
    for (int i = 0; i < 20000; i++) {
        check_digits(nlt_test_rand() >> nlt_test_below(64));
    }
}

/* Passing n of them over is reading n of them. */
static void
uvarints_are_passed_over(void)
{
    for (unsigned round = 0; round < 2000; round++) {
        uint8_t p[64 * NLT_UVARINT_BYTES_MAX];
        size_t len = 0, n = nlt_test_below(64), cut;
        nlt_reader_t read, skip;

        for (size_t i = 0; i < n; i++) {
            len += nlt_put_uvarint(p + len,
                                   nlt_test_rand() >> nlt_test_below(64));
        }
        cut = nlt_test_below(8) ? len : nlt_test_below(len + 1);
        n = nlt_test_below(n + 1);
        read = skip = nlt_reader(p, cut);
        for (size_t i = 0; i < n; i++) {
            (void) nlt_read_uvarint(&read);
        }
        nlt_skip_uvarints(&skip, n);
        NLT_CHECK_INT(skip.failed, read.failed);
        NLT_CHECK(skip.failed || skip.p == read.p);
    }
}

int
main(void)
{
    NLT_TEST(what_is_added_is_there);
    NLT_TEST(the_maximum_is_a_maximum);
    NLT_TEST(a_failed_allocation_is_remembered);
    NLT_TEST(integers_read_back);
    NLT_TEST(a_reader_stays_inside);
    NLT_TEST(uvarints_are_passed_over);
    NLT_TEST(digits_are_those_of_printf);
    return nlt_test_done();
}
