/*
 * nlt_turns.c - see the header.
 */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "nlt_hash.h"
#include "nlt_mutex.h"
#include "nlt_turns.h"

#define FREE    0u
#define WAITING 1u
#define GRANTED 2u

typedef struct {
    _Atomic uint32_t state;
    uint32_t process;
    uint64_t key;
    uint64_t turn; /* of its key; equal for all that wait of it */
    uint64_t seq;
    uint32_t running_max;
    uint32_t total_max;
} ticket_t;

typedef struct {
    _Atomic uint32_t used;
    _Atomic uint32_t n_helping; /* by lock, but that it may end at any time */
    pthread_mutex_t alive;      /* its process holds it */
} process_t;

struct nlt_turns_s {
    uint8_t secret[NLT_HASH_SECRET_BYTES];
    pthread_mutex_t lock;
    uint64_t seq;         /* of tickets and turns */
    uint32_t high;        /* no ticket from here on is used */
    uint32_t n_processes; /* no number from here on ever was */
    process_t process[NLT_TURNS_PROCESSES];
    ticket_t ticket[NLT_TURNS_TICKETS];
};

/* Keys that have tickets granted. */
typedef struct {
    size_t n_keys;
    uint32_t n; /* tickets */
    uint64_t key[NLT_TURNS_RUNNING];
    uint32_t of_key[NLT_TURNS_RUNNING];
} running_t;

size_t
nlt_turns_bytes(void)
{
    return sizeof(nlt_turns_t);
}

nlt_turns_t *
nlt_turns_init(void *p)
{
    nlt_turns_t *t = p;

    if (!nlt_random_bytes(t->secret, sizeof(t->secret))
        || !nlt_mutex_init_robust(&t->lock)) {
        return NULL;
    }
    for (size_t i = 0; i < NLT_TURNS_PROCESSES; i++) {
        if (!nlt_mutex_init_robust(&t->process[i].alive)) {
            return NULL;
        }
    }
    return t;
}

uint64_t
nlt_turns_key(const nlt_turns_t *t, const void *name, size_t len)
{
    nlt_hash128_t h = nlt_hash128(name, len, t->secret);

    return h.lo != 0 ? h.lo : 1;
}

/* Who died in it left nothing half done. */
static bool
lock(pthread_mutex_t *m)
{
    int e = pthread_mutex_lock(m);

    return e == 0 || (e == EOWNERDEAD && pthread_mutex_consistent(m) == 0);
}

static uint32_t
state_of(const ticket_t *k)
{
    return atomic_load_explicit(&k->state, memory_order_relaxed);
}

static void
set_state(ticket_t *k, uint32_t state)
{
    atomic_store_explicit(&k->state, state, memory_order_release);
}

/* ---- who is next ---- */

static uint32_t
granted_of(const running_t *r, uint64_t key)
{
    for (size_t i = 0; i < r->n_keys; i++) {
        if (r->key[i] == key) {
            return r->of_key[i];
        }
    }
    return 0;
}

static void
add_running(running_t *r, uint64_t key)
{
    size_t i = 0;

    r->n++;
    while (i < r->n_keys && r->key[i] != key) {
        i++;
    }
    if (i == NLT_TURNS_RUNNING) {
        return; /* not to be: no more are granted than that */
    }
    if (i == r->n_keys) {
        r->key[r->n_keys] = key;
        r->of_key[r->n_keys++] = 0;
    }
    r->of_key[i]++;
}

static void
find_running(const nlt_turns_t *t, running_t *r)
{
    r->n = 0;
    r->n_keys = 0;
    for (uint32_t i = 0; i < t->high; i++) {
        if (state_of(&t->ticket[i]) == GRANTED) {
            add_running(r, t->ticket[i].key);
        }
    }
}

static bool
is_before(const ticket_t *a, const ticket_t *b)
{
    return a->turn != b->turn ? a->turn < b->turn : a->seq < b->seq;
}

static ticket_t *
next(nlt_turns_t *t, const running_t *r)
{
    ticket_t *best = NULL;
    /* the key that was found to have no room last, and for whom */
    uint64_t full = 0;
    uint32_t full_max = 0;

    for (uint32_t i = 0; i < t->high; i++) {
        ticket_t *k = &t->ticket[i];

        if (state_of(k) != WAITING || r->n >= k->total_max
            || (k->key == full && k->running_max <= full_max)
            || (best != NULL && !is_before(k, best))) {
            continue;
        }
        if (granted_of(r, k->key) >= k->running_max) {
            full = k->key;
            full_max = k->running_max;
        } else {
            best = k;
        }
    }
    return best;
}

/* Grants what can be; the key of each goes behind the others. */
static void
grant(nlt_turns_t *t, nlt_turns_wake_t *wake)
{
    running_t r;
    ticket_t *k;

    find_running(t, &r);
    while ((k = next(t, &r)) != NULL) {
        uint64_t turn = ++t->seq;

        for (uint32_t i = 0; i < t->high; i++) {
            if (state_of(&t->ticket[i]) == WAITING
                && t->ticket[i].key == k->key) {
                t->ticket[i].turn = turn;
            }
        }
        set_state(k, GRANTED);
        add_running(&r, k->key);
        wake->process[k->process / 64] |= UINT64_C(1) << k->process % 64;
    }
}

/* ---- processes ---- */

/* Takes from a process all that it has. */
static void
free_all_of(nlt_turns_t *t, uint32_t process)
{
    for (uint32_t i = 0; i < t->high; i++) {
        if (state_of(&t->ticket[i]) != FREE
            && t->ticket[i].process == process) {
            set_state(&t->ticket[i], FREE);
        }
    }
    atomic_store(&t->process[process].n_helping, 0);
}

/* One that is used, and whose owner lives, is left alone. */
static bool
take_if_dead(process_t *p)
{
    int e = pthread_mutex_trylock(&p->alive);

    if (e == EOWNERDEAD) {
        e = pthread_mutex_consistent(&p->alive);
    }
    return e == 0;
}

nlt_rc_t
nlt_turns_join(nlt_turns_t *t, uint32_t *self)
{
    nlt_rc_t rc = NLT_EFULL;

    if (!lock(&t->lock)) {
        return NLT_EDATA;
    }
    for (uint32_t i = 0; rc != NLT_OK && i < NLT_TURNS_PROCESSES; i++) {
        process_t *p = &t->process[i];

        /* one that died in here is not marked, but has its mutex */
        if (atomic_load(&p->used) == 0 && take_if_dead(p)) {
            free_all_of(t, i);
            if (i >= t->n_processes) {
                t->n_processes = i + 1;
            }
            atomic_store(&p->used, 1);
            *self = i;
            rc = NLT_OK;
        }
    }
    (void) pthread_mutex_unlock(&t->lock);
    return rc;
}

void
nlt_turns_leave(nlt_turns_t *t, uint32_t self, nlt_turns_wake_t *wake)
{
    if (!lock(&t->lock)) {
        return;
    }
    free_all_of(t, self);
    atomic_store(&t->process[self].used, 0);
    (void) pthread_mutex_unlock(&t->process[self].alive);
    grant(t, wake);
    (void) pthread_mutex_unlock(&t->lock);
}

uint32_t
nlt_turns_bury(nlt_turns_t *t, uint32_t self, nlt_turns_wake_t *wake)
{
    uint32_t n = 0;

    if (!lock(&t->lock)) {
        return 0;
    }
    for (uint32_t i = 0; i < t->n_processes; i++) {
        process_t *p = &t->process[i];

        if (i != self && atomic_load(&p->used) != 0 && take_if_dead(p)) {
            free_all_of(t, i);
            atomic_store(&p->used, 0);
            (void) pthread_mutex_unlock(&p->alive);
            n++;
        }
    }
    /* also if there is none: who died before it had granted owes it */
    grant(t, wake);
    (void) pthread_mutex_unlock(&t->lock);
    return n;
}

void
nlt_turns_load(nlt_turns_t *t, nlt_turns_load_t *out)
{
    *out = (nlt_turns_load_t){.n_waiting = 0};
    if (!lock(&t->lock)) {
        return;
    }
    for (uint32_t i = 0; i < t->n_processes; i++) {
        out->n_processes += atomic_load(&t->process[i].used) != 0;
        out->n_helping += atomic_load(&t->process[i].n_helping);
    }
    for (uint32_t i = 0; i < t->high; i++) {
        out->n_waiting += state_of(&t->ticket[i]) == WAITING;
        out->n_granted += state_of(&t->ticket[i]) == GRANTED;
    }
    (void) pthread_mutex_unlock(&t->lock);
}

/* ---- threads beside tickets ---- */

bool
nlt_turns_help_begin(nlt_turns_t *t, uint32_t self, uint32_t total_max)
{
    uint32_t n = 0;
    bool yes;

    if (!lock(&t->lock)) {
        return false;
    }
    for (uint32_t i = 0; i < t->n_processes; i++) {
        n += atomic_load(&t->process[i].n_helping);
    }
    for (uint32_t i = 0; i < t->high && n < total_max; i++) {
        n += state_of(&t->ticket[i]) == GRANTED;
    }
    yes = n < total_max;
    if (yes) {
        (void) atomic_fetch_add(&t->process[self].n_helping, 1);
    }
    (void) pthread_mutex_unlock(&t->lock);
    return yes;
}

void
nlt_turns_help_end(nlt_turns_t *t, uint32_t self)
{
    _Atomic uint32_t *n = &t->process[self].n_helping;
    uint32_t was = atomic_load(n);

    /* none, if the process has left meanwhile */
    while (was > 0 && !atomic_compare_exchange_weak(n, &was, was - 1)) {
    }
}

/* ---- tickets ---- */

typedef struct {
    uint32_t free;      /* the first one, or NONE */
    uint32_t n_waiting; /* of all keys */
    uint32_t of_key;    /* that wait */
    uint32_t granted;   /* of the key */
    uint32_t n_granted; /* of all */
    uint64_t turn;      /* of the key, if of_key */
} found_t;

static found_t
look(const nlt_turns_t *t, uint64_t key)
{
    found_t f = {.free = NLT_TURNS_NONE};

    for (uint32_t i = 0; i < t->high; i++) {
        const ticket_t *k = &t->ticket[i];
        uint32_t state = state_of(k);

        if (state == FREE) {
            f.free = f.free == NLT_TURNS_NONE ? i : f.free;
        } else if (state == GRANTED) {
            f.n_granted++;
            f.granted += k->key == key;
        } else {
            f.n_waiting++;
            if (k->key == key) {
                f.of_key++;
                f.turn = k->turn;
            }
        }
    }
    if (f.free == NLT_TURNS_NONE && t->high < NLT_TURNS_TICKETS) {
        f.free = t->high;
    }
    return f;
}

static nlt_rc_t
check(const found_t *f, const nlt_turns_ask_t *ask, bool *over)
{
    *over = false;
    if (f->free == NLT_TURNS_NONE
        || (!ask->again && f->n_waiting >= NLT_TURNS_WAITING)) {
        return NLT_EFULL;
    }
    *over = !ask->again && f->of_key >= ask->waiting_max
            && !(f->of_key == 0 && f->granted < ask->room_max
                 && f->n_granted < ask->total_max);
    return *over && !ask->forced ? NLT_ELIMIT : NLT_OK;
}

nlt_rc_t
nlt_turns_ask(nlt_turns_t *t, uint32_t self, const nlt_turns_ask_t *ask,
              uint32_t *ticket, bool *over, nlt_turns_wake_t *wake)
{
    found_t f;
    nlt_rc_t rc;
    ticket_t *k;

    *ticket = NLT_TURNS_NONE;
    if (!lock(&t->lock)) {
        return NLT_EDATA;
    }
    f = look(t, ask->key);
    rc = check(&f, ask, over);
    if (rc == NLT_OK) {
        k = &t->ticket[f.free];
        k->process = self;
        k->key = ask->key;
        k->seq = ++t->seq;
        k->turn = f.of_key != 0 ? f.turn : k->seq;
        k->running_max = ask->running_max;
        k->total_max = ask->total_max < NLT_TURNS_RUNNING ? ask->total_max
                                                          : NLT_TURNS_RUNNING;
        if (f.free == t->high) {
            t->high++;
        }
        set_state(k, WAITING);
        *ticket = f.free;
        grant(t, wake);
    }
    (void) pthread_mutex_unlock(&t->lock);
    return rc;
}

bool
nlt_turns_is_free(nlt_turns_t *t, uint64_t key, uint32_t running_max)
{
    found_t f;

    if (!lock(&t->lock)) {
        return false;
    }
    f = look(t, key);
    (void) pthread_mutex_unlock(&t->lock);
    return f.of_key == 0 && f.granted < running_max;
}

bool
nlt_turns_granted(const nlt_turns_t *t, uint32_t ticket)
{
    return ticket != NLT_TURNS_NONE
           && atomic_load_explicit(&t->ticket[ticket].state,
                                   memory_order_acquire)
                  == GRANTED;
}

void
nlt_turns_end(nlt_turns_t *t, uint32_t self, uint32_t ticket,
              nlt_turns_wake_t *wake)
{
    if (ticket == NLT_TURNS_NONE || !lock(&t->lock)) {
        return;
    }
    if (t->ticket[ticket].process == self) {
        set_state(&t->ticket[ticket], FREE);
    }
    while (t->high > 0 && state_of(&t->ticket[t->high - 1]) == FREE) {
        t->high--;
    }
    grant(t, wake);
    (void) pthread_mutex_unlock(&t->lock);
}
