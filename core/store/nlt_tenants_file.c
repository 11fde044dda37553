/*
 * nlt_tenants_file.c - the file TENANTS.
 */
#include "nlt_filenames.h"
#include "nlt_lines.h"
#include "nlt_tenants.h"

#define FORMAT 2

/* Lines with fixed places; one less before format 2. */
#define HEAD_LINES 4

/* ---- writing ---- */

void
nlt_tenants_print(const nlt_tenants_t *t, uint32_t next, uint32_t known,
                  const uint8_t *store_id, nlt_buf_t *out)
{
    nlt_lines_out_t lines;

    nlt_lines_begin_file(&lines, out, "tenants", FORMAT, store_id);
    nlt_buf_addf(out, "next %u", next);
    nlt_lines_end_line(&lines);
    nlt_buf_addf(out, "known %u", known);
    nlt_lines_end_line(&lines);
    for (uint32_t no = 1; no < next; no++) {
        nlt_str_t name;

        if (nlt_tenants_lives(t, no)) {
            name = nlt_tenant_name(nlt_tenants_slot(t, no));
            nlt_buf_addf(out, "tenant %u ", no);
            nlt_lines_add_hex(out, name.data, name.len);
            nlt_lines_end_line(&lines);
        }
    }
    nlt_lines_finish(&lines);
}

nlt_rc_t
nlt_tenants_save(nlt_tenants_t *t, int dir_fd, const uint8_t *store_id,
                 bool is_whole, nlt_err_t *err)
{
    uint32_t next, known;
    uint64_t changes;
    nlt_buf_t text;
    nlt_rc_t rc = nlt_tenants_mark(t, &next, &changes, err);

    if (rc != NLT_OK) {
        return rc;
    }
    known = is_whole ? next : atomic_load(&t->hdr->file_known);
    nlt_buf_init(&text, t->env->mem, NLT_TENANTS_FILE_MAX);
    nlt_tenants_print(t, next, known, store_id, &text);
    rc = text.rc != NLT_OK
             ? nlt_err_set(err, text.rc, "TENANTS: %s", nlt_rc_text(text.rc))
             : nlt_io_replace_file(t->env->io, dir_fd, NLT_FILE_TENANTS,
                                   text.data, text.len, err);
    nlt_buf_deinit(&text);
    if (rc == NLT_OK) {
        atomic_store(&t->hdr->saved, changes);
    }
    return rc;
}

/* ---- reading ---- */

typedef struct {
    nlt_lines_in_t in;
    const uint8_t *store_id; /* NULL: any */
    nlt_pool_t *pool;
    nlt_tenants_list_t *l;
    size_t cap;
} parse_t;

/* The first two lines are those of all files, then a number or two. */
static nlt_rc_t
parse_head(parse_t *p)
{
    nlt_lines_in_t *in = &p->in;
    bool is_next = in->n == 3;
    uint64_t v;

    if (in->n < 3) {
        return nlt_lines_head(in, "tenants", FORMAT, p->store_id);
    }
    if (!nlt_lines_is(in, is_next ? "next" : "known", 2)
        || !nlt_lines_count(in->word[1], &v) || v > NLT_TENANTS_NUMBERS
        || (is_next ? v == 0 : v > p->l->next)) {
        return nlt_lines_bad(in, is_next ? "not the next number"
                                         : "not a number that is known");
    }
    if (is_next) {
        p->l->next = (uint32_t) v;
    }
    p->l->known = (uint32_t) v;
    return NLT_OK;
}

static uint64_t
head_lines(const parse_t *p)
{
    return p->in.format < 2 ? HEAD_LINES - 1 : HEAD_LINES;
}

static bool
have_room(parse_t *p)
{
    nlt_tenants_list_t *l = p->l;
    size_t cap = p->cap ? 2 * p->cap : 64;
    nlt_tenants_entry_t *v;

    if (l->n < p->cap) {
        return true;
    }
    v = nlt_pool_array(p->pool, cap, sizeof(*v));
    if (v == NULL) {
        return false;
    }
    if (l->n > 0) {
        memcpy(v, l->v, l->n * sizeof(*v));
    }
    l->v = v;
    p->cap = cap;
    return true;
}

static nlt_rc_t
parse_tenant(parse_t *p)
{
    const nlt_str_t *w = p->in.word;
    nlt_tenants_list_t *l = p->l;
    char *text = NULL;
    uint64_t number;
    size_t n;

    if (!nlt_lines_is(&p->in, "tenant", 3) || !nlt_lines_count(w[1], &number)
        || number == 0 || number >= l->next) {
        return nlt_lines_bad(&p->in, "not a tenant");
    }
    n = nlt_lines_hex_len(w[2]);
    if (n == 0 || n > NLT_TENANT_NAME_MAX) {
        return nlt_lines_bad(&p->in, "not a name in hex");
    }
    if (l->n > 0 && l->v[l->n - 1].number >= number) {
        return nlt_lines_bad(&p->in, "numbers are not in order");
    }
    text = nlt_pool_alloc(p->pool, n);
    if (text == NULL || !have_room(p)) {
        return nlt_err_set(p->in.err, NLT_ENOMEM, "TENANTS: out of memory");
    }
    nlt_lines_hex(w[2], text);
    l->v[l->n] = (nlt_tenants_entry_t){(uint32_t) number, {n, text}};
    if (nlt_tenant_name_check(l->v[l->n].name, NULL) != NLT_OK) {
        return nlt_lines_bad(&p->in, "not a name");
    }
    l->n++;
    return NLT_OK;
}

nlt_rc_t
nlt_tenants_parse(nlt_str_t text, const uint8_t *store_id, nlt_pool_t *pool,
                  nlt_tenants_list_t *out, nlt_err_t *err)
{
    parse_t p = {.in = {.name = NLT_FILE_TENANTS, .text = text, .err = err},
                 .store_id = store_id,
                 .pool = pool,
                 .l = out};
    nlt_rc_t rc;

    *out = (nlt_tenants_list_t){.next = 1, .known = 1};
    while ((rc = nlt_lines_next(&p.in)) == NLT_OK) {
        rc = p.in.n <= head_lines(&p) ? parse_head(&p) : parse_tenant(&p);
        if (rc != NLT_OK) {
            return rc;
        }
    }
    return rc != NLT_EOF              ? rc
           : p.in.n <= head_lines(&p) ? nlt_lines_bad(&p.in, "cut off")
                                      : NLT_OK;
}

/* Two lines of a name would be one tenant with two numbers. */
static nlt_rc_t
put_all(nlt_tenants_t *t, const nlt_tenants_list_t *l, nlt_err_t *err)
{
    nlt_rc_t rc = NLT_OK;

    for (size_t i = 0; rc == NLT_OK && i < l->n; i++) {
        rc = nlt_tenants_put(t, l->v[i].number, l->v[i].name, err);
    }
    if (rc == NLT_OK) {
        nlt_tenants_skip(t, l->next);
    }
    return rc == NLT_EEXIST
               ? nlt_err_set(err, NLT_EDATA, "TENANTS: a name occurs twice")
               : rc;
}

nlt_rc_t
nlt_tenants_read(const nlt_env_t *env, int dir_fd, const uint8_t *store_id,
                 nlt_pool_t *pool, nlt_tenants_list_t *out, nlt_err_t *err)
{
    nlt_buf_t text;
    nlt_rc_t rc;

    *out = (nlt_tenants_list_t){.next = 1, .known = 1};
    nlt_buf_init(&text, env->mem, NLT_TENANTS_FILE_MAX);
    rc = nlt_io_read_file(env->io, dir_fd, NLT_FILE_TENANTS, &text, err);
    if (rc == NLT_OK) {
        rc = nlt_tenants_parse(nlt_buf_str(&text), store_id, pool, out, err);
    } else if (rc == NLT_ETOOBIG) {
        rc = nlt_err_set(err, NLT_EDATA, "TENANTS is longer than %u bytes",
                         NLT_TENANTS_FILE_MAX);
    }
    nlt_buf_deinit(&text);
    return rc == NLT_ENOENT ? NLT_OK : rc;
}

nlt_rc_t
nlt_tenants_load(nlt_tenants_t *t, int dir_fd, const uint8_t *store_id,
                 uint32_t *next, nlt_err_t *err)
{
    nlt_tenants_list_t l;
    nlt_pool_t pool;
    nlt_rc_t rc;

    nlt_pool_init(&pool, t->env->mem, NLT_TENANTS_PARSED_MAX);
    rc = nlt_tenants_read(t->env, dir_fd, store_id, &pool, &l, err);
    if (rc == NLT_OK) {
        rc = put_all(t, &l, err);
    }
    if (rc == NLT_OK) {
        atomic_store(&t->hdr->file_next, l.next);
        atomic_store(&t->hdr->file_known, l.known);
        atomic_store(&t->hdr->saved, atomic_load(&t->hdr->changes));
    }
    *next = l.next;
    nlt_pool_deinit(&pool);
    return rc;
}
