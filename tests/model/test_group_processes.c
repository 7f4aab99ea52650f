/* test_group_processes.c: one request shared by several processes gives the scores of one, and whatever happens to one is said by all. */
#include "base_internal.h"
#include "support/random_model.h"
#include "testing.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { T = 9, MOST = 4, SCORES = 3 * T };

/* What a process does and has; shared with it. */
struct process {
    jsc_request request;
    const jsc_model *model;
    int victim; /* rank 0's progress after the forward kills this rank; -1: none */
    pid_t pid;
    long fail_at;       /* allocation after joining; 0: none */
    int first_position; /* of a request before; 0: none */
    double deadline;
    jsc_status joined, before, status, again; /* out */
    jsc_error error, again_error;
    double scores[SCORES];
    int progress;
    bool ended;
};

static struct process *processes;
static char folder[64];

static void fresh(void)
{
    cr_assert(snprintf(folder, sizeof folder, "/tmp/jscopes_test_XXXXXX") > 0 && mkdtemp(folder) != NULL);
    processes = mmap(NULL, MOST * sizeof *processes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert(processes != MAP_FAILED);
}

static void clean(void)
{
    cr_expect(rmdir(folder) == 0, "something is left in %s", folder);
}

static int count(void *user, const char *stage, double done, double total)
{
    struct process *p = user;
    (void)stage, (void)total;
    if (p->victim >= 0 && done > 0.0)
        (void)kill(processes[p->victim].pid, SIGKILL);
    p->progress++;
    return 0;
}

static void play(int rank, int size)
{
    struct process *p = &processes[rank];
    char address[96];
    jsc_launch launch = JSC_LAUNCH_INIT;
    jsc_group *group = NULL;
    jsc_attribution *a = NULL;
    jsc_request r = p->request;
    const size_t before = mem_live_bytes();

    p->pid = getpid();
    (void)snprintf(address, sizeof address, "%s/", folder);
    launch.rank = rank, launch.world_size = size, launch.address = address, launch.deadline = p->deadline;
    r.progress = count, r.progress_user = p;
    p->joined = jsc_group_join(p->model, &launch, &group, &p->error);
    if (p->joined == JSC_OK && jsc_group_size(group) == size && jsc_group_rank(group) == rank && jsc_group_model(group, rank) == p->model &&
        jsc_group_model(group, (rank + 1) % MOST) == NULL) {
        if (p->first_position != 0) {
            jsc_request other = r;
            other.position = p->first_position;
            p->before = jsc_group_attribute(group, &other, &a, &p->error);
        }
        mem_fail_at(p->fail_at, false);
        if (a == NULL)
            p->status = jsc_group_attribute(group, &r, &a, &p->error);
        mem_fail_at(0, false);
        if (a != NULL)
            memcpy(p->scores, a->scores, a->n_scores * a->n_tokens * sizeof(double));
        jsc_attribution_free(a), a = NULL;
        p->again = jsc_group_attribute(group, &r, &a, &p->again_error);
        jsc_attribution_free(a);
    }
    jsc_group_close(group);
    p->ended = mem_live_bytes() == before;
    _exit(0);
}

static void prepare(int n, const jsc_model *model, const jsc_request *request)
{
    for (int i = 0; i < n; i++)
        processes[i] = (struct process){.request = *request, .model = model, .deadline = 20.0, .victim = -1, .status = JSC_E_INTERNAL};
}

static double run(int n)
{
    pid_t pids[MOST];
    const double start = clock_seconds();
    for (int i = 0; i < n; i++) {
        pids[i] = fork();
        cr_assert(pids[i] >= 0, "no process");
        if (pids[i] == 0)
            play(i, n);
    }
    for (int i = 0; i < n; i++)
        (void)waitpid(pids[i], NULL, 0);
    return clock_seconds() - start;
}

static jsc_request question(int i)
{
    static const int32_t targets[3] = {3, 7, 11};
    static const jsc_scope kinds[] = {JSC_SCOPE_SEMANTIC, JSC_SCOPE_FISHER, JSC_SCOPE_FISHER, JSC_SCOPE_TEMPERATURE, JSC_SCOPE_PATH};
    jsc_request r = ask(kinds[i], T);
    r.fisher_mode = i == 1 ? JSC_FISHER_EXACT : JSC_FISHER_ADAPTIVE, r.path_steps = 12, r.chunk = i == 1 ? 2 : 0;
    if (i == 0)
        r.targets = targets, r.n_targets = 3;
    return r;
}

TestSuite(group_processes, .timeout = 120, .init = fresh, .fini = clean);

Test(group_processes, case_54_any_number_of_processes_gives_the_scores_of_one)
{
    jsc_model *model = random_model(&tiny_sizes, "ref");
    for (int q = 0; q < 5; q++) {
        const jsc_request r = question(q);
        jsc_attribution *want = answer(model, &r);
        const size_t n_scores = want->n_scores * want->n_tokens;
        for (int n = 1; n <= MOST; n++) {
            prepare(n, model, &r);
            (void)run(n);
            for (int i = 0; i < n; i++) {
                const struct process *p = &processes[i];
                cr_expect(p->ended && p->status == JSC_OK && p->again == JSC_OK, "question %d, rank %d of %d: %s", q, i, n, p->error.text);
                cr_expect(error_of_scores(p->scores, want->scores, n_scores) <= 1e-13, "question %d, rank %d of %d: %g", q, i, n,
                          error_of_scores(p->scores, want->scores, n_scores));
                cr_expect(memcmp(p->scores, processes[0].scores, n_scores * sizeof(double)) == 0, "ranks have other bits");
                cr_expect(i == 0 ? p->progress > 0 : p->progress == 0, "progress is rank 0's");
            }
        }
        jsc_attribution_free(want);
    }
    jsc_model_close(model);
}

static void all_say(int n, int but, jsc_status status, const char *word)
{
    int said = but == 0 ? 1 : 0;
    for (int i = 0; i < n; i++)
        if (i != but) {
            const struct process *p = &processes[i];
            cr_expect(p->ended && p->status == status && strstr(p->error.text, word) != NULL, "rank %d: %s, \"%s\"", i,
                      jsc_status_name(p->status), p->error.text);
            cr_expect(eq(str, (char *)p->error.text, processes[said].error.text));
            cr_expect(p->again == status && strcmp(p->again_error.text, p->error.text) == 0, "rank %d then said: %s", i,
                      p->again_error.text);
        }
}

Test(group_processes, case_53_processes_that_differ_are_told_apart)
{
    struct random_sizes other = tiny_sizes;
    other.f = 28;
    jsc_model *model = random_model(&tiny_sizes, "ref"), *wrong = random_model(&other, "ref");
    const jsc_request r = question(1);
    prepare(3, model, &r);
    processes[2].model = wrong;
    (void)run(3);
    all_say(3, -1, JSC_E_ARGUMENT, "one model is wanted");
    prepare(3, model, &r);
    processes[1].request.seed = 4;
    (void)run(3);
    all_say(3, -1, JSC_E_ARGUMENT, "rank 1 was asked something else than rank 0");
    jsc_model_close(model), jsc_model_close(wrong);
}

Test(group_processes, a_request_that_one_refuses_is_refused_by_all_and_the_group_lives)
{
    jsc_model *model = random_model(&tiny_sizes, "ref");
    const jsc_request r = question(1);
    jsc_attribution *want = answer(model, &r);
    prepare(3, model, &r);
    processes[0].first_position = processes[2].first_position = -1, processes[1].first_position = 99;
    (void)run(3);
    for (int i = 0; i < 3; i++) {
        const struct process *p = &processes[i];
        cr_expect(p->ended && p->before == JSC_E_ARGUMENT && strstr(p->error.text, "rank 1: position 99 is outside") != NULL, "%s",
                  p->error.text);
        cr_expect(p->status == JSC_OK && p->again == JSC_OK, "rank %d: %s", i, p->again_error.text);
        cr_expect(error_of_scores(p->scores, want->scores, T) <= 1e-13);
    }
    jsc_attribution_free(want), jsc_model_close(model);
}

Test(group_processes, case_53_a_killed_process_is_named_by_all)
{
    jsc_model *model = random_model(&tiny_sizes, "ref");
    jsc_request r = question(1);
    r.chunk = 1; /* many collectives */
    for (int victim = 0; victim < 3; victim++) {
        char line[96];
        prepare(3, model, &r);
        processes[0].victim = victim;
        cr_expect(run(3) < 15.0, "nobody waits for the deadline");
        (void)snprintf(line, sizeof line, "rank %d left: connection closed during collective", victim);
        all_say(3, victim, JSC_E_DEVICE, line);
    }
    jsc_model_close(model);
}

/* Whichever allocation of one rank fails, all end with its line, also where the others had computed everything. */
Test(group_processes, every_allocation_of_a_rank_may_fail)
{
    jsc_model *model = random_model(&tiny_sizes, "ref");
    const jsc_request r = question(1);
    for (long k = 1; k < 1000; k++) {
        const int bad = (int)(k % 3);
        char line[16];
        prepare(3, model, &r);
        processes[bad].fail_at = k;
        (void)run(3);
        if (processes[bad].status == JSC_OK) {
            cr_expect(k > 20, "only %ld allocations", k);
            break;
        }
        (void)snprintf(line, sizeof line, "rank %d: ", bad);
        all_say(3, -1, JSC_E_MEMORY, line);
    }
    jsc_model_close(model);
}

Test(group_processes, joining_alone_and_wrongly)
{
    jsc_model *model = random_model(&tiny_sizes, "ref");
    jsc_group *group = NULL;
    jsc_error error = {0};
    jsc_launch launch = JSC_LAUNCH_INIT;
    launch.rank = 0, launch.world_size = 2, launch.address = "nowhere";
    cr_expect(eq(int, (int)jsc_group_join(model, &launch, &group, &error), JSC_E_ARGUMENT));
    cr_expect(strstr(error.text, "HOST:PORT") != NULL && group == NULL, "%s", error.text);
    launch.size = 0;
    cr_expect(eq(int, (int)jsc_group_join(model, &launch, &group, &error), JSC_E_ARGUMENT));
    cr_expect(eq(int, (int)jsc_launch_find(&launch, &error), JSC_E_ARGUMENT));
    cr_expect(eq(int, (int)jsc_launch_find(NULL, &error), JSC_E_ARGUMENT));
    cr_expect(eq(int, (int)jsc_group_join(NULL, NULL, &group, &error), JSC_E_ARGUMENT));
    launch = (jsc_launch)JSC_LAUNCH_INIT;
    launch.deadline = 0.3, launch.rank = 0, launch.world_size = 2, launch.address = folder; /* a folder without / at its end is a file */
    cr_expect(jsc_group_join(model, &launch, &group, &error) != JSC_OK && group == NULL, "%s", error.text);
    (void)setenv("RANK", "1", 1), (void)setenv("WORLD_SIZE", "2", 1), (void)setenv("LOCAL_RANK", "1", 1);
    (void)setenv("MASTER_ADDR", "x", 1), (void)setenv("MASTER_PORT", "5", 1);
    launch = (jsc_launch)JSC_LAUNCH_INIT;
    cr_expect(jsc_launch_find(&launch, &error) == JSC_OK && launch.rank == 1 && launch.world_size == 2 && launch.local_rank == 1, "%s",
              error.text);
    (void)unsetenv("RANK"), (void)unsetenv("WORLD_SIZE"), (void)unsetenv("LOCAL_RANK");
    cr_assert(jsc_group_join(model, NULL, &group, &error) == JSC_OK, "%s", error.text);
    cr_expect(jsc_group_size(group) == 1 && jsc_group_rank(group) == 0 && jsc_group_model(group, 0) == model);
    jsc_group_close(group), jsc_model_close(model);
}
