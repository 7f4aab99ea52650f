/* test_tokenizer_gguf_spm.c: SentencePiece out of GGUF, by score ("llama") and by merges ("gemma4"): twins of the golden tokenizer.json files. */
#include "support/tokenizer_gguf_files.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

TestSuite(tokenizer_gguf_spm, .init = tokenizer_gguf_begin, .fini = tokenizer_gguf_end, .timeout = 120);

/* SentencePiece: any two neighbours whose text is a token, best score first; leftovers are bytes. */
Test(tokenizer_gguf_spm, best_score_first)
{
    static const char *const tokens[] = {"<unk>",
                                         "<s>",
                                         "\xe2\x96\x81",
                                         "a",
                                         "b",
                                         "c",
                                         "ab",
                                         "bc",
                                         ("\xe2\x96\x81"
                                          "ab")};
    static const float scores[] = {0, 0, -5, -6, -7, -8, -2, -1, -3};
    for (int prefix = 0; prefix < 2; prefix++) {
        struct strbuf s = {0};
        gguf_string(&s, "tokenizer.ggml.model", "llama");
        gguf_array(&s, "tokenizer.ggml.tokens", GGUF_STRING, 9 + 256);
        for (int i = 0; i < 9; i++)
            gguf_text(&s, tokens[i]);
        for (int i = 0; i < 256; i++) {
            char name[8];
            (void)snprintf(name, sizeof name, "<0x%02X>", (unsigned)i);
            gguf_text(&s, name);
        }
        gguf_array(&s, "tokenizer.ggml.scores", GGUF_F32, 9 + 256);
        for (int i = 0; i < 9 + 256; i++)
            gguf_put(&s, i < 9 ? &scores[i] : &(float){0}, 4);
        gguf_array(&s, "tokenizer.ggml.token_type", GGUF_I32, 9 + 256);
        for (int i = 0; i < 9 + 256; i++)
            gguf_put(&s, &(int32_t){i == 0 ? 2 : i == 1 ? 3 : i < 9 ? 1 : 6}, 4);
        gguf_u32(&s, "tokenizer.ggml.bos_token_id", 1);
        if (prefix == 0)
            gguf_bool(&s, "tokenizer.ggml.add_space_prefix", false);
        struct tokenizer *tok = tokenizer_gguf_must(&s, prefix == 0 ? 6 : 5, 300);
        cr_expect_str_eq(tokenizer_describe(tok), "SentencePiece BPE from GGUF, 265 tokens");
        EXPECT_IDS(tok, "abc", true, prefix ? "[1,2,3,7]" : "[1,3,7]");
        EXPECT_IDS(tok, "ab ab", true, prefix ? "[1,8,8]" : "[1,6,8]");
        EXPECT_IDS(tok, "ab<s>ab", false, prefix ? "[8,1,8]" : "[6,1,6]");
        EXPECT_IDS(tok, "\xc3\xa9\n", false, prefix ? "[2,204,178,19]" : "[204,178,19]");
        EXPECT_IDS(tok, "", true, "[1]");
        const char *bytes = NULL;
        size_t n = 0;
        cr_expect(tokenizer_token(tok, 8, &bytes, &n, NULL) == JSC_OK && n == 3 && memcmp(bytes, " ab", 3) == 0);
        cr_expect(tokenizer_token(tok, 9 + 0xc3, &bytes, &n, NULL) == JSC_OK && n == 1 && memcmp(bytes, "\xc3", 1) == 0);
        tokenizer_free(tok);
    }
}

/* ---- twins ------------------------------------------------------------------------------------------------------------------------ */

enum { MOST = 1024 };
struct token {
    const char *text;
    int32_t type; /* of GGUF */
};

/* All tokens of a golden file by id; returns their number. */
static size_t list_tokens(const json_t *root, struct token list[MOST])
{
    const json_t *vocab = json_object_get(json_object_get(root, "model"), "vocab"), *item = NULL;
    size_t i = 0, n = json_object_size(vocab);
    for (void *at = json_object_iter((json_t *)vocab); at != NULL; at = json_object_iter_next((json_t *)vocab, at)) {
        const char *text = json_object_iter_key(at);
        list[json_integer_value(json_object_iter_value(at))] = (struct token){text,
                                                                              strncmp(text, "<0x", 3) == 0 && strlen(text) == 6 ? 6 : 1};
    }
    json_array_foreach(json_object_get(root, "added_tokens"), i, item)
    {
        const size_t id = (size_t)json_integer_value(json_object_get(item, "id"));
        const char *text = json_string_value(json_object_get(item, "content"));
        cr_assert(id < MOST);
        list[id] = (struct token){text, strcmp(text, "<unk>") == 0 ? 2 : json_is_true(json_object_get(item, "special")) ? 3 : 4};
        n = id >= n ? id + 1 : n;
    }
    return n;
}

/* Keys that all twins have: 4. */
static size_t put_twin(struct strbuf *s, const json_t *root, const char *model)
{
    static struct token list[MOST];
    const json_t *merge = NULL, *merges = json_object_get(json_object_get(root, "model"), "merges");
    const size_t n = list_tokens(root, list);
    size_t i = 0;
    gguf_string(s, "tokenizer.ggml.model", model);
    gguf_array(s, "tokenizer.ggml.tokens", GGUF_STRING, n);
    for (i = 0; i < n; i++)
        gguf_text(s, list[i].text);
    gguf_array(s, "tokenizer.ggml.token_type", GGUF_I32, n);
    for (i = 0; i < n; i++)
        gguf_put(s, &list[i].type, 4);
    if (strcmp(model, "llama") == 0) { /* the golden files order tokens by their score */
        gguf_array(s, "tokenizer.ggml.scores", GGUF_F32, n);
        for (i = 0; i < n; i++)
            gguf_put(s, &(float){-(float)i}, 4);
        return n;
    }
    gguf_array(s, "tokenizer.ggml.merges", GGUF_STRING, json_array_size(merges));
    json_array_foreach(merges, i, merge)
    {
        char joined[128];
        (void)snprintf(joined, sizeof joined, "%s %s", json_string_value(json_array_get(merge, 0)),
                       json_string_value(json_array_get(merge, 1)));
        gguf_text(s, joined);
    }
    return n;
}

static void compare_twin(const char *kind, const char *what, struct tokenizer *tok, bool bos)
{
    char name[40];
    (void)snprintf(name, sizeof name, "%s.ids.json", kind);
    json_t *texts = tokenizer_golden("texts.json"), *ids = tokenizer_golden(name);
    cr_expect(tokenizer_takes_text(tok) && tokenizer_adds_bos(tok) == bos, "%s: %s", what, tokenizer_describe(tok));
    cr_assert(json_array_size(json_object_get(ids, "plain")) >= 200 && json_array_size(json_object_get(ids, "own")) > 20);
    expect_all_ids(what, tok, texts, json_object_get(ids, "plain"), false);
    expect_all_ids(what, tok, texts, json_object_get(ids, "special"), true);
    expect_all_ids(what, tok, json_object_get(ids, "own"), json_object_get(ids, "own_ids"), true);
    tokenizer_free(tok);
    json_decref(ids);
    json_decref(texts);
}

/* Llama 2: a mark in front of every fragment, BOS by the kind's custom. */
Test(tokenizer_gguf_spm, case_15_llama_as_its_folder)
{
    json_t *root = tokenizer_golden("spm_legacy.json");
    struct strbuf s = {0};
    const size_t n = put_twin(&s, root, "llama");
    gguf_u32(&s, "tokenizer.ggml.bos_token_id", 1);
    compare_twin("spm_legacy", "llama", tokenizer_gguf_must(&s, 5, n), true);
    json_decref(root);
}

/* Gemma 1 to 3 by score, Gemma 4 by merges; neither puts a mark in front. */
Test(tokenizer_gguf_spm, case_15_gemma_as_its_folder)
{
    static const char *const models[] = {"llama", "gemma4"};
    json_t *root = tokenizer_golden("gemma.json");
    for (int i = 0; i < 2; i++) {
        struct strbuf s = {0};
        const size_t n = put_twin(&s, root, models[i]);
        gguf_u32(&s, "tokenizer.ggml.bos_token_id", 2);
        gguf_bool(&s, "tokenizer.ggml.add_space_prefix", false);
        struct tokenizer *tok = tokenizer_gguf_must(&s, 6, n);
        char want[64];
        (void)snprintf(want, sizeof want, "SentencePiece BPE from GGUF, %zu tokens", n);
        cr_expect_str_eq(tokenizer_describe(tok), want);
        compare_twin("gemma", models[i], tok, true);
    }
    json_decref(root);
}

/* Phi-3's added tokens swallow white space; GGUF does not say so, the architecture does. */
Test(tokenizer_gguf_spm, case_21_phi3_tokens_strip_white_space)
{
    json_t *root = tokenizer_golden("phi3.json");
    for (int phi3 = 0; phi3 < 2; phi3++) {
        struct strbuf s = {0};
        const size_t n = put_twin(&s, root, "llama");
        gguf_string(&s, "general.architecture", phi3 ? "phi3" : "llama");
        gguf_u32(&s, "tokenizer.ggml.bos_token_id", 1);
        gguf_bool(&s, "tokenizer.ggml.add_bos_token", false);
        struct tokenizer *tok = tokenizer_gguf_must(&s, 7, n);
        if (phi3) {
            compare_twin("phi3", "phi3", tok, false);
            continue;
        }
        struct token_list stripped = {0}, kept = {0};
        cr_assert(tokenizer_encode(tok, "<|user|>\n", 9, true, &kept, NULL) == JSC_OK && kept.n > 1);
        cr_assert(tokenizer_encode(tok, "<|user|>", 8, true, &stripped, NULL) == JSC_OK && stripped.n == 1);
        token_list_free(&stripped);
        token_list_free(&kept);
        tokenizer_free(tok);
    }
    json_decref(root);
}

/* Converters fill rows up with [PADn] of type 2, 4 or 5; a text with these letters is text, and [PAD9] in another row is a token. */
Test(tokenizer_gguf_spm, case_27_fillers_of_any_type)
{
    static const char *const tokens[] = {"a", "b", "[PAD2]", "[PAD3]", "[PAD4]", "[PAD9]"};
    static const int32_t types[] = {1, 1, 2, 4, 5, 4};
    struct strbuf s = {0};
    gguf_string(&s, "tokenizer.ggml.model", "llama");
    gguf_array(&s, "tokenizer.ggml.tokens", GGUF_STRING, 6);
    for (int i = 0; i < 6; i++)
        gguf_text(&s, tokens[i]);
    gguf_array(&s, "tokenizer.ggml.token_type", GGUF_I32, 6);
    for (int i = 0; i < 6; i++)
        gguf_put(&s, &types[i], 4);
    gguf_array(&s, "tokenizer.ggml.scores", GGUF_F32, 6);
    for (int i = 0; i < 6; i++)
        gguf_put(&s, &(float){0}, 4);
    gguf_bool(&s, "tokenizer.ggml.add_space_prefix", false);
    gguf_u32(&s, "tokenizer.ggml.unknown_token_id", 1);
    struct tokenizer *tok = tokenizer_gguf_must(&s, 6, 6);
    for (int i = 2; i < 5; i++)
        EXPECT_IDS(tok, tokens[i], false, "[1,1,1,1,1,1]");
    EXPECT_IDS(tok, "a[PAD9]a", false, "[0,5,0]");
    tokenizer_free(tok);
}

Test(tokenizer_gguf_spm, gemma4_without_merges_takes_no_text)
{
    struct strbuf s = {0};
    gguf_string(&s, "tokenizer.ggml.model", "gemma4");
    gguf_array(&s, "tokenizer.ggml.tokens", GGUF_STRING, 1);
    gguf_text(&s, "a");
    gguf_array(&s, "tokenizer.ggml.token_type", GGUF_I32, 1);
    gguf_put(&s, &(int32_t){1}, 4);
    struct tokenizer *tok = tokenizer_gguf_must(&s, 3, 2);
    cr_expect(!tokenizer_takes_text(tok) && strstr(tokenizer_describe(tok), "ids only") != NULL, "%s", tokenizer_describe(tok));
    tokenizer_free(tok);
}

Test(tokenizer_gguf_spm, every_allocation_may_fail)
{
    static const char *const models[] = {"llama", "gemma4"};
    static const char text[] = "a  b <end_of_turn> \xc3\xa9\xf0\x9f\x98\x80 hello hello hello hello hello hello";
    json_t *root = tokenizer_golden("gemma.json");
    for (int i = 0; i < 2; i++) {
        struct strbuf s = {0};
        struct gguf *gguf = NULL;
        jsc_error error = {0};
        const size_t n = put_twin(&s, root, models[i]);
        gguf_u32(&s, "tokenizer.ggml.bos_token_id", 2);
        cr_assert(gguf_open(tokenizer_gguf_write(&s, 5), &gguf, &error) == JSC_OK, "%s", error.text);
        bool finished = false;
        for (long k = 1; !finished; k++) {
            struct tokenizer *tok = NULL;
            struct token_list got = {0};
            const size_t before = mem_live_bytes();
            mem_fail_at(k, k % 2 == 0);
            jsc_status status = tokenizer_from_gguf(gguf, n, &tok, &error);
            if (status == JSC_OK)
                status = tokenizer_encode(tok, text, strlen(text), true, &got, &error);
            finished = mem_calls() < k;
            mem_fail_at(0, false);
            cr_assert(status == JSC_OK ? got.n > 10 : status == JSC_E_MEMORY, "%s, allocation %ld: %s", models[i], k, error.text);
            token_list_free(&got);
            tokenizer_free(tok);
            cr_assert(mem_live_bytes() == before, "%s: allocation %ld leaks", models[i], k);
        }
        gguf_close(gguf);
    }
    json_decref(root);
}
