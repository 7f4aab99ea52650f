/* name_table.c: open-addressing hash from names to items, keyed so that a hostile file cannot make all its names collide. */
#include "files_internal.h"

#include <string.h>
#include <sys/auxv.h>

#define EMPTY UINT32_MAX

struct name_table {
    const char *items;
    size_t stride, mask;
    uint64_t key[2];
    uint32_t slots[];
};

static const char *name_at(const struct name_table *t, size_t i)
{
    const char *name;
    memcpy(&name, t->items + i * t->stride, sizeof name);
    return name;
}

static inline uint64_t rotate(uint64_t x, int b)
{
    return x << b | x >> (64 - b);
}

static void sip_round(uint64_t v[4])
{
    v[0] += v[1], v[2] += v[3];
    v[1] = rotate(v[1], 13) ^ v[0], v[3] = rotate(v[3], 16) ^ v[2];
    v[0] = rotate(v[0], 32);
    v[2] += v[1], v[0] += v[3];
    v[1] = rotate(v[1], 17) ^ v[2], v[3] = rotate(v[3], 21) ^ v[0];
    v[2] = rotate(v[2], 32);
}

/* SipHash-1-3 (Aumasson, Bernstein): 1 round a word, 3 at the end. */
static uint64_t hash(const struct name_table *t, const char *name)
{
    const size_t n = strlen(name);
    uint64_t v[4] = {t->key[0] ^ 0x736f6d6570736575u, t->key[1] ^ 0x646f72616e646f6du, t->key[0] ^ 0x6c7967656e657261u,
                     t->key[1] ^ 0x7465646279746573u};
    for (size_t i = 0; i <= n; i += 8) {
        uint64_t word = 0;
        memcpy(&word, name + i, n - i < 8 ? n - i : 8);
        if (n - i < 8)
            word |= (uint64_t)n << 56;
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

jsc_status name_table_make(const void *items, size_t stride, size_t capacity, struct name_table **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct name_table *t = NULL;
    size_t n = 8;
    if (capacity >= EMPTY / 2)
        FAIL(JSC_E_UNSUPPORTED, "%zu names are more than the 2^31 that can be looked up", capacity);
    while (n - n / 4 < capacity + 1) /* at most three quarters full */
        n *= 2;
    TRY(mem_alloc(&t, sizeof *t + n * sizeof *t->slots, 1, error));
    t->items = items;
    t->stride = stride;
    t->mask = n - 1;
    memset(t->slots, 0xff, n * sizeof *t->slots);
    const void *random = (const void *)(uintptr_t)getauxval(AT_RANDOM); /* 16 random bytes that the kernel gives each program */
    if (random != NULL)
        memcpy(t->key, random, sizeof t->key);
    *out = t;
done:
    return status;
}

/* The slot that holds name, or the empty one where it belongs. */
static size_t slot_of(const struct name_table *t, const char *name)
{
    size_t s = (size_t)hash(t, name) & t->mask;
    while (t->slots[s] != EMPTY && strcmp(name_at(t, t->slots[s]), name) != 0)
        s = (s + 1) & t->mask;
    return s;
}

bool name_table_add(struct name_table *t, size_t i, size_t *found)
{
    const size_t s = slot_of(t, name_at(t, i));
    if (t->slots[s] != EMPTY) {
        *found = t->slots[s];
        return false;
    }
    t->slots[s] = (uint32_t)i;
    return true;
}

bool name_table_find(const struct name_table *t, const char *name, size_t *found)
{
    const size_t s = slot_of(t, name);
    if (t->slots[s] == EMPTY)
        return false;
    *found = t->slots[s];
    return true;
}

void name_table_free(struct name_table *t)
{
    mem_free(t);
}
