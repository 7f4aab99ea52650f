/* vjp_api.c: jsc_vjp: the multi-right-hand-side VJP for a caller's own cotangents. */
#include "scopes_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A call in progress. Right-hand sides go back in the order of their positions: a chunk of early ones costs only its few tokens. */
struct call {
    const jsc_vjp_request *request;
    size_t d, L, n, B, T; /* n: tokens of the prompt; T: tokens computed */
    struct place {
        int32_t pos;
        int32_t rhs;
    } * order; /* [B] */
    jsc_plan plan;
    struct trace *trace;
    double *x;
    /* of each chunk that is alive, [pipeline_slots][...] */
    double *cot, *sums, *grads;
    int32_t *pos;
    size_t chunk;       /* right-hand sides at once */
    size_t before, now; /* right-hand sides pulled back, and in the chunk at work */
};

static int earlier(const void *left, const void *right)
{
    const struct place *a = left, *b = right;
    if (a->pos != b->pos)
        return a->pos < b->pos ? -1 : 1;
    return a->rhs < b->rhs ? -1 : a->rhs > b->rhs;
}

static jsc_status check(const jsc_model *m, const jsc_vjp_request *r, jsc_error *error)
{
    if (m == NULL || r == NULL)
        return status_set(error, JSC_E_ARGUMENT, "jsc_vjp: model and request must be given");
    if (r->size != sizeof *r)
        return status_set(error, JSC_E_ARGUMENT, "jsc_vjp_request.size is %zu, this library's is %zu: begin with JSC_VJP_REQUEST_INIT",
                          r->size, sizeof *r);
    if (r->n_rhs < 1 || r->n_rhs > (size_t)1 << 24 || r->cotangents == NULL)
        return status_set(error, JSC_E_ARGUMENT, "jsc_vjp: %zu right-hand sides %s; 1 to %d are possible", r->n_rhs,
                          r->cotangents == NULL ? "without cotangents" : "were given", 1 << 24);
    /* the rules of prompt, weights and chunk are those of an attribution */
    jsc_request prompt = JSC_REQUEST_INIT;
    prompt.scope = JSC_SCOPE_TEMPERATURE;
    prompt.ids = r->ids, prompt.n_ids = r->n_ids, prompt.chunk = r->chunk;
    const jsc_status status = request_check(m, &prompt, false, error);
    if (status != JSC_OK)
        return status;
    for (size_t b = 0; r->positions != NULL && b < r->n_rhs; b++)
        if (r->positions[b] >= (int64_t)r->n_ids || r->positions[b] < -(int64_t)r->n_ids)
            return status_set(error, JSC_E_ARGUMENT, "position %" PRId64 " of right-hand side %zu is outside the prompt of %zu tokens",
                              r->positions[b], b, r->n_ids);
    for (size_t i = 0; i < r->n_rhs * (size_t)m->d; i++)
        if (!isfinite(r->cotangents[i]))
            return status_set(error, JSC_E_ARGUMENT, "cotangent %zu, component %zu is not finite", i / (size_t)m->d, i % (size_t)m->d);
    return JSC_OK;
}

static jsc_status begin(struct call *call, const jsc_model *m, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const jsc_vjp_request *r = call->request;
    int last = 0;

    TRY(mem_new(&call->order, call->B, error));
    for (size_t b = 0; b < call->B; b++) {
        const int64_t pos = r->positions != NULL ? r->positions[b] : -1;
        call->order[b] = (struct place){(int32_t)(pos < 0 ? pos + (int64_t)call->n : pos), (int32_t)b};
        last = call->order[b].pos > last ? call->order[b].pos : last;
    }
    qsort(call->order, call->B, sizeof *call->order, earlier);
    call->T = (size_t)last + 1;
    const struct work work = {.T = (int)call->T,
                              .n_prompt = (int)call->n,
                              .S = 1,
                              .n_rhs = (int)call->B,
                              .chunk = r->chunk,
                              .layers = r->layers && r->sums != NULL,
                              .gradients = r->gradients != NULL,
                              .limit = r->memory_limit};
    call->plan = (jsc_plan)JSC_PLAN_INIT;
    TRY(plan_compute(m, &work, &call->plan, error));
    TRY(trace_make(m, &call->plan, &call->trace, error));
    call->chunk = (size_t)plan_chunk(m, work.T, work.n_rhs, call->plan.chunk);
    const size_t all = call->chunk * (size_t)pipeline_slots(call->plan.stages);
    TRY(mem_new(&call->x, call->T * call->d, error));
    TRY(mem_new(&call->cot, all * call->d, error));
    TRY(mem_new(&call->pos, all, error));
    if (r->sums != NULL)
        TRY(mem_new(&call->sums, call->L * call->T * all, error));
    if (r->gradients != NULL)
        TRY(mem_new(&call->grads, call->T * all * call->d, error));
done:
    return status;
}

/* Spreads one chunk's rows (t count + b) to the caller's arrays; tokens after T stay 0. */
static void give(const struct call *call, size_t first, const struct pull *pull)
{
    const jsc_vjp_request *r = call->request;
    const size_t count = (size_t)pull->B;
    for (size_t b = 0; b < count; b++) {
        const size_t rhs = (size_t)call->order[first + b].rhs;
        for (size_t l = 0; r->sums != NULL && l < call->L; l++)
            for (size_t t = 0; t < call->T; t++)
                r->sums[(l * call->B + rhs) * call->n + t] = pull->sums[(l * call->T + t) * count + b];
        for (size_t t = 0; r->gradients != NULL && t < call->T; t++)
            memcpy(r->gradients + (rhs * call->n + t) * call->d, pull->grads + (t * count + b) * call->d, call->d * sizeof(double));
    }
}

/* Progress in the chunk of `now` right-hand sides after `before`. */
static jsc_status tell(void *user, double share, jsc_error *error)
{
    const struct call *call = user;
    const jsc_vjp_request *r = call->request;
    const double done = (double)call->before + share * (double)call->now, total = (double)r->n_rhs;
    if (r->progress != NULL && r->progress(r->progress_user, "backward", done, total) != 0)
        return status_set(error, JSC_E_CANCELLED, "cancelled after %.1f of %.0f right-hand sides", done, total);
    return JSC_OK;
}

static jsc_status fill_chunk(void *user, int i, struct pull *pull, jsc_error *error)
{
    struct call *call = user;
    const size_t chunk = call->chunk, first = (size_t)i * chunk, count = call->B - first < chunk ? call->B - first : chunk;
    const size_t slot = (size_t)(i % pipeline_slots(call->plan.stages)), rows = call->T * chunk;
    double *cot = call->cot + slot * chunk * call->d;
    int32_t *pos = call->pos + slot * chunk;

    (void)error;
    for (size_t b = 0; b < count; b++) {
        pos[b] = call->order[first + b].pos;
        memcpy(cot + b * call->d, call->request->cotangents + (size_t)call->order[first + b].rhs * call->d, call->d * sizeof(double));
    }
    *pull = (struct pull){.S = 1,
                          .B = (int)count,
                          .pos = pos,
                          .cot = cot,
                          .layers = call->L > 1,
                          .sums = call->sums != NULL ? call->sums + slot * call->L * rows : NULL,
                          .grads = call->grads != NULL ? call->grads + slot * rows * call->d : NULL,
                          .tick = tell,
                          .tick_user = call};
    call->before = first, call->now = count;
    return JSC_OK;
}

static jsc_status take_chunk(void *user, int i, const struct pull *pull, jsc_error *error)
{
    struct call *call = user;
    call->before = (size_t)i * call->chunk, call->now = (size_t)pull->B;
    give(call, call->before, pull);
    return call->plan.stages > 1 ? tell(call, 1.0, error) : JSC_OK;
}

static jsc_status pull_all(struct call *call, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const jsc_vjp_request *r = call->request;
    const struct pipeline pipeline = {
        .n = (int)((call->B + call->chunk - 1) / call->chunk), .fill = fill_chunk, .done = take_chunk, .user = call};

    if (r->sums != NULL)
        memset(r->sums, 0, call->L * call->B * call->n * sizeof *r->sums);
    if (r->gradients != NULL)
        memset(r->gradients, 0, call->B * call->n * call->d * sizeof *r->gradients);
    for (size_t b = 0; r->hidden != NULL && b < call->B; b++)
        TRY(forward_hidden(call->trace, call->order[b].pos, r->hidden + (size_t)call->order[b].rhs * call->d, error));
    TRY(tell(call, 0.0, error));
    TRY(pipeline_run(call->trace, &pipeline, error));
done:
    return status;
}

jsc_status jsc_vjp(const jsc_model *model, const jsc_vjp_request *request, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct call call = {.request = request};

    TRY(check(model, request, error));
    call.d = (size_t)model->d, call.n = request->n_ids, call.B = request->n_rhs;
    call.L = request->layers && request->sums != NULL ? (size_t)model->L : 1;
    TRY(begin(&call, model, error));
    call.trace->top_first = call.order[0].pos;
    TRY(forward_inputs(call.trace, request->ids, call.x, error));
    TRY(forward_run(call.trace, call.x, 1, error));
    TRY(pull_all(&call, error));
done:
    trace_free(call.trace);
    mem_free(call.order);
    mem_free(call.x);
    mem_free(call.cot);
    mem_free(call.sums);
    mem_free(call.grads);
    mem_free(call.pos);
    return status;
}
