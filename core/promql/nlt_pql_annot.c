/*
 * nlt_pql_annot.c - notes by text, in a small chained table.
 */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "nlt_hash.h"
#include "nlt_num.h"
#include "nlt_pql_annot.h"
#include "nlt_pql_lex.h"
#include "nlt_time.h"

/* Queries with more distinct notes than some hundreds only get slower. */
#define BUCKETS 256

/* Notes shown of each level, as in Prometheus. */
#define SHOWN_MAX 10

#define MONOTONIC                                                             \
    "input to histogram_quantile needed to be fixed for monotonicity (see "   \
    "https://prometheus.io/docs/prometheus/latest/querying/functions/"        \
    "#histogram_quantile)"

/* What monotonic notes of one name have in common. */
typedef struct {
    double bucket_min;
    double bucket_max;
    double max_diff;
    uint64_t n_samples;
    int64_t t_min_ms;
    int64_t t_max_ms;
} monotonic_t;

struct nlt_pql_note_s {
    nlt_pql_note_t *next;      /* in order */
    nlt_pql_note_t *same_hash; /* in its bucket */
    nlt_str_t text;            /* the key; of a monotonic note the name */
    monotonic_t *monotonic;    /* NULL: text is the whole text */
    nlt_pql_level_t level;
    nlt_pql_place_t place;
};

void
nlt_pql_annots_init(nlt_pql_annots_t *a, nlt_pool_t *pool)
{
    *a = (nlt_pql_annots_t){.pool = pool};
}

/* Links a new note in; NULL when the pool is exhausted. */
static nlt_pql_note_t *
add_new(nlt_pql_annots_t *a, nlt_pql_note_t **bucket, nlt_pql_level_t level,
        nlt_str_t text, bool monotonic)
{
    nlt_pql_note_t *note = nlt_pool_zalloc(a->pool, sizeof(*note));

    if (note == NULL) {
        return NULL;
    }
    note->level = level;
    note->text = nlt_pool_str(a->pool, text);
    if (text.len > 0 && note->text.data == NULL) {
        return NULL;
    }
    if (monotonic) {
        note->monotonic = nlt_pool_zalloc(a->pool, sizeof(monotonic_t));
        if (note->monotonic == NULL) {
            return NULL;
        }
    }
    note->same_hash = *bucket;
    *bucket = note;
    if (a->last != NULL) {
        a->last->next = note;
    } else {
        a->notes = note;
    }
    a->last = note;
    a->n++;
    return note;
}

/* The note of this text, made if need be; NULL (and failed) without memory.
 * A new monotonic note has n_samples 0. */
static nlt_pql_note_t *
find_or_add(nlt_pql_annots_t *a, nlt_pql_level_t level, nlt_str_t text,
            bool monotonic)
{
    uint64_t hash = nlt_hash64(text.data, text.len, level);

    if (a->buckets == NULL) {
        a->buckets = nlt_pool_zalloc(a->pool, BUCKETS * sizeof(*a->buckets));
        if (a->buckets == NULL) {
            a->failed = true;
            return NULL;
        }
    }
    nlt_pql_note_t **bucket = &a->buckets[hash % BUCKETS];

    for (nlt_pql_note_t *n = *bucket; n != NULL; n = n->same_hash) {
        if (n->level == level && (n->monotonic != NULL) == monotonic
            && nlt_str_eq(n->text, text)) {
            return n;
        }
    }
    nlt_pql_note_t *note = add_new(a, bucket, level, text, monotonic);

    a->failed = a->failed || note == NULL;
    return note;
}

static void
move(nlt_pql_note_t *note, nlt_pql_place_t place)
{
    if (place.rank >= note->place.rank) {
        note->place = place;
    }
}

void
nlt_pql_annots_add(nlt_pql_annots_t *a, nlt_pql_level_t level,
                   nlt_pql_place_t place, const char *fmt, ...)
{
    char text[NLT_ERR_TEXT_MAX];
    va_list args;

    va_start(args, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (n < 0) {
        return;
    }
    size_t len = strnlen(text, sizeof(text));
    nlt_pql_note_t *note =
        find_or_add(a, level, (nlt_str_t){len, text}, false);

    if (note != NULL) {
        move(note, place);
    }
}

void
nlt_pql_annots_monotonic(nlt_pql_annots_t *a, nlt_pql_place_t place,
                         nlt_str_t name, double bucket_min, double bucket_max,
                         double max_diff, int64_t t_ms)
{
    nlt_pql_note_t *note = find_or_add(a, NLT_PQL_INFO, name, true);

    if (note == NULL) {
        return;
    }
    monotonic_t *m = note->monotonic;

    move(note, place);
    if (m->n_samples++ == 0) {
        m->bucket_min = bucket_min;
        m->bucket_max = bucket_max;
        m->max_diff = max_diff;
        m->t_min_ms = m->t_max_ms = t_ms;
        return;
    }
    m->bucket_min = fmin(m->bucket_min, bucket_min);
    m->bucket_max = fmax(m->bucket_max, bucket_max);
    m->max_diff = fmax(m->max_diff, max_diff);
    m->t_min_ms = nlt_min_i64(m->t_min_ms, t_ms);
    m->t_max_ms = nlt_max_i64(m->t_max_ms, t_ms);
}

const nlt_pql_note_t *
nlt_pql_annots_take(nlt_pql_annots_t *to, const nlt_pql_annots_t *from,
                    const nlt_pql_note_t *after)
{
    const nlt_pql_note_t *next = after != NULL ? after->next : from->notes;
    nlt_pql_note_t *note;

    if (next != NULL) {
        note = find_or_add(to, next->level, next->text, false);
        if (note != NULL) {
            move(note, next->place);
        }
    }
    return next;
}

/* ---- rendering ---- */

static void
print_g(nlt_buf_t *b, double v)
{
    char text[NLT_NUM_TEXT_MAX];

    nlt_buf_add(b, text, nlt_num_g(text, v));
}

static void
print_monotonic(nlt_buf_t *b, const nlt_pql_note_t *note)
{
    const monotonic_t *m = note->monotonic;
    char time[40];

    nlt_buf_add_c(b, MONOTONIC);
    if (note->text.len > 0) {
        nlt_buf_add_c(b, " for metric name ");
        nlt_utf8_quote(b, note->text);
    }
    nlt_buf_add_c(b, ", from buckets ");
    print_g(b, m->bucket_min);
    nlt_buf_add_c(b, " to ");
    print_g(b, m->bucket_max);
    nlt_buf_add_c(b, ", with a max diff of ");
    if (isfinite(m->max_diff)) {
        nlt_buf_addf(b, "%.2g", m->max_diff);
    } else {
        print_g(b, m->max_diff);
    }
    nlt_buf_add_c(b, ", over ");
    nlt_buf_add_u64(b, m->n_samples);
    nlt_buf_add_c(b, " samples from ");
    nlt_buf_add(b, time, nlt_time_print_rfc3339(time, m->t_min_ms));
    nlt_buf_add_c(b, " to ");
    nlt_buf_add(b, time, nlt_time_print_rfc3339(time, m->t_max_ms));
}

static void
print_position(nlt_buf_t *b, nlt_str_t query, int32_t pos)
{
    size_t line, column;

    if (query.len == 0 || pos < 0) {
        return;
    }
    if ((size_t) pos > query.len) {
        nlt_buf_add_c(b, " (invalid position)");
        return;
    }
    nlt_pql_position(query, (size_t) pos, &line, &column);
    nlt_buf_addf(b, " (%zu:%zu)", line, column);
}

/* Appends one text to the list that *tail is the end of. */
static bool
append(nlt_pool_t *pool, nlt_annot_t ***tail, size_t *n, nlt_buf_t *b)
{
    nlt_annot_t *annot = nlt_pool_zalloc(pool, sizeof(*annot));

    if (annot == NULL || b->rc != NLT_OK) {
        return false;
    }
    annot->text = nlt_pool_str(pool, nlt_buf_str(b));
    if (annot->text.data == NULL) {
        return false;
    }
    **tail = annot;
    *tail = &annot->next;
    (*n)++;
    nlt_buf_reset(b);
    return true;
}

/* The texts of one level, in order, and how many were too many. */
static bool
render_level(const nlt_pql_annots_t *a, nlt_pql_level_t level, nlt_str_t query,
             nlt_buf_t *b, nlt_annot_t **out, size_t *n)
{
    const char *word = level == NLT_PQL_WARNING ? "warning" : "info";
    size_t omitted = 0;

    for (const nlt_pql_note_t *note = a->notes; note; note = note->next) {
        if (note->level != level) {
            continue;
        }
        if (*n == SHOWN_MAX) {
            omitted++;
            continue;
        }
        nlt_buf_addf(b, "PromQL %s: ", word);
        if (note->monotonic != NULL) {
            print_monotonic(b, note);
        } else {
            nlt_buf_add_str(b, note->text);
        }
        print_position(b, query, note->place.pos);
        if (!append(a->pool, &out, n, b)) {
            return false;
        }
    }
    if (omitted == 0) {
        return true;
    }
    nlt_buf_addf(b, "%zu more %s annotations omitted", omitted, word);
    return append(a->pool, &out, n, b);
}

nlt_rc_t
nlt_pql_annots_render(nlt_pql_annots_t *a, nlt_str_t query, nlt_annots_t *out)
{
    nlt_buf_t b;
    bool ok;

    *out = (nlt_annots_t){0};
    nlt_buf_init(&b, a->pool->mem, 64 * NLT_ERR_TEXT_MAX);
    ok = render_level(a, NLT_PQL_WARNING, query, &b, &out->warnings,
                      &out->n_warnings)
         && render_level(a, NLT_PQL_INFO, query, &b, &out->infos,
                         &out->n_infos);
    nlt_buf_deinit(&b);
    return ok ? NLT_OK : NLT_ENOMEM;
}
