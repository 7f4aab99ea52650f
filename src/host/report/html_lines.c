/* html_lines.c: the rows of scores that a page shows, and the values, order and colours of one of them. */
#include "html_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define SIDE        32    /* classes of each side of a diverging ramp, half of all */
#define TEXT_TOKENS 40000 /* of all texts in the page; the script makes the others */

static size_t tokens_scored(const jsc_attribution *a)
{
    return a->position < a->n_tokens ? a->position + 1 : a->n_tokens;
}

static void add_line(struct html_page *page, size_t result, size_t row, bool of_signed)
{
    const jsc_report_input *input = page->input;
    struct html_line line = {.a = input->attributions[result], .result = result, .row = row, .of_signed = of_signed};
    line.minus = page->options->difference != 0 ? input->attributions[1] : NULL;
    line.shares = line.minus != NULL && difference_in_shares(line.a, line.minus);
    line.same = page->n_lines;
    for (size_t i = 0; i < page->n_lines; i++)
        if (page->lines[i].same == i && compare_same_tokens(page->lines[i].a, line.a)) {
            line.same = i;
            break;
        }
    page->lines[page->n_lines++] = line;
}

static void add_result(struct html_page *page, size_t result)
{
    const jsc_report_input *input = page->input;
    const jsc_attribution *a = input->attributions[result], *b = page->options->difference != 0 ? input->attributions[1] : NULL;
    /* signed scores have no shares */
    const bool with_signed = a->signed_scores != NULL && (b == NULL || (b->signed_scores != NULL && !difference_in_shares(a, b)));
    for (size_t row = 0; row < a->n_scores; row++) {
        add_line(page, result, row, false);
        if (with_signed)
            add_line(page, result, row, true);
    }
}

jsc_status html_page_open(struct html_page *page, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const jsc_report_input *input = page->input;
    const size_t n = page->options->difference != 0 ? 1 : input->n;
    size_t lines = 0, tokens = 0, shown = 0;

    for (size_t i = 0; i < n; i++) {
        const jsc_attribution *a = input->attributions[i];
        lines += 2 * a->n_scores;
        tokens = a->n_tokens > tokens ? a->n_tokens : tokens;
    }
    TRY(mem_new(&page->lines, lines, error));
    TRY(mem_new(&page->values, tokens, error));
    TRY(mem_new(&page->sizes, tokens, error));
    TRY(mem_new(&page->cells, tokens, error));
    TRY(mem_new(&page->pooled, tokens, error));
    TRY(mem_new(&page->order, tokens, error));
    for (size_t i = 0; i < n; i++)
        add_result(page, i);
    for (size_t i = 0; i < page->n_lines; i++) {
        struct html_line *line = &page->lines[i];
        line->has_text = line->same == i || shown + line->a->n_tokens <= TEXT_TOKENS;
        shown += line->has_text ? line->a->n_tokens : 0;
    }
done:
    return status;
}

void html_page_close(struct html_page *page)
{
    mem_free(page->lines);
    mem_free(page->values);
    mem_free(page->sizes);
    mem_free(page->cells);
    mem_free(page->pooled);
    mem_free(page->order);
}

static const double *row_of(const jsc_attribution *a, const struct html_line *line)
{
    return (line->of_signed ? a->signed_scores : a->scores) + line->row * a->n_tokens;
}

void html_take(struct html_page *page, const struct html_line *line)
{
    const size_t T = line->a->n_tokens;
    const double *plus = row_of(line->a, line), *minus = line->minus != NULL ? row_of(line->minus, line) : NULL;
    page->n = tokens_scored(line->a);
    if (line->minus != NULL && tokens_scored(line->minus) > page->n)
        page->n = tokens_scored(line->minus);
    page->largest = page->total = 0.0;
    if (minus != NULL)
        difference_rows(plus, minus, 1, T, line->shares, page->values);
    else
        memcpy(page->values, plus, T * sizeof *plus);
    for (size_t t = 0; t < T; t++) {
        page->sizes[t] = isfinite(page->values[t]) ? fabs(page->values[t]) : 0.0;
        if (t < page->n) {
            page->largest = page->sizes[t] > page->largest ? page->sizes[t] : page->largest;
            page->total += page->sizes[t];
        }
    }
    const jsc_status status = compare_order(page->sizes, page->n, page->order, page->sink->error);
    if (status != JSC_OK)
        sink_fail(page->sink, status, "no memory to sort the scores of the report");
}

bool html_diverges(const struct html_line *line)
{
    return line->of_signed || line->minus != NULL;
}

int html_step(bool diverges, double value, double largest)
{
    const double share = ramp_share(diverges ? fabs(value) : value, largest);
    if (!diverges)
        return (int)lrint(share * (2 * SIDE - 1));
    return value < 0.0 ? SIDE - 1 - (int)lrint(share * (SIDE - 1)) : SIDE + (int)lrint(share * (SIDE - 1));
}

struct html_class html_class(const struct html_line *line, double value, double largest)
{
    struct html_class class = {""};
    const bool diverges = html_diverges(line);
    (void)snprintf(class.name, sizeof class.name, "%c%d", diverges ? 'd' : 'b', html_step(diverges, value, largest));
    return class;
}

const jsc_prediction *html_target(const struct html_line *line)
{
    return line->a->targets != NULL && line->row < line->a->n_targets ? &line->a->targets[line->row] : NULL;
}

bool html_target_in_place(const struct html_line *line)
{
    const jsc_attribution *a = line->a;
    const jsc_prediction *target = html_target(line);
    return a->n_tokens > 1 && a->position < a->n_tokens - 1 && (target == NULL || target->id == a->tokens[a->position + 1].id);
}
