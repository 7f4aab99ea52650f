/* bench.c: the benchmark program: what is to be measured. */
#include "bench.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define QUIET_SECONDS 60.0 /* a longer run measures the limits at its end too */

/* "French: Nous l'appelons lentille jacobienne. English: We call it Jacobian" in SmolLM2's tokens */
static const char translation[] = "22243,42,442,488,303,23,1207,299,707,20434,3285,544,387,675,40227,30,2321,42,1046,946,357,12469,697";

static const char help[] =
    "usage: bench [--ops] [--all] [--attribute] [--mlp-forms] [--scaling] [--quick | --tokens N...] [--only NAME] [--model FILE] [--ids "
    "A,B,...]\n"
    "             [--device NAME] [--precision NAME] [--threads N] [--memory BYTES] [--seconds S] [--json]\n"
    "\n"
    "Prints times against limits that the same run measures; docs/benchmarks.md says what the columns mean. Without a section: --ops and\n"
    "--attribute, a quarter of an hour on two cores.\n"
    "\n"
    "  --ops             every operation at a real model's shapes (tests/cases.h)\n"
    "  --all             also the small shapes of that table\n"
    "  --attribute       whole models: load, forward, VJP, scopes, memory, growth with tokens and right-hand sides\n"
    "  --mlp-forms       the three forms of the MLP's VJP, where they cross, constants for the plan's cost model\n"
    "  --scaling         several devices: computed for published sizes (prompts of 64 and 512 tokens), and measured with those that are "
    "there\n"
    "  --quick           prompts of 23 tokens only, about a minute\n"
    "  --tokens N        prompts of N tokens instead of 23, 128 and 512; may be repeated\n"
    "  --only NAME       only rows with NAME in the operation or the case\n"
    "  --model FILE      instead of the default model in the cache (jscopes fetch brings it)\n"
    "  --ids A,B,...     the prompt, repeated for longer ones; default: the translation prompt of 23 tokens\n"
    "  --device NAME     cpu (default), ref, cuda, cuda:N\n"
    "  --precision NAME  strict (default) or fast\n"
    "  --threads N       default: OMP_NUM_THREADS, else all\n"
    "  --memory BYTES    limit beyond the weights for whole models; default: what is free\n"
    "  --seconds S       spent on one row at least, default 0.3\n"
    "  --json            one JSON object a line\n"
    "\n"
    "example: bench --ops --threads 2      example: bench --attribute --tokens 128 --only exact\n";

/* A whole number of at least least that fits an int, or the end of the program. *end: what follows it. */
static int whole_number(const char *text, const char *option, int least, char **end)
{
    const long value = strtol(text, end, 10);
    if (*end == text || value < least || value > 1000000) {
        (void)fprintf(stderr, "bench: --%s: %s is not a number from %d to 1000000\n", option, text, least);
        exit(2);
    }
    return (int)value;
}

static int positive(const char *text, const char *option)
{
    char *end = NULL;
    const int value = whole_number(text, option, 1, &end);
    if (*end != '\0') {
        (void)fprintf(stderr, "bench: --%s: %s is not a number\n", option, text);
        exit(2);
    }
    return value;
}

static double amount(const char *text, const char *option, double least)
{
    char *end = NULL;
    const double value = strtod(text, &end);
    if (end == text || *end != '\0' || !(value >= least && value <= 1e15)) {
        (void)fprintf(stderr, "bench: --%s: %s is not a number from %g to 1e15\n", option, text, least);
        exit(2);
    }
    return value;
}

static void take_ids(struct bench *bench, const char *text)
{
    char *end = NULL;
    mem_free(bench->ids);
    bench->ids = bench_memory((strlen(text) + 1) * sizeof *bench->ids);
    bench->n_ids = 0;
    for (const char *at = text;; at = end + 1) {
        bench->ids[bench->n_ids++] = whole_number(at, "ids", 0, &end);
        if (*end == '\0')
            return;
        if (*end != ',') {
            (void)fprintf(stderr, "bench: --ids: %s is not a list of token ids\n", text);
            exit(2);
        }
    }
}

static void add_tokens(struct bench *bench, int n)
{
    if (bench->n_tokens == BENCH_TOKENS_MOST) {
        (void)fprintf(stderr, "bench: --tokens: at most %d prompt lengths\n", BENCH_TOKENS_MOST);
        exit(2);
    }
    bench->tokens[bench->n_tokens++] = n;
}

static jsc_precision take_precision(const char *name)
{
    if (strcmp(name, "strict") == 0)
        return JSC_PRECISION_STRICT;
    if (strcmp(name, "fast") == 0)
        return JSC_PRECISION_FAST;
    (void)fprintf(stderr, "bench: --precision: %s is neither strict nor fast\n", name);
    exit(2);
}

struct sections {
    const char *device;
    bool ops, all, attribute, mlp_forms, scaling, quick;
};

enum {
    OPS = 256,
    ALL,
    ATTRIBUTE,
    MLP_FORMS,
    SCALING,
    QUICK,
    TOKENS,
    ONLY,
    MODEL,
    IDS,
    DEVICE,
    PRECISION,
    THREADS,
    MEMORY,
    SECONDS,
    JSON,
    HELP
};
static const struct option options[] = {
    {"ops", no_argument, NULL, OPS},
    {"all", no_argument, NULL, ALL},
    {"attribute", no_argument, NULL, ATTRIBUTE},
    {"mlp-forms", no_argument, NULL, MLP_FORMS},
    {"scaling", no_argument, NULL, SCALING},
    {"quick", no_argument, NULL, QUICK},
    {"tokens", required_argument, NULL, TOKENS},
    {"only", required_argument, NULL, ONLY},
    {"model", required_argument, NULL, MODEL},
    {"ids", required_argument, NULL, IDS},
    {"device", required_argument, NULL, DEVICE},
    {"precision", required_argument, NULL, PRECISION},
    {"threads", required_argument, NULL, THREADS},
    {"memory", required_argument, NULL, MEMORY},
    {"seconds", required_argument, NULL, SECONDS},
    {"json", no_argument, NULL, JSON},
    {"help", no_argument, NULL, HELP},
    {NULL, 0, NULL, 0},
};

/* long: one case an option */
static void take_option(int c, struct bench *bench, struct sections *s)
{
    switch (c) {
    case OPS:
        s->ops = true;
        break;
    case ALL:
        s->all = true;
        break;
    case ATTRIBUTE:
        s->attribute = true;
        break;
    case MLP_FORMS:
        s->mlp_forms = true;
        break;
    case SCALING:
        s->scaling = true;
        break;
    case QUICK:
        s->quick = true;
        break;
    case TOKENS:
        add_tokens(bench, positive(optarg, "tokens"));
        bench->tokens_given = true;
        break;
    case ONLY:
        bench->only = optarg;
        break;
    case MODEL:
        bench->model = optarg;
        break;
    case IDS:
        take_ids(bench, optarg);
        break;
    case DEVICE:
        s->device = optarg;
        break;
    case PRECISION:
        bench->precision = take_precision(optarg);
        break;
    case THREADS:
        bench->threads = positive(optarg, "threads");
        break;
    case MEMORY:
        bench->memory = (uint64_t)amount(optarg, "memory", 1.0);
        break;
    case SECONDS:
        bench->seconds = amount(optarg, "seconds", 0.0);
        break;
    case JSON:
        bench->json = true;
        break;
    case HELP:
        (void)fputs(help, stdout);
        exit(0);
    default:
        (void)fputs("bench: see --help\n", stderr);
        exit(2);
    }
}

int main(int argc, char **argv)
{
    struct bench bench = {.seconds = 0.3, .precision = JSC_PRECISION_STRICT};
    struct sections s = {.device = "cpu"};
    jsc_error error;

    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;)
        take_option(c, &bench, &s);
    if (optind < argc) {
        (void)fprintf(stderr, "bench: %s is no option; see --help\n", argv[optind]);
        return 2;
    }
    if (bench.ids == NULL)
        take_ids(&bench, translation);
    if (bench.n_tokens == 0) {
        add_tokens(&bench, bench.n_ids);
        if (!s.quick && (s.ops || s.attribute || s.mlp_forms || !s.scaling)) /* scaling measures long calls */
            add_tokens(&bench, 128), add_tokens(&bench, 512);
    }
    bench.device = s.device;
    if (access(JSC_CUDA_BUILT, F_OK) == 0) /* of the same build, which does not lie beside this program */
        (void)setenv(env_name(ENV_CUDA_PLUGIN), JSC_CUDA_BUILT, 0);
    bench_ok(backend_find(s.device, &bench.ops, &bench.index, NULL, &error), &error, "--device");
    const double begin = clock_seconds();
    limits_measure(&bench);
    const bool every = !s.ops && !s.attribute && !s.mlp_forms && !s.scaling;
    if (s.ops || every)
        bench_ops(&bench, s.all);
    if (s.attribute || every)
        bench_attribute(&bench);
    if (s.mlp_forms)
        bench_mlp_forms(&bench);
    if (s.scaling) {
        scaling_computed(&bench);
        scaling_measured(&bench);
    }
    if (clock_seconds() - begin > QUIET_SECONDS)
        limits_measure(&bench); /* shows whether the machine stayed as it was */
    mem_free(bench.ids);
    return 0;
}
