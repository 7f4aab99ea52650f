/* whole.c: a whole model being measured through the public interface: calls, what they needed, where their time went. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void load(void *context)
{
    struct whole *w = context;
    jsc_error error;
    jsc_model_close(w->model);
    w->model = NULL;
    bench_ok(jsc_model_open(w->path, &w->options, &w->model, &error), &error, w->path);
}

void whole_open(struct whole *w, const struct bench *bench, struct row *load_row)
{
    jsc_error error;
    int most = 0;

    *w = (struct whole){.bench = bench, .options = JSC_OPEN_OPTIONS_INIT, .info = JSC_MODEL_INFO_INIT, .request = JSC_REQUEST_INIT};
    bench_ok(jsc_model_find(bench->model != NULL ? bench->model : "smollm2-135m", w->path, sizeof w->path, &error), &error, "model");
    w->options.device = bench->device;
    w->options.precision = bench->precision;
    w->options.threads = bench->threads;
    /* seconds of every operation; two clock readings a call, and on a device with a queue a wait, which would be most of the time */
    if (strncmp(bench->ops->name, "cuda", 4) != 0 && setenv(env_name(ENV_TRACE), "1", 1) != 0)
        exit(1);
    if (load_row != NULL)
        bench_time(bench, load, w, load_row);
    else
        load(w);
    bench_ok(jsc_model_describe(w->model, &w->info, &error), &error, "describe");
    for (int i = 0; i < bench->n_tokens; i++)
        most = bench->tokens[i] > most ? bench->tokens[i] : most;
    w->ids = bench_memory((size_t)most * sizeof *w->ids);
    for (int i = 0; i < most; i++) /* a longer prompt repeats it: what is computed does not depend on the text */
        w->ids[i] = bench->ids[i % bench->n_ids] % w->info.vocab_size;
    w->base = peak_base();
}

void whole_close(struct whole *w)
{
    jsc_attribution_free(w->last);
    jsc_model_close(w->model);
    mem_free(w->ids);
    mem_free(w->directions);
}

void whole_directions(struct whole *w, size_t n)
{
    const size_t numbers = n * (size_t)w->info.d_model;
    if (n > w->n_directions) {
        mem_free(w->directions);
        w->directions = bench_memory(numbers * sizeof *w->directions);
        for (size_t i = 0; i < numbers; i++)
            w->directions[i] = bench_noise()[i % BENCH_NOISE];
        w->base += (double)(n - w->n_directions) * w->info.d_model * (double)sizeof *w->directions; /* the caller's, not the library's */
        w->n_directions = n;
    }
    w->request.scope = JSC_SCOPE_DIRECTION;
    w->request.directions = w->directions;
    w->request.n_directions = n;
}

/* ---- seconds by operation --------------------------------------------------------------------------------------------------------------- */

/* "trace: NAME CALLS calls ROWS rows SECONDS s", sums since the process began; first with sign -1, then with +1. */
struct reading {
    struct whole *w;
    double sign;
};

static void read_line(void *user, int level, const char *line)
{
    const struct reading *reading = user;
    struct whole *w = reading->w;
    char name[16];
    double seconds = 0.0;
    int i = 0;
    (void)level;
    if (sscanf(line, "trace: %15s %*d calls %*f rows %lf s", name, &seconds) != 2)
        return;
    while (i < w->n_spent && strcmp(w->spent[i].name, name) != 0)
        i++;
    if (i == (int)(sizeof w->spent / sizeof *w->spent))
        return;
    if (i == w->n_spent) {
        w->spent[w->n_spent++].seconds = 0.0;
        memcpy(w->spent[i].name, name, sizeof name);
    }
    w->spent[i].seconds += reading->sign * seconds;
}

double whole_spent(const struct whole *w, const char *op)
{
    for (int i = 0; i < w->n_spent; i++)
        if (strcmp(w->spent[i].name, op) == 0)
            return w->spent[i].seconds;
    return 0.0;
}

/* ---- one request ------------------------------------------------------------------------------------------------------------------------ */

static void attribute(void *context)
{
    struct whole *w = context;
    jsc_error error;
    jsc_attribution_free(w->last);
    w->last = NULL;
    bench_ok(jsc_attribute(w->model, &w->request, &w->last, &error), &error, "attribute");
    w->calls++;
    w->forward = w->last->seconds_forward < w->forward ? w->last->seconds_forward : w->forward;
    w->backward = w->last->seconds_backward < w->backward ? w->last->seconds_backward : w->backward;
    w->backward_sum += w->last->seconds_backward;
}

static void plan(struct whole *w, jsc_plan *out)
{
    jsc_error error;
    *out = (jsc_plan)JSC_PLAN_INIT;
    bench_ok(jsc_plan_make(w->model, &w->request, out, &error), &error, "plan");
}

/* Fisher plans for as many right-hand sides as it may need: count those that were pulled back. */
static void plan_what_was_done(struct whole *w, struct row *row)
{
    const jsc_request asked = w->request;
    const int n = w->last->fisher.directions + w->last->fisher.probes;
    jsc_plan done;
    if (asked.scope != JSC_SCOPE_FISHER || n < 1)
        return;
    whole_directions(w, (size_t)n);
    plan(w, &done);
    w->request = asked;
    row->right_hand_sides = n;
    row->flops_vjp = done.backward_flops;
    row->flops = done.forward_flops + done.backward_flops;
    row->chunk = done.chunk;
    row->form = jsc_mlp_form_name(done.mlp_form);
}

void whole_time(struct whole *w, int n_tokens, struct row *row)
{
    w->request.ids = w->ids;
    w->request.n_ids = (size_t)n_tokens;
    w->request.memory_limit = w->bench->memory;
    plan(w, &w->plan);
    w->forward = w->backward = 1e30;
    w->backward_sum = 0.0;
    w->calls = w->n_spent = 0;
    traced_report(read_line, &(struct reading){w, -1.0});
    peak_begin();
    bench_time(w->bench, attribute, w, row);
    row->peak = peak_since(w->base);
    traced_report(read_line, &(struct reading){w, 1.0});
    row->planned = (double)w->plan.peak_bytes;
    row->tokens = n_tokens;
    row->right_hand_sides = w->plan.right_hand_sides;
    row->flops_vjp = w->plan.backward_flops;
    row->flops = w->plan.forward_flops + w->plan.backward_flops;
    row->chunk = w->plan.chunk;
    row->form = jsc_mlp_form_name(w->plan.mlp_form);
    plan_what_was_done(w, row);
    (void)snprintf(row->shape, sizeof row->shape, "T=%d B=%d %s", n_tokens, row->chunk, row->form);
}

double whole_attention_flops(const struct whole *w, double T, double n)
{
    return (double)w->info.n_layers * n * 8.0 * T * (T / 2.0) * (double)w->info.n_heads * (double)w->info.head_dim;
}
