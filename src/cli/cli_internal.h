/* cli_internal.h: the program jscopes: commands, their arguments, the terminal. It sees only include/jscopes. */
#ifndef JSC_CLI_INTERNAL_H
#define JSC_CLI_INTERNAL_H

#include <jscopes/jscopes.h>

#include <popt.h>
#include <stdbool.h>
#include <stdio.h>

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* ---- options (options.c, args.c) ----------------------------------------------------------------------------------------------- */

enum option {
    OPT_HELP = 1,
    OPT_TEXT,
    OPT_TEXT_FILE,
    OPT_IDS,
    OPT_TOKENS,
    OPT_NO_BOS,
    OPT_FRONT_PAD,
    OPT_SCOPE,
    OPT_TARGET,
    OPT_TARGET_ID,
    OPT_CONTRAST,
    OPT_LOG_PROBABILITY,
    OPT_DIRECTIONS,
    OPT_POSITION,
    OPT_EXACT,
    OPT_RANK,
    OPT_RTOL,
    OPT_STEPS,
    OPT_PATH_RULE,
    OPT_BASELINE,
    OPT_LAYERS,
    OPT_MATRIX,
    OPT_PRECISION,
    OPT_DEVICE,
    OPT_MEMORY,
    OPT_THREADS,
    OPT_SEED,
    OPT_FORMAT,
    OPT_OUTPUT,
    OPT_TOP_K,
    OPT_COLOR,
    OPT_VERBOSE,
    OPT_FAMILIES,
    OPT_JOIN,
    OPT_ID,
    OPT_LABEL,
    OPT_DIFFERENCE,
    OPT_TITLE,
    OPT_INCHES,
    OPT_SERIES,
    OPT_KIND,
    OPT_TOKEN,
    OPT_VECTORS,
    OPT_TEXT_FIELD,
    OPT_ID_FIELD,
    OPT_MAX_TOKENS,
    OPT_OVERLONG,
    OPT_KEEP_META,
    OPT_NEW_ONLY,
    OPT_CHUNK,
    OPT_SHARD,
    OPT_LIMIT,
    OPT_MAX_ERRORS,
    OPT_FAIL_ON_ERROR,
    OPT_PROGRESS,
    OPT_FLUSH,
    OPT_COUNT
};
extern const struct poptOption options_attribute[], options_plan[], options_info[], options_tokenize[], options_render[],
    options_spectrum[], options_corpus[];
/* "--text-file", for messages. */
const char *option_name(enum option option);

struct words {
    char **items;
    size_t n;
};
struct arguments {
    char *model;
    char *value[OPT_COUNT]; /* NULL: not given; "" for options without a value */
    struct words files;     /* of a command that takes them instead of a model */
    struct words labels;    /* --label may be given several times */
};

struct command {
    const char *name, *summary, *usage, *examples;
    const struct poptOption *options; /* NULL: the command reads its arguments itself */
    int (*run)(const struct arguments *args);
    int (*run_raw)(int argc, char **argv);
    bool files; /* takes FILE... instead of one MODEL */
};
extern const struct command commands[];
extern const size_t n_commands;
const struct command *command_find(const char *name); /* says what is wrong and returns NULL if there is none */

/* EXIT_DONE: go on; else the exit status (a message was printed), or -1 if help was asked for and printed. */
int args_parse(const struct command *command, int argc, char **argv, struct arguments *out);
void args_free(struct arguments *args);
int args_help(const struct command *command);

/* Each prints one line naming the option and returns false if the text is no such number. */
bool number_int(enum option option, const char *text, long long low, long long high, long long *out);
bool number_double(enum option option, const char *text, double low, double high, double *out);
/* A list of ids, "1,2,3"; *out is freed by free(). */
bool number_ids(enum option option, const char *text, int32_t **out, size_t *n);
/* The index of text in a NULL-terminated list of names, or -1 after a message. */
int choice(enum option option, const char *text, const char *const *names);

/* A word, and the nearest of the names it was compared with. */
struct guess {
    const char *word, *best;
    int distance;
};
void guess_try(struct guess *guess, const char *name);
const char *guess_best(const struct guess *guess); /* NULL: nothing is near */

/* ---- request (cli_prompt.c, cli_request.c): what attribute and plan have in common --------------------------------------------------------- */

struct prompt {
    const int32_t *ids;
    size_t n;
    jsc_tokens *tokens; /* of a text, with its warnings */
    int32_t *own;       /* of --ids */
};
/* The content of a file, - being standard input; freed by free(). NULL after a message. */
char *file_read(const char *path, size_t *n);
/* The text of --text or --text-file; freed by free(). NULL after a message. */
char *text_read(const struct arguments *args, size_t *n);
/* Ids of a text or of --ids. */
int prompt_make(const struct arguments *args, const jsc_model *model, struct prompt *out);
void prompt_free(struct prompt *prompt);

/* A request and what it points to. */
struct wanted {
    jsc_request request;
    int32_t *targets;
    double *directions;
    size_t columns; /* of directions */
};
/* Everything that needs no model, so that mistakes show before it is read. */
int wanted_parse(const struct arguments *args, struct wanted *out);
/* Texts of targets, which only the model's tokeniser can turn into ids. */
int wanted_resolve(const struct arguments *args, const jsc_model *model, struct wanted *out);
void wanted_free(struct wanted *wanted);
/* Options that exclude each other, and exactly one prompt; false after a message. */
bool exclusive_check(const struct arguments *args);
/* --memory, if given; false after a message. */
bool memory_parse(const struct arguments *args, uint64_t *out);
/* --seed likewise. */
bool seed_parse(const struct arguments *args, uint64_t *out);
/* Device, precision, threads, log and progress. */
bool open_options_parse(const struct arguments *args, jsc_open_options *out);
/* The model of the command with these options; of a list of devices, on the first. */
int model_open(const struct arguments *args, jsc_open_options *options, jsc_model **out);

/* ---- cli_group.c: several devices or processes that answer together ------------------------------------------------------------ */

/* --device names several: "cuda:all" or "cuda:0,2". */
bool devices_many(const jsc_open_options *options);
/* What answers a request. */
struct answering {
    jsc_model *model; /* NULL: the group's own */
    jsc_group *group; /* NULL: the model alone */
};
/* As --device and --join say. */
int answering_open(const struct arguments *args, jsc_open_options *options, struct answering *out);
const jsc_model *answering_model(const struct answering *who); /* of a group, the first's */
void answering_close(struct answering *who);

/* ---- terminal (terminal.c, progress.c, cli_report.c) ------------------------------------------------------------------------------------------ */

/* One line on stderr, "jscopes: ..."; returns status. */
int fail(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The line of a library error; returns EXIT_FAILED. */
int fail_library(const jsc_error *error);
/* Options of text for where it goes; false after a message. */
bool report_options_parse(const struct arguments *args, jsc_report_options *out);
/* The format of --format, else of the ending of -o, else text; NULL after a message. */
const char *report_format_parse(const struct arguments *args);
/* The report to -o or standard output. */
int report_out(const struct arguments *args, const jsc_report_input *input, const char *format, const jsc_report_options *options);
/* jsc_write_fn that writes to stdout. */
int write_stdout(void *user, const char *bytes, size_t n);
/* Everything reached stdout: status, or EXIT_FAILED after a message. */
int finish_stdout(int status);
/* bytes as a JSON string, or as one line that drives no terminal, to stdout. */
void put_json(const char *bytes, size_t n);
void put_shown(const char *bytes, size_t n);
bool wants_json(const struct arguments *args, bool *json); /* --format text|json; false after a message */

void progress_start(void); /* also takes over SIGINT: the first asks the running call to stop, the second kills */
int progress_show(void *user, const char *stage, double done, double total); /* jsc_progress_fn */
void progress_clear(void);                                                   /* takes an unfinished line off the terminal */
void log_line(void *user, int level, const char *line);                      /* jsc_log_fn */

int cmd_attribute(const struct arguments *args);
int cmd_corpus(const struct arguments *args);
int cmd_info(const struct arguments *args);
int cmd_plan(const struct arguments *args);
int cmd_render(const struct arguments *args);
int cmd_spectrum(const struct arguments *args);
int cmd_tokenize(const struct arguments *args);
int cmd_fetch(int argc, char **argv);

#endif
