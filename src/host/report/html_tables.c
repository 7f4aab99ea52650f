/* html_tables.c: the tables of the page: rows of scores and their strongest tokens, scores of all tokens, predictions, comparison. */
#include "html_internal.h"

#include <math.h>

#define TOP_K       10
#define SOURCES     4     /* strongest tokens named in the list of rows */
#define NUMBER_ROWS 20000 /* of all folded tables of numbers */
#define PAIRS_ALL   8     /* up to so many results every pair is compared, beyond only with the first */

static int top_k(const struct html_page *page)
{
    return page->options->top_k >= 0 ? page->options->top_k : TOP_K;
}

/* A bar without an inline style, which the page's policy forbids. */
static void put_bar(struct sink *sink, double share)
{
    sink_printf(sink,
                "<td class=\"bar\"><svg viewBox=\"0 0 100 10\" preserveAspectRatio=\"none\" aria-hidden=\"true\">"
                "<rect width=\"%.1f\" height=\"10\"/></svg></td>",
                100.0 * ramp_share(share, 1.0));
}

static void put_heading(const struct html_page *page, const struct html_line *line)
{
    if (page->n_lines < 2)
        return;
    sink_puts(page->sink, "<h3>");
    html_label(page, line);
    sink_puts(page->sink, "</h3>\n");
}

/* The token in its colour. */
static void put_source(struct html_page *page, const struct html_line *line, size_t t)
{
    const struct html_class class = html_class(line, page->values[t], page->largest);
    sink_printf(page->sink, "<span class=\"token %s\">", class.name);
    html_token(page->sink, &line->a->tokens[t], true);
    sink_puts(page->sink, "</span>");
}

void html_targets(struct html_page *page)
{
    struct sink *sink = page->sink;
    if (page->n_lines < 2)
        return;
    sink_puts(sink, "<section data-view=\"targets\" data-name=\"Targets\">\n<h2>Targets and their strongest tokens</h2>\n"
                    "<table class=\"targets\"><thead><tr><th>row</th><th>explained</th><th>after token</th><th>strongest tokens</th></tr>"
                    "</thead><tbody>\n");
    for (size_t i = 0; i < page->n_lines; i++) {
        const struct html_line *line = &page->lines[i];
        const jsc_attribution *a = line->a;
        html_take(page, line);
        sink_printf(sink, "<tr><th><a href=\"#line-%zu\">", i);
        html_label(page, line);
        sink_puts(sink, "</a></th><td>");
        if (html_target_in_place(line)) {
            sink_puts(sink, "<q>");
            html_token(sink, &a->tokens[a->position + 1], true);
            sink_puts(sink, "</q>");
        } else if (html_target(line) != NULL)
            html_predicted(sink, html_target(line));
        else
            sink_puts(sink, a->scope == JSC_SCOPE_DIRECTION ? "direction" : "predicted distribution");
        sink_printf(sink, "</td><td class=\"n\">%zu</td><td>", a->position);
        for (size_t k = 0; k < SOURCES && k < page->n; k++)
            put_source(page, line, page->order[k]);
        sink_puts(sink, "</td></tr>\n");
    }
    sink_puts(sink, "</tbody></table>\n</section>\n");
}

static const double *errors_of(const struct html_line *line)
{
    return line->minus == NULL && !line->of_signed ? line->a->stderrs : NULL;
}

static void put_strongest(struct html_page *page, const struct html_line *line)
{
    struct sink *sink = page->sink;
    const double *errors = errors_of(line);
    if (top_k(page) == 0)
        return;
    sink_printf(sink,
                "<table class=\"scores\"><thead><tr><th>position</th><th>token</th><th>score</th>%s<th>share</th><td></td></tr></thead>"
                "<tbody>\n",
                errors != NULL ? "<th>± error</th>" : "");
    for (size_t k = 0; k < (size_t)top_k(page) && k < page->n; k++) {
        const size_t t = page->order[k];
        sink_printf(sink, "<tr><td class=\"n\">%zu</td><td>", t);
        put_source(page, line, t);
        sink_puts(sink, "</td><td class=\"n\">");
        html_number(sink, page->values[t], 4);
        if (errors != NULL) {
            sink_puts(sink, "</td><td class=\"n\">");
            html_number(sink, errors[t], 2);
        }
        sink_printf(sink, "</td><td class=\"n\">%.1f %%</td>", 100.0 * ramp_share(page->sizes[t], page->total));
        put_bar(sink, ramp_share(page->sizes[t], page->largest));
        sink_puts(sink, "</tr>\n");
    }
    sink_puts(sink, "</tbody></table>\n");
}

static void put_numbers(struct html_page *page, const struct html_line *line)
{
    const jsc_attribution *a = line->a;
    struct sink *sink = page->sink;
    const double *errors = errors_of(line);
    sink_printf(sink,
                "<details><summary>All %zu tokens in numbers</summary>\n<table class=\"numbers\"><thead><tr><th>position</th><th>id</th>"
                "<th>token</th><th>score</th>%s</tr></thead><tbody>\n",
                a->n_tokens, errors != NULL ? "<th>± error</th>" : "");
    for (size_t t = 0; t < a->n_tokens; t++) {
        sink_printf(sink, "<tr><td>%zu</td><td>%" PRId32 "</td><td>", t, a->tokens[t].id);
        html_token(sink, &a->tokens[t], true);
        sink_puts(sink, "</td><td>");
        html_number(sink, page->values[t], 6);
        if (errors != NULL) {
            sink_puts(sink, "</td><td>");
            html_number(sink, errors[t], 2);
        }
        sink_puts(sink, "</td></tr>\n");
    }
    sink_puts(sink, "</tbody></table></details>\n");
}

void html_scores(struct html_page *page)
{
    struct sink *sink = page->sink;
    size_t rows = 0;
    sink_puts(sink, "<section data-view=\"table\" data-name=\"Table\">\n<h2>Strongest tokens</h2>\n");
    for (size_t i = 0; i < page->n_lines; i++) {
        const struct html_line *line = &page->lines[i];
        html_take(page, line);
        sink_printf(sink, "<div data-line=\"%zu\">\n", i);
        put_heading(page, line);
        put_strongest(page, line);
        if (i == 0 || rows + line->a->n_tokens <= NUMBER_ROWS) {
            put_numbers(page, line);
            rows += line->a->n_tokens;
        }
        sink_puts(sink, "</div>\n");
    }
    sink_puts(sink, "</section>\n");
}

static void put_predicted(const struct html_page *page, size_t i)
{
    const jsc_attribution *a = page->input->attributions[i];
    struct sink *sink = page->sink;
    sink_printf(sink, "<div data-result=\"%zu\">\n", i);
    if (page->input->n > 1) {
        sink_puts(sink, "<h3>");
        html_puts(sink, page->input->labels[i]);
        sink_puts(sink, "</h3>\n");
    }
    sink_printf(sink,
                "<table class=\"predictions\"><caption>after token %zu</caption><thead><tr><th>id</th><th>token</th><th>probability</th>"
                "<td></td><td></td></tr></thead><tbody>\n",
                a->position);
    for (size_t k = 0; k < a->n_predictions; k++) {
        const jsc_prediction *p = &a->predictions[k];
        bool explained = false;
        for (size_t j = 0; a->targets != NULL && j < a->n_targets; j++)
            explained = explained || a->targets[j].id == p->id;
        sink_printf(sink, "<tr><td class=\"n\">%" PRId32 "</td><td><span class=\"token\">", p->id);
        html_puts(sink, p->text);
        sink_puts(sink, "</span></td><td class=\"n\">");
        html_number(sink, 100.0 * p->probability, 4);
        sink_puts(sink, " %</td>");
        put_bar(sink, p->probability);
        sink_printf(sink, "<td>%s</td></tr>\n", explained ? "target" : "");
    }
    sink_puts(sink, "</tbody></table></div>\n");
}

void html_predictions(struct html_page *page)
{
    bool any = false;
    for (size_t i = 0; i < page->input->n; i++)
        any = any || page->input->attributions[i]->n_predictions > 0;
    if (!any)
        return;
    sink_puts(page->sink, "<section data-view=\"predictions\" data-name=\"Predictions\">\n<h2>Predicted next tokens</h2>\n");
    for (size_t i = 0; i < page->input->n; i++)
        put_predicted(page, i);
    sink_puts(page->sink, "</section>\n");
}

static void put_pair(const struct html_page *page, size_t i, size_t k)
{
    const jsc_attribution *a = page->input->attributions[i], *b = page->input->attributions[k];
    struct sink *sink = page->sink;
    jsc_comparison c = {(double)NAN, 0, 0};
    sink_puts(sink, "<tr><th>");
    html_puts(sink, page->input->labels[i]);
    sink_puts(sink, "</th><th>");
    html_puts(sink, page->input->labels[k]);
    if (!compare_same_tokens(a, b)) {
        sink_puts(sink, "</th><td colspan=\"2\">other tokens: not comparable</td></tr>\n");
        return;
    }
    const jsc_status status = jsc_compare(a, b, top_k(page) > 0 ? top_k(page) : TOP_K, &c, sink->error);
    if (status != JSC_OK)
        sink_fail(sink, status, "no memory to compare the results");
    sink_puts(sink, "</th><td class=\"n\">");
    html_number(sink, c.spearman, 3);
    sink_printf(sink, "</td><td class=\"n\">%d of %d</td></tr>\n", c.common, c.k);
}

void html_comparison(struct html_page *page)
{
    const size_t n = page->input->n;
    if (n < 2)
        return;
    sink_puts(page->sink, "<section data-view=\"comparison\" data-name=\"Comparison\">\n<h2>How alike the results are</h2>\n"
                          "<table class=\"comparison\"><thead><tr><th colspan=\"2\">results (their first rows)</th>"
                          "<th>Spearman correlation</th><th>common strongest tokens</th></tr></thead><tbody>\n");
    for (size_t i = 0; i < (n <= PAIRS_ALL ? n : 1); i++)
        for (size_t k = i + 1; k < n; k++)
            put_pair(page, i, k);
    sink_puts(page->sink, "</tbody></table>\n</section>\n");
}
