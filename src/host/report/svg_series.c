/* svg_series.c: a prompt of numbers as a plot: scores as blue bars over the position in the series, the numbers as a red line, the target
 * as a red bar. */
#include "svg_internal.h"

#include <math.h>
#include <string.h>

/* The plot's own coordinates. */
struct plot {
    struct svg *svg;
    const struct svg_panel *panel;
    struct series series;
    double left, top, width, height;
    double low, high; /* of the numbers */
    double largest;   /* of the scores */
    size_t before;    /* numbers up to the target position */
    double right;     /* room for the numbers' axis */
};

static double at_x(const struct plot *p, double place) /* the target has a place of its own */
{
    return p->left + place / ((double)p->series.n + 1.0) * p->width;
}

static double at_value(const struct plot *p, double value)
{
    const double share = p->high > p->low ? (value - p->low) / (p->high - p->low) : 0.5;
    return p->top + p->height * (0.96 - 0.92 * share);
}

/* Number i's place; those after the target have made room for it. */
static double place_of(const struct plot *p, size_t i)
{
    return (double)i + (i >= p->before ? 1.0 : 0.0);
}

static void measure(struct plot *p)
{
    const struct series *s = &p->series;
    p->low = s->numbers[0].value, p->high = s->numbers[0].value;
    for (size_t i = 0; i < s->n; i++) {
        p->low = fmin(p->low, s->numbers[i].value);
        p->high = fmax(p->high, s->numbers[i].value);
        p->largest = fmax(p->largest, s->numbers[i].score);
        if (s->numbers[i].first <= p->panel->a->position)
            p->before = i + 1;
    }
}

/* A round distance of marks: 1, 2 or 5 times a power of ten, at most so many in the range. */
static double mark_step(double range, int most)
{
    const double raw = range / most, power = pow(10.0, floor(log10(raw)));
    return raw <= power ? power : raw <= 2.0 * power ? 2.0 * power : raw <= 5.0 * power ? 5.0 * power : 10.0 * power;
}

static void put_axes(const struct plot *p)
{
    struct svg *svg = p->svg;
    const double size = svg->small, bottom = p->top + p->height, right = p->left + p->width, gap = 0.4 * size;
    const struct svg_style blue = {size, SVG_END, SVG_BLUE, false, false}, red = {size, SVG_START, SVG_RED, false, false},
                           grey = {size, SVG_MIDDLE, SVG_GREY, false, false}, blue_up = {size, SVG_MIDDLE, SVG_BLUE, false, true},
                           red_up = {size, SVG_MIDDLE, SVG_RED, false, true};
    const double distance = mark_step((double)p->series.n + 1.0, 6);
    const size_t step = distance > 1.0 ? (size_t)distance : 1;

    svg_rule(svg, p->left, p->top, p->left, bottom);
    svg_rule(svg, right, p->top, right, bottom);
    svg_rule(svg, p->left, bottom, right, bottom);
    svg_textf(svg, p->left - gap, p->top + 0.7 * size, &blue, "%.3g", p->largest);
    svg_textf(svg, p->left - gap, bottom, &blue, "0");
    svg_textf(svg, right + gap, at_value(p, p->high) + 0.3 * size, &red, "%.4g", p->high);
    if (p->high > p->low)
        svg_textf(svg, right + gap, at_value(p, p->low) + 0.3 * size, &red, "%.4g", p->low);
    svg_textf(svg, size, p->top + 0.5 * p->height, &blue_up, "Influence");
    svg_textf(svg, right + p->right, p->top + 0.5 * p->height, &red_up, "value");
    for (size_t place = 0; place <= p->series.n; place += step) {
        const double x = at_x(p, (double)place + 0.5);
        svg_rule(svg, x, bottom, x, bottom + 2.0);
        svg_textf(svg, x, bottom + 1.2 * size, &grey, "%zu", place);
    }
    svg_textf(svg, p->left + 0.5 * p->width, bottom + 2.4 * size, &grey, "number in the series");
}

static void put_bars(const struct plot *p)
{
    struct svg *svg = p->svg;
    const double one = at_x(p, 1.0) - at_x(p, 0.0);
    for (size_t i = 0; i < p->before; i++) {
        const struct series_number *number = &p->series.numbers[i];
        const double height = p->height * ramp_share(number->score, p->largest);
        strbuf_printf(&svg->body, "<rect x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\"><title>", at_x(p, (double)i) + 0.1 * one,
                      p->top + p->height - height, 0.8 * one, height);
        strbuf_printf(&svg->body, "number %zu: %g, influence %.4g (token", i, number->value, number->score);
        if (number->n > 1)
            strbuf_printf(&svg->body, "s %zu to %zu)</title></rect>\n", number->first, number->first + number->n - 1);
        else
            strbuf_printf(&svg->body, " %zu)</title></rect>\n", number->first);
    }
}

static void put_target(const struct plot *p)
{
    struct svg *svg = p->svg;
    const double x = at_x(p, (double)p->before), one = at_x(p, 1.0) - at_x(p, 0.0), width = one > 1.6 ? 0.8 * one : 1.3;
    strbuf_printf(&svg->body,
                  "<rect x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\" fill=\"" SVG_RED "\"><title>target: what is explained</title>"
                  "</rect>\n",
                  x + 0.5 * (one - width), p->top, width, p->height);
}

/* From number `from` up to, not with, `until`. */
static void put_line(const struct plot *p, size_t from, size_t until, const char *more)
{
    struct strbuf *s = &p->svg->body;
    if (until < from + 2)
        return;
    const double one = at_x(p, 1.0) - at_x(p, 0.0), stroke = fmin(fmax(0.3 * one, 0.5), 0.8);
    strbuf_printf(s, "<polyline fill=\"none\" stroke=\"" SVG_RED "\" stroke-width=\"%.2f\" stroke-linejoin=\"round\"%s points=\"", stroke,
                  more);
    for (size_t i = from; i < until; i++)
        strbuf_printf(s, i > from ? " %.2f,%.2f" : "%.2f,%.2f", at_x(p, place_of(p, i) + 0.5), at_value(p, p->series.numbers[i].value));
    strbuf_puts(s, "\"/>\n");
}

double svg_series(struct svg *svg, const struct svg_panel *panel, double width)
{
    const double size = svg->small, left = svg_wide(6, size) + 1.2 * size, right = svg_wide(5, size) + 1.2 * size;
    struct plot p = {.svg = svg,
                     .panel = panel,
                     .left = left,
                     .top = svg->y + 2.0,
                     .width = width - left - right,
                     .right = right,
                     .height = 60.0 + 0.09 * svg->width};

    if (series_make(panel->a, panel->values, &p.series, NULL) != JSC_OK)
        svg->body.failed = true;
    else if (p.series.n < 2)
        sink_fail(svg->sink, JSC_E_ARGUMENT, "a series is wanted, but the prompt has fewer than two numbers");
    else {
        measure(&p);
        strbuf_puts(&svg->body, "<g fill=\"" SVG_BLUE "\">\n");
        put_bars(&p);
        strbuf_puts(&svg->body, "</g>\n");
        put_target(&p);
        put_line(&p, 0, p.before, "");
        put_line(&p, p.before, p.series.n, " stroke-dasharray=\"1.5 1.5\"");
        put_axes(&p);
    }
    series_free(&p.series);
    return p.height + 3.2 * size;
}
