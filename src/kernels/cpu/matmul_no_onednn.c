/* matmul_no_onednn.c: a build without oneDNN: the engine stays NULL, so that the built-in products serve and the rest is never asked. */
#include "cpu_internal.h"

#ifndef JSC_WITH_ONEDNN

jsc_status onednn_open(struct onednn_engine **out, jsc_error *error)
{
    (void)error;
    *out = NULL;
    return JSC_OK;
}

void onednn_close(struct onednn_engine *engine)
{
    (void)engine;
}

void onednn_describe(char *text, size_t capacity)
{
    (void)text, (void)capacity;
}

jsc_status onednn_cache_make(const struct onednn_engine *engine, struct onednn_cache **out, jsc_error *error)
{
    (void)engine, (void)out;
    return status_set(error, JSC_E_INTERNAL, "oneDNN is not part of this build");
}

void onednn_cache_free(struct onednn_cache *cache)
{
    (void)cache;
}

jsc_status gemm_onednn(struct jsc_stream *stream, const struct gemm *gemm, jsc_error *error)
{
    return gemm_builtin(stream, gemm, error);
}

bool onednn_has_bf16(const struct onednn_engine *engine)
{
    (void)engine;
    return false;
}

jsc_status gemm_onednn_cot(struct jsc_stream *stream, const struct cot_gemm *gemm, jsc_error *error)
{
    return gemm_emulated(stream, gemm, error);
}

size_t gemm_onednn_scratch(const struct cpu_device *device, size_t m, size_t n, size_t k)
{
    (void)device, (void)m;
    return gemm_builtin_scratch(n, k);
}

jsc_status onednn_pack(const struct cpu_device *device, const float *w, size_t n, size_t k, bool forward, struct onednn_packed **out,
                       jsc_error *error)
{
    (void)device, (void)w, (void)n, (void)k, (void)forward, (void)out, (void)error;
    return JSC_OK;
}

uint64_t onednn_pack_bytes(const struct cpu_device *device, size_t n, size_t k, bool forward)
{
    (void)device, (void)n, (void)k, (void)forward;
    return 0;
}

uint64_t onednn_packed_bytes(const struct onednn_packed *packed)
{
    (void)packed;
    return 0;
}

void onednn_packed_free(struct onednn_packed *packed)
{
    (void)packed;
}
#endif
