/*
 * nlt_manifest.c - the manifest as text and in memory.
 */
#include "nlt_manifest.h"

#include "nlt_lines.h"
#include "nlt_num.h"
#include "nlt_tenants.h"

#define FORMAT 3

/* Longest line: a block with ten numbers of 20 digits, and the CRC. */
#define LINE_MAX_BYTES 288

/* Lines with fixed places, before all others; one less before format 3. */
#define HEAD_LINES 5

void
nlt_manifest_init(nlt_manifest_t *m, const nlt_mem_t *mem,
                  const uint8_t *store_id)
{
    *m = (nlt_manifest_t){.mem = mem, .floor = 1, .tenants = 1};
    if (store_id != NULL) {
        memcpy(m->store_id, store_id, sizeof(m->store_id));
    }
}

void
nlt_manifest_deinit(nlt_manifest_t *m)
{
    const nlt_mem_t *mem = m->mem;

    if (mem == NULL) {
        return;
    }
    nlt_mem_free(mem, m->blocks, m->blocks_cap * sizeof(*m->blocks));
    nlt_mem_free(mem, m->finished, m->finished_cap * sizeof(*m->finished));
    nlt_mem_free(mem, m->damaged, m->damaged_cap * sizeof(*m->damaged));
    *m = (nlt_manifest_t){.mem = mem, .floor = 1, .tenants = 1};
}

/* Room for n elements; *cap counts elements. */
static void *
grow(const nlt_mem_t *mem, void *p, size_t *cap, size_t n, size_t size)
{
    size_t want = *cap ? *cap : 16;
    void *q;

    if (n <= *cap) {
        return p;
    }
    while (want < n) {
        want *= 2;
    }
    q = nlt_mem_zalloc(mem, want * size);
    if (q == NULL) {
        return NULL;
    }
    if (p != NULL) {
        memcpy(q, p, *cap * size);
        nlt_mem_free(mem, p, *cap * size);
    }
    *cap = want;
    return q;
}

static nlt_rc_t
reserve_blocks(nlt_manifest_t *m, size_t n)
{
    nlt_manifest_block_t *p;

    if (n > NLT_MANIFEST_BLOCKS_MAX) {
        return NLT_ELIMIT;
    }
    p = grow(m->mem, m->blocks, &m->blocks_cap, n, sizeof(*p));
    if (p == NULL && n > 0) {
        return NLT_ENOMEM;
    }
    m->blocks = p;
    return NLT_OK;
}

static nlt_rc_t
reserve_finished(nlt_manifest_t *m, size_t n)
{
    uint64_t *p;

    if (n > NLT_MANIFEST_FINISHED_MAX) {
        return NLT_ELIMIT;
    }
    p = grow(m->mem, m->finished, &m->finished_cap, n, sizeof(*p));
    if (p == NULL && n > 0) {
        return NLT_ENOMEM;
    }
    m->finished = p;
    return NLT_OK;
}

static nlt_rc_t
reserve_damaged(nlt_manifest_t *m, size_t n)
{
    nlt_manifest_damaged_t *p;

    if (n > NLT_MANIFEST_DAMAGED_MAX) {
        return NLT_ELIMIT;
    }
    p = grow(m->mem, m->damaged, &m->damaged_cap, n, sizeof(*p));
    if (p == NULL && n > 0) {
        return NLT_ENOMEM;
    }
    m->damaged = p;
    return NLT_OK;
}

nlt_rc_t
nlt_manifest_copy(nlt_manifest_t *to, const nlt_manifest_t *from)
{
    nlt_manifest_deinit(to);
    nlt_manifest_init(to, from->mem, from->store_id);
    if (reserve_blocks(to, from->n_blocks) != NLT_OK
        || reserve_finished(to, from->n_finished) != NLT_OK
        || reserve_damaged(to, from->n_damaged) != NLT_OK) {
        nlt_manifest_deinit(to);
        return NLT_ENOMEM;
    }
    to->generation = from->generation;
    to->floor = from->floor;
    to->tenants = from->tenants;
    to->n_blocks = from->n_blocks;
    to->n_finished = from->n_finished;
    to->n_damaged = from->n_damaged;
    if (from->n_blocks > 0) {
        memcpy(to->blocks, from->blocks,
               from->n_blocks * sizeof(*from->blocks));
    }
    if (from->n_finished > 0) {
        memcpy(to->finished, from->finished,
               from->n_finished * sizeof(*from->finished));
    }
    if (from->n_damaged > 0) {
        memcpy(to->damaged, from->damaged,
               from->n_damaged * sizeof(*from->damaged));
    }
    return NLT_OK;
}

static int
block_cmp(const nlt_manifest_block_t *a, const nlt_manifest_block_t *b)
{
    if (a->arena != b->arena) {
        return a->arena < b->arena ? -1 : 1;
    }
    if (a->t_min_ms != b->t_min_ms) {
        return a->t_min_ms < b->t_min_ms ? -1 : 1;
    }
    return strcmp(a->ulid.c, b->ulid.c);
}

size_t
nlt_manifest_find_damaged(const nlt_manifest_t *m, const char *ulid)
{
    size_t i = 0;

    while (i < m->n_damaged && strcmp(m->damaged[i].ulid.c, ulid) != 0) {
        i++;
    }
    return i;
}

nlt_rc_t
nlt_manifest_add_block(nlt_manifest_t *m, const nlt_manifest_block_t *b)
{
    size_t at = m->n_blocks;
    nlt_rc_t rc;

    if (nlt_manifest_find(m, b->ulid.c) < m->n_blocks) {
        return NLT_EDUP;
    }
    rc = reserve_blocks(m, m->n_blocks + 1);
    if (rc != NLT_OK) {
        return rc;
    }
    while (at > 0 && block_cmp(&m->blocks[at - 1], b) > 0) {
        at--;
    }
    memmove(m->blocks + at + 1, m->blocks + at,
            (m->n_blocks - at) * sizeof(*b));
    m->blocks[at] = *b;
    m->n_blocks++;
    at = nlt_manifest_find_damaged(m, b->ulid.c);
    if (at < m->n_damaged) {
        nlt_manifest_remove_damaged(m, at); /* a repaired copy */
    }
    return NLT_OK;
}

void
nlt_manifest_remove_block(nlt_manifest_t *m, size_t idx)
{
    memmove(m->blocks + idx, m->blocks + idx + 1,
            (m->n_blocks - idx - 1) * sizeof(*m->blocks));
    m->n_blocks--;
}

nlt_rc_t
nlt_manifest_add_damaged(nlt_manifest_t *m, const nlt_manifest_damaged_t *d)
{
    nlt_rc_t rc;

    if (nlt_manifest_find_damaged(m, d->ulid.c) < m->n_damaged
        || nlt_manifest_find(m, d->ulid.c) < m->n_blocks) {
        return NLT_EDUP;
    }
    rc = reserve_damaged(m, m->n_damaged + 1);
    if (rc == NLT_OK) {
        m->damaged[m->n_damaged++] = *d;
    }
    return rc;
}

void
nlt_manifest_remove_damaged(nlt_manifest_t *m, size_t idx)
{
    memmove(m->damaged + idx, m->damaged + idx + 1,
            (m->n_damaged - idx - 1) * sizeof(*m->damaged));
    m->n_damaged--;
}

size_t
nlt_manifest_find(const nlt_manifest_t *m, const char *ulid)
{
    size_t i = 0;

    while (i < m->n_blocks && strcmp(m->blocks[i].ulid.c, ulid) != 0) {
        i++;
    }
    return i;
}

bool
nlt_manifest_is_finished(const nlt_manifest_t *m, uint64_t arena)
{
    if (arena < m->floor) {
        return true;
    }
    for (size_t i = 0; i < m->n_finished; i++) {
        if (m->finished[i] == arena) {
            return true;
        }
    }
    return false;
}

/* The floor swallows the finished numbers that it reaches. */
static void
settle(nlt_manifest_t *m)
{
    size_t n = 0;

    while (n < m->n_finished && m->finished[n] <= m->floor) {
        if (m->finished[n] == m->floor) {
            m->floor++;
        }
        n++;
    }
    if (n > 0) {
        memmove(m->finished, m->finished + n,
                (m->n_finished - n) * sizeof(*m->finished));
        m->n_finished -= n;
    }
}

nlt_rc_t
nlt_manifest_finish(nlt_manifest_t *m, uint64_t arena)
{
    size_t at = m->n_finished;
    nlt_rc_t rc;

    if (nlt_manifest_is_finished(m, arena)) {
        return NLT_OK;
    }
    rc = reserve_finished(m, m->n_finished + 1);
    if (rc != NLT_OK) {
        return rc;
    }
    while (at > 0 && m->finished[at - 1] > arena) {
        m->finished[at] = m->finished[at - 1];
        at--;
    }
    m->finished[at] = arena;
    m->n_finished++;
    settle(m);
    return NLT_OK;
}

void
nlt_manifest_raise_floor(nlt_manifest_t *m, uint64_t floor)
{
    if (floor > m->floor) {
        m->floor = floor;
        settle(m);
    }
}

int64_t
nlt_manifest_newest_ms(const nlt_manifest_t *m)
{
    int64_t newest = INT64_MIN;

    for (size_t i = 0; i < m->n_blocks; i++) {
        newest = nlt_max_i64(newest, m->blocks[i].t_end_ms - 1);
    }
    return newest;
}

/* ---- text ---- */

static void
print_block(const nlt_manifest_block_t *b, nlt_buf_t *out)
{
    const uint64_t counts[] = {b->arena,     b->deletes,      b->level,
                               b->n_samples, b->n_histograms, b->n_series,
                               b->bytes,     b->dense};

    nlt_buf_addf(out, "block %s %lld %lld", b->ulid.c, (long long) b->t_min_ms,
                 (long long) b->t_end_ms);
    for (size_t i = 0; i < NLT_COUNT(counts); i++) {
        nlt_buf_addf(out, " %llu", (unsigned long long) counts[i]);
    }
}

void
nlt_manifest_print(const nlt_manifest_t *m, nlt_buf_t *out)
{
    nlt_lines_out_t lines;

    nlt_lines_begin(&lines, out);
    nlt_buf_addf(out, "nightlight-manifest %d", FORMAT);
    nlt_lines_end_line(&lines);
    nlt_buf_add_c(out, "store ");
    nlt_lines_add_hex(out, m->store_id, sizeof(m->store_id));
    nlt_lines_end_line(&lines);
    nlt_buf_addf(out, "generation %llu", (unsigned long long) m->generation);
    nlt_lines_end_line(&lines);
    nlt_buf_addf(out, "floor %llu", (unsigned long long) m->floor);
    nlt_lines_end_line(&lines);
    nlt_buf_addf(out, "tenants %u", m->tenants);
    nlt_lines_end_line(&lines);
    for (size_t i = 0; i < m->n_finished; i++) {
        nlt_buf_addf(out, "finished %llu",
                     (unsigned long long) m->finished[i]);
        nlt_lines_end_line(&lines);
    }
    for (size_t i = 0; i < m->n_blocks; i++) {
        print_block(&m->blocks[i], out);
        nlt_lines_end_line(&lines);
    }
    for (size_t i = 0; i < m->n_damaged; i++) {
        const nlt_manifest_damaged_t *d = &m->damaged[i];

        nlt_buf_addf(out, "damaged %s %lld %lld", d->ulid.c,
                     (long long) d->t_min_ms, (long long) d->t_end_ms);
        nlt_lines_end_line(&lines);
    }
    nlt_lines_finish(&lines);
}

/* What the reader knows while it goes line by line. */
typedef struct {
    nlt_manifest_t *m;
    nlt_lines_in_t in;
    uint64_t format;
} parse_t;

static nlt_rc_t
bad(parse_t *p, const char *what)
{
    return nlt_lines_bad(&p->in, what);
}

/* Name and range of a block, which begin a line about one. */
static bool
parse_range(const nlt_str_t *w, nlt_ulid_t *ulid, int64_t *t_min_ms,
            int64_t *t_end_ms)
{
    if (!nlt_ulid_valid(w[1])) {
        return false;
    }
    memcpy(ulid->c, w[1].data, NLT_ULID_LEN);
    return nlt_num_parse_i64(w[2], t_min_ms)
           && nlt_num_parse_i64(w[3], t_end_ms) && *t_min_ms < *t_end_ms;
}

static nlt_rc_t
parse_block(parse_t *p)
{
    nlt_manifest_block_t b = {.level = 1};
    uint64_t *counts_1[] = {&b.arena, &b.n_samples, &b.n_series, &b.bytes};
    uint64_t *counts_2[] = {&b.arena,     &b.deletes,      &b.level,
                            &b.n_samples, &b.n_histograms, &b.n_series,
                            &b.bytes};
    uint64_t *counts_3[] = {&b.arena,     &b.deletes,      &b.level,
                            &b.n_samples, &b.n_histograms, &b.n_series,
                            &b.bytes,     &b.dense};
    uint64_t **counts = p->format == 1   ? counts_1
                        : p->format == 2 ? counts_2
                                         : counts_3;
    size_t n = p->format == 1   ? NLT_COUNT(counts_1)
               : p->format == 2 ? NLT_COUNT(counts_2)
                                : NLT_COUNT(counts_3);
    const nlt_str_t *w = p->in.word;
    nlt_rc_t rc;

    if (p->in.n_words != 4 + n || !nlt_ulid_valid(w[1])) {
        return bad(p, "not a block");
    }
    if (!parse_range(w, &b.ulid, &b.t_min_ms, &b.t_end_ms)) {
        return bad(p, "a number of the block is wrong");
    }
    for (size_t i = 0; i < n; i++) {
        if (!nlt_lines_count(w[4 + i], counts[i])) {
            return bad(p, "a number of the block is wrong");
        }
    }
    if (b.dense > 1) {
        return bad(p, "the block has a format that is not known");
    }
    rc = nlt_manifest_add_block(p->m, &b);
    if (rc == NLT_EDUP || rc == NLT_ELIMIT) {
        return bad(p, rc == NLT_EDUP ? "the block occurs twice"
                                     : "too many blocks");
    }
    return rc == NLT_OK ? rc : nlt_err_set(p->in.err, rc, "out of memory");
}

static nlt_rc_t
parse_damaged(parse_t *p)
{
    nlt_manifest_damaged_t d = {.t_min_ms = 0};
    nlt_rc_t rc;

    if (p->in.n_words != 4
        || !parse_range(p->in.word, &d.ulid, &d.t_min_ms, &d.t_end_ms)) {
        return bad(p, "not a damaged block");
    }
    rc = nlt_manifest_add_damaged(p->m, &d);
    if (rc == NLT_EDUP || rc == NLT_ELIMIT) {
        return bad(p, rc == NLT_EDUP ? "the damaged block occurs twice"
                                     : "too many damaged blocks");
    }
    return rc == NLT_OK ? rc : nlt_err_set(p->in.err, rc, "out of memory");
}

static nlt_rc_t
parse_finished(parse_t *p)
{
    uint64_t v;
    nlt_rc_t rc;

    if (p->in.n_words != 2 || !nlt_lines_count(p->in.word[1], &v)
        || v < p->m->floor || nlt_manifest_is_finished(p->m, v)) {
        return bad(p, "not a finished arena");
    }
    rc = nlt_manifest_finish(p->m, v);
    if (rc == NLT_ELIMIT) {
        return bad(p, "too many finished arenas");
    }
    return rc == NLT_OK ? rc : nlt_err_set(p->in.err, rc, "out of memory");
}

static uint64_t
head_lines(const parse_t *p)
{
    return p->format < 3 ? HEAD_LINES - 1 : HEAD_LINES;
}

static nlt_rc_t
parse_tenants(parse_t *p)
{
    uint64_t v;

    if (!nlt_lines_is(&p->in, "tenants", 2)
        || !nlt_lines_count(p->in.word[1], &v) || v > NLT_TENANTS_NUMBERS) {
        return bad(p, "not the next number of a tenant");
    }
    p->m->tenants = (uint32_t) v;
    return NLT_OK;
}

/* The first lines have fixed places. */
static nlt_rc_t
parse_head(parse_t *p)
{
    nlt_manifest_t *m = p->m;
    nlt_str_t key = p->in.word[0];
    uint64_t v = 0;

    if (p->in.n_words != 2) {
        return bad(p, "expected two words");
    }
    switch (p->in.n) {
    case 1:
        if (!nlt_str_eq(key, NLT_STR("nightlight-manifest"))
            || !nlt_lines_count(p->in.word[1], &v)) {
            return bad(p, "not a manifest");
        }
        p->format = v;
        m->tenants = 0; /* before format 3 nobody said */
        return v >= 1 && v <= FORMAT
                   ? NLT_OK
                   : nlt_err_set(p->in.err, NLT_EVERSION,
                                 "MANIFEST has format %llu, this program "
                                 "knows formats up to %d",
                                 (unsigned long long) v, FORMAT);
    case 2:
        if (!nlt_str_eq(key, NLT_STR("store"))
            || nlt_lines_hex_len(p->in.word[1]) != sizeof(m->store_id)) {
            return bad(p, "not a store id");
        }
        nlt_lines_hex(p->in.word[1], m->store_id);
        return NLT_OK;
    case 3:
        if (!nlt_str_eq(key, NLT_STR("generation"))
            || !nlt_lines_count(p->in.word[1], &m->generation)) {
            return bad(p, "not a generation");
        }
        return NLT_OK;
    case 5:
        return parse_tenants(p);
    default:
        if (!nlt_str_eq(key, NLT_STR("floor"))
            || !nlt_lines_count(p->in.word[1], &m->floor) || m->floor == 0) {
            return bad(p, "not a floor");
        }
        return NLT_OK;
    }
}

static nlt_rc_t
parse_line(parse_t *p)
{
    nlt_str_t key = p->in.word[0];

    if (p->in.n <= head_lines(p)) {
        return parse_head(p);
    }
    if (nlt_str_eq(key, NLT_STR("block"))) {
        return parse_block(p);
    }
    if (nlt_str_eq(key, NLT_STR("damaged")) && p->format > 1) {
        return parse_damaged(p);
    }
    if (nlt_str_eq(key, NLT_STR("finished"))) {
        return parse_finished(p);
    }
    return bad(p, "unknown record");
}

nlt_rc_t
nlt_manifest_parse(nlt_manifest_t *m, nlt_str_t text, nlt_err_t *err)
{
    parse_t p = {
        .m = m,
        .in = {.name = NLT_MANIFEST_NAME,
               .text = text,
               .line_max = LINE_MAX_BYTES,
               .err = err},
    };
    nlt_rc_t rc;

    nlt_manifest_deinit(m);
    do {
        rc = nlt_lines_next(&p.in);
        if (rc == NLT_OK) {
            rc = parse_line(&p);
        } else if (rc == NLT_EOF && p.in.n <= head_lines(&p)) {
            rc = bad(&p, "cut off");
        }
    } while (rc == NLT_OK);
    if (rc == NLT_EOF) {
        return NLT_OK;
    }
    nlt_manifest_deinit(m);
    return rc;
}

nlt_rc_t
nlt_manifest_load(nlt_manifest_t *m, const nlt_env_t *env, int dir_fd,
                  const uint8_t *store_id, nlt_err_t *err)
{
    nlt_buf_t text;
    nlt_rc_t rc;

    nlt_buf_init(&text, env->mem, NLT_MANIFEST_BYTES_MAX);
    rc = nlt_io_read_file(env->io, dir_fd, NLT_MANIFEST_NAME, &text, err);
    if (rc == NLT_ETOOBIG) {
        rc = nlt_err_set(err, NLT_EDATA, "MANIFEST is longer than %u bytes",
                         NLT_MANIFEST_BYTES_MAX);
    }
    if (rc == NLT_OK) {
        rc = nlt_manifest_parse(m, nlt_buf_str(&text), err);
    }
    nlt_buf_deinit(&text);
    if (rc == NLT_OK && store_id != NULL
        && memcmp(store_id, m->store_id, sizeof(m->store_id)) != 0) {
        nlt_manifest_deinit(m);
        rc = nlt_err_set(err, NLT_EDATA,
                         "MANIFEST belongs to another store than store.id");
    }
    return rc;
}

nlt_rc_t
nlt_manifest_store(nlt_manifest_t *m, const nlt_env_t *env, int dir_fd,
                   nlt_err_t *err)
{
    nlt_buf_t text;
    nlt_rc_t rc;

    m->generation++;
    nlt_buf_init(&text, env->mem, NLT_MANIFEST_BYTES_MAX);
    nlt_manifest_print(m, &text);
    rc = text.rc;
    if (rc != NLT_OK) {
        rc = nlt_err_set(err, rc, "MANIFEST: %s", nlt_rc_text(rc));
    } else {
        rc = nlt_io_replace_file(env->io, dir_fd, NLT_MANIFEST_NAME, text.data,
                                 text.len, err);
    }
    nlt_buf_deinit(&text);
    return rc;
}
