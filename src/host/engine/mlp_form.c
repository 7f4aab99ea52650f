/* mlp_form.c: what a pull-back costs: which exact form of the MLP's VJP is cheapest for B right-hand sides (docs/math.md). */
#include "engine_internal.h"

const char *jsc_mlp_form_name(jsc_mlp_form form)
{
    static const char *const names[] = {[JSC_MLP_DIRECT] = "direct", [JSC_MLP_HALF] = "half", [JSC_MLP_FULL] = "full"};
    return (size_t)form < sizeof names / sizeof names[0] ? names[form] : NULL;
}

double mlp_form_flops(enum mlp_form form, double B, double d, double f, bool gated)
{
    const double up = gated ? 2.0 : 1.0; /* up projections */
    switch (form) {
    case MLP_DIRECT:
        return 2.0 * (1.0 + up) * B * d * f;
    case MLP_HALF:
        return 4.0 * B * d * f;
    case MLP_FULL:
        break;
    }
    return 2.0 * d * d * f + 2.0 * B * d * d;
}

/* What work costs beside the FLOPs of large products, in FLOPs of a large product. One place, measured by bench (docs/math.md). */
struct costs {
    double mix;       /* an element of W_t: made from gate and up, stored, read by a product */
    double small;     /* a FLOP of a collapse, whose products are one token's */
    double rows;      /* a product of M rows takes the time of M + rows: its weights come from memory */
    double attention; /* a FLOP of attention's pull-back */
    double score;     /* an element of P, made once for a chunk of right-hand sides */
    /* passes over memory that not every form makes; on a processor they hide behind its slower products */
    double gate; /* direct: an element of f of a row */
    double norm; /* direct, half: an element of d of a row */
    double fold; /* full: an element of A_t */
};
/* 2026-11-25, two Zen 2 cores, SmolLM2 (d 576, f 1536), T = 23: half overtakes direct at 45 right-hand sides, full overtakes half at 340. */
static const struct costs strict = {.mix = 63.0, .small = 1.15, .rows = 24.0, .attention = 1.6, .score = 100.0};
/* Products alone are quicker: two to three times where the processor multiplies bf16. */
static const struct costs fast = {.mix = 140.0, .small = 1.3, .rows = 48.0, .attention = 3.5, .score = 220.0};

/* Computed, not measured: an H100 with 650 TFLOP/s in bf16 products and 50 in float32, 2.9 TB/s, attention at 220 TFLOP/s. A byte costs 224
 * or 17 FLOPs. W_t: written and read; gate: 6 or 12 bytes; norm: 12 or 16; A_t: 12. Half then overtakes direct at 340 right-hand sides
 * (d 2048, f 8192), full overtakes half at 0.6 d. */
static const struct costs gpu_strict = {
    .mix = 140.0, .small = 1.0, .rows = 34.0, .attention = 1.5, .score = 300.0, .gate = 207.0, .norm = 275.0, .fold = 207.0};
static const struct costs gpu_fast = {
    .mix = 900.0, .small = 1.0, .rows = 224.0, .attention = 3.0, .score = 2500.0, .gate = 1344.0, .norm = 2700.0, .fold = 2700.0};

static const struct costs *costs_of(const jsc_model *m)
{
    if (m->device->own_memory > 0)
        return m->device->precision == JSC_PRECISION_FAST ? &gpu_fast : &gpu_strict;
    return m->device->precision == JSC_PRECISION_FAST ? &fast : &strict;
}

/* The MLP half of one block for N tokens. */
static double mlp_cost(const jsc_model *m, enum mlp_form form, double N, double B)
{
    const struct costs *c = costs_of(m);
    const double d = m->d, f = m->f;
    const bool gated = m->family->gated;
    const double reading = mlp_form_flops(MLP_DIRECT, c->rows, d, f, gated);
    const double norm = form == MLP_FULL ? c->fold * d * d : c->norm * B * d;
    if (form == MLP_DIRECT)
        return reading + N * (mlp_form_flops(form, B, d, f, gated) + c->gate * B * f + norm);
    return reading + N * (c->small * mlp_form_flops(form, B, d, f, gated) + c->mix * d * f + norm);
}

enum mlp_form mlp_form_choose(const jsc_model *m, int N, int B)
{
    enum mlp_form best = MLP_DIRECT;
    if (m->norms.sum)
        return best; /* R itself goes through a norm in between */
    for (int form = MLP_HALF; form <= MLP_FULL; form++)
        if (mlp_cost(m, (enum mlp_form)form, N, B) < mlp_cost(m, best, N, B))
            best = (enum mlp_form)form;
    return best;
}

double pull_cost(const jsc_model *m, int S, int T, int B)
{
    const struct costs *c = costs_of(m);
    const double N = (double)S * T, d = m->d, q = (double)m->H * m->h, kv = (double)m->K * m->h;
    const double linear = 2.0 * d * (2.0 * q + 2.0 * kv) * (N * B + c->rows);
    const double pairs = N * T / 2.0; /* that are visible */
    const double attention = pairs * (c->attention * 8.0 * B * q + c->score * m->H);
    return m->L * (linear + attention + mlp_cost(m, mlp_form_choose(m, S * T, B), N, B));
}
