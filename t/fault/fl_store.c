/*
 * fl_store.c - starts, steps, writes, compares.
 */
#include "fl_store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nlt_filenames.h"
#include "nlt_manifest.h"
#include "nlt_test.h"

#define STEP_NS INT64_C(100000000)

/* ---- directories ---- */

void
fl_room_make(char *root, size_t size)
{
    (void) snprintf(root, size, "/dev/shm/nlt-fault-XXXXXX");
    if (mkdtemp(root) == NULL) {
        (void) snprintf(root, size, "/tmp/nlt-fault-XXXXXX");
        if (mkdtemp(root) == NULL) {
            fl_die("mkdtemp", root);
        }
    }
}

void
fl_room_remove(const char *root)
{
    nlt_err_t err;

    if (nlt_io_remove_tree(&nlt_io_posix, AT_FDCWD, root, &err) != NLT_OK) {
        fl_die("remove", err.text);
    }
}

void
fl_room_dir(const char *root, const char *name, char *out, size_t size)
{
    (void) snprintf(out, size, "%s/%s", root, name);
    fl_room_remove(out);
    if (mkdir(out, 0700) < 0) {
        fl_die("mkdir", out);
    }
}

/* ---- the world ---- */

static int64_t
clock_ms(void *ctx)
{
    return ((fl_store_t *) ctx)->now_ms;
}

static int64_t
mono_ns(void *ctx)
{
    return atomic_fetch_add(&((fl_store_t *) ctx)->mono_ns, 1000);
}

static void
log_line(void *ctx, nlt_log_level_t level, const char *text, size_t len)
{
    fl_store_t *s = ctx;

    if (level <= NLT_LOG_ALERT) {
        s->n_alerts++;
        printf("# alert: %.*s\n", (int) len, text);
    }
    if (level <= NLT_LOG_ERROR) {
        (void) snprintf(s->last_log, sizeof(s->last_log), "%.*s", (int) len,
                        text);
    }
    if (getenv("NLT_TEST_VERBOSE") != NULL) {
        printf("# log %d: %.*s\n", (int) level, (int) len, text);
    }
}

void
fl_store_init(fl_store_t *s, const char *root, const char *name,
              fl_disk_t *disk, int64_t wal_sync_ms)
{
    memset(s, 0, sizeof(*s));
    (void) snprintf(s->disk_path, sizeof(s->disk_path), "%s/%s", root, name);
    (void) snprintf(s->path, sizeof(s->path), "%s/data", s->disk_path);
    (void) snprintf(s->head_path, sizeof(s->head_path), "%s/head", root);
    s->disk = disk;
    s->io = disk ? fl_disk_io(disk) : nlt_io_posix;
    s->env =
        (nlt_env_t){&nlt_mem_libc, &s->io, clock_ms, mono_ns, log_line, s};
    s->now_ms = FL_NOW;
    s->mono_ns = 1000000000;
    s->conf = (nlt_store_conf_t){
        .path = s->path,
        .head_path = s->head_path,
        .memory_bytes = NLT_HEAD_MEMORY_MIN,
        .retention_ms = 15 * FL_DAY,
        .wal_sync_ms = wal_sync_ms,
        .arena_age_ms = 2 * FL_HOUR,
        .dense = nlt_test_dense(),
    };
}

void
fl_store_reboot(const fl_store_t *s)
{
    fl_room_remove(s->head_path);
    if (mkdir(s->head_path, 0700) < 0) {
        fl_die("mkdir", s->head_path);
    }
}

/* ---- life ---- */

static bool
all_ready(fl_store_t *s, nlt_err_t *err)
{
    for (unsigned i = 0; i < FL_WRITERS; i++) {
        nlt_store_status_t status;

        if (s->store[i] == NULL) {
            continue;
        }
        nlt_store_status(s->store[i], &status);
        if (!status.ready) {
            (void) nlt_err_set(err, NLT_ENOTREADY, "%s (%s)", status.reason,
                               s->last_log);
            return false;
        }
    }
    return true;
}

bool
fl_store_start(fl_store_t *s, unsigned n, nlt_err_t *err)
{
    const nlt_io_t *io = &s->io;
    int rc = io->mkdir(io->ctx, AT_FDCWD, s->path, 0700);

    if (rc < 0 && rc != -EEXIST) {
        (void) nlt_err_set_errno(err, NLT_EIO, -rc, "mkdir");
        return false;
    }
    s->last_log[0] = '\0';
    if (nlt_store_prepare_dir(&s->env, &s->conf, err) != NLT_OK
        || nlt_helper_open(&s->env, &s->conf, &s->helper, err) != NLT_OK) {
        s->helper = NULL;
        return false;
    }
    for (unsigned i = 0; i < n; i++) {
        if (nlt_store_open(&s->env, &s->conf, NLT_ROLE_WORKER, &s->store[i],
                           err)
            != NLT_OK) {
            s->store[i] = NULL;
            return false;
        }
    }
    fl_store_steps(s, 1);
    return fl_store_wait(s, err);
}

bool
fl_store_wait(fl_store_t *s, nlt_err_t *err)
{
    for (unsigned i = 0; i < 200; i++) {
        if (all_ready(s, err)) {
            return true;
        }
        fl_store_steps(s, 1);
    }
    return false;
}

void
fl_store_close(fl_store_t *s)
{
    for (unsigned i = 0; i < FL_WRITERS; i++) {
        nlt_store_close(s->store[i]);
        s->store[i] = NULL;
    }
    nlt_helper_close(s->helper);
    s->helper = NULL;
}

void
fl_store_steps(fl_store_t *s, unsigned n)
{
    for (; n > 0; n--) {
        (void) nlt_helper_step(s->helper, NULL);
        for (unsigned i = 0; i < FL_WRITERS; i++) {
            if (s->store[i] != NULL) {
                nlt_store_tick(s->store[i]);
            }
        }
        s->mono_ns += STEP_NS;
    }
}

static uint64_t
flushes(const fl_store_t *s)
{
    nlt_head_ctl_t *ctl = nlt_store_ctl(s->store[0]);

    return ctl ? atomic_load(&ctl->counters.flushes) : 0;
}

bool
fl_store_flush(fl_store_t *s)
{
    uint64_t before = flushes(s);

    nlt_helper_flush_soon(s->helper);
    for (unsigned i = 0; i < 60; i++) {
        fl_store_steps(s, 1);
        if (flushes(s) > before) {
            fl_store_steps(s, 2);
            return true;
        }
    }
    return false;
}

/* ---- writing ---- */

/* Runs it until it is finished or waits for a sync: true. */
static bool
run(fl_post_t *p)
{
    while (nlt_ingest_run(p->req, &p->result) == NLT_AGAIN) {
        if (nlt_ingest_waits(p->req)) {
            return true;
        }
    }
    p->req = NULL;
    return false;
}

nlt_str_t
fl_store_tenant(unsigned writer, char buf[8])
{
    return (nlt_str_t){(size_t) snprintf(buf, 8, "t%u", writer % 10), buf};
}

/* The number of a writer's tenant, made if need be; false: none to be had. */
static bool
have_tenant(fl_store_t *s, unsigned writer, uint32_t *number)
{
    nlt_tenants_t *t = nlt_store_tenants(s->store[writer]);
    char buf[8];
    nlt_err_t err;

    *number = 0;
    return !s->tenants || writer == 0
           || (t != NULL
               && nlt_tenants_have(t, fl_store_tenant(writer, buf), 100,
                                   number, &err)
                      == NLT_OK);
}

void
fl_store_post(fl_store_t *s, fl_ledger_t *l, unsigned writer, unsigned first,
              unsigned n, int64_t t_ms, fl_post_t *p)
{
    nlt_store_t *store = s->store[writer];
    unsigned base = s->tenants ? FL_TENANT_SERIES * writer : 0;
    nlt_ingest_conf_t conf = {
        .labels = {64, 1024, 4096},
        .decoded_max = 8u << 20,
        .sync = s->conf.wal_sync_ms == NLT_WAL_SYNC_ALWAYS,
    };

    *p = (fl_post_t){.n = n, .before = s->disk ? s->disk->n : 0};
    rwb_init(&p->body);
    p->in = store ? nlt_store_ingest(store) : NULL;
    if (p->in == NULL || !have_tenant(s, writer, &conf.tenant)) {
        return;
    }
    p->said = first == 0 && conf.tenant == 0 ? fl_ledger_say(l, p->before) : 0;
    for (unsigned i = first; i < first + n; i++) {
        char text[16];

        (void) snprintf(text, sizeof(text), "%u", i);
        rwb_label(&p->body, "__name__", "m");
        rwb_label(&p->body, "i", text);
        rwb_sample(&p->body, t_ms, fl_value(base + i, t_ms));
        if (i == 0 && p->said > 0) {
            rwb_exemplar(&p->body, "trace_id", text, t_ms, 1);
        }
        rwb_end(&p->body);
        (void) fl_ledger_add(l, base + i, t_ms, p->before);
    }
    if (p->said > 0) {
        char number[16];

        (void) snprintf(number, sizeof(number), "%u", p->said);
        rwb_metadata(&p->body, FL_FAMILY, 1, number, "");
    }
    p->first_row = l->n - n;
    if (nlt_ingest_begin(p->in, &conf, rwb_snappy(&p->body), &p->req)
        != NLT_OK) {
        p->req = NULL;
        return;
    }
    (void) run(p);
}

bool
fl_store_finish(fl_store_t *s, fl_ledger_t *l, fl_post_t *p)
{
    while (p->req != NULL) {
        nlt_rc_t rc = nlt_ingest_sync_begin(p->in);

        if (rc == NLT_OK) {
            nlt_ingest_sync_run(p->in);
            nlt_ingest_sync_end(p->in);
        } else if (rc != NLT_EOF) {
            fl_die("a sync is under way", nlt_rc_text(rc));
        }
        if (run(p) && rc == NLT_EOF) {
            fl_die("a request waits", "for no sync");
        }
    }
    rwb_free(&p->body);
    if (p->result.status != 204) {
        return false;
    }
    if (p->said > 0) {
        fl_said_t *said = &l->said[p->said - 1];

        if (s->disk == NULL || s->lossless) {
            said->must = 0;
        } else if (s->conf.wal_sync_ms == NLT_WAL_SYNC_ALWAYS) {
            said->must = s->disk->n;
        } else {
            said->log_from = p->before;
            said->log_to = s->disk->n;
        }
    }
    for (size_t i = p->first_row; i < p->first_row + p->n; i++) {
        fl_row_t *row = &l->v[i];

        if (s->disk == NULL || s->lossless) {
            row->must = 0;
        } else if (s->conf.wal_sync_ms == NLT_WAL_SYNC_ALWAYS) {
            row->must = s->disk->n;
        } else {
            row->log_from = p->before;
            row->log_to = s->disk->n;
        }
    }
    return true;
}

bool
fl_store_write(fl_store_t *s, fl_ledger_t *l, unsigned writer, unsigned first,
               unsigned n, int64_t t_ms)
{
    fl_post_t p;

    fl_store_post(s, l, writer, first, n, t_ms, &p);
    return fl_store_finish(s, l, &p);
}

/* The change after which all that was logged between two of them is safe. */
static size_t
logs_safe_at(const fl_disk_t *d, size_t from, size_t to)
{
    size_t safe = to;

    for (size_t i = from; i < to; i++) {
        if (d->change[i].kind == FL_WRITE
            && fl_disk_is_named(d, d->change[i].ino, NLT_SUFFIX_WAL)) {
            size_t at = fl_disk_safe_at(d, d->change[i].ino, to);

            safe = at > safe ? at : safe;
        }
    }
    return safe;
}

void
fl_store_settle(const fl_store_t *s, fl_ledger_t *l)
{
    size_t from = SIZE_MAX, to = 0, safe = SIZE_MAX;

    for (unsigned i = 0; i < l->n_said; i++) {
        fl_said_t *said = &l->said[i];

        if (said->log_to > 0) {
            said->must = logs_safe_at(s->disk, said->log_from, said->log_to);
        }
    }
    for (size_t i = 0; i < l->n; i++) {
        fl_row_t *row = &l->v[i];

        if (row->log_to == 0) {
            continue;
        }
        if (row->log_from != from || row->log_to != to) {
            from = row->log_from;
            to = row->log_to;
            safe = logs_safe_at(s->disk, from, to);
        }
        row->must = safe < row->must ? safe : row->must;
        row->log_from = row->log_to = 0;
    }
}

/* ---- comparing ---- */

static unsigned
series_no(const nlt_series_set_t *set, size_t idx)
{
    nlt_str_t i = set->source->ops->label(set, idx, NLT_STR("i"));
    unsigned no = 0;

    for (size_t k = 0; k < i.len; k++) {
        no = no * 10 + (unsigned) (i.data[k] - '0');
    }
    return i.len == 0 || no >= FL_SERIES_MAX ? FL_SERIES_MAX : no;
}

typedef struct {
    fl_ledger_t *l;
    size_t at;
    bool hold;
    unsigned base, end; /* the series of a tenant */
    int64_t t_border_ms;
    bool seen[FL_SERIES_MAX + 1];
} check_t;

static nlt_rc_t
check_set(const nlt_series_set_t *set, nlt_pool_t *pool, check_t *c,
          fl_verdict_t *v, nlt_err_t *err)
{
    nlt_samples_t got = {.pool = pool};

    for (size_t i = 0; i < set->n; i++) {
        unsigned no = series_no(set, i) + c->base;
        nlt_rc_t rc;

        no = no < c->end ? no : FL_SERIES_MAX;
        got.n = 0;
        rc = set->source->ops->read(set, i, NLT_READ_ALL, INT64_MIN, INT64_MAX,
                                    &got, err);
        if (rc != NLT_OK) {
            return rc;
        }
        v->twice += c->seen[no];
        c->seen[no] = true;
        fl_ledger_compare(c->l, no, &got, c->at, c->t_border_ms, v);
        if (c->hold) {
            fl_ledger_hold(c->l, no, &got);
        }
    }
    got.n = 0;
    for (unsigned no = c->base; no < c->end; no++) {
        if (!c->seen[no]) {
            fl_ledger_compare(c->l, no, &got, c->at, c->t_border_ms, v);
        }
    }
    return NLT_OK;
}

/* One try at an answer. */
static nlt_rc_t
check_view(nlt_view_t *view, check_t *c, fl_verdict_t *v, nlt_err_t *err)
{
    nlt_matcher_t m = {NLT_MATCH_EQ, NLT_METRIC_NAME, NLT_STR("m"), NULL};
    nlt_select_t sel = {&m, 1, INT64_MIN, INT64_MAX};
    nlt_series_set_t *set;
    nlt_pool_t pool;
    nlt_rc_t rc;

    memset(v, 0, sizeof(*v));
    memset(c->seen, 0, sizeof(c->seen));
    nlt_pool_init(&pool, &nlt_mem_libc, 256 << 20);
    rc = view->source.ops->select(&view->source, &pool, &sel, &set, err);
    if (rc == NLT_OK) {
        rc = check_set(set, &pool, c, v, err);
        view->source.ops->close(set);
    }
    nlt_pool_deinit(&pool);
    return rc;
}

/* The number that the family's metadata has; 0: nothing is known. */
static unsigned
said_number(fl_store_t *s)
{
    static const nlt_str_t family = {sizeof(FL_FAMILY) - 1, FL_FAMILY};
    nlt_metadata_list_t list;
    unsigned number = 0;
    nlt_pool_t pool;
    nlt_err_t err;

    nlt_pool_init(&pool, &nlt_mem_libc, 8 << 20);
    if (nlt_store_metadata(s->store[0], 0, family, &pool, &list, &err)
            == NLT_OK
        && list.n == 1) {
        for (size_t i = 0; i < list.v[0].help.len; i++) {
            number = 10 * number + (unsigned) (list.v[0].help.data[i] - '0');
        }
    }
    nlt_pool_deinit(&pool);
    return number;
}

static bool
check_said(fl_store_t *s, fl_ledger_t *l, size_t at, bool hold,
           fl_verdict_t *v)
{
    unsigned number = said_number(s);

    if (!fl_ledger_said(l, number, at, v)) {
        return false;
    }
    if (hold && number > 0) {
        l->said[number - 1].must = 0;
    }
    return true;
}

/* What one tenant is answered; the default one without tenants is all. */
static bool
check_tenant(fl_store_t *s, unsigned writer, check_t *c, bool hold,
             fl_verdict_t *v)
{
    char buf[8];
    uint64_t term;
    uint32_t number =
        writer == 0 ? 0
                    : nlt_store_find_tenant(
                        s->store[0], fl_store_tenant(writer, buf), &term);
    nlt_view_t view;
    nlt_err_t err = {.rc = NLT_OK};
    nlt_rc_t rc;

    c->base = FL_TENANT_SERIES * writer;
    c->end = s->tenants ? c->base + FL_TENANT_SERIES : FL_SERIES_MAX;
    c->hold = false;
    rc = nlt_view_open(s->store[0], number, NULL, &view, &err);
    if (rc == NLT_OK) {
        do {
            rc = check_view(&view, c, v, &err);
        } while (nlt_view_again(&view));
        c->hold = hold;
        if (rc == NLT_OK && hold) {
            rc = check_view(&view, c, v, &err);
        }
        nlt_view_close(&view);
    }
    if (rc != NLT_OK) {
        memset(v, 0, sizeof(*v));
        (void) snprintf(v->first, sizeof(v->first), "no answer: %.120s",
                        err.text);
        return false;
    }
    return v->lost + v->wrong + v->alien + v->twice == 0;
}

bool
fl_store_check(fl_store_t *s, fl_ledger_t *l, size_t at, bool hold,
               fl_verdict_t *v)
{
    check_t c = {.l = l, .at = at};

    c.t_border_ms = nlt_min_i64(s->now_ms, l->t_max_ms) - s->conf.retention_ms;
    for (unsigned w = 0; w < (s->tenants ? FL_WRITERS : 1); w++) {
        if (!check_tenant(s, w, &c, hold, v)) {
            return false;
        }
    }
    return check_said(s, l, at, hold, v);
}

/* ---- litter ---- */

typedef struct {
    const fl_store_t *s;
    const nlt_manifest_t *m;
    const char *dir;
    char *out;
    size_t size;
    size_t n_logs;
    bool found;
} litter_t;

static bool
litter_cb(void *ctx, const char *name)
{
    litter_t *l = ctx;
    uint64_t no;
    /* The next change writes over these; nobody else may touch them. */
    bool fine = strstr(name, ".tmp") == NULL
                || strcmp(name, NLT_FILE_DELETES NLT_SUFFIX_TMP) == 0
                || strcmp(name, NLT_FILE_TENANTS NLT_SUFFIX_TMP) == 0
                || strcmp(name, NLT_FILE_METADATA NLT_SUFFIX_TMP) == 0;

    if (strcmp(l->dir, NLT_DIR_BLOCKS) == 0) {
        fine = nlt_manifest_find(l->m, name) < l->m->n_blocks;
    } else if (strcmp(l->dir, NLT_DIR_WAL) == 0) {
        fine = nlt_wal_name_parse(name, &no)
               && !nlt_manifest_is_finished(l->m, no);
        l->n_logs += fine;
        /* The active one and the one that is ready. */
        fine &= l->n_logs <= 2;
    }
    if (!fine) {
        l->found = true;
        (void) snprintf(l->out, l->size, "%s/%s", l->dir, name);
    }
    return true;
}

bool
fl_store_litter(const fl_store_t *s, char *out, size_t size)
{
    static const char *const dirs[] = {"", NLT_DIR_WAL, NLT_DIR_BLOCKS};
    nlt_manifest_t m;
    litter_t l = {.s = s, .m = &m, .out = out, .size = size};
    nlt_err_t err;
    int fd = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    nlt_manifest_init(&m, &nlt_mem_libc, NULL);
    if (fd < 0
        || nlt_manifest_load(&m, &nlt_env_posix, fd, NULL, &err) != NLT_OK) {
        fl_die("cannot load", "MANIFEST");
    }
    for (size_t i = 0; i < NLT_COUNT(dirs); i++) {
        int sub = openat(fd, dirs[i][0] ? dirs[i] : ".",
                         O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        l.dir = dirs[i];
        if (sub < 0) {
            fl_die("cannot open", dirs[i]);
        }
        (void) nlt_io_posix.list(NULL, sub, litter_cb, &l);
        (void) close(sub);
    }
    nlt_manifest_deinit(&m);
    (void) close(fd);
    return l.found;
}
