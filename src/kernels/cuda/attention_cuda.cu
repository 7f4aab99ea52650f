/* attention_cuda.cu: causal attention with grouped heads, window and soft-cap; fp32 on CUDA cores in both precisions.
 *   s_ij = cap(scale q_i . k_j);  lse_i = log sum_j exp s_ij;  o_i = sum_j exp(s_ij - lse_i) v_j,  j <= i, j > i - window
 * qkv [N][W] f32 (q: H h, k: K h, v: K h)   o, o_act [N][H h] f32   lse [N][H] f32
 * Block: 64 queries of one head of one sequence, 256 threads; key tiles of 64 from the first that any of its queries sees up to the
 * diagonal, with a running maximum m and sum of exponentials: o and the sum are scaled down when m grows. A tile's scores are 64 x 64 x h and
 * its values 64 x 64 x h multiply-adds by tile_product. o stays in registers (h / 4 floats a thread), q, k and v go through shared
 * memory 64 columns at a time.
 * Traffic: qkv once from memory, then from L2 (T/64 tiles of k and v per tile of queries); 4 T T h FLOPs a head, half of them causal:
 * bound by fp32 arithmetic from T = 128 on. A row's bits depend on nothing but its own visible keys.
 * Oracle: attention_ref.c.   Test: test_attention.c. */
#include "attention_tile.cuh"
#include "cuda_internal.h"

struct attention_args {
    int S, T, H, K, h, window;
    float scale, cap;
    const float *qkv;
    float *o, *o_act, *lse;
};

/* Over the 16 threads that share four rows: the same bits in each. */
template <class OP>
JSC_DEVICE float reduce_row(float x)
{
#pragma unroll
    for (int step = 8; step > 0; step /= 2)
        x = OP::of(x, __shfl_xor_sync(FULL_WARP, x, step));
    return x;
}

/* The running softmax of four rows: score becomes exp(s - m); returns by what the earlier sums of a row shrink. */
JSC_DEVICE void softmax_step(float score[4][4], float m[4], float sum[4], float shrink[4])
{
#pragma unroll
    for (int u = 0; u < 4; u++) {
        const float top = reduce_row<max_op>(max(max(score[u][0], score[u][1]), max(score[u][2], score[u][3])));
        const float next = max(m[u], top);
        float part = 0.0f;
        shrink[u] = m[u] == next ? 1.0f : expf(m[u] - next); /* equal: also when nothing was visible so far */
#pragma unroll
        for (int v = 0; v < 4; v++) {
            score[u][v] = score[u][v] == -INFINITY ? 0.0f : expf(score[u][v] - next);
            part += score[u][v];
        }
        sum[u] = sum[u] * shrink[u] + reduce_row<add_op>(part);
        m[u] = next;
    }
}

/* G: 64-column parts of a head, h <= 64 G */
template <int G, int VEC>
JSC_KERNEL_BOUNDED(attention_forward, TILE_THREADS, (G == 1 ? 2 : 1))(const attention_args a)
{
    const int i0 = (int)(gridDim.x - 1 - blockIdx.x) * TILE, n = (int)blockIdx.y, g = n / (a.H / a.K), ty = tile_ty(), tx = tile_tx();
    const size_t W = (size_t)(a.H + 2 * a.K) * a.h, first_row = (size_t)blockIdx.z * a.T;
    const float *q = a.qkv + (first_row + i0) * W + (size_t)n * a.h;
    const float *k = a.qkv + first_row * W + (size_t)(a.H + g) * a.h, *v = k + (size_t)a.K * a.h;
    JSC_DYN_SMEM(at);
    float *const left = JSC_PART(at, float, TILE_FLOATS), *const right = JSC_PART(at, float, TILE_FLOATS);
    float *const weights = JSC_PART(at, float, TILE_FLOATS);
    float o[G][4][4], m[4], sum[4], shrink[4];
#pragma unroll
    for (int u = 0; u < 4; u++) {
        m[u] = -INFINITY, sum[u] = 0.0f;
#pragma unroll
        for (int e = 0; e < 4 * G; e++)
            o[e / 4][u][e % 4] = 0.0f;
    }
    const int from = attention_first_key(i0, a.window) / TILE * TILE;
    for (int j0 = from; j0 <= i0; j0 += TILE) {
        float score[4][4] = {};
        for (int c0 = 0; c0 < a.h; c0 += TILE) {
            __syncthreads(); /* readers of the parts before are done */
            if (G > 1 || j0 == from)
                tile_load_turned<VEC>(left, q + c0, W, a.T - i0, a.h - c0);
            tile_load_turned<VEC>(right, k + (size_t)j0 * W + c0, W, a.T - j0, a.h - c0);
            __syncthreads(); /* both parts are written */
            tile_dot_product(score, left + 4 * ty, right + 4 * tx, min(TILE, a.h - c0));
        }
#pragma unroll
        for (int e = 0; e < 16; e++) {
            const int i = i0 + 4 * ty + e / 4, j = j0 + 4 * tx + e % 4;
            score[e / 4][e % 4] = attention_visible(i, j, a.window) ? attention_score(score[e / 4][e % 4], a.scale, a.cap) : -INFINITY;
        }
        softmax_step(score, m, sum, shrink);
        tile_store_turned(weights, score);
#pragma unroll
        for (int part = 0; part < G; part++) {
            if (part * TILE >= a.h)
                continue;
            __syncthreads(); /* readers of the part before are done; the weights are written */
            tile_load<VEC>(right, v + (size_t)j0 * W + part * TILE, W, a.T - j0, a.h - part * TILE);
            __syncthreads(); /* the part is written */
#pragma unroll
            for (int e = 0; e < 16; e++)
                o[part][e / 4][e % 4] *= shrink[e / 4];
            if (part * TILE + 4 * tx < a.h)
                tile_product(o[part], weights + 4 * ty, right + 4 * tx, min(TILE, a.T - j0));
        }
    }
#pragma unroll
    for (int u = 0; u < 4; u++) {
        const int i = i0 + 4 * ty + u;
        if (i >= a.T)
            continue;
        const size_t row = first_row + i, at_o = (row * a.H + n) * a.h;
        if (tx == 0)
            a.lse[row * a.H + n] = m[u] + logf(sum[u]);
#pragma unroll
        for (int part = 0; part < G; part++) {
            float x[4];
#pragma unroll
            for (int e = 0; e < 4; e++)
                x[e] = o[part][u][e] / sum[u];
            tile_write<VEC>(a.o + at_o, part * TILE + 4 * tx, a.h, x);
            if (a.o_act)
                tile_write<VEC>(a.o_act + at_o, part * TILE + 4 * tx, a.h, x);
        }
    }
}

template <int G, int VEC>
static cudaError_t launch(const attention_args &a, cudaStream_t stream)
{
    const dim3 grid((unsigned)(a.T + TILE - 1) / TILE, (unsigned)a.H, (unsigned)a.S);
    const size_t smem = 3 * JSC_PART_BYTES(float, TILE_FLOATS);
    return JSC_LAUNCH((attention_forward<G, VEC>), grid, TILE_THREADS, smem, stream, a);
}

extern "C" jsc_status attention_cuda(struct jsc_stream *stream, const struct op_attention *op, jsc_error *error)
{
    const jsc_status status = cuda_enter(stream, error);
    if (status != JSC_OK)
        return status;
    if (op->h > 4 * TILE)
        return status_set(error, JSC_E_UNSUPPORTED, "cuda: heads of %d columns, its kernels take at most %d; --device cpu does without the GPU", op->h,
                          4 * TILE);
    float *const act = op->o_act == op->o ? NULL : (float *)op->o_act;
    const attention_args a = {op->S,   op->T, op->H,        op->K,       op->h, op->window, (float)op->scale, (float)op->cap, (const float *)op->qkv,
                              (float *)op->o, act,  (float *)op->lse};
    const uintptr_t all = (uintptr_t)op->qkv | (uintptr_t)op->o | (uintptr_t)act;
    const cudaStream_t handle = cuda_handle(stream);
    const bool vectors = op->h % 4 == 0 && all % 16 == 0;
    return cuda_check(!vectors         ? launch<4, 1>(a, handle)
                      : op->h <= TILE  ? launch<1, 4>(a, handle)
                      : op->h <= 2 * TILE ? launch<2, 4>(a, handle)
                                       : launch<4, 4>(a, handle),
                      "attention", error);
}
