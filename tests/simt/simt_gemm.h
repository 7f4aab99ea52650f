/* simt_gemm.h: the column-major product behind the fake cublasLtMatmul: D = alpha op(A) op(B) + beta C, batch by batch. */
#ifndef SIMT_GEMM_H
#define SIMT_GEMM_H

#include <cstddef>
#include <cstdint>

struct simt_matrix {
    const void *data;
    uint32_t type; /* cudaDataType: CUDA_R_32F, CUDA_R_16BF, CUDA_R_64F */
    int64_t ld, stride;
};
struct simt_gemm {
    bool transa, transb;
    size_t m, n, k;
    struct simt_matrix a, b, c;
    void *d; /* of c's type */
    int64_t d_ld, d_stride;
    int batch;
    double alpha, beta;
    bool in_double; /* else sums are in float, in the order of k */
};

size_t simt_gemm_size(uint32_t type); /* bytes of an element */
void simt_gemm_run(const struct simt_gemm *gemm);

#endif
