/* test_matrix.c: every row of the position x token matrix is the answer to a request of its own; nothing stands right of the diagonal. */
#include "support/random_model.h"

#include <criterion/criterion.h>

#include <math.h>

enum { T = 7, D = 18 };

static void check_matrix(const jsc_model *model, jsc_request r, int64_t position)
{
    r.position = position, r.matrix = 1;
    jsc_attribution *a = answer(model, &r);
    cr_assert(a->matrix != NULL);
    for (int64_t q = 0; q < T; q++) {
        jsc_request one = r;
        const int32_t next = q < position ? r.ids[q + 1] : -1;
        one.position = q, one.matrix = 0;
        if (r.scope == JSC_SCOPE_SEMANTIC) {
            cr_expect(a->matrix_targets[q] == (q < position    ? next
                                               : q == position ? a->targets[0].id
                                                               : -1),
                      "row %d explains token %d", (int)q, (int)a->matrix_targets[q]);
            if (q < position)
                one.targets = &next, one.n_targets = 1;
        }
        jsc_attribution *row = q <= position ? answer(model, &one) : NULL;
        for (int64_t t = 0; t < T; t++) {
            const double got = a->matrix[q * T + t], want = row != NULL ? row->scores[t] : 0.0;
            cr_expect(t > q || q > position ? got == 0.0 : fabs(got - want) <= 1e-9 * want, "%s, row %d, token %d: %.10g, alone %.10g",
                      jsc_scope_name(r.scope), (int)q, (int)t, got, want);
        }
        jsc_attribution_free(row);
    }
    jsc_attribution_free(a);
}

Test(matrix, semantic)
{
    jsc_model *model = random_model(&tiny_sizes, "ref");
    const int32_t target = 20;
    jsc_request r = ask(JSC_SCOPE_SEMANTIC, T);
    check_matrix(model, r, T - 1);
    check_matrix(model, r, 3);
    r.targets = &target, r.n_targets = 1, r.chunk = 4;
    check_matrix(model, r, T - 1);
    r.objective = JSC_OBJECTIVE_LOG_PROBABILITY;
    check_matrix(model, r, 5);
    jsc_model_close(model);
}

Test(matrix, temperature)
{
    jsc_model *model = random_model(&tiny_sizes, "ref");
    check_matrix(model, ask(JSC_SCOPE_TEMPERATURE, T), T - 1);
    check_matrix(model, ask(JSC_SCOPE_TEMPERATURE, T), 0);
    jsc_model_close(model);
}

Test(matrix, fisher)
{
    jsc_model *model = random_model(&tiny_sizes, "ref");
    jsc_request r = ask(JSC_SCOPE_FISHER, T);
    r.layers = 1;
    check_matrix(model, r, T - 1);
    r.fisher_mode = JSC_FISHER_RANK, r.fisher_rank = 3;
    check_matrix(model, r, 4);
    jsc_model_close(model);
}

Test(matrix, direction)
{
    jsc_model *model = random_model(&tiny_sizes, "ref");
    double direction[D];
    for (int i = 0; i < D; i++)
        direction[i] = cos(i);
    jsc_request r = ask(JSC_SCOPE_DIRECTION, T);
    r.directions = direction, r.n_directions = 1;
    check_matrix(model, r, T - 1);
    jsc_model_close(model);
}
