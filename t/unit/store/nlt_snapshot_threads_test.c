/*
 * nlt_snapshot_threads_test.c - a snapshot has what was acknowledged before
 * it, as blocks that others read, whatever goes on meanwhile.
 */
#include "store/nlt_delete_fixture.h"

#include <pthread.h>
#include <sys/file.h>

#include "nlt_block_tenant.h"
#include "nlt_deletes.h"
#include "nlt_manifest.h"
#include "nlt_snapshot.h"

static fx_t fx;
static int snapshots_fd;
static bool as_is; /* what is asked for: blocks as they are */

static bool dense; /* what the store has */

static void
begin_tenants(unsigned n_tenants)
{
    char path[80];

    fx_init(&fx);
    fx.conf.dense = dense;
    fx.n_tenants = n_tenants;
    NLT_CHECK(fx_start(&fx));
    (void) snprintf(path, sizeof(path), "%s/snapshots", fx.path);
    snapshots_fd = open(path, O_RDONLY | O_DIRECTORY);
}

static void
begin(void)
{
    begin_tenants(0);
}

static void
end(void)
{
    close(snapshots_fd);
    fx_deinit(&fx);
}

/* Samples of some series from `from` on, one a minute. */
static void
write_some(int64_t from_ms, unsigned n)
{
    for (unsigned k = 0; k < n; k++) {
        for (unsigned no = 0; no < 5; no++) {
            NLT_CHECK_INT(
                fx_write(&fx, no, from_ms + k * 60000, no * 1000 + k), NLT_OK);
        }
    }
}

static bool
count_cb(void *ctx, const char *name)
{
    (void) name;
    ++*(int *) ctx;
    return true;
}

static int
n_snapshots(void)
{
    int n = 0;

    NLT_CHECK_INT(nlt_io_posix.list(NULL, snapshots_fd, count_cb, &n), 0);
    return n;
}

/* ---- a snapshot in a thread of its own, as the API has it ---- */

typedef struct {
    pthread_t thread;
    uint32_t tenant;
    bool skip_head;
    bool as_is;
    int cancel;
    int64_t timeout_ms;
    char name[NLT_SNAPSHOT_NAME_SIZE];
    nlt_rc_t rc;
    nlt_err_t err;
    _Atomic bool done;
} job_t;

static void *
run_job(void *ctx)
{
    job_t *j = ctx;
    const nlt_snapshot_conf_t conf = {.tenant = j->tenant,
                                      .skip_head = j->skip_head,
                                      .as_is = j->as_is,
                                      .cancel = &j->cancel,
                                      .timeout_ms = j->timeout_ms};

    j->rc = nlt_snapshot_create(fx.store, &conf, j->name, &j->err);
    j->done = true;
    return NULL;
}

static void
start(job_t *j)
{
    j->as_is = as_is;
    NLT_CHECK_INT(pthread_create(&j->thread, NULL, run_job, j), 0);
}

/* The helper works until the snapshot is made; false: it was not. */
static bool
finish(job_t *j)
{
    struct timespec ms = {0, 1000000};

    for (int i = 0; i < 20000 && !j->done; i++) {
        fx_step(&fx, 1);
        fx.mono_ns -= 99000000; /* a step is a tenth of a second */
        (void) nanosleep(&ms, NULL);
    }
    (void) pthread_join(j->thread, NULL);
    if (j->rc != NLT_OK) {
        printf("# snapshot: %s\n", j->err.text);
    }
    return j->rc == NLT_OK;
}

static bool
take_of(uint32_t tenant, bool skip_head, char name[NLT_SNAPSHOT_NAME_SIZE])
{
    job_t j = {.tenant = tenant, .skip_head = skip_head, .timeout_ms = 60000};
    bool good;

    start(&j);
    good = finish(&j);
    memcpy(name, j.name, NLT_SNAPSHOT_NAME_SIZE);
    return good;
}

static bool
take(bool skip_head, char name[NLT_SNAPSHOT_NAME_SIZE])
{
    return take_of(0, skip_head, name);
}

/* ---- what a snapshot has ---- */

typedef struct {
    int dir_fd;
    nlt_samples_t s[FX_SERIES];
    nlt_pool_t pool;
    unsigned like; /* a series of the tenant */
    int n_blocks;
    bool bad;
} have_t;

static void
have_series(have_t *h, const nlt_block_t *b, uint32_t id)
{
    nlt_samples_t got = {.pool = &h->pool};
    nlt_str_t i;
    unsigned no = 0;
    nlt_err_t err;

    if (nlt_block_label(b, id, NLT_STR("i"), &i, &err) != NLT_OK
        || nlt_block_read(b, id, INT64_MIN, INT64_MAX, &got, &err) != NLT_OK) {
        h->bad = true;
        return;
    }
    for (size_t k = 0; k < i.len; k++) {
        no = no * 10 + (unsigned) (i.data[k] - '0');
    }
    if (fx.n_tenants > 0) {
        no = no * fx.n_tenants + h->like;
    }
    if (no >= FX_SERIES || nlt_block_has_tenants(b)) {
        h->bad = true;
        return;
    }
    for (size_t k = 0; k < got.n; k++) {
        nlt_samples_t *s = &h->s[no];
        size_t at = s->n;

        NLT_CHECK(nlt_samples_reserve(s, s->n + 1));
        for (; at > 0 && s->t_ms[at - 1] > got.t_ms[k]; at--) {
            s->t_ms[at] = s->t_ms[at - 1];
            s->v[at] = s->v[at - 1];
        }
        s->t_ms[at] = got.t_ms[k];
        s->v[at] = got.v[k];
        s->n++;
    }
}

static bool
have_block_cb(void *ctx, const char *name)
{
    have_t *h = ctx;
    nlt_block_t *b;
    uint32_t *id;
    size_t n;
    nlt_err_t err;

    h->n_blocks++;
    if (nlt_block_open(&nlt_env_posix, h->dir_fd, name, &b, &err) != NLT_OK) {
        printf("# %s\n", err.text);
        h->bad = true;
        return true;
    }
    if (nlt_block_validate(b, &h->pool, &err) != NLT_OK
        || nlt_block_select(b, &h->pool, NULL, 0, &id, &n, &err) != NLT_OK) {
        printf("# %s\n", err.text);
        h->bad = true;
        n = 0;
    }
    for (size_t i = 0; i < n; i++) {
        have_series(h, b, id[i]);
    }
    h->bad |= nlt_block_meta(b)->dense != (dense && as_is);
    nlt_block_close(b);
    return true;
}

/* Does it have what the model says of the tenant that has series `like`, and
 * nothing else, up to t_max?  Blocks are counted. */
static bool
has_of(unsigned like, const char *name, int64_t t_max, int *n_blocks)
{
    have_t h = {.like = like};
    bool good;

    h.dir_fd = openat(snapshots_fd, name, O_RDONLY | O_DIRECTORY);
    NLT_CHECK(h.dir_fd >= 0);
    nlt_pool_init(&h.pool, &nlt_mem_libc, 256 << 20);
    for (size_t i = 0; i < FX_SERIES; i++) {
        h.s[i].pool = &h.pool;
    }
    NLT_CHECK_INT(nlt_io_posix.list(NULL, h.dir_fd, have_block_cb, &h), 0);
    good = !h.bad;
    for (size_t i = like; good && i < FX_SERIES;
         i += fx.n_tenants ? fx.n_tenants : 1) {
        good = fx_same(&fx.series[i], &h.s[i], INT64_MIN, t_max);
    }
    nlt_pool_deinit(&h.pool);
    close(h.dir_fd);
    if (n_blocks) {
        *n_blocks = h.n_blocks;
    }
    return good;
}

static bool
has(const char *name, int64_t t_max, int *n_blocks)
{
    return has_of(0, name, t_max, n_blocks);
}

/* ---- what is in it ---- */

static void
everything_acknowledged_before_is_in_it(void)
{
    char name[NLT_SNAPSHOT_NAME_SIZE];
    int n;

    begin();
    write_some(FX_NOW - 5 * FX_HOUR, 200);
    NLT_CHECK(fx_flush(&fx));
    write_some(FX_NOW - FX_HOUR, 50);
    NLT_CHECK(take(false, name));
    NLT_CHECK(has(name, INT64_MAX, &n));
    NLT_CHECK(n >= 3);
    NLT_CHECK_INT(n_snapshots(), 1);
    NLT_CHECK_INT(atomic_load(&nlt_store_ctl(fx.store)->counters.snapshots),
                  1);

    /* "20231115T132000Z-" of FX_NOW, and 16 digits of which one is small */
    NLT_CHECK(strncmp(name, "20231115T132000Z-", 17) == 0);
    NLT_CHECK_INT(strlen(name), 33);
    NLT_CHECK_INT(strspn(name + 17, "0123456789abcdef"), 16);
    NLT_CHECK(name[17] < '8');

    /* Files are links, so it costs no disk. */
    NLT_CHECK(fx_check(&fx, INT64_MIN, INT64_MAX));
    end();
}

static void
the_head_can_be_left_out(void)
{
    char name[NLT_SNAPSHOT_NAME_SIZE];
    int n;

    begin();
    NLT_CHECK(take(true, name));
    NLT_CHECK(has(name, INT64_MAX, &n));
    NLT_CHECK_INT(n, 0);
    write_some(FX_NOW - 5 * FX_HOUR, 100);
    NLT_CHECK(fx_flush(&fx));
    write_some(FX_NOW - FX_HOUR, 50);
    NLT_CHECK(take(true, name));
    NLT_CHECK(has(name, FX_NOW - 2 * FX_HOUR, &n));
    NLT_CHECK(n > 0);
    NLT_CHECK_INT(atomic_load(&nlt_store_ctl(fx.store)->counters.flushes), 1);
    end();
}

static void
an_empty_store_has_an_empty_snapshot(void)
{
    char name[NLT_SNAPSHOT_NAME_SIZE];
    int n;

    begin();
    NLT_CHECK(take(false, name));
    NLT_CHECK(has(name, INT64_MAX, &n));
    NLT_CHECK_INT(n, 0);
    end();
}

static void
it_outlives_its_blocks(void)
{
    char name[NLT_SNAPSHOT_NAME_SIZE], path[80];
    nlt_err_t err;

    begin();
    write_some(FX_NOW - 5 * FX_HOUR, 100);
    NLT_CHECK(take(false, name));
    fx_close(&fx);
    (void) snprintf(path, sizeof(path), "%s/blocks", fx.path);
    NLT_CHECK_INT(nlt_io_remove_tree(&nlt_io_posix, AT_FDCWD, path, &err),
                  NLT_OK);
    NLT_CHECK(has(name, INT64_MAX, NULL));
    end();
}

/* ---- deletes ---- */

static void
forget_series(unsigned no, int64_t t_min, int64_t t_max)
{
    fx_series_t *s = &fx.series[no];
    size_t k = 0;

    for (size_t i = 0; i < s->n; i++) {
        if (s->v[i].t_ms < t_min || s->v[i].t_ms > t_max) {
            s->v[k++] = s->v[i];
        }
    }
    s->n = k;
}

/* A rule as who deletes writes it. */
static void
add_rule(const char *no, int64_t t_min, int64_t t_max, uint64_t arena_max)
{
    nlt_matcher_t m = {NLT_MATCH_EQ, NLT_STR("i"), nlt_test_str(no), NULL};
    nlt_delete_set_t set = {&m, 1};
    nlt_delete_t d = {
        .number = 1,
        .t_min_ms = t_min,
        .t_max_ms = t_max,
        .arena_max = arena_max,
        .sets = &set,
        .n_sets = 1,
    };
    uint8_t id[NLT_STORE_ID_BYTES];
    nlt_manifest_t m0;
    nlt_err_t err;
    int lock, fd = open(fx.path, O_RDONLY | O_DIRECTORY);

    nlt_manifest_init(&m0, &nlt_mem_libc, NULL);
    NLT_CHECK_INT(nlt_manifest_load(&m0, &nlt_env_posix, fd, NULL, &err),
                  NLT_OK);
    memcpy(id, m0.store_id, sizeof(id));
    nlt_manifest_deinit(&m0);
    NLT_CHECK_INT(nlt_deletes_lock(&nlt_env_posix, fd, &lock, &err), NLT_OK);
    NLT_CHECK_INT(nlt_deletes_add(&nlt_env_posix, fd, id, &d, &err), NLT_OK);
    nlt_deletes_unlock(&nlt_env_posix, lock);
    close(fd);
}

static void
deletes_are_tombstones_for_others(void)
{
    char name[NLT_SNAPSHOT_NAME_SIZE];
    int64_t from = FX_NOW - 5 * FX_HOUR;

    begin();
    write_some(from, 200);
    NLT_CHECK(fx_flush(&fx));
    /* Of what is in blocks: two rules that overlap, one about nothing. */
    add_rule("3", from + 600000, from + 3000000, 1);
    add_rule("3", from + 2000000, from + 7500000, 1);
    add_rule("4", FX_NOW, FX_NOW + 1, 1);
    forget_series(3, from + 600000, from + 7500000);
    NLT_CHECK(take(true, name));
    NLT_CHECK(has(name, INT64_MAX, NULL));
    end();
}

static void
of_shared_blocks_a_tenant_gets_its_own(void)
{
    char name[NLT_SNAPSHOT_NAME_SIZE];
    int64_t from = FX_NOW - 5 * FX_HOUR;
    nlt_err_t err;
    int n;

    begin_tenants(4);
    write_some(from, 200);
    NLT_CHECK(fx_flush(&fx));
    write_some(FX_NOW - FX_HOUR, 50);
    NLT_CHECK_INT(fx_delete(&fx, 1u << 3, from + 600000, from + 3000000, &err),
                  NLT_OK);
    NLT_CHECK_INT(
        fx_delete(&fx, 1u << 0, from + 6000000, from + 9000000, &err), NLT_OK);
    for (unsigned like = 0; like < 4; like++) {
        NLT_CHECK(take_of(fx_tenant(&fx, like), false, name));
        NLT_CHECK(has_of(like, name, INT64_MAX, &n));
        NLT_CHECK(n >= 2);
    }
    NLT_CHECK(take_of(5, false, name));
    NLT_CHECK(has_of(0, name, INT64_MIN, &n));
    NLT_CHECK_INT(n, 0);
    NLT_CHECK(fx_check(&fx, INT64_MIN, INT64_MAX));
    end();
}

/* ---- formats ---- */

static int64_t
two_bytes_free(void *ctx, int fd)
{
    (void) ctx;
    (void) fd;
    return 2;
}

/* Links need no room; a dense block that becomes portable does. */
static void
a_store_without_room_for_copies_says_so(void)
{
    nlt_snapshot_conf_t conf = {.skip_head = true, .timeout_ms = 60000};
    char name[NLT_SNAPSHOT_NAME_SIZE];
    nlt_err_t err;

    begin();
    write_some(FX_NOW - 5 * FX_HOUR, 20);
    NLT_CHECK(fx_flush(&fx));
    fx.io.free_bytes = two_bytes_free;
    NLT_CHECK_INT(nlt_snapshot_create(fx.store, &conf, name, &err),
                  dense ? NLT_EFULL : NLT_OK);
    NLT_CHECK_INT(n_snapshots(), !dense);
    conf.as_is = true;
    NLT_CHECK_INT(nlt_snapshot_create(fx.store, &conf, name, &err), NLT_OK);
    end();
}

/* Another version's: it can be kept for who knows it, but not converted. */
static void
a_block_of_another_format_is_not_passed_off(void)
{
    nlt_snapshot_conf_t conf = {.skip_head = true, .timeout_ms = 60000};
    char name[NLT_SNAPSHOT_NAME_SIZE], cmd[400];
    nlt_err_t err;

    begin();
    write_some(FX_NOW - 5 * FX_HOUR, 20);
    NLT_CHECK(fx_flush(&fx));
    fx_close(&fx);
    (void) snprintf(cmd, sizeof(cmd),
                    "for d in %s/blocks/*; do echo '{\"version\": 7, "
                    "\"minTime\": 0, \"maxTime\": 9, \"ulid\": \"'$(basename "
                    "$d)'\"}' > $d/meta.json; done",
                    fx.path);
    NLT_CHECK_INT(system(cmd), 0);
    NLT_CHECK(fx_start(&fx));
    NLT_CHECK_INT(nlt_snapshot_create(fx.store, &conf, name, &err),
                  NLT_EVERSION);
    NLT_CHECK(strstr(err.text, "version 7") != NULL);
    NLT_CHECK_INT(n_snapshots(), 0);
    conf.as_is = true;
    NLT_CHECK_INT(nlt_snapshot_create(fx.store, &conf, name, &err), NLT_OK);
    end();
}

/* Dense blocks come in as others do, and get the format of who takes them. */
static void
a_dense_snapshot_can_be_imported(void)
{
    for (int to = 0; to < 2; to++) {
        char name[NLT_SNAPSHOT_NAME_SIZE], cmd[400];
        static fx_t other;
        nlt_store_gauges_t g = {.blocks = 0};

        dense = as_is = true;
        begin();
        write_some(FX_NOW - 5 * FX_HOUR, 200);
        NLT_CHECK(take(false, name));
        fx_init(&other);
        other.conf.dense = to;
        NLT_CHECK(fx_start(&other));
        (void) snprintf(cmd, sizeof(cmd),
                        "cp -r %s/snapshots/%s %s/import/.in && "
                        "mv %s/import/.in/* %s/import/",
                        fx.path, name, other.path, other.path, other.path);
        NLT_CHECK_INT(system(cmd), 0);
        for (int i = 0;
             i < 1000
             && (g.blocks == 0 || g.dense_blocks != (to ? g.blocks : 0)
                 || g.block_samples < 1000);
             i++) {
            fx_step(&other, 1);
            nlt_store_gauges(other.store, &g);
        }
        NLT_CHECK_INT(g.dense_blocks, to ? g.blocks : 0);
        memcpy(other.series, fx.series, sizeof(fx.series));
        NLT_CHECK(fx_check(&other, INT64_MIN, INT64_MAX));
        memset(other.series, 0, sizeof(fx.series));
        fx_deinit(&other);
        end();
    }
}

/* ---- trouble ---- */

static void
nothing_remains_of_one_that_is_ended(void)
{
    job_t late = {.timeout_ms = 500}, left = {.timeout_ms = 60000};
    char name[NLT_SNAPSHOT_NAME_SIZE];

    begin();
    write_some(FX_NOW - FX_HOUR, 20);
    start(&late); /* nobody flushes */
    while (!late.done) {
        fx.mono_ns += 100000000;
        (void) sched_yield();
    }
    (void) pthread_join(late.thread, NULL);
    NLT_CHECK_INT(late.rc, NLT_ETIMEOUT);
    start(&left);
    __atomic_store_n(&left.cancel, 1, __ATOMIC_RELAXED);
    (void) pthread_join(left.thread, NULL);
    NLT_CHECK_INT(left.rc, NLT_ECANCELED);
    NLT_CHECK_INT(n_snapshots(), 0);
    NLT_CHECK(take(false, name));
    NLT_CHECK(has(name, INT64_MAX, NULL));
    end();
}

static void
without_a_head_there_is_none(void)
{
    nlt_snapshot_conf_t conf = {.timeout_ms = 1000};
    char name[NLT_SNAPSHOT_NAME_SIZE];
    nlt_err_t err;

    fx_init(&fx);
    NLT_CHECK_INT(
        nlt_store_open(&fx.env, &fx.conf, NLT_ROLE_WORKER, &fx.store, &err),
        NLT_OK);
    for (int skip = 0; skip < 2; skip++) {
        conf.skip_head = skip;
        NLT_CHECK_INT(nlt_snapshot_create(fx.store, &conf, name, &err),
                      NLT_ENOTREADY);
    }
    fx_deinit(&fx);
}

static void
a_head_that_is_given_up_meanwhile_is_read_again(void)
{
    job_t j = {.timeout_ms = 600000};

    begin();
    write_some(FX_NOW - FX_HOUR, 50);
    start(&j);
    /* It has begun to wait: it has asked for a flush. */
    while (!atomic_load(&nlt_store_ctl(fx.store)->flush_asked)) {
        (void) sched_yield();
    }
    atomic_store(&nlt_store_ctl(fx.store)->state, NLT_HEAD_DEAD);
    /* There is none for a while, longer than between two of its looks. */
    for (int i = 0; i < 50; i++) {
        struct timespec two_ms = {0, 2000000};

        nlt_store_tick(fx.store);
        (void) nanosleep(&two_ms, NULL);
    }
    NLT_CHECK(nlt_store_ctl(fx.store) == NULL);
    NLT_CHECK(!j.done);
    NLT_CHECK(finish(&j));
    NLT_CHECK(has(j.name, INT64_MAX, NULL));
    end();
}

static int n_links;
static int link_at; /* the call that something happens before; 0: none */
static char gone[32];

/* Takes the last block of the MANIFEST away, as the retention does. */
static void
remove_last_block(void)
{
    char path[80];
    nlt_manifest_t m;
    nlt_err_t err;
    int fd = open(fx.path, O_RDONLY | O_DIRECTORY);

    nlt_manifest_init(&m, &nlt_mem_libc, NULL);
    NLT_CHECK_INT(nlt_manifest_load(&m, &nlt_env_posix, fd, NULL, &err),
                  NLT_OK);
    (void) snprintf(gone, sizeof(gone), "%s", m.blocks[m.n_blocks - 1].ulid.c);
    nlt_manifest_remove_block(&m, m.n_blocks - 1);
    NLT_CHECK_INT(nlt_manifest_store(&m, &nlt_env_posix, fd, &err), NLT_OK);
    nlt_manifest_deinit(&m);
    (void) snprintf(path, sizeof(path), "blocks/%s", gone);
    NLT_CHECK_INT(nlt_io_remove_tree(&nlt_io_posix, fd, path, &err), NLT_OK);
    close(fd);
    atomic_fetch_add(&nlt_store_ctl(fx.store)->manifest_gen, 1);
}

static int
link_hook(void *ctx, int dir_fd, const char *name, int to_fd,
          const char *to_name)
{
    if (++n_links == link_at) {
        remove_last_block();
    }
    return fx_link(ctx, dir_fd, name, to_fd, to_name);
}

static void
blocks_may_go_away_at_any_time(void)
{
    int n = 0;

    as_is = dense; /* what is not linked is held open */

    for (link_at = 1; link_at < 8; link_at++) {
        char name[NLT_SNAPSHOT_NAME_SIZE];
        int n_blocks;

        begin();
        fx.io.link = link_hook;
        write_some(FX_NOW - 5 * FX_HOUR, 250);
        NLT_CHECK(fx_flush(&fx));
        n_links = 0;
        NLT_CHECK(take(true, name));
        n += n_links;
        int fd = openat(snapshots_fd, name, O_RDONLY | O_DIRECTORY);

        NLT_CHECK(faccessat(fd, gone, F_OK, 0) < 0);
        close(fd);
        /* The others are whole. */
        have_t h = {.n_blocks = 0};

        h.dir_fd = openat(snapshots_fd, name, O_RDONLY | O_DIRECTORY);
        nlt_pool_init(&h.pool, &nlt_mem_libc, 256 << 20);
        for (size_t i = 0; i < FX_SERIES; i++) {
            h.s[i].pool = &h.pool;
        }
        NLT_CHECK_INT(nlt_io_posix.list(NULL, h.dir_fd, have_block_cb, &h), 0);
        n_blocks = h.n_blocks;
        NLT_CHECK(!h.bad);
        NLT_CHECK(n_blocks >= 2);
        nlt_pool_deinit(&h.pool);
        close(h.dir_fd);
        end();
    }
    NLT_CHECK(n > 0);
    link_at = 0;
}

static void
a_start_removes_what_was_not_finished(void)
{
    char name[NLT_SNAPSHOT_NAME_SIZE];
    int fd;

    begin();
    write_some(FX_NOW - FX_HOUR, 20);
    NLT_CHECK(take(false, name));
    NLT_CHECK_INT(mkdirat(snapshots_fd, "20260102T150405Z-1.tmp", 0700), 0);
    NLT_CHECK_INT(mkdirat(snapshots_fd, "20260102T150405Z-1.tmp/x", 0700), 0);
    NLT_CHECK_INT(mkdirat(snapshots_fd, "20260102T150405Z-2.tmp", 0700), 0);
    fd = openat(snapshots_fd, "20260102T150405Z-2.tmp", O_RDONLY);
    NLT_CHECK_INT(flock(fd, LOCK_EX | LOCK_NB), 0);
    fx_close(&fx);
    NLT_CHECK(fx_start(&fx));
    NLT_CHECK_INT(n_snapshots(), 2); /* somebody is making the other */
    close(fd);
    fx_close(&fx);
    NLT_CHECK(fx_start(&fx));
    NLT_CHECK_INT(n_snapshots(), 1);
    NLT_CHECK(has(name, INT64_MAX, NULL));
    end();
}

/* Either it is made, or it was not and nothing is left after a start. */
static void
failures_at_any_call_leave_nothing_half_made(void)
{
    const nlt_snapshot_conf_t conf = {
        .skip_head = true, .as_is = as_is, .timeout_ms = 60000};
    long n = 0;

    for (int transient = 0; transient < 2; transient++) {
        for (bool hit = true; hit; n++) {
            char name[NLT_SNAPSHOT_NAME_SIZE];
            nlt_err_t err;
            nlt_rc_t rc;
            long at = n + 1;

            begin();
            write_some(FX_NOW - 3 * FX_HOUR, 100);
            NLT_CHECK(fx_flush(&fx));
            fx.fault = (fx_fault_t){.fail_at = at, .transient = transient};
            rc = nlt_snapshot_create(fx.store, &conf, name, &err);
            hit = fx.fault.hit;
            fx.fault = (fx_fault_t){.calls = 0};
            if (rc == NLT_OK) {
                NLT_CHECK(has(name, INT64_MAX, NULL));
            }
            NLT_CHECK(hit || rc == NLT_OK);
            fx_close(&fx);
            NLT_CHECK(fx_start(&fx));
            if (rc == NLT_OK || transient) {
                NLT_CHECK_INT(n_snapshots(), rc == NLT_OK);
            } else if (n_snapshots() > 0) {
                /* It stopped behind the rename. */
                NLT_CHECK(has(name, INT64_MAX, NULL));
            }
            end();
        }
        printf("# %ld calls\n", n);
        n = transient ? n : 0;
    }
    NLT_CHECK(n > 20);
}

int
main(void)
{
    for (int round = 0; round < 3; round++) {
        dense = round > 0;
        as_is = round > 1;
        printf("# %s, asked for %s\n", dense ? "dense" : "portable",
               as_is ? "as it is" : "portable");
        NLT_TEST(everything_acknowledged_before_is_in_it);
        NLT_TEST(deletes_are_tombstones_for_others);
        NLT_TEST(of_shared_blocks_a_tenant_gets_its_own);
    }
    NLT_TEST(a_dense_snapshot_can_be_imported);
    dense = nlt_test_dense();
    as_is = dense && time(NULL) / 2 % 2 == 1;
    NLT_TEST(the_head_can_be_left_out);
    NLT_TEST(an_empty_store_has_an_empty_snapshot);
    NLT_TEST(a_store_without_room_for_copies_says_so);
    NLT_TEST(a_block_of_another_format_is_not_passed_off);
    NLT_TEST(it_outlives_its_blocks);
    NLT_TEST(nothing_remains_of_one_that_is_ended);
    NLT_TEST(without_a_head_there_is_none);
    NLT_TEST(a_head_that_is_given_up_meanwhile_is_read_again);
    NLT_TEST(blocks_may_go_away_at_any_time);
    NLT_TEST(a_start_removes_what_was_not_finished);
    NLT_TEST(failures_at_any_call_leave_nothing_half_made);
    return nlt_test_done();
}
