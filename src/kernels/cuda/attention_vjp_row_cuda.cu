/* attention_vjp_row_cuda.cu: the VJP of attention where only query pos[b] of right-hand side b has a cotangent (the top block). Formulas: ops.h.
 *
 * keys     dv_j = P_pj do_p, dk_j = scale dS_pj q_p, summed over the group's heads in order; 0 for keys that p does not see. A warp takes four keys:
 *          its lanes share the dot products over h and own the same columns of dk and dv.
 * query    dq_p = scale sum_j dS_pj k_j, other rows of dq 0. A block takes one head: its warps every eighth key; their sums are added in order.
 * P and dS of the one row are made twice, 4 h FLOPs each: nothing beside the zeros, for dqkv [M][W] is written once and that is the time.
 * All dot products run over the same columns in the same order, so that dP - D is exactly 0 where one key has all the weight.
 * Oracle: attention_vjp_ref.c.   Test: test_attention.c. */
#include "attention_vjp.cuh"

enum { ROW_THREADS = 256, ROW_WARPS = ROW_THREADS / 32, WARP_KEYS = 4, BLOCK_KEYS = ROW_WARPS * WARP_KEYS };

/* Columns lane, lane + 32, ... below h of a row; 0 beyond. C: columns a lane, h <= 32 C */
template <int C, class T>
JSC_DEVICE void load_lane(float out[C], const T *x, int h)
{
#pragma unroll
    for (int c = 0; c < C; c++) {
        const int column = (int)lane_id() + 32 * c;
        out[c] = column < h ? f32_of(x[column]) : 0.0f;
    }
}

template <int C, class T>
JSC_DEVICE void store_lane(T *x, const float v[C], float scale, int h)
{
#pragma unroll
    for (int c = 0; c < C; c++)
        if ((int)lane_id() + 32 * c < h)
            x[lane_id() + 32 * c] = of_f32<T>(v[c] * scale);
}

template <int C>
JSC_DEVICE float dot_lanes(const float x[C], const float y[C])
{
    float sum = 0.0f;
#pragma unroll
    for (int c = 0; c < C; c++)
        sum += x[c] * y[c];
    return warp_sum(sum);
}

/* What one query of one head gives to all its keys. */
template <int C>
struct row_query {
    float q[C], dout[C], D, lse;
};
template <int C, class T>
JSC_DEVICE row_query<C> load_query(const attention_vjp_args &a, size_t row, size_t cot_row, int n)
{
    row_query<C> r;
    float o[C];
    load_lane<C>(r.q, a.qkv + row * (a.H + 2 * a.K) * a.h + (size_t)n * a.h, a.h);
    load_lane<C>(r.dout, (const T *)a.dout + (cot_row * a.H + n) * a.h, a.h);
    load_lane<C>(o, a.o + (row * a.H + n) * a.h, a.h);
    r.D = dot_lanes<C>(r.dout, o);
    r.lse = a.lse[row * a.H + n];
    return r;
}

/* P and dS (without scale) of one key. */
template <int C>
JSC_DEVICE float row_gradient(const attention_vjp_args &a, const row_query<C> &r, const float k[C], const float v[C], float *p)
{
    const float score = attention_score(dot_lanes<C>(r.q, k), a.scale, a.cap), part = a.cap > 0.0f ? score / a.cap : 0.0f;
    *p = expf(score - r.lse);
    return *p * (1.0f - part * part) * (dot_lanes<C>(r.dout, v) - r.D);
}

template <class T, int C>
JSC_KERNEL_BOUNDED(attention_row_keys, ROW_THREADS, 1)(const attention_vjp_args a)
{
    const int b = (int)blockIdx.x, s = (int)blockIdx.z / a.K, g = (int)blockIdx.z % a.K, i = a.pos[b];
    const int j0 = (int)blockIdx.y * BLOCK_KEYS + (int)threadIdx.x / 32 * WARP_KEYS;
    const size_t W = (size_t)(a.H + 2 * a.K) * a.h, row0 = (size_t)s * a.T;
    float dk[WARP_KEYS][C] = {}, dv[WARP_KEYS][C] = {};
    const bool seen = j0 <= i && j0 + WARP_KEYS - 1 >= attention_first_key(i, a.window); /* by the warp, so by all its lanes */
    for (int m = 0; m < a.group && seen; m++) {
        const row_query<C> r = load_query<C, T>(a, row0 + i, (size_t)s * a.B + b, g * a.group + m);
#pragma unroll
        for (int e = 0; e < WARP_KEYS; e++) {
            const int j = j0 + e;
            if (!attention_visible(i, j, a.window))
                continue;
            float k[C], v[C], p;
            load_lane<C>(k, a.qkv + (row0 + j) * W + (size_t)(a.H + g) * a.h, a.h);
            load_lane<C>(v, a.qkv + (row0 + j) * W + (size_t)(a.H + a.K + g) * a.h, a.h);
            const float ds = row_gradient<C>(a, r, k, v, &p);
#pragma unroll
            for (int c = 0; c < C; c++) {
                dv[e][c] += p * r.dout[c];
                dk[e][c] += ds * r.q[c];
            }
        }
    }
#pragma unroll
    for (int e = 0; e < WARP_KEYS; e++) {
        if (j0 + e >= a.T)
            continue;
        T *const out = (T *)a.dqkv + ((row0 + j0 + e) * a.B + b) * W + (size_t)(a.H + g) * a.h;
        store_lane<C>(out, dk[e], a.scale, a.h);
        store_lane<C>(out + (size_t)a.K * a.h, dv[e], 1.0f, a.h);
    }
}

/* Zeros to T rows of h columns but row `skip`, N columns a store: LANES threads a row. */
template <int N, int LANES, class E>
JSC_DEVICE void zero_rows(E *x, size_t stride, int T, int h, int skip)
{
    const vec<E, N> zeros = {};
    for (int row = (int)threadIdx.x / LANES; row < T; row += ROW_THREADS / LANES)
        for (int c = (int)threadIdx.x % LANES * N; c < h && row != skip; c += LANES * N)
            store_vec(x + (size_t)row * stride + c, zeros);
}

template <class T, int C>
JSC_KERNEL_BOUNDED(attention_row_query, ROW_THREADS, 1)(const attention_vjp_args a)
{
    const int b = (int)blockIdx.x, n = (int)blockIdx.y, s = (int)blockIdx.z, g = n / a.group, i = a.pos[b], warp = (int)threadIdx.x / 32;
    const size_t W = (size_t)(a.H + 2 * a.K) * a.h, row0 = (size_t)s * a.T;
    JSC_SHARED(float, parts, ROW_WARPS * 32 * C);
    const row_query<C> r = load_query<C, T>(a, row0 + i, (size_t)s * a.B + b, n);
    float dq[C] = {};
    for (int j = attention_first_key(i, a.window) + warp; j <= i; j += ROW_WARPS) {
        float k[C], v[C], p;
        load_lane<C>(k, a.qkv + (row0 + j) * W + (size_t)(a.H + g) * a.h, a.h);
        load_lane<C>(v, a.qkv + (row0 + j) * W + (size_t)(a.H + a.K + g) * a.h, a.h);
        const float ds = row_gradient<C>(a, r, k, v, &p);
#pragma unroll
        for (int c = 0; c < C; c++)
            dq[c] += ds * k[c];
    }
#pragma unroll
    for (int c = 0; c < C; c++)
        parts[warp * 32 * C + 32 * c + (int)lane_id()] = dq[c];
    __syncthreads(); /* every warp's sums are written */
    T *const out = (T *)a.dqkv + (row0 * a.B + b) * W + (size_t)n * a.h;
    for (int c = (int)threadIdx.x; c < a.h; c += ROW_THREADS) {
        float sum = 0.0f;
        for (int w = 0; w < ROW_WARPS; w++)
            sum += parts[w * 32 * C + c];
        out[(size_t)i * a.B * W + c] = of_f32<T>(sum * a.scale);
    }
    constexpr int N = 16 / (int)sizeof(T), LANES = 32 * C / N < 32 ? 32 * C / N : 32;
    if (a.h % N == 0 && (uintptr_t)a.dqkv % 16 == 0)
        zero_rows<N, LANES>(out, a.B * W, a.T, a.h, i);
    else
        zero_rows<1, 32>(out, a.B * W, a.T, a.h, i);
}

template <class T, int C>
static cudaError_t launch_some(const attention_vjp_args &a, cudaStream_t stream)
{
    const dim3 tiles((unsigned)a.B, (unsigned)(a.T + BLOCK_KEYS - 1) / BLOCK_KEYS, (unsigned)(a.S * a.K));
    const cudaError_t error = JSC_LAUNCH((attention_row_keys<T, C>), tiles, ROW_THREADS, 0, stream, a);
    if (error != cudaSuccess)
        return error;
    return JSC_LAUNCH((attention_row_query<T, C>), dim3((unsigned)a.B, (unsigned)a.H, (unsigned)a.S), ROW_THREADS, 0, stream, a);
}

/* As many sequences at once as a grid's third dimension takes. */
template <class T, int C>
static cudaError_t launch(const attention_vjp_args &a, cudaStream_t stream)
{
    const int step = 65535 / a.K;
    cudaError_t error = cudaSuccess;
    for (int s = 0; s < a.S && error == cudaSuccess; s += step) {
        const size_t row = (size_t)s * a.T, W = (size_t)(a.H + 2 * a.K) * a.h, out_width = (size_t)a.H * a.h;
        attention_vjp_args some = a;
        some.S = step < a.S - s ? step : a.S - s;
        some.qkv += row * W, some.o += row * out_width, some.lse += row * a.H;
        some.dout = (const T *)a.dout + (size_t)s * a.B * out_width, some.dqkv = (T *)a.dqkv + row * a.B * W;
        error = launch_some<T, C>(some, stream);
    }
    return error;
}

template <class T>
static cudaError_t launch_by_size(const attention_vjp_args &a, cudaStream_t stream)
{
    return a.h <= 64 ? launch<T, 2>(a, stream) : a.h <= 128 ? launch<T, 4>(a, stream) : launch<T, 8>(a, stream);
}

cudaError_t attention_vjp_row(const attention_vjp_args &a, cudaStream_t stream)
{
    return a.narrow ? launch_by_size<bf16>(a, stream) : launch_by_size<float>(a, stream);
}
