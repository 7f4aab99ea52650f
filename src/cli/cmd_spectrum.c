/* cmd_spectrum.c: jscopes spectrum: the largest eigenvalues of F or F_t, or singular values of J_t, as bars or json. */
#include "cli_internal.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#define DEFAULT_K 10

/* What was asked for, beside the prompt. */
struct asked {
    jsc_spectrum_request request;
    bool json;
    jsc_report_options look; /* width and characters of text */
};

static bool parse_kind(const struct arguments *args, jsc_spectrum_request *r)
{
    const char *names[JSC_SPECTRUM_COUNT + 1] = {NULL};
    for (int i = 0; i < JSC_SPECTRUM_COUNT; i++)
        names[i] = jsc_spectrum_kind_name((jsc_spectrum_kind)i);
    const int kind = args->value[OPT_KIND] == NULL ? JSC_SPECTRUM_FISHER : choice(OPT_KIND, args->value[OPT_KIND], names);
    r->kind = (jsc_spectrum_kind)kind;
    if (kind == JSC_SPECTRUM_FISHER && args->value[OPT_TOKEN] != NULL) {
        fail(EXIT_USAGE, "--token does not apply to --kind fisher; it goes with --kind fisher-input or jacobian");
        return false;
    }
    return kind >= 0;
}

/* One number of an option, into *out if it was given. */
static bool parse_number(const struct arguments *args, enum option option, long long low, long long high, int64_t *out)
{
    long long n = 0;
    if (args->value[option] == NULL)
        return true;
    if (!number_int(option, args->value[option], low, high, &n))
        return false;
    *out = n;
    return true;
}

static bool parse(const struct arguments *args, struct asked *out)
{
    const jsc_spectrum_request standard = JSC_SPECTRUM_REQUEST_INIT;
    const jsc_report_options look = JSC_REPORT_OPTIONS_INIT;
    jsc_spectrum_request *r = &out->request;
    int64_t k = 0, steps = 0;
    *r = standard, out->look = look;
    if (!wants_json(args, &out->json) || !exclusive_check(args) || !parse_kind(args, r) || !report_options_parse(args, &out->look))
        return false;
    if (!parse_number(args, OPT_POSITION, INT32_MIN, INT32_MAX, &r->position))
        return false;
    r->token = r->position;
    if (!parse_number(args, OPT_TOKEN, INT32_MIN, INT32_MAX, &r->token) || !parse_number(args, OPT_TOP_K, 1, INT32_MAX, &k) ||
        !parse_number(args, OPT_STEPS, 1, 1000, &steps) || !seed_parse(args, &r->seed) || !memory_parse(args, &r->memory_limit))
        return false;
    r->k = (int)k, r->iterations = (int)steps;
    r->exact = args->value[OPT_EXACT] != NULL;
    if (r->exact && steps > 0)
        return fail(EXIT_USAGE, "--exact and --steps do not go together") == EXIT_DONE;
    if (args->value[OPT_VECTORS] != NULL && !out->json)
        return fail(EXIT_USAGE, "--vectors needs --format json") == EXIT_DONE;
    r->progress = progress_show;
    return true;
}

/* ---- text ------------------------------------------------------------------------------------------------------------------------- */

static int put_token(const jsc_model *model, const struct prompt *prompt, size_t t)
{
    const char *bytes = NULL;
    size_t n = 0;
    jsc_error error;
    if (jsc_token_bytes(model, prompt->ids[t], &bytes, &n, &error) != JSC_OK)
        return fail_library(&error);
    printf("token %zu \"", t);
    put_shown(bytes, n);
    printf("\"");
    return EXIT_DONE;
}

static int put_head(const jsc_model *model, const struct prompt *prompt, const jsc_spectrum *s)
{
    static const char *const what[JSC_SPECTRUM_COUNT] = {"Eigenvalues of F", "Eigenvalues of J_t^T F J_t", "Singular values of J_t"};
    printf("%s: ", what[s->kind]);
    if (s->kind != JSC_SPECTRUM_FISHER) {
        if (put_token(model, prompt, s->token) != EXIT_DONE)
            return EXIT_FAILED;
        printf(", ");
    }
    printf("prediction after ");
    const int status = put_token(model, prompt, s->position);
    printf("\n\n");
    return status;
}

/* A bar of value / largest of width columns, to an eighth of a column. */
static void put_bar(double share, int width, bool ascii)
{
    static const char *const parts[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    const long eighths = lround(fmax(0.0, fmin(share, 1.0)) * width * 8.0);
    for (long i = 0; i < (ascii ? (eighths + 4) / 8 : eighths / 8); i++)
        printf("%s", ascii ? "#" : "█");
    printf("%s\n", ascii ? "" : parts[eighths % 8]);
}

static double carried(const jsc_spectrum *s)
{
    double sum = 0.0;
    for (int i = 0; i < s->n; i++)
        sum += s->kind == JSC_SPECTRUM_JACOBIAN ? s->values[i] * s->values[i] : s->values[i];
    return s->trace > 0.0 ? sum / s->trace : 1.0;
}

static const char *plus_minus(const jsc_report_options *look)
{
    return look->ascii ? "+-" : "±";
}

static void put_foot(const jsc_spectrum *s, const jsc_report_options *look)
{
    printf("\n%s %d carr%s %.3g %% of the sum of all%s, %.6g", s->n == 1 ? "The" : "These", s->n, s->n == 1 ? "ies" : "y",
           100.0 * fmin(carried(s), 1.0), s->kind == JSC_SPECTRUM_JACOBIAN ? " squares" : "", s->trace);
    if (s->trace_stderr > 0.0)
        printf(" (standard error %.1g)", s->trace_stderr);
    printf(".\n");
    if (s->exact && s->right_hand_sides == 0)
        printf("All of F was decomposed");
    else if (s->exact)
        printf("All %d rows were pulled back", s->right_hand_sides);
    else if (s->right_hand_sides == 0)
        printf("From %d power steps", s->iterations);
    else
        printf("From %d right-hand sides and %d tangents in %d power steps", s->right_hand_sides, s->tangents, s->iterations);
    printf("; an exact value lies within %s of each%s.\n", plus_minus(look), s->probes > 0 ? ", at odds of 1000 to 1" : "");
}

static int put_text(const jsc_model *model, const struct prompt *prompt, const jsc_spectrum *s, const jsc_report_options *look)
{
    const int width = look->width > 50 ? look->width - 34 : 16;
    const int status = put_head(model, prompt, s);
    for (int i = 0; status == EXIT_DONE && i < s->n; i++) {
        printf("%4d  %12.6g  %s %-8.1e  ", i + 1, s->values[i], plus_minus(look), s->residuals[i]);
        put_bar(s->values[0] > 0.0 ? s->values[i] / s->values[0] : 0.0, width, look->ascii);
    }
    if (status == EXIT_DONE)
        put_foot(s, look);
    return status;
}

/* ---- json --------------------------------------------------------------------------------------------------------------------------- */

static void put_numbers(const double *numbers, int n)
{
    for (int i = 0; i < n; i++)
        printf("%s%.17g", i == 0 ? "[" : ", ", numbers[i]);
    printf(n == 0 ? "[]" : "]");
}

static void put_rows(const char *name, const double *rows, int n, int d)
{
    printf(",\n \"%s\": [", name);
    for (int i = 0; i < n; i++) {
        printf(i == 0 ? "\n  " : ",\n  ");
        put_numbers(rows + (size_t)i * (size_t)d, d);
    }
    printf("]");
}

static int put_token_json(const jsc_model *model, const struct prompt *prompt, const char *name, size_t t)
{
    const char *bytes = NULL;
    size_t n = 0;
    jsc_error error;
    if (jsc_token_bytes(model, prompt->ids[t], &bytes, &n, &error) != JSC_OK)
        return fail_library(&error);
    printf(" \"%s\": {\"index\": %zu, \"id\": %" PRId32 ", \"text\": ", name, t, prompt->ids[t]);
    put_json(bytes, n);
    printf("},\n");
    return EXIT_DONE;
}

static int put_spectrum_json(const jsc_model *model, const struct prompt *prompt, const jsc_spectrum *s, bool vectors)
{
    jsc_model_info info = JSC_MODEL_INFO_INIT;
    jsc_error error;
    if (jsc_model_describe(model, &info, &error) != JSC_OK)
        return fail_library(&error);
    printf("{\"model\": {\"name\": ");
    put_json(info.name, strlen(info.name));
    printf(", \"d_model\": %d}, \"kind\": \"%s\",\n", s->d_model, jsc_spectrum_kind_name(s->kind));
    if (put_token_json(model, prompt, "position", s->position) != EXIT_DONE ||
        (s->kind != JSC_SPECTRUM_FISHER && put_token_json(model, prompt, "token", s->token) != EXIT_DONE))
        return EXIT_FAILED;
    printf(" \"values\": ");
    put_numbers(s->values, s->n);
    printf(",\n \"residuals\": ");
    put_numbers(s->residuals, s->n);
    printf(",\n \"trace\": %.17g, \"trace_stderr\": %.17g, \"rest\": %.17g, \"dropped_mass\": %.17g,\n", s->trace, s->trace_stderr, s->rest,
           s->dropped_mass);
    printf(" \"exact\": %s, \"rank\": %d, \"right_hand_sides\": %d, \"tangents\": %d, \"probes\": %d, \"steps\": %d, \"seed\": %" PRIu64
           ",\n",
           s->exact ? "true" : "false", s->rank, s->right_hand_sides, s->tangents, s->probes, s->iterations, s->seed);
    printf(" \"backend\": \"%s\", \"precision\": \"%s\", \"bytes_peak\": %" PRIu64 ", \"seconds\": %.17g", info.backend, info.precision,
           s->bytes_peak, s->seconds);
    if (vectors)
        put_rows("vectors", s->vectors, s->n, s->d_model);
    if (vectors && s->left != NULL)
        put_rows("left", s->left, s->n, s->d_model);
    printf("}\n");
    return EXIT_DONE;
}

static int compute(const struct arguments *args, const jsc_model *model, struct asked *asked)
{
    struct prompt prompt = {NULL, 0, NULL, NULL};
    jsc_model_info info = JSC_MODEL_INFO_INIT;
    jsc_spectrum *s = NULL;
    jsc_error error;
    int status = prompt_make(args, model, &prompt);
    if (status == EXIT_DONE && jsc_model_describe(model, &info, &error) != JSC_OK)
        status = fail_library(&error);
    if (status == EXIT_DONE) {
        asked->request.ids = prompt.ids, asked->request.n_ids = prompt.n;
        if (asked->request.k == 0)
            asked->request.k = info.d_model < DEFAULT_K ? info.d_model : DEFAULT_K;
        status = jsc_spectrum_compute(model, &asked->request, &s, &error) == JSC_OK ? EXIT_DONE : fail_library(&error);
    }
    for (int i = 0; prompt.tokens != NULL && i < prompt.tokens->n_warnings; i++)
        log_line(NULL, 0, prompt.tokens->warnings[i]);
    if (status == EXIT_DONE) {
        progress_clear();
        status = asked->json ? put_spectrum_json(model, &prompt, s, args->value[OPT_VECTORS] != NULL)
                             : put_text(model, &prompt, s, &asked->look);
    }
    jsc_spectrum_free(s);
    prompt_free(&prompt);
    return status;
}

int cmd_spectrum(const struct arguments *args)
{
    struct asked asked;
    jsc_open_options options;
    jsc_model *model = NULL;
    if (!parse(args, &asked) || !open_options_parse(args, &options))
        return EXIT_USAGE;
    int status = model_open(args, &options, &model);
    if (status == EXIT_DONE)
        status = compute(args, model, &asked);
    jsc_model_close(model);
    return status;
}
