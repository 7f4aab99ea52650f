/* norm_vjp_cuda.cu: the VJP of norms: added to the residual-stream gradient (norm_vjp), or by itself behind a branch (norm_pull). Formulas:
 * ops.h. Oracle: norm_ref.c. Test: test_norm.c.
 *
 * norm_vjp   dn [rows][d] COT, R [rows][d] f32 -> R, G COT, ss f64   12d a row in fast precision (dn 2d, R 4d + 4d, G 2d), 12d in strict;
 *            x and w once per token and share of right-hand sides    limit: memory
 * norm_pull  dy [rows][d] COT -> dx [rows][d] COT                    4d a row in fast precision, 8d in strict; x and w likewise
 * A team (a warp up to d = 1024, else a block) takes a row at a time, in pieces of 8 elements a thread. It keeps xhat and w in registers
 * over the right-hand sides of one token and meets at one barrier a row: the partial sums alternate between two arrays, and those of ss are
 * collected behind the next row's barrier. Rows that are not in vectors, or wider than 8192, take a loop that keeps nothing. Rows without a
 * norm are only added. ss runs in double, <xhat, g> in float (a few dozen terms a thread, then a tree). */
#include "rows.cuh"

struct norm_vjp_args {
    size_t n, teams; /* rows; a team takes one share of one group */
    int group;       /* rows that share a token: B, or 1 with tok */
    int shares, B, of, b0, d;
    const int32_t *tok;
    const float *x, *r, *mean, *w; /* mean NULL: RMS */
    const void *dn;
    float *R; /* norm_pull: none */
    void *G;  /* NULL: not wanted, or R itself; norm_pull: dx */
    double *ss;
};

/* A team's share, n rows of one token: where the first stands in what is read (dn), and in what is written (R, G, ss). Of a slab the one
 * are contiguous, the other the whole block's; norm_pull reads from the block. */
struct norm_share {
    size_t token, from, to;
    int n;
};
/* rows_at() of ops.h */
JSC_DEVICE size_t place_of(const norm_vjp_args &a, size_t row)
{
    return a.of > 0 ? row / (size_t)a.B * (size_t)a.of + (size_t)a.b0 + row % (size_t)a.B : row;
}

template <bool PULL>
JSC_DEVICE norm_share share_of(const norm_vjp_args &a, size_t team)
{
    const unsigned shares = (unsigned)a.shares, share = (unsigned)(team % shares);
    const size_t group = team / shares, first = group * (size_t)a.group;
    const int rows = (int)min((size_t)a.group, a.n - first), each = (rows + a.shares - 1) / a.shares, skip = min((int)share * each, rows);
    const size_t begin = first + (size_t)skip, place = place_of(a, begin); /* a group never reaches over the block's end */
    norm_share s;
    s.token = !a.tok ? group : (size_t)a.tok[PULL ? place : first]; /* with tok a group is one row */
    s.from = PULL ? place : begin;
    s.to = PULL ? begin : place;
    s.n = min(each, rows - skip);
    return s;
}

/* R += r (w dn - shift - xhat slope) for one piece, and G; returns the sum of squares. R, G: of the row. PULL: G = the summand. */
template <bool VECTOR, bool PULL, class COT>
JSC_DEVICE double pull_piece(float *R, COT *G, int c, int d, const float old[PIECE], const float xhat[PIECE], const float w[PIECE],
                             const vec<COT, PIECE> &dn, float r, float shift, float slope)
{
    float v[PIECE];
    double squares = 0.0;
#pragma unroll
    for (int i = 0; i < PIECE; i++) {
        const float summand = r * (w[i] * f32_of(dn.v[i]) - shift - xhat[i] * slope);
        v[i] = PULL ? summand : old[i] + summand;
        if (!PULL && (VECTOR ? c : c + i) < d)
            squares += (double)v[i] * (double)v[i];
    }
    if (!PULL)
        store_piece<VECTOR>(R, c, d, v);
    if (PULL || G)
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
template <class COT, int THREADS, int PIECES, bool PULL>
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
    const norm_share s = share_of<PULL>(a, team);
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
    const COT *dn_row = (const COT *)a.dn + s.from * (size_t)d;
    float *R_row = PULL ? NULL : a.R + s.to * (size_t)d;
    COT *G_row = PULL || a.G ? (COT *)a.G + s.to * (size_t)d : NULL;
    double *ss = !PULL && a.ss ? a.ss + s.to : NULL;
    for (int b = 0; b < s.n; b++) {
        vec<COT, PIECE> dn[PIECES];
        float R[PIECES][PIECE] = {}, dot = 0.0f, sum = 0.0f;
#pragma unroll
        for (int k = 0; k < PIECES; k++) {
            dn[k] = load_raw<true>(dn_row, PIECE * (thread + k * THREADS), d);
            if (!PULL)
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
            if (!PULL && thread == 0 && ss && b > 0)
                ss[b - 1] = sum_squares<WARPS>(squares + (WARPS - side));
        }
        const float shift = a.mean ? sum * scale : 0.0f, slope = dot * scale;
        double square = 0.0;
#pragma unroll
        for (int k = 0; k < PIECES; k++) {
            const int c = PIECE * (thread + k * THREADS);
            square += pull_piece<true, PULL>(R_row, G_row, c, d, R[k], xhat[k], w[k], dn[k], r, shift, slope);
        }
        if (!PULL) {
            square = warp_sum(square);
            if (WARPS > 1 && lane == 0)
                squares[side + warp] = square;
            if (WARPS == 1 && lane == 0 && ss)
                ss[b] = square;
            R_row += d;
        }
        dn_row += d;
        G_row = G_row ? G_row + d : NULL;
    }
    if (!PULL && WARPS > 1 && s.n > 0) {
        __syncthreads(); /* the last row's squares are written */
        if (thread == 0 && ss)
            ss[s.n - 1] = sum_squares<WARPS>(squares + ((s.n - 1) & 1) * WARPS);
    }
}

/* Any width and address; nothing is kept between the two passes over a row. Grid as there. */
template <class COT, bool VECTOR, int THREADS, bool PULL>
JSC_KERNEL_BOUNDED(norm_vjp_loop, THREADS * TEAMS(THREADS), 0)(norm_vjp_args a)
{
    const size_t team = (size_t)blockIdx.x * TEAMS(THREADS) + threadIdx.x / THREADS;
    if (team >= a.teams)
        return;
    const int thread = (int)threadIdx.x % THREADS, d = a.d;
    const norm_share s = share_of<PULL>(a, team);
    const float r = a.r[s.token], mean = a.mean ? a.mean[s.token] : 0.0f, scale = 1.0f / (float)d;
    const float *const x_row = a.x + s.token * (size_t)d;
    for (int b = 0; b < s.n; b++) {
        const COT *const dn_row = (const COT *)a.dn + (s.from + (size_t)b) * (size_t)d;
        const size_t at = (s.to + (size_t)b) * (size_t)d;
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
            float x[PIECE], w[PIECE], R[PIECE] = {};
            load_piece<VECTOR>(x_row, c, d, x);
            load_piece<VECTOR>(a.w, c, d, w);
            if (!PULL)
                load_piece<VECTOR>(a.R + at, c, d, R);
#pragma unroll
            for (int i = 0; i < PIECE; i++)
                x[i] = (x[i] - mean) * r;
            square += pull_piece<VECTOR, PULL>(PULL ? NULL : a.R + at, PULL || a.G ? (COT *)a.G + at : NULL, c, d, R, x, w,
                                               load_raw<VECTOR>(dn_row, c, d), r, a.mean ? sum * scale : 0.0f, dot * scale);
        }
        if (!PULL && a.ss) {
            square = team_sum<THREADS>(square);
            if (thread == 0)
                a.ss[s.to + (size_t)b] = square;
        }
    }
}

/* R += dn, and G. Grid: a team per row. */
template <class COT, bool VECTOR, int THREADS>
JSC_KERNEL_BOUNDED(norm_none_vjp, THREADS * TEAMS(THREADS), 0)(norm_vjp_args a)
{
    const size_t row = (size_t)blockIdx.x * TEAMS(THREADS) + threadIdx.x / THREADS;
    if (row >= a.n)
        return; /* a whole warp; a block has one row */
    const int thread = (int)threadIdx.x % THREADS, d = a.d;
    const size_t place = place_of(a, row), at = place * (size_t)d;
    double square = 0.0;
    for (int c = PIECE * thread; c < d; c += PIECE * THREADS) {
        float R[PIECE], dn[PIECE];
        load_piece<VECTOR>(a.R + at, c, d, R);
        load_piece<VECTOR>((const COT *)a.dn + row * (size_t)d, c, d, dn);
#pragma unroll
        for (int i = 0; i < PIECE; i++) {
            R[i] += dn[i]; /* both 0 past the end */
            square += (double)R[i] * (double)R[i];
        }
        store_piece<VECTOR>(a.R + at, c, d, R);
        if (a.G)
            store_piece<VECTOR>((COT *)a.G + at, c, d, R);
    }
    if (!a.ss)
        return;
    square = team_sum<THREADS>(square);
    if (thread == 0)
        a.ss[place] = square;
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

template <class COT, bool PULL>
static cudaError_t launch_norm_vjp(const norm_vjp_args &a, bool vector, struct jsc_stream *stream)
{
    const int d = a.d;
    if (!vector)
        return d <= WIDTH_OF_WARP ? LAUNCH_TEAMS(32, (norm_vjp_loop<COT, false, 32, PULL>))
                                  : LAUNCH_TEAMS(256, (norm_vjp_loop<COT, false, 256, PULL>));
    return d <= 256             ? LAUNCH_TEAMS(32, (norm_vjp<COT, 32, 1, PULL>))
           : d <= 768           ? LAUNCH_TEAMS(32, (norm_vjp<COT, 32, 3, PULL>))
           : d <= WIDTH_OF_WARP ? LAUNCH_TEAMS(32, (norm_vjp<COT, 32, 4, PULL>))
           : d <= 2048          ? LAUNCH_TEAMS(256, (norm_vjp<COT, 256, 1, PULL>))
           : d <= 4096          ? LAUNCH_TEAMS(512, (norm_vjp<COT, 512, 1, PULL>))
           : d <= 8192          ? LAUNCH_TEAMS(512, (norm_vjp<COT, 512, 2, PULL>))
                                : LAUNCH_TEAMS(512, (norm_vjp_loop<COT, true, 512, PULL>));
}

template <class COT>
static cudaError_t launch_none(norm_vjp_args a, bool vector, struct jsc_stream *stream)
{
    a.group = 1; /* nothing is loaded once a token */
    if (a.d <= WIDTH_OF_WARP)
        return vector ? LAUNCH_TEAMS(32, (norm_none_vjp<COT, true, 32>)) : LAUNCH_TEAMS(32, (norm_none_vjp<COT, false, 32>));
    return vector ? LAUNCH_TEAMS(256, (norm_none_vjp<COT, true, 256>)) : LAUNCH_TEAMS(256, (norm_none_vjp<COT, false, 256>));
}

static norm_vjp_args args_of(const struct rows *rows, int d, enum norm_kind kind, const void *x, const void *r, const void *mean, const void *w)
{
    norm_vjp_args a = {};
    a.n = rows->n, a.B = rows->B, a.of = rows->of, a.b0 = rows->b0, a.tok = rows->tok;
    a.group = a.tok ? 1 : a.B;
    a.d = d;
    a.x = (const float *)x, a.r = (const float *)r, a.w = (const float *)w;
    a.mean = kind == NORM_LAYER ? (const float *)mean : NULL;
    return a;
}

template <class COT>
static cudaError_t launch_vjp(const norm_vjp_args &a, enum norm_kind kind, bool vector, struct jsc_stream *stream)
{
    return kind == NORM_NONE ? launch_none<COT>(a, vector, stream) : launch_norm_vjp<COT, false>(a, vector, stream);
}

extern "C" jsc_status norm_vjp_cuda(struct jsc_stream *stream, const struct op_norm_vjp *op, jsc_error *error)
{
    const size_t d = (size_t)op->d;
    const bool none = op->kind == NORM_NONE, vector = in_pieces(d, none ? NULL : op->x) && in_pieces(d, none ? NULL : op->w) &&
                                                      in_pieces(d, op->dn) && in_pieces(d, op->R) && in_pieces(d, op->G);
    norm_vjp_args a = args_of(&op->rows, op->d, op->kind, op->x, op->r, op->mean, op->w);
    a.dn = op->dn, a.R = (float *)op->R, a.G = op->G != op->R ? op->G : NULL, a.ss = (double *)op->ss;
    const jsc_status status = cuda_enter(stream, error);
    if (status != JSC_OK || a.n == 0)
        return status;
    const cudaError_t result =
        cuda_fast(stream) ? launch_vjp<bf16>(a, op->kind, vector, stream) : launch_vjp<float>(a, op->kind, vector, stream);
    return cuda_check(result, "norm_vjp", error);
}

extern "C" jsc_status norm_pull_cuda(struct jsc_stream *stream, const struct op_norm_pull *op, jsc_error *error)
{
    const size_t d = (size_t)op->d;
    const bool vector = in_pieces(d, op->x) && in_pieces(d, op->w) && in_pieces(d, op->dy) && in_pieces(d, op->dx);
    norm_vjp_args a = args_of(&op->rows, op->d, op->kind, op->x, op->r, op->mean, op->w);
    a.dn = op->dy, a.G = op->dx;
    const jsc_status status = cuda_enter(stream, error);
    if (status != JSC_OK || a.n == 0)
        return status;
    const cudaError_t result =
        cuda_fast(stream) ? launch_norm_vjp<bf16, true>(a, vector, stream) : launch_norm_vjp<float, true>(a, vector, stream);
    return cuda_check(result, "norm_pull", error);
}
