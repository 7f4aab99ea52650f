/* test_mlp_collapse.c: the collapsed forms of the MLP's pull-back equal the direct composition, which equals the derivative. */
#include "testing.h"

TABLE_TEST(mlp_collapse, BIT(OP_MLP_COLLAPSE));

enum { N = 3, B = 4, D = 13, F = 21 };

/* One MLP half on ref: x + down(act(gate) up)(norm x) */
struct half {
    struct rig *rig;
    enum norm_kind kind;
    enum act_kind act;
    bool gated;
    struct jsc_weight *up, *down;
    const double *w;
    double r[N], mean[N], c1[N * F], c2[N * F];
};

static void half_run(struct half *m, const double *x, double *y)
{
    double n[N * D], gu[N * 2 * F], a[N * F];
    RUN(m->rig, norm, .n = N, .d = D, .kind = m->kind, .eps = 1e-5, .x = (dptr)(uintptr_t)x, .w = (dptr)(uintptr_t)m->w, .y = n,
        .y_real = n, .r = m->r, .mean = m->mean);
    RUN(m->rig, matmul, .n = N, .w = m->up, .x = n, .y = gu);
    RUN(m->rig, gate, .n = N, .f = F, .act = m->act, .gated = m->gated, .gu = gu, .a = a, .c1 = m->c1, .c2 = m->c2);
    memcpy(y, x, N * D * sizeof *y);
    RUN(m->rig, matmul, .n = N, .w = m->down, .x = a, .y = y, .accumulate = true);
}

static void half_forward(const void *context, const double *x, double *y)
{
    struct half copy = *(const struct half *)context;
    half_run(&copy, x, y);
}

/* R [N*B][D] in place, op by op */
static void pull_direct(struct half *m, const double *x, double *R, double *ss)
{
    static double da[N * B * F], dgu[N * B * 2 * F], dn[N * B * D];
    const struct rows rows = {N * B, B, NULL};
    RUN(m->rig, matmul_vjp, .n = N * B, .w = m->down, .dy = R, .dx = da);
    RUN(m->rig, gate_vjp, .rows = rows, .f = F, .gated = m->gated, .da = da, .c1 = m->c1, .c2 = m->c2, .dgu = dgu);
    RUN(m->rig, matmul_vjp, .n = N * B, .w = m->up, .dy = dgu, .dx = dn);
    RUN(m->rig, norm_vjp, .rows = rows, .d = D, .kind = m->kind, .x = (dptr)(uintptr_t)x, .r = m->r, .mean = m->mean,
        .w = (dptr)(uintptr_t)m->w, .dn = dn, .R = R, .G = R, .ss = ss);
}

static void pull_collapsed(struct half *m, enum mlp_form form, const double *x, double *R, double *ss)
{
    dptr scratch = rig_bytes(m->rig, NULL, m->rig->ops->mlp_collapse_scratch(m->rig->device, form, 2, B, D, F));
    for (size_t first = 0; first < N; first += 2) /* two tokens, then one */
        RUN(m->rig, mlp_collapse, .form = form, .first = first, .n = first + 2 <= N ? 2 : 1, .B = B, .d = D, .f = F, .gated = m->gated,
            .kind = m->kind, .up = m->up, .down = m->down, .c1 = m->c1, .c2 = m->c2, .x = (dptr)(uintptr_t)x, .r = m->r, .mean = m->mean,
            .w = (dptr)(uintptr_t)m->w, .R = R, .G = R, .ss = ss, .scratch = scratch);
}

Test(mlp_collapse, forms_equal_the_direct_composition_and_the_derivative)
{
    for (int variant = 0; variant < 16; variant++) {
        struct rig rig;
        rig_open(&rig, &ops_ref, 1);
        struct half m = {
            .rig = &rig, .kind = (enum norm_kind)(variant & 1), .gated = (variant & 2) != 0, .act = (enum act_kind)(variant >> 2)};
        m.up = rig_weight(&rig, 10, m.gated ? 2 * F : F, D, false, USE_FORWARD | USE_VJP | USE_ROWS);
        m.down = rig_weight(&rig, 12, D, F, false, USE_FORWARD | USE_VJP | USE_ROWS);
        m.w = data(2, D, 1.0);
        const double *x = data(1, N * D, 1.0), *cot = data(3, N * B * D, 1.0);
        double y[N * D], R[3][N * B * D], ss[3][N * B], one[N * D], pulled[N * D];
        half_run(&m, x, y);
        for (int k = 0; k < 3; k++)
            memcpy(R[k], cot, sizeof R[k]);
        pull_direct(&m, x, R[0], ss[0]);
        pull_collapsed(&m, MLP_HALF, x, R[1], ss[1]);
        pull_collapsed(&m, MLP_FULL, x, R[2], ss[2]);
        for (int k = 1; k < 3; k++) { /* sums of D F terms in another order */
            cr_expect(le(dbl, error_relative(R[k], R[0], N * B * D), D * F * DBL_EPSILON), "form %d, variant %d", k, variant);
            cr_expect(le(dbl, error_relative(ss[k], ss[0], N * B), 2 * D * F * DBL_EPSILON), "squares, form %d, variant %d", k, variant);
        }
        for (int t = 0; t < N; t++) { /* right-hand side 1 by itself */
            memcpy(one + t * D, cot + (t * B + 1) * D, D * sizeof *one);
            memcpy(pulled + t * D, R[0] + (t * B + 1) * D, D * sizeof *one);
        }
        cr_expect(le(dbl, error_of_gradient(half_forward, &m, N * D, x, N * D, one, pulled), 1e-6), "derivative, variant %d", variant);
        rig_close(&rig);
    }
    data_free();
}

/* Tokens outside first .. first + n - 1 keep their R, G and ss. */
Test(mlp_collapse, other_tokens_stay_on_every_backend)
{
    FOR_EACH_BACKEND(ops)
    {
        for (int form = MLP_HALF; form <= MLP_FULL; form++) {
            struct rig rig;
            rig_open(&rig, ops, 2);
            const size_t rows = N * B;
            double *R0 = new_doubles(rows * D), *R1 = new_doubles(rows * D), ss[N * B];
            memcpy(R0, data(3, rows * D, 1.0), rows * D * sizeof *R0);
            dptr R = rig_up(&rig, ROLE_REAL, R0, rows * D), G = rig.stream->one_type ? R : rig_up(&rig, ROLE_COT, R0, rows * D);
            dptr ss_device = rig_bytes(&rig, NULL, sizeof ss);
            RUN(&rig, mlp_collapse, .form = (enum mlp_form)form, .first = 1, .n = 1, .B = B, .d = D, .f = F, .gated = true,
                .up = rig_weight(&rig, 10, 2 * F, D, false, USE_ROWS), .down = rig_weight(&rig, 12, D, F, false, USE_VJP | USE_ROWS),
                .c1 = rig_up(&rig, ROLE_REAL, data(5, N * F, 1.0), N * F), .c2 = rig_up(&rig, ROLE_REAL, data(6, N * F, 1.0), N * F),
                .x = rig_up(&rig, ROLE_REAL, data(1, N * D, 1.0), N * D), .r = rig_up(&rig, ROLE_REAL, data(7, N, 1.0), N),
                .w = rig_up(&rig, ROLE_REAL, data(2, D, 1.0), D), .R = R, .G = G, .ss = ss_device,
                .scratch = rig_bytes(&rig, NULL, ops->mlp_collapse_scratch(rig.device, (enum mlp_form)form, 1, B, D, F)));
            rig_down(&rig, ROLE_REAL, R1, R, rows * D);
            rig_ok(&rig, ops->get_bytes(rig.stream, ss, ss_device, sizeof ss, &rig.error), "get_bytes");
            for (size_t row = 0; row < rows; row++) {
                const bool mine = row / B == 1;
                cr_expect(eq(int, same_bits(R0 + row * D, R1 + row * D, D), !mine), "%s, form %d, row %zu", ops->name, form, row);
                cr_expect(eq(int, isnan(ss[row]) != 0, !mine), "%s, form %d, row %zu: ss %g", ops->name, form, row, ss[row]);
            }
            free(R0), free(R1);
            rig_close(&rig);
        }
    }
    data_free();
}
