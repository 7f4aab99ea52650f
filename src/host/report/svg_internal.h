/* svg_internal.h: parts of report_svg.c. A figure is drawn from top to bottom, in points; its head, which says how high it became, comes
 * first in the file, so the body is kept until the end. */
#ifndef JSC_SVG_INTERNAL_H
#define JSC_SVG_INTERNAL_H

#include "report_internal.h"

#define SVG_RED  "#c81e1e"
#define SVG_PALE "#e9a0a0" /* of SVG_RED: predictions that are not the target */
#define SVG_BLUE "#2171b5"
#define SVG_GREY "#595959"
#define SVG_LINE "#b0b0b0"

/* ---- svg_canvas.c --------------------------------------------------------------------------------------------------------------- */

struct svg {
    struct strbuf body;
    struct sink *sink;
    const jsc_report_options *options;
    double width;       /* pt */
    double y;           /* where the next part begins */
    double font, small; /* of tokens, of everything else; pt */
};
enum svg_anchor { SVG_START, SVG_MIDDLE, SVG_END };
/* How a text is drawn. */
struct svg_style {
    double size;
    enum svg_anchor anchor;
    const char *fill; /* NULL: black */
    bool bold, rotated;
};
/* y: of the base line */
void svg_text(struct svg *svg, double x, double y, const struct svg_style *style, const char *text, size_t n);
void svg_textf(struct svg *svg, double x, double y, const struct svg_style *style, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
/* Grey text from svg->y on, wrapped to the figure's width; moves svg->y. */
void svg_paragraph(struct svg *svg, const char *text, bool bold);
void svg_rect(struct svg *svg, double x, double y, double width, double height, const char *fill);
void svg_rule(struct svg *svg, double x1, double y1, double x2, double y2);
void svg_escaped(struct svg *svg, const char *text, size_t n);
/* Cells of text as it is shown; how wide so many are. */
int svg_cells(const char *text, size_t n);
double svg_wide(int cells, double size);
/* Adds the name of a token for a label: its text without spaces in front, cut to at most so many cells, or its id. */
void svg_name(struct strbuf *out, int32_t id, const char *text, int cells);
/* "#rrggbb" of a share -1..1, and the colour of letters on it. */
const char *svg_colour(double share, char out[8]);

/* ---- a panel: one row of scores of one result, or a difference of two ------------------------------------------------------------- */

struct svg_panel {
    const jsc_attribution *a, *b; /* b: NULL, or what is subtracted from a */
    size_t line;
    const double *values; /* [T] */
    double largest;       /* magnitude of a value */
    bool shares;          /* difference: of shares */
};
/* Each draws with its top at svg->y and returns how high it is. */
double svg_prompt(struct svg *svg, const struct svg_panel *panel, double width); /* svg_prompt.c: token boxes, colour bar */
double svg_series(struct svg *svg, const struct svg_panel *panel, double width); /* svg_series.c */
/* svg_bars.c: predictions at the right edge; svg_bars_width: how wide, 0 if there are none. */
double svg_bars_width(struct svg *svg, const struct svg_panel *panel);
double svg_bars(struct svg *svg, const struct svg_panel *panel);
/* svg_map.c: rows x tokens as a heat map, if the result has them; moves svg->y. */
void svg_layers(struct svg *svg, const struct svg_panel *panel);
void svg_matrix(struct svg *svg, const struct svg_panel *panel);
void svg_path(struct svg *svg, const struct svg_panel *panel);

#endif
