/* tokenizer_json_stages.c: the normalizer, pre_tokenizer and post_processor of tokenizer.json. Each part is implemented or refused by name. */
#include "tokenizer_internal.h"

#include <string.h>

#define DEPTH_MAX 8

struct part {
    struct tokenizer *tok;
    const json_t *node;
    const char *what; /* "normalizer", ... */
    const char *type;
};

static jsc_status open_part(struct tokenizer *tok, const json_t *node, const char *what, int depth, struct part *out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    bool present = false;
    *out = (struct part){.tok = tok, .node = node, .what = what};
    if (!json_is_object(node))
        FAIL(JSC_E_FORMAT, "%s: %s is not an object", tok->path, what);
    if (depth > DEPTH_MAX)
        FAIL(JSC_E_UNSUPPORTED, "%s nested more than %d deep is not implemented", what, DEPTH_MAX);
    TRY(json_get_string(tok->path, node, "type", &out->type, &present, error));
    if (!present)
        FAIL(JSC_E_FORMAT, "%s: %s has no type", tok->path, what);
done:
    return status;
}

static jsc_status not_implemented(const struct part *p, jsc_error *error)
{
    return status_set(error, JSC_E_UNSUPPORTED, "%s \"%.64s\" is not implemented", p->what, p->type);
}

static bool is(const struct part *p, const char *type)
{
    return strcmp(p->type, type) == 0;
}

static jsc_status get_list(const struct part *p, const char *key, const json_t **out, jsc_error *error)
{
    *out = json_object_get(p->node, key);
    if (!json_is_array(*out))
        return status_set(error, JSC_E_FORMAT, "%s: %s \"%.64s\" has no list \"%s\"", p->tok->path, p->what, p->type, key);
    return JSC_OK;
}

static jsc_status get_flag(const struct part *p, const char *key, bool *out, jsc_error *error)
{
    return json_get_bool(p->tok->path, p->node, key, out, NULL, error);
}

/* "pattern": {"String": ...} or {"Regex": ...}. */
static jsc_status get_pattern(const struct part *p, pcre2_code **out, jsc_error *error)
{
    const json_t *pattern = json_object_get(p->node, "pattern");
    const json_t *text = json_object_get(pattern, "String"), *regex = json_object_get(pattern, "Regex");
    if (json_is_string(text) && json_string_length(text) > 0)
        return regex_compile_literal(json_string_value(text), json_string_length(text), out, error);
    if (json_is_string(regex) && json_string_length(regex) > 0)
        return regex_compile(json_string_value(regex), json_string_length(regex), out, error);
    return status_set(error, JSC_E_UNSUPPORTED, "%s \"%.64s\" with a pattern that is neither String nor Regex is not implemented", p->what,
                      p->type);
}

static jsc_status get_text(const struct part *p, const char *key, const json_t **out, jsc_error *error)
{
    *out = json_object_get(p->node, key);
    if (!json_is_string(*out))
        return status_set(error, JSC_E_FORMAT, "%s: %s \"%.64s\" has no text \"%s\"", p->tok->path, p->what, p->type, key);
    return JSC_OK;
}

static jsc_status read_replace(const struct part *p, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const json_t *content = NULL;
    pcre2_code *pattern = NULL;
    TRY(get_text(p, "content", &content, error));
    TRY(get_pattern(p, &pattern, error));
    TRY(tokenizer_add_normalizer(p->tok, NORMALIZE_REPLACE, json_string_value(content), json_string_length(content), error));
    p->tok->normalizers[p->tok->n_normalizers - 1].pattern = pattern;
    pattern = NULL;
done:
    pcre2_code_free(pattern);
    return status;
}

static jsc_status read_strip(const struct part *p, jsc_error *error)
{
    jsc_status status = JSC_OK;
    bool left = true, right = true;
    TRY(get_flag(p, "strip_left", &left, error));
    TRY(get_flag(p, "strip_right", &right, error));
    TRY(tokenizer_add_normalizer(p->tok, NORMALIZE_STRIP, NULL, 0, error));
    p->tok->normalizers[p->tok->n_normalizers - 1].left = left;
    p->tok->normalizers[p->tok->n_normalizers - 1].right = right;
done:
    return status;
}

jsc_status tokenizer_read_normalizer(struct tokenizer *tok, const json_t *node, int depth, jsc_error *error)
{
    static const struct {
        const char *type;
        enum normalizer_kind kind;
    } plain[] = {{"NFC", NORMALIZE_NFC},
                 {"NFD", NORMALIZE_NFD},
                 {"NFKC", NORMALIZE_NFKC},
                 {"NFKD", NORMALIZE_NFKD},
                 {"Lowercase", NORMALIZE_LOWERCASE}};
    jsc_status status = JSC_OK;
    struct part p;
    const json_t *list = NULL;
    if (node == NULL || json_is_null(node))
        return JSC_OK;
    TRY(open_part(tok, node, "normalizer", depth, &p, error));
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++)
        if (is(&p, plain[i].type)) {
            TRY(tokenizer_add_normalizer(tok, plain[i].kind, NULL, 0, error));
            goto done;
        }
    if (is(&p, "Sequence")) {
        TRY(get_list(&p, "normalizers", &list, error));
        for (size_t i = 0; i < json_array_size(list); i++)
            TRY(tokenizer_read_normalizer(tok, json_array_get(list, i), depth + 1, error));
    } else if (is(&p, "Prepend")) {
        const json_t *text = NULL;
        TRY(get_text(&p, "prepend", &text, error));
        TRY(tokenizer_add_normalizer(tok, NORMALIZE_PREPEND, json_string_value(text), json_string_length(text), error));
    } else if (is(&p, "Replace"))
        TRY(read_replace(&p, error));
    else if (is(&p, "Strip"))
        TRY(read_strip(&p, error));
    else
        TRY(not_implemented(&p, error));
done:
    return status;
}

/* A stage keeps its pattern only once it is in the list. */
static jsc_status add_pattern_stage(struct tokenizer *tok, pcre2_code *pattern, enum split_behavior behavior, bool invert, jsc_error *error)
{
    const struct stage stage = {.kind = STAGE_SPLIT, .pattern = pattern, .behavior = behavior, .invert = invert};
    const jsc_status status = tokenizer_add_stage(tok, &stage, error);
    if (status != JSC_OK)
        pcre2_code_free(pattern);
    return status;
}

/* "behavior"; absent: fallback. */
static jsc_status get_behavior(const struct part *p, enum split_behavior fallback, enum split_behavior *out, jsc_error *error)
{
    static const char *const names[] = {"Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"};
    jsc_status status = JSC_OK;
    const char *name = NULL;
    bool present = false;
    TRY(json_get_string(p->tok->path, p->node, "behavior", &name, &present, error));
    *out = fallback;
    if (!present)
        return JSC_OK;
    for (int i = 0; i < 5; i++)
        if (strcmp(name, names[i]) == 0) {
            *out = (enum split_behavior)i;
            return JSC_OK;
        }
    FAIL(JSC_E_UNSUPPORTED, "pre_tokenizer \"%.64s\" with the behavior \"%.64s\" is not implemented", p->type, name);
done:
    return status;
}

static jsc_status read_split(const struct part *p, jsc_error *error)
{
    jsc_status status = JSC_OK;
    enum split_behavior behavior = SPLIT_ISOLATED;
    bool invert = false;
    pcre2_code *pattern = NULL;
    TRY(get_behavior(p, SPLIT_ISOLATED, &behavior, error));
    TRY(get_flag(p, "invert", &invert, error));
    TRY(get_pattern(p, &pattern, error));
    TRY(add_pattern_stage(p->tok, pattern, behavior, invert, error));
done:
    return status;
}

static jsc_status read_byte_level(const struct part *p, jsc_error *error)
{
    jsc_status status = JSC_OK;
    bool prefix = true, use_regex = true;
    TRY(get_flag(p, "add_prefix_space", &prefix, error));
    TRY(get_flag(p, "use_regex", &use_regex, error));
    if (prefix)
        TRY(tokenizer_add_stage(p->tok, &(struct stage){.kind = STAGE_PREFIX_SPACE}, error));
    if (use_regex)
        TRY(tokenizer_add_split(p->tok, pattern_gpt2, error));
    TRY(tokenizer_add_stage(p->tok, &(struct stage){.kind = STAGE_BYTE_MAP}, error));
done:
    return status;
}

/* "First" looks at offsets of the original text, which are followed here only through normalisers that leave the beginning alone. */
static bool moves_the_beginning(const struct tokenizer *tok)
{
    for (size_t i = 0; i < tok->n_normalizers; i++)
        if (tok->normalizers[i].kind == NORMALIZE_PREPEND || tok->normalizers[i].kind == NORMALIZE_STRIP ||
            tok->normalizers[i].kind == NORMALIZE_REPLACE)
            return true;
    return false;
}

static jsc_status read_metaspace(const struct part *p, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct stage stage = {.kind = STAGE_METASPACE, .replacement = "\xe2\x96\x81", .replacement_n = 3};
    const char *text = NULL;
    bool present = false, split = true, prefix = true;
    uint32_t c = 0;
    pcre2_code *pattern = NULL;
    TRY(json_get_string(p->tok->path, p->node, "replacement", &text, &present, error));
    if (present) {
        stage.replacement_n = strlen(text);
        if (stage.replacement_n == 0 || stage.replacement_n > 4 || utf8_char(text, stage.replacement_n, &c) != stage.replacement_n)
            FAIL(JSC_E_FORMAT, "%s: pre_tokenizer \"Metaspace\": replacement is not one character", p->tok->path);
        memcpy(stage.replacement, text, stage.replacement_n);
    }
    TRY(get_flag(p, "add_prefix_space", &prefix, error)); /* of older files */
    TRY(json_get_string(p->tok->path, p->node, "prepend_scheme", &text, &present, error));
    stage.prepend = !present                      ? (prefix ? PREPEND_ALWAYS : PREPEND_NEVER)
                    : strcmp(text, "always") == 0 ? PREPEND_ALWAYS
                    : strcmp(text, "first") == 0  ? PREPEND_FIRST
                                                  : PREPEND_NEVER;
    if (present && stage.prepend == PREPEND_NEVER && strcmp(text, "never") != 0)
        FAIL(JSC_E_UNSUPPORTED, "pre_tokenizer \"Metaspace\" with the prepend_scheme \"%.64s\" is not implemented", text);
    if (stage.prepend == PREPEND_FIRST && moves_the_beginning(p->tok))
        FAIL(JSC_E_UNSUPPORTED, "pre_tokenizer \"Metaspace\" with prepend_scheme \"first\" behind a normalizer that changes the beginning "
                                "of a text is not implemented");
    TRY(get_flag(p, "split", &split, error));
    TRY(tokenizer_add_stage(p->tok, &stage, error));
    if (split) {
        TRY(regex_compile_literal(stage.replacement, stage.replacement_n, &pattern, error));
        TRY(add_pattern_stage(p->tok, pattern, SPLIT_MERGED_WITH_NEXT, false, error));
    }
done:
    return status;
}

/* The reference's \w+|[^\w\s]+ : what matches are the pieces. */
static jsc_status read_whitespace(const struct part *p, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const char *word = tokenizer_class("word", 4), *white = tokenizer_class("s", 1);
    struct strbuf text = {0};
    pcre2_code *pattern = NULL;
    strbuf_printf(&text, "[%s]+|[^%s%s]+", word, word, white);
    if (text.failed)
        FAIL(JSC_E_MEMORY, "no memory for a pattern");
    TRY(regex_compile_raw(text.text, text.n, &pattern, error));
    TRY(add_pattern_stage(p->tok, pattern, SPLIT_REMOVED, true, error));
done:
    strbuf_free(&text);
    return status;
}

static jsc_status read_one_pre_tokenizer(const struct part *p, jsc_error *error)
{
    jsc_status status = JSC_OK;
    if (is(p, "Split"))
        return read_split(p, error);
    if (is(p, "ByteLevel"))
        return read_byte_level(p, error);
    if (is(p, "Metaspace"))
        return read_metaspace(p, error);
    if (is(p, "Whitespace"))
        return read_whitespace(p, error);
    if (is(p, "WhitespaceSplit"))
        return tokenizer_add_class_split(p->tok, "s", SPLIT_REMOVED, error);
    if (is(p, "Digits")) {
        bool individual = false;
        TRY(get_flag(p, "individual_digits", &individual, error));
        return tokenizer_add_class_split(p->tok, "digit", individual ? SPLIT_ISOLATED : SPLIT_CONTIGUOUS, error);
    }
    if (is(p, "Punctuation")) {
        enum split_behavior behavior = SPLIT_ISOLATED;
        TRY(get_behavior(p, SPLIT_ISOLATED, &behavior, error));
        return tokenizer_add_class_split(p->tok, "punctuation", behavior, error);
    }
    return not_implemented(p, error);
done:
    return status;
}

jsc_status tokenizer_read_pre_tokenizer(struct tokenizer *tok, const json_t *node, int depth, struct strbuf *names, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct part p;
    const json_t *list = NULL;
    if (node == NULL || json_is_null(node))
        return JSC_OK;
    TRY(open_part(tok, node, "pre_tokenizer", depth, &p, error));
    if (!is(&p, "Sequence")) {
        strbuf_printf(names, "%s%.32s", names->n > 0 ? "+" : "", p.type);
        return read_one_pre_tokenizer(&p, error);
    }
    TRY(get_list(&p, "pretokenizers", &list, error));
    for (size_t i = 0; i < json_array_size(list); i++)
        TRY(tokenizer_read_pre_tokenizer(tok, json_array_get(list, i), depth + 1, names, error));
done:
    return status;
}

static jsc_status put_special(int32_t **list, size_t *n, size_t *capacity, int32_t id, jsc_error *error)
{
    const jsc_status status = mem_reserve(list, capacity, *n + 1, error);
    if (status == JSC_OK)
        (*list)[(*n)++] = id;
    return status;
}

/* ["<s>", 1] of BertProcessing and RobertaProcessing. */
static jsc_status read_mark(const struct part *p, const char *key, int32_t **list, size_t *n, size_t *capacity, jsc_error *error)
{
    const json_t *id = json_array_get(json_object_get(p->node, key), 1);
    if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) > INT32_MAX)
        return status_set(error, JSC_E_FORMAT, "%s: post_processor \"%.64s\": \"%s\" is not a pair of text and id", p->tok->path, p->type,
                          key);
    return put_special(list, n, capacity, (int32_t)json_integer_value(id), error);
}

/* The ids of one special token of a template. */
static jsc_status add_special(const struct part *p, const json_t *item, bool front, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct tokenizer *tok = p->tok;
    const char *name = json_string_value(json_object_get(item, "id"));
    const json_t *list = name != NULL ? json_object_get(json_object_get(json_object_get(p->node, "special_tokens"), name), "ids") : NULL;
    if (!json_is_array(list))
        FAIL(JSC_E_FORMAT, "%s: post_processor \"TemplateProcessing\": special token \"%.64s\" has no ids", tok->path,
             name != NULL ? name : "?");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *id = json_array_get(list, i);
        if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) > INT32_MAX)
            FAIL(JSC_E_FORMAT, "%s: post_processor \"TemplateProcessing\": special token \"%.64s\" has an id out of range", tok->path,
                 name);
        if (front)
            TRY(put_special(&tok->prefix, &tok->n_prefix, &tok->prefix_capacity, (int32_t)json_integer_value(id), error));
        else
            TRY(put_special(&tok->suffix, &tok->n_suffix, &tok->suffix_capacity, (int32_t)json_integer_value(id), error));
    }
done:
    return status;
}

static jsc_status read_template(const struct part *p, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const json_t *list = NULL;
    size_t texts = 0;
    TRY(get_list(p, "single", &list, error));
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i), *special = json_object_get(item, "SpecialToken"),
                     *sequence = json_object_get(item, "Sequence");
        const char *id = json_string_value(json_object_get(sequence, "id"));
        if (special != NULL)
            TRY(add_special(p, special, texts == 0, error));
        else if (id == NULL || strcmp(id, "A") != 0 || texts++ > 0)
            FAIL(JSC_E_UNSUPPORTED,
                 "post_processor \"TemplateProcessing\" with anything but special tokens and one Sequence A is not implemented");
    }
    if (texts == 0)
        FAIL(JSC_E_UNSUPPORTED, "post_processor \"TemplateProcessing\" without Sequence A is not implemented");
done:
    return status;
}

static jsc_status read_marks(const struct part *p, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct tokenizer *tok = p->tok;
    TRY(read_mark(p, "cls", &tok->prefix, &tok->n_prefix, &tok->prefix_capacity, error));
    TRY(read_mark(p, "sep", &tok->suffix, &tok->n_suffix, &tok->suffix_capacity, error));
done:
    return status;
}

jsc_status tokenizer_read_post_processor(struct tokenizer *tok, const json_t *node, int depth, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct part p;
    const json_t *list = NULL;
    if (node == NULL || json_is_null(node))
        return JSC_OK;
    TRY(open_part(tok, node, "post_processor", depth, &p, error));
    if (is(&p, "Sequence")) {
        TRY(get_list(&p, "processors", &list, error));
        for (size_t i = 0; i < json_array_size(list); i++)
            TRY(tokenizer_read_post_processor(tok, json_array_get(list, i), depth + 1, error));
    } else if (is(&p, "TemplateProcessing") || is(&p, "RobertaProcessing") || is(&p, "BertProcessing")) {
        if (tok->n_prefix + tok->n_suffix > 0) /* the reference cannot run such a file either */
            FAIL(JSC_E_UNSUPPORTED, "a second post_processor that adds tokens (\"%.64s\") is not implemented", p.type);
        TRY(is(&p, "TemplateProcessing") ? read_template(&p, error) : read_marks(&p, error));
    } else if (!is(&p, "ByteLevel")) /* ByteLevel trims offsets only */
        TRY(not_implemented(&p, error));
done:
    return status;
}
