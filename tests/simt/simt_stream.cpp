/* simt_stream.cpp: streams as queues of closures, run at the call or (lazy) at a synchronisation; events; recording and replay of graphs.
 *
 * Lazy, a synchronisation runs only what its stream must have done: its own queue and what that waits for. A missing event or
 * synchronisation so shows as 0xFF. The NULL stream waits for all others. */
#include "simt_engine.h"

#include <chrono>
#include <deque>
#include <set>
#include <thread>

struct CUevent_st {
    cudaStream_t stream;         /* where it was last recorded; NULL: nowhere, or in the NULL stream */
    unsigned long long position; /* how many tasks of that stream it stands for */
    bool recorded, in_graph;
    unsigned long long graph_position;
    struct CUgraph_st *graph;
    std::chrono::steady_clock::time_point time;
};
struct CUgraph_st {
    std::vector<std::function<cudaError_t()>> nodes;
    std::set<cudaStream_t> unjoined; /* streams with nodes that the first stream has not waited for */
};
struct CUgraphExec_st {
    std::vector<std::function<cudaError_t()>> nodes;
};
struct CUstream_st {
    std::deque<std::function<cudaError_t()>> queue;
    unsigned long long submitted, done;
    struct CUgraph_st *graph; /* being recorded */
    bool origin, spoiled;
    bool held; /* a collective that not every rank has joined is at work */
    int device;
};

static struct CUstream_st null_stream;
static std::set<cudaStream_t> streams;
static thread_local int captures_here;
size_t simt_live_objects;

static struct CUstream_st *stream_of(cudaStream_t stream)
{
    return stream ? stream : &null_stream;
}
static bool valid(cudaStream_t stream)
{
    return !stream || streams.count(stream);
}

bool simt_capturing(cudaStream_t stream)
{
    return stream && stream->graph;
}
bool simt_capturing_here()
{
    return captures_here > 0;
}

/* Runs tasks of the stream until `until` of them are done. */
static cudaError_t run_until(struct CUstream_st *stream, unsigned long long until)
{
    while (stream->done < until && !stream->queue.empty() && !stream->held) {
        const std::function<cudaError_t()> task = stream->queue.front();
        stream->queue.pop_front();
        stream->done++; /* before it runs: a task may lead back here */
        const cudaError_t error = simt_lost() ? cudaErrorLaunchFailure : task();
        if (error == cudaErrorLaunchFailure)
            simt_set_lost(true);
        if (error != cudaSuccess)
            return error;
    }
    return cudaSuccess;
}

cudaError_t simt_drain(cudaStream_t stream)
{
    if (stream) {
        const cudaError_t error = run_until(stream, stream->submitted);
        if (error == cudaSuccess && stream->held) {
            simt_record(
                "something waits for a stream with an unfinished collective otherwise than by cudaStreamSynchronize or cudaStreamQuery");
            return cudaErrorNotSupported;
        }
        return error;
    }
    for (cudaStream_t each : streams) {
        const cudaError_t error = run_until(each, each->submitted);
        if (error != cudaSuccess)
            return error;
    }
    return run_until(&null_stream, null_stream.submitted);
}

void simt_hold(cudaStream_t stream, bool held)
{
    if (!streams.count(stream))
        return;
    stream->held = held;
    if (!held && !simt_settings.lazy)
        run_until(stream, stream->submitted);
}

int simt_stream_device(cudaStream_t stream)
{
    return streams.count(stream) ? stream->device : -1;
}

void simt_drop_queues()
{
    for (cudaStream_t each : streams)
        each->queue.clear(), each->done = each->submitted, each->held = false;
    null_stream.queue.clear(), null_stream.done = null_stream.submitted;
}

cudaError_t simt_submit(cudaStream_t handle, std::function<cudaError_t()> run)
{
    if (!valid(handle))
        return cudaErrorInvalidResourceHandle;
    struct CUstream_st *stream = stream_of(handle);
    if (stream->graph) {
        stream->graph->nodes.push_back(run);
        if (!stream->origin)
            stream->graph->unjoined.insert(handle);
        return cudaSuccess;
    }
    if (!handle) {
        const cudaError_t error = simt_drain(nullptr);
        if (error != cudaSuccess)
            return error;
    }
    stream->queue.push_back(run);
    stream->submitted++;
    return simt_settings.lazy ? cudaSuccess : run_until(stream, stream->submitted);
}

/* A call that waits; inside a recording it is refused and spoils it. */
static cudaError_t wait_for(cudaStream_t stream, const char *function)
{
    cudaError_t error = simt_enter(function);
    if (error != cudaSuccess)
        return error;
    if (!valid(stream))
        return cudaErrorInvalidResourceHandle;
    if (simt_capturing(stream) || (!stream && simt_capturing_here())) {
        if (stream)
            stream->spoiled = true;
        return cudaErrorStreamCaptureUnsupported;
    }
    return simt_drain(stream);
}

extern "C" {

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned)
{
    struct simt_guard guard;
    const cudaError_t error = simt_enter("cudaStreamCreate");
    if (error != cudaSuccess)
        return simt_leave(error);
    *out = new CUstream_st();
    (*out)->device = simt_device_now();
    streams.insert(*out);
    simt_live_objects++;
    return cudaSuccess;
}
cudaError_t cudaStreamCreate(cudaStream_t *out)
{
    return cudaStreamCreateWithFlags(out, 0);
}
cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    struct simt_guard guard;
    if (!stream || !streams.count(stream))
        return simt_leave(cudaErrorInvalidResourceHandle);
    run_until(stream, stream->submitted); /* what was queued is still done */
    streams.erase(stream);
    delete stream;
    simt_live_objects--;
    return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    for (;;) {
        {
            struct simt_guard guard;
            if (stream && valid(stream) && !stream->graph)
                run_until(stream, stream->submitted);
            if (!stream || !valid(stream) || !stream->held)
                return simt_leave(wait_for(stream, "cudaStreamSynchronize"));
            simt_nccl_tick();
        }
        std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
}
cudaError_t cudaDeviceSynchronize(void)
{
    struct simt_guard guard;
    return simt_leave(wait_for(nullptr, "cudaDeviceSynchronize"));
}
/* Not ready until it was asked once a task. */
cudaError_t cudaStreamQuery(cudaStream_t stream)
{
    struct simt_guard guard;
    cudaError_t error = simt_enter("cudaStreamQuery");
    if (error == cudaSuccess && simt_capturing(stream))
        error = cudaErrorStreamCaptureUnsupported;
    if (error != cudaSuccess)
        return simt_leave(error);
    struct CUstream_st *queue = stream_of(stream);
    simt_nccl_tick();
    if (queue->held)
        return cudaErrorNotReady;
    if (queue->queue.empty())
        return cudaSuccess;
    error = run_until(queue, queue->done + 1);
    return error != cudaSuccess ? simt_leave(error) : cudaErrorNotReady;
}

/* ---- events ------------------------------------------------------------------------------------------------------------------------ */

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned)
{
    struct simt_guard guard;
    const cudaError_t error = simt_enter("cudaEventCreate");
    if (error != cudaSuccess)
        return simt_leave(error);
    *out = new CUevent_st();
    simt_live_objects++;
    return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t *out)
{
    return cudaEventCreateWithFlags(out, 0);
}
cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    struct simt_guard guard;
    if (!event)
        return simt_leave(cudaErrorInvalidResourceHandle);
    simt_drain(nullptr); /* queued tasks may note their time in it */
    delete event;
    simt_live_objects--;
    return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    struct simt_guard guard;
    cudaError_t error = simt_enter("cudaEventRecord");
    if (error == cudaSuccess && (!event || !valid(stream)))
        error = cudaErrorInvalidResourceHandle;
    if (error != cudaSuccess)
        return simt_leave(error);
    event->recorded = true;
    event->stream = stream;
    event->graph = stream_of(stream)->graph;
    event->in_graph = event->graph != nullptr;
    if (event->in_graph)
        return cudaSuccess;
    error = simt_submit(stream, [event] {
        event->time = std::chrono::steady_clock::now();
        return cudaSuccess;
    });
    event->position = stream_of(stream)->submitted;
    return simt_leave(error);
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned)
{
    struct simt_guard guard;
    cudaError_t error = simt_enter("cudaStreamWaitEvent");
    if (error == cudaSuccess && (!event || !valid(stream)))
        error = cudaErrorInvalidResourceHandle;
    if (error != cudaSuccess || !event->recorded)
        return simt_leave(error);
    struct CUstream_st *waiting = stream_of(stream);
    if (event->in_graph) { /* the stream joins the recording, or the recording's first stream collects a branch */
        if (!waiting->graph)
            waiting->graph = event->graph;
        else if (waiting->origin)
            event->graph->unjoined.erase(event->stream);
        return cudaSuccess;
    }
    struct CUstream_st *other = stream_of(event->stream);
    const unsigned long long position = event->position;
    if (waiting->graph)
        return simt_leave(cudaErrorStreamCaptureIsolation);
    return simt_leave(simt_submit(stream, [other, position] { return run_until(other, position); }));
}
cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    struct simt_guard guard;
    cudaError_t error = simt_enter("cudaEventSynchronize");
    if (error == cudaSuccess && event->in_graph)
        error = cudaErrorCapturedEvent;
    return simt_leave(error == cudaSuccess && event->recorded ? run_until(stream_of(event->stream), event->position) : error);
}
cudaError_t cudaEventQuery(cudaEvent_t event)
{
    struct simt_guard guard;
    cudaError_t error = simt_enter("cudaEventQuery");
    if (error == cudaSuccess && event->in_graph)
        error = cudaErrorCapturedEvent;
    if (error != cudaSuccess)
        return simt_leave(error);
    struct CUstream_st *stream = stream_of(event->stream);
    if (!event->recorded || stream->done >= event->position)
        return cudaSuccess;
    error = run_until(stream, stream->done + 1);
    return error != cudaSuccess ? simt_leave(error) : cudaErrorNotReady;
}
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t first, cudaEvent_t second)
{
    struct simt_guard guard;
    cudaError_t error = simt_enter("cudaEventElapsedTime");
    if (error == cudaSuccess && (!first || !second || !first->recorded || !second->recorded))
        error = cudaErrorInvalidResourceHandle;
    if (error != cudaSuccess)
        return simt_leave(error);
    if (stream_of(first->stream)->done < first->position || stream_of(second->stream)->done < second->position)
        return cudaErrorNotReady;
    *ms = std::chrono::duration<float, std::milli>(second->time - first->time).count();
    return cudaSuccess;
}

/* ---- graphs ------------------------------------------------------------------------------------------------------------------------ */

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode)
{
    struct simt_guard guard;
    cudaError_t error = simt_enter("cudaStreamBeginCapture");
    if (error == cudaSuccess && (!stream || !valid(stream)))
        error = cudaErrorStreamCaptureUnsupported; /* the NULL stream cannot be recorded */
    if (error == cudaSuccess && stream->graph)
        error = cudaErrorIllegalState;
    if (error != cudaSuccess)
        return simt_leave(error);
    stream->graph = new CUgraph_st();
    stream->origin = true;
    stream->spoiled = false;
    captures_here++;
    simt_live_objects++;
    return cudaSuccess;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, enum cudaStreamCaptureStatus *status)
{
    struct simt_guard guard;
    *status = !simt_capturing(stream) ? cudaStreamCaptureStatusNone
              : stream->spoiled       ? cudaStreamCaptureStatusInvalidated
                                      : cudaStreamCaptureStatusActive;
    return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *out)
{
    struct simt_guard guard;
    *out = nullptr;
    if (!simt_capturing(stream) || !stream->origin)
        return simt_leave(cudaErrorIllegalState);
    struct CUgraph_st *graph = stream->graph;
    const cudaError_t error = stream->spoiled           ? cudaErrorStreamCaptureInvalidated
                              : graph->unjoined.empty() ? cudaSuccess
                                                        : cudaErrorStreamCaptureUnjoined;
    for (cudaStream_t each : streams)
        if (each->graph == graph)
            each->graph = nullptr;
    stream->origin = false;
    captures_here--;
    if (error != cudaSuccess) {
        delete graph;
        simt_live_objects--;
        return simt_leave(error);
    }
    *out = graph;
    return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *out, cudaGraph_t graph, unsigned long long)
{
    struct simt_guard guard;
    const cudaError_t error = !graph ? cudaErrorInvalidValue : simt_enter("cudaGraphInstantiate");
    if (error != cudaSuccess)
        return simt_leave(error);
    *out = new CUgraphExec_st{graph->nodes};
    simt_live_objects++;
    return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream)
{
    struct simt_guard guard;
    const cudaError_t error = !exec ? cudaErrorInvalidValue : simt_enter("cudaGraphLaunch");
    if (error != cudaSuccess)
        return simt_leave(error);
    const auto nodes = exec->nodes; /* the launch outlives the object */
    return simt_leave(simt_submit(stream, [nodes] {
        for (const auto &node : nodes) {
            const cudaError_t failed = node();
            if (failed != cudaSuccess)
                return failed;
        }
        return cudaSuccess;
    }));
}
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *nodes, size_t *n)
{
    struct simt_guard guard;
    if (!graph || nodes)
        return simt_leave(cudaErrorNotSupported); /* only the number */
    *n = graph->nodes.size();
    return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    struct simt_guard guard;
    delete graph;
    simt_live_objects -= graph != nullptr;
    return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    struct simt_guard guard;
    delete exec;
    simt_live_objects -= exec != nullptr;
    return cudaSuccess;
}

} /* extern "C" */
