/*
 * nlt_dying.h - a process dies at a chosen machine instruction.
 *
 * A child that does some work is stepped through now and then, which gives the
 * instructions that it passes.  Other children get a breakpoint on one of
 * them, and dying there is all that the handler does: so also in the middle of
 * what no timer would ever hit.  The parent then looks at what they shared.
 *
 *     stepped = new_sites();
 *     sites = new_sites();
 *     died = die_somewhere(work, ctx, sites, NULL, round % 50 == 0);
 */
#ifndef NLT_DYING_H
#define NLT_DYING_H

#include "nlt_test.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/ucontext.h>
#include <sys/wait.h>
#include <unistd.h>

#define SITES_MAX 30000

/* Instructions passed by one kind of work; in memory that children share. */
typedef struct {
    volatile unsigned n;
    volatile uintptr_t at[SITES_MAX];
    unsigned times[SITES_MAX]; /* that it was passed in one go, at most */
} sites_t;

static sites_t *stepped; /* what the handler of a child writes, in order */

static inline sites_t *
new_sites(void)
{
    void *p = mmap(NULL, sizeof(sites_t), PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED) {
        perror("mmap");
        exit(2);
    }
    return p;
}

#if !defined(__x86_64__)
#error "say here how this processor steps and breaks, or leave this test out"
#endif

static inline void
step_handler(int sig, siginfo_t *info, void *context)
{
    const ucontext_t *uc = context;

    (void) sig;
    (void) info;
    if (stepped->n < SITES_MAX) {
        stepped->at[stepped->n++] = (uintptr_t) uc->uc_mcontext.gregs[REG_RIP];
    }
}

/* The breakpoint of a child. */
static struct {
    volatile uint8_t *at;
    uint8_t code;  /* what was there */
    unsigned left; /* passes until death */
    bool passing;  /* the instruction itself is being stepped over */
} death;

static inline void
death_handler(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;

    (void) sig;
    (void) info;
    if (death.passing) {
        *death.at = 0xcc;
        uc->uc_mcontext.gregs[REG_EFL] &= ~0x100;
        death.passing = false;
    } else if (--death.left == 0) {
        (void) kill(getpid(), SIGKILL);
    } else {
        *death.at = death.code;
        uc->uc_mcontext.gregs[REG_RIP]--;
        uc->uc_mcontext.gregs[REG_EFL] |= 0x100;
        death.passing = true;
    }
}

/* Sets or clears the trap flag; the red zone below the stack is not ours. */
static inline void
single_step(bool on)
{
    if (on) {
        __asm__ volatile("lea -128(%%rsp), %%rsp\n\tpushfq\n\t"
                         "orq $0x100, (%%rsp)\n\tpopfq\n\t"
                         "lea 128(%%rsp), %%rsp" ::
                             : "memory", "cc");
    } else {
        __asm__ volatile("lea -128(%%rsp), %%rsp\n\tpushfq\n\t"
                         "andq $~0x100, (%%rsp)\n\tpopfq\n\t"
                         "lea 128(%%rsp), %%rsp" ::
                             : "memory", "cc");
    }
}

/* Puts a breakpoint into this process's copy of the code. */
static inline void
break_at(uintptr_t at)
{
    uintptr_t page = at & ~(uintptr_t) 4095;

    if (mprotect((void *) page, 4096, PROT_READ | PROT_WRITE | PROT_EXEC)
        != 0) {
        _exit(5);
    }
    death.at = (volatile uint8_t *) at;
    death.code = *death.at;
    *death.at = 0xcc;
}

typedef void (*work_t)(void *ctx);

/*
 * Runs work in a child: stepping through it, when site is 0, or with a
 * breakpoint that lets it pass times - 1 times.  True: it died there.
 */
static inline bool
run_child(work_t work, void *ctx, uintptr_t site, unsigned times)
{
    struct sigaction sa = {.sa_flags = SA_SIGINFO};
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        sa.sa_sigaction = site ? death_handler : step_handler;
        (void) sigaction(SIGTRAP, &sa, NULL);
        if (site) {
            death.left = times;
            break_at(site);
            work(ctx);
        } else {
            single_step(true);
            work(ctx);
            single_step(false);
        }
        _exit(0);
    }
    (void) waitpid(pid, &status, 0);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
        return true;
    }
    NLT_CHECK_INT(status, 0);
    return false;
}

/* Index of an instruction, to->n when it is not there. */
static inline unsigned
find_site(const sites_t *sites, uintptr_t at)
{
    unsigned i = 0;

    while (i < sites->n && sites->at[i] != at) {
        i++;
    }
    return i;
}

/* Adds what the last child was stepped through and is not in `but`. */
static inline void
add_sites(sites_t *to, const sites_t *but)
{
    static unsigned times[SITES_MAX];

    memset(times, 0, sizeof(times));
    for (unsigned i = 0; i < stepped->n; i++) {
        uintptr_t at = stepped->at[i];
        unsigned k;

        if (but && find_site(but, at) < but->n) {
            continue;
        }
        k = find_site(to, at);
        if (k == to->n) {
            to->at[to->n++] = at;
        }
        times[k]++;
        to->times[k] = times[k] > to->times[k] ? times[k] : to->times[k];
    }
}

/*
 * Steps through work if it is told to or knows no instruction of it yet;
 * otherwise has it die at one that is not in `but`.  True: it died.
 */
static inline bool
die_somewhere(work_t work, void *ctx, sites_t *sites, const sites_t *but,
              bool step)
{
    bool died;

    if (!step && sites->n > 0) {
        unsigned i = (unsigned) nlt_test_below(sites->n);

        return run_child(work, ctx, sites->at[i],
                         1 + (unsigned) nlt_test_below(sites->times[i]));
    }
    stepped->n = 0;
    died = run_child(work, ctx, 0, 0);
    add_sites(sites, but);
    return died;
}

#endif
