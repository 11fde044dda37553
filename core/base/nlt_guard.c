/*
 * nlt_guard.c - zeros in place of pages that went away.
 */
#include "nlt_guard.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "nlt_io.h"

/* Of the process, like its handlers; see the header. */
static struct {
    atomic_flag lock;
    nlt_guard_t *first;
    _Atomic bool installed;
    struct sigaction before;
} guards = {.lock = ATOMIC_FLAG_INIT};

static void
lock(void)
{
    while (atomic_flag_test_and_set_explicit(&guards.lock,
                                             memory_order_acquire)) {
        (void) sched_yield();
    }
}

static void
unlock(void)
{
    atomic_flag_clear_explicit(&guards.lock, memory_order_release);
}

nlt_rc_t
nlt_guard_map(nlt_guard_t *g, int fd, size_t len, _Atomic uint32_t *hit,
              nlt_err_t *err)
{
    nlt_rc_t rc;

    *g = (nlt_guard_t){.p = NULL};
    rc = nlt_map_read(fd, len, &g->p, err);
    if (rc != NLT_OK) {
        g->p = NULL;
        return rc;
    }
    g->len = len;
    g->hit = hit;
    lock();
    g->next = guards.first;
    g->link = &guards.first;
    if (g->next != NULL) {
        g->next->link = &g->next;
    }
    guards.first = g;
    unlock();
    return NLT_OK;
}

void
nlt_guard_unmap(nlt_guard_t *g)
{
    if (g->p == NULL) {
        return;
    }
    /* Off the list first: the addresses may be another's at once. */
    lock();
    *g->link = g->next;
    if (g->next != NULL) {
        g->next->link = g->link;
    }
    unlock();
    nlt_unmap(g->p, g->len);
    *g = (nlt_guard_t){.p = NULL};
}

/* Bytes of a mapping are readable up to the end of its last page. */
static size_t
whole_pages(size_t len)
{
    size_t page = (size_t) sysconf(_SC_PAGESIZE);

    return (len + page - 1) / page * page;
}

/* Zeros instead of the mapping that has this address; false: none has. */
static bool
cover(const void *at)
{
    bool covered = false;

    lock();
    for (nlt_guard_t *g = guards.first; g != NULL; g = g->next) {
        size_t len = whole_pages(g->len);

        if ((uintptr_t) at - (uintptr_t) g->p < len) {
            (void) atomic_fetch_add(g->hit, 1);
            covered =
                mmap((void *) (uintptr_t) g->p, len, PROT_READ,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE,
                     -1, 0)
                != MAP_FAILED;
            break;
        }
    }
    unlock();
    return covered;
}

static void
on_sigbus(int sig, siginfo_t *info, void *context)
{
    int saved = errno;
    /* Sent by a process, not by the memory: it has no address. */
    bool sent = info->si_code <= 0;

    if (!sent && cover(info->si_addr)) {
        errno = saved;
        return;
    }
    errno = saved;
    if (guards.before.sa_flags & SA_SIGINFO) {
        guards.before.sa_sigaction(sig, info, context);
        return;
    }
    if (guards.before.sa_handler != SIG_DFL
        && guards.before.sa_handler != SIG_IGN) {
        guards.before.sa_handler(sig);
        return;
    }
    if (sent && guards.before.sa_handler == SIG_IGN) {
        return;
    }
    /* The instruction is run again and dies as it would have; a signal that
     * was sent has to be sent again. */
    (void) signal(sig, SIG_DFL);
    if (sent) {
        (void) raise(sig);
    }
}

bool
nlt_guard_install(void)
{
    struct sigaction sa = {.sa_flags = SA_SIGINFO | SA_NODEFER};

    if (atomic_exchange(&guards.installed, true)) {
        return true;
    }
    sa.sa_sigaction = on_sigbus;
    (void) sigemptyset(&sa.sa_mask);
    if (sigaction(SIGBUS, &sa, &guards.before) != 0) {
        atomic_store(&guards.installed, false);
        return false;
    }
    return true;
}
