/* spectrum_krylov.c: the largest singular triples of A from a block Krylov space (docs/math.md, spectra). The space is spanned by blocks
 * that tangents have chosen; everything stated of it comes from its rows q^T A, which are exact. */
#include "spectrum_internal.h"

#include <math.h>
#include <string.h>

#define SETTLED       1e-5  /* stop when no wanted sigma^2 moves by more than this share of the largest: tangents cannot do better */
#define DENSE_SETTLED 1e-13 /* residual, as a share of the largest sigma */
#define VANISHED      1e-26 /* sigma^2 below this share of the largest is rounding */
/* 1e-3 quantile of a sum of SPECTRUM_PROBES squared standard normals: the true residual exceeds what follows with that probability */
#define QUANTILE      3.9416278434807315
#define STREAM_START  UINT64_C(0x7370656374727500)
#define STREAM_PROBES UINT64_C(0x7370656374727501)

struct krylov {
    struct spectral *s;
    int k, l, most, m;              /* wanted; rows of a block; rows of the space at most, and now */
    double *Q, *Y;                  /* [most][n] orthonormal, Y = Q A [most][d] */
    double *G, *c;                  /* [most][most] Y Y^T; rows of Ritz coefficients */
    double *values, *before, *work; /* [most] */
    double *v, *z, *q;              /* [l][d], [l][n], [l][n] */
};

uint64_t spectral_iterate_doubles(int k, int extra, int steps, int d)
{
    const uint64_t width = (uint64_t)d, l = (uint64_t)k + (uint64_t)extra < width ? (uint64_t)k + (uint64_t)extra : width;
    const uint64_t most = l * (uint64_t)(steps + 1) < width ? l * (uint64_t)(steps + 1) : width;
    /* the space, its products, a block with its cotangents, the answer, the probes */
    return 2 * most * width + 2 * most * most + 3 * most + 5 * l * width + 2 * l * width + 3 * SPECTRUM_PROBES * width;
}

static jsc_status krylov_make(struct krylov *K, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t most = (size_t)K->most, n = (size_t)K->s->n, d = (size_t)K->s->d, l = (size_t)K->l;

    TRY(mem_new(&K->Q, most * n, error));
    TRY(mem_new(&K->Y, most * d, error));
    TRY(mem_new(&K->G, most * most, error));
    TRY(mem_new(&K->c, most * most, error));
    TRY(mem_new(&K->values, most, error));
    TRY(mem_new(&K->before, most, error));
    TRY(mem_new(&K->work, most, error));
    TRY(mem_new(&K->v, l * d, error));
    TRY(mem_new(&K->z, l * n, error));
    TRY(mem_new(&K->q, l * n, error));
done:
    return status;
}

static void krylov_free(struct krylov *K)
{
    double *const owned[] = {K->Q, K->Y, K->G, K->c, K->values, K->before, K->work, K->v, K->z, K->q};
    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++)
        mem_free(owned[i]);
}

/* Takes what the block z adds to the space, and the exact rows of A there. *added: rows. */
static jsc_status extend(struct krylov *K, int *added, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const int m = K->m, room = K->most - m < K->l ? K->most - m : K->l, n = K->s->n, d = K->s->d;

    memcpy(K->Q + (size_t)m * (size_t)n, K->z, (size_t)room * (size_t)n * sizeof *K->Q);
    *added = orthonormalise_from(K->Q, m, m + room, n) - m;
    if (*added > 0)
        TRY(spectral_pull(K->s, K->Q + (size_t)m * (size_t)n, *added, K->Y + (size_t)m * (size_t)d, error));
    K->m += *added;
    for (int i = m; i < K->m; i++)
        for (int j = 0; j <= i; j++)
            K->G[(size_t)i * (size_t)K->most + (size_t)j] = K->G[(size_t)j * (size_t)K->most + (size_t)i] = dense_dot(
                K->Y + (size_t)i * (size_t)d, K->Y + (size_t)j * (size_t)d, (size_t)d);
done:
    return status;
}

/* Ritz values of A A^T in the space, coefficients of their vectors in rows of c [m][m]. */
static void ritz(struct krylov *K)
{
    for (int i = 0; i < K->m; i++)
        memcpy(K->c + (size_t)i * (size_t)K->m, K->G + (size_t)i * (size_t)K->most, (size_t)K->m * sizeof *K->c);
    memcpy(K->before, K->values, (size_t)K->m * sizeof *K->before);
    symmetric_eigen(K->c, K->m, K->values, K->work);
}

/* How many of the first `most` values are more than rounding. */
static int standing(const struct krylov *K, int most)
{
    int n = most < K->m ? most : K->m;
    while (n > 0 && !(K->values[n - 1] > VANISHED * K->values[0]))
        n--;
    return n;
}

/* The first n Ritz triples: q [n][rows], unit v [n][d]. */
static void ritz_vectors(const struct krylov *K, int n, double *q, double *v)
{
    row_combine(K->c, n, K->m, K->Q, K->s->n, q);
    row_combine(K->c, n, K->m, K->Y, K->s->d, v);
    for (int i = 0; i < n; i++) {
        double *row = v + (size_t)i * (size_t)K->s->d;
        const double length = sqrt(dense_dot(row, row, (size_t)K->s->d));
        for (int j = 0; j < K->s->d && length > 0.0; j++)
            row[j] /= length;
    }
}

/* || A v - sigma q || from z = A v; what is left in z is that difference. */
static double residual(const struct krylov *K, int i)
{
    double *z = K->z + (size_t)i * (size_t)K->s->n;
    axpy(-sqrt(fmax(K->values[i], 0.0)), K->q + (size_t)i * (size_t)K->s->n, z, (size_t)K->s->n);
    return sqrt(dense_dot(z, z, (size_t)K->s->n));
}

/* The next block A v, and whether it is needed. Exact products tell by their residuals, tangents are too coarse for that. */
static jsc_status next_block(struct krylov *K, int step, bool *settled, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const int n = standing(K, K->l), k = n < K->k ? n : K->k;
    double largest = 0.0;

    *settled = n == 0;
    for (int i = 0; i < k; i++)
        largest = fmax(largest, fabs(K->values[i] - K->before[i]) / K->values[0]);
    if (K->s->A == NULL && step > 0 && largest <= SETTLED)
        *settled = true;
    if (*settled)
        goto done;
    ritz_vectors(K, n, K->q, K->v);
    TRY(spectral_push(K->s, K->v, n, K->z, error));
    memset(K->z + (size_t)n * (size_t)K->s->n, 0, (size_t)(K->l - n) * (size_t)K->s->n * sizeof *K->z);
    if (K->s->A == NULL)
        goto done;
    largest = 0.0;
    for (int i = 0; i < n; i++) {
        const double r = residual(K, i);
        if (i < k)
            largest = fmax(largest, r);
    }
    *settled = largest <= DENSE_SETTLED * sqrt(K->values[0]);
done:
    return status;
}

static jsc_status grow(struct krylov *K, int steps, int *done_steps, jsc_error *error)
{
    jsc_status status = JSC_OK;
    bool settled = false;
    int added = 0;

    for (size_t i = 0; i < (size_t)K->l * (size_t)K->s->n; i++)
        K->z[i] = rng_normal(K->s->request->seed, STREAM_START, i);
    TRY(extend(K, &added, error));
    ritz(K);
    for (int step = 0; step < steps; step++) {
        TRY(next_block(K, step, &settled, error));
        if (settled)
            break;
        TRY(extend(K, &added, error));
        *done_steps = step + 1;
        if (added == 0)
            break;
        ritz(K);
    }
done:
    return status;
}

/* ---- residuals ------------------------------------------------------------------------------------------------------------------ */

/* A v = sigma q + E v with E = (1 - Q^T Q) A, since Q holds q and all q^T A are known. For a fresh normal w, g = (1 - Q^T Q) w pulled back
 * is E^T w, and g.v is normal with variance ||E v||^2: the same probes measure every residual, and ||E||_F^2 too. */
static jsc_status measure(const struct krylov *K, struct triples *out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t n = (size_t)K->s->n, d = (size_t)K->s->d;
    double *w = NULL, *g = NULL, squares = 0.0;

    TRY(mem_new(&w, SPECTRUM_PROBES * n, error));
    TRY(mem_new(&g, SPECTRUM_PROBES * d, error));
    for (size_t i = 0; i < SPECTRUM_PROBES * n; i++)
        w[i] = rng_normal(K->s->request->seed, STREAM_PROBES, i);
    for (size_t i = 0; i < 2 * SPECTRUM_PROBES; i++) /* twice: once leaves rounding of what was taken out */
        for (size_t j = 0; j < (size_t)K->m; j++)
            axpy(-dense_dot(K->Q + j * n, w + i / 2 * n, n), K->Q + j * n, w + i / 2 * n, n);
    TRY(spectral_pull(K->s, w, SPECTRUM_PROBES, g, error));
    for (int i = 0; i < out->n; i++) {
        double sum = 0.0;
        for (size_t j = 0; j < SPECTRUM_PROBES; j++) {
            const double along = dense_dot(g + j * d, out->v + (size_t)i * d, d);
            sum += along * along;
        }
        out->residuals[i] = sqrt(sum / QUANTILE);
    }
    for (size_t j = 0; j < SPECTRUM_PROBES; j++) {
        const double square = dense_dot(g + j * d, g + j * d, d);
        out->rest += square / SPECTRUM_PROBES;
        squares += square * square / SPECTRUM_PROBES;
    }
    const double r = SPECTRUM_PROBES, v = fmax(squares - out->rest * out->rest, 0.0) * r / (r - 1.0);
    out->trace_stderr = sqrt(upper_variance(out->rest, v, r) / r);
    out->trace += out->rest;
    out->probes = SPECTRUM_PROBES;
done:
    mem_free(w);
    mem_free(g);
    return status;
}

static jsc_status measure_exactly(struct krylov *K, struct triples *out, jsc_error *error)
{
    jsc_status status = JSC_OK;

    TRY(spectral_push(K->s, out->v, out->n, K->z, error));
    memcpy(K->q, out->q, (size_t)out->n * (size_t)K->s->n * sizeof *K->q);
    for (int i = 0; i < out->n; i++)
        out->residuals[i] = residual(K, i);
    out->trace = dense_dot(K->s->A, K->s->A, (size_t)K->s->n * (size_t)K->s->d);
done:
    return status;
}

static jsc_status answer(struct krylov *K, struct triples *out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t n = (size_t)K->s->n, d = (size_t)K->s->d;

    out->n = standing(K, K->k);
    TRY(mem_new(&out->sigma, (size_t)out->n, error));
    TRY(mem_new(&out->residuals, (size_t)out->n, error));
    TRY(mem_new(&out->q, (size_t)out->n * n, error));
    TRY(mem_new(&out->v, (size_t)out->n * d, error));
    ritz_vectors(K, out->n, out->q, out->v);
    for (int i = 0; i < out->n; i++)
        out->sigma[i] = sqrt(K->values[i]);
    if (K->s->A != NULL) {
        TRY(measure_exactly(K, out, error));
        goto done;
    }
    for (int i = 0; i < K->m; i++)
        out->trace += fmax(K->values[i], 0.0);
    TRY(measure(K, out, error));
done:
    return status;
}

jsc_status spectral_iterate(struct spectral *s, int k, int extra, int steps, struct triples *out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct krylov K = {.s = s, .k = k < s->n ? k : s->n, .l = k + extra < s->n ? k + extra : s->n};
    const int most_steps = s->A != NULL ? SPECTRUM_DENSE_STEPS : steps;

    *out = (struct triples){0};
    K.most = (int64_t)K.l * (most_steps + 1) < s->n ? K.l * (most_steps + 1) : s->n;
    TRY(krylov_make(&K, error));
    TRY(grow(&K, most_steps, &out->iterations, error));
    TRY(answer(&K, out, error));
done:
    krylov_free(&K);
    return status;
}
