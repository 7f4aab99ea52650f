/* test_weight_cuda.c: how the CUDA backend loads weights, on the emulator: pieces, the second bf16 term, failing calls. What every backend
 * must do is in test_weight.c. Needs JSC_SIMT. */
#include "testing.h"

#ifndef JSC_SIMT

Test(weight_cuda, needs_the_emulator)
{
    cr_skip_test("built without JSC_SIMT");
}

#else

#include "cuda_internal.h"
#include "simt.h"

static void open_cuda(struct rig *rig, jsc_precision precision)
{
    rig_open(rig, precision == JSC_PRECISION_FAST ? fast_cuda() : test_cuda(), 3);
}

static const struct cuda_weight *make(struct rig *rig, const struct weight_part *parts, size_t n_parts, size_t k)
{
    struct jsc_weight *w = NULL;
    rig_ok(rig, rig->ops->weight_make(rig->device, parts, n_parts, k, USE_FORWARD, NULL, &w, &rig->error), "weight_make");
    rig->weights[rig->n_weights++] = w;
    return (const struct cuda_weight *)w;
}

/* n elements of a matrix in bf16, as doubles. */
static void bf16_down(struct rig *rig, const void *device, double *out, size_t n)
{
    uint16_t *bits = malloc(n * sizeof *bits);
    cr_assert(bits != NULL);
    rig_ok(rig, rig->ops->get_bytes(rig->stream, bits, (dptr)(uintptr_t)device, n * sizeof *bits, &rig->error), "get_bytes");
    for (size_t i = 0; i < n; i++) {
        const uint32_t wide = (uint32_t)bits[i] << 16;
        float value;
        memcpy(&value, &wide, sizeof value);
        out[i] = (double)value;
    }
    free(bits);
}

Test(weight_cuda, second_term_only_where_it_is_needed)
{
    enum { N = 6, K = 37 };
    float values[N * K], *odd = &values[(N - 1) * K + 3];
    double high[N * K], low[N * K];
    struct rig rig;
    const struct weight_part part = {
        .bytes = values, .type = DTYPE_F32, .n = N, .row_bytes = K * sizeof *values, .scale = 1.0, .name = "w"};
    for (size_t i = 0; i < N * K; i++)
        values[i] = (float)bf16_of(rng_normal(9, 0, i));
    open_cuda(&rig, JSC_PRECISION_FAST);
    const struct cuda_weight *w = make(&rig, &part, 1, K);
    cr_expect(eq(ptr, w->w_low, NULL));
    cr_expect(eq(sz, w->base.bytes, N * K * 2));
    bf16_down(&rig, w->w, high, N * K);
    for (size_t i = 0; i < N * K; i++)
        cr_expect(high[i] == (double)values[i], "element %zu", i);

    *odd = 1.0f + 0x1p-9f + 0x1p-20f; /* 1 + 2^-9 needs nine bits, 2^-20 more than sixteen */
    w = make(&rig, &part, 1, K);
    cr_assert(w->w_low != NULL);
    cr_expect(eq(sz, w->base.bytes, N * K * 4));
    bf16_down(&rig, w->w, high, N * K);
    bf16_down(&rig, w->w_low, low, N * K);
    for (size_t i = 0; i < N * K; i++)
        cr_expect(le(dbl, fabs(high[i] + low[i] - (double)values[i]), &values[i] == odd ? 0x1p-17 : 0.0), "element %zu", i);
    rig_close(&rig);
}

/* Halves of 11 bits are exact in two terms; the largest floats do not become infinite. */
Test(weight_cuda, halves_and_the_largest_floats)
{
    enum { N = 4, K = 33 };
    uint16_t halves[N * K];
    float decoded[N * K], large[3] = {3.4028234e38f, -3.4028234e38f, 3.39e38f};
    double high[N * K], low[N * K];
    struct rig rig;
    for (size_t i = 0; i < N * K; i++)
        halves[i] = (uint16_t)(rng_u32(9, 1, i) & 0xbbff); /* below 2 */
    dtype_row_f32(DTYPE_F16, halves, N * K, decoded);
    const struct weight_part parts[2] = {
        {.bytes = halves, .type = DTYPE_F16, .n = N, .row_bytes = K * sizeof *halves, .scale = 1.0, .name = "halves"},
        {.bytes = large, .type = DTYPE_F32, .n = 1, .row_bytes = sizeof large, .scale = 1.0, .name = "large"},
    };
    open_cuda(&rig, JSC_PRECISION_FAST);
    const struct cuda_weight *w = make(&rig, parts, 1, K);
    cr_assert(w->w_low != NULL);
    bf16_down(&rig, w->w, high, N * K);
    bf16_down(&rig, w->w_low, low, N * K);
    for (size_t i = 0; i < N * K; i++)
        cr_expect(high[i] + low[i] == (double)decoded[i], "half %zu", i);
    w = make(&rig, parts + 1, 1, 3);
    bf16_down(&rig, w->w, high, 3);
    bf16_down(&rig, w->w_low, low, 3);
    for (size_t i = 0; i < 3; i++)
        cr_expect(le(dbl, fabs(high[i] + low[i] - (double)large[i]), 0x1p-15 * fabs((double)large[i])), "large float %zu", i);
    rig_close(&rig);
}

/* More than two pinned buffers hold, in both precisions; the last element alone needs a second term. Also stored transposed, in blocks. */
Test(weight_cuda, pieces_arrive_in_their_places, .timeout = 60)
{
    enum { N = 4000, K = 1500, BLOCKS = K * (N / 32) };
    float *values = malloc((size_t)N * K * sizeof *values), *line = malloc(N * sizeof *line);
    unsigned char *blocks = malloc((size_t)BLOCKS * 34);
    cr_assert(values != NULL && line != NULL && blocks != NULL);
    for (size_t i = 0; i < (size_t)N * K; i++)
        values[i] = (float)(i * 2654435761u >> 20 & 127u);
    for (size_t i = 0; i < (size_t)BLOCKS * 34; i++)
        blocks[i] = (unsigned char)(i * 2654435761u >> 20 & 0x3fu);
    const struct weight_part whole = {
        .bytes = values, .type = DTYPE_F32, .n = N, .row_bytes = K * sizeof *values, .scale = 1.0, .name = "w"};
    const struct weight_part turned = {
        .bytes = blocks, .type = DTYPE_Q8_0, .n = N, .row_bytes = N / 32 * 34, .scale = 1.0, .transposed = true, .name = "t"};
    values[(size_t)N * K - 1] = 1.0f + 0x1p-9f;
    for (int precision = JSC_PRECISION_STRICT; precision <= JSC_PRECISION_FAST; precision++)
        for (int lazy = 0; lazy < 2; lazy++) {
            struct rig rig;
            simt_settings.lazy = lazy;
            open_cuda(&rig, (jsc_precision)precision);
            const struct cuda_weight *w = make(&rig, &whole, 1, K), *t = make(&rig, &turned, 1, K);
            double *high = new_doubles((size_t)N * K), *low = new_doubles((size_t)N * K);
            bool same = true, same_turned = true;
            if (precision == JSC_PRECISION_FAST) {
                cr_assert(w->w_low != NULL);
                bf16_down(&rig, w->w, high, (size_t)N * K);
                bf16_down(&rig, w->w_low, low, (size_t)N * K);
            } else {
                rig_down(&rig, ROLE_REAL, high, w->w, (size_t)N * K);
            }
            for (size_t i = 0; i < (size_t)N * K; i++)
                same = same && high[i] + low[i] == (double)values[i];
            cr_expect(same, "precision %d, lazy %d: plain rows", precision, lazy);
            if (precision == JSC_PRECISION_STRICT) {
                rig_down(&rig, ROLE_REAL, high, t->w, (size_t)N * K);
                for (size_t c = 0; c < K; c++) {
                    dtype_row_f32(DTYPE_Q8_0, blocks + c * (N / 32 * 34), N, line);
                    for (size_t r = 0; r < N; r++)
                        same_turned = same_turned && high[r * K + c] == (double)line[r];
                }
                cr_expect(same_turned, "lazy %d: transposed rows", lazy);
            }
            free(high), free(low);
            rig_close(&rig);
        }
    free(values), free(line), free(blocks);
}

/* bf16 rows are copied, in the order asked for; a value that is not finite is named all the same. */
Test(weight_cuda, bf16_rows_are_copied)
{
    enum { N = 5, K = 19, STRIDE = 2 * K + 6 };
    static const int32_t order[N] = {4, 0, 3, 1, 2};
    unsigned char stored[N * STRIDE + 1];
    double got[N * K];
    float row[K];
    struct jsc_weight *none = NULL;
    struct rig rig;
    for (size_t i = 0; i < sizeof stored; i++)
        stored[i] = (unsigned char)(rng_u32(9, 4, i) & 0x3f);
    struct weight_part part = {
        .bytes = stored + 1, .type = DTYPE_BF16, .n = N, .row_bytes = STRIDE, .row_of = order, .scale = 1.0, .name = "bf16.weight"};
    open_cuda(&rig, JSC_PRECISION_FAST);
    for (int scaled = 0; scaled < 2; scaled++) {
        part.scale = scaled ? 0.5 : 1.0;
        const struct cuda_weight *w = make(&rig, &part, 1, K);
        cr_expect(eq(ptr, w->w_low, NULL));
        bf16_down(&rig, w->w, got, N * K);
        for (size_t r = 0; r < N; r++) {
            dtype_row_f32(DTYPE_BF16, stored + 1 + (size_t)order[r] * STRIDE, K, row);
            for (size_t c = 0; c < K; c++)
                cr_expect(got[r * K + c] == part.scale * (double)row[c], "scaled %d, [%zu,%zu]", scaled, r, c);
        }
    }
    part.scale = 1.0;
    stored[1 + 3 * STRIDE + 2 * 7 + 1] = 0xff; /* negative infinity, or no number */
    stored[1 + 3 * STRIDE + 2 * 7] |= 0x80;
    cr_expect(eq(int, rig.ops->weight_make(rig.device, &part, 1, K, USE_FORWARD, NULL, &none, &rig.error), JSC_E_NUMERIC));
    cr_expect(ne(ptr, strstr(rig.error.text, "bf16.weight: element [3,7]"), NULL), "%s", rig.error.text);
    rig_close(&rig);
}

/* Each call of the runtime fails once: the weight is refused with a text, nothing is left behind, and the next one can be made. */
Test(weight_cuda, every_failing_call_is_reported_and_leaks_nothing)
{
    enum { N = 5, K = 9 };
    float values[N * K];
    double bias[N];
    const struct weight_part part = {
        .bytes = values, .type = DTYPE_F32, .n = N, .row_bytes = K * sizeof *values, .scale = 1.0, .name = "w"};
    for (size_t i = 0; i < N * K; i++)
        values[i] = (float)rng_normal(9, 2, i);
    for (size_t i = 0; i < N; i++)
        bias[i] = rng_normal(9, 3, i);
    for (int precision = JSC_PRECISION_STRICT; precision <= JSC_PRECISION_FAST; precision++) {
        struct rig rig;
        long call = 1;
        bool failed = true;
        open_cuda(&rig, (jsc_precision)precision);
        const size_t live = mem_live_bytes(), blocks = simt_allocations(), objects = simt_objects();
        for (; failed && call < 100; call++) {
            struct jsc_weight *w = NULL;
            rig.error.text[0] = '\0';
            simt_settings.fail_call = call;
            failed = rig.ops->weight_make(rig.device, &part, 1, K, USE_FORWARD, bias, &w, &rig.error) != JSC_OK;
            simt_settings.fail_call = 0;
            cr_expect(eq(int, rig.error.text[0] != '\0', failed), "precision %d, call %ld: \"%s\"", precision, call, rig.error.text);
            cr_expect(eq(int, w == NULL, failed), "precision %d, call %ld", precision, call);
            rig.ops->weight_free(rig.device, w);
            cr_expect(eq(sz, mem_live_bytes(), live), "precision %d, call %ld", precision, call);
            cr_expect(eq(sz, simt_allocations(), blocks), "precision %d, call %ld", precision, call);
            cr_expect(eq(sz, simt_objects(), objects), "precision %d, call %ld", precision, call);
        }
        cr_expect(le(long, 10, call), "a weight takes several calls, not %ld", call);
        rig_close(&rig);
    }
}

#endif
