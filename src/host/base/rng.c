/* rng.c: Philox4x32-10 (Salmon et al., SC 2011): a value is a function of (seed, stream, index), so that any order of work and any
 * backend gives the same numbers. */
#include "base_internal.h"

#include <math.h>

void rng_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3], k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = (uint64_t)0xD2511F53U * c0, p1 = (uint64_t)0xCD9E8D57U * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9U;
        k1 += 0xBB67AE85U;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

uint32_t rng_u32(uint64_t seed, uint64_t stream, uint64_t index)
{
    const uint64_t block = index / 4;
    const uint32_t counter[4] = {(uint32_t)block, (uint32_t)(block >> 32), (uint32_t)stream, (uint32_t)(stream >> 32)};
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t out[4];
    rng_philox(counter, key, out);
    return out[index % 4];
}

double rng_unit(uint64_t seed, uint64_t stream, uint64_t index)
{
    const uint64_t high = rng_u32(seed, stream, 2 * index), low = rng_u32(seed, stream, 2 * index + 1);
    return (double)((high << 32 | low) >> 11) * 0x1p-53;
}

double rng_normal(uint64_t seed, uint64_t stream, uint64_t index)
{
    const double u = rng_unit(seed, stream, 2 * index), v = rng_unit(seed, stream, 2 * index + 1);
    return sqrt(-2.0 * log(1.0 - u)) * cos(6.283185307179586 * v);
}

int rng_sign(uint64_t seed, uint64_t stream, uint64_t index)
{
    return (rng_u32(seed, stream, index / 32) >> (index % 32) & 1U) != 0 ? 1 : -1;
}
