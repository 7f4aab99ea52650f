/* attention_parts_cpu.h: what attention and its VJP share: packed keys and values of one head, and rows of scores. */
#ifndef JSC_ATTENTION_PARTS_CPU_H
#define JSC_ATTENTION_PARTS_CPU_H

#include "cpu_internal.h"

/* Columns of skipped keys are whole multiples of this, a multiple of both sides of a register tile. */
#define KEY_STEP (3 * TILE_COLS)

/* out [n][width] = x [n][cols] at a stride, the rest of a row 0 */
void rows_pack(const float *x, size_t n, size_t cols, size_t stride, size_t width, float *out);
/* out [cols][width] = the same turned; columns n .. width-1 are 0 */
void rows_turn(const float *x, size_t n, size_t cols, size_t stride, size_t width, float *out);

/* First key that query i sees. */
static inline size_t first_key(size_t i, int window)
{
    return window > 0 && i + 1 > (size_t)window ? i + 1 - (size_t)window : 0;
}

/* One row of scores s[from .. to-1], already q . k: scales, caps and turns it into exp(s - lse) with lse its log-sum; returns lse. */
double softmax_row(float *s, size_t from, size_t to, double scale, double cap);
/* The same with a known lse, made to sum to 1 exactly: an lse rounded to float is off by 1e-6. slope receives p (1 - (s/cap)^2), or p. */
void probability_row(float *s, size_t from, size_t to, double scale, double cap, double lse, float *slope);

#endif
