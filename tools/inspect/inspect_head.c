/*
 * inspect_head.c - control file and arenas of the head.
 *
 * They are mapped for reading only and read like a query reads them, without
 * a lock: so this works beside running processes too, and cannot disturb.
 */
#include "inspect.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "nlt_filenames.h"
#include "nlt_head_priv.h"

#define POOL_BYTES   (UINT64_C(1) << 30)
#define FAULTS_SHOWN 3 /* of the series of one arena */

#define AGAIN "makes another head, from the logs"

typedef struct {
    const uint8_t *base; /* NULL: not there, said already */
    uint64_t size;
} mapping_t;

/* Maps an opened file if it has at least min_bytes, and closes it. */
static mapping_t
map_file(inspect_t *in, int fd, const char *name, uint64_t min_bytes)
{
    const nlt_io_t *io = in->env->io;
    int64_t size = fd < 0 ? fd : io->size(io->ctx, fd);
    mapping_t m = {NULL, (uint64_t) size};
    nlt_err_t err = {.text = ""};

    if (size < 0) {
        inspect_fault(in, "%s: %s", name, strerror((int) -size));
        inspect_repair(in, AGAIN);
    } else if ((uint64_t) size < min_bytes) {
        inspect_fault(in, "%s: only %lld bytes", name, (long long) size);
        inspect_repair(in, AGAIN);
    } else if (nlt_map_read(fd, (size_t) size, &m.base, &err) != NLT_OK) {
        inspect_fault(in, "%s: %s", name, err.text);
        m.base = NULL;
    }
    if (fd >= 0) {
        (void) io->close(io->ctx, fd);
    }
    return m;
}

/* Labels and samples of one series; the samples are counted. */
static nlt_rc_t
check_series(const nlt_arena_t *a, uint32_t series, nlt_pool_t *pool,
             nlt_samples_t *s, nlt_err_t *err)
{
    nlt_pool_mark_t mark = nlt_pool_mark(pool);
    nlt_labels_t labels;
    nlt_rc_t rc = nlt_arena_labels(a, series, pool, &labels);

    for (size_t i = 0; rc == NLT_OK && i < labels.n; i++) {
        if (labels.v[i].name.len == 0 || labels.v[i].value.len == 0
            || (i > 0
                && nlt_str_cmp(labels.v[i - 1].name, labels.v[i].name) >= 0)) {
            rc = NLT_EDATA;
        }
    }
    nlt_pool_rewind(pool, mark);
    if (rc != NLT_OK) {
        return nlt_err_set(err, rc, "series %u: labels: %s", series,
                           nlt_rc_text(rc));
    }
    s->n = 0;
    return nlt_arena_read(a, series, NLT_READ_ALL, INT64_MIN, INT64_MAX, s,
                          err);
}

static void
check_arena(inspect_t *in, const nlt_arena_t *a)
{
    uint32_t n = atomic_load(&a->hdr->n_series);
    nlt_pool_t label_pool, sample_pool;
    nlt_samples_t s = {.pool = &sample_pool};
    uint64_t n_samples = 0;
    unsigned faults = 0;

    nlt_pool_init(&label_pool, in->env->mem, POOL_BYTES);
    nlt_pool_init(&sample_pool, in->env->mem, POOL_BYTES);
    for (uint32_t i = 1; i <= n && faults < FAULTS_SHOWN; i++) {
        nlt_err_t err = {.text = ""};

        if (check_series(a, i, &label_pool, &s, &err) != NLT_OK) {
            inspect_fault(in, "%s", err.text);
            inspect_repair(in, faults++ == 0 ? "finds it when the arena is "
                                               "written out, and " AGAIN
                                             : "the same");
        }
        n_samples += s.n;
    }
    nlt_pool_deinit(&label_pool);
    nlt_pool_deinit(&sample_pool);
    printf("  %llu samples can be read\n", (unsigned long long) n_samples);
}

static void
inspect_arena(inspect_t *in, uint64_t no, const char *state)
{
    const nlt_io_t *io = in->env->io;
    char name[NLT_HEAD_NAME_MAX], range[RANGE_TEXT];
    _Atomic uint64_t used_seen = 0;
    mapping_t m;
    int fd;

    nlt_head_file_name(name, in->dir.store_id, NULL, no);
    printf("arena %llu\n", (unsigned long long) no);
    in->n_arenas++;
    fd = io->open(io->ctx, in->dir.head_fd, name, O_RDONLY | O_NOFOLLOW, 0);
    m = map_file(in, fd, name, sizeof(nlt_arena_header_t));
    if (m.base == NULL) {
        return;
    }
    /* The readers of an arena write nothing but used_seen. */
    uint8_t *base = (uint8_t *) (uintptr_t) m.base;
    nlt_arena_header_t *hdr = (nlt_arena_header_t *) (void *) base;
    nlt_arena_t a = {.base = base,
                     .size = m.size,
                     .hdr = hdr,
                     .used_seen = &used_seen,
                     .env = in->env,
                     .no = no,
                     .fd = -1};
    uint64_t used = atomic_load(&hdr->used_bytes);
    uint64_t reserved = atomic_load(&hdr->reserved_bytes);

    printf("  %s, %llu of %llu KiB used, %llu reserved\n"
           "  %u series, %u pairs, %llu samples\n  %s\n",
           state, (unsigned long long) used >> 10,
           (unsigned long long) m.size >> 10,
           (unsigned long long) reserved >> 10, atomic_load(&hdr->n_series),
           atomic_load(&hdr->n_pairs),
           (unsigned long long) atomic_load(&hdr->n_samples),
           inspect_range(range, atomic_load(&hdr->t_min_ms),
                         atomic_load(&hdr->t_max_ms)));
    if (hdr->magic != NLT_ARENA_MAGIC || hdr->layout != nlt_head_layout_crc()
        || hdr->no != no || hdr->size_bytes != m.size
        || memcmp(hdr->store_id, in->dir.store_id, NLT_STORE_ID_BYTES) != 0
        || used > reserved || reserved > m.size) {
        inspect_fault(in, "%s has a wrong header", name);
        inspect_repair(in, AGAIN);
    } else {
        check_arena(in, &a);
    }
    nlt_unmap(m.base, m.size);
}

static void
inspect_control(inspect_t *in, const nlt_head_ctl_t *ctl)
{
    static const char *const states[] = {"creating", "replaying", "open",
                                         "dead"};
    static const char *const arena_states[] = {"none", "ready", "active",
                                               "sealed", "retired"};
    uint32_t state = atomic_load(&ctl->state);
    unsigned attached = 0;

    for (size_t i = 0; i < NLT_HEAD_PROCESSES; i++) {
        attached += atomic_load(&ctl->processes[i].pid) != 0;
    }
    if (state >= NLT_COUNT(states)) {
        inspect_fault(in, "unknown state %u", state);
        inspect_repair(in, AGAIN);
    } else {
        printf("  %s, %u process slots taken, arenas of %llu KiB\n",
               states[state], attached,
               (unsigned long long) ctl->arena_bytes >> 10);
    }
    for (size_t i = 0; i < NLT_HEAD_ARENAS; i++) {
        uint64_t no = atomic_load(&ctl->arenas[i].no);
        uint32_t s = atomic_load(&ctl->arenas[i].state);

        if (s >= NLT_COUNT(arena_states)) {
            inspect_fault(in, "arena %llu has unknown state %u",
                          (unsigned long long) no, s);
            inspect_repair(in, AGAIN);
        } else if (s == NLT_ARENA_RETIRED) {
            printf("arena %llu\n  retired, its file is gone\n",
                   (unsigned long long) no);
        } else if (no != 0 && s != NLT_ARENA_NONE) {
            inspect_arena(in, no, arena_states[s]);
        }
    }
}

/* Why a start would not go on with this head, or NULL. */
static const char *
head_fault(inspect_t *in, const nlt_head_ctl_t *ctl, uint64_t size)
{
    uint8_t boot[NLT_BOOT_ID_BYTES];
    uint64_t term = 0;
    const nlt_io_t *io = in->env->io;
    int fd;

    if (ctl->magic != NLT_HEAD_MAGIC
        || memcmp(ctl->store_id, in->dir.store_id, NLT_STORE_ID_BYTES) != 0) {
        return "of another store";
    }
    if (ctl->version != NLT_HEAD_VERSION
        || ctl->layout != nlt_head_layout_crc() || size != sizeof(*ctl)) {
        return "of another version, unless that is running";
    }
    nlt_head_boot_id(in->env, boot);
    if (memcmp(ctl->boot_id, boot, sizeof(boot)) != 0) {
        return "of another boot";
    }
    fd = io->open(io->ctx, in->dir.dir_fd, NLT_FILE_TERM,
                  O_RDONLY | O_NOFOLLOW, 0);
    if (fd >= 0) {
        (void) !io->read(io->ctx, fd, &term, sizeof(term), 0);
        (void) io->close(io->ctx, fd);
    }
    if (ctl->term != term) {
        return "outdated, of another term";
    }
    switch (atomic_load(&ctl->state)) {
    case NLT_HEAD_OPEN:
        return NULL;
    case NLT_HEAD_DEAD:
        return "given up";
    default:
        return "not finished, its logs were being read";
    }
}

void
inspect_head_first(inspect_t *in)
{
    const nlt_io_t *io = in->env->io;
    char name[NLT_HEAD_NAME_MAX];
    const nlt_head_ctl_t *ctl;
    const uint8_t *base;
    int64_t size;
    int fd;

    nlt_head_file_name(name, in->dir.store_id, "ctl", 0);
    fd = io->open(io->ctx, in->dir.head_fd, name, O_RDONLY | O_NOFOLLOW, 0);
    if (fd < 0) {
        return;
    }
    size = io->size(io->ctx, fd);
    if (size >= (int64_t) sizeof(*ctl)
        && nlt_map_read(fd, sizeof(*ctl), &base, NULL) == NLT_OK) {
        ctl = (const nlt_head_ctl_t *) (const void *) base;
        in->head_lives = head_fault(in, ctl, (uint64_t) size) == NULL;
        for (size_t i = 0; i < NLT_HEAD_ARENAS; i++) {
            uint32_t s = atomic_load(&ctl->arenas[i].state);

            if (s == NLT_ARENA_ACTIVE || s == NLT_ARENA_SEALED
                || s == NLT_ARENA_READY) {
                in->head_arenas[i] = atomic_load(&ctl->arenas[i].no);
            }
        }
        nlt_unmap(base, sizeof(*ctl));
    }
    (void) io->close(io->ctx, fd);
}

void
inspect_head(inspect_t *in)
{
    const nlt_io_t *io = in->env->io;
    char name[NLT_HEAD_NAME_MAX];
    mapping_t m;
    int fd;

    nlt_head_file_name(name, in->dir.store_id, "ctl", 0);
    printf("head %s\n", name);
    fd = io->open(io->ctx, in->dir.head_fd, name, O_RDONLY | O_NOFOLLOW, 0);
    if (fd == -ENOENT) {
        printf("  not there: will be made again from the logs\n");
        return;
    }
    m = map_file(in, fd, name, offsetof(nlt_head_ctl_t, state));
    if (m.base == NULL) {
        return;
    }
    const nlt_head_ctl_t *ctl = (const nlt_head_ctl_t *) (const void *) m.base;

    if (ctl->magic != NLT_HEAD_MAGIC
        || memcmp(ctl->store_id, in->dir.store_id, NLT_STORE_ID_BYTES) != 0) {
        inspect_fault(in, "not the head of this store");
        inspect_repair(in, AGAIN);
    } else if (ctl->version == NLT_HEAD_VERSION
               && ctl->layout == nlt_head_layout_crc()
               && m.size != sizeof(*ctl)) {
        inspect_fault(in, "%llu bytes", (unsigned long long) m.size);
        inspect_repair(in, AGAIN);
    } else if (head_fault(in, ctl, m.size) != NULL) {
        printf("  %s: will be made again from the logs\n",
               head_fault(in, ctl, m.size));
    } else {
        inspect_control(in, ctl);
    }
    nlt_unmap(m.base, m.size);
}
