/* svg_prompt.c: the prompt as wrapped token boxes, the colour of each by its score; the target in red after token p; the colour bar. */
#include "svg_internal.h"

#include <stdio.h>
#include <string.h>

/* In sizes of the font. */
#define BOX 1.42 /* height of a box */
#define ROW 1.72
#define PAD 0.12 /* between a box and its letters */
#define GAP 0.12 /* between two boxes */

struct boxes {
    struct svg *svg;
    double width, x, y; /* where the next box begins */
};

/* What the boxes of one token look like. */
struct look {
    const char *fill, *stroke, *letters;
    bool bold;
};

static void next_row(struct boxes *b)
{
    b->x = 0.0;
    b->y += ROW * b->svg->font;
}

static bool is_blank(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (text[i] != ' ')
            return false;
    return true;
}

/* One box with text[n] in its middle, so that a font of other width fits as well as it can. Its own spaces count, and show only where there
 * is nothing else. */
static void put_box(struct boxes *b, const char *text, size_t n, int cells, const struct look *look)
{
    struct svg *svg = b->svg;
    const double width = svg_wide(cells > 0 ? cells : 1, svg->font) + 2.0 * PAD * svg->font, height = BOX * svg->font;
    const struct svg_style style = {svg->font, SVG_MIDDLE, look->letters, look->bold, false};
    const double middle = b->x + 0.5 * width, base = b->y + 0.5 * height + 0.35 * svg->font;

    strbuf_printf(&svg->body, "<rect x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\" rx=\"%.2f\" fill=\"%s\"", b->x, b->y, width,
                  height, 0.22 * svg->font, look->fill);
    if (look->stroke != NULL)
        strbuf_printf(&svg->body, " stroke=\"%s\" stroke-width=\"0.5\"", look->stroke);
    strbuf_puts(&svg->body, "/>");
    b->x += width;
    if (is_blank(text, n)) {
        struct strbuf spaces = {0};
        for (int i = 0; i < cells; i++)
            strbuf_puts(&spaces, "␣");
        svg_text(svg, middle, base, &style, spaces.text, spaces.n);
        svg->body.failed = svg->body.failed || spaces.failed;
        strbuf_free(&spaces);
        return;
    }
    while (text[0] == ' ')
        text++, n--;
    while (text[n - 1] == ' ')
        n--;
    svg_text(svg, middle, base, &style, text, n);
}

/* The boxes of one token: one, unless it is longer than a row. What does not fit begins the next row. */
static void put_boxes(struct boxes *b, const char *text, size_t n, bool linked, const struct look *look)
{
    struct piece piece;
    const double room = b->width - 2.0 * PAD * b->svg->font;
    const int row = (int)(room / svg_wide(1, b->svg->font)), all = svg_cells(text, n);
    size_t begin = 0;
    int used = 0;

    if (b->x > 0.0 && !linked)
        b->x += GAP * b->svg->font;
    if (b->x > 0.0 && b->x + svg_wide(all, b->svg->font) > room)
        next_row(b);
    for (size_t i = 0; i < n;) {
        const size_t taken = piece_shown(text + i, n - i, false, &piece);
        if (used > 0 && used + piece.cells > row) {
            put_box(b, text + begin, i - begin, used, look);
            next_row(b);
            begin = i, used = 0;
        }
        used += piece.cells;
        i += taken;
    }
    put_box(b, text + begin, n - begin, used, look);
}

/* What is read when the pointer rests on a token. */
static void put_token_title(struct svg *svg, const struct svg_panel *panel, size_t t)
{
    const jsc_attribution *a = panel->a;
    const jsc_scored_token *token = &a->tokens[t];
    strbuf_printf(&svg->body, "<g><title>token %zu ", t);
    if (token->text != NULL) {
        strbuf_puts(&svg->body, "&quot;");
        svg_escaped(svg, token->text, strlen(token->text));
        strbuf_puts(&svg->body, "&quot;, ");
    }
    strbuf_printf(&svg->body, "id %" PRId32, token->id);
    if (t > a->position)
        strbuf_puts(&svg->body, ": after the target");
    else if (panel->b != NULL)
        strbuf_printf(&svg->body, ": %+.4g", panel->values[t]);
    else
        strbuf_printf(&svg->body, ": %.4g", panel->values[t]);
    if (t <= a->position && panel->b == NULL && a->stderrs != NULL)
        strbuf_printf(&svg->body, " ± %.2g", a->stderrs[t]);
    if (t <= a->position && panel->b == NULL && a->signed_scores != NULL)
        strbuf_printf(&svg->body, ", signed %+.4g", a->signed_scores[panel->line * a->n_tokens + t]);
    strbuf_puts(&svg->body, "</title>");
}

static void put_token(struct boxes *b, const struct svg_panel *panel, size_t t)
{
    const jsc_scored_token *token = &panel->a->tokens[t];
    struct look look = {"none", SVG_LINE, SVG_GREY, false};
    struct strbuf id = {0};
    char colour[8];

    put_token_title(b->svg, panel, t);
    if (t <= panel->a->position) {
        const double share = ramp_share(panel->values[t], panel->largest) - ramp_share(-panel->values[t], panel->largest);
        look.letters = svg_colour(share, colour);
        look.fill = colour;
        look.stroke = share > -0.08 && share < 0.08 ? "#d5dde6" : NULL; /* nearly white: a box all the same */
    }
    if (token->text == NULL)
        svg_name(&id, token->id, NULL, 0);
    const char *text = token->text != NULL ? token->text : id.failed ? "" : id.text;
    const size_t n = strlen(text);
    put_boxes(b, text, n, token->linked != 0 && token->text != NULL, &look);
    strbuf_puts(&b->svg->body, "</g>\n");
    b->svg->body.failed = b->svg->body.failed || id.failed;
    if (n > 0 && text[n - 1] == '\n') /* shown as \n, and obeyed */
        next_row(b);
    strbuf_free(&id);
}

/* The token or distribution that is explained. */
static void put_target(struct boxes *b, const struct svg_panel *panel)
{
    static const struct look red = {SVG_RED, NULL, "#fff", true};
    const jsc_attribution *a = panel->a;
    const bool one = a->targets != NULL && panel->line < a->n_targets;
    struct strbuf label = {0};

    if (one && a->targets[panel->line].text != NULL)
        strbuf_puts(&label, a->targets[panel->line].text);
    else if (one)
        strbuf_printf(&label, "id %" PRId32, a->targets[panel->line].id);
    else if (a->scope == JSC_SCOPE_DIRECTION)
        strbuf_puts(&label, "⟨direction⟩");
    else
        strbuf_puts(&label, "⟨predicted distribution⟩");
    strbuf_puts(&b->svg->body, "<g><title>target: what is explained</title>");
    if (label.failed)
        b->svg->body.failed = true;
    else
        put_boxes(b, label.text, label.n, false, &red);
    strbuf_puts(&b->svg->body, "</g>\n");
    strbuf_free(&label);
}

static const char *scale_words(const struct svg_panel *panel)
{
    return panel->b == NULL ? "Influence" : panel->shares ? "(a) − (b), in shares of the sum" : "(a) − (b)";
}

/* The thin colour bar and what its ends mean; returns its height. */
static double put_scale(struct svg *svg, const struct svg_panel *panel, double y)
{
    const struct svg_style style = {svg->small, SVG_START, NULL, false, false};
    const double base = y + 0.85 * svg->small, bar = 0.16 * svg->width, cell = svg_wide(1, svg->small);
    const char *words = scale_words(panel);
    char low[32] = "0";
    double x = 0.0;

    svg_textf(svg, x, base, &style, "%s", words);
    x += svg_wide(svg_cells(words, strlen(words)) + 2, svg->small);
    if (panel->b != NULL)
        (void)snprintf(low, sizeof low, "%.4g", -panel->largest);
    svg_textf(svg, x, base, &style, "%s", low);
    x += svg_wide((int)strlen(low), svg->small) + 0.5 * cell;
    svg_rect(svg, x, y + 0.25 * svg->small, bar, 0.5 * svg->small,
             panel->b != NULL ? "url(#jscopes-difference)" : "url(#jscopes-influence)");
    svg_textf(svg, x + bar + 0.5 * cell, base, &style, "%.4g", panel->largest);
    return 1.3 * svg->small;
}

double svg_prompt(struct svg *svg, const struct svg_panel *panel, double width)
{
    struct boxes boxes = {svg, width, 0.0, svg->y};
    const jsc_attribution *a = panel->a;
    for (size_t t = 0; t < a->n_tokens; t++) {
        put_token(&boxes, panel, t);
        if (t == a->position)
            put_target(&boxes, panel);
    }
    if (boxes.x > 0.0)
        next_row(&boxes);
    boxes.y += 0.3 * svg->font;
    return boxes.y + put_scale(svg, panel, boxes.y) - svg->y;
}
