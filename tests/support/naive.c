/* naive.c: the reference's own sources once more, with float for double: a whole backend whose error against ref is what the plain method
 * in float costs. No second copy of the formulas can drift. Literals in ref are integers or exact, so that nothing is promoted. */
#include "testing.h"

#include <assert.h>
#include <tgmath.h>

#define double float
#define ref_weight                naive_weight
#define dot_ref                   dot_naive
#define matmul_ref                matmul_naive
#define matmul_vjp_ref            matmul_vjp_naive
#define norm_ref                  norm_naive
#define norm_vjp_ref              norm_vjp_naive
#define norm_pull_ref             norm_pull_naive
#define part_norm_ref             part_norm_naive
#define part_norm_vjp_ref         part_norm_vjp_naive
#define norm_vjp_row_ref          norm_vjp_row_naive
#define rope_ref                  rope_naive
#define rope_vjp_ref              rope_vjp_naive
#define attention_score_ref       attention_score_naive
#define attention_ref             attention_naive
#define attention_vjp_ref         attention_vjp_naive
#define attention_vjp_scratch_ref attention_vjp_scratch_naive
#define gate_ref                  gate_naive
#define gate_vjp_ref              gate_vjp_naive
#define embed_ref                 embed_naive
#define head_vjp_ref              head_vjp_naive
#define add_ref                   add_naive
#define scatter_ref               scatter_naive
#define mlp_collapse_ref          mlp_collapse_naive
#define mlp_collapse_scratch_ref  mlp_collapse_scratch_naive
#define fisher_rows_ref           fisher_rows_naive
#define gram_ref                  gram_naive
#define fisher_apply_ref          fisher_apply_naive
#define probes_ref                probes_naive
#include "attention_ref.c"
#include "attention_vjp_ref.c"
#include "fisher_ref.c"
#include "gate_ref.c"
#include "head_ref.c"
#include "matmul_ref.c"
#include "mlp_collapse_ref.c"
#include "norm_ref.c"
#include "part_norm_ref.c"
#include "rope_ref.c"
#undef double

/* ss is double on every backend; the sources above would write floats there. */
static void sum_squares(const float *R, const struct rows *rows, size_t d, double *ss)
{
    for (size_t r = 0; ss != NULL && r < rows->n; r++) {
        const size_t at = rows_at(rows, r);
        ss[at] = 0.0;
        for (size_t j = 0; j < d; j++)
            ss[at] += (double)R[at * d + j] * (double)R[at * d + j];
    }
}

static jsc_status norm_vjp(struct jsc_stream *stream, const struct op_norm_vjp *op, jsc_error *error)
{
    struct op_norm_vjp without = *op;
    without.ss = NULL;
    (void)norm_vjp_naive(stream, &without, error);
    sum_squares(op->R, &op->rows, (size_t)op->d, op->ss);
    return JSC_OK;
}

static jsc_status mlp_collapse(struct jsc_stream *stream, const struct op_mlp_collapse *op, jsc_error *error)
{
    const size_t B = (size_t)op->B, d = (size_t)op->d, first = op->first * B;
    struct op_mlp_collapse without = *op;
    without.ss = NULL;
    (void)mlp_collapse_naive(stream, &without, error);
    sum_squares((const float *)op->R + first * d, &(struct rows){.n = op->n * B}, d, op->ss != NULL ? (double *)op->ss + first : NULL);
    return JSC_OK;
}

/* ---- the collapse as fast precision stores it: bfloat16 between products, sums and the fold in float ------------------------------- */

static void round_floats(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (float)bf16_of((double)x[i]);
}

struct collapse {
    const struct op_mlp_collapse *op;
    size_t d, f, t;
    float *w_t, *a_t, *da, *delta, *g;
};

static void fold(const struct collapse *c, float *row)
{
    const struct op_mlp_collapse *op = c->op;
    const float mean = op->kind == NORM_LAYER ? ((const float *)op->mean)[c->t] : 0.0f;
    norm_vjp_row_naive(op->kind, c->d, (const float *)op->x + c->t * c->d, op->kind != NORM_NONE ? ((const float *)op->r)[c->t] : 1.0f,
                       mean, op->w, c->delta, row);
}

static void collapse_prepare(const struct collapse *c)
{
    const struct op_mlp_collapse *op = c->op;
    form_w(op, (const float *)op->c1 + c->t * c->f, op->gated ? (const float *)op->c2 + c->t * c->f : NULL, c->w_t);
    round_floats(c->w_t, c->f * c->d);
    for (size_t i = 0; op->form == MLP_FULL && i < c->d; i++) {
        row_times(ref_row(op->down, i), c->w_t, c->f, c->d, c->delta);
        memset(c->a_t + i * c->d, 0, c->d * sizeof *c->a_t);
        fold(c, c->a_t + i * c->d);
        round_floats(c->a_t + i * c->d, c->d);
    }
}

static void collapse_row(const struct collapse *c, const float *dy, float *R)
{
    memcpy(c->g, dy, c->d * sizeof *R);
    round_floats(c->g, c->d);
    if (c->op->form == MLP_HALF) {
        row_times(c->g, ref_row(c->op->down, 0), c->d, c->f, c->da);
        round_floats(c->da, c->f);
        row_times(c->da, c->w_t, c->f, c->d, c->delta);
        round_floats(c->delta, c->d);
        fold(c, R);
    } else {
        row_times(c->g, c->a_t, c->d, c->d, c->delta);
        for (size_t j = 0; j < c->d; j++)
            R[j] += c->delta[j];
    }
}

static jsc_status mlp_collapse_bf16(struct jsc_stream *stream, const struct op_mlp_collapse *op, jsc_error *error)
{
    const size_t B = (size_t)op->B, d = (size_t)op->d, f = (size_t)op->f, first = op->first * B;
    (void)stream, (void)error;
    float *memory = calloc(f * d + d * d + f + 2 * d, sizeof *memory);
    cr_assert(memory != NULL);
    struct collapse c = {.op = op, .d = d, .f = f, .w_t = memory, .a_t = memory + f * d, .da = memory + f * d + d * d};
    c.delta = c.da + f, c.g = c.delta + d;
    for (c.t = op->first; c.t < op->first + op->n; c.t++) {
        collapse_prepare(&c);
        for (size_t b = 0; b < B; b++)
            collapse_row(&c, op->dy != NULL ? (const float *)op->dy + ((c.t - op->first) * B + b) * d : (float *)op->R + (c.t * B + b) * d,
                         (float *)op->R + (c.t * B + b) * d);
    }
    free(memory);
    sum_squares((const float *)op->R + first * d, &(struct rows){.n = op->n * B}, d, op->ss != NULL ? (double *)op->ss + first : NULL);
    return JSC_OK;
}

/* ---- device, stream and buffers: ref's, with elements of four bytes ----------------------------------------------------------- */

static jsc_status stream_open(struct jsc_device *device, struct jsc_stream **out, jsc_error *error)
{
    const jsc_status status = ops_ref.stream_open(device, out, error);
    for (int role = 0; status == JSC_OK && role < ROLE_COUNT; role++)
        (*out)->size_of[role] = sizeof(float);
    return status;
}

static void stream_close(struct jsc_stream *stream)
{
    ops_ref.stream_close(stream);
}

static jsc_status device_open(const struct device_options *options, struct jsc_device **out, jsc_error *error)
{
    const jsc_status status = ops_ref.device_open(options, out, error);
    if (status == JSC_OK)
        (*out)->ops = &ops_naive;
    return status;
}

static void device_close(struct jsc_device *device)
{
    ops_ref.device_close(device);
}

static size_t memory_left(struct jsc_device *device)
{
    return ops_ref.memory_left(device);
}

static size_t stream_scratch(struct jsc_device *device, size_t rows, size_t n, size_t k)
{
    return ops_ref.stream_scratch(device, rows, n, k);
}

static jsc_status buffer_alloc(struct jsc_device *device, size_t bytes, dptr *out, jsc_error *error)
{
    return ops_ref.alloc(device, bytes, out, error);
}

static void buffer_free(struct jsc_device *device, dptr buffer)
{
    ops_ref.free(device, buffer);
}

static jsc_status put_bytes(struct jsc_stream *stream, dptr out, const void *in, size_t bytes, jsc_error *error)
{
    return ops_ref.put_bytes(stream, out, in, bytes, error);
}

static jsc_status get_bytes(struct jsc_stream *stream, void *out, const dptr in, size_t bytes, jsc_error *error)
{
    return ops_ref.get_bytes(stream, out, in, bytes, error);
}

static jsc_status zero(struct jsc_stream *stream, dptr out, size_t bytes, jsc_error *error)
{
    return ops_ref.zero(stream, out, bytes, error);
}

static jsc_status sync_stream(struct jsc_stream *stream, jsc_error *error)
{
    return ops_ref.sync(stream, error);
}

static jsc_status put(struct jsc_stream *stream, enum role role, dptr out, const double *in, size_t n, jsc_error *error)
{
    (void)stream, (void)role, (void)error;
    for (size_t i = 0; i < n; i++)
        ((float *)out)[i] = (float)in[i];
    return JSC_OK;
}

static jsc_status get(struct jsc_stream *stream, enum role role, double *out, const dptr in, size_t n, jsc_error *error)
{
    (void)stream, (void)role, (void)error;
    for (size_t i = 0; i < n; i++)
        out[i] = (double)((const float *)in)[i];
    return JSC_OK;
}

static void weight_free(struct jsc_device *device, struct jsc_weight *weight)
{
    struct naive_weight *own = (struct naive_weight *)(void *)weight;
    (void)device;
    if (own == NULL)
        return;
    mem_free(own->w);
    mem_free(own->bias);
    mem_free(own);
}

/* The weight of ref, rounded. */
static uint64_t weight_bytes(struct jsc_device *device, enum dtype type, size_t n, size_t k, unsigned uses)
{
    (void)device, (void)type, (void)uses;
    return (uint64_t)n * k * sizeof(float);
}

static jsc_status weight_make(struct jsc_device *device, const struct weight_part *parts, size_t n_parts, size_t k, unsigned uses,
                              const double *bias, struct jsc_weight **out, jsc_error *error)
{
    struct exact { /* struct ref_weight of ref_internal.h, whose name means floats here */
        struct jsc_weight base;
        double *w, *bias;
    };
    jsc_status status = JSC_OK;
    struct jsc_weight *exact = NULL;
    struct naive_weight *weight = NULL;

    TRY(ops_ref.weight_make(device, parts, n_parts, k, uses, bias, &exact, error));
    const struct exact *e = (const struct exact *)(const void *)exact;
    TRY(mem_new(&weight, 1, error));
    TRY(mem_new(&weight->w, exact->n * k, error));
    TRY(mem_new(&weight->bias, exact->n, error));
    weight->base = *exact;
    for (size_t i = 0; i < exact->n * k; i++)
        weight->w[i] = (float)e->w[i];
    for (size_t i = 0; e->bias != NULL && i < exact->n; i++)
        weight->bias[i] = (float)e->bias[i];
    *out = &weight->base, weight = NULL;
done:
    weight_free(device, weight != NULL ? &weight->base : NULL);
    ops_ref.weight_free(device, exact);
    return status;
}

const struct jsc_ops ops_naive = {
    .name = "naive",
    .device_open = device_open,
    .device_close = device_close,
    .memory_left = memory_left,
    .stream_open = stream_open,
    .stream_close = stream_close,
    .stream_scratch = stream_scratch,
    .alloc = buffer_alloc,
    .free = buffer_free,
    .put = put,
    .get = get,
    .put_bytes = put_bytes,
    .get_bytes = get_bytes,
    .zero = zero,
    .sync = sync_stream,
    .weight_bytes = weight_bytes,
    .weight_make = weight_make,
    .weight_free = weight_free,
    .embed = embed_naive,
    .norm = norm_naive,
    .matmul = matmul_naive,
    .part_norm = part_norm_naive,
    .rope = rope_naive,
    .attention = attention_naive,
    .gate = gate_naive,
    .add = add_naive,
    .head_vjp = head_vjp_naive,
    .matmul_vjp = matmul_vjp_naive,
    .norm_vjp = norm_vjp,
    .norm_pull = norm_pull_naive,
    .part_norm_vjp = part_norm_vjp_naive,
    .gate_vjp = gate_vjp_naive,
    .mlp_collapse = mlp_collapse,
    .mlp_collapse_scratch = mlp_collapse_scratch_naive,
    .attention_vjp = attention_vjp_naive,
    .attention_vjp_scratch = attention_vjp_scratch_naive,
    .rope_vjp = rope_vjp_naive,
    .scatter = scatter_naive,
    .fisher_rows = fisher_rows_naive,
    .gram = gram_naive,
    .fisher_apply = fisher_apply_naive,
    .probes = probes_naive,
};

const struct jsc_ops *naive_bf16(void)
{
    static struct jsc_ops ops;
    ops = ops_naive;
    ops.mlp_collapse = mlp_collapse_bf16;
    return &ops;
}
