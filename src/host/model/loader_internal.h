/* loader_internal.h: between finding a family's tensors in a checkpoint (loader_find.c) and making weights of them (loader.c). */
#ifndef JSC_LOADER_INTERNAL_H
#define JSC_LOADER_INTERNAL_H

#include "model_internal.h"

/* A linear layer or norm as it stands in the files; weight NULL: absent. */
struct source {
    const struct tensor *weight, *bias;
};
struct block_sources {
    struct source attn_norm, attn_post, q, k, v, qkv, o;       /* qkv: instead of q, k, v */
    struct source mlp_norm, mlp_post, gate, up, gate_up, down; /* gate_up: instead of gate, up */
};
struct sources {
    struct source embed, positions, project_in, project_out, final_norm, head;
    struct block_sources *blocks; /* [L] */
};
enum tensor_use { TENSOR_NOT_ASKED, TENSOR_USED, TENSOR_UNDECLARED }; /* UNDECLARED: a bias that the config does not have */
struct loader {
    jsc_model *model;
    const struct tensor_set *set;
    const struct family_names *names;
    struct load_progress *progress;
    enum tensor_use *use; /* [set->n] */
    char missing[256];    /* the first few names */
    size_t n_missing;
    int32_t *q_rows, *k_rows, *qkv_rows; /* stored row of each row, NULL: in order */
};

/* Checks names and shapes of everything that the family needs; a missing tensor's name is in the error, and what nobody asked for in a
 * warning. Sets model->tied, weight_types and parameters. */
jsc_status loader_find(struct loader *ld, struct sources *out, jsc_error *error);
/* Sets q_rows, k_rows, qkv_rows. */
jsc_status loader_row_orders(struct loader *ld, jsc_error *error);
/* Weights of head `head` of a block's query or key norm, for a name with two holes; of all heads (head 0) for a name with one. */
const struct tensor *loader_qk_norm(const struct loader *ld, const char *name, int layer, int head, const char *suffix);
/* A query or key norm's name has a tensor for each head. */
bool loader_qk_per_head(const char *name);

#endif
