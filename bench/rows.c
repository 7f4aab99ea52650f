/* rows.c: how a row is timed and printed, as a table or as JSON. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIMES_MOST 2000
#define LONG       1.0  /* seconds of a call that is timed twice in all */
#define VERY_LONG  30.0 /* once */

#define BATCH_SECONDS 2e-3
#define BATCH_MOST    100

void bench_ok(jsc_status status, const jsc_error *error, const char *what)
{
    if (status == JSC_OK)
        return;
    (void)fprintf(stderr, "bench: %s: %s\n", what, error->text);
    exit(1);
}

void *bench_memory(size_t bytes)
{
    jsc_error error;
    char *memory = NULL;
    bench_ok(mem_new(&memory, bytes, &error), &error, "memory");
    return memory;
}

const double *bench_noise(void)
{
    static double values[BENCH_NOISE];
    if (values[0] == 0.0)
        for (size_t i = 0; i < BENCH_NOISE; i++)
            values[i] = rng_normal(1, 3, i);
    return values;
}

float *bench_weights(size_t n)
{
    float *values = bench_memory(n * sizeof *values);
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        values[i] = (float)bench_noise()[i % BENCH_NOISE];
        memcpy(&bits, &values[i], sizeof bits);
        bits &= 0xffff0000U;
        memcpy(&values[i], &bits, sizeof bits);
    }
    return values;
}

dptr bench_numbers(const struct jsc_ops *ops, struct jsc_device *device, struct jsc_stream *stream, enum role role, size_t n, double scale)
{
    const size_t size = stream->size_of[role];
    const double *values = bench_noise();
    double *scaled = bench_memory(BENCH_NOISE * sizeof *scaled);
    jsc_error error;
    dptr out = NULL;
    for (size_t i = 0; i < BENCH_NOISE; i++)
        scaled[i] = scale * values[i];
    bench_ok(ops->alloc(device, n * size, &out, &error), &error, "alloc");
    for (size_t at = 0; at < n; at += BENCH_NOISE)
        bench_ok(ops->put(stream, role, dptr_at(out, at, size), scaled, n - at < BENCH_NOISE ? n - at : BENCH_NOISE, &error), &error,
                 "put");
    mem_free(scaled);
    return out;
}

/* ---- timing --------------------------------------------------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double once(void (*call)(void *context), void *context)
{
    const double begin = clock_seconds();
    call(context);
    return clock_seconds() - begin;
}

int bench_batch(const struct jsc_device *device, void (*call)(void *context), void *context)
{
    (void)once(call, context);
    const double seconds = once(call, context), n = BATCH_SECONDS / (seconds > 0.0 ? seconds : BATCH_SECONDS);
    return device->own_memory == 0 || n < 2.0 ? 1 : n > BATCH_MOST ? BATCH_MOST : (int)n;
}

void bench_open(const struct bench *bench, struct jsc_device **device, struct jsc_stream **stream)
{
    const struct device_options options = {bench->precision, bench->threads, bench->index};
    jsc_error error;
    bench_ok(bench->ops->device_open(&options, device, &error), &error, bench->device);
    bench_ok(bench->ops->stream_open(*device, stream, &error), &error, bench->device);
}

void bench_time(const struct bench *bench, void (*call)(void *context), void *context, struct row *row)
{
    static double times[TIMES_MOST];
    int n = 0;
    const double first = once(call, context);
    if (first > LONG)
        times[n++] = first; /* nothing that a first call does is seen beside that */
    if (first > LONG && first <= VERY_LONG)
        times[n++] = once(call, context);
    const double start = clock_seconds();
    while (first <= LONG && n < TIMES_MOST && (n < 5 || clock_seconds() - start < bench->seconds))
        times[n++] = once(call, context);
    qsort(times, (size_t)n, sizeof *times, compare);
    row->times = n;
    row->best = times[0];
    row->median = n % 2 == 1 ? times[n / 2] : (times[n / 2 - 1] + times[n / 2]) / 2;
}

/* ---- printing ------------------------------------------------------------------------------------------------------------------------- */

bool bench_wants(const struct bench *bench, const char *group, const char *name)
{
    return bench->only == NULL || strstr(group, bench->only) != NULL || strstr(name, bench->only) != NULL;
}

double bench_ratio(const struct bench *bench, const struct row *row)
{
    const struct limits *most = &bench->limits;
    const double arithmetic = (row->flops - row->flops_vjp) / (most->gflops * 1e9) + row->flops_vjp / (most->gflops_vjp * 1e9);
    const double memory = row->bytes / (most->gbytes * 1e9);
    return (arithmetic > memory ? arithmetic : memory) / row->best;
}

void bench_json_string(struct strbuf *out, const char *text)
{
    strbuf_puts(out, "\"");
    for (const char *c = text; *c != '\0'; c++)
        if (*c == '"' || *c == '\\' || (unsigned char)*c < 32)
            strbuf_printf(out, "\\u%04x", (unsigned)(unsigned char)*c);
        else
            strbuf_add(out, c, 1);
    strbuf_puts(out, "\"");
}

void bench_put_line(struct strbuf *line)
{
    strbuf_puts(line, "\n");
    if (line->failed || fputs(line->text, stdout) < 0 || fflush(stdout) != 0) {
        (void)fputs("bench: the results cannot be written\n", stderr);
        exit(1);
    }
    strbuf_free(line);
}

static void put_text(struct strbuf *s, const char *name, const char *text)
{
    strbuf_printf(s, ", \"%s\": ", name);
    bench_json_string(s, text);
}

/* Only what applies. */
static void put_number(struct strbuf *s, const char *name, double value)
{
    if (value > 0.0)
        strbuf_printf(s, ", \"%s\": %.12g", name, value);
}

static void print_json(const struct bench *bench, const struct row *row)
{
    struct strbuf s = {0};
    strbuf_puts(&s, "{\"section\": ");
    bench_json_string(&s, row->section);
    put_text(&s, "operation", row->group);
    put_text(&s, "case", row->name);
    put_text(&s, "shape", row->shape);
    put_text(&s, "precision", bench->precision == JSC_PRECISION_FAST ? "fast" : "strict");
    put_number(&s, "times", row->times);
    put_number(&s, "best_ms", row->best * 1e3);
    put_number(&s, "median_ms", row->median * 1e3);
    put_number(&s, "flops", row->flops);
    put_number(&s, "flops_vjp", row->flops_vjp);
    put_number(&s, "bytes", row->bytes);
    put_number(&s, "gflops", row->flops / row->best * 1e-9);
    put_number(&s, "gbytes", row->bytes / row->best * 1e-9);
    put_number(&s, "ratio", bench_ratio(bench, row));
    put_number(&s, "tokens", row->tokens);
    put_number(&s, "right_hand_sides", row->right_hand_sides);
    put_number(&s, "chunk", row->chunk);
    if (row->form != NULL)
        put_text(&s, "form", row->form);
    put_number(&s, "peak_bytes", row->peak);
    put_number(&s, "plan_bytes", row->planned);
    put_number(&s, "reached", row->reached);
    if (row->scores != NULL)
        strbuf_puts(&s, ", \"scores\": [");
    for (size_t i = 0; row->scores != NULL && i < row->n_scores; i++)
        strbuf_printf(&s, "%s%.17g", i > 0 ? ", " : "", row->scores[i]);
    strbuf_puts(&s, row->scores != NULL ? "]}" : "}");
    bench_put_line(&s);
}

/* width characters: the number, or a dash where it does not apply. */
static void put_cell(struct strbuf *s, int width, int digits, double value)
{
    if (value > 0.0)
        strbuf_printf(s, " %*.*f", width, digits, value);
    else
        strbuf_printf(s, " %*s", width, "-");
}

void bench_print_head(const struct bench *bench, bool whole_models)
{
    if (bench->json)
        return;
    if (whole_models)
        printf("\n%-32s %-21s %5s %10s %10s %8s %8s %6s %8s %8s\n", "whole model", "shape", "times", "best ms", "median ms", "GFLOP",
               "GFLOP/s", "ratio", "peak MB", "plan MB");
    else
        printf("\n%-14s %-30s %-18s %10s %10s %9s %8s %6s\n", "operation", "case", "shape", "best ms", "median ms", "GFLOP/s", "GB/s",
               "ratio");
}

void bench_print_row(const struct bench *bench, const struct row *row)
{
    struct strbuf s = {0};
    if (bench->json) {
        print_json(bench, row);
        return;
    }
    const bool whole = strcmp(row->section, "attribute") == 0;
    if (whole)
        strbuf_printf(&s, "%-32s %-21s %5d", row->name, row->shape, row->times);
    else
        strbuf_printf(&s, "%-14s %-30s %-18s", row->group, row->name, row->shape);
    put_cell(&s, 10, 3, row->best * 1e3);
    put_cell(&s, 10, 3, row->median * 1e3);
    if (whole)
        put_cell(&s, 8, 1, row->flops * 1e-9);
    put_cell(&s, whole ? 8 : 9, 1, row->flops / row->best * 1e-9);
    if (!whole)
        put_cell(&s, 8, 1, row->bytes / row->best * 1e-9);
    put_cell(&s, 6, 2, bench_ratio(bench, row));
    if (whole) {
        put_cell(&s, 8, 1, row->peak * 1e-6);
        put_cell(&s, 8, 1, row->planned * 1e-6);
    }
    bench_put_line(&s);
}
