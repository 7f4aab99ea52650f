/* test_fast.c: precision fast, emulated, from end to end on the tiny checkpoints: near strict in every scope, the same bits twice. */
#include "support/golden.h"
#include "support/random_model.h"

#include "base_internal.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GOLDEN JSC_TEST_SOURCE "/tests/golden/"

enum { N_IDS = 11 };
static const int32_t ids[N_IDS] = {3, 1, 4, 15, 9, 2, 6, 5, 35, 8, 30};

static jsc_request question(jsc_scope scope)
{
    jsc_request request = JSC_REQUEST_INIT;
    request.scope = scope;
    request.ids = ids, request.n_ids = N_IDS;
    request.path_steps = 20;
    request.fisher_mode = JSC_FISHER_EXACT;
    request.layers = scope != JSC_SCOPE_PATH && scope != JSC_SCOPE_INPUT_X_GRADIENT;
    return request;
}

static void check_scope(const char *name, const jsc_model *fast, const jsc_model *strict, jsc_scope scope)
{
    static double directions[2 * 64];
    char what[80];
    jsc_request request = question(scope);
    for (size_t i = 0; i < sizeof directions / sizeof *directions; i++)
        directions[i] = rng_normal(5, 1, i);
    if (scope == JSC_SCOPE_DIRECTION)
        request.directions = directions, request.n_directions = 2;
    jsc_attribution *a = answer(fast, &request), *again = answer(fast, &request), *b = answer(strict, &request);
    const size_t n = b->n_scores * b->n_tokens, whole = request.layers ? n * (size_t)b->n_layers : 0;
    struct golden_spread s = {0};

    golden_spread_row(&s, b->scores, a->scores, n);
    for (size_t l = 0; l < whole / b->n_tokens; l++)
        golden_spread_row(&s, b->layers + l * b->n_tokens, a->layers + l * b->n_tokens, b->n_tokens);
    (void)snprintf(what, sizeof what, "%s, %s", name, jsc_scope_name(scope));
    golden_spread_check(what, &s, scope == JSC_SCOPE_FISHER);
    cr_expect(s.largest > 1e-5, "%s: nothing was rounded", what);
    cr_expect(memcmp(a->scores, again->scores, n * sizeof *a->scores) == 0, "%s: other bits the second time", what);
    jsc_attribution_free(a);
    jsc_attribution_free(again);
    jsc_attribution_free(b);
}

static void check_model(const char *name)
{
    char path[512];
    (void)snprintf(path, sizeof path, GOLDEN "%s", name);
    jsc_model *fast = golden_open_fast(path), *strict = golden_open(path, "cpu");
    for (int scope = 0; scope < JSC_SCOPE_COUNT; scope++)
        check_scope(name, fast, strict, (jsc_scope)scope);
    jsc_model_close(fast);
    jsc_model_close(strict);
}

Test(fast, near_strict_in_every_scope, .timeout = 120)
{
    check_model("tiny_llama");
    check_model("tiny_llama_bias");
    check_model("tiny_llama.gguf");
}

Test(fast, matrix_keeps_its_zeros, .timeout = 120)
{
    jsc_model *fast = golden_open_fast(GOLDEN "tiny_llama"), *strict = golden_open(GOLDEN "tiny_llama", "cpu");
    jsc_request request = question(JSC_SCOPE_TEMPERATURE);
    request.layers = 0, request.matrix = 1;
    jsc_attribution *a = answer(fast, &request), *b = answer(strict, &request);
    struct golden_spread s = {0};
    for (size_t p = 0; p < N_IDS; p++) {
        golden_spread_row(&s, b->matrix + p * N_IDS, a->matrix + p * N_IDS, p + 1);
        for (size_t t = p + 1; t < N_IDS; t++)
            cr_expect(a->matrix[p * N_IDS + t] == 0.0, "token %zu after position %zu", t, p);
    }
    golden_spread_check("matrix", &s, false);
    jsc_attribution_free(a);
    jsc_attribution_free(b);
    jsc_model_close(fast);
    jsc_model_close(strict);
}

Test(fast, plan_and_result_say_so)
{
    jsc_model *fast = golden_open_fast(GOLDEN "tiny_llama"), *strict = golden_open(GOLDEN "tiny_llama", "cpu");
    jsc_plan plan[2] = {JSC_PLAN_INIT, JSC_PLAN_INIT};
    jsc_request request = question(JSC_SCOPE_FISHER);
    cr_assert(jsc_plan_make(fast, &request, &plan[0], NULL) == JSC_OK && jsc_plan_make(strict, &request, &plan[1], NULL) == JSC_OK);
    cr_expect(plan[0].weight_bytes > plan[1].weight_bytes, "bfloat16 copies of the weights are counted");
    jsc_attribution *a = answer(fast, &request);
    cr_expect(strcmp(a->precision, "fast") == 0, "the result says %s", a->precision);
    jsc_attribution_free(a);
    jsc_model_close(fast);
    jsc_model_close(strict);
}
