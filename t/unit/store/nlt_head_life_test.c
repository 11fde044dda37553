/*
 * nlt_head_life_test.c - attach, rotate, carry, pin, retire, reap, refuse.
 */
#include "nlt_test.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "nlt_head_fixture.h"
#include "nlt_limits.h"

#define T0 INT64_C(1700000000000)

static nlt_head_t *
make(fixture_t *f)
{
    nlt_head_t *h = NULL;
    nlt_err_t err;

    fixture_open(f, NLT_HEAD_MEMORY_MIN);
    if (nlt_head_create(&f->conf, 7, &h, &err) != NLT_OK) {
        printf("# %s\n", err.text);
        exit(2);
    }
    return h;
}

static nlt_labels_t
labels(nlt_label_t *v, char *text, unsigned i)
{
    (void) snprintf(text, 32, "host%u", i);
    v[0] = (nlt_label_t){NLT_STR("__name__"), NLT_STR("up")};
    v[1] = (nlt_label_t){NLT_STR("instance"), {strlen(text), text}};
    return (nlt_labels_t){v, 2};
}

static uint32_t
series_of(nlt_head_t *h, nlt_arena_t *a, unsigned i)
{
    nlt_label_t v[2];
    char text[32];
    uint32_t series = 0;

    NLT_CHECK_INT(fixture_register(h, a, 0, labels(v, text, i), &series),
                  NLT_OK);
    return series;
}

static uint64_t
rotate(nlt_head_t *h)
{
    uint64_t sealed = 0;
    nlt_err_t err = {.text = ""};

    NLT_CHECK_INT(nlt_head_prepare(h, &err), NLT_OK);
    NLT_CHECK_INT(nlt_head_rotate(h, &sealed, &err), NLT_OK);
    if (err.text[0]) {
        printf("# %s\n", err.text);
    }
    return sealed;
}

static size_t
count_samples(const nlt_arena_t *a, uint32_t series)
{
    nlt_pool_t pool;
    nlt_samples_t out = {.pool = &pool};

    nlt_pool_init(&pool, &nlt_mem_libc, 1 << 24);
    NLT_CHECK_INT(nlt_arena_read(a, series, NLT_READ_ALL, INT64_MIN, INT64_MAX,
                                 &out, NULL),
                  NLT_OK);
    nlt_pool_deinit(&pool);
    return out.n;
}

static void
second_handle_sees_what_the_first_wrote(void)
{
    fixture_t f;
    nlt_head_t *h = make(&f), *w = NULL;
    nlt_append_result_t result;
    nlt_err_t err;
    uint32_t s;

    NLT_CHECK_INT(nlt_head_attach(&f.conf, &w, &err), NLT_OK);
    NLT_CHECK(nlt_head_ctl(w) != nlt_head_ctl(h));
    NLT_CHECK_INT(atomic_load(&nlt_head_ctl(w)->state), NLT_HEAD_REPLAYING);
    nlt_head_set_state(h, NLT_HEAD_OPEN);
    NLT_CHECK_INT(atomic_load(&nlt_head_ctl(w)->state), NLT_HEAD_OPEN);
    NLT_CHECK_INT(nlt_arena_no(nlt_head_active(w)), 7);
    s = series_of(h, nlt_head_active(h), 1);
    NLT_CHECK_INT(fixture_append(nlt_head_active(w), s, T0, 1, &result),
                  NLT_OK);
    NLT_CHECK_INT(result, NLT_APPEND_OK);
    NLT_CHECK_INT(count_samples(nlt_head_active(h), s), 1);
    nlt_head_detach(h);
    /* It outlives who made it. */
    NLT_CHECK_INT(nlt_head_attach(&f.conf, &h, &err), NLT_OK);
    NLT_CHECK_INT(count_samples(nlt_head_active(h), s), 1);
    nlt_head_detach(w);
    nlt_head_detach(h);
    fixture_close(&f);
}

static void
rotation_moves_writers_on(void)
{
    fixture_t f;
    nlt_head_t *h = make(&f), *w = NULL;
    nlt_append_result_t result;
    nlt_arena_t *old, *fresh;
    nlt_err_t err;
    uint64_t sealed;
    uint32_t s, carried, again;
    nlt_hash128_t key;
    nlt_label_t v[2];
    nlt_labels_t got;
    nlt_pool_t pool;
    char text[32];

    NLT_CHECK_INT(nlt_head_attach(&f.conf, &w, &err), NLT_OK);
    NLT_CHECK_INT(nlt_head_rotate(h, &sealed, &err), NLT_ENOTREADY);
    old = nlt_head_active(w);
    for (unsigned i = 1; i <= 5; i++) {
        s = series_of(w, old, i);
    }
    NLT_CHECK_INT(fixture_append(old, s, T0, 1, &result), NLT_OK);
    NLT_CHECK_INT(rotate(h), 7);
    NLT_CHECK_INT(fixture_append(old, s, T0 + 1, 1, &result), NLT_EEXIST);
    NLT_CHECK_INT(fixture_register(w, old, 0, labels(v, text, 9), &again),
                  NLT_EEXIST);
    fresh = nlt_head_active(w);
    NLT_CHECK_INT(nlt_arena_no(fresh), 8);
    NLT_CHECK(nlt_head_previous(w) == old);

    key = fixture_key(nlt_head_ctl(w), 0, labels(v, text, 5));
    NLT_CHECK_INT(nlt_arena_find(old, key), s);
    NLT_CHECK_INT(nlt_arena_find(fresh, key), 0);
    NLT_CHECK_INT(nlt_arena_carry(fresh, old, s, key, &carried), NLT_OK);
    NLT_CHECK_INT(carried, 1);
    NLT_CHECK_INT(nlt_arena_carry(fresh, old, s, key, &again), NLT_OK);
    NLT_CHECK_INT(again, 1);
    NLT_CHECK_INT(series_of(w, fresh, 5), 1);
    NLT_CHECK_INT(nlt_arena_find(fresh, key), 1);
    nlt_pool_init(&pool, &nlt_mem_libc, 1 << 20);
    NLT_CHECK_INT(nlt_arena_labels(fresh, 1, &pool, &got), NLT_OK);
    NLT_CHECK(nlt_labels_eq(got, labels(v, text, 5)));
    nlt_pool_deinit(&pool);
    NLT_CHECK_INT(atomic_load(&nlt_head_ctl(w)->counters.series_carried), 1);
    NLT_CHECK_INT(atomic_load(&nlt_head_ctl(w)->counters.series_created), 5);
    nlt_head_detach(w);
    nlt_head_detach(h);
    fixture_close(&f);
}

static void
pinned_arena_stays_until_unpinned(void)
{
    fixture_t f;
    nlt_head_t *h = make(&f), *w = NULL;
    nlt_append_result_t result;
    nlt_head_view_t view, later;
    nlt_err_t err;
    uint32_t s;
    uint64_t bytes;

    NLT_CHECK_INT(nlt_head_attach(&f.conf, &w, &err), NLT_OK);
    s = series_of(w, nlt_head_active(w), 1);
    (void) !fixture_append(nlt_head_active(w), s, T0, 1, &result);
    NLT_CHECK_INT(rotate(h), 7);
    nlt_head_pin(w, &view);
    NLT_CHECK_INT(view.n, 2);
    NLT_CHECK(view.complete);
    NLT_CHECK_INT(nlt_arena_no(view.arena[0]), 7);
    NLT_CHECK_INT(nlt_arena_no(view.arena[1]), 8);
    NLT_CHECK_INT(nlt_head_retire(h, 8, &err), NLT_EINVAL);
    NLT_CHECK_INT(nlt_head_retire(h, 9, &err), NLT_ENOENT);
    NLT_CHECK_INT(nlt_head_retire(h, 7, &err), NLT_OK);
    NLT_CHECK_INT(nlt_head_refresh(w, &err), NLT_OK);
    NLT_CHECK(nlt_head_previous(w) == NULL);
    NLT_CHECK_INT(fixture_files(&f), 4); /* lock, ctl, tenants, arena 8 */

    /* Still readable, and still counted, until the query ends. */
    (void) nlt_head_reap(h);
    bytes = nlt_head_bytes(h);
    NLT_CHECK_INT(count_samples(view.arena[0], s), 1);
    nlt_head_pin(w, &later);
    NLT_CHECK_INT(later.n, 1);
    nlt_head_unpin(w, &later);
    nlt_head_unpin(w, &view);
    (void) nlt_head_reap(h);
    NLT_CHECK(nlt_head_bytes(h) < bytes);
    NLT_CHECK(nlt_head_pin_arena(w, 7) == NULL);
    NLT_CHECK(nlt_head_pin_arena(w, 8) == nlt_head_active(w));
    nlt_head_unpin_arena(w, nlt_head_active(w));
    nlt_head_detach(w);
    nlt_head_detach(h);
    fixture_close(&f);
}

static void
no_fourth_arena_while_three_hold_memory(void)
{
    fixture_t f;
    nlt_head_t *h = make(&f);
    nlt_err_t err;

    rotate(h);
    rotate(h);
    NLT_CHECK_INT(nlt_head_prepare(h, &err), NLT_EFULL);
    NLT_CHECK_INT(nlt_head_retire(h, 7, &err), NLT_OK);
    NLT_CHECK_INT(nlt_head_prepare(h, &err), NLT_EFULL);
    (void) nlt_head_reap(h);
    NLT_CHECK_INT(nlt_head_prepare(h, &err), NLT_OK);
    /* Many rotations leave nothing behind. */
    for (uint64_t no = 8; no < 40; no++) {
        rotate(h);
        NLT_CHECK_INT(nlt_head_retire(h, no, &err), NLT_OK);
        (void) nlt_head_reap(h);
    }
    NLT_CHECK_INT(nlt_arena_no(nlt_head_active(h)), 41);
    nlt_head_detach(h);
    fixture_close(&f);
}

/* What an idle head costs, and what is in place when it is not. */
static void
pages_are_reserved_for_what_is_used(void)
{
    const uint64_t MB = 1u << 20;
    fixture_t f;
    nlt_head_t *h = NULL;
    nlt_err_t err;
    uint64_t idle, used, bytes;

    fixture_open(&f, 768 * MB);
    NLT_CHECK_INT(nlt_head_create(&f.conf, 7, &h, &err), NLT_OK);
    nlt_head_set_state(h, NLT_HEAD_OPEN);
    NLT_CHECK_INT(nlt_head_refresh(h, &err), NLT_OK);
    NLT_CHECK_INT(nlt_head_prepare(h, &err), NLT_OK);
    nlt_head_prefault(h);
    idle = nlt_head_bytes(h);
    NLT_CHECK(idle <= MB + MB / 4);

    /* The active arena grows: the next one will need to, too, but not before
     * it takes over. */
    for (char name[32]; nlt_head_active(h) != NULL;) {
        nlt_label_t label = {NLT_STR("l"), {0, name}};
        nlt_labels_t labels = {&label, 1};
        uint32_t s = 0;

        used = atomic_load(&nlt_arena_header(nlt_head_active(h))->used_bytes);
        if (used >= 32 * MB) {
            break;
        }
        label.value.len = (size_t) snprintf(name, sizeof(name), "%llu",
                                            (unsigned long long) used);
        NLT_CHECK_INT(fixture_register(h, nlt_head_active(h), 0, labels, &s),
                      NLT_OK);
    }
    bytes = nlt_head_bytes(h);
    NLT_CHECK(bytes >= 32 * MB && bytes < 35 * MB);
    nlt_head_prefault(h);
    bytes = nlt_head_bytes(h);
    NLT_CHECK(bytes > 32 * MB + MB / 2 && bytes < 34 * MB);
    NLT_CHECK_INT(nlt_head_rotate(h, &used, &err), NLT_OK);
    NLT_CHECK(nlt_head_bytes(h) >= bytes + 3 * MB);
    NLT_CHECK(nlt_head_bytes(h) < bytes + 6 * MB);
    nlt_head_detach(h);
    fixture_close(&f);
}

static void
full_arena_takes_samples_longer_than_series(void)
{
    fixture_t f;
    nlt_head_t *h = make(&f);
    nlt_arena_t *a = nlt_head_active(h);
    nlt_append_result_t result;
    uint32_t series = 0, last = 0;
    nlt_label_t v[2];
    char text[32];
    nlt_rc_t rc = NLT_OK;
    unsigned i, appended = 0, refused = 0;

    /* One that needs a larger piece may fail before others do. */
    for (i = 0; i < 1000000 && refused < 100; i++) {
        rc = fixture_register(h, a, 0, labels(v, text, i), &series);
        if (rc == NLT_OK) {
            last = series;
        } else {
            NLT_CHECK_INT(rc, NLT_EFULL);
            NLT_CHECK_INT(series, 0);
            refused++;
        }
    }
    NLT_CHECK(last > 20000);
    NLT_CHECK_INT(atomic_load(&nlt_arena_header(a)->n_series), last);
    NLT_CHECK_INT(last, i - 100);
    NLT_CHECK_INT(atomic_load(&nlt_head_ctl(h)->counters.series_refused), 100);
    rc = NLT_EFULL;
    /* Those that are there still are. */
    NLT_CHECK_INT(series_of(h, a, 3), 4);
    for (uint32_t s = 1; s <= last && rc != NLT_OK; s++) {
        rc = fixture_append(a, s, T0, 1, &result);
        appended += result == NLT_APPEND_OK;
        rc = rc == NLT_OK ? NLT_EFULL : NLT_OK;
    }
    NLT_CHECK(appended > 8000);
    NLT_CHECK_INT(rc, NLT_OK); /* it did end: NLT_EFULL */
    NLT_CHECK_INT(count_samples(a, 1), 1);
    NLT_CHECK_INT(rotate(h), 7);
    NLT_CHECK_INT(series_of(h, nlt_head_active(h), 3), 1);
    nlt_head_detach(h);
    fixture_close(&f);
}

static void
aliases_are_limited(void)
{
    fixture_t f;
    nlt_head_t *h = make(&f);
    nlt_arena_t *a = nlt_head_active(h);
    nlt_label_t v[2];
    char text[32];
    nlt_labels_t l = labels(v, text, 1);
    nlt_hash128_t key = fixture_key(nlt_head_ctl(h), 0, l);
    uint32_t s;

    for (unsigned i = 0; i < 20; i++) {
        nlt_hash128_t raw = nlt_head_key(nlt_head_ctl(h), 0, &i, sizeof(i));

        NLT_CHECK_INT(nlt_arena_register(a, 0, l, key, raw, &s), NLT_OK);
        NLT_CHECK_INT(s, 1);
        NLT_CHECK_INT(nlt_arena_find(a, raw),
                      i < NLT_ALIASES_PER_SERIES_MAX ? 1 : 0);
    }
    NLT_CHECK_INT(nlt_arena_header(a)->n_series, 1);
    nlt_head_detach(h);
    fixture_close(&f);
}

static void
tenants_do_not_see_each_other(void)
{
    fixture_t f;
    nlt_head_t *h = make(&f);
    nlt_arena_t *a = nlt_head_active(h);
    nlt_label_t v[2];
    char text[32];
    uint32_t s[3], *found;
    size_t n;
    nlt_pool_t pool;
    nlt_str_t *names;

    nlt_pool_init(&pool, &nlt_mem_libc, 1 << 20);
    for (uint32_t tenant = 0; tenant < 3; tenant++) {
        NLT_CHECK_INT(
            fixture_register(h, a, tenant, labels(v, text, 1), &s[tenant]),
            NLT_OK);
        NLT_CHECK_INT(s[tenant], tenant + 1);
        NLT_CHECK_INT(nlt_arena_tenant(a, s[tenant]), tenant);
    }
    for (uint32_t tenant = 0; tenant < 4; tenant++) {
        NLT_CHECK_INT(
            nlt_arena_select(a, &pool, tenant, NULL, 0, &found, &n, NULL),
            NLT_OK);
        NLT_CHECK_INT(n, tenant < 3);
        NLT_CHECK_INT(nlt_arena_label_names(a, &pool, tenant, &names, &n),
                      NLT_OK);
        NLT_CHECK_INT(n, tenant < 3 ? 2 : 0);
    }
    nlt_pool_deinit(&pool);
    nlt_head_detach(h);
    fixture_close(&f);
}

static void
create_refuses_what_cannot_work(void)
{
    fixture_t f;
    nlt_head_t *h = NULL;
    nlt_err_t err;

    fixture_open(&f, NLT_HEAD_MEMORY_MIN - 1);
    NLT_CHECK_INT(nlt_head_create(&f.conf, 1, &h, &err), NLT_EINVAL);
    f.conf.memory_bytes = UINT64_C(1) << 60;
    NLT_CHECK_INT(nlt_head_create(&f.conf, 1, &h, &err), NLT_EFULL);
    NLT_CHECK(strstr(err.text, "MiB free") != NULL);
    NLT_CHECK_INT(nlt_head_attach(&f.conf, &h, &err), NLT_ENOENT);
    fixture_close(&f);
}

/* An open that finds the control groups of another machine. */
static int
cgroup_open(void *ctx, int dir_fd, const char *name, int flags, unsigned mode)
{
    static const char *const files[][2] = {
        {"/proc/self/cgroup", "1:cpu:/x\n0::/a.slice/b\n"},
        {"/sys/fs/cgroup/a.slice/b/memory.max", "max\n"},
        {"/sys/fs/cgroup/a.slice/memory.max", "16777216\n"},
    };

    for (size_t i = 0; i < NLT_COUNT(files); i++) {
        if (strcmp(name, files[i][0]) == 0) {
            int fd = memfd_create("cgroup", 0);

            (void) !write(fd, files[i][1], strlen(files[i][1]));
            return fd;
        }
    }
    return nlt_io_posix.open(ctx, dir_fd, name, flags, mode);
}

static void
create_heeds_the_control_group(void)
{
    nlt_env_t env = nlt_env_posix;
    nlt_io_t io = nlt_io_posix;
    fixture_t f;
    nlt_head_t *h = NULL;
    nlt_err_t err;

    io.open = cgroup_open;
    env.io = &io;
    fixture_open(&f, NLT_HEAD_MEMORY_MIN);
    f.conf.env = &env;
    NLT_CHECK_INT(nlt_head_create(&f.conf, 1, &h, &err), NLT_EFULL);
    NLT_CHECK(strstr(err.text, "control group is 16 MiB") != NULL);
    fixture_close(&f);
}

/* Changes bytes of the control file behind everybody's back. */
static void
poke(const fixture_t *f, size_t off, uint32_t value)
{
    char name[128];
    int fd;

    (void) snprintf(name, sizeof(name),
                    "head.a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5.ctl");
    fd = openat(f->conf.dir_fd, name, O_RDWR);
    NLT_CHECK_INT(pwrite(fd, &value, sizeof(value), (off_t) off),
                  sizeof(value));
    close(fd);
}

static void
attach_refuses_other_layout_boot_and_death(void)
{
    fixture_t f;
    nlt_head_t *h = make(&f), *w = NULL;
    nlt_err_t err;
    uint32_t layout = nlt_head_ctl(h)->layout;
    size_t at = offsetof(nlt_head_ctl_t, layout);

    poke(&f, at, layout + 1);
    NLT_CHECK_INT(nlt_head_attach(&f.conf, &w, &err), NLT_EVERSION);
    NLT_CHECK_INT(nlt_head_create(&f.conf, 8, &w, &err), NLT_EVERSION);
    nlt_head_detach(h);
    /* Alone it is rebuilt. */
    NLT_CHECK_INT(nlt_head_attach(&f.conf, &w, &err), NLT_ENOENT);
    NLT_CHECK_INT(nlt_head_create(&f.conf, 8, &h, &err), NLT_OK);
    NLT_CHECK_INT(nlt_head_attach(&f.conf, &w, &err), NLT_OK);
    nlt_head_detach(w);

    poke(&f, offsetof(nlt_head_ctl_t, boot_id), 0x21212121);
    NLT_CHECK_INT(nlt_head_attach(&f.conf, &w, &err), NLT_ENOENT);
    NLT_CHECK(strstr(err.text, "boot") != NULL);
    NLT_CHECK_INT(fixture_files(&f), 4);

    /* A new head beside an attached old one: that one learns of it. */
    NLT_CHECK(!nlt_head_is_dead(h));
    NLT_CHECK_INT(nlt_head_create(&f.conf, 9, &w, &err), NLT_OK);
    NLT_CHECK(nlt_head_is_dead(h));
    NLT_CHECK(!nlt_head_is_dead(w));
    nlt_head_detach(h);
    NLT_CHECK_INT(nlt_head_attach(&f.conf, &h, &err), NLT_OK);
    NLT_CHECK_INT(nlt_arena_no(nlt_head_active(h)), 9);
    nlt_head_set_state(h, NLT_HEAD_DEAD);
    nlt_head_detach(w);
    NLT_CHECK_INT(nlt_head_attach(&f.conf, &w, &err), NLT_ENOENT);
    nlt_head_detach(h);
    fixture_close(&f);
}

static void
files_of_others_are_not_followed(void)
{
    static const char ctl[] = "head.a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5.ctl";
    fixture_t f;
    nlt_head_t *h = make(&f), *w = NULL;
    nlt_err_t err;
    struct stat st;

    NLT_CHECK_INT(fstatat(f.conf.dir_fd, ctl, &st, 0), 0);
    NLT_CHECK_INT(st.st_mode & 07777, 0600);
    (void) fchmodat(f.conf.dir_fd, ctl, 0644, 0);
    NLT_CHECK_INT(nlt_head_attach(&f.conf, &w, &err), NLT_EIO);
    (void) fchmodat(f.conf.dir_fd, ctl, 0600, 0);
    (void) renameat(f.conf.dir_fd, ctl, f.conf.dir_fd, "elsewhere");
    (void) symlinkat("elsewhere", f.conf.dir_fd, ctl);
    NLT_CHECK_INT(nlt_head_attach(&f.conf, &w, &err), NLT_EIO);
    nlt_head_detach(h);
    fixture_close(&f);
}

/* A child that attaches and is killed. */
static void
crash_child(const fixture_t *f)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        nlt_head_t *h;

        if (nlt_head_attach(&f->conf, &h, NULL) == NLT_OK) {
            (void) raise(SIGKILL);
        }
        _exit(1);
    }
    (void) waitpid(pid, &status, 0);
    NLT_CHECK(WIFSIGNALED(status));
}

static int64_t test_mono_ns;

static int64_t
mono_cb(void *ctx)
{
    (void) ctx;
    return test_mono_ns;
}

static unsigned
attached(nlt_head_t *h)
{
    unsigned n = 0;

    for (size_t i = 0; i < NLT_HEAD_PROCESSES; i++) {
        n += atomic_load(&nlt_head_ctl(h)->processes[i].pid) != 0;
    }
    return n;
}

static void
four_crashes_a_minute_fire_the_quarantine(void)
{
    nlt_env_t env = nlt_env_posix;
    fixture_t f;
    nlt_head_t *h;
    nlt_err_t err;

    env.mono_ns = mono_cb;
    test_mono_ns = INT64_C(1000000000000);
    fixture_open(&f, NLT_HEAD_MEMORY_MIN);
    f.conf.env = &env;
    NLT_CHECK_INT(nlt_head_create(&f.conf, 1, &h, &err), NLT_OK);

    /* Deaths within a second are one episode. */
    crash_child(&f);
    crash_child(&f);
    NLT_CHECK_INT(attached(h), 3);
    NLT_CHECK(nlt_head_reap(h));
    NLT_CHECK_INT(attached(h), 1);
    crash_child(&f);
    test_mono_ns += 999 * INT64_C(1000000);
    NLT_CHECK(nlt_head_reap(h));
    NLT_CHECK_INT(atomic_load(&nlt_head_ctl(h)->crash_episodes), 1);
    for (int i = 0; i < 6; i++) {
        test_mono_ns += INT64_C(30000000000);
        crash_child(&f);
        NLT_CHECK(nlt_head_reap(h)); /* three in 60 s: goes on */
    }
    for (int i = 0; i < 2; i++) {
        test_mono_ns += INT64_C(2000000000);
        crash_child(&f);
        NLT_CHECK(nlt_head_reap(h) == (i == 0));
    }
    NLT_CHECK_INT(atomic_load(&nlt_head_ctl(h)->crash_episodes), 9);
    nlt_head_detach(h);
    fixture_close(&f);
}

static void
helper_that_died_half_way_is_made_up_for(void)
{
    fixture_t f;
    nlt_head_t *h = make(&f);
    nlt_head_ctl_t *ctl = nlt_head_ctl(h);
    nlt_append_result_t result;
    nlt_arena_t *old = nlt_head_active(h);
    uint32_t s = series_of(h, old, 1);
    uint64_t sealed;
    nlt_err_t err;

    NLT_CHECK_INT(nlt_head_prepare(h, &err), NLT_OK);
    /* What rotate does first. */
    for (size_t i = 0; i < NLT_HEAD_ARENAS; i++) {
        if (atomic_load(&ctl->arenas[i].no) == 8) {
            atomic_store(&ctl->arenas[i].state, NLT_ARENA_ACTIVE);
        }
    }
    (void) atomic_fetch_add(&ctl->generation, 1);
    NLT_CHECK_INT(nlt_arena_no(nlt_head_active(h)), 8);
    NLT_CHECK_INT(fixture_append(old, s, T0, 1, &result), NLT_OK);
    NLT_CHECK_INT(nlt_head_rotate(h, &sealed, &err), NLT_OK);
    NLT_CHECK_INT(sealed, 7);
    NLT_CHECK_INT(fixture_append(old, s, T0 + 1, 1, &result), NLT_EEXIST);
    NLT_CHECK_INT(atomic_load(&ctl->arenas[0].state), NLT_ARENA_SEALED);
    nlt_head_detach(h);
    fixture_close(&f);
}

typedef struct {
    nlt_head_t *h;
    _Atomic int stop;
    _Atomic unsigned rounds;
    _Atomic unsigned wrong;
} query_t;

/* What a query thread does: pin, read all that is there, unpin. */
static void *
query_thread(void *arg)
{
    query_t *q = arg;

    while (!atomic_load(&q->stop)) {
        nlt_head_view_t view;
        uint64_t last = 0;

        nlt_head_pin(q->h, &view);
        if (!view.complete || view.n == 0) {
            (void) atomic_fetch_add(&q->wrong, 1);
        }
        for (size_t i = 0; i < view.n; i++) {
            nlt_arena_t *a = view.arena[i];
            nlt_pool_t pool;
            nlt_samples_t out = {.pool = &pool};

            nlt_pool_init(&pool, &nlt_mem_libc, 1 << 24);
            if (nlt_arena_no(a) <= last
                || (nlt_arena_header(a)->n_series > 0
                    && nlt_arena_read(a, 1, NLT_READ_ALL, INT64_MIN, INT64_MAX,
                                      &out, NULL)
                           != NLT_OK)) {
                (void) atomic_fetch_add(&q->wrong, 1);
            }
            last = nlt_arena_no(a);
            nlt_pool_deinit(&pool);
        }
        nlt_head_unpin(q->h, &view);
        (void) atomic_fetch_add(&q->rounds, 1);
    }
    return NULL;
}

static void
queries_in_threads_outlive_rotations(void)
{
    fixture_t f;
    nlt_head_t *h = make(&f);
    query_t q = {.h = NULL};
    pthread_t thread[2];
    nlt_err_t err;
    unsigned rotations = 0;

    /* The threads share the writing worker's handle; the helper has its own.
     */
    NLT_CHECK_INT(nlt_head_attach(&f.conf, &q.h, &err), NLT_OK);
    for (size_t i = 0; i < 2; i++) {
        NLT_CHECK_INT(pthread_create(&thread[i], NULL, query_thread, &q), 0);
    }
    for (int64_t i = 0; rotations < 100 || atomic_load(&q.rounds) < 100; i++) {
        nlt_arena_t *a = nlt_head_active(q.h);
        nlt_append_result_t result;
        uint64_t sealed;

        if (a) {
            uint32_t s = series_of(q.h, a, 1);

            NLT_CHECK_INT(s, 1);
            NLT_CHECK_INT(fixture_append(a, s, T0 + i, 1, &result), NLT_OK);
        }
        if (i % 20 == 0 && nlt_head_prepare(h, &err) == NLT_OK) {
            NLT_CHECK_INT(nlt_head_rotate(h, &sealed, &err), NLT_OK);
            NLT_CHECK_INT(nlt_head_retire(h, sealed, &err), NLT_OK);
            rotations++;
        }
        (void) nlt_head_reap(h);
    }
    atomic_store(&q.stop, 1);
    for (size_t i = 0; i < 2; i++) {
        (void) pthread_join(thread[i], NULL);
    }
    NLT_CHECK_INT(atomic_load(&q.wrong), 0);
    nlt_head_detach(q.h);
    nlt_head_detach(h);
    fixture_close(&f);
}

int
main(void)
{
    NLT_TEST(second_handle_sees_what_the_first_wrote);
    NLT_TEST(rotation_moves_writers_on);
    NLT_TEST(pinned_arena_stays_until_unpinned);
    NLT_TEST(no_fourth_arena_while_three_hold_memory);
    NLT_TEST(pages_are_reserved_for_what_is_used);
    NLT_TEST(full_arena_takes_samples_longer_than_series);
    NLT_TEST(aliases_are_limited);
    NLT_TEST(tenants_do_not_see_each_other);
    NLT_TEST(create_refuses_what_cannot_work);
    NLT_TEST(create_heeds_the_control_group);
    NLT_TEST(attach_refuses_other_layout_boot_and_death);
    NLT_TEST(files_of_others_are_not_followed);
    NLT_TEST(four_crashes_a_minute_fire_the_quarantine);
    NLT_TEST(helper_that_died_half_way_is_made_up_for);
    NLT_TEST(queries_in_threads_outlive_rotations);
    return nlt_test_done();
}
