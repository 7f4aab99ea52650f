/* dense.c: small dense algebra in double: products of rows, Gram-Schmidt, pivoted Cholesky. Sums run in a fixed order. */
#include "scopes_internal.h"

#include <math.h>
#include <string.h>

double dense_dot(const double *a, const double *b, size_t n)
{
    /* four running sums: one would wait for itself at every addition */
    double s[4] = {0.0, 0.0, 0.0, 0.0};
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        for (size_t j = 0; j < 4; j++)
            s[j] += a[i + j] * b[i + j];
    for (; i < n; i++)
        s[0] += a[i] * b[i];
    return (s[0] + s[1]) + (s[2] + s[3]);
}

void axpy(double s, const double *x, double *y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] += s * x[i];
}

void row_products(const double *a, int n, const double *b, int m, int d, double *out)
{
    for (int i = 0; i < n; i++)
        for (int j = 0; j < m; j++)
            out[(size_t)i * (size_t)m + (size_t)j] = dense_dot(a + (size_t)i * (size_t)d, b + (size_t)j * (size_t)d, (size_t)d);
}

void row_combine(const double *c, int n, int m, const double *b, int d, double *out)
{
    memset(out, 0, (size_t)n * (size_t)d * sizeof *out);
    for (int i = 0; i < n; i++)
        for (int j = 0; j < m; j++)
            axpy(c[(size_t)i * (size_t)m + (size_t)j], b + (size_t)j * (size_t)d, out + (size_t)i * (size_t)d, (size_t)d);
}

int orthonormalise(double *m, int k, int d)
{
    int kept = 0;
    for (int i = 0; i < k; i++) {
        double *row = m + (size_t)kept * (size_t)d;
        memmove(row, m + (size_t)i * (size_t)d, (size_t)d * sizeof *row);
        const double before = sqrt(dense_dot(row, row, (size_t)d));
        for (int pass = 0; pass < 2; pass++)
            for (int j = 0; j < kept; j++) {
                const double *other = m + (size_t)j * (size_t)d;
                axpy(-dense_dot(row, other, (size_t)d), other, row, (size_t)d);
            }
        const double after = sqrt(dense_dot(row, row, (size_t)d));
        if (!(after > 1e-10 * before))
            continue; /* what is left of the row is rounding */
        for (int c = 0; c < d; c++)
            row[c] /= after;
        kept++;
    }
    return kept;
}

int cholesky_pivoted(const double *F, int d, int most, double stop, double *rows, int *pivots, double *diag, double *rest)
{
    int rank = 0;
    double left = 0.0;

    for (int i = 0; i < d; i++)
        left += diag[i] = F[(size_t)i * (size_t)d + (size_t)i];
    while (rank < most && left > stop) {
        int pivot = 0;
        for (int i = 1; i < d; i++)
            if (diag[i] > diag[pivot])
                pivot = i;
        if (!(diag[pivot] > 0.0))
            break;
        double *row = rows + (size_t)rank * (size_t)d;
        const double root = sqrt(diag[pivot]);
        memcpy(row, F + (size_t)pivot * (size_t)d, (size_t)d * sizeof *row);
        for (int j = 0; j < rank; j++) {
            const double *earlier = rows + (size_t)j * (size_t)d;
            axpy(-earlier[pivot], earlier, row, (size_t)d);
        }
        left = 0.0;
        for (int i = 0; i < d; i++) {
            row[i] = diag[i] > 0.0 ? row[i] / root : 0.0; /* an eliminated column stays exactly 0 */
            diag[i] -= row[i] * row[i];
            if (i == pivot || diag[i] < 0.0)
                diag[i] = 0.0;
            left += diag[i];
        }
        row[pivot] = root;
        if (pivots != NULL)
            pivots[rank] = pivot;
        rank++;
    }
    *rest = left;
    return rank;
}
