/* test_direction.c: caller-given directions: homogeneous, independent of company, and complete over a basis. */
#include "support/random_model.h"

#include <criterion/criterion.h>

#include <math.h>

enum { T = 6, D = 18, L = 3 };

Test(direction, scores_scale_with_the_direction)
{
    jsc_model *model = random_model(&tiny_sizes, "ref");
    jsc_request r = ask(JSC_SCOPE_DIRECTION, T);
    double rows[3 * D];
    for (int i = 0; i < D; i++)
        rows[i] = i - 4.5, rows[D + i] = -3.0 * rows[i], rows[2 * D + i] = 0.0;
    r.directions = rows, r.n_directions = 3, r.layers = 1;
    jsc_attribution *a = answer(model, &r);
    cr_assert(a->n_scores == 3 && a->n_targets == 0);
    for (int i = 0; i < L * T; i++) {
        cr_expect(fabs(a->layers[L * T + i] - 3.0 * a->layers[i]) <= 1e-12 * a->layers[L * T + i], "cell %d", i);
        cr_expect(a->layers[2 * L * T + i] == 0.0, "the zero direction scores nothing");
    }
    jsc_attribution_free(a);
    jsc_model_close(model);
}

/* sum over a rotated basis of ||v^T J||^2 = ||J||_F^2 = sum over the axes. */
Test(direction, squares_over_a_basis_do_not_depend_on_the_basis)
{
    jsc_model *model = random_model(&tiny_sizes, "ref");
    jsc_request r = ask(JSC_SCOPE_DIRECTION, T);
    double axes[D * D] = {0}, rotated[D * D];
    for (int i = 0; i < D; i++)
        for (int j = 0; j < D; j++) {
            axes[i * D + j] = i == j;
            rotated[i * D + j] = (i == j) - 2.0 / D; /* a reflection */
        }
    r.n_directions = D, r.directions = axes;
    jsc_attribution *a = answer(model, &r);
    r.directions = rotated;
    jsc_attribution *b = answer(model, &r);
    for (int t = 0; t < T; t++) {
        double first = 0.0, second = 0.0;
        for (int i = 0; i < D; i++) {
            first += a->scores[i * T + t] * a->scores[i * T + t];
            second += b->scores[i * T + t] * b->scores[i * T + t];
        }
        cr_expect(fabs(first - second) <= 1e-12 * first, "token %d: %.12g, %.12g", t, first, second);
    }
    jsc_attribution_free(a), jsc_attribution_free(b);
    jsc_model_close(model);
}
