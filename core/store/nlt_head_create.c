/*
 * nlt_head_create.c - the helper's part: a new head, and the life of arenas.
 *
 *   NONE -> READY      prepare: file made, pages reserved, nobody uses it
 *   READY -> ACTIVE    rotate, first half: writers go to the newest ACTIVE
 *   ACTIVE -> SEALED   rotate, second half, of the older one
 *   SEALED -> RETIRED  its blocks are durable
 *   RETIRED -> NONE    reap, when no living process maps it
 *
 * A helper that dies between the halves leaves two ACTIVE arenas; the next
 * rotate() or reap() does the second half.
 */
#include "nlt_head_priv.h"
#include "nlt_head_side.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/statvfs.h>

/*
 * Reserved ahead of the bump pointer: this part of what the active arena
 * uses, within bounds.  So a store takes little for what may come.  A store
 * that has a million series finds more of the next arena in place when all of
 * them move there, but it is only taken then.
 */
#define AHEAD_PART   64
#define ROTATED_PART 8
#define AHEAD_MIN    (UINT64_C(512) << 10) /* a series, its segments */
#define AHEAD_MAX    (UINT64_C(16) << 20)

/* The largest arena that 32-bit offsets reach. */
#define ARENA_BYTES_MAX (UINT64_C(8) << 32)

/* Deaths this close together are one episode. */
#define EPISODE_MS    1000
#define QUARANTINE_MS 60000

/* ---- create ---- */

typedef struct {
    const nlt_head_conf_t *conf;
    char prefix[NLT_HEAD_NAME_MAX]; /* "head.<id>." */
    size_t prefix_len;
} remove_t;

static bool
remove_cb(void *ctx, const char *name)
{
    const remove_t *r = ctx;
    const nlt_io_t *io = r->conf->env->io;

    if (strncmp(name, r->prefix, r->prefix_len) == 0
        && strcmp(name + r->prefix_len, "lock") != 0) {
        (void) io->unlink(io->ctx, r->conf->dir_fd, name);
    }
    return true;
}

/* Marks an older head dead, if its layout is ours, and removes its files. */
static nlt_rc_t
remove_old(const nlt_head_conf_t *conf, bool alone, nlt_err_t *err)
{
    const nlt_io_t *io = conf->env->io;
    char name[NLT_HEAD_NAME_MAX];
    remove_t r = {.conf = conf};
    nlt_head_ctl_t *ctl;
    uint8_t *base;
    bool ours = false;
    int fd, sys;

    nlt_head_file_name(name, conf->store_id, "ctl", 0);
    fd = io->open(io->ctx, conf->dir_fd, name, O_RDWR | O_NOFOLLOW, 0);
    if (fd >= 0) {
        if (io->size(io->ctx, fd) == (int64_t) sizeof(*ctl)
            && nlt_map_shared(fd, sizeof(*ctl), &base, NULL) == NLT_OK) {
            ctl = (nlt_head_ctl_t *) (void *) base;
            ours = ctl->magic == NLT_HEAD_MAGIC
                   && ctl->version == NLT_HEAD_VERSION
                   && ctl->layout == nlt_head_layout_crc();
            if (ours) {
                atomic_store(&ctl->state, NLT_HEAD_DEAD);
            }
            nlt_unmap(base, sizeof(*ctl));
        }
        (void) io->close(io->ctx, fd);
        if (!ours && !alone) {
            return nlt_err_set(err, NLT_EVERSION,
                               "\"%s\" has another layout and is in use",
                               name);
        }
    }
    nlt_head_file_name(r.prefix, conf->store_id, "", 0);
    r.prefix_len = strlen(r.prefix);
    sys = io->list(io->ctx, conf->dir_fd, remove_cb, &r);
    if (sys < 0) {
        return nlt_err_set_errno(err, NLT_EIO, -sys,
                                 "list the directory of the head");
    }
    return NLT_OK;
}

/* Can the file system, and the control group, hold memory_bytes? */
static nlt_rc_t
check_room(const nlt_head_conf_t *conf, nlt_err_t *err)
{
    uint64_t room, limit = nlt_head_memory_limit(conf->env);
    struct statvfs fs;

    if (fstatvfs(conf->dir_fd, &fs) < 0) {
        return nlt_err_set_errno(err, NLT_EIO, errno,
                                 "statvfs of the directory of the head");
    }
    room = (uint64_t) fs.f_bavail * fs.f_frsize;
    if (room < conf->memory_bytes) {
        return nlt_err_set(err, NLT_EFULL,
                           "the head needs %llu MiB, but its file system has "
                           "only %llu MiB free",
                           (unsigned long long) (conf->memory_bytes >> 20),
                           (unsigned long long) (room >> 20));
    }
    if (limit < conf->memory_bytes) {
        return nlt_err_set(err, NLT_EFULL,
                           "the head needs %llu MiB, but the memory limit of "
                           "the control group is %llu MiB",
                           (unsigned long long) (conf->memory_bytes >> 20),
                           (unsigned long long) (limit >> 20));
    }
    return NLT_OK;
}

/* Three arenas, side file, tenants and control page are memory=. */
static uint64_t
arena_bytes(const nlt_head_conf_t *conf, uint64_t memory_bytes)
{
    uint64_t side =
        nlt_head_side_bytes(conf->exemplar_bytes, conf->metadata_bytes)
        + nlt_tenants_bytes(conf->tenants);
    uint64_t bytes =
        (memory_bytes - side - sizeof(nlt_head_ctl_t)) / 3 & ~UINT64_C(4095);

    return bytes < ARENA_BYTES_MAX ? bytes : ARENA_BYTES_MAX;
}

/* The control file under a temporary name, mapped. */
static nlt_rc_t
make_control(nlt_head_t *h, const char *name, nlt_err_t *err)
{
    const nlt_io_t *io = h->env->io;
    nlt_head_ctl_t *ctl;
    uint8_t *base = NULL;
    nlt_rc_t rc;
    int fd = io->open(io->ctx, h->conf.dir_fd, name,
                      O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);

    if (fd < 0) {
        return nlt_err_set_errno(err, fd == -ENOSPC ? NLT_EFULL : NLT_EIO, -fd,
                                 "create \"%s\"", name);
    }
    int sys = io->allocate(io->ctx, fd, 0, (int64_t) sizeof(*ctl));

    if (sys < 0) {
        rc = nlt_err_set_errno(err, sys == -ENOSPC ? NLT_EFULL : NLT_EIO, -sys,
                               "reserve \"%s\"", name);
    } else {
        h->ctl_inode = nlt_head_inode(fd);
        rc = nlt_map_shared(fd, sizeof(*ctl), &base, err);
    }
    (void) io->close(io->ctx, fd);
    if (rc != NLT_OK) {
        return rc;
    }
    h->ctl = ctl = (nlt_head_ctl_t *) (void *) base;
    ctl->magic = NLT_HEAD_MAGIC;
    ctl->version = NLT_HEAD_VERSION;
    ctl->layout = nlt_head_layout_crc();
    memcpy(ctl->store_id, h->conf.store_id, NLT_STORE_ID_BYTES);
    nlt_head_boot_id(h->env, ctl->boot_id);
    ctl->arena_bytes = arena_bytes(&h->conf, h->conf.memory_bytes);
    ctl->term = h->conf.term ? atomic_load(h->conf.term) : 0;
    atomic_store(&ctl->t_newest_ms, INT64_MIN);
    atomic_store(&ctl->t_oldest_ms, INT64_MIN);
    for (size_t i = 0; i < NLT_HEAD_CRASHES; i++) {
        atomic_store(&ctl->crash_mono_ms[i], INT64_MIN);
    }
    if (!nlt_random_bytes(ctl->secret, sizeof(ctl->secret))) {
        return nlt_err_set(err, NLT_EIO, "the kernel gives no random bytes");
    }
    ctl->fixed_crc = nlt_head_fixed_crc(ctl);
    return NLT_OK;
}

/* So many bytes, within the bounds. */
static void
reserve_ahead(nlt_arena_t *a, uint64_t ahead)
{
    uint64_t end = atomic_load(&a->hdr->used_bytes);

    ahead = ahead < AHEAD_MAX ? ahead : AHEAD_MAX;
    end += ahead > AHEAD_MIN ? ahead : AHEAD_MIN;
    (void) nlt_arena_reserve(a, end < a->size ? end : a->size);
}

/* Creates arena `no` in slot i and publishes it in `state`. */
static nlt_rc_t
make_arena(nlt_head_t *h, size_t i, uint64_t no, nlt_arena_state_t state,
           nlt_err_t *err)
{
    nlt_head_arena_slot_t *slot = &h->ctl->arenas[i];
    nlt_rc_t rc;

    atomic_store(&h->self->mapped[i], no);
    rc = nlt_arena_create(h, i, no, err);
    if (rc != NLT_OK) {
        atomic_store(&h->self->mapped[i], 0);
        return rc;
    }
    if (state == NLT_ARENA_ACTIVE) {
        reserve_ahead(&h->arena[i], 0);
    }
    slot->size_bytes = h->arena[i].size;
    slot->created_ms = h->arena[i].hdr->created_ms;
    atomic_store(&slot->active_ms,
                 state == NLT_ARENA_ACTIVE ? slot->created_ms : 0);
    atomic_store(&slot->sealed_ms, 0);
    atomic_store(&slot->state, state);
    atomic_store(&slot->no, no);
    atomic_store(&h->ctl->arena_last, no);
    nlt_head_changed(h);
    return NLT_OK;
}

static nlt_rc_t
create(nlt_head_t *h, uint64_t first_arena, nlt_err_t *err)
{
    const nlt_io_t *io = h->env->io;
    char name[NLT_HEAD_NAME_MAX], tmp[NLT_HEAD_NAME_MAX];
    bool alone;
    nlt_rc_t rc;
    int sys;

    rc = nlt_head_lock_open(&h->conf, &h->lock_fd, &alone, err);
    if (rc == NLT_OK) {
        rc = remove_old(&h->conf, alone, err);
    }
    if (rc == NLT_OK) {
        rc = check_room(&h->conf, err);
    }
    nlt_head_file_name(name, h->conf.store_id, "ctl", 0);
    nlt_head_file_name(tmp, h->conf.store_id, "ctl.tmp", 0);
    if (rc == NLT_OK) {
        rc = make_control(h, tmp, err);
    }
    if (rc == NLT_OK) {
        rc = nlt_head_process_claim(h, err);
    }
    if (rc == NLT_OK) {
        rc = nlt_head_side_make(h, err);
    }
    if (rc == NLT_OK) {
        char file[NLT_HEAD_NAME_MAX];

        nlt_head_file_name(file, h->conf.store_id, "tenants", 0);
        rc = nlt_tenants_create(&h->tenants, h->env, h->conf.dir_fd, file,
                                h->conf.store_id, h->ctl->secret, err);
    }
    if (rc == NLT_OK) {
        rc = make_arena(h, 0, first_arena, NLT_ARENA_ACTIVE, err);
    }
    if (rc == NLT_OK) {
        atomic_store(&h->ctl->state, NLT_HEAD_REPLAYING);
        sys = io->rename(io->ctx, h->conf.dir_fd, tmp, name);
        rc = sys < 0
                 ? nlt_err_set_errno(err, NLT_EIO, -sys, "rename \"%s\"", tmp)
                 : nlt_head_refresh(h, err);
    }
    if (rc != NLT_OK) {
        (void) io->unlink(io->ctx, h->conf.dir_fd, tmp);
    }
    return rc;
}

nlt_rc_t
nlt_head_create(const nlt_head_conf_t *conf, uint64_t first_arena,
                nlt_head_t **out, nlt_err_t *err)
{
    nlt_head_t *h;
    nlt_rc_t rc;

    *out = NULL;
    if (conf->memory_bytes < NLT_HEAD_MEMORY_MIN || first_arena == 0
        || nlt_head_side_bytes(conf->exemplar_bytes, conf->metadata_bytes)
                   + nlt_tenants_bytes(conf->tenants)
               > conf->memory_bytes / 2) {
        return nlt_err_set(err, NLT_EINVAL, "the head needs at least %u MiB",
                           NLT_HEAD_MEMORY_MIN >> 20);
    }
    h = nlt_head_handle(conf);
    if (h == NULL) {
        return nlt_err_set(err, NLT_ENOMEM, "no memory for the head's handle");
    }
    rc = create(h, first_arena, err);
    if (rc != NLT_OK) {
        nlt_head_handle_free(h);
        return rc;
    }
    *out = h;
    return NLT_OK;
}

nlt_rc_t
nlt_head_remove(const nlt_head_conf_t *conf, nlt_err_t *err)
{
    const nlt_io_t *io = conf->env->io;
    bool alone = false;
    int fd = -1;
    nlt_rc_t rc = nlt_head_lock_open(conf, &fd, &alone, err);

    if (rc == NLT_OK) {
        rc = remove_old(conf, alone, err);
        (void) io->close(io->ctx, fd);
    }
    return rc;
}

void
nlt_head_set_state(nlt_head_t *h, nlt_head_state_t state)
{
    atomic_store(&h->ctl->state, state);
}

/* ---- life of arenas ---- */

static nlt_arena_state_t
slot_state(const nlt_head_t *h, size_t i)
{
    nlt_head_arena_slot_t *slot = &h->ctl->arenas[i];

    return atomic_load(&slot->no)
               ? (nlt_arena_state_t) atomic_load(&slot->state)
               : NLT_ARENA_NONE;
}

static int
unlink_arena(const nlt_head_t *h, uint64_t no)
{
    const nlt_io_t *io = h->env->io;
    char name[NLT_HEAD_NAME_MAX];

    nlt_head_file_name(name, h->conf.store_id, NULL, no);
    return io->unlink(io->ctx, h->conf.dir_fd, name);
}

/* Slot with the lowest number in a state; NLT_HEAD_ARENAS: none. */
static size_t
find_slot(const nlt_head_t *h, nlt_arena_state_t state)
{
    size_t best = NLT_HEAD_ARENAS;

    for (size_t i = 0; i < NLT_HEAD_ARENAS; i++) {
        if (slot_state(h, i) == state
            && (best == NLT_HEAD_ARENAS
                || atomic_load(&h->ctl->arenas[i].no)
                       < atomic_load(&h->ctl->arenas[best].no))) {
            best = i;
        }
    }
    return best;
}

nlt_rc_t
nlt_head_prepare(nlt_head_t *h, nlt_err_t *err)
{
    size_t free_slot = NLT_HEAD_ARENAS, held = 0;
    nlt_rc_t rc;

    if (find_slot(h, NLT_ARENA_READY) < NLT_HEAD_ARENAS) {
        return NLT_OK;
    }
    rc = nlt_head_refresh(h, err);
    if (rc != NLT_OK) {
        return rc;
    }
    for (size_t i = 0; i < NLT_HEAD_ARENAS; i++) {
        if (slot_state(h, i) == NLT_ARENA_NONE && h->arena[i].base == NULL) {
            free_slot = i;
        } else {
            held++;
        }
    }
    if (held >= 3 || free_slot == NLT_HEAD_ARENAS) {
        return nlt_err_set(err, NLT_EFULL,
                           "%zu arenas are in memory, waiting for blocks to "
                           "be written or for queries to end",
                           held);
    }
    if (pthread_mutex_lock(&h->lock) != 0) {
        return nlt_err_set(err, NLT_EBUG, "the head's handle cannot lock");
    }
    rc = make_arena(h, free_slot, atomic_load(&h->ctl->arena_last) + 1,
                    NLT_ARENA_READY, err);
    (void) pthread_mutex_unlock(&h->lock);
    return rc;
}

bool
nlt_head_set_memory(nlt_head_t *h, uint64_t memory_bytes)
{
    uint64_t bytes = arena_bytes(&h->conf, memory_bytes);
    size_t ready = find_slot(h, NLT_ARENA_READY);

    if (h->ctl->arena_bytes == bytes) {
        return false;
    }
    h->ctl->arena_bytes = bytes;
    if (ready < NLT_HEAD_ARENAS) {
        /* Nobody has used it; who mapped it lets go. */
        (void) unlink_arena(h, atomic_load(&h->ctl->arenas[ready].no));
        atomic_store(&h->ctl->arenas[ready].state, NLT_ARENA_RETIRED);
        nlt_head_changed(h);
    }
    return true;
}

/* The next arena gets ready for what the active one has. */
static void
prefault_ready(nlt_head_t *h)
{
    const nlt_arena_t *active = nlt_head_active(h);
    size_t ready = find_slot(h, NLT_ARENA_READY);

    if (ready < NLT_HEAD_ARENAS && pthread_mutex_lock(&h->lock) == 0) {
        if (h->arena[ready].base != NULL) {
            reserve_ahead(&h->arena[ready],
                          active ? atomic_load(&active->hdr->used_bytes)
                                       / ROTATED_PART
                                 : 0);
        }
        (void) pthread_mutex_unlock(&h->lock);
    }
}

void
nlt_head_prefault(nlt_head_t *h)
{
    nlt_arena_t *a = nlt_head_active(h);

    if (a) {
        reserve_ahead(a, atomic_load(&a->hdr->used_bytes) / AHEAD_PART);
    }
}

/* No sample and no series enters the arena of slot i after this. */
static nlt_rc_t
seal(nlt_head_t *h, size_t i, nlt_err_t *err)
{
    nlt_arena_t *a = &h->arena[i];
    bool broken, ok = true;

    if (a->base == NULL) {
        return nlt_err_set(err, NLT_EBUG, "arena to seal is not mapped");
    }
    atomic_store(&a->hdr->sealed, 1);
    for (uint32_t stripe = 0; stripe < NLT_STRIPES; stripe++) {
        if (nlt_stripe_lock(a, stripe)) {
            nlt_stripe_unlock(a, stripe);
        } else {
            ok = false;
        }
    }
    if (nlt_registration_lock(a, &broken)) {
        nlt_registration_unlock(a);
    } else {
        ok = false;
    }
    if (!ok) {
        return nlt_err_set(err, NLT_EDATA, "locks of arena %llu are corrupt",
                           (unsigned long long) a->no);
    }
    atomic_store(&h->ctl->arenas[i].sealed_ms, nlt_now_ms(h->env));
    atomic_store(&h->ctl->arenas[i].state, NLT_ARENA_SEALED);
    nlt_head_changed(h);
    return NLT_OK;
}

/* The second half of a rotation that is due; NLT_HEAD_ARENAS: none is. */
static size_t
half_rotated(const nlt_head_t *h)
{
    size_t older = find_slot(h, NLT_ARENA_ACTIVE);

    for (size_t i = 0; older < NLT_HEAD_ARENAS && i < NLT_HEAD_ARENAS; i++) {
        if (i != older && slot_state(h, i) == NLT_ARENA_ACTIVE) {
            return older;
        }
    }
    return NLT_HEAD_ARENAS;
}

nlt_rc_t
nlt_head_rotate(nlt_head_t *h, uint64_t *sealed, nlt_err_t *err)
{
    nlt_rc_t rc = nlt_head_refresh(h, err);
    size_t older, ready;

    *sealed = 0;
    if (rc != NLT_OK) {
        return rc;
    }
    if (half_rotated(h) == NLT_HEAD_ARENAS) {
        ready = find_slot(h, NLT_ARENA_READY);
        if (ready == NLT_HEAD_ARENAS) {
            return nlt_err_set(err, NLT_ENOTREADY,
                               "no arena is ready to become active");
        }
        prefault_ready(h);
        atomic_store(&h->ctl->arenas[ready].active_ms, nlt_now_ms(h->env));
        atomic_store(&h->ctl->arenas[ready].state, NLT_ARENA_ACTIVE);
        nlt_head_changed(h);
    }
    older = half_rotated(h);
    if (older == NLT_HEAD_ARENAS) {
        return nlt_head_refresh(h, err); /* there was none before */
    }
    rc = seal(h, older, err);
    if (rc == NLT_OK) {
        *sealed = h->arena[older].no;
        rc = nlt_head_refresh(h, err);
    }
    return rc;
}

nlt_rc_t
nlt_head_retire(nlt_head_t *h, uint64_t arena_no, nlt_err_t *err)
{
    int sys;

    for (size_t i = 0; i < NLT_HEAD_ARENAS; i++) {
        nlt_head_arena_slot_t *slot = &h->ctl->arenas[i];

        if (atomic_load(&slot->no) != arena_no || arena_no == 0) {
            continue;
        }
        if (atomic_load(&slot->state) != NLT_ARENA_SEALED) {
            return nlt_err_set(err, NLT_EINVAL, "arena %llu is not sealed",
                               (unsigned long long) arena_no);
        }
        atomic_store(&slot->state, NLT_ARENA_RETIRED);
        nlt_head_changed(h);
        sys = unlink_arena(h, arena_no);
        if (sys < 0 && sys != -ENOENT) {
            return nlt_err_set_errno(err, NLT_EIO, -sys,
                                     "remove the file of arena %llu",
                                     (unsigned long long) arena_no);
        }
        return nlt_head_refresh(h, err);
    }
    return nlt_err_set(err, NLT_ENOENT, "there is no arena %llu",
                       (unsigned long long) arena_no);
}

/* ---- reap ---- */

/* Notes deaths; true when the quarantine rule fires. */
static bool
note_crash(nlt_head_t *h)
{
    nlt_head_ctl_t *ctl = h->ctl;
    int64_t now = nlt_mono_ns(h->env) / 1000000;
    uint32_t n = atomic_load(&ctl->crash_episodes);
    int64_t last = atomic_load(
        &ctl->crash_mono_ms[(n + NLT_HEAD_CRASHES - 1) % NLT_HEAD_CRASHES]);
    int64_t oldest;

    if (n > 0 && now - last < EPISODE_MS) {
        return false;
    }
    atomic_store(&ctl->crash_mono_ms[n % NLT_HEAD_CRASHES], now);
    atomic_store(&ctl->crash_episodes, n + 1);
    if (n + 1 < NLT_HEAD_CRASHES) {
        return false;
    }
    oldest = atomic_load(&ctl->crash_mono_ms[(n + 1) % NLT_HEAD_CRASHES]);
    return now - oldest <= QUARANTINE_MS;
}

static bool
somebody_maps(const nlt_head_t *h, size_t i, uint64_t no)
{
    for (size_t k = 0; k < NLT_HEAD_PROCESSES; k++) {
        nlt_head_process_t *p = &h->ctl->processes[k];

        if (atomic_load(&p->pid) && atomic_load(&p->mapped[i]) == no) {
            return true;
        }
    }
    return false;
}

/* Frees slots of retired arenas that nobody maps. */
static void
free_retired(nlt_head_t *h)
{
    for (size_t i = 0; i < NLT_HEAD_ARENAS; i++) {
        nlt_head_arena_slot_t *slot = &h->ctl->arenas[i];
        uint64_t no = atomic_load(&slot->no);

        if (slot_state(h, i) != NLT_ARENA_RETIRED) {
            continue;
        }
        /* If a helper died between the mark and the unlink. */
        (void) unlink_arena(h, no);
        /* Take the number away first, then look who maps it: whoever is
         * about to map says so first and looks at the number then. */
        atomic_store(&slot->no, 0);
        if (somebody_maps(h, i, no)) {
            atomic_store(&slot->no, no);
            continue;
        }
        atomic_store(&slot->state, NLT_ARENA_NONE);
        atomic_store(&slot->reserved_bytes, 0);
        nlt_head_changed(h);
    }
}

bool
nlt_head_reap(nlt_head_t *h)
{
    bool died = false;
    uint64_t sealed;

    for (size_t i = 0; i < NLT_HEAD_PROCESSES; i++) {
        nlt_head_process_t *p = &h->ctl->processes[i];
        uint64_t pid = atomic_load(&p->pid);
        uint64_t start = atomic_load(&p->start);

        if (pid && p != h->self
            && !nlt_head_process_lives(h->env, pid, start)) {
            for (size_t k = 0; k < NLT_HEAD_ARENAS; k++) {
                atomic_store(&p->mapped[k], 0);
            }
            atomic_store(&p->start, 0);
            (void) atomic_compare_exchange_strong(&p->pid, &pid, 0);
            died = true;
        }
    }
    if (half_rotated(h) < NLT_HEAD_ARENAS) {
        (void) !nlt_head_rotate(h, &sealed, NULL);
    }
    (void) !nlt_head_refresh(h, NULL);
    free_retired(h);
    return !(died && note_crash(h));
}
