/*
 * nlt_deletes.h - what was deleted, until it is gone.
 *
 * Floor 3 (store); uses base, model, nlt_filenames, nlt_lines.
 * Format: docs/formats/deletes.md.
 * Threads: a list is immutable and counted; a set belongs to a process, [any].
 *
 * Samples lie where nothing can be taken out of: in an arena that only grows
 * and in blocks that never change.  So a delete is a rule that readers apply
 * and that whoever copies samples (flush, replay, compaction) applies for
 * good.  It says
 *
 *     number 7: tenant 0, {job="api"} or {__name__="up",zone="b"},
 *               times [t_min, t_max], of what is in arenas up to 41
 *
 * The last part is what makes it exact: a delete is about the samples that
 * were there when it was asked for, and not about those that somebody writes
 * afterwards with the same names and times, which is what people do after they
 * have deleted something wrong.  To draw that line, the active arena is sealed
 * before the rule is written down, unless it has no such sample.  From then on
 * everything that the rule is about can only be copied, never added to.
 *
 * A part (arena, log or block) that has samples up to arena `a`, and was made
 * when deletes up to `d` had been applied, is under exactly these rules:
 *
 *     number > d  and  arena_max >= a            nlt_delete_concerns()
 *
 *   arena, log n      a = n, d = 0
 *   flushed block     a = n, d = the last number when the flush began
 *   compacted block   a = highest of its sources, d = the last number when
 *                     it began; each source was filtered by its own rules
 *   imported block    a = 0, d = the last number when it was adopted
 *
 * That a compacted block counts as its highest source is exact, because a rule
 * that is written while it is made has an arena_max that no source exceeds: a
 * merge begins under the lock, when no line is drawn without its rule.
 *
 * A rule is dropped when no part is under it any more: when every arena up to
 * arena_max is finished in the MANIFEST *and* has left the head (it is retired
 * after the commit, and until then queries read it), and every block either
 * counts the rule in `deletes` of the MANIFEST or has a later arena.  The
 * helper gets there by rewriting blocks that have such samples and counting up
 * `deletes` of those that have none (nlt_helper_deletes.c).
 *
 * Order.
 *   - Readers take the rules first, then arenas, then blocks: a rule that was
 *     gone when they looked had nothing left that they could meet afterwards.
 *   - Who deletes holds the lock from before he looks at the active arena
 *     until the rule is written.  Who replays a log into an open head holds
 *     it meanwhile: else old samples would come up in an arena that was
 *     looked at already.  The helper never waits for the lock, because its
 *     holder waits for the helper to seal.
 *   - Who has written a rule looks whether his head is still the store's
 *     (nlt_head_is_dead) before he says so: a new head is made out of the logs
 *     after the term has moved on, so either its replay knows the rule, or
 *     nobody is told that it holds.  As with writes: docs/decisions/0006.
 *   - deletes_gen of the head is counted up after each change of the file,
 *     also after one that failed, which may be on the disk nevertheless.
 *
 * Numbers are never used twice, or a new rule would pass for one that a block
 * has had applied.  Should DELETES be lost, the numbers in the MANIFEST tell
 * where to go on.
 *
 * The file DELETES is small text like the MANIFEST (nlt_lines.h), replaced as
 * a whole under a flock on deletes.lock, because workers write it too: whoever
 * answers "deleted" has it on the disk.
 *
 *     nightlight-deletes 1 5d0c96d4
 *     store 6f1c...e0 0a3bd6c5
 *     next 8 c2a7190e
 *     delete 7 0 -9223372036854775808 1718000000000 41 2 8e91ab22
 *     set 1 5b0e4c77                           (the first of 2, one matcher)
 *     match = 6a6f62 617069 19e48dcc           (its name and value in hex)
 *     set 2 7ef39207
 *     match = 5f5f6e616d655f5f 7570 f3a81be0
 *     match = 7a6f6e65 62 9aa5a026
 *     end 9 7e51f00d
 */
#ifndef NLT_STORE_DELETES_H
#define NLT_STORE_DELETES_H

#include "nlt_env.h"
#include "nlt_head_layout.h"
#include "nlt_intervals.h"
#include "nlt_source.h"

/* Rules that are not gone yet; one more is refused. */
#define NLT_DELETES_MAX 256u

/* Of one rule: sets, matchers in all, bytes of their names and values. */
#define NLT_DELETE_SETS_MAX     64u
#define NLT_DELETE_MATCHERS_MAX 256u
#define NLT_DELETE_BYTES_MAX    (64u << 10)

#define NLT_DELETES_BYTES_MAX (64u << 20) /* of the file */

/*
 * One set of matchers, ANDed; the sets of a rule are ORed.  A set without
 * matchers is every series.  Not compiled: a compiled regex is for one thread,
 * and lists are shared; see nlt_cuts.h.
 */
typedef struct {
    nlt_matcher_t *matchers;
    size_t n;
} nlt_delete_set_t;

typedef struct {
    uint64_t number; /* rises from 1, never used twice */
    uint32_t tenant;
    int64_t t_min_ms; /* inclusive */
    int64_t t_max_ms;
    uint64_t arena_max; /* concerns samples of arenas up to this one */
    nlt_delete_set_t *sets;
    size_t n_sets;
} nlt_delete_t;

/* All rules in force at one time; immutable. */
typedef struct {
    uint64_t last;   /* highest number ever given; 0: none */
    nlt_delete_t *v; /* by number */
    size_t n;
    size_t refs;     /* under the set's mutex */
    nlt_pool_t pool; /* of everything in it */
} nlt_delete_list_t;

/* Is a part with samples up to `arena`, made after `deletes`, under rule d? */
static inline bool
nlt_delete_concerns(const nlt_delete_t *d, uint64_t arena, uint64_t deletes)
{
    return d->number > deletes && d->arena_max >= arena;
}

/* ---- the file ---- */

/*
 * Reads DELETES below dir_fd into a list of its own; a missing file is an
 * empty list.  NLT_EDATA (damaged: says which line), NLT_EVERSION, NLT_EIO,
 * NLT_ENOMEM.  Give it to nlt_deletes_free().
 */
NLT_CHECKED nlt_rc_t nlt_deletes_load(const nlt_env_t *env, int dir_fd,
                                      const uint8_t *store_id,
                                      nlt_delete_list_t **out, nlt_err_t *err);
/*
 * A list without rules, with room for NLT_DELETES_MAX of them and `bytes` of
 * what they hold; NULL: out of memory.  Gives, as load does.
 */
nlt_delete_list_t *nlt_deletes_empty(const nlt_env_t *env, size_t bytes);

/* NULL is allowed. */
void nlt_deletes_free(const nlt_env_t *env, nlt_delete_list_t *l);

/*
 * Takes the lock, without waiting.  NLT_AGAIN: somebody else has it; NLT_EIO,
 * NLT_EFULL.
 * *lock goes to nlt_deletes_unlock(); a process that dies lets go of it.
 */
NLT_CHECKED nlt_rc_t nlt_deletes_lock(const nlt_env_t *env, int dir_fd,
                                      int *lock, nlt_err_t *err);
void nlt_deletes_unlock(const nlt_env_t *env, int lock);

/*
 * Does a rule keep to the limits, and do its expressions compile?  NLT_ELIMIT,
 * NLT_EINVAL (err says what), NLT_ENOMEM.
 */
NLT_CHECKED nlt_rc_t nlt_delete_check(const nlt_env_t *env,
                                      const nlt_delete_t *d, nlt_err_t *err);

/*
 * Writes one more rule, durably; the caller has the lock.  d->number is the
 * lowest that it may get, and set to what it got.
 * NLT_AGAIN: NLT_DELETES_MAX are there; as nlt_delete_check(); NLT_EFULL,
 * NLT_EIO, NLT_EDATA, NLT_EVERSION, NLT_ENOMEM.  After a failure to write the
 * rule may be there or not.  [any process]
 */
NLT_CHECKED nlt_rc_t nlt_deletes_add(const nlt_env_t *env, int dir_fd,
                                     const uint8_t *store_id, nlt_delete_t *d,
                                     nlt_err_t *err);

/*
 * Takes the rules for which gone() says true off the file, durably; the
 * caller has the lock.  *n is their count; nothing is written when it is 0.
 * Errors as add.
 */
NLT_CHECKED nlt_rc_t nlt_deletes_drop(const nlt_env_t *env, int dir_fd,
                                      const uint8_t *store_id,
                                      bool (*gone)(void *ctx,
                                                   const nlt_delete_t *d),
                                      void *ctx, size_t *n, nlt_err_t *err);

/* Appends the text of a file with these rules. */
void nlt_deletes_print(const nlt_delete_list_t *l, const uint8_t *store_id,
                       nlt_buf_t *out);

/* Reads such a text.  As load; store_id NULL: any.  O(length). */
NLT_CHECKED nlt_rc_t nlt_deletes_parse(const nlt_env_t *env, nlt_str_t text,
                                       const uint8_t *store_id,
                                       nlt_delete_list_t **out,
                                       nlt_err_t *err);

/* ---- the rules as a process has them ---- */

typedef struct nlt_deletes_s nlt_deletes_t;

/* dir_fd is borrowed until destroy, store_id copied.  NLT_ENOMEM. */
NLT_CHECKED nlt_rc_t nlt_deletes_create(const nlt_env_t *env, int dir_fd,
                                        const uint8_t *store_id,
                                        nlt_deletes_t **out, nlt_err_t *err);
/* No list is held.  NULL is allowed. */
void nlt_deletes_destroy(nlt_deletes_t *s);

/*
 * The rules of at least this generation (deletes_gen, read before), held
 * until release.  Cheap when it did not move.  Errors as load: who cannot know
 * the rules must not answer.  [any]
 */
NLT_CHECKED nlt_rc_t nlt_deletes_acquire(nlt_deletes_t *s, uint64_t generation,
                                         const nlt_delete_list_t **out,
                                         nlt_err_t *err);
void nlt_deletes_release(nlt_deletes_t *s, const nlt_delete_list_t *l);

/* Forgets the generation: another head counts anew.  [any] */
void nlt_deletes_forget(nlt_deletes_t *s);

#endif
