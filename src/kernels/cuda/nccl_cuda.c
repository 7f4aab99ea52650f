/* nccl_cuda.c: opens NCCL at run time, so that the module loads where it is absent, and looks up what is used of it. */
#include "nccl_cuda.h"
#include "cuda_internal.h"

#include <dlfcn.h>
#include <string.h>

#define NCCL_NAME "libnccl.so.2"

static jsc_status look_up(struct nccl_cuda *nccl, jsc_error *error)
{
    jsc_status status = JSC_OK;
    void *library = NULL, *symbol = NULL;

    TRY(library_open(ENV_NCCL, NCCL_NAME, "pip install nvidia-nccl-cu13, or your system's libnccl2", &library, error));
#define NCCL_LOOK_UP(name)                                                                                                                 \
    if ((symbol = dlsym(library, "nccl" #name)) == NULL)                                                                                   \
        FAIL(JSC_E_DEVICE, "NCCL has no function nccl" #name ": it is older than 2.18, or no NCCL: see %s", env_name(ENV_NCCL));           \
    memcpy(&nccl->name, &symbol, sizeof nccl->name);
    NCCL_FUNCTIONS(NCCL_LOOK_UP)
#undef NCCL_LOOK_UP
done:
    return status;
}

#ifdef JSC_SIMT /* the emulator's functions are linked in; a named file is opened all the same */

static jsc_status find_functions(struct nccl_cuda *nccl, jsc_error *error)
{
    if (env_get(ENV_NCCL) != NULL)
        return look_up(nccl, error);
#define NCCL_LINKED(name) nccl->name = nccl##name;
    NCCL_FUNCTIONS(NCCL_LINKED)
#undef NCCL_LINKED
    return JSC_OK;
}

#else

static jsc_status find_functions(struct nccl_cuda *nccl, jsc_error *error)
{
    return look_up(nccl, error);
}

#endif

jsc_status nccl_open(struct nccl_cuda *nccl, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const char *wanted = env_get(ENV_NCCL);

    if (wanted != NULL && strcmp(wanted, "off") == 0)
        FAIL(JSC_E_DEVICE, "%s=off", env_name(ENV_NCCL));
    TRY(find_functions(nccl, error));
    const ncclResult_t result = nccl->GetVersion(&nccl->version);
    if (result != ncclSuccess)
        FAIL(JSC_E_DEVICE, "NCCL does not say its version: %s", nccl->GetErrorString(result));
    if (nccl->version < JSC_NCCL_OLDEST || nccl->version >= 30000)
        FAIL(JSC_E_DEVICE, "NCCL is version %d.%d, 2.18 or a later 2 is needed: see %s", nccl->version / 10000, nccl->version / 100 % 100,
             env_name(ENV_NCCL));
done:
    return status;
}
