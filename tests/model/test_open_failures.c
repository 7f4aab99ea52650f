/* test_open_failures.c: every allocation of opening a model may fail: the error says so, nothing leaks; one checkpoint for each kind of trait. */
#include "base_internal.h"
#include "support/tiny_files.h"

#include <jscopes/jscopes.h>

#include <criterion/criterion.h>
#include <criterion/parameterized.h>

#include <stdio.h>
#include <string.h>

#define FAMILIES JSC_TEST_SOURCE "/tests/golden/families/"

struct failing {
    char path[32];
    char what[64]; /* it is here for */
};

static const struct failing cases[] = {
    {"gemma3", "two tables, norms in front and behind, norms of q and k"},
    {"gemma3_twin.gguf", ""},
    {"opt_post", "projections, positions, no final norm, norms of sums"},
    {"stablelm", "a norm for every head"},
    {"stablelm.gguf", ""},
    {"phi3_longrope", "lists of factors, fused layers"},
    {"phi3_longrope.gguf", "lists of factors that are tensors"},
    {"gpt2", "transposed layers"},
    {"gpt_neox", "rows by head"},
    {"phi", "bias of the head"},
    {"llama3.gguf", "permuted rows, factors of frequencies"},
};

/* Opens with the k-th allocation failing; *reached: there was a k-th. */
static jsc_status open_failing(const char *path, long k, bool keep_failing, bool *reached, jsc_error *error)
{
    jsc_open_options options = JSC_OPEN_OPTIONS_INIT;
    jsc_model *model = NULL;
    options.device = "cpu";
    options.threads = 1; /* the counter is the thread's own */
    mem_fail_at(k, keep_failing);
    const jsc_status status = jsc_model_open(path, &options, &model, error);
    *reached = mem_calls() >= k;
    mem_fail_at(0, false);
    cr_assert((model != NULL) == (status == JSC_OK), "%s: allocation %ld: status %d", path, k, (int)status);
    jsc_model_close(model);
    return status;
}

static void every_allocation(const char *path, bool keep_failing)
{
    const size_t before = mem_live_bytes();
    bool reached = true;
    for (long k = 1; reached; k++) {
        jsc_error error = {0};
        const jsc_status status = open_failing(path, k, keep_failing, &reached, &error);
        cr_assert(mem_live_bytes() == before, "%s: allocation %ld failing leaks", path, k);
        if (reached)
            cr_assert(status == JSC_E_MEMORY, "%s: allocation %ld failed: status %d, %s", path, k, (int)status, error.text);
        if (status != JSC_OK)
            cr_assert(strlen(error.text) > 10 && strpbrk(error.text, "\n\r") == NULL, "%s: allocation %ld: \"%s\"", path, k, error.text);
        if (!reached)
            cr_assert(status == JSC_OK && k > 50, "%s: %ld allocations, %s", path, k, error.text);
    }
}

ParameterizedTestParameters(open_failures, every_allocation_may_fail)
{
    return cr_make_param_array(struct failing, (struct failing *)cases, sizeof cases / sizeof cases[0]);
}

ParameterizedTest(struct failing *f, open_failures, every_allocation_may_fail, .timeout = 300)
{
    char path[512];
    snprintf(path, sizeof path, FAMILIES "%s", f->path);
    every_allocation(path, false);
    every_allocation(path, true);
}
