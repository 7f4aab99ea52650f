/* colour_ramp.c: a share of the largest score as a background colour (ColorBrewer Blues; Oranges below 0) with readable letters, or as a
 * mark. */
#include "report_internal.h"

#include <math.h>
#include <stdio.h>

static const unsigned char blues[9][3] = {{247, 251, 255}, {222, 235, 247}, {198, 219, 239}, {158, 202, 225}, {107, 174, 214},
                                          {66, 146, 198},  {33, 113, 181},  {8, 81, 156},    {8, 48, 107}};
/* ColorBrewer Oranges, from the same near white: the other side of a diverging scale. */
static const unsigned char oranges[9][3] = {{247, 251, 255}, {254, 230, 206}, {253, 208, 162}, {253, 174, 107}, {253, 141, 60},
                                            {241, 105, 19},  {217, 72, 1},    {166, 54, 3},    {127, 39, 4}};
/* The same in the colours of lesser terminals, chosen by eye: the nearest ones turn lilac. Letters are white from stop `white` on. Red is left
 * to the target. */
struct terminal_ramp {
    int of_256[9], white;
    const char *of_16[5];
};
static const struct terminal_ramp blue = {{231, 189, 153, 110, 74, 32, 25, 18, 17}, 6, {"107;30", "106;30", "46;30", "104;97", "44;97"}};
static const struct terminal_ramp orange = {
    {231, 230, 223, 216, 209, 208, 166, 130, 94}, 7, {"107;30", "103;30", "103;30", "43;30", "43;30"}};

double ramp_share(double score, double largest)
{
    const double share = score / largest;
    return share >= 1.0 ? 1.0 : share > 0.0 ? share : 0.0; /* NaN and the 0/0 of an all-zero row give 0 */
}

static void blend(const unsigned char stops[9][3], double share, int rgb[3])
{
    const double place = ramp_share(share, 1.0) * 8.0;
    const int low = place >= 8.0 ? 7 : (int)place;
    for (int c = 0; c < 3; c++)
        rgb[c] = (int)lrint(stops[low][c] + (place - low) * (stops[low + 1][c] - stops[low][c]));
}

/* Relative luminance as WCAG 2 defines it. */
static double luminance(const int rgb[3])
{
    static const double weight[3] = {0.2126, 0.7152, 0.0722};
    double sum = 0.0;
    for (int c = 0; c < 3; c++) {
        const double v = rgb[c] / 255.0;
        sum += weight[c] * (v <= 0.04045 ? v / 12.92 : pow((v + 0.055) / 1.055, 2.4));
    }
    return sum;
}

/* Black or white letters, whichever stand out more: always more than 4.5 : 1. */
static bool wants_white(const int rgb[3])
{
    const double l = luminance(rgb);
    return 1.05 / (l + 0.05) > (l + 0.05) / 0.05;
}

bool ramp_rgb(double share, int rgb[3])
{
    blend(share < 0.0 ? oranges : blues, fabs(share), rgb);
    return wants_white(rgb);
}

static int fifth(double share)
{
    const int n = (int)(ramp_share(share, 1.0) * 5.0);
    return n > 4 ? 4 : n;
}

void ramp_open(jsc_colour colour, double share, char out[48])
{
    ramp_open_diverging(colour, ramp_share(share, 1.0), out);
}

void ramp_open_diverging(jsc_colour colour, double share, char out[48])
{
    const struct terminal_ramp *ramp = share < 0.0 ? &orange : &blue;
    const double size = ramp_share(fabs(share), 1.0);
    int rgb[3];
    const bool white = ramp_rgb(share < 0.0 ? -size : size, rgb);
    out[0] = '\0';
    if (colour == JSC_COLOUR_TRUE) {
        const int letters = white ? 255 : 0;
        (void)snprintf(out, 48, "\033[48;2;%d;%d;%d;38;2;%d;%d;%dm", rgb[0], rgb[1], rgb[2], letters, letters, letters);
    } else if (colour == JSC_COLOUR_256) {
        const int stop = (int)lrint(size * 8.0);
        (void)snprintf(out, 48, "\033[48;5;%d;38;5;%dm", ramp->of_256[stop], stop >= ramp->white ? 231 : 16);
    } else if (colour == JSC_COLOUR_16)
        (void)snprintf(out, 48, "\033[%sm", ramp->of_16[fifth(size)]);
}

const char *ramp_mark(bool ascii, double share)
{
    static const char *const plain[5] = {" ", ".", ":", "*", "#"};
    static const char *const unicode[5] = {"·", "░", "▒", "▓", "█"};
    return (ascii ? plain : unicode)[fifth(share)];
}

const char *ramp_side(jsc_colour colour, int sign)
{
    if (colour == JSC_COLOUR_NONE)
        return sign < 0 ? "-" : "+";
    return sign > 0 ? "blue" : colour == JSC_COLOUR_16 ? "yellow" : "orange";
}
