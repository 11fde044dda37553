/*
 * bad_disk_test.c - each call to the disk fails, once or from then on.
 *
 * A store goes through a story, and one of its calls fails with EIO or ENOSPC,
 * or writes only half: that one alone, or all from it on until the disk is
 * good again.  Then, with the same processes or with others, with the head or
 * without it: the store works again by itself, has every acknowledged sample,
 * and nothing that was not sent.
 *
 * NLT_FAULT_FULL=1 goes through every call; otherwise a sample is taken.
 * An argument runs the tests that have it in their name.
 */
#include "nlt_test.h"

#include <errno.h>

#include "fl_story.h"

#define FAULTS_MAX 3
#define NOW        (SIZE_MAX - 1) /* a position behind all others */

typedef enum {
    IN_PLACE, /* the same processes go on */
    RESTART,  /* others attach to the head */
    REPLAY,   /* the head is gone: logs */
    ENDINGS
} ending_t;

static const char *const ending_names[ENDINGS] = {
    "in place",
    "with other processes",
    "without the head",
};

typedef struct {
    const char *name;
    int sys;
    bool spares_reads;
    bool shortens;
} trouble_t;

static const trouble_t troubles[] = {
    {"EIO", -EIO, false, false},
    {"ENOSPC", -ENOSPC, true, false},
    {"short, then ENOSPC", -ENOSPC, true, true},
};

typedef struct {
    const char *story;
    fl_story_cb_t tell;
    int64_t wal_sync_ms;
    const trouble_t *trouble;
    bool once;
    bool at_start; /* the calls of a recovery fail, not those of the story */
    ending_t ending;
    long call;
} trial_t;

static bool full;
static bool tenants; /* of the stores that are made */

typedef struct {
    char root[48];
    char disk_path[96];
    fl_disk_t disk;
    fl_story_t t;
} run_t;

static void
run_begin(run_t *r, int64_t wal_sync_ms)
{
    char head[96];

    memset(r, 0, sizeof(*r));
    r->t.rand = nlt_test_rand();
    fl_room_make(r->root, sizeof(r->root));
    fl_room_dir(r->root, "disk", r->disk_path, sizeof(r->disk_path));
    fl_room_dir(r->root, "head", head, sizeof(head));
    fl_disk_init(&r->disk, r->disk_path);
    fl_store_init(&r->t.s, r->root, "disk", &r->disk, wal_sync_ms);
    r->t.s.lossless = true;
    r->t.s.tenants = tenants;
}

static void
run_end(run_t *r)
{
    fl_store_close(&r->t.s);
    fl_disk_deinit(&r->disk);
    fl_ledger_deinit(&r->t.ledger);
    fl_room_remove(r->root);
}

/* Logs to replay, old ones among them. */
static void
leave_logs(run_t *r)
{
    fl_story_write(&r->t, 0);
    fl_story_pass(&r->t, 60000);
    fl_story_write(&r->t, 1);
    fl_store_close(&r->t.s);
    fl_store_reboot(&r->t.s);
}

/* The story, in which the call fails; false: there is no such call. */
static bool
go_through(run_t *r, const trial_t *t)
{
    fl_plan_t plan = {
        .fail_at = t->call,
        .transient = t->once,
        .sys = t->trouble->sys,
        .spares_reads = t->trouble->spares_reads,
        .shortens = t->trouble->shortens,
        .torn = true,
    };
    nlt_err_t err;
    bool hit;

    NLT_CHECK(fl_store_start(&r->t.s, FL_WRITERS, &err));
    if (t->at_start) {
        leave_logs(r);
        fl_disk_plan(&r->disk, plan);
        (void) fl_store_start(&r->t.s, FL_WRITERS, &err);
    } else {
        fl_disk_plan(&r->disk, plan);
    }
    if (r->t.s.helper != NULL && r->t.s.store[FL_WRITERS - 1] != NULL) {
        (void) t->tell(&r->t);
    }
    hit = r->disk.hit;
    fl_disk_plan(&r->disk, (fl_plan_t){.fail_at = 0});
    return hit;
}

/* With a good disk: does it get ready and take samples, soon? */
static bool
comes_back(fl_story_t *t, char *why, size_t size)
{
    for (unsigned i = 0; i < 300; i++) {
        fl_store_steps(&t->s, 1);
        if (fl_store_write(&t->s, &t->ledger, i % FL_WRITERS, 0, 30,
                           t->s.now_ms + (int64_t) i)) {
            return true;
        }
    }
    (void) snprintf(why, size, "takes no samples: %.150s", t->s.last_log);
    return false;
}

static bool
in_order(fl_story_t *t, char *why, size_t size)
{
    fl_verdict_t v;
    bool good;

    fl_ledger_sort(&t->ledger);
    good = fl_store_check(&t->s, &t->ledger, NOW, false, &v)
           && fl_story_snapshots_whole(t, t->s.path, NOW, v.first,
                                       sizeof(v.first));
    if (!good) {
        (void) snprintf(why, size, "%.150s", v.first);
    }
    return good;
}

static bool
ends_well(run_t *r, const trial_t *t, char *why, size_t size)
{
    nlt_err_t err = {.rc = NLT_OK};

    if (t->ending != IN_PLACE || r->t.s.helper == NULL
        || r->t.s.store[FL_WRITERS - 1] == NULL) {
        fl_store_close(&r->t.s);
        if (t->ending == REPLAY) {
            fl_store_reboot(&r->t.s);
        }
        if (!fl_store_start(&r->t.s, FL_WRITERS, &err)) {
            (void) snprintf(why, size, "does not start: %.150s", err.text);
            return false;
        }
    }
    if (!comes_back(&r->t, why, size) || !in_order(&r->t, why, size)) {
        return false;
    }
    fl_story_pass(&r->t, 60000);
    if (!fl_store_flush(&r->t.s)) {
        (void) snprintf(why, size, "no flush: %.150s", r->t.s.last_log);
        return false;
    }
    if (!in_order(&r->t, why, size)) {
        return false;
    }
    if (r->t.s.n_alerts > 0) {
        (void) snprintf(why, size, "an alert");
        return false;
    }
    /* What a failure left is gone after the next start. */
    fl_store_close(&r->t.s);
    if (!fl_store_start(&r->t.s, 1, &err)) {
        (void) snprintf(why, size, "does not start again: %.150s", err.text);
        return false;
    }
    fl_store_steps(&r->t.s, 10);
    return !fl_store_litter(&r->t.s, why, size);
}

/* False: there is no such call. */
static bool
try_call(const trial_t *t, unsigned *n_faults)
{
    run_t r;
    char why[200];
    bool hit;

    run_begin(&r, t->wal_sync_ms);
    hit = go_through(&r, t);
    if (!ends_well(&r, t, why, sizeof(why))) {
        NLT_CHECK(!"a failing call does harm");
        printf("# %s, %s at call %ld%s%s, %s: %s\n", t->story,
               t->trouble->name, t->call, t->once ? "" : " and all after it",
               t->at_start ? " of a start" : "", ending_names[t->ending], why);
        ++*n_faults;
    }
    run_end(&r);
    return hit;
}

/* Each call of a story, with one trouble or the other. */
static void
every_call(trial_t t)
{
    unsigned n_faults = 0, n = 0;
    long step = full ? 1 : 41;
    bool hit = true;

    for (size_t k = 0; k < NLT_COUNT(troubles); k++) {
        for (int once = 0; once < 2; once++) {
            t.trouble = &troubles[k];
            t.once = once == 1;
            t.call = full ? 1 : 1 + (long) nlt_test_below((uint64_t) step);
            for (hit = true; hit && n_faults < FAULTS_MAX; t.call += step) {
                t.ending = (ending_t) nlt_test_below(ENDINGS);
                hit = try_call(&t, &n_faults);
                n++;
            }
            NLT_CHECK(t.call > 40 || n_faults > 0);
        }
    }
    printf("# %s: %u calls tried\n", t.story, n);
}

static void
tell(const char *name, fl_story_cb_t story, int64_t wal_sync_ms)
{
    every_call(
        (trial_t){.story = name, .tell = story, .wal_sync_ms = wal_sync_ms});
}

static void
life(void)
{
    tell("life, always", fl_story_life, NLT_WAL_SYNC_ALWAYS);
}

static void
life_with_interval(void)
{
    tell("life, interval", fl_story_life, 1000);
}

static void
tenants_deleted(void)
{
    tenants = true;
    tell("tenants, always", fl_story_tenants, NLT_WAL_SYNC_ALWAYS);
    tenants = false;
}

static void
waiting(void)
{
    tell("waiting, always", fl_story_waiting, NLT_WAL_SYNC_ALWAYS);
}

static void
ageing(void)
{
    tell("ageing, off", fl_story_ageing, NLT_WAL_SYNC_OFF);
}

static void
merging(void)
{
    tell("merging, interval", fl_story_merging, 1000);
}

static void
converting(void)
{
    tell("converting, interval", fl_story_converting, 1000);
}

static void
deleting(void)
{
    tell("deleting, interval", fl_story_deleting, 1000);
}

static void
import(void)
{
    tell("import, interval", fl_story_import, 1000);
}

static void
snapshots(void)
{
    tell("snapshots, interval", fl_story_snapshots, 1000);
}

static void
rot(void)
{
    tell("rot, interval", fl_story_rot, 1000);
}

static void
recovery(void)
{
    every_call((trial_t){.story = "recovery, always",
                         .tell = fl_story_life,
                         .wal_sync_ms = NLT_WAL_SYNC_ALWAYS,
                         .at_start = true});
}

int
main(int argc, char **argv)
{
    full = getenv("NLT_FAULT_FULL") != NULL;
    (void) nlt_test_seed();
    FL_TEST(life);
    FL_TEST(life_with_interval);
    FL_TEST(tenants_deleted);
    FL_TEST(waiting);
    FL_TEST(ageing);
    FL_TEST(merging);
    FL_TEST(converting);
    FL_TEST(deleting);
    FL_TEST(import);
    FL_TEST(snapshots);
    FL_TEST(rot);
    FL_TEST(recovery);
    return nlt_test_done();
}
