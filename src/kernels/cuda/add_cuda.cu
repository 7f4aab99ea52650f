/* add_cuda.cu: x += scale y. Contract: ops.h. Oracle: head_ref.c. Test: test_head.c.
 *
 * x, y [n] f32    8 bytes read, 4 written an element; limit: memory */
#include "rows.cuh"

#define ADD_THREADS 256

/* Grid: a thread per N elements; the last thread's are the rest. */
template <int N>
JSC_KERNEL(add)(float *x, const float *y, size_t n, float scale)
{
    const size_t at = N * ((size_t)blockIdx.x * ADD_THREADS + threadIdx.x);
    if (at + N <= n) {
        vec<float, N> a = load_vec<N>(x + at);
        const vec<float, N> b = load_vec<N>(y + at);
#pragma unroll
        for (int i = 0; i < N; i++)
            a.v[i] += scale * b.v[i];
        store_vec(x + at, a);
    } else {
        for (size_t i = at; i < n; i++)
            x[i] += scale * y[i];
    }
}

extern "C" jsc_status add_cuda(struct jsc_stream *stream, const struct op_add *op, jsc_error *error)
{
    float *const x = (float *)op->x;
    const float *const y = (const float *)op->y;
    const jsc_status status = cuda_enter(stream, error);
    if (status != JSC_OK || op->n == 0)
        return status;
    const bool vector = aligned(x) && aligned(y);
    const unsigned blocks = (unsigned)blocks_of(op->n, vector ? 4 * ADD_THREADS : ADD_THREADS);
    const cudaError_t result = vector ? JSC_LAUNCH((add<4>), blocks, ADD_THREADS, 0, cuda_handle(stream), x, y, op->n, op->scale)
                                      : JSC_LAUNCH((add<1>), blocks, ADD_THREADS, 0, cuda_handle(stream), x, y, op->n, op->scale);
    return cuda_check(result, "add", error);
}
