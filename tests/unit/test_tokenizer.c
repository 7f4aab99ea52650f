/* test_tokenizer.c: text to ids and ids to text against the reference's values; the tokeniser's cases; threads; failing allocations. */
#include "support/refusal.h"
#include "support/tokenizer_files.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

TestSuite(tokenizer, .timeout = 120);

static const char *const kinds[] = {"gpt2",   "smollm",   "llama3",     "qwen2",         "qwen35", "o200k",
                                    "tekken", "deepseek", "spm_legacy", "spm_metaspace", "gemma",  "phi3"};
#define ROWS 700 /* a few more than the kinds have tokens */

static struct tokenizer *family(const char *name)
{
    char file[32];
    (void)snprintf(file, sizeof file, "%s.json", name);
    json_t *root = tokenizer_golden(file);
    struct tokenizer *tok = tokenizer_must(root, ROWS);
    json_decref(root);
    return tok;
}

static json_t *family_ids(const char *name)
{
    char file[32];
    (void)snprintf(file, sizeof file, "%s.ids.json", name);
    return tokenizer_golden(file);
}

Test(tokenizer, case_19_kinds_as_the_reference)
{
    json_t *texts = tokenizer_golden("texts.json");
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct tokenizer *tok = family(kinds[i]);
        json_t *ids = family_ids(kinds[i]), *own = json_object_get(ids, "own");
        cr_expect(tokenizer_takes_text(tok), "%s: %s", kinds[i], tokenizer_describe(tok));
        cr_assert(json_array_size(json_object_get(ids, "plain")) >= 200 && json_array_size(json_object_get(ids, "special")) == 20);
        expect_all_ids(kinds[i], tok, texts, json_object_get(ids, "plain"), false);
        expect_all_ids(kinds[i], tok, texts, json_object_get(ids, "special"), true);
        if (own != NULL)
            expect_all_ids(kinds[i], tok, own, json_object_get(ids, "own_ids"), true);
        json_decref(ids);
        tokenizer_free(tok);
    }
    json_decref(texts);
}

/* Every option of a pipeline by itself: normalisers, pre-tokenisers, post-processors, model flags. */
Test(tokenizer, case_19_parts_as_the_reference)
{
    json_t *root = tokenizer_golden("parts.json"), *part = NULL;
    size_t i = 0;
    cr_assert(json_array_size(json_object_get(root, "parts")) > 30);
    json_array_foreach(json_object_get(root, "parts"), i, part)
    {
        const char *name = json_string_value(json_object_get(part, "name"));
        json_t *file = json_object_get(part, "file");
        json_t *model = json_copy(json_object_get(json_object_get(root, "models"), json_string_value(json_object_get(part, "model"))));
        json_object_update(model, json_object_get(part, "options"));
        json_object_set_new(file, "model", model);
        struct tokenizer *tok = tokenizer_must(file, 2000);
        cr_expect(tokenizer_takes_text(tok), "%s: %s", name, tokenizer_describe(tok));
        expect_all_ids(name, tok, json_object_get(part, "texts"), json_object_get(part, "plain"), false);
        expect_all_ids(name, tok, json_object_get(part, "texts"), json_object_get(part, "special"), true);
        tokenizer_free(tok);
    }
    json_decref(root);
}

/* The cached model, or NULL. */
static struct tokenizer *default_model(struct gguf **gguf)
{
    char path[512] = "";
    const char *cache = getenv("JSCOPES_CACHE"), *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    struct tokenizer *tok = NULL;
    jsc_error error = {0};
    if (cache != NULL && cache[0] != '\0')
        (void)snprintf(path, sizeof path, "%s/models/smollm2-135m/model.gguf", cache);
    else if (xdg != NULL && xdg[0] != '\0')
        (void)snprintf(path, sizeof path, "%s/jscopes/models/smollm2-135m/model.gguf", xdg);
    else
        (void)snprintf(path, sizeof path, "%s/.cache/jscopes/models/smollm2-135m/model.gguf", home != NULL ? home : "");
    if (access(path, R_OK) != 0)
        return NULL;
    cr_assert(gguf_open(path, gguf, &error) == JSC_OK, "%s", error.text);
    cr_assert(tokenizer_from_gguf(*gguf, 49152, &tok, &error) == JSC_OK, "%s", error.text);
    return tok;
}

Test(tokenizer, case_19_default_model_as_the_reference)
{
    struct gguf *gguf = NULL;
    struct tokenizer *tok = default_model(&gguf);
    if (tok == NULL)
        cr_skip_test("the default model is not in the cache: jscopes fetch smollm2-135m");
    json_t *texts = tokenizer_golden("texts.json"), *ids = tokenizer_golden("smollm2.ids.json");
    expect_all_ids("smollm2-135m", tok, texts, json_object_get(ids, "plain"), true);
    EXPECT_IDS(tok, "The capital of France is", true, "[504,3575,282,4649,314]");
    cr_expect_str_eq(tokenizer_describe(tok), "BPE from GGUF, pre-tokeniser smollm, 49152 tokens");
    cr_expect(tokenizer_bos(tok) == 1 && tokenizer_eos(tok) == 2 && !tokenizer_adds_bos(tok));
    json_decref(ids);
    json_decref(texts);
    tokenizer_free(tok);
    gguf_close(gguf);
}

Test(tokenizer, long_text_without_spaces)
{
    struct gguf *gguf = NULL;
    struct tokenizer *tok = default_model(&gguf);
    if (tok == NULL)
        tok = family("smollm");
    const size_t n = 1000000;
    char *text = malloc(n);
    cr_assert(text != NULL);
    memset(text, 'a', n);
    struct token_list got = {0};
    jsc_error error = {0};
    const double begun = clock_seconds();
    cr_assert(tokenizer_encode(tok, text, n, true, &got, &error) == JSC_OK, "%s", error.text);
    cr_log_info("1 MB of one letter: %.2f s, %zu tokens", clock_seconds() - begun, got.n);
    cr_expect(lt(dbl, clock_seconds() - begun, 20.0)); /* the sanitizers take their share; quadratic work would take hours */
    cr_expect(gguf == NULL || (got.n == 250000 && got.ids[0] == 46880 && got.ids[got.n - 1] == 46880));
    token_list_free(&got);
    free(text);
    tokenizer_free(tok);
    gguf_close(gguf);
}

static const char *token_is(const struct tokenizer *tok, int32_t id, const char *want, size_t n)
{
    static char line[128];
    const char *bytes = NULL;
    size_t length = 0;
    jsc_error error = {0};
    if (tokenizer_token(tok, id, &bytes, &length, &error) != JSC_OK)
        return "an error";
    (void)snprintf(line, sizeof line, "\"%.*s\" (%zu bytes)", (int)length, bytes, length);
    return length == n && memcmp(bytes, want, n) == 0 ? NULL : line;
}
#define EXPECT_TOKEN(tok, id, want, n)                                                                                                     \
    do {                                                                                                                                   \
        const char *bad_ = token_is(tok, id, want, n);                                                                                     \
        cr_expect(bad_ == NULL, "token %d is %s", (int)(id), bad_);                                                                        \
    } while (0)

/* Decoding the ids of a text gives the text back (qwen2 normalises, the others leave every byte). */
Test(tokenizer, token_bytes_add_up_to_the_text)
{
    json_t *texts = tokenizer_golden("texts.json"), *text = NULL;
    struct tokenizer *tok = family("gpt2");
    size_t i = 0;
    json_array_foreach(texts, i, text)
    {
        if (strstr(json_string_value(text), "<") != NULL || strstr(json_string_value(text), "rm") != NULL)
            continue; /* added tokens swallow white space */
        struct token_list got = {0};
        struct strbuf back = {0};
        cr_assert(tokenizer_encode(tok, json_string_value(text), json_string_length(text), false, &got, NULL) == JSC_OK);
        for (size_t k = 0; k < got.n; k++) {
            const char *bytes = NULL;
            size_t n = 0;
            cr_assert(tokenizer_token(tok, got.ids[k], &bytes, &n, NULL) == JSC_OK);
            strbuf_add(&back, bytes, n);
        }
        cr_expect(back.n == json_string_length(text) && memcmp(back.text != NULL ? back.text : "", json_string_value(text), back.n) == 0,
                  "text %zu", i);
        strbuf_free(&back);
        token_list_free(&got);
    }
    tokenizer_free(tok);
    json_decref(texts);
}

Test(tokenizer, case_21_text_beside_added_tokens)
{
    json_t *root = small_tokenizer();
    added_token(root, 31, "<a>", "s");
    added_token(root, 32, "<l>", "ls");
    added_token(root, 33, "<r>", "rs");
    added_token(root, 34, "<w>", "ws");
    added_token(root, 35, "a>", "s");
    struct tokenizer *tok = tokenizer_must(root, 40);
    EXPECT_IDS(tok, "<a>xa>", false, "[31,23,35]");
    EXPECT_IDS(tok, "a<a> b", false, "[0,31,26,1]");
    EXPECT_IDS(tok, "<a>b", false, "[31,1]");
    EXPECT_IDS(tok, "a <a>", false, "[0,26,31]");
    EXPECT_IDS(tok, "a  <l> b", false, "[0,32,26,1]");
    EXPECT_IDS(tok, "a <r>  b", false, "[0,26,33,1]");
    EXPECT_IDS(tok, "<r> \xe3\x80\x80 <l>", false, "[33,32]");
    EXPECT_IDS(tok, "a<w>", false, "[0,27,22,28]");
    EXPECT_IDS(tok, "a <w> b", false, "[0,26,34,26,1]");
    EXPECT_IDS(tok, "<w>", false, "[34]");
    EXPECT_IDS(tok, "a<a", false, "[0,27,0]");
    tokenizer_free(tok);
    json_decref(root);
}

/* White space that each of many matches would swallow again. */
Test(tokenizer, case_21_much_white_space)
{
    enum { N = 1000000 };
    json_t *root = small_tokenizer();
    added_token(root, 31, "  ", "lrs");
    struct tokenizer *tok = tokenizer_must(root, 40);
    char *text = malloc(N);
    struct token_list got = {0};
    cr_assert(text != NULL);
    memset(text, ' ', N);
    const double begun = clock_seconds();
    cr_assert(tokenizer_encode(tok, text, N, false, &got, NULL) == JSC_OK);
    cr_expect(got.n == 1 && got.ids[0] == 31, "%zu tokens", got.n);
    cr_expect(lt(dbl, clock_seconds() - begun, 10.0));
    token_list_free(&got);
    free(text);
    tokenizer_free(tok);
    json_decref(root);
}

/* Two added tokens that the normaliser makes equal: the reference takes either, from run to run. */
Test(tokenizer, case_21_equal_after_normalising)
{
    jsc_error error = {0};
    struct token_list got = {0};
    json_t *root = small_tokenizer();
    json_object_set_new(root, "normalizer", json_pack("{s:s}", "type", "Lowercase"));
    added_token(root, 31, "XY", "n");
    added_token(root, 32, "Xy", "s");
    struct tokenizer *tok = tokenizer_must(root, 40);
    EXPECT_IDS(tok, "xyXYxYXyb", false, "[31,31,31,32,1]");
    tokenizer_free(tok);
    added_token(root, 33, "xY", "ns");
    tok = tokenizer_must(root, 40);
    expect_refusal(tokenizer_encode(tok, "b", 1, false, &got, &error), JSC_E_UNSUPPORTED, &error, "makes equal (\"xy\")|ids");
    tokenizer_free(tok);
    json_decref(root);
}

static json_t *template_of(int bos)
{
    return json_pack("{s:s, s:[{s:{s:s, s:i}}, {s:{s:s, s:i}}], s:{s:{s:s, s:[i]}}}", "type", "TemplateProcessing", "single",
                     "SpecialToken", "id", "<a>", "type_id", 0, "Sequence", "id", "A", "type_id", 0, "special_tokens", "<a>", "id", "<a>",
                     "ids", bos);
}

Test(tokenizer, case_22_doubled_bos)
{
    json_t *root = small_tokenizer();
    added_token(root, 31, "<a>", "s");
    json_object_set_new(root, "post_processor", template_of(31));
    struct tokenizer *tok = tokenizer_must(root, 40);
    cr_expect(tokenizer_bos(tok) == 31 && tokenizer_adds_bos(tok));
    EXPECT_IDS(tok, "<a>b", true, "[31,31,1]");
    EXPECT_IDS(tok, "<a>b", false, "[31,1]");
    cr_expect(strstr(text_warning(tok, "<a>b", 4, true), "two") != NULL, "%s", text_warning(tok, "<a>b", 4, true));
    cr_expect_str_eq(text_warning(tok, "<a>b", 4, false), "");
    cr_expect_str_eq(text_warning(tok, "b<a>", 4, true), "");
    tokenizer_free(tok);
    json_decref(root);
}

Test(tokenizer, case_23_bos_zero_or_none)
{
    json_t *root = small_tokenizer();
    struct tokenizer *tok = tokenizer_must(root, 40);
    cr_expect(tokenizer_bos(tok) == -1 && !tokenizer_adds_bos(tok) && tokenizer_eos(tok) == -1);
    EXPECT_IDS(tok, "b", true, "[1]");
    tokenizer_free(tok);
    json_object_set_new(root, "post_processor", template_of(0)); /* id 0 is an id */
    tok = tokenizer_must(root, 40);
    cr_expect(tokenizer_bos(tok) == 0 && tokenizer_adds_bos(tok));
    EXPECT_IDS(tok, "b", true, "[0,1]");
    EXPECT_IDS(tok, "b", false, "[1]");
    tokenizer_free(tok);
    json_decref(root);
}

Test(tokenizer, case_25_whole_pieces_and_bytes)
{
    json_t *root = small_tokenizer(), *vocab = json_object_get(model_of(root), "vocab");
    json_object_set_new(vocab, "xyz", json_integer(31)); /* no merge leads here */
    struct tokenizer *tok = tokenizer_must(root, 400);
    EXPECT_IDS(tok, "xyz", false, "[23,24,25]");
    tokenizer_free(tok);
    json_object_set_new(model_of(root), "ignore_merges", json_true());
    tok = tokenizer_must(root, 400);
    EXPECT_IDS(tok, "xyz", false, "[31]");
    EXPECT_IDS(tok, "xyza", false, "[23,24,25,0]");
    EXPECT_IDS(tok, "abc", false, "[30]");
    tokenizer_free(tok);
    json_object_set_new(model_of(root), "byte_fallback", json_true());
    for (int i = 0; i < 256; i++) {
        char name[8];
        (void)snprintf(name, sizeof name, "<0x%02X>", (unsigned)i);
        json_object_set_new(vocab, name, json_integer(32 + i));
    }
    tok = tokenizer_must(root, 400);
    EXPECT_IDS(tok, "a\xc3\xa9", false, "[0,227,201]");
    EXPECT_TOKEN(tok, 227, "\xc3", 1);
    tokenizer_free(tok);
    json_object_set_new(model_of(root), "byte_fallback", json_false());
    tok = tokenizer_must(root, 400);
    EXPECT_IDS(tok, "a\xc3\xa9", false, "[0]");
    tokenizer_free(tok);
    json_decref(root);
}

Test(tokenizer, case_26_characters_that_cannot_be_expressed)
{
    struct tokenizer *tok = family("smollm"); /* lacks the bytes 04 06 13 14 16 1D F1 F2 */
    const char *warning = text_warning(tok,
                                       "ab\x16"
                                       "cd\xf1\x80\x80\x80\x04",
                                       10, true);
    cr_expect(strstr(warning, "U+0016 at byte 2, U+40000 at byte 5, U+0004 at byte 9") != NULL, "%s", warning);
    cr_expect_str_eq(text_warning(tok, "abcd", 4, true), "");
    warning = text_warning(tok, "<s>  \x16", 6, true);
    cr_expect(strstr(warning, "U+0016 at byte 5: ") != NULL, "%s", warning);
    warning = text_warning(tok, "\x16\x16\x16\x16\x16\x16\x16\x16\x16\x16", 10, true);
    cr_expect(strstr(warning, "U+0016 at byte 7 and 2 more") != NULL, "%s", warning);
    struct token_list with = {0}, without = {0};
    cr_assert(tokenizer_encode(tok,
                               "ab\x16"
                               "cd",
                               5, true, &with, NULL) == JSC_OK);
    cr_assert(tokenizer_encode(tok, "abcd", 4, true, &without, NULL) == JSC_OK);
    cr_expect(with.n == 3 || with.n == 4 || with.n == without.n);
    cr_expect(with.n_warnings == 1 && without.n_warnings == 0);
    token_list_free(&with);
    token_list_free(&without);
    tokenizer_free(tok);
}

Test(tokenizer, case_27_rows_without_tokens_and_ids_beyond)
{
    jsc_error error = {0};
    const char *bytes = NULL;
    size_t n = 0;
    json_t *root = small_tokenizer();
    added_token(root, 31, "<a>", "s");
    struct tokenizer *tok = tokenizer_must(root, 35);
    EXPECT_TOKEN(tok, 29, "ab", 2);
    EXPECT_TOKEN(tok, 31, "<a>", 3);
    EXPECT_TOKEN(tok, 34, "<id 34>", 7);
    const int32_t outside[] = {35, -1, INT32_MAX, INT32_MIN};
    for (int i = 0; i < 4; i++)
        expect_refusal(tokenizer_token(tok, outside[i], &bytes, &n, &error), JSC_E_ARGUMENT, &error, "outside the vocabulary|0 to 34");
    tokenizer_free(tok);
    tok = tokenizer_must(root, 30); /* fewer rows than tokens */
    const char *const *warnings = NULL;
    cr_assert(tokenizer_warnings(tok, &warnings) == 1 && strstr(warnings[0], "1 tokens have ids beyond the embedding's 30 rows") != NULL);
    EXPECT_IDS(tok, "abd", false, "[29,3]");
    struct token_list got = {0};
    expect_refusal(tokenizer_encode(tok, "abc", 3, false, &got, &error), JSC_E_FORMAT, &error, "token 30|30 rows");
    expect_refusal(tokenizer_encode(tok, "<a>", 3, false, &got, &error), JSC_E_FORMAT, &error, "token 31|30 rows");
    cr_expect(got.ids == NULL && got.n == 0);
    tokenizer_free(tok);
    json_decref(root);
}

Test(tokenizer, case_38_empty_text)
{
    json_t *root = small_tokenizer();
    struct tokenizer *tok = tokenizer_must(root, 40);
    EXPECT_IDS(tok, "", true, "[]");
    struct token_list got = {0};
    cr_expect(tokenizer_encode(tok, NULL, 0, true, &got, NULL) == JSC_OK && got.n == 0);
    token_list_free(&got);
    tokenizer_free(tok);
    json_object_set_new(root, "post_processor", template_of(0));
    tok = tokenizer_must(root, 40);
    EXPECT_IDS(tok, "", true, "[0]"); /* with BOS it is one token */
    EXPECT_IDS(tok, "", false, "[]");
    tokenizer_free(tok);
    json_decref(root);
}

Test(tokenizer, invalid_utf8_is_named_by_its_offset)
{
    struct tokenizer *tok = family("gpt2");
    jsc_error error = {0};
    struct token_list got = {0};
    static const struct {
        char bytes[8], words[32];
        size_t n;
    } bad[] = {{"\xff", "0xFF at offset 0", 1},
               {"\xc0\x80", "0xC0 at offset 0", 2},
               {"\xed\xa0\x80", "0xED at offset 0", 3},
               {"\xe2\x82", "0xE2 at offset 0", 2},
               {"\xf5\x80\x80\x80", "0xF5 at offset 0", 4},
               {"a\xff"
                "b",
                "0xFF at offset 1", 3}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        expect_refusal(tokenizer_encode(tok, bad[i].bytes, bad[i].n, true, &got, &error), JSC_E_ARGUMENT, &error, bad[i].words);
    cr_expect(got.ids == NULL);
    tokenizer_free(tok);
}

/* ---- threads ------------------------------------------------------------------------------------------------------------------- */

struct job {
    const struct tokenizer *tok;
    const json_t *texts, *want;
    int wrong;
};

static void *encode_all(void *argument)
{
    struct job *job = argument;
    for (int round = 0; round < 3; round++)
        for (size_t i = 0; i < json_array_size(job->want); i++) {
            const json_t *text = json_array_get(job->texts, i), *want = json_array_get(job->want, i);
            struct token_list got = {0};
            if (tokenizer_encode(job->tok, json_string_value(text), json_string_length(text), false, &got, NULL) != JSC_OK ||
                got.n != json_array_size(want))
                job->wrong++;
            for (size_t k = 0; k < got.n && k < json_array_size(want); k++)
                job->wrong += got.ids[k] != json_integer_value(json_array_get(want, k));
            token_list_free(&got);
        }
    return NULL;
}

Test(tokenizer, four_threads_on_one_tokenizer)
{
    json_t *texts = tokenizer_golden("texts.json"), *ids = family_ids("qwen2");
    struct tokenizer *tok = family("qwen2");
    struct job jobs[4];
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        jobs[i] = (struct job){tok, texts, json_object_get(ids, "plain"), 0};
        cr_assert(pthread_create(&threads[i], NULL, encode_all, &jobs[i]) == 0);
    }
    for (int i = 0; i < 4; i++) {
        cr_assert(pthread_join(threads[i], NULL) == 0);
        cr_expect(jobs[i].wrong == 0, "thread %d: %d wrong", i, jobs[i].wrong);
    }
    tokenizer_free(tok);
    json_decref(ids);
    json_decref(texts);
}

/* ---- failing allocations ---------------------------------------------------------------------------------------------------------- */

Test(tokenizer, every_allocation_may_fail)
{
    json_t *root = tokenizer_golden("qwen2.json");
    char *text = json_dumps(root, JSON_COMPACT);
    static const char config[] = "{\"add_bos_token\":true,\"bos_token\":\"<s>\",\"eos_token\":\"nowhere\"}";
    static const char prompt[] = "It's <s> e\xcc\x81 n\xc3\xb6rm <left> 12 \xe1\x84\x80\xe1\x85\xa1 <word>";
    bool finished = false;
    for (int keep = 0; keep < 2; keep++, finished = false)
        for (long k = 1; !finished; k++) {
            struct tokenizer *tok = NULL;
            struct token_list got = {0};
            jsc_error error = {0};
            const size_t before = mem_live_bytes();
            mem_fail_at(k, keep == 1);
            jsc_status status = tokenizer_from_json("tokenizer.json", text, strlen(text), ROWS, &tok, &error);
            if (status == JSC_OK)
                status = tokenizer_apply_config(tok, "tokenizer_config.json", config, strlen(config), &error);
            if (status == JSC_OK)
                status = tokenizer_encode(tok, prompt, strlen(prompt), true, &got, &error);
            finished = mem_calls() < k;
            mem_fail_at(0, false);
            cr_assert(status == JSC_OK || (status == JSC_E_MEMORY && error.text[0] != '\0'), "allocation %ld: %s", k, error.text);
            cr_assert(status != JSC_OK || tok == NULL || tokenizer_takes_text(tok), "allocation %ld: %s", k, tokenizer_describe(tok));
            token_list_free(&got);
            tokenizer_free(tok);
            cr_assert(mem_live_bytes() == before, "allocation %ld leaks %zu bytes", k, mem_live_bytes() - before);
            cr_assert(k < 100000);
        }
    free(text);
    json_decref(root);
}
