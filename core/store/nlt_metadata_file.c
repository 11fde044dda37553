/*
 * nlt_metadata_file.c - the file METADATA.
 */
#include "nlt_metadata.h"

#include "nlt_filenames.h"
#include "nlt_lines.h"
#include "nlt_num.h"

#define FORMAT 1

/* Of the file, its list and a page or two. */
#define POOL_BYTES (4 * (size_t) NLT_METADATA_FILE_MAX)

/* ---- writing ---- */

void
nlt_metadata_print(const nlt_metadata_list_t *l, const uint8_t *store_id,
                   nlt_buf_t *out)
{
    nlt_lines_out_t lines;

    nlt_lines_begin_file(&lines, out, "metadata", FORMAT, store_id);
    for (size_t i = 0; i < l->n; i++) {
        const nlt_metadata_t *m = &l->v[i];
        const nlt_str_t *texts[] = {&m->name, &m->help, &m->unit};

        nlt_buf_addf(out, "family %u %s %lld", m->tenant,
                     nlt_metadata_type_text(m->type).data,
                     (long long) l->seen_ms[i]);
        for (size_t k = 0; k < NLT_COUNT(texts); k++) {
            nlt_buf_add_byte(out, ' ');
            nlt_lines_add_hex(out, texts[k]->data, texts[k]->len);
        }
        nlt_lines_end_line(&lines);
    }
    nlt_lines_finish(&lines);
}

/* ---- reading ---- */

typedef struct {
    nlt_lines_in_t in;
    nlt_pool_t *pool;
    nlt_metadata_list_t *l;
    size_t cap;
} parse_t;

static nlt_rc_t
no_memory(parse_t *p)
{
    return nlt_err_set(p->in.err, NLT_ENOMEM, "METADATA: out of memory");
}

static bool
parse_type(nlt_str_t word, uint32_t *type)
{
    for (*type = 0; *type < NLT_METADATA_TYPES; ++*type) {
        if (nlt_str_eq(word, nlt_metadata_type_text(*type))) {
            return true;
        }
    }
    return false;
}

/* A word of hex digits in the pool. */
static nlt_rc_t
parse_text(parse_t *p, nlt_str_t word, nlt_str_t *out)
{
    size_t n = nlt_lines_hex_len(word);
    char *text;

    if (n > NLT_METADATA_BYTES_MAX) {
        return nlt_lines_bad(&p->in, "not a text in hex");
    }
    text = nlt_pool_alloc(p->pool, n);
    if (text == NULL) {
        return no_memory(p);
    }
    if (n > 0) {
        nlt_lines_hex(word, text);
    }
    *out = (nlt_str_t){n, text};
    return NLT_OK;
}

static bool
have_room(parse_t *p)
{
    nlt_metadata_list_t *l = p->l, more;
    size_t cap = p->cap ? 2 * p->cap : 64;

    if (l->n < p->cap) {
        return true;
    }
    more.v = nlt_pool_array(p->pool, cap, sizeof(*more.v));
    more.seen_ms = nlt_pool_array(p->pool, cap, sizeof(*more.seen_ms));
    if (more.v == NULL || more.seen_ms == NULL) {
        return false;
    }
    if (l->n > 0) {
        memcpy(more.v, l->v, l->n * sizeof(*l->v));
        memcpy(more.seen_ms, l->seen_ms, l->n * sizeof(*l->seen_ms));
    }
    l->v = more.v;
    l->seen_ms = more.seen_ms;
    p->cap = cap;
    return true;
}

static nlt_rc_t
parse_family(parse_t *p)
{
    const nlt_str_t *w = p->in.word;
    nlt_metadata_list_t *l = p->l;
    nlt_metadata_t m = {.type = 0};
    uint64_t tenant;
    int64_t seen_ms;
    nlt_rc_t rc;

    if (!nlt_lines_is(&p->in, "family", 7) || !nlt_lines_count(w[1], &tenant)
        || tenant >= UINT32_MAX || !parse_type(w[2], &m.type)
        || !nlt_num_parse_i64(w[3], &seen_ms)) {
        return nlt_lines_bad(&p->in, "not a family");
    }
    m.tenant = (uint32_t) tenant;
    rc = parse_text(p, w[4], &m.name);
    if (rc == NLT_OK) {
        rc = parse_text(p, w[5], &m.help);
    }
    if (rc == NLT_OK) {
        rc = parse_text(p, w[6], &m.unit);
    }
    if (rc != NLT_OK) {
        return rc;
    }
    if (!nlt_metadata_valid(&m)) {
        return nlt_lines_bad(&p->in, "a text of the family is not valid");
    }
    if (l->n > 0
        && (l->v[l->n - 1].tenant > m.tenant
            || (l->v[l->n - 1].tenant == m.tenant
                && nlt_str_cmp(l->v[l->n - 1].name, m.name) >= 0))) {
        return nlt_lines_bad(&p->in, "families are not in order");
    }
    if (!have_room(p)) {
        return no_memory(p);
    }
    l->v[l->n] = m;
    l->seen_ms[l->n++] = seen_ms;
    return NLT_OK;
}

nlt_rc_t
nlt_metadata_parse(nlt_str_t text, const uint8_t *store_id, nlt_pool_t *pool,
                   nlt_metadata_list_t *out, nlt_err_t *err)
{
    parse_t p = {.in = {.name = NLT_FILE_METADATA, .text = text, .err = err},
                 .pool = pool,
                 .l = out};
    nlt_rc_t rc;

    *out = (nlt_metadata_list_t){.n = 0};
    while ((rc = nlt_lines_next(&p.in)) == NLT_OK) {
        rc = p.in.n <= 2 ? nlt_lines_head(&p.in, "metadata", FORMAT, store_id)
                         : parse_family(&p);
        if (rc != NLT_OK) {
            return rc;
        }
    }
    return rc != NLT_EOF ? rc
           : p.in.n <= 2 ? nlt_lines_bad(&p.in, "cut off")
                         : NLT_OK;
}

/* ---- stash and file ---- */

nlt_rc_t
nlt_metadata_save(const nlt_env_t *env, int dir_fd, const uint8_t *store_id,
                  nlt_stash_t *s, const uint8_t *secret, int64_t border_ms,
                  nlt_err_t *err)
{
    static const nlt_str_t all = {0, NULL};
    nlt_metadata_list_t l;
    size_t kept = 0;
    nlt_pool_t pool;
    nlt_buf_t text;
    nlt_rc_t rc;

    nlt_pool_init(&pool, env->mem, POOL_BYTES);
    nlt_buf_init(&text, env->mem, NLT_METADATA_FILE_MAX);
    rc = nlt_metadata_list(s, NLT_STASH_ANY_TENANT, all, &pool, &l, err);
    if (rc == NLT_OK) {
        for (size_t i = 0; i < l.n; i++) {
            if (l.seen_ms[i] < border_ms) {
                nlt_metadata_forget(s, secret, &l.v[i], border_ms);
                continue;
            }
            l.v[kept] = l.v[i];
            l.seen_ms[kept++] = l.seen_ms[i];
        }
        l.n = kept;
        nlt_metadata_print(&l, store_id, &text);
        rc = text.rc != NLT_OK
                 ? nlt_err_set(err, text.rc, "METADATA: %s",
                               nlt_rc_text(text.rc))
                 : nlt_io_replace_file(env->io, dir_fd, NLT_FILE_METADATA,
                                       text.data, text.len, err);
    }
    nlt_buf_deinit(&text);
    nlt_pool_deinit(&pool);
    return rc;
}

nlt_rc_t
nlt_metadata_load(const nlt_env_t *env, int dir_fd, const uint8_t *store_id,
                  nlt_stash_t *s, const uint8_t *secret, nlt_err_t *err)
{
    nlt_metadata_list_t l;
    nlt_pool_t pool;
    nlt_buf_t text;
    nlt_rc_t rc;

    nlt_pool_init(&pool, env->mem, POOL_BYTES);
    nlt_buf_init(&text, env->mem, NLT_METADATA_FILE_MAX);
    rc = nlt_io_read_file(env->io, dir_fd, NLT_FILE_METADATA, &text, err);
    if (rc == NLT_OK) {
        rc = nlt_metadata_parse(nlt_buf_str(&text), store_id, &pool, &l, err);
    } else if (rc == NLT_ETOOBIG) {
        rc = nlt_err_set(err, NLT_EDATA, "METADATA is longer than %u bytes",
                         NLT_METADATA_FILE_MAX);
    }
    for (size_t i = 0; rc == NLT_OK && i < l.n; i++) {
        if (!nlt_metadata_known(s, secret, &l.v[i])) {
            /* What does not fit is not there: older ones of others stay. */
            (void) !nlt_metadata_put(s, secret, &l.v[i], l.seen_ms[i]);
        }
    }
    nlt_buf_deinit(&text);
    nlt_pool_deinit(&pool);
    return rc == NLT_ENOENT ? NLT_OK : rc;
}
