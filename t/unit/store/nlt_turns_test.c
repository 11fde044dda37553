/*
 * nlt_turns_test.c - whose turn it is, bounds, and processes that die.
 */
#include "nlt_dying.h"

#include "nlt_turns.h"

/* With sanitizers the way is longer, and a fork takes 20 ms. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ROUNDS 60
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) && !defined(ROUNDS)
#define ROUNDS 60
#endif
#if !defined(ROUNDS)
#define ROUNDS 400
#endif

static nlt_turns_t *
new_turns(void)
{
    void *p = mmap(NULL, nlt_turns_bytes(), PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    nlt_turns_t *t = p == MAP_FAILED ? NULL : nlt_turns_init(p);

    if (t == NULL) {
        perror("mmap");
        exit(2);
    }
    return t;
}

static void
free_turns(nlt_turns_t *t)
{
    (void) munmap(t, nlt_turns_bytes());
}

/* A ticket of key, one of which may run, of two in all. */
static uint32_t
ask(nlt_turns_t *t, uint32_t self, uint64_t key, uint32_t total)
{
    nlt_turns_ask_t a = {.key = key,
                         .running_max = 1,
                         .room_max = 1,
                         .total_max = total,
                         .waiting_max = 100};
    nlt_turns_wake_t wake = {{0}};
    uint32_t ticket;
    bool over;

    NLT_CHECK_INT(nlt_turns_ask(t, self, &a, &ticket, &over, &wake), NLT_OK);
    NLT_CHECK(!over);
    return ticket;
}

static void
end(nlt_turns_t *t, uint32_t self, uint32_t ticket)
{
    nlt_turns_wake_t wake = {{0}};

    nlt_turns_end(t, self, ticket, &wake);
}

static void
check_load(nlt_turns_t *t, uint32_t granted, uint32_t waiting)
{
    nlt_turns_load_t load;

    nlt_turns_load(t, &load);
    NLT_CHECK_INT(load.n_granted, granted);
    NLT_CHECK_INT(load.n_waiting, waiting);
}

static void
keys_take_turns(void)
{
    nlt_turns_t *t = new_turns();
    uint32_t self, a[5], b, c, total = 1;

    NLT_CHECK_INT(nlt_turns_join(t, &self), NLT_OK);
    for (size_t i = 0; i < 5; i++) {
        a[i] = ask(t, self, 1, total);
    }
    b = ask(t, self, 2, total);
    c = ask(t, self, 3, total);
    NLT_CHECK(nlt_turns_granted(t, a[0]));
    check_load(t, 1, 6);
    /* the four of a came before b and c, but a goes behind when served */
    end(t, self, a[0]);
    NLT_CHECK(nlt_turns_granted(t, a[1]));
    end(t, self, a[1]);
    NLT_CHECK(nlt_turns_granted(t, b));
    end(t, self, b);
    NLT_CHECK(nlt_turns_granted(t, c));
    end(t, self, c);
    NLT_CHECK(nlt_turns_granted(t, a[2]));
    /* of one key the first that came */
    NLT_CHECK(!nlt_turns_granted(t, a[3]));
    end(t, self, a[2]);
    end(t, self, a[4]);
    NLT_CHECK(nlt_turns_granted(t, a[3]));
    end(t, self, a[3]);
    check_load(t, 0, 0);
    free_turns(t);
}

static void
bounds_are_of_all_processes(void)
{
    nlt_turns_t *t = new_turns();
    nlt_turns_wake_t wake = {{0}};
    uint32_t one, two, a, b, c, d;

    NLT_CHECK_INT(nlt_turns_join(t, &one), NLT_OK);
    NLT_CHECK_INT(nlt_turns_join(t, &two), NLT_OK);
    NLT_CHECK(one != two);
    a = ask(t, one, 1, 2);
    b = ask(t, two, 1, 2);
    c = ask(t, two, 2, 2);
    d = ask(t, two, 3, 2);
    NLT_CHECK(nlt_turns_granted(t, a));
    NLT_CHECK(!nlt_turns_granted(t, b)); /* one of the key runs elsewhere */
    NLT_CHECK(nlt_turns_granted(t, c));
    NLT_CHECK(!nlt_turns_granted(t, d));    /* two run at all */
    NLT_CHECK(!nlt_turns_is_free(t, 1, 5)); /* b waits */
    NLT_CHECK(!nlt_turns_is_free(t, 2, 1)); /* c runs */
    NLT_CHECK(nlt_turns_is_free(t, 2, 2));
    NLT_CHECK(nlt_turns_is_free(t, 4, 1));
    nlt_turns_end(t, one, a, &wake);
    NLT_CHECK(nlt_turns_granted(t, b));
    /* whose it is has to be woken, and nobody else */
    NLT_CHECK_INT(wake.process[two / 64], UINT64_C(1) << two % 64);
    /* nobody ends what is another's */
    nlt_turns_end(t, one, b, &wake);
    NLT_CHECK(nlt_turns_granted(t, b));
    nlt_turns_leave(t, two, &wake);
    check_load(t, 0, 0);
    free_turns(t);
}

static void
queues_are_bounded(void)
{
    nlt_turns_t *t = new_turns();
    nlt_turns_ask_t q = {.key = 7,
                         .running_max = 1,
                         .room_max = 1,
                         .total_max = 9,
                         .waiting_max = 2};
    nlt_turns_wake_t wake = {{0}};
    uint32_t self, k, first;
    bool over;

    NLT_CHECK_INT(nlt_turns_join(t, &self), NLT_OK);
    NLT_CHECK_INT(nlt_turns_ask(t, self, &q, &first, &over, &wake), NLT_OK);
    NLT_CHECK_INT(nlt_turns_ask(t, self, &q, &k, &over, &wake), NLT_OK);
    NLT_CHECK_INT(nlt_turns_ask(t, self, &q, &k, &over, &wake), NLT_OK);
    check_load(t, 1, 2);
    NLT_CHECK_INT(nlt_turns_ask(t, self, &q, &k, &over, &wake), NLT_ELIMIT);
    NLT_CHECK(over);
    NLT_CHECK_INT(k, NLT_TURNS_NONE);
    q.again = true;
    NLT_CHECK_INT(nlt_turns_ask(t, self, &q, &k, &over, &wake), NLT_OK);
    q.again = false;
    q.forced = true;
    q.running_max = 9;
    NLT_CHECK_INT(nlt_turns_ask(t, self, &q, &k, &over, &wake), NLT_OK);
    NLT_CHECK(over);
    NLT_CHECK(nlt_turns_granted(t, k));
    /* without a queue, only what can run at once */
    q = (nlt_turns_ask_t){
        .key = 8, .running_max = 1, .room_max = 1, .total_max = 9};
    NLT_CHECK_INT(nlt_turns_ask(t, self, &q, &k, &over, &wake), NLT_OK);
    NLT_CHECK(nlt_turns_granted(t, k));
    NLT_CHECK_INT(nlt_turns_ask(t, self, &q, &k, &over, &wake), NLT_ELIMIT);
    /* all that wait together, and the tickets that there are */
    q.waiting_max = UINT32_MAX;
    for (uint64_t i = 0; i < NLT_TURNS_WAITING - 3; i++) {
        q.key = 100 + i % 50;
        q.total_max = 1;
        NLT_CHECK_INT(nlt_turns_ask(t, self, &q, &k, &over, &wake), NLT_OK);
    }
    NLT_CHECK_INT(nlt_turns_ask(t, self, &q, &k, &over, &wake), NLT_EFULL);
    NLT_CHECK(nlt_turns_ask(t, self, &q, &k, &over, &wake) == NLT_EFULL);
    q.again = true;
    k = 0;
    for (unsigned i = 0; i < NLT_TURNS_TICKETS; i++) {
        if (nlt_turns_ask(t, self, &q, &first, &over, &wake) != NLT_OK) {
            break;
        }
        k++;
    }
    NLT_CHECK_INT(k, NLT_TURNS_TICKETS - NLT_TURNS_WAITING - 3);
    nlt_turns_leave(t, self, &wake);
    check_load(t, 0, 0);
    NLT_CHECK_INT(nlt_turns_join(t, &self), NLT_OK);
    NLT_CHECK_INT(self, 0);
    free_turns(t);
}

static uint32_t
n_helping(nlt_turns_t *t)
{
    nlt_turns_load_t load;

    nlt_turns_load(t, &load);
    return load.n_helping;
}

static void
help_is_what_tickets_leave(void)
{
    nlt_turns_t *t = new_turns();
    nlt_turns_wake_t wake = {{0}};
    uint32_t one, two, a, b;

    NLT_CHECK_INT(nlt_turns_join(t, &one), NLT_OK);
    NLT_CHECK_INT(nlt_turns_join(t, &two), NLT_OK);
    a = ask(t, one, 1, 8);
    NLT_CHECK(nlt_turns_help_begin(t, one, 3));
    NLT_CHECK(nlt_turns_help_begin(t, two, 3));
    NLT_CHECK(!nlt_turns_help_begin(t, one, 3));
    NLT_CHECK(!nlt_turns_help_begin(t, two, 3));
    NLT_CHECK_INT(n_helping(t), 2);
    nlt_turns_help_end(t, one);
    b = ask(t, two, 2, 8);
    NLT_CHECK(!nlt_turns_help_begin(t, one, 3));
    end(t, one, a);
    NLT_CHECK(nlt_turns_help_begin(t, one, 3));
    NLT_CHECK_INT(n_helping(t), 2);
    /* tickets do not wait for help to end */
    a = ask(t, one, 1, 2);
    NLT_CHECK(nlt_turns_granted(t, a));
    nlt_turns_leave(t, two, &wake);
    NLT_CHECK_INT(n_helping(t), 1);
    nlt_turns_help_end(t, two); /* late */
    NLT_CHECK_INT(n_helping(t), 1);
    end(t, two, b);
    end(t, one, a);
    nlt_turns_help_end(t, one);
    NLT_CHECK_INT(n_helping(t), 0);
    free_turns(t);
}

static void
a_killed_process_keeps_nothing(void)
{
    nlt_turns_t *t = new_turns();
    nlt_turns_wake_t wake = {{0}};
    uint32_t self, mine, ready[2];
    int fd[2];
    pid_t pid;

    NLT_CHECK_INT(nlt_turns_join(t, &self), NLT_OK);
    NLT_CHECK_INT(pipe(fd), 0);
    pid = fork();
    if (pid == 0) {
        NLT_CHECK_INT(nlt_turns_join(t, &ready[0]), NLT_OK);
        ready[1] = ask(t, ready[0], 1, 1);
        (void) ask(t, ready[0], 2, 1);
        NLT_CHECK(nlt_turns_help_begin(t, ready[0], 2));
        (void) !write(fd[1], ready, sizeof(ready));
        (void) pause();
        _exit(0);
    }
    NLT_CHECK_INT(read(fd[0], ready, sizeof(ready)), (int) sizeof(ready));
    mine = ask(t, self, 1, 1);
    NLT_CHECK_INT(nlt_turns_bury(t, self, &wake), 0);
    NLT_CHECK(!nlt_turns_granted(t, mine));
    NLT_CHECK_INT(n_helping(t), 1);
    (void) kill(pid, SIGKILL);
    (void) waitpid(pid, NULL, 0);
    NLT_CHECK_INT(nlt_turns_bury(t, self, &wake), 1);
    NLT_CHECK_INT(n_helping(t), 0);
    NLT_CHECK(nlt_turns_granted(t, mine));
    NLT_CHECK_INT(wake.process[self / 64], UINT64_C(1) << self % 64);
    check_load(t, 1, 0);
    /* its number is free again */
    NLT_CHECK_INT(nlt_turns_join(t, &mine), NLT_OK);
    NLT_CHECK_INT(mine, ready[0]);
    (void) close(fd[0]);
    (void) close(fd[1]);
    free_turns(t);
}

/* ---- death at any instruction ---- */

static void
work(void *ctx)
{
    nlt_turns_t *t = ctx;
    nlt_turns_wake_t wake = {{0}};
    uint32_t self, a, b;

    if (nlt_turns_join(t, &self) != NLT_OK) {
        _exit(7);
    }
    a = ask(t, self, 5, 2);
    b = ask(t, self, 6, 2);
    if (nlt_turns_help_begin(t, self, 8)) {
        nlt_turns_help_end(t, self);
    }
    end(t, self, a);
    (void) nlt_turns_bury(t, self, &wake);
    end(t, self, b);
    nlt_turns_leave(t, self, &wake);
}

static void
death_at_any_instruction_leaves_it_whole(void)
{
    nlt_turns_t *t = new_turns();
    nlt_turns_wake_t wake = {{0}};
    sites_t *sites = new_sites();
    unsigned died = 0;
    uint32_t self, k[4], n;

    stepped = new_sites();
    NLT_CHECK_INT(nlt_turns_join(t, &self), NLT_OK);
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < 4; i++) {
            k[i] = ask(t, self, 5 + i % 2, 2);
        }
        died += die_somewhere(work, t, sites, NULL, round % 100 == 0);
        NLT_CHECK(nlt_turns_bury(t, self, &wake) <= 1);
        check_load(t, 2, 2);
        NLT_CHECK_INT(n_helping(t), 0);
        n = 0;
        /* all of them are served, one key beside the other */
        for (unsigned step = 0; step < 4; step++) {
            for (size_t i = 0; i < 4; i++) {
                if (nlt_turns_granted(t, k[i])) {
                    end(t, self, k[i]);
                    k[i] = NLT_TURNS_NONE;
                    n++;
                }
            }
        }
        NLT_CHECK_INT(n, 4);
        check_load(t, 0, 0);
    }
    NLT_CHECK(died > ROUNDS / 2);
    free_turns(t);
}

int
main(void)
{
    NLT_TEST(keys_take_turns);
    NLT_TEST(bounds_are_of_all_processes);
    NLT_TEST(queues_are_bounded);
    NLT_TEST(help_is_what_tickets_leave);
    NLT_TEST(a_killed_process_keeps_nothing);
    NLT_TEST(death_at_any_instruction_leaves_it_whole);
    return nlt_test_done();
}
