/* bench_attribute.c: whole models: load, forward, one VJP and the scopes at every prompt length. */
#include "bench.h"

#include <stdio.h>
#include <string.h>

static const struct scope_row {
    const char *name;
    jsc_scope scope;
    jsc_fisher_mode mode;
    bool parts; /* also its forward and its pull-back as rows */
} scope_rows[] = {
    {"temperature", JSC_SCOPE_TEMPERATURE, JSC_FISHER_ADAPTIVE, false},
    {"fisher, adaptive 2 %", JSC_SCOPE_FISHER, JSC_FISHER_ADAPTIVE, false},
    {"fisher, exact", JSC_SCOPE_FISHER, JSC_FISHER_EXACT, true},
    {"path, 100 steps", JSC_SCOPE_PATH, JSC_FISHER_ADAPTIVE, true},
};

/* A part of the calls that whole_time() measured. */
static void print_part(const struct whole *w, const struct row *of, const char *what, double seconds, double flops, double flops_vjp)
{
    char name[96];
    struct row row = *of;
    if (of->name[0] == '\0')
        (void)snprintf(name, sizeof name, "%s", what);
    else
        (void)snprintf(name, sizeof name, "%s: %s", of->name, what);
    row.group = "model";
    row.name = name;
    row.best = row.median = seconds;
    row.flops = flops;
    row.flops_vjp = flops_vjp;
    row.peak = row.planned = row.reached = 0.0;
    row.scores = NULL;
    bench_print_row(w->bench, &row);
}

/* Where the calls' time went, as shares of the pull-backs and forwards together, largest first. */
static void print_spent(const struct whole *w, const struct row *row)
{
    struct strbuf s = {0};
    double shown = 2.0, sum = 0.0;
    const bool json = w->bench->json;
    for (int i = 0; i < w->n_spent; i++)
        sum += w->spent[i].seconds;
    if (!(sum > 0.0))
        return;
    if (json) {
        strbuf_printf(&s, "{\"section\": \"attribute\", \"operation\": \"spent\", \"case\": \"%s\", \"tokens\": %d", row->name,
                      row->tokens);
        for (int i = 0; i < w->n_spent; i++)
            strbuf_printf(&s, ", \"%s_ms\": %.6g", w->spent[i].name, w->spent[i].seconds / w->calls * 1e3);
        strbuf_puts(&s, "}");
        bench_put_line(&s);
        return;
    }
    strbuf_puts(&s, "    time in operations:");
    for (int n = 0; n < 5; n++) {
        int next = -1;
        for (int i = 0; i < w->n_spent; i++)
            if (w->spent[i].seconds / sum < shown && (next < 0 || w->spent[i].seconds > w->spent[next].seconds))
                next = i;
        if (next < 0 || w->spent[next].seconds < 0.01 * sum)
            break;
        shown = w->spent[next].seconds / sum;
        strbuf_printf(&s, "%s %s %.0f %%", n > 0 ? "," : "", w->spent[next].name, shown * 100.0);
    }
    bench_put_line(&s);
}

/* Products with weights in the pull-back: their useful FLOPs over the time in the operations that do them. */
static void print_linear(const struct whole *w, const struct row *row)
{
    const double linear = row->flops_vjp - whole_attention_flops(w, row->tokens, row->right_hand_sides);
    const double seconds = (whole_spent(w, "matmul_vjp") + whole_spent(w, "mlp_collapse")) / w->backward_sum * w->backward;
    if (seconds > 0.0)
        print_part(w, row, "its linear layers", seconds, linear, linear);
}

static void note_growth(const struct whole *w, const struct row *row, struct growth *growth)
{
    const int i = growth->n++;
    const double attention = whole_spent(w, "attention_vjp") / w->backward_sum;
    growth->tokens[i] = row->tokens;
    growth->seconds[i] = w->backward;
    growth->attention[i] = attention * w->backward;
    growth->attention_flops[i] = whole_attention_flops(w, row->tokens, row->right_hand_sides) / row->flops_vjp;
}

static void one_scope(struct whole *w, const struct scope_row *scope, int n_tokens, struct growth *growth)
{
    struct row row = {.section = "attribute", .group = "scope", .name = scope->name};
    const struct bench *bench = w->bench;

    if (!bench_wants(bench, row.group, row.name))
        return;
    w->request = (jsc_request)JSC_REQUEST_INIT;
    w->request.scope = scope->scope;
    w->request.fisher_mode = scope->mode;
    whole_time(w, n_tokens, &row);
    row.scores = w->last->scores;
    row.n_scores = w->last->n_scores * w->last->n_tokens;
    row.reached = w->last->fisher.reached;
    bench_print_row(bench, &row);
    if (scope->parts) {
        print_part(w, &row, "forward", w->forward, row.flops - row.flops_vjp, 0.0);
        print_part(w, &row, "pull-back", w->backward, row.flops_vjp, row.flops_vjp);
    }
    if (scope->scope == JSC_SCOPE_FISHER && scope->mode == JSC_FISHER_EXACT) {
        print_linear(w, &row);
        note_growth(w, &row, growth);
    }
    print_spent(w, &row);
}

static void forward_and_vjp(struct whole *w, int n_tokens)
{
    struct row row = {.section = "attribute", .name = ""};
    if (!bench_wants(w->bench, "model", "forward") && !bench_wants(w->bench, "model", "one VJP"))
        return;
    w->request = (jsc_request)JSC_REQUEST_INIT;
    whole_directions(w, 1);
    whole_time(w, n_tokens, &row);
    print_part(w, &row, "forward", w->forward, row.flops - row.flops_vjp, 0.0);
    print_part(w, &row, "one VJP", w->backward, row.flops_vjp, row.flops_vjp);
}

void bench_attribute(const struct bench *bench)
{
    static struct whole w;
    struct growth growth = {0};
    struct row row = {.section = "attribute", .group = "model", .name = "load"};
    const bool load = bench_wants(bench, row.group, row.name);

    bench_print_head(bench, true);
    whole_open(&w, bench, load ? &row : NULL);
    if (load)
        bench_load(bench, &w, &row);
    for (int i = 0; i < bench->n_tokens; i++) {
        forward_and_vjp(&w, bench->tokens[i]);
        for (size_t s = 0; s < sizeof scope_rows / sizeof *scope_rows; s++)
            one_scope(&w, &scope_rows[s], bench->tokens[i], &growth);
    }
    growth_print_tokens(bench, "fisher, exact", &growth);
    if (bench_wants(bench, "growth", "right-hand sides"))
        growth_right_hand_sides(&w, bench->tokens[0]);
    whole_close(&w);
}
