/*
 * nlt_turns.h - whose turn it is: what waits for a thread, of all processes.
 *
 * Floor 3 (store); uses base.
 * Threads: all functions by any thread of any process that has joined, for
 * its own number; a mutex is held for a walk over what waits and runs.
 *
 * A ticket is a piece of work that wants a thread.  It waits, is granted, and
 * ends.  Tickets lie in memory that processes share, in no order:
 *
 *     [ a waits | b runs, worker 2 | free | a waits | a runs, worker 1 | ... ]
 *
 * Who is next is found by looking at all of them: of the tickets that wait and
 * whose key has fewer granted than it may, the one whose key was served the
 * longest time ago, and of equal ones the first that came.  So keys that have
 * somebody waiting take turns whatever the length of their queues, and the
 * bounds are those of the machine, not of a process.
 *
 * There is no list and no count that could be wrong.  A ticket changes by one
 * store of its state, so a process that dies at any instruction leaves
 * tickets that are free, wait or run, and nothing else: the next one that
 * takes the mutex goes on as if nothing had been.  What the dead one had is
 * freed by nlt_turns_bury().  Whether a process lives is not asked by its
 * number, which may be another's by now: each holds a robust mutex for as long
 * as it lives, and the kernel tells who asks for it when its owner has died.
 *
 * Who is granted a ticket may be another process than the one that runs the
 * choice; the caller is told whom to wake.  How is not known here.
 *
 * Cost: a walk over all tickets up to the highest one used, some 2 ns each,
 * and for each granted key a comparison; with nothing waiting about 100 ns.
 */
#ifndef NLT_STORE_TURNS_H
#define NLT_STORE_TURNS_H

#include "nlt_rc.h"

#define NLT_TURNS_PROCESSES 1024 /* nginx has no more of them */
#define NLT_TURNS_TICKETS   4096
#define NLT_TURNS_WAITING   2048 /* that are new; the rest is for others */
#define NLT_TURNS_RUNNING   512  /* granted at once, at most */

#define NLT_TURNS_NONE UINT32_MAX

typedef struct nlt_turns_s nlt_turns_t;

/* Bit i of word i/64: process i has been granted something. */
typedef struct {
    uint64_t process[NLT_TURNS_PROCESSES / 64];
} nlt_turns_wake_t;

/* What a ticket asks for. */
typedef struct {
    uint64_t key;         /* of nlt_turns_key() */
    uint32_t running_max; /* granted at once for the key, > 0 */
    uint32_t total_max;   /* for all keys, > 0; at most NLT_TURNS_RUNNING */
    /* it is refused when so many of the key wait, */
    uint32_t waiting_max;
    /* unless it can run at once beside fewer than so many of its key */
    uint32_t room_max;
    bool forced; /* it only says whether it would be refused */
    bool again;  /* it is never refused: it has run before */
} nlt_turns_ask_t;

/* Bytes of memory that it takes. */
size_t nlt_turns_bytes(void);

/*
 * Makes it of zeroed memory that processes share, nlt_turns_bytes(),
 * 64-aligned.  NULL: no robust mutexes, or no random bytes.
 */
nlt_turns_t *nlt_turns_init(void *p);

/* A key for a name; hashed with random bytes of t.  Never 0. */
uint64_t nlt_turns_key(const nlt_turns_t *t, const void *name, size_t len);

/*
 * This process becomes number *self, the lowest that is free.  The calling
 * thread has to live as long as the process does.  NLT_EFULL; NLT_EDATA: the
 * memory is broken.
 */
NLT_CHECKED nlt_rc_t nlt_turns_join(nlt_turns_t *t, uint32_t *self);

/* It is none any more; its tickets are freed.  By the thread that joined. */
void nlt_turns_leave(nlt_turns_t *t, uint32_t self, nlt_turns_wake_t *wake);

/*
 * A ticket, which is granted or waits.
 *   NLT_ELIMIT  refused: too many of its key wait.  With forced it is NLT_OK,
 *               and *over says so
 *   NLT_EFULL   too many wait at all, or no ticket is left
 *   NLT_EDATA   the memory is broken
 * wake is added to.
 */
NLT_CHECKED nlt_rc_t nlt_turns_ask(nlt_turns_t *t, uint32_t self,
                                   const nlt_turns_ask_t *ask,
                                   uint32_t *ticket, bool *over,
                                   nlt_turns_wake_t *wake);

/*
 * Does nobody of this key wait, and have fewer than running_max of it been
 * granted?  Then it would be no turn of others that is taken.
 */
bool nlt_turns_is_free(nlt_turns_t *t, uint64_t key, uint32_t running_max);

/* May it run?  One load. */
bool nlt_turns_granted(const nlt_turns_t *t, uint32_t ticket);

/* It waits no more, or has run; others may be granted.  NONE is allowed. */
void nlt_turns_end(nlt_turns_t *t, uint32_t self, uint32_t ticket,
                   nlt_turns_wake_t *wake);

/*
 * One more thread for a ticket that runs, which has none of its own: may it
 * begin?  Not if as many tickets are granted, and such threads are at work,
 * as total_max says.  What a process that dies had is freed as tickets are.
 */
bool nlt_turns_help_begin(nlt_turns_t *t, uint32_t self, uint32_t total_max);
void nlt_turns_help_end(nlt_turns_t *t, uint32_t self);

/* Frees what dead processes had; how many they were. */
uint32_t nlt_turns_bury(nlt_turns_t *t, uint32_t self, nlt_turns_wake_t *wake);

typedef struct {
    uint32_t n_processes;
    uint32_t n_waiting;
    uint32_t n_granted;
    uint32_t n_helping; /* threads beside those of the tickets */
} nlt_turns_load_t;

/* What there is, of all processes.  Zeros when the memory is broken. */
void nlt_turns_load(nlt_turns_t *t, nlt_turns_load_t *out);

#endif
