/* cot_cpu.c: bfloat16 to float and back, whole rows at a time. */
#include "cot_cpu.h"
#include "cpu_internal.h"

CPU_CLONES void bf16_widen(const uint16_t *x, size_t n, float *out)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        const uint32_t bits = (uint32_t)x[i] << 16;
        memcpy(out + i, &bits, sizeof bits);
    }
}

CPU_CLONES void bf16_round(const float *x, size_t n, uint16_t *out)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        const uint32_t even = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16, quiet = bits >> 16 | 0x40u;
        out[i] = (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? quiet : even);
    }
}
