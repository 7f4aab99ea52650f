/* test_matmul.c: linear layers and their pull-back: adjoint of each other, bias, accumulation, every backend against ref. */
#include "testing.h"

TABLE_TEST(matmul, BIT(OP_MATMUL) | BIT(OP_MATMUL_VJP));

struct matmul_at {
    struct rig *rig;
    size_t n;
    const struct jsc_weight *w;
};

static void matmul_forward(const void *context, const double *x, double *y)
{
    const struct matmul_at *at = context;
    RUN(at->rig, matmul, .n = at->n, .w = at->w, .x = (dptr)(uintptr_t)x, .y = y);
}

Test(matmul, vjp_is_the_derivative)
{
    enum { N = 3, IN = 33, OUT = 17 };
    struct rig rig;
    rig_open(&rig, &ops_ref, 1);
    const struct matmul_at at = {&rig, N, rig_weight(&rig, 10, OUT, IN, true, USE_FORWARD | USE_VJP)};
    const double *x = data(1, N * IN, 1.0), *dy = data(2, N * OUT, 1.0);
    double *dx = new_doubles(N * IN);
    RUN(&rig, matmul_vjp, .n = N, .w = at.w, .dy = (dptr)(uintptr_t)dy, .dx = dx);
    cr_expect(le(dbl, error_of_gradient(matmul_forward, &at, N * IN, x, N * OUT, dy, dx), 1e-6));
    free(dx);
    rig_close(&rig);
    data_free();
}

/* Products with one 1 are exact: rows and columns of W come back as they are, on every backend, whatever way it packs them. */
Test(matmul, one_hot_rows_and_columns_on_every_backend)
{
    enum { IN = 37, OUT = 70 };
    FOR_EACH_BACKEND(ops)
    {
        struct rig rig;
        rig_open(&rig, ops, 2);
        const struct jsc_weight *w = rig_weight(&rig, 10, OUT, IN, false, USE_FORWARD | USE_VJP);
        const double *values = data(10, OUT * IN, 1.0 / sqrt(IN));
        double *eye = new_doubles(OUT * OUT), *y = new_doubles(OUT * IN);
        dptr out = rig_blank(&rig, ROLE_REAL, IN * OUT), dx = rig_blank(&rig, ROLE_COT, OUT * IN);
        bool same = true;
        for (int i = 0; i < IN; i++)
            eye[i * IN + i] = 1.0;
        RUN(&rig, matmul, .n = IN, .w = w, .x = rig_up(&rig, ROLE_ACT, eye, IN * IN), .y = out);
        rig_down(&rig, ROLE_REAL, y, out, IN * OUT);
        for (int i = 0; i < IN; i++)
            for (int o = 0; o < OUT; o++)
                same = same && y[i * OUT + o] == values[o * IN + i];
        cr_expect(same, "%s: columns", ops->name);
        memset(eye, 0, OUT * OUT * sizeof *eye);
        for (int i = 0; i < OUT; i++)
            eye[i * OUT + i] = 1.0;
        RUN(&rig, matmul_vjp, .n = OUT, .w = w, .dy = rig_up(&rig, ROLE_COT, eye, OUT * OUT), .dx = dx);
        rig_down(&rig, ROLE_COT, y, dx, OUT * IN);
        cr_expect(same_bits(y, values, OUT * IN), "%s: rows", ops->name);
        rig_close(&rig);
        free(eye);
        free(y);
    }
    data_free();
}

Test(matmul, zero_rows_do_nothing_on_every_backend)
{
    FOR_EACH_BACKEND(ops)
    {
        struct rig rig;
        rig_open(&rig, ops, 1);
        const struct jsc_weight *w = rig_weight(&rig, 10, 5, 7, true, USE_FORWARD | USE_VJP);
        dptr x = rig_blank(&rig, ROLE_ACT, 7), y = rig_up(&rig, ROLE_REAL, data(1, 5, 1.0), 5);
        double after[5];
        RUN(&rig, matmul, .n = 0, .w = w, .x = x, .y = y);
        RUN(&rig, matmul_vjp, .n = 0, .w = w, .dy = y, .dx = x);
        rig_down(&rig, ROLE_REAL, after, y, 5);
        cr_expect(same_bits(after, data(1, 5, 1.0), 5), "%s", ops->name);
        rig_close(&rig);
    }
    data_free();
}
