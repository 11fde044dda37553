/*
 * nlt_stash.h - small records in shared memory, bounded and shared fairly.
 *
 * Floor 3 (store); uses base.  Layout: below, and docs/formats/head.md.
 * Threads: every function may be called by any thread of any process at once,
 * unless it says otherwise; one robust lock, held for microseconds.
 *
 * Exemplars and metadata have one shape: groups, found by a key (a series; a
 * metric family), each with a text and some items (an exemplar: time, value,
 * a text; what is known of a family: one item), and a fixed amount of memory
 * in which the newest ones live, of each tenant its own.  This is that shape,
 * once.
 *
 *   memory   [ header | heads of chains | heap of tenants | cells ........ ]
 *
 * Everything is made of cells of 64 bytes from one free list, so that nothing
 * can fragment and "used" is one number:
 *
 *     heads[hash] -> group -> group -> tenant     chains of what has a key
 *                      |                 |
 *              text <--+--> oldest       | queue: all items of the tenant,
 *                           item <-------+ oldest first
 *                            |  ^
 *                           item -> text cell -> text cell
 *
 * Who has to go.  Before something is put the stash makes room: the tenant
 * that holds the most cells, what is about to be put counted in for its own,
 * loses its oldest item, and again, until there is room.  So a tenant that
 * floods the stash pushes out its own, and nobody is ever pushed below an
 * equal share; a tenant alone has all of it.  A group goes with its last item,
 * a tenant with its last group.  The heap says who holds the most.
 *
 * Death and damage.  All change happens under the lock and between two writes
 * of `dirty`.  Whoever finds the lock of a dead process and dirty set empties
 * the stash; so does who meets an index that leads nowhere.  What is in here
 * is a window onto things that senders repeat and logs keep: an empty window
 * is right, a crash loop is not.  No pointer is stored, only numbers of cells,
 * each checked before use.
 *
 * Memory is reserved (fallocate) in steps as cells are first used, and given
 * back only with the file.
 */
#ifndef NLT_STORE_STASH_H
#define NLT_STORE_STASH_H

#include <pthread.h>
#include <stdatomic.h>

#include "nlt_hash.h"
#include "nlt_io.h"

#define NLT_STASH_MAGIC   UINT64_C(0x3148534154534c4e) /* "NLSTASH1" */
#define NLT_STASH_VERSION 1u
#define NLT_STASH_CELL    64u

/* The smallest and the largest stash, in bytes. */
#define NLT_STASH_BYTES_MIN (UINT64_C(64) << 10)
#define NLT_STASH_BYTES_MAX (UINT64_C(8) << 30)

typedef struct {
    uint64_t magic;
    uint32_t version;
    uint32_t n_heads;   /* a power of 2 */
    uint64_t bytes;     /* of all */
    uint32_t n_heap;    /* room of the heap */
    uint32_t n_cells;   /* 1 to n_cells; 0 is nil */
    uint32_t fixed_crc; /* of the above */
    /* Under the lock; gauges are read without. */
    pthread_mutex_t lock;      /* robust, process-shared */
    _Atomic uint32_t dirty;    /* somebody is changing something */
    _Atomic uint32_t damaged;  /* to be emptied at the end of the call */
    _Atomic uint32_t moved;    /* there is another one; not to be used */
    _Atomic uint32_t resets;   /* times that it was emptied */
    _Atomic uint32_t n_backed; /* cells that have memory, from 1 on */
    _Atomic uint32_t n_bumped; /* cells that were ever used, from 1 on */
    _Atomic uint32_t n_free;   /* in the list */
    uint32_t free;             /* the first of them */
    _Atomic uint32_t n_items;
    _Atomic uint32_t n_groups;
    _Atomic uint32_t n_tenants;
    uint32_t zero;
    _Atomic uint64_t serial;  /* of the item put last; from 1 */
    _Atomic uint64_t evicted; /* items that had to go, ever */
    _Atomic uint64_t changes; /* puts, cuts and touches, ever */
} nlt_stash_header_t;

/* A stash as this process maps it. */
typedef struct {
    const nlt_io_t *io; /* NULL: all of it has memory, or no more can be had */
    int fd;             /* of the file, for reservations; borrowed */
    uint64_t off;       /* of the stash in the file */
    nlt_stash_header_t *hdr;
    uint32_t *heads;
    uint32_t *heap;
    uint8_t *cells; /* cell i at i * NLT_STASH_CELL */
    /* of the header, as it was when it was checked */
    uint32_t n_heads;
    uint32_t n_heap;
    uint32_t n_cells;
} nlt_stash_t;

/* CRC of sizes and constants; part of the head's layout sum. */
uint32_t nlt_stash_layout_crc(void);

/* Bytes at the beginning of a stash of `bytes` that need memory at once. */
uint64_t nlt_stash_first_bytes(uint64_t bytes);

/*
 * Makes an empty stash in `bytes` of zeros, a multiple of 4096 between
 * NLT_STASH_BYTES_MIN and _MAX, whose first nlt_stash_first_bytes() have
 * memory.  NLT_EBUG: no robust locks here.
 */
NLT_CHECKED nlt_rc_t nlt_stash_format(void *base, uint64_t bytes,
                                      nlt_err_t *err);

/*
 * Fills *s for a stash of `bytes` at base, which is retained.  off is where
 * it lies in the file of fd; io NULL: all of it has memory.  NLT_EDATA: none.
 */
NLT_CHECKED nlt_rc_t nlt_stash_open(nlt_stash_t *s, void *base, uint64_t bytes,
                                    const nlt_io_t *io, int fd, uint64_t off,
                                    nlt_err_t *err);

typedef struct {
    nlt_hash128_t key; /* keyed hash of tenant and group */
    uint32_t tenant;
    nlt_str_t group; /* text of the group, if it is new */
    int64_t t_ms;
    uint64_t v_bits;
    nlt_str_t text; /* of the item */
    bool only;      /* the items that the group has go */
} nlt_stash_new_t;

/*
 * Puts an item at the newest end of its group and of its tenant's queue.
 * NLT_OK; NLT_ETOOBIG: needs more than a quarter of the stash; NLT_ENOTREADY:
 * moved, or the lock is beyond repair.
 */
NLT_CHECKED nlt_rc_t nlt_stash_put(nlt_stash_t *s, const nlt_stash_new_t *n);

/* How many of the newest items of a group nlt_stash_has() looks at. */
#define NLT_STASH_LOOK 64

/* Is such an item among the NLT_STASH_LOOK newest of its group? */
bool nlt_stash_has(nlt_stash_t *s, nlt_hash128_t key, int64_t t_ms,
                   uint64_t v_bits, nlt_str_t text);

/* Time and value of the newest item of a group; false: there is none. */
bool nlt_stash_newest(nlt_stash_t *s, nlt_hash128_t key, int64_t *t_ms,
                      uint64_t *v_bits);

/*
 * Gives the newest item of a group another time and the newest place in its
 * tenant's queue.  Nothing happens when there is none.
 */
void nlt_stash_touch(nlt_stash_t *s, nlt_hash128_t key, int64_t t_ms);

/*
 * Removes the items of a group with t_min_ms <= time <= t_max_ms; their
 * number.
 */
size_t nlt_stash_cut(nlt_stash_t *s, nlt_hash128_t key, int64_t t_min_ms,
                     int64_t t_max_ms);

/* ---- reading: a page at a time, so that the lock is held briefly ---- */

#define NLT_STASH_ANY_TENANT UINT32_MAX

typedef struct {
    nlt_hash128_t key;
    uint32_t tenant;
    uint32_t n_items;
    nlt_str_t text; /* in the page */
} nlt_stash_group_t;

typedef struct {
    uint64_t serial; /* rises with each item that is put */
    int64_t t_ms;
    uint64_t v_bits;
    nlt_str_t text; /* in the page */
} nlt_stash_item_t;

#define NLT_STASH_PAGE_N     64
#define NLT_STASH_PAGE_BYTES (128u << 10) /* more than any text */

/* What one call reads.  Large: from a pool or the heap. */
typedef struct {
    size_t n;
    union {
        nlt_stash_group_t group[NLT_STASH_PAGE_N];
        nlt_stash_item_t item[NLT_STASH_PAGE_N];
    } u;
    size_t used;
    char bytes[NLT_STASH_PAGE_BYTES];
} nlt_stash_page_t;

/* Where a walk over groups is; begins as zeros. */
typedef struct {
    uint32_t head;
    uint32_t skip; /* in its chain */
} nlt_stash_walk_t;

/*
 * The next groups of a tenant (or NLT_STASH_ANY_TENANT), in no order.  What
 * is put or goes during a walk may be seen, or twice, or not.  NLT_OK: p->n
 * of them, perhaps none; NLT_EOF: that was all; NLT_ENOTREADY.
 */
NLT_CHECKED nlt_rc_t nlt_stash_groups(nlt_stash_t *s, nlt_stash_walk_t *w,
                                      uint32_t tenant, nlt_stash_page_t *p);

/* Where a walk over the items of a group is; begins as zeros. */
typedef struct {
    uint32_t cell;
    uint64_t serial;
} nlt_stash_at_t;

/*
 * The next items of a group, in the order in which they were put; each once,
 * and all that are there from begin to end.  NLT_OK, NLT_EOF (with p->n 0),
 * NLT_ENOTREADY.
 */
NLT_CHECKED nlt_rc_t nlt_stash_items(nlt_stash_t *s, nlt_hash128_t key,
                                     nlt_stash_at_t *at, nlt_stash_page_t *p);

/* ---- the whole of it ---- */

/*
 * Puts everything of `from` into `to`, tenant by tenant, oldest first, and
 * marks `from` as moved.  Who puts meanwhile waits.  For the helper: about a
 * microsecond an item.  page: room to work in.
 */
void
nlt_stash_move(nlt_stash_t *from, nlt_stash_t *to, nlt_stash_page_t *page);

/*
 * Removes what is of tenants for whom lives() says no; how many items.
 * O(groups), and a microsecond an item; page: room to work in.
 */
size_t nlt_stash_forget(nlt_stash_t *s,
                        bool (*lives)(const void *ctx, uint32_t tenant),
                        const void *ctx, nlt_stash_page_t *page);

/* Empties it; counted as a reset. */
void nlt_stash_reset(nlt_stash_t *s);

/*
 * Is every cell in exactly one place, is every count right?  For tests and
 * tools; O(cells), holding the lock.  NLT_EDATA says what is wrong;
 * NLT_ENOTREADY.  mem: one byte a cell.
 */
NLT_CHECKED nlt_rc_t nlt_stash_check(nlt_stash_t *s, const nlt_mem_t *mem,
                                     nlt_err_t *err);

/* Bytes that have memory. */
uint64_t nlt_stash_reserved(const nlt_stash_t *s);

#endif
