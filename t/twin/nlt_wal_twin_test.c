/*
 * nlt_wal_twin_test.c - random logs, random damage, against a list.
 *
 * The twin is the list of what was committed and where in the file each
 * batch lies.  After damage, every record whose frame was not touched comes
 * back, in order, and nothing else does.
 */
#include <fcntl.h>
#include <unistd.h>

#include "nlt_filenames.h"
#include "nlt_test.h"
#include "nlt_wal_frame.h"

#define RECORDS_MAX 20000
#define FILE_MAX    (4u << 20)

typedef struct {
    size_t off; /* of its frame */
    enum {
        SAMPLE,
        SERIES,
        EXEMPLAR,
        METADATA,
        TENANT
    } kind;
    uint32_t series;
    uint64_t a; /* time, or a hash of the texts */
    uint64_t b; /* bits, or the tenant */
    uint64_t c; /* of exemplars: a hash of the labels */
} record_t;

static struct {
    record_t want[RECORDS_MAX], got[RECORDS_MAX];
    size_t n_want, n_got;
    uint8_t file[FILE_MAX], damaged[FILE_MAX + 65536];
    size_t size;
} m;

static uint8_t store_id[NLT_WAL_ID_BYTES];
static int dir_fd;

static nlt_rc_t
on_series(void *ctx, uint32_t series, uint32_t tenant, nlt_str_t labels)
{
    (void) ctx;
    if (m.n_got < RECORDS_MAX) {
        m.got[m.n_got++] = (record_t){
            0,      SERIES, series, nlt_hash64(labels.data, labels.len, 0),
            tenant, 0};
    }
    return NLT_OK;
}

static nlt_rc_t
on_samples(void *ctx, const nlt_wal_sample_t *s, size_t n)
{
    (void) ctx;
    for (size_t i = 0; i < n && m.n_got < RECORDS_MAX; i++) {
        m.got[m.n_got++] = (record_t){
            0, SAMPLE, s[i].series, (uint64_t) s[i].t_ms, s[i].v_bits, 0};
    }
    return NLT_OK;
}

static record_t
of_exemplar(const nlt_wal_exemplar_t *x)
{
    return (record_t){0,         EXEMPLAR,
                      x->series, (uint64_t) x->t_ms,
                      x->v_bits, nlt_hash64(x->labels.data, x->labels.len, 0)};
}

static record_t
of_metadata(const nlt_wal_metadata_t *x)
{
    return (record_t){0,
                      METADATA,
                      x->type,
                      nlt_hash64(x->name.data, x->name.len, 0),
                      x->tenant + (uint64_t) x->t_ms,
                      nlt_hash64(x->help.data, x->help.len, x->unit.len)};
}

static nlt_rc_t
on_exemplar(void *ctx, const nlt_wal_exemplar_t *x)
{
    (void) ctx;
    if (m.n_got < RECORDS_MAX) {
        m.got[m.n_got++] = of_exemplar(x);
    }
    return NLT_OK;
}

static nlt_rc_t
on_metadata(void *ctx, const nlt_wal_metadata_t *x)
{
    (void) ctx;
    if (m.n_got < RECORDS_MAX) {
        m.got[m.n_got++] = of_metadata(x);
    }
    return NLT_OK;
}

static record_t
of_tenant(uint32_t tenant, nlt_str_t name)
{
    return (record_t){
        0, TENANT, tenant, nlt_hash64(name.data, name.len, 0), name.len, 0};
}

static nlt_rc_t
on_tenant(void *ctx, uint32_t tenant, nlt_str_t name)
{
    (void) ctx;
    if (m.n_got < RECORDS_MAX) {
        m.got[m.n_got++] = of_tenant(tenant, name);
    }
    return NLT_OK;
}

static void
add_side(nlt_wal_t *w, char *text, size_t n_text)
{
    for (size_t i = nlt_test_below(30); i > 0; i--) {
        uint64_t r = nlt_test_rand();
        size_t n = nlt_test_below(n_text / 4);

        if (n > 8) {
            nlt_put_le32(text + nlt_test_below(n - 4), NLT_WAL_MARK);
        }
        if (r % 5 == 0) {
            nlt_str_t name = {n % 128, text};

            nlt_wal_add_tenant(w, 1 + (uint32_t) (r >> 33), name);
            m.want[m.n_want++] = of_tenant(1 + (uint32_t) (r >> 33), name);
        } else if (r & 1) {
            nlt_wal_exemplar_t x = {1 + (uint32_t) (r >> 33),
                                    (int64_t) r,
                                    nlt_test_rand(),
                                    {n, text}};

            nlt_wal_add_exemplar(w, &x);
            m.want[m.n_want++] = of_exemplar(&x);
        } else {
            nlt_wal_metadata_t x = {
                (uint32_t) (r >> 8),       (uint8_t) (r >> 50),
                (int64_t) nlt_test_rand(), {n, text},
                {n / 2, text + n / 2},     {n / 3, text + n / 3}};

            nlt_wal_add_metadata(w, &x);
            m.want[m.n_want++] = of_metadata(&x);
        }
    }
}

static void
add_random_batch(nlt_wal_t *w)
{
    size_t series = nlt_test_below(20), samples = nlt_test_below(400);
    uint32_t no = (uint32_t) nlt_test_below(1000);
    int64_t t = (int64_t) nlt_test_below(1000000);
    char labels[2000];
    nlt_err_t err;
    size_t bytes;

    if (m.n_want + series + samples + 30 > RECORDS_MAX) {
        return;
    }
    nlt_wal_begin(w);
    for (size_t i = 0; i < series; i++) {
        size_t len = nlt_test_below(sizeof(labels));
        uint64_t byte = nlt_test_rand();

        /* Half of them compress; marks of frames occur in them. */
        for (size_t k = 0; k < len; k++) {
            labels[k] = (char) (byte & 1 ? nlt_test_rand() : byte >> 8);
        }
        if (len > 8) {
            nlt_put_le32(labels + nlt_test_below(len - 4), NLT_WAL_MARK);
        }
        no += 1 + (uint32_t) nlt_test_below(3);
        nlt_wal_add_series(w, no, (uint32_t) byte, (nlt_str_t){len, labels});
        m.want[m.n_want++] = (record_t){
            0, SERIES, no, nlt_hash64(labels, len, 0), (uint32_t) byte, 0};
    }
    for (size_t i = 0; i < samples; i++) {
        uint64_t r = nlt_test_rand(), bits = nlt_bits_of((double) (r >> 50));

        no += r % 16 ? 1 : 2;
        t += r % 64 == 1 ? (int64_t) (r >> 40) : 0;
        bits = r & 256 ? bits : nlt_test_rand();
        nlt_wal_add_sample(w, no, t, bits);
        m.want[m.n_want++] = (record_t){0, SAMPLE, no, (uint64_t) t, bits, 0};
    }
    memset(labels, 't', sizeof(labels));
    add_side(w, labels, sizeof(labels));
    NLT_CHECK_INT(nlt_wal_commit(w, &bytes, &err), NLT_OK);
}

/* Gives every wanted record the offset of its frame, from the headers. */
static void
locate(void)
{
    size_t off = 0, k = 0;

    while (off + NLT_WAL_HEADER_LEN <= m.size) {
        uint32_t records = nlt_le32(m.file + off + 12);

        if (m.file[off + 5] != NLT_WAL_HEADER) {
            for (uint32_t i = 0; i < records && k < m.n_want; i++) {
                m.want[k++].off = off;
            }
        }
        off += NLT_WAL_HEADER_LEN + nlt_le32(m.file + off + 8);
    }
    NLT_CHECK_INT(off, m.size);
    NLT_CHECK_INT(k, m.n_want);
}

static void
make_log(uint64_t arena)
{
    char name[NLT_WAL_NAME_SIZE];
    nlt_wal_t *w = NULL;
    nlt_err_t err;
    ssize_t n;

    m.n_want = 0;
    for (size_t i = 0; i < sizeof(store_id); i++) {
        store_id[i] = (uint8_t) nlt_test_rand();
    }
    NLT_CHECK_INT(
        nlt_wal_create(&nlt_env_posix, dir_fd, store_id, arena, 1, &err),
        NLT_OK);
    NLT_CHECK_INT(nlt_wal_open(&nlt_env_posix, dir_fd, arena, &w, &err),
                  NLT_OK);
    for (size_t i = 1 + nlt_test_below(40); i; i--) {
        add_random_batch(w);
    }
    nlt_wal_close(w);
    nlt_wal_name(name, arena);
    int fd = openat(dir_fd, name, O_RDONLY);
    n = read(fd, m.file, FILE_MAX);
    m.size = n > 0 ? (size_t) n : 0;
    close(fd);
    unlinkat(dir_fd, name, 0);
    locate();
}

/* Is frame [off, end) whole at `at`?  What moved up may be as what was there.
 */
static bool
is_whole(size_t size, size_t off, size_t end, size_t at)
{
    return at <= size && end - off <= size - at
           && memcmp(m.damaged + at, m.file + off, end - off) == 0;
}

/* Reads `damaged`; the records of frames in [from, to) are gone, unless chance
 * has left one whole. */
static void
compare(size_t size, size_t from, size_t to)
{
    const nlt_wal_read_cb_t cb = {.series = on_series,
                                  .samples = on_samples,
                                  .exemplar = on_exemplar,
                                  .metadata = on_metadata,
                                  .tenant = on_tenant};
    nlt_wal_stats_t stats;
    nlt_err_t err;
    size_t k = 0;

    m.n_got = 0;
    NLT_CHECK_INT(nlt_wal_read(&nlt_env_posix, m.damaged, size, store_id, &cb,
                               &stats, &err),
                  NLT_OK);
    for (size_t i = 0; i < m.n_want; i++) {
        const record_t *w = &m.want[i];
        size_t end =
            w->off + NLT_WAL_HEADER_LEN + nlt_le32(m.file + w->off + 8);

        if (end > from && w->off < to && !is_whole(size, w->off, end, w->off)
            && !is_whole(size, w->off, end, w->off + size - m.size)) {
            continue;
        }
        if (k >= m.n_got || m.got[k].kind != w->kind
            || m.got[k].series != w->series || m.got[k].a != w->a
            || m.got[k].b != w->b || m.got[k].c != w->c) {
            nlt_test_fail(__FILE__, __LINE__,
                          "an intact record is missing or changed");
            return;
        }
        k++;
    }
    NLT_CHECK_INT(m.n_got, k);
}

static void
intact_logs_come_back_whole(void)
{
    for (uint64_t i = 1; i <= 30; i++) {
        make_log(i);
        memcpy(m.damaged, m.file, m.size);
        compare(m.size, m.size, m.size);
    }
}

static void
truncated_logs_keep_what_is_whole(void)
{
    for (uint64_t i = 1; i <= 30; i++) {
        make_log(i);
        memcpy(m.damaged, m.file, m.size);
        for (unsigned k = 0; k < 20; k++) {
            size_t cut = 56 + nlt_test_below(m.size - 55);

            compare(cut, cut, m.size);
        }
    }
}

static void
flipped_bits_cost_only_their_frame(void)
{
    for (uint64_t i = 1; i <= 30; i++) {
        make_log(i);
        for (unsigned k = 0; k < 20; k++) {
            size_t at = nlt_test_below(m.size);

            memcpy(m.damaged, m.file, m.size);
            m.damaged[at] ^= (uint8_t) (1u << nlt_test_below(8));
            compare(m.size, at, at + 1);
        }
    }
}

/* A range is overwritten, cut out, or garbage is put in: all in the file. */
static void
torn_stretches_cost_only_their_frames(void)
{
    for (uint64_t i = 1; i <= 60; i++) {
        make_log(i);
        for (unsigned k = 0; k < 10; k++) {
            size_t from = nlt_test_below(m.size + 1);
            size_t n = 1 + nlt_test_below(nlt_test_below(2) ? 100 : 65535);
            size_t to = from + n < m.size ? from + n : m.size;

            memcpy(m.damaged, m.file, m.size);
            switch (nlt_test_below(3)) {
            case 0:
                for (size_t b = from; b < to; b++) {
                    m.damaged[b] ^= (uint8_t) (1 + nlt_test_below(255));
                }
                compare(m.size, from, to);
                break;
            case 1:
                memmove(m.damaged + from, m.file + to, m.size - to);
                compare(m.size - (to - from), from, to);
                break;
            default:
                for (size_t b = 0; b < n; b++) {
                    m.damaged[from + b] = (uint8_t) nlt_test_rand();
                }
                memcpy(m.damaged + from + n, m.file + from, m.size - from);
                /* Only a frame around `from` is cut in two. */
                compare(m.size + n, from, from);
            }
        }
    }
}

int
main(void)
{
    char dir[] = "/tmp/nlt-wal-twin-XXXXXX";

    (void) nlt_test_seed();
    if (mkdtemp(dir) == NULL || (dir_fd = open(dir, O_DIRECTORY)) < 0) {
        perror("mkdtemp");
        return 1;
    }
    NLT_TEST(intact_logs_come_back_whole);
    NLT_TEST(truncated_logs_keep_what_is_whole);
    NLT_TEST(flipped_bits_cost_only_their_frame);
    NLT_TEST(torn_stretches_cost_only_their_frames);
    return rmdir(dir) != 0 || nlt_test_done();
}
