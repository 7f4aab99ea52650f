/* cli_group.c: several devices, or several processes, that answer one request together. */
#include "cli_internal.h"

#include <string.h>

bool devices_many(const jsc_open_options *options)
{
    const char *device = options->device;
    return device != NULL && strncmp(device, "cuda:", 5) == 0 && (strcmp(device, "cuda:all") == 0 || strchr(device, ',') != NULL);
}

/* One process of several: the GPU of its number on this machine, where GPUs are asked for and none is named. */
static int join(const struct arguments *args, const jsc_open_options *given, struct answering *out)
{
    jsc_open_options options = *given;
    jsc_launch launch = JSC_LAUNCH_INIT;
    jsc_error error;
    char own[24];

    if (devices_many(given))
        return fail(EXIT_USAGE, "--join goes with one device for each process, not with --device %s", given->device);
    if (jsc_launch_find(&launch, &error) != JSC_OK)
        return fail_library(&error);
    if (options.device != NULL && strcmp(options.device, "cuda") == 0 && launch.local_rank >= 0) {
        (void)snprintf(own, sizeof own, "cuda:%d", launch.local_rank);
        options.device = own;
    }
    if (launch.rank > 0)
        options.progress = NULL;
    const int status = model_open(args, &options, &out->model);
    if (status != EXIT_DONE)
        return status;
    return jsc_group_join(out->model, &launch, &out->group, &error) == JSC_OK ? EXIT_DONE : fail_library(&error);
}

int answering_open(const struct arguments *args, jsc_open_options *options, struct answering *out)
{
    jsc_error error;
    if (args->value[OPT_JOIN] != NULL)
        return join(args, options, out);
    if (!devices_many(options))
        return model_open(args, options, &out->model);
    progress_start();
    return jsc_group_open(args->model, options->device, options, &out->group, &error) == JSC_OK ? EXIT_DONE : fail_library(&error);
}

const jsc_model *answering_model(const struct answering *who)
{
    return who->model != NULL ? who->model : jsc_group_model(who->group, 0);
}

void answering_close(struct answering *who)
{
    jsc_group_close(who->group);
    jsc_model_close(who->model);
}
