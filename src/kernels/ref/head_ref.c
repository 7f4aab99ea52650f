/* head_ref.c: operations on whole rows: embedding, cotangents of logits, residual add, scatter of the top block's rows. */
#include "ref_internal.h"

jsc_status embed_ref(struct jsc_stream *stream, const struct op_embed *op, jsc_error *error)
{
    const size_t d = op->w->k;

    (void)stream, (void)error;
    for (size_t i = 0; i < op->n; i++) {
        assert(op->ids[i] >= 0 && (size_t)op->ids[i] < op->w->n);
        const double *w = ref_row(op->w, (size_t)op->ids[i]);
        double *out = (double *)op->out + i * d;
        for (size_t j = 0; j < d; j++)
            out[j] = op->scale * w[j];
    }
    return JSC_OK;
}

jsc_status head_vjp_ref(struct jsc_stream *stream, const struct op_head_vjp *op, jsc_error *error)
{
    const size_t d = op->w->k;

    (void)stream, (void)error;
    for (size_t i = 0; i < op->n; i++) {
        double *out = (double *)op->out + i * d;
        memset(out, 0, d * sizeof *out);
        for (size_t e = op->start[i]; e < op->start[i + 1]; e++) {
            assert(op->ids[e] >= 0 && (size_t)op->ids[e] < op->w->n);
            const double *w = ref_row(op->w, (size_t)op->ids[e]);
            for (size_t j = 0; j < d; j++)
                out[j] += op->coef[e] * w[j];
        }
    }
    return JSC_OK;
}

jsc_status add_ref(struct jsc_stream *stream, const struct op_add *op, jsc_error *error)
{
    const double *y = op->y;
    double *x = op->x;

    (void)stream, (void)error;
    for (size_t i = 0; i < op->n; i++)
        x[i] += op->scale * y[i];
    return JSC_OK;
}

jsc_status scatter_ref(struct jsc_stream *stream, const struct op_scatter *op, jsc_error *error)
{
    const size_t d = (size_t)op->d, B = (size_t)op->rows.B, bytes = op->N * B * d * sizeof(double);

    (void)stream, (void)error;
    memset(op->R, 0, bytes);
    for (size_t r = 0; r < op->rows.n; r++) {
        const size_t row = ref_token(&op->rows, op->rows.tok, r) * B + r % B;
        memcpy((double *)op->R + row * d, (const double *)op->src + r * d, d * sizeof(double));
    }
    if (op->G != NULL && op->G != op->R)
        memcpy(op->G, op->R, bytes);
    return JSC_OK;
}
