/* norm_cuda.cu: RMSNorm, LayerNorm and none at all. Formulas: ops.h. Oracle: norm_ref.c. Test: test_norm.c.
 *
 * norm      x [n][d] f32 -> y, y_real [n][d] f32, r, mean [n] f32    4d read (again from L1), 4d (8d with both outputs) written a row
 * limit: memory. A team (a warp up to d = 1024, else a block) takes a row at a time, in pieces of 8 elements a thread. Sums run in double.
 * Without a norm the rows are copied. */
#include "rows.cuh"

struct norm_args {
    size_t n;
    int d, layer;
    double eps;
    const float *x, *w, *b;
    float *y, *y_real, *r, *mean;
};

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
        return JSC_LAUNCH((norm<VECTOR, 32>), (unsigned)blocks_of(a.n, TEAMS(32)), 32 * TEAMS(32), 0, stream, a);
    return JSC_LAUNCH((norm<VECTOR, 256>), (unsigned)a.n, 256, 0, stream, a);
}

/* y = x, of a half that begins without a norm */
static cudaError_t copy_rows(const struct op_norm *op, cudaStream_t stream)
{
    const size_t bytes = op->n * (size_t)op->d * sizeof(float);
    cudaError_t result = cudaSuccess;
    if (op->y)
        result = cudaMemcpyAsync(op->y, op->x, bytes, cudaMemcpyDeviceToDevice, stream);
    if (result == cudaSuccess && op->y_real && op->y_real != op->y)
        result = cudaMemcpyAsync(op->y_real, op->x, bytes, cudaMemcpyDeviceToDevice, stream);
    return result;
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
    if (op->kind == NORM_NONE)
        return cuda_check(copy_rows(op, cuda_handle(stream)), "norm", error);
    const cudaError_t result = vector ? launch_norm<true>(a, cuda_handle(stream)) : launch_norm<false>(a, cuda_handle(stream));
    return cuda_check(result, "norm", error);
}
