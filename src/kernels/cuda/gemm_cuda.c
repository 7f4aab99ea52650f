/* gemm_cuda.c: products by cuBLASLt: row-major through swapped operands, plans kept by shape, sums in one order.
 *
 * cuBLASLt is column-major, where a row-major matrix is its own transpose: C = A B is asked for as C^T = B^T A^T, so B comes first.
 * Types: float operands in true fp32 (never TF32), or bf16 operands with a float or bf16 result; sums are fp32, k is never split between
 * blocks (REDUCTION_SCHEME_NONE), so a call repeated gives the same bits. A bf16 result that is accumulated to is rounded once.
 * The heuristic is asked once for a shape; its first algorithm that the workspace holds is kept. A product may so round differently with
 * another number of rows or another alignment, never from one call to the next. Test: test_gemm_cuda.c. */
#include "blas_cuda.h"
#include "cuda_internal.h"

#include <string.h>

#define PLAN_SETS  64 /* 512 plans in all: a model has some ten shapes of weights, each with some numbers of rows */
#define PLAN_WAYS  8
#define ASKED      8               /* algorithms */
#define MOST_BATCH ((size_t)32768) /* problems of one call: kernels count them in a grid's third dimension, which ends at 65535 */

/* All that the choice of an algorithm depends on; compared as bytes, so without padding. */
struct gemm_key {
    uint64_t m, n, k, lda, ldb, ldc, batch, stride_a, stride_b, stride_c;
    uint64_t align_a, align_b, align_c; /* bytes, a power of two, at most 256 */
    uint64_t kinds;
};
enum { KIND_A_TRANSPOSED = 1, KIND_B_TRANSPOSED = 2, KIND_BF16_AB = 4, KIND_BF16_C = 8, KIND_ACCUMULATE = 16 };

struct gemm_plan {
    struct gemm_key key;
    uint64_t used; /* when last, in products; 0: empty */
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t a, b, c;
    cublasLtMatmulAlgo_t algo;
};
/* Plans of equal hash share a set, where a new one takes the place of that which waited longest. */
struct gemm_cache {
    const struct blas_cuda *blas; /* of the plans; known with the first product */
    uint64_t clock;
    struct gemm_plan plans[PLAN_SETS][PLAN_WAYS];
};

static void plan_destroy(const struct blas_cuda *blas, struct gemm_plan *plan)
{
    if (plan->desc != NULL)
        (void)blas->MatmulDescDestroy(plan->desc);
    if (plan->a != NULL)
        (void)blas->MatrixLayoutDestroy(plan->a);
    if (plan->b != NULL)
        (void)blas->MatrixLayoutDestroy(plan->b);
    if (plan->c != NULL)
        (void)blas->MatrixLayoutDestroy(plan->c);
    *plan = (struct gemm_plan){0};
}

jsc_status gemm_cache_make(struct gemm_cache **out, jsc_error *error)
{
    return mem_new(out, 1, error);
}

void gemm_cache_free(struct gemm_cache *cache)
{
    if (cache != NULL && cache->blas != NULL)
        for (int set = 0; set < PLAN_SETS; set++)
            for (int way = 0; way < PLAN_WAYS; way++)
                plan_destroy(cache->blas, &cache->plans[set][way]);
    mem_free(cache);
}

/* ---- keys ------------------------------------------------------------------------------------------------------------------------ */

/* What every problem's first address is a multiple of, in bytes. */
static uint64_t alignment_of(const void *p, size_t stride_bytes)
{
    const uint64_t bits = (uint64_t)(uintptr_t)p | stride_bytes | 256;
    return bits & (~bits + 1);
}

static struct gemm_key key_of(const struct gemm_cuda *g)
{
    const size_t ab = g->bf16_ab ? 2 : 4, c = g->bf16_c ? 2 : 4;
    const bool many = g->batch > 1;
    struct gemm_key key = {.m = g->m, .n = g->n, .k = g->k, .batch = many ? g->batch : 1};
    key.lda = g->lda > 0 ? g->lda : g->a_transposed ? g->m : g->k;
    key.ldb = g->ldb > 0 ? g->ldb : g->b_transposed ? g->k : g->n;
    key.ldc = g->ldc > 0 ? g->ldc : g->n;
    key.stride_a = many ? g->stride_a : 0;
    key.stride_b = many ? g->stride_b : 0;
    key.stride_c = many ? g->stride_c : 0;
    key.align_a = alignment_of(g->a, key.stride_a * ab);
    key.align_b = alignment_of(g->b, key.stride_b * ab);
    key.align_c = alignment_of(g->c, key.stride_c * c);
    key.kinds = (g->a_transposed ? KIND_A_TRANSPOSED : 0u) | (g->b_transposed ? KIND_B_TRANSPOSED : 0u) | (g->bf16_ab ? KIND_BF16_AB : 0u) |
                (g->bf16_c ? KIND_BF16_C : 0u) | (g->accumulate ? KIND_ACCUMULATE : 0u);
    return key;
}

static size_t set_of(const struct gemm_key *key)
{
    uint64_t words[sizeof *key / sizeof(uint64_t)], hash = 0;
    memcpy(words, key, sizeof words);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        hash = (hash ^ words[i]) * 0x9e3779b97f4a7c15u;
    return (size_t)(hash >> 32) % PLAN_SETS;
}

/* The key's plan, or the place for it: an empty one or the one to give up. */
static struct gemm_plan *find(struct gemm_cache *cache, const struct gemm_key *key, bool *found)
{
    struct gemm_plan *set = cache->plans[set_of(key)], *oldest = set;
    *found = true;
    for (struct gemm_plan *plan = set; plan < set + PLAN_WAYS; plan++) {
        if (plan->used > 0 && memcmp(&plan->key, key, sizeof *key) == 0)
            return plan;
        if (plan->used < oldest->used)
            oldest = plan;
    }
    *found = false;
    return oldest;
}

/* ---- plans ----------------------------------------------------------------------------------------------------------------------- */

static jsc_status blas_check(const struct blas_cuda *blas, const struct gemm_key *key, cublasStatus_t result, const char *what,
                             jsc_error *error)
{
    if (result == CUBLAS_STATUS_SUCCESS)
        return JSC_OK;
    const jsc_status status = cuda_check(cudaGetLastError(), "product", error); /* what lies behind it, if there is more */
    if (status != JSC_OK)
        return status;
    return status_set(
        error, result == CUBLAS_STATUS_ALLOC_FAILED ? JSC_E_MEMORY : JSC_E_DEVICE,
        "cuda: product of [%" PRIu64 ",%" PRIu64 "] and [%" PRIu64 ",%" PRIu64 "], %" PRIu64
        " of them, %s: %s failed: %s (cuBLASLt status %d); another version of cuBLASLt may help (JSC_CUBLASLT), or --device cpu",
        key->m, key->k, key->k, key->n, key->batch, key->kinds & KIND_BF16_AB ? "bf16" : "fp32", what, blas->GetStatusString(result),
        (int)result);
}

/* rows, cols: column-major, so rows are contiguous. */
static cublasStatus_t layout_make(const struct blas_cuda *blas, const struct gemm_key *key, bool bf16, uint64_t rows, uint64_t cols,
                                  uint64_t ld, uint64_t stride, cublasLtMatrixLayout_t *out)
{
    const int32_t batch = (int32_t)key->batch;
    const int64_t offset = (int64_t)stride;
    cublasStatus_t result = blas->MatrixLayoutCreate(out, bf16 ? CUDA_R_16BF : CUDA_R_32F, rows, cols, (int64_t)ld);
    if (result == CUBLAS_STATUS_SUCCESS && batch > 1)
        result = blas->MatrixLayoutSetAttribute(*out, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &batch, sizeof batch);
    if (result == CUBLAS_STATUS_SUCCESS && batch > 1)
        result = blas->MatrixLayoutSetAttribute(*out, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &offset, sizeof offset);
    return result;
}

/* Descriptor and layouts. cuBLASLt's first operand is our B. */
static cublasStatus_t describe(const struct blas_cuda *blas, const struct gemm_key *key, struct gemm_plan *plan)
{
    const bool ta = key->kinds & KIND_A_TRANSPOSED, tb = key->kinds & KIND_B_TRANSPOSED, ab = key->kinds & KIND_BF16_AB;
    const int32_t first = tb ? CUBLAS_OP_T : CUBLAS_OP_N, second = ta ? CUBLAS_OP_T : CUBLAS_OP_N;
    cublasStatus_t result = blas->MatmulDescCreate(&plan->desc, CUBLAS_COMPUTE_32F, CUDA_R_32F);
    if (result == CUBLAS_STATUS_SUCCESS)
        result = blas->MatmulDescSetAttribute(plan->desc, CUBLASLT_MATMUL_DESC_TRANSA, &first, sizeof first);
    if (result == CUBLAS_STATUS_SUCCESS)
        result = blas->MatmulDescSetAttribute(plan->desc, CUBLASLT_MATMUL_DESC_TRANSB, &second, sizeof second);
    if (result == CUBLAS_STATUS_SUCCESS)
        result = layout_make(blas, key, ab, tb ? key->k : key->n, tb ? key->n : key->k, key->ldb, key->stride_b, &plan->b);
    if (result == CUBLAS_STATUS_SUCCESS)
        result = layout_make(blas, key, ab, ta ? key->m : key->k, ta ? key->k : key->m, key->lda, key->stride_a, &plan->a);
    if (result == CUBLAS_STATUS_SUCCESS)
        result = layout_make(blas, key, key->kinds & KIND_BF16_C, key->n, key->m, key->ldc, key->stride_c, &plan->c);
    return result;
}

static cublasStatus_t prefer(const struct blas_cuda *blas, const struct gemm_key *key, cublasLtMatmulPreference_t preference)
{
    const uint64_t workspace = CUDA_WORKSPACE_BYTES;
    const uint32_t scheme = CUBLASLT_REDUCTION_SCHEME_NONE;
    const uint32_t align_a = (uint32_t)key->align_a, align_b = (uint32_t)key->align_b, align_c = (uint32_t)key->align_c;
    const struct {
        cublasLtMatmulPreferenceAttributes_t name;
        const void *value;
        size_t size;
    } attributes[] = {
        {CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof workspace},
        {CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &scheme, sizeof scheme},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &align_b, sizeof align_b}, /* their A is our B */
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &align_a, sizeof align_a},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &align_c, sizeof align_c},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &align_c, sizeof align_c},
    };
    cublasStatus_t result = CUBLAS_STATUS_SUCCESS;
    for (size_t i = 0; i < sizeof attributes / sizeof *attributes && result == CUBLAS_STATUS_SUCCESS; i++)
        result = blas->MatmulPreferenceSetAttribute(preference, attributes[i].name, attributes[i].value, attributes[i].size);
    return result;
}

static jsc_status choose_algorithm(const struct blas_cuda *blas, const struct gemm_key *key, struct gemm_plan *plan, jsc_error *error)
{
    jsc_status status = JSC_OK;
    cublasLtMatmulPreference_t preference = NULL;
    cublasLtMatmulHeuristicResult_t results[ASKED];
    int found = 0, best = 0;

    TRY(blas_check(blas, key, blas->MatmulPreferenceCreate(&preference), "making its preferences", error));
    TRY(blas_check(blas, key, prefer(blas, key, preference), "setting its preferences", error));
    TRY(blas_check(
        blas, key,
        blas->MatmulAlgoGetHeuristic(blas->handle, plan->desc, plan->b, plan->a, plan->c, plan->c, preference, ASKED, results, &found),
        "choosing an algorithm", error));
    while (best < found && (results[best].state != CUBLAS_STATUS_SUCCESS || results[best].workspaceSize > CUDA_WORKSPACE_BYTES))
        best++;
    if (best == found)
        TRY(blas_check(blas, key, CUBLAS_STATUS_NOT_SUPPORTED, "choosing an algorithm", error));
    plan->algo = results[best].algo;
done:
    if (preference != NULL)
        (void)blas->MatmulPreferenceDestroy(preference);
    return status;
}

static jsc_status plan_make(const struct blas_cuda *blas, const struct gemm_key *key, struct gemm_plan *plan, jsc_error *error)
{
    jsc_status status = JSC_OK;
    plan_destroy(blas, plan);
    TRY(blas_check(blas, key, describe(blas, key, plan), "describing it", error));
    TRY(choose_algorithm(blas, key, plan, error));
    plan->key = *key;
done:
    if (status != JSC_OK)
        plan_destroy(blas, plan);
    return status;
}

/* At most MOST_BATCH problems. */
static jsc_status launch(struct jsc_stream *stream, const struct gemm_cuda *gemm, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const struct cuda_stream *s = (const struct cuda_stream *)stream;
    const struct blas_cuda *blas = cuda_device_of(stream)->blas;
    const float one = 1.0f, beta = gemm->accumulate ? 1.0f : 0.0f;
    const struct gemm_key key = key_of(gemm);
    bool found = false;

    s->gemms->blas = blas;
    struct gemm_plan *plan = find(s->gemms, &key, &found);
    if (!found)
        TRY(plan_make(blas, &key, plan, error));
    plan->used = ++s->gemms->clock;
    TRY(blas_check(blas, &key,
                   blas->Matmul(blas->handle, plan->desc, &one, gemm->b, plan->b, gemm->a, plan->a, &beta, gemm->c, plan->c, gemm->c,
                                plan->c, &plan->algo, s->workspace, CUDA_WORKSPACE_BYTES, s->handle),
                   "the launch", error));
done:
    return status;
}

jsc_status gemm_cuda(struct jsc_stream *stream, const struct gemm_cuda *gemm, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t batch = gemm->batch > 1 ? gemm->batch : 1, ab = gemm->bf16_ab ? 2 : 4, c = gemm->bf16_c ? 2 : 4;

    if (gemm->m == 0 || gemm->n == 0 || gemm->k == 0)
        return JSC_OK;
    for (size_t first = 0; first < batch; first += MOST_BATCH) {
        struct gemm_cuda piece = *gemm;
        piece.batch = batch - first < MOST_BATCH ? batch - first : MOST_BATCH;
        piece.a = (const char *)gemm->a + first * gemm->stride_a * ab;
        piece.b = (const char *)gemm->b + first * gemm->stride_b * ab;
        piece.c = (char *)gemm->c + first * gemm->stride_c * c;
        TRY(launch(stream, &piece, error));
    }
done:
    return status;
}
