/*
 * fuzz_pql_parse.c - any text is parsed, or refused with a clear error; and
 * what was parsed can be printed and parsed again to the same tree.
 *
 * The first byte chooses the features, the rest is the query.
 */
#include <stdio.h>
#include <stdlib.h>

#include "nlt_pql_duration.h"
#include "nlt_pql_parse.h"
#include "nlt_test_pql.h"

#define BUDGET (8u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The error of a refused text says where, inside the text. */
static void
check_error(nlt_rc_t rc, const nlt_err_t *err, size_t size)
{
    if (rc == NLT_ENOMEM) {
        return;
    }
    if (rc != NLT_EINVAL || err->len == 0 || err->len >= sizeof(err->text)
        || err->pos < 0 || (size_t) err->pos > size
        || strstr(err->text, ": parse error: ") == NULL) {
        fprintf(stderr, "error %d at %lld: %s\n", (int) rc,
                (long long) err->pos, err->text);
        abort();
    }
}

static void
check_round_trip(nlt_pool_t *pool, const nlt_pql_node_t *tree,
                 void (*print)(nlt_buf_t *b, const nlt_pql_node_t *node))
{
    nlt_pql_node_t *again;
    nlt_err_t err;
    nlt_buf_t text;

    nlt_buf_init(&text, &nlt_mem_libc, 16 * BUDGET);
    print(&text, tree);
    if (text.rc != NLT_OK) {
        abort();
    }
    if (nlt_pql_parse(pool, nlt_buf_str(&text), NLT_PQL_F_ALL, &again, &err)
        != NLT_OK) {
        /* Longer than what is read: escapes grow. */
        if (!pool->over_budget && text.len < (1u << 20)) {
            fprintf(stderr, "printed: %.*s\nerror: %s\n",
                    NLT_FMT(nlt_buf_str(&text)), err.text);
            abort();
        }
    } else if (!nlt_test_pql_eq(tree, again)) {
        fprintf(stderr, "not the same: %.*s\n", NLT_FMT(nlt_buf_str(&text)));
        abort();
    }
    nlt_buf_deinit(&text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    nlt_pool_t pool;
    nlt_pql_node_t *tree;
    nlt_matcher_t *matchers;
    size_t n_matchers;
    nlt_err_t err;
    nlt_rc_t rc;

    if (size == 0) {
        return 0;
    }
    nlt_str_t text = {size - 1, (const char *) data + 1};

    nlt_pool_init(&pool, &nlt_mem_libc, BUDGET);
    rc = nlt_pql_parse(&pool, text, data[0] & NLT_PQL_F_ALL, &tree, &err);
    if (rc == NLT_OK) {
        check_round_trip(&pool, tree, nlt_pql_print);
        check_round_trip(&pool, tree, nlt_pql_pretty);
    } else {
        check_error(rc, &err, text.len);
    }
    rc = nlt_pql_parse_selector(&pool, text, &matchers, &n_matchers, &err);
    if (rc != NLT_OK) {
        check_error(rc, &err, text.len);
    }
    nlt_pool_deinit(&pool);
    return 0;
}
