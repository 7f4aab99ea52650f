/* test_path.c: path-integrated gradients: they add up (case 37), converge as their rule says, and mean the same along every block. */
#include "base_internal.h"
#include "support/differences.h"
#include "support/random_model.h"

#include <criterion/criterion.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { T = 5, D = 18, L = 3, V = 40 };

/* A path that norm does not break: from one token's embedding to the others. */
static jsc_request smooth(int steps)
{
    jsc_request r = ask(JSC_SCOPE_PATH, T);
    r.baseline = JSC_BASELINE_ID, r.baseline_id = 33, r.path_steps = steps;
    return r;
}

static double total(const jsc_attribution *a)
{
    double sum = 0.0;
    for (int t = 0; t < T; t++)
        sum += a->signed_scores[t];
    return sum;
}

Test(path, case_37_attributions_sum_to_the_difference)
{
    jsc_model *model = random_model(&tiny_sizes, "ref");
    static const jsc_objective objectives[] = {JSC_OBJECTIVE_LOGIT, JSC_OBJECTIVE_LOG_PROBABILITY, JSC_OBJECTIVE_CONTRAST};
    const int32_t targets[2] = {12, 31};
    for (int rule = JSC_PATH_UNIFORM; rule <= JSC_PATH_GRADED; rule++)
        for (int o = 0; o < 3; o++) {
            double errors[3];
            for (int i = 0; i < 3; i++) {
                jsc_request r = smooth(400 << i);
                r.path_rule = (jsc_path_rule)rule, r.objective = objectives[o], r.targets = targets, r.n_targets = 1;
                jsc_attribution *a = answer(model, &r);
                cr_expect(fabs(total(a) - a->path.sum) <= 1e-12, "signed scores sum to %g, %g is stated", total(a), a->path.sum);
                cr_expect(fabs(a->path.sum - a->path.difference) == a->path.completeness_error);
                cr_expect(a->path.steps == 400 << i && (int)a->path.rule == rule && a->path.baseline_id == 33);
                errors[i] = a->path.completeness_error / fabs(a->path.difference);
                jsc_attribution_free(a);
            }
            cr_expect(errors[2] <= 2e-3, "rule %d, objective %d: %g after 1600 steps", rule, o, errors[2]);
            cr_expect(errors[2] <= 0.1 * errors[0] || errors[2] <= 1e-6, "rule %d, objective %d: errors %g, %g, %g do not fall", rule, o,
                      errors[0], errors[1], errors[2]);
        }
    jsc_model_close(model);
}

Test(path, case_37_an_error_above_ten_percent_is_said)
{
    jsc_model *model = random_model(&tiny_sizes, "ref");
    for (int steps = 1; steps <= 400; steps *= 400) {
        jsc_request r = smooth(steps);
        jsc_attribution *a = answer(model, &r);
        const int large = a->path.completeness_error > 0.1 * fabs(a->path.difference);
        cr_expect(a->n_warnings == (size_t)large, "%d steps: error %g of %g, %zu warnings", steps, a->path.completeness_error,
                  a->path.difference, a->n_warnings);
        cr_expect(large == (steps == 1), "%d steps: error %g of %g", steps, a->path.completeness_error, a->path.difference);
        jsc_attribution_free(a);
    }
    jsc_model_close(model);
}

/* Few steps in a forward pass, with a rest, give the same answer as all of them at once. */
Test(path, case_30_steps_at_once_do_not_change_scores)
{
    jsc_model *model = random_model(&tiny_sizes, "ref");
    jsc_request r = smooth(23);
    jsc_plan plan = JSC_PLAN_INIT;
    jsc_error error = {0};
    r.layers = 1;
    jsc_attribution *many = answer(model, &r);
    cr_assert(jsc_plan_make(model, &r, &plan, &error) == JSC_OK && plan.sequences > 1);
    r.memory_limit = plan.peak_bytes / 3;
    cr_assert(jsc_plan_make(model, &r, &plan, &error) == JSC_OK && plan.sequences > 1 && plan.sequences < 12, "%d at once: %s",
              plan.sequences, error.text);
    jsc_attribution *few = answer(model, &r);
    for (int i = 0; i < L * T; i++)
        cr_expect(fabs(many->layers[i] - few->layers[i]) <= 1e-12 * many->layers[i], "cell %d: %.12g, %.12g", i, many->layers[i],
                  few->layers[i]);
    jsc_attribution_free(many), jsc_attribution_free(few);
    jsc_model_close(model);
}

static double read_target(void *user, struct trace *trace)
{
    jsc_error error = {0};
    double z[V];
    cr_assert(forward_logits(trace, T - 1, z, NULL, &error) == JSC_OK);
    return z[*(const int32_t *)user];
}

static jsc_status keep_level(void *user, int l, const double *grads, jsc_error *error)
{
    (void)error;
    memcpy(((double(*)[T * D]) user)[l], grads, T * D * sizeof(double));
    return JSC_OK;
}

/* Gradient of a logit at every block's input, at the last forward pass. */
static void pull_gradients(struct trace *trace, int32_t target, double (*out)[T * D])
{
    const size_t start[2] = {0, 1};
    const double one = 1.0;
    const int32_t pos = T - 1;
    double cot[D], grads[T * D];
    jsc_error error = {0};
    cr_assert(head_cotangents(trace, 1, start, &target, &one, cot, &error) == JSC_OK);
    const struct pull pull = {.S = 1, .B = 1, .pos = &pos, .cot = cot, .grads = grads, .level = keep_level, .user = out};
    cr_assert(vjp_pull(trace, &pull, &error) == JSC_OK, "%s", error.text);
}

/* One step is the gradient at the middle times the whole way: at block 0 by finite differences, at every block from the engine. */
Test(path, one_step_is_the_gradient_at_the_middle)
{
    jsc_model *model = random_model(&tiny_sizes, "ref");
    jsc_request r = smooth(1);
    int32_t target = 9;
    r.targets = &target, r.n_targets = 1, r.layers = 1;
    jsc_attribution *a = answer(model, &r);
    const int32_t same[T] = {33, 33, 33, 33, 33};
    double x[T * D], base[T * D], middle[T * D], grad[T * D], high[L][T * D], low[L][T * D], grads[L][T * D];
    jsc_error error = {0};
    struct trace *trace = trace_open(model, same, T, base);
    cr_assert(forward_inputs(trace, r.ids, x, &error) == JSC_OK);
    for (int i = 0; i < T * D; i++)
        middle[i] = 0.5 * (x[i] + base[i]);
    const double difference = value_at(trace, x, read_target, &target) - value_at(trace, base, read_target, &target);
    cr_expect(fabs(a->path.difference - difference) <= 1e-12, "difference %g, %g", a->path.difference, difference);
    numeric_gradient(trace, middle, read_target, &target, grad);
    cr_expect(a->path.n_nodes == 1 && a->path.alphas[0] == 0.5);
    for (int t = 0; t < T; t++) {
        double square = 0.0, length = 0.0;
        for (int i = t * D; i < (t + 1) * D; i++) {
            square += pow((x[i] - base[i]) * grad[i], 2);
            length += grad[i] * grad[i];
        }
        cr_expect(fabs(a->scores[t] - sqrt(square)) <= 1e-6 * sqrt(square), "token %d: %.9g, %.9g", t, a->scores[t], sqrt(square));
        cr_expect(fabs(a->path.norms[t] - sqrt(length)) <= 1e-6 * sqrt(length), "token %d: %.9g, %.9g", t, a->path.norms[t], sqrt(length));
    }
    /* deeper blocks: the gradient there times the way that the block's input goes */
    for (int ends = 0; ends < 2; ends++) {
        (void)value_at(trace, ends == 0 ? x : base, read_target, &target);
        for (int l = 0; l < L; l++)
            cr_assert(model->ops->get(trace->stream, ROLE_REAL, ends == 0 ? high[l] : low[l], trace->layers[l].x_in, T * D, &error) ==
                      JSC_OK);
    }
    (void)value_at(trace, middle, read_target, &target);
    pull_gradients(trace, target, grads);
    for (int l = 0; l < L; l++)
        for (int t = 0; t < T; t++) {
            double square = 0.0;
            for (int i = t * D; i < (t + 1) * D; i++)
                square += pow((high[l][i] - low[l][i]) * grads[l][i], 2);
            cr_expect(fabs(a->layers[l * T + t] - sqrt(square)) <= 1e-9 * sqrt(square), "block %d, token %d: %.10g, %.10g", l, t,
                      a->layers[l * T + t], sqrt(square));
        }
    trace_free(trace);
    jsc_attribution_free(a);
    jsc_model_close(model);
}

/* Every block's row converges, with the square of the steps. */
Test(path, layer_rows_converge)
{
    jsc_model *model = random_model(&tiny_sizes, "ref");
    jsc_request r = smooth(50);
    r.layers = 1;
    jsc_attribution *coarse = answer(model, &r);
    r.path_steps = 400;
    jsc_attribution *fine = answer(model, &r);
    r.path_steps = 3200;
    jsc_attribution *finest = answer(model, &r);
    for (int i = 0; i < L * T; i++) {
        const double first = fabs(coarse->layers[i] - finest->layers[i]), second = fabs(fine->layers[i] - finest->layers[i]);
        cr_expect(second <= 0.05 * first + 1e-5 * finest->layers[i], "cell %d: off by %g, then %g of %g", i, first, second,
                  finest->layers[i]);
    }
    jsc_attribution_free(coarse), jsc_attribution_free(fine), jsc_attribution_free(finest);
    jsc_model_close(model);
}

Test(path, the_mean_baseline_is_the_mean_embedding)
{
    jsc_model *model = random_model(&tiny_sizes, "ref");
    jsc_request r = ask(JSC_SCOPE_PATH, T);
    r.baseline = JSC_BASELINE_MEAN, r.path_steps = 1;
    int32_t target = 9;
    r.targets = &target, r.n_targets = 1;
    jsc_attribution *a = answer(model, &r);
    int32_t ids[V];
    double x[V * D], base[T * D] = {0};
    for (int v = 0; v < V; v++)
        ids[v] = v;
    struct trace *all = trace_open(model, ids, V, x), *trace = NULL;
    for (int v = 0; v < V; v++)
        for (int i = 0; i < T * D; i++)
            base[i] += x[v * D + i % D] / V;
    trace_free(all);
    trace = trace_open(model, r.ids, T, x);
    const double difference = value_at(trace, x, read_target, &target) - value_at(trace, base, read_target, &target);
    cr_expect(fabs(a->path.difference - difference) <= 1e-11, "difference %.12g, %.12g", a->path.difference, difference);
    trace_free(trace);
    jsc_attribution_free(a);
    jsc_model_close(model);
}

/* From zero the norm makes the path a step: the answer must still be finite and say how far off it is. */
Test(path, the_zero_baseline_is_finite)
{
    jsc_model *model = random_model(&tiny_sizes, "cpu");
    for (int rule = JSC_PATH_UNIFORM; rule <= JSC_PATH_GRADED; rule++) {
        jsc_request r = ask(JSC_SCOPE_PATH, T);
        r.path_rule = (jsc_path_rule)rule;
        jsc_attribution *a = answer(model, &r);
        cr_expect(isfinite(a->path.sum) && isfinite(a->path.difference) && a->path.steps == 100 && a->path.baseline_id == -1);
        for (int t = 0; t < T; t++)
            cr_expect(a->scores[t] > 0.0 && isfinite(a->scores[t]));
        jsc_attribution_free(a);
    }
    jsc_model_close(model);
}

/* Near the prompt the gradient is the semantic score's; of many steps every so many are told, whatever runs at once. */
Test(path, gradients_along_the_path)
{
    static const struct {
        int steps, nodes;
    } cases[] = {{1, 1}, {100, 100}, {101, 51}, {250, 84}};
    jsc_model *model = random_model(&tiny_sizes, "ref");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        jsc_request r = smooth(cases[i].steps);
        jsc_attribution *a = answer(model, &r);
        cr_assert(a->path.n_nodes == (size_t)cases[i].nodes, "%d steps: %zu", cases[i].steps, a->path.n_nodes);
        cr_expect(fabs(a->path.alphas[0] - (1.0 - 0.5 / cases[i].steps)) <= 1e-12);
        for (size_t k = 1; k < a->path.n_nodes; k++)
            cr_expect(a->path.alphas[k] < a->path.alphas[k - 1] && a->path.alphas[k] > 0.0);
        for (size_t k = 0; k < a->path.n_nodes * T; k++)
            cr_expect(a->path.norms[k] > 0.0 && isfinite(a->path.norms[k]), "%zu", k);
        jsc_attribution_free(a);
    }
    jsc_request r = smooth(20000), s = ask(JSC_SCOPE_SEMANTIC, T);
    jsc_attribution *a = answer(model, &r), *b = answer(model, &s);
    for (int t = 0; t < T; t++)
        cr_expect(fabs(a->path.norms[t] - b->scores[t]) <= 1e-2 * b->scores[t], "token %d: %g, %g", t, a->path.norms[t], b->scores[t]);
    jsc_attribution_free(a);
    jsc_attribution_free(b);
    jsc_model_close(model);
}
