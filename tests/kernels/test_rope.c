/* test_rope.c: rotary embedding: lengths kept, relative positions, the transpose, untouched components, every backend against ref. */
#include "testing.h"

TABLE_TEST(rope, BIT(OP_ROPE) | BIT(OP_ROPE_VJP));

enum { T = 7, HEADS = 3, SIZE = 10, ROT = 6, STRIDE = 4 * SIZE, N = 2 * T };

static double cos_table[T * ROT / 2], sin_table[T * ROT / 2];

static void make_tables(void)
{
    for (int t = 0; t < T; t++)
        for (int j = 0; j < ROT / 2; j++) {
            cos_table[t * ROT / 2 + j] = cos(t * pow(100.0, -2.0 * j / ROT));
            sin_table[t * ROT / 2 + j] = sin(t * pow(100.0, -2.0 * j / ROT));
        }
}

static void rotate(struct rig *rig, enum rope_layout layout, double *x)
{
    RUN(rig, rope, .n = N, .T = T, .heads = HEADS, .h = SIZE, .rot = ROT, .stride = STRIDE, .layout = layout, .x = x, .cos = cos_table,
        .sin = sin_table);
}

Test(rope, the_pull_back_is_the_transpose_and_the_inverse, .init = make_tables)
{
    struct rig rig;
    rig_open(&rig, &ops_ref, 1);
    for (int layout = ROPE_HALF_SPLIT; layout <= ROPE_INTERLEAVED; layout++) {
        double Rx[N * STRIDE], Ry[N * STRIDE];
        const double *x = data(1, N * STRIDE, 1.0), *y = data(2, N * STRIDE, 1.0);
        memcpy(Rx, x, sizeof Rx);
        memcpy(Ry, y, sizeof Ry);
        rotate(&rig, (enum rope_layout)layout, Rx);
        RUN(&rig, rope_vjp, .n = N, .T = T, .B = 1, .heads = HEADS, .h = SIZE, .rot = ROT, .stride = STRIDE,
            .layout = (enum rope_layout)layout, .x = Ry, .cos = cos_table, .sin = sin_table);
        cr_expect(le(dbl, fabs(dot(Rx, y, N * STRIDE) - dot(x, Ry, N * STRIDE)), 1e-12), "<Rx, y> = <x, R'y>, layout %d", layout);
        cr_expect(le(dbl, fabs(dot(Rx, Rx, N * STRIDE) - dot(x, x, N * STRIDE)), 1e-12), "lengths are kept, layout %d", layout);
        RUN(&rig, rope_vjp, .n = N, .T = T, .B = 1, .heads = HEADS, .h = SIZE, .rot = ROT, .stride = STRIDE,
            .layout = (enum rope_layout)layout, .x = Rx, .cos = cos_table, .sin = sin_table);
        cr_expect(le(dbl, error_relative(Rx, x, N * STRIDE), 1e-15), "there and back, layout %d", layout);
    }
    rig_close(&rig);
    data_free();
}

/* The product of q at i and k at j depends on i - j only. */
Test(rope, scores_depend_on_distance_only, .init = make_tables)
{
    struct rig rig;
    rig_open(&rig, &ops_ref, 1);
    for (int layout = ROPE_HALF_SPLIT; layout <= ROPE_INTERLEAVED; layout++) {
        double x[N * STRIDE];
        for (int i = 0; i < N; i++)
            memcpy(x + i * STRIDE, data(1, STRIDE, 1.0), STRIDE * sizeof *x); /* the same row at every position */
        rotate(&rig, (enum rope_layout)layout, x);
        for (int i = 1; i + 2 < T; i++)
            cr_expect(epsilon_eq(dbl, dot(x + i * STRIDE, x + (i + 2) * STRIDE + SIZE, ROT), dot(x, x + 2 * STRIDE + SIZE, ROT), 1e-13));
    }
    rig_close(&rig);
    data_free();
}

Test(rope, rest_of_a_head_and_other_heads_stay_on_every_backend, .init = make_tables)
{
    FOR_EACH_BACKEND(ops)
    {
        for (int layout = ROPE_HALF_SPLIT; layout <= ROPE_INTERLEAVED; layout++) {
            struct rig rig;
            rig_open(&rig, ops, 1);
            const double *x = data(1, N * STRIDE, 1.0);
            double y[N * STRIDE];
            dptr p = rig_up(&rig, ROLE_REAL, x, N * STRIDE);
            RUN(&rig, rope, .n = N, .T = T, .heads = HEADS, .h = SIZE, .rot = ROT, .stride = STRIDE, .layout = (enum rope_layout)layout,
                .x = p, .cos = rig_up(&rig, ROLE_REAL, cos_table, T * ROT / 2), .sin = rig_up(&rig, ROLE_REAL, sin_table, T * ROT / 2));
            rig_down(&rig, ROLE_REAL, y, p, N * STRIDE);
            for (int i = 0; i < N; i++)
                for (int c = 0; c < STRIDE; c++) {
                    const bool turned = c < HEADS * SIZE && c % SIZE < ROT;
                    if (!turned || i % T == 0) /* position 0 is the identity */
                        cr_assert(eq(dbl, y[i * STRIDE + c], x[i * STRIDE + c]), "%s: row %d, component %d", ops->name, i, c);
                    else
                        cr_assert(ne(dbl, y[i * STRIDE + c], x[i * STRIDE + c]), "%s: row %d, component %d", ops->name, i, c);
                }
            rig_close(&rig);
        }
    }
    data_free();
}
