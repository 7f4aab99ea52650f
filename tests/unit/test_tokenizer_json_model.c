/* test_tokenizer_json_model.c: vocabulary and merges read without a tree: as strict as the rest, at the size of a real file, and how fast. */
#include "support/refusal.h"
#include "support/tokenizer_files.h"

#include <string.h>

TestSuite(tokenizer_json_model, .timeout = 120);

static void refuse(int line, const char *text, const char *words)
{
    struct tokenizer *tok = NULL;
    jsc_error error = {0};
    const size_t before = mem_live_bytes();
    expect_refusal_at(line, tokenizer_from_json("t.json", text, strlen(text), 10, &tok, &error), JSC_E_FORMAT, &error, words);
    cr_expect(strncmp(error.text, "t.json: ", 8) == 0, "line %d: no file name: %s", line, error.text);
    cr_expect(tok == NULL && mem_live_bytes() == before, "line %d: out was touched or memory leaks", line);
}
#define REFUSE(text, words) refuse(__LINE__, text, words)

static struct tokenizer *must(int line, const char *text)
{
    struct tokenizer *tok = NULL;
    jsc_error error = {0};
    cr_assert(tokenizer_from_json("t.json", text, strlen(text), 10, &tok, &error) == JSC_OK, "line %d: %s", line, error.text);
    return tok;
}

/* Any order of the members, any white space, escapes in tokens, brackets and quotes inside texts. */
Test(tokenizer_json_model, layouts)
{
    static const char *const files[] = {
        "{\"model\":{\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[\"a b\"]}}",
        "{\"model\":{\"merges\":[[\"a\",\"b\"]],\"vocab\":{\"a\":0,\"b\":1,\"ab\":2}},\"added_tokens\":[]}",
        " { \"x\" : [ \"]}\\\"\" , { } ] , \"model\" :\n{ \"merges\" : [ [ \"a\" , \"b\" ] ]\t,\r\n\"type\" : \"BPE\" , \"vocab\" : { "
        "\"\\u0061\" : 0 "
        ", \"b\" : 1 , \"a\\u0062\" : 2 } , \"y\" : { \"vocab\" : 1 } } , \"vocab\" : { \"a\" : 7 } , \"merges\" : 3 } \n"};
    for (int i = 0; i < 3; i++) {
        struct tokenizer *tok = must(__LINE__, files[i]);
        EXPECT_IDS(tok, "abba", false, "[2,1,0]");
        tokenizer_free(tok);
    }
    struct tokenizer *tok = must(__LINE__,
                                 "{\"model\":{\"vocab\":{\"[\":0,\"\\\"\":1,\"}\":2,\"\\\\\":3,\"\\ud83d\\ude00\":4},\"merges\":[]}}");
    EXPECT_IDS(tok, "}\"\\[\xf0\x9f\x98\x80", false, "[2,1,3,0,4]");
    tokenizer_free(tok);
    tok = must(__LINE__, "{\"model\":{\"vocab\":{},\"merges\":[]}}");
    EXPECT_IDS(tok, "a", false, "[]");
    tokenizer_free(tok);
}

Test(tokenizer_json_model, as_strict_as_a_tree)
{
    REFUSE("{\"model\":{\"vocab\":{\"a\":0,\"a\":1},\"merges\":[]}}", "byte 30|token \"a\"|twice|duplicate");
    REFUSE("{\"model\":{\"vocab\":{\"a\":0,\"\\u0061\":0},\"merges\":[]}}", "token \"a\"|twice");
    REFUSE("{\"model\":{\"vocab\":{\"a\":0},\"vocab\":{\"b\":0},\"merges\":[]}}", "duplicate");
    REFUSE("{\"model\":{\"vocab\":{\"a\":0},\"merges\":[],\"merges\":[]}}", "duplicate");
    REFUSE("{\"model\":{\"vocab\":{},\"merges\":[]},\"model\":{\"vocab\":{},\"merges\":[]}}", "duplicate");
    REFUSE("{\"model\":{\"vocab\":{\"a\":0,},\"merges\":[]}}", "byte 25|a value is wanted after ','");
    REFUSE("{\"model\":{\"vocab\":{\"a\" 0},\"merges\":[]}}", "byte 23|':' is wanted");
    REFUSE("{\"model\":{\"vocab\":{\"a\":0 \"b\":1},\"merges\":[]}}", "',' or '}' is wanted");
    REFUSE("{\"model\":{\"vocab\":{\"a\":0],\"merges\":[]}}", "',' or '}' is wanted");
    REFUSE("{\"model\":{\"vocab\":{\"a\":01},\"merges\":[]}}", "token \"a\"|is not an integer");
    REFUSE("{\"model\":{\"vocab\":{\"a\":{}},\"merges\":[]}}", "token \"a\"|is not an integer");
    REFUSE("{\"model\":{\"vocab\":{\"\\u0000\":0},\"merges\":[]}}", "U+0000");
    REFUSE("{\"model\":{\"vocab\":{\"\\ud800\":0},\"merges\":[]}}", "surrogate");
    REFUSE("{\"model\":{\"vocab\":{\"\t\":0},\"merges\":[]}}", "control character");
    REFUSE("{\"model\":{\"vocab\":{\"\xff\":0},\"merges\":[]}}", "byte 20|UTF-8");
    REFUSE("{\"model\":{\"vocab\":{\"a\":0},\"merges\":[[\"a\",\"a\",\"a\"]]}}", "merge 0");
    REFUSE("{\"model\":{\"vocab\":{\"a\":0},\"merges\":[[\"a\" \"a\"]]}}", "',' or ']' is wanted");
    REFUSE("{\"model\":{\"vocab\":{\"a\":0},\"merges\":[\"a a\",]}}", "merge 0"); /* "aa" is no token */
    REFUSE("{\"model\":{\"vocab\":{\"a\":0,\"aa\":1},\"merges\":[\"a a\",]}}", "a value is wanted after ','");
    REFUSE("{\"model\":{\"vocab\":{\"a\":0,\"aa\":1},\"merges\":[\"a a\"}}", "byte 50|',' or '}' is wanted");
    REFUSE("{\"model\":{\"vocab\":{\"a\":0}", "t.json");
    REFUSE("{\"model\":{\"vocab\":{\"a\":0},\"merges\":[", "t.json");
    REFUSE("{\"model\":{\"vocab\":{\"a", "t.json");
    /* what is left of the file is parsed with these tables cut out: errors still name the byte of the whole file */
    REFUSE("{\"model\":{\"vocab\":{\"a\":0},\n\"merges\":[],\n\"type\":nul}}", "line 3 (byte 50)");
    REFUSE("{\"model\":{\"vocab\":{\"a\":0},\"merges\":[]},\"added_tokens\":[1 2]}", "line 1 (byte 58)");
    REFUSE("{\"model\":{\"vocab\":{},\"merges\":[]}} x", "line 1 (byte 36)");
    REFUSE("{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"a\":0,\"a\":0}}}", "twice");
    REFUSE("{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",0.0],[\"b\",-]]}}", "a value is wanted");
    REFUSE("{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"a\":0},\"merges\":[1,]}}", "a value is wanted");
}

/* ---- a file of the size of Llama 3's ------------------------------------------------------------------------------------------ */

#define LETTERS 64
#define TOKENS  139000

/* Token k: one letter, two letters, then two and one. Each letter is three bytes of UTF-8. */
static size_t token_of(int k, char *out)
{
    const int letters[3] = {k < LETTERS ? k : k / LETTERS - 1, k % LETTERS, 0};
    size_t n = 0;
    if (k >= LETTERS + LETTERS * LETTERS) {
        const int rest = k - LETTERS - LETTERS * LETTERS;
        n = token_of(LETTERS + rest / LETTERS, out);
        return n + utf8_put(out + n, 0x1000U + (uint32_t)(rest % LETTERS));
    }
    for (int i = 0; i < (k < LETTERS ? 1 : 2); i++)
        n += utf8_put(out + n, 0x1000U + (uint32_t)letters[i]);
    return n;
}

static void put_merge(struct strbuf *s, const char *text, size_t left, size_t n)
{
    strbuf_printf(s, "%s\n      [\n        \"%.*s\",\n        \"%.*s\"\n      ]", s->text[s->n - 1] == '[' ? "" : ",", (int)left, text,
                  (int)(n - left), text + left);
}

/* As `tokenizers` writes it, indented; each longer token can be made in every way. */
static void make_large(struct strbuf *s)
{
    char text[16];
    strbuf_puts(s, "{\n  \"version\": \"1.0\",\n  \"added_tokens\": [],\n  \"model\": {\n    \"type\": \"BPE\",\n    \"vocab\": {");
    for (int k = 0; k < TOKENS; k++) {
        const size_t n = token_of(k, text);
        strbuf_printf(s, "%s\n      \"%.*s\": %d", k > 0 ? "," : "", (int)n, text, k);
    }
    strbuf_puts(s, "\n    },\n    \"merges\": [");
    for (int k = LETTERS; k < TOKENS; k++) {
        const size_t n = token_of(k, text);
        for (size_t left = 3; left < n; left += 3)
            put_merge(s, text, left, n);
    }
    strbuf_puts(s, "\n    ]\n  }\n}\n");
    cr_assert(s->failed == false);
}

Test(tokenizer_json_model, as_large_as_llama_3)
{
    struct strbuf s = {0};
    struct tokenizer *tok = NULL;
    struct token_list got = {0};
    jsc_error error = {0};
    char text[16];
    make_large(&s);
    cr_assert(s.n > 16000000 && s.n < 18000000, "%zu bytes", s.n);
    const double begun = clock_seconds();
    cr_assert(tokenizer_from_json("large.json", s.text, s.n, TOKENS, &tok, &error) == JSC_OK, "%s", error.text);
    cr_log_info("%.1f MB of tokenizer.json, %d tokens: ready in %.3f s", 1e-6 * (double)s.n, TOKENS, clock_seconds() - begun);
    strbuf_free(&s);
    for (int k = 0; k < TOKENS; k += 997) {
        const size_t n = token_of(k, text);
        cr_assert(tokenizer_encode(tok, text, n, true, &got, &error) == JSC_OK, "%s", error.text);
        cr_expect(got.n == 1 && got.ids[0] == k, "token %d: %zu ids, the first %d", k, got.n, got.n > 0 ? got.ids[0] : -1);
        token_list_free(&got);
    }
    tokenizer_free(tok);
}
