/* matmul_cuda.cu: the linear layers and their pull-back. Products are cuBLASLt's (gemm_cuda.c); kernels prepare operands and add up.
 *
 *   strict   Y [n][n_out] = X [n][k] W^T in fp32, bias by a kernel; dX = dY W likewise
 *   precise  the same with sums in double, rounded once (matmul_precise_cuda.cu)
 *   fast     X = hi + lo, two bf16 terms side by side in a row of scratch: [hi: k | lo: k], k padded to 8 elements.
 *            Few rows: they are 2 n rows of one product, which reads W once; a kernel adds the pairs, the bias and what was there.
 *            Many: two products that accumulate. A weight with a second term of its own adds hi W_low; lo W_low (2^-18) is dropped.
 *            dX = dY W with bf16 operands and result; accumulated, it is rounded once too. The pull-back takes W's first term only.
 * Scratch: at most MATMUL_SCRATCH. Long inputs go in pieces of PIECE_ROWS: their terms are still in the L2 when the products read them.
 * Bytes    split 4 k + 4 k a row; pairs 8 n_out + 4 n_out (+ 4 n_out) a row; at the speed of memory, 2 % of products at n = 512.
 * Oracle: matmul_ref.c. Test: test_matmul.c. */
#include "device.cuh"

#include "cuda_internal.h"

#define MATMUL_SCRATCH ((size_t)64 << 20)
#define HEAD_SCRATCH   ((size_t)4 << 20) /* promised in any case: one row of a head, whose shape the plan does not ask about */
#define PIECE_ROWS     ((size_t)4096) /* each piece reads W again, which multiplying hides: 8192 FLOP a byte */
#define PAIR_ROWS      256            /* a product of n rows makes n FLOP of a byte of W; a card needs 220 to 270 to be busy */
#define THREADS        128

/* ---- operands of two terms ------------------------------------------------------------------------------------------------------- */

/* In all three a thread takes N elements of row blockIdx.x. (A loop over rows lost: nvcc 13.0 then stores vectors in pieces of 4 bytes.) */
JSC_DEVICE size_t column_of(int n)
{
    return ((size_t)blockIdx.y * THREADS + threadIdx.x) * (size_t)n;
}

/* x [n][k] -> out [n][2 kp]: hi at 0, lo at kp. 4 k bytes read, 4 k written a row. */
template <int N>
JSC_KERNEL_BOUNDED(split_terms, THREADS, 0)(bf16 *out, const float *x, size_t k, size_t kp)
{
    const size_t row = blockIdx.x, column = column_of(N);
    if (column >= k)
        return;
    const vec<float, N> in = load_vec_stream<N>(x + row * k + column);
    vec<bf16, N> hi, lo;
#pragma unroll
    for (int i = 0; i < N; i++)
        bf16_split(in.v[i], &hi.v[i], &lo.v[i]);
    store_vec(out + row * 2 * kp + column, hi);
    store_vec(out + row * 2 * kp + kp + column, lo);
}

/* y [n][n_out] (+)= sum of the rows 2 i and 2 i + 1 of pairs [2 n][n_out] (+ bias) */
template <int N>
JSC_KERNEL_BOUNDED(add_pairs, THREADS, 0)(float *y, const float *pairs, const float *bias, size_t n_out, int accumulate)
{
    const size_t row = blockIdx.x, column = column_of(N);
    if (column >= n_out)
        return;
    const vec<float, N> hi = load_vec_stream<N>(pairs + 2 * row * n_out + column);
    const vec<float, N> lo = load_vec_stream<N>(pairs + (2 * row + 1) * n_out + column);
    vec<float, N> sum = {}, b = {};
    if (bias != nullptr)
        b = load_vec<N>(bias + column);
    if (accumulate)
        sum = load_vec<N>(y + row * n_out + column);
#pragma unroll
    for (int i = 0; i < N; i++)
        sum.v[i] += hi.v[i] + lo.v[i] + b.v[i];
    store_vec(y + row * n_out + column, sum);
}

/* y [n][n_out] starts as the bias, or has it added: what the product is accumulated to */
template <int N>
JSC_KERNEL_BOUNDED(start_with_bias, THREADS, 0)(float *y, const float *bias, size_t n_out, int accumulate)
{
    const size_t row = blockIdx.x, column = column_of(N);
    if (column >= n_out)
        return;
    vec<float, N> sum = load_vec<N>(bias + column);
    if (accumulate) {
        const vec<float, N> old = load_vec<N>(y + row * n_out + column);
#pragma unroll
        for (int i = 0; i < N; i++)
            sum.v[i] += old.v[i];
    }
    store_vec(y + row * n_out + column, sum);
}

static dim3 grid_of(size_t rows, size_t vectors)
{
    return dim3((unsigned)rows, (unsigned)((vectors + THREADS - 1) / THREADS));
}

static jsc_status split(struct jsc_stream *stream, const float *x, size_t n, size_t k, size_t kp, bf16 *out, jsc_error *error)
{
    const cudaStream_t handle = cuda_handle(stream);
    return cuda_check(k % 4 == 0 && aligned(x)
                          ? JSC_LAUNCH((split_terms<4>), grid_of(n, k / 4), THREADS, 0, handle, out, x, k, kp)
                          : JSC_LAUNCH((split_terms<1>), grid_of(n, k), THREADS, 0, handle, out, x, k, kp),
                      "matmul", error);
}

/* ---- forward ---------------------------------------------------------------------------------------------------------------------- */

/* How a fast product of n rows goes. */
struct fast_plan {
    size_t kp;       /* k padded to 16 bytes */
    size_t rows;     /* at once */
    bool pairs;      /* both terms in one product */
    size_t at_pairs; /* where the pairs stand in scratch */
    size_t bytes;    /* of scratch */
};

static size_t padded(size_t bytes)
{
    return (bytes + 255) / 256 * 256;
}

static struct fast_plan plan_fast(size_t n, size_t n_out, size_t k)
{
    struct fast_plan plan;
    plan.kp = (k + 7) / 8 * 8;
    const size_t terms = 2 * plan.kp * sizeof(bf16), pair = 2 * n_out * sizeof(float);
    plan.pairs = n <= PAIR_ROWS && n * (terms + pair) <= MATMUL_SCRATCH;
    const size_t fit = MATMUL_SCRATCH / terms, most = fit == 0 ? 1 : fit < PIECE_ROWS ? fit : PIECE_ROWS;
    plan.rows = n < most ? n : most; /* few rows, or all of them, where they are pairs */
    plan.at_pairs = padded(plan.rows * terms);
    plan.bytes = plan.at_pairs + (plan.pairs ? padded(plan.rows * pair) : 0);
    return plan;
}

/* C = A W^T with W's first term; the operands' type is the precision's. The caller fills in the rest. */
static struct gemm_cuda product_of(struct jsc_stream *stream, const struct cuda_weight *w, size_t m, const void *a, float *c)
{
    struct gemm_cuda gemm = {};
    gemm.m = m;
    gemm.n = w->base.n;
    gemm.k = w->base.k;
    gemm.a = a;
    gemm.b = w->w;
    gemm.c = c;
    gemm.b_transposed = true;
    gemm.bf16_ab = cuda_fast(stream);
    return gemm;
}

static jsc_status bias_first(struct jsc_stream *stream, const struct op_matmul *op, jsc_error *error)
{
    const float *bias = ((const struct cuda_weight *)op->w)->bias;
    if (bias == nullptr)
        return JSC_OK;
    const size_t n = op->n, n_out = op->w->n;
    float *const y = (float *)op->y;
    const cudaStream_t handle = cuda_handle(stream);
    return cuda_check(n_out % 4 == 0 && aligned(y)
                          ? JSC_LAUNCH((start_with_bias<4>), grid_of(n, n_out / 4), THREADS, 0, handle, y, bias, n_out, op->accumulate)
                          : JSC_LAUNCH((start_with_bias<1>), grid_of(n, n_out), THREADS, 0, handle, y, bias, n_out, op->accumulate),
                      "matmul", error);
}

static jsc_status add_up(struct jsc_stream *stream, const struct op_matmul *op, const float *pairs, jsc_error *error)
{
    const float *bias = ((const struct cuda_weight *)op->w)->bias;
    const size_t n = op->n, n_out = op->w->n;
    float *const y = (float *)op->y;
    const cudaStream_t handle = cuda_handle(stream);
    return cuda_check(n_out % 4 == 0 && aligned(y)
                          ? JSC_LAUNCH((add_pairs<4>), grid_of(n, n_out / 4), THREADS, 0, handle, y, pairs, bias, n_out, op->accumulate)
                          : JSC_LAUNCH((add_pairs<1>), grid_of(n, n_out), THREADS, 0, handle, y, pairs, bias, n_out, op->accumulate),
                      "matmul", error);
}

/* Both terms of a row as two rows of one product. */
static jsc_status multiply_pairs(struct jsc_stream *stream, const struct op_matmul *op, size_t kp, const bf16 *terms, float *pairs,
                                 jsc_error *error)
{
    const struct cuda_weight *w = (const struct cuda_weight *)op->w;
    const size_t n = op->n, n_out = w->base.n;
    struct gemm_cuda both = product_of(stream, w, 2 * n, terms, pairs);
    both.lda = kp;
    jsc_status status = gemm_cuda(stream, &both, error);
    if (status == JSC_OK && w->w_low != nullptr) { /* hi W_low onto hi W */
        struct gemm_cuda low = product_of(stream, w, n, terms, pairs);
        low.b = w->w_low;
        low.lda = 2 * kp;
        low.ldc = 2 * n_out;
        low.accumulate = true;
        status = gemm_cuda(stream, &low, error);
    }
    if (status != JSC_OK)
        return status;
    return add_up(stream, op, pairs, error);
}

/* Term by term onto y. */
static jsc_status multiply_terms(struct jsc_stream *stream, const struct op_matmul *op, size_t kp, const bf16 *terms, jsc_error *error)
{
    const struct cuda_weight *w = (const struct cuda_weight *)op->w;
    jsc_status status = bias_first(stream, op, error);
    struct gemm_cuda gemm = product_of(stream, w, op->n, terms, (float *)op->y);
    gemm.lda = 2 * kp;
    gemm.accumulate = op->accumulate || w->bias != nullptr;
    if (status == JSC_OK)
        status = gemm_cuda(stream, &gemm, error);
    gemm.accumulate = true;
    gemm.a = terms + kp;
    if (status == JSC_OK)
        status = gemm_cuda(stream, &gemm, error);
    gemm.a = terms;
    gemm.b = w->w_low;
    if (status == JSC_OK && w->w_low != nullptr)
        status = gemm_cuda(stream, &gemm, error);
    return status;
}

static jsc_status matmul_fast(struct jsc_stream *stream, const struct op_matmul *op, jsc_error *error)
{
    const struct fast_plan plan = plan_fast(op->n, op->w->n, op->w->k);
    void *scratch = nullptr;
    jsc_status status = cuda_scratch(stream, CUDA_SCRATCH_GEMM, plan.bytes, &scratch, error);
    bf16 *const terms = (bf16 *)scratch;

    for (size_t first = 0; first < op->n && status == JSC_OK; first += plan.rows) {
        struct op_matmul piece = *op;
        piece.n = op->n - first < plan.rows ? op->n - first : plan.rows;
        piece.x = (float *)op->x + first * op->w->k;
        piece.y = (float *)op->y + first * op->w->n;
        status = split(stream, (const float *)piece.x, piece.n, op->w->k, plan.kp, terms, error);
        if (status == JSC_OK && plan.pairs)
            status = multiply_pairs(stream, &piece, plan.kp, terms, (float *)((char *)scratch + plan.at_pairs), error);
        else if (status == JSC_OK)
            status = multiply_terms(stream, &piece, plan.kp, terms, error);
    }
    return status;
}

static jsc_status matmul_strict(struct jsc_stream *stream, const struct op_matmul *op, jsc_error *error)
{
    const struct cuda_weight *w = (const struct cuda_weight *)op->w;
    const jsc_status status = bias_first(stream, op, error);
    if (status != JSC_OK)
        return status;
    struct gemm_cuda gemm = product_of(stream, w, op->n, op->x, (float *)op->y);
    gemm.accumulate = op->accumulate || w->bias != nullptr;
    return gemm_cuda(stream, &gemm, error);
}

extern "C" jsc_status matmul_cuda(struct jsc_stream *stream, const struct op_matmul *op, jsc_error *error)
{
    const jsc_status status = cuda_enter(stream, error);
    if (status != JSC_OK || op->n == 0)
        return status;
    if (op->precise)
        return matmul_precise_cuda(stream, op, error);
    return cuda_fast(stream) ? matmul_fast(stream, op, error) : matmul_strict(stream, op, error);
}

/* Of any product of at most `rows` rows with a weight of at most n x k or k x n. */
extern "C" size_t matmul_scratch_cuda(const struct jsc_device *device, size_t rows, size_t n, size_t k)
{
    if (device->precision != JSC_PRECISION_FAST)
        return 0;
    const size_t most = n > k ? n : k, terms = 4 * (most + 8), few = rows < PAIR_ROWS ? rows : PAIR_ROWS;
    const size_t alone = (rows < PIECE_ROWS ? rows : PIECE_ROWS) * terms, pairs = few * (terms + 8 * most);
    const size_t all = alone > pairs ? alone : pairs, some = all > HEAD_SCRATCH ? all : HEAD_SCRATCH;
    return (some < MATMUL_SCRATCH ? some : MATMUL_SCRATCH) + 2 * 256; /* padding */
}

/* ---- pull-back ---------------------------------------------------------------------------------------------------------------------- */

/* Of a slab, one token's rows of dy are contiguous: tokens are a batch that shares W. */
extern "C" jsc_status matmul_vjp_cuda(struct jsc_stream *stream, const struct op_matmul_vjp *op, jsc_error *error)
{
    const struct cuda_weight *w = (const struct cuda_weight *)op->w;
    const size_t n_out = w->base.n, k = w->base.k, cot = stream->size_of[ROLE_COT];
    const bool slab = op->slab.of > 0;
    const size_t rows = slab ? (size_t)op->slab.B : op->n;
    const jsc_status status = cuda_enter(stream, error);
    if (status != JSC_OK || op->n == 0)
        return status;
    struct gemm_cuda gemm = {};
    gemm.m = rows;
    gemm.n = k;
    gemm.k = n_out;
    gemm.a = dptr_at(op->dy, rows_at(&op->slab, 0) * n_out, cot);
    gemm.b = w->w;
    gemm.c = op->dx;
    gemm.accumulate = op->accumulate;
    gemm.bf16_ab = gemm.bf16_c = cuda_fast(stream);
    gemm.batch = op->n / rows;
    gemm.stride_a = slab ? (size_t)op->slab.of * n_out : 0;
    gemm.stride_c = rows * k;
    return gemm_cuda(stream, &gemm, error);
}
