/*
 * power_loss_test.c - the power goes at every single change of the disk.
 *
 * A run of the real store, with several writers, flushes, retention, deaths
 * of processes, is recorded (fl_disk.h).  Then, for each change of the disk in
 * it, the trees that a power loss there may leave are built (fl_tree.h), and
 * the store is opened on each, without its head: it must start, and have
 *
 *   - every sample that was acknowledged with wal_sync=always
 *   - every sample whose log was synced since, in the other modes; a log that
 *     is removed counts as synced
 *   - no sample with a wrong value, none that was not sent, none twice
 *
 * and then go on living.  Recovery is recorded as well, and the power goes
 * again in the middle of it: what one recovery brought back, no other loses.
 *
 * NLT_FAULT_FULL=1 goes through everything; otherwise a sample is taken.
 * An argument runs the tests that have it in their name.
 */
#include "nlt_test.h"

#include "fl_story.h"
#include "fl_tree.h"

#define FAULTS_MAX 3

typedef struct {
    char root[48];
    char disk_path[96];
    fl_disk_t disk;
    fl_story_t t;
} run_t;

static bool full;
static bool tenants; /* of the stores that are made */

/* ---- runs ---- */

static void
run_begin(run_t *r, int64_t wal_sync_ms)
{
    char head[96];
    nlt_err_t err;

    memset(r, 0, sizeof(*r));
    r->t.rand = nlt_test_rand();
    fl_room_make(r->root, sizeof(r->root));
    fl_room_dir(r->root, "disk", r->disk_path, sizeof(r->disk_path));
    fl_room_dir(r->root, "head", head, sizeof(head));
    fl_disk_init(&r->disk, r->disk_path);
    fl_store_init(&r->t.s, r->root, "disk", &r->disk, wal_sync_ms);
    r->t.s.tenants = tenants;
    NLT_CHECK(fl_store_start(&r->t.s, FL_WRITERS, &err));
}

static void
run_end(run_t *r)
{
    fl_store_close(&r->t.s);
    fl_disk_deinit(&r->disk);
    fl_ledger_deinit(&r->t.ledger);
    fl_room_remove(r->root);
}

typedef enum {
    DEATH,   /* all calls fail from one on, then others begin */
    HICCUP,  /* one call fails */
    RECOVERY /* one call fails while the log is read */
} trouble_t;

/* A life with trouble at a call; *after is the number of changes by then. */
static bool
troubled(run_t *r, long call, trouble_t what, size_t *after)
{
    fl_plan_t plan = {
        .fail_at = call, .transient = what != DEATH, .torn = true};
    nlt_err_t err;
    bool hit;

    if (what != RECOVERY) {
        fl_disk_plan(&r->disk, plan);
    }
    fl_story_write(&r->t, 0);
    if (what == RECOVERY) {
        fl_store_close(&r->t.s);
        fl_store_reboot(&r->t.s);
        fl_disk_plan(&r->disk, plan);
        while (!fl_store_start(&r->t.s, FL_WRITERS, &err) && r->disk.hit) {
            fl_store_close(&r->t.s);
        }
    }
    *after = r->disk.n;
    nlt_helper_flush_soon(r->t.s.helper);
    fl_store_steps(&r->t.s, 4);
    fl_story_pass(&r->t, 60000);
    hit = r->disk.hit;
    fl_disk_plan(&r->disk, (fl_plan_t){.fail_at = 0});
    *after = what == RECOVERY ? *after : r->disk.n;
    if (what == DEATH) {
        fl_store_close(&r->t.s);
        NLT_CHECK(fl_store_start(&r->t.s, FL_WRITERS, &err));
    }
    for (unsigned i = 0; i < 4; i++) {
        r->t.s.now_ms += 1000;
        (void) fl_store_write(&r->t.s, &r->t.ledger, 0, 0, 4, r->t.s.now_ms);
        nlt_helper_flush_soon(r->t.s.helper);
        fl_store_steps(&r->t.s, 1);
    }
    fl_story_write(&r->t, 1);
    return hit;
}

/* ---- losses ---- */

typedef struct {
    const char *name;
    const run_t *run;
    fl_ledger_t ledger; /* sorted */
    size_t *must_at;    /* sorted: positions at which rows became safe */
    uint64_t *seen;     /* sums of trees that were tried */
    size_t n_seen, seen_cap;
    size_t n_tried, n_equal, n_faults;
    bool nested;
} trial_t;

typedef struct {
    size_t at;
    fl_loss_t kind;
    uint64_t seed;
} loss_t;

static int
by_size(const void *a, const void *b)
{
    size_t x = *(const size_t *) a, y = *(const size_t *) b;

    return (x > y) - (x < y);
}

static void
trial_begin(trial_t *t, const char *name, run_t *run)
{
    *t = (trial_t){.name = name, .run = run};
    fl_store_settle(&run->t.s, &run->t.ledger);
    fl_ledger_sort(&run->t.ledger);
    fl_ledger_copy(&t->ledger, &run->t.ledger);
    t->must_at = malloc((t->ledger.n + 1) * sizeof(*t->must_at));
    for (size_t i = 0; i < t->ledger.n; i++) {
        t->must_at[i] = t->ledger.v[i].must;
    }
    qsort(t->must_at, t->ledger.n, sizeof(*t->must_at), by_size);
}

static void
trial_say(const trial_t *t)
{
    printf("# %s: %zu changes, %zu losses tried, %zu equal to one of these\n",
           t->name, t->run->disk.n, t->n_tried, t->n_equal);
}

static void
trial_end(trial_t *t)
{
    fl_ledger_deinit(&t->ledger);
    free(t->must_at);
    free(t->seen);
}

/* A tree that was tried with the same rows safe need not be tried again. */
static bool
was_tried(trial_t *t, uint64_t sum, size_t at)
{
    size_t n_must = 0;

    while (n_must < t->ledger.n && t->must_at[n_must] <= at) {
        n_must++;
    }
    sum = nlt_mix64(sum + n_must);
    for (size_t i = 0; i < t->n_seen; i++) {
        if (t->seen[i] == sum) {
            return true;
        }
    }
    if (t->n_seen == t->seen_cap) {
        t->seen_cap = t->seen_cap ? 2 * t->seen_cap : 256;
        t->seen = realloc(t->seen, t->seen_cap * sizeof(*t->seen));
    }
    t->seen[t->n_seen++] = sum;
    return false;
}

static void
fault(trial_t *t, const loss_t *l, const char *what, const char *why)
{
    char change[200] = "nothing";

    NLT_CHECK(!"a loss does harm");
    if (l->at > 0) {
        fl_disk_describe(&t->run->disk, l->at - 1, change, sizeof(change));
    }
    printf("# %s: loss after change %zu (%s), %s, seed %llu: %s: %s\n",
           t->name, l->at, change, fl_loss_names[l->kind],
           (unsigned long long) l->seed, what, why);
    t->n_faults++;
}

/* It goes on: takes samples, writes blocks, forgets nothing, leaves nothing.
 */
static const char *
lives_on(fl_store_t *s, const fl_ledger_t *before, size_t at, fl_verdict_t *v)
{
    fl_ledger_t l = {.v = NULL};
    const char *fault = NULL;

    fl_ledger_copy(&l, before);
    s->now_ms += 60000;
    if (!fl_store_write(s, &l, 0, 0, 10, s->now_ms) || !fl_store_flush(s)
        || !fl_store_write(s, &l, 0, 0, 10, s->now_ms + 1000)) {
        (void) snprintf(v->first, sizeof(v->first), "%.150s", s->last_log);
        fault = "does not go on";
    } else {
        fl_ledger_sort(&l);
        if (!fl_store_check(s, &l, at, false, v)) {
            fault = "later";
        } else if (fl_store_litter(s, v->first, sizeof(v->first))) {
            fault = "litter";
        }
    }
    fl_ledger_deinit(&l);
    return fault;
}

/*
 * Builds the tree in root/`where`; false: it was tried before, and shall not
 * be again.
 */
static bool
build(trial_t *t, const loss_t *l, const char *where, bool once)
{
    fl_tree_t *tree = fl_tree_create(&t->run->disk, l->at, l->kind, l->seed);
    bool again = was_tried(t, fl_tree_sum(tree), l->at) && once;
    char path[96];

    if (again) {
        t->n_equal++;
    } else {
        fl_room_dir(t->run->root, where, path, sizeof(path));
        fl_tree_write(tree, path);
        t->n_tried++;
    }
    fl_tree_destroy(tree);
    return !again;
}

static void
try_loss(trial_t *t, const loss_t *l)
{
    const char *where = t->nested ? "second" : "first", *what = NULL;
    fl_verdict_t v = {.lost = 0};
    fl_store_t s;
    nlt_err_t err = {.rc = NLT_OK};

    if (!build(t, l, where, true)) {
        return;
    }
    fl_store_init(&s, t->run->root, where, NULL, t->run->t.s.conf.wal_sync_ms);
    s.tenants = tenants;
    s.now_ms = t->run->t.s.now_ms;
    fl_store_reboot(&s);
    if (!fl_store_start(&s, 1, &err)) {
        what = "does not start";
        (void) snprintf(v.first, sizeof(v.first), "%.150s", err.text);
    } else if (!fl_store_check(&s, &t->ledger, l->at, false, &v)) {
        what = "after the start";
    } else if (!fl_story_snapshots_whole(&t->run->t, s.path, l->at, v.first,
                                         sizeof(v.first))) {
        what = "snapshots";
    } else {
        what = lives_on(&s, &t->ledger, l->at, &v);
    }
    if (what == NULL && s.n_alerts > 0) {
        what = "an alert";
    }
    fl_store_close(&s);
    if (what != NULL) {
        fault(t, l, what, v.first);
    }
}

/* ---- a second loss, while the store recovers from the first ---- */

/* What a run that begins with the tree of a loss knows. */
static void
inherit(fl_story_t *to, const fl_story_t *from, size_t at)
{
    fl_ledger_copy(&to->ledger, &from->ledger);
    for (size_t i = 0; i < to->ledger.n; i++) {
        fl_row_t *row = &to->ledger.v[i];

        row->tried = row->tried <= at ? 0 : SIZE_MAX;
        /* Of a delete that was under way nobody knows: see fl_ledger_hold. */
        row->doomed = row->doomed < at ? 0 : SIZE_MAX;
        row->must = row->must <= at && row->doomed > 0 ? 0 : SIZE_MAX;
        row->gone = row->gone <= at ? 0 : SIZE_MAX;
    }
    for (unsigned i = 0; i < to->ledger.n_said; i++) {
        fl_said_t *said = &to->ledger.said[i];

        said->tried = said->tried <= at ? 0 : SIZE_MAX;
        said->must = said->must <= at ? 0 : SIZE_MAX;
        said->log_to = 0;
    }
    memcpy(to->snapshot, from->snapshot, sizeof(to->snapshot));
    to->n_snapshots = from->n_snapshots;
    for (unsigned i = 0; i < to->n_snapshots; i++) {
        to->snapshot[i].done = to->snapshot[i].done <= at ? 0 : SIZE_MAX;
    }
}

static void every_loss(trial_t *t, unsigned seeds);
static void some_losses(trial_t *t, unsigned n);

static void
try_second(trial_t *first, const loss_t *l)
{
    char name[80];
    fl_verdict_t v;
    nlt_err_t err = {.rc = NLT_OK};
    trial_t second;
    run_t r = {.t = {.n_imports = 0}};

    (void) build(first, l, "first", false);
    memcpy(r.root, first->run->root, sizeof(r.root));
    (void) snprintf(r.disk_path, sizeof(r.disk_path), "%s/first", r.root);
    fl_disk_init(&r.disk, r.disk_path);
    fl_store_init(&r.t.s, r.root, "first", &r.disk,
                  first->run->t.s.conf.wal_sync_ms);
    r.t.s.tenants = tenants;
    r.t.s.now_ms = first->run->t.s.now_ms;
    fl_store_reboot(&r.t.s);
    inherit(&r.t, &first->run->t, l->at);
    if (!fl_store_start(&r.t.s, FL_WRITERS, &err)) {
        fault(first, l, "does not start", err.text);
    } else if (!fl_store_check(&r.t.s, &r.t.ledger, 0, true, &v)) {
        fault(first, l, "after the start", v.first);
    } else {
        fl_story_pass(&r.t, 60000);
        fl_story_write(&r.t, 9);
        fl_store_steps(&r.t.s, 2);
        NLT_CHECK(fl_store_flush(&r.t.s));
    }
    fl_store_close(&r.t.s);
    if (first->n_faults == 0) {
        (void) snprintf(name, sizeof(name), "%s, loss after %zu (%s), again",
                        first->name, l->at, fl_loss_names[l->kind]);
        trial_begin(&second, name, &r);
        second.nested = true;
        if (full) {
            every_loss(&second, 1);
        } else {
            some_losses(&second, 25);
        }
        first->n_faults += second.n_faults;
        trial_say(&second);
        trial_end(&second);
    }
    fl_disk_deinit(&r.disk);
    fl_ledger_deinit(&r.t.ledger);
}

/* ---- which losses ---- */

static void
every_loss(trial_t *t, unsigned seeds)
{
    for (size_t at = 0; at <= t->run->disk.n; at++) {
        for (int kind = 0; kind < FL_LOSSES; kind++) {
            unsigned n = fl_loss_has_chance((fl_loss_t) kind) ? seeds : 1;

            for (unsigned k = 0; k < n && t->n_faults < FAULTS_MAX; k++) {
                loss_t l = {at, (fl_loss_t) kind, nlt_test_rand()};

                try_loss(t, &l);
            }
        }
    }
}

static loss_t
some_loss(const trial_t *t)
{
    return (loss_t){(size_t) nlt_test_below(t->run->disk.n + 1),
                    (fl_loss_t) nlt_test_below(FL_LOSSES), nlt_test_rand()};
}

static void
some_losses(trial_t *t, unsigned n)
{
    for (; n > 0 && t->n_faults < FAULTS_MAX; n--) {
        loss_t l = some_loss(t);

        try_loss(t, &l);
    }
}

static void
power_goes(const char *name, fl_story_cb_t story, int64_t wal_sync_ms)
{
    run_t run;
    trial_t t;

    run_begin(&run, wal_sync_ms);
    NLT_CHECK(story(&run.t));
    if (getenv("NLT_TEST_VERBOSE") != NULL) {
        for (size_t i = 0; i < run.disk.n; i++) {
            char text[200];

            fl_disk_describe(&run.disk, i, text, sizeof(text));
            printf("# change %zu: %s\n", i + 1, text);
        }
    }
    fl_store_close(&run.t.s);
    trial_begin(&t, name, &run);
    if (full) {
        every_loss(&t, 4);
    } else {
        some_losses(&t, 80);
    }
    for (unsigned k = full ? 12 : 1; k > 0 && t.n_faults == 0; k--) {
        loss_t l = some_loss(&t);

        try_second(&t, &l);
    }
    trial_say(&t);
    trial_end(&t);
    run_end(&run);
}

/* Trouble at each call of a short life, later the loss. */
static void
trouble_then_loss(const char *name, trouble_t what)
{
    unsigned n_faults = 0;
    bool hit = true;
    long step = full ? 1 : 29;
    long call = full ? 1 : 1 + (long) nlt_test_below(29);

    for (; hit && n_faults < FAULTS_MAX; call += step) {
        char text[64];
        run_t run;
        trial_t t;
        size_t after;

        run_begin(&run, NLT_WAL_SYNC_ALWAYS);
        hit = troubled(&run, call, what, &after);
        fl_store_close(&run.t.s);
        (void) snprintf(text, sizeof(text), "%s at call %ld", name, call);
        trial_begin(&t, text, &run);
        for (size_t at = after; at <= run.disk.n; at += full ? 1 : 11) {
            loss_t none = {at, FL_LOSS_NONE, 0};
            loss_t some = {at, FL_LOSS_RANDOM, nlt_test_rand()};

            try_loss(&t, &none);
            try_loss(&t, &some);
        }
        n_faults += (unsigned) t.n_faults;
        trial_end(&t);
        run_end(&run);
    }
    NLT_CHECK(call > 50);
}

static void
death_at_any_call_then_loss(void)
{
    trouble_then_loss("death", DEATH);
}

static void
hiccup_at_any_call_then_loss(void)
{
    trouble_then_loss("hiccup", HICCUP);
}

static void
hiccup_at_any_call_of_recovery_then_loss(void)
{
    trouble_then_loss("hiccup of recovery", RECOVERY);
}

static void
always_loses_nothing(void)
{
    power_goes("always, life", fl_story_life, NLT_WAL_SYNC_ALWAYS);
}

static void
always_loses_nothing_that_waited(void)
{
    power_goes("always, waiting", fl_story_waiting, NLT_WAL_SYNC_ALWAYS);
}

static void
interval_loses_what_was_not_synced(void)
{
    power_goes("interval, life", fl_story_life, 1000);
}

static void
off_loses_only_logs(void)
{
    power_goes("off, life", fl_story_life, NLT_WAL_SYNC_OFF);
}

static void
retention_and_loss(void)
{
    power_goes("interval, ageing", fl_story_ageing, 1000);
}

static void
merges_and_loss(void)
{
    power_goes("always, merging", fl_story_merging, NLT_WAL_SYNC_ALWAYS);
}

static void
conversions_and_loss(void)
{
    power_goes("always, converting", fl_story_converting, NLT_WAL_SYNC_ALWAYS);
}

static void
deletes_and_loss(void)
{
    power_goes("always, deleting", fl_story_deleting, NLT_WAL_SYNC_ALWAYS);
}

static void
import_and_loss(void)
{
    power_goes("interval, import", fl_story_import, 1000);
}

static void
snapshots_and_loss(void)
{
    power_goes("always, snapshots", fl_story_snapshots, NLT_WAL_SYNC_ALWAYS);
}

static void
rot_and_loss(void)
{
    power_goes("always, rot", fl_story_rot, NLT_WAL_SYNC_ALWAYS);
}

static void
deaths_and_loss_with_always(void)
{
    power_goes("always, deaths", fl_story_deaths, NLT_WAL_SYNC_ALWAYS);
}

static void
deaths_and_loss_with_interval(void)
{
    power_goes("interval, deaths", fl_story_deaths, 1000);
}

static void
tenants_and_loss(void)
{
    tenants = true;
    power_goes("life with tenants", fl_story_life, NLT_WAL_SYNC_ALWAYS);
    power_goes("merges with tenants", fl_story_merging, NLT_WAL_SYNC_ALWAYS);
    power_goes("tenants deleted", fl_story_tenants, NLT_WAL_SYNC_ALWAYS);
    power_goes("tenants deleted, interval", fl_story_tenants, 1000);
    tenants = false;
}

int
main(int argc, char **argv)
{
    full = getenv("NLT_FAULT_FULL") != NULL;
    (void) nlt_test_seed();
    FL_TEST(always_loses_nothing);
    FL_TEST(always_loses_nothing_that_waited);
    FL_TEST(interval_loses_what_was_not_synced);
    FL_TEST(off_loses_only_logs);
    FL_TEST(retention_and_loss);
    FL_TEST(merges_and_loss);
    FL_TEST(conversions_and_loss);
    FL_TEST(deletes_and_loss);
    FL_TEST(tenants_and_loss);
    FL_TEST(import_and_loss);
    FL_TEST(snapshots_and_loss);
    FL_TEST(rot_and_loss);
    FL_TEST(deaths_and_loss_with_always);
    FL_TEST(deaths_and_loss_with_interval);
    FL_TEST(death_at_any_call_then_loss);
    FL_TEST(hiccup_at_any_call_then_loss);
    FL_TEST(hiccup_at_any_call_of_recovery_then_loss);
    return nlt_test_done();
}
