/* test_input_x_gradient.c: input x gradient against finite differences; signed scores are linear in the objective. */
#include "support/differences.h"
#include "support/random_model.h"

#include <criterion/criterion.h>

#include <math.h>

enum { T = 5, D = 18, V = 40, L = 3 };

static double read_logit(void *user, struct trace *trace)
{
    jsc_error error = {0};
    double z[V];
    cr_assert(forward_logits(trace, T - 1, z, NULL, &error) == JSC_OK);
    return z[*(const int32_t *)user];
}

static jsc_attribution *explain(const jsc_model *model, jsc_objective objective, int32_t a, int32_t b)
{
    jsc_request r = ask(JSC_SCOPE_INPUT_X_GRADIENT, T);
    const int32_t targets[2] = {a, b};
    r.objective = objective, r.targets = targets, r.n_targets = 1, r.layers = 1;
    return answer(model, &r);
}

Test(input_x_gradient, against_finite_differences)
{
    jsc_model *model = random_model(&tiny_sizes, "ref");
    int32_t target = 11;
    double x[T * D], grad[T * D];
    jsc_attribution *a = explain(model, JSC_OBJECTIVE_LOGIT, target, -1);
    struct trace *trace = trace_open(model, ask(JSC_SCOPE_INPUT_X_GRADIENT, T).ids, T, x);
    numeric_gradient(trace, x, read_logit, &target, grad);
    for (int t = 0; t < T; t++) {
        double square = 0.0, sum = 0.0;
        for (int i = 0; i < D; i++) {
            square += pow(x[t * D + i] * grad[t * D + i], 2);
            sum += x[t * D + i] * grad[t * D + i];
        }
        cr_expect(fabs(a->scores[t] - sqrt(square)) <= 1e-7 * sqrt(square), "token %d: %.10g, %.10g", t, a->scores[t], sqrt(square));
        cr_expect(fabs(a->signed_scores[t] - sum) <= 1e-7 * sqrt(square), "token %d, signed: %.10g, %.10g", t, a->signed_scores[t], sum);
    }
    trace_free(trace);
    jsc_attribution_free(a);
    jsc_model_close(model);
}

/* z_a - z_b and log P_a = z_a - sum_i P_i z_i in their gradients. */
Test(input_x_gradient, signed_scores_are_linear_in_the_objective)
{
    jsc_model *model = random_model(&tiny_sizes, "ref");
    jsc_attribution *each[V], *contrast = explain(model, JSC_OBJECTIVE_CONTRAST, 3, 30),
                              *log_probability = explain(model, JSC_OBJECTIVE_LOG_PROBABILITY, 3, -1);
    for (int v = 0; v < V; v++)
        each[v] = explain(model, JSC_OBJECTIVE_LOGIT, v, -1);
    for (int t = 0; t < T; t++) {
        double mean = 0.0;
        for (int v = 0; v < V; v++)
            mean += each[v]->targets[0].probability * each[v]->signed_scores[t];
        cr_expect(fabs(contrast->signed_scores[t] - (each[3]->signed_scores[t] - each[30]->signed_scores[t])) <=
                      1e-12 * contrast->scores[t],
                  "contrast, token %d", t);
        cr_expect(fabs(log_probability->signed_scores[t] - (each[3]->signed_scores[t] - mean)) <= 1e-12 * log_probability->scores[t],
                  "log-probability, token %d", t);
    }
    for (int v = 0; v < V; v++)
        jsc_attribution_free(each[v]);
    jsc_attribution_free(contrast), jsc_attribution_free(log_probability);
    jsc_model_close(model);
}

/* With and without a layer map: the same scores, bit for bit. */
Test(input_x_gradient, layers_change_nothing)
{
    jsc_model *model = random_model(&tiny_sizes, "ref");
    jsc_request r = ask(JSC_SCOPE_INPUT_X_GRADIENT, T);
    jsc_attribution *a = answer(model, &r);
    r.layers = 1;
    jsc_attribution *b = answer(model, &r);
    for (int t = 0; t < T; t++)
        cr_expect(a->scores[t] == b->scores[t] && a->signed_scores[t] == b->signed_scores[t] && b->layers[t] == b->scores[t]);
    cr_expect(a->layers == NULL);
    jsc_attribution_free(a), jsc_attribution_free(b);
    jsc_model_close(model);
}
