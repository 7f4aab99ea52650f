/* test_simt_faults.cpp: planted faults, one a kernel; each must be caught, by a report, a wrong result or the address sanitizer. */
#include "simt_testing.h"

#include <cmath>

#ifdef __SANITIZE_ADDRESS__
static const bool with_asan = true;
#else
static const bool with_asan = false;
#endif

static void quiet()
{
    simt_settings.quiet = true;
}
TestSuite(simt_faults, .init = quiet);

/* ---- races: the result is wrong in every order of threads -------------------------------------------------------------------------- */

JSC_KERNEL(reverse_without_barrier)(float *out, const float *x)
{
    JSC_SHARED(float, tile, 64);
    tile[threadIdx.x] = x[threadIdx.x];
    /* planted: no barrier */
    out[threadIdx.x] = tile[63 - threadIdx.x];
}
JSC_KERNEL(sums_in_one_buffer)(float *out, const float *x, int rows)
{
    JSC_SHARED(float, part, 4);
    for (int r = 0; r < rows; r++) {
        const float sum = block_sum_into<128>(x[r * 128 + (int)threadIdx.x], part); /* planted: overwritten while others still read */
        out[r * 128 + (int)threadIdx.x] = sum;
    }
}
JSC_KERNEL(wait_too_short)(float *out, const float *x)
{
    JSC_SHARED(float, tile, 3 * 128);
    for (int i = 0; i < 3; i++) {
        cp_async_16(tile + i * 128 + 4 * threadIdx.x, x + i * 128 + 4 * threadIdx.x, true);
        cp_async_commit();
    }
    cp_async_wait<1>(); /* planted: the last group is still under way */
    __syncwarp();
    for (int i = 0; i < 3; i++)
        for (int e = 0; e < 4; e++)
            out[i * 128 + 4 * (int)threadIdx.x + e] = tile[i * 128 + 4 * (int)(31 - threadIdx.x) + e];
}
JSC_KERNEL(copies_seen_without_barrier)(float *out, const float *x)
{
    JSC_SHARED(float, tile, 256);
    cp_async_16(tile + 4 * threadIdx.x, x + 4 * threadIdx.x, true);
    cp_async_commit();
    cp_async_wait<0>(); /* only this thread's own copy is there */
    for (int e = 0; e < 4; e++)
        out[4 * (int)threadIdx.x + e] = tile[4 * (int)(63 - threadIdx.x) + e];
}

template <class Launch> static void expect_wrong(const char *what, size_t n, const std::vector<float> &expected, Launch launch)
{
    FOR_EACH_SEED(seed)
    {
        const device_array<float> out(n);
        cr_assert(launch(out.data) == cudaSuccess, "%s: %s", what, simt_message());
        const std::vector<float> got = out.get();
        size_t wrong = 0;
        for (size_t i = 0; i < n; i++)
            wrong += !(got[i] == expected[i]);
        cr_expect(wrong > 0, "%s: not seen with seed %u", what, seed);
    }
}

Test(simt_faults, a_missing_barrier_gives_a_wrong_result)
{
    const std::vector<float> x = whole_floats(384);
    const device_array<float> in(x);
    std::vector<float> expected(64), copied(384), long_copied(256);
    for (size_t i = 0; i < 64; i++)
        expected[i] = x[63 - i];
    expect_wrong("no barrier", 64, expected, [&](float *out) { return JSC_LAUNCH(reverse_without_barrier, 1, 64, 0, 0, out, in.data); });
    for (size_t i = 0; i < 384; i++)
        copied[i] = x[i / 128 * 128 + 4 * (31 - i % 128 / 4) + i % 4];
    expect_wrong("wait one group short", 384, copied, [&](float *out) { return JSC_LAUNCH(wait_too_short, 1, 32, 0, 0, out, in.data); });
    for (size_t i = 0; i < 256; i++)
        long_copied[i] = x[4 * (63 - i / 4) + i % 4];
    expect_wrong("copies of other threads", 256, long_copied,
                 [&](float *out) { return JSC_LAUNCH(copies_seen_without_barrier, 1, 64, 0, 0, out, in.data); });
}

Test(simt_faults, a_single_buffer_of_partial_sums_gives_a_wrong_result)
{
    const std::vector<float> x = whole_floats(8 * 128);
    std::vector<float> expected(8 * 128);
    const device_array<float> in(x);
    for (int r = 0; r < 8; r++) {
        float sum = 0;
        for (int i = 0; i < 128; i++)
            sum += x[r * 128 + i];
        for (int i = 0; i < 128; i++)
            expected[r * 128 + i] = sum;
    }
    expect_wrong("one buffer", 8 * 128, expected,
                 [&](float *out) { return JSC_LAUNCH(sums_in_one_buffer, 1, 128, 0, 0, out, in.data, 8); });
}

/* ---- barriers and warps that do not come together ------------------------------------------------------------------------------------- */

JSC_KERNEL(return_before_barrier)(float *out)
{
    if (threadIdx.x == 7)
        return;
    __syncthreads();
    out[threadIdx.x] = 1;
}
JSC_KERNEL(barrier_in_one_branch)(float *out)
{
    if (threadIdx.x < 32)
        __syncthreads();
    out[threadIdx.x] = 1;
}
JSC_KERNEL(barrier_in_two_branches)(float *out)
{
    if (threadIdx.x < 32)
        __syncthreads();
    else
        __syncthreads();
    out[threadIdx.x] = 1;
}
JSC_KERNEL(warp_operation_in_a_branch)(float *out)
{
    float x = (float)threadIdx.x;
    if (threadIdx.x % 32 < 16)
        x = warp_sum(x);
    out[threadIdx.x] = x;
}
JSC_KERNEL(reads_outside_the_mask)(int *out)
{
    if (threadIdx.x % 32 < 4)
        out[threadIdx.x] = __shfl_xor_sync(0xfu, (int)threadIdx.x, 4);
}
JSC_KERNEL(two_kinds_at_once)(int *out)
{
    if (threadIdx.x % 2)
        out[threadIdx.x] = __shfl_sync(FULL_WARP, 1, 0);
    else
        __syncwarp();
}
JSC_KERNEL(part_of_a_warp)(float *out)
{
    out[threadIdx.x] = warp_sum(1.0f);
}
JSC_KERNEL(named_barrier_of_half_a_warp)(float *out)
{
    named_barrier(1, 16);
    out[threadIdx.x] = 1;
}
JSC_KERNEL(mma_in_a_branch)(float *c)
{
    float sums[4] = {};
    const uint32_t a[4] = {}, b[2] = {};
    if (threadIdx.x != 31)
        mma_m16n8k16(sums, a, b);
    c[threadIdx.x] = sums[0];
}

#define EXPECT_FAULT(kernel, threads, smem, out, word)                                                                                     \
    FOR_EACH_SEED(seed)                                                                                                                    \
    {                                                                                                                                      \
        cr_expect(JSC_LAUNCH(kernel, 2, threads, smem, 0, out) == cudaErrorLaunchFailure, #kernel ", seed %u: the launch must fail",       \
                  seed);                                                                                                                   \
        expect_report(word, #kernel);                                                                                                      \
    }

Test(simt_faults, barriers_that_some_threads_miss)
{
    const device_array<float> out(128);
    EXPECT_FAULT(return_before_barrier, 64, 0, out.data, "63 threads wait at barrier 0, ");
    EXPECT_FAULT(return_before_barrier, 64, 0, out.data, "1 threads have exited");
    EXPECT_FAULT(return_before_barrier, 64, 0, out.data, "test_simt_faults.cpp:");
    EXPECT_FAULT(barrier_in_one_branch, 64, 0, out.data, "deadlock: 32 threads have exited; 32 threads wait at barrier 0");
    EXPECT_FAULT(barrier_in_two_branches, 64, 0, out.data, "the block has split");
    EXPECT_FAULT(named_barrier_of_half_a_warp, 64, 0, out.data, "whole warps");
}
Test(simt_faults, warp_operations_that_some_lanes_miss)
{
    const device_array<float> out(128);
    const device_array<int> whole_out(128);
    EXPECT_FAULT(warp_operation_in_a_branch, 64, 0, out.data, "wait in a warp operation with mask ffffffff");
    EXPECT_FAULT(warp_operation_in_a_branch, 64, 0, out.data, "test_simt_faults.cpp:");
    EXPECT_FAULT(reads_outside_the_mask, 64, 0, whole_out.data, "which is not in the mask 0000000f");
    EXPECT_FAULT(two_kinds_at_once, 64, 0, whole_out.data, "a vote or __syncwarp");
    EXPECT_FAULT(part_of_a_warp, 48, 0, out.data, "in a warp of 16 threads");
    EXPECT_FAULT(mma_in_a_branch, 32, 0, out.data, "wait in a warp operation");
}

/* ---- addresses ---------------------------------------------------------------------------------------------------------------------------- */

JSC_KERNEL(one_past_shared)(float *out)
{
    JSC_SHARED(float, tile, 63);
    JSC_SHARED(float, other, 64);
    tile[threadIdx.x] = 1;
    other[threadIdx.x] = 2;
    __syncthreads();
    out[threadIdx.x] = other[threadIdx.x];
}
JSC_KERNEL(one_past_part)(float *out)
{
    JSC_DYN_SMEM(at);
    float *const first = JSC_PART(at, float, 64), *const second = JSC_PART(at, float, 64);
    first[threadIdx.x + 1] = 1;
    second[threadIdx.x] = 2;
    __syncthreads();
    out[threadIdx.x] = second[threadIdx.x];
}
JSC_KERNEL(one_past_dynamic)(float *out)
{
    JSC_DYN_SMEM(at);
    reinterpret_cast<float *>(at)[threadIdx.x + 1] = 1;
    out[threadIdx.x] = 1;
}
JSC_KERNEL(past_the_allocation)(float *out)
{
    out[threadIdx.x + 1] = 1;
}
JSC_KERNEL(parts_beyond_the_launch)(float *out)
{
    JSC_DYN_SMEM(at);
    float *const first = JSC_PART(at, float, 64), *const second = JSC_PART(at, float, 128);
    out[threadIdx.x] = (float)(second - first);
}
JSC_KERNEL(parts_that_differ)(float *out)
{
    JSC_DYN_SMEM(at);
    float *const first = JSC_PART(at, float, 16 + threadIdx.x / 32);
    out[threadIdx.x] = first[0];
}
JSC_KERNEL(misaligned_vector)(float *out)
{
    store_vec(out, load_vec<4>(out + 1 + threadIdx.x));
}
JSC_KERNEL(misaligned_copy)(float *out)
{
    JSC_SHARED(float, tile, 64);
    cp_async_16(tile + 2, out, true);
    out[threadIdx.x] = tile[0];
}
JSC_KERNEL(copy_to_global)(float *out)
{
    cp_async_16(out, out + 4, true);
    out[threadIdx.x] = 1;
}
JSC_KERNEL(ldmatrix_of_global)(float *out)
{
    uint32_t r[4];
    ldmatrix_x4(r, reinterpret_cast<const bf16 *>(out));
    out[threadIdx.x] = (float)r[0];
}
JSC_KERNEL(traps)(float *out)
{
    if (threadIdx.x == 40)
        __trap();
    out[threadIdx.x] = 1;
}

Test(simt_faults, addresses_that_are_wrong_in_kind)
{
    const device_array<float> out(128);
    EXPECT_FAULT(parts_beyond_the_launch, 64, 512, out.data, "the parts up to here take 768 bytes, the launch gives 512");
    EXPECT_FAULT(parts_that_differ, 64, 512, out.data, "where another thread carved");
    EXPECT_FAULT(misaligned_vector, 64, 0, out.data, "not a multiple of it");
    EXPECT_FAULT(misaligned_copy, 64, 0, out.data, "not a multiple of it");
    EXPECT_FAULT(copy_to_global, 64, 0, out.data, "not in shared memory");
    EXPECT_FAULT(ldmatrix_of_global, 32, 0, out.data, "not in shared memory");
    EXPECT_FAULT(traps, 64, 0, out.data, "thread (40,0,0): __trap()");
}

/* Under the address sanitizer the child dies of its report, else the gaps say it at the end of the block. */
template <class Kernel> static void expect_out_of_bounds(const char *what, Kernel *kernel, size_t smem, const char *without_asan)
{
    FOR_EACH_SEED(seed)
    {
        int status;
        const std::string text = said_by_child(
            [&] {
                simt_settings.quiet = false;
                const device_array<float> out(64);
                JSC_LAUNCH(kernel, 1, 64, smem, 0, out.data);
            },
            &status);
        const char *word = with_asan ? "AddressSanitizer: use-after-poison" : without_asan;
        cr_expect(text.find(word) != std::string::npos, "%s, seed %u: no \"%s\" in \"%s\"", what, seed, word, text.substr(0, 300).c_str());
        if (with_asan)
            cr_expect(text.find("test_simt_faults.cpp:") != std::string::npos, "%s: the report has the line", what);
    }
}
Test(simt_faults, indices_one_past_the_end)
{
    expect_out_of_bounds("shared array", one_past_shared, 0, "written beside the shared array tile");
    expect_out_of_bounds("part", one_past_part, 512, "behind part 1");
    expect_out_of_bounds("dynamic shared memory", one_past_dynamic, 256, "behind its dynamic shared memory of 256 bytes");
}
Test(simt_faults, past_the_end_of_an_allocation)
{
    int status;
    const std::string text = said_by_child(
        [] {
            simt_settings.quiet = false;
            const device_array<float> out(62); /* 248 bytes: slack of 8 */
            JSC_LAUNCH(past_the_allocation, 1, 62, 0, 0, out.data);
        },
        &status);
    const char *word = with_asan ? "AddressSanitizer: use-after-poison" : "behind an allocation of 248 bytes";
    cr_expect(text.find(word) != std::string::npos, "no \"%s\" in \"%s\"", word, text.substr(0, 300).c_str());
    said_by_child(
        [] {
            const device_array<float> out(64); /* 256 bytes: the guard page follows */
            JSC_LAUNCH(past_the_allocation, 1, 64, 0, 0, out.data);
        },
        &status);
    cr_expect(status != 0, "a write into the guard page must be fatal");
}

/* ---- host and device ---------------------------------------------------------------------------------------------------------------------------- */

JSC_KERNEL(fill)(float *out, int n)
{
    if ((int)threadIdx.x < n)
        out[threadIdx.x] = (float)threadIdx.x;
}
struct buried {
    int n;
    float *out;
};
JSC_KERNEL(fill_struct)(struct buried b)
{
    b.out[threadIdx.x] = 1;
}

Test(simt_faults, host_pointers_in_arguments)
{
    static float memory[64]; /* not of the sanitizer's heap, whose addresses look like a small number and padding */
    float *const host = memory;
    cr_expect(JSC_LAUNCH(fill, 1, 64, 0, 0, host, 64) != cudaSuccess, "a host pointer");
    expect_report("argument 1 is", "host pointer");
    cr_expect(JSC_LAUNCH(fill_struct, 1, 64, 0, 0, buried({1, host})) != cudaSuccess, "a host pointer in a struct");
    expect_report("a struct with the host address", "host pointer in a struct");
    cr_expect(JSC_LAUNCH(fill, 1, 64, 0, 0, nullptr, 0) == cudaSuccess, "NULL that is not used: %s", simt_message());
}

Test(simt_faults, host_reads_before_it_synchronises)
{
    simt_settings.lazy = true;
    cudaStream_t stream;
    float *pinned;
    cr_assert(cudaStreamCreate(&stream) == cudaSuccess && cudaMallocHost((void **)&pinned, 64 * sizeof *pinned) == cudaSuccess, "stream");
    {
        const device_array<float> out(64);
        JSC_LAUNCH(fill, 1, 64, 0, stream, out.data, 64);
        cudaMemcpyAsync(pinned, out.data, 64 * sizeof *pinned, cudaMemcpyDeviceToHost, stream);
        cr_expect(std::isnan(pinned[5]), "planted: not there yet");
        cudaStreamSynchronize(stream);
        cr_expect(pinned[5] == 5.0f, "there");
    }
    cudaFreeHost(pinned);
    cudaStreamDestroy(stream);
}

Test(simt_faults, host_touches_device_memory)
{
    int status = 0;
    simt_settings.protect = true;
    said_by_child(
        [] {
            const device_array<float> out(64);
            *const_cast<volatile float *>(out.data) = 1.0f;
        },
        &status);
    cr_expect(status != 0, "planted: the host writes to a device address");
    const device_array<float> out(64);
    cr_expect(JSC_LAUNCH(fill, 1, 64, 0, 0, out.data, 64) == cudaSuccess, "kernels may: %s", simt_message());
    cr_expect(out.get()[9] == 9.0f, "copies may");
}

Test(simt_faults, a_lost_context_stays_lost)
{
    const device_array<float> out(128);
    cr_expect(JSC_LAUNCH(return_before_barrier, 1, 64, 0, 0, out.data) == cudaErrorLaunchFailure, "fails");
    cr_expect(cudaDeviceSynchronize() == cudaErrorLaunchFailure && cudaMemset(out.data, 0, 4) == cudaErrorLaunchFailure,
              "and all that follows");
    simt_reset();
    cr_expect(cudaDeviceSynchronize() == cudaSuccess && cudaGetLastError() == cudaSuccess, "until it is reset");
}
