/* pool_cuda.c: device memory and streams that requests hand on: the next request of the same shape finds the same addresses.
 *
 * cudaMalloc and cudaFree of a trace cost more than a short request's work, and a recorded walk (record_cuda.c) holds addresses. A block
 * that is freed waits for a request of its very size; when memory runs out, those that wait go first. Weights and blocks that are large beside
 * the card are not kept: to what is done with them a cudaMalloc is nothing.
 * The lock is also held while a walk is recorded: a cudaMalloc, cudaFree or cudaDeviceSynchronize of another thread might spoil the capture. */
#include "cuda_internal.h"

#include <pthread.h>

enum { BLOCKS = 64, IDLE_STREAMS = 4 };
#define SMALLEST   ((size_t)256 << 10) /* below it the runtime's own suballocation is good enough */
#define KEPT_SHARE 16                  /* of the device's memory is the largest block that is kept */

struct block {
    void *memory;
    size_t bytes;
    uint64_t freed; /* when, in frees; 0: in use */
};

struct pool {
    pthread_mutex_t lock;
    struct block blocks[BLOCKS];
    uint64_t frees;
    size_t largest; /* block that is kept */
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

void pool_limit(struct pool *pool, uint64_t device_bytes)
{
    pool->largest = (size_t)(device_bytes / KEPT_SHARE);
}

void pool_lock(struct pool *pool)
{
    (void)pthread_mutex_lock(&pool->lock);
}

void pool_unlock(struct pool *pool)
{
    (void)pthread_mutex_unlock(&pool->lock);
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
        if (b->freed > 0) {
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

static struct block *fitting(struct pool *pool, size_t bytes)
{
    for (struct block *b = pool->blocks; b < pool->blocks + BLOCKS; b++)
        if (b->freed > 0 && b->bytes == bytes)
            return b;
    return NULL;
}

/* A free place, or that of the block that has waited longest. Where all are in use the block is not kept. */
static void note(struct pool *pool, void *memory, size_t bytes)
{
    struct block *place = NULL;
    for (struct block *b = pool->blocks; b < pool->blocks + BLOCKS; b++) {
        if (b->memory == NULL) {
            place = b;
            break;
        }
        if (b->freed > 0 && (place == NULL || b->freed < place->freed))
            place = b;
    }
    if (place == NULL)
        return;
    if (place->memory != NULL)
        give_back(place);
    *place = (struct block){.memory = memory, .bytes = bytes};
}

cudaError_t pool_alloc(struct pool *pool, size_t bytes, bool keep, void **out)
{
    cudaError_t result = cudaSuccess;
    const bool kept = keep && bytes >= SMALLEST && bytes <= pool->largest;

    pool_lock(pool);
    struct block *b = kept ? fitting(pool, bytes) : NULL;
    if (b != NULL) {
        b->freed = 0;
        *out = b->memory;
    } else {
        result = cudaMalloc(out, bytes > 0 ? bytes : 1);
        if (result == cudaErrorMemoryAllocation && give_back_idle(pool)) {
            (void)cudaGetLastError();
            result = cudaMalloc(out, bytes > 0 ? bytes : 1);
        }
        if (result == cudaSuccess && kept)
            note(pool, *out, bytes);
    }
    pool_unlock(pool);
    return result;
}

cudaError_t pool_release(struct pool *pool, void *memory)
{
    cudaError_t result = cudaSuccess;
    struct block *b = pool->blocks;

    if (memory == NULL)
        return cudaSuccess;
    pool_lock(pool);
    while (b < pool->blocks + BLOCKS && b->memory != memory)
        b++;
    if (b == pool->blocks + BLOCKS)
        result = cudaFree(memory);
    else if ((result = cudaDeviceSynchronize()) == cudaSuccess) /* as cudaFree does: what is queued may still use it */
        b->freed = ++pool->frees;
    else
        give_back(b);
    pool_unlock(pool);
    return result;
}

size_t pool_idle_bytes(struct pool *pool)
{
    size_t bytes = 0;
    pool_lock(pool);
    for (const struct block *b = pool->blocks; b < pool->blocks + BLOCKS; b++)
        bytes += b->freed > 0 ? b->bytes : 0;
    pool_unlock(pool);
    return bytes;
}

struct cuda_stream *pool_stream(struct pool *pool)
{
    pool_lock(pool);
    struct cuda_stream *stream = pool->n_idle > 0 ? pool->idle[--pool->n_idle] : NULL;
    pool_unlock(pool);
    return stream;
}

bool pool_keep_stream(struct pool *pool, struct cuda_stream *stream)
{
    pool_lock(pool);
    const bool kept = pool->n_idle < IDLE_STREAMS;
    if (kept)
        pool->idle[pool->n_idle++] = stream;
    pool_unlock(pool);
    return kept;
}
