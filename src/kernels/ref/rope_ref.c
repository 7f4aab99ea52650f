/* rope_ref.c: rotary position embedding and its transpose, in place. */
#include "ref_internal.h"

/* One head: turns each pair by its angle, or back (sign -1: the transpose of a rotation is the rotation by the opposite angle). */
static void turn_head(double *head, size_t rot, enum rope_layout layout, const double *c, const double *s, double sign)
{
    for (size_t j = 0; j < rot / 2; j++) {
        double *a = layout == ROPE_HALF_SPLIT ? &head[j] : &head[2 * j];
        double *b = layout == ROPE_HALF_SPLIT ? &head[j + rot / 2] : &head[2 * j + 1];
        const double a0 = *a, b0 = *b;
        *a = a0 * c[j] - sign * b0 * s[j];
        *b = b0 * c[j] + sign * a0 * s[j];
    }
}

jsc_status rope_ref(struct jsc_stream *stream, const struct op_rope *op, jsc_error *error)
{
    const size_t half = (size_t)op->rot / 2;

    (void)stream, (void)error;
    for (size_t i = 0; i < op->n; i++) {
        const size_t t = i % (size_t)op->T;
        for (size_t j = 0; j < (size_t)op->heads; j++)
            turn_head((double *)op->x + i * (size_t)op->stride + j * (size_t)op->h, (size_t)op->rot, op->layout,
                      (const double *)op->cos + t * half, (const double *)op->sin + t * half, 1.0);
    }
    return JSC_OK;
}

jsc_status rope_vjp_ref(struct jsc_stream *stream, const struct op_rope_vjp *op, jsc_error *error)
{
    const size_t half = (size_t)op->rot / 2;

    (void)stream, (void)error;
    for (size_t i = 0; i < op->n; i++) {
        const size_t t = i / (size_t)op->B % (size_t)op->T;
        for (size_t j = 0; j < (size_t)op->heads; j++)
            turn_head((double *)op->x + i * (size_t)op->stride + j * (size_t)op->h, (size_t)op->rot, op->layout,
                      (const double *)op->cos + t * half, (const double *)op->sin + t * half, -1.0);
    }
    return JSC_OK;
}
