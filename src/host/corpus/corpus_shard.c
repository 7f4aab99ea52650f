/* corpus_shard.c: which worker of how many this process is, from torchrun, a Slurm array (times the tasks of each), or mpirun. */
#include "corpus_internal.h"

#include <stdio.h>

/* As env_number. */
static int64_t number(enum env_variable variable)
{
    return env_number(variable, 1000000000);
}

struct place {
    int64_t rank, size;
    char words[80];
};

/* false: these variables are not there. */
static bool find_pair(enum env_variable rank, enum env_variable size, struct place *out)
{
    *out = (struct place){number(rank), number(size), ""};
    (void)snprintf(out->words, sizeof out->words, "%s=%.12s %s=%.12s", env_name(rank), env_get(rank) != NULL ? env_get(rank) : "",
                   env_name(size), env_get(size) != NULL ? env_get(size) : "");
    return out->rank != -1;
}

static jsc_status check(const struct place *p, jsc_error *error)
{
    if (p->rank < 0 || p->size < 1 || p->rank >= p->size)
        return status_set(error, JSC_E_ARGUMENT, "--shard auto: %s make no worker of so many; give --shard I/N", p->words);
    return JSC_OK;
}

/* The array's task times the tasks of its step. */
static jsc_status find_slurm(struct place *out, bool *found, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct place task = {0, 1, ""};
    const int64_t id = number(ENV_SLURM_ARRAY_ID), low = number(ENV_SLURM_ARRAY_MIN), high = number(ENV_SLURM_ARRAY_MAX),
                  count = number(ENV_SLURM_ARRAY_COUNT);
    *found = id != -1;
    if (!*found)
        goto done;
    if (id < 0 || low < 0 || count < 1 || high < low || id < low || id > high)
        FAIL(JSC_E_ARGUMENT, "--shard auto: %s is set, but not _MIN, _MAX and _COUNT with it; give --shard I/N",
             env_name(ENV_SLURM_ARRAY_ID));
    if (high - low + 1 != count)
        FAIL(JSC_E_ARGUMENT,
             "--shard auto: this array has holes (tasks %" PRId64 " to %" PRId64 ", but %" PRId64
             " of them), so that a task's number does not "
             "say which worker it is; give --shard I/N",
             low, high, count);
    if (find_pair(ENV_SLURM_RANK, ENV_SLURM_SIZE, &task))
        TRY(check(&task, error));
    else
        task = (struct place){0, 1, ""};
    out->rank = (id - low) * task.size + task.rank;
    out->size = count * task.size;
    (void)snprintf(out->words, sizeof out->words, "%s=%" PRId64 ", task %" PRId64 " of %" PRId64, env_name(ENV_SLURM_ARRAY_ID), id,
                   task.rank, task.size);
done:
    return status;
}

jsc_status jsc_corpus_shard_find(uint64_t *shard, uint64_t *shards, int *local, char *found, size_t capacity, jsc_error *error)
{
    static const enum env_variable locals[] = {ENV_LOCAL_RANK, ENV_SLURM_LOCAL_RANK, ENV_OMPI_LOCAL_RANK, ENV_PMI_LOCAL_RANK};
    jsc_status status = JSC_OK;
    struct place place = {0, 1, ""};
    bool there = find_pair(ENV_RANK, ENV_WORLD_SIZE, &place);
    if (!there)
        TRY(find_slurm(&place, &there, error));
    there = there || find_pair(ENV_SLURM_RANK, ENV_SLURM_SIZE, &place) || find_pair(ENV_OMPI_RANK, ENV_OMPI_SIZE, &place) ||
            find_pair(ENV_PMI_RANK, ENV_PMI_SIZE, &place);
    if (!there)
        place = (struct place){0, 1, "no launcher: this process alone"};
    TRY(check(&place, error));
    for (size_t i = 0; local != NULL && (i == 0 || *local < 0) && i < sizeof locals / sizeof *locals; i++)
        *local = number(locals[i]) >= 0 ? (int)number(locals[i]) : -1;
    *shard = (uint64_t)place.rank, *shards = (uint64_t)place.size;
    (void)snprintf(found, capacity, "%s", place.words);
done:
    return status;
}
