/* test_simt_kernels.cpp: correct kernels on the emulator give what plain loops give, in every order of threads. */
#include "simt_testing.h"

#include <cmath>

/* ---- sums ------------------------------------------------------------------------------------------------------------------------ */

template <int THREADS, class T> JSC_KERNEL(sum_rows)(T *out, const float *x, int d)
{
    T sum = 0, most = (T)-1e30f;
    for (int i = (int)threadIdx.x; i < d; i += THREADS) {
        sum += x[(size_t)blockIdx.x * d + i];
        most = max(most, (T)x[(size_t)blockIdx.x * d + i]);
    }
    sum = block_sum<THREADS>(sum);
    const T twice = block_sum<THREADS>(sum); /* the same array again */
    most = block_max<THREADS>(most);
    if (threadIdx.x == THREADS - 1) {
        out[3 * blockIdx.x] = sum;
        out[3 * blockIdx.x + 1] = twice;
        out[3 * blockIdx.x + 2] = most;
    }
}

template <int THREADS, class T> static void check_sum_rows(int rows, int d)
{
    const std::vector<float> x = whole_floats((size_t)rows * d);
    FOR_EACH_SEED(seed)
    {
        const device_array<float> in(x);
        const device_array<T> out(3 * (size_t)rows);
        cr_assert(JSC_LAUNCH((sum_rows<THREADS, T>), rows, THREADS, 0, 0, out.data, in.data, d) == cudaSuccess, "%s", simt_message());
        const std::vector<T> got = out.get();
        for (int r = 0; r < rows; r++) {
            T sum = 0, most = -100;
            for (int i = 0; i < d; i++) {
                sum += x[(size_t)r * d + i];
                most = x[(size_t)r * d + i] > most ? x[(size_t)r * d + i] : most;
            }
            cr_expect(got[3 * r] == sum && got[3 * r + 1] == sum * THREADS && got[3 * r + 2] == most, "%d threads, d = %d, row %d, seed %u",
                      THREADS, d, r, seed);
        }
    }
}
Test(simt_kernels, block_sums_and_maxima)
{
    check_sum_rows<32, float>(3, 77);
    check_sum_rows<64, double>(2, 64);
    check_sum_rows<256, float>(4, 1000);
    check_sum_rows<1024, float>(1, 33);
}

JSC_KERNEL(sum_double_buffered)(float *out, const float *x, int rows)
{
    JSC_SHARED(float, part, 2 * 4);
    for (int r = 0; r < rows; r++) {
        const float sum = block_sum_into<128>(x[r * 128 + (int)threadIdx.x], part + r % 2 * 4);
        if (threadIdx.x == 5)
            out[r] = sum;
    }
}
Test(simt_kernels, one_barrier_sums_alternate_their_arrays)
{
    const std::vector<float> x = whole_floats(6 * 128);
    FOR_EACH_SEED(seed)
    {
        const device_array<float> in(x), out(6);
        cr_assert(JSC_LAUNCH(sum_double_buffered, 1, 128, 0, 0, out.data, in.data, 6) == cudaSuccess, "%s", simt_message());
        const std::vector<float> got = out.get();
        for (int r = 0; r < 6; r++) {
            float sum = 0;
            for (int i = 0; i < 128; i++)
                sum += x[r * 128 + i];
            cr_expect(got[r] == sum, "row %d, seed %u: %g, not %g", r, seed, (double)got[r], (double)sum);
        }
    }
}

/* ---- shared memory and vectors ----------------------------------------------------------------------------------------------------- */

JSC_KERNEL(transpose)(float *out, const float *x, int rows, int columns)
{
    JSC_SHARED(float, tile, 32 * 33);
    const int c = (int)(blockIdx.x * 32 + threadIdx.x), r0 = (int)(blockIdx.y * 32), r1 = (int)(blockIdx.y * 32 + threadIdx.x);
    for (int i = (int)threadIdx.y; i < 32; i += 8)
        if (r0 + i < rows && c < columns)
            tile[i * 33 + (int)threadIdx.x] = x[(size_t)(r0 + i) * columns + c];
    __syncthreads();
    for (int i = (int)threadIdx.y; i < 32; i += 8)
        if (r1 < rows && (int)(blockIdx.x * 32) + i < columns)
            out[(size_t)(blockIdx.x * 32 + i) * rows + r1] = tile[(int)threadIdx.x * 33 + i];
}
Test(simt_kernels, transpose_through_shared_memory)
{
    const int rows = 70, columns = 45;
    const std::vector<float> x = whole_floats((size_t)rows * columns);
    FOR_EACH_SEED(seed)
    {
        const device_array<float> in(x), out(x.size());
        cr_assert(JSC_LAUNCH(transpose, dim3(2, 3), dim3(32, 8), 0, 0, out.data, in.data, rows, columns) == cudaSuccess, "%s",
                  simt_message());
        const std::vector<float> got = out.get();
        for (int r = 0; r < rows; r++)
            for (int c = 0; c < columns; c++)
                cr_assert(got[c * rows + r] == x[r * columns + c], "(%d, %d), seed %u", r, c, seed);
    }
}

JSC_KERNEL(parts_and_vectors)(float *out, const bf16 *x)
{
    JSC_DYN_SMEM(at);
    bf16 *const narrow = JSC_PART(at, bf16, 64 * 8 + 4);
    float *const wide = JSC_PART(at, float, 64 * 8);
    store_vec(narrow + 8 * threadIdx.x, load_vec<8>(x + 8 * threadIdx.x));
    __syncthreads();
    float f[8];
    vec_to_f32(load_vec<8>(narrow + 8 * (63 - threadIdx.x)), f);
    const vec<bf16, 8> rounded = vec_of_f32<bf16, 8>(f);
    for (int i = 0; i < 8; i++)
        wide[8 * (int)threadIdx.x + i] = 2 * f32_of(rounded.v[i]);
    store_vec_stream(out + 8 * threadIdx.x, load_vec<4>(wide + 8 * threadIdx.x));
    store_vec(out + 8 * threadIdx.x + 4, load_vec_stream<4>(wide + 8 * threadIdx.x + 4));
}
Test(simt_kernels, parts_of_dynamic_memory_and_vectors)
{
    const std::vector<bf16> x = whole_bf16(64 * 8);
    const device_array<bf16> in(x);
    const device_array<float> out(64 * 8);
    const size_t smem = JSC_PART_BYTES(bf16, 64 * 8 + 4) + JSC_PART_BYTES(float, 64 * 8);
    cr_assert(JSC_LAUNCH(parts_and_vectors, 1, 64, smem, 0, out.data, in.data) == cudaSuccess, "%s", simt_message());
    const std::vector<float> got = out.get();
    for (int t = 0; t < 64; t++)
        for (int i = 0; i < 8; i++)
            cr_expect(got[8 * t + i] == 2 * f32_of(x[8 * (63 - t) + i]), "thread %d, element %d", t, i);
}

/* ---- warps --------------------------------------------------------------------------------------------------------------------------- */

JSC_KERNEL(shuffles)(int *out)
{
    const int lane = (int)lane_id(), value = 100 + lane;
    int *const mine = out + 8 * lane;
    mine[0] = __shfl_sync(FULL_WARP, value, 3);
    mine[1] = __shfl_sync(FULL_WARP, value, 1, 8);
    mine[2] = __shfl_up_sync(FULL_WARP, value, 2);
    mine[3] = __shfl_down_sync(FULL_WARP, value, 2, 16);
    mine[4] = __shfl_xor_sync(FULL_WARP, value, 5);
    mine[5] = (int)__ballot_sync(FULL_WARP, lane % 3 == 0);
    mine[6] = __any_sync(FULL_WARP, lane == 9) + 2 * __all_sync(FULL_WARP, lane < 32) + 4 * __all_sync(FULL_WARP, lane < 31);
    if (lane < 8) /* part of the warp, named in the mask */
        mine[7] = __shfl_xor_sync(0xffu, value, 1);
    else
        mine[7] = -1;
    __syncwarp();
}
Test(simt_kernels, shuffles_and_votes)
{
    FOR_EACH_SEED(seed)
    {
        const device_array<int> out(8 * 32);
        cr_assert(JSC_LAUNCH(shuffles, 1, 32, 0, 0, out.data) == cudaSuccess, "%s", simt_message());
        const std::vector<int> got = out.get();
        for (int l = 0; l < 32; l++) {
            const int expected[8] = {
                103, 100 + l / 8 * 8 + 1,       100 + (l < 2 ? l : l - 2), 100 + (l % 16 > 13 ? l : l + 2), 100 + (l ^ 5), 0x49249249,
                3,   l < 8 ? 100 + (l ^ 1) : -1};
            for (int i = 0; i < 8; i++)
                cr_expect(got[8 * l + i] == expected[i], "lane %d, operation %d, seed %u: %d, not %d", l, i, seed, got[8 * l + i],
                          expected[i]);
        }
    }
}

/* ---- tensor cores ---------------------------------------------------------------------------------------------------------------------- */

/* C [16][16] = A [16][K] B, B as [16 n][K] (ldmatrix) or [K][16 n] (ldmatrix.trans); tiles come by cp.async, two stages. */
template <bool N_CONTIGUOUS> JSC_KERNEL(product)(float *c, const bf16 *a, const bf16 *b, int K)
{
    JSC_SHARED(bf16, a_tile, 2 * 16 * 24);
    JSC_SHARED(bf16, b_tile, 2 * 16 * 24);
    const int lane = (int)threadIdx.x, row = lane / 2, column = lane % 2 * 8;
    float left[4] = {}, right[4] = {};
    auto fetch = [&](int k0, int stage) {
        const bool valid = k0 < K;
        cp_async_16(a_tile + (stage * 16 + row) * 24 + column, valid ? a + row * K + k0 + column : a, valid);
        const bf16 *const from = N_CONTIGUOUS ? b + (k0 + row) * 16 + column : b + row * K + k0 + column;
        cp_async_16(b_tile + (stage * 16 + row) * 24 + column, valid ? from : b, valid);
        cp_async_commit();
    };
    fetch(0, 0);
    for (int k0 = 0, stage = 0; k0 < K; k0 += 16, stage ^= 1) {
        fetch(k0 + 16, stage ^ 1); /* the last one fetches zeros */
        cp_async_wait<1>();
        __syncwarp(); /* every lane's copies are seen */
        uint32_t fa[4], fb[4];
        const bf16 *const at = a_tile + stage * 16 * 24, *const bt = b_tile + stage * 16 * 24;
        ldmatrix_x4(fa, at + lane % 16 * 24 + lane / 16 * 8);
        if (N_CONTIGUOUS)
            ldmatrix_x4_trans(fb, bt + lane % 16 * 24 + lane / 16 * 8);
        else
            ldmatrix_x4(fb, bt + (lane % 8 + lane / 16 * 8) * 24 + lane / 8 % 2 * 8);
        mma_m16n8k16(left, fa, fb);
        mma_m16n8k16(right, fa, fb + 2);
        __syncwarp(); /* all have read the stage before it is filled again */
    }
    cp_async_wait<0>();
    for (int i = 0; i < 4; i++) {
        const int r = lane / 4 + i / 2 * 8, n = lane % 4 * 2 + i % 2;
        c[r * 16 + n] = left[i];
        c[r * 16 + 8 + n] = right[i];
    }
}
template <bool N_CONTIGUOUS> static void check_product(int K)
{
    const std::vector<bf16> a = whole_bf16(16 * (size_t)K), b = whole_bf16(16 * (size_t)K, 999);
    FOR_EACH_SEED(seed)
    {
        const device_array<bf16> da(a), db(b);
        const device_array<float> dc(256);
        cr_assert(JSC_LAUNCH((product<N_CONTIGUOUS>), 1, 32, 0, 0, dc.data, da.data, db.data, K) == cudaSuccess, "%s", simt_message());
        const std::vector<float> c = dc.get();
        for (int r = 0; r < 16; r++)
            for (int n = 0; n < 16; n++) {
                float sum = 0;
                for (int k = 0; k < K; k++)
                    sum += f32_of(a[r * K + k]) * f32_of(N_CONTIGUOUS ? b[k * 16 + n] : b[n * K + k]);
                cr_assert(c[r * 16 + n] == sum, "K = %d, (%d, %d), seed %u: %g, not %g", K, r, n, seed, (double)c[r * 16 + n], (double)sum);
            }
    }
}
Test(simt_kernels, mma_with_ldmatrix_and_cp_async_is_the_plain_product)
{
    check_product<false>(16);
    check_product<false>(80);
    check_product<true>(16);
    check_product<true>(64);
}

/* ---- named barriers: a producer warp and a consumer warp, two slots ------------------------------------------------------------------------ */

JSC_KERNEL(hand_over)(int *out, int rounds)
{
    JSC_SHARED(int, slot, 2 * 32);
    const int warp = (int)threadIdx.x / 32, lane = (int)lane_id();
    for (int i = 0; i < rounds; i++) {
        if (warp == 0)
            slot[i % 2 * 32 + lane] = 1000 * i + lane;
        named_barrier(1 + i % 2, 64); /* the slot is full; the barrier of the slot after next waits for its reader */
        if (warp == 1)
            out[i * 32 + lane] = slot[i % 2 * 32 + 31 - lane];
    }
}
Test(simt_kernels, named_barriers_hand_over_between_warps)
{
    FOR_EACH_SEED(seed)
    {
        const device_array<int> out(6 * 32);
        cr_assert(JSC_LAUNCH(hand_over, 1, 96 - 32, 0, 0, out.data, 6) == cudaSuccess, "%s", simt_message());
        const std::vector<int> got = out.get();
        for (int i = 0; i < 6 * 32; i++)
            cr_expect(got[i] == i / 32 * 1000 + 31 - i % 32, "element %d, seed %u: %d", i, seed, got[i]);
    }
}

/* ---- bf16 and small things ------------------------------------------------------------------------------------------------------------------ */

JSC_KERNEL(round_trip)(uint32_t *out, const float *x)
{
    bf16 hi, lo;
    bf16_split(x[threadIdx.x], &hi, &lo);
    const uint32_t pair = bf16x2_of(x[threadIdx.x], f32_of(lo));
    out[2 * threadIdx.x] = pair;
    out[2 * threadIdx.x + 1] = __float_as_uint(bf16x2_low(pair) + bf16x2_high(pair));
}
Test(simt_kernels, bf16_rounds_to_nearest_even_as_integers_do)
{
    std::vector<float> x = {0.0f, -0.0f, 1.0f, 1.00390625f, 1.01171875f, 3.3895314e38f, INFINITY, -INFINITY, 1e-40f, NAN};
    while (x.size() < 256)
        x.push_back(__uint_as_float((uint32_t)x.size() * 0x01030507u));
    const device_array<float> in(x);
    const device_array<uint32_t> out(2 * x.size());
    cr_assert(JSC_LAUNCH(round_trip, 1, 256, 0, 0, out.data, in.data) == cudaSuccess, "%s", simt_message());
    const std::vector<uint32_t> got = out.get();
    for (size_t i = 0; i < x.size(); i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], 4);
        const uint32_t expected = std::isnan(x[i]) ? 0x7fff : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
        cr_expect((got[2 * i] & 0xffff) == expected, "%g: %04x, not %04x", (double)x[i], got[2 * i] & 0xffff, expected);
        if (std::isfinite(x[i]) && std::fabs(x[i]) < 1e38f)
            cr_expect(std::fabs(__uint_as_float(got[2 * i + 1]) - x[i]) <= std::fabs(x[i]) * 1.6e-5f + 1e-40f, "two terms of %g",
                      (double)x[i]);
    }
}

struct sizes {
    int n;
    float *out; /* a device address inside a struct is fine */
};
JSC_KERNEL(grid_of_three)(struct sizes s, float factor)
{
    const size_t i = ((size_t)blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    const size_t at = i * blockDim.x * blockDim.y + threadIdx.y * blockDim.x + threadIdx.x;
    if (at < (size_t)s.n)
        s.out[at] = factor * (float)at;
}
Test(simt_kernels, grids_of_three_dimensions_and_struct_arguments)
{
    FOR_EACH_SEED(seed)
    {
        const device_array<float> out(2 * 3 * 2 * 16 * 2);
        cr_assert(JSC_LAUNCH(grid_of_three, dim3(2, 3, 2), dim3(16, 2), 0, 0, sizes({(int)out.n, out.data}), 2) == cudaSuccess, "%s",
                  simt_message());
        const std::vector<float> got = out.get();
        for (size_t i = 0; i < got.size(); i++)
            cr_expect(got[i] == 2.0f * (float)i, "element %zu, seed %u", i, seed);
    }
}
