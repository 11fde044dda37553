/*
 * nlt_replay.c - one log, read into the active arena and logged again.
 */
#include "nlt_replay.h"

#include <errno.h>
#include <fcntl.h>

#include "nlt_bytes.h"
#include "nlt_cuts.h"
#include "nlt_exemplars.h"
#include "nlt_filenames.h"
#include "nlt_guard.h"
#include "nlt_limits.h"
#include "nlt_metadata.h"
#include "nlt_tenants.h"

#define BATCH        4096
#define COMMIT       32768 /* samples that one write logs */
#define UNLOGGED_MAX 4096
#define UNNAMED_MAX  1024
#define SEG_BITS     12
#define SEG_LEN      (1u << SEG_BITS)
#define SEG_MAX      NLT_SERIES_SEG_MAX
#define MAPS_MAX     ((size_t) 1 << 30)
#define SCRATCH_MAX  (4u << 20)

/* What is deleted of a series: joined intervals. */
typedef struct {
    size_t n;
    nlt_interval_t v[];
} gone_t;

typedef struct {
    const nlt_replay_conf_t *conf;
    nlt_replay_stats_t *stats;
    nlt_err_t *err;
    nlt_arena_t *arena; /* active */
    nlt_wal_t *wal;     /* its log */
    nlt_pool_t pool;    /* maps */
    nlt_pool_t scratch; /* labels of the series in hand */
    nlt_buf_t canonical;
    nlt_wal_stats_t read;
    nlt_wal_seek_t seek; /* label sets once more, for another arena */
    size_t forgotten;    /* bytes of the log, from its start */
    bool fresh;          /* nothing was put into this arena yet */
    uint32_t **no;       /* [segment][index]: number in the arena, or 0 */
    uint64_t **place;    /* the same: of the series record in the log, or 0 */
    gone_t ***gone;      /* the same: NULL: nothing of it is deleted */
    uint32_t **tenant;   /* likewise by number in the log: that of now */
    nlt_cutter_t cutter;
    uint64_t log_no;
    uint64_t seen;   /* samples of the log handled in this pass */
    uint64_t skip;   /* samples handled by the passes before */
    size_t n_logged; /* samples in the batch of the log */
    uint32_t unlogged[UNLOGGED_MAX]; /* series records in it */
    size_t n_unlogged;
    uint32_t unnamed[UNNAMED_MAX]; /* tenants whose names are in it */
    size_t n_unnamed;
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

/* Is the series beyond what an arena can have? */
static bool
is_beyond(uint32_t series)
{
    return series == 0 || series >> SEG_BITS >= SEG_MAX;
}

/* Room for it in both maps; false: no memory. */
static bool
map_room(replay_t *r, uint32_t series)
{
    size_t seg = series >> SEG_BITS;

    if (r->no[seg] == NULL) {
        r->no[seg] = nlt_pool_zalloc(&r->pool, SEG_LEN * sizeof(**r->no));
        r->place[seg] =
            nlt_pool_zalloc(&r->pool, SEG_LEN * sizeof(**r->place));
    }
    return r->no[seg] != NULL && r->place[seg] != NULL;
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
    for (size_t i = 0; i < r->n_unnamed; i++) {
        nlt_tenants_set_logged(nlt_head_tenants(r->conf->head), r->unnamed[i],
                               nlt_wal_arena(r->wal));
    }
    r->n_unlogged = 0;
    r->n_unnamed = 0;
    r->n_logged = 0;
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
    r->n_unnamed = 0;
    r->n_logged = 0;
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

/* ---- tenants ---- */

#define TENANT_SEG_BITS 10
#define TENANT_SEG_LEN  (1u << TENANT_SEG_BITS)
#define TENANT_SEG_MAX  (NLT_TENANTS_NUMBERS >> TENANT_SEG_BITS)

/* In r->tenant: it was deleted. */
#define TENANT_GONE UINT32_MAX

/*
 * The number that a tenant of the log has now.  0, unless it is 0 itself: its
 * name was lost in a torn stretch, and nobody can say whose its series are.
 */
static uint32_t
tenant_of(const replay_t *r, uint32_t in_log)
{
    const nlt_tenants_t *t = nlt_head_tenants(r->conf->head);
    uint32_t *seg = in_log < NLT_TENANTS_NUMBERS
                        ? r->tenant[in_log >> TENANT_SEG_BITS]
                        : NULL;

    if (seg != NULL && seg[in_log & (TENANT_SEG_LEN - 1)] != 0) {
        return seg[in_log & (TENANT_SEG_LEN - 1)];
    }
    return in_log < atomic_load(&t->hdr->file_next)
                   && nlt_tenants_lives(t, in_log)
               ? in_log
               : 0;
}

/* Its name is in the log of the active arena before what follows. */
static nlt_rc_t
name_tenant(replay_t *r, uint32_t tenant)
{
    const nlt_tenants_t *t = nlt_head_tenants(r->conf->head);
    nlt_rc_t rc = NLT_OK;

    if (nlt_likely(tenant == 0)
        || nlt_tenants_logged(t, tenant, nlt_wal_arena(r->wal))) {
        return NLT_OK;
    }
    for (size_t i = r->n_unnamed; i > 0; i--) {
        if (r->unnamed[i - 1] == tenant) {
            return NLT_OK;
        }
    }
    if (r->n_unnamed == UNNAMED_MAX) {
        rc = commit(r);
    }
    if (rc == NLT_OK) {
        nlt_wal_add_tenant(r->wal, tenant,
                           nlt_tenant_name(nlt_tenants_slot(t, tenant)));
        r->unnamed[r->n_unnamed++] = tenant;
    }
    return rc;
}

static nlt_rc_t
tenant_cb(void *ctx, uint32_t tenant, nlt_str_t name)
{
    replay_t *r = ctx;
    nlt_tenants_t *t = nlt_head_tenants(r->conf->head);
    uint32_t **seg, now;
    nlt_rc_t rc;

    if (tenant >= NLT_TENANTS_NUMBERS) {
        return NLT_OK; /* what is of it is dropped */
    }
    rc = nlt_tenants_replay(t, tenant, name, &now, r->err);
    if (rc == NLT_EDATA) {
        return NLT_OK; /* not a name: likewise */
    }
    if (rc != NLT_OK) {
        return rc == NLT_EFULL ? NLT_EIO : rc; /* not a full arena */
    }
    seg = &r->tenant[tenant >> TENANT_SEG_BITS];
    if (*seg == NULL) {
        *seg = nlt_pool_zalloc(&r->pool, TENANT_SEG_LEN * sizeof(**seg));
    }
    if (*seg == NULL) {
        return no_memory(r);
    }
    (*seg)[tenant & (TENANT_SEG_LEN - 1)] = now != 0 ? now : TENANT_GONE;
    return name_tenant(r, now);
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
    uint32_t now = tenant ? tenant_of(r, tenant) : 0;
    nlt_hash128_t key = nlt_head_key(nlt_head_ctl(r->conf->head), now,
                                     canonical.data, canonical.len);
    nlt_labels_t labels;
    nlt_rc_t rc = nlt_replay_labels(canonical, &r->scratch, &labels);

    *no = 0;
    if (rc == NLT_EDATA || now == TENANT_GONE || (tenant != 0 && now == 0)) {
        nlt_pool_rewind(&r->scratch, mark);
        r->stats->dropped_series++;
        return NLT_OK;
    }
    if (rc == NLT_OK) {
        *no = nlt_arena_find(r->arena, key);
        if (*no == 0) {
            rc = nlt_arena_register(r->arena, now, labels, key, key, no);
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
    rc = name_tenant(r, now);
    if (rc != NLT_OK) {
        return rc;
    }
    nlt_wal_add_series(r->wal, *no, now, canonical);
    r->unlogged[r->n_unlogged++] = *no;
    return NLT_OK;
}

/* What is deleted of series, or NULL. */
static gone_t *
gone_of(const replay_t *r, uint32_t series)
{
    gone_t **seg = is_beyond(series) ? NULL : r->gone[series >> SEG_BITS];

    return seg ? seg[series & (SEG_LEN - 1)] : NULL;
}

static nlt_rc_t
keep_gone(replay_t *r, uint32_t series, const nlt_interval_t *v, size_t n)
{
    gone_t ***seg = &r->gone[series >> SEG_BITS];
    gone_t *g = nlt_pool_alloc(&r->pool, sizeof(*g) + n * sizeof(*v));

    if (*seg == NULL) {
        *seg = nlt_pool_zalloc(&r->pool, SEG_LEN * sizeof(**seg));
    }
    if (g == NULL || *seg == NULL) {
        return no_memory(r);
    }
    g->n = n;
    memcpy(g->v, v, n * sizeof(*v));
    (*seg)[series & (SEG_LEN - 1)] = g;
    return NLT_OK;
}

/* Finds out what is deleted of a series with these labels. */
static nlt_rc_t
find_gone(replay_t *r, uint32_t series, uint32_t tenant, nlt_str_t canonical)
{
    nlt_interval_t v[NLT_DELETES_MAX];
    nlt_pool_mark_t mark = nlt_pool_mark(&r->scratch);
    nlt_labels_t labels;
    size_t n = 0;
    nlt_rc_t rc;

    if (tenant != 0 && tenant_of(r, tenant) == TENANT_GONE) {
        const nlt_interval_t all = {INT64_MIN, INT64_MAX};

        return gone_of(r, series) != NULL ? NLT_OK
                                          : keep_gone(r, series, &all, 1);
    }
    if (r->conf->deletes == NULL || r->conf->deletes->n == 0
        || gone_of(r, series) != NULL) {
        return NLT_OK;
    }
    rc = nlt_replay_labels(canonical, &r->scratch, &labels);
    if (rc == NLT_OK) {
        r->cutter.tenant = tenant;
        rc = nlt_cutter_labels(&r->cutter, r->log_no, labels, v, &n, r->err);
    } else if (rc == NLT_EDATA) {
        rc = NLT_OK; /* whoever takes the series will say so */
    }
    nlt_pool_rewind(&r->scratch, mark);
    if (rc == NLT_OK && n > 0) {
        rc = keep_gone(r, series, v, n);
    }
    return rc == NLT_ENOMEM ? no_memory(r) : rc;
}

static bool
is_deleted(const replay_t *r, const nlt_wal_sample_t *s)
{
    const gone_t *g = gone_of(r, s->series);

    return g != NULL && nlt_intervals_cover(g->v, g->n, s->t_ms, s->t_ms);
}

static nlt_rc_t
series_cb(void *ctx, uint32_t series, uint32_t tenant, nlt_str_t canonical)
{
    replay_t *r = ctx;
    nlt_rc_t rc;

    if (is_beyond(series)) {
        r->stats->dropped_series++;
        return NLT_OK;
    }
    if (!map_room(r, series)) {
        return no_memory(r);
    }
    r->place[series >> SEG_BITS][series & (SEG_LEN - 1)] = r->read.place;
    rc = find_gone(r, series, tenant, canonical);
    if (rc != NLT_OK || gone_of(r, series) != NULL) {
        return rc; /* it comes with its first sample that is not deleted */
    }
    rc = take_series(r, tenant, canonical,
                     &r->no[series >> SEG_BITS][series & (SEG_LEN - 1)]);
    /* A full arena: it comes into the next one with its first sample. */
    return rc == NLT_EFULL ? next_arena(r) : rc;
}

/*
 * Number in the active arena, 0 when the series is unknown.  One that was in
 * an arena before is looked up in the log.
 */
static nlt_rc_t
resolve(replay_t *r, uint32_t series, uint32_t *out)
{
    uint32_t seg = series >> SEG_BITS, tenant, *no;
    nlt_str_t canonical;
    uint64_t place;

    *out = 0;
    if (nlt_unlikely(is_beyond(series) || r->no[seg] == NULL)) {
        return NLT_OK;
    }
    no = &r->no[seg][series & (SEG_LEN - 1)];
    place = r->place[seg][series & (SEG_LEN - 1)];
    if (nlt_unlikely(*no == 0 && place != 0)) {
        nlt_rc_t rc = nlt_wal_series_at(&r->seek, place, &tenant, &canonical);

        /* NLT_EDATA would be another store's log. */
        rc = rc != NLT_OK ? nlt_err_set(r->err, NLT_EIO,
                                        "replay: a series record cannot be "
                                        "read again")
                          : take_series(r, tenant, canonical, no);
        if (rc != NLT_OK) {
            return rc;
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
            r->n_logged++;
        }
    }
    if (n > 0) {
        r->fresh = false;
        atomic_fetch_add(
            &nlt_head_ctl(r->conf->head)->counters.replayed_samples, n);
    }
    return r->n_logged >= COMMIT ? commit(r) : NLT_OK;
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

        if (is_deleted(r, &s[i])) {
            r->stats->deleted_samples++;
            continue;
        }
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
        if (rc == NLT_EFULL) {
            rc = next_arena(r);
        }
        if (rc != NLT_OK) {
            return rc;
        }
    }
    return NLT_OK;
}

/* ---- exemplars and metadata ---- */

static nlt_rc_t
exemplar_cb(void *ctx, const nlt_wal_exemplar_t *x)
{
    replay_t *r = ctx;
    nlt_stash_t *s = nlt_head_exemplars(r->conf->head);
    const nlt_wal_sample_t at = {x->series, x->t_ms, x->v_bits};
    nlt_label_t labels[NLT_EXEMPLAR_LABELS_MAX];
    nlt_wal_exemplar_t put = *x;
    size_t n;
    nlt_rc_t rc;

    r->stats->exemplars++;
    if (s == NULL || is_deleted(r, &at)
        || nlt_exemplar_decode(x->labels, labels, &n) != NLT_OK) {
        return NLT_OK;
    }
    rc = resolve(r, x->series, &put.series);
    if (rc == NLT_EFULL) {
        rc = next_arena(r);
        if (rc == NLT_OK) {
            rc = resolve(r, x->series, &put.series);
        }
    }
    if (rc != NLT_OK || put.series == 0) {
        return rc; /* no such series: its record was torn */
    }
    rc = nlt_exemplars_put(s, r->arena, &put, &r->scratch, &r->canonical);
    if (rc == NLT_OK) {
        nlt_wal_add_exemplar(r->wal, &put);
        r->n_logged++;
    }
    return rc == NLT_ENOMEM ? no_memory(r) : NLT_OK;
}

static nlt_rc_t
metadata_cb(void *ctx, const nlt_wal_metadata_t *m)
{
    replay_t *r = ctx;
    nlt_stash_t *s = nlt_head_metadata(r->conf->head);
    uint32_t now = m->tenant ? tenant_of(r, m->tenant) : 0;
    nlt_metadata_t put = {now, m->type, m->name, m->help, m->unit};
    nlt_wal_metadata_t again = *m;
    nlt_rc_t rc;

    r->stats->metadata++;
    if (now == TENANT_GONE || (now == 0 && m->tenant != 0)) {
        return NLT_OK;
    }
    rc = name_tenant(r, now);
    if (rc != NLT_OK) {
        return rc;
    }
    again.tenant = now;
    if (s != NULL
        && nlt_metadata_replay(s, nlt_head_ctl(r->conf->head)->secret, &put,
                               m->t_ms)
               == NLT_OK) {
        nlt_wal_add_metadata(r->wal, &again);
        r->n_logged++;
    }
    return NLT_OK;
}

/* ---- progress ---- */

/* What has been read leaves our memory, though not the page cache. */
static nlt_rc_t
forget_cb(void *ctx, uint64_t bytes)
{
    replay_t *r = ctx;

    nlt_map_forget(r->seek.data + r->forgotten, (size_t) bytes - r->forgotten);
    r->forgotten = (size_t) bytes;
    return r->conf->poll ? r->conf->poll(r->conf->ctx) : NLT_OK;
}

static nlt_rc_t
progress_cb(void *ctx, uint64_t bytes)
{
    replay_t *r = ctx;

    atomic_store(&nlt_head_ctl(r->conf->head)->replay_done,
                 r->conf->done_before + bytes);
    return forget_cb(ctx, bytes);
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

/*
 * Can all of it be read, and by this version?  Asked before anything is
 * appended: a log that fails half way is read again and again, and each time
 * the first half would be logged once more.  The pages are needed anyway.
 */
static nlt_rc_t
check(replay_t *r, const uint8_t *data, size_t size)
{
    nlt_wal_read_cb_t cb = {.ctx = r, .progress = forget_cb};
    nlt_wal_stats_t stats;

    r->forgotten = 0;
    return nlt_wal_read(r->conf->env, data, size, r->conf->store_id, &cb,
                        &stats, r->err);
}

static nlt_rc_t
read_log(replay_t *r, const uint8_t *data, size_t size)
{
    const nlt_env_t *env = r->conf->env;
    nlt_wal_read_cb_t cb = {r,           series_cb,   samples_cb, progress_cb,
                            exemplar_cb, metadata_cb, tenant_cb};
    nlt_rc_t rc = nlt_wal_seek_begin(&r->seek, env, data, size);

    if (rc != NLT_OK) {
        return no_memory(r);
    }
    r->seen = 0;
    rc = check(r, data, size);
    if (rc == NLT_OK) {
        r->forgotten = 0;
        rc = nlt_wal_read(env, data, size, r->conf->store_id, &cb, &r->read,
                          r->err);
    }
    if (rc == NLT_OK) {
        rc = progress_cb(r, size);
    }
    nlt_wal_seek_end(&r->seek);
    return rc;
}

/* Reads the log once, as long as it is now; *size is how long it was. */
static nlt_rc_t
pass(replay_t *r, int fd, int64_t *size)
{
    const nlt_env_t *env = r->conf->env;
    _Atomic uint32_t hit = 0;
    nlt_guard_t map;
    nlt_rc_t rc;

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
    rc = not_given(r, &hit, read_log(r, map.p, map.len));
    nlt_guard_unmap(&map);
    r->stats->bytes = (uint64_t) *size;
    r->stats->samples = r->seen;
    r->stats->skipped_bytes = r->read.skipped_bytes;
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

        r->skip = r->seen;
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
    r->place = nlt_pool_zalloc(&r->pool, SEG_MAX * sizeof(*r->place));
    r->gone = nlt_pool_zalloc(&r->pool, SEG_MAX * sizeof(*r->gone));
    r->tenant = nlt_pool_zalloc(&r->pool, TENANT_SEG_MAX * sizeof(*r->tenant));
    if (r->no == NULL || r->place == NULL || r->gone == NULL
        || r->tenant == NULL) {
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
    nlt_pool_init(&r->pool, env->mem, MAPS_MAX);
    nlt_pool_init(&r->scratch, env->mem, SCRATCH_MAX);
    nlt_buf_init(&r->canonical, env->mem, NLT_SERIES_BYTES_MAX);
    nlt_cutter_init(&r->cutter, env->mem, conf->deletes, 0);
    r->cutter.lenient = true;
    r->log_no = arena_no;
    rc = replay_fd(r, fd);
    stats->deletes_left =
        conf->deletes != NULL && r->cutter.applied < conf->deletes->last;
    nlt_cutter_deinit(&r->cutter);
    nlt_pool_deinit(&r->scratch);
    nlt_buf_deinit(&r->canonical);
    nlt_pool_deinit(&r->pool);
    nlt_mem_free(env->mem, r, sizeof(*r));
    (void) env->io->close(env->io->ctx, fd);
    return rc;
}
