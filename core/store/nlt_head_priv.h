/*
 * nlt_head_priv.h - what the files of the head share among themselves.
 *
 * Floor 3 (store); uses nlt_head.h.  Not for other parts of the store.
 *
 *   nlt_head.c           attach, refresh, pin
 *   nlt_head_create.c    create, prepare, rotate, retire, reap
 *   nlt_head_process.c   process slots, lock file, boot
 *   nlt_head_arena.c     mapping, bump allocation, reservation, access
 *   nlt_head_side.c      exemplars and metadata
 *   nlt_xhash.c          extendible hash inside an arena
 *   nlt_head_pairs.c     names, pairs, postings
 *   nlt_head_register.c  new series, carried series
 *   nlt_head_append.c    stripes, in-order samples, recovery
 *   nlt_head_ooo.c       samples that step back in time
 *   nlt_head_chunk.c     gathers and decodes chunks
 *   nlt_head_select.c    matchers -> series; names and values
 *   nlt_head_read.c      samples of a series
 *   nlt_head_ahead.c     chunks for who reads many series at once
 *   nlt_head_spans.c     when a series has samples, by its chunks
 *   nlt_head_labels.c    labels of a series
 *   nlt_head_match.c     labels of a series beside those of a request
 */
#ifndef NLT_STORE_HEAD_PRIV_H
#define NLT_STORE_HEAD_PRIV_H

#include "nlt_head.h"
#include "nlt_limits.h"
#include "nlt_tenants.h"

/* An arena as mapped by this process. */
struct nlt_arena_s {
    uint8_t *base; /* NULL: nothing mapped */
    uint64_t size;
    nlt_arena_header_t *hdr;     /* == base */
    _Atomic uint64_t *used_seen; /* a used_bytes of the past, cheap to load */
    nlt_head_ctl_t *ctl;
    nlt_head_arena_slot_t *slot;
    const nlt_env_t *env;
    uint64_t no;
    int fd;        /* for reservations */
    unsigned pins; /* under the lock of the head */
    /* The series that this process registered last: the next one is likely
     * to share pairs with it.  Under the registration lock. */
    uint32_t registered;
    uint32_t root, root_tenant; /* root pair, or 0, of a tenant; likewise */
};

struct nlt_head_s {
    const nlt_env_t *env;
    nlt_head_conf_t conf;
    nlt_head_ctl_t *ctl;
    nlt_head_process_t *self;
    _Atomic(struct nlt_head_side_s *) side; /* nlt_head_side.h */
    nlt_tenants_t tenants;
    int lock_fd;          /* holds a shared flock while attached */
    uint64_t ctl_inode;   /* of the control file */
    pthread_mutex_t lock; /* of all below but owner_*; process-private */
    _Atomic uint64_t generation; /* of the control when arena[] was right */
    nlt_arena_t arena[NLT_HEAD_ARENAS]; /* same index as in the control */
    _Atomic uint64_t used_seen[NLT_HEAD_ARENAS];
    /* Of the thread that writes; each holds a pin. */
    uint64_t owner_generation;
    nlt_arena_t *active; /* or NULL */
    nlt_arena_t *previous;
};

/* Room for "head.<32 hex>.<20 digits>" and for ".ctl.tmp". */
#define NLT_HEAD_NAME_MAX 64

/* Name of a head file; suffix is "ctl", "lock", or NULL: of arena `no`. */
void nlt_head_file_name(char *out, const uint8_t *store_id, const char *suffix,
                        uint64_t no);

/* CRC of the sizes and constants of the layout. */
uint32_t nlt_head_layout_crc(void);

/* CRC of what never changes in a control file once it is made. */
uint32_t nlt_head_fixed_crc(const nlt_head_ctl_t *ctl);

/* ---- process slots and locks (nlt_head_process.c) ---- */

/* Reads this boot's id; zeros when the kernel has none. */
void nlt_head_boot_id(const nlt_env_t *env, uint8_t *id);

/*
 * Bytes of memory that the cgroup (version 2) of this process may use,
 * UINT64_MAX without a limit.  Pages of the head count against it.
 */
uint64_t nlt_head_memory_limit(const nlt_env_t *env);

/* Is there a process pid that began at start (0: any)?  Zombies are not. */
bool
nlt_head_process_lives(const nlt_env_t *env, uint64_t pid, uint64_t start);

/* Start time of this process, 0 when unknown. */
uint64_t nlt_head_process_start(const nlt_env_t *env);

/* Takes a slot for this process.  NLT_EFULL. */
nlt_rc_t nlt_head_process_claim(nlt_head_t *h, nlt_err_t *err);

/*
 * Opens the lock file and takes a shared lock on it.  With *alone not NULL
 * tries to take it exclusively first and says whether that worked, that is
 * whether nobody is attached.
 */
nlt_rc_t nlt_head_lock_open(const nlt_head_conf_t *conf, int *fd, bool *alone,
                            nlt_err_t *err);

/* ---- handle (nlt_head.c) ---- */

/* An empty handle without control page; NULL: no memory. */
nlt_head_t *nlt_head_handle(const nlt_head_conf_t *conf);

/* The opposite, whatever it holds. */
void nlt_head_handle_free(nlt_head_t *h);

/* Number of the file behind fd in its file system. */
uint64_t nlt_head_inode(int fd);

/* A change of the control that others should look at. */
static inline void
nlt_head_changed(nlt_head_t *h)
{
    (void) atomic_fetch_add(&h->ctl->generation, 1);
}

/* ---- arenas (nlt_head_arena.c) ---- */

/*
 * Creates the file of arena `no` in slot i, reserves its first pages and
 * initialises its header; leaves it mapped in h->arena[i].
 */
nlt_rc_t
nlt_arena_create(nlt_head_t *h, size_t i, uint64_t no, nlt_err_t *err);

/* Maps the arena of slot i. */
nlt_rc_t nlt_arena_map(nlt_head_t *h, size_t i, uint64_t no, nlt_err_t *err);

/*
 * Unmaps it, closes its file, and takes it off the list of what this process
 * maps, so that the helper may free the slot.  Nothing mapped: does nothing.
 * Nobody has it pinned.
 */
void nlt_arena_unmap(nlt_head_t *h, size_t i);

/*
 * Makes sure that bytes [0, end) of the file are in memory.  False: no room
 * in the file system, or end is beyond the arena.
 */
bool nlt_arena_reserve(nlt_arena_t *a, uint64_t end);

/*
 * bytes of zeros, aligned to 8 or 64; nil when they would end beyond limit
 * or cannot be reserved.  Any thread, any process, no lock.
 */
nlt_off_t nlt_arena_alloc(nlt_arena_t *a, uint64_t bytes, uint64_t align,
                          uint64_t limit);

/* What series may use: a tenth is kept for samples. */
static inline uint64_t
nlt_arena_limit_series(const nlt_arena_t *a)
{
    return a->size - a->size / 10;
}

/*
 * What series may use that nobody has seen before: a twentieth is kept for
 * those carried over, so that a flood of new ones does not keep them out.
 * The helper rotates before (NLT_HELPER_FULL_PERCENT).
 */
static inline uint64_t
nlt_arena_limit_new(const nlt_arena_t *a)
{
    return a->size - a->size / 20 * 3;
}

/* Where the heap begins: no offset may reach into the header and its locks. */
#define NLT_ARENA_HEAP ((sizeof(nlt_arena_header_t) + 63) / 64 * 64)

/* Loads used_bytes again; is `end` inside? */
bool nlt_arena_covers(const nlt_arena_t *a, uint64_t end);

/*
 * The bytes [off, off + size), or NULL when they are not all inside of what
 * was allocated: then somebody's memory is corrupt.
 */
static inline void *
nlt_arena_at(const nlt_arena_t *a, uint32_t off, uint64_t size)
{
    uint64_t begin = (uint64_t) off << 3;

    if (nlt_unlikely(begin + size > atomic_load_explicit(a->used_seen,
                                                         memory_order_relaxed))
        && !nlt_arena_covers(a, begin + size)) {
        return NULL;
    }
    return nlt_likely(begin >= NLT_ARENA_HEAP) ? a->base + begin : NULL;
}

/* Entry of a series number, NULL when there is none. */
static inline nlt_arena_series_t *
nlt_arena_series(const nlt_arena_t *a, uint32_t series)
{
    nlt_arena_header_t *hdr = a->hdr;
    nlt_arena_series_t *seg;
    uint32_t i = series & ((1u << NLT_SERIES_SEG_BITS) - 1);
    uint32_t s = series >> NLT_SERIES_SEG_BITS;

    if (nlt_unlikely(series == 0 || s >= NLT_SERIES_SEG_MAX
                     || series > atomic_load_explicit(&hdr->n_series,
                                                      memory_order_acquire))) {
        return NULL;
    }
    seg = nlt_arena_at(a, hdr->series_seg[s].u,
                       sizeof(*seg) << NLT_SERIES_SEG_BITS);
    return nlt_likely(seg != NULL) ? seg + i : NULL;
}

/* Entry of a pair number, likewise. */
static inline nlt_arena_pair_t *
nlt_arena_pair(const nlt_arena_t *a, uint32_t pair)
{
    nlt_arena_header_t *hdr = a->hdr;
    nlt_arena_pair_t *seg;
    uint32_t i = pair & ((1u << NLT_PAIR_SEG_BITS) - 1);
    uint32_t s = pair >> NLT_PAIR_SEG_BITS;

    if (nlt_unlikely(pair == 0 || s >= NLT_PAIR_SEG_MAX
                     || pair > atomic_load_explicit(&hdr->n_pairs,
                                                    memory_order_acquire))) {
        return NULL;
    }
    seg =
        nlt_arena_at(a, hdr->pair_seg[s].u, sizeof(*seg) << NLT_PAIR_SEG_BITS);
    return nlt_likely(seg != NULL) ? seg + i : NULL;
}

/* Label block of a series entry, checked to its last pair. */
const nlt_arena_labels_t *
nlt_arena_labels_of(const nlt_arena_t *a, const nlt_arena_series_t *e);

/* ---- stripes and samples (nlt_head_append.c) ---- */

/* Takes a stripe, recovering what a dead holder left.  False: corrupt. */
bool nlt_stripe_lock(nlt_arena_t *a, uint32_t stripe);
void nlt_stripe_unlock(nlt_arena_t *a, uint32_t stripe);

/* Takes the registration lock.  *broken: nobody may register. */
bool nlt_registration_lock(nlt_arena_t *a, bool *broken);
void nlt_registration_unlock(nlt_arena_t *a);

/*
 * Takes one sample older than the newest of its series: NLT_APPEND_OOO,
 * DUPLICATE, CONFLICT, or PENDING when there is no room.  Stripe held.
 */
nlt_append_result_t nlt_ooo_add(nlt_arena_t *a, nlt_arena_series_t *e,
                                int64_t t_ms, uint64_t v_bits);

/* ---- chunks (nlt_head_chunk.c) ---- */

/* Decoded chunk; about 17 KiB, lives on the stack. */
typedef struct {
    size_t n;
    int64_t t_ms[NLT_CHUNK_SAMPLES_MAX];
    double v[NLT_CHUNK_SAMPLES_MAX];
    uint8_t bytes[NLT_CHUNK_BYTES_MAX];
} nlt_chunk_scratch_t;

/* Chunk by offset, NULL when corrupt. */
nlt_arena_chunk_t *nlt_chunk_at(const nlt_arena_t *a, uint32_t off);

/*
 * The newest chunk of a series that has published samples (0: none) and what
 * is published of it; consistent without a lock.
 */
uint32_t nlt_chunk_newest(const nlt_arena_t *a, const nlt_arena_series_t *e,
                          nlt_chunk_pub_t *pub);

/* Copies the first n_bytes of a chunk's stream; false: corrupt. */
bool nlt_chunk_copy(const nlt_arena_t *a, uint32_t off, size_t n_bytes,
                    uint8_t *to);

/*
 * Brings the bytes of n chunks near, left[i] of the one at off[i]; both are
 * used up.
 */
#define NLT_CHUNKS_FETCH 64
void nlt_chunks_fetch(const nlt_arena_t *a, uint32_t *off, uint32_t *left,
                      size_t n);

/*
 * Decodes what pub covers of a chunk into t_ms and v, room for
 * NLT_CHUNK_SAMPLES_MAX each.  state, n_bits: see nlt_xor_decode().
 * NLT_EDATA: not decodable, or times do not rise.
 */
nlt_rc_t nlt_chunk_decode(const nlt_arena_t *a, uint32_t off,
                          nlt_chunk_pub_t pub, uint8_t *scratch, int64_t *t_ms,
                          double *v, nlt_xor_state_t *state, uint64_t *n_bits);

/* Looks for time t in a decoded chunk; false: not there. */
bool
nlt_chunk_find(const nlt_chunk_scratch_t *c, int64_t t_ms, uint64_t *v_bits);

/*
 * The newest in-order sample as its writer remembers it.  False: somebody
 * writes just now, or it is not certain.
 */
bool
nlt_arena_peek_newest(const nlt_arena_t *a, uint32_t series,
                      const nlt_arena_series_t *e, int64_t *t_ms, double *v);

/* Number of the 2-hour stretch that t lies in, floored. */
static inline int64_t
nlt_chunk_border(int64_t t_ms)
{
    int64_t q = t_ms / NLT_BORDER_MS;

    return q - (t_ms % NLT_BORDER_MS < 0);
}

#endif
