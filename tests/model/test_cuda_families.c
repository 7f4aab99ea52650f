/* test_cuda_families.c: the CUDA backend on a tiny checkpoint of every family: as near to ref as cpu is, in both precisions. On the emulator
 * (JSC_SIMT), or on hardware with JSC_TEST_DEVICE=cuda; elsewhere skipped. */
#include "support/golden.h"
#include "testing.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define FAMILIES JSC_TEST_SOURCE "/tests/golden/families/"
enum { T = 13 }; /* more than any window */

struct family_case {
    char name[24];
};

ParameterizedTestParameters(cuda_families, scores)
{
    static struct family_case cases[] = {
        {"llama3"}, {"mistral"},  {"qwen2"},    {"qwen3"},   {"smollm3"}, {"phi3"},           {"gemma"},
        {"gemma2"}, {"gemma3"},   {"olmo2"},    {"granite"}, {"gpt2"},    {"gpt_neox"},       {"opt"},
        {"phi"},    {"opt_post"}, {"stablelm"}, {"glm4"},    {"cohere"},  {"cohere_qk_norm"}, {"starcoder2"}};
    return cr_make_param_array(struct family_case, cases, sizeof cases / sizeof *cases);
}

static jsc_model *open_on(const char *name, const char *device, jsc_precision precision)
{
    jsc_open_options options = JSC_OPEN_OPTIONS_INIT;
    jsc_error error = {0};
    jsc_model *model = NULL;
    char path[512];
    snprintf(path, sizeof path, FAMILIES "%s", name);
    options.device = device, options.precision = precision;
    cr_assert(jsc_model_open(path, &options, &model, &error) == JSC_OK, "%s on %s: %s", name, device, error.text);
    return model;
}

/* One question to ref and to the device. */
static void compare(const char *name, const jsc_model *ref, const jsc_model *model, jsc_scope scope, bool fast)
{
    int32_t ids[T];
    jsc_request r = JSC_REQUEST_INIT;
    struct golden_spread spread = {0};
    char what[96];
    for (int i = 0; i < T; i++)
        ids[i] = (i * 29 + 11) % 67;
    snprintf(what, sizeof what, "%s, %s, %s", name, jsc_scope_name(scope), fast ? "fast" : "strict");
    r.scope = scope, r.ids = ids, r.n_ids = T, r.layers = 1, r.fisher_mode = JSC_FISHER_EXACT;
    jsc_attribution *want = golden_attribute(what, ref, &r), *got = golden_attribute(what, model, &r);
    for (int l = 0; l < want->n_layers; l++)
        golden_spread_row(&spread, want->layers + l * T, got->layers + l * T, T);
    cr_expect(spread.largest <= (fast ? FAST_LARGEST : 1e-4), "%s: %g", what, spread.largest); /* too few values for a mean */
    fprintf(stderr, "%s: largest error %.1e\n", what, spread.largest);
    jsc_attribution_free(want), jsc_attribution_free(got);
}

ParameterizedTest(struct family_case *c, cuda_families, scores, .timeout = 300)
{
    const char *device = getenv("JSC_TEST_DEVICE");
    if (test_cuda() == NULL)
        cr_skip_test("no cuda in this build: the simt preset has it on the emulator, JSC_TEST_DEVICE=cuda on hardware");
    jsc_model *ref = open_on(c->name, "ref", JSC_PRECISION_STRICT);
    for (int fast = 0; fast < 2; fast++) {
        jsc_model *model = open_on(c->name, device != NULL ? device : "cuda", fast ? JSC_PRECISION_FAST : JSC_PRECISION_STRICT);
        compare(c->name, ref, model, JSC_SCOPE_TEMPERATURE, fast);
        compare(c->name, ref, model, JSC_SCOPE_FISHER, fast);
        jsc_model_close(model);
    }
    jsc_model_close(ref);
}
