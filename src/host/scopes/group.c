/* group.c: one request answered by several devices of one process: a thread and a model for each, right-hand sides shared out. */
#include "group_internal.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define DEADLINE   600.0 /* seconds that a rank may be behind the others: a chunk of right-hand sides takes far less */
#define NAME_BYTES 96
#define FNV_START  14695981039346656037U
#define FNV_PRIME  1099511628211U

/* ---- what the ranks must have in common ------------------------------------------------------------------------------------- */

/* What each rank says of itself before anything is computed. */
struct declaration {
    char model[NAME_BYTES], device[NAME_BYTES];
    uint64_t sizes, parameters, request;
    int chunk, sequences;
};

static uint64_t hash(uint64_t h, const void *bytes, size_t n)
{
    const unsigned char *b = bytes;
    for (size_t i = 0; i < n; i++)
        h = (h ^ b[i]) * FNV_PRIME;
    return h;
}

static uint64_t hash_numbers(uint64_t h, const int64_t *numbers, size_t n)
{
    for (size_t i = 0; i < n; i++)
        h = (h ^ (uint64_t)numbers[i]) * FNV_PRIME;
    return h;
}

static uint64_t hash_request(const jsc_request *r)
{
    const int64_t numbers[] = {(int64_t)r->scope,       (int64_t)r->n_ids,        r->position,     (int64_t)r->objective,
                               (int64_t)r->n_targets,   (int64_t)r->n_directions, r->layers,       r->matrix,
                               (int64_t)r->fisher_mode, r->fisher_rank,           r->path_steps,   (int64_t)r->path_rule,
                               (int64_t)r->baseline,    r->baseline_id,           (int64_t)r->seed};
    uint64_t h = hash_numbers(FNV_START, numbers, sizeof numbers / sizeof *numbers);
    h = hash(h, &r->fisher_rtol, sizeof r->fisher_rtol);
    h = hash(h, r->targets, r->n_targets * (r->objective == JSC_OBJECTIVE_CONTRAST ? 2 : 1) * sizeof *r->targets);
    return hash(h, r->ids, r->n_ids * sizeof *r->ids);
}

static uint64_t hash_sizes(const jsc_model *m)
{
    const int64_t numbers[] = {m->L, m->d, m->f, m->H, m->K, m->h, m->V, (int64_t)m->config.layout, (int64_t)m->file_bytes};
    return hash(hash_numbers(FNV_START, numbers, sizeof numbers / sizeof *numbers), m->family->name, strlen(m->family->name));
}

static jsc_status compare(const struct declaration *all, int rank, jsc_error *error)
{
    const struct declaration *a = &all[0], *b = &all[rank];
    if (a->parameters != b->parameters || a->sizes != b->sizes)
        return status_set(error, JSC_E_ARGUMENT, "rank 0 has model %s (%" PRIu64 " weights), rank %d %s (%" PRIu64 "): one model is wanted",
                          a->model, a->parameters, rank, b->model, b->parameters);
    if (strcmp(a->device, b->device) != 0)
        return status_set(error, JSC_E_ARGUMENT, "rank 0 computes on %s, rank %d on %s: ranks of one kind are wanted", a->device, rank,
                          b->device);
    if (a->request != b->request)
        return status_set(error, JSC_E_ARGUMENT, "rank %d was asked something else than rank 0: the ranks need one request", rank);
    return JSC_OK;
}

jsc_status job_agree(struct job *job, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const jsc_model *m = job->model;
    struct declaration mine = {.sizes = hash_sizes(m),
                               .parameters = m->parameters,
                               .request = hash_request(job->request),
                               .chunk = job->plan.chunk,
                               .sequences = job->plan.sequences},
                       *all = NULL;

    (void)snprintf(mine.model, sizeof mine.model, "%s", m->name);
    /* other arithmetic rounds otherwise, and the ranks would choose other directions */
    (void)snprintf(mine.device, sizeof mine.device, "%s, %s", m->ops->name, m->precision);
    TRY(mem_new(&all, (size_t)job->comm->size, error));
    TRY(job->comm->gather(job->comm, &mine, sizeof mine, all, error));
    for (int r = 0; r < job->comm->size; r++) {
        TRY(compare(all, r, error));
        mine.chunk = all[r].chunk < mine.chunk ? all[r].chunk : mine.chunk;
        mine.sequences = all[r].sequences < mine.sequences ? all[r].sequences : mine.sequences;
    }
    if (mine.chunk != job->plan.chunk || mine.sequences != job->plan.sequences) { /* another rank has less memory */
        job->work.chunk = mine.chunk, job->work.S = mine.sequences;
        TRY(plan_compute(m, &job->work, &job->plan, error));
    }
done:
    mem_free(all);
    return status;
}

/* ---- a request -------------------------------------------------------------------------------------------------------------- */

struct member {
    const jsc_model *model;
    jsc_request request;
    struct comm *comm;
    jsc_attribution *out;
    jsc_error error;
    pthread_t thread;
    bool runs;
};

/* *through: NULL where some rank's device or library cannot. */
static jsc_status gather_by_device(const jsc_model *model, struct comm *comm, struct comm **through, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const unsigned char mine = model->ops->comm_over != NULL;
    unsigned char *all = NULL;
    bool everyone = mine != 0;

    TRY(mem_new(&all, (size_t)comm->size, error));
    TRY(comm->gather(comm, &mine, sizeof mine, all, error));
    for (int r = 0; r < comm->size; r++)
        everyone = everyone && all[r] != 0;
    if (everyone && model->ops->comm_over(model->device, comm, through, error) != JSC_OK && comm->rank == 0 && model->log != NULL)
        model->log(model->log_user, 1, error->text);
done:
    mem_free(all);
    return status;
}

jsc_status group_run(const jsc_model *model, const jsc_request *request, struct comm *comm, jsc_attribution **out, jsc_error *error)
{
    struct comm *through = NULL;
    jsc_status status = comm->size > 1 ? gather_by_device(model, comm, &through, error) : JSC_OK;
    if (status == JSC_OK)
        status = attribute_run(model, request, through != NULL ? through : comm, out, error);
    if (status != JSC_OK)
        comm->fail(comm, error); /* before the end of what gathers over it */
    if (through != NULL)
        through->close(through);
    return status;
}

static void *run_member(void *user)
{
    struct member *m = user;
    (void)group_run(m->model, &m->request, m->comm, &m->out, &m->error);
    return NULL;
}

/* Rank 0 runs on the caller's thread, whose progress callback it may call. */
static void run_all(struct member *members, int n)
{
    for (int r = 1; r < n; r++) {
        members[r].runs = pthread_create(&members[r].thread, NULL, run_member, &members[r]) == 0;
        if (!members[r].runs) {
            (void)status_set(&members[r].error, JSC_E_MEMORY, "no thread for this rank");
            members[r].comm->fail(members[r].comm, &members[r].error);
        }
    }
    (void)run_member(&members[0]);
    for (int r = 1; r < n; r++)
        if (members[r].runs)
            (void)pthread_join(members[r].thread, NULL);
}

jsc_status jsc_group_attribute(const jsc_group *group, const jsc_request *request, jsc_attribution **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct comm_team *team = NULL;
    struct member *members = NULL;

    if (group == NULL || request == NULL || out == NULL)
        return status_set(error, JSC_E_ARGUMENT, "jsc_group_attribute: group, request or out is NULL");
    if (group->comm != NULL)
        return group_attribute_joined(group, request, out, error);
    TRY(comm_team_make(group->size, DEADLINE, &team, error));
    TRY(mem_new(&members, (size_t)group->size, error));
    for (int r = 0; r < group->size; r++) {
        members[r].model = group->models[r];
        members[r].request = *request;
        if (r > 0)
            members[r].request.progress = NULL;
        TRY(comm_team_join(team, r, &members[r].comm, error));
    }
    run_all(members, group->size);
    const jsc_error failure = comm_team_failure(team);
    if (failure.status != JSC_OK)
        FAIL(failure.status, "%s", failure.text);
    *out = members[0].out, members[0].out = NULL;
done:
    for (int r = 0; members != NULL && r < group->size; r++) {
        jsc_attribution_free(members[r].out);
        if (members[r].comm != NULL)
            members[r].comm->close(members[r].comm);
    }
    mem_free(members);
    comm_team_free(team);
    return status;
}

/* ---- making and ending ------------------------------------------------------------------------------------------------------ */

jsc_status jsc_group_make(const jsc_model *const *models, int n, jsc_group **out, jsc_error *error)
{
    jsc_group *group = NULL;
    if (models == NULL || out == NULL || n < 1 || n > GROUP_MOST)
        return status_set(error, JSC_E_ARGUMENT, "jsc_group_make: %d models, 1 to %d are wanted, or models or out is NULL", n, GROUP_MOST);
    for (int i = 0; i < n; i++)
        if (models[i] == NULL)
            return status_set(error, JSC_E_ARGUMENT, "jsc_group_make: model %d is NULL", i);
    const jsc_status status = mem_new(&group, 1, error);
    if (status != JSC_OK)
        return status;
    group->size = n;
    memcpy(group->models, models, (size_t)n * sizeof *models);
    *out = group;
    return JSC_OK;
}

int jsc_group_size(const jsc_group *group)
{
    return group == NULL ? 0 : group->comm != NULL ? group->comm->size : group->size;
}

int jsc_group_rank(const jsc_group *group)
{
    return group != NULL && group->comm != NULL ? group->comm->rank : 0;
}

const jsc_model *jsc_group_model(const jsc_group *group, int rank)
{
    const int own = rank - jsc_group_rank(group);
    return group != NULL && own >= 0 && own < group->size ? group->models[own] : NULL;
}

void jsc_group_close(jsc_group *group)
{
    if (group == NULL)
        return;
    if (group->comm != NULL)
        group->comm->close(group->comm);
    for (int i = 0; i < group->size; i++)
        jsc_model_close(group->own[i]);
    mem_free(group);
}
