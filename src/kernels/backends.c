/* backends.c: the list of backends by name. To add one: a row in `backends`, its table in ops.h. */
#include "ops.h"

#include <string.h>

/* Best first: "auto" takes the first. */
static const struct jsc_ops *const backends[] = {
    &ops_cpu,
#ifdef JSC_WITH_REF
    &ops_ref,
#endif
};
enum { N_BACKENDS = sizeof backends / sizeof *backends };

/* "cuda" or "cuda:N" with a number of one to four digits */
static bool is_cuda(const char *device)
{
    if (strncmp(device, "cuda", 4) != 0)
        return false;
    const size_t digits = device[4] == ':' ? strspn(device + 5, "0123456789") : 0;
    return device[4] == '\0' || (digits >= 1 && digits <= 4 && device[5 + digits] == '\0');
}

jsc_status backend_find(const char *device, const struct jsc_ops **ops, int *index, jsc_error *error)
{
    const char *from = "", *equals = "";

    if (device == NULL || strcmp(device, "auto") == 0) {
        device = env_get(ENV_DEVICE);
        if (device == NULL || strcmp(device, "auto") == 0)
            device = backends[0]->name;
        else
            from = env_name(ENV_DEVICE), equals = "=";
    }
    for (int i = 0; i < N_BACKENDS; i++) {
        if (strcmp(device, backends[i]->name) == 0) {
            *ops = backends[i];
            *index = 0;
            return JSC_OK;
        }
    }
    if (is_cuda(device))
        return status_set(error, JSC_E_DEVICE, "%s%s%s: this build has no CUDA part; use --device cpu", from, equals, device);
    if (strcmp(device, "ref") == 0)
        return status_set(error, JSC_E_DEVICE,
                          "%s%sref: this build has no reference backend (it needs -DJSC_DEVELOPER=ON); use --device cpu", from, equals);
    return status_set(error, JSC_E_DEVICE, "%s%s\"%s\" is no device; the names are auto, cpu, ref (developer builds), cuda and cuda:N",
                      from, equals, device);
}
