/* tile_cpu.c: the small matrix product that attention and the built-in GEMM stand on: a register tile of 6 x 16.
 *
 * C[m][n] (+)= A[m][k] B[k][n], operands in cache, A read as scalars at any stride, B and C as rows of vectors.
 * Twelve accumulators of eight floats, two of B and one of A fill the sixteen AVX registers. */
#include "cpu_internal.h"

#include <assert.h>

typedef float vec __attribute__((vector_size(32)));
typedef float vec_at __attribute__((vector_size(32), aligned(4), may_alias));

/* rows is a constant in each call, so that acc lives in registers. */
static inline __attribute__((always_inline)) void tile(const int rows, const struct tile_product *p, const float *a, const float *b,
                                                       float *c)
{
    vec acc[TILE_ROWS][2];
    for (int r = 0; r < rows; r++)
        for (int j = 0; j < 2; j++)
            acc[r][j] = (vec){0};
    const size_t a_row = p->a_row, a_col = p->a_col, b_row = p->b_row;
    for (size_t i = p->k; i > 0; i--, a += a_col, b += b_row) {
        const vec b0 = *(const vec_at *)b, b1 = *(const vec_at *)(b + 8);
        for (int r = 0; r < rows; r++) {
            const float x = a[(size_t)r * a_row];
            acc[r][0] += x * b0;
            acc[r][1] += x * b1;
        }
    }
    for (int r = 0; r < rows; r++)
        for (int j = 0; j < 2; j++) {
            vec_at *out = (vec_at *)(c + (size_t)r * p->c_row + 8 * j);
            if (p->accumulate)
                acc[r][j] += *out;
            *out = acc[r][j];
        }
}

CPU_CLONES void tile_product(const struct tile_product *p)
{
    assert(p->n % TILE_COLS == 0);
    for (size_t i = 0; i < p->m; i += TILE_ROWS) {
        const size_t left = p->m - i;
        const float *a = p->a + i * p->a_row;
        for (size_t j = 0; j < p->n; j += TILE_COLS) {
            const float *b = p->b + j;
            float *c = p->c + i * p->c_row + j;
            switch (left) {
            case 1:
                tile(1, p, a, b, c);
                break;
            case 2:
                tile(2, p, a, b, c);
                break;
            case 3:
                tile(3, p, a, b, c);
                break;
            case 4:
                tile(4, p, a, b, c);
                break;
            case 5:
                tile(5, p, a, b, c);
                break;
            default:
                tile(6, p, a, b, c);
                break;
            }
        }
    }
}
