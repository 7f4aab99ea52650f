/* model.h: open a language model from files, ask what it is, turn text into token ids.
 *
 *   jsc_open_options options = JSC_OPEN_OPTIONS_INIT;
 *   jsc_model *model = NULL;
 *   jsc_error error;
 *   if (jsc_model_open("model.gguf", &options, &model, &error) != JSC_OK) fprintf(stderr, "%s\n", error.text);
 *
 * A model is never changed after it was opened; any number of threads may use it at once. */
#ifndef JSCOPES_MODEL_H
#define JSCOPES_MODEL_H

#include <jscopes/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct jsc_model jsc_model;

/** strict: float32 arithmetic throughout. fast: cotangents and packed weights in bfloat16 where the device has it in hardware, else as
 * strict (jsc_model_info.precision says which): sums stay float32; most scores within 1 %, a few per cent off where few components of the
 * gradient carry a score (docs/precision.md). auto: strict, so that every score is within 1 %. */
typedef enum jsc_precision { JSC_PRECISION_AUTO = 0, JSC_PRECISION_STRICT = 1, JSC_PRECISION_FAST = 2 } jsc_precision;

/** How to open a model. Begin with JSC_OPEN_OPTIONS_INIT. */
typedef struct jsc_open_options {
    size_t size;             /**< sizeof(jsc_open_options) */
    const char *device;      /**< NULL or "auto", "cpu", "ref" (float64, slow; developer builds), "cuda", "cuda:N"; "cuda:0+1": consecutive
                                  blocks on consecutive devices, for models larger than one (docs/several-gpus.md) */
    jsc_precision precision; /**< default auto */
    int threads;             /**< 0: OMP_NUM_THREADS, else as many as the process may use */
    int without_weights;     /**< 1: sizes and tokeniser only; tokenise, describe and plan work, attribute does not */
    jsc_log_fn log;          /**< may be NULL */
    void *log_user;
    jsc_progress_fn progress; /**< may be NULL; stage "load", in bytes */
    void *progress_user;
} jsc_open_options;
#define JSC_OPEN_OPTIONS_INIT {sizeof(jsc_open_options), NULL, JSC_PRECISION_AUTO, 0, 0, NULL, NULL, NULL, NULL}

/**
 * jsc_model_open: read a model.
 *
 * path     a directory with config.json, *.safetensors and (for texts) tokenizer.json; or a .gguf file; or the name of a known
 *          model that is in the cache (jsc_model_find)
 * options  may be NULL
 * out      on JSC_OK a model, closed by jsc_model_close(); untouched on failure
 *
 * Cost: reads every weight once. Memory: jsc_model_info.weight_bytes, and at most one tensor more while loading.
 *
 * JSC_E_FILE, JSC_E_FORMAT, JSC_E_UNSUPPORTED  the text names file, tensor or field, the value found and what to do
 * JSC_E_NUMERIC  a weight is not finite; the text names the tensor
 * JSC_E_DEVICE   the wanted device does not exist here
 */
JSC_API jsc_status jsc_model_open(const char *path, const jsc_open_options *options, jsc_model **out, jsc_error *error);

/** A tensor in the caller's memory, as a safetensors file would hold it. */
typedef struct jsc_tensor {
    const char *name;      /**< as in the state dict, "model.layers.0.mlp.down_proj.weight" */
    const char *dtype;     /**< "F32", "BF16", "F16", "F64" */
    const void *data;      /**< row-major, contiguous, little-endian */
    const uint64_t *shape; /**< [n_dims], slowest first */
    int n_dims;
} jsc_tensor;

/**
 * jsc_model_open_tensors: a model from tensors in memory, such as the state dict of a transformers model, without a file.
 *
 * name                   for people and errors
 * config_json            content of config.json
 * tokenizer_json         content of tokenizer.json; NULL: token ids only.  tokenizer_config_json: of that file, or NULL
 * tensors                [n], read in place during the call; tied weights may be given once or twice. Those that the model does not use are
 *                        named in a warning
 * options                as for jsc_model_open, NULL: defaults
 *
 * The same scores as from the saved folder. Cost and statuses: as jsc_model_open; JSC_E_ARGUMENT: a tensor without name, shape or data.
 */
JSC_API jsc_status jsc_model_open_tensors(const char *name, const char *config_json, const char *tokenizer_json,
                                          const char *tokenizer_config_json, const jsc_tensor *tensors, size_t n,
                                          const jsc_open_options *options, jsc_model **out, jsc_error *error);

/** jsc_model_close: free a model. NULL is a no-op. No attribution or trace of it may still be running. */
JSC_API void jsc_model_close(jsc_model *model);

/**
 * jsc_model_find: where the model called name would be opened: name itself if it is a file or a directory, else the cached
 * file ${JSCOPES_CACHE:-${XDG_CACHE_HOME:-~/.cache}/jscopes}/models/NAME/model.gguf.
 *
 * path  receives the path, at most capacity bytes with its NUL
 * JSC_E_FILE  neither exists; the text says where it looked and which command brings the model
 */
JSC_API jsc_status jsc_model_find(const char *name, char *path, size_t capacity, jsc_error *error);

/** What was loaded. Strings belong to the model and live as long as it does. */
typedef struct jsc_model_info {
    size_t size;             /**< sizeof(jsc_model_info), set by the caller (JSC_MODEL_INFO_INIT) */
    const char *path;        /**< as opened */
    const char *name;        /**< general.name of a GGUF file, else the directory's or file's name */
    const char *family;      /**< "llama", ... : the model_type of config.json or the architecture of a GGUF file */
    const char *format;      /**< "safetensors" or "gguf" */
    const char *weight_types; /**< element types on disk with their tensor counts, "Q4_1 210, F32 61, Q8_0 1" */
    int n_layers, d_model, d_ff, n_heads, n_kv_heads, head_dim, vocab_size; /**< vocab_size: rows of the embedding */
    int max_position;        /**< positions the model was made for; 0: not stated */
    int sliding_window;      /**< 0: none */
    int tied_head;           /**< 1: the output head is the embedding */
    double rope_theta;       /**< 0: no rotary embedding */
    const char *rope_scaling; /**< "none", "llama3", "linear", ... */
    uint64_t parameters;     /**< number of weights used */
    uint64_t file_bytes;     /**< size of the files read */
    uint64_t weight_bytes;   /**< memory that the opened weights take */
    const char *device;      /**< "cpu", ... with its details, "cpu (oneDNN 2.6.0, 2 threads)" */
    const char *backend;     /**< "cpu", "ref", "cuda" */
    const char *precision;   /**< the arithmetic in effect, "strict" or "fast" */
    const char *tokeniser;   /**< "BPE from GGUF, pre-tokeniser smollm, 49152 tokens", or why there is none */
    int has_tokeniser;       /**< 1: jsc_tokenize works */
    int32_t bos_id, eos_id;  /**< -1: none. 0 is an id like any other */
    int adds_bos;            /**< 1: jsc_tokenize puts BOS in front of a text */
    int n_warnings;
    const char *const *warnings; /**< what was ignored or looks odd while loading */
    double load_seconds;
    const char *no_gpu;      /**< why "auto" took the CPU: no driver, no GPU, ...; NULL: it did not, or a device was named */
    uint64_t memory_left;    /**< bytes that the device had free before the weights were made */
    const char *traits;      /**< what is special about its blocks, in words, "RMSNorm before each half; gated silu MLP; ..." */
} jsc_model_info;
#define JSC_MODEL_INFO_INIT {sizeof(jsc_model_info), NULL, NULL, NULL, NULL, NULL, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0.0, NULL, 0, 0, 0, NULL, NULL, NULL, NULL, 0, -1, -1, 0, 0, NULL, 0.0, NULL, 0, NULL}

/** jsc_model_describe: fill info (info->size set by the caller). Costs nothing. */
JSC_API jsc_status jsc_model_describe(const jsc_model *model, jsc_model_info *info, jsc_error *error);

/** A model family that this library reads, its traits in words (ASCII, one line each). Needs no freeing. */
typedef struct jsc_family_info {
    size_t size;           /**< sizeof(jsc_family_info), set by the caller (JSC_FAMILY_INFO_INIT) */
    const char *name;      /**< model_type of config.json */
    const char *gguf_name; /**< general.architecture of GGUF files; NULL: there are none */
    const char *models;    /**< well-known models of the family */
    char norms[80];        /**< kind and place of the norms of a block, "RMSNorm before each half" */
    char positions[80];    /**< "learned", or what is rotated */
    char attention[120];   /**< windows, norms of queries and keys, soft-caps, biases; "plain": none of them */
    char mlp[40];          /**< activation, "gated" if a second projection is multiplied in */
    char rest[80];         /**< factors and caps outside the blocks; "": none */
} jsc_family_info;
#define JSC_FAMILY_INFO_INIT {sizeof(jsc_family_info), NULL, NULL, NULL, "", "", "", "", ""}

/** jsc_family_count: how many families there are. */
JSC_API size_t jsc_family_count(void);

/** jsc_family_describe: fill info (info->size set by the caller) with family number i, 0 to jsc_family_count() - 1, in the order of the table
 * that `jscopes info --families` prints. JSC_E_ARGUMENT: there is no such number, or info was not begun. */
JSC_API jsc_status jsc_family_describe(size_t i, jsc_family_info *info, jsc_error *error);

/** How to turn text into ids. Begin with JSC_TOKENIZE_OPTIONS_INIT. */
typedef struct jsc_tokenize_options {
    size_t size;
    int no_special; /**< 1: add no BOS or template tokens */
    int front_pad;  /**< this many further copies of BOS in front (they soak up the attention sink); an error if the model has no BOS */
} jsc_tokenize_options;
#define JSC_TOKENIZE_OPTIONS_INIT {sizeof(jsc_tokenize_options), 0, 0}

/** Token ids with what was odd about the text. Freed by jsc_tokens_free(). */
typedef struct jsc_tokens {
    size_t n;
    int32_t *ids;      /**< [n] */
    int n_warnings;
    char **warnings;   /**< doubled BOS, characters that the vocabulary cannot express (dropped, as the reference does) */
} jsc_tokens;

/**
 * jsc_tokenize: the ids of the reference tokeniser for the same file.
 *
 * text, n_bytes  UTF-8, may contain NUL bytes
 * JSC_E_ARGUMENT     not valid UTF-8; the text names the byte offset
 * JSC_E_UNSUPPORTED  the model's tokeniser is of a kind not implemented (named); ids can be given instead
 * Cost: O(n log n).
 */
JSC_API jsc_status jsc_tokenize(const jsc_model *model, const char *text, size_t n_bytes, const jsc_tokenize_options *options,
                                jsc_tokens **out, jsc_error *error);

/** jsc_tokens_free: NULL is a no-op. */
JSC_API void jsc_tokens_free(jsc_tokens *tokens);

/**
 * jsc_token_bytes: the bytes that one token stands for; they need not be complete UTF-8.
 *
 * out, n_bytes  point into the model; not NUL-terminated. An id without text (padding rows) gives "<id N>" placeholders
 * JSC_E_ARGUMENT  id outside 0..vocab_size-1
 */
JSC_API jsc_status jsc_token_bytes(const jsc_model *model, int32_t id, const char **out, size_t *n_bytes, jsc_error *error);

/**
 * jsc_token_find: the one token whose text is exactly text.
 *
 * JSC_E_ARGUMENT  text is not exactly one token; the error shows its pieces with their ids, and the variant with a leading space
 *                 if that is one token
 */
JSC_API jsc_status jsc_token_find(const jsc_model *model, const char *text, size_t n_bytes, int32_t *id, jsc_error *error);

#ifdef __cplusplus
}
#endif
#endif
