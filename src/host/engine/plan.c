/* plan.c: sizes, bytes, chunks and forms of a request, before anything is allocated: a pure function of (model, work, limit). */
#include "engine_internal.h"

#include <string.h>

/* Without a wish of the caller, stay where larger chunks gain nothing more. */
#define SOFT_BYTES     ((uint64_t)2 << 30)
#define PATH_ROWS      1024               /* token rows of one forward of several sequences: weights are read once for all of them */
#define MLP_HALF_BYTES ((size_t)64 << 20) /* da and dgu of one token chunk: they should meet in the last cache */

jsc_status plan_sizes(const jsc_model *m, const jsc_plan *plan, struct trace_sizes *z, jsc_error *error)
{
    *z = (struct trace_sizes){.S = (size_t)plan->sequences, .T = (size_t)plan->n_tokens, .B = (size_t)plan->chunk, .backward = true};
    z->levels = plan->levels > 1 ? (size_t)plan->levels : 1;
    z->form = (enum mlp_form)plan->mlp_form;
    z->token_chunk = (size_t)plan->token_chunk;
    if (m == NULL || plan->sequences < 1 || plan->n_tokens < 1 || plan->chunk < 1 || plan->token_chunk < 1)
        return status_set(error, JSC_E_INTERNAL, "plan of %d sequences, %d tokens, %d right-hand sides", plan->sequences, plan->n_tokens,
                          plan->chunk);
    if (!size_mul(z->S, z->T, &z->N) || !size_mul(z->N, z->B, &z->M) || z->M > INT32_MAX)
        return status_set(error, JSC_E_MEMORY, "%d sequences of %d tokens with %d right-hand sides are too many rows", plan->sequences,
                          plan->n_tokens, plan->chunk);
    return JSC_OK;
}

/* Bytes of da and dgu for one token. */
static size_t mlp_bytes(const jsc_model *m, size_t B, size_t cot)
{
    return B * (size_t)m->f * (m->family->gated ? 3 : 2) * cot;
}

/* Fills chunk-dependent fields of the plan and returns the bytes beyond the weights; SIZE_MAX if they cannot be addressed. */
static uint64_t measure(const jsc_model *m, const struct work *work, int S, int B, jsc_plan *plan)
{
    struct trace dry = {0};
    struct trace_sizes z;
    struct arena whole = {0}, forward = {0};
    const size_t *size_of = m->load_stream->size_of;
    const bool one_type = m->load_stream->one_type;

    plan->sequences = S;
    plan->chunk = B;
    plan->chunks = (work->n_rhs + B - 1) / B;
    plan->mlp_form = (jsc_mlp_form)mlp_form_choose(m, B);
    const size_t per_token = mlp_bytes(m, (size_t)B, size_of[ROLE_COT]), rows = (size_t)S * (size_t)work->T;
    size_t tokens = per_token > 0 ? MLP_HALF_BYTES / per_token : rows;
    tokens = tokens < 1 ? 1 : tokens > rows ? rows : tokens;
    plan->token_chunk = (int)tokens;
    if (plan_sizes(m, plan, &z, NULL) != JSC_OK)
        return UINT64_MAX;
    trace_layout(&dry, m, &z, size_of, one_type, &whole);
    z.backward = false;
    trace_layout(&dry, m, &z, size_of, one_type, &forward);
    if (whole.used == SIZE_MAX || forward.used == SIZE_MAX)
        return UINT64_MAX;
    const size_t gemm_rows = z.M > z.N ? z.M : z.N;
    const size_t library = m->ops->stream_scratch(m->device, gemm_rows, (size_t)m->f * 2, (size_t)m->d);
    plan->trace_bytes = forward.used;
    plan->workspace_bytes = (uint64_t)(whole.used - forward.used) + library;
    /* the host's copies: block inputs, cotangents, sums, gradients of one chunk; logits, slopes, probabilities */
    plan->result_bytes = sizeof(double) * ((uint64_t)z.N * (uint64_t)m->d + z.S * z.B * (uint64_t)m->d + z.levels * z.M +
                                           (work->gradients ? z.M * (uint64_t)m->d : 0) + 3 * (uint64_t)m->V) +
                         work->host_bytes;
    plan->peak_bytes = plan->trace_bytes + plan->workspace_bytes + plan->result_bytes;
    return plan->peak_bytes;
}

/* FLOPs of linear layers, attention and head. */
static void count_flops(const jsc_model *m, const struct work *work, jsc_plan *plan)
{
    const double T = work->T, S = work->S, d = m->d, f = m->f, q = (double)m->H * m->h, kv = (double)m->K * m->h, L = m->L, B = work->n_rhs;
    const double attention = 2.0 * d * (2.0 * q + 2.0 * kv), mlp = 2.0 * d * f * (m->family->gated ? 3.0 : 2.0);
    plan->forward_flops = S * (L * T * (attention + mlp + 2.0 * T * q) + 2.0 * m->V * d * work->head_rows);
    const double mlp_vjp = mlp_form_flops((enum mlp_form)plan->mlp_form, plan->chunk, d, f, m->family->gated) * plan->chunks;
    /* the top block's MLP and output projection see one token only */
    plan->backward_flops = S *
                           ((L - 1.0) * T * (mlp_vjp + B * attention) + T * B * 2.0 * d * (q + 2.0 * kv) + L * B * 8.0 * T * T * q * 0.5);
}

jsc_status plan_compute(const jsc_model *m, const struct work *work, jsc_plan *plan, jsc_error *error)
{
    const size_t size = plan->size;
    if (work->T < 1 || work->S < 1 || work->n_rhs < 1)
        return status_set(error, JSC_E_INTERNAL, "work of %d tokens, %d sequences, %d right-hand sides", work->T, work->S, work->n_rhs);
    memset(plan, 0, sizeof *plan);
    plan->size = size;
    plan->n_tokens = work->T;
    plan->n_prompt = work->n_prompt > 0 ? work->n_prompt : work->T;
    plan->right_hand_sides = work->n_rhs;
    plan->levels = work->layers ? m->L : 1;
    plan->weight_bytes = m->weight_bytes;
    plan->limit_bytes = work->limit > 0 ? work->limit : (uint64_t)m->ops->memory_left(m->device) / 10 * 9;

    int S = work->S, B = work->chunk > 0 && work->chunk < work->n_rhs ? work->chunk : work->n_rhs;
    while (S > 1 && (uint64_t)S * (uint64_t)work->T > PATH_ROWS)
        S = (S + 1) / 2;
    const uint64_t soft = plan->limit_bytes < SOFT_BYTES ? plan->limit_bytes : SOFT_BYTES;
    uint64_t need = measure(m, work, S, B, plan);
    while (need > (work->chunk > 0 ? plan->limit_bytes : soft) && (S > 1 || B > 1)) {
        if (B > 1)
            B = (B + 1) / 2;
        else
            S = (S + 1) / 2;
        need = measure(m, work, S, B, plan);
    }
    if (need > plan->limit_bytes)
        return status_set(error, JSC_E_MEMORY,
                          "%d tokens need %" PRIu64 " bytes beyond the weights even with one right-hand side at once, the limit is %" PRIu64
                          ": shorten the prompt or raise the limit (--memory)",
                          work->T, need, plan->limit_bytes);
    count_flops(m, work, plan);
    return JSC_OK;
}
