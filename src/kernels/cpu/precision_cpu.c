/* precision_cpu.c: which precision is in effect: fast where it is asked for and bfloat16 products are real and right, or emulated.
 *
 * Left open, it is strict: the default must be within 1 % on every score, and bfloat16 cotangents are not (docs/precision.md).
 * The library's word for the instruction set is not enough: a product of its bfloat16 kernels must also agree with plain arithmetic,
 * through the same code that the walks use (packed weights, both element types of C). Emulation (JSC_CPU_FAST=emulate) gives
 * the numbers of the fast mode on any processor; it is for tests and slower than strict. */
#include "cot_cpu.h"
#include "cpu_internal.h"

#include <string.h>

enum { CHECK_M = 21, CHECK_N = 96, CHECK_K = 80 }; /* the product of the check; no multiple of a tile in M */

/* Numbers that bfloat16 holds exactly, so that only sums and the result are rounded. */
static void fill(uint64_t id, size_t n, float *x, uint16_t *rounded)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (float)rng_normal(1, id, i);
    bf16_round(x, n, rounded);
    bf16_widen(rounded, n, x);
}

struct check {
    float a[CHECK_M * CHECK_K], w[CHECK_K * CHECK_N], got[CHECK_M * CHECK_N];
    uint16_t a16[CHECK_M * CHECK_K], w16[CHECK_K * CHECK_N], c16[CHECK_M * CHECK_N];
};

/* got = times A W, to a bfloat16's half step or, if as floats, to the rounding of sums. */
static bool is_right(const struct check *c, double times, bool as_floats)
{
    for (size_t i = 0; i < CHECK_M; i++)
        for (size_t j = 0; j < CHECK_N; j++) {
            double sum = 0.0, size = 0.0;
            for (size_t p = 0; p < CHECK_K; p++) {
                const double term = (double)c->a[i * CHECK_K + p] * (double)c->w[p * CHECK_N + j];
                sum += times * term;
                size += times * __builtin_fabs(term);
            }
            const double error = __builtin_fabs((double)c->got[i * CHECK_N + j] - sum);
            if (!(error <= 1e-5 * size + (as_floats ? 0.0 : 0x1.02p-8 * __builtin_fabs(sum))))
                return false;
        }
    return true;
}

static jsc_status run_check(struct cpu_device *device, struct check *c, bool *right, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct jsc_stream *stream = NULL;
    struct jsc_weight *weight = NULL;
    const struct weight_part part = {
        .bytes = c->w, .type = DTYPE_F32, .n = CHECK_K, .row_bytes = CHECK_N * sizeof(float), .scale = 1.0, .name = "check"};
    struct op_matmul_vjp layer = {.n = CHECK_M, .dy = c->a16, .dx = c->c16};
    const struct cot_gemm wide = {.m = CHECK_M, .n = CHECK_N, .k = CHECK_K, .a = c->a16, .b = c->w16, .c = c->got, .c_real = true};

    fill(1, CHECK_M * CHECK_K, c->a, c->a16);
    fill(2, CHECK_K * CHECK_N, c->w, c->w16);
    TRY(ops_cpu.stream_open(&device->base, &stream, error));
    TRY(weight_make_cpu(&device->base, &part, 1, CHECK_N, USE_VJP, NULL, &weight, error));
    layer.w = weight;
    TRY(matmul_vjp_cpu(stream, &layer, error));
    bf16_widen(c->c16, CHECK_M * CHECK_N, c->got);
    *right = is_right(c, 1.0, false);
    layer.n = 1; /* few rows may be another kernel's */
    TRY(matmul_vjp_cpu(stream, &layer, error));
    bf16_widen(c->c16, CHECK_M * CHECK_N, c->got);
    *right = *right && is_right(c, 1.0, false);
    TRY(gemm_cot(stream, &wide, error));
    *right = *right && is_right(c, 1.0, true);
done:
    weight_free_cpu(&device->base, weight);
    if (stream != NULL)
        ops_cpu.stream_close(stream);
    return status;
}

bool precision_multiplies_right(struct cpu_device *device)
{
    struct check *check = NULL;
    bool right = false;
    const jsc_status status = mem_new(&check, 1, NULL) == JSC_OK ? run_check(device, check, &right, NULL) : JSC_E_MEMORY;
    mem_free(check);
    return status == JSC_OK && right;
}

static void set(struct cpu_device *device, jsc_precision precision, bool native)
{
    device->base.precision = precision;
    device->cot = precision == JSC_PRECISION_FAST ? sizeof(uint16_t) : sizeof(float);
    device->native = native;
}

void precision_choose(struct cpu_device *device, jsc_precision wanted)
{
    const char *how = env_get(ENV_CPU_FAST);
    set(device, JSC_PRECISION_STRICT, false);
    if (wanted != JSC_PRECISION_FAST)
        return;
    if (how != NULL && strcmp(how, "emulate") == 0) {
        set(device, JSC_PRECISION_FAST, false);
        return;
    }
    if (device->engine == NULL || !onednn_has_bf16(device->engine))
        return;
    set(device, JSC_PRECISION_FAST, true);
    if (!precision_multiplies_right(device))
        set(device, JSC_PRECISION_STRICT, false);
}
