/* test_colour_ramp.c: shares of the largest score as colours that can be read, and as marks. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "report_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

Test(colour_ramp, a_share_is_in_0_to_1_whatever_the_scores_are)
{
    cr_expect(eq(dbl, ramp_share(1.0, 4.0), 0.25));
    cr_expect(eq(dbl, ramp_share(5.0, 4.0), 1.0));
    cr_expect(eq(dbl, ramp_share(-5.0, 4.0), 0.0));
    cr_expect(eq(dbl, ramp_share(0.0, 0.0), 0.0));
    cr_expect(eq(dbl, ramp_share(NAN, 1.0), 0.0));
    cr_expect(eq(dbl, ramp_share(1.0, NAN), 0.0));
}

static double luminance(int r, int g, int b)
{
    const double v[3] = {r / 255.0, g / 255.0, b / 255.0}, w[3] = {0.2126, 0.7152, 0.0722};
    double sum = 0.0;
    for (int c = 0; c < 3; c++)
        sum += w[c] * (v[c] <= 0.04045 ? v[c] / 12.92 : pow((v[c] + 0.055) / 1.055, 2.4));
    return sum;
}

static double contrast(double a, double b)
{
    return (fmax(a, b) + 0.05) / (fmin(a, b) + 0.05);
}

/* Steps 0 to 64 of the blue (sign 1) or orange (-1) half. */
static void check_steps(int sign)
{
    static const int level[6] = {0, 95, 135, 175, 215, 255};
    double before = 2.0, before_256 = 2.0;
    for (int i = 0; i <= 64; i++) {
        int r = 0, g = 0, b = 0, fr = 0, fg = 0, fb = 0, back = 0, front = 0;
        char open[48], blue[48];
        ramp_open_diverging(JSC_COLOUR_TRUE, sign * i / 64.0, open);
        ramp_open(JSC_COLOUR_TRUE, i / 64.0, blue);
        cr_expect(eq(int, strcmp(open, blue) == 0, sign > 0 || i == 0), "step %d", i);
        cr_assert(eq(int, sscanf(open, "\033[48;2;%d;%d;%d;38;2;%d;%d;%dm", &r, &g, &b, &fr, &fg, &fb), 6), "step %d", i);
        cr_expect(le(dbl, 4.5, contrast(luminance(r, g, b), luminance(fr, fg, fb))), "step %d", i);
        cr_expect(lt(dbl, luminance(r, g, b), before), "step %d is not darker than the one before", i);
        cr_expect(i < 16 || (sign > 0) == (b > r), "step %d is of the wrong colour: %d %d %d", i, r, g, b);
        before = luminance(r, g, b);
        ramp_open_diverging(JSC_COLOUR_256, sign * i / 64.0, open);
        cr_assert(eq(int, sscanf(open, "\033[48;5;%d;38;5;%dm", &back, &front), 2), "step %d", i);
        const double lb = luminance(level[(back - 16) / 36], level[(back - 16) / 6 % 6], level[(back - 16) % 6]);
        cr_expect(le(dbl, 4.5, contrast(lb, front == 231 ? 1.0 : 0.0)), "256 colours, step %d", i);
        cr_expect(le(dbl, lb, before_256), "256 colours, step %d", i);
        before_256 = lb;
    }
}

Test(colour_ramp, letters_have_a_contrast_of_4_5_on_every_step)
{
    check_steps(1);
    check_steps(-1);
}

Test(colour_ramp, sixteen_colours_diverge_from_white_and_never_to_red)
{
    char blue[48], orange[48];
    for (int i = 0; i <= 100; i++) {
        ramp_open_diverging(JSC_COLOUR_16, i / 100.0, blue);
        ramp_open_diverging(JSC_COLOUR_16, -i / 100.0, orange);
        cr_expect(eq(int, strcmp(blue, orange) == 0, i < 20), "step %d", i);
        cr_expect(strstr(orange, "41") == NULL && strstr(orange, "101") == NULL, "red is the target's");
    }
    ramp_open_diverging(JSC_COLOUR_TRUE, NAN, blue);
    cr_expect(eq(str, blue, "\033[48;2;247;251;255;38;2;0;0;0m"));
}

Test(colour_ramp, marks_and_sixteen_colours_have_five_steps)
{
    const char *plain = " .:*#", *unicode[5] = {"·", "░", "▒", "▓", "█"};
    char open[48], last[48] = "";
    int steps = 0;
    for (int i = 0; i <= 100; i++) {
        ramp_open(JSC_COLOUR_16, i / 100.0, open);
        steps += strcmp(open, last) != 0;
        strcpy(last, open);
    }
    cr_expect(eq(int, steps, 5));
    for (int i = 0; i < 5; i++) {
        cr_expect(eq(chr, ramp_mark(true, (i + 0.5) / 5.0)[0], plain[i]));
        cr_expect(eq(str, (char *)ramp_mark(false, (i + 0.5) / 5.0), (char *)unicode[i]));
    }
    ramp_open(JSC_COLOUR_NONE, 0.5, open);
    cr_expect(eq(str, open, ""));
}
