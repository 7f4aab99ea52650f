/* direction.c: || v^T J_t || for directions v that the caller gives. */
#include "scopes_internal.h"

#include <string.h>

void direction_size(struct job *job)
{
    job->work.n_rhs = (int)job->request->n_directions;
}

/* Every position is asked about the same direction. */
static jsc_status fill_row(struct job *job, int q, double *cotangent, jsc_error *error)
{
    (void)q, (void)error;
    memcpy(cotangent, job->request->directions, (size_t)job->model->d * sizeof *cotangent);
    return JSC_OK;
}

jsc_status direction_run(struct job *job, jsc_error *error)
{
    jsc_status status = JSC_OK;
    TRY(job_norms(job, job->request->directions, error));
    if (job->out->matrix != NULL)
        TRY(matrix_norms(job, fill_row, error));
done:
    return status;
}
