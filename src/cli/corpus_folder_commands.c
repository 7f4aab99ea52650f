/* corpus_folder_commands.c: jscopes corpus status, check, merge and summary: what is in a folder of results. */
#include "cli_corpus.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#define TOP_TOKENS 20

/* ---- status --------------------------------------------------------------------------------------------------------------------- */

static void status_json(const jsc_corpus_state *s)
{
    printf("{\"complete\": %s, \"chunks\": %" PRIu64 ", \"partial\": %" PRIu64 ", \"records\": %" PRIu64 ", \"errors\": %" PRIu64
           ", \"tokens\": %" PRIu64,
           s->complete ? "true" : "false", s->chunks, s->partial, s->records, s->errors, s->tokens);
    if (s->records_all > 0)
        printf(", \"records_all\": %" PRIu64, s->records_all);
    printf(", \"workers\": %d, \"running\": %d, \"records_per_second\": %.9g", s->workers, s->running, s->records_per_second);
    if (s->seconds_left >= 0.0)
        printf(", \"seconds_left\": %.9g", s->seconds_left);
    printf("}\n");
}

static void status_text(const jsc_corpus_state *s)
{
    char left[24];
    printf("%s: %" PRIu64 " record%s",
           s->complete      ? "finished"
           : s->running > 0 ? "running"
                            : "stopped",
           s->records, s->records == 1 ? "" : "s");
    if (s->records_all > 0)
        printf(" of %" PRIu64, s->records_all);
    printf(", %" PRIu64 " of them errors; %" PRIu64 " chunks finished, %" PRIu64 " begun\n", s->errors, s->chunks, s->partial);
    if (s->running > 0)
        printf("%d worker%s, %.3g records/s", s->running, s->running == 1 ? "" : "s", s->records_per_second);
    if (s->running > 0 && s->seconds_left >= 0.0) {
        corpus_put_time(s->seconds_left, left);
        printf(", %s left", left);
    }
    printf(s->running > 0 ? "\n" : s->complete ? "" : "the same command as before goes on\n");
}

int corpus_status(const struct arguments *args, const char *folder)
{
    jsc_corpus_state state = JSC_CORPUS_STATE_INIT;
    jsc_error error;
    bool json = false;
    if (!wants_json(args, &json))
        return EXIT_USAGE;
    if (jsc_corpus_status(folder, &state, &error) != JSC_OK)
        return fail_library(&error);
    if (json)
        status_json(&state);
    else
        status_text(&state);
    return EXIT_DONE;
}

/* ---- check, merge --------------------------------------------------------------------------------------------------------------- */

struct problems {
    bool json;
    size_t n;
};

static void show_problem(void *user, const char *line)
{
    struct problems *p = user;
    if (p->json) {
        printf("%s", p->n > 0 ? ", " : "");
        put_json(line, strlen(line));
    } else {
        put_shown(line, strlen(line));
        printf("\n");
    }
    p->n++;
}

int corpus_check(const struct arguments *args, const char *folder)
{
    struct problems problems = {false, 0};
    uint64_t records = 0, errors = 0;
    jsc_error error;
    if (!wants_json(args, &problems.json))
        return EXIT_USAGE;
    if (problems.json)
        printf("{\"problems\": [");
    const jsc_status status = jsc_corpus_check(folder, show_problem, &problems, &records, &errors, &error);
    if (problems.json)
        printf("], \"complete\": %s, \"records\": %" PRIu64 ", \"errors\": %" PRIu64 "}\n", status == JSC_OK ? "true" : "false", records,
               errors);
    else if (status == JSC_OK)
        printf("all there: %" PRIu64 " records, %" PRIu64 " of them errors\n", records, errors);
    return status == JSC_OK ? EXIT_DONE : fail_library(&error);
}

int corpus_merge(const struct arguments *args, const char *folder)
{
    const char *path = args->value[OPT_OUTPUT];
    uint64_t records = 0;
    jsc_error error;
    if (args->value[OPT_FORMAT] != NULL)
        return fail(EXIT_USAGE, "--format goes with corpus status, check and summary");
    if (path == NULL)
        return fail(EXIT_USAGE, "corpus merge: where to? -o FILE is missing (.jsonl, or .jsonl.zst; /dev/stdout)");
    if (jsc_corpus_merge(folder, path, &records, &error) != JSC_OK)
        return fail_library(&error);
    fprintf(stderr, "jscopes: %" PRIu64 " records\n", records);
    return EXIT_DONE;
}

/* ---- summary -------------------------------------------------------------------------------------------------------------------- */

static void summary_json(const jsc_corpus_summary *s)
{
    printf("{\"records\": %" PRIu64 ", \"errors\": %" PRIu64 ", \"tokens\": %" PRIu64 ", \"errors_by_code\": {", s->records, s->errors,
           s->tokens);
    for (size_t i = 0; jsc_corpus_code(i) != NULL; i++)
        printf("%s\"%s\": %" PRIu64, i > 0 ? ", " : "", jsc_corpus_code(i), s->errors_by_code[i]);
    printf("}, \"seconds\": {\"forward\": %.9g, \"backward\": %.9g}, \"position_share\": [", s->seconds_forward, s->seconds_backward);
    for (int i = 0; i < 10; i++)
        printf("%s%.9g", i > 0 ? ", " : "", s->position_share[i]);
    printf("], \"first_share\": %.9g, \"special_share\": %.9g, ", s->first_share, s->special_share);
    if (isfinite(s->relative_stderr))
        printf("\"relative_stderr\": %.9g, ", s->relative_stderr);
    printf("\"top\": [");
    for (size_t i = 0; i < s->n_top; i++) {
        printf("%s{\"id\": %" PRId32 ", ", i > 0 ? ", " : "", s->top[i].id);
        if (s->top[i].text != NULL) {
            printf("\"text\": ");
            put_json(s->top[i].text, strlen(s->top[i].text));
            printf(", ");
        }
        printf("\"share\": %.9g, \"count\": %" PRIu64 "}", s->top[i].share, s->top[i].count);
    }
    printf("]}\n");
}

static void summary_text(const jsc_corpus_summary *s)
{
    printf("%" PRIu64 " records, %" PRIu64 " of them errors; %" PRIu64 " tokens\n", s->records, s->errors, s->tokens);
    for (size_t i = 0; jsc_corpus_code(i) != NULL; i++)
        if (s->errors_by_code[i] > 0)
            printf("  %-14s %10" PRIu64 "\n", jsc_corpus_code(i), s->errors_by_code[i]);
    printf("seconds: forward %.3f, backward %.3f\n", s->seconds_forward, s->seconds_backward);
    if (s->n_top == 0)
        return;
    printf("\nscore mass by relative position, from the beginning of the prompt to the position explained:\n ");
    for (int i = 0; i < 10; i++)
        printf(" %5.1f", 100.0 * s->position_share[i]);
    printf(" %%\non the first token %.1f %%, on begin- and end-of-sequence tokens %.1f %%\n", 100.0 * s->first_share,
           100.0 * s->special_share);
    if (isfinite(s->relative_stderr))
        printf("mean relative standard error %.2f %%\n", 100.0 * s->relative_stderr);
    printf("\ntokens with most score mass                     records' worth      times\n");
    for (size_t i = 0; i < s->n_top; i++) {
        char shown[64] = "";
        if (s->top[i].text != NULL)
            (void)jsc_text_show(s->top[i].text, strlen(s->top[i].text), 0, shown, 40);
        printf("%8" PRId32 "  \"%s\"%*s %15.2f %10" PRIu64 "\n", s->top[i].id, shown, (int)(36 - (strlen(shown) < 36 ? strlen(shown) : 36)),
               "", s->top[i].share, s->top[i].count);
    }
}

int corpus_summary(const struct arguments *args, const char *folder)
{
    jsc_corpus_summary *summary = NULL;
    jsc_error error;
    bool json = false;
    if (!wants_json(args, &json))
        return EXIT_USAGE;
    if (jsc_corpus_summarise(folder, TOP_TOKENS, &summary, &error) != JSC_OK)
        return fail_library(&error);
    if (json)
        summary_json(summary);
    else
        summary_text(summary);
    jsc_corpus_summary_free(summary);
    return EXIT_DONE;
}
