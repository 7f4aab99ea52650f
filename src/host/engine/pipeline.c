/* pipeline.c: chunks of right-hand sides through the stages of a model over several devices: a thread for each stage below the top, which the
 * caller's thread drives.
 *
 * A stage gives its gradient away by letting the one below copy it; only then does it begin its next chunk. So each holds one chunk, and
 * none waits but for the slowest. The first failure ends all. */
#include "vjp_internal.h"

#include <pthread.h>

/* One run. Stage 0 is the top; counts are guarded by the lock. */
struct run {
    const struct pipeline *pipeline;
    int n_stages;
    struct pull pulls[STAGES_MOST + 1]; /* pipeline_slots() of them */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int ready[STAGES_MOST]; /* chunks that a stage has gone through */
    int taken[STAGES_MOST]; /* of them, those that the stage below has copied */
    bool failed;
    jsc_error error;
    int broken; /* the chunk whose sums are not finite, -1: none */
};

struct worker {
    struct run *run;
    struct trace *trace, *above;
    int stage;
    pthread_t thread;
};

static void fail(struct run *run, const jsc_error *error)
{
    (void)pthread_mutex_lock(&run->lock);
    if (!run->failed)
        run->error = *error;
    run->failed = true;
    (void)pthread_cond_broadcast(&run->changed);
    (void)pthread_mutex_unlock(&run->lock);
}

/* Waits until *count exceeds i; false: the run has failed. */
static bool wait_for(struct run *run, const int *count, int i)
{
    (void)pthread_mutex_lock(&run->lock);
    while (!run->failed && *count <= i)
        (void)pthread_cond_wait(&run->changed, &run->lock);
    const bool going = !run->failed;
    (void)pthread_mutex_unlock(&run->lock);
    return going;
}

static void advance(struct run *run, int *count)
{
    (void)pthread_mutex_lock(&run->lock);
    (*count)++;
    (void)pthread_cond_broadcast(&run->changed);
    (void)pthread_mutex_unlock(&run->lock);
}

static int look(struct run *run, const int *count)
{
    (void)pthread_mutex_lock(&run->lock);
    const int value = *count;
    (void)pthread_mutex_unlock(&run->lock);
    return value;
}

static const struct pull *chunk(const struct run *run, int i)
{
    return &run->pulls[i % pipeline_slots(run->n_stages)];
}

/* Chunk i through one stage. A sum that is not finite ends the run: the caller looks for the place once all is quiet. */
static jsc_status one_stage(struct run *run, struct trace *t, int i, jsc_error *error)
{
    bool finite = true;
    const jsc_status status = vjp_stage(t, chunk(run, i), false, &finite, error);
    if (status != JSC_OK || finite)
        return status;
    (void)pthread_mutex_lock(&run->lock);
    run->broken = run->broken < 0 ? i : run->broken;
    (void)pthread_mutex_unlock(&run->lock);
    return status_set(error, JSC_E_NUMERIC, "backward pass: a sum of squares is not finite");
}

static void *work(void *user)
{
    struct worker *w = user;
    struct run *run = w->run;
    jsc_error error = {.status = JSC_OK, .text = ""};

    for (int i = 0; i < run->pipeline->n; i++) {
        if (!wait_for(run, &run->ready[w->stage - 1], i))
            return NULL;
        if (i > 0 && w->stage < run->n_stages - 1 && !wait_for(run, &run->taken[w->stage], i - 1))
            return NULL;
        jsc_status status = vjp_receive(w->trace, w->above, chunk(run, i), &error);
        if (status == JSC_OK) {
            advance(run, &run->taken[w->stage - 1]);
            status = one_stage(run, w->trace, i, &error);
        }
        if (status != JSC_OK) {
            fail(run, &error);
            return NULL;
        }
        advance(run, &run->ready[w->stage]);
    }
    return NULL;
}

/* Tells the caller of chunks that are through, at least up to chunk `until` - 1. */
static jsc_status collect(struct run *run, int *told, int until, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const struct pipeline *p = run->pipeline;
    const int *through = &run->ready[run->n_stages - 1];

    while (*told < until || look(run, through) > *told) {
        if (!wait_for(run, through, *told))
            FAIL(run->error.status, "%s", run->error.text);
        TRY(p->done(p->user, *told, chunk(run, *told), error));
        (*told)++;
    }
done:
    return status;
}

/* The top stage, and the caller's part: filling in and looking at what came out. */
static jsc_status drive(struct run *run, struct trace *top, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const struct pipeline *p = run->pipeline;
    const int slots = pipeline_slots(run->n_stages);
    int told = 0;

    for (int i = 0; i < p->n; i++) {
        TRY(collect(run, &told, i - slots + 1, error));
        TRY(p->fill(p->user, i, &run->pulls[i % slots], error));
        run->pulls[i % slots].tick = NULL; /* it would be called from other threads */
        if (i > 0 && !wait_for(run, &run->taken[0], i - 1))
            FAIL(run->error.status, "%s", run->error.text);
        TRY(one_stage(run, top, i, error));
        advance(run, &run->ready[0]);
    }
    TRY(collect(run, &told, p->n, error));
done:
    return status;
}

/* After a failure: where a sum was not finite, the same chunk once more, looking at every half. */
static jsc_status name_place(struct run *run, struct trace *top, jsc_status status, jsc_error *error)
{
    if (run->broken < 0)
        return status;
    const jsc_status found = vjp_pull(top, chunk(run, run->broken), error);
    return found != JSC_OK ? found : status;
}

static jsc_status run_alone(struct trace *t, const struct pipeline *p, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct pull pull;

    for (int i = 0; i < p->n; i++) {
        TRY(p->fill(p->user, i, &pull, error));
        TRY(vjp_pull(t, &pull, error));
        TRY(p->done(p->user, i, &pull, error));
    }
done:
    return status;
}

static jsc_status run_stages(struct trace *top, const struct pipeline *pipeline, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct run run = {.pipeline = pipeline, .n_stages = 1, .broken = -1};
    struct worker workers[STAGES_MOST];
    const double start = clock_seconds();
    int started = 1;

    (void)pthread_mutex_init(&run.lock, NULL);
    (void)pthread_cond_init(&run.changed, NULL);
    for (struct trace *t = top; t->below != NULL; t = t->below) {
        workers[run.n_stages] = (struct worker){.run = &run, .trace = t->below, .above = t, .stage = run.n_stages};
        run.n_stages++;
    }
    for (; started < run.n_stages; started++)
        if (pthread_create(&workers[started].thread, NULL, work, &workers[started]) != 0)
            break;
    status = started == run.n_stages ? drive(&run, top, error) : status_set(error, JSC_E_MEMORY, "no thread for stage %d", started);
    if (status != JSC_OK)
        fail(&run, &(jsc_error){.status = status, .text = ""});
    for (int i = 1; i < started; i++)
        (void)pthread_join(workers[i].thread, NULL);
    if (status != JSC_OK)
        status = name_place(&run, top, status, error);
    (void)pthread_cond_destroy(&run.changed);
    (void)pthread_mutex_destroy(&run.lock);
    top->seconds_backward += clock_seconds() - start;
    return status;
}

jsc_status pipeline_run(struct trace *trace, const struct pipeline *pipeline, jsc_error *error)
{
    return trace->below == NULL ? run_alone(trace, pipeline, error) : run_stages(trace, pipeline, error);
}
