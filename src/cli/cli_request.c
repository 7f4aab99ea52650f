/* cli_request.c: options -> request: which go together, their values, texts of targets. */
#include "cli_internal.h"

#include <stdlib.h>
#include <string.h>

#define SCOPE(name)  (1u << JSC_SCOPE_##name)
#define WITH_TARGETS (SCOPE(SEMANTIC) | SCOPE(PATH) | SCOPE(INPUT_X_GRADIENT))

/* Which scopes an option belongs to. */
static const struct {
    enum option option;
    unsigned scopes;
} of_scope[] = {
    {OPT_TARGET, WITH_TARGETS},         {OPT_TARGET_ID, WITH_TARGETS}, {OPT_CONTRAST, WITH_TARGETS}, {OPT_LOG_PROBABILITY, WITH_TARGETS},
    {OPT_DIRECTIONS, SCOPE(DIRECTION)}, {OPT_EXACT, SCOPE(FISHER)},    {OPT_RANK, SCOPE(FISHER)},    {OPT_RTOL, SCOPE(FISHER)},
    {OPT_STEPS, SCOPE(PATH)},           {OPT_PATH_RULE, SCOPE(PATH)},  {OPT_BASELINE, SCOPE(PATH)},
};

/* Of these at most one can be meant. */
static const struct {
    enum option options[4]; /* 0: end */
    bool needed;
} exclusive[] = {
    {{OPT_TARGET, OPT_TARGET_ID, OPT_CONTRAST}, false},
    {{OPT_EXACT, OPT_RANK, OPT_RTOL}, false},
    {{OPT_LOG_PROBABILITY, OPT_CONTRAST}, false},
    {{OPT_IDS, OPT_NO_BOS}, false},
    {{OPT_IDS, OPT_FRONT_PAD}, false},
    {{OPT_TOKENS, OPT_NO_BOS}, false},
    {{OPT_TOKENS, OPT_FRONT_PAD}, false},
    {{OPT_TEXT, OPT_TEXT_FILE, OPT_IDS, OPT_TOKENS}, true},
};

bool exclusive_check(const struct arguments *args)
{
    for (size_t i = 0; i < sizeof exclusive / sizeof *exclusive; i++) {
        enum option first = 0;
        for (int k = 0; k < 4 && exclusive[i].options[k] != 0; k++) {
            const enum option option = exclusive[i].options[k];
            if (args->value[option] == NULL)
                continue;
            if (first != 0) {
                fail(EXIT_USAGE, "%s and %s do not go together", option_name(first), option_name(option));
                return false;
            }
            first = option;
        }
        if (first == 0 && exclusive[i].needed && args->files.n == 0) { /* a corpus has its prompts in files */
            fail(EXIT_USAGE, "no prompt: give --text TEXT, --text-file FILE or --ids 1,2,3");
            return false;
        }
    }
    return true;
}

static bool check_scope(const struct arguments *args, jsc_scope scope)
{
    for (size_t i = 0; i < sizeof of_scope / sizeof *of_scope; i++) {
        if (args->value[of_scope[i].option] == NULL || (of_scope[i].scopes >> scope & 1u) != 0)
            continue;
        jsc_scope other = 0;
        while ((of_scope[i].scopes >> other & 1u) == 0)
            other++;
        fail(EXIT_USAGE, "%s does not apply to scope %s; it goes with --scope %s", option_name(of_scope[i].option), jsc_scope_name(scope),
             jsc_scope_name(other));
        return false;
    }
    if (scope == JSC_SCOPE_DIRECTION && args->value[OPT_DIRECTIONS] == NULL) {
        fail(EXIT_USAGE, "--scope direction needs --directions FILE.npy");
        return false;
    }
    return true;
}

static bool parse_scope(const struct arguments *args, jsc_scope *out)
{
    const char *names[JSC_SCOPE_COUNT + 1] = {NULL};
    for (int s = 0; s < JSC_SCOPE_COUNT; s++)
        names[s] = jsc_scope_name((jsc_scope)s);
    const int scope = args->value[OPT_SCOPE] == NULL ? JSC_SCOPE_SEMANTIC : choice(OPT_SCOPE, args->value[OPT_SCOPE], names);
    *out = (jsc_scope)scope;
    return scope >= 0 && check_scope(args, *out);
}

/* "4096", "800M", "1.5G" */
static bool parse_bytes(const char *text, uint64_t *out)
{
    char number[32] = "";
    const size_t n = strlen(text);
    const char *units = "KMGT", *unit = n > 1 ? strchr(units, text[n - 1]) : NULL;
    double value = 0.0;
    if (n >= sizeof number || n == 0) {
        fail(EXIT_USAGE, "--memory '%s': bytes are wanted, such as 800M or 4G", text);
        return false;
    }
    memcpy(number, text, unit != NULL ? n - 1 : n);
    if (!number_double(OPT_MEMORY, number, 1.0, 1e18, &value))
        return false;
    for (const char *u = units; unit != NULL && u <= unit; u++)
        value *= 1024.0;
    *out = value < 1e18 ? (uint64_t)value : (uint64_t)1000000000000000000;
    return true;
}

bool memory_parse(const struct arguments *args, uint64_t *out)
{
    return args->value[OPT_MEMORY] == NULL || parse_bytes(args->value[OPT_MEMORY], out);
}

bool seed_parse(const struct arguments *args, uint64_t *out)
{
    long long seed = 0;
    if (args->value[OPT_SEED] != NULL && !number_int(OPT_SEED, args->value[OPT_SEED], 0, INT64_MAX, &seed))
        return false;
    *out = (uint64_t)seed;
    return true;
}

static bool parse_baseline(const char *text, jsc_request *r)
{
    static const char *const names[] = {"zero", "mean", "id:N", NULL};
    long long id = 0;
    if (strncmp(text, "id:", 3) == 0) {
        if (!number_int(OPT_BASELINE, text + 3, 0, INT32_MAX, &id))
            return false;
        r->baseline = JSC_BASELINE_ID;
        r->baseline_id = (int32_t)id;
        return true;
    }
    const int index = choice(OPT_BASELINE, text, names);
    if (index == 2)
        fail(EXIT_USAGE, "--baseline id:N: N is a token id");
    r->baseline = index == 1 ? JSC_BASELINE_MEAN : JSC_BASELINE_ZERO;
    return index == 0 || index == 1;
}

static bool parse_fisher_and_path(const struct arguments *args, jsc_request *r)
{
    static const char *const rules[] = {"uniform", "graded", NULL};
    char *const *value = args->value;
    long long n = 0;
    if (value[OPT_EXACT] != NULL)
        r->fisher_mode = JSC_FISHER_EXACT;
    if (value[OPT_RANK] != NULL) {
        if (!number_int(OPT_RANK, value[OPT_RANK], 1, INT32_MAX, &n))
            return false;
        r->fisher_mode = JSC_FISHER_RANK;
        r->fisher_rank = (int)n;
    }
    if (value[OPT_RTOL] != NULL && !number_double(OPT_RTOL, value[OPT_RTOL], 1e-6, 1.0, &r->fisher_rtol))
        return false;
    if (value[OPT_STEPS] != NULL) {
        if (!number_int(OPT_STEPS, value[OPT_STEPS], 1, 1000000, &n))
            return false;
        r->path_steps = (int)n;
    }
    if (value[OPT_PATH_RULE] != NULL) {
        const int rule = choice(OPT_PATH_RULE, value[OPT_PATH_RULE], rules);
        if (rule < 0)
            return false;
        r->path_rule = (jsc_path_rule)rule;
    }
    return value[OPT_BASELINE] == NULL || parse_baseline(value[OPT_BASELINE], r);
}

static bool parse_targets(const struct arguments *args, struct wanted *out)
{
    jsc_request *r = &out->request;
    const char *ids = args->value[OPT_TARGET_ID];
    if (args->value[OPT_LOG_PROBABILITY] != NULL)
        r->objective = JSC_OBJECTIVE_LOG_PROBABILITY;
    if (ids != NULL) {
        if (!number_ids(OPT_TARGET_ID, ids, &out->targets, &r->n_targets))
            return false;
        r->targets = out->targets;
        if (r->n_targets > 1 && r->scope != JSC_SCOPE_SEMANTIC) {
            fail(EXIT_USAGE, "--target-id with several ids goes with --scope semantic only");
            return false;
        }
    }
    return true;
}

static bool parse_all(const struct arguments *args, struct wanted *out)
{
    jsc_request *r = &out->request;
    char *const *value = args->value;
    long long n = 0;
    if (!exclusive_check(args) || !parse_scope(args, &r->scope) || !parse_fisher_and_path(args, r) || !parse_targets(args, out))
        return false;
    if (value[OPT_POSITION] != NULL) {
        if (!number_int(OPT_POSITION, value[OPT_POSITION], INT32_MIN, INT32_MAX, &n))
            return false;
        r->position = n;
    }
    if (!seed_parse(args, &r->seed) || !memory_parse(args, &r->memory_limit))
        return false;
    if (value[OPT_TOKENS] != NULL) {
        if (!number_int(OPT_TOKENS, value[OPT_TOKENS], 1, INT32_MAX, &n))
            return false;
        r->n_ids = (size_t)n;
    }
    r->layers = value[OPT_LAYERS] != NULL;
    r->matrix = value[OPT_MATRIX] != NULL;
    r->progress = progress_show;
    return true;
}

int wanted_parse(const struct arguments *args, struct wanted *out)
{
    const jsc_request standard = JSC_REQUEST_INIT;
    const char *path = args->value[OPT_DIRECTIONS];
    jsc_error error;
    out->request = standard;
    if (!parse_all(args, out))
        return EXIT_USAGE;
    if (path != NULL && jsc_directions_read(path, &out->directions, &out->request.n_directions, &out->columns, &error) != JSC_OK)
        return fail_library(&error);
    out->request.directions = out->directions;
    return EXIT_DONE;
}

/* An id in digits, or the text of exactly one token. */
static int resolve_token(const jsc_model *model, const char *text, size_t n, int32_t *id)
{
    char *end = NULL;
    jsc_error error;
    const long number = n > 0 && n < 10 && strspn(text, "0123456789") >= n ? strtol(text, &end, 10) : -1;
    if (number >= 0) {
        *id = (int32_t)number;
        return EXIT_DONE;
    }
    return jsc_token_find(model, text, n, id, &error) == JSC_OK ? EXIT_DONE : fail_library(&error);
}

int wanted_resolve(const struct arguments *args, const jsc_model *model, struct wanted *out)
{
    const char *target = args->value[OPT_TARGET], *pair = args->value[OPT_CONTRAST], *comma = pair != NULL ? strchr(pair, ',') : NULL;
    jsc_model_info info = JSC_MODEL_INFO_INIT;
    jsc_error error;
    int status = EXIT_DONE;
    if (out->directions != NULL) {
        if (jsc_model_describe(model, &info, &error) != JSC_OK)
            return fail_library(&error);
        if (out->columns != (size_t)info.d_model)
            return fail(EXIT_USAGE, "%s: rows of %zu numbers; the model is %d wide", args->value[OPT_DIRECTIONS], out->columns,
                        info.d_model);
    }
    if (target == NULL && pair == NULL)
        return EXIT_DONE;
    if ((out->targets = calloc(2, sizeof *out->targets)) == NULL)
        return fail(EXIT_FAILED, "no memory for the targets");
    out->request.targets = out->targets;
    out->request.n_targets = 1;
    if (target != NULL)
        return jsc_token_find(model, target, strlen(target), &out->targets[0], &error) == JSC_OK ? EXIT_DONE : fail_library(&error);
    if (comma == NULL || strchr(comma + 1, ',') != NULL)
        return fail(EXIT_USAGE, "--contrast '%s': two tokens with one comma between are wanted (ids where a token contains a comma)", pair);
    out->request.objective = JSC_OBJECTIVE_CONTRAST;
    status = resolve_token(model, pair, (size_t)(comma - pair), &out->targets[0]);
    return status != EXIT_DONE ? status : resolve_token(model, comma + 1, strlen(comma + 1), &out->targets[1]);
}

void wanted_free(struct wanted *wanted)
{
    free(wanted->targets);
    jsc_directions_free(wanted->directions);
}

bool open_options_parse(const struct arguments *args, jsc_open_options *out)
{
    static const char *const precisions[] = {"auto", "strict", "fast", NULL};
    const jsc_open_options standard = JSC_OPEN_OPTIONS_INIT;
    long long threads = 0;
    *out = standard;
    out->device = args->value[OPT_DEVICE];
    if (args->value[OPT_PRECISION] != NULL) {
        const int precision = choice(OPT_PRECISION, args->value[OPT_PRECISION], precisions);
        if (precision < 0)
            return false;
        out->precision = (jsc_precision)precision;
    }
    if (args->value[OPT_THREADS] != NULL && !number_int(OPT_THREADS, args->value[OPT_THREADS], 1, 4096, &threads))
        return false;
    out->threads = (int)threads;
    out->log = args->value[OPT_VERBOSE] != NULL ? log_line : NULL;
    out->progress = progress_show;
    return true;
}

int model_open(const struct arguments *args, jsc_open_options *options, jsc_model **out)
{
    jsc_error error;
    char first[24];
    if (devices_many(options)) {
        const char *list = options->device;
        (void)snprintf(first, sizeof first, "%.*s", (int)strcspn(list, ","), strcmp(list, "cuda:all") == 0 ? "cuda:0" : list);
        options->device = first;
    }
    progress_start();
    return jsc_model_open(args->model, options, out, &error) == JSC_OK ? EXIT_DONE : fail_library(&error);
}
