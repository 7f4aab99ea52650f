/* mlp_collapse_ref.c: the VJP of a whole MLP half through a matrix per token: W_t (HALF) or the d x d product A'_t (FULL). */
#include "ref_internal.h"

/* Scratch in order: W_t [f][d], A_t [d][d] (FULL), row [f or d]: a cotangent on its way. */
size_t mlp_collapse_scratch_ref(struct jsc_device *device, enum mlp_form form, size_t n, int B, int d, int f)
{
    const size_t dz = (size_t)d, fz = (size_t)f;
    (void)device, (void)n, (void)B;
    return (fz * dz + (form == MLP_FULL ? dz * dz : 0) + fz + dz) * sizeof(double);
}

/* W_t = diag(c1) Wg + diag(c2) Wu, or diag(c1) Wu without a gate */
static void form_w(const struct op_mlp_collapse *op, const double *c1, const double *c2, double *w_t)
{
    const size_t d = (size_t)op->d, f = (size_t)op->f;
    for (size_t o = 0; o < f; o++) {
        const double *first = ref_row(op->up, o), *second = op->gated ? ref_row(op->up, f + o) : first;
        for (size_t j = 0; j < d; j++)
            w_t[o * d + j] = c1[o] * first[j] + (op->gated ? c2[o] * second[j] : 0.0);
    }
}

/* out [n_out] = in [n] M [n][n_out] */
static void row_times(const double *in, const double *m, size_t n, size_t n_out, double *out)
{
    memset(out, 0, n_out * sizeof *out);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n_out; j++)
            out[j] += in[i] * m[i * n_out + j];
}

/* A'_t = r A_t diag(w) (I - xhat xhat^T / d), LAYER also minus 1 1^T / d: the norm's VJP of each row of A_t, from zero */
static void fold_norm(const struct op_mlp_collapse *op, const double *x, double r, double mean, double *a_t, double *row)
{
    const size_t d = (size_t)op->d;
    for (size_t i = 0; op->kind != NORM_NONE && i < d; i++) {
        memset(row, 0, d * sizeof *row);
        norm_vjp_row_ref(op->kind, d, x, r, mean, op->w, a_t + i * d, row);
        memcpy(a_t + i * d, row, d * sizeof *row);
    }
}

/* One gradient row through W_t and the norm, or through A'_t; delta is scratch of d. */
static void pull_row(const struct op_mlp_collapse *op, const double *w_t, const double *a_t, const double *x, double r, double mean,
                     const double *dy, double *R, double *da, double *delta)
{
    const size_t d = (size_t)op->d, f = (size_t)op->f;
    if (op->form == MLP_HALF) {
        row_times(dy, ref_row(op->down, 0), d, f, da);
        row_times(da, w_t, f, d, delta);
        norm_vjp_row_ref(op->kind, d, x, r, mean, op->w, delta, R);
    } else {
        row_times(dy, a_t, d, d, delta);
        for (size_t j = 0; j < d; j++)
            R[j] += delta[j];
    }
}

jsc_status mlp_collapse_ref(struct jsc_stream *stream, const struct op_mlp_collapse *op, jsc_error *error)
{
    const size_t d = (size_t)op->d, f = (size_t)op->f, B = (size_t)op->B;
    double *w_t = op->scratch, *a_t = w_t + f * d, *da = a_t + (op->form == MLP_FULL ? d * d : 0), *delta = da + f;

    (void)stream, (void)error;
    assert(op->form == MLP_HALF || op->form == MLP_FULL);
    for (size_t t = op->first; t < op->first + op->n; t++) {
        const double *x = (const double *)op->x + t * d;
        const double r = op->kind != NORM_NONE ? ((const double *)op->r)[t] : 1.0;
        const double mean = op->kind == NORM_LAYER ? ((const double *)op->mean)[t] : 0.0;
        form_w(op, (const double *)op->c1 + t * f, op->gated ? (const double *)op->c2 + t * f : NULL, w_t);
        if (op->form == MLP_FULL) {
            for (size_t i = 0; i < d; i++)
                row_times(ref_row(op->down, i), w_t, f, d, a_t + i * d);
            fold_norm(op, x, r, mean, a_t, delta);
        }
        for (size_t row = t * B; row < (t + 1) * B; row++) {
            double *R = (double *)op->R + row * d, *G = op->G != NULL ? (double *)op->G + row * d : NULL, squares = 0.0;
            const double *dy = op->dy != NULL ? (const double *)op->dy + (row - op->first * B) * d : G;
            pull_row(op, w_t, a_t, x, r, mean, dy, R, da, delta);
            for (size_t j = 0; j < d; j++)
                squares += R[j] * R[j];
            if (G != NULL && G != R)
                memcpy(G, R, d * sizeof *G);
            if (op->ss != NULL)
                ((double *)op->ss)[row] = squares;
        }
    }
    return JSC_OK;
}
