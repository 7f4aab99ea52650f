/* test_vjp_api.c: the multi-right-hand-side VJP against finite differences of the forward pass, and its identities. */
#include "engine_internal.h"
#include "support/random_model.h"

#include <criterion/criterion.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { T = 5, D = 18, L = 3 };

static double close_to(double got, double want, double scale)
{
    return fabs(got - want) / fmax(fabs(want), scale);
}

static void vjp(const jsc_model *model, const jsc_vjp_request *request)
{
    jsc_error error = {0};
    cr_assert(jsc_vjp(model, request, &error) == JSC_OK, "%s", error.text);
}

static jsc_vjp_request base(size_t n_rhs, const int64_t *positions, const double *cotangents)
{
    static const int32_t ids[T] = {3, 17, 0, 29, 8};
    jsc_vjp_request r = JSC_VJP_REQUEST_INIT;
    r.ids = ids, r.n_ids = T;
    r.n_rhs = n_rhs, r.positions = positions, r.cotangents = cotangents;
    return r;
}

static void random_rows(double *out, size_t n, uint64_t seed)
{
    for (size_t i = 0; i < n; i++)
        out[i] = rng_normal(99, seed, i);
}

/* y at every position for block-0 inputs x, through the engine itself. */
static void final_hidden(struct trace *trace, const double *x, double *y)
{
    jsc_error error = {0};
    cr_assert(forward_run(trace, x, 1, &error) == JSC_OK, "%s", error.text);
    for (int t = 0; t < T; t++)
        cr_assert(forward_hidden(trace, t, y + t * D, &error) == JSC_OK);
}

/* Every entry of J by central differences against the gradients of one-hot cotangents. */
Test(vjp_api, one_hot_cotangents_rebuild_the_jacobian)
{
    jsc_model *model = random_model(&tiny_sizes, "ref");
    static double cot[T * D * D], grads[T * D * T * D], hidden[T * D * D], x[T * D], moved[T * D], high[T * D], low[T * D];
    static int64_t pos[T * D];
    for (int p = 0; p < T; p++)
        for (int i = 0; i < D; i++)
            cot[(p * D + i) * D + i] = 1.0, pos[p * D + i] = p - (i % 2 ? T : 0);
    jsc_vjp_request r = base(T * D, pos, cot);
    r.gradients = grads, r.hidden = hidden;
    vjp(model, &r);

    jsc_error error = {0};
    jsc_plan plan = JSC_PLAN_INIT;
    struct trace *trace = NULL;
    const struct work work = {.T = T, .S = 1, .n_rhs = 1, .head_rows = 1};
    cr_assert(plan_compute(model, &work, &plan, &error) == JSC_OK && trace_make(model, &plan, &trace, &error) == JSC_OK, "%s", error.text);
    cr_assert(forward_inputs(trace, r.ids, x, &error) == JSC_OK);
    const double h = 1e-5;
    for (int c = 0; c < T * D; c++) {
        memcpy(moved, x, sizeof x);
        moved[c] = x[c] + h;
        final_hidden(trace, moved, high);
        moved[c] = x[c] - h;
        final_hidden(trace, moved, low);
        for (int o = 0; o < T * D; o++) {
            const double numeric = (high[o] - low[o]) / (2 * h), exact = grads[o * T * D + c];
            if (c / D > o / D)
                cr_expect(exact == 0.0, "token %d after position %d has gradient %g", c / D, o / D, exact);
            else
                cr_expect(close_to(exact, numeric, 0.05) <= 2e-6, "d y[%d] / d x[%d]: %.9g, by differences %.9g", o, c, exact, numeric);
        }
    }
    final_hidden(trace, x, high);
    for (int o = 0; o < T * D; o++)
        cr_expect(close_to(hidden[o * D + o % D], high[o], 1.0) <= 1e-12, "hidden state %d", o);
    trace_free(trace);
    jsc_model_close(model);
}

Test(vjp_api, sums_are_squares_of_gradients)
{
    jsc_model *model = random_model(&tiny_sizes, "ref");
    double cot[4 * D], sums[4 * T], grads[4 * T * D];
    const int64_t pos[4] = {4, 0, 2, 4};
    random_rows(cot, 4 * D, 1);
    jsc_vjp_request r = base(4, pos, cot);
    r.sums = sums, r.gradients = grads;
    vjp(model, &r);
    for (int i = 0; i < 4 * T; i++) {
        double square = 0.0;
        for (int c = 0; c < D; c++)
            square += grads[i * D + c] * grads[i * D + c];
        cr_expect(close_to(sums[i], square, 1e-12) <= 1e-12, "row %d: %.12g, %.12g", i, sums[i], square);
    }
    jsc_model_close(model);
}

/* pull(a u + b v) = a pull(u) + b pull(v) */
Test(vjp_api, linear_in_the_cotangent)
{
    jsc_model *model = random_model(&tiny_sizes, "ref");
    double cot[3 * D], grads[3 * T * D];
    random_rows(cot, 2 * D, 2);
    for (int i = 0; i < D; i++)
        cot[2 * D + i] = 0.75 * cot[i] - 3.0 * cot[D + i];
    jsc_vjp_request r = base(3, NULL, cot);
    r.gradients = grads;
    vjp(model, &r);
    for (int i = 0; i < T * D; i++)
        cr_expect(close_to(grads[2 * T * D + i], 0.75 * grads[i] - 3.0 * grads[T * D + i], 1e-3) <= 1e-11, "component %d", i);
    jsc_model_close(model);
}

/* Case 30: together, in any chunk and with any neighbours: the same norms within tolerance. Alone the prompt ends at the target: another
 * number of tokens, another order of float sums in the forward pass too, so twice that. */
static void check_chunks(const char *device, double tolerance)
{
    enum { B = 23 };
    jsc_model *model = random_model(&tiny_sizes, device);
    static double cot[B * D], all[L * B * T], some[L * B * T], one[L * T];
    int64_t pos[B];
    random_rows(cot, B * D, 3);
    for (int b = 0; b < B; b++)
        pos[b] = b * 3 % T;
    jsc_vjp_request r = base(B, pos, cot);
    r.layers = 1, r.sums = all;
    vjp(model, &r);
    const int chunks[] = {1, 2, 5, 16, 22};
    for (size_t c = 0; c < sizeof chunks / sizeof *chunks; c++) {
        r.chunk = chunks[c], r.sums = some;
        vjp(model, &r);
        for (int i = 0; i < L * B * T; i++)
            cr_expect(close_to(sqrt(some[i]), sqrt(all[i]), 1e-9) <= tolerance, "%s, chunk %d, sum %d: %.9g, %.9g", device, chunks[c], i,
                      some[i], all[i]);
    }
    for (int b = 0; b < B; b++) {
        jsc_vjp_request single = base(1, &pos[b], cot + b * D);
        single.layers = 1, single.sums = one;
        vjp(model, &single);
        for (int l = 0; l < L; l++)
            for (int t = 0; t < T; t++)
                cr_expect(close_to(sqrt(one[l * T + t]), sqrt(all[(l * B + b) * T + t]), 1e-9) <= 2 * tolerance,
                          "%s, alone, row %d, block %d, token %d: %.9g, %.9g", device, b, l, t, one[l * T + t], all[(l * B + b) * T + t]);
    }
    jsc_model_close(model);
}

Test(vjp_api, case_30_the_same_in_any_company_ref)
{
    check_chunks("ref", 1e-12);
}

Test(vjp_api, case_30_the_same_in_any_company_cpu)
{
    check_chunks("cpu", 1e-6);
}

/* Case 31: the same bits twice. */
Test(vjp_api, case_31_the_same_bits_twice)
{
    jsc_model *model = random_model(&tiny_sizes, "cpu");
    double cot[3 * D], first[3 * T], second[3 * T];
    random_rows(cot, 3 * D, 4);
    jsc_vjp_request r = base(3, NULL, cot);
    r.sums = first;
    vjp(model, &r);
    r.sums = second;
    vjp(model, &r);
    cr_expect(memcmp(first, second, sizeof first) == 0, "two runs differ");
    jsc_model_close(model);
}

static void refused_vjp(const jsc_model *model, const jsc_vjp_request *r, jsc_status status, const char *word)
{
    jsc_error error = {0};
    const jsc_status got = jsc_vjp(model, r, &error);
    cr_expect(got == status && strstr(error.text, word) != NULL, "wanted '%s', got %s: %s", word, jsc_status_name(got), error.text);
}

Test(vjp_api, bad_requests_are_refused)
{
    jsc_model *model = random_model(&tiny_sizes, "ref");
    double cot[2 * D], sums[2 * T];
    int64_t pos[2] = {0, T};
    int32_t ids[2] = {0, 40};
    random_rows(cot, 2 * D, 5);
    jsc_vjp_request r = base(2, pos, cot);
    r.sums = sums;
    refused_vjp(model, &r, JSC_E_ARGUMENT, "position 5");
    pos[1] = -T - 1;
    refused_vjp(model, &r, JSC_E_ARGUMENT, "position -6");
    pos[1] = 0, cot[D + 2] = NAN;
    refused_vjp(model, &r, JSC_E_ARGUMENT, "cotangent 1, component 2");
    cot[D + 2] = 0, r.n_rhs = 0;
    refused_vjp(model, &r, JSC_E_ARGUMENT, "right-hand sides");
    r = base(1, NULL, NULL);
    refused_vjp(model, &r, JSC_E_ARGUMENT, "cotangents");
    r = base(1, NULL, cot), r.size = 8;
    refused_vjp(model, &r, JSC_E_ARGUMENT, "JSC_VJP_REQUEST_INIT");
    r = base(1, NULL, cot), r.n_ids = 0;
    refused_vjp(model, &r, JSC_E_ARGUMENT, "no token");
    r = base(1, NULL, cot), r.ids = ids, r.n_ids = 2;
    refused_vjp(model, &r, JSC_E_ARGUMENT, "id 40");
    r = base(1, NULL, cot), r.memory_limit = 100;
    refused_vjp(model, &r, JSC_E_MEMORY, "limit is 100");
    refused_vjp(NULL, &r, JSC_E_ARGUMENT, "model");
    jsc_model_close(model);
}

static int stop_after_two(void *user, const char *stage, double done, double total)
{
    (void)stage, (void)total;
    *(int *)user += 1;
    return done > 2.0;
}

Test(vjp_api, progress_can_cancel)
{
    jsc_model *model = random_model(&tiny_sizes, "ref");
    double cot[8 * D], sums[8 * T];
    int calls = 0;
    random_rows(cot, 8 * D, 6);
    jsc_vjp_request r = base(8, NULL, cot);
    r.sums = sums, r.chunk = 2, r.progress = stop_after_two, r.progress_user = &calls;
    refused_vjp(model, &r, JSC_E_CANCELLED, "2.7 of 8");
    cr_expect(calls == 1 + L + 1, "%d calls: one before, one after every block", calls);
    jsc_model_close(model);
}

Test(vjp_api, every_allocation_may_fail)
{
    jsc_model *model = random_model(&tiny_sizes, "ref");
    double cot[2 * D], sums[2 * T], grads[2 * T * D];
    jsc_error error = {0};
    random_rows(cot, 2 * D, 7);
    jsc_vjp_request r = base(2, NULL, cot);
    r.sums = sums, r.gradients = grads, r.chunk = 1;
    const size_t before = mem_live_bytes();
    jsc_status status = JSC_E_MEMORY;
    long k = 0;
    while (status != JSC_OK && ++k < 1000) {
        mem_fail_at(k, false);
        status = jsc_vjp(model, &r, &error);
        cr_expect(status == JSC_OK || status == JSC_E_MEMORY, "allocation %ld: %s", k, error.text);
        cr_expect(mem_live_bytes() == before, "allocation %ld: bytes stay", k);
    }
    mem_fail_at(0, false);
    cr_expect(status == JSC_OK && k > 10, "stopped after %ld", k);
    jsc_model_close(model);
}
