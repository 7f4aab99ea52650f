/* test_cot.c: bfloat16 to float and back: exact one way, to nearest even the other, every bit pattern. */
#include "testing.h"

#include "cot_cpu.h"

static float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint16_t rounded(float x)
{
    uint16_t out;
    bf16_round(&x, 1, &out);
    return out;
}

Test(cot, every_bfloat16_survives_both_ways)
{
    static uint16_t in[65536], out[65536];
    static float wide[65536];
    for (size_t i = 0; i < 65536; i++)
        in[i] = (uint16_t)i;
    bf16_widen(in, 65536, wide);
    bf16_round(wide, 65536, out);
    for (size_t i = 0; i < 65536; i++) {
        cr_assert(isnan(wide[i]) ? isnan(float_of((uint32_t)out[i] << 16)) : out[i] == in[i], "%04x became %04x", in[i], out[i]);
        cr_assert(isnan(wide[i]) || wide[i] == float_of((uint32_t)i << 16), "%04x widens to %g", in[i], (double)wide[i]);
    }
}

Test(cot, ties_go_to_even_and_the_rest_to_the_nearest)
{
    const struct {
        uint32_t bits;
        uint16_t want;
    } cases[] = {
        {0x3f800000, 0x3f80}, {0x3f808000, 0x3f80}, {0x3f808001, 0x3f81}, {0x3f818000, 0x3f82}, {0x3f817fff, 0x3f81},
        {0xbf808000, 0xbf80}, {0xbf818000, 0xbf82}, {0x3fffffff, 0x4000}, {0x7f7fffff, 0x7f80}, {0xff7fffff, 0xff80},
        {0x7f800000, 0x7f80}, {0x00000001, 0x0000}, {0x80000000, 0x8000}, {0x00008001, 0x0001}, {0x7f7f7fff, 0x7f7f},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        cr_expect(eq(u16, rounded(float_of(cases[i].bits)), cases[i].want), "%08x", (unsigned)cases[i].bits);
    /* a NaN whose set bits are all below the cut must not become infinite */
    cr_expect(isnan(float_of((uint32_t)rounded(float_of(0x7f800001)) << 16)));
    cr_expect(isnan(float_of((uint32_t)rounded(float_of(0xff80ffff)) << 16)));
    for (uint64_t i = 0; i < 100000; i++) {
        const float x = (float)(rng_normal(3, 1, i) * exp2(40.0 * rng_normal(3, 2, i) / 3.0));
        const bool same = (double)float_of((uint32_t)rounded(x) << 16) == bf16_of((double)x);
        cr_assert(same, "%.9g", (double)x);
    }
}

Test(cot, rows_of_any_length_are_written_to_their_end_and_no_further)
{
    for (size_t n = 0; n < 70; n++) {
        float in[70], back[71];
        uint16_t mid[71];
        for (size_t i = 0; i < n; i++)
            in[i] = (float)i + 1.0f;
        mid[n] = 0xabcd, back[n] = -7.0f;
        cot_write(mid, sizeof *mid, n, in);
        cot_load(mid, sizeof *mid, n, back);
        cr_expect(mid[n] == 0xabcd && back[n] == -7.0f, "length %zu", n);
        for (size_t i = 0; i < n; i++)
            cr_expect(back[i] == in[i], "length %zu, element %zu", n, i);
    }
}

Test(cot, float_rows_are_used_where_they_stand)
{
    float row[3] = {1.0f, 2.0f, 3.0f}, scratch[3];
    cr_expect(cot_read(row, sizeof *row, 3, scratch) == row && cot_begin(row, sizeof *row, scratch) == row);
    cot_end(row, sizeof *row, 3, row);
    cr_expect(row[0] == 1.0f && row[2] == 3.0f);
}
