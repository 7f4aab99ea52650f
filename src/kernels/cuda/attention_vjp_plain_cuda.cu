/* attention_vjp_plain_cuda.cu: the VJP of attention for any head size, in fp32 on CUDA cores. Formulas: ops.h.
 *
 * keys     dv_j = sum_i P_ij do_i,  dk_j = scale sum_i dS_ij q_i. Block: 64 keys of one kv head and right-hand side; over the group's heads in order
 *          and the tiles of queries that see a key, upwards: dP = v dO^T (64 x 64 x h), dS = P' o (dP - D), both products with dO and q.
 * queries  dq_i = scale sum_j dS_ij k_j. Block: 64 queries of one head and right-hand side; over the tiles of keys: dP again, then dS k.
 * P, P' and D come from attn_prob_cuda.cu. 10 T T h FLOPs a head and right-hand side, half of them causal; a tile of P (16 KB) is read per
 * 3 (2) products of 64 x 64 x h: bound by fp32 arithmetic. Accumulators: h/2 (h/4) floats a thread. Sums run upwards over queries, within
 * heads, in one chain; nothing depends on B. dP is added up as D is (attn_dot).
 * Oracle: attention_vjp_ref.c.   Test: test_attention.c. */
#include "attention_vjp.cuh"

/* acc (rows 4 ty of `rows`, columns 4 tx of `columns`) += rows columns^T over h columns, 64 at a time. */
template <int VEC, class A, class B>
JSC_DEVICE void product_over_h(float acc[4][4], float *left, float *right, const A *rows, size_t row_stride, int n_rows, const B *columns,
                               size_t column_stride, int n_columns, int h)
{
    for (int c0 = 0; c0 < h; c0 += TILE) {
        __syncthreads(); /* readers of the parts before are done */
        tile_load_turned<VEC>(left, rows + c0, row_stride, n_rows, h - c0);
        tile_load_turned<VEC>(right, columns + c0, column_stride, n_columns, h - c0);
        __syncthreads(); /* both parts are written */
        tile_dot_product(acc, left + 4 * tile_ty(), right + 4 * tile_tx(), min(TILE, h - c0));
    }
}

/* acc[part] (row 4 ty of the operand, column 64 part + 4 tx) += operand^T x over `count` rows of x. */
template <int G, int VEC, class T>
JSC_DEVICE void product_over_rows(float acc[G][4][4], const float *operand, float *right, const T *x, size_t stride, int count, int h)
{
#pragma unroll
    for (int part = 0; part < G; part++) {
        if (part * TILE >= h)
            continue;
        __syncthreads(); /* readers of the part before are done; the operand is written */
        tile_load<VEC>(right, x + part * TILE, stride, count, h - part * TILE);
        __syncthreads(); /* the part is written */
        if (part * TILE + 4 * tile_tx() < h)
            tile_product(acc[part], operand + 4 * tile_ty(), right + 4 * tile_tx(), min(TILE, count));
    }
}

template <int G>
JSC_DEVICE void clear(float acc[G][4][4])
{
#pragma unroll
    for (int e = 0; e < 16 * G; e++)
        acc[e / 16][e / 4 % 4][e % 4] = 0.0f;
}

/* Rows 4 ty .. of an output whose row 0 is at x, those below `rows`. */
template <int G, int VEC, class T>
JSC_DEVICE void write_rows(T *x, size_t stride, int rows, int h, const float acc[G][4][4], float scale)
{
#pragma unroll
    for (int u = 0; u < 4; u++) {
        const int r = 4 * tile_ty() + u;
        if (r >= rows)
            continue;
#pragma unroll
        for (int part = 0; part < G; part++) {
            const float v[4] = {acc[part][u][0] * scale, acc[part][u][1] * scale, acc[part][u][2] * scale, acc[part][u][3] * scale};
            tile_write<VEC>(x + (size_t)r * stride, part * TILE + 4 * tile_tx(), h, v);
        }
    }
}

/* Four neighbours of a matrix, 0 outside. */
JSC_DEVICE vec<float, 4> prob_four(const float *at, bool inside)
{
    const vec<float, 4> none = {{0.0f, 0.0f, 0.0f, 0.0f}};
    return inside ? load_vec<4>(at) : none;
}

/* ---- dk, dv ------------------------------------------------------------------------------------------------------------------------ */

/* dP (4 keys by 4 queries) becomes dS; both go to shared memory as [query][key]. p: the matrix of the unit at the tile's first key and query */
JSC_DEVICE void key_score_gradient(float dp[4][4], const float *p, const attention_probs &probs, int keys, int queries, const float *D,
                                   float *weights, float *gradients)
{
    const int key = 4 * tile_ty(), query = 4 * tile_tx();
    const vec<float, 4> shift = load_vec<4>(D + query);
    float w[4][4];
#pragma unroll
    for (int u = 0; u < 4; u++) {
        const bool inside = key + u < keys && query < queries;
        const float *at = p + (inside ? (size_t)(key + u) * probs.queries + query : 0);
        const vec<float, 4> x = prob_four(at, inside), slope = prob_four(at + probs.slope, inside);
#pragma unroll
        for (int v = 0; v < 4; v++) {
            w[u][v] = x.v[v];
            dp[u][v] = slope.v[v] * (dp[u][v] - shift.v[v]);
        }
    }
    tile_store_turned(weights, w);
    tile_store_turned(gradients, dp);
}

template <class T, int G, int VEC>
JSC_KERNEL_BOUNDED(attention_vjp_keys, TILE_THREADS, (G == 1 ? 2 : 1))(const attention_vjp_args a, const attention_probs p)
{
    const int b = (int)blockIdx.x, j0 = p.key0 + (int)blockIdx.y * TILE, pair = p.pair0 + (int)blockIdx.z, s = pair / a.K, g = pair % a.K;
    const int group = a.group, live = a.last ? a.last[b] + 1 : a.T, end = attention_end_query(j0 + TILE - 1, a.window, live);
    const size_t W = (size_t)(a.H + 2 * a.K) * a.h, row0 = (size_t)s * a.T, out_width = (size_t)a.H * a.h;
    const float *k = a.qkv + (row0 + j0) * W + (size_t)(a.H + g) * a.h, *v = k + (size_t)a.K * a.h;
    JSC_DYN_SMEM(at);
    float *const left = JSC_PART(at, float, TILE_FLOATS), *const right = JSC_PART(at, float, TILE_FLOATS);
    float *const weights = JSC_PART(at, float, TILE_FLOATS), *const gradients = JSC_PART(at, float, TILE_FLOATS);
    float dk[G][4][4], dv[G][4][4];
    clear<G>(dk);
    clear<G>(dv);
    for (int m = 0; m < group; m++) {
        const int n = g * group + m;
        const float *matrix = (const float *)p.by_key + probs_unit(p, (int)blockIdx.z * group + m) + (size_t)(j0 - p.key0) * p.queries;
        const float *D = a.D + (((size_t)s * a.B + b) * a.H + n) * a.D_ld;
        for (int i0 = j0; i0 < end; i0 += TILE) {
            const T *dout = (const T *)a.dout + ((row0 + i0) * a.B + b) * out_width + (size_t)n * a.h;
            float dp[4][4] = {};
            product_over_h<VEC>(dp, left, right, v, W, a.T - j0, dout, a.B * out_width, a.T - i0, a.h);
            key_score_gradient(dp, matrix + i0 - p.query0, p, p.keys - (j0 - p.key0), p.queries - (i0 - p.query0), D + i0, weights, gradients);
            product_over_rows<G, VEC>(dv, weights, right, dout, a.B * out_width, a.T - i0, a.h);
            product_over_rows<G, VEC>(dk, gradients, right, a.qkv + (row0 + i0) * W + (size_t)n * a.h, W, a.T - i0, a.h);
        }
    }
    T *const out = (T *)a.dqkv + ((row0 + j0) * a.B + b) * W + (size_t)(a.H + g) * a.h;
    write_rows<G, VEC>(out, a.B * W, a.T - j0, a.h, dk, a.scale);
    write_rows<G, VEC>(out + (size_t)a.K * a.h, a.B * W, a.T - j0, a.h, dv, 1.0f);
}

/* ---- dq -------------------------------------------------------------------------------------------------------------------------- */

/* dP (4 queries by 4 keys) becomes dS, in shared memory as [key][query]. */
JSC_DEVICE void query_score_gradient(float dp[4][4], const float *slopes, const attention_probs &probs, int keys, int queries, const float *D,
                                     float *gradients)
{
    const int query = 4 * tile_ty(), key = 4 * tile_tx();
    const vec<float, 4> shift = load_vec<4>(D + query);
#pragma unroll
    for (int u = 0; u < 4; u++) {
        const bool inside = query + u < queries && key < keys;
        const vec<float, 4> slope = prob_four(slopes + (inside ? (size_t)(query + u) * probs.keys + key : 0), inside);
#pragma unroll
        for (int v = 0; v < 4; v++)
            dp[u][v] = slope.v[v] * (dp[u][v] - shift.v[u]);
    }
    tile_store_turned(gradients, dp);
}

template <class T, int G, int VEC>
JSC_KERNEL_BOUNDED(attention_vjp_queries, TILE_THREADS, (G == 1 ? 2 : 1))(const attention_vjp_args a, const attention_probs p)
{
    const int b = (int)blockIdx.x, i0 = p.query0 + (int)blockIdx.y * TILE, group = a.group, pair = p.pair0 + (int)blockIdx.z / group;
    const int s = pair / a.K, g = pair % a.K, n = g * group + (int)blockIdx.z % group, live = a.last ? a.last[b] + 1 : a.T;
    const size_t W = (size_t)(a.H + 2 * a.K) * a.h, row0 = (size_t)s * a.T, out_width = (size_t)a.H * a.h;
    const float *k = a.qkv + row0 * W + (size_t)(a.H + g) * a.h, *v = k + (size_t)a.K * a.h;
    const float *matrix = (const float *)p.by_query + probs_unit(p, (int)blockIdx.z) + p.slope + (size_t)(i0 - p.query0) * p.keys;
    const float *D = a.D + (((size_t)s * a.B + b) * a.H + n) * a.D_ld + i0;
    const T *dout = (const T *)a.dout + ((row0 + i0) * a.B + b) * out_width + (size_t)n * a.h;
    JSC_DYN_SMEM(at);
    float *const left = JSC_PART(at, float, TILE_FLOATS), *const right = JSC_PART(at, float, TILE_FLOATS);
    float *const gradients = JSC_PART(at, float, TILE_FLOATS);
    float dq[G][4][4];
    clear<G>(dq);
    for (int j0 = attention_first_key(i0, a.window) / TILE * TILE; j0 <= i0 && i0 < live; j0 += TILE) {
        float dp[4][4] = {};
        product_over_h<VEC>(dp, left, right, dout, a.B * out_width, a.T - i0, v + (size_t)j0 * W, W, a.T - j0, a.h);
        query_score_gradient(dp, matrix + j0 - p.key0, p, p.keys - (j0 - p.key0), p.queries - (i0 - p.query0), D, gradients);
        product_over_rows<G, VEC>(dq, gradients, right, k + (size_t)j0 * W, W, a.T - j0, a.h);
    }
    T *const out = (T *)a.dqkv + ((row0 + i0) * a.B + b) * W + (size_t)n * a.h;
    write_rows<G, VEC>(out, a.B * W, a.T - i0, a.h, dq, a.scale);
}

/* ---- launches ---------------------------------------------------------------------------------------------------------------------- */

/* A kernel's instances by head size; odd widths and unaligned addresses take the last. */
template <class T>
static cudaError_t launch(const attention_vjp_args &a, const attention_probs &p, bool keys, cudaStream_t stream)
{
    typedef void (*kernel)(attention_vjp_args, attention_probs);
    static const kernel by_key[4] = {attention_vjp_keys<T, 1, 4>, attention_vjp_keys<T, 2, 4>, attention_vjp_keys<T, 4, 4>, attention_vjp_keys<T, 4, 1>};
    static const kernel by_query[4] = {attention_vjp_queries<T, 1, 4>, attention_vjp_queries<T, 2, 4>, attention_vjp_queries<T, 4, 4>,
                                       attention_vjp_queries<T, 4, 1>};
    const uintptr_t floats = (uintptr_t)a.qkv, narrow = (uintptr_t)a.dout | (uintptr_t)a.dqkv;
    const int which = a.h % 4 != 0 || floats % 16 != 0 || narrow % (4 * sizeof(T)) != 0 ? 3 : a.h <= TILE ? 0 : a.h <= 2 * TILE ? 1 : 2;
    const int rows = keys ? p.keys : p.queries;
    const dim3 grid((unsigned)a.B, (unsigned)(rows + TILE - 1) / TILE, (unsigned)(keys ? p.pairs : p.pairs * a.group));
    const size_t smem = (keys ? 4 : 3) * JSC_PART_BYTES(float, TILE_FLOATS);
    return JSC_LAUNCH((keys ? by_key : by_query)[which], grid, TILE_THREADS, smem, stream, a, p);
}

cudaError_t attention_vjp_plain_keys(const attention_vjp_args &a, const attention_probs &p, cudaStream_t stream)
{
    return a.narrow ? launch<bf16>(a, p, true, stream) : launch<float>(a, p, true, stream);
}

cudaError_t attention_vjp_plain_queries(const attention_vjp_args &a, const attention_probs &p, cudaStream_t stream)
{
    return a.narrow ? launch<bf16>(a, p, false, stream) : launch<float>(a, p, false, stream);
}
