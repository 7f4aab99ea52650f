/* record_cuda.c: walks as CUDA graphs, by key: one launch instead of one for every kernel, which costs 2 us each.
 *
 * What a recorded walk reads and writes are addresses of the time of recording. The key holds the caller's (a trace's memory); the
 * stream's own scratch is the same as long as it does not grow, and when it does, all recordings go. */
#include "cuda_internal.h"

#include <string.h>

enum { KEY_BYTES = 256, MOST = 32, TRIES = 3 };

enum progress { UNSEEN, SEEN, RECORDED, UNFIT };

struct recording {
    unsigned char key[KEY_BYTES];
    size_t bytes;
    enum progress progress;
    int failures; /* of recording it */
    cudaGraphExec_t graph;
    uint64_t used; /* when last, in begins */
};

struct recordings {
    struct recording all[MOST];
    struct recording *open; /* between begin and end */
    bool recording;
    uint64_t begins;
};

static void forget(struct recording *r)
{
    if (r->graph != NULL)
        (void)cudaGraphExecDestroy(r->graph);
    memset(r, 0, sizeof *r);
}

void record_forget(struct jsc_stream *stream)
{
    struct recordings *all = ((struct cuda_stream *)stream)->recordings;
    for (int i = 0; all != NULL && i < MOST; i++)
        if (&all->all[i] != all->open)
            forget(&all->all[i]);
}

void recordings_free(struct recordings *all)
{
    for (int i = 0; all != NULL && i < MOST; i++)
        forget(&all->all[i]);
    mem_free(all);
}

jsc_status record_refuse(const struct jsc_stream *stream, const char *what, jsc_error *error)
{
    const struct recordings *all = ((const struct cuda_stream *)stream)->recordings;
    return all != NULL && all->recording ? status_set(error, JSC_E_INTERNAL, "cuda: %s inside a recorded walk", what) : JSC_OK;
}

/* The key's place; a new key takes a free one, or that of the longest unused. */
static struct recording *find(struct recordings *all, const void *key, size_t bytes)
{
    struct recording *oldest = &all->all[0];
    for (struct recording *r = all->all; r < all->all + MOST; r++) {
        if (r->bytes == bytes && memcmp(r->key, key, bytes) == 0)
            return r;
        if (r->used < oldest->used)
            oldest = r;
    }
    forget(oldest);
    memcpy(oldest->key, key, bytes);
    oldest->bytes = bytes;
    return oldest;
}

jsc_status record_begin_cuda(struct jsc_stream *stream, const void *key, size_t bytes, bool *repeat, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct cuda_stream *s = (struct cuda_stream *)stream;

    *repeat = false;
    TRY(cuda_enter(stream, error));
    if (bytes > KEY_BYTES)
        FAIL(JSC_E_INTERNAL, "cuda: a walk's key of %zu bytes, at most %d", bytes, KEY_BYTES);
    if (s->recordings == NULL)
        TRY(mem_new(&s->recordings, 1, error));
    struct recordings *all = s->recordings;
    struct recording *r = all->open = find(all, key, bytes);
    r->used = ++all->begins;
    if (r->progress == RECORDED) {
        all->open = NULL;
        *repeat = true;
        TRY(cuda_check(cudaGraphLaunch(r->graph, s->handle), "repeating a recorded walk", error));
    } else if (r->progress == SEEN) {
        pool_lock(cuda_device_of(stream)->pool);
        const cudaError_t begun = cudaStreamBeginCapture(s->handle, cudaStreamCaptureModeThreadLocal);
        all->recording = begun == cudaSuccess;
        if (!all->recording)
            pool_unlock(cuda_device_of(stream)->pool);
        TRY(cuda_check(begun, "recording", error));
    }
done:
    if (status != JSC_OK && s->recordings != NULL)
        s->recordings->open = NULL;
    return status;
}

/* Ends the capture and makes it executable; false: this walk cannot be recorded. */
static bool finish(struct cuda_stream *s, bool walked, struct recording *r)
{
    cudaGraph_t graph = NULL;
    bool made = cudaStreamEndCapture(s->handle, &graph) == cudaSuccess && graph != NULL && walked;
    made = made && cudaGraphInstantiate(&r->graph, graph, 0) == cudaSuccess;
    if (graph != NULL)
        (void)cudaGraphDestroy(graph);
    if (!made)
        (void)cudaGetLastError(); /* what a capture refuses is not the device's failure */
    return made;
}

jsc_status record_end_cuda(struct jsc_stream *stream, jsc_status walk, bool *again, jsc_error *error)
{
    struct cuda_stream *s = (struct cuda_stream *)stream;
    struct recordings *all = s->recordings;
    struct recording *r = all->open;

    *again = false;
    all->open = NULL;
    if (!all->recording) {
        if (walk == JSC_OK && r->progress == UNSEEN)
            r->progress = SEEN;
        return walk;
    }
    const bool made = finish(s, walk == JSC_OK, r);
    all->recording = false;
    pool_unlock(cuda_device_of(stream)->pool);
    const cudaError_t launched = made ? cudaGraphLaunch(r->graph, s->handle) : cudaErrorStreamCaptureInvalidated;
    if (!made || launched == cudaErrorMemoryAllocation) { /* something came between, or there is no room for the graph: plainly then */
        (void)cudaGetLastError();
        if (made)
            (void)cudaGraphExecDestroy(r->graph);
        r->graph = NULL;
        r->progress = ++r->failures < TRIES ? UNSEEN : UNFIT; /* a plain run may bring what was missing */
        *again = true;
        return JSC_OK;
    }
    r->progress = RECORDED;
    return cuda_check(launched, "a recorded walk", error);
}
