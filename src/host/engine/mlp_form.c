/* mlp_form.c: direct, half or full: which exact form of the MLP's VJP is cheapest for B right-hand sides (docs/math.md). */
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

/* Cost in units of a GEMM's FLOP. Making W_t touches 3 d f numbers a token, each as dear as 21 FLOPs of a large GEMM; the smaller GEMMs
 * of a collapse run 15 % slower than one large one. Measured 2026-11-25 on two Zen 2 cores, SmolLM2 (d 576, f 1536), T = 23: half
 * overtakes direct at 45 right-hand sides, full overtakes half at 340. */
static double cost(enum mlp_form form, double B, double d, double f, bool gated)
{
    const double flops = mlp_form_flops(form, B, d, f, gated);
    return form == MLP_DIRECT ? flops : 1.15 * flops + 21.0 * 3.0 * d * f;
}

enum mlp_form mlp_form_choose(const jsc_model *model, int B)
{
    enum mlp_form best = MLP_DIRECT;
    const bool gated = model->family->gated;
    for (int form = MLP_HALF; form <= MLP_FULL; form++)
        if (cost((enum mlp_form)form, B, model->d, model->f, gated) < cost(best, B, model->d, model->f, gated))
            best = (enum mlp_form)form;
    return best;
}
