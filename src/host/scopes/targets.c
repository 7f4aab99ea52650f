/* targets.c: logit, log-probability and contrast targets: values, and cotangents of the final hidden state.
 *   logit a            slope_a w_a
 *   contrast a, b      slope_a w_a - slope_b w_b
 *   log-probability a  slope_a w_a - sum_i P_i slope_i w_i */
#include "scopes_internal.h"

#include <math.h>

struct target target_at(const struct job *job, size_t i)
{
    const jsc_attribution *out = job->out;
    return (struct target){out->objective, out->targets[i].id, out->contrast != NULL ? out->contrast[i].id : -1};
}

bool target_bends(const jsc_model *model, const struct target *target)
{
    return target->objective == JSC_OBJECTIVE_LOG_PROBABILITY || model->final_cap > 0.0;
}

/* All V coefficients. The target's own is 1 - P_a, as the sum of the others: near 1 the difference would be rounding. */
static jsc_status log_probability_cotangent(struct job *job, int32_t a, const double *slope, const double *P, double *out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t V = (size_t)job->model->V, start[2] = {0, V};
    int32_t *ids = NULL;
    double *coef = NULL, others = 0.0;

    TRY(mem_new(&ids, V, error));
    TRY(mem_new(&coef, V, error));
    for (size_t i = 0; i < V; i++) {
        ids[i] = (int32_t)i;
        coef[i] = -P[i] * slope[i];
        if (i != (size_t)a)
            others += P[i];
    }
    coef[a] = others * slope[a];
    TRY(head_cotangents(job->trace, 1, start, ids, coef, out, error));
done:
    mem_free(ids);
    mem_free(coef);
    return status;
}

jsc_status target_cotangent(struct job *job, const struct target *target, const double *slope, const double *P, double *out,
                            jsc_error *error)
{
    if (target->objective == JSC_OBJECTIVE_LOG_PROBABILITY)
        return log_probability_cotangent(job, target->a, slope, P, out, error);
    const bool contrast = target->objective == JSC_OBJECTIVE_CONTRAST;
    const size_t start[2] = {0, contrast ? 2 : 1};
    const int32_t ids[2] = {target->a, target->b};
    const double coef[2] = {slope[target->a], contrast ? -slope[target->b] : 0.0};
    return head_cotangents(job->trace, 1, start, ids, coef, out, error);
}

double target_value(const struct target *target, const double *z, size_t V)
{
    if (target->objective == JSC_OBJECTIVE_LOGIT)
        return z[target->a];
    if (target->objective == JSC_OBJECTIVE_CONTRAST)
        return z[target->a] - z[target->b];
    double largest = z[0], sum = 0.0;
    for (size_t i = 1; i < V; i++)
        largest = z[i] > largest ? z[i] : largest;
    for (size_t i = 0; i < V; i++)
        sum += exp(z[i] - largest);
    return z[target->a] - largest - log(sum);
}
