/* svg_map.c: scores of rows x tokens as a heat map; each row from 0 to its own largest. Maps finer than the figure shows keep the largest
 * of what falls into a cell. */
#include "svg_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define CELLS_MAX 240 /* each way: a cell of 1.8 pt at the full width */
#define STEPS     32  /* of colour, from 0 to the largest */

struct map {
    struct svg *svg;
    const jsc_attribution *a;
    const double *values; /* [rows][stride] */
    size_t rows, columns, stride;
    size_t pool_rows, pool_columns; /* values per cell */
    bool tokens;                    /* rows are tokens too */
    const double *alphas;           /* or places on a path; their rows' largest values stand at the right */
    double left, top, cell, row;    /* of the drawing */
};

static size_t cells_of(size_t n, size_t pool)
{
    return (n + pool - 1) / pool;
}

static size_t columns_of(const struct map *m, size_t row)
{
    return m->tokens && row + 1 < m->columns ? row + 1 : m->columns; /* right of the diagonal is nothing */
}

static double row_largest(const struct map *m, size_t row, size_t *place)
{
    double largest = 0.0;
    *place = 0;
    for (size_t t = 0; t < columns_of(m, row); t++)
        if (fabs(m->values[row * m->stride + t]) > largest) {
            largest = fabs(m->values[row * m->stride + t]);
            *place = t;
        }
    return largest;
}

/* Steps of colour of one row of cells, -STEPS..STEPS. */
static void pool_row(const struct map *m, size_t cells, int *steps)
{
    const size_t first = cells * m->pool_rows;
    size_t place = 0;
    memset(steps, 0, cells_of(m->columns, m->pool_columns) * sizeof *steps);
    for (size_t row = first; row < m->rows && row < first + m->pool_rows; row++) {
        const double largest = row_largest(m, row, &place);
        for (size_t t = 0; t < columns_of(m, row); t++) {
            const double value = m->values[row * m->stride + t];
            const int size = (int)lrint(STEPS * ramp_share(fabs(value), largest)), step = value < 0.0 ? -size : size;
            int *cell = &steps[t / m->pool_columns];
            if (size > (*cell < 0 ? -*cell : *cell))
                *cell = step;
        }
    }
}

static const char *row_word(const struct map *m)
{
    return m->tokens ? "target after token" : m->alphas != NULL ? "step" : "block";
}

static void put_row_title(const struct map *m, size_t cells)
{
    struct strbuf *s = &m->svg->body;
    size_t place = 0;
    const size_t row = cells * m->pool_rows;
    if (m->pool_rows > 1)
        strbuf_printf(s, "<g><title>%ss %zu to %zu</title>", m->tokens ? "target" : row_word(m), row, row + m->pool_rows - 1);
    else {
        const double largest = row_largest(m, row, &place);
        strbuf_printf(s, "<g><title>%s %zu: largest %.4g at token %zu</title>", row_word(m), row, largest, place);
    }
}

/* One row of cells: per colour one path of the runs that have it. */
static void put_cells(const struct map *m, size_t cells, const int *steps)
{
    const size_t last = m->pool_rows * (cells + 1) < m->rows ? m->pool_rows * (cells + 1) - 1 : m->rows - 1;
    const size_t n = cells_of(columns_of(m, last), m->pool_columns);
    struct strbuf *s = &m->svg->body;
    char colour[8];
    put_row_title(m, cells);
    for (int step = -STEPS; step <= STEPS; step++) {
        bool open = false;
        for (size_t i = 0, end = 0; i < n; i = end) {
            for (end = i + 1; end < n && steps[end] == steps[i]; end++)
                ;
            if (steps[i] != step)
                continue;
            if (!open) {
                (void)svg_colour(step / (double)STEPS, colour);
                strbuf_printf(s, "<path fill=\"%s\" d=\"", colour);
            }
            open = true;
            strbuf_printf(s, "M%zu %zuh%zuv1h-%zuz", i, cells, end - i, end - i);
        }
        if (open)
            strbuf_puts(s, "\"/>");
    }
    strbuf_puts(s, "</g>\n");
}

static void put_token_label(const struct map *m, double x, double y, size_t t, const struct svg_style *style)
{
    struct strbuf name = {0};
    svg_name(&name, m->a->tokens[t].id, m->a->tokens[t].text, 12);
    svg_text(m->svg, x, y, style, name.text, name.n);
    m->svg->body.failed = m->svg->body.failed || name.failed;
    strbuf_free(&name);
}

/* Every how many cells a label of `size` has room. */
static size_t label_step(double cell, double size, size_t pool)
{
    static const size_t round[] = {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000};
    size_t i = 0;
    while (i + 1 < sizeof round / sizeof *round && (double)round[i] / (double)pool * cell < size)
        i++;
    return round[i];
}

/* Returns the height of the labels below. */
static double put_column_labels(const struct map *m)
{
    const double size = m->svg->small, bottom = m->top + m->row * (double)cells_of(m->rows, m->pool_rows);
    const bool names = m->pool_columns == 1 && m->cell >= size;
    const struct svg_style up = {size, SVG_END, NULL, false, true}, grey = {size, SVG_MIDDLE, SVG_GREY, false, false};
    const size_t step = names ? 1 : label_step(m->cell, svg_wide(6, size), m->pool_columns);
    int widest = 0;

    for (size_t t = 0; t < m->columns; t += step) {
        const double x = m->left + m->cell * ((double)t / (double)m->pool_columns + 0.5);
        if (!names) {
            svg_textf(m->svg, x, bottom + 1.1 * size, &grey, "%zu", t);
            continue;
        }
        const char *text = m->a->tokens[t].text;
        const int cells = text != NULL ? svg_cells(text, strlen(text)) : 9;
        widest = cells > widest ? cells : widest;
        put_token_label(m, x + 0.35 * size, bottom + 0.3 * size, t, &up);
    }
    return names ? svg_wide(widest > 12 ? 12 : widest, size) + 0.8 * size : 1.6 * size;
}

/* Where on the path, and how large the row's largest value is: rows of a path differ by orders of magnitude. */
static void put_alpha(const struct map *m, size_t row, double y)
{
    const double size = m->svg->small, right = m->left + m->cell * (double)cells_of(m->columns, m->pool_columns);
    const struct svg_style label = {size, SVG_END, SVG_GREY, false, false}, value = {size, SVG_START, SVG_GREY, false, false};
    size_t place = 0;
    svg_textf(m->svg, m->left - 0.4 * size, y, &label, "α = %.3g", m->alphas[row]);
    svg_textf(m->svg, right + 0.4 * size, y, &value, "%.3g", row_largest(m, row, &place));
}

static void put_row_labels(const struct map *m)
{
    const double size = m->svg->small;
    const bool names = m->tokens && m->pool_rows == 1 && m->row >= size;
    const struct svg_style label = {size, SVG_END, names ? NULL : SVG_GREY, false, false};
    const size_t step = names ? 1 : label_step(m->row, 1.1 * size, m->pool_rows);
    for (size_t row = 0; row < m->rows; row += step) {
        const double y = m->top + m->row * ((double)row / (double)m->pool_rows + 0.5) + 0.35 * size;
        if (names)
            put_token_label(m, m->left - 0.4 * size, y, row, &label);
        else if (m->alphas != NULL)
            put_alpha(m, row, y);
        else
            svg_textf(m->svg, m->left - 0.4 * size, y, &label, m->tokens ? "%zu" : "block %zu", row);
    }
}

/* Sizes of the cells: as wide as the figure allows, but no giants; rows no higher than `high` all together. */
static void set_sizes(struct map *m, double high)
{
    const double size = m->svg->small, room = m->svg->width - svg_wide(m->alphas != NULL ? 21 : 12, size) - size;
    const size_t columns = cells_of(m->columns, m->pool_columns), rows = cells_of(m->rows, m->pool_rows);
    m->left = svg_wide(12, size) + 0.4 * size;
    m->cell = fmin(room / (double)columns, 2.2 * size);
    m->row = fmin(high / (double)rows, 1.3 * size);
}

static void put_map(struct map *m, const char *what, double high)
{
    struct svg *svg = m->svg;
    int *steps = NULL;
    m->pool_rows = cells_of(m->rows, CELLS_MAX);
    m->pool_columns = cells_of(m->columns, CELLS_MAX);
    set_sizes(m, high);
    svg->y += 0.8 * svg->small;
    svg_paragraph(svg, what, false);
    if (m->pool_rows > 1 || m->pool_columns > 1)
        svg_paragraph(svg, "finer than a figure can show: a cell is the largest of several; all values are in the JSON", false);
    m->top = svg->y + 0.2 * svg->small;
    if (mem_new(&steps, cells_of(m->columns, m->pool_columns), NULL) != JSC_OK) {
        svg->body.failed = true;
        return;
    }
    strbuf_printf(&svg->body, "<g transform=\"translate(%.2f %.2f) scale(%.4f %.4f)\" shape-rendering=\"crispEdges\">\n", m->left, m->top,
                  m->cell, m->row);
    const size_t rows = cells_of(m->rows, m->pool_rows);
    for (size_t row = 0; row < rows; row++) {
        pool_row(m, row, steps);
        put_cells(m, row, steps);
    }
    strbuf_puts(&svg->body, "</g>\n");
    mem_free(steps);
    put_row_labels(m);
    svg->y = m->top + m->row * (double)rows + put_column_labels(m);
}

void svg_layers(struct svg *svg, const struct svg_panel *panel)
{
    const jsc_attribution *a = panel->a, *b = panel->b;
    const size_t T = a->n_tokens, L = (size_t)a->n_layers, columns = a->position < T ? a->position + 1 : T;
    double *difference = NULL;

    if (a->layers == NULL || L == 0 || (b != NULL && (b->layers == NULL || b->n_layers != a->n_layers)))
        return;
    const double *values = a->layers + panel->line * L * T;
    if (b != NULL) {
        if (mem_new(&difference, L * T, NULL) != JSC_OK) {
            svg->body.failed = true;
            return;
        }
        difference_rows(values, b->layers + panel->line * L * T, L, T, panel->shares, difference);
        values = difference;
    }
    struct map map = {.svg = svg, .a = a, .values = values, .rows = L, .columns = columns, .stride = T};
    put_map(&map,
            b != NULL ? "(a) − (b) read at every block's input, each row to its own largest"
                      : "influence read at every block's input, each row from 0 to its own largest",
            165.0);
    mem_free(difference);
}

void svg_matrix(struct svg *svg, const struct svg_panel *panel)
{
    const jsc_attribution *a = panel->a, *b = panel->b;
    const size_t T = a->n_tokens;
    double *difference = NULL;

    if (a->matrix == NULL || (b != NULL && b->matrix == NULL))
        return;
    const double *values = a->matrix;
    if (b != NULL) {
        if (mem_new(&difference, T * T, NULL) != JSC_OK) {
            svg->body.failed = true;
            return;
        }
        difference_rows(values, b->matrix, T, T, panel->shares, difference);
        values = difference;
    }
    struct map map = {.svg = svg, .a = a, .values = values, .rows = T, .columns = T, .stride = T, .tokens = true};
    put_map(&map,
            b != NULL ? "(a) − (b) for the prediction after every token (rows), each row to its own largest"
                      : "influence on the prediction after every token (rows), each row from 0 to its own largest",
            0.8 * svg->width);
    mem_free(difference);
}

void svg_path(struct svg *svg, const struct svg_panel *panel)
{
    const jsc_attribution *a = panel->a;
    if (a->path.norms == NULL || a->path.n_nodes == 0 || panel->b != NULL)
        return;
    struct map map = {.svg = svg,
                      .a = a,
                      .values = a->path.norms,
                      .rows = a->path.n_nodes,
                      .columns = a->position < a->n_tokens ? a->position + 1 : a->n_tokens,
                      .stride = a->n_tokens,
                      .alphas = a->path.alphas};
    put_map(&map, "length of the gradient along the path, each row from 0 to its own largest (at the right)", 165.0);
}
