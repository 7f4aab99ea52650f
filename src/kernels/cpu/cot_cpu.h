/* cot_cpu.h: rows of cotangents (ROLE_COT) as operations see them: float in strict precision, bfloat16 in memory in fast precision.
 *
 * Arithmetic is float in both. size is the bytes of an element: 4 or 2. In strict precision rows are read and written where they stand;
 * in fast precision they pass through a scratch row of floats, which should fit the first-level cache. */
#ifndef JSC_COT_CPU_H
#define JSC_COT_CPU_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Rows of bf16_value() and bf16_bits(). */
void bf16_widen(const uint16_t *x, size_t n, float *out);
void bf16_round(const float *x, size_t n, uint16_t *out);

static inline const float *cot_read(const void *row, size_t size, size_t n, float *scratch)
{
    if (size == sizeof(float))
        return row;
    bf16_widen(row, n, scratch);
    return scratch;
}

/* Where to write the floats of a row; cot_end puts them in their place. */
static inline float *cot_begin(void *row, size_t size, float *scratch)
{
    return size == sizeof(float) ? row : scratch;
}

static inline void cot_end(void *row, size_t size, size_t n, const float *written)
{
    if (size != sizeof(float))
        bf16_round(written, n, row);
}

/* A copy as floats. */
static inline void cot_load(const void *row, size_t size, size_t n, float *out)
{
    if (size == sizeof(float))
        memcpy(out, row, n * sizeof *out);
    else
        bf16_widen(row, n, out);
}

/* A row that is elsewhere as floats. */
static inline void cot_write(void *row, size_t size, size_t n, const float *x)
{
    if (size == sizeof(float))
        memcpy(row, x, n * sizeof *x);
    else
        bf16_round(x, n, row);
}

#endif
