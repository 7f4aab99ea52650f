/* attention_mma.cuh: strips of 16 on tensor cores: what the short and the long form of attention's VJP share. Layouts: ptx.cuh.
 *
 * Rows in shared memory are h + 8 bf16 apart, which keeps ldmatrix free of bank conflicts for every h that is a multiple of 16.
 * TERMS: bf16 terms of q, k, v and P (x = hi + lo); dO has one, dS is rounded to one. Measured on the emulator against float64, root mean square of
 * the error over that of the result, the same for every form, T and h: dq, dk 4.4e-3 with one term, 2.3e-3 with two; dv 2.3e-3 and 1.66e-3,
 * of which storing the result as bf16 is 1.65e-3. Two terms take twice the products with them.
 */
#ifndef JSC_ATTENTION_MMA_CUH
#define JSC_ATTENTION_MMA_CUH

#include "attention_vjp.cuh"
#include "ptx.cuh"

JSC_DEVICE int mma_group()
{
    return (int)lane_id() / 4;
}
JSC_DEVICE int mma_pair()
{
    return (int)lane_id() % 4 * 2;
}

/* Rows [count] of h elements into a tile in the background; rows from `rows` on are zeros. x: row 0 */
template <int h, int THREADS>
JSC_DEVICE void fetch_rows(bf16 *tile, const bf16 *x, size_t stride, int rows, int count)
{
#pragma unroll 1 /* for the registers of what goes on meanwhile */
    for (int i = (int)threadIdx.x; i < count * (h / 8); i += THREADS) {
        const int r = i / (h / 8), c = i % (h / 8) * 8;
        cp_async_16(tile + r * (h + 8) + c, x + (r < rows ? (size_t)r * stride + c : 0), r < rows);
    }
}

/* A fragments of 16 rows straight from global memory: element (g, pair) and its neighbours; rows from `rows` on are zeros. */
template <int h>
JSC_DEVICE void load_strip(uint32_t a[h / 16][4], const bf16 *x, size_t stride, int rows)
{
#pragma unroll
    for (int k = 0; k < h / 16; k++)
#pragma unroll
        for (int r = 0; r < 4; r++) {
            const int row = mma_group() + 8 * (r & 1), column = 16 * k + mma_pair() + 8 * (r >> 1);
            a[k][r] = row < rows ? *(const uint32_t *)(x + (size_t)row * stride + column) : 0u;
        }
}

/* Four pairs of a 16 x 16 tile of a matrix in global memory, as an A fragment. */
JSC_DEVICE void load_fragment(uint32_t a[4], const bf16 *x, int ld)
{
#pragma unroll
    for (int r = 0; r < 4; r++)
        a[r] = *(const uint32_t *)(x + (size_t)(mma_group() + 8 * (r & 1)) * ld + mma_pair() + 8 * (r >> 1));
}

/* The lane's row of the 16 x 16 matrix at p for ldmatrix, as ptx.cuh lists them. */
JSC_DEVICE const bf16 *rows_of_a(const bf16 *p, int ld) /* A, or B from [k][n] transposed */
{
    return p + ((int)lane_id() % 16) * ld + (int)lane_id() / 16 * 8;
}
JSC_DEVICE const bf16 *rows_of_b(const bf16 *p, int ld) /* B from [n][k], or A from [k][m] transposed */
{
    return p + ((int)lane_id() % 8 + (int)lane_id() / 16 * 8) * ld + (int)lane_id() / 8 % 2 * 8;
}

/* c[2] (16 x 16) += one term of the strip's row operand (A fragments over h) times rows^T of the tile [16][h]. */
template <int h>
JSC_DEVICE void product_over_h(float c[2][4], const uint32_t a[h / 16][4], const bf16 *tile)
{
#pragma unroll
    for (int k = 0; k < h / 16; k++) {
        uint32_t b[4];
        ldmatrix_x4(b, rows_of_b(tile + 16 * k, h + 8));
        mma_m16n8k16(c[0], a[k], b);
        mma_m16n8k16(c[1], a[k], b + 2);
    }
}
/* The same with the A operand's rows in shared memory. */
template <int h>
JSC_DEVICE void product_over_h(float c[2][4], const bf16 *rows, const bf16 *tile)
{
#pragma unroll
    for (int k = 0; k < h / 16; k++) {
        uint32_t a[4], b[4];
        ldmatrix_x4(a, rows_of_a(rows + 16 * k, h + 8));
        ldmatrix_x4(b, rows_of_b(tile + 16 * k, h + 8));
        mma_m16n8k16(c[0], a, b);
        mma_m16n8k16(c[1], a, b + 2);
    }
}

/* c (16 x COLUMNS) += a (16 x 16) times rows [16] of the tile, whose rows are h + 8 apart. */
template <int h, int COLUMNS>
JSC_DEVICE void product_over_rows(float c[COLUMNS / 8][4], const uint32_t a[4], const bf16 *tile)
{
#pragma unroll
    for (int n = 0; n < COLUMNS / 16; n++) {
        uint32_t b[4];
        ldmatrix_x4_trans(b, rows_of_a(tile + 16 * n, h + 8));
        mma_m16n8k16(c[2 * n], a, b);
        mma_m16n8k16(c[2 * n + 1], a, b + 2);
    }
}

template <int N>
JSC_DEVICE void clear(float c[N][4])
{
#pragma unroll
    for (int e = 0; e < 4 * N; e++)
        c[e / 4][e % 4] = 0.0f;
}

/* Rows 0 .. 15 below `rows` of an output, COLUMNS wide. */
template <int COLUMNS>
JSC_DEVICE void write_strip(bf16 *x, size_t stride, int rows, const float c[COLUMNS / 8][4], float scale)
{
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const int row = mma_group() + 8 * half;
        if (row >= rows)
            continue;
#pragma unroll
        for (int n = 0; n < COLUMNS / 8; n++)
            *(uint32_t *)(x + (size_t)row * stride + 8 * n + mma_pair()) = bf16x2_of(c[n][2 * half] * scale, c[n][2 * half + 1] * scale);
    }
}

/* One head's P at a tile of 16 x 16, [row][column] with columns contiguous. */
struct prob_tile {
    const bf16 *p; /* first term */
    size_t term, slope;
    int ld;
};
/* P as A fragments in its terms, and the matrix that multiplies dP - D, the slope's (P without a cap); packed, for registers' sake. */
template <int TERMS>
struct prob_fragments {
    uint32_t p[TERMS][4], slope[TERMS][4];
};
template <int TERMS>
JSC_DEVICE prob_fragments<TERMS> load_probs(const prob_tile &t)
{
    prob_fragments<TERMS> f;
#pragma unroll
    for (int term = 0; term < TERMS; term++) {
        load_fragment(f.p[term], t.p + term * t.term, t.ld);
        if (t.slope > 0) {
            load_fragment(f.slope[term], t.p + t.slope + term * t.term, t.ld);
        } else {
#pragma unroll
            for (int r = 0; r < 4; r++)
                f.slope[term][r] = f.p[term][r];
        }
    }
    return f;
}

/* dS of fragment register r, packed: slope o (dP - D) for its two elements. */
template <int TERMS>
JSC_DEVICE uint32_t score_gradient(const prob_fragments<TERMS> &f, int r, const float dp[2], float low_D, float high_D)
{
    float low = bf16x2_low(f.slope[0][r]), high = bf16x2_high(f.slope[0][r]);
    if (TERMS == 2)
        low += bf16x2_low(f.slope[TERMS - 1][r]), high += bf16x2_high(f.slope[TERMS - 1][r]);
    return bf16x2_of(low * (dp[0] - low_D), high * (dp[1] - high_D));
}

/* Columns of dk and dv of a strip of keys. */
template <int COLUMNS>
struct key_sums {
    float dk[COLUMNS / 8][4], dv[COLUMNS / 8][4];
};

/* 16 keys by 16 queries: dS^T = slope o (dP^T - D), packed as an A fragment; dv += P^T dO; dk += dS^T q.
 * dp: dP^T; dout, q: the 16 queries' rows in shared memory from the first of the columns, in tiles of h and of COLUMNS columns; q's second term is
 * q_term elements further; D: of these queries, shared */
template <int h, int COLUMNS, int TERMS>
JSC_DEVICE void pull_keys(key_sums<COLUMNS> &sums, uint32_t ds[4], const float dp[2][4], const prob_fragments<TERMS> &f, const bf16 *dout,
                          const bf16 *q, int q_term, const float *D)
{
#pragma unroll
    for (int r = 0; r < 4; r++) {
        const float *shift = D + 8 * (r >> 1) + mma_pair();
        ds[r] = score_gradient<TERMS>(f, r, dp[r >> 1] + 2 * (r & 1), shift[0], shift[1]);
    }
#pragma unroll
    for (int term = 0; term < TERMS; term++) {
        product_over_rows<h, COLUMNS>(sums.dv, f.p[term], dout);
        product_over_rows<COLUMNS, COLUMNS>(sums.dk, ds, q + term * q_term);
    }
}

#endif
