/* simt_memory.cpp: device and pinned memory: registered, filled with 0xFF, between guard pages; copies and fills checked for direction and range.
 *
 * An allocation ends at a guard page but for the slack up to the next 256 bytes, which is poisoned under the address sanitizer and
 * checked after each kernel otherwise. With SIMT_PROTECT the memory is closed to the host outside kernels and copies. */
#include "simt_engine.h"

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <iterator>
#include <sys/mman.h>
#include <unistd.h>

struct allocation {
    char *map;
    size_t map_bytes, bytes; /* bytes: as asked for */
    bool pinned;
    int device; /* that was current at the allocation */
};

std::recursive_mutex simt_lock;
static std::map<uintptr_t, struct allocation> blocks; /* by start */
static size_t used, most;                             /* of all devices */
static std::map<int, size_t> used_on;                 /* by device */
static int opened;

size_t simt_memory_used(void)
{
    struct simt_guard guard;
    return used;
}
size_t simt_memory_most(void)
{
    struct simt_guard guard;
    const size_t answer = most;
    most = used;
    return answer;
}
size_t simt_allocations(void)
{
    struct simt_guard guard;
    return blocks.size();
}

static size_t page_bytes()
{
    return (size_t)sysconf(_SC_PAGESIZE);
}
static size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

enum simt_space simt_space_of(const void *p, size_t *left)
{
    const uintptr_t at = (uintptr_t)p;
    auto next = blocks.upper_bound(at);
    *left = 0;
    if (next == blocks.begin())
        return SIMT_HOST;
    --next;
    if (at > next->first + next->second.bytes)
        return SIMT_HOST;
    *left = next->first + next->second.bytes - at;
    return next->second.pinned ? SIMT_PINNED : SIMT_DEVICE;
}

int simt_device_of(const void *p)
{
    size_t left;
    return simt_space_of(p, &left) == SIMT_DEVICE ? std::prev(blocks.upper_bound((uintptr_t)p))->second.device : -1;
}

/* ---- closing device memory to the host ------------------------------------------------------------------------------------------ */

static void protect_all(int how)
{
    const size_t page = page_bytes();
    for (const auto &block : blocks)
        if (!block.second.pinned)
            mprotect(block.second.map + page, block.second.map_bytes - 2 * page, how);
}
void simt_memory_open()
{
    if (opened++ == 0 && simt_settings.protect)
        protect_all(PROT_READ | PROT_WRITE);
}
void simt_memory_close()
{
    if (--opened == 0 && simt_settings.protect)
        protect_all(PROT_NONE);
}

/* ---- allocation ------------------------------------------------------------------------------------------------------------------- */

static cudaError_t allocate(void **out, size_t bytes, bool pinned)
{
    *out = nullptr;
    if (bytes == 0)
        return cudaSuccess;
    const int device = simt_device_now();
    if (!pinned && (bytes > simt_settings.memory_limit || used_on[device] > simt_settings.memory_limit - bytes))
        return cudaErrorMemoryAllocation;
    const size_t page = page_bytes(), size = round_up(bytes, 256), map_bytes = round_up(size, page) + 2 * page;
    void *map = mmap(nullptr, map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED)
        return cudaErrorMemoryAllocation;
    char *const first = static_cast<char *>(map), *const start = first + map_bytes - page - size;
    mprotect(first, page, PROT_NONE);
    mprotect(first + map_bytes - page, page, PROT_NONE);
    simt_tsan_ignore(true);
    memset(first + page, 0xFF, map_bytes - 2 * page);
    simt_tsan_ignore(false);
#if SIMT_ASAN
    __asan_poison_memory_region(first + page, (size_t)(start - first) - page);
    __asan_poison_memory_region(start + bytes, size - bytes);
#endif
    blocks[(uintptr_t)start] = {first, map_bytes, bytes, pinned, device};
    if (!pinned)
        used += bytes, used_on[device] += bytes, most = used > most ? used : most;
    if (simt_settings.protect && !pinned && opened == 0)
        mprotect(first + page, map_bytes - 2 * page, PROT_NONE);
    *out = start;
    return cudaSuccess;
}

static cudaError_t release(void *p, bool pinned)
{
    if (!p)
        return cudaSuccess;
    const auto found = blocks.find((uintptr_t)p);
    if (found == blocks.end() || found->second.pinned != pinned)
        return cudaErrorInvalidValue;
    const struct allocation block = found->second;
    blocks.erase(found);
    if (!pinned)
        used -= block.bytes, used_on[block.device] -= block.bytes;
#if SIMT_ASAN
    __asan_unpoison_memory_region(block.map, block.map_bytes);
#endif
    munmap(block.map, block.map_bytes);
    return cudaSuccess;
}

bool simt_memory_slack_clean(const char *kernel)
{
    if (SIMT_ASAN)
        return true;
    for (const auto &block : blocks) {
        const size_t slack = round_up(block.second.bytes, 256) - block.second.bytes;
        const unsigned char *end = reinterpret_cast<const unsigned char *>(block.first) + block.second.bytes;
        for (size_t i = 0; i < slack; i++)
            if (end[i] != 0xFF) {
                simt_record("kernel %s: byte %zu behind an allocation of %zu bytes was written", kernel, i, block.second.bytes);
                return false;
            }
    }
    return true;
}

/* Synchronous calls are refused while this thread records a graph, as in life; others first see all work done. */
static cudaError_t enter_synchronous(const char *function)
{
    cudaError_t error = simt_enter(function);
    if (error == cudaSuccess && simt_capturing_here())
        error = cudaErrorStreamCaptureUnsupported;
    return error == cudaSuccess ? simt_drain(nullptr) : error;
}

extern "C" {

cudaError_t cudaMalloc(void **out, size_t bytes)
{
    struct simt_guard guard;
    const cudaError_t error = simt_capturing_here() ? cudaErrorStreamCaptureUnsupported : simt_enter("cudaMalloc");
    return simt_leave(error == cudaSuccess ? allocate(out, bytes, false) : error);
}
cudaError_t cudaFree(void *p)
{
    struct simt_guard guard;
    if (!p)
        return cudaSuccess;
    if (simt_capturing_here())
        return simt_leave(cudaErrorStreamCaptureUnsupported);
    simt_drain(nullptr); /* as the driver does */
    return simt_leave(release(p, false));
}
cudaError_t cudaMallocHost(void **out, size_t bytes)
{
    struct simt_guard guard;
    const cudaError_t error = simt_enter("cudaMallocHost");
    return simt_leave(error == cudaSuccess ? allocate(out, bytes, true) : error);
}
cudaError_t cudaHostAlloc(void **out, size_t bytes, unsigned)
{
    return cudaMallocHost(out, bytes);
}
cudaError_t cudaFreeHost(void *p)
{
    struct simt_guard guard;
    simt_drain(nullptr);
    return simt_leave(release(p, true));
}
cudaError_t cudaMemGetInfo(size_t *left, size_t *total)
{
    struct simt_guard guard;
    const cudaError_t error = simt_enter("cudaMemGetInfo");
    if (error != cudaSuccess)
        return simt_leave(error);
    *total = simt_settings.memory_limit;
    *left = used_on[simt_device_now()] < *total ? *total - used_on[simt_device_now()] : 0;
    return cudaSuccess;
}

} /* extern "C" */

/* ---- copies ------------------------------------------------------------------------------------------------------------------------- */

/* Both ends must be what kind says, and hold the bytes. */
static cudaError_t check_end(const char *what, const void *p, size_t bytes, bool device)
{
    size_t left;
    const enum simt_space space = simt_space_of(p, &left);
    if ((space == SIMT_DEVICE) != device) {
        simt_record("%s: %p is %s memory", what, p, device ? "no device" : "device");
        return cudaErrorInvalidValue;
    }
    if (space != SIMT_HOST && left < bytes) {
        simt_record("%s: %zu bytes at %p, where an allocation ends after %zu", what, bytes, p, left);
        return cudaErrorInvalidValue;
    }
    return cudaSuccess;
}

static cudaError_t check_copy(void *to, const void *from, size_t bytes, enum cudaMemcpyKind *kind)
{
    size_t left;
    if (*kind == cudaMemcpyDefault) {
        const bool to_device = simt_space_of(to, &left) == SIMT_DEVICE, from_device = simt_space_of(from, &left) == SIMT_DEVICE;
        *kind = to_device ? (from_device ? cudaMemcpyDeviceToDevice : cudaMemcpyHostToDevice)
                          : (from_device ? cudaMemcpyDeviceToHost : cudaMemcpyHostToHost);
    }
    const cudaError_t error = check_end("copy to", to, bytes, *kind == cudaMemcpyHostToDevice || *kind == cudaMemcpyDeviceToDevice);
    return error != cudaSuccess ? error
                                : check_end("copy from", from, bytes, *kind == cudaMemcpyDeviceToHost || *kind == cudaMemcpyDeviceToDevice);
}

static cudaError_t copy_now(void *to, const void *from, size_t bytes)
{
    simt_memory_open();
    simt_tsan_ignore(true);
    memmove(to, from, bytes);
    simt_tsan_ignore(false);
    simt_memory_close();
    return cudaSuccess;
}

/* From pageable memory the driver takes the bytes at the call; to pageable memory it waits. Neither may be recorded in a graph. */
static cudaError_t copy_async(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind, cudaStream_t stream)
{
    size_t left;
    const bool pageable = (kind == cudaMemcpyHostToDevice && simt_space_of(from, &left) == SIMT_HOST) ||
                          (kind == cudaMemcpyDeviceToHost && simt_space_of(to, &left) == SIMT_HOST);
    if (!pageable)
        return simt_submit(stream, [=] { return copy_now(to, from, bytes); });
    if (simt_capturing(stream))
        return cudaErrorStreamCaptureUnsupported;
    if (kind == cudaMemcpyHostToDevice) {
        const char *bytes_of = static_cast<const char *>(from);
        const auto staged = std::make_shared<std::vector<char>>(bytes_of, bytes_of + bytes);
        return simt_submit(stream, [=] { return copy_now(to, staged->data(), bytes); });
    }
    const cudaError_t error = simt_drain(stream);
    return error == cudaSuccess ? copy_now(to, from, bytes) : error;
}

static cudaError_t fill_async(void *to, int value, size_t bytes, cudaStream_t stream)
{
    const cudaError_t error = check_end("fill of", to, bytes, true);
    if (error != cudaSuccess)
        return error;
    return simt_submit(stream, [=] {
        simt_memory_open();
        simt_tsan_ignore(true);
        memset(to, value, bytes);
        simt_tsan_ignore(false);
        simt_memory_close();
        return cudaSuccess;
    });
}

extern "C" {

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind)
{
    struct simt_guard guard;
    cudaError_t error = enter_synchronous("cudaMemcpy");
    if (error == cudaSuccess && bytes > 0)
        error = check_copy(to, from, bytes, &kind);
    return simt_leave(error == cudaSuccess && bytes > 0 ? copy_now(to, from, bytes) : error);
}
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind, cudaStream_t stream)
{
    struct simt_guard guard;
    cudaError_t error = simt_enter("cudaMemcpyAsync");
    if (error == cudaSuccess && bytes > 0)
        error = check_copy(to, from, bytes, &kind);
    return simt_leave(error == cudaSuccess && bytes > 0 ? copy_async(to, from, bytes, kind, stream) : error);
}
cudaError_t cudaMemcpyPeerAsync(void *to, int to_device, const void *from, int from_device, size_t bytes, cudaStream_t stream)
{
    struct simt_guard guard;
    enum cudaMemcpyKind kind = cudaMemcpyDeviceToDevice;
    cudaError_t error = simt_enter("cudaMemcpyPeerAsync");
    if (error == cudaSuccess && bytes > 0)
        error = check_copy(to, from, bytes, &kind);
    if (error == cudaSuccess && bytes > 0 && (simt_device_of(to) != to_device || simt_device_of(from) != from_device)) {
        simt_record("copy between devices: from %d to %d said, memory of %d and %d given", from_device, to_device, simt_device_of(from),
                    simt_device_of(to));
        error = cudaErrorInvalidValue;
    }
    return simt_leave(error == cudaSuccess && bytes > 0 ? copy_async(to, from, bytes, kind, stream) : error);
}
cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width, size_t height,
                              enum cudaMemcpyKind kind, cudaStream_t stream)
{
    struct simt_guard guard;
    cudaError_t error = simt_enter("cudaMemcpy2DAsync");
    if (error == cudaSuccess && (width > to_pitch || width > from_pitch))
        error = cudaErrorInvalidPitchValue;
    for (size_t row = 0; row < height && width > 0 && error == cudaSuccess; row++) {
        char *line = static_cast<char *>(to) + row * to_pitch;
        const char *source = static_cast<const char *>(from) + row * from_pitch;
        error = check_copy(line, source, width, &kind);
        if (error == cudaSuccess)
            error = copy_async(line, source, width, kind, stream);
    }
    return simt_leave(error);
}
cudaError_t cudaMemset(void *to, int value, size_t bytes)
{
    struct simt_guard guard;
    const cudaError_t error = enter_synchronous("cudaMemset");
    return simt_leave(error == cudaSuccess && bytes > 0 ? fill_async(to, value, bytes, nullptr) : error);
}
cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream)
{
    struct simt_guard guard;
    const cudaError_t error = simt_enter("cudaMemsetAsync");
    return simt_leave(error == cudaSuccess && bytes > 0 ? fill_async(to, value, bytes, stream) : error);
}

} /* extern "C" */
