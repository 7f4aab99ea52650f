/* test_traits.c: traits that llama files do not use but the walks carry: windows, soft-caps; what strict means; folder and GGUF twins. */
#include "engine_internal.h"
#include "testing.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <jscopes/jscopes.h>

#include <math.h>
#include <string.h>

#define GOLDEN JSC_TEST_SOURCE "/tests/golden/"
enum { T = 14 };

static jsc_model *open_model(const char *path, const char *device, jsc_precision precision)
{
    jsc_open_options options = JSC_OPEN_OPTIONS_INIT;
    jsc_error error = {0};
    jsc_model *model = NULL;
    options.device = device;
    options.precision = precision;
    cr_assert(jsc_model_open(path, &options, &model, &error) == JSC_OK, "%s", error.text);
    return model;
}

/* Scores of one prompt; the caller's array holds T. */
static void scores(const jsc_model *model, jsc_scope scope, double *out)
{
    int32_t ids[T];
    jsc_error error = {0};
    jsc_attribution *a = NULL;
    jsc_request request = JSC_REQUEST_INIT;
    for (int t = 0; t < T; t++)
        ids[t] = (41 * t + 7) % model->V;
    request.scope = scope;
    request.ids = ids, request.n_ids = T;
    cr_assert(jsc_attribute(model, &request, &a, &error) == JSC_OK, "%s", error.text);
    memcpy(out, a->scores, T * sizeof *out);
    jsc_attribution_free(a);
}

Test(traits, case_11_tokens_out_of_reach_of_the_window_score_exactly_zero)
{
    const char *const devices[] = {"ref", "cpu"};
    double s[2][T];
    for (int i = 0; i < 2; i++) {
        jsc_model *model = open_model(GOLDEN "tiny_llama", devices[i], JSC_PRECISION_STRICT);
        for (int l = 0; l < model->L; l++)
            model->blocks[l].window = 3; /* position j sees j-2 .. j: 3 blocks reach 6 tokens back */
        scores(model, JSC_SCOPE_TEMPERATURE, s[i]);
        const int reach = model->L * 2;
        for (int t = 0; t < T; t++) {
            if (t < T - 1 - reach)
                cr_expect(eq(dbl, s[i][t], 0.0), "%s: token %d is out of reach", devices[i], t);
            else
                cr_expect(s[i][t] > 0.0, "%s: token %d is within reach", devices[i], t);
        }
        jsc_model_close(model);
    }
    cr_expect(le(dbl, error_of_scores(s[1], s[0], T), 2e-6));
}

Test(traits, case_12_caps_act_in_forward_and_in_the_pull_back)
{
    const char *const devices[] = {"ref", "cpu"};
    double s[2][T], plain[T];
    for (int i = 0; i < 2; i++) {
        jsc_model *model = open_model(GOLDEN "tiny_llama", devices[i], JSC_PRECISION_STRICT);
        if (i == 0)
            scores(model, JSC_SCOPE_SEMANTIC, plain);
        model->attn_cap = 0.7;
        model->final_cap = 3.0;
        scores(model, JSC_SCOPE_SEMANTIC, s[i]);
        jsc_model_close(model);
    }
    cr_expect(le(dbl, error_of_scores(s[1], s[0], T), 5e-6));
    const double bite = error_of_scores(plain, s[0], T);
    cr_expect(bite > 0.01 && isfinite(bite), "the caps bite");
}

/* d z / d (one component of x) by central differences through both caps, against the pull-back: the slope must not be forgotten. */
Test(traits, case_12_capped_gradient_against_finite_differences)
{
    jsc_model *model = open_model(GOLDEN "tiny_llama", "ref", JSC_PRECISION_STRICT);
    jsc_error error = {0};
    jsc_plan plan = JSC_PLAN_INIT;
    struct trace *trace = NULL;
    int32_t ids[T], pos[1] = {T - 1};
    double *x = NULL, *z = NULL, *slope = NULL, *grads = NULL;
    const int d = model->d, target = 17, token = 4, component = 3;
    const struct work work = {.T = T, .S = 1, .n_rhs = 1, .head_rows = 1, .gradients = true};

    model->attn_cap = 0.7, model->final_cap = 3.0;
    for (int t = 0; t < T; t++)
        ids[t] = (41 * t + 7) % model->V;
    cr_assert(plan_compute(model, &work, &plan, &error) == JSC_OK && trace_make(model, &plan, &trace, &error) == JSC_OK, "%s", error.text);
    cr_assert(mem_new(&x, (size_t)(T * d), NULL) == JSC_OK && mem_new(&z, (size_t)model->V, NULL) == JSC_OK &&
              mem_new(&slope, (size_t)model->V, NULL) == JSC_OK && mem_new(&grads, (size_t)(T * d), NULL) == JSC_OK);
    cr_assert(forward_inputs(trace, ids, x, &error) == JSC_OK);
    const double step = 1e-6 * (1.0 + fabs(x[token * d + component]));
    double side[2];
    for (int k = 0; k < 2; k++) {
        x[token * d + component] += k == 0 ? step : -2.0 * step;
        cr_assert(forward_run(trace, x, 1, &error) == JSC_OK && forward_logits(trace, T - 1, z, NULL, &error) == JSC_OK, "%s", error.text);
        side[k] = z[target];
    }
    x[token * d + component] += step;
    cr_assert(forward_run(trace, x, 1, &error) == JSC_OK && forward_logits(trace, T - 1, z, slope, &error) == JSC_OK);
    double cot[64];
    const size_t start[2] = {0, 1};
    cr_assert(head_cotangents(trace, 1, start, &target, &slope[target], cot, &error) == JSC_OK);
    const struct pull pull = {.S = 1, .B = 1, .pos = pos, .cot = cot, .grads = grads};
    cr_assert(vjp_pull(trace, &pull, &error) == JSC_OK, "%s", error.text);
    const double difference = (side[0] - side[1]) / (2.0 * step), gradient = grads[token * d + component];
    cr_expect(le(dbl, fabs(difference - gradient), 1e-6 * fabs(gradient) + 1e-9), "%g against %g", difference, gradient);
    mem_free(x), mem_free(z), mem_free(slope), mem_free(grads);
    trace_free(trace);
    jsc_model_close(model);
}

Test(traits, case_15_folder_and_gguf_twin_give_the_same_scores)
{
    const char *const twins[2][2] = {{GOLDEN "tiny_llama", GOLDEN "tiny_llama.gguf"},
                                     {GOLDEN "tiny_llama_bias", GOLDEN "tiny_llama_bias.gguf"}};
    for (int i = 0; i < 2; i++) {
        double s[2][T];
        for (int k = 0; k < 2; k++) {
            jsc_model *model = open_model(twins[i][k], "ref", JSC_PRECISION_STRICT);
            scores(model, JSC_SCOPE_TEMPERATURE, s[k]);
            jsc_model_close(model);
        }
        cr_expect(le(dbl, error_of_scores(s[1], s[0], T), 1e-6), "%s: the converter permutes q and k, and rope_freqs holds float divisors",
                  twins[i][1]);
    }
}

Test(traits, case_29_strict_is_float32_and_says_so)
{
    double s[2][T];
    jsc_model_info info = JSC_MODEL_INFO_INIT;
    jsc_error error = {0};
    jsc_model *cpu = open_model(GOLDEN "tiny_llama", "cpu", JSC_PRECISION_STRICT),
              *ref = open_model(GOLDEN "tiny_llama", "ref", JSC_PRECISION_STRICT);
    cr_assert(jsc_model_describe(cpu, &info, &error) == JSC_OK);
    cr_expect(eq(str, (char *)info.precision, "strict"));
    scores(cpu, JSC_SCOPE_TEMPERATURE, s[0]);
    scores(ref, JSC_SCOPE_TEMPERATURE, s[1]);
    cr_expect(le(dbl, error_of_scores(s[0], s[1], T), 2e-6), "TF32 would be wrong by 1e-3");
    jsc_model_close(cpu);
    jsc_model_close(ref);
}

Test(traits, case_29_fast_that_is_not_to_be_had_says_so)
{
    jsc_model_info info = JSC_MODEL_INFO_INIT;
    jsc_error error = {0};
    jsc_model *model = open_model(GOLDEN "tiny_llama", "cpu", JSC_PRECISION_FAST);
    cr_assert(jsc_model_describe(model, &info, &error) == JSC_OK);
    cr_expect(strcmp(info.precision, "fast") == 0 || (info.n_warnings == 1 && strstr(info.warnings[0], "strict") != NULL),
              "precision %s without a word", info.precision);
    jsc_model_close(model);
}
