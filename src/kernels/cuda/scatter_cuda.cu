/* scatter_cuda.cu: rows of the residual-stream gradient put into place, all else zero. R[tok[r] B + r % B] = src[r]. Contract: ops.h.
 * Oracle: head_ref.c. Test: test_head.c.
 *
 * src [rows][d] f32 -> R [N B][d] f32, G [N B][d] COT    4d (6d with a bf16 G) written a row of R, by clearing; few rows are copied. */
#include "rows.cuh"

/* Grid: a block per row of src. */
template <class OUT, bool VECTOR>
JSC_KERNEL(scatter)(OUT *out, const float *src, const int32_t *tok, int B, int d)
{
    const size_t r = blockIdx.x, row = tok ? (size_t)tok[r] * (size_t)B + r % (size_t)B : r;
    for (int c = PIECE * (int)threadIdx.x; c < d; c += PIECE * (int)blockDim.x) {
        float x[PIECE];
        load_piece<VECTOR>(src + r * (size_t)d, c, d, x);
        store_piece<VECTOR>(out + row * (size_t)d, c, d, x);
    }
}

template <class OUT>
static cudaError_t scatter_into(const struct op_scatter *op, dptr to, cudaStream_t stream)
{
    const size_t d = (size_t)op->d;
    OUT *const out = (OUT *)to;
    const float *const src = (const float *)op->src;
    const unsigned rows = (unsigned)op->rows.n, threads = row_threads(d);
    const cudaError_t result = cudaMemsetAsync(out, 0, op->N * (size_t)op->rows.B * d * sizeof(OUT), stream);
    if (result != cudaSuccess || rows == 0)
        return result;
    if (in_pieces(d, src) && in_pieces(d, out))
        return JSC_LAUNCH((scatter<OUT, true>), rows, threads, 0, stream, out, src, op->rows.tok, op->rows.B, op->d);
    return JSC_LAUNCH((scatter<OUT, false>), rows, threads, 0, stream, out, src, op->rows.tok, op->rows.B, op->d);
}

extern "C" jsc_status scatter_cuda(struct jsc_stream *stream, const struct op_scatter *op, jsc_error *error)
{
    const jsc_status status = cuda_enter(stream, error);
    if (status != JSC_OK)
        return status;
    cudaError_t result = scatter_into<float>(op, op->R, cuda_handle(stream));
    if (result == cudaSuccess && op->G && op->G != op->R)
        result = cuda_fast(stream) ? scatter_into<bf16>(op, op->G, cuda_handle(stream))
                                   : scatter_into<float>(op, op->G, cuda_handle(stream));
    return cuda_check(result, "scatter", error);
}
