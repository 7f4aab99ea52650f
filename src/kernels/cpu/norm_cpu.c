/* norm_cpu.c: RMSNorm and LayerNorm, and their VJP added to the residual-stream gradient. Formulas: ops.h. Oracle: norm_ref.c.
 *
 * Bytes a row: forward 4d read, 4d written; VJP 8d read, 4d written (fast precision 6d and 6d), by memory bandwidth. Sums over a row run in double, in an
 * order that depends on nothing but d. */
#include "cot_cpu.h"
#include "cpu_internal.h"

#include <math.h>
#include <string.h>

#define ROW_WORK 32768 /* elements below which a team costs more than it saves */

CPU_CLONES static double sum_row(const float *x, int d)
{
    double sum = 0.0;
#pragma omp simd reduction(+ : sum)
    for (int i = 0; i < d; i++)
        sum += (double)x[i];
    return sum;
}

CPU_CLONES static double sum_squares(const float *x, int d, double mean)
{
    double sum = 0.0;
#pragma omp simd reduction(+ : sum)
    for (int i = 0; i < d; i++) {
        const double c = (double)x[i] - mean;
        sum += c * c;
    }
    return sum;
}

CPU_CLONES static void normalise(const float *x, int d, float mean, float r, const float *w, const float *b, float *y)
{
    if (b != NULL)
        for (int i = 0; i < d; i++)
            y[i] = (x[i] - mean) * r * w[i] + b[i];
    else
        for (int i = 0; i < d; i++)
            y[i] = (x[i] - mean) * r * w[i];
}

jsc_status norm_cpu(struct jsc_stream *stream, const struct op_norm *op, jsc_error *error)
{
    (void)error;
    const int d = op->d;
    float *r_out = op->r, *mean_out = op->mean;
#pragma omp parallel for num_threads(cpu_threads(stream)) schedule(static) if (op->n * (size_t)d > ROW_WORK)
    for (size_t i = 0; i < op->n; i++) {
        const float *x = (const float *)op->x + i * (size_t)d;
        const double mean = op->kind == NORM_LAYER ? sum_row(x, d) / d : 0.0;
        const float r = (float)(1.0 / sqrt(sum_squares(x, d, mean) / d + op->eps));
        r_out[i] = r;
        if (op->kind == NORM_LAYER)
            mean_out[i] = (float)mean;
        float *first = op->y != NULL ? op->y : op->y_real;
        if (first != NULL)
            normalise(x, d, (float)mean, r, op->w, op->b, first + i * (size_t)d);
        if (op->y != NULL && op->y_real != NULL && op->y_real != op->y)
            memcpy((float *)op->y_real + i * (size_t)d, (float *)op->y + i * (size_t)d, (size_t)d * sizeof(float));
    }
    return JSC_OK;
}

/* ---- VJP ------------------------------------------------------------------------------------------------------------------------ */

struct norm_row {
    const float *x, *w, *dn;
    float r, mean;
    float *R;
    int d;
};

/* <xhat, w o dn> and, for LayerNorm, the sum of w o dn. */
CPU_CLONES static double dot_xhat(const struct norm_row *p)
{
    const float *x = p->x, *w = p->w, *dn = p->dn;
    const double mean = (double)p->mean;
    double sum = 0.0;
#pragma omp simd reduction(+ : sum)
    for (int i = 0; i < p->d; i++)
        sum += ((double)x[i] - mean) * (double)(w[i] * dn[i]);
    return sum * (double)p->r;
}

CPU_CLONES static double sum_weighted(const struct norm_row *p)
{
    const float *w = p->w, *dn = p->dn;
    double sum = 0.0;
#pragma omp simd reduction(+ : sum)
    for (int i = 0; i < p->d; i++)
        sum += (double)(w[i] * dn[i]);
    return sum;
}

/* R += r (g - shift - xhat c); returns the sum of squares of the new R. */
CPU_CLONES static double pull_row(const struct norm_row *p, float c, float shift)
{
    const float *x = p->x, *w = p->w, *dn = p->dn;
    float *R = p->R;
    const float r = p->r, slope = p->r * c, mean = p->mean;
    double ss = 0.0;
#pragma omp simd reduction(+ : ss)
    for (int i = 0; i < p->d; i++) {
        const float v = R[i] + r * (w[i] * dn[i] - shift - (x[i] - mean) * slope);
        R[i] = v;
        ss += (double)v * (double)v;
    }
    return ss;
}

jsc_status norm_vjp_cpu(struct jsc_stream *stream, const struct op_norm_vjp *op, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const int d = op->d;
    const size_t cot = cpu_cot(stream->device);
    double *ss = op->ss;
    float *floats = NULL;

    TRY(cpu_cot_rows(stream, (size_t)d, &floats, error));
#pragma omp parallel for num_threads(cpu_threads(stream)) schedule(static) if (op->rows.n * (size_t)d > ROW_WORK)
    for (size_t i = 0; i < op->rows.n; i++) {
        const size_t t = op->rows.tok != NULL ? (size_t)op->rows.tok[i] : i / (size_t)op->rows.B, place = rows_at(&op->rows, i),
                     at = place * (size_t)d;
        const bool layer = op->kind == NORM_LAYER;
        const struct norm_row p = {.x = (const float *)op->x + t * (size_t)d,
                                   .w = op->w,
                                   .dn = cot_read(dptr_at(op->dn, i * (size_t)d, cot), cot, (size_t)d, cpu_cot_row(floats, (size_t)d)),
                                   .r = ((const float *)op->r)[t],
                                   .mean = layer ? ((const float *)op->mean)[t] : 0.0f,
                                   .R = (float *)op->R + at,
                                   .d = d};
        const float shift = layer ? (float)(sum_weighted(&p) / d) : 0.0f;
        const double sum = pull_row(&p, (float)(dot_xhat(&p) / d), shift);
        if (ss != NULL)
            ss[place] = sum;
        if (op->G != NULL && op->G != op->R)
            cot_write(dptr_at(op->G, at, cot), cot, (size_t)d, p.R);
    }
done:
    return status;
}
