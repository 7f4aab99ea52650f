/* matmul_cpu.c: the linear layers: which product, with which weight and bias. */
#include "cpu_internal.h"

#include <string.h>

jsc_status gemm_run(struct jsc_stream *stream, const struct gemm *gemm, jsc_error *error)
{
    const struct cpu_device *device = (const struct cpu_device *)stream->device;
    if (gemm->m == 0 || gemm->n == 0)
        return JSC_OK;
    if (device->engine == NULL) /* one order of sums for any number of rows */
        return gemm_builtin(stream, gemm, error);
    return gemm_skinny_fits(gemm) ? gemm_skinny(stream, gemm, error) : gemm_onednn(stream, gemm, error);
}

jsc_status gemm_cot(struct jsc_stream *stream, const struct cot_gemm *g, jsc_error *error)
{
    const struct cpu_device *device = (const struct cpu_device *)stream->device;
    if (g->m == 0 || g->n == 0)
        return JSC_OK;
    if (device->cot != sizeof(float))
        return device->native ? gemm_onednn_cot(stream, g, error) : gemm_emulated(stream, g, error);
    const struct gemm floats = {
        .m = g->m, .n = g->n, .k = g->k, .a = g->a, .b = g->b, .c = g->c, .accumulate = g->accumulate, .packed = g->packed};
    return gemm_run(stream, &floats, error);
}

/* The bias is what the product is added to: rows start as it, or get it on top of what they hold. */
static void start_with_bias(size_t rows, size_t n, const float *bias, bool accumulate, float *y)
{
    for (size_t i = 0; i < rows; i++, y += n) {
        if (accumulate)
            for (size_t j = 0; j < n; j++)
                y[j] += bias[j];
        else
            memcpy(y, bias, n * sizeof *y);
    }
}

jsc_status matmul_cpu(struct jsc_stream *stream, const struct op_matmul *op, jsc_error *error)
{
    const struct cpu_weight *w = (const struct cpu_weight *)op->w;
    if (op->precise)
        return matmul_precise_cpu(stream, op, error);
    if (w->bias != NULL)
        start_with_bias(op->n, w->base.n, w->bias, op->accumulate, op->y);
    const struct gemm gemm = {.m = op->n,
                              .n = w->base.n,
                              .k = w->base.k,
                              .a = op->x,
                              .b = w->w,
                              .c = op->y,
                              .b_transposed = true,
                              .accumulate = op->accumulate || w->bias != NULL,
                              .packed = w->packed[true]};
    return gemm_run(stream, &gemm, error);
}

/* A slab's rows of one token are contiguous: a product for each token, without a copy. */
jsc_status matmul_vjp_cpu(struct jsc_stream *stream, const struct op_matmul_vjp *op, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const struct cpu_weight *w = (const struct cpu_weight *)op->w;
    const size_t rows = op->slab.of > 0 ? (size_t)op->slab.B : op->n, cot = cpu_cot(stream->device);
    for (size_t first = 0; first < op->n; first += rows) {
        const struct cot_gemm gemm = {.m = rows,
                                      .n = w->base.k,
                                      .k = w->base.n,
                                      .a = dptr_at(op->dy, rows_at(&op->slab, first) * w->base.n, cot),
                                      .b = cot == sizeof(float) ? (const void *)w->w : w->w_cot,
                                      .c = dptr_at(op->dx, first * w->base.k, cot),
                                      .accumulate = op->accumulate,
                                      .packed = w->packed[false]};
        TRY(gemm_cot(stream, &gemm, error));
    }
done:
    return status;
}
