/* embed_cuda.cu: rows of the embedding table. out[i] = scale W[ids[i]]. Contract: ops.h. Oracle: head_ref.c. Test: test_head.c.
 *
 * W [V][d] f32, or bf16 in one or two terms; ids [n] staged; out [n][d] f32    2d, 4d or 4d read, 4d written a row; limit: memory
 * The product is made in double and rounded once. */
#include "rows.cuh"

/* Grid: a block per row. */
template <class W, bool VECTOR>
JSC_KERNEL(embed)(float *out, const W *w, const W *w_low, const int32_t *ids, int d, double scale)
{
    const size_t from = (size_t)ids[blockIdx.x] * (size_t)d;
    float *const row = out + (size_t)blockIdx.x * (size_t)d;
    for (int c = PIECE * (int)threadIdx.x; c < d; c += PIECE * (int)blockDim.x) {
        float x[PIECE], low[PIECE] = {};
        load_piece<VECTOR>(w + from, c, d, x);
        if (w_low)
            load_piece<VECTOR>(w_low + from, c, d, low);
#pragma unroll
        for (int i = 0; i < PIECE; i++)
            x[i] = (float)(scale * ((double)x[i] + (double)low[i]));
        store_piece<VECTOR>(row, c, d, x);
    }
}

template <class W>
static cudaError_t launch_embed(const struct op_embed *op, size_t first, size_t n, const int32_t *ids, cudaStream_t stream)
{
    const struct cuda_weight *weight = (const struct cuda_weight *)op->w;
    const size_t d = weight->base.k;
    const W *const w = (const W *)weight->w, *const low = (const W *)weight->w_low;
    float *const out = (float *)op->out + first * d;
    const unsigned threads = row_threads(d);
    if (in_pieces(d, w) && in_pieces(d, low) && in_pieces(d, out))
        return JSC_LAUNCH((embed<W, true>), (unsigned)n, threads, 0, stream, out, w, low, ids, (int)d, op->scale);
    return JSC_LAUNCH((embed<W, false>), (unsigned)n, threads, 0, stream, out, w, low, ids, (int)d, op->scale);
}

extern "C" jsc_status embed_cuda(struct jsc_stream *stream, const struct op_embed *op, jsc_error *error)
{
    const size_t most = CUDA_STAGE_BYTES / sizeof(int32_t);
    jsc_status status = cuda_enter(stream, error);
    for (size_t first = 0; status == JSC_OK && first < op->n; first += most) {
        const size_t n = op->n - first < most ? op->n - first : most;
        const void *ids = NULL;
        status = cuda_stage(stream, op->ids + first, n * sizeof(int32_t), &ids, error);
        if (status != JSC_OK)
            break;
        const cudaError_t result = cuda_fast(stream) ? launch_embed<bf16>(op, first, n, (const int32_t *)ids, cuda_handle(stream))
                                                     : launch_embed<float>(op, first, n, (const int32_t *)ids, cuda_handle(stream));
        status = cuda_check(result, "embed", error);
    }
    return status;
}
