/* html_maps.c: layer x token and position x token: tables where they are small, and base64 float32 for the script, which draws them. */
#include "html_internal.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define TABLE_COLUMNS 48
#define TABLE_CELLS   2000
#define PAGE_CELLS    (1u << 20) /* of all maps as data: 4 MiB of floats, 5.6 MB of text */

struct map {
    const double *plus, *minus; /* minus: NULL if this is no difference */
    size_t rows, columns;
    size_t line;   /* layers: of which row of scores */
    size_t result; /* matrix: of which result */
    bool matrix, shares;
};

static const struct jsc_attribution *second_of(const struct html_page *page)
{
    return page->options->difference != 0 ? page->input->attributions[1] : NULL;
}

/* The layers of line i, if it has any. */
static bool layers_of(const struct html_page *page, size_t i, struct map *out)
{
    const struct html_line *line = &page->lines[i];
    const jsc_attribution *a = line->a, *b = line->minus;
    if (a->layers == NULL || line->of_signed || a->n_layers < 1 || (b != NULL && (b->layers == NULL || b->n_layers != a->n_layers)))
        return false;
    const size_t rows = (size_t)a->n_layers, start = line->row * rows * a->n_tokens;
    *out = (struct map){a->layers + start, b != NULL ? b->layers + start : NULL, rows, a->n_tokens, i, line->result, false, line->shares};
    return true;
}

/* The matrix of result i, if it has one; a difference has one result. */
static bool matrix_of(const struct html_page *page, size_t i, struct map *out)
{
    const jsc_attribution *a = page->input->attributions[i], *b = second_of(page);
    if (a->matrix == NULL || (b != NULL && (b->matrix == NULL || i > 0)))
        return false;
    *out = (struct map){a->matrix, b != NULL ? b->matrix : NULL,           a->n_tokens, a->n_tokens, 0, i,
                        true,      b != NULL && difference_in_shares(a, b)};
    return true;
}

/* Row r of the map into page->cells. */
static const double *map_row(const struct html_page *page, const struct map *map, size_t r)
{
    const double *plus = map->plus + r * map->columns;
    if (map->minus == NULL)
        return plus;
    difference_rows(plus, map->minus + r * map->columns, 1, map->columns, map->shares, page->cells);
    return page->cells;
}

static double largest_of(const double *row, size_t n)
{
    double largest = 0.0;
    for (size_t i = 0; i < n; i++)
        if (isfinite(row[i]) && fabs(row[i]) > largest)
            largest = fabs(row[i]);
    return largest;
}

/* Cividis for sizes, the diverging ramp for differences. */
static void put_cell(struct sink *sink, const struct map *map, double value, double largest)
{
    sink_printf(sink, "<td class=\"%c%d\"></td>", map->minus != NULL ? 'd' : 'c', html_step(map->minus != NULL, value, largest));
}

static void put_map_table(const struct html_page *page, const struct map *map)
{
    const jsc_attribution *a = page->input->attributions[map->result];
    struct sink *sink = page->sink;
    sink_printf(sink, "<table class=\"map\"><caption>%s</caption><thead><tr><td></td>",
                map->minus != NULL ? "each row orange (negative) to blue, up to its largest, which stands at its end"
                                   : "each row dark blue (0) to yellow (its largest, which stands at its end)");
    for (size_t c = 0; c < map->columns; c++) {
        sink_puts(sink, "<th><span>");
        html_token(sink, &a->tokens[c], true);
        sink_puts(sink, "</span></th>");
    }
    sink_puts(sink, "</tr></thead><tbody>\n");
    for (size_t r = 0; r < map->rows; r++) {
        sink_puts(sink, "<tr><th>");
        if (map->matrix)
            html_token(sink, &a->tokens[r], true);
        else
            sink_printf(sink, "block %zu", r);
        sink_puts(sink, "</th>");
        const double *row = map_row(page, map, r), largest = largest_of(row, map->columns);
        for (size_t c = 0; c < map->columns; c++)
            if (map->matrix && c > r)
                sink_puts(sink, "<td></td>"); /* a position sees only what stands before it */
            else
                put_cell(sink, map, row[c], largest);
        sink_puts(sink, "<td class=\"n\">");
        html_number(sink, largest, 3);
        sink_puts(sink, "</td></tr>\n");
    }
    sink_puts(sink, "</tbody></table>\n");
}

static void put_map(const struct html_page *page, const struct map *map)
{
    struct sink *sink = page->sink;
    sink_printf(sink, "<div data-%s=\"%zu\">\n", map->matrix ? "result" : "line", map->matrix ? map->result : map->line);
    if (map->matrix ? page->input->n > 1 : page->n_lines > 1) {
        sink_puts(sink, "<h3>");
        if (map->matrix)
            html_puts(sink, page->input->labels[map->result]);
        else
            html_label(page, &page->lines[map->line]);
        sink_puts(sink, "</h3>\n");
    }
    sink_puts(sink, "<div class=\"drawing\">\n");
    if (map->columns <= TABLE_COLUMNS && map->rows * map->columns <= TABLE_CELLS)
        put_map_table(page, map);
    else
        sink_printf(sink, "<p>%zu × %zu scores are drawn where scripts run; <code>--format json</code> has them as numbers.</p>\n",
                    map->rows, map->columns);
    sink_puts(sink, "</div></div>\n");
}

void html_maps(struct html_page *page)
{
    struct map map;
    bool any = false;
    for (size_t i = 0; i < page->n_lines; i++) {
        if (!layers_of(page, i, &map))
            continue;
        if (!any)
            sink_puts(page->sink,
                      "<section data-view=\"layers\" data-name=\"Layer × token\">\n<h2>Scores read at every block's input</h2>\n");
        any = true;
        put_map(page, &map);
    }
    sink_puts(page->sink, any ? "</section>\n" : "");
    any = false;
    for (size_t i = 0; i < page->input->n; i++) {
        if (!matrix_of(page, i, &map))
            continue;
        if (!any)
            sink_puts(page->sink, "<section data-view=\"matrix\" data-name=\"Position × token\">\n<h2>Every position as target</h2>\n"
                                  "<p>A row explains the prediction after its token.</p>\n");
        any = true;
        put_map(page, &map);
    }
    sink_puts(page->sink, any ? "</section>\n" : "");
}

/* ---- as data ----------------------------------------------------------------------------------------------------------------------- */

struct base64 {
    struct sink *sink;
    unsigned char left[3]; /* bytes that do not yet make four letters */
    int n;
    char text[256];
    size_t used;
};

static void base64_flush(struct base64 *b)
{
    sink_write(b->sink, b->text, b->used);
    b->used = 0;
}

static void base64_group(struct base64 *b)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned bits = (unsigned)b->left[0] << 16 | (unsigned)b->left[1] << 8 | b->left[2];
    for (int i = 0; i < 4; i++)
        b->text[b->used++] = i <= b->n ? letters[bits >> (18 - 6 * i) & 63] : '=';
    memset(b->left, 0, sizeof b->left);
    b->n = 0;
    if (b->used == sizeof b->text)
        base64_flush(b);
}

static void base64_float(struct base64 *b, double value)
{
    const float rounded = value > (double)FLT_MAX ? FLT_MAX : value < -(double)FLT_MAX ? -FLT_MAX : (float)value;
    uint32_t bits;
    memcpy(&bits, &rounded, sizeof bits);
    for (int i = 0; i < 4; i++) {
        b->left[b->n++] = (unsigned char)(bits >> (8 * i));
        if (b->n == 3)
            base64_group(b);
    }
}

/* Of a block of pool x pool cells (rows of layers are not pooled) the one of the largest size stands for all; NaN counts as 0. */
static void put_pooled(const struct html_page *page, const struct map *map, size_t pool, struct base64 *out)
{
    const size_t rows = map->matrix ? pool : 1, columns = (map->columns + pool - 1) / pool;
    for (size_t first = 0; first < map->rows; first += rows) {
        memset(page->pooled, 0, columns * sizeof *page->pooled);
        for (size_t r = first; r < first + rows && r < map->rows; r++) {
            const double *row = map_row(page, map, r);
            for (size_t c = 0; c < map->columns; c++)
                if (fabs(row[c]) > fabs(page->pooled[c / pool]))
                    page->pooled[c / pool] = row[c];
        }
        for (size_t c = 0; c < columns; c++)
            base64_float(out, page->pooled[c]);
    }
    if (out->n > 0)
        base64_group(out);
    base64_flush(out);
}

static void put_map_data(const struct html_page *page, const struct map *map, size_t room, bool first)
{
    struct base64 b = {.sink = page->sink};
    size_t pool = 1;
    while ((map->matrix ? (map->rows + pool - 1) / pool : map->rows) * ((map->columns + pool - 1) / pool) > room && pool < map->columns)
        pool++;
    sink_printf(page->sink,
                "%s{\"matrix\": %s, \"line\": %zu, \"result\": %zu, \"rows\": %zu, \"columns\": %zu, \"pool\": %zu, \"values\": \"",
                first ? "" : ",\n", map->matrix ? "true" : "false", map->line, map->result,
                map->matrix ? (map->rows + pool - 1) / pool : map->rows, (map->columns + pool - 1) / pool, pool);
    put_pooled(page, map, pool, &b);
    sink_puts(page->sink, "\"}");
}

void html_map_data(struct html_page *page)
{
    struct map map;
    size_t n = 0, done = 0;
    for (size_t i = 0; i < page->n_lines; i++)
        n += layers_of(page, i, &map);
    for (size_t i = 0; i < page->input->n; i++)
        n += matrix_of(page, i, &map);
    sink_puts(page->sink, "[");
    for (size_t i = 0; i < page->n_lines; i++)
        if (layers_of(page, i, &map))
            put_map_data(page, &map, PAGE_CELLS / n, done++ == 0);
    for (size_t i = 0; i < page->input->n; i++)
        if (matrix_of(page, i, &map))
            put_map_data(page, &map, PAGE_CELLS / n, done++ == 0);
    sink_puts(page->sink, "]");
}
