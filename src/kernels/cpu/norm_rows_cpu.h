/* norm_rows_cpu.h: a norm of one row, or of one part of a row, and its pull-back (norm_cpu.c, part_norm_cpu.c).
 *
 * Sums run in double, in an order that depends on nothing but d. */
#ifndef JSC_NORM_ROWS_CPU_H
#define JSC_NORM_ROWS_CPU_H

#include "ops.h"

#define NORM_WORK 32768 /* elements below which a team costs more than it saves */

/* r = 1/sqrt(mean((x - mean)^2) + eps); mean is 0 unless LAYER */
struct norm_stats {
    float mean, r;
};
struct norm_stats norm_row_stats(enum norm_kind kind, double eps, const float *x, int d);
/* y = (x - mean) r w + b; b may be NULL */
void norm_row_apply(struct norm_stats s, const float *x, int d, const float *w, const float *b, float *y);
/* xhat = (x - mean) r, then x = xhat w + b */
void norm_row_in_place(struct norm_stats s, float *x, int d, const float *w, const float *b, float *xhat);

/* g = w o dy;  r (g - xhat <xhat, g>/d), LAYER: also minus mean(g), with xhat = (x - mean) unit */
struct norm_row {
    enum norm_kind kind;
    int d;
    const float *x, *w, *dy;
    float mean, unit, r;
};
/* R += that, NONE: R += dy; returns the sum of squares of the new R */
double norm_row_pull_add(const struct norm_row *row, float *R);
/* dx = that; dx may be dy */
void norm_row_pull(const struct norm_row *row, float *dx);

#endif
