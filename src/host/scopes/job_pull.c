/* job_pull.c: right-hand sides of a request, a chunk at a time: by one model, or shared out over ranks. */
#include "scopes_internal.h"

#include <string.h>

int job_parts(const struct job *job)
{
    return job->comm != NULL ? job->comm->size : pipeline_slots(job->plan.stages);
}

/* What is pulled back, and who looks at it. */
struct sides {
    int n, chunk; /* right-hand sides, of one chunk: all alike */
    const double *cotangents;
    const int32_t *pos; /* NULL: all at p */
    bool wants_grads;
    pull_sink sink;
    void *user;
    /* parts (job_parts) of one chunk each; the sums' are the job's */
    int32_t *at_p;
    double *grads;
    size_t sums_n, grads_n; /* doubles of a part */
    double before;          /* work done before */
};

static jsc_status make_buffers(const struct job *job, struct sides *s, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t T = (size_t)job->T, chunk = (size_t)s->chunk;

    s->sums_n = (size_t)job->levels * T * chunk;
    s->grads_n = T * chunk * (size_t)job->model->d;
    TRY(mem_new(&s->at_p, chunk, error));
    for (int i = 0; i < s->chunk; i++)
        s->at_p[i] = job->p;
    if (s->wants_grads)
        TRY(mem_new(&s->grads, (size_t)job_parts(job) * s->grads_n, error));
done:
    return status;
}

/* Right-hand sides first .. first+count-1, at most a chunk. */
static struct pull pull_of(const struct job *job, const struct sides *s, int first, double *sums, double *grads)
{
    const int left = s->n - first;
    return (struct pull){.S = 1,
                         .B = left < 0          ? 0
                              : left < s->chunk ? left
                                                : s->chunk,
                         .pos = s->pos != NULL ? s->pos + first : s->at_p,
                         .cot = s->cotangents + (size_t)first * (size_t)job->model->d,
                         .layers = job->levels > 1,
                         .sums = sums,
                         .grads = grads,
                         .tick = job_tick};
}

static jsc_status show(const struct sides *s, int first, int count, const double *sums, const double *grads, jsc_error *error)
{
    return s->sink(s->user, &(struct pulled){.first = first, .count = count, .sums = sums, .grads = grads}, error);
}

/* ---- one model, on one device or in stages ----------------------------------------------------------------------------------- */

struct flight {
    struct job *job;
    const struct sides *sides;
    struct ticker ticker;
};

static struct ticker ticker_of(const struct flight *f, int i, int count)
{
    return (struct ticker){f->job, f->sides->before + (double)i * f->sides->chunk, count};
}

static jsc_status fill_chunk(void *user, int i, struct pull *pull, jsc_error *error)
{
    struct flight *f = user;
    const struct sides *s = f->sides;
    const size_t slot = (size_t)(i % job_parts(f->job));
    (void)error;
    *pull = pull_of(f->job, s, i * s->chunk, f->job->sums + slot * s->sums_n, s->grads != NULL ? s->grads + slot * s->grads_n : NULL);
    f->ticker = ticker_of(f, i, pull->B);
    pull->tick_user = &f->ticker;
    return JSC_OK;
}

static jsc_status take_chunk(void *user, int i, const struct pull *pull, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const struct flight *f = user;
    struct ticker ticker = ticker_of(f, i, pull->B);

    TRY(show(f->sides, i * f->sides->chunk, pull->B, pull->sums, pull->grads, error));
    if (f->job->plan.stages > 1)
        TRY(job_tick(&ticker, 1.0, error));
done:
    return status;
}

static jsc_status pull_alone(struct job *job, struct sides *s, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct flight flight = {.job = job, .sides = s};
    struct pipeline pipeline = {.fill = fill_chunk, .done = take_chunk, .user = &flight};

    s->chunk = plan_chunk(job->model, job->T, s->n, job->plan.chunk);
    pipeline.n = (s->n + s->chunk - 1) / s->chunk;
    TRY(make_buffers(job, s, error));
    TRY(pipeline_run(job->trace, &pipeline, error));
done:
    return status;
}

/* ---- ranks ------------------------------------------------------------------------------------------------------------------- */

/* This rank's part of a round, and the others' sums. mine, my_grads: of one part. */
static jsc_status pull_round(struct job *job, const struct sides *s, int first, double *mine, double *my_grads, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct comm *comm = job->comm;
    struct pull pull = pull_of(job, s, first + comm->rank * s->chunk, mine, my_grads);
    struct ticker ticker = {job, job->done, (double)pull.B * comm->size};

    pull.tick_user = &ticker;
    if (pull.B > 0)
        TRY(vjp_pull(job->trace, &pull, error));
    TRY(comm->gather(comm, mine, s->sums_n * sizeof(double), job->sums, error));
    if (s->grads != NULL)
        TRY(comm->gather(comm, my_grads, s->grads_n * sizeof(double), s->grads, error));
    for (int r = 0; r < comm->size; r++) {
        const int begin = first + r * s->chunk, left = s->n - begin;
        if (left > 0)
            TRY(show(s, begin, left < s->chunk ? left : s->chunk, job->sums + (size_t)r * s->sums_n,
                     s->grads != NULL ? s->grads + (size_t)r * s->grads_n : NULL, error));
    }
done:
    return status;
}

static jsc_status pull_shared(struct job *job, struct sides *s, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const int ranks = job->comm->size;
    double *mine = NULL, *my_grads = NULL;

    s->chunk = job_share(s->n, ranks, job->plan.chunk);
    TRY(make_buffers(job, s, error));
    TRY(mem_new(&mine, s->sums_n, error));
    if (s->wants_grads)
        TRY(mem_new(&my_grads, s->grads_n, error));
    for (int first = 0; first < s->n; first += ranks * s->chunk)
        TRY(pull_round(job, s, first, mine, my_grads, error));
done:
    mem_free(mine);
    mem_free(my_grads);
    return status;
}

/* ---- both -------------------------------------------------------------------------------------------------------------------- */

static jsc_status pull_all(struct job *job, struct sides *s, jsc_error *error)
{
    s->before = job->done;
    const jsc_status status = s->n < 1 ? JSC_OK : job->comm != NULL ? pull_shared(job, s, error) : pull_alone(job, s, error);
    mem_free(s->at_p);
    mem_free(s->grads);
    return status;
}

jsc_status job_pull(struct job *job, int n, const double *cotangents, const int32_t *pos, pull_sink sink, void *user, jsc_error *error)
{
    struct sides sides = {.n = n, .cotangents = cotangents, .pos = pos, .sink = sink, .user = user};
    return pull_all(job, &sides, error);
}

jsc_status job_pull_grads(struct job *job, int n, const double *cotangents, bool wanted, pull_sink sink, void *user, jsc_error *error)
{
    struct sides sides = {.n = n, .cotangents = cotangents, .wants_grads = wanted, .sink = sink, .user = user};
    return pull_all(job, &sides, error);
}

/* ---- tangents ------------------------------------------------------------------------------------------------------------------ */

/* Whole forward passes for each rank: their sizes, and so every bit, are those of one rank alone. */
static jsc_status share_tangents(struct job *job, double *u, int n, double *dy, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct comm *comm = job->comm;
    const size_t T = (size_t)job->T, d = (size_t)job->model->d;
    const int most = tangents_at_once(job->T, n), passes = (n + most - 1) / most, each = (passes + comm->size - 1) / comm->size * most;
    const int first = comm->rank * each, left = n - first, count = left < each ? left : each;
    double *mine = NULL, *all = NULL;

    TRY(mem_new(&mine, (size_t)each * d, error));
    TRY(mem_new(&all, (size_t)comm->size * (size_t)each * d, error));
    if (count > 0)
        TRY(tangents_run(job->trace, job->x, job->y, u + (size_t)first * T * d, count, job->p, mine, error));
    TRY(comm->gather(comm, mine, (size_t)each * d * sizeof *mine, all, error));
    memcpy(dy, all, (size_t)n * d * sizeof *dy);
done:
    mem_free(mine);
    mem_free(all);
    return status;
}

jsc_status job_tangents(struct job *job, double *u, int n, double *dy, jsc_error *error)
{
    return job->comm != NULL ? share_tangents(job, u, n, dy, error) : tangents_run(job->trace, job->x, job->y, u, n, job->p, dy, error);
}
