/* cmd_attribute.c: jscopes attribute: scores of every token of one prompt. */
#include "cli_internal.h"

#include <inttypes.h>
#include <string.h>

/* FNV-1a of the scores' bits: two runs that print the same hash gave the same scores. */
static uint64_t hash_scores(const jsc_attribution *a)
{
    const unsigned char *bytes = (const unsigned char *)a->scores;
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < a->n_scores * a->n_tokens * sizeof *a->scores; i++)
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    return hash;
}

static jsc_status ask(const struct answering *who, const jsc_request *request, jsc_attribution **out, jsc_error *error)
{
    return who->group != NULL ? jsc_group_attribute(who->group, request, out, error) : jsc_attribute(who->model, request, out, error);
}

static int attribute(const struct arguments *args, const struct answering *who, struct wanted *wanted, const char *format,
                     const jsc_report_options *options)
{
    const jsc_model *model = answering_model(who);
    struct prompt prompt = {NULL, 0, NULL, NULL};
    jsc_attribution *a = NULL;
    jsc_error error;
    char line[96];
    int status = wanted_resolve(args, model, wanted);
    if (status == EXIT_DONE)
        status = prompt_make(args, model, &prompt);
    if (status == EXIT_DONE) {
        wanted->request.ids = prompt.ids;
        wanted->request.n_ids = prompt.n;
        status = ask(who, &wanted->request, &a, &error) == JSC_OK ? EXIT_DONE : fail_library(&error);
    }
    for (int i = 0; prompt.tokens != NULL && i < prompt.tokens->n_warnings; i++)
        log_line(NULL, 0, prompt.tokens->warnings[i]);
    if (status == EXIT_DONE && jsc_group_rank(who->group) == 0) { /* all ranks have the result, one writes it */
        progress_clear();
        status = report_out(args, &(jsc_report_input){1, (const jsc_attribution *const *)&a, NULL}, format, options);
        (void)snprintf(line, sizeof line, "hash of the scores: %016" PRIx64, hash_scores(a));
        if (args->value[OPT_VERBOSE] != NULL)
            log_line(NULL, 1, line);
    }
    jsc_attribution_free(a);
    prompt_free(&prompt);
    return status;
}

int cmd_attribute(const struct arguments *args)
{
    jsc_report_options report = JSC_REPORT_OPTIONS_INIT;
    struct wanted wanted = {.targets = NULL};
    struct answering who = {NULL, NULL};
    jsc_open_options options;
    const char *format = report_format_parse(args);
    int status = EXIT_USAGE;
    if (format != NULL && report_options_parse(args, &report) && open_options_parse(args, &options))
        status = wanted_parse(args, &wanted);
    if (status == EXIT_DONE)
        status = answering_open(args, &options, &who);
    if (status == EXIT_DONE)
        status = attribute(args, &who, &wanted, format, &report);
    answering_close(&who);
    wanted_free(&wanted);
    return status;
}
