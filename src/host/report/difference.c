/* difference.c: one result minus another of the same tokens. */
#include "report_internal.h"

bool difference_in_shares(const jsc_attribution *a, const jsc_attribution *b)
{
    return a->scope != b->scope || a->objective != b->objective;
}

static double sum_of(const double *values, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++)
        sum += values[i];
    return sum;
}

void difference_rows(const double *a, const double *b, size_t rows, size_t columns, bool shares, double *out)
{
    for (size_t r = 0; r < rows; r++) {
        const double *x = a + r * columns, *y = b + r * columns;
        const double sum_x = shares ? sum_of(x, columns) : 1.0, sum_y = shares ? sum_of(y, columns) : 1.0;
        for (size_t i = 0; i < columns; i++) /* a row of zeros has no shares */
            out[r * columns + i] = (sum_x > 0.0 ? x[i] / sum_x : 0.0) - (sum_y > 0.0 ? y[i] / sum_y : 0.0);
    }
}
