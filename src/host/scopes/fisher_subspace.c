/* fisher_subspace.c: eigenvectors of the largest eigenvalues of F, or of what directions taken earlier leave of it; and the part of F that
 * a block of vectors carries exactly. Only products with F are used. */
#include "scopes_internal.h"

#include <math.h>
#include <string.h>

#define OVERSAMPLE 8 /* extra vectors: they make the wanted ones settle sooner */

jsc_status residual_apply(struct fisher *f, const double *D, int n_d, const double *m, int k, double *out, jsc_error *error)
{
    const size_t d = (size_t)f->d;
    const jsc_status status = fisher_apply(f, m, k, out, error);
    if (status != JSC_OK)
        return status;
    for (int i = 0; i < k; i++)
        for (int j = 0; j < n_d; j++) {
            const double *row = D + (size_t)j * d;
            axpy(-dense_dot(row, m + (size_t)i * d, d), row, out + (size_t)i * d, d);
        }
    return JSC_OK;
}

/* The largest change of a wanted value, as a share of the largest value. */
static double change(const double *now, const double *before, int k)
{
    double largest = 0.0;
    for (int i = 0; i < k && now[0] > 0.0; i++)
        largest = fmax(largest, fabs(now[i] - before[i]) / now[0]);
    return largest;
}

/* Rayleigh-Ritz on orthonormal rows M with FM: values, U = V M and FU = V FM by falling value. */
struct ritz {
    double *M, *FM, *G, *values, *before, *work, *U, *FU;
};

static void rayleigh_ritz(const struct ritz *r, int l, int d)
{
    row_products(r->M, l, r->FM, l, d, r->G);
    for (int i = 0; i < l; i++)
        for (int j = 0; j < i; j++) {
            const double mean = 0.5 * (r->G[(size_t)i * (size_t)l + (size_t)j] + r->G[(size_t)j * (size_t)l + (size_t)i]);
            r->G[(size_t)i * (size_t)l + (size_t)j] = r->G[(size_t)j * (size_t)l + (size_t)i] = mean;
        }
    symmetric_eigen(r->G, l, r->values, r->work);
    row_combine(r->G, l, l, r->M, d, r->U);
    row_combine(r->G, l, l, r->FM, d, r->FU);
}

static jsc_status ritz_make(struct ritz *r, int l, int d, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t block = (size_t)l * (size_t)d;

    TRY(mem_new(&r->M, block, error));
    TRY(mem_new(&r->FM, block, error));
    TRY(mem_new(&r->U, block, error));
    TRY(mem_new(&r->FU, block, error));
    TRY(mem_new(&r->G, (size_t)l * (size_t)l, error));
    TRY(mem_new(&r->values, (size_t)l, error));
    TRY(mem_new(&r->before, (size_t)l, error));
    TRY(mem_new(&r->work, (size_t)l, error));
done:
    return status;
}

static void ritz_free(struct ritz *r)
{
    double *const owned[] = {r->M, r->FM, r->U, r->FU, r->G, r->values, r->before, r->work};
    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++)
        mem_free(owned[i]);
}

jsc_status subspace_find(struct fisher *f, struct subspace *s, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t d = (size_t)f->d;
    const int wide = s->k + (s->extra > 0 ? s->extra : OVERSAMPLE), most = s->iterations;
    int l = wide < f->d ? wide : f->d;
    struct ritz r = {0};

    TRY(ritz_make(&r, l, f->d, error));
    for (size_t i = 0; i < (size_t)l * d; i++)
        r.M[i] = rng_normal(f->job->request->seed ^ 0x5eed5eed5eed5eedU, s->stream, i);
    for (int iteration = 0; iteration < most; iteration++) {
        s->iterations = iteration + 1;
        l = orthonormalise(r.M, l, f->d);
        s->found = s->k < l ? s->k : l;
        if (l == 0)
            break;
        TRY(residual_apply(f, s->D, s->n_d, r.M, l, r.FM, error));
        rayleigh_ritz(&r, l, f->d);
        if (l == f->d || (iteration > 0 && change(r.values, r.before, s->found) <= s->settle))
            break;
        memcpy(r.before, r.values, (size_t)l * sizeof *r.values);
        memcpy(r.M, r.FU, (size_t)l * d * sizeof *r.M);
    }
    while (s->found > 0 && !(r.values[s->found - 1] > 1e-13 * f->trace))
        s->found--; /* F has no more */
    s->U = r.U, s->FU = r.FU, s->ritz = r.values;
    r.U = r.FU = r.values = NULL;
done:
    ritz_free(&r);
    return status;
}

void subspace_free(struct subspace *s)
{
    mem_free(s->U);
    mem_free(s->FU);
    mem_free(s->ritz);
    s->U = s->FU = s->ritz = NULL;
}

jsc_status exact_part_make(const struct subspace *s, int d, double trace, struct exact_part *out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t k = (size_t)s->found, width = (size_t)d;
    double *G = NULL, *rows = NULL, *diag = NULL, rest = 0.0;
    int *pivots = NULL;

    *out = (struct exact_part){0};
    TRY(mem_new(&G, k * k, error));
    TRY(mem_new(&rows, k * k, error));
    TRY(mem_new(&diag, k, error));
    TRY(mem_new(&pivots, k, error));
    TRY(mem_new(&out->D, k * width, error));
    TRY(mem_new(&out->U, k * width, error));
    TRY(mem_new(&out->R, k * k, error));
    row_products(s->U, s->found, s->FU, s->found, d, G);
    const int n = cholesky_pivoted(G, s->found, s->found, 1e-12 * trace, rows, pivots, diag, &rest, 1);
    out->n = n;
    for (int m = 0; m < n; m++) {
        double *D = out->D + (size_t)m * width;
        memcpy(out->U + (size_t)m * width, s->U + (size_t)pivots[m] * width, width * sizeof *D);
        memcpy(D, s->FU + (size_t)pivots[m] * width, width * sizeof *D);
        for (int j = 0; j <= m; j++)
            out->R[(size_t)j * (size_t)n + (size_t)m] = rows[(size_t)j * k + (size_t)pivots[m]];
        /* column m of F U R^-1: Gram-Schmidt in the inner product of F */
        for (int j = 0; j < m; j++)
            axpy(-out->R[(size_t)j * (size_t)n + (size_t)m], out->D + (size_t)j * width, D, width);
        for (size_t i = 0; i < width; i++)
            D[i] /= out->R[(size_t)m * (size_t)n + (size_t)m];
    }
done:
    mem_free(G);
    mem_free(rows);
    mem_free(diag);
    mem_free(pivots);
    return status;
}

void exact_part_project(const struct exact_part *part, double *l, int n, int d, double *scratch)
{
    for (int i = 0; i < n; i++) {
        double *row = l + (size_t)i * (size_t)d;
        for (int m = 0; m < part->n; m++) {
            double c = dense_dot(part->U + (size_t)m * (size_t)d, row, (size_t)d);
            for (int j = 0; j < m; j++)
                c -= part->R[(size_t)j * (size_t)part->n + (size_t)m] * scratch[j];
            scratch[m] = c / part->R[(size_t)m * (size_t)part->n + (size_t)m];
        }
        for (int m = 0; m < part->n; m++)
            axpy(-scratch[m], part->D + (size_t)m * (size_t)d, row, (size_t)d);
    }
}

void exact_part_free(struct exact_part *part)
{
    mem_free(part->D);
    mem_free(part->U);
    mem_free(part->R);
    *part = (struct exact_part){0};
}
