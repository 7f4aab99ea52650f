/* test_eigen.c: eigenvalues and vectors of symmetric matrices: residual, orthonormality, order, awkward shapes. */
#include "scopes_internal.h"

#include <criterion/criterion.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void check(const char *what, const double *a, int n)
{
    double *q = malloc((size_t)(n * n) * sizeof *q), *values = malloc((size_t)n * sizeof *values), *work = malloc((size_t)n * sizeof *work);
    double norm = 0.0;
    memcpy(q, a, (size_t)(n * n) * sizeof *q);
    symmetric_eigen(q, n, values, work);
    for (int i = 0; i < n * n; i++)
        norm = fmax(norm, fabs(a[i]));
    for (int i = 0; i < n; i++) {
        cr_expect(i == 0 || values[i] <= values[i - 1], "%s, n %d: values %d and %d", what, n, i - 1, i);
        for (int j = 0; j <= i; j++)
            cr_expect(fabs(dense_dot(q + i * n, q + j * n, (size_t)n) - (i == j)) <= 1e-13 * n, "%s, n %d: vectors %d and %d", what, n, i,
                      j);
        for (int r = 0; r < n; r++) {
            const double residual = dense_dot(a + r * n, q + i * n, (size_t)n) - values[i] * q[i * n + r];
            cr_expect(fabs(residual) <= 1e-14 * n * n * norm, "%s, n %d: vector %d misses by %g", what, n, i, residual);
        }
    }
    free(q), free(values), free(work);
}

Test(eigen, random_matrices)
{
    static const int sizes[] = {1, 2, 3, 4, 7, 16, 33, 72};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        const int n = sizes[s];
        double *a = malloc((size_t)(n * n) * sizeof *a);
        for (int i = 0; i < n; i++)
            for (int j = 0; j <= i; j++)
                a[i * n + j] = a[j * n + i] = rng_normal(11, (uint64_t)n, (uint64_t)(i * n + j));
        check("random", a, n);
        free(a);
    }
}

Test(eigen, awkward_matrices)
{
    enum { n = 12 };
    double zero[n * n] = {0}, identity[n * n] = {0}, low[n * n], steep[n * n];
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) {
            identity[i * n + j] = i == j ? 2.5 : 0.0;
            low[i * n + j] = (i + 1.0) * (j + 1.0);                              /* rank 1 */
            steep[i * n + j] = pow(10.0, -0.5 * (i + j)) * (i == j ? 2.0 : 1.0); /* values over 11 decades */
        }
    check("zero", zero, n);
    check("identity", identity, n);
    check("rank 1", low, n);
    check("steep", steep, n);
}

/* Closed form: the second-difference matrix has the eigenvalues 2 - 2 cos(k pi / (n + 1)). */
Test(eigen, second_differences)
{
    enum { n = 25 };
    double a[n * n] = {0}, values[n], work[n];
    for (int i = 0; i < n; i++) {
        a[i * n + i] = 2.0;
        if (i > 0)
            a[i * n + i - 1] = a[(i - 1) * n + i] = -1.0;
    }
    symmetric_eigen(a, n, values, work);
    for (int k = 1; k <= n; k++) {
        const double want = 2.0 - 2.0 * cos(k * 3.14159265358979323846 / (n + 1));
        cr_expect(fabs(values[n - k] - want) <= 1e-14, "value %d: %.15g, %.15g", k, values[n - k], want);
    }
}
