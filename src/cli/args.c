/* args.c: a command's arguments by popt, numbers and names in them, help that begins with examples. */
#include "cli_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Compares word with every long option of a table and of those in it. */
static void guess_options(struct guess *guess, const struct poptOption *table)
{
    for (const struct poptOption *o = table; o->longName != NULL || o->arg != NULL; o++) {
        if (o->longName != NULL)
            guess_try(guess, o->longName);
        else
            guess_options(guess, o->arg);
    }
}

static int explain_error(const struct command *command, int code, const char *given)
{
    char word[64] = "";
    (void)snprintf(word, sizeof word, "%.*s", (int)strcspn(given, "="), given);
    if (code == POPT_ERROR_NOARG)
        return fail(EXIT_USAGE, "%s needs a value; see jscopes %s --help", word, command->name);
    if (code != POPT_ERROR_BADOPT)
        return fail(EXIT_USAGE, "%s: %s; see jscopes %s --help", word, poptStrerror(code), command->name);
    struct guess guess = {word + strspn(word, "-"), NULL, 0};
    guess_options(&guess, command->options);
    if (guess_best(&guess) != NULL)
        return fail(EXIT_USAGE, "%s: unknown option %s; did you mean --%s?", command->name, word, guess_best(&guess));
    return fail(EXIT_USAGE, "%s: unknown option %s; see jscopes %s --help", command->name, word, command->name);
}

static int add_word(struct words *words, const char *word)
{
    char **grown = realloc(words->items, (words->n + 1) * sizeof *grown);
    if (grown != NULL)
        words->items = grown;
    if (grown == NULL || (grown[words->n] = strdup(word)) == NULL)
        return fail(EXIT_FAILED, "no memory for the arguments");
    words->n++;
    return EXIT_DONE;
}

static int take_option(struct arguments *out, int code, char *value)
{
    if (code == OPT_LABEL) {
        const int status = add_word(&out->labels, value);
        free(value);
        return status;
    }
    if (out->value[code] != NULL) {
        free(value);
        return fail(EXIT_USAGE, "%s is given twice", option_name((enum option)code));
    }
    out->value[code] = value != NULL ? value : strdup("");
    return out->value[code] != NULL ? EXIT_DONE : fail(EXIT_FAILED, "no memory for the arguments");
}

/* FILE..., or one MODEL. */
static int take_arguments(const struct command *command, poptContext context, struct arguments *out)
{
    int status = EXIT_DONE;
    const char *file = NULL;
    while (command->files && status == EXIT_DONE && (file = poptGetArg(context)) != NULL)
        status = add_word(&out->files, file);
    if (command->files)
        return status;
    const char *model = poptGetArg(context), *more = model != NULL ? poptGetArg(context) : NULL;
    if (model != NULL && (out->model = strdup(model)) == NULL)
        return fail(EXIT_FAILED, "no memory for the arguments");
    if (more != NULL)
        return fail(EXIT_USAGE, "%s takes one MODEL; what is '%s'? (a text with spaces needs quotes)", command->name, more);
    return EXIT_DONE;
}

static int read_options(const struct command *command, poptContext context, struct arguments *out)
{
    int code = 0, status = EXIT_DONE;
    while (status == EXIT_DONE && (code = poptGetNextOpt(context)) > 0)
        status = take_option(out, code, poptGetOptArg(context));
    if (status != EXIT_DONE)
        return status;
    if (code < -1)
        return explain_error(command, code, poptBadOption(context, POPT_BADOPTION_NOALIAS));
    return take_arguments(command, context, out);
}

/* popt reads the program's name for its help from argv[0]. */
static poptContext context_open(const struct command *command, int argc, char **argv, char title[64])
{
    (void)snprintf(title, 64, "jscopes %s", command->name);
    argv[0] = title;
    poptContext context = poptGetContext(NULL, argc, (const char **)argv, command->options, 0);
    if (context != NULL)
        poptSetOtherOptionHelp(context, command->usage);
    return context;
}

int args_help(const struct command *command)
{
    char title[64], *argv[] = {title, NULL};
    printf("jscopes %s: %s\n\n%s\n", command->name, command->summary, command->examples);
    poptContext context = context_open(command, 1, argv, title);
    if (context == NULL)
        return fail(EXIT_FAILED, "no memory for the help page");
    poptPrintHelp(context, stdout, 0);
    (void)poptFreeContext(context);
    return EXIT_DONE;
}

int args_parse(const struct command *command, int argc, char **argv, struct arguments *out)
{
    char title[64];
    poptContext context = context_open(command, argc, argv, title);
    if (context == NULL)
        return fail(EXIT_FAILED, "no memory for the arguments");
    int status = read_options(command, context, out);
    (void)poptFreeContext(context);
    if (status != EXIT_DONE)
        return status;
    if (out->value[OPT_HELP] != NULL) {
        status = args_help(command);
        return status == EXIT_DONE ? -1 : status;
    }
    if (command->files && out->files.n == 0 && command->run != cmd_corpus)
        return fail(EXIT_USAGE, "%s: which file? One that --format json wrote, such as: jscopes %s scores.json", command->name,
                    command->name);
    if (!command->files && out->model == NULL && out->value[OPT_FAMILIES] == NULL)
        return fail(EXIT_USAGE, "%s: which model? A folder, a .gguf file or a known name, such as: jscopes %s smollm2-135m", command->name,
                    command->name);
    return EXIT_DONE;
}

void args_free(struct arguments *args)
{
    struct words *const lists[] = {&args->files, &args->labels};
    for (int i = 0; i < 2; i++) {
        for (size_t k = 0; k < lists[i]->n; k++)
            free(lists[i]->items[k]);
        free(lists[i]->items);
    }
    free(args->model);
    for (int i = 0; i < OPT_COUNT; i++)
        free(args->value[i]);
}

/* A decimal integer and nothing else: *end is after it. */
static bool parse_int(const char *text, const char **end, long long *out)
{
    char *stop = NULL;
    if ((text[0] < '0' || text[0] > '9') && !((text[0] == '-' || text[0] == '+') && text[1] >= '0' && text[1] <= '9'))
        return false;
    errno = 0;
    *out = strtoll(text, &stop, 10);
    *end = stop;
    return errno == 0;
}

bool number_int(enum option option, const char *text, long long low, long long high, long long *out)
{
    const char *end = NULL;
    if (!parse_int(text, &end, out) || *end != '\0' || *out < low || *out > high) {
        fail(EXIT_USAGE, "%s '%s': an integer from %lld to %lld is wanted", option_name(option), text, low, high);
        return false;
    }
    return true;
}

bool number_double(enum option option, const char *text, double low, double high, double *out)
{
    char *end = NULL;
    errno = 0;
    *out = strtod(text, &end);
    if (end == text || *end != '\0' || errno == ERANGE || !(*out >= low && *out <= high)) {
        fail(EXIT_USAGE, "%s '%s': a number from %g to %g is wanted", option_name(option), text, low, high);
        return false;
    }
    return true;
}

bool number_ids(enum option option, const char *text, int32_t **out, size_t *n)
{
    size_t count = 1;
    for (const char *c = text; *c != '\0'; c++)
        count += *c == ',';
    int32_t *ids = calloc(count, sizeof *ids);
    if (ids == NULL) {
        fail(EXIT_FAILED, "no memory for %zu ids", count);
        return false;
    }
    const char *c = text;
    for (size_t i = 0; i < count; i++) {
        long long id = 0;
        const char *end = c;
        c += strspn(c, " \t\r\n");
        bool good = parse_int(c, &end, &id) && id >= 0 && id <= INT32_MAX;
        end += good ? strspn(end, " \t\r\n") : 0;
        good = good && *end == (i + 1 < count ? ',' : '\0');
        if (!good) {
            fail(EXIT_USAGE, "%s: item %zu, '%.*s', is no token id (0, 1, 2 ...), separated by commas", option_name(option), i + 1,
                 (int)(strcspn(c, ",") < 40 ? strcspn(c, ",") : 40), c);
            free(ids);
            return false;
        }
        ids[i] = (int32_t)id;
        c = end + (*end == ',');
    }
    *out = ids;
    *n = count;
    return true;
}

int choice(enum option option, const char *text, const char *const *names)
{
    char list[160] = "";
    struct guess guess = {text, NULL, 0};
    for (int i = 0; names[i] != NULL; i++) {
        if (strcmp(text, names[i]) == 0)
            return i;
        guess_try(&guess, names[i]);
        const size_t n = strlen(list);
        (void)snprintf(list + n, sizeof list - n, "%s%s", i == 0 ? "" : ", ", names[i]);
    }
    const char *best = guess_best(&guess);
    fail(EXIT_USAGE, "%s '%s': there are %s%s%s%s", option_name(option), text, list, best != NULL ? "; did you mean " : "",
         best != NULL ? best : "", best != NULL ? "?" : "");
    return -1;
}
