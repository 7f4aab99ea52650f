/* backend_ref.c: device, stream and buffers of the reference backend, and its table. Device memory is host memory. */
#include "ref_internal.h"

#include <stdio.h>

jsc_status device_open_ref(const struct device_options *options, struct jsc_device **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct jsc_device *device = NULL;

    (void)options; /* one precision and one thread, whatever was asked */
    TRY(mem_new(&device, 1, error));
    device->ops = &ops_ref;
    device->precision = JSC_PRECISION_STRICT;
    device->threads = 1;
    (void)snprintf(device->description, sizeof device->description, "ref (float64, 1 thread)");
    *out = device;
done:
    return status;
}

static void device_close(struct jsc_device *device)
{
    mem_free(device);
}

static size_t memory_left(struct jsc_device *device)
{
    (void)device;
    return mem_available();
}

static jsc_status stream_open(struct jsc_device *device, struct jsc_stream **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct jsc_stream *stream = NULL;

    TRY(mem_new(&stream, 1, error));
    stream->ops = &ops_ref;
    stream->device = device;
    for (int role = 0; role < ROLE_COUNT; role++)
        stream->size_of[role] = sizeof(double);
    stream->one_type = true;
    *out = stream;
done:
    return status;
}

static void stream_close(struct jsc_stream *stream)
{
    mem_free(stream);
}

static size_t stream_scratch(struct jsc_device *device, size_t rows, size_t n, size_t k)
{
    (void)device, (void)rows, (void)n, (void)k;
    return 0;
}

static jsc_status buffer_alloc(struct jsc_device *device, size_t bytes, dptr *out, jsc_error *error)
{
    (void)device;
    return mem_alloc(out, bytes, 1, error);
}

static void buffer_free(struct jsc_device *device, dptr buffer)
{
    (void)device;
    mem_free(buffer);
}

static jsc_status put_bytes(struct jsc_stream *stream, dptr out, const void *in, size_t bytes, jsc_error *error)
{
    (void)stream, (void)error;
    if (bytes > 0)
        memcpy(out, in, bytes);
    return JSC_OK;
}

static jsc_status get_bytes(struct jsc_stream *stream, void *out, const dptr in, size_t bytes, jsc_error *error)
{
    (void)stream, (void)error;
    if (bytes > 0)
        memcpy(out, in, bytes);
    return JSC_OK;
}

static jsc_status put(struct jsc_stream *stream, enum role role, dptr out, const double *in, size_t n, jsc_error *error)
{
    (void)role;
    return put_bytes(stream, out, in, n * sizeof *in, error);
}

static jsc_status get(struct jsc_stream *stream, enum role role, double *out, const dptr in, size_t n, jsc_error *error)
{
    (void)role;
    return get_bytes(stream, out, in, n * sizeof *out, error);
}

static jsc_status copy_over(struct jsc_stream *stream, dptr out, struct jsc_device *from, const dptr in, size_t bytes, jsc_error *error)
{
    (void)stream, (void)from, (void)error;
    if (bytes > 0)
        memcpy(out, in, bytes);
    return JSC_OK;
}

static jsc_status zero(struct jsc_stream *stream, dptr out, size_t bytes, jsc_error *error)
{
    (void)stream, (void)error;
    if (bytes > 0)
        memset(out, 0, bytes);
    return JSC_OK;
}

static jsc_status sync_stream(struct jsc_stream *stream, jsc_error *error)
{
    (void)stream, (void)error;
    return JSC_OK;
}

const struct jsc_ops ops_ref = {
    .name = "ref",
    .device_open = device_open_ref,
    .device_close = device_close,
    .memory_left = memory_left,
    .stream_open = stream_open,
    .stream_close = stream_close,
    .stream_scratch = stream_scratch,
    .alloc = buffer_alloc,
    .free = buffer_free,
    .put = put,
    .get = get,
    .put_bytes = put_bytes,
    .get_bytes = get_bytes,
    .copy_over = copy_over,
    .zero = zero,
    .sync = sync_stream,
    .weight_bytes = weight_bytes_ref,
    .weight_make = weight_make_ref,
    .weight_free = weight_free_ref,
    .embed = embed_ref,
    .norm = norm_ref,
    .matmul = matmul_ref,
    .part_norm = part_norm_ref,
    .rope = rope_ref,
    .attention = attention_ref,
    .gate = gate_ref,
    .add = add_ref,
    .head_vjp = head_vjp_ref,
    .matmul_vjp = matmul_vjp_ref,
    .norm_vjp = norm_vjp_ref,
    .norm_pull = norm_pull_ref,
    .part_norm_vjp = part_norm_vjp_ref,
    .gate_vjp = gate_vjp_ref,
    .mlp_collapse = mlp_collapse_ref,
    .mlp_collapse_scratch = mlp_collapse_scratch_ref,
    .attention_vjp = attention_vjp_ref,
    .attention_vjp_scratch = attention_vjp_scratch_ref,
    .rope_vjp = rope_vjp_ref,
    .scatter = scatter_ref,
    .fisher_rows = fisher_rows_ref,
    .gram = gram_ref,
    .fisher_apply = fisher_apply_ref,
    .probes = probes_ref,
};
