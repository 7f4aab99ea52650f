/* test_safetensors.c: every row of the refusal table of docs/formats.md, shards and index, memory, failing allocations. */
#include "support/refusal.h"
#include "support/tiny_files.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[128];

static void setup(void)
{
    tiny_folder(folder);
}

static void teardown(void)
{
    tiny_remove(folder);
}

TestSuite(safetensors, .init = setup, .fini = teardown, .timeout = 60);

/* Opens a file of these bytes. */
static jsc_status open_bytes(const void *bytes, size_t n, struct tensor_set **out, jsc_error *error)
{
    tiny_write(tiny_path(folder, "x.safetensors"), bytes, n);
    return safetensors_open_file(tiny_path(folder, "x.safetensors"), out, error);
}

static jsc_status open_header(const char *header, size_t data, struct tensor_set **out, jsc_error *error)
{
    struct strbuf s = {0};
    tiny_safetensors(&s, header, data);
    const jsc_status status = open_bytes(s.text, s.n, out, error);
    strbuf_free(&s);
    return status;
}

static void refuse(int line, const char *header, size_t data, jsc_status want, const char *words)
{
    struct tensor_set *set = NULL;
    jsc_error error = {0};
    expect_refusal_at(line, open_header(header, data, &set, &error), want, &error, words);
    cr_expect(strstr(error.text, "x.safetensors") != NULL, "line %d: no file name: %s", line, error.text);
    cr_expect(set == NULL, "line %d: out was touched", line);
    tensor_set_free(set);
}
#define REFUSE(header, data, words) refuse(__LINE__, header, data, JSC_E_FORMAT, words)

#define A4 "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}"

Test(safetensors, a_plain_file)
{
    struct tensor_set *set = NULL;
    jsc_error error = {0};
    cr_assert(eq(int,
                 open_header("{\"__metadata__\":{\"format\":\"pt\"}," A4
                             ",\"b.w\":{\"dtype\":\"BF16\",\"shape\":[2,3],\"data_offsets\":[4,16],\"extra\":[{}]}}  ",
                             16, &set, &error),
                 JSC_OK),
              "%s", error.text);
    const struct tensor *b = tensor_find(set, "b.w");
    cr_assert(b != NULL && tensor_find(set, "a") != NULL && tensor_find(set, "c") == NULL && tensor_find(set, "") == NULL);
    cr_expect(b->rank == 2 && b->shape[0] == 2 && b->shape[1] == 3 && b->type == DTYPE_BF16 && b->known_type && b->n_bytes == 12 &&
              b->n_elements == 6);
    cr_expect(b->bytes[0] == (4 * 37 & 0xff) && strcmp(b->type_name, "BF16") == 0);
    tensor_set_free(set);
}

Test(safetensors, legal_but_unusual)
{
    struct tensor_set *set = NULL;
    jsc_error error = {0};
    /* rank 0, empty tensors at one offset, empty name, escapes, other types, unpadded header, data order unlike header order */
    const char *header =
        "{\"z\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[5,13]},\"\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[1,5]},"
        "\"m\\u00e9\\n\\\"\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
        "\"e1\":{\"data_offsets\":[5,5],\"shape\":[0,7],\"dtype\":\"F64\"},\"e2\":{\"dtype\":\"F16\",\"shape\":[0],\"data_offsets\":[5,5]},"
        "\"f4\":{\"dtype\":\"F4\",\"shape\":[2,3],\"data_offsets\":[13,16]},\"__metadata__\":null}";
    cr_assert(eq(int, open_header(header, 16, &set, &error), JSC_OK), "%s", error.text);
    cr_expect(set->n == 6 && tensor_find(set, "")->rank == 0 && tensor_find(set, "")->n_elements == 1);
    cr_expect(tensor_find(set, "m\xc3\xa9\n\"") != NULL && !tensor_find(set, "z")->known_type);
    cr_expect(tensor_find(set, "e1")->n_elements == 0);
    tensor_set_free(set);
    /* the product is taken left to right, so a leading 0 hides what follows */
    set = NULL;
    cr_expect(eq(int,
                 open_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[0,4294967296,4294967296],\"data_offsets\":[0,0]}}", 0, &set, &error),
                 JSC_OK));
    tensor_set_free(set);
}

Test(safetensors, case_01_header_claims_more)
{
    struct tensor_set *set = NULL;
    jsc_error error = {0};
    const uint64_t sizes[] = {UINT64_MAX, (uint64_t)1 << 63, 100000001, 100000000, 17};
    const char *const words[] = {"header of 18446744073709551615 bytes|24 bytes", "header of 9223372036854775808 bytes, limit is 100000000",
                                 "header of 100000001 bytes, limit is", "header of 100000000 bytes in a file of 24 bytes",
                                 "header of 17 bytes in a file of 24 bytes"};
    for (int i = 0; i < 5; i++) {
        char bytes[24] = {0};
        memcpy(bytes, &sizes[i], 8);
        const size_t before = mem_live_bytes();
        expect_refusal(open_bytes(bytes, sizeof bytes, &set, &error), JSC_E_FORMAT, &error, words[i]);
        cr_expect(mem_live_bytes() == before, "size %d leaks", i);
    }
    expect_refusal(open_bytes("abc", 3, &set, &error), JSC_E_FORMAT, &error, "truncated: 3 bytes, a safetensors file has at least 8");
    expect_refusal(open_bytes("", 0, &set, &error), JSC_E_FORMAT, &error, "truncated: 0 bytes");
    expect_refusal(safetensors_open_file(tiny_path(folder, "none"), &set, &error), JSC_E_FILE, &error, "none|No such file");
}

Test(safetensors, header_is_strict_json)
{
    REFUSE("", 0, "does not begin with '{'");
    REFUSE(" {" A4 "}", 4, "does not begin with '{'");
    REFUSE("\xef\xbb\xbf{" A4 "}", 4, "does not begin with '{'");
    REFUSE("[]", 0, "does not begin with '{'");
    REFUSE("{" A4 ",\"b\xff\":1}", 4, "byte 64: not UTF-8");
    REFUSE("{" A4 "}x", 4, "something follows the end");
    REFUSE("{" A4 ",}", 4, "byte");
    REFUSE("{" A4, 4, "byte");
    REFUSE("{\"a\" 1}", 0, "byte|':' is wanted");
    REFUSE("{\"a\":01}", 0, "byte");
    REFUSE("{\"a\":1.}", 0, "byte");
    REFUSE("{\"a\":tru}", 0, "byte");
    REFUSE("{\"a\tb\":1}", 0, "control character");
    REFUSE("{\"a\\x\":1}", 0, "escape");
    REFUSE("{\"\\ud800\":1}", 0, "surrogate");
    REFUSE("{\"a\\u0000b\":1}", 0, "U+0000");
    REFUSE("{}", 0, "holds no tensors");
    REFUSE("{\"__metadata__\":{}}", 0, "holds no tensors");
    struct strbuf deep = {0};
    strbuf_puts(&deep, "{\"a\":");
    for (int i = 0; i < 100000; i++)
        strbuf_puts(&deep, "[");
    refuse(__LINE__, deep.text, 0, JSC_E_FORMAT, "nested deeper than 128");
    strbuf_free(&deep);
}

Test(safetensors, trailing_nul_is_refused)
{
    struct strbuf s = {0};
    struct tensor_set *set = NULL;
    jsc_error error = {0};
    tiny_safetensors(&s, "{" A4 "}#", 4);
    *strchr(s.text + 8, '#') = '\0';
    expect_refusal(open_bytes(s.text, s.n, &set, &error), JSC_E_FORMAT, &error, "something follows");
    strbuf_free(&s);
}

Test(safetensors, case_03_names_that_occur_twice)
{
    REFUSE("{" A4 "," A4 "}", 4, "tensor a is listed twice");
    REFUSE("{" A4 ",\"\\u0061\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8, "tensor a is listed twice");
    REFUSE("{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}," A4 "}", 4, "__metadata__ lists k twice");
    REFUSE("{\"__metadata__\":{},\"__metadata__\":null," A4 "}", 4, "__metadata__ is listed twice");
    REFUSE("{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "tensor a: field dtype is given twice");
    REFUSE("{\"a\":{\"dtype\":\"F32\",\"x\":1,\"x\":2,\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "tensor a: field x is given twice");
}

Test(safetensors, entries)
{
    REFUSE("{\"__metadata__\":{\"k\":1}," A4 "}", 4, "a value of __metadata__ is not text");
    REFUSE("{\"__metadata__\":7," A4 "}", 4, "byte");
    REFUSE("{\"a\":[\"F32\",[1],[0,4]]}", 4, "tensor a: not an object");
    REFUSE("{\"a\":{\"dtype\":\"F33\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "tensor a: element type F33 is unknown");
    REFUSE("{\"a\":{\"dtype\":\"f32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "element type f32 is unknown");
    REFUSE("{\"a\":{\"dtype\":32,\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "tensor a: dtype is not text");
    REFUSE("{\"a\":{\"dtype\":\"0123456789012345678901234567890123456789012345678901234567890\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4,
           "is unknown");
    REFUSE("{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "field dtype is absent");
    REFUSE("{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, "field shape is absent");
    REFUSE("{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "field data_offsets is absent");
    static const char *const numbers[] = {"-1", "1.0", "1e0", "-0", "\"1\"", "18446744073709551616", "true", "null", "[1]"};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        char header[200], words[100];
        (void)snprintf(header, sizeof header, "{\"a\":{\"dtype\":\"F32\",\"shape\":[%s],\"data_offsets\":[0,4]}}", numbers[i]);
        (void)snprintf(words, sizeof words, "tensor a: shape is %s", numbers[i]);
        refuse(__LINE__, header, 4, JSC_E_FORMAT, numbers[i][0] == '[' ? "tensor a: shape" : words);
        (void)snprintf(header, sizeof header, "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,%s]}}", numbers[i]);
        refuse(__LINE__, header, 4, JSC_E_FORMAT, "tensor a: data_offsets");
    }
    REFUSE("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, "data_offsets has 1 numbers, 2 are wanted");
    refuse(__LINE__, "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,4]}}", 4, JSC_E_UNSUPPORTED,
           "data_offsets has more than 2");
    REFUSE("{\"a\":{\"dtype\":\"F32\",\"shape\":3,\"data_offsets\":[0,4]}}", 4, "tensor a: shape is not a list");
    refuse(__LINE__, "{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4, JSC_E_UNSUPPORTED,
           "shape has more than 8");
}

Test(safetensors, case_02_sizes_that_wrap)
{
    REFUSE("{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", 0,
           "tensor a|[4294967296, 4294967296]|overflows");
    REFUSE("{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296,0],\"data_offsets\":[0,0]}}", 0, "overflows");
    REFUSE("{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904],\"data_offsets\":[0,0]}}", 0, "overflows");
    REFUSE("{\"a\":{\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,1]}}", 1, "tensor a|no whole number of bytes");
    REFUSE("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4, "tensor a|[2] in F32 takes 8 bytes, data_offsets give 4");
}

Test(safetensors, case_03_ranges)
{
    REFUSE("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4, "tensor a: data_offsets [4, 0] are reversed");
    REFUSE("{" A4 ",\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[2,6]}}", 6, "tensors a and b overlap");
    REFUSE("{" A4 ",\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "tensors a and b overlap");
    REFUSE("{" A4 ",\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[6,10]}}", 10, "hole of 2 bytes before tensor b");
    REFUSE("{\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[1,5]}}", 5, "hole of 1 bytes before tensor b");
    /* [k, v] with exchanged header order is valid: offsets decide */
    struct tensor_set *set = NULL;
    jsc_error error = {0};
    cr_assert(eq(int,
                 open_header("{\"v\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[1,4]},\"k\":{\"dtype\":\"U8\",\"shape\":[1],\"data_"
                             "offsets\":[0,1]}}",
                             4, &set, &error),
                 JSC_OK),
              "%s", error.text);
    cr_expect(tensor_find(set, "k")->bytes + 1 == tensor_find(set, "v")->bytes);
    tensor_set_free(set);
}

Test(safetensors, case_04_file_shorter_or_longer_than_its_tensors)
{
    REFUSE("{" A4 "}", 3, "data of 3 bytes, header describes 4 (incomplete download?)");
    REFUSE("{" A4 "}", 0, "data of 0 bytes, header describes 4");
    REFUSE("{" A4 "}", 5, "data of 5 bytes, header describes 4");
}

/* ---- folders --------------------------------------------------------------------------------------------------------------- */

static void put(const char *name, const char *header, size_t data)
{
    struct strbuf s = {0};
    tiny_safetensors(&s, header, data);
    tiny_write(tiny_path(folder, name), s.text, s.n);
    strbuf_free(&s);
}

#define INDEX           "model.safetensors.index.json"
#define ENTRY(name, at) "\"" name "\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[" at "]}"

static void refuse_folder(int line, jsc_status want, const char *words)
{
    struct tensor_set *set = NULL;
    jsc_error error = {0};
    expect_refusal_at(line, safetensors_open(folder, &set, &error), want, &error, words);
    tensor_set_free(set);
}

Test(safetensors, case_04_absent_shard)
{
    put("m-1.safetensors", "{" ENTRY("a", "0,4") "}", 4);
    tiny_write_text(tiny_path(folder, INDEX),
                    "{\"metadata\":{\"total_size\":99999999999},\"weight_map\":{\"a\":\"m-1.safetensors\",\"b\":\"m-2.safetensors\"}}");
    refuse_folder(__LINE__, JSC_E_FILE, "m-2.safetensors|absent|download looks incomplete");
    put("m-2.safetensors", "{" ENTRY("b", "0,4") "}", 3);
    refuse_folder(__LINE__, JSC_E_FORMAT, "m-2.safetensors|data of 3 bytes|incomplete");
    put("m-2.safetensors", "{" ENTRY("c", "0,4") "}", 4);
    refuse_folder(__LINE__, JSC_E_FORMAT, INDEX "|tensor b is not in m-2.safetensors");
}

Test(safetensors, case_05_the_index_decides)
{
    struct tensor_set *set = NULL;
    jsc_error error = {0};
    put("m-1.safetensors", "{" ENTRY("old", "0,4") "," ENTRY("a", "4,8") "," ENTRY("b", "8,12") "}", 12);
    put("m-2.safetensors", "{" ENTRY("b", "0,4") "," ENTRY("a", "4,8") "}", 8);
    put("stray.safetensors", "{" ENTRY("a", "0,4") "}", 1); /* broken, and not named: never opened */
    tiny_write_text(tiny_path(folder, INDEX), "{\"weight_map\":{\"a\":\"m-1.safetensors\",\"b\":\"m-2.safetensors\"}}");
    cr_assert(eq(int, safetensors_open(folder, &set, &error), JSC_OK), "%s", error.text);
    cr_expect(set->n == 2 && set->n_files == 2 && tensor_find(set, "old") == NULL);
    cr_expect(strstr(tensor_find(set, "a")->file, "m-1") != NULL && tensor_find(set, "a")->bytes[0] == (4 * 37 & 0xff));
    cr_expect(strstr(tensor_find(set, "b")->file, "m-2") != NULL && tensor_find(set, "b")->bytes[0] == 0);
    tensor_set_free(set);
    /* model.safetensors wins over the index */
    put("model.safetensors", "{" ENTRY("single", "0,4") "}", 4);
    set = NULL;
    cr_assert(eq(int, safetensors_open(folder, &set, &error), JSC_OK), "%s", error.text);
    cr_expect(tensor_find(set, "single") != NULL);
    tensor_set_free(set);
}

Test(safetensors, case_05_index_names_are_plain)
{
    static const char *const names[] = {"../x.safetensors", "/etc/x.safetensors", "a/b.safetensors", "", "..", "a\\\\b.safetensors"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char text[200];
        (void)snprintf(text, sizeof text, "{\"weight_map\":{\"a\":\"%s\"}}", names[i]);
        tiny_write_text(tiny_path(folder, INDEX), text);
        refuse_folder(__LINE__, JSC_E_FORMAT, INDEX "|tensor a|not a plain name");
    }
    tiny_write_text(tiny_path(folder, INDEX), "{\"weight_map\":{\"a\":\"pytorch_model.bin\"}}");
    refuse_folder(__LINE__, JSC_E_UNSUPPORTED, "pytorch_model.bin|convert");
}

Test(safetensors, index_is_strict)
{
    static const char *const bad[][2] = {
        {"", "byte"},
        {"[]", "'{' is wanted"},
        {"{}", "there is no weight_map"},
        {"{\"weight_map\":{}}", "lists no tensors"},
        {"{\"weight_map\":3}", "byte"},
        {"{\"weight_map\":{\"a\":3}}", "is not a file name"},
        {"{\"weight_map\":{\"a\":\"m.safetensors\",\"a\":\"m.safetensors\"}}", "tensor a is listed twice"},
        {"{\"weight_map\":{\"a\":\"m.safetensors\"},\"weight_map\":{\"a\":\"m.safetensors\"}}", "given twice"},
        {"{\"weight_map\":{\"a\":\"m.safetensors\"}} x", "something follows"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        tiny_write_text(tiny_path(folder, INDEX), bad[i][0]);
        refuse_folder((int)(1000 + i), JSC_E_FORMAT, bad[i][1]);
    }
}

Test(safetensors, folders_without_safetensors)
{
    refuse_folder(__LINE__, JSC_E_FILE, "holds neither model.safetensors nor model.safetensors.index.json");
    tiny_write_text(tiny_path(folder, "pytorch_model.bin"), "x");
    refuse_folder(__LINE__, JSC_E_UNSUPPORTED, "pytorch_model.bin|pickle checkpoints are not read|convert to safetensors");
    tiny_write_text(tiny_path(folder, "m.gguf"), "x");
    refuse_folder(__LINE__, JSC_E_FILE, "m.gguf|give that file");
    tiny_write_text(tiny_path(folder, "model-00002-of-00003.safetensors"), "x");
    refuse_folder(__LINE__, JSC_E_FILE, "model-00002-of-00003.safetensors|incomplete");
}

Test(safetensors, case_01_a_million_tensors)
{
    /* many tensors in a legal header: fast (hashed) and below 4 times the file's bytes */
    enum { N = 200000 };
    struct strbuf s = {0};
    struct tensor_set *set = NULL;
    jsc_error error = {0};
    strbuf_puts(&s, "{");
    for (int i = 0; i < N; i++)
        strbuf_printf(&s, "%s\"%x\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[%d,%d]}", i > 0 ? "," : "", i, i, i + 1);
    strbuf_puts(&s, "}");
    put("model.safetensors", s.text, N);
    const size_t file_bytes = s.n + N + 8, before = mem_live_bytes();
    const double start = clock_seconds();
    cr_assert(eq(int, safetensors_open(folder, &set, &error), JSC_OK), "%s", error.text);
    cr_expect(lt(dbl, clock_seconds() - start, 20.0));
    cr_expect(lt(sz, mem_live_bytes() - before, 4 * file_bytes));
    for (int i = 0; i < N; i += 997) {
        char name[16];
        (void)snprintf(name, sizeof name, "%x", i);
        cr_assert(tensor_find(set, name) != NULL && tensor_find(set, name)->bytes[0] == (i * 37 & 0xff));
    }
    tensor_set_free(set);
    strbuf_free(&s);
}

Test(safetensors, every_allocation_may_fail)
{
    put("m-1.safetensors", "{\"__metadata__\":{\"k\":\"v\"}," ENTRY("a", "0,4") "," ENTRY("b", "4,8") "}", 8);
    put("m-2.safetensors", "{" ENTRY("b", "0,4") "}", 4);
    tiny_write_text(tiny_path(folder, INDEX), "{\"weight_map\":{\"a\":\"m-1.safetensors\",\"b\":\"m-2.safetensors\"}}");
    const size_t before = mem_live_bytes();
    for (long k = 1;; k++) {
        struct tensor_set *set = NULL;
        jsc_error error = {0};
        mem_fail_at(k, false);
        const jsc_status status = safetensors_open(folder, &set, &error);
        const long calls = mem_calls();
        mem_fail_at(0, false);
        if (status == JSC_OK) {
            tensor_set_free(set);
            cr_expect(calls < k && k > 15, "%ld allocations", calls);
            break;
        }
        expect_refusal(status, JSC_E_MEMORY, &error, "memory");
        cr_assert(set == NULL && mem_live_bytes() == before, "allocation %ld leaks", k);
    }
    cr_expect(mem_live_bytes() == before);
}
