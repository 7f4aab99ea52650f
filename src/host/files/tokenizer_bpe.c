/* tokenizer_bpe.c: byte-pair encoding of one piece: characters to symbols, then the merges in the order of their rank.
 *
 * Short pieces: the plain loop (find the best pair, join it, again). Long ones: a heap of candidate pairs, O(n log n), because a text
 * without spaces is a single piece. Both give the same ids: an entry of the heap that no longer fits its place is skipped. */
#include "tokenizer_internal.h"

#include <string.h>

#define SHORT_PIECE 32
#define GONE        (-2)

/* What two neighbours become; false: they do not merge. Smaller rank first. */
static bool merged(const struct encoding *e, const char *text, const struct symbol *left, const struct symbol *right, uint32_t *rank,
                   int32_t *id)
{
    const struct tokenizer *tok = e->tok;
    if (tok->kind == BPE_BY_RANK) {
        const struct pair_entry *entry = pair_find(&tok->merges, left->id, right->id);
        if (entry == NULL)
            return false;
        *rank = entry->rank;
        *id = entry->id;
        return true;
    }
    *id = vocab_find(&tok->vocab, text + left->start, left->n + right->n);
    if (*id < 0)
        return false;
    *rank = tok->score_rank[*id];
    return true;
}

static jsc_status push_symbol(struct encoding *e, int32_t id, size_t start, size_t n, jsc_error *error)
{
    const jsc_status status = mem_reserve(&e->symbols, &e->symbols_capacity, e->n_symbols + 1, error);
    if (status != JSC_OK)
        return status;
    const int32_t at = (int32_t)e->n_symbols++;
    e->symbols[at] = (struct symbol){.id = id, .prev = at - 1, .next = at + 1, .start = (uint32_t)start, .n = (uint32_t)n};
    return JSC_OK;
}

static jsc_status drop_character(struct encoding *e, const struct piece *piece, size_t byte, size_t character, jsc_error *error)
{
    const jsc_status status = mem_reserve(&e->drops, &e->drops_capacity, e->n_drops + 1, error);
    if (status != JSC_OK)
        return status;
    const size_t within = !piece->exact ? 0 : piece->mapped ? character : byte;
    e->drops[e->n_drops++] = (struct drop){.offset = piece->origin + within, .exact = piece->exact};
    return JSC_OK;
}

/* The byte tokens of a character that is no token itself; false: one of them is absent. */
static bool has_byte_tokens(const struct tokenizer *tok, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (tok->byte_ids[(unsigned char)text[i]] < 0)
            return false;
    return tok->byte_fallback;
}

/* One symbol per character. An unknown token is held back until the next known character, as in the reference (bytes overtake it). */
static jsc_status split_characters(struct encoding *e, const struct piece *piece, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const struct tokenizer *tok = e->tok;
    bool unknown = false;
    size_t unknown_at = 0;
    e->n_symbols = 0;
    if (piece->n > INT32_MAX)
        FAIL(JSC_E_ARGUMENT, "the tokeniser makes a piece of %zu bytes of this text, the limit is %d; split the text", piece->n, INT32_MAX);
    for (size_t i = 0, character = 0, length = 0; i < piece->n; i += length, character++) {
        uint32_t c = 0;
        const char *text = piece->text + i;
        length = utf8_char(text, piece->n - i, &c);
        if (length == 0)
            FAIL(JSC_E_INTERNAL, "invalid UTF-8 reached BPE");
        const int32_t id = c < CHAR_TABLE ? tok->char_ids[c] : vocab_find(&tok->vocab, text, length);
        if (id >= 0 || tok->kind == BPE_BY_SCORE) {
            if (unknown)
                TRY(push_symbol(e, tok->unk_id, unknown_at, 1, error));
            unknown = false;
            TRY(push_symbol(e, id, i, length, error));
        } else if (has_byte_tokens(tok, text, length)) {
            for (size_t k = 0; k < length; k++)
                TRY(push_symbol(e, tok->byte_ids[(unsigned char)text[k]], i + k, 1, error));
        } else if (tok->unk_token != NULL) {
            if (tok->unk_id < 0)
                FAIL(JSC_E_FORMAT, "%s: unk_token \"%.64s\" is not in the vocabulary, and the text has characters that need it", tok->path,
                     tok->unk_token);
            if (unknown && !tok->fuse_unk)
                TRY(push_symbol(e, tok->unk_id, unknown_at, 1, error));
            unknown = true;
            unknown_at = i;
        } else
            TRY(drop_character(e, piece, i, character, error));
    }
    if (unknown)
        TRY(push_symbol(e, tok->unk_id, unknown_at, 1, error));
    if (e->n_symbols > 0)
        e->symbols[e->n_symbols - 1].next = -1;
done:
    return status;
}

static void join_symbols(struct encoding *e, int32_t left, int32_t id)
{
    struct symbol *s = e->symbols, *l = &s[left], *r = &s[l->next];
    l->id = id;
    l->n += r->n;
    l->next = r->next;
    r->next = GONE;
    if (l->next >= 0)
        s[l->next].prev = left;
}

static void merge_short(struct encoding *e, const char *text)
{
    uint32_t ranks[SHORT_PIECE]; /* of the pair that begins at each symbol */
    int32_t ids[SHORT_PIECE];
    for (size_t i = 0; i < e->n_symbols; i++) {
        const struct symbol *s = &e->symbols[i];
        if (s->next < 0 || !merged(e, text, s, &e->symbols[s->next], &ranks[i], &ids[i]))
            ranks[i] = UINT32_MAX;
    }
    for (;;) {
        int32_t best = 0;
        for (int32_t i = e->symbols[0].next; i >= 0; i = e->symbols[i].next)
            if (ranks[i] < ranks[best])
                best = i;
        if (ranks[best] == UINT32_MAX)
            return;
        join_symbols(e, best, ids[best]);
        const struct symbol *s = &e->symbols[best];
        if (s->next < 0 || !merged(e, text, s, &e->symbols[s->next], &ranks[best], &ids[best]))
            ranks[best] = UINT32_MAX;
        if (s->prev >= 0 && !merged(e, text, &e->symbols[s->prev], s, &ranks[s->prev], &ids[s->prev]))
            ranks[s->prev] = UINT32_MAX;
    }
}

static void heap_sift_down(struct heap_entry *heap, size_t n, size_t i)
{
    const struct heap_entry moved = heap[i];
    for (size_t child = 2 * i + 1; child < n; child = 2 * i + 1) {
        if (child + 1 < n && heap[child + 1].key < heap[child].key)
            child++;
        if (moved.key <= heap[child].key)
            break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = moved;
}

static jsc_status heap_push(struct encoding *e, const char *text, int32_t left, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const struct symbol *l = &e->symbols[left];
    uint32_t rank = 0;
    int32_t id = 0;
    if (!merged(e, text, l, &e->symbols[l->next], &rank, &id))
        return JSC_OK;
    TRY(mem_reserve(&e->heap, &e->heap_capacity, e->n_heap + 1, error));
    const struct heap_entry entry = {.key = (uint64_t)rank << 32 | (uint32_t)left, .id = id};
    size_t i = e->n_heap++;
    for (; i > 0 && entry.key < e->heap[(i - 1) / 2].key; i = (i - 1) / 2)
        e->heap[i] = e->heap[(i - 1) / 2];
    e->heap[i] = entry;
done:
    return status;
}

static jsc_status merge_long(struct encoding *e, const char *text, jsc_error *error)
{
    jsc_status status = JSC_OK;
    e->n_heap = 0;
    for (size_t i = 0; i + 1 < e->n_symbols; i++)
        TRY(heap_push(e, text, (int32_t)i, error));
    while (e->n_heap > 0) {
        const struct heap_entry top = e->heap[0];
        e->heap[0] = e->heap[--e->n_heap];
        if (e->n_heap > 0)
            heap_sift_down(e->heap, e->n_heap, 0);
        const int32_t at = (int32_t)(uint32_t)top.key;
        const struct symbol *s = &e->symbols[at];
        uint32_t rank = 0;
        int32_t id = 0;
        if (s->next < 0 || !merged(e, text, s, &e->symbols[s->next], &rank, &id) || id != top.id)
            continue;
        join_symbols(e, at, id);
        if (s->prev >= 0)
            TRY(heap_push(e, text, s->prev, error));
        if (s->next >= 0)
            TRY(heap_push(e, text, at, error));
    }
done:
    return status;
}

/* Symbols without a token (BY_SCORE) become bytes, or the unknown token. */
static jsc_status put_leftover(struct encoding *e, const struct piece *piece, const struct symbol *s, jsc_error *error)
{
    jsc_status status = JSC_OK;
    if (has_byte_tokens(e->tok, piece->text + s->start, s->n)) {
        for (size_t k = 0; k < s->n; k++)
            TRY(token_list_push(&e->out, e->tok->byte_ids[(unsigned char)piece->text[s->start + k]], error));
    } else if (e->tok->unk_id >= 0)
        TRY(token_list_push(&e->out, e->tok->unk_id, error));
    else
        TRY(drop_character(e, piece, s->start, 0, error));
done:
    return status;
}

static struct cached_piece *cache_slot(struct encoding *e, const struct piece *piece, uint64_t hash, bool *hit)
{
    *hit = false;
    if (e->cache == NULL || piece->n > sizeof e->cache->text)
        return NULL;
    struct cached_piece *slot = &e->cache[hash & (PIECE_CACHE - 1)];
    *hit = slot->n == piece->n && slot->hash == hash && memcmp(slot->text, piece->text, piece->n) == 0;
    return slot;
}

jsc_status bpe_encode(struct encoding *e, const struct piece *piece, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const uint64_t hash = e->cache != NULL ? hash_bytes(piece->text, piece->n) : 0;
    bool hit = false;
    struct cached_piece *slot = cache_slot(e, piece, hash, &hit);
    if (hit) {
        for (size_t i = 0; i < slot->n_ids; i++)
            TRY(token_list_push(&e->out, e->out.ids[slot->at + i], error));
        goto done;
    }
    const size_t at = e->out.n, n_drops = e->n_drops;
    const int32_t whole = e->tok->ignore_merges ? vocab_find(&e->tok->vocab, piece->text, piece->n) : -1;
    if (whole >= 0)
        TRY(token_list_push(&e->out, whole, error));
    else {
        TRY(split_characters(e, piece, error));
        if (e->n_symbols > SHORT_PIECE)
            TRY(merge_long(e, piece->text, error));
        else if (e->n_symbols > 0)
            merge_short(e, piece->text);
        for (int32_t i = e->n_symbols > 0 ? 0 : -1; i >= 0; i = e->symbols[i].next) {
            if (e->symbols[i].id >= 0)
                TRY(token_list_push(&e->out, e->symbols[i].id, error));
            else
                TRY(put_leftover(e, piece, &e->symbols[i], error));
        }
    }
    if (slot != NULL && e->n_drops == n_drops) { /* what was dropped has to be counted each time */
        *slot = (struct cached_piece){.hash = hash, .at = at, .n_ids = (uint32_t)(e->out.n - at), .n = (uint8_t)piece->n};
        memcpy(slot->text, piece->text, piece->n);
    }
done:
    return status;
}
