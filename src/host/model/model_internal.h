/* model_internal.h: an opened model: sizes and traits, weights on a device, tokeniser. */
#ifndef JSC_MODEL_INTERNAL_H
#define JSC_MODEL_INTERNAL_H

#include "files_internal.h"
#include "ops.h"

#include <jscopes/model.h>

/* One row per model family (families.c): traits that the walks read, defaults for config.c, tensor names. %d stands for the block. */
struct family {
    const char *name; /* model_type, and general.architecture unless gguf_name */
    const char *gguf_name;
    enum norm_kind norm;
    double norm_offset; /* 1: weights are stored as w - 1 (Gemma in HF files) */
    bool gated;
    const char *activation; /* default if the config names none */
    enum rope_layout rope;
    bool gguf_permuted; /* q and k rows are interleaved in GGUF files */
    struct config_defaults defaults;
    struct family_names {
        const char *embed, *final_norm, *head;
        const char *attn_norm, *q, *k, *v, *o, *mlp_norm, *gate, *up, *down; /* with ".weight" / ".bias" added by the loader */
    } hf, gguf;
};
const struct family *family_find(const char *name, bool gguf); /* NULL: unknown */
size_t family_count(void);
const struct family *family_at(size_t i);

/* rope_table.c: inverse frequencies [rot/2] for a prompt of n_prompt tokens; returns the factor on cos and sin. */
double rope_table(const struct config *config, int rot, int n_prompt, double *inv_freq);

/* One block's weights. */
struct block {
    dptr attn_norm, mlp_norm;           /* [d] REAL */
    dptr attn_norm_bias, mlp_norm_bias; /* [d] REAL or NULL */
    struct jsc_weight *qkv;             /* [(H+2K)h][d] */
    struct jsc_weight *o;               /* [d][H h] */
    struct jsc_weight *up;              /* gated: [2f][d] gate|up, else [f][d] */
    struct jsc_weight *down;            /* [d][f] */
    int window;                         /* 0: none */
    bool rotary;
};

struct jsc_model {
    struct config config; /* model.c makes and frees; loader.c fills what is below from files */
    const struct family *family;
    char *path, *name, *weight_types;
    const char *format, *precision;
    struct jsc_device *device;
    struct jsc_ops traced; /* JSC_TRACE: the table with clocks; ops points here then */
    jsc_log_fn log;
    void *log_user;
    const struct jsc_ops *ops;
    struct jsc_stream *load_stream;
    /* sizes as ints, checked */
    int L, d, f, H, K, h, V;
    int rot;                                                     /* rotated components per head */
    double scale, attn_cap, final_cap, embed_scale, logit_scale; /* caps: 0 = none */
    enum act_kind act;
    double *rope_factors; /* host [rot/2] or NULL: divisors of the inverse frequencies (GGUF rope_freqs.weight) */
    struct block *blocks; /* [L] */
    dptr final_norm, final_norm_bias;
    struct jsc_weight *embed; /* [V][d] USE_ROWS (and FORWARD if tied) */
    struct jsc_weight *head;  /* same pointer as embed if tied */
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
