/* test_part_norm.c: norms of parts of a row: derivative, transpose, what is left alone, every backend against ref. */
#include "testing.h"

TABLE_TEST(part_norm, BIT(OP_PART_NORM) | BIT(OP_PART_NORM_VJP));

/* Of one row of WIDE elements, PARTS parts of WIDTH in front. */
enum { PARTS = 3, WIDTH = 7, USED = PARTS * WIDTH, WIDE = USED + 4 };

struct parts_at {
    struct rig *rig;
    enum norm_kind kind;
    bool own, one;
    const double *w, *b;
};

static struct parts_at parts_at(struct rig *rig, int form)
{
    const bool own = (form & 2) != 0, one = (form & 4) != 0;
    const size_t n = own || one ? USED : WIDTH;
    return (struct parts_at){.rig = rig,
                             .kind = (form & 1) != 0 ? NORM_LAYER : NORM_RMS,
                             .own = own,
                             .one = one,
                             .w = data(1, n, 1.0),
                             .b = (form & 1) != 0 ? data(2, n, 1.0) : NULL};
}

/* In place, on ref, whose device memory is host memory. */
static void norm_parts(const struct parts_at *at, double *x, double *xhat, double *r)
{
    RUN(at->rig, part_norm, .n = 1, .parts = at->one ? 1 : PARTS, .width = at->one ? USED : WIDTH, .stride = WIDE, .kind = at->kind,
        .own = at->own, .eps = 0.5, .x = x, .w = (dptr)(uintptr_t)at->w, .b = (dptr)(uintptr_t)at->b, .xhat = xhat, .r = r);
}

static void forward(const void *context, const double *x, double *y)
{
    double xhat[USED], r[PARTS];
    memcpy(y, x, WIDE * sizeof *y);
    norm_parts(context, y, xhat, r);
}

/* dx [WIDE] in place, at x */
static void pull(const struct parts_at *at, const double *x, double *dx)
{
    double y[WIDE], xhat[USED], r[PARTS];
    memcpy(y, x, sizeof y);
    norm_parts(at, y, xhat, r);
    RUN(at->rig, part_norm_vjp, .rows = {.n = 1, .B = 1}, .parts = at->one ? 1 : PARTS, .width = at->one ? USED : WIDTH, .stride = WIDE,
        .kind = at->kind, .own = at->own, .xhat = xhat, .r = r, .w = (dptr)(uintptr_t)at->w, .dx = dx);
}

Test(part_norm, vjp_is_the_derivative)
{
    struct rig rig;
    rig_open(&rig, &ops_ref, 1);
    for (int form = 0; form < 8; form++) {
        const struct parts_at at = parts_at(&rig, form);
        const double *x = data(3, WIDE, 2.0), *dy = data(4, WIDE, 1.0);
        double dx[WIDE];
        memcpy(dx, dy, sizeof dx);
        pull(&at, x, dx);
        cr_expect(le(dbl, error_of_gradient(forward, &at, WIDE, x, WIDE, dy, dx), 1e-6), "form %d", form);
    }
    rig_close(&rig);
    data_free();
}

Test(part_norm, vjp_is_linear)
{
    struct rig rig;
    rig_open(&rig, &ops_ref, 1);
    for (int form = 0; form < 8; form++) {
        const struct parts_at at = parts_at(&rig, form);
        const double *x = data(3, WIDE, 2.0);
        double a[WIDE], b[WIDE], c[WIDE];
        for (int j = 0; j < WIDE; j++) {
            a[j] = data(4, WIDE, 1.0)[j], b[j] = data(5, WIDE, 1.0)[j];
            c[j] = 2.0 * a[j] - 3.0 * b[j];
        }
        pull(&at, x, a);
        pull(&at, x, b);
        pull(&at, x, c);
        for (int j = 0; j < WIDE; j++)
            a[j] = 2.0 * a[j] - 3.0 * b[j];
        cr_expect(le(dbl, error_relative(a, c, WIDE), 1e-14), "form %d", form);
    }
    rig_close(&rig);
    data_free();
}

/* One part as wide as the row, from a fresh dx = dy, is the pull-back of norm. */
Test(part_norm, of_a_whole_row_is_norm_on_every_backend)
{
    enum { D = 40, ROWS = 6, B = 2 };
    FOR_EACH_BACKEND(ops)
    {
        for (int kind = NORM_RMS; kind <= NORM_LAYER; kind++) {
            const enum norm_kind norm = (enum norm_kind)kind;
            struct rig rig;
            rig_open(&rig, ops, 1);
            const double *x = data(1, ROWS * D, 2.0), *dy = data(2, ROWS * B * D, 1.0);
            dptr in = rig_up(&rig, ROLE_REAL, x, ROWS * D), parts = rig_up(&rig, ROLE_REAL, x, ROWS * D),
                 y = rig_blank(&rig, ROLE_REAL, ROWS * D);
            dptr w = rig_up(&rig, ROLE_REAL, data(3, D, 1.0), D), b = rig_up(&rig, ROLE_REAL, data(4, D, 1.0), D);
            dptr r = rig_blank(&rig, ROLE_REAL, ROWS), mean = rig_blank(&rig, ROLE_REAL, ROWS), part_r = rig_blank(&rig, ROLE_REAL, ROWS);
            dptr xhat = rig_blank(&rig, ROLE_REAL, ROWS * D), up = rig_up(&rig, ROLE_COT, dy, ROWS * B * D);
            dptr dx = rig_blank(&rig, ROLE_COT, ROWS * B * D), place = rig_up(&rig, ROLE_COT, dy, ROWS * B * D);
            double want[ROWS * D], got[ROWS * D], want_dx[ROWS * B * D], got_dx[ROWS * B * D];
            RUN(&rig, norm, .n = ROWS, .d = D, .kind = norm, .eps = 1e-3, .x = in, .w = w, .b = b, .y_real = y, .r = r, .mean = mean);
            RUN(&rig, norm_pull, .rows = {.n = ROWS * B, .B = B}, .d = D, .kind = norm, .x = in, .r = r, .mean = mean, .w = w, .dy = up,
                .dx = dx);
            RUN(&rig, part_norm, .n = ROWS, .parts = 1, .width = D, .stride = D, .kind = norm, .eps = 1e-3, .x = parts, .w = w, .b = b,
                .xhat = xhat, .r = part_r);
            RUN(&rig, part_norm_vjp, .rows = {.n = ROWS * B, .B = B}, .parts = 1, .width = D, .stride = D, .kind = norm, .xhat = xhat,
                .r = part_r, .w = w, .dx = place);
            rig_down(&rig, ROLE_REAL, want, y, ROWS * D);
            rig_down(&rig, ROLE_REAL, got, parts, ROWS * D);
            rig_down(&rig, ROLE_COT, want_dx, dx, ROWS * B * D);
            rig_down(&rig, ROLE_COT, got_dx, place, ROWS * B * D);
            cr_expect(le(dbl, error_relative(got, want, ROWS * D), 4.0 * EPS32), "%s, kind %d, forward", ops->name, kind);
            cr_expect(le(dbl, error_relative(got_dx, want_dx, ROWS * B * D), 8.0 * EPS32), "%s, kind %d, VJP", ops->name, kind);
            rig_close(&rig);
        }
    }
    data_free();
}
