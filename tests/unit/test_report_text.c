/* test_report_text.c: the text report: what it states, what it never does to a terminal, how it fits the width. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "support/fake_attribution.h"

#include "report_internal.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

static char *write_text(const jsc_attribution *a, jsc_colour colour, int width, int ascii)
{
    jsc_report_options options = JSC_REPORT_OPTIONS_INIT;
    struct fake_text out;
    jsc_error error = {0};
    options.colour = colour, options.width = width, options.ascii = ascii;
    cr_assert(eq(int, fake_write(a, "text", &options, &out, &error), JSC_OK), "%s", error.text);
    return out.text;
}

static void expect_in(const char *text, const char *part)
{
    cr_expect(strstr(text, part) != NULL, "\"%s\" is not in\n%s", part, text);
}

/* Removes the escape sequences that reports may use: ESC [ digits ; m. Any other control character but newline fails. */
static void strip_colours(char *text, const char *what)
{
    char *out = text;
    for (const char *in = text; *in != '\0';) {
        if (in[0] == '\033' && in[1] == '[') {
            const char *end = in + 2 + strspn(in + 2, "0123456789;");
            cr_assert(end[0] == 'm', "%s: an escape sequence that is no colour", what);
            in = end + 1;
            continue;
        }
        cr_expect(in[0] == '\n' || (unsigned char)in[0] >= 0x20, "%s: control character %d", what, *in);
        *out++ = *in++;
    }
    *out = '\0';
}

static int cells(const char *line, size_t n)
{
    int sum = 0;
    for (size_t i = 0; i < n;) {
        uint32_t cp = 0;
        const size_t length = utf8_char(line + i, n - i, &cp);
        cr_assert(length > 0, "the report is not UTF-8");
        sum += utf8proc_charwidth((utf8proc_int32_t)cp);
        i += length;
    }
    return sum;
}

Test(report_text, states_what_was_explained)
{
    struct fake f;
    fake_init(&f);
    char *text = write_text(&f.a, JSC_COLOUR_NONE, 80, 0);
    expect_in(text, "tiny (llama, 3 blocks, d 16), scope semantic");
    expect_in(text, "\" nice\" (id 7), probability 0.31, logit 12.5");
    expect_in(text, "after token 7 ");
    expect_in(text, "[ nice]");
    expect_in(text, "cpu, strict");
    free(text);
}

Test(report_text, the_strongest_tokens_come_first_with_ties_in_order)
{
    struct fake f;
    fake_init(&f);
    for (int t = 0; t < FAKE_TOKENS; t++)
        f.scores[t] = 1.0;
    f.scores[4] = 8.0;
    char *text = write_text(&f.a, JSC_COLOUR_NONE, 80, 0);
    const char *table = strstr(text, "strongest tokens"), *fourth = strstr(table, "\n     4  "), *zeroth = strstr(table, "\n     0  "),
               *first = strstr(table, "\n     1  ");
    cr_assert(fourth != NULL && zeroth != NULL && first != NULL, "%s", text);
    cr_expect(fourth < zeroth && zeroth < first, "%s", text);
    expect_in(table, "53.3 %"); /* 8 of 15 */
    free(text);
}

Test(report_text, case_41_a_token_never_drives_the_terminal)
{
    struct fake f;
    fake_init(&f);
    f.a.n_warnings = 1;
    f.a.model_name = "\x1b]0;title\x07";
    f.a.layers = f.layers, f.a.matrix = f.matrix;
    for (int colour = JSC_COLOUR_NONE; colour <= JSC_COLOUR_TRUE; colour++)
        for (int ascii = 0; ascii < 2; ascii++) {
            char *text = write_text(&f.a, colour, 80, ascii);
            strip_colours(text, ascii ? "ascii" : "unicode");
            expect_in(text, " \\x1b[31m");
            expect_in(text, "<U+202E>evil");
            expect_in(text, "front\\x1b[2J");
            expect_in(text, "\\x1b]0;title\\x07");
            for (const char *c = text; ascii && *c != '\0'; c++)
                cr_expect(c[0] > 0, "beyond ASCII in\n%s", text);
            free(text);
        }
}

Test(report_text, no_line_of_prompt_tables_or_maps_is_wider_than_the_terminal)
{
    static char longest[400];
    struct fake f;
    fake_init(&f);
    memset(longest, 'x', sizeof longest - 1);
    f.tokens[1].text = longest;
    f.tokens[2].text = "日本語日本語日本語日本語日本語日本語日本語日本語日本語日本語日本語日本語日本語日本語";
    f.a.layers = f.layers, f.a.matrix = f.matrix;
    for (int width = 48; width <= 130; width += 7)
        for (int colour = JSC_COLOUR_NONE; colour <= JSC_COLOUR_TRUE; colour += JSC_COLOUR_TRUE) {
            char *text = write_text(&f.a, colour, width, 0);
            strip_colours(text, "width");
            /* the sentences of the header and of the last lines are the terminal's to wrap */
            const char *line = strstr(text, "\n\n") + 2, *end = strstr(text, "\ncpu, strict");
            for (; line < end; line = strchr(line, '\n') + 1) {
                const size_t n = strcspn(line, "\n");
                const bool sentence = strncmp(line, "block x", 7) == 0 || strncmp(line, "target position x", 17) == 0;
                cr_expect(sentence || cells(line, n) <= width, "width %d: %d cells: %.*s", width, cells(line, n), (int)n, line);
            }
            free(text);
        }
}

Test(report_text, marks_stand_under_their_words)
{
    struct fake f;
    fake_init(&f);
    f.a.n_tokens = 2, f.a.position = 1;
    f.tokens[0].text = "日本", f.tokens[1].text = " ab";
    f.scores[0] = 1.0, f.scores[1] = 0.3;
    char *text = write_text(&f.a, JSC_COLOUR_NONE, 80, 0);
    expect_in(text, "日本 ab[ nice]\n████ ░░^ ^^^^^\n0 ·░▒▓█ 1\n");
    free(text);
    text = write_text(&f.a, JSC_COLOUR_NONE, 80, 1);
    expect_in(text, "#### ");
    free(text);
}

Test(report_text, the_target_stands_after_its_position_and_later_tokens_have_no_mark)
{
    struct fake f;
    fake_init(&f);
    f.a.position = 0;
    for (int t = 1; t < FAKE_TOKENS; t++)
        f.scores[t] = 0.0;
    char *text = write_text(&f.a, JSC_COLOUR_NONE, 80, 0);
    expect_in(text, "French[ nice]: \"</script>\\n\n██████^ ^^^^^\n");
    free(text);
    text = write_text(&f.a, JSC_COLOUR_TRUE, 80, 0);
    expect_in(text, "French\033[0m\033[1;7;31m nice\033[0m\033[90m: \"\033[0m");
    free(text);
}

Test(report_text, several_targets_each_have_a_prompt_and_a_table)
{
    struct fake f;
    fake_init(&f);
    f.a.n_targets = f.a.n_scores = 2;
    char *text = write_text(&f.a, JSC_COLOUR_NONE, 80, 0);
    expect_in(text, "[ nice]");
    expect_in(text, "[ rude]");
    expect_in(text, "probability 1e-09");
    free(text);
}

Test(report_text, every_approximation_reports_its_error)
{
    struct fake f;
    fake_init(&f);
    f.a.scope = JSC_SCOPE_FISHER, f.a.n_targets = 0, f.a.targets = NULL, f.a.stderrs = f.stderrs;
    f.a.fisher.mode = JSC_FISHER_ADAPTIVE, f.a.fisher.directions = 32, f.a.fisher.probes = 31, f.a.fisher.explained = 0.81;
    f.a.fisher.rtol = 0.02, f.a.fisher.reached = 0.013;
    char *text = write_text(&f.a, JSC_COLOUR_NONE, 80, 0);
    expect_in(text, "adaptive: 32 directions exactly, 31 probes");
    expect_in(text, "81 % of tr F");
    expect_in(text, "at most 1.3 %");
    cr_expect(strstr(text, "NOT REACHED") == NULL);
    free(text);
    f.a.fisher.reached = 0.03;
    text = write_text(&f.a, JSC_COLOUR_NONE, 80, 0);
    expect_in(text, "NOT REACHED");
    free(text);
}

Test(report_text, case_37_a_path_that_does_not_add_up_is_loud)
{
    struct fake f;
    fake_init(&f);
    f.a.scope = JSC_SCOPE_PATH, f.a.signed_scores = f.signed_scores;
    f.a.path.steps = 20, f.a.path.sum = -3.0, f.a.path.difference = 17.4, f.a.path.completeness_error = 20.4;
    char *text = write_text(&f.a, JSC_COLOUR_NONE, 80, 0);
    expect_in(text, "sum -3, to be explained 17.4, completeness error 20");
    expect_in(text, "DOES NOT ADD UP");
    free(text);
    f.a.path.sum = 17.39, f.a.path.completeness_error = 0.01;
    text = write_text(&f.a, JSC_COLOUR_NONE, 80, 0);
    cr_expect(strstr(text, "ADD UP") == NULL);
    free(text);
}

Test(report_text, maps_become_summaries_where_they_do_not_fit)
{
    static double layers[2 * 300];
    static jsc_scored_token tokens[300];
    struct fake f;
    fake_init(&f);
    for (int t = 0; t < 300; t++)
        tokens[t] = (jsc_scored_token){t, "tok", "tok", 3, 0}, layers[t] = t == 123, layers[300 + t] = 1.0;
    f.a.n_tokens = 300, f.a.position = 299, f.a.tokens = tokens, f.a.scores = layers, f.a.layers = layers, f.a.n_layers = 2;
    char *text = write_text(&f.a, JSC_COLOUR_NONE, 80, 0);
    expect_in(text, "at token 123 \"tok\"");
    free(text);
    f.a.n_tokens = 20, f.a.position = 19;
    text = write_text(&f.a, JSC_COLOUR_NONE, 80, 0);
    expect_in(text, "block 1   ");
    cr_expect(strstr(text, "at token") == NULL);
    free(text);
}

/* ---- several results -------------------------------------------------------------------------------------------------------------- */

static int gather(void *user, const char *bytes, size_t n)
{
    strbuf_add(user, bytes, n);
    return 0;
}

static char *write_several(const jsc_attribution *const *a, size_t n, const char *const *labels, const jsc_report_options *options,
                           struct strbuf *out)
{
    jsc_error error = {0};
    *out = (struct strbuf){0};
    cr_assert(eq(int, jsc_report_write_several(&(jsc_report_input){n, a, labels}, "text", options, gather, out, &error), JSC_OK), "%s",
              error.text);
    return out->text;
}

/* f as it is, g with the scores turned round and the scope temperature. */
static void make_two(struct fake *f, struct fake *g)
{
    fake_init(f), fake_init(g);
    for (int t = 0; t < FAKE_TOKENS; t++)
        g->scores[t] = FAKE_TOKENS - t;
    g->a.scope = JSC_SCOPE_TEMPERATURE, g->a.targets = NULL, g->a.n_targets = 0;
}

Test(report_text, several_results_end_with_how_alike_they_are)
{
    jsc_report_options options = JSC_REPORT_OPTIONS_INIT;
    struct fake f, g, h;
    struct strbuf out;
    make_two(&f, &g);
    fake_init(&h);
    h.tokens[3].id = 9999;
    const jsc_attribution *const three[] = {&f.a, &g.a, &h.a};
    options.top_k = 3;
    char *text = write_several(three, 2, NULL, &options, &out);
    expect_in(text, "[semantic]\ntiny (llama");
    expect_in(text, "[temperature]\ntiny (llama");
    expect_in(text, "\n  semantic               temperature               -1.000            0 of 3\n");
    expect_in(text, "\n     0  \"French\"                 2.8       22.2  •\n"); /* 1 of 36, 8 of 36 */
    expect_in(text, "\n     7  \" \\x1b[31m\"             22.2  •     2.8\n");
    cr_expect(strstr(strstr(text, "% of each"), "\n     3  ") == NULL, "token 3 is among no three strongest");
    strbuf_free(&out);
    text = write_several(three, 3, NULL, &options, &out);
    expect_in(text, "other tokens\n");
    cr_expect(strstr(text, "% of each") == NULL, "tokens of two prompts in one table");
    strbuf_free(&out);
    text = write_several(three, 1, NULL, &options, &out);
    cr_expect(strstr(text, "how alike") == NULL && strstr(text, "[semantic]") == NULL);
    strbuf_free(&out);
}

Test(report_text, a_difference_has_signs_without_colour)
{
    jsc_report_options options = JSC_REPORT_OPTIONS_INIT;
    struct fake f, g;
    struct strbuf out;
    fake_init(&f), fake_init(&g);
    f.a.n_tokens = g.a.n_tokens = 3, f.a.position = 2, g.a.position = 1;
    f.tokens[0].text = g.tokens[0].text = "ab", f.tokens[1].text = g.tokens[1].text = " cd", f.tokens[2].text = g.tokens[2].text = " ef";
    f.scores[0] = 5.0, f.scores[1] = 1.0, f.scores[2] = 2.0;
    g.scores[0] = 1.0, g.scores[1] = 3.0, g.scores[2] = 0.0;
    const jsc_attribution *const two[] = {&f.a, &g.a};
    const char *const labels[] = {"one\x1b", "two"};
    options.difference = 1;
    char *text = write_several(two, 2, labels, &options, &out);
    expect_in(text, "first [one\\x1b]\n");
    expect_in(text, "\nab cd ef\n++ -- ++\n██ ▒▒ ▒▒\n- 4 █▓▒░··░▒▓█ 4 +\n");
    expect_in(text, "\n     0  \"ab\"                          5         1         +4\n"
                    "     1  \" cd\"                         1         3         -2\n"
                    "     2  \" ef\"                         2         0         +2\n");
    cr_expect(strstr(text, "percent of each total") == NULL);
    strbuf_free(&out);
    options.ascii = 1;
    expect_in(write_several(two, 2, labels, &options, &out), "\nab cd ef\n++ -- ++\n## :: ::\n- 4 #*:.  .:*# 4 +\n");
    strbuf_free(&out);
    options.colour = JSC_COLOUR_TRUE;
    expect_in(write_several(two, 2, labels, &options, &out),
              "\033[48;2;8;48;107;38;2;255;255;255mab\033[0m\033[48;2;253;141;60;38;2;0;0;0m cd\033[0m"); /* blue, orange */
    strbuf_free(&out);
    options.colour = JSC_COLOUR_16;
    text = write_several(two, 2, labels, &options, &out);
    expect_in(text, "\033[44;97mab\033[0m\033[103;30m cd\033[0m");
    expect_in(text, "blue where the first is stronger, yellow where the second");
    strbuf_free(&out);
    g.a.scope = JSC_SCOPE_INPUT_X_GRADIENT; /* 62.5, 12.5, 25 against 25, 75, 0 percent */
    text = write_several(two, 2, labels, &options, &out);
    expect_in(text, "in percent of each total");
    expect_in(text, "\n     1  \" cd\"                      12.5        75      -62.5\n");
    strbuf_free(&out);
}

Test(report_text, signed_scores_are_shown_on_a_diverging_scale)
{
    struct fake f;
    fake_init(&f);
    f.a.scope = JSC_SCOPE_INPUT_X_GRADIENT, f.a.signed_scores = f.signed_scores;
    f.a.n_tokens = 2, f.a.position = 1;
    f.tokens[0].text = "ab", f.tokens[1].text = " cd";
    f.signed_scores[0] = 1.0, f.signed_scores[1] = -2.0;
    char *text = write_text(&f.a, JSC_COLOUR_NONE, 80, 0);
    expect_in(text, "signed scores: + is for the target, - against it\nab cd[ nice]\n++ --\n▒▒ ██^ ^^^^^\n- 2 █▓▒░··░▒▓█ 2 +\n");
    free(text);
    f.signed_scores[0] = f.signed_scores[1] = 0.0;
    text = write_text(&f.a, JSC_COLOUR_NONE, 80, 0);
    expect_in(text, "ab cd[ nice]\n\n·· ··^ ^^^^^\n- 0 ");
    free(text);
}

Test(report_text, several_results_and_differences_fit_the_width_and_drive_no_terminal)
{
    static const char *const labels[] = {"日本語日本語日本語日本語日本語日本語日本語日本語",
                                         "a label that is much too long for any table\x1b[2J", "x", "\n", ""};
    struct fake f[5];
    const jsc_attribution *five[5];
    for (int i = 0; i < 5; i++) {
        fake_init(&f[i]);
        f[i].scores[i] = 10.0 * i;
        five[i] = &f[i].a;
    }
    for (int width = 48; width <= 130; width += 7)
        for (int colour = JSC_COLOUR_NONE; colour <= JSC_COLOUR_TRUE; colour++)
            for (int difference = 0; difference < 2; difference++) {
                jsc_report_options options = JSC_REPORT_OPTIONS_INIT;
                struct strbuf out;
                options.colour = colour, options.width = width, options.difference = difference;
                char *text = write_several(five, difference ? 2 : 5, labels, &options, &out);
                strip_colours(text, "several");
                const char *line = strstr(text, difference ? "\nlargest" : "\nhow alike") + 1;
                for (; *line != '\0'; line = strchr(line, '\n') + 1)
                    cr_expect(cells(line, strcspn(line, "\n")) <= width, "width %d: %.*s", width, (int)strcspn(line, "\n"), line);
                strbuf_free(&out);
            }
}
