/* ref_internal.h: the reference backend: float64, plain loops, one thread. It is the oracle of the others, so it is written to be
 * believed: the formulas of ops.h in their own order. All roles are double. */
#ifndef JSC_REF_INTERNAL_H
#define JSC_REF_INTERNAL_H

#include "ops.h"

#include <assert.h>
#include <math.h>
#include <string.h>

struct ref_weight {
    struct jsc_weight base;
    double *w;    /* [n][k], the only copy, whatever the uses */
    double *bias; /* [n] or NULL */
};

/* Token of gradient row r. */
static inline size_t ref_token(const struct rows *rows, const int32_t *tok, size_t r)
{
    return tok != NULL ? (size_t)tok[r] : r / (size_t)rows->B;
}

static inline const double *ref_row(const struct jsc_weight *weight, size_t i)
{
    return ((const struct ref_weight *)(const void *)weight)->w + i * weight->k;
}

/* backend_ref.c */
jsc_status device_open_ref(const struct device_options *options, struct jsc_device **out, jsc_error *error);
/* weight_ref.c */
uint64_t weight_bytes_ref(struct jsc_device *device, enum dtype type, size_t n, size_t k, unsigned uses);
jsc_status weight_make_ref(struct jsc_device *device, const struct weight_part *parts, size_t n_parts, size_t k, unsigned uses,
                           const double *bias, struct jsc_weight **out, jsc_error *error);
void weight_free_ref(struct jsc_device *device, struct jsc_weight *weight);
/* matmul_ref.c */
double dot_ref(const double *a, const double *b, size_t n);
jsc_status matmul_ref(struct jsc_stream *stream, const struct op_matmul *op, jsc_error *error);
jsc_status matmul_vjp_ref(struct jsc_stream *stream, const struct op_matmul_vjp *op, jsc_error *error);
/* norm_ref.c */
jsc_status norm_ref(struct jsc_stream *stream, const struct op_norm *op, jsc_error *error);
jsc_status norm_vjp_ref(struct jsc_stream *stream, const struct op_norm_vjp *op, jsc_error *error);
jsc_status norm_pull_ref(struct jsc_stream *stream, const struct op_norm_pull *op, jsc_error *error);
void norm_vjp_row_ref(enum norm_kind kind, size_t d, const double *x, double r, double mean, const double *w, const double *dn, double *R);
/* part_norm_ref.c */
jsc_status part_norm_ref(struct jsc_stream *stream, const struct op_part_norm *op, jsc_error *error);
jsc_status part_norm_vjp_ref(struct jsc_stream *stream, const struct op_part_norm_vjp *op, jsc_error *error);
/* rope_ref.c */
jsc_status rope_ref(struct jsc_stream *stream, const struct op_rope *op, jsc_error *error);
jsc_status rope_vjp_ref(struct jsc_stream *stream, const struct op_rope_vjp *op, jsc_error *error);
/* attention_ref.c, attention_vjp_ref.c */
double attention_score_ref(const double *q, const double *k, size_t h, double scale, double cap);
jsc_status attention_ref(struct jsc_stream *stream, const struct op_attention *op, jsc_error *error);
jsc_status attention_vjp_ref(struct jsc_stream *stream, const struct op_attention_vjp *op, jsc_error *error);
size_t attention_vjp_scratch_ref(struct jsc_device *device, int S, int T, int B, int H, int K, int h);
/* gate_ref.c */
jsc_status gate_ref(struct jsc_stream *stream, const struct op_gate *op, jsc_error *error);
jsc_status gate_vjp_ref(struct jsc_stream *stream, const struct op_gate_vjp *op, jsc_error *error);
/* head_ref.c: reads of single rows of a weight, and moves of rows */
jsc_status embed_ref(struct jsc_stream *stream, const struct op_embed *op, jsc_error *error);
jsc_status head_vjp_ref(struct jsc_stream *stream, const struct op_head_vjp *op, jsc_error *error);
jsc_status add_ref(struct jsc_stream *stream, const struct op_add *op, jsc_error *error);
jsc_status scatter_ref(struct jsc_stream *stream, const struct op_scatter *op, jsc_error *error);
/* mlp_collapse_ref.c */
jsc_status mlp_collapse_ref(struct jsc_stream *stream, const struct op_mlp_collapse *op, jsc_error *error);
size_t mlp_collapse_scratch_ref(struct jsc_device *device, enum mlp_form form, size_t n, int B, int d, int f);
/* fisher_ref.c */
jsc_status fisher_rows_ref(struct jsc_stream *stream, const struct op_fisher_rows *op, jsc_error *error);
jsc_status gram_ref(struct jsc_stream *stream, const struct op_gram *op, jsc_error *error);
jsc_status fisher_apply_ref(struct jsc_stream *stream, const struct op_fisher_apply *op, jsc_error *error);
jsc_status probes_ref(struct jsc_stream *stream, const struct op_probes *op, jsc_error *error);

#endif
