/* html_line_say.c: in words: what a row of scores explains, how far its method can be trusted, how the numbers came about. */
#include "html_internal.h"

#include <jscopes/jscopes.h>

#include <math.h>
#include <string.h>

void html_label(const struct html_page *page, const struct html_line *line)
{
    struct sink *sink = page->sink;
    html_puts(sink, page->input->labels[line->result]);
    if (line->minus != NULL) {
        sink_puts(sink, " minus ");
        html_puts(sink, page->input->labels[1]);
    }
    if (line->a->n_scores > 1) {
        sink_puts(sink, ", ");
        if (html_target(line) != NULL)
            html_predicted(sink, html_target(line));
        else
            sink_printf(sink, "row %zu", line->row + 1);
    }
    sink_puts(sink, line->of_signed ? ", signed" : "");
}

static void put_prediction(struct sink *sink, const jsc_prediction *p)
{
    html_predicted(sink, p);
    if (p->text != NULL)
        sink_printf(sink, " (id %" PRId32 ")", p->id);
    sink_puts(sink, ", probability ");
    html_number(sink, p->probability, 3);
    sink_puts(sink, ", logit ");
    html_number(sink, p->logit, 4);
}

/* What row `row` of a explains. */
static void put_explained(struct sink *sink, const jsc_attribution *a, size_t row)
{
    sink_puts(sink, "explains ");
    if (a->scope == JSC_SCOPE_FISHER)
        sink_puts(sink, "the whole predicted distribution");
    else if (a->scope == JSC_SCOPE_TEMPERATURE) {
        sink_puts(sink, "the confidence of the prediction (‖y‖ = ");
        html_number(sink, a->y_norm, 4);
        sink_puts(sink, ")");
    } else if (a->targets == NULL || row >= a->n_targets)
        sink_printf(sink, "direction %zu of %zu", row + 1, a->n_scores);
    else {
        sink_puts(sink, a->objective == JSC_OBJECTIVE_LOG_PROBABILITY ? "the log-probability of " : "");
        put_prediction(sink, &a->targets[row]);
        if (a->contrast != NULL) {
            sink_puts(sink, ", against ");
            put_prediction(sink, &a->contrast[row]);
        }
    }
    sink_printf(sink, "; after token %zu ", a->position);
    if (a->position < a->n_tokens) {
        sink_puts(sink, "<q>");
        html_token(sink, &a->tokens[a->position], true);
        sink_puts(sink, "</q>");
    }
}

void html_explained(const struct html_page *page, const struct html_line *line)
{
    struct sink *sink = page->sink;
    sink_puts(sink, line->minus == NULL ? "" : line->shares ? "shares of each total; the first " : "the first ");
    put_explained(sink, line->a, line->row);
    if (line->minus == NULL)
        return;
    sink_puts(sink, "; the second ");
    put_explained(sink, line->minus, line->row);
}

static void put_fisher(struct sink *sink, const jsc_attribution *a)
{
    sink_puts(sink, "<p class=\"method\">Fisher ");
    say_fisher_mode(sink, a);
    sink_puts(sink, "; ");
    html_number(sink, 100.0 * a->fisher.explained, 4);
    sink_puts(sink, " % of tr F = ");
    html_number(sink, a->fisher.trace, 4);
    sink_puts(sink, " is in the exact directions; dropped probability ");
    html_number(sink, a->fisher.dropped_mass, 2);
    if (a->fisher.mode == JSC_FISHER_ADAPTIVE) {
        sink_puts(sink, "; standard error at most ");
        html_number(sink, 100.0 * a->fisher.reached, 2);
        sink_puts(sink, " % for tokens with 1 % of the total (asked: ");
        html_number(sink, 100.0 * a->fisher.rtol, 2);
        sink_puts(sink, " %)");
    }
    sink_puts(sink, ".</p>\n");
    if (a->fisher.mode == JSC_FISHER_ADAPTIVE && !(a->fisher.reached <= a->fisher.rtol))
        sink_puts(sink, "<p class=\"warning\"><strong>The error asked for was not reached;</strong> use <code>--exact</code>.</p>\n");
}

static void put_path(struct sink *sink, const jsc_attribution *a)
{
    sink_printf(sink, "<p class=\"method\">Path of %d steps, rule %s, baseline %s", a->path.steps,
                word_of(path_rule_words, (unsigned)a->path.rule), word_of(baseline_words, (unsigned)a->path.baseline));
    if (a->path.baseline == JSC_BASELINE_ID)
        sink_printf(sink, " %" PRId32, a->path.baseline_id);
    sink_puts(sink, "; sum ");
    html_number(sink, a->path.sum, 4);
    sink_puts(sink, ", to be explained ");
    html_number(sink, a->path.difference, 4);
    sink_puts(sink, ", completeness error ");
    html_number(sink, a->path.completeness_error, 2);
    sink_puts(sink, ".</p>\n");
    if (!(a->path.completeness_error <= 0.05 * fabs(a->path.difference)))
        sink_puts(sink, "<p class=\"warning\"><strong>The path does not add up;</strong> more <code>--steps</code>, "
                        "<code>--path-rule graded</code> or another <code>--baseline</code>.</p>\n");
}

void html_method(const struct html_page *page, const jsc_attribution *a)
{
    struct sink *sink = page->sink;
    if (a->scope == JSC_SCOPE_FISHER)
        put_fisher(sink, a);
    if (a->scope == JSC_SCOPE_PATH)
        put_path(sink, a);
    for (size_t i = 0; i < a->n_warnings; i++) {
        sink_puts(sink, "<p class=\"warning\"><strong>Warning:</strong> ");
        html_puts(sink, a->warnings[i]);
        sink_puts(sink, "</p>\n");
    }
}

static void put_term(struct sink *sink, const char *name, const char *value)
{
    if (value == NULL)
        return;
    sink_printf(sink, "<dt>%s</dt><dd>", name);
    html_puts(sink, value);
    sink_puts(sink, "</dd>\n");
}

static void put_detail(const struct html_page *page, size_t i)
{
    const jsc_attribution *a = page->input->attributions[i];
    struct sink *sink = page->sink;
    sink_printf(sink, "<div data-result=\"%zu\">", i);
    if (page->input->n > 1) {
        sink_puts(sink, "<h3>");
        html_puts(sink, page->input->labels[i]);
        sink_puts(sink, "</h3>");
    }
    sink_puts(sink, "<dl>\n");
    put_term(sink, "model", a->model_name);
    put_term(sink, "family", a->family);
    sink_printf(sink, "<dt>size</dt><dd>%d blocks, width %d, %d tokens in the vocabulary</dd>\n", a->n_layers, a->d_model, a->vocab_size);
    put_term(sink, "scope", jsc_scope_name(a->scope));
    sink_printf(sink, "<dt>prompt</dt><dd>%zu tokens; the prediction after token %zu is explained</dd>\n", a->n_tokens, a->position);
    sink_puts(sink, "<dt>‖y‖</dt><dd>");
    html_number(sink, a->y_norm, 6);
    sink_puts(sink, "</dd>\n");
    put_term(sink, "backend", a->backend);
    put_term(sink, "precision", a->precision);
    sink_printf(sink, "<dt>seed</dt><dd>%" PRIu64 "</dd>\n<dt>right-hand sides at once</dt><dd>%d</dd>\n", a->seed, a->chunk);
    put_term(sink, "plan", a->plan);
    sink_printf(sink, "<dt>memory beyond the weights</dt><dd>%" PRIu64 " bytes, as planned</dd>\n", a->bytes_peak);
    sink_printf(sink, "<dt>seconds</dt><dd>load %.2f, forward %.2f, backward %.2f</dd>\n", a->seconds_load, a->seconds_forward,
                a->seconds_backward);
    sink_puts(sink, "<dt>written by</dt><dd>jscopes " JSC_VERSION "</dd>\n</dl></div>\n");
}

void html_details(const struct html_page *page)
{
    sink_puts(page->sink, "<section data-view=\"details\" data-name=\"Details\">\n<h2>Details</h2>\n");
    for (size_t i = 0; i < page->input->n; i++)
        put_detail(page, i);
    sink_puts(page->sink, "</section>\n");
}
