/* fisher_cpu.c: centred rows of the Fisher factor, their Gram matrix, products with F and random probes. Formulas: ops.h.
 * Oracle: fisher_ref.c. Sums over the vocabulary run in double; gram at d d n FLOPs in double is the largest piece of work. */
#include "cpu_internal.h"

#include <math.h>
#include <string.h>

#define MEAN_COLUMNS 64   /* of one task */
#define GRAM_ROWS    128  /* rows of Wc turned into doubles at once */
#define GRAM_TILE    8    /* columns of a register tile, 4 rows */
#define SIGN_COLUMNS 1024 /* signs made at once */

CPU_CLONES static void add_scaled_row(double *sum, const float *w, size_t n, double coef)
{
    for (size_t i = 0; i < n; i++)
        sum[i] += coef * (double)w[i];
}

/* wc = root (slope w - mu); returns ||wc||^2 as stored. */
CPU_CLONES static double centre_row(const float *w, const double *mu, size_t d, double root, double slope, float *wc)
{
    double ss = 0.0;
#pragma omp simd reduction(+ : ss)
    for (size_t i = 0; i < d; i++) {
        const float v = (float)(root * (slope * (double)w[i] - mu[i]));
        wc[i] = v;
        ss += (double)v * (double)v;
    }
    return ss;
}

jsc_status fisher_rows_cpu(struct jsc_stream *stream, const struct op_fisher_rows *op, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const struct cpu_weight *w = (const struct cpu_weight *)op->w;
    const size_t d = w->base.k, spans = (d + MEAN_COLUMNS - 1) / MEAN_COLUMNS;
    double *mu = NULL;

    TRY(cpu_scratch(stream, SCRATCH_OPERATION, (d + op->n) * sizeof *mu, &mu, error));
    double *squares = mu + d;
    memset(mu, 0, d * sizeof *mu);
#pragma omp parallel for num_threads(cpu_threads(stream)) schedule(static)
    for (size_t span = 0; span < spans; span++) {
        const size_t c = span * MEAN_COLUMNS, n = d - c < MEAN_COLUMNS ? d - c : MEAN_COLUMNS;
        for (size_t i = 0; i < op->n; i++)
            add_scaled_row(mu + c, w->w + (size_t)op->ids[i] * d + c, n, op->p[i] * (op->slope != NULL ? op->slope[i] : 1.0));
    }
#pragma omp parallel for num_threads(cpu_threads(stream)) schedule(static)
    for (size_t i = 0; i < op->n; i++)
        squares[i] = centre_row(w->w + (size_t)op->ids[i] * d, mu, d, sqrt(op->p[i]), op->slope != NULL ? op->slope[i] : 1.0,
                                (float *)op->wc + i * d);
    if (op->trace != NULL) {
        *op->trace = 0.0;
        for (size_t i = 0; i < op->n; i++)
            *op->trace += squares[i];
    }
done:
    return status;
}

/* ---- gram ------------------------------------------------------------------------------------------------------------------------ */

typedef double quad __attribute__((vector_size(32)));
typedef double quad_at __attribute__((vector_size(32), aligned(8), may_alias));

/* out[a .. a+3][b .. b+7] += sum over n rows of w; w is [n][width], out [width][width] */
CPU_CLONES static void gram_tile(const double *w, size_t n, size_t width, size_t a, size_t b, double *out)
{
    quad acc[4][2];
    for (int r = 0; r < 4; r++)
        for (int j = 0; j < 2; j++)
            acc[r][j] = *(const quad_at *)(out + (a + (size_t)r) * width + b + 4 * (size_t)j);
    for (size_t i = 0; i < n; i++, w += width) {
        const quad b0 = *(const quad_at *)(w + b), b1 = *(const quad_at *)(w + b + 4);
        for (int r = 0; r < 4; r++) {
            acc[r][0] += w[a + (size_t)r] * b0;
            acc[r][1] += w[a + (size_t)r] * b1;
        }
    }
    for (int r = 0; r < 4; r++)
        for (int j = 0; j < 2; j++)
            *(quad_at *)(out + (a + (size_t)r) * width + b + 4 * (size_t)j) = acc[r][j];
}

static void widen_row(const float *w, size_t d, size_t width, double *out)
{
    for (size_t i = 0; i < width; i++)
        out[i] = i < d ? (double)w[i] : 0.0;
}

jsc_status gram_cpu(struct jsc_stream *stream, const struct op_gram *op, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t d = (size_t)op->d, width = round_up(d, GRAM_TILE), strips = width / GRAM_TILE;
    double *rows = NULL;

    TRY(cpu_scratch(stream, SCRATCH_OPERATION, (GRAM_ROWS + width) * width * sizeof *rows, &rows, error));
    double *sum = rows + GRAM_ROWS * width;
    memset(sum, 0, width * width * sizeof *sum);
    for (size_t i0 = 0; i0 < op->n; i0 += GRAM_ROWS) {
        const size_t n = op->n - i0 < GRAM_ROWS ? op->n - i0 : GRAM_ROWS;
#pragma omp parallel num_threads(cpu_threads(stream))
        {
#pragma omp for schedule(static)
            for (size_t i = 0; i < n; i++)
                widen_row((const float *)op->wc + (i0 + i) * d, d, width, rows + i * width);
#pragma omp for schedule(dynamic)
            for (size_t strip = 0; strip < strips; strip++) /* tiles on and right of the diagonal */
                for (size_t b = strip * GRAM_TILE; b < width; b += GRAM_TILE)
                    for (size_t a = strip * GRAM_TILE; a < (strip + 1) * GRAM_TILE; a += 4)
                        gram_tile(rows, n, width, a, b, sum);
        }
    }
    for (size_t a = 0; a < d; a++)
        for (size_t b = a; b < d; b++)
            op->out[a * d + b] = op->out[b * d + a] = sum[a * width + b];
done:
    return status;
}

/* ---- products -------------------------------------------------------------------------------------------------------------------- */

jsc_status fisher_apply_cpu(struct jsc_stream *stream, const struct op_fisher_apply *op, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t k = (size_t)op->k, d = (size_t)op->d;
    const struct gemm first = {.m = k, .n = op->n, .k = d, .a = op->m, .b = op->wc, .c = op->c, .b_transposed = true};
    const struct gemm second = {.m = k, .n = d, .k = op->n, .a = op->c, .b = op->wc, .c = op->fm};

    TRY(gemm_run(stream, &first, error));
    TRY(gemm_run(stream, &second, error));
done:
    return status;
}

jsc_status probes_cpu(struct jsc_stream *stream, const struct op_probes *op, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t count = (size_t)op->count, d = (size_t)op->d, columns = op->n < SIGN_COLUMNS ? op->n : SIGN_COLUMNS;
    float *signs = NULL;

    if (op->n == 0)
        memset(op->out, 0, count * d * sizeof(float));
    TRY(cpu_scratch(stream, SCRATCH_OPERATION, count * columns * sizeof *signs, &signs, error));
    for (size_t i0 = 0; i0 < op->n; i0 += columns) {
        const size_t n = op->n - i0 < columns ? op->n - i0 : columns;
#pragma omp parallel for num_threads(cpu_threads(stream)) schedule(static)
        for (size_t j = 0; j < count; j++)
            for (size_t i = 0; i < n; i++)
                signs[j * n + i] = (float)rng_sign(op->seed, op->first + j, (uint64_t)op->ids[i0 + i]);
        const struct gemm gemm = {
            .m = count, .n = d, .k = n, .a = signs, .b = (const float *)op->wc + i0 * d, .c = op->out, .accumulate = i0 > 0};
        TRY(gemm_run(stream, &gemm, error));
    }
done:
    return status;
}
