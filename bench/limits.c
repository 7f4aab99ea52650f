/* limits.c: what this machine can do, measured in the run that it is compared with: a large float32 product and the triad. */
#include "bench.h"

#include <omp.h>
#include <stdio.h>

#define SIDE  2048u              /* of the square product: 17 GFLOP */
#define TRIAD (size_t)(16 << 20) /* floats in each of three arrays, 64 MB */

struct product {
    const struct jsc_ops *ops;
    struct jsc_stream *stream;
    struct op_matmul op;
};

static void multiply(void *context)
{
    const struct product *p = context;
    jsc_error error;
    bench_ok(p->ops->matmul(p->stream, &p->op, &error), &error, "matmul");
    bench_ok(p->ops->sync(p->stream, &error), &error, "sync");
}

static double product_gflops(const struct bench *bench)
{
    const struct jsc_ops *ops = bench->ops;
    struct jsc_device *device = NULL;
    struct jsc_stream *stream = NULL;
    struct jsc_weight *w = NULL;
    jsc_error error;
    dptr x = NULL, y = NULL;
    struct row row = {0};
    float *values = bench_memory((size_t)SIDE * SIDE * sizeof *values);
    double *doubles = bench_memory((size_t)SIDE * SIDE * sizeof *doubles);

    for (size_t i = 0; i < (size_t)SIDE * SIDE; i++)
        values[i] = (float)(doubles[i] = rng_unit(1, 2, i) - 0.5);
    const struct weight_part part = {
        .bytes = values, .type = DTYPE_F32, .n = SIDE, .row_bytes = SIDE * sizeof *values, .scale = 1.0, .name = "w"};
    bench_ok(ops->device_open(&(struct device_options){JSC_PRECISION_STRICT, bench->threads, 0}, &device, &error), &error, ops->name);
    bench_ok(ops->stream_open(device, &stream, &error), &error, ops->name);
    bench_ok(ops->weight_make(device, &part, 1, SIDE, USE_FORWARD, NULL, &w, &error), &error, "weight_make");
    bench_ok(ops->alloc(device, (size_t)SIDE * SIDE * stream->size_of[ROLE_ACT], &x, &error), &error, "alloc");
    bench_ok(ops->alloc(device, (size_t)SIDE * SIDE * stream->size_of[ROLE_REAL], &y, &error), &error, "alloc");
    bench_ok(ops->put(stream, ROLE_ACT, x, doubles, (size_t)SIDE * SIDE, &error), &error, "put");
    struct product p = {ops, stream, {.n = SIDE, .w = w, .x = x, .y = y}};
    struct bench longer = *bench;
    longer.seconds = 1.0;
    bench_time(&longer, multiply, &p, &row);
    (void)fprintf(bench->json ? stderr : stdout, "device: %s\n", device->description);

    ops->free(device, x);
    ops->free(device, y);
    ops->weight_free(device, w);
    ops->stream_close(stream);
    ops->device_close(device);
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

void limits_measure(struct bench *bench)
{
    bench->limits.gflops = product_gflops(bench);
    bench->limits.gbytes = triad_gbytes(bench);
    (void)fprintf(bench->json ? stderr : stdout, "limits: %.1f GFLOP/s in a product of side %u, %.1f GB/s in a triad of 3 x 64 MB\n",
                  bench->limits.gflops, SIDE, bench->limits.gbytes);
}
