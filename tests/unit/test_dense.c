/* test_dense.c: pivoted Cholesky, Gram-Schmidt and products of rows against their definitions. */
#include "scopes_internal.h"

#include <criterion/criterion.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N_MAX = 40 };

/* F = sum of `rank` outer products of random rows whose lengths fall by `ratio`. */
static void random_psd(double *F, int d, int rank, double ratio)
{
    memset(F, 0, (size_t)(d * d) * sizeof *F);
    double scale = 1.0;
    for (int r = 0; r < rank; r++, scale *= ratio)
        for (int i = 0; i < d; i++)
            for (int j = 0; j < d; j++)
                F[i * d + j] += scale * rng_normal(7, (uint64_t)r, (uint64_t)i) * rng_normal(7, (uint64_t)r, (uint64_t)j);
}

static double trace_of(const double *F, int d)
{
    double sum = 0.0;
    for (int i = 0; i < d; i++)
        sum += F[i * d + i];
    return sum;
}

/* Largest |F - rows^T rows| as a share of the trace. */
static double misfit(const double *F, const double *rows, int rank, int d)
{
    double largest = 0.0;
    for (int i = 0; i < d; i++)
        for (int j = 0; j < d; j++) {
            double sum = F[i * d + j];
            for (int r = 0; r < rank; r++)
                sum -= rows[r * d + i] * rows[r * d + j];
            largest = fmax(largest, fabs(sum));
        }
    return largest / trace_of(F, d);
}

Test(dense, cholesky_finds_rank_and_factor)
{
    static const struct {
        int d, rank;
        double ratio;
    } cases[] = {{1, 1, 1}, {2, 1, 1}, {5, 5, 1}, {17, 3, 1}, {33, 33, 0.5}, {40, 12, 0.3}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        double F[N_MAX * N_MAX], work[N_MAX * N_MAX], rows[N_MAX * N_MAX], diag[N_MAX], rest = -1.0;
        const int d = cases[c].d;
        int pivots[N_MAX];
        random_psd(F, d, cases[c].rank, cases[c].ratio);
        memcpy(work, F, sizeof F);
        const int rank = cholesky_pivoted(work, d, d, 1e-13 * trace_of(F, d), rows, pivots, diag, &rest, 1);
        cr_expect(rank <= cases[c].rank && (cases[c].ratio < 1 || rank == cases[c].rank), "d %d: rank %d, %d expected", d, rank,
                  cases[c].rank);
        cr_expect(misfit(F, rows, rank, d) <= 1e-12, "d %d: misfit %g", d, misfit(F, rows, rank, d));
        cr_expect(rest >= 0.0 && rest <= 1e-13 * trace_of(F, d), "d %d: rest %g", d, rest);
        for (int r = 0; r < rank; r++)
            for (int earlier = 0; earlier < r; earlier++)
                cr_expect(rows[r * d + pivots[earlier]] == 0.0, "row %d is not zero at the pivot of row %d", r, earlier);
    }
}

/* Several blocks, whatever the threads. */
Test(dense, cholesky_in_blocks)
{
    enum { d = 200 };
    double *F = calloc(4 * d * d + d, sizeof *F), *work = F + d * d, *rows = work + d * d, *again = rows + d * d, *diag = again + d * d,
           rest;
    cr_assert(F != NULL);
    random_psd(F, d, d, 0.98);
    memcpy(work, F, d * d * sizeof *F);
    const int rank = cholesky_pivoted(work, d, d, 1e-13 * trace_of(F, d), rows, NULL, diag, &rest, 1);
    cr_expect(rank > 150 && misfit(F, rows, rank, d) <= 1e-12, "rank %d, misfit %g", rank, misfit(F, rows, rank, d));
    memcpy(work, F, d * d * sizeof *F);
    cr_expect(cholesky_pivoted(work, d, d, 1e-13 * trace_of(F, d), again, NULL, diag, &rest, 3) == rank);
    cr_expect(memcmp(rows, again, (size_t)rank * d * sizeof *rows) == 0, "the same bits with three threads");
    free(F);
}

Test(dense, cholesky_stops_where_it_is_told_and_says_what_is_left)
{
    enum { d = 20 };
    double F[d * d], work[d * d], rows[d * d], diag[d], rest = 0.0;
    random_psd(F, d, d, 0.6);
    memcpy(work, F, sizeof F);
    const int rank = cholesky_pivoted(work, d, 4, 0.0, rows, NULL, diag, &rest, 1);
    double left = trace_of(F, d);
    for (int i = 0; i < 4 * d; i++)
        left -= rows[i] * rows[i];
    cr_expect(rank == 4 && fabs(rest - left) <= 1e-12 * trace_of(F, d), "rest %g, %g", rest, left);
    memset(F, 0, sizeof F);
    cr_expect(cholesky_pivoted(F, d, d, 0.0, rows, NULL, diag, &rest, 1) == 0 && rest == 0.0, "the zero matrix has rank 0");
}

Test(dense, orthonormalise_drops_what_depends_on_the_rest)
{
    enum { k = 9, d = 12 };
    double m[k * d], copy[k * d];
    for (int i = 0; i < k * d; i++)
        m[i] = rng_normal(3, 0, (uint64_t)i);
    for (int i = 0; i < d; i++) {
        m[3 * d + i] = 2.0 * m[i] - m[d + i]; /* depends on rows 0 and 1 */
        m[5 * d + i] = 0.0;
        m[7 * d + i] = m[6 * d + i] + 1e-6 * m[7 * d + i]; /* nearly row 6 */
    }
    memcpy(copy, m, sizeof m);
    const int kept = orthonormalise(m, k, d);
    cr_assert(kept == k - 2, "%d of %d rows stay", kept, k);
    for (int i = 0; i < kept; i++)
        for (int j = 0; j <= i; j++)
            cr_expect(fabs(dense_dot(m + i * d, m + j * d, d) - (i == j)) <= 1e-14, "rows %d and %d", i, j);
    for (int i = 0; i < k; i++) { /* every old row lies in the new rows' span */
        for (int j = 0; j < kept; j++)
            axpy(-dense_dot(copy + i * d, m + j * d, d), m + j * d, copy + i * d, d);
        cr_expect(dense_dot(copy + i * d, copy + i * d, d) <= 1e-24, "row %d left the span", i);
    }
}

Test(dense, products_of_rows)
{
    const double a[2 * 5] = {1, 2, 3, 4, 5, -1, 0, 1, 0, -1}, b[3 * 5] = {1, 1, 1, 1, 1, 0, 0, 0, 0, 2, 1, 0, 0, 0, 0};
    const double want[6] = {15, 10, 1, -1, -2, -1};
    double out[6], mixed[5];
    row_products(a, 2, b, 3, 5, out);
    for (int i = 0; i < 6; i++)
        cr_expect(out[i] == want[i], "product %d: %g", i, out[i]);
    const double c[3] = {2, 0.5, -1};
    row_combine(c, 1, 3, b, 5, mixed);
    const double want_mixed[5] = {1, 2, 2, 2, 3};
    for (int i = 0; i < 5; i++)
        cr_expect(mixed[i] == want_mixed[i], "component %d: %g", i, mixed[i]);
}
