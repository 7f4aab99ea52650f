/* simt_intrinsics.h: CUDA's device intrinsics that g++ lacks, for the emulator. A missing one is a line to add here.
 * Included by simt_device.h only, after CUDA's headers and the engine's declarations. */
#ifndef SIMT_INTRINSICS_H
#define SIMT_INTRINSICS_H

#include <cmath>
#include <cstring>
#include <type_traits>

#define SIMT_INLINE static inline __attribute__((unused))
#define SIMT_SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()

/* ---- barriers and warp operations ------------------------------------------------------------------------------------------ */

SIMT_INLINE void __syncthreads(SIMT_SITE)
{
    simt_barrier(0, 0, file, line);
}
SIMT_INLINE int __syncthreads_count(int predicate, SIMT_SITE)
{
    return simt_barrier_count(predicate != 0, file, line);
}
SIMT_INLINE int __syncthreads_or(int predicate, SIMT_SITE)
{
    return simt_barrier_count(predicate != 0, file, line) > 0;
}
SIMT_INLINE int __syncthreads_and(int predicate, SIMT_SITE)
{
    return simt_barrier_count(predicate == 0, file, line) == 0;
}
SIMT_INLINE void __syncwarp(unsigned mask = 0xffffffffu, SIMT_SITE)
{
    simt_ballot(mask, false, file, line);
}
SIMT_INLINE unsigned __ballot_sync(unsigned mask, int predicate, SIMT_SITE)
{
    return simt_ballot(mask, predicate != 0, file, line);
}
SIMT_INLINE int __any_sync(unsigned mask, int predicate, SIMT_SITE)
{
    return simt_ballot(mask, predicate != 0, file, line) != 0;
}
SIMT_INLINE int __all_sync(unsigned mask, int predicate, SIMT_SITE)
{
    return simt_ballot(mask, predicate == 0, file, line) == 0;
}

/* The value of lane `source` of this lane's warp. */
template <class T>
static inline T simt_shuffle_value(unsigned mask, T value, unsigned source, const char *file, int line)
{
    static_assert(sizeof(T) <= 8 && std::is_trivially_copyable<T>::value, "shuffles move at most 8 bytes");
    unsigned long long bits = 0;
    memcpy(&bits, &value, sizeof value);
    bits = simt_shuffle(mask, bits, source, file, line);
    memcpy(&value, &bits, sizeof value);
    return value;
}
template <class T>
static inline T __shfl_sync(unsigned mask, T value, int lane, int width = 32, SIMT_SITE)
{
    const unsigned self = simt_lane_of_warp(), first = self & ~(unsigned)(width - 1);
    return simt_shuffle_value(mask, value, first + ((unsigned)lane & (unsigned)(width - 1)), file, line);
}
template <class T>
static inline T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32, SIMT_SITE)
{
    const unsigned self = simt_lane_of_warp(), last = self | (unsigned)(width - 1), source = self ^ (unsigned)bits;
    return simt_shuffle_value(mask, value, source > last ? self : source, file, line);
}
template <class T>
static inline T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, SIMT_SITE)
{
    const unsigned self = simt_lane_of_warp(), first = self & ~(unsigned)(width - 1);
    return simt_shuffle_value(mask, value, self < first + delta ? self : self - delta, file, line);
}
template <class T>
static inline T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, SIMT_SITE)
{
    const unsigned self = simt_lane_of_warp(), last = self | (unsigned)(width - 1);
    return simt_shuffle_value(mask, value, self + delta > last ? self : self + delta, file, line);
}

/* ---- memory ------------------------------------------------------------------------------------------------------------------ */

template <class T>
static inline T __ldg(const T *p)
{
    return *p;
}
template <class T>
static inline T __ldcs(const T *p)
{
    return *p;
}
template <class T>
static inline T __ldcg(const T *p)
{
    return *p;
}
template <class T>
static inline void __stcs(T *p, T value)
{
    *p = value;
}
SIMT_INLINE void __threadfence() {}
SIMT_INLINE void __threadfence_block() {}
SIMT_INLINE void __nanosleep(unsigned) {}

/* Atomics are the compiler's, so that the thread sanitizer knows them. */
template <class T>
static inline T simt_atomic_update(T *p, T (*change)(T, T), T value)
{
    T old, changed;
    __atomic_load(p, &old, __ATOMIC_RELAXED);
    do
        changed = change(old, value);
    while (!__atomic_compare_exchange(p, &old, &changed, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return old;
}
template <class T>
static inline T atomicAdd(T *p, T value)
{
    return simt_atomic_update<T>(p, [](T a, T b) { return (T)(a + b); }, value);
}
template <class T>
static inline T atomicMax(T *p, T value)
{
    return simt_atomic_update<T>(p, [](T a, T b) { return a > b ? a : b; }, value);
}
template <class T>
static inline T atomicMin(T *p, T value)
{
    return simt_atomic_update<T>(p, [](T a, T b) { return a < b ? a : b; }, value);
}
template <class T>
static inline T atomicExch(T *p, T value)
{
    return simt_atomic_update<T>(p, [](T, T b) { return b; }, value);
}

/* ---- arithmetic ---------------------------------------------------------------------------------------------------------------- */

template <class A, class B>
static inline typename std::common_type<A, B>::type min(A a, B b)
{
    typedef typename std::common_type<A, B>::type T;
    if constexpr (std::is_floating_point<T>::value)
        return std::fmin((T)a, (T)b); /* a NaN loses, as on the device */
    else
        return (T)b < (T)a ? (T)b : (T)a;
}
template <class A, class B>
static inline typename std::common_type<A, B>::type max(A a, B b)
{
    typedef typename std::common_type<A, B>::type T;
    if constexpr (std::is_floating_point<T>::value)
        return std::fmax((T)a, (T)b);
    else
        return (T)a < (T)b ? (T)b : (T)a;
}

SIMT_INLINE int __clz(int x)
{
    return x ? __builtin_clz((unsigned)x) : 32;
}
SIMT_INLINE int __popc(unsigned x)
{
    return __builtin_popcount(x);
}
SIMT_INLINE int __popcll(unsigned long long x)
{
    return __builtin_popcountll(x);
}
SIMT_INLINE int __ffs(int x)
{
    return __builtin_ffs(x);
}
SIMT_INLINE unsigned __umulhi(unsigned a, unsigned b)
{
    return (unsigned)((unsigned long long)a * b >> 32);
}
template <class To, class From>
static inline To simt_bits(From x)
{
    static_assert(sizeof(To) == sizeof(From), "same size");
    To y;
    memcpy(&y, &x, sizeof y);
    return y;
}
SIMT_INLINE unsigned __float_as_uint(float x)
{
    return simt_bits<unsigned>(x);
}
SIMT_INLINE int __float_as_int(float x)
{
    return simt_bits<int>(x);
}
SIMT_INLINE float __uint_as_float(unsigned x)
{
    return simt_bits<float>(x);
}
SIMT_INLINE float __int_as_float(int x)
{
    return simt_bits<float>(x);
}
SIMT_INLINE long long __double_as_longlong(double x)
{
    return simt_bits<long long>(x);
}
SIMT_INLINE double __longlong_as_double(long long x)
{
    return simt_bits<double>(x);
}

SIMT_INLINE float __fmaf_rn(float a, float b, float c)
{
    return std::fma(a, b, c);
}
SIMT_INLINE double __fma_rn(double a, double b, double c)
{
    return std::fma(a, b, c);
}
SIMT_INLINE float __fadd_rn(float a, float b)
{
    return a + b;
}
SIMT_INLINE float __fsub_rn(float a, float b)
{
    return a - b;
}
SIMT_INLINE float __fmul_rn(float a, float b)
{
    return a * b;
}
SIMT_INLINE float __fdiv_rn(float a, float b)
{
    return a / b;
}
SIMT_INLINE float __fdividef(float a, float b)
{
    return a / b;
}
SIMT_INLINE float __frcp_rn(float a)
{
    return 1.0f / a;
}
SIMT_INLINE float __fsqrt_rn(float a)
{
    return std::sqrt(a);
}
SIMT_INLINE double __dadd_rn(double a, double b)
{
    return a + b;
}
SIMT_INLINE double __dmul_rn(double a, double b)
{
    return a * b;
}
SIMT_INLINE float rsqrtf(float x)
{
    return 1.0f / std::sqrt(x);
}
SIMT_INLINE double rsqrt(double x)
{
    return 1.0 / std::sqrt(x);
}
SIMT_INLINE float __saturatef(float x)
{
    return x < 0.0f ? 0.0f : x > 1.0f ? 1.0f : x;
}

/* Fast forms. Macros, since the C library uses these names itself: as a function __expf does not compile and __tanhf does not link. */
#define __expf(x) expf(x)
#define __exp10f(x) powf(10.0f, x)
#define __logf(x) logf(x)
#define __log2f(x) log2f(x)
#define __tanhf(x) tanhf(x)
#define __sinf(x) sinf(x)
#define __cosf(x) cosf(x)
#define __powf(x, y) powf(x, y)

#endif
