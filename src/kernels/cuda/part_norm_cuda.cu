/* part_norm_cuda.cu: norms of parts of a row, in place (queries and keys per head, or over all heads), and their transpose. Formulas: ops.h.
 * Oracle: part_norm_ref.c. Test: test_part_norm.c.
 *
 * part_norm      x f32 in place -> xhat [n][parts*width], r [n][parts] f32    4 read, 8 written an element
 * part_norm_vjp  dx COT in place; xhat once per token and share of            2 + 2 an element in fast precision, 4 + 4 in strict
 *                right-hand sides                                             limit: memory
 * A team takes a part: 8, 16 or 32 lanes (of width 64, 128 or 256; 8 elements a lane), or a block. In the VJP it keeps xhat and w in
 * registers over the right-hand sides of one token. Parts that are not in vectors, or wider than 8192, take a loop that keeps nothing. Sums
 * of the forward run in double, <xhat, g> in float (at most 16 terms a thread where xhat is kept, then a tree). */
#include "rows.cuh"

#define WIDTH_KEPT 8192 /* in two pieces of 512 threads */

/* ---- forward --------------------------------------------------------------------------------------------------------------------- */

struct part_norm_args {
    size_t teams; /* a part of a row each, parts fastest */
    float *x;
    const float *w, *b;
    float *xhat, *r;
    double eps;
    int parts, width, stride, own, layer, unused;
};

/* Grid: a team per part. */
template <bool VECTOR, int THREADS>
JSC_KERNEL_BOUNDED(part_norm, THREADS * TEAMS(THREADS), 0)(part_norm_args a)
{
    const size_t team = (size_t)blockIdx.x * TEAMS(THREADS) + threadIdx.x / THREADS, parts = (size_t)a.parts;
    const bool live = team < a.teams; /* the others reach the sums of their warp too, with nothing */
    const size_t at = live ? team : a.teams - 1, part = at % parts, own = a.own ? part * (size_t)a.width : 0;
    const int thread = (int)threadIdx.x % THREADS, width = a.width;
    float *const x_part = a.x + at / parts * (size_t)a.stride + part * (size_t)width;
    const double mean = a.layer ? sum_row<VECTOR, THREADS, false>(x_part, thread, live ? width : 0, 0.0) / width : 0.0;
    const double squares = sum_row<VECTOR, THREADS, true>(x_part, thread, live ? width : 0, mean);
    const float r = (float)(1.0 / sqrt(squares / width + a.eps)), m = (float)mean;
    if (!live)
        return;
    if (thread == 0)
        a.r[at] = r;
    for (int c = PIECE * thread; c < width; c += PIECE * THREADS) {
        float x[PIECE], w[PIECE], b[PIECE] = {};
        load_piece<VECTOR>(x_part, c, width, x);
        load_piece<VECTOR>(a.w + own, c, width, w);
        if (a.b)
            load_piece<VECTOR>(a.b + own, c, width, b);
#pragma unroll
        for (int i = 0; i < PIECE; i++)
            x[i] = (x[i] - m) * r;
        store_piece<VECTOR>(a.xhat + at * (size_t)width, c, width, x);
#pragma unroll
        for (int i = 0; i < PIECE; i++)
            x[i] = x[i] * w[i] + b[i];
        store_piece<VECTOR>(x_part, c, width, x);
    }
}

/* Launches kernel for teams of threads; args has what it needs to know. */
template <int THREADS, class ARGS>
static cudaError_t launch_parts(const char *name, void (*kernel)(ARGS), const ARGS &args, struct jsc_stream *stream)
{
    return jsc_launch(name, kernel, (unsigned)blocks_of(args.teams, TEAMS(THREADS)), THREADS * TEAMS(THREADS), 0, cuda_handle(stream), args);
}
#define LAUNCH_PARTS(threads, kernel) launch_parts<threads>(#kernel, kernel, a, stream)

static cudaError_t launch_part_norm(const part_norm_args &a, bool vector, struct jsc_stream *stream)
{
    if (!vector)
        return a.width <= WIDTH_OF_WARP ? LAUNCH_PARTS(32, (part_norm<false, 32>)) : LAUNCH_PARTS(256, (part_norm<false, 256>));
    return a.width <= 64    ? LAUNCH_PARTS(8, (part_norm<true, 8>))
           : a.width <= 128 ? LAUNCH_PARTS(16, (part_norm<true, 16>))
           : a.width <= 256 ? LAUNCH_PARTS(32, (part_norm<true, 32>))
                            : LAUNCH_PARTS(256, (part_norm<true, 256>));
}

extern "C" jsc_status part_norm_cuda(struct jsc_stream *stream, const struct op_part_norm *op, jsc_error *error)
{
    const size_t width = (size_t)op->width;
    const bool vector = op->stride % PIECE == 0 && in_pieces(width, op->x) && in_pieces(width, op->w) && in_pieces(width, op->b) &&
                        in_pieces(width, op->xhat);
    part_norm_args a = {};
    a.teams = op->n * (size_t)op->parts;
    a.x = (float *)op->x, a.w = (const float *)op->w, a.b = (const float *)op->b, a.xhat = (float *)op->xhat, a.r = (float *)op->r;
    a.eps = op->eps;
    a.parts = op->parts, a.width = op->width, a.stride = op->stride, a.own = op->own, a.layer = op->kind == NORM_LAYER;
    const jsc_status status = cuda_enter(stream, error);
    if (status != JSC_OK || a.teams == 0)
        return status;
    return cuda_check(launch_part_norm(a, vector, stream), "part_norm", error);
}

/* ---- VJP ------------------------------------------------------------------------------------------------------------------------- */

struct part_vjp_args {
    size_t n, teams; /* rows; a team takes one part of one share of one token's rows, parts fastest, then shares */
    const float *xhat, *r, *w;
    void *dx;
    int B, shares, parts, width, stride, own, layer, unused;
};

/* Part `part` of n rows of one token, `stride` elements of dx apart. All teams go `each` rounds, so that all lanes of a warp meet. */
template <class COT>
struct part_share {
    size_t part, saved; /* saved: the part's place in r, and in xhat in widths */
    COT *dx;
    int n, each;
};
template <class COT>
JSC_DEVICE part_share<COT> share_of(const part_vjp_args &a, size_t team)
{
    const bool live = team < a.teams;
    const size_t parts = (size_t)a.parts, at = live ? team : a.teams - 1, rest = at / parts, shares = (size_t)a.shares;
    const size_t token = rest / shares, share = rest % shares, first = token * (size_t)a.B;
    part_share<COT> s;
    s.part = at % parts;
    s.saved = token * parts + s.part;
    s.each = (a.B + a.shares - 1) / a.shares;
    const size_t skip = share * (size_t)s.each, rows = min((size_t)a.B, a.n - first);
    s.n = live && skip < rows ? (int)min((size_t)s.each, rows - skip) : 0;
    s.dx = (COT *)a.dx + (first + min(skip, rows - 1)) * (size_t)a.stride + s.part * (size_t)a.width;
    return s;
}

/* dx = r (w dx - shift - xhat slope) */
template <bool VECTOR, class COT>
JSC_DEVICE void pull_piece(COT *dx, int c, int width, const vec<COT, PIECE> &old, const float xhat[PIECE], const float w[PIECE], float r, float shift,
                           float slope)
{
    float v[PIECE];
#pragma unroll
    for (int i = 0; i < PIECE; i++)
        v[i] = r * (w[i] * f32_of(old.v[i]) - shift - xhat[i] * slope);
    store_piece<VECTOR>(dx, c, width, v);
}

/* In vectors, width <= 8 THREADS PIECES. Grid: a team per (token, share, part). */
template <class COT, int THREADS, int PIECES>
JSC_KERNEL_BOUNDED(part_norm_vjp, THREADS * TEAMS(THREADS), 0)(part_vjp_args a)
{
    const part_share<COT> s = share_of<COT>(a, (size_t)blockIdx.x * TEAMS(THREADS) + threadIdx.x / THREADS);
    const int thread = (int)threadIdx.x % THREADS, width = a.width;
    const float r = a.r[s.saved], scale = 1.0f / (float)width;
    const float *const w_part = a.w + (a.own ? s.part * (size_t)width : 0);
    float xhat[PIECES][PIECE], w[PIECES][PIECE];
#pragma unroll
    for (int k = 0; k < PIECES; k++) {
        load_piece<true>(a.xhat + s.saved * (size_t)width, PIECE * (thread + k * THREADS), width, xhat[k]);
        load_piece<true>(w_part, PIECE * (thread + k * THREADS), width, w[k]);
    }
    COT *dx = s.dx;
    for (int b = 0; b < s.each; b++, dx += a.stride) {
        const int here = b < s.n ? width : 0; /* 0: no row, nothing is read or written */
        vec<COT, PIECE> old[PIECES];
        float dot = 0.0f, sum = 0.0f;
#pragma unroll
        for (int k = 0; k < PIECES; k++) {
            old[k] = load_raw<true>(dx, PIECE * (thread + k * THREADS), here);
#pragma unroll
            for (int i = 0; i < PIECE; i++) {
                const float g = w[k][i] * f32_of(old[k].v[i]);
                dot += xhat[k][i] * g;
                sum += g;
            }
        }
        const float slope = team_sum<THREADS>(dot) * scale, shift = a.layer ? team_sum<THREADS>(sum) * scale : 0.0f;
#pragma unroll
        for (int k = 0; k < PIECES; k++)
            pull_piece<true>(dx, PIECE * (thread + k * THREADS), here, old[k], xhat[k], w[k], r, shift, slope);
    }
}

/* Any width and address; nothing is kept between the two passes over a part. Grid as there. */
template <class COT, bool VECTOR, int THREADS>
JSC_KERNEL_BOUNDED(part_norm_vjp_loop, THREADS * TEAMS(THREADS), 0)(part_vjp_args a)
{
    const part_share<COT> s = share_of<COT>(a, (size_t)blockIdx.x * TEAMS(THREADS) + threadIdx.x / THREADS);
    const int thread = (int)threadIdx.x % THREADS, width = a.width;
    const float r = a.r[s.saved], scale = 1.0f / (float)width;
    const float *const xhat_part = a.xhat + s.saved * (size_t)width, *const w_part = a.w + (a.own ? s.part * (size_t)width : 0);
    COT *dx = s.dx;
    for (int b = 0; b < s.each; b++, dx += a.stride) {
        const int here = b < s.n ? width : 0;
        float dot = 0.0f, sum = 0.0f;
#pragma unroll 1
        for (int c = PIECE * thread; c < here; c += PIECE * THREADS) {
            float xhat[PIECE], w[PIECE], old[PIECE];
            load_piece<VECTOR>(xhat_part, c, width, xhat);
            load_piece<VECTOR>(w_part, c, width, w);
            load_piece<VECTOR>(dx, c, width, old);
#pragma unroll
            for (int i = 0; i < PIECE; i++) {
                dot += xhat[i] * (w[i] * old[i]);
                sum += w[i] * old[i];
            }
        }
        const float slope = team_sum<THREADS>(dot) * scale, shift = a.layer ? team_sum<THREADS>(sum) * scale : 0.0f;
#pragma unroll 1
        for (int c = PIECE * thread; c < here; c += PIECE * THREADS) {
            float xhat[PIECE], w[PIECE];
            load_piece<VECTOR>(xhat_part, c, width, xhat);
            load_piece<VECTOR>(w_part, c, width, w);
            pull_piece<VECTOR>(dx, c, width, load_raw<VECTOR>(dx, c, width), xhat, w, r, shift, slope);
        }
    }
}

template <class COT>
static cudaError_t launch_part_vjp(part_vjp_args a, bool vector, struct jsc_stream *stream)
{
    const size_t tokens = blocks_of(a.n, (size_t)a.B), parts = (size_t)a.parts;
    const int width = a.width, threads = !vector ? (width <= WIDTH_OF_WARP ? 32 : 256)
                                         : width <= 64   ? 8
                                         : width <= 128  ? 16
                                         : width <= 256  ? 32
                                         : width <= 2048 || width > WIDTH_KEPT ? 256
                                                                               : 512;
    a.shares = shares_of(stream, tokens * parts, (size_t)a.B, (size_t)threads);
    a.teams = tokens * (size_t)a.shares * parts;
    if (!vector)
        return threads == 32 ? LAUNCH_PARTS(32, (part_norm_vjp_loop<COT, false, 32>)) : LAUNCH_PARTS(256, (part_norm_vjp_loop<COT, false, 256>));
    return threads == 8         ? LAUNCH_PARTS(8, (part_norm_vjp<COT, 8, 1>))
           : threads == 16      ? LAUNCH_PARTS(16, (part_norm_vjp<COT, 16, 1>))
           : threads == 32      ? LAUNCH_PARTS(32, (part_norm_vjp<COT, 32, 1>))
           : threads == 512     ? LAUNCH_PARTS(512, (part_norm_vjp<COT, 512, 2>))
           : width > WIDTH_KEPT ? LAUNCH_PARTS(256, (part_norm_vjp_loop<COT, true, 256>))
                                : LAUNCH_PARTS(256, (part_norm_vjp<COT, 256, 1>));
}

extern "C" jsc_status part_norm_vjp_cuda(struct jsc_stream *stream, const struct op_part_norm_vjp *op, jsc_error *error)
{
    const size_t width = (size_t)op->width;
    const bool vector =
        op->stride % PIECE == 0 && in_pieces(width, op->xhat) && in_pieces(width, op->w) && in_pieces(width, op->dx);
    part_vjp_args a = {};
    a.n = op->rows.n, a.B = op->rows.B;
    a.xhat = (const float *)op->xhat, a.r = (const float *)op->r, a.w = (const float *)op->w, a.dx = op->dx;
    a.parts = op->parts, a.width = op->width, a.stride = op->stride, a.own = op->own, a.layer = op->kind == NORM_LAYER;
    const jsc_status status = cuda_enter(stream, error);
    if (status != JSC_OK || a.n == 0 || a.parts == 0)
        return status;
    return cuda_check(cuda_fast(stream) ? launch_part_vjp<bf16>(a, vector, stream) : launch_part_vjp<float>(a, vector, stream),
                      "part_norm_vjp", error);
}
