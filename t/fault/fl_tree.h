/*
 * fl_tree.h - what a power loss leaves of a recorded disk.
 *
 * What the model promises, and nothing more:
 *
 *   - what was written to a file is safe after fsync or fdatasync of it, if
 *     the first one after the write succeeded
 *   - names (create, rename, link, unlink, mkdir, rmdir) are safe after an
 *     fsync of their directory; that of a file says nothing about its name.
 *     A rename between directories is safe when both were synced.
 *   - a rename is there or not, never half
 *
 * All else is the loss's to choose: each unsynced sector of 512 bytes has the
 * content it had after any of the writes to it or before, the size of a file
 * is any that it had or a border of a page between, filled up with zeros;
 * each unsynced change of a name happened or not, on its own.  No file system
 * is that cruel; a store that survives this survives each of them.
 *
 * Not modelled: old bytes of other files showing in new ones, and what a disk
 * does that lies about syncs.
 */
#ifndef FL_TREE_H
#define FL_TREE_H

#include "fl_disk.h"

typedef enum {
    FL_LOSS_NONE,    /* nothing unsynced is kept */
    FL_LOSS_ALL,     /* everything is */
    FL_LOSS_EMPTY,   /* names kept, data and sizes lost */
    FL_LOSS_ZEROS,   /* names and sizes kept, data lost */
    FL_LOSS_DATA,    /* data kept, names lost */
    FL_LOSS_JOURNAL, /* names up to some change, data by chance */
    FL_LOSS_RANDOM,  /* each name and sector by chance */
    FL_LOSSES
} fl_loss_t;

extern const char *const fl_loss_names[FL_LOSSES];

/* Has this kind chance in it, so that seeds give different trees? */
static inline bool
fl_loss_has_chance(fl_loss_t kind)
{
    return kind == FL_LOSS_JOURNAL || kind == FL_LOSS_RANDOM;
}

typedef struct fl_tree_s fl_tree_t;

/* What is left when power goes after the first n changes. */
fl_tree_t *
fl_tree_create(const fl_disk_t *d, size_t n, fl_loss_t kind, uint64_t seed);
void fl_tree_destroy(fl_tree_t *t);

/* Equal trees have equal sums, and others do not, but by chance. */
uint64_t fl_tree_sum(const fl_tree_t *t);

/* Fills dir, an empty directory, with it. */
void fl_tree_write(const fl_tree_t *t, const char *dir);

#endif
