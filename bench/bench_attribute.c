/* bench_attribute.c: a whole model through the public interface: load, forward, pull-back, scopes. */
#include "bench.h"

#include <jscopes/jscopes.h>

#include <stdio.h>
#include <string.h>

/* "French: Nous l'appelons lentille jacobienne. English: We call it Jacobian" in SmolLM2's tokens */
static const int32_t translation[] = {22243, 42,  442,   488, 303,  23, 1207, 299, 707, 20434, 3285, 544,
                                      387,   675, 40227, 30,  2321, 42, 1046, 946, 357, 12469, 697};
enum { N_TRANSLATION = sizeof translation / sizeof *translation };

struct whole {
    const struct bench *bench;
    const char *path;
    jsc_open_options options;
    jsc_model *model;
    jsc_request request;
    double forward, backward; /* best seconds of any call */
};

static void load(void *context)
{
    struct whole *w = context;
    jsc_error error;
    jsc_model_close(w->model);
    w->model = NULL;
    bench_ok(jsc_model_open(w->path, &w->options, &w->model, &error), &error, w->path);
}

static void attribute(void *context)
{
    struct whole *w = context;
    jsc_error error;
    jsc_attribution *a = NULL;
    bench_ok(jsc_attribute(w->model, &w->request, &a, &error), &error, "attribute");
    w->forward = a->seconds_forward < w->forward ? a->seconds_forward : w->forward;
    w->backward = a->seconds_backward < w->backward ? a->seconds_backward : w->backward;
    jsc_attribution_free(a);
}

/* A call of seconds is timed twice, not five times. */
static void time_long(struct whole *w, struct row *row)
{
    double times[2];
    for (int i = 0; i < 2; i++) {
        const double begin = clock_seconds();
        attribute(w);
        times[i] = clock_seconds() - begin;
    }
    row->best = times[0] < times[1] ? times[0] : times[1];
    row->median = (times[0] + times[1]) / 2;
}

static void print_part(const struct whole *w, const char *name, const char *shape, double seconds, double flops)
{
    struct row row = {.group = "model", .name = name, .best = seconds, .median = seconds, .flops = flops};
    (void)snprintf(row.shape, sizeof row.shape, "%s", shape);
    bench_print_row(w->bench, &row);
}

static void one_scope(struct whole *w, const char *name, bool is_long)
{
    struct row row = {.group = "scope", .name = name};
    jsc_plan plan = JSC_PLAN_INIT;
    jsc_error error;
    char part[64];

    bench_ok(jsc_plan_make(w->model, &w->request, &plan, &error), &error, name);
    w->forward = w->backward = 1e30;
    if (is_long)
        time_long(w, &row);
    else
        bench_time(w->bench, attribute, w, &row);
    (void)snprintf(row.shape, sizeof row.shape, "T=%d B=%d %s", plan.n_tokens, plan.chunk, jsc_mlp_form_name(plan.mlp_form));
    row.flops = plan.forward_flops + plan.backward_flops;
    if (w->request.scope == JSC_SCOPE_FISHER && w->request.fisher_mode == JSC_FISHER_ADAPTIVE)
        row.flops = 0; /* the plan knows only the most that it may need */
    bench_print_row(w->bench, &row);
    if (row.flops > 0) {
        (void)snprintf(part, sizeof part, "%s: forward", name);
        print_part(w, part, row.shape, w->forward, plan.forward_flops);
        (void)snprintf(part, sizeof part, "%s: pull-back", name);
        print_part(w, part, row.shape, w->backward, plan.backward_flops);
    }
}

void bench_attribute(const struct bench *bench, int n_tokens)
{
    struct whole w = {.bench = bench, .options = JSC_OPEN_OPTIONS_INIT, .request = JSC_REQUEST_INIT};
    struct row row = {.group = "model", .name = "load"};
    jsc_model_info info = JSC_MODEL_INFO_INIT;
    char path[4096];
    jsc_error error;

    bench_ok(jsc_model_find(bench->model != NULL ? bench->model : "smollm2-135m", path, sizeof path, &error), &error, "model");
    w.path = path;
    w.options.device = bench->ops->name;
    w.options.precision = JSC_PRECISION_STRICT;
    w.options.threads = bench->threads;
    bench_time(bench, load, &w, &row);
    bench_ok(jsc_model_describe(w.model, &info, &error), &error, "describe");
    (void)snprintf(row.shape, sizeof row.shape, "%.1fM %s", (double)info.parameters * 1e-6, info.format);
    row.bytes = (double)info.file_bytes + (double)info.weight_bytes;
    bench_print_row(bench, &row);

    const size_t n = n_tokens > 0 ? (size_t)n_tokens : N_TRANSLATION;
    int32_t *ids = bench_memory(n * sizeof *ids);
    for (size_t i = 0; i < n; i++) /* a longer prompt repeats it: what is computed does not depend on the text */
        ids[i] = translation[i % N_TRANSLATION] % info.vocab_size;
    w.request.ids = ids;
    w.request.n_ids = n;
    w.request.scope = JSC_SCOPE_TEMPERATURE;
    one_scope(&w, "temperature", false);
    w.request.scope = JSC_SCOPE_SEMANTIC;
    one_scope(&w, "semantic", false);
    w.request.scope = JSC_SCOPE_FISHER;
    w.request.fisher_mode = JSC_FISHER_ADAPTIVE;
    one_scope(&w, "fisher, adaptive 2 %", true);
    w.request.fisher_mode = JSC_FISHER_EXACT;
    one_scope(&w, "fisher, exact", true);
    w.request.scope = JSC_SCOPE_PATH;
    one_scope(&w, "path, 100 steps", true);
    mem_free(ids);
    jsc_model_close(w.model);
}
