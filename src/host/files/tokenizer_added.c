/* tokenizer_added.c: finds added tokens in a text: a trie over their bytes, leftmost and longest match. */
#include "tokenizer_internal.h"

static jsc_status new_node(struct added_set *set, int32_t *node, jsc_error *error)
{
    const jsc_status status = mem_reserve(&set->token, &set->capacity, set->n_nodes + 1, error);
    if (status != JSC_OK)
        return status;
    set->token[set->n_nodes] = -1;
    *node = (int32_t)set->n_nodes++;
    return JSC_OK;
}

jsc_status added_set_add(struct added_set *set, const char *content, size_t n, int32_t token, jsc_error *error)
{
    jsc_status status = JSC_OK;
    int32_t node = 0;
    if (n == 0 || n > ADDED_BYTES_MAX)
        FAIL(JSC_E_UNSUPPORTED, "an added token of %zu bytes is not implemented (1 to %d)", n, ADDED_BYTES_MAX);
    if (utf8_check(content, n) < n) /* a match must not cut a character of the text in two */
        FAIL(JSC_E_UNSUPPORTED, "an added token that is not valid UTF-8 is not implemented");
    if (set->n_nodes > (size_t)INT32_MAX / 2)
        FAIL(JSC_E_UNSUPPORTED, "more added tokens than this program handles");
    if (set->n_nodes == 0)
        TRY(new_node(set, &node, error));
    for (size_t i = 0; i < n; i++) {
        const int32_t byte = (unsigned char)content[i];
        const struct pair_entry *edge = pair_find(&set->trie, node, byte);
        if (edge != NULL) {
            node = edge->id;
            continue;
        }
        int32_t child = 0;
        TRY(new_node(set, &child, error));
        TRY(pair_set(&set->trie, node, byte, 0, child, error));
        node = child;
    }
    set->first[(unsigned char)content[0]] = true;
    if (set->token[node] >= 0) /* the reference takes either, from run to run */
        FAIL(JSC_E_UNSUPPORTED, "two added tokens that the normaliser makes equal (\"%.*s\") leave open which is meant", (int)n, content);
    set->token[node] = token;
done:
    return status;
}

int32_t added_set_match(const struct added_set *set, const char *text, size_t n, size_t *length)
{
    int32_t node = 0, best = -1;
    if (n == 0 || !set->first[(unsigned char)text[0]])
        return -1;
    for (size_t i = 0; i < n; i++) {
        const struct pair_entry *edge = pair_find(&set->trie, node, (unsigned char)text[i]);
        if (edge == NULL)
            break;
        node = edge->id;
        if (set->token[node] >= 0) {
            best = set->token[node];
            *length = i + 1;
        }
    }
    return best;
}

void added_set_free(struct added_set *set)
{
    mem_free(set->trie.slots);
    mem_free(set->token);
    *set = (struct added_set){0};
}
