/* report_html.c: attributions as one HTML file that needs no network: whole without its script, which adds views, hover and controls. */
#include "html_internal.h"

#include <string.h>

#define TITLE_LABELS 4
#define SERIES_LEAST 8 /* fewer numbers are no time series */

static bool all_same(const struct html_page *page, const char *(*name)(const jsc_attribution *a))
{
    bool same = true;
    for (size_t i = 1; i < page->input->n; i++)
        same = same && strcmp(name(page->input->attributions[i]), name(page->input->attributions[0])) == 0;
    return same;
}

static const char *model_of(const jsc_attribution *a)
{
    return a->model_name;
}

static const char *scope_of(const jsc_attribution *a)
{
    const char *name = jsc_scope_name(a->scope);
    return name != NULL ? name : "?";
}

/* What all results share, then what tells them apart. */
static void put_title(const struct html_page *page)
{
    const jsc_report_input *input = page->input;
    const bool models = all_same(page, model_of), scopes = all_same(page, scope_of);
    struct sink *sink = page->sink;
    if (page->options->title != NULL) {
        html_puts(sink, page->options->title);
        return;
    }
    html_puts(sink, models ? model_of(input->attributions[0]) : "");
    sink_puts(sink, models ? ": " : "");
    html_puts(sink, scopes ? scope_of(input->attributions[0]) : "");
    if (input->n == 1)
        return;
    sink_puts(sink, scopes ? ", " : "");
    if (input->n > TITLE_LABELS)
        sink_printf(sink, "%zu results", input->n);
    for (size_t i = 0; input->n <= TITLE_LABELS && i < input->n; i++) {
        sink_puts(sink, i == 0 ? "" : page->options->difference != 0 ? " minus " : ", ");
        html_puts(sink, input->labels[i]);
    }
}

static void put_head(const struct html_page *page)
{
    struct sink *sink = page->sink;
    sink_puts(sink, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src '");
    sink_puts(sink, page_style_hash);
    sink_puts(sink, "'; script-src '");
    sink_puts(sink, page_script_hash);
    sink_puts(sink, "'; base-uri 'none'; form-action 'none'\">\n"
                    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>");
    put_title(page);
    sink_puts(sink, "</title>\n<style>");
    sink_puts(sink, page_style);
    sink_puts(sink, "</style>\n</head>\n");
}

static void put_header(const struct html_page *page)
{
    const jsc_attribution *a = page->input->attributions[0];
    struct sink *sink = page->sink;
    sink_puts(sink, "<header>\n<h1>");
    put_title(page);
    sink_puts(sink, "</h1>\n<p class=\"options\">");
    html_puts(sink, a->model_name);
    sink_puts(sink, " (");
    html_puts(sink, a->family);
    sink_printf(sink, ", %d blocks, width %d), scope ", a->n_layers, a->d_model);
    html_puts(sink, jsc_scope_name(a->scope));
    if (page->n_lines > 0)
        sink_printf(sink, "; %zu tokens", a->n_tokens);
    if (page->input->n > 1)
        sink_printf(sink, "; %zu results", page->input->n);
    sink_puts(sink, "</p>\n");
    for (size_t i = 0; (page->input->n == 1 || page->options->difference != 0) && i < page->input->n; i++)
        html_method(page, page->input->attributions[i]); /* of several results in their texts */
    sink_puts(sink, "</header>\n");
}

/* Maps go on their own, as floats: without them the JSON is that of --format json. */
static jsc_status put_results(const struct html_page *page, jsc_error *error)
{
    const size_t n = page->input->n;
    jsc_status status = JSC_OK;
    jsc_attribution *bare = NULL;
    const jsc_attribution **pointers = NULL;

    TRY(mem_new(&bare, n, error));
    TRY(mem_new(&pointers, n, error));
    for (size_t i = 0; i < n; i++) {
        bare[i] = *page->input->attributions[i];
        bare[i].layers = bare[i].layer_stderrs = bare[i].matrix = NULL;
        bare[i].matrix_targets = NULL;
        pointers[i] = &bare[i];
    }
    sink_puts(page->sink, n == 1 ? "[" : "");
    html_script_data(&(jsc_report_input){n, pointers, page->input->labels}, page->options, page->sink);
    sink_puts(page->sink, n == 1 ? "]" : "");
done:
    mem_free(bare);
    mem_free(pointers);
    return status;
}

/* Numbers that the tokens of each result spell: [first token, tokens, value]. */
static jsc_status put_series(const struct html_page *page, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct series series = {NULL, 0, 0};
    for (size_t i = 0; i < page->input->n; i++) {
        const jsc_attribution *a = page->input->attributions[i];
        sink_puts(page->sink, i == 0 ? "[" : ", [");
        TRY(series_make(a, a->scores, &series, error));
        for (size_t k = 0; series.n >= SERIES_LEAST && k < series.n; k++) {
            const struct series_number *number = &series.numbers[k];
            sink_printf(page->sink, "%s[%zu, %zu, %.17g]", k == 0 ? "" : ", ", number->first, number->n, number->value);
        }
        sink_puts(page->sink, "]");
        series_free(&series);
    }
done:
    series_free(&series);
    return status;
}

static jsc_status put_data(struct html_page *page, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct sink *sink = page->sink;
    sink_puts(sink, "<script type=\"application/json\" id=\"jscopes-data\">\n{\"results\": ");
    TRY(put_results(page, error));
    sink_printf(sink, ",\n\"difference\": %s,\n\"shares\": %s,\n\"lines\": [", page->options->difference != 0 ? "true" : "false",
                page->n_lines > 0 && page->lines[0].shares ? "true" : "false");
    for (size_t i = 0; i < page->n_lines; i++) {
        const struct html_line *line = &page->lines[i];
        sink_printf(sink, "%s{\"result\": %zu, \"row\": %zu, \"signed\": %s, \"same\": %zu, \"in_place\": %s}", i > 0 ? ",\n" : "",
                    line->result, line->row, line->of_signed ? "true" : "false", line->same, html_target_in_place(line) ? "true" : "false");
    }
    sink_puts(sink, "],\n\"series\": [");
    TRY(put_series(page, error));
    sink_puts(sink, "],\n\"maps\": ");
    html_map_data(page);
    sink_puts(sink, "}\n</script>\n");
done:
    return status;
}

static jsc_status put_page(struct html_page *page, jsc_error *error)
{
    jsc_status status = JSC_OK;
    TRY(html_page_open(page, error));
    put_head(page);
    sink_puts(page->sink, "<body>\n<main class=\"jscopes\">\n");
    put_header(page);
    html_prompts(page);
    html_targets(page);
    html_scores(page);
    html_maps(page);
    html_predictions(page);
    html_comparison(page);
    html_details(page);
    sink_puts(page->sink, "</main>\n");
    TRY(put_data(page, error));
    sink_puts(page->sink, "<script>");
    sink_puts(page->sink, page_script);
    sink_puts(page->sink, "</script>\n</body>\n</html>\n");
done:
    return status;
}

void report_html(const jsc_report_input *input, const jsc_report_options *options, struct sink *sink)
{
    struct html_page page = {.input = input, .options = options, .sink = sink};
    const jsc_status status = put_page(&page, sink->error);
    if (sink->status == JSC_OK)
        sink->status = status;
    html_page_close(&page);
}
