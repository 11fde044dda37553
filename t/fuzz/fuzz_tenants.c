/*
 * fuzz_tenants.c - the parser of TENANTS on any bytes.
 *
 * The bytes are a text; when its first byte is '!', the lines behind it get
 * right checksums, since no fuzzer guesses a CRC.  What parses has names and
 * numbers as they must be, in order.
 */
#include <stdlib.h>

#include "fuzz_lines.h"
#include "nlt_tenants.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    nlt_str_t text = {size, (const char *) data};
    nlt_tenants_list_t l;
    nlt_buf_t fixed;
    nlt_pool_t pool;
    nlt_err_t err;

    nlt_buf_init(&fixed, &nlt_mem_libc, 1 << 20);
    nlt_pool_init(&pool, &nlt_mem_libc, 16 << 20);
    if (size > 0 && data[0] == '!') {
        fuzz_add_checksums((nlt_str_t){size - 1, text.data + 1}, &fixed);
        text = nlt_buf_str(&fixed);
    }
    if (nlt_tenants_parse(text, NULL, &pool, &l, &err) == NLT_OK) {
        if (l.known > l.next) {
            abort();
        }
        for (size_t i = 0; i < l.n; i++) {
            if (nlt_tenant_name_check(l.v[i].name, NULL) != NLT_OK
                || l.v[i].number == 0 || l.v[i].number >= l.next
                || (i > 0 && l.v[i].number <= l.v[i - 1].number)) {
                abort();
            }
        }
    }
    nlt_pool_deinit(&pool);
    nlt_buf_deinit(&fixed);
    return 0;
}
