/* test_weight.c: making a linear layer from parts of files on every backend: types, strides, row order, scale, transposed storage, values
 * that are not finite, lack of memory. */
#include "testing.h"

enum { IN = 64, OUT = 22, ALL_USES = USE_FORWARD | USE_VJP | USE_ROWS };

/* Bytes of a part: random, but finite in every type: halves (also as scales of blocks) below 2. */
static unsigned char *random_bytes(size_t n, uint64_t stream)
{
    unsigned char *bytes = malloc(n);
    cr_assert(bytes != NULL);
    for (size_t i = 0; i < n; i++)
        bytes[i] = (unsigned char)(rng_u32(5, stream, i) & 0x3f);
    return bytes;
}

/* W through each use: rows by embed, columns by matmul with one-hot rows, rows again by matmul_vjp. All exact. */
static void check_weight(struct rig *rig, const struct jsc_weight *w, const double *want, const char *what)
{
    double *got = new_doubles(OUT * IN);
    int32_t ids[OUT];

    cr_assert(w->n == OUT && w->k == IN, "%s, %s: %zu x %zu", rig->ops->name, what, w->n, w->k);
    for (int i = 0; i < OUT; i++)
        ids[i] = i;
    dptr rows = rig_blank(rig, ROLE_REAL, OUT * IN);
    RUN(rig, embed, .n = OUT, .ids = ids, .w = w, .scale = 1.0, .out = rows);
    rig_down(rig, ROLE_REAL, got, rows, OUT * IN);
    cr_expect(same_bits(got, want, OUT * IN), "%s, %s: rows", rig->ops->name, what);
    check_products(rig, w, want, what);
    free(got);
}

static void make_and_check(struct rig *rig, const struct weight_part *parts, size_t n_parts, const double *want, const char *what)
{
    struct jsc_weight *w = NULL;
    rig_ok(rig, rig->ops->weight_make(rig->device, parts, n_parts, IN, ALL_USES, NULL, &w, &rig->error), what);
    check_weight(rig, w, want, what);
    cr_expect(w->bytes > 0 && !w->has_bias, "%s, %s", rig->ops->name, what);
    rig->ops->weight_free(rig->device, w);
}

/* Every type that a row of 64 fits, stored with gaps between the rows and at an odd address. */
Test(weight, every_type_with_gaps_on_every_backend)
{
    FOR_EACH_BACKEND(ops)
    {
        for (int type = 0; type < DTYPE_COUNT; type++) {
            size_t bytes = 0;
            if (!dtype_bytes((enum dtype)type, IN, &bytes))
                continue;
            const size_t stride = bytes + 6;
            unsigned char *stored = random_bytes(OUT * stride + 1, (uint64_t)type);
            float row[IN];
            double want[OUT * IN];
            struct rig rig;
            for (int r = 0; r < OUT; r++) {
                dtype_row_f32((enum dtype)type, stored + 1 + (size_t)r * stride, IN, row);
                for (int c = 0; c < IN; c++)
                    want[r * IN + c] = (double)row[c];
            }
            if (type == DTYPE_F64 && ops == &ops_ref) /* ref keeps doubles as they are */
                for (int r = 0; r < OUT; r++)
                    dtype_row_f64(DTYPE_F64, stored + 1 + (size_t)r * stride, IN, want + r * IN);
            rig_open(&rig, ops, 2);
            const struct weight_part part = {
                .bytes = stored + 1, .type = (enum dtype)type, .n = OUT, .row_bytes = stride, .scale = 1.0, .name = "w"};
            make_and_check(&rig, &part, 1, want, dtype_info((enum dtype)type)->name);
            rig_close(&rig);
            free(stored);
        }
    }
}

/* Three parts stacked: one in another row order, one scaled, one stored transposed. */
Test(weight, parts_order_scale_transposed_on_every_backend)
{
    enum { A = 8, B = 9, C = OUT - A - B };
    const double *a = data(1, A * IN, 1.0), *b = data(2, B * IN, 1.0), *c = data(3, IN * C, 1.0);
    static float fa[A * IN], fb[B * IN], fc[IN * C];
    const int32_t order[A] = {0, 4, 1, 5, 2, 6, 3, 7};
    double want[OUT * IN];
    for (int i = 0; i < A * IN; i++)
        fa[i] = (float)a[i];
    for (int i = 0; i < B * IN; i++)
        fb[i] = (float)b[i];
    for (int i = 0; i < IN * C; i++)
        fc[i] = (float)c[i];
    for (int j = 0; j < IN; j++) {
        for (int r = 0; r < A; r++)
            want[r * IN + j] = a[order[r] * IN + j];
        for (int r = 0; r < B; r++)
            want[(A + r) * IN + j] = 0.5 * b[r * IN + j];
        for (int r = 0; r < C; r++)
            want[(A + B + r) * IN + j] = c[j * C + r];
    }
    const struct weight_part parts[3] = {
        {.bytes = fa, .type = DTYPE_F32, .n = A, .row_bytes = IN * sizeof *fa, .row_of = order, .scale = 1.0, .name = "a"},
        {.bytes = fb, .type = DTYPE_F32, .n = B, .row_bytes = IN * sizeof *fb, .scale = 0.5, .name = "b"},
        {.bytes = fc, .type = DTYPE_F32, .n = C, .row_bytes = C * sizeof *fc, .scale = 1.0, .transposed = true, .name = "c"},
    };
    FOR_EACH_BACKEND(ops)
    {
        struct rig rig;
        rig_open(&rig, ops, 2);
        make_and_check(&rig, parts, 3, want, "three parts");
        rig_close(&rig);
    }
    data_free();
}

/* A residual multiplier (0.22) folded into a bf16 weight: rounded once to float, in fast precision to what that keeps: the rows to two terms,
 * the pull-back to one. */
static void check_scaled(struct rig *rig, const struct weight_part *part, const double *want)
{
    const bool fast = rig->device->precision == JSC_PRECISION_FAST, cuda = strncmp(rig->ops->name, "cuda", 4) == 0;
    const double rows_step = fast && cuda ? 0x1p-16 : EPS32, back_step = fast ? 0x1p-7 : EPS32;
    double *got = new_doubles(OUT * IN), *eye = new_doubles(OUT * OUT);
    struct jsc_weight *w = NULL;
    int32_t ids[OUT];
    for (int i = 0; i < OUT; i++)
        ids[i] = i, eye[i * OUT + i] = 1.0;
    rig_ok(rig, rig->ops->weight_make(rig->device, part, 1, IN, ALL_USES, NULL, &w, &rig->error), "weight_make");
    rig->weights[rig->n_weights++] = w;
    dptr rows = rig_blank(rig, ROLE_REAL, OUT * IN), dx = rig_blank(rig, ROLE_COT, OUT * IN);
    RUN(rig, embed, .n = OUT, .ids = ids, .w = w, .scale = 1.0, .out = rows);
    RUN(rig, matmul_vjp, .n = OUT, .w = w, .dy = rig_up(rig, ROLE_COT, eye, OUT * OUT), .dx = dx);
    rig_down(rig, ROLE_REAL, got, rows, OUT * IN);
    cr_expect(le(dbl, error_elementwise(got, want, OUT * IN), rows_step), "%s, transposed %d: rows", rig->ops->name, part->transposed);
    rig_down(rig, ROLE_COT, got, dx, OUT * IN);
    cr_expect(le(dbl, error_elementwise(got, want, OUT * IN), back_step), "%s, transposed %d: columns", rig->ops->name, part->transposed);
    free(got);
    free(eye);
}

Test(weight, any_scale_on_every_backend_and_precision)
{
    static uint16_t plain[OUT * IN], turned[OUT * IN];
    double want[OUT * IN];
    for (int r = 0; r < OUT; r++)
        for (int c = 0; c < IN; c++) {
            const uint16_t bits = bf16_bits((float)rng_normal(7, 0, (uint64_t)(r * IN + c)));
            plain[r * IN + c] = turned[c * OUT + r] = bits;
            want[r * IN + c] = 0.22 * (double)bf16_value(bits);
        }
    const struct weight_part parts[2] = {
        {.bytes = plain, .type = DTYPE_BF16, .n = OUT, .row_bytes = IN * sizeof *plain, .scale = 0.22, .name = "w"},
        {.bytes = turned, .type = DTYPE_BF16, .n = OUT, .row_bytes = OUT * sizeof *turned, .scale = 0.22, .transposed = true, .name = "t"},
    };
    const struct jsc_ops *const others[] = {fast_emulated(), fast_native(), fast_cuda(), NULL}, *const *
                                                                                                    lists[] = {test_backends(), others};
    for (int list = 0; list < 2; list++)
        for (int i = 0; i < 3; i++)
            for (int turn = 0; turn < 2 && lists[list][i] != NULL; turn++) {
                struct rig rig;
                rig_open(&rig, lists[list][i], 2);
                check_scaled(&rig, &parts[turn], want);
                rig_close(&rig);
            }
}

Test(weight, f64_keeps_its_digits_in_ref)
{
    const double row[2] = {0.1, 1e300};
    const struct weight_part part = {.bytes = row, .type = DTYPE_F64, .n = 1, .row_bytes = sizeof row, .scale = 1.0, .name = "w"};
    const int32_t id = 0;
    struct rig rig;
    double got[2];
    rig_open(&rig, &ops_ref, 1);
    rig_ok(&rig, ops_ref.weight_make(rig.device, &part, 1, 2, USE_ROWS, NULL, &rig.weights[rig.n_weights++], &rig.error), "weight_make");
    RUN(&rig, embed, .n = 1, .ids = &id, .w = rig.weights[0], .scale = 1.0, .out = got);
    cr_expect(same_bits(got, row, 2));
    rig_close(&rig);
}

/* The error names the part and the place where the file holds the value. */
Test(weight, not_finite_is_named_on_every_backend)
{
    static float good[4 * IN], bad[4 * IN];
    const int32_t order[4] = {3, 2, 1, 0};
    struct weight_part parts[2] = {
        {.bytes = good, .type = DTYPE_F32, .n = 4, .row_bytes = IN * sizeof *good, .scale = 1.0, .name = "good.weight"},
        {.bytes = bad, .type = DTYPE_F32, .n = 4, .row_bytes = IN * sizeof *bad, .scale = 1.0, .name = "bad.weight"},
    };
    const float values[3] = {NAN, INFINITY, -INFINITY};
    FOR_EACH_BACKEND(ops)
    {
        for (int i = 0; i < 4; i++) {
            struct jsc_weight *const untouched = (struct jsc_weight *)(void *)&parts, *w = untouched;
            struct rig rig;
            rig_open(&rig, ops, 2);
            const size_t before = mem_live_bytes();
            bad[2 * IN + 5] = values[i % 3];
            parts[1].row_of = i == 3 ? order : NULL;
            cr_expect(eq(int, ops->weight_make(rig.device, parts, 2, IN, ALL_USES, NULL, &w, &rig.error), JSC_E_NUMERIC), "%s", ops->name);
            cr_expect(ne(ptr, strstr(rig.error.text, "bad.weight"), NULL), "%s: %s", ops->name, rig.error.text);
            cr_expect(ne(ptr, strstr(rig.error.text, "[2,5]"), NULL), "%s: %s", ops->name, rig.error.text);
            cr_expect(eq(ptr, w, untouched), "%s: out is untouched", ops->name);
            cr_expect(eq(sz, mem_live_bytes(), before), "%s: memory is returned", ops->name);
            rig_close(&rig);
        }
    }
}

/* The scale can be what overflows. */
Test(weight, overflow_by_scale_is_an_error_on_every_backend)
{
    static float large[IN];
    const struct weight_part part = {
        .bytes = large, .type = DTYPE_F32, .n = 1, .row_bytes = sizeof large, .scale = 1e300, .name = "scaled"};
    large[7] = 1e30f;
    FOR_EACH_BACKEND(ops)
    {
        struct jsc_weight *w = NULL;
        struct rig rig;
        rig_open(&rig, ops, 1);
        cr_expect(eq(int, ops->weight_make(rig.device, &part, 1, IN, USE_ROWS, NULL, &w, &rig.error), JSC_E_NUMERIC), "%s", ops->name);
        rig_close(&rig);
    }
}

/* Opens everything and makes a weight; whatever fails, all of it is given back. */
static jsc_status open_and_make(const struct jsc_ops *ops, jsc_error *error)
{
    static float values[3 * IN];
    const struct weight_part part = {
        .bytes = values, .type = DTYPE_F32, .n = 3, .row_bytes = IN * sizeof *values, .scale = 1.0, .name = "w"};
    const struct device_options options = {.precision = JSC_PRECISION_STRICT, .threads = 2};
    const double bias[3] = {1.0, 2.0, 3.0};
    jsc_status status = JSC_OK;
    struct jsc_device *device = NULL;
    struct jsc_stream *stream = NULL;
    struct jsc_weight *weight = NULL;
    dptr buffer = NULL;

    TRY(ops->device_open(&options, &device, error));
    TRY(ops->stream_open(device, &stream, error));
    TRY(ops->alloc(device, 100, &buffer, error));
    TRY(ops->weight_make(device, &part, 1, IN, ALL_USES, bias, &weight, error));
done:
    if (device != NULL) {
        ops->weight_free(device, weight);
        ops->free(device, buffer);
        if (stream != NULL)
            ops->stream_close(stream);
        ops->device_close(device);
    }
    return status;
}

Test(weight, every_failing_allocation_is_reported_and_leaks_nothing)
{
    FOR_EACH_BACKEND(ops)
    {
        jsc_error error = {0};
        cr_assert(eq(int, open_and_make(ops, &error), JSC_OK), "%s: %s", ops->name, error.text);
        const size_t before = mem_live_bytes();
        mem_fail_at(0, false);
        (void)open_and_make(ops, &error);
        const long calls = mem_calls();
        cr_assert(calls >= 3, "%s allocates through mem.c", ops->name);
        for (long k = 1; k <= calls; k++) {
            error.text[0] = '\0';
            mem_fail_at(k, false);
            const jsc_status status = open_and_make(ops, &error);
            mem_fail_at(0, false);
            cr_expect(eq(int, status, JSC_E_MEMORY), "%s, allocation %ld of %ld", ops->name, k, calls);
            cr_expect(ne(chr, error.text[0], '\0'), "%s, allocation %ld: no text", ops->name, k);
            cr_expect(eq(sz, mem_live_bytes(), before), "%s, allocation %ld of %ld leaks", ops->name, k, calls);
        }
    }
}
