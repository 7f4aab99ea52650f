/* nccl_cuda.h: NCCL opened at run time: the functions used under their names without "nccl". */
#ifndef JSC_NCCL_CUDA_H
#define JSC_NCCL_CUDA_H

#include "base_internal.h"
#include "nccl_api.h"

/* Every function that is called; nccl_cuda.c looks each up in the library. */
#define NCCL_FUNCTIONS(X)                                                                                                                  \
    X(GetVersion)                                                                                                                          \
    X(GetUniqueId)                                                                                                                         \
    X(CommInitRankConfig)                                                                                                                  \
    X(CommGetAsyncError)                                                                                                                   \
    X(CommFinalize)                                                                                                                        \
    X(CommDestroy)                                                                                                                         \
    X(CommAbort)                                                                                                                           \
    X(AllGather)                                                                                                                           \
    X(GetErrorString)                                                                                                                      \
    X(GetLastError)

struct nccl_cuda {
#define NCCL_POINTER(name) __typeof__(&nccl##name) name;
    NCCL_FUNCTIONS(NCCL_POINTER)
#undef NCCL_POINTER
    int version; /* 22809: 2.28.9 */
};

/* Where it is looked for: library_cuda.c; JSC_NCCL=off: nowhere. Needs no GPU. JSC_E_DEVICE: absent, switched off, too old or no NCCL. */
jsc_status nccl_open(struct nccl_cuda *nccl, jsc_error *error);

#endif
