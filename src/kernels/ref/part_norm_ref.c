/* part_norm_ref.c: norms of parts of a row, in place (queries and keys per head), and their transpose. */
#include "ref_internal.h"

/* Weight of part j. */
static const double *weight_of_part(const double *w, bool own, size_t width, size_t j)
{
    return w != NULL && own ? w + j * width : w; /* b may be NULL */
}

/* x = (x - m) r w + b of one part; xhat = (x - m) r is kept; returns r */
static double norm_part(const struct op_part_norm *op, const double *w, const double *b, double *x, double *xhat)
{
    const size_t width = (size_t)op->width;
    double m = 0.0, squares = 0.0;
    if (op->kind == NORM_LAYER) {
        for (size_t i = 0; i < width; i++)
            m += x[i];
        m /= (double)width;
    }
    for (size_t i = 0; i < width; i++)
        squares += (x[i] - m) * (x[i] - m);
    const double r = 1 / sqrt(squares / (double)width + op->eps);
    for (size_t i = 0; i < width; i++) {
        xhat[i] = (x[i] - m) * r;
        x[i] = xhat[i] * w[i] + (b != NULL ? b[i] : 0.0);
    }
    return r;
}

jsc_status part_norm_ref(struct jsc_stream *stream, const struct op_part_norm *op, jsc_error *error)
{
    const size_t parts = (size_t)op->parts, width = (size_t)op->width;
    double *xhat = op->xhat, *r = op->r;

    (void)stream, (void)error;
    for (size_t i = 0; i < op->n; i++)
        for (size_t j = 0; j < parts; j++)
            r[i * parts + j] = norm_part(op, weight_of_part(op->w, op->own, width, j), weight_of_part(op->b, op->own, width, j),
                                         (double *)op->x + i * (size_t)op->stride + j * width, xhat + (i * parts + j) * width);
    return JSC_OK;
}

/* dx = r (g - mean(g) [LAYER] - xhat <xhat, g>/width),  g = w o dx */
static void pull_part(enum norm_kind kind, size_t width, const double *xhat, double r, const double *w, double *dx)
{
    double dot = 0.0, sum = 0.0;
    for (size_t i = 0; i < width; i++) {
        dot += xhat[i] * w[i] * dx[i];
        sum += w[i] * dx[i];
    }
    const double g_mean = kind == NORM_LAYER ? sum / (double)width : 0.0;
    for (size_t i = 0; i < width; i++)
        dx[i] = r * (w[i] * dx[i] - g_mean - xhat[i] * dot / (double)width);
}

jsc_status part_norm_vjp_ref(struct jsc_stream *stream, const struct op_part_norm_vjp *op, jsc_error *error)
{
    const size_t parts = (size_t)op->parts, width = (size_t)op->width;
    const double *xhat = op->xhat, *r = op->r;

    (void)stream, (void)error;
    assert(op->rows.tok == NULL && op->rows.of == 0);
    for (size_t row = 0; row < op->rows.n; row++)
        for (size_t j = 0; j < parts; j++) {
            const size_t at = row / (size_t)op->rows.B * parts + j;
            pull_part(op->kind, width, xhat + at * width, r[at], weight_of_part(op->w, op->own, width, j),
                      (double *)op->dx + row * (size_t)op->stride + j * width);
        }
    return JSC_OK;
}
