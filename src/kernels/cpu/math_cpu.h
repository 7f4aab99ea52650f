/* math_cpu.h: exp and its relatives in double, written so that loops over them vectorise; results are rounded to float. */
#ifndef JSC_MATH_CPU_H
#define JSC_MATH_CPU_H

#include <stdint.h>
#include <string.h>

/* exp(x) to 1e-11 relative; x is held within the range of normal numbers; NaN stays NaN. */
static inline __attribute__((always_inline)) double exp_cpu(double x)
{
    const double shift = 0x1.8p52;         /* adding it leaves the nearest integer in the low bits */
    const double size = __builtin_fabs(x); /* one comparison: with two, gcc threads jumps and vectorises nothing */
    x = __builtin_copysign(size > 708.0 ? 708.0 : size, x);
    const double biased = x * 0x1.71547652b82fep0 + shift, k = biased - shift;
    const double r = (x - k * 0x1.62e42fefa39efp-1) - k * 0x1.abc9e3b39803fp-56;
    double p = 1.0 / 362880.0;
    p = p * r + 1.0 / 40320.0;
    p = p * r + 1.0 / 5040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    p = p * r + 1.0;
    p = p * r + 1.0;
    uint64_t bits;
    memcpy(&bits, &biased, sizeof bits);
    bits = (bits + 1023) << 52; /* 2^k */
    double power;
    memcpy(&power, &bits, sizeof power);
    return p * power;
}

static inline __attribute__((always_inline)) double sigmoid_cpu(double x)
{
    return 1.0 / (1.0 + exp_cpu(-x));
}

static inline __attribute__((always_inline)) double tanh_cpu(double x)
{
    return 1.0 - 2.0 / (1.0 + exp_cpu(2.0 * x));
}

#endif
