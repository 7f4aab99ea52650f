/* limits.c: what this machine can do, measured in the run that it is compared with: a large float32 product and the triad. */
#include "bench.h"

#include <omp.h>
#include <stdio.h>

#define SIDE  2048u              /* of the square product: 17 GFLOP */
#define TRIAD (size_t)(16 << 20) /* floats in each of three arrays, 64 MB */

/* y = x W^T, or the pull-back's dx = dy W with the same numbers. */
struct product {
    const struct jsc_ops *ops;
    struct jsc_device *device;
    struct jsc_stream *stream;
    struct jsc_weight *w;
    dptr x, y;
    bool vjp;
};

static void multiply(void *context)
{
    const struct product *p = context;
    jsc_error error;
    if (p->vjp)
        bench_ok(p->ops->matmul_vjp(p->stream, &(struct op_matmul_vjp){.n = SIDE, .w = p->w, .dy = p->x, .dx = p->y}, &error), &error,
                 "matmul_vjp");
    else
        bench_ok(p->ops->matmul(p->stream, &(struct op_matmul){.n = SIDE, .w = p->w, .x = p->x, .y = p->y}, &error), &error, "matmul");
    bench_ok(p->ops->sync(p->stream, &error), &error, "sync");
}

static double product_gflops(const struct bench *bench, struct product *p)
{
    const size_t n = (size_t)SIDE * SIDE;
    const enum role in = p->vjp ? ROLE_COT : ROLE_ACT, out = p->vjp ? ROLE_COT : ROLE_REAL;
    struct bench longer = *bench;
    struct row row = {0};
    jsc_error error;
    float *values = bench_memory(n * sizeof *values);
    double *doubles = bench_memory(n * sizeof *doubles);

    for (size_t i = 0; i < n; i++)
        values[i] = (float)(doubles[i] = rng_unit(1, 2, i) - 0.5);
    const struct weight_part part = {
        .bytes = values, .type = DTYPE_F32, .n = SIDE, .row_bytes = SIDE * sizeof *values, .scale = 1.0, .name = "w"};
    bench_ok(p->ops->weight_make(p->device, &part, 1, SIDE, p->vjp ? USE_VJP : USE_FORWARD, NULL, &p->w, &error), &error, "weight_make");
    bench_ok(p->ops->alloc(p->device, n * p->stream->size_of[in], &p->x, &error), &error, "alloc");
    bench_ok(p->ops->alloc(p->device, n * p->stream->size_of[out], &p->y, &error), &error, "alloc");
    bench_ok(p->ops->put(p->stream, in, p->x, doubles, n, &error), &error, "put");
    longer.seconds = 1.0;
    bench_time(&longer, multiply, p, &row);
    p->ops->free(p->device, p->x);
    p->ops->free(p->device, p->y);
    p->ops->weight_free(p->device, p->w);
    mem_free(values);
    mem_free(doubles);
    return 2.0 * SIDE * SIDE * SIDE / row.best * 1e-9;
}

struct triad {
    float *a, *b, *c;
    int threads;
};

static void triad(void *context)
{
    const struct triad *t = context;
#pragma omp parallel for simd num_threads(t->threads) schedule(static)
    for (size_t i = 0; i < TRIAD; i++)
        t->a[i] = t->b[i] + 3.0f * t->c[i];
}

static double triad_gbytes(const struct bench *bench)
{
    const size_t bytes = TRIAD * sizeof(float);
    struct triad t = {bench_memory(bytes), bench_memory(bytes), bench_memory(bytes),
                      bench->threads > 0 ? bench->threads : omp_get_max_threads()};
    struct row row = {0};
    for (size_t i = 0; i < TRIAD; i++)
        t.b[i] = 1.0f, t.c[i] = (float)i;
    bench_time(bench, triad, &t, &row);
    mem_free(t.a);
    mem_free(t.b);
    mem_free(t.c);
    return 3.0 * (double)bytes / row.best * 1e-9;
}

static void print_limits(const struct bench *bench, const struct jsc_device *device)
{
    const struct limits *most = &bench->limits;
    const char *precision = bench->precision == JSC_PRECISION_FAST ? "fast" : "strict";
    struct strbuf s = {0};
    if (bench->json) {
        strbuf_puts(&s, "{\"section\": \"limits\", \"version\": ");
        bench_json_string(&s, jsc_version());
        strbuf_puts(&s, ", \"device\": ");
        bench_json_string(&s, device->description);
        strbuf_printf(&s,
                      ", \"threads\": %d, \"precision\": \"%s\", \"gflops\": %.6g, \"gflops_vjp\": %.6g, \"gbytes\": %.6g, "
                      "\"product_side\": %u, \"triad_bytes\": %zu}",
                      device->threads, precision, most->gflops, most->gflops_vjp, most->gbytes, SIDE, 3 * TRIAD * sizeof(float));
    } else {
        strbuf_printf(&s, "device: %s, precision %s\nlimits: %.1f GFLOP/s in a float32 product of side %u", device->description, precision,
                      most->gflops, SIDE);
        if (bench->precision == JSC_PRECISION_FAST)
            strbuf_printf(&s, ", %.1f in one of the pull-back", most->gflops_vjp);
        strbuf_printf(&s, "; %.1f GB/s in a triad of 3 x 64 MB", most->gbytes);
    }
    bench_put_line(&s);
}

void limits_measure(struct bench *bench)
{
    struct product p = {.ops = bench->ops};
    jsc_error error;
    bench_ok(p.ops->device_open(&(struct device_options){bench->precision, bench->threads, 0}, &p.device, &error), &error, p.ops->name);
    bench_ok(p.ops->stream_open(p.device, &p.stream, &error), &error, p.ops->name);
    if (bench->precision == JSC_PRECISION_FAST && p.device->precision != JSC_PRECISION_FAST)
        (void)fprintf(stderr, "bench: precision fast is not to be had on %s: measuring strict\n", p.device->description);
    bench->precision = p.device->precision;
    bench->limits.gflops = bench->limits.gflops_vjp = product_gflops(bench, &p);
    if (bench->precision == JSC_PRECISION_FAST) {
        p.vjp = true;
        const double vjp = product_gflops(bench, &p);
        bench->limits.gflops_vjp = vjp > bench->limits.gflops ? vjp : bench->limits.gflops; /* emulated, it is slower than float32 */
    }
    bench->limits.gbytes = triad_gbytes(bench);
    print_limits(bench, p.device);
    p.ops->stream_close(p.stream);
    p.ops->device_close(p.device);
}
