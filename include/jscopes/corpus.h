/* corpus.h: attributions of many prompts, from JSON lines into a folder of chunk files; a run that was killed goes on where it stopped.
 *
 * A chunk is a block of `chunk` lines of one input file, whatever the number of workers; its records are in the order of the lines. Worker
 * i of n writes the chunks with (file + block) mod n = i. docs/corpus.md has the files. */
#ifndef JSCOPES_CORPUS_H
#define JSCOPES_CORPUS_H

#include <jscopes/attribute.h>
#include <jscopes/group.h>
#include <jscopes/report.h>

#ifdef __cplusplus
extern "C" {
#endif

/** What happens to a prompt of more than max_tokens tokens: an error record, or tokens are cut off at its left or right end. */
typedef enum jsc_overlong { JSC_OVERLONG_ERROR = 0, JSC_OVERLONG_LEFT = 1, JSC_OVERLONG_RIGHT = 2 } jsc_overlong;

/** Counts of a run. */
typedef struct jsc_corpus_counts {
    size_t size;         /**< sizeof(jsc_corpus_counts) */
    uint64_t records;    /**< written by this run, error records too */
    uint64_t errors;     /**< of them error records */
    uint64_t tokens;     /**< of the prompts */
    uint64_t found;      /**< records of this worker that earlier runs have written */
    uint64_t found_errors;
    uint64_t bytes;      /**< of the input read so far, as stored */
    uint64_t bytes_all;  /**< 0: not known (standard input) */
    double seconds;      /**< since the run began */
} jsc_corpus_counts;
#define JSC_CORPUS_COUNTS_INIT {sizeof(jsc_corpus_counts), 0, 0, 0, 0, 0, 0, 0, 0.0}

/** Called after every record; anything but 0 stops the run after the record in hand, so that it can go on later. */
typedef int (*jsc_corpus_fn)(void *user, const jsc_corpus_counts *now);

/** What to do. Begin with JSC_CORPUS_OPTIONS_INIT. */
typedef struct jsc_corpus_options {
    size_t size;
    const jsc_request *request;  /**< scope and its options; prompt, and where a line names them target and position, are the line's. NULL:
                                      JSC_REQUEST_INIT */
    const char *const *inputs;   /**< [n_inputs] JSON lines, plain, gzip or zstd; "-" standard input; a folder: its files, sorted */
    size_t n_inputs;
    const char *folder;          /**< of the results; made if absent */
    const char *text_field;      /**< default "text" */
    const char *id_field;        /**< default "id" */
    uint64_t max_tokens;         /**< 0: no limit */
    jsc_overlong overlong;
    uint64_t chunk;              /**< lines, default 1000 */
    uint64_t shard, shards;      /**< this worker of how many, default 0 of 1 */
    uint64_t limit;              /**< only so many lines of the input, 0: all */
    int64_t max_errors;          /**< stop after more error records than this in one run; negative (default): never */
    int keep_meta;               /**< 1: fields of the line that are not known are carried over as "meta" */
    int no_special, front_pad;   /**< as jsc_tokenize_options */
    int new_only;                /**< 1: inputs may be more than an earlier run had; their files come after the known ones */
    double flush_seconds;        /**< what a kill can lose, default 30 */
    jsc_corpus_fn progress;      /**< may be NULL */
    void *progress_user;
} jsc_corpus_options;
#define JSC_CORPUS_OPTIONS_INIT                                                                                                           \
    {sizeof(jsc_corpus_options), NULL, NULL, 0, NULL, "text", "id", 0, JSC_OVERLONG_ERROR, 1000, 0, 1, 0, -1, 0, 0, 0, 0, 30.0, NULL, \
     NULL}

/**
 * jsc_corpus_run: attribute every line of the inputs, or go on with what an earlier run has left.
 *
 * model   as opened from a file or folder; with group NULL it computes
 * group   NULL, or several devices that each take the next prompt; model is then one of its members
 * counts  may be NULL; filled on failure too
 *
 * A bad line or a prompt that fails becomes an error record; the others go on. Memory does not depend on the length of the corpus.
 *
 * JSC_E_CANCELLED  progress() returned non-zero; the same call goes on
 * JSC_E_ARGUMENT   the folder holds results of another model, other options or other inputs (named); an option outside its range
 * JSC_E_FILE       an input cannot be read to its end, the disk is full, another process writes the same chunk
 */
JSC_API jsc_status jsc_corpus_run(const jsc_model *model, const jsc_group *group, const jsc_corpus_options *options,
                                  jsc_corpus_counts *counts, jsc_error *error);

/** How far the workers of a folder are. */
typedef struct jsc_corpus_state {
    size_t size;                /**< sizeof(jsc_corpus_state), set by the caller (JSC_CORPUS_STATE_INIT) */
    uint64_t chunks, partial;   /**< finished; begun */
    uint64_t records, errors, tokens; /**< that are there, in both */
    uint64_t records_all;       /**< 0: no worker has read all input yet */
    int complete;               /**< 1: every chunk is finished */
    int workers, running;       /**< that have left word; heard of in the last two minutes and not at their end */
    double records_per_second;  /**< of those that run, since each began */
    double seconds_left;        /**< by what is left of the input; negative: not known */
} jsc_corpus_state;
#define JSC_CORPUS_STATE_INIT {sizeof(jsc_corpus_state), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0.0, -1.0}

/** jsc_corpus_status: look into a folder; workers may be at work. JSC_E_FILE: it is no folder of a corpus. */
JSC_API jsc_status jsc_corpus_status(const char *folder, jsc_corpus_state *out, jsc_error *error);

/** Receives one line of what is wrong. */
typedef void (*jsc_corpus_problem_fn)(void *user, const char *line);

/**
 * jsc_corpus_check: read every record: each line of the input has its record once and in its place, each file is whole (checksum) and
 * computed from this folder's manifest, hence by the same model.
 *
 * problem  may be NULL
 * records, errors  may be NULL; how many were read
 *
 * JSC_E_FORMAT  something is wrong; the text counts the problems.  JSC_E_ARGUMENT  the corpus is not finished
 */
JSC_API jsc_status jsc_corpus_check(const char *folder, jsc_corpus_problem_fn problem, void *user, uint64_t *records, uint64_t *errors,
                                    jsc_error *error);

/**
 * jsc_corpus_merge: all records into one file, in the order of the input; it appears whole or not at all. JSON lines, packed with zstd if
 * path ends in ".zst". Memory: one frame.
 * JSC_E_ARGUMENT  the corpus is not finished.  JSC_E_FORMAT  a chunk is not whole
 */
JSC_API jsc_status jsc_corpus_merge(const char *folder, const char *path, uint64_t *records, jsc_error *error);

/** A token and the score mass that it got: in each record the scores of the first row are divided by their sum. */
typedef struct jsc_corpus_token {
    int32_t id;
    char *text;     /**< NULL without a tokeniser */
    double share;   /**< summed over records */
    uint64_t count; /**< how often it stands in the prompts, up to the position explained */
} jsc_corpus_token;

/** What the finished chunks of a folder hold. Freed by jsc_corpus_summary_free(). */
typedef struct jsc_corpus_summary {
    uint64_t records, errors, tokens;
    uint64_t errors_by_code[8];   /**< in the order of jsc_corpus_code() */
    double seconds_forward, seconds_backward;
    double position_share[10];    /**< mean score mass by relative position, from the prompt's beginning (0) to the position explained (9) */
    double first_share;           /**< mean score mass on the first token */
    double special_share;         /**< on begin- and end-of-sequence tokens */
    double relative_stderr;       /**< mean of stderr / score over tokens with 1 % of a record's mass; NaN: no standard errors */
    size_t n_top;
    jsc_corpus_token *top;        /**< [n_top] with most mass, the most first */
} jsc_corpus_summary;

/** jsc_corpus_code: "bad_json", "bad_utf8", "no_text", "bad_target", "too_long", "out_of_memory", "not_finite", "internal"; NULL past the
 * last. */
JSC_API const char *jsc_corpus_code(size_t i);

/** jsc_corpus_summarise: at most n_top tokens are listed. Reads every finished record. */
JSC_API jsc_status jsc_corpus_summarise(const char *folder, size_t n_top, jsc_corpus_summary **out, jsc_error *error);

/** jsc_corpus_summary_free: NULL is a no-op. */
JSC_API void jsc_corpus_summary_free(jsc_corpus_summary *summary);

/**
 * jsc_corpus_shard_find: which worker of how many this process is: RANK and WORLD_SIZE (torchrun), SLURM_ARRAY_TASK_ID with _MIN, _MAX and
 * _COUNT times SLURM_PROCID and SLURM_NTASKS, those alone, OMPI_COMM_WORLD_*, PMI_*; 0 of 1 without any.
 *
 * local  may be NULL; this process among those of its machine (LOCAL_RANK, SLURM_LOCALID, ...), for the choice of a device; -1: not known
 * found  receives in words what was found, at most capacity bytes with its NUL
 * JSC_E_ARGUMENT  they contradict each other; a Slurm array with holes
 */
JSC_API jsc_status jsc_corpus_shard_find(uint64_t *shard, uint64_t *shards, int *local, char *found, size_t capacity, jsc_error *error);

#ifdef __cplusplus
}
#endif
#endif
