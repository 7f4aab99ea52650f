/* svg_bars.c: the likeliest next tokens as red bars at the right edge, with the target among them. */
#include "svg_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TOP_K     7
#define LABEL_MAX 13   /* cells */
#define NUMBER    7    /* cells of "12.34 %" */
#define BAR       0.13 /* of the figure's width */
#define ROW       1.5  /* of the size */

static size_t count_shown(const struct svg *svg, const jsc_attribution *a)
{
    const size_t k = svg->options->top_k >= 0 ? (size_t)svg->options->top_k : TOP_K;
    return k < a->n_predictions ? k : a->n_predictions;
}

static const jsc_prediction *target_of(const struct svg_panel *panel)
{
    const jsc_attribution *a = panel->a;
    return a->targets != NULL && panel->line < a->n_targets ? &a->targets[panel->line] : NULL;
}

static int name_cells(struct svg *svg, const jsc_prediction *p)
{
    struct strbuf name = {0};
    svg_name(&name, p->id, p->text, LABEL_MAX);
    const int cells = svg_cells(name.text, name.n);
    svg->body.failed = svg->body.failed || name.failed;
    strbuf_free(&name);
    return cells;
}

/* The widest of the labels that will stand there. */
static int label_cells(struct svg *svg, const struct svg_panel *panel)
{
    const int most = svg->width < 320.0 ? LABEL_MAX - 4 : LABEL_MAX;
    const jsc_prediction *target = target_of(panel);
    int widest = target != NULL ? name_cells(svg, target) : 0;
    for (size_t i = 0; i < count_shown(svg, panel->a); i++) {
        const int cells = name_cells(svg, &panel->a->predictions[i]);
        widest = cells > widest ? cells : widest;
    }
    return widest < most ? widest : most;
}

double svg_bars_width(struct svg *svg, const struct svg_panel *panel)
{
    if (count_shown(svg, panel->a) == 0)
        return 0.0;
    return svg_wide(label_cells(svg, panel) + 1 + NUMBER, svg->small) + BAR * svg->width;
}

/* A number as the whole text of a token; others are beyond all numbers. */
static double number_of(const jsc_prediction *p)
{
    char *end = NULL;
    const double value = p->text != NULL ? strtod(p->text, &end) : 0.0;
    return end != NULL && end != p->text && *end == '\0' && isfinite(value) ? value : (double)INFINITY;
}

/* Of a series the predictions stand in the order of their values, as on an axis. */
static void sort_by_value(const jsc_prediction **shown, size_t n)
{
    for (size_t i = 1; i < n; i++)
        for (size_t k = i; k > 0 && number_of(shown[k]) < number_of(shown[k - 1]); k--) {
            const jsc_prediction *swap = shown[k];
            shown[k] = shown[k - 1];
            shown[k - 1] = swap;
        }
}

struct bars {
    struct svg *svg;
    double x, y; /* left end of the bars, top of the next row */
    double largest;
    const jsc_prediction *target;
    int label; /* cells */
};

static void put_row(struct bars *b, const jsc_prediction *p)
{
    struct svg *svg = b->svg;
    const bool is_target = b->target != NULL && b->target->id == p->id;
    const double size = svg->small, base = b->y + 1.05 * size, gap = 0.5 * svg_wide(1, size);
    const double length = BAR * svg->width * ramp_share(p->probability, b->largest);
    const struct svg_style label = {size, SVG_END, NULL, is_target, false}, number = {size, SVG_START, NULL, is_target, false};
    struct strbuf name = {0};

    svg_name(&name, p->id, p->text, b->label);
    strbuf_puts(&svg->body, "<g><title>");
    svg_escaped(svg, p->text, p->text == NULL ? 0 : strlen(p->text));
    strbuf_printf(&svg->body, " id %" PRId32 ": probability %.4g, logit %.4g%s</title>\n", p->id, p->probability, p->logit,
                  is_target ? ", the target" : "");
    svg_text(svg, b->x - gap, base, &label, name.text, name.n);
    svg_rect(svg, b->x, b->y + 0.2 * size, length > 0.4 ? length : 0.4, 1.1 * size, b->target == NULL || is_target ? SVG_RED : SVG_PALE);
    const double percent = 100.0 * p->probability;
    svg_textf(svg, b->x + length + gap, base, &number, percent >= 9.95 ? "%.1f %%" : percent >= 0.01 ? "%.2g %%" : "%.0e %%", percent);
    strbuf_puts(&svg->body, "</g>\n");
    svg->body.failed = svg->body.failed || name.failed;
    strbuf_free(&name);
    b->y += ROW * size;
}

double svg_bars(struct svg *svg, const struct svg_panel *panel)
{
    const jsc_attribution *a = panel->a;
    const struct svg_style head = {svg->small, SVG_START, SVG_GREY, false, false};
    const size_t n = count_shown(svg, a);
    const jsc_prediction **shown = NULL;
    struct bars b = {
        svg, svg->width - BAR * svg->width - svg_wide(NUMBER, svg->small), svg->y, 0.0, target_of(panel), label_cells(svg, panel)};
    bool there = b.target == NULL;

    if (n == 0)
        return 0.0;
    if (mem_new(&shown, n, NULL) != JSC_OK) {
        svg->body.failed = true;
        return 0.0;
    }
    for (size_t i = 0; i < n; i++) {
        shown[i] = &a->predictions[i];
        b.largest = shown[i]->probability > b.largest ? shown[i]->probability : b.largest;
        there = there || shown[i]->id == b.target->id;
    }
    if (svg->options->series != 0)
        sort_by_value(shown, n);
    svg_textf(svg, b.x, b.y + svg->small, &head, "predicted");
    b.y += ROW * svg->small;
    for (size_t i = 0; i < n; i++)
        put_row(&b, shown[i]);
    if (!there) {
        b.y += 0.4 * svg->small;
        put_row(&b, b.target);
    }
    mem_free(shown);
    return b.y - svg->y;
}
