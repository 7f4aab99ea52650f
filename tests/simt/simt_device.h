/* simt_device.h: the emulator as device code sees it: what device.cuh and ptx.cuh turn into when g++ compiles them with -DJSC_SIMT.
 *
 * A thread of a block is a fiber (a "lane"). Everything here is called on a lane and may switch to other lanes; a detected fault keeps
 * the first message (simt_message() of simt.h) and leaves the lane for good. The functions are in simt_block.cpp, simt_warp.cpp,
 * simt_shared.cpp and simt_launch.cpp. Memory that the hardware would touch is read and written here, in code that the sanitizers see. */
#ifndef SIMT_DEVICE_H
#define SIMT_DEVICE_H

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <tuple>
#include <type_traits>

/* CUDA's own macros that the headers leave undefined for g++. */
#ifndef __launch_bounds__
#define __launch_bounds__(...)
#endif
#ifndef __noinline__
#define __noinline__ __attribute__((noinline))
#endif

struct simt_ids {
    uint3 thread, block;
    dim3 block_size, grid_size;
};
extern __thread const struct simt_ids *simt_cur; /* the lane that runs */

#define threadIdx (simt_cur->thread)
#define blockIdx (simt_cur->block)
#define blockDim (simt_cur->block_size)
#define gridDim (simt_cur->grid_size)
static constexpr int warpSize __attribute__((unused)) = 32;

/* ---- the block -------------------------------------------------------------------------------------------------------------- */

#define SIMT_AT const char *file = __builtin_FILE(), int line = __builtin_LINE()

/* Waits for `threads` threads of the block at barrier id; threads 0: all. */
void simt_barrier(int id, unsigned threads, SIMT_AT);
/* Barrier 0 that counts the threads with a true predicate. */
int simt_barrier_count(bool predicate, SIMT_AT);

/* The block's array of key, made at the first call: bytes of 0xFF with poisoned gaps on both sides. */
void *simt_shared(const void *key, size_t bytes, const char *name, const char *file, int line);
unsigned char *simt_dynamic();
void *simt_part(unsigned char **at, size_t bytes, const char *file, int line);

/* Fault of the running lane, with the message; never returns. */
[[noreturn]] void simt_fault(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));

static inline void simt_aligned(const void *p, size_t bytes, SIMT_AT)
{
    if ((uintptr_t)p % bytes)
        simt_fault(file, line, "an access of %zu bytes at an address that is not a multiple of it (%p)", bytes, p);
}

/* ---- the warp --------------------------------------------------------------------------------------------------------------- */

unsigned simt_lane_of_warp();
unsigned long long simt_shuffle(unsigned mask, unsigned long long bits, unsigned source, const char *file, int line);
unsigned simt_ballot(unsigned mask, bool predicate, const char *file, int line);
void simt_mma(float c[4], const uint32_t a[4], const uint32_t b[2], SIMT_AT);
void simt_ldmatrix_rows(uint32_t r[4], const void *address, const uint4 *row, bool transposed, const char *file, int line);

static inline void simt_ldmatrix(uint32_t r[4], const void *address, bool transposed, SIMT_AT)
{
    simt_aligned(address, 16, file, line);
    const uint4 row = *static_cast<const uint4 *>(address);
    simt_ldmatrix_rows(r, address, &row, transposed, file, line);
}

/* ---- asynchronous copies: queued, done at the last moment that the kernel's waits allow; until then the target holds NaN -------- */

struct simt_copy {
    void *shared;
    const void *global; /* NULL: zeros */
};
void simt_copy_begin(void *shared, const void *global, const char *file, int line);
void simt_copy_commit();
bool simt_copy_next(int newest_kept, struct simt_copy *copy); /* false: nothing is left to do */

static inline void simt_cp_async(void *shared, const void *global, bool valid, SIMT_AT)
{
    simt_aligned(shared, 16, file, line);
    simt_aligned(global, 16, file, line);
    simt_copy_begin(shared, valid ? global : nullptr, file, line);
    *static_cast<uint4 *>(shared) = make_uint4(~0u, ~0u, ~0u, ~0u);
}
static inline void simt_cp_async_commit()
{
    simt_copy_commit();
}
static inline void simt_cp_async_wait(int newest_kept)
{
    struct simt_copy copy;
    while (simt_copy_next(newest_kept, &copy))
        *static_cast<uint4 *>(copy.shared) = copy.global ? *static_cast<const uint4 *>(copy.global) : make_uint4(0, 0, 0, 0);
}

/* ---- launches --------------------------------------------------------------------------------------------------------------- */

/* A kernel with its arguments; run() is called once per thread of the grid, and again at each replay of a graph. */
struct simt_call {
    virtual ~simt_call() {}
    virtual void run() const = 0;
};
template <class... P>
struct simt_call_of : simt_call {
    void (*kernel)(P...);
    std::tuple<P...> arguments;
    simt_call_of(void (*k)(P...), const std::tuple<P...> &a) : kernel(k), arguments(a) {}
    void run() const override { std::apply(kernel, arguments); }
};

/* Argument `index` of the launch must be a device or pinned address, or NULL; false: a fault was recorded. */
bool simt_check_pointer(const char *kernel, int index, const void *p);
/* The same for each aligned word of a struct that looks like an address. */
bool simt_check_struct(const char *kernel, int index, const void *bytes, size_t size);

template <class T>
static inline bool simt_check_argument(const char *kernel, int index, const T &value)
{
    if constexpr (std::is_pointer<T>::value)
        return simt_check_pointer(kernel, index, value);
    else if constexpr (std::is_class<T>::value)
        return simt_check_struct(kernel, index, &value, sizeof value);
    else
        return true;
}

/* Queues the call on the stream (or runs it at once, see simt.h); launch limits are checked as the driver does. */
cudaError_t simt_launch(const char *name, dim3 grid, dim3 block, size_t smem, cudaStream_t stream, std::shared_ptr<const simt_call> call);

template <class... P>
static inline cudaError_t simt_launch_tuple(const char *name, void (*kernel)(P...), dim3 grid, dim3 block, size_t smem, cudaStream_t stream,
                                            const std::tuple<P...> &arguments)
{
    int index = 0;
    const bool fine = std::apply([&](const auto &...a) { return (simt_check_argument(name, ++index, a) && ...); }, arguments);
    if (!fine)
        return cudaErrorInvalidValue;
    return simt_launch(name, grid, block, smem, stream, std::make_shared<simt_call_of<P...>>(kernel, arguments));
}

#define __trap() simt_fault(__FILE__, __LINE__, "__trap(): code that this target cannot run")

#include "simt_intrinsics.h"

#endif
