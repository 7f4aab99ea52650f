/* gate_ref.c: activations with their slopes; the gated and the plain middle of an MLP and its pull-back. Literals are integers, so that
 * the same source in float stays in float. */
#include "ref_internal.h"

/* act(g), and act'(g) into *slope */
static double activate(enum act_kind act, double g, double *slope)
{
    switch (act) {
    case ACT_SILU: {
        const double s = 1 / (1 + exp(-g));
        *slope = s * (1 + g * (1 - s));
        return g * s;
    }
    case ACT_GELU_TANH: {
        const double c = 0.7978845608028654, a = 0.044715; /* sqrt(2/pi) */
        const double t = tanh(c * (g + a * g * g * g));
        *slope = (1 + t) / 2 + g / 2 * (1 - t * t) * c * (1 + 3 * a * g * g);
        return g / 2 * (1 + t);
    }
    case ACT_GELU_ERF: {
        const double root = 0.7071067811865476, density = 0.3989422804014327; /* sqrt(1/2), 1/sqrt(2 pi) */
        const double phi = erfc(-g * root) / 2;                               /* 1 + erf would lose the digits of the left tail */
        *slope = phi + g * density * exp(-g * g / 2);
        return g * phi;
    }
    case ACT_RELU:
        break;
    }
    *slope = g > 0.0 ? 1.0 : 0.0;
    return g < 0.0 ? 0.0 : g; /* NaN passes */
}

jsc_status gate_ref(struct jsc_stream *stream, const struct op_gate *op, jsc_error *error)
{
    const size_t f = (size_t)op->f;
    double *a = op->a, *c1 = op->c1, *c2 = op->c2;

    (void)stream, (void)error;
    for (size_t i = 0; i < op->n; i++) {
        const double *gu = (const double *)op->gu + i * (op->gated ? 2 * f : f);
        for (size_t j = 0; j < f; j++) {
            double slope = 0.0;
            const double value = activate(op->act, gu[j], &slope), up = op->gated ? gu[f + j] : 1.0;
            a[i * f + j] = value * up;
            c1[i * f + j] = up * slope;
            if (op->gated)
                c2[i * f + j] = value;
        }
    }
    return JSC_OK;
}

jsc_status gate_vjp_ref(struct jsc_stream *stream, const struct op_gate_vjp *op, jsc_error *error)
{
    const size_t f = (size_t)op->f;
    const double *c1 = op->c1, *c2 = op->c2, *da = op->da;

    (void)stream, (void)error;
    for (size_t row = 0; row < op->rows.n; row++) {
        const size_t i = ref_token(&op->rows, op->rows.tok, row);
        double *dgu = (double *)op->dgu + row * (op->gated ? 2 * f : f);
        for (size_t j = 0; j < f; j++) {
            dgu[j] = da[row * f + j] * c1[i * f + j];
            if (op->gated)
                dgu[f + j] = da[row * f + j] * c2[i * f + j];
        }
    }
    return JSC_OK;
}
