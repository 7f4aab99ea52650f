/* temperature.c: || yhat^T J_t || with yhat = y / ||y|| held constant, the paper's Temperature Scope (eq. 7). */
#include "scopes_internal.h"

#include <math.h>

void temperature_size(struct job *job)
{
    job->work.n_rhs = 1;
}

/* y -> y / ||y|| in place. */
static jsc_status unit(double *y, size_t d, int q, jsc_error *error)
{
    const double norm = sqrt(dense_dot(y, y, d));
    if (!(norm > 0.0) || !isfinite(norm))
        return status_set(error, JSC_E_NUMERIC, "the final hidden state at position %d has length %g: it has no direction to explain", q,
                          norm);
    for (size_t i = 0; i < d; i++)
        y[i] /= norm;
    return JSC_OK;
}

static jsc_status fill_row(struct job *job, int q, double *cotangent, jsc_error *error)
{
    jsc_status status = JSC_OK;
    TRY(forward_hidden(job->trace, q, cotangent, error));
    TRY(unit(cotangent, (size_t)job->model->d, q, error));
done:
    return status;
}

jsc_status temperature_run(struct job *job, jsc_error *error)
{
    jsc_status status = JSC_OK;
    double *cotangent = NULL;

    TRY(mem_new(&cotangent, (size_t)job->model->d, error));
    TRY(fill_row(job, job->p, cotangent, error));
    TRY(job_norms(job, cotangent, error));
    if (job->out->matrix != NULL)
        TRY(matrix_norms(job, fill_row, error));
done:
    mem_free(cotangent);
    return status;
}
