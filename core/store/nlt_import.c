/*
 * nlt_import.c - what lies in import/, and what becomes of it.
 */
#include "nlt_import_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "nlt_filenames.h"
#include "nlt_hash.h"
#include "nlt_num.h"
#include "nlt_sort.h"

#define META_BYTES_MAX (1u << 20)
#define META_POOL_MAX  (4u << 20)
#define SCAN_POOL_MAX  (64u << 20)
#define NOTE_BYTES_MAX (16u << 10)
#define NOTE_SEEN      "seen "
#define RETRY_NS       (NLT_IMPORT_RETRY_MS * INT64_C(1000000))

int
nlt_import_open_dir(const nlt_import_t *im)
{
    const nlt_io_t *io = im->conf.env->io;

    return io->open(io->ctx, im->conf.dir_fd, NLT_DIR_IMPORT,
                    O_RDONLY | O_DIRECTORY, 0);
}

void
nlt_import_name(char out[NLT_IMPORT_NAME_SIZE], const char *ulid,
                const char *suffix)
{
    (void) snprintf(out, NLT_IMPORT_NAME_SIZE, "%.*s%s", NLT_ULID_LEN, ulid,
                    suffix);
}

/* Is it this long ago, by the monotonic clock? */
static bool
older(const nlt_import_t *im, int64_t since_ns, int64_t ms)
{
    return nlt_mono_ns(im->conf.env) - since_ns >= ms * 1000000;
}

/* ---- life ---- */

nlt_rc_t
nlt_import_create(const nlt_import_conf_t *conf, nlt_import_t **out,
                  nlt_err_t *err)
{
    nlt_import_t *im = nlt_mem_zalloc(conf->env->mem, sizeof(*im));

    *out = im;
    if (im == NULL) {
        return nlt_err_set(err, NLT_ENOMEM, "import: no memory");
    }
    im->conf = *conf;
    return NLT_OK;
}

/* Forgets what was read of an entry, not what it is called. */
static void
reset_entry(nlt_import_t *im, nlt_import_entry_t *e)
{
    const nlt_mem_t *mem = im->conf.env->mem;

    nlt_mem_free(mem, e->lists, e->n_lists * sizeof(*e->lists));
    nlt_mem_free(mem, e->why, e->why ? strlen(e->why) + 1 : 0);
    *e = (nlt_import_entry_t){.ulid = e->ulid};
}

void
nlt_import_destroy(nlt_import_t *im)
{
    if (im == NULL) {
        return;
    }
    const nlt_mem_t *mem = im->conf.env->mem;

    for (size_t i = 0; i < im->n; i++) {
        reset_entry(im, &im->v[i]);
    }
    nlt_mem_free(mem, im->v, im->cap * sizeof(*im->v));
    nlt_mem_free(mem, im->replaced, im->replaced_cap * sizeof(*im->replaced));
    nlt_mem_free(mem, im, sizeof(*im));
}

/* ---- lineage ---- */

static bool
ulid_less(const nlt_ulid_t *a, const nlt_ulid_t *b, const void *ctx)
{
    (void) ctx;
    return memcmp(a->c, b->c, NLT_ULID_LEN) < 0;
}

NLT_HEAP_SORT(sort_ulids, nlt_ulid_t, ulid_less);

bool
nlt_import_in_list(const nlt_ulid_t *v, size_t n, const nlt_ulid_t *u)
{
    size_t lo = 0, hi = n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = memcmp(v[mid].c, u->c, NLT_ULID_LEN);

        if (c == 0) {
            return true;
        }
        if (c < 0) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return false;
}

bool
nlt_import_is_child(const nlt_block_meta_t *child,
                    const nlt_block_meta_t *parent)
{
    const nlt_ulid_t *v = parent->n_sources ? parent->sources : &parent->ulid;
    size_t n = parent->n_sources ? parent->n_sources : 1;

    if (nlt_import_in_list(child->parents, child->n_parents, &parent->ulid)) {
        return true;
    }
    /* Blocks of the same sources may be halves of one. */
    if (child->n_sources <= n) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (!nlt_import_in_list(child->sources, child->n_sources, &v[i])) {
            return false;
        }
    }
    return true;
}

/* Of the block directory fd. */
static nlt_rc_t
read_meta_at(const nlt_import_t *im, int fd, nlt_pool_t *pool,
             nlt_block_meta_t *out, nlt_err_t *err)
{
    const nlt_env_t *env = im->conf.env;
    nlt_buf_t json;
    nlt_rc_t rc;
    int probe = env->io->open(env->io->ctx, fd, "meta.json",
                              O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);

    if (probe == -EACCES || probe == -ELOOP) {
        return nlt_err_set_errno(err, NLT_EDATA, -probe,
                                 "cannot open meta.json");
    }
    if (probe >= 0) {
        (void) env->io->close(env->io->ctx, probe);
    }
    nlt_buf_init(&json, env->mem, META_BYTES_MAX);
    rc = nlt_io_read_file(env->io, fd, "meta.json", &json, err);
    if (rc == NLT_OK) {
        rc = nlt_block_meta_parse(pool, nlt_buf_str(&json), out, err);
    }
    nlt_buf_deinit(&json);
    return rc == NLT_ETOOBIG ? NLT_EDATA : rc;
}

nlt_rc_t
nlt_import_read_meta(const nlt_import_t *im, int dir_fd, const char *ulid,
                     nlt_pool_t *pool, nlt_block_meta_t *out, nlt_err_t *err)
{
    const nlt_io_t *io = im->conf.env->io;
    int fd = io->open(io->ctx, dir_fd, ulid,
                      O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    nlt_rc_t rc;

    if (fd < 0) {
        return nlt_err_set_errno(err, fd == -ENOENT ? NLT_ENOENT : NLT_EIO,
                                 -fd, "open %s", ulid);
    }
    rc = read_meta_at(im, fd, pool, out, err);
    (void) io->close(io->ctx, fd);
    if (rc == NLT_OK && memcmp(out->ulid.c, ulid, NLT_ULID_LEN) != 0) {
        rc = nlt_err_set(err, NLT_EDATA, "meta.json belongs to block %s",
                         out->ulid.c);
    }
    if (rc == NLT_OK) {
        sort_ulids(out->sources, out->n_sources, NULL);
        sort_ulids(out->parents, out->n_parents, NULL);
    }
    return rc;
}

/*
 * Reads meta.json into the entry.  One that is bad, and not still being
 * copied, fails it.
 */
static nlt_rc_t
load_meta(nlt_import_t *im, nlt_import_entry_t *e, bool whole, int dir_fd,
          nlt_err_t *err)
{
    const nlt_mem_t *mem = im->conf.env->mem;
    nlt_block_meta_t m;
    nlt_pool_t pool;
    nlt_err_t why;
    nlt_rc_t rc;

    nlt_pool_init(&pool, mem, META_POOL_MAX);
    rc = nlt_import_read_meta(im, dir_fd, e->ulid.c, &pool, &m, &why);
    if (rc == NLT_OK) {
        size_t n = m.n_sources + m.n_parents;

        e->lists = n ? nlt_mem_zalloc(mem, n * sizeof(*e->lists)) : NULL;
        if (n > 0 && e->lists == NULL) {
            rc = NLT_ENOMEM;
        } else {
            e->n_lists = n;
            for (size_t i = 0; i < n; i++) {
                e->lists[i] = i < m.n_sources ? m.sources[i]
                                              : m.parents[i - m.n_sources];
            }
            e->meta = m;
            e->meta.sources = e->lists;
            e->meta.parents = e->lists + m.n_sources;
            e->has_meta = true;
        }
    } else if (rc != NLT_ENOMEM && rc != NLT_EIO) {
        if (whole) {
            nlt_import_fail(im, e, why.text);
        }
        rc = NLT_OK;
    }
    nlt_pool_deinit(&pool);
    return rc == NLT_OK
               ? rc
               : nlt_err_set(err, rc, NLT_DIR_IMPORT "/%s: %s", e->ulid.c,
                             rc == NLT_EIO ? why.text : "no memory");
}

/* ---- refusing ---- */

void
nlt_import_fail(nlt_import_t *im, nlt_import_entry_t *e, const char *c_why)
{
    const nlt_mem_t *mem = im->conf.env->mem;
    size_t n = strlen(c_why) + 1;

    nlt_mem_free(mem, e->why, e->why ? strlen(e->why) + 1 : 0);
    e->why = nlt_mem_zalloc(mem, n);
    if (e->why != NULL) {
        memcpy(e->why, c_why, n);
    }
    e->state = NLT_IMPORT_FAILED;
}

static void
write_note(nlt_import_t *im, nlt_import_entry_t *e, int dir_fd,
           const char *c_why)
{
    const nlt_env_t *env = im->conf.env;
    char name[NLT_IMPORT_NAME_SIZE], seen[32];
    nlt_buf_t text;
    nlt_err_t err;

    nlt_buf_init(&text, env->mem, NOTE_BYTES_MAX);
    nlt_buf_add_c(&text, c_why);
    nlt_buf_add_c(&text, "\n\nThe block is looked at again when it changes, "
                         "or when this file is removed.\n");
    (void) snprintf(seen, sizeof(seen), NOTE_SEEN "%016llx\n",
                    (unsigned long long) e->look.print);
    nlt_buf_add_c(&text, seen);
    nlt_import_name(name, e->ulid.c, NLT_IMPORT_SUFFIX_REFUSED);
    e->noted = text.rc == NLT_OK
               && nlt_io_replace_file(env->io, dir_fd, name, text.data,
                                      text.len, &err)
                      == NLT_OK;
    nlt_buf_deinit(&text);
}

void
nlt_import_refuse(nlt_import_t *im, nlt_import_entry_t *e, int dir_fd,
                  const char *c_why)
{
    nlt_log_todo(im->conf.env, NLT_LOG_ERROR, "mend it, or remove it",
                 NLT_DIR_IMPORT "/%s is refused: %s", e->ulid.c, c_why);
    write_note(im, e, dir_fd, c_why);
    e->state = NLT_IMPORT_REFUSED;
    im->n_refused++;
}

/* Does a note of an earlier life say that it is refused as it looks now? */
static bool
note_holds(nlt_import_t *im, const nlt_import_entry_t *e, int dir_fd)
{
    const nlt_env_t *env = im->conf.env;
    char name[NLT_IMPORT_NAME_SIZE], seen[32];
    nlt_buf_t text;
    nlt_err_t err;
    size_t n;
    bool holds;

    n = (size_t) snprintf(seen, sizeof(seen), "\n" NOTE_SEEN "%016llx\n",
                          (unsigned long long) e->look.print);
    nlt_import_name(name, e->ulid.c, NLT_IMPORT_SUFFIX_REFUSED);
    nlt_buf_init(&text, env->mem, NOTE_BYTES_MAX);
    holds = nlt_io_read_file(env->io, dir_fd, name, &text, &err) == NLT_OK
            && text.len >= n && memcmp(text.data + text.len - n, seen, n) == 0;
    nlt_buf_deinit(&text);
    return holds;
}

static void
remove_note(const nlt_import_t *im, const char *ulid, int dir_fd)
{
    const nlt_io_t *io = im->conf.env->io;
    char name[NLT_IMPORT_NAME_SIZE];

    nlt_import_name(name, ulid, NLT_IMPORT_SUFFIX_REFUSED);
    (void) io->unlink(io->ctx, dir_fd, name);
}

/* ---- scanning ---- */

typedef struct {
    nlt_pool_t pool;
    nlt_ulid_t *dirs;
    size_t n_dirs;
    size_t dirs_cap;
    nlt_ulid_t *notes;
    size_t n_notes;
    size_t notes_cap;
    uint64_t strange; /* sum of hashes: names come in no order */
    char example[64];
    bool failed;
} names_t;

static void
add_name(names_t *l, nlt_ulid_t **v, size_t *n, size_t *cap, const char *ulid)
{
    if (*n == *cap) {
        size_t more = *cap ? *cap * 2 : 64;
        void *p = nlt_pool_grow(&l->pool, *v, *cap * sizeof(**v),
                                more * sizeof(**v));

        if (p == NULL) {
            l->failed = true;
            return;
        }
        *v = p;
        *cap = more;
    }
    memcpy((*v)[*n].c, ulid, NLT_ULID_LEN);
    (*v)[(*n)++].c[NLT_ULID_LEN] = '\0';
}

static bool
names_cb(void *ctx, const char *name)
{
    names_t *l = ctx;
    size_t len = strlen(name);
    const char *suffix = name + NLT_ULID_LEN;

    if (len < NLT_ULID_LEN
        || !nlt_ulid_valid((nlt_str_t){NLT_ULID_LEN, name})) {
        if (name[0] != '.') {
            l->strange += nlt_hash64(name, len, 1);
            (void) snprintf(l->example, sizeof(l->example), "%s", name);
        }
    } else if (*suffix == '\0' && l->n_dirs < NLT_IMPORT_DIRS_MAX) {
        add_name(l, &l->dirs, &l->n_dirs, &l->dirs_cap, name);
    } else if (strcmp(suffix, NLT_IMPORT_SUFFIX_REFUSED) == 0) {
        add_name(l, &l->notes, &l->n_notes, &l->notes_cap, name);
    }
    return !l->failed;
}

/* Looks at one directory again, or for the first time. */
static void
see(nlt_import_t *im, nlt_import_entry_t *e, const names_t *l, int dir_fd,
    bool first)
{
    nlt_block_look_t look;
    nlt_err_t err = {.len = 0};
    nlt_rc_t rc = nlt_block_look(im->conf.env, dir_fd, e->ulid.c, &look, &err);
    bool noted = nlt_import_in_list(l->notes, l->n_notes, &e->ulid);

    if (rc == NLT_EIO || rc == NLT_ENOENT) {
        rc = NLT_OK; /* of the disk, or just removed: not a word yet */
    } else if (rc != NLT_OK) {
        look.print = nlt_hash64(err.text, err.len, 1);
    }
    if (first || look.print != e->look.print) {
        reset_entry(im, e);
        e->look = look;
        e->since_ns = nlt_mono_ns(im->conf.env);
        if (noted && note_holds(im, e, dir_fd)) {
            e->state = NLT_IMPORT_REFUSED;
            e->noted = true;
        } else if (noted) {
            remove_note(im, e->ulid.c, dir_fd);
        }
    } else if (e->state == NLT_IMPORT_REFUSED && e->noted && !noted) {
        int64_t since_ns = e->since_ns;

        reset_entry(im, e);
        e->look = look;
        e->since_ns = since_ns;
    }
    if (rc != NLT_OK && e->state == NLT_IMPORT_NEW) {
        nlt_import_fail(im, e, err.text);
    }
    if (e->state == NLT_IMPORT_FAILED
        && older(im, e->since_ns, NLT_IMPORT_QUIET_MS)) {
        nlt_import_refuse(im, e, dir_fd, e->why ? e->why : "no memory");
    }
}

/* The entries of what is there now, out of what was there before. */
static nlt_rc_t
update_entries(nlt_import_t *im, const names_t *l, int dir_fd, nlt_err_t *err)
{
    const nlt_mem_t *mem = im->conf.env->mem;
    nlt_import_entry_t *v =
        l->n_dirs ? nlt_mem_zalloc(mem, l->n_dirs * sizeof(*v)) : NULL;
    size_t old = 0;

    if (v == NULL && l->n_dirs > 0) {
        return nlt_err_set(err, NLT_ENOMEM, "import: no memory");
    }
    for (size_t i = 0; i < l->n_dirs; i++) {
        int c = -1;

        while (old < im->n
               && (c = memcmp(im->v[old].ulid.c, l->dirs[i].c, NLT_ULID_LEN))
                      < 0) {
            reset_entry(im, &im->v[old++]);
        }
        if (old < im->n && c == 0) {
            v[i] = im->v[old++];
        } else {
            v[i].ulid = l->dirs[i];
            c = -1;
        }
        see(im, &v[i], l, dir_fd, c != 0);
    }
    while (old < im->n) {
        reset_entry(im, &im->v[old++]);
    }
    nlt_mem_free(mem, im->v, im->cap * sizeof(*im->v));
    im->v = v;
    im->n = im->cap = l->n_dirs;
    return NLT_OK;
}

/* A snapshot as a whole, a block by another name: said once. */
static void
say_strange(nlt_import_t *im, const names_t *l)
{
    if (l->strange != im->strange && l->strange != 0) {
        nlt_log_todo(
            im->conf.env, NLT_LOG_WARN,
            "name directories of blocks by their ULIDs, or move it away",
            NLT_DIR_IMPORT "/%s is not called like a block and is left alone",
            l->example);
    }
    im->strange = l->strange;
}

static nlt_rc_t
scan(nlt_import_t *im, int dir_fd, nlt_err_t *err)
{
    const nlt_env_t *env = im->conf.env;
    names_t l = {.n_dirs = 0};
    nlt_rc_t rc = NLT_OK;
    int sys;

    nlt_pool_init(&l.pool, env->mem, SCAN_POOL_MAX);
    sys = env->io->list(env->io->ctx, dir_fd, names_cb, &l);
    if (sys < 0) {
        rc = nlt_err_set_errno(err, NLT_EIO, -sys, "list " NLT_DIR_IMPORT);
    } else if (l.failed) {
        rc = nlt_err_set(err, NLT_ENOMEM, "import: no memory");
    } else {
        sort_ulids(l.dirs, l.n_dirs, NULL);
        sort_ulids(l.notes, l.n_notes, NULL);
        say_strange(im, &l);
        rc = update_entries(im, &l, dir_fd, err);
    }
    for (size_t i = 0; rc == NLT_OK && i < l.n_notes; i++) {
        if (!nlt_import_in_list(l.dirs, l.n_dirs, &l.notes[i])) {
            remove_note(im, l.notes[i].c, dir_fd);
        }
    }
    nlt_pool_deinit(&l.pool);
    im->scan_ns = nlt_mono_ns(env);
    return rc;
}

/* ---- what is next ---- */

static bool
settled(const nlt_import_t *im, const nlt_import_entry_t *e)
{
    return e->state == NLT_IMPORT_NEW
           && older(im, e->since_ns, NLT_IMPORT_SETTLE_MS);
}

/*
 * Is there a block in import/ that was made of this one, and may yet be
 * adopted?  Of two that name each other as parents, one must not wait.
 */
static bool
has_child(const nlt_import_t *im, const nlt_import_entry_t *e)
{
    for (size_t i = 0; i < im->n; i++) {
        const nlt_import_entry_t *c = &im->v[i];

        if (c != e && c->state == NLT_IMPORT_NEW && c->has_meta
            && nlt_import_is_child(&c->meta, &e->meta)
            && (!nlt_import_is_child(&e->meta, &c->meta) || c < e)) {
            return true;
        }
    }
    return false;
}

/*
 * The next block to adopt, or NULL.  Every meta.json that can be is read
 * first: children must be known before their parents are taken.
 */
static nlt_rc_t
pick(nlt_import_t *im, int dir_fd, nlt_import_entry_t **out, nlt_err_t *err)
{
    int64_t now_ns = nlt_mono_ns(im->conf.env);

    *out = NULL;
    for (size_t i = 0; i < im->n; i++) {
        nlt_import_entry_t *e = &im->v[i];

        if (e->state == NLT_IMPORT_NEW && !e->has_meta && e->look.print != 0
            && now_ns >= e->retry_ns) {
            nlt_rc_t rc = load_meta(im, e, settled(im, e), dir_fd, err);

            if (rc != NLT_OK) {
                e->retry_ns = now_ns + RETRY_NS;
                return rc;
            }
        }
    }
    for (size_t i = 0; i < im->n && *out == NULL; i++) {
        nlt_import_entry_t *e = &im->v[i];

        if (settled(im, e) && e->has_meta && now_ns >= e->retry_ns
            && !has_child(im, e)) {
            *out = e;
        }
    }
    return NLT_OK;
}

nlt_rc_t
nlt_import_look(nlt_import_t *im, const nlt_import_look_t *look,
                nlt_import_result_t *out, nlt_err_t *err)
{
    const nlt_io_t *io = im->conf.env->io;
    nlt_import_entry_t *e = NULL;
    nlt_rc_t rc = NLT_OK;
    int fd;

    *out = (nlt_import_result_t){.found = false};
    fd = nlt_import_open_dir(im);
    if (fd < 0) {
        return fd == -ENOENT ? NLT_OK
                             : nlt_err_set_errno(err, NLT_EIO, -fd,
                                                 "open " NLT_DIR_IMPORT);
    }
    if (im->scan_ns == 0 || older(im, im->scan_ns, NLT_IMPORT_SCAN_MS)) {
        rc = scan(im, fd, err);
    }
    if (rc == NLT_OK) {
        rc = pick(im, fd, &e, err);
    }
    if (rc == NLT_OK && e != NULL) {
        rc = nlt_import_adopt(im, e, fd, look, out, err);
        if (rc != NLT_OK && rc != NLT_ECANCELED) {
            e->retry_ns = nlt_mono_ns(im->conf.env) + RETRY_NS;
        } else if (out->found) {
            e->state = NLT_IMPORT_TAKEN;
        }
    }
    out->n_refused = im->n_refused;
    im->n_refused = 0;
    (void) io->close(io->ctx, fd);
    return rc;
}
