/* matmul_emulated.c: products of bfloat16 operands on a processor without them: widened in scratch, then multiplied as floats.
 *
 * A product of two bfloat16 numbers is exact in float, so this is what hardware does: products exact, sums in float, the result rounded
 * once. Not fast: it widens B again for every call. */
#include "cot_cpu.h"
#include "cpu_internal.h"

#define BLOCK_ROWS 256 /* of A and C at once */

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t gemm_emulated_scratch(size_t m, size_t n, size_t k)
{
    return (k * n + least(m, BLOCK_ROWS) * (k + n)) * sizeof(float);
}

static void widen_rows(const uint16_t *x, size_t rows, size_t width, int threads, float *out)
{
#pragma omp parallel for num_threads(threads) schedule(static)
    for (size_t i = 0; i < rows; i++)
        bf16_widen(x + i * width, width, out + i * width);
}

static void round_rows(const float *x, size_t rows, size_t width, int threads, uint16_t *out)
{
#pragma omp parallel for num_threads(threads) schedule(static)
    for (size_t i = 0; i < rows; i++)
        bf16_round(x + i * width, width, out + i * width);
}

jsc_status gemm_emulated(struct jsc_stream *stream, const struct cot_gemm *g, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const int threads = cpu_threads(stream);
    const size_t block = least(g->m, BLOCK_ROWS);
    float *b = NULL;

    TRY(cpu_scratch(stream, SCRATCH_EMULATION, gemm_emulated_scratch(g->m, g->n, g->k), &b, error));
    float *a = b + g->k * g->n, *c = a + block * g->k;
    widen_rows(g->b, g->k, g->n, threads, b);
    for (size_t i = 0; i < g->m; i += block) {
        const size_t rows = least(block, g->m - i);
        uint16_t *rounded = (uint16_t *)g->c + i * g->n;
        widen_rows((const uint16_t *)g->a + i * g->k, rows, g->k, threads, a);
        if (!g->c_real && g->accumulate)
            widen_rows(rounded, rows, g->n, threads, c);
        const struct gemm product = {
            .m = rows, .n = g->n, .k = g->k, .a = a, .b = b, .c = g->c_real ? (float *)g->c + i * g->n : c, .accumulate = g->accumulate};
        TRY(gemm_run(stream, &product, error));
        if (!g->c_real)
            round_rows(c, rows, g->n, threads, rounded);
    }
done:
    return status;
}
