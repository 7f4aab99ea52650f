/* backend_cpu.c: the CPU as a device: float32, OpenMP teams, oneDNN or the built-in products; its operation table.
 *
 * A stream runs each operation to its end before it returns, so sync() has nothing to report. Teams take their size from a
 * num_threads clause: the caller's own OpenMP settings and floating-point state stay as they are. */
#include "cot_cpu.h"
#include "cpu_internal.h"

#include <omp.h>
#include <stdio.h>
#include <string.h>

#define ROW_FLOATS 16 /* a row of scratch begins on a line of its own */
#define PUT_PIECE  256

static void device_close_cpu(struct jsc_device *device)
{
    struct cpu_device *d = (struct cpu_device *)device;
    if (d != NULL)
        onednn_close(d->engine);
    mem_free(d);
}

static jsc_status device_open_cpu(const struct device_options *options, struct jsc_device **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct cpu_device *d = NULL;
    char products[48] = "built-in products";

    TRY(mem_new(&d, 1, error));
    d->base.ops = &ops_cpu;
    /* OpenMP's own answer: OMP_NUM_THREADS, else the processors of the affinity mask */
    d->base.threads = options->threads > 0 ? options->threads : omp_get_max_threads();
    const char *wanted = env_get(ENV_CPU_GEMM);
    if (wanted == NULL || strcmp(wanted, "builtin") != 0)
        TRY(onednn_open(&d->engine, error));
    d->packs = wanted == NULL || strcmp(wanted, "plain") != 0;
    precision_choose(d, options->precision);
    if (d->engine != NULL)
        onednn_describe(products, sizeof products);
    const char *arithmetic = d->base.precision != JSC_PRECISION_FAST ? "" : d->native ? ", bfloat16" : ", bfloat16 emulated";
    (void)snprintf(d->base.description, sizeof d->base.description, "cpu (%s%s, %d thread%s)", products, arithmetic, d->base.threads,
                   d->base.threads == 1 ? "" : "s");
    *out = &d->base;
    d = NULL;
done:
    device_close_cpu((struct jsc_device *)d);
    return status;
}

static size_t memory_left_cpu(struct jsc_device *device)
{
    (void)device;
    return mem_available();
}

static void stream_close_cpu(struct jsc_stream *stream)
{
    struct cpu_stream *s = (struct cpu_stream *)stream;
    if (s != NULL) {
        onednn_cache_free(s->cache);
        for (int i = 0; i < SCRATCH_COUNT; i++)
            mem_free(s->scratch[i]);
    }
    mem_free(s);
}

static jsc_status stream_open_cpu(struct jsc_device *device, struct jsc_stream **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const struct cpu_device *d = (const struct cpu_device *)device;
    struct cpu_stream *s = NULL;

    TRY(mem_new(&s, 1, error));
    s->base.ops = device->ops;
    s->base.device = device;
    for (int role = 0; role < ROLE_COUNT; role++)
        s->base.size_of[role] = role == ROLE_COT ? d->cot : sizeof(float);
    s->base.one_type = d->cot == sizeof(float);
    if (d->engine != NULL)
        TRY(onednn_cache_make(d->engine, &s->cache, error));
    *out = &s->base;
    s = NULL;
done:
    stream_close_cpu((struct jsc_stream *)s);
    return status;
}

static size_t stream_scratch_cpu(struct jsc_device *device, size_t rows, size_t n, size_t k)
{
    const struct cpu_device *d = (const struct cpu_device *)device;
    const size_t library = d->engine != NULL ? gemm_onednn_scratch(d, rows, n, k) : gemm_builtin_scratch(n, k);
    const size_t few = gemm_skinny_scratch(d, rows, n > k ? n : k), products = library > few ? library : few;
    if (d->cot == sizeof(float))
        return products;
    const size_t floats = (size_t)device->threads * round_up(n > k ? n : k, ROW_FLOATS) * sizeof(float);
    return products + floats + (d->native ? 0 : gemm_emulated_scratch(rows, n, k));
}

jsc_status cpu_scratch(struct jsc_stream *stream, enum scratch which, size_t bytes, void *out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct cpu_stream *s = (struct cpu_stream *)stream;

    if (s->scratch[which] == NULL || bytes > s->scratch_bytes[which]) {
        char *fresh = NULL;
        TRY(mem_new(&fresh, bytes, error));
        mem_free(s->scratch[which]);
        s->scratch[which] = fresh;
        s->scratch_bytes[which] = bytes;
    }
    memcpy(out, &s->scratch[which], sizeof s->scratch[which]);
done:
    return status;
}

jsc_status cpu_cot_rows(struct jsc_stream *stream, size_t n, float **out, jsc_error *error)
{
    *out = NULL;
    if (cpu_cot(stream->device) == sizeof(float))
        return JSC_OK;
    return cpu_scratch(stream, SCRATCH_OPERATION, (size_t)cpu_threads(stream) * round_up(n, ROW_FLOATS) * sizeof **out, out, error);
}

float *cpu_cot_row(float *rows, size_t n)
{
    return rows == NULL ? NULL : rows + (size_t)omp_get_thread_num() * round_up(n, ROW_FLOATS);
}

/* ---- buffers --------------------------------------------------------------------------------------------------------------- */

static jsc_status alloc_cpu(struct jsc_device *device, size_t bytes, dptr *out, jsc_error *error)
{
    (void)device;
    return mem_alloc((void *)out, bytes, 1, error);
}

static void free_cpu(struct jsc_device *device, dptr buffer)
{
    (void)device;
    mem_free(buffer);
}

static jsc_status put_cpu(struct jsc_stream *stream, enum role role, dptr out, const double *in, size_t n, jsc_error *error)
{
    (void)error;
    const size_t size = stream->size_of[role];
    for (size_t i = 0; i < n; i += PUT_PIECE) {
        const size_t count = n - i < PUT_PIECE ? n - i : PUT_PIECE;
        const dptr place = dptr_at(out, i, size);
        float piece[PUT_PIECE], *y = cot_begin(place, size, piece);
        for (size_t j = 0; j < count; j++)
            y[j] = (float)in[i + j];
        cot_end(place, size, count, y);
    }
    return JSC_OK;
}

static jsc_status get_cpu(struct jsc_stream *stream, enum role role, double *out, const dptr in, size_t n, jsc_error *error)
{
    (void)error;
    const size_t size = stream->size_of[role];
    for (size_t i = 0; i < n; i += PUT_PIECE) {
        const size_t count = n - i < PUT_PIECE ? n - i : PUT_PIECE;
        float piece[PUT_PIECE];
        const float *x = cot_read(dptr_at(in, i, size), size, count, piece);
        for (size_t j = 0; j < count; j++)
            out[i + j] = (double)x[j];
    }
    return JSC_OK;
}

static jsc_status put_bytes_cpu(struct jsc_stream *stream, dptr out, const void *in, size_t bytes, jsc_error *error)
{
    (void)stream, (void)error;
    memcpy(out, in, bytes);
    return JSC_OK;
}

static jsc_status get_bytes_cpu(struct jsc_stream *stream, void *out, const dptr in, size_t bytes, jsc_error *error)
{
    (void)stream, (void)error;
    memcpy(out, in, bytes);
    return JSC_OK;
}

static jsc_status copy_over_cpu(struct jsc_stream *stream, dptr out, struct jsc_device *from, const dptr in, size_t bytes, jsc_error *error)
{
    (void)stream, (void)from, (void)error;
    memcpy(out, in, bytes);
    return JSC_OK;
}

static jsc_status zero_cpu(struct jsc_stream *stream, dptr out, size_t bytes, jsc_error *error)
{
    (void)stream, (void)error;
    memset(out, 0, bytes);
    return JSC_OK;
}

static jsc_status sync_cpu(struct jsc_stream *stream, jsc_error *error)
{
    (void)stream, (void)error;
    return JSC_OK;
}

const struct jsc_ops ops_cpu = {
    .name = "cpu",
    .device_open = device_open_cpu,
    .device_close = device_close_cpu,
    .memory_left = memory_left_cpu,
    .stream_open = stream_open_cpu,
    .stream_close = stream_close_cpu,
    .stream_scratch = stream_scratch_cpu,
    .alloc = alloc_cpu,
    .free = free_cpu,
    .put = put_cpu,
    .get = get_cpu,
    .put_bytes = put_bytes_cpu,
    .get_bytes = get_bytes_cpu,
    .copy_over = copy_over_cpu,
    .zero = zero_cpu,
    .sync = sync_cpu,
    .weight_bytes = weight_bytes_cpu,
    .weight_make = weight_make_cpu,
    .weight_free = weight_free_cpu,
    .embed = embed_cpu,
    .norm = norm_cpu,
    .matmul = matmul_cpu,
    .part_norm = part_norm_cpu,
    .rope = rope_cpu,
    .attention = attention_cpu,
    .gate = gate_cpu,
    .add = add_cpu,
    .head_vjp = head_vjp_cpu,
    .matmul_vjp = matmul_vjp_cpu,
    .norm_vjp = norm_vjp_cpu,
    .norm_pull = norm_pull_cpu,
    .part_norm_vjp = part_norm_vjp_cpu,
    .gate_vjp = gate_vjp_cpu,
    .mlp_collapse = mlp_collapse_cpu,
    .mlp_collapse_scratch = mlp_collapse_scratch_cpu,
    .attention_vjp = attention_vjp_cpu,
    .attention_vjp_scratch = attention_vjp_scratch_cpu,
    .rope_vjp = rope_vjp_cpu,
    .scatter = scatter_cpu,
    .fisher_rows = fisher_rows_cpu,
    .gram = gram_cpu,
    .fisher_apply = fisher_apply_cpu,
    .probes = probes_cpu,
};
