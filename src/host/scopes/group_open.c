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

/* "cuda:4+5" for k = 2 devices from first on. */
static void list_devices(int first, int k, char list[LIST_BYTES])
{
    size_t used = (size_t)snprintf(list, LIST_BYTES, "cuda:%d", first);
    for (int i = 1; i < k && used < LIST_BYTES; i++)
        used += (size_t)snprintf(list + used, LIST_BYTES - used, "+%d", first + i);
}

/* Members on all devices, each on as few as hold the model: one, or several in a row. */
static jsc_status open_all(jsc_group *group, const char *path, const jsc_open_options *options, jsc_error *error)
{
    jsc_error reason = {.status = JSC_OK, .text = ""}, full = reason;
    char list[LIST_BYTES];
    int k = 1;

    for (; k <= STAGES_MOST; k++) {
        list_devices(0, k, list);
        if (open_member(group, path, options, list, &reason) != JSC_E_MEMORY)
            break;
        full = reason;
    }
    if (group->size == 0 && k > 1 && (k > STAGES_MOST || reason.status == JSC_E_DEVICE))
        return status_set(error, full.status, "%s", full.text); /* there are no more devices to spread it over */
    if (group->size == 0)
        return status_set(error, reason.status, "%s", reason.text);
    while (group->size < GROUP_MOST) {
        list_devices(group->size * k, k, list);
        const jsc_status status = open_member(group, path, options, list, &reason);
        if (status == JSC_E_DEVICE)
            return JSC_OK;
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
