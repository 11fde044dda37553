/*
 * nlt_head.c - a process's handle of the head: attach, refresh, pin.
 *
 * Arena slot i of the control file is always mapped at h->arena[i].  The
 * control's generation says when to look again.  Mapping may happen in any
 * thread (a query must see what another worker just acknowledged); unmapping
 * only when nobody pins, and the writing thread's two arenas are pinned until
 * that thread itself lets them go.
 */
#include "nlt_head_priv.h"
#include "nlt_head_side.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Looks at the arenas until two agree; changes are seconds apart. */
#define STABLE_TRIES 100

uint32_t
nlt_head_layout_crc(void)
{
    const uint32_t facts[] = {
        NLT_HEAD_VERSION,
        sizeof(nlt_head_ctl_t),
        sizeof(nlt_arena_header_t),
        sizeof(nlt_head_counters_t),
        sizeof(nlt_head_arena_slot_t),
        sizeof(nlt_head_process_t),
        sizeof(nlt_stripe_t),
        sizeof(pthread_mutex_t),
        sizeof(nlt_arena_series_t),
        sizeof(nlt_arena_pair_t),
        sizeof(nlt_arena_name_t),
        sizeof(nlt_arena_labels_t),
        sizeof(nlt_arena_chunk_t),
        sizeof(nlt_arena_piece_t),
        sizeof(nlt_arena_ooo_t),
        sizeof(nlt_arena_postings_t),
        offsetof(nlt_arena_header_t, by_hash),
        offsetof(nlt_arena_header_t, registration),
        offsetof(nlt_arena_header_t, stripes),
        offsetof(nlt_head_ctl_t, counters),
        offsetof(nlt_head_ctl_t, processes),
        offsetof(nlt_head_ctl_t, side_no),
        nlt_stash_layout_crc(),
        nlt_tenants_layout_crc(),
        NLT_HEAD_ARENAS,
        NLT_HEAD_PROCESSES,
        NLT_SERIES_SEG_BITS,
        NLT_PAIR_SEG_BITS,
        NLT_STRIPES,
        NLT_STRIPE_RUN_BITS,
        NLT_CHUNK_SAMPLES_MAX,
        NLT_OOO_RAW_MAX,
    };

    return nlt_crc32c(0, facts, sizeof(facts));
}

uint32_t
nlt_head_fixed_crc(const nlt_head_ctl_t *ctl)
{
    uint32_t crc = nlt_crc32c(0, ctl, offsetof(nlt_head_ctl_t, state));

    crc = nlt_crc32c(crc, ctl->secret, sizeof(ctl->secret));
    return nlt_crc32c(crc, &ctl->term, sizeof(ctl->term));
}

nlt_head_t *
nlt_head_handle(const nlt_head_conf_t *conf)
{
    nlt_head_t *h = nlt_mem_zalloc(conf->env->mem, sizeof(*h));

    if (h == NULL) {
        return NULL;
    }
    h->env = conf->env;
    h->conf = *conf;
    h->lock_fd = -1;
    h->owner_generation = UINT64_MAX;
    atomic_store(&h->generation, UINT64_MAX);
    if (pthread_mutex_init(&h->lock, NULL) != 0) {
        nlt_mem_free(conf->env->mem, h, sizeof(*h));
        return NULL;
    }
    return h;
}

void
nlt_head_handle_free(nlt_head_t *h)
{
    const nlt_env_t *env = h->env;

    for (size_t i = 0; i < NLT_HEAD_ARENAS; i++) {
        nlt_arena_unmap(h, i);
    }
    nlt_head_side_unmap(h);
    nlt_tenants_close(&h->tenants);
    if (h->self) {
        /* Start first: a slot with a pid and without start is being taken. */
        atomic_store(&h->self->start, 0);
        atomic_store(&h->self->pid, 0);
    }
    if (h->ctl) {
        nlt_unmap(h->ctl, sizeof(*h->ctl));
    }
    if (h->lock_fd >= 0) {
        (void) env->io->close(env->io->ctx, h->lock_fd);
    }
    (void) pthread_mutex_destroy(&h->lock);
    nlt_mem_free(env->mem, h, sizeof(*h));
}

/* ---- attach ---- */

uint64_t
nlt_head_inode(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 ? (uint64_t) st.st_ino : 0;
}

/* The first fields of a control file, of whatever layout. */
typedef struct {
    uint64_t magic;
    uint32_t version;
    uint32_t layout;
} stamp_t;

/* Looks at the control file before it is mapped. */
static nlt_rc_t
check_file(const nlt_head_t *h, int fd, const char *name, nlt_err_t *err)
{
    const nlt_io_t *io = h->env->io;
    struct stat st;
    stamp_t stamp = {0, 0, 0};

    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (st.st_mode & 077)
        || (st.st_uid != geteuid() && geteuid() != 0)) {
        return nlt_err_set(err, NLT_EIO, "\"%s\" has another owner or mode",
                           name);
    }
    if (io->read(io->ctx, fd, &stamp, sizeof(stamp), 0)
            != (ssize_t) sizeof(stamp)
        || stamp.magic != NLT_HEAD_MAGIC) {
        return nlt_err_set(err, NLT_ENOENT, "\"%s\" is not a head", name);
    }
    if (stamp.version == NLT_HEAD_VERSION
        && stamp.layout == nlt_head_layout_crc()
        && (uint64_t) st.st_size == sizeof(nlt_head_ctl_t)) {
        return NLT_OK;
    }
    if (flock(h->lock_fd, LOCK_EX | LOCK_NB) == 0) {
        return nlt_err_set(err, NLT_ENOENT,
                           "\"%s\" has another layout and is in use by nobody",
                           name);
    }
    return nlt_err_set(err, NLT_EVERSION,
                       "\"%s\" has another layout and is in use by an older "
                       "or newer program",
                       name);
}

static nlt_rc_t
check_control(const nlt_head_t *h, const char *name, nlt_err_t *err)
{
    uint8_t boot[NLT_BOOT_ID_BYTES];

    if (memcmp(h->ctl->store_id, h->conf.store_id, NLT_STORE_ID_BYTES) != 0) {
        return nlt_err_set(err, NLT_ENOENT, "\"%s\" is of another store",
                           name);
    }
    nlt_head_boot_id(h->env, boot);
    if (memcmp(h->ctl->boot_id, boot, NLT_BOOT_ID_BYTES) != 0) {
        return nlt_err_set(err, NLT_ENOENT, "\"%s\" is of another boot", name);
    }
    if (atomic_load(&h->ctl->state) == NLT_HEAD_DEAD) {
        return nlt_err_set(err, NLT_ENOENT, "\"%s\" is marked dead", name);
    }
    if (nlt_head_is_dead(h)) {
        return nlt_err_set(err, NLT_ENOENT,
                           "\"%s\" is one that the store had before", name);
    }
    return h->ctl->fixed_crc == nlt_head_fixed_crc(h->ctl)
               ? NLT_OK
               : nlt_err_set(err, NLT_EDATA, "\"%s\" is damaged", name);
}

static nlt_rc_t
attach(nlt_head_t *h, nlt_err_t *err)
{
    const nlt_io_t *io = h->env->io;
    char name[NLT_HEAD_NAME_MAX];
    uint8_t *base = NULL;
    nlt_rc_t rc;
    int fd;

    rc = nlt_head_lock_open(&h->conf, &h->lock_fd, NULL, err);
    if (rc != NLT_OK) {
        return rc;
    }
    nlt_head_file_name(name, h->conf.store_id, "ctl", 0);
    fd = io->open(io->ctx, h->conf.dir_fd, name, O_RDWR | O_NOFOLLOW, 0);
    if (fd < 0) {
        return nlt_err_set_errno(err, fd == -ENOENT ? NLT_ENOENT : NLT_EIO,
                                 -fd, "open \"%s\"", name);
    }
    rc = check_file(h, fd, name, err);
    if (rc == NLT_OK) {
        h->ctl_inode = nlt_head_inode(fd);
        rc = nlt_map_shared(fd, sizeof(nlt_head_ctl_t), &base, err);
    }
    (void) io->close(io->ctx, fd);
    if (rc != NLT_OK) {
        return rc;
    }
    h->ctl = (nlt_head_ctl_t *) (void *) base;
    rc = check_control(h, name, err);
    if (rc == NLT_OK) {
        rc = nlt_head_process_claim(h, err);
    }
    if (rc == NLT_OK) {
        nlt_head_file_name(name, h->conf.store_id, "tenants", 0);
        rc = nlt_tenants_open(&h->tenants, h->env, h->conf.dir_fd, name,
                              h->conf.store_id, h->ctl->secret, err);
    }
    return rc == NLT_OK ? nlt_head_refresh(h, err) : rc;
}

nlt_rc_t
nlt_head_attach(const nlt_head_conf_t *conf, nlt_head_t **out, nlt_err_t *err)
{
    nlt_head_t *h = nlt_head_handle(conf);
    nlt_rc_t rc;

    *out = NULL;
    if (h == NULL) {
        return nlt_err_set(err, NLT_ENOMEM, "no memory for the head's handle");
    }
    rc = attach(h, err);
    if (rc != NLT_OK) {
        nlt_head_handle_free(h);
        return rc;
    }
    *out = h;
    return NLT_OK;
}

void
nlt_head_detach(nlt_head_t *h)
{
    if (h) {
        nlt_head_handle_free(h);
    }
}

void
nlt_head_set_trouble(nlt_head_t *h, const char *text)
{
    nlt_head_ctl_t *ctl = h->ctl;

    atomic_fetch_add(&ctl->trouble_seq, 1);
    (void) snprintf(ctl->trouble, sizeof(ctl->trouble), "%s", text);
    atomic_fetch_add(&ctl->trouble_seq, 1);
}

void
nlt_head_trouble(const nlt_head_ctl_t *ctl, char out[NLT_HEAD_TROUBLE_MAX])
{
    uint32_t seq = atomic_load(&ctl->trouble_seq);

    memcpy(out, ctl->trouble, NLT_HEAD_TROUBLE_MAX);
    out[NLT_HEAD_TROUBLE_MAX - 1] = '\0';
    atomic_thread_fence(memory_order_acquire);
    if (seq % 2 != 0 || atomic_load(&ctl->trouble_seq) != seq) {
        out[0] = '\0'; /* next time */
    }
}

nlt_head_ctl_t *
nlt_head_ctl(const nlt_head_t *h)
{
    return h->ctl;
}

nlt_tenants_t *
nlt_head_tenants(nlt_head_t *h)
{
    return &h->tenants;
}

bool
nlt_head_is_dead(const nlt_head_t *h)
{
    return atomic_load_explicit(&h->ctl->state, memory_order_acquire)
               == NLT_HEAD_DEAD
           || (h->conf.term != NULL
               && atomic_load_explicit(h->conf.term, memory_order_acquire)
                      != h->ctl->term);
}

/* Is arena number a, of which only the low bits are known, before b? */
static bool
is_before(uint32_t a, uint32_t b)
{
    return (int32_t) (a - b) < 0;
}

void
nlt_head_fail_log(nlt_head_ctl_t *ctl, uint64_t arena_no)
{
    uint32_t no = (uint32_t) arena_no, was = atomic_load(&ctl->sync_failed);

    while ((was == 0 || is_before(was, no))
           && !atomic_compare_exchange_weak(&ctl->sync_failed, &was, no)) {
    }
}

bool
nlt_head_log_failed(const nlt_head_ctl_t *ctl, uint64_t arena_no)
{
    uint32_t failed = atomic_load(&ctl->sync_failed);

    return failed != 0 && !is_before(failed, (uint32_t) arena_no);
}

bool
nlt_head_holds(const nlt_head_ctl_t *ctl, uint64_t arena_no)
{
    for (size_t i = 0; i < NLT_HEAD_ARENAS; i++) {
        const nlt_head_arena_slot_t *s = &ctl->arenas[i];
        uint32_t state = atomic_load(&s->state);

        if (atomic_load(&s->no) == arena_no && state != NLT_ARENA_NONE
            && state != NLT_ARENA_RETIRED) {
            return true;
        }
    }
    return false;
}

bool
nlt_head_is_lost(const nlt_head_t *h)
{
    char name[NLT_HEAD_NAME_MAX];
    struct stat st;

    nlt_head_file_name(name, h->conf.store_id, "ctl", 0);
    if (fstatat(h->conf.dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        return errno == ENOENT;
    }
    if ((uint64_t) st.st_ino != h->ctl_inode || nlt_head_side_is_lost(h)) {
        return true;
    }
    nlt_head_file_name(name, h->conf.store_id, "tenants", 0);
    if (fstatat(h->conf.dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0
        && errno == ENOENT) {
        return true;
    }
    for (size_t i = 0; i < NLT_HEAD_ARENAS; i++) {
        nlt_head_arena_slot_t *slot = &h->ctl->arenas[i];
        uint64_t no = atomic_load(&slot->no);
        uint32_t state = atomic_load(&slot->state);

        if (no == 0 || state == NLT_ARENA_NONE || state == NLT_ARENA_RETIRED) {
            continue;
        }
        nlt_head_file_name(name, h->conf.store_id, NULL, no);
        if (fstatat(h->conf.dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0
            && errno == ENOENT) {
            return true;
        }
    }
    return false;
}

/* ---- refresh ---- */

/* State of the arena that slot i holds, NONE when it is not `no`. */
static nlt_arena_state_t
state_of(const nlt_head_t *h, size_t i, uint64_t no)
{
    nlt_head_arena_slot_t *slot = &h->ctl->arenas[i];
    nlt_arena_state_t state = (nlt_arena_state_t) atomic_load(&slot->state);

    return atomic_load(&slot->no) == no ? state : NLT_ARENA_NONE;
}

static bool
holds_samples(nlt_arena_state_t state)
{
    return state == NLT_ARENA_ACTIVE || state == NLT_ARENA_SEALED;
}

/* Unmaps what has left and nobody pins. */
static void
unmap_gone(nlt_head_t *h)
{
    for (size_t i = 0; i < NLT_HEAD_ARENAS; i++) {
        nlt_arena_t *a = &h->arena[i];

        if (a->base && a->pins == 0) {
            nlt_arena_state_t state = state_of(h, i, a->no);

            if (state == NLT_ARENA_RETIRED || state == NLT_ARENA_NONE) {
                nlt_arena_unmap(h, i);
            }
        }
    }
}

/* Maps what is there and not mapped yet, h->lock held. */
static nlt_rc_t
map_new(nlt_head_t *h, nlt_err_t *err)
{
    uint64_t generation = atomic_load(&h->ctl->generation);
    nlt_rc_t rc = NLT_OK;

    unmap_gone(h);
    for (size_t i = 0; i < NLT_HEAD_ARENAS; i++) {
        uint64_t no = atomic_load(&h->ctl->arenas[i].no);
        nlt_arena_state_t state = no ? state_of(h, i, no) : NLT_ARENA_NONE;
        nlt_rc_t one;

        if (h->arena[i].base
            || (state != NLT_ARENA_READY && !holds_samples(state))) {
            continue;
        }
        one = nlt_arena_map(h, i, no, err);
        /* It may have gone while we looked: then it is not needed. */
        if (one != NLT_OK && holds_samples(state_of(h, i, no))) {
            rc = one;
        }
    }
    if (rc == NLT_OK) {
        atomic_store(&h->generation, generation);
    }
    return rc;
}

/* The mapped arena of highest number below `below` that takes or took
 * samples and is not in blocks yet. */
static nlt_arena_t *
highest(nlt_head_t *h, uint64_t below, bool active)
{
    nlt_arena_t *best = NULL;

    for (size_t i = 0; i < NLT_HEAD_ARENAS; i++) {
        nlt_arena_t *a = &h->arena[i];
        nlt_arena_state_t state =
            a->base ? state_of(h, i, a->no) : NLT_ARENA_NONE;

        if ((active ? state == NLT_ARENA_ACTIVE : holds_samples(state))
            && a->no < below && (best == NULL || a->no > best->no)) {
            best = a;
        }
    }
    return best;
}

static void
move_pin(nlt_arena_t **from, nlt_arena_t *to)
{
    if (to) {
        to->pins++;
    }
    if (*from) {
        (*from)->pins--;
    }
    *from = to;
}

nlt_rc_t
nlt_head_refresh(nlt_head_t *h, nlt_err_t *err)
{
    uint64_t generation =
        atomic_load_explicit(&h->ctl->generation, memory_order_acquire);
    nlt_arena_t *active, *previous;
    unsigned tries = 0;
    nlt_rc_t rc;

    if (nlt_likely(generation == h->owner_generation)) {
        return NLT_OK;
    }
    if (pthread_mutex_lock(&h->lock) != 0) {
        return nlt_err_set(err, NLT_EBUG, "the head's handle cannot lock");
    }
    do {
        generation = atomic_load(&h->ctl->generation);
        rc = map_new(h, err);
        active = highest(h, UINT64_MAX, true);
        previous = active ? highest(h, active->no, false) : NULL;
    } while (rc == NLT_OK && ++tries < STABLE_TRIES
             && atomic_load(&h->ctl->generation) != generation);
    move_pin(&h->active, active);
    move_pin(&h->previous, previous);
    unmap_gone(h);
    (void) pthread_mutex_unlock(&h->lock);
    if (rc == NLT_OK) {
        h->owner_generation = generation;
    }
    return rc;
}

nlt_arena_t *
nlt_head_active(nlt_head_t *h)
{
    if (nlt_head_refresh(h, NULL) != NLT_OK || h->active == NULL
        || atomic_load_explicit(&h->active->hdr->sealed,
                                memory_order_acquire)) {
        return NULL;
    }
    return h->active;
}

nlt_arena_t *
nlt_head_previous(nlt_head_t *h)
{
    return nlt_head_refresh(h, NULL) == NLT_OK ? h->previous : NULL;
}

uint64_t
nlt_head_bytes(const nlt_head_t *h)
{
    uint64_t sum = sizeof(*h->ctl) + nlt_head_side_reserved(h)
                   + nlt_tenants_reserved(&h->tenants);

    for (size_t i = 0; i < NLT_HEAD_ARENAS; i++) {
        if (atomic_load(&h->ctl->arenas[i].no)) {
            sum += atomic_load(&h->ctl->arenas[i].reserved_bytes);
        }
    }
    return sum;
}

/* ---- pins ---- */

/* Oldest first what holds samples; nothing is pinned yet. */
static void
look(nlt_head_t *h, nlt_head_view_t *view)
{
    nlt_arena_t *found[NLT_HEAD_ARENAS], *a;
    uint64_t below = UINT64_MAX;
    size_t n = 0;

    while (n < NLT_HEAD_ARENAS && (a = highest(h, below, false)) != NULL) {
        below = a->no;
        found[n++] = a;
    }
    view->n = n;
    for (size_t i = 0; i < n; i++) {
        view->arena[i] = found[n - 1 - i];
    }
}

void
nlt_head_pin(nlt_head_t *h, nlt_head_view_t *view)
{
    uint64_t generation;
    unsigned tries = 0;

    *view = (nlt_head_view_t){.n = 0, .complete = false};
    if (pthread_mutex_lock(&h->lock) != 0) {
        return;
    }
    /* What was found is a view only if nothing changed meanwhile: between two
     * looks one arena may have left and the next not be mapped yet. */
    do {
        generation = atomic_load(&h->ctl->generation);
        view->complete = generation == atomic_load(&h->generation)
                         || map_new(h, NULL) == NLT_OK;
        look(h, view);
    } while (view->complete && ++tries < STABLE_TRIES
             && atomic_load(&h->ctl->generation) != generation);
    for (size_t i = 0; i < view->n; i++) {
        view->arena[i]->pins++;
    }
    (void) pthread_mutex_unlock(&h->lock);
}

void
nlt_head_unpin_arena(nlt_head_t *h, nlt_arena_t *a)
{
    if (a && pthread_mutex_lock(&h->lock) == 0) {
        a->pins--;
        unmap_gone(h);
        (void) pthread_mutex_unlock(&h->lock);
    }
}

void
nlt_head_unpin(nlt_head_t *h, nlt_head_view_t *view)
{
    for (size_t i = 0; i < view->n; i++) {
        nlt_head_unpin_arena(h, view->arena[i]);
    }
    view->n = 0;
}

nlt_arena_t *
nlt_head_pin_arena(nlt_head_t *h, uint64_t arena_no)
{
    nlt_arena_t *found = NULL;

    if (pthread_mutex_lock(&h->lock) != 0) {
        return NULL;
    }
    if (map_new(h, NULL) == NLT_OK) {
        for (size_t i = 0; i < NLT_HEAD_ARENAS; i++) {
            if (h->arena[i].base && h->arena[i].no == arena_no) {
                found = &h->arena[i];
                found->pins++;
            }
        }
    }
    (void) pthread_mutex_unlock(&h->lock);
    return found;
}
