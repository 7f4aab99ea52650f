/* norm_cpu.c: RMSNorm, LayerNorm and none at all, and their VJP: added to the residual-stream gradient, or by itself behind a branch.
 * Formulas: ops.h. Oracle: norm_ref.c.
 *
 * Bytes a row: forward 4d read, 4d written; VJP 8d read, 4d written (fast precision 6d and 6d); by itself 4d and 4d (2d and 2d), by memory
 * bandwidth: x is read once per token and stays in cache. */
#include "cot_cpu.h"
#include "cpu_internal.h"
#include "norm_rows_cpu.h"

jsc_status norm_cpu(struct jsc_stream *stream, const struct op_norm *op, jsc_error *error)
{
    (void)error;
    const int d = op->d;
    const size_t bytes = (size_t)d * sizeof(float);
    float *r = op->r, *mean = op->mean;
#pragma omp parallel for num_threads(cpu_threads(stream)) schedule(static) if (op->n * (size_t)d > NORM_WORK)
    for (size_t i = 0; i < op->n; i++) {
        const float *x = (const float *)op->x + i * (size_t)d;
        float *y = op->y != NULL ? (float *)op->y + i * (size_t)d : NULL,
              *y_real = op->y_real != NULL ? (float *)op->y_real + i * (size_t)d : NULL;
        float *first = y != NULL ? y : y_real;
        if (op->kind == NORM_NONE) {
            if (first != NULL)
                memcpy(first, x, bytes);
        } else {
            const struct norm_stats s = norm_row_stats(op->kind, op->eps, x, d);
            r[i] = s.r;
            if (op->kind == NORM_LAYER)
                mean[i] = s.mean;
            if (first != NULL)
                norm_row_apply(s, x, d, op->w, op->b, first);
        }
        if (y != NULL && y_real != NULL && y_real != y)
            memcpy(y_real, y, bytes);
    }
    return JSC_OK;
}

/* ---- VJP ------------------------------------------------------------------------------------------------------------------------ */

/* What norm saved of one token. */
static struct norm_row row_of_token(enum norm_kind kind, int d, const float *x, const float *r, const float *mean, const float *w, size_t t)
{
    if (kind == NORM_NONE)
        return (struct norm_row){.kind = kind, .d = d};
    return (struct norm_row){
        .kind = kind, .d = d, .x = x + t * (size_t)d, .w = w, .mean = kind == NORM_LAYER ? mean[t] : 0.0f, .unit = r[t], .r = r[t]};
}

jsc_status norm_vjp_cpu(struct jsc_stream *stream, const struct op_norm_vjp *op, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t d = (size_t)op->d, cot = cpu_cot(stream->device);
    double *ss = op->ss;
    float *floats = NULL;

    TRY(cpu_cot_rows(stream, d, &floats, error));
#pragma omp parallel for num_threads(cpu_threads(stream)) schedule(static) if (op->rows.n * d > NORM_WORK)
    for (size_t i = 0; i < op->rows.n; i++) {
        const size_t t = op->rows.tok != NULL ? (size_t)op->rows.tok[i] : i / (size_t)op->rows.B, place = rows_at(&op->rows, i),
                     at = place * d;
        struct norm_row row = row_of_token(op->kind, op->d, op->x, op->r, op->mean, op->w, t);
        row.dy = cot_read(dptr_at(op->dn, i * d, cot), cot, d, cpu_cot_row(floats, d));
        float *R = (float *)op->R + at;
        const double sum = norm_row_pull_add(&row, R);
        if (ss != NULL)
            ss[place] = sum;
        if (op->G != NULL && op->G != op->R)
            cot_write(dptr_at(op->G, at, cot), cot, d, R);
    }
done:
    return status;
}

jsc_status norm_pull_cpu(struct jsc_stream *stream, const struct op_norm_pull *op, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t d = (size_t)op->d, cot = cpu_cot(stream->device);
    float *floats = NULL;

    TRY(cpu_cot_rows(stream, d, &floats, error));
#pragma omp parallel for num_threads(cpu_threads(stream)) schedule(static) if (op->rows.n * d > NORM_WORK)
    for (size_t i = 0; i < op->rows.n; i++) {
        const size_t place = rows_at(&op->rows, i), t = op->rows.tok != NULL ? (size_t)op->rows.tok[place] : i / (size_t)op->rows.B;
        struct norm_row row = row_of_token(op->kind, op->d, op->x, op->r, op->mean, op->w, t);
        float *scratch = cpu_cot_row(floats, d); /* in fast precision dy is widened there, and dx takes its place */
        const dptr out = dptr_at(op->dx, i * d, cot);
        row.dy = cot_read(dptr_at(op->dy, place * d, cot), cot, d, scratch);
        float *dx = cot_begin(out, cot, scratch);
        norm_row_pull(&row, dx);
        cot_end(out, cot, d, dx);
    }
done:
    return status;
}
