/* text_compare.c: results of one prompt beside each other: how alike they are, their strongest tokens, the first minus the second. */
#include "report_internal.h"

#include <math.h>

#define FIGURE 11 /* cells of a column of figures */
#define COMMON 21 /* of "strongest in common" */

static int asked_k(const struct text_report *r)
{
    return r->top_k > 0 ? r->top_k : 1;
}

/* Cells of each of the two labels of a pair. */
static int pair_width(const struct text_report *r)
{
    const int room = (r->width - 2 - FIGURE - COMMON) / 2 - 2;
    return room > 26 ? 26 : room;
}

static void put_pair(const jsc_report_input *input, const struct text_report *r, size_t i, size_t j)
{
    const size_t pair[2] = {i, j};
    jsc_comparison c;
    for (int side = 0; side < 2; side++) {
        sink_puts(r->sink, "  ");
        text_label(r, input->labels[pair[side]], pair_width(r), true);
    }
    if (jsc_compare(input->attributions[i], input->attributions[j], asked_k(r), &c, NULL) != JSC_OK)
        sink_puts(r->sink, "  other tokens\n");
    else if (isnan(c.spearman))
        sink_printf(r->sink, "%*s%*d of %d\n", FIGURE, "-", COMMON - 8, c.common, c.k);
    else
        sink_printf(r->sink, "%*.3f%*d of %d\n", FIGURE, c.spearman, COMMON - 8, c.common, c.k);
}

/* strong[i][t]: the score of token t is among the k strongest of the first row of result i. */
static jsc_status find_strong(const jsc_report_input *input, int k, bool **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t T = input->attributions[0]->n_tokens;
    size_t *order = NULL, all = 0;

    if (!size_mul(input->n, T, &all))
        FAIL(JSC_E_MEMORY, "%zu results of %zu tokens are too many", input->n, T);
    TRY(mem_new(&order, T, error));
    TRY(mem_new(out, all, error));
    for (size_t i = 0; i < input->n; i++) {
        const jsc_attribution *a = input->attributions[i];
        const size_t n = a->position < T ? a->position + 1 : T;
        TRY(compare_order(a->scores, n, order, error));
        for (size_t j = 0; j < n && j < (size_t)k; j++)
            (*out)[i * T + order[j]] = true;
    }
done:
    mem_free(order);
    return status;
}

static double sum_of(const double *values, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++)
        sum += values[i];
    return sum;
}

/* Columns from..to of the results: the tokens that are among the strongest of any. */
static void put_side_by_side(const jsc_report_input *input, const struct text_report *r, const bool *strong, size_t from, size_t to)
{
    const jsc_attribution *first = input->attributions[0];
    const size_t T = first->n_tokens;
    const int name = text_name_width(r);
    sink_printf(r->sink, "\n%s%% of %s%s strongest%*s", BOLD(r), name >= 20 ? "each total, " : "", r->ascii ? "*" : "•",
                name >= 20 ? name - 20 : name - 8, "");
    for (size_t i = from; i < to; i++) {
        sink_puts(r->sink, " ");
        text_label(r, input->labels[i], FIGURE - 1, i + 1 < to);
    }
    sink_printf(r->sink, "%s\n", PLAIN(r));
    for (size_t t = 0; t < T; t++) {
        bool any = false;
        int gap = 0; /* to the next column */
        for (size_t i = 0; i < input->n; i++)
            any = any || strong[i * T + t];
        if (!any)
            continue;
        sink_printf(r->sink, "%6zu  ", t);
        text_token(r, first->tokens[t].id, first->tokens[t].text, name - 1, true);
        sink_puts(r->sink, " ");
        for (size_t i = from; i < to; i++) {
            const double *scores = input->attributions[i]->scores;
            sink_printf(r->sink, "%*s%6.1f", gap, "", 100.0 * ramp_share(scores[t], sum_of(scores, T)));
            if (strong[i * T + t])
                sink_puts(r->sink, r->ascii ? "  *" : "  •");
            gap = strong[i * T + t] ? FIGURE - 9 : FIGURE - 6;
        }
        sink_puts(r->sink, "\n");
    }
}

void text_compare(const jsc_report_input *input, const struct text_report *r)
{
    bool same = true;
    sink_printf(r->sink, "\n%s%-*s%*s%*s%s\n", BOLD(r), 4 + 2 * pair_width(r), "how alike", FIGURE, "Spearman", COMMON,
                "strongest in common", PLAIN(r));
    for (size_t i = 0; i < input->n; i++)
        for (size_t j = i + 1; j < input->n; j++)
            put_pair(input, r, i, j);
    for (size_t i = 1; i < input->n; i++)
        same = same && compare_same_tokens(input->attributions[0], input->attributions[i]);
    if (!same || r->top_k == 0)
        return;
    bool *strong = NULL;
    if (find_strong(input, r->top_k, &strong, NULL) != JSC_OK)
        sink_fail(r->sink, JSC_E_MEMORY, "no memory for the comparison of the results");
    const size_t columns = (size_t)((r->width - 8 - text_name_width(r)) / FIGURE);
    for (size_t from = 0; strong != NULL && from < input->n; from += columns)
        put_side_by_side(input, r, strong, from, from + columns < input->n ? from + columns : input->n);
    mem_free(strong);
}

/* ---- difference ---------------------------------------------------------------------------------------------------------------- */

/* Row `line` of both, their difference, and the size of it that orders the table. All in percent of each total if shares. */
struct minus {
    const double *first, *second;
    double *values, *sizes, scale[2];
    size_t *order, n_tokens, last;
    bool shares;
};

static void minus_free(struct minus *m)
{
    mem_free(m->values);
    mem_free(m->sizes);
    mem_free(m->order);
}

static jsc_status minus_make(const jsc_attribution *a, const jsc_attribution *b, size_t line, struct minus *m, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t T = a->n_tokens;

    *m = (struct minus){.first = a->scores + line * T, .second = b->scores + line * T, .scale = {1.0, 1.0}, .n_tokens = T};
    m->last = a->position > b->position ? a->position : b->position;
    m->shares = difference_in_shares(a, b);
    TRY(mem_new(&m->values, T, error));
    TRY(mem_new(&m->sizes, T, error));
    TRY(mem_new(&m->order, T, error));
    difference_rows(m->first, m->second, 1, T, m->shares, m->values);
    if (m->shares) {
        const double sums[2] = {sum_of(m->first, T), sum_of(m->second, T)};
        for (int i = 0; i < 2; i++)
            m->scale[i] = sums[i] > 0.0 ? 100.0 / sums[i] : 0.0;
    }
    for (size_t t = 0; t < T; t++) {
        m->values[t] *= m->shares ? 100.0 : 1.0;
        m->sizes[t] = fabs(m->values[t]);
    }
    TRY(compare_order(m->sizes, T, m->order, error));
done:
    return status;
}

static void put_minus(const struct text_report *r, const struct minus *m)
{
    const jsc_attribution *a = r->a;
    const int name = text_name_width(r);
    sink_printf(r->sink, "\n%sfirst minus second%s: %s where the first is stronger, %s where the second\n", BOLD(r), PLAIN(r),
                ramp_side(r->colour, 1), ramp_side(r->colour, -1));
    if (m->shares)
        sink_puts(r->sink, "in percent of each total: the scores themselves are in unlike units\n");
    text_prompt_diverging(r, m->values, m->last, NULL);
    sink_printf(r->sink, "\n%s%-*s%*s%*s%*s%s\n", BOLD(r), 8 + name, name >= 20 ? "largest differences" : "largest", FIGURE - 2, "first",
                FIGURE - 1, "second", FIGURE, "difference", PLAIN(r));
    for (size_t k = 0; k < m->n_tokens && k < (size_t)r->top_k; k++) {
        const size_t t = m->order[k];
        sink_printf(r->sink, "%6zu  ", t);
        text_token(r, a->tokens[t].id, a->tokens[t].text, name - 1, true);
        sink_printf(r->sink, " %*.3g%*.3g%+*.3g\n", FIGURE - 2, m->scale[0] * m->first[t], FIGURE - 1, m->scale[1] * m->second[t], FIGURE,
                    m->values[t]);
    }
}

void text_difference(const jsc_report_input *input, const struct text_report *r)
{
    static const char *const which[] = {"first ", "second "};
    for (size_t line = 0; line < input->attributions[0]->n_scores; line++) {
        struct minus m;
        for (int i = 0; i < 2; i++) {
            sink_printf(r->sink, "%s%s%s[", line > 0 && i == 0 ? "\n" : "", which[i], BOLD(r));
            text_label(r, input->labels[i], r->width - 10, false);
            sink_printf(r->sink, "]%s\n", PLAIN(r));
            text_head(&r[i]);
            text_explained(&r[i], line);
        }
        if (minus_make(input->attributions[0], input->attributions[1], line, &m, NULL) == JSC_OK)
            put_minus(r, &m);
        else
            sink_fail(r->sink, JSC_E_MEMORY, "no memory for the difference of two results");
        minus_free(&m);
    }
}
