/*
 * nlt_ingest_v2.c - remote_write 2.0: symbols, series and their keys,
 * labels.
 *
 * A known series is mostly the next one in the arena, and is seen to be it by
 * the numbers of its pairs (nlt_head_match.h).  Others are found by a key.
 *
 * The key of a series is made of the keyed 128-bit hashes of its symbols, not
 * of their numbers, which the next request may change.  With (a, b) the hash
 * of the symbol that reference i names, and (c, d) a random pair of the store
 * for place i,
 *
 *     key = sum over i of (a + c) * (b + d)   modulo 2^128, then mixed
 *
 * This is the NH construction: for two lists of hashes that differ, however
 * chosen, the sums are equal for one in 2^64 choices of the pairs, which come
 * from the store's secret; and who sends symbols does not even know their
 * hashes, so it takes luck of about one in 2^128.  The place matters, so that
 * {a="b", b="a"} is not {a="a", b="b"}; so does the number of references.
 * Hashing the list of hashes instead would say the same and costs four times
 * as much.
 */
#include "nlt_ingest_v2.h"
#include "nlt_rw_side.h"

/* Fields of the top level that are scanned before their symbols are hashed. */
#define SCAN_RUN 512

/* Scanned fields that cost as much as a sample. */
#define FIELDS_PER_SAMPLE 8

/* Keys of 2.0 are others than those of 1.0, and hashes of places others than
 * those of symbols, whatever the bytes. */
#define VERSION_LO UINT64_C(0x9e3779b97f4a7c15)
#define VERSION_HI UINT64_C(0xc2b2ae3d27d4eb4f)
#define PLACES_LO  UINT64_C(0x165667b19e3779f9)
#define PLACES_HI  UINT64_C(0x27d4eb2f165667c5)

/* References that a message shows. */
#define SHOWN_REFS 32

/* ---- symbols ---- */

/* Room for more symbols than there are. */
static nlt_rc_t
more_symbols(nlt_ingest_req_t *r)
{
    nlt_ingest_scratch_t *s = r->s;
    size_t cap = s->symbols_cap, used = r->scan.n;
    void *p;

    if (used == NLT_RW2_SYMBOLS_MAX) {
        return nlt_ingest_refuse(r, 400, NLT_ELIMIT, NULL,
                                 "more than %u symbols", NLT_RW2_SYMBOLS_MAX);
    }
    p = s->symbol_v;
    if (!nlt_ingest_grow(r->in, &p, &cap, used, used + 1,
                         sizeof(*s->symbol_v))) {
        return nlt_ingest_refuse(r, 503, NLT_ENOMEM, NULL, "out of memory");
    }
    s->symbol_v = p;
    p = s->known;
    if (!nlt_ingest_grow(r->in, &p, &s->symbols_cap, used, used + 1,
                         sizeof(*s->known))) {
        /* Both have one capacity: the smaller one stays true for neither. */
        nlt_mem_free(r->in->env->mem, s->symbol_v, cap * sizeof(*s->symbol_v));
        nlt_mem_free(r->in->env->mem, s->known,
                     s->symbols_cap * sizeof(*s->known));
        s->symbol_v = NULL;
        s->known = NULL;
        s->symbols_cap = 0;
        return nlt_ingest_refuse(r, 503, NLT_ENOMEM, NULL, "out of memory");
    }
    s->known = p;
    r->scan.v = s->symbol_v;
    r->scan.cap = (uint32_t) s->symbols_cap;
    return NLT_OK;
}

/* Random pairs for the places [0, n) of references. */
static void
make_places(const nlt_head_ctl_t *ctl, nlt_hash128_t *places, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t place = i;

        places[i] = nlt_head_key(ctl, 0, &place, sizeof(place));
        places[i].lo ^= PLACES_LO;
        places[i].hi ^= PLACES_HI;
    }
}

/* Room for the references of one series. */
static bool
refs_room(nlt_ingest_req_t *r)
{
    nlt_ingest_scratch_t *s = r->s;
    size_t need = 2 * (size_t) r->conf.labels.labels_max, cap = s->refs_cap;
    void *p = s->refs;

    if (need <= s->refs_cap) {
        return true;
    }
    if (!nlt_ingest_grow(r->in, &p, &cap, 0, need, sizeof(*s->refs))) {
        return false;
    }
    s->refs = p;
    p = s->places;
    if (!nlt_ingest_grow(r->in, &p, &s->refs_cap, 0, need,
                         sizeof(*s->places))) {
        nlt_mem_free(r->in->env->mem, s->refs, cap * sizeof(*s->refs));
        nlt_mem_free(r->in->env->mem, s->places,
                     s->refs_cap * sizeof(*s->places));
        s->refs = NULL;
        s->places = NULL;
        s->refs_cap = 0;
        return false;
    }
    s->places = p;
    make_places(r->in->ctl, s->places, s->refs_cap);
    return true;
}

nlt_rc_t
nlt_ingest_scan(nlt_ingest_req_t *r)
{
    nlt_ingest_scratch_t *s = r->s;
    uint32_t from;
    nlt_err_t err;
    nlt_rc_t rc;

    if (!refs_room(r)) {
        return nlt_ingest_refuse(r, 503, NLT_ENOMEM, NULL, "out of memory");
    }
    r->scan.v = s->symbol_v;
    r->scan.cap = (uint32_t) s->symbols_cap;
    do {
        from = r->scan.n;
        rc = nlt_rw2_scan(&r->scan, SCAN_RUN, &err);
        if (rc == NLT_EINVAL) {
            return nlt_ingest_refuse(r, 400, rc, NULL, "%s", err.text);
        }
        if (r->scan.n != from) {
            memset(s->known + from, 0, (r->scan.n - from) * sizeof(*s->known));
        }
        r->budget -= SCAN_RUN / FIELDS_PER_SAMPLE;
        if (rc == NLT_EFULL) {
            rc = more_symbols(r);
            if (rc != NLT_OK) {
                return rc;
            }
            rc = NLT_AGAIN;
        }
    } while (rc == NLT_AGAIN && r->budget > 0);
    s->symbols = (nlt_rw2_symbols_t){(const char *) r->scan.base, s->symbol_v,
                                     r->scan.n};
    return rc;
}

/* ---- series ---- */

/* The keyed hash of a symbol, made when it is asked for first. */
static inline const nlt_hash128_t *
symbol_key(nlt_ingest_req_t *r, uint32_t ref)
{
    nlt_ingest_scratch_t *s = r->s;
    nlt_hash128_t *key = &s->known[ref].key;

    if (nlt_unlikely((key->lo | key->hi) == 0)) {
        nlt_str_t text = nlt_rw2_symbol(&s->symbols, ref);

        *key = nlt_head_key(r->in->ctl, r->conf.tenant, text.data, text.len);
    }
    return key;
}

/* false: references are odd, too many, or not in the table. */
static bool
key_of(nlt_ingest_req_t *r, const nlt_rw2_series_t *series, nlt_hash128_t *key)
{
    nlt_ingest_scratch_t *s = r->s;
    uint32_t n = series->n_refs, n_symbols = s->symbols.n;
    unsigned __int128 sum = 0;

    if (nlt_unlikely(n > s->refs_cap || n % 2 != 0)) {
        return false;
    }
    for (uint32_t i = 0; i < n; i++) {
        const nlt_hash128_t *symbol, *place = &s->places[i];
        uint32_t ref = s->refs[i];

        if (nlt_unlikely(ref >= n_symbols)) {
            return false;
        }
        symbol = symbol_key(r, ref);
        sum += (unsigned __int128) (symbol->lo + place->lo)
               * (symbol->hi + place->hi);
    }
    key->lo = nlt_mix64((uint64_t) sum ^ VERSION_LO);
    key->hi = nlt_mix64((uint64_t) (sum >> 64) ^ VERSION_HI ^ n);
    if (r->conf.tenant) {
        key->lo ^= nlt_mix64(r->conf.tenant);
        key->hi ^= nlt_mix64(~(uint64_t) r->conf.tenant);
    }
    key->lo ^= r->seed.lo;
    key->hi ^= r->seed.hi;
    return true;
}

/* Hash of the metadata of a series, 0 if it has none. */
static inline uint32_t
metadata_of(nlt_ingest_req_t *r, const nlt_rw2_series_t *series)
{
    uint64_t h;

    if ((series->meta_type | series->help_ref | series->unit_ref) == 0) {
        return 0;
    }
    h = symbol_key(r, series->help_ref)->lo
        + 3 * symbol_key(r, series->unit_ref)->lo
        + series->meta_type * VERSION_LO;
    return ((uint32_t) (h >> 32) & NLT_INGEST_META_MASK) | 1;
}

void
nlt_ingest_symbols_of(nlt_ingest_req_t *r, const nlt_arena_t *a)
{
    if (nlt_unlikely(r->known_no != nlt_arena_no(a))) {
        nlt_head_symbols_forget(r->s->known, r->s->symbols.n);
        r->known_no = nlt_arena_no(a);
    }
}

/*
 * The number of a series that comes where it is expected, or 0.  All its
 * samples go into the batch: the rest of one that does not fit would have to
 * be found again by its key, perhaps in another arena.
 */
static inline uint32_t
follower(nlt_ingest_req_t *r, const nlt_arena_t *a,
         const nlt_rw2_series_t *series)
{
    nlt_ingest_scratch_t *s = r->s;
    uint32_t no;

    if (nlt_unlikely(series->n_refs > s->refs_cap
                     || series->s.n_samples
                            > NLT_INGEST_BATCH - s->n_samples)) {
        return 0;
    }
    for (uint32_t i = 1; i <= NLT_INGEST_NEXT_MAX; i++) {
        no = r->found + i;
        if (nlt_likely(nlt_arena_is_by_refs(a, no, r->conf.tenant, &s->symbols,
                                            s->known, s->refs,
                                            series->n_refs))) {
            nlt_arena_prefetch_behind(a, no);
            return no;
        }
    }
    return 0;
}

nlt_rc_t
nlt_ingest_next2(nlt_ingest_req_t *r, const nlt_arena_t *a, nlt_err_t *err)
{
    nlt_ingest_cursor_t *c = &r->at;
    nlt_rw2_series_t *series = &c->series;
    uint32_t n_symbols = r->s->symbols.n;
    nlt_rc_t rc = nlt_rw2_walk_next(&c->walk2, series, err);

    if (nlt_unlikely(rc != NLT_OK)) {
        return rc;
    }
    c->no = 0;
    c->key = (nlt_hash128_t){0, 0};
    if (nlt_unlikely(series->help_ref >= n_symbols
                     || series->unit_ref >= n_symbols)) {
        c->side = NLT_INGEST_BAD_REFS;
        return NLT_OK;
    }
    c->side = metadata_of(r, series);
    if (nlt_likely(nlt_ingest_is_in_order(r))) {
        c->no = follower(r, a, series);
        if (nlt_likely(c->no != 0)) {
            r->found = c->no;
            r->astray -= r->astray > 0;
            return NLT_OK;
        }
    }
    if (nlt_unlikely(!key_of(r, series, &c->key))) {
        c->side = NLT_INGEST_BAD_REFS;
        return NLT_OK;
    }
    if (nlt_ingest_is_in_order(r)) {
        /* At once, or all of its group would be astray as well. */
        uint32_t no = nlt_arena_find(a, c->key);

        r->found = no ? no : r->found;
        r->astray++;
    }
    return NLT_OK;
}

/* ---- labels ---- */

/* The series of an entry; its references are in s->refs then. */
static nlt_rc_t
parse(nlt_ingest_req_t *r, const nlt_ingest_series_t *e,
      nlt_rw2_series_t *series, nlt_err_t *err)
{
    return nlt_rw2_series_parse((nlt_str_t){e->body_len, e->body}, r->s->refs,
                                (uint32_t) r->s->refs_cap, series, err);
}

nlt_rw_labels_t
nlt_ingest_labels2(nlt_ingest_req_t *r, const nlt_ingest_series_t *e,
                   size_t *n, nlt_err_t *err)
{
    nlt_ingest_scratch_t *s = r->s;
    nlt_rw2_series_t series;

    *n = 0;
    if (parse(r, e, &series, err) != NLT_OK) {
        return NLT_RW_LABELS_BROKEN;
    }
    if (series.s.n_labels > r->conf.labels.labels_max) {
        (void) nlt_err_set(err, NLT_ELIMIT,
                           "%u labels, limit is %u "
                           "(nightlight_max_labels)",
                           series.s.n_labels, r->conf.labels.labels_max);
        return NLT_RW_LABELS_LIMIT;
    }
    if (nlt_rw2_labels(&s->symbols, s->refs, series.n_refs, s->labels, n, err)
        != NLT_OK) {
        return NLT_RW_LABELS_BROKEN;
    }
    return nlt_rw_labels_check(&r->conf.labels, s->labels, n, err);
}

size_t
nlt_ingest_peek2(nlt_ingest_req_t *r, const nlt_ingest_series_t *e,
                 nlt_label_t *out, size_t max, bool *cut)
{
    nlt_ingest_scratch_t *s = r->s;
    nlt_rw2_series_t series;
    nlt_rc_t rc;
    size_t n;

    if (parse(r, e, &series, NULL) != NLT_OK) {
        return 0;
    }
    n = series.n_refs - series.n_refs % 2;
    n = n < s->refs_cap ? n : s->refs_cap - s->refs_cap % 2;
    n = n < 2 * max ? n : 2 * max;
    *cut = n < series.n_refs;
    /* Those before one that is bad are there too. */
    rc = nlt_rw2_labels(&s->symbols, s->refs, n, out, &n, NULL);
    *cut |= rc != NLT_OK;
    return n;
}

/* References as Go prints a list of numbers. */
static void
print_refs(const nlt_ingest_scratch_t *s, uint32_t n, nlt_buf_t *b)
{
    uint32_t shown = n < SHOWN_REFS ? n : SHOWN_REFS;

    shown = shown < s->refs_cap ? shown : (uint32_t) s->refs_cap;
    nlt_buf_add_byte(b, '[');
    for (uint32_t i = 0; i < shown; i++) {
        nlt_buf_addf(b, "%s%u", i ? " " : "", s->refs[i]);
    }
    nlt_buf_add_c(b, shown < n ? "...]" : "]");
}

nlt_rc_t
nlt_ingest_fault_refs(nlt_ingest_req_t *r, const nlt_ingest_series_t *e)
{
    nlt_ingest_scratch_t *s = r->s;
    const char *what = "labels";
    nlt_rw2_series_t series;
    nlt_rw_labels_t verdict;
    nlt_rw_metadata_t md;
    nlt_err_t err;
    nlt_buf_t refs;
    nlt_rc_t rc;
    size_t n;

    if (r->at.found.n_untold) {
        return nlt_ingest_fault(r, NLT_EINVAL, NULL, "not told");
    }
    if (!nlt_ingest_label_room(r->in, s, r->conf.labels.labels_max)) {
        return nlt_ingest_refuse(r, 503, NLT_ENOMEM, NULL, "out of memory");
    }
    verdict = nlt_ingest_labels2(r, e, &n, &err);
    if (verdict == NLT_RW_LABELS_LIMIT) {
        return nlt_ingest_fault(r, NLT_ELIMIT, e, "%s", err.text);
    }
    rc = parse(r, e, &series, verdict == NLT_RW_LABELS_BROKEN ? NULL : &err);
    if (rc == NLT_OK && verdict != NLT_RW_LABELS_BROKEN
        && nlt_rw2_metadata(&s->symbols, &series, &md, &err) != NLT_OK) {
        what = "metadata";
    }
    nlt_buf_init(&refs, r->in->env->mem, 1024);
    print_refs(s, series.n_refs, &refs);
    rc =
        nlt_ingest_fault(r, NLT_EINVAL, NULL, "parsing %s for series %.*s: %s",
                         what, NLT_FMT(nlt_buf_str(&refs)), err.text);
    nlt_buf_deinit(&refs);
    return rc;
}
