/* paper.c: a GPU that is not there. Device "paper" has the memory and the element sizes of a large card in precision fast; models are opened on
 * it without weights, so that the library itself says how it would plan, chunk and spread them. Nothing is ever computed on it.
 *
 * bench is linked with --wrap=backend_find: the names of devices that the library knows stay what they are. */
#include "bench.h"

#include <string.h>

/* What the CUDA kernels keep of their own beside the plan's arrays: about this much whatever the model. */
#define KERNELS_SCRATCH ((size_t)1000 * 1000 * 1000)

jsc_status __wrap_backend_find(const char *device, const struct jsc_ops **ops, int *index, jsc_error *passed_over, jsc_error *error);
jsc_status __real_backend_find(const char *device, const struct jsc_ops **ops, int *index, jsc_error *passed_over, jsc_error *error);

static struct jsc_ops paper;

static jsc_status device_open(const struct device_options *options, struct jsc_device **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    (void)options;
    TRY(mem_new(out, 1, error));
    **out = (struct jsc_device){
        .ops = &paper, .description = PAPER_DEVICE, .precision = JSC_PRECISION_FAST, .threads = 1, .own_memory = PAPER_BYTES};
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
    return PAPER_BYTES;
}

static jsc_status stream_open(struct jsc_device *device, struct jsc_stream **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    TRY(mem_new(out, 1, error));
    **out = (struct jsc_stream){.ops = &paper, .device = device};
    (*out)->size_of[ROLE_REAL] = (*out)->size_of[ROLE_ACT] = sizeof(float);
    (*out)->size_of[ROLE_COT] = sizeof(uint16_t);
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
    return KERNELS_SCRATCH;
}

static size_t no_collapse_scratch(struct jsc_device *device, enum mlp_form form, size_t n, int B, int d, int f)
{
    (void)device, (void)form, (void)n, (void)B, (void)d, (void)f;
    return 0;
}

static size_t no_attention_scratch(struct jsc_device *device, int S, int T, int B, int H, int K, int h)
{
    (void)device, (void)S, (void)T, (void)B, (void)H, (void)K, (void)h;
    return 0;
}

static uint64_t weight_bytes(struct jsc_device *device, enum dtype type, size_t n, size_t k, unsigned uses)
{
    (void)device, (void)type, (void)uses;
    return (uint64_t)n * k * sizeof(uint16_t);
}

jsc_status __wrap_backend_find(const char *device, const struct jsc_ops **ops, int *index, jsc_error *passed_over, jsc_error *error)
{
    if (device == NULL || strcmp(device, PAPER_DEVICE) != 0)
        return __real_backend_find(device, ops, index, passed_over, error);
    paper = ops_cpu;
    paper.name = PAPER_DEVICE;
    paper.device_open = device_open, paper.device_close = device_close, paper.memory_left = memory_left;
    paper.stream_open = stream_open, paper.stream_close = stream_close, paper.stream_scratch = stream_scratch;
    paper.mlp_collapse_scratch = no_collapse_scratch, paper.attention_vjp_scratch = no_attention_scratch;
    paper.weight_bytes = weight_bytes;
    *ops = &paper, *index = 0;
    if (passed_over != NULL)
        passed_over->status = JSC_OK;
    return JSC_OK;
}
