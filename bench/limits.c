/* limits.c: what this machine or device can do, measured in the run that it is compared with: a large product and the triad. */
#include "bench.h"

#include <omp.h>
#include <stdio.h>
#include <string.h>

#define SIDE        ((size_t)2048)     /* of the square product: 17 GFLOP */
#define TRIAD       ((size_t)16 << 20) /* floats in each of three arrays, 64 MB */
#define SIDE_LEAST  ((size_t)512)      /* on a device both grow until a call takes LONG_ENOUGH */
#define SIDE_MOST   ((size_t)8192)     /* 1.1 TFLOP */
#define TRIAD_LEAST ((size_t)1 << 20)
#define TRIAD_MOST  ((size_t)64 << 20) /* floats: 256 MB in each of two arrays */
#define LONG_ENOUGH 5e-4

/* What is measured: y = x W^T, or the pull-back's dx = dy W with the same numbers; on a device also x += s y. */
struct probe {
    const struct bench *bench;
    const struct jsc_ops *ops;
    struct jsc_device *device;
    struct jsc_stream *stream;
    struct jsc_weight *w;
    dptr x, y;
    size_t n; /* side, or elements */
    bool vjp;
    size_t side, triad_bytes; /* as measured last */
};

static void multiply(void *context)
{
    const struct probe *p = context;
    jsc_error error;
    if (p->vjp)
        bench_ok(p->ops->matmul_vjp(p->stream, &(struct op_matmul_vjp){.n = p->n, .w = p->w, .dy = p->x, .dx = p->y}, &error), &error,
                 "matmul_vjp");
    else
        bench_ok(p->ops->matmul(p->stream, &(struct op_matmul){.n = p->n, .w = p->w, .x = p->x, .y = p->y}, &error), &error, "matmul");
    bench_ok(p->ops->sync(p->stream, &error), &error, "sync");
}

/* Best seconds of a square product of this side. */
static double product_seconds(struct probe *p, size_t side)
{
    const size_t n = side * side;
    const enum role in = p->vjp ? ROLE_COT : ROLE_ACT, out = p->vjp ? ROLE_COT : ROLE_REAL;
    struct bench longer = *p->bench;
    struct row row = {0};
    jsc_error error;
    float *values = bench_weights(n);

    const struct weight_part part = {
        .bytes = values, .type = DTYPE_F32, .n = side, .row_bytes = side * sizeof *values, .scale = 1.0, .name = "w"};
    bench_ok(p->ops->weight_make(p->device, &part, 1, side, p->vjp ? USE_VJP : USE_FORWARD, NULL, &p->w, &error), &error, "weight_make");
    p->x = bench_numbers(p->ops, p->device, p->stream, in, n, 1.0);
    bench_ok(p->ops->alloc(p->device, n * p->stream->size_of[out], &p->y, &error), &error, "alloc");
    p->n = p->side = side;
    longer.seconds = p->device->own_memory > 0 ? p->bench->seconds : 1.0;
    bench_time(&longer, multiply, p, &row);
    p->ops->free(p->device, p->x);
    p->ops->free(p->device, p->y);
    p->ops->weight_free(p->device, p->w);
    mem_free(values);
    return row.best;
}

static double product_gflops(struct probe *p)
{
    size_t side = p->device->own_memory > 0 ? SIDE_LEAST : SIDE;
    double seconds = product_seconds(p, side);
    while (p->device->own_memory > 0 && seconds < LONG_ENOUGH && side < SIDE_MOST)
        seconds = product_seconds(p, side *= 2);
    return 2.0 * (double)side * (double)side * (double)side / seconds * 1e-9;
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

static double triad_seconds(struct probe *p)
{
    const size_t bytes = TRIAD * sizeof(float);
    struct triad t = {bench_memory(bytes), bench_memory(bytes), bench_memory(bytes),
                      p->bench->threads > 0 ? p->bench->threads : omp_get_max_threads()};
    struct row row = {0};
    for (size_t i = 0; i < TRIAD; i++)
        t.b[i] = 1.0f, t.c[i] = (float)i;
    bench_time(p->bench, triad, &t, &row);
    mem_free(t.a);
    mem_free(t.b);
    mem_free(t.c);
    p->triad_bytes = 3 * bytes;
    return row.best;
}

static void add(void *context)
{
    const struct probe *p = context;
    jsc_error error;
    bench_ok(p->ops->add(p->stream, &(struct op_add){.n = p->n, .scale = 0.5, .x = p->x, .y = p->y}, &error), &error, "add");
    bench_ok(p->ops->sync(p->stream, &error), &error, "sync");
}

/* The same on the device, by its own kernel: two arrays are read, one is written. */
static double add_seconds(struct probe *p, size_t n)
{
    struct row row = {0};
    p->x = bench_numbers(p->ops, p->device, p->stream, ROLE_REAL, n, 1.0);
    p->y = bench_numbers(p->ops, p->device, p->stream, ROLE_REAL, n, 1.0);
    p->n = n;
    bench_time(p->bench, add, p, &row);
    p->ops->free(p->device, p->x);
    p->ops->free(p->device, p->y);
    p->triad_bytes = 3 * n * sizeof(float);
    return row.best;
}

static double gbytes(struct probe *p)
{
    size_t n = TRIAD_LEAST;
    double seconds = p->device->own_memory > 0 ? add_seconds(p, n) : triad_seconds(p);
    while (p->device->own_memory > 0 && seconds < LONG_ENOUGH && n < TRIAD_MOST)
        seconds = add_seconds(p, n *= 2);
    return (double)p->triad_bytes / seconds * 1e-9;
}

/* Driver and clocks in the words of NVIDIA's tool, which comes with the driver; "" without. */
static void card_state(const struct bench *bench, char *text, size_t capacity)
{
    char command[160];
    text[0] = '\0';
    (void)snprintf(command, sizeof command,
                   "nvidia-smi -i %d --query-gpu=driver_version,clocks.sm,clocks.mem,clocks.max.sm,power.limit --format=csv,noheader 2>&1",
                   bench->index);
    FILE *tool = popen(command, "r");
    if (tool == NULL)
        return;
    if (fgets(text, (int)capacity, tool) == NULL)
        text[0] = '\0';
    text[strcspn(text, "\n")] = '\0';
    if (pclose(tool) != 0)
        text[0] = '\0';
}

static void print_limits(const struct bench *bench, const struct probe *p)
{
    const struct limits *most = &bench->limits;
    const char *precision = bench->precision == JSC_PRECISION_FAST ? "fast" : "strict";
    struct strbuf s = {0};
    char card[160] = "";

    if (p->device->own_memory > 0)
        card_state(bench, card, sizeof card);
    if (bench->json) {
        strbuf_puts(&s, "{\"section\": \"limits\", \"version\": ");
        bench_json_string(&s, jsc_version());
        strbuf_puts(&s, ", \"device\": ");
        bench_json_string(&s, p->device->description);
        if (card[0] != '\0') {
            strbuf_puts(&s, ", \"card\": ");
            bench_json_string(&s, card);
        }
        strbuf_printf(&s,
                      ", \"threads\": %d, \"precision\": \"%s\", \"gflops\": %.6g, \"gflops_vjp\": %.6g, \"gbytes\": %.6g, "
                      "\"product_side\": %zu, \"triad_bytes\": %zu}",
                      p->device->threads, precision, most->gflops, most->gflops_vjp, most->gbytes, p->side, p->triad_bytes);
    } else {
        strbuf_printf(&s, "device: %s, precision %s\n", p->device->description, precision);
        if (card[0] != '\0')
            strbuf_printf(&s, "driver, clocks of SM and memory, highest of SM, power limit: %s\n", card);
        strbuf_printf(&s, "limits: %.1f GFLOP/s in a forward product of side %zu", most->gflops, p->side);
        if (bench->precision == JSC_PRECISION_FAST)
            strbuf_printf(&s, ", %.1f in one of the pull-back", most->gflops_vjp);
        strbuf_printf(&s, "; %.1f GB/s in a + s b over %zu MB", most->gbytes, p->triad_bytes >> 20);
    }
    bench_put_line(&s);
}

void limits_measure(struct bench *bench)
{
    struct probe p = {.bench = bench, .ops = bench->ops};
    bench_open(bench, &p.device, &p.stream);
    if (bench->precision == JSC_PRECISION_FAST && p.device->precision != JSC_PRECISION_FAST)
        (void)fprintf(stderr, "bench: precision fast is not to be had on %s: measuring strict\n", p.device->description);
    bench->precision = p.device->precision;
    bench->limits.gflops = bench->limits.gflops_vjp = product_gflops(&p);
    if (bench->precision == JSC_PRECISION_FAST) {
        p.vjp = true;
        const double vjp = product_gflops(&p);
        bench->limits.gflops_vjp = vjp > bench->limits.gflops ? vjp : bench->limits.gflops; /* emulated, it is slower than float32 */
    }
    bench->limits.gbytes = gbytes(&p);
    print_limits(bench, &p);
    p.ops->stream_close(p.stream);
    p.ops->device_close(p.device);
}
