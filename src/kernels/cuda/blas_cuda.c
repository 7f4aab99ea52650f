/* blas_cuda.c: cuBLASLt, opened at run time so that the module loads where it is absent: its functions, its handle, its version.
 *
 * The major version is that of the toolkit that built the module: its ABI is what cublaslt_api.h declares. */
#include "blas_cuda.h"
#include "cuda_internal.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#define BLAS_MAJOR (CUDART_VERSION / 1000)

#ifdef JSC_SIMT /* the emulator's functions are linked in */

static jsc_status open_library(struct blas_cuda *blas, jsc_error *error)
{
    (void)error;
#define BLAS_LINKED(name) blas->name = cublasLt##name;
    BLAS_FUNCTIONS(BLAS_LINKED)
#undef BLAS_LINKED
    return JSC_OK;
}

#else

static jsc_status open_library(struct blas_cuda *blas, jsc_error *error)
{
    jsc_status status = JSC_OK;
    void *symbol = NULL;
    char name[64];

    (void)snprintf(name, sizeof name, "libcublasLt.so.%d", BLAS_MAJOR);
    TRY(library_open(ENV_CUBLASLT, name, "pip install nvidia-cublas, or the toolkit", &blas->library, error));
#define BLAS_LOOK_UP(name)                                                                                                                 \
    if ((symbol = dlsym(blas->library, "cublasLt" #name)) == NULL)                                                                         \
        FAIL(JSC_E_DEVICE, "cuBLASLt has no function cublasLt" #name ": it is no cuBLASLt %d, see %s", BLAS_MAJOR,                         \
             env_name(ENV_CUBLASLT));                                                                                                      \
    memcpy(&blas->name, &symbol, sizeof blas->name);
    BLAS_FUNCTIONS(BLAS_LOOK_UP)
#undef BLAS_LOOK_UP
    if (blas->GetVersion() / 10000 != BLAS_MAJOR)
        FAIL(JSC_E_DEVICE, "cuBLASLt is version %zu, this build needs %d: see %s", blas->GetVersion(), BLAS_MAJOR, env_name(ENV_CUBLASLT));
done:
    return status;
}

#endif

void blas_close(struct blas_cuda *blas)
{
    if (blas != NULL && blas->handle != NULL)
        (void)blas->Destroy(blas->handle);
    mem_free(blas);
}

jsc_status blas_open(struct blas_cuda **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct blas_cuda *blas = NULL;

    TRY(mem_new(&blas, 1, error));
    TRY(open_library(blas, error));
    const cublasStatus_t made = blas->Create(&blas->handle);
    if (made == CUBLAS_STATUS_ALLOC_FAILED)
        FAIL(JSC_E_MEMORY, "cuBLASLt does not start: the device's memory is full: end other programs that use it");
    if (made != CUBLAS_STATUS_SUCCESS)
        FAIL(JSC_E_DEVICE, "cuBLASLt does not start: %s (status %d)", blas->GetStatusString(made), (int)made);
    *out = blas;
    blas = NULL;
done:
    blas_close(blas);
    return status;
}

void blas_describe(const struct blas_cuda *blas, char *text, size_t capacity)
{
    const size_t version = blas->GetVersion();
    (void)snprintf(text, capacity, "cuBLASLt %zu.%zu.%zu", version / 10000, version / 100 % 100, version % 100);
}
