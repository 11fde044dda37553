/*
 * fuzz_manifest.c - any bytes as MANIFEST: refused, or read and printed
 * again as something that reads as the same.
 */
#include <stdlib.h>

#include "nlt_manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    nlt_manifest_t m = {.mem = &nlt_mem_libc}, back = {.mem = &nlt_mem_libc};
    nlt_buf_t text;
    nlt_err_t err;

    if (nlt_manifest_parse(&m, (nlt_str_t){size, (const char *) data}, &err)
        != NLT_OK) {
        if (m.n_blocks != 0 || m.n_finished != 0 || err.len == 0) {
            abort();
        }
        return 0;
    }
    nlt_buf_init(&text, &nlt_mem_libc, NLT_MANIFEST_BYTES_MAX);
    nlt_manifest_print(&m, &text);
    if (text.rc != NLT_OK
        || nlt_manifest_parse(&back, nlt_buf_str(&text), &err) != NLT_OK
        || back.n_blocks != m.n_blocks || back.floor != m.floor
        || back.tenants != m.tenants || back.n_finished != m.n_finished
        || back.generation != m.generation) {
        abort();
    }
    nlt_buf_deinit(&text);
    nlt_manifest_deinit(&back);
    nlt_manifest_deinit(&m);
    return 0;
}
