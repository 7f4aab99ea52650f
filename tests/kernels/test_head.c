/* test_head.c: operations on whole rows: embedding, cotangents of logits, add, scatter. */
#include "testing.h"

TABLE_TEST(head, BIT(OP_EMBED) | BIT(OP_HEAD_VJP) | BIT(OP_ADD) | BIT(OP_SCATTER));

/* Rows of 0, 1, 2 and V entries, an id twice, coefficients that cancel. */
Test(head, sparse_rows_on_every_backend)
{
    enum { V = 12, D = 19, ROWS = 5 };
    const size_t start[ROWS + 1] = {0, 0, 1, 3, 5, 5 + V};
    int32_t ids[5 + V] = {7, 3, 3, 2, 9};
    double coef[5 + V] = {-2.0, 1.0, 0.5, 1.0, -1.0}, want[ROWS * D] = {0.0}, got[ROWS * D];
    for (int i = 0; i < V; i++)
        ids[5 + i] = i, coef[5 + i] = 0.1 * (i - 4);
    const double *w = data(10, V * D, 1.0 / sqrt(D));
    for (int r = 0; r < ROWS; r++)
        for (size_t e = start[r]; e < start[r + 1]; e++)
            for (int j = 0; j < D; j++)
                want[r * D + j] += coef[e] * w[ids[e] * D + j];
    FOR_EACH_BACKEND(ops)
    {
        struct rig rig;
        rig_open(&rig, ops, 2);
        dptr out = rig_blank(&rig, ROLE_COT, ROWS * D);
        RUN(&rig, head_vjp, .n = ROWS, .start = start, .ids = ids, .coef = coef, .w = rig_weight(&rig, 10, V, D, false, USE_ROWS),
            .out = out);
        rig_down(&rig, ROLE_COT, got, out, ROWS * D);
        cr_expect(le(dbl, error_elementwise(got, want, ROWS * D), EPS32), "%s", ops->name);
        for (int j = 0; j < D; j++)
            cr_expect(eq(dbl, got[j], 0.0), "%s: a row without entries is zero", ops->name);
        rig_close(&rig);
    }
    data_free();
}

/* The log-probability of a token among near-equals: coefficients sum to 0 while the rows share a large part; sums in float lose it. */
Test(head, cancellation_is_summed_in_double_on_every_backend)
{
    enum { V = 200, D = 3 };
    const size_t start[2] = {0, V};
    float rows[V * D];
    int32_t ids[V];
    double coef[V], want[D] = {0.0}, got[D];
    for (int i = 0; i < V; i++) {
        ids[i] = i;
        coef[i] = i == 0 ? 1.0 - 1.0 / V : -1.0 / V;
        for (int j = 0; j < D; j++) {
            rows[i * D + j] = 1000.0f + (float)rng_normal(1, (uint64_t)j, (uint64_t)i);
            want[j] += coef[i] * (double)rows[i * D + j];
        }
    }
    const struct weight_part part = {.bytes = rows, .type = DTYPE_F32, .n = V, .row_bytes = D * sizeof *rows, .scale = 1.0, .name = "head"};
    FOR_EACH_BACKEND(ops)
    {
        struct rig rig;
        rig_open(&rig, ops, 1);
        rig_ok(&rig, ops->weight_make(rig.device, &part, 1, D, USE_ROWS, NULL, &rig.weights[rig.n_weights++], &rig.error), "weight_make");
        dptr out = rig_blank(&rig, ROLE_COT, D);
        RUN(&rig, head_vjp, .n = 1, .start = start, .ids = ids, .coef = coef, .w = rig.weights[0], .out = out);
        rig_down(&rig, ROLE_COT, got, out, D);
        cr_expect(le(dbl, error_elementwise(got, want, D), EPS32), "%s: %.9g, not %.9g", ops->name, got[0], want[0]);
        rig_close(&rig);
    }
}
