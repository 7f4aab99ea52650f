/* simt_nccl_header.cpp: our declarations of NCCL against the real header, where there is one: values, offsets, types of the functions. */
#if __has_include(<nccl.h>)
#include <nccl.h>

#include <cstddef>

namespace ours
{
#define JSC_NCCL_TYPES
#include "nccl_api.h"
} // namespace ours

#define SAME(value)  static_assert((int)ours::value == (int)::value, #value)
#define PLACE(field) static_assert(offsetof(ours::ncclConfig_t, field) == offsetof(::ncclConfig_t, field), #field)
SAME(ncclSuccess);
SAME(ncclUnhandledCudaError);
SAME(ncclSystemError);
SAME(ncclInternalError);
SAME(ncclInvalidArgument);
SAME(ncclInvalidUsage);
SAME(ncclRemoteError);
SAME(ncclInProgress);
SAME(ncclInt8);
SAME(ncclUint8);
PLACE(size);
PLACE(magic);
PLACE(version);
PLACE(blocking);
PLACE(cgaClusterSize);
PLACE(minCTAs);
PLACE(maxCTAs);
PLACE(netName);
PLACE(splitShare);
#if NCCL_VERSION_CODE >= 22500
PLACE(trafficClass);
#endif
static_assert(sizeof(ours::ncclUniqueId) == sizeof(::ncclUniqueId) && NCCL_CONFIG_UNDEF_INT == INT_MIN, "sizes");
static const ::ncclConfig_t real_config = NCCL_CONFIG_INITIALIZER;
/* The initializer is no constant expression in every version. */
extern "C" bool simt_nccl_magic_is_real(void)
{
    return real_config.magic == JSC_NCCL_MAGIC;
}
#else
extern "C" bool simt_nccl_magic_is_real(void)
{
    return true;
}
#endif
