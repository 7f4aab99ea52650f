/* weight_decode.h: rows of a weight from a file's element types to floats, scaled and checked to be finite: shared by backends. */
#ifndef JSC_WEIGHT_DECODE_H
#define JSC_WEIGHT_DECODE_H

#include "ops.h"

/* Where the first value that is not finite stands in a part, as [n][k]. */
struct weight_bad {
    size_t row, column;
    double value;
    bool found;
};

/* How rows of a part are shared out: the first of a share is a multiple of this (blocks of quantised types are not cut). */
size_t weight_unit(const struct weight_part *part);
/* Floats of scratch that decoding n rows at once takes. */
size_t weight_strip(const struct weight_part *part, size_t n);
/* Rows first .. first + n - 1 of the part into out [n][k]; gives back mapped pages where rows are stored in order; notes the first value that is not finite in bad, unless one is noted already. */
void weight_decode(const struct weight_part *part, size_t k, size_t first, size_t n, float *strip, float *out, struct weight_bad *bad);
/* The parts of W[.][k] will be decoded next: their mapped pages are asked for. */
void weight_expected(const struct weight_part *parts, size_t n_parts, size_t k);
/* Rows first .. first + n - 1 were decoded: their mapped pages go back; if the rows are not stored in order, only when n is the whole part. */
void weight_decoded(const struct weight_part *part, size_t k, size_t first, size_t n);
/* The one that stands first; workers that shared a part join what they found. */
void weight_join(struct weight_bad *all, const struct weight_bad *other);
/* JSC_E_NUMERIC: names the element as the file holds it. */
jsc_status weight_refuse(const struct weight_part *part, const struct weight_bad *bad, jsc_error *error);
/* A bias as floats, out [n]; JSC_E_NUMERIC names the layer and the element that is not finite. */
jsc_status weight_bias(const double *bias, size_t n, const char *name, float *out, jsc_error *error);

#endif
