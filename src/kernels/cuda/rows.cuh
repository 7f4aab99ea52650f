/* rows.cuh: rows in pieces of eight elements: loads and stores in vectors or one by one, sums over a row, work dealt to blocks.
 *
 * Thread i of a row's team holds the elements 8 (i + k THREADS) .. + 7 for k = 0, 1, ..., so a row's sums depend on its width, not on the
 * rows beside it or on the launch. */
#ifndef JSC_ROWS_CUH
#define JSC_ROWS_CUH

#include "device.cuh"

#include "cuda_internal.h"

enum { PIECE = 8 };

/* Threads that take a row, or a part of one: a share of a warp, a warp (rows up to WIDTH_OF_WARP) or a block. Of the smaller ones a block
 * holds several. */
#define WIDTH_OF_WARP  1024
#define TEAMS(threads) ((threads) <= 32 ? 128 / (threads) : 1)

/* ---- on the device ----------------------------------------------------------------------------------------------------------- */

/* Elements c .. c+7 of a row of n as they are stored, zeros past its end. VECTOR: n is a multiple of 8 and the row begins at a multiple of
 * 16 bytes. */
template <bool VECTOR>
JSC_DEVICE vec<bf16, PIECE> load_raw(const bf16 *row, int c, int n JSC_SITE)
{
    vec<bf16, PIECE> r = {};
    if constexpr (VECTOR) {
        if (c < n)
            r = load_vec<PIECE>(row + c JSC_AT);
    } else {
#pragma unroll
        for (int i = 0; i < PIECE; i++)
            if (c + i < n)
                r.v[i] = row[c + i];
    }
    return r;
}
template <bool VECTOR>
JSC_DEVICE vec<float, PIECE> load_raw(const float *row, int c, int n JSC_SITE)
{
    vec<float, PIECE> r = {};
    if constexpr (VECTOR) {
        if (c < n) {
            const vec<float, 4> low = load_vec<4>(row + c JSC_AT), high = load_vec<4>(row + c + 4 JSC_AT);
#pragma unroll
            for (int i = 0; i < 4; i++)
                r.v[i] = low.v[i], r.v[4 + i] = high.v[i];
        }
    } else {
#pragma unroll
        for (int i = 0; i < PIECE; i++)
            if (c + i < n)
                r.v[i] = row[c + i];
    }
    return r;
}
template <bool VECTOR, class T>
JSC_DEVICE void load_piece(const T *row, int c, int n, float out[PIECE] JSC_SITE)
{
    vec_to_f32(load_raw<VECTOR>(row, c, n JSC_AT), out);
}

template <bool VECTOR>
JSC_DEVICE void store_piece(bf16 *row, int c, int n, const float x[PIECE] JSC_SITE)
{
    if constexpr (VECTOR) {
        if (c < n)
            store_vec(row + c, vec_of_f32<bf16, PIECE>(x) JSC_AT);
    } else {
#pragma unroll
        for (int i = 0; i < PIECE; i++)
            if (c + i < n)
                row[c + i] = bf16_of(x[i]);
    }
}
template <bool VECTOR>
JSC_DEVICE void store_piece(float *row, int c, int n, const float x[PIECE] JSC_SITE)
{
    if constexpr (VECTOR) {
        if (c < n) {
            store_vec(row + c, vec_of_f32<float, 4>(x) JSC_AT);
            store_vec(row + c + 4, vec_of_f32<float, 4>(x + 4) JSC_AT);
        }
    } else {
#pragma unroll
        for (int i = 0; i < PIECE; i++)
            if (c + i < n)
                row[c + i] = x[i];
    }
}

/* Over a team; the same bits in each of its threads. Where a team is less than a block, every thread of the warp calls it. */
template <int THREADS, class T>
JSC_DEVICE T team_sum(T x JSC_SITE)
{
    if constexpr (THREADS > 32) {
        return block_sum<THREADS>(x JSC_AT);
    } else {
#pragma unroll
        for (int step = THREADS / 2; step > 0; step /= 2)
            x += __shfl_xor_sync(FULL_WARP, x, step, 32 JSC_AT);
        return x;
    }
}

/* Sum over a row of (x - mean), or of its square, in double. */
template <bool VECTOR, int THREADS, bool SQUARE>
JSC_DEVICE double sum_row(const float *x, int thread, int d, double mean)
{
    double sum = 0.0;
    for (int c = PIECE * thread; c < d; c += PIECE * THREADS) {
        float v[PIECE];
        load_piece<VECTOR>(x, c, d, v);
#pragma unroll
        for (int i = 0; i < PIECE; i++) {
            const double e = VECTOR || c + i < d ? (double)v[i] - mean : 0.0;
            sum += SQUARE ? e * e : e;
        }
    }
    return team_sum<THREADS>(sum);
}

/* ---- on the host --------------------------------------------------------------------------------------------------------------- */

/* May rows of n elements that begin at p be read in pieces of vectors? NULL is no obstacle. */
static inline bool in_pieces(size_t n, const void *p)
{
    return n % PIECE == 0 && aligned(p);
}

static inline size_t blocks_of(size_t work, size_t each)
{
    return (work + each - 1) / each;
}

/* Threads of a block that walks a row of n elements in pieces. */
static inline unsigned row_threads(size_t n)
{
    const size_t warps = blocks_of(n, 32 * PIECE);
    return 32 * (unsigned)(warps < 1 ? 1 : warps > 8 ? 8 : warps);
}

/* Into how many shares the rows of each of `groups` groups go, for teams of `threads` that load something once a share: about eight times
 * what the device holds at once, of at least 8 rows; where that is too few to fill it, what fills it, of at least 2 rows. */
static inline int shares_of(const struct jsc_stream *stream, size_t groups, size_t rows, size_t threads)
{
    const size_t full = 2048 * (size_t)cuda_device_of(stream)->multiprocessors / threads;
    const size_t even = blocks_of(8 * full, groups), most = blocks_of(rows, 8), fill = blocks_of(full, groups), all = blocks_of(rows, 2);
    const size_t many = even < most ? even : most, few = fill < all ? fill : all;
    return (int)(many > few ? many : few);
}

#endif
