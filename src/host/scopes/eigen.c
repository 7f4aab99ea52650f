/* eigen.c: all eigenvalues and vectors of a small symmetric matrix: Householder reduction to a tridiagonal matrix, then implicitly
 * shifted QL with the rotations applied to the vectors. n^3 work, for the k x k matrices of a subspace iteration. */
#include "scopes_internal.h"

#include <float.h>
#include <math.h>

/* a [n][n] -> T = Q^T a Q tridiagonal: diagonal in d, below it in e (e[i] couples i-1 and i); a becomes Q (columns). */
static void tridiagonal(double *a, int n, double *d, double *e)
{
    for (int i = n - 1; i >= 1; i--) {
        double *row = a + (size_t)i * (size_t)n;
        double scale = 0.0, h = 0.0;
        for (int k = 0; k < i; k++)
            scale += fabs(row[k]);
        e[i] = row[i - 1];
        d[i] = 0.0; /* h of the reflection; 0: none was needed */
        if (i == 1 || scale == 0.0)
            continue;
        for (int k = 0; k < i; k++) {
            row[k] /= scale;
            h += row[k] * row[k];
        }
        const double g = row[i - 1] > 0.0 ? -sqrt(h) : sqrt(h);
        e[i] = scale * g;
        h -= row[i - 1] * g;
        row[i - 1] -= g; /* row is now the Householder vector u, h = |u|^2 / 2 */
        double f = 0.0;
        for (int j = 0; j < i; j++) {
            double p = 0.0; /* p = a u / h, only the lower triangle is kept */
            for (int k = 0; k <= j; k++)
                p += a[(size_t)j * (size_t)n + (size_t)k] * row[k];
            for (int k = j + 1; k < i; k++)
                p += a[(size_t)k * (size_t)n + (size_t)j] * row[k];
            e[j] = p / h;
            f += e[j] * row[j];
        }
        const double half = f / (h + h);
        for (int j = 0; j < i; j++)
            e[j] -= half * row[j];
        for (int j = 0; j < i; j++)
            for (int k = 0; k <= j; k++)
                a[(size_t)j * (size_t)n + (size_t)k] -= row[j] * e[k] + e[j] * row[k];
        d[i] = h;
    }
    d[0] = e[0] = 0.0;
    for (int i = 0; i < n; i++) {
        double *row = a + (size_t)i * (size_t)n;
        if (d[i] != 0.0)
            for (int j = 0; j < i; j++) {
                double s = 0.0;
                for (int k = 0; k < i; k++)
                    s += row[k] * a[(size_t)k * (size_t)n + (size_t)j];
                for (int k = 0; k < i; k++)
                    a[(size_t)k * (size_t)n + (size_t)j] -= s * row[k] / d[i];
            }
        d[i] = row[i];
        row[i] = 1.0;
        for (int j = 0; j < i; j++)
            row[j] = a[(size_t)j * (size_t)n + (size_t)i] = 0.0;
    }
}

/* One QL sweep from m down to l; q holds the vectors as rows, so that a rotation mixes two contiguous rows. */
static void ql_sweep(double *q, int n, double *d, double *e, int l, int m)
{
    double g = (d[l + 1] - d[l]) / (2.0 * e[l]), r = hypot(g, 1.0);
    g = d[m] - d[l] + e[l] / (g + copysign(r, g));
    double s = 1.0, c = 1.0, p = 0.0;
    int i;
    for (i = m - 1; i >= l; i--) {
        double f = s * e[i];
        const double b = c * e[i];
        e[i + 1] = r = hypot(f, g);
        if (r == 0.0) { /* the matrix fell apart early */
            d[i + 1] -= p;
            e[m] = 0.0;
            break;
        }
        s = f / r;
        c = g / r;
        g = d[i + 1] - p;
        r = (d[i] - g) * s + 2.0 * c * b;
        p = s * r;
        d[i + 1] = g + p;
        g = c * r - b;
        double *high = q + (size_t)(i + 1) * (size_t)n, *low = q + (size_t)i * (size_t)n;
        for (int k = 0; k < n; k++) {
            f = high[k];
            high[k] = s * low[k] + c * f;
            low[k] = c * low[k] - s * f;
        }
    }
    if (i < l) {
        d[l] -= p;
        e[l] = g;
        e[m] = 0.0;
    }
}

/* e shifted to e[i] = coupling of i and i+1; q rows are vectors. */
static void ql(double *q, int n, double *d, double *e)
{
    for (int i = 1; i < n; i++)
        e[i - 1] = e[i];
    e[n - 1] = 0.0;
    for (int l = 0; l < n; l++)
        for (int sweep = 0; sweep < 60; sweep++) {
            int m = l;
            while (m < n - 1 && fabs(e[m]) > DBL_EPSILON * (fabs(d[m]) + fabs(d[m + 1])))
                m++;
            if (m == l)
                break;
            ql_sweep(q, n, d, e, l, m);
        }
}

void symmetric_eigen(double *a, int n, double *values, double *work)
{
    tridiagonal(a, n, values, work);
    for (int i = 0; i < n; i++) /* columns to rows */
        for (int j = 0; j < i; j++) {
            const double swap = a[(size_t)i * (size_t)n + (size_t)j];
            a[(size_t)i * (size_t)n + (size_t)j] = a[(size_t)j * (size_t)n + (size_t)i];
            a[(size_t)j * (size_t)n + (size_t)i] = swap;
        }
    ql(a, n, values, work);
    for (int i = 0; i < n; i++) {
        int best = i;
        for (int j = i + 1; j < n; j++)
            if (values[j] > values[best])
                best = j;
        const double value = values[i];
        values[i] = values[best];
        values[best] = value;
        for (int k = 0; best != i && k < n; k++) {
            const double swap = a[(size_t)i * (size_t)n + (size_t)k];
            a[(size_t)i * (size_t)n + (size_t)k] = a[(size_t)best * (size_t)n + (size_t)k];
            a[(size_t)best * (size_t)n + (size_t)k] = swap;
        }
    }
}
