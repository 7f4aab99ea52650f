/* library_cuda.c: where NVIDIA's libraries are looked for at run time.
 *
 * Order: the file that the environment names (then nothing else is tried), ../nvidia/<package>/lib beside the module (Python's wheels), the
 * name by the dynamic linker's search (which finds what the process has loaded already), /usr/local/cuda. A library stays loaded: it keeps
 * state in the driver that ends with the process, and opening half a gigabyte again takes long. */
#include "cuda_internal.h"

#include <dlfcn.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>

#define OPEN_FLAGS (RTLD_NOW | RTLD_LOCAL)
#define PATH_BYTES 4096

/* The wheels' copy: this module in lib/, the library in nvidia/<package>/lib of the same tree. */
static void *open_beside_module(const char *name)
{
    Dl_info here;
    char pattern[PATH_BYTES];
    glob_t found = {0};
    void *library = NULL;

    if (dladdr((const void *)library_open, &here) == 0 || here.dli_fname == NULL)
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

jsc_status library_open(enum env_variable variable, const char *name, const char *advice, void **out, jsc_error *error)
{
    static const char *const places[] = {"", "/usr/local/cuda/lib64/", "/usr/local/cuda/lib/"};
    const char *wanted = env_get(variable);
    char path[128];

    if (wanted != NULL) {
        *out = dlopen(wanted, OPEN_FLAGS);
        return *out != NULL ? JSC_OK : status_set(error, JSC_E_DEVICE, "%s: %s", env_name(variable), dlerror());
    }
    *out = open_beside_module(name);
    for (size_t i = 0; i < sizeof places / sizeof *places && *out == NULL; i++) {
        (void)snprintf(path, sizeof path, "%s%s", places[i], name);
        *out = dlopen(path, OPEN_FLAGS);
    }
    if (*out == NULL)
        return status_set(error, JSC_E_DEVICE, "%s is not to be found: install it (%s) and name the file in %s", name, advice,
                          env_name(variable));
    return JSC_OK;
}
