/* cli_prompt.c: the prompt of a command: --text, --text-file or --ids, as token ids. */
#include "cli_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX ((size_t)1 << 30)

static char *read_all(FILE *file, const char *name, size_t *n)
{
    size_t capacity = 65536, used = 0;
    char *text = malloc(capacity);
    while (text != NULL) {
        used += fread(text + used, 1, capacity - used, file);
        if (used < capacity)
            break;
        char *grown = capacity < TEXT_MAX ? realloc(text, capacity * 2) : NULL;
        if (grown == NULL)
            free(text);
        text = grown;
        capacity *= 2;
    }
    if (text == NULL)
        fail(EXIT_FAILED, "%s: no memory for this text, or it is over 1 GiB", name);
    else if (ferror(file)) {
        fail(EXIT_FAILED, "%s: %s", name, strerror(errno));
        free(text);
        return NULL;
    }
    *n = used;
    return text;
}

char *file_read(const char *path, size_t *n)
{
    if (strcmp(path, "-") == 0)
        return read_all(stdin, "standard input", n);
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        fail(EXIT_FAILED, "%s: %s", path, strerror(errno));
        return NULL;
    }
    char *all = read_all(file, path, n);
    (void)fclose(file);
    return all;
}

char *text_read(const struct arguments *args, size_t *n)
{
    const char *text = args->value[OPT_TEXT];
    if (text == NULL)
        return file_read(args->value[OPT_TEXT_FILE], n);
    char *copy = strdup(text);
    if (copy == NULL)
        fail(EXIT_FAILED, "no memory for the text");
    *n = strlen(text);
    return copy;
}

static int prompt_from_text(const struct arguments *args, const jsc_model *model, struct prompt *out)
{
    jsc_tokenize_options options = JSC_TOKENIZE_OPTIONS_INIT;
    jsc_tokens *tokens = NULL;
    jsc_error error;
    long long pad = 0;
    size_t n = 0;
    if (args->value[OPT_FRONT_PAD] != NULL && !number_int(OPT_FRONT_PAD, args->value[OPT_FRONT_PAD], 0, 1000000, &pad))
        return EXIT_USAGE;
    char *text = text_read(args, &n);
    if (text == NULL)
        return EXIT_FAILED;
    options.no_special = args->value[OPT_NO_BOS] != NULL;
    options.front_pad = (int)pad;
    const jsc_status status = jsc_tokenize(model, text, n, &options, &tokens, &error);
    free(text);
    if (status != JSC_OK)
        return fail_library(&error);
    if (tokens->n == 0) {
        jsc_tokens_free(tokens);
        return fail(EXIT_FAILED, "the prompt is empty: it has no token whose prediction could be explained");
    }
    out->tokens = tokens;
    out->ids = tokens->ids;
    out->n = tokens->n;
    return EXIT_DONE;
}

int prompt_make(const struct arguments *args, const jsc_model *model, struct prompt *out)
{
    if (args->value[OPT_IDS] == NULL)
        return prompt_from_text(args, model, out);
    if (!number_ids(OPT_IDS, args->value[OPT_IDS], &out->own, &out->n))
        return EXIT_USAGE;
    out->ids = out->own;
    return EXIT_DONE;
}

void prompt_free(struct prompt *prompt)
{
    jsc_tokens_free(prompt->tokens);
    free(prompt->own);
}
