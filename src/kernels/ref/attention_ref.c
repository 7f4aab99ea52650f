/* attention_ref.c: causal attention, one query at a time; the scores are computed three times rather than kept. */
#include "ref_internal.h"

/* s = scale q.k, soft-capped if cap > 0 */
double attention_score_ref(const double *q, const double *k, size_t h, double scale, double cap)
{
    const double s = scale * dot_ref(q, k, h);
    return cap > 0.0 ? cap * tanh(s / cap) : s;
}

jsc_status attention_ref(struct jsc_stream *stream, const struct op_attention *op, jsc_error *error)
{
    const size_t T = (size_t)op->T, H = (size_t)op->H, K = (size_t)op->K, h = (size_t)op->h, W = (H + 2 * K) * h;
    double *lse = op->lse;

    (void)stream, (void)error;
    for (size_t row = 0; row < (size_t)op->S * T; row++) {
        const size_t i = row % T, first = op->window > 0 && i + 1 > (size_t)op->window ? i + 1 - (size_t)op->window : 0;
        const double *sequence = (const double *)op->qkv + (row - i) * W;
        for (size_t n = 0; n < H; n++) {
            const size_t g = n / (H / K);
            const double *q = sequence + i * W + n * h, *k = sequence + (H + g) * h, *v = sequence + (H + K + g) * h;
            double *o = (double *)op->o + row * H * h + n * h;
            double largest = -HUGE_VAL, sum = 0.0;
            for (size_t j = first; j <= i; j++)
                largest = fmax(largest, attention_score_ref(q, k + j * W, h, op->scale, op->cap));
            for (size_t j = first; j <= i; j++)
                sum += exp(attention_score_ref(q, k + j * W, h, op->scale, op->cap) - largest);
            lse[row * H + n] = largest + log(sum);
            memset(o, 0, h * sizeof *o);
            for (size_t j = first; j <= i; j++) {
                const double p = exp(attention_score_ref(q, k + j * W, h, op->scale, op->cap) - lse[row * H + n]);
                for (size_t c = 0; c < h; c++)
                    o[c] += p * v[j * W + c];
            }
        }
    }
    if (op->o_act != op->o)
        memcpy(op->o_act, op->o, (size_t)op->S * T * H * h * sizeof(double));
    return JSC_OK;
}
