/* simt_runtime.cpp: the rest of the fake runtime: errors, injected failures, the device and its properties, attributes of kernels. */
#include "simt_engine.h"

#include <cstdio>
#include <cstring>

static thread_local cudaError_t last_error;
static thread_local int device;
static unsigned long long calls;

unsigned long long simt_runtime_calls(void)
{
    struct simt_guard guard;
    return calls;
}
size_t simt_objects(void)
{
    struct simt_guard guard;
    return simt_live_objects;
}

cudaError_t simt_enter(const char *)
{
    calls++;
    if (simt_settings.fail_call > 0 && --simt_settings.fail_call == 0)
        return cudaErrorMemoryAllocation;
    return simt_lost() ? cudaErrorLaunchFailure : cudaSuccess;
}

int simt_device_now()
{
    return device;
}

cudaError_t simt_leave(cudaError_t error)
{
    if (error != cudaSuccess)
        last_error = error;
    return error;
}

#define ERRORS(X)                                                                                                                          \
    X(cudaSuccess, "no error")                                                                                                             \
    X(cudaErrorInvalidValue, "invalid argument")                                                                                           \
    X(cudaErrorMemoryAllocation, "out of memory")                                                                                          \
    X(cudaErrorInvalidConfiguration, "invalid configuration argument")                                                                     \
    X(cudaErrorInvalidPitchValue, "invalid pitch argument")                                                                                \
    X(cudaErrorInvalidDevice, "invalid device ordinal")                                                                                    \
    X(cudaErrorNoDevice, "no CUDA-capable device is detected")                                                                             \
    X(cudaErrorInsufficientDriver, "CUDA driver version is insufficient for CUDA runtime version")                                         \
    X(cudaErrorInvalidResourceHandle, "invalid resource handle")                                                                           \
    X(cudaErrorIllegalState, "the operation cannot be performed in the present state")                                                     \
    X(cudaErrorNotReady, "device not ready")                                                                                               \
    X(cudaErrorLaunchFailure, "unspecified launch failure")                                                                                \
    X(cudaErrorNotSupported, "operation not supported")                                                                                    \
    X(cudaErrorStreamCaptureUnsupported, "operation not permitted when stream is capturing")                                               \
    X(cudaErrorStreamCaptureInvalidated, "operation failed due to a previous error during capture")                                        \
    X(cudaErrorStreamCaptureUnjoined, "capturing stream has unjoined work")                                                                \
    X(cudaErrorStreamCaptureIsolation, "dependency created on uncaptured work in another stream")                                          \
    X(cudaErrorCapturedEvent, "operation not permitted on an event last recorded in a capturing stream")

extern "C" {

cudaError_t cudaGetLastError(void)
{
    const cudaError_t error = last_error;
    last_error = cudaSuccess;
    return error;
}
cudaError_t cudaPeekAtLastError(void)
{
    return last_error;
}
const char *cudaGetErrorString(cudaError_t error)
{
#define TEXT(code, text)                                                                                                                   \
    if (error == code)                                                                                                                     \
        return text;
    ERRORS(TEXT)
    return "unrecognized error code";
}
const char *cudaGetErrorName(cudaError_t error)
{
#define NAME(code, text)                                                                                                                   \
    if (error == code)                                                                                                                     \
        return #code;
    ERRORS(NAME)
    return "unrecognized error code";
}

/* ---- the device -------------------------------------------------------------------------------------------------------------------- */

cudaError_t cudaGetDeviceCount(int *count)
{
    struct simt_guard guard;
    cudaError_t error = simt_enter("cudaGetDeviceCount");
    if (error == cudaSuccess && simt_settings.driver < CUDART_VERSION)
        error = cudaErrorInsufficientDriver;
    if (error == cudaSuccess && simt_settings.devices < 1)
        error = cudaErrorNoDevice;
    if (error == cudaSuccess)
        *count = simt_settings.devices;
    return simt_leave(error);
}
cudaError_t cudaSetDevice(int index)
{
    struct simt_guard guard;
    cudaError_t error = simt_enter("cudaSetDevice");
    if (error == cudaSuccess && (index < 0 || index >= simt_settings.devices))
        error = cudaErrorInvalidDevice;
    if (error == cudaSuccess)
        device = index;
    return simt_leave(error);
}
cudaError_t cudaGetDevice(int *index)
{
    *index = device;
    return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int *version)
{
    *version = simt_settings.driver;
    return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = CUDART_VERSION;
    return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *p, int index)
{
    struct simt_guard guard;
    cudaError_t error = simt_enter("cudaGetDeviceProperties");
    if (error == cudaSuccess && (index < 0 || index >= simt_settings.devices))
        error = cudaErrorInvalidDevice;
    if (error != cudaSuccess)
        return simt_leave(error);
    memset(p, 0, sizeof *p);
    snprintf(p->name, sizeof p->name, "SIMT emulator");
    p->uuid.bytes[0] = (char)(index + 1);
    p->major = simt_settings.capability / 10;
    p->minor = simt_settings.capability % 10;
    p->totalGlobalMem = simt_settings.memory_limit;
    p->sharedMemPerBlock = 48 * 1024;
    p->sharedMemPerBlockOptin = simt_settings.shared_limit;
    p->sharedMemPerMultiprocessor = simt_settings.shared_limit + 1024;
    p->regsPerBlock = 65536;
    p->warpSize = 32;
    p->maxThreadsPerBlock = 1024;
    p->maxThreadsPerMultiProcessor = 2048;
    p->multiProcessorCount = 2; /* few, so that loops over a grid as large as the machine take several turns */
    p->l2CacheSize = 50 << 20;
    p->unifiedAddressing = 1;
    return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attribute, int index)
{
    struct cudaDeviceProp p;
    const cudaError_t error = cudaGetDeviceProperties(&p, index);
    if (error != cudaSuccess)
        return error;
    switch (attribute) {
    case cudaDevAttrComputeCapabilityMajor:
        *value = p.major;
        return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
        *value = p.minor;
        return cudaSuccess;
    case cudaDevAttrMultiProcessorCount:
        *value = p.multiProcessorCount;
        return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
        *value = (int)p.sharedMemPerBlockOptin;
        return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlock:
        *value = (int)p.sharedMemPerBlock;
        return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
        *value = (int)p.sharedMemPerMultiprocessor;
        return cudaSuccess;
    case cudaDevAttrL2CacheSize:
        *value = p.l2CacheSize;
        return cudaSuccess;
    case cudaDevAttrWarpSize:
        *value = 32;
        return cudaSuccess;
    case cudaDevAttrMaxThreadsPerBlock:
        *value = 1024;
        return cudaSuccess;
    case cudaDevAttrClockRate:
    case cudaDevAttrMemoryClockRate:
        *value = 1000000;
        return cudaSuccess;
    default:
        return simt_leave(cudaErrorInvalidValue); /* add it above when the backend asks */
    }
}

/* ---- kernels ------------------------------------------------------------------------------------------------------------------------- */

cudaError_t cudaFuncSetAttribute(const void *, enum cudaFuncAttribute attribute, int value)
{
    struct simt_guard guard;
    cudaError_t error = simt_enter("cudaFuncSetAttribute");
    if (error == cudaSuccess && attribute == cudaFuncAttributeMaxDynamicSharedMemorySize && (size_t)value > simt_settings.shared_limit)
        error = cudaErrorInvalidValue;
    return simt_leave(error);
}

} /* extern "C" */
