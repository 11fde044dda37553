/*
 * nlt_ingest_side.c - exemplars and metadata of requests.
 */
#include "nlt_ingest_side.h"

#include "nlt_head_side.h"

/* Gathered records are logged when there is more than this. */
#define PENDING_BYTES (256u << 10)
#define PENDING_MAX   (PENDING_BYTES + 2 * NLT_METADATA_ENCODED_MAX + 4096)

/* Series whose metadata is remembered; a power of 2. */
#define SAID_N 65536u

/* Bits for the names of families that are gathered; a power of 2. */
#define NAMES_N 4096u

/* Labels of a series, while its exemplar is put. */
#define POOL_MAX (4u << 20)

/* How a gathered record begins; its texts follow. */
typedef struct {
    uint32_t kind; /* nlt_wal_type_t */
    uint32_t series;
    uint32_t type;
    uint32_t len[3];
    int64_t t_ms;
    uint64_t v_bits;
} record_t;

struct nlt_ingest_side_s {
    nlt_arena_t *a;
    uint32_t tenant;
    int64_t now_ms;
    nlt_buf_t pending;    /* record_t and texts, one after another */
    int64_t said_last_ms; /* time of the metadata gathered last, ever */
    size_t last; /* where the last metadata lies in it; SIZE_MAX: none */
    uint64_t names[NAMES_N / 64]; /* of families in it, by their hash */
    nlt_rc_t rc;                  /* of what had to be logged before the end */
    nlt_err_t err;
    bool wrote;
    nlt_pool_t pool;
    nlt_buf_t work;
    /* (series << 32 | hash) at series % SAID_N, of arena said_no */
    uint64_t *said;
    uint64_t said_no;
    int64_t said_ms;      /* since when */
    uint32_t said_resets; /* of the stash, then */
};

static nlt_ingest_side_t *
side_create(nlt_ingest_t *in)
{
    const nlt_mem_t *mem = in->env->mem;
    nlt_ingest_side_t *side = nlt_mem_zalloc(mem, sizeof(*side));

    if (side == NULL) {
        return NULL;
    }
    side->said = nlt_mem_zalloc(mem, SAID_N * sizeof(*side->said));
    if (side->said == NULL) {
        nlt_mem_free(mem, side, sizeof(*side));
        return NULL;
    }
    nlt_buf_init(&side->pending, mem, PENDING_MAX);
    nlt_buf_init(&side->work, mem, NLT_SERIES_BYTES_MAX);
    nlt_pool_init(&side->pool, mem, POOL_MAX);
    return side;
}

void
nlt_ingest_side_free(nlt_ingest_t *in)
{
    const nlt_mem_t *mem = in->env->mem;
    nlt_ingest_side_t *side = in->side;

    if (side == NULL) {
        return;
    }
    in->side = NULL;
    nlt_buf_deinit(&side->pending);
    nlt_buf_deinit(&side->work);
    nlt_pool_deinit(&side->pool);
    nlt_mem_free(mem, side->said, SAID_N * sizeof(*side->said));
    nlt_mem_free(mem, side, sizeof(*side));
}

/* What series have said counts for a while, and for one arena. */
static void
forget_said(nlt_ingest_t *in, nlt_ingest_side_t *side)
{
    const nlt_stash_t *s = nlt_head_metadata(in->head);
    uint32_t resets = s ? atomic_load(&s->hdr->resets) : 0;

    if (side->said_no != nlt_arena_no(side->a) || side->said_resets != resets
        || side->now_ms - side->said_ms >= NLT_METADATA_SEEN_MS / 2
        || side->now_ms < side->said_ms) {
        memset(side->said, 0, SAID_N * sizeof(*side->said));
        side->said_no = nlt_arena_no(side->a);
        side->said_resets = resets;
        side->said_ms = side->now_ms;
    }
}

static void
forget_pending(nlt_ingest_side_t *side)
{
    nlt_buf_reset(&side->pending);
    memset(side->names, 0, sizeof(side->names));
    side->last = SIZE_MAX;
}

nlt_rc_t
nlt_ingest_side_begin(nlt_ingest_t *in, nlt_arena_t *a, uint32_t tenant)
{
    nlt_ingest_side_t *side;

    if (in->side == NULL) {
        in->side = side_create(in);
    }
    side = in->side;
    if (side == NULL) {
        return NLT_ENOMEM;
    }
    side->a = a;
    side->tenant = tenant;
    side->now_ms = nlt_now_ms(in->env);
    side->rc = NLT_OK;
    side->wrote = false;
    forget_pending(side);
    forget_said(in, side);
    return NLT_OK;
}

bool
nlt_ingest_side_said(nlt_ingest_t *in, uint32_t series, uint32_t hash)
{
    uint64_t *slot = &in->side->said[series % SAID_N];
    uint64_t is = (uint64_t) series << 32 | hash;

    if (*slot == is) {
        return true;
    }
    *slot = is;
    return false;
}

/* ---- gathered records ---- */

/* The record at *at, its texts in text[]; *at goes behind it. */
static record_t
next_record(const nlt_ingest_side_t *side, size_t *at, nlt_str_t text[3])
{
    const char *p = side->pending.data + *at;
    record_t rec;

    memcpy(&rec, p, sizeof(rec));
    p += sizeof(rec);
    for (int i = 0; i < 3; i++) {
        text[i] = (nlt_str_t){rec.len[i], p};
        p += rec.len[i];
    }
    *at = (size_t) (p - side->pending.data);
    return rec;
}

static nlt_wal_exemplar_t
as_exemplar(const record_t *rec, const nlt_str_t text[3])
{
    return (nlt_wal_exemplar_t){rec->series, rec->t_ms, rec->v_bits, text[0]};
}

static nlt_metadata_t
as_metadata(const nlt_ingest_side_t *side, const record_t *rec,
            const nlt_str_t text[3])
{
    return (nlt_metadata_t){side->tenant, rec->type, text[0], text[1],
                            text[2]};
}

static nlt_rc_t
log_pending(nlt_ingest_t *in, nlt_ingest_side_t *side, nlt_err_t *err)
{
    nlt_head_counters_t *c = &in->ctl->counters;
    nlt_str_t text[3];
    uint64_t n = 0;
    size_t bytes = 0;
    nlt_wal_t *wal;
    nlt_rc_t rc = nlt_ingest_log_open(in, side->a, err);

    if (rc != NLT_OK) {
        return rc;
    }
    wal = in->log->wal;
    nlt_ingest_log_begin(in);
    nlt_ingest_log_tenant(in, side->tenant);
    for (size_t at = 0; at < side->pending.len; n++) {
        record_t rec = next_record(side, &at, text);

        if (rec.kind == NLT_WAL_EXEMPLARS) {
            nlt_wal_exemplar_t x = as_exemplar(&rec, text);

            /* Its samples may all be in the arena before. */
            if (nlt_unlikely(!nlt_arena_series_logged(side->a, x.series))) {
                rc = nlt_ingest_log_series(in, side->a, x.series, &side->pool,
                                           &side->work, err);
                if (rc != NLT_OK) {
                    return rc;
                }
            }
            nlt_wal_add_exemplar(wal, &x);
        } else {
            nlt_wal_metadata_t m = {side->tenant, (uint8_t) rec.type,
                                    rec.t_ms,     text[0],
                                    text[1],      text[2]};

            nlt_wal_add_metadata(wal, &m);
        }
    }
    rc = nlt_wal_commit(wal, &bytes, err);
    nlt_ingest_count(&c->wal_bytes, bytes);
    if (rc != NLT_OK) {
        nlt_ingest_count(&c->wal_errors, 1);
        if (rc == NLT_EIO) {
            nlt_head_fail_log(in->ctl, nlt_arena_no(side->a));
        }
        return rc;
    }
    in->n_writes++;
    nlt_ingest_log_named(in);
    nlt_ingest_count(&c->wal_records, n);
    for (size_t at = 0; at < side->pending.len;) {
        record_t rec = next_record(side, &at, text);

        if (rec.kind == NLT_WAL_EXEMPLARS) {
            nlt_arena_series_set_logged(side->a, rec.series);
        }
    }
    side->wrote = true;
    return NLT_OK;
}

static void
put_exemplar(nlt_ingest_t *in, nlt_ingest_side_t *side,
             const nlt_wal_exemplar_t *x)
{
    nlt_head_counters_t *c = &in->ctl->counters;
    nlt_stash_t *s = nlt_head_exemplars(in->head);
    nlt_rc_t rc =
        s ? nlt_exemplars_put(s, side->a, x, &side->pool, &side->work)
          : NLT_ENOTREADY;

    if (rc == NLT_ENOTREADY && nlt_head_exemplars(in->head) != s) {
        /* It has just been replaced. */
        s = nlt_head_exemplars(in->head);
        rc = s ? nlt_exemplars_put(s, side->a, x, &side->pool, &side->work)
               : rc;
    }
    nlt_ingest_count(rc == NLT_OK     ? &c->exemplars_added
                     : rc == NLT_EDUP ? &c->exemplars_duplicate
                                      : &c->exemplars_no_room,
                     1);
}

static void
put_pending(nlt_ingest_t *in, nlt_ingest_side_t *side)
{
    nlt_head_counters_t *c = &in->ctl->counters;
    nlt_stash_t *s = nlt_head_metadata(in->head);
    nlt_str_t text[3];

    for (size_t at = 0; at < side->pending.len;) {
        record_t rec = next_record(side, &at, text);

        if (rec.kind == NLT_WAL_EXEMPLARS) {
            nlt_wal_exemplar_t x = as_exemplar(&rec, text);

            put_exemplar(in, side, &x);
        } else {
            nlt_metadata_t m = as_metadata(side, &rec, text);
            bool ok = s != NULL
                      && nlt_metadata_put(s, in->ctl->secret, &m, rec.t_ms)
                             == NLT_OK;

            nlt_ingest_count(ok ? &c->metadata_updates : &c->metadata_refused,
                             1);
        }
    }
}

/* Logs and puts what is pending. */
static void
settle(nlt_ingest_t *in, nlt_ingest_side_t *side)
{
    if (side->rc == NLT_OK && side->pending.rc != NLT_OK) {
        side->rc = nlt_err_set(&side->err, NLT_ENOMEM,
                               "exemplars and metadata: out of memory");
    }
    if (side->rc == NLT_OK && side->pending.len > 0) {
        side->rc = log_pending(in, side, &side->err);
        side->err.rc = side->rc;
    }
    if (side->rc == NLT_OK) {
        put_pending(in, side);
    }
    forget_pending(side);
}

static void
gather(nlt_ingest_t *in, record_t *rec, const nlt_str_t *text, int n)
{
    nlt_ingest_side_t *side = in->side;

    if (side->pending.len >= PENDING_BYTES) {
        settle(in, side);
    }
    for (int i = 0; i < n; i++) {
        rec->len[i] = (uint32_t) text[i].len;
    }
    nlt_buf_add(&side->pending, rec, sizeof(*rec));
    for (int i = 0; i < n; i++) {
        nlt_buf_add_str(&side->pending, text[i]);
    }
}

/* ---- exemplars ---- */

static nlt_exemplar_result_t
judge(nlt_ingest_t *in, uint32_t series, nlt_labels_t labels, int64_t t_ms,
      uint64_t v_bits)
{
    nlt_ingest_side_t *side = in->side;
    nlt_stash_t *s = nlt_head_exemplars(in->head);
    char text[NLT_EXEMPLAR_BYTES_MAX];
    nlt_wal_exemplar_t x = {series, t_ms, v_bits, {0, text}};
    record_t rec = {.kind = NLT_WAL_EXEMPLARS,
                    .series = series,
                    .t_ms = t_ms,
                    .v_bits = v_bits};
    nlt_exemplar_result_t res;

    if (s == NULL) {
        return NLT_EXEMPLAR_OFF;
    }
    res = nlt_exemplar_encode(labels, text, &x.labels.len);
    if (res != NLT_EXEMPLAR_OK) {
        return res;
    }
    if (t_ms
            < atomic_load_explicit(&in->ctl->t_oldest_ms, memory_order_relaxed)
        || t_ms > side->now_ms + NLT_FUTURE_MS_MAX) {
        return NLT_EXEMPLAR_OUT_OF_BOUNDS;
    }
    if (nlt_exemplars_has(s, side->a, &x)) {
        return NLT_EXEMPLAR_DUPLICATE;
    }
    gather(in, &rec, &x.labels, 1);
    return NLT_EXEMPLAR_OK;
}

nlt_exemplar_result_t
nlt_ingest_side_exemplar(nlt_ingest_t *in, uint32_t series,
                         nlt_labels_t labels, int64_t t_ms, uint64_t v_bits)
{
    nlt_head_counters_t *c = &in->ctl->counters;
    nlt_exemplar_result_t res = judge(in, series, labels, t_ms, v_bits);

    switch (res) {
    case NLT_EXEMPLAR_OK: /* counted when it is put */
    case NLT_EXEMPLAR_OFF:
        break;
    case NLT_EXEMPLAR_DUPLICATE:
        nlt_ingest_count(&c->exemplars_duplicate, 1);
        break;
    default:
        nlt_ingest_count(&c->exemplars_refused, 1);
    }
    return res;
}

/* ---- metadata ---- */

/* The same was gathered just before: series of a family come together. */
static bool
is_last(const nlt_ingest_side_t *side, const nlt_metadata_t *m)
{
    size_t at = side->last;
    nlt_str_t text[3];
    record_t rec;

    if (at == SIZE_MAX) {
        return false;
    }
    rec = next_record(side, &at, text);
    return rec.type == m->type && nlt_str_eq(text[0], m->name)
           && nlt_str_eq(text[1], m->help) && nlt_str_eq(text[2], m->unit);
}

/*
 * May something be gathered of this family?  Then what the stash knows is not
 * the newest.
 */
static bool
is_gathered(const nlt_ingest_side_t *side, uint32_t bit)
{
    return (side->names[bit / 64] >> bit % 64 & 1) != 0;
}

void
nlt_ingest_side_metadata(nlt_ingest_t *in, const nlt_metadata_t *m)
{
    nlt_ingest_side_t *side = in->side;
    nlt_stash_t *s = nlt_head_metadata(in->head);
    const nlt_str_t text[] = {m->name, m->help, m->unit};
    nlt_metadata_t known = *m;
    uint32_t bit = nlt_hash64(m->name.data, m->name.len, 0) % NAMES_N;
    nlt_metadata_news_t news;
    int64_t known_ms;
    record_t rec = {.kind = NLT_WAL_METADATA};

    known.type = m->type < NLT_METADATA_TYPES ? m->type : 0;
    rec.type = known.type;
    if (!nlt_metadata_valid(m)) {
        nlt_ingest_count(&in->ctl->counters.metadata_refused, 1);
        return;
    }
    if (is_last(side, &known)) {
        return;
    }
    /* Without the stash, which a process may have failed to attach, nothing is
     * known; the log is what lasts. */
    known_ms = INT64_MIN;
    news = s != NULL ? nlt_metadata_look(s, in->ctl->secret, &known,
                                         side->now_ms, &known_ms)
                     : NLT_METADATA_NEW;
    if (news != NLT_METADATA_NEW && !is_gathered(side, bit)) {
        if (news == NLT_METADATA_OLD) {
            nlt_metadata_touch(s, in->ctl->secret, &known, side->now_ms);
        }
        return;
    }
    /* Later than all that was said before, whatever the clock says. */
    rec.t_ms = nlt_max_i64(
        side->now_ms,
        nlt_min_i64(nlt_max_i64(known_ms, side->said_last_ms), INT64_MAX - 1)
            + 1);
    side->said_last_ms = rec.t_ms;
    gather(in, &rec, text, 3);
    side->names[bit / 64] |= UINT64_C(1) << bit % 64;
    side->last = side->pending.len - sizeof(rec) - m->name.len - m->help.len
                 - m->unit.len;
    if (side->pending.rc != NLT_OK) {
        side->last = SIZE_MAX;
    }
}

nlt_rc_t
nlt_ingest_side_end(nlt_ingest_t *in, bool *wrote, nlt_err_t *err)
{
    nlt_ingest_side_t *side = in->side;

    settle(in, side);
    *wrote = side->wrote;
    if (side->rc != NLT_OK) {
        *err = side->err;
    }
    return side->rc;
}
