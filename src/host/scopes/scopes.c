/* scopes.c: the table of scopes. To add one: a file, a row here, an entry of jsc_scope. */
#include "scopes_internal.h"

#include <string.h>

const struct scope scopes[JSC_SCOPE_COUNT] = {
    [JSC_SCOPE_SEMANTIC] =
        {.name = "semantic", .takes_targets = true, .several_targets = true, .matrix = true, .size = semantic_size, .run = semantic_run},
    [JSC_SCOPE_TEMPERATURE] = {.name = "temperature", .matrix = true, .size = temperature_size, .run = temperature_run},
    [JSC_SCOPE_FISHER] = {.name = "fisher", .matrix = true, .size = fisher_size, .run = fisher_run},
    [JSC_SCOPE_PATH] = {.name = "path", .takes_targets = true, .signs = true, .size = path_size, .run = path_run},
    [JSC_SCOPE_INPUT_X_GRADIENT] =
        {.name = "input-x-gradient", .takes_targets = true, .signs = true, .size = input_x_gradient_size, .run = input_x_gradient_run},
    [JSC_SCOPE_DIRECTION] = {.name = "direction", .matrix = true, .size = direction_size, .run = direction_run},
};

const char *jsc_scope_name(jsc_scope scope)
{
    return (int)scope >= 0 && scope < JSC_SCOPE_COUNT ? scopes[scope].name : NULL;
}

jsc_status jsc_scope_find(const char *name, jsc_scope *out, jsc_error *error)
{
    struct strbuf list = {0};
    if (name == NULL || out == NULL)
        return status_set(error, JSC_E_ARGUMENT, "jsc_scope_find: name and out must be given");
    for (int i = 0; i < JSC_SCOPE_COUNT; i++) {
        if (strcmp(scopes[i].name, name) == 0) {
            *out = (jsc_scope)i;
            strbuf_free(&list);
            return JSC_OK;
        }
        strbuf_printf(&list, "%s%s", i > 0 ? ", " : "", scopes[i].name);
    }
    const jsc_status status = status_set(error, JSC_E_ARGUMENT, "there is no scope \"%s\"; choose one of %s", name,
                                         list.text != NULL ? list.text : "the six");
    strbuf_free(&list);
    return status;
}
