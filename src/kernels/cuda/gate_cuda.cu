/* gate_cuda.cu: the MLP's activation with the coefficients that its pull-back needs, and that pull-back. Formulas: ops.h.
 * Oracle: gate_ref.c. Test: test_gate.c.
 *
 * gate      gu [n][2f] (plain [n][f]) f32 -> a, c1, c2 [n][f] f32    8 bytes read, 12 written an element (plain 4, 8)
 * gate_vjp  da [rows][f] COT, c1, c2 of the row's token -> dgu [rows][2f] COT    6f bytes a row in fast precision, 12f in strict
 * Limit: memory. In the pull-back a thread keeps c1 and c2 of 8 columns of a token in registers over its share of the right-hand sides. */
#include "rows.cuh"

#define GATE_THREADS 256

/* ---- forward: to a few ulp, without the cancellation of 1 + tanh or of 1 - s in the tails; NaN gives NaN ------------------------------ */

/* s = 1 / (1 + exp(-x)), and 1 - s */
JSC_DEVICE void sigmoid(float x, float *s, float *rest)
{
    const float t = expf(-fabsf(x)), small = t / (1.0f + t), large = 1.0f / (1.0f + t);
    *s = x < 0.0f ? small : large;
    *rest = x < 0.0f ? large : small;
}

template <int ACT>
JSC_DEVICE void activate(float g, float *act, float *slope)
{
    float s, rest;
    if (ACT == ACT_SILU) {
        sigmoid(g, &s, &rest);
        *act = g * s;
        *slope = s * (1.0f + g * rest);
    } else if (ACT == ACT_GELU_TANH) { /* (1 + tanh u) / 2 is the sigmoid of 2u */
        const float k = 0.79788456080286535588f, c = 0.044715f;
        sigmoid(2.0f * k * (g + c * g * g * g), &s, &rest);
        const float p = s * rest;
        *act = g * s;
        *slope = p > 0.0f ? s + 2.0f * g * p * k * (1.0f + 3.0f * c * g * g) : s; /* far out g g would overflow */
    } else if (ACT == ACT_GELU_ERF) {
        s = 0.5f * erfcf(-g * 0.70710678118654752440f);
        *act = g * s;
        *slope = s + g * 0.39894228040143267794f * expf(-0.5f * g * g);
    } else {
        *act = g < 0.0f ? 0.0f : g;
        *slope = g > 0.0f ? 1.0f : 0.0f * g;
    }
}

struct gate_args {
    size_t n;
    int f, per_row; /* columns; threads of a row */
    const float *gu;
    float *a, *c1, *c2; /* c2 NULL: plain */
};

/* Grid: a thread per N elements of a row. */
template <int ACT, int N>
JSC_KERNEL(gate)(gate_args p)
{
    const unsigned id = blockIdx.x * GATE_THREADS + threadIdx.x, row = id / (unsigned)p.per_row;
    if (row >= p.n)
        return;
    const size_t f = (size_t)p.f, j = N * (size_t)(id % (unsigned)p.per_row), at = row * f + j;
    const bool gated = p.c2 != NULL;
    const float *const from = p.gu + row * (gated ? 2 * f : f) + j;
    const vec<float, N> g = load_vec<N>(from);
    vec<float, N> u = {}, a, c1, c2;
    if (gated)
        u = load_vec<N>(from + f);
#pragma unroll
    for (int i = 0; i < N; i++) {
        float act, slope;
        activate<ACT>(g.v[i], &act, &slope);
        a.v[i] = gated ? act * u.v[i] : act;
        c1.v[i] = gated ? slope * u.v[i] : slope;
        c2.v[i] = act;
    }
    store_vec(p.a + at, a);
    store_vec(p.c1 + at, c1);
    if (gated)
        store_vec(p.c2 + at, c2);
}

template <int N>
static cudaError_t launch_gate(gate_args p, enum act_kind act, cudaStream_t stream)
{
    p.per_row = p.f / N;
    const unsigned blocks = (unsigned)blocks_of(p.n * (size_t)p.per_row, GATE_THREADS);
    switch (act) {
    case ACT_SILU:
        return JSC_LAUNCH((gate<ACT_SILU, N>), blocks, GATE_THREADS, 0, stream, p);
    case ACT_GELU_TANH:
        return JSC_LAUNCH((gate<ACT_GELU_TANH, N>), blocks, GATE_THREADS, 0, stream, p);
    case ACT_GELU_ERF:
        return JSC_LAUNCH((gate<ACT_GELU_ERF, N>), blocks, GATE_THREADS, 0, stream, p);
    case ACT_RELU:
        return JSC_LAUNCH((gate<ACT_RELU, N>), blocks, GATE_THREADS, 0, stream, p);
    }
    return cudaErrorInvalidValue;
}

static bool in_fours(size_t n, const void *p)
{
    return n % 4 == 0 && aligned(p);
}

extern "C" jsc_status gate_cuda(struct jsc_stream *stream, const struct op_gate *op, jsc_error *error)
{
    const size_t f = (size_t)op->f;
    const bool vector = in_fours(f, op->gu) && in_fours(f, op->a) && in_fours(f, op->c1) && in_fours(f, op->gated ? op->c2 : NULL);
    const gate_args p = {op->n, op->f, 0, (const float *)op->gu, (float *)op->a, (float *)op->c1, op->gated ? (float *)op->c2 : NULL};
    const jsc_status status = cuda_enter(stream, error);
    if (status != JSC_OK || op->n == 0)
        return status;
    const cudaError_t result = vector ? launch_gate<4>(p, op->act, cuda_handle(stream)) : launch_gate<1>(p, op->act, cuda_handle(stream));
    return cuda_check(result, "gate", error);
}

/* ---- VJP ------------------------------------------------------------------------------------------------------------------------- */

struct gate_vjp_args {
    size_t n;
    unsigned units; /* threads: (group, share, piece of columns), the last fastest */
    int group;      /* rows that share a token: B, or 1 with tok */
    int shares, f;
    const int32_t *tok;
    const float *c1, *c2; /* c2 NULL: plain */
    const void *da;
    void *dgu;
};

template <class COT, bool VECTOR>
JSC_KERNEL_BOUNDED(gate_vjp, GATE_THREADS, 0)(gate_vjp_args a)
{
    const unsigned id = blockIdx.x * GATE_THREADS + threadIdx.x;
    if (id >= a.units)
        return;
    const unsigned pieces = (unsigned)(a.f + PIECE - 1) / PIECE, team = id / pieces, group = team / (unsigned)a.shares;
    const int c = PIECE * (int)(id % pieces), share = (int)(team % (unsigned)a.shares);
    const size_t first = (size_t)group * (size_t)a.group, f = (size_t)a.f, width = a.c2 ? 2 * f : f;
    const int rows = (int)min((size_t)a.group, a.n - first), each = (rows + a.shares - 1) / a.shares;
    const size_t begin = first + (size_t)min(share * each, rows), end = first + (size_t)min((share + 1) * each, rows);
    const size_t at = (a.tok ? (size_t)a.tok[first] : group) * f;
    float c1[PIECE], c2[PIECE] = {};
    load_piece<VECTOR>(a.c1 + at, c, a.f, c1);
    if (a.c2)
        load_piece<VECTOR>(a.c2 + at, c, a.f, c2);
    const COT *da = (const COT *)a.da + begin * f;
    COT *dgu = (COT *)a.dgu + begin * width;
#pragma unroll 1
    for (size_t row = begin; row < end; row++, da += f, dgu += width) {
        float x[PIECE], y[PIECE];
        load_piece<VECTOR>(da, c, a.f, x);
#pragma unroll
        for (int i = 0; i < PIECE; i++) {
            y[i] = x[i] * c1[i];
            x[i] = x[i] * c2[i];
        }
        store_piece<VECTOR>(dgu, c, a.f, y);
        if (a.c2)
            store_piece<VECTOR>(dgu + f, c, a.f, x);
    }
}

template <class COT>
static cudaError_t launch_gate_vjp(const struct op_gate_vjp *op, struct jsc_stream *stream)
{
    const size_t f = (size_t)op->f, B = op->rows.tok ? 1 : (size_t)op->rows.B;
    const size_t groups = blocks_of(op->rows.n, B), pieces = blocks_of(f, PIECE);
    const bool vector = in_pieces(f, op->da) && in_pieces(f, op->dgu) && in_pieces(f, op->c1) && in_pieces(f, op->gated ? op->c2 : NULL);
    const int shares = shares_of(stream, groups * pieces, B, 1);
    const size_t units = groups * pieces * (size_t)shares;
    const gate_vjp_args a = {op->rows.n,
                             (unsigned)units,
                             (int)B,
                             shares,
                             op->f,
                             op->rows.tok,
                             (const float *)op->c1,
                             op->gated ? (const float *)op->c2 : NULL,
                             op->da,
                             op->dgu};
    const unsigned blocks = (unsigned)blocks_of(units, GATE_THREADS);
    if (vector)
        return JSC_LAUNCH((gate_vjp<COT, true>), blocks, GATE_THREADS, 0, cuda_handle(stream), a);
    return JSC_LAUNCH((gate_vjp<COT, false>), blocks, GATE_THREADS, 0, cuda_handle(stream), a);
}

extern "C" jsc_status gate_vjp_cuda(struct jsc_stream *stream, const struct op_gate_vjp *op, jsc_error *error)
{
    const jsc_status status = cuda_enter(stream, error);
    if (status != JSC_OK || op->rows.n == 0)
        return status;
    return cuda_check(cuda_fast(stream) ? launch_gate_vjp<bf16>(op, stream) : launch_gate_vjp<float>(op, stream), "gate_vjp", error);
}
