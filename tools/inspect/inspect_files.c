/*
 * inspect_files.c - logs and blocks.
 */
#include "inspect.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "nlt_block.h"
#include "nlt_block_owners.h"
#include "nlt_filenames.h"
#include "nlt_retention.h"
#include "nlt_guard.h"
#include "nlt_wal.h"

#define POOL_BYTES    (UINT64_C(4) << 30)
#define TENANTS_SHOWN 16

/* ---- logs ---- */

/* Series numbers that an arena can give. */
#define SERIES_MAX (NLT_SERIES_SEG_MAX << NLT_SERIES_SEG_BITS)

typedef struct {
    uint8_t *known; /* bitmap by series number */
    uint64_t orphans;
    uint64_t too_high;
    uint64_t of_tenants; /* series of others than tenant 0 */
    int64_t t_min_ms;
    int64_t t_max_ms;
} log_t;

static nlt_rc_t
log_series(void *ctx, uint32_t series, uint32_t tenant, nlt_str_t canonical)
{
    log_t *l = ctx;

    (void) canonical;
    l->of_tenants += tenant != 0;
    if (series < SERIES_MAX) {
        l->known[series / 8] |= (uint8_t) (1u << series % 8);
    } else {
        l->too_high++;
    }
    return NLT_OK;
}

static nlt_rc_t
log_samples(void *ctx, const nlt_wal_sample_t *s, size_t n)
{
    log_t *l = ctx;

    for (size_t i = 0; i < n; i++) {
        if (s[i].series >= SERIES_MAX
            || !(l->known[s[i].series / 8] >> s[i].series % 8 & 1)) {
            l->orphans++;
        }
        l->t_min_ms = nlt_min_i64(l->t_min_ms, s[i].t_ms);
        l->t_max_ms = nlt_max_i64(l->t_max_ms, s[i].t_ms);
    }
    return NLT_OK;
}

/* Is the log's arena in the head that a start would go on with? */
static bool
is_in_head(const inspect_t *in, uint64_t arena)
{
    for (size_t i = 0; in->head_lives && i < NLT_HEAD_ARENAS; i++) {
        if (in->head_arenas[i] == arena) {
            return true;
        }
    }
    return false;
}

/* What a start does with the log; nothing is wrong with that. */
static void
log_fate(inspect_t *in, uint64_t arena, const nlt_wal_stats_t *st)
{
    if (!in->has_manifest) {
        return;
    }
    if (nlt_manifest_is_finished(&in->manifest, arena)) {
        inspect_left_over(in, "finished: all of it is in blocks");
        inspect_repair(in, "removes it");
    } else if (is_in_head(in, arena)) {
        printf("  its samples are in the head, too\n");
    } else {
        printf("  would be replayed: %llu samples\n",
               (unsigned long long) st->samples);
    }
}

static void
log_skips(inspect_t *in, const nlt_wal_stats_t *st)
{
    inspect_fault(in, "%llu stretches of %llu bytes do not check out",
                  (unsigned long long) st->skips,
                  (unsigned long long) st->skipped_bytes);
    for (size_t i = 0; i < st->skips && i < NLT_WAL_SKIPS_NOTED; i++) {
        inspect_repair(in, "skips %llu torn bytes at offset %llu",
                       (unsigned long long) st->skip[i].len,
                       (unsigned long long) st->skip[i].off);
    }
}

static void
log_report(inspect_t *in, const log_t *l, const nlt_wal_stats_t *st,
           uint64_t arena)
{
    char range[RANGE_TEXT];

    printf("  %llu bytes: %llu frames, %llu series, %llu samples\n  %s\n",
           (unsigned long long) st->bytes, (unsigned long long) st->frames,
           (unsigned long long) st->series, (unsigned long long) st->samples,
           inspect_range(range, l->t_min_ms, l->t_max_ms));
    if (st->exemplars + st->metadata > 0) {
        printf("  %llu exemplars, %llu metadata\n",
               (unsigned long long) st->exemplars,
               (unsigned long long) st->metadata);
    }
    if (st->tenants > 0) {
        printf("  %llu names of tenants\n", (unsigned long long) st->tenants);
    }
    if (l->of_tenants > 0) {
        printf("  %llu of the series are of tenants other than 0\n",
               (unsigned long long) l->of_tenants);
    }
    log_fate(in, arena, st);
    if (st->skips > 0) {
        log_skips(in, st);
    }
    if (st->arena_no != arena) {
        inspect_fault(in, "its header says arena %llu",
                      (unsigned long long) st->arena_no);
        inspect_repair(in, "nothing: the name counts");
    }
    if (l->orphans > 0 || l->too_high > 0) {
        inspect_fault(in,
                      "%llu samples without a series record, "
                      "%llu series with a number out of range",
                      (unsigned long long) l->orphans,
                      (unsigned long long) l->too_high);
        inspect_repair(in, "replays the others");
    }
}

/* A log that cannot be read at all. */
static void
log_refused(inspect_t *in, const char *name, nlt_rc_t rc, const nlt_err_t *err)
{
    inspect_fault(in, "%s", err->text);
    if (rc == NLT_EVERSION) {
        inspect_no_start(in, "use the version that wrote it");
    } else if (rc == NLT_EDATA) {
        inspect_repair(in, "moves it to " NLT_DIR_QUARANTINE "/%s", name);
    } else if (rc == NLT_EIO) {
        inspect_no_start(in, "tries again until the disk gives it");
    }
}

static void
inspect_log(inspect_t *in, int wal_fd, uint64_t arena)
{
    const nlt_io_t *io = in->env->io;
    char name[NLT_WAL_NAME_SIZE];
    log_t l = {.t_min_ms = INT64_MAX, .t_max_ms = INT64_MIN};
    nlt_wal_read_cb_t cb = {
        .ctx = &l, .series = log_series, .samples = log_samples};
    nlt_wal_stats_t st;
    nlt_err_t err = {.text = ""};
    _Atomic uint32_t hit = 0;
    nlt_guard_t map;
    int64_t size;
    nlt_rc_t rc;
    int fd;

    nlt_wal_name(name, arena);
    printf("log " NLT_DIR_WAL "/%s\n", name);
    in->n_logs++;
    fd = io->open(io->ctx, wal_fd, name, O_RDONLY | O_NOFOLLOW, 0);
    size = fd < 0 ? fd : io->size(io->ctx, fd);
    if (size <= 0) {
        inspect_fault(in, "%s", size < 0 ? strerror((int) -size) : "empty");
        inspect_repair(in, size < 0 ? "tries again" : "removes it");
        goto done;
    }
    rc = nlt_guard_map(&map, fd, (size_t) size, &hit, &err);
    if (rc == NLT_OK) {
        l.known = calloc(SERIES_MAX / 8, 1);
        rc = l.known ? nlt_wal_read(in->env, map.p, map.len, in->dir.store_id,
                                    &cb, &st, &err)
                     : nlt_err_set(&err, NLT_ENOMEM, "out of memory");
        nlt_guard_unmap(&map);
    }
    if (nlt_guard_hit(&hit)) {
        rc = nlt_err_set(&err, NLT_EIO, "the disk does not give all of it");
    }
    if (rc == NLT_OK) {
        log_report(in, &l, &st, arena);
    } else {
        log_refused(in, name, rc, &err);
    }
    free(l.known);

done:
    if (fd >= 0) {
        (void) io->close(io->ctx, fd);
    }
}

void
inspect_logs(inspect_t *in)
{
    int fd = in->dir.wal_fd;
    nlt_err_t err = {.text = ""};
    nlt_pool_t pool;
    uint64_t *arena;
    size_t n;

    nlt_pool_init(&pool, in->env->mem, 64 << 20);
    if (nlt_store_dir_logs(in->env, fd, &pool, &arena, &n, &err) != NLT_OK) {
        inspect_fault(in, NLT_DIR_WAL "/: %s", err.text);
        n = 0;
    }
    for (size_t i = 0; i < n; i++) {
        inspect_log(in, fd, arena[i]);
    }
    nlt_pool_deinit(&pool);
}

/* ---- blocks ---- */

/*
 * What MANIFEST says of a block against what the block says.  Of an imported
 * one it says no arena, and the times that there are samples of.
 */
static void
compare_meta(inspect_t *in, const nlt_block_meta_t *meta, size_t idx)
{
    const nlt_manifest_block_t *b = &in->manifest.blocks[idx];
    bool times =
        b->arena == 0
            ? b->t_min_ms >= meta->t_min_ms && b->t_end_ms <= meta->t_end_ms
            : b->t_min_ms == meta->t_min_ms && b->t_end_ms == meta->t_end_ms
                  && b->arena == meta->arena;

    if (!times || b->n_samples != meta->n_samples
        || b->n_series != meta->n_series || (b->dense != 0) != meta->dense) {
        inspect_fault(in, "meta.json differs from the MANIFEST");
        inspect_repair(in, "nothing: the block is served as it is");
    }
}

/* A fault of a block; idx is n_blocks when the MANIFEST does not name it. */
static void
block_fault(inspect_t *in, const char *name, size_t idx, nlt_rc_t rc,
            const nlt_err_t *err)
{
    const nlt_manifest_t *m = &in->manifest;
    char range[RANGE_TEXT];

    if (idx == m->n_blocks) {
        printf("  not sound: %s\n", err->text);
        return;
    }
    inspect_fault(in, "%s", err->text);
    if (rc == NLT_EDATA) {
        const nlt_manifest_block_t *b = &m->blocks[idx];

        inspect_repair(in,
                       "moves it to " NLT_DIR_QUARANTINE
                       "/%s; %llu samples are missing then: %s",
                       name, (unsigned long long) b->n_samples,
                       inspect_range(range, b->t_min_ms, b->t_end_ms - 1));
    } else if (rc == NLT_EVERSION) {
        inspect_repair(in, "leaves it where it is, and out of answers");
    } else {
        inspect_repair(in, "leaves it out of answers until it is there");
    }
}

/* Who an unnamed block belongs to, and what becomes of it. */
static void
unnamed_block(inspect_t *in, const nlt_block_meta_t *meta)
{
    const nlt_manifest_t *m = &in->manifest;
    nlt_pool_t pool;
    bool ours;

    if (!in->has_manifest) {
        return;
    }
    if (nlt_manifest_find_damaged(m, meta->ulid.c) < m->n_damaged) {
        return; /* said below the manifest */
    }
    nlt_pool_init(&pool, in->env->mem, POOL_BYTES);
    ours = nlt_block_dir_is_ours(in->env, in->dir.blocks_fd, meta->ulid.c,
                                 in->dir.store_id, &pool);
    nlt_pool_deinit(&pool);
    if (ours) {
        inspect_left_over(in, "written, but not named by the MANIFEST");
        inspect_repair(in, "removes it");
    } else {
        printf("  not of this store: would be left alone, not served\n");
    }
}

/* Whose series a block has, if not tenant 0's alone. */
static nlt_rc_t
block_tenants(const nlt_block_t *b, nlt_pool_t *pool, nlt_err_t *err)
{
    uint64_t rest = nlt_block_meta(b)->n_series;
    nlt_block_owner_t *v;
    size_t n;
    nlt_rc_t rc = nlt_block_owners(b, pool, &v, &n, err);

    if (rc != NLT_OK || n == 0) {
        return rc;
    }
    printf("  series by tenant:");
    for (size_t i = 0; i < n; i++) {
        rest -= v[i].n_series;
        if (i < TENANTS_SHOWN) {
            printf(" %u: %zu,", v[i].tenant, v[i].n_series);
        }
    }
    if (n > TENANTS_SHOWN) {
        printf(" .. %zu tenants,", n);
    }
    printf(" 0: %llu\n", (unsigned long long) rest);
    return NLT_OK;
}

static void
inspect_block(inspect_t *in, const char *name, size_t idx)
{
    const nlt_manifest_t *m = &in->manifest;
    char range[RANGE_TEXT];
    nlt_err_t err = {.text = ""};
    nlt_block_t *b;
    nlt_pool_t pool;
    nlt_rc_t rc;

    printf("block " NLT_DIR_BLOCKS "/%s\n", name);
    in->n_blocks++;
    if (idx == m->n_blocks) {
        printf("  not in the MANIFEST: no data of the store\n");
    }
    rc = nlt_block_open(in->env, in->dir.blocks_fd, name, &b, &err);
    if (rc != NLT_OK) {
        block_fault(in, name, idx, rc, &err);
        return;
    }
    const nlt_block_meta_t *meta = nlt_block_meta(b);

    printf("  level %u, arena %llu: %llu series, %llu chunks, %llu samples, "
           "%s\n"
           "  %s\n",
           meta->level, (unsigned long long) meta->arena,
           (unsigned long long) meta->n_series,
           (unsigned long long) meta->n_chunks,
           (unsigned long long) meta->n_samples,
           meta->dense ? "dense" : "portable",
           inspect_range(range, meta->t_min_ms, meta->t_end_ms - 1));
    if (idx < m->n_blocks) {
        compare_meta(in, meta, idx);
    } else {
        unnamed_block(in, meta);
    }
    nlt_pool_init(&pool, in->env->mem, POOL_BYTES);
    rc = block_tenants(b, &pool, &err);
    if (rc == NLT_OK) {
        rc = nlt_block_validate(b, &pool, &err);
    }
    if (rc != NLT_OK) {
        block_fault(in, name, idx, rc, &err);
    }
    nlt_pool_deinit(&pool);
    nlt_block_close(b);
}

/* Was it being made or removed? */
static bool
is_unfinished(const char *name)
{
    const char *suffix = name + NLT_ULID_LEN;

    return strlen(name) > NLT_ULID_LEN
           && nlt_ulid_valid((nlt_str_t){NLT_ULID_LEN, name})
           && (strcmp(suffix, NLT_SUFFIX_BLOCK_TMP) == 0
               || strcmp(suffix, NLT_SUFFIX_BLOCK_GONE) == 0);
}

/* What the MANIFEST does not name: reported, but no data. */
static void
other_block(inspect_t *in, const char *name)
{
    const nlt_manifest_t *m = &in->manifest;

    if (is_unfinished(name)) {
        printf(NLT_DIR_BLOCKS "/%s\n", name);
        inspect_left_over(in, "a block that was being made or removed");
        inspect_repair(in, "removes it");
    } else if (!nlt_ulid_valid((nlt_str_t){strlen(name), name})) {
        printf(NLT_DIR_BLOCKS "/%s\n  not a block\n", name);
    } else if (nlt_manifest_find(m, name) == m->n_blocks) {
        inspect_block(in, name, m->n_blocks);
    }
}

void
inspect_blocks(inspect_t *in)
{
    nlt_pool_t pool;
    const char **names;
    size_t n;

    for (size_t i = 0; i < in->manifest.n_blocks; i++) {
        inspect_block(in, in->manifest.blocks[i].ulid.c, i);
    }
    nlt_pool_init(&pool, in->env->mem, POOL_BYTES);
    n = inspect_list(in, NLT_DIR_BLOCKS, &pool, &names);
    for (size_t i = 0; i < n; i++) {
        other_block(in, names[i]);
    }
    nlt_pool_deinit(&pool);
}
