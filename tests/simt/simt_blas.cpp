/* simt_blas.cpp: cuBLASLt's objects and calls as the backend uses them; what the real library would refuse is refused here.
 *
 * An algorithm remembers the types, transposes and alignments that it was asked for: used for anything else, or with less workspace or
 * alignment than promised, the product fails as it may on a device. */
#include "simt_engine.h"

#include "cublaslt_api.h"
#include "simt_gemm.h"

#include <cstring>

struct descriptor {
    cublasComputeType_t compute;
    cudaDataType_t scale;
    int32_t transa, transb;
};
struct layout {
    uint32_t type;
    uint64_t rows, cols;
    int64_t ld, stride;
    int32_t batch;
};
struct preference {
    uint64_t workspace;
    uint32_t reduction_mask, alignment[4];
};
struct algorithm {
    uint64_t magic;
    uint32_t kinds;        /* types and transposes */
    uint16_t alignment[4]; /* of A, B, C, D, bytes */
    uint64_t workspace;
};
static_assert(sizeof(struct algorithm) <= sizeof(cublasLtMatmulAlgo_t), "fits");
static const uint64_t magic = 0x73696d745f616c67, wanted_workspace = 4096;

template <class T, class H> static T *as(H handle)
{
    return reinterpret_cast<T *>(handle);
}
template <class T, class H> static cublasStatus_t make(H *out, const T &value)
{
    struct simt_guard guard;
    if (simt_enter("cublasLt") != cudaSuccess)
        return CUBLAS_STATUS_ALLOC_FAILED;
    *out = reinterpret_cast<H>(new T(value));
    simt_live_objects++;
    return CUBLAS_STATUS_SUCCESS;
}
template <class T, class H> static cublasStatus_t destroy(H handle)
{
    struct simt_guard guard;
    if (handle)
        simt_live_objects--;
    delete as<T>(handle);
    return CUBLAS_STATUS_SUCCESS;
}
template <class T> static cublasStatus_t set(T *field, const void *value, size_t size)
{
    if (!value || size != sizeof *field)
        return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(field, value, size);
    return CUBLAS_STATUS_SUCCESS;
}
/* An attribute that may only be set to what it is anyway. */
static cublasStatus_t must_be(int32_t only, const void *value, size_t size)
{
    int32_t given;
    const cublasStatus_t status = set(&given, value, size);
    return status != CUBLAS_STATUS_SUCCESS ? status : given == only ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

/* ---- what can be multiplied ------------------------------------------------------------------------------------------------------- */

static uint32_t kinds_of(const struct descriptor *d, const struct layout *a, const struct layout *b, const struct layout *c)
{
    return (uint32_t)d->transa | (uint32_t)d->transb << 1 | a->type << 2 | b->type << 10 | c->type << 18;
}

static bool types_fit(const struct descriptor *d, const struct layout *a, const struct layout *b, const struct layout *c,
                      const struct layout *out)
{
    if (a->type != b->type || c->type != out->type)
        return false;
    if (d->compute == CUBLAS_COMPUTE_64F)
        return d->scale == CUDA_R_64F && a->type == CUDA_R_64F && c->type == CUDA_R_64F;
    if ((d->compute != CUBLAS_COMPUTE_32F && d->compute != CUBLAS_COMPUTE_32F_PEDANTIC) || d->scale != CUDA_R_32F)
        return false;
    return (a->type == CUDA_R_32F && c->type == CUDA_R_32F) ||
           (a->type == CUDA_R_16BF && (c->type == CUDA_R_32F || c->type == CUDA_R_16BF));
}

static bool shapes_fit(const struct descriptor *d, const struct layout *a, const struct layout *b, const struct layout *c,
                       const struct layout *out)
{
    const uint64_t m = out->rows, n = out->cols, k = d->transa ? a->rows : a->cols;
    const bool shapes = (d->transa ? a->cols : a->rows) == m && (d->transb ? b->cols : b->rows) == k &&
                        (d->transb ? b->rows : b->cols) == n && c->rows == m && c->cols == n;
    return shapes && m > 0 && n > 0 && k > 0 && a->ld >= (int64_t)a->rows && b->ld >= (int64_t)b->rows && c->ld >= (int64_t)m &&
           out->ld >= (int64_t)m && a->batch == out->batch && b->batch == out->batch && c->batch == out->batch && out->batch > 0;
}

static cublasStatus_t check(const struct descriptor *d, const struct layout *a, const struct layout *b, const struct layout *c,
                            const struct layout *out)
{
    if (!d || !a || !b || !c || !out)
        return CUBLAS_STATUS_INVALID_VALUE;
    if (!types_fit(d, a, b, c, out))
        return CUBLAS_STATUS_NOT_SUPPORTED;
    if (shapes_fit(d, a, b, c, out))
        return CUBLAS_STATUS_SUCCESS;
    simt_record(
        "cublasLt: shapes do not fit: A %llux%llu ld %lld, B %llux%llu ld %lld, D %llux%llu ld %lld, transposes %d %d, batch %d %d %d",
        (unsigned long long)a->rows, (unsigned long long)a->cols, (long long)a->ld, (unsigned long long)b->rows,
        (unsigned long long)b->cols, (long long)b->ld, (unsigned long long)out->rows, (unsigned long long)out->cols, (long long)out->ld,
        d->transa, d->transb, a->batch, b->batch, out->batch);
    return CUBLAS_STATUS_INVALID_VALUE;
}

/* A matrix, all of its batches, lies in one allocation and is aligned as promised. */
static bool operand_fits(const char *name, const void *p, const struct layout *l, unsigned alignment)
{
    size_t left;
    const size_t elements = (size_t)(l->batch - 1) * (size_t)l->stride + (l->cols - 1) * (size_t)l->ld + l->rows;
    if (simt_space_of(p, &left) != SIMT_DEVICE || left < elements * simt_gemm_size(l->type)) {
        simt_record("cublasLtMatmul: %s at %p does not hold %zu elements: %zu bytes are left in its allocation", name, p, elements, left);
        return false;
    }
    if (alignment && ((uintptr_t)p % alignment || (l->batch > 1 && (size_t)l->stride * simt_gemm_size(l->type) % alignment))) {
        simt_record("cublasLtMatmul: %s at %p is not aligned to the %u bytes that its algorithm was chosen for", name, p, alignment);
        return false;
    }
    return true;
}

static double scale_of(const struct descriptor *d, const void *p)
{
    if (d->scale == CUDA_R_64F) {
        double x;
        memcpy(&x, p, sizeof x);
        return x;
    }
    float x;
    memcpy(&x, p, sizeof x);
    return (double)x;
}

static bool algorithm_fits(const cublasLtMatmulAlgo_t *given, uint32_t kinds, const void *workspace, size_t workspace_bytes,
                           struct algorithm *out)
{
    memcpy(out, given, sizeof *out);
    size_t left;
    if (out->magic != magic || out->kinds != kinds) {
        simt_record("cublasLtMatmul: the algorithm was chosen for other types or transposes");
        return false;
    }
    if (out->workspace > workspace_bytes ||
        (out->workspace > 0 && (simt_space_of(workspace, &left) != SIMT_DEVICE || left < workspace_bytes))) {
        simt_record("cublasLtMatmul: the algorithm needs %llu bytes of workspace in device memory", (unsigned long long)out->workspace);
        return false;
    }
    return true;
}

extern "C" {

size_t cublasLtGetVersion(void)
{
    return 130100;
}
const char *cublasLtGetStatusString(cublasStatus_t status)
{
    return status == CUBLAS_STATUS_SUCCESS ? "success" : status == CUBLAS_STATUS_NOT_SUPPORTED ? "not supported" : "a cuBLAS error";
}
cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle)
{
    return make(handle, (int)0);
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle)
{
    return destroy<int>(handle);
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *desc, cublasComputeType_t compute, cudaDataType_t scale)
{
    return make(desc, descriptor{compute, scale, 0, 0});
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc)
{
    return destroy<descriptor>(desc);
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t attribute, const void *value,
                                              size_t size)
{
    struct descriptor *d = as<descriptor>(desc);
    switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
        return set(&d->transa, value, size);
    case CUBLASLT_MATMUL_DESC_TRANSB:
        return set(&d->transb, value, size);
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
        return must_be(CUBLASLT_EPILOGUE_DEFAULT, value, size);
    case CUBLASLT_MATMUL_DESC_POINTER_MODE:
        return must_be(CUBLASLT_POINTER_MODE_HOST, value, size);
    default:
        return CUBLAS_STATUS_NOT_SUPPORTED;
    }
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *out, cudaDataType type, uint64_t rows, uint64_t cols, int64_t ld)
{
    return make(out, layout{(uint32_t)type, rows, cols, ld, 0, 1});
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t handle)
{
    return destroy<layout>(handle);
}
cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t handle, cublasLtMatrixLayoutAttribute_t attribute, const void *value,
                                                size_t size)
{
    struct layout *l = as<layout>(handle);
    switch (attribute) {
    case CUBLASLT_MATRIX_LAYOUT_TYPE:
        return set(&l->type, value, size);
    case CUBLASLT_MATRIX_LAYOUT_ORDER:
        return must_be(CUBLASLT_ORDER_COL, value, size);
    case CUBLASLT_MATRIX_LAYOUT_ROWS:
        return set(&l->rows, value, size);
    case CUBLASLT_MATRIX_LAYOUT_COLS:
        return set(&l->cols, value, size);
    case CUBLASLT_MATRIX_LAYOUT_LD:
        return set(&l->ld, value, size);
    case CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT:
        return set(&l->batch, value, size);
    case CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET:
        return set(&l->stride, value, size);
    default:
        return CUBLAS_STATUS_NOT_SUPPORTED;
    }
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *out)
{
    return make(out, preference{0, 0x7, {256, 256, 256, 256}});
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t handle)
{
    return destroy<preference>(handle);
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t handle, cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void *value, size_t size)
{
    struct preference *p = as<preference>(handle);
    switch (attribute) {
    case CUBLASLT_MATMUL_PREF_SEARCH_MODE:
        return must_be(0, value, size);
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
        return set(&p->workspace, value, size);
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK:
        return set(&p->reduction_mask, value, size);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
        return set(&p->alignment[0], value, size);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
        return set(&p->alignment[1], value, size);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
        return set(&p->alignment[2], value, size);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
        return set(&p->alignment[3], value, size);
    default:
        return CUBLAS_STATUS_NOT_SUPPORTED;
    }
}

/* Two algorithms: the first wants workspace, the second none; neither if split sums are not excluded, since they would not repeat. */
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t a_layout,
                                              cublasLtMatrixLayout_t b_layout, cublasLtMatrixLayout_t c_layout,
                                              cublasLtMatrixLayout_t d_layout, cublasLtMatmulPreference_t handle, int asked,
                                              cublasLtMatmulHeuristicResult_t results[], int *found)
{
    struct simt_guard guard;
    const struct preference *p = as<preference>(handle);
    const struct descriptor *d = as<descriptor>(desc);
    const struct layout *a = as<layout>(a_layout), *b = as<layout>(b_layout), *c = as<layout>(c_layout);
    *found = 0;
    if (simt_enter("cublasLtMatmulAlgoGetHeuristic") != cudaSuccess)
        return CUBLAS_STATUS_INTERNAL_ERROR;
    const cublasStatus_t status = check(d, a, b, c, as<layout>(d_layout));
    if (status != CUBLAS_STATUS_SUCCESS)
        return status;
    if (p->reduction_mask != CUBLASLT_REDUCTION_SCHEME_NONE) {
        simt_record("cublasLtMatmulAlgoGetHeuristic: the reduction scheme is not NONE: sums may be split and then differ between runs");
        return CUBLAS_STATUS_NOT_SUPPORTED;
    }
    const uint64_t wanted[] = {wanted_workspace, 0};
    for (const uint64_t workspace : wanted) {
        if (workspace > p->workspace || *found >= asked)
            continue;
        const struct algorithm algorithm = {
            magic,
            kinds_of(d, a, b, c),
            {(uint16_t)p->alignment[0], (uint16_t)p->alignment[1], (uint16_t)p->alignment[2], (uint16_t)p->alignment[3]},
            workspace};
        results[*found] = {};
        memcpy(&results[*found].algo, &algorithm, sizeof algorithm);
        results[*found].workspaceSize = workspace;
        results[*found].state = CUBLAS_STATUS_SUCCESS;
        results[*found].wavesCount = 1.0f;
        ++*found;
    }
    return *found > 0 ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, const void *alpha, const void *A,
                              cublasLtMatrixLayout_t a_layout, const void *B, cublasLtMatrixLayout_t b_layout, const void *beta,
                              const void *C, cublasLtMatrixLayout_t c_layout, void *D, cublasLtMatrixLayout_t d_layout,
                              const cublasLtMatmulAlgo_t *algo, void *workspace, size_t workspace_bytes, cudaStream_t stream)
{
    struct simt_guard guard;
    const struct descriptor *d = as<descriptor>(desc);
    const struct layout *a = as<layout>(a_layout), *b = as<layout>(b_layout), *c = as<layout>(c_layout), *out = as<layout>(d_layout);
    struct algorithm algorithm = {};
    if (!handle || !alpha || !beta)
        return CUBLAS_STATUS_INVALID_VALUE;
    if (simt_enter("cublasLtMatmul") != cudaSuccess)
        return CUBLAS_STATUS_EXECUTION_FAILED;
    const cublasStatus_t status = check(d, a, b, c, out);
    if (status != CUBLAS_STATUS_SUCCESS)
        return status;
    if (algo && !algorithm_fits(algo, kinds_of(d, a, b, c), workspace, workspace_bytes, &algorithm))
        return CUBLAS_STATUS_INVALID_VALUE;
    const struct simt_gemm gemm = {d->transa != 0,
                                   d->transb != 0,
                                   (size_t)out->rows,
                                   (size_t)out->cols,
                                   (size_t)(d->transa ? a->rows : a->cols),
                                   {A, a->type, a->ld, a->stride},
                                   {B, b->type, b->ld, b->stride},
                                   {C, c->type, c->ld, c->stride},
                                   D,
                                   out->ld,
                                   out->stride,
                                   out->batch,
                                   scale_of(d, alpha),
                                   scale_of(d, beta),
                                   d->compute == CUBLAS_COMPUTE_64F};
    if (!operand_fits("A", A, a, algorithm.alignment[0]) || !operand_fits("B", B, b, algorithm.alignment[1]) ||
        !operand_fits("D", D, out, algorithm.alignment[3]) || (gemm.beta != 0.0 && !operand_fits("C", C, c, algorithm.alignment[2])))
        return CUBLAS_STATUS_INVALID_VALUE;
    const cudaError_t error = simt_submit(stream, [gemm] {
        simt_memory_open();
        simt_gemm_run(&gemm);
        simt_memory_close();
        return cudaSuccess;
    });
    return error == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}

} /* extern "C" */
