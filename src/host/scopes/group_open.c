/* group_open.c: a model on several devices of this process: whole on each, or each member's blocks over several. */
#include "group_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIST_BYTES  128 /* "cuda:0+1+2": one member's devices */
#define NUMBER_MOST 9999

/* What each member is opened on. */
struct members {
    int n;
    char devices[GROUP_MOST][LIST_BYTES];
};

static jsc_status bad_list(const char *devices, jsc_error *error)
{
    return status_set(error, JSC_E_ARGUMENT,
                      "devices \"%s\": a group is cuda:all, or cuda:N,M,... of at most %d members; N+M is one over two GPUs", devices,
                      GROUP_MOST);
}

/* "0", "0+1": adds a member and its numbers to those seen; false: cannot be read. *twice: a number that was there before. */
static bool add_member(struct members *out, const char *item, size_t length, bool seen[NUMBER_MOST + 1], int *twice)
{
    char *text = out->devices[out->n];
    const char *s = item, *last = item + length;

    if (out->n == GROUP_MOST || length == 0 || length + sizeof "cuda:" > LIST_BYTES)
        return false;
    (void)snprintf(text, LIST_BYTES, "cuda:%.*s", (int)length, item);
    while (s < last) {
        char *end = NULL;
        const long number = strtol(s, &end, 10);
        if (end == s || *s < '0' || *s > '9' || number > NUMBER_MOST || (end < last && (*end != '+' || end + 1 == last)))
            return false;
        if (seen[number])
            *twice = (int)number;
        seen[number] = true;
        s = end + 1;
    }
    out->n++;
    return true;
}

static jsc_status parse_members(const char *devices, struct members *out, jsc_error *error)
{
    bool seen[NUMBER_MOST + 1] = {false};
    int twice = -1;

    if (strncmp(devices, "cuda:", 5) != 0)
        return bad_list(devices, error);
    for (const char *item = devices + 5;; item++) {
        const size_t length = strcspn(item, ",");
        if (!add_member(out, item, length, seen, &twice))
            return bad_list(devices, error);
        if (twice >= 0)
            return status_set(error, JSC_E_ARGUMENT, "devices \"%s\": cuda:%d is listed twice", devices, twice);
        item += length;
        if (*item == '\0')
            return JSC_OK;
    }
}

static jsc_status open_member(jsc_group *group, const char *path, const jsc_open_options *options, const char *device, jsc_error *error)
{
    jsc_open_options own = *options;
    own.device = device;
    if (group->size > 0)
        own.progress = NULL;
    const jsc_status status = jsc_model_open(path, &own, &group->own[group->size], error);
    if (status == JSC_OK) {
        group->models[group->size] = group->own[group->size];
        group->size++;
    }
    return status;
}

/* "cuda:0+1+...": all that there are, the first of which could not hold the model alone; *n of them. */
static void all_stages(char list[LIST_BYTES], int *n)
{
    const struct jsc_ops *ops = NULL;
    jsc_error absent;
    char name[DEVICE_NAME_BYTES];
    int index = 0;

    (void)snprintf(list, LIST_BYTES, "cuda:0");
    for (*n = 1; *n < STAGES_MOST; (*n)++) {
        (void)snprintf(name, sizeof name, "cuda:%d", *n);
        if (backend_find(name, &ops, &index, NULL, &absent) != JSC_OK)
            return;
        const size_t used = strlen(list);
        (void)snprintf(list + used, LIST_BYTES - used, "+%d", *n);
    }
}

/* A member on each of devices 0, 1, ... up to the first that there is not; where the model does not fit on one, one member over all. */
static jsc_status open_all(jsc_group *group, const char *path, const jsc_open_options *options, jsc_error *error)
{
    for (int number = 0; number < GROUP_MOST; number++) {
        jsc_error reason = {.status = JSC_OK, .text = ""};
        char list[LIST_BYTES];
        int stages = 0;
        (void)snprintf(list, sizeof list, "cuda:%d", number);
        const jsc_status status = open_member(group, path, options, list, &reason);
        if (status == JSC_E_DEVICE && number > 0)
            return JSC_OK;
        if (status == JSC_E_MEMORY && number == 0) {
            all_stages(list, &stages);
            if (stages > 1)
                return open_member(group, path, options, list, error);
        }
        if (status != JSC_OK)
            return status_set(error, status, "%s", reason.text);
    }
    return JSC_OK;
}

jsc_status jsc_group_open(const char *path, const char *devices, const jsc_open_options *given, jsc_group **out, jsc_error *error)
{
    static const jsc_open_options defaults = JSC_OPEN_OPTIONS_INIT;
    const jsc_open_options *options = given != NULL ? given : &defaults;
    jsc_status status = JSC_OK;
    jsc_group *group = NULL;
    struct members *members = NULL;

    if (path == NULL || devices == NULL || out == NULL || options->size != sizeof *options)
        return status_set(error, JSC_E_ARGUMENT,
                          "jsc_group_open: path, devices or out is NULL, or options do not begin with JSC_OPEN_OPTIONS_INIT");
    const bool all = strcmp(devices, "cuda:all") == 0;
    TRY(mem_new(&members, 1, error));
    if (!all)
        TRY(parse_members(devices, members, error));
    TRY(mem_new(&group, 1, error));
    if (all)
        TRY(open_all(group, path, options, error));
    for (int i = 0; i < members->n; i++)
        TRY(open_member(group, path, options, members->devices[i], error));
    *out = group, group = NULL;
done:
    mem_free(members);
    jsc_group_close(group);
    return status;
}
