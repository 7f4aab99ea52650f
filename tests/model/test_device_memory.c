/* test_device_memory.c: a device with memory of its own, on the emulator: weights that do not fit, plans by its memory, what requests really take. */
#include "support/random_model.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#ifndef JSC_SIMT

Test(device_memory, needs_the_emulator)
{
    cr_skip_test("devices with memory of their own are tested in the simt preset");
}

#else

#include "cuda_internal.h"
#include "simt.h"

#include <stdio.h>
#include <string.h>

/* What a stream takes of the device. */
#define STREAM (CUDA_WORKSPACE_BYTES + CUDA_RING_BYTES)

static const struct random_sizes small = {64, 160, 4, 2, 16, 2, 300, 0.6, 3};

static jsc_model *open_small(const char *device, int without_weights)
{
    jsc_model *model = NULL;
    jsc_error error = {0};
    const jsc_open_options options = {sizeof options, device, JSC_PRECISION_FAST, 1, without_weights, NULL, NULL, NULL, NULL};
    cr_assert(jsc_model_open(JSC_TEST_SOURCE "/tests/golden/tiny_llama", &options, &model, &error) == JSC_OK, "%s", error.text);
    return model;
}

Test(device_memory, weights_that_do_not_fit_are_refused_before_loading, .timeout = 120)
{
    jsc_model *model = NULL;
    jsc_error error = {0};
    char left[64];
    simt_settings.memory_limit = STREAM + 100000;
    cr_expect(eq(int, random_model_open(&small, "cuda", JSC_PRECISION_STRICT, &model, &error), JSC_E_MEMORY));
    (void)snprintf(left, sizeof left, "where %d are free", 100000);
    cr_expect(strstr(error.text, left) != NULL && strstr(error.text, "its weights take 49") != NULL, "%s", error.text);
    cr_expect(strstr(error.text, "cuda:0") != NULL && strstr(error.text, "--device cpu") != NULL, "%s", error.text);
    cr_expect(eq(sz, simt_memory_used(), 0), "all is given back");
    /* fits by the estimate, which knows nothing of norms */
    simt_settings.memory_limit = STREAM + 498688 + 100;
    cr_expect(eq(int, random_model_open(&small, "cuda", JSC_PRECISION_STRICT, &model, &error), JSC_E_MEMORY), "%s", error.text);
    cr_expect(strstr(error.text, "are free") != NULL && strstr(error.text, "no memory for") != NULL, "%s", error.text);
    cr_expect(simt_memory_used() == 0 && simt_objects() == 0, "all is given back");
    cr_expect(cudaPeekAtLastError() == cudaSuccess);
}

Test(device_memory, a_model_tells_what_the_device_has)
{
    jsc_model_info info = JSC_MODEL_INFO_INIT;
    jsc_error error = {0};
    simt_settings.memory_limit = (size_t)1 << 30;
    jsc_model *model = open_small("cuda", 0);
    cr_assert(jsc_model_describe(model, &info, &error) == JSC_OK);
    cr_expect(eq(u64, info.memory_left, ((size_t)1 << 30) - STREAM));
    cr_expect(strstr(info.device, "cuda:0 (SIMT emulator, 1 GiB") == info.device && strcmp(info.backend, "cuda") == 0, "%s", info.device);
    cr_expect(strcmp(info.precision, "fast") == 0 && info.no_gpu == NULL);
    jsc_model_close(model);
    cr_expect(simt_memory_used() == 0 && simt_allocations() == 0 && simt_objects() == 0);
}

static jsc_plan plan_of(const jsc_model *model, const jsc_request *r)
{
    jsc_plan plan = JSC_PLAN_INIT;
    jsc_error error = {0};
    cr_assert(jsc_plan_make(model, r, &plan, &error) == JSC_OK, "%s", error.text);
    return plan;
}

Test(device_memory, plans_go_by_the_memory_of_the_device)
{
    static char text[2000];
    jsc_request r = ask(JSC_SCOPE_FISHER, 20);
    r.fisher_mode = JSC_FISHER_EXACT;
    simt_settings.memory_limit = (size_t)1 << 30;
    jsc_model *model = open_small("cuda", 0), *dry = open_small("cuda", 1), *host = open_small("cpu", 0);
    const jsc_plan plan = plan_of(model, &r), before = plan_of(dry, &r), cpu = plan_of(host, &r);
    cr_expect(plan.own_memory && before.own_memory && !cpu.own_memory);
    cr_expect(eq(u64, plan.peak_bytes, plan.trace_bytes + plan.workspace_bytes), "results lie in the host's memory");
    cr_expect(eq(u64, cpu.peak_bytes, cpu.trace_bytes + cpu.workspace_bytes + cpu.result_bytes));
    cr_expect(plan.workspace_bytes > STREAM && plan.limit_bytes < (size_t)1 << 30);
    /* all three models hold memory of one device: the second had less */
    cr_expect(before.limit_bytes <= plan.limit_bytes && plan.limit_bytes - before.limit_bytes < plan.limit_bytes / 4);
    cr_expect(jsc_plan_print(&plan, text, sizeof text) < sizeof text && strstr(text, ") on the device; results") != NULL, "%s", text);
    cr_expect(jsc_plan_print(&cpu, text, sizeof text) < sizeof text && strstr(text, ", results") != NULL, "%s", text);
    cr_expect(strstr(text, "device") == NULL, "%s", text);

    r.chunk = 1;
    r.memory_limit = (plan.peak_bytes + plan_of(model, &r).peak_bytes) / 2;
    r.chunk = 0;
    const jsc_plan tight = plan_of(model, &r);
    cr_expect(tight.chunk < plan.chunk && tight.peak_bytes <= r.memory_limit, "chunks of %d, then of %d", plan.chunk, tight.chunk);
    r.memory_limit = STREAM;
    jsc_plan none = JSC_PLAN_INIT;
    jsc_error error = {0};
    cr_expect(eq(int, jsc_plan_make(model, &r, &none, &error), JSC_E_MEMORY));
    cr_expect(strstr(error.text, "beyond the weights") != NULL, "%s", error.text);
    jsc_model_close(model);
    jsc_model_close(dry);
    jsc_model_close(host);
}

/* The device's most during each request, beyond the model, against its plan: no more, and no tenth less. */
Test(device_memory, requests_take_what_their_plan_says, .timeout = 300)
{
    const struct {
        const char *name;
        jsc_scope scope;
        jsc_fisher_mode mode;
        int layers, matrix;
    } kinds[] = {{"temperature", JSC_SCOPE_TEMPERATURE, JSC_FISHER_ADAPTIVE, 0, 0},
                 {"layers", JSC_SCOPE_SEMANTIC, JSC_FISHER_ADAPTIVE, 1, 0},
                 {"matrix", JSC_SCOPE_TEMPERATURE, JSC_FISHER_ADAPTIVE, 0, 1},
                 {"fisher, exact", JSC_SCOPE_FISHER, JSC_FISHER_EXACT, 0, 0},
                 {"path", JSC_SCOPE_PATH, JSC_FISHER_ADAPTIVE, 0, 0}};
    simt_settings.memory_limit = (size_t)1 << 30;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        jsc_model *model = open_small("cuda", 0); /* a fresh one: no stream waits from the request before */
        jsc_request r = ask(kinds[k].scope, 12);
        r.fisher_mode = kinds[k].mode, r.layers = kinds[k].layers, r.matrix = kinds[k].matrix, r.path_steps = 5;
        const jsc_plan plan = plan_of(model, &r);
        const size_t base = simt_memory_used();
        (void)simt_memory_most();
        jsc_attribution *a = answer(model, &r);
        const size_t taken = simt_memory_most() - base;
        cr_expect(taken <= plan.peak_bytes && (double)taken >= 0.9 * (double)plan.peak_bytes, "%s: planned %zu bytes, took %zu",
                  kinds[k].name, (size_t)plan.peak_bytes, taken);
        jsc_attribution_free(a);
        jsc_model_close(model);
    }
}

#endif
