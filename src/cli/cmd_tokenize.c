/* cmd_tokenize.c: jscopes tokenize: the ids and pieces of a text. */
#include "cli_internal.h"

#include <inttypes.h>
#include <string.h>
#include <utf8proc.h>

static bool is_utf8(const char *bytes, size_t n)
{
    utf8proc_int32_t character = 0;
    for (size_t i = 0; i < n;) {
        const utf8proc_ssize_t length = utf8proc_iterate((const utf8proc_uint8_t *)bytes + i, (utf8proc_ssize_t)(n - i), &character);
        if (length <= 0)
            return false;
        i += (size_t)length;
    }
    return true;
}

/* One piece as {"id": 5, "text": " caf"}; bytes where the text is not exactly them; linked where it goes on with the character before. */
static void put_piece_json(int32_t id, const char *bytes, size_t n, bool first)
{
    printf("%s{\"id\": %" PRId32 ", \"text\": ", first ? "\n    " : ",\n    ", id);
    put_json(bytes, n);
    if (!is_utf8(bytes, n)) {
        printf(", \"bytes\": \"");
        for (size_t i = 0; i < n; i++)
            printf("%02x", (unsigned char)bytes[i]);
        printf("\"%s", !first && ((unsigned char)bytes[0] & 0xc0) == 0x80 ? ", \"linked\": true" : "");
    }
    printf("}");
}

static void put_piece_text(int32_t id, const char *bytes, size_t n)
{
    printf("%7" PRId32 "  \"", id);
    put_shown(bytes, n);
    printf("\"\n");
}

static int put_tokens(const jsc_model *model, const struct prompt *prompt, bool json)
{
    jsc_error error;
    for (size_t i = 0; json && i < prompt->n; i++)
        printf("%s%" PRId32, i == 0 ? "{\"ids\": [" : ", ", prompt->ids[i]);
    if (json)
        printf("], \"pieces\": [");
    for (size_t i = 0; i < prompt->n; i++) {
        const char *bytes = NULL;
        size_t n = 0;
        if (jsc_token_bytes(model, prompt->ids[i], &bytes, &n, &error) != JSC_OK)
            return fail_library(&error);
        if (json)
            put_piece_json(prompt->ids[i], bytes, n, i == 0);
        else
            put_piece_text(prompt->ids[i], bytes, n);
    }
    if (json) {
        printf("], \"warnings\": [");
        for (int i = 0; i < prompt->tokens->n_warnings; i++) {
            printf("%s", i == 0 ? "" : ", ");
            put_json(prompt->tokens->warnings[i], strlen(prompt->tokens->warnings[i]));
        }
        printf("]}\n");
    } else
        for (int i = 0; i < prompt->tokens->n_warnings; i++)
            log_line(NULL, 0, prompt->tokens->warnings[i]);
    return EXIT_DONE;
}

int cmd_tokenize(const struct arguments *args)
{
    struct prompt prompt = {NULL, 0, NULL, NULL};
    jsc_open_options options;
    jsc_model *model = NULL;
    bool json = false;
    if (!wants_json(args, &json) || !open_options_parse(args, &options))
        return EXIT_USAGE;
    if ((args->value[OPT_TEXT] != NULL) == (args->value[OPT_TEXT_FILE] != NULL))
        return fail(EXIT_USAGE, args->value[OPT_TEXT] != NULL ? "--text and --text-file do not go together"
                                                              : "no text: give --text TEXT or --text-file FILE");
    options.without_weights = 1;
    int status = model_open(args, &options, &model);
    if (status == EXIT_DONE)
        status = prompt_make(args, model, &prompt);
    if (status == EXIT_DONE)
        status = put_tokens(model, &prompt, json);
    prompt_free(&prompt);
    jsc_model_close(model);
    return status;
}
