/*
 * nlt_helper_tenants.c - TENANTS, and that no number in a block is given
 * again.
 */
#include "nlt_helper_tenants.h"

#include "nlt_block_owners.h"
#include "nlt_head_side.h"
#include "nlt_tenants.h"

/* Where series without a known owner were found. */
typedef struct {
    uint32_t tenant;
    uint64_t series;
    uint64_t blocks;
} stray_t;

typedef struct {
    stray_t *v; /* STRAYS_MAX of them, by number */
    size_t n;
    uint32_t end; /* above all numbers that were met */
} strays_t;

/* So many are named in the log; more are summed up. */
#define STRAYS_MAX 1024
#define STRAYS_SAY 16

#define HAVE_BACK                                                             \
    "put the right " NLT_FILE_TENANTS " there while nginx is stopped, and "   \
    "remove the head, to have them back"

#define OWNERS_BYTES ((size_t) 1 << 30)

static void
add_stray(strays_t *s, const nlt_block_owner_t *o)
{
    size_t i = s->n;

    while (i > 0 && s->v[i - 1].tenant > o->tenant) {
        i--;
    }
    if (i > 0 && s->v[i - 1].tenant == o->tenant) {
        i--;
    } else if (s->n == STRAYS_MAX) {
        return;
    } else {
        memmove(s->v + i + 1, s->v + i, (s->n - i) * sizeof(*s->v));
        s->v[i] = (stray_t){.tenant = o->tenant};
        s->n++;
    }
    s->v[i].series += o->n_series;
    s->v[i].blocks++;
}

static nlt_rc_t
look_into(nlt_helper_t *h, const char *ulid, strays_t *s, nlt_err_t *err)
{
    const nlt_tenants_t *t = nlt_head_tenants(h->head);
    nlt_block_owner_t *v;
    nlt_block_t *b;
    nlt_pool_t pool;
    size_t n = 0;
    nlt_rc_t rc = nlt_block_open(h->env, h->dir.blocks_fd, ulid, &b, err);

    if (rc != NLT_OK) {
        return rc;
    }
    nlt_pool_init(&pool, h->env->mem, OWNERS_BYTES);
    rc = nlt_block_owners(b, &pool, &v, &n, err);
    for (size_t i = 0; rc == NLT_OK && i < n; i++) {
        if (v[i].tenant < NLT_TENANTS_NUMBERS && v[i].tenant >= s->end) {
            s->end = v[i].tenant + 1;
        }
        if (s->v != NULL && nlt_tenants_slot(t, v[i].tenant) == NULL) {
            add_stray(s, &v[i]);
        }
    }
    nlt_pool_deinit(&pool);
    nlt_block_close(b);
    return rc;
}

/*
 * All blocks, at most once in the life of a head.  One that cannot be read
 * now nobody will read under another name either: it is being looked at by
 * itself, and goes to quarantine/.
 */
static void
look_into_all(nlt_helper_t *h, strays_t *s)
{
    for (size_t i = 0; i < h->manifest.n_blocks; i++) {
        const char *ulid = h->manifest.blocks[i].ulid.c;
        nlt_err_t err;

        if (look_into(h, ulid, s, &err) != NLT_OK) {
            nlt_helper_complain(h, ulid, &err);
        }
    }
}

/* In words for who has to decide. */
static nlt_rc_t
no_start(nlt_rc_t rc, const nlt_err_t *why, nlt_err_t *err)
{
    return nlt_err_set(err, rc,
                       "%s: without " NLT_FILE_TENANTS
                       " it is not known whose data is whose; restore it "
                       "from a backup, or move it away: what it named is "
                       "then kept, and nobody reads it",
                       why->text);
}

/* The file as it is; none: nothing is named. */
static nlt_rc_t
next_of_file(nlt_helper_t *h, uint32_t *next, nlt_err_t *err)
{
    nlt_tenants_list_t l = {.next = 1};
    nlt_pool_t pool;
    nlt_rc_t rc;

    nlt_pool_init(&pool, h->env->mem, NLT_TENANTS_PARSED_MAX);
    rc = nlt_tenants_read(h->env, h->dir.dir_fd, h->dir.store_id, &pool, &l,
                          err);
    nlt_pool_deinit(&pool);
    *next = rc == NLT_OK ? l.next : 1;
    return rc;
}

nlt_rc_t
nlt_helper_try_tenants(nlt_helper_t *h, nlt_err_t *err)
{
    uint32_t next;
    nlt_err_t why;
    nlt_rc_t rc = next_of_file(h, &next, &why);

    return rc == NLT_OK ? rc : no_start(rc, &why, err);
}

nlt_rc_t
nlt_helper_load_tenants(nlt_helper_t *h, nlt_err_t *err)
{
    nlt_tenants_t *t = nlt_head_tenants(h->head);
    strays_t strays = {.end = h->manifest.tenants};
    uint32_t next;
    nlt_err_t why;
    nlt_rc_t rc =
        nlt_tenants_load(t, h->dir.dir_fd, h->dir.store_id, &next, &why);

    if (rc != NLT_OK) {
        return no_start(rc, &why, err);
    }
    h->strays = strays.end == 0 || next < strays.end;
    if (h->strays) {
        look_into_all(h, &strays);
    }
    h->tenants_end = nlt_max_u32(next, strays.end);
    nlt_tenants_skip(t, h->tenants_end);
    return NLT_OK;
}

void
nlt_helper_say_strays(nlt_helper_t *h)
{
    strays_t s = {.v = NULL};

    if (!h->strays) {
        return;
    }
    h->strays = false;
    s.v = nlt_mem_zalloc(h->env->mem, STRAYS_MAX * sizeof(*s.v));
    if (s.v == NULL) {
        return;
    }
    look_into_all(h, &s);
    for (size_t i = 0; i < s.n && i < STRAYS_SAY; i++) {
        nlt_log_todo(h->env, NLT_LOG_CRIT, HAVE_BACK,
                     "unknown tenant %u has %llu series in %llu "
                     "blocks: " NLT_FILE_TENANTS " does not name it; they are "
                     "kept, and nobody reads them",
                     s.v[i].tenant, (unsigned long long) s.v[i].series,
                     (unsigned long long) s.v[i].blocks);
    }
    if (s.n > STRAYS_SAY) {
        nlt_log_todo(h->env, NLT_LOG_CRIT, HAVE_BACK,
                     "unknown tenants are %s%zu: "
                     "nightlight-inspect shows what each block has",
                     s.n == STRAYS_MAX ? "more than " : "", s.n);
    }
    nlt_mem_free(h->env->mem, s.v, STRAYS_MAX * sizeof(*s.v));
}

void
nlt_helper_check_tenants(nlt_helper_t *h)
{
    nlt_tenants_t *t = nlt_head_tenants(h->head);
    uint32_t end = h->manifest.tenants, next;
    nlt_err_t err;
    nlt_rc_t rc = next_of_file(h, &next, &err);

    nlt_tenants_skip(t, end);
    if (end == 0) {
        end = nlt_tenants_end(t);
    }
    h->tenants_end = nlt_max_u32(end, next);
    if (rc == NLT_OK && next >= end) {
        return;
    }
    if (rc == NLT_OK) {
        rc = nlt_err_set(&err, NLT_EDATA,
                         NLT_FILE_TENANTS " is missing or an old one");
    }
    nlt_helper_complain(h, "tenants are written again from memory", &err);
    nlt_tenants_touch(t);
}

static bool
lives_cb(const void *ctx, uint32_t tenant)
{
    return nlt_tenants_lives(ctx, tenant);
}

/* Exemplars and metadata of tenants that were deleted, in memory and file. */
static void
forget_side(nlt_helper_t *h)
{
    const nlt_tenants_t *t = nlt_head_tenants(h->head);
    nlt_stash_t *x = nlt_head_exemplars(h->head);
    nlt_stash_t *m = nlt_head_metadata(h->head);
    nlt_stash_page_t *page = nlt_mem_zalloc(h->env->mem, sizeof(*page));
    size_t n = 0;
    nlt_err_t err;

    if (page == NULL) {
        return; /* nobody can ask for them, and they age */
    }
    if (x != NULL) {
        (void) nlt_stash_forget(x, lives_cb, t, page);
    }
    if (m != NULL) {
        n = nlt_stash_forget(m, lives_cb, t, page);
    }
    nlt_mem_free(h->env->mem, page, sizeof(*page));
    if (n > 0 && nlt_helper_save_metadata(h, &err) != NLT_OK) {
        nlt_helper_complain(h, "metadata", &err);
    }
}

void
nlt_helper_tend_tenants(nlt_helper_t *h)
{
    const nlt_tenants_t *t = nlt_head_tenants(h->head);
    nlt_err_t err;

    if (atomic_load(&t->hdr->removed) <= atomic_load(&t->hdr->saved)) {
        return;
    }
    forget_side(h);
    if (nlt_helper_save_tenants(h, &err) != NLT_OK) {
        nlt_helper_complain(h, "tenants", &err);
    }
}

nlt_rc_t
nlt_helper_save_tenants(nlt_helper_t *h, nlt_err_t *err)
{
    nlt_tenants_t *t = nlt_head_tenants(h->head);
    uint32_t end = nlt_tenants_end(t);
    nlt_rc_t rc;

    if (atomic_load(&t->hdr->saved) == atomic_load(&t->hdr->changes)) {
        return NLT_OK;
    }
    rc = nlt_tenants_save(t, h->dir.dir_fd, h->dir.store_id,
                          nlt_helper_is_open(h), err);
    if (rc == NLT_OK) {
        h->tenants_end = nlt_max_u32(h->tenants_end, end);
    }
    return rc;
}
