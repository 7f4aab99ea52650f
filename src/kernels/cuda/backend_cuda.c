/* backend_cuda.c: an NVIDIA GPU as a device: what it must have, its streams, memory and errors; the operation table.
 *
 * A stream has a queue of its own on the device, so entries of different streams (threads) run side by side; an entry returns when it is
 * queued. Device memory is the plain kind of cudaMalloc: an arena, the weights and a stream's few blocks live long. */
#include "blas_cuda.h"
#include "cuda_internal.h"

#include <sched.h>
#include <stdio.h>

#define MIN_CAPABILITY 80 /* 8.0: bf16 products, cp.async */

/* ---- errors ---------------------------------------------------------------------------------------------------------------------- */

/* After these the process has lost the device: every later call fails the same way. */
static bool is_final(cudaError_t result)
{
    switch (result) {
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchFailure:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorUnknown:
        return true;
    default:
        return false;
    }
}

jsc_status cuda_check(cudaError_t result, const char *what, jsc_error *error)
{
    if (result == cudaSuccess)
        return JSC_OK;
    (void)cudaGetLastError(); /* the runtime keeps it, and the next launch would report it as its own */
    if (result == cudaErrorMemoryAllocation)
        return status_set(error, JSC_E_MEMORY,
                          "cuda: %s: out of memory: ask for less (shorter prompt, smaller --memory) or use --device cpu", what);
    return status_set(error, JSC_E_DEVICE, "cuda: %s: %s; %s", what, cudaGetErrorString(result),
                      is_final(result) ? "this process can use the GPU no more: start it again, or with --device cpu"
                                       : "--device cpu does without the GPU");
}

jsc_status cuda_enter(const struct jsc_stream *stream, jsc_error *error)
{
    return cuda_check(cudaSetDevice(cuda_device_of(stream)->index), "choosing the device", error);
}

/* ---- memory ---------------------------------------------------------------------------------------------------------------------- */

static jsc_status enter_device(const struct jsc_device *device, jsc_error *error)
{
    return cuda_check(cudaSetDevice(((const struct cuda_device *)device)->index), "choosing the device", error);
}

static size_t memory_left_cuda(struct jsc_device *device)
{
    size_t left = 0, all = 0;
    if (enter_device(device, NULL) != JSC_OK || cuda_check(cudaMemGetInfo(&left, &all), "free memory", NULL) != JSC_OK)
        return 0;
    return left + pool_idle_bytes(((struct cuda_device *)device)->pool);
}

static jsc_status alloc_from(struct jsc_device *device, size_t bytes, bool keep, dptr *out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    void *memory = NULL;

    TRY(enter_device(device, error));
    const cudaError_t result = pool_alloc(((struct cuda_device *)device)->pool, bytes, keep, &memory);
    if (result == cudaErrorMemoryAllocation) {
        (void)cudaGetLastError();
        FAIL(
            JSC_E_MEMORY,
            "cuda:%d: no memory for %zu bytes, %zu are free: ask for less (shorter prompt, smaller --memory), end other programs on it, or "
            "use --device cpu",
            ((const struct cuda_device *)device)->index, bytes, memory_left_cuda(device));
    }
    TRY(cuda_check(result, "memory", error));
    *out = memory;
done:
    return status;
}

jsc_status alloc_cuda(struct jsc_device *device, size_t bytes, dptr *out, jsc_error *error)
{
    return alloc_from(device, bytes, true, out, error);
}

jsc_status alloc_lasting(struct jsc_device *device, size_t bytes, dptr *out, jsc_error *error)
{
    return alloc_from(device, bytes, false, out, error);
}

void free_cuda(struct jsc_device *device, dptr buffer)
{
    (void)enter_device(device, NULL);
    (void)cuda_check(pool_release(((struct cuda_device *)device)->pool, buffer), "memory", NULL);
}

jsc_status cuda_scratch(struct jsc_stream *stream, enum cuda_scratch which, size_t bytes, void **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct cuda_stream *s = (struct cuda_stream *)stream;

    if (s->scratch[which] == NULL || bytes > s->scratch_bytes[which]) {
        TRY(record_refuse(stream, "more scratch", error));
        TRY(cuda_check(cudaStreamSynchronize(s->handle), "scratch", error)); /* what is queued may use the old one */
        record_forget(stream);
        free_cuda(stream->device, s->scratch[which]);
        s->scratch[which] = NULL;
        s->scratch_bytes[which] = 0;
        TRY(alloc_cuda(stream->device, bytes, &s->scratch[which], error));
        s->scratch_bytes[which] = bytes;
    }
    *out = s->scratch[which];
done:
    return status;
}

/* ---- device ---------------------------------------------------------------------------------------------------------------------- */

static void stream_end(struct cuda_stream *s);

static void device_close_cuda(struct jsc_device *device)
{
    struct cuda_device *d = (struct cuda_device *)device;
    if (d != NULL) {
        for (struct cuda_stream *s = NULL; d->pool != NULL && (s = pool_stream(d->pool)) != NULL;)
            stream_end(s);
        (void)enter_device(device, NULL);
        pool_free(d->pool);
        blas_close(d->blas);
    }
    mem_free(d);
}

/* Why there is no device at all, in words that say what to install. */
static jsc_status no_device(cudaError_t result, jsc_error *error)
{
    int driver = 0, runtime = 0;

    (void)cudaGetLastError();
    (void)cudaDriverGetVersion(&driver);
    (void)cudaRuntimeGetVersion(&runtime);
    if (result == cudaErrorInsufficientDriver && driver == 0)
        return status_set(error, JSC_E_DEVICE, "there is no NVIDIA driver");
    if (result == cudaErrorInsufficientDriver)
        return status_set(error, JSC_E_DEVICE, "the NVIDIA driver is for CUDA %d.%d, this build needs %d.%d: update the driver",
                          driver / 1000, driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
    if (result == cudaErrorNoDevice || result == cudaSuccess)
        return status_set(error, JSC_E_DEVICE, "there is no NVIDIA GPU that this process may see (CUDA_VISIBLE_DEVICES hides them)");
    return cuda_check(result, "counting devices", error);
}

static int usable_processors(void)
{
    cpu_set_t set;
    const int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return n > 0 ? n : 1;
}

/* Reads the properties of device d->index; refuses what the kernels cannot run on. */
static jsc_status inspect(struct cuda_device *d, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct cudaDeviceProp card;
    char blas[48];
    int count = 0;

    const cudaError_t result = cudaGetDeviceCount(&count);
    if (result != cudaSuccess || count <= 0) {
        status = no_device(result, error);
        goto done;
    }
    if (d->index >= count)
        FAIL(JSC_E_DEVICE, "there is no cuda:%d: this process sees %d GPU%s, the first is cuda:0", d->index, count, count == 1 ? "" : "s");
    TRY(cuda_check(cudaGetDeviceProperties(&card, d->index), "properties", error));
    d->capability = 10 * card.major + card.minor;
    d->base.own_memory = card.totalGlobalMem;
    pool_limit(d->pool, card.totalGlobalMem);
    d->multiprocessors = card.multiProcessorCount;
    d->shared_limit = card.sharedMemPerBlockOptin;
    if (d->capability < MIN_CAPABILITY)
        FAIL(JSC_E_DEVICE, "cuda:%d (%s) has compute capability %d.%d, the kernels need 8.0 (Ampere, 2020)", d->index, card.name,
             card.major, card.minor);
    TRY(enter_device(&d->base, error));
    TRY(blas_open(&d->blas, error));
    blas_describe(d->blas, blas, sizeof blas);
    (void)snprintf(d->base.description, sizeof d->base.description, "cuda:%d (%.36s, %u GiB, %.20s)", d->index, card.name,
                   (unsigned)(card.totalGlobalMem >> 30), blas);
done:
    return status;
}

static jsc_status device_open_cuda(const struct device_options *options, struct jsc_device **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct cuda_device *d = NULL;
    const char *tf32 = env_get(ENV_TF32);

    TRY(mem_new(&d, 1, error));
    TRY(pool_make(&d->pool, error));
    d->base.ops = &ops_cuda;
    d->base.precision = options->precision == JSC_PRECISION_FAST ? JSC_PRECISION_FAST : JSC_PRECISION_STRICT;
    d->base.threads = options->threads > 0 ? options->threads : usable_processors();
    d->index = options->index;
    if (tf32 != NULL && tf32[0] == '1')
        FAIL(JSC_E_DEVICE, "%s=1 would round float32 products to 10 bits behind our back: unset it", env_name(ENV_TF32));
    TRY(inspect(d, error));
    *out = &d->base;
    d = NULL;
done:
    device_close_cuda((struct jsc_device *)d);
    return status;
}

/* ---- stream ---------------------------------------------------------------------------------------------------------------------- */

/* A device that is lost too: what is the host's is freed all the same. */
static void stream_end(struct cuda_stream *s)
{
    if (s != NULL) {
        (void)cuda_enter(&s->base, NULL);
        if (s->handle != NULL)
            (void)cuda_check(cudaStreamSynchronize(s->handle), "stream", NULL);
        if (s->gemms != NULL)
            gemm_cache_free(s->gemms);
        recordings_free(s->recordings);
        ring_close(s);
        for (int i = 0; i < CUDA_SCRATCH_COUNT; i++)
            free_cuda(s->base.device, s->scratch[i]);
        free_cuda(s->base.device, s->workspace);
        if (s->handle != NULL)
            (void)cuda_check(cudaStreamDestroy(s->handle), "stream", NULL);
    }
    mem_free(s);
}

/* A stream in order goes to the next request. */
static void stream_close_cuda(struct jsc_stream *stream)
{
    struct cuda_stream *s = (struct cuda_stream *)stream;
    if (s == NULL)
        return;
    const bool sound = cuda_enter(stream, NULL) == JSC_OK && cuda_check(cudaStreamSynchronize(s->handle), "stream", NULL) == JSC_OK;
    if (!sound || !pool_keep_stream(((struct cuda_device *)stream->device)->pool, s))
        stream_end(s);
}

static jsc_status stream_open_cuda(struct jsc_device *device, struct jsc_stream **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct cuda_stream *s = pool_stream(((struct cuda_device *)device)->pool);

    if (s != NULL) {
        *out = &s->base;
        return JSC_OK;
    }
    TRY(mem_new(&s, 1, error));
    s->base.ops = device->ops;
    s->base.device = device;
    s->base.one_type = device->precision == JSC_PRECISION_STRICT;
    s->base.size_of[ROLE_REAL] = s->base.size_of[ROLE_ACT] = sizeof(float);
    s->base.size_of[ROLE_COT] = s->base.one_type ? sizeof(float) : sizeof(uint16_t);
    TRY(cuda_enter(&s->base, error));
    TRY(cuda_check(cudaStreamCreateWithFlags(&s->handle, cudaStreamNonBlocking), "stream", error));
    TRY(alloc_cuda(device, CUDA_WORKSPACE_BYTES, &s->workspace, error));
    TRY(ring_open(s, error));
    TRY(gemm_cache_make(&s->gemms, error));
    *out = &s->base;
    s = NULL;
done:
    stream_end(s);
    return status;
}

static size_t stream_scratch_cuda(struct jsc_device *device, size_t rows, size_t n, size_t k)
{
    const size_t width = n < k ? n : k; /* of the residual stream: the narrow side of the plan's products */
    return CUDA_WORKSPACE_BYTES + CUDA_RING_BYTES + matmul_scratch_cuda(device, rows, n, k) + operation_scratch_cuda(width);
}

static jsc_status zero_cuda(struct jsc_stream *stream, dptr out, size_t bytes, jsc_error *error)
{
    jsc_status status = JSC_OK;
    TRY(cuda_enter(stream, error));
    if (bytes > 0)
        TRY(cuda_check(cudaMemsetAsync(out, 0, bytes, cuda_handle(stream)), "zero", error));
done:
    return status;
}

static jsc_status sync_cuda(struct jsc_stream *stream, jsc_error *error)
{
    const jsc_status status = cuda_enter(stream, error);
    return status != JSC_OK ? status : cuda_check(cudaStreamSynchronize(cuda_handle(stream)), "computing", error);
}

const struct jsc_ops ops_cuda = {
    .name = "cuda",
    .device_open = device_open_cuda,
    .device_close = device_close_cuda,
    .memory_left = memory_left_cuda,
    .stream_open = stream_open_cuda,
    .stream_close = stream_close_cuda,
    .stream_scratch = stream_scratch_cuda,
    .alloc = alloc_cuda,
    .free = free_cuda,
    .put = put_cuda,
    .get = get_cuda,
    .put_bytes = put_bytes_cuda,
    .get_bytes = get_bytes_cuda,
    .copy_over = copy_over_cuda,
    .zero = zero_cuda,
    .sync = sync_cuda,
    .weight_bytes = weight_bytes_cuda,
    .weight_make = weight_make_cuda,
    .weight_free = weight_free_cuda,
    .embed = embed_cuda,
    .norm = norm_cuda,
    .matmul = matmul_cuda,
    .part_norm = part_norm_cuda,
    .rope = rope_cuda,
    .attention = attention_cuda,
    .gate = gate_cuda,
    .add = add_cuda,
    .head_vjp = head_vjp_cuda,
    .matmul_vjp = matmul_vjp_cuda,
    .norm_vjp = norm_vjp_cuda,
    .norm_pull = norm_pull_cuda,
    .part_norm_vjp = part_norm_vjp_cuda,
    .gate_vjp = gate_vjp_cuda,
    .mlp_collapse = mlp_collapse_cuda,
    .mlp_collapse_scratch = mlp_collapse_scratch_cuda,
    .attention_vjp = attention_vjp_cuda,
    .attention_vjp_scratch = attention_vjp_scratch_cuda,
    .rope_vjp = rope_vjp_cuda,
    .scatter = scatter_cuda,
    .fisher_rows = fisher_rows_cuda,
    .gram = gram_cuda,
    .fisher_apply = fisher_apply_cuda,
    .probes = probes_cuda,
    .record_begin = record_begin_cuda,
    .record_end = record_end_cuda,
    .comm_over = comm_nccl_over,
};
