/* test_report_json.c: the JSON report read back by a strict parser, in every shape an attribution can have. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "support/country.h"
#include "support/fake_attribution.h"

#include <jansson.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static json_t *write_and_parse(const jsc_attribution *a)
{
    struct fake_text out;
    jsc_error error = {0};
    json_error_t problem;
    cr_assert(eq(int, fake_write(a, "json", NULL, &out, &error), JSC_OK), "%s", error.text);
    json_t *root = json_loadb(out.text, out.n, JSON_REJECT_DUPLICATES, &problem);
    cr_assert(root != NULL, "line %d: %s in\n%s", problem.line, problem.text, out.text);
    free(out.text);
    return root;
}

static double number(const json_t *value)
{
    return json_is_number(value) ? json_number_value(value) : NAN;
}

Test(report_json, one_target)
{
    struct fake f;
    fake_init(&f);
    json_t *root = write_and_parse(&f.a), *tokens = json_object_get(root, "tokens"), *target = json_object_get(root, "target");
    cr_expect(eq(str, (char *)json_string_value(json_object_get(root, "scope")), "semantic"));
    cr_expect(eq(sz, json_array_size(tokens), FAKE_TOKENS));
    for (size_t t = 0; t < FAKE_TOKENS; t++)
        cr_expect(eq(dbl, number(json_object_get(json_array_get(tokens, t), "score")), f.scores[t]), "token %zu", t);
    cr_expect(eq(int, (int)number(json_object_get(target, "position")), FAKE_TOKENS - 1));
    cr_expect(eq(int, (int)number(json_array_get(json_object_get(target, "ids"), 0)), 7));
    cr_expect(eq(str, (char *)json_string_value(json_array_get(json_object_get(target, "texts"), 0)), " nice"));
    cr_expect(eq(dbl, number(json_array_get(json_object_get(target, "probabilities"), 0)), 0.31));
    cr_expect(eq(dbl, number(json_array_get(json_object_get(target, "logits"), 0)), 12.5));
    cr_expect(eq(int, (int)number(json_object_get(json_object_get(root, "model"), "layers")), FAKE_LAYERS));
    cr_expect(eq(int, (int)number(json_object_get(root, "seed")), 42));
    cr_expect(eq(dbl, number(json_object_get(json_object_get(root, "seconds"), "forward")), 0.125));
    cr_expect(eq(sz, json_array_size(json_object_get(root, "predictions")), 3));
    json_decref(root);
}

Test(report_json, a_field_that_does_not_apply_is_absent)
{
    static const char *const absent[] = {"layers", "matrix", "matrix_targets", "fisher", "path", "layer_stderrs"};
    struct fake f;
    fake_init(&f);
    json_t *root = write_and_parse(&f.a), *token = json_array_get(json_object_get(root, "tokens"), 0);
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++)
        cr_expect(json_object_get(root, absent[i]) == NULL, "%s", absent[i]);
    cr_expect(json_object_get(token, "stderr") == NULL);
    cr_expect(json_object_get(token, "scores") == NULL);
    cr_expect(json_object_get(token, "bytes") == NULL);
    cr_expect(json_object_get(token, "linked") == NULL);
    cr_expect(json_object_get(json_object_get(root, "target"), "contrast") == NULL);
    json_decref(root);
}

Test(report_json, several_targets_give_lists)
{
    struct fake f;
    fake_init(&f);
    f.a.n_targets = f.a.n_scores = 2;
    f.a.contrast = f.contrast;
    f.a.objective = JSC_OBJECTIVE_CONTRAST;
    f.a.layers = f.layers;
    json_t *root = write_and_parse(&f.a), *layers = json_object_get(root, "layers"), *target = json_object_get(root, "target");
    for (size_t t = 0; t < FAKE_TOKENS; t++) {
        const json_t *token = json_array_get(json_object_get(root, "tokens"), t), *scores = json_object_get(token, "scores");
        cr_expect(json_object_get(token, "score") == NULL);
        cr_assert(eq(sz, json_array_size(scores), 2));
        cr_expect(eq(dbl, number(json_array_get(scores, 1)), f.scores[FAKE_TOKENS + t]));
    }
    cr_assert(eq(sz, json_array_size(layers), 2));
    cr_expect(eq(sz, json_array_size(json_array_get(layers, 1)), FAKE_LAYERS));
    cr_expect(eq(dbl, number(json_array_get(json_array_get(json_array_get(layers, 1), 2), 0)), 3.0));
    cr_expect(eq(sz, json_array_size(json_object_get(target, "ids")), 2));
    cr_expect(eq(str, (char *)json_string_value(json_object_get(target, "objective")), "contrast"));
    cr_expect(eq(int, (int)number(json_array_get(json_object_get(json_object_get(target, "contrast"), "ids"), 0)), 11));
    json_decref(root);
}

Test(report_json, layers_and_matrix)
{
    struct fake f;
    fake_init(&f);
    f.a.layers = f.layers, f.a.matrix = f.matrix, f.a.matrix_targets = f.matrix_targets;
    json_t *root = write_and_parse(&f.a), *layers = json_object_get(root, "layers"), *matrix = json_object_get(root, "matrix");
    cr_assert(eq(sz, json_array_size(layers), FAKE_LAYERS));
    cr_expect(eq(dbl, number(json_array_get(json_array_get(layers, 2), 3)), 2.375));
    cr_assert(eq(sz, json_array_size(matrix), FAKE_TOKENS));
    for (size_t p = 0; p < FAKE_TOKENS; p++)
        for (size_t t = 0; t < FAKE_TOKENS; t++)
            cr_expect(eq(dbl, number(json_array_get(json_array_get(matrix, p), t)), f.matrix[p * FAKE_TOKENS + t]));
    cr_expect(eq(int, (int)number(json_array_get(json_object_get(root, "matrix_targets"), 7)), 207));
    json_decref(root);
}

Test(report_json, fisher)
{
    struct fake f;
    fake_init(&f);
    f.a.scope = JSC_SCOPE_FISHER, f.a.n_targets = 0, f.a.targets = NULL, f.a.stderrs = f.stderrs;
    f.a.fisher.mode = JSC_FISHER_ADAPTIVE, f.a.fisher.asked_adaptive = 1, f.a.fisher.directions = 32, f.a.fisher.probes = 31;
    f.a.fisher.explained = 0.81, f.a.fisher.trace = 2.2, f.a.fisher.rank = 16, f.a.fisher.n_eigenvalues = 2,
    f.a.fisher.eigenvalues = f.eigenvalues;
    json_t *root = write_and_parse(&f.a), *fisher = json_object_get(root, "fisher"), *target = json_object_get(root, "target");
    cr_expect(eq(str, (char *)json_string_value(json_object_get(fisher, "mode")), "adaptive"));
    cr_expect(eq(int, (int)number(json_object_get(fisher, "directions")), 32));
    cr_expect(eq(int, (int)number(json_object_get(fisher, "probes")), 31));
    cr_expect(eq(dbl, number(json_object_get(fisher, "explained")), 0.81));
    cr_expect(eq(dbl, number(json_object_get(fisher, "trace")), 2.2));
    cr_expect(eq(dbl, number(json_object_get(json_array_get(json_object_get(root, "tokens"), 3), "stderr")), f.stderrs[3]));
    cr_expect(json_object_get(target, "ids") == NULL && json_object_get(target, "objective") == NULL);
    json_decref(root);
}

Test(report_json, path)
{
    struct fake f;
    fake_init(&f);
    f.a.scope = JSC_SCOPE_PATH, f.a.signed_scores = f.signed_scores;
    f.a.path.steps = 100, f.a.path.rule = JSC_PATH_GRADED, f.a.path.sum = 2.49, f.a.path.difference = 2.88,
    f.a.path.completeness_error = 0.39;
    f.a.path.baseline = JSC_BASELINE_ID, f.a.path.baseline_id = 4;
    json_t *root = write_and_parse(&f.a), *path = json_object_get(root, "path");
    cr_expect(eq(int, (int)number(json_object_get(path, "steps")), 100));
    cr_expect(eq(str, (char *)json_string_value(json_object_get(path, "rule")), "graded"));
    cr_expect(eq(dbl, number(json_object_get(path, "completeness_error")), 0.39));
    cr_expect(eq(int, (int)number(json_object_get(path, "baseline_id")), 4));
    cr_expect(eq(dbl, number(json_object_get(json_array_get(json_object_get(root, "tokens"), 3), "signed_score")), -0.75));
    json_decref(root);
}

Test(report_json, case_42_half_characters_stay_valid_utf8_with_their_bytes_and_are_linked)
{
    struct fake f;
    fake_init(&f);
    json_t *root = write_and_parse(&f.a), *tokens = json_object_get(root, "tokens");
    const json_t *first = json_array_get(tokens, 5), *second = json_array_get(tokens, 6);
    cr_expect(eq(str, (char *)json_string_value(json_object_get(first, "text")), "<0xE2><0x82>"));
    cr_expect(eq(str, (char *)json_string_value(json_object_get(first, "bytes")), "e282"));
    cr_expect(eq(str, (char *)json_string_value(json_object_get(second, "bytes")), "ac"));
    cr_expect(json_object_get(second, "linked") == json_true());
    cr_expect(json_object_get(first, "linked") == NULL);
    cr_expect(eq(str, (char *)json_string_value(json_object_get(json_array_get(tokens, 2), "text")), "</script>"));
    cr_expect(eq(str, (char *)json_string_value(json_object_get(json_array_get(tokens, 7), "text")), " \x1b[31m"));
    json_decref(root);
}

Test(report_json, case_43_no_nan_or_infinity_and_every_number_reads_back_to_the_same_double)
{
    static const double values[FAKE_TOKENS] = {0.1, 1.0 / 3.0, 5e-324, 1.7976931348623157e308, 9007199254740993.0, 2.2250738585072014e-308,
                                               NAN, INFINITY};
    struct fake f;
    fake_init(&f);
    memcpy(f.scores, values, sizeof values);
    json_t *root = write_and_parse(&f.a), *tokens = json_object_get(root, "tokens");
    for (size_t t = 0; t < 6; t++)
        cr_expect(eq(dbl, number(json_object_get(json_array_get(tokens, t), "score")), values[t]), "value %zu", t);
    cr_expect(json_object_get(json_array_get(tokens, 6), "score") == json_null());
    cr_expect(json_object_get(json_array_get(tokens, 7), "score") == json_null());
    json_decref(root);
}

Test(report_json, ids_without_a_tokeniser_have_no_text)
{
    struct fake f;
    fake_init(&f);
    for (int t = 0; t < FAKE_TOKENS; t++)
        f.tokens[t] = (jsc_scored_token){t, NULL, NULL, 0, 0};
    f.targets[0].text = NULL;
    json_t *root = write_and_parse(&f.a);
    cr_expect(json_object_get(json_array_get(json_object_get(root, "tokens"), 0), "text") == NULL);
    cr_expect(json_object_get(json_object_get(root, "target"), "texts") == NULL);
    json_decref(root);
}

Test(report_json, numbers_have_a_point_in_every_country)
{
    struct fake f;
    comma_country();
    fake_init(&f);
    json_t *root = write_and_parse(&f.a);
    cr_expect(eq(chr, localeconv()->decimal_point[0], ',')); /* and the caller's locale is as it was */
    json_decref(root);
}
