/* attention_costs.c: attention's pull-back at several lengths and numbers of right-hand sides, and the constants of the cost model that fit. */
#include "bench.h"

#include "engine_internal.h"

#include <stdio.h>

static const struct shape {
    int T, B;
} shapes[] = {{23, 1}, {23, 16}, {23, 64}, {128, 1}, {128, 16}, {128, 64}, {512, 1}, {512, 4}, {512, 16}};
enum { N_SHAPES = sizeof shapes / sizeof *shapes, T_MOST = 512, B_MOST = 64 };

struct call {
    const struct jsc_model *m;
    struct jsc_stream *stream;
    struct op_attention_vjp op;
};

static void run(void *context)
{
    const struct call *c = context;
    jsc_error error;
    bench_ok(c->m->ops->attention_vjp(c->stream, &c->op, &error), &error, "attention_vjp");
    bench_ok(c->m->ops->sync(c->stream, &error), &error, "sync");
}

static void measure(const struct bench *bench, struct call *c, const struct shape *shape, struct row *row)
{
    static int32_t last[B_MOST];
    dptr at = NULL;
    const struct jsc_model *m = c->m;
    const size_t T = (size_t)shape->T, rows = T * (size_t)shape->B, heads = (size_t)(m->H * m->h), W = heads + 2 * (size_t)(m->K * m->h);
    const struct jsc_ops *ops = m->ops;
    struct op_attention_vjp *a = &c->op;
    jsc_error error;

    *a = (struct op_attention_vjp){.S = 1, .T = shape->T, .B = shape->B, .H = m->H, .K = m->K, .h = m->h, .scale = m->blocks[0].scale};
    for (int b = 0; b < shape->B; b++)
        last[b] = shape->T - 1;
    bench_ok(ops->alloc(m->device, sizeof last, &at, &error), &error, "alloc");
    bench_ok(ops->put_bytes(c->stream, at, last, sizeof last, &error), &error, "put_bytes");
    a->last = at;
    a->qkv = bench_numbers(ops, m->device, c->stream, ROLE_REAL, T * W, 1.0);
    a->o = bench_numbers(ops, m->device, c->stream, ROLE_REAL, T * heads, 1.0);
    a->lse = bench_numbers(ops, m->device, c->stream, ROLE_REAL, T * (size_t)m->H, 1.0);
    a->dout = bench_numbers(ops, m->device, c->stream, ROLE_COT, rows * heads, 1.0);
    a->dqkv = bench_numbers(ops, m->device, c->stream, ROLE_COT, rows * W, 1.0);
    bench_ok(ops->alloc(m->device, ops->attention_vjp_scratch(m->device, 1, shape->T, shape->B, m->H, m->K, m->h), &a->scratch, &error),
             &error, "alloc");
    bench_time(bench, run, c, row);
    const dptr buffers[] = {at, a->qkv, a->o, a->lse, a->dout, a->dqkv, a->scratch};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        ops->free(m->device, buffers[i]);
}

/* time x rate of a large product = attention x FLOPs + score x elements of P;  half of the T x T elements are visible. */
void attention_costs(const struct whole *w, double rate)
{
    const struct bench *bench = w->bench;
    struct call c = {.m = w->model};
    struct pair_fit fit = {0};
    struct strbuf s = {0};
    jsc_error error;

    bench_ok(c.m->ops->stream_open(c.m->device, &c.stream, &error), &error, "stream");
    bench_print_head(bench, false);
    for (int i = 0; i < N_SHAPES; i++) {
        struct row row = {.section = "mlp-forms", .group = "attention_vjp", .name = "one block"};
        const double pairs = (double)shapes[i].T * shapes[i].T / 2.0;
        (void)snprintf(row.shape, sizeof row.shape, "S=1 T=%d B=%d", shapes[i].T, shapes[i].B);
        row.flops = 8.0 * pairs * shapes[i].B * c.m->H * c.m->h;
        measure(bench, &c, &shapes[i], &row);
        const double cost = row.best * rate;
        pair_fit_add(&fit, row.flops / cost, pairs * c.m->H / cost);
        bench_print_row(bench, &row);
    }
    if (bench->json)
        strbuf_printf(&s, "{\"section\": \"mlp-forms\", \"operation\": \"attention fit\", \"attention\": %.4g, \"score\": %.4g}",
                      pair_fit_x(&fit), pair_fit_y(&fit));
    else
        strbuf_printf(
            &s, "fit, in FLOPs of a product at %.1f GFLOP/s: %.2f x FLOPs + %.1f for an element of P (attention and score of mlp_form.c)",
            rate * 1e-9, pair_fit_x(&fit), pair_fit_y(&fit));
    bench_put_line(&s);
    c.m->ops->stream_close(c.stream);
}
