/* comm_local.c: the communicator of threads of one process: a gather is two meetings under one lock. */
#include "comm.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

struct comm_team {
    int size;
    double deadline;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint64_t meeting; /* number of the meeting that is being awaited */
    int came;
    bool *here;        /* [size] of this meeting */
    const void **mine; /* [size] what each rank gives */
    size_t *bytes;     /* [size] */
    jsc_error failure; /* the first one */
};
struct local {
    struct comm comm;
    struct comm_team *team;
};

static jsc_status ended(const struct comm_team *team, jsc_error *error)
{
    return status_set(error, team->failure.status, "%s", team->failure.text);
}

static void note_failure(struct comm_team *team, jsc_status status, const char *text)
{
    if (team->failure.status == JSC_OK) {
        team->failure.status = status;
        (void)snprintf(team->failure.text, sizeof team->failure.text, "%s", text);
    }
    (void)pthread_cond_broadcast(&team->changed);
}

/* Under the lock: who has not come when the deadline passed. */
static void name_absent(struct comm_team *team)
{
    char text[128];
    for (int r = 0; r < team->size; r++)
        if (!team->here[r]) {
            (void)snprintf(text, sizeof text, "collective %" PRIu64 ": rank %d of %d did not come within %g s", team->meeting / 2, r,
                           team->size, team->deadline);
            note_failure(team, JSC_E_DEVICE, text);
            return;
        }
}

/* Under the lock: waits until every rank is here. */
static jsc_status meet(struct comm_team *team, int rank, jsc_error *error)
{
    const uint64_t meeting = team->meeting;
    struct timespec until;

    if (team->failure.status != JSC_OK)
        return ended(team, error);
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    const double whole = (double)until.tv_sec + (double)until.tv_nsec * 1e-9 + team->deadline;
    until.tv_sec = (time_t)whole, until.tv_nsec = (long)((whole - (double)until.tv_sec) * 1e9);
    team->here[rank] = true;
    if (++team->came == team->size) {
        team->came = 0, team->meeting++;
        memset(team->here, 0, (size_t)team->size * sizeof *team->here);
        (void)pthread_cond_broadcast(&team->changed);
        return JSC_OK;
    }
    while (team->meeting == meeting && team->failure.status == JSC_OK)
        if (pthread_cond_timedwait(&team->changed, &team->lock, &until) == ETIMEDOUT && team->meeting == meeting)
            name_absent(team);
    return team->meeting == meeting ? ended(team, error) : JSC_OK;
}

/* Under the lock. */
static jsc_status check_sizes(struct comm_team *team, jsc_error *error)
{
    char text[160];
    for (int r = 1; r < team->size; r++)
        if (team->bytes[r] != team->bytes[0]) {
            (void)snprintf(text, sizeof text,
                           "collective %" PRIu64 ": rank 0 gives %zu bytes, rank %d %zu: the ranks do not do the same work",
                           team->meeting / 2, team->bytes[0], r, team->bytes[r]);
            note_failure(team, JSC_E_INTERNAL, text);
            return ended(team, error);
        }
    return JSC_OK;
}

static jsc_status local_gather(struct comm *comm, const void *mine, size_t bytes, void *all, jsc_error *error)
{
    struct comm_team *team = ((struct local *)comm)->team;
    (void)pthread_mutex_lock(&team->lock);
    team->mine[comm->rank] = mine, team->bytes[comm->rank] = bytes;
    jsc_status status = meet(team, comm->rank, error);
    if (status == JSC_OK)
        status = check_sizes(team, error);
    if (status == JSC_OK) {
        (void)pthread_mutex_unlock(&team->lock); /* nobody changes the list before all have met again */
        for (int r = 0; r < comm->size; r++)
            memcpy((char *)all + (size_t)r * bytes, team->mine[r], bytes);
        (void)pthread_mutex_lock(&team->lock);
        status = meet(team, comm->rank, error);
    }
    (void)pthread_mutex_unlock(&team->lock);
    return status;
}

static void local_fail(struct comm *comm, const jsc_error *error)
{
    struct comm_team *team = ((struct local *)comm)->team;
    char text[sizeof error->text];
    (void)pthread_mutex_lock(&team->lock);
    if (team->size > 1)
        (void)snprintf(text, sizeof text, "rank %d: %.480s", comm->rank, error->text);
    else
        (void)snprintf(text, sizeof text, "%s", error->text);
    note_failure(team, error->status, text);
    (void)pthread_mutex_unlock(&team->lock);
}

static jsc_status local_check(struct comm *comm, jsc_error *error)
{
    struct comm_team *team = ((struct local *)comm)->team;
    (void)pthread_mutex_lock(&team->lock);
    const jsc_status status = team->failure.status != JSC_OK ? ended(team, error) : JSC_OK;
    (void)pthread_mutex_unlock(&team->lock);
    return status;
}

static void local_close(struct comm *comm)
{
    mem_free(comm);
}

jsc_status comm_team_make(int size, double deadline_seconds, struct comm_team **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct comm_team *team = NULL;
    pthread_condattr_t monotonic;

    TRY(mem_new(&team, 1, error));
    TRY(mem_new(&team->here, (size_t)size, error));
    TRY(mem_new(&team->mine, (size_t)size, error));
    TRY(mem_new(&team->bytes, (size_t)size, error));
    team->size = size, team->deadline = deadline_seconds;
    (void)pthread_mutex_init(&team->lock, NULL);
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&team->changed, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    *out = team, team = NULL;
done:
    if (team != NULL) {
        mem_free(team->here);
        mem_free(team->mine);
        mem_free(team->bytes);
        mem_free(team);
    }
    return status;
}

jsc_status comm_team_join(struct comm_team *team, int rank, struct comm **out, jsc_error *error)
{
    struct local *local = NULL;
    const jsc_status status = mem_new(&local, 1, error);
    if (status != JSC_OK)
        return status;
    local->team = team;
    local->comm = (struct comm){.rank = rank,
                                .size = team->size,
                                .deadline = team->deadline,
                                .gather = local_gather,
                                .fail = local_fail,
                                .check = local_check,
                                .close = local_close};
    *out = &local->comm;
    return JSC_OK;
}

jsc_error comm_team_failure(struct comm_team *team)
{
    (void)pthread_mutex_lock(&team->lock);
    const jsc_error failure = team->failure;
    (void)pthread_mutex_unlock(&team->lock);
    return failure;
}

void comm_team_free(struct comm_team *team)
{
    if (team == NULL)
        return;
    (void)pthread_cond_destroy(&team->changed);
    (void)pthread_mutex_destroy(&team->lock);
    mem_free(team->here);
    mem_free(team->mine);
    mem_free(team->bytes);
    mem_free(team);
}
