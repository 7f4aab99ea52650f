/* fisher_cuda.cu: centred rows of the Fisher factor, their Gram matrix, random probes. Contract: ops.h. Oracle: fisher_ref.c.
 * Test: test_fisher_ops.c.
 *
 * fisher_rows  n listed rows of W twice (mu by row_sums, then centred) -> wc [n][d] f32    limit: memory; waits for the stream if asked
 *              for the trace
 * gram         wc [n][d] f32 -> [d][d] f64 on the host, products summed in double, row by row    2 n d d FLOPs of f64, the limit;
 *              synchronous, a strip of rows of the result at a time, so that scratch stays small
 * probes       out[j] = sum_i sign(seed, first + j, ids[i]) wc[i]    [count][d] f32; a block takes a segment of the list, whose sums are
 *              then added in order; wc is read count/4 times, from L2; the signs are those of rng_sign in src/host/base/rng.c, made once per block */
#include "philox.h"
#include "row_sums.cuh"

/* ---- rows ------------------------------------------------------------------------------------------------------------------------- */

#define FISHER_THREADS 256
#define FISHER_ROWS    65536 /* of a launch: 20 staged bytes each */

struct centre_args {
    const void *w, *w_low;
    size_t d;
    const int32_t *ids;
    const double *p, *slope, *mu;
    float *wc;
    double *squares;
};

/* wc[i] = sqrt(p_i) (s_i w_i - mu) and the squares of the row as stored. Grid: a block per row. */
template <class W, bool VECTOR, int THREADS>
JSC_KERNEL(centre_rows)(centre_args a)
{
    const size_t i = blockIdx.x;
    const int d = (int)a.d;
    const double root = sqrt(a.p[i]), slope = a.slope ? a.slope[i] : 1.0;
    double ss = 0.0;
    for (int c = PIECE * (int)threadIdx.x; c < d; c += PIECE * THREADS) {
        double w[PIECE];
        float x[PIECE];
        load_weight<VECTOR>((const W *)a.w, (const W *)a.w_low, (size_t)a.ids[i] * a.d, c, d, w);
#pragma unroll
        for (int e = 0; e < PIECE; e++) {
            const double mu = c + e < d ? a.mu[c + e] : 0.0;
            x[e] = (float)(root * (slope * w[e] - mu));
            ss += (double)x[e] * (double)x[e];
        }
        store_piece<VECTOR>(a.wc + i * a.d, c, d, x);
    }
    ss = team_sum<THREADS>(ss);
    if (threadIdx.x == 0)
        a.squares[i] = ss;
}

/* One block. */
JSC_KERNEL_BOUNDED(sum_all, FISHER_THREADS, 0)(double *out, const double *x, size_t n)
{
    double sum = 0.0;
    for (size_t i = threadIdx.x; i < n; i += FISHER_THREADS)
        sum += x[i];
    sum = block_sum<FISHER_THREADS>(sum);
    if (threadIdx.x == 0)
        *out = sum;
}

template <class W>
static cudaError_t launch_centre(const centre_args &a, size_t n, cudaStream_t stream)
{
    const bool vector = in_pieces(a.d, a.w) && in_pieces(a.d, a.w_low) && in_pieces(a.d, a.wc);
    if (a.d <= 32 * PIECE)
        return vector ? JSC_LAUNCH((centre_rows<W, true, 32>), (unsigned)n, 32, 0, stream, a)
                      : JSC_LAUNCH((centre_rows<W, false, 32>), (unsigned)n, 32, 0, stream, a);
    return vector ? JSC_LAUNCH((centre_rows<W, true, FISHER_THREADS>), (unsigned)n, FISHER_THREADS, 0, stream, a)
                  : JSC_LAUNCH((centre_rows<W, false, FISHER_THREADS>), (unsigned)n, FISHER_THREADS, 0, stream, a);
}

/* Rows first .. first+n-1. */
static jsc_status centre_some(struct jsc_stream *stream, const struct op_fisher_rows *op, size_t first, size_t n, centre_args a,
                              jsc_error *error)
{
    jsc_status status = JSC_OK;
    const void *ids = NULL, *p = NULL, *slope = NULL;

    TRY(cuda_stage(stream, op->ids + first, n * sizeof *op->ids, &ids, error));
    TRY(cuda_stage(stream, op->p + first, n * sizeof *op->p, &p, error));
    if (op->slope)
        TRY(cuda_stage(stream, op->slope + first, n * sizeof *op->slope, &slope, error));
    a.ids = (const int32_t *)ids, a.p = (const double *)p, a.slope = (const double *)slope;
    a.wc += first * a.d, a.squares += first;
    TRY(cuda_check(cuda_fast(stream) ? launch_centre<bf16>(a, n, cuda_handle(stream)) : launch_centre<float>(a, n, cuda_handle(stream)),
                   "fisher_rows", error));
done:
    return status;
}

static jsc_status fetch_trace(struct jsc_stream *stream, double *out, double *sum, const double *squares, size_t n, jsc_error *error)
{
    cudaError_t result = JSC_LAUNCH(sum_all, 1, FISHER_THREADS, 0, cuda_handle(stream), sum, squares, n);
    if (result == cudaSuccess)
        result = cudaMemcpyAsync(out, sum, sizeof *out, cudaMemcpyDeviceToHost, cuda_handle(stream));
    if (result == cudaSuccess)
        result = cudaStreamSynchronize(cuda_handle(stream));
    return cuda_check(result, "trace of fisher_rows", error);
}

extern "C" jsc_status fisher_rows_cuda(struct jsc_stream *stream, const struct op_fisher_rows *op, jsc_error *error)
{
    const struct cuda_weight *w = (const struct cuda_weight *)op->w;
    const size_t d = w->base.k, start[2] = {0, op->n}, sums_bytes = row_sums_scratch(d), head = d + 8; /* mu, the trace */
    void *scratch = NULL;
    jsc_status status = JSC_OK;

    TRY(cuda_enter(stream, error));
    TRY(cuda_scratch(stream, CUDA_SCRATCH_OPERATION, sums_bytes + (head + op->n) * sizeof(double), &scratch, error));
    {
        double *const mu = (double *)((char *)scratch + sums_bytes), *const trace = mu + d, *const squares = mu + head;
        const struct row_sums sums = {1, start, op->ids, op->p, op->slope, w, mu, true, scratch};
        const centre_args a = {w->w, w->w_low, d, NULL, NULL, NULL, mu, (float *)op->wc, squares};
        TRY(row_sums(stream, &sums, error));
        for (size_t first = 0; first < op->n; first += FISHER_ROWS)
            TRY(centre_some(stream, op, first, op->n - first < FISHER_ROWS ? op->n - first : FISHER_ROWS, a, error));
        if (op->trace)
            TRY(fetch_trace(stream, op->trace, trace, squares, op->n, error));
    }
done:
    return status;
}

/* ---- gram -------------------------------------------------------------------------------------------------------------------------- */

#define GRAM_TILE  64 /* rows and columns of a block's tile of the result, 4 x 4 a thread */
#define GRAM_DEPTH 16 /* rows of wc at once */
#define GRAM_OWN   (GRAM_DEPTH * GRAM_TILE / 256)
#define GRAM_STRIP 512 /* rows of the result in scratch at once */

/* A thread's elements of GRAM_DEPTH rows from i0, columns c0 .. c0+63; zeros outside. */
JSC_DEVICE void load_gram_tile(float own[GRAM_OWN], const float *wc, size_t i0, size_t n, int c0, int d)
{
#pragma unroll
    for (int k = 0; k < GRAM_OWN; k++) {
        const int at = (int)threadIdx.x + 256 * k, column = c0 + at % GRAM_TILE;
        const size_t i = i0 + (size_t)(at / GRAM_TILE);
        own[k] = i < n && column < d ? wc[i * (size_t)d + (size_t)column] : 0.0f;
    }
}
JSC_DEVICE void store_gram_tile(double *tile, const float own[GRAM_OWN])
{
#pragma unroll
    for (int k = 0; k < GRAM_OWN; k++)
        tile[(int)threadIdx.x + 256 * k] = (double)own[k];
}

/* out[r][c] = sum_i wc[i][first + r] wc[i][c]. Grid: (tiles of columns, tiles of rows of the strip). */
JSC_KERNEL_BOUNDED(gram_strip, 256, 2)(double *out, const float *wc, size_t n, int d, int first, int rows)
{
    JSC_SHARED(double, left, GRAM_DEPTH * GRAM_TILE);
    JSC_SHARED(double, right, GRAM_DEPTH * GRAM_TILE);
    const int r0 = (int)blockIdx.y * GRAM_TILE, c0 = (int)blockIdx.x * GRAM_TILE, ty = (int)threadIdx.x / 16, tx = (int)threadIdx.x % 16;
    float own_left[GRAM_OWN], own_right[GRAM_OWN];
    double sum[4][4] = {};
    load_gram_tile(own_left, wc, 0, n, first + r0, d);
    load_gram_tile(own_right, wc, 0, n, c0, d);
    for (size_t i0 = 0; i0 < n; i0 += GRAM_DEPTH) {
        store_gram_tile(left, own_left);
        store_gram_tile(right, own_right);
        __syncthreads(); /* both tiles are written */
        load_gram_tile(own_left, wc, i0 + GRAM_DEPTH, n, first + r0, d); /* on their way during the products */
        load_gram_tile(own_right, wc, i0 + GRAM_DEPTH, n, c0, d);
#pragma unroll
        for (int k = 0; k < GRAM_DEPTH; k++) {
            double a[4], b[4];
#pragma unroll
            for (int e = 0; e < 4; e += 2) { /* pairs 32 columns apart: no bank conflicts */
                const vec<double, 2> x = load_vec<2>(left + k * GRAM_TILE + 2 * ty + 16 * e);
                const vec<double, 2> y = load_vec<2>(right + k * GRAM_TILE + 2 * tx + 16 * e);
                a[e] = x.v[0], a[e + 1] = x.v[1];
                b[e] = y.v[0], b[e + 1] = y.v[1];
            }
#pragma unroll
            for (int r = 0; r < 4; r++)
#pragma unroll
                for (int c = 0; c < 4; c++)
                    sum[r][c] += a[r] * b[c];
        }
        __syncthreads(); /* both tiles are read */
    }
#pragma unroll
    for (int r = 0; r < 4; r++)
#pragma unroll
        for (int c = 0; c < 4; c++) {
            const int row = r0 + 2 * ty + 32 * (r / 2) + r % 2, column = c0 + 2 * tx + 32 * (c / 2) + c % 2;
            if (row < rows && column < d)
                out[(size_t)row * (size_t)d + (size_t)column] = sum[r][c];
        }
}

/* Rows of the result at once. */
static size_t gram_rows(size_t d)
{
    return d < GRAM_STRIP ? d : GRAM_STRIP;
}

extern "C" size_t operation_scratch_cuda(size_t d)
{
    const size_t sums = row_sums_scratch(d) + (d + 8) * sizeof(double), gram = gram_rows(d) * d * sizeof(double);
    return sums > gram ? sums : gram;
}

extern "C" jsc_status gram_cuda(struct jsc_stream *stream, const struct op_gram *op, jsc_error *error)
{
    const size_t d = (size_t)op->d, strip = gram_rows(d);
    void *out = NULL;
    jsc_status status = JSC_OK;

    TRY(cuda_enter(stream, error));
    TRY(cuda_scratch(stream, CUDA_SCRATCH_OPERATION, strip * d * sizeof(double), &out, error));
    for (size_t first = 0; first < d; first += strip) {
        const size_t rows = d - first < strip ? d - first : strip;
        const dim3 grid((unsigned)blocks_of(d, GRAM_TILE), (unsigned)blocks_of(rows, GRAM_TILE));
        cudaError_t result = JSC_LAUNCH(gram_strip, grid, 256, 0, cuda_handle(stream), (double *)out, (const float *)op->wc, op->n, op->d,
                                        (int)first, (int)rows);
        if (result == cudaSuccess)
            result = cudaMemcpyAsync(op->out + first * d, out, rows * d * sizeof(double), cudaMemcpyDeviceToHost, cuda_handle(stream));
        TRY(cuda_check(result, "gram", error));
    }
    TRY(cuda_check(cudaStreamSynchronize(cuda_handle(stream)), "gram", error));
done:
    return status;
}

/* ---- probes ------------------------------------------------------------------------------------------------------------------------ */

#define PROBES         4 /* of a block */
#define PROBE_THREADS  64
#define PROBE_ROWS     32                /* of wc: partial sums, so that float loses nothing over a vocabulary */
#define PROBE_SEGMENT  (8 * PROBE_ROWS)  /* entries of the list, from its beginning: a block's */
#define PROBE_LOADS    8                 /* rows in flight a thread */
#define PROBE_MOST_IDS (CUDA_STAGE_BYTES / sizeof(int32_t) / PROBE_SEGMENT * PROBE_SEGMENT)

struct probe_args {
    size_t n;
    int count, d;
    uint64_t seed, first;
    const int32_t *ids;
    const float *wc;
    float *sums; /* [segment][count][d] */
};

/* The signs of a segment's rows, [rows][PROBES], as the sign bit: rng_sign(). */
JSC_DEVICE void make_signs(uint32_t *signs, const probe_args &a, size_t from, int rows, int j0)
{
    for (int s = (int)threadIdx.x; s < PROBES * rows; s += PROBE_THREADS)
        signs[s] = philox_positive(a.seed, a.first + (uint64_t)(j0 + s % PROBES), (uint64_t)a.ids[from + (size_t)(s / PROBES)]) ? 0u : 0x80000000u;
}

/* part += sign w over ROWS rows from w on. All loads are issued before the first is used: without conditions, and with a barrier of the
 * warp that ptxas does not move them over; it moves loads down to their uses otherwise. */
template <int ROWS, int N>
JSC_DEVICE void add_signed(float part[PROBES][N], const float *w, size_t d, const uint32_t *signs)
{
    vec<float, N> x[ROWS];
#pragma unroll
    for (int i = 0; i < ROWS; i++)
        x[i] = load_vec<N>(w + (size_t)i * d);
    __syncwarp();
#pragma unroll
    for (int i = 0; i < ROWS; i++) {
        const vec<uint32_t, PROBES> sign = load_vec<PROBES>(signs + PROBES * i);
#pragma unroll
        for (int j = 0; j < PROBES; j++)
#pragma unroll
            for (int e = 0; e < N; e++)
                part[j][e] += __uint_as_float(__float_as_uint(x[i].v[e]) ^ sign.v[j]);
    }
}

/* Grid: (columns, groups of PROBES probes, segments of the list); N columns a thread. */
template <int N>
JSC_KERNEL_BOUNDED(probe, PROBE_THREADS, 0)(probe_args a)
{
    JSC_SHARED(uint32_t, signs, PROBES * PROBE_SEGMENT);
    const int c = N * (int)(blockIdx.x * PROBE_THREADS + threadIdx.x), j0 = (int)blockIdx.y * PROBES;
    const size_t d = (size_t)a.d, from = (size_t)blockIdx.z * PROBE_SEGMENT;
    const int rows = (int)min((size_t)PROBE_SEGMENT, a.n - from);
    make_signs(signs, a, from, rows, j0);
    __syncthreads(); /* the signs are written */
    const float *const w = a.wc + from * d + (size_t)(c < a.d ? c : 0); /* every lane loads: warps stay whole */
    float sum[PROBES][N] = {};
    for (int i0 = 0; i0 < rows; i0 += PROBE_ROWS) {
        const int end = min(i0 + PROBE_ROWS, rows);
        float part[PROBES][N] = {};
        int i = i0;
#pragma unroll 1
        for (; i + PROBE_LOADS <= end; i += PROBE_LOADS)
            add_signed<PROBE_LOADS, N>(part, w + (size_t)i * d, d, signs + PROBES * i);
#pragma unroll 1
        for (; i < end; i++)
            add_signed<1, N>(part, w + (size_t)i * d, d, signs + PROBES * i);
#pragma unroll
        for (int j = 0; j < PROBES; j++)
#pragma unroll
            for (int e = 0; e < N; e++)
                sum[j][e] += part[j][e];
    }
#pragma unroll
    for (int j = 0; j < PROBES; j++) {
        if (j0 + j >= a.count || c >= a.d)
            continue;
        vec<float, N> v;
#pragma unroll
        for (int e = 0; e < N; e++)
            v.v[e] = sum[j][e];
        store_vec(a.sums + ((size_t)blockIdx.z * (size_t)a.count + (size_t)(j0 + j)) * d + (size_t)c, v);
    }
}

/* out (from 0, or where an earlier launch left it) + the segments in order: one chain, however the list is dealt out. */
JSC_KERNEL_BOUNDED(add_segments, FISHER_THREADS, 0)(float *out, const float *sums, size_t n, int segments, bool from_zero)
{
    const size_t i = (size_t)blockIdx.x * FISHER_THREADS + threadIdx.x;
    if (i >= n)
        return;
    float sum = from_zero ? 0.0f : out[i];
#pragma unroll 8
    for (int s = 0; s < segments; s++)
        sum += sums[(size_t)s * n + i];
    out[i] = sum;
}

/* Entries first .. first+a.n-1 of the list. */
static cudaError_t launch_probes(const probe_args &a, float *out, bool from_zero, cudaStream_t stream)
{
    const bool vector = a.d % 4 == 0 && aligned(a.wc);
    const size_t n = (size_t)a.count * (size_t)a.d, segments = blocks_of(a.n, PROBE_SEGMENT);
    const dim3 grid((unsigned)blocks_of((size_t)a.d, (vector ? 4 : 1) * PROBE_THREADS), (unsigned)blocks_of((size_t)a.count, PROBES),
                    (unsigned)segments);
    cudaError_t result = cudaSuccess;
    if (segments > 0)
        result = vector ? JSC_LAUNCH((probe<4>), grid, PROBE_THREADS, 0, stream, a) : JSC_LAUNCH((probe<1>), grid, PROBE_THREADS, 0, stream, a);
    if (result != cudaSuccess)
        return result;
    return JSC_LAUNCH(add_segments, (unsigned)blocks_of(n, FISHER_THREADS), FISHER_THREADS, 0, stream, out, a.sums, n, (int)segments, from_zero);
}

/* a: its probes, of which the scratch holds one segment at least. */
static jsc_status probes_of(struct jsc_stream *stream, const struct op_probes *op, probe_args a, float *out, size_t most_ids, jsc_error *error)
{
    jsc_status status = JSC_OK;
    size_t first = 0;

    do { /* once without ids too: zeros */
        const void *ids = NULL;
        a.n = op->n - first < most_ids ? op->n - first : most_ids;
        if (a.n > 0)
            TRY(cuda_stage(stream, op->ids + first, a.n * sizeof *op->ids, &ids, error));
        a.ids = (const int32_t *)ids, a.wc = (const float *)op->wc + first * (size_t)op->d;
        TRY(cuda_check(launch_probes(a, out, first == 0, cuda_handle(stream)), "probes", error));
        first += a.n;
    } while (first < op->n);
done:
    return status;
}

/* Sums of segments take the scratch that gram takes: so many of them in a launch, and where one segment of all probes does not fit, so many
 * probes. */
extern "C" jsc_status probes_cuda(struct jsc_stream *stream, const struct op_probes *op, jsc_error *error)
{
    const size_t d = (size_t)op->d, bytes = operation_scratch_cuda(d), most = bytes / (d * sizeof(float));
    const size_t step = (size_t)op->count < most ? (size_t)op->count : most;
    jsc_status status = JSC_OK;
    void *sums = NULL;

    TRY(cuda_enter(stream, error));
    TRY(cuda_scratch(stream, CUDA_SCRATCH_OPERATION, bytes, &sums, error));
    for (size_t j = 0; j < (size_t)op->count; j += step) {
        const size_t count = (size_t)op->count - j < step ? (size_t)op->count - j : step, segments = most / count;
        const size_t fit = segments < PROBE_MOST_IDS / PROBE_SEGMENT ? segments * PROBE_SEGMENT : PROBE_MOST_IDS;
        const probe_args a = {0, (int)count, op->d, op->seed, op->first + j, NULL, NULL, (float *)sums};
        TRY(probes_of(stream, op, a, (float *)op->out + j * d, fit, error));
    }
done:
    return status;
}
