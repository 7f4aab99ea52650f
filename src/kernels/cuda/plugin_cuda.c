/* plugin_cuda.c: the only symbol of libjscopes_cuda.so. Calling it touches neither driver nor GPU. */
#include "cuda_internal.h"

#include <jscopes/jscopes.h>

JSC_API void jsc_cuda_plugin_v1(struct jsc_plugin *out);

void jsc_cuda_plugin_v1(struct jsc_plugin *out)
{
    *out = (struct jsc_plugin){.version = JSC_VERSION, .interface = ops_interface(), .ops = &ops_cuda};
}
