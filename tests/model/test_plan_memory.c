/* test_plan_memory.c: what a request uses beyond the weights, against what its plan said; limits are kept. */
#include "resident.h"
#include "support/random_model.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>

#include <malloc.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Beside the plan's arrays: library code and tables touched for the first time, thread stacks, primitives, large pages rounded up. */
#define ALLOWANCE (5.0e6)

#define LONGEST 512

static double resident(const char *field)
{
    const double bytes = resident_bytes(field);
    cr_assert(bytes > 0.0);
    return bytes;
}

struct memory_case {
    char name[40];
    jsc_scope scope;
    jsc_fisher_mode mode;
    int T, rank, steps;
    bool layers, matrix, bound; /* bound: the plan must allow for more than this prompt turns out to need: adaptive, which stops early */
};

static jsc_request request_of(const struct memory_case *c, int V, int32_t *ids)
{
    jsc_request r = JSC_REQUEST_INIT;
    for (int i = 0; i < c->T; i++)
        ids[i] = (int32_t)((i * 7919 + 13) % V);
    r.ids = ids, r.n_ids = (size_t)c->T;
    r.scope = c->scope;
    r.fisher_mode = c->mode, r.fisher_rank = c->rank > 0 ? c->rank : r.fisher_rank;
    r.path_steps = c->steps > 0 ? c->steps : r.path_steps;
    r.layers = c->layers, r.matrix = c->matrix;
    return r;
}

static int vocabulary(const jsc_model *model)
{
    jsc_model_info info = JSC_MODEL_INFO_INIT;
    jsc_error error;
    cr_assert(jsc_model_describe(model, &info, &error) == JSC_OK);
    return info.vocab_size;
}

static jsc_model *open_default(void)
{
    jsc_open_options options = JSC_OPEN_OPTIONS_INIT;
    jsc_model *model = NULL;
    jsc_error error;
    char path[4096];
#if defined(__SANITIZE_ADDRESS__)
    cr_skip_test("memory is not what it is without the sanitizers: in the release build only");
#endif
    if (jsc_model_find("smollm2-135m", path, sizeof path, &error) != JSC_OK)
        cr_skip_test("the default model is not in the cache: jscopes fetch smollm2-135m");
    cr_assert(jsc_model_open(path, &options, &model, &error) == JSC_OK, "%s", error.text);
    return model;
}

/* Scores of the request and, in *used, the bytes that it took. */
static jsc_attribution *measure(const jsc_model *model, const jsc_request *r, double *used)
{
    (void)malloc_trim(0);
    if (!resident_forget_peak())
        cr_skip_test("SKIP: /proc/self/clear_refs cannot be written");
    const double before = resident("VmRSS");
    jsc_attribution *a = answer(model, r);
    *used = resident("VmHWM") - before;
    return a;
}

static void check(const jsc_model *model, const struct memory_case *c)
{
    static int32_t ids[LONGEST];
    jsc_request r = request_of(c, vocabulary(model), ids);
    jsc_plan plan = JSC_PLAN_INIT;
    jsc_error error;
    double used = 0.0;

    cr_assert(jsc_plan_make(model, &r, &plan, &error) == JSC_OK, "%s: %s", c->name, error.text);
    jsc_attribution *a = measure(model, &r, &used);
    const double planned = (double)plan.peak_bytes;
    fprintf(stderr, "%s: planned %.1f MB (trace %.1f, workspace %.1f, results %.1f), used %.1f MB\n", c->name, planned / 1e6,
            (double)plan.trace_bytes / 1e6, (double)plan.workspace_bytes / 1e6, (double)plan.result_bytes / 1e6, used / 1e6);
    cr_expect(used <= 1.1 * planned + ALLOWANCE, "%s: planned %.1f MB, used %.1f MB", c->name, planned / 1e6, used / 1e6);
    cr_expect(c->bound || used >= 0.9 * planned - ALLOWANCE, "%s: planned %.1f MB, used only %.1f MB", c->name, planned / 1e6, used / 1e6);
    jsc_attribution_free(a);
}

/* Half of what it would take: fewer right-hand sides at once, the same scores, and no more than the limit. */
Test(plan_memory, case_40_a_limit_is_kept, .timeout = 300)
{
    static int32_t ids[LONGEST];
    jsc_model *model = open_default();
    const struct memory_case c = {"rank 192, 48 tokens", JSC_SCOPE_FISHER, JSC_FISHER_RANK, .T = 48, .rank = 192};
    jsc_request r = request_of(&c, vocabulary(model), ids);
    jsc_plan plan = JSC_PLAN_INIT, tight = JSC_PLAN_INIT;
    jsc_error error;
    double used = 0.0;
    cr_assert(jsc_plan_make(model, &r, &plan, &error) == JSC_OK, "%s", error.text);
    jsc_attribution *free_of = measure(model, &r, &used);
    r.memory_limit = plan.peak_bytes - plan.workspace_bytes / 2;
    cr_assert(jsc_plan_make(model, &r, &tight, &error) == JSC_OK, "%s", error.text);
    cr_expect(tight.chunk < plan.chunk && tight.peak_bytes <= r.memory_limit, "chunks of %d, then of %d", plan.chunk, tight.chunk);
    jsc_attribution *kept = measure(model, &r, &used);
    cr_expect(used <= (double)r.memory_limit + ALLOWANCE, "limit %.1f MB, used %.1f MB", (double)r.memory_limit / 1e6, used / 1e6);
    for (int t = 0; t < c.T; t++)
        cr_expect(fabs(kept->scores[t] - free_of->scores[t]) <= 1e-6 * free_of->scores[t], "token %d: %.9g, without a limit %.9g", t,
                  kept->scores[t], free_of->scores[t]);
    jsc_attribution_free(free_of);
    jsc_attribution_free(kept);
    jsc_model_close(model);
}

static const struct memory_case default_cases[] = {
    {"temperature, 23 tokens", JSC_SCOPE_TEMPERATURE, .T = 23},
    {"temperature, 128 tokens", JSC_SCOPE_TEMPERATURE, .T = 128},
    {"temperature, 512 tokens", JSC_SCOPE_TEMPERATURE, .T = 512},
    {"layers, 128 tokens", JSC_SCOPE_TEMPERATURE, .T = 128, .layers = true},
    {"matrix, 48 tokens", JSC_SCOPE_TEMPERATURE, .T = 48, .matrix = true},
    {"path, 23 tokens", JSC_SCOPE_PATH, .T = 23, .steps = 8},
    {"path, layers, 23 tokens", JSC_SCOPE_PATH, .T = 23, .steps = 4, .layers = true},
    {"input x gradient, 128 tokens", JSC_SCOPE_INPUT_X_GRADIENT, .T = 128},
    {"fisher, rank 32, 23 tokens", JSC_SCOPE_FISHER, JSC_FISHER_RANK, .T = 23, .rank = 32},
    {"fisher, rank 48, 128 tokens", JSC_SCOPE_FISHER, JSC_FISHER_RANK, .T = 128, .rank = 48, .layers = true},
    {"fisher, adaptive, 23 tokens", JSC_SCOPE_FISHER, JSC_FISHER_ADAPTIVE, .T = 23, .bound = true},
};

ParameterizedTestParameters(plan_memory, default_model)
{
    return cr_make_param_array(struct memory_case, (struct memory_case *)default_cases, sizeof default_cases / sizeof *default_cases);
}

ParameterizedTest(struct memory_case *c, plan_memory, default_model, .timeout = 300)
{
    jsc_model *model = open_default();
    check(model, c);
    jsc_model_close(model);
}
