/* scaling_measured.c: one request by one device, by several that share its right-hand sides, and by several that hold a part of the model
 * each: seconds of whole calls, each against one device in the same run.
 *
 * Without GPUs the members and stages are the processor several times, a thread each: that checks the machinery, and says nothing of GPUs. */
#include "bench.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define DEVICES_MOST 16
#define NAME_BYTES   24 /* "cuda:0" */

static const struct measured_scope {
    const char *name;
    jsc_fisher_mode mode;
} measured_scopes[] = {{"fisher, exact", JSC_FISHER_EXACT}, {"fisher, adaptive", JSC_FISHER_ADAPTIVE}};

/* One way of answering: a model alone (over one device or several), or a group. */
struct team {
    const struct bench *bench;
    char path[4096];
    jsc_open_options options;
    jsc_model *models[DEVICES_MOST];
    int n_models;
    jsc_group *group;
    jsc_request request;
    int32_t *ids;
    jsc_attribution *last;
};

static void ask(void *context)
{
    struct team *t = context;
    jsc_error error;
    jsc_attribution_free(t->last);
    t->last = NULL;
    bench_ok(t->group != NULL ? jsc_group_attribute(t->group, &t->request, &t->last, &error)
                              : jsc_attribute(t->models[0], &t->request, &t->last, &error),
             &error, "attribute");
}

/* How many devices there are of the kind asked for; of a processor, as many as there are threads to use, but two at least. */
static int count_devices(const struct bench *bench)
{
    int n = 0;
    char name[NAME_BYTES];
    const struct jsc_ops *ops = NULL;
    jsc_error error;
    if (strncmp(bench->ops->name, "cuda", 4) != 0)
        return 2;
    for (; n < DEVICES_MOST; n++) {
        int index = 0;
        (void)snprintf(name, sizeof name, "cuda:%d", n);
        if (backend_find(name, &ops, &index, NULL, &error) != JSC_OK)
            break;
    }
    return n;
}

/* "cuda:2" or "cpu" */
static void device_name(const struct team *t, int i, char *name, size_t capacity)
{
    if (strncmp(t->bench->ops->name, "cuda", 4) == 0)
        (void)snprintf(name, capacity, "cuda:%d", i);
    else
        (void)snprintf(name, capacity, "%s", t->bench->ops->name);
}

/* false: the model is too large for it. */
static bool open_on(struct team *t, const char *device)
{
    jsc_error error;
    t->options.device = device;
    const jsc_status status = jsc_model_open(t->path, &t->options, &t->models[t->n_models], &error);
    if (status != JSC_E_MEMORY)
        bench_ok(status, &error, device);
    t->n_models += status == JSC_OK;
    return status == JSC_OK;
}

static void close_team(struct team *t)
{
    jsc_group_close(t->group);
    t->group = NULL;
    while (t->n_models > 0)
        jsc_model_close(t->models[--t->n_models]);
}

/* n replicas as a group; one is a model alone. */
static bool open_replicas(struct team *t, int n)
{
    char name[NAME_BYTES];
    jsc_error error;
    for (int i = 0; i < n; i++) {
        device_name(t, i, name, sizeof name);
        if (!open_on(t, name))
            return false;
    }
    if (n > 1)
        bench_ok(jsc_group_make((const jsc_model *const *)t->models, n, &t->group, &error), &error, "group");
    return true;
}

static bool open_stages(struct team *t, int n)
{
    char names[DEVICES_MOST * NAME_BYTES] = "";
    for (int i = 0; i < n; i++) {
        if (i > 0)
            strcat(names, "+");
        device_name(t, i, names + strlen(names), NAME_BYTES);
    }
    return open_on(t, names);
}

/* Of the fewest devices that hold the model, for each scope and length: what all else is held against. */
struct alone {
    int devices; /* 0: not measured yet */
    double seconds;
    double *scores;
    size_t n;
};

static double difference(const struct alone *alone, const jsc_attribution *a)
{
    double most = 0.0, largest = 0.0;
    for (size_t i = 0; i < alone->n; i++)
        largest = fmax(largest, fabs(alone->scores[i]));
    for (size_t i = 0; i < alone->n; i++)
        most = fmax(most, fabs(a->scores[i] - alone->scores[i]) / fmax(fabs(alone->scores[i]), 1e-6 * largest));
    return most;
}

static void keep(struct alone *alone, int devices, const jsc_attribution *a, double seconds)
{
    alone->devices = devices;
    alone->seconds = seconds;
    alone->n = a->n_tokens;
    alone->scores = bench_memory(alone->n * sizeof *alone->scores);
    memcpy(alone->scores, a->scores, alone->n * sizeof *alone->scores);
}

static void print_head(const struct bench *bench, int n)
{
    if (bench->json)
        return;
    if (strncmp(bench->ops->name, "cuda", 4) == 0)
        printf("\nmeasured: several GPUs against one, %d here\n", n);
    else
        printf("\nmeasured: THE PROCESSOR as %d members or stages of %d thread%s each: a check of the machinery, not of GPUs; what the "
               "members\n"
               "share (memory, two cores) can make several slower than one\n",
               n, bench->threads > 0 ? bench->threads : 1, bench->threads > 1 ? "s" : "");
    printf("%-9s %2s %-18s %6s %5s %10s %10s %8s %5s %12s\n", "way", "n", "scope", "tokens", "times", "best ms", "median ms", "speed-up",
           "eff.", "difference");
}

static void print_measured(const struct team *t, const char *way, int n, const char *scope, const struct row *row,
                           const struct alone *alone)
{
    struct strbuf s = {0};
    const double faster = alone->seconds / row->best, off = difference(alone, t->last);
    const int sides = t->last->fisher.directions + t->last->fisher.probes;
    if (t->bench->json)
        strbuf_printf(&s,
                      "{\"section\": \"scaling\", \"operation\": \"%s\", \"source\": \"%s\", \"case\": \"%s\", \"precision\": \"%s\", "
                      "\"tokens\": %d, \"devices\": %d, \"right_hand_sides\": %d, \"times\": %d, \"best_ms\": %.6g, \"median_ms\": %.6g, "
                      "\"speed_up\": %.5g, \"efficiency\": %.5g, \"difference\": %.3g}",
                      way, strncmp(t->bench->ops->name, "cuda", 4) == 0 ? "measured" : "measured on the processor", scope,
                      t->bench->precision == JSC_PRECISION_FAST ? "fast" : "strict", row->tokens, n, sides, row->times, row->best * 1e3,
                      row->median * 1e3, faster, faster * alone->devices / n, off);
    else
        strbuf_printf(&s, "%-9s %2d %-18s %6d %5d %10.3f %10.3f %8.2f %4.0f%% %12.1e", way, n, scope, row->tokens, row->times,
                      row->best * 1e3, row->median * 1e3, faster, 100.0 * faster * alone->devices / n, off);
    bench_put_line(&s);
}

enum { N_SCOPES = sizeof measured_scopes / sizeof *measured_scopes };

/* One device alone is measured for whatever is held against it. */
static bool wanted(const struct bench *bench, const char *way, const char *scope)
{
    const bool first = strcmp(way, "alone") == 0;
    return bench_wants(bench, way, scope) || (first && (bench_wants(bench, "replicas", "stages")));
}

static void measure_team(struct team *t, const char *way, int n, struct alone *alone)
{
    for (size_t s = 0; s < N_SCOPES; s++)
        for (int i = 0; i < t->bench->n_tokens; i++) {
            struct alone *one = &alone[s * BENCH_TOKENS_MOST + (size_t)i];
            struct row row = {.tokens = t->bench->tokens[i]};
            if (!wanted(t->bench, way, measured_scopes[s].name))
                continue;
            t->request.scope = JSC_SCOPE_FISHER;
            t->request.fisher_mode = measured_scopes[s].mode;
            t->request.ids = t->ids;
            t->request.n_ids = (size_t)row.tokens;
            t->request.memory_limit = t->bench->memory;
            bench_time(t->bench, ask, t, &row);
            if (one->devices == 0)
                keep(one, n, t->last, row.best);
            print_measured(t, way, n, measured_scopes[s].name, &row, one);
        }
}

static void prepare(struct team *t, const struct bench *bench)
{
    jsc_model_info info = JSC_MODEL_INFO_INIT;
    jsc_error error;
    int most = 0;

    *t = (struct team){.bench = bench, .options = JSC_OPEN_OPTIONS_INIT, .request = JSC_REQUEST_INIT};
    bench_ok(jsc_model_find(bench->model != NULL ? bench->model : "smollm2-135m", t->path, sizeof t->path, &error), &error, "model");
    t->options.precision = bench->precision;
    t->options.threads = bench->threads > 0 || strncmp(bench->ops->name, "cuda", 4) == 0 ? bench->threads : 1;
    t->options.device = "cpu", t->options.without_weights = 1;
    bench_ok(jsc_model_open(t->path, &t->options, &t->models[0], &error), &error, t->path);
    bench_ok(jsc_model_describe(t->models[0], &info, &error), &error, "describe");
    jsc_model_close(t->models[0]);
    t->options.without_weights = 0;
    for (int i = 0; i < bench->n_tokens; i++)
        most = bench->tokens[i] > most ? bench->tokens[i] : most;
    t->ids = bench_memory((size_t)most * sizeof *t->ids);
    for (int i = 0; i < most; i++)
        t->ids[i] = bench->ids[i % bench->n_ids] % info.vocab_size;
}

/* n devices in both ways. */
static void measure(struct team *t, int n, struct alone *alone)
{
    if (open_replicas(t, n))
        measure_team(t, n > 1 ? "replicas" : "alone", n, alone);
    else if (!t->bench->json)
        printf("%-9s %2d the model does not fit on one device\n", n > 1 ? "replicas" : "alone", n);
    close_team(t);
    if (n == 1)
        return;
    if (open_stages(t, n))
        measure_team(t, "stages", n, alone);
    else if (!t->bench->json)
        printf("%-9s %2d the model does not fit\n", "stages", n);
    close_team(t);
}

void scaling_measured(const struct bench *bench)
{
    static struct team t;
    static struct alone alone[N_SCOPES * BENCH_TOKENS_MOST];
    const int devices = count_devices(bench);
    bool any = false;

    for (size_t s = 0; s < N_SCOPES; s++)
        any = any || wanted(bench, "alone", measured_scopes[s].name);
    if (!any)
        return;
    print_head(bench, devices);
    prepare(&t, bench);
    for (int n = 1; n <= devices; n = n < devices && 2 * n > devices ? devices : 2 * n)
        measure(&t, n, alone);
    jsc_attribution_free(t.last);
    mem_free(t.ids);
    for (size_t i = 0; i < N_SCOPES * BENCH_TOKENS_MOST; i++)
        mem_free(alone[i].scores);
}
