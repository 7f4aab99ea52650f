/* differences.c: gradients of any function of the forward pass by central differences at the block-0 inputs. */
#include "differences.h"

#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

struct trace *trace_open(const jsc_model *model, const int32_t *ids, size_t n, double *x)
{
    jsc_error error = {0};
    jsc_plan plan = JSC_PLAN_INIT;
    struct trace *trace = NULL;
    const struct work work = {.T = (int)n, .S = 1, .n_rhs = 1, .head_rows = 1};
    cr_assert(plan_compute(model, &work, &plan, &error) == JSC_OK, "%s", error.text);
    cr_assert(trace_make(model, &plan, &trace, &error) == JSC_OK, "%s", error.text);
    cr_assert(forward_inputs(trace, ids, x, &error) == JSC_OK, "%s", error.text);
    return trace;
}

double value_at(struct trace *trace, const double *x, read_fn read, void *user)
{
    jsc_error error = {0};
    cr_assert(forward_run(trace, x, 1, &error) == JSC_OK, "%s", error.text);
    return read(user, trace);
}

void numeric_gradient(struct trace *trace, const double *x, read_fn read, void *user, double *grad)
{
    const size_t n = (size_t)trace->T * (size_t)trace->model->d;
    const double h = 1e-5;
    double *moved = malloc(n * sizeof *moved);
    cr_assert(moved != NULL);
    memcpy(moved, x, n * sizeof *moved);
    for (size_t i = 0; i < n; i++) {
        moved[i] = x[i] + h;
        const double high = value_at(trace, moved, read, user);
        moved[i] = x[i] - h;
        const double low = value_at(trace, moved, read, user);
        moved[i] = x[i];
        grad[i] = (high - low) / (2 * h);
    }
    free(moved);
}
