/* test_page_style.c: the colours of the HTML report's style: readable letters on every step, the ramps of the terminal. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "html_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static double luminance(const unsigned rgb[3])
{
    const double w[3] = {0.2126, 0.7152, 0.0722};
    double sum = 0.0;
    for (int c = 0; c < 3; c++) {
        const double v = rgb[c] / 255.0;
        sum += w[c] * (v <= 0.04045 ? v / 12.92 : pow((v + 0.055) / 1.055, 2.4));
    }
    return sum;
}

static double contrast(const unsigned a[3], const unsigned b[3])
{
    const double x = luminance(a), y = luminance(b);
    return (fmax(x, y) + 0.05) / (fmin(x, y) + 0.05);
}

/* "#fff", "#12ab34" or "light-dark(a, b)" */
static const char *read_colour(const char *text, unsigned theme, unsigned rgb[3])
{
    const char *end = strchr(text, ';');
    if (strncmp(text, "light-dark(", 11) == 0)
        text = theme == 0 ? text + 11 : strchr(text, ',') + 2;
    if (sscanf(text, "#%2x%2x%2x", &rgb[0], &rgb[1], &rgb[2]) != 3) {
        cr_assert(eq(int, sscanf(text, "#%1x%1x%1x", &rgb[0], &rgb[1], &rgb[2]), 3), "%.30s", text);
        for (int c = 0; c < 3; c++)
            rgb[c] *= 17;
    }
    return end;
}

static void read_class(char ramp, int step, unsigned theme, unsigned back[3], unsigned front[3])
{
    char rule[40];
    snprintf(rule, sizeof rule, ".%c%d { background-color: ", ramp, step);
    const char *at = strstr(page_style, rule);
    cr_assert(at != NULL, "%s", rule);
    at = read_colour(at + strlen(rule), theme, back);
    cr_assert(eq(int, strncmp(at, "; color: ", 9), 0), "%.40s", at);
    read_colour(at + 9, theme, front);
}

Test(page_style, letters_have_a_contrast_of_4_5_on_every_step_in_light_and_dark)
{
    for (unsigned theme = 0; theme < 2; theme++)
        for (const char *ramp = "bdc"; *ramp != '\0'; ramp++)
            for (int step = 0; step < 64; step++) {
                unsigned back[3], front[3];
                read_class(*ramp, step, theme, back, front);
                cr_expect(le(dbl, 4.5, contrast(back, front)), "%c%d in theme %u", *ramp, step, theme);
            }
}

Test(page_style, ramps_rise_and_the_light_one_is_that_of_the_terminal)
{
    unsigned back[3], front[3];
    double before[2] = {2.0, -1.0};
    for (int step = 0; step < 64; step++) {
        char open[48], wanted[48];
        read_class('b', step, 0, back, front);
        cr_expect(lt(dbl, luminance(back), before[0]), "step %d", step);
        before[0] = luminance(back);
        ramp_open(JSC_COLOUR_TRUE, step / 63.0, open);
        snprintf(wanted, sizeof wanted, "\033[48;2;%u;%u;%u;38;2;%u;%u;%um", back[0], back[1], back[2], front[0], front[1], front[2]);
        cr_expect(eq(str, open, wanted), "step %d", step);
        read_class('b', step, 1, back, front);
        cr_expect(lt(dbl, before[1], luminance(back)), "step %d, dark", step);
        before[1] = luminance(back);
    }
    for (int step = 0; step < 64; step++) { /* both sides of 0 begin with the same colour */
        char open[48], wanted[48];
        read_class('d', step, 0, back, front);
        ramp_open_diverging(JSC_COLOUR_TRUE, step < 32 ? (step - 31) / 31.0 : (step - 32) / 31.0, open);
        snprintf(wanted, sizeof wanted, "\033[48;2;%u;%u;%u;38;2;%u;%u;%um", back[0], back[1], back[2], front[0], front[1], front[2]);
        cr_expect(eq(str, open, wanted), "step %d", step);
    }
}
