/*
 * nlt_help.h - a function that somebody else may call: help that may come.
 *
 * Floor 0 (base); uses nlt_mem.
 * Threads: what is said of each function.
 *
 * Core has no threads of its own.  Who has work that could be shared asks the
 * embedding program for help, which may never come, and does the work itself
 * meanwhile:
 *
 *     asks:  call = nlt_help_ask(help, fn, arg)      NULL: nobody is free
 *            ... works ...                    another thread: nlt_help_run()
 *            nlt_help_end(call)                  fn is not running, and never
 *                                                will be from here on
 *
 * So nobody waits for a thread that has not begun: a pool all of whose
 * threads ask each other for help goes on as if there were none to be had.  A
 * call is one piece of memory with two owners, who asked and who was asked;
 * the last one frees it, so it does not matter how long a queue keeps it.
 */
#ifndef NLT_BASE_HELP_H
#define NLT_BASE_HELP_H

#include "nlt_mem.h"

typedef struct nlt_help_call_s nlt_help_call_t;

/* What the embedding program does about it. */
typedef struct {
    /*
     * Has nlt_help_run(call) called once, in another thread, soon or late,
     * or nlt_help_end(call) if that cannot be any more.  False: nobody is to
     * spare, and the call is forgotten.  Any thread.
     */
    bool (*post)(void *ctx, nlt_help_call_t *call);
    void *ctx;
    const nlt_mem_t *mem; /* of calls; outlives them, any thread */
    unsigned n_max;       /* that can be of use at once */
    int64_t worth_ns;     /* work that takes less is not worth asking for */
} nlt_help_t;

/* Asks for fn(arg) to be called.  NULL: it will not be. */
nlt_help_call_t *
nlt_help_ask(const nlt_help_t *help, void (*fn)(void *arg), void *arg);

/* Has fn returned?  By who asked. */
bool nlt_help_is_done(nlt_help_call_t *call);

/*
 * By who asked: when it returns, fn is not running and will not be; waits for
 * it if it is.  By who was asked, in place of nlt_help_run(): it will not be
 * called.  Either way the call is no more for the one who calls this.
 */
void nlt_help_end(nlt_help_call_t *call);

/* By who was asked: calls fn, unless it is not wanted any more. */
void nlt_help_run(nlt_help_call_t *call);

#endif
