/* tokenizer_encode.c: a text through the whole pipeline to token ids, with the warnings that the text deserves. */
#include "tokenizer_internal.h"

#include <string.h>

#define TEXT_MAX    ((size_t)1 << 28)
#define CACHE_FROM  4096 /* bytes of text that make the cache of pieces worth its memory */
#define SHOWN_DROPS 8

jsc_status token_list_push(struct token_list *list, int32_t id, jsc_error *error)
{
    if (list->n == list->capacity) {
        const jsc_status status = mem_reserve(&list->ids, &list->capacity, list->n + 1, error);
        if (status != JSC_OK)
            return status;
    }
    list->ids[list->n++] = id;
    return JSC_OK;
}

jsc_status token_list_warn(struct token_list *list, const char *text, jsc_error *error)
{
    jsc_status status = JSC_OK;
    TRY(mem_reserve(&list->warnings, &list->warnings_capacity, list->n_warnings + 1, error));
    TRY(mem_strdup(&list->warnings[list->n_warnings], text, error));
    list->n_warnings++;
done:
    return status;
}

void token_list_free(struct token_list *list)
{
    if (list == NULL)
        return;
    for (size_t i = 0; i < list->n_warnings; i++)
        mem_free(list->warnings[i]);
    mem_free(list->warnings);
    mem_free(list->ids);
    *list = (struct token_list){0};
}

static struct piece piece_sub(const struct piece *piece, size_t from, size_t to)
{
    struct piece sub = *piece;
    sub.text += from;
    sub.n = to - from;
    sub.first = piece->first && from == 0;
    if (sub.exact)
        sub.origin += from;
    return sub;
}

static size_t white_space_length(const char *text, size_t n)
{
    uint32_t c = 0;
    const size_t length = utf8_char(text, n, &c);
    return length > 0 && is_white_space(c) ? length : 0;
}

/* Where the character that ends at `end` begins. */
static size_t character_before(const char *text, size_t end)
{
    size_t at = end - 1;
    while (at > 0 && ((unsigned char)text[at] & 0xc0) == 0x80)
        at--;
    return at;
}

static jsc_status is_word(struct encoding *e, const char *text, size_t n, bool *word, jsc_error *error)
{
    uint32_t c = 0;
    size_t from = 0, to = 0;
    struct regex_walk walk = {.code = e->tok->word, .match = e->match, .text = text, .n = utf8_char(text, n, &c)};
    return regex_next(&walk, &from, &to, word, error);
}

/* single_word: a neighbour that belongs to a word forbids the match. */
static jsc_status is_alone(struct encoding *e, const struct piece *piece, size_t from, size_t to, bool *alone, jsc_error *error)
{
    jsc_status status = JSC_OK;
    bool before = false, behind = false;
    if (from > 0) {
        const size_t at = character_before(piece->text, from);
        TRY(is_word(e, piece->text + at, from - at, &before, error));
    }
    if (to < piece->n)
        TRY(is_word(e, piece->text + to, piece->n - to, &behind, error));
    *alone = !before && !behind;
done:
    return status;
}

static jsc_status run_fragment(struct encoding *e, const struct piece *piece, bool raw, jsc_error *error);

/* Cuts out the added tokens of one class; what lies between goes on. Follows the reference step by step, its white space rules included:
 * a match may lie in white space that the one before has swallowed. */
static jsc_status split_added(struct encoding *e, const struct piece *piece, bool raw, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const struct added_set *set = raw ? &e->tok->raw : &e->tok->normalized;
    size_t done_to = 0, length = 0, white_to = 0;
    for (size_t at = 0; at < piece->n;) {
        const int32_t index = added_set_match(set, piece->text + at, piece->n - at, &length);
        if (index < 0) {
            at++;
            continue;
        }
        const struct added_token *token = &e->tok->added[index];
        size_t from = at, to = at + length;
        at = to;
        if (token->single_word) {
            bool alone = false;
            TRY(is_alone(e, piece, from, to, &alone, error));
            if (!alone)
                continue;
        }
        if (token->lstrip) {
            while (from > done_to) {
                const size_t before = character_before(piece->text, from);
                if (white_space_length(piece->text + before, from - before) == 0)
                    break;
                from = before;
            }
            from = from < done_to ? done_to : from;
        }
        if (token->rstrip && to < white_to) /* inside white space that was walked before: not again, or it would be quadratic */
            to = white_to;
        else if (token->rstrip) {
            for (size_t step = 1; step > 0; to += step)
                step = white_space_length(piece->text + to, piece->n - to);
            white_to = to;
        }
        if (done_to < from) {
            const struct piece between = piece_sub(piece, done_to, from);
            TRY(run_fragment(e, &between, raw, error));
        }
        if (from < to)
            TRY(token_list_push(&e->out, token->id, error));
        done_to = to;
    }
    if (done_to < piece->n) {
        const struct piece rest = piece_sub(piece, done_to, piece->n);
        TRY(run_fragment(e, &rest, raw, error));
    }
done:
    return status;
}

/* What remains between the added tokens of the first class is normalised and searched for those of the second; what remains then is
 * ordinary text. */
static jsc_status run_fragment(struct encoding *e, const struct piece *piece, bool raw, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct piece normal = *piece;
    if (!raw)
        return stage_run(e, 0, piece, error);
    TRY(normalize(e->tok->normalizers, e->tok->n_normalizers, piece->text, piece->n, e->match, &e->normal, &normal.text, &normal.n, error));
    normal.exact = normal.n == piece->n && memcmp(normal.text, piece->text, piece->n) == 0;
    TRY(split_added(e, &normal, false, error));
done:
    return status;
}

static jsc_status warn_drops(struct encoding *e, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct strbuf line = {0};
    size_t shown = 0, characters = 0, last = SIZE_MAX;
    for (size_t i = 0; i < e->n_drops; i++) {
        size_t at = e->drops[i].offset;
        while (e->drops[i].exact && at > 0 && ((unsigned char)e->text[at] & 0xc0) == 0x80)
            at--;
        if (e->drops[i].exact && at == last)
            continue; /* another byte of the same character */
        last = at;
        characters++;
        if (shown == SHOWN_DROPS)
            continue;
        strbuf_puts(&line, shown++ > 0 ? ", " : "");
        uint32_t c = 0;
        if (e->drops[i].exact && utf8_char(e->text + at, e->n - at, &c) > 0)
            strbuf_printf(&line, "U+%04X at byte %zu", c, at);
        else
            strbuf_printf(&line, "a character of the part that begins at byte %zu", at);
    }
    if (characters > shown)
        strbuf_printf(&line, " and %zu more", characters - shown);
    if (characters > 0) {
        strbuf_printf(&line, ": the vocabulary cannot express %s, so it was left out, wholly or in part, as the reference tokeniser does",
                      characters == 1 ? "this character" : "these characters");
        if (line.failed)
            FAIL(JSC_E_MEMORY, "no memory for a warning");
        TRY(token_list_warn(&e->out, line.text, error));
    }
done:
    strbuf_free(&line);
    return status;
}

/* No id may reach the embedding that has no row there. */
static jsc_status check_ids(const struct encoding *e, jsc_error *error)
{
    for (size_t i = 0; i < e->out.n; i++)
        if (e->out.ids[i] < 0 || (size_t)e->out.ids[i] >= e->tok->rows)
            return status_set(error, JSC_E_FORMAT,
                              "%s: the text needs token %d, but the embedding has only %zu rows; the tokeniser is of another model",
                              e->tok->path, e->out.ids[i], e->tok->rows);
    return JSC_OK;
}

static jsc_status run_text(struct encoding *e, bool add_special, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const struct tokenizer *tok = e->tok;
    const struct piece whole = {.text = e->text, .n = e->n, .exact = true, .first = true};
    TRY(regex_match_data(&e->match, error));
    if (e->n >= CACHE_FROM)
        TRY(mem_new(&e->cache, PIECE_CACHE, error));
    for (size_t i = 0; add_special && i < tok->n_prefix; i++)
        TRY(token_list_push(&e->out, tok->prefix[i], error));
    if (e->n > 0)
        TRY(split_added(e, &whole, true, error));
    for (size_t i = 0; add_special && i < tok->n_suffix; i++)
        TRY(token_list_push(&e->out, tok->suffix[i], error));
    TRY(check_ids(e, error));
    TRY(warn_drops(e, error));
    if (add_special && tok->bos >= 0 && e->out.n >= 2 && e->out.ids[0] == tok->bos && e->out.ids[1] == tok->bos)
        TRY(token_list_warn(
            &e->out, "the text begins with BOS although the tokeniser adds one: there are two; leave it out of the text, or use --no-bos",
            error));
done:
    return status;
}

jsc_status tokenizer_encode(const struct tokenizer *tok, const char *text, size_t n, bool add_special, struct token_list *out,
                            jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct encoding e = {.tok = tok, .text = n > 0 ? text : "", .n = n};
    if (tok->refusal != NULL)
        FAIL(JSC_E_UNSUPPORTED, "%s", tok->refusal);
    if (n > TEXT_MAX)
        FAIL(JSC_E_ARGUMENT, "the text has %zu bytes, the limit is %zu; split it", n, TEXT_MAX);
    const size_t valid = utf8_check(e.text, n);
    if (valid < n)
        FAIL(JSC_E_ARGUMENT, "the text is not valid UTF-8: byte 0x%02X at offset %zu; convert it to UTF-8 first",
             (unsigned)(unsigned char)text[valid], valid);
    TRY(run_text(&e, add_special, error));
    *out = e.out;
    e.out = (struct token_list){0};
done:
    token_list_free(&e.out);
    pcre2_match_data_free(e.match);
    normal_buffers_free(&e.normal);
    for (size_t i = 0; i < STAGES_MAX; i++)
        mem_free(e.scratch[i]);
    mem_free(e.symbols);
    mem_free(e.heap);
    mem_free(e.cache);
    mem_free(e.drops);
    return status;
}
