/* dtype.c: element types of checkpoint files: sizes, and decoding to float bit for bit as the reference does.
 *
 * Block layouts: docs/formats.md. All products below are exact in float (an 11-bit half times a small integer), so at most one rounding
 * happens, in the addition or subtraction: fused multiply-add or not, every compiler and instruction set gives the same bits. */
#include "base_internal.h"

#include <string.h>

#define QK  32
#define QKK 256

static inline uint16_t load_u16(const unsigned char *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline uint32_t load_u32(const unsigned char *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline float float_of(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* Without branches (masks, not choices, which gcc leaves scalar) and without denormal operands: the loop vectorises, and a host that flushes
 * denormals gets the same values. */
static inline float half_to_float(uint16_t half)
{
    const uint32_t magnitude = (uint32_t)(half & 0x7fff) << 13, sign = (uint32_t)(half & 0x8000) << 16;
    const float small = float_of(magnitude + (113u << 23)) - float_of(113u << 23); /* exponent 0: m/1024 * 2^-14 */
    uint32_t small_bits;
    memcpy(&small_bits, &small, sizeof small_bits);
    const uint32_t is_small = 0u - (uint32_t)(magnitude < 1u << 23), is_special = 0u - (uint32_t)(magnitude >= 31u << 23);
    const uint32_t normal = magnitude + (112u << 23) + (is_special & 112u << 23);
    return float_of(sign | (small_bits & is_small) | (normal & ~is_small));
}

static inline float load_half(const unsigned char *p)
{
    return half_to_float(load_u16(p));
}

static void row_f32(const unsigned char *restrict src, size_t n, float *restrict out)
{
    memcpy(out, src, n * sizeof *out);
}

static void row_f64(const unsigned char *restrict src, size_t n, float *restrict out)
{
    for (size_t i = 0; i < n; i++) {
        double v;
        memcpy(&v, src + i * sizeof v, sizeof v);
        out[i] = (float)v;
    }
}

CPU_CLONES static void row_f16(const unsigned char *restrict src, size_t n, float *restrict out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = half_to_float(load_u16(src + 2 * i));
}

static void row_bf16(const unsigned char *restrict src, size_t n, float *restrict out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = float_of((uint32_t)load_u16(src + 2 * i) << 16);
}

/* ---- blocks of 32 -------------------------------------------------------------------------------------------------------- */

CPU_CLONES static void row_q4_0(const unsigned char *restrict b, size_t n, float *restrict out)
{
    for (size_t k = 0; k < n; k += QK, b += 18, out += QK) {
        const float d = load_half(b);
        for (int i = 0; i < QK / 2; i++) {
            out[i] = d * (float)((b[2 + i] & 15) - 8);
            out[i + QK / 2] = d * (float)((b[2 + i] >> 4) - 8);
        }
    }
}

CPU_CLONES static void row_q4_1(const unsigned char *restrict b, size_t n, float *restrict out)
{
    for (size_t k = 0; k < n; k += QK, b += 20, out += QK) {
        const float d = load_half(b), m = load_half(b + 2);
        for (int i = 0; i < QK / 2; i++) {
            out[i] = d * (float)(b[4 + i] & 15) + m;
            out[i + QK / 2] = d * (float)(b[4 + i] >> 4) + m;
        }
    }
}

CPU_CLONES static void row_q5_0(const unsigned char *restrict b, size_t n, float *restrict out)
{
    for (size_t k = 0; k < n; k += QK, b += 22, out += QK) {
        const float d = load_half(b);
        const uint32_t high = load_u32(b + 2);
        for (int i = 0; i < QK / 2; i++) {
            out[i] = d * (float)((int)((b[6 + i] & 15u) | (high >> i & 1) << 4) - 16);
            out[i + QK / 2] = d * (float)((int)((unsigned)b[6 + i] >> 4 | (high >> (i + 16) & 1) << 4) - 16);
        }
    }
}

CPU_CLONES static void row_q5_1(const unsigned char *restrict b, size_t n, float *restrict out)
{
    for (size_t k = 0; k < n; k += QK, b += 24, out += QK) {
        const float d = load_half(b), m = load_half(b + 2);
        const uint32_t high = load_u32(b + 4);
        for (int i = 0; i < QK / 2; i++) {
            out[i] = d * (float)((b[8 + i] & 15u) | (high >> i & 1) << 4) + m;
            out[i + QK / 2] = d * (float)((unsigned)b[8 + i] >> 4 | (high >> (i + 16) & 1) << 4) + m;
        }
    }
}

static void row_q8_0(const unsigned char *restrict b, size_t n, float *restrict out)
{
    for (size_t k = 0; k < n; k += QK, b += 34, out += QK) {
        const float d = load_half(b);
        for (int i = 0; i < QK; i++)
            out[i] = d * (float)(signed char)b[2 + i];
    }
}

static void row_iq4_nl(const unsigned char *restrict b, size_t n, float *restrict out)
{
    static const float level[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
    for (size_t k = 0; k < n; k += QK, b += 18, out += QK) {
        const float d = load_half(b);
        for (int i = 0; i < QK / 2; i++) {
            out[i] = d * level[b[2 + i] & 15];
            out[i + QK / 2] = d * level[b[2 + i] >> 4];
        }
    }
}

/* ---- blocks of 256 ("K") ------------------------------------------------------------------------------------------------- */

/* The 2-bit numbers of Q2_K and Q3_K and the upper bits of Q6_K: the j-th 16 of the 256 elements share 16 bytes with three others. */
static inline const unsigned char *quarter(const unsigned char *b, int j, int *shift)
{
    *shift = 2 * (j % 8 / 2);
    return b + 32 * (j / 8) + 16 * (j % 2);
}

CPU_CLONES static void row_q2_k(const unsigned char *restrict b, size_t n, float *restrict out)
{
    for (size_t k = 0; k < n; k += QKK, b += 84, out += QKK) {
        const float d = load_half(b + 80), m = load_half(b + 82);
        for (int j = 0; j < 16; j++) {
            int shift;
            const unsigned char *q = quarter(b + 16, j, &shift);
            const float ds = d * (float)(b[j] & 15), ms = m * (float)(b[j] >> 4);
            for (int i = 0; i < 16; i++)
                out[16 * j + i] = ds * (float)(q[i] >> shift & 3) - ms;
        }
    }
}

CPU_CLONES static void row_q3_k(const unsigned char *restrict b, size_t n, float *restrict out)
{
    for (size_t k = 0; k < n; k += QKK, b += 110, out += QKK) {
        const float d = load_half(b + 108);
        for (int j = 0; j < 16; j++) {
            int shift;
            const unsigned char *q = quarter(b + 32, j, &shift), *high = b + 16 * (j % 2);
            const int s = (b[96 + j % 8] >> 4 * (j / 8) & 15) | (b[104 + j % 4] >> 2 * (j / 4) & 3) << 4;
            const float ds = d * (float)(s - 32);
            for (int i = 0; i < 16; i++)
                out[16 * j + i] = ds * (float)((q[i] >> shift & 3) + 4 * (high[i] >> j / 2 & 1) - 4);
        }
    }
}

/* Scale and minimum j of the 8 pairs that Q4_K and Q5_K pack into 12 bytes. */
static inline void scale_min(const unsigned char *c, int j, int *s, int *m)
{
    *s = j < 4 ? c[j] & 63 : (c[j + 4] & 15) | (c[j - 4] >> 6) << 4;
    *m = j < 4 ? c[j + 4] & 63 : c[j + 4] >> 4 | (c[j] >> 6) << 4;
}

static void row_q4_k(const unsigned char *restrict b, size_t n, float *restrict out)
{
    for (size_t k = 0; k < n; k += QKK, b += 144, out += QKK) {
        const float d = load_half(b), dm = load_half(b + 2);
        for (int j = 0; j < 8; j++) {
            int s, m;
            scale_min(b + 4, j, &s, &m);
            const float ds = d * (float)s, ms = dm * (float)m;
            for (int i = 0; i < 32; i++)
                out[32 * j + i] = ds * (float)(b[16 + 32 * (j / 2) + i] >> 4 * (j % 2) & 15) - ms;
        }
    }
}

static void row_q5_k(const unsigned char *restrict b, size_t n, float *restrict out)
{
    for (size_t k = 0; k < n; k += QKK, b += 176, out += QKK) {
        const float d = load_half(b), dm = load_half(b + 2);
        for (int j = 0; j < 8; j++) {
            int s, m;
            scale_min(b + 4, j, &s, &m);
            const float ds = d * (float)s, ms = dm * (float)m;
            for (int i = 0; i < 32; i++) {
                const int q = (b[48 + 32 * (j / 2) + i] >> 4 * (j % 2) & 15) | (b[16 + i] >> j & 1) << 4;
                out[32 * j + i] = ds * (float)q - ms;
            }
        }
    }
}

CPU_CLONES static void row_q6_k(const unsigned char *restrict b, size_t n, float *restrict out)
{
    for (size_t k = 0; k < n; k += QKK, b += 210, out += QKK) {
        const float d = load_half(b + 208);
        for (int j = 0; j < 16; j++) {
            int shift;
            const unsigned char *high = quarter(b + 128, j, &shift), *low = b + 64 * (j / 8) + 16 * (j % 4);
            const float ds = d * (float)(signed char)b[192 + j];
            for (int i = 0; i < 16; i++)
                out[16 * j + i] = ds * (float)(((low[i] >> 4 * (j % 8 / 4) & 15) | (high[i] >> shift & 3) << 4) - 32);
        }
    }
}

/* ---- the table ----------------------------------------------------------------------------------------------------------- */

static const struct {
    struct dtype_info info;
    void (*row)(const unsigned char *src, size_t n, float *out);
} types[DTYPE_COUNT] = {
    [DTYPE_F32] = {{"F32", 1, 4, 0}, row_f32},
    [DTYPE_F64] = {{"F64", 1, 8, -1}, row_f64}, /* GGUF knows id 28, but no converter writes weights so */
    [DTYPE_F16] = {{"F16", 1, 2, 1}, row_f16},
    [DTYPE_BF16] = {{"BF16", 1, 2, 30}, row_bf16},
    [DTYPE_Q4_0] = {{"Q4_0", QK, 18, 2}, row_q4_0},
    [DTYPE_Q4_1] = {{"Q4_1", QK, 20, 3}, row_q4_1},
    [DTYPE_Q5_0] = {{"Q5_0", QK, 22, 6}, row_q5_0},
    [DTYPE_Q5_1] = {{"Q5_1", QK, 24, 7}, row_q5_1},
    [DTYPE_Q8_0] = {{"Q8_0", QK, 34, 8}, row_q8_0},
    [DTYPE_IQ4_NL] = {{"IQ4_NL", QK, 18, 20}, row_iq4_nl},
    [DTYPE_Q2_K] = {{"Q2_K", QKK, 84, 10}, row_q2_k},
    [DTYPE_Q3_K] = {{"Q3_K", QKK, 110, 11}, row_q3_k},
    [DTYPE_Q4_K] = {{"Q4_K", QKK, 144, 12}, row_q4_k},
    [DTYPE_Q5_K] = {{"Q5_K", QKK, 176, 13}, row_q5_k},
    [DTYPE_Q6_K] = {{"Q6_K", QKK, 210, 14}, row_q6_k},
};

const struct dtype_info *dtype_info(enum dtype type)
{
    return &types[type].info;
}

bool dtype_bytes(enum dtype type, size_t n, size_t *bytes)
{
    const struct dtype_info *info = &types[type].info;
    return n % info->block == 0 && size_mul(n / info->block, info->bytes, bytes);
}

void dtype_row_f32(enum dtype type, const void *src, size_t n, float *out)
{
    types[type].row(src, n, out);
}

void dtype_row_f64(enum dtype type, const void *src, size_t n, double *out)
{
    const struct dtype_info *info = &types[type].info;
    const unsigned char *p = src;
    float part[QKK];
    if (type == DTYPE_F64) {
        memcpy(out, src, n * sizeof *out);
        return;
    }
    for (size_t done = 0; done < n;) {
        const size_t step = n - done < QKK ? n - done : QKK;
        types[type].row(p + done / info->block * info->bytes, step, part);
        for (size_t i = 0; i < step; i++)
            out[done + i] = (double)part[i];
        done += step;
    }
}
