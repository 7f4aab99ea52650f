/* rope_cpu.c: rotary position embedding and its transpose, in place. Formulas: ops.h. Oracle: rope_ref.c. Limit: memory bandwidth. */
#include "cot_cpu.h"
#include "cpu_internal.h"

#define ROPE_WORK 16384 /* pairs below which a team costs more than it saves */

/* sign +1: (a, b) -> (a c - b s, b c + a s); -1: the transpose. */
CPU_CLONES static void rotate_row(float *x, int heads, int h, int rot, enum rope_layout layout, const float *c, const float *s, float sign)
{
    const int half = rot / 2;
    for (int head = 0; head < heads; head++, x += h) {
        if (layout == ROPE_HALF_SPLIT) {
            float *lower = x, *upper = x + half;
#pragma omp simd
            for (int j = 0; j < half; j++) {
                const float a = lower[j], b = upper[j], sine = sign * s[j];
                lower[j] = a * c[j] - b * sine;
                upper[j] = b * c[j] + a * sine;
            }
        } else {
            for (int j = 0; j < half; j++) {
                const float a = x[2 * j], b = x[2 * j + 1], sine = sign * s[j];
                x[2 * j] = a * c[j] - b * sine;
                x[2 * j + 1] = b * c[j] + a * sine;
            }
        }
    }
}

jsc_status rope_cpu(struct jsc_stream *stream, const struct op_rope *op, jsc_error *error)
{
    (void)error;
    const size_t half = (size_t)op->rot / 2;
#pragma omp parallel for num_threads(cpu_threads(stream)) schedule(static) if (op->n * (size_t)op->heads * half > ROPE_WORK)
    for (size_t i = 0; i < op->n; i++) {
        const size_t at = i % (size_t)op->T * half;
        rotate_row((float *)op->x + i * (size_t)op->stride, op->heads, op->h, op->rot, op->layout, (const float *)op->cos + at,
                   (const float *)op->sin + at, 1.0f);
    }
    return JSC_OK;
}

jsc_status rope_vjp_cpu(struct jsc_stream *stream, const struct op_rope_vjp *op, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t half = (size_t)op->rot / 2, width = (size_t)op->heads * (size_t)op->h, cot = cpu_cot(stream->device);
    float *floats = NULL;

    TRY(cpu_cot_rows(stream, width, &floats, error));
#pragma omp parallel for num_threads(cpu_threads(stream)) schedule(static) if (op->n * (size_t)op->heads * half > ROPE_WORK)
    for (size_t i = 0; i < op->n; i++) {
        const size_t at = i / (size_t)op->B % (size_t)op->T * half;
        const dptr place = dptr_at(op->x, i * (size_t)op->stride, cot);
        float *x = cot_begin(place, cot, cpu_cot_row(floats, width));
        (void)cot_read(place, cot, width, x);
        rotate_row(x, op->heads, op->h, op->rot, op->layout, (const float *)op->cos + at, (const float *)op->sin + at, -1.0f);
        cot_end(place, cot, width, x);
    }
done:
    return status;
}
