/* test_simt_races.cpp: races that a lucky order of threads hides: the thread sanitizer names their lines, and is silent on right kernels.
 *
 * Runs in the simt-tsan preset; elsewhere it only checks that the same kernels run. */
#include "simt_testing.h"

#ifdef __SANITIZE_THREAD__
static const bool with_tsan = true;
#else
static const bool with_tsan = false;
#endif

JSC_KERNEL(exchange)(float *out, int with_barrier)
{
    JSC_SHARED(float, tile, 64);
    tile[threadIdx.x] = 1;
    if (with_barrier)
        __syncthreads();
    out[blockIdx.x * blockDim.x + threadIdx.x] = tile[63 - threadIdx.x]; /* planted: without the barrier */
}
/* Two barriers a round; without the second a fast thread writes while others still read. */
JSC_KERNEL(rounds)(float *out, int with_second)
{
    JSC_SHARED(float, tile, 64);
    float sum = 0;
    for (int i = 0; i < 4; i++) {
        tile[threadIdx.x] = (float)i;
        __syncthreads();
        sum += tile[(threadIdx.x + 33) % 64];
        if (with_second)
            __syncthreads();
    }
    out[blockIdx.x * blockDim.x + threadIdx.x] = sum;
}
JSC_KERNEL(blocks_add)(float *out, int atomically)
{
    if (threadIdx.x == 0 && atomically)
        atomicAdd(out, 1.0f);
    else if (threadIdx.x == 0)
        *out += 1.0f;
}
JSC_KERNEL(warp_exchange)(float *out, int with_sync)
{
    JSC_SHARED(float, tile, 32);
    tile[threadIdx.x] = 2;
    if (with_sync)
        __syncwarp();
    out[blockIdx.x * blockDim.x + threadIdx.x] = tile[31 - threadIdx.x];
}
JSC_KERNEL(copy_exchange)(float *out, int with_barrier)
{
    JSC_SHARED(float, tile, 256);
    cp_async_16(tile + 4 * threadIdx.x, out + 4 * threadIdx.x, true);
    cp_async_commit();
    cp_async_wait<0>();
    if (with_barrier)
        __syncthreads();
    const float x = tile[4 * (63 - threadIdx.x)];
    if (x == 12345.0f)
        out[0] = x;
}
JSC_KERNEL(matrix_exchange)(float *out, int with_sync)
{
    JSC_SHARED(bf16, tile, 32 * 8);
    for (int i = 0; i < 8; i++)
        tile[8 * (int)threadIdx.x + i] = bf16_of(1.0f);
    if (with_sync)
        __syncthreads();
    uint32_t r[4];
    ldmatrix_x4(r, tile + 8 * (31 - threadIdx.x));
    out[blockIdx.x * blockDim.x + threadIdx.x] = bf16x2_low(r[0]);
}

/* right: no report; planted: a report with this file. */
static void check(const char *what, void (*kernel)(float *, int), unsigned blocks, unsigned threads)
{
    FOR_EACH_SEED(seed)
    for (int right = 0; right < 2; right++) {
        int status;
        const std::string text = said_by_child(
            [&] {
                const device_array<float> out(std::vector<float>(256));
                if (JSC_LAUNCH(kernel, blocks, threads, 0, 0, out.data, right) != cudaSuccess ||
                    JSC_LAUNCH(kernel, blocks, threads, 0, 0, out.data, right))
                    _exit(3);
            },
            &status);
        const bool reported = text.find("WARNING: ThreadSanitizer: data race") != std::string::npos;
        cr_expect(reported == (with_tsan && !right), "%s, %s, seed %u: %s", what, right ? "right" : "planted", seed,
                  text.substr(0, 600).c_str());
        if (reported)
            cr_expect(text.find("test_simt_races.cpp:") != std::string::npos, "%s: the report has the line", what);
        cr_expect(!WIFEXITED(status) || WEXITSTATUS(status) != 3, "%s: the launch failed", what);
    }
}

Test(simt_races, missing_barriers)
{
    check("no barrier between write and read", exchange, 2, 64);
    check("no barrier between read and write", rounds, 2, 64);
    check("no barrier after an asynchronous copy", copy_exchange, 2, 64);
}
Test(simt_races, missing_warp_synchronisation)
{
    check("no __syncwarp", warp_exchange, 2, 32);
    check("no barrier before ldmatrix", matrix_exchange, 2, 32);
}
Test(simt_races, blocks_that_add_to_one_word)
{
    check("two blocks", blocks_add, 4, 32);
}
