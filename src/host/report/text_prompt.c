/* text_prompt.c: the prompt wrapped to the width, each token on a background that shows its score (or over marks), the target after
 * token p, what follows p in grey; scores, or signed values on a diverging scale. */
#include "report_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* A line of text and, without colour, the lines of signs (on a diverging scale) and marks under it. */
struct painter {
    const struct text_report *r;
    bool diverging;
    struct strbuf text, signs, marks;
    int column;
};

/* What the cells of one token look like. */
struct look {
    char open[48];           /* escape sequence; "" without colour */
    const char *mark, *sign; /* under the cells, without colour */
};

static void put_under(struct sink *sink, const struct strbuf *line)
{
    size_t n = line->n;
    while (n > 0 && line->text[n - 1] == ' ')
        n--;
    sink_write(sink, line->text, n);
    sink_puts(sink, "\n");
}

static void flush_line(struct painter *p)
{
    struct sink *sink = p->r->sink;
    if (p->text.failed || p->marks.failed || p->signs.failed)
        sink_fail(sink, JSC_E_MEMORY, "no memory for a line of the report");
    sink_write(sink, p->text.text, p->text.n);
    sink_puts(sink, "\n");
    if (p->r->colour == JSC_COLOUR_NONE && p->diverging)
        put_under(sink, &p->signs);
    if (p->r->colour == JSC_COLOUR_NONE)
        put_under(sink, &p->marks);
    p->text.n = p->marks.n = p->signs.n = 0;
    p->column = 0;
}

static int cells_of(const struct painter *p, const char *text)
{
    struct piece piece;
    int cells = 0;
    for (size_t i = 0, n = strlen(text); i < n;) {
        i += piece_shown(text + i, n - i, p->r->ascii, &piece);
        cells += piece.cells;
    }
    return cells;
}

/* Puts text on the line; a token that does not fit begins the next, one longer than a line is cut into lines. */
static void put_cells(struct painter *p, const char *text, const struct look *look)
{
    const size_t n = strlen(text);
    struct piece piece;
    bool open = false;

    if (p->column > 0 && p->column + cells_of(p, text) > p->r->width)
        flush_line(p);
    for (size_t i = 0; i < n;) {
        i += piece_shown(text + i, n - i, p->r->ascii, &piece);
        if (p->column > 0 && p->column + piece.cells > p->r->width) {
            if (open && look->open[0] != '\0')
                strbuf_puts(&p->text, "\033[0m");
            open = false;
            flush_line(p);
        }
        if (!open)
            strbuf_puts(&p->text, look->open);
        open = true;
        strbuf_add(&p->text, piece.text, piece.n);
        p->column += piece.cells;
        const bool blank = piece.n == 1 && piece.text[0] == ' ';
        for (int c = 0; c < piece.cells; c++) { /* a token that is only a space keeps its mark */
            strbuf_puts(&p->marks, blank && n > 1 ? " " : look->mark);
            strbuf_puts(&p->signs, blank && n > 1 ? " " : look->sign);
        }
    }
    if (open && look->open[0] != '\0')
        strbuf_puts(&p->text, "\033[0m");
}

static void look_plain(const struct text_report *r, const char *open, const char *mark, struct look *look)
{
    (void)snprintf(look->open, sizeof look->open, "%s", r->colour == JSC_COLOUR_NONE ? "" : open);
    look->mark = mark;
    look->sign = " ";
}

/* The predicted token, or the distribution, in red reverse (in brackets without colour). */
static void put_target(struct painter *p, size_t line)
{
    const jsc_attribution *a = p->r->a;
    const bool one = a->targets != NULL && line < a->n_targets, ascii = p->r->ascii;
    const char *open = ascii ? "<" : "⟨", *close = ascii ? ">" : "⟩";
    struct strbuf label = {0};
    struct look look;

    look_plain(p->r, "\033[1;7;31m", "^", &look);
    if (one && a->targets[line].text != NULL)
        strbuf_printf(&label, p->r->colour == JSC_COLOUR_NONE ? "[%s]" : "%s", a->targets[line].text);
    else if (one)
        strbuf_printf(&label, "%sid %d%s", open, (int)a->targets[line].id, close);
    else
        strbuf_printf(&label, "%s%s%s", open, a->scope == JSC_SCOPE_DIRECTION ? "direction" : "predicted distribution", close);
    if (label.failed)
        sink_fail(p->r->sink, JSC_E_MEMORY, "no memory for the target of the report");
    else
        put_cells(p, label.text, &look);
    strbuf_free(&label);
}

static void put_token(struct painter *p, size_t t, const struct look *look)
{
    const jsc_scored_token *token = &p->r->a->tokens[t];
    char id[32];
    if (token->text == NULL) {
        (void)snprintf(id, sizeof id, "<id %d>", (int)token->id);
        put_cells(p, id, look);
        return;
    }
    put_cells(p, token->text, look);
    const size_t n = strlen(token->text);
    if (n > 0 && token->text[n - 1] == '\n') /* shown as \n, and obeyed */
        flush_line(p);
}

/* What the backgrounds or marks mean. */
static void put_scale(const struct text_report *r, double largest, bool diverging)
{
    const bool colours = r->colour != JSC_COLOUR_NONE;
    const int steps = colours ? 10 : 5;
    char open[48];
    if (diverging)
        sink_printf(r->sink, "- %.4g ", largest);
    else
        sink_puts(r->sink, "0 ");
    for (int i = diverging ? -steps : 0; i < steps; i++) {
        const double share = (i + 0.5) / steps;
        ramp_open_diverging(r->colour, share, open);
        sink_puts(r->sink, open);
        sink_puts(r->sink, colours ? " " : ramp_mark(r->ascii, fabs(share)));
    }
    sink_printf(r->sink, "%s %.4g%s\n", colours ? "\033[0m" : "", largest, diverging ? " +" : "");
}

static void look_of(const struct painter *p, double value, double largest, struct look *look)
{
    const double share = ramp_share(fabs(value), largest);
    if (p->diverging)
        ramp_open_diverging(p->r->colour, value < 0.0 ? -share : share, look->open);
    else
        ramp_open(p->r->colour, ramp_share(value, largest), look->open);
    look->mark = ramp_mark(p->r->ascii, p->diverging ? share : ramp_share(value, largest));
    look->sign = value > 0.0 ? "+" : value < 0.0 ? "-" : " ";
}

static void paint(struct painter *p, const double *values, size_t last, const size_t *target)
{
    const jsc_attribution *a = p->r->a;
    struct look look;
    double largest = 0.0;

    for (size_t t = 0; t < a->n_tokens; t++)
        if ((p->diverging ? fabs(values[t]) : values[t]) > largest)
            largest = fabs(values[t]);
    for (size_t t = 0; t < a->n_tokens; t++) {
        if (t > last)
            look_plain(p->r, "\033[90m", " ", &look);
        else
            look_of(p, values[t], largest, &look);
        put_token(p, t, &look);
        if (t == a->position && target != NULL)
            put_target(p, *target);
    }
    if (p->column > 0)
        flush_line(p);
    put_scale(p->r, largest, p->diverging);
    strbuf_free(&p->text);
    strbuf_free(&p->signs);
    strbuf_free(&p->marks);
}

void text_prompt(const struct text_report *r, size_t line)
{
    paint(&(struct painter){.r = r}, r->a->scores + line * r->a->n_tokens, r->a->position, &line);
}

void text_prompt_diverging(const struct text_report *r, const double *values, size_t last, const size_t *target)
{
    paint(&(struct painter){.r = r, .diverging = true}, values, last, target);
}
