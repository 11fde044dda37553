/*
 * nlt_labels.c - label sets.
 */
#include "nlt_labels.h"

#include "nlt_hash.h"
#include "nlt_sort.h"

/* Up to here insertion sort is as good. */
#define INSERTION_MAX 24

nlt_str_t
nlt_labels_get(nlt_labels_t l, nlt_str_t name)
{
    size_t lo = 0, hi = l.n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = nlt_str_cmp(l.v[mid].name, name);

        if (c == 0) {
            return l.v[mid].value;
        }
        if (c < 0) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return (nlt_str_t){0, NULL};
}

/* One string, as those of one source mostly are that are equal. */
static inline bool
same_bytes(nlt_str_t a, nlt_str_t b)
{
    return a.data == b.data && a.len == b.len;
}

static inline int
compare(nlt_str_t a, nlt_str_t b)
{
    return same_bytes(a, b) ? 0 : nlt_str_cmp(a, b);
}

int
nlt_labels_cmp(nlt_labels_t a, nlt_labels_t b)
{
    size_t n = a.n < b.n ? a.n : b.n;

    for (size_t i = 0; i < n; i++) {
        int c = compare(a.v[i].name, b.v[i].name);

        if (c == 0) {
            c = compare(a.v[i].value, b.v[i].value);
        }
        if (c != 0) {
            return c;
        }
    }
    return (a.n > b.n) - (a.n < b.n);
}

size_t
nlt_labels_alike(nlt_labels_t a, nlt_labels_t b, size_t max)
{
    size_t n = a.n < b.n ? a.n : b.n, i = 0;

    n = n < max ? n : max;
    while (i < n && compare(a.v[i].name, b.v[i].name) == 0
           && compare(a.v[i].value, b.v[i].value) == 0) {
        i++;
    }
    return i;
}

bool
nlt_labels_eq(nlt_labels_t a, nlt_labels_t b)
{
    if (a.n != b.n) {
        return false;
    }
    for (size_t i = 0; i < a.n; i++) {
        nlt_label_t x = a.v[i], y = b.v[i];

        if ((!same_bytes(x.name, y.name) && !nlt_str_eq(x.name, y.name))
            || (!same_bytes(x.value, y.value)
                && !nlt_str_eq(x.value, y.value))) {
            return false;
        }
    }
    return true;
}

/*
 * Goes on with a hash over one string.  Up to 16 bytes, as most are, are the
 * factors of one product, as wyhash has it; longer ones are hashed in full.
 */
static inline uint64_t
hash_string(uint64_t h, nlt_str_t s)
{
    uint64_t a = 0, b = 0;

    if (s.len > 16) {
        return nlt_hash64(s.data, s.len, h);
    }
    if (s.len >= 8) {
        memcpy(&a, s.data, 8);
        memcpy(&b, s.data + s.len - 8, 8);
    } else if (s.len >= 4) {
        uint32_t first, last;

        memcpy(&first, s.data, 4);
        memcpy(&last, s.data + s.len - 4, 4);
        a = first;
        b = last;
    } else {
        for (size_t i = 0; i < s.len; i++) {
            a = a << 8 | (uint8_t) s.data[i];
        }
    }
    a ^= UINT64_C(0xa0761d6478bd642f) ^ s.len;
    b ^= UINT64_C(0xe7037ed1a0b428db) ^ h;

    unsigned __int128 product = (unsigned __int128) a * b;

    /* the factors too: one that is 0 would hide the other */
    return (uint64_t) product ^ (uint64_t) (product >> 64) ^ a ^ b;
}

uint64_t
nlt_labels_hash(nlt_labels_t l)
{
    uint64_t h = l.n;

    /* Each string's hash seeds the next: borders between them count. */
    for (size_t i = 0; i < l.n; i++) {
        h = hash_string(h, l.v[i].name);
        h = hash_string(h, l.v[i].value);
    }
    return nlt_mix64(h);
}

bool
nlt_labels_copy(nlt_pool_t *pool, nlt_labels_t l, nlt_labels_t *out)
{
    nlt_label_t *v = nlt_pool_array(pool, l.n, sizeof(*v));
    size_t bytes = 0;
    char *to;

    *out = (nlt_labels_t){NULL, 0};
    for (size_t i = 0; i < l.n; i++) {
        bytes += l.v[i].name.len + l.v[i].value.len;
    }
    to = nlt_pool_alloc(pool, bytes);
    if (v == NULL || to == NULL) {
        return false;
    }
    for (size_t i = 0; i < l.n; i++) {
        const nlt_str_t *from[2] = {&l.v[i].name, &l.v[i].value};
        nlt_str_t *into[2] = {&v[i].name, &v[i].value};

        for (int k = 0; k < 2; k++) {
            if (from[k]->len > 0) {
                memcpy(to, from[k]->data, from[k]->len);
            }
            *into[k] = (nlt_str_t){from[k]->len, to};
            to += from[k]->len;
        }
    }
    *out = (nlt_labels_t){v, l.n};
    return true;
}

static bool
name_less(const nlt_label_t *a, const nlt_label_t *b, const void *ctx)
{
    (void) ctx;
    return nlt_str_cmp(a->name, b->name) < 0;
}

NLT_HEAP_SORT(heap_sort, nlt_label_t, name_less);

void
nlt_labels_sort(nlt_label_t *v, size_t n)
{
    size_t n_sorted = 1;

    while (n_sorted < n && !name_less(&v[n_sorted], &v[n_sorted - 1], NULL)) {
        n_sorted++;
    }
    if (n > INSERTION_MAX && n_sorted < n) {
        heap_sort(v, n, NULL);
        return;
    }
    for (size_t i = n_sorted; i < n; i++) {
        nlt_label_t x = v[i];
        size_t k = i;

        for (; k > 0 && name_less(&x, &v[k - 1], NULL); k--) {
            v[k] = v[k - 1];
        }
        v[k] = x;
    }
}

size_t
nlt_labels_normalize(nlt_label_t *v, size_t n, nlt_str_t *dup)
{
    size_t kept = 0;

    *dup = (nlt_str_t){0, NULL};
    nlt_labels_sort(v, n);
    for (size_t i = 1; i < n; i++) {
        if (nlt_str_eq(v[i - 1].name, v[i].name)) {
            *dup = v[i].name;
            if (dup->data == NULL) {
                dup->data = "";
            }
            break;
        }
    }
    for (size_t i = 0; i < n; i++) {
        if (v[i].value.len > 0) {
            v[kept++] = v[i];
        }
    }
    return kept;
}

static bool
name_is_legacy(nlt_str_t name, bool colon)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.data[i];
        bool digit = c >= '0' && c <= '9';

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'
              || (digit && i > 0) || (colon && c == ':'))) {
            return false;
        }
    }
    return name.len > 0;
}

bool
nlt_label_name_is_legacy(nlt_str_t name)
{
    return name_is_legacy(name, false);
}

bool
nlt_metric_name_is_legacy(nlt_str_t name)
{
    return name_is_legacy(name, true);
}

void
nlt_labels_print(nlt_buf_t *b, nlt_labels_t l)
{
    nlt_buf_add_byte(b, '{');
    for (size_t i = 0; i < l.n; i++) {
        if (i > 0) {
            nlt_buf_add(b, ", ", 2);
        }
        if (nlt_label_name_is_legacy(l.v[i].name)) {
            nlt_buf_add_str(b, l.v[i].name);
        } else {
            nlt_utf8_quote(b, l.v[i].name);
        }
        nlt_buf_add_byte(b, '=');
        nlt_utf8_quote(b, l.v[i].value);
    }
    nlt_buf_add_byte(b, '}');
}
