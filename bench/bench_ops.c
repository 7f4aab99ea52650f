/* bench_ops.c: a row for every operation of the table that the tests share (tests/cases.h), buffers rotated so that caches are cold. */
#include "bench.h"

#include "cases.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define COLD_BYTES  (64u << 20)  /* copies of all arguments together, more than caches hold */
#define COLD_DEVICE (256u << 20) /* likewise, of a GPU */
#define COPIES_MOST 12

union arguments {
    struct op_embed embed;
    struct op_norm norm;
    struct op_matmul matmul;
    struct op_part_norm part_norm;
    struct op_rope rope;
    struct op_attention attention;
    struct op_gate gate;
    struct op_add add;
    struct op_head_vjp head_vjp;
    struct op_matmul_vjp matmul_vjp;
    struct op_norm_vjp norm_vjp;
    struct op_norm_pull norm_pull;
    struct op_part_norm_vjp part_norm_vjp;
    struct op_gate_vjp gate_vjp;
    struct op_mlp_collapse mlp_collapse;
    struct op_attention_vjp attention_vjp;
    struct op_rope_vjp rope_vjp;
    struct op_scatter scatter;
    struct op_fisher_rows fisher_rows;
    struct op_gram gram;
    struct op_fisher_apply fisher_apply;
    struct op_probes probes;
};

/* One case being measured. */
struct kit {
    const struct bench *bench;
    const struct jsc_ops *ops;
    struct jsc_device *device;
    struct jsc_stream *stream;
    struct op_case c;
    size_t N, M, d, f, W; /* token rows, gradient rows; qkv width */
    union arguments args[COPIES_MOST];
    int copies, next, batch;
    dptr buffers[COPIES_MOST * 20];
    int n_buffers;
    struct jsc_weight *weights[COPIES_MOST * 2];
    int n_weights;
    void *host[COPIES_MOST * 8];
    int n_host;
    size_t bytes; /* of buffers and weights so far */
};

static dptr raw(struct kit *k, size_t bytes)
{
    jsc_error error;
    dptr out = NULL;
    bench_ok(k->ops->alloc(k->device, bytes, &out, &error), &error, "alloc");
    k->buffers[k->n_buffers++] = out;
    k->bytes += bytes;
    return out;
}

static dptr numbers(struct kit *k, enum role role, size_t n)
{
    const dptr out = bench_numbers(k->ops, k->device, k->stream, role, n, 1.0);
    k->buffers[k->n_buffers++] = out;
    k->bytes += n * k->stream->size_of[role];
    return out;
}

static void *host(struct kit *k, size_t bytes)
{
    return k->host[k->n_host++] = bench_memory(bytes);
}

static int32_t *some_ids(struct kit *k, size_t n)
{
    int32_t *ids = host(k, n * sizeof *ids);
    for (size_t i = 0; i < n; i++)
        ids[i] = (int32_t)(i * 7 % (size_t)k->c.V);
    return ids;
}

static struct jsc_weight *weight(struct kit *k, size_t n, size_t columns, unsigned uses)
{
    jsc_error error;
    float *values = bench_weights(n * columns);
    const struct weight_part part = {
        .bytes = values, .type = DTYPE_F32, .n = n, .row_bytes = columns * sizeof *values, .scale = 1.0, .name = "w"};
    struct jsc_weight *w = NULL;
    bench_ok(k->ops->weight_make(k->device, &part, 1, columns, uses, NULL, &w, &error), &error, "weight_make");
    mem_free(values);
    k->bytes += n * columns * sizeof *values;
    return k->weights[k->n_weights++] = w;
}

/* Tokens of rows, or the position of each right-hand side: n times the last token, on the device. */
static int32_t *positions(struct kit *k, size_t n)
{
    jsc_error error;
    int32_t *out = raw(k, n * sizeof *out), *at = host(k, n * sizeof *at);
    for (size_t i = 0; i < n; i++)
        at[i] = k->c.T - 1;
    bench_ok(k->ops->put_bytes(k->stream, out, at, n * sizeof *at, &error), &error, "put_bytes");
    return out;
}

static struct rows gradient_rows(struct kit *k)
{
    if (k->c.live != LIVE_TOP)
        return (struct rows){.n = k->M, .B = k->c.B};
    const size_t n = (size_t)k->c.S * (size_t)k->c.B;
    return (struct rows){.n = n, .B = k->c.B, .tok = positions(k, n)};
}

/* ---- arguments of one copy ----------------------------------------------------------------------------------------------------------- */

/* Of the queries: parts of one row, and their number. */
static int parts_of(const struct op_case *c)
{
    return c->one_part ? 1 : c->H;
}

static void prepare_part_norm(struct kit *k, struct op_part_norm *a)
{
    const struct op_case *c = &k->c;
    const size_t heads = (size_t)c->H * (size_t)c->h, parts = (size_t)parts_of(c);
    *a = (struct op_part_norm){
        .n = k->N, .parts = (int)parts, .width = (int)(heads / parts), .stride = (int)k->W, .kind = c->norm, .own = c->own};
    a->eps = 1e-5;
    a->x = numbers(k, ROLE_REAL, k->N * k->W);
    a->w = numbers(k, ROLE_REAL, heads);
    a->xhat = numbers(k, ROLE_REAL, k->N * heads);
    a->r = numbers(k, ROLE_REAL, k->N * parts);
}

static void prepare_part_norm_vjp(struct kit *k, struct op_part_norm_vjp *a)
{
    const struct op_case *c = &k->c;
    const size_t heads = (size_t)c->H * (size_t)c->h, parts = (size_t)parts_of(c);
    *a = (struct op_part_norm_vjp){.rows = {.n = k->M, .B = c->B}, .parts = (int)parts, .width = (int)(heads / parts), .stride = (int)k->W};
    a->kind = c->norm, a->own = c->own;
    a->xhat = numbers(k, ROLE_REAL, k->N * heads);
    a->r = numbers(k, ROLE_REAL, k->N * parts);
    a->w = numbers(k, ROLE_REAL, heads);
    a->dx = numbers(k, ROLE_COT, k->M * k->W);
}

static void prepare_forward(struct kit *k, union arguments *a)
{
    const struct op_case *c = &k->c;
    switch (c->op) {
    case OP_EMBED:
        a->embed = (struct op_embed){k->N, some_ids(k, k->N), weight(k, (size_t)c->V, k->d, USE_ROWS), 1.0,
                                     numbers(k, ROLE_REAL, k->N * k->d)};
        break;
    case OP_NORM:
        a->norm = (struct op_norm){.n = k->N,
                                   .d = c->d,
                                   .kind = c->norm,
                                   .eps = 1e-5,
                                   .x = numbers(k, ROLE_REAL, k->N * k->d),
                                   .w = numbers(k, ROLE_REAL, k->d),
                                   .y = numbers(k, ROLE_ACT, k->N * k->d),
                                   .r = numbers(k, ROLE_REAL, k->N),
                                   .mean = numbers(k, ROLE_REAL, k->N)};
        break;
    case OP_MATMUL:
        a->matmul = (struct op_matmul){
            k->N, weight(k, k->f, k->d, USE_FORWARD), numbers(k, ROLE_ACT, k->N * k->d), numbers(k, ROLE_REAL, k->N * k->f), c->accumulate,
            false};
        break;
    case OP_PART_NORM:
        prepare_part_norm(k, &a->part_norm);
        break;
    case OP_ROPE:
        a->rope = (struct op_rope){k->N,
                                   c->T,
                                   c->H + c->K,
                                   c->h,
                                   c->rot,
                                   (int)k->W,
                                   c->rope,
                                   numbers(k, ROLE_REAL, k->N * k->W),
                                   numbers(k, ROLE_REAL, (size_t)(c->T * c->rot / 2)),
                                   numbers(k, ROLE_REAL, (size_t)(c->T * c->rot / 2))};
        break;
    case OP_ATTENTION:
        a->attention = (struct op_attention){
            .S = c->S, .T = c->T, .H = c->H, .K = c->K, .h = c->h, .window = c->window, .scale = 0.1, .cap = c->cap};
        a->attention.qkv = numbers(k, ROLE_REAL, k->N * k->W);
        a->attention.o = numbers(k, ROLE_REAL, k->N * (size_t)(c->H * c->h));
        a->attention.o_act = k->stream->one_type ? a->attention.o : numbers(k, ROLE_ACT, k->N * (size_t)(c->H * c->h));
        a->attention.lse = numbers(k, ROLE_REAL, k->N * (size_t)c->H);
        break;
    case OP_GATE:
        a->gate = (struct op_gate){k->N,
                                   c->f,
                                   c->act,
                                   c->gated,
                                   numbers(k, ROLE_REAL, 2 * k->N * k->f),
                                   numbers(k, ROLE_ACT, k->N * k->f),
                                   numbers(k, ROLE_REAL, k->N * k->f),
                                   numbers(k, ROLE_REAL, k->N * k->f)};
        break;
    default:
        a->add = (struct op_add){k->N * k->d, 0.5, numbers(k, ROLE_REAL, k->N * k->d), numbers(k, ROLE_REAL, k->N * k->d)};
        break;
    }
}

static void prepare_collapse(struct kit *k, struct op_mlp_collapse *a)
{
    const struct op_case *c = &k->c;
    *a = (struct op_mlp_collapse){.form = c->form, .n = k->N, .B = c->B, .d = c->d, .f = c->f, .gated = c->gated, .kind = c->norm};
    a->up = weight(k, c->gated ? 2 * k->f : k->f, k->d, USE_ROWS);
    a->down = weight(k, k->d, k->f, USE_VJP | USE_ROWS);
    a->c1 = numbers(k, ROLE_REAL, k->N * k->f);
    a->c2 = numbers(k, ROLE_REAL, k->N * k->f);
    a->x = numbers(k, ROLE_REAL, k->N * k->d);
    a->r = numbers(k, ROLE_REAL, k->N);
    a->mean = numbers(k, ROLE_REAL, k->N);
    a->w = numbers(k, ROLE_REAL, k->d);
    a->R = numbers(k, ROLE_REAL, k->M * k->d);
    a->G = k->stream->one_type ? a->R : numbers(k, ROLE_COT, k->M * k->d);
    a->scratch = raw(k, k->ops->mlp_collapse_scratch(k->device, c->form, k->N, c->B, c->d, c->f));
}

static void prepare_attention_vjp(struct kit *k, struct op_attention_vjp *a)
{
    const struct op_case *c = &k->c;
    const size_t heads = (size_t)c->H * (size_t)c->h, B = (size_t)c->B;
    int32_t *at = positions(k, B);
    *a = (struct op_attention_vjp){
        .S = c->S, .T = c->T, .B = c->B, .H = c->H, .K = c->K, .h = c->h, .window = c->window, .scale = 0.1, .cap = c->cap};
    a->pos = c->live == LIVE_TOP ? at : NULL;
    a->last = c->live == LIVE_LAST ? at : NULL;
    a->qkv = numbers(k, ROLE_REAL, k->N * k->W);
    a->o = numbers(k, ROLE_REAL, k->N * heads);
    a->lse = numbers(k, ROLE_REAL, k->N * (size_t)c->H);
    a->dout = numbers(k, ROLE_COT, (c->live == LIVE_TOP ? (size_t)c->S * B : k->M) * heads);
    a->dqkv = numbers(k, ROLE_COT, k->M * k->W);
    a->scratch = raw(k, k->ops->attention_vjp_scratch(k->device, c->S, c->T, c->B, c->H, c->K, c->h));
}

static void prepare_head_vjp(struct kit *k, struct op_head_vjp *a)
{
    const size_t B = (size_t)k->c.B, n = (size_t)k->c.n;
    size_t *start = host(k, (B + 1) * sizeof *start);
    double *coef = host(k, B * n * sizeof *coef);
    for (size_t i = 0; i <= B; i++)
        start[i] = i * n;
    for (size_t i = 0; i < B * n; i++)
        coef[i] = bench_noise()[i % BENCH_NOISE];
    *a = (struct op_head_vjp){
        B, start, some_ids(k, B * n), coef, weight(k, (size_t)k->c.V, k->d, USE_ROWS), numbers(k, ROLE_COT, B * k->d)};
}

static void prepare_vjp(struct kit *k, union arguments *a)
{
    const struct op_case *c = &k->c;
    struct rows rows;
    switch (c->op) {
    case OP_HEAD_VJP:
        prepare_head_vjp(k, &a->head_vjp);
        break;
    case OP_MATMUL_VJP:
        a->matmul_vjp = (struct op_matmul_vjp){.n = k->M,
                                               .w = weight(k, k->f, k->d, USE_VJP),
                                               .dy = numbers(k, ROLE_COT, k->M * k->f),
                                               .dx = numbers(k, ROLE_COT, k->M * k->d),
                                               .accumulate = c->accumulate};
        break;
    case OP_NORM_VJP:
        rows = gradient_rows(k);
        a->norm_vjp = (struct op_norm_vjp){.rows = rows, .d = c->d, .kind = c->norm};
        a->norm_vjp.x = numbers(k, ROLE_REAL, k->N * k->d);
        a->norm_vjp.r = numbers(k, ROLE_REAL, k->N);
        a->norm_vjp.mean = numbers(k, ROLE_REAL, k->N);
        a->norm_vjp.w = numbers(k, ROLE_REAL, k->d);
        a->norm_vjp.dn = numbers(k, ROLE_COT, rows.n * k->d);
        a->norm_vjp.R = numbers(k, ROLE_REAL, rows.n * k->d);
        a->norm_vjp.G = k->stream->one_type ? a->norm_vjp.R : numbers(k, ROLE_COT, rows.n * k->d);
        break;
    case OP_NORM_PULL:
        rows = gradient_rows(k);
        a->norm_pull = (struct op_norm_pull){.rows = rows, .d = c->d, .kind = c->norm};
        a->norm_pull.x = numbers(k, ROLE_REAL, k->N * k->d);
        a->norm_pull.r = numbers(k, ROLE_REAL, k->N);
        a->norm_pull.mean = numbers(k, ROLE_REAL, k->N);
        a->norm_pull.w = numbers(k, ROLE_REAL, k->d);
        a->norm_pull.dy = numbers(k, ROLE_COT, rows.n * k->d);
        a->norm_pull.dx = numbers(k, ROLE_COT, rows.n * k->d);
        break;
    case OP_PART_NORM_VJP:
        prepare_part_norm_vjp(k, &a->part_norm_vjp);
        break;
    case OP_GATE_VJP:
        rows = gradient_rows(k);
        a->gate_vjp = (struct op_gate_vjp){rows,
                                           c->f,
                                           c->gated,
                                           numbers(k, ROLE_COT, rows.n * k->f),
                                           numbers(k, ROLE_REAL, k->N * k->f),
                                           numbers(k, ROLE_REAL, k->N * k->f),
                                           numbers(k, ROLE_COT, 2 * rows.n * k->f)};
        break;
    case OP_MLP_COLLAPSE:
        prepare_collapse(k, &a->mlp_collapse);
        break;
    case OP_ATTENTION_VJP:
        prepare_attention_vjp(k, &a->attention_vjp);
        break;
    case OP_ROPE_VJP:
        a->rope_vjp = (struct op_rope_vjp){k->M,
                                           c->T,
                                           c->B,
                                           c->H + c->K,
                                           c->h,
                                           c->rot,
                                           (int)k->W,
                                           c->rope,
                                           numbers(k, ROLE_COT, k->M * k->W),
                                           numbers(k, ROLE_REAL, (size_t)(c->T * c->rot / 2)),
                                           numbers(k, ROLE_REAL, (size_t)(c->T * c->rot / 2))};
        break;
    default:
        rows = gradient_rows(k);
        a->scatter = (struct op_scatter){rows, k->N, c->d, numbers(k, ROLE_REAL, rows.n * k->d), numbers(k, ROLE_REAL, k->M * k->d), NULL};
        break;
    }
}

static void prepare_fisher(struct kit *k, union arguments *a)
{
    const struct op_case *c = &k->c;
    const size_t n = (size_t)c->n;
    double *p = host(k, n * sizeof *p);
    for (size_t i = 0; i < n; i++)
        p[i] = 1.0 / (double)n;
    switch (c->op) {
    case OP_FISHER_ROWS:
        a->fisher_rows = (struct op_fisher_rows){
            n, some_ids(k, n), p, NULL, weight(k, (size_t)c->V, k->d, USE_ROWS), numbers(k, ROLE_REAL, n * k->d), NULL};
        break;
    case OP_GRAM:
        a->gram = (struct op_gram){n, c->d, numbers(k, ROLE_REAL, n * k->d), host(k, k->d * k->d * sizeof(double))};
        break;
    case OP_FISHER_APPLY:
        a->fisher_apply = (struct op_fisher_apply){n,
                                                   c->B,
                                                   c->d,
                                                   numbers(k, ROLE_REAL, n * k->d),
                                                   numbers(k, ROLE_REAL, (size_t)c->B * k->d),
                                                   numbers(k, ROLE_REAL, (size_t)c->B * n),
                                                   numbers(k, ROLE_REAL, (size_t)c->B * k->d)};
        break;
    default:
        a->probes = (struct op_probes){
            n, c->B, c->d, 1, 0, some_ids(k, n), numbers(k, ROLE_REAL, n * k->d), numbers(k, ROLE_REAL, (size_t)c->B * k->d)};
        break;
    }
}

/* ---- running -------------------------------------------------------------------------------------------------------------------------- */

static void queue_next(struct kit *k)
{
    const union arguments *a = &k->args[k->next++ % k->copies];
    jsc_error error = {JSC_OK, ""};
    jsc_status status = JSC_OK;
    switch (k->c.op) {
#define CASE(name, entry)                                                                                                                  \
    case name:                                                                                                                             \
        status = k->ops->entry(k->stream, &a->entry, &error);                                                                              \
        break;
        CASE(OP_EMBED, embed)
        CASE(OP_NORM, norm)
        CASE(OP_MATMUL, matmul)
        CASE(OP_PART_NORM, part_norm)
        CASE(OP_ROPE, rope)
        CASE(OP_ATTENTION, attention)
        CASE(OP_GATE, gate)
        CASE(OP_ADD, add)
        CASE(OP_HEAD_VJP, head_vjp)
        CASE(OP_MATMUL_VJP, matmul_vjp)
        CASE(OP_NORM_VJP, norm_vjp)
        CASE(OP_NORM_PULL, norm_pull)
        CASE(OP_PART_NORM_VJP, part_norm_vjp)
        CASE(OP_GATE_VJP, gate_vjp)
        CASE(OP_MLP_COLLAPSE, mlp_collapse)
        CASE(OP_ATTENTION_VJP, attention_vjp)
        CASE(OP_ROPE_VJP, rope_vjp)
        CASE(OP_SCATTER, scatter)
        CASE(OP_FISHER_ROWS, fisher_rows)
        CASE(OP_GRAM, gram)
        CASE(OP_FISHER_APPLY, fisher_apply)
        CASE(OP_PROBES, probes)
#undef CASE
    case OP_COUNT:
        return;
    }
    bench_ok(status, &error, case_op_names[k->c.op]);
}

static void run_batch(void *context)
{
    struct kit *k = context;
    jsc_error error;
    for (int i = 0; i < k->batch; i++)
        queue_next(k);
    bench_ok(k->ops->sync(k->stream, &error), &error, "sync");
}

static void prepare(struct kit *k, union arguments *a)
{
    if (k->c.op <= OP_ADD)
        prepare_forward(k, a);
    else if (k->c.op <= OP_SCATTER)
        prepare_vjp(k, a);
    else
        prepare_fisher(k, a);
}

static void measure(struct kit *k, const struct op_case *c)
{
    struct row row = {.section = "ops", .group = case_op_names[c->op], .name = c->name};
    if (!bench_wants(k->bench, row.group, row.name))
        return;
    k->c = case_filled(c);
    c = &k->c;
    k->N = (size_t)c->S * (size_t)c->T;
    k->M = k->N * (size_t)c->B;
    k->d = (size_t)c->d;
    k->f = (size_t)c->f;
    k->W = (size_t)(c->H + 2 * c->K) * (size_t)c->h;
    k->copies = k->next = k->n_buffers = k->n_weights = k->n_host = 0;
    k->bytes = 0;
    k->batch = 1;
    const size_t cold = k->device->own_memory > 0 ? COLD_DEVICE : COLD_BYTES;
    do
        prepare(k, &k->args[k->copies++]);
    while (k->copies < COPIES_MOST && k->bytes < cold);
    (void)snprintf(row.shape, sizeof row.shape, "S=%d T=%d B=%d", c->S, c->T, c->B);
    bench_count(c, &row);
    if (c->op == OP_MATMUL_VJP || c->op == OP_MLP_COLLAPSE)
        row.flops_vjp = row.flops;
    k->batch = bench_batch(k->device, run_batch, k);
    bench_time(k->bench, run_batch, k, &row);
    row.best /= k->batch;
    row.median /= k->batch;
    bench_print_row(k->bench, &row);
    for (int i = 0; i < k->n_buffers; i++)
        k->ops->free(k->device, k->buffers[i]);
    for (int i = 0; i < k->n_weights; i++)
        k->ops->weight_free(k->device, k->weights[i]);
    for (int i = 0; i < k->n_host; i++)
        mem_free(k->host[i]);
}

void bench_ops(const struct bench *bench, bool all)
{
    static struct kit k;
    k.bench = bench;
    k.ops = bench->ops;
    bench_print_head(bench, false);
    bench_open(bench, &k.device, &k.stream);
    for (size_t i = 0; i < sizeof op_cases / sizeof *op_cases; i++)
        if (all || op_cases[i].real)
            measure(&k, &op_cases[i]);
    k.ops->stream_close(k.stream);
    k.ops->device_close(k.device);
}
