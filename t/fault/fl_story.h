/*
 * fl_story.h - what stores go through, for whoever disturbs them.
 *
 * A story does to a store all that makes it change its disk; whoever adds a
 * way to do that adds it to one of them.  Failures of single calls are part of
 * life: stories go on, and say only whether they came to their end.
 */
#ifndef FL_STORY_H
#define FL_STORY_H

#include "fl_store.h"
#include "nlt_snapshot.h"

#define FL_SNAPSHOTS_MAX 8

/* NLT_TEST for a main() whose argument chooses tests. */
#define FL_TEST(fn)                                                           \
    do {                                                                      \
        if (argc < 2 || strstr(#fn, argv[1]) != NULL) {                       \
            NLT_TEST(fn);                                                     \
        }                                                                     \
    } while (0)

typedef struct {
    char name[NLT_SNAPSHOT_NAME_SIZE];
    size_t done; /* changes when it was answered */
    uint64_t n_samples;
} fl_snapshot_t;

typedef struct {
    fl_store_t s;
    fl_ledger_t ledger;
    fl_snapshot_t snapshot[FL_SNAPSHOTS_MAX];
    unsigned n_snapshots;
    unsigned n_imports;
    unsigned n_pauses;
    uint64_t rand; /* for what is left to chance; set it */
} fl_story_t;

typedef bool (*fl_story_cb_t)(fl_story_t *t);

/* Clocks move on; a minute of work of the helper becomes due. */
void fl_story_pass(fl_story_t *t, int64_t ms);

/* Live, late, repeated samples and a new series; by all writers. */
void fl_story_write(fl_story_t *t, unsigned round);

/* Ordinary life: writes, syncs, rotations, flushes. */
bool fl_story_life(fl_story_t *t);

/* Requests wait for a sync while their arena is rotated and flushed. */
bool fl_story_waiting(fl_story_t *t);

/* Blocks of old samples leave while new ones come. */
bool fl_story_ageing(fl_story_t *t);

/* Blocks of one day, written in several flushes, become one. */
bool fl_story_merging(fl_story_t *t);

/* Blocks are written in one format, and then another one is wanted. */
bool fl_story_converting(fl_story_t *t);

/*
 * Series of head and blocks are deleted, sent again, deleted again; then
 * blocks are rewritten without them.
 */
bool fl_story_deleting(fl_story_t *t);

/*
 * Tenants with the same labels; one is deleted, with samples in blocks and
 * head, and comes back under its name before that is durable, and after.
 */
bool fl_story_tenants(fl_story_t *t);

/* Blocks are copied into import/, as cp does it, and taken in. */
bool fl_story_import(fl_story_t *t);

/* Snapshots are made between flushes. */
bool fl_story_snapshots(fl_story_t *t);

/* A block rots, is found out by a query, and moved aside. */
bool fl_story_rot(fl_story_t *t);

/*
 * All calls fail from a random one on, as if all processes had died; others go
 * on with the same head.  Again and again, once without the head.
 */
bool fl_story_deaths(fl_story_t *t);

/*
 * Are snapshots in order: those that were answered before position `at` are
 * there, and each that has its name is whole?  Why not in out.
 */
bool fl_story_snapshots_whole(const fl_story_t *t, const char *path, size_t at,
                              char *out, size_t size);

#endif
