/* test_tokenizer_gguf.c: the tokeniser of a GGUF file: kinds by name, added tokens, BOS, damaged metadata. */
#include "support/refusal.h"
#include "support/tokenizer_gguf_files.h"

#include <stdio.h>
#include <string.h>

TestSuite(tokenizer_gguf, .init = tokenizer_gguf_begin, .fini = tokenizer_gguf_end, .timeout = 120);

static void put_text_n(struct strbuf *s, const json_t *text)
{
    const uint64_t n = json_string_length(text);
    gguf_put(s, &n, sizeof n);
    gguf_put(s, json_string_value(text), n);
}

/* The model of a golden tokenizer.json as GGUF keys (5 of them); its added tokens become control tokens. */
static size_t put_family(struct strbuf *s, const json_t *root, const char *pre)
{
    const json_t *model = json_object_get(root, "model"), *vocab = json_object_get(model, "vocab"),
                 *merges = json_object_get(model, "merges");
    const json_t *added = json_object_get(root, "added_tokens"), *item = NULL;
    const json_t *by_id[1024] = {0};
    const char *keys[1024] = {0};
    const size_t n_vocab = json_object_size(vocab), n = n_vocab + json_array_size(added);
    size_t i = 0;
    for (void *at = json_object_iter((json_t *)vocab); at != NULL; at = json_object_iter_next((json_t *)vocab, at))
        keys[json_integer_value(json_object_iter_value(at))] = json_object_iter_key(at);
    json_array_foreach(added, i, item) by_id[json_integer_value(json_object_get(item, "id"))] = json_object_get(item, "content");
    gguf_string(s, "tokenizer.ggml.model", "gpt2");
    gguf_string(s, "tokenizer.ggml.pre", pre);
    gguf_array(s, "tokenizer.ggml.tokens", GGUF_STRING, n);
    for (i = 0; i < n; i++) {
        if (i < n_vocab)
            gguf_text(s, keys[i]);
        else
            put_text_n(s, by_id[i]);
    }
    gguf_array(s, "tokenizer.ggml.token_type", GGUF_I32, n);
    for (i = 0; i < n; i++)
        gguf_put(s, &(int32_t){i < n_vocab ? 1 : i % 2 ? 3 : 4}, 4);
    gguf_array(s, "tokenizer.ggml.merges", GGUF_STRING, json_array_size(merges));
    json_array_foreach(merges, i, item)
    {
        char joined[128];
        (void)snprintf(joined, sizeof joined, "%s %s", json_string_value(json_array_get(item, 0)),
                       json_string_value(json_array_get(item, 1)));
        gguf_text(s, json_is_string(item) ? json_string_value(item) : joined);
    }
    return n;
}

/* The same ids as the tokenizer.json of the family, for all texts without added tokens. */
static void check_family(const char *family, const char *pre)
{
    char name[32];
    (void)snprintf(name, sizeof name, "%s.json", family);
    json_t *root = tokenizer_golden(name), *texts = tokenizer_golden("texts.json"), *text = NULL;
    (void)snprintf(name, sizeof name, "%s.ids.json", family);
    json_t *ids = tokenizer_golden(name);
    struct strbuf s = {0};
    const size_t n = put_family(&s, root, pre);
    struct tokenizer *tok = tokenizer_gguf_must(&s, 5, n);
    char want[128];
    (void)snprintf(want, sizeof want, "BPE from GGUF, pre-tokeniser %s, %zu tokens", pre, n);
    cr_expect_str_eq(tokenizer_describe(tok), want);
    size_t i = 0, compared = 0;
    json_array_foreach(texts, i, text)
    {
        if (strchr(json_string_value(text), '<') != NULL || strstr(json_string_value(text), "rm") != NULL)
            continue; /* flags of added tokens are not in GGUF */
        compared++;
        expect_ids(pre, tok, json_string_value(text), json_string_length(text), false, json_array_get(json_object_get(ids, "plain"), i));
    }
    cr_assert(compared > 200, "%zu", compared);
    EXPECT_IDS(tok, "<s><s>", false, n == 600 ? "[589,589]" : "[581,581]");
    tokenizer_free(tok);
    json_decref(ids);
    json_decref(texts);
    json_decref(root);
}

Test(tokenizer_gguf, case_19_families_as_the_reference)
{
    check_family("gpt2", "gpt-2");
    check_family("smollm", "smollm");
    check_family("llama3", "llama-bpe");
    check_family("qwen2", "qwen2");
}

/* A byte-level tokeniser of a few tokens: 4 keys, the caller may add more. */
static void put_small(struct strbuf *s, const char *pre)
{
    static const char *const tokens[] = {"a",
                                         "b",
                                         "\xc4\xa0",
                                         "ab",
                                         ("\xc4\xa0"
                                          "ab"),
                                         "<s>",
                                         "\xe2\x81\x87",
                                         "[PAD7]"};
    static const int32_t types[] = {1, 1, 1, 1, 1, 3, 2, 5};
    gguf_string(s, "tokenizer.ggml.model", "gpt2");
    if (pre != NULL)
        gguf_string(s, "tokenizer.ggml.pre", pre);
    gguf_array(s, "tokenizer.ggml.tokens", GGUF_STRING, 8);
    for (int i = 0; i < 8; i++)
        gguf_text(s, tokens[i]);
    gguf_array(s, "tokenizer.ggml.token_type", GGUF_I32, 8);
    for (int i = 0; i < 8; i++)
        gguf_put(s, &types[i], 4);
}

static void put_merges(struct strbuf *s, const char *a, const char *b)
{
    gguf_array(s, "tokenizer.ggml.merges", GGUF_STRING, 2);
    gguf_text(s, a);
    gguf_text(s, b);
}
#define GOOD_MERGES "a b", "\xc4\xa0 ab"

static void expect_text_refused(int line, struct tokenizer *tok, const char *words)
{
    struct token_list got = {0};
    jsc_error error = {0};
    const char *bytes = NULL;
    size_t n = 0;
    CHECK(!tokenizer_takes_text(tok), "line %d", line);
    expect_refusal_at(line, tokenizer_encode(tok, "a", 1, true, &got, &error), JSC_E_UNSUPPORTED, &error, words);
    cr_expect(strstr(error.text, "t.gguf") != NULL && strstr(error.text, "ids") != NULL, "line %d: %s", line, error.text);
    cr_expect(tokenizer_token(tok, 1, &bytes, &n, &error) == JSC_OK, "line %d", line);
    tokenizer_free(tok);
}

Test(tokenizer_gguf, case_20_pre_tokeniser_absent_or_unknown)
{
    const char *const names[] = {NULL, "default", "something-new", ""};
    const char *const words[] = {"tokenizer.ggml.pre is absent", "pre-tokeniser \"default\" is not implemented",
                                 "pre-tokeniser \"something-new\"", "pre-tokeniser \"\" is not"};
    for (int i = 0; i < 4; i++) {
        struct strbuf s = {0};
        put_small(&s, names[i]);
        put_merges(&s, GOOD_MERGES);
        struct tokenizer *tok = tokenizer_gguf_must(&s, names[i] != NULL ? 5 : 4, 8);
        const char *bytes = NULL;
        size_t n = 0;
        cr_expect(tokenizer_token(tok, 4, &bytes, &n, NULL) == JSC_OK && n == 3 && memcmp(bytes, " ab", 3) == 0);
        expect_text_refused(__LINE__, tok, words[i]);
    }
}

Test(tokenizer_gguf, every_known_name_opens)
{
    static const char *const names[] = {"gpt-2",       "phi-2",         "mpt",
                                        "olmo",        "jais",          "exaone4",
                                        "modern-bert", "smollm",        "starcoder",
                                        "refact",      "command-r",     "codeshell",
                                        "exaone",      "minerva-7b",    "llama-bpe",
                                        "llama3",      "llama-v3",      "falcon3",
                                        "pixtral",     "lfm2",          "dbrx",
                                        "smaug-bpe",   "chatglm-bpe",   "glm4",
                                        "glm5",        "qwen2",         "deepseek-r1-qwen",
                                        "stablelm2",   "megrez",        "hunyuan",
                                        "grok-2",      "solar-open",    "qwen35",
                                        "gpt-4o",      "llama4",        "tekken",
                                        "deepseek-v3", "hunyuan-dense", "deepseek-coder"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct strbuf s = {0};
        put_small(&s, names[i]);
        put_merges(&s, GOOD_MERGES);
        struct tokenizer *tok = tokenizer_gguf_must(&s, 5, 8);
        cr_expect(tokenizer_takes_text(tok), "%s: %s", names[i], tokenizer_describe(tok));
        EXPECT_IDS(tok, "ab<s>a", false, "[3,5,0]");
        tokenizer_free(tok);
    }
}

Test(tokenizer_gguf, case_23_bos_by_file_name_and_kind)
{
    static const struct {
        char pre[12];
        int bos, add; /* -1: key absent */
        int32_t want_bos;
        bool adds;
    } rows[] = {{"llama-bpe", 5, -1, 5, true}, {"llama-bpe", 5, 0, 5, false}, {"llama-bpe", -1, -1, -1, false}, {"smollm", 5, -1, 5, false},
                {"smollm", 0, 1, 0, true},     {"smollm", -1, 1, -1, false},  {"tekken", 0, -1, 0, true}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct strbuf s = {0};
        uint64_t keys = 5;
        put_small(&s, rows[i].pre);
        put_merges(&s, GOOD_MERGES);
        if (rows[i].bos >= 0)
            gguf_u32(&s, "tokenizer.ggml.bos_token_id", (uint32_t)rows[i].bos), keys++;
        if (rows[i].add >= 0)
            gguf_bool(&s, "tokenizer.ggml.add_bos_token", rows[i].add == 1), keys++;
        struct tokenizer *tok = tokenizer_gguf_must(&s, keys, 8);
        char want[16];
        cr_expect(tokenizer_bos(tok) == rows[i].want_bos && tokenizer_adds_bos(tok) == rows[i].adds, "row %zu", i);
        (void)snprintf(want, sizeof want, rows[i].adds ? "[%d,1]" : "[1]", rows[i].bos);
        EXPECT_IDS(tok, "b", true, want);
        EXPECT_IDS(tok, "b", false, "[1]");
        const char *const *warnings = NULL;
        cr_expect(tokenizer_warnings(tok, &warnings) == (rows[i].add == 1 && rows[i].bos < 0 ? 1u : 0u), "row %zu", i);
        tokenizer_free(tok);
    }
}

Test(tokenizer_gguf, case_24_merges)
{
    static const struct {
        char a[16], b[16], words[64];
    } bad[] = {{"a b", "ab", "merge 1 has no two parts"}, {"", "a b", "merge 0 has no two parts"},
               {" b", "a b", "merge 0 has no two parts"}, {"a c", "a b", "merge 0|right part"},
               {"a b", "c a", "merge 1|left part"},       {"a b", "b a", "merge 1|joined token \"ba\""},
               {"a b", " a b", "merge 1|left part"}};
    struct tokenizer *tok = NULL;
    jsc_error error = {0};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct strbuf s = {0};
        put_small(&s, "gpt-2");
        put_merges(&s, bad[i].a, bad[i].b);
        expect_refusal(tokenizer_gguf_open(&s, 5, 8, &tok, &error), JSC_E_FORMAT, &error, bad[i].words);
    }
    struct strbuf s = {0};
    put_small(&s, "gpt-2");
    expect_text_refused(__LINE__, tokenizer_gguf_must(&s, 4, 8), "tokenizer.ggml.merges is absent");
}

Test(tokenizer_gguf, case_27_rows_and_tokens)
{
    struct strbuf s = {0};
    struct tokenizer *tok = NULL;
    jsc_error error = {0};
    const char *bytes = NULL;
    size_t n = 0;
    put_small(&s, "gpt-2");
    put_merges(&s, GOOD_MERGES);
    tok = tokenizer_gguf_must(&s, 5, 10);
    cr_expect(tokenizer_token(tok, 9, &bytes, &n, &error) == JSC_OK && n == 6 && memcmp(bytes, "<id 9>", 6) == 0);
    expect_refusal(tokenizer_token(tok, 10, &bytes, &n, &error), JSC_E_ARGUMENT, &error, "token id 10");
    EXPECT_IDS(tok, "[PAD7]", false, "[]"); /* a filler is no token of text, its characters are unknown here */
    tokenizer_free(tok);
    tok = NULL;
    put_small(&s, "gpt-2");
    put_merges(&s, GOOD_MERGES);
    expect_refusal(tokenizer_gguf_open(&s, 5, 7, &tok, &error), JSC_E_FORMAT, &error, "8 tokens|7 rows");
    cr_expect(tok == NULL);
}

static void put_count(struct strbuf *s, const char *key, uint32_t element, uint64_t count, size_t size)
{
    gguf_array(s, key, element, count);
    for (size_t i = 0; i < count * size; i++)
        gguf_put(s, "\1", 1);
}

Test(tokenizer_gguf, case_16_metadata_of_the_wrong_type)
{
    struct tokenizer *tok = NULL;
    jsc_error error = {0};
    struct strbuf s = {0};
    gguf_u32(&s, "tokenizer.ggml.model", 7);
    expect_refusal(tokenizer_gguf_open(&s, 1, 8, &tok, &error), JSC_E_FORMAT, &error, "tokenizer.ggml.model");
    gguf_string(&s, "tokenizer.ggml.model", "gpt2");
    gguf_string(&s, "tokenizer.ggml.tokens", "a");
    expect_refusal(tokenizer_gguf_open(&s, 2, 8, &tok, &error), JSC_E_FORMAT, &error, "tokenizer.ggml.tokens is not a list of texts");
    gguf_string(&s, "tokenizer.ggml.model", "gpt2");
    put_count(&s, "tokenizer.ggml.tokens", GGUF_U8, 4, 1);
    expect_refusal(tokenizer_gguf_open(&s, 2, 8, &tok, &error), JSC_E_FORMAT, &error, "tokenizer.ggml.tokens is not a list of texts");
    gguf_string(&s, "tokenizer.ggml.model", "gpt2");
    gguf_array(&s, "tokenizer.ggml.tokens", GGUF_STRING, 2);
    gguf_text(&s, "a");
    gguf_text(&s, "b");
    put_count(&s, "tokenizer.ggml.token_type", GGUF_I32, 1, 4);
    expect_refusal(tokenizer_gguf_open(&s, 3, 8, &tok, &error), JSC_E_FORMAT, &error, "token_type has 1 entries for 2 tokens");
    put_small(&s, "gpt-2");
    put_merges(&s, GOOD_MERGES);
    gguf_u32(&s, "tokenizer.ggml.bos_token_id", 8);
    expect_refusal(tokenizer_gguf_open(&s, 6, 10, &tok, &error), JSC_E_FORMAT, &error, "tokenizer.ggml.bos_token_id");
    cr_expect(tok == NULL);
    expect_text_refused(__LINE__, tokenizer_gguf_must(&s, 0, 8), "tokenizer.ggml.model is absent");
    gguf_string(&s, "tokenizer.ggml.model", "bert");
    expect_text_refused(__LINE__, tokenizer_gguf_must(&s, 1, 8), "tokeniser model \"bert\"");
    gguf_string(&s, "tokenizer.ggml.model", "gpt2");
    expect_text_refused(__LINE__, tokenizer_gguf_must(&s, 1, 8), "tokenizer.ggml.tokens is absent");
}

Test(tokenizer_gguf, what_cannot_be_decided_is_refused)
{
    struct strbuf s = {0};
    gguf_string(&s, "tokenizer.ggml.model", "gpt2");
    gguf_string(&s, "tokenizer.ggml.pre", "gpt-2");
    gguf_array(&s, "tokenizer.ggml.tokens", GGUF_STRING, 2);
    gguf_text(&s, "a");
    gguf_text(&s, "b");
    put_count(&s, "tokenizer.ggml.merges", GGUF_STRING, 0, 0);
    expect_text_refused(__LINE__, tokenizer_gguf_must(&s, 4, 8), "token_type is absent");
    gguf_string(&s, "tokenizer.ggml.model", "gpt2");
    gguf_array(&s, "tokenizer.ggml.tokens", GGUF_STRING, 3);
    gguf_text(&s, "a");
    gguf_text(&s, "b");
    gguf_text(&s, "a");
    gguf_array(&s, "tokenizer.ggml.token_type", GGUF_I32, 3);
    for (int i = 0; i < 3; i++)
        gguf_put(&s, &(int32_t){1}, 4);
    expect_text_refused(__LINE__, tokenizer_gguf_must(&s, 3, 8), "tokens 0 and 2 have the same text");
    gguf_string(&s, "tokenizer.ggml.model", "gpt2");
    gguf_string(&s, "tokenizer.ggml.pre", "gpt-2");
    gguf_array(&s, "tokenizer.ggml.tokens", GGUF_STRING, 2);
    gguf_text(&s, "a");
    gguf_text(&s, "\xc3"); /* would cut characters in two */
    gguf_array(&s, "tokenizer.ggml.token_type", GGUF_I32, 2);
    gguf_put(&s, &(int32_t){1}, 4);
    gguf_put(&s, &(int32_t){3}, 4);
    put_count(&s, "tokenizer.ggml.merges", GGUF_STRING, 0, 0);
    expect_text_refused(__LINE__, tokenizer_gguf_must(&s, 5, 8), "not valid UTF-8");
    put_small(&s, "gpt-2");
    put_merges(&s, GOOD_MERGES);
    gguf_bool(&s, "tokenizer.ggml.add_space_prefix", true);
    expect_text_refused(__LINE__, tokenizer_gguf_must(&s, 6, 8), "add_space_prefix");
}

Test(tokenizer_gguf, every_allocation_may_fail)
{
    struct strbuf s = {0};
    struct gguf *gguf = NULL;
    jsc_error error = {0};
    put_small(&s, "qwen2");
    put_merges(&s, GOOD_MERGES);
    gguf_u32(&s, "tokenizer.ggml.bos_token_id", 5);
    gguf_bool(&s, "tokenizer.ggml.add_bos_token", true);
    cr_assert(gguf_open(tokenizer_gguf_write(&s, 7), &gguf, &error) == JSC_OK, "%s", error.text);
    bool finished = false;
    for (long k = 1; !finished; k++) {
        struct tokenizer *tok = NULL;
        const size_t before = mem_live_bytes();
        mem_fail_at(k, false);
        const jsc_status status = tokenizer_from_gguf(gguf, 8, &tok, &error);
        finished = mem_calls() < k;
        mem_fail_at(0, false);
        cr_assert(status == JSC_OK ? tokenizer_takes_text(tok) : status == JSC_E_MEMORY, "allocation %ld: %s", k, error.text);
        tokenizer_free(tok);
        cr_assert(mem_live_bytes() == before, "allocation %ld leaks", k);
    }
    gguf_close(gguf);
}
