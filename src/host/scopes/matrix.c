/* matrix.c: the position x token matrix: every position up to the target is a target of its own. Right-hand sides go back in the order
 * of their positions, so that a chunk of early positions costs only its few tokens. */
#include "scopes_internal.h"

#include <math.h>
#include <string.h>

static jsc_status take_rows(void *user, const struct pulled *chunk, jsc_error *error)
{
    const struct job *job = user;
    const size_t n = (size_t)job->n, B = (size_t)chunk->count;
    (void)error;
    for (size_t b = 0; b < B; b++) {
        const size_t q = (size_t)chunk->first + b;
        for (size_t t = 0; t <= q; t++)
            job->out->matrix[q * n + t] = sqrt(chunk->sums[t * B + b]);
    }
    return JSC_OK;
}

jsc_status matrix_norms(struct job *job, matrix_fill fill, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t d = (size_t)job->model->d, n = (size_t)job->n;
    double *cotangents = NULL;
    int32_t *pos = NULL;

    TRY(mem_new(&cotangents, (size_t)job->p * d, error));
    TRY(mem_new(&pos, (size_t)job->p, error));
    for (int q = 0; q < job->p; q++) {
        pos[q] = q;
        TRY(fill(job, q, cotangents + (size_t)q * d, error));
    }
    TRY(job_pull(job, job->p, cotangents, pos, take_rows, job, error));
    memcpy(job->out->matrix + (size_t)job->p * n, job->out->scores, n * sizeof *job->out->scores);
done:
    mem_free(cotangents);
    mem_free(pos);
    return status;
}
