/*
 * inspect_store.c - the small files of a store, and what lies beside its data.
 */
#include "inspect.h"

#include <fcntl.h>
#include <stdio.h>

#include "nlt_block.h"
#include "nlt_bytes.h"
#include "nlt_deletes.h"
#include "nlt_filenames.h"
#include "nlt_import.h"
#include "nlt_metadata.h"
#include "nlt_retention.h"
#include "nlt_term.h"

#define POOL_BYTES (64u << 20)

/* ---- MANIFEST ---- */

/* Blocks of this store that no MANIFEST names, because there is none. */
static size_t
blocks_without_manifest(inspect_t *in)
{
    nlt_block_dirs_stats_t dirs = {.removed = 0};
    nlt_manifest_t none;
    nlt_err_t err;

    if (in->dir.blocks_fd < 0) {
        return 0;
    }
    nlt_manifest_init(&none, in->env->mem, in->dir.store_id);
    (void) !nlt_block_dirs_clean(in->env, in->dir.blocks_fd, &none, true,
                                 &dirs, &err);
    nlt_manifest_deinit(&none);
    return dirs.removed;
}

static void
no_manifest(inspect_t *in)
{
    size_t n = blocks_without_manifest(in);

    if (n == 0) {
        printf("  none: nothing was flushed yet\n");
        in->has_manifest = true;
        return;
    }
    inspect_fault(in,
                  "missing, but " NLT_DIR_BLOCKS "/ has %zu blocks of "
                  "this store",
                  n);
    inspect_no_start(in, "restore MANIFEST from a backup, or move the blocks "
                         "away");
}

static void
inspect_damaged(inspect_t *in, const nlt_manifest_damaged_t *d)
{
    char path[64], range[RANGE_TEXT];
    bool here, aside;

    (void) snprintf(path, sizeof(path), NLT_DIR_BLOCKS "/%s", d->ulid.c);
    here = inspect_exists(in, in->dir.dir_fd, path);
    (void) snprintf(path, sizeof(path), NLT_DIR_QUARANTINE "/%s", d->ulid.c);
    aside = inspect_exists(in, in->dir.dir_fd, path);
    (void) inspect_range(range, d->t_min_ms, d->t_end_ms - 1);
    if (here || aside) {
        inspect_fault(in, "block %s was damaged and is missing: %s", d->ulid.c,
                      range);
    } else {
        inspect_left_over(in, "block %s was damaged, and is given up",
                          d->ulid.c);
    }
    if (here) {
        inspect_repair(in, "moves it to " NLT_DIR_QUARANTINE "/%s", d->ulid.c);
    } else if (!aside) {
        inspect_repair(in, "forgets it");
    } else {
        inspect_repair(in,
                       "nothing; copy a good one into " NLT_DIR_IMPORT
                       "/, or remove " NLT_DIR_QUARANTINE
                       "/%s to accept the loss",
                       d->ulid.c);
    }
}

void
inspect_manifest(inspect_t *in)
{
    nlt_manifest_t *m = &in->manifest;
    nlt_err_t err = {.text = ""};
    nlt_rc_t rc =
        nlt_manifest_load(m, in->env, in->dir.dir_fd, in->dir.store_id, &err);

    printf("manifest\n");
    if (rc == NLT_ENOENT) {
        no_manifest(in);
        return;
    }
    if (rc != NLT_OK) {
        inspect_fault(in, "%s", err.text);
        inspect_no_start(in, rc == NLT_EVERSION
                                 ? "use the version that wrote it"
                                 : "restore MANIFEST from a backup");
        return;
    }
    in->has_manifest = true;
    printf("  generation %llu, %zu blocks, arenas below %llu finished",
           (unsigned long long) m->generation, m->n_blocks,
           (unsigned long long) m->floor);
    for (size_t i = 0; i < m->n_finished; i++) {
        printf("%s %llu", i ? "" : ", also",
               (unsigned long long) m->finished[i]);
    }
    printf("\n");
    for (size_t i = 0; i < m->n_damaged; i++) {
        inspect_damaged(in, &m->damaged[i]);
    }
    if (inspect_exists(in, in->dir.dir_fd, NLT_MANIFEST_NAME NLT_SUFFIX_TMP)) {
        inspect_left_over(in, NLT_MANIFEST_NAME NLT_SUFFIX_TMP
                          ": a change that was not made");
        inspect_repair(in, "writes over it at the next change");
    }
}

/* ---- DELETES ---- */

void
inspect_deletes(inspect_t *in)
{
    nlt_delete_list_t *l = NULL;
    char range[RANGE_TEXT];
    nlt_err_t err = {.text = ""};
    nlt_rc_t rc =
        nlt_deletes_load(in->env, in->dir.dir_fd, in->dir.store_id, &l, &err);

    printf("deletes\n");
    if (inspect_exists(in, in->dir.dir_fd, NLT_FILE_DELETES NLT_SUFFIX_TMP)) {
        inspect_left_over(in, NLT_FILE_DELETES NLT_SUFFIX_TMP
                          ": a change that was not made");
        inspect_repair(in, "writes over it at the next change");
    }
    if (rc != NLT_OK) {
        const char *help = rc == NLT_EVERSION
                               ? "use the version that wrote it"
                               : "restore DELETES from a backup, or remove it "
                                 "and what was deleted comes back";

        inspect_fault(in, "%s", err.text);
        if (in->head_lives) {
            inspect_repair(in, "nothing, and answers no query: %s", help);
        } else {
            inspect_no_start(in, "%s", help);
        }
        return;
    }
    printf("  %zu in force, the last one given was number %llu\n", l->n,
           (unsigned long long) l->last);
    for (size_t i = 0; i < l->n; i++) {
        const nlt_delete_t *d = &l->v[i];

        printf("  %llu: %zu selectors, arenas up to %llu, %s\n",
               (unsigned long long) d->number, d->n_sets,
               (unsigned long long) d->arena_max,
               inspect_range(range, d->t_min_ms, d->t_max_ms));
    }
    nlt_deletes_free(in->env, l);
}

/* ---- TENANTS ---- */

/* Numbers that blocks may have, and the file does not know. */
static void
tenants_lost(inspect_t *in, const nlt_tenants_list_t *l)
{
    if (l->next >= in->manifest.tenants) {
        return;
    }
    inspect_fault(in,
                  NLT_FILE_TENANTS " knows numbers below %u, blocks may have "
                                   "numbers below %u",
                  l->next, in->manifest.tenants);
    inspect_repair(in, in->head_lives
                           ? "writes it again from memory"
                           : "gives none of them again: nobody reads what the "
                             "file does not name; restore it from a backup");
}

void
inspect_tenants(inspect_t *in)
{
    nlt_tenants_list_t l;
    nlt_pool_t pool;
    nlt_err_t err = {.text = ""};
    nlt_rc_t rc;

    printf("tenants\n");
    if (inspect_exists(in, in->dir.dir_fd, NLT_FILE_TENANTS NLT_SUFFIX_TMP)) {
        inspect_left_over(in, NLT_FILE_TENANTS NLT_SUFFIX_TMP
                          ": a change that was not made");
        inspect_repair(in, "writes over it at the next change");
    }
    nlt_pool_init(&pool, in->env->mem, 2 * (size_t) NLT_TENANTS_FILE_MAX);
    rc = nlt_tenants_read(in->env, in->dir.dir_fd, in->dir.store_id, &pool, &l,
                          &err);
    if (rc == NLT_OK) {
        printf("  %zu by name, next number %u\n", l.n, l.next);
        tenants_lost(in, &l);
    } else {
        inspect_fault(in, "%s", err.text);
        if (in->head_lives) {
            inspect_repair(in, "writes it again from memory");
        } else {
            inspect_no_start(in, rc == NLT_EVERSION
                                     ? "use the version that wrote it"
                                     : "restore " NLT_FILE_TENANTS
                                       " from a backup");
        }
    }
    nlt_pool_deinit(&pool);
}

/* ---- METADATA ---- */

void
inspect_metadata(inspect_t *in)
{
    const nlt_io_t *io = in->env->io;
    nlt_metadata_list_t l;
    nlt_buf_t text;
    nlt_pool_t pool;
    nlt_err_t err = {.text = ""};
    nlt_rc_t rc;

    printf("metadata\n");
    if (inspect_exists(in, in->dir.dir_fd, NLT_FILE_METADATA NLT_SUFFIX_TMP)) {
        inspect_left_over(in, NLT_FILE_METADATA NLT_SUFFIX_TMP
                          ": a change that was not made");
        inspect_repair(in, "writes over it at the next change");
    }
    nlt_buf_init(&text, in->env->mem, NLT_METADATA_FILE_MAX);
    nlt_pool_init(&pool, in->env->mem, 4 * (size_t) NLT_METADATA_FILE_MAX);
    rc = nlt_io_read_file(io, in->dir.dir_fd, NLT_FILE_METADATA, &text, &err);
    if (rc == NLT_OK) {
        rc = nlt_metadata_parse(nlt_buf_str(&text), in->dir.store_id, &pool,
                                &l, &err);
    }
    if (rc == NLT_OK) {
        printf("  %zu families\n", l.n);
    } else if (rc == NLT_ENOENT) {
        printf("  none yet\n");
    } else {
        inspect_fault(in, "%s", err.text);
        inspect_repair(in,
                       "moves it to " NLT_DIR_QUARANTINE "/%s when it makes a "
                       "head; senders say it again",
                       NLT_FILE_METADATA);
    }
    nlt_pool_deinit(&pool);
    nlt_buf_deinit(&text);
}

/* ---- term ---- */

void
inspect_term(inspect_t *in)
{
    const nlt_io_t *io = in->env->io;
    uint8_t buf[NLT_TERM_BYTES] = {0};
    int fd = io->open(io->ctx, in->dir.dir_fd, NLT_FILE_TERM,
                      O_RDONLY | O_NOFOLLOW, 0);
    int64_t size = fd < 0 ? fd : io->size(io->ctx, fd);

    printf(NLT_FILE_TERM "\n");
    if (size >= NLT_TERM_BYTES
        && io->read(io->ctx, fd, buf, sizeof(buf), 0) != sizeof(buf)) {
        size = 0;
    }
    if (fd >= 0) {
        (void) io->close(io->ctx, fd);
    }
    if (size > NLT_TERM_BYTES) {
        inspect_fault(in, "%lld bytes, this program knows a format of %d",
                      (long long) size, NLT_TERM_BYTES);
        inspect_no_start(in, "use the version that wrote it");
        return;
    }
    if (size < NLT_TERM_BYTES) {
        inspect_fault(in, size < 0 ? "not there" : "cut off");
        inspect_repair(in, "makes another, and a new head from the logs");
        return;
    }
    buf[NLT_TERM_BYTES - 1] = '\0';
    printf("  %llu, head in %s\n", (unsigned long long) nlt_le64(buf),
           buf[8] ? (const char *) buf + 8 : "no directory yet");
}

/* ---- import/, snapshots/, quarantine/ ---- */

/* Does name consist of a block's name and the suffix? */
static bool
is_named(const char *name, const char *suffix, char ulid[NLT_ULID_LEN + 1])
{
    if (strlen(name) < NLT_ULID_LEN
        || strcmp(name + NLT_ULID_LEN, suffix) != 0) {
        return false;
    }
    memcpy(ulid, name, NLT_ULID_LEN);
    ulid[NLT_ULID_LEN] = '\0';
    return nlt_ulid_valid((nlt_str_t){NLT_ULID_LEN, ulid});
}

static void
inspect_import(inspect_t *in, const char *name)
{
    char ulid[NLT_ULID_LEN + 1];
    bool served;

    if (is_named(name, "", ulid)) {
        printf(NLT_DIR_IMPORT "/%s\n  waits to be checked and served, unless "
                              "it was refused\n",
               name);
        return;
    }
    if (is_named(name, NLT_IMPORT_SUFFIX_REFUSED, ulid)) {
        printf(NLT_DIR_IMPORT "/%s\n  says why the block was refused\n", name);
        return;
    }
    if (!is_named(name, NLT_IMPORT_SUFFIX_ADOPTING, ulid)
        && !is_named(name, NLT_IMPORT_SUFFIX_ADOPTED, ulid)) {
        printf(NLT_DIR_IMPORT "/%s\n  not a block\n", name);
        return;
    }
    printf(NLT_DIR_IMPORT "/%s\n", name);
    served = nlt_manifest_find(&in->manifest, ulid) < in->manifest.n_blocks;
    inspect_left_over(in, "of an import");
    if (served
        || strcmp(name + NLT_ULID_LEN, NLT_IMPORT_SUFFIX_ADOPTED) == 0) {
        inspect_repair(in, "removes it: its block was taken");
    } else {
        inspect_repair(in, "removes the copy in " NLT_DIR_BLOCKS
                           "/ and imports it again");
    }
}

static void
inspect_snapshot(inspect_t *in, const char *name)
{
    size_t len = strlen(name), suffix = sizeof(NLT_SUFFIX_TMP) - 1;

    printf(NLT_DIR_SNAPSHOTS "/%s\n", name);
    if (len > suffix && strcmp(name + len - suffix, NLT_SUFFIX_TMP) == 0) {
        inspect_left_over(in, "a snapshot that was not finished");
        inspect_repair(in, "removes it");
    }
}

static void
inspect_quarantine(inspect_t *in, const char *name)
{
    char ulid[NLT_ULID_LEN + 1];

    if (is_named(name, "", ulid)
        && nlt_manifest_find_damaged(&in->manifest, ulid)
               < in->manifest.n_damaged) {
        return; /* said below the manifest */
    }
    printf(NLT_DIR_QUARANTINE "/%s\n  set aside; not looked at by the store\n",
           name);
}

void
inspect_dirs(inspect_t *in)
{
    static const struct {
        const char *dir;
        void (*each)(inspect_t *in, const char *name);
    } dirs[] = {
        {NLT_DIR_IMPORT, inspect_import},
        {NLT_DIR_SNAPSHOTS, inspect_snapshot},
        {NLT_DIR_QUARANTINE, inspect_quarantine},
    };

    for (size_t i = 0; i < NLT_COUNT(dirs); i++) {
        nlt_pool_t pool;
        const char **names;
        size_t n;

        nlt_pool_init(&pool, in->env->mem, POOL_BYTES);
        n = inspect_list(in, dirs[i].dir, &pool, &names);
        for (size_t k = 0; k < n; k++) {
            dirs[i].each(in, names[k]);
        }
        nlt_pool_deinit(&pool);
    }
}
