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

int orthonormalise_from(double *m, int first, int k, int d)
{
    int kept = first;
    for (int i = first; i < k; i++) {
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

int orthonormalise(double *m, int k, int d)
{
    return orthonormalise_from(m, 0, k, d);
}

enum { CHOLESKY_BLOCK = 64 }; /* rows that stay in a core's cache while all that is left is reduced by them */

/* row[c] -= sum_j block[j][i] block[j][c] for c >= i, one j after the other */
CPU_CLONES static void reduce_row(double *row, const double *block, int n, int i, int d)
{
    int j = 0;
    for (; j + 4 <= n; j += 4) {
        const double *x0 = block + (size_t)j * (size_t)d, *x1 = x0 + d, *x2 = x1 + d, *x3 = x2 + d;
        const double a0 = x0[i], a1 = x1[i], a2 = x2[i], a3 = x3[i];
        for (int c = i; c < d; c++)
            row[c] = (((row[c] - a0 * x0[c]) - a1 * x1[c]) - a2 * x2[c]) - a3 * x3[c];
    }
    for (; j < n; j++)
        axpy(-block[(size_t)j * (size_t)d + (size_t)i], block + (size_t)j * (size_t)d + i, row + i, (size_t)(d - i));
}

/* The upper half of what is left of F, in the rows that can still be pivots. */
static void reduce_rest(double *F, int d, const double *block, int n, const double *diag, int threads)
{
#pragma omp parallel for num_threads(threads) schedule(dynamic, 16) /* allowed: cubic in the width, beside a GPU that waits */
    for (int i = 0; i < d; i++)
        if (diag[i] > 0.0)
            reduce_row(F + (size_t)i * (size_t)d, block, n, i, d);
}

/* Row `pivot` of the symmetric matrix whose upper half F holds. */
static void symmetric_row(const double *F, int d, int pivot, double *row)
{
    for (int c = 0; c < pivot; c++)
        row[c] = F[(size_t)c * (size_t)d + (size_t)pivot];
    memcpy(row + pivot, F + (size_t)pivot * (size_t)d + pivot, (size_t)(d - pivot) * sizeof *row);
}

int cholesky_pivoted(double *F, int d, int most, double stop, double *rows, int *pivots, double *diag, double *rest, int threads)
{
    int rank = 0, reduced = 0; /* rows before `reduced` are taken out of F */
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
        if (rank - reduced == CHOLESKY_BLOCK) {
            reduce_rest(F, d, rows + (size_t)reduced * (size_t)d, CHOLESKY_BLOCK, diag, threads);
            reduced = rank;
        }
        double *row = rows + (size_t)rank * (size_t)d;
        const double root = sqrt(diag[pivot]);
        symmetric_row(F, d, pivot, row);
        for (int j = reduced; j < rank; j++) {
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
