/* semantic.c: || w_target^T J_t ||, the paper's Semantic Scope (eq. 3), for one or several targets. */
#include "scopes_internal.h"

void semantic_size(struct job *job)
{
    if (job->request->n_targets > 0)
        job->work.n_rhs = (int)job->request->n_targets;
}

/* Row q of the matrix explains the token that follows. */
static jsc_status fill_row(struct job *job, int q, double *cotangent, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const struct target target = {job->out->objective, job->request->ids[q + 1], -1};

    job->out->matrix_targets[q] = target.a;
    if (target_bends(job->model, &target))
        TRY(job_head(job, q, error));
    TRY(target_cotangent(job, &target, job->slope, job->P, cotangent, error));
done:
    return status;
}

jsc_status semantic_run(struct job *job, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t d = (size_t)job->model->d, n = job->out->n_scores;
    double *cotangents = NULL;

    TRY(mem_new(&cotangents, n * d, error));
    for (size_t i = 0; i < n; i++) {
        const struct target target = target_at(job, i);
        TRY(target_cotangent(job, &target, job->slope, job->P, cotangents + i * d, error));
    }
    TRY(job_norms(job, cotangents, error));
    if (job->out->matrix != NULL) {
        job->out->matrix_targets[job->p] = job->out->targets[0].id;
        TRY(matrix_norms(job, fill_row, error));
    }
done:
    mem_free(cotangents);
    return status;
}
