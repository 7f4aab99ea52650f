/* test_temperature.c: Temperature Scope: unit direction held constant, against finite differences. */
#include "support/differences.h"
#include "support/random_model.h"

#include <criterion/criterion.h>

#include <math.h>
#include <string.h>

enum { T = 4, D = 18 };

/* yhat . y for the yhat of the first call. */
struct held {
    double yhat[D], norm;
    int known;
};

static double read_length(void *user, struct trace *trace)
{
    struct held *held = user;
    jsc_error error = {0};
    double y[D], sum = 0.0;
    cr_assert(forward_hidden(trace, T - 1, y, &error) == JSC_OK);
    if (!held->known) {
        for (int i = 0; i < D; i++)
            sum += y[i] * y[i];
        held->norm = sqrt(sum), held->known = 1;
        for (int i = 0; i < D; i++)
            held->yhat[i] = y[i] / held->norm;
    }
    sum = 0.0;
    for (int i = 0; i < D; i++)
        sum += held->yhat[i] * y[i];
    return sum;
}

Test(temperature, against_finite_differences)
{
    jsc_model *model = random_model(&tiny_sizes, "ref");
    jsc_request r = ask(JSC_SCOPE_TEMPERATURE, T);
    struct held held = {.known = 0};
    double x[T * D], grad[T * D];
    jsc_attribution *a = answer(model, &r);
    struct trace *trace = trace_open(model, r.ids, T, x);
    (void)value_at(trace, x, read_length, &held);
    numeric_gradient(trace, x, read_length, &held, grad);
    cr_expect(fabs(a->y_norm - held.norm) <= 1e-12 * held.norm, "|y| is %.12g, %.12g", a->y_norm, held.norm);
    for (int t = 0; t < T; t++) {
        double square = 0.0;
        for (int i = 0; i < D; i++)
            square += grad[t * D + i] * grad[t * D + i];
        cr_expect(fabs(a->scores[t] - sqrt(square)) <= 1e-7 * sqrt(square), "token %d: %.10g, by differences %.10g", t, a->scores[t],
                  sqrt(square));
    }
    cr_expect(a->n_targets == 0 && a->targets == NULL && a->n_scores == 1);
    trace_free(trace);
    jsc_attribution_free(a);
    jsc_model_close(model);
}
