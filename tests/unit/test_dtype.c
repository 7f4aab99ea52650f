/* test_dtype.c: element types against the gguf package's own decoding, bit for bit; sizes; conversion of every half. */
#include "base_internal.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

static unsigned char golden[65536];
static size_t golden_size;

static void load_golden(void)
{
    FILE *f = fopen(JSC_TEST_SOURCE "/tests/golden/dequant.bin", "rb");
    cr_assert(ne(ptr, f, NULL), "tests/golden/dequant.bin is absent; python3 tests/oracle/make_dequant.py makes it");
    golden_size = fread(golden, 1, sizeof golden, f);
    (void)fclose(f);
}

static uint32_t u32_at(const unsigned char *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}

/* -1: no such name */
static int type_named(const char *name)
{
    for (int t = 0; t < DTYPE_COUNT; t++)
        if (strcmp(dtype_info((enum dtype)t)->name, name) == 0)
            return t;
    return -1;
}

Test(dtype, golden_bit_for_bit, .init = load_golden)
{
    const unsigned char *p = golden + 4;
    const uint32_t count = u32_at(golden);
    cr_assert(eq(u32, count, DTYPE_COUNT - 1), "all types but F64");
    for (uint32_t k = 0; k < count; k++) {
        char name[9] = {0};
        memcpy(name, p, 8);
        const int type = type_named(name);
        const uint32_t id = u32_at(p + 8), n = u32_at(p + 12), bytes = u32_at(p + 16);
        size_t own = 0;
        cr_assert(ne(int, type, -1), "%s", name);
        cr_expect(eq(int, dtype_info((enum dtype)type)->ggml_id, (int)id), "%s: id", name);
        cr_assert(dtype_bytes((enum dtype)type, n, &own) && own == bytes, "%s: %zu bytes, file has %u", name, own, bytes);
        float got[512];
        double wide[512];
        dtype_row_f32((enum dtype)type, p + 20, n, got); /* p + 20 is not aligned for every type: that is intended */
        dtype_row_f64((enum dtype)type, p + 20, n, wide);
        for (uint32_t i = 0; i < n; i++) {
            uint32_t bits;
            memcpy(&bits, &got[i], 4);
            const uint32_t want = u32_at(p + 20 + bytes + 4 * i);
            cr_assert(eq(u32, bits, want), "%s: element %u is %g", name, i, (double)got[i]);
            cr_assert(wide[i] == (double)got[i], "%s: element %u in double", name, i);
        }
        p += 20 + bytes + 4 * (size_t)n;
    }
    cr_assert(eq(sz, (size_t)(p - golden), golden_size));
}

Test(dtype, every_half)
{
    for (unsigned h = 0; h < 65536; h++) {
        const uint16_t half = (uint16_t)h;
        float got;
        dtype_row_f32(DTYPE_F16, &half, 1, &got);
        const int e = h >> 10 & 31, m = h & 1023;
        const double want = (h & 0x8000 ? -1.0 : 1.0) * (e == 0 ? ldexp(m, -24) : ldexp(1024 + m, e - 25));
        if (e < 31)
            cr_assert(want == (double)got && (signbit(got) != 0) == (signbit(want) != 0), "half %04x: %g, not %g", h, (double)got, want);
        else
            cr_assert(m == 0 ? isinf(got) && (signbit(got) != 0) == (h >> 15 != 0) : isnan(got), "half %04x: %g", h, (double)got);
    }
}

Test(dtype, f64_is_kept_in_double_and_rounded_once_to_float)
{
    const double v[3] = {0.1, 1e300, -1.0 / 3.0};
    unsigned char odd[sizeof v + 1];
    double wide[3];
    float narrow[3];
    memcpy(odd + 1, v, sizeof v);
    dtype_row_f64(DTYPE_F64, odd + 1, 3, wide);
    dtype_row_f32(DTYPE_F64, odd + 1, 3, narrow);
    cr_assert(memcmp(wide, v, sizeof v) == 0);
    cr_assert(narrow[0] == 0.1f && isinf(narrow[1]) && narrow[2] == (float)(-1.0 / 3.0));
}

Test(dtype, part_blocks_and_overflow_have_no_size)
{
    size_t bytes = 7;
    cr_assert(not(dtype_bytes(DTYPE_Q4_0, 33, &bytes)));
    cr_assert(not(dtype_bytes(DTYPE_Q6_K, 128, &bytes)));
    cr_assert(not(dtype_bytes(DTYPE_F32, SIZE_MAX / 2, &bytes)));
    cr_assert(dtype_bytes(DTYPE_Q6_K, 512, &bytes) && bytes == 420);
    cr_assert(dtype_bytes(DTYPE_F32, 0, &bytes) && bytes == 0);
}
