/* test_report_svg.c: the SVG figure: boxes as wide as their text, inert texts, bars, series, maps, several results, differences, size. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "report_internal.h"
#include "support/fake_attribution.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int append(void *user, const char *bytes, size_t n)
{
    return fwrite(bytes, 1, n, user) != n;
}

/* The figure of n results; freed by free(). NULL: it was refused. */
static char *figure_of(const jsc_attribution *const *results, size_t n, const jsc_report_options *options, jsc_error *error)
{
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);
    const jsc_status status = jsc_report_write_several(&(jsc_report_input){n, results, NULL}, "svg", options, append, file, error);
    fclose(file);
    if (status == JSC_OK)
        return text;
    free(text);
    return NULL;
}

static char *figure(const jsc_attribution *a, const jsc_report_options *options)
{
    jsc_error error = {0};
    char *text = figure_of(&a, 1, options, &error);
    cr_assert(text != NULL, "%s", error.text);
    return text;
}

static int count(const char *text, const char *word)
{
    int n = 0;
    for (const char *at = text; (at = strstr(at, word)) != NULL; at += strlen(word))
        n++;
    return n;
}

/* Every word is there. */
static void expect(const char *text, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++)
        cr_expect(strstr(text, words[i]) != NULL, "'%s' is not in\n%s", words[i], text);
}
#define EXPECT(text, ...) expect(text, (const char *const[]){__VA_ARGS__}, sizeof(const char *const[]){__VA_ARGS__} / sizeof(char *))

Test(report_svg, a_box_per_token_a_red_one_for_the_target_and_a_scale)
{
    struct fake f;
    fake_init(&f);
    char *text = figure(&f.a, NULL);
    cr_expect(eq(int, count(text, "<g><title>token "), FAKE_TOKENS));
    cr_expect(eq(int, count(text, " rx=\""), FAKE_TOKENS + 1));
    EXPECT(text, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"6.75in\"",
           "viewBox=", "font-family=\"DejaVu Sans Mono, Menlo, Consolas, monospace\"", "<title>tiny, Semantic Scope</title>",
           "fill=\"#fff\" font-weight=\"bold\">nice</text>", ">Influence</text>", ">2.667</text>", "url(#jscopes-influence)",
           "explains &quot; nice&quot; (id 7), probability 0.31, logit 12.5; after token 7",
           "<title>token 0 &quot;French&quot;, id 100: 0.3333</title>", "fill=\"#08306b\"");
    cr_expect(eq(str, text + strlen(text) - 7, "</svg>\n"));
    free(text);
}

Test(report_svg, hostile_texts_are_inert)
{
    struct fake f;
    jsc_report_options options = JSC_REPORT_OPTIONS_INIT;
    fake_init(&f);
    f.a.model_name = "<script>alert(1)</script>\x01";
    options.title = NULL;
    for (int titled = 0; titled < 2; titled++) {
        char *text = figure(&f.a, &options);
        cr_expect(eq(int, count(text, "<script"), 0));
        EXPECT(text, "&lt;/script&gt;", "\\x1b[31m", "&lt;0xE2&gt;&lt;0x82&gt;", "&lt;U+202E&gt;evil", "\\n");
        int control = 0;
        for (const char *c = text; *c != '\0'; c++)
            control += *c != '\n' && (unsigned char)*c < 0x20;
        cr_expect(eq(int, control, 0));
        cr_expect(eq(sz, utf8_check(text, strlen(text)), strlen(text)));
        options.title = "a title \xff & <b>\"\x1b[2J";
        free(text);
    }
}

/* Width of the n-th box. */
static double box_width(const char *text, int n)
{
    const char *at = text;
    double width = NAN;
    for (int i = 0; i <= n && (at = strstr(at, "<rect")) != NULL; at += 5)
        if (sscanf(at, "<rect x=\"%*f\" y=\"%*f\" width=\"%lf\" height=\"%*f\" rx=", &width) == 1 && strstr(at, " rx=") < strstr(at, "/>"))
            i++;
    return width;
}

Test(report_svg, a_box_is_as_wide_as_its_cells)
{
    /* cells of: French, : ", </script>, \n, " café", <0xE2><0x82>, wide characters, a mark that takes no cell of its own */
    static const int cells[FAKE_TOKENS] = {6, 3, 9, 2, 5, 12, 4, 1};
    struct fake f;
    fake_init(&f);
    f.tokens[6].text = "\xe6\x97\xa5\xe6\x9c\xac";
    f.tokens[7].text = "e\xcc\x81";
    char *text = figure(&f.a, NULL);
    for (int t = 0; t < FAKE_TOKENS; t++) {
        const double wanted = (cells[t] * 0.602 + 2 * 0.12) * 9.0;
        cr_expect(epsilon_eq(dbl, box_width(text, t), wanted, 0.006), "token %d", t);
    }
    free(text);
}

Test(report_svg, a_token_longer_than_a_row_takes_several_boxes)
{
    static char longest[1000];
    struct fake f;
    fake_init(&f);
    memset(longest, 'y', sizeof longest - 1);
    f.tokens[0].text = longest;
    char *text = figure(&f.a, NULL);
    cr_expect(lt(int, FAKE_TOKENS + 10, count(text, " rx=\"")));
    cr_expect(eq(int, count(text, "<g><title>token "), FAKE_TOKENS));
    free(text);
}

Test(report_svg, width_is_one_to_two_columns)
{
    static const double refused[] = {0.0, 3.2, 6.8, -1.0, NAN, INFINITY};
    struct fake f;
    jsc_report_options options = JSC_REPORT_OPTIONS_INIT;
    jsc_error error = {0};
    fake_init(&f);
    const jsc_attribution *a = &f.a;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        options.inches = refused[i];
        char *text = figure_of(&a, 1, &options, &error);
        cr_expect(text == NULL && strstr(error.text, "3.25") != NULL, "%g: %s", refused[i], error.text);
        free(text);
    }
    options.inches = 3.25;
    char *text = figure(&f.a, &options);
    EXPECT(text, "width=\"3.25in\"", "viewBox=\"-1.5 -1.5 234.00 ", "font-size=\"7\"");
    free(text);
}

Test(report_svg, what_stands_in_the_target_box)
{
    static const struct {
        jsc_scope scope;
        const char *words;
    } cases[] = {{JSC_SCOPE_TEMPERATURE, ">⟨predicted distribution⟩</text>"},
                 {JSC_SCOPE_FISHER, ">⟨predicted distribution⟩</text>"},
                 {JSC_SCOPE_DIRECTION, ">⟨direction⟩</text>"}};
    struct fake f;
    fake_init(&f);
    f.a.n_targets = 0, f.a.targets = NULL;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        f.a.scope = cases[i].scope;
        char *text = figure(&f.a, NULL);
        EXPECT(text, cases[i].words);
        free(text);
    }
}

Test(report_svg, tokens_after_the_target_have_no_score)
{
    struct fake f;
    fake_init(&f);
    f.a.position = 4;
    char *text = figure(&f.a, NULL);
    cr_expect(eq(int, count(text, ": after the target</title>"), FAKE_TOKENS - 5));
    cr_expect(strstr(text, "target: what is explained") < strstr(text, "<g><title>token 5"));
    free(text);
}

Test(report_svg, bars_of_the_predictions_and_of_a_target_that_is_not_among_them)
{
    struct fake f;
    jsc_report_options options = JSC_REPORT_OPTIONS_INIT;
    fake_init(&f);
    char *text = figure(&f.a, NULL);
    cr_expect(eq(int, count(text, ": probability "), 3));
    EXPECT(text, ">31.0 %</text>", "> nice id 7: probability 0.31, logit 12.5, the target</title>");
    free(text);
    f.a.targets = &f.targets[1];
    text = figure(&f.a, NULL);
    cr_expect(eq(int, count(text, ": probability "), 4));
    EXPECT(text, ">1e-07 %</text>");
    free(text);
    options.top_k = 1;
    text = figure(&f.a, &options);
    cr_expect(eq(int, count(text, ": probability "), 2));
    free(text);
    options.top_k = 0;
    text = figure(&f.a, &options);
    cr_expect(eq(int, count(text, ": probability "), 0));
    free(text);
}

Test(report_svg, what_an_approximation_is_worth)
{
    struct fake f;
    fake_init(&f);
    f.a.scope = JSC_SCOPE_PATH;
    f.a.path.steps = 100, f.a.path.sum = 7.5, f.a.path.difference = 17.4, f.a.path.completeness_error = 9.9;
    char *text = figure(&f.a, NULL);
    EXPECT(text, "100 steps, sum 7.5 of 17.4 to</text>", ">be explained (error 9.9)</text>");
    free(text);
    double alphas[2] = {0.75, 0.25};
    f.a.path.n_nodes = 2, f.a.path.alphas = alphas, f.a.path.norms = f.scores;
    text = figure(&f.a, NULL);
    EXPECT(text, ">α = 0.75</text>", ">2.67</text>", "<title>step 1: largest 0.8 at token 0</title>");
    free(text);
    f.a.scope = JSC_SCOPE_FISHER;
    f.a.path.norms = NULL;
    f.a.stderrs = f.stderrs;
    f.a.fisher.mode = JSC_FISHER_ADAPTIVE;
    f.a.fisher.directions = 24, f.a.fisher.probes = 52, f.a.fisher.reached = 0.018;
    text = figure(&f.a, NULL);
    EXPECT(text, "24 directions and 52 probes, standard", "error at most 1.8 %", ": 0.3333 ± 0.01</title>");
    free(text);
}

/* ---- series ----------------------------------------------------------------------------------------------------------------------- */

static void become_numbers(struct fake *f)
{
    static char *const texts[FAKE_TOKENS] = {"2", "9", ",", " 30", ",", "-", "4.5", ","};
    for (int t = 0; t < FAKE_TOKENS; t++) {
        f->tokens[t].text = texts[t];
        f->scores[t] = t + 1.0;
    }
}

Test(report_svg, numbers_of_several_tokens_are_one)
{
    struct fake f;
    struct series series;
    jsc_error error = {0};
    fake_init(&f);
    become_numbers(&f);
    cr_assert(eq(int, series_make(&f.a, f.scores, &series, &error), JSC_OK), "%s", error.text);
    cr_assert(eq(sz, series.n, 3));
    cr_expect(eq(dbl, series.numbers[0].value, 29.0));
    cr_expect(eq(dbl, series.numbers[1].value, 30.0));
    cr_expect(eq(dbl, series.numbers[2].value, -4.5));
    cr_expect(epsilon_eq(dbl, series.numbers[0].score, sqrt(5.0), 1e-12)); /* norms of one gradient */
    series_free(&series);
    f.a.scope = JSC_SCOPE_FISHER; /* traces */
    cr_assert(eq(int, series_make(&f.a, f.scores, &series, &error), JSC_OK), "%s", error.text);
    cr_expect(eq(dbl, series.numbers[0].score, 3.0));
    series_free(&series);
    f.a.position = 0; /* the target stands behind the 2 */
    cr_assert(eq(int, series_make(&f.a, f.scores, &series, &error), JSC_OK), "%s", error.text);
    cr_expect(eq(dbl, series.numbers[0].value, 2.0));
    cr_expect(eq(dbl, series.numbers[1].value, 9.0));
    series_free(&series);
    f.tokens[2].text = "-"; /* a dash, no minus */
    f.tokens[3].text = "3";
    f.tokens[6].text = "4.5.6";
    f.a.position = FAKE_TOKENS - 1;
    cr_assert(eq(int, series_make(&f.a, f.scores, &series, &error), JSC_OK), "%s", error.text);
    cr_assert(eq(sz, series.n, 2));
    cr_expect(eq(dbl, series.numbers[1].value, 3.0));
    series_free(&series);
}

Test(report_svg, series_as_bars_and_a_line)
{
    struct fake f;
    jsc_report_options options = JSC_REPORT_OPTIONS_INIT;
    jsc_error error = {0};
    options.series = 1;
    fake_init(&f);
    const jsc_attribution *a = &f.a;
    cr_expect(figure_of(&a, 1, &options, &error) == NULL && strstr(error.text, "two numbers") != NULL, "%s", error.text);
    become_numbers(&f);
    char *text = figure(&f.a, &options);
    cr_expect(eq(int, count(text, "<title>number "), 3));
    cr_expect(eq(int, count(text, "<polyline"), 1));
    double frame = NAN, label = NAN; /* the name of the axis stands right of it */
    const char *axis = strstr(text, ">value</text>"), *at = text;
    for (const char *next = at; (next = strstr(next, "<path d=\"M")) != NULL && next < axis; next++)
        at = next;
    while (axis > text && strncmp(axis, "<text", 5) != 0)
        axis--;
    const char *second = strstr(strstr(text, "<path d=\"M") + 1, "<path d=\"M");
    cr_assert(at != text && sscanf(second, "<path d=\"M%lf", &frame) == 1 && sscanf(axis, "<text x=\"%lf\"", &label) == 1);
    cr_expect(lt(dbl, frame + 20.0, label));
    EXPECT(text, "<title>number 0: 29, influence 2.236 (tokens 0 to 1)</title>", "<title>number 1: 30, influence 4 (token 3)</title>",
           "target: what is explained", ">30</text>", ">-4.5</text>", ">value</text>");
    free(text);
    f.a.position = 2; /* what follows is dashed: one number before is no line */
    text = figure(&f.a, &options);
    cr_expect(eq(int, count(text, "stroke-dasharray"), 1));
    cr_expect(eq(int, count(text, "<title>number "), 1));
    free(text);
}

/* ---- several results -------------------------------------------------------------------------------------------------------------- */

Test(report_svg, several_results_with_how_alike_they_are)
{
    struct fake f, g;
    jsc_error error = {0};
    fake_init(&f);
    fake_init(&g);
    g.a.scope = JSC_SCOPE_TEMPERATURE, g.a.targets = NULL, g.a.n_targets = 0;
    const jsc_attribution *both[2] = {&f.a, &g.a};
    char *text = figure_of(both, 2, NULL, &error);
    cr_assert(text != NULL, "%s", error.text);
    EXPECT(text, ">(a) semantic</text>", ">(b) temperature</text>",
           "semantic and temperature: Spearman correlation 1.000, 7 of the 7 strongest tokens in common", "<title>tiny</title>");
    cr_expect(eq(int, count(text, "<g><title>token "), 2 * FAKE_TOKENS));
    free(text);
    g.a.position = 3; /* another prediction: nothing to compare */
    text = figure_of(both, 2, NULL, &error);
    cr_assert(text != NULL, "%s", error.text);
    cr_expect(eq(int, count(text, "Spearman"), 0));
    free(text);
    g.a.position = FAKE_TOKENS - 1;
    g.tokens[3].id = 12345; /* other tokens: nothing to compare */
    text = figure_of(both, 2, NULL, &error);
    cr_assert(text != NULL, "%s", error.text);
    cr_expect(eq(int, count(text, "Spearman"), 0));
    free(text);
}

Test(report_svg, several_targets_are_panels_of_their_own)
{
    struct fake f;
    fake_init(&f);
    f.a.n_targets = f.a.n_scores = 2;
    f.a.layers = f.layers;
    char *text = figure(&f.a, NULL);
    EXPECT(text, ">(a) nice</text>", ">(b) rude</text>", ">rude</text>");
    cr_expect(eq(int, count(text, "<g><title>token "), 2 * FAKE_TOKENS));
    cr_expect(eq(int, count(text, "<g><title>block 0:"), 2));
    free(text);
}

Test(report_svg, difference_is_blue_where_the_first_is_stronger_and_orange_where_the_second)
{
    struct fake f, g;
    jsc_report_options options = JSC_REPORT_OPTIONS_INIT;
    jsc_error error = {0};
    options.difference = 1;
    fake_init(&f);
    fake_init(&g);
    g.scores[0] = f.scores[0] + 2.0;
    g.scores[1] = f.scores[1] - 2.0;
    const jsc_attribution *both[2] = {&f.a, &g.a};
    char *text = figure_of(both, 2, &options, &error);
    cr_assert(text != NULL, "%s", error.text);
    EXPECT(text, "id 100: -2</title>", "id 101: +2</title>", "fill=\"#7f2704\"", "fill=\"#08306b\"", "(a) − (b)</text>",
           "url(#jscopes-difference)", "tiny, Semantic Scope, difference");
    cr_expect(eq(int, count(text, "<g><title>token "), FAKE_TOKENS));
    free(text);
    g.a.scope = JSC_SCOPE_INPUT_X_GRADIENT;
    text = figure_of(both, 2, &options, &error);
    cr_assert(text != NULL, "%s", error.text);
    EXPECT(text, "(a) − (b), in shares of the sum</text>");
    free(text);
    options.series = 1;
    cr_expect(figure_of(both, 2, &options, &error) == NULL && strstr(error.text, "difference") != NULL, "%s", error.text);
}

Test(report_svg, differences_of_shares_add_up_to_nothing)
{
    const double a[4] = {1.0, 3.0, 0.0, 0.0}, b[4] = {2.0, 2.0, 1.0, 3.0};
    double out[4];
    difference_rows(a, b, 2, 2, true, out);
    cr_expect(eq(dbl, out[0], -0.25));
    cr_expect(eq(dbl, out[1], 0.25));
    cr_expect(eq(dbl, out[2], -0.25)); /* a row of zeros has no shares */
    difference_rows(a, b, 2, 2, false, out);
    cr_expect(eq(dbl, out[3], -3.0));
}

/* ---- maps, size ------------------------------------------------------------------------------------------------------------------- */

Test(report_svg, maps_of_blocks_and_positions)
{
    struct fake f;
    fake_init(&f);
    f.a.layers = f.layers, f.a.matrix = f.matrix;
    char *text = figure(&f.a, NULL);
    cr_expect(eq(int, count(text, "<g><title>block "), FAKE_LAYERS));
    cr_expect(eq(int, count(text, "<g><title>target after token "), FAKE_TOKENS));
    /* row 2 of the matrix: 1/3, 1/2, 1 in cells of their own, nothing right of the diagonal */
    EXPECT(text, "target after token 0: largest 1 at token 0</title><path fill=\"#08306b\" d=\"M0 0h1v1h-1z\"/></g>",
           "target after token 2: largest 1 at token 2</title><path fill=\"", "d=\"M2 2h1v1h-1z\"/></g>",
           "block 2: largest 2.875 at token 7</title>");
    free(text);
}

struct large {
    jsc_attribution a;
    jsc_scored_token *tokens;
    double *scores, *matrix;
};

static void large_init(struct large *l, struct fake *f, size_t T, bool matrix)
{
    fake_init(f);
    l->a = f->a;
    l->tokens = calloc(T, sizeof *l->tokens);
    l->scores = calloc(T, sizeof *l->scores);
    l->matrix = matrix ? calloc(T * T, sizeof *l->matrix) : NULL;
    for (size_t t = 0; t < T; t++) {
        l->tokens[t] = f->tokens[t % FAKE_TOKENS];
        l->scores[t] = rng_unit(1, 2, t);
        for (size_t p = t; matrix && p < T; p++)
            l->matrix[p * T + t] = rng_unit(3, p, t);
    }
    l->a.tokens = l->tokens, l->a.scores = l->scores, l->a.matrix = l->matrix;
    l->a.n_tokens = T, l->a.position = T - 1;
}

static void large_free(struct large *l)
{
    free(l->tokens), free(l->scores), free(l->matrix);
}

Test(report_svg, long_prompts_stay_small_and_quick)
{
    struct fake f;
    struct large l;
    large_init(&l, &f, 8192, false);
    const double started = clock_seconds();
    char *text = figure(&l.a, NULL);
    cr_expect(lt(sz, strlen(text), (size_t)4 << 20));
    cr_expect(lt(dbl, clock_seconds() - started, 5.0)); /* 0.03 s; sanitizers and a busy machine have room */
    cr_expect(eq(int, count(text, "<g><title>token "), 8192));
    free(text);
    large_free(&l);
    large_init(&l, &f, 1000, true);
    text = figure(&l.a, NULL);
    cr_expect(lt(sz, strlen(text), (size_t)2 << 20));
    EXPECT(text, "a cell is the largest of several", "<g><title>targets 0 to 4</title>");
    cr_expect(eq(int, count(text, "<g><title>targets "), 200));
    free(text);
    large_free(&l);
}

Test(report_svg, more_rows_than_a_figure_holds_are_counted)
{
    struct fake f;
    struct large l;
    jsc_prediction targets[10];
    double *scores = calloc(10 * 8192, sizeof *scores);
    large_init(&l, &f, 8192, false);
    for (int i = 0; i < 10; i++)
        targets[i] = f.targets[0];
    l.a.targets = targets, l.a.n_targets = l.a.n_scores = 10, l.a.scores = scores;
    char *text = figure(&l.a, NULL);
    EXPECT(text, "the first 8 of 10 rows of scores");
    cr_expect(lt(sz, strlen(text), (size_t)32 << 20));
    free(text);
    free(scores);
    large_free(&l);
}

/* ---- failures --------------------------------------------------------------------------------------------------------------------- */

Test(report_svg, a_receiver_that_refuses_ends_the_figure)
{
    struct fake f;
    fake_init(&f);
    for (size_t room = 0; room < 3000; room += 173) {
        size_t left = room;
        jsc_error error;
        cr_expect(eq(int, jsc_report_write(&f.a, "svg", NULL, fake_refuse, &left, &error), JSC_E_FILE), "room %zu", room);
    }
}

Test(report_svg, every_allocation_may_fail)
{
    struct fake f, g;
    jsc_report_options options = JSC_REPORT_OPTIONS_INIT;
    fake_init(&f);
    fake_init(&g);
    f.a.layers = f.layers, g.a.layers = g.layers, f.a.matrix = f.matrix, g.a.matrix = g.matrix;
    const jsc_attribution *both[2] = {&f.a, &g.a};
    for (options.difference = 0; options.difference < 2; options.difference++) {
        long k = 0;
        for (bool whole = false; !whole && k < 400;) {
            jsc_error error = {0};
            mem_fail_at(++k, false);
            char *text = figure_of(both, 2, &options, &error);
            const long calls = mem_calls();
            mem_fail_at(0, false);
            whole = text != NULL;
            cr_expect(eq(int, whole, calls < k), "call %ld of %ld: %s", k, calls, error.text);
            free(text);
        }
        cr_expect(10 < k && k < 400, "%ld", k);
    }
}
