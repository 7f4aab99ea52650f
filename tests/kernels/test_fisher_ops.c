/* test_fisher_ops.c: the Fisher matrix's factor, products and probes: identities, the peaked case, every backend against ref. */
#include "testing.h"

TABLE_TEST(fisher, BIT(OP_FISHER_ROWS) | BIT(OP_GRAM) | BIT(OP_FISHER_APPLY) | BIT(OP_PROBES));

enum { V = 15, D = 9 };

static int32_t all_ids[V];
static double p[V], slope[V];

static void make_distribution(void)
{
    double sum = 0.0;
    for (int i = 0; i < V; i++) {
        all_ids[i] = i;
        slope[i] = 0.3 + rng_unit(2, 1, (uint64_t)i);
        sum += p[i] = exp(rng_normal(2, 0, (uint64_t)i));
    }
    for (int i = 0; i < V; i++)
        p[i] /= sum;
}

/* F = (diag(s) W)' (diag p - p p') diag(s) W, the definition */
static void expanded(const double *w, double *F)
{
    for (int a = 0; a < D; a++)
        for (int b = 0; b < D; b++) {
            double square = 0.0, mean_a = 0.0, mean_b = 0.0;
            for (int i = 0; i < V; i++) {
                const double wa = slope[i] * w[i * D + a], wb = slope[i] * w[i * D + b];
                square += p[i] * wa * wb, mean_a += p[i] * wa, mean_b += p[i] * wb;
            }
            F[a * D + b] = square - mean_a * mean_b;
        }
}

Test(fisher, gram_is_the_fisher_matrix_and_apply_multiplies_by_it, .init = make_distribution)
{
    struct rig rig;
    rig_open(&rig, &ops_ref, 1);
    const struct jsc_weight *weight = rig_weight(&rig, 10, V, D, false, USE_ROWS);
    const double *w = data(10, V * D, 1.0 / sqrt(D)), *m = data(1, 4 * D, 1.0);
    double wc[V * D], F[D * D], gram[D * D], trace = NAN, diagonal = 0.0, fm[4 * D], c[4 * V], want[4 * D] = {0.0};
    expanded(w, F);
    RUN(&rig, fisher_rows, .n = V, .ids = all_ids, .p = p, .slope = slope, .w = weight, .wc = wc, .trace = &trace);
    RUN(&rig, gram, .n = V, .d = D, .wc = wc, .out = gram);
    cr_expect(le(dbl, error_relative(gram, F, D * D), 1e-13));
    for (int j = 0; j < D; j++)
        diagonal += F[j * D + j];
    cr_expect(epsilon_eq(dbl, trace, diagonal, 1e-13 * diagonal));
    for (int j = 0; j < D; j++) { /* centred: sum sqrt(p) wc = 0 when the p add up to 1 */
        double sum = 0.0;
        for (int i = 0; i < V; i++)
            sum += sqrt(p[i]) * wc[i * D + j];
        cr_expect(epsilon_eq(dbl, sum, 0.0, 1e-15));
    }
    RUN(&rig, fisher_apply, .n = V, .k = 4, .d = D, .wc = wc, .m = (dptr)(uintptr_t)m, .c = c, .fm = fm);
    for (int r = 0; r < 4; r++)
        for (int a = 0; a < D; a++)
            for (int b = 0; b < D; b++)
                want[r * D + b] += m[r * D + a] * F[a * D + b];
    cr_expect(le(dbl, error_relative(fm, want, 4 * D), 1e-13));
    rig_close(&rig);
    data_free();
}

/* One token carries all but 3e-9: in float the expanded form is wrong by half, and so are rows centred with a mean in float. */
Test(fisher, peaked_distribution_on_every_backend)
{
    enum { FEW = 3 };
    const int32_t ids[FEW] = {4, 0, 9};
    const double peaked[FEW] = {1.0 - 3e-9, 2e-9, 1e-9};
    const double *w = data(10, V * D, 1.0 / sqrt(D));
    double want[FEW * D], got[FEW * D], trace = NAN, want_trace = 0.0;
    for (int j = 0; j < D; j++) {
        long double to[FEW], mean = 0.0L; /* relative to the likely token, so that nothing cancels */
        for (int i = 0; i < FEW; i++)
            to[i] = (long double)w[ids[i] * D + j] - (long double)w[ids[0] * D + j], mean += (long double)peaked[i] * to[i];
        for (int i = 0; i < FEW; i++) {
            want[i * D + j] = (double)(sqrtl((long double)peaked[i]) * (to[i] - mean));
            want_trace += want[i * D + j] * want[i * D + j];
        }
    }
    FOR_EACH_BACKEND(ops)
    {
        struct rig rig;
        rig_open(&rig, ops, 2);
        dptr wc = rig_blank(&rig, ROLE_REAL, FEW * D);
        RUN(&rig, fisher_rows, .n = FEW, .ids = ids, .p = peaked, .w = rig_weight(&rig, 10, V, D, false, USE_ROWS), .wc = wc,
            .trace = &trace);
        rig_ok(&rig, ops->sync(rig.stream, &rig.error), "sync");
        rig_down(&rig, ROLE_REAL, got, wc, FEW * D);
        /* 1e-16 / 3e-9: the rounding of 1 - 3e-9 and of mu, both in double */
        cr_expect(le(dbl, error_relative(got, want, FEW * D), EPS32), "%s", ops->name);
        cr_expect(epsilon_eq(dbl, trace, want_trace, 2.0 * EPS32 * want_trace), "%s: trace %.9g, not %.9g", ops->name, trace, want_trace);
        rig_close(&rig);
    }
    data_free();
}

Test(fisher, probes_are_those_of_rng_sign_on_every_backend)
{
    enum { COUNT = 5 };
    const int32_t ids[4] = {100000, 3, 31, 32};
    FOR_EACH_BACKEND(ops)
    {
        struct rig rig;
        rig_open(&rig, ops, 1);
        const double *wc = data(1, 4 * D, 1.0);
        double got[COUNT * D], want[COUNT * D] = {0.0}, scale[COUNT * D] = {0.0};
        dptr out = rig_blank(&rig, ROLE_REAL, COUNT * D);
        RUN(&rig, probes, .n = 4, .count = COUNT, .d = D, .seed = 77, .first = 1000, .ids = ids, .wc = rig_up(&rig, ROLE_REAL, wc, 4 * D),
            .out = out);
        rig_down(&rig, ROLE_REAL, got, out, COUNT * D);
        for (int c = 0; c < COUNT; c++)
            for (int i = 0; i < 4; i++)
                for (int j = 0; j < D; j++) {
                    want[c * D + j] += rng_sign(77, 1000 + (uint64_t)c, (uint64_t)ids[i]) * wc[i * D + j];
                    scale[c * D + j] += fabs(wc[i * D + j]);
                }
        for (int i = 0; i < COUNT * D; i++)
            cr_expect(le(dbl, fabs(got[i] - want[i]), 4 * EPS32 * scale[i]), "%s, element %d", ops->name, i);
        rig_close(&rig);
    }
    data_free();
}

/* The mean of probe probe' over many probes is F, each entry within five of its standard errors. */
Test(fisher, probes_have_the_fisher_matrix_as_covariance)
{
    enum { COUNT = 4000 };
    struct rig rig;
    rig_open(&rig, &ops_ref, 1);
    for (int i = 0; i < V; i++)
        all_ids[i] = i;
    const double *wc = data(1, V * D, 1.0);
    double F[D * D], *probe = new_doubles(COUNT * D);
    RUN(&rig, gram, .n = V, .d = D, .wc = (dptr)(uintptr_t)wc, .out = F);
    RUN(&rig, probes, .n = V, .count = COUNT, .d = D, .seed = 1, .ids = all_ids, .wc = (dptr)(uintptr_t)wc, .out = probe);
    for (int a = 0; a < D; a++)
        for (int b = 0; b < D; b++) {
            double mean = 0.0;
            for (int c = 0; c < COUNT; c++)
                mean += probe[c * D + a] * probe[c * D + b] / COUNT;
            const double spread = sqrt((F[a * D + a] * F[b * D + b] + F[a * D + b] * F[a * D + b]) / COUNT);
            cr_expect(le(dbl, fabs(mean - F[a * D + b]), 5.0 * spread), "[%d,%d]: %g, not %g", a, b, mean, F[a * D + b]);
        }
    free(probe);
    rig_close(&rig);
    data_free();
}
