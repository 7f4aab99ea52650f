/* tokenizer_vocab.c: two hash tables: text -> id, and (left id, right id) -> (rank, id). */
#include "tokenizer_internal.h"

#include <string.h>

static uint64_t mix(uint64_t h)
{
    h ^= h >> 32;
    h *= 0xd6e8feb86659fd93ULL;
    return h ^ h >> 32;
}

uint64_t hash_bytes(const char *text, size_t n)
{
    uint64_t h = 0x9e3779b97f4a7c15ULL ^ n, word = 0;
    for (; n >= sizeof word; text += sizeof word, n -= sizeof word) {
        memcpy(&word, text, sizeof word);
        h = mix(h ^ word);
    }
    word = 0;
    for (size_t i = 0; i < n; i++)
        word = word << 8 | (unsigned char)text[i];
    return mix(mix(h ^ word));
}

static void vocab_link(struct vocab *v, size_t entry)
{
    const struct vocab_entry *e = &v->entries[entry];
    size_t i = (size_t)hash_bytes(v->bytes + e->start, e->n) & (v->n_slots - 1);
    while (v->slots[i] != 0)
        i = (i + 1) & (v->n_slots - 1);
    v->slots[i] = (uint32_t)entry + 1;
}

jsc_status vocab_reserve(struct vocab *v, size_t entries, size_t bytes, jsc_error *error)
{
    jsc_status status = JSC_OK;
    if (entries > INT32_MAX || bytes > UINT32_MAX)
        FAIL(JSC_E_UNSUPPORTED, "a vocabulary of %zu tokens and %zu bytes is more than this program handles", entries, bytes);
    TRY(mem_reserve(&v->bytes, &v->bytes_capacity, bytes, error));
    TRY(mem_reserve(&v->entries, &v->capacity, entries, error));
    if (v->n_slots < 2 * entries || v->n_slots == 0) { /* at most half full */
        size_t slots = v->n_slots == 0 ? 16 : v->n_slots;
        while (slots < 2 * entries)
            slots *= 2;
        uint32_t *fresh = NULL;
        TRY(mem_new(&fresh, slots, error));
        mem_free(v->slots);
        v->slots = fresh;
        v->n_slots = slots;
        for (size_t i = 0; i < v->n; i++)
            vocab_link(v, i);
    }
done:
    return status;
}

jsc_status vocab_add(struct vocab *v, const char *text, size_t n, int32_t id, jsc_error *error)
{
    jsc_status status = JSC_OK;
    if (n > UINT32_MAX)
        FAIL(JSC_E_UNSUPPORTED, "a token of %zu bytes is more than this program handles", n);
    TRY(vocab_reserve(v, v->n + 1, v->n_bytes + n, error));
    v->entries[v->n] = (struct vocab_entry){.start = (uint32_t)v->n_bytes, .n = (uint32_t)n, .id = id};
    if (n > 0)
        memcpy(v->bytes + v->n_bytes, text, n);
    v->n_bytes += n;
    vocab_link(v, v->n++);
done:
    return status;
}

int32_t vocab_find(const struct vocab *v, const char *text, size_t n)
{
    if (v->n_slots == 0)
        return -1;
    size_t i = (size_t)hash_bytes(text, n) & (v->n_slots - 1);
    for (; v->slots[i] != 0; i = (i + 1) & (v->n_slots - 1)) {
        const struct vocab_entry *e = &v->entries[v->slots[i] - 1];
        if (e->n == n && memcmp(v->bytes + e->start, text, n) == 0)
            return e->id;
    }
    return -1;
}

void vocab_free(struct vocab *v)
{
    mem_free(v->bytes);
    mem_free(v->entries);
    mem_free(v->slots);
    *v = (struct vocab){0};
}

static uint64_t pair_key(int32_t left, int32_t right)
{
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

/* The slot of the pair, or the empty one where it belongs. */
static struct pair_entry *pair_slot(const struct pair_map *m, uint64_t pair)
{
    size_t i = (size_t)mix(pair) & (m->n_slots - 1);
    while (m->slots[i].rank != 0 && m->slots[i].pair != pair)
        i = (i + 1) & (m->n_slots - 1);
    return &m->slots[i];
}

jsc_status pair_reserve(struct pair_map *m, size_t pairs, jsc_error *error)
{
    jsc_status status = JSC_OK;
    if (pairs >= INT32_MAX)
        FAIL(JSC_E_UNSUPPORTED, "%zu merges are more than this program handles", pairs);
    if (m->n_slots == 0 || m->n_slots < 2 * pairs) {
        struct pair_map grown = {.n_slots = m->n_slots == 0 ? 16 : m->n_slots, .n = m->n};
        while (grown.n_slots < 2 * pairs)
            grown.n_slots *= 2;
        TRY(mem_new(&grown.slots, grown.n_slots, error));
        for (size_t i = 0; i < m->n_slots; i++)
            if (m->slots[i].rank != 0)
                *pair_slot(&grown, m->slots[i].pair) = m->slots[i];
        mem_free(m->slots);
        *m = grown;
    }
done:
    return status;
}

jsc_status pair_set(struct pair_map *m, int32_t left, int32_t right, uint32_t rank, int32_t id, jsc_error *error)
{
    jsc_status status = JSC_OK;
    TRY(pair_reserve(m, m->n + 1, error));
    struct pair_entry *slot = pair_slot(m, pair_key(left, right));
    m->n += slot->rank == 0;
    *slot = (struct pair_entry){.pair = pair_key(left, right), .rank = rank + 1, .id = id};
done:
    return status;
}

const struct pair_entry *pair_find(const struct pair_map *m, int32_t left, int32_t right)
{
    if (m->n_slots == 0)
        return NULL;
    const struct pair_entry *slot = pair_slot(m, pair_key(left, right));
    return slot->rank != 0 ? slot : NULL;
}
