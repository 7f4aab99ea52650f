/* spectrum_dense.c: singular triples of all of A [n][d], n <= d, from the eigenvectors of A A^T. */
#include "spectrum_internal.h"

#include <math.h>
#include <string.h>

#define COSINE   1e-15 /* between rows that count as orthogonal */
#define SWEEPS   12
#define VANISHED 1e-13 /* sigma below this share of the largest is rounding */

void triples_free(struct triples *t)
{
    mem_free(t->sigma);
    mem_free(t->residuals);
    mem_free(t->v);
    mem_free(t->q);
    *t = (struct triples){0};
}

static jsc_status gram_values(const struct spectral *s, double *G, double *values, jsc_error *error)
{
    jsc_status status = JSC_OK;
    double *work = NULL;

    TRY(mem_new(&work, (size_t)s->n, error));
    for (int i = 0; i < s->n; i++) /* the lower half is all that is looked at first; the upper is its mirror */
        row_products(s->A + (size_t)i * (size_t)s->d, 1, s->A, i + 1, s->d, G + (size_t)i * (size_t)s->n);
    for (size_t i = 0, n = (size_t)s->n; i < n; i++)
        for (size_t j = 0; j < i; j++)
            G[j * n + i] = G[i * n + j];
    symmetric_eigen(G, s->n, values, work);
done:
    mem_free(work);
    return status;
}

/* Rotates rows i < j of v [.][d] until they are orthogonal, and those of q [.][n] with them (Hestenes). false: they were. */
static bool rotate(double *v, double *q, int i, int j, int d, int n)
{
    double *a = v + (size_t)i * (size_t)d, *b = v + (size_t)j * (size_t)d, *qa = q + (size_t)i * (size_t)n, *qb = q + (size_t)j * (size_t)n;
    const double aa = dense_dot(a, a, (size_t)d), bb = dense_dot(b, b, (size_t)d), ab = dense_dot(a, b, (size_t)d);
    if (!(fabs(ab) > COSINE * sqrt(aa * bb)))
        return false;
    const double zeta = (bb - aa) / (2.0 * ab), t = copysign(1.0, zeta) / (fabs(zeta) + hypot(1.0, zeta));
    const double c = 1.0 / hypot(1.0, t), s = c * t;
    for (int x = 0; x < d; x++) {
        const double old = a[x];
        a[x] = c * old - s * b[x], b[x] = s * old + c * b[x];
    }
    for (int x = 0; x < n; x++) {
        const double old = qa[x];
        qa[x] = c * old - s * qb[x], qb[x] = s * old + c * qb[x];
    }
    return true;
}

/* Eigenvectors of A A^T mix rows whose lengths differ by many digits; rotating the few rows q A themselves mends that. */
static void polish(struct triples *t, int d, int n)
{
    bool moved = true;
    for (int sweep = 0; moved && sweep < SWEEPS; sweep++) {
        moved = false;
        for (int i = 0; i < t->n; i++)
            for (int j = i + 1; j < t->n; j++)
                moved = rotate(t->v, t->q, i, j, d, n) || moved;
    }
}

static void swap_rows(double *m, int i, int j, int width)
{
    for (int x = 0; i != j && x < width; x++) {
        const double old = m[(size_t)i * (size_t)width + (size_t)x];
        m[(size_t)i * (size_t)width + (size_t)x] = m[(size_t)j * (size_t)width + (size_t)x];
        m[(size_t)j * (size_t)width + (size_t)x] = old;
    }
}

/* sigma, unit v and residuals of rows v = q A, by falling length. */
static void finish(const struct spectral *s, struct triples *t, double *z)
{
    const size_t n = (size_t)s->n, d = (size_t)s->d;
    for (int i = 0; i < t->n; i++)
        t->sigma[i] = sqrt(dense_dot(t->v + (size_t)i * d, t->v + (size_t)i * d, d));
    for (int i = 0; i < t->n; i++) {
        int best = i;
        for (int j = i + 1; j < t->n; j++)
            best = t->sigma[j] > t->sigma[best] ? j : best;
        swap_rows(t->sigma, i, best, 1);
        swap_rows(t->v, i, best, s->d);
        swap_rows(t->q, i, best, s->n);
    }
    while (t->n > 0 && !(t->sigma[t->n - 1] > VANISHED * t->sigma[0]))
        t->n--;
    for (int i = 0; i < t->n; i++) {
        double *v = t->v + (size_t)i * d;
        for (size_t j = 0; j < d; j++)
            v[j] /= t->sigma[i];
        row_products(v, 1, s->A, s->n, s->d, z);
        axpy(-t->sigma[i], t->q + (size_t)i * n, z, n);
        t->residuals[i] = sqrt(dense_dot(z, z, n));
    }
}

jsc_status spectral_decompose(struct spectral *s, int k, struct triples *out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t n = (size_t)s->n, d = (size_t)s->d;
    double *G = NULL, *values = NULL, *z = NULL;

    *out = (struct triples){.n = k < s->n ? k : s->n};
    TRY(mem_new(&G, n * n, error));
    TRY(mem_new(&values, n, error));
    TRY(mem_new(&z, n, error));
    TRY(mem_new(&out->sigma, (size_t)out->n, error));
    TRY(mem_new(&out->residuals, (size_t)out->n, error));
    TRY(mem_new(&out->q, (size_t)out->n * n, error));
    TRY(mem_new(&out->v, (size_t)out->n * d, error));
    TRY(gram_values(s, G, values, error));
    out->trace = dense_dot(s->A, s->A, n * d);
    memcpy(out->q, G, (size_t)out->n * n * sizeof *G);
    row_combine(out->q, out->n, s->n, s->A, s->d, out->v);
    polish(out, s->d, s->n);
    finish(s, out, z);
done:
    mem_free(G);
    mem_free(values);
    mem_free(z);
    return status;
}
