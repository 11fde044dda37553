/*
 * fuzz_store.h - a store for targets that ask the HTTP API: one without a
 * helper, which will never be ready; and lines of the input.
 */
#ifndef FUZZ_STORE_H
#define FUZZ_STORE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "nlt_api.h"

static nlt_store_t *store;
static char dir[] = "/tmp/nlt-fuzz-XXXXXX";

static inline void
remove_dir(void)
{
    static const char *const names[] = {
        "lock", "lock.next", "users",      "term",   "store.id",
        "wal",  "blocks",    "quarantine", "import", "snapshots"};
    char path[64];

    nlt_store_close(store);
    for (size_t i = 0; i < NLT_COUNT(names); i++) {
        (void) snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        (void) remove(path);
    }
    (void) rmdir(dir);
}

/* Opens it, and has it removed at the end; aborts when it cannot be. */
static inline void
open_store(void)
{
    nlt_store_conf_t conf = {.memory_bytes = NLT_HEAD_MEMORY_MIN,
                             .retention_ms = 1000000,
                             .arena_age_ms = 1000000};
    nlt_err_t err;

    if (mkdtemp(dir) == NULL) {
        abort();
    }
    conf.path = dir;
    conf.head_path = dir;
    if (nlt_store_prepare_dir(&nlt_env_posix, &conf, &err) != NLT_OK
        || nlt_store_open(&nlt_env_posix, &conf, NLT_ROLE_WORKER, &store, &err)
               != NLT_OK) {
        fprintf(stderr, "%s\n", err.text);
        abort();
    }
    (void) atexit(remove_dir);
}

/* The next line of the input. */
static inline nlt_str_t
line(nlt_str_t *input)
{
    const char *nl =
        input->len > 0 ? memchr(input->data, '\n', input->len) : NULL;
    size_t n = nl != NULL ? (size_t) (nl - input->data) : input->len;
    nlt_str_t out = {n, input->data};

    n += nl != NULL;
    input->data += n;
    input->len -= n;
    return out;
}

#endif
