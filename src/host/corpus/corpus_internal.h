/* corpus_internal.h: many prompts from streams of lines into chunk files that survive kills and full disks. Knows the public attribution only. */
#ifndef JSC_CORPUS_INTERNAL_H
#define JSC_CORPUS_INTERNAL_H

#include "files_internal.h"

#include <jscopes/corpus.h>

/* ---- line_reader.c: lines of a plain, gzip or zstd file, or of standard input ("-") ---------------------------------------------- */

#define LINE_MAX_BYTES ((size_t)64 << 20)

/* A line without its end, in memory of the reader until the next call. */
struct line {
    const char *text;
    size_t n;
    uint64_t number; /* from 1 */
    bool too_long;   /* over LINE_MAX_BYTES: the text was passed over */
    bool blank;      /* nothing but white space: no record */
};
struct line_reader;
jsc_status line_reader_open(const char *path, struct line_reader **out, jsc_error *error);
jsc_status line_reader_next(struct line_reader *r, struct line *out, bool *more, jsc_error *error);
uint64_t line_reader_taken(const struct line_reader *r); /* bytes of the file so far, as stored */
uint64_t line_reader_size(const struct line_reader *r);  /* of the file; 0: not known */
uint64_t line_reader_hash(const struct line_reader *r);  /* XXH3 of its first MiB */
void line_reader_close(struct line_reader *r);

/* ---- chunk_file.c: the records of one block of input lines, as independent zstd frames ------------------------------------------ */

/* What a footer says about a finished chunk. */
struct chunk_totals {
    uint64_t records, errors, tokens;
    uint64_t lines; /* of the input, blank ones too */
    double seconds;
    uint64_t origin; /* of the manifest that it was computed from */
};
/* What stands in a file: whole frames from its beginning. */
struct chunk_content {
    uint64_t records, errors, tokens, hash;
    size_t whole; /* bytes of whole frames */
    size_t size;  /* of the file: more, if its tail is torn */
    bool finished;
    struct chunk_totals totals; /* if finished */
};
typedef jsc_status (*chunk_record_fn)(void *user, const char *line, size_t n, jsc_error *error);
/* Hands each record (its line without the end) to take (may be NULL); stops at the footer or at the first frame that is not whole. */
jsc_status chunk_read(const char *path, chunk_record_fn take, void *user, struct chunk_content *out, jsc_error *error);
/* The footer of a finished chunk alone, without reading its records. */
jsc_status chunk_footer(const char *path, struct chunk_totals *out, jsc_error *error);
/* A chunk's names: "part-0000-000000.jsonl.zst" and what else belongs to it. */
jsc_status chunk_path(const char *folder, uint64_t file, uint64_t block, const char *ending, char **out, jsc_error *error);
#define CHUNK_FINISHED ".jsonl.zst"
#define CHUNK_PARTIAL  ".jsonl.zst.partial"
#define CHUNK_LOCK     ".lock"

struct chunk_writer;
/* Takes the chunk's lock and goes on after the whole records of an earlier run; *out NULL: the chunk is finished by now. JSC_E_FILE: another
 * process writes it. */
jsc_status chunk_open(const char *folder, uint64_t file, uint64_t block, struct chunk_writer **out, jsc_error *error);
const struct chunk_content *chunk_found(const struct chunk_writer *w); /* of the earlier run */
/* A record with its line end; written once flush_seconds have passed or a MiB has come together. */
jsc_status chunk_add(struct chunk_writer *w, const char *record, size_t n, double flush_seconds, jsc_error *error);
jsc_status chunk_flush(struct chunk_writer *w, jsc_error *error);
/* Footer, fsync, rename, fsync of the folder. */
jsc_status chunk_finish(struct chunk_writer *w, const struct chunk_totals *totals, jsc_error *error);
jsc_status chunk_beat(const struct chunk_writer *w, jsc_error *error); /* the lock's heartbeat */
void chunk_close(struct chunk_writer *w);                              /* gives the lock back; what was flushed stays. NULL is a no-op */

/* ---- chunk_lock.c: one process for one chunk -------------------------------------------------------------------------------------- */

struct chunk_lock;
/* A file made with O_EXCL that names host and process; a dead process's, or one without a heartbeat for five minutes, is taken over. */
jsc_status chunk_lock_take(const char *path, struct chunk_lock **out, jsc_error *error);
jsc_status chunk_lock_beat(const struct chunk_lock *lock, jsc_error *error); /* JSC_E_FILE: another process has taken it over */
void chunk_lock_give(struct chunk_lock *lock);                               /* NULL is a no-op */

/* ---- corpus_record.c: a line -> a request, and a result or an error -> a record ---------------------------------------------------- */

/* A prompt on its way through. */
struct prompt {
    jsc_request request;
    int32_t *ids, *targets;
    json_t *id, *meta; /* owned */
    const char *file;
    uint64_t line;
    const char *code; /* of an error record; NULL: none so far */
    bool fatal;       /* why ends the job */
    jsc_error why;
    jsc_attribution *result;
};
/* Never fails because of what the line says: that becomes code and why. */
jsc_status prompt_read(const jsc_corpus_options *options, const jsc_model *model, const char *file, const struct line *line,
                       struct prompt *out, jsc_error *error);
/* The record of a finished prompt, one line with its end. */
jsc_status prompt_write(const struct prompt *prompt, struct strbuf *out, jsc_error *error);
const char *prompt_code(jsc_status status); /* of a failed jsc_attribute; NULL: it is no record's fault, the job ends */
void prompt_free(struct prompt *prompt);

/* ---- manifest.c: what a folder was computed from; fingerprint.c: what a model is --------------------------------------------------- */

/* Files in the order of the arguments, folders' content sorted. */
struct inputs {
    char **paths;
    uint64_t *sizes, *hashes;
    size_t n, capacity;
    struct line_reader *standard; /* standard input, opened once */
};
jsc_status inputs_find(const jsc_corpus_options *options, struct inputs *out, jsc_error *error);
void inputs_free(struct inputs *inputs);
jsc_status model_fingerprint(const jsc_model *model, char out[33], jsc_error *error);
/* Writes DIR/manifest.json if there is none; else compares: JSC_E_ARGUMENT names the first field that differs. With new_only more inputs are
 * taken up, and inputs ordered as the manifest has them. */
jsc_status manifest_agree(const jsc_corpus_options *options, const jsc_model *model, struct inputs *inputs, uint64_t *origin,
                          jsc_error *error);
uint64_t manifest_origin(const json_t *manifest); /* a hash of what it says */
jsc_status manifest_read(const char *folder, json_t **out, jsc_error *error);
/* A small JSON file in the folder, replaced whole. */
jsc_status json_save(const char *folder, const char *name, const json_t *value, jsc_error *error);
/* NULL and JSC_OK: it is not there. */
jsc_status json_load_from(const char *folder, const char *name, json_t **out, jsc_error *error);

/* ---- corpus_folder.c: what is in a folder of results ------------------------------------------------------------------------------- */

/* Its manifest, and the sizes of its input once a worker has read it all. */
struct folder {
    const char *path;
    json_t *manifest, *input; /* input NULL: not known yet */
    uint64_t chunk, origin;
    size_t n_files;
};
jsc_status folder_open(const char *path, struct folder *out, jsc_error *error);
void folder_close(struct folder *folder);
/* JSC_E_ARGUMENT: no worker has read all input. */
jsc_status folder_needs_input(const struct folder *folder, jsc_error *error);
const char *folder_file(const struct folder *folder, size_t f);
uint64_t folder_lines(const struct folder *folder, size_t f);
uint64_t folder_records(const struct folder *folder, size_t f);
uint64_t folder_blocks(const struct folder *folder, size_t f);

#define INPUT_NAME "input.json" /* lines and records of every input file, written by whoever has read them all */

#endif
