/*
 * nlt_head_process.c - who is attached, who has died, which boot this is.
 */
#include "nlt_head_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nlt_num.h"

/* A whole small file of /proc as text; 0: not readable. */
static size_t
read_small(const nlt_env_t *env, const char *path, char *buf, size_t size)
{
    const nlt_io_t *io = env->io;
    int fd = io->open(io->ctx, AT_FDCWD, path, O_RDONLY, 0);
    ssize_t n;

    if (fd < 0) {
        return 0;
    }
    n = io->read(io->ctx, fd, buf, size, 0);
    (void) io->close(io->ctx, fd);
    return n > 0 ? (size_t) n : 0;
}

void
nlt_head_boot_id(const nlt_env_t *env, uint8_t *id)
{
    char buf[64];
    size_t n =
        read_small(env, "/proc/sys/kernel/random/boot_id", buf, sizeof(buf));

    memset(id, 0, NLT_BOOT_ID_BYTES);
    memcpy(id, buf, n < NLT_BOOT_ID_BYTES ? n : NLT_BOOT_ID_BYTES);
}

/*
 * The limit in one memory.max, UINT64_MAX for "max" and where there is none.
 */
static uint64_t
limit_of(const nlt_env_t *env, const char *path)
{
    char buf[64];
    size_t n = read_small(env, path, buf, sizeof(buf));
    int64_t limit;

    while (n > 0 && (buf[n - 1] == '\n' || buf[n - 1] == ' ')) {
        n--;
    }
    return n > 0 && nlt_num_parse_i64((nlt_str_t){n, buf}, &limit)
                   && limit >= 0
               ? (uint64_t) limit
               : UINT64_MAX;
}

uint64_t
nlt_head_memory_limit(const nlt_env_t *env)
{
    static const char root[] = "/sys/fs/cgroup", leaf[] = "/memory.max";
    char own[1024], path[1024 + sizeof(root) + sizeof(leaf)];
    size_t n = read_small(env, "/proc/self/cgroup", own, sizeof(own) - 1);
    char *at, *end;
    uint64_t least = UINT64_MAX;

    /* Version 2 has the line "0::/path of our group". */
    own[n] = '\0';
    at = strncmp(own, "0::/", 4) == 0 ? own : strstr(own, "\n0::/");
    if (at == NULL) {
        return UINT64_MAX;
    }
    at = strchr(at, '/');
    end = at + strcspn(at, "\n");
    /* Each group on the way up has a say. */
    while (end > at) {
        uint64_t limit;

        (void) snprintf(path, sizeof(path), "%s%.*s%s", root, (int) (end - at),
                        at, leaf);
        limit = limit_of(env, path);
        least = limit < least ? limit : least;
        do {
            end--;
        } while (end > at && *end != '/');
    }
    return least;
}

/*
 * State letter and start time from "pid (name) S ppid ... start ...": fields
 * 3 and 22.  The name may hold anything, so it is skipped from its last ')'.
 */
static bool
parse_stat(const char *buf, size_t n, char *state, uint64_t *start)
{
    size_t i = n;

    while (i > 0 && buf[i - 1] != ')') {
        i--;
    }
    for (unsigned field = 3; i < n; field++) {
        size_t begin;
        int64_t v;

        while (i < n && buf[i] == ' ') {
            i++;
        }
        begin = i;
        while (i < n && buf[i] != ' ') {
            i++;
        }
        if (i == begin) {
            return false;
        }
        if (field == 3) {
            *state = buf[begin];
        } else if (field == 22) {
            if (!nlt_num_parse_i64((nlt_str_t){i - begin, buf + begin}, &v)
                || v < 0) {
                return false;
            }
            *start = (uint64_t) v;
            return true;
        }
    }
    return false;
}

bool
nlt_head_process_lives(const nlt_env_t *env, uint64_t pid, uint64_t start)
{
    char path[48], buf[1024], state = '?';
    uint64_t began = 0;
    size_t n;

    if (pid == 0 || pid > INT32_MAX
        || (kill((pid_t) pid, 0) < 0 && errno == ESRCH)) {
        return false;
    }
    (void) snprintf(path, sizeof(path), "/proc/%llu/stat",
                    (unsigned long long) pid);
    n = read_small(env, path, buf, sizeof(buf));
    if (n == 0 || !parse_stat(buf, n, &state, &began)) {
        /* It may have gone between the two looks. */
        return kill((pid_t) pid, 0) == 0 || errno != ESRCH;
    }
    if (state == 'Z' || state == 'X') {
        return false;
    }
    return start == 0 || began == start;
}

uint64_t
nlt_head_process_start(const nlt_env_t *env)
{
    char buf[1024], state;
    uint64_t start = 0;
    size_t n = read_small(env, "/proc/self/stat", buf, sizeof(buf));

    return n && parse_stat(buf, n, &state, &start) ? start : 0;
}

nlt_rc_t
nlt_head_process_claim(nlt_head_t *h, nlt_err_t *err)
{
    uint64_t start = nlt_head_process_start(h->env);

    for (size_t i = 0; i < NLT_HEAD_PROCESSES; i++) {
        nlt_head_process_t *p = &h->ctl->processes[i];
        uint64_t nobody = 0;

        if (atomic_compare_exchange_strong(&p->pid, &nobody,
                                           (uint64_t) getpid())) {
            for (size_t k = 0; k < NLT_HEAD_ARENAS; k++) {
                atomic_store(&p->mapped[k], 0);
            }
            atomic_store(&p->n_running, 0);
            atomic_store(&p->n_waiting, 0);
            atomic_store(&p->held_bytes, 0);
            atomic_store(&p->t_config_ms, 0);
            atomic_store(&p->role, h->conf.role);
            atomic_store(&p->start, start);
            h->self = p;
            return NLT_OK;
        }
    }
    return nlt_err_set(err, NLT_EFULL,
                       "%d processes are attached to the head already",
                       NLT_HEAD_PROCESSES);
}

nlt_rc_t
nlt_head_lock_open(const nlt_head_conf_t *conf, int *out, bool *alone,
                   nlt_err_t *err)
{
    const nlt_io_t *io = conf->env->io;
    char name[NLT_HEAD_NAME_MAX];
    struct stat st;
    int fd;

    nlt_head_file_name(name, conf->store_id, "lock", 0);
    fd = io->open(io->ctx, conf->dir_fd, name, O_RDWR | O_CREAT | O_NOFOLLOW,
                  0600);
    if (fd < 0) {
        return nlt_err_set_errno(err, NLT_EIO, -fd, "open \"%s\"", name);
    }
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)
        || (st.st_uid != geteuid() && geteuid() != 0)) {
        (void) io->close(io->ctx, fd);
        return nlt_err_set(err, NLT_EIO, "\"%s\" has another owner", name);
    }
    if (alone) {
        *alone = flock(fd, LOCK_EX | LOCK_NB) == 0;
    }
    if (flock(fd, LOCK_SH | LOCK_NB) < 0) {
        int e = errno;

        (void) io->close(io->ctx, fd);
        return nlt_err_set_errno(err, NLT_ENOENT, e,
                                 "\"%s\": the head is being made", name);
    }
    *out = fd;
    return NLT_OK;
}
