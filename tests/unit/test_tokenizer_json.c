/* test_tokenizer_json.c: tokenizer.json and tokenizer_config.json: layouts, what is refused and with which words, damaged files. */
#include "support/refusal.h"
#include "support/tokenizer_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(tokenizer_json, .timeout = 120);

/* Opens root (taken), which must be refused as damaged. */
static void refuse(int line, json_t *root, const char *words)
{
    struct tokenizer *tok = NULL;
    jsc_error error = {0};
    const size_t before = mem_live_bytes();
    expect_refusal_at(line, tokenizer_of(root, 40, &tok, &error), JSC_E_FORMAT, &error, words);
    cr_expect(strstr(error.text, "tokenizer.json") != NULL, "line %d: no file name: %s", line, error.text);
    cr_expect(tok == NULL && mem_live_bytes() == before, "line %d: out was touched or memory leaks", line);
    tokenizer_free(tok);
    json_decref(root);
}
#define REFUSE(root, words) refuse(__LINE__, root, words)

/* Opens root (taken): it must open, refuse text with these words, and still know ids. */
static void refuse_text(int line, json_t *root, const char *words)
{
    struct tokenizer *tok = NULL;
    struct token_list got = {0};
    jsc_error error = {0};
    const char *bytes = NULL;
    size_t n = 0;
    cr_assert(tokenizer_of(root, 40, &tok, &error) == JSC_OK, "line %d: %s", line, error.text);
    CHECK(!tokenizer_takes_text(tok), "line %d: takes text", line);
    expect_refusal_at(line, tokenizer_encode(tok, "a", 1, true, &got, &error), JSC_E_UNSUPPORTED, &error, words);
    cr_expect(strstr(error.text, "tokenizer.json") != NULL && strstr(error.text, "ids") != NULL, "line %d: %s", line, error.text);
    cr_expect(tokenizer_token(tok, 1, &bytes, &n, &error) == JSC_OK && n > 0, "line %d: no token text", line);
    cr_expect(strstr(tokenizer_describe(tok), "ids only") != NULL, "line %d: %s", line, tokenizer_describe(tok));
    tokenizer_free(tok);
    json_decref(root);
}
#define REFUSE_TEXT(root, words) refuse_text(__LINE__, root, words)

/* The small tokeniser with one top-level part given as JSON. */
static json_t *with(const char *key, const char *value)
{
    json_t *root = small_tokenizer();
    json_t *part = json_loads(value, JSON_DECODE_ANY, NULL);
    cr_assert(part != NULL, "%s", value);
    json_object_set_new(root, key, part);
    return root;
}

/* The same with one field of the model. */
static json_t *with_model(const char *key, const char *value)
{
    json_t *root = small_tokenizer(), *part = json_loads(value, JSON_DECODE_ANY, NULL);
    cr_assert(part != NULL, "%s", value);
    json_object_set_new(model_of(root), key, part);
    return root;
}

Test(tokenizer_json, case_24_merges_in_both_layouts)
{
    const char *const layouts[] = {"[\"a b\",\"ab c\"]", "[[\"a\",\"b\"],[\"ab\",\"c\"]]", "[\"#version: 0.2\",\"a b\",[\"ab\",\"c\"]]"};
    for (int i = 0; i < 3; i++) {
        json_t *root = with_model("merges", layouts[i]);
        struct tokenizer *tok = tokenizer_must(root, 40);
        EXPECT_IDS(tok, "abcab", false, "[30,29]");
        tokenizer_free(tok);
        json_decref(root);
    }
    json_t *root = with_model("merges", "[[\"a\",\" \"],[\"a \",\"b\"]]"); /* tokens with a space inside */
    json_object_set_new(json_object_get(model_of(root), "vocab"), "a ", json_integer(31));
    json_object_set_new(json_object_get(model_of(root), "vocab"), "a b", json_integer(32));
    struct tokenizer *tok = tokenizer_must(root, 40);
    EXPECT_IDS(tok, "a b", false, "[32]");
    tokenizer_free(tok);
    json_decref(root);
    REFUSE(with_model("merges", "[\"a b\",\"ab\"]"), "merge 1|two parts");
    REFUSE(with_model("merges", "[\"a b c\"]"), "merge 0|two parts");
    REFUSE(with_model("merges", "[[\"a\"]]"), "merge 0");
    REFUSE(with_model("merges", "[[\"a\",1]]"), "merge 0");
    REFUSE(with_model("merges", "[7]"), "merge 0");
    REFUSE(with_model("merges", "[\"a b\",\"a \\u00e9\"]"), "merge 1|right part|not in the vocabulary");
    REFUSE(with_model("merges", "[\"\\u00e9 a\"]"), "merge 0|left part");
    REFUSE(with_model("merges", "[\"a c\"]"), "merge 0|joined token \"ac\"");
    REFUSE(with_model("merges", "{}"), "model.merges is not a list");
    REFUSE(with_model("merges", "null"), "model.merges is not a list");
}

/* Of a repeated pair the last rank wins, as in the reference: "b c" before "a b" after the repetition. */
Test(tokenizer_json, case_24_repeated_merge)
{
    json_t *root = with_model("merges", "[\"a b\",\"b c\",\"a b\"]");
    json_object_set_new(json_object_get(model_of(root), "vocab"), "bc", json_integer(31));
    struct tokenizer *tok = tokenizer_must(root, 40);
    EXPECT_IDS(tok, "abc", false, "[0,31]");
    tokenizer_free(tok);
    json_decref(root);
}

Test(tokenizer_json, damaged_files)
{
    REFUSE(json_array(), "not a JSON object");
    REFUSE(json_object(), "has no model");
    REFUSE(with("model", "[]"), "has no model");
    REFUSE(with_model("vocab", "[1]"), "model.vocab is not an object");
    REFUSE(with_model("vocab", "{\"a\":-1}"), "token \"a\"|0 to 2147483647");
    REFUSE(with_model("vocab", "{\"a\":1.5}"), "token \"a\"");
    REFUSE(with_model("vocab", "{\"a\":\"1\"}"), "token \"a\"");
    REFUSE(with_model("vocab", "{\"a\":4294967296}"), "token \"a\"");
    REFUSE(with_model("vocab", "{}"), "merge 0");
    REFUSE(with_model("byte_fallback", "1"), "byte_fallback");
    REFUSE(with_model("unk_token", "1"), "unk_token");
    REFUSE(with_model("type", "1"), "type");
    REFUSE(with("added_tokens", "{}"), "added_tokens is not a list");
    REFUSE(with("added_tokens", "[1]"), "added token has no content");
    REFUSE(with("added_tokens", "[{\"id\":31,\"content\":\"<a>\"}]"), "single_word");
    REFUSE(with("normalizer", "[]"), "normalizer is not an object");
    REFUSE(with("normalizer", "{}"), "normalizer has no type");
    REFUSE(with("normalizer", "{\"type\":\"Sequence\"}"), "no list \"normalizers\"");
    REFUSE(with("pre_tokenizer", "{\"type\":\"Sequence\",\"pretokenizers\":{}}"), "no list \"pretokenizers\"");
    REFUSE(with("post_processor", "{\"type\":\"BertProcessing\",\"cls\":[\"a\",-1],\"sep\":[\"b\",1]}"), "\"cls\" is not a pair");
    REFUSE(with("post_processor", "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"x\"}}]}"), "\"x\" has no ids");
    struct tokenizer *tok = NULL;
    jsc_error error = {0};
    expect_refusal(tokenizer_from_json("x.json", "{\"model\":", 9, 40, &tok, &error), JSC_E_FORMAT, &error, "x.json");
    expect_refusal(tokenizer_from_json("x.json", "", 0, 40, &tok, &error), JSC_E_FORMAT, &error, "x.json");
    expect_refusal(tokenizer_from_json("x.json", "{\"a\":1,\"a\":2}", 13, 40, &tok, &error), JSC_E_FORMAT, &error, "duplicate");
    cr_expect(tok == NULL);
}

Test(tokenizer_json, added_tokens_with_other_ids)
{
    json_t *root = small_tokenizer();
    added_token(root, 9, "<a>", "s");
    REFUSE(root, "added token \"<a>\"|id 9|makes it 31");
    root = small_tokenizer();
    added_token(root, 31, "<a>", "s");
    added_token(root, 33, "<b>", "s");
    REFUSE(root, "added token \"<b>\"|id 33|makes it 32");
    root = small_tokenizer();
    added_token(root, 31, "<a>", "s");
    added_token(root, 31, "<a>", "");
    REFUSE(root, "listed twice");
    root = small_tokenizer();
    added_token(root, 29, "ab", "s"); /* in the vocabulary: its id */
    added_token(root, 31, "", "s");   /* ignored */
    added_token(root, 31, "<a>", "s");
    struct tokenizer *tok = tokenizer_must(root, 40);
    EXPECT_IDS(tok, "cab<a>", false, "[2,29,31]");
    cr_expect_str_eq(tokenizer_describe(tok), "BPE from tokenizer.json, pre-tokeniser none, 32 tokens");
    tokenizer_free(tok);
    json_decref(root);
}

#define ADDED_TOO_LONG 257
Test(tokenizer_json, parts_that_are_not_implemented)
{
    REFUSE_TEXT(with("normalizer", "{\"type\":\"BertNormalizer\"}"), "normalizer \"BertNormalizer\"");
    REFUSE_TEXT(with("normalizer", "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Precompiled\"}]}"), "normalizer \"Precompiled\"");
    REFUSE_TEXT(with("normalizer", "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"\\\\w\"},\"content\":\"\"}"), "escape");
    REFUSE_TEXT(with("pre_tokenizer", "{\"type\":\"UnicodeScripts\"}"), "pre_tokenizer \"UnicodeScripts\"");
    REFUSE_TEXT(with("pre_tokenizer", "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"\\\\p{Greek}\"},\"behavior\":\"Isolated\"}"),
                "property");
    REFUSE_TEXT(with("pre_tokenizer", "{\"type\":\"Split\",\"pattern\":{\"String\":\"x\"},\"behavior\":\"Odd\"}"), "behavior \"Odd\"");
    REFUSE_TEXT(with("pre_tokenizer", "{\"type\":\"Split\",\"pattern\":{},\"behavior\":\"Isolated\"}"), "neither String nor Regex");
    REFUSE_TEXT(with("pre_tokenizer", "{\"type\":\"Metaspace\",\"prepend_scheme\":\"odd\"}"), "prepend_scheme \"odd\"");
    REFUSE_TEXT(with("post_processor", "{\"type\":\"Odd\"}"), "post_processor \"Odd\"");
    REFUSE_TEXT(with("post_processor", "{\"type\":\"TemplateProcessing\",\"single\":[]}"), "without Sequence A");
    REFUSE_TEXT(with_model("dropout", "0.1"), "dropout");
    REFUSE_TEXT(with_model("continuing_subword_prefix", "\"##\""), "continuing_subword_prefix");
    REFUSE_TEXT(with_model("end_of_word_suffix", "\"</w>\""), "end_of_word_suffix");
    REFUSE_TEXT(with("model", "{\"type\":\"WordPiece\",\"vocab\":{\"a\":0,\"b\":1}}"), "model type \"WordPiece\"");
    REFUSE_TEXT(with("model", "{\"type\":\"Unigram\",\"vocab\":[[\"a\",0.0],[\"b\",-1.5]]}"), "model type \"Unigram\"");
    REFUSE_TEXT(with("model", "{\"type\":\"WordLevel\",\"vocab\":{\"a\":0,\"b\":1},\"unk_token\":\"a\"}"), "model type \"WordLevel\"");
    json_t *root = small_tokenizer();
    char content[ADDED_TOO_LONG + 1];
    memset(content, 'a', ADDED_TOO_LONG);
    content[ADDED_TOO_LONG] = '\0';
    added_token(root, 31, content, "s");
    REFUSE_TEXT(root, "an added token of 257 bytes");
    json_t *deep = json_pack("{s:s, s:[]}", "type", "Sequence", "normalizers");
    for (int i = 0; i < 20; i++)
        deep = json_pack("{s:s, s:[o]}", "type", "Sequence", "normalizers", deep);
    root = small_tokenizer();
    json_object_set_new(root, "normalizer", deep);
    REFUSE_TEXT(root, "nested more than");
    struct strbuf many = {0};
    strbuf_puts(&many, "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Whitespace\"}");
    for (int i = 0; i < 40; i++)
        strbuf_puts(&many, ",{\"type\":\"WhitespaceSplit\"}");
    strbuf_puts(&many, "]}");
    REFUSE_TEXT(with("pre_tokenizer", many.text), "more than 32 steps");
    strbuf_free(&many);
}

/* Options that mean nothing to the ids. */
Test(tokenizer_json, harmless_options)
{
    json_t *root = with("truncation", "{\"max_length\":2,\"stride\":0,\"strategy\":\"LongestFirst\",\"direction\":\"Right\"}");
    json_object_set_new(model_of(root), "dropout", json_null());
    json_object_set_new(model_of(root), "continuing_subword_prefix", json_string(""));
    json_object_del(model_of(root), "type");
    json_object_set_new(root, "padding", json_null());
    struct tokenizer *tok = tokenizer_must(root, 40);
    const char *const *warnings = NULL;
    EXPECT_IDS(tok, "aaaa", true, "[0,0,0,0]");
    cr_expect(tokenizer_warnings(tok, &warnings) == 1 && strstr(warnings[0], "truncation") != NULL);
    tokenizer_free(tok);
    json_decref(root);
}

Test(tokenizer_json, unknown_token_outside_the_vocabulary)
{
    json_t *root = with_model("unk_token", "\"<unk>\"");
    struct tokenizer *tok = tokenizer_must(root, 40);
    struct token_list got = {0};
    jsc_error error = {0};
    EXPECT_IDS(tok, "ab", true, "[29]");
    expect_refusal(tokenizer_encode(tok, "a!", 2, true, &got, &error), JSC_E_FORMAT, &error, "unk_token \"<unk>\"");
    tokenizer_free(tok);
    json_decref(root);
}

static void apply(struct tokenizer *tok, const char *config)
{
    jsc_error error = {0};
    cr_assert(tokenizer_apply_config(tok, "tokenizer_config.json", config, config != NULL ? strlen(config) : 0, &error) == JSC_OK, "%s",
              error.text);
}

/* tokenizer_config.json: an explicit add_bos_token or add_eos_token replaces the file's own template. */
Test(tokenizer_json, tokenizer_config)
{
    json_t *root = small_tokenizer();
    added_token(root, 31, "<a>", "s");
    added_token(root, 32, "<b>", "s");
    json_object_set_new(root, "post_processor",
                        json_loads("{\"type\":\"RobertaProcessing\",\"cls\":[\"<a>\",31],\"sep\":[\"<b>\",32]}", 0, NULL));
    struct tokenizer *tok = tokenizer_must(root, 40);
    jsc_error error = {0};
    apply(tok, NULL);
    EXPECT_IDS(tok, "x", true, "[31,23,32]");
    apply(tok, "{\"bos_token\":{\"content\":\"<a>\",\"lstrip\":false},\"eos_token\":\"<b>\",\"add_bos_token\":null}");
    EXPECT_IDS(tok, "x", true, "[31,23,32]");
    cr_expect(tokenizer_bos(tok) == 31 && tokenizer_eos(tok) == 32 && tokenizer_adds_bos(tok));
    apply(tok, "{\"add_bos_token\":false}");
    EXPECT_IDS(tok, "x", true, "[23]");
    CHECK(!tokenizer_adds_bos(tok), "BOS is added");
    for (int i = 0; i < 2; i++) { /* the second time it changes nothing: no warning */
        apply(tok, "{\"add_bos_token\":true,\"add_eos_token\":true}");
        EXPECT_IDS(tok, "x", true, "[31,23,32]");
    }
    apply(tok, "{\"add_eos_token\":true,\"eos_token\":\"ab\"}");
    EXPECT_IDS(tok, "x", true, "[23,29]");
    apply(tok, "{\"bos_token\":\"<nowhere>\"}");
    const char *const *warnings = NULL;
    cr_assert(tokenizer_warnings(tok, &warnings) == 4 && strstr(warnings[3], "<nowhere>") != NULL);
    cr_expect(strstr(warnings[0], "neither BOS nor EOS") != NULL && strstr(warnings[1], "BOS and EOS") != NULL, "%s", warnings[0]);
    cr_expect(strstr(warnings[2], "EOS only") != NULL, "%s", warnings[2]);
    expect_refusal(tokenizer_apply_config(tok, "c.json", "{\"add_bos_token\":1}", 19, &error), JSC_E_FORMAT, &error,
                   "c.json|add_bos_token");
    expect_refusal(tokenizer_apply_config(tok, "c.json", "[]", 2, &error), JSC_E_FORMAT, &error, "c.json|not a JSON object");
    expect_refusal(tokenizer_apply_config(tok, "c.json", "{", 1, &error), JSC_E_FORMAT, &error, "c.json");
    tokenizer_free(tok);
    json_decref(root);
}

/* Every prefix of a file and every byte changed: an error or a tokeniser, and nothing is lost. */
Test(tokenizer_json, mutants)
{
    json_t *root = small_tokenizer();
    added_token(root, 31, "<a>", "lrw");
    json_object_set_new(root, "pre_tokenizer", json_loads("{\"type\":\"ByteLevel\",\"add_prefix_space\":true}", 0, NULL));
    char *text = json_dumps(root, JSON_COMPACT);
    const size_t n = strlen(text), before = mem_live_bytes();
    for (size_t i = 0; i < 3 * n; i++) {
        struct tokenizer *tok = NULL;
        struct token_list got = {0};
        jsc_error error = {0};
        const char kept = text[i % n];
        text[i % n] = (char)(i < n ? kept : kept ^ (char)(1 + rng_u32(1, 0, i) % 127));
        if (tokenizer_from_json("m.json", text, i < n ? i : n, 40, &tok, &error) == JSC_OK)
            (void)tokenizer_encode(tok, "ab <a> c\xc3\xa9", 10, true, &got, &error);
        token_list_free(&got);
        tokenizer_free(tok);
        text[i % n] = kept;
        cr_assert(mem_live_bytes() == before, "mutant %zu leaks", i);
    }
    free(text);
    json_decref(root);
}
