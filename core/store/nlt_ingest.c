/*
 * nlt_ingest.c - the request as a state machine.
 *
 *   BEGUN --decode--> [SCANNING] LOADING --batch--> REGISTERING --append,
 *                      2.0                          log--> ...
 *                                                  last one: [SYNCING] answer
 *
 * First walk: batches are loaded and checked, nothing else.  If the first
 * batch is the whole request it is applied as it is; otherwise the walk
 * begins again, and each batch is loaded and applied.
 */
#include "nlt_ingest_v2.h"
#include "nlt_ingest_side.h"
#include "nlt_tenants.h"

/* How long a request waits for an arena while one is being sealed. */
#define WAIT_NS INT64_C(300000000)

/* The helper looks every second at least. */
#define ROOM_WAIT_NS  INT64_C(1500000000)
#define ROOM_PAUSE_MS 5

/* Decoding this much took long enough for one call. */
#define DECODE_SLICE (4u << 20)

/* ---- memory ---- */

nlt_ingest_scratch_t *
nlt_ingest_scratch_take(nlt_ingest_t *in)
{
    nlt_ingest_scratch_t *s = in->spare;

    in->spare = NULL;
    if (s == NULL) {
        s = nlt_mem_zalloc(in->env->mem, sizeof(*s));
        if (s != NULL) {
            nlt_buf_init(&s->canonical, in->env->mem, NLT_SERIES_BYTES_MAX);
            nlt_buf_init(&s->kept, in->env->mem, NLT_INGEST_KEPT_MAX);
        }
    }
    if (s != NULL) {
        s->n_series = 0;
        s->n_samples = 0;
    }
    return s;
}

static void
free_symbols(nlt_ingest_t *in, nlt_ingest_scratch_t *s)
{
    const nlt_mem_t *mem = in->env->mem;

    nlt_mem_free(mem, s->symbol_v, s->symbols_cap * sizeof(*s->symbol_v));
    nlt_mem_free(mem, s->known, s->symbols_cap * sizeof(*s->known));
    s->symbol_v = NULL;
    s->known = NULL;
    s->symbols_cap = 0;
}

static void
scratch_free(nlt_ingest_t *in, nlt_ingest_scratch_t *s)
{
    const nlt_mem_t *mem = in->env->mem;

    if (s == NULL) {
        return;
    }
    nlt_mem_free(mem, s->series, s->series_cap * sizeof(*s->series));
    nlt_mem_free(mem, s->samples, s->samples_cap * sizeof(*s->samples));
    nlt_mem_free(mem, s->labels, s->labels_cap * sizeof(*s->labels));
    nlt_mem_free(mem, s->decoded, s->decoded_cap);
    free_symbols(in, s);
    nlt_mem_free(mem, s->refs, s->refs_cap * sizeof(*s->refs));
    nlt_mem_free(mem, s->places, s->refs_cap * sizeof(*s->places));
    nlt_buf_deinit(&s->canonical);
    nlt_buf_deinit(&s->kept);
    nlt_mem_free(mem, s, sizeof(*s));
}

void
nlt_ingest_scratch_give(nlt_ingest_t *in, nlt_ingest_scratch_t *s)
{
    if (in->spare != NULL) {
        scratch_free(in, s);
        return;
    }
    if (s->decoded_cap > NLT_INGEST_KEEP_BYTES) {
        nlt_mem_free(in->env->mem, s->decoded, s->decoded_cap);
        s->decoded = NULL;
        s->decoded_cap = 0;
    }
    if (s->symbols_cap > NLT_INGEST_KEEP_SYMBOLS) {
        free_symbols(in, s);
    }
    nlt_buf_deinit(&s->kept);
    in->spare = s;
}

bool
nlt_ingest_grow(nlt_ingest_t *in, void **p, size_t *cap, size_t used,
                size_t need, size_t size)
{
    size_t to = *cap ? *cap : 1024;
    void *bigger;

    while (to < need) {
        to *= 2;
    }
    bigger = in->env->mem->alloc(in->env->mem->ctx, to * size);
    if (bigger == NULL) {
        return false;
    }
    if (used) {
        memcpy(bigger, *p, used * size);
    }
    nlt_mem_free(in->env->mem, *p, *cap * size);
    *p = bigger;
    *cap = to;
    return true;
}

bool
nlt_ingest_room(nlt_ingest_t *in, nlt_ingest_scratch_t *s, size_t n_series,
                size_t n_samples)
{
    void *p;

    if (nlt_unlikely(s->n_series + n_series > s->series_cap)) {
        p = s->series;
        if (!nlt_ingest_grow(in, &p, &s->series_cap, s->n_series,
                             s->n_series + n_series, sizeof(*s->series))) {
            return false;
        }
        s->series = p;
    }
    if (nlt_unlikely(s->n_samples + n_samples > s->samples_cap)) {
        p = s->samples;
        if (!nlt_ingest_grow(in, &p, &s->samples_cap, s->n_samples,
                             s->n_samples + n_samples, sizeof(*s->samples))) {
            return false;
        }
        s->samples = p;
    }
    return true;
}

bool
nlt_ingest_label_room(nlt_ingest_t *in, nlt_ingest_scratch_t *s, size_t n)
{
    void *p = s->labels;

    if (nlt_likely(n <= s->labels_cap)) {
        return true;
    }
    if (!nlt_ingest_grow(in, &p, &s->labels_cap, 0, n, sizeof(*s->labels))) {
        return false;
    }
    s->labels = p;
    return true;
}

/* ---- answers ---- */

static nlt_rc_t
refuse_not_ready(nlt_ingest_req_t *r)
{
    nlt_head_ctl_t *ctl = r->in->ctl;

    if (atomic_load_explicit(&ctl->state, memory_order_acquire)
        == NLT_HEAD_REPLAYING) {
        return nlt_ingest_refuse(
            r, 503, NLT_ENOTREADY, NULL,
            "not ready: reading the log, %llu of %llu bytes",
            (unsigned long long) atomic_load(&ctl->replay_done),
            (unsigned long long) atomic_load(&ctl->replay_total));
    }
    return nlt_ingest_refuse(r, 503, NLT_ENOTREADY, NULL,
                             "not ready: the head is being replaced");
}

/* The helper makes another one within about a second. */
static nlt_rc_t
refuse_failed_log(nlt_ingest_req_t *r)
{
    return nlt_ingest_refuse(r, 503, NLT_ENOTREADY, NULL,
                             "not ready: the log could not be written or "
                             "synced, a new one is being made");
}

/* ---- steps ---- */

static bool
head_is_open(const nlt_ingest_t *in)
{
    return atomic_load_explicit(&in->ctl->state, memory_order_acquire)
               == NLT_HEAD_OPEN
           && !nlt_head_is_dead(in->head);
}

/* The batch is empty and begins where the walk is. */
static void
begin_batch(nlt_ingest_req_t *r)
{
    r->s->n_series = 0;
    r->s->n_samples = 0;
    nlt_buf_reset(&r->s->kept);
    r->registered = 0;
    r->done = 0;
    r->checked = false;
    if (nlt_unlikely(r->s->any_bad)) {
        memset(r->s->bad, 0, sizeof(r->s->bad));
        r->s->any_bad = false;
    }
    r->batch = r->at;
    r->phase = NLT_INGEST_LOADING;
}

/* The walk begins, or begins again. */
static void
begin_walk(nlt_ingest_req_t *r)
{
    nlt_str_t request = {r->res.decoded_bytes, r->s->decoded};

    r->at = (nlt_ingest_cursor_t){.left = 0};
    r->eof = false;
    r->checked = false;
    r->faults.len = 0;
    if (r->conf.version == 2) {
        nlt_rw2_walk_init(&r->at.walk2, request, r->s->refs,
                          (uint32_t) r->s->refs_cap);
    } else {
        nlt_rw_walk_init(&r->at.walk, request, r->s->gather,
                         sizeof(r->s->gather));
    }
}

static nlt_rc_t
decode(nlt_ingest_req_t *r)
{
    nlt_ingest_t *in = r->in;
    nlt_ingest_scratch_t *s = r->s;
    nlt_err_t err;
    nlt_rc_t rc;
    size_t n;

    nlt_ingest_count(&in->ctl->counters.bytes_received, r->body.len);
    if (!head_is_open(in)) {
        return refuse_not_ready(r);
    }
    if (atomic_load_explicit(&in->ctl->disk_low, memory_order_relaxed)) {
        return nlt_ingest_refuse(r, 503, NLT_EFULL, NULL,
                                 "the disk is nearly full: less is free than "
                                 "min_free= says");
    }
    rc = nlt_snappy_length(r->body, r->conf.decoded_max, &n, &err);
    if (rc != NLT_OK) {
        bool large = rc == NLT_ETOOBIG;

        nlt_ingest_count(&in->ctl->counters.requests_over_size, large);
        return nlt_ingest_refuse(r, 400, rc, NULL, "%s%s", err.text,
                                 large ? " (nightlight_write_max_decoded)"
                                       : "");
    }
    if (r->conf.screen != NULL && r->conf.screen->tried_decoded != 0) {
        nlt_ingest_count(&in->ctl->counters.dry_run_requests_over_size,
                         n > r->conf.screen->tried_decoded);
    }
    if (n > s->decoded_cap) {
        nlt_mem_free(in->env->mem, s->decoded, s->decoded_cap);
        s->decoded_cap = nlt_align_u64(n, 1u << 16);
        s->decoded = in->env->mem->alloc(in->env->mem->ctx, s->decoded_cap);
        if (s->decoded == NULL) {
            s->decoded_cap = 0;
            return nlt_ingest_refuse(r, 503, NLT_ENOMEM, NULL,
                                     "out of memory");
        }
    }
    rc = nlt_snappy_decode(r->body, n ? s->decoded : s->gather, n, &err);
    if (rc != NLT_OK) {
        return nlt_ingest_refuse(r, 400, rc, NULL, "%s", err.text);
    }
    nlt_ingest_count(&in->ctl->counters.bytes_decoded, n);
    r->res.decoded_bytes = n;
    if (r->conf.version == 2) {
        nlt_rw2_scan_init(&r->scan, (nlt_str_t){n, s->decoded});
        r->phase = NLT_INGEST_SCANNING;
    } else {
        begin_walk(r);
        begin_batch(r);
    }
    return n > DECODE_SLICE ? NLT_AGAIN : NLT_OK;
}

/*
 * The batch is loaded again; what was appended of it stays appended, and what
 * a whole check has found stays found.
 */
static void
reload_batch(nlt_ingest_req_t *r)
{
    nlt_ingest_found_t found = r->at.found;

    r->at = r->batch;
    if (r->checked) {
        r->at.found = found;
    } else {
        r->faults.len = r->at.found.faults_size;
        if (r->s->any_bad) {
            memset(r->s->bad, 0, sizeof(r->s->bad));
            r->s->any_bad = false;
        }
    }
    r->eof = false;
    r->arena_no = 0;
    r->s->n_series = 0;
    r->s->n_samples = 0;
    nlt_buf_reset(&r->s->kept);
    r->registered = 0;
    r->phase = NLT_INGEST_LOADING;
}

/* Was it deleted after the request began? */
static bool
is_gone(nlt_ingest_t *in, uint32_t tenant)
{
    const nlt_tenants_t *t = nlt_head_tenants(in->head);

    return tenant != 0 && nlt_tenants_slot(t, tenant) != NULL
           && !nlt_tenants_lives(t, tenant);
}

/*
 * The arena to work on.  NLT_AGAIN: there is none at the moment, since one
 * is being sealed.
 */
static nlt_rc_t
take_arena(nlt_ingest_req_t *r, nlt_arena_t **a, nlt_arena_t **prev)
{
    nlt_ingest_t *in = r->in;
    int64_t now_ns;

    if (!head_is_open(in)) {
        return refuse_not_ready(r);
    }
    if (nlt_unlikely(is_gone(in, r->conf.tenant))) {
        return nlt_ingest_refuse(r, 503, NLT_ENOTREADY, NULL,
                                 "the tenant was deleted just now");
    }
    *a = nlt_head_active(in->head);
    *prev = nlt_head_previous(in->head);
    if (*a == NULL) {
        now_ns = nlt_mono_ns(in->env);
        if (r->wait_until_ns == 0) {
            r->wait_until_ns = now_ns + WAIT_NS;
        }
        if (now_ns > r->wait_until_ns) {
            return nlt_ingest_refuse(r, 503, NLT_ENOTREADY, NULL,
                                     "no arena takes samples at the moment");
        }
        return NLT_AGAIN;
    }
    if (nlt_unlikely(nlt_head_log_failed(in->ctl, nlt_arena_no(*a)))) {
        return refuse_failed_log(r);
    }
    r->wait_until_ns = 0;
    if (r->arena_no != nlt_arena_no(*a)) {
        if (r->arena_no != 0) {
            reload_batch(r);
        }
        r->arena_no = nlt_arena_no(*a);
        r->prev_no = *prev ? nlt_arena_no(*prev) : 0;
    }
    if (*prev && nlt_arena_no(*prev) != r->prev_no) {
        *prev = NULL;
    }
    return NLT_OK;
}

static nlt_rc_t
load(nlt_ingest_req_t *r, nlt_arena_t *a, nlt_arena_t *prev)
{
    nlt_rc_t rc = nlt_ingest_load(r, a, prev);

    if (rc != NLT_OK) {
        return rc;
    }
    r->checked = r->conf.version == 2;
    if (r->applying || (r->eof && r->n_batches == 0)) {
        r->applying = true;
        r->phase = NLT_INGEST_REGISTERING;
        return NLT_OK;
    }
    r->n_batches++;
    if (r->eof) {
        /* All is well: once more from the start, and apply. */
        begin_walk(r);
        r->applying = true;
    }
    begin_batch(r);
    return NLT_OK;
}

static nlt_rc_t
finish(nlt_ingest_req_t *r)
{
    nlt_ingest_t *in = r->in;

    r->res.series =
        r->conf.version == 2 ? r->at.walk2.n_series : r->at.walk.n_series;
    if (!head_is_open(in)) {
        /* The log may have been replayed before we wrote to it. */
        return refuse_not_ready(r);
    }
    if (r->no_room) {
        return nlt_ingest_refuse(r, 503, NLT_EFULL, NULL,
                                 "memory= is used up: no room for new "
                                 "series");
    }
    if (r->logged_no != 0 && nlt_head_log_failed(in->ctl, r->logged_no)) {
        return refuse_failed_log(r);
    }
    if (r->last_write == 0) {
        return nlt_ingest_accept(r);
    }
    nlt_ingest_count(&in->ctl->counters.wal_sync_waits, 1);
    nlt_ingest_scratch_give(in, r->s);
    r->s = NULL;
    r->phase = NLT_INGEST_SYNCING;
    return NLT_AGAIN;
}

/*
 * A request that waits: has its sync ended?  The head may have died since it
 * logged; that was before the replay then, which has it.
 */
static nlt_rc_t
settle(nlt_ingest_req_t *r)
{
    const nlt_head_ctl_t *ctl = r->in->ctl;
    nlt_err_t err;
    nlt_rc_t rc = nlt_ingest_durable(r, &err);

    if (rc == NLT_AGAIN) {
        return rc;
    }
    if (rc == NLT_OK && nlt_head_log_failed(ctl, r->logged_no)
        && nlt_head_holds(ctl, r->logged_no)) {
        /* Once per file, the kernel tells of a failure: others were told. */
        rc = nlt_err_set(&err, NLT_EIO,
                         "log of arena %llu: another process could not sync "
                         "it",
                         (unsigned long long) r->logged_no);
    }
    return rc == NLT_OK ? nlt_ingest_accept(r)
                        : nlt_ingest_refuse(r, 500, rc, NULL, "%s", err.text);
}

/* Is an arena ready to take over? */
static bool
next_is_ready(const nlt_head_ctl_t *ctl)
{
    for (size_t i = 0; i < NLT_HEAD_ARENAS; i++) {
        if (atomic_load(&ctl->arenas[i].no) != 0
            && atomic_load(&ctl->arenas[i].state) == NLT_ARENA_READY) {
            return true;
        }
    }
    return false;
}

bool
nlt_ingest_await_room(nlt_ingest_req_t *r, const nlt_arena_t *a)
{
    nlt_ingest_t *in = r->in;
    int64_t now_ns = nlt_mono_ns(in->env);

    if (in->crowded == nlt_arena_no(a) || !next_is_ready(in->ctl)) {
        return false;
    }
    if (r->room_until_ns == 0) {
        r->room_until_ns = now_ns + ROOM_WAIT_NS;
    }
    if (now_ns > r->room_until_ns) {
        in->crowded = nlt_arena_no(a);
        return false;
    }
    r->pause_ms = ROOM_PAUSE_MS;
    return true;
}

static nlt_rc_t
refuse_full(nlt_ingest_req_t *r)
{
    size_t n = r->s->n_samples > r->done ? r->s->n_samples - r->done : 0;

    nlt_ingest_no_room(r, n);
    return nlt_ingest_refuse(r, 503, NLT_EFULL, NULL,
                             "memory= is used up: no room for samples");
}

static nlt_rc_t
apply(nlt_ingest_req_t *r, nlt_arena_t *a, nlt_arena_t *prev)
{
    nlt_rc_t rc;

    if (nlt_unlikely(nlt_arena_stage(a) == NLT_MEMORY_NO_SAMPLES)) {
        return nlt_ingest_await_room(r, a) ? NLT_AGAIN : refuse_full(r);
    }
    rc = nlt_ingest_register(r, a, prev);
    if (rc == NLT_OK) {
        rc = nlt_ingest_append(r, a);
    }
    if (rc == NLT_EEXIST) {
        reload_batch(r);
        return NLT_AGAIN;
    }
    if (rc != NLT_OK) {
        return rc;
    }
    if (r->eof) {
        return finish(r);
    }
    begin_batch(r);
    return NLT_OK;
}

static nlt_rc_t
step(nlt_ingest_req_t *r)
{
    nlt_arena_t *a = NULL, *prev = NULL;
    nlt_rc_t rc;

    if (r->phase == NLT_INGEST_BEGUN) {
        rc = nlt_ingest_seed(r);
        return rc == NLT_OK ? decode(r) : rc;
    }
    if (r->phase == NLT_INGEST_SCANNING) {
        rc = nlt_ingest_scan(r);
        if (rc == NLT_OK) {
            begin_walk(r);
            begin_batch(r);
        }
        return rc;
    }
    if (r->phase == NLT_INGEST_SYNCING) {
        return settle(r);
    }
    rc = take_arena(r, &a, &prev);
    if (rc != NLT_OK) {
        return rc;
    }
    if (r->phase == NLT_INGEST_LOADING) {
        return load(r, a, prev);
    }
    return apply(r, a, prev);
}

/* Why n samples were not taken; what a 5xx refuses is sent again. */
static void
count_refused(const nlt_ingest_req_t *r, nlt_tenant_counters_t *c, uint64_t n)
{
    const nlt_ingest_found_t *f = &r->at.found;
    uint64_t by[NLT_N_TENANT_REASONS] = {
        [NLT_TENANT_TOO_OLD] = f->n_too_old,
        [NLT_TENANT_TOO_NEW] = f->n_too_new,
        [NLT_TENANT_CONFLICT] = f->n_conflicts,
        [NLT_TENANT_NO_ROOM] = r->n_no_room,
        [NLT_TENANT_SERIES] = f->out.n_over,
        [NLT_TENANT_DROPPED] = f->out.n_dropped,
    };
    uint64_t told = 0;

    for (size_t i = 0; i < NLT_TENANT_REQUEST; i++) {
        told += by[i];
    }
    if (r->res.status < 500) {
        nlt_ingest_count(&c->samples_refused, n);
        by[NLT_TENANT_REQUEST] = n > told ? n - told : 0;
    }
    for (size_t i = 0; i < NLT_N_TENANT_REASONS; i++) {
        nlt_ingest_count(&c->refused[i], by[i]);
    }
}

/* The request in the counters of its tenant. */
static void
count_tenant(nlt_ingest_req_t *r)
{
    nlt_tenant_t *slot =
        nlt_tenants_slot(nlt_head_tenants(r->in->head), r->conf.tenant);
    nlt_tenant_counters_t *c;

    r->res.seen = r->at.seen;
    if (slot == NULL) {
        return;
    }
    c = &slot->counters;
    nlt_ingest_count(&c->bytes_received, r->body.len);
    nlt_ingest_count(&c->samples, r->res.samples);
    nlt_ingest_count(&c->series_created, r->n_created);
    nlt_ingest_count(&c->requests_over_size, r->res.err.rc == NLT_ETOOBIG
                                                 && r->res.decoded_bytes == 0);
    if (r->res.seen > r->res.samples) {
        count_refused(r, c, r->res.seen - r->res.samples);
    }
    nlt_ingest_count(
        r->res.status == 204 ? &c->requests_ok : &c->requests_refused, 1);
    if (r->res.status == 204) {
        atomic_store_explicit(&c->written_ms, nlt_now_ms(r->in->env),
                              memory_order_relaxed);
    }
}

/* The request has its answer. */
static void
count_end(nlt_ingest_req_t *r)
{
    nlt_head_counters_t *c = &r->in->ctl->counters;
    nlt_head_histogram_t *h = r->res.status < 400   ? &c->time_write_ok
                              : r->res.status < 500 ? &c->time_write_refused
                                                    : &c->time_write_failed;

    nlt_head_observe(h, nlt_mono_ns(r->in->env) - r->begin_ns);
    count_tenant(r);
}

nlt_rc_t
nlt_ingest_run(nlt_ingest_req_t *r, nlt_ingest_result_t *result)
{
    nlt_rc_t rc = NLT_OK;

    r->budget = NLT_INGEST_SLICE;
    r->pause_ms = 0;
    while (r->phase != NLT_INGEST_FINISHED) {
        if (rc == NLT_AGAIN || r->budget <= 0) {
            return NLT_AGAIN;
        }
        rc = step(r);
    }
    count_end(r);
    *result = r->res;
    nlt_ingest_cancel(r);
    return NLT_OK;
}

unsigned
nlt_ingest_pause_ms(const nlt_ingest_req_t *r)
{
    return r->pause_ms;
}

void
nlt_ingest_over_rate(nlt_ingest_t *in, nlt_str_t tenant, bool dry_run)
{
    const nlt_tenants_t *tenants = nlt_head_tenants(in->head);
    nlt_head_counters_t *c = &in->ctl->counters;
    uint32_t no = tenant.len != 0 ? nlt_tenants_find(tenants, tenant) : 0;
    nlt_tenant_t *slot = nlt_tenants_slot(tenants, no);

    if (!dry_run && slot != NULL && (no != 0 || tenant.len == 0)) {
        nlt_ingest_count(&slot->counters.requests_over_rate, 1);
    }

    nlt_ingest_count(
        dry_run ? &c->dry_run_requests_over_rate : &c->requests_over_rate, 1);
}

uint64_t
nlt_ingest_seen(const nlt_ingest_req_t *r)
{
    return r->at.seen;
}

bool
nlt_ingest_waits(const nlt_ingest_req_t *r)
{
    return r->phase == NLT_INGEST_SYNCING;
}

void
nlt_ingest_expire(nlt_ingest_req_t *r, const char *why,
                  nlt_ingest_result_t *result)
{
    (void) nlt_ingest_refuse(r, 503, NLT_ETIMEOUT, NULL, "%s", why);
    count_end(r);
    *result = r->res;
    nlt_ingest_cancel(r);
}

void
nlt_ingest_cancel(nlt_ingest_req_t *r)
{
    nlt_ingest_t *in;

    if (r == NULL) {
        return;
    }
    in = r->in;
    in->n_requests--;
    if (r->s != NULL) {
        nlt_ingest_scratch_give(in, r->s);
    }
    nlt_buf_deinit(&r->faults);
    nlt_mem_free(in->env->mem, r, sizeof(*r));
}

/* Which times it takes; t_min_ms is what the head takes. */
static void
set_times(nlt_ingest_req_t *r)
{
    const nlt_ingest_screen_t *sc = r->conf.screen;
    int64_t now_ms = nlt_now_ms(r->in->env);

    r->t_max_ms = now_ms + NLT_FUTURE_MS_MAX;
    r->t_hard_min_ms = r->t_min_ms;
    r->t_hard_max_ms = r->t_max_ms;
    if (sc == NULL) {
        return;
    }
    if (sc->age_max_ms && now_ms - sc->age_max_ms > r->t_min_ms) {
        r->t_min_ms = now_ms - sc->age_max_ms;
    }
    if (sc->future_max_ms && now_ms + sc->future_max_ms < r->t_max_ms) {
        r->t_max_ms = now_ms + sc->future_max_ms;
    }
}

nlt_rc_t
nlt_ingest_begin(nlt_ingest_t *in, const nlt_ingest_conf_t *conf,
                 nlt_str_t body, nlt_ingest_req_t **out)
{
    nlt_ingest_req_t *r = nlt_mem_zalloc(in->env->mem, sizeof(*r));

    *out = NULL;
    if (r == NULL) {
        return NLT_ENOMEM;
    }
    r->in = in;
    r->begin_ns = nlt_mono_ns(in->env);
    r->conf = *conf;
    if (r->conf.labels.labels_max > NLT_INGEST_LABELS_MAX) {
        r->conf.labels.labels_max = NLT_INGEST_LABELS_MAX;
    }
    r->conf.version = conf->version == 2 ? 2 : 1;
    nlt_buf_init(&r->faults, in->env->mem, NLT_INGEST_FAULTS_BYTES + 2048);
    r->body = body;
    r->t_min_ms =
        atomic_load_explicit(&in->ctl->t_oldest_ms, memory_order_relaxed);
    r->t_wanted_ms = conf->retention_ms > 0
                         ? nlt_now_ms(in->env) - conf->retention_ms
                         : INT64_MAX;
    set_times(r);
    r->s = nlt_ingest_scratch_take(in);
    if (r->s == NULL) {
        nlt_mem_free(in->env->mem, r, sizeof(*r));
        return NLT_ENOMEM;
    }
    in->n_requests++;
    *out = r;
    return NLT_OK;
}

/* ---- the ingester ---- */

nlt_rc_t
nlt_ingest_create(const nlt_env_t *env, nlt_head_t *head, int wal_dir_fd,
                  nlt_ingest_t **out, nlt_err_t *err)
{
    nlt_ingest_t *in = nlt_mem_zalloc(env->mem, sizeof(*in));

    *out = in;
    if (in == NULL) {
        return nlt_err_set(err, NLT_ENOMEM, "out of memory");
    }
    in->env = env;
    in->head = head;
    in->ctl = nlt_head_ctl(head);
    in->wal_dir_fd = wal_dir_fd;
    nlt_buf_init(&in->told, env->mem, 0);
    return NLT_OK;
}

void
nlt_ingest_destroy(nlt_ingest_t *in)
{
    if (in == NULL) {
        return;
    }
    nlt_ingest_close_logs(in);
    nlt_buf_deinit(&in->told);
    nlt_ingest_side_free(in);
    nlt_ingest_screen_free(in);
    scratch_free(in, in->spare);
    nlt_mem_free(in->env->mem, in, sizeof(*in));
}

size_t
nlt_ingest_requests(const nlt_ingest_t *in)
{
    return in->n_requests + in->syncing;
}

/* ---- own samples ---- */

/* Carried over rather than registered: that works for longer when full. */
static nlt_rc_t
own_series(nlt_ingest_t *in, nlt_arena_t *a, uint32_t tenant,
           nlt_labels_t labels, nlt_buf_t *canonical, uint32_t *no)
{
    nlt_arena_t *prev = nlt_head_previous(in->head);
    nlt_rc_t rc = NLT_EDATA;
    nlt_hash128_t key;
    uint32_t old;

    nlt_buf_reset(canonical);
    nlt_rw_canonical(canonical, labels);
    if (canonical->rc != NLT_OK) {
        return canonical->rc;
    }
    key = nlt_head_key(in->ctl, tenant, canonical->data, canonical->len);
    *no = nlt_arena_find(a, key);
    if (*no) {
        return NLT_OK;
    }
    old = prev ? nlt_arena_find(prev, key) : 0;
    if (old) {
        rc = nlt_arena_carry(a, prev, old, key, no);
    }
    return rc == NLT_EDATA
               ? nlt_arena_register(a, tenant, labels, key, key, no)
               : rc;
}

nlt_rc_t
nlt_ingest_own(nlt_ingest_t *in, uint32_t tenant, const nlt_ingest_own_t *s,
               size_t n, nlt_err_t *err)
{
    nlt_arena_t *a = head_is_open(in) ? nlt_head_active(in->head) : NULL;
    nlt_ingest_scratch_t *scratch;
    nlt_rc_t rc = NLT_OK, logged;
    uint64_t accepted;
    size_t done = 0;

    if (a == NULL || nlt_head_log_failed(in->ctl, nlt_arena_no(a))) {
        return nlt_err_set(err, NLT_ENOTREADY, "no arena takes samples");
    }
    if (nlt_arena_stage(a) == NLT_MEMORY_NO_SAMPLES) {
        return nlt_err_set(err, NLT_EFULL, "memory= is used up");
    }
    scratch = nlt_ingest_scratch_take(in);
    if (scratch == NULL) {
        return nlt_err_set(err, NLT_ENOMEM, "out of memory");
    }
    for (size_t i = 0; i < n && rc == NLT_OK; i++) {
        uint32_t no = 0;

        rc = NLT_ENOMEM;
        if (nlt_ingest_room(in, scratch, 0, 1)) {
            rc = own_series(in, a, tenant, s[i].labels, &scratch->canonical,
                            &no);
        }
        if (rc == NLT_OK) {
            scratch->samples[scratch->n_samples++] =
                (nlt_head_sample_t){no, 0, s[i].t_ms, nlt_bits_of(s[i].v)};
        }
    }
    if (rc == NLT_OK && n) {
        rc = nlt_arena_append(a, scratch->samples, n, &done);
        logged = done ? nlt_ingest_log(in, a, scratch->samples, done, NULL,
                                       &accepted, err)
                      : NLT_OK;
        if (logged != NLT_OK) {
            nlt_ingest_scratch_give(in, scratch);
            return logged;
        }
    }
    nlt_ingest_scratch_give(in, scratch);
    if (rc == NLT_EEXIST) {
        rc = NLT_ENOTREADY; /* sealed just now */
    }
    return rc == NLT_OK ? rc : nlt_err_set(err, rc, "%s", nlt_rc_text(rc));
}
