/* attn_prob_cuda.cu: what one call of attention's VJP makes for all its right-hand sides: P, D, and qkv in bf16 terms. Formulas: ops.h.
 *
 * attn_prob   P_ij = exp(s_ij - lse_i) in fp32, stored as float or as one or two bf16 terms, key-major and query-major (struct
 *             attention_probs); with a soft-cap also P_ij (1 - (s_ij/cap)^2). Block: 64 keys x 64 queries of one head; invisible tiles are left out.
 *             T T h FLOPs a head (causal), T T elements written per layout and term.
 * attn_dot    D = sum_c dO_c O_c, O in fp32. One thread or eight a row and head; reads M H h elements of dO once, o from L2.
 * attn_terms  x = hi + lo, 4 bytes read and 4 written an element.
 * Oracle: attention_vjp_ref.c.   Test: test_attention.c. */
#include "attention_vjp.cuh"

/* ---- P --------------------------------------------------------------------------------------------------------------------------- */

/* Four neighbours of a matrix in its terms. */
template <class T, int TERMS>
JSC_DEVICE void store_terms(T *at, size_t term, const float x[4])
{
    vec<T, 4> high, low;
#pragma unroll
    for (int e = 0; e < 4; e++) {
        high.v[e] = of_f32<T>(x[e]);
        low.v[e] = of_f32<T>(x[e] - f32_of(high.v[e]));
    }
    store_vec(at, high);
    if (TERMS == 2)
        store_vec(at + term, low);
}

/* x[u][v]: key 4 ty + u, query 4 tx + v of the tile at (j0, i0) */
template <class T, int TERMS>
JSC_DEVICE void store_matrices(const attention_probs &p, size_t offset, int j0, int i0, const float x[4][4])
{
    const int key = j0 - p.key0 + 4 * tile_ty(), query = i0 - p.query0 + 4 * tile_tx();
    if (key >= p.keys || query >= p.queries)
        return;
#pragma unroll
    for (int u = 0; u < 4; u++) {
        const float column[4] = {x[0][u], x[1][u], x[2][u], x[3][u]};
        if (p.by_key)
            store_terms<T, TERMS>((T *)p.by_key + offset + (size_t)(key + u) * p.queries + query, p.term, x[u]);
        if (p.by_query)
            store_terms<T, TERMS>((T *)p.by_query + offset + (size_t)(query + u) * p.keys + key, p.term, column);
    }
}

template <class T, int TERMS, int VEC>
JSC_KERNEL_BOUNDED(attn_prob, TILE_THREADS, 2)(const attention_vjp_args a, const attention_probs p)
{
    const int i0 = p.query0 + (int)blockIdx.x * TILE, j0 = p.key0 + (int)blockIdx.y * TILE, unit = (int)blockIdx.z, ty = tile_ty(), tx = tile_tx();
    const int group = a.group, pair = p.pair0 + unit / group, s = pair / a.K, g = pair % a.K, n = g * group + unit % group;
    const size_t W = (size_t)(a.H + 2 * a.K) * a.h, row0 = (size_t)s * a.T;
    if (j0 > i0 + TILE - 1 || j0 + TILE - 1 < attention_first_key(i0, a.window))
        return; /* the whole block: no query of the tile sees a key of it */
    const float *q = a.qkv + (row0 + i0) * W + (size_t)n * a.h, *k = a.qkv + (row0 + j0) * W + (size_t)(a.H + g) * a.h;
    JSC_SHARED(float, keys, TILE_FLOATS);
    JSC_SHARED(float, queries, TILE_FLOATS);
    float x[4][4] = {}, slope[4][4];
    for (int c0 = 0; c0 < a.h; c0 += TILE) {
        __syncthreads(); /* readers of the parts before are done */
        tile_load_turned<VEC>(keys, k + c0, W, a.T - j0, a.h - c0);
        tile_load_turned<VEC>(queries, q + c0, W, a.T - i0, a.h - c0);
        __syncthreads(); /* both parts are written */
        tile_dot_product(x, keys + 4 * ty, queries + 4 * tx, min(TILE, a.h - c0));
    }
#pragma unroll
    for (int v = 0; v < 4; v++) {
        const int i = i0 + 4 * tx + v;
        const float lse = i < a.T ? a.lse[(row0 + i) * a.H + n] : 0.0f;
#pragma unroll
        for (int u = 0; u < 4; u++) {
            const float score = attention_score(x[u][v], a.scale, a.cap), part = a.cap > 0.0f ? score / a.cap : 0.0f;
            x[u][v] = i < a.T && attention_visible(i, j0 + 4 * ty + u, a.window) ? expf(score - lse) : 0.0f;
            slope[u][v] = x[u][v] * (1.0f - part * part);
        }
    }
    store_matrices<T, TERMS>(p, probs_unit(p, unit), j0, i0, x);
    if (p.slope > 0)
        store_matrices<T, TERMS>(p, probs_unit(p, unit) + p.slope, j0, i0, slope);
}

template <class T, int TERMS, int VEC>
static cudaError_t launch_prob(const attention_vjp_args &a, const attention_probs &p, cudaStream_t stream)
{
    const dim3 grid((unsigned)(p.queries + TILE - 1) / TILE, (unsigned)(p.keys + TILE - 1) / TILE, (unsigned)(p.pairs * a.group));
    return JSC_LAUNCH((attn_prob<T, TERMS, VEC>), grid, TILE_THREADS, 0, stream, a, p);
}

cudaError_t attn_prob_launch(const attention_vjp_args &a, const attention_probs &p, enum attention_prob_type type, cudaStream_t stream)
{
    const bool vectors = a.h % 4 == 0 && aligned(a.qkv);
    return type == PROB_TWO_BF16 ? launch_prob<bf16, 2, 4>(a, p, stream)
           : type == PROB_BF16   ? launch_prob<bf16, 1, 4>(a, p, stream)
           : vectors             ? launch_prob<float, 1, 4>(a, p, stream)
                                 : launch_prob<float, 1, 1>(a, p, stream);
}

/* ---- D --------------------------------------------------------------------------------------------------------------------------- */

/* x[c], c = 0 .. 7, of a bf16 row times y */
JSC_DEVICE float dot_eight(const bf16 *x, const float *y, float sum)
{
    const vec<bf16, 8> left = load_vec<8>(x);
    const vec<float, 4> low = load_vec<4>(y), high = load_vec<4>(y + 4);
#pragma unroll
    for (int e = 0; e < 8; e++)
        sum += f32_of(left.v[e]) * (e < 4 ? low.v[e % 4] : high.v[e % 4]);
    return sum;
}

/* CHAIN products, those from `count` on 0, in the order of tile_product; VEC elements a load, all loads before the first product. */
template <int VEC, class T>
JSC_DEVICE float dot_chain(const T *x, const float *y, int count)
{
    vec<T, VEC> left[CHAIN / VEC];
    vec<float, VEC> right[CHAIN / VEC];
#pragma unroll
    for (int i = 0; i < CHAIN / VEC; i++) {
        left[i] = {}, right[i] = {};
        if (VEC * i < count)
            left[i] = load_vec<VEC>(x + VEC * i), right[i] = load_vec<VEC>(y + VEC * i);
    }
    float sum = 0.0f;
#pragma unroll
    for (int c = 0; c < CHAIN; c++)
        sum += f32_of(left[c / VEC].v[c % VEC]) * right[c / VEC].v[c % VEC];
    return sum;
}

enum { DOT_THREADS = 128 };

/* LANES 1: the products are added in the order in which tile_dot_product adds those of dO and v: where one key has all the weight and so
 * o = v, dP - D is 0 and not the difference of two roundings. LANES 8 (bf16, h a multiple of 8): eight threads take eight elements each.
 * Grid: (s D_ld + t, parts of the B H heads of a token). */
template <class T, int LANES, int VEC>
JSC_KERNEL_BOUNDED(attn_dot, DOT_THREADS, 1)(const attention_vjp_args a)
{
    const int s = (int)blockIdx.x / a.D_ld, t = (int)blockIdx.x % a.D_ld, heads = a.B * a.H;
    const size_t row = (size_t)s * a.T + t;
    for (int first = (int)blockIdx.y * (DOT_THREADS / LANES); first < heads; first += (int)gridDim.y * (DOT_THREADS / LANES)) {
        const int head = first + (int)threadIdx.x / LANES; /* b H + n: the order of dO in memory */
        float sum = 0.0f;
        if (head < heads && t < a.T) {
            const T *x = (const T *)a.dout + (row * heads + head) * a.h;
            const float *y = a.o + (row * a.H + head % a.H) * a.h;
            if constexpr (LANES == 8) {
#pragma unroll 2
                for (int c = (int)threadIdx.x % LANES * 8; c < a.h; c += LANES * 8)
                    sum = dot_eight(x + c, y + c, sum);
            } else {
                for (int c = 0; c < a.h; c += CHAIN)
                    sum += dot_chain<VEC>(x + c, y + c, a.h - c);
            }
        }
#pragma unroll
        for (int step = LANES / 2; step > 0; step /= 2)
            sum += __shfl_xor_sync(FULL_WARP, sum, step);
        if (head < heads && threadIdx.x % LANES == 0)
            a.D[((size_t)s * heads + head) * a.D_ld + t] = sum;
    }
}

template <class T, int LANES, int VEC>
static cudaError_t launch_dot(const attention_vjp_args &a, cudaStream_t stream)
{
    const size_t parts = ((size_t)a.B * a.H * LANES + DOT_THREADS - 1) / DOT_THREADS;
    const dim3 grid((unsigned)(a.S * a.D_ld), (unsigned)(parts < 65535 ? parts : 65535));
    return JSC_LAUNCH((attn_dot<T, LANES, VEC>), grid, DOT_THREADS, 0, stream, a);
}

cudaError_t attn_dot_launch(const attention_vjp_args &a, cudaStream_t stream)
{
    const size_t size = a.narrow ? sizeof(bf16) : sizeof(float);
    const bool vectors = a.h % 4 == 0 && aligned(a.o) && (uintptr_t)a.dout % (4 * size) == 0;
    if (!a.narrow)
        return vectors ? launch_dot<float, 1, 4>(a, stream) : launch_dot<float, 1, 1>(a, stream);
    return a.terms ? launch_dot<bf16, 8, 8>(a, stream) : vectors ? launch_dot<bf16, 1, 4>(a, stream) : launch_dot<bf16, 1, 1>(a, stream);
}

/* ---- q, k, v in bf16 -------------------------------------------------------------------------------------------------------------- */

JSC_KERNEL_BOUNDED(attn_terms, 256, 1)(const float *x, bf16 *high, bf16 *low, size_t n)
{
    for (size_t i = ((size_t)blockIdx.x * 256 + threadIdx.x) * 4; i < n; i += (size_t)gridDim.x * 1024) {
        const vec<float, 4> in = load_vec<4>(x + i);
        vec<bf16, 4> hi, lo;
#pragma unroll
        for (int e = 0; e < 4; e++)
            bf16_split(in.v[e], &hi.v[e], &lo.v[e]);
        store_vec(high + i, hi);
        store_vec(low + i, lo);
    }
}

cudaError_t attn_terms_launch(const attention_vjp_args &a, bf16 *terms, cudaStream_t stream)
{
    const size_t n = (size_t)a.S * a.T * (a.H + 2 * a.K) * a.h, blocks = (n + 1023) / 1024;
    return JSC_LAUNCH(attn_terms, (unsigned)(blocks < 4096 ? blocks : 4096), 256, 0, stream, a.qkv, terms, terms + n, n);
}
