/* cmd_corpus.c: jscopes corpus: attributions of many prompts into a folder; what is in such a folder. */
#include "cli_corpus.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* ---- options ---------------------------------------------------------------------------------------------------------------------- */

static bool whole_number(const struct arguments *args, enum option option, long long low, uint64_t *out)
{
    long long n = 0;
    if (args->value[option] == NULL)
        return true;
    if (!number_int(option, args->value[option], low, INT64_MAX, &n))
        return false;
    *out = (uint64_t)n;
    return true;
}

/* local: of several processes on one machine the how many-th, where a launcher says it. */
static bool parse_shard(const char *text, uint64_t *shard, uint64_t *shards, int *local)
{
    jsc_error error;
    char *end = NULL;
    if (text == NULL || strcmp(text, "off") == 0)
        return true;
    if (strcmp(text, "auto") == 0) {
        char found[160];
        if (jsc_corpus_shard_find(shard, shards, local, found, sizeof found, &error) != JSC_OK) {
            fail_library(&error);
            return false;
        }
        fprintf(stderr, "jscopes: shard %" PRIu64 "/%" PRIu64 " (%s)\n", *shard, *shards, found);
        return true;
    }
    const unsigned long long i = strtoull(text, &end, 10), n = *end == '/' ? strtoull(end + 1, &end, 10) : 0;
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || n == 0 || i >= n) {
        fail(EXIT_USAGE, "--shard '%s': I/N with 0 <= I < N, auto or off is wanted", text);
        return false;
    }
    *shard = i, *shards = n;
    return true;
}

static bool parse_options(const struct arguments *args, jsc_corpus_options *out, int *local)
{
    static const char *const ends[] = {"error", "left", "right", NULL};
    char *const *value = args->value;
    uint64_t pad = 0, most = 0;
    if (value[OPT_TEXT_FIELD] != NULL)
        out->text_field = value[OPT_TEXT_FIELD];
    if (value[OPT_ID_FIELD] != NULL)
        out->id_field = value[OPT_ID_FIELD];
    if (value[OPT_OVERLONG] != NULL) {
        const int end = choice(OPT_OVERLONG, value[OPT_OVERLONG], ends);
        if (end < 0)
            return false;
        out->overlong = (jsc_overlong)end;
    }
    if (value[OPT_FLUSH] != NULL && !number_double(OPT_FLUSH, value[OPT_FLUSH], 0.0, 86400.0, &out->flush_seconds))
        return false;
    if (value[OPT_FRONT_PAD] != NULL && !whole_number(args, OPT_FRONT_PAD, 0, &pad))
        return false;
    if (pad > 1000000) {
        fail(EXIT_USAGE, "--front-pad: at most 1000000");
        return false;
    }
    if (!whole_number(args, OPT_MAX_ERRORS, 0, &most))
        return false;
    out->max_errors = value[OPT_MAX_ERRORS] != NULL ? (int64_t)most : -1;
    out->front_pad = (int)pad;
    out->no_special = value[OPT_NO_BOS] != NULL;
    out->new_only = value[OPT_NEW_ONLY] != NULL;
    out->keep_meta = value[OPT_KEEP_META] != NULL;
    return whole_number(args, OPT_MAX_TOKENS, 1, &out->max_tokens) && whole_number(args, OPT_CHUNK, 1, &out->chunk) &&
           whole_number(args, OPT_LIMIT, 1, &out->limit) && parse_shard(value[OPT_SHARD], &out->shard, &out->shards, local);
}

/* ---- the run ---------------------------------------------------------------------------------------------------------------------- */

static volatile sig_atomic_t asked_to_stop;

static void on_signal(int number)
{
    (void)number;
    asked_to_stop = 1; /* the handler is gone after the first time (SA_RESETHAND): a second signal ends the program */
}

static void watch_signals(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGUSR1};
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = (int)SA_RESETHAND | SA_RESTART;
    (void)sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        (void)sigaction(numbers[i], &action, NULL);
}

static int on_progress(void *user, const jsc_corpus_counts *now)
{
    corpus_progress(user, now);
    return asked_to_stop != 0;
}

static int say_end(const struct arguments *args, const jsc_corpus_counts *c)
{
    corpus_progress_clear();
    fprintf(stderr, "jscopes: %" PRIu64 " record%s, %" PRIu64 " failed; %" PRIu64 " were there before, %" PRIu64 " of them failed\n",
            c->records, c->records == 1 ? "" : "s", c->errors, c->found, c->found_errors);
    return args->value[OPT_FAIL_ON_ERROR] != NULL && c->errors + c->found_errors > 0 ? EXIT_FAILED : EXIT_DONE;
}

static jsc_status open_gpu(const struct arguments *args, const jsc_open_options *open, int index, jsc_model **out, jsc_error *error)
{
    jsc_open_options options = *open;
    char device[24];
    (void)snprintf(device, sizeof device, "cuda:%d", index);
    options.device = device;
    progress_start();
    return jsc_model_open(args->model, &options, out, error);
}

/* One of several processes of a machine: the GPU of its number, modulo how many it sees. Where a device is named or there is no GPU, as ever. */
static int open_local(const struct arguments *args, jsc_open_options *open, int local, struct answering *who)
{
    const char *device = open->device;
    const bool chooses = device != NULL ? strcmp(device, "cuda") == 0 || strcmp(device, "auto") == 0 : getenv("JSC_DEVICE") == NULL;
    jsc_error error = {JSC_E_DEVICE, ""};
    int last = chooses ? local : -1; /* the last GPU that is there, as far as it matters */
    while (last >= 0 && open_gpu(args, open, last, &who->model, &error) == JSC_E_DEVICE)
        last--;
    if (last < 0)
        return answering_open(args, open, who);
    if (who->model != NULL && local % (last + 1) != last) {
        jsc_model_close(who->model);
        who->model = NULL;
        (void)open_gpu(args, open, local % (last + 1), &who->model, &error);
    }
    return who->model != NULL ? EXIT_DONE : fail_library(&error);
}

static int run_with(const struct arguments *args, struct wanted *wanted, jsc_open_options *open, int local, jsc_corpus_options *options)
{
    struct answering who = {NULL, NULL};
    jsc_corpus_counts counts = JSC_CORPUS_COUNTS_INIT;
    jsc_error error;
    int status = open_local(args, open, local, &who);
    const jsc_model *model = answering_model(&who);
    if (status == EXIT_DONE)
        status = wanted_resolve(args, model, wanted);
    progress_clear();
    watch_signals();
    if (status == EXIT_DONE) {
        options->request = &wanted->request;
        if (jsc_corpus_run(model, who.group, options, &counts, &error) == JSC_OK)
            status = say_end(args, &counts);
        else {
            corpus_progress_clear();
            status = error.status == JSC_E_CANCELLED ? fail(EXIT_FAILED, "%s", error.text) : fail_library(&error);
        }
    }
    answering_close(&who);
    return status;
}

static int corpus_run(const struct arguments *given)
{
    jsc_corpus_options options = JSC_CORPUS_OPTIONS_INIT;
    struct arguments args = *given; /* files[0] is the model; the strings stay the caller's */
    struct wanted wanted = {.targets = NULL};
    struct corpus_view view = {0};
    jsc_open_options open;
    int local = -1;
    args.model = given->files.items[0];
    if (given->files.n < 2)
        return fail(EXIT_USAGE, "corpus: which inputs? JSON lines, such as: jscopes corpus %s prompts.jsonl -o results", args.model);
    if (args.value[OPT_OUTPUT] == NULL)
        return fail(EXIT_USAGE, "corpus: where to? -o DIR is missing");
    options.inputs = (const char *const *)given->files.items + 1;
    options.n_inputs = given->files.n - 1;
    options.folder = args.value[OPT_OUTPUT];
    options.progress = on_progress;
    options.progress_user = &view;
    if (!parse_options(&args, &options, &local) || !corpus_view_parse(&args, &view) || !open_options_parse(&args, &open))
        return EXIT_USAGE;
    int status = wanted_parse(&args, &wanted);
    if (status == EXIT_DONE)
        status = run_with(&args, &wanted, &open, local, &options);
    wanted_free(&wanted);
    return status;
}

int cmd_corpus(const struct arguments *args)
{
    static const struct {
        const char *name;
        int (*run)(const struct arguments *args, const char *folder);
    } parts[] = {{"status", corpus_status}, {"check", corpus_check}, {"merge", corpus_merge}, {"summary", corpus_summary}};
    if (args->files.n == 0)
        return fail(EXIT_USAGE, "corpus: which model, which inputs? Such as: jscopes corpus smollm2-135m prompts.jsonl -o results");
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (strcmp(args->files.items[0], parts[i].name) == 0) {
            if (args->files.n != 2)
                return fail(EXIT_USAGE, "corpus %s: one folder is wanted, such as: jscopes corpus %s results", parts[i].name,
                            parts[i].name);
            return parts[i].run(args, args->files.items[1]);
        }
    if (args->value[OPT_FORMAT] != NULL)
        return fail(EXIT_USAGE, "--format goes with corpus status, check and summary; records are JSON, which jscopes render shows");
    return corpus_run(args);
}
