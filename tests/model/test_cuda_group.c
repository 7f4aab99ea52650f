/* test_cuda_group.c: several GPUs of one process: the scores of one, the same bits again, whatever fails, with NCCL and without; and the real
 * NCCL's functions where its library is. On the emulator; on hardware (JSC_TEST_DEVICE=cuda) what needs no planted fault. */
#include "comm.h"
#include "support/random_model.h"
#include "testing.h"

#include <jscopes/group.h>
#include <jscopes/jscopes.h>

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef JSC_SIMT
#include "cuda_internal.h"
#include "nccl_cuda.h"
#include "simt.h"
#endif

#define TINY JSC_TEST_SOURCE "/tests/golden/tiny_llama.gguf"
enum { T = 7, MOST = 4 };

static const struct question {
    const char *name;
    jsc_scope scope;
    jsc_fisher_mode mode;
    int layers, matrix;
} questions[] = {
    {"semantic", JSC_SCOPE_SEMANTIC, .layers = 1},
    {"temperature, matrix", JSC_SCOPE_TEMPERATURE, .matrix = 1},
    {"fisher, exact", JSC_SCOPE_FISHER, JSC_FISHER_EXACT, .layers = 1},
    {"fisher, adaptive", JSC_SCOPE_FISHER, JSC_FISHER_ADAPTIVE},
};
enum { N_QUESTIONS = sizeof questions / sizeof *questions };

/* How many there are, at most MOST. */
static int several_devices(void)
{
    int n = 0;
    if (test_cuda() == NULL)
        cr_skip_test("no cuda in this build: the simt preset has it on the emulator, JSC_TEST_DEVICE=cuda on hardware");
#ifdef JSC_SIMT
    simt_settings.devices = MOST;
#endif
    while (n < MOST) {
        const struct device_options options = {.index = n, .precision = JSC_PRECISION_STRICT};
        struct jsc_device *device = NULL;
        jsc_error error = {0};
        if (test_cuda()->device_open(&options, &device, &error) != JSC_OK)
            break;
        test_cuda()->device_close(device);
        n++;
    }
    if (n < 2)
        cr_skip_test("this machine has one GPU");
    return n;
}

static jsc_request request_of(const struct question *q)
{
    jsc_request r = ask(q->scope, T);
    r.layers = q->layers, r.matrix = q->matrix, r.fisher_mode = q->mode;
    return r;
}

/* The last log line that speaks of NCCL. */
static char said[512];
static void listen(void *user, int level, const char *line)
{
    (void)user, (void)level;
    if (strstr(line, "NCCL") != NULL)
        snprintf(said, sizeof said, "%s", line);
}

static jsc_group *open_group(const char *devices)
{
    jsc_open_options options = JSC_OPEN_OPTIONS_INIT;
    jsc_group *group = NULL;
    jsc_error error = {0};
    options.log = listen;
    options.precision = JSC_PRECISION_STRICT;
    said[0] = '\0';
    cr_assert(jsc_group_open(TINY, devices, &options, &group, &error) == JSC_OK, "%s: %s", devices, error.text);
    return group;
}

static jsc_attribution *group_answer(const jsc_group *group, const jsc_request *r)
{
    jsc_attribution *a = NULL;
    jsc_error error = {0};
    cr_assert(jsc_group_attribute(group, r, &a, &error) == JSC_OK, "%s", error.text);
    return a;
}

/* Every question: the group's scores are those of one device, and the same bits again. */
static void ask_both(const jsc_group *one, const jsc_group *group, const char *name, int chunk)
{
    for (int q = 0; q < N_QUESTIONS; q++) {
        jsc_request r = request_of(&questions[q]);
        r.chunk = chunk;
        jsc_attribution *want = group_answer(one, &r), *got = group_answer(group, &r), *again = group_answer(group, &r);
        char what[96];
        snprintf(what, sizeof what, "%s on %s", questions[q].name, name);
        answers_agree(what, got, want, 1e-6);
        cr_expect(memcmp(got->scores, again->scores, got->n_scores * got->n_tokens * sizeof(double)) == 0, "%s: other bits", what);
        jsc_attribution_free(want), jsc_attribution_free(got), jsc_attribution_free(again);
    }
}

Test(cuda_group, case_54_any_number_of_devices_gives_the_scores_of_one, .timeout = 600)
{
    static const char *const lists[] = {"cuda:all", "cuda:0,1", "cuda:2,0,1"};
    const int n = several_devices();
    jsc_group *one = open_group("cuda:0");
    for (int i = 0; i < n && i < 3; i++) {
        jsc_group *group = open_group(lists[i]);
        cr_expect(i == 0 ? jsc_group_size(group) >= n : jsc_group_size(group) == i + 1, "%s: %d devices", lists[i], jsc_group_size(group));
        ask_both(one, group, lists[i], 0);
        cr_expect(said[0] == '\0', "%s", said);
        jsc_group_close(group);
    }
    jsc_group_close(one);
#ifdef JSC_SIMT
    cr_expect(simt_gathers() > 20, "NCCL gathered %llu times", simt_gathers());
    cr_expect(simt_message()[0] == '\0', "%s", simt_message());
    cr_expect(simt_memory_used() == 0 && simt_objects() == 0, "%zu bytes, %zu objects are left", simt_memory_used(), simt_objects());
#endif
}

/* Blocks over two and three devices, members that are stages themselves, and what cuda:all does with a model that one cannot hold. */
Test(cuda_group, blocks_over_several_devices_give_the_scores_of_one, .timeout = 600)
{
    static const char *const lists[] = {"cuda:0+1", "cuda:1+0", "cuda:0+1,2+3"};
    const int n = several_devices();
    jsc_group *one = open_group("cuda:0");
    for (int i = 0; i < (n > 3 ? 3 : 2); i++) {
        jsc_group *group = open_group(lists[i]);
        cr_expect(jsc_group_size(group) == (i < 2 ? 1 : 2), "%s: %d members", lists[i], jsc_group_size(group));
        ask_both(one, group, lists[i], 5);
        jsc_group_close(group);
    }
    jsc_group_close(one);
#ifdef JSC_SIMT
    cr_expect(simt_message()[0] == '\0', "%s", simt_message());
    cr_expect(simt_memory_used() == 0 && simt_objects() == 0, "%zu bytes, %zu objects are left", simt_memory_used(), simt_objects());
#endif
}

static int stop(void *user, const char *stage, double done, double total)
{
    int *calls = user;
    (void)stage, (void)total;
    return done > 0.0 && ++*calls > 1;
}

Test(cuda_group, case_53_a_rank_that_fails_ends_all_and_the_group_serves_on, .timeout = 300)
{
    int calls = 0;
    jsc_attribution *a = NULL;
    jsc_error error = {0};
    (void)several_devices();
    jsc_group *group = open_group("cuda:0,1");
    jsc_request r = request_of(&questions[2]);
    jsc_attribution *want = group_answer(group, &r);
    r.chunk = 1, r.progress = stop, r.progress_user = &calls;
    const double start = clock_seconds();
    cr_expect(eq(int, (int)jsc_group_attribute(group, &r, &a, &error), JSC_E_CANCELLED));
    cr_expect(strncmp(error.text, "rank 0: cancelled", 17) == 0 && a == NULL, "%s", error.text);
    cr_expect(clock_seconds() - start < 60.0, "within the deadline, not at it: %g s", clock_seconds() - start);
    r = request_of(&questions[2]);
    jsc_attribution *got = group_answer(group, &r);
    answers_agree("after a failure", got, want, 0.0);
    jsc_attribution_free(want), jsc_attribution_free(got);
    jsc_group_close(group);
}

Test(cuda_group, case_53_a_rank_without_a_gpu_is_told_apart, .timeout = 120)
{
    jsc_group *group = NULL;
    jsc_attribution *a = NULL;
    jsc_error error = {0};
    (void)several_devices();
    const jsc_request r = request_of(&questions[1]);
    jsc_model *gpu = random_model(&tiny_sizes, "cuda:0"), *cpu = random_model(&tiny_sizes, "cpu");
    const jsc_model *models[2] = {gpu, cpu};
    cr_assert(jsc_group_make(models, 2, &group, &error) == JSC_OK, "%s", error.text);
    cr_expect(eq(int, (int)jsc_group_attribute(group, &r, &a, &error), JSC_E_ARGUMENT));
    cr_expect(strstr(error.text, "ranks of one kind are wanted") != NULL && a == NULL, "%s", error.text);
    jsc_group_close(group), jsc_model_close(gpu), jsc_model_close(cpu);
}

#ifdef JSC_SIMT
/* ---- what only the emulator can show ---------------------------------------------------------------------------------------- */

/* A third of its weights too large for one device: cuda:all makes members of two each, one device alone says what it lacks. */
Test(cuda_group, a_model_larger_than_one_device_is_spread_over_several, .timeout = 300)
{
    jsc_open_options options = JSC_OPEN_OPTIONS_INIT;
    jsc_model_info info = JSC_MODEL_INFO_INIT;
    jsc_error error = {0};
    jsc_group *none = NULL;
    (void)several_devices();
    options.precision = JSC_PRECISION_STRICT;
    jsc_group *one = open_group("cuda:0");
    const jsc_request r = request_of(&questions[2]);
    jsc_attribution *want = group_answer(one, &r);
    cr_assert(jsc_model_describe(jsc_group_model(one, 0), &info, &error) == JSC_OK);
    jsc_group_close(one);
    one = open_group("cuda:0");
    const size_t limit = simt_memory_used() - (size_t)info.weight_bytes / 3;
    jsc_group_close(one);
    simt_settings.memory_limit = limit;
    cr_expect(eq(int, (int)jsc_group_open(TINY, "cuda:0", &options, &none, &error), JSC_E_MEMORY), "%s", error.text);
    cr_expect(none == NULL && strstr(error.text, "spread it over more GPUs (--device cuda:0+1)") != NULL, "%s", error.text);
    jsc_group *all = open_group("cuda:all");
    cr_expect(jsc_group_size(all) == MOST / 2 && jsc_model_describe(jsc_group_model(all, 0), &info, &error) == JSC_OK);
    cr_expect(strstr(info.device, "cuda:1") != NULL && strstr(info.device, " + ") != NULL, "%s", info.device);
    jsc_request brief = r;
    brief.chunk = 1;
    simt_settings.memory_limit = (size_t)1 << 40; /* what a request takes is another matter */
    jsc_attribution *got = group_answer(all, &brief);
    answers_agree("over all", got, want, 1e-6);
    jsc_attribution_free(want), jsc_attribution_free(got);
    jsc_group_close(all);
}

Test(cuda_group, without_nccl_ranks_gather_through_the_host, .timeout = 300)
{
    static const struct {
        const char *file;
        int version;
        const char *line;
    } cases[] = {
        {"/nowhere/libnccl.so.2", 22809, "no NCCL: rank 0: JSC_NCCL: /nowhere/libnccl.so.2"},
        {"off", 22809, "no NCCL: rank 0: JSC_NCCL=off"},
        {"libm.so.6", 22809, "no NCCL: rank 0: NCCL has no function ncclGetVersion"},
        {"", 21709, "no NCCL: rank 0: NCCL is version 2.17"},
    };
    (void)several_devices();
    jsc_group *group = open_group("cuda:0,1,2");
    const jsc_request r = request_of(&questions[2]);
    jsc_attribution *want = group_answer(group, &r);
    const unsigned long long gathers = simt_gathers();
    cr_expect(gathers > 0, "NCCL was used");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        setenv("JSC_NCCL", cases[i].file, 1);
        simt_settings.nccl_version = cases[i].version;
        jsc_attribution *got = group_answer(group, &r);
        cr_expect(strncmp(said, cases[i].line, strlen(cases[i].line)) == 0, "\"%s\" is not \"%s\"", said, cases[i].line);
        answers_agree(cases[i].line, got, want, 0.0);
        jsc_attribution_free(got);
    }
    cr_expect(simt_gathers() == gathers, "NCCL was used all the same");
    jsc_attribution_free(want);
    jsc_group_close(group);
}

/* Whichever call of the runtime or of NCCL fails, on whichever rank: all end with one line, or do without. */
Test(cuda_group, case_53_calls_that_fail, .timeout = 600)
{
    (void)several_devices();
    simt_settings.quiet = true;
    jsc_group *group = open_group("cuda:0,1");
    const jsc_request r = request_of(&questions[0]);
    jsc_attribution_free(group_answer(group, &r));
    const unsigned long long before = simt_runtime_calls();
    jsc_attribution_free(group_answer(group, &r));
    const long calls = (long)(simt_runtime_calls() - before);
    int failed = 0;
    for (long k = 1; k <= calls; k += k < 60 ? 1 : calls / 60 + 1) {
        jsc_error error = {0};
        jsc_attribution *a = NULL;
        const double start = clock_seconds();
        simt_settings.fail_call = k;
        const jsc_status status = jsc_group_attribute(group, &r, &a, &error);
        simt_settings.fail_call = 0;
        failed += status != JSC_OK;
        cr_expect(status == JSC_OK ||
                      (status != JSC_E_INTERNAL && strncmp(error.text, "rank ", 5) == 0 && strchr(error.text, '\n') == NULL && a == NULL),
                  "call %ld of %ld: %s: %s", k, calls, jsc_status_name(status), error.text);
        cr_expect(clock_seconds() - start < 30.0, "call %ld: %g s", k, clock_seconds() - start);
        jsc_attribution_free(a);
        simt_reset();
    }
    cr_expect(failed > 20, "%d of %ld", failed, calls);
    jsc_attribution_free(group_answer(group, &r));
    jsc_group_close(group);
    cr_expect(simt_memory_used() == 0 && simt_objects() == 0, "%zu bytes, %zu objects are left", simt_memory_used(), simt_objects());
}

/* ---- the communicator itself ------------------------------------------------------------------------------------------------ */

static const size_t lengths[] = {16, 0, 1, 16368, 16369, (1 << 20) + 16368, (5 << 19) + 3};
enum { N_LENGTHS = sizeof lengths / sizeof *lengths, WHOLE = -1 };

struct rank {
    struct comm *boot;
    int device;
    pthread_t thread;
    jsc_status over, status;
    jsc_error error;
    int at; /* the gather before which it does something else; WHOLE: none */
    bool fails, stays_away, differs;
};

static jsc_status gather_once(struct comm *comm, int k, size_t bytes, jsc_error *error)
{
    jsc_status status = JSC_OK;
    unsigned char *mine = NULL, *all = NULL;
    TRY(mem_new(&mine, bytes + 1, error));
    TRY(mem_new(&all, bytes * (size_t)comm->size + 1, error));
    for (size_t i = 0; i < bytes; i++)
        mine[i] = (unsigned char)(i * 31 + (size_t)comm->rank * 101 + (size_t)k);
    TRY(comm->gather(comm, mine, bytes, all, error));
    for (int r = 0; r < comm->size; r++)
        for (size_t i = 0; i < bytes; i++)
            if (all[(size_t)r * bytes + i] != (unsigned char)(i * 31 + (size_t)r * 101 + (size_t)k))
                FAIL(JSC_E_INTERNAL, "gather %d: byte %zu of rank %d is another", k, i, r);
done:
    mem_free(mine), mem_free(all);
    return status;
}

static void *work(void *user)
{
    struct rank *r = user;
    struct jsc_device *device = NULL;
    struct comm *comm = NULL;
    const struct device_options options = {.index = r->device, .precision = JSC_PRECISION_STRICT};
    r->over = ops_cuda.device_open(&options, &device, &r->error);
    if (r->over == JSC_OK)
        r->over = ops_cuda.comm_over(device, r->boot, &comm, &r->error);
    for (int k = 0; k < N_LENGTHS && r->over == JSC_OK && r->status == JSC_OK; k++) {
        if (k == r->at && r->stays_away)
            break;
        if (k == r->at && r->fails) {
            r->status = status_set(&r->error, JSC_E_MEMORY, "no memory on this one");
            comm->fail(comm, &r->error);
            break;
        }
        r->status = gather_once(comm, k, k == r->at && r->differs ? 8 : lengths[k], &r->error);
    }
    if (comm != NULL)
        comm->close(comm);
    ops_cuda.device_close(device);
    return NULL;
}

static double run(struct rank *ranks, int n, double deadline, jsc_error *failure)
{
    struct comm_team *team = NULL;
    jsc_error error;
    const double start = clock_seconds();
    (void)several_devices();
    simt_settings.quiet = true;
    cr_assert(comm_team_make(n, deadline, &team, &error) == JSC_OK, "%s", error.text);
    for (int i = 0; i < n; i++)
        cr_assert(comm_team_join(team, i, &ranks[i].boot, &error) == JSC_OK);
    for (int i = 0; i < n; i++)
        cr_assert(pthread_create(&ranks[i].thread, NULL, work, &ranks[i]) == 0);
    for (int i = 0; i < n; i++)
        (void)pthread_join(ranks[i].thread, NULL);
    *failure = comm_team_failure(team);
    for (int i = 0; i < n; i++)
        ranks[i].boot->close(ranks[i].boot);
    comm_team_free(team);
    cr_expect(simt_memory_used() == 0 && simt_objects() == 0, "%zu bytes, %zu objects are left", simt_memory_used(), simt_objects());
    return clock_seconds() - start;
}

Test(cuda_group, pieces_of_any_size_are_gathered, .timeout = 120)
{
    for (int how = 0; how < 3; how++)
        for (int n = 1; n <= MOST; n++) {
            struct rank ranks[MOST] = {{.at = WHOLE}, {.device = 1, .at = WHOLE}, {.device = 2, .at = WHOLE}, {.device = 3, .at = WHOLE}};
            jsc_error failure;
            simt_settings.lazy = how == 1, simt_settings.protect = how == 2;
            (void)run(ranks, n, 60.0, &failure);
            for (int i = 0; i < n; i++)
                cr_expect(ranks[i].over == JSC_OK && ranks[i].status == JSC_OK, "rank %d of %d: %s", i, n, ranks[i].error.text);
        }
    cr_expect(simt_message()[0] == '\0', "%s", simt_message());
}

Test(cuda_group, case_53_a_rank_that_fails_ends_all_with_its_words, .timeout = 120)
{
    struct rank ranks[3] = {{.at = WHOLE}, {.device = 1, .at = 2, .fails = true}, {.device = 2, .at = WHOLE}};
    jsc_error failure;
    const double seconds = run(ranks, 3, 60.0, &failure);
    for (int i = 0; i < 3; i += 2)
        cr_expect(ranks[i].status == JSC_E_MEMORY && strcmp(ranks[i].error.text, "rank 1: no memory on this one") == 0, "rank %d: %s", i,
                  ranks[i].error.text);
    cr_expect(seconds < 30.0, "nobody waits for the deadline: %g s", seconds);
}

Test(cuda_group, case_53_a_rank_that_does_not_come_ends_all_within_the_deadline, .timeout = 120)
{
    struct rank ranks[3] = {{.at = WHOLE}, {.device = 1, .at = WHOLE}, {.device = 2, .at = 3, .stays_away = true}};
    jsc_error failure;
    (void)run(ranks, 3, 2.0, &failure);
    cr_expect(strstr(failure.text, "collective 3: some rank did not come before the deadline of 2 s") != NULL, "%s", failure.text);
    cr_expect(ranks[0].status == JSC_E_DEVICE && strcmp(ranks[0].error.text, ranks[1].error.text) == 0, "%s", ranks[0].error.text);
}

Test(cuda_group, case_53_ranks_that_do_other_work_are_told_apart, .timeout = 120)
{
    struct rank ranks[2] = {{.at = WHOLE}, {.device = 1, .at = 3, .differs = true}};
    jsc_error failure;
    (void)run(ranks, 2, 60.0, &failure);
    cr_expect(strstr(failure.text, "the ranks do not do the same work") != NULL, "%s", failure.text);
    cr_expect(ranks[0].status == JSC_E_INTERNAL && ranks[1].status == JSC_E_INTERNAL);
}

Test(cuda_group, two_ranks_on_one_gpu_do_without_nccl, .timeout = 120)
{
    struct rank ranks[3] = {{.at = WHOLE}, {.device = 1, .at = WHOLE}, {.device = 1, .at = WHOLE}};
    jsc_error failure;
    (void)run(ranks, 3, 60.0, &failure);
    for (int i = 0; i < 3; i++)
        cr_expect(ranks[i].over == JSC_E_DEVICE && strstr(ranks[i].error.text, "ranks 1 and 2 are on one GPU") != NULL, "%s",
                  ranks[i].error.text);
    cr_expect(failure.status == JSC_OK, "%s", failure.text); /* boot serves on */
}

/* ---- the real library, which answers some questions without a GPU ------------------------------------------------------------- */

/* 0: it does what it should; 77: there is none; else a line of why. */
static int ask_real_library(void)
{
    static const char *const files[] = {"libnccl.so.2", "/usr/local/cuda/lib64/libnccl.so.2", "/usr/local/cuda/lib/libnccl.so.2"};
    struct nccl_cuda nccl;
    jsc_error error = {0};
    ncclUniqueId first, second;
    bool there = false;
    for (size_t i = 0; i < sizeof files / sizeof *files && !there; i++) {
        setenv("JSC_NCCL", files[i], 1);
        there = nccl_open(&nccl, &error) == JSC_OK;
        if (!there && strstr(error.text, "cannot open shared object") == NULL) {
            fprintf(stderr, "%s\n", error.text);
            return 1;
        }
    }
    if (!there)
        return 77;
    ncclResult_t result = nccl.GetUniqueId(&first);
    if (result == ncclSuccess)
        result = nccl.GetUniqueId(&second);
    if (result != ncclSuccess || memcmp(&first, &second, sizeof first) == 0) {
        fprintf(stderr, "unique id: %s (%s)\n", nccl.GetErrorString(result), nccl.GetLastError(NULL));
        return 1;
    }
    fprintf(stderr, "NCCL %d from %s gives a unique id\n", nccl.version, getenv("JSC_NCCL"));
    return 0;
}

/* In a process of its own: the library keeps threads and memory. */
Test(cuda_group, the_real_library_has_what_is_used, .timeout = 120)
{
    int status = 0;
    const pid_t child = fork();
    if (child == 0)
        _exit(ask_real_library());
    cr_assert(waitpid(child, &status, 0) == child && WIFEXITED(status), "the library ends its process: %d", status);
    if (WEXITSTATUS(status) == 77)
        cr_skip_test("libnccl.so.2 is not installed");
    cr_expect(eq(int, WEXITSTATUS(status), 0));
}
#endif
