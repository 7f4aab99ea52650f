/* fisher_ref.c: the Fisher matrix through its centred rows: F = Wc^T Wc with wc_i = sqrt(p_i) (s_i w_i - mu). */
#include "ref_internal.h"

static double slope_of(const struct op_fisher_rows *op, size_t i)
{
    return op->slope != NULL ? op->slope[i] : 1.0;
}

jsc_status fisher_rows_ref(struct jsc_stream *stream, const struct op_fisher_rows *op, jsc_error *error)
{
    const size_t d = op->w->k;
    double *wc = op->wc, trace = 0.0;

    (void)stream, (void)error;
    assert(op->n > 0);
    /* mu is summed in the place of row 0, which is therefore made last */
    memset(wc, 0, d * sizeof *wc);
    for (size_t i = 0; i < op->n; i++) {
        const double *w = ref_row(op->w, (size_t)op->ids[i]), weight = op->p[i] * slope_of(op, i);
        for (size_t j = 0; j < d; j++)
            wc[j] += weight * w[j];
    }
    for (size_t i = op->n; i-- > 0;) {
        const double *w = ref_row(op->w, (size_t)op->ids[i]);
        for (size_t j = 0; j < d; j++)
            wc[i * d + j] = sqrt(op->p[i]) * (slope_of(op, i) * w[j] - wc[j]);
    }
    for (size_t i = 0; i < op->n * d; i++)
        trace += wc[i] * wc[i];
    if (op->trace != NULL)
        *op->trace = trace;
    return JSC_OK;
}

jsc_status gram_ref(struct jsc_stream *stream, const struct op_gram *op, jsc_error *error)
{
    const size_t d = (size_t)op->d;
    const double *wc = op->wc;

    (void)stream, (void)error;
    memset(op->out, 0, d * d * sizeof *op->out);
    for (size_t i = 0; i < op->n; i++)
        for (size_t a = 0; a < d; a++)
            for (size_t b = 0; b < d; b++)
                op->out[a * d + b] += wc[i * d + a] * wc[i * d + b];
    return JSC_OK;
}

jsc_status fisher_apply_ref(struct jsc_stream *stream, const struct op_fisher_apply *op, jsc_error *error)
{
    const size_t d = (size_t)op->d, k = (size_t)op->k;
    const double *wc = op->wc, *m = op->m;
    double *c = op->c, *fm = op->fm;

    (void)stream, (void)error;
    memset(fm, 0, k * d * sizeof *fm);
    for (size_t r = 0; r < k; r++) {
        for (size_t i = 0; i < op->n; i++) {
            c[r * op->n + i] = dot_ref(m + r * d, wc + i * d, d);
            for (size_t j = 0; j < d; j++)
                fm[r * d + j] += c[r * op->n + i] * wc[i * d + j];
        }
    }
    return JSC_OK;
}

jsc_status probes_ref(struct jsc_stream *stream, const struct op_probes *op, jsc_error *error)
{
    const size_t d = (size_t)op->d;
    const double *wc = op->wc;
    double *out = op->out;

    (void)stream, (void)error;
    memset(out, 0, (size_t)op->count * d * sizeof *out);
    for (size_t c = 0; c < (size_t)op->count; c++)
        for (size_t i = 0; i < op->n; i++) {
            const double sign = rng_sign(op->seed, op->first + c, (uint64_t)op->ids[i]);
            for (size_t j = 0; j < d; j++)
                out[c * d + j] += sign * wc[i * d + j];
        }
    return JSC_OK;
}
