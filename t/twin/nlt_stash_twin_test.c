/*
 * nlt_stash_twin_test.c - the stash against a list, on random operations.
 *
 * The twin is all items in the order in which they were put.  It knows what
 * each takes, and so who has to go: the oldest of the tenant with the most.
 * After each operation what is read must be the twin, and the stash sound.
 */
#include "nlt_test.h"

#include <sys/mman.h>

#include "nlt_mem.h"
#include "nlt_stash_priv.h"

#define BYTES   (2 * NLT_STASH_BYTES_MIN)
#define STEPS   6000
#define GROUPS  60
#define TENANTS 7
#define MAX     4000

typedef struct {
    uint64_t serial;
    unsigned group;
    int64_t t_ms;
    uint64_t v_bits;
    size_t len;
    char fill;
} item_t;

static item_t items[MAX]; /* in the order of the queues */
static size_t n_items;
static size_t group_len[GROUPS]; /* when it was made */
static nlt_stash_t stash;
static nlt_stash_page_t page;
static char texts[256][1000];

static unsigned
tenant_of(unsigned group)
{
    return group % TENANTS;
}

static nlt_hash128_t
key_of(unsigned group)
{
    return (nlt_hash128_t){nlt_mix64(group + 1), nlt_mix64(group + 1000)};
}

static unsigned
items_of(unsigned group)
{
    unsigned n = 0;

    for (size_t i = 0; i < n_items; i++) {
        n += items[i].group == group;
    }
    return n;
}

static unsigned
cells_of(unsigned tenant)
{
    unsigned n = 0;

    for (size_t i = 0; i < n_items; i++) {
        if (tenant_of(items[i].group) == tenant) {
            n += 1 + nlt_stash_text_cells(items[i].len);
        }
    }
    for (unsigned g = tenant; g < GROUPS; g += TENANTS) {
        if (items_of(g) > 0) {
            n += 1 + nlt_stash_text_cells(group_len[g]);
        }
    }
    return n;
}

static unsigned
cells_used(void)
{
    unsigned n = 0;

    for (unsigned t = 0; t < TENANTS; t++) {
        unsigned of = cells_of(t);

        n += of > 0 ? of + 1 : 0;
    }
    return n;
}

/* What the stash says: serial numbers that are there. */
static uint64_t seen[MAX];
static size_t n_seen;

static const item_t *
twin_of(uint64_t serial)
{
    for (size_t i = 0; i < n_items; i++) {
        if (items[i].serial == serial) {
            return &items[i];
        }
    }
    return NULL;
}

static bool
is_seen(uint64_t serial)
{
    for (size_t i = 0; i < n_seen; i++) {
        if (seen[i] == serial) {
            return true;
        }
    }
    return false;
}

static void
read_all(void)
{
    nlt_stash_walk_t w = {0, 0};
    static nlt_stash_group_t groups[GROUPS];
    size_t n_groups = 0;

    n_seen = 0;
    while (nlt_stash_groups(&stash, &w, NLT_STASH_ANY_TENANT, &page)
           == NLT_OK) {
        for (size_t i = 0; i < page.n && n_groups < GROUPS; i++) {
            groups[n_groups++] = page.u.group[i];
        }
    }
    for (size_t i = 0; i < n_groups; i++) {
        nlt_stash_at_t at = {0, 0};
        unsigned n = 0;

        while (nlt_stash_items(&stash, groups[i].key, &at, &page) == NLT_OK) {
            for (size_t k = 0; k < page.n && n_seen < MAX; k++) {
                seen[n_seen++] = page.u.item[k].serial;
                n++;
            }
        }
        NLT_CHECK_INT(n, groups[i].n_items);
    }
}

/* The content of each item, and of each group, is the twin's. */
static void
compare(void)
{
    NLT_CHECK_INT(n_seen, n_items);
    for (unsigned g = 0; g < GROUPS; g++) {
        nlt_stash_at_t at = {0, 0};
        uint64_t last = 0;

        while (nlt_stash_items(&stash, key_of(g), &at, &page) == NLT_OK) {
            for (size_t k = 0; k < page.n; k++) {
                const nlt_stash_item_t *it = &page.u.item[k];
                const item_t *t = twin_of(it->serial);

                NLT_CHECK(it->serial > last);
                last = it->serial;
                NLT_CHECK(
                    t != NULL && t->group == g && t->t_ms == it->t_ms
                    && t->v_bits == it->v_bits && t->len == it->text.len
                    && memcmp(it->text.data, texts[(uint8_t) t->fill], t->len)
                           == 0);
            }
        }
    }
}

static size_t
oldest_of(unsigned tenant)
{
    size_t i = 0;

    while (i < n_items && tenant_of(items[i].group) != tenant) {
        i++;
    }
    return i;
}

static void
remove_at(size_t i)
{
    n_items--;
    memmove(items + i, items + i + 1, (n_items - i) * sizeof(*items));
}

/* Cells that are free without item i. */
static unsigned
frees(size_t i)
{
    unsigned group = items[i].group;

    return 1 + nlt_stash_text_cells(items[i].len)
           + (items_of(group) == 1 ? 1 + nlt_stash_text_cells(group_len[group])
                                   : 0);
}

/* Makes room as the rule says; where two have the same, as was done. */
static void
make_room(unsigned tenant, unsigned need, unsigned backed)
{
    while (backed - cells_used() < need) {
        unsigned most = 0, victim = TENANTS;

        for (unsigned t = 0; t < TENANTS; t++) {
            unsigned n = cells_of(t);

            most = n > most ? n : most;
        }
        if (cells_of(tenant) > 0 && cells_of(tenant) + need >= most) {
            victim = tenant;
        }
        for (unsigned t = 0; t < TENANTS && victim != tenant; t++) {
            size_t i = oldest_of(t);

            /* of those that went the smallest was first, or others stayed */
            if (cells_of(t) == most && i < n_items && !is_seen(items[i].serial)
                && (victim == TENANTS
                    || frees(i) < frees(oldest_of(victim)))) {
                victim = t;
            }
        }
        NLT_CHECK(victim < TENANTS);
        if (victim == TENANTS) {
            return;
        }
        remove_at(oldest_of(victim));
    }
}

static void
put(unsigned group, bool only)
{
    size_t len =
        nlt_test_below(8) ? nlt_test_below(150) : nlt_test_below(1000);
    size_t glen = 1 + nlt_test_below(400);
    item_t it = {
        .group = group,
        .t_ms = (int64_t) nlt_test_below(100),
        .v_bits = nlt_test_below(3),
        .len = len,
        .fill = (char) nlt_test_below(256),
    };
    nlt_stash_new_t n = {
        .key = key_of(group),
        .tenant = tenant_of(group),
        .group = {glen, texts[0]},
        .t_ms = it.t_ms,
        .v_bits = it.v_bits,
        .text = {len, texts[(uint8_t) it.fill]},
        .only = only,
    };

    NLT_CHECK_INT(nlt_stash_put(&stash, &n), NLT_OK);
    read_all();
    it.serial = atomic_load(&stash.hdr->serial);
    for (size_t i = n_items; only && i-- > 0;) {
        if (items[i].group == group) {
            remove_at(i);
        }
    }
    make_room(tenant_of(group),
              3 + nlt_stash_text_cells(glen) + nlt_stash_text_cells(len),
              atomic_load(&stash.hdr->n_backed));
    if (items_of(group) == 0) {
        group_len[group] = glen;
    }
    items[n_items++] = it;
    NLT_CHECK(nlt_stash_has(&stash, n.key, n.t_ms, n.v_bits, n.text));
}

static void
cut(unsigned group)
{
    int64_t lo = (int64_t) nlt_test_below(100);
    int64_t hi = lo + (int64_t) nlt_test_below(60);
    size_t n = 0;

    for (size_t i = n_items; i-- > 0;) {
        if (items[i].group == group && items[i].t_ms >= lo
            && items[i].t_ms <= hi) {
            remove_at(i);
            n++;
        }
    }
    NLT_CHECK_INT(nlt_stash_cut(&stash, key_of(group), lo, hi), n);
    read_all();
}

static void
touch(unsigned group)
{
    size_t at = n_items;
    item_t it;

    for (size_t i = 0; i < n_items; i++) {
        if (items[i].group == group
            && (at == n_items || items[i].serial > items[at].serial)) {
            at = i;
        }
    }
    nlt_stash_touch(&stash, key_of(group), 77);
    if (at < n_items) {
        it = items[at];
        it.t_ms = 77;
        remove_at(at);
        items[n_items++] = it;
    }
    read_all();
}

/* Mostly few tenants, so that one of them has the most by far. */
static unsigned
random_group(unsigned step)
{
    unsigned phase = step / 500 % 3;

    return phase == 0   ? (unsigned) nlt_test_below(GROUPS)
           : phase == 1 ? TENANTS * (unsigned) nlt_test_below(GROUPS / TENANTS)
                        : (unsigned) nlt_test_below(5);
}

static void
random_operations_equal_the_twin(void)
{
    nlt_err_t err;

    for (unsigned step = 0; step < STEPS; step++) {
        unsigned g = random_group(step), op = (unsigned) nlt_test_below(20);

        if (op < 15) {
            put(g, false);
        } else if (op < 17) {
            put(g, true);
        } else if (op < 19) {
            touch(g);
        } else {
            cut(g);
        }
        compare();
        NLT_CHECK_INT(nlt_stash_check(&stash, &nlt_mem_libc, &err), NLT_OK);
        if (nlt_test_failed_checks > 0) {
            printf("# step %u, op %u: %s\n", step, op, err.text);
            return;
        }
    }
    NLT_CHECK_INT(atomic_load(&stash.hdr->resets), 0);
    NLT_CHECK(atomic_load(&stash.hdr->evicted) > 1000);
}

static void
a_flood_of_one_tenant_leaves_the_others_their_share(void)
{
    unsigned before;

    nlt_stash_reset(&stash);
    n_items = 0;
    for (int i = 0; i < 12; i++) {
        put(1, false);
    }
    before = items_of(1);
    for (int i = 0; i < 2000; i++) {
        put(2 + 7 * (unsigned) nlt_test_below(3), false);
    }
    NLT_CHECK_INT(items_of(1), before);
}

static void
what_is_moved_into_another_stash_is_there(void)
{
    static nlt_stash_page_t work;
    size_t bytes = 8 * NLT_STASH_BYTES_MIN;
    void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    nlt_stash_new_t n = {.key = key_of(3)};
    nlt_stash_t old = stash;
    uint32_t n_old = atomic_load(&stash.hdr->n_items);
    nlt_err_t err;

    NLT_CHECK_INT(nlt_stash_format(base, bytes, NULL), NLT_OK);
    NLT_CHECK_INT(nlt_stash_open(&stash, base, bytes, NULL, -1, 0, NULL),
                  NLT_OK);
    atomic_store(&stash.hdr->n_backed, stash.n_cells);
    nlt_stash_move(&old, &stash, &work);
    NLT_CHECK_INT(nlt_stash_put(&old, &n), NLT_ENOTREADY);
    NLT_CHECK_INT(nlt_stash_check(&stash, &nlt_mem_libc, &err), NLT_OK);
    NLT_CHECK(n_old > 0);
    NLT_CHECK_INT(atomic_load(&stash.hdr->n_items), n_old);
    for (size_t i = 0; i < n_items; i++) {
        nlt_str_t text = {items[i].len, texts[(uint8_t) items[i].fill]};

        NLT_CHECK(items_of(items[i].group) > NLT_STASH_LOOK
                  || nlt_stash_has(&stash, key_of(items[i].group),
                                   items[i].t_ms, items[i].v_bits, text));
    }
    (void) munmap(base, bytes);
}

int
main(void)
{
    void *base = mmap(NULL, BYTES, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    for (int i = 0; i < 256; i++) {
        memset(texts[i], i, sizeof(texts[i]));
    }
    if (base == MAP_FAILED || nlt_stash_format(base, BYTES, NULL) != NLT_OK
        || nlt_stash_open(&stash, base, BYTES, NULL, -1, 0, NULL) != NLT_OK) {
        return 2;
    }
    (void) nlt_test_seed();
    NLT_TEST(random_operations_equal_the_twin);
    NLT_TEST(a_flood_of_one_tenant_leaves_the_others_their_share);
    NLT_TEST(what_is_moved_into_another_stash_is_there);
    return nlt_test_done();
}
