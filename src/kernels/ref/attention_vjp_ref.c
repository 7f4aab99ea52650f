/* attention_vjp_ref.c: the pull-back of causal attention, one (sequence, right-hand side, head, query) at a time; no scratch. */
#include "ref_internal.h"

size_t attention_vjp_scratch_ref(struct jsc_device *device, int S, int T, int B, int H, int K, int h)
{
    (void)device, (void)S, (void)T, (void)B, (void)H, (void)K, (void)h;
    return 0;
}

/* Query i of head n: dout is do_i [h], o is o_i. base, dbase: qkv and dqkv of token 0; their rows are W and dW apart. */
static void pull_query(const struct op_attention_vjp *op, size_t n, size_t i, const double *base, const double *o, double lse,
                       const double *dout, double *dbase)
{
    const size_t H = (size_t)op->H, K = (size_t)op->K, h = (size_t)op->h, g = n / (H / K), W = (H + 2 * K) * h, dW = (size_t)op->B * W;
    const size_t first = op->window > 0 && i + 1 > (size_t)op->window ? i + 1 - (size_t)op->window : 0;
    const double *q = base + i * W + n * h;
    const double D = dot_ref(dout, o, h), scale = op->scale, cap = op->cap;
    double *dq = dbase + i * dW + n * h;

    for (size_t j = first; j <= i; j++) {
        const double *k = base + j * W + (H + g) * h, *v = base + j * W + (H + K + g) * h;
        double *dk = dbase + j * dW + (H + g) * h, *dv = dbase + j * dW + (H + K + g) * h;
        const double s = attention_score_ref(q, k, h, scale, cap), P = exp(s - lse);
        const double slope = cap > 0 ? 1 - (s / cap) * (s / cap) : 1;
        const double dS = P * (dot_ref(dout, v, h) - D) * slope * scale;
        for (size_t c = 0; c < h; c++) {
            dv[c] += P * dout[c];
            dq[c] += dS * k[c];
            dk[c] += dS * q[c];
        }
    }
}

jsc_status attention_vjp_ref(struct jsc_stream *stream, const struct op_attention_vjp *op, jsc_error *error)
{
    const size_t S = (size_t)op->S, T = (size_t)op->T, B = (size_t)op->B, H = (size_t)op->H, h = (size_t)op->h;
    const size_t W = (H + 2 * (size_t)op->K) * h;
    const double *o = op->o, *lse = op->lse, *dout = op->dout;

    (void)stream, (void)error;
    memset(op->dqkv, 0, S * T * B * W * sizeof(double));
    for (size_t s = 0; s < S; s++) {
        const double *base = (const double *)op->qkv + s * T * W;
        for (size_t b = 0; b < B; b++) {
            double *dbase = (double *)op->dqkv + (s * T * B + b) * W;
            const size_t begin = op->pos != NULL ? (size_t)op->pos[b] : 0;
            const size_t end = op->pos != NULL ? begin + 1 : op->last != NULL ? (size_t)op->last[b] + 1 : T;
            for (size_t n = 0; n < H; n++) { /* in head order: dk, dv of a group are sums over its heads */
                for (size_t i = begin; i < end; i++) {
                    const size_t row = s * T + i, from = op->pos != NULL ? s * B + b : row * B + b;
                    pull_query(op, n, i, base, o + (row * H + n) * h, lse[row * H + n], dout + (from * H + n) * h, dbase);
                }
            }
        }
    }
    return JSC_OK;
}
