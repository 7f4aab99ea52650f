/* job.c: a request being answered: sizing, trace and buffers, forward, norms of what was pulled back, progress. */
#include "scopes_internal.h"

#include <math.h>
#include <stdio.h>

jsc_status job_size(struct job *job, bool planning, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const jsc_request *r = job->request;
    const jsc_model *m = job->model;

    TRY(request_check(m, r, planning, error));
    job->scope = &scopes[r->scope];
    job->n = (int)r->n_ids;
    job->p = (int)(r->position < 0 ? r->position + (int64_t)r->n_ids : r->position);
    job->T = job->p + 1;
    job->levels = r->layers ? m->L : 1;
    job->work = (struct work){.T = job->T,
                              .n_prompt = job->n,
                              .S = 1,
                              .n_rhs = 1,
                              .chunk = r->chunk,
                              .layers = r->layers != 0,
                              .head_rows = r->matrix ? job->T : 1,
                              .limit = r->memory_limit};
    job->scope->size(job);
    const uint64_t n = r->n_ids, rows = r->n_targets > 0 ? r->n_targets : r->n_directions > 0 ? r->n_directions : 1;
    uint64_t numbers = rows * n * (1 + (r->layers ? (uint64_t)m->L : 0)) + rows * (uint64_t)m->d; /* scores, layers, cotangents */
    if (r->matrix) {
        numbers += n * n + (uint64_t)job->T * (uint64_t)m->d;
        job->work.stairs = job->work.n_rhs == 1; /* all positions in one pull; several right-hand sides: a pull for each position */
        job->work.n_rhs = job->work.stairs ? job->T : job->work.n_rhs;
        job->work.pulls = job->work.stairs ? 1 : job->T;
    }
    job->work.host_bytes += sizeof(double) * numbers;
done:
    return status;
}

jsc_status job_open(struct job *job, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t d = (size_t)job->model->d, V = (size_t)job->model->V, T = (size_t)job->T;

    TRY(trace_make(job->model, &job->plan, &job->trace, error));
    TRY(mem_new(&job->x, T * d, error));
    TRY(mem_new(&job->y, d, error));
    TRY(mem_new(&job->z, V, error));
    TRY(mem_new(&job->slope, V, error));
    TRY(mem_new(&job->P, V, error));
    TRY(mem_new(&job->sums, (size_t)job_parts(job) * (size_t)job->levels * T * (size_t)job->plan.chunk, error));
done:
    return status;
}

void job_close(struct job *job)
{
    trace_free(job->trace);
    mem_free(job->x);
    mem_free(job->y);
    mem_free(job->z);
    mem_free(job->slope);
    mem_free(job->P);
    mem_free(job->sums);
    jsc_attribution_free(job->out);
}

jsc_status job_head(struct job *job, int row, jsc_error *error)
{
    const jsc_status status = forward_logits(job->trace, row, job->z, job->slope, error);
    if (status == JSC_OK)
        (void)softmax(job->z, (size_t)job->model->V, job->P);
    return status;
}

jsc_status job_forward(struct job *job, jsc_error *error)
{
    jsc_status status = JSC_OK;

    TRY(job_progress(job, "forward", 0.0, error));
    job->trace->top_first = job->request->matrix ? 0 : job->p;
    TRY(forward_inputs(job->trace, job->request->ids, job->x, error));
    TRY(forward_run(job->trace, job->x, 1, error));
    TRY(forward_hidden(job->trace, job->p, job->y, error));
    TRY(job_head(job, job->p, error));
done:
    return status;
}

jsc_status job_tick(void *user, double share, jsc_error *error)
{
    const struct ticker *t = user;
    t->job->done = t->before + share * t->units;
    return job_progress(t->job, "backward", 0.0, error);
}

/* scores[s][t] and layers[s][l][t] = sqrt of the sums. */
static jsc_status take_norms(void *user, const struct pulled *chunk, jsc_error *error)
{
    const struct job *job = user;
    const size_t T = (size_t)job->T, n = (size_t)job->n, L = (size_t)job->levels, B = (size_t)chunk->count;
    (void)error;
    for (size_t b = 0; b < B; b++) {
        const size_t s = (size_t)chunk->first + b;
        for (size_t l = 0; l < L; l++)
            for (size_t t = 0; t < T; t++) {
                const double norm = sqrt(chunk->sums[(l * T + t) * B + b]);
                if (l == 0)
                    job->out->scores[s * n + t] = norm;
                if (job->out->layers != NULL)
                    job->out->layers[(s * L + l) * n + t] = norm;
            }
    }
    return JSC_OK;
}

jsc_status job_norms(struct job *job, const double *cotangents, jsc_error *error)
{
    return job_pull(job, (int)job->out->n_scores, cotangents, NULL, take_norms, job, error);
}

jsc_status job_progress(struct job *job, const char *stage, double add, jsc_error *error)
{
    job->done += add;
    if (job->request->progress != NULL && job->request->progress(job->request->progress_user, stage, job->done, job->total) != 0)
        return status_set(error, JSC_E_CANCELLED, "cancelled after %.0f of %.0f units of work", job->done, job->total);
    return JSC_OK;
}

jsc_status job_warn(struct job *job, jsc_error *error, const char *format, ...)
{
    jsc_status status = JSC_OK;
    jsc_attribution *out = job->out;
    char **grown = NULL;
    char line[400];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    TRY(mem_new(&grown, out->n_warnings + 1, error));
    TRY(mem_strdup(&grown[out->n_warnings], line, error));
    for (size_t i = 0; i < out->n_warnings; i++)
        grown[i] = out->warnings[i];
    mem_free(out->warnings);
    out->warnings = grown, grown = NULL;
    out->n_warnings++;
done:
    mem_free(grown);
    return status;
}
