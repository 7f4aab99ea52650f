/* matmul_ref.c: Y = X W^T + bias and its pull-back dX = dY W. Each weight row is read once per TILE rows of X, so that a real model runs
 * end to end in seconds; the order of a sum is that of its index within four (dot) or one (pull-back) running sums, whatever n is. */
#include "ref_internal.h"

enum { TILE = 32 };

/* Four running sums: the additions of one would wait for each other. */
double dot_ref(const double *a, const double *b, size_t n)
{
    double s0 = 0.0, s1 = 0.0, s2 = 0.0, s3 = 0.0;
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        s0 += a[i] * b[i];
        s1 += a[i + 1] * b[i + 1];
        s2 += a[i + 2] * b[i + 2];
        s3 += a[i + 3] * b[i + 3];
    }
    for (; i < n; i++)
        s0 += a[i] * b[i];
    return (s0 + s1) + (s2 + s3);
}

jsc_status matmul_ref(struct jsc_stream *stream, const struct op_matmul *op, jsc_error *error)
{
    const struct ref_weight *weight = (const struct ref_weight *)(const void *)op->w;
    const size_t n_out = op->w->n, k = op->w->k;
    const double *x = op->x;
    double *y = op->y;

    (void)stream, (void)error;
    for (size_t first = 0; first < op->n; first += TILE) {
        const size_t end = op->n - first < TILE ? op->n : first + TILE;
        for (size_t o = 0; o < n_out; o++) {
            for (size_t i = first; i < end; i++) {
                const double value = dot_ref(x + i * k, ref_row(op->w, o), k) + (weight->bias != NULL ? weight->bias[o] : 0.0);
                y[i * n_out + o] = op->accumulate ? y[i * n_out + o] + value : value;
            }
        }
    }
    return JSC_OK;
}

jsc_status matmul_vjp_ref(struct jsc_stream *stream, const struct op_matmul_vjp *op, jsc_error *error)
{
    const size_t n_out = op->w->n, k = op->w->k;
    const double *dy = op->dy;
    double *dx = op->dx;

    (void)stream, (void)error;
    if (!op->accumulate)
        memset(dx, 0, op->n * k * sizeof *dx);
    for (size_t first = 0; first < op->n; first += TILE) {
        const size_t end = op->n - first < TILE ? op->n : first + TILE;
        for (size_t o = 0; o < n_out; o++) {
            const double *restrict w = ref_row(op->w, o);
            for (size_t i = first; i < end; i++) {
                const double c = dy[rows_at(&op->slab, i) * n_out + o];
                double *restrict out = dx + i * k;
                for (size_t j = 0; j < k; j++)
                    out[j] += c * w[j];
            }
        }
    }
    return JSC_OK;
}
