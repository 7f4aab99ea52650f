/* options.c: the options of every command, in the groups that --help shows. */
#include "cli_internal.h"

#include <string.h>

#define FLAG(name, id, help)                                                                                                               \
    {                                                                                                                                      \
        name, '\0', POPT_ARG_NONE, NULL, id, help, NULL                                                                                    \
    }
#define VALUE(name, id, help, what)                                                                                                        \
    {                                                                                                                                      \
        name, '\0', POPT_ARG_STRING, NULL, id, help, what                                                                                  \
    }
#define GROUP(table, title)                                                                                                                \
    {                                                                                                                                      \
        NULL, '\0', POPT_ARG_INCLUDE_TABLE, (void *)(table), 0, title, NULL                                                                \
    }

static const struct poptOption text_table[] = {
    VALUE("text", OPT_TEXT, "the prompt", "TEXT"),
    VALUE("text-file", OPT_TEXT_FILE, "the prompt is the content of FILE, byte for byte; - is standard input", "FILE"),
    FLAG("no-bos", OPT_NO_BOS, "put no begin-of-sequence token in front of the text"),
    VALUE("front-pad", OPT_FRONT_PAD, "put N further begin-of-sequence tokens in front (they soak up the attention sink)", "N"),
    POPT_TABLEEND};

static const struct poptOption ids_table[] = {
    VALUE("ids", OPT_IDS, "the prompt as token ids, 1,2,3; needs no tokeniser, and passes through untouched", "IDS"), POPT_TABLEEND};

static const struct poptOption size_table[] = {VALUE("tokens", OPT_TOKENS, "plan for a prompt of N tokens, whatever they are", "N"),
                                               POPT_TABLEEND};

static const struct poptOption target_table[] = {
    VALUE("scope", OPT_SCOPE, "semantic (default), temperature, fisher, path, input-x-gradient or direction", "SCOPE"),
    VALUE("position", OPT_POSITION, "explain the prediction after token P; negative counts from the end; default -1, the last", "P"),
    VALUE("target", OPT_TARGET, "explain this token (exactly one; often with a leading space); default: the likeliest", "TEXT"),
    VALUE("target-id", OPT_TARGET_ID, "explain these token ids; several give one score per target and token", "ID[,ID...]"),
    VALUE("contrast", OPT_CONTRAST, "explain why A rather than B (ids, or texts of one token)", "A,B"),
    FLAG("log-probability", OPT_LOG_PROBABILITY, "explain the log-probability of the target instead of its logit"),
    VALUE("directions", OPT_DIRECTIONS, "scope direction: rows of a .npy file, each as wide as the model", "FILE.npy"),
    POPT_TABLEEND};

static const struct poptOption method_table[] = {
    FLAG("exact", OPT_EXACT, "fisher: every direction"),
    VALUE("rank", OPT_RANK, "fisher: only the K strongest directions", "K"),
    VALUE("rtol", OPT_RTOL, "fisher: go on until every token with 1 % of the total is this exact; default 0.02", "R"),
    VALUE("steps", OPT_STEPS, "path: points on the path; default 100", "N"),
    VALUE("path-rule", OPT_PATH_RULE, "path: uniform (default), or graded towards the baseline", "RULE"),
    VALUE("baseline", OPT_BASELINE, "path: begins at zero (default), mean (of the embeddings) or id:N", "WHERE"),
    FLAG("layers", OPT_LAYERS, "also the scores at every block's input"),
    FLAG("matrix", OPT_MATRIX, "also the scores of every position as target"),
    POPT_TABLEEND};

static const struct poptOption spectrum_table[] = {
    VALUE("kind", OPT_KIND, "fisher (default: F at the position), fisher-input (J_t^T F J_t) or jacobian (singular values of J_t)", "KIND"),
    VALUE("position", OPT_POSITION, "of the prediction after token P; negative counts from the end; default -1, the last", "P"),
    VALUE("token", OPT_TOKEN, "fisher-input, jacobian: the input token t, counted like P; default: P", "T"),
    VALUE("top-k", OPT_TOP_K, "how many of the largest values; default 10", "K"), POPT_TABLEEND};

static const struct poptOption spectrum_method_table[] = {
    FLAG("exact", OPT_EXACT, "pull back every row, whatever it costs"),
    VALUE("steps", OPT_STEPS, "power steps at most; default: 2, or exact where that costs no more", "N"), POPT_TABLEEND};

static const struct poptOption vectors_table[] = {FLAG("vectors", OPT_VECTORS, "json: also the vectors of the values"), POPT_TABLEEND};

static const struct poptOption machine_table[] = {
    VALUE("device", OPT_DEVICE,
          "auto (default), cpu, cuda, cuda:N, cuda:0+1 (blocks on several); attribute also cuda:all, cuda:0,2 (several share the work)",
          "DEVICE"),
    VALUE("precision", OPT_PRECISION,
          "strict (float32 throughout) or fast (bfloat16 cotangents: scores within a few per cent); default auto", "P"),
    VALUE("threads", OPT_THREADS, "default: OMP_NUM_THREADS, else all processors", "N"), POPT_TABLEEND};

static const struct poptOption join_table[] = {
    FLAG("join", OPT_JOIN, "share the work with the other processes that torchrun, srun or mpirun has started; rank 0 writes the result"),
    POPT_TABLEEND};

static const struct poptOption run_table[] = {
    VALUE("memory", OPT_MEMORY, "bytes beyond the weights, with K, M or G; default: what is free", "BYTES"),
    VALUE("seed", OPT_SEED, "of random probes (fisher, spectrum); default 0", "N"), POPT_TABLEEND};

static const struct poptOption format_table[] = {VALUE("format", OPT_FORMAT, "text (default) or json", "FORMAT"), POPT_TABLEEND};

static const struct poptOption any_format_table[] = {
    VALUE("format", OPT_FORMAT, "text, json, html or svg; default: what the ending of -o says, else text", "FORMAT"), POPT_TABLEEND};

static const struct poptOption families_table[] = {FLAG("families", OPT_FAMILIES, "instead of a model: which families can be read"),
                                                   POPT_TABLEEND};

static const struct poptOption report_table[] = {
    {"output", 'o', POPT_ARG_STRING, NULL, OPT_OUTPUT, "write to FILE, which appears whole or not at all", "FILE"},
    VALUE("top-k", OPT_TOP_K, "text: lines in the table of the strongest tokens, default 5; svg: bars of the predictions, default 7", "K"),
    VALUE("color", OPT_COLOR, "text: auto (default), always or never", "WHEN"),
    VALUE("title", OPT_TITLE, "html, svg: the title; default: the model and the scope", "TITLE"),
    VALUE("inches", OPT_INCHES, "svg: width, from 3.25 (one column of a page) to 6.75 (two, default)", "W"),
    FLAG("series", OPT_SERIES, "svg: a time series: scores as bars over the positions, the tokens' numbers as a line"),
    POPT_TABLEEND};

static const struct poptOption results_table[] = {
    VALUE("id", OPT_ID, "of every FILE the first line whose \"id\" is X (a corpus output; it is not held in memory)", "X"),
    VALUE("label", OPT_LABEL, "what to call the results, once for each; default: what they differ in", "NAME"),
    FLAG("difference", OPT_DIFFERENCE, "of two results of the same tokens: the first minus the second"), POPT_TABLEEND};

static const struct poptOption common_table[] = {FLAG("verbose", OPT_VERBOSE, "say on standard error what is done"),
                                                 {"help", 'h', POPT_ARG_NONE, NULL, OPT_HELP, "this page", NULL},
                                                 POPT_TABLEEND};

const struct poptOption options_attribute[] = {GROUP(text_table, "Prompt:"),
                                               GROUP(ids_table, NULL),
                                               GROUP(target_table, "What is explained:"),
                                               GROUP(method_table, "How:"),
                                               GROUP(machine_table, "Machine:"),
                                               GROUP(join_table, NULL),
                                               GROUP(run_table, NULL),
                                               GROUP(any_format_table, "Output:"),
                                               GROUP(report_table, NULL),
                                               GROUP(common_table, NULL),
                                               POPT_TABLEEND};
const struct poptOption options_plan[] = {GROUP(text_table, "Prompt:"), GROUP(ids_table, NULL),
                                          GROUP(size_table, NULL),      GROUP(target_table, "What is explained:"),
                                          GROUP(method_table, "How:"),  GROUP(machine_table, "Machine:"),
                                          GROUP(run_table, NULL),       GROUP(format_table, "Output:"),
                                          GROUP(common_table, NULL),    POPT_TABLEEND};
const struct poptOption options_info[] = {GROUP(families_table, "What:"), GROUP(machine_table, "Machine:"), GROUP(format_table, "Output:"),
                                          GROUP(common_table, NULL), POPT_TABLEEND};
const struct poptOption options_tokenize[] = {GROUP(text_table, "Text:"), GROUP(format_table, "Output:"), GROUP(common_table, NULL),
                                              POPT_TABLEEND};

const struct poptOption options_render[] = {GROUP(results_table, "What is shown:"), GROUP(any_format_table, "Output:"),
                                            GROUP(report_table, NULL), GROUP(common_table, NULL), POPT_TABLEEND};

const struct poptOption options_spectrum[] = {GROUP(text_table, "Prompt:"),
                                              GROUP(ids_table, NULL),
                                              GROUP(spectrum_table, "What is decomposed:"),
                                              GROUP(spectrum_method_table, "How:"),
                                              GROUP(machine_table, "Machine:"),
                                              GROUP(run_table, NULL),
                                              GROUP(format_table, "Output:"),
                                              GROUP(vectors_table, NULL),
                                              GROUP(common_table, NULL),
                                              POPT_TABLEEND};

static const struct poptOption line_table[] = {
    VALUE("text-field", OPT_TEXT_FIELD, "field of a line that holds the text; default text", "NAME"),
    VALUE("id-field", OPT_ID_FIELD, "field that holds the record's id; default id, without one FILE:LINE", "NAME"),
    VALUE("max-tokens", OPT_MAX_TOKENS, "longer prompts are overlong; default: no limit", "N"),
    VALUE("overlong", OPT_OVERLONG, "error (default), or cut off at the left or right end", "WHAT"),
    FLAG("no-bos", OPT_NO_BOS, "put no begin-of-sequence token in front of the texts"),
    VALUE("front-pad", OPT_FRONT_PAD, "put N further begin-of-sequence tokens in front", "N"),
    FLAG("keep-meta", OPT_KEEP_META, "carry over the fields that are not known, as \"meta\""),
    FLAG("new-only", OPT_NEW_ONLY, "there may be more inputs than when the folder was begun: they are added to it"),
    VALUE("limit", OPT_LIMIT, "only the first N lines", "N"),
    POPT_TABLEEND};

static const struct poptOption folder_table[] = {
    {"output", 'o', POPT_ARG_STRING, NULL, OPT_OUTPUT, "folder of the results, made if absent (merge: the file)", "DIR"},
    VALUE("chunk", OPT_CHUNK, "lines of the input to one file; default 1000", "N"),
    VALUE("shard", OPT_SHARD, "I/N: only the chunks of worker I of N, from 0; auto: as Slurm, torchrun or mpirun say; default off", "I/N"),
    VALUE("flush", OPT_FLUSH, "seconds of work that a kill can lose; default 30", "S"),
    VALUE("max-errors", OPT_MAX_ERRORS, "stop after more error records than N; default: never", "N"),
    FLAG("fail-on-error", OPT_FAIL_ON_ERROR, "exit status 1 if there are error records"),
    VALUE("progress", OPT_PROGRESS, "auto (default), plain (lines) or none", "HOW"),
    POPT_TABLEEND};

const struct poptOption options_corpus[] = {GROUP(line_table, "Lines:"),
                                            GROUP(target_table, "What is explained, where a line does not say it:"),
                                            GROUP(method_table, "How:"),
                                            GROUP(machine_table, "Machine:"),
                                            GROUP(run_table, NULL),
                                            GROUP(folder_table, "Results:"),
                                            GROUP(format_table, "Of status, check and summary:"),
                                            GROUP(common_table, NULL),
                                            POPT_TABLEEND};

static const struct poptOption *find(const struct poptOption *table, int id)
{
    for (const struct poptOption *o = table; o->longName != NULL || o->arg != NULL; o++) {
        if (o->longName != NULL && o->val == id)
            return o;
        const struct poptOption *inner = o->longName == NULL ? find(o->arg, id) : NULL;
        if (inner != NULL)
            return inner;
    }
    return NULL;
}

const char *option_name(enum option option)
{
    static char names[OPT_COUNT][24];
    static const struct poptOption *const all[] = {options_attribute, options_plan,     options_info,
                                                   options_render,    options_spectrum, options_corpus};
    const struct poptOption *o = NULL;
    for (size_t i = 0; o == NULL && i < sizeof all / sizeof *all; i++)
        o = find(all[i], (int)option);
    if (o != NULL)
        (void)snprintf(names[option], sizeof names[option], "--%s", o->longName);
    return names[option];
}
