/*
 * nlt_head_fixture.h - a head in a temporary directory, for tests.
 *
 * The directory lies on /dev/shm, where heads live, and goes at the end.
 */
#ifndef NLT_HEAD_FIXTURE_H
#define NLT_HEAD_FIXTURE_H

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include "nlt_env.h"
#include "nlt_head.h"

typedef struct {
    char path[64];
    nlt_head_conf_t conf;
} fixture_t;

static inline void
fixture_open(fixture_t *f, uint64_t memory_bytes)
{
    memset(f, 0, sizeof(*f));
    (void) snprintf(f->path, sizeof(f->path), "/dev/shm/nlt-head-XXXXXX");
    if (mkdtemp(f->path) == NULL) {
        (void) snprintf(f->path, sizeof(f->path), "/tmp/nlt-head-XXXXXX");
        if (mkdtemp(f->path) == NULL) {
            perror("mkdtemp");
            exit(2);
        }
    }
    f->conf = (nlt_head_conf_t){
        .env = &nlt_env_posix,
        .dir_fd = open(f->path, O_RDONLY | O_DIRECTORY),
        .memory_bytes = memory_bytes,
        .role = NLT_ROLE_HELPER,
    };
    memset(f->conf.store_id, 0xa5, sizeof(f->conf.store_id));
}

static inline unsigned
fixture_files(const fixture_t *f)
{
    unsigned n = 0;
    DIR *d = opendir(f->path);
    struct dirent *e;

    while (d && (e = readdir(d)) != NULL) {
        n += e->d_name[0] != '.';
    }
    if (d) {
        closedir(d);
    }
    return n;
}

static inline void
fixture_close(fixture_t *f)
{
    DIR *d = opendir(f->path);
    struct dirent *e;

    while (d && (e = readdir(d)) != NULL) {
        (void) unlinkat(dirfd(d), e->d_name, 0);
    }
    if (d) {
        closedir(d);
    }
    close(f->conf.dir_fd);
    (void) rmdir(f->path);
}

/* Key of sorted labels: their canonical bytes, as remote_write has them. */
static inline nlt_hash128_t
fixture_key(const nlt_head_ctl_t *ctl, uint32_t tenant, nlt_labels_t l)
{
    nlt_buf_t b;
    nlt_hash128_t key;

    nlt_buf_init(&b, &nlt_mem_libc, 1 << 20);
    for (size_t i = 0; i < l.n; i++) {
        nlt_buf_add_uvarint(&b, l.v[i].name.len);
        nlt_buf_add_str(&b, l.v[i].name);
        nlt_buf_add_uvarint(&b, l.v[i].value.len);
        nlt_buf_add_str(&b, l.v[i].value);
    }
    key = nlt_head_key(ctl, tenant, b.data, b.len);
    nlt_buf_deinit(&b);
    return key;
}

/* Registers labels as a sender that sorts would. */
static inline nlt_rc_t
fixture_register(nlt_head_t *h, nlt_arena_t *a, uint32_t tenant,
                 nlt_labels_t l, uint32_t *series)
{
    nlt_hash128_t key = fixture_key(nlt_head_ctl(h), tenant, l);

    return nlt_arena_register(a, tenant, l, key, key, series);
}

static inline nlt_rc_t
fixture_append(nlt_arena_t *a, uint32_t series, int64_t t_ms, double v,
               nlt_append_result_t *result)
{
    nlt_head_sample_t s = {series, NLT_APPEND_PENDING, t_ms, nlt_bits_of(v)};
    size_t done;
    nlt_rc_t rc = nlt_arena_append(a, &s, 1, &done);

    *result = (nlt_append_result_t) s.result;
    return rc;
}

#endif
