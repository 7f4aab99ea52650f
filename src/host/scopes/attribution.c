/* attribution.c: an answer: made empty, filled from the forward pass, checked, freed. */
#include "scopes_internal.h"

#include <math.h>
#include <stdlib.h>

static void free_predictions(jsc_prediction *predictions, size_t n)
{
    for (size_t i = 0; predictions != NULL && i < n; i++)
        mem_free(predictions[i].text);
    mem_free(predictions);
}

void jsc_attribution_free(jsc_attribution *a)
{
    if (a == NULL)
        return;
    for (size_t i = 0; a->tokens != NULL && i < a->n_tokens; i++) {
        mem_free(a->tokens[i].text);
        mem_free(a->tokens[i].bytes);
    }
    mem_free(a->tokens);
    free_predictions(a->targets, a->n_targets);
    free_predictions(a->contrast, a->n_targets);
    free_predictions(a->predictions, a->n_predictions);
    for (size_t i = 0; a->warnings != NULL && i < a->n_warnings; i++)
        mem_free(a->warnings[i]);
    void *const owned[] = {a->model_name, a->family,        a->scores, a->stderrs,        a->signed_scores,
                           a->layers,     a->layer_stderrs, a->matrix, a->matrix_targets, a->fisher.eigenvalues,
                           a->backend,    a->precision,     a->plan,   a->warnings,       a->path.alphas,
                           a->path.norms};
    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++)
        mem_free(owned[i]);
    mem_free(a);
}

static int more_likely(const void *left, const void *right)
{
    const struct ranked *a = left, *b = right;
    if (a->p != b->p)
        return a->p > b->p ? -1 : 1;
    return a->id < b->id ? -1 : a->id > b->id;
}

/* Keeps a buffer of 2 n candidates and halves it whenever it is full: a vocabulary is never sorted for ten predictions. */
jsc_status rank_tokens(const double *P, size_t V, size_t n, struct ranked **out, jsc_error *error)
{
    size_t kept = 0, capacity = 0;
    const jsc_status status = n > V || !size_mul(n, 2, &capacity) ? status_set(error, JSC_E_INTERNAL, "ranks of %zu in %zu tokens", n, V)
                                                                  : mem_new(out, capacity + 1, error);
    if (status != JSC_OK)
        return status;
    struct ranked *best = *out, worst = {-1.0, 0};
    for (size_t i = 0; i < V && n > 0; i++) {
        const struct ranked candidate = {P[i], (int32_t)i};
        if (more_likely(&candidate, &worst) > 0)
            continue;
        best[kept++] = candidate;
        if (kept == capacity) {
            qsort(best, kept, sizeof *best, more_likely);
            kept = n, worst = best[n - 1];
        }
    }
    qsort(best, kept, sizeof *best, more_likely);
    return JSC_OK;
}

static jsc_status fill_tokens(struct job *job, jsc_error *error)
{
    jsc_status status = JSC_OK;
    jsc_attribution *out = job->out;

    TRY(mem_new(&out->tokens, out->n_tokens, error));
    for (size_t t = 0; t < out->n_tokens; t++) {
        jsc_scored_token *token = &out->tokens[t];
        token->id = job->request->ids[t];
        TRY(model_token_text(job->model, token->id, &token->text, &token->bytes, &token->n_bytes, &token->linked, error));
        token->linked = token->linked && t > 0;
    }
done:
    return status;
}

static jsc_status make_arrays(struct job *job, jsc_error *error)
{
    jsc_status status = JSC_OK;
    jsc_attribution *out = job->out;
    const size_t n = out->n_tokens, L = (size_t)job->model->L;

    TRY(mem_new(&out->scores, out->n_scores * n, error));
    if (job->scope->signs)
        TRY(mem_new(&out->signed_scores, out->n_scores * n, error));
    if (job->request->layers)
        TRY(mem_new(&out->layers, out->n_scores * L * n, error));
    if (job->request->matrix) {
        TRY(mem_new(&out->matrix, n * n, error));
        if (job->request->scope == JSC_SCOPE_SEMANTIC) {
            TRY(mem_new(&out->matrix_targets, n, error));
            for (size_t t = 0; t < n; t++)
                out->matrix_targets[t] = -1;
        }
    }
done:
    return status;
}

jsc_status attribution_make(struct job *job, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const jsc_model *m = job->model;
    const jsc_request *r = job->request;
    jsc_attribution *out = NULL;

    TRY(mem_new(&job->out, 1, error));
    out = job->out;
    out->size = sizeof *out;
    out->scope = r->scope;
    out->n_layers = m->L, out->d_model = m->d, out->vocab_size = m->V;
    out->n_tokens = r->n_ids;
    out->position = (size_t)job->p;
    out->objective = r->objective;
    out->seed = r->seed;
    out->bytes_peak = job->plan.peak_bytes;
    out->n_scores = r->n_targets > 0 ? r->n_targets : r->n_directions > 0 ? r->n_directions : 1;
    TRY(mem_strdup(&out->model_name, m->name, error));
    TRY(mem_strdup(&out->family, m->family->name, error));
    TRY(mem_strdup(&out->backend, m->ops->name, error));
    TRY(mem_strdup(&out->precision, m->precision, error));
    TRY(fill_tokens(job, error));
    TRY(make_arrays(job, error));
    for (size_t i = 0; i < m->n_warnings; i++)
        TRY(job_warn(job, error, "%s", m->warnings[i]));
    if (m->config.max_position > 0 && job->T > m->config.max_position)
        TRY(job_warn(job, error, "the prompt has %d tokens, the model was made for %" PRId64 ": its predictions may be poor", job->T,
                     m->config.max_position));
done:
    return status;
}

static jsc_status fill_prediction(const struct job *job, int32_t id, jsc_prediction *out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    char *bytes = NULL;
    size_t n_bytes = 0;
    int linked = 0;

    out->id = id;
    out->probability = job->P[id];
    out->logit = job->z[id];
    TRY(model_token_text(job->model, id, &out->text, &bytes, &n_bytes, &linked, error));
done:
    mem_free(bytes);
    return status;
}

static jsc_status fill_targets(struct job *job, int32_t most_likely, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const jsc_request *r = job->request;
    jsc_attribution *out = job->out;
    const bool contrast = r->objective == JSC_OBJECTIVE_CONTRAST;
    const size_t n = r->n_targets > 0 ? r->n_targets : 1;

    TRY(mem_new(&out->targets, n, error));
    out->n_targets = n;
    if (contrast)
        TRY(mem_new(&out->contrast, n, error));
    for (size_t i = 0; i < n; i++) {
        const int32_t a = r->n_targets == 0 ? most_likely : r->targets[contrast ? 2 * i : i];
        TRY(fill_prediction(job, a, &out->targets[i], error));
        if (contrast)
            TRY(fill_prediction(job, r->targets[2 * i + 1], &out->contrast[i], error));
    }
done:
    return status;
}

jsc_status attribution_fill(struct job *job, jsc_error *error)
{
    jsc_status status = JSC_OK;
    jsc_attribution *out = job->out;
    const size_t V = (size_t)job->model->V, wanted = (size_t)job->request->top_predictions, n = wanted < V ? wanted : V;
    struct ranked *ranked = NULL;

    out->y_norm = sqrt(dense_dot(job->y, job->y, (size_t)job->model->d));
    /* the first is the target, even if no prediction is to be listed */
    TRY(rank_tokens(job->P, V, n > 0 ? n : 1, &ranked, error));
    TRY(mem_new(&out->predictions, n, error));
    out->n_predictions = n;
    for (size_t i = 0; i < n; i++)
        TRY(fill_prediction(job, ranked[i].id, &out->predictions[i], error));
    if (job->scope->takes_targets)
        TRY(fill_targets(job, ranked[0].id, error));
done:
    mem_free(ranked);
    return status;
}

static jsc_status check_finite(const double *values, size_t n, size_t n_tokens, const char *what, jsc_error *error)
{
    for (size_t i = 0; values != NULL && i < n; i++)
        if (!isfinite(values[i]))
            return status_set(error, JSC_E_NUMERIC, "%s of token %zu is not finite (row %zu): the numbers overflow on this prompt", what,
                              i % n_tokens, i / n_tokens);
    return JSC_OK;
}

jsc_status attribution_finish(struct job *job, jsc_error *error)
{
    jsc_status status = JSC_OK;
    jsc_attribution *out = job->out;
    struct strbuf plan = {0};
    const size_t n = out->n_tokens, L = (size_t)job->model->L;

    TRY(check_finite(out->scores, out->n_scores * n, n, "the score", error));
    TRY(check_finite(out->stderrs, n, n, "the standard error", error));
    TRY(check_finite(out->signed_scores, out->signed_scores != NULL ? out->n_scores * n : 0, n, "the signed score", error));
    TRY(check_finite(out->layers, out->layers != NULL ? out->n_scores * L * n : 0, n, "the layer score", error));
    TRY(check_finite(out->matrix, out->matrix != NULL ? n * n : 0, n, "the matrix entry", error));
    out->seconds_load = job->model->load_seconds;
    out->seconds_forward = job->trace->seconds_forward;
    out->seconds_backward = job->trace->seconds_backward;
    const int B = job->trace->largest_B; /* adaptive Fisher plans for all directions and mostly needs few */
    out->chunk = B;
    strbuf_printf(&plan, "%d token%s, %d right-hand side%s at once, MLP %s", job->plan.n_tokens, job->plan.n_tokens == 1 ? "" : "s", B,
                  B == 1 ? "" : "s", jsc_mlp_form_name((jsc_mlp_form)job->trace->largest_form));
    if (job->plan.sequences > 1)
        strbuf_printf(&plan, ", %d steps at once", job->plan.sequences);
    if (plan.failed)
        FAIL(JSC_E_MEMORY, "no memory for the plan's text");
    TRY(mem_strdup(&out->plan, plan.text, error));
done:
    strbuf_free(&plan);
    return status;
}
