/*
 * nlt_times.c - a table of decoded times: filled by compare and swap, never
 * emptied while it is in use.
 */
#include "nlt_times.h"

#include "nlt_hash.h"

/* Twice as many slots as parts, looked at this many in a row. */
#define SLOTS  (2 * NLT_TIMES_PARTS_MAX)
#define PROBES 16

typedef struct {
    nlt_times_key_t key;
    size_t n;
    int64_t t_ms[];
} part_t;

typedef struct {
    _Atomic uint32_t n; /* parts, and those that are being put */
    _Atomic uintptr_t slot[SLOTS];
} nlt_times_table_t;

static size_t
part_bytes(size_t n)
{
    return sizeof(part_t) + n * sizeof(int64_t);
}

void
nlt_times_init(nlt_times_t *t, const nlt_mem_t *mem)
{
    t->mem = mem;
    t->n_max = NLT_TIMES_PARTS_MAX;
    t->limited = false;
    atomic_init(&t->table, 0);
}

size_t
nlt_times_limit(nlt_times_t *t, size_t size)
{
    size_t table = sizeof(nlt_times_table_t),
           part = part_bytes(NLT_TIMES_PART);
    size_t n = size < table ? 0 : (size - table) / part;

    n = n < NLT_TIMES_PARTS_MAX ? n : NLT_TIMES_PARTS_MAX;
    t->n_max = (uint32_t) n;
    t->limited = true;
    return n > 0 ? table + n * part : 0;
}

static nlt_times_table_t *
table_of(const nlt_times_t *t)
{
    return (nlt_times_table_t *) atomic_load_explicit(&t->table,
                                                      memory_order_acquire);
}

void
nlt_times_deinit(nlt_times_t *t)
{
    nlt_times_table_t *table = table_of(t);

    if (table == NULL) {
        return;
    }
    for (size_t i = 0; i < SLOTS; i++) {
        part_t *p = (part_t *) atomic_load(&table->slot[i]);

        if (p != NULL) {
            nlt_mem_free(t->mem, p, part_bytes(p->n));
        }
    }
    nlt_mem_free(t->mem, table, sizeof(*table));
    atomic_store(&t->table, 0);
}

static size_t
slot_of(const nlt_times_key_t *k)
{
    uint64_t h = (uint64_t) (uintptr_t) k->column + k->no;

    return (size_t) ((h * UINT64_C(0x9e3779b97f4a7c15)) >> 40);
}

static bool
is_part(const part_t *p, const nlt_times_key_t *k)
{
    return p->key.column == k->column && p->key.no == k->no
           && p->key.n_column == k->n_column;
}

const int64_t *
nlt_times_find(const nlt_times_t *t, const nlt_times_key_t *k)
{
    const nlt_times_table_t *table = table_of(t);
    size_t at = slot_of(k);

    for (size_t i = 0; table != NULL && i < PROBES; i++) {
        const part_t *p = (const part_t *) atomic_load_explicit(
            &table->slot[(at + i) % SLOTS], memory_order_acquire);

        if (p == NULL) {
            break;
        }
        if (is_part(p, k)) {
            return p->t_ms;
        }
    }
    return NULL;
}

/* The table, made if there is none; NULL: no memory. */
static nlt_times_table_t *
get_table(nlt_times_t *t)
{
    nlt_times_table_t *table = table_of(t);
    uintptr_t none = 0;

    if (table != NULL) {
        return table;
    }
    table = nlt_mem_zalloc(t->mem, sizeof(*table));
    if (table != NULL
        && !atomic_compare_exchange_strong(&t->table, &none,
                                           (uintptr_t) table)) {
        nlt_mem_free(t->mem, table, sizeof(*table));
        table = (nlt_times_table_t *) none;
    }
    return table;
}

/* Is it there now?  False: no slot is free. */
static bool
put(nlt_times_table_t *table, part_t *p)
{
    size_t at = slot_of(&p->key);

    for (size_t i = 0; i < PROBES; i++) {
        uintptr_t is = 0;

        if (atomic_compare_exchange_strong(&table->slot[(at + i) % SLOTS], &is,
                                           (uintptr_t) p)) {
            return true;
        }
        if (is_part((const part_t *) is, &p->key)) {
            return false;
        }
    }
    return false;
}

void
nlt_times_keep(nlt_times_t *t, const nlt_times_key_t *k, const int64_t *t_ms,
               size_t n)
{
    nlt_times_table_t *table = t->n_max > 0 ? get_table(t) : NULL;
    part_t *p = NULL;

    if (table == NULL) {
        return;
    }
    if (atomic_fetch_add(&table->n, 1) < t->n_max) {
        p = nlt_mem_zalloc(t->mem, part_bytes(n));
    }
    if (p != NULL) {
        p->key = *k;
        p->n = n;
        memcpy(p->t_ms, t_ms, n * sizeof(*t_ms));
        if (put(table, p)) {
            return;
        }
        nlt_mem_free(t->mem, p, part_bytes(n));
    }
    atomic_fetch_sub(&table->n, 1);
}
