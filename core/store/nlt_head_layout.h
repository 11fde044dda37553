/*
 * nlt_head_layout.h - the bytes of the head in shared memory.
 *
 * Floor 3 (store); uses base, codec.  Format page: docs/formats/head.md.
 *
 * The head is one control file and up to four arena files, mapped
 * MAP_SHARED by every worker and the helper at addresses of their own.
 *
 *   control file  "head.<store id>.ctl"          fixed size
 *   arena file    "head.<store id>.<arena no>"   sparse, reserved as it grows
 *
 *   arena:  [ header | stripes | directory ... | heap -> ............. ]
 *                                                      ^used  ^reserved
 *
 * Rules (D3, D4, D7):
 *  - offsets, never pointers: an nlt_off_t counts 8-byte units from the
 *    start of the arena, so 32 bits reach 32 GiB; zero is nil.  Each is
 *    checked against the published size before use, in release builds too.
 *  - append-only: nothing is freed inside an arena; it goes as a whole.
 *  - a page is reserved with fallocate before it is touched.
 *  - prepare privately, publish with one release store.  Who reads without a
 *    lock loads the publishing word with acquire and believes only what it
 *    covers.
 *  - a process can die at any instruction.  Under a stripe lock the series
 *    in flight is noted, and the next holder rebuilds its encoder state from
 *    the published bits.  Under the registration lock nothing is repaired:
 *    the arena takes no new series any more and is rotated (see nlt_head.h).
 *
 * Life of a series in an arena:
 *
 *   hash slot {96 bits of keyed hash, number}
 *        |
 *        v            labels (pair numbers, sorted by name)
 *   series[number] --------> [n][pair][pair]...   pair -> name, value
 *        |                                          '--> postings (numbers)
 *        | chunk (newest)
 *        v
 *   chunk [hdr t_min, seq, first piece] --next--> older chunk --> ...
 *            '-> piece [bytes] -> piece [bytes] -> tail piece
 *
 * One sample in order touches: the hash slot, the series entry (one cache
 * line, encoder state inside) and the tail piece.
 */
#ifndef NLT_STORE_HEAD_LAYOUT_H
#define NLT_STORE_HEAD_LAYOUT_H

#include <pthread.h>
#include <stdatomic.h>

#include "nlt_hash.h"
#include "nlt_head_counters.h"
#include "nlt_xor.h"

#define NLT_HEAD_MAGIC   UINT64_C(0x3144414548544c4e) /* "NLTHEAD1" */
#define NLT_ARENA_MAGIC  UINT64_C(0x31414e4552414c4e) /* "NLARENA1" */
#define NLT_HEAD_VERSION 1u

#define NLT_STORE_ID_BYTES 16
#define NLT_BOOT_ID_BYTES  36

/* Offset in 8-byte units from the start of an arena; 0 is nil. */
typedef struct {
    uint32_t u;
} nlt_off_t;

/* ---- control file ---- */

#define NLT_HEAD_ARENAS    4   /* slots; at most three hold samples */
#define NLT_HEAD_PROCESSES 256 /* attached at once, both generations */
#define NLT_HEAD_CRASHES   4   /* that many within 60 s: quarantine */

typedef enum {
    NLT_ARENA_NONE = 0,
    NLT_ARENA_READY,  /* created, not yet in use */
    NLT_ARENA_ACTIVE, /* takes samples */
    NLT_ARENA_SEALED, /* complete; being flushed */
    NLT_ARENA_RETIRED /* in blocks, unlinked; somebody may have it mapped */
} nlt_arena_state_t;

typedef struct {
    _Atomic uint64_t no;    /* arena number, rising from 1; 0: slot free */
    _Atomic uint32_t state; /* nlt_arena_state_t */
    uint32_t zero;
    uint64_t size_bytes;             /* of the file */
    _Atomic uint64_t reserved_bytes; /* of it, in memory */
    int64_t created_ms;
    _Atomic int64_t active_ms; /* when it became ACTIVE */
    _Atomic int64_t sealed_ms;
} nlt_head_arena_slot_t;

/* One attached process; pid and start time name it beyond pid reuse. */
typedef struct {
    _Atomic uint64_t pid;   /* 0: free */
    _Atomic uint64_t start; /* of /proc/PID/stat, clock ticks since boot */
    _Atomic uint64_t mapped[NLT_HEAD_ARENAS]; /* arena numbers it maps */
    _Atomic uint32_t role;                    /* nlt_head_role_t */
    _Atomic uint32_t n_running;               /* queries in threads */
    _Atomic uint32_t n_waiting;               /* for a thread */
    uint32_t zero;
    _Atomic uint64_t held_bytes; /* answers that wait for their readers */
    _Atomic int64_t t_config_ms; /* when what it goes by was read; 0: none */
} nlt_head_process_t;

typedef enum {
    NLT_HEAD_CREATING = 0,
    NLT_HEAD_REPLAYING, /* readable by nobody, WAL is being read */
    NLT_HEAD_OPEN,
    NLT_HEAD_DEAD /* quarantined; a new head takes its place */
} nlt_head_state_t;

/*
 * Blocks that a query found damaged, for the helper to look at.  Whoever
 * finds a slot whose turn is even makes it odd, writes the name, makes it
 * even again; no free slot: the next query will meet the block too.
 */
#define NLT_HEAD_SUSPECTS 8
typedef struct {
    _Atomic uint32_t turn; /* odd: being written; 0: empty */
    char ulid[28];         /* with a NUL */
} nlt_head_suspect_t;

#define NLT_HEAD_TROUBLE_MAX 300 /* a sentence and a NUL */

/*
 * What memory= made the store do, in the order of D4: the policy's stages are
 * cumulative.
 */
typedef enum {
    NLT_MEMORY_OK = 0,
    NLT_MEMORY_FLUSHING,  /* arenas are flushed early */
    NLT_MEMORY_NO_SERIES, /* new series are refused */
    NLT_MEMORY_NO_SAMPLES /* writes are refused */
} nlt_memory_stage_t;

typedef struct {
    uint64_t magic;
    uint32_t version;
    uint32_t layout; /* CRC of the sizes and constants of this file */
    uint8_t store_id[NLT_STORE_ID_BYTES];
    uint8_t boot_id[NLT_BOOT_ID_BYTES]; /* another boot: not our head */
    _Atomic uint32_t state;             /* nlt_head_state_t */
    uint64_t arena_bytes;               /* size of arenas made from now on */
    uint8_t secret[NLT_HASH_SECRET_BYTES]; /* keys nlt_hash128 */
    _Atomic uint64_t generation;   /* + 1 at each change of an arena slot */
    _Atomic uint64_t manifest_gen; /* + 1 at each manifest commit */
    _Atomic uint64_t deletes_gen;  /* + 1 at each change of DELETES */
    _Atomic uint64_t replay_done;  /* progress in bytes, of: */
    _Atomic uint64_t replay_total;
    _Atomic int64_t t_newest_ms; /* newest accepted sample (D12) */
    _Atomic int64_t t_oldest_ms; /* retention border: older are refused */
    _Atomic uint64_t arena_last; /* highest arena number given so far */
    /* Deaths of attached processes, for the quarantine rule: how many
     * episodes ever, and when the last ones began (CLOCK_MONOTONIC). */
    _Atomic uint32_t crash_episodes;
    uint32_t fixed_crc; /* of what never changes: stamp, ids, secret, term */
    _Atomic int64_t crash_mono_ms[NLT_HEAD_CRASHES];
    /* Number of an arena, set by anybody; the helper seals it if it is the
     * active one. */
    _Atomic uint64_t seal_asked;
    _Atomic uint32_t flush_asked;  /* set by anybody, cleared by the helper */
    _Atomic uint32_t clean_asked;  /* likewise: rewrite what has deletes */
    _Atomic uint32_t sync_failed;  /* newest arena, low bits of its number,
                                    * whose log failed; 0: none ever */
    _Atomic uint32_t disk_low;     /* min_free= is not free: refuse writes */
    _Atomic uint32_t memory_stage; /* nlt_memory_stage_t, for metrics */
    _Atomic uint32_t replay_kept;  /* a log that this head replaces is, or may
                                    * be, gone: its own logs are needed */
    nlt_head_suspect_t suspects[NLT_HEAD_SUSPECTS];
    nlt_head_arena_slot_t arenas[NLT_HEAD_ARENAS];
    nlt_head_counters_t counters;
    nlt_head_process_t processes[NLT_HEAD_PROCESSES];
    _Atomic uint64_t side_no; /* of the side file (nlt_head_side.h); 0: none */
    uint64_t term; /* of the store when this head was made: nlt_term.h */
    /* When the program began that is being drained, as it says; 0: none. */
    _Atomic int64_t drained_ms;
    /* Why the helper does not get on with opening the head; empty: it does. */
    _Atomic uint32_t trouble_seq; /* odd while it writes */
    char trouble[NLT_HEAD_TROUBLE_MAX];
} nlt_head_ctl_t;

/* ---- arena file ---- */

#define NLT_SERIES_SEG_BITS 12 /* 4096 series entries a segment */
#define NLT_SERIES_SEG_MAX  8192
#define NLT_PAIR_SEG_BITS   12
#define NLT_PAIR_SEG_MAX    8192
#define NLT_STRIPES         1024
#define NLT_STRIPE_RUN_BITS 8 /* 256 consecutive series share a stripe */

static inline uint32_t
nlt_stripe_of(uint32_t series)
{
    return (series >> NLT_STRIPE_RUN_BITS) & (NLT_STRIPES - 1);
}

typedef struct {
    pthread_mutex_t mutex;      /* robust, process-shared */
    _Atomic uint32_t in_flight; /* series number being written, or 0 */
    uint32_t zero[5];
} nlt_stripe_t; /* 64 bytes */

/* Extendible hash table: keyed 96-bit hash -> number.  See nlt_xhash.h. */
typedef struct {
    _Atomic uint64_t dir; /* off:32 | depth:8, one word so both move at once */
    _Atomic uint32_t seq; /* odd while a segment is being split */
    uint32_t n_segments;
    uint64_t n; /* entries */
} nlt_xhash_root_t;

/* Fields that are written at different paces have cache lines apart. */
typedef struct {
    uint64_t magic;
    uint32_t version;
    uint32_t layout;
    uint8_t store_id[NLT_STORE_ID_BYTES];
    uint64_t no;
    uint64_t size_bytes; /* of the file and the mapping */
    int64_t created_ms;
    _Atomic uint32_t sealed; /* set once, then all locks taken once */
    _Atomic uint32_t registration_broken; /* a holder died: rotate */

    /* Once a registration, under its lock. */
    _Alignas(64) nlt_xhash_root_t by_hash; /* raw, canonical key -> series */
    nlt_xhash_root_t by_pair; /* tenant, name, value -> pair; name -> offset */
    _Atomic uint32_t n_series; /* 1..n_series are complete, postings too */
    _Atomic uint32_t n_pairs;
    _Atomic uint32_t n_names;
    nlt_off_t remap;  /* u32 by pair number of the arena before: */
    uint32_t remap_n; /* its pair here, or 0 */
    uint32_t zero;
    uint64_t remap_from; /* number of that arena */

    /* Once an allocation. */
    _Alignas(64) _Atomic uint64_t used_bytes; /* bump pointer */
    _Atomic uint64_t reserved_bytes;          /* fallocated so far */

    /* Once a batch. */
    _Alignas(64) _Atomic int64_t t_min_ms; /* of all samples in it; may be */
    _Atomic int64_t t_max_ms;              /* wider by what a dead left */
    _Atomic uint64_t n_samples;            /* off by what a dead left */

    _Alignas(64) pthread_mutex_t registration; /* robust, process-shared */
    _Alignas(64) nlt_off_t series_seg[NLT_SERIES_SEG_MAX];
    nlt_off_t pair_seg[NLT_PAIR_SEG_MAX];
    nlt_stripe_t stripes[NLT_STRIPES];
} nlt_arena_header_t;

/*
 * A label name of one tenant.  The empty name, which no label has, is the
 * root of a tenant: its one pair has the empty value and in its postings all
 * series of the tenant, and the tenant's other names are chained to it.
 */
typedef struct {
    _Atomic uint32_t next; /* nlt_off_t: older name of the tenant */
    uint32_t tenant;
    _Atomic uint32_t first_pair; /* newest pair, chained by next_of_name */
    _Atomic uint32_t n_pairs;
    uint32_t len; /* bytes follow */
    char text[];
} nlt_arena_name_t;

/* A label pair of one tenant, with its postings. 48 bytes. */
typedef struct {
    nlt_off_t name;
    nlt_off_t value; /* nlt_arena_str_t */
    uint32_t tenant;
    uint32_t next_of_name; /* older pair of the same name, or 0 */
    _Atomic uint32_t n;    /* published postings */
    uint32_t first;        /* the first posting sits here, no block */
    nlt_off_t first_block; /* nlt_arena_postings_t */
    nlt_off_t tail_block;  /* where writers go on */
    uint32_t last;         /* newest series number; writers only */
    uint32_t zero[3];
} nlt_arena_pair_t;

typedef struct {
    uint32_t len;
    char text[];
} nlt_arena_str_t;

/* Differences of series numbers as uvarints, none across blocks. */
typedef struct {
    nlt_off_t next;
    uint16_t cap;
    _Atomic uint16_t used; /* may be ahead of the pair's n, never behind */
    uint8_t bytes[];
} nlt_arena_postings_t;

/*
 * A chunk ends at a border of NLT_BORDER_MS and after this many samples: what
 * blocks like as well, and few enough to decode whole for one instant.
 */
#define NLT_CHUNK_SAMPLES_MAX 480

#define NLT_CHUNK_BYTES_MAX (NLT_CHUNK_SAMPLES_MAX * NLT_XOR_SAMPLE_BYTES_MAX)

/* What is published of the newest chunk, in one 64-bit store. */
typedef struct {
    uint32_t n_bits;
    uint16_t n_samples;
    uint16_t seq; /* of the chunk it is about, low bits */
} nlt_chunk_pub_t;

static inline nlt_chunk_pub_t
nlt_chunk_pub_unpack(uint64_t w)
{
    return (nlt_chunk_pub_t){(uint32_t) w, (uint16_t) (w >> 32),
                             (uint16_t) (w >> 48)};
}

static inline uint64_t
nlt_chunk_pub_pack(uint64_t n_bits, uint32_t n_samples, uint16_t seq)
{
    return (n_bits & UINT32_MAX) | (uint64_t) (n_samples & 0xffff) << 32
           | (uint64_t) seq << 48;
}

typedef struct {
    nlt_off_t next; /* older chunk */
    uint16_t seq;
    uint16_t flags; /* NLT_CHUNK_OOO */
    int64_t t_min_ms;
    int64_t t_max_ms;     /* valid once closed */
    _Atomic uint64_t pub; /* valid once closed: nlt_chunk_pub_t */
    /* the first piece follows */
} nlt_arena_chunk_t;

#define NLT_CHUNK_OOO 1u

typedef struct {
    nlt_off_t next;
    uint32_t cap; /* bytes of data */
    uint8_t data[];
} nlt_arena_piece_t;

/* Samples that stepped back in time, as they came. */
#define NLT_OOO_RAW_MAX 32
typedef struct {
    _Atomic uint32_t gen;    /* + 1 before slots are used again */
    _Atomic uint32_t n;      /* published samples */
    _Atomic uint32_t chunks; /* nlt_off_t: newest chunk made of them */
    uint32_t cap;
    struct {
        int64_t t_ms;
        uint64_t v_bits;
    } raw[];
} nlt_arena_ooo_t;

#define NLT_SERIES_LOGGED 1u /* its series record is in the arena's WAL */

/* One series: exactly one cache line. */
typedef struct {
    _Atomic uint64_t pub;   /* nlt_chunk_pub_t of the newest chunk */
    nlt_xor_state_t enc;    /* of the newest chunk; writer only */
    _Atomic uint32_t chunk; /* nlt_off_t of the newest chunk */
    nlt_off_t tail;         /* piece being written; writer only */
    nlt_off_t labels;       /* nlt_arena_labels_t */
    _Atomic uint32_t ooo;   /* nlt_off_t of nlt_arena_ooo_t */
    _Atomic uint32_t flags; /* NLT_SERIES_LOGGED */
    uint16_t tail_start;    /* byte of the stream where tail begins */
    uint8_t tail_cap;       /* bytes of tail / 8: saves a look at it */
    uint8_t n_aliases;
} nlt_arena_series_t;

typedef struct {
    uint32_t key[3]; /* canonical key: lo, lo >> 32, hi */
    uint32_t tenant;
    uint32_t n;
    uint32_t pair[]; /* sorted by label name */
} nlt_arena_labels_t;

_Static_assert(sizeof(nlt_stripe_t) == 64, "a stripe is a cache line");
_Static_assert(sizeof(nlt_arena_series_t) == 64, "a series is a cache line");
_Static_assert(sizeof(nlt_arena_pair_t) == 48, "a pair is 48 bytes");
_Static_assert(sizeof(nlt_xor_state_t) == 32, "the encoder fits the entry");
_Static_assert(sizeof(nlt_arena_chunk_t) == 32, "the first piece follows");
_Static_assert(NLT_CHUNK_BYTES_MAX <= UINT16_MAX, "tail_start reaches");

#endif
