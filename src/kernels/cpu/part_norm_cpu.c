/* part_norm_cpu.c: norms of parts of a row, in place (queries and keys per head), and their transpose. Formulas: ops.h. Oracle:
 * part_norm_ref.c.
 *
 * Bytes an element: forward 4 read, 8 written; VJP 4 read, 4 written (fast precision 2 and 2), by memory bandwidth: xhat is read once per
 * token and stays in cache. */
#include "cot_cpu.h"
#include "cpu_internal.h"
#include "norm_rows_cpu.h"

jsc_status part_norm_cpu(struct jsc_stream *stream, const struct op_part_norm *op, jsc_error *error)
{
    (void)error;
    const size_t parts = (size_t)op->parts, width = (size_t)op->width, step = op->own ? width : 0;
    const float *w = op->w, *b = op->b;
    float *r = op->r;
#pragma omp parallel for num_threads(cpu_threads(stream)) schedule(static) if (op->n * parts * width > NORM_WORK)
    for (size_t i = 0; i < op->n; i++) {
        for (size_t j = 0; j < parts; j++) {
            const size_t at = i * parts + j;
            float *x = (float *)op->x + i * (size_t)op->stride + j * width;
            const struct norm_stats s = norm_row_stats(op->kind, op->eps, x, op->width);
            r[at] = s.r;
            norm_row_in_place(s, x, op->width, w + j * step, b != NULL ? b + j * step : NULL, (float *)op->xhat + at * width);
        }
    }
    return JSC_OK;
}

jsc_status part_norm_vjp_cpu(struct jsc_stream *stream, const struct op_part_norm_vjp *op, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t parts = (size_t)op->parts, width = (size_t)op->width, step = op->own ? width : 0, cot = cpu_cot(stream->device);
    const float *xhat = op->xhat, *r = op->r;
    float *floats = NULL;

    TRY(cpu_cot_rows(stream, width, &floats, error));
#pragma omp parallel for num_threads(cpu_threads(stream)) schedule(static) if (op->rows.n * parts * width > NORM_WORK)
    for (size_t i = 0; i < op->rows.n; i++) {
        float *scratch = cpu_cot_row(floats, width);
        for (size_t j = 0; j < parts; j++) {
            const size_t at = i / (size_t)op->rows.B * parts + j;
            const dptr place = dptr_at(op->dx, i * (size_t)op->stride + j * width, cot);
            float *dx = cot_begin(place, cot, scratch);
            (void)cot_read(place, cot, width, dx);
            norm_row_pull(&(struct norm_row){.kind = op->kind,
                                             .d = op->width,
                                             .x = xhat + at * width,
                                             .w = (const float *)op->w + j * step,
                                             .dy = dx,
                                             .unit = 1.0f,
                                             .r = r[at]},
                          dx);
            cot_end(place, cot, width, dx);
        }
    }
done:
    return status;
}
