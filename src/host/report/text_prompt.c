/* text_prompt.c: the prompt wrapped to the width, each token on a background that shows its score (or over marks), the target after
 * token p, what follows p in grey. */
#include "report_internal.h"

#include <stdio.h>
#include <string.h>

/* A line of text and, without colour, the line of marks under it. */
struct painter {
    const struct text_report *r;
    struct strbuf text, marks;
    int column;
};

/* What the cells of one token look like. */
struct look {
    char open[48];    /* escape sequence; "" without colour */
    const char *mark; /* under the cells, without colour */
};

static void flush_line(struct painter *p)
{
    struct sink *sink = p->r->sink;
    if (p->text.failed || p->marks.failed)
        sink_fail(sink, JSC_E_MEMORY, "no memory for a line of the report");
    sink_write(sink, p->text.text, p->text.n);
    sink_puts(sink, "\n");
    if (p->r->colour == JSC_COLOUR_NONE) {
        size_t n = p->marks.n;
        while (n > 0 && p->marks.text[n - 1] == ' ')
            n--;
        sink_write(sink, p->marks.text, n);
        sink_puts(sink, "\n");
    }
    p->text.n = p->marks.n = 0;
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
        for (int c = 0; c < piece.cells; c++)
            strbuf_puts(&p->marks, blank && n > 1 ? " " : look->mark); /* a token that is only a space keeps its mark */
    }
    if (open && look->open[0] != '\0')
        strbuf_puts(&p->text, "\033[0m");
}

static void look_plain(const struct text_report *r, const char *open, const char *mark, struct look *look)
{
    (void)snprintf(look->open, sizeof look->open, "%s", r->colour == JSC_COLOUR_NONE ? "" : open);
    look->mark = mark;
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
static void put_scale(const struct text_report *r, double largest)
{
    char open[48];
    sink_puts(r->sink, "0 ");
    for (int i = 0; i < (r->colour == JSC_COLOUR_NONE ? 5 : 10); i++) {
        const double share = r->colour == JSC_COLOUR_NONE ? (i + 0.5) / 5.0 : (i + 0.5) / 10.0;
        ramp_open(r->colour, share, open);
        sink_puts(r->sink, open);
        sink_puts(r->sink, r->colour == JSC_COLOUR_NONE ? ramp_mark(r->ascii, share) : " ");
    }
    sink_printf(r->sink, "%s %.4g\n", r->colour == JSC_COLOUR_NONE ? "" : "\033[0m", largest);
}

void text_prompt(const struct text_report *r, size_t line)
{
    const jsc_attribution *a = r->a;
    const double *scores = a->scores + line * a->n_tokens;
    struct painter p = {.r = r};
    struct look look;
    double largest = 0.0;

    for (size_t t = 0; t < a->n_tokens; t++)
        if (scores[t] > largest)
            largest = scores[t];
    for (size_t t = 0; t < a->n_tokens; t++) {
        if (t > a->position)
            look_plain(r, "\033[90m", " ", &look);
        else {
            ramp_open(r->colour, ramp_share(scores[t], largest), look.open);
            look.mark = ramp_mark(r->ascii, ramp_share(scores[t], largest));
        }
        put_token(&p, t, &look);
        if (t == a->position)
            put_target(&p, line);
    }
    if (p.column > 0)
        flush_line(&p);
    put_scale(r, largest);
    strbuf_free(&p.text);
    strbuf_free(&p.marks);
}
