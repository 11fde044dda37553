/*
 * nlt_compact_plan.c - groups, cuts, runs, and the best of them.
 *
 *   1  every block gets its group; blocks are sorted by group, and within it
 *      as the MANIFEST has them
 *   2  where a block of another group stands in between and overlaps, the
 *      group is cut: no run goes across
 *   3  each group names its best run
 *   4  the best of all that keeps the order is the plan
 */
#include "nlt_compact_plan.h"

#include "nlt_sort.h"

#define HOUR_MS INT64_C(3600000)
#define DAY_MS  (24 * HOUR_MS)

#define LEVELS 5

/* Homes of longer blocks: 64 d, 128 d ..., and one for all that is left. */
#define HOME_MAX (LEVELS + 32)

/*
 * What a block costs at least, in bytes that are copied: files are made,
 * synced and removed for it.  The first is what a busy store reckons with,
 * the second one that has nothing else to do.
 */
#define COST_BUSY  (UINT64_C(64) << 10)
#define COST_QUIET (UINT64_C(1) << 20)
#define TIERS      25 /* of sizes, by a factor of 4 */

/* So many of a group at most go at once when nothing else will do. */
#define FORCED_MAX 8

/* A dense block grows by less than this when it becomes portable. */
#define DENSE_GROWTH 4

/* Runs that are tried until one keeps the order. */
#define TRIES 256

/* Instead of a home: belongs to no group; the second is wide, too. */
#define ALONE      0
#define ALONE_WIDE 255

static const int64_t ranges[LEVELS + 1] = {0,      2 * HOUR_MS, 8 * HOUR_MS,
                                           DAY_MS, 8 * DAY_MS,  32 * DAY_MS};

/* ---- ranges and windows ---- */

static unsigned
highest_level(int64_t retention_ms)
{
    int64_t bound =
        nlt_max_i64(retention_ms / 10, nlt_min_i64(retention_ms, ranges[3]));
    unsigned level = 1;

    while (level < LEVELS && ranges[level + 1] <= bound) {
        level++;
    }
    return level;
}

int64_t
nlt_compact_range(unsigned level, int64_t retention_ms)
{
    return level >= 1 && level <= highest_level(retention_ms) ? ranges[level]
                                                              : 0;
}

/* Length of the windows of a home; 0: there is only one window. */
static int64_t
home_range(unsigned home)
{
    return home <= LEVELS     ? ranges[home]
           : home == HOME_MAX ? 0
                              : ranges[LEVELS] << (home - LEVELS);
}

static unsigned
home_of(const nlt_manifest_block_t *b)
{
    uint64_t length = (uint64_t) b->t_end_ms - (uint64_t) b->t_min_ms;
    unsigned home = 1;

    while (home < HOME_MAX && length > (uint64_t) home_range(home)) {
        home++;
    }
    return home;
}

/* Start of the window of that home that t is in. */
static int64_t
window_start(int64_t t, unsigned home)
{
    int64_t range = home_range(home), start;

    if (range == 0
        || __builtin_sub_overflow(t, ((t % range) + range) % range, &start)) {
        return INT64_MIN;
    }
    return start;
}

/* What ends at or before the result is over. */
static int64_t
over_before(int64_t newest_ms)
{
    int64_t t;

    return __builtin_sub_overflow(newest_ms, ranges[1], &t) ? INT64_MIN : t;
}

static bool
is_over(int64_t over_ms, int64_t start_ms, unsigned home)
{
    int64_t end;

    return !__builtin_add_overflow(start_ms, home_range(home), &end)
           && end <= over_ms;
}

/*
 * The largest window that t is in and that is over, of levels from `highest`
 * down to `lowest`; if none is, the smallest, and *over is false.
 */
static unsigned
level_over(int64_t over_ms, int64_t t, unsigned lowest, unsigned highest,
           bool *over)
{
    unsigned level = highest;

    for (;; level--) {
        *over = is_over(over_ms, window_start(t, level), level);
        if (*over || level <= lowest) {
            return level;
        }
    }
}

void
nlt_compact_window(int64_t newest_ms, int64_t retention_ms, int64_t t_ms,
                   int64_t *start, int64_t *end)
{
    bool over;
    unsigned level = level_over(over_before(newest_ms), t_ms, 1,
                                highest_level(retention_ms), &over);

    *start = window_start(t_ms, level);
    if (__builtin_add_overflow(*start, ranges[level], end)) {
        *end = INT64_MAX;
    }
}

static bool
overlap(const nlt_manifest_block_t *a, const nlt_manifest_block_t *b)
{
    return a->t_min_ms < b->t_end_ms && b->t_min_ms < a->t_end_ms;
}

static uint64_t
size_of(const nlt_manifest_block_t *b)
{
    uint64_t bytes = b->bytes != 0 ? b->bytes : 2 * b->n_samples;

    return bytes != 0 ? bytes : 1;
}

/* When the block was made: the first ten digits of its ULID. */
static int64_t
made_ms(const nlt_manifest_block_t *b)
{
    static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    int64_t ms = 0;

    for (int i = 0; i < 10; i++) {
        const char *at = memchr(digits, b->ulid.c[i], 32);

        ms = ms << 5 | (at != NULL ? at - digits : 0);
    }
    return ms;
}

/* ---- the order of values ---- */

/*
 * Where does x stand beside a block of that arena and t_min made at now?
 * Below 0: before it; above: after it; 0: who knows.
 */
static int
side_of(const nlt_manifest_block_t *x, uint64_t arena, int64_t t_min_ms,
        int64_t now_ms)
{
    if (x->arena != arena) {
        return x->arena < arena ? -1 : 1;
    }
    if (x->t_min_ms != t_min_ms) {
        return x->t_min_ms < t_min_ms ? -1 : 1;
    }
    return made_ms(x) < now_ms ? -1 : 0;
}

bool
nlt_compact_keeps_order(const nlt_manifest_t *m, const size_t *idx, size_t n,
                        int64_t now_ms)
{
    uint64_t arena = m->blocks[idx[n - 1]].arena;
    nlt_manifest_block_t hull = m->blocks[idx[0]];

    for (size_t k = 1; k < n; k++) {
        const nlt_manifest_block_t *b = &m->blocks[idx[k]];

        hull.t_min_ms = nlt_min_i64(hull.t_min_ms, b->t_min_ms);
        hull.t_end_ms = nlt_max_i64(hull.t_end_ms, b->t_end_ms);
    }
    for (size_t i = 0, next = 0; i < m->n_blocks; i++) {
        const nlt_manifest_block_t *x = &m->blocks[i];
        int side;

        if (next < n && idx[next] == i) {
            next++;
            continue;
        }
        if (!overlap(x, &hull)) {
            continue;
        }
        side = side_of(x, arena, hull.t_min_ms, now_ms);
        for (size_t k = 0; k < n; k++) {
            if (overlap(x, &m->blocks[idx[k]])
                && (side == 0 || (side < 0) != (i < idx[k]))) {
                return false;
            }
        }
    }
    return true;
}

/* ---- groups ---- */

typedef struct {
    int64_t start_ms; /* of the group's window */
    uint32_t idx;     /* in m->blocks */
    uint8_t home;     /* of the group's window, or ALONE* */
    uint8_t tier;     /* of its size */
    bool cut;         /* no run contains this one and the one before */
} item_t;

/* v[from .. to) is a group. */
typedef struct {
    size_t from;
    size_t to;
    bool over; /* two are enough */
    bool wide; /* longer than the highest range */
    bool quiet;
} group_t;

/* A run: v[from .. from + n). */
typedef struct {
    size_t from;
    size_t n;
    uint64_t bytes;
    bool late; /* after all that are not */
} run_t;

typedef struct {
    const nlt_manifest_t *m;
    const nlt_compact_in_t *in;
    unsigned highest;
    int64_t over_ms; /* windows that end at or before it are over */
    item_t *v;
    size_t n;
    uint32_t *by_time; /* indexes of blocks by t_min */
    run_t *runs;       /* the best of each group that has one */
    size_t n_runs;
    bool starved;
} planner_t;

static const nlt_manifest_block_t *
block_of(const planner_t *p, size_t i)
{
    return &p->m->blocks[p->v[i].idx];
}

static item_t
item_of(const planner_t *p, size_t idx)
{
    const nlt_manifest_block_t *b = &p->m->blocks[idx];
    unsigned home = home_of(b), level;
    bool over;
    uint64_t size = size_of(b) / COST_BUSY;
    item_t it = {.idx = (uint32_t) idx};

    while (size != 0) {
        size >>= 2;
        it.tier++;
    }
    if (home > p->highest) {
        level = home;
    } else {
        /* That of its home does not have to be. */
        level = level_over(p->over_ms, b->t_min_ms, home, p->highest, &over);
    }
    if (p->in->skip != NULL && p->in->skip[idx]) {
        level = home > p->highest ? ALONE_WIDE : ALONE;
    }
    it.home = (uint8_t) level;
    if (level != ALONE && level != ALONE_WIDE) {
        it.start_ms = window_start(b->t_min_ms, level);
    }
    return it;
}

static bool
item_less(const item_t *a, const item_t *b, const void *ctx)
{
    (void) ctx;
    if (a->home != b->home) {
        return a->home < b->home;
    }
    return a->start_ms != b->start_ms ? a->start_ms < b->start_ms
                                      : a->idx < b->idx;
}

NLT_HEAP_SORT(sort_items, item_t, item_less);

static bool
time_less(const uint32_t *a, const uint32_t *b, const void *ctx)
{
    const nlt_manifest_t *m = ctx;

    return m->blocks[*a].t_min_ms < m->blocks[*b].t_min_ms;
}

NLT_HEAP_SORT(sort_times, uint32_t, time_less);

static bool
same_group(const item_t *a, const item_t *b)
{
    return a->home != ALONE && a->home != ALONE_WIDE && a->home == b->home
           && a->start_ms == b->start_ms;
}

/* Was the block made QUIET_MS ago, or by a clock that runs ahead? */
static bool
is_settled(const planner_t *p, const nlt_manifest_block_t *b)
{
    int64_t ms = made_ms(b);

    return ms < p->in->now_ms - NLT_COMPACT_QUIET_MS || ms > p->in->now_ms;
}

static group_t
group_at(const planner_t *p, size_t from)
{
    const item_t *first = &p->v[from];
    group_t g = {.from = from, .to = from, .quiet = true};

    while (g.to < p->n && (g.to == from || same_group(first, &p->v[g.to]))) {
        g.quiet &= is_settled(p, block_of(p, g.to));
        g.to++;
    }
    g.wide = first->home > p->highest;
    g.over = g.wide
             || ((first->home > 1 || p->highest == 1)
                 && is_over(p->over_ms, first->start_ms, first->home));
    return g;
}

/* ---- cuts ---- */

/* Block x, of another group, cuts g where it stands, if they overlap. */
static void
cut(planner_t *p, const group_t *g, const nlt_manifest_block_t *hull,
    uint32_t x)
{
    size_t lo = g->from, hi = g->to;

    if (!overlap(&p->m->blocks[x], hull)) {
        return;
    }
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (p->v[mid].idx < x) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    if (lo < g->to && p->v[lo].idx != x) {
        p->v[lo].cut = true;
    }
}

/* First of by_time that begins at or after t. */
static size_t
time_bound(const planner_t *p, int64_t t)
{
    size_t lo = 0, hi = p->m->n_blocks;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (p->m->blocks[p->by_time[mid]].t_min_ms < t) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

/*
 * Blocks that are not wider than the highest range begin at most that long
 * before they overlap; the others are few and lie at the end of v.
 */
static void
cut_group(planner_t *p, const group_t *g)
{
    nlt_manifest_block_t hull = *block_of(p, g->from);
    int64_t from;
    size_t i;

    for (i = g->from + 1; i < g->to; i++) {
        hull.t_min_ms = nlt_min_i64(hull.t_min_ms, block_of(p, i)->t_min_ms);
        hull.t_end_ms = nlt_max_i64(hull.t_end_ms, block_of(p, i)->t_end_ms);
    }
    if (__builtin_sub_overflow(hull.t_min_ms, ranges[p->highest], &from)) {
        from = INT64_MIN;
    }
    for (i = time_bound(p, hull.t_end_ms); i-- > 0;) {
        if (p->m->blocks[p->by_time[i]].t_min_ms < from) {
            break;
        }
        cut(p, g, &hull, p->by_time[i]);
    }
    for (i = p->n; i-- > 0 && p->v[i].home > p->highest;) {
        cut(p, g, &hull, p->v[i].idx);
    }
}

/* ---- runs ---- */

/* What a run of a group must be like. */
typedef struct {
    unsigned tier_max;
    size_t n_min;
    size_t n_max;
    uint64_t ratio; /* largest to all others; 0: any */
    uint64_t least; /* smaller blocks count as this much */
} rule_t;

/* Do i and i + 1 begin alike, so that nobody knows who would win? */
static bool
is_tie(const planner_t *p, const group_t *g, size_t i)
{
    return i + 1 < g->to && block_of(p, i)->arena == block_of(p, i + 1)->arena
           && block_of(p, i)->t_min_ms == block_of(p, i + 1)->t_min_ms;
}

/* May i join the run?  Histograms that overlap cannot be merged. */
static bool
may_join(const planner_t *p, const run_t *r, size_t i)
{
    const nlt_manifest_block_t *b = block_of(p, i);

    for (size_t k = r->from; k < r->from + r->n; k++) {
        const nlt_manifest_block_t *other = block_of(p, k);

        if ((b->n_histograms > 0 || other->n_histograms > 0)
            && overlap(b, other)) {
            return false;
        }
    }
    return true;
}

/* The longest run that ends before v[end], below the limits of the rule. */
static run_t
run_before(planner_t *p, const group_t *g, size_t end, const rule_t *rule)
{
    run_t r = {.from = end};

    while (r.from > g->from && r.n < rule->n_max) {
        size_t i = r.from - 1;
        uint64_t size = size_of(block_of(p, i)), sum;

        if (p->v[i].tier > rule->tier_max || (r.n > 0 && p->v[i + 1].cut)
            || !may_join(p, &r, i)
            || __builtin_add_overflow(r.bytes, size, &sum)
            || (p->in->bytes_max != 0 && sum > p->in->bytes_max)) {
            break;
        }
        if (sum > p->in->free_bytes) {
            p->starved = true;
            break;
        }
        r.from = i;
        r.n++;
        r.bytes = sum;
    }
    return r;
}

/* Does each block of a run overlap another one of it? */
static bool
all_overlap(const planner_t *p, const run_t *r)
{
    for (size_t i = r->from; i < r->from + r->n; i++) {
        bool found = false;

        for (size_t k = r->from; !found && k < r->from + r->n; k++) {
            found = k != i && overlap(block_of(p, i), block_of(p, k));
        }
        if (!found) {
            return false;
        }
    }
    return true;
}

static bool
is_good(const planner_t *p, const group_t *g, const run_t *r,
        const rule_t *rule)
{
    uint64_t largest = 0, sum = 0;

    if (r->n < rule->n_min || (g->wide && !all_overlap(p, r))) {
        return false;
    }
    for (size_t i = r->from; i < r->from + r->n; i++) {
        uint64_t cost = size_of(block_of(p, i));

        cost = cost < rule->least ? rule->least : cost;
        largest = cost > largest ? cost : largest;
        sum = sum + cost < sum ? UINT64_MAX : sum + cost;
    }
    return rule->ratio == 0
           || largest <= (unsigned __int128) (sum - largest) * rule->ratio;
}

/* Does a do away with more blocks for its bytes than b? */
static bool
is_better(const run_t *a, const run_t *b)
{

    if (a->late != b->late) {
        return !a->late;
    }
    return (unsigned __int128) (a->n - 1) * (b->bytes + COST_BUSY * b->n)
           > (unsigned __int128) (b->n - 1) * (a->bytes + COST_BUSY * a->n);
}

/* The best run of g under a rule; n is 0 when there is none. */
static run_t
best_run(planner_t *p, const group_t *g, const rule_t *rule)
{
    run_t best = {.n = 0};

    for (size_t end = g->to; end > g->from;) {
        run_t r;

        while (end > g->from && is_tie(p, g, end - 1)) {
            end--;
        }
        r = run_before(p, g, end, rule);
        if (is_good(p, g, &r, rule) && (best.n == 0 || is_better(&r, &best))) {
            best = r;
        }
        end = r.n > 1 ? r.from : end - (end > g->from);
    }
    return best;
}

/* The best run of a group, or one of no blocks. */
static run_t
run_of(planner_t *p, const group_t *g)
{
    rule_t rule = {.n_min = NLT_COMPACT_RUN_MIN,
                   .n_max = NLT_COMPACT_BLOCKS_MAX,
                   .ratio = NLT_COMPACT_TIER,
                   .least = COST_BUSY};
    run_t r = {.n = 0};
    uint32_t tiers = 0;

    for (size_t i = g->from; i < g->to; i++) {
        tiers |= UINT32_C(1) << p->v[i].tier;
    }
    for (unsigned t = 0; r.n == 0 && t < TIERS; t++) {
        if (tiers >> t & 1) {
            rule.tier_max = t;
            r = best_run(p, g, &rule);
        }
    }
    if (r.n == 0 && g->to - g->from > NLT_COMPACT_GROUP_MAX) {
        rule = (rule_t){TIERS, 2, FORCED_MAX, 0, 0};
        r = best_run(p, g, &rule);
    }
    if (r.n == 0 && g->over && g->quiet) {
        rule.n_min = 2;
        rule.n_max = NLT_COMPACT_BLOCKS_MAX;
        rule.ratio = NLT_COMPACT_QUIET_TIER;
        rule.least = COST_QUIET;
        for (unsigned t = TIERS; r.n == 0 && t-- > 0;) {
            if (tiers >> t & 1) {
                rule.tier_max = t;
                r = best_run(p, g, &rule);
            }
        }
        r.late = true;
    }
    return r;
}

/* ---- plans ---- */

static bool
run_less(const run_t *a, const run_t *b, const void *ctx)
{
    (void) ctx;
    return is_better(a, b);
}

NLT_HEAP_SORT(sort_runs, run_t, run_less);

/* Describes the blocks in out->idx. */
static void
describe(const nlt_manifest_t *m, nlt_compact_plan_t *out)
{
    nlt_manifest_block_t hull = m->blocks[out->idx[0]];
    bool overlaps = false;

    out->bytes = 0;
    for (size_t k = 0; k < out->n; k++) {
        const nlt_manifest_block_t *b = &m->blocks[out->idx[k]];

        for (size_t j = 0; j < k; j++) {
            overlaps |= overlap(b, &m->blocks[out->idx[j]]);
        }
        hull.t_min_ms = nlt_min_i64(hull.t_min_ms, b->t_min_ms);
        hull.t_end_ms = nlt_max_i64(hull.t_end_ms, b->t_end_ms);
        out->bytes += size_of(b);
    }
    out->t_min_ms = hull.t_min_ms;
    out->level = home_of(&hull);
    out->level = out->level < 2        ? 2
                 : out->level > LEVELS ? LEVELS
                                       : out->level;
    if (out->why == NLT_COMPACT_NONE) {
        out->why = overlaps ? NLT_COMPACT_OVERLAP : NLT_COMPACT_LEVEL;
    }
}

/*
 * Block i is to be rewritten; blocks that begin like it in the same arena and
 * stand after it go with it.  False: not now.
 */
static bool
rewrite(planner_t *p, size_t i, uint64_t growth, nlt_compact_plan_t *out)
{
    const nlt_manifest_t *m = p->m;
    uint64_t bytes = 0;

    out->n = 0;
    for (size_t k = i;
         k < m->n_blocks && m->blocks[k].arena == m->blocks[i].arena
         && m->blocks[k].t_min_ms == m->blocks[i].t_min_ms;
         k++) {
        if ((p->in->skip != NULL && p->in->skip[k])
            || out->n == NLT_COMPACT_BLOCKS_MAX
            || (k > i
                && (m->blocks[k].n_histograms > 0
                    || m->blocks[i].n_histograms > 0))) {
            return false;
        }
        out->idx[out->n++] = k;
        bytes += size_of(&m->blocks[k]);
    }
    if (!nlt_compact_keeps_order(m, out->idx, out->n, p->in->now_ms)) {
        return false;
    }
    if (bytes > p->in->free_bytes / growth) {
        p->starved = true;
        return false;
    }
    return true;
}

/* The first dirty block that can be rewritten. */
static void
plan_deletes(planner_t *p, nlt_compact_plan_t *out)
{
    for (size_t i = 0; i < p->m->n_blocks; i++) {
        if (p->in->dirty[i] && rewrite(p, i, 1, out)) {
            out->why = NLT_COMPACT_DELETES;
            describe(p->m, out);
            return;
        }
    }
    out->n = 0;
}

static bool
has_other_format(const planner_t *p, size_t i)
{
    const nlt_manifest_block_t *b = &p->m->blocks[i];

    return (b->dense != 0) != p->in->dense && b->n_samples > b->n_histograms;
}

/* Does block i of the other format go before block k?  The smaller does. */
static bool
format_before(const planner_t *p, size_t i, size_t k)
{
    uint64_t a = size_of(&p->m->blocks[i]), b = size_of(&p->m->blocks[k]);

    return a != b ? a < b : i < k;
}

/* The smallest block of the other format that can be rewritten. */
static void
plan_format(planner_t *p, nlt_compact_plan_t *out)
{
    const size_t n = p->m->n_blocks;
    size_t last = n;

    for (unsigned tries = 0; tries < TRIES; tries++) {
        size_t next = n;

        for (size_t i = 0; i < n; i++) {
            if (has_other_format(p, i)
                && (last == n || format_before(p, last, i))
                && (next == n || format_before(p, i, next))) {
                next = i;
            }
        }
        if (next == n) {
            break;
        }
        if (rewrite(p, next, p->in->dense ? 1 : DENSE_GROWTH, out)) {
            out->why = NLT_COMPACT_FORMAT;
            describe(p->m, out);
            return;
        }
        last = next;
    }
    out->n = 0;
}

static void
plan_runs(planner_t *p, nlt_compact_plan_t *out)
{
    for (size_t i = 0; i < p->n;) {
        group_t g = group_at(p, i);

        if (g.to - g.from > 1) {
            cut_group(p, &g);
            p->runs[p->n_runs] = run_of(p, &g);
            p->n_runs += p->runs[p->n_runs].n > 0;
        }
        i = g.to;
    }
    sort_runs(p->runs, p->n_runs, NULL);
    for (size_t i = 0; i < p->n_runs && i < TRIES; i++) {
        out->n = p->runs[i].n;
        for (size_t k = 0; k < out->n; k++) {
            out->idx[k] = p->v[p->runs[i].from + k].idx;
        }
        if (nlt_compact_keeps_order(p->m, out->idx, out->n, p->in->now_ms)) {
            describe(p->m, out);
            return;
        }
    }
    out->n = 0;
}

nlt_rc_t
nlt_compact_plan(const nlt_manifest_t *m, const nlt_compact_in_t *in,
                 nlt_pool_t *pool, nlt_compact_plan_t *out)
{
    planner_t p = {.m = m,
                   .in = in,
                   .n = m->n_blocks,
                   .highest = highest_level(in->retention_ms),
                   .over_ms =
                       over_before(nlt_min_i64(in->now_ms, in->newest_ms))};

    *out = (nlt_compact_plan_t){.why = NLT_COMPACT_NONE};
    p.v = nlt_pool_array(pool, p.n, sizeof(*p.v));
    p.by_time = nlt_pool_array(pool, p.n, sizeof(*p.by_time));
    p.runs = nlt_pool_array(pool, p.n / 2 + 1, sizeof(*p.runs));
    if (p.v == NULL || p.by_time == NULL || p.runs == NULL) {
        return NLT_ENOMEM;
    }
    if (in->dirty != NULL) {
        plan_deletes(&p, out);
    }
    if (out->why == NLT_COMPACT_NONE) {
        for (size_t i = 0; i < p.n; i++) {
            p.v[i] = item_of(&p, i);
            p.by_time[i] = (uint32_t) i;
        }
        sort_items(p.v, p.n, NULL);
        sort_times(p.by_time, p.n, m);
        plan_runs(&p, out);
    }
    if (out->why == NLT_COMPACT_NONE && in->convert) {
        plan_format(&p, out);
    }
    out->starved = out->why == NLT_COMPACT_NONE && p.starved;
    return NLT_OK;
}

/* ---- what must go ---- */

size_t
nlt_compact_oldest(const nlt_manifest_t *m, int64_t keep_ms, uint64_t over,
                   size_t *idx, size_t cap)
{
    uint64_t freed = 0;
    size_t n = 0;

    while (n < cap && freed < over) {
        size_t best = m->n_blocks;

        /* The next after idx[n - 1], by end and then by index. */
        for (size_t i = 0; i < m->n_blocks; i++) {
            const nlt_manifest_block_t *b = &m->blocks[i];
            const nlt_manifest_block_t *last =
                n > 0 ? &m->blocks[idx[n - 1]] : NULL;

            if (b->t_end_ms > keep_ms
                || (last != NULL
                    && (b->t_end_ms < last->t_end_ms
                        || (b->t_end_ms == last->t_end_ms
                            && i <= idx[n - 1])))) {
                continue;
            }
            if (best == m->n_blocks
                || b->t_end_ms < m->blocks[best].t_end_ms) {
                best = i;
            }
        }
        if (best == m->n_blocks) {
            break;
        }
        freed += size_of(&m->blocks[best]);
        idx[n++] = best;
    }
    return n;
}
