/* test_json.c: strict JSON, bounded memory, typed fields; the reader without a tree agrees with jansson on what is valid. */
#include "support/refusal.h"

#include "files_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static json_t *parse(const char *text)
{
    json_t *root = NULL;
    jsc_error error = {0};
    cr_assert(json_parse("f.json", text, strlen(text), &root, &error) == JSC_OK, "%s: %s", text, error.text);
    return root;
}

static void refuse(int line, const char *text, size_t n, const char *words)
{
    json_t *root = NULL;
    jsc_error error = {0};
    expect_refusal_at(line, json_parse("f.json", text, n, &root, &error), JSC_E_FORMAT, &error, words);
    cr_expect(root == NULL && strncmp(error.text, "f.json: ", 8) == 0, "line %d: %s", line, error.text);
}
#define REFUSE(text, words) refuse(__LINE__, text, strlen(text), words)

TestSuite(json, .timeout = 60);

Test(json, strict)
{
    REFUSE("", "line 1");
    REFUSE("{\"a\":1,\"a\":2}", "duplicate object key");
    REFUSE("{\n\"a\":1,\n}", "line 3, column 1");
    REFUSE("{\"a\":NaN}", "line 1");
    REFUSE("{\"a\":1e999}", "line 1");
    REFUSE("{\"a\":99999999999999999999}", "line 1");
    REFUSE("{} x", "line 1");
    REFUSE("{\"a\":\"\xff\"}", "byte 6 is not UTF-8");
    REFUSE("{\"a\":\"\xed\xa0\x80\"}", "byte 6 is not UTF-8");
    refuse(__LINE__, "{}\0", 3, "line 1");
}

Test(json, case_43_nan_and_infinity_are_no_json)
{
    static const char *const words[] = {"NaN", "Infinity", "-Infinity", "nan", "inf", "1e400", "-1e400"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        char text[40];
        (void)snprintf(text, sizeof text, "{\"rms_norm_eps\":%s}", words[i]);
        REFUSE(text, "line 1");
    }
    /* doubles come back to the same bits */
    json_t *o = parse("{\"a\":0.1,\"b\":1.7976931348623157e308,\"c\":5e-324}");
    cr_expect(json_real_value(json_object_get(o, "a")) == 0.1 && json_real_value(json_object_get(o, "b")) == 1.7976931348623157e308 &&
              json_real_value(json_object_get(o, "c")) == 5e-324);
    json_decref(o);
}

Test(json, case_01_trees_larger_than_memory)
{
    /* 3 bytes of text are 170 bytes of tree: refused before it is built */
    struct strbuf s = {0};
    strbuf_puts(&s, "[");
    for (int i = 0; i < 1000000; i++)
        strbuf_puts(&s, "{},");
    strbuf_puts(&s, "1]");
    REFUSE(s.text, "bytes of memory; this is no model file");
    strbuf_free(&s);
    for (int i = 0; i < 3000; i++)
        strbuf_puts(&s, "[");
    REFUSE(s.text, "maximum parsing depth");
    strbuf_free(&s);
}

Test(json, fields)
{
    json_t *o = parse("{\"i\":7,\"big\":9007199254740993,\"r\":1.0,\"e\":1e-5,\"t\":true,\"s\":\"text\",\"n\":null,\"l\":[],\"o\":{}}");
    jsc_error error = {0};
    int64_t i = -1;
    double d = -1;
    bool b = false, present = true;
    const char *s = NULL;
    cr_expect(json_get_int("f", o, "i", 7, 7, &i, &present, &error) == JSC_OK && i == 7 && present);
    cr_expect(json_get_int("f", o, "big", 0, INT64_MAX, &i, NULL, &error) == JSC_OK && i == 9007199254740993);
    cr_expect(json_get_double("f", o, "i", 0, 10, &d, NULL, &error) == JSC_OK && d == 7.0);
    cr_expect(json_get_double("f", o, "e", 0, 10, &d, NULL, &error) == JSC_OK && d == 1e-5);
    cr_expect(json_get_bool("f", o, "t", &b, NULL, &error) == JSC_OK && b);
    cr_expect(json_get_string("f", o, "s", &s, NULL, &error) == JSC_OK && strcmp(s, "text") == 0);
    i = 4711;
    cr_expect(json_get_int("f", o, "n", 0, 1, &i, &present, &error) == JSC_OK && i == 4711 && !present);
    cr_expect(json_get_int("f", o, "absent", 0, 1, &i, &present, &error) == JSC_OK && i == 4711 && !present);
    expect_refusal(json_get_int("f.json", o, "i", 8, 9, &i, NULL, &error), JSC_E_FORMAT, &error, "f.json: i is 7, outside 8 to 9");
    expect_refusal(json_get_int("f.json", o, "r", 0, 9, &i, NULL, &error), JSC_E_FORMAT, &error,
                   "r is 1 (written as a fraction), a whole number is wanted");
    expect_refusal(json_get_int("f.json", o, "t", 0, 9, &i, NULL, &error), JSC_E_FORMAT, &error, "t is true, a whole number is wanted");
    expect_refusal(json_get_int("f.json", o, "s", 0, 9, &i, NULL, &error), JSC_E_FORMAT, &error, "s is the text \"text\"");
    expect_refusal(json_get_double("f.json", o, "l", 0, 9, &d, NULL, &error), JSC_E_FORMAT, &error, "l is a list, a number is wanted");
    expect_refusal(json_get_double("f.json", o, "e", 1, 9, &d, NULL, &error), JSC_E_FORMAT, &error, "outside 1 to 9");
    expect_refusal(json_get_bool("f.json", o, "i", &b, NULL, &error), JSC_E_FORMAT, &error, "i is a whole number, true or false");
    expect_refusal(json_get_string("f.json", o, "o", &s, NULL, &error), JSC_E_FORMAT, &error, "o is an object, text is wanted");
    json_decref(o);
}

/* ---- the reader without a tree ----------------------------------------------------------------------------------------------- */

static jsc_status skim(const char *text, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct json_reader r;
    TRY(json_reader_make(&r, "f", text, strlen(text), 0, error));
    TRY(json_reader_skip(&r, error));
    TRY(json_reader_end(&r, error));
done:
    return status;
}

Test(json, reader_agrees_with_jansson)
{
    static const char *const texts[] = {"{}",
                                        "[]",
                                        "[1,2]",
                                        "[1,]",
                                        "[,1]",
                                        "[1 2]",
                                        "{\"a\":1}",
                                        "{\"a\":1,}",
                                        "{\"a\"}",
                                        "{a:1}",
                                        "{\"a\":}",
                                        "{,}",
                                        "[",
                                        "{",
                                        "]",
                                        "\"x\"",
                                        "\"x",
                                        "\"\\n\\u00e9\\/\"",
                                        "\"\\q\"",
                                        "\"\\u12\"",
                                        "\"\\ud83d\\ude00\"",
                                        "\"\\ude00\"",
                                        "\"\\ud83d\\u0041\"",
                                        "\"a\nb\"",
                                        "0",
                                        "-0",
                                        "01",
                                        "-",
                                        "1.",
                                        ".5",
                                        "1.5",
                                        "1e5",
                                        "1e",
                                        "1e+",
                                        "1E-5",
                                        "+1",
                                        "true",
                                        "truex",
                                        "nul",
                                        "null",
                                        "false",
                                        "[true,false,null]",
                                        " [ 1 , { \"a\" : [ ] } ] ",
                                        "[1] 2",
                                        "\"\xc3\xa9\"",
                                        "\"\xc3\"",
                                        "{\"a\":{\"b\":[{}]}}",
                                        "\x01",
                                        "//",
                                        "[1}"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        json_error_t at;
        json_t *tree = json_loads(texts[i], JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &at);
        jsc_error error = {0};
        const jsc_status status = skim(texts[i], &error);
        cr_expect(status == (tree != NULL ? JSC_OK : JSC_E_FORMAT), "%s: jansson %s, reader %s", texts[i],
                  tree != NULL ? "takes it" : at.text, error.text);
        json_decref(tree);
    }
}

Test(json, reader_strings)
{
    struct json_reader r;
    jsc_error error = {0};
    char out[64];
    size_t n = 0;
    const char *text = "  \"a\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\ud83d\\ude00z\"";
    cr_assert(json_reader_make(&r, "f", text, strlen(text), 100, &error) == JSC_OK && json_reader_peek(&r) == '"');
    cr_expect(json_reader_string_size(&r) == strlen(text) - 2);
    cr_assert(json_reader_string(&r, out, &n, &error) == JSC_OK);
    cr_expect(n == 16 && strcmp(out, "a\"\\/\b\f\n\r\t\xc3\xa9\xf0\x9f\x98\x80z") == 0);
    cr_expect(json_reader_end(&r, &error) == JSC_OK);
    cr_assert(json_reader_make(&r, "f", "[12,x]", 6, 100, &error) == JSC_OK);
    expect_refusal(json_reader_skip(&r, &error), JSC_E_FORMAT, &error, "f: byte 104: a value is wanted");
}

Test(json, name_table_finds_every_name_and_no_other)
{
    enum { N = 5000 };
    static struct {
        const char *name;
        char text[24];
    } items[N];
    struct name_table *t = NULL;
    jsc_error error = {0};
    size_t found = 0;
    cr_assert(name_table_make(items, sizeof items[0], N, &t, &error) == JSC_OK);
    for (int i = 0; i < N; i++) {
        (void)snprintf(items[i].text, sizeof items[i].text, "%.*s%d", i % 9, "abcdefgh", i);
        items[i].name = items[i].text;
        cr_assert(name_table_add(t, (size_t)i, &found), "%s", items[i].name);
    }
    for (int i = 0; i < N; i++) {
        cr_assert(name_table_find(t, items[i].name, &found) && found == (size_t)i);
        cr_assert(name_table_add(t, (size_t)i, &found) == false && found == (size_t)i);
    }
    cr_expect(name_table_find(t, "", &found) == false && !name_table_find(t, "abcdefghi", &found));
    name_table_free(t);
}
