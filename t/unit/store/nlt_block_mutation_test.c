/*
 * nlt_block_mutation_test.c - a block of somebody else with any bit flipped,
 * any byte replaced, cut anywhere or made longer: the check refuses it, or it
 * serves what it served before.  And without a check, as a block that is in
 * use: what is read is an error or what was there before.
 */
#include "nlt_block_fixture.h"

#include "nlt_hash.h"

static char dir_name[] = "/dev/shm/nlt-block-mutation-XXXXXX";
static int dir_fd;
static nlt_ulid_t ulid;
static nlt_env_t env;

/* A series as it reads: labels, samples, and how reading them went. */
typedef struct {
    nlt_labels_t labels;
    nlt_samples_t samples;
    nlt_rc_t rc;
} row_t;

/* All that a block answers. */
typedef struct {
    nlt_pool_t pool;
    nlt_block_facts_t facts;
    row_t *row;
    size_t n;
    nlt_str_t *names;
    size_t n_names;
    nlt_str_t **values; /* of each name */
    size_t *n_values;
    size_t n_pairs; /* series that were found by a pair, of all pairs */
    bool whole;     /* nothing of it failed */
} dump_t;

static dump_t want;

static void
dump_row(dump_t *d, const nlt_block_t *b, uint32_t id, row_t *r)
{
    nlt_labels_t labels;
    nlt_err_t err;

    r->samples.pool = &d->pool;
    r->rc = nlt_block_labels(b, id, &d->pool, &labels, &err);
    if (r->rc == NLT_OK && !nlt_labels_copy(&d->pool, labels, &r->labels)) {
        r->rc = NLT_ENOMEM;
    }
    if (r->rc == NLT_OK) {
        r->rc = nlt_block_read(b, id, INT64_MIN, INT64_MAX, &r->samples, &err);
    }
    d->whole &= r->rc == NLT_OK;
}

static void
dump_names(dump_t *d, const nlt_block_t *b)
{
    nlt_err_t err;
    nlt_str_t *v;

    d->whole &=
        nlt_block_label_names(b, &d->pool, &v, &d->n_names, &err) == NLT_OK;
    d->names = nlt_pool_array(&d->pool, d->n_names, sizeof(*d->names));
    d->values = nlt_pool_array(&d->pool, d->n_names, sizeof(*d->values));
    d->n_values = nlt_pool_array(&d->pool, d->n_names, sizeof(*d->n_values));
    for (size_t i = 0; i < d->n_names; i++) {
        nlt_str_t *list;

        d->names[i] = nlt_pool_str(&d->pool, v[i]);
        d->whole &= nlt_block_label_values(b, v[i], &d->pool, &list,
                                           &d->n_values[i], &err)
                    == NLT_OK;
        d->values[i] =
            nlt_pool_array(&d->pool, d->n_values[i], sizeof(nlt_str_t));
        for (size_t k = 0; k < d->n_values[i]; k++) {
            nlt_matcher_t m = {NLT_MATCH_EQ, v[i], list[k], NULL};
            uint32_t *id;
            size_t n;

            d->values[i][k] = nlt_pool_str(&d->pool, list[k]);
            if (nlt_block_select(b, &d->pool, &m, 1, &id, &n, &err)
                == NLT_OK) {
                d->n_pairs += n;
            } else {
                d->whole = false;
            }
        }
    }
}

/* Reads all there is; false: it could not be opened. */
static bool
dump_block(dump_t *d, bool check, nlt_rc_t *verdict)
{
    uint32_t *id = NULL;
    nlt_block_t *b;
    nlt_err_t err;

    *d = (dump_t){.whole = true};
    nlt_pool_init(&d->pool, &nlt_mem_libc, 32 << 20);
    *verdict = nlt_block_open(&env, dir_fd, ulid.c, &b, &err);
    if (*verdict != NLT_OK) {
        return false;
    }
    if (check) {
        *verdict = nlt_block_check(b, &d->pool, NULL, NULL, &d->facts, &err);
    }
    if (nlt_block_select(b, &d->pool, NULL, 0, &id, &d->n, &err) != NLT_OK) {
        d->whole = false;
        d->n = 0;
    }
    d->row = nlt_pool_zalloc(&d->pool, d->n * sizeof(*d->row));
    for (size_t i = 0; i < d->n; i++) {
        dump_row(d, b, id[i], &d->row[i]);
    }
    dump_names(d, b);
    nlt_block_close(b);
    return true;
}

static bool
same_row(const row_t *a, const row_t *b)
{
    return nlt_labels_eq(a->labels, b->labels) && a->samples.n == b->samples.n
           && (a->samples.n == 0
               || (memcmp(a->samples.t_ms, b->samples.t_ms,
                          a->samples.n * sizeof(int64_t))
                       == 0
                   && memcmp(a->samples.v, b->samples.v,
                             a->samples.n * sizeof(double))
                          == 0));
}

static bool
same_names(const dump_t *a, const dump_t *b)
{
    bool same = a->n_names == b->n_names;

    for (size_t i = 0; same && i < a->n_names; i++) {
        same = nlt_str_eq(a->names[i], b->names[i])
               && a->n_values[i] == b->n_values[i];
        for (size_t k = 0; same && k < a->n_values[i]; k++) {
            same = nlt_str_eq(a->values[i][k], b->values[i][k]);
        }
    }
    return same;
}

/* Is every series that could be read one of those that were there? */
static bool
nothing_wrong(const dump_t *d)
{
    size_t k = 0;

    for (size_t i = 0; i < d->n; i++) {
        if (d->row[i].rc != NLT_OK) {
            continue;
        }
        while (k < want.n && !same_row(&want.row[k], &d->row[i])) {
            k++;
        }
        if (k == want.n) {
            return false;
        }
    }
    return true;
}

static bool
same_dump(const dump_t *d)
{
    return d->whole && d->n == want.n && d->n_pairs == want.n_pairs
           && nothing_wrong(d) && same_names(d, &want)
           && memcmp(&d->facts, &want.facts, sizeof(want.facts)) == 0;
}

/* ---- files ---- */

typedef struct {
    const char *name;
    nlt_buf_t was;
    size_t n_tried;
    size_t n_harmless; /* passed the check and changed nothing */
} target_t;

/* Puts bytes in place of the file, judges, and counts. */
static void
judge(target_t *t, const char *what, size_t at, const void *p, size_t n)
{
    dump_t d;
    nlt_rc_t verdict;

    bx_put(dir_fd, &ulid, t->name, p, n);
    t->n_tried++;
    if (dump_block(&d, true, &verdict)) {
        if (verdict == NLT_OK) {
            t->n_harmless++;
            if (!same_dump(&d)) {
                printf("# %s, %s at %zu: passes and serves something else\n",
                       t->name, what, at);
                NLT_CHECK(false);
            }
        } else if (!nothing_wrong(&d)) {
            printf("# %s, %s at %zu: would serve a wrong sample\n", t->name,
                   what, at);
            NLT_CHECK(false);
        }
    }
    nlt_pool_deinit(&d.pool);
}

static void
mutate(target_t *t)
{
    nlt_buf_t b;

    nlt_buf_init(&t->was, &nlt_mem_libc, 1 << 20);
    bx_get(dir_fd, &ulid, t->name, &t->was);
    nlt_buf_init(&b, &nlt_mem_libc, 1 << 20);
    nlt_buf_add(&b, t->was.data, t->was.len);
    for (size_t i = 0; i < t->was.len; i++) {
        static const uint8_t others[] = {0x00, 0xff, 0x80, '0', '9'};
        uint8_t was = (uint8_t) b.data[i];

        for (unsigned bit = 0; bit < 8; bit++) {
            b.data[i] = (char) (was ^ 1u << bit);
            judge(t, "flipped bit", i, b.data, b.len);
        }
        for (size_t k = 0; k < NLT_COUNT(others); k++) {
            b.data[i] = (char) others[k];
            if (others[k] != was) {
                judge(t, "other byte", i, b.data, b.len);
            }
        }
        b.data[i] = (char) was;
    }
    for (size_t n = 0; n < t->was.len; n++) {
        judge(t, "cut", n, b.data, n);
    }
    for (size_t n = 1; n <= 20; n++) {
        nlt_buf_add_byte(&b, n < 10 ? 0 : (uint8_t) (n * 37));
        judge(t, "longer", t->was.len + n, b.data, b.len);
    }
    bx_put(dir_fd, &ulid, t->name, t->was.data, t->was.len);
    printf("# %s: %zu bytes, %zu of %zu changes are harmless\n", t->name,
           t->was.len, t->n_harmless, t->n_tried);
    nlt_buf_deinit(&b);
    nlt_buf_deinit(&t->was);
}

static void
make_block(bool dense)
{
    bx_spec_t x = {
        .no = 1 + dense,
        .dense = dense,
        .n = 3,
        .n_samples = 9,
        .t_min_ms = 1700000000000,
        .step_ms = 15000,
        .base = 0.1,
        .n_hist = 1,
    };
    nlt_interval_t gone = {1700000000000, 1700000015000};
    uint32_t *id;
    size_t n;
    nlt_block_t *b;
    nlt_buf_t file;
    nlt_pool_t pool;
    nlt_err_t err;
    nlt_rc_t verdict;

    ulid = bx_write(dir_fd, &x);
    NLT_CHECK_INT(nlt_block_open(&env, dir_fd, ulid.c, &b, &err), NLT_OK);
    nlt_pool_init(&pool, &nlt_mem_libc, 1 << 20);
    NLT_CHECK_INT(nlt_block_select(b, &pool, NULL, 0, &id, &n, &err), NLT_OK);
    nlt_buf_init(&file, &nlt_mem_libc, 1 << 20);
    nlt_tombstones_begin(&file);
    nlt_tombstones_add(&file, id[1], &gone);
    nlt_tombstones_end(&file);
    bx_put(dir_fd, &ulid, "tombstones", file.data, file.len);
    nlt_buf_deinit(&file);
    nlt_pool_deinit(&pool);
    nlt_block_close(b);
    NLT_CHECK(dump_block(&want, true, &verdict));
    NLT_CHECK_INT(verdict, NLT_OK);
    NLT_CHECK(want.whole);
    NLT_CHECK_INT(want.n, 4);
    NLT_CHECK_INT(want.row[0].samples.n, 9);
    NLT_CHECK_INT(want.row[1].samples.n, 7);
    NLT_CHECK_INT(want.row[3].samples.n, 0);
    NLT_CHECK_INT(want.facts.n_histograms, 2);
}

static void
a_changed_index_is_refused_or_harmless(void)
{
    target_t t = {.name = "index"};

    mutate(&t);
    /* Padding before series and lists. */
    NLT_CHECK(t.n_harmless < t.n_tried / 4);
}

static void
a_changed_chunk_file_is_refused_or_harmless(void)
{
    target_t t = {.name = "chunks/000001"};

    mutate(&t);
    NLT_CHECK_INT(t.n_harmless, 3 * 12); /* three zeros behind the version */
}

static void
changed_tombstones_are_refused(void)
{
    target_t t = {.name = "tombstones"};

    mutate(&t);
    NLT_CHECK_INT(t.n_harmless, 0);
}

/* Of a file without a checksum: it says nothing about samples but counts. */
static void
a_changed_meta_is_refused_or_harmless(void)
{
    target_t t = {.name = "meta.json"};

    mutate(&t);
    NLT_CHECK(t.n_harmless > 0);
}

/* ---- with right checksums ---- */

#define SEALS_MAX 64

/* Where checksums are, and of what. */
typedef struct {
    size_t from;
    size_t len; /* the checksum follows */
} seal_t;

static seal_t seals[SEALS_MAX];
static size_t n_seals;

static void
add_seal(size_t from, size_t len)
{
    NLT_CHECK(n_seals < SEALS_MAX);
    seals[n_seals++] = (seal_t){from, len};
}

/* A section: be32 length, content, checksum.  Returns its end. */
static size_t
add_section(const uint8_t *p, size_t off)
{
    add_seal(off + 4, nlt_be32(p + off));
    return off + 8 + nlt_be32(p + off);
}

static void
find_index_seals(const nlt_buf_t *b)
{
    const uint8_t *p = (const uint8_t *) b->data, *toc = p + b->len - 52;
    size_t postings = nlt_be64(toc + 32), table = nlt_be64(toc + 40);

    n_seals = 0;
    add_seal(b->len - 52, 48);
    (void) add_section(p, nlt_be64(toc));
    (void) add_section(p, table);
    for (size_t off = postings; off + 8 < table;) {
        off = nlt_align_u64(add_section(p, off), 4);
    }
    for (size_t off = nlt_align_u64(nlt_be64(toc + 8), 16);
         off + 16 < postings;) {
        nlt_reader_t r = nlt_reader(p + off, postings - off);
        size_t n = nlt_read_uvarint(&r);

        add_seal((size_t) (r.p - p), n);
        off = nlt_align_u64((size_t) (r.p - p) + n + 4, 16);
    }
}

static void
find_chunk_seals(const nlt_buf_t *b)
{
    const uint8_t *p = (const uint8_t *) b->data;

    n_seals = 0;
    for (size_t off = 8; off < b->len;) {
        nlt_reader_t r = nlt_reader(p + off, b->len - off);
        size_t n = nlt_read_uvarint(&r);

        add_seal((size_t) (r.p - p), n + 1);
        off = (size_t) (r.p - p) + n + 5;
    }
}

/* What passed the check is consistent and can be read. */
static bool
is_sound(const dump_t *d)
{
    uint64_t n_floats = 0;
    size_t n_labels = 0;
    bool sound = d->whole && d->n == d->facts.n_series;

    for (size_t i = 0; sound && i < d->n; i++) {
        const nlt_samples_t *s = &d->row[i].samples;

        sound = i == 0
                || nlt_labels_cmp(d->row[i - 1].labels, d->row[i].labels) < 0;
        for (size_t k = 0; sound && k < s->n; k++) {
            sound = s->t_ms[k] >= d->facts.t_min_ms
                    && s->t_ms[k] <= d->facts.t_max_ms
                    && (k == 0 || s->t_ms[k] > s->t_ms[k - 1]);
        }
        n_floats += s->n;
        n_labels += d->row[i].labels.n;
    }
    /* Tombstones hide some.  Each label of a series finds it. */
    return sound && n_floats <= d->facts.n_floats && n_labels == d->n_pairs;
}

static void
sealed_nonsense(const char *file, void (*find)(const nlt_buf_t *b))
{
    nlt_buf_t was, b;
    size_t n_passed = 0;

    nlt_buf_init(&was, &nlt_mem_libc, 1 << 20);
    bx_get(dir_fd, &ulid, file, &was);
    find(&was);
    nlt_buf_init(&b, &nlt_mem_libc, 1 << 20);
    nlt_buf_add(&b, was.data, was.len);
    for (int round = 0; round < 4000; round++) {
        dump_t d;
        nlt_rc_t verdict;

        memcpy(b.data, was.data, was.len);
        for (uint64_t k = 1 + nlt_test_below(3); k > 0; k--) {
            const seal_t *s = &seals[nlt_test_below(n_seals)];
            size_t at = s->from + nlt_test_below(s->len);

            uint64_t with =
                nlt_test_below(2)
                    ? (uint8_t) b.data[at] ^ UINT64_C(1) << nlt_test_below(8)
                    : nlt_test_below(256);

            b.data[at] = (char) with;
        }
        for (size_t i = 0; i < n_seals; i++) {
            uint8_t *p = (uint8_t *) b.data + seals[i].from;

            nlt_put_be32(p + seals[i].len, nlt_crc32c(0, p, seals[i].len));
        }
        bx_put(dir_fd, &ulid, file, b.data, b.len);
        if (dump_block(&d, true, &verdict) && verdict == NLT_OK) {
            n_passed++;
            if (!is_sound(&d)) {
                printf("# round %d of %s passes and is not sound\n", round,
                       file);
                NLT_CHECK(false);
            }
        }
        nlt_pool_deinit(&d.pool);
    }
    printf("# %s: %zu of 4000 pass\n", file, n_passed);
    bx_put(dir_fd, &ulid, file, was.data, was.len);
    nlt_buf_deinit(&b);
    nlt_buf_deinit(&was);
}

static void
what_passes_with_right_checksums_can_be_read(void)
{
    sealed_nonsense("index", find_index_seals);
    sealed_nonsense("chunks/000001", find_chunk_seals);
}

/*
 * The same of a block of dense chunks: first as it is, then with checksums
 * made right.
 */
static void
a_changed_dense_chunk_file_is_refused_or_harmless(void)
{
    target_t t = {.name = "chunks/000001"};

    nlt_pool_deinit(&want.pool);
    (void) !nlt_io_remove_tree(&nlt_io_posix, dir_fd, ulid.c, NULL);
    make_block(true);
    mutate(&t);
    NLT_CHECK_INT(t.n_harmless, 3 * 12);
    sealed_nonsense("chunks/000001", find_chunk_seals);
}

static void
log_nothing(void *ctx, nlt_log_level_t level, const char *text, size_t len)
{
    (void) ctx;
    (void) level;
    (void) text;
    (void) len;
}

int
main(void)
{
    if (mkdtemp(dir_name) == NULL) {
        return 1;
    }
    dir_fd = open(dir_name, O_RDONLY | O_DIRECTORY);
    env = nlt_env_posix;
    env.log = log_nothing;
    make_block(false);
    NLT_TEST(a_changed_index_is_refused_or_harmless);
    NLT_TEST(a_changed_chunk_file_is_refused_or_harmless);
    NLT_TEST(changed_tombstones_are_refused);
    NLT_TEST(a_changed_meta_is_refused_or_harmless);
    NLT_TEST(what_passes_with_right_checksums_can_be_read);
    NLT_TEST(a_changed_dense_chunk_file_is_refused_or_harmless);
    nlt_pool_deinit(&want.pool);
    (void) !nlt_io_remove_tree(&nlt_io_posix, dir_fd, ulid.c, NULL);
    close(dir_fd);
    rmdir(dir_name);
    return nlt_test_done();
}
