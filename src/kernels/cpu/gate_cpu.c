/* gate_cpu.c: the MLP's activation with the coefficients that its pull-back needs, and that pull-back. Formulas: ops.h.
 * Oracle: gate_ref.c. Bytes an element: forward 8 read, 12 written; VJP 4 (and c1, c2 from cache) read, 8 written, half of that in fast precision. */
#include "cot_cpu.h"
#include "cpu_internal.h"
#include "math_cpu.h"

#include <math.h>

#define GATE_COLUMNS 512   /* of one task, so that one row keeps a team busy */
#define GATE_WORK    32768 /* elements below which a team costs more than it saves */

/* Activation and derivative; kind is a constant in each loop. NaN gives NaN. */
static inline __attribute__((always_inline)) void activate(enum act_kind kind, double g, double *act, double *slope)
{
    if (kind == ACT_SILU) {
        const double s = sigmoid_cpu(g);
        *act = g * s;
        *slope = s * (1.0 + g * (1.0 - s));
    } else if (kind == ACT_GELU_TANH) { /* (1 + tanh u) / 2 is the sigmoid of 2u: no cancellation for large negative g */
        const double k = 0.79788456080286535588, c = 0.044715;
        const double s = sigmoid_cpu(2.0 * k * (g + c * g * g * g));
        *act = g * s;
        *slope = s + 2.0 * g * s * (1.0 - s) * k * (1.0 + 3.0 * c * g * g);
    } else if (kind == ACT_GELU_ERF) {
        const double s = 0.5 * erfc(-g * 0.70710678118654752440);
        *act = g * s;
        *slope = s + g * 0.39894228040143267794 * exp(-0.5 * g * g);
    } else {
        *act = g < 0.0 ? 0.0 : g;
        *slope = g > 0.0 ? 1.0 : 0.0 * g;
    }
}

struct gate_span {
    const float *g, *u; /* u NULL: plain */
    float *a, *c1, *c2;
    int n;
};

static inline __attribute__((always_inline)) void gate_loop(enum act_kind kind, const struct gate_span *p)
{
    const float *g = p->g, *u = p->u;
    float *a = p->a, *c1 = p->c1, *c2 = p->c2;
    if (u != NULL) {
#pragma omp simd
        for (int j = 0; j < p->n; j++) {
            double act, slope;
            activate(kind, (double)g[j], &act, &slope);
            a[j] = (float)(act * (double)u[j]);
            c1[j] = (float)(slope * (double)u[j]);
            c2[j] = (float)act;
        }
    } else {
#pragma omp simd
        for (int j = 0; j < p->n; j++) {
            double act, slope;
            activate(kind, (double)g[j], &act, &slope);
            a[j] = (float)act;
            c1[j] = (float)slope;
        }
    }
}

CPU_CLONES static void gate_span(enum act_kind kind, const struct gate_span *p)
{
    switch (kind) {
    case ACT_SILU:
        gate_loop(ACT_SILU, p);
        break;
    case ACT_GELU_TANH:
        gate_loop(ACT_GELU_TANH, p);
        break;
    case ACT_GELU_ERF:
        gate_loop(ACT_GELU_ERF, p);
        break;
    case ACT_RELU:
        gate_loop(ACT_RELU, p);
        break;
    }
}

jsc_status gate_cpu(struct jsc_stream *stream, const struct op_gate *op, jsc_error *error)
{
    (void)error;
    const size_t f = (size_t)op->f, width = op->gated ? 2 * f : f, spans = (f + GATE_COLUMNS - 1) / GATE_COLUMNS;
#pragma omp parallel for num_threads(cpu_threads(stream)) schedule(static) if (op->n * f > GATE_WORK / 8)
    for (size_t task = 0; task < op->n * spans; task++) {
        const size_t i = task / spans, j = task % spans * GATE_COLUMNS, at = i * f + j;
        const float *gu = (const float *)op->gu + i * width + j;
        const struct gate_span p = {.g = gu,
                                    .u = op->gated ? gu + f : NULL,
                                    .a = (float *)op->a + at,
                                    .c1 = (float *)op->c1 + at,
                                    .c2 = op->gated ? (float *)op->c2 + at : NULL,
                                    .n = (int)(f - j < GATE_COLUMNS ? f - j : GATE_COLUMNS)};
        gate_span(op->act, &p);
    }
    return JSC_OK;
}

/* ---- VJP ------------------------------------------------------------------------------------------------------------------------ */

CPU_CLONES static void multiply_row(const float *a, const float *b, size_t n, float *out)
{
#pragma omp simd
    for (size_t j = 0; j < n; j++)
        out[j] = a[j] * b[j];
}

/* Columns j .. j+n-1 of row i; n is at most GATE_COLUMNS unless cotangents are floats. at: where the token's c1 and c2 begin. */
static void pull_span(const struct op_gate_vjp *op, size_t i, size_t at, size_t j, size_t n, size_t cot)
{
    const size_t f = (size_t)op->f, width = op->gated ? 2 * f : f;
    float in[GATE_COLUMNS], product[GATE_COLUMNS];
    const float *da = cot_read(dptr_at(op->da, i * f + j, cot), cot, n, in);
    const dptr dg = dptr_at(op->dgu, i * width + j, cot), du = dptr_at(dg, f, cot);
    float *out = cot_begin(dg, cot, product);
    multiply_row(da, (const float *)op->c1 + at + j, n, out);
    cot_end(dg, cot, n, out);
    if (op->gated) {
        out = cot_begin(du, cot, product);
        multiply_row(da, (const float *)op->c2 + at + j, n, out);
        cot_end(du, cot, n, out);
    }
}

jsc_status gate_vjp_cpu(struct jsc_stream *stream, const struct op_gate_vjp *op, jsc_error *error)
{
    (void)error;
    const size_t f = (size_t)op->f, cot = cpu_cot(stream->device), step = cot == sizeof(float) ? f : GATE_COLUMNS;
#pragma omp parallel for num_threads(cpu_threads(stream)) schedule(static) if (op->rows.n * f > GATE_WORK)
    for (size_t i = 0; i < op->rows.n; i++) {
        const size_t t = op->rows.tok != NULL ? (size_t)op->rows.tok[i] : i / (size_t)op->rows.B;
        for (size_t j = 0; j < f; j += step)
            pull_span(op, i, t * f, j, f - j < step ? f - j : step, cot);
    }
    return JSC_OK;
}
