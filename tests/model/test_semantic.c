/* test_semantic.c: Semantic Scope against finite differences of logit, log-probability and contrast. */
#include "support/differences.h"
#include "support/random_model.h"

#include <criterion/criterion.h>

#include <math.h>

enum { T = 5, D = 18, V = 40 };

struct objective {
    jsc_objective kind;
    int32_t a, b;
};

static double read_objective(void *user, struct trace *trace)
{
    const struct objective *o = user;
    jsc_error error = {0};
    double z[V], sum = 0.0;
    cr_assert(forward_logits(trace, T - 1, z, NULL, &error) == JSC_OK);
    if (o->kind == JSC_OBJECTIVE_CONTRAST)
        return z[o->a] - z[o->b];
    if (o->kind == JSC_OBJECTIVE_LOGIT)
        return z[o->a];
    for (int v = 0; v < V; v++)
        sum += exp(z[v]);
    return z[o->a] - log(sum);
}

static void check_objective(const jsc_model *model, struct objective o)
{
    jsc_request r = ask(JSC_SCOPE_SEMANTIC, T);
    const int32_t targets[2] = {o.a, o.b};
    double x[T * D], grad[T * D];
    r.objective = o.kind, r.targets = targets, r.n_targets = 1;
    jsc_attribution *a = answer(model, &r);
    struct trace *trace = trace_open(model, r.ids, T, x);
    numeric_gradient(trace, x, read_objective, &o, grad);
    for (int t = 0; t < T; t++) {
        double square = 0.0;
        for (int i = 0; i < D; i++)
            square += grad[t * D + i] * grad[t * D + i];
        cr_expect(fabs(a->scores[t] - sqrt(square)) <= 1e-7 * sqrt(square), "objective %d of %d, token %d: %.10g, by differences %.10g",
                  (int)o.kind, (int)o.a, t, a->scores[t], sqrt(square));
    }
    cr_expect(a->n_targets == 1 && a->targets[0].id == o.a && a->objective == o.kind, "what was explained is stated");
    cr_expect(o.kind == JSC_OBJECTIVE_CONTRAST ? a->contrast != NULL && a->contrast[0].id == o.b : a->contrast == NULL);
    trace_free(trace);
    jsc_attribution_free(a);
}

Test(semantic, every_objective_against_finite_differences)
{
    jsc_model *model = random_model(&tiny_sizes, "ref");
    for (int32_t a = 0; a < V; a += 13) {
        check_objective(model, (struct objective){JSC_OBJECTIVE_LOGIT, a, -1});
        check_objective(model, (struct objective){JSC_OBJECTIVE_LOG_PROBABILITY, a, -1});
        check_objective(model, (struct objective){JSC_OBJECTIVE_CONTRAST, a, (a + 5) % V});
    }
    jsc_model_close(model);
}

/* Near probability 1 the log-probability's cotangent is the small difference of large ones; its coefficient is 1 - P as a sum, not as a
 * difference. Against float64: the cpu backend must not lose it in rounding. */
Test(semantic, log_probability_of_a_certain_token)
{
    struct random_sizes peaked = tiny_sizes;
    peaked.head = 4.0;
    jsc_model *ref = random_model(&peaked, "ref"), *cpu = random_model(&peaked, "cpu");
    jsc_request r = ask(JSC_SCOPE_SEMANTIC, T);
    r.objective = JSC_OBJECTIVE_LOG_PROBABILITY;
    jsc_attribution *a = answer(ref, &r), *b = answer(cpu, &r);
    cr_assert(a->targets[0].probability > 0.99, "not certain: %g", a->targets[0].probability);
    for (int t = 0; t < T; t++)
        cr_expect(fabs(a->scores[t] - b->scores[t]) <= 1e-4 * a->scores[t], "token %d: %.9g, %.9g", t, a->scores[t], b->scores[t]);
    jsc_attribution_free(a), jsc_attribution_free(b);
    jsc_model_close(ref), jsc_model_close(cpu);
}
