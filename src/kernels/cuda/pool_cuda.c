/* pool_cuda.c: device memory and streams that requests hand on: the next request of the same shape finds the same addresses.
 *
 * cudaMalloc and cudaFree of a trace cost more than a short request's work, and a recorded walk (record_cuda.c) holds addresses. A block
 * that is freed waits for a request of about its size; when memory runs out, those that wait go first. */
#include "cuda_internal.h"

#include <pthread.h>

enum { BLOCKS = 64, IDLE_STREAMS = 4 };
#define SMALLEST ((size_t)256 << 10) /* below it the runtime's own suballocation is good enough */

struct block {
    void *memory;
    size_t bytes;
    bool idle;
};

struct pool {
    pthread_mutex_t lock;
    struct block blocks[BLOCKS];
    struct cuda_stream *idle[IDLE_STREAMS];
    int n_idle;
};

jsc_status pool_make(struct pool **out, jsc_error *error)
{
    const jsc_status status = mem_new(out, 1, error);
    if (status == JSC_OK)
        (void)pthread_mutex_init(&(*out)->lock, NULL);
    return status;
}

static void give_back(struct block *b)
{
    (void)cuda_check(cudaFree(b->memory), "memory", NULL);
    *b = (struct block){.memory = NULL};
}

/* false: there was none */
static bool give_back_idle(struct pool *pool)
{
    bool any = false;
    for (struct block *b = pool->blocks; b < pool->blocks + BLOCKS; b++)
        if (b->idle) {
            give_back(b);
            any = true;
        }
    return any;
}

void pool_free(struct pool *pool)
{
    if (pool == NULL)
        return;
    (void)give_back_idle(pool);
    (void)pthread_mutex_destroy(&pool->lock);
    mem_free(pool);
}

/* The smallest idle block of at least bytes and at most a quarter more. */
static struct block *fitting(struct pool *pool, size_t bytes)
{
    struct block *best = NULL;
    for (struct block *b = pool->blocks; b < pool->blocks + BLOCKS; b++)
        if (b->idle && b->bytes >= bytes && b->bytes - bytes <= bytes / 4 && (best == NULL || b->bytes < best->bytes))
            best = b;
    return best;
}

static void note(struct pool *pool, void *memory, size_t bytes)
{
    for (struct block *b = pool->blocks; b < pool->blocks + BLOCKS; b++)
        if (b->memory == NULL) {
            *b = (struct block){.memory = memory, .bytes = bytes};
            return;
        }
}

cudaError_t pool_alloc(struct pool *pool, size_t bytes, void **out)
{
    cudaError_t result = cudaSuccess;

    (void)pthread_mutex_lock(&pool->lock);
    struct block *b = bytes >= SMALLEST ? fitting(pool, bytes) : NULL;
    if (b != NULL) {
        b->idle = false;
        *out = b->memory;
    } else {
        result = cudaMalloc(out, bytes > 0 ? bytes : 1);
        if (result == cudaErrorMemoryAllocation && give_back_idle(pool)) {
            (void)cudaGetLastError();
            result = cudaMalloc(out, bytes > 0 ? bytes : 1);
        }
        if (result == cudaSuccess && bytes >= SMALLEST)
            note(pool, *out, bytes);
    }
    (void)pthread_mutex_unlock(&pool->lock);
    return result;
}

cudaError_t pool_release(struct pool *pool, void *memory)
{
    cudaError_t result = cudaSuccess;
    struct block *b = pool->blocks;

    if (memory == NULL)
        return cudaSuccess;
    (void)pthread_mutex_lock(&pool->lock);
    while (b < pool->blocks + BLOCKS && b->memory != memory)
        b++;
    if (b == pool->blocks + BLOCKS)
        result = cudaFree(memory);
    else if ((result = cudaDeviceSynchronize()) == cudaSuccess) /* as cudaFree does: what is queued may still use it */
        b->idle = true;
    else
        give_back(b);
    (void)pthread_mutex_unlock(&pool->lock);
    return result;
}

size_t pool_idle_bytes(struct pool *pool)
{
    size_t bytes = 0;
    (void)pthread_mutex_lock(&pool->lock);
    for (const struct block *b = pool->blocks; b < pool->blocks + BLOCKS; b++)
        bytes += b->idle ? b->bytes : 0;
    (void)pthread_mutex_unlock(&pool->lock);
    return bytes;
}

struct cuda_stream *pool_stream(struct pool *pool)
{
    (void)pthread_mutex_lock(&pool->lock);
    struct cuda_stream *stream = pool->n_idle > 0 ? pool->idle[--pool->n_idle] : NULL;
    (void)pthread_mutex_unlock(&pool->lock);
    return stream;
}

bool pool_keep_stream(struct pool *pool, struct cuda_stream *stream)
{
    (void)pthread_mutex_lock(&pool->lock);
    const bool kept = pool->n_idle < IDLE_STREAMS;
    if (kept)
        pool->idle[pool->n_idle++] = stream;
    (void)pthread_mutex_unlock(&pool->lock);
    return kept;
}
