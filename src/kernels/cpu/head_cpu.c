/* head_cpu.c: both ends of the network: embedding rows, cotangents of logits; and moving rows of the residual stream. Formulas: ops.h.
 * Oracle: head_ref.c. Limit: memory bandwidth. */
#include "cot_cpu.h"
#include "cpu_internal.h"

#include <string.h>

#define HEAD_COLUMNS 64    /* of one task: rows are read in pieces of 256 bytes */
#define COPY_WORK    65536 /* elements below which a team costs more than it saves */

CPU_CLONES static void scale_into(const float *x, size_t n, double scale, float *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (float)(scale * (double)x[i]);
}

jsc_status embed_cpu(struct jsc_stream *stream, const struct op_embed *op, jsc_error *error)
{
    (void)error;
    const struct cpu_weight *w = (const struct cpu_weight *)op->w;
    const size_t d = w->base.k;
#pragma omp parallel for num_threads(cpu_threads(stream)) schedule(static) if (op->n * d > COPY_WORK)
    for (size_t i = 0; i < op->n; i++)
        scale_into(w->w + (size_t)op->ids[i] * d, d, op->scale, (float *)op->out + i * d);
    return JSC_OK;
}

CPU_CLONES static void add_scaled(float *x, const float *y, size_t n, float scale)
{
    for (size_t i = 0; i < n; i++)
        x[i] += scale * y[i];
}

jsc_status add_cpu(struct jsc_stream *stream, const struct op_add *op, jsc_error *error)
{
    (void)error;
    const size_t piece = 4096, pieces = (op->n + piece - 1) / piece;
#pragma omp parallel for num_threads(cpu_threads(stream)) schedule(static) if (op->n > COPY_WORK)
    for (size_t i = 0; i < pieces; i++) {
        const size_t at = i * piece, n = op->n - at < piece ? op->n - at : piece;
        add_scaled((float *)op->x + at, (const float *)op->y + at, n, (float)op->scale);
    }
    return JSC_OK;
}

/* sum += coef w for a piece of a row */
CPU_CLONES static void accumulate(double *sum, const float *w, size_t n, double coef)
{
    for (size_t i = 0; i < n; i++)
        sum[i] += coef * (double)w[i];
}

jsc_status head_vjp_cpu(struct jsc_stream *stream, const struct op_head_vjp *op, jsc_error *error)
{
    (void)error;
    const struct cpu_weight *w = (const struct cpu_weight *)op->w;
    const size_t d = w->base.k, spans = (d + HEAD_COLUMNS - 1) / HEAD_COLUMNS, cot = cpu_cot(stream->device);
#pragma omp parallel for num_threads(cpu_threads(stream)) schedule(static) if ((op->start[op->n] - op->start[0]) * d > COPY_WORK)
    for (size_t task = 0; task < op->n * spans; task++) {
        const size_t i = task / spans, c = task % spans * HEAD_COLUMNS, n = d - c < HEAD_COLUMNS ? d - c : HEAD_COLUMNS;
        double sum[HEAD_COLUMNS] = {0};
        for (size_t j = op->start[i]; j < op->start[i + 1]; j++)
            accumulate(sum, w->w + (size_t)op->ids[j] * d + c, n, op->coef[j]);
        const dptr place = dptr_at(op->out, i * d + c, cot);
        float scratch[HEAD_COLUMNS], *out = cot_begin(place, cot, scratch);
        for (size_t e = 0; e < n; e++)
            out[e] = (float)sum[e];
        cot_end(place, cot, n, out);
    }
    return JSC_OK;
}

/* size: bytes of an element of out */
static void scatter_into(const struct op_scatter *op, int threads, dptr out, size_t size)
{
    const size_t d = (size_t)op->d, B = (size_t)op->rows.B, total = op->N * B;
#pragma omp parallel for num_threads(threads) schedule(static) if (total * d > COPY_WORK)
    for (size_t r = 0; r < total; r++)
        memset(dptr_at(out, r * d, size), 0, d * size);
    for (size_t r = 0; r < op->rows.n; r++) {
        const size_t row = op->rows.tok != NULL ? (size_t)op->rows.tok[r] * B + r % B : r;
        cot_write(dptr_at(out, row * d, size), size, d, (const float *)op->src + r * d);
    }
}

jsc_status scatter_cpu(struct jsc_stream *stream, const struct op_scatter *op, jsc_error *error)
{
    (void)error;
    scatter_into(op, cpu_threads(stream), op->R, sizeof(float));
    if (op->G != NULL && op->G != op->R)
        scatter_into(op, cpu_threads(stream), op->G, cpu_cot(stream->device));
    return JSC_OK;
}
