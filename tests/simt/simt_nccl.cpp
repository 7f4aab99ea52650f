/* simt_nccl.cpp: NCCL between the emulator's devices: cliques by unique id, gathers that are done in the order of ranks when all have come.
 *
 * As in life: a communicator that does not block answers ncclInProgress and does what was asked when its state is asked for; a rank hears nothing of
 * another's abort; a collective holds up its stream. What would hang for ever is given up after simt_settings.nccl_patience and reported:
 * "collective k: rank r never came". */
#include "simt_engine.h"

#include "nccl_api.h"

#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>

namespace
{

using seconds = std::chrono::duration<double>;

struct gather {
    bool came;
    const void *mine;
    void *all;
    size_t count;
    ncclDataType_t type;
    cudaStream_t stream;
};

struct clique {
    std::string id;
    std::vector<ncclComm_t> ranks; /* NULL: has not joined, or is gone */
    int joined;
    unsigned long long collective;                /* number of the first in list */
    std::vector<std::vector<struct gather>> open; /* [collective - first][rank] */
    std::chrono::steady_clock::time_point since;  /* when somebody began to wait */
    bool broken;
    std::string text;
};

std::map<std::string, std::shared_ptr<struct clique>> cliques; /* by id */
unsigned long long made, gathers;
std::string last_error;

} /* namespace */

struct ncclComm {
    std::shared_ptr<struct clique> clique;
    int rank, device;
    bool asked, finalized; /* asked: the state was asked for since the last call, which so has been taken */
    struct gather waiting; /* the call not yet taken */
    bool has_waiting;
    unsigned long long collective; /* of the next gather */
};

namespace
{

std::vector<ncclComm_t> alive;

ncclResult_t refuse(ncclResult_t result, const char *why)
{
    last_error = why;
    simt_record("NCCL: %s", why);
    return result;
}

bool known(ncclComm_t comm)
{
    for (ncclComm_t each : alive)
        if (each == comm)
            return true;
    return false;
}

/* Nothing of the clique goes on; its streams do. */
void break_clique(struct clique *c, const std::string &text)
{
    if (c->broken)
        return;
    c->broken = true;
    c->text = text;
    simt_record("NCCL: %s", text.c_str());
    const auto open = c->open;
    c->open.clear();
    for (const auto &ranks : open)
        for (const struct gather &g : ranks)
            if (g.came)
                simt_hold(g.stream, false);
}

void run_gather(const std::vector<struct gather> &ranks)
{
    const size_t bytes = ranks[0].count;
    gathers++;
    simt_memory_open();
    simt_tsan_ignore(true);
    for (size_t to = 0; to < ranks.size(); to++)
        for (size_t from = 0; from < ranks.size(); from++)
            memmove(static_cast<char *>(ranks[to].all) + from * bytes, ranks[from].mine, bytes);
    simt_tsan_ignore(false);
    simt_memory_close();
}

/* A stream has come to its gather. */
void arrive(struct clique *c, int rank, unsigned long long number, const struct gather &given)
{
    if (c->broken)
        return;
    while (c->open.size() <= number - c->collective)
        c->open.push_back(std::vector<struct gather>(c->ranks.size()));
    std::vector<struct gather> &ranks = c->open[number - c->collective];
    if (c->since == std::chrono::steady_clock::time_point())
        c->since = std::chrono::steady_clock::now();
    ranks[(size_t)rank] = given;
    ranks[(size_t)rank].came = true;
    simt_hold(given.stream, true);
    for (size_t r = 0; r < ranks.size(); r++) {
        if (!ranks[r].came)
            return;
        if (ranks[r].count != ranks[0].count || ranks[r].type != ranks[0].type) {
            break_clique(c, "collective " + std::to_string(number) + ": rank 0 gathers " + std::to_string(ranks[0].count) +
                                " bytes, rank " + std::to_string(r) + " " + std::to_string(ranks[r].count));
            return;
        }
    }
    const std::vector<struct gather> done = ranks; /* a stream's own order brought all of the ones before */
    c->open.erase(c->open.begin());
    c->collective++;
    c->since = c->open.empty() ? std::chrono::steady_clock::time_point() : std::chrono::steady_clock::now();
    run_gather(done);
    for (const struct gather &g : done)
        simt_hold(g.stream, false);
}

/* Takes the call that waits: from now on it stands in its stream. */
ncclResult_t take(ncclComm_t comm)
{
    if (!comm->has_waiting)
        return ncclSuccess;
    comm->has_waiting = false;
    const auto c = comm->clique;
    const int rank = comm->rank;
    const unsigned long long number = comm->collective++;
    const struct gather given = comm->waiting;
    const cudaError_t error = simt_submit(given.stream, [c, rank, number, given] {
        arrive(c.get(), rank, number, given);
        return cudaSuccess;
    });
    return error == cudaSuccess ? ncclSuccess : ncclUnhandledCudaError;
}

void forget(ncclComm_t comm)
{
    struct clique *c = comm->clique.get();
    for (auto &ranks : c->open)
        if (ranks[(size_t)comm->rank].came) { /* its kernel ends without the others */
            const cudaStream_t stream = ranks[(size_t)comm->rank].stream;
            ranks[(size_t)comm->rank].came = false;
            simt_hold(stream, false);
        }
    c->ranks[(size_t)comm->rank] = nullptr;
    bool last = c->joined == (int)c->ranks.size() || c->broken;
    for (ncclComm_t each : c->ranks)
        last = last && each == nullptr;
    if (last)
        cliques.erase(c->id);
    for (size_t i = 0; i < alive.size(); i++)
        if (alive[i] == comm) {
            alive.erase(alive.begin() + (long)i);
            break;
        }
    delete comm;
    simt_live_objects--;
}

const char *reason_to_refuse(const struct clique *c, int rank, const ncclConfig_t *config)
{
    if (config == nullptr || config->magic != JSC_NCCL_MAGIC || config->size < sizeof *config || config->version < 21400)
        return "the configuration was not begun with its initializer";
    if (config->blocking != 0)
        return "the emulator has communicators that do not block only";
    if (c->ranks[(size_t)rank] != nullptr)
        return "a rank joins twice";
    for (ncclComm_t each : c->ranks)
        if (each != nullptr && each->device == simt_device_now())
            return "Duplicate GPU detected";
    return nullptr;
}

} /* namespace */

unsigned long long simt_gathers(void)
{
    struct simt_guard guard;
    return gathers;
}

void simt_nccl_tick()
{
    const auto now = std::chrono::steady_clock::now();
    for (const auto &entry : std::map<std::string, std::shared_ptr<struct clique>>(cliques)) {
        struct clique *c = entry.second.get();
        if (c->broken || c->since == std::chrono::steady_clock::time_point() ||
            std::chrono::duration_cast<seconds>(now - c->since).count() < simt_settings.nccl_patience)
            continue;
        for (size_t r = 0; r < c->ranks.size(); r++) {
            const bool starting = c->joined < (int)c->ranks.size();
            if (starting ? c->ranks[r] != nullptr : c->open.empty() || c->open[0][r].came)
                continue;
            break_clique(c, starting ? "rank " + std::to_string(r) + " never joined"
                                     : "collective " + std::to_string(c->collective) + ": rank " + std::to_string(r) + " never came");
            break;
        }
    }
}

extern "C" {

ncclResult_t ncclGetVersion(int *version)
{
    *version = simt_settings.nccl_version;
    return ncclSuccess;
}

const char *ncclGetErrorString(ncclResult_t result)
{
    static const char *const texts[] = {
        "no error",         "unhandled cuda error", "unhandled system error",    "internal error",
        "invalid argument", "invalid usage",        "remote process has failed", "NCCL operation in progress"};
    return result >= 0 && result <= ncclInProgress ? texts[result] : "unknown result code";
}

const char *ncclGetLastError(ncclComm_t)
{
    static thread_local std::string answer;
    struct simt_guard guard;
    answer = last_error;
    return answer.c_str();
}

ncclResult_t ncclGetUniqueId(ncclUniqueId *id)
{
    struct simt_guard guard;
    if (simt_enter("ncclGetUniqueId") != cudaSuccess)
        return ncclSystemError;
    memset(id, 0, sizeof *id);
    snprintf(id->internal, sizeof id->internal, "emulated clique %llu", ++made);
    return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t *out, int ranks, ncclUniqueId id, int rank, ncclConfig_t *config)
{
    struct simt_guard guard;
    *out = nullptr;
    if (simt_enter("ncclCommInitRankConfig") != cudaSuccess)
        return ncclUnhandledCudaError;
    if (ranks < 1 || rank < 0 || rank >= ranks)
        return refuse(ncclInvalidArgument, "a rank outside the clique");
    const std::string key(id.internal, sizeof id.internal);
    std::shared_ptr<struct clique> &c = cliques[key];
    if (!c) {
        c = std::make_shared<struct clique>();
        c->id = key;
        c->ranks.resize((size_t)ranks);
        c->since = std::chrono::steady_clock::now();
    }
    if ((int)c->ranks.size() != ranks)
        return refuse(ncclInvalidArgument, "the ranks of a clique differ about its size");
    const char *why = reason_to_refuse(c.get(), rank, config);
    if (why != nullptr)
        return refuse(ncclInvalidUsage, why);
    *out = new ncclComm{c, rank, simt_device_now(), false, false, {}, false, 0};
    alive.push_back(*out);
    c->ranks[(size_t)rank] = *out;
    if (++c->joined == ranks)
        c->since = std::chrono::steady_clock::time_point();
    simt_live_objects++;
    return ncclInProgress;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t *state)
{
    struct simt_guard guard;
    if (!known(comm))
        return refuse(ncclInvalidArgument, "no communicator");
    simt_nccl_tick();
    const struct clique *c = comm->clique.get();
    if (c->broken) {
        last_error = c->text;
        *state = ncclRemoteError;
    } else if (c->joined < (int)c->ranks.size() || !comm->asked) {
        *state = ncclInProgress;
        comm->asked = true;
    } else {
        *state = take(comm);
    }
    return ncclSuccess;
}

ncclResult_t ncclAllGather(const void *mine, void *all, size_t count, ncclDataType_t type, ncclComm_t comm, cudaStream_t stream)
{
    struct simt_guard guard;
    size_t left_mine, left_all;
    if (simt_enter("ncclAllGather") != cudaSuccess)
        return ncclUnhandledCudaError;
    if (!known(comm))
        return refuse(ncclInvalidArgument, "no communicator");
    const struct clique *c = comm->clique.get();
    if (c->broken)
        return ncclRemoteError;
    if (!comm->asked || c->joined < (int)c->ranks.size() || comm->has_waiting || comm->finalized)
        return refuse(ncclInvalidUsage, "a communicator is used before its last call was waited for, or after its end");
    if (simt_stream_device(stream) != comm->device || simt_device_now() != comm->device)
        return refuse(ncclInvalidUsage, "the stream or the current device is not the communicator's");
    if ((type != ncclUint8 && type != ncclInt8) || simt_device_of(mine) != comm->device || simt_device_of(all) != comm->device)
        return refuse(ncclInvalidArgument, "a buffer is no memory of the communicator's device, or the type is not bytes");
    (void)simt_space_of(mine, &left_mine), (void)simt_space_of(all, &left_all);
    if (left_mine < count || left_all < count * c->ranks.size())
        return refuse(ncclInvalidArgument, "a buffer ends before its bytes do");
    comm->waiting = {false, mine, all, count, type, stream};
    comm->has_waiting = true;
    comm->asked = false;
    return ncclInProgress;
}

ncclResult_t ncclCommFinalize(ncclComm_t comm)
{
    struct simt_guard guard;
    if (simt_enter("ncclCommFinalize") != cudaSuccess)
        return ncclUnhandledCudaError;
    if (!known(comm) || comm->finalized)
        return refuse(ncclInvalidArgument, "a communicator is ended twice");
    comm->finalized = true;
    comm->asked = false;
    return ncclInProgress;
}

ncclResult_t ncclCommDestroy(ncclComm_t comm)
{
    struct simt_guard guard;
    if (!known(comm))
        return refuse(ncclInvalidArgument, "no communicator");
    if (!comm->finalized || !comm->asked)
        return refuse(ncclInvalidUsage, "a communicator that does not block is destroyed before it was finalized");
    forget(comm);
    return ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t comm)
{
    struct simt_guard guard;
    if (!known(comm))
        return refuse(ncclInvalidArgument, "no communicator");
    forget(comm);
    return ncclSuccess;
}

} /* extern "C" */
