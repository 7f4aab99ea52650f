/* test_matmul_precise.c: linear layers with sums in double: rounded once, whatever the shape; bits do not depend on rows or threads. */
#include "testing.h"

#include <math.h>
#include <string.h>

enum { ROWS = 37, K = 147, N = 29 };

struct fixture {
    struct jsc_device *device;
    struct jsc_stream *stream;
    struct jsc_weight *weight;
    float w[N * K];
    double x[ROWS * K], bias[N];
};

static void open_fixture(struct fixture *f, int threads)
{
    jsc_error error = {0};
    const struct device_options options = {.precision = JSC_PRECISION_STRICT, .threads = threads};
    for (int i = 0; i < N * K; i++)
        f->w[i] = (float)rng_normal(3, 0, (uint64_t)i);
    for (int i = 0; i < ROWS * K; i++)
        f->x[i] = (double)(float)rng_normal(3, 1, (uint64_t)i);
    for (int i = 0; i < N; i++)
        f->bias[i] = (double)(float)rng_normal(3, 2, (uint64_t)i);
    const struct weight_part part = {.bytes = f->w, .type = DTYPE_F32, .n = N, .row_bytes = K * sizeof(float), .scale = 1.0, .name = "w"};
    cr_assert(ops_cpu.device_open(&options, &f->device, &error) == JSC_OK && ops_cpu.stream_open(f->device, &f->stream, &error) == JSC_OK);
    cr_assert(ops_cpu.weight_make(f->device, &part, 1, K, USE_FORWARD, f->bias, &f->weight, &error) == JSC_OK, "%s", error.text);
}

/* Rows first .. first + rows - 1 of X W^T + b, on top of `before` if accumulate. */
static void product(struct fixture *f, size_t first, size_t rows, bool accumulate, float *out)
{
    jsc_error error = {0};
    dptr x = NULL, y = NULL;
    cr_assert(ops_cpu.alloc(f->device, rows * K * sizeof(float), &x, &error) == JSC_OK);
    cr_assert(ops_cpu.alloc(f->device, rows * N * sizeof(float), &y, &error) == JSC_OK);
    cr_assert(ops_cpu.put(f->stream, ROLE_ACT, x, f->x + first * K, rows * K, &error) == JSC_OK);
    for (size_t i = 0; i < rows * N; i++)
        ((float *)y)[i] = accumulate ? 1.0f : NAN;
    cr_assert(ops_cpu.matmul(f->stream,
                             &(struct op_matmul){.n = rows, .w = f->weight, .x = x, .y = y, .accumulate = accumulate, .precise = true},
                             &error) == JSC_OK,
              "%s", error.text);
    memcpy(out, y, rows * N * sizeof *out);
    ops_cpu.free(f->device, x);
    ops_cpu.free(f->device, y);
}

static void close_fixture(struct fixture *f)
{
    ops_cpu.weight_free(f->device, f->weight);
    ops_cpu.stream_close(f->stream);
    ops_cpu.device_close(f->device);
}

Test(matmul_precise, is_rounded_once)
{
    static struct fixture f;
    static float y[ROWS * N];
    open_fixture(&f, 2);
    for (int accumulate = 0; accumulate < 2; accumulate++) {
        product(&f, 0, ROWS, accumulate, y);
        for (int r = 0; r < ROWS; r++)
            for (int c = 0; c < N; c++) {
                double sum = 0.0;
                for (int i = 0; i < K; i++)
                    sum += f.x[r * K + i] * (double)f.w[c * K + i];
                sum += f.bias[c] + accumulate;
                /* half a unit in the last place of float, and the order of the sums in double */
                cr_expect(le(dbl, fabs((double)y[r * N + c] - sum), 0x1p-24 * fabs(sum) + 1e-12), "row %d column %d", r, c);
            }
    }
    close_fixture(&f);
}

Test(matmul_precise, bits_do_not_depend_on_rows_or_threads)
{
    static struct fixture two, one;
    static float whole[ROWS * N], part[ROWS * N];
    open_fixture(&two, 2);
    open_fixture(&one, 1);
    product(&two, 0, ROWS, false, whole);
    for (size_t r = 0; r < ROWS; r += 5)
        product(&one, r, ROWS - r < 5 ? ROWS - r : 5, false, part + r * N);
    cr_expect(memcmp(whole, part, sizeof whole) == 0);
    close_fixture(&two);
    close_fixture(&one);
}
