/* weight_ref.c: a linear layer in double, decoded exactly (F64 keeps all its digits), checked for values that are not finite. */
#include "ref_internal.h"

/* Decodes one part into w [part->n][k]; line has room for one stored row. */
static jsc_status decode_part(const struct weight_part *part, size_t k, double *line, double *w, jsc_error *error)
{
    const size_t rows = part->transposed ? k : part->n, columns = part->transposed ? part->n : k;

    for (size_t r = 0; r < rows; r++) {
        const size_t stored = weight_part_row(part, r);
        dtype_row_f64(part->type, (const char *)part->bytes + stored * part->row_bytes, columns, line);
        for (size_t c = 0; c < columns; c++) {
            const double value = line[c] * part->scale;
            if (!isfinite(value))
                return status_set(error, JSC_E_NUMERIC, "%s: element [%zu,%zu] is not finite (%g); the file is damaged: fetch it again",
                                  part->name, stored, c, line[c]);
            if (part->transposed)
                w[c * k + r] = value;
            else
                w[r * k + c] = value;
        }
    }
    return JSC_OK;
}

uint64_t weight_bytes_ref(struct jsc_device *device, enum dtype type, size_t n, size_t k, unsigned uses)
{
    (void)device, (void)type, (void)uses;
    return (uint64_t)n * k * sizeof(double);
}

jsc_status weight_make_ref(struct jsc_device *device, const struct weight_part *parts, size_t n_parts, size_t k, unsigned uses,
                           const double *bias, struct jsc_weight **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct ref_weight *weight = NULL;
    double *line = NULL;
    size_t n = 0, longest = k, count = 0;

    (void)uses; /* one form serves all */
    for (size_t p = 0; p < n_parts; p++) {
        n += parts[p].n;
        if (parts[p].transposed && parts[p].n > longest)
            longest = parts[p].n;
    }
    if (!size_mul(n, k, &count))
        FAIL(JSC_E_MEMORY, "%s: %zu x %zu elements are more than this machine can address", parts[0].name, n, k);
    TRY(mem_new(&weight, 1, error));
    TRY(mem_new(&weight->w, count, error));
    TRY(mem_new(&line, longest, error));
    n = 0;
    for (size_t p = 0; p < n_parts; p++) {
        TRY(decode_part(&parts[p], k, line, weight->w + n * k, error));
        n += parts[p].n;
    }
    if (bias != NULL) {
        TRY(mem_new(&weight->bias, n, error));
        memcpy(weight->bias, bias, n * sizeof *bias);
    }
    weight->base = (struct jsc_weight){
        .n = n, .k = k, .bytes = (count + (bias != NULL ? n : 0)) * sizeof(double), .has_bias = bias != NULL};
    *out = &weight->base, weight = NULL;
done:
    mem_free(line);
    weight_free_ref(device, weight != NULL ? &weight->base : NULL);
    return status;
}

void weight_free_ref(struct jsc_device *device, struct jsc_weight *weight)
{
    (void)device;
    if (weight == NULL)
        return;
    struct ref_weight *own = (struct ref_weight *)(void *)weight;
    mem_free(own->w);
    mem_free(own->bias);
    mem_free(own);
}
