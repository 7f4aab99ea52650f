/* attention_tile.cuh: products of 64 x 64 tiles in fp32 on CUDA cores: what attention, its probabilities and the plain form of its VJP share.
 *
 * A tile in shared memory is [k][64] floats with rows of TILE_LD, so that a product reads both operands along k:
 *   acc[u][v] += sum_k a[k][4 ty + u] b[k][4 tx + v],   thread = 16 ty + tx
 * 8 floats are read (two of 16 bytes) per 16 multiply-adds. k runs upwards, in one chain or in chains of CHAIN that are then added: a sum has the
 * same bits wherever it is made. */
#ifndef JSC_ATTENTION_TILE_CUH
#define JSC_ATTENTION_TILE_CUH

#include "device.cuh"

enum { TILE = 64, TILE_LD = 68, TILE_THREADS = 256, TILE_FLOATS = TILE * TILE_LD, CHAIN = 16 };

JSC_DEVICE int tile_ty()
{
    return (int)threadIdx.x / 16;
}
JSC_DEVICE int tile_tx()
{
    return (int)threadIdx.x % 16;
}

/* Vectors of a thread that are loaded before the first is stored: that many loads are in flight. */
enum { TILE_BATCH = 4 };
/* Offsets below are unsigned: signed ones cost the plain VJP for h <= 64 the registers that it then spills. */

/* tile[c][r] = x[r][c] for r < 64 and c < 64; 0 outside rows and cols. VEC 4: x is aligned to four elements, cols a multiple of 4; a warp
 * reads 16 rows of two neighbouring vectors (whole sectors of fp32) and stores without bank conflicts: these are 4 TILE_LD = 16 banks apart. */
template <int VEC, class T>
JSC_DEVICE void tile_load_turned(float *tile, const T *x, size_t stride, int rows, int cols)
{
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32;
    const int r0 = VEC == 4 ? lane % 16 + warp % 4 * 16 : (int)threadIdx.x / TILE;
    const int c0 = VEC == 4 ? 4 * (lane / 16 + warp / 4 * 2) : (int)threadIdx.x % TILE;
    constexpr int ROW_STEP = VEC == 4 ? 0 : TILE_THREADS / TILE, COLUMN_STEP = VEC == 4 ? 16 : 0;
#pragma unroll 1
    for (int i = 0; i < TILE * TILE / VEC / TILE_THREADS; i += TILE_BATCH) {
        vec<T, VEC> v[TILE_BATCH];
        const T *from = x + (size_t)(unsigned)(r0 + i * ROW_STEP) * stride + (unsigned)(c0 + i * COLUMN_STEP);
#pragma unroll
        for (int e = 0; e < TILE_BATCH; e++, from += ROW_STEP * stride + COLUMN_STEP) {
            v[e] = {};
            if (r0 + (i + e) * ROW_STEP < rows && c0 + (i + e) * COLUMN_STEP < cols)
                v[e] = load_vec<VEC>(from);
        }
#pragma unroll
        for (int e = 0; e < TILE_BATCH; e++)
#pragma unroll
            for (int u = 0; u < VEC; u++)
                tile[(c0 + (i + e) * COLUMN_STEP + u) * TILE_LD + r0 + (i + e) * ROW_STEP] = f32_of(v[e].v[u]);
    }
}

/* tile[r][c] = x[r][c] for r < 64 and c < 64; 0 outside rows and cols. */
template <int VEC, class T>
JSC_DEVICE void tile_load(float *tile, const T *x, size_t stride, int rows, int cols)
{
    constexpr int ACROSS = TILE / VEC, ROW_STEP = TILE_THREADS / ACROSS;
    const int r0 = (int)threadIdx.x / ACROSS, c = (int)threadIdx.x % ACROSS * VEC;
#pragma unroll 1
    for (int i = 0; i < TILE; i += TILE_BATCH * ROW_STEP) {
        vec<T, VEC> v[TILE_BATCH];
        const T *from = x + (size_t)(unsigned)(r0 + i) * stride + (unsigned)c;
#pragma unroll
        for (int e = 0; e < TILE_BATCH; e++, from += ROW_STEP * stride) {
            v[e] = {};
            if (r0 + i + e * ROW_STEP < rows && c < cols)
                v[e] = load_vec<VEC>(from);
        }
#pragma unroll
        for (int e = 0; e < TILE_BATCH; e++) {
            vec<float, VEC> out;
            vec_to_f32(v[e], out.v);
            store_vec(tile + (r0 + i + e * ROW_STEP) * TILE_LD + c, out);
        }
    }
}

/* a, b: tile + 4 ty, tile + 4 tx (whichever operand this thread's rows and columns are) */
JSC_DEVICE void tile_product(float acc[4][4], const float *a, const float *b, int k)
{
#pragma unroll 2
    for (int i = 0; i < k; i++) {
        const vec<float, 4> x = load_vec<4>(a + i * TILE_LD), y = load_vec<4>(b + i * TILE_LD);
#pragma unroll
        for (int u = 0; u < 4; u++)
#pragma unroll
            for (int v = 0; v < 4; v++)
                acc[u][v] += x.v[u] * y.v[v];
    }
}

/* The same in chains of CHAIN, for dot products over h, which exp and differences make grow (one chain of h = 200: 2.2e-6 of the largest dq,
 * where plain loops with four chains had 8e-7). */
JSC_DEVICE void tile_dot_product(float acc[4][4], const float *a, const float *b, int k)
{
    for (int i = 0; i < k; i += CHAIN) {
        float part[4][4] = {};
        tile_product(part, a + i * TILE_LD, b + i * TILE_LD, min((int)CHAIN, k - i));
#pragma unroll
        for (int e = 0; e < 16; e++)
            acc[e / 4][e % 4] += part[e / 4][e % 4];
    }
}

/* tile[4 tx + v][4 ty + u] = x[u][v]: an operand of the next product, its k along this one's columns */
JSC_DEVICE void tile_store_turned(float *tile, const float x[4][4])
{
#pragma unroll
    for (int v = 0; v < 4; v++) {
        const vec<float, 4> column = {{x[0][v], x[1][v], x[2][v], x[3][v]}};
        store_vec(tile + (4 * tile_tx() + v) * TILE_LD + 4 * tile_ty(), column);
    }
}

/* Row `row` of an output, columns c .. c+3 below h, from four floats. */
template <int VEC, class T>
JSC_DEVICE void tile_write(T *row, int c, int h, const float x[4])
{
    if (VEC == 4) {
        if (c < h)
            store_vec(row + c, vec_of_f32<T, 4>(x));
    } else {
#pragma unroll
        for (int v = 0; v < 4; v++)
            if (c + v < h)
                row[c + v] = of_f32<T>(x[v]);
    }
}

/* Query i sees key j. */
JSC_DEVICE bool attention_visible(int i, int j, int window)
{
    return j <= i && (window <= 0 || j > i - window);
}
/* First key that query i sees. */
JSC_HOST_DEVICE int attention_first_key(int i, int window)
{
    return window > 0 && i - window + 1 > 0 ? i - window + 1 : 0;
}
/* One past the last query of `end` that sees key j. */
JSC_HOST_DEVICE int attention_end_query(int j, int window, int end)
{
    return window > 0 && end - j > window ? j + window : end;
}

/* The score of a dot product: scaled and soft-capped. Products that the caller's difference does not absorb (score - lse in one fma): every
 * kernel makes the same score of the same dot product. */
JSC_DEVICE float attention_score(float dot, float scale, float cap)
{
    const float s = __fmul_rn(scale, dot);
    return cap > 0.0f ? __fmul_rn(cap, tanhf(s / cap)) : s;
}

#endif
