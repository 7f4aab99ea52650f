/* test_read_json.c: JSON written and read back is the identical attribution, bit for bit; what is no such JSON is refused. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base_internal.h"
#include "support/country.h"
#include "support/fake_attribution.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void expect(bool holds, const char *what)
{
    cr_expect(holds, "%s", what);
}

/* Both there, or both absent. */
static bool both(const void *got, const void *want)
{
    return (got == NULL) == (want == NULL);
}

static void expect_text(const char *what, const char *got, const char *want)
{
    cr_expect(both(got, want) && (got == NULL || strcmp(got, want) == 0), "%s: \"%s\" instead of \"%s\"", what,
              got == NULL ? "(NULL)" : got, want == NULL ? "(NULL)" : want);
}

/* The same bits, so that the sign of a zero counts. */
static void expect_doubles(const char *what, const double *got, const double *want, size_t n)
{
    expect(both(got, want), what);
    for (size_t i = 0; got != NULL && want != NULL && i < n; i++)
        cr_expect(memcmp(&got[i], &want[i], sizeof *got) == 0, "%s[%zu]: %.17g instead of %.17g", what, i, got[i], want[i]);
}
#define EXPECT_DOUBLE(field) expect_doubles(#field, &got->field, &want->field, 1)
#define EXPECT_INTEGER(field)                                                                                                              \
    cr_expect(got->field == want->field, #field ": %lld instead of %lld", (long long)got->field, (long long)want->field)
#define EXPECT_TEXT(field) expect_text(#field, got->field, want->field)

static void expect_predictions(const char *what, const jsc_prediction *got, const jsc_prediction *want, size_t n)
{
    expect(both(got, want), what);
    for (size_t i = 0; got != NULL && want != NULL && i < n; i++) {
        cr_expect(got[i].id == want[i].id, "%s[%zu].id", what, i);
        expect_text(what, got[i].text, want[i].text);
        expect_doubles(what, &got[i].probability, &want[i].probability, 1);
        expect_doubles(what, &got[i].logit, &want[i].logit, 1);
    }
}

static void expect_tokens(const jsc_attribution *got, const jsc_attribution *want)
{
    for (size_t t = 0; t < want->n_tokens; t++) {
        const jsc_scored_token *g = &got->tokens[t], *w = &want->tokens[t];
        cr_expect(g->id == w->id && g->linked == w->linked, "token %zu", t);
        expect_text("token", g->text, w->text);
        cr_expect(both(g->bytes, w->bytes) && g->n_bytes == w->n_bytes && (w->bytes == NULL || memcmp(g->bytes, w->bytes, w->n_bytes) == 0),
                  "bytes of token %zu", t);
    }
}

static void expect_figures(const jsc_attribution *got, const jsc_attribution *want)
{
    EXPECT_INTEGER(fisher.mode);
    EXPECT_INTEGER(fisher.asked_adaptive);
    EXPECT_INTEGER(fisher.directions);
    EXPECT_INTEGER(fisher.probes);
    EXPECT_INTEGER(fisher.rank);
    EXPECT_INTEGER(fisher.tangents);
    EXPECT_INTEGER(fisher.n_eigenvalues);
    EXPECT_DOUBLE(fisher.trace);
    EXPECT_DOUBLE(fisher.explained);
    EXPECT_DOUBLE(fisher.dropped_mass);
    EXPECT_DOUBLE(fisher.rtol);
    EXPECT_DOUBLE(fisher.reached);
    expect_doubles("eigenvalues", got->fisher.eigenvalues, want->fisher.eigenvalues, (size_t)want->fisher.n_eigenvalues);
    EXPECT_INTEGER(path.steps);
    EXPECT_INTEGER(path.rule);
    EXPECT_INTEGER(path.baseline);
    EXPECT_INTEGER(path.baseline_id);
    EXPECT_DOUBLE(path.sum);
    EXPECT_DOUBLE(path.difference);
    EXPECT_DOUBLE(path.completeness_error);
    EXPECT_INTEGER(path.n_nodes);
    expect_doubles("alphas", got->path.alphas, want->path.alphas, want->path.n_nodes);
    expect_doubles("norms", got->path.norms, want->path.norms, want->path.n_nodes * want->n_tokens);
    EXPECT_DOUBLE(y_norm);
    EXPECT_DOUBLE(seconds_load);
    EXPECT_DOUBLE(seconds_forward);
    EXPECT_DOUBLE(seconds_backward);
    EXPECT_TEXT(backend);
    EXPECT_TEXT(precision);
    EXPECT_TEXT(plan);
    EXPECT_INTEGER(seed);
    EXPECT_INTEGER(chunk);
    EXPECT_INTEGER(bytes_peak);
    EXPECT_INTEGER(n_warnings);
    for (size_t i = 0; i < want->n_warnings && i < got->n_warnings; i++)
        expect_text("warning", got->warnings[i], want->warnings[i]);
}

static void expect_same(const jsc_attribution *got, const jsc_attribution *want)
{
    const size_t T = want->n_tokens, S = want->n_scores, L = (size_t)want->n_layers;
    EXPECT_INTEGER(size);
    EXPECT_INTEGER(scope);
    EXPECT_INTEGER(n_layers);
    EXPECT_INTEGER(d_model);
    EXPECT_INTEGER(vocab_size);
    EXPECT_TEXT(model_name);
    EXPECT_TEXT(family);
    EXPECT_INTEGER(position);
    EXPECT_INTEGER(objective);
    cr_assert(got->n_tokens == T && got->n_scores == S && got->n_targets == want->n_targets && got->n_predictions == want->n_predictions);
    expect_tokens(got, want);
    expect_predictions("targets", got->targets, want->targets, want->n_targets);
    expect_predictions("contrast", got->contrast, want->contrast, want->n_targets);
    expect_predictions("predictions", got->predictions, want->predictions, want->n_predictions);
    expect_doubles("scores", got->scores, want->scores, S * T);
    expect_doubles("stderrs", got->stderrs, want->stderrs, T);
    expect_doubles("signed_scores", got->signed_scores, want->signed_scores, S * T);
    expect_doubles("layers", got->layers, want->layers, S * L * T);
    expect_doubles("layer_stderrs", got->layer_stderrs, want->layer_stderrs, L * T);
    expect_doubles("matrix", got->matrix, want->matrix, T * T);
    expect(both(got->matrix_targets, want->matrix_targets), "matrix_targets");
    for (size_t t = 0; want->matrix_targets != NULL && got->matrix_targets != NULL && t < T; t++)
        cr_expect(got->matrix_targets[t] == want->matrix_targets[t], "matrix_targets[%zu]", t);
    expect_figures(got, want);
}

/* Writes, reads, compares, writes again: the same bytes. */
static void round_trip(const jsc_attribution *a)
{
    struct fake_text once, twice;
    jsc_attribution *back = NULL;
    jsc_error error = {0};
    const size_t live = mem_live_bytes();
    cr_assert(eq(int, fake_write(a, "json", NULL, &once, &error), JSC_OK), "%s", error.text);
    cr_assert(eq(int, jsc_attribution_read(once.text, once.n, &back, &error), JSC_OK), "%s\n%s", error.text, once.text);
    expect_same(back, a);
    cr_assert(eq(int, fake_write(back, "json", NULL, &twice, &error), JSC_OK), "%s", error.text);
    cr_expect(eq(str, twice.text, once.text));
    free(once.text), free(twice.text);
    jsc_attribution_free(back);
    cr_expect(eq(sz, mem_live_bytes(), live));
}

/* Numbers that lose a bit wherever one digit or a sign is dropped. */
static void awkward_numbers(double *values, size_t n)
{
    static const double awkward[] = {0.1,
                                     1.0 / 3.0,
                                     5e-324,
                                     2.2250738585072014e-308,
                                     1.7976931348623157e308,
                                     0.0,
                                     9007199254740993.0,
                                     1e15,
                                     1e17,
                                     123456789012345680.0,
                                     0x1.fffffffffffffp-1,
                                     1e22,
                                     3.0000000000000004};
    for (size_t i = 0; i < n; i++)
        values[i] = i < sizeof awkward / sizeof *awkward ? awkward[i] : (double)(i + 1) / 7.0;
}

Test(read_json, one_target)
{
    struct fake f;
    fake_init(&f);
    round_trip(&f.a);
    awkward_numbers(f.scores, FAKE_TOKENS);
    f.scores[3] = -0.0;
    f.a.y_norm = -0.0;
    f.a.seed = UINT64_MAX, f.a.bytes_peak = UINT64_MAX - 1;
    f.a.plan = NULL;
    f.a.n_warnings = 1;
    f.a.position = 2;
    f.a.n_predictions = 0;
    round_trip(&f.a);
}

Test(read_json, several_contrasted_targets_with_layers)
{
    struct fake f;
    fake_init(&f);
    awkward_numbers(f.layers, 2 * FAKE_LAYERS * FAKE_TOKENS);
    f.a.n_targets = f.a.n_scores = 2;
    f.a.contrast = f.contrast, f.a.objective = JSC_OBJECTIVE_CONTRAST;
    f.contrast[1] = (jsc_prediction){12, "", -0.0, 5e-324};
    f.a.layers = f.layers;
    f.a.matrix = f.matrix;
    round_trip(&f.a);
}

Test(read_json, semantic_matrix)
{
    struct fake f;
    fake_init(&f);
    f.a.objective = JSC_OBJECTIVE_LOG_PROBABILITY;
    awkward_numbers(f.matrix, FAKE_TOKENS * FAKE_TOKENS);
    f.matrix_targets[7] = -1;
    f.a.matrix = f.matrix, f.a.matrix_targets = f.matrix_targets, f.a.layers = f.layers;
    round_trip(&f.a);
}

Test(read_json, fisher)
{
    struct fake f;
    double layer_stderrs[FAKE_LAYERS * FAKE_TOKENS];
    fake_init(&f);
    awkward_numbers(layer_stderrs, FAKE_LAYERS * FAKE_TOKENS);
    f.a.scope = JSC_SCOPE_FISHER, f.a.n_targets = 0, f.a.targets = NULL;
    f.a.stderrs = f.stderrs, f.a.layers = f.layers, f.a.layer_stderrs = layer_stderrs;
    f.a.fisher.mode = JSC_FISHER_ADAPTIVE, f.a.fisher.asked_adaptive = 1, f.a.fisher.directions = 32, f.a.fisher.probes = 31;
    f.a.fisher.explained = 0.1 + 0.2, f.a.fisher.trace = 1.0 / 3.0, f.a.fisher.rank = 16, f.a.fisher.tangents = 4;
    f.a.fisher.dropped_mass = 1e-17, f.a.fisher.rtol = 0.02, f.a.fisher.reached = 0.0123456789012345678;
    f.a.fisher.n_eigenvalues = 2, f.a.fisher.eigenvalues = f.eigenvalues;
    round_trip(&f.a);
    f.a.fisher.mode = JSC_FISHER_EXACT, f.a.fisher.asked_adaptive = 0, f.a.fisher.rtol = f.a.fisher.reached = 0.0;
    f.a.stderrs = NULL, f.a.layer_stderrs = NULL, f.a.layers = NULL, f.a.fisher.tangents = 0;
    round_trip(&f.a);
    f.a.fisher.mode = JSC_FISHER_RANK, f.a.fisher.n_eigenvalues = 0, f.a.fisher.eigenvalues = NULL;
    round_trip(&f.a);
}

Test(read_json, path)
{
    struct fake f;
    fake_init(&f);
    f.a.scope = JSC_SCOPE_PATH, f.a.signed_scores = f.signed_scores;
    f.a.path.steps = 100, f.a.path.rule = JSC_PATH_GRADED, f.a.path.sum = 2.49, f.a.path.difference = -2.88;
    f.a.path.completeness_error = 5.37, f.a.path.baseline = JSC_BASELINE_ID, f.a.path.baseline_id = 4;
    round_trip(&f.a);
    f.a.path.rule = JSC_PATH_UNIFORM, f.a.path.baseline = JSC_BASELINE_MEAN, f.a.path.baseline_id = -1;
    round_trip(&f.a);
    double alphas[3] = {0.9, 0.5, 0.1}, norms[3 * FAKE_TOKENS];
    awkward_numbers(norms, 3 * FAKE_TOKENS);
    f.a.path.n_nodes = 3, f.a.path.alphas = alphas, f.a.path.norms = norms;
    round_trip(&f.a);
}

Test(read_json, the_other_scopes)
{
    struct fake f;
    fake_init(&f);
    f.a.scope = JSC_SCOPE_INPUT_X_GRADIENT, f.a.signed_scores = f.signed_scores;
    f.a.n_targets = f.a.n_scores = 2;
    round_trip(&f.a);
    fake_init(&f);
    f.a.scope = JSC_SCOPE_TEMPERATURE, f.a.targets = NULL, f.a.n_targets = 0;
    round_trip(&f.a);
    f.a.scope = JSC_SCOPE_DIRECTION, f.a.n_scores = 2;
    round_trip(&f.a);
}

Test(read_json, without_a_tokeniser)
{
    struct fake f;
    fake_init(&f);
    for (int t = 0; t < FAKE_TOKENS; t++)
        f.tokens[t] = (jsc_scored_token){t, NULL, NULL, 0, 0};
    f.targets[0].text = NULL;
    for (int i = 0; i < 3; i++)
        f.predictions[i].text = NULL;
    round_trip(&f.a);
}

Test(read_json, bytes_of_any_value_and_texts_that_look_like_bytes)
{
    struct fake f;
    char all[256];
    fake_init(&f);
    for (int i = 0; i < 256; i++)
        all[i] = (char)i;
    f.tokens[0] = (jsc_scored_token){0, "<0x00>...", all, sizeof all, 0};
    f.tokens[1] = (jsc_scored_token){0, "<0x00>", "<0x00>", 6, 0};
    f.tokens[2] = (jsc_scored_token){0, "", "", 0, 0};
    f.tokens[3] = (jsc_scored_token){0, "\\u0041\"\xe2\x80\xa8\x7f", "\\u0041\"\xe2\x80\xa8\x7f", 11, 0};
    f.tokens[4] = (jsc_scored_token){0, "<0x00>", "\0", 1, 0};
    round_trip(&f.a);
}

/* A number that was not finite is null in JSON and NaN afterwards. */
Test(read_json, what_was_not_finite_is_nan)
{
    struct fake f;
    struct fake_text out;
    jsc_attribution *back = NULL;
    jsc_error error = {0};
    fake_init(&f);
    f.a.y_norm = INFINITY, f.targets[0].logit = NAN, f.predictions[1].logit = -INFINITY;
    cr_assert(eq(int, fake_write(&f.a, "json", NULL, &out, &error), JSC_OK));
    cr_assert(eq(int, jsc_attribution_read(out.text, out.n, &back, &error), JSC_OK), "%s", error.text);
    cr_expect(isnan(back->y_norm) && isnan(back->targets[0].logit) && isnan(back->predictions[1].logit));
    cr_expect(eq(dbl, back->targets[0].probability, 0.31));
    free(out.text);
    jsc_attribution_free(back);
}

Test(read_json, in_every_country)
{
    struct fake f;
    comma_country();
    fake_init(&f);
    round_trip(&f.a);
    cr_expect(eq(chr, localeconv()->decimal_point[0], ','));
}

/* ---- several results, ids ------------------------------------------------------------------------------------------------------- */

static int append(void *user, const char *bytes, size_t n)
{
    strbuf_add(user, bytes, n);
    return 0;
}

Test(read_json, the_list_that_the_format_makes_of_several)
{
    struct fake f, g;
    struct strbuf out = {0};
    jsc_attribution *back = NULL;
    jsc_error error = {0};
    size_t at = 0;
    fake_init(&f), fake_init(&g);
    g.a.model_name = "other", g.a.n_warnings = 1;
    const jsc_attribution *const two[] = {&f.a, &g.a};
    cr_assert(eq(int, jsc_report_write_several(&(jsc_report_input){2, two, NULL}, "json", NULL, append, &out, &error), JSC_OK));
    for (int i = 0; i < 2; i++) {
        cr_assert(eq(int, jsc_attribution_read_next(out.text, out.n, &at, &back, &error), JSC_OK), "%s", error.text);
        cr_assert(back != NULL);
        expect_same(back, two[i]);
        jsc_attribution_free(back);
    }
    cr_expect(eq(int, jsc_attribution_read_next(out.text, out.n, &at, &back, &error), JSC_OK));
    cr_expect(back == NULL);
    back = (jsc_attribution *)&f.a;
    cr_expect(eq(int, jsc_attribution_read(out.text, out.n, &back, &error), JSC_E_FORMAT));
    cr_expect(back == &f.a && strstr(error.text, "several") != NULL, "%s", error.text);
    strbuf_free(&out);
}

Test(read_json, lines_with_ids_and_unknown_fields)
{
    struct fake f;
    struct fake_text out;
    struct strbuf lines = {0};
    jsc_attribution *back = NULL;
    jsc_error error = {0};
    size_t at = 0, n = 0;
    fake_init(&f);
    cr_assert(eq(int, fake_write(&f.a, "json", NULL, &out, &error), JSC_OK));
    for (int i = 0; i < 3; i++)
        strbuf_printf(&lines, "{\"id\": \"line %d\", \"status\": \"ok\", \"meta\": {\"tokens\": [[1], {\"a\": \"}\"}]}, %s", i,
                      out.text + 1);
    for (;; n++) {
        cr_assert(eq(int, jsc_attribution_read_next(lines.text, lines.n, &at, &back, &error), JSC_OK), "%s", error.text);
        if (back == NULL)
            break;
        expect_same(back, &f.a);
        jsc_attribution_free(back);
    }
    cr_expect(eq(sz, n, 3));
    free(out.text);
    strbuf_free(&lines);
}

Test(read_json, has_id)
{
    static const struct {
        const char *json, *id;
        int has;
    } cases[] = {{"{\"id\": \"a\"}", "a", 1},
                 {"{\"id\": \"a\"}", "b", 0},
                 {"{\"id\": \"a\"}", "", 0},
                 {"{\"id\": \"\"}", "", 1},
                 {"{\"x\": {\"id\": \"a\"}, \"y\": [\"id\", \"a\"], \"id\" : \"b\", \"z\": 1}", "a", 0},
                 {"{\"x\": {\"id\": \"a\"}, \"y\": [\"id\", \"a\"], \"id\" : \"b\", \"z\": 1}", "b", 1},
                 {"{\"id\": \"\\u0061\\n\\\"\"}", "a\n\"", 1},
                 {"{\"\\u0069d\": \"a\"}", "a", 1},
                 {"{\"id\": 17}", "17", 1},
                 {"{\"id\": 17 , \"a\": 2}", "17", 1},
                 {"{\"id\": 17}", "1", 0},
                 {"{\"id\": \"caf\xc3\xa9\"}", "caf\xc3\xa9", 1},
                 {"{\"id\": \"caf\\u00e9\"}", "caf\xc3\xa9", 1},
                 {"{\"id\": \"a", "a", 0},
                 {"{\"tokens\": [1, 2", "a", 0},
                 {"[{\"id\": \"a\"}]", "a", 0},
                 {"\"id\"", "id", 0},
                 {"", "a", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        cr_expect(eq(int, jsc_attribution_has_id(cases[i].json, strlen(cases[i].json), cases[i].id), cases[i].has), "case %zu", i);
}

/* ---- refusals -------------------------------------------------------------------------------------------------------------------- */

/* The smallest result; each case replaces one part of it. */
static const char smallest[] =
    "{\"model\": {\"name\": \"m\", \"family\": \"f\", \"layers\": 2, \"d_model\": 4, \"vocab_size\": 9}, "
    "\"scope\": \"semantic\", \"target\": {\"position\": 1, \"objective\": \"logit\", \"ids\": [3], "
    "\"probabilities\": [0.5], \"logits\": [2]}, \"tokens\": [{\"id\": 1, \"score\": 1}, {\"id\": 2, \"score\": 2}], "
    "\"layers\": [[1, 2], [3, 4]], \"matrix\": [[1, 0], [2, 3]], \"matrix_targets\": [2, 3], \"y_norm\": 1, "
    "\"predictions\": [{\"id\": 3, \"probability\": 0.5, \"logit\": 2}], \"seed\": 0, \"bytes_peak\": 7}";

static void replace(const char *part, const char *by, struct strbuf *out)
{
    const char *place = strstr(smallest, part);
    cr_assert(place != NULL, "'%s' is not in the text", part);
    strbuf_add(out, smallest, (size_t)(place - smallest));
    strbuf_puts(out, by);
    strbuf_puts(out, place + strlen(part));
}

Test(read_json, what_contradicts_itself_is_refused)
{
    static const struct {
        const char *part, *by, *says;
    } cases[] = {
        {"\"score\": 2", "\"score\": NaN", "score is NaN"},
        {"\"score\": 2", "\"score\": null", "score is null"},
        {"\"score\": 2", "\"score\": 1e999", "1e999"},
        {"\"score\": 2", "\"score\": -Infinity", "-Infinity"},
        {"\"score\": 2", "\"score\": \"2\"", "score"},
        {"\"score\": 2", "\"score\": +2", "score"},
        {"\"score\": 2", "\"score\": 0x2", "byte"},
        {"\"score\": 2", "\"score\": 02", "score"},
        {"\"score\": 2", "\"score\": 2, \"score\": 3", "twice"},
        {"\"score\": 2", "\"text\": \"x\"", "token 1 has 0 scores, token 0 has 1"},
        {"\"score\": 2", "\"scores\": [2, 3]", "token 1 has 2 scores, token 0 has 1"},
        {"\"score\": 2", "\"score\": 2, \"stderr\": 1", "standard errors"},
        {"\"score\": 2", "\"score\": 2, \"signed_score\": 1", "signed scores"},
        {"\"id\": 1, \"score\": 1", "\"score\": 1", "token 0 has no id"},
        {"\"id\": 1, \"score\": 1", "\"id\": -1, \"score\": 1", "-1"},
        {"\"id\": 1, \"score\": 1", "\"id\": 2147483648, \"score\": 1", "2147483648"},
        {"\"id\": 1, \"score\": 1", "\"id\": 1, \"score\": 1, \"bytes\": \"abc\"", "even"},
        {"\"id\": 1, \"score\": 1", "\"id\": 1, \"score\": 1, \"bytes\": \"zz\"", "hexadecimal"},
        {"\"id\": 1, \"score\": 1", "\"id\": 1, \"score\": 1, \"linked\": 1", "linked"},
        {"\"id\": 1, \"score\": 1", "\"id\": 1, \"score\": 1, \"text\": \"a\\u0000b\"", "U+0000"},
        {"\"id\": 1, \"score\": 1", "\"id\": 1, \"score\": 1, \"text\": \"\\ud800\"", "surrogate"},
        {"[{\"id\": 1, \"score\": 1}, {\"id\": 2, \"score\": 2}]", "[]", "empty"},
        {"[{\"id\": 1, \"score\": 1}, {\"id\": 2, \"score\": 2}]", "{}", "'['"},
        {"[{\"id\": 1, \"score\": 1}, {\"id\": 2, \"score\": 2}]", "null", "no list of tokens"},
        {"{\"id\": 1, \"score\": 1}", "7", "'{'"},
        {"\"tokens\"", "\"Tokens\"", "no list of tokens"},
        {"\"tokens\"", "\"layers\"", "twice"},
        {"\"position\": 1", "\"position\": 2", "position 2"},
        {"\"position\": 1", "\"position\": -1", "position"},
        {"\"position\": 1", "\"position\": 1.5", "position"},
        {"\"position\": 1, ", "", "no position"},
        {"\"ids\": [3]", "\"ids\": [3, 4]", "2 ids and 1 probabilities"},
        {"\"ids\": [3]", "\"ids\": [\"3\"]", "item 0"},
        {"\"ids\": [3]", "\"ids\": 3", "no list"},
        {"\"ids\": [3]", "\"texts\": [\"3\"]", "needs targets"},
        {"\"ids\": [3]", "\"ids\": [3], \"texts\": [5]", "item 0 is no text"},
        {"\"probabilities\": [0.5]", "\"probabilities\": [true]", "item 0 is no number"},
        {"\"objective\": \"logit\"", "\"objective\": \"contrast\"", "no contrast"},
        {"\"objective\": \"logit\"", "\"objective\": \"logits\"", "logits"},
        {"\"objective\": \"logit\"", "\"objective\": \"contrast\", \"contrast\": {\"ids\": [1, 2]}", "contrasted with 2"},
        {"\"objective\": \"logit\"", "\"objective\": \"contrast\", \"contrast\": {}", "contrasted with 0"},
        {"\"objective\": \"logit\"", "\"contrast\": {\"ids\": [1]}", "another objective"},
        {"\"semantic\"", "\"fisher\"", "has no targets"},
        {"\"semantic\"", "\"semantics\"", "semantics"},
        {"\"semantic\"", "7", "scope"},
        {"\"layers\": 2, ", "\"layers\": 3, ", "layers has a list of 2 rows, 3 are wanted"},
        {"\"layers\": 2, ", "\"layers\": 1, ", "layers has over 1 rows, 1 are wanted"},
        {"\"layers\": 2, ", "\"layers\": 2000000000, ", "shorter"},
        {"\"layers\": 2, ", "\"layers\": 20000000000, ", "20000000000"},
        {"[[1, 2], [3, 4]]", "[[1, 2], [3]]", "layers has a list of 1 numbers, 2 are wanted"},
        {"[[1, 2], [3, 4]]", "[[1, 2], [3, 4, 5]]", "layers"},
        {"[[1, 2], [3, 4]]", "[1, 2, 3, 4]", "'['"},
        {"[[1, 2], [3, 4]]", "[[1, 2], [3, 4]] 5", "'}'"},
        {"[[1, 2], [3, 4]]", "[[1, 2], [3, 4}", "byte"},
        {"[[1, 0], [2, 3]]", "[[1, 0]]", "matrix has a list of 1 rows"},
        {"[[1, 0], [2, 3]]", "[[1, 0], [2, 1e400]]", "1e400"},
        {"[2, 3], \"y", "[2, 1.5], \"y", "1.5"},
        {"[2, 3], \"y", "[2, -2], \"y", "-2"},
        {"\"seed\": 0", "\"seed\": -1", "seed"},
        {"\"seed\": 0", "\"seed\": 18446744073709551616", "18446744073709551616"},
        {"\"seed\": 0", "\"seed\": 1 2", "seed"},
        {"\"bytes_peak\": 7", "\"bytes_peak\": 7.5", "bytes_peak"},
        {"\"y_norm\": 1", "\"y_norm\": \"1\"", "y_norm"},
        {"\"y_norm\": 1", "\"y_norm\": 1, \"y_norm\": 1", "duplicate"},
        {"\"y_norm\": 1", "\"warnings\": [1]", "item 0"},
        {"\"y_norm\": 1", "\"warnings\": \"a\"", "no list"},
        {"\"y_norm\": 1", "\"seconds\": 3", "no object"},
        {"\"y_norm\": 1", "\"status\": \"error\", \"error\": {\"code\": \"too_long\", \"message\": \"9 tokens\"}", "too_long: 9 tokens"},
        {"{\"id\": 3, \"probability\"", "{\"probability\"", "id"},
        {"[{\"id\": 3, \"probability\": 0.5, \"logit\": 2}]", "[3]", "item 0"},
        {"\"name\": \"m\", ", "", "no name"},
        {"\"name\": \"m\"", "\"name\": \"\xff\"", "UTF-8"},
        {"\"bytes_peak\": 7}", "\"bytes_peak\": 7", "byte"},
        {"\"bytes_peak\": 7}", "\"bytes_peak\": 7} x", "'{'"},
        {"\"bytes_peak\": 7}", "\"bytes_peak\": 7}]", "'{'"},
        {"\"bytes_peak\": 7}", "\"bytes_peak\": 7},", "'{'"},
    };
    const size_t live = mem_live_bytes();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct strbuf text = {0};
        jsc_attribution *back = NULL;
        jsc_error error = {0};
        replace(cases[i].part, cases[i].by, &text);
        cr_expect(eq(int, jsc_attribution_read(text.text, text.n, &back, &error), JSC_E_FORMAT), "case %zu: %s", i, cases[i].by);
        cr_expect(back == NULL && error.status == JSC_E_FORMAT);
        cr_expect(strstr(error.text, cases[i].says) != NULL && strchr(error.text, '\n') == NULL, "case %zu, %s: %s", i, cases[i].by,
                  error.text);
        jsc_attribution_free(back);
        strbuf_free(&text);
    }
    cr_expect(eq(sz, mem_live_bytes(), live));
}

Test(read_json, the_smallest_is_read_and_cut_short_at_any_byte_refused)
{
    jsc_attribution *back = NULL;
    jsc_error error = {0};
    cr_assert(eq(int, jsc_attribution_read(smallest, strlen(smallest), &back, &error), JSC_OK), "%s", error.text);
    cr_expect(eq(dbl, back->layers[3], 4.0));
    cr_expect(eq(dbl, back->matrix[2], 2.0));
    jsc_attribution_free(back);
    for (size_t n = 0; n < strlen(smallest); n++) {
        char *part = malloc(n + 1); /* its own memory, so that a read behind its end shows */
        memcpy(part, smallest, n);
        cr_expect(eq(int, jsc_attribution_read(part, n, &back, &error), JSC_E_FORMAT), "%zu bytes", n);
        free(part);
    }
}

Test(read_json, fields_in_any_order_and_lists_that_are_no_results)
{
    static const char *const none[] = {"", " ", "[]", "[", "[,]", "7", "null", "[7]", "{}", "[{}]", "[[]]", "{\"tokens\": []}"};
    jsc_attribution *back = NULL;
    jsc_error error = {0};
    struct strbuf turned = {0};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        cr_expect(eq(int, jsc_attribution_read(none[i], strlen(none[i]), &back, &error), JSC_E_FORMAT), "%s", none[i]);
    /* tables before the tokens and the model that say how long they are */
    const char *tokens = strstr(smallest, "\"tokens\""), *layers = strstr(smallest, "\"layers\": [["),
               *norm = strstr(smallest, "\"y_norm\"");
    strbuf_printf(&turned, "[{%.*s%.*s%.*s%s]", (int)(norm - layers), layers, (int)(layers - tokens), tokens, (int)(tokens - smallest - 1),
                  smallest + 1, norm);
    cr_assert(eq(int, jsc_attribution_read(turned.text, turned.n, &back, &error), JSC_OK), "%s\n%s", error.text, turned.text);
    cr_expect(eq(dbl, back->layers[2], 3.0));
    jsc_attribution_free(back);
    strbuf_free(&turned);
}

Test(read_json, every_allocation_may_fail)
{
    struct fake f;
    struct fake_text out;
    jsc_error error = {0};
    jsc_attribution *back = NULL;
    fake_init(&f);
    f.a.layers = f.layers, f.a.matrix = f.matrix, f.a.matrix_targets = f.matrix_targets, f.a.n_warnings = 1;
    f.a.contrast = f.contrast, f.a.objective = JSC_OBJECTIVE_CONTRAST;
    cr_assert(eq(int, fake_write(&f.a, "json", NULL, &out, &error), JSC_OK));
    const size_t live = mem_live_bytes();
    for (long k = 1; k < 2000; k++) {
        mem_fail_at(k, false);
        const jsc_status status = jsc_attribution_read(out.text, out.n, &back, &error);
        const long calls = mem_calls();
        mem_fail_at(0, false);
        if (status == JSC_OK) {
            cr_expect(calls < k && k > 20, "call %ld of %ld", k, calls);
            jsc_attribution_free(back);
            cr_expect(eq(sz, mem_live_bytes(), live));
            free(out.text);
            return;
        }
        cr_assert(eq(int, status, JSC_E_MEMORY), "call %ld: %s", k, error.text);
        cr_assert(eq(sz, mem_live_bytes(), live), "call %ld", k);
    }
    cr_expect(0, "never ended");
}
