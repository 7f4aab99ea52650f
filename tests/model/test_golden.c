/* test_golden.c: every scope on the tiny checkpoints, folder and GGUF twin, against float64 values (tests/oracle/make_tiny_llama.py).
 * ref within 1e-6, cpu in strict arithmetic within 1e-4 (golden.h has the rule), probabilities within 1e-5. */
#include "support/golden_requests.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdio.h>
#include <string.h>

enum { IDS_MAX = 64 };

struct golden_case {
    char checkpoint[24], suffix[8], device[8];
    double tolerance;
};

ParameterizedTestParameters(golden, scores)
{
    static struct golden_case cases[] = {
        {"tiny_llama", "", "ref", 1e-6},      {"tiny_llama", ".gguf", "ref", 1e-6},      {"tiny_llama", "", "cpu", 1e-4},
        {"tiny_llama", ".gguf", "cpu", 1e-4}, {"tiny_llama_bias", "", "ref", 1e-6},      {"tiny_llama_bias", ".gguf", "ref", 1e-6},
        {"tiny_llama_bias", "", "cpu", 1e-4}, {"tiny_llama_bias", ".gguf", "cpu", 1e-4},
    };
    return cr_make_param_array(struct golden_case, cases, sizeof cases / sizeof *cases);
}

ParameterizedTest(struct golden_case *c, golden, scores, .timeout = 120)
{
    char path[512], values[512], label[64];
    snprintf(path, sizeof path, JSC_TEST_SOURCE "/tests/golden/%s%s", c->checkpoint, c->suffix);
    snprintf(values, sizeof values, JSC_TEST_SOURCE "/tests/golden/%s.json", c->checkpoint);
    snprintf(label, sizeof label, "%s%s on %s", c->checkpoint, c->suffix, c->device);
    json_t *root = golden_load(values);
    jsc_model *model = golden_open(path, c->device);
    (void)golden_requests(label, root, model, c->tolerance);
    jsc_model_close(model);
    json_decref(root);
}

/* Ids of a few texts from both forms of one tokeniser, as the tokenizers package gives them. */
Test(golden, texts)
{
    json_t *root = golden_load(JSC_TEST_SOURCE "/tests/golden/tiny_llama.json"), *one;
    static const char *const forms[] = {JSC_TEST_SOURCE "/tests/golden/tiny_llama", JSC_TEST_SOURCE "/tests/golden/tiny_llama.gguf"};
    for (size_t form = 0; form < 2; form++) {
        jsc_model *model = golden_open(forms[form], "cpu");
        size_t i;
        json_array_foreach(json_object_get(root, "texts"), i, one)
        {
            const json_t *text = json_object_get(one, "text");
            int32_t ids[IDS_MAX];
            size_t n = golden_ids(one, "ids", ids, IDS_MAX);
            jsc_tokens *tokens = NULL;
            jsc_error error;
            jsc_status status = jsc_tokenize(model, json_string_value(text), json_string_length(text), NULL, &tokens, &error);
            cr_assert(status == JSC_OK, "%s: \"%s\": %s", forms[form], json_string_value(text), error.text);
            cr_expect(tokens->n == n && !memcmp(tokens->ids, ids, n * sizeof *ids), "%s: \"%s\": other ids (%zu, want %zu)", forms[form],
                      json_string_value(text), tokens->n, n);
            jsc_tokens_free(tokens);
        }
        jsc_model_close(model);
    }
    json_decref(root);
}
