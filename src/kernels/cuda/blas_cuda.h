/* blas_cuda.h: cuBLASLt as the products see it: a handle, and the functions used under their names without "cublasLt". */
#ifndef JSC_BLAS_CUDA_H
#define JSC_BLAS_CUDA_H

#include "cublaslt_api.h"

/* Every function that is called; blas_cuda.c looks each up in the library. */
#define BLAS_FUNCTIONS(X)                                                                                                                  \
    X(Create)                                                                                                                              \
    X(Destroy)                                                                                                                             \
    X(GetVersion)                                                                                                                          \
    X(GetStatusString)                                                                                                                     \
    X(Matmul)                                                                                                                              \
    X(MatmulAlgoGetHeuristic)                                                                                                              \
    X(MatmulDescCreate)                                                                                                                    \
    X(MatmulDescDestroy)                                                                                                                   \
    X(MatmulDescSetAttribute)                                                                                                              \
    X(MatmulPreferenceCreate)                                                                                                              \
    X(MatmulPreferenceDestroy)                                                                                                             \
    X(MatmulPreferenceSetAttribute)                                                                                                        \
    X(MatrixLayoutCreate)                                                                                                                  \
    X(MatrixLayoutDestroy)                                                                                                                 \
    X(MatrixLayoutSetAttribute)

/* blas->Matmul(blas->handle, ...). One per device, shared by its streams and threads: a handle of cuBLASLt has no state of a call. */
struct blas_cuda {
    cublasLtHandle_t handle;
    void *library; /* of dlopen; NULL in the emulator */
#define BLAS_POINTER(name) __typeof__(&cublasLt##name) name;
    BLAS_FUNCTIONS(BLAS_POINTER)
#undef BLAS_POINTER
};

#endif
