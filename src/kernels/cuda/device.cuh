/* device.cuh: what every kernel file includes: how kernels are declared and launched, shared memory, sums, vectors, bf16.
 *
 * A .cu file is compiled twice: by nvcc for the device, and by g++ -std=c++17 -DJSC_SIMT against the same CUDA headers for the emulator
 * of tests/simt, where every thread of a block is a fiber and each access, barrier and warp operation is checked (docs/testing.md).
 * A kernel author reads this file and ptx.cuh, which holds all inline assembly.
 *
 *   template <int THREADS>
 *   JSC_KERNEL(scale_rows)(float *x, const float *s, int d)
 *   {
 *       JSC_SHARED(float, part, THREADS / 32);              // part is a pointer: sizeof(part) is not its size
 *       ...
 *   }
 *   extern "C" cudaError_t scale_rows_cuda(float *x, const float *s, int rows, int d, cudaStream_t stream)
 *   {
 *       return JSC_LAUNCH((scale_rows<256>), rows, 256, 0, stream, x, s, d);   // grid, block, bytes of dynamic shared memory, stream
 *   }
 *
 * Rules (tools/check_source.py holds to them): no raw __shared__, no <<<>>>, no asm outside ptx.cuh. Besides:
 *   - a barrier is reached by every thread of the block, or by none: no return before one, none in a branch that splits the block;
 *   - warp operations name all lanes that reach them; use FULL_WARP and blocks of whole warps;
 *   - arguments are passed by value; pointers inside a struct argument must be device addresses too;
 *   - no function-local static data, no global device variables, no printf, no new; assert only for our own bugs;
 *   - usable intrinsics are CUDA's, those listed in tests/simt/simt_intrinsics.h; one that is missing there is one line to add. */
#ifndef JSC_DEVICE_CUH
#define JSC_DEVICE_CUH

#include <cuda_runtime.h>

#include <cuda_bf16.h>

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef JSC_SIMT
#include "simt_device.h"
#endif

/* Where a helper was called, for the emulator's reports: a last parameter and the argument that passes it on; nothing on the device. */
#ifdef JSC_SIMT
#define JSC_SITE , const char *file = __builtin_FILE(), int line = __builtin_LINE()
#define JSC_AT , file, line
#define JSC_BARRIER() __syncthreads(file, line)
#else
#define JSC_SITE
#define JSC_AT
#define JSC_BARRIER() __syncthreads()
#endif

typedef __nv_bfloat16 bf16;

#define FULL_WARP 0xffffffffu

/* ---- kernels and launches -------------------------------------------------------------------------------------------------- */

/* JSC_KERNEL(name)(parameters) { body }; a template line may stand before it. JSC_KERNEL_BOUNDED also promises the compiler at most
 * `threads` threads a block and at least `blocks` blocks an SM (0: no promise). */
#define JSC_KERNEL(name) static __global__ void name
#define JSC_KERNEL_BOUNDED(name, threads, blocks) static __global__ void __launch_bounds__(threads, blocks) name

/* A function that kernels call. */
#define JSC_DEVICE static __device__ __forceinline__
#define JSC_HOST_DEVICE static __host__ __device__ __forceinline__

/* cudaError_t of launching kernel on stream; template names in parentheses: JSC_LAUNCH((norm_vjp<256>), grid, block, smem, stream, ...).
 * Arguments are converted to the kernel's parameter types. Above 48 KB of dynamic shared memory the limit is raised first. */
#define JSC_LAUNCH(kernel, grid, block, smem, stream, ...) jsc_launch(#kernel, kernel, grid, block, smem, stream, ##__VA_ARGS__)

#ifdef JSC_SIMT
template <class... P, class... A>
static inline cudaError_t jsc_launch(const char *name, void (*kernel)(P...), dim3 grid, dim3 block, size_t smem, cudaStream_t stream,
                                     const A &...arguments)
{
    static_assert(sizeof...(P) == sizeof...(A), "a launch gives each parameter one argument");
    return simt_launch_tuple(name, kernel, grid, block, smem, stream, std::tuple<P...>(static_cast<P>(arguments)...));
}
#elif defined(__CUDACC__)
template <class... P, class... A>
static inline cudaError_t jsc_launch(const char *, void (*kernel)(P...), dim3 grid, dim3 block, size_t smem, cudaStream_t stream,
                                     const A &...arguments)
{
    static_assert(sizeof...(P) == sizeof...(A), "a launch gives each parameter one argument");
    if (smem > 48 * 1024) {
        const cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)smem);
        if (error != cudaSuccess)
            return error;
    }
    kernel<<<grid, block, smem, stream>>>(static_cast<P>(arguments)...);
    return cudaGetLastError();
}
#endif

/* ---- shared memory --------------------------------------------------------------------------------------------------------- */

/* JSC_SHARED(T, name, n)      n elements for the block, n a constant; name is a T *
 * JSC_DYN_SMEM(name)          unsigned char *name: the dynamic shared memory that the launch asked for
 * JSC_PART(at, T, n)          T *: the next n elements at `at` (an unsigned char * variable from JSC_DYN_SMEM), which moves past them;
 *                             every thread of the block carves the same parts in the same order. The emulator puts poisoned gaps
 *                             between them and reports parts that need more than the launch gave.
 * JSC_PART_BYTES(T, n)        what that part takes: the launcher adds these up */
#define JSC_PART_BYTES(T, n) (((size_t)(n) * sizeof(T) + 15) / 16 * 16)

#ifdef JSC_SIMT
#define JSC_SHARED(T, name, n)                                                                                                               \
    static const char simt_key_##name = 0;                                                                                                   \
    constexpr size_t simt_count_##name = (n);                                                                                                \
    T *const name = static_cast<T *>(simt_shared(&simt_key_##name, simt_count_##name * sizeof(T), #name, __FILE__, __LINE__))
#define JSC_DYN_SMEM(name) unsigned char *name = simt_dynamic()
#define JSC_PART(at, T, n) static_cast<T *>(simt_part(&(at), (size_t)(n) * sizeof(T), __FILE__, __LINE__))
#else
#define JSC_SHARED(T, name, n) __shared__ __align__(16) T name[n]
#define JSC_DYN_SMEM(name)                                                                                                                   \
    extern __shared__ __align__(128) unsigned char jsc_dynamic_shared[];                                                                     \
    unsigned char *name = jsc_dynamic_shared
#define JSC_PART(at, T, n) jsc_part<T>(at, JSC_PART_BYTES(T, n))
template <class T>
JSC_DEVICE T *jsc_part(unsigned char *&at, size_t bytes)
{
    T *const part = reinterpret_cast<T *>(at);
    at += bytes;
    return part;
}
#endif

/* ---- vectors: up to 16 bytes in one access ----------------------------------------------------------------------------------- */

/* N elements that are loaded and stored at once; N * sizeof(T) is 2, 4, 8 or 16 and addresses are multiples of it (checked in the emulator).
 * N = 1 makes a kernel's scalar form. */
template <class T, int N>
struct alignas(N * sizeof(T)) vec {
    T v[N];
};

template <int BYTES>
struct vec_word;
template <>
struct vec_word<2> {
    typedef unsigned short type;
};
template <>
struct vec_word<4> {
    typedef unsigned type;
};
template <>
struct vec_word<8> {
    typedef unsigned long long type; /* uint2 is stored in two pieces now and then */
};
template <>
struct vec_word<16> {
    typedef uint4 type;
};

#ifdef JSC_SIMT
#define JSC_CHECK_ALIGNED(p, bytes) simt_aligned(p, bytes, file, line)
#define JSC_LOAD_STREAM(p) (*(p))
#define JSC_STORE_STREAM(p, value) (*(p) = (value))
#else
#define JSC_CHECK_ALIGNED(p, bytes) ((void)0)
#define JSC_LOAD_STREAM(p) __ldcs(p)
#define JSC_STORE_STREAM(p, value) __stcs(p, value)
#endif

/* load_vec<8>(p): 8 elements from p, as usual; load_vec_stream: read once, so do not keep it in the caches. */
template <int N, class T>
JSC_DEVICE vec<T, N> load_vec(const T *p JSC_SITE)
{
    typedef typename vec_word<N * sizeof(T)>::type word;
    JSC_CHECK_ALIGNED(p, N * sizeof(T));
    vec<T, N> r;
    *reinterpret_cast<word *>(r.v) = *reinterpret_cast<const word *>(p);
    return r;
}
template <int N, class T>
JSC_DEVICE vec<T, N> load_vec_stream(const T *p JSC_SITE)
{
    typedef typename vec_word<N * sizeof(T)>::type word;
    JSC_CHECK_ALIGNED(p, N * sizeof(T));
    vec<T, N> r;
    *reinterpret_cast<word *>(r.v) = JSC_LOAD_STREAM(reinterpret_cast<const word *>(p));
    return r;
}
template <class T, int N>
JSC_DEVICE void store_vec(T *p, const vec<T, N> &value JSC_SITE)
{
    typedef typename vec_word<N * sizeof(T)>::type word;
    JSC_CHECK_ALIGNED(p, N * sizeof(T));
    *reinterpret_cast<word *>(p) = *reinterpret_cast<const word *>(value.v);
}
template <class T, int N>
JSC_DEVICE void store_vec_stream(T *p, const vec<T, N> &value JSC_SITE)
{
    typedef typename vec_word<N * sizeof(T)>::type word;
    JSC_CHECK_ALIGNED(p, N * sizeof(T));
    JSC_STORE_STREAM(reinterpret_cast<word *>(p), *reinterpret_cast<const word *>(value.v));
}

/* ---- bf16: round to nearest even, NaN stays NaN; the same bits on device and host -------------------------------------------- */

JSC_HOST_DEVICE float f32_of(bf16 x)
{
    return __bfloat162float(x);
}
JSC_HOST_DEVICE float f32_of(float x)
{
    return x;
}
JSC_HOST_DEVICE bf16 bf16_of(float x)
{
    return __float2bfloat16_rn(x);
}

/* x = hi + lo to about 16 bits of mantissa: the two bf16 terms of an operand. */
JSC_HOST_DEVICE void bf16_split(float x, bf16 *hi, bf16 *lo)
{
    *hi = bf16_of(x);
    *lo = bf16_of(x - f32_of(*hi));
}

/* Two bf16 in one register as mma and ldmatrix want them: `low` is the element of the lower index. */
JSC_HOST_DEVICE uint32_t bf16x2_of(float low, float high)
{
    const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    uint32_t bits;
    memcpy(&bits, &pair, sizeof bits);
    return bits;
}
JSC_HOST_DEVICE float bf16x2_low(uint32_t pair)
{
    const uint32_t bits = pair << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
JSC_HOST_DEVICE float bf16x2_high(uint32_t pair)
{
    const uint32_t bits = pair & 0xffff0000u;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Elements of type float or bf16 to and from float, for kernels with a template parameter. */
template <class T>
JSC_HOST_DEVICE T of_f32(float x);
template <>
__host__ __device__ __forceinline__ float of_f32<float>(float x)
{
    return x;
}
template <>
__host__ __device__ __forceinline__ bf16 of_f32<bf16>(float x)
{
    return bf16_of(x);
}
template <class T, int N>
JSC_DEVICE void vec_to_f32(const vec<T, N> &x, float out[N])
{
#pragma unroll
    for (int i = 0; i < N; i++)
        out[i] = f32_of(x.v[i]);
}
template <class T, int N>
JSC_DEVICE vec<T, N> vec_of_f32(const float x[N])
{
    vec<T, N> r;
#pragma unroll
    for (int i = 0; i < N; i++)
        r.v[i] = of_f32<T>(x[i]);
    return r;
}

/* ---- sums in a fixed order --------------------------------------------------------------------------------------------------- */

JSC_DEVICE unsigned lane_id()
{
    return threadIdx.x & 31u; /* blocks are one-dimensional, or their x is a multiple of 32 */
}

struct add_op {
    template <class T>
    static __device__ __forceinline__ T of(T a, T b)
    {
        return a + b;
    }
};
struct max_op {
    template <class T>
    static __device__ __forceinline__ T of(T a, T b)
    {
        return max(a, b);
    }
};

/* Over the 32 lanes, the same bits in each: a butterfly. T: float, double, int, unsigned. */
template <class OP, class T>
JSC_DEVICE T warp_reduce(T x JSC_SITE)
{
#pragma unroll
    for (int step = 16; step > 0; step /= 2)
        x = OP::of(x, __shfl_xor_sync(FULL_WARP, x, step, 32 JSC_AT));
    return x;
}
template <class T>
JSC_DEVICE T warp_sum(T x JSC_SITE)
{
    return warp_reduce<add_op>(x JSC_AT);
}
template <class T>
JSC_DEVICE T warp_max(T x JSC_SITE)
{
    return warp_reduce<max_op>(x JSC_AT);
}

/* Over the block, in warp order, the same bits in every thread, with one barrier. part: THREADS/32 elements of shared memory that no
 * thread still reads: in a loop the caller alternates between two arrays. */
template <class OP, int THREADS, class T>
JSC_DEVICE T block_reduce_into(T x, T *part JSC_SITE)
{
    static_assert(THREADS % 32 == 0 && THREADS <= 1024, "whole warps");
    x = warp_reduce<OP>(x JSC_AT);
    if (THREADS == 32)
        return x;
    if (threadIdx.x % 32 == 0)
        part[threadIdx.x / 32] = x;
    JSC_BARRIER(); /* every warp's part is written */
    T all = part[0];
#pragma unroll
    for (int warp = 1; warp < THREADS / 32; warp++)
        all = OP::of(all, part[warp]);
    return all;
}
template <int THREADS, class T>
JSC_DEVICE T block_sum_into(T x, T *part JSC_SITE)
{
    return block_reduce_into<add_op, THREADS>(x, part JSC_AT);
}
template <int THREADS, class T>
JSC_DEVICE T block_max_into(T x, T *part JSC_SITE)
{
    return block_reduce_into<max_op, THREADS>(x, part JSC_AT);
}

/* The same with shared memory of its own and two barriers: may be called any number of times. The block is one-dimensional. */
template <class OP, int THREADS, class T>
JSC_DEVICE T block_reduce(T x JSC_SITE)
{
    JSC_SHARED(T, part, (THREADS + 31) / 32);
    if (THREADS > 32)
        JSC_BARRIER(); /* readers of the call before are done */
    return block_reduce_into<OP, THREADS>(x, part JSC_AT);
}
template <int THREADS, class T>
JSC_DEVICE T block_sum(T x JSC_SITE)
{
    return block_reduce<add_op, THREADS>(x JSC_AT);
}
template <int THREADS, class T>
JSC_DEVICE T block_max(T x JSC_SITE)
{
    return block_reduce<max_op, THREADS>(x JSC_AT);
}

#endif
