/* test_gemm_cuda.c: the CUDA backend's products on the emulator: every layout against sums in double, plans that are kept and given up, row
 * and token pieces, sums in double. Needs JSC_SIMT. */
#include "testing.h"

#ifndef JSC_SIMT

Test(gemm_cuda, needs_the_emulator)
{
    cr_skip_test("built without JSC_SIMT");
}

#else

#include "blas_cuda.h"
#include "cuda_internal.h"
#include "simt.h"

#include <dlfcn.h>

static void open_cuda(struct rig *rig, jsc_precision precision)
{
    rig_open(rig, precision == JSC_PRECISION_FAST ? fast_cuda() : test_cuda(), 2);
}

/* ---- matrices in device memory -------------------------------------------------------------------------------------------------- */

enum { LEAD = 8 }; /* elements before the first: an address that is less aligned than an allocation */

/* batch matrices of rows rows, each row and matrix with a gap behind it; NaN in the gaps. */
struct matrices {
    size_t rows, columns, ld, stride, batch, n;
    bool bf16;
    double *v; /* [n] values, NaN in gaps */
    dptr device;
};

static struct matrices matrices_make(struct rig *rig, size_t rows, size_t columns, size_t gap, size_t batch, bool bf16, uint64_t seed)
{
    struct matrices x = {.rows = rows, .columns = columns, .ld = columns + gap, .batch = batch, .bf16 = bf16};
    x.stride = rows * x.ld + (batch > 1 ? gap : 0);
    x.n = LEAD + batch * x.stride;
    x.v = new_doubles(x.n);
    float *floats = malloc(x.n * sizeof *floats);
    uint16_t *halves = malloc(x.n * sizeof *halves);
    cr_assert(floats != NULL && halves != NULL);
    for (size_t i = 0; i < x.n; i++)
        x.v[i] = (double)NAN;
    for (size_t b = 0; b < batch; b++)
        for (size_t r = 0; r < rows; r++)
            for (size_t c = 0; c < columns; c++) {
                const size_t at = LEAD + b * x.stride + r * x.ld + c;
                const double value = (double)(float)rng_normal(7, seed, at);
                x.v[at] = bf16 ? bf16_of(value) : value;
            }
    for (size_t i = 0; i < x.n; i++) {
        uint32_t bits;
        floats[i] = (float)x.v[i];
        memcpy(&bits, &floats[i], sizeof bits);
        halves[i] = (uint16_t)(bits >> 16);
    }
    x.device = bf16 ? rig_bytes(rig, halves, x.n * 2) : rig_bytes(rig, floats, x.n * 4);
    free(floats);
    free(halves);
    return x;
}

static const void *matrices_at(const struct matrices *x)
{
    return (const char *)x->device + LEAD * (x->bf16 ? 2 : 4);
}

/* Element of matrix b as double. */
static double element(const struct matrices *x, size_t b, size_t r, size_t c)
{
    return x->v[LEAD + b * x->stride + r * x->ld + c];
}

/* What the device holds now, as doubles. Caller frees. */
static double *matrices_down(struct rig *rig, const struct matrices *x)
{
    double *out = new_doubles(x->n);
    unsigned char *bytes = malloc(x->n * 4);
    cr_assert(bytes != NULL);
    rig_ok(rig, rig->ops->get_bytes(rig->stream, bytes, x->device, x->n * (x->bf16 ? 2 : 4), &rig->error), "get_bytes");
    for (size_t i = 0; i < x->n; i++) {
        uint32_t bits = 0;
        float value;
        if (x->bf16)
            memcpy((char *)&bits + 2, bytes + 2 * i, 2);
        else
            memcpy(&bits, bytes + 4 * i, 4);
        memcpy(&value, &bits, sizeof value);
        out[i] = (double)value;
    }
    free(bytes);
    return out;
}

/* ---- every layout ---------------------------------------------------------------------------------------------------------------- */

struct layout_case {
    size_t m, n, k, gap, batch;
    bool ta, tb, accumulate, bf16_ab, bf16_c;
};

static void check_layout(struct rig *rig, const struct layout_case *c, const char *what)
{
    struct matrices a = matrices_make(rig, c->ta ? c->k : c->m, c->ta ? c->m : c->k, c->gap, c->batch, c->bf16_ab, 1);
    struct matrices b = matrices_make(rig, c->tb ? c->n : c->k, c->tb ? c->k : c->n, c->gap, c->batch, c->bf16_ab, 2);
    struct matrices out = matrices_make(rig, c->m, c->n, c->gap, c->batch, c->bf16_c, 3);
    const bool contiguous = c->gap == 0;
    const struct gemm_cuda gemm = {.m = c->m,
                                   .n = c->n,
                                   .k = c->k,
                                   .a = matrices_at(&a),
                                   .b = matrices_at(&b),
                                   .c = (void *)(uintptr_t)matrices_at(&out),
                                   .a_transposed = c->ta,
                                   .b_transposed = c->tb,
                                   .accumulate = c->accumulate,
                                   .bf16_ab = c->bf16_ab,
                                   .bf16_c = c->bf16_c,
                                   .lda = contiguous ? 0 : a.ld,
                                   .ldb = contiguous ? 0 : b.ld,
                                   .ldc = contiguous ? 0 : out.ld,
                                   .batch = c->batch > 1 ? c->batch : 0,
                                   .stride_a = a.stride,
                                   .stride_b = b.stride,
                                   .stride_c = out.stride};
    rig_ok(rig, gemm_cuda(rig->stream, &gemm, &rig->error), what);
    double *got = matrices_down(rig, &out);
    const double rounding = c->bf16_c ? 0x1p-8 : 0x1p-24;
    for (size_t p = 0; p < c->batch; p++)
        for (size_t i = 0; i < c->m; i++)
            for (size_t j = 0; j < c->n; j++) {
                double sum = c->accumulate ? element(&out, p, i, j) : 0.0, size = fabs(sum);
                for (size_t l = 0; l < c->k; l++) {
                    const double term = (c->ta ? element(&a, p, l, i) : element(&a, p, i, l)) *
                                        (c->tb ? element(&b, p, j, l) : element(&b, p, l, j));
                    sum += term;
                    size += fabs(term);
                }
                const double value = got[LEAD + p * out.stride + i * out.ld + j];
                cr_assert(le(dbl, fabs(value - sum), (double)(c->k + 1) * 0x1p-24 * size + rounding * fabs(sum)),
                          "%s: problem %zu, element [%zu,%zu] is %g, not %g", what, p, i, j, value, sum);
                out.v[LEAD + p * out.stride + i * out.ld + j] = value;
            }
    for (size_t i = 0; i < out.n; i++)
        cr_assert(isnan(out.v[i]) == isnan(got[i]), "%s: element %zu, in a gap, was written", what, i);
    free(got), free(a.v), free(b.v), free(out.v);
}

Test(gemm_cuda, every_layout_equals_sums_in_double)
{
    static const size_t shapes[][3] = {{1, 1, 1}, {5, 7, 3}, {16, 24, 8}, {33, 17, 20}};
    static const bool types[][2] = {{false, false}, {true, false}, {true, true}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int bits = 0; bits < 16; bits++) {
            struct rig rig;
            open_cuda(&rig, JSC_PRECISION_STRICT);
            for (size_t t = 0; t < 3; t++)
                for (size_t batch = 1; batch <= 3; batch += 2) {
                    const struct layout_case c = {.m = shapes[s][0],
                                                  .n = shapes[s][1],
                                                  .k = shapes[s][2],
                                                  .gap = bits & 8 ? 5 : 0,
                                                  .batch = batch,
                                                  .ta = bits & 1,
                                                  .tb = bits & 2,
                                                  .accumulate = bits & 4,
                                                  .bf16_ab = types[t][0],
                                                  .bf16_c = types[t][1]};
                    char what[128];
                    (void)snprintf(what, sizeof what, "%zu x %zu x %zu, batch %zu, transposed %d %d, accumulate %d, gap %zu, bf16 %d %d",
                                   c.m, c.n, c.k, batch, c.ta, c.tb, c.accumulate, c.gap, c.bf16_ab, c.bf16_c);
                    check_layout(&rig, &c, what);
                }
            rig_close(&rig);
        }
}

/* One operand may serve all problems (stride 0), and nothing to do is nothing done. */
Test(gemm_cuda, shared_operand_and_empty_products)
{
    enum { M = 3, N = 4, K = 5, MANY = 6 };
    struct rig rig;
    open_cuda(&rig, JSC_PRECISION_STRICT);
    struct matrices a = matrices_make(&rig, M, K, 0, MANY, false, 1), b = matrices_make(&rig, K, N, 0, 1, false, 2),
                    out = matrices_make(&rig, M, N, 0, MANY, false, 3);
    struct gemm_cuda gemm = {.m = 0,
                             .n = N,
                             .k = K,
                             .a = matrices_at(&a),
                             .b = matrices_at(&b),
                             .c = (void *)(uintptr_t)matrices_at(&out),
                             .batch = MANY,
                             .stride_a = a.stride,
                             .stride_c = out.stride};
    rig_ok(&rig, gemm_cuda(rig.stream, &gemm, &rig.error), "no rows");
    double *before = matrices_down(&rig, &out);
    gemm.m = M;
    rig_ok(&rig, gemm_cuda(rig.stream, &gemm, &rig.error), "shared B");
    double *after = matrices_down(&rig, &out);
    for (size_t p = 0; p < MANY; p++)
        for (size_t i = 0; i < M; i++)
            for (size_t j = 0; j < N; j++) {
                double sum = 0.0;
                for (size_t l = 0; l < K; l++)
                    sum += element(&a, p, i, l) * element(&b, 0, l, j);
                const size_t at = LEAD + p * out.stride + i * N + j;
                cr_expect(before[at] == out.v[at], "problem %zu: nothing to do was done", p);
                cr_expect(le(dbl, fabs(after[at] - sum), 1e-5), "problem %zu, [%zu,%zu]: %g, not %g", p, i, j, after[at], sum);
            }
    free(before), free(after), free(a.v), free(b.v), free(out.v);
    rig_close(&rig);
}

/* More problems than one call may have. */
Test(gemm_cuda, many_problems)
{
    enum { MANY = 70001 };
    struct rig rig;
    open_cuda(&rig, JSC_PRECISION_STRICT);
    struct matrices a = matrices_make(&rig, 1, 2, 0, MANY, true, 1), b = matrices_make(&rig, 2, 1, 0, 1, true, 2),
                    out = matrices_make(&rig, 1, 1, 0, MANY, false, 3);
    const struct gemm_cuda gemm = {.m = 1,
                                   .n = 1,
                                   .k = 2,
                                   .a = matrices_at(&a),
                                   .b = matrices_at(&b),
                                   .c = (void *)(uintptr_t)matrices_at(&out),
                                   .bf16_ab = true,
                                   .batch = MANY,
                                   .stride_a = a.stride,
                                   .stride_c = out.stride};
    rig_ok(&rig, gemm_cuda(rig.stream, &gemm, &rig.error), "many");
    double *got = matrices_down(&rig, &out);
    for (size_t p = 0; p < MANY; p++) {
        const double sum = element(&a, p, 0, 0) * element(&b, 0, 0, 0) + element(&a, p, 0, 1) * element(&b, 0, 1, 0);
        cr_assert(le(dbl, fabs(got[LEAD + p] - sum), 1e-6 * (fabs(sum) + 1.0)), "problem %zu is %g, not %g", p, got[LEAD + p], sum);
    }
    free(got), free(a.v), free(b.v), free(out.v);
    rig_close(&rig);
}

/* ---- plans ------------------------------------------------------------------------------------------------------------------------ */

static jsc_status row_times(struct rig *rig, const struct matrices *a, const struct matrices *b, const struct matrices *out, size_t m)
{
    const struct gemm_cuda gemm = {
        .m = m, .n = b->columns, .k = b->rows, .a = matrices_at(a), .b = matrices_at(b), .c = (void *)(uintptr_t)matrices_at(out)};
    return gemm_cuda(rig->stream, &gemm, &rig->error);
}

Test(gemm_cuda, plans_are_kept_bounded_and_freed)
{
    enum { ROWS = 1500, K = 3, N = 2 };
    const size_t objects = simt_objects();
    struct rig rig;
    open_cuda(&rig, JSC_PRECISION_STRICT);
    struct matrices a = matrices_make(&rig, ROWS, K, 0, 1, false, 1), b = matrices_make(&rig, K, N, 0, 1, false, 2),
                    out = matrices_make(&rig, ROWS, N, 0, 1, false, 3);
    const size_t none = simt_objects();
    for (size_t m = 1; m <= 200; m++)
        rig_ok(&rig, row_times(&rig, &a, &b, &out, m), "product");
    const size_t some = simt_objects(), each = 4; /* descriptor, three layouts */
    cr_expect(le(sz, some - none, 200 * each));
    cr_expect(le(sz, 150 * each, some - none), "few are given up before the cache is full: %zu objects", some - none);
    rig_ok(&rig, row_times(&rig, &a, &b, &out, 200), "product");
    cr_expect(eq(sz, simt_objects(), some), "a known shape makes nothing");
    for (size_t m = 1; m <= ROWS; m++)
        rig_ok(&rig, row_times(&rig, &a, &b, &out, m), "product");
    cr_expect(le(sz, simt_objects() - none, 512 * each));
    double *got = matrices_down(&rig, &out);
    for (size_t i = 0; i < ROWS; i++)
        for (size_t j = 0; j < N; j++) {
            double sum = 0.0;
            for (size_t l = 0; l < K; l++)
                sum += element(&a, 0, i, l) * element(&b, 0, l, j);
            cr_expect(le(dbl, fabs(got[LEAD + i * N + j] - sum), 1e-5), "row %zu", i);
        }
    free(got), free(a.v), free(b.v), free(out.v);
    rig_close(&rig);
    cr_expect(eq(sz, simt_objects(), objects), "everything is given back");
}

/* Each call of the library fails once: the product says so, and the next one works. */
Test(gemm_cuda, every_failing_call_is_reported)
{
    const size_t objects = simt_objects();
    struct rig rig;
    open_cuda(&rig, JSC_PRECISION_STRICT);
    struct matrices a = matrices_make(&rig, 40, 3, 0, 1, false, 1), b = matrices_make(&rig, 3, 2, 0, 1, false, 2),
                    out = matrices_make(&rig, 40, 2, 0, 1, false, 3);
    size_t m = 1;
    bool failed = true;
    for (; failed && m < 40; m++) {
        rig.error.text[0] = '\0';
        simt_settings.fail_call = (long)m;
        failed = row_times(&rig, &a, &b, &out, m) != JSC_OK;
        const bool reached = simt_settings.fail_call <= 0;
        simt_settings.fail_call = 0;
        cr_expect(eq(int, failed, reached), "call %zu", m);
        cr_expect(eq(int, rig.error.text[0] != '\0', failed), "call %zu: \"%s\"", m, rig.error.text);
        rig_ok(&rig, row_times(&rig, &a, &b, &out, m), "the product after a failure");
    }
    cr_expect(le(sz, 6, m), "a product makes several calls");
    free(a.v), free(b.v), free(out.v);
    rig_close(&rig);
    cr_expect(eq(sz, simt_objects(), objects), "everything is given back");
}

Test(gemm_cuda, a_shape_without_algorithm_is_an_error_with_its_sizes)
{
    struct rig rig;
    open_cuda(&rig, JSC_PRECISION_STRICT);
    struct matrices a = matrices_make(&rig, 4, 6, 0, 1, false, 1);
    const struct gemm_cuda gemm = {
        .m = 4, .n = 5, .k = 6, .a = matrices_at(&a), .b = matrices_at(&a), .c = a.device, .lda = 3}; /* rows overlap */
    rig_ok(&rig, rig.ops->sync(rig.stream, &rig.error), "sync"); /* before what is queued is dropped with the fault */
    simt_settings.quiet = true;
    cr_expect(eq(int, gemm_cuda(rig.stream, &gemm, &rig.error), JSC_E_DEVICE));
    cr_expect(ne(ptr, strstr(rig.error.text, "[4,6] and [6,5]"), NULL), "%s", rig.error.text);
    simt_reset();
    free(a.v);
    rig_close(&rig);
}

/* The real cuBLASLt, where it is installed, takes each attribute as it is given: without a device a product gets as far as asking for an
 * algorithm. */
Test(gemm_cuda, the_real_library_takes_every_attribute, .timeout = 60)
{
    static const char *const names[] = {"libcublasLt.so.13", "/usr/local/cuda/lib64/libcublasLt.so.13"};
    void *library = NULL, *symbol = NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names && library == NULL; i++)
        library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    if (library == NULL)
        cr_skip_test("no libcublasLt.so.13");
    struct rig rig;
    open_cuda(&rig, JSC_PRECISION_STRICT);
    struct matrices a = matrices_make(&rig, 16, 16, 0, 2, false, 1), out = matrices_make(&rig, 16, 16, 0, 2, false, 2);
    struct cuda_device *device = (struct cuda_device *)rig.device;
    struct blas_cuda real = {.handle = NULL}, *emulated = device->blas;
#define LOOK_UP(name)                                                                                                                      \
    symbol = dlsym(library, "cublasLt" #name);                                                                                             \
    cr_assert(ne(ptr, symbol, NULL), "cublasLt" #name);                                                                                    \
    memcpy(&real.name, &symbol, sizeof real.name);
    BLAS_FUNCTIONS(LOOK_UP)
#undef LOOK_UP
    device->blas = &real;
    for (int kinds = 0; kinds < 64; kinds++) {
        const struct gemm_cuda gemm = {.m = 16,
                                       .n = 16,
                                       .k = 16,
                                       .a = matrices_at(&a),
                                       .b = matrices_at(&a),
                                       .c = (void *)(uintptr_t)matrices_at(&out),
                                       .a_transposed = kinds & 1,
                                       .b_transposed = kinds & 2,
                                       .accumulate = kinds & 4,
                                       .bf16_ab = kinds & 8,
                                       .bf16_c = (kinds & 24) == 24,
                                       .batch = kinds & 32 ? 2 : 1,
                                       .stride_a = a.stride,
                                       .stride_b = a.stride,
                                       .stride_c = out.stride};
        rig.error.text[0] = '\0';
        cr_expect(eq(int, gemm_cuda(rig.stream, &gemm, &rig.error), JSC_E_DEVICE), "kinds %d", kinds);
        cr_expect(ne(ptr, strstr(rig.error.text, "choosing an algorithm"), NULL), "kinds %d: %s", kinds, rig.error.text);
    }
    device->blas = emulated;
    free(a.v), free(out.v);
    rig_close(&rig);
}

/* ---- linear layers of the backend ---------------------------------------------------------------------------------------------------- */

struct linear_case {
    char name[40];
    size_t n, k, n_out;
    bool bias, accumulate, precise, exact; /* exact: the weight's elements are bf16 */
};

static struct jsc_weight *linear_weight(struct rig *rig, const struct linear_case *c, float *values, double *bias)
{
    for (size_t i = 0; i < c->n_out * c->k; i++)
        values[i] = (float)(c->exact ? bf16_of(rng_normal(7, 4, i)) : rng_normal(7, 4, i));
    for (size_t i = 0; i < c->n_out; i++)
        bias[i] = (double)(float)rng_normal(7, 5, i);
    const struct weight_part part = {
        .bytes = values, .type = DTYPE_F32, .n = c->n_out, .row_bytes = c->k * sizeof *values, .scale = 1.0, .name = "w"};
    rig_ok(
        rig,
        rig->ops->weight_make(rig->device, &part, 1, c->k, USE_FORWARD, c->bias ? bias : NULL, &rig->weights[rig->n_weights], &rig->error),
        "weight_make");
    return rig->weights[rig->n_weights++];
}

/* Against sums in double: `per_term` of the sum of the terms' sizes, and `rounding` of the result. */
static void check_linear(const struct linear_case *c, jsc_precision precision, double per_term, double rounding)
{
    struct rig rig;
    open_cuda(&rig, precision);
    float *values = malloc(c->n_out * c->k * sizeof *values);
    double *bias = new_doubles(c->n_out), *x = new_doubles(c->n * c->k), *y = new_doubles(c->n * c->n_out),
           *got = new_doubles(c->n * c->n_out);
    cr_assert(values != NULL);
    const struct jsc_weight *w = linear_weight(&rig, c, values, bias);
    for (size_t i = 0; i < c->n * c->k; i++)
        x[i] = (double)(float)rng_normal(7, 6, i);
    for (size_t i = 0; i < c->n * c->n_out; i++)
        y[i] = (double)(float)rng_normal(7, 8, i);
    dptr y_device = c->accumulate ? rig_up(&rig, ROLE_REAL, y, c->n * c->n_out) : rig_blank(&rig, ROLE_REAL, c->n * c->n_out);
    RUN(&rig, matmul, .n = c->n, .w = w, .x = rig_up(&rig, ROLE_ACT, x, c->n * c->k), .y = y_device, .accumulate = c->accumulate,
        .precise = c->precise);
    rig_down(&rig, ROLE_REAL, got, y_device, c->n * c->n_out);
    for (size_t i = 0; i < c->n; i++)
        for (size_t j = 0; j < c->n_out; j++) {
            double sum = (c->bias ? bias[j] : 0.0) + (c->accumulate ? y[i * c->n_out + j] : 0.0), size = fabs(sum);
            for (size_t l = 0; l < c->k; l++) {
                const double term = x[i * c->k + l] * (double)values[j * c->k + l];
                sum += term;
                size += fabs(term);
            }
            cr_assert(le(dbl, fabs(got[i * c->n_out + j] - sum), per_term * size + rounding * fabs(sum)),
                      "%s, precision %d: [%zu,%zu] is %g, not %g", c->name, (int)precision, i, j, got[i * c->n_out + j], sum);
        }
    free(values), free(bias), free(x), free(y), free(got);
    rig_close(&rig);
}

/* Two terms of 8 bits each: 2^-17 of an element, and the sums in float. */
Test(gemm_cuda, linear_layers_in_two_terms)
{
    static const struct linear_case cases[] = {
        {.name = "pairs", .n = 5, .k = 24, .n_out = 7, .exact = true},
        {.name = "pairs, odd", .n = 3, .k = 13, .n_out = 5, .bias = true},
        {.name = "pairs, accumulate", .n = 9, .k = 16, .n_out = 6, .bias = true, .accumulate = true},
        {.name = "terms", .n = 300, .k = 16, .n_out = 5, .exact = true},
        {.name = "terms, bias", .n = 257, .k = 11, .n_out = 3, .bias = true},
        {.name = "terms, accumulate", .n = 270, .k = 12, .n_out = 3, .accumulate = true},
        {.name = "terms, accumulate, bias", .n = 270, .k = 12, .n_out = 3, .bias = true, .accumulate = true},
        {.name = "terms in pieces", .n = 4099, .k = 5, .n_out = 3, .bias = true, .accumulate = true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_linear(&cases[i], JSC_PRECISION_FAST, 0x1p-16 + (double)(2 * cases[i].k + 4) * 0x1p-24, 0x1p-24);
}

Test(gemm_cuda, precise_layers_are_rounded_once)
{
    static const struct linear_case cases[] = {
        {.name = "tiles and a bit", .n = 67, .k = 37, .n_out = 70, .precise = true, .exact = true},
        {.name = "one row, bias", .n = 1, .k = 16, .n_out = 5, .bias = true, .precise = true, .exact = true},
        {.name = "accumulate, bias", .n = 5, .k = 50, .n_out = 65, .bias = true, .accumulate = true, .precise = true, .exact = true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        check_linear(&cases[i], JSC_PRECISION_STRICT, 1e-13, 0x1p-24);
        check_linear(&cases[i], JSC_PRECISION_FAST, 1e-13, 0x1p-24);
    }
    struct linear_case second_term = cases[0];
    second_term.exact = false; /* W itself is rounded to two terms */
    check_linear(&second_term, JSC_PRECISION_STRICT, 1e-13, 0x1p-24);
    check_linear(&second_term, JSC_PRECISION_FAST, 0x1p-17, 0x1p-24);
}

/* What the plan was told is enough. */
Test(gemm_cuda, scratch_is_as_promised)
{
    static const size_t shapes[][3] = {{1, 1, 1}, {5, 7, 3}, {256, 8, 300}, {257, 8, 301}, {4100, 8, 3}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int swap = 0; swap < 2; swap++) {
            struct rig rig;
            open_cuda(&rig, JSC_PRECISION_FAST);
            const struct linear_case c = {.n = shapes[i][0], .k = shapes[i][1 + swap], .n_out = shapes[i][2 - swap], .exact = true};
            float *values = malloc(c.n_out * c.k * sizeof *values);
            double *bias = new_doubles(c.n_out);
            cr_assert(values != NULL);
            RUN(&rig, matmul, .n = c.n, .w = linear_weight(&rig, &c, values, bias), .x = rig_blank(&rig, ROLE_ACT, c.n * c.k),
                .y = rig_blank(&rig, ROLE_REAL, c.n * c.n_out));
            rig_ok(&rig, rig.ops->sync(rig.stream, &rig.error), "sync");
            cr_expect(le(sz, ((const struct cuda_stream *)rig.stream)->scratch_bytes[CUDA_SCRATCH_GEMM],
                         matmul_scratch_cuda(rig.device, c.n, shapes[i][1], shapes[i][2])),
                      "%zu rows, %zu x %zu", c.n, c.n_out, c.k);
            free(values), free(bias);
            rig_close(&rig);
        }
}

#endif
