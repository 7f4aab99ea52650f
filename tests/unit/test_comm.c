/* test_comm.c: ranks that are threads: what each gathers, and how all of them end when one fails, does not come or does other work. */
#include "comm.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 5, ROUNDS = 200 };

struct rank {
    struct comm *comm;
    pthread_t thread;
    jsc_status status;
    jsc_error error;
    int rounds, bytes_off; /* this rank gives up after so many rounds; gives bytes of another size from then on */
    bool fails, stays_away, differs;
};

static void *work(void *user)
{
    struct rank *r = user;
    const int size = r->comm->size;
    for (int k = 0; k < ROUNDS; k++) {
        uint32_t mine[3] = {(uint32_t)r->comm->rank, (uint32_t)k, 7}, all[3 * MOST];
        if (k == r->rounds && r->fails) {
            (void)status_set(&r->error, r->status = JSC_E_MEMORY, "no memory on this one");
            r->comm->fail(r->comm, &r->error);
            return NULL;
        }
        if (k == r->rounds && r->stays_away)
            return NULL;
        const size_t bytes = k == r->rounds && r->differs ? 8 : sizeof mine;
        r->status = r->comm->gather(r->comm, mine, bytes, all, &r->error);
        if (r->status != JSC_OK)
            return NULL;
        for (int i = 0; i < size; i++)
            if (all[3 * i] != (uint32_t)i || all[3 * i + 1] != (uint32_t)k || all[3 * i + 2] != 7)
                r->status = status_set(&r->error, JSC_E_INTERNAL, "round %d: rank %d gave something else", k, i);
        if (r->status != JSC_OK)
            return NULL;
    }
    return NULL;
}

/* Runs the ranks to their end and returns the seconds that it took. */
static double run(struct rank *ranks, int n, double deadline, jsc_error *failure)
{
    struct comm_team *team = NULL;
    jsc_error error;
    const double start = clock_seconds();
    cr_assert(comm_team_make(n, deadline, &team, &error) == JSC_OK, "%s", error.text);
    for (int i = 0; i < n; i++)
        cr_assert(comm_team_join(team, i, &ranks[i].comm, &error) == JSC_OK);
    for (int i = 0; i < n; i++)
        cr_assert(ranks[i].comm->deadline == deadline && ranks[i].comm->check(ranks[i].comm, &error) == JSC_OK);
    for (int i = 0; i < n; i++)
        cr_assert(pthread_create(&ranks[i].thread, NULL, work, &ranks[i]) == 0);
    for (int i = 0; i < n; i++)
        (void)pthread_join(ranks[i].thread, NULL);
    *failure = comm_team_failure(team);
    for (int i = 0; i < n; i++) {
        error = (jsc_error){.status = JSC_OK, .text = ""};
        cr_expect(ranks[i].comm->check(ranks[i].comm, &error) == failure->status && strcmp(error.text, failure->text) == 0);
        ranks[i].comm->close(ranks[i].comm);
    }
    comm_team_free(team);
    return clock_seconds() - start;
}

TestSuite(comm, .timeout = 60);

Test(comm, all_gather_the_same_in_the_order_of_ranks)
{
    for (int n = 1; n <= MOST; n++) {
        struct rank ranks[MOST] = {0};
        jsc_error failure;
        for (int i = 0; i < n; i++)
            ranks[i].rounds = -1;
        (void)run(ranks, n, 20.0, &failure);
        cr_expect(eq(int, (int)failure.status, JSC_OK), "%s", failure.text);
        for (int i = 0; i < n; i++)
            cr_expect(eq(int, (int)ranks[i].status, JSC_OK), "rank %d of %d: %s", i, n, ranks[i].error.text);
    }
    cr_expect(eq(sz, mem_live_bytes(), 0));
}

Test(comm, case_53_a_rank_that_fails_ends_all_with_its_words)
{
    struct rank ranks[3] = {{.rounds = -1}, {.rounds = 50, .fails = true}, {.rounds = -1}};
    jsc_error failure;
    const double seconds = run(ranks, 3, 20.0, &failure);
    cr_expect(eq(str, failure.text, "rank 1: no memory on this one"));
    for (int i = 0; i < 3; i += 2)
        cr_expect(ranks[i].status == JSC_E_MEMORY && strcmp(ranks[i].error.text, failure.text) == 0, "rank %d: %s", i, ranks[i].error.text);
    cr_expect(seconds < 10.0, "nobody waits for the deadline: %g s", seconds);
}

Test(comm, case_53_a_rank_that_does_not_come_is_named_within_the_deadline)
{
    struct rank ranks[4] = {{.rounds = -1}, {.rounds = -1}, {.rounds = 9, .stays_away = true}, {.rounds = -1}};
    jsc_error failure;
    const double seconds = run(ranks, 4, 0.3, &failure);
    cr_expect(strstr(failure.text, "collective 9: rank 2 of 4 did not come within 0.3 s") != NULL, "%s", failure.text);
    cr_expect(ranks[0].status == JSC_E_DEVICE && ranks[1].status == JSC_E_DEVICE && ranks[3].status == JSC_E_DEVICE);
    cr_expect(seconds > 0.2 && seconds < 10.0, "%g s", seconds);
}

Test(comm, case_53_ranks_that_do_other_work_are_told_apart)
{
    struct rank ranks[2] = {{.rounds = -1}, {.rounds = 3, .differs = true}};
    jsc_error failure;
    (void)run(ranks, 2, 20.0, &failure);
    cr_expect(strstr(failure.text, "collective 3: rank 0 gives 12 bytes, rank 1 8") != NULL, "%s", failure.text);
    cr_expect(ranks[0].status == JSC_E_INTERNAL && ranks[1].status == JSC_E_INTERNAL);
}
