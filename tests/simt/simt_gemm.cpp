/* simt_gemm.cpp: the product itself: packed operands, sums along k in order; built optimised and without sanitizers, since it takes most
 * of the time of whole models on the emulator (operands were checked to lie in their allocations). */
#include "simt_gemm.h"

#include <cstring>
#include <cuda_runtime.h>
#include <library_types.h>
#include <vector>

#include <cuda_bf16.h>

size_t simt_gemm_size(uint32_t type)
{
    return type == CUDA_R_64F ? 8 : type == CUDA_R_32F ? 4 : 2;
}

template <class S> static S load(const void *data, uint32_t type, size_t i)
{
    if (type == CUDA_R_64F)
        return (S) static_cast<const double *>(data)[i];
    if (type == CUDA_R_32F)
        return (S) static_cast<const float *>(data)[i];
    const uint32_t bits = (uint32_t) static_cast<const uint16_t *>(data)[i] << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return (S)x;
}

template <class S> static void store(void *data, uint32_t type, size_t i, S value)
{
    if (type == CUDA_R_64F)
        static_cast<double *>(data)[i] = (double)value;
    else if (type == CUDA_R_32F)
        static_cast<float *>(data)[i] = (float)value;
    else
        static_cast<__nv_bfloat16 *>(data)[i] = __float2bfloat16_rn((float)value);
}

/* out [k][w] of op(X): element (i, l) of op(X) [w x k] at out[l * w + i]. */
template <class S> static void pack(const struct simt_matrix *x, bool transposed, size_t batch, size_t w, size_t k, std::vector<S> *out)
{
    const size_t first = batch * (size_t)x->stride, ld = (size_t)x->ld;
    out->resize(w * k);
    for (size_t l = 0; l < k; l++)
        for (size_t i = 0; i < w; i++)
            (*out)[l * w + i] = load<S>(x->data, x->type, first + (transposed ? i * ld + l : l * ld + i));
}

template <class S> static void run(const struct simt_gemm *g)
{
    std::vector<S> a, b, sums(g->m);
    for (size_t batch = 0; batch < (size_t)g->batch; batch++) {
        if (batch == 0 || g->a.stride)
            pack(&g->a, g->transa, batch, g->m, g->k, &a);
        if (batch == 0 || g->b.stride)
            pack(&g->b, !g->transb, batch, g->n, g->k, &b);
        for (size_t j = 0; j < g->n; j++) {
            S *const sum = sums.data();
            memset(sum, 0, g->m * sizeof *sum);
            for (size_t l = 0; l < g->k; l++) {
                const S factor = b[l * g->n + j], *row = &a[l * g->m];
                for (size_t i = 0; i < g->m; i++)
                    sum[i] += row[i] * factor;
            }
            const size_t c = batch * (size_t)g->c.stride + j * (size_t)g->c.ld, d = batch * (size_t)g->d_stride + j * (size_t)g->d_ld;
            for (size_t i = 0; i < g->m; i++) {
                S value = (S)g->alpha * sum[i];
                if (g->beta != 0.0)
                    value += (S)g->beta * load<S>(g->c.data, g->c.type, c + i);
                store(g->d, g->c.type, d + i, value);
            }
        }
    }
}

void simt_gemm_run(const struct simt_gemm *gemm)
{
    if (gemm->in_double)
        run<double>(gemm);
    else
        run<float>(gemm);
}
