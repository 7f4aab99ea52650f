/* test_stages.c: a model over several devices, consecutive blocks on each: the scores of one, whatever the scope, the chunks and the family;
 * what the plan says; refusals and failures. The devices are the CPU or ref several times: the same code that passes gradients between GPUs. */
#include "engine_internal.h"
#include "support/questions.h"
#include "support/random_model.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <glob.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { T = QUESTION_TOKENS, D = 18, L = 3 };

static void check_devices(const char *one, const char *const *lists, double tolerance)
{
    jsc_model *alone = random_model(&tiny_sizes, one);
    for (; *lists != NULL; lists++) {
        jsc_model *model = random_model(&tiny_sizes, *lists);
        for (int q = 0; q < n_questions; q++) {
            jsc_request r = question_request(&questions[q]);
            jsc_attribution *want = answer(alone, &r);
            for (int chunk = 0; chunk <= 4; chunk++) {
                char what[96];
                r.chunk = chunk;
                snprintf(what, sizeof what, "%s: %s, chunks of %d", *lists, questions[q].name, chunk);
                jsc_attribution *got = answer(model, &r), *again = answer(model, &r);
                answers_agree(what, got, want, tolerance);
                cr_expect(memcmp(got->scores, again->scores, got->n_scores * T * sizeof(double)) == 0, "%s: other bits", what);
                jsc_attribution_free(got), jsc_attribution_free(again);
            }
            jsc_attribution_free(want);
        }
        jsc_model_close(model);
    }
    jsc_model_close(alone);
}

Test(stages, every_scope_gives_the_scores_of_one_device, .timeout = 300)
{
    check_devices("ref", (const char *const[]){"ref+ref", "ref+ref+ref", NULL}, 1e-13);
    check_devices("cpu", (const char *const[]){"cpu+cpu", "cpu+cpu+cpu", NULL}, 1e-6);
}

/* Parallel halves, norms of sums and sandwiches pass more between blocks than a llama does. */
Test(stages, every_family_gives_the_scores_of_one_device, .timeout = 300)
{
    glob_t found;
    int compared = 0;
    cr_assert(glob(JSC_TEST_SOURCE "/tests/golden/families/*/config.json", 0, NULL, &found) == 0);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        char folder[512];
        jsc_model *models[2] = {NULL, NULL};
        jsc_attribution *answers[2];
        snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(found.gl_pathv[i], '/') - found.gl_pathv[i]), found.gl_pathv[i]);
        for (int k = 0; k < 2; k++) {
            jsc_open_options options = JSC_OPEN_OPTIONS_INIT;
            jsc_error error = {0};
            options.device = k == 0 ? "cpu" : "cpu+cpu", options.precision = JSC_PRECISION_STRICT;
            cr_assert(jsc_model_open(folder, &options, &models[k], &error) == JSC_OK, "%s: %s", folder, error.text);
            jsc_request r = ask(JSC_SCOPE_FISHER, 5);
            r.fisher_mode = JSC_FISHER_EXACT, r.layers = 1, r.chunk = 3;
            answers[k] = answer(models[k], &r);
        }
        answers_agree(folder, answers[1], answers[0], 1e-6);
        compared++;
        for (int k = 0; k < 2; k++)
            jsc_attribution_free(answers[k]), jsc_model_close(models[k]);
    }
    cr_expect(compared > 30, "%d families", compared);
    globfree(&found);
}

Test(stages, the_vjp_itself)
{
    enum { B = 7 };
    jsc_model *models[2] = {random_model(&tiny_sizes, "ref"), random_model(&tiny_sizes, "ref+ref+ref")};
    static double cot[B * D], sums[2][L * B * T], gradients[2][B * T * D], hidden[2][B * D];
    static const int64_t positions[B] = {8, 0, 4, 4, 7, 2, 8};
    for (int i = 0; i < B * D; i++)
        cot[i] = sin(i * 1.7);
    for (int k = 0; k < 2; k++) {
        const jsc_request r = ask(JSC_SCOPE_SEMANTIC, T);
        jsc_vjp_request v = JSC_VJP_REQUEST_INIT;
        jsc_error error = {0};
        v.ids = r.ids, v.n_ids = T, v.n_rhs = B, v.positions = positions, v.cotangents = cot, v.layers = 1, v.chunk = 2;
        v.sums = sums[k], v.gradients = gradients[k], v.hidden = hidden[k];
        cr_assert(jsc_vjp(models[k], &v, &error) == JSC_OK, "%s", error.text);
    }
    for (int i = 0; i < L * B * T; i++)
        cr_expect(fabs(sums[0][i] - sums[1][i]) <= 1e-13 * sums[0][i], "sum %d: %g, %g", i, sums[0][i], sums[1][i]);
    for (int i = 0; i < B * T * D; i++)
        cr_expect(fabs(gradients[0][i] - gradients[1][i]) <= 1e-12, "gradient %d: %g, %g", i, gradients[0][i], gradients[1][i]);
    cr_expect(memcmp(hidden[0], hidden[1], sizeof hidden[0]) == 0);
    jsc_model_close(models[0]), jsc_model_close(models[1]);
}

Test(stages, the_plan_says_stages_bubble_and_memory)
{
    jsc_model *alone = random_model(&tiny_sizes, "cpu"), *model = random_model(&tiny_sizes, "cpu+cpu");
    jsc_request r = ask(JSC_SCOPE_FISHER, T);
    jsc_plan one = JSC_PLAN_INIT, plan = JSC_PLAN_INIT;
    jsc_stage stage = {0};
    jsc_error error = {0};
    uint64_t weights = 0, bytes = 0;
    int next = 0;
    char text[2048];
    r.fisher_mode = JSC_FISHER_EXACT, r.chunk = 3;
    cr_assert(jsc_plan_make(alone, &r, &one, &error) == JSC_OK && jsc_plan_make(model, &r, &plan, &error) == JSC_OK, "%s", error.text);
    cr_expect(one.stages == 1 && one.bubble == 0.0 && plan.stages == 2 && plan.chunks == 6);
    cr_expect(fabs(plan.bubble - 1.0 / 7.0) < 1e-15, "%g", plan.bubble);
    for (int i = 0; i < 2; i++) {
        cr_assert(jsc_plan_stage(model, &plan, i, &stage, &error) == JSC_OK);
        cr_expect(stage.first_block == next && stage.end_block > next && strncmp(stage.device, "cpu", 3) == 0);
        next = stage.end_block, weights += stage.weight_bytes, bytes += stage.peak_bytes;
    }
    cr_expect(next == L && weights == plan.weight_bytes && weights == one.weight_bytes);
    cr_expect(bytes == plan.trace_bytes + plan.workspace_bytes, "the CPU's stages share one memory");
    cr_expect(eq(int, (int)jsc_plan_stage(model, &plan, 2, &stage, &error), JSC_E_ARGUMENT));
    cr_expect(eq(int, (int)jsc_plan_stage(model, &plan, -1, &stage, &error), JSC_E_ARGUMENT));
    (void)jsc_plan_print(&plan, text, sizeof text);
    cr_expect(strstr(text, "2 devices; each waits for 14 % of the time") != NULL, "%s", text);
    (void)jsc_plan_print(&one, text, sizeof text);
    cr_expect(strstr(text, "stages") == NULL, "%s", text);
    jsc_model_close(alone), jsc_model_close(model);
}

/* Bubbles shrink with the number of chunks: a plan for stages does not put all right-hand sides into one. */
Test(stages, a_plan_makes_enough_chunks_to_keep_all_at_work)
{
    static const struct random_sizes sizes = {.d = 128, .f = 256, .H = 4, .K = 2, .h = 32, .L = 8, .V = 300, .head = 0.3, .seed = 5};
    const char *const devices[] = {"cpu", "cpu+cpu+cpu+cpu"};
    jsc_plan plans[2];
    for (int k = 0; k < 2; k++) {
        jsc_model *model = random_model(&sizes, devices[k]);
        jsc_request r = ask(JSC_SCOPE_FISHER, 48);
        jsc_error error = {0};
        r.fisher_mode = JSC_FISHER_EXACT;
        plans[k] = (jsc_plan)JSC_PLAN_INIT;
        cr_assert(jsc_plan_make(model, &r, &plans[k], &error) == JSC_OK, "%s", error.text);
        jsc_model_close(model);
    }
    cr_expect(plans[1].chunks > plans[0].chunks && plans[1].bubble < 0.3, "%d and %d chunks, bubble %g", plans[0].chunks, plans[1].chunks,
              plans[1].bubble);
}

/* Blocks are dealt out evenly where memory allows; what is outside them lies on the last device too. */
Test(stages, blocks_are_dealt_out_by_time_and_memory)
{
    static const struct {
        uint64_t block, outer, room[3];
        int ends[3];
    } rows[] = {
        {100, 0, {1000, 1000, 1000}, {4, 8, 12}},     {100, 400, {1000, 1000, 1000}, {5, 10, 12}}, /* the last has room for less */
        {100, 0, {2000, 1000, 1000}, {4, 8, 12}},                                                  /* more memory is no more speed */
        {100, 0, {4000, 500, 500}, {6, 9, 12}}, /* three fifths of their memory are 300 */
        {100, 0, {10, 10, 10}, {4, 8, 12}},     /* too small for any: still even, the loader refuses */
        {100, 5000, {1000, 1000, 1000}, {6, 11, 12}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct jsc_device devices[3];
        struct jsc_model stages[3];
        uint64_t bytes[12];
        jsc_error error = {0};
        memset(stages, 0, sizeof stages);
        for (int k = 0; k < 3; k++) {
            devices[k] = (struct jsc_device){.own_memory = 1};
            stages[k].device = &devices[k], stages[k].L = 12, stages[k].memory_left = rows[i].room[k], stages[k].path = "x";
            stages[k].below = k > 0 ? &stages[k - 1] : NULL;
        }
        for (int l = 0; l < 12; l++)
            bytes[l] = rows[i].block;
        cr_assert(stages_assign(&stages[2], bytes, rows[i].outer, &error) == JSC_OK);
        for (int k = 0; k < 3; k++)
            cr_expect(stages[k].end_block == rows[i].ends[k] && stages[k].first_block == (k > 0 ? rows[i].ends[k - 1] : 0),
                      "row %zu: stage %d holds blocks %d to %d", i, k, stages[k].first_block, stages[k].end_block);
    }
}

/* A pull of few right-hand sides is cut up too: each of four stages would else wait for three quarters of the time. */
Test(stages, small_pulls_are_cut_into_chunks)
{
    static const struct random_sizes sizes = {.d = 128, .f = 256, .H = 4, .K = 2, .h = 32, .L = 8, .V = 300, .head = 0.3, .seed = 5};
    jsc_model *models[2] = {random_model(&sizes, "cpu"), random_model(&sizes, "cpu+cpu+cpu+cpu")};
    cr_expect(eq(int, plan_chunk(models[0], 64, 16, 100), 16));
    cr_expect(eq(int, plan_chunk(models[0], 64, 16, 10), 8));
    cr_expect(eq(int, plan_chunk(models[0], 64, 1, 100), 1));
    const int chunk = plan_chunk(models[1], 64, 16, 100);
    cr_expect(chunk >= 1 && chunk <= 4, "%d", chunk);
    cr_expect(eq(int, plan_chunk(models[1], 64, 1, 100), 1));
    cr_expect(plan_chunk(models[1], 64, 16, 3) <= 3);
    jsc_model_close(models[0]), jsc_model_close(models[1]);
}

Test(stages, lists_that_make_no_sense_are_refused)
{
    static const struct {
        const char *list, *word;
        jsc_status status;
    } rows[] = {
        {"cpu+", "stages of a model are", JSC_E_ARGUMENT},
        {"+cpu", "stages of a model are", JSC_E_ARGUMENT},
        {"cpu+1", "stages of a model are", JSC_E_ARGUMENT},
        {"cpu++cpu", "stages of a model are", JSC_E_ARGUMENT},
        {"0+1", "stages of a model are", JSC_E_ARGUMENT},
        {"cuda:0+0", "cuda:0 is listed twice", JSC_E_ARGUMENT},
        {"cuda:1+cuda:0+1", "cuda:1 is listed twice", JSC_E_ARGUMENT},
        {"cpu+cpu+cpu+cpu+cpu+cpu+cpu+cpu+cpu+cpu+cpu+cpu+cpu+cpu+cpu+cpu+cpu", "at most 16", JSC_E_ARGUMENT},
        {"cpu+a-name-that-is-longer-than-any-device", "stages of a model are", JSC_E_ARGUMENT},
        {"cpu+ref", "stages of one kind are wanted", JSC_E_ARGUMENT},
        {"cpu+gpu", "no device", JSC_E_DEVICE},
        {"cpu+cpu+cpu+cpu", "4 devices for the stages of 3 blocks", JSC_E_ARGUMENT},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        jsc_model *model = NULL;
        jsc_error error = {0};
        const jsc_status status = random_model_open(&tiny_sizes, rows[i].list, JSC_PRECISION_STRICT, &model, &error);
        cr_expect(status == rows[i].status && model == NULL, "%s: %s", rows[i].list, error.text);
        cr_expect(strstr(error.text, rows[i].word) != NULL && strchr(error.text, '\n') == NULL, "%s: %s", rows[i].list, error.text);
    }
}

static int count_and_stop(void *user, const char *stage, double done, double total)
{
    double *state = user; /* calls, last, where to stop */
    if (strcmp(stage, "backward") != 0)
        return 0;
    cr_expect(done >= state[1] && done <= total, "%g of %g after %g", done, total, state[1]);
    state[0] += 1.0, state[1] = done;
    return done > state[2];
}

Test(stages, progress_rises_to_the_end_and_can_stop)
{
    jsc_model *model = random_model(&tiny_sizes, "ref+ref+ref");
    jsc_request r = ask(JSC_SCOPE_FISHER, T);
    double state[3] = {0.0, 0.0, 1e9};
    r.fisher_mode = JSC_FISHER_EXACT, r.chunk = 1, r.progress = count_and_stop, r.progress_user = state;
    jsc_attribution_free(answer(model, &r));
    cr_expect(state[0] >= D && state[1] == D, "%g calls up to %g", state[0], state[1]);
    for (int stop = 0; stop < D; stop++) {
        state[0] = state[1] = 0.0, state[2] = stop;
        refused(model, &r, JSC_E_CANCELLED, "cancelled after");
    }
    jsc_model_close(model);
}

/* The chunk that breaks is found while others are on their way, and so is the place. */
Test(stages, what_is_not_finite_is_named)
{
    jsc_model *model = random_model(&tiny_sizes, "cpu+cpu+cpu");
    jsc_request r = ask(JSC_SCOPE_DIRECTION, T);
    static double rows[8 * D];
    for (int at = 0; at < 8; at += 3) {
        for (int i = 0; i < 8 * D; i++)
            rows[i] = i / D == at ? 3e38 : 1.0;
        r.directions = rows, r.n_directions = 8, r.chunk = 1;
        refused(model, &r, JSC_E_NUMERIC, "block");
        rows[at * D] = 1.0;
    }
    jsc_model_close(model);
}

Test(stages, members_of_a_group_may_be_staged)
{
    jsc_model *alone = random_model(&tiny_sizes, "ref"),
              *models[2] = {random_model(&tiny_sizes, "ref+ref"), random_model(&tiny_sizes, "ref+ref")};
    jsc_group *group = NULL;
    jsc_attribution *got = NULL;
    jsc_error error = {0};
    jsc_request r = ask(JSC_SCOPE_FISHER, T);
    r.fisher_mode = JSC_FISHER_EXACT, r.chunk = 2;
    cr_assert(jsc_group_make((const jsc_model *const *)models, 2, &group, &error) == JSC_OK);
    cr_assert(jsc_group_attribute(group, &r, &got, &error) == JSC_OK, "%s", error.text);
    jsc_attribution *want = answer(alone, &r);
    answers_agree("two members of two stages", got, want, 1e-13);
    jsc_attribution_free(got), jsc_attribution_free(want);
    jsc_group_close(group);
    jsc_model_close(alone), jsc_model_close(models[0]), jsc_model_close(models[1]);
}
