/*
 * nlt_pql_crew.c - see the header.
 *
 * A block that was begun has a slot, with room for its rows, until it has been
 * taken.  Slots are taken from a stack, so that few of them are touched as
 * long as nobody is far ahead.  All that threads share is below `lock`, but
 * for what is in a slot: that belongs to who makes it, and then, when it is
 * ready, to who takes it.
 */
#include "nlt_pql_crew.h"

#include <pthread.h>

#include "nlt_pql_rows.h"

#define LOOK_NS     200000               /* alone for so long, at least */
#define BLOCK_NS    500000               /* a block should take so long, */
#define BLOCK_MAX   512u                 /* not have more series, */
#define BLOCK_BYTES ((size_t) 128 << 10) /* nor more bytes, if it can be */
#define LANES_MAX   8u /* the query's thread is one of them */
#define SLOTS_MAX   (4 * LANES_MAX)

/* What there was beside the values of a row. */
typedef struct {
    uint64_t samples_read;
    uint64_t samples_peak;
    uint64_t samples_seen;
    uint32_t series_read;
    uint32_t n_notes; /* of the block, this series' included */
    bool any;         /* there is a row */
} record_t;

typedef struct {
    size_t first;    /* series, */
    size_t end;      /* and behind the last one */
    size_t n;        /* series that are made; the rest failed */
    bool ready;      /* by lock */
    nlt_pool_t pool; /* of the notes */
    nlt_pql_annots_t notes;
    record_t *record;  /* [per_block] */
    double *v;         /* [per_block][n_steps] */
    uint64_t *present; /* [per_block][words] */
} slot_t;

/* Who makes blocks: a thread with a context and a copy of the leaf. */
typedef struct {
    nlt_pql_crew_t *crew;
    nlt_pql_ctx_t ctx;
    nlt_pool_t pool;
    nlt_pql_annots_t notes; /* of the block in hand */
    nlt_pql_stats_t stats;  /* of the series */
    nlt_err_t err;
    nlt_pql_leaf_t *leaf;
    nlt_help_call_t *call; /* NULL: it has not been asked, or is done */
    bool failed;           /* it is not asked again */
} lane_t;

struct nlt_pql_crew_s {
    nlt_pql_crew_t *next; /* of the query */
    nlt_pql_leaf_t *leaf;
    const nlt_mem_t *mem;
    size_t bytes;     /* of all of this, slots included */
    size_t upto;      /* behind the last one */
    size_t per_block; /* series, at most */
    size_t at_once;   /* that are read together; 0: each alone */
    size_t words;
    size_t n_slots;
    int leave; /* atomic: helpers have to go */

    /* of the query's thread */
    lane_t lane[LANES_MAX]; /* its own first */
    size_t n_lanes;
    int64_t series_ns;          /* about */
    int64_t ask_ns;             /* not before that */
    slot_t *taking;             /* NULL: none */
    size_t at;                  /* in it */
    const nlt_pql_note_t *note; /* the last one taken */
    size_t n_notes;

    pthread_mutex_t lock;
    pthread_cond_t ready;
    size_t next_series; /* in no block yet */
    size_t begun;       /* blocks */
    size_t taken;
    size_t n_free;
    slot_t *free[SLOTS_MAX];
    slot_t *of[SLOTS_MAX]; /* of block b: of[b % n_slots] */
    slot_t slot[SLOTS_MAX];
};

/* ---- making blocks ---- */

/*
 * Series of the next block: less towards the end, so that nobody has much
 * left when the others are done.
 */
static size_t
size_locked(const nlt_pql_crew_t *c)
{
    size_t n = (c->upto - c->next_series) / (2 * c->n_lanes);

    n = n < c->per_block ? n : c->per_block;
    n = c->at_once > 0 && n > c->at_once ? n - n % c->at_once : n;
    return n > 0 ? n : 1;
}

/* The next block that nobody has begun; NULL: there is none, or no room. */
static slot_t *
begin_locked(nlt_pql_crew_t *c)
{
    slot_t *s;

    if (c->next_series == c->upto || c->n_free == 0) {
        return NULL;
    }
    s = c->free[--c->n_free];
    s->ready = false;
    s->first = c->next_series;
    s->end = c->next_series += size_locked(c);
    c->of[c->begun++ % c->n_slots] = s;
    return s;
}

static void
ready_locked(nlt_pql_crew_t *c, slot_t *s)
{
    s->ready = true;
    (void) pthread_cond_signal(&c->ready);
}

/* False: a series failed, or it has to go. */
static bool
make(lane_t *l, slot_t *s)
{
    nlt_pql_crew_t *c = l->crew;
    nlt_pql_leaf_t *leaf = l->leaf;
    nlt_samples_t *samples = leaf->ops->samples(leaf);
    size_t n = s->end - s->first;
    nlt_rc_t rc = NLT_OK;

    nlt_pql_annots_init(&l->notes, &s->pool);
    samples->from = s->first;
    samples->upto = s->end;
    for (s->n = 0; s->n < n; s->n++) {
        record_t *r = &s->record[s->n];

        if (__atomic_load_n(&c->leave, __ATOMIC_RELAXED)) {
            break;
        }
        l->stats = (nlt_pql_stats_t){.samples_read = 0};
        leaf->row.v = s->v + s->n * leaf->op.n;
        leaf->row.present = s->present + s->n * c->words;
        rc = leaf->ops->one(leaf, s->first + s->n);
        if ((rc != NLT_OK && rc != NLT_EOF) || l->notes.failed) {
            break;
        }
        r->any = rc == NLT_OK;
        r->samples_read = l->stats.samples_read;
        r->samples_peak = l->stats.samples_peak;
        r->samples_seen = l->stats.samples_seen;
        r->series_read = (uint32_t) l->stats.series_read;
        r->n_notes = (uint32_t) l->notes.n;
    }
    s->notes = l->notes;
    return s->n == n;
}

/* What a helper does; arg is its lane. */
static void
help(void *arg)
{
    lane_t *l = arg;
    nlt_pql_crew_t *c = l->crew;
    bool good = true;
    slot_t *s;

    (void) pthread_mutex_lock(&c->lock);
    while (good && (s = begin_locked(c)) != NULL) {
        (void) pthread_mutex_unlock(&c->lock);
        good = make(l, s);
        (void) pthread_mutex_lock(&c->lock);
        ready_locked(c, s);
    }
    l->failed = !good;
    (void) pthread_mutex_unlock(&c->lock);
}

/* ---- the crew ---- */

/* A lane's context, pools and copy of the leaf; what fails is left to
 * crew_end(). */
static bool
lane_init(nlt_pql_crew_t *c, lane_t *l, size_t budget)
{
    const nlt_pql_ctx_t *ctx = c->leaf->op.ctx;

    l->crew = c;
    nlt_pool_init(&l->pool, c->mem, budget);
    l->ctx = (nlt_pql_ctx_t){.pool = &l->pool,
                             .q = ctx->q,
                             .annots = &l->notes,
                             .stats = &l->stats,
                             .err = &l->err,
                             .delayed = ctx->delayed,
                             .mem = nlt_pql_pool_mem(&l->pool),
                             .leave = &c->leave};
    nlt_pool_init(&l->ctx.scratch, c->mem, budget / 4);
    l->leaf = nlt_pool_alloc(&l->pool, c->leaf->ops->size);
    if (l->leaf == NULL || nlt_pool_alloc(&l->ctx.scratch, 1) == NULL) {
        return false;
    }
    memcpy(l->leaf, c->leaf, c->leaf->ops->size);
    l->leaf->op.ctx = &l->ctx;
    return l->leaf->ops->settle(l->leaf) == NLT_OK;
}

static void
lane_deinit(lane_t *l)
{
    if (l->crew != NULL) {
        nlt_pool_deinit(&l->ctx.scratch);
        nlt_pool_deinit(&l->pool);
    }
}

static void
crew_end(nlt_pql_crew_t *c)
{
    nlt_pql_crew_t **at = &c->leaf->op.ctx->crews;

    __atomic_store_n(&c->leave, 1, __ATOMIC_RELAXED);
    for (size_t i = 0; i < c->n_lanes; i++) {
        if (c->lane[i].call != NULL) {
            nlt_help_end(c->lane[i].call);
        }
    }
    for (size_t i = 0; i < c->n_lanes; i++) {
        lane_deinit(&c->lane[i]);
    }
    for (size_t i = 0; i < c->n_slots; i++) {
        nlt_pool_deinit(&c->slot[i].pool);
    }
    while (*at != c) {
        at = &(*at)->next;
    }
    *at = c->next;
    c->leaf->crew = NULL;
    (void) pthread_cond_destroy(&c->ready);
    (void) pthread_mutex_destroy(&c->lock);
    nlt_mem_free(c->mem, c, c->bytes);
}

void
nlt_pql_crews_end(nlt_pql_ctx_t *ctx)
{
    while (ctx->crews != NULL) {
        crew_end(ctx->crews);
    }
}

static size_t
least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Bytes of a row and its record. */
static size_t
row_bytes(const nlt_pql_leaf_t *leaf)
{
    return (leaf->op.n + nlt_pql_words(leaf->op.n)) * sizeof(uint64_t)
           + sizeof(record_t);
}

/* Series of a block, when one takes so long. */
static size_t
block_of(nlt_pql_leaf_t *leaf, int64_t series_ns)
{
    size_t n = BLOCK_MAX, bytes = BLOCK_BYTES / row_bytes(leaf);
    size_t at_once = leaf->ops->samples(leaf)->read_n;

    if (series_ns > 0 && (size_t) (BLOCK_NS / series_ns) < n) {
        n = (size_t) (BLOCK_NS / series_ns);
    }
    n = bytes < n ? bytes : n;
    /* so that no more is read ahead than is needed, nor less */
    return at_once > 0 && n >= at_once ? n - n % at_once : n > 0 ? n : 1;
}

/* Cuts the memory behind a crew into slots. */
static void
cut_slots(nlt_pql_crew_t *c, size_t notes_bytes)
{
    size_t n = c->per_block;
    char *p = (char *) (c + 1);

    for (size_t i = 0; i < c->n_slots; i++) {
        slot_t *s = &c->slot[i];

        s->record = (record_t *) (void *) p;
        s->v = (double *) (void *) (s->record + n);
        s->present = (uint64_t *) (void *) (s->v + n * c->leaf->op.n);
        p = (char *) (s->present + n * c->words);
        nlt_pool_init(&s->pool, c->mem, notes_bytes);
        c->free[c->n_slots - 1 - i] = s;
    }
    c->n_free = c->n_slots;
}

/* A crew of the query's thread alone; NULL: no memory for it. */
static nlt_pql_crew_t *
crew_new(nlt_pql_leaf_t *leaf, int64_t series_ns)
{
    nlt_pql_ctx_t *ctx = leaf->op.ctx;
    const nlt_pool_t *pool = ctx->pool;
    size_t per_block = block_of(leaf, series_ns);
    size_t n_lanes = least(ctx->q->help->n_max, LANES_MAX - 1) + 1;
    size_t budget = least((pool->budget_bytes - pool->used_bytes) / 8,
                          NLT_PQL_CREW_BYTES_MAX);
    size_t n_slots = least(4 * n_lanes, leaf->set->n - leaf->next);
    size_t bytes =
        sizeof(nlt_pql_crew_t) + n_slots * per_block * row_bytes(leaf);
    nlt_pql_crew_t *c = NULL;

    if (bytes <= budget / 2) {
        c = pool->mem->alloc(pool->mem->ctx, bytes);
    }
    if (c == NULL) {
        return NULL;
    }
    memset(c, 0, sizeof(*c));
    if (pthread_mutex_init(&c->lock, NULL) != 0) {
        nlt_mem_free(pool->mem, c, bytes);
        return NULL;
    }
    if (pthread_cond_init(&c->ready, NULL) != 0) {
        (void) pthread_mutex_destroy(&c->lock);
        nlt_mem_free(pool->mem, c, bytes);
        return NULL;
    }
    c->leaf = leaf;
    c->mem = pool->mem;
    c->bytes = bytes;
    c->next_series = leaf->next;
    c->upto = leaf->set->n;
    c->per_block = per_block;
    c->words = nlt_pql_words(leaf->op.n);
    c->at_once = leaf->ops->samples(leaf)->read_n;
    c->n_slots = n_slots;
    c->n_lanes = n_lanes;
    c->series_ns = series_ns;
    budget = (budget - bytes) / (n_lanes + 1);
    cut_slots(c, budget / n_slots);
    c->next = ctx->crews;
    ctx->crews = c;
    leaf->crew = c;
    for (size_t i = 0; i < n_lanes; i++) {
        if (!lane_init(c, &c->lane[i], budget)) {
            crew_end(c);
            return NULL;
        }
    }
    return c;
}

/* Asks for help of those lanes that nobody is at; how many there are now. */
static size_t
ask(nlt_pql_crew_t *c)
{
    nlt_pql_ctx_t *ctx = c->leaf->op.ctx;
    size_t n = 0;

    for (size_t i = 1; i < c->n_lanes; i++) {
        lane_t *l = &c->lane[i];

        if (l->call != NULL && nlt_help_is_done(l->call)) {
            nlt_help_end(l->call);
            l->call = NULL;
        }
        if (l->call == NULL && !l->failed) {
            l->call = nlt_help_ask(ctx->q->help, help, l);
            if (l->call == NULL) {
                break;
            }
            ctx->stats->helpers++;
        }
        n += l->call != NULL;
    }
    return n;
}

/* Looks at the clock: is it worth to ask for help? */
static void
look(nlt_pql_leaf_t *leaf)
{
    const nlt_pql_query_t *q = leaf->op.ctx->q;
    const nlt_samples_t *samples = leaf->ops->samples(leaf);
    size_t read_upto = samples->read_upto;
    int64_t now_ns, series_ns, alone_ns;
    nlt_pql_crew_t *c;

    if (q->help == NULL) {
        leaf->look_at = SIZE_MAX;
        return;
    }
    now_ns = nlt_mono_ns(q->env);
    if (leaf->next == 0) {
        leaf->begun_ns = leaf->second_ns = now_ns;
        leaf->look_at = 1;
        if (q->help->worth_ns > 0) {
            return;
        }
    } else if (leaf->next == 1) {
        leaf->second_ns = now_ns;
    }
    alone_ns = now_ns - leaf->begun_ns;
    series_ns =
        leaf->next > 0 ? alone_ns / (int64_t) leaf->next + 1 : BLOCK_NS / 3;
    leaf->look_at = leaf->next * 2 + 1;
    if (leaf->next < read_upto && read_upto > samples->read_n) {
        leaf->look_at = read_upto; /* for that would be read again */
        return;
    }
    if (leaf->next > 0 && leaf->next < read_upto) {
        /* What was read with the first would be read again: is it much that
         * is left without that? */
        alone_ns = now_ns - leaf->second_ns;
        series_ns = alone_ns / (int64_t) leaf->next + 1;
        leaf->look_at = least(leaf->look_at, read_upto);
    }
    if (leaf->set->n - leaf->next < 2
        || alone_ns < nlt_min_i64(LOOK_NS, q->help->worth_ns)) {
        return;
    }
    leaf->look_at = leaf->next + (size_t) (q->help->worth_ns / series_ns) + 1;
    if ((double) series_ns * (double) (leaf->set->n - leaf->next)
        < (double) q->help->worth_ns) {
        return;
    }
    c = crew_new(leaf, series_ns);
    if (c != NULL && ask(c) == 0) {
        crew_end(c);
    } else if (c != NULL) {
        leaf->look_at = leaf->next; /* which stays there until its end */
    }
}

/* ---- taking rows ---- */

static nlt_rc_t
lend(nlt_pql_leaf_t *leaf, size_t idx, double *v, uint64_t *present,
     nlt_pql_row_t *row)
{
    *row = (nlt_pql_row_t){
        .set = leaf->set, .idx = idx, .v = v, .present = present};
    return leaf->drops_name ? nlt_pql_row_drop_name(leaf->op.ctx, row)
                            : NLT_OK;
}

/* What making the row would have done beside it. */
static nlt_rc_t
redo(nlt_pql_crew_t *c, const record_t *r)
{
    nlt_pql_ctx_t *ctx = c->leaf->op.ctx;
    nlt_rc_t rc;

    ctx->stats->series_read += r->series_read;
    ctx->stats->samples_read += r->samples_read;
    rc = nlt_pql_count(ctx, r->samples_peak);
    if (rc != NLT_OK) {
        return rc;
    }
    ctx->stats->samples_seen += r->samples_seen;
    for (; c->n_notes < r->n_notes; c->n_notes++) {
        c->note = nlt_pql_annots_take(ctx->annots, &c->taking->notes, c->note);
    }
    return NLT_OK;
}

/* Has the next block ready, and takes it in hand. */
static void
take(nlt_pql_crew_t *c)
{
    slot_t *s;

    (void) pthread_mutex_lock(&c->lock);
    for (;;) {
        s = c->of[c->taken % c->n_slots];
        if (c->taken < c->begun && s->ready) {
            break;
        }
        s = begin_locked(c);
        if (s == NULL) {
            /* a helper is at ours */
            (void) pthread_cond_wait(&c->ready, &c->lock);
            continue;
        }
        (void) pthread_mutex_unlock(&c->lock);
        (void) make(&c->lane[0], s);
        (void) pthread_mutex_lock(&c->lock);
        ready_locked(c, s);
    }
    (void) pthread_mutex_unlock(&c->lock);
    c->taking = s;
    c->at = 0;
    c->note = NULL;
    c->n_notes = 0;
}

/* The block in hand is done with; more help may be of use now. */
static void
give_back(nlt_pql_crew_t *c)
{
    const nlt_pql_query_t *q = c->leaf->op.ctx->q;
    int64_t left_ns, now_ns;
    size_t n_free;

    nlt_pool_deinit(&c->taking->pool);
    (void) pthread_mutex_lock(&c->lock);
    c->free[c->n_free++] = c->taking;
    c->taken++;
    n_free = c->n_free;
    left_ns = (int64_t) (c->upto - c->next_series) * c->series_ns;
    (void) pthread_mutex_unlock(&c->lock);
    c->taking = NULL;
    if (n_free < c->n_slots / 2 || left_ns < q->help->worth_ns
        || left_ns == 0) {
        return;
    }
    now_ns = nlt_mono_ns(q->env);
    if (now_ns >= c->ask_ns) {
        c->ask_ns = now_ns + q->help->worth_ns;
        (void) ask(c);
    }
}

static bool
all_taken(nlt_pql_crew_t *c)
{
    bool all;

    (void) pthread_mutex_lock(&c->lock);
    all = c->taken == c->begun && c->next_series == c->upto;
    (void) pthread_mutex_unlock(&c->lock);
    return all;
}

static nlt_rc_t
crew_next(nlt_pql_leaf_t *leaf, nlt_pql_row_t *row)
{
    nlt_pql_crew_t *c = leaf->crew;

    for (;;) {
        if (c->taking == NULL) {
            if (all_taken(c)) {
                leaf->next = leaf->set->n;
                crew_end(c);
                return NLT_EOF;
            }
            take(c);
            /* a look at the clock a block is enough */
            nlt_rc_t rc = nlt_pql_poll_slow(leaf->op.ctx);

            if (rc != NLT_OK) {
                return rc;
            }
        }
        slot_t *s = c->taking;

        while (c->at < s->end - s->first) {
            size_t i = c->at++;
            bool made = i < s->n;
            nlt_rc_t rc = made ? redo(c, &s->record[i])
                               : leaf->ops->one(leaf, s->first + i);

            if (rc == NLT_EOF || (rc == NLT_OK && made && !s->record[i].any)) {
                continue;
            }
            if (rc != NLT_OK) {
                return rc;
            }
            return made ? lend(leaf, s->first + i, s->v + i * leaf->op.n,
                               s->present + i * c->words, row)
                        : lend(leaf, s->first + i, leaf->row.v,
                               leaf->row.present, row);
        }
        give_back(c);
    }
}

nlt_rc_t
nlt_pql_leaf_next(nlt_pql_iter_t *op, nlt_pql_row_t *row)
{
    nlt_pql_leaf_t *leaf = (nlt_pql_leaf_t *) op;

    while (leaf->next < leaf->set->n) {
        if (nlt_unlikely(leaf->next >= leaf->look_at)) {
            if (leaf->crew == NULL) {
                look(leaf);
            }
            if (leaf->crew != NULL) {
                return crew_next(leaf, row);
            }
        }
        size_t idx = leaf->next++;
        nlt_rc_t rc = leaf->ops->one(leaf, idx);

        if (nlt_likely(rc == NLT_OK)) {
            return lend(leaf, idx, leaf->row.v, leaf->row.present, row);
        }
        if (rc != NLT_EOF) {
            return rc;
        }
    }
    return NLT_EOF;
}
