/* norm_rows_cpu.c: a norm of one row, or of one part of a row, and its pull-back. Oracles: norm_ref.c, part_norm_ref.c. */
#include "norm_rows_cpu.h"

#include "cpu_internal.h"

#include <math.h>

CPU_CLONES static double sum_row(const float *x, int d)
{
    double sum = 0.0;
#pragma omp simd reduction(+ : sum)
    for (int i = 0; i < d; i++)
        sum += (double)x[i];
    return sum;
}

CPU_CLONES static double sum_squares(const float *x, int d, double mean)
{
    double sum = 0.0;
#pragma omp simd reduction(+ : sum)
    for (int i = 0; i < d; i++) {
        const double c = (double)x[i] - mean;
        sum += c * c;
    }
    return sum;
}

struct norm_stats norm_row_stats(enum norm_kind kind, double eps, const float *x, int d)
{
    const double mean = kind == NORM_LAYER ? sum_row(x, d) / d : 0.0;
    return (struct norm_stats){.mean = (float)mean, .r = (float)(1.0 / sqrt(sum_squares(x, d, mean) / d + eps))};
}

CPU_CLONES void norm_row_apply(struct norm_stats s, const float *x, int d, const float *w, const float *b, float *y)
{
    if (b != NULL)
        for (int i = 0; i < d; i++)
            y[i] = (x[i] - s.mean) * s.r * w[i] + b[i];
    else
        for (int i = 0; i < d; i++)
            y[i] = (x[i] - s.mean) * s.r * w[i];
}

CPU_CLONES void norm_row_in_place(struct norm_stats s, float *x, int d, const float *w, const float *b, float *xhat)
{
#pragma omp simd
    for (int i = 0; i < d; i++)
        xhat[i] = (x[i] - s.mean) * s.r;
    if (b != NULL) {
#pragma omp simd
        for (int i = 0; i < d; i++)
            x[i] = xhat[i] * w[i] + b[i];
    } else {
#pragma omp simd
        for (int i = 0; i < d; i++)
            x[i] = xhat[i] * w[i];
    }
}

/* ---- pull-back ------------------------------------------------------------------------------------------------------------------ */

/* <xhat, w o dy> */
CPU_CLONES static double dot_xhat(const struct norm_row *p)
{
    const float *x = p->x, *w = p->w, *dy = p->dy;
    const double mean = (double)p->mean;
    double sum = 0.0;
#pragma omp simd reduction(+ : sum)
    for (int i = 0; i < p->d; i++)
        sum += ((double)x[i] - mean) * (double)(w[i] * dy[i]);
    return sum * (double)p->unit;
}

CPU_CLONES static double sum_weighted(const struct norm_row *p)
{
    const float *w = p->w, *dy = p->dy;
    double sum = 0.0;
#pragma omp simd reduction(+ : sum)
    for (int i = 0; i < p->d; i++)
        sum += (double)(w[i] * dy[i]);
    return sum;
}

/* What is taken off every element of g: shift, and slope times (x - mean) */
struct removed {
    float shift, slope;
};

static struct removed remove_from(const struct norm_row *p)
{
    return (struct removed){.shift = p->kind == NORM_LAYER ? (float)(sum_weighted(p) / p->d) : 0.0f,
                            .slope = p->unit * (float)(dot_xhat(p) / p->d)};
}

CPU_CLONES static double add_pulled(const struct norm_row *p, struct removed off, float *R)
{
    const float *x = p->x, *w = p->w, *dy = p->dy;
    const float r = p->r, mean = p->mean;
    double ss = 0.0;
#pragma omp simd reduction(+ : ss)
    for (int i = 0; i < p->d; i++) {
        const float v = R[i] + r * (w[i] * dy[i] - off.shift - (x[i] - mean) * off.slope);
        R[i] = v;
        ss += (double)v * (double)v;
    }
    return ss;
}

CPU_CLONES static double add_plain(const float *dy, int d, float *R)
{
    double ss = 0.0;
#pragma omp simd reduction(+ : ss)
    for (int i = 0; i < d; i++) {
        const float v = R[i] + dy[i];
        R[i] = v;
        ss += (double)v * (double)v;
    }
    return ss;
}

double norm_row_pull_add(const struct norm_row *row, float *R)
{
    return row->kind == NORM_NONE ? add_plain(row->dy, row->d, R) : add_pulled(row, remove_from(row), R);
}

CPU_CLONES static void store_pulled(const struct norm_row *p, struct removed off, float *dx)
{
    const float *x = p->x, *w = p->w, *dy = p->dy;
    const float r = p->r, mean = p->mean;
#pragma omp simd
    for (int i = 0; i < p->d; i++)
        dx[i] = r * (w[i] * dy[i] - off.shift - (x[i] - mean) * off.slope);
}

void norm_row_pull(const struct norm_row *row, float *dx)
{
    store_pulled(row, remove_from(row), dx);
}
