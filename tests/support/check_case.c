/* check_case.c: one case of the table on every backend: right to what float allows, the same bits however it is run. */
#include "testing.h"

size_t cases_of(unsigned long ops, struct op_case *out)
{
    size_t n = 0;
    for (int i = 0; i < N_OP_CASES; i++)
        if ((ops & BIT(op_cases[i].op)) != 0)
            out[n++] = case_for_test(&op_cases[i]);
    return n;
}

static struct outputs run_with(const struct op_case *c, const struct jsc_ops *ops, bool rounds, int threads, int chunk, int b_first,
                               int b_n)
{
    struct outputs out = {.n = 0};
    struct rig rig;
    rig_open(&rig, ops, threads);
    rig.rounds = rounds;
    case_run(c, &rig, chunk, b_first, b_n, &out);
    rig_close(&rig);
    return out;
}

static struct outputs run_on(const struct op_case *c, const struct jsc_ops *ops, int threads, int chunk, int b_first, int b_n)
{
    return run_with(c, ops, false, threads, chunk, b_first, b_n);
}

/* Products summed in double and stored as float once (ops.h, "sums in double"): half an ulp; two are allowed. */
static bool is_rounded_once(const struct op_case *c)
{
    return c->op == OP_EMBED || c->op == OP_HEAD_VJP || c->op == OP_FISHER_ROWS;
}

/* times: of naive's error; step: of the format that results are stored in, relative */
static void check_against_ref(const struct op_case *c, const char *who, const struct output *own, const struct output *exact,
                              const struct output *naive, double times, double step)
{
    cr_assert(own->rows == exact->rows && own->width == exact->width);
    const size_t n = exact->rows * exact->width;
    double error = error_relative(own->v, exact->v, n), limit = times * error_relative(naive->v, exact->v, n) + step;
    if (c->op == OP_ATTENTION &&
        strcmp(own->name, "lse") == 0) /* of one key it is the score, a float sum of h terms: whether naive's or ours
                                                                   * rounds better there is luck, of sqrt(h) half ulps */
        limit += sqrt((double)c->h) * FLT_EPSILON / 2.0;
    if (c->op == OP_GRAM) { /* double: the order of a sum may differ, and |sum of terms| <= the largest diagonal element */
        limit = 2.0 * c->n * DBL_EPSILON;
    } else if (is_rounded_once(c)) {
        error = error_elementwise(own->v, exact->v, n);
        limit = step;
    }
    cr_expect(le(dbl, error, limit), "%s %s, %s, %s: relative error %.3g, limit %.3g", case_op_names[c->op], c->name, who, own->name, error,
              limit);
}

static void check_same(const struct op_case *c, const char *who, const char *how, const struct outputs *a, const struct outputs *b)
{
    cr_assert(a->n == b->n);
    for (int i = 0; i < a->n; i++) {
        const size_t n = a->part[i].rows * a->part[i].width;
        cr_expect(same_bits(a->part[i].v, b->part[i].v, n), "%s %s, %s, %s: not the same bits %s (relative difference %.3g)",
                  case_op_names[c->op], c->name, who, a->part[i].name, how, error_relative(b->part[i].v, a->part[i].v, n));
    }
}

/* Rows of right-hand side b out of all of them. */
static struct outputs take_one_b(const struct op_case *c, const struct outputs *all, int b)
{
    struct outputs one = {.n = 0};
    for (int i = 0; i < all->n; i++) {
        const struct output *a = &all->part[i];
        const size_t rows = a->per_b ? a->rows / (size_t)c->B : a->rows, step = a->per_b ? (size_t)c->B : 1;
        double *v = new_doubles(rows * a->width);
        for (size_t t = 0; t < rows; t++)
            memcpy(v + t * a->width, a->v + (t * step + (a->per_b ? (size_t)b : 0)) * a->width, a->width * sizeof *v);
        outputs_add(&one, a->name, a->role, rows, a->width, a->per_b, v);
    }
    return one;
}

static bool is_cpu(const struct jsc_ops *ops)
{
    return ops->alloc == ops_cpu.alloc;
}

/* A library's GEMM chooses its order of sums by the number of rows: only rounding may differ then (ops.h, Rules). */
static bool is_library_gemm(const struct op_case *c, const struct jsc_ops *ops)
{
    const unsigned long gemms = BIT(OP_MATMUL) | BIT(OP_MATMUL_VJP) | BIT(OP_MLP_COLLAPSE) | BIT(OP_FISHER_APPLY);
    if (ops == &ops_ref || (is_cpu(ops) && env_get(ENV_CPU_GEMM) != NULL))
        return false;
    return (gemms & BIT(c->op)) != 0 || (is_cpu(ops) && c->op == OP_PROBES); /* cuda sums probes itself */
}

/* Twice. naive's dot products are ref's four running sums, which leave half the error of the one chain that a GPU's product in fp32 is. */
static double times_naive(const struct op_case *c, const struct jsc_ops *ops)
{
    const bool dots = c->op == OP_MATMUL || c->op == OP_FISHER_APPLY;
    return dots && ops != &ops_ref && !is_cpu(ops) ? 4.0 : 2.0;
}

/* What a backend gave for a part of the work, against the same rows of what it gave for the whole. */
static void check_part(const struct op_case *c, const struct jsc_ops *ops, const char *how, const struct outputs *whole,
                       const struct outputs *part, const struct outputs *exact, const struct outputs *naive)
{
    if (is_library_gemm(c, ops)) {
        for (int i = 0; i < part->n; i++)
            check_against_ref(c, how, &part->part[i], &exact->part[i], &naive->part[i], times_naive(c, ops), EPS32);
    } else {
        check_same(c, ops->name, how, whole, part);
    }
}

static void check_chunks(const struct op_case *c, const struct jsc_ops *ops, const struct outputs *whole, const struct outputs *exact,
                         const struct outputs *naive)
{
    for (int chunk = 1; chunk <= 3 && case_chunks(c); chunk += 2) {
        struct outputs out = run_on(c, ops, 1, chunk, 0, c->B);
        check_part(c, ops, chunk == 1 ? "row by row" : "in chunks of 3", whole, &out, exact, naive);
        outputs_free(&out);
    }
}

/* The first and the last right-hand side by itself. */
static void check_one_b(const struct op_case *c, const struct jsc_ops *ops, const struct outputs *whole, const struct outputs *exact,
                        const struct outputs *naive)
{
    for (int b = 0; b < c->B && c->B > 1; b += c->B - 1) {
        struct outputs out = run_on(c, ops, 1, 0, b, 1), whole_b = take_one_b(c, whole, b), exact_b = take_one_b(c, exact, b),
                       naive_b = take_one_b(c, naive, b);
        check_part(c, ops, "a right-hand side alone", &whole_b, &out, &exact_b, &naive_b);
        outputs_free(&out);
        outputs_free(&whole_b);
        outputs_free(&exact_b);
        outputs_free(&naive_b);
    }
}

/* ---- fast precision: bfloat16 is how cotangents are stored, not how they are computed with ------------------------------------------ */

#define EPS16 0x1p-7

static bool has_bf16_products(const struct op_case *c)
{
    return c->op == OP_MATMUL_VJP || c->op == OP_MLP_COLLAPSE;
}

/* Without products of cotangents the results are those of strict arithmetic on rounded cotangents, rounded: bit for bit. */
static void check_fast(const struct op_case *c, const struct jsc_ops *ops, const struct outputs *exact)
{
    struct outputs naive = run_with(c, naive_bf16(), true, 1, 0, 0, c->B), strict = run_with(c, &ops_cpu, true, 1, 0, 0, c->B);
    outputs_round(&naive);
    outputs_round(&strict);
    for (int threads = 1; threads <= 3; threads++) {
        struct outputs out = run_on(c, ops, threads, 0, 0, c->B), again = run_on(c, ops, threads, 0, 0, c->B);
        char who[64];
        (void)snprintf(who, sizeof who, "%s with %d threads", ops->name, threads);
        check_same(c, who, "run to run", &out, &again);
        if (!has_bf16_products(c) && !(threads > 1 && is_library_gemm(c, ops)))
            check_same(c, who, "as strict arithmetic rounded", &strict, &out);
        for (int i = 0; i < out.n && has_bf16_products(c); i++)
            check_against_ref(c, who, &out.part[i], &exact->part[i], &naive.part[i], 2.0, EPS32);
        for (int chunk = 1; chunk <= 3 && threads == 1 && case_chunks(c); chunk += 2) {
            struct outputs part = run_on(c, ops, 1, chunk, 0, c->B);
            for (int i = 0; i < out.n && is_library_gemm(c, ops); i++)
                check_against_ref(c, "in chunks", &part.part[i], &exact->part[i], &naive.part[i], 2.0, EPS16);
            if (!is_library_gemm(c, ops))
                check_same(c, who, "in chunks", &out, &part);
            outputs_free(&part);
        }
        outputs_free(&again);
        outputs_free(&out);
    }
    outputs_free(&naive);
    outputs_free(&strict);
}

/* ---- fast precision on cuda: bfloat16 operands of tensor cores ----------------------------------------------------------------------- */

#define TWO_TERMS 0x1p-15 /* x = hi + lo leaves out 2^-17 of x; so does W; and lo lo is 2^-16 of a product */

/* What fast precision may cost above twice the error of plain float arithmetic on the same (rounded) cotangents and weights, relative to the
 * largest element:
 *   half a step of bfloat16, where the result is stored as such;
 *   operands that are float in memory and two bfloat16 terms in a product: TWO_TERMS (weights kept as two terms: half of it);
 *   attention_vjp: P and dS are rounded to bfloat16 before they are multiplied, each 2^-8 of itself; of these errors sums keep a part. */
static double fast_allowance(const struct op_case *c, const struct output *out)
{
    const double step = out->role == ROLE_COT ? 0x1p-8 : EPS32;
    switch (c->op) {
    case OP_EMBED:
    case OP_HEAD_VJP:
    case OP_FISHER_ROWS:
        return step + TWO_TERMS / 2.0;
    case OP_MATMUL:
    case OP_FISHER_APPLY:
        return step + TWO_TERMS;
    case OP_ATTENTION_VJP:
        return step + 0x1p-8;
    case OP_GRAM:
        return 2.0 * c->n * DBL_EPSILON;
    default:
        return step;
    }
}

static void check_fast_cuda_against(const struct op_case *c, const char *how, const struct outputs *own, const struct outputs *exact,
                                    const struct outputs *naive)
{
    cr_assert(own->n == exact->n);
    for (int i = 0; i < own->n; i++) {
        const struct output *e = &exact->part[i];
        const size_t n = e->rows * e->width;
        const double error = error_relative(own->part[i].v, e->v, n);
        const double limit = 2.0 * error_relative(naive->part[i].v, e->v, n) + fast_allowance(c, e);
        cr_expect(le(dbl, error, limit), "%s %s, cuda, fast, %s, %s: relative error %.3g, limit %.3g", case_op_names[c->op], c->name, how,
                  e->name, error, limit);
    }
}

/* A part of the work against the same rows of the whole. */
static void check_fast_cuda_part(const struct op_case *c, const struct jsc_ops *ops, const char *how, const struct outputs *whole,
                                 const struct outputs *part, const struct outputs *exact, const struct outputs *naive)
{
    if (is_library_gemm(c, ops))
        check_fast_cuda_against(c, how, part, exact, naive);
    else
        check_same(c, ops->name, how, whole, part);
}

static void check_fast_cuda(const struct op_case *c, const struct jsc_ops *ops)
{
    const bool collapse = c->op == OP_MLP_COLLAPSE; /* has a twin with the same roundings: its error counts from what was not rounded */
    struct outputs exact = run_with(c, &ops_ref, !collapse, 1, 0, 0, c->B);
    struct outputs naive = run_with(c, collapse ? naive_bf16() : &ops_naive, true, 1, 0, 0, c->B);
    struct outputs out = run_with(c, ops, true, 1, 0, 0, c->B);
    test_next_order();
    struct outputs again = run_with(c, ops, true, 1, 0, 0, c->B);
    check_same(c, ops->name, "run to run", &out, &again);
    check_fast_cuda_against(c, "whole", &out, &exact, &naive);
    for (int chunk = 1; chunk <= 3 && case_chunks(c); chunk += 2) {
        struct outputs part = run_with(c, ops, true, 1, chunk, 0, c->B);
        check_fast_cuda_part(c, ops, "in chunks", &out, &part, &exact, &naive);
        outputs_free(&part);
    }
    for (int b = 0; b < c->B && c->B > 1; b += c->B - 1) {
        struct outputs part = run_with(c, ops, true, 1, 0, b, 1), whole_b = take_one_b(c, &out, b), exact_b = take_one_b(c, &exact, b),
                       naive_b = take_one_b(c, &naive, b);
        check_fast_cuda_part(c, ops, "a right-hand side alone", &whole_b, &part, &exact_b, &naive_b);
        outputs_free(&part);
        outputs_free(&whole_b);
        outputs_free(&exact_b);
        outputs_free(&naive_b);
    }
    outputs_free(&out);
    outputs_free(&again);
    outputs_free(&exact);
    outputs_free(&naive);
}

/* ---- all of it --------------------------------------------------------------------------------------------------------------------- */

/* A device that falls back to strict says so; then there is nothing to test. */
static bool is_fast(const struct jsc_ops *ops)
{
    struct rig rig;
    rig_open(&rig, ops, 1);
    const bool fast = rig.device->precision == JSC_PRECISION_FAST;
    rig_close(&rig);
    return fast;
}

static void check_backend(const struct op_case *c, const struct jsc_ops *ops, const struct outputs *exact, const struct outputs *naive)
{
    const int most_threads = is_cpu(ops) ? 3 : 1;
    struct outputs one_thread = {.n = 0};

    for (int threads = 1; threads <= most_threads; threads++) {
        struct outputs out = run_on(c, ops, threads, 0, 0, c->B);
        test_next_order();
        struct outputs again = run_on(c, ops, threads, 0, 0, c->B);
        char who[48];
        (void)snprintf(who, sizeof who, "%s with %d threads%s", ops->name, threads, env_get(ENV_CPU_GEMM) != NULL ? ", own GEMM" : "");
        check_same(c, who, "run to run", &out, &again);
        outputs_free(&again);
        for (int i = 0; i < out.n; i++)
            check_against_ref(c, who, &out.part[i], &exact->part[i], &naive->part[i], times_naive(c, ops), EPS32);
        if (threads == 1)
            one_thread = out;
        else
            outputs_free(&out);
    }
    check_chunks(c, ops, &one_thread, exact, naive);
    check_one_b(c, ops, &one_thread, exact, naive);
    outputs_free(&one_thread);
}

static void check_cpu(const struct op_case *c, const struct outputs *exact, const struct outputs *naive)
{
    check_backend(c, &ops_cpu, exact, naive);
    if (is_library_gemm(c, &ops_cpu)) { /* and without the library */
        (void)setenv(env_name(ENV_CPU_GEMM), "builtin", 1);
        check_backend(c, &ops_cpu, exact, naive);
        (void)unsetenv(env_name(ENV_CPU_GEMM));
    }
    check_fast(c, fast_emulated(), exact);
    if (is_fast(fast_native()))
        check_fast(c, fast_native(), exact);
    (void)setenv(env_name(ENV_CPU_GEMM), "builtin", 1);
    check_fast(c, fast_emulated(), exact);
    (void)unsetenv(env_name(ENV_CPU_GEMM));
}

void check_case(const struct op_case *c)
{
    struct outputs exact = run_on(c, &ops_ref, 1, 0, 0, c->B), naive = run_on(c, &ops_naive, 1, 0, 0, c->B);
    const struct jsc_ops *cuda = test_cuda();
    (void)unsetenv(env_name(ENV_CPU_GEMM));
    if (cuda == NULL) { /* ref and cpu have their tests in builds without an emulator */
        check_backend(c, &ops_ref, &exact, &naive);
        check_cpu(c, &exact, &naive);
    } else {
        check_backend(c, cuda, &exact, &naive);
        cr_assert(is_fast(fast_cuda()));
        check_fast_cuda(c, fast_cuda());
    }
    outputs_free(&exact);
    outputs_free(&naive);
    data_free();
}
