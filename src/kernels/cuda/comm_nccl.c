/* comm_nccl.c: a communicator that gathers through NCCL, over another one (boot) that brought the ranks together and carries failures.
 *
 * NCCL tells a rank nothing reliable of another's failure, so nothing here blocks: results are polled for, with boot's failures and the
 * deadline, and whoever fails says so through boot before it aborts. The first piece of every gather has one size on every rank and begins
 * with a header: ranks that do other work are told apart before they would disagree about a size. */
#include "cuda_internal.h"
#include "nccl_cuda.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define FIRST_BYTES   ((size_t)16 << 10) /* of a gather's first piece, header and all */
#define PIECE_BYTES   ((size_t)1 << 20)  /* of the others, at most */
#define START_SECONDS 120.0              /* to bring the ranks together, where the deadline is not shorter */
#define BLAME_SECONDS 0.5                /* that the words of the rank that failed may come after NCCL's */

struct header {
    uint64_t collective, bytes;
};
#define FIRST_PAYLOAD (FIRST_BYTES - sizeof(struct header))

struct comm_nccl {
    struct comm comm;
    struct comm *boot;
    struct jsc_device *device;
    struct nccl_cuda nccl;
    ncclComm_t handle; /* NULL: not yet, or no more */
    cudaStream_t stream;
    char *host, *mine, *all; /* pinned [size][PIECE_BYTES]; of the device: [PIECE_BYTES], [size][PIECE_BYTES] */
    uint64_t collective;
};

/* ---- waiting ---------------------------------------------------------------------------------------------------------------- */

static void nap(unsigned polls)
{
    const struct timespec pause = {.tv_nsec = polls < 100 ? 20000 : 500000};
    (void)nanosleep(&pause, NULL);
}

static jsc_status nccl_check(const struct comm_nccl *c, ncclResult_t result, const char *what, jsc_error *error)
{
    char last[256];
    if (result == ncclSuccess || result == ncclInProgress)
        return JSC_OK;
    (void)snprintf(last, sizeof last, "%s", c->nccl.GetLastError(c->handle));
    last[strcspn(last, "\r\n")] = '\0';
    return status_set(error, JSC_E_DEVICE, "NCCL: %s: %s (%s); %s=off does without NCCL", what, c->nccl.GetErrorString(result), last,
                      env_name(ENV_NCCL));
}

enum awaited { CALL, STREAM }; /* that the last call has been taken; that what it queued is done */

/* Until it is so, or a rank has failed, or the time is over. */
static jsc_status wait_for(struct comm_nccl *c, enum awaited awaited, double until, const char *what, jsc_error *error)
{
    jsc_status status = JSC_OK;
    for (unsigned polls = 0;; polls++) {
        ncclResult_t state = ncclSuccess;
        TRY(nccl_check(c, c->nccl.CommGetAsyncError(c->handle, &state), what, error));
        TRY(nccl_check(c, state, what, error));
        if (state == ncclSuccess) {
            const cudaError_t result = awaited == STREAM ? cudaStreamQuery(c->stream) : cudaSuccess;
            if (result == cudaSuccess)
                return JSC_OK;
            if (result != cudaErrorNotReady)
                TRY(cuda_check(result, what, error));
        }
        TRY(c->boot->check(c->boot, error));
        if (clock_seconds() > until)
            FAIL(JSC_E_DEVICE, "NCCL: %s: some rank did not come before the deadline of %g s", what, c->boot->deadline);
        nap(polls);
    }
done:
    return status;
}

static void end_handle(struct comm_nccl *c)
{
    if (c->handle != NULL)
        (void)c->nccl.CommAbort(c->handle);
    c->handle = NULL;
}

/* All ranks end with one text: boot's, which is ours if nobody's came before. NCCL may notice a failure before its words have come. */
static jsc_status give_up(struct comm_nccl *c, const jsc_error *own, jsc_error *error)
{
    const double until = clock_seconds() + BLAME_SECONDS;
    for (unsigned polls = 0; c->boot->check(c->boot, error) == JSC_OK && clock_seconds() < until; polls++)
        nap(polls);
    c->boot->fail(c->boot, own);
    end_handle(c);
    const jsc_status status = c->boot->check(c->boot, error);
    return status != JSC_OK ? status : status_set(error, own->status, "%s", own->text);
}

/* ---- gathering -------------------------------------------------------------------------------------------------------------- */

/* What lies in host, on every rank: [size][bytes] in host afterwards. */
static jsc_status gather_piece(struct comm_nccl *c, size_t bytes, double until, jsc_error *error)
{
    jsc_status status = JSC_OK;
    char what[64];

    (void)snprintf(what, sizeof what, "collective %" PRIu64, c->collective);
    TRY(cuda_check(cudaMemcpyAsync(c->mine, c->host, bytes, cudaMemcpyHostToDevice, c->stream), what, error));
    TRY(nccl_check(c, c->nccl.AllGather(c->mine, c->all, bytes, ncclUint8, c->handle, c->stream), what, error));
    TRY(wait_for(c, CALL, until, what, error)); /* only now it stands in the stream */
    TRY(cuda_check(cudaMemcpyAsync(c->host, c->all, (size_t)c->comm.size * bytes, cudaMemcpyDeviceToHost, c->stream), what, error));
    TRY(wait_for(c, STREAM, until, what, error));
done:
    return status;
}

static jsc_status compare_headers(const struct comm_nccl *c, size_t bytes, jsc_error *error)
{
    for (int r = 0; r < c->comm.size; r++) {
        struct header h;
        memcpy(&h, c->host + (size_t)r * FIRST_BYTES, sizeof h);
        if (h.collective != c->collective || h.bytes != bytes)
            return status_set(error, JSC_E_INTERNAL,
                              "collective %" PRIu64 ": rank %d gives %zu bytes, rank %d %" PRIu64 " in its collective %" PRIu64
                              ": the ranks do not do the same work",
                              c->collective, c->comm.rank, bytes, r, h.bytes, h.collective);
    }
    return JSC_OK;
}

static void hand_out(const struct comm_nccl *c, size_t stride, size_t skip, size_t count, char *all, size_t bytes)
{
    for (int r = 0; r < c->comm.size && count > 0; r++)
        memcpy(all + (size_t)r * bytes, c->host + (size_t)r * stride + skip, count);
}

static jsc_status gather_all(struct comm_nccl *c, const char *mine, size_t bytes, char *all, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const double until = clock_seconds() + c->boot->deadline;
    const struct header header = {.collective = c->collective, .bytes = bytes};
    size_t count = bytes < FIRST_PAYLOAD ? bytes : FIRST_PAYLOAD;

    TRY(cuda_check(cudaSetDevice(((struct cuda_device *)c->device)->index), "choosing the device", error));
    memset(c->host, 0, FIRST_BYTES);
    memcpy(c->host, &header, sizeof header);
    if (count > 0)
        memcpy(c->host + sizeof header, mine, count);
    TRY(gather_piece(c, FIRST_BYTES, until, error));
    TRY(compare_headers(c, bytes, error));
    hand_out(c, FIRST_BYTES, sizeof header, count, all, bytes);
    for (size_t at = count; at < bytes; at += count) {
        count = bytes - at < PIECE_BYTES ? bytes - at : PIECE_BYTES;
        memcpy(c->host, mine + at, count);
        TRY(gather_piece(c, count, until, error));
        hand_out(c, count, 0, count, all + at, bytes);
    }
    c->collective++;
done:
    return status;
}

static jsc_status nccl_gather(struct comm *comm, const void *mine, size_t bytes, void *all, jsc_error *error)
{
    struct comm_nccl *c = (struct comm_nccl *)comm;
    jsc_error own = {.status = JSC_OK, .text = ""};

    const jsc_status known = c->boot->check(c->boot, error);
    if (known != JSC_OK) {
        end_handle(c);
        return known;
    }
    return gather_all(c, mine, bytes, all, &own) == JSC_OK ? JSC_OK : give_up(c, &own, error);
}

static void nccl_fail(struct comm *comm, const jsc_error *error)
{
    struct comm_nccl *c = (struct comm_nccl *)comm;
    c->boot->fail(c->boot, error); /* before the abort, which others may notice */
    end_handle(c);
}

static jsc_status nccl_check_failure(struct comm *comm, jsc_error *error)
{
    struct comm_nccl *c = (struct comm_nccl *)comm;
    return c->boot->check(c->boot, error);
}

/* ---- making and ending ------------------------------------------------------------------------------------------------------ */

static void nccl_close(struct comm *comm)
{
    struct comm_nccl *c = (struct comm_nccl *)comm;
    if (c == NULL)
        return;
    (void)cudaSetDevice(((struct cuda_device *)c->device)->index);
    if (c->handle != NULL && c->boot->check(c->boot, NULL) == JSC_OK &&
        nccl_check(c, c->nccl.CommFinalize(c->handle), "end", NULL) == JSC_OK &&
        wait_for(c, CALL, clock_seconds() + START_SECONDS, "end", NULL) == JSC_OK && c->nccl.CommDestroy(c->handle) == ncclSuccess)
        c->handle = NULL;
    end_handle(c);
    if (c->stream != NULL)
        (void)cuda_check(cudaStreamDestroy(c->stream), "stream", NULL);
    free_cuda(c->device, c->mine);
    free_cuda(c->device, c->all);
    if (c->host != NULL)
        (void)cuda_check(cudaFreeHost(c->host), "pinned host memory", NULL);
    mem_free(c);
}

/* What a rank says of itself before NCCL is asked to bring the ranks together. */
struct hello {
    int32_t status, version;
    unsigned char gpu[16];
    ncclUniqueId id; /* of rank 0 */
    char text[240];
};

static jsc_status prepare(struct comm_nccl *c, struct hello *hello, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct cudaDeviceProp card;
    const int index = ((struct cuda_device *)c->device)->index;
    const size_t size = (size_t)c->comm.size;
    void *memory = NULL;

    TRY(nccl_open(&c->nccl, error));
    hello->version = c->nccl.version;
    TRY(cuda_check(cudaSetDevice(index), "choosing the device", error));
    TRY(cuda_check(cudaGetDeviceProperties(&card, index), "properties", error));
    memcpy(hello->gpu, &card.uuid, sizeof hello->gpu);
    TRY(cuda_check(cudaStreamCreateWithFlags(&c->stream, cudaStreamNonBlocking), "stream", error));
    TRY(cuda_check(cudaMallocHost((void **)&c->host, size * PIECE_BYTES), "pinned host memory", error));
    TRY(alloc_cuda(c->device, PIECE_BYTES, &memory, error));
    c->mine = memory;
    TRY(alloc_cuda(c->device, size * PIECE_BYTES, &memory, error));
    c->all = memory;
    if (c->comm.rank == 0)
        TRY(nccl_check(c, c->nccl.GetUniqueId(&hello->id), "unique id", error));
done:
    return status;
}

/* Why these ranks cannot use NCCL: the same answer on each. */
static jsc_status compare_hellos(const struct hello *all, int n, jsc_error *error)
{
    for (int r = 0; r < n; r++) {
        if (all[r].status != JSC_OK)
            return status_set(error, JSC_E_DEVICE, "no NCCL: rank %d: %.200s", r, all[r].text);
        if (all[r].version != all[0].version)
            return status_set(error, JSC_E_DEVICE, "no NCCL: rank 0 has version %d, rank %d %d: install one", (int)all[0].version, r,
                              (int)all[r].version);
        for (int other = 0; other < r; other++)
            if (memcmp(all[r].gpu, all[other].gpu, sizeof all[r].gpu) == 0)
                return status_set(error, JSC_E_DEVICE, "no NCCL: ranks %d and %d are on one GPU, which it refuses", other, r);
    }
    return JSC_OK;
}

static jsc_status start(struct comm_nccl *c, ncclUniqueId id, jsc_error *error)
{
    jsc_status status = JSC_OK;
    ncclConfig_t config = JSC_NCCL_CONFIG;
    const double patience = c->boot->deadline < START_SECONDS ? c->boot->deadline : START_SECONDS;

    TRY(nccl_check(c, c->nccl.CommInitRankConfig(&c->handle, c->comm.size, id, c->comm.rank, &config), "start", error));
    TRY(wait_for(c, CALL, clock_seconds() + patience, "start", error));
done:
    return status;
}

jsc_status comm_nccl_over(struct jsc_device *device, struct comm *boot, struct comm **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct comm_nccl *c = NULL;
    struct hello mine, *all = NULL;
    jsc_error own = {.status = JSC_OK, .text = ""};

    memset(&mine, 0, sizeof mine);
    if (mem_new(&c, 1, &own) != JSC_OK || mem_new(&all, (size_t)boot->size, &own) != JSC_OK) { /* not even a hello */
        boot->fail(boot, &own);
        FAIL(own.status, "%s", own.text);
    }
    c->boot = boot, c->device = device;
    c->comm = (struct comm){.rank = boot->rank,
                            .size = boot->size,
                            .deadline = boot->deadline,
                            .gather = nccl_gather,
                            .fail = nccl_fail,
                            .check = nccl_check_failure,
                            .close = nccl_close};
    mine.status = (int32_t)prepare(c, &mine, &own);
    (void)snprintf(mine.text, sizeof mine.text, "%.*s", (int)sizeof mine.text - 1, own.text);
    TRY(boot->gather(boot, &mine, sizeof mine, all, error));
    TRY(compare_hellos(all, boot->size, error));
    if (start(c, all[0].id, &own) != JSC_OK) {
        status = give_up(c, &own, error);
        goto done;
    }
    *out = &c->comm;
    c = NULL;
done:
    mem_free(all);
    if (c != NULL)
        nccl_close(&c->comm);
    return status;
}
