/* row_sums.cuh: sums of listed rows of a weight in double: what cotangents of logits and the mean of Fisher rows are made of. */
#ifndef JSC_ROW_SUMS_CUH
#define JSC_ROW_SUMS_CUH

#include "rows.cuh"

/* out[i] = sum over j in [start[i], start[i+1]) of coef[j] slope[j] W[ids[j]]    [n][d];  start, ids, coef, slope (NULL: 1) are host arrays.
 * A list is cut into segments of 128 entries from its own beginning; a segment is summed in order, then the segments in order: the same bits
 * however the lists are dealt out. */
struct row_sums {
    size_t n;
    const size_t *start;
    const int32_t *ids;
    const double *coef, *slope;
    const struct cuda_weight *w;
    void *out;
    bool in_double; /* out is double, else COT */
    void *scratch;  /* row_sums_scratch(d) bytes */
};

extern "C" {
size_t row_sums_scratch(size_t d);
jsc_status row_sums(struct jsc_stream *stream, const struct row_sums *sums, jsc_error *error);
}

/* Eight elements of row `id` of W = w + w_low, exactly, in double. */
template <bool VECTOR, class W>
JSC_DEVICE void load_weight(const W *w, const W *w_low, size_t at, int c, int d, double out[PIECE])
{
    float x[PIECE], low[PIECE] = {};
    load_piece<VECTOR>(w + at, c, d, x);
    if (w_low)
        load_piece<VECTOR>(w_low + at, c, d, low);
#pragma unroll
    for (int i = 0; i < PIECE; i++)
        out[i] = (double)x[i] + (double)low[i];
}

#endif
