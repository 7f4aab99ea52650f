/* rope_cuda.cu: rotary position embedding and its transpose, in place. Contract: ops.h. Oracle: rope_ref.c. Test: test_rope.c.
 *
 * x [n][stride] f32 (rope) or COT (rope_vjp); cos, sin [T][rot/2] f32 stay in L2
 * pair (a, b) -> (a c - b s, b c + a s), the transpose with -s; computed in float    size read and written of heads x rot elements a row;
 * limit: memory. A thread turns as many pairs as 16 bytes hold, where rows and heads begin at multiples of that, else one. */
#include "rows.cuh"

struct rope_args {
    void *x;
    const float *cos, *sin;
    int T, B, heads, h, half, stride;
    double sign; /* 8 bytes: no padding, which would hold anything */
};

/* PAIRS pairs of one head: from `from` and `from + half`, or 2 PAIRS elements from `from`, where a pair stands together. */
template <class X, int PAIRS, bool INTERLEAVED>
JSC_DEVICE void rotate_pairs(X *from, int half, const float *c, const float *s, float sign)
{
    float low[PAIRS], high[PAIRS], out_low[PAIRS], out_high[PAIRS];
    X *const second = INTERLEAVED ? from + PAIRS : from + half;
    vec_to_f32(load_vec<PAIRS>(from), low);
    vec_to_f32(load_vec<PAIRS>(second), high);
#pragma unroll
    for (int i = 0; i < PAIRS; i++) {
        const int e = 2 * i % PAIRS;
        const float a = INTERLEAVED ? (2 * i < PAIRS ? low[e] : high[e]) : low[i];
        const float b = INTERLEAVED ? (2 * i < PAIRS ? low[e + 1] : high[e + 1]) : high[i];
        const float sine = sign * s[i];
        out_low[i] = a * c[i] - b * sine;
        out_high[i] = b * c[i] + a * sine;
    }
    if (INTERLEAVED) {
#pragma unroll
        for (int i = 0; i < PAIRS; i++) {
            low[i] = i % 2 ? out_high[i / 2] : out_low[i / 2];
            high[i] = i % 2 ? out_high[(i + PAIRS) / 2] : out_low[(i + PAIRS) / 2];
        }
        store_vec(from, vec_of_f32<X, PAIRS>(low));
        store_vec(second, vec_of_f32<X, PAIRS>(high));
    } else {
        store_vec(from, vec_of_f32<X, PAIRS>(out_low));
        store_vec(second, vec_of_f32<X, PAIRS>(out_high));
    }
}

/* One pair, wherever it stands. */
template <class X>
JSC_DEVICE void rotate_pair(X *first, X *second, float c, float s)
{
    const float a = f32_of(*first), b = f32_of(*second);
    *first = of_f32<X>(a * c - b * s);
    *second = of_f32<X>(b * c + a * s);
}

/* Grid: a block per row. */
template <class X, int PAIRS, bool INTERLEAVED>
JSC_KERNEL(rotate)(rope_args a)
{
    const size_t row = blockIdx.x, at = row / (size_t)a.B % (size_t)a.T * (size_t)a.half;
    X *const x = (X *)a.x + row * (size_t)a.stride;
    const int per_head = a.half / PAIRS;
    for (int u = (int)threadIdx.x; u < a.heads * per_head; u += (int)blockDim.x) {
        const int j = u % per_head * PAIRS;
        X *const head = x + (size_t)(u / per_head) * (size_t)a.h;
        if constexpr (PAIRS == 1) {
            rotate_pair(INTERLEAVED ? head + 2 * j : head + j, INTERLEAVED ? head + 2 * j + 1 : head + j + a.half, a.cos[at + j],
                        (float)a.sign * a.sin[at + j]);
        } else {
            float c[PAIRS], s[PAIRS];
#pragma unroll
            for (int i = 0; i < PAIRS; i += 4) {
                vec_to_f32(load_vec<4>(a.cos + at + j + i), c + i);
                vec_to_f32(load_vec<4>(a.sin + at + j + i), s + i);
            }
            rotate_pairs<X, PAIRS, INTERLEAVED>(INTERLEAVED ? head + 2 * j : head + j, a.half, c, s, (float)a.sign);
        }
    }
}

template <class X, int PAIRS>
static cudaError_t launch_rope_pairs(const rope_args &a, enum rope_layout layout, size_t n, cudaStream_t stream)
{
    const unsigned threads = row_threads(PIECE * (size_t)a.heads * (size_t)(a.half / PAIRS));
    if (layout == ROPE_INTERLEAVED)
        return JSC_LAUNCH((rotate<X, PAIRS, true>), (unsigned)n, threads, 0, stream, a);
    return JSC_LAUNCH((rotate<X, PAIRS, false>), (unsigned)n, threads, 0, stream, a);
}

template <class X>
static cudaError_t launch_rope(const rope_args &a, enum rope_layout layout, size_t n, cudaStream_t stream)
{
    constexpr int PAIRS = 16 / (int)sizeof(X);
    const bool vector = a.half % PAIRS == 0 && a.h % PAIRS == 0 && a.stride % PAIRS == 0 && aligned(a.x) &&
                        aligned(a.cos) && aligned(a.sin);
    if (n == 0 || a.half == 0 || a.heads == 0)
        return cudaSuccess;
    return vector ? launch_rope_pairs<X, PAIRS>(a, layout, n, stream) : launch_rope_pairs<X, 1>(a, layout, n, stream);
}

extern "C" jsc_status rope_cuda(struct jsc_stream *stream, const struct op_rope *op, jsc_error *error)
{
    const rope_args a = {op->x,     (const float *)op->cos, (const float *)op->sin, op->T, 1, op->heads,
                         op->h, op->rot / 2,            op->stride,             1.0};
    const jsc_status status = cuda_enter(stream, error);
    return status != JSC_OK ? status : cuda_check(launch_rope<float>(a, op->layout, op->n, cuda_handle(stream)), "rope", error);
}

extern "C" jsc_status rope_vjp_cuda(struct jsc_stream *stream, const struct op_rope_vjp *op, jsc_error *error)
{
    const rope_args a = {op->x,     (const float *)op->cos, (const float *)op->sin, op->T, op->B, op->heads,
                         op->h, op->rot / 2,            op->stride,             -1.0};
    const jsc_status status = cuda_enter(stream, error);
    if (status != JSC_OK)
        return status;
    return cuda_check(cuda_fast(stream) ? launch_rope<bf16>(a, op->layout, op->n, cuda_handle(stream))
                                        : launch_rope<float>(a, op->layout, op->n, cuda_handle(stream)),
                      "rope_vjp", error);
}
