/* test_tokenizer_bpe.c: merging against the definition (best pair, leftmost, again), for pieces on both sides of the heap's threshold. */
#include "support/tokenizer_files.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

TestSuite(tokenizer_bpe, .timeout = 120);

#define LETTERS 3
#define MERGES  40
struct world {
    char text[LETTERS + MERGES][512];
    int left[MERGES], right[MERGES], n; /* token LETTERS + i = left + right; n tokens */
};

/* Random merges over three letters, so that ranks contradict lengths and pairs overlap. */
static json_t *make_world(struct world *w, uint64_t seed)
{
    json_t *root = json_pack("{s:{s:{}, s:[]}}", "model", "vocab", "merges"), *model = model_of(root);
    w->n = LETTERS;
    for (int i = 0; i < LETTERS; i++)
        (void)snprintf(w->text[i], sizeof w->text[i], "%c", 'a' + i);
    for (uint64_t k = 0; w->n < LETTERS + MERGES; k += 2) {
        const int left = (int)(rng_u32(seed, 0, k) % (uint32_t)w->n), right = (int)(rng_u32(seed, 0, k + 1) % (uint32_t)w->n);
        char joined[1100];
        (void)snprintf(joined, sizeof joined, "%s%s", w->text[left], w->text[right]);
        bool fresh = strlen(joined) < 12;
        for (int i = 0; i < w->n; i++)
            fresh = fresh && strcmp(w->text[i], joined) != 0;
        if (!fresh)
            continue;
        (void)snprintf(w->text[w->n], sizeof w->text[0], "%.500s", joined);
        w->left[w->n - LETTERS] = left;
        w->right[w->n++ - LETTERS] = right;
    }
    for (int i = 0; i < w->n; i++)
        json_object_set_new(json_object_get(model, "vocab"), w->text[i], json_integer(i));
    for (int i = 0; i < MERGES; i++) { /* in a shuffled order of ranks */
        const int swap = (int)(rng_u32(seed, 1, (uint64_t)i) % (uint32_t)(i + 1));
        const int l = w->left[i], r = w->right[i];
        w->left[i] = w->left[swap], w->right[i] = w->right[swap];
        w->left[swap] = l, w->right[swap] = r;
    }
    for (int i = 0; i < MERGES; i++)
        json_array_append_new(json_object_get(model, "merges"), json_pack("[s, s]", w->text[w->left[i]], w->text[w->right[i]]));
    return root;
}

static int find(const struct world *w, int left, int right)
{
    for (int i = 0; i < MERGES; i++)
        if (w->left[i] == left && w->right[i] == right)
            return i;
    return MERGES;
}

/* The definition, without any cleverness. Returns the number of ids left. */
static size_t merge_by_definition(const struct world *w, int *ids, size_t n)
{
    for (;;) {
        size_t at = 0;
        int best = MERGES;
        for (size_t i = 0; i + 1 < n; i++)
            if (find(w, ids[i], ids[i + 1]) < best) {
                best = find(w, ids[i], ids[i + 1]);
                at = i;
            }
        if (best == MERGES)
            return n;
        char joined[1100];
        (void)snprintf(joined, sizeof joined, "%s%s", w->text[ids[at]], w->text[ids[at + 1]]);
        for (int i = 0; i < w->n; i++)
            if (strcmp(w->text[i], joined) == 0)
                ids[at] = i;
        memmove(ids + at + 1, ids + at + 2, (n - at - 2) * sizeof *ids);
        n--;
    }
}

Test(tokenizer_bpe, merges_as_defined)
{
    const size_t lengths[] = {1, 2, 3, 5, 8, 16, 31, 32, 33, 34, 50, 100, 257};
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct world w;
        json_t *root = make_world(&w, seed);
        struct tokenizer *tok = tokenizer_must(root, 64);
        for (size_t k = 0; k < sizeof lengths / sizeof lengths[0]; k++) {
            char text[300];
            int ids[300];
            const size_t n = lengths[k];
            for (size_t i = 0; i < n; i++) {
                ids[i] = (int)(rng_u32(seed, 2 + k, i) % LETTERS);
                text[i] = (char)('a' + ids[i]);
            }
            const size_t left = merge_by_definition(&w, ids, n);
            struct token_list got = {0};
            cr_assert(tokenizer_encode(tok, text, n, false, &got, NULL) == JSC_OK);
            bool same = got.n == left;
            for (size_t i = 0; same && i < left; i++)
                same = got.ids[i] == ids[i];
            cr_expect(same, "seed %d, %zu letters: other ids", (int)seed, n);
            token_list_free(&got);
        }
        tokenizer_free(tok);
        json_decref(root);
    }
}

/* A text long enough for the cache of pieces, with more different words than it has places, gives what the words give one by one. */
Test(tokenizer_bpe, long_text_as_its_words)
{
    enum { WORDS = 12000, DIFFERENT = 6000 };
    json_t *root = tokenizer_golden("gpt2.json");
    struct tokenizer *tok = tokenizer_must(root, 610);
    struct strbuf text = {0};
    struct token_list all = {0};
    size_t at = 0, wrong = 0;
    char word[48];
    for (int i = 0; i < WORDS; i++) {
        (void)snprintf(word, sizeof word, " %x%s", rng_u32(5, 0, rng_u32(5, 1, (uint64_t)i) % DIFFERENT) >> 12, i % 3 ? "the" : "");
        for (char *c = word; *c != '\0'; c++) /* letters only: one piece each */
            *c = *c >= '0' && *c <= '9' ? (char)(*c - '0' + 'p') : *c;
        strbuf_puts(&text, word);
    }
    cr_assert(text.n > 60000 && tokenizer_encode(tok, text.text, text.n, false, &all, NULL) == JSC_OK);
    for (const char *from = text.text; *from != '\0';) {
        const size_t n = 1 + strcspn(from + 1, " ");
        struct token_list one = {0};
        cr_assert(tokenizer_encode(tok, from, n, false, &one, NULL) == JSC_OK);
        for (size_t i = 0; i < one.n; i++, at++)
            wrong += at >= all.n || all.ids[at] != one.ids[i];
        token_list_free(&one);
        from += n;
    }
    cr_expect(wrong == 0 && at == all.n, "%zu of %zu ids differ", wrong, at);
    token_list_free(&all);
    strbuf_free(&text);
    tokenizer_free(tok);
    json_decref(root);
}
