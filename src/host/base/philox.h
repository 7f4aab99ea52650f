/* philox.h: Philox4x32-10 (Salmon et al., SC 2011) for host and device: a value is a function of (seed, stream, index), so that any order
 * of work and any backend gives the same numbers. */
#ifndef JSC_PHILOX_H
#define JSC_PHILOX_H

#include <stdint.h>

#ifdef __CUDACC__
#define JSC_PHILOX static __host__ __device__ __forceinline__
#else
#define JSC_PHILOX static inline
#endif

/* counter becomes the block's four words. */
JSC_PHILOX void philox_rounds(uint32_t counter[4], uint32_t k0, uint32_t k1)
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = (uint64_t)0xD2511F53U * c0, p1 = (uint64_t)0xCD9E8D57U * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9U;
        k1 += 0xBB67AE85U;
    }
    counter[0] = c0, counter[1] = c1, counter[2] = c2, counter[3] = c3;
}

/* rng_u32() of base_internal.h */
JSC_PHILOX uint32_t philox_u32(uint64_t seed, uint64_t stream, uint64_t index)
{
    const uint64_t block = index / 4;
    const int word = (int)(index % 4);
    uint32_t c[4] = {(uint32_t)block, (uint32_t)(block >> 32), (uint32_t)stream, (uint32_t)(stream >> 32)};
    philox_rounds(c, (uint32_t)seed, (uint32_t)(seed >> 32));
    return word == 0 ? c[0] : word == 1 ? c[1] : word == 2 ? c[2] : c[3]; /* an index would put c into a device's local memory */
}

/* Is the sign of (seed, stream, index) positive? */
JSC_PHILOX int philox_positive(uint64_t seed, uint64_t stream, uint64_t index)
{
    return (int)(philox_u32(seed, stream, index / 32) >> (index % 32) & 1U);
}

#endif
