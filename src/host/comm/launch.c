/* launch.c: rank, size and meeting place from the caller, torchrun, srun or mpirun; whatever contradicts is refused with what was seen. */
#include "launch.h"
#include "comm_tcp.h"

#include <stdlib.h>

/* In this order, but all that are there must agree. */
static const struct source {
    enum env_variable rank, size, local;
    bool pair; /* a size without a rank is half a launch, not a shell inside an allocation */
} sources[] = {
    {ENV_RANK, ENV_WORLD_SIZE, ENV_LOCAL_RANK, true},
    {ENV_SLURM_RANK, ENV_SLURM_SIZE, ENV_SLURM_LOCAL_RANK, false},
    {ENV_OMPI_RANK, ENV_OMPI_SIZE, ENV_OMPI_LOCAL_RANK, false},
    {ENV_PMI_RANK, ENV_PMI_SIZE, ENV_PMI_LOCAL_RANK, false},
};
enum { N_SOURCES = sizeof sources / sizeof *sources, TORCHRUN = 0 };

static void list_one(struct strbuf *text, enum env_variable variable)
{
    if (env_get(variable) != NULL)
        strbuf_printf(text, "%s%s=%.20s", text->n > 0 ? " " : "", env_name(variable), env_get(variable));
}

/* "RANK=3 WORLD_SIZE=4 ...": what the environment says. */
static void list_seen(struct strbuf *text)
{
    for (int i = 0; i < N_SOURCES; i++) {
        list_one(text, sources[i].rank);
        list_one(text, sources[i].size);
        list_one(text, sources[i].local);
    }
}

static jsc_status refuse(jsc_error *error, const char *what)
{
    struct strbuf seen = {.text = NULL};
    list_seen(&seen);
    (void)status_set(error, JSC_E_ARGUMENT, "%s: the environment has %s; unset what is wrong, or give rank and number of ranks", what,
                     seen.text != NULL ? seen.text : "nothing");
    strbuf_free(&seen);
    return JSC_E_ARGUMENT;
}

/* As env_number. */
static int number(enum env_variable variable)
{
    return (int)env_number(variable, 1000000);
}

/* *there: this launcher started the process. */
static jsc_status read_source(const struct source *s, struct launch *out, bool *there, jsc_error *error)
{
    out->rank = number(s->rank), out->size = number(s->size), out->local_rank = number(s->local);
    *there = out->rank != -1 || (s->pair && out->size != -1);
    if (!*there)
        return JSC_OK;
    if (out->rank == -2 || out->size == -2 || out->local_rank == -2)
        return refuse(error, "a rank or a number of ranks is no number");
    if (out->rank == -1 || out->size == -1)
        return refuse(error, "a rank without a number of ranks, or the other way round");
    if (out->size < 1 || out->size > TCP_RANKS_MOST || out->rank >= out->size || out->local_rank >= out->size)
        return refuse(error, "a rank is below the number of ranks, and that is 1 to 4096");
    return JSC_OK;
}

/* torchrun is often started once a machine by srun or mpirun, whose ranks are then machines: its own numbers count alone. */
static jsc_status read_environment(struct launch *out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    bool found = false, there;
    const int last = env_get(ENV_TORCH_RUN) != NULL && number(ENV_RANK) != -1 ? TORCHRUN + 1 : N_SOURCES;

    out->rank = 0, out->size = 1, out->local_rank = -1;
    for (int i = 0; i < last; i++) {
        struct launch one = {.local_rank = -1};
        TRY(read_source(&sources[i], &one, &there, error));
        if (!there)
            continue;
        if (found && (one.rank != out->rank || one.size != out->size ||
                      (one.local_rank >= 0 && out->local_rank >= 0 && one.local_rank != out->local_rank))) {
            status = refuse(error, "two launchers say different things");
            goto done;
        }
        out->rank = one.rank, out->size = one.size;
        out->local_rank = out->local_rank >= 0 ? out->local_rank : one.local_rank;
        found = true;
    }
done:
    return status;
}

/* What the ranks of this job have in common and other jobs do not, as far as the launcher says. torchrun's ranks on another machine may know
 * nothing of Slurm. */
static void name_job(struct strbuf *text)
{
    const char *run = env_get(ENV_TORCH_RUN), *job = env_get(ENV_SLURM_JOB), *step = env_get(ENV_SLURM_STEP);
    if (run != NULL)
        strbuf_printf(text, "%.80s", run);
    else if (job != NULL)
        strbuf_printf(text, "%.80s-%.80s", job, step != NULL ? step : "");
    if (text->n == 0)
        strbuf_puts(text, "job");
    for (size_t i = 0; i < text->n; i++)
        if (strchr("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_.", text->text[i]) == NULL)
            text->text[i] = '_';
}

static uint64_t key_of(const char *name)
{
    uint64_t h = 14695981039346656037U; /* FNV-1a */
    for (const char *c = name; *c != '\0'; c++)
        h = (h ^ (unsigned char)*c) * 1099511628211U;
    return h;
}

static jsc_status find_address(const char *given, struct launch *out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct strbuf job = {.text = NULL};
    const char *text = given != NULL ? given : env_get(ENV_RENDEZVOUS), *host = env_get(ENV_MASTER_ADDR);

    name_job(&job);
    if (text != NULL && text[0] != '\0' && text[strlen(text) - 1] == '/') {
        strbuf_printf(&out->address, "%sjscopes-%s.addr", text, job.failed ? "job" : job.text);
    } else if (text != NULL) {
        strbuf_puts(&out->address, text);
    } else if (host != NULL && number(ENV_MASTER_PORT) >= 1 && number(ENV_MASTER_PORT) <= 65534) {
        strbuf_printf(&out->address, strchr(host, ':') != NULL ? "[%s]:%d" : "%s:%d", host, number(ENV_MASTER_PORT) + 1);
    } else {
        FAIL(JSC_E_ARGUMENT,
             "rank %d of %d knows no place to meet: MASTER_ADDR=%.60s MASTER_PORT=%.20s; give an address, or set %s to HOST:PORT or to a "
             "folder that all ranks see (DIR/)",
             out->rank, out->size, host != NULL ? host : "", env_get(ENV_MASTER_PORT) != NULL ? env_get(ENV_MASTER_PORT) : "",
             env_name(ENV_RENDEZVOUS));
    }
    if (job.failed || out->address.failed)
        FAIL(JSC_E_MEMORY, "no memory for the address at which the ranks meet");
    out->key = key_of(job.text);
done:
    strbuf_free(&job);
    return status;
}

jsc_status launch_find(int rank, int size, const char *address, struct launch *out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct launch found = {.rank = rank, .size = size, .local_rank = -1};

    if ((rank < 0) != (size < 0) || (size >= 0 && (size < 1 || size > TCP_RANKS_MOST || rank >= size)))
        FAIL(JSC_E_ARGUMENT, "rank %d of %d: 0 <= rank < number of ranks <= %d is wanted, or -1 for both to take the environment's", rank,
             size, TCP_RANKS_MOST);
    if (rank < 0)
        TRY(read_environment(&found, error));
    if (found.size > 1)
        TRY(find_address(address, &found, error));
    *out = found, found.address = (struct strbuf){.text = NULL};
done:
    strbuf_free(&found.address);
    return status;
}

void launch_free(struct launch *launch)
{
    strbuf_free(&launch->address);
}
