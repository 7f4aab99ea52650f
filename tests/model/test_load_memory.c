/* test_load_memory.c: what opening a model takes at its peak: the weights as they stay, and a little; never the file's pages beside them. */
#include "resident.h"
#include "support/checkpoint.h"
#include "support/sparse_checkpoint.h"

#include <jscopes/jscopes.h>

#include <criterion/criterion.h>

#include <malloc.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Tables, library code, thread stacks, large pages rounded up; and what threads read of the file before they give it back. */
#define ALLOWANCE 24e6

/* Where it cannot be measured. */
static void skip(void)
{
#if defined(__SANITIZE_ADDRESS__)
    cr_skip_test("memory is not what it is without the sanitizers: in the release build only");
#endif
    if (!resident_forget_peak())
        cr_skip_test("SKIP: /proc/self/clear_refs cannot be written");
}

TestSuite(load_memory, .init = skip, .timeout = 120);

/* Bytes that the process grew by, at most, while path was opened; what it said the weights take in *weights. */
static double peak_of(const char *path, double *weights, double *file)
{
    jsc_open_options options = JSC_OPEN_OPTIONS_INIT;
    jsc_model_info info = JSC_MODEL_INFO_INIT;
    jsc_model *model = NULL;
    jsc_error error = {0};
    (void)malloc_trim(0);
    cr_assert(resident_forget_peak());
    const double before = resident_bytes("VmRSS");
    options.device = "cpu";
    options.threads = 2;
    cr_assert(jsc_model_open(path, &options, &model, &error) == JSC_OK, "%s", error.text);
    const double peak = resident_bytes("VmHWM") - before;
    cr_assert(jsc_model_describe(model, &info, &error) == JSC_OK);
    *weights = (double)info.weight_bytes;
    *file = (double)info.file_bytes;
    jsc_model_close(model);
    fprintf(stderr, "%s: file %.1f MB, weights %.1f MB, peak %.1f MB\n", path, *file / 1e6, *weights / 1e6, peak / 1e6);
    return peak;
}

/* What the folder of these sizes takes: a float for each weight, and a little. */
static void check_folder(const struct sparse_sizes *z)
{
    char folder[] = "/tmp/jscopes-test-XXXXXX";
    const double d = (double)z->d, floats = 4.0 * ((double)z->vocabulary * d + (double)z->layers * d * (4.0 * d + 3.0 * (double)z->f));
    double weights = 0.0, file = 0.0;
    cr_assert(mkdtemp(folder) != NULL);
    sparse_llama(folder, z);
    const double peak = peak_of(folder, &weights, &file);
    folder_remove(folder);
    cr_assert(file >= 100e6 && fabs(weights - floats) <= 1e6, "file %.0f, weights %.0f", file, weights);
    cr_expect(peak <= weights + ALLOWANCE, "peak %.1f MB, weights %.1f MB of a file of %.1f MB", peak / 1e6, weights / 1e6, file / 1e6);
    cr_expect(peak >= weights - ALLOWANCE, "peak %.1f MB is less than the weights, %.1f MB", peak / 1e6, weights / 1e6);
}

/* 117 million weights: 234 MB of bf16 become 468 MB of floats. The embedding alone is 66 MB of the file. */
Test(load_memory, a_bf16_folder_is_not_kept_beside_its_weights)
{
    check_folder(&(struct sparse_sizes){.layers = 5, .d = 1024, .f = 4096, .heads = 8, .vocabulary = 32000});
}

/* Half of the file is embedding, half the same as head: both are read, one is kept. */
Test(load_memory, a_tied_head_that_is_stored_too)
{
    check_folder(&(struct sparse_sizes){.layers = 1, .d = 1024, .f = 64, .heads = 8, .vocabulary = 48000, .stored_twice = true});
}

Test(load_memory, the_default_model)
{
    char path[4096];
    jsc_error error;
    double weights = 0.0, file = 0.0;
    if (jsc_model_find("smollm2-135m", path, sizeof path, &error) != JSC_OK)
        cr_skip_test("the default model is not in the cache: jscopes fetch smollm2-135m");
    const double peak = peak_of(path, &weights, &file);
    cr_expect(peak <= weights + ALLOWANCE, "peak %.1f MB, weights %.1f MB of a file of %.1f MB", peak / 1e6, weights / 1e6, file / 1e6);
}
