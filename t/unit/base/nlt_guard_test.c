/*
 * nlt_guard_test.c - mapped files that are cut short under their readers.
 */
#include "nlt_test.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "nlt_guard.h"
#include "nlt_io.h"

#define PAGES 8

static long page;

/* A file without a name, of n bytes that are all 7. */
static int
file_of(size_t n)
{
    char name[] = "/tmp/nlt-guard-XXXXXX";
    char bytes[512];
    int fd = mkstemp(name);

    memset(bytes, 7, sizeof(bytes));
    NLT_CHECK(fd >= 0 && unlink(name) == 0);
    while (n > 0) {
        size_t k = n < sizeof(bytes) ? n : sizeof(bytes);

        NLT_CHECK_INT(write(fd, bytes, k), k);
        n -= k;
    }
    return fd;
}

static unsigned
sum(const nlt_guard_t *g)
{
    unsigned s = 0;

    for (size_t i = 0; i < g->len; i++) {
        s += ((const volatile uint8_t *) g->p)[i];
    }
    return s;
}

static void
a_file_that_is_cut_short_reads_as_zeros_and_counts(void)
{
    size_t len = (size_t) (PAGES * page - 100);
    _Atomic uint32_t hit = 0, other_hit = 0;
    nlt_guard_t g, other;
    nlt_err_t err;
    int fd = file_of(len), other_fd = file_of(len);

    NLT_CHECK_INT(nlt_guard_map(&g, fd, len, &hit, &err), NLT_OK);
    NLT_CHECK_INT(nlt_guard_map(&other, other_fd, len, &other_hit, &err),
                  NLT_OK);
    NLT_CHECK_INT(sum(&g), 7 * len);
    NLT_CHECK(!nlt_guard_hit(&hit));
    NLT_CHECK_INT(ftruncate(fd, page), 0);
    NLT_CHECK_INT(sum(&g), 7 * page);
    NLT_CHECK(nlt_guard_hit(&hit));
    /* One fault, and nothing is left that could fault again. */
    NLT_CHECK_INT(hit, 1);
    NLT_CHECK_INT(ftruncate(fd, 0), 0);
    NLT_CHECK_INT(sum(&g), 0);
    NLT_CHECK_INT(hit, 1);
    /* Another file, and another mapping of the same one. */
    NLT_CHECK(!nlt_guard_hit(&other_hit));
    NLT_CHECK_INT(sum(&other), 7 * len);
    nlt_guard_unmap(&other);
    nlt_guard_unmap(&g);
    nlt_guard_unmap(&g);
    NLT_CHECK(g.p == NULL);
    (void) close(fd);
    (void) close(other_fd);
}

static void
a_file_that_cannot_be_mapped_is_an_error(void)
{
    _Atomic uint32_t hit = 0;
    nlt_guard_t g;
    nlt_err_t err;

    NLT_CHECK_INT(nlt_guard_map(&g, -1, 100, &hit, &err), NLT_EIO);
    NLT_CHECK(g.p == NULL);
    nlt_guard_unmap(&g);
}

/* ---- threads ---- */

#define THREADS 4

typedef struct {
    nlt_guard_t *g;
    _Atomic uint32_t *hit;
    _Atomic int *go;
    bool wrong;
} reader_t;

/* Whoever reads less than all finds the count. */
static void *
read_on(void *arg)
{
    reader_t *r = arg;

    while (!atomic_load(r->go)) {
    }
    for (int i = 0; i < 200; i++) {
        unsigned s = sum(r->g);

        r->wrong |= s != 7 * r->g->len && !nlt_guard_hit(r->hit);
    }
    return NULL;
}

static void
no_thread_sees_zeros_without_the_count(void)
{
    size_t len = (size_t) (PAGES * page);

    for (int round = 0; round < 20; round++) {
        _Atomic uint32_t hit = 0;
        _Atomic int go = 0;
        reader_t r[THREADS];
        pthread_t tid[THREADS];
        nlt_guard_t g;
        nlt_err_t err;
        int fd = file_of(len);

        NLT_CHECK_INT(nlt_guard_map(&g, fd, len, &hit, &err), NLT_OK);
        for (int i = 0; i < THREADS; i++) {
            r[i] = (reader_t){&g, &hit, &go, false};
            NLT_CHECK_INT(pthread_create(&tid[i], NULL, read_on, &r[i]), 0);
        }
        atomic_store(&go, 1);
        NLT_CHECK_INT(ftruncate(fd, (round % PAGES) * page), 0);
        for (int i = 0; i < THREADS; i++) {
            (void) pthread_join(tid[i], NULL);
            NLT_CHECK(!r[i].wrong);
        }
        NLT_CHECK(nlt_guard_hit(&hit) || sum(&g) == 0);
        nlt_guard_unmap(&g);
        (void) close(fd);
    }
}

/* ---- faults elsewhere ---- */

/* Reads a mapping that nobody guards, behind the end of its file. */
static void
fault_elsewhere(void)
{
    const uint8_t *p;
    nlt_err_t err;
    int fd = file_of((size_t) page);

    if (nlt_map_read(fd, (size_t) page, &p, &err) != NLT_OK
        || ftruncate(fd, 0) != 0) {
        _exit(99);
    }
    (void) *(const volatile uint8_t *) p;
}

/* What a child of us ends with. */
static int
status_of(void (*f)(void))
{
    int status = -1;
    pid_t pid;

    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        /* A sanitizer's report of the expected fault helps nobody. */
        (void) close(STDERR_FILENO);
        f();
        _exit(0);
    }
    NLT_CHECK_INT(waitpid(pid, &status, 0), pid);
    return status;
}

static void
install_and_fault(void)
{
    (void) signal(SIGBUS, SIG_DFL);
    (void) nlt_guard_install();
    fault_elsewhere();
}

static void
install_and_be_sent(void)
{
    (void) signal(SIGBUS, SIG_DFL);
    (void) nlt_guard_install();
    (void) kill(getpid(), SIGBUS);
}

static void
say_43(int sig)
{
    (void) sig;
    _exit(43);
}

static void
another_handler_and_fault(void)
{
    (void) signal(SIGBUS, say_43);
    (void) nlt_guard_install();
    (void) nlt_guard_install();
    fault_elsewhere();
}

static void
say_44(int sig, siginfo_t *info, void *context)
{
    (void) sig;
    (void) context;
    _exit(info->si_addr != NULL ? 44 : 45);
}

static void
another_siginfo_handler_and_fault(void)
{
    struct sigaction sa = {.sa_flags = SA_SIGINFO};

    sa.sa_sigaction = say_44;
    (void) sigaction(SIGBUS, &sa, NULL);
    (void) nlt_guard_install();
    fault_elsewhere();
}

static void
faults_elsewhere_go_where_they_went_before(void)
{
    int status = status_of(install_and_fault);

    NLT_CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
    status = status_of(install_and_be_sent);
    NLT_CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
    status = status_of(another_handler_and_fault);
    NLT_CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 43);
    status = status_of(another_siginfo_handler_and_fault);
    NLT_CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 44);
}

int
main(void)
{
    page = sysconf(_SC_PAGESIZE);
    /* First, while the handler is not installed in this process. */
    NLT_TEST(faults_elsewhere_go_where_they_went_before);
    NLT_CHECK(nlt_guard_install());
    NLT_TEST(a_file_that_is_cut_short_reads_as_zeros_and_counts);
    NLT_TEST(a_file_that_cannot_be_mapped_is_an_error);
    NLT_TEST(no_thread_sees_zeros_without_the_count);
    return nlt_test_done();
}
