/* model_internal.h: an opened model: sizes and traits, weights on a device, tokeniser. */
#ifndef JSC_MODEL_INTERNAL_H
#define JSC_MODEL_INTERNAL_H

#include "files_internal.h"
#include "ops.h"

#include <jscopes/model.h>

/* How queries and keys are normalised before they are rotated, where a family does so. */
enum qk_norm_shape {
    QK_SHARED, /* over a head's components, one weight [h] for all heads */
    QK_OWN,    /* the same, each head with weights of its own */
    QK_WHOLE   /* over all heads at once */
};

/* One row per model family (families.c): traits that the walks read, rules for config.c, tensor names. %d stands for the block. */
struct family {
    const char *name;      /* model_type */
    const char *gguf_name; /* general.architecture; NULL: none */
    const char *models;    /* well-known ones, for people */
    enum norm_kind norm;
    double norm_offset; /* 1: weights are stored as w - 1 (Gemma in HF files) */
    bool norm_bias;
    bool gated;
    const char *activation; /* default if the config names none */
    bool gelu_is_tanh;      /* Gemma's "gelu" */
    enum rope_layout rope;
    enum qk_norm_shape qk_norm;
    bool gguf_permuted;     /* q and k rows are interleaved in GGUF files */
    bool transposed;        /* HF: linear layers are stored [in][out] (GPT-2) */
    bool heads_interleaved; /* HF: rows of qkv are [q; k; v] of each head in turn (GPT-NeoX) */
    bool head_bias;
    int position_offset; /* learned positions: row of token 0 */
    struct config_rules rules;
    struct family_names {
        const char *embed, *positions, *project_in, *project_out, *final_norm, *head;
        const char *attn_norm, *attn_post, *q, *k, *v, *qkv, *q_norm, *k_norm, *o; /* with ".weight" / ".bias" added by the loader */
        const char *mlp_norm, *mlp_post, *gate, *up, *gate_up, *down;
    } hf, gguf;
};
const struct family *family_find(const char *name, bool gguf); /* NULL: unknown */
size_t family_count(void);
const struct family *family_at(size_t i);

/* rope_table.c: inverse frequencies [rot/2] for a prompt of n_prompt tokens; returns the factor on cos and sin. */
double rope_table(const struct config *config, int rot, int n_prompt, double *inv_freq);
/* The same of the blocks with BLOCK_LOCAL_ROPE, which are never scaled. */
void rope_table_local(const struct config *config, int rot, double *inv_freq);

/* [d] REAL each (of q and k: as qk_norm_shape says); b NULL: none. */
struct norm_weights {
    dptr w, b;
};

/* Where the norms of a half of a block stand (files_internal.h, enum layout):  x' = sum(x + post(F(pre(x)))). */
struct norm_places {
    bool pre, post, sum;
    bool parallel; /* both halves read the block's input and add to the same stream */
};

/* One block's weights. */
struct block {
    struct norm_weights attn_norm, attn_post, mlp_norm, mlp_post; /* post: behind the branch, or of the sum */
    struct norm_weights q_norm, k_norm;                           /* w NULL: none */
    struct jsc_weight *qkv;                                       /* [(H+2K)h][d] */
    struct jsc_weight *o;                                         /* [d][H h] */
    struct jsc_weight *up;                                        /* gated: [2f][d] gate|up, else [f][d] */
    struct jsc_weight *down;                                      /* [d][f] */
    double scale;                                                 /* of attention scores */
    int window;                                                   /* 0: none */
    bool rotary, local_rope;
};

struct jsc_model {
    struct config config; /* model.c makes and frees; loader.c fills what is below from files */
    const struct family *family;
    char *path, *name, *weight_types, traits[400];
    const char *format, *precision;
    struct jsc_device *device;
    struct jsc_ops traced; /* JSC_TRACE: the table with clocks; ops points here then */
    jsc_log_fn log;
    void *log_user;
    const struct jsc_ops *ops;
    struct jsc_stream *load_stream;
    /* sizes as ints, checked */
    int L, d, f, H, K, h, V;
    int rot;                                              /* rotated components per head; 0: no block has rotary embeddings */
    double attn_cap, final_cap, embed_scale, logit_scale; /* caps: 0 = none */
    enum act_kind act;
    struct norm_places norms;
    enum norm_kind final_kind; /* NONE: no final norm */
    struct block *blocks;      /* [L] */
    /* stages.c: over several devices each holds some blocks, one after another. This struct is the last stage, with what lies outside
     * the blocks; the one below holds the blocks before first_block. */
    int first_block, end_block; /* of this stage; 0 and L: all are here */
    struct jsc_model *below;    /* NULL: none, first_block is 0 */
    char *devices;              /* descriptions of all stages' devices; NULL: there is one */
    struct norm_weights final_norm;
    struct jsc_weight *embed;      /* [V][embedding width] USE_ROWS (and FORWARD if tied) */
    struct jsc_weight *positions;  /* [rows][d] USE_ROWS: learned positions, token t has row t + family's offset; NULL: none */
    struct jsc_weight *project_in; /* [d][embedding width]; NULL: embeddings are of width d */
    struct jsc_weight *head;       /* same pointer as embed if tied */
    bool tied;
    struct tokenizer *tokenizer; /* NULL: absent */
    char *no_tokenizer;          /* why */
    char *no_gpu;                /* why "auto" is the CPU; NULL: it is not, or was not asked for */
    bool has_weights;
    uint64_t parameters, file_bytes, weight_bytes;
    uint64_t memory_left; /* of the device, before the weights were made */
    char **warnings;
    size_t n_warnings, warnings_capacity;
    double load_seconds;
};

/* ---- stages.c: a model over several devices ---------------------------------------------------------------------------------- */

enum { STAGES_MOST = 16, DEVICE_NAME_BYTES = 24 };
struct stage_names {
    int n;
    char name[STAGES_MOST][DEVICE_NAME_BYTES]; /* from the lowest blocks on */
};
/* "cuda:0+1+2" or "cpu+cpu". n = 1, nothing in name: no list (also NULL). JSC_E_ARGUMENT: a list that cannot be read or names a GPU twice. */
jsc_status stages_parse(const char *device, struct stage_names *out, jsc_error *error);
/* Sets first_block and end_block of every stage, as evenly as each device's free memory allows. outer_bytes: of what lies
 * outside the blocks, in the last stage. */
jsc_status stages_assign(struct jsc_model *model, const uint64_t *block_bytes, uint64_t outer_bytes, jsc_error *error);
jsc_status stages_describe(struct jsc_model *model, jsc_error *error); /* sets devices */
int stages_count(const struct jsc_model *model);
/* Sums over the stages; memory that stages share counts once. */
uint64_t stages_weight_bytes(const struct jsc_model *model);
uint64_t stages_memory_left(const struct jsc_model *model);
/* The description of the device, or of all. */
const char *model_device(const struct jsc_model *model);

/* What is special about a model's blocks, in words. */
void model_traits(const jsc_model *model, char *out, size_t capacity);
/* Token positions that there are rows for; 0: any number. */
int model_positions(const jsc_model *model);
/* loader.c: sizes were checked, tensors are in set; makes every weight on model->device. progress: as in jsc_open_options. */
struct load_progress {
    jsc_progress_fn call;
    void *user;
    uint64_t done, total;
};
jsc_status model_load_weights(struct jsc_model *model, const struct tensor_set *set, struct load_progress *progress, jsc_error *error);
jsc_status model_warn(struct jsc_model *model, jsc_error *error, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Display text of a token: valid UTF-8, bytes that are no character as <0xE4>; *linked: begins inside a character (its first byte is a
 * continuation byte). Caller frees. NULL text without tokeniser. */
jsc_status model_token_text(const struct jsc_model *model, int32_t id, char **text, char **bytes, size_t *n_bytes, int *linked,
                            jsc_error *error);

#endif
