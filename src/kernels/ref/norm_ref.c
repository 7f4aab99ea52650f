/* norm_ref.c: RMSNorm, LayerNorm and none at all, and their pull-back: into the residual-stream gradient, or by itself. */
#include "ref_internal.h"

/* y = x, of a half that begins without a norm */
static void copy_rows(const struct op_norm *op)
{
    const size_t bytes = op->n * (size_t)op->d * sizeof(double);
    if (op->y != NULL)
        memcpy(op->y, op->x, bytes);
    if (op->y_real != NULL && op->y_real != op->y)
        memcpy(op->y_real, op->x, bytes);
}

jsc_status norm_ref(struct jsc_stream *stream, const struct op_norm *op, jsc_error *error)
{
    const size_t d = (size_t)op->d;
    const double *w = op->w, *b = op->b, eps = op->eps;
    double *r = op->r, *mean = op->mean;

    (void)stream, (void)error;
    if (op->kind == NORM_NONE) {
        copy_rows(op);
        return JSC_OK;
    }
    for (size_t i = 0; i < op->n; i++) {
        const double *x = (const double *)op->x + i * d;
        double m = 0.0, squares = 0.0;
        if (op->kind == NORM_LAYER) {
            for (size_t j = 0; j < d; j++)
                m += x[j];
            m /= (double)d;
            mean[i] = m;
        }
        for (size_t j = 0; j < d; j++)
            squares += (x[j] - m) * (x[j] - m);
        r[i] = 1 / sqrt(squares / (double)d + eps);
        for (size_t j = 0; j < d; j++) {
            const double y = (x[j] - m) * r[i] * w[j] + (b != NULL ? b[j] : 0.0);
            if (op->y != NULL)
                ((double *)op->y)[i * d + j] = y;
            if (op->y_real != NULL)
                ((double *)op->y_real)[i * d + j] = y;
        }
    }
    return JSC_OK;
}

/* R += r (g - mean(g) [LAYER] - xhat <xhat, g>/d),  g = w o dn,  xhat = (x - mean) r;  NONE: R += dn */
void norm_vjp_row_ref(enum norm_kind kind, size_t d, const double *x, double r, double mean, const double *w, const double *dn, double *R)
{
    double dot = 0.0, sum = 0.0;
    if (kind == NORM_NONE) {
        for (size_t j = 0; j < d; j++)
            R[j] += dn[j];
        return;
    }
    for (size_t j = 0; j < d; j++) {
        dot += (x[j] - mean) * r * w[j] * dn[j];
        sum += w[j] * dn[j];
    }
    const double g_mean = kind == NORM_LAYER ? sum / (double)d : 0.0;
    for (size_t j = 0; j < d; j++)
        R[j] += r * (w[j] * dn[j] - g_mean - (x[j] - mean) * r * dot / (double)d);
}

/* R += the pull-back of one row dn of token i */
static void pull_back(const struct op_norm_vjp *op, size_t i, const double *dn, double *R)
{
    const size_t d = (size_t)op->d;
    norm_vjp_row_ref(op->kind, d, (const double *)op->x + i * d, op->kind != NORM_NONE ? ((const double *)op->r)[i] : 1.0,
                     op->kind == NORM_LAYER ? ((const double *)op->mean)[i] : 0.0, op->w, dn, R);
}

jsc_status norm_vjp_ref(struct jsc_stream *stream, const struct op_norm_vjp *op, jsc_error *error)
{
    const size_t d = (size_t)op->d;
    const double *dn = op->dn;
    double *ss = op->ss;

    (void)stream, (void)error;
    for (size_t row = 0; row < op->rows.n; row++) {
        const size_t at = rows_at(&op->rows, row);
        double *R = (double *)op->R + at * d, squares = 0.0;
        pull_back(op, ref_token(&op->rows, op->rows.tok, row), dn + row * d, R);
        for (size_t j = 0; j < d; j++)
            squares += R[j] * R[j];
        if (op->G != NULL && op->G != op->R)
            memcpy((double *)op->G + at * d, R, d * sizeof *R);
        if (ss != NULL)
            ss[at] = squares;
    }
    return JSC_OK;
}

jsc_status norm_pull_ref(struct jsc_stream *stream, const struct op_norm_pull *op, jsc_error *error)
{
    const size_t d = (size_t)op->d;
    const double *x = op->x, *r = op->r, *mean = op->mean, *dy = op->dy;

    (void)stream, (void)error;
    assert(op->kind != NORM_NONE);
    for (size_t row = 0; row < op->rows.n; row++) {
        const size_t at = rows_at(&op->rows, row), i = op->rows.tok != NULL ? (size_t)op->rows.tok[at] : row / (size_t)op->rows.B;
        double *dx = (double *)op->dx + row * d;
        memset(dx, 0, d * sizeof *dx);
        norm_vjp_row_ref(op->kind, d, x + i * d, r[i], op->kind == NORM_LAYER ? mean[i] : 0.0, op->w, dy + at * d, dx);
    }
    return JSC_OK;
}
