/* test_simt_blas.cpp: the fake cuBLASLt against plain loops, what it refuses, and our own declarations against the real header. */
#include "simt_testing.h"

#include "cublaslt_api.h"

#include <cmath>

/* The header of the toolkit, where there is one, and ours agree: cublaslt_api.h is used where only the small packages are installed. */
static_assert(CUBLAS_STATUS_NOT_SUPPORTED == 15 && CUBLAS_STATUS_INVALID_VALUE == 7 && CUBLAS_STATUS_ALLOC_FAILED == 3 && CUBLAS_OP_T == 1,
              "status");
static_assert(CUBLAS_COMPUTE_32F == 68 && CUBLAS_COMPUTE_32F_PEDANTIC == 69 && CUBLAS_COMPUTE_64F == 70 &&
                  CUBLAS_COMPUTE_32F_FAST_TF32 == 77,
              "compute");
static_assert(CUBLASLT_MATMUL_DESC_TRANSA == 3 && CUBLASLT_MATMUL_DESC_TRANSB == 4 && CUBLASLT_MATMUL_DESC_EPILOGUE == 7, "descriptor");
static_assert(CUBLASLT_MATMUL_DESC_COMPUTE_TYPE == 0 && CUBLASLT_MATMUL_DESC_SCALE_TYPE == 1 && CUBLASLT_MATMUL_DESC_POINTER_MODE == 2,
              "descriptor");
static_assert(CUBLASLT_MATRIX_LAYOUT_TYPE == 0 && CUBLASLT_MATRIX_LAYOUT_ORDER == 1 && CUBLASLT_MATRIX_LAYOUT_ROWS == 2 &&
                  CUBLASLT_MATRIX_LAYOUT_COLS == 3 && CUBLASLT_MATRIX_LAYOUT_LD == 4 && CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT == 5 &&
                  CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET == 6,
              "layout");
static_assert(CUBLASLT_MATMUL_PREF_SEARCH_MODE == 0 && CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES == 1 &&
                  CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK == 3 && CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES == 5 &&
                  CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES == 8,
              "preference");
static_assert(CUBLASLT_ORDER_COL == 0 && CUBLASLT_REDUCTION_SCHEME_NONE == 0 && CUBLASLT_EPILOGUE_DEFAULT == 1 &&
                  CUBLASLT_POINTER_MODE_HOST == 0,
              "values");
static_assert(sizeof(cublasLtMatmulAlgo_t) == 64 && sizeof(cublasLtMatmulHeuristicResult_t) == 96, "sizes");

static void quiet()
{
    simt_settings.quiet = true;
}
TestSuite(simt_blas, .init = quiet);

/* A product with everything that it needs, made as a backend would. */
struct product {
    cublasLtHandle_t handle;
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t a, b, c;
    cublasLtMatmulPreference_t preference;
    cublasLtMatmulHeuristicResult_t best;
    int found;
    cublasStatus_t status;

    product(bool ta, bool tb, uint64_t m, uint64_t n, uint64_t k, cudaDataType in, cudaDataType out, int batch, uint32_t alignment,
            cublasComputeType_t compute = CUBLAS_COMPUTE_32F, cudaDataType scale = CUDA_R_32F)
    {
        const int32_t transposes[2] = {ta, tb};
        const uint64_t workspace = 1 << 20;
        const uint32_t none = CUBLASLT_REDUCTION_SCHEME_NONE;
        cublasLtCreate(&handle);
        cublasLtMatmulDescCreate(&desc, compute, scale);
        cublasLtMatmulDescSetAttribute(desc, CUBLASLT_MATMUL_DESC_TRANSA, &transposes[0], sizeof transposes[0]);
        cublasLtMatmulDescSetAttribute(desc, CUBLASLT_MATMUL_DESC_TRANSB, &transposes[1], sizeof transposes[1]);
        cublasLtMatrixLayoutCreate(&a, in, ta ? k : m, ta ? m : k, (int64_t)(ta ? k : m) + 8);
        cublasLtMatrixLayoutCreate(&b, in, tb ? n : k, tb ? k : n, (int64_t)(tb ? n : k));
        cublasLtMatrixLayoutCreate(&c, out, m, n, (int64_t)m);
        const int64_t strides[3] = {(int64_t)((ta ? k : m) + 8) * (int64_t)(ta ? m : k), 0,
                                    (int64_t)(m * n)}; /* B is shared by the batch */
        cublasLtMatrixLayout_t layouts[3] = {a, b, c};
        for (int i = 0; i < 3; i++) {
            const int32_t count = batch;
            cublasLtMatrixLayoutSetAttribute(layouts[i], CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof count);
            cublasLtMatrixLayoutSetAttribute(layouts[i], CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &strides[i], sizeof strides[i]);
        }
        cublasLtMatmulPreferenceCreate(&preference);
        cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof workspace);
        cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &none, sizeof none);
        for (const auto which : {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                                 CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
            cublasLtMatmulPreferenceSetAttribute(preference, which, &alignment, sizeof alignment);
        status = cublasLtMatmulAlgoGetHeuristic(handle, desc, a, b, c, c, preference, 1, &best, &found);
    }
    product(const product &) = delete;
    ~product()
    {
        cublasLtMatmulPreferenceDestroy(preference);
        cublasLtMatrixLayoutDestroy(a), cublasLtMatrixLayoutDestroy(b), cublasLtMatrixLayoutDestroy(c);
        cublasLtMatmulDescDestroy(desc), cublasLtDestroy(handle);
    }
    cublasStatus_t run(const void *A, const void *B, void *D, const void *alpha, const void *beta, void *workspace, size_t bytes) const
    {
        return cublasLtMatmul(handle, desc, alpha, A, a, B, b, beta, D, c, D, c, &best.algo, workspace, bytes, nullptr);
    }
};

static float value_of(float x)
{
    return x;
}
static float value_of(bf16 x)
{
    return f32_of(x);
}

template <class In, class Out>
static void check_product(bool ta, bool tb, int m, int n, int k, int batch, cudaDataType in, cudaDataType out)
{
    const int lda = (ta ? k : m) + 8, stride = lda * (ta ? m : k);
    std::vector<In> a((size_t)stride * batch), b((size_t)n * k);
    std::vector<Out> d((size_t)m * n * batch);
    for (size_t i = 0; i < a.size(); i++)
        a[i] = of_f32<In>(whole(i));
    for (size_t i = 0; i < b.size(); i++)
        b[i] = of_f32<In>(whole(i + 77));
    for (size_t i = 0; i < d.size(); i++)
        d[i] = of_f32<Out>(whole(i + 5));
    const device_array<In> da(a), db(b);
    const device_array<Out> dd(d);
    const device_array<char> workspace(1 << 20);
    const product p(ta, tb, m, n, k, in, out, batch, 2);
    const float alpha = 0.5f, beta = 2.0f;
    cr_assert(p.status == CUBLAS_STATUS_SUCCESS && p.found == 1, "%s", simt_message());
    cr_assert(p.run(da.data, db.data, dd.data, &alpha, &beta, workspace.data, 1 << 20) == CUBLAS_STATUS_SUCCESS, "%s", simt_message());
    const std::vector<Out> got = dd.get();
    for (int s = 0; s < batch; s++)
        for (int j = 0; j < n; j++)
            for (int i = 0; i < m; i++) {
                float sum = 0;
                for (int l = 0; l < k; l++)
                    sum += value_of(a[s * stride + (ta ? i * lda + l : l * lda + i)]) * value_of(b[tb ? l * n + j : j * k + l]);
                const size_t at = ((size_t)s * n + j) * m + i;
                const Out expected = of_f32<Out>(0.5f * sum + 2.0f * value_of(d[at]));
                cr_assert(value_of(got[at]) == value_of(expected), "%d%d m %d n %d k %d, (%d, %d) of %d: %g, not %g", ta, tb, m, n, k, i, j,
                          s, (double)value_of(got[at]), (double)value_of(expected));
            }
}
Test(simt_blas, products_of_every_transpose_and_type)
{
    for (int t = 0; t < 4; t++) {
        check_product<float, float>(t & 1, t >> 1, 5, 7, 9, 1, CUDA_R_32F, CUDA_R_32F);
        check_product<bf16, float>(t & 1, t >> 1, 8, 3, 16, 3, CUDA_R_16BF, CUDA_R_32F);
        check_product<bf16, bf16>(t & 1, t >> 1, 1, 4, 33, 2, CUDA_R_16BF, CUDA_R_16BF);
    }
}

Test(simt_blas, double_and_beta_zero_over_nan)
{
    const device_array<double> a(std::vector<double>(10 * 3, 1.0 / 3)), b(std::vector<double>(3 * 2, 0.1)), d(2 * 2); /* d is NaN */
    const product p(false, false, 2, 2, 3, CUDA_R_64F, CUDA_R_64F, 1, 8, CUBLAS_COMPUTE_64F, CUDA_R_64F);
    const device_array<char> workspace(4096);
    const double one = 1, zero = 0;
    cr_assert(p.run(a.data, b.data, d.data, &one, &zero, workspace.data, 4096) == CUBLAS_STATUS_SUCCESS, "%s", simt_message());
    for (const double x : d.get())
        cr_expect(std::fabs(x - 0.1) <= 1e-16, "%.17g", x);
}

Test(simt_blas, what_is_refused)
{
    const device_array<float> a(200), b(200), d(200);
    const device_array<char> workspace(4096);
    const float one = 1, zero = 0;
    const int32_t bias = 4;
    const product p(false, false, 8, 8, 8, CUDA_R_32F, CUDA_R_32F, 1, 16),
        tf32(false, false, 8, 8, 8, CUDA_R_32F, CUDA_R_32F, 1, 16, CUBLAS_COMPUTE_32F_FAST_TF32),
        mixed(false, false, 8, 8, 8, CUDA_R_16BF, CUDA_R_64F, 1, 16);
    cr_expect(tf32.status == CUBLAS_STATUS_NOT_SUPPORTED && mixed.status == CUBLAS_STATUS_NOT_SUPPORTED, "TF32, odd types");
    cr_expect(cublasLtMatmulDescSetAttribute(p.desc, CUBLASLT_MATMUL_DESC_EPILOGUE, &bias, sizeof bias) == CUBLAS_STATUS_NOT_SUPPORTED,
              "an epilogue");
    cr_expect(cublasLtMatmulDescSetAttribute(p.desc, (cublasLtMatmulDescAttributes_t)25, &bias, sizeof bias) == CUBLAS_STATUS_NOT_SUPPORTED,
              "unknown");
    cr_expect(cublasLtMatmulDescSetAttribute(p.desc, CUBLASLT_MATMUL_DESC_TRANSA, &bias, 8) == CUBLAS_STATUS_INVALID_VALUE, "a wrong size");
    cr_expect(p.run(a.data, b.data, d.data, &one, &zero, nullptr, 0) == CUBLAS_STATUS_INVALID_VALUE, "no workspace");
    expect_report("bytes of workspace", "no workspace");
    cr_expect(p.run(a.data + 1, b.data, d.data, &one, &zero, workspace.data, 4096) == CUBLAS_STATUS_INVALID_VALUE, "alignment");
    expect_report("is not aligned to the 16 bytes", "alignment");
    cr_expect(p.run(a.data, b.data + 140, d.data, &one, &zero, workspace.data, 4096) == CUBLAS_STATUS_INVALID_VALUE, "past the end");
    expect_report("B at", "past the end");
    cublasLtMatmulHeuristicResult_t result;
    int found;
    cublasLtMatmulPreference_t splits; /* split sums are allowed by default, and differ between runs */
    cublasLtMatmulPreferenceCreate(&splits);
    cr_expect(cublasLtMatmulAlgoGetHeuristic(p.handle, p.desc, p.a, p.b, p.c, p.c, splits, 1, &result, &found) ==
                  CUBLAS_STATUS_NOT_SUPPORTED,
              "splits");
    expect_report("reduction scheme", "splits");
    cublasLtMatmulPreferenceDestroy(splits);
    const product transposed(true, false, 8, 8, 8, CUDA_R_32F, CUDA_R_32F, 1, 16);
    cr_expect(cublasLtMatmul(p.handle, transposed.desc, &one, a.data, transposed.a, b.data, p.b, &zero, d.data, p.c, d.data, p.c,
                             &p.best.algo, workspace.data, 4096, nullptr) == CUBLAS_STATUS_INVALID_VALUE,
              "the algorithm of another product");
    expect_report("other types or transposes", "algorithm");
}
