/* golden_requests.c: puts the requests of a golden file to a model and compares the answers. */
#include "golden_requests.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { IDS_MAX = 64 };

/* One request of the file being answered. */
struct question {
    char what[160];
    const json_t *want;
    jsc_request request;
    int32_t ids[IDS_MAX], targets[8];
    double *directions;
    double tolerance;
};

/* Largest error seen, in units of the tolerance: printed, so that a growing error is seen before it fails. */
static double worst;

static void note(double error)
{
    worst = fmax(worst, error);
}

static void set_objective(struct question *q)
{
    const char *objective = json_string_value(json_object_get(q->want, "objective"));
    size_t n = golden_ids(q->want, "targets", q->targets, 8);
    if (objective && !strcmp(objective, "contrast"))
        q->request.objective = JSC_OBJECTIVE_CONTRAST;
    else if (objective && !strcmp(objective, "log-probability"))
        q->request.objective = JSC_OBJECTIVE_LOG_PROBABILITY;
    q->request.targets = n ? q->targets : NULL;
    q->request.n_targets = q->request.objective == JSC_OBJECTIVE_CONTRAST ? n / 2 : n;
}

static void set_path(struct question *q)
{
    const char *baseline = json_string_value(json_object_get(q->want, "baseline"));
    q->request.path_steps = (int)golden_double(q->want, "steps", 100);
    if (baseline && !strcmp(baseline, "mean"))
        q->request.baseline = JSC_BASELINE_MEAN;
    if (baseline && !strcmp(baseline, "id"))
        q->request.baseline = JSC_BASELINE_ID, q->request.baseline_id = (int32_t)golden_double(q->want, "baseline_id", -1);
}

static void set_directions(struct question *q)
{
    const json_t *rows = json_object_get(q->want, "directions");
    size_t n = json_array_size(rows), d = json_array_size(json_array_get(rows, 0));
    if (!n)
        return;
    q->directions = calloc(n * d, sizeof *q->directions);
    cr_assert(q->directions);
    for (size_t i = 0; i < n * d; i++)
        q->directions[i] = json_number_value(json_array_get(json_array_get(rows, i / d), i % d));
    q->request.directions = q->directions, q->request.n_directions = n;
}

static void put(struct question *q, const char *label, const json_t *prompt, const json_t *want, double tolerance)
{
    const jsc_request start = JSC_REQUEST_INIT;
    memset(q, 0, sizeof *q);
    q->want = want, q->tolerance = tolerance, q->request = start;
    q->request.ids = q->ids, q->request.n_ids = golden_ids(prompt, "ids", q->ids, IDS_MAX);
    q->request.position = (int64_t)golden_double(prompt, "position", -1);
    snprintf(q->what, sizeof q->what, "%s, T = %zu: %s", label, q->request.n_ids, json_string_value(json_object_get(want, "name")));
    jsc_error error;
    cr_assert(jsc_scope_find(json_string_value(json_object_get(want, "scope")), &q->request.scope, &error) == JSC_OK, "%s", error.text);
    q->request.layers = json_object_get(want, "layers") != NULL;
    q->request.matrix = json_object_get(want, "matrix") != NULL;
    q->request.fisher_mode = JSC_FISHER_EXACT;
    set_objective(q), set_path(q), set_directions(q);
}

static void check_extras(const struct question *q, const jsc_attribution *a)
{
    const json_t *want = q->want, *given = json_object_get(want, "signed");
    char what[200];
    double scale = 0;
    for (size_t t = 0; t < a->n_tokens; t++)
        scale = fmax(scale, a->scores[t]);
    for (size_t t = 0; t < json_array_size(given); t++) { /* a signed sum cancels: its error is that of the norm */
        snprintf(what, sizeof what, "%s, signed %zu", q->what, t);
        note(golden_number(what, json_number_value(json_array_get(given, t)), a->signed_scores[t], q->tolerance * scale));
    }
    if (json_object_get(want, "trace")) {
        double trace = golden_double(want, "trace", NAN);
        note(golden_number("trace of F", trace, a->fisher.trace, q->tolerance * trace));
        cr_expect(a->fisher.mode == JSC_FISHER_EXACT, "%s: went mode %d", q->what, (int)a->fisher.mode);
    }
    if (json_object_get(want, "sum")) {
        double whole = scale * (double)a->n_tokens;
        note(golden_number("path sum", golden_double(want, "sum", NAN), a->path.sum, q->tolerance * whole));
        note(golden_number("path difference", golden_double(want, "difference", NAN), a->path.difference, q->tolerance * whole));
        golden_number("completeness error", fabs(a->path.sum - a->path.difference), a->path.completeness_error, 1e-12 * whole);
    }
    if (json_object_get(want, "target")) {
        cr_assert(a->n_targets == 1 && a->targets, "%s: the explained target is not stated", q->what);
        cr_expect(a->targets[0].id == (int32_t)golden_double(want, "target", -1), "%s: explains id %d", q->what, (int)a->targets[0].id);
    }
}

static void check_answer(const struct question *q, const jsc_attribution *a)
{
    size_t T = a->n_tokens, L = (size_t)a->n_layers;
    const json_t *scores = json_object_get(q->want, "scores"), *layers = json_object_get(q->want, "layers"),
                 *matrix = json_object_get(q->want, "matrix");
    cr_assert(T == q->request.n_ids, "%s: %zu tokens", q->what, T);
    if (matrix) {
        note(golden_rows(q->what, matrix, a->matrix, T, T, q->tolerance));
        return;
    }
    cr_assert(a->n_scores == json_array_size(scores), "%s: %zu scores per token, want %zu", q->what, a->n_scores, json_array_size(scores));
    note(golden_rows(q->what, scores, a->scores, a->n_scores, T, q->tolerance));
    for (size_t s = 0; layers && s < a->n_scores; s++) {
        cr_assert(a->layers, "%s: no layer map", q->what);
        note(golden_rows(q->what, json_array_get(layers, s), a->layers + s * L * T, L, T, q->tolerance));
        for (size_t t = 0; t < T; t++)
            cr_expect(a->layers[s * L * T + t] == a->scores[s * T + t], "%s: block 0 differs from the score of token %zu", q->what, t);
    }
    check_extras(q, a);
}

/* The same question in chunks of another size: the same scores to 1e-6. */
static void check_chunks(struct question *q, const jsc_model *model, const jsc_attribution *a)
{
    q->request.chunk = 5;
    jsc_attribution *b = golden_attribute(q->what, model, &q->request);
    double largest = 0;
    for (size_t i = 0; i < a->n_tokens * a->n_scores; i++)
        largest = fmax(largest, a->scores[i]);
    for (size_t i = 0; i < a->n_tokens * a->n_scores; i++)
        cr_expect(fabs(a->scores[i] - b->scores[i]) <= 1e-6 * fmax(a->scores[i], 1e-3 * largest),
                  "%s: chunk 5 changes score %zu: %.9g, %.9g", q->what, i, a->scores[i], b->scores[i]);
    jsc_attribution_free(b);
}

/* Adaptive Fisher: within 3 of its own standard errors of the exact values, for tokens with 1 % of the total. */
static void check_adaptive(struct question *q, const jsc_model *model)
{
    const json_t *exact = json_array_get(json_object_get(q->want, "scores"), 0);
    q->request.fisher_mode = JSC_FISHER_ADAPTIVE, q->request.chunk = 0;
    for (uint64_t seed = 0; seed < 4; seed++) {
        q->request.seed = seed, q->request.fisher_rtol = 0.2;
        jsc_attribution *a = golden_attribute(q->what, model, &q->request);
        double total = 0;
        for (size_t t = 0; t < json_array_size(exact); t++)
            total += json_number_value(json_array_get(exact, t));
        for (size_t t = 0; t < json_array_size(exact); t++) {
            double want = json_number_value(json_array_get(exact, t)), spread = a->stderrs ? a->stderrs[t] : 0.0;
            cr_expect(want < 0.01 * total || fabs(a->scores[t] - want) <= 3 * spread + q->tolerance * want,
                      "%s, adaptive, seed %d: token %zu is %.6g +- %.2g, exact %.6g", q->what, (int)seed, t, a->scores[t], spread, want);
        }
        jsc_attribution_free(a);
    }
}

static void check_prompt(const char *label, const jsc_model *model, const json_t *prompt, double tolerance)
{
    size_t i;
    json_t *want;
    json_array_foreach(json_object_get(prompt, "requests"), i, want)
    {
        struct question q;
        put(&q, label, prompt, want, tolerance);
        jsc_attribution *a = golden_attribute(q.what, model, &q.request);
        check_answer(&q, a);
        if (!q.request.matrix && (q.request.scope == JSC_SCOPE_FISHER || q.request.n_targets == 3))
            check_chunks(&q, model, a);
        if (!q.request.matrix && q.request.scope == JSC_SCOPE_FISHER)
            check_adaptive(&q, model);
        if (i == 0) {
            note(golden_number("y norm", golden_double(prompt, "y_norm", NAN), a->y_norm, tolerance * a->y_norm));
            golden_predictions(q.what, json_object_get(prompt, "predictions"), a, fmin(1e-5, tolerance));
        }
        jsc_attribution_free(a);
        free(q.directions);
    }
}

double golden_requests(const char *label, const json_t *root, const jsc_model *model, double tolerance)
{
    const json_t *prompts = json_object_get(root, "prompts");
    json_t *prompt;
    size_t i;
    worst = 0;
    cr_assert(json_array_size(prompts) >= 1, "%s: no prompts", label);
    json_array_foreach(prompts, i, prompt) check_prompt(label, model, prompt, tolerance);
    fprintf(stderr, "%s: largest error %.3f of the tolerance %.0e\n", label, worst, tolerance);
    return worst;
}

static void spread_rows(struct golden_spread *spread, const json_t *rows, const double *got, size_t n)
{
    double want[IDS_MAX];
    for (size_t r = 0; r < json_array_size(rows); r++) {
        const json_t *row = json_array_get(rows, r);
        const size_t given = json_array_size(row);
        cr_assert(got && given <= n && given <= IDS_MAX, "%zu values wanted, %zu there", given, n);
        for (size_t i = 0; i < given; i++)
            want[i] = json_number_value(json_array_get(row, i));
        golden_spread_row(spread, want, got + r * n, given);
    }
}

static void spread_prompt(const char *label, const jsc_model *model, const json_t *prompt, struct golden_spread spread[2])
{
    json_t *want;
    size_t i;
    json_array_foreach(json_object_get(prompt, "requests"), i, want)
    {
        struct question q;
        put(&q, label, prompt, want, 0);
        jsc_attribution *a = golden_attribute(q.what, model, &q.request);
        struct golden_spread *s = &spread[q.request.scope == JSC_SCOPE_FISHER];
        const json_t *layers = json_object_get(want, "layers");
        spread_rows(s, json_object_get(want, "scores"), a->scores, a->n_tokens);
        for (size_t k = 0; k < json_array_size(layers); k++)
            spread_rows(s, json_array_get(layers, k), a->layers + k * (size_t)a->n_layers * a->n_tokens, a->n_tokens);
        if (q.request.matrix)
            spread_rows(s, json_object_get(want, "matrix"), a->matrix, a->n_tokens);
        jsc_attribution_free(a);
        free(q.directions);
    }
}

void golden_requests_fast(const char *label, const json_t *root, const jsc_model *model)
{
    struct golden_spread spread[2] = {0};
    char what[120];
    json_t *prompt;
    size_t i;
    json_array_foreach(json_object_get(root, "prompts"), i, prompt) spread_prompt(label, model, prompt, spread);
    for (int squared = 0; squared < 2; squared++) {
        snprintf(what, sizeof what, "%s, %s", label, squared ? "fisher" : "all others");
        cr_assert(spread[squared].n > 0, "%s: nothing was asked", what);
        golden_spread_check(what, &spread[squared], squared);
        cr_expect(spread[squared].largest > 1e-5, "%s: nothing was rounded", what);
    }
}
