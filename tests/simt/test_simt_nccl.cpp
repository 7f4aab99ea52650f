/* test_simt_nccl.cpp: the fake NCCL: what is gathered, what it refuses, who never came; and our own declarations against the real header. */
#include "simt_testing.h"

#include "nccl_api.h"

#include <chrono>
#include <cstddef>
#include <thread>

/* Values and layouts of NCCL's ABI; simt_nccl_header.cpp holds ours against the real header where there is one. */
static_assert(sizeof(ncclUniqueId) == 128 && sizeof(ncclConfig_t) == 48, "sizes");
static_assert(offsetof(ncclConfig_t, blocking) == 16 && offsetof(ncclConfig_t, netName) == 32 && offsetof(ncclConfig_t, splitShare) == 40,
              "configuration");

extern "C" bool simt_nccl_magic_is_real(void);

static void quiet()
{
    simt_settings.quiet = true;
    simt_settings.devices = 4;
    simt_settings.nccl_patience = 0.5;
}
TestSuite(simt_nccl, .init = quiet);

static ncclUniqueId new_id()
{
    ncclUniqueId id;
    cr_assert(ncclGetUniqueId(&id) == ncclSuccess, "an id");
    return id;
}

static ncclResult_t settled(ncclComm_t comm)
{
    ncclResult_t state = ncclInProgress;
    while (state == ncclInProgress && ncclCommGetAsyncError(comm, &state) == ncclSuccess)
        std::this_thread::sleep_for(std::chrono::microseconds(50));
    return state;
}

/* A rank on a device of its own; gathers `rounds` times, unless its rank is `absent`, which stops before the last. */
struct rank {
    int index, size, rounds, absent;
    size_t bytes;
    ncclUniqueId id;
    ncclResult_t result;
    bool right;

    void run()
    {
        ncclComm_t comm = nullptr;
        cudaStream_t stream = nullptr;
        ncclConfig_t config = JSC_NCCL_CONFIG;
        unsigned char *mine = nullptr, *all = nullptr;
        std::vector<unsigned char> host(bytes * (size_t)size);
        right = true;
        cudaSetDevice(index);
        cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
        cudaMalloc(&mine, bytes), cudaMalloc(&all, bytes * (size_t)size);
        result = ncclCommInitRankConfig(&comm, size, id, index, &config);
        if (result == ncclInProgress)
            result = settled(comm);
        for (int k = 0; k < rounds && result == ncclSuccess && !(index == absent && k == rounds - 1); k++) {
            cudaMemsetAsync(mine, 16 * k + index, bytes, stream);
            result = ncclAllGather(mine, all, bytes, ncclUint8, comm, stream);
            if (result == ncclInProgress)
                result = settled(comm);
            cudaStreamSynchronize(stream);
            cudaMemcpy(host.data(), all, host.size(), cudaMemcpyDeviceToHost);
            if (result == ncclSuccess)
                result = settled(comm);
            for (size_t i = 0; i < host.size(); i++)
                right = right && host[i] == 16 * k + (int)(i / bytes);
        }
        if (comm != nullptr)
            ncclCommAbort(comm);
        cudaFree(mine), cudaFree(all), cudaStreamDestroy(stream);
    }
};

static std::vector<rank> run(int size, int rounds, int absent, size_t odd_bytes)
{
    std::vector<rank> ranks((size_t)size);
    std::vector<std::thread> threads;
    const ncclUniqueId id = new_id();
    for (int r = 0; r < size; r++)
        ranks[(size_t)r] = rank{r, size, rounds, absent, r == 1 ? odd_bytes : 1000, id, ncclSuccess, false};
    for (rank &r : ranks)
        threads.emplace_back([&r] { r.run(); });
    for (std::thread &t : threads)
        t.join();
    return ranks;
}

Test(simt_nccl, every_rank_gets_all_in_the_order_of_ranks)
{
    for (int lazy = 0; lazy < 2; lazy++)
        for (int size = 1; size <= 4; size++) {
            simt_settings.lazy = lazy != 0;
            for (const rank &r : run(size, 5, -1, 1000))
                cr_expect(r.result == ncclSuccess && r.right, "rank %d of %d: %d", r.index, size, (int)r.result);
            expect_no_report("gathers");
        }
    cr_expect(simt_objects() == 0 && simt_allocations() == 0, "something is left");
}

Test(simt_nccl, case_53_a_rank_that_never_comes_is_named)
{
    const std::vector<rank> ranks = run(3, 4, 2, 1000);
    cr_expect(ranks[0].result == ncclRemoteError && ranks[1].result == ncclRemoteError, "%d %d", (int)ranks[0].result,
              (int)ranks[1].result);
    expect_report("collective 3: rank 2 never came", "a missing rank");
}

Test(simt_nccl, sizes_that_differ_are_told)
{
    const std::vector<rank> ranks = run(2, 2, -1, 999);
    cr_expect(ranks[0].result == ncclRemoteError, "%d", (int)ranks[0].result);
    expect_report("collective 0: rank 0 gathers 1000 bytes, rank 1 999", "other sizes");
}

Test(simt_nccl, our_declarations_are_the_headers)
{
    cr_expect(simt_nccl_magic_is_real(), "another magic number");
}

/* A clique of one, ready. */
static ncclComm_t alone()
{
    ncclComm_t comm = nullptr;
    ncclConfig_t config = JSC_NCCL_CONFIG;
    cr_assert(ncclCommInitRankConfig(&comm, 1, new_id(), 0, &config) == ncclInProgress, "a clique of one");
    cr_assert(settled(comm) == ncclSuccess, "ready");
    return comm;
}

Test(simt_nccl, what_the_library_refuses)
{
    const ncclUniqueId id = new_id();
    ncclComm_t comm = nullptr, other = nullptr;
    ncclConfig_t config = JSC_NCCL_CONFIG, raw = {};
    cr_expect(ncclCommInitRankConfig(&comm, 2, id, 2, &config) == ncclInvalidArgument, "rank 2 of 2");
    expect_report("outside the clique", "rank 2 of 2");
    cr_expect(ncclCommInitRankConfig(&comm, 2, id, 0, &raw) == ncclInvalidUsage, "no initializer");
    expect_report("initializer", "no initializer");
    cr_assert(ncclCommInitRankConfig(&comm, 2, id, 0, &config) == ncclInProgress, "first");
    cr_expect(ncclCommInitRankConfig(&other, 2, id, 1, &config) == ncclInvalidUsage, "two ranks on a device");
    expect_report("Duplicate GPU", "two ranks on a device");
    cr_expect(settled(comm) == ncclRemoteError, "nobody else comes");
    expect_report("rank 1 never joined", "a clique that is never whole");
    cr_expect(ncclCommAbort(comm) == ncclSuccess && ncclCommAbort(comm) == ncclInvalidArgument, "aborted twice");
    expect_report("no communicator", "aborted twice");
    cr_expect(simt_objects() == 0, "something is left");
}

Test(simt_nccl, order_of_calls)
{
    cudaStream_t stream = nullptr;
    char *own = nullptr, *foreign = nullptr, host[8];
    cudaSetDevice(1), cudaMalloc(&foreign, 8);
    cudaSetDevice(0), cudaMalloc(&own, 8), cudaStreamCreate(&stream);
    ncclComm_t comm = alone();
    cr_expect(ncclAllGather(own, foreign, 8, ncclUint8, comm, stream) == ncclInvalidArgument, "memory of another device");
    expect_report("no memory of the communicator's device", "memory of another device");
    cr_expect(ncclAllGather(own, host, 8, ncclUint8, comm, stream) == ncclInvalidArgument, "host memory");
    expect_report("no memory of the communicator's device", "host memory");
    cr_expect(ncclAllGather(own, own, 9, ncclUint8, comm, stream) == ncclInvalidArgument, "too many bytes");
    expect_report("ends before", "too many bytes");
    cr_expect(ncclAllGather(own, own, 8, ncclUint8, comm, stream) == ncclInProgress, "a gather");
    cr_expect(ncclAllGather(own, own, 8, ncclUint8, comm, stream) == ncclInvalidUsage, "a second one before the first was taken");
    expect_report("before its last call was waited for", "a second one before the first was taken");
    cr_expect(settled(comm) == ncclSuccess, "taken");
    cr_expect(ncclCommDestroy(comm) == ncclInvalidUsage, "not finalized");
    expect_report("before it was finalized", "not finalized");
    cr_expect(ncclCommFinalize(comm) == ncclInProgress && settled(comm) == ncclSuccess && ncclCommDestroy(comm) == ncclSuccess, "the end");
    cudaFree(own), cudaFree(foreign), cudaStreamDestroy(stream);
    cr_expect(simt_objects() == 0 && simt_allocations() == 0, "something is left");
}

/* The host that copies before the gather was taken reads what was there before. */
Test(simt_nccl, a_gather_not_waited_for_is_not_in_the_stream)
{
    cudaStream_t stream = nullptr;
    unsigned char *mine = nullptr, *all = nullptr, host = 0;
    cudaMalloc(&mine, 1), cudaMalloc(&all, 1), cudaStreamCreate(&stream);
    cudaMemset(mine, 5, 1), cudaMemset(all, 1, 1);
    ncclComm_t comm = alone();
    cr_expect(ncclAllGather(mine, all, 1, ncclUint8, comm, stream) == ncclInProgress, "a gather");
    cudaStreamSynchronize(stream), cudaMemcpy(&host, all, 1, cudaMemcpyDeviceToHost);
    cr_expect(host == 1, "%d", host);
    cr_expect(settled(comm) == ncclSuccess, "taken");
    cudaStreamSynchronize(stream), cudaMemcpy(&host, all, 1, cudaMemcpyDeviceToHost);
    cr_expect(host == 5, "%d", host);
    ncclCommAbort(comm), cudaFree(mine), cudaFree(all), cudaStreamDestroy(stream);
}

/* Devices have memory of their own. */
Test(simt_nccl, memory_is_a_devices_own)
{
    size_t left = 0, all = 0;
    char *p = nullptr;
    simt_settings.memory_limit = 1 << 20;
    cudaSetDevice(2);
    cr_assert(cudaMalloc(&p, 1 << 19) == cudaSuccess, "half of it");
    cudaMemGetInfo(&left, &all);
    cr_expect(left == all / 2, "%zu of %zu", left, all);
    cudaSetDevice(3);
    cudaMemGetInfo(&left, &all);
    cr_expect(left == all, "%zu of %zu", left, all);
    cudaFree(p);
}
