/* cpu_internal.h: the CPU backend's own types: float, in fast precision with bfloat16 cotangents; OpenMP teams of device->threads; products
 * by oneDNN or built in. */
#ifndef JSC_CPU_INTERNAL_H
#define JSC_CPU_INTERNAL_H

#include "ops.h"

/* Multiply and add in one rounding where the instruction set has it: allowed in this backend's files only. */
#if defined(__clang__)
#pragma clang fp contract(fast)
#pragma clang diagnostic ignored "-Wpass-failed" /* a simd loop left as it is, at -O1 */
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=fast")
#endif

#define CPU_LINE 64 /* bytes; scratch parts begin at multiples */

struct onednn_engine; /* matmul_onednn.c */
struct onednn_cache;
struct onednn_packed;

struct cpu_device {
    struct jsc_device base;
    struct onednn_engine *engine; /* NULL: built-in products */
    bool native;                  /* fast precision by the library's own bfloat16 products, else emulated */
    bool packs;                   /* weights may be kept in the library's own layout too */
    size_t cot;                   /* bytes of a cotangent's element: 4, in fast precision 2 (cot_cpu.h) */
};

/* An operation may hold its own while it multiplies, and an emulated product its floats. */
enum scratch { SCRATCH_GEMM, SCRATCH_EMULATION, SCRATCH_OPERATION, SCRATCH_COUNT };

struct cpu_stream {
    struct jsc_stream base;
    struct onednn_cache *cache;   /* primitives by shape */
    void *scratch[SCRATCH_COUNT]; /* grown when a larger shape is first seen */
    size_t scratch_bytes[SCRATCH_COUNT];
};

struct cpu_weight {
    struct jsc_weight base;
    float *w;                        /* [n][k]; serves forward, rows and, in strict precision, pull-back */
    float *bias;                     /* [n] or NULL */
    uint16_t *w_cot;                 /* [n][k] in bfloat16: pull-back in fast precision, unless packed */
    struct onednn_packed *packed[2]; /* [forward]: the library's own layout where that is faster, else NULL */
};

static inline int cpu_threads(const struct jsc_stream *stream)
{
    return stream->device->threads;
}

static inline size_t cpu_cot(const struct jsc_device *device)
{
    return ((const struct cpu_device *)device)->cot;
}

/* Scratch of at least bytes that the stream owns; content is lost when it grows. */
jsc_status cpu_scratch(struct jsc_stream *stream, enum scratch which, size_t bytes, void *out, jsc_error *error);
/* In fast precision a row of n floats for every thread (SCRATCH_OPERATION), else NULL: rows of cotangents are floats as they are. */
jsc_status cpu_cot_rows(struct jsc_stream *stream, size_t n, float **out, jsc_error *error);
/* The calling thread's. */
float *cpu_cot_row(float *rows, size_t n);

/* ---- matmul_cpu.c ---------------------------------------------------------------------------------------------------------- */

/* C[m][n] = A[m][k] B, or C += ; B is [k][n], or [n][k] if b_transposed. Rows are contiguous. A, B and C do not overlap. */
struct gemm {
    size_t m, n, k;
    const float *a, *b;
    float *c;
    bool b_transposed, accumulate;
    const struct onednn_packed *packed; /* B in the library's layout, or NULL */
};
jsc_status gemm_run(struct jsc_stream *stream, const struct gemm *gemm, jsc_error *error);

/* The same for cotangents: A, B and C are floats in strict precision; in fast precision they are bfloat16, C float if c_real. */
struct cot_gemm {
    size_t m, n, k;
    const void *a, *b;
    void *c;
    bool c_real, accumulate;
    const struct onednn_packed *packed; /* B in the library's layout, or NULL */
};
jsc_status gemm_cot(struct jsc_stream *stream, const struct cot_gemm *gemm, jsc_error *error);

/* ---- matmul_emulated.c ----------------------------------------------------------------------------------------------------- */

jsc_status gemm_emulated(struct jsc_stream *stream, const struct cot_gemm *gemm, jsc_error *error);
size_t gemm_emulated_scratch(size_t m, size_t n, size_t k);

/* ---- matmul_builtin.c ------------------------------------------------------------------------------------------------------ */

jsc_status gemm_builtin(struct jsc_stream *stream, const struct gemm *gemm, jsc_error *error);
size_t gemm_builtin_scratch(size_t n, size_t k);

/* ---- matmul_skinny.c ------------------------------------------------------------------------------------------------------- */

/* Few rows of A, B transposed and plain: faster than the library there. */
bool gemm_skinny_fits(const struct gemm *gemm);
jsc_status gemm_skinny(struct jsc_stream *stream, const struct gemm *gemm, jsc_error *error);
/* Bytes of scratch for m rows of k or fewer. */
size_t gemm_skinny_scratch(const struct cpu_device *device, size_t m, size_t k);

/* ---- matmul_onednn.c ------------------------------------------------------------------------------------------------------- */

jsc_status onednn_open(struct onednn_engine **out, jsc_error *error);
void onednn_close(struct onednn_engine *engine);
/* "oneDNN 2.6.3" */
void onednn_describe(char *text, size_t capacity);
jsc_status onednn_cache_make(const struct onednn_engine *engine, struct onednn_cache **out, jsc_error *error);
void onednn_cache_free(struct onednn_cache *cache);
jsc_status gemm_onednn(struct jsc_stream *stream, const struct gemm *gemm, jsc_error *error);
/* Are bfloat16 products done by instructions for them, not by the library's reference code? */
bool onednn_has_bf16(const struct onednn_engine *engine);
jsc_status gemm_onednn_cot(struct jsc_stream *stream, const struct cot_gemm *gemm, jsc_error *error);
/* Bytes of the library's scratch for a product, of cotangents if the device multiplies those natively. */
size_t gemm_onednn_scratch(const struct cpu_device *device, size_t m, size_t n, size_t k);
/* *out stays NULL where the library reads plain rows as fast. w [n][k] as stored. The pull-back's copy (forward false) is bfloat16 in fast
 * precision. */
jsc_status onednn_pack(const struct cpu_device *device, const float *w, size_t n, size_t k, bool forward, struct onednn_packed **out,
                       jsc_error *error);
/* Bytes of that copy, 0 if none would be made. */
uint64_t onednn_pack_bytes(const struct cpu_device *device, size_t n, size_t k, bool forward);
uint64_t onednn_packed_bytes(const struct onednn_packed *packed);
void onednn_packed_free(struct onednn_packed *packed);

/* ---- precision_cpu.c ------------------------------------------------------------------------------------------------------------ */

/* Sets the device's precision in effect: fast where asked for and real, or emulated (JSC_CPU_FAST), else strict. */
void precision_choose(struct cpu_device *device, jsc_precision wanted);
/* A trial product of cotangents as a device in fast precision now makes it; an error is as good as a wrong product. */
bool precision_multiplies_right(struct cpu_device *device);

/* ---- tile_cpu.c ------------------------------------------------------------------------------------------------------------ */

#define TILE_ROWS 6
#define TILE_COLS 16

static inline size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

/* C[m][n] (+)= A[m][k] B[k][n] for operands in cache. n is a multiple of TILE_COLS; element (i, p) of A is a[i a_row + p a_col].
 * Every element is one chain of additions in the order of p, then added to C if accumulate, whatever m and n are. */
struct tile_product {
    size_t m, n, k;
    const float *a;
    size_t a_row, a_col;
    const float *b;
    size_t b_row;
    float *c;
    size_t c_row;
    bool accumulate;
};
void tile_product(const struct tile_product *p);

/* ---- weight_cpu.c ---------------------------------------------------------------------------------------------------------- */

uint64_t weight_bytes_cpu(struct jsc_device *device, enum dtype type, size_t n, size_t k, unsigned uses);
jsc_status weight_make_cpu(struct jsc_device *device, const struct weight_part *parts, size_t n_parts, size_t k, unsigned uses,
                           const double *bias, struct jsc_weight **out, jsc_error *error);
void weight_free_cpu(struct jsc_device *device, struct jsc_weight *weight);

/* ---- the operations, one file each ------------------------------------------------------------------------------------------- */

jsc_status embed_cpu(struct jsc_stream *stream, const struct op_embed *op, jsc_error *error);
jsc_status norm_cpu(struct jsc_stream *stream, const struct op_norm *op, jsc_error *error);
jsc_status matmul_precise_cpu(struct jsc_stream *stream, const struct op_matmul *op, jsc_error *error);
jsc_status matmul_cpu(struct jsc_stream *stream, const struct op_matmul *op, jsc_error *error);
jsc_status part_norm_cpu(struct jsc_stream *stream, const struct op_part_norm *op, jsc_error *error);
jsc_status rope_cpu(struct jsc_stream *stream, const struct op_rope *op, jsc_error *error);
jsc_status attention_cpu(struct jsc_stream *stream, const struct op_attention *op, jsc_error *error);
jsc_status gate_cpu(struct jsc_stream *stream, const struct op_gate *op, jsc_error *error);
jsc_status add_cpu(struct jsc_stream *stream, const struct op_add *op, jsc_error *error);
jsc_status head_vjp_cpu(struct jsc_stream *stream, const struct op_head_vjp *op, jsc_error *error);
jsc_status matmul_vjp_cpu(struct jsc_stream *stream, const struct op_matmul_vjp *op, jsc_error *error);
jsc_status norm_vjp_cpu(struct jsc_stream *stream, const struct op_norm_vjp *op, jsc_error *error);
jsc_status norm_pull_cpu(struct jsc_stream *stream, const struct op_norm_pull *op, jsc_error *error);
jsc_status part_norm_vjp_cpu(struct jsc_stream *stream, const struct op_part_norm_vjp *op, jsc_error *error);
jsc_status gate_vjp_cpu(struct jsc_stream *stream, const struct op_gate_vjp *op, jsc_error *error);
jsc_status mlp_collapse_cpu(struct jsc_stream *stream, const struct op_mlp_collapse *op, jsc_error *error);
size_t mlp_collapse_scratch_cpu(struct jsc_device *device, enum mlp_form form, size_t n, int B, int d, int f);
jsc_status attention_vjp_cpu(struct jsc_stream *stream, const struct op_attention_vjp *op, jsc_error *error);
size_t attention_vjp_scratch_cpu(struct jsc_device *device, int S, int T, int B, int H, int K, int h);
jsc_status rope_vjp_cpu(struct jsc_stream *stream, const struct op_rope_vjp *op, jsc_error *error);
jsc_status scatter_cpu(struct jsc_stream *stream, const struct op_scatter *op, jsc_error *error);
jsc_status fisher_rows_cpu(struct jsc_stream *stream, const struct op_fisher_rows *op, jsc_error *error);
jsc_status gram_cpu(struct jsc_stream *stream, const struct op_gram *op, jsc_error *error);
jsc_status fisher_apply_cpu(struct jsc_stream *stream, const struct op_fisher_apply *op, jsc_error *error);
jsc_status probes_cpu(struct jsc_stream *stream, const struct op_probes *op, jsc_error *error);

#endif
