/* test_golden.c: every scope on the tiny checkpoints, folder and GGUF twin, against float64 values (tests/oracle/make_tiny_llama.py).
 * ref within 1e-6, cpu in strict arithmetic within 1e-4 (golden.h has the rule), probabilities within 1e-5. */
#include "support/golden.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { IDS_MAX = 64 };

struct golden_case {
    char checkpoint[24], suffix[8], device[8];
    double tolerance;
};

/* One request of the file being answered. */
struct question {
    char what[120];
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

static void ask(struct question *q, const struct golden_case *c, const json_t *prompt, const json_t *want)
{
    const jsc_request start = JSC_REQUEST_INIT;
    memset(q, 0, sizeof *q);
    q->want = want, q->tolerance = c->tolerance, q->request = start;
    q->request.ids = q->ids, q->request.n_ids = golden_ids(prompt, "ids", q->ids, IDS_MAX);
    q->request.position = (int64_t)golden_double(prompt, "position", -1);
    snprintf(q->what, sizeof q->what, "%s%s on %s, T = %zu: %s", c->checkpoint, c->suffix, c->device, q->request.n_ids,
             json_string_value(json_object_get(want, "name")));
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
    char what[160];
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

static void check_prompt(const struct golden_case *c, const jsc_model *model, const json_t *prompt)
{
    size_t i;
    json_t *want;
    json_array_foreach(json_object_get(prompt, "requests"), i, want)
    {
        struct question q;
        ask(&q, c, prompt, want);
        jsc_attribution *a = golden_attribute(q.what, model, &q.request);
        check_answer(&q, a);
        if (!q.request.matrix && (q.request.scope == JSC_SCOPE_FISHER || q.request.n_targets == 3))
            check_chunks(&q, model, a);
        if (!q.request.matrix && q.request.scope == JSC_SCOPE_FISHER)
            check_adaptive(&q, model);
        if (i == 0) {
            note(golden_number("y norm", golden_double(prompt, "y_norm", NAN), a->y_norm, c->tolerance * a->y_norm));
            golden_predictions(q.what, json_object_get(prompt, "predictions"), a, fmin(1e-5, c->tolerance));
        }
        jsc_attribution_free(a);
        free(q.directions);
    }
}

ParameterizedTestParameters(golden, scores)
{
    static struct golden_case cases[] = {
        {"tiny_llama", "", "ref", 1e-6},      {"tiny_llama", ".gguf", "ref", 1e-6},      {"tiny_llama", "", "cpu", 1e-4},
        {"tiny_llama", ".gguf", "cpu", 1e-4}, {"tiny_llama_bias", "", "ref", 1e-6},      {"tiny_llama_bias", ".gguf", "ref", 1e-6},
        {"tiny_llama_bias", "", "cpu", 1e-4}, {"tiny_llama_bias", ".gguf", "cpu", 1e-4},
    };
    return cr_make_param_array(struct golden_case, cases, sizeof cases / sizeof *cases);
}

ParameterizedTest(struct golden_case *c, golden, scores, .timeout = 120)
{
    char path[512], values[512];
    snprintf(path, sizeof path, JSC_TEST_SOURCE "/tests/golden/%s%s", c->checkpoint, c->suffix);
    snprintf(values, sizeof values, JSC_TEST_SOURCE "/tests/golden/%s.json", c->checkpoint);
    json_t *root = golden_load(values), *prompts = json_object_get(root, "prompts"), *prompt;
    jsc_model *model = golden_open(path, c->device);
    size_t i;
    cr_assert(json_array_size(prompts) >= 1, "%s holds no prompts", values);
    json_array_foreach(prompts, i, prompt) check_prompt(c, model, prompt);
    fprintf(stderr, "%s%s on %s: largest error %.3f of the tolerance %.0e\n", c->checkpoint, c->suffix, c->device, worst, c->tolerance);
    jsc_model_close(model);
    json_decref(root);
}

/* Ids of a few texts from both forms of one tokeniser, as the tokenizers package gives them. */
Test(golden, texts)
{
    json_t *root = golden_load(JSC_TEST_SOURCE "/tests/golden/tiny_llama.json"), *one;
    static const char *const forms[] = {JSC_TEST_SOURCE "/tests/golden/tiny_llama", JSC_TEST_SOURCE "/tests/golden/tiny_llama.gguf"};
    for (size_t form = 0; form < 2; form++) {
        jsc_model *model = golden_open(forms[form], "cpu");
        size_t i;
        json_array_foreach(json_object_get(root, "texts"), i, one)
        {
            const json_t *text = json_object_get(one, "text");
            int32_t ids[IDS_MAX];
            size_t n = golden_ids(one, "ids", ids, IDS_MAX);
            jsc_tokens *tokens = NULL;
            jsc_error error;
            jsc_status status = jsc_tokenize(model, json_string_value(text), json_string_length(text), NULL, &tokens, &error);
            cr_assert(status == JSC_OK, "%s: \"%s\": %s", forms[form], json_string_value(text), error.text);
            cr_expect(tokens->n == n && !memcmp(tokens->ids, ids, n * sizeof *ids), "%s: \"%s\": other ids (%zu, want %zu)", forms[form],
                      json_string_value(text), tokens->n, n);
            jsc_tokens_free(tokens);
        }
        jsc_model_close(model);
    }
    json_decref(root);
}
