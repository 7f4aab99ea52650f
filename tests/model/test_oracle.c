/* test_oracle.c: the default model against float64 values: tests/golden/smollm2, and every *.json of the folder JSC_ORACLE_DIR
 * (default: ../shared/oracle/smollm2 beside the source tree, if it is there). Skipped where the model is not in the cache.
 * cpu in strict arithmetic within 1e-4 (golden.h has the rule), ref within 1e-6 on the short prompts, probabilities within 1e-5; cpu in fast
 * precision, emulated, within what bfloat16 costs (golden.h, FAST_LARGEST). */
#include "support/golden.h"

#include <criterion/criterion.h>
#include <glob.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#define SLOW_BUILD 1 /* exact Fisher takes minutes under the sanitizers; the release build covers it */
#else
#define SLOW_BUILD 0
#endif

enum { IDS_MAX = 4096, SHORT = 6 };

static int32_t ids[IDS_MAX];

/* Opens the default model or skips the test. */
static jsc_model *open_default(const char *device)
{
    char path[4096];
    jsc_error error;
    if (jsc_model_find("smollm2-135m", path, sizeof path, &error) != JSC_OK)
        cr_skip_test("the default model is not in the cache: jscopes fetch smollm2-135m");
    return golden_open(path, device);
}

static jsc_request request_of(const json_t *file, jsc_scope scope, int32_t *target)
{
    jsc_request request = JSC_REQUEST_INIT;
    request.scope = scope;
    request.ids = ids, request.n_ids = golden_ids(file, "ids", ids, IDS_MAX);
    request.position = (int64_t)golden_double(file, "position", -1);
    *target = (int32_t)golden_double(file, "target", -1);
    if (scope == JSC_SCOPE_SEMANTIC || scope == JSC_SCOPE_PATH || scope == JSC_SCOPE_INPUT_X_GRADIENT)
        request.targets = target, request.n_targets = 1;
    request.layers = json_object_get(json_object_get(file, "layers"), jsc_scope_name(scope)) != NULL;
    request.fisher_mode = JSC_FISHER_EXACT;
    return request;
}

static void check_extras(const char *what, const json_t *file, const jsc_attribution *a, double tolerance)
{
    double scale = 0;
    for (size_t t = 0; t < a->n_tokens; t++)
        scale = fmax(scale, a->scores[t]);
    if (a->scope == JSC_SCOPE_INPUT_X_GRADIENT) {
        const json_t *dots = json_object_get(file, "input_dot_gradient");
        for (size_t t = 0; t < json_array_size(dots); t++)
            golden_number(what, json_number_value(json_array_get(dots, t)), a->signed_scores[t], tolerance * scale);
    }
    if (a->scope == JSC_SCOPE_PATH) {
        const json_t *path = json_object_get(file, "path");
        golden_number(what, golden_double(path, "sum", NAN), a->path.sum, tolerance * scale * (double)a->n_tokens);
        golden_number(what, golden_double(path, "difference", NAN), a->path.difference, tolerance * scale * (double)a->n_tokens);
    }
    if (a->scope == JSC_SCOPE_FISHER) {
        double trace = golden_double(json_object_get(file, "fisher"), "trace", NAN);
        golden_number(what, trace, a->fisher.trace, tolerance * trace);
    }
    if (a->n_targets == 1)
        golden_number(what, golden_double(file, "target_probability", NAN), a->targets[0].probability, 1e-5);
}

static double check_scope(const char *name, const jsc_model *model, const json_t *file, jsc_scope scope, double tolerance)
{
    const json_t *scores = json_object_get(json_object_get(file, "scores"), jsc_scope_name(scope)),
                 *layers = json_object_get(json_object_get(file, "layers"), jsc_scope_name(scope));
    char what[200];
    int32_t target;
    if (!scores)
        return 0;
    jsc_request request = request_of(file, scope, &target);
    if (scope == JSC_SCOPE_PATH)
        request.path_steps = (int)golden_double(json_object_get(file, "path"), "steps", 100);
    snprintf(what, sizeof what, "%s, %s", name, jsc_scope_name(scope));
    jsc_attribution *a = golden_attribute(what, model, &request);
    double worst = golden_row(what, scores, a->scores, a->n_tokens, tolerance);
    if (layers)
        worst = fmax(worst, golden_rows(what, layers, a->layers, (size_t)a->n_layers, a->n_tokens, tolerance));
    check_extras(what, file, a, tolerance);
    golden_number(what, golden_double(file, "y_norm", NAN), a->y_norm, tolerance * a->y_norm);
    golden_predictions(what, json_object_get(file, "predictions"), a, 1e-5);
    fprintf(stderr, "%s: T = %zu, error %.3f of %.0e; forward %.3f s, backward %.3f s\n", what, a->n_tokens, worst, tolerance,
            a->seconds_forward, a->seconds_backward);
    jsc_attribution_free(a);
    return worst;
}

static void check_matrix(const char *name, const jsc_model *model, const json_t *file, double tolerance)
{
    const json_t *matrix = json_object_get(file, "matrix");
    int32_t target;
    if (!matrix)
        return;
    jsc_request request = request_of(file, JSC_SCOPE_TEMPERATURE, &target);
    request.layers = 0, request.matrix = 1;
    jsc_attribution *a = golden_attribute(name, model, &request);
    golden_rows(name, matrix, a->matrix, a->n_tokens, a->n_tokens, tolerance);
    jsc_attribution_free(a);
}

/* Adaptive Fisher: tokens with 1 % of the total within 3 of their own standard errors. */
static void check_adaptive(const char *name, const jsc_model *model, const json_t *file)
{
    const json_t *exact = json_object_get(json_object_get(file, "scores"), "fisher");
    int32_t target;
    double total = 0;
    if (!exact)
        return;
    for (size_t t = 0; t < json_array_size(exact); t++)
        total += json_number_value(json_array_get(exact, t));
    jsc_request request = request_of(file, JSC_SCOPE_FISHER, &target);
    request.fisher_mode = JSC_FISHER_ADAPTIVE, request.layers = 0;
    jsc_attribution *a = golden_attribute(name, model, &request);
    for (size_t t = 0; t < json_array_size(exact); t++) {
        double want = json_number_value(json_array_get(exact, t)), spread = a->stderrs ? a->stderrs[t] : 0;
        cr_expect(want < 0.01 * total || fabs(a->scores[t] - want) <= 3 * spread + 1e-4 * want,
                  "%s, adaptive Fisher: token %zu is %.6g +- %.2g, exact %.6g", name, t, a->scores[t], spread, want);
    }
    fprintf(stderr, "%s, adaptive Fisher: %d directions, %d probes, reached %.4f, %.2f s\n", name, a->fisher.directions, a->fisher.probes,
            a->fisher.reached, a->seconds_backward);
    jsc_attribution_free(a);
}

/* Calls each(name, model, file) for every *.json of folder; returns how many there were. */
static size_t each_file(const char *folder, const jsc_model *model, void (*each)(const char *, const jsc_model *, const json_t *))
{
    char pattern[4200];
    glob_t found;
    snprintf(pattern, sizeof pattern, "%s/*.json", folder);
    if (glob(pattern, 0, NULL, &found) != 0)
        return 0;
    size_t n = found.gl_pathc;
    for (size_t i = 0; i < n; i++) {
        json_t *file = golden_load(found.gl_pathv[i]);
        const char *slash = strrchr(found.gl_pathv[i], '/');
        each(slash ? slash + 1 : found.gl_pathv[i], model, file);
        json_decref(file);
    }
    globfree(&found);
    return n;
}

static void check_text(const char *name, const jsc_model *model, const json_t *file)
{
    const json_t *text = json_object_get(file, "text");
    jsc_tokens *tokens = NULL;
    jsc_error error;
    if (!text)
        return;
    jsc_status status = jsc_tokenize(model, json_string_value(text), json_string_length(text), NULL, &tokens, &error);
    cr_assert(status == JSC_OK, "%s: %s", name, error.text);
    size_t n = golden_ids(file, "ids", ids, IDS_MAX);
    cr_expect(n <= tokens->n && !memcmp(ids, tokens->ids, n * sizeof *ids), "%s: other ids than the reference tokeniser's", name);
    jsc_tokens_free(tokens);
}

static void check_strict(const char *name, const jsc_model *model, const json_t *file)
{
    check_text(name, model, file);
    for (int scope = 0; scope < JSC_SCOPE_COUNT; scope++) {
        if (scope == JSC_SCOPE_FISHER && SLOW_BUILD)
            continue;
        check_scope(name, model, file, (jsc_scope)scope, 1e-4);
    }
    check_matrix(name, model, file, 1e-4);
    if (!SLOW_BUILD)
        check_adaptive(name, model, file);
}

/* ---- precision fast ---------------------------------------------------------------------------------------------------------------- */

static size_t doubles(const json_t *row, double *out, size_t capacity)
{
    size_t n = json_array_size(row);
    cr_assert(n <= capacity, "%zu values", n);
    for (size_t i = 0; i < n; i++)
        out[i] = json_number_value(json_array_get(row, i));
    return n;
}

static void spread_rows(struct golden_spread *spread, const json_t *rows, const double *got, size_t n_tokens)
{
    static double want[IDS_MAX];
    for (size_t l = 0; l < json_array_size(rows); l++)
        golden_spread_row(spread, want, got + l * n_tokens, doubles(json_array_get(rows, l), want, IDS_MAX));
}

static void fast_scope(const char *name, const jsc_model *model, const json_t *file, jsc_scope scope)
{
    static double want[IDS_MAX];
    const json_t *scores = json_object_get(json_object_get(file, "scores"), jsc_scope_name(scope));
    struct golden_spread spread = {0};
    char what[200];
    int32_t target;
    if (!scores || scope == JSC_SCOPE_PATH) /* a hundred forwards, which are those of strict */
        return;
    jsc_request request = request_of(file, scope, &target);
    snprintf(what, sizeof what, "%s, %s, fast", name, jsc_scope_name(scope));
    jsc_attribution *a = golden_attribute(what, model, &request);
    size_t n = doubles(scores, want, IDS_MAX);
    golden_spread_row(&spread, want, a->scores, n);
    golden_order(what, want, a->scores, n, scope == JSC_SCOPE_FISHER ? 2 * FAST_LARGEST : FAST_LARGEST);
    if (request.layers)
        spread_rows(&spread, json_object_get(json_object_get(file, "layers"), jsc_scope_name(scope)), a->layers, a->n_tokens);
    golden_spread_check(what, &spread, scope == JSC_SCOPE_FISHER);
    golden_number(what, golden_double(file, "y_norm", NAN), a->y_norm, 1e-4 * a->y_norm); /* the forward is float32 in both */
    jsc_attribution_free(a);
}

static void check_fast(const char *name, const jsc_model *model, const json_t *file)
{
    const json_t *matrix = json_object_get(file, "matrix");
    struct golden_spread spread = {0};
    int32_t target;
    for (int scope = 0; scope < JSC_SCOPE_COUNT; scope++)
        fast_scope(name, model, file, (jsc_scope)scope);
    if (!matrix)
        return;
    jsc_request request = request_of(file, JSC_SCOPE_TEMPERATURE, &target);
    request.layers = 0, request.matrix = 1;
    jsc_attribution *a = golden_attribute(name, model, &request);
    spread_rows(&spread, matrix, a->matrix, a->n_tokens);
    golden_spread_check("matrix, fast", &spread, false);
    jsc_attribution_free(a);
}

/* Plain float64 loops: one right-hand side on the short prompts only. */
static void check_ref(const char *name, const jsc_model *model, const json_t *file)
{
    if (json_array_size(json_object_get(file, "ids")) > SHORT)
        return;
    check_scope(name, model, file, JSC_SCOPE_SEMANTIC, 1e-6);
    check_scope(name, model, file, JSC_SCOPE_TEMPERATURE, 1e-6);
    check_scope(name, model, file, JSC_SCOPE_INPUT_X_GRADIENT, 1e-6);
}

Test(oracle, golden_strict, .timeout = 800)
{
    jsc_model *model = open_default("cpu");
    cr_expect(each_file(JSC_TEST_SOURCE "/tests/golden/smollm2", model, check_strict) >= 2, "tests/golden/smollm2 is not complete");
    jsc_model_close(model);
}

/* Both folders: errors are random, so that many values say more than few. */
Test(oracle, fast, .timeout = 800)
{
    char path[4096];
    jsc_error error;
    const char *folder = getenv("JSC_ORACLE_DIR");
    if (SLOW_BUILD)
        cr_skip_test("emulated arithmetic: in the release build only");
    if (jsc_model_find("smollm2-135m", path, sizeof path, &error) != JSC_OK)
        cr_skip_test("the default model is not in the cache: jscopes fetch smollm2-135m");
    jsc_model *model = golden_open_fast(path);
    cr_expect(each_file(JSC_TEST_SOURCE "/tests/golden/smollm2", model, check_fast) >= 2, "tests/golden/smollm2 is not complete");
    (void)each_file(folder ? folder : JSC_TEST_SOURCE "/../shared/oracle/smollm2", model, check_fast);
    jsc_model_close(model);
}

Test(oracle, golden_ref, .timeout = 800)
{
    if (SLOW_BUILD)
        cr_skip_test("float64 loops over 135 million weights: in the release build only");
    jsc_model *model = open_default("ref");
    cr_expect(each_file(JSC_TEST_SOURCE "/tests/golden/smollm2", model, check_ref) >= 2, "tests/golden/smollm2 is not complete");
    jsc_model_close(model);
}

Test(oracle, folder_strict, .timeout = 800)
{
    const char *folder = getenv("JSC_ORACLE_DIR");
    if (SLOW_BUILD)
        cr_skip_test("more prompts: in the release build only");
    jsc_model *model = open_default("cpu");
    size_t n = each_file(folder ? folder : JSC_TEST_SOURCE "/../shared/oracle/smollm2", model, check_strict);
    jsc_model_close(model);
    cr_assert(n || !folder, "JSC_ORACLE_DIR=%s holds no *.json", folder);
    if (!n)
        cr_skip_test("no folder of further values (JSC_ORACLE_DIR)");
}
