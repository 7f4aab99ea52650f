/* blas_cuda.c: cuBLASLt, opened at run time so that the module loads where it is absent: where it is looked for, its handle, its version.
 *
 * Order: JSC_CUBLASLT (a file; then nothing else is tried), ../nvidia/<package>/lib beside the module (Python's wheels), the name with its
 * major version by the dynamic linker's search (which finds what the process has loaded already), /usr/local/cuda. The major version is that
 * of the toolkit that built the module: its ABI is what cublaslt_api.h declares. */
#include "blas_cuda.h"
#include "cuda_internal.h"

#include <dlfcn.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>

#define TEXT_OF(x)   #x
#define TEXT(x)      TEXT_OF(x)
#define BLAS_MAJOR   (CUDART_VERSION / 1000)
#define BLAS_NAME    "libcublasLt.so."
#define BLAS_TOOLKIT "/usr/local/cuda/lib64/"
#define OPEN_FLAGS   (RTLD_NOW | RTLD_LOCAL)
#define PATH_BYTES   4096

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

/* The wheels' copy: this module in lib/, the library in nvidia/<package>/lib of the same tree. */
static void *open_beside_module(const char *name)
{
    Dl_info here;
    char pattern[PATH_BYTES];
    glob_t found = {0};
    void *library = NULL;

    if (dladdr((const void *)blas_open, &here) == 0 || here.dli_fname == NULL)
        return NULL;
    const char *slash = strrchr(here.dli_fname, '/');
    const int folder = slash != NULL ? (int)(slash - here.dli_fname) : 0;
    const int n = snprintf(pattern, sizeof pattern, "%.*s/../nvidia/*/lib/%s", folder, here.dli_fname, name);
    if (slash != NULL && n > 0 && n < (int)sizeof pattern && glob(pattern, 0, NULL, &found) == 0)
        for (size_t i = 0; i < found.gl_pathc && library == NULL; i++)
            library = dlopen(found.gl_pathv[i], OPEN_FLAGS);
    globfree(&found);
    return library;
}

static jsc_status find_library(struct blas_cuda *blas, jsc_error *error)
{
    char name[64], path[128];
    const char *wanted = env_get(ENV_CUBLASLT);

    (void)snprintf(name, sizeof name, BLAS_NAME "%d", BLAS_MAJOR);
    (void)snprintf(path, sizeof path, BLAS_TOOLKIT "%s", name);
    if (wanted != NULL) {
        blas->library = dlopen(wanted, OPEN_FLAGS);
        return blas->library != NULL ? JSC_OK : status_set(error, JSC_E_DEVICE, "%s: %s", env_name(ENV_CUBLASLT), dlerror());
    }
    if ((blas->library = open_beside_module(name)) == NULL && (blas->library = dlopen(name, OPEN_FLAGS)) == NULL)
        blas->library = dlopen(path, OPEN_FLAGS);
    if (blas->library == NULL)
        return status_set(error, JSC_E_DEVICE,
                          "%s of CUDA is not to be found: install it (pip install nvidia-cublas, or the toolkit) and name the file in %s",
                          name, env_name(ENV_CUBLASLT));
    return JSC_OK;
}

static jsc_status open_library(struct blas_cuda *blas, jsc_error *error)
{
    jsc_status status = JSC_OK;
    void *symbol = NULL;

    TRY(find_library(blas, error));
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

/* The library stays loaded: it keeps state in the driver that ends with the process, and opening its half gigabyte again takes long. */
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
