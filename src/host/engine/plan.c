/* plan.c: sizes, bytes, chunks and forms of a request, before anything is allocated: a pure function of (model, work, limit). */
#include "engine_internal.h"

#include <limits.h>
#include <math.h>
#include <string.h>

/* Without a limit of the caller. Not what is free: the same request must be cut the same way, to the same bits, on a busy machine too. */
#define SOFT_BYTES ((uint64_t)4 << 30)
#define SOFT_SHARE 2                  /* of a device's own memory, which is there for this, one half */
#define PATH_ROWS  1024               /* token rows of one forward of several sequences: weights are read once for all of them */
#define MLP_BYTES  ((size_t)64 << 20) /* dn, da and dgu of one token chunk: thousands of rows a product, which gain nothing beyond */
/* dn, dout and dqkv of one slab: attention makes P once for it, and a product has one token's rows of it */
#define SLAB_BYTES ((size_t)256 << 20)
/* On a device with memory of its own, either is this part of it: 1.2 GB of 80. A collapse reads gate and up once for all tokens of a chunk. */
#define PIECE_SHARE 64
#define CHOICES     160  /* chunk sizes looked at */
#define NEAR_COST   1.02 /* of the cheapest: then less memory is better */

jsc_status plan_sizes(const jsc_model *m, const jsc_plan *plan, struct trace_sizes *z, jsc_error *error)
{
    *z = (struct trace_sizes){.S = (size_t)plan->sequences, .T = (size_t)plan->n_tokens, .B = (size_t)plan->chunk, .backward = true};
    z->levels = plan->levels > 1 ? (size_t)plan->levels : 1;
    z->form = (enum mlp_form)plan->mlp_form;
    z->token_chunk = (size_t)plan->token_chunk;
    z->rhs_chunk = (size_t)plan->rhs_chunk;
    if (m == NULL || plan->sequences < 1 || plan->n_tokens < 1 || plan->chunk < 1 || plan->token_chunk < 1 || plan->rhs_chunk < 1)
        return status_set(error, JSC_E_INTERNAL, "plan of %d sequences, %d tokens, %d right-hand sides", plan->sequences, plan->n_tokens,
                          plan->chunk);
    if (!size_mul(z->S, z->T, &z->N) || !size_mul(z->N, z->B, &z->M) || z->M > INT32_MAX)
        return status_set(error, JSC_E_MEMORY, "%d sequences of %d tokens with %d right-hand sides are too many rows", plan->sequences,
                          plan->n_tokens, plan->chunk);
    return JSC_OK;
}

static int saturate(uint64_t n)
{
    return n > INT_MAX ? INT_MAX : (int)n;
}

static int pulls_of(const struct work *work)
{
    return work->pulls > 0 ? work->pulls : 1;
}

/* Bytes of one row in the MLP half (dn, da, dgu) and in the attention half (dn, dout, dqkv). */
static size_t mlp_row(const jsc_model *m)
{
    return ((size_t)m->d + (size_t)m->f * (m->family->gated ? 3 : 2)) * m->load_stream->size_of[ROLE_COT];
}

static size_t attention_row(const jsc_model *m)
{
    return ((size_t)m->d + 2 * ((size_t)m->H + (size_t)m->K) * (size_t)m->h) * m->load_stream->size_of[ROLE_COT];
}

static size_t piece_bytes(const jsc_model *m, size_t usual)
{
    return m->device->own_memory > 0 ? (size_t)(m->device->own_memory / PIECE_SHARE) : usual;
}

/* S sequences and B right-hand sides at once, in pieces whose workspace keeps to share of what is usual. */
struct cut {
    int S, B;
    size_t share; /* 1: as usual, 0: as small as possible */
};

static void fill_cut(const jsc_model *m, const struct work *work, const struct cut *cut, jsc_plan *plan)
{
    const size_t N = (size_t)cut->S * (size_t)work->T, B = (size_t)cut->B;
    plan->sequences = cut->S;
    plan->chunk = cut->B;
    plan->chunks = (work->n_rhs + cut->B - 1) / cut->B * pulls_of(work);
    plan->bubble = plan->stages > 1 ? (plan->stages - 1.0) / (plan->stages - 1.0 + plan->chunks) : 0.0;
    plan->mlp_form = (jsc_mlp_form)mlp_form_choose(m, (int)N, cut->B);
    plan->token_chunk = (int)equal_part(N, cut->share * piece_bytes(m, MLP_BYTES) / mlp_row(m) / B);
    plan->rhs_chunk = (int)equal_part(B, cut->share * piece_bytes(m, SLAB_BYTES) / attention_row(m) / N);
}

/* The most rows of one product: the forward's, a token chunk's, a slab's, the top block's. */
static size_t most_rows(const struct trace_sizes *z)
{
    const size_t rows[] = {z->N, z->token_chunk * z->B, z->N * z->rhs_chunk, z->S * z->B};
    size_t most = 0;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        most = rows[i] > most ? rows[i] : most;
    return most;
}

/* Bytes of a stage's trace and of its workspace. */
struct stage_bytes {
    uint64_t trace, workspace;
};

/* false: they cannot be addressed. */
static bool measure_stage(const jsc_model *m, const struct trace_sizes *sizes, struct stage_bytes *out)
{
    struct trace dry = {0};
    struct trace_sizes z = *sizes;
    struct arena whole = {0}, forward = {0};
    const size_t *size_of = m->load_stream->size_of;
    const bool one_type = m->load_stream->one_type;

    trace_layout(&dry, m, &z, size_of, one_type, &whole);
    z.backward = false;
    trace_layout(&dry, m, &z, size_of, one_type, &forward);
    if (whole.used == SIZE_MAX || forward.used == SIZE_MAX)
        return false;
    const size_t library = m->ops->stream_scratch(m->device, most_rows(&z), (size_t)m->f * 2, (size_t)m->d);
    *out = (struct stage_bytes){forward.used, (uint64_t)(whole.used - forward.used) + library};
    return true;
}

/* Of all stages: the sum where they share the host's memory, else what the neediest takes. */
static bool measure_stages(const jsc_model *model, const struct trace_sizes *z, struct stage_bytes *out)
{
    struct stage_bytes one;
    *out = (struct stage_bytes){0, 0};
    for (const jsc_model *m = model; m != NULL; m = m->below) {
        if (!measure_stage(m, z, &one))
            return false;
        if (model->device->own_memory == 0)
            out->trace += one.trace, out->workspace += one.workspace;
        else if (one.trace + one.workspace > out->trace + out->workspace)
            *out = one;
    }
    return true;
}

/* Fills the plan for a cut and returns the bytes beyond the weights that must keep to the limit; UINT64_MAX if they cannot be addressed. */
static uint64_t measure(const jsc_model *m, const struct work *work, const struct cut *cut, jsc_plan *plan)
{
    struct trace_sizes z;
    struct stage_bytes bytes;

    fill_cut(m, work, cut, plan);
    if (plan_sizes(m, plan, &z, NULL) != JSC_OK || !measure_stages(m, &z, &bytes))
        return UINT64_MAX;
    plan->trace_bytes = bytes.trace;
    plan->workspace_bytes = bytes.workspace + (plan->own_memory ? work->device_bytes : 0);
    /* the host's copies: block inputs, cotangents, sums, gradients of one chunk; logits, slopes, probabilities */
    const uint64_t per_chunk = z.levels * z.M + (work->gradients ? z.M * (uint64_t)m->d : 0);
    plan->result_bytes = sizeof(double) * ((uint64_t)z.N * (uint64_t)m->d + z.S * z.B * (uint64_t)m->d +
                                           per_chunk * (uint64_t)pipeline_slots(plan->stages) + 3 * (uint64_t)m->V) +
                         work->host_bytes + (plan->own_memory ? 0 : work->device_bytes);
    plan->peak_bytes = plan->trace_bytes + plan->workspace_bytes + (plan->own_memory ? 0 : plan->result_bytes);
    return plan->peak_bytes;
}

jsc_status jsc_plan_stage(const jsc_model *model, const jsc_plan *plan, int i, jsc_stage *out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct trace_sizes z;
    struct stage_bytes bytes;
    const jsc_model *m = model;

    if (model == NULL || plan == NULL || out == NULL || plan->size != sizeof *plan || i < 0 || i >= stages_count(model))
        return status_set(error, JSC_E_ARGUMENT, "jsc_plan_stage: model, plan or out is missing, or there is no stage %d", i);
    TRY(plan_sizes(model, plan, &z, error));
    for (int above = stages_count(model) - 1; above > i; above--)
        m = m->below;
    if (!measure_stage(m, &z, &bytes))
        FAIL(JSC_E_MEMORY, "stage %d needs more memory than can be addressed", i);
    *out = (jsc_stage){m->device->description, m->first_block, m->end_block, m->weight_bytes, bytes.trace + bytes.workspace};
done:
    return status;
}

/* FLOPs of linear layers, attention and head. */
static void count_flops(const jsc_model *m, const struct work *work, jsc_plan *plan)
{
    const double T = work->T, S = work->S, d = m->d, f = m->f, q = (double)m->H * m->h, kv = (double)m->K * m->h, L = m->L;
    const double attention = 2.0 * d * (2.0 * q + 2.0 * kv), mlp = 2.0 * d * f * (m->family->gated ? 3.0 : 2.0);
    /* the last block past its attention: one row, unless several positions or sequences are wanted */
    const double top = S == 1.0 && work->head_rows == 1 ? 1.0 : T;
    plan->forward_flops = S * ((L - 1.0) * T * (attention + mlp) + T * 2.0 * d * (q + 2.0 * kv) + top * (2.0 * d * q + mlp) +
                               L * T * 2.0 * T * q + 2.0 * m->V * d * work->head_rows);
    plan->backward_flops = 0.0;
    for (int first = 0; first < work->n_rhs; first += plan->chunk) {
        const double B = work->n_rhs - first < plan->chunk ? work->n_rhs - first : plan->chunk;
        const double t = work->stairs ? (double)first + B : T; /* tokens up to the chunk's last target */
        /* the top block's MLP and output projection see one token only */
        plan->backward_flops += S * ((L - 1.0) * t *
                                         (mlp_form_flops((enum mlp_form)plan->mlp_form, B, d, f, m->family->gated) + B * attention) +
                                     t * B * 2.0 * d * (q + 2.0 * kv) + L * B * 4.0 * t * t * q);
    }
    if (pulls_of(work) > 1) /* one for every position: half the tokens, a third of their pairs; the larger part counts */
        plan->backward_flops *= 0.5 * pulls_of(work);
}

/* In units of pull_cost: stages work at once, each on another chunk, but for the first and the last few. */
static double staged_cost(const jsc_model *m, int S, int T, int chunks, int B)
{
    const int stages = stages_count(m);
    return (double)(chunks + stages - 1) / stages * pull_cost(m, S, T, B);
}

int plan_chunk(const jsc_model *m, int T, int n, int most)
{
    const int fewest = (n + most - 1) / most, stages = stages_count(m);
    int best = (n + fewest - 1) / fewest;
    double least = staged_cost(m, 1, T, fewest, best);

    for (int chunks = fewest + 1; stages > 1 && chunks <= n && chunks <= 8 * stages; chunks++) {
        const int B = (n + chunks - 1) / chunks;
        const double cost = staged_cost(m, 1, T, (n + B - 1) / B, B);
        if (cost < least)
            least = cost, best = B;
    }
    return best;
}

/* The same of all the work. */
static double total_cost(const jsc_model *m, const struct work *work, const struct cut *cut)
{
    const int batches = (work->S + cut->S - 1) / cut->S, chunks = (work->n_rhs + cut->B - 1) / cut->B;
    const int stages = stages_count(m);
    double cost = 0.0;
    if (!work->stairs)
        return batches * staged_cost(m, cut->S, work->T, chunks, cut->B);
    for (int end = cut->B; end - cut->B < work->n_rhs; end += cut->B)
        cost += pull_cost(m, 1, end < work->T ? end : work->T, cut->B);
    return batches * (cost + (stages - 1) * pull_cost(m, 1, work->T, cut->B)) / stages;
}

/* What a plan must keep to: bytes of the device, and of the host where that is another memory. */
struct room {
    uint64_t device, host;
};

/* Sets cut->B: of the equal chunks that fit, the one with the least memory among those that cost about as little as any. false: none fits.
 * plan is scratch. */
static bool choose_chunk(const jsc_model *m, const struct work *work, const struct room *room, struct cut *cut, jsc_plan *plan)
{
    struct choice {
        int B;
        uint64_t need;
        double cost;
    } choices[CHOICES];
    int n = 0, last = 0;
    double least = (double)INFINITY;

    for (int chunks = 1; n < CHOICES && last != 1; chunks += 1 + chunks / 32) { /* every count of few chunks, then 3 % more each time */
        cut->B = (int)equal_part((size_t)work->n_rhs, ((size_t)work->n_rhs + (size_t)chunks - 1) / (size_t)chunks);
        if (work->chunk > 0 && cut->B > work->chunk)
            cut->B = work->chunk;
        if (cut->B == last)
            continue;
        last = cut->B;
        choices[n] = (struct choice){cut->B, measure(m, work, cut, plan), total_cost(m, work, cut)};
        if (choices[n].need > room->device || plan->result_bytes > room->host)
            continue;
        least = choices[n].cost < least ? choices[n].cost : least;
        n++;
        if (work->chunk > 0)
            break; /* the largest that fits, as wished */
    }
    if (n == 0)
        return false;
    const double enough = work->stairs ? least : NEAR_COST * least; /* chunks of stairs are small as they are */
    const struct choice *best = NULL;
    for (int i = 0; i < n; i++)
        if (choices[i].cost <= enough && (best == NULL || choices[i].need < best->need))
            best = &choices[i];
    cut->B = best->B;
    return true;
}

static uint64_t most_of(uint64_t bytes)
{
    return bytes / 10 * 9;
}

uint64_t plan_limit(const jsc_model *model, uint64_t asked)
{
    const bool own = model->device->own_memory > 0;
    uint64_t least = UINT64_MAX;
    if (asked > 0)
        return asked;
    for (const jsc_model *m = model; m != NULL && (own || m == model); m = m->below) {
        const uint64_t left = m->ops->memory_left(m->device), weights = own ? m->weight_bytes : stages_weight_bytes(m);
        const uint64_t missing = model->has_weights ? 0 : weights; /* not made yet */
        const uint64_t free = left > missing ? left - missing : 0;
        least = free < least ? free : least;
    }
    return most_of(least);
}

static uint64_t soft_limit(const jsc_model *m, const struct work *work, uint64_t limit)
{
    const uint64_t soft = m->device->own_memory > 0 ? m->device->own_memory / SOFT_SHARE : SOFT_BYTES;
    return work->limit > 0 || limit < soft ? limit : soft;
}

static jsc_status check_room(const struct work *work, const jsc_plan *plan, const struct room *room, uint64_t need, jsc_error *error)
{
    if (need > room->device)
        return status_set(error, JSC_E_MEMORY,
                          "%d tokens need %" PRIu64 " bytes beyond the weights even with one right-hand side at once, the limit is %" PRIu64
                          ": shorten the prompt or raise the limit (--memory)",
                          work->T, need, room->device);
    if (plan->result_bytes > room->host)
        return status_set(error, JSC_E_MEMORY,
                          "%d tokens need %" PRIu64
                          " bytes of the host's memory for results even with one right-hand side at once, %" PRIu64
                          " may be used: shorten the prompt or end other programs",
                          work->T, plan->result_bytes, room->host);
    return JSC_OK;
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
    plan->right_hand_sides = saturate((uint64_t)work->n_rhs * (uint64_t)pulls_of(work));
    plan->levels = work->layers ? m->L : 1;
    plan->weight_bytes = stages_weight_bytes(m);
    plan->stages = stages_count(m);
    plan->limit_bytes = plan_limit(m, work->limit);
    plan->own_memory = m->device->own_memory > 0;

    struct room room = {soft_limit(m, work, plan->limit_bytes), plan->own_memory ? most_of(mem_available()) : UINT64_MAX};
    struct cut cut = {.S = (int)equal_part((size_t)work->S, PATH_ROWS / (size_t)work->T), .share = 1};
    bool fits = choose_chunk(m, work, &room, &cut, plan);
    while (!fits && cut.S > 1) {
        cut.S = (cut.S + 1) / 2;
        fits = choose_chunk(m, work, &room, &cut, plan);
    }
    if (!fits)
        cut = (struct cut){.S = 1, .B = 1, .share = 0};
    const uint64_t need = measure(m, work, &cut, plan);
    room.device = plan->limit_bytes;
    const jsc_status status = check_room(work, plan, &room, need, error);
    if (status == JSC_OK)
        count_flops(m, work, plan);
    return status;
}
