/*
 * fuzz_snappy.c - snappy bodies: no overrun, no belief in lying headers, and
 * what we compress comes back.
 */
#include <stdlib.h>

#include "nlt_remote_write.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DECODED_MAX (1u << 22)

static void
must(bool ok)
{
    if (!ok) {
        abort();
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    nlt_str_t body = {size, (const char *) data};
    size_t n, packed_n, back_n;
    char *out, *packed;
    nlt_err_t err;
    nlt_rc_t rc;

    rc = nlt_snappy_length(body, DECODED_MAX, &n, &err);
    if (rc == NLT_OK) {
        must(n <= DECODED_MAX && n <= (size / 3 + 2) * 64);
        out = malloc(n ? n : 1);
        must(out != NULL);
        rc = nlt_snappy_decode(body, out, n, &err);
        must(rc == NLT_OK || (rc == NLT_EINVAL && err.len));
        free(out);
    } else {
        must((rc == NLT_EINVAL || rc == NLT_ETOOBIG) && err.len);
    }

    packed = malloc(nlt_snappy_bound(size));
    out = malloc(size ? size : 1);
    must(packed != NULL && out != NULL);
    packed_n = nlt_snappy_encode(body, packed);
    must(packed_n > 0 && packed_n <= nlt_snappy_bound(size));
    must(nlt_snappy_length((nlt_str_t){packed_n, packed}, size, &back_n, NULL)
             == NLT_OK
         && back_n == size);
    must(nlt_snappy_decode((nlt_str_t){packed_n, packed}, out, size, NULL)
         == NLT_OK);
    must(size == 0 || memcmp(out, data, size) == 0);
    free(packed);
    free(out);
    return 0;
}
