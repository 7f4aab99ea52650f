/* rng.c: random numbers of all kinds from Philox (philox.h). */
#include "base_internal.h"
#include "philox.h"

#include <math.h>

void rng_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    for (int i = 0; i < 4; i++)
        out[i] = counter[i];
    philox_rounds(out, key[0], key[1]);
}

uint32_t rng_u32(uint64_t seed, uint64_t stream, uint64_t index)
{
    return philox_u32(seed, stream, index);
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
    return philox_positive(seed, stream, index) ? 1 : -1;
}
