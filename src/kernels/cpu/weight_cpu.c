/* weight_cpu.c: weights from a file's element types to float rows, in parallel, each value checked to be finite.
 *
 * One copy [n][k] serves the forward, the pull-back and reading of rows; a second and third exist only where oneDNN wants its own
 * layout (matmul_onednn.c). In fast precision the pull-back has a copy in bfloat16. */
#include "cot_cpu.h"
#include "cpu_internal.h"

#include <math.h>
#include <string.h>

#define TRANSPOSE_ROWS 16 /* stored rows at once: 64 bytes of each row that is written */

/* Where the first value that is not finite stands in W. */
struct bad_value {
    size_t row, column;
    double value;
    bool found;
};

CPU_CLONES static bool row_is_finite(const float *row, size_t n)
{
    const uint32_t exponent = 0x7f800000u;
    uint32_t any = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, row + i, sizeof bits);
        any |= (uint32_t)((bits & exponent) == exponent);
    }
    return any == 0;
}

CPU_CLONES static void scale_row(float *row, size_t n, double scale)
{
    for (size_t i = 0; i < n; i++)
        row[i] = (float)(scale * (double)row[i]);
}

static void note_bad(struct bad_value *bad, const float *row, size_t r, size_t k)
{
    size_t column = 0;
    while (column < k && isfinite(row[column]))
        column++;
#pragma omp critical(jsc_weight_bad)
    if (!bad->found || r < bad->row)
        *bad = (struct bad_value){r, column, (double)row[column], true};
}

static void finish_row(const struct weight_part *part, float *row, size_t r, size_t k, struct bad_value *bad)
{
    if (part->scale != 1.0)
        scale_row(row, k, part->scale);
    if (!row_is_finite(row, k))
        note_bad(bad, row, r, k);
}

static void decode_part(const struct weight_part *part, size_t k, int threads, float *out, struct bad_value *bad)
{
#pragma omp parallel for num_threads(threads) schedule(static)
    for (size_t r = 0; r < part->n; r++) {
        const size_t stored = part->row_of != NULL ? (size_t)part->row_of[r] : r;
        dtype_row_f32(part->type, (const char *)part->bytes + stored * part->row_bytes, k, out + r * k);
        finish_row(part, out + r * k, r, k, bad);
    }
}

/* Stored as [k][n]: strips of stored rows are decoded and turned. */
static jsc_status decode_transposed(const struct weight_part *part, size_t k, int threads, float *out, struct bad_value *bad,
                                    jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t n = part->n, strips = (k + TRANSPOSE_ROWS - 1) / TRANSPOSE_ROWS;
    float *scratch = NULL;

    TRY(mem_new(&scratch, (size_t)threads * TRANSPOSE_ROWS * n, error));
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int thread = 0; thread < threads; thread++) {
        float *strip = scratch + (size_t)thread * TRANSPOSE_ROWS * n;
        for (size_t s = (size_t)thread; s < strips; s += (size_t)threads) {
            const size_t c0 = s * TRANSPOSE_ROWS, rows = k - c0 < TRANSPOSE_ROWS ? k - c0 : TRANSPOSE_ROWS;
            for (size_t i = 0; i < rows; i++)
                dtype_row_f32(part->type, (const char *)part->bytes + (c0 + i) * part->row_bytes, n, strip + i * n);
            for (size_t r = 0; r < n; r++)
                for (size_t i = 0; i < rows; i++)
                    out[r * k + c0 + i] = strip[i * n + r];
        }
    }
#pragma omp parallel for num_threads(threads) schedule(static)
    for (size_t r = 0; r < n; r++)
        finish_row(part, out + r * k, r, k, bad);
done:
    mem_free(scratch);
    return status;
}

/* Names the element as the file holds it. */
static jsc_status refuse(const struct weight_part *part, const struct bad_value *bad, jsc_error *error)
{
    const size_t stored = part->row_of != NULL ? (size_t)part->row_of[bad->row] : bad->row;
    return status_set(error, JSC_E_NUMERIC, "%s: element [%zu,%zu] is not finite (%g); the file is damaged: fetch it again", part->name,
                      part->transposed ? bad->column : stored, part->transposed ? bad->row : bad->column, bad->value);
}

static jsc_status decode(struct cpu_weight *w, const struct weight_part *parts, size_t n_parts, int threads, jsc_error *error)
{
    jsc_status status = JSC_OK;
    float *out = w->w;
    for (const struct weight_part *part = parts; part < parts + n_parts; part++) {
        struct bad_value bad = {0};
        if (part->transposed)
            TRY(decode_transposed(part, w->base.k, threads, out, &bad, error));
        else
            decode_part(part, w->base.k, threads, out, &bad);
        if (bad.found)
            TRY(refuse(part, &bad, error));
        out += part->n * w->base.k;
    }
done:
    return status;
}

void weight_free_cpu(struct jsc_device *device, struct jsc_weight *weight)
{
    (void)device;
    struct cpu_weight *w = (struct cpu_weight *)weight;
    if (w != NULL) {
        onednn_packed_free(w->packed[false]);
        onednn_packed_free(w->packed[true]);
        mem_free(w->w_cot);
        mem_free(w->bias);
        mem_free(w->w);
    }
    mem_free(w);
}

uint64_t weight_bytes_cpu(struct jsc_device *device, size_t n, size_t k, unsigned uses)
{
    const struct cpu_device *d = (const struct cpu_device *)device;
    const uint64_t elements = (uint64_t)n * k, forward = uses & USE_FORWARD && d->engine != NULL ? onednn_pack_bytes(d, n, k, true) : 0;
    uint64_t back = uses & USE_VJP && d->engine != NULL ? onednn_pack_bytes(d, n, k, false) : 0;
    if (uses & USE_VJP && back == 0 && d->cot != sizeof(float))
        back = elements * d->cot;
    return elements * sizeof(float) + forward + back;
}

/* The copies that products want besides the plain floats. */
static jsc_status make_copies(const struct cpu_device *d, struct cpu_weight *w, unsigned uses, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t n = w->base.n, k = w->base.k;

    for (int forward = 0; forward < 2 && d->engine != NULL; forward++)
        if (uses & (forward ? USE_FORWARD : USE_VJP)) {
            TRY(onednn_pack(d, w->w, n, k, forward, &w->packed[forward], error));
            w->base.bytes += onednn_packed_bytes(w->packed[forward]);
        }
    if (d->cot != sizeof(float) && uses & USE_VJP && w->packed[false] == NULL) {
        TRY(mem_new(&w->w_cot, n * k, error));
#pragma omp parallel for num_threads(d->base.threads) schedule(static)
        for (size_t r = 0; r < n; r++)
            bf16_round(w->w + r * k, k, w->w_cot + r * k);
        w->base.bytes += n * k * d->cot;
    }
done:
    return status;
}

jsc_status weight_make_cpu(struct jsc_device *device, const struct weight_part *parts, size_t n_parts, size_t k, unsigned uses,
                           const double *bias, struct jsc_weight **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const struct cpu_device *d = (const struct cpu_device *)device;
    struct cpu_weight *w = NULL;
    size_t n = 0, elements = 0;

    for (size_t i = 0; i < n_parts; i++)
        n += parts[i].n;
    if (!size_mul(n, k, &elements))
        FAIL(JSC_E_MEMORY, "%s: %zu rows of %zu are more than this machine can address", parts[0].name, n, k);
    TRY(mem_new(&w, 1, error));
    w->base.n = n;
    w->base.k = k;
    TRY(mem_new(&w->w, elements, error));
    TRY(decode(w, parts, n_parts, device->threads, error));
    w->base.bytes = elements * sizeof *w->w;
    if (bias != NULL) {
        TRY(mem_new(&w->bias, n, error));
        for (size_t i = 0; i < n; i++) {
            w->bias[i] = (float)bias[i];
            if (!isfinite(w->bias[i]))
                FAIL(JSC_E_NUMERIC, "%s: element [%zu] of its bias is not finite (%g); the file is damaged: fetch it again", parts[0].name,
                     i, bias[i]);
        }
        w->base.has_bias = true;
        w->base.bytes += n * sizeof *w->bias;
    }
    TRY(make_copies(d, w, uses, error));
    *out = &w->base;
    w = NULL;
done:
    weight_free_cpu(device, (struct jsc_weight *)w);
    return status;
}
