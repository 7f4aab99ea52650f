/* vjp.h: the engine itself, for callers with their own cotangents: the multi-right-hand-side vector-Jacobian product.
 *
 *   gradients[b][t] = v_b^T d y_{p_b} / d x_t        sums[l][b][t] = || v_b^T d y_{p_b} / d x^l_t ||^2
 *
 * x^l_t is the input of block l (x^0 = x). One call shares the forward pass and every weight among all right-hand sides. */
#ifndef JSCOPES_VJP_H
#define JSCOPES_VJP_H

#include <jscopes/attribute.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Begin with JSC_VJP_REQUEST_INIT; inputs are read during the call, outputs are the caller's. */
typedef struct jsc_vjp_request {
    size_t size;
    const int32_t *ids;       /**< [n_ids] */
    size_t n_ids;
    size_t n_rhs;             /**< B >= 1 */
    const int64_t *positions; /**< [n_rhs] target position of each right-hand side; NULL: the last token for all. Negative counts from the end */
    const double *cotangents; /**< [n_rhs][d_model] */
    double *hidden;           /**< out, may be NULL: [n_rhs][d_model], y at each right-hand side's position */
    double *sums;             /**< out, may be NULL: [n_rhs][n_ids] at block 0, or [n_layers][n_rhs][n_ids] if layers */
    double *gradients;        /**< out, may be NULL: [n_rhs][n_ids][d_model] at block 0 */
    int layers;
    uint64_t memory_limit;
    int chunk;
    jsc_progress_fn progress;
    void *progress_user;
} jsc_vjp_request;
#define JSC_VJP_REQUEST_INIT {sizeof(jsc_vjp_request), NULL, 0, 0, NULL, NULL, NULL, NULL, NULL, 0, 0, 0, NULL, NULL}

/**
 * jsc_vjp: pull a block of cotangents back to the block inputs.
 * Cost and memory: as for a direction scope of n_rhs directions; gradients cost their own download.
 * Outputs are undefined on failure. Statuses: as jsc_attribute().
 */
JSC_API jsc_status jsc_vjp(const jsc_model *model, const jsc_vjp_request *request, jsc_error *error);

/**
 * jsc_directions_read: a block of directions from a .npy file (float32 or float64, C order; one row, or rows x d_model).
 *
 * out      [rows][columns], freed by jsc_directions_free(); untouched on failure
 * JSC_E_FILE, JSC_E_FORMAT  the text names the file and what is wrong with it
 */
JSC_API jsc_status jsc_directions_read(const char *path, double **out, size_t *rows, size_t *columns, jsc_error *error);

/** jsc_directions_free: NULL is a no-op. */
JSC_API void jsc_directions_free(double *directions);

#ifdef __cplusplus
}
#endif
#endif
