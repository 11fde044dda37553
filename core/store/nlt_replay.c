/*
 * nlt_replay.c - one log, read into the active arena and logged again.
 */
#include "nlt_replay.h"

#include <errno.h>
#include <fcntl.h>

#include "nlt_bytes.h"
#include "nlt_filenames.h"
#include "nlt_guard.h"
#include "nlt_limits.h"

#define BATCH        512
#define UNLOGGED_MAX 512
#define SEG_BITS     12
#define SEG_LEN      (1u << SEG_BITS)
#define SEG_MAX      NLT_SERIES_SEG_MAX
#define KEEP_MAX     ((size_t) 4 << 30)
#define SCRATCH_MAX  (4u << 20)

/* A label set of the log, kept only when one arena is not enough. */
typedef struct {
    uint32_t tenant;
    uint32_t len;
    char bytes[];
} kept_t;

typedef struct {
    const nlt_replay_conf_t *conf;
    nlt_replay_stats_t *stats;
    nlt_err_t *err;
    nlt_arena_t *arena; /* active */
    nlt_wal_t *wal;     /* its log */
    nlt_pool_t pool;    /* maps and kept label sets */
    nlt_pool_t scratch; /* labels of the series in hand */
    bool keep;
    bool fresh;     /* nothing was put into this arena yet */
    uint32_t **no;  /* [segment][index]: number in the arena, or 0 */
    kept_t ***kept; /* the same of label sets; NULL unless keep */
    uint64_t seen;  /* samples of the log handled in this pass */
    uint64_t skip;  /* samples handled by the passes before */
    uint32_t unlogged[UNLOGGED_MAX]; /* series records in the batch */
    size_t n_unlogged;
    nlt_head_sample_t batch[BATCH];
    uint32_t origin[BATCH]; /* index of the log's sample */
} replay_t;

/* ---- labels ---- */

static size_t
count_labels(nlt_reader_t r)
{
    size_t n = 0;

    while (nlt_reader_left(&r) > 0 && !r.failed) {
        (void) nlt_read_u8(&r);
        (void) nlt_read_uvarint_str(&r);
        n++;
    }
    return r.failed ? SIZE_MAX : n;
}

nlt_rc_t
nlt_replay_labels(nlt_str_t canonical, nlt_pool_t *pool, nlt_labels_t *out)
{
    nlt_reader_t r = nlt_reader(canonical.data, canonical.len);
    size_t n = count_labels(r);
    nlt_label_t *v;

    if (n == SIZE_MAX || canonical.len > NLT_SERIES_BYTES_MAX) {
        return NLT_EDATA;
    }
    v = nlt_pool_array(pool, n, sizeof(*v));
    if (v == NULL) {
        return NLT_ENOMEM;
    }
    for (size_t i = 0; i < n; i++) {
        uint8_t tag = nlt_read_u8(&r);
        nlt_str_t inner = nlt_read_uvarint_str(&r);
        nlt_reader_t l = nlt_reader(inner.data, inner.len);
        uint8_t name_tag = nlt_read_u8(&l), value_tag;

        v[i].name = nlt_read_uvarint_str(&l);
        value_tag = nlt_read_u8(&l);
        v[i].value = nlt_read_uvarint_str(&l);
        if (r.failed || l.failed || nlt_reader_left(&l) > 0 || tag != 0x0a
            || name_tag != 0x0a || value_tag != 0x12 || v[i].name.len == 0
            || v[i].value.len == 0
            || (i > 0 && nlt_str_cmp(v[i - 1].name, v[i].name) >= 0)) {
            return NLT_EDATA;
        }
    }
    *out = (nlt_labels_t){v, n};
    return NLT_OK;
}

/* ---- maps from series of the log ---- */

static void **
map_seg(replay_t *r, void **map, uint32_t series, size_t size)
{
    size_t seg = series >> SEG_BITS;

    if (map[seg] == NULL) {
        map[seg] = nlt_pool_zalloc(&r->pool, SEG_LEN * size);
    }
    return map[seg] ? &map[seg] : NULL;
}

static uint32_t *
map_no(replay_t *r, uint32_t series)
{
    void **seg = map_seg(r, (void **) r->no, series, sizeof(uint32_t));

    return seg ? (uint32_t *) *seg + (series & (SEG_LEN - 1)) : NULL;
}

static kept_t **
map_kept(replay_t *r, uint32_t series)
{
    void **seg = map_seg(r, (void **) r->kept, series, sizeof(kept_t *));

    return seg ? (kept_t **) *seg + (series & (SEG_LEN - 1)) : NULL;
}

static nlt_rc_t
no_memory(replay_t *r)
{
    return nlt_err_set(r->err, NLT_ENOMEM, "replay: no memory");
}

/* ---- the log of the active arena ---- */

/* Writes what is batched; only then are its series records "logged". */
static nlt_rc_t
commit(replay_t *r)
{
    size_t bytes = 0;
    nlt_rc_t rc = nlt_wal_commit(r->wal, &bytes, r->err);

    if (rc == NLT_EIO) {
        nlt_head_fail_log(nlt_head_ctl(r->conf->head), nlt_wal_arena(r->wal));
    }
    if (rc != NLT_OK) {
        /* EFULL would be mistaken for a full arena. */
        return rc == NLT_EFULL ? NLT_EIO : rc;
    }
    for (size_t i = 0; i < r->n_unlogged; i++) {
        nlt_arena_series_set_logged(r->arena, r->unlogged[i]);
    }
    r->n_unlogged = 0;
    nlt_wal_begin(r->wal);
    return NLT_OK;
}

/* Takes the active arena and opens its log. */
static nlt_rc_t
begin_arena(replay_t *r)
{
    nlt_rc_t rc;

    r->arena = nlt_head_active(r->conf->head);
    if (r->arena == NULL) {
        return nlt_err_set(r->err, NLT_EBUG, "replay: no active arena");
    }
    rc = nlt_wal_open(r->conf->env, r->conf->wal_fd, nlt_arena_no(r->arena),
                      &r->wal, r->err);
    if (rc != NLT_OK) {
        r->wal = NULL;
        return rc;
    }
    nlt_wal_begin(r->wal);
    r->n_unlogged = 0;
    r->fresh = true;
    for (size_t i = 0; i < SEG_MAX; i++) {
        if (r->no[i] != NULL) {
            memset(r->no[i], 0, SEG_LEN * sizeof(uint32_t));
        }
    }
    return NLT_OK;
}

static nlt_rc_t
end_arena(replay_t *r)
{
    nlt_rc_t rc;

    if (r->wal == NULL) {
        return NLT_OK;
    }
    rc = commit(r);
    if (rc == NLT_OK) {
        rc = nlt_wal_sync(r->wal, r->err);
        if (rc != NLT_OK) {
            nlt_head_fail_log(nlt_head_ctl(r->conf->head),
                              nlt_wal_arena(r->wal));
        }
    }
    nlt_wal_close(r->wal);
    r->wal = NULL;
    return rc;
}

static nlt_rc_t
next_arena(replay_t *r)
{
    bool fresh = r->fresh;
    nlt_rc_t rc = end_arena(r);

    if (rc != NLT_OK) {
        return rc;
    }
    if (fresh && r->stats->arenas > 0) {
        return nlt_err_set(r->err, NLT_EFULL,
                           "replay: an empty arena is too small; raise "
                           "memory=");
    }
    rc = r->conf->make_room(r->conf->ctx, r->err);
    if (rc != NLT_OK) {
        return rc == NLT_EFULL ? NLT_EIO : rc;
    }
    r->stats->arenas++;
    return begin_arena(r);
}

/* ---- callbacks of the reader ---- */

/*
 * Finds or makes the series in the active arena and puts its record into the
 * batch.  *no is 0 when the bytes are no label set.
 */
static nlt_rc_t
take_series(replay_t *r, uint32_t tenant, nlt_str_t canonical, uint32_t *no)
{
    nlt_pool_mark_t mark = nlt_pool_mark(&r->scratch);
    nlt_hash128_t key = nlt_head_key(nlt_head_ctl(r->conf->head), tenant,
                                     canonical.data, canonical.len);
    nlt_labels_t labels;
    nlt_rc_t rc = nlt_replay_labels(canonical, &r->scratch, &labels);

    *no = 0;
    if (rc == NLT_EDATA) {
        r->stats->dropped_series++;
        return NLT_OK;
    }
    if (rc == NLT_OK) {
        *no = nlt_arena_find(r->arena, key);
        if (*no == 0) {
            rc = nlt_arena_register(r->arena, tenant, labels, key, key, no);
        }
    }
    nlt_pool_rewind(&r->scratch, mark);
    if (rc != NLT_OK) {
        *no = 0;
        return rc == NLT_ENOMEM ? no_memory(r) : rc;
    }
    if (nlt_arena_series_logged(r->arena, *no)) {
        return NLT_OK;
    }
    if (r->n_unlogged == UNLOGGED_MAX) {
        rc = commit(r);
        if (rc != NLT_OK) {
            return rc;
        }
    }
    nlt_wal_add_series(r->wal, *no, tenant, canonical);
    r->unlogged[r->n_unlogged++] = *no;
    return NLT_OK;
}

static nlt_rc_t
series_cb(void *ctx, uint32_t series, uint32_t tenant, nlt_str_t canonical)
{
    replay_t *r = ctx;
    uint32_t *no;

    if (series == 0 || series >> SEG_BITS >= SEG_MAX) {
        r->stats->dropped_series++;
        return NLT_OK;
    }
    no = map_no(r, series);
    if (no == NULL) {
        return no_memory(r);
    }
    if (!r->keep) {
        return take_series(r, tenant, canonical, no);
    }
    kept_t **kept = map_kept(r, series);
    kept_t *k = nlt_pool_alloc(&r->pool, sizeof(*k) + canonical.len);

    if (kept == NULL || k == NULL) {
        return no_memory(r);
    }
    k->tenant = tenant;
    k->len = (uint32_t) canonical.len;
    if (canonical.len > 0) {
        memcpy(k->bytes, canonical.data, canonical.len);
    }
    *kept = k;
    return NLT_OK;
}

/* Number in the active arena, 0 when the series is unknown. */
static nlt_rc_t
resolve(replay_t *r, uint32_t series, uint32_t *out)
{
    kept_t *k;

    *out = 0;
    if (series >> SEG_BITS >= SEG_MAX || r->no[series >> SEG_BITS] == NULL) {
        return NLT_OK;
    }
    uint32_t *no = &r->no[series >> SEG_BITS][series & (SEG_LEN - 1)];

    if (*no == 0 && r->keep && r->kept[series >> SEG_BITS] != NULL) {
        k = r->kept[series >> SEG_BITS][series & (SEG_LEN - 1)];
        if (k != NULL) {
            nlt_str_t canonical = {k->len, k->bytes};
            nlt_rc_t rc = take_series(r, k->tenant, canonical, no);

            if (rc != NLT_OK) {
                return rc;
            }
        }
    }
    *out = *no;
    return NLT_OK;
}

/* Logs the first n of the batch, which are applied. */
static nlt_rc_t
log_batch(replay_t *r, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const nlt_head_sample_t *s = &r->batch[i];

        if (s->result != NLT_APPEND_CONFLICT) {
            nlt_wal_add_sample(r->wal, s->series, s->t_ms, s->v_bits);
        }
    }
    if (n > 0) {
        r->fresh = false;
        atomic_fetch_add(
            &nlt_head_ctl(r->conf->head)->counters.replayed_samples, n);
    }
    return commit(r);
}

/*
 * Applies and logs up to BATCH of n samples; *taken are done.  NLT_EFULL:
 * the arena is full, the rest goes into the next one.
 */
static nlt_rc_t
put(replay_t *r, const nlt_wal_sample_t *s, size_t n, size_t *taken)
{
    size_t n_batch = 0, done = 0, i;
    nlt_rc_t resolved = NLT_OK, appended = NLT_OK, rc;

    *taken = 0;
    for (i = 0; i < n && n_batch < BATCH; i++) {
        uint32_t no;

        resolved = resolve(r, s[i].series, &no);
        if (resolved != NLT_OK) {
            break;
        }
        if (no == 0) {
            r->stats->dropped_samples++;
            continue;
        }
        r->batch[n_batch] = (nlt_head_sample_t){
            .series = no, .t_ms = s[i].t_ms, .v_bits = s[i].v_bits};
        r->origin[n_batch++] = (uint32_t) i;
    }
    if (resolved != NLT_OK && resolved != NLT_EFULL) {
        return resolved;
    }
    if (n_batch > 0) {
        appended = nlt_arena_append(r->arena, r->batch, n_batch, &done);
    }
    rc = log_batch(r, done);
    if (rc != NLT_OK) {
        return rc;
    }
    *taken = done < n_batch ? r->origin[done] : i;
    return appended != NLT_OK ? appended : resolved;
}

static nlt_rc_t
samples_cb(void *ctx, const nlt_wal_sample_t *s, size_t n)
{
    replay_t *r = ctx;
    size_t i = 0;

    if (r->seen < r->skip) {
        uint64_t left = r->skip - r->seen;

        i = left < n ? (size_t) left : n;
        r->seen += i;
    }
    while (i < n) {
        size_t taken;
        nlt_rc_t rc = put(r, s + i, n - i, &taken);

        i += taken;
        r->seen += taken;
        if (rc == NLT_EFULL && r->keep) {
            rc = next_arena(r);
        }
        if (rc != NLT_OK) {
            return rc;
        }
    }
    return NLT_OK;
}

static nlt_rc_t
progress_cb(void *ctx, uint64_t bytes)
{
    replay_t *r = ctx;

    atomic_store(&nlt_head_ctl(r->conf->head)->replay_done,
                 r->conf->done_before + bytes);
    return r->conf->poll ? r->conf->poll(r->conf->ctx) : NLT_OK;
}

/* ---- passes ---- */

/* Not torn: it may be there again, and what is finished is removed. */
static nlt_rc_t
not_given(replay_t *r, const _Atomic uint32_t *hit, nlt_rc_t rc)
{
    return nlt_guard_hit(hit) ? nlt_err_set(
               r->err, NLT_EIO, "the disk does not give all pages of the log")
                              : rc;
}

static nlt_rc_t
poll_cb(void *ctx, uint64_t bytes)
{
    replay_t *r = ctx;

    (void) bytes;
    return r->conf->poll ? r->conf->poll(r->conf->ctx) : NLT_OK;
}

/*
 * Can all of it be read, and by this version?  Asked before anything is
 * appended: a log that fails half way is read again and again, and each time
 * the first half would be logged once more.  The pages are needed anyway.
 */
static nlt_rc_t
check(replay_t *r, const nlt_guard_t *map, const _Atomic uint32_t *hit)
{
    nlt_wal_read_cb_t cb = {r, NULL, NULL, poll_cb};
    nlt_wal_stats_t stats;
    nlt_rc_t rc = nlt_wal_read(r->conf->env, map->p, map->len,
                               r->conf->store_id, &cb, &stats, r->err);

    return not_given(r, hit, rc);
}

/* Reads the log once, as long as it is now; *size is how long it was. */
static nlt_rc_t
pass(replay_t *r, int fd, int64_t *size)
{
    const nlt_env_t *env = r->conf->env;
    nlt_wal_read_cb_t cb = {r, series_cb, samples_cb, progress_cb};
    nlt_wal_stats_t stats = {.bytes = 0};
    _Atomic uint32_t hit = 0;
    nlt_guard_t map;
    nlt_rc_t rc;

    r->seen = 0;
    *size = env->io->size(env->io->ctx, fd);
    if (*size < 0) {
        return nlt_err_set_errno(r->err, NLT_EIO, (int) -*size,
                                 "size of a log");
    }
    if (*size == 0) {
        return NLT_OK;
    }
    rc = nlt_guard_map(&map, fd, (size_t) *size, &hit, r->err);
    if (rc != NLT_OK) {
        return rc;
    }
    rc = check(r, &map, &hit);
    if (rc == NLT_OK) {
        rc = nlt_wal_read(env, map.p, map.len, r->conf->store_id, &cb, &stats,
                          r->err);
        rc = not_given(r, &hit, rc);
    }
    nlt_guard_unmap(&map);
    r->stats->bytes = (uint64_t) *size;
    r->stats->samples = r->seen;
    r->stats->skipped_bytes = stats.skipped_bytes;
    return rc;
}

/* Passes until the log has been read to an end that did not move. */
static nlt_rc_t
passes(replay_t *r, int fd)
{
    const nlt_env_t *env = r->conf->env;

    for (;;) {
        int64_t size;
        nlt_rc_t rc = pass(r, fd, &size);

        r->skip = r->seen > r->skip ? r->seen : r->skip;
        if (rc == NLT_EFULL && !r->keep) {
            r->keep = true;
            rc = next_arena(r);
            if (rc == NLT_OK) {
                continue;
            }
        }
        if (rc != NLT_OK || env->io->size(env->io->ctx, fd) <= size) {
            return rc;
        }
    }
}

static nlt_rc_t
replay_fd(replay_t *r, int fd)
{
    nlt_rc_t rc;

    r->no = nlt_pool_zalloc(&r->pool, SEG_MAX * sizeof(*r->no));
    r->kept = nlt_pool_zalloc(&r->pool, SEG_MAX * sizeof(*r->kept));
    if (r->no == NULL || r->kept == NULL) {
        return no_memory(r);
    }
    rc = begin_arena(r);
    if (rc == NLT_OK) {
        rc = passes(r, fd);
    }
    if (rc == NLT_OK) {
        return end_arena(r);
    }
    if (r->wal != NULL) {
        nlt_wal_close(r->wal);
        r->wal = NULL;
    }
    return rc;
}

nlt_rc_t
nlt_replay_log(const nlt_replay_conf_t *conf, uint64_t arena_no,
               nlt_replay_stats_t *stats, nlt_err_t *err)
{
    const nlt_env_t *env = conf->env;
    char name[NLT_WAL_NAME_SIZE];
    replay_t *r;
    nlt_rc_t rc;
    int fd;

    *stats = (nlt_replay_stats_t){.bytes = 0};
    nlt_wal_name(name, arena_no);
    /* For writing, too, since that is refused for a directory. */
    fd = env->io->open(env->io->ctx, conf->wal_fd, name, O_RDWR | O_NOFOLLOW,
                       0);
    if (fd == -ENOENT) {
        return NLT_OK;
    }
    if (fd == -EISDIR || fd == -ELOOP) {
        return nlt_err_set(err, NLT_EDATA, "log %s is not a file", name);
    }
    if (fd < 0) {
        return nlt_err_set_errno(err, NLT_EIO, -fd, "open log %s", name);
    }
    r = nlt_mem_zalloc(env->mem, sizeof(*r));
    if (r == NULL) {
        (void) env->io->close(env->io->ctx, fd);
        return nlt_err_set(err, NLT_ENOMEM, "replay: no memory");
    }
    r->conf = conf;
    r->stats = stats;
    r->err = err;
    nlt_pool_init(&r->pool, env->mem, KEEP_MAX);
    nlt_pool_init(&r->scratch, env->mem, SCRATCH_MAX);
    rc = replay_fd(r, fd);
    nlt_pool_deinit(&r->scratch);
    nlt_pool_deinit(&r->pool);
    nlt_mem_free(env->mem, r, sizeof(*r));
    (void) env->io->close(env->io->ctx, fd);
    return rc;
}
