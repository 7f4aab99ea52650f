/* test_simt_runtime.cpp: the fake runtime: order of streams, events, graphs, what it refuses, failures on demand, nothing left over. */
#include "simt_testing.h"

JSC_KERNEL(add_one)(float *x, int n)
{
    const int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < n)
        x[i] += 1.0f;
}
JSC_KERNEL(scale)(float *x, int n, float by)
{
    const int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < n)
        x[i] *= by;
}

static void quiet()
{
    simt_settings.quiet = true;
}
TestSuite(simt_runtime, .init = quiet);

Test(simt_runtime, work_of_a_stream_is_done_in_order_when_it_is_waited_for)
{
    for (int lazy = 0; lazy < 2; lazy++) {
        simt_settings.lazy = lazy;
        cudaStream_t stream;
        cr_assert(cudaStreamCreate(&stream) == cudaSuccess, "stream");
        const device_array<float> x(64);
        const unsigned long long before = simt_launches();
        cudaMemsetAsync(x.data, 0, 64 * sizeof(float), stream);
        JSC_LAUNCH(add_one, 1, 64, 0, stream, x.data, 64);
        JSC_LAUNCH(scale, 1, 64, 0, stream, x.data, 64, 3);
        cr_expect(simt_launches() - before == (lazy ? 0u : 2u), "lazy %d: %llu kernels ran at the call", lazy, simt_launches() - before);
        cr_expect(cudaStreamQuery(stream) == (lazy ? cudaErrorNotReady : cudaSuccess), "query");
        cr_expect(cudaStreamSynchronize(stream) == cudaSuccess && cudaStreamQuery(stream) == cudaSuccess, "done");
        cr_expect(x.get()[63] == 3.0f, "lazy %d: %g", lazy, (double)x.get()[63]);
        cudaStreamDestroy(stream);
    }
}

/* Two streams: without the event the second one reads what the first has not written yet. */
static float across_streams(bool with_event)
{
    cudaStream_t first, second;
    cudaEvent_t event;
    cr_assert(cudaStreamCreate(&first) == cudaSuccess && cudaStreamCreate(&second) == cudaSuccess && cudaEventCreate(&event) == cudaSuccess,
              "objects");
    float result;
    {
        const device_array<float> x(64);
        float *pinned;
        cudaMallocHost((void **)&pinned, sizeof *pinned);
        cudaMemsetAsync(x.data, 0, 64 * sizeof(float), first);
        JSC_LAUNCH(add_one, 1, 64, 0, first, x.data, 64);
        cudaEventRecord(event, first);
        if (with_event)
            cudaStreamWaitEvent(second, event, 0);
        cudaMemcpyAsync(pinned, x.data, sizeof *pinned, cudaMemcpyDeviceToHost, second);
        cudaStreamSynchronize(second);
        result = *pinned;
        cudaFreeHost(pinned);
    }
    cudaEventDestroy(event);
    cudaStreamDestroy(first);
    cudaStreamDestroy(second);
    return result;
}
Test(simt_runtime, a_missing_event_between_streams_shows)
{
    simt_settings.lazy = true;
    cr_expect(across_streams(true) == 1.0f, "with the event");
    cr_expect(!(across_streams(false) == 1.0f), "planted: without the event");
    cr_expect(simt_objects() == 0 && simt_allocations() == 0, "%zu objects, %zu blocks are left", simt_objects(), simt_allocations());
}

Test(simt_runtime, a_graph_replays_what_was_recorded)
{
    cudaStream_t stream, branch;
    cudaEvent_t fork, join;
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    cudaStreamCreate(&stream), cudaStreamCreate(&branch), cudaEventCreate(&fork), cudaEventCreate(&join);
    {
        const device_array<float> x(64), y(64);
        cudaMemset(x.data, 0, 64 * sizeof(float));
        cr_assert(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal) == cudaSuccess, "begin");
        JSC_LAUNCH(add_one, 1, 64, 0, stream, x.data, 64);
        cudaEventRecord(fork, stream);
        cudaStreamWaitEvent(branch, fork, 0);
        cudaMemcpyAsync(y.data, x.data, 64 * sizeof(float), cudaMemcpyDeviceToDevice, branch);
        cudaEventRecord(join, branch);
        cudaStreamWaitEvent(stream, join, 0);
        JSC_LAUNCH(scale, 1, 64, 0, stream, x.data, 64, 2);
        cr_assert(cudaStreamEndCapture(stream, &graph) == cudaSuccess, "end");
        size_t nodes = 0;
        cr_expect(cudaGraphGetNodes(graph, nullptr, &nodes) == cudaSuccess && nodes == 3, "%zu nodes", nodes);
        cr_expect(x.get()[0] == 0.0f, "recording runs nothing");
        cr_assert(cudaGraphInstantiate(&exec, graph, 0) == cudaSuccess, "instantiate");
        for (int i = 0; i < 3; i++)
            cr_expect(cudaGraphLaunch(exec, stream) == cudaSuccess, "launch");
        cudaStreamSynchronize(stream);
        cr_expect(x.get()[7] == 14.0f && y.get()[7] == 7.0f, "%g %g", (double)x.get()[7], (double)y.get()[7]);
    }
    cudaGraphExecDestroy(exec), cudaGraphDestroy(graph), cudaEventDestroy(fork), cudaEventDestroy(join), cudaStreamDestroy(stream),
        cudaStreamDestroy(branch);
    cr_expect(simt_objects() == 0 && simt_allocations() == 0, "all is gone");
}

Test(simt_runtime, what_a_recording_refuses)
{
    cudaStream_t stream, branch;
    cudaEvent_t fork;
    cudaGraph_t graph;
    float host[64], *more = nullptr;
    const device_array<float> x(64);
    cudaStreamCreate(&stream), cudaStreamCreate(&branch), cudaEventCreate(&fork);
    cr_expect(cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeThreadLocal) != cudaSuccess, "the NULL stream");
    cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
    cr_expect(cudaMalloc((void **)&more, 4) == cudaErrorStreamCaptureUnsupported, "malloc");
    cr_expect(cudaMemcpyAsync(host, x.data, sizeof host, cudaMemcpyDeviceToHost, stream) == cudaErrorStreamCaptureUnsupported,
              "a pageable copy");
    cr_expect(cudaStreamQuery(stream) == cudaErrorStreamCaptureUnsupported, "query");
    cr_expect(cudaStreamSynchronize(stream) == cudaErrorStreamCaptureUnsupported, "synchronise");
    cr_expect(cudaStreamEndCapture(stream, &graph) == cudaErrorStreamCaptureInvalidated && !graph, "and the recording is spoiled");
    cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
    cudaEventRecord(fork, stream);
    cudaStreamWaitEvent(branch, fork, 0);
    JSC_LAUNCH(add_one, 1, 64, 0, branch, x.data, 64);
    cr_expect(cudaStreamEndCapture(stream, &graph) == cudaErrorStreamCaptureUnjoined, "a branch that does not come back");
    cudaGetLastError();
    cudaEventDestroy(fork), cudaStreamDestroy(stream), cudaStreamDestroy(branch);
}

Test(simt_runtime, copies_are_checked_for_range_and_direction)
{
    std::vector<float> host(65);
    const device_array<float> x(64);
    cr_expect(cudaMemcpy(x.data, host.data(), 65 * sizeof(float), cudaMemcpyHostToDevice) == cudaErrorInvalidValue, "too long");
    expect_report("where an allocation ends after 256", "too long");
    cr_expect(cudaMemcpy(host.data(), x.data, 4, cudaMemcpyHostToDevice) == cudaErrorInvalidValue, "wrong direction");
    expect_report("is no device memory", "wrong direction");
    cr_expect(cudaMemset(host.data(), 0, 4) == cudaErrorInvalidValue, "a fill of host memory");
    expect_report("is no device memory", "fill");
    cr_expect(cudaMemcpy2DAsync(x.data, 32, host.data(), 16, 16, 4, cudaMemcpyHostToDevice, 0) == cudaSuccess, "%s", simt_message());
    cr_expect(cudaMemcpy2DAsync(x.data, 32, host.data(), 16, 16, 9, cudaMemcpyHostToDevice, 0) == cudaErrorInvalidValue, "rows too many");
    simt_reset();
}

Test(simt_runtime, memory_begins_as_nan_and_has_a_limit)
{
    simt_settings.memory_limit = 1 << 20;
    size_t left, total;
    float *p = nullptr, *q = nullptr;
    cr_assert(cudaMalloc((void **)&p, 1 << 19) == cudaSuccess, "half");
    cudaMemGetInfo(&left, &total);
    cr_expect(left == 1 << 19 && total == 1 << 20, "%zu of %zu", left, total);
    cr_expect(cudaMalloc((void **)&q, (1 << 19) + 1) == cudaErrorMemoryAllocation && cudaGetLastError() == cudaErrorMemoryAllocation,
              "too much");
    cr_expect(cudaGetLastError() == cudaSuccess, "asked once, forgotten");
    float x;
    cudaMemcpy(&x, p, sizeof x, cudaMemcpyDeviceToHost);
    cr_expect(x != x, "0xFF");
    cr_expect(cudaFree((char *)p + 4) == cudaErrorInvalidValue && cudaFree(nullptr) == cudaSuccess && cudaFree(p) == cudaSuccess, "free");
    cr_expect(simt_memory_used() == 0, "%zu bytes are left", simt_memory_used());
}

Test(simt_runtime, the_kth_call_fails)
{
    const device_array<float> x(64);
    for (long k = 1; k <= 3; k++) {
        simt_settings.fail_call = k;
        const cudaError_t errors[3] = {cudaMemset(x.data, 0, 4), JSC_LAUNCH(add_one, 1, 64, 0, 0, x.data, 64), cudaDeviceSynchronize()};
        for (long i = 0; i < 3; i++)
            cr_expect((errors[i] != cudaSuccess) == (i == k - 1), "call %ld with k = %ld: %s", i, k, cudaGetErrorString(errors[i]));
    }
}

Test(simt_runtime, launches_that_no_device_takes)
{
    const device_array<float> x(64);
    cr_expect(JSC_LAUNCH(add_one, 0, 64, 0, 0, x.data, 64) == cudaErrorInvalidConfiguration, "an empty grid");
    cr_expect(JSC_LAUNCH(add_one, dim3(1, 65536), 64, 0, 0, x.data, 64) == cudaErrorInvalidConfiguration, "a grid too wide");
    cr_expect(JSC_LAUNCH(add_one, 1, 1025, 0, 0, x.data, 64) == cudaErrorInvalidConfiguration, "a block too large");
    cr_expect(JSC_LAUNCH(add_one, 1, 64, 232449, 0, x.data, 64) == cudaErrorInvalidValue, "too much shared memory");
    simt_settings.shared_limit = 101376;
    cr_expect(JSC_LAUNCH(add_one, 1, 64, 110000, 0, x.data, 64) == cudaErrorInvalidValue, "too much for a smaller card");
    cr_expect(strcmp(cudaGetErrorName(cudaErrorInvalidConfiguration), "cudaErrorInvalidConfiguration") == 0, "names");
}
