/* norm_ref.c: RMSNorm and LayerNorm, and their pull-back into the residual-stream gradient. */
#include "ref_internal.h"

jsc_status norm_ref(struct jsc_stream *stream, const struct op_norm *op, jsc_error *error)
{
    const size_t d = (size_t)op->d;
    const double *w = op->w, *b = op->b, eps = op->eps;
    double *r = op->r, *mean = op->mean;

    (void)stream, (void)error;
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

/* R += r (g - mean(g) [LAYER] - xhat <xhat, g>/d),  g = w o dn,  xhat = (x - mean) r */
void norm_vjp_row_ref(enum norm_kind kind, size_t d, const double *x, double r, double mean, const double *w, const double *dn, double *R)
{
    double dot = 0.0, sum = 0.0;
    for (size_t j = 0; j < d; j++) {
        dot += (x[j] - mean) * r * w[j] * dn[j];
        sum += w[j] * dn[j];
    }
    const double g_mean = kind == NORM_LAYER ? sum / (double)d : 0.0;
    for (size_t j = 0; j < d; j++)
        R[j] += r * (w[j] * dn[j] - g_mean - (x[j] - mean) * r * dot / (double)d);
}

jsc_status norm_vjp_ref(struct jsc_stream *stream, const struct op_norm_vjp *op, jsc_error *error)
{
    const size_t d = (size_t)op->d;
    const double *x = op->x, *r = op->r, *mean = op->mean, *dn = op->dn;
    double *ss = op->ss;

    (void)stream, (void)error;
    for (size_t row = 0; row < op->rows.n; row++) {
        const size_t i = ref_token(&op->rows, op->rows.tok, row), at = rows_at(&op->rows, row);
        double *R = (double *)op->R + at * d, squares = 0.0;
        norm_vjp_row_ref(op->kind, d, x + i * d, r[i], op->kind == NORM_LAYER ? mean[i] : 0.0, op->w, dn + row * d, R);
        for (size_t j = 0; j < d; j++)
            squares += R[j] * R[j];
        if (op->G != NULL && op->G != op->R)
            memcpy((double *)op->G + at * d, R, d * sizeof *R);
        if (ss != NULL)
            ss[at] = squares;
    }
    return JSC_OK;
}
