/* tangent.c: J u, the change of the final hidden state along tangents of the block inputs, from differences of forward passes. */
#include "engine_internal.h"

#include <math.h>

#define TANGENT_ROWS 512 /* token rows of one forward: products are efficient from a few hundred on */

/* Largest relative change of a token's input. On SmolLM2 differences are then right to 1 % (float32 noise 0.05 %, the rest curvature). */
#define STEP 5e-4

int tangents_at_once(int T, int n)
{
    const int S = TANGENT_ROWS / T;
    return S < 1 ? 1 : S < n ? S : n;
}

uint64_t tangents_bytes(const jsc_model *m, int T, int n)
{
    return trace_forward_bytes(m, tangents_at_once(T, n), T);
}

static double norm(const double *v, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++)
        sum += v[i] * v[i];
    return sqrt(sum);
}

/* u <- x + step u; returns the step, 0 if u is zero. */
static double displace(const double *x, double *u, size_t T, size_t d)
{
    double largest = 0.0;
    for (size_t t = 0; t < T; t++) {
        const double length = norm(x + t * d, d);
        if (length > 0.0)
            largest = fmax(largest, norm(u + t * d, d) / length);
    }
    const double step = largest > 0.0 && isfinite(largest) ? STEP / largest : 0.0;
    for (size_t i = 0; i < T * d; i++)
        u[i] = x[i] + (step > 0.0 ? step * u[i] : 0.0);
    return step;
}

jsc_status tangents_run(const struct trace *like, const double *x, const double *y, double *u, int n, int row, double *dy, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t T = (size_t)like->T, d = (size_t)like->model->d;
    const int most = tangents_at_once(like->T, n);
    struct trace *t = NULL;
    double *steps = NULL;

    TRY(mem_new(&steps, (size_t)n, error));
    TRY(trace_make_forward(like, most, &t, error));
    for (int i = 0; i < n; i++)
        steps[i] = displace(x, u + (size_t)i * T * d, T, d);
    for (int first = 0; first < n; first += most) {
        const int S = n - first < most ? n - first : most;
        TRY(forward_run(t, u + (size_t)first * T * d, S, error));
        for (int s = 0; s < S; s++) {
            double *out = dy + (size_t)(first + s) * d;
            TRY(forward_hidden(t, s * like->T + row, out, error));
            for (size_t i = 0; i < d; i++)
                out[i] = steps[first + s] > 0.0 ? (out[i] - y[i]) / steps[first + s] : 0.0;
        }
    }
done:
    trace_free(t);
    mem_free(steps);
    return status;
}
