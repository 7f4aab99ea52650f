/* report_svg.c: attributions as a figure for papers and pages: one panel per row of scores, stacked, then how alike they are. SVG 1.1
 * without scripts, styles, links or background; the same bytes for the same results. */
#include "svg_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define INCH      72.0
#define NARROW    3.25
#define WIDE      6.75
#define MARGIN    1.5
#define GUTTER    10.0  /* between prompt and predictions */
#define BOXES_MAX 65536 /* in one figure; a panel is whole or not there */
#define PAIRS_MAX 4     /* results of which every pair is compared; of more, each with the first */
#define STRONGEST 7

/* ---- words ------------------------------------------------------------------------------------------------------------------------ */

static const char *scope_words(jsc_scope scope)
{
    static const char *const words[JSC_SCOPE_COUNT] = {"Semantic Scope",   "Temperature Scope", "Fisher Scope", "path-integrated gradients",
                                                       "input × gradient", "direction"};
    return (unsigned)scope < JSC_SCOPE_COUNT ? words[scope] : "?";
}

static void add_prediction(struct strbuf *s, const jsc_prediction *p)
{
    if (p->text != NULL)
        strbuf_printf(s, "\"%s\" (id %" PRId32 ")", p->text, p->id);
    else
        strbuf_printf(s, "id %" PRId32, p->id);
    strbuf_printf(s, ", probability %.3g, logit %.4g", p->probability, p->logit);
}

/* What the scores explain. */
static void add_explained(struct strbuf *s, const jsc_attribution *a, size_t line)
{
    strbuf_puts(s, "explains ");
    if (a->scope == JSC_SCOPE_FISHER)
        strbuf_puts(s, "the whole predicted distribution");
    else if (a->scope == JSC_SCOPE_TEMPERATURE)
        strbuf_printf(s, "the confidence of the prediction (||y|| = %.4g)", a->y_norm);
    else if (a->targets == NULL || line >= a->n_targets)
        strbuf_printf(s, "direction %zu of %zu", line + 1, a->n_scores);
    else {
        strbuf_puts(s, a->objective == JSC_OBJECTIVE_LOG_PROBABILITY ? "the log-probability of " : "");
        add_prediction(s, &a->targets[line]);
        if (a->contrast != NULL) {
            strbuf_puts(s, ", rather than ");
            add_prediction(s, &a->contrast[line]);
        }
    }
    strbuf_printf(s, "; after token %zu", a->position);
}

/* How far an approximation may be trusted. */
static void add_method(struct strbuf *s, const jsc_attribution *a)
{
    if (a->scope == JSC_SCOPE_PATH)
        strbuf_printf(s, "; %d steps, sum %.4g of %.4g to be explained (error %.2g)", a->path.steps, a->path.sum, a->path.difference,
                      a->path.completeness_error);
    if (a->scope != JSC_SCOPE_FISHER)
        return;
    if (a->fisher.mode == JSC_FISHER_EXACT)
        strbuf_printf(s, "; exact, %d directions", a->fisher.directions);
    else if (a->fisher.mode == JSC_FISHER_RANK)
        strbuf_printf(s, "; %d directions, %.4g %% of the trace", a->fisher.directions, 100.0 * a->fisher.explained);
    else
        strbuf_printf(s, "; %d directions and %d probes, standard error at most %.2g %%", a->fisher.directions, a->fisher.probes,
                      100.0 * a->fisher.reached);
}

static void put_paragraph(struct svg *svg, struct strbuf *words, bool bold)
{
    if (words->failed)
        svg->body.failed = true;
    else if (words->n > 0)
        svg_paragraph(svg, words->text, bold);
    strbuf_free(words);
}

/* (a) to (z), (aa) and so on, in front of what the panel is called. */
static void add_letter(struct strbuf *s, size_t i)
{
    char letters[16];
    size_t at = sizeof letters - 1;
    letters[at] = '\0';
    for (size_t k = i + 1; k > 0 && at > 0; k = (k - 1) / 26)
        letters[--at] = (char)('a' + (k - 1) % 26);
    strbuf_printf(s, "(%s) ", letters + at);
}

/* ---- panels ----------------------------------------------------------------------------------------------------------------------- */

static void put_explained(struct svg *svg, const jsc_attribution *a, size_t line)
{
    struct strbuf words = {0};
    add_explained(&words, a, line);
    add_method(&words, a);
    put_paragraph(svg, &words, false);
}

static void measure(struct svg_panel *panel)
{
    panel->largest = 0.0;
    for (size_t t = 0; t < panel->a->n_tokens; t++)
        panel->largest = fmax(panel->largest, fabs(panel->values[t]));
}

/* Prompt or series at the left, predictions at the right, maps below. */
static void put_panel(struct svg *svg, struct svg_panel *panel, bool last_line)
{
    measure(panel);
    svg->y += 0.5 * svg->small;
    const double bars = svg_bars_width(svg, panel), width = bars > 0.0 ? svg->width - bars - GUTTER : svg->width;
    const double left = svg->options->series != 0 ? svg_series(svg, panel, width) : svg_prompt(svg, panel, width);
    const double right = bars > 0.0 ? svg_bars(svg, panel) : 0.0;
    svg->y += fmax(left, right);
    svg_layers(svg, panel);
    svg_path(svg, panel);
    if (last_line) /* it belongs to no single row */
        svg_matrix(svg, panel);
}

static void put_label(struct svg *svg, const jsc_report_input *input, size_t i, size_t line, size_t number)
{
    const jsc_attribution *a = input->attributions[i];
    struct strbuf words = {0};
    add_letter(&words, number);
    if (input->n > 1 || a->n_targets <= line)
        strbuf_puts(&words, input->labels[i]);
    if (a->n_scores > 1 && line < a->n_targets) {
        strbuf_puts(&words, input->n > 1 ? ": " : "");
        svg_name(&words, a->targets[line].id, a->targets[line].text, 40);
    } else if (a->n_scores > 1)
        strbuf_printf(&words, " %zu", line + 1);
    put_paragraph(svg, &words, true);
}

/* Every row of scores of every result, as many as a figure can hold. */
static void put_panels(struct svg *svg, const jsc_report_input *input)
{
    size_t number = 0, boxes = 0, all = 0;
    for (size_t i = 0; i < input->n; i++)
        all += input->attributions[i]->n_scores;
    for (size_t i = 0; i < input->n; i++) {
        const jsc_attribution *a = input->attributions[i];
        for (size_t line = 0; line < a->n_scores; line++) {
            if (number > 0 && boxes + a->n_tokens > BOXES_MAX) {
                struct strbuf words = {0};
                strbuf_printf(&words, "the first %zu of %zu rows of scores; all are in the JSON", number, all);
                put_paragraph(svg, &words, false);
                return;
            }
            struct svg_panel panel = {.a = a, .line = line, .values = a->scores + line * a->n_tokens};
            svg->y += number > 0 ? svg->font : 0.0;
            if (all > 1)
                put_label(svg, input, i, line, number);
            put_explained(svg, a, line);
            put_panel(svg, &panel, line + 1 == a->n_scores);
            boxes += a->n_tokens;
            number++;
        }
    }
}

static void put_difference(struct svg *svg, const jsc_report_input *input)
{
    const jsc_attribution *a = input->attributions[0], *b = input->attributions[1];
    const size_t T = a->n_tokens;
    struct svg_panel panel = {.a = a, .b = b, .shares = difference_in_shares(a, b)};
    double *values = NULL;

    if (mem_new(&values, T, NULL) != JSC_OK) {
        svg->body.failed = true;
        return;
    }
    for (size_t i = 0; i < 2; i++) {
        struct strbuf words = {0};
        add_letter(&words, i);
        strbuf_printf(&words, "%s ", input->labels[i]);
        add_explained(&words, input->attributions[i], 0);
        put_paragraph(svg, &words, false);
    }
    for (panel.line = 0; panel.line < a->n_scores && (panel.line == 0 || panel.line * T < BOXES_MAX); panel.line++) {
        difference_rows(a->scores + panel.line * T, b->scores + panel.line * T, 1, T, panel.shares, values);
        panel.values = values;
        put_panel(svg, &panel, panel.line + 1 == a->n_scores);
    }
    mem_free(values);
}

/* ---- how alike -------------------------------------------------------------------------------------------------------------------- */

/* The same tokens and position; other predictions are not alike, nor should they be. */
static bool is_comparable(const jsc_attribution *a, const jsc_attribution *b)
{
    return a->position == b->position && compare_same_tokens(a, b);
}

static void put_pair(struct svg *svg, const jsc_report_input *input, size_t i, size_t k)
{
    const int strongest = svg->options->top_k > 0 ? svg->options->top_k : STRONGEST;
    struct strbuf words = {0};
    jsc_comparison alike;
    jsc_error error;
    const jsc_status status = jsc_compare(input->attributions[i], input->attributions[k], strongest, &alike, &error);
    if (status != JSC_OK) {
        sink_fail(svg->sink, status, error.text);
        return;
    }
    strbuf_printf(&words, "%s and %s: ", input->labels[i], input->labels[k]);
    if (isnan(alike.spearman))
        strbuf_puts(&words, "no rank correlation (a result is constant)");
    else
        strbuf_printf(&words, "Spearman correlation %.3f", alike.spearman);
    strbuf_printf(&words, ", %d of the %d strongest tokens in common", alike.common, alike.k);
    put_paragraph(svg, &words, false);
}

static void put_comparison(struct svg *svg, const jsc_report_input *input)
{
    svg->y += input->n > 1 ? 0.7 * svg->small : 0.0;
    for (size_t k = 1; k < input->n; k++)
        for (size_t i = 0; i < k; i++) {
            if (!is_comparable(input->attributions[i], input->attributions[k]))
                continue;
            put_pair(svg, input, i, k);
            if (input->n > PAIRS_MAX)
                break;
        }
}

/* ---- the file --------------------------------------------------------------------------------------------------------------------- */

static void make_title(const jsc_report_input *input, const jsc_report_options *options, struct strbuf *out)
{
    const jsc_attribution *a = input->attributions[0];
    bool scopes = false, models = false;
    for (size_t i = 1; i < input->n; i++) {
        scopes = scopes || input->attributions[i]->scope != a->scope;
        models = models || strcmp(input->attributions[i]->model_name, a->model_name) != 0;
    }
    if (options->title != NULL)
        strbuf_puts(out, options->title);
    else {
        strbuf_puts(out, models ? "" : a->model_name);
        strbuf_printf(out, "%s%s", models || scopes ? "" : ", ", scopes ? "" : scope_words(a->scope));
        if (options->difference != 0)
            strbuf_printf(out, "%s%s", out->n > 0 ? ", " : "", "difference");
    }
}

static void put_ramp(struct svg *svg, const char *id, double from)
{
    strbuf_printf(&svg->body, "<linearGradient id=\"%s\">", id);
    for (int i = 0; i <= 16; i++) {
        char colour[8];
        (void)svg_colour(from + (1.0 - from) * i / 16.0, colour);
        strbuf_printf(&svg->body, "<stop offset=\"%g\" stop-color=\"%s\"/>", i / 16.0, colour);
    }
    strbuf_puts(&svg->body, "</linearGradient>\n");
}

static void draw(struct svg *svg, const jsc_report_input *input, const char *title)
{
    strbuf_puts(&svg->body, "<title>");
    svg_escaped(svg, title, strlen(title));
    strbuf_puts(&svg->body, "</title>\n<defs>");
    if (svg->options->difference != 0)
        put_ramp(svg, "jscopes-difference", -1.0);
    else
        put_ramp(svg, "jscopes-influence", 0.0);
    strbuf_puts(&svg->body, "</defs>\n");
    if (title[0] != '\0')
        svg_paragraph(svg, title, true);
    if (svg->options->difference != 0)
        put_difference(svg, input);
    else
        put_panels(svg, input);
    put_comparison(svg, input);
}

void report_svg(const jsc_report_input *input, const jsc_report_options *options, struct sink *sink)
{
    struct svg svg = {.sink = sink, .options = options};
    struct strbuf title = {0};

    if (!(options->inches >= NARROW && options->inches <= WIDE)) {
        sink_fail(sink, JSC_E_ARGUMENT, "a figure is 3.25 inches (one column of a page) to 6.75 inches wide (two)");
        return;
    }
    if (options->series != 0 && options->difference != 0) {
        sink_fail(sink, JSC_E_ARGUMENT, "a series shows results as they are; leave out series or difference");
        return;
    }
    svg.width = options->inches * INCH - 2.0 * MARGIN;
    svg.font = 7.0 + 2.0 * (options->inches - NARROW) / (WIDE - NARROW);
    svg.small = svg.font > 8.0 ? svg.font - 1.0 : 7.0;
    make_title(input, options, &title);
    if (!title.failed)
        draw(&svg, input, title.text != NULL ? title.text : "");
    if (title.failed || svg.body.failed)
        sink_fail(sink, JSC_E_MEMORY, "no memory for the figure");
    const double height = svg.y + 2.0 * MARGIN;
    sink_printf(sink,
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%gin\" height=\"%.4fin\" "
                "viewBox=\"%g %g %.2f %.2f\" xml:space=\"preserve\" font-family=\"DejaVu Sans Mono, Menlo, Consolas, monospace\">\n",
                options->inches, height / INCH, -MARGIN, -MARGIN, options->inches * INCH, height);
    sink_write(sink, svg.body.text, svg.body.n);
    sink_puts(sink, "</svg>\n");
    strbuf_free(&svg.body);
    strbuf_free(&title);
}
