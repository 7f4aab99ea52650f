/* test_gate.c: activations, their slopes, gated and plain: derivative, tails, every backend against ref. */
#include "testing.h"

TABLE_TEST(gate, BIT(OP_GATE) | BIT(OP_GATE_VJP));

struct gate_at {
    struct rig *rig;
    int f;
    enum act_kind act;
    bool gated;
};

static void gate_row(const struct gate_at *at, const double *gu, double *a, double *c1, double *c2)
{
    RUN(at->rig, gate, .n = 1, .f = at->f, .act = at->act, .gated = at->gated, .gu = (dptr)(uintptr_t)gu, .a = a, .c1 = c1, .c2 = c2);
}

static void gate_forward(const void *context, const double *gu, double *a)
{
    const struct gate_at *at = context;
    double *c1 = new_doubles((size_t)at->f), *c2 = new_doubles((size_t)at->f);
    gate_row(at, gu, a, c1, c2);
    free(c1), free(c2);
}

Test(gate, vjp_is_the_derivative)
{
    enum { F = 40 };
    struct rig rig;
    rig_open(&rig, &ops_ref, 1);
    for (int act = ACT_SILU; act <= ACT_RELU; act++) {
        for (int gated = 0; gated <= 1; gated++) {
            const struct gate_at at = {&rig, F, (enum act_kind)act, gated != 0};
            const size_t width = gated ? 2 * F : F;
            const double *gu = data(1, width, 2.0), *da = data(2, F, 1.0);
            double a[F], c1[F], c2[F], dgu[2 * F];
            gate_row(&at, gu, a, c1, c2);
            RUN(&rig, gate_vjp, .rows = {1, 1, NULL}, .f = F, .gated = at.gated, .da = (dptr)(uintptr_t)da, .c1 = c1, .c2 = c2, .dgu = dgu);
            cr_expect(le(dbl, error_of_gradient(gate_forward, &at, width, gu, F, da, dgu), 1e-6), "activation %d, gated %d", act, gated);
        }
    }
    rig_close(&rig);
    data_free();
}

/* Far out every activation but ReLU's kink is the identity on the right and nothing on the left; no NaN from exp's overflow. */
Test(gate, tails_on_every_backend)
{
    const double g[6] = {-1e4, -200.0, -0.0, 0.0, 200.0, 1e4};
    FOR_EACH_BACKEND(ops)
    {
        for (int act = ACT_SILU; act <= ACT_RELU; act++) {
            struct rig rig;
            double a[6], c1[6];
            rig_open(&rig, ops, 1);
            dptr ad = rig_blank(&rig, ROLE_ACT, 6), c1d = rig_blank(&rig, ROLE_REAL, 6);
            RUN(&rig, gate, .n = 1, .f = 6, .act = (enum act_kind)act, .gu = rig_up(&rig, ROLE_REAL, g, 6), .a = ad, .c1 = c1d);
            rig_down(&rig, ROLE_ACT, a, ad, 6);
            rig_down(&rig, ROLE_REAL, c1, c1d, 6);
            for (int i = 0; i < 6; i++) {
                cr_expect(epsilon_eq(dbl, a[i], fmax(g[i], 0.0), 1e-30), "%s, activation %d of %g: %g", ops->name, act, g[i], a[i]);
                if (g[i] != 0.0)
                    cr_expect(epsilon_eq(dbl, c1[i], g[i] > 0.0, 1e-30), "%s, slope %d at %g: %g", ops->name, act, g[i], c1[i]);
            }
            cr_expect(epsilon_eq(dbl, c1[3], act == ACT_RELU ? 0.0 : 0.5, 1e-30), "%s, slope %d at 0: %g", ops->name, act, c1[3]);
            rig_close(&rig);
        }
    }
}

/* A NaN must come through: a later check names the block (no activation may turn it into a number). */
Test(gate, nan_passes_on_every_backend)
{
    const double g[3] = {1.0, NAN, -1.0};
    FOR_EACH_BACKEND(ops)
    {
        for (int act = ACT_SILU; act <= ACT_RELU; act++) {
            struct rig rig;
            double a[3];
            rig_open(&rig, ops, 1);
            dptr ad = rig_blank(&rig, ROLE_ACT, 3);
            RUN(&rig, gate, .n = 1, .f = 3, .act = (enum act_kind)act, .gu = rig_up(&rig, ROLE_REAL, g, 3), .a = ad,
                .c1 = rig_blank(&rig, ROLE_REAL, 3));
            rig_down(&rig, ROLE_ACT, a, ad, 3);
            cr_expect(isfinite(a[0]) && isnan(a[1]) && isfinite(a[2]), "%s, activation %d: %g %g %g", ops->name, act, a[0], a[1], a[2]);
            rig_close(&rig);
        }
    }
}
