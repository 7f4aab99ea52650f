/* test_engine.c: plan, trace and the two walks: any form, chunking and number of sequences gives the same pull-back. */
#include "engine_internal.h"
#include "testing.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <math.h>
#include <string.h>

#define GOLDEN JSC_TEST_SOURCE "/tests/golden/"

static const char *folder = GOLDEN "tiny_llama";
/* One of each layout of norms, with and without norms of queries and keys. */
static const char *const layouts[] = {GOLDEN "families/gemma3", GOLDEN "families/olmo2",   GOLDEN "families/gpt_neox",
                                      GOLDEN "families/phi",    GOLDEN "families/qwen3",   GOLDEN "families/opt_post",
                                      GOLDEN "families/gpt2",   GOLDEN "families/stablelm"};
#define N_LAYOUTS (sizeof layouts / sizeof *layouts)

static jsc_model *open_tiny(const char *device)
{
    jsc_open_options options = JSC_OPEN_OPTIONS_INIT;
    jsc_error error = {0};
    jsc_model *model = NULL;
    options.device = device;
    cr_assert(jsc_model_open(folder, &options, &model, &error) == JSC_OK, "%s", error.text);
    return model;
}

/* A forward pass of S sequences (scaled copies of one prompt) ready to be pulled back. */
struct setup {
    jsc_model *model;
    struct trace *trace;
    int S, T, B, d, L;
    double *x;
};

/* In pieces of so many tokens and right-hand sides; form -1: as planned. */
static struct setup set_up_in_pieces(const char *device, int S, int T, int B, int form, int tokens, int sides)
{
    struct setup u = {.model = open_tiny(device), .S = S, .T = T, .B = B};
    jsc_error error = {0};
    jsc_plan plan = JSC_PLAN_INIT;
    struct work work = {.T = T, .S = S, .n_rhs = B, .chunk = B, .layers = true, .head_rows = 1};
    int32_t ids[64];
    u.d = u.model->d, u.L = u.model->L;
    for (int t = 0; t < T; t++)
        ids[t] = (37 * t + 5) % u.model->V;
    cr_assert(plan_compute(u.model, &work, &plan, &error) == JSC_OK, "%s", error.text);
    cr_assert(plan.sequences == S && plan.chunk == B);
    if (form >= 0)
        plan.mlp_form = (jsc_mlp_form)form;
    plan.token_chunk = tokens, plan.rhs_chunk = sides;
    cr_assert(trace_make(u.model, &plan, &u.trace, &error) == JSC_OK, "%s", error.text);
    cr_assert(mem_new(&u.x, (size_t)S * (size_t)T * (size_t)u.d, &error) == JSC_OK);
    cr_assert(forward_inputs(u.trace, ids, u.x, &error) == JSC_OK, "%s", error.text);
    for (int s = 1; s < S; s++)
        for (int i = 0; i < T * u.d; i++)
            u.x[s * T * u.d + i] = u.x[i] * (1.0 - 0.2 * s);
    cr_assert(forward_run(u.trace, u.x, S, &error) == JSC_OK, "%s", error.text);
    return u;
}

static struct setup set_up(const char *device, int S, int T, int B, int form)
{
    return set_up_in_pieces(device, S, T, B, form, 4, 2); /* several pieces, the last ones short */
}

static void tear_down(struct setup *u)
{
    trace_free(u->trace);
    jsc_model_close(u->model);
    mem_free(u->x);
}

static double *cotangents(int rows, int d)
{
    double *c = NULL;
    cr_assert(mem_new(&c, (size_t)rows * (size_t)d, NULL) == JSC_OK);
    for (int i = 0; i < rows * d; i++)
        c[i] = rng_normal(7, 0, (uint64_t)i);
    return c;
}

static double *pull(struct setup *u, int S, int B, const int32_t *pos, const double *cot)
{
    jsc_error error = {0};
    double *sums = NULL;
    cr_assert(mem_new(&sums, (size_t)u->L * (size_t)S * (size_t)u->T * (size_t)B, NULL) == JSC_OK);
    const struct pull p = {.S = S, .B = B, .pos = pos, .cot = cot, .layers = true, .sums = sums};
    cr_assert(vjp_pull(u->trace, &p, &error) == JSC_OK, "%s", error.text);
    return sums;
}

Test(engine, the_three_forms_agree)
{
    const int B = 5, T = 11;
    const int32_t pos[5] = {10, 10, 10, 10, 10};
    double *direct = NULL;
    size_t n = 0;
    double *cot = NULL;
    for (int form = MLP_DIRECT; form <= MLP_FULL; form++) {
        struct setup u = set_up("ref", 1, T, B, form);
        n = (size_t)u.L * (size_t)T * B;
        if (cot == NULL)
            cot = cotangents(B, u.d);
        double *sums = pull(&u, 1, B, pos, cot);
        if (form == MLP_DIRECT)
            direct = sums;
        else {
            cr_expect(le(dbl, error_of_scores(sums, direct, n), 1e-12), "form %d", form);
            mem_free(sums);
        }
        tear_down(&u);
    }
    mem_free(direct);
    mem_free(cot);
}

Test(engine, case_30_right_hand_sides_do_not_see_each_other)
{
    const int B = 5, T = 11;
    const int32_t pos[5] = {10, 0, 7, 10, 3};
    struct setup u = set_up("ref", 1, T, B, MLP_DIRECT);
    double *cot = cotangents(B, u.d), *together = pull(&u, 1, B, pos, cot);
    for (int b = 0; b < B; b++) {
        double *alone = pull(&u, 1, 1, pos + b, cot + b * u.d);
        for (int l = 0; l < u.L; l++)
            for (int t = 0; t < T; t++) {
                const double a = alone[l * T + t], c = together[(l * T + t) * B + b];
                cr_expect(eq(dbl, a, c), "block %d token %d right-hand side %d", l, t, b);
                if (t > pos[b])
                    cr_expect(eq(dbl, c, 0.0), "causality: block %d token %d", l, t);
                else
                    cr_expect(c > 0.0, "token %d has a score", t);
            }
        mem_free(alone);
    }
    mem_free(together);
    mem_free(cot);
    tear_down(&u);
}

Test(engine, case_30_sequences_do_not_see_each_other)
{
    const int S = 3, B = 2, T = 6;
    const int32_t pos[2] = {5, 2};
    struct setup u = set_up("ref", S, T, B, MLP_DIRECT);
    double *cot = cotangents(S * B, u.d), *together = pull(&u, S, B, pos, cot);
    jsc_error error = {0};
    for (int s = 0; s < S; s++) {
        cr_assert(forward_run(u.trace, u.x + s * T * u.d, 1, &error) == JSC_OK);
        double *alone = pull(&u, 1, B, pos, cot + s * B * u.d);
        for (int l = 0; l < u.L; l++)
            for (int i = 0; i < T * B; i++)
                cr_expect(eq(dbl, alone[l * T * B + i], together[(l * S + s) * T * B + i]), "sequence %d block %d row %d", s, l, i);
        mem_free(alone);
    }
    mem_free(together);
    mem_free(cot);
    tear_down(&u);
}

/* All pieces of tokens and of right-hand sides, in every form, against one piece in the direct form. */
static void check_pieces(const char *device, int S, double tolerance)
{
    const int B = 5, T = 7;
    const int32_t pos[5] = {0, 2, 6, 5, 6};
    const int tokens[] = {1, 3, 7}, sides[] = {1, 2, 3, 5};
    struct setup ref = set_up_in_pieces("ref", S, T, B, MLP_DIRECT, S * T, B);
    const size_t n = (size_t)ref.L * (size_t)S * T * B;
    double *cot = cotangents(S * B, ref.d), *whole = pull(&ref, S, B, pos, cot);
    const int last = ref.model->norms.sum ? MLP_DIRECT : MLP_FULL;
    tear_down(&ref);
    for (int form = MLP_DIRECT; form <= last; form++)
        for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++)
            for (size_t j = 0; j < sizeof sides / sizeof *sides; j++) {
                struct setup u = set_up_in_pieces(device, S, T, B, form, tokens[i], sides[j]);
                double *sums = pull(&u, S, B, pos, cot);
                cr_expect(le(dbl, error_of_scores(sums, whole, n), tolerance),
                          "%s, %s, %d sequences, form %d, pieces of %d tokens, %d right-hand sides", folder, device, S, form, tokens[i],
                          sides[j]);
                mem_free(sums);
                tear_down(&u);
            }
    mem_free(whole);
    mem_free(cot);
}

Test(engine, case_30_pieces_change_nothing_on_ref)
{
    check_pieces("ref", 1, 1e-12);
    check_pieces("ref", 3, 1e-12);
}

Test(engine, case_30_pieces_change_nothing_on_cpu)
{
    check_pieces("cpu", 1, 2e-6);
    check_pieces("cpu", 3, 2e-6);
}

Test(engine, case_30_pieces_change_nothing_in_any_layout)
{
    for (size_t i = 0; i < N_LAYOUTS; i++) {
        folder = layouts[i];
        check_pieces("ref", 1, 1e-12);
        check_pieces("ref", 3, 1e-12);
        check_pieces("cpu", 1, 1e-5);
        check_pieces("cpu", 3, 1e-5);
    }
}

static void check_needed_rows(enum mlp_form form)
{
    const int T = 11, B = 3;
    const int32_t pos[3] = {8, 10, 9};
    jsc_error error = {0};
    struct setup u = set_up("ref", 1, T, B, form);
    double *cot = cotangents(B, u.d), *all = pull(&u, 1, B, pos, cot), *y = NULL, *again = NULL;
    cr_assert(mem_new(&y, 2 * (size_t)u.d, NULL) == JSC_OK);
    cr_assert(forward_hidden(u.trace, 8, y, &error) == JSC_OK);
    for (int i = 0; i < T * u.d; i++) /* so that nothing is left over from the forward before */
        u.x[i] = -u.x[i];
    cr_assert(forward_run(u.trace, u.x, 1, &error) == JSC_OK);
    for (int i = 0; i < T * u.d; i++)
        u.x[i] = -u.x[i];
    u.trace->top_first = 8;
    cr_assert(forward_run(u.trace, u.x, 1, &error) == JSC_OK);
    again = pull(&u, 1, B, pos, cot);
    cr_expect(memcmp(all, again, (size_t)u.L * T * B * sizeof *all) == 0);
    cr_assert(forward_hidden(u.trace, 8, y + u.d, &error) == JSC_OK);
    cr_expect(memcmp(y, y + u.d, (size_t)u.d * sizeof *y) == 0);
    cr_expect(eq(int, (int)forward_hidden(u.trace, 7, y, &error), JSC_E_INTERNAL));
    const int32_t early = 7;
    double sums[11];
    const struct pull p = {.S = 1, .B = 1, .pos = &early, .cot = cot, .sums = sums};
    cr_expect(eq(int, (int)vjp_pull(u.trace, &p, &error), JSC_E_INTERNAL));
    mem_free(y), mem_free(all), mem_free(again), mem_free(cot);
    tear_down(&u);
}

Test(engine, only_needed_rows_pass_the_last_block)
{
    check_needed_rows(MLP_HALF);
    for (size_t i = 0; i < N_LAYOUTS; i++) {
        folder = layouts[i];
        check_needed_rows(MLP_DIRECT);
    }
}

Test(engine, cpu_agrees_with_ref_in_every_form)
{
    const int B = 7, T = 13;
    const int32_t pos[7] = {12, 12, 12, 12, 12, 12, 12};
    for (int form = MLP_DIRECT; form <= MLP_FULL; form++) {
        struct setup cpu = set_up("cpu", 1, T, B, form), ref = set_up("ref", 1, T, B, form);
        double *cot = cotangents(B, cpu.d), *a = pull(&cpu, 1, B, pos, cot), *b = pull(&ref, 1, B, pos, cot),
               *again = pull(&cpu, 1, B, pos, cot);
        const size_t n = (size_t)cpu.L * T * B;
        cr_expect(le(dbl, error_of_scores(a, b, n), 2e-6), "form %d", form);
        cr_expect(memcmp(a, again, n * sizeof *a) == 0, "case 31: the same bits from run to run, form %d", form);
        mem_free(a), mem_free(b), mem_free(again), mem_free(cot);
        tear_down(&cpu), tear_down(&ref);
    }
}

/* Where the forms cross on a GPU: Llama-3.2-1B's shapes; the work model has half from 337 right-hand sides and full from 0.6 d. */
Test(engine, forms_cross_on_a_gpu_where_bytes_and_flops_say)
{
    struct jsc_device gpu = {.precision = JSC_PRECISION_FAST, .own_memory = (uint64_t)80 << 30};
    const struct jsc_model model = {
        .d = 2048, .f = 8192, .L = 1, .device = &gpu, .family = family_find("llama", false), .norms = {.pre = true}};
    int half = 1, full = 1;
    while (half < 5000 && mlp_form_choose(&model, 64, half) == MLP_DIRECT)
        half++;
    while (full < 5000 && mlp_form_choose(&model, 64, full) != MLP_FULL)
        full++;
    cr_expect(half > 320 && half < 360 && full > 1150 && full < 1330, "half from %d, full from %d", half, full);
    cr_expect(eq(int, (int)mlp_form_choose(&model, 64, 2048), MLP_FULL));
    struct jsc_model sum = model;
    sum.norms.sum = true;
    cr_expect(eq(int, (int)mlp_form_choose(&sum, 64, 2048), MLP_DIRECT), "R itself goes through a norm");
}

Test(engine, plan_is_pure_and_obeys_its_limit)
{
    jsc_model *model = open_tiny("cpu");
    jsc_error error = {0};
    jsc_plan a = JSC_PLAN_INIT, b = JSC_PLAN_INIT;
    struct work work = {.T = 40, .S = 1, .n_rhs = 500, .layers = true, .head_rows = 1, .limit = 0};
    cr_assert(plan_compute(model, &work, &a, &error) == JSC_OK, "%s", error.text);
    work.limit = a.limit_bytes;
    cr_assert(plan_compute(model, &work, &b, &error) == JSC_OK);
    cr_expect(memcmp(&a, &b, sizeof a) == 0, "the same work and limit give the same plan");
    work.limit = a.peak_bytes / 2;
    cr_assert(plan_compute(model, &work, &b, &error) == JSC_OK, "%s", error.text);
    cr_expect(b.chunk < a.chunk && b.chunk * b.chunks >= 500, "chunk %d of %d", b.chunk, a.chunk);
    cr_expect(le(ullong, (unsigned long long)b.peak_bytes, (unsigned long long)work.limit));
    work.limit = 10000;
    cr_expect(eq(int, (int)plan_compute(model, &work, &b, &error), JSC_E_MEMORY));
    cr_expect(strstr(error.text, "10000") != NULL && strstr(error.text, "40 tokens") != NULL, "%s", error.text);
    jsc_model_close(model);
}

/* Chunks are all alike but for rounding, and cost what the best of them costs. */
Test(engine, plan_cuts_evenly)
{
    jsc_model *model = open_tiny("cpu");
    jsc_error error = {0};
    jsc_plan plan = JSC_PLAN_INIT;
    struct work work = {.T = 40, .S = 1, .n_rhs = 576, .head_rows = 1};
    cr_expect(eq(sz, equal_part(576, 512), 288));
    cr_expect(equal_part(7, 7) == 7 && equal_part(7, 100) == 7 && equal_part(7, 0) == 1 && equal_part(1, 3) == 1);
    uint64_t limit = 0;
    cr_assert(plan_compute(model, &work, &plan, &error) == JSC_OK, "%s", error.text);
    for (int i = 0; i < 12; i++) {
        limit = plan.peak_bytes - 1;
        work.limit = limit;
        if (plan_compute(model, &work, &plan, &error) != JSC_OK)
            break;
        cr_expect(plan.peak_bytes <= limit);
        cr_expect(plan.chunk * plan.chunks >= 576 && plan.chunk * plan.chunks < 576 + plan.chunks, "%d chunks of %d", plan.chunks,
                  plan.chunk);
        cr_expect(plan.rhs_chunk <= plan.chunk && plan.token_chunk <= plan.n_tokens);
    }
    jsc_model_close(model);
}

Test(engine, plan_of_stairs_wastes_little)
{
    jsc_model *model = open_tiny("cpu");
    jsc_error error = {0};
    jsc_plan square = JSC_PLAN_INIT, stairs = JSC_PLAN_INIT;
    struct work work = {.T = 512, .S = 1, .n_rhs = 512, .head_rows = 512};
    cr_assert(plan_compute(model, &work, &square, &error) == JSC_OK, "%s", error.text);
    work.stairs = true;
    cr_assert(plan_compute(model, &work, &stairs, &error) == JSC_OK, "%s", error.text);
    cr_expect(le(dbl, stairs.backward_flops, 0.65 * square.backward_flops), "chunks of %d: %.3g of %.3g", stairs.chunk,
              stairs.backward_flops, square.backward_flops);
    jsc_model_close(model);
}

Test(engine, case_28_overflow_names_block_and_operation)
{
    struct setup u = set_up("cpu", 1, 4, 1, MLP_DIRECT);
    jsc_error error = {0};
    const int32_t pos[1] = {3};
    double *cot = cotangents(1, u.d), *sums = NULL;
    for (int i = 0; i < u.d; i++)
        cot[i] *= 1e38; /* float overflows on the way down */
    cr_assert(mem_new(&sums, (size_t)u.L * 4, NULL) == JSC_OK);
    const struct pull p = {.S = 1, .B = 1, .pos = pos, .cot = cot, .layers = true, .sums = sums};
    cr_expect(eq(int, (int)vjp_pull(u.trace, &p, &error), JSC_E_NUMERIC));
    cr_expect(strstr(error.text, "backward pass") != NULL && strstr(error.text, "block") != NULL, "%s", error.text);
    for (int i = 0; i < 4 * u.d; i++)
        u.x[i] = INFINITY; /* norms sum in double, so that a large finite value does no harm */
    cr_expect(eq(int, (int)forward_run(u.trace, u.x, 1, &error), JSC_E_NUMERIC));
    cr_expect(strstr(error.text, "forward pass") != NULL && strstr(error.text, "block 0") != NULL, "%s", error.text);
    mem_free(sums);
    mem_free(cot);
    tear_down(&u);
}
