/* model_find.c: the place of a model that is given by path or by the name of a cached one. */
#include "model_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ${JSCOPES_CACHE:-${XDG_CACHE_HOME:-~/.cache}/jscopes}; false if not even HOME is set. */
static bool cache_folder(char *out, size_t capacity)
{
    const char *own = env_get(ENV_CACHE), *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int n = -1;
    if (own != NULL)
        n = snprintf(out, capacity, "%s", own);
    else if (xdg != NULL && xdg[0] == '/')
        n = snprintf(out, capacity, "%s/jscopes", xdg);
    else if (home != NULL && home[0] != '\0')
        n = snprintf(out, capacity, "%s/.cache/jscopes", home);
    return n > 0 && (size_t)n < capacity;
}

jsc_status jsc_model_find(const char *name, char *path, size_t capacity, jsc_error *error)
{
    char folder[4096], cached[4352];
    int n = -1;

    if (name == NULL || name[0] == '\0' || path == NULL || capacity == 0)
        return status_set(error, JSC_E_ARGUMENT, "no model given: name a folder, a .gguf file or a known model such as smollm2-135m");
    if (path_exists(name)) {
        n = snprintf(path, capacity, "%s", name);
        return n >= 0 && (size_t)n < capacity ? JSC_OK
                                              : status_set(error, JSC_E_ARGUMENT, "%s: path is longer than %zu bytes", name, capacity);
    }
    if (strchr(name, '/') != NULL || strlen(name) > 128)
        return status_set(error, JSC_E_FILE, "%s: no such file or folder", name);
    if (!cache_folder(folder, sizeof folder))
        return status_set(error, JSC_E_FILE, "%s: no such file or folder, and no cache to look in: set HOME or %s", name,
                          env_name(ENV_CACHE));
    n = snprintf(cached, sizeof cached, "%s/models/%s/model.gguf", folder, name);
    if (n < 0 || (size_t)n >= sizeof cached || !path_exists(cached))
        return status_set(error, JSC_E_FILE,
                          "%s: no such file or folder, and not in the cache (%s/models): `jscopes fetch %s` brings a known model", name,
                          folder, name);
    n = snprintf(path, capacity, "%s", cached);
    return n >= 0 && (size_t)n < capacity ? JSC_OK
                                          : status_set(error, JSC_E_ARGUMENT, "%s: path is longer than %zu bytes", cached, capacity);
}
