/* test_norm.c: RMSNorm, LayerNorm and none at all: closed forms, derivative, every backend against ref. */
#include "testing.h"

TABLE_TEST(norm, BIT(OP_NORM) | BIT(OP_NORM_VJP) | BIT(OP_NORM_PULL));

struct norm_at {
    struct rig *rig;
    int d;
    enum norm_kind kind;
    const double *w, *b;
};

/* y, r and mean of one row, on ref, whose device memory is host memory */
static void norm_row(const struct norm_at *at, const double *x, double *y, double *r, double *mean)
{
    RUN(at->rig, norm, .n = 1, .d = at->d, .kind = at->kind, .eps = 0.5, .x = (dptr)(uintptr_t)x, .w = (dptr)(uintptr_t)at->w,
        .b = (dptr)(uintptr_t)at->b, .y = y, .y_real = y, .r = r, .mean = mean);
}

static void norm_forward(const void *context, const double *x, double *y)
{
    double r, mean;
    norm_row(context, x, y, &r, &mean);
}

/* The pull-back of dn at x, from R = 0 */
static void norm_pull(const struct norm_at *at, const double *x, const double *dn, double *R)
{
    double *y = new_doubles((size_t)at->d), r, mean = 0.0, ss;
    norm_row(at, x, y, &r, &mean);
    memset(R, 0, (size_t)at->d * sizeof *R);
    RUN(at->rig, norm_vjp, .rows = {1, 1, NULL}, .d = at->d, .kind = at->kind, .x = (dptr)(uintptr_t)x, .r = &r, .mean = &mean,
        .w = (dptr)(uintptr_t)at->w, .dn = (dptr)(uintptr_t)dn, .R = R, .G = R, .ss = &ss);
    cr_expect(epsilon_eq(dbl, ss, dot(R, R, (size_t)at->d), 1e-14 * ss), "ss is the sum of squares of R");
    free(y);
}

Test(norm, vjp_is_the_derivative)
{
    const int widths[] = {1, 2, 33, 64};
    struct rig rig;
    rig_open(&rig, &ops_ref, 1);
    for (int kind = NORM_RMS; kind <= NORM_LAYER; kind++) {
        for (int i = 0; i < 4; i++) {
            const size_t d = (size_t)widths[i];
            const struct norm_at at = {&rig, widths[i], (enum norm_kind)kind, data(1, d, 1.0), kind == NORM_LAYER ? data(2, d, 1.0) : NULL};
            const double *x = data(3, d, 2.0), *dn = data(4, d, 1.0);
            double *R = new_doubles(d);
            norm_pull(&at, x, dn, R);
            cr_expect(le(dbl, error_of_gradient(norm_forward, &at, d, x, d, dn, R), 1e-6), "kind %d, d = %zu", kind, d);
            free(R);
        }
    }
    rig_close(&rig);
    data_free();
}

Test(norm, vjp_is_linear_and_adds_to_what_is_there)
{
    enum { D = 17 };
    struct rig rig;
    rig_open(&rig, &ops_ref, 1);
    for (int kind = NORM_RMS; kind <= NORM_LAYER; kind++) {
        const struct norm_at at = {&rig, D, (enum norm_kind)kind, data(1, D, 1.0), NULL};
        const double *x = data(3, D, 2.0), *a = data(4, D, 1.0), *b = data(5, D, 1.0), *before = data(6, D, 1.0);
        double Ra[D], Rb[D], Rc[D], c[D], r, mean = 0.0, y[D], R[D], sum[D];
        for (int j = 0; j < D; j++)
            c[j] = 2.0 * a[j] - 3.0 * b[j];
        norm_pull(&at, x, a, Ra);
        norm_pull(&at, x, b, Rb);
        norm_pull(&at, x, c, Rc);
        memcpy(R, before, sizeof R);
        norm_row(&at, x, y, &r, &mean);
        RUN(&rig, norm_vjp, .rows = {1, 1, NULL}, .d = D, .kind = at.kind, .x = (dptr)(uintptr_t)x, .r = &r, .mean = &mean,
            .w = (dptr)(uintptr_t)at.w, .dn = (dptr)(uintptr_t)a, .R = R, .G = R);
        for (int j = 0; j < D; j++)
            sum[j] = before[j] + Ra[j], Ra[j] = 2.0 * Ra[j] - 3.0 * Rb[j];
        cr_expect(le(dbl, error_relative(Ra, Rc, D), 1e-14), "linear, kind %d", kind);
        cr_expect(le(dbl, error_relative(R, sum, D), 1e-15), "adds, kind %d", kind);
    }
    rig_close(&rig);
    data_free();
}

/* What a branch gets is what the residual stream would get, and bit for bit: from R = 0 the sum is the summand. Nobody wants G or ss here. */
Test(norm, pull_is_the_vjp_from_nothing_on_every_backend)
{
    enum { T = 3, B = 5, D = 33 };
    FOR_EACH_BACKEND(ops)
    {
        for (int kind = NORM_RMS; kind <= NORM_LAYER; kind++) {
            struct rig rig;
            double zero[T * B * D] = {0.0}, r[T], mean[T], want[T * B * D], got[T * B * D];
            rig_open(&rig, ops, 1);
            for (int t = 0; t < T; t++)
                r[t] = 0.25 + t, mean[t] = 0.5 * t;
            const struct rows rows = {.n = T * B, .B = B};
            dptr x = rig_up(&rig, ROLE_REAL, data(1, T * D, 2.0), T * D), w = rig_up(&rig, ROLE_REAL, data(2, D, 1.0), D);
            dptr r_up = rig_up(&rig, ROLE_REAL, r, T), mean_up = rig_up(&rig, ROLE_REAL, mean, T);
            dptr dy = rig_up(&rig, ROLE_COT, data(3, T * B * D, 1.0), T * B * D), dx = rig_blank(&rig, ROLE_COT, T * B * D);
            dptr R = rig_up(&rig, ROLE_REAL, zero, T * B * D);
            RUN(&rig, norm_vjp, .rows = rows, .d = D, .kind = (enum norm_kind)kind, .x = x, .r = r_up, .mean = mean_up, .w = w, .dn = dy,
                .R = R);
            RUN(&rig, norm_pull, .rows = rows, .d = D, .kind = (enum norm_kind)kind, .x = x, .r = r_up, .mean = mean_up, .w = w, .dy = dy,
                .dx = dx);
            rig_down(&rig, ROLE_REAL, want, R, T * B * D);
            rig_down(&rig, ROLE_COT, got, dx, T * B * D);
            cr_expect(le(dbl, error_relative(got, want, T * B * D), EPS32), "%s, kind %d", ops->name, kind);
            rig_close(&rig);
        }
    }
    data_free();
}

/* A half without a norm passes what it gets, unrounded. */
Test(norm, none_copies_and_adds_on_every_backend)
{
    enum { N = 6, D = 17 };
    FOR_EACH_BACKEND(ops)
    {
        struct rig rig;
        rig_open(&rig, ops, 1);
        const double *x = data(1, N * D, 2.0), *before = data(2, N * D, 1.0);
        double y[N * D], y_real[N * D], R[N * D], sum[N * D];
        dptr y_up = rig_blank(&rig, ROLE_ACT, N * D), y_real_up = rig_blank(&rig, ROLE_REAL, N * D),
             R_up = rig_up(&rig, ROLE_REAL, before, N * D);
        RUN(&rig, norm, .n = N, .d = D, .kind = NORM_NONE, .x = rig_up(&rig, ROLE_REAL, x, N * D), .y = y_up, .y_real = y_real_up);
        RUN(&rig, norm_vjp, .rows = {.n = N, .B = 2}, .d = D, .kind = NORM_NONE, .dn = rig_up(&rig, ROLE_COT, x, N * D), .R = R_up);
        rig_down(&rig, ROLE_ACT, y, y_up, N * D);
        rig_down(&rig, ROLE_REAL, y_real, y_real_up, N * D);
        rig_down(&rig, ROLE_REAL, R, R_up, N * D);
        for (int i = 0; i < N * D; i++)
            sum[i] = x[i] + before[i];
        cr_expect(same_bits(y, x, N * D) && same_bits(y_real, x, N * D), "%s: a copy", ops->name);
        cr_expect(le(dbl, error_relative(R, sum, N * D), EPS32), "%s: R + dn", ops->name);
        rig_close(&rig);
    }
    data_free();
}

/* RMS: x / |x| sqrt(d) w for eps = 0 is what 3, 4 shows by hand; LAYER of two numbers is -1, +1. Any scale of x gives the same. */
Test(norm, closed_forms_on_every_backend)
{
    FOR_EACH_BACKEND(ops)
    {
        struct rig rig;
        rig_open(&rig, ops, 1);
        for (double scale = 0x1p-20; scale <= 0x1p20; scale *= 0x1p20) {
            const double x[2] = {3.0 * scale, 4.0 * scale}, w[2] = {1.0, 2.0}, b[2] = {0.0, 0.5};
            const double want[2][2] = {{3.0 / sqrt(12.5), 8.0 / sqrt(12.5)}, {-1.0, 2.5}};
            for (int kind = NORM_RMS; kind <= NORM_LAYER; kind++) {
                dptr y = rig_blank(&rig, ROLE_REAL, 2);
                double got[2];
                RUN(&rig, norm, .n = 1, .d = 2, .kind = (enum norm_kind)kind, .x = rig_up(&rig, ROLE_REAL, x, 2),
                    .w = rig_up(&rig, ROLE_REAL, w, 2), .b = kind == NORM_LAYER ? rig_up(&rig, ROLE_REAL, b, 2) : NULL, .y_real = y,
                    .y = rig.stream->one_type ? y : NULL, .r = rig_blank(&rig, ROLE_REAL, 1), .mean = rig_blank(&rig, ROLE_REAL, 1));
                rig_down(&rig, ROLE_REAL, got, y, 2);
                cr_expect(le(dbl, error_relative(got, want[kind], 2), 4.0 * EPS32), "%s, kind %d, scale %g: %.9g %.9g", ops->name, kind,
                          scale, got[0], got[1]);
            }
        }
        rig_close(&rig);
    }
}

/* ss is in double whatever R is in: it must be that of R as stored, to double's rounding. */
Test(norm, squares_are_those_of_R_on_every_backend)
{
    enum { T = 5, B = 3, D = 577 };
    FOR_EACH_BACKEND(ops)
    {
        struct op_case c = {OP_NORM_VJP, "squares", .S = 1, .T = T, .B = B, .d = D};
        struct outputs out = {.n = 0};
        struct rig rig;
        rig_open(&rig, ops, 1);
        case_run(&c, &rig, 0, 0, B, &out);
        for (int r = 0; r < T * B; r++) {
            const double *R = out.part[0].v + r * D, want = dot(R, R, D), ss = out.part[2].v[r];
            cr_expect(le(dbl, fabs(ss - want), D * DBL_EPSILON * want), "%s, row %d: %.17g, not %.17g", ops->name, r, ss, want);
        }
        rig_close(&rig);
        outputs_free(&out);
    }
    data_free();
}
