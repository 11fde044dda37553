/*
 * nlt_store_delete_test.c - deletes from the request to the last byte.
 */
#include "nlt_delete_fixture.h"

#define ALL (~UINT64_C(0))

static uint64_t
only(unsigned no)
{
    return UINT64_C(1) << no;
}

/* Series 0 .. n - 1, a sample each minute of an hour up to now. */
static void
write_hour(fx_t *fx, unsigned n, double v)
{
    for (unsigned no = 0; no < n; no++) {
        for (int64_t t = fx->now_ms - FX_HOUR; t <= fx->now_ms; t += 60000) {
            (void) fx_write(fx, no, t, v + no);
        }
    }
}

static uint64_t
active(fx_t *fx)
{
    nlt_head_ctl_t *ctl = nlt_store_ctl(fx->store);
    uint64_t no = 0;

    for (size_t i = 0; i < NLT_HEAD_ARENAS; i++) {
        if (atomic_load(&ctl->arenas[i].state) == NLT_ARENA_ACTIVE) {
            no = atomic_load(&ctl->arenas[i].no);
        }
    }
    return no;
}

static bool
all_is_well(fx_t *fx)
{
    int64_t mid = fx->now_ms - FX_HOUR / 2;

    return fx_check(fx, INT64_MIN, INT64_MAX)
           && fx_check(fx, mid - 300000, mid + 300000)
           && fx_check(fx, fx->now_ms, fx->now_ms);
}

static void
restart(fx_t *fx, bool lose_head)
{
    fx_close(fx);
    if (lose_head) {
        fx_remove_head(fx);
    }
    NLT_CHECK(fx_start(fx));
}

static void
delete_hides_at_once_and_spares_what_comes_later(void)
{
    fx_t fx;
    int64_t mid;
    nlt_err_t err;

    fx_init(&fx);
    NLT_CHECK(fx_start(&fx));
    mid = fx.now_ms - FX_HOUR / 2;
    write_hour(&fx, 5, 1);
    NLT_CHECK_INT(fx_delete(&fx, only(1) | only(3), mid, mid + 600000, &err),
                  NLT_OK);
    NLT_CHECK(all_is_well(&fx));
    /* The same times again, with other values, live. */
    for (int64_t t = mid; t <= mid + 300000; t += 60000) {
        NLT_CHECK_INT(fx_write(&fx, 1, t, 100), NLT_OK);
    }
    NLT_CHECK(all_is_well(&fx));
    /* And through all that can happen to them. */
    restart(&fx, false);
    NLT_CHECK(all_is_well(&fx));
    restart(&fx, true);
    NLT_CHECK(all_is_well(&fx));
    NLT_CHECK(fx_flush(&fx));
    NLT_CHECK(all_is_well(&fx));
    restart(&fx, true);
    NLT_CHECK(all_is_well(&fx));
    fx_deinit(&fx);
}

static void
delete_of_everything_leaves_nothing(void)
{
    fx_t fx;
    nlt_err_t err;

    fx_init(&fx);
    NLT_CHECK(fx_start(&fx));
    write_hour(&fx, 3, 1);
    NLT_CHECK(fx_flush(&fx));
    write_hour(&fx, 6, 50);
    NLT_CHECK_INT(fx_delete(&fx, ALL, INT64_MIN, INT64_MAX, &err), NLT_OK);
    NLT_CHECK(all_is_well(&fx));
    write_hour(&fx, 2, 7);
    NLT_CHECK(all_is_well(&fx));
    restart(&fx, true);
    NLT_CHECK(all_is_well(&fx));
    fx_deinit(&fx);
}

static void
only_an_arena_with_such_samples_is_sealed(void)
{
    fx_t fx;
    uint64_t before;
    nlt_err_t err;

    fx_init(&fx);
    NLT_CHECK(fx_start(&fx));
    write_hour(&fx, 3, 1);
    before = active(&fx);
    /* Not this series, not these times. */
    NLT_CHECK_INT(fx_delete(&fx, only(9), INT64_MIN, INT64_MAX, &err), NLT_OK);
    NLT_CHECK_INT(fx_delete(&fx, only(1), 0, fx.now_ms - 2 * FX_HOUR, &err),
                  NLT_OK);
    NLT_CHECK_INT(
        fx_delete(&fx, only(1), fx.now_ms - 59999, fx.now_ms - 1, &err),
        NLT_OK);
    NLT_CHECK_INT(active(&fx), before);
    NLT_CHECK(all_is_well(&fx));
    NLT_CHECK_INT(fx_delete(&fx, only(1), fx.now_ms, fx.now_ms, &err), NLT_OK);
    NLT_CHECK_INT(active(&fx), before + 1);
    NLT_CHECK(all_is_well(&fx));
    fx_deinit(&fx);
}

/* What a rule is not about does not come under it later. */
static void
samples_written_after_a_delete_without_seal_live(void)
{
    fx_t fx;
    nlt_err_t err;

    fx_init(&fx);
    NLT_CHECK(fx_start(&fx));
    write_hour(&fx, 2, 1);
    NLT_CHECK_INT(fx_delete(&fx, only(5), INT64_MIN, INT64_MAX, &err), NLT_OK);
    NLT_CHECK_INT(fx_write(&fx, 5, fx.now_ms, 3), NLT_OK);
    NLT_CHECK(all_is_well(&fx));
    NLT_CHECK(fx_flush(&fx));
    NLT_CHECK(all_is_well(&fx));
    restart(&fx, true);
    NLT_CHECK(all_is_well(&fx));
    fx_deinit(&fx);
}

static void
steps_until_rules(fx_t *fx, size_t n)
{
    for (int i = 0; i < 200 && fx_rules(fx) != n; i++) {
        fx_step(fx, 1);
    }
    NLT_CHECK_INT(fx_rules(fx), n);
}

/* ---- names ---- */

/* Is the value among those of label i?  With or without a matcher. */
static bool
has_value(fx_t *fx, const char *value, bool matcher)
{
    nlt_matcher_t m = {NLT_MATCH_EQ, NLT_METRIC_NAME, NLT_STR("m"), NULL};
    nlt_select_t sel = {&m, matcher, INT64_MIN, INT64_MAX};
    bool found = false;
    nlt_str_t *v;
    size_t n = 0;
    nlt_pool_t pool;
    nlt_view_t view;
    nlt_err_t err;

    NLT_CHECK_INT(nlt_view_open(fx->store, 0, NULL, &view, &err), NLT_OK);
    nlt_pool_init(&pool, &nlt_mem_libc, 64 << 20);
    NLT_CHECK_INT(view.source.ops->label_values(
                      &view.source, &pool, NLT_STR("i"), &sel, &v, &n, &err),
                  NLT_OK);
    for (size_t i = 0; i < n; i++) {
        found |= nlt_str_eq(v[i], nlt_test_str(value));
    }
    nlt_pool_deinit(&pool);
    nlt_view_close(&view);
    return found;
}

/* Label names of the store. */
static size_t
n_names(fx_t *fx)
{
    nlt_select_t sel = {NULL, 0, INT64_MIN, INT64_MAX};
    nlt_str_t *v;
    size_t n = 0;
    nlt_pool_t pool;
    nlt_view_t view;
    nlt_err_t err;

    NLT_CHECK_INT(nlt_view_open(fx->store, 0, NULL, &view, &err), NLT_OK);
    nlt_pool_init(&pool, &nlt_mem_libc, 64 << 20);
    NLT_CHECK_INT(
        view.source.ops->label_names(&view.source, &pool, &sel, &v, &n, &err),
        NLT_OK);
    nlt_pool_deinit(&pool);
    nlt_view_close(&view);
    return n;
}

/* Series that a select finds, whether they have samples or not. */
static size_t
n_series(fx_t *fx)
{
    nlt_select_t sel = {NULL, 0, INT64_MIN, INT64_MAX};
    nlt_series_set_t *set;
    nlt_pool_t pool;
    nlt_view_t view;
    nlt_err_t err;
    size_t n;

    NLT_CHECK_INT(nlt_view_open(fx->store, 0, NULL, &view, &err), NLT_OK);
    nlt_pool_init(&pool, &nlt_mem_libc, 64 << 20);
    NLT_CHECK_INT(
        view.source.ops->select(&view.source, &pool, &sel, &set, &err),
        NLT_OK);
    n = set->n;
    view.source.ops->close(set);
    nlt_pool_deinit(&pool);
    nlt_view_close(&view);
    return n;
}

static void
names_are_gone(fx_t *fx, size_t series)
{
    NLT_CHECK(has_value(fx, "0", false));
    NLT_CHECK(has_value(fx, "0", true));
    NLT_CHECK(!has_value(fx, "1", false));
    NLT_CHECK(!has_value(fx, "1", true));
    NLT_CHECK(has_value(fx, "2", false));
    NLT_CHECK(has_value(fx, "2", true));
    NLT_CHECK_INT(n_names(fx), 2);
    NLT_CHECK_INT(n_series(fx), series);
}

static void
names_of_deleted_series_are_gone(void)
{
    fx_t fx;
    nlt_err_t err;

    fx_init(&fx);
    NLT_CHECK(fx_start(&fx));
    write_hour(&fx, 3, 1);
    NLT_CHECK_INT(n_series(&fx), 3);
    NLT_CHECK_INT(fx_delete(&fx, only(1), INT64_MIN, INT64_MAX, &err), NLT_OK);
    names_are_gone(&fx, 2); /* of a sealed arena */
    NLT_CHECK_INT(fx_clean(&fx, &err), NLT_OK);
    names_are_gone(&fx, 2); /* of a block that never had it */
    write_hour(&fx, 2, 1);
    NLT_CHECK(fx_flush(&fx));
    NLT_CHECK(has_value(&fx, "1", false));
    NLT_CHECK_INT(fx_delete(&fx, only(1), INT64_MIN, INT64_MAX, &err), NLT_OK);
    names_are_gone(&fx, 2); /* of a block that has it */
    NLT_CHECK_INT(fx_delete(&fx, ALL, INT64_MIN, INT64_MAX, &err), NLT_OK);
    NLT_CHECK_INT(n_names(&fx), 0);
    NLT_CHECK_INT(n_series(&fx), 0);
    fx_deinit(&fx);
}

/* ---- the end of rules ---- */

static void
rules_without_anything_under_them_are_dropped(void)
{
    fx_t fx;
    nlt_err_t err;

    fx_init(&fx);
    NLT_CHECK(fx_start(&fx));
    write_hour(&fx, 3, 1);
    /* Nothing such anywhere. */
    NLT_CHECK_INT(fx_delete(&fx, only(9), INT64_MIN, INT64_MAX, &err), NLT_OK);
    steps_until_rules(&fx, 0);
    /* In a sealed arena, or in what it became. */
    NLT_CHECK_INT(fx_delete(&fx, only(1), INT64_MIN, INT64_MAX, &err), NLT_OK);
    NLT_CHECK_INT(fx_clean(&fx, &err), NLT_OK);
    NLT_CHECK_INT(fx_rules(&fx), 0);
    NLT_CHECK(all_is_well(&fx));
    /* A block that has none such is counted up. */
    NLT_CHECK_INT(fx_delete(&fx, only(9), INT64_MIN, INT64_MAX, &err), NLT_OK);
    NLT_CHECK_INT(fx_delete(&fx, ALL, 0, fx.now_ms - 30 * 24 * FX_HOUR, &err),
                  NLT_OK);
    steps_until_rules(&fx, 0);
    NLT_CHECK(all_is_well(&fx));
    /* Numbers go on. */
    NLT_CHECK_INT(fx_delete(&fx, only(0), fx.now_ms, fx.now_ms, &err), NLT_OK);
    NLT_CHECK_INT(fx_rules(&fx), 1);
    NLT_CHECK(all_is_well(&fx));
    fx_deinit(&fx);
}

static void
dirty_blocks_are_rewritten_when_asked(void)
{
    fx_t fx;
    nlt_err_t err;

    fx_init(&fx);
    NLT_CHECK(fx_start(&fx));
    write_hour(&fx, 4, 1);
    NLT_CHECK(fx_flush(&fx));
    NLT_CHECK_INT(fx_delete(&fx, only(1), INT64_MIN, INT64_MAX, &err), NLT_OK);
    NLT_CHECK_INT(
        fx_delete(&fx, only(2), fx.now_ms - FX_HOUR / 2, INT64_MAX, &err),
        NLT_OK);
    fx_step(&fx, 5);
    NLT_CHECK_INT(fx_rules(&fx), 2); /* not at once */
    NLT_CHECK(all_is_well(&fx));
    NLT_CHECK_INT(fx_clean(&fx, &err), NLT_OK);
    NLT_CHECK_INT(fx_rules(&fx), 0);
    NLT_CHECK(all_is_well(&fx));
    names_are_gone(&fx, 3);
    restart(&fx, true);
    NLT_CHECK(all_is_well(&fx));
    NLT_CHECK_INT(fx_clean(&fx, &err), NLT_OK); /* nothing to do */
    fx_deinit(&fx);
}

static void
dirty_blocks_are_rewritten_after_a_while(void)
{
    fx_t fx;
    nlt_err_t err;

    fx_init(&fx);
    NLT_CHECK(fx_start(&fx));
    write_hour(&fx, 2, 1);
    NLT_CHECK(fx_flush(&fx));
    NLT_CHECK_INT(fx_delete(&fx, only(1), INT64_MIN, INT64_MAX, &err), NLT_OK);
    fx_step(&fx, 5);
    NLT_CHECK_INT(fx_rules(&fx), 1);
    fx.mono_ns += 11 * 60 * INT64_C(1000000000);
    steps_until_rules(&fx, 0);
    NLT_CHECK(all_is_well(&fx));
    fx_deinit(&fx);
}

/* A rule about series 1 up to an arena, from somebody who says nothing. */
static void
write_rule(fx_t *fx, uint64_t arena_max)
{
    nlt_matcher_t m = {NLT_MATCH_EQ, NLT_STR("i"), NLT_STR("1"), NULL};
    nlt_delete_set_t set = {&m, 1};
    nlt_delete_t d = {.t_min_ms = INT64_MIN,
                      .t_max_ms = INT64_MAX,
                      .arena_max = arena_max,
                      .sets = &set,
                      .n_sets = 1};
    int fd = open(fx->path, O_RDONLY | O_DIRECTORY);
    nlt_err_t err;

    NLT_CHECK_INT(nlt_deletes_add(&nlt_env_posix, fd,
                                  nlt_store_ctl(fx->store)->store_id, &d,
                                  &err),
                  NLT_OK);
    close(fd);
}

/* A rule that somebody wrote who died before he said so holds in the end. */
static void
rule_of_a_dead_writer_is_found(void)
{
    fx_t fx;

    fx_init(&fx);
    NLT_CHECK(fx_start(&fx));
    write_hour(&fx, 2, 1);
    NLT_CHECK(fx_flush(&fx));
    NLT_CHECK(all_is_well(&fx));
    write_rule(&fx, active(&fx) - 1);
    NLT_CHECK(all_is_well(&fx)); /* nobody knows */
    fx.mono_ns += 61 * INT64_C(1000000000);
    fx_step(&fx, 2);
    fx_model_delete(&fx, only(1), INT64_MIN, INT64_MAX, false);
    NLT_CHECK(all_is_well(&fx));
    fx_deinit(&fx);
}

/* While the head has an arena that it concerns, a rule is not done. */
static void
rule_stays_as_long_as_an_arena_is_under_it(void)
{
    fx_t fx;

    fx_init(&fx);
    NLT_CHECK(fx_start(&fx));
    write_hour(&fx, 2, 1);
    write_rule(&fx, active(&fx));
    fx_model_delete(&fx, only(1), INT64_MIN, INT64_MAX, false);
    atomic_fetch_add(&nlt_store_ctl(fx.store)->deletes_gen, 1);
    fx_step(&fx, 20);
    NLT_CHECK_INT(fx_rules(&fx), 1);
    NLT_CHECK(all_is_well(&fx));
    NLT_CHECK(fx_flush(&fx));
    steps_until_rules(&fx, 0);
    NLT_CHECK(all_is_well(&fx));
    fx_deinit(&fx);
}

/* ---- a view while a rule comes to its end ---- */

static fx_t *between; /* whose helper works when the MANIFEST is opened */

static int
open_and_work(void *ctx, int dir_fd, const char *name, int flags,
              unsigned mode)
{
    fx_t *fx = between;

    if (fx != NULL && strcmp(name, "MANIFEST") == 0) {
        between = NULL;
        nlt_helper_flush_soon(fx->helper);
        atomic_store(&nlt_store_ctl(fx->store)->clean_asked, 1);
        for (int i = 0; i < 100 && fx_rules(fx) > 0; i++) {
            (void) nlt_helper_step(fx->helper, NULL);
            fx->mono_ns += 100000000;
        }
        NLT_CHECK_INT(fx_rules(fx), 0);
    }
    return fx_open(ctx, dir_fd, name, flags, mode);
}

/*
 * The arena is pinned, then it becomes a block and the rule is dropped, then
 * the list of blocks is read: what is deleted is seen in neither.
 */
static void
view_takes_rules_before_arenas_before_blocks(void)
{
    nlt_head_ctl_t *ctl;
    fx_t fx;

    fx_init(&fx);
    fx.io.open = open_and_work;
    NLT_CHECK(fx_start(&fx));
    ctl = nlt_store_ctl(fx.store);
    write_hour(&fx, 2, 1);
    write_rule(&fx, active(&fx));
    fx_model_delete(&fx, only(1), INT64_MIN, INT64_MAX, false);
    atomic_fetch_add(&ctl->deletes_gen, 1);
    NLT_CHECK(all_is_well(&fx));
    /* The next view reads the MANIFEST. */
    atomic_fetch_add(&ctl->manifest_gen, 1);
    between = &fx;
    NLT_CHECK(fx_check(&fx, INT64_MIN, INT64_MAX));
    NLT_CHECK(between == NULL);
    NLT_CHECK_INT(fx_rules(&fx), 0);
    NLT_CHECK(all_is_well(&fx));
    fx_deinit(&fx);
}

/* ---- what must not be used up or go wrong ---- */

static void
lost_deletes_file_does_not_disarm_later_ones(void)
{
    char name[128];
    fx_t fx;
    nlt_err_t err;

    fx_init(&fx);
    NLT_CHECK(fx_start(&fx));
    for (int i = 0; i < 3; i++) {
        NLT_CHECK_INT(fx_delete(&fx, only(9), 0, 1, &err), NLT_OK);
    }
    write_hour(&fx, 3, 1);
    NLT_CHECK(fx_flush(&fx)); /* a block with deletes 3 */
    fx_close(&fx);
    (void) snprintf(name, sizeof(name), "%s/DELETES", fx.path);
    NLT_CHECK_INT(unlink(name), 0);
    NLT_CHECK(fx_start(&fx));
    NLT_CHECK_INT(fx_delete(&fx, only(1), INT64_MIN, INT64_MAX, &err), NLT_OK);
    NLT_CHECK(all_is_well(&fx));
    fx_deinit(&fx);
}

/* Blocks that are counted up while the file is open in a worker, likewise. */
static void
lost_deletes_file_of_a_running_store_does_not_disarm_later_ones(void)
{
    char name[128];
    fx_t fx;
    nlt_err_t err;

    fx_init(&fx);
    NLT_CHECK(fx_start(&fx));
    write_hour(&fx, 3, 1);
    NLT_CHECK(fx_flush(&fx));
    NLT_CHECK(all_is_well(&fx)); /* the block is open, with deletes 0 */
    for (int i = 0; i < 3; i++) {
        NLT_CHECK_INT(fx_delete(&fx, only(9), 0, 1, &err), NLT_OK);
    }
    steps_until_rules(&fx, 0); /* now it has deletes 3 in the MANIFEST */
    (void) snprintf(name, sizeof(name), "%s/DELETES", fx.path);
    NLT_CHECK_INT(unlink(name), 0);
    NLT_CHECK_INT(fx_delete(&fx, only(1), INT64_MIN, INT64_MAX, &err), NLT_OK);
    NLT_CHECK(all_is_well(&fx));
    NLT_CHECK_INT(fx_clean(&fx, &err), NLT_OK);
    NLT_CHECK(all_is_well(&fx));
    fx_deinit(&fx);
}

/* A new head never takes a number that a rule concerns. */
static void
arena_numbers_go_beyond_rules_when_logs_are_lost(void)
{
    char name[128];
    fx_t fx;
    nlt_err_t err;

    fx_init(&fx);
    NLT_CHECK(fx_start(&fx));
    write_hour(&fx, 2, 1);
    NLT_CHECK(fx_flush(&fx));
    write_rule(&fx, 50);
    fx_model_delete(&fx, only(1), INT64_MIN, INT64_MAX, false);
    fx_close(&fx);
    fx_remove_head(&fx);
    (void) snprintf(name, sizeof(name), "%s/wal", fx.path);
    NLT_CHECK_INT(nlt_io_remove_tree(&nlt_io_posix, AT_FDCWD, name, &err),
                  NLT_OK);
    NLT_CHECK_INT(mkdir(name, 0700), 0);
    NLT_CHECK(fx_start(&fx));
    NLT_CHECK_INT(fx_write(&fx, 1, fx.now_ms, 6), NLT_OK);
    NLT_CHECK(all_is_well(&fx));
    fx_deinit(&fx);
}

static void
damaged_deletes_are_an_error_not_an_answer(void)
{
    char name[128];
    nlt_view_t view;
    nlt_store_status_t status;
    fx_t fx;
    char was;
    int fd;
    nlt_err_t err;

    fx_init(&fx);
    NLT_CHECK(fx_start(&fx));
    write_hour(&fx, 2, 1);
    NLT_CHECK_INT(fx_delete(&fx, only(1), INT64_MIN, INT64_MAX, &err), NLT_OK);
    fx_close(&fx);
    (void) snprintf(name, sizeof(name), "%s/DELETES", fx.path);
    fd = open(name, O_RDWR);
    NLT_CHECK_INT(pread(fd, &was, 1, 60), 1);
    NLT_CHECK_INT(pwrite(fd, "x", 1, 60), 1);
    close(fd);
    NLT_CHECK(fx_start(&fx));
    NLT_CHECK_INT(nlt_view_open(fx.store, 0, NULL, &view, &err), NLT_EDATA);
    NLT_CHECK(strstr(err.text, "DELETES line") != NULL);
    NLT_CHECK_INT(fx_delete(&fx, only(9), INT64_MIN, INT64_MAX, &err),
                  NLT_EDATA);
    /*
     * It is no fault of the head, the logs or the arenas: writing goes on,
     * and blocks are made, under the rules that nobody knows.
     */
    NLT_CHECK_INT(fx_write(&fx, 0, fx.now_ms + 1, 5), NLT_OK);
    NLT_CHECK(fx_flush(&fx));
    nlt_store_status(fx.store, &status);
    NLT_CHECK(status.ready);
    NLT_CHECK_INT(fx_write(&fx, 0, fx.now_ms + 2, 5), NLT_OK);
    /* Mended, they hold. */
    fd = open(name, O_WRONLY);
    NLT_CHECK_INT(pwrite(fd, &was, 1, 60), 1);
    close(fd);
    NLT_CHECK(all_is_well(&fx));
    NLT_CHECK_INT(fx_clean(&fx, &err), NLT_OK);
    NLT_CHECK(all_is_well(&fx));
    fx_deinit(&fx);
}

static void
too_many_rules_are_refused_until_some_are_done(void)
{
    fx_t fx;
    nlt_rc_t rc = NLT_OK;
    unsigned n = 0;
    int64_t t;
    nlt_err_t err;

    fx_init(&fx);
    NLT_CHECK(fx_start(&fx));
    t = fx.now_ms;
    write_hour(&fx, 2, 1);
    NLT_CHECK(fx_flush(&fx));
    /* The helper does not step: nothing is taken off. */
    while (rc == NLT_OK && n <= NLT_DELETES_MAX) {
        rc = fx_delete(&fx, only(0), t, t, &err);
        n += rc == NLT_OK;
    }
    NLT_CHECK_INT(rc, NLT_AGAIN);
    NLT_CHECK_INT(n, NLT_DELETES_MAX);
    NLT_CHECK(all_is_well(&fx));
    /* So many are urgent. */
    steps_until_rules(&fx, 0);
    NLT_CHECK(all_is_well(&fx));
    NLT_CHECK_INT(fx_delete(&fx, only(1), t, t, &err), NLT_OK);
    NLT_CHECK(all_is_well(&fx));
    fx_deinit(&fx);
}

static void
wrong_rules_and_a_store_that_is_not_ready_are_refused(void)
{
    nlt_matcher_t m = {NLT_MATCH_RE, NLT_STR("i"), NLT_STR("("), NULL};
    nlt_delete_set_t set = {&m, 1};
    nlt_delete_t d = {.t_max_ms = 1, .sets = &set, .n_sets = 1};
    fx_t fx;
    fx_wait_t w = {&fx, 3};
    const nlt_store_wait_t wait = {fx_pause, fx_poll, &w};
    nlt_err_t err;

    fx_init(&fx);
    NLT_CHECK(fx_start(&fx));
    NLT_CHECK_INT(nlt_store_delete(fx.store, &d, &wait, &err), NLT_EINVAL);
    NLT_CHECK_INT(fx_rules(&fx), 0);
    m.value = NLT_STR("x");
    fx_close(&fx);
    fx_remove_head(&fx);
    NLT_CHECK_INT(
        nlt_store_open(&fx.env, &fx.conf, NLT_ROLE_WORKER, &fx.store, &err),
        NLT_OK);
    NLT_CHECK_INT(nlt_store_delete(fx.store, &d, &wait, &err), NLT_ENOTREADY);
    NLT_CHECK_INT(nlt_store_clean(fx.store, &wait, &err), NLT_ENOTREADY);
    fx_deinit(&fx);
}

static nlt_rc_t
count_down(void *ctx)
{
    int *left = ctx;

    return --*left > 0 ? NLT_OK : NLT_ETIMEOUT;
}

/* Nobody seals: the delete gives up when it is told to, and nothing holds. */
static void
delete_that_cannot_seal_times_out(void)
{
    nlt_matcher_t m = {NLT_MATCH_EQ, NLT_STR("i"), NLT_STR("1"), NULL};
    nlt_delete_set_t set = {&m, 1};
    nlt_delete_t d = {.t_min_ms = INT64_MIN,
                      .t_max_ms = INT64_MAX,
                      .sets = &set,
                      .n_sets = 1};
    int left = 5;
    const nlt_store_wait_t wait = {count_down, fx_poll, &left};
    fx_t fx;
    nlt_err_t err;

    fx_init(&fx);
    NLT_CHECK(fx_start(&fx));
    write_hour(&fx, 2, 1);
    nlt_helper_close(fx.helper);
    fx.helper = NULL;
    NLT_CHECK_INT(nlt_store_delete(fx.store, &d, &wait, &err), NLT_ETIMEOUT);
    NLT_CHECK_INT(fx_rules(&fx), 0);
    NLT_CHECK(all_is_well(&fx));
    NLT_CHECK_INT(nlt_helper_open(&fx.env, &fx.conf, &fx.helper, &err),
                  NLT_OK);
    fx_step(&fx, 10);
    /* The lock is free again. */
    NLT_CHECK_INT(fx_delete(&fx, only(1), INT64_MIN, INT64_MAX, &err), NLT_OK);
    NLT_CHECK(all_is_well(&fx));
    fx_deinit(&fx);
}

/* A log of two samples of series 1 that no arena of the head has. */
static void
write_foreign_log(fx_t *fx, uint64_t no)
{
    nlt_label_t v[] = {{NLT_METRIC_NAME, NLT_STR("m")},
                       {NLT_STR("i"), NLT_STR("1")}};
    const uint8_t *id = nlt_store_ctl(fx->store)->store_id;
    char name[128];
    nlt_buf_t canonical;
    nlt_wal_t *w;
    size_t bytes;
    int fd;
    nlt_err_t err;

    (void) snprintf(name, sizeof(name), "%s/wal", fx->path);
    fd = open(name, O_RDONLY | O_DIRECTORY);
    nlt_buf_init(&canonical, &nlt_mem_libc, 4096);
    nlt_rw_canonical(&canonical, (nlt_labels_t){v, 2});
    NLT_CHECK_INT(nlt_wal_create(&nlt_env_posix, fd, id, no, 0, &err), NLT_OK);
    NLT_CHECK_INT(nlt_wal_open(&nlt_env_posix, fd, no, &w, &err), NLT_OK);
    nlt_wal_begin(w);
    nlt_wal_add_series(w, 1, 0, nlt_buf_str(&canonical));
    nlt_wal_add_sample(w, 1, fx->now_ms - 500, nlt_bits_of(7));
    nlt_wal_add_sample(w, 1, fx->now_ms - 400, nlt_bits_of(8));
    NLT_CHECK_INT(nlt_wal_commit(w, &bytes, &err), NLT_OK);
    nlt_wal_close(w);
    nlt_buf_deinit(&canonical);
    close(fd);
}

static nlt_head_ctl_t *doomed; /* declared dead as a rule is put in place */

static int
rename_and_die(void *ctx, int dir_fd, const char *from, const char *to)
{
    int sys = fx_rename(ctx, dir_fd, from, to);

    if (doomed != NULL && strcmp(to, "DELETES") == 0) {
        atomic_store(&doomed->state, NLT_HEAD_DEAD);
        doomed = NULL;
    }
    return sys;
}

/* Its logs may have been replayed before the rule was there. */
static void
delete_in_a_head_that_is_given_up_is_not_acknowledged(void)
{
    fx_t fx;
    nlt_err_t err;

    fx_init(&fx);
    fx.io.rename = rename_and_die;
    NLT_CHECK(fx_start(&fx));
    write_hour(&fx, 2, 1);
    NLT_CHECK(fx_flush(&fx));
    doomed = nlt_store_ctl(fx.store);
    NLT_CHECK_INT(fx_delete(&fx, only(1), INT64_MIN, INT64_MAX, &err),
                  NLT_ENOTREADY);
    NLT_CHECK(doomed == NULL);
    fx_step(&fx, 200);
    NLT_CHECK(all_is_well(&fx));
    NLT_CHECK_INT(fx_delete(&fx, only(1), INT64_MIN, INT64_MAX, &err), NLT_OK);
    NLT_CHECK(all_is_well(&fx));
    fx_deinit(&fx);
}

/*
 * Whoever looks at the active arena must not have old samples come up there
 * afterwards: a log is replayed into an open head under the lock.
 */
static void
replay_into_an_open_head_waits_for_deletes(void)
{
    fx_t fx;
    int fd, lock;
    nlt_err_t err;

    fx_init(&fx);
    NLT_CHECK(fx_start(&fx));
    NLT_CHECK_INT(fx_write(&fx, 0, fx.now_ms - 1000, 1), NLT_OK);
    write_foreign_log(&fx, 1000);
    fx_close(&fx);
    fd = open(fx.path, O_RDONLY | O_DIRECTORY);
    NLT_CHECK_INT(nlt_deletes_lock(&nlt_env_posix, fd, &lock, &err), NLT_OK);
    NLT_CHECK(fx_start(&fx));
    fx_step(&fx, 5);
    NLT_CHECK(all_is_well(&fx)); /* it is not there yet */
    nlt_deletes_unlock(&nlt_env_posix, lock);
    close(fd);
    fx_step(&fx, 5);
    fx_model_add(&fx, 1, fx.now_ms - 500, 7, false);
    fx_model_add(&fx, 1, fx.now_ms - 400, 8, false);
    NLT_CHECK(all_is_well(&fx));
    NLT_CHECK_INT(fx_delete(&fx, only(1), INT64_MIN, fx.now_ms - 450, &err),
                  NLT_OK);
    NLT_CHECK(all_is_well(&fx));
    fx_deinit(&fx);
}

typedef struct {
    fx_wait_t wait; /* first: fx_pause() has it */
    bool merged;
} merge_meanwhile_t;

/* Called with the line drawn, and no rule written yet. */
static nlt_rc_t
flush_and_merge(void *ctx)
{
    merge_meanwhile_t *m = ctx;
    fx_t *fx = m->wait.fx;

    if (!m->merged) {
        m->merged = true;
        NLT_CHECK_INT(fx_write(fx, 2, FX_NOW - 48 * FX_HOUR + 1, 5), NLT_OK);
        NLT_CHECK(fx_flush(fx));
        fx->now_ms += FX_HOUR; /* old enough to be merged */
        fx->mono_ns += 3600 * INT64_C(1000000000);
        fx_step(fx, 20);
    }
    return NLT_OK;
}

/*
 * A block of older and newer samples than a delete is about, made while that
 * is under way, would count as newer than its rule.
 */
static void
blocks_are_not_merged_across_the_line_of_a_delete(void)
{
    nlt_matcher_t m = {NLT_MATCH_EQ, NLT_STR("i"), NLT_STR("1"), NULL};
    nlt_delete_set_t set = {&m, 1};
    nlt_delete_t d = {.t_min_ms = INT64_MIN,
                      .t_max_ms = INT64_MAX,
                      .sets = &set,
                      .n_sets = 1};
    fx_t fx;
    merge_meanwhile_t meanwhile = {{&fx, 30}, false};
    const nlt_store_wait_t wait = {fx_pause, flush_and_merge, &meanwhile};
    uint64_t merges;
    nlt_err_t err;

    fx_init(&fx);
    NLT_CHECK(fx_start(&fx));
    for (unsigned no = 0; no < 3; no++) {
        for (int64_t t = 0; t < FX_HOUR; t += 60000) {
            (void) fx_write(&fx, no, fx.now_ms - 48 * FX_HOUR + t, no);
        }
    }
    (void) fx_write(&fx, 0, fx.now_ms, 1);
    NLT_CHECK(fx_flush(&fx));
    fx_step(&fx, 20);
    merges = atomic_load(&nlt_store_ctl(fx.store)->counters.compactions);
    NLT_CHECK_INT(nlt_store_delete(fx.store, &d, &wait, &err), NLT_OK);
    NLT_CHECK(meanwhile.merged);
    fx_model_delete(&fx, only(1), INT64_MIN, INT64_MAX, false);
    NLT_CHECK(all_is_well(&fx));
    fx_step(&fx, 200); /* then they are */
    NLT_CHECK(atomic_load(&nlt_store_ctl(fx.store)->counters.compactions)
              > merges);
    NLT_CHECK(all_is_well(&fx));
    fx_deinit(&fx);
}

int
main(void)
{
    (void) nlt_test_seed();
    NLT_TEST(delete_hides_at_once_and_spares_what_comes_later);
    NLT_TEST(delete_of_everything_leaves_nothing);
    NLT_TEST(only_an_arena_with_such_samples_is_sealed);
    NLT_TEST(samples_written_after_a_delete_without_seal_live);
    NLT_TEST(names_of_deleted_series_are_gone);
    NLT_TEST(rules_without_anything_under_them_are_dropped);
    NLT_TEST(dirty_blocks_are_rewritten_when_asked);
    NLT_TEST(dirty_blocks_are_rewritten_after_a_while);
    NLT_TEST(rule_of_a_dead_writer_is_found);
    NLT_TEST(rule_stays_as_long_as_an_arena_is_under_it);
    NLT_TEST(view_takes_rules_before_arenas_before_blocks);
    NLT_TEST(lost_deletes_file_does_not_disarm_later_ones);
    NLT_TEST(lost_deletes_file_of_a_running_store_does_not_disarm_later_ones);
    NLT_TEST(arena_numbers_go_beyond_rules_when_logs_are_lost);
    NLT_TEST(damaged_deletes_are_an_error_not_an_answer);
    NLT_TEST(too_many_rules_are_refused_until_some_are_done);
    NLT_TEST(wrong_rules_and_a_store_that_is_not_ready_are_refused);
    NLT_TEST(delete_that_cannot_seal_times_out);
    NLT_TEST(delete_in_a_head_that_is_given_up_is_not_acknowledged);
    NLT_TEST(replay_into_an_open_head_waits_for_deletes);
    NLT_TEST(blocks_are_not_merged_across_the_line_of_a_delete);
    return nlt_test_done();
}
