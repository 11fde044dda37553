/*
 * fl_story.c - the stories.
 */
#include "fl_story.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "nlt_block.h"
#include "nlt_block_write.h"
#include "nlt_filenames.h"
#include "nlt_hash.h"
#include "nlt_manifest.h"
#include "nlt_xor.h"

#define SECOND_NS INT64_C(1000000000)

void
fl_story_pass(fl_story_t *t, int64_t ms)
{
    t->s.now_ms += ms;
    t->s.mono_ns += 70 * SECOND_NS;
}

void
fl_story_write(fl_story_t *t, unsigned round)
{
    fl_store_t *s = &t->s;
    int64_t now = s->now_ms;

    for (unsigned w = 0; w < FL_WRITERS; w++) {
        for (unsigned k = 0; k < 3; k++) {
            (void) fl_store_write(s, &t->ledger, w, 8 * w, 8,
                                  now - 45000 + 15000 * (int64_t) k);
        }
    }
    (void) fl_store_write(s, &t->ledger, 0, 0, 4, now - 3 * FL_HOUR);
    (void) fl_store_write(s, &t->ledger, 1, 4, 4, now - 40000);
    (void) fl_store_write(s, &t->ledger, 2, 0, 4, now - 45000);
    (void) fl_store_write(s, &t->ledger, 2, 100 + round, 1, now);
}

bool
fl_story_life(fl_story_t *t)
{
    for (unsigned round = 0; round < 3; round++) {
        fl_story_write(t, round);
        fl_store_steps(&t->s, 2);
        if (round != 1) {
            nlt_helper_flush_soon(t->s.helper);
        }
        fl_store_steps(&t->s, 4);
        fl_story_pass(t, 60000);
    }
    fl_story_write(t, 3);
    return true;
}

bool
fl_story_waiting(fl_story_t *t)
{
    bool good = true;

    for (unsigned round = 0; round < 4; round++) {
        fl_post_t p[FL_WRITERS + 2];
        int64_t now = t->s.now_ms;

        for (unsigned w = 0; w < FL_WRITERS; w++) {
            fl_store_post(&t->s, &t->ledger, w, 8 * w + round, 8, now, &p[w]);
        }
        if (round % 2 == 0) {
            nlt_helper_flush_soon(t->s.helper);
        }
        fl_store_steps(&t->s, round);
        /* By then the first ones have two logs. */
        for (unsigned w = 0; w < 2; w++) {
            fl_store_post(&t->s, &t->ledger, w, 60 * w, 4, now + 1000,
                          &p[FL_WRITERS + w]);
        }
        for (unsigned i = 0; i < NLT_COUNT(p); i++) {
            good &= fl_store_finish(&t->s, &t->ledger, &p[i]);
        }
        fl_story_pass(t, 60000);
    }
    return good;
}

bool
fl_story_ageing(fl_story_t *t)
{
    bool good;

    for (unsigned i = 0; i < 3; i++) {
        (void) fl_store_write(&t->s, &t->ledger, i, 0, 12,
                              t->s.now_ms - 15 * FL_DAY
                                  + (int64_t) (i + 1) * FL_HOUR);
    }
    good = fl_store_flush(&t->s);
    for (unsigned round = 0; round < 3; round++) {
        fl_story_pass(t, FL_DAY);
        fl_story_write(t, round);
        fl_store_steps(&t->s, 4);
    }
    fl_story_write(t, 3);
    return good;
}

bool
fl_story_merging(fl_story_t *t)
{
    nlt_head_ctl_t *ctl;

    for (unsigned round = 0; round < 3; round++) {
        /* Of a day that is over, some of it twice. */
        for (unsigned k = 0; k < 3; k++) {
            (void) fl_store_write(&t->s, &t->ledger, k, round, 12,
                                  t->s.now_ms - 3 * FL_DAY
                                      + 1000 * (int64_t) (round + k));
        }
        (void) fl_store_write(&t->s, &t->ledger, 0, 0, 12, t->s.now_ms);
        nlt_helper_flush_soon(t->s.helper);
        fl_store_steps(&t->s, 4);
        fl_story_pass(t, 60000);
    }
    fl_store_steps(&t->s, 6);
    fl_story_write(t, 3);
    ctl = nlt_store_ctl(t->s.store[0]);
    return ctl != NULL && atomic_load(&ctl->counters.compactions) > 0;
}

/* ---- another format ---- */

bool
fl_story_converting(fl_story_t *t)
{
    nlt_head_ctl_t *ctl;
    nlt_err_t err;

    /* Two days that are over, so far apart that nothing is merged. */
    for (unsigned round = 0; round < 2; round++) {
        (void) fl_store_write(&t->s, &t->ledger, 0, round, 12,
                              t->s.now_ms - (3 + 2 * round) * FL_DAY);
        nlt_helper_flush_soon(t->s.helper);
        fl_store_steps(&t->s, 4);
        fl_story_pass(t, 60000);
    }
    fl_store_close(&t->s);
    t->s.conf.dense = !t->s.conf.dense;
    for (unsigned tries = 0; !fl_store_start(&t->s, FL_WRITERS, &err);
         tries++) {
        if (tries == 3) {
            return false;
        }
        fl_store_close(&t->s);
    }
    for (unsigned round = 2; round < 4; round++) {
        fl_story_write(t, round);
        fl_story_pass(t, 60000);
        fl_store_steps(&t->s, 8);
    }
    ctl = nlt_store_ctl(t->s.store[0]);
    return ctl != NULL && atomic_load(&ctl->counters.conversions) > 0;
}

/* ---- deletes ---- */

#define DELETE_MAX 8u

static nlt_rc_t
pause_cb(void *ctx)
{
    fl_story_t *t = ctx;

    fl_store_steps(&t->s, 1);
    /* Who waits has a deadline, too. */
    return ++t->n_pauses > 100 ? NLT_ETIMEOUT : NLT_OK;
}

static nlt_rc_t
poll_cb(void *ctx)
{
    (void) ctx;
    return NLT_OK;
}

/* Samples of n series in a range of time. */
static bool
delete_series(fl_story_t *t, unsigned first, unsigned n, int64_t t_min_ms,
              int64_t t_max_ms)
{
    nlt_store_wait_t wait = {pause_cb, poll_cb, t};
    nlt_matcher_t m[DELETE_MAX][2];
    nlt_delete_set_t sets[DELETE_MAX];
    char text[DELETE_MAX][16];
    nlt_delete_t d = {
        .t_min_ms = t_min_ms, .t_max_ms = t_max_ms, .sets = sets, .n_sets = n};
    size_t from = t->s.disk ? t->s.disk->n : 0;
    nlt_err_t err;

    if (t->s.store[1] == NULL) {
        return false;
    }
    for (unsigned k = 0; k < n; k++) {
        size_t len =
            (size_t) snprintf(text[k], sizeof(text[k]), "%u", first + k);

        m[k][0] =
            (nlt_matcher_t){NLT_MATCH_EQ, NLT_METRIC_NAME, NLT_STR("m"), NULL};
        m[k][1] =
            (nlt_matcher_t){NLT_MATCH_EQ, NLT_STR("i"), {len, text[k]}, NULL};
        sets[k] = (nlt_delete_set_t){m[k], 2};
        fl_ledger_doom(&t->ledger, first + k, t_min_ms, t_max_ms, from);
    }
    t->n_pauses = 0;
    if (nlt_store_delete(t->s.store[1], &d, &wait, &err) != NLT_OK) {
        return false;
    }
    for (unsigned k = 0; k < n; k++) {
        fl_ledger_bury(&t->ledger, first + k, t_min_ms, t_max_ms, from,
                       t->s.disk ? t->s.disk->n : 0);
    }
    return true;
}

bool
fl_story_deleting(fl_story_t *t)
{
    nlt_store_wait_t wait = {pause_cb, poll_cb, t};
    int64_t begin = t->s.now_ms - 4 * FL_HOUR;
    nlt_err_t err;
    bool good;

    fl_story_write(t, 0);
    good = fl_store_flush(&t->s);
    fl_story_write(t, 1);
    /* Of the block, and of the head. */
    good &= delete_series(t, 0, 3, begin, t->s.now_ms);
    good &= delete_series(t, 8, 2, begin, t->s.now_ms - 20000);
    /* Some of it comes back, because it was sent again. */
    (void) fl_store_write(&t->s, &t->ledger, 0, 0, 2, t->s.now_ms - 45000);
    (void) fl_store_write(&t->s, &t->ledger, 1, 8, 4, t->s.now_ms - 30000);
    fl_store_steps(&t->s, 2);
    fl_story_pass(t, 60000);
    nlt_helper_flush_soon(t->s.helper);
    fl_store_steps(&t->s, 4);
    good &= delete_series(t, 1, 1, begin, t->s.now_ms);
    fl_story_write(t, 2);
    t->n_pauses = 0;
    good &= t->s.store[1] != NULL
            && nlt_store_clean(t->s.store[1], &wait, &err) == NLT_OK;
    fl_store_steps(&t->s, 3);
    fl_story_write(t, 3);
    return good;
}

/* ---- tenants ---- */

/* Who waits for a delete sees the others write on. */
static nlt_rc_t
write_on_cb(void *ctx)
{
    fl_story_t *t = ctx;

    t->s.now_ms += 1000;
    (void) fl_store_write(&t->s, &t->ledger, t->n_pauses % FL_WRITERS, 0, 6,
                          t->s.now_ms);
    return pause_cb(ctx);
}

/* All that the tenant of writer w has; what it writes meanwhile is another's.
 */
static bool
remove_tenant(fl_story_t *t, unsigned w)
{
    nlt_store_wait_t wait = {write_on_cb, poll_cb, t};
    int64_t until = t->s.now_ms;
    size_t from = t->s.disk ? t->s.disk->n : 0;
    char buf[8];
    nlt_err_t err;

    if (t->s.store[0] == NULL) {
        return false;
    }
    for (unsigned i = 0; i < FL_TENANT_SERIES; i++) {
        fl_ledger_doom(&t->ledger, FL_TENANT_SERIES * w + i, INT64_MIN, until,
                       from);
    }
    t->n_pauses = 0;
    if (nlt_store_remove_tenant(t->s.store[0], fl_store_tenant(w, buf), &wait,
                                &err)
        != NLT_OK) {
        return false;
    }
    for (unsigned i = 0; i < FL_TENANT_SERIES; i++) {
        fl_ledger_bury(&t->ledger, FL_TENANT_SERIES * w + i, INT64_MIN, until,
                       from, t->s.disk ? t->s.disk->n : 0);
    }
    return true;
}

bool
fl_story_tenants(fl_story_t *t)
{
    bool good;

    fl_story_write(t, 0);
    good = fl_store_flush(&t->s);
    fl_story_write(t, 1);
    good &= remove_tenant(t, 1);
    fl_store_steps(&t->s, 2);
    fl_story_pass(t, 60000);
    fl_story_write(t, 2);
    nlt_helper_flush_soon(t->s.helper);
    fl_store_steps(&t->s, 4);
    fl_story_pass(t, 60000);
    good &= remove_tenant(t, 2);
    good &= remove_tenant(t, 1);
    fl_story_pass(t, FL_DAY);
    fl_story_write(t, 3);
    good &= fl_store_flush(&t->s);
    fl_store_steps(&t->s, 6);
    fl_story_write(t, 3);
    return good;
}

/* ---- import ---- */

#define IMPORT_SERIES  4u
#define IMPORT_SAMPLES 60u

/* cp does not sync. */
static int
no_sync(void *ctx, int fd)
{
    (void) ctx;
    (void) fd;
    return 0;
}

static nlt_rc_t
write_series(nlt_block_writer_t *w, unsigned series, int64_t t_min_ms,
             nlt_err_t *err)
{
    uint8_t data[IMPORT_SAMPLES * 20 + 64];
    int64_t t_ms[IMPORT_SAMPLES];
    double v[IMPORT_SAMPLES];
    char text[16];
    nlt_label_t labels[2] = {{NLT_METRIC_NAME, NLT_STR("m")},
                             {NLT_STR("i"), {0, text}}};
    nlt_block_chunk_t c = {.encoding = 1, .n_samples = IMPORT_SAMPLES};

    labels[1].value.len = (size_t) snprintf(text, sizeof(text), "%u", series);
    for (unsigned k = 0; k < IMPORT_SAMPLES; k++) {
        t_ms[k] = t_min_ms + 15000 * (int64_t) k;
        v[k] = fl_value(series, t_ms[k]);
    }
    c.t_min_ms = t_ms[0];
    c.t_max_ms = t_ms[IMPORT_SAMPLES - 1];
    c.data =
        (nlt_str_t){nlt_xor_encode_chunk(t_ms, v, IMPORT_SAMPLES, 0, data),
                    (const char *) data};
    return nlt_block_writer_series(w, (nlt_labels_t){labels, 2}, &c, 1, err);
}

static nlt_ulid_t
import_ulid(const fl_story_t *t)
{
    nlt_ulid_t u;

    (void) snprintf(u.c, sizeof(u.c), "01HF7YAT00000000000000%04u",
                    t->n_imports);
    return u;
}

/* A block of another store in import/, and rows that may be there. */
static bool
copy_in(fl_story_t *t, unsigned first, int64_t t_min_ms)
{
    nlt_str_t symbols[IMPORT_SERIES + 3];
    char text[IMPORT_SERIES][16], path[160];
    nlt_io_t io = t->s.io;
    nlt_env_t env = t->s.env;
    nlt_block_meta_t meta = {
        .t_min_ms = t_min_ms,
        .t_end_ms = t_min_ms + 15000 * IMPORT_SAMPLES,
    };
    nlt_block_writer_t *w;
    nlt_err_t err;
    nlt_rc_t rc;
    int fd;

    io.fsync = io.fdatasync = no_sync;
    env.io = &io;
    t->n_imports++;
    meta.ulid = import_ulid(t);
    for (unsigned i = 0; i < IMPORT_SERIES; i++) {
        (void) snprintf(text[i], sizeof(text[i]), "%u", first + i);
        symbols[i] = (nlt_str_t){strlen(text[i]), text[i]};
        for (unsigned k = 0; k < IMPORT_SAMPLES; k++) {
            (void) fl_ledger_add(&t->ledger, first + i,
                                 t_min_ms + 15000 * (int64_t) k,
                                 t->s.disk ? t->s.disk->n : 0);
        }
    }
    symbols[IMPORT_SERIES] = NLT_METRIC_NAME;
    symbols[IMPORT_SERIES + 1] = NLT_STR("i");
    symbols[IMPORT_SERIES + 2] = NLT_STR("m");
    (void) snprintf(path, sizeof(path), "%s/" NLT_DIR_IMPORT, t->s.path);
    fd = io.open(io.ctx, AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0) {
        return false;
    }
    rc = nlt_block_writer_open(&env, fd, &meta, &w, &err);
    if (rc == NLT_OK) {
        rc = nlt_block_writer_symbols(w, symbols, NLT_COUNT(symbols), &err);
        for (unsigned i = 0; i < IMPORT_SERIES && rc == NLT_OK; i++) {
            rc = write_series(w, first + i, t_min_ms, &err);
        }
        if (rc == NLT_OK) {
            rc = nlt_block_writer_finish(w, &meta, &err);
        } else {
            nlt_block_writer_abort(w);
        }
    }
    (void) io.close(io.ctx, fd);
    return rc == NLT_OK;
}

/* Does the MANIFEST name the block that was copied in last? */
static bool
is_served(const fl_story_t *t)
{
    nlt_ulid_t ulid = import_ulid(t);
    nlt_manifest_t m;
    nlt_err_t err;
    bool served;
    int fd = open(t->s.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    nlt_manifest_init(&m, &nlt_mem_libc, NULL);
    served = fd >= 0
             && nlt_manifest_load(&m, &nlt_env_posix, fd, NULL, &err) == NLT_OK
             && nlt_manifest_find(&m, ulid.c) < m.n_blocks;
    nlt_manifest_deinit(&m);
    (void) close(fd);
    return served;
}

/* Steps until it was taken in; its rows must be there then. */
static bool
take_in(fl_story_t *t, size_t first_row)
{
    for (unsigned i = 0; i < 60; i++) {
        fl_store_steps(&t->s, 1);
        if (is_served(t)) {
            for (size_t k = first_row;
                 k < first_row + IMPORT_SERIES * IMPORT_SAMPLES; k++) {
                t->ledger.v[k].must = t->s.disk ? t->s.disk->n : 0;
            }
            return true;
        }
    }
    return false;
}

bool
fl_story_import(fl_story_t *t)
{
    bool good = true;

    for (unsigned round = 0; round < 2; round++) {
        size_t first_row;

        fl_story_write(t, round);
        first_row = t->ledger.n;
        good &= copy_in(t, 200 + 100 * round,
                        t->s.now_ms - 2 * FL_DAY + (int64_t) round * 600000)
                && take_in(t, first_row);
        if (round == 0) {
            nlt_helper_flush_soon(t->s.helper);
        }
        fl_store_steps(&t->s, 3);
        fl_story_pass(t, 60000);
    }
    fl_story_write(t, 3);
    return good;
}

/* ---- snapshots ---- */

static bool
snapshot(fl_story_t *t)
{
    fl_snapshot_t *snap = &t->snapshot[t->n_snapshots];
    const nlt_snapshot_conf_t conf = {.skip_head = true, .timeout_ms = 60000};
    nlt_store_gauges_t g;
    nlt_err_t err;

    nlt_store_gauges(t->s.store[0], &g);
    snap->n_samples = g.block_samples;
    if (t->n_snapshots == FL_SNAPSHOTS_MAX
        || nlt_snapshot_create(t->s.store[0], &conf, snap->name, &err)
               != NLT_OK) {
        return false;
    }
    snap->done = t->s.disk ? t->s.disk->n : 0;
    t->n_snapshots++;
    return true;
}

bool
fl_story_snapshots(fl_story_t *t)
{
    bool good = true;

    for (unsigned round = 0; round < 3; round++) {
        fl_story_write(t, round);
        good &= fl_store_flush(&t->s) && snapshot(t);
        fl_story_pass(t, 60000);
    }
    fl_story_write(t, 3);
    return good;
}

typedef struct {
    int fd;
    uint64_t n;
    bool whole;
    nlt_err_t err;
} count_t;

static bool
count_cb(void *ctx, const char *name)
{
    count_t *c = ctx;
    nlt_block_t *b;
    nlt_pool_t pool;
    nlt_block_facts_t facts;
    nlt_rc_t rc;

    if (nlt_block_open(&nlt_env_posix, c->fd, name, &b, &c->err) != NLT_OK) {
        c->whole = false;
        return false;
    }
    nlt_pool_init(&pool, &nlt_mem_libc, 64u << 20);
    rc = nlt_block_check(b, &pool, NULL, NULL, &facts, &c->err);
    c->n += nlt_block_meta(b)->n_samples;
    nlt_pool_deinit(&pool);
    nlt_block_close(b);
    c->whole = rc == NLT_OK;
    return c->whole;
}

/* Samples of the blocks in a directory; UINT64_MAX: one is not whole. */
static uint64_t
count_samples(const char *dir, char *out, size_t size)
{
    count_t c = {.whole = true};

    c.fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (c.fd < 0) {
        (void) snprintf(out, size, "%s is not there", dir);
        return UINT64_MAX;
    }
    (void) nlt_io_posix.list(NULL, c.fd, count_cb, &c);
    (void) close(c.fd);
    if (!c.whole) {
        (void) snprintf(out, size, "snapshot: %.120s", c.err.text);
        return UINT64_MAX;
    }
    return c.n;
}

bool
fl_story_snapshots_whole(const fl_story_t *t, const char *path, size_t at,
                         char *out, size_t size)
{
    for (unsigned i = 0; i < t->n_snapshots; i++) {
        const fl_snapshot_t *snap = &t->snapshot[i];
        char dir[200];
        uint64_t n;

        (void) snprintf(dir, sizeof(dir), "%s/" NLT_DIR_SNAPSHOTS "/%s", path,
                        snap->name);
        if (snap->done > at && access(dir, F_OK) != 0) {
            continue;
        }
        n = count_samples(dir, out, size);
        if (n != snap->n_samples) {
            if (n != UINT64_MAX) {
                (void) snprintf(out, size, "snapshot of %llu samples",
                                (unsigned long long) n);
            }
            return false;
        }
    }
    return true;
}

/* ---- rot ---- */

static bool
rot_first_block(fl_story_t *t)
{
    nlt_manifest_t m;
    nlt_err_t err;
    char path[200];
    bool good = false;
    int fd = open(t->s.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    nlt_manifest_init(&m, &nlt_mem_libc, NULL);
    if (fd >= 0
        && nlt_manifest_load(&m, &nlt_env_posix, fd, NULL, &err) == NLT_OK
        && m.n_blocks > 0) {
        (void) snprintf(path, sizeof(path),
                        "%s/" NLT_DIR_BLOCKS "/%s/chunks/000001", t->s.path,
                        m.blocks[0].ulid.c);
        fl_disk_rot(t->s.disk, path, 20, 0x10);
        good = true;
    }
    nlt_manifest_deinit(&m);
    (void) close(fd);
    return good;
}

bool
fl_story_rot(fl_story_t *t)
{
    fl_verdict_t v;
    size_t n_rows;
    bool good;

    fl_story_write(t, 0);
    good = fl_store_flush(&t->s);
    n_rows = t->ledger.n;
    good &= rot_first_block(t);
    /* What was in blocks by then may be in the one that is lost. */
    for (size_t i = 0; i < n_rows; i++) {
        t->ledger.v[i].must = SIZE_MAX;
        t->ledger.v[i].log_to = 0;
    }
    fl_ledger_sort(&t->ledger);
    (void) fl_store_check(&t->s, &t->ledger, SIZE_MAX - 1, false, &v);
    fl_store_steps(&t->s, 4);
    fl_story_pass(t, 60000);
    fl_story_write(t, 1);
    good &= fl_store_flush(&t->s);
    fl_story_write(t, 2);
    return good && v.wrong + v.alien + v.twice == 0;
}

/* ---- deaths ---- */

static long
some_call(fl_story_t *t)
{
    t->rand += UINT64_C(0x9e3779b97f4a7c15);
    return 5 + (long) (nlt_mix64(t->rand) % 120);
}

bool
fl_story_deaths(fl_story_t *t)
{
    for (unsigned round = 0; round < 5; round++) {
        nlt_err_t err;

        fl_disk_plan(t->s.disk,
                     (fl_plan_t){.fail_at = some_call(t), .torn = true});
        fl_story_write(t, round);
        if (round % 2 == 0) {
            nlt_helper_flush_soon(t->s.helper);
        }
        fl_store_steps(&t->s, 4);
        fl_store_close(&t->s);
        fl_disk_plan(t->s.disk, (fl_plan_t){.fail_at = 0});
        if (round == 3) {
            fl_store_reboot(&t->s); /* only the head: its tmpfs was emptied */
        }
        if (!fl_store_start(&t->s, FL_WRITERS, &err)) {
            printf("# %s\n", err.text);
            return false;
        }
        fl_story_pass(t, 60000);
    }
    fl_story_write(t, 5);
    fl_store_steps(&t->s, 2);
    return true;
}
