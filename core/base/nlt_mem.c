/*
 * nlt_mem.c - the C library's allocator, and pools.
 *
 * A pool is a list of pages, newest first, each with a rising serial number.
 * One of them is the bump page that small allocations are cut from; a large
 * allocation gets a page for itself, which goes into the list before the bump
 * page without becoming it.  A mark remembers the newest serial and the bump
 * position; rewinding frees every page with a later serial.  A large page
 * that is grown keeps serial and place, so it belongs to the same mark as
 * before.
 *
 * Under AddressSanitizer what is not handed out is poisoned, so that pools do
 * not hide overruns.
 */
#include "nlt_mem.h"

#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__)
#define NLT_POOL_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define NLT_POOL_ASAN 1
#endif
#endif

#ifdef NLT_POOL_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(p, n)   __asan_poison_memory_region((p), (n))
#define UNPOISON(p, n) __asan_unpoison_memory_region((p), (n))
#else
#define POISON(p, n)   ((void) (p), (void) (n))
#define UNPOISON(p, n) ((void) (p), (void) (n))
#endif

#define POOL_ALIGN          16u
#define POOL_PAGE_BYTES_MIN ((size_t) 8 << 10)
#define POOL_PAGE_BYTES_MAX ((size_t) 1 << 20)

struct nlt_pool_page_s {
    nlt_pool_page_t *next; /* older */
    uint64_t serial;       /* falls along the list */
    size_t bytes;          /* of the page, header included */
    size_t used;           /* bytes handed out, header excluded */
    bool alone;            /* holds one large allocation */
};

#define PAGE_HEAD                                                             \
    ((sizeof(nlt_pool_page_t) + POOL_ALIGN - 1) & ~(size_t) (POOL_ALIGN - 1))

static void *
libc_alloc(void *ctx, size_t size)
{
    (void) ctx;
    return malloc(size); /* tidy: allow banned, the one place */
}

static void
libc_free(void *ctx, void *p, size_t size)
{
    (void) ctx;
    (void) size;
    free(p); /* tidy: allow banned, the one place */
}

const nlt_mem_t nlt_mem_libc = {libc_alloc, libc_free, NULL};

void *
nlt_mem_zalloc(const nlt_mem_t *mem, size_t size)
{
    void *p = mem->alloc(mem->ctx, size);

    if (p != NULL) {
        memset(p, 0, size);
    }
    return p;
}

void
nlt_mem_free(const nlt_mem_t *mem, void *p, size_t size)
{
    if (p != NULL) {
        mem->free(mem->ctx, p, size);
    }
}

static inline char *
page_data(nlt_pool_page_t *page)
{
    return (char *) page + PAGE_HEAD;
}

static inline size_t
page_room(const nlt_pool_page_t *page)
{
    return page->bytes - PAGE_HEAD - page->used;
}

static inline size_t
round_up(size_t size)
{
    return (size + POOL_ALIGN - 1) & ~(size_t) (POOL_ALIGN - 1);
}

void
nlt_pool_init(nlt_pool_t *pool, const nlt_mem_t *mem, size_t budget_bytes)
{
    memset(pool, 0, sizeof(*pool));
    pool->mem = mem;
    pool->budget_bytes = budget_bytes;
    pool->page_bytes = POOL_PAGE_BYTES_MIN;
}

static void
page_give_back(nlt_pool_t *pool, nlt_pool_page_t *page)
{
    size_t bytes = page->bytes;

    pool->used_bytes -= bytes;
    UNPOISON(page, bytes);
    nlt_mem_free(pool->mem, page, bytes);
}

void
nlt_pool_deinit(nlt_pool_t *pool)
{
    nlt_pool_page_t *page = pool->page;
    size_t peak;

    while (page != NULL) {
        nlt_pool_page_t *next = page->next;

        page_give_back(pool, page);
        page = next;
    }
    peak = pool->peak_bytes;
    nlt_pool_init(pool, pool->mem, pool->budget_bytes);
    pool->peak_bytes = peak;
}

/* A page with room for size bytes; not yet in the list. */
static nlt_pool_page_t *
page_take(nlt_pool_t *pool, size_t size, bool alone)
{
    size_t left = pool->budget_bytes - pool->used_bytes;
    size_t bytes = alone ? size + PAGE_HEAD : pool->page_bytes;
    nlt_pool_page_t *page;

    if (size > left || size + PAGE_HEAD > left) {
        pool->over_budget = true;
        return NULL;
    }
    if (bytes > left) {
        bytes = left & ~(size_t) (POOL_ALIGN - 1);
        if (bytes < size + PAGE_HEAD) {
            pool->over_budget = true;
            return NULL;
        }
    }
    page = pool->mem->alloc(pool->mem->ctx, bytes);
    if (page == NULL) {
        return NULL;
    }
    page->bytes = bytes;
    page->used = 0;
    page->alone = alone;
    pool->used_bytes += bytes;
    if (pool->used_bytes > pool->peak_bytes) {
        pool->peak_bytes = pool->used_bytes;
    }
    POISON(page_data(page), bytes - PAGE_HEAD);
    return page;
}

/* Cuts size bytes off a page that has the room. */
static inline void *
page_cut(nlt_pool_page_t *page, size_t rounded, size_t size)
{
    char *p = page_data(page) + page->used;

    page->used += rounded;
    UNPOISON(p, size);
    return p;
}

static void *
alloc_slow(nlt_pool_t *pool, size_t rounded, size_t size)
{
    bool alone = rounded > pool->page_bytes / 2;
    nlt_pool_page_t *page = page_take(pool, rounded, alone);

    if (page == NULL) {
        return NULL;
    }
    page->next = pool->page;
    page->serial = ++pool->serial;
    pool->page = page;
    if (!alone) {
        pool->bump = page;
    }
    if (pool->page_bytes < POOL_PAGE_BYTES_MAX) {
        pool->page_bytes *= 2;
    }
    return page_cut(page, rounded, size);
}

void *
nlt_pool_alloc(nlt_pool_t *pool, size_t size)
{
    size_t rounded = round_up(size);

    if (nlt_unlikely(size == 0)) {
        return pool;
    }
    if (nlt_unlikely(size > PTRDIFF_MAX)) {
        pool->over_budget = true;
        return NULL;
    }
    if (nlt_likely(pool->bump != NULL && page_room(pool->bump) >= rounded)) {
        return page_cut(pool->bump, rounded, size);
    }
    return alloc_slow(pool, rounded, size);
}

void *
nlt_pool_zalloc(nlt_pool_t *pool, size_t size)
{
    void *p = nlt_pool_alloc(pool, size);

    if (p != NULL && size > 0) {
        memset(p, 0, size);
    }
    return p;
}

void *
nlt_pool_array(nlt_pool_t *pool, size_t n, size_t size)
{
    size_t bytes;

    if (__builtin_mul_overflow(n, size, &bytes)) {
        pool->over_budget = true;
        return NULL;
    }
    return nlt_pool_alloc(pool, bytes);
}

/* Where the list points to the page that holds p alone, or NULL. */
static nlt_pool_page_t **
find_alone(nlt_pool_t *pool, const void *p)
{
    for (nlt_pool_page_t **at = &pool->page; *at != NULL; at = &(*at)->next) {
        if ((*at)->alone && page_data(*at) == (const char *) p) {
            return at;
        }
    }
    return NULL;
}

static void *
grow_alone(nlt_pool_t *pool, nlt_pool_page_t **at, size_t old_size,
           size_t new_size)
{
    nlt_pool_page_t *old = *at;
    nlt_pool_page_t *page;

    if (page_room(old) + old->used >= round_up(new_size)) {
        UNPOISON(page_data(old), new_size);
        return page_data(old);
    }
    page = page_take(pool, round_up(new_size), true);
    if (page == NULL) {
        return NULL;
    }
    page->next = old->next;
    page->serial = old->serial;
    *at = page;
    void *p = page_cut(page, round_up(new_size), new_size);
    memcpy(p, page_data(old), old_size);
    page_give_back(pool, old);
    return p;
}

void *
nlt_pool_grow(nlt_pool_t *pool, void *p, size_t old_size, size_t new_size)
{
    nlt_pool_page_t *bump = pool->bump;

    if (p == NULL || old_size == 0) {
        return nlt_pool_alloc(pool, new_size);
    }
    if (new_size > PTRDIFF_MAX) {
        pool->over_budget = true;
        return NULL;
    }
    if (round_up(new_size) <= round_up(old_size)) {
        UNPOISON(p, new_size);
        return p;
    }
    if (bump != NULL
        && (char *) p + round_up(old_size) == page_data(bump) + bump->used) {
        size_t more = round_up(new_size) - round_up(old_size);

        if (page_room(bump) >= more) {
            bump->used += more;
            UNPOISON(p, new_size);
            return p;
        }
    }
    nlt_pool_page_t **at = find_alone(pool, p);

    if (at != NULL) {
        return grow_alone(pool, at, old_size, new_size);
    }
    void *q = nlt_pool_alloc(pool, new_size);
    if (q != NULL) {
        memcpy(q, p, old_size);
    }
    return q;
}

nlt_str_t
nlt_pool_str(nlt_pool_t *pool, nlt_str_t s)
{
    char *p;

    if (s.len == 0) {
        return (nlt_str_t){0, ""};
    }
    p = nlt_pool_alloc(pool, s.len);
    if (p != NULL) {
        memcpy(p, s.data, s.len);
    }
    return (nlt_str_t){s.len, p};
}

nlt_pool_mark_t
nlt_pool_mark(const nlt_pool_t *pool)
{
    return (nlt_pool_mark_t){
        .page = pool->bump,
        .page_used = pool->bump != NULL ? pool->bump->used : 0,
        .serial = pool->page != NULL ? pool->page->serial : 0,
        .page_bytes = pool->page_bytes,
    };
}

void
nlt_pool_rewind(nlt_pool_t *pool, nlt_pool_mark_t mark)
{
    while (pool->page != NULL && pool->page->serial > mark.serial) {
        nlt_pool_page_t *page = pool->page;

        pool->page = page->next;
        page_give_back(pool, page);
    }
    pool->bump = mark.page;
    /* else scratch in a loop would end in a largest page for each round */
    pool->page_bytes = mark.page_bytes;
    if (mark.page != NULL) {
        mark.page->used = mark.page_used;
        POISON(page_data(mark.page) + mark.page_used, page_room(mark.page));
    }
}
