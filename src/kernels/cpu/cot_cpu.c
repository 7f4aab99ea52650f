/* cot_cpu.c: bfloat16 to float and back, whole rows at a time. */
#include "cot_cpu.h"
#include "cpu_internal.h"

CPU_CLONES void bf16_widen(const uint16_t *x, size_t n, float *out)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        out[i] = bf16_value(x[i]);
}

CPU_CLONES void bf16_round(const float *x, size_t n, uint16_t *out)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        out[i] = bf16_bits(x[i]);
}
