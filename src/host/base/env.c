/* env.c: every environment variable that the library reads, in one table; and the clock. */
#include "base_internal.h"

#include <stdlib.h>
#include <time.h>

static const struct {
    const char *name, *help;
} variables[ENV_COUNT] = {
    [ENV_DEVICE] = {"JSC_DEVICE", "device that \"auto\" means: cpu, ref (developer builds), cuda, cuda:N"},
    [ENV_TRACE] = {"JSC_TRACE", "1: time every operation; the sums go to the log when the model is closed"},
    [ENV_CACHE] = {"JSCOPES_CACHE", "folder of fetched models, instead of ${XDG_CACHE_HOME:-~/.cache}/jscopes"},
    [ENV_CPU_GEMM] = {"JSC_CPU_GEMM", "builtin: own matrix products instead of oneDNN's; plain: oneDNN without packed weights"},
    [ENV_CUDA_PLUGIN] = {"JSC_CUDA_PLUGIN",
                         "file of the CUDA part, instead of libjscopes_cuda.so beside libjscopes or where the system looks"},
    [ENV_CUBLASLT] = {"JSC_CUBLASLT", "file of NVIDIA's cuBLASLt, instead of nvidia/*/lib beside the CUDA part or where the system looks"},
    [ENV_TF32] = {"NVIDIA_TF32_OVERRIDE", "of NVIDIA: 1 rounds every float32 product to TF32, so the CUDA part refuses to start"},
    [ENV_CPU_FAST] = {"JSC_CPU_FAST", "emulate: precision fast on any processor, bfloat16 in memory and float products; slow, for tests"},
};

const char *env_get(enum env_variable variable)
{
    const char *value = getenv(variables[variable].name);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

const char *env_name(enum env_variable variable)
{
    return variables[variable].name;
}

const char *env_help(enum env_variable variable)
{
    return variables[variable].help;
}

double clock_seconds(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
