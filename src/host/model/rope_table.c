/* rope_table.c: inverse frequencies of the rotary embedding with every scaling that config.c reads (docs/formats.md, rotary). */
#include "model_internal.h"

#include <math.h>

#define TWO_PI 6.283185307179586476925

static void llama3(const struct config *c, double *f, int n)
{
    const double original = c->original_max_position;
    const double low_wavelength = original / c->low_freq_factor, high_wavelength = original / c->high_freq_factor;
    for (int j = 0; j < n; j++) {
        const double wavelength = TWO_PI / f[j];
        if (wavelength < high_wavelength)
            continue;
        if (wavelength > low_wavelength) {
            f[j] /= c->factor;
            continue;
        }
        const double s = (original / wavelength - c->low_freq_factor) / (c->high_freq_factor - c->low_freq_factor);
        f[j] = (1.0 - s) * f[j] / c->factor + s * f[j];
    }
}

/* Component index whose wavelength makes `turns` rotations over the original context. */
static double yarn_index(const struct config *c, int rot, double turns)
{
    return rot * log(c->original_max_position / (turns * TWO_PI)) / (2.0 * log(c->rope_theta));
}

static void yarn(const struct config *c, double *f, int n, int rot)
{
    double low = yarn_index(c, rot, c->beta_fast), high = yarn_index(c, rot, c->beta_slow);
    if (c->yarn_truncate)
        low = floor(low), high = ceil(high);
    low = fmax(low, 0.0);
    high = fmin(high, rot - 1.0);
    if (!(high > low))
        high = low + 0.001;
    for (int j = 0; j < n; j++) {
        const double ramp = fmin(fmax((j - low) / (high - low), 0.0), 1.0);
        f[j] = f[j] * (1.0 - ramp) + f[j] / c->factor * ramp;
    }
}

/* Returns the factor on cos and sin. */
static double longrope(const struct config *c, double *f, int n, int n_prompt)
{
    const double *factors = n_prompt > c->original_max_position ? c->long_factors : c->short_factors;
    for (int j = 0; j < n; j++)
        f[j] /= factors[j];
    if (c->attention_factor > 0.0)
        return c->attention_factor;
    return c->factor <= 1.0 ? 1.0 : sqrt(1.0 + log(c->factor) / log(c->original_max_position));
}

void rope_table_local(const struct config *c, int rot, double *f)
{
    for (int j = 0; j < rot / 2; j++)
        f[j] = pow(c->local_theta, -2.0 * j / rot);
}

double rope_table(const struct config *c, int rot, int n_prompt, double *f)
{
    const int n = rot / 2;
    double theta = c->rope_theta;
    if (c->scaling == ROPE_DYNAMIC && c->max_position > 0 && n_prompt > c->max_position)
        theta *= pow(c->factor * n_prompt / (double)c->max_position - c->factor + 1.0, rot / (rot - 2.0));
    for (int j = 0; j < n; j++)
        f[j] = pow(theta, -2.0 * j / rot);
    switch (c->scaling) {
    case ROPE_LINEAR:
        for (int j = 0; j < n; j++)
            f[j] /= c->factor;
        break;
    case ROPE_LLAMA3:
        llama3(c, f, n);
        break;
    case ROPE_YARN:
        yarn(c, f, n, rot);
        return c->attention_factor > 0.0 ? c->attention_factor : c->factor > 1.0 ? 0.1 * log(c->factor) + 1.0 : 1.0;
    case ROPE_LONGROPE:
        return longrope(c, f, n, n_prompt);
    case ROPE_FACTORS:
        for (int j = 0; j < n; j++)
            f[j] /= c->long_factors[j];
        break;
    case ROPE_NONE:
    case ROPE_DYNAMIC:
        break;
    }
    return 1.0;
}
