/* matmul_precise.c: Y = X W^T + bias with float factors and sums in double, rounded once at the end.
 *
 * x [n][k], w [n_out][k], y [n][n_out] float. FLOPs 2 n n_out k at double's rate (half of float's); weights are read once per ROWS rows.
 * For forward passes whose rounding errors grow: near a zero baseline a path's gradients are so large that float sums cost 1e-4 of a
 * score (measured: SmolLM2, alpha < 0.1, 3e-5 to 2e-4 of a gradient; with this 10 times less). Products by a library in float: matmul_cpu.c.
 * The order of a sum depends on k alone. Test: test_matmul_precise.c. */
#include "cpu_internal.h"

#define ROWS 32 /* x as double, ROWS x k, should stay in the second cache */
#define X    4  /* rows of x and of w in registers: X * W sums of 4 lanes */
#define W    2

typedef double lanes __attribute__((vector_size(32)));
typedef float float_lanes __attribute__((vector_size(16), aligned(4)));

/* sums[r][c] = x_r . w_c; rows of x lie k apart, rows of w too. */
CPU_CLONES static void tile(const double *x, const float *w, size_t k, double sums[X][W])
{
    lanes acc[X][W] = {{{0.0}}};
    size_t i = 0;
    for (; i + 4 <= k; i += 4) {
        lanes wide[W];
        for (int c = 0; c < W; c++)
            wide[c] = __builtin_convertvector(*(const float_lanes *)(w + (size_t)c * k + i), lanes);
        for (int r = 0; r < X; r++) {
            const double *row = x + (size_t)r * k + i;
            const lanes xs = {row[0], row[1], row[2], row[3]};
            for (int c = 0; c < W; c++)
                acc[r][c] += xs * wide[c];
        }
    }
    for (int r = 0; r < X; r++)
        for (int c = 0; c < W; c++) {
            double sum = (acc[r][c][0] + acc[r][c][1]) + (acc[r][c][2] + acc[r][c][3]);
            for (size_t j = i; j < k; j++)
                sum += x[(size_t)r * k + j] * (double)w[(size_t)c * k + j];
            sums[r][c] = sum;
        }
}

/* One row of x and one of w, in the same order of sums as tile(). */
static double single(const double *x, const float *w, size_t k)
{
    double lane[4] = {0.0, 0.0, 0.0, 0.0};
    size_t i = 0;
    for (; i + 4 <= k; i += 4)
        for (int l = 0; l < 4; l++)
            lane[l] += x[i + (size_t)l] * (double)w[i + (size_t)l];
    double sum = (lane[0] + lane[1]) + (lane[2] + lane[3]);
    for (; i < k; i++)
        sum += x[i] * (double)w[i];
    return sum;
}

static void store(const struct op_matmul *op, size_t row, size_t column, double sum)
{
    const struct cpu_weight *w = (const struct cpu_weight *)op->w;
    float *y = (float *)op->y + row * w->base.n + column;
    if (w->bias != NULL)
        sum += (double)w->bias[column];
    *y = (float)(op->accumulate ? (double)*y + sum : sum);
}

/* Columns c to c + W - 1 of rows first to first + n - 1; x holds those rows as double. */
static void columns(const struct op_matmul *op, const double *x, size_t first, size_t n, size_t c)
{
    const struct cpu_weight *w = (const struct cpu_weight *)op->w;
    const size_t k = w->base.k, wide = w->base.n - c < W ? w->base.n - c : W;
    for (size_t r = 0; r < n; r += X) {
        double sums[X][W];
        if (r + X <= n && wide == W) {
            tile(x + r * k, w->w + c * k, k, sums);
            for (size_t a = 0; a < X; a++)
                for (size_t b = 0; b < W; b++)
                    store(op, first + r + a, c + b, sums[a][b]);
            continue;
        }
        for (size_t a = r; a < n && a < r + X; a++)
            for (size_t b = 0; b < wide; b++)
                store(op, first + a, c + b, single(x + a * k, w->w + (c + b) * k, k));
    }
}

jsc_status matmul_precise_cpu(struct jsc_stream *stream, const struct op_matmul *op, jsc_error *error)
{
    const size_t k = op->w->k, n_out = op->w->n, blocks = (n_out + W - 1) / W;
    double *x = NULL;
    const jsc_status status = cpu_scratch(stream, SCRATCH_OPERATION, ROWS * k * sizeof *x, &x, error);
    if (status != JSC_OK)
        return status;
    for (size_t first = 0; first < op->n; first += ROWS) {
        const size_t n = op->n - first < ROWS ? op->n - first : ROWS;
        const float *from = (const float *)op->x + first * k;
#pragma omp parallel num_threads(cpu_threads(stream))
        {
#pragma omp for schedule(static)
            for (size_t i = 0; i < n * k; i++)
                x[i] = (double)from[i];
#pragma omp for schedule(static)
            for (size_t c = 0; c < blocks; c++)
                columns(op, x, first, n, c * W);
        }
    }
    return JSC_OK;
}
