/* bench.c: the benchmark program: options, timing, rows. */
#include "bench.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIMES_MOST 2000

static const char help[] =
    "usage: bench [--ops] [--all] [--attribute] [--tokens N]... [--model FILE] [--device NAME] [--threads N] [--seconds S] [--json]\n"
    "\n"
    "Prints times against limits that the same run measures. Without --ops or --attribute: both.\n"
    "\n"
    "  --ops          every operation at a real model's shapes (tests/cases.h)\n"
    "  --all          also the small shapes of that table\n"
    "  --attribute    load, forward, pull-back and scopes of a whole model\n"
    "  --tokens N     prompts of N tokens instead of the translation prompt of 23; may be repeated\n"
    "  --model FILE   instead of the default model in the cache (jscopes fetch brings it)\n"
    "  --device NAME  cpu (default), ref, cuda\n"
    "  --threads N    default: OMP_NUM_THREADS, else all\n"
    "  --seconds S    spent on one row at least, default 0.3\n"
    "  --json         one JSON object a row\n"
    "\n"
    "example: bench --ops --threads 2        example: bench --attribute --tokens 128 --tokens 512\n";

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

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void bench_time(const struct bench *bench, void (*call)(void *context), void *context, struct row *row)
{
    static double times[TIMES_MOST];
    int n = 0;
    call(context);
    const double start = clock_seconds();
    while (n < TIMES_MOST && (n < 5 || clock_seconds() - start < bench->seconds)) {
        const double begin = clock_seconds();
        call(context);
        times[n++] = clock_seconds() - begin;
    }
    qsort(times, (size_t)n, sizeof *times, compare);
    row->best = times[0];
    row->median = times[n / 2];
}

void bench_print_head(const struct bench *bench)
{
    if (!bench->json)
        printf("%-14s %-30s %-26s %10s %10s %9s %8s %6s\n", "operation", "case", "shape", "best ms", "median ms", "GFLOP/s", "GB/s",
               "ratio");
}

/* The ratio is to the slower of the two limits: the least time that arithmetic and memory leave, over the time taken. */
void bench_print_row(const struct bench *bench, const struct row *row)
{
    const double arithmetic = row->flops / (bench->limits.gflops * 1e9), memory = row->bytes / (bench->limits.gbytes * 1e9);
    const double ratio = (arithmetic > memory ? arithmetic : memory) / row->best;
    const double gflops = row->flops / row->best * 1e-9, gbytes = row->bytes / row->best * 1e-9;
    if (bench->json)
        printf("{\"operation\": \"%s\", \"case\": \"%s\", \"shape\": \"%s\", \"best_ms\": %.6g, \"median_ms\": %.6g, \"gflops\": %.6g, "
               "\"gbytes\": %.6g, \"ratio\": %.4g, \"limit_gflops\": %.6g, \"limit_gbytes\": %.6g}\n",
               row->group, row->name, row->shape, row->best * 1e3, row->median * 1e3, gflops, gbytes, ratio, bench->limits.gflops,
               bench->limits.gbytes);
    else
        printf("%-14s %-30s %-26s %10.3f %10.3f %9.1f %8.1f %6.2f\n", row->group, row->name, row->shape, row->best * 1e3, row->median * 1e3,
               gflops, gbytes, ratio);
    (void)fflush(stdout);
}

/* A whole number of at least 1 that fits an int, or the end of the program. */
static int positive(const char *text, const char *option)
{
    char *end = NULL;
    const long value = strtol(text, &end, 10);
    if (end == text || *end != '\0' || value < 1 || value > 1000000) {
        (void)fprintf(stderr, "bench: --%s: %s is not a number from 1 to 1000000\n", option, text);
        exit(2);
    }
    return (int)value;
}

int main(int argc, char **argv)
{
    enum { OPS = 256, ALL, ATTRIBUTE, TOKENS, MODEL, DEVICE, THREADS, SECONDS, JSON, HELP };
    static const struct option options[] = {
        {"ops", no_argument, NULL, OPS},
        {"all", no_argument, NULL, ALL},
        {"attribute", no_argument, NULL, ATTRIBUTE},
        {"tokens", required_argument, NULL, TOKENS},
        {"model", required_argument, NULL, MODEL},
        {"device", required_argument, NULL, DEVICE},
        {"threads", required_argument, NULL, THREADS},
        {"seconds", required_argument, NULL, SECONDS},
        {"json", no_argument, NULL, JSON},
        {"help", no_argument, NULL, HELP},
        {NULL, 0, NULL, 0},
    };
    struct bench bench = {.seconds = 0.3};
    const char *device = "cpu";
    bool ops = false, all = false, attribute = false;
    int tokens[16] = {0}, n_tokens = 0, index = 0;
    jsc_error error;

    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;)
        switch (c) {
        case OPS:
            ops = true;
            break;
        case ALL:
            all = true;
            break;
        case ATTRIBUTE:
            attribute = true;
            break;
        case TOKENS:
            if (n_tokens < 16)
                tokens[n_tokens++] = positive(optarg, "tokens");
            break;
        case MODEL:
            bench.model = optarg;
            break;
        case DEVICE:
            device = optarg;
            break;
        case THREADS:
            bench.threads = positive(optarg, "threads");
            break;
        case SECONDS:
            bench.seconds = strtod(optarg, NULL);
            break;
        case JSON:
            bench.json = true;
            break;
        case HELP:
            (void)fputs(help, stdout);
            return 0;
        default:
            (void)fputs("bench: see --help\n", stderr);
            return 2;
        }
    bench_ok(backend_find(device, &bench.ops, &index, &error), &error, device);
    limits_measure(&bench);
    bench_print_head(&bench);
    if (ops || !attribute)
        bench_ops(&bench, all);
    for (int i = 0; (attribute || !ops) && (i < n_tokens || i == 0); i++)
        bench_attribute(&bench, tokens[i]);
    return 0;
}
