/* text_map.c: a table of scores, rows x tokens, as shaded cells; each row from 0 to its own largest value, which stands at its end. */
#include "report_internal.h"

#include <stdio.h>
#include <string.h>

struct map {
    const double *values; /* [rows][stride] */
    size_t rows, columns, stride;
    int label; /* cells of a row's label */
};

static double row_largest(const struct map *m, size_t row, size_t *place)
{
    double largest = 0.0;
    *place = 0;
    for (size_t t = 0; t < m->columns; t++)
        if (m->values[row * m->stride + t] > largest) {
            largest = m->values[row * m->stride + t];
            *place = t;
        }
    return largest;
}

/* Cells per token: 2, 1, or 0 if the map does not fit the width. */
static int cell_width(const struct text_report *r, const struct map *m)
{
    const int room = r->width - m->label - 10;
    return room >= 2 * (int64_t)m->columns ? 2 : room >= (int64_t)m->columns ? 1 : 0;
}

static void put_ruler(const struct text_report *r, const struct map *m, int cell)
{
    sink_printf(r->sink, "%*s", m->label, "");
    for (size_t t = 0; t < m->columns; t += 10) {
        const size_t left = (m->columns - t) * (size_t)cell;
        char number[24];
        const int n = snprintf(number, sizeof number, "%zu", t);
        if ((size_t)n > left)
            break;
        sink_printf(r->sink, "%-*s", (int)(left < 10 * (size_t)cell ? left : 10 * (size_t)cell), number);
    }
    sink_puts(r->sink, "\n");
}

/* Cells right of `until` do not exist and stay blank. */
static void put_row(const struct text_report *r, const struct map *m, size_t row, size_t until, int cell)
{
    size_t place = 0;
    const double largest = row_largest(m, row, &place);
    char open[48];
    for (size_t t = 0; t < until; t++) {
        const double share = ramp_share(m->values[row * m->stride + t], largest);
        ramp_open(r->colour, share, open);
        sink_puts(r->sink, open);
        for (int c = 0; c < cell; c++)
            sink_puts(r->sink, r->colour == JSC_COLOUR_NONE ? ramp_mark(r->ascii, share) : " ");
    }
    sink_printf(r->sink, "%s%*s %.3g\n", r->colour == JSC_COLOUR_NONE ? "" : "\033[0m", (int)(m->columns - until) * cell, "", largest);
}

/* Where cells do not fit: the strongest token of each row. */
static void put_strongest(const struct text_report *r, const struct map *m, size_t row)
{
    const jsc_scored_token *tokens = r->a->tokens;
    size_t place = 0;
    const double largest = row_largest(m, row, &place);
    sink_printf(r->sink, "%10.4g at token %zu ", largest, place);
    if (tokens[place].text != NULL)
        text_quoted(r, tokens[place].text, 24, false);
    sink_puts(r->sink, "\n");
}

static void put_head(const struct text_report *r, const char *what, int cell)
{
    const char *bold = r->colour == JSC_COLOUR_NONE ? "" : "\033[1m", *plain = r->colour == JSC_COLOUR_NONE ? "" : "\033[0m";
    sink_printf(r->sink, "\n%s%s%s%s\n", bold, what, plain,
                cell > 0 ? ": each row from 0 to its largest, at its end" : ": the strongest of each row (all values: --format json)");
}

void text_layers(const struct text_report *r, size_t line)
{
    const jsc_attribution *a = r->a;
    if (a->layers == NULL)
        return;
    const struct map m = {a->layers + line * (size_t)a->n_layers * a->n_tokens, (size_t)a->n_layers, a->position + 1, a->n_tokens, 10};
    const int cell = cell_width(r, &m);
    put_head(r, "block x token", cell);
    if (cell > 0)
        put_ruler(r, &m, cell);
    for (size_t row = 0; row < m.rows; row++) {
        sink_printf(r->sink, "block %-4zu", row);
        if (cell > 0)
            put_row(r, &m, row, m.columns, cell);
        else
            put_strongest(r, &m, row);
    }
}

void text_matrix(const struct text_report *r)
{
    const jsc_attribution *a = r->a;
    if (a->matrix == NULL)
        return;
    const struct map m = {a->matrix, a->n_tokens, a->n_tokens, a->n_tokens, 21};
    const int cell = cell_width(r, &m);
    put_head(r, "target position x token", cell);
    if (cell > 0)
        put_ruler(r, &m, cell);
    for (size_t row = 0; row < m.rows; row++) {
        sink_printf(r->sink, "%5zu ", row);
        if (a->tokens[row].text != NULL)
            text_quoted(r, a->tokens[row].text, 14, true);
        else
            sink_printf(r->sink, "id %-11d", (int)a->tokens[row].id);
        sink_puts(r->sink, " ");
        if (cell > 0)
            put_row(r, &m, row, row + 1, cell);
        else
            put_strongest(r, &m, row);
    }
}
