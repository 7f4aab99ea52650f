/* weight_cpu.c: weights from a file's element types to float rows, in parallel, each value checked to be finite.
 *
 * One copy [n][k] serves the forward, the pull-back and reading of rows; a second and third exist only where oneDNN wants its own
 * layout (matmul_onednn.c). In fast precision the pull-back has a copy in bfloat16.
 * Loading is bound by memory: of a bfloat16 file 72 % of the time goes into the kernel's clearing of fresh pages (Zen 2, two cores).
 * Not done: bfloat16 weights kept as they are and decoded before each product. Measured 2026-11-25, 8192 x 2048, one core, blocks of 128
 * rows before oneDNN: Y = X W^T 11 % faster at 23 rows, 7 % slower at 512; dX = dY W 9 % and 2 % slower. It would halve the memory, but
 * every reader of W would need a second form. */
#include "cot_cpu.h"
#include "cpu_internal.h"
#include "weight_decode.h"

#define SHARE_ELEMENTS ((size_t)1 << 16) /* of a thread at least: less takes no longer than waking it */

/* Each thread takes rows that follow each other. */
static jsc_status decode_part(const struct weight_part *part, size_t k, int most_threads, float *out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t worth = part->n * k / SHARE_ELEMENTS + 1;
    const int threads = worth < (size_t)most_threads ? (int)worth : most_threads;
    const size_t unit = weight_unit(part), share = round_up((part->n + (size_t)threads - 1) / (size_t)threads, unit);
    const size_t strip = weight_strip(part, share);
    struct weight_bad bad = {0};
    float *strips = NULL;

    if (strip > 0)
        TRY(mem_new(&strips, (size_t)threads * strip, error));
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int thread = 0; thread < threads; thread++) {
        const size_t first = (size_t)thread * share, left = first < part->n ? part->n - first : 0;
        struct weight_bad own = {0};
        if (left > 0)
            weight_decode(part, k, first, left < share ? left : share, strip > 0 ? strips + (size_t)thread * strip : NULL, out + first * k,
                          &own);
#pragma omp critical(jsc_weight_bad)
        weight_join(&bad, &own);
    }
    weight_decoded(part, k, 0, part->n);
    if (bad.found)
        TRY(weight_refuse(part, &bad, error));
done:
    mem_free(strips);
    return status;
}

static jsc_status decode(struct cpu_weight *w, const struct weight_part *parts, size_t n_parts, int threads, jsc_error *error)
{
    jsc_status status = JSC_OK;
    float *out = w->w;
    weight_expected(parts, n_parts, w->base.k);
    for (const struct weight_part *part = parts; part < parts + n_parts; part++) {
        TRY(decode_part(part, w->base.k, threads, out, error));
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

uint64_t weight_bytes_cpu(struct jsc_device *device, enum dtype type, size_t n, size_t k, unsigned uses)
{
    (void)type; /* floats, whatever it was */
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
        TRY(weight_bias(bias, n, parts[0].name, w->bias, error));
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
