/* norm_cuda.cu: RMSNorm and LayerNorm, and their VJP added to the residual-stream gradient. Formulas: ops.h. Oracle: norm_ref.c.
 * Test: test_norm.c.
 *
 * norm      x [n][d] f32 -> y, y_real [n][d] f32, r, mean [n] f32    4d read (again from L1), 4d (8d with both outputs) written a row
 * norm_vjp  dn [rows][d] COT, R [rows][d] f32 -> R, G COT, ss f64    12d a row in fast precision (dn 2d, R 4d + 4d, G 2d), 12d in strict;
 *           x and w once per token and share of right-hand sides     limit: memory
 * A team (a warp up to d = 1024, else a block) takes a row at a time, in pieces of 8 elements a thread. In the VJP it keeps xhat and w in
 * registers over the right-hand sides of one token and meets at one barrier a row: the partial sums alternate between two arrays, and those
 * of ss are collected behind the next row's barrier. Rows that are not in vectors, or wider than 8192, take a loop that keeps nothing. Sums
 * of the forward and ss run in double, <xhat, g> in float (a few dozen terms a thread, then a tree). */
#include "rows.cuh"

#define WIDTH_OF_WARP  1024 /* up to which a team is a warp */
#define WARP_TEAMS     4    /* rows of a block then */
#define TEAMS(threads) ((threads) == 32 ? WARP_TEAMS : 1)

/* ---- forward --------------------------------------------------------------------------------------------------------------------- */

struct norm_args {
    size_t n;
    int d, layer;
    double eps;
    const float *x, *w, *b;
    float *y, *y_real, *r, *mean;
};

/* Sum over the row of (x - mean), or of its square; the same in every thread of the team. */
template <bool VECTOR, int THREADS, bool SQUARE>
JSC_DEVICE double sum_row(const float *x, int thread, int d, double mean)
{
    double sum = 0.0;
    for (int c = PIECE * thread; c < d; c += PIECE * THREADS) {
        float v[PIECE];
        load_piece<VECTOR>(x, c, d, v);
#pragma unroll
        for (int i = 0; i < PIECE; i++) {
            const double e = VECTOR || c + i < d ? (double)v[i] - mean : 0.0;
            sum += SQUARE ? e * e : e;
        }
    }
    return team_sum<THREADS>(sum);
}

/* Grid: a team per row. */
template <bool VECTOR, int THREADS>
JSC_KERNEL_BOUNDED(norm, THREADS * TEAMS(THREADS), 0)(norm_args a)
{
    const size_t row = (size_t)blockIdx.x * TEAMS(THREADS) + threadIdx.x / THREADS, at = row * (size_t)a.d;
    const int thread = (int)threadIdx.x % THREADS, d = a.d;
    if (row >= a.n)
        return; /* a whole warp; a block has one row */
    const double mean = a.layer ? sum_row<VECTOR, THREADS, false>(a.x + at, thread, d, 0.0) / d : 0.0;
    const double squares = sum_row<VECTOR, THREADS, true>(a.x + at, thread, d, mean);
    const float r = (float)(1.0 / sqrt(squares / d + a.eps)), m = (float)mean;
    if (thread == 0) {
        a.r[row] = r;
        if (a.layer)
            a.mean[row] = m;
    }
    if (!a.y && !a.y_real)
        return;
    for (int c = PIECE * thread; c < d; c += PIECE * THREADS) {
        float x[PIECE], w[PIECE], b[PIECE] = {};
        load_piece<VECTOR>(a.x + at, c, d, x);
        load_piece<VECTOR>(a.w, c, d, w);
        if (a.b)
            load_piece<VECTOR>(a.b, c, d, b);
#pragma unroll
        for (int i = 0; i < PIECE; i++)
            x[i] = (x[i] - m) * r * w[i] + b[i];
        if (a.y)
            store_piece<VECTOR>(a.y + at, c, d, x);
        if (a.y_real)
            store_piece<VECTOR>(a.y_real + at, c, d, x);
    }
}

template <bool VECTOR>
static cudaError_t launch_norm(const norm_args &a, cudaStream_t stream)
{
    if (a.d <= WIDTH_OF_WARP)
        return JSC_LAUNCH((norm<VECTOR, 32>), (unsigned)blocks_of(a.n, WARP_TEAMS), 32 * WARP_TEAMS, 0, stream, a);
    return JSC_LAUNCH((norm<VECTOR, 256>), (unsigned)a.n, 256, 0, stream, a);
}

extern "C" jsc_status norm_cuda(struct jsc_stream *stream, const struct op_norm *op, jsc_error *error)
{
    const size_t d = (size_t)op->d;
    const bool vector = in_pieces(d, op->x) && in_pieces(d, op->w) && in_pieces(d, op->b) && in_pieces(d, op->y) && in_pieces(d, op->y_real);
    norm_args a = {};
    a.n = op->n, a.d = op->d, a.layer = op->kind == NORM_LAYER, a.eps = op->eps;
    a.x = (const float *)op->x, a.w = (const float *)op->w, a.b = (const float *)op->b;
    a.y = (float *)op->y, a.y_real = op->y_real != op->y ? (float *)op->y_real : NULL;
    a.r = (float *)op->r, a.mean = (float *)op->mean;
    const jsc_status status = cuda_enter(stream, error);
    if (status != JSC_OK || op->n == 0)
        return status;
    const cudaError_t result = vector ? launch_norm<true>(a, cuda_handle(stream)) : launch_norm<false>(a, cuda_handle(stream));
    return cuda_check(result, "norm", error);
}

/* ---- VJP ------------------------------------------------------------------------------------------------------------------------- */

struct norm_vjp_args {
    size_t n, teams; /* rows; a team takes one share of one group */
    int group;       /* rows that share a token: B, or 1 with tok */
    int shares, B, of, b0, d;
    const int32_t *tok;
    const float *x, *r, *mean, *w; /* mean NULL: RMS */
    const void *dn;
    float *R;
    void *G; /* NULL: not wanted, or R itself */
    double *ss;
};

/* Rows begin .. begin+n-1 of dn, a team's share, all of one token; they stand at place, place+1 ... in R, G and ss. */
struct norm_share {
    size_t token, begin, place;
    int n;
};
JSC_DEVICE norm_share share_of(const norm_vjp_args &a, size_t team)
{
    const unsigned shares = (unsigned)a.shares, share = (unsigned)(team % shares);
    const size_t group = team / shares, first = group * (size_t)a.group;
    const int rows = (int)min((size_t)a.group, a.n - first), each = (rows + a.shares - 1) / a.shares, skip = min((int)share * each, rows);
    norm_share s;
    s.token = a.tok ? (size_t)a.tok[first] : group;
    s.begin = s.place = first + (size_t)skip;
    s.n = min(each, rows - skip);
    if (a.of > 0) /* rows_at() of ops.h; a group never reaches over the block's end */
        s.place = s.begin / (size_t)a.B * (size_t)a.of + (size_t)a.b0 + s.begin % (size_t)a.B;
    return s;
}

/* R += r (w dn - shift - xhat slope) for one piece, and G; returns the sum of squares. R, G: of the row. */
template <bool VECTOR, class COT>
JSC_DEVICE double pull_piece(float *R, COT *G, int c, int d, const float old[PIECE], const float xhat[PIECE], const float w[PIECE],
                             const vec<COT, PIECE> &dn, float r, float shift, float slope)
{
    float v[PIECE];
    double squares = 0.0;
#pragma unroll
    for (int i = 0; i < PIECE; i++) {
        v[i] = old[i] + r * (w[i] * f32_of(dn.v[i]) - shift - xhat[i] * slope);
        if ((VECTOR ? c : c + i) < d)
            squares += (double)v[i] * (double)v[i];
    }
    store_piece<VECTOR>(R, c, d, v);
    if (G)
        store_piece<VECTOR>(G, c, d, v);
    return squares;
}

/* The sum of WARPS parts in shared memory, pairwise. */
template <int WARPS>
JSC_DEVICE float sum_parts(const float *part)
{
    float all = 0.0f;
#pragma unroll
    for (int k = 0; k < WARPS; k += 4) {
        const vec<float, 4> p = load_vec<4>(part + k);
        all += (p.v[0] + p.v[1]) + (p.v[2] + p.v[3]);
    }
    return all;
}

template <int WARPS>
JSC_DEVICE double sum_squares(const double *part)
{
    double all = part[0];
    for (int warp = 1; warp < WARPS; warp++)
        all += part[warp];
    return all;
}

/* In vectors, d <= 8 THREADS PIECES. Grid: a team per (group, share), share fastest. */
template <class COT, int THREADS, int PIECES>
JSC_KERNEL_BOUNDED(norm_vjp, THREADS * TEAMS(THREADS), (THREADS == 256 ? 4 : 0))(norm_vjp_args a)
{
    constexpr int WARPS = THREADS / 32;
    JSC_SHARED(float, dots, 2 * WARPS);
    JSC_SHARED(float, sums, 2 * WARPS);
    JSC_SHARED(double, squares, 2 * WARPS);
    const size_t team = (size_t)blockIdx.x * TEAMS(THREADS) + threadIdx.x / THREADS;
    if (team >= a.teams)
        return; /* a whole warp, or the block */
    const int thread = (int)threadIdx.x % THREADS, warp = thread / 32, lane = thread % 32, d = a.d;
    const norm_share s = share_of(a, team);
    const float r = a.r[s.token], mean = a.mean ? a.mean[s.token] : 0.0f, scale = 1.0f / (float)d;
    float xhat[PIECES][PIECE], w[PIECES][PIECE];
#pragma unroll
    for (int k = 0; k < PIECES; k++) {
        const int c = PIECE * (thread + k * THREADS);
        load_piece<true>(a.x + s.token * (size_t)d, c, d, xhat[k]);
        load_piece<true>(a.w, c, d, w[k]);
#pragma unroll
        for (int i = 0; i < PIECE; i++)
            xhat[k][i] = (xhat[k][i] - mean) * r; /* past the end w and dn are 0 */
    }
    const COT *dn_row = (const COT *)a.dn + s.begin * (size_t)d;
    float *R_row = a.R + s.place * (size_t)d;
    COT *G_row = a.G ? (COT *)a.G + s.place * (size_t)d : NULL;
    double *ss = a.ss ? a.ss + s.place : NULL;
    for (int b = 0; b < s.n; b++) {
        vec<COT, PIECE> dn[PIECES];
        float R[PIECES][PIECE], dot = 0.0f, sum = 0.0f;
#pragma unroll
        for (int k = 0; k < PIECES; k++) {
            dn[k] = load_raw<true>(dn_row, PIECE * (thread + k * THREADS), d);
            load_piece<true>(R_row, PIECE * (thread + k * THREADS), d, R[k]); /* now, so that a row waits for memory once */
        }
#pragma unroll
        for (int k = 0; k < PIECES; k++)
#pragma unroll
            for (int i = 0; i < PIECE; i++) {
                const float g = w[k][i] * f32_of(dn[k].v[i]);
                dot += xhat[k][i] * g;
                sum += g;
            }
        dot = warp_sum(dot);
        if (a.mean)
            sum = warp_sum(sum);
        const int side = (b & 1) * WARPS;
        if constexpr (WARPS > 1) {
            if (lane == 0) {
                dots[side + warp] = dot;
                sums[side + warp] = sum;
            }
            __syncthreads(); /* this row's dots and sums and the squares of the row before are written */
            dot = sum_parts<WARPS>(dots + side);
            if (a.mean)
                sum = sum_parts<WARPS>(sums + side);
            if (thread == 0 && ss && b > 0)
                ss[b - 1] = sum_squares<WARPS>(squares + (WARPS - side));
        }
        const float shift = a.mean ? sum * scale : 0.0f, slope = dot * scale;
        double square = 0.0;
#pragma unroll
        for (int k = 0; k < PIECES; k++) {
            const int c = PIECE * (thread + k * THREADS);
            square += pull_piece<true>(R_row, G_row, c, d, R[k], xhat[k], w[k], dn[k], r, shift, slope);
        }
        square = warp_sum(square);
        if (WARPS > 1 && lane == 0)
            squares[side + warp] = square;
        if (WARPS == 1 && lane == 0 && ss)
            ss[b] = square;
        dn_row += d, R_row += d;
        G_row = G_row ? G_row + d : NULL;
    }
    if (WARPS > 1 && s.n > 0) {
        __syncthreads(); /* the last row's squares are written */
        if (thread == 0 && ss)
            ss[s.n - 1] = sum_squares<WARPS>(squares + ((s.n - 1) & 1) * WARPS);
    }
}

/* Any width and address; nothing is kept between the two passes over a row. Grid as there. */
template <class COT, bool VECTOR, int THREADS>
JSC_KERNEL_BOUNDED(norm_vjp_loop, THREADS * TEAMS(THREADS), 0)(norm_vjp_args a)
{
    const size_t team = (size_t)blockIdx.x * TEAMS(THREADS) + threadIdx.x / THREADS;
    if (team >= a.teams)
        return;
    const int thread = (int)threadIdx.x % THREADS, d = a.d;
    const norm_share s = share_of(a, team);
    const float r = a.r[s.token], mean = a.mean ? a.mean[s.token] : 0.0f, scale = 1.0f / (float)d;
    const float *const x_row = a.x + s.token * (size_t)d;
    for (int b = 0; b < s.n; b++) {
        const COT *const dn_row = (const COT *)a.dn + (s.begin + (size_t)b) * (size_t)d;
        const size_t at = (s.place + (size_t)b) * (size_t)d;
        float dot = 0.0f, sum = 0.0f;
        double square = 0.0;
        for (int c = PIECE * thread; c < d; c += PIECE * THREADS) {
            float x[PIECE], w[PIECE], dn[PIECE];
            load_piece<VECTOR>(x_row, c, d, x);
            load_piece<VECTOR>(a.w, c, d, w);
            load_piece<VECTOR>(dn_row, c, d, dn);
#pragma unroll
            for (int i = 0; i < PIECE; i++) {
                const float g = w[i] * dn[i];
                dot += (x[i] - mean) * r * g;
                sum += g;
            }
        }
        dot = team_sum<THREADS>(dot);
        if (a.mean)
            sum = team_sum<THREADS>(sum);
        for (int c = PIECE * thread; c < d; c += PIECE * THREADS) {
            float x[PIECE], w[PIECE], R[PIECE];
            load_piece<VECTOR>(x_row, c, d, x);
            load_piece<VECTOR>(a.w, c, d, w);
            load_piece<VECTOR>(a.R + at, c, d, R);
#pragma unroll
            for (int i = 0; i < PIECE; i++)
                x[i] = (x[i] - mean) * r;
            square += pull_piece<VECTOR>(a.R + at, a.G ? (COT *)a.G + at : NULL, c, d, R, x, w, load_raw<VECTOR>(dn_row, c, d), r,
                                         a.mean ? sum * scale : 0.0f, dot * scale);
        }
        square = team_sum<THREADS>(square);
        if (thread == 0 && a.ss)
            a.ss[s.place + (size_t)b] = square;
    }
}

/* Launches kernel for teams of threads. */
template <int THREADS>
static cudaError_t launch_teams(const char *name, void (*kernel)(norm_vjp_args), norm_vjp_args a, struct jsc_stream *stream)
{
    const size_t groups = blocks_of(a.n, (size_t)a.group);
    a.shares = shares_of(stream, groups, (size_t)a.group, THREADS);
    a.teams = groups * (size_t)a.shares;
    return jsc_launch(name, kernel, (unsigned)blocks_of(a.teams, TEAMS(THREADS)), THREADS * TEAMS(THREADS), 0, cuda_handle(stream), a);
}
#define LAUNCH_TEAMS(threads, kernel) launch_teams<threads>(#kernel, kernel, a, stream)

template <class COT>
static cudaError_t launch_norm_vjp(const norm_vjp_args &a, bool vector, struct jsc_stream *stream)
{
    const int d = a.d;
    if (!vector)
        return d <= WIDTH_OF_WARP ? LAUNCH_TEAMS(32, (norm_vjp_loop<COT, false, 32>)) : LAUNCH_TEAMS(256, (norm_vjp_loop<COT, false, 256>));
    return d <= 256    ? LAUNCH_TEAMS(32, (norm_vjp<COT, 32, 1>))
           : d <= 768  ? LAUNCH_TEAMS(32, (norm_vjp<COT, 32, 3>))
           : d <= WIDTH_OF_WARP ? LAUNCH_TEAMS(32, (norm_vjp<COT, 32, 4>))
           : d <= 2048 ? LAUNCH_TEAMS(256, (norm_vjp<COT, 256, 1>))
           : d <= 4096 ? LAUNCH_TEAMS(512, (norm_vjp<COT, 512, 1>))
           : d <= 8192 ? LAUNCH_TEAMS(512, (norm_vjp<COT, 512, 2>))
                       : LAUNCH_TEAMS(512, (norm_vjp_loop<COT, true, 512>));
}

extern "C" jsc_status norm_vjp_cuda(struct jsc_stream *stream, const struct op_norm_vjp *op, jsc_error *error)
{
    const size_t d = (size_t)op->d;
    const bool vector = in_pieces(d, op->x) && in_pieces(d, op->w) && in_pieces(d, op->dn) && in_pieces(d, op->R) && in_pieces(d, op->G);
    norm_vjp_args a = {};
    a.n = op->rows.n, a.B = op->rows.B, a.of = op->rows.of, a.b0 = op->rows.b0, a.tok = op->rows.tok;
    a.group = a.tok ? 1 : a.B;
    a.d = op->d;
    a.x = (const float *)op->x, a.r = (const float *)op->r, a.w = (const float *)op->w;
    a.mean = op->kind == NORM_LAYER ? (const float *)op->mean : NULL;
    a.dn = op->dn, a.R = (float *)op->R, a.G = op->G != op->R ? op->G : NULL, a.ss = (double *)op->ss;
    const jsc_status status = cuda_enter(stream, error);
    if (status != JSC_OK || a.n == 0)
        return status;
    const cudaError_t result = cuda_fast(stream) ? launch_norm_vjp<bf16>(a, vector, stream) : launch_norm_vjp<float>(a, vector, stream);
    return cuda_check(result, "norm_vjp", error);
}
