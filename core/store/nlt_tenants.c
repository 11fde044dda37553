/*
 * nlt_tenants.c - the table of tenants in shared memory.
 *
 * A maker holds the lock and goes on so that the table is right after each
 * step, for readers and for whoever finds him dead:
 *
 *   1  writes slot `next`, state LIVE      nobody sees it
 *   2  puts it in its chain                everybody finds it
 *   3  next + 1, n + 1, changes + 1
 *
 * Dead before 2: the slot is written again by the next maker.  Dead after 2:
 * the slot `next` is found in its chain, and 3 is done for him.
 */
#include "nlt_tenants.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nlt_io.h"
#include "nlt_utf8.h"
#include "nlt_mutex.h"

#define MAGIC UINT64_C(0x31544e4e4554544c) /* "LTTENNT1" */

/* The file is sparse and grows in memory by this. */
#define STEP_BYTES (UINT64_C(64) << 10)

/* Where slot 0 is. */
#define SLOTS ((sizeof(nlt_tenants_header_t) + 4095) / 4096 * 4096)

#define FILE_BYTES (SLOTS + (uint64_t) NLT_TENANTS_NUMBERS * NLT_TENANT_BYTES)

#define RELAXED memory_order_relaxed
#define ACQUIRE memory_order_acquire
#define RELEASE memory_order_release

uint32_t
nlt_tenants_layout_crc(void)
{
    const uint32_t facts[] = {
        sizeof(nlt_tenants_header_t),
        sizeof(nlt_tenant_t),
        sizeof(nlt_tenant_counters_t),
        offsetof(nlt_tenant_t, counters),
        offsetof(nlt_tenant_t, room),
        offsetof(nlt_tenants_header_t, heads),
        NLT_TENANT_BYTES,
        NLT_TENANTS_NUMBERS,
        NLT_TENANTS_HEADS,
    };

    return nlt_crc32c(0, facts, sizeof(facts));
}

uint64_t
nlt_tenants_bytes(uint32_t tenants)
{
    uint64_t bytes = SLOTS + ((uint64_t) tenants + 1) * NLT_TENANT_BYTES;

    return (bytes + STEP_BYTES - 1) / STEP_BYTES * STEP_BYTES;
}

uint64_t
nlt_tenants_reserved(const nlt_tenants_t *t)
{
    return t->base != NULL ? atomic_load(&t->hdr->reserved_bytes) : 0;
}

/* ---- slots ---- */

/* Slot of a number, memory or not. */
static nlt_tenant_t *
place_of(const nlt_tenants_t *t, uint32_t number)
{
    return (nlt_tenant_t *) (void *) (t->base + SLOTS
                                      + (uint64_t) number * NLT_TENANT_BYTES);
}

uint32_t
nlt_tenants_end(const nlt_tenants_t *t)
{
    uint32_t end = atomic_load_explicit(&t->hdr->next, ACQUIRE);

    return end < NLT_TENANTS_NUMBERS ? end : NLT_TENANTS_NUMBERS;
}

uint32_t
nlt_tenants_count(const nlt_tenants_t *t)
{
    return atomic_load_explicit(&t->hdr->n, RELAXED);
}

/*
 * A slot that has memory.  Not bounded by `next`: what is in a chain is there,
 * also when its maker has died before he said so.
 */
static nlt_tenant_t *
slot_at(const nlt_tenants_t *t, uint32_t number)
{
    uint64_t end = SLOTS + ((uint64_t) number + 1) * NLT_TENANT_BYTES;

    return end <= atomic_load_explicit(&t->hdr->reserved_bytes, ACQUIRE)
                   && end <= t->size
               ? place_of(t, number)
               : NULL;
}

nlt_tenant_t *
nlt_tenants_slot(const nlt_tenants_t *t, uint32_t number)
{
    nlt_tenant_t *slot = slot_at(t, number);

    return slot != NULL
                   && atomic_load_explicit(&slot->state, ACQUIRE)
                          != NLT_TENANT_FREE
               ? slot
               : NULL;
}

bool
nlt_tenants_lives(const nlt_tenants_t *t, uint32_t number)
{
    const nlt_tenant_t *slot = slot_at(t, number);

    return slot != NULL
           && atomic_load_explicit(&slot->state, ACQUIRE) == NLT_TENANT_LIVE;
}

bool
nlt_tenants_logged(const nlt_tenants_t *t, uint32_t number, uint64_t arena_no)
{
    const nlt_tenant_t *slot;

    if (nlt_likely(number == 0)) {
        return true;
    }
    slot = nlt_tenants_slot(t, number);
    return slot == NULL
           || atomic_load_explicit(&slot->logged, RELAXED) == arena_no;
}

void
nlt_tenants_set_logged(const nlt_tenants_t *t, uint32_t number,
                       uint64_t arena_no)
{
    nlt_tenant_t *slot = number ? nlt_tenants_slot(t, number) : NULL;
    uint64_t was;

    if (slot == NULL) {
        return;
    }
    was = atomic_load_explicit(&slot->logged, RELAXED);
    while (was < arena_no
           && !atomic_compare_exchange_weak(&slot->logged, &was, arena_no)) {
    }
}

/* ---- names ---- */

nlt_rc_t
nlt_tenant_name_check(nlt_str_t name, nlt_err_t *err)
{
    if (name.len == 0) {
        return nlt_err_set(err, NLT_EINVAL, "the name of the tenant is empty");
    }
    if (name.len > NLT_TENANT_NAME_MAX) {
        return nlt_err_set(err, NLT_EINVAL,
                           "the name of the tenant has %zu bytes, more than "
                           "%u",
                           name.len, NLT_TENANT_NAME_MAX);
    }
    if (!nlt_utf8_valid(name)) {
        return nlt_err_set(err, NLT_EINVAL,
                           "the name of the tenant is not valid UTF-8");
    }
    for (size_t i = 0; i < name.len;) {
        nlt_str_t rest = {name.len - i, name.data + i};
        uint32_t rune;

        i += nlt_utf8_decode(rest, &rune);
        if (rune < 0x20 || (rune >= 0x7f && rune < 0xa0)) {
            return nlt_err_set(err, NLT_EINVAL,
                               "the name of the tenant has a control "
                               "character (U+%04X)",
                               rune);
        }
    }
    return NLT_OK;
}

static _Atomic uint32_t *
head_of(const nlt_tenants_t *t, nlt_str_t name)
{
    uint64_t hash = nlt_hash64(name.data, name.len, t->seed);

    return &t->hdr->heads[hash % NLT_TENANTS_HEADS];
}

uint32_t
nlt_tenants_find(const nlt_tenants_t *t, nlt_str_t name)
{
    uint32_t number, steps = 0;

    if (name.len == 0 || name.len > NLT_TENANT_NAME_MAX) {
        return 0;
    }
    number = atomic_load_explicit(head_of(t, name), ACQUIRE);
    for (; number != 0 && steps < NLT_TENANTS_NUMBERS; steps++) {
        nlt_tenant_t *slot = slot_at(t, number);

        if (slot == NULL) {
            return 0; /* corrupt */
        }
        if (atomic_load_explicit(&slot->state, ACQUIRE) == NLT_TENANT_LIVE
            && nlt_str_eq(nlt_tenant_name(slot), name)) {
            return number;
        }
        number = atomic_load_explicit(&slot->next, ACQUIRE);
    }
    return 0;
}

/* ---- the lock ---- */

/* Is slot `number` in the chain of its name? */
static bool
is_chained(const nlt_tenants_t *t, uint32_t number)
{
    const nlt_tenant_t *slot = slot_at(t, number);
    uint32_t at, steps = 0;

    if (slot == NULL || slot->name_len == 0) {
        return false;
    }
    at = atomic_load(head_of(t, nlt_tenant_name(slot)));
    while (at != 0 && at != number && steps++ < NLT_TENANTS_NUMBERS) {
        const nlt_tenant_t *other = slot_at(t, at);

        at = other != NULL ? atomic_load(&other->next) : 0;
    }
    return at == number;
}

/* What the dead holder may have left undone. */
static void
repair(nlt_tenants_t *t)
{
    uint32_t end = nlt_tenants_end(t), n = 0;

    if (is_chained(t, end)) {
        atomic_store_explicit(&t->hdr->next, ++end, RELEASE);
    }
    for (uint32_t no = 1; no < end; no++) {
        n += nlt_tenants_lives(t, no);
    }
    atomic_store(&t->hdr->n, n);
    nlt_tenants_touch(t); /* the dead may have been a remover */
}

static nlt_rc_t
lock(nlt_tenants_t *t, nlt_err_t *err)
{
    int e = pthread_mutex_lock(&t->hdr->lock);

    if (e == EOWNERDEAD) {
        repair(t);
        e = pthread_mutex_consistent(&t->hdr->lock);
    }
    return e == 0 ? NLT_OK
                  : nlt_err_set(err, NLT_EDATA,
                                "the lock of the table of tenants is "
                                "corrupt");
}

static void
unlock(nlt_tenants_t *t)
{
    (void) pthread_mutex_unlock(&t->hdr->lock);
}

/* ---- making ---- */

/* Memory for the slot of a number; the lock is held. */
static nlt_rc_t
reserve(nlt_tenants_t *t, uint32_t number, nlt_err_t *err)
{
    const nlt_io_t *io = t->env->io;
    uint64_t end = SLOTS + ((uint64_t) number + 1) * NLT_TENANT_BYTES;
    uint64_t from = atomic_load(&t->hdr->reserved_bytes);

    if (end <= from) {
        return NLT_OK;
    }
    end = (end + STEP_BYTES - 1) / STEP_BYTES * STEP_BYTES;
    if (end > t->size) {
        end = t->size;
    }
    if (io->allocate(io->ctx, t->fd, (int64_t) from, (int64_t) (end - from))
        < 0) {
        return nlt_err_set(err, NLT_EFULL,
                           "no memory for one more tenant in the file system "
                           "of the head");
    }
    atomic_store_explicit(&t->hdr->reserved_bytes, end, RELEASE);
    return NLT_OK;
}

/* Steps 1 and 2 for a number whose slot is free; the lock is held. */
static nlt_rc_t
make(nlt_tenants_t *t, uint32_t number, nlt_str_t name, nlt_err_t *err)
{
    nlt_rc_t rc = reserve(t, number, err);
    _Atomic uint32_t *head = head_of(t, name);
    nlt_tenant_t *slot;

    if (rc != NLT_OK) {
        return rc;
    }
    slot = place_of(t, number);
    slot->created_ms = nlt_now_ms(t->env);
    slot->name_len = (uint32_t) name.len;
    memcpy(slot->name, name.data, name.len);
    atomic_store(&slot->logged, 0);
    atomic_store(&slot->next, atomic_load(head));
    atomic_store_explicit(&slot->state, NLT_TENANT_LIVE, RELEASE);
    atomic_store_explicit(head, number, RELEASE);
    return NLT_OK;
}

/* Step 3. */
static void
made(nlt_tenants_t *t, uint32_t number)
{
    if (number >= atomic_load(&t->hdr->next)) {
        atomic_store_explicit(&t->hdr->next, number + 1, RELEASE);
    }
    atomic_fetch_add(&t->hdr->n, 1);
    atomic_fetch_add(&t->hdr->changes, 1);
}

/* Makes one, under the lock. */
static nlt_rc_t
have_locked(nlt_tenants_t *t, nlt_str_t name, uint32_t limit, uint32_t *number,
            nlt_err_t *err)
{
    uint32_t next = nlt_tenants_end(t);
    nlt_rc_t rc;

    *number = nlt_tenants_find(t, name);
    if (*number != 0) {
        return NLT_OK;
    }
    if (nlt_tenants_count(t) >= limit) {
        return nlt_err_set(err, NLT_ELIMIT,
                           "there are %u tenants already, and the store is "
                           "configured for no more (tenants=%u)",
                           nlt_tenants_count(t), limit);
    }
    if (next >= NLT_TENANTS_NUMBERS) {
        return nlt_err_set(err, NLT_ELIMIT,
                           "all %u numbers of tenants are used up",
                           NLT_TENANTS_NUMBERS);
    }
    rc = make(t, next, name, err);
    if (rc == NLT_OK) {
        made(t, next);
        *number = next;
    }
    return rc;
}

nlt_rc_t
nlt_tenants_have(nlt_tenants_t *t, nlt_str_t name, uint32_t limit,
                 uint32_t *number, nlt_err_t *err)
{
    nlt_rc_t rc = nlt_tenant_name_check(name, err);

    *number = 0;
    if (rc != NLT_OK) {
        return rc;
    }
    *number = nlt_tenants_find(t, name);
    if (nlt_likely(*number != 0)) {
        return NLT_OK;
    }
    rc = lock(t, err);
    if (rc == NLT_OK) {
        rc = have_locked(t, name, limit, number, err);
        unlock(t);
    }
    return rc;
}

static nlt_rc_t
put_locked(nlt_tenants_t *t, uint32_t number, nlt_str_t name, nlt_err_t *err)
{
    const nlt_tenant_t *slot = nlt_tenants_slot(t, number);
    uint32_t has = nlt_tenants_find(t, name);
    nlt_rc_t rc;

    if (has == number) {
        return NLT_OK;
    }
    if (has != 0 || slot != NULL) {
        return nlt_err_set(err, NLT_EEXIST,
                           "number %u or name of a tenant is taken", number);
    }
    rc = make(t, number, name, err);
    if (rc == NLT_OK) {
        made(t, number);
    }
    return rc;
}

nlt_rc_t
nlt_tenants_put(nlt_tenants_t *t, uint32_t number, nlt_str_t name,
                nlt_err_t *err)
{
    nlt_rc_t rc;

    if (number == 0 || number >= NLT_TENANTS_NUMBERS
        || nlt_tenant_name_check(name, NULL) != NLT_OK) {
        return nlt_err_set(err, NLT_EDATA,
                           "number %u or name of a tenant is not valid",
                           number);
    }
    rc = lock(t, err);
    if (rc == NLT_OK) {
        rc = put_locked(t, number, name, err);
        unlock(t);
    }
    return rc;
}

void
nlt_tenants_skip(nlt_tenants_t *t, uint32_t next)
{
    uint32_t was = atomic_load(&t->hdr->next);

    while (was < next
           && !atomic_compare_exchange_weak(&t->hdr->next, &was, next)) {
    }
}

void
nlt_tenants_touch(nlt_tenants_t *t)
{
    atomic_store(&t->hdr->removed, atomic_fetch_add(&t->hdr->changes, 1) + 1);
}

nlt_rc_t
nlt_tenants_mark(nlt_tenants_t *t, uint32_t *next, uint64_t *changes,
                 nlt_err_t *err)
{
    nlt_rc_t rc = lock(t, err);

    if (rc == NLT_OK) {
        *next = nlt_tenants_end(t);
        *changes = atomic_load(&t->hdr->changes);
        unlock(t);
    }
    return rc;
}

nlt_rc_t
nlt_tenants_replay(nlt_tenants_t *t, uint32_t number, nlt_str_t name,
                   uint32_t *out, nlt_err_t *err)
{
    const nlt_tenant_t *slot = nlt_tenants_slot(t, number);
    nlt_rc_t rc;

    *out = 0;
    if (slot != NULL ? !nlt_tenants_lives(t, number)
                     : number < atomic_load(&t->hdr->file_known)) {
        return NLT_OK; /* the file knew it no more */
    }
    rc = nlt_tenants_put(t, number, name, err);
    if (rc == NLT_OK) {
        *out = number;
    }
    return rc == NLT_EEXIST ? nlt_tenants_have(t, name, UINT32_MAX, out, err)
                            : rc;
}

/* ---- removing ---- */

/* Takes a slot out of its chain; readers in it go on from it. */
static void
unchain(nlt_tenants_t *t, uint32_t number, const nlt_tenant_t *slot)
{
    _Atomic uint32_t *at = head_of(t, nlt_tenant_name(slot));

    for (uint32_t steps = 0; steps < NLT_TENANTS_NUMBERS; steps++) {
        uint32_t no = atomic_load(at);
        nlt_tenant_t *other = no ? slot_at(t, no) : NULL;

        if (other == NULL) {
            return;
        }
        if (no == number) {
            atomic_store_explicit(at, atomic_load(&slot->next), RELEASE);
            return;
        }
        at = &other->next;
    }
}

nlt_rc_t
nlt_tenants_remove(nlt_tenants_t *t, nlt_str_t name, uint32_t *number,
                   nlt_err_t *err)
{
    nlt_rc_t rc = lock(t, err);
    nlt_tenant_t *slot;

    *number = 0;
    if (rc != NLT_OK) {
        return rc;
    }
    *number = nlt_tenants_find(t, name);
    slot = *number ? slot_at(t, *number) : NULL;
    if (slot != NULL) {
        atomic_store_explicit(&slot->state, NLT_TENANT_GONE, RELEASE);
        unchain(t, *number, slot);
        atomic_fetch_sub(&t->hdr->n, 1);
        atomic_store(&t->hdr->removed,
                     atomic_fetch_add(&t->hdr->changes, 1) + 1);
    }
    unlock(t);
    return slot != NULL
               ? NLT_OK
               : nlt_err_set(err, NLT_ENOENT, "there is no such tenant");
}

/* ---- the file ---- */

static nlt_rc_t
map(nlt_tenants_t *t, const nlt_env_t *env, const uint8_t *secret,
    nlt_err_t *err)
{
    uint8_t *base = NULL;
    nlt_rc_t rc = nlt_map_shared(t->fd, FILE_BYTES, &base, err);

    if (rc == NLT_OK) {
        t->env = env;
        t->base = base;
        t->hdr = (nlt_tenants_header_t *) (void *) base;
        t->size = FILE_BYTES;
        memcpy(&t->seed, secret, sizeof(t->seed));
    }
    return rc;
}

static nlt_rc_t
format(nlt_tenants_t *t, const uint8_t *store_id, nlt_err_t *err)
{
    nlt_tenants_header_t *hdr = t->hdr;

    memcpy(hdr->store_id, store_id, sizeof(hdr->store_id));
    hdr->size_bytes = FILE_BYTES;
    if (!nlt_mutex_init_robust(&hdr->lock)) {
        return nlt_err_set(err, NLT_EBUG, "no robust mutexes here");
    }
    atomic_store(&hdr->reserved_bytes, SLOTS + STEP_BYTES);
    atomic_store(&hdr->next, 1);
    atomic_store(&place_of(t, 0)->state, NLT_TENANT_LIVE);
    atomic_thread_fence(RELEASE);
    hdr->magic = MAGIC;
    return NLT_OK;
}

nlt_rc_t
nlt_tenants_create(nlt_tenants_t *t, const nlt_env_t *env, int dir_fd,
                   const char *c_name, const uint8_t *store_id,
                   const uint8_t *secret, nlt_err_t *err)
{
    const nlt_io_t *io = env->io;
    nlt_rc_t rc;
    int sys;

    *t = (nlt_tenants_t){.env = env};
    t->fd = io->open(io->ctx, dir_fd, c_name,
                     O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
    if (t->fd < 0) {
        return nlt_err_set_errno(err, t->fd == -ENOSPC ? NLT_EFULL : NLT_EIO,
                                 -t->fd, "create \"%s\"", c_name);
    }
    sys = io->truncate(io->ctx, t->fd, (int64_t) FILE_BYTES);
    if (sys == 0) {
        sys = io->allocate(io->ctx, t->fd, 0, (int64_t) (SLOTS + STEP_BYTES));
    }
    rc = sys < 0 ? nlt_err_set_errno(err, sys == -ENOSPC ? NLT_EFULL : NLT_EIO,
                                     -sys, "reserve \"%s\"", c_name)
                 : map(t, env, secret, err);
    if (rc == NLT_OK) {
        rc = format(t, store_id, err);
    }
    if (rc != NLT_OK) {
        nlt_tenants_close(t);
        (void) io->unlink(io->ctx, dir_fd, c_name);
    }
    return rc;
}

nlt_rc_t
nlt_tenants_open(nlt_tenants_t *t, const nlt_env_t *env, int dir_fd,
                 const char *c_name, const uint8_t *store_id,
                 const uint8_t *secret, nlt_err_t *err)
{
    const nlt_io_t *io = env->io;
    struct stat st;
    nlt_rc_t rc;

    *t = (nlt_tenants_t){.env = env};
    t->fd = io->open(io->ctx, dir_fd, c_name, O_RDWR | O_NOFOLLOW, 0);
    if (t->fd < 0) {
        return nlt_err_set_errno(err, t->fd == -ENOENT ? NLT_EDATA : NLT_EIO,
                                 -t->fd, "open \"%s\"", c_name);
    }
    if (fstat(t->fd, &st) < 0 || !S_ISREG(st.st_mode) || (st.st_mode & 077)
        || (st.st_uid != geteuid() && geteuid() != 0)
        || (uint64_t) st.st_size != FILE_BYTES) {
        rc = nlt_err_set(err, NLT_EDATA,
                         "\"%s\" has another owner, mode or size", c_name);
    } else {
        rc = map(t, env, secret, err);
    }
    if (rc == NLT_OK
        && (t->hdr->magic != MAGIC || t->hdr->size_bytes != FILE_BYTES
            || memcmp(t->hdr->store_id, store_id, sizeof(t->hdr->store_id))
                   != 0)) {
        rc = nlt_err_set(err, NLT_EDATA, "\"%s\" is damaged", c_name);
    }
    if (rc != NLT_OK) {
        nlt_tenants_close(t);
    }
    return rc;
}

void
nlt_tenants_close(nlt_tenants_t *t)
{
    if (t->base != NULL) {
        nlt_unmap(t->base, t->size);
        t->base = NULL;
    }
    if (t->env != NULL && t->fd >= 0) {
        (void) t->env->io->close(t->env->io->ctx, t->fd);
    }
    t->env = NULL;
}
