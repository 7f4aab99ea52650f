/* matmul_precise_cuda.cu: Y = X W^T + bias with float factors and sums in double, rounded once at the end.
 *
 * x [n][k], y [n][n_out] float; w [n_out][k] float, or bf16 in one or two terms; 2 n n_out k FLOP at double's rate (half of float's on
 * A100, H100 and H200, 1/64 on others). For forwards whose rounding errors grow (ops.h). A sum is one chain in the order of k, whatever
 * n is. A block makes 64 x 64 sums, a thread 4 x 4 of them, 16 columns of k at a time from shared memory, where both operands are doubles
 * already: 8 shared reads for 16 multiply-adds. Oracle: matmul_ref.c. Test: test_matmul_precise.c, test_matmul.c. */
#include "device.cuh"

#include "cuda_internal.h"

#define TILE    64
#define STEP    16
#define PITCH   (TILE + 1) /* of a column of k in shared memory: its writers, 16 columns apart, hit different banks */
#define THREADS 256
#define EACH    4 /* rows and columns of a thread, TILE / 16 */

/* Element (row, column) of W as double. */
JSC_DEVICE double weight_at(const float *w, const float *, size_t at)
{
    return (double)w[at];
}
JSC_DEVICE double weight_at(const bf16 *w, const bf16 *low, size_t at)
{
    return (double)f32_of(w[at]) + (low != nullptr ? (double)f32_of(low[at]) : 0.0);
}

struct precise {
    const float *x, *bias;
    float *y;
    size_t n, n_out, k;
    int accumulate;
};

/* Columns first .. first + STEP - 1 of the tile's rows of x and w; zeros outside. */
template <class W>
JSC_DEVICE void load_tiles(const struct precise &p, const W *w, const W *low, size_t first, double *xs, double *ws)
{
    const size_t column = first + threadIdx.x % STEP;
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        const unsigned row = threadIdx.x / STEP + (unsigned)i * (THREADS / STEP), at = threadIdx.x % STEP * PITCH + row;
        const size_t x_row = (size_t)blockIdx.y * TILE + row, w_row = (size_t)blockIdx.x * TILE + row;
        xs[at] = x_row < p.n && column < p.k ? (double)p.x[x_row * p.k + column] : 0.0;
        ws[at] = w_row < p.n_out && column < p.k ? weight_at(w, low, w_row * p.k + column) : 0.0;
    }
}

template <class W>
JSC_KERNEL_BOUNDED(multiply_precise, THREADS, 2)(struct precise p, const W *w, const W *low)
{
    JSC_SHARED(double, xs, STEP * PITCH);
    JSC_SHARED(double, ws, STEP * PITCH);
    const unsigned tx = threadIdx.x % 16, ty = threadIdx.x / 16; /* rows ty + 16 i, columns tx + 16 j of the tile */
    double sums[EACH][EACH] = {};

    for (size_t first = 0; first < p.k; first += STEP) {
        load_tiles(p, w, low, first, xs, ws);
        __syncthreads(); /* the tiles are written */
#pragma unroll 4
        for (unsigned c = 0; c < STEP; c++) {
            double a[EACH], b[EACH];
#pragma unroll
            for (int i = 0; i < EACH; i++) {
                a[i] = xs[c * PITCH + ty + 16 * i];
                b[i] = ws[c * PITCH + tx + 16 * i];
            }
#pragma unroll
            for (int i = 0; i < EACH; i++)
#pragma unroll
                for (int j = 0; j < EACH; j++)
                    sums[i][j] += a[i] * b[j];
        }
        __syncthreads(); /* the tiles are read */
    }
#pragma unroll
    for (int i = 0; i < EACH; i++)
#pragma unroll
        for (int j = 0; j < EACH; j++) {
            const size_t row = (size_t)blockIdx.y * TILE + ty + 16 * i, column = (size_t)blockIdx.x * TILE + tx + 16 * j;
            if (row >= p.n || column >= p.n_out)
                continue;
            float *y = p.y + row * p.n_out + column;
            double sum = sums[i][j] + (p.bias != nullptr ? (double)p.bias[column] : 0.0);
            if (p.accumulate)
                sum += (double)*y;
            *y = (float)sum;
        }
}

extern "C" jsc_status matmul_precise_cuda(struct jsc_stream *stream, const struct op_matmul *op, jsc_error *error)
{
    const struct cuda_weight *w = (const struct cuda_weight *)op->w;
    const size_t n_out = w->base.n, k = w->base.k, rows = (size_t)TILE * 65535; /* of one launch: the grid's second dimension */
    cudaError_t result = cudaSuccess;
    for (size_t first = 0; first < op->n && result == cudaSuccess; first += rows) {
        const size_t n = op->n - first < rows ? op->n - first : rows;
        const struct precise p = {(const float *)op->x + first * k, w->bias, (float *)op->y + first * n_out, n, n_out, k, op->accumulate};
        const dim3 grid((unsigned)((n_out + TILE - 1) / TILE), (unsigned)((n + TILE - 1) / TILE));
        const cudaStream_t handle = cuda_handle(stream);
        if (cuda_fast(stream))
            result = JSC_LAUNCH((multiply_precise<bf16>), grid, THREADS, 0, handle, p, (const bf16 *)w->w, (const bf16 *)w->w_low);
        else
            result = JSC_LAUNCH((multiply_precise<float>), grid, THREADS, 0, handle, p, (const float *)w->w, (const float *)nullptr);
    }
    return cuda_check(result, "matmul in double", error);
}
