/* group_join.c: a group whose members are processes: joined by what started them, one model in each. */
#include "group_internal.h"

#include "comm_tcp.h"
#include "launch.h"

static jsc_status check_launch(const jsc_launch *launch, const char *function, jsc_error *error)
{
    if (launch == NULL || launch->size != sizeof *launch)
        return status_set(error, JSC_E_ARGUMENT, "%s: launch does not begin with JSC_LAUNCH_INIT", function);
    return JSC_OK;
}

jsc_status jsc_launch_find(jsc_launch *launch, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct launch found = {.address = {.text = NULL}};

    TRY(check_launch(launch, "jsc_launch_find", error));
    TRY(launch_find(launch->rank, launch->world_size, launch->address, &found, error));
    launch->rank = found.rank, launch->world_size = found.size;
    launch->local_rank = launch->local_rank >= 0 ? launch->local_rank : found.local_rank;
done:
    launch_free(&found);
    return status;
}

jsc_status jsc_group_join(const jsc_model *model, const jsc_launch *given, jsc_group **out, jsc_error *error)
{
    static const jsc_launch defaults = JSC_LAUNCH_INIT;
    const jsc_launch *launch = given != NULL ? given : &defaults;
    jsc_status status = JSC_OK;
    struct launch found = {.address = {.text = NULL}};
    struct comm *comm = NULL;

    if (model == NULL || out == NULL)
        return status_set(error, JSC_E_ARGUMENT, "jsc_group_join: model or out is NULL");
    TRY(check_launch(launch, "jsc_group_join", error));
    TRY(launch_find(launch->rank, launch->world_size, launch->address, &found, error));
    if (found.size > 1) {
        const struct comm_address address = {.text = found.address.text, .key = found.key};
        TRY(comm_tcp_join(&address, found.rank, found.size, launch->deadline, &comm, error));
    }
    TRY(jsc_group_make(&model, 1, out, error));
    (*out)->comm = comm, comm = NULL;
done:
    if (comm != NULL)
        comm->close(comm);
    launch_free(&found);
    return status;
}

/* What a rank refuses before anything is computed: all end with its line, and the group lives on. all: [size] */
static jsc_status agree_to_begin(const jsc_group *group, const jsc_request *request, jsc_error *all, bool *refused, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct job job = {.model = group->models[0], .request = request, .comm = group->comm, .plan = JSC_PLAN_INIT};
    jsc_error mine = {.status = JSC_OK, .text = ""};

    if (job_size(&job, false, &mine) == JSC_OK)
        (void)plan_compute(job.model, &job.work, &job.plan, &mine);
    TRY(group->comm->gather(group->comm, &mine, sizeof mine, all, error));
    for (int r = 0; r < group->comm->size; r++)
        if (all[r].status != JSC_OK) {
            *refused = true;
            all[r].text[sizeof all[r].text - 1] = '\0';
            FAIL(all[r].status, "rank %d: %.480s", r, all[r].text);
        }
done:
    return status;
}

jsc_status group_attribute_joined(const jsc_group *group, const jsc_request *request, jsc_attribution **out, jsc_error *caller)
{
    jsc_status status = JSC_OK;
    struct comm *comm = group->comm;
    jsc_request own = *request;
    jsc_attribution *result = NULL;
    jsc_error mine = {.status = JSC_OK, .text = ""}, *error = &mine, *all = NULL;
    bool refused = false;

    if (comm->rank > 0)
        own.progress = NULL;
    TRY(comm->check(comm, error)); /* of a group that has failed before */
    TRY(mem_new(&all, (size_t)comm->size, error));
    TRY(agree_to_begin(group, &own, all, &refused, error));
    TRY(group_run(group->models[0], &own, comm, &result, error));
    TRY(comm->gather(comm, "", 1, all, error)); /* nobody has a result where another failed at the end */
    *out = result, result = NULL;
done:
    if (status != JSC_OK && !refused) {
        comm->fail(comm, error);
        status = comm->gather(comm, "", 1, all, error); /* the first failure of all */
    }
    if (status != JSC_OK)
        (void)status_set(caller, status, "%s", mine.text);
    jsc_attribution_free(result);
    mem_free(all);
    return status;
}
