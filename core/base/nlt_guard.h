/*
 * nlt_guard.h - read-only mappings of files whose pages may go away.
 *
 * Floor 0 (base); uses nlt_rc.
 * Threads: map and unmap from any; a mapping may be read by any number.
 *
 * To read a mapped file is no system call that could fail: when somebody has
 * cut the file short, or the disk does not give the page, the kernel kills the
 * process with SIGBUS.  A worker of nginx would die for one bad block, and its
 * successor for the next query.
 *
 * So block files are mapped here.  A fault in such a mapping, and in no other
 * memory, makes the handler
 *
 *     1  count the fault in a word of the mapping's owner
 *     2  put zeros, private pages, in place of the whole mapping
 *     3  return: the instruction that faulted reads a zero and goes on
 *
 * and whoever has read from the mapping looks at the word before it believes
 * what it read:
 *
 *     labels, samples = read(block)
 *     if (nlt_guard_hit(&block->hit)) -> NLT_EDATA
 *
 * Why not jump out of the read with siglongjmp()?  Strings of a mapping are
 * used all over a query, far from the function that found them: compared,
 * hashed, fed to a regex.  A jump would have to be armed around all of it, and
 * would leave behind what was being changed there: pools half linked,
 * matchers not released, scratch not given back.  Zeros leave every function
 * to end by itself, and our readers distrust every byte anyway: bounds are
 * checked where they are used, so zeros can make them say "corrupt" or give
 * empty strings, no more.  The whole mapping turns zero, not one page: a file
 * that lost a page is of no use, and there is one fault instead of thousands.
 * It costs the reader one load of a word that hardly ever changes.
 *
 * Why not pread()?  It would copy what a query reads of the page cache, chunk
 * by chunk, and label strings would need memory of their own in each worker.
 *
 * Memory order.  The handler counts before the zeros appear (a system call is
 * a barrier), and a reader loads the word behind an acquire fence, so no
 * thread can see zeros and then miss the count.
 *
 * The list of mappings belongs to the process, as its signal handlers do, and
 * is the only state of this floor.  Its lock is a spin lock, so that the
 * handler may take it: the thread that faults cannot be the one that holds it,
 * for nothing inside reads a mapping.  Writing to the kernel from a mapping
 * (write(2)) gives EFAULT there, which is an error code already.
 */
#ifndef NLT_BASE_GUARD_H
#define NLT_BASE_GUARD_H

#include <stdatomic.h>

#include "nlt_rc.h"

typedef struct nlt_guard_s nlt_guard_t;

/* One mapping; where it lies must not change while it is mapped. */
struct nlt_guard_s {
    const uint8_t *p; /* NULL: not mapped */
    size_t len;
    _Atomic uint32_t *hit; /* word of the owner: faults so far */
    nlt_guard_t *next;     /* all of the process */
    nlt_guard_t **link;    /* what points to this one */
};

/*
 * Maps len bytes of fd read-only and shared, and guards them: faults count in
 * *hit, which must live until nlt_guard_unmap().  NLT_EIO with errno in the
 * text; *g is then not mapped.
 */
NLT_CHECKED nlt_rc_t nlt_guard_map(nlt_guard_t *g, int fd, size_t len,
                                   _Atomic uint32_t *hit, nlt_err_t *err);

/* Takes the mapping back; one that is not mapped is fine. */
void nlt_guard_unmap(nlt_guard_t *g);

/*
 * Has anything that was read from the owner's mappings been zeros of ours?
 * Ask after the last read.
 */
static inline bool
nlt_guard_hit(const _Atomic uint32_t *hit)
{
    atomic_thread_fence(memory_order_acquire);
    return atomic_load_explicit(hit, memory_order_relaxed) != 0;
}

/*
 * Installs the handler, once for the process and those it forks; later calls
 * do nothing.  Faults elsewhere go where they went before: to the handler that
 * was there, or to the kernel's default, which is death.  false: sigaction
 * failed.  Without it a fault is death too.
 */
bool nlt_guard_install(void);

#endif
