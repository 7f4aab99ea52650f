/* mlp_collapse_cuda.cu: the VJP of an MLP half with the weights multiplied out per token. Formulas: ops.h. Oracle: mlp_collapse_ref.c.
 *
 *   half  dA [B][f] = G_t Wdown,  dN_t [B][d] = dA_t W_t,  R += norm_vjp(dN)              4 B d f FLOP a token
 *   full  A_t [d][d] = Wdown W_t,  A'_t: the norm folded in,  R_t += G_t A'_t             2 d d f + 2 B d d
 *
 * Products are strided batches over tokens (gemm_cuda.c), some tokens at a time, so that the scratch stays below COLLAPSE_SCRATCH (or is
 * what one token takes). Kernels:
 *   form_w_t     W_t [f][d] COT from c1, c2 and W's rows, kept in registers over the tokens    c d f written, 2 c d f read a piece
 *   fold_norm    A_t [d][d] float -> A'_t COT                                                4 d d read, c d d written a token
 *   finish_rows  R (+= what full made apart), G = R as COT, ss                               4 d (8 d) read, c d (+ 4 d) written a row
 * with c bytes of a COT element. All are bound by memory. In fast precision W_t, A'_t, dA, dN and the factor Wdown are bf16 (W_t from both
 * terms of the weight), A_t is summed and folded in fp32 and R updated in fp32. In strict precision G may be R itself, which a product may
 * not read and write: full then makes its update apart. Test: test_mlp_collapse.c. */
#include "device.cuh"

#include "cuda_internal.h"

#define COLLAPSE_SCRATCH ((size_t)256 << 20)
#define MOST_TOKENS      ((size_t)64) /* at once: W is then read once in 64 tokens, which costs nothing any more */
#define THREADS          256
#define FOLD_THREADS     128 /* of a row of A_t */

/* ---- W_t = diag(c1_t) Wg + diag(c2_t) Wu ------------------------------------------------------------------------------------------- */

/* A matrix as float, or in one or two terms of bf16. */
template <class T>
struct terms {
    const T *w, *low; /* low NULL: none */
};

template <class T, int N>
JSC_DEVICE void load_terms(const struct terms<T> &m, size_t at, float out[N])
{
    vec_to_f32<T, N>(load_vec<N>(m.w + at), out);
    if (m.low != nullptr) {
        float low[N];
        vec_to_f32<T, N>(load_vec<N>(m.low + at), low);
#pragma unroll
        for (int i = 0; i < N; i++)
            out[i] += low[i];
    }
}

/* out [tokens][f][d]; g, u [f][d]; c1, c2 [tokens][f]; u.w NULL: plain, c2 is not used. A thread holds N elements of a row and goes through
 * the tokens. */
template <class T, int N>
JSC_KERNEL_BOUNDED(form_w_t, THREADS, 0)(T *out, struct terms<T> g, struct terms<T> u, const float *c1, const float *c2, size_t tokens,
                                         size_t f, size_t d)
{
    const size_t at = ((size_t)blockIdx.x * THREADS + threadIdx.x) * N, row = at / d;
    if (row >= f)
        return;
    float gate[N], up[N] = {};
    load_terms<T, N>(g, at, gate);
    if (u.w != nullptr)
        load_terms<T, N>(u, at, up);
#pragma unroll 1 /* unrolled, nvcc 13.0 stores a vector in pieces of 4 bytes */
    for (size_t t = 0; t < tokens; t++) {
        const float a = c1[t * f + row], b = c2[t * f + row];
        float mixed[N];
#pragma unroll
        for (int i = 0; i < N; i++)
            mixed[i] = a * gate[i] + b * up[i];
        store_vec(out + t * f * d + at, vec_of_f32<T, N>(mixed));
    }
}

/* ---- A'_t = r_t A_t diag(w) (I - xhat xhat^T / d) ------------------------------------------------------------------------------------ */

struct fold {
    const float *x, *r, *mean, *w; /* of the first token; mean NULL: RMS; r NULL: no norm, A'_t is A_t */
    size_t d;
};

/* Row blockIdx.x of token blockIdx.y; out may be a (strict). A thread reads and writes the same N elements of the row. */
template <class T, int N>
JSC_KERNEL_BOUNDED(fold_norm, FOLD_THREADS, 0)(T *out, const float *a, struct fold p)
{
    const size_t t = blockIdx.y, d = p.d, begin = (t * d + blockIdx.x) * d;
    if (p.r == nullptr) {
        for (size_t i = (size_t)threadIdx.x * N; i < d; i += FOLD_THREADS * N)
            store_vec(out + begin + i, vec_of_f32<T, N>(load_vec<N>(a + begin + i).v));
        return;
    }
    const float *x = p.x + t * d, m = p.mean != nullptr ? p.mean[t] : 0.0f, r = p.r[t];
    double dot = 0.0, sum = 0.0;
    for (size_t i = (size_t)threadIdx.x * N; i < d; i += FOLD_THREADS * N) {
        const vec<float, N> row = load_vec<N>(a + begin + i), at = load_vec<N>(x + i), w = load_vec<N>(p.w + i);
#pragma unroll
        for (int j = 0; j < N; j++) {
            const float g = row.v[j] * w.v[j];
            dot += (double)(at.v[j] - m) * (double)g;
            sum += (double)g;
        }
    }
    dot = block_sum<FOLD_THREADS>(dot);
    const float slope = (float)(dot * (double)r * (double)r / (double)d);
    const float shift = p.mean != nullptr ? (float)(block_sum<FOLD_THREADS>(sum) / (double)d) : 0.0f;
    for (size_t i = (size_t)threadIdx.x * N; i < d; i += FOLD_THREADS * N) {
        const vec<float, N> row = load_vec<N>(a + begin + i), at = load_vec<N>(x + i), w = load_vec<N>(p.w + i);
        float folded[N];
#pragma unroll
        for (int j = 0; j < N; j++)
            folded[j] = r * (row.v[j] * w.v[j] - shift - (at.v[j] - m) * slope);
        store_vec(out + begin + i, vec_of_f32<T, N>(folded));
    }
}

/* ---- R, G, ss ---------------------------------------------------------------------------------------------------------------------- */

template <class T>
struct finish {
    float *R;
    const float *update; /* added to R; NULL: R is complete */
    T *G;                /* may be R; NULL: not wanted */
    double *ss;          /* NULL: not wanted */
    size_t rows, d;
};

/* A warp takes a row: sums of squares in double, in an order that d alone decides. */
template <class T, int N>
JSC_KERNEL_BOUNDED(finish_rows, THREADS, 0)(struct finish<T> p)
{
    const size_t row = (size_t)blockIdx.x * (THREADS / 32) + threadIdx.x / 32;
    if (row >= p.rows)
        return; /* the whole warp */
    double squares = 0.0;
    for (size_t i = (size_t)lane_id() * N; i < p.d; i += 32 * N) {
        const size_t at = row * p.d + i;
        vec<float, N> v = load_vec<N>(p.R + at);
        if (p.update != nullptr) {
            const vec<float, N> more = load_vec_stream<N>(p.update + at);
#pragma unroll
            for (int j = 0; j < N; j++)
                v.v[j] += more.v[j];
            store_vec(p.R + at, v);
        }
#pragma unroll
        for (int j = 0; j < N; j++)
            squares += (double)v.v[j] * (double)v.v[j];
        if (p.G != nullptr && (const void *)p.G != (const void *)p.R)
            store_vec(p.G + at, vec_of_f32<T, N>(v.v));
    }
    squares = warp_sum(squares);
    if (p.ss != nullptr && lane_id() == 0)
        p.ss[row] = squares;
}

/* ---- launches ----------------------------------------------------------------------------------------------------------------------- */

/* Where the scratch of one piece of tokens stands. */
struct collapse_scratch {
    size_t tokens; /* of a piece */
    void *W_t;     /* [tokens][f][d] COT */
    void *dA;      /* half: [tokens][B][f] COT */
    void *dN;      /* half: [tokens][B][d] COT */
    float *A;      /* full: [tokens][d][d] */
    void *folded;  /* full: A' [tokens][d][d] COT; A itself in strict precision */
    float *update; /* full, strict: [tokens][B][d] */
    size_t bytes;
};

static struct collapse_scratch layout(bool fast, enum mlp_form form, size_t n, size_t B, size_t d, size_t f, void *memory)
{
    struct collapse_scratch s = {};
    const size_t cot = fast ? sizeof(bf16) : sizeof(float);
    const size_t half = f * d * cot + B * (f + d) * cot;
    const size_t full = f * d * cot + d * d * (sizeof(float) + (fast ? cot : 0)) + (fast ? 0 : B * d * sizeof(float));
    if (form == MLP_DIRECT || n == 0)
        return s;
    const size_t fit = COLLAPSE_SCRATCH / (form == MLP_HALF ? half : full), most = fit < MOST_TOKENS ? fit : MOST_TOKENS;
    s.tokens = most == 0 ? 1 : most < n ? most : n;
    struct arena a = {};
    a.base = (char *)memory;
    s.W_t = arena_push(&a, s.tokens * f * d, cot);
    if (form == MLP_HALF) {
        s.dA = arena_push(&a, s.tokens * B * f, cot);
        s.dN = arena_push(&a, s.tokens * B * d, cot);
    } else {
        s.A = (float *)arena_push(&a, s.tokens * d * d, sizeof(float));
        s.folded = fast ? arena_push(&a, s.tokens * d * d, cot) : s.A;
        s.update = fast ? nullptr : (float *)arena_push(&a, s.tokens * B * d, sizeof(float));
    }
    s.bytes = a.used;
    return s;
}

extern "C" size_t mlp_collapse_scratch_cuda(struct jsc_device *device, enum mlp_form form, size_t n, int B, int d, int f)
{
    return layout(device->precision == JSC_PRECISION_FAST, form, n, (size_t)B, (size_t)d, (size_t)f, nullptr).bytes;
}

/* Tokens t .. t + n - 1 of one call. */
struct collapse {
    struct jsc_stream *stream;
    const struct op_mlp_collapse *op;
    const struct collapse_scratch *s;
    size_t t, n, B, d, f;
};

template <class T>
static jsc_status form_all(const struct collapse *c, jsc_error *error)
{
    const int wide = 16 / sizeof(T);
    const struct op_mlp_collapse *op = c->op;
    const struct cuda_weight *up = (const struct cuda_weight *)op->up;
    const struct terms<T> g = {(const T *)up->w, (const T *)up->w_low};
    const struct terms<T> u = {op->gated ? g.w + c->f * c->d : nullptr, g.low != nullptr ? g.low + c->f * c->d : nullptr};
    const float *c1 = (const float *)op->c1 + c->t * c->f, *c2 = op->gated ? (const float *)op->c2 + c->t * c->f : c1;
    const bool vectors = c->d % wide == 0 && aligned(g.w) && aligned(g.low) && aligned(c->s->W_t);
    const size_t items = c->f * c->d / (vectors ? wide : 1);
    const dim3 grid((unsigned)((items + THREADS - 1) / THREADS));
    const cudaStream_t handle = cuda_handle(c->stream);
    T *const W_t = (T *)c->s->W_t;
    return cuda_check(vectors ? JSC_LAUNCH((form_w_t<T, wide>), grid, THREADS, 0, handle, W_t, g, u, c1, c2, c->n, c->f, c->d)
                              : JSC_LAUNCH((form_w_t<T, 1>), grid, THREADS, 0, handle, W_t, g, u, c1, c2, c->n, c->f, c->d),
                      "mlp_collapse", error);
}

template <class T>
static jsc_status fold_all(const struct collapse *c, jsc_error *error)
{
    const struct op_mlp_collapse *op = c->op;
    struct fold p;
    p.x = (const float *)op->x + c->t * c->d;
    p.r = op->kind != NORM_NONE ? (const float *)op->r + c->t : nullptr;
    p.mean = op->kind == NORM_LAYER ? (const float *)op->mean + c->t : nullptr;
    p.w = (const float *)op->w;
    p.d = c->d;
    const dim3 grid((unsigned)c->d, (unsigned)c->n);
    const cudaStream_t handle = cuda_handle(c->stream);
    T *const out = (T *)c->s->folded;
    const float *const A = c->s->A;
    const bool vectors = c->d % 4 == 0 && aligned(p.x) && aligned(p.w) && aligned(A) && aligned(out);
    return cuda_check(vectors ? JSC_LAUNCH((fold_norm<T, 4>), grid, FOLD_THREADS, 0, handle, out, A, p)
                              : JSC_LAUNCH((fold_norm<T, 1>), grid, FOLD_THREADS, 0, handle, out, A, p),
                      "mlp_collapse", error);
}

template <class T>
static jsc_status finish_all(const struct collapse *c, jsc_error *error)
{
    const size_t row = c->t * c->B;
    struct finish<T> p;
    p.R = (float *)c->op->R + row * c->d;
    p.update = c->s->update;
    p.G = c->op->G != nullptr ? (T *)c->op->G + row * c->d : nullptr;
    p.ss = c->op->ss != nullptr ? (double *)c->op->ss + row : nullptr;
    p.rows = c->n * c->B;
    p.d = c->d;
    const dim3 grid((unsigned)((p.rows + THREADS / 32 - 1) / (THREADS / 32)));
    const cudaStream_t handle = cuda_handle(c->stream);
    const bool vectors = c->d % 4 == 0 && aligned(p.R) && aligned(p.G) && aligned(p.update);
    return cuda_check(vectors ? JSC_LAUNCH((finish_rows<T, 4>), grid, THREADS, 0, handle, p)
                              : JSC_LAUNCH((finish_rows<T, 1>), grid, THREADS, 0, handle, p),
                      "mlp_collapse", error);
}

/* One product for each token: A_t [m][k] B_t [k][d], all rows contiguous. */
static struct gemm_cuda batch_of(const struct collapse *c, size_t m, size_t k, const void *a, const void *b, void *out)
{
    struct gemm_cuda gemm = {};
    gemm.m = m;
    gemm.n = c->d;
    gemm.k = k;
    gemm.a = a;
    gemm.b = b;
    gemm.c = out;
    gemm.bf16_ab = cuda_fast(c->stream);
    gemm.batch = c->n;
    gemm.stride_a = m * k;
    gemm.stride_b = k * c->d;
    gemm.stride_c = m * c->d;
    return gemm;
}

/* The rows' cotangents, where an entry below or a product finds them. */
static dptr cotangents(const struct collapse *c)
{
    const size_t row = c->B * c->d, size = c->stream->size_of[ROLE_COT];
    return c->op->dy != nullptr ? dptr_at(c->op->dy, (c->t - c->op->first) * row, size) : dptr_at(c->op->G, c->t * row, size);
}

static jsc_status pull_half(const struct collapse *c, jsc_error *error)
{
    const struct op_mlp_collapse *op = c->op;
    struct op_matmul_vjp down = {};
    down.n = c->n * c->B;
    down.w = op->down;
    down.dy = cotangents(c);
    down.dx = c->s->dA;
    jsc_status status = matmul_vjp_cuda(c->stream, &down, error);
    struct gemm_cuda through = batch_of(c, c->B, c->f, c->s->dA, c->s->W_t, c->s->dN);
    through.bf16_c = through.bf16_ab;
    if (status == JSC_OK)
        status = gemm_cuda(c->stream, &through, error);
    if (status != JSC_OK)
        return status;
    struct op_norm_vjp norm = {};
    norm.rows.n = c->n * c->B;
    norm.rows.B = op->B;
    norm.d = op->d;
    norm.kind = op->kind;
    norm.x = (float *)op->x + c->t * c->d;
    norm.r = (float *)op->r + c->t;
    norm.mean = op->mean != nullptr ? (float *)op->mean + c->t : nullptr;
    norm.w = op->w;
    norm.dn = c->s->dN;
    norm.R = (float *)op->R + c->t * c->B * c->d;
    norm.G = op->G != nullptr ? dptr_at(op->G, c->t * c->B * c->d, c->stream->size_of[ROLE_COT]) : nullptr;
    norm.ss = op->ss != nullptr ? (double *)op->ss + c->t * c->B : nullptr;
    return norm_vjp_cuda(c->stream, &norm, error);
}

static jsc_status pull_full(const struct collapse *c, jsc_error *error)
{
    const bool fast = cuda_fast(c->stream);
    const struct cuda_weight *down = (const struct cuda_weight *)c->op->down;
    float *const R = (float *)c->op->R + c->t * c->B * c->d;
    struct gemm_cuda multiply_out = batch_of(c, c->d, c->f, down->w, c->s->W_t, c->s->A);
    multiply_out.stride_a = 0; /* the same Wdown for every token */
    jsc_status status = gemm_cuda(c->stream, &multiply_out, error);
    if (status == JSC_OK)
        status = fast ? fold_all<bf16>(c, error) : fold_all<float>(c, error);
    struct gemm_cuda pull = batch_of(c, c->B, c->d, cotangents(c), c->s->folded, fast ? R : c->s->update);
    pull.accumulate = fast;
    if (status == JSC_OK)
        status = gemm_cuda(c->stream, &pull, error);
    if (status != JSC_OK)
        return status;
    return fast ? finish_all<bf16>(c, error) : finish_all<float>(c, error);
}

extern "C" jsc_status mlp_collapse_cuda(struct jsc_stream *stream, const struct op_mlp_collapse *op, jsc_error *error)
{
    const struct collapse_scratch s =
        layout(cuda_fast(stream), op->form, op->n, (size_t)op->B, (size_t)op->d, (size_t)op->f, op->scratch);
    jsc_status status = cuda_enter(stream, error);
    for (size_t t = 0; t < op->n && status == JSC_OK; t += s.tokens) {
        const size_t n = op->n - t < s.tokens ? op->n - t : s.tokens;
        const struct collapse c = {stream, op, &s, op->first + t, n, (size_t)op->B, (size_t)op->d, (size_t)op->f};
        status = cuda_fast(stream) ? form_all<bf16>(&c, error) : form_all<float>(&c, error);
        if (status == JSC_OK)
            status = op->form == MLP_HALF ? pull_half(&c, error) : pull_full(&c, error);
    }
    return status;
}
