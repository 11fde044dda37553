/*
 * nlt_tenants_many_test.c - many tenants with data in one store: what one
 * more costs in memory, in starts, in flushes and in a query of one of them.
 *
 *   NLT_TENANTS_N=10000 build/gcc-opt/unit/store/nlt_tenants_many_test.t
 *
 * Times are printed; what is held against limits are counts and bytes, and
 * ratios of one run.
 */
#include "nlt_tenants_fixture.h"

#include <time.h>

#define SERIES 5u

/* Bytes of the head for each tenant: its slot, its share of steps. */
#define SLOT_BYTES_MAX 600

static double
now_s(void)
{
    struct timespec t;

    (void) clock_gettime(CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static nlt_str_t
name_of(unsigned no, char buf[16])
{
    return (nlt_str_t){(size_t) snprintf(buf, 16, "team-%u", no), buf};
}

/* One sample of each series of a tenant, whose number comes back. */
static uint32_t
put(fx_t *fx, unsigned no, int64_t t_ms)
{
    nlt_label_t labels[SERIES][2];
    nlt_ingest_own_t v[SERIES];
    char text[SERIES][16], buf[16];

    for (unsigned i = 0; i < SERIES; i++) {
        size_t len = (size_t) snprintf(text[i], sizeof(text[i]), "%u", i);

        labels[i][0] = (nlt_label_t){NLT_METRIC_NAME, NLT_STR("m")};
        labels[i][1] = (nlt_label_t){NLT_STR("i"), {len, text[i]}};
        v[i] = (nlt_ingest_own_t){{labels[i], 2}, t_ms, no + 1};
    }
    return tx_put(fx, name_of(no, buf), v, SERIES);
}

typedef struct {
    double want;
    size_t n;
} count_t;

static void
count(void *ctx, double v)
{
    count_t *c = ctx;

    c->n += v == c->want;
}

/* What a tenant reads: samples of its series, each with its value. */
static size_t
count_of(fx_t *fx, unsigned no)
{
    count_t c = {.want = no + 1};
    uint64_t term;
    char buf[16];

    tx_read(fx, nlt_store_find_tenant(fx->store, name_of(no, buf), &term),
            count, &c);
    return c.n;
}

/* Microseconds of one query of one tenant, the best of some. */
static double
query_us(fx_t *fx, unsigned n, size_t want)
{
    double best = 1e9;

    for (unsigned i = 0; i < 50; i++) {
        unsigned no = i % 2 ? n - 1 - i : i;
        double t = now_s();
        size_t got = count_of(fx, no);

        t = now_s() - t;
        best = t < best ? t : best;
        NLT_CHECK_INT(got, want);
    }
    return best * 1e6;
}

typedef struct {
    double write_s, flush_s, attach_s, replay_s, lost_s;
    double head_us, block_us; /* a query of one tenant */
    uint64_t slots, used;     /* bytes of the head */
} cost_t;

static double
restart(fx_t *fx, bool lose_head)
{
    double t;

    fx_close(fx);
    if (lose_head) {
        fx_remove_head(fx);
    }
    t = now_s();
    NLT_CHECK(fx_start(fx));
    return now_s() - t;
}

/* Bytes of all arenas. */
static uint64_t
used(fx_t *fx)
{
    nlt_view_t v;
    uint64_t bytes = 0;
    nlt_err_t err;

    NLT_CHECK_INT(nlt_view_open(fx->store, 0, NULL, &v, &err), NLT_OK);
    for (size_t i = 0; i < v.head.n; i++) {
        bytes += atomic_load(&nlt_arena_header(v.head.arena[i])->used_bytes);
    }
    nlt_view_close(&v);
    return bytes;
}

static cost_t
live(unsigned n)
{
    cost_t c = {.write_s = 0};
    uint64_t before;
    double t;
    fx_t fx;

    fx_init(&fx);
    fx.conf.memory_bytes = 256u << 20;
    NLT_CHECK(fx_start(&fx));
    before = used(&fx);
    t = now_s();
    for (unsigned no = 0; no < n; no++) {
        (void) put(&fx, no, FX_NOW);
    }
    c.write_s = now_s() - t;
    c.used = used(&fx) - before;
    c.slots = nlt_tenants_reserved(nlt_store_tenants(fx.store));
    c.head_us = query_us(&fx, n, SERIES);
    c.attach_s = restart(&fx, false);
    NLT_CHECK_INT(count_of(&fx, n / 2), SERIES);
    c.replay_s = restart(&fx, true);
    NLT_CHECK_INT(count_of(&fx, n / 2), SERIES);
    t = now_s();
    NLT_CHECK(fx_flush(&fx));
    c.flush_s = now_s() - t;
    c.lost_s = restart(&fx, true);
    c.block_us = query_us(&fx, n, SERIES);
    /* All of them, and each its own. */
    for (unsigned no = 0; no < n; no++) {
        if (count_of(&fx, no) != SERIES) {
            NLT_CHECK(!"a tenant has not what it wrote");
            break;
        }
    }
    NLT_CHECK_INT(nlt_tenants_count(nlt_store_tenants(fx.store)), n);
    fx_deinit(&fx);
    return c;
}

static void
say(unsigned n, const cost_t *c)
{
    printf("# %u tenants of %u series: %.0f B of slots and %.0f B of the head "
           "each; written in %.0f ms, flushed in %.0f ms; start with the head "
           "%.1f ms, from the log %.0f ms, from blocks %.1f ms; query of one: "
           "head %.1f us, block %.1f us\n",
           n, SERIES, (double) c->slots / n, (double) c->used / n,
           c->write_s * 1e3, c->flush_s * 1e3, c->attach_s * 1e3,
           c->replay_s * 1e3, c->lost_s * 1e3, c->head_us, c->block_us);
}

/* A query of one does not grow with how many there are; nor does a slot. */
static void
one_more_tenant_costs_little(void)
{
    const char *text = getenv("NLT_TENANTS_N");
    unsigned n = text ? (unsigned) atoi(text) : 1000, few = n / 10;
    cost_t a, b;

    NLT_CHECK(n >= 1000);
    a = live(few);
    say(few, &a);
    b = live(n);
    say(n, &b);
    NLT_CHECK((b.slots - a.slots) / (n - few) < SLOT_BYTES_MAX);
    /* Ten times as many; what is O(tenants) would be ten times as slow. */
    NLT_CHECK(b.head_us < 3 * a.head_us + 1.5);
    NLT_CHECK(b.block_us < 3 * a.block_us + 1.5);
}

int
main(void)
{
    NLT_TEST(one_more_tenant_costs_little);
    return nlt_test_done();
}
