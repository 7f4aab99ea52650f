/* simt_launch.cpp: a kernel launch: limits that the driver would refuse, host pointers among the arguments, then block after block. */
#include "simt_engine.h"

#include <algorithm>
#include <cstdio>
#include <cstdint>
#include <cstring>
#include <sys/mman.h>
#include <unistd.h>

static unsigned long long launches;

unsigned long long simt_launches(void)
{
    return launches;
}

bool simt_check_pointer(const char *kernel, int index, const void *p)
{
    struct simt_guard guard;
    size_t left;
    if (!p)
        return true;
    if (simt_space_of(p, &left) != SIMT_HOST) {
        const int device = simt_device_of(p);
        if (device < 0 || device == simt_device_now())
            return true;
        simt_record("kernel %s: argument %d is memory of device %d, the launch is on device %d", kernel, index, device, simt_device_now());
        return false;
    }
    simt_record("kernel %s: argument %d is %p, which is no address of device memory", kernel, index, p);
    return false;
}

/* An aligned word that is the address of mapped memory of the host is taken for a pointer. Below 2^44 no programs' memory lies but ASan's
 * shadow, and two small numbers side by side would pass for addresses of it. Nor is a small number an address whose padding, the other half
 * of the word, was left over from one. */
bool simt_check_struct(const char *kernel, int index, const void *bytes, size_t size)
{
    struct simt_guard guard;
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    if (simt_with_tsan) /* which has memory at nearly every address: a number beside padding would be one */
        return true;
    for (size_t at = 0; at + sizeof(void *) <= size; at += sizeof(void *)) {
        uintptr_t word;
        size_t left;
        unsigned char resident;
        memcpy(&word, static_cast<const char *>(bytes) + at, sizeof word);
        if (word >> 44 == 0 || word >> 47 || (uint32_t)word < 0x10000 || simt_space_of(reinterpret_cast<void *>(word), &left) != SIMT_HOST)
            continue;
        if (mincore(reinterpret_cast<void *>(word / page * page), page, &resident) != 0)
            continue;
        simt_record("kernel %s: argument %d is a struct with the host address %p at byte %zu", kernel, index,
                    reinterpret_cast<void *>(word), at);
        return false;
    }
    return true;
}

static cudaError_t check_limits(const char *name, dim3 grid, dim3 block, size_t smem)
{
    const size_t threads = (size_t)block.x * block.y * block.z;
    const bool grid_fits = grid.x && grid.y && grid.z && grid.x <= 0x7fffffffu && grid.y <= 65535 && grid.z <= 65535;
    const bool block_fits = threads > 0 && threads <= 1024 && block.x <= 1024 && block.y <= 1024 && block.z <= 64;
    if (grid_fits && block_fits && smem <= simt_settings.shared_limit)
        return cudaSuccess;
    if (!simt_settings.quiet)
        fprintf(stderr, "simt: kernel %s cannot be launched: grid (%u,%u,%u), block (%u,%u,%u), %zu bytes of shared memory\n", name, grid.x,
                grid.y, grid.z, block.x, block.y, block.z, smem);
    return smem > simt_settings.shared_limit ? cudaErrorInvalidValue : cudaErrorInvalidConfiguration;
}

/* Blocks ascend; with a seed their order is random. */
static std::vector<size_t> block_order(size_t n)
{
    std::vector<size_t> order(n);
    for (size_t i = 0; i < n; i++)
        order[i] = i;
    unsigned long long random = simt_settings.seed * 0x9E3779B97F4A7C15ull | 1;
    for (size_t i = n; i > 1 && simt_settings.seed; i--) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        std::swap(order[i - 1], order[random % i]);
    }
    return order;
}

static cudaError_t run_grid(const char *name, dim3 grid, dim3 size, size_t smem, const struct simt_call *call)
{
    static thread_local struct simt_block block; /* keeps its arena and its lanes */
    block.call = call;
    block.kernel = name;
    block.smem = smem;
    launches++;
    simt_memory_open();
    simt_grid_begin();
    bool fine = true;
    for (const size_t i : block_order((size_t)grid.x * grid.y * grid.z)) {
        const uint3 index = make_uint3((unsigned)(i % grid.x), (unsigned)(i / grid.x % grid.y), (unsigned)(i / grid.x / grid.y));
        fine = simt_block_run(&block, index, grid, size);
        if (!fine)
            break;
    }
    simt_grid_end();
    fine = fine && simt_memory_slack_clean(name);
    simt_memory_close();
    return fine ? cudaSuccess : cudaErrorLaunchFailure;
}

cudaError_t simt_launch(const char *name, dim3 grid, dim3 block, size_t smem, cudaStream_t stream, std::shared_ptr<const simt_call> call)
{
    struct simt_guard guard;
    cudaError_t error = simt_enter(name);
    if (error == cudaSuccess)
        error = check_limits(name, grid, block, smem);
    if (error == cudaSuccess && stream && simt_stream_device(stream) != simt_device_now())
        error = cudaErrorInvalidResourceHandle;
    if (error == cudaSuccess)
        error = simt_submit(stream, [=] { return run_grid(name, grid, block, smem, call.get()); });
    return simt_leave(error);
}
