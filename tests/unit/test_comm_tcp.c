/* test_comm_tcp.c: ranks that are processes: what each gathers, and that all end in time, with one line, when one fails, dies, is late,
 * does other work, or is not of the job. */
#include "comm_tcp.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <arpa/inet.h>
#include <math.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 5 };

/* What a rank does; shared with the process that plays it. */
struct rank {
    enum { JOINS, STAYS_AWAY } comes;
    int rounds; /* gathers of growing size, then leaves in order */
    enum { NOTHING, FAILS, DIES, STOPS, SLEEPS, DIFFERS, CHECKS } does;
    int at;         /* round in which it does that */
    size_t bytes;   /* of a gather; 0: a few numbers */
    int rank, size; /* that it says it has; -1: its own */
    uint64_t key;
    jsc_status status; /* out */
    jsc_error error;
    int done;
    double seconds;
    bool ended;
};

static struct rank *ranks;
static char folder[64], address[96];
static double deadline = 20.0;

static void fresh(void)
{
    cr_assert(snprintf(folder, sizeof folder, "/tmp/jscopes_test_XXXXXX") > 0 && mkdtemp(folder) != NULL);
    (void)snprintf(address, sizeof address, "%s/a.addr", folder);
    ranks = mmap(NULL, MOST * sizeof *ranks, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert(ranks != MAP_FAILED);
    memset(ranks, 0, MOST * sizeof *ranks);
    for (int i = 0; i < MOST; i++)
        ranks[i].rank = ranks[i].size = -1;
}

static void clean(void)
{
    (void)unlink(address);
    cr_expect(rmdir(folder) == 0, "something is left in %s", folder);
}

static void pause_for(double seconds)
{
    const struct timespec t = {.tv_sec = (time_t)seconds, .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
    (void)nanosleep(&t, NULL);
}

/* What rank r gives in round k, word i. */
static uint64_t word(int r, int k, size_t i)
{
    return (uint64_t)r * 1000003U + (uint64_t)k * 101U + i;
}

static jsc_status gather_one(struct comm *comm, int k, size_t words, jsc_error *error)
{
    uint64_t *mine = malloc(words * 8 + 8), *all = malloc((size_t)comm->size * words * 8 + 8);
    for (size_t i = 0; i < words; i++)
        mine[i] = word(comm->rank, k, i);
    jsc_status status = comm->gather(comm, mine, words * 8, all, error);
    for (int r = 0; status == JSC_OK && r < comm->size; r++)
        for (size_t i = 0; i < words; i++)
            if (all[(size_t)r * words + i] != word(r, k, i))
                status = status_set(error, JSC_E_INTERNAL, "round %d: word %zu of rank %d is wrong", k, i, r);
    free(mine), free(all);
    return status;
}

static void act(struct rank *me, struct comm *comm)
{
    if (me->does == FAILS) {
        jsc_error own = {0};
        (void)status_set(&own, JSC_E_MEMORY, "no memory on this one");
        comm->fail(comm, &own);
    } else if (me->does == DIES) {
        (void)kill(getpid(), SIGKILL);
    } else if (me->does == STOPS || me->does == SLEEPS) {
        pause_for(me->does == STOPS ? 2.8 : 0.5);
    } else if (me->does == CHECKS) { /* waits for something else than a gather */
        while (comm->check(comm, &me->error) == JSC_OK)
            pause_for(0.01);
    }
}

static void play(int r, int size)
{
    struct rank *me = &ranks[r];
    struct comm *comm = NULL;
    const struct comm_address where = {address, me->key};
    const double start = clock_seconds();

    me->status = comm_tcp_join(&where, me->rank >= 0 ? me->rank : r, me->size >= 0 ? me->size : size, deadline, &comm, &me->error);
    for (int k = 0; k < me->rounds && me->status == JSC_OK; k++) {
        if (k == me->at)
            act(me, comm);
        size_t words = me->bytes > 0 ? me->bytes / 8 : (size_t)(k % 7) * (size_t)k;
        if (k == me->at && me->does == DIFFERS)
            words++;
        me->status = gather_one(comm, k, words, &me->error);
        me->done += me->status == JSC_OK;
    }
    if (me->status != JSC_OK && comm != NULL) { /* it says the same for ever */
        jsc_error again = {0};
        if (comm->gather(comm, "x", 1, (char[MOST]){0}, &again) != me->status || strcmp(again.text, me->error.text) != 0)
            me->status = status_set(&me->error, JSC_E_INTERNAL, "then it said: %.400s", again.text);
    }
    if (comm != NULL)
        comm->close(comm);
    me->seconds = clock_seconds() - start;
    me->ended = mem_live_bytes() == 0;
    _exit(0);
}

static void run(int size)
{
    pid_t pids[MOST];
    for (int r = 0; r < size; r++) {
        pids[r] = ranks[r].comes == STAYS_AWAY ? 0 : fork();
        cr_assert(pids[r] >= 0);
        if (pids[r] == 0 && ranks[r].comes == JOINS)
            play(r, size);
    }
    for (int r = 0; r < size; r++)
        if (pids[r] > 0)
            (void)waitpid(pids[r], NULL, 0);
}

/* All but one end with this line, in time. */
static void all_say(int size, int but, const char *line, jsc_status status, double within)
{
    for (int r = 0; r < size; r++)
        if (r != but) {
            cr_expect(ranks[r].ended, "rank %d did not end, or leaks", r);
            cr_expect(ranks[r].status == status, "rank %d: %s, %s", r, jsc_status_name(ranks[r].status), ranks[r].error.text);
            cr_expect(eq(str, ranks[r].error.text, (char *)line));
            cr_expect(ranks[r].seconds <= within, "rank %d took %g s", r, ranks[r].seconds);
        }
}

TestSuite(comm_tcp, .timeout = 60, .init = fresh, .fini = clean);

Test(comm_tcp, all_gather_the_same_in_the_order_of_ranks)
{
    for (int n = 1; n <= MOST; n++) {
        for (int r = 0; r < n; r++)
            ranks[r] = (struct rank){.rounds = 60, .rank = -1, .size = -1};
        run(n);
        all_say(n, -1, "", JSC_OK, 20.0);
        for (int r = 0; r < n; r++)
            cr_expect(eq(int, ranks[r].done, 60));
        cr_expect(access(address, F_OK) != 0, "rank 0 removes the file");
    }
}

/* The port of nobody, as far as the system knows. */
static int free_port(int family)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct sockaddr *name = family == AF_INET ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6;
    socklen_t bytes = family == AF_INET ? sizeof v4 : sizeof v6;
    const int fd = socket(family, SOCK_STREAM, 0);
    int port = -1;
    if (fd >= 0 && bind(fd, name, bytes) == 0 && getsockname(fd, name, &bytes) == 0)
        port = ntohs(family == AF_INET ? v4.sin_port : v6.sin6_port);
    if (fd >= 0)
        (void)close(fd);
    return port;
}

Test(comm_tcp, by_host_and_port_of_both_kinds)
{
    for (int v6 = 0; v6 < 2; v6++) {
        const int port = free_port(v6 ? AF_INET6 : AF_INET);
        if (port < 0)
            continue; /* a machine without IPv6 */
        (void)snprintf(address, sizeof address, v6 ? "[::1]:%d" : "127.0.0.1:%d", port);
        for (int r = 0; r < 3; r++)
            ranks[r] = (struct rank){.rounds = 9, .rank = -1, .size = -1, .key = 5};
        run(3);
        all_say(3, -1, "", JSC_OK, 20.0);
    }
}

Test(comm_tcp, payloads_of_tens_of_megabytes)
{
    for (int r = 0; r < 3; r++)
        ranks[r].rounds = 2, ranks[r].bytes = (size_t)24 << 20;
    run(3);
    all_say(3, -1, "", JSC_OK, 50.0);
}

Test(comm_tcp, a_slow_rank_is_waited_for)
{
    for (int slow = 0; slow < 3; slow++) {
        for (int r = 0; r < 3; r++)
            ranks[r] = (struct rank){.rounds = 9, .rank = -1, .size = -1, .at = 4, .does = r == slow ? SLEEPS : NOTHING};
        run(3);
        all_say(3, -1, "", JSC_OK, 20.0);
    }
}

Test(comm_tcp, case_53_a_rank_that_fails_ends_all_with_its_words)
{
    for (int bad = 0; bad < 3; bad++) {
        char line[64];
        for (int r = 0; r < 3; r++)
            ranks[r] = (struct rank){.rounds = 30, .rank = -1, .size = -1, .at = 9, .does = r == bad ? FAILS : NOTHING};
        run(3);
        (void)snprintf(line, sizeof line, "rank %d: no memory on this one", bad);
        all_say(3, -1, line, JSC_E_MEMORY, 10.0);
    }
}

/* Two fail at once: all end with the words of one of them. */
Test(comm_tcp, case_53_all_end_with_the_same_first_failure)
{
    for (int r = 0; r < 4; r++)
        ranks[r].rounds = 30, ranks[r].at = 9, ranks[r].does = r == 1 || r == 3 ? FAILS : NOTHING;
    run(4);
    cr_expect(strcmp(ranks[0].error.text, "rank 1: no memory on this one") == 0 ||
                  strcmp(ranks[0].error.text, "rank 3: no memory on this one") == 0,
              "%s", ranks[0].error.text);
    all_say(4, -1, ranks[0].error.text, JSC_E_MEMORY, 10.0);
}

Test(comm_tcp, case_53_a_rank_that_is_killed_is_named_at_once)
{
    for (int bad = 0; bad < 4; bad++) {
        char line[96];
        for (int r = 0; r < 4; r++)
            ranks[r] = (struct rank){.rounds = 30, .rank = -1, .size = -1, .at = 9, .does = r == bad ? DIES : NOTHING};
        run(4);
        (void)snprintf(line, sizeof line, "rank %d left: connection closed during collective 9", bad);
        all_say(4, bad, line, JSC_E_DEVICE, 10.0);
    }
}

/* Killed from outside while payloads are on their way. */
Test(comm_tcp, case_53_a_rank_that_is_killed_in_mid_payload)
{
    for (int bad = 0; bad < 3; bad++) {
        pid_t pids[3];
        for (int r = 0; r < 3; r++)
            ranks[r] = (struct rank){.rounds = 1000, .rank = -1, .size = -1, .bytes = (size_t)8 << 20};
        for (int r = 0; r < 3; r++)
            if ((pids[r] = fork()) == 0)
                play(r, 3);
        while (ranks[bad].done < 3)
            pause_for(0.001);
        (void)kill(pids[bad], SIGKILL);
        for (int r = 0; r < 3; r++)
            (void)waitpid(pids[r], NULL, 0);
        for (int r = 0; r < 3; r++)
            if (r != bad) {
                char line[32];
                (void)snprintf(line, sizeof line, "rank %d left: ", bad);
                cr_expect(ranks[r].ended && strncmp(ranks[r].error.text, line, strlen(line)) == 0, "rank %d: %s", r, ranks[r].error.text);
                if (bad > 0) /* of rank 0's end one may hear in one collective, one in the next */
                    cr_expect(eq(str, ranks[r].error.text, ranks[(bad + 1) % 3].error.text));
            }
    }
}

Test(comm_tcp, case_53_a_rank_that_does_not_come_is_named_within_the_deadline)
{
    deadline = 0.6;
    for (int bad = 0; bad < 3; bad++) {
        char line[96];
        for (int r = 0; r < 3; r++)
            ranks[r] = (struct rank){.rounds = 9, .rank = -1, .size = -1, .at = 4, .does = r == bad ? STOPS : NOTHING};
        run(3);
        (void)snprintf(line, sizeof line, "collective 4: rank %d of 3 did not come within 0.6 s", bad);
        all_say(3, bad, line, JSC_E_DEVICE, 3.0);
        cr_expect(ranks[bad].status == JSC_E_DEVICE, "%s", ranks[bad].error.text);
    }
}

Test(comm_tcp, case_53_ranks_that_do_other_work_are_told_apart)
{
    for (int r = 0; r < 2; r++)
        ranks[r] = (struct rank){.rounds = 9, .rank = -1, .size = -1, .at = 3, .does = r == 1 ? DIFFERS : NOTHING};
    run(2);
    all_say(2, -1, "collective 3: rank 0 gives 72 bytes, rank 1 80: the ranks do not do the same work", JSC_E_INTERNAL, 10.0);
}

Test(comm_tcp, case_53_who_waits_for_something_else_hears_of_a_failure)
{
    for (int bad = 0; bad < 3; bad++) {
        char line[96];
        for (int r = 0; r < 3; r++)
            ranks[r] = (struct rank){.rounds = 9, .rank = -1, .size = -1, .at = 4, .does = r == bad ? FAILS : CHECKS};
        run(3);
        (void)snprintf(line, sizeof line, "rank %d: no memory on this one", bad);
        all_say(3, -1, line, JSC_E_MEMORY, 10.0);
    }
}

Test(comm_tcp, a_rank_that_never_joins_is_named_within_the_deadline)
{
    char line[320];
    deadline = 0.7;
    ranks[2].comes = STAYS_AWAY;
    run(4);
    (void)snprintf(line, sizeof line, "rank 2 of 4 did not join at %s within 0.7 s", address);
    all_say(4, 2, line, JSC_E_DEVICE, 4.0);
    ranks[0].comes = STAYS_AWAY;
    ranks[1] = (struct rank){.rank = -1, .size = -1};
    run(2);
    (void)snprintf(line, sizeof line, "rank 1 of 2 found no rank 0 at %s within 0.7 s: %s: No such file or directory", address, address);
    all_say(2, 0, line, JSC_E_DEVICE, 4.0);
}

Test(comm_tcp, ranks_that_do_not_fit_end_all_with_one_line)
{
    ranks[1].size = 3;
    run(2);
    all_say(2, -1, "rank 1 says that there are 3 ranks, rank 0 2", JSC_E_ARGUMENT, 10.0);
    ranks[0] = ranks[1] = ranks[2] = (struct rank){.rank = -1, .size = -1};
    ranks[2].rank = 1;
    run(3);
    all_say(3, -1, "rank 1 of 3 joined twice", JSC_E_ARGUMENT, 10.0);
}

/* Other keys, other programs and an old file do not disturb a job. */
static void *disturb(void *port)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    static const char *const lines[] = {"GET / HTTP/1.1\r\nHost: here\r\n\r\n", "", "\x31\x33\x63\x6a\x01"};
    name.sin_port = htons((uint16_t) * (int *)port);
    for (int i = 0; i < 40; i++) {
        const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(fd, (struct sockaddr *)&name, sizeof name) == 0)
            (void)send(fd, lines[i % 3], strlen(lines[i % 3]), MSG_NOSIGNAL);
        pause_for(0.01);
        if (i % 4 != 0)
            (void)close(fd); /* some stay open and silent */
    }
    return NULL;
}

Test(comm_tcp, other_keys_and_other_programs_do_not_disturb)
{
    pthread_t stranger;
    int port = free_port(AF_INET);
    pid_t pids[3];
    (void)snprintf(address, sizeof address, "127.0.0.1:%d", port);
    for (int r = 0; r < 3; r++)
        ranks[r] = (struct rank){.rounds = 5, .rank = r == 2 ? 1 : r, .size = 2, .key = r == 2 ? 6 : 5};
    if ((pids[0] = fork()) == 0)
        play(0, 2);
    cr_assert(pthread_create(&stranger, NULL, disturb, &port) == 0);
    if ((pids[2] = fork()) == 0)
        play(2, 2);
    (void)waitpid(pids[2], NULL, 0);
    (void)pthread_join(stranger, NULL);
    if ((pids[1] = fork()) == 0)
        play(1, 2);
    (void)waitpid(pids[0], NULL, 0);
    (void)waitpid(pids[1], NULL, 0);
    all_say(2, -1, "", JSC_OK, 20.0);
    cr_expect(ranks[2].status == JSC_E_ARGUMENT && strstr(ranks[2].error.text, "rank 0 of another job listens at 127.0.0.1:") != NULL, "%s",
              ranks[2].error.text);
}

Test(comm_tcp, an_old_file_is_passed_over)
{
    FILE *f = fopen(address, "w");
    cr_assert(f != NULL && fprintf(f, "127.0.0.1 %d 0123456789abcdef\n", free_port(AF_INET)) > 0 && fclose(f) == 0);
    ranks[0].rounds = ranks[1].rounds = 3;
    ranks[0].comes = STAYS_AWAY;
    const pid_t pid = fork();
    if (pid == 0)
        play(1, 2);
    pause_for(0.3);
    const pid_t first = fork();
    if (first == 0)
        play(0, 2);
    (void)waitpid(first, NULL, 0), (void)waitpid(pid, NULL, 0);
    all_say(2, -1, "", JSC_OK, 20.0);
}

/* ---- another end that does not keep to the rules ---------------------------------------------------------------------------------- */

struct wire_hello {
    uint64_t key;
    int32_t protocol, rank, size;
    char version[20];
};

static int listener_at(int *port)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof name;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert(fd >= 0 && bind(fd, (struct sockaddr *)&name, bytes) == 0 && listen(fd, 4) == 0 &&
              getsockname(fd, (struct sockaddr *)&name, &bytes) == 0);
    *port = ntohs(name.sin_port);
    return fd;
}

static void say(int fd, enum message_type type, uint64_t number, uint64_t bytes)
{
    const struct message m = {MESSAGE_MAGIC, type, number, bytes};
    cr_expect(send(fd, &m, sizeof m, MSG_NOSIGNAL) == (ssize_t)sizeof m);
}

/* This test plays rank 0 of 2: lets rank 1 in, and in its first collective, of no bytes, says what is given (type 0: nothing more). */
static void play_first(enum message_type type, uint64_t number, uint64_t bytes)
{
    char heard[sizeof(struct message) + sizeof(struct wire_hello)];
    int port;
    const int listener = listener_at(&port);
    (void)snprintf(address, sizeof address, "127.0.0.1:%d", port);
    ranks[1] = (struct rank){.rounds = 1, .rank = -1, .size = -1};
    const pid_t pid = fork();
    if (pid == 0)
        play(1, 2);
    const int fd = accept(listener, NULL, NULL);
    cr_assert(fd >= 0 && recv(fd, heard, sizeof heard, MSG_WAITALL) == (ssize_t)sizeof heard, "the hello has another size");
    say(fd, MESSAGE_WELCOME, 0, 0);
    say(fd, MESSAGE_HERE, 0, 0);
    if (type != 0)
        say(fd, type, number, bytes);
    (void)waitpid(pid, NULL, 0);
    (void)close(fd), (void)close(listener);
}

Test(comm_tcp, case_53_rank_0_that_falls_silent)
{
    deadline = 0.3;
    play_first(0, 0, 0);
    cr_expect(eq(str, ranks[1].error.text, "collective 0: rank 0 of 2 came and then fell silent"));
    cr_expect(ranks[1].ended && ranks[1].seconds > 1.2 && ranks[1].seconds < 5.0, "%g s", ranks[1].seconds);
}

Test(comm_tcp, sizes_and_numbers_on_the_wire_are_checked)
{
    static const struct {
        enum message_type type;
        uint64_t number, bytes;
        const char *says;
    } wrong[] = {
        {MESSAGE_RESULT, 0, UINT64_MAX, "collective 0: rank 0 sends what does not belong there"},
        {MESSAGE_RESULT, 0, 8, "collective 0: rank 0 sends what does not belong there"},
        {MESSAGE_RESULT, 1, 0, "collective 0: rank 0 sends what does not belong there"},
        {MESSAGE_HERE, 0, 0, "collective 0: rank 0 sends what does not belong there"},
        {MESSAGE_HELLO, 0, 0, "collective 0: rank 0 sends what does not belong there"},
        {MESSAGE_FAILURE, 0, 1 << 30, "rank 0 left: connection closed during collective 0"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        play_first(wrong[i].type, wrong[i].number, wrong[i].bytes);
        cr_expect(eq(str, ranks[1].error.text, (char *)wrong[i].says), "case %zu", i);
        cr_expect(ranks[1].ended && ranks[1].seconds < 5.0);
    }
    play_first(MESSAGE_RESULT, 0, 0); /* and what is right is taken */
    cr_expect(ranks[1].ended && ranks[1].status == JSC_OK, "%s", ranks[1].error.text);
}

/* This test plays rank 1. */
static void play_other(int protocol, const char *version, int rank)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct wire_hello hello = {.protocol = protocol, .rank = rank, .size = 2};
    const int port = free_port(AF_INET);
    int fd = -1;
    (void)snprintf(hello.version, sizeof hello.version, "%s", version);
    (void)snprintf(address, sizeof address, "127.0.0.1:%d", port);
    name.sin_port = htons((uint16_t)port);
    ranks[0] = (struct rank){.rounds = 1, .rank = -1, .size = -1};
    const pid_t pid = fork();
    if (pid == 0)
        play(0, 2);
    for (int i = 0; i < 1000 && fd < 0; i++) {
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(fd, (struct sockaddr *)&name, sizeof name) != 0)
            (void)close(fd), fd = -1, pause_for(0.01);
    }
    cr_assert(fd >= 0);
    say(fd, MESSAGE_HELLO, 0, sizeof hello);
    cr_expect(send(fd, &hello, sizeof hello, MSG_NOSIGNAL) == (ssize_t)sizeof hello);
    (void)waitpid(pid, NULL, 0);
    (void)close(fd);
}

Test(comm_tcp, other_versions_and_ranks_beyond_the_last_end_all)
{
    play_other(1, "9.9.9", 1);
    cr_expect(strstr(ranks[0].error.text, "rank 1 is jscopes 9.9.9") != NULL && ranks[0].status == JSC_E_ARGUMENT, "%s",
              ranks[0].error.text);
    play_other(2, jsc_version(), 1);
    cr_expect(strstr(ranks[0].error.text, "(protocol 2)") != NULL, "%s", ranks[0].error.text);
    static const int beyond[] = {2, 0, -1, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < sizeof beyond / sizeof *beyond; i++) {
        play_other(1, jsc_version(), beyond[i]);
        cr_expect(strstr(ranks[0].error.text, "1 to 1 are wanted") != NULL && ranks[0].ended, "%s", ranks[0].error.text);
    }
}

Test(comm_tcp, addresses_that_cannot_be_read)
{
    static const char *const wrong[] = {"", "host", "host:", "host:0", "host:65536", "host:+1", "a:b:5", "[::1]", ":5", "host:5x"};
    jsc_error error = {0};
    struct comm *comm = NULL;
    for (int rank = 0; rank < 2; rank++)
        for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
            const struct comm_address where = {wrong[i], 0};
            cr_expect(comm_tcp_join(&where, rank, 2, 1.0, &comm, &error) == JSC_E_ARGUMENT && comm == NULL, "%s", wrong[i]);
            cr_expect(strstr(error.text, "HOST:PORT") != NULL, "%s", error.text);
        }
    const struct comm_address good = {"127.0.0.1:9", 0}, nowhere = {"/nonexistent/a.addr", 0};
    cr_expect(comm_tcp_join(&good, 2, 2, 1.0, &comm, &error) == JSC_E_ARGUMENT);
    cr_expect(comm_tcp_join(&good, 0, 2, 0.0, &comm, &error) == JSC_E_ARGUMENT);
    cr_expect(comm_tcp_join(&good, 0, 2, (double)NAN, &comm, &error) == JSC_E_ARGUMENT);
    cr_expect(comm_tcp_join(&nowhere, 0, 2, 1.0, &comm, &error) == JSC_E_FILE);
    cr_expect(eq(sz, mem_live_bytes(), 0));
}
