/* cuda_internal.h: the CUDA backend's own types and services; read by its hosts (.c) and launchers (.cu).
 *
 * Roles    strict: REAL, ACT and COT are float; products are true fp32 (never TF32).
 *          fast:   REAL and ACT float, COT bf16. matmul splits its input into two bf16 terms (x = hi + lo) in the stream's scratch.
 * Entries  norm of ops.h is norm_cuda here, extern "C", in norm_cuda.cu beside its kernels. An entry begins with cuda_enter(stream) (the
 *          caller may be any thread), chooses a kernel by shape, launches it on cuda_handle(stream) and returns cuda_check(...). It
 *          allocates and synchronises nothing but through the services below. */
#ifndef JSC_CUDA_INTERNAL_H
#define JSC_CUDA_INTERNAL_H

#include "ops.h"

#include <cuda_runtime_api.h>

#ifdef __cplusplus
extern "C" {
#endif

struct blas_cuda;  /* blas_cuda.c: cuBLASLt, opened at run time, with its handle */
struct gemm_cache; /* gemm_cuda.c: a stream's plans by shape */
struct pool;       /* pool_cuda.c: a device's idle memory and streams */
struct recordings; /* record_cuda.c: a stream's recorded walks by key */

struct cuda_device {
    struct jsc_device base;
    int index;
    int capability;      /* 90 for 9.0 */
    int multiprocessors;
    size_t shared_limit; /* bytes of dynamic shared memory that one block may have */
    struct blas_cuda *blas;
    struct pool *pool;
};

/* Scratch of a stream by who uses it: an operation may hold its own while a product or a reduction below it holds another. */
enum cuda_scratch { CUDA_SCRATCH_GEMM, CUDA_SCRATCH_OPERATION, CUDA_SCRATCH_COUNT };

struct cuda_stream {
    struct jsc_stream base;
    cudaStream_t handle;
    struct gemm_cache *gemms;
    struct recordings *recordings;
    void *workspace; /* cuBLASLt's, CUDA_WORKSPACE_BYTES */
    void *scratch[CUDA_SCRATCH_COUNT];
    size_t scratch_bytes[CUDA_SCRATCH_COUNT];
    /* transfer_cuda.c: pinned host memory and device memory of the same size, used in step, in two halves by turns */
    char *ring_host, *ring_device;
    int ring_half;
    size_t ring_used;           /* bytes of this half */
    cudaEvent_t ring_left[2];   /* when a half was left: what read its host memory is before it */
};
#define CUDA_WORKSPACE_BYTES ((size_t)32 << 20)
#define CUDA_RING_BYTES      (2 * (CUDA_STAGE_BYTES + ((size_t)64 << 10))) /* 64 KiB: lists begin at multiples of 256 */

/* W[n][k]: float in strict; in fast bf16, with the second term where some element is no bf16 by itself. */
struct cuda_weight {
    struct jsc_weight base;
    void *w;     /* float [n][k], or bf16 [n][k] */
    void *w_low; /* bf16 [n][k]: W = w + w_low; NULL: all zero */
    float *bias; /* [n] or NULL */
};

static inline bool cuda_fast(const struct jsc_stream *stream)
{
    return stream->device->precision == JSC_PRECISION_FAST;
}
static inline cudaStream_t cuda_handle(const struct jsc_stream *stream)
{
    return ((const struct cuda_stream *)stream)->handle;
}
static inline const struct cuda_device *cuda_device_of(const struct jsc_stream *stream)
{
    return (const struct cuda_device *)stream->device;
}

/* May vectors of 16 bytes begin at p? NULL is no obstacle. */
static inline bool aligned(const void *p)
{
    return (uintptr_t)p % 16 == 0;
}

/* ---- backend_cuda.c, transfer_cuda.c --------------------------------------------------------------------------------------- */

/* JSC_OK, or what failed in one line: "cuda: norm: an illegal memory access was encountered; ..."; out of memory is JSC_E_MEMORY, else
 * JSC_E_DEVICE. The runtime then forgets the error, so that it is not reported twice. */
jsc_status cuda_check(cudaError_t result, const char *what, jsc_error *error);
/* Makes the stream's device the calling thread's. */
jsc_status cuda_enter(const struct jsc_stream *stream, jsc_error *error);
/* Device scratch of at least bytes that the stream owns until its end; content is lost when it grows (growing waits for the stream). */
jsc_status cuda_scratch(struct jsc_stream *stream, enum cuda_scratch which, size_t bytes, void **out, jsc_error *error);
/* Device copy of host bytes (ids, positions, coefficients) for operations launched now or next on this stream; 256-byte aligned. Valid until
 * the ring has gone round, which waits for the stream: stage all that one launch needs, then launch. In total at most
 * CUDA_STAGE_BYTES for one launch; more is JSC_E_INTERNAL, so an operation with long lists goes in pieces. */
#define CUDA_STAGE_BYTES ((size_t)4 << 20)
jsc_status cuda_stage(struct jsc_stream *stream, const void *host, size_t bytes, const void **out, jsc_error *error);

/* As in ops.h; free_cuda waits for the whole device, as cudaFree does. alloc_lasting: for weights, which no request hands on. */
jsc_status alloc_cuda(struct jsc_device *device, size_t bytes, dptr *out, jsc_error *error);
jsc_status alloc_lasting(struct jsc_device *device, size_t bytes, dptr *out, jsc_error *error);
void free_cuda(struct jsc_device *device, dptr buffer);
jsc_status put_cuda(struct jsc_stream *stream, enum role role, dptr out, const double *in, size_t n, jsc_error *error);
jsc_status get_cuda(struct jsc_stream *stream, enum role role, double *out, const dptr in, size_t n, jsc_error *error);
jsc_status put_bytes_cuda(struct jsc_stream *stream, dptr out, const void *in, size_t bytes, jsc_error *error);
jsc_status get_bytes_cuda(struct jsc_stream *stream, void *out, const dptr in, size_t bytes, jsc_error *error);
jsc_status copy_over_cuda(struct jsc_stream *stream, dptr out, struct jsc_device *from, const dptr in, size_t bytes, jsc_error *error);
jsc_status ring_open(struct cuda_stream *stream, jsc_error *error);
void ring_close(struct cuda_stream *stream);

/* ---- library_cuda.c, comm_nccl.c --------------------------------------------------------------------------------------------- */

/* Opens a library of NVIDIA's: the file that the variable names, else where name is to be found. advice: what to install. */
jsc_status library_open(enum env_variable variable, const char *name, const char *advice, void **out, jsc_error *error);
/* comm_over of ops.h */
jsc_status comm_nccl_over(struct jsc_device *device, struct comm *boot, struct comm **out, jsc_error *error);

/* ---- blas_cuda.c, gemm_cuda.c ---------------------------------------------------------------------------------------------- */

/* Opens cuBLASLt (blas_cuda.h has its functions) with a handle for the calling thread's current device, or says why it cannot. */
jsc_status blas_open(struct blas_cuda **out, jsc_error *error);
void blas_close(struct blas_cuda *blas);
void blas_describe(const struct blas_cuda *blas, char *text, size_t capacity); /* "cuBLASLt 13.1.0" */

jsc_status gemm_cache_make(struct gemm_cache **out, jsc_error *error);
void gemm_cache_free(struct gemm_cache *cache);

/* C_i [m][n] = A_i [m][k] B_i [k][n], or C_i += , for i < batch; row-major. a_transposed: A is stored [k][m], b_transposed: B is stored [n][k].
 * A and B are both float or both bf16, C float or (with bf16 operands) bf16; sums in fp32 in a fixed order (no split of k). Rows begin
 * every ld elements (0: contiguous), problems every stride elements. C overlaps neither A nor B. m, n, k or batch 0 is no work. */
struct gemm_cuda {
    size_t m, n, k;
    const void *a, *b;
    void *c;
    bool a_transposed, b_transposed, accumulate;
    bool bf16_ab, bf16_c;
    size_t lda, ldb, ldc;
    size_t batch; /* 0: one */
    size_t stride_a, stride_b, stride_c;
};
jsc_status gemm_cuda(struct jsc_stream *stream, const struct gemm_cuda *gemm, jsc_error *error);

/* ---- matmul_cuda.cu, matmul_precise_cuda.cu ---------------------------------------------------------------------------------- */

/* Bytes of the stream's scratch (CUDA_SCRATCH_GEMM) that matmul and matmul_vjp of at most `rows` rows take with a weight of at most n x k or k x n. */
size_t matmul_scratch_cuda(const struct jsc_device *device, size_t rows, size_t n, size_t k);
jsc_status matmul_precise_cuda(struct jsc_stream *stream, const struct op_matmul *op, jsc_error *error); /* matmul, precise */

/* ---- pool_cuda.c ------------------------------------------------------------------------------------------------------------ */

jsc_status pool_make(struct pool **out, jsc_error *error);
void pool_free(struct pool *pool); /* the streams have been taken out; memory still in use stays the caller's */
void pool_limit(struct pool *pool, uint64_t device_bytes); /* before the first allocation */
/* As cudaMalloc and cudaFree on the current device. keep: for one request, so that the next may have it. */
cudaError_t pool_alloc(struct pool *pool, size_t bytes, bool keep, void **out);
cudaError_t pool_release(struct pool *pool, void *memory);
size_t pool_idle_bytes(struct pool *pool); /* that an allocation could have */
/* Held while a walk is recorded. */
void pool_lock(struct pool *pool);
void pool_unlock(struct pool *pool);
/* A stream that another request has closed, with its plans, scratch and recordings, or NULL. */
struct cuda_stream *pool_stream(struct pool *pool);
bool pool_keep_stream(struct pool *pool, struct cuda_stream *stream); /* false: enough are idle */

/* ---- record_cuda.c --------------------------------------------------------------------------------------------------------- */

/* Walks as CUDA graphs: a key that is seen first runs plainly (modules load, plans are made, scratch grows), the second time it is
 * recorded, from then on repeated. */
jsc_status record_begin_cuda(struct jsc_stream *stream, const void *key, size_t bytes, bool *repeat, jsc_error *error);
jsc_status record_end_cuda(struct jsc_stream *stream, jsc_status walk, bool *again, jsc_error *error);
/* JSC_E_INTERNAL while the stream records: what must not happen then asks this first. */
jsc_status record_refuse(const struct jsc_stream *stream, const char *what, jsc_error *error);
/* Scratch has moved: what was recorded holds old addresses. */
void record_forget(struct jsc_stream *stream);
void recordings_free(struct recordings *recordings);

/* ---- weight_cuda.c --------------------------------------------------------------------------------------------------------- */

uint64_t weight_bytes_cuda(struct jsc_device *device, enum dtype type, size_t n, size_t k, unsigned uses);
jsc_status weight_make_cuda(struct jsc_device *device, const struct weight_part *parts, size_t n_parts, size_t k, unsigned uses,
                            const double *bias, struct jsc_weight **out, jsc_error *error);
void weight_free_cuda(struct jsc_device *device, struct jsc_weight *weight);

/* ---- the operations, one file each ------------------------------------------------------------------------------------------- */

jsc_status embed_cuda(struct jsc_stream *stream, const struct op_embed *op, jsc_error *error);
jsc_status norm_cuda(struct jsc_stream *stream, const struct op_norm *op, jsc_error *error);
jsc_status matmul_cuda(struct jsc_stream *stream, const struct op_matmul *op, jsc_error *error);
jsc_status part_norm_cuda(struct jsc_stream *stream, const struct op_part_norm *op, jsc_error *error);
jsc_status rope_cuda(struct jsc_stream *stream, const struct op_rope *op, jsc_error *error);
jsc_status attention_cuda(struct jsc_stream *stream, const struct op_attention *op, jsc_error *error);
jsc_status gate_cuda(struct jsc_stream *stream, const struct op_gate *op, jsc_error *error);
jsc_status add_cuda(struct jsc_stream *stream, const struct op_add *op, jsc_error *error);
jsc_status head_vjp_cuda(struct jsc_stream *stream, const struct op_head_vjp *op, jsc_error *error);
jsc_status matmul_vjp_cuda(struct jsc_stream *stream, const struct op_matmul_vjp *op, jsc_error *error);
jsc_status norm_vjp_cuda(struct jsc_stream *stream, const struct op_norm_vjp *op, jsc_error *error);
jsc_status norm_pull_cuda(struct jsc_stream *stream, const struct op_norm_pull *op, jsc_error *error);
jsc_status part_norm_vjp_cuda(struct jsc_stream *stream, const struct op_part_norm_vjp *op, jsc_error *error);
jsc_status gate_vjp_cuda(struct jsc_stream *stream, const struct op_gate_vjp *op, jsc_error *error);
jsc_status mlp_collapse_cuda(struct jsc_stream *stream, const struct op_mlp_collapse *op, jsc_error *error);
size_t mlp_collapse_scratch_cuda(struct jsc_device *device, enum mlp_form form, size_t n, int B, int d, int f);
jsc_status attention_vjp_cuda(struct jsc_stream *stream, const struct op_attention_vjp *op, jsc_error *error);
size_t attention_vjp_scratch_cuda(struct jsc_device *device, int S, int T, int B, int H, int K, int h);
jsc_status rope_vjp_cuda(struct jsc_stream *stream, const struct op_rope_vjp *op, jsc_error *error);
jsc_status scatter_cuda(struct jsc_stream *stream, const struct op_scatter *op, jsc_error *error);
/* Bytes of CUDA_SCRATCH_OPERATION that head_vjp, fisher_rows (but for 8 a token of its list) and gram take at width d. */
size_t operation_scratch_cuda(size_t d);
jsc_status fisher_rows_cuda(struct jsc_stream *stream, const struct op_fisher_rows *op, jsc_error *error);
jsc_status gram_cuda(struct jsc_stream *stream, const struct op_gram *op, jsc_error *error);
jsc_status fisher_apply_cuda(struct jsc_stream *stream, const struct op_fisher_apply *op, jsc_error *error);
jsc_status probes_cuda(struct jsc_stream *stream, const struct op_probes *op, jsc_error *error);

#ifdef __cplusplus
}
#endif

#endif
