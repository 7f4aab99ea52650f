/* attention_cpu.c: causal attention with grouped heads, soft-cap and window. Formulas: ops.h. Oracle: attention_ref.c.
 *
 * A task is one head of one sequence: keys turned to [h][T] and values [T][h] in the thread's scratch, then six queries at a time:
 * scores, softmax in double, values. FLOPs 2 T T h a head (causal half of four products' worth). */
#include "attention_parts_cpu.h"
#include "math_cpu.h"

#include <math.h>
#include <omp.h>
#include <string.h>

void rows_pack(const float *x, size_t n, size_t cols, size_t stride, size_t width, float *out)
{
    for (size_t i = 0; i < n; i++, x += stride, out += width) {
        memcpy(out, x, cols * sizeof *out);
        if (cols < width)
            memset(out + cols, 0, (width - cols) * sizeof *out);
    }
}

void rows_turn(const float *x, size_t n, size_t cols, size_t stride, size_t width, float *out)
{
    for (size_t c = 0; c < cols; c++, out += width) {
        for (size_t i = 0; i < n; i++)
            out[i] = x[i * stride + c];
        memset(out + n, 0, (width - n) * sizeof *out);
    }
}

CPU_CLONES static void scale_scores(float *s, size_t n, double scale, double cap)
{
    if (cap > 0.0) {
        const double slope = scale / cap;
#pragma omp simd
        for (size_t j = 0; j < n; j++)
            s[j] = (float)(cap * tanh_cpu((double)s[j] * slope));
    } else {
#pragma omp simd
        for (size_t j = 0; j < n; j++)
            s[j] = (float)((double)s[j] * scale);
    }
}

CPU_CLONES static double exponentials(float *s, size_t n, float shift)
{
    double sum = 0.0;
#pragma omp simd reduction(+ : sum)
    for (size_t j = 0; j < n; j++) {
        const double e = exp_cpu((double)s[j] - (double)shift);
        s[j] = (float)e;
        sum += e;
    }
    return sum;
}

CPU_CLONES static void multiply_by(float *s, size_t n, float factor)
{
    for (size_t j = 0; j < n; j++)
        s[j] *= factor;
}

double softmax_row(float *s, size_t from, size_t to, double scale, double cap)
{
    const size_t n = to - from;
    s += from;
    scale_scores(s, n, scale, cap);
    float top = s[0];
    for (size_t j = 1; j < n; j++)
        top = s[j] > top ? s[j] : top;
    const double sum = exponentials(s, n, top);
    multiply_by(s, n, (float)(1.0 / sum));
    return (double)top + log(sum);
}

/* p and slope before they are divided by the sum, which is returned */
CPU_CLONES static double raw_probabilities(float *s, size_t n, double scale, double cap, double lse, float *slope)
{
    double sum = 0.0;
    if (cap > 0.0) {
#pragma omp simd reduction(+ : sum)
        for (size_t j = 0; j < n; j++) {
            const double t = tanh_cpu((double)s[j] * scale / cap), e = exp_cpu(cap * t - lse);
            s[j] = (float)e;
            slope[j] = (float)(e * (1.0 - t * t));
            sum += e;
        }
    } else {
#pragma omp simd reduction(+ : sum)
        for (size_t j = 0; j < n; j++) {
            const double e = exp_cpu((double)s[j] * scale - lse);
            s[j] = slope[j] = (float)e;
            sum += e;
        }
    }
    return sum;
}

void probability_row(float *s, size_t from, size_t to, double scale, double cap, double lse, float *slope)
{
    const float factor = (float)(1.0 / raw_probabilities(s + from, to - from, scale, cap, lse, slope + from));
    multiply_by(s + from, to - from, factor);
    multiply_by(slope + from, to - from, factor);
}

/* ---- forward ------------------------------------------------------------------------------------------------------------------------ */

struct head_scratch {
    float *k_t, *v, *s, *o; /* [h][Tp], [T][hp], [6][Tp], [6][hp] */
    size_t Tp, hp;
    size_t bytes;
};

static struct head_scratch layout(const struct op_attention *op, void *memory)
{
    struct head_scratch s = {.Tp = round_up((size_t)op->T, TILE_COLS), .hp = round_up((size_t)op->h, TILE_COLS)};
    struct arena a = {.base = memory};
    s.k_t = arena_push(&a, (size_t)op->h * s.Tp, sizeof(float));
    s.v = arena_push(&a, (size_t)op->T * s.hp, sizeof(float));
    s.s = arena_push(&a, TILE_ROWS * s.Tp, sizeof(float));
    s.o = arena_push(&a, TILE_ROWS * s.hp, sizeof(float));
    s.bytes = a.used;
    return s;
}

/* Queries i0 .. i0+n-1 of one head. q points at the head's part of the first query. */
static void query_rows(const struct op_attention *op, const struct head_scratch *s, const float *q, size_t i0, size_t n, float *o,
                       float *lse)
{
    const size_t W = (size_t)(op->H + 2 * op->K) * (size_t)op->h, h = (size_t)op->h, H = (size_t)op->H;
    const size_t from = first_key(i0, op->window) / TILE_COLS * TILE_COLS, to = i0 + n;
    const struct tile_product scores = {.m = n,
                                        .n = round_up(to, TILE_COLS) - from,
                                        .k = h,
                                        .a = q,
                                        .a_row = W,
                                        .a_col = 1,
                                        .b = s->k_t + from,
                                        .b_row = s->Tp,
                                        .c = s->s + from,
                                        .c_row = s->Tp};
    tile_product(&scores);
    for (size_t r = 0; r < n; r++) {
        float *row = s->s + r * s->Tp;
        const size_t first = first_key(i0 + r, op->window), end = i0 + r + 1;
        lse[r * H] = (float)softmax_row(row, first, end, op->scale, op->cap);
        memset(row + from, 0, (first - from) * sizeof *row);
        memset(row + end, 0, (to - end) * sizeof *row);
    }
    const struct tile_product values = {.m = n,
                                        .n = s->hp,
                                        .k = to - from,
                                        .a = s->s + from,
                                        .a_row = s->Tp,
                                        .a_col = 1,
                                        .b = s->v + from * s->hp,
                                        .b_row = s->hp,
                                        .c = s->o,
                                        .c_row = s->hp};
    tile_product(&values);
    for (size_t r = 0; r < n; r++)
        memcpy(o + r * H * h, s->o + r * s->hp, h * sizeof *o);
}

static void attend(const struct op_attention *op, size_t sequence, size_t head, const struct head_scratch *s)
{
    const size_t T = (size_t)op->T, h = (size_t)op->h, H = (size_t)op->H, K = (size_t)op->K, W = (H + 2 * K) * h, g = head / (H / K);
    const float *q = (const float *)op->qkv + sequence * T * W + head * h;
    const float *k = (const float *)op->qkv + sequence * T * W + (H + g) * h, *v = k + K * h;
    rows_turn(k, T, h, W, s->Tp, s->k_t);
    rows_pack(v, T, h, W, s->hp, s->v);
    for (size_t i = 0; i < T; i += TILE_ROWS) {
        const size_t n = T - i < TILE_ROWS ? T - i : TILE_ROWS, row = sequence * T + i;
        query_rows(op, s, q + i * W, i, n, (float *)op->o + row * H * h + head * h, (float *)op->lse + row * H + head);
    }
}

jsc_status attention_cpu(struct jsc_stream *stream, const struct op_attention *op, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t tasks = (size_t)op->S * (size_t)op->H, bytes = layout(op, NULL).bytes;
    const int threads = tasks < (size_t)cpu_threads(stream) ? (int)tasks : cpu_threads(stream);
    char *scratch = NULL;

    TRY(cpu_scratch(stream, SCRATCH_OPERATION, (size_t)threads * bytes, &scratch, error));
#pragma omp parallel num_threads(threads)
    {
        const struct head_scratch s = layout(op, scratch + (size_t)omp_get_thread_num() * bytes);
#pragma omp for schedule(dynamic)
        for (size_t task = 0; task < tasks; task++)
            attend(op, task / (size_t)op->H, task % (size_t)op->H, &s);
    }
    if (op->o_act != NULL && op->o_act != op->o)
        memcpy(op->o_act, op->o, (size_t)op->S * (size_t)op->T * (size_t)op->H * (size_t)op->h * sizeof(float));
done:
    return status;
}
