/* weight_decode.c: rows of a weight from a file's element types to floats: order of rows, transposed storage, scale, check. No threads:
 * callers share out the rows. */
#include "weight_decode.h"

#include <math.h>
#include <string.h>

#define TRANSPOSE_ROWS 16                /* stored rows at once: 64 bytes of each row that is written */
#define FORGET_BYTES   ((size_t)4 << 20) /* of a mapped file that a thread reads before it gives their pages back */

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

static void scale_row(float *row, size_t n, double scale)
{
    for (size_t i = 0; i < n; i++)
        row[i] = (float)(scale * (double)row[i]);
}

static void finish_row(const struct weight_part *part, float *row, size_t r, size_t k, struct weight_bad *bad)
{
    size_t column = 0;
    if (part->scale != 1.0)
        scale_row(row, k, part->scale);
    if (bad->found || row_is_finite(row, k))
        return;
    while (isfinite(row[column]))
        column++;
    *bad = (struct weight_bad){r, column, (double)row[column], true};
}

size_t weight_unit(const struct weight_part *part)
{
    return part->transposed ? dtype_info(part->type)->block : 1;
}

size_t weight_strip(const struct weight_part *part, size_t n)
{
    return part->transposed ? TRANSPOSE_ROWS * n : 0;
}

/* Stored as [k][n]: a strip of stored rows, as wide as the rows that are wanted, is decoded and turned. */
static void decode_transposed(const struct weight_part *part, size_t k, size_t first, size_t n, float *strip, float *out)
{
    size_t skip = 0; /* bytes before the first wanted column; cannot fail where the whole row was found in the file */
    (void)dtype_bytes(part->type, first, &skip);
    for (size_t c0 = 0; c0 < k; c0 += TRANSPOSE_ROWS) {
        const size_t rows = k - c0 < TRANSPOSE_ROWS ? k - c0 : TRANSPOSE_ROWS;
        for (size_t i = 0; i < rows; i++)
            dtype_row_f32(part->type, (const char *)part->bytes + (c0 + i) * part->row_bytes + skip, n, strip + i * n);
        for (size_t r = 0; r < n; r++)
            for (size_t i = 0; i < rows; i++)
                out[r * k + c0 + i] = strip[i * n + r];
    }
}

/* Bytes from the first of n stored rows to the last one's end, never past it: what follows may be no file. 0: nothing that is mapped. */
static size_t mapped_bytes(const struct weight_part *part, size_t n, size_t columns)
{
    size_t row = 0;
    return part->mapped && n > 0 && dtype_bytes(part->type, columns, &row) ? (n - 1) * part->row_bytes + row : 0;
}

/* The same of the whole part. */
static size_t part_bytes(const struct weight_part *part, size_t k)
{
    size_t rows = part->transposed ? k : part->row_of == NULL ? part->n : 0;
    for (size_t r = 0; r < part->n && part->row_of != NULL; r++)
        rows = (size_t)part->row_of[r] >= rows ? (size_t)part->row_of[r] + 1 : rows;
    return mapped_bytes(part, rows, part->transposed ? part->n : k);
}

void weight_expected(const struct weight_part *parts, size_t n_parts, size_t k)
{
    for (const struct weight_part *part = parts; part < parts + n_parts; part++)
        if (part->mapped)
            mem_expect_mapped(part->bytes, part_bytes(part, k));
}

void weight_decoded(const struct weight_part *part, size_t k, size_t first, size_t n)
{
    if (!part->transposed && part->row_of == NULL)
        mem_forget_mapped((const char *)part->bytes + first * part->row_bytes, mapped_bytes(part, n, k));
    else if (n == part->n)
        mem_forget_mapped(part->bytes, part_bytes(part, k));
}

void weight_decode(const struct weight_part *part, size_t k, size_t first, size_t n, float *strip, float *out, struct weight_bad *bad)
{
    size_t kept = first; /* rows from here on still hold their pages */
    if (part->transposed)
        decode_transposed(part, k, first, n, strip, out);
    for (size_t r = first; r < first + n; r++, out += k) {
        if (!part->transposed)
            dtype_row_f32(part->type, (const char *)part->bytes + weight_part_row(part, r) * part->row_bytes, k, out);
        finish_row(part, out, r, k, bad);
        if ((r + 1 - kept) * part->row_bytes >= FORGET_BYTES) {
            weight_decoded(part, k, kept, r + 1 - kept);
            kept = r + 1;
        }
    }
}

void weight_join(struct weight_bad *all, const struct weight_bad *other)
{
    if (other->found && (!all->found || other->row < all->row))
        *all = *other;
}

jsc_status weight_refuse(const struct weight_part *part, const struct weight_bad *bad, jsc_error *error)
{
    const size_t stored = weight_part_row(part, bad->row);
    return status_set(error, JSC_E_NUMERIC, "%s: element [%zu,%zu] is not finite (%g); the file is damaged: fetch it again", part->name,
                      part->transposed ? bad->column : stored, part->transposed ? bad->row : bad->column, bad->value);
}

jsc_status weight_bias(const double *bias, size_t n, const char *name, float *out, jsc_error *error)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = (float)bias[i];
        if (!isfinite(out[i]))
            return status_set(error, JSC_E_NUMERIC, "%s: element [%zu] of its bias is not finite (%g); the file is damaged: fetch it again",
                              name, i, bias[i]);
    }
    return JSC_OK;
}
