/* svg_canvas.c: what every part of an SVG figure is drawn with: text, rectangles, lines, names of tokens, colours. */
#include "svg_internal.h"

#include <stdio.h>
#include <string.h>

/* SVG cannot measure text: a cell of DejaVu Sans Mono and Menlo is this much of the size, of the others hardly less. */
#define CELL 0.602

double svg_wide(int cells, double size)
{
    return cells * CELL * size;
}

int svg_cells(const char *text, size_t n)
{
    struct piece piece;
    int cells = 0;
    for (size_t i = 0; i < n;) {
        i += piece_shown(text + i, n - i, false, &piece);
        cells += piece.cells;
    }
    return cells;
}

void svg_escaped(struct svg *svg, const char *text, size_t n)
{
    struct piece piece;
    for (size_t i = 0; i < n;) {
        i += piece_xml(text + i, n - i, &piece);
        strbuf_add(&svg->body, piece.text, piece.n);
    }
}

void svg_text(struct svg *svg, double x, double y, const struct svg_style *style, const char *text, size_t n)
{
    static const char *const anchors[] = {"", " text-anchor=\"middle\"", " text-anchor=\"end\""};
    struct strbuf *s = &svg->body;
    strbuf_printf(s, "<text x=\"%.2f\" y=\"%.2f\" font-size=\"%.3g\"%s", x, y, style->size, anchors[style->anchor]);
    if (style->fill != NULL)
        strbuf_printf(s, " fill=\"%s\"", style->fill);
    if (style->bold)
        strbuf_puts(s, " font-weight=\"bold\"");
    if (style->rotated)
        strbuf_printf(s, " transform=\"rotate(-90 %.2f %.2f)\"", x, y);
    strbuf_puts(s, ">");
    svg_escaped(svg, text, n);
    strbuf_puts(s, "</text>\n");
}

void svg_textf(struct svg *svg, double x, double y, const struct svg_style *style, const char *format, ...)
{
    char small[256], *text = NULL;
    size_t n = 0;
    va_list arguments;
    va_start(arguments, format);
    if (text_format(small, sizeof small, &text, &n, format, arguments) == JSC_OK)
        svg_text(svg, x, y, style, text, n);
    else
        svg->body.failed = true;
    va_end(arguments);
    if (text != small)
        mem_free(text);
}

/* How many bytes of text stand on a line of at most so many cells: whole words, or as much of a long one as fits. */
static size_t line_of(const char *text, size_t n, int cells)
{
    struct piece piece;
    size_t word = 0;
    int used = 0;
    for (size_t i = 0; i < n;) {
        const size_t taken = piece_shown(text + i, n - i, false, &piece);
        if (text[i] == ' ')
            word = i + 1;
        used += piece.cells;
        if (used > cells && text[i] != ' ') /* a space may hang over */
            return word > 0 ? word : i > 0 ? i : taken;
        i += taken;
    }
    return n;
}

void svg_paragraph(struct svg *svg, const char *text, bool bold)
{
    const struct svg_style style = {svg->small, SVG_START, bold ? NULL : SVG_GREY, bold, false};
    const int cells = (int)(svg->width / svg_wide(1, svg->small));
    for (size_t i = 0, n = strlen(text); i < n;) {
        const size_t taken = line_of(text + i, n - i, cells);
        svg->y += 1.35 * svg->small;
        svg_text(svg, 0.0, svg->y - 0.3 * svg->small, &style, text + i, taken > 1 && text[i + taken - 1] == ' ' ? taken - 1 : taken);
        i += taken;
    }
}

void svg_rect(struct svg *svg, double x, double y, double width, double height, const char *fill)
{
    strbuf_printf(&svg->body, "<rect x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\" fill=\"%s\"/>\n", x, y, width, height, fill);
}

void svg_rule(struct svg *svg, double x1, double y1, double x2, double y2)
{
    strbuf_printf(&svg->body, "<path d=\"M%.2f %.2fL%.2f %.2f\" stroke=\"" SVG_LINE "\" stroke-width=\"0.6\"/>\n", x1, y1, x2, y2);
}

void svg_name(struct strbuf *out, int32_t id, const char *text, int cells)
{
    size_t n = text == NULL ? 0 : strlen(text), i = 0;
    struct piece piece;
    int used = 0;
    if (text == NULL) {
        strbuf_printf(out, "id %" PRId32, id);
        return;
    }
    while (i < n && text[i] == ' ') /* what stands in front shows in the title */
        i++;
    for (size_t k = 0; i == n && k < n; k++)
        strbuf_puts(out, "␣");
    while (i < n) {
        const size_t taken = piece_shown(text + i, n - i, false, &piece);
        if (used + piece.cells > cells - (i + taken < n)) { /* room for the dots unless this is the last */
            strbuf_puts(out, "…");
            break;
        }
        strbuf_add(out, text + i, taken);
        used += piece.cells;
        i += taken;
    }
}

const char *svg_colour(double share, char out[8])
{
    int rgb[3];
    const bool white = ramp_rgb(share, rgb);
    (void)snprintf(out, 8, "#%02x%02x%02x", (unsigned)rgb[0] & 255u, (unsigned)rgb[1] & 255u, (unsigned)rgb[2] & 255u);
    return white ? "#fff" : "#000";
}
