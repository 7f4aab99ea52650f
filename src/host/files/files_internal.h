/* files_internal.h: bytes on disk -> checked tables: safetensors, GGUF, config.json, tokenizer.json, .npy. Knows no model. */
#ifndef JSC_FILES_INTERNAL_H
#define JSC_FILES_INTERNAL_H

#include "base_internal.h"

#include <jansson.h>

/* ---- file.c ------------------------------------------------------------------------------------------------------------------ */

/* A whole file, mapped read-only (read into memory where it cannot be mapped, a pipe for example). */
struct file {
    char *path;
    const unsigned char *bytes;
    size_t size;
    bool mapped;
};
jsc_status file_open(const char *path, struct file **out, jsc_error *error);
void file_close(struct file *file);
bool path_is_directory(const char *path);
bool path_exists(const char *path);
jsc_status path_join(const char *directory, const char *name, char **out, jsc_error *error);

/* Atomic replacement: bytes go to a temporary file beside path; commit flushes, closes and renames it, abort removes it. A path that is
 * a device, pipe or terminal is written straight. Every write, flush and close is checked. */
struct file_writer;
jsc_status file_writer_open(const char *path, struct file_writer **out, jsc_error *error);
jsc_status file_writer_write(struct file_writer *w, const void *bytes, size_t n, jsc_error *error);
jsc_status file_writer_commit(struct file_writer *w, jsc_error *error); /* frees w in any case */
void file_writer_abort(struct file_writer *w);                          /* frees w; NULL is a no-op */

/* ---- json.c: jansson with the rules of docs/formats.md (duplicate keys refused, line and column in errors) --------------------- */

jsc_status json_parse(const char *name, const char *text, size_t n, json_t **out, jsc_error *error);
/* The same with the values at these places, in rising order, read as null: for tables of many megabytes that json_reader reads. Errors name
 * the place in the whole text. */
struct json_span {
    size_t from, to;
};
jsc_status json_parse_without(const char *name, const char *text, size_t n, const struct json_span *cuts, size_t n_cuts, json_t **out,
                              jsc_error *error);
/* Typed access: a field that is absent or null leaves *out as it is and sets *present (may be NULL) false; a wrong type or a number outside
 * [low, high] is an error that names file, field, value and range. */
jsc_status json_get_int(const char *name, const json_t *object, const char *key, int64_t low, int64_t high, int64_t *out, bool *present,
                        jsc_error *error);
jsc_status json_get_double(const char *name, const json_t *object, const char *key, double low, double high, double *out, bool *present,
                           jsc_error *error);
jsc_status json_get_bool(const char *name, const json_t *object, const char *key, bool *out, bool *present, jsc_error *error);
jsc_status json_get_string(const char *name, const json_t *object, const char *key, const char **out, bool *present, jsc_error *error);

/* ---- json_reader.c: one pass over JSON text without a tree, for headers of up to 100 MB -------------------------------------------- */

#define JSON_DEPTH_MAX 128
struct json_reader {
    const char *name;   /* of the file, for messages */
    const char *text;   /* valid UTF-8 (checked by json_reader_make) */
    size_t n, at, base; /* base: offset of text in the file, so that messages name the file's byte */
    unsigned depth;
};
jsc_status json_reader_make(struct json_reader *r, const char *name, const char *text, size_t n, size_t base, jsc_error *error);
/* First character of the next value, 0 at the end of the text. */
char json_reader_peek(struct json_reader *r);
/* Enters '{' or '['; then json_reader_next before each member says whether there is one (and leaves the container at its end). *count: 0
 * before the first call. */
jsc_status json_reader_enter(struct json_reader *r, char bracket, jsc_error *error);
jsc_status json_reader_next(struct json_reader *r, char bracket, size_t *count, bool *more, jsc_error *error);
/* A string, unescaped into out (capacity at least that of the raw text + 1, see json_reader_string_size); NUL-terminated. Text with U+0000
 * is refused. out NULL: skipped. json_reader_key also takes the colon. */
jsc_status json_reader_string(struct json_reader *r, char *out, size_t *n, jsc_error *error);
jsc_status json_reader_key(struct json_reader *r, char *out, size_t *n, jsc_error *error);
size_t json_reader_string_size(const struct json_reader *r); /* bytes that the string here needs at most, NUL included */
/* A whole number >= 0 below 2^64, without sign, fraction or exponent. what: for the message. */
jsc_status json_reader_u64(struct json_reader *r, const char *what, uint64_t *out, jsc_error *error);
/* Any finite number, to the nearest double; at most 127 characters. To be called in the C locale. */
jsc_status json_reader_double(struct json_reader *r, const char *what, double *out, jsc_error *error);
jsc_status json_reader_skip(struct json_reader *r, jsc_error *error); /* any value, its grammar checked */
/* To the end of the value here, found by its brackets and quotes alone: its grammar is left to who reads it. */
void json_reader_hop(struct json_reader *r);
jsc_status json_reader_end(struct json_reader *r, jsc_error *error); /* only white space may follow */

/* ---- name_table.c: hash from a name to the item of an array that holds it -------------------------------------------------------- */

/* Items begin with a `const char *` name; the array must not move. The hash is keyed by the process, so that no file can choose names
 * that collide. 5 to 11 bytes an item. */
struct name_table;
jsc_status name_table_make(const void *items, size_t stride, size_t capacity, struct name_table **out, jsc_error *error);
/* Adds item i. false: its name is there already, *found is that item. */
bool name_table_add(struct name_table *table, size_t i, size_t *found);
bool name_table_find(const struct name_table *table, const char *name, size_t *found);
void name_table_free(struct name_table *table);

/* ---- tensors of a checkpoint: safetensors.c (one file, or shards by index), gguf.c ----------------------------------------------- */

#define TENSOR_RANK_MAX 8
struct name_block;
struct tensor {
    const char *name;
    enum dtype type;
    bool known_type; /* false: legal in the file but not a weight type (I64, BOOL, Q8_K ...): type_name tells */
    bool mapped;     /* bytes are in a mapping (struct file): decoded pages may be given back */
    const char *type_name;
    int rank;
    uint64_t shape[TENSOR_RANK_MAX]; /* slowest first in both formats: a linear layer is [out, in] */
    const unsigned char *bytes;      /* any alignment; inside one of the mapped files */
    uint64_t n_bytes, n_elements;
    const char *file;
};
/* All tensors of a checkpoint; extents were checked against the files' sizes. */
struct tensor_set {
    struct tensor *tensors;
    size_t n, capacity;
    struct file **files;
    size_t n_files, files_capacity;
    uint64_t file_bytes;
    struct name_table *names; /* use tensor_find */
    struct name_block *owned; /* what the names point into */
    char *pool;               /* free part of the newest block of short texts */
    size_t pool_left;
};
/* Text that lives as long as a set: blocks in a list. */
struct name_block {
    struct name_block *next;
    char text[];
};
jsc_status tensor_set_text(struct tensor_set *set, size_t bytes, char **out, jsc_error *error); /* bytes owned by the set */
jsc_status tensor_set_string(struct tensor_set *set, const char *text, size_t n, const char **out,
                             jsc_error *error);                                                            /* a copy, many to a block */
jsc_status tensor_set_file(struct tensor_set *set, const char *path, struct file **out, jsc_error *error); /* opened, owned by the set */
jsc_status tensor_set_index(struct tensor_set *set, jsc_error *error); /* makes names; error: a name that occurs twice */
jsc_status tensor_set_unique(const struct tensor_set *set, size_t from, jsc_error *error); /* the same check for tensors from `from` on */
const struct tensor *tensor_find(const struct tensor_set *set, const char *name);          /* NULL: absent */
void tensor_set_free(struct tensor_set *set);

/* safetensors_header.c: adds the tensors of one file to a set, after checking all that its header says; set->names is not touched. On
 * failure the set can only be freed. */
jsc_status safetensors_read(struct tensor_set *set, const char *path, jsc_error *error);
/* Sets type, known_type and type_name of a tensor with this element type; false: there is no such type. */
bool safetensors_type(const char *name, struct tensor *out);
/* directory: model.safetensors, else model.safetensors.index.json and its shards. Refuses pickle checkpoints by name. */
jsc_status safetensors_open(const char *directory, struct tensor_set **out, jsc_error *error);
/* one file: for tests and fuzzing */
jsc_status safetensors_open_file(const char *path, struct tensor_set **out, jsc_error *error);

/* ---- quantised.c: packed checkpoints that have plausible shapes: JSC_E_UNSUPPORTED names the method ------------------------------------ */

/* What config.json declares: quantization_config and the like, at the top or in text_config. */
jsc_status quantised_refuse_config(const char *path, const json_t *root, jsc_error *error);
/* What the tensors of a safetensors checkpoint show where config.json is silent: packed or scale companions, element types of weights. */
jsc_status quantised_refuse_tensors(const struct tensor_set *set, jsc_error *error);

/* ---- gguf.c ---------------------------------------------------------------------------------------------------------------------- */

enum gguf_type {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64
};
struct gguf_value {
    const char *key;     /* NUL-terminated copy */
    enum gguf_type type; /* ARRAY: see element */
    enum gguf_type element;
    uint64_t count;             /* 1 for scalars */
    const unsigned char *bytes; /* the value in the file: numbers packed, strings as u64 length + bytes */
    uint64_t n_bytes;
};
struct gguf {
    struct tensor_set *tensors; /* of all parts */
    struct gguf_value *values;
    size_t n_values;
    struct name_table *keys;
    const char *path;
    uint32_t version;
};
/* path: a single file, or the first part of a split one (the others are opened beside it). */
jsc_status gguf_open(const char *path, struct gguf **out, jsc_error *error);
void gguf_close(struct gguf *gguf); /* frees the tensors too, unless they were taken (set gguf->tensors to NULL) */
const struct gguf_value *gguf_find(const struct gguf *gguf, const char *key); /* NULL: absent */
/* As json_get_*: absent leaves *out and sets *present false; any integer type is read for an integer. */
jsc_status gguf_get_int(const struct gguf *gguf, const char *key, int64_t low, int64_t high, int64_t *out, bool *present, jsc_error *error);
jsc_status gguf_get_double(const struct gguf *gguf, const char *key, double low, double high, double *out, bool *present, jsc_error *error);
jsc_status gguf_get_bool(const struct gguf *gguf, const char *key, bool *out, bool *present, jsc_error *error);
/* *out points into the file and is not NUL-terminated. */
jsc_status gguf_get_string(const struct gguf *gguf, const char *key, const char **out, size_t *n, bool *present, jsc_error *error);
/* Walks an array of strings: *cursor = value->bytes at first; false at the end. */
bool gguf_next_string(const struct gguf_value *value, const unsigned char **cursor, const char **out, size_t *n);

/* ---- config.c: config.json and GGUF metadata -> one description of sizes and options -------------------------------------------------- */

enum rope_scaling { ROPE_NONE, ROPE_LINEAR, ROPE_LLAMA3, ROPE_YARN, ROPE_DYNAMIC, ROPE_LONGROPE, ROPE_FACTORS };
/* How a block adds its two branches, attention A and MLP M, to the residual stream x; n are norms.
 *   SEQUENTIAL    x += A(n1 x);  x += M(n2 x)
 *   PARALLEL      x += A(n1 x) + M(n2 x)            PARALLEL_ONE: n2 is n1
 *   POST_BRANCH   x += n1(A x);  x += n2(M x)
 *   SANDWICH      x += n2(A(n1 x));  x += n4(M(n3 x))
 *   POST_SUM      x = n1(x + A x);  x = n2(x + M x) */
enum layout { LAYOUT_SEQUENTIAL, LAYOUT_PARALLEL, LAYOUT_PARALLEL_ONE, LAYOUT_POST_BRANCH, LAYOUT_SANDWICH, LAYOUT_POST_SUM };
enum block_flag {
    BLOCK_WINDOW = 1,    /* attention sees the window only */
    BLOCK_ROTARY = 2,    /* queries and keys are rotated */
    BLOCK_LOCAL_ROPE = 4 /* by the plain table of local_theta */
};
#define LAYERS_MAX 512 /* llama.cpp's own limit */

/* What the files say, with the family's rules applied to what is absent, so that nothing is guessed twice. */
struct config {
    char family[48]; /* model_type or general.architecture */
    char name[128];
    bool gguf;
    int64_t n_layers, d, f, H, K, h, vocab, max_position;
    int64_t embed_width; /* of the token embedding, if a projection follows; else d */
    bool tied;           /* the head is the embedding */
    double norm_eps;
    char activation[32];
    enum layout layout;
    bool qkv_bias, o_bias, mlp_bias, qk_norm, final_norm, norm_weights;
    double embed_scale, residual_scale, logit_scale, attn_cap, final_cap; /* caps: 0 = none */
    double attn_scale;                                                    /* on scores; 0: 1/sqrt(h) */
    bool scale_by_block;                                                  /* scores of block i are divided by i + 1 too */
    double rope_theta, local_theta;                                       /* local_theta 0: no block has a table of its own */
    enum rope_scaling scaling;
    char scaling_name[32];
    double factor, low_freq_factor, high_freq_factor, original_max_position, attention_factor, beta_fast, beta_slow;
    bool yarn_truncate;
    double *short_factors, *long_factors; /* longrope: [n_factors] each */
    size_t n_factors;
    double partial_rotary;            /* share of head components rotated, default 1 */
    int64_t rotated;                  /* so many components: GGUF counts them, else config_check; even, 0: no block has rotary embeddings */
    int64_t window;                   /* of the blocks with BLOCK_WINDOW; 0: none has it */
    unsigned char blocks[LAYERS_MAX]; /* enum block_flag */
    int64_t bos_id, eos_id;           /* -1: none */
    char (*warnings)[400];
    size_t n_warnings, warnings_capacity;
};

/* A switch of config.json: key NULL or field absent: as stated here. */
struct config_flag {
    const char *key;
    bool absent;
};
/* Which blocks have the window if no layer_types lists them. */
enum window_rule {
    WINDOW_IGNORED, /* the family has none: a declared one gives a warning */
    WINDOW_ALL,
    WINDOW_UPPER, /* if use_sliding_window: blocks from max_window_layers on */
    WINDOW_EVEN,
    WINDOW_PATTERN, /* every sliding_window_pattern-th block is global */
    WINDOW_NOPE     /* if use_sliding_window: the blocks without rotary */
};
/* Keys that only some families read. */
enum config_trait {
    TRAIT_MULTIPLIERS = 1,  /* embedding_, attention_, residual_multiplier, logits_scaling */
    TRAIT_LOGIT_SCALE = 2,  /* logit_scale multiplies */
    TRAIT_CAPS = 4,         /* attn_ and final_logit_softcapping */
    TRAIT_QUERY_SCALAR = 8, /* query_pre_attn_scalar */
    TRAIT_EMBED_ROOT = 16,  /* embeddings are multiplied by sqrt(d) */
    TRAIT_NO_ROTARY = 32,
    TRAIT_NOPE = 64,          /* no_rope_layers, no_rope_layer_interval */
    TRAIT_LOCAL_ROPE = 128,   /* blocks with a window have a table of their own */
    TRAIT_ATTN_OPTIONS = 256, /* scale_attn_weights, scale_attn_by_inverse_layer_idx */
    TRAIT_FINAL_NORM = 512,   /* none after POST_SUM or if _remove_final_layer_norm; layer_norm_elementwise_affine */
    TRAIT_EMBED_WIDTH = 1024  /* word_embed_proj_dim */
};
/* How a family's files are read: spellings of keys, and what stands for absent fields (docs/formats.md). Zero: as llama does. */
struct config_rules {
    double norm_eps, rope_theta;
    int64_t max_position; /* 0: config.json must name it */
    bool tied;
    int64_t absent_K;                       /* num_key_value_heads absent: -1 = n_heads; 0: always n_heads, the family has no such key */
    int64_t absent_h;                       /* head_dim absent: -1 = hidden / heads */
    int64_t absent_H, absent_vocab;         /* 0: config.json must name them */
    const struct config_spelling *spelling; /* NULL: hidden_size, ... */
    const char *eps_key, *eps_gguf;         /* NULL: rms_norm_eps, attention.layer_norm_rms_epsilon; "": norm_eps always */
    const char *activation_key;             /* NULL: hidden_act */
    unsigned traits;                        /* enum config_trait */
    enum layout layout, layout_off;         /* layout_off if the flag is false */
    struct config_flag layout_flag;
    struct config_flag qkv_bias, o_bias, mlp_bias, qk_norm;
    enum window_rule window;
    int64_t absent_window;                                 /* sliding_window absent; 0: none */
    double local_theta;                                    /* rope_local_base_freq absent */
    double partial_rotary;                                 /* absent; 0: 1 */
    double attn_cap, final_cap, query_scalar, logit_scale; /* absent; 0: none */
};
/* Other names of the sizes. */
struct config_spelling {
    const char *d, *f, *n_layers, *H, *max_position;
    int f_per_d; /* f absent or null: this times d; 0: must be there */
};
/* Reads model_type / general.architecture only. */
jsc_status config_family_json(const char *path, const json_t *root, char *out, size_t capacity, jsc_error *error);
jsc_status config_from_json(const char *path, const json_t *root, const struct config_rules *rules, struct config *out, jsc_error *error);
jsc_status config_family_gguf(const struct gguf *gguf, char *out, size_t capacity, jsc_error *error);
jsc_status config_from_gguf(const struct gguf *gguf, const struct config_rules *rules, struct config *out, jsc_error *error);
void config_free(struct config *config);
/* Parts of the two readers. path: the file, for messages. config_options.c: biases, norms, scales, caps; config_blocks.c: which blocks have a
 * window, rotary embeddings, a local table; config_rope.c: rotary settings. */
jsc_status config_options_json(const char *path, const json_t *root, const struct config_rules *rules, struct config *out,
                               jsc_error *error);
jsc_status config_options_gguf(const struct gguf *gguf, const struct config_rules *rules, struct config *out, jsc_error *error);
jsc_status config_blocks_json(const char *path, const json_t *root, const struct config_rules *rules, struct config *out, jsc_error *error);
jsc_status config_blocks_gguf(const struct gguf *gguf, const struct config_rules *rules, struct config *out, jsc_error *error);
jsc_status config_rope_gguf(const struct gguf *gguf, const struct config_rules *rules, struct config *out, jsc_error *error);
/* "llama.block_count" in buffer of 128. */
const char *config_key_gguf(const struct config *config, const char *tail, char *buffer);
jsc_status config_rope_json(const char *path, const json_t *root, const struct config_rules *rules, struct config *out, jsc_error *error);
jsc_status config_warn(struct config *config, jsc_error *error, const char *format, ...) __attribute__((format(printf, 3, 4)));
void config_start(const struct config_rules *rules, bool gguf, struct config *out); /* before any field is read */
bool config_rotates(const struct config *config);                                   /* some block has rotary embeddings */
jsc_status config_check(const char *path, struct config *config, jsc_error *error); /* fields against each other; fills h, rotated */
/* Ranges of fields, the same in both formats. */
#define WIDTH_MAX    (1 << 20)
#define MLP_MAX      (1 << 24)
#define HEADS_MAX    65536
#define HEAD_MAX     65536
#define VOCAB_MAX    (1 << 28)
#define POSITION_MAX INT32_MAX
#define EPS_MIN      1e-12
#define EPS_MAX      0.1
#define THETA_MIN    1.01
#define THETA_MAX    1e15
#define FACTOR_MIN   1.0
#define FACTOR_MAX   1e6

/* ---- tokenizer.c: the pipeline of tokenizer.json and of GGUF metadata ---------------------------------------------------------------- */

struct tokenizer;
/* A file whose kind is not implemented still opens: text is then refused with the reason, ids and token texts work.
 * rows: of the embedding. */
jsc_status tokenizer_from_json(const char *path, const char *text, size_t n, size_t rows, struct tokenizer **out, jsc_error *error);
/* tokenizer_config.json beside it may override add_bos_token / add_eos_token; text NULL: absent. */
jsc_status tokenizer_apply_config(struct tokenizer *tok, const char *path, const char *text, size_t n, jsc_error *error);
jsc_status tokenizer_from_gguf(const struct gguf *gguf, size_t rows, struct tokenizer **out, jsc_error *error);
void tokenizer_free(struct tokenizer *tok);
struct token_list {
    int32_t *ids;
    size_t n, capacity;
    char **warnings;
    size_t n_warnings, warnings_capacity;
};
void token_list_free(struct token_list *list);
/* add_special: apply the post-processor (BOS, template). Safe for concurrent calls on one tokenizer. */
jsc_status tokenizer_encode(const struct tokenizer *tok, const char *text, size_t n, bool add_special, struct token_list *out,
                            jsc_error *error);
/* The bytes of one token; placeholder "<id N>" for rows without text; JSC_E_ARGUMENT for id outside rows. */
jsc_status tokenizer_token(const struct tokenizer *tok, int32_t id, const char **bytes, size_t *n, jsc_error *error);
const char *tokenizer_describe(const struct tokenizer *tok); /* "BPE from GGUF, pre-tokeniser smollm, 49152 tokens" */
bool tokenizer_takes_text(const struct tokenizer *tok);
int32_t tokenizer_bos(const struct tokenizer *tok); /* -1: none */
int32_t tokenizer_eos(const struct tokenizer *tok);
bool tokenizer_adds_bos(const struct tokenizer *tok);
size_t tokenizer_warnings(const struct tokenizer *tok, const char *const **warnings); /* of loading */

/* ---- npy.c: .npy arrays of float32/float64, C order, rank 1 or 2 ------------------------------------------------------------------- */

jsc_status npy_read(const char *path, double **out, size_t *rows, size_t *columns, jsc_error *error);

#endif
