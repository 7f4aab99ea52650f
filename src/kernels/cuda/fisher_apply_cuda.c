/* fisher_apply_cuda.c: fm = (m Wc^T) Wc in fp32 in both precisions: products with the Fisher factor decide directions, and are few.
 * m, fm [k][d], wc [n][d], c [k][n] float; 4 k n d FLOP, wc read twice. Oracle: fisher_ref.c. Test: test_fisher_ops.c. */
#include "cuda_internal.h"

jsc_status fisher_apply_cuda(struct jsc_stream *stream, const struct op_fisher_apply *op, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t k = (size_t)op->k, d = (size_t)op->d;
    const struct gemm_cuda first = {.m = k, .n = op->n, .k = d, .a = op->m, .b = op->wc, .c = op->c, .b_transposed = true};
    const struct gemm_cuda second = {.m = k, .n = d, .k = op->n, .a = op->c, .b = op->wc, .c = op->fm};

    TRY(cuda_enter(stream, error));
    TRY(gemm_cuda(stream, &first, error));
    TRY(gemm_cuda(stream, &second, error));
done:
    return status;
}
