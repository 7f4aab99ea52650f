/* html_prompt.c: the prompts of the page, one per row of scores: a background per token, the target in a red box after its position,
 * later tokens grey. */
#include "html_internal.h"

#include <string.h>

#define RUN_TOKENS 200 /* a block of text ends at the first line break after so many tokens: what is off the screen is not laid out */

void html_legend(struct html_page *page, const struct html_line *line)
{
    struct sink *sink = page->sink;
    const bool both = html_diverges(line);
    sink_puts(sink, "<p class=\"legend\"><span class=\"bar\" aria-hidden=\"true\">");
    for (int i = 0; i < 16; i++)
        sink_printf(sink, "<i class=\"%c%d\"></i>", both ? 'd' : 'b', (i * 63 + 7) / 15);
    sink_puts(sink, "</span> <span class=\"mapping\">linear from ");
    sink_puts(sink, both ? "−" : "0 to ");
    html_number(sink, page->largest, 4);
    if (both) {
        sink_puts(sink, " to ");
        html_number(sink, page->largest, 4);
    }
    sink_puts(sink, "</span></p>\n");
}

static void put_target(const struct html_page *page, const struct html_line *line)
{
    struct sink *sink = page->sink;
    const jsc_prediction *target = html_target(line);
    sink_puts(sink, "<mark class=\"target\">");
    if (target == NULL)
        sink_puts(sink, line->a->scope == JSC_SCOPE_DIRECTION ? "⟨direction⟩" : "⟨predicted distribution⟩");
    else if (target->text == NULL)
        sink_printf(sink, "⟨%" PRId32 "⟩", target->id);
    else
        html_puts(sink, target->text);
    sink_puts(sink, "</mark>");
}

static bool ends_line(const jsc_scored_token *token)
{
    const char *bytes = token->bytes != NULL ? token->bytes : token->text;
    const size_t n = token->bytes != NULL ? token->n_bytes : token->text != NULL ? strlen(token->text) : 0;
    return n > 0 && bytes[n - 1] == '\n';
}

static void put_tokens(struct html_page *page, const struct html_line *line)
{
    const jsc_attribution *a = line->a;
    struct sink *sink = page->sink;
    const bool in_place = html_target_in_place(line);
    size_t run = 0;

    sink_puts(sink, "<div class=\"run\">");
    for (size_t t = 0; t < a->n_tokens; t++) {
        if (run >= RUN_TOKENS && ends_line(&a->tokens[t - 1])) {
            sink_puts(sink, "</div><div class=\"run\">");
            run = 0;
        }
        run++;
        const struct html_class class = html_class(line, page->values[t], page->largest);
        sink_printf(sink, "<span class=\"%s\">", t < page->n ? class.name : in_place && t == a->position + 1 ? "target" : "later");
        html_token(sink, &a->tokens[t], false);
        sink_puts(sink, "</span>");
        if (t == a->position && !in_place)
            put_target(page, line);
    }
    sink_puts(sink, "</div>");
}

static void put_panel(struct html_page *page, size_t i)
{
    const struct html_line *line = &page->lines[i];
    struct sink *sink = page->sink;
    html_take(page, line);
    sink_printf(sink, "<article class=\"panel\" id=\"line-%zu\">\n<h3>", i);
    html_label(page, line);
    sink_puts(sink, "</h3>\n<p class=\"explained\">");
    html_explained(page, line);
    sink_puts(sink, "</p>\n");
    if (page->input->n > 1 && line->minus == NULL && line->row == 0 && !line->of_signed)
        html_method(page, line->a);
    html_legend(page, line);
    if (line->has_text) {
        sink_puts(sink, "<div class=\"tokens\">");
        put_tokens(page, line);
    } else {
        sink_puts(sink, "<noscript>Too many texts for one page: this one appears where scripts run.</noscript>\n<div class=\"tokens\">");
        if (!html_target_in_place(line))
            put_target(page, line);
    }
    sink_puts(sink, "</div>\n</article>\n");
}

void html_prompts(struct html_page *page)
{
    sink_puts(page->sink, "<section data-view=\"text\" data-name=\"Text\">\n<h2>Text</h2>\n<div class=\"panels\">\n");
    for (size_t i = 0; i < page->n_lines; i++)
        put_panel(page, i);
    sink_puts(page->sink, "</div>\n</section>\n");
}
