/* transfer_cuda.c: between host and device: the pinned ring, the staging of short lists, numbers in and out in the type of their role,
 * copies between devices.
 *
 * The ring has two halves that are filled in turn. Before a half is filled again, the copies that read it are waited for, by an event that
 * was recorded when it was left: the host runs up to half a ring ahead of the device and overwrites nothing too early. On the device the
 * stream's own order does that. A half holds all that one launch stages, so no launch sees its first list overwritten by its last. */
#include "cuda_internal.h"

#include <string.h>

#define RING_ALIGN  ((size_t)256)
#define PIECE_BYTES ((size_t)1 << 20) /* of numbers: one is converted while the one before is copied */

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* ---- the ring -------------------------------------------------------------------------------------------------------------------- */

jsc_status ring_open(struct cuda_stream *s, jsc_error *error)
{
    jsc_status status = JSC_OK;

    for (int half = 0; half < 2; half++)
        TRY(cuda_check(cudaEventCreateWithFlags(&s->ring_left[half], cudaEventDisableTiming), "event", error));
    TRY(cuda_check(cudaMallocHost((void **)&s->ring_host, CUDA_RING_BYTES), "pinned host memory", error));
    void *memory = NULL;
    TRY(alloc_cuda(s->base.device, CUDA_RING_BYTES, &memory, error));
    s->ring_device = memory;
done:
    return status;
}

void ring_close(struct cuda_stream *s)
{
    free_cuda(s->base.device, s->ring_device);
    if (s->ring_host != NULL)
        (void)cuda_check(cudaFreeHost(s->ring_host), "pinned host memory", NULL);
    for (int half = 0; half < 2; half++)
        if (s->ring_left[half] != NULL)
            (void)cuda_check(cudaEventDestroy(s->ring_left[half]), "event", NULL);
}

/* Offset of the next bytes (at most half the ring) that nothing reads any more. */
static jsc_status ring_take(struct cuda_stream *s, size_t bytes, size_t *offset, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t half_bytes = CUDA_RING_BYTES / 2, need = (bytes + RING_ALIGN - 1) / RING_ALIGN * RING_ALIGN;

    TRY(record_refuse(&s->base, "a copy from the host", error)); /* a repetition would find other bytes in the ring */
    if (s->ring_used + need > half_bytes) {
        const int other = 1 - s->ring_half;
        TRY(cuda_check(cudaEventRecord(s->ring_left[s->ring_half], s->handle), "staging", error));
        TRY(cuda_check(cudaEventSynchronize(s->ring_left[other]), "staging", error)); /* never recorded: returns at once */
        s->ring_half = other;
        s->ring_used = 0;
    }
    *offset = (size_t)s->ring_half * half_bytes + s->ring_used;
    s->ring_used += need;
done:
    return status;
}

jsc_status cuda_stage(struct jsc_stream *stream, const void *host, size_t bytes, const void **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct cuda_stream *s = (struct cuda_stream *)stream;
    size_t at = 0;

    if (bytes > CUDA_STAGE_BYTES)
        FAIL(JSC_E_INTERNAL, "cuda: %zu bytes to stage, one launch has at most %zu", bytes, CUDA_STAGE_BYTES);
    TRY(ring_take(s, bytes, &at, error));
    if (bytes > 0) {
        memcpy(s->ring_host + at, host, bytes);
        TRY(cuda_check(cudaMemcpyAsync(s->ring_device + at, s->ring_host + at, bytes, cudaMemcpyHostToDevice, s->handle), "staging",
                       error));
    }
    *out = s->ring_device + at;
done:
    return status;
}

/* ---- numbers --------------------------------------------------------------------------------------------------------------------- */

static void narrow(const double *in, size_t n, size_t size, void *out)
{
    if (size == sizeof(float)) {
        float *y = out;
        for (size_t i = 0; i < n; i++)
            y[i] = (float)in[i];
    } else {
        uint16_t *y = out;
        for (size_t i = 0; i < n; i++)
            y[i] = bf16_bits((float)in[i]);
    }
}

static void widen(const void *in, size_t n, size_t size, double *out)
{
    if (size == sizeof(float)) {
        const float *x = in;
        for (size_t i = 0; i < n; i++)
            out[i] = (double)x[i];
    } else {
        const uint16_t *x = in;
        for (size_t i = 0; i < n; i++)
            out[i] = (double)bf16_value(x[i]);
    }
}

jsc_status put_cuda(struct jsc_stream *stream, enum role role, dptr out, const double *in, size_t n, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct cuda_stream *s = (struct cuda_stream *)stream;
    const size_t size = stream->size_of[role];
    size_t at = 0;

    TRY(cuda_enter(stream, error));
    for (size_t i = 0, count; i < n; i += count) {
        count = smaller(n - i, PIECE_BYTES / size);
        TRY(ring_take(s, count * size, &at, error));
        narrow(in + i, count, size, s->ring_host + at);
        TRY(cuda_check(cudaMemcpyAsync(dptr_at(out, i, size), s->ring_host + at, count * size, cudaMemcpyHostToDevice, s->handle), "put",
                       error));
    }
done:
    return status;
}

jsc_status get_cuda(struct jsc_stream *stream, enum role role, double *out, const dptr in, size_t n, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct cuda_stream *s = (struct cuda_stream *)stream;
    const size_t size = stream->size_of[role];
    size_t at = 0;

    TRY(cuda_enter(stream, error));
    for (size_t i = 0, count; i < n; i += count) {
        count = smaller(n - i, PIECE_BYTES / size);
        TRY(ring_take(s, count * size, &at, error));
        TRY(cuda_check(cudaMemcpyAsync(s->ring_host + at, dptr_at(in, i, size), count * size, cudaMemcpyDeviceToHost, s->handle), "get",
                       error));
        TRY(cuda_check(cudaStreamSynchronize(s->handle), "computing", error));
        widen(s->ring_host + at, count, size, out + i);
    }
done:
    return status;
}

jsc_status put_bytes_cuda(struct jsc_stream *stream, dptr out, const void *in, size_t bytes, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct cuda_stream *s = (struct cuda_stream *)stream;
    size_t at = 0;

    TRY(cuda_enter(stream, error));
    for (size_t i = 0, count; i < bytes; i += count) {
        count = smaller(bytes - i, PIECE_BYTES);
        TRY(ring_take(s, count, &at, error));
        memcpy(s->ring_host + at, (const char *)in + i, count);
        TRY(cuda_check(cudaMemcpyAsync(dptr_at(out, i, 1), s->ring_host + at, count, cudaMemcpyHostToDevice, s->handle), "put", error));
    }
done:
    return status;
}

jsc_status get_bytes_cuda(struct jsc_stream *stream, void *out, const dptr in, size_t bytes, jsc_error *error)
{
    jsc_status status = JSC_OK;

    TRY(cuda_enter(stream, error));
    if (bytes > 0) /* to ordinary memory: the driver copies in pieces of its own */
        TRY(cuda_check(cudaMemcpyAsync(out, in, bytes, cudaMemcpyDeviceToHost, cuda_handle(stream)), "get", error));
    TRY(cuda_check(cudaStreamSynchronize(cuda_handle(stream)), "computing", error));
done:
    return status;
}

/* ---- between devices ------------------------------------------------------------------------------------------------------------- */

/* Straight over NVLink or PCIe where the devices reach each other, else the driver goes through the host. */
jsc_status copy_over_cuda(struct jsc_stream *stream, dptr out, struct jsc_device *from, const dptr in, size_t bytes, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const int to_index = cuda_device_of(stream)->index, from_index = ((const struct cuda_device *)from)->index;

    TRY(cuda_enter(stream, error));
    if (bytes > 0)
        TRY(cuda_check(cudaMemcpyPeerAsync(out, to_index, in, from_index, bytes, cuda_handle(stream)), "copy between devices", error));
    TRY(cuda_check(cudaStreamSynchronize(cuda_handle(stream)), "computing", error));
done:
    return status;
}
