/* nccl_api.h: the part of NCCL that we use, in the layouts of 2.18; later 2.x read them by size and version.
 *
 * The library is opened at run time, and a build must not need its package. JSC_NCCL_TYPES: the types alone, which tests/simt/test_simt_nccl.cpp
 * compares with the real header where there is one. */
#ifndef JSC_NCCL_API_H
#define JSC_NCCL_API_H

#include <cuda_runtime_api.h>

#include <limits.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#define JSC_NCCL_OLDEST 21800 /* 2.18.0: errors of a communicator that does not block can be relied upon */
#define JSC_NCCL_MAGIC  0xcafebeefU
#define JSC_NCCL_ID     128

typedef enum {
    ncclSuccess = 0,
    ncclUnhandledCudaError = 1,
    ncclSystemError = 2,
    ncclInternalError = 3,
    ncclInvalidArgument = 4,
    ncclInvalidUsage = 5,
    ncclRemoteError = 6,
    ncclInProgress = 7
} ncclResult_t;
typedef enum { ncclInt8 = 0, ncclUint8 = 1 } ncclDataType_t;
typedef struct {
    char internal[JSC_NCCL_ID];
} ncclUniqueId;
typedef struct {
    size_t size;
    unsigned magic, version;
    int blocking, cgaClusterSize, minCTAs, maxCTAs;
    const char *netName;
    int splitShare;
    int trafficClass; /* since 2.25; in 2.18 padding */
} ncclConfig_t;
/* INT_MIN: as the library likes */
#define JSC_NCCL_CONFIG {sizeof(ncclConfig_t), JSC_NCCL_MAGIC, JSC_NCCL_OLDEST, 0, INT_MIN, INT_MIN, INT_MIN, NULL, INT_MIN, INT_MIN}

#ifndef JSC_NCCL_TYPES
typedef struct ncclComm *ncclComm_t;

ncclResult_t ncclGetVersion(int *version);
ncclResult_t ncclGetUniqueId(ncclUniqueId *id);
ncclResult_t ncclCommInitRankConfig(ncclComm_t *comm, int ranks, ncclUniqueId id, int rank, ncclConfig_t *config);
ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t *state);
ncclResult_t ncclCommFinalize(ncclComm_t comm);
ncclResult_t ncclCommDestroy(ncclComm_t comm);
ncclResult_t ncclCommAbort(ncclComm_t comm);
ncclResult_t ncclAllGather(const void *mine, void *all, size_t count, ncclDataType_t type, ncclComm_t comm, cudaStream_t stream);
const char *ncclGetErrorString(ncclResult_t result);
const char *ncclGetLastError(ncclComm_t comm);
#endif

#ifdef __cplusplus
}
#endif

#endif
