/* corpus_record.c: a line of input -> a request; its result or its error -> a record. What a line does wrong never ends the job. */
#include "corpus_internal.h"

/* The record is an error from here on. */
static void refuse(struct prompt *p, const char *code, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void refuse(struct prompt *p, const char *code, const char *format, ...)
{
    char small[sizeof p->why.text], *text = small;
    size_t n = 0;
    va_list arguments;
    va_start(arguments, format);
    if (text_format(small, sizeof small, &text, &n, format, arguments) == JSC_OK)
        (void)status_set(&p->why, JSC_E_FORMAT, "%s", text);
    va_end(arguments);
    if (text != small)
        mem_free(text);
    p->code = code;
}

const char *prompt_code(jsc_status status)
{
    static const struct {
        jsc_status status;
        const char *code;
    } codes[] = {{JSC_E_ARGUMENT, "bad_target"},  {JSC_E_MEMORY, "out_of_memory"}, {JSC_E_NUMERIC, "not_finite"},
                 {JSC_E_UNSUPPORTED, "internal"}, {JSC_E_INTERNAL, "internal"},    {JSC_E_FORMAT, "internal"}};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (codes[i].status == status)
            return codes[i].code;
    return NULL;
}

/* ---- what is asked ------------------------------------------------------------------------------------------------------------- */

/* A token: its id, or the text that is exactly it. */
static bool read_token(const jsc_model *model, const json_t *value, struct prompt *p, int32_t *out)
{
    if (json_is_integer(value) && json_integer_value(value) >= 0 && json_integer_value(value) <= INT32_MAX) {
        *out = (int32_t)json_integer_value(value);
        return true;
    }
    if (!json_is_string(value))
        refuse(p, "bad_target", "a target is a token id (0, 1, 2 ...) or the text of one token");
    else if (jsc_token_find(model, json_string_value(value), json_string_length(value), out, &p->why) != JSC_OK)
        p->code = "bad_target";
    return p->code == NULL;
}

/* "target": text | id | [..] | {"contrast": [a, b]} */
static jsc_status read_target(const jsc_model *model, const json_t *value, struct prompt *p, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const json_t *pair = json_object_get(value, "contrast"), *list = json_is_object(value) ? pair : value;
    const bool takes = p->request.scope == JSC_SCOPE_SEMANTIC || p->request.scope == JSC_SCOPE_PATH ||
                       p->request.scope == JSC_SCOPE_INPUT_X_GRADIENT;
    const size_t n = json_is_array(list) ? json_array_size(list) : 1;
    if (!takes)
        refuse(p, "bad_target", "scope %s has no target", jsc_scope_name(p->request.scope));
    else if (json_is_object(value) && (!json_is_array(pair) || n != 2 || json_object_size(value) != 1))
        refuse(p, "bad_target", "a target that is an object is {\"contrast\": [a, b]}");
    else if (n == 0)
        refuse(p, "bad_target", "the list of targets is empty");
    if (p->code != NULL)
        goto done;
    TRY(mem_new(&p->targets, n, error));
    for (size_t i = 0; i < n; i++)
        if (!read_token(model, json_is_array(list) ? json_array_get(list, i) : list, p, &p->targets[i]))
            goto done;
    p->request.targets = p->targets;
    p->request.n_targets = pair != NULL ? 1 : n;
    if (pair != NULL)
        p->request.objective = JSC_OBJECTIVE_CONTRAST;
    else if (p->request.objective == JSC_OBJECTIVE_CONTRAST)
        p->request.objective = JSC_OBJECTIVE_LOGIT;
done:
    return status;
}

static jsc_status take_ids(const json_t *list, int64_t vocabulary, struct prompt *p, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t n = json_array_size(list);
    if (n == 0)
        refuse(p, "no_text", "the list of ids is empty");
    TRY(mem_new(&p->ids, n, error));
    for (size_t i = 0; i < n && p->code == NULL; i++) {
        const json_t *id = json_array_get(list, i);
        if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) >= vocabulary)
            refuse(p, "no_text", "item %zu of the ids is no token id of 0 to %" PRId64, i + 1, vocabulary - 1);
        else
            p->ids[i] = (int32_t)json_integer_value(id);
    }
    p->request.n_ids = n;
done:
    return status;
}

static jsc_status take_text(const jsc_corpus_options *o, const jsc_model *model, const json_t *text, struct prompt *p, jsc_error *error)
{
    jsc_status status = JSC_OK;
    jsc_tokenize_options how = JSC_TOKENIZE_OPTIONS_INIT;
    jsc_tokens *tokens = NULL;
    how.no_special = o->no_special;
    how.front_pad = o->front_pad;
    const jsc_status made = jsc_tokenize(model, json_string_value(text), json_string_length(text), &how, &tokens, &p->why);
    if (made != JSC_OK)
        p->code = made == JSC_E_MEMORY ? "out_of_memory" : "no_text";
    else if (tokens->n == 0)
        refuse(p, "no_text", "the text is empty: it has no token whose prediction could be explained");
    if (p->code != NULL)
        goto done;
    TRY(mem_new(&p->ids, tokens->n, error));
    memcpy(p->ids, tokens->ids, tokens->n * sizeof *p->ids);
    p->request.n_ids = tokens->n;
done:
    jsc_tokens_free(tokens);
    return status;
}

/* A prompt that is too long loses tokens at one end; a begin-of-sequence token stays in front. */
static void cut(const jsc_corpus_options *o, const jsc_model_info *info, struct prompt *p)
{
    const size_t n = p->request.n_ids, most = (size_t)o->max_tokens;
    if (p->code != NULL || o->max_tokens == 0 || n <= most)
        return;
    if (o->overlong == JSC_OVERLONG_ERROR) {
        refuse(p, "too_long", "%zu tokens; at most %zu are wanted", n, most);
        return;
    }
    if (o->overlong == JSC_OVERLONG_LEFT) {
        const size_t kept = p->ids[0] == info->bos_id && most > 1 ? 1 : 0;
        memmove(p->ids + kept, p->ids + n - most + kept, (most - kept) * sizeof *p->ids);
        if (p->request.position >= (int64_t)kept)
            p->request.position -= (int64_t)(n - most);
        if (p->request.position < (int64_t)kept && p->request.position + (int64_t)(n - most) >= (int64_t)kept)
            refuse(p, "bad_target", "the position is among the tokens that were cut off");
    }
    p->request.n_ids = most;
}

static void read_position(const json_t *object, struct prompt *p)
{
    const json_t *position = json_object_get(object, "position"), *all = json_object_get(object, "targets");
    if (position != NULL && !json_is_integer(position))
        refuse(p, "bad_target", "position is no whole number");
    else if (position != NULL)
        p->request.position = json_integer_value(position);
    if (all != NULL && (!json_is_string(all) || strcmp(json_string_value(all), "all") != 0))
        refuse(p, "bad_target", "targets, if there, is \"all\": every position a target");
    else if (all != NULL)
        p->request.matrix = 1;
}

/* ---- the line ------------------------------------------------------------------------------------------------------------------- */

/* The given one, else FILE:LINE. */
static jsc_status read_id(const jsc_corpus_options *o, const json_t *object, struct prompt *p, jsc_error *error)
{
    json_t *given = json_object_get(object, o->id_field);
    if (json_is_string(given) || json_is_integer(given)) {
        p->id = json_incref(given);
        return JSC_OK;
    }
    if (given != NULL && !json_is_null(given))
        refuse(p, "bad_json", "field \"%.40s\": an id is a text or a whole number", o->id_field);
    p->id = json_sprintf("%s:%" PRIu64, p->file, p->line);
    if (p->id == NULL) /* a file name that is no UTF-8 */
        p->id = json_sprintf(":%" PRIu64, p->line);
    return p->id != NULL ? JSC_OK : status_set(error, JSC_E_MEMORY, "no memory for an id");
}

static jsc_status read_meta(const jsc_corpus_options *o, const json_t *object, struct prompt *p, jsc_error *error)
{
    const char *known[] = {o->text_field, o->id_field, "ids", "target", "targets", "position"};
    const char *key = NULL;
    json_t *value = NULL;
    if ((p->meta = json_object()) == NULL)
        return status_set(error, JSC_E_MEMORY, "no memory for the fields of a line");
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        bool is_known = false;
        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
            is_known = is_known || strcmp(key, known[i]) == 0;
        if (!is_known && json_object_set(p->meta, key, value) != 0)
            return status_set(error, JSC_E_MEMORY, "no memory for the fields of a line");
    }
    return JSC_OK;
}

static jsc_status read_value(const jsc_corpus_options *o, const jsc_model *model, const json_t *value, struct prompt *p, jsc_error *error)
{
    jsc_status status = JSC_OK;
    jsc_model_info info = JSC_MODEL_INFO_INIT;
    const json_t *object = json_is_object(value) ? value : NULL, *target = json_object_get(object, "target");
    const json_t *text = json_is_string(value) ? value : json_object_get(object, o->text_field), *ids = json_object_get(object, "ids");
    TRY(read_id(o, object, p, error));
    if (o->keep_meta && object != NULL)
        TRY(read_meta(o, object, p, error));
    TRY(jsc_model_describe(model, &info, error));
    if (p->code == NULL && !json_is_string(value) && object == NULL)
        refuse(p, "bad_json", "a line is an object with \"%.40s\" or \"ids\", or a text", o->text_field);
    if (p->code == NULL)
        read_position(object, p);
    if (p->code == NULL && target != NULL && !json_is_null(target))
        TRY(read_target(model, target, p, error));
    if (p->code == NULL && json_is_array(ids) && text == NULL)
        TRY(take_ids(ids, info.vocab_size, p, error));
    else if (p->code == NULL && json_is_string(text) && ids == NULL)
        TRY(take_text(o, model, text, p, error));
    else if (p->code == NULL)
        refuse(p, "no_text",
               text != NULL && ids != NULL ? "both \"%.40s\" and \"ids\"; one is wanted"
                                           : "no \"%.40s\" that is a text, and no \"ids\" that is a list",
               o->text_field);
    cut(o, &info, p);
    p->request.ids = p->ids;
done:
    return status;
}

jsc_status prompt_read(const jsc_corpus_options *options, const jsc_model *model, const char *file, const struct line *line,
                       struct prompt *out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const jsc_request standard = JSC_REQUEST_INIT;
    json_t *value = NULL;
    json_error_t at;

    *out = (struct prompt){.request = options->request != NULL ? *options->request : standard, .file = file, .line = line->number};
    const size_t valid = line->too_long ? line->n : utf8_check(line->text, line->n);
    if (line->too_long)
        refuse(out, "too_long", "a line of more than %zu bytes", LINE_MAX_BYTES);
    else if (valid < line->n)
        refuse(out, "bad_utf8", "byte %zu of the line is not UTF-8", valid);
    else {
        value = json_loadb(line->text, line->n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &at);
        if (value == NULL)
            refuse(out, json_error_code(&at) == json_error_out_of_memory ? "out_of_memory" : "bad_json", "column %d: %s", at.column,
                   at.text);
    }
    TRY(out->code == NULL ? read_value(options, model, value, out, error) : read_id(options, NULL, out, error));
done:
    json_decref(value);
    if (status != JSC_OK)
        prompt_free(out);
    return status;
}

void prompt_free(struct prompt *p)
{
    mem_free(p->ids);
    mem_free(p->targets);
    json_decref(p->id);
    json_decref(p->meta);
    jsc_attribution_free(p->result);
    *p = (struct prompt){.file = NULL};
}

/* ---- the record ----------------------------------------------------------------------------------------------------------------- */

struct one_line {
    struct strbuf *out;
    bool begun, at_indent;
};

/* A report's lines become one: line ends and indentation stand between its values only. The bracket that opens it is left out. */
static int join_lines(void *user, const char *bytes, size_t n)
{
    struct one_line *line = user;
    for (size_t i = 0; i < n; i++) {
        line->at_indent = bytes[i] == '\n' || (line->at_indent && bytes[i] == ' ');
        if (line->at_indent)
            continue;
        if (line->begun)
            strbuf_add(line->out, bytes + i, 1);
        line->begun = true;
    }
    return line->out->failed;
}

static int add_json(const char *bytes, size_t n, void *user)
{
    strbuf_add(user, bytes, n);
    return 0;
}

static void put_text(struct strbuf *out, const char *text)
{
    char small[600];
    const size_t n = strlen(text);
    if (jsc_text_json(text, n, small, sizeof small) < sizeof small)
        strbuf_puts(out, small);
    else {
        char *large = NULL;
        const size_t capacity = jsc_text_json(text, n, NULL, 0) + 1;
        if (mem_new(&large, capacity, NULL) == JSC_OK)
            (void)jsc_text_json(text, n, large, capacity);
        strbuf_puts(out, large != NULL ? large : "\"\"");
        mem_free(large);
    }
}

jsc_status prompt_write(const struct prompt *p, struct strbuf *out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct one_line line = {out, false, false};
    strbuf_puts(out, "{\"id\": ");
    (void)json_dump_callback(p->id, add_json, out, JSON_ENCODE_ANY | JSON_COMPACT);
    strbuf_printf(out, ", \"status\": \"%s\", \"file\": ", p->code == NULL ? "ok" : "error");
    put_text(out, p->file);
    strbuf_printf(out, ", \"line\": %" PRIu64 ", ", p->line);
    if (p->code == NULL)
        strbuf_printf(out, "\"n_tokens\": %zu, ", p->request.n_ids);
    if (p->meta != NULL) {
        strbuf_puts(out, "\"meta\": ");
        (void)json_dump_callback(p->meta, add_json, out, JSON_COMPACT);
        strbuf_puts(out, ", ");
    }
    if (p->code == NULL) {
        const jsc_status written = jsc_report_write(p->result, "json", NULL, join_lines, &line, error);
        if (!out->failed) /* else its receiver's reason stands below */
            TRY(written);
    } else {
        strbuf_printf(out, "\"error\": {\"code\": \"%s\", \"message\": ", p->code);
        put_text(out, p->why.text);
        strbuf_puts(out, "}}");
    }
    strbuf_puts(out, "\n");
    if (out->failed)
        FAIL(JSC_E_MEMORY, "no memory for the record of line %" PRIu64 " of %s", p->line, p->file);
done:
    return status;
}
