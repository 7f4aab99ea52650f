/* test_gguf.c: GGUF files built byte by byte: what is read, what is refused and with which words, parts, memory, failing allocations. */
#include "support/refusal.h"
#include "support/tiny_files.h"

#include <jscopes/jscopes.h>

#include <stdio.h>
#include <string.h>
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

TestSuite(gguf, .init = setup, .fini = teardown, .timeout = 60);

static jsc_status open_named(const char *name, const struct strbuf *s, struct gguf **out, jsc_error *error)
{
    tiny_write(tiny_path(folder, name), s->text, s->n);
    return gguf_open(tiny_path(folder, name), out, error);
}

/* Opens and frees s; it must be refused. */
static void refuse(int line, struct strbuf *s, jsc_status want, const char *words)
{
    struct gguf *g = NULL;
    jsc_error error = {0};
    const size_t before = mem_live_bytes(), bytes = s->n;
    expect_refusal_at(line, open_named("x.gguf", s, &g, &error), want, &error, words);
    cr_expect(strstr(error.text, "x.gguf") != NULL, "line %d: no file name: %s", line, error.text);
    cr_expect(g == NULL && mem_live_bytes() == before, "line %d: out was touched or memory leaks", line);
    cr_expect(bytes == s->n);
    gguf_close(g);
    strbuf_free(s);
    *s = (struct strbuf){0};
}
#define REFUSE(words) refuse(__LINE__, &s, JSC_E_FORMAT, words)

static const uint64_t ne8[1] = {8}, ne64[1] = {64};

/* A file with one F32 tensor of 8 elements and n_kv keys that were put into kv; frees kv. */
static void with_keys(struct strbuf *out, struct strbuf *kv, uint64_t n_kv)
{
    gguf_begin(out, 3, 1, n_kv);
    strbuf_add(out, kv->text, kv->n);
    strbuf_free(kv);
    *kv = (struct strbuf){0};
    gguf_tensor(out, "t", 1, ne8, 0, 0);
    gguf_pad(out, 32);
    for (int i = 0; i < 32; i++)
        strbuf_add(out, "x", 1);
}

Test(gguf, the_tiny_llama)
{
    struct strbuf s = {0};
    struct gguf *g = NULL;
    jsc_error error = {0};
    tiny_llama_gguf(&s);
    cr_assert(eq(int, open_named("x.gguf", &s, &g, &error), JSC_OK), "%s", error.text);
    cr_expect(g->version == 3 && g->n_values == 18 && g->tensors->n == 11);
    const struct tensor *t = tensor_find(g->tensors, "blk.0.ffn_down.weight");
    cr_assert(t != NULL && t->rank == 2 && t->shape[0] == 8 && t->shape[1] == 12 && t->n_bytes == 4 * 96);
    float first;
    memcpy(&first, t->bytes, 4);
    cr_expect(first == (float)(0.1 * rng_normal(11, 9, 0)));
    const char *text = NULL;
    size_t n = 0;
    bool present = false;
    cr_expect(gguf_get_string(g, "general.name", &text, &n, &present, &error) == JSC_OK && present && n == 4 &&
              memcmp(text, "tiny", 4) == 0);
    const struct gguf_value *tokens = gguf_find(g, "tokenizer.ggml.tokens");
    const unsigned char *cursor = tokens->bytes;
    size_t count = 0;
    while (gguf_next_string(tokens, &cursor, &text, &n))
        count++;
    cr_expect(count == TINY_V && n == 7 && memcmp(text, "<|end|>", 7) == 0);
    gguf_close(g);
    strbuf_free(&s);
}

Test(gguf, default_model)
{
    char path[4096];
    struct gguf *g = NULL;
    jsc_error error = {0};
    if (jsc_model_find("smollm2-135m", path, sizeof path, &error) != JSC_OK)
        cr_skip_test("the default model is not in the cache: jscopes fetch smollm2-135m");
    cr_assert(eq(int, gguf_open(path, &g, &error), JSC_OK), "%s", error.text);
    const struct tensor *t = tensor_find(g->tensors, "token_embd.weight");
    float v[32];
    cr_assert(g->n_values == 33 && g->tensors->n == 272 && t != NULL && t->type == DTYPE_Q8_0 && t->shape[0] == 49152 &&
              t->shape[1] == 576);
    dtype_row_f32(t->type, t->bytes, 32, v);
    cr_expect(v[0] == -0.106544495f && v[1] == 0.032978058f, "%.9g %.9g", (double)v[0], (double)v[1]);
    t = tensor_find(g->tensors, "blk.0.attn_q.weight");
    dtype_row_f32(t->type, t->bytes, 32, v);
    cr_expect(v[0] == -0.0963134766f && v[1] == 0.157348633f);
    gguf_close(g);
}

Test(gguf, every_value_type)
{
    struct strbuf kv = {0}, s = {0};
    struct gguf *g = NULL;
    jsc_error error = {0};
    gguf_u16(&kv, "u16", 65535);
    gguf_i32(&kv, "i32", -7);
    gguf_u64(&kv, "u64", UINT64_MAX);
    gguf_f32(&kv, "f32", 0.5f);
    gguf_bool(&kv, "yes", true);
    gguf_string(&kv, "text", "abc");
    gguf_key(&kv, "i8", GGUF_I8);
    gguf_put(&kv, "\xfe", 1);
    gguf_key(&kv, "f64", GGUF_F64);
    gguf_put(&kv, &(double){1e300}, 8);
    gguf_key(&kv, "i64", GGUF_I64);
    gguf_put(&kv, &(int64_t){INT64_MIN}, 8);
    gguf_array(&kv, "list", GGUF_I16, 2);
    gguf_put(&kv, "\1\0\2\0", 4);
    gguf_array(&kv, "none", GGUF_STRING, 0);
    with_keys(&s, &kv, 11);
    cr_assert(eq(int, open_named("x.gguf", &s, &g, &error), JSC_OK), "%s", error.text);
    int64_t i = 0;
    double d = 0;
    bool b = false, present = true;
    cr_expect(gguf_get_int(g, "u16", 0, 70000, &i, &present, &error) == JSC_OK && i == 65535 && present);
    cr_expect(gguf_get_int(g, "i32", -10, 70000, &i, NULL, &error) == JSC_OK && i == -7);
    cr_expect(gguf_get_int(g, "i8", -10, 70000, &i, NULL, &error) == JSC_OK && i == -2);
    cr_expect(gguf_get_int(g, "i64", INT64_MIN, 0, &i, NULL, &error) == JSC_OK && i == INT64_MIN);
    cr_expect(gguf_get_int(g, "gone", 0, 1, &i, &present, &error) == JSC_OK && i == INT64_MIN && !present);
    cr_expect(gguf_get_double(g, "f32", 0, 1, &d, NULL, &error) == JSC_OK && d == 0.5);
    cr_expect(gguf_get_double(g, "f64", 0, 1e301, &d, NULL, &error) == JSC_OK && d == 1e300);
    cr_expect(gguf_get_double(g, "i32", -10, 1, &d, NULL, &error) == JSC_OK && d == -7.0);
    cr_expect(gguf_get_bool(g, "yes", &b, NULL, &error) == JSC_OK && b);
    /* case 16: type and range are checked per key; the error names the key */
    expect_refusal(gguf_get_int(g, "u64", 0, 100, &i, NULL, &error), JSC_E_FORMAT, &error, "x.gguf|u64|outside 0 to 100");
    expect_refusal(gguf_get_int(g, "f32", 0, 100, &i, NULL, &error), JSC_E_FORMAT, &error, "f32 is of type f32, a whole number");
    expect_refusal(gguf_get_int(g, "list", 0, 100, &i, NULL, &error), JSC_E_FORMAT, &error, "list is of type array");
    expect_refusal(gguf_get_double(g, "text", 0, 100, &d, NULL, &error), JSC_E_FORMAT, &error, "text is of type string, a number");
    expect_refusal(gguf_get_double(g, "f64", 0, 100, &d, NULL, &error), JSC_E_FORMAT, &error, "f64 is 1");
    expect_refusal(gguf_get_bool(g, "u16", &b, NULL, &error), JSC_E_FORMAT, &error, "u16 is of type u16, a bool");
    gguf_close(g);
    strbuf_free(&s);
}

Test(gguf, case_01_counts_beyond_the_file)
{
    struct strbuf s = {0};
    gguf_begin(&s, 3, (uint64_t)1 << 61, 0);
    REFUSE("claims 2305843009213693952 tensors|0 bytes remain");
    gguf_begin(&s, 3, 1, UINT64_MAX);
    REFUSE("claims 18446744073709551615 metadata keys|0 bytes remain");
    gguf_begin(&s, 3, 1, 1);
    gguf_put(&s, &(uint64_t){1000000000000}, 8);
    gguf_put(&s, "abcdefghij", 10);
    REFUSE("metadata key claims a length of 1000000000000 bytes|10 remain");
    gguf_begin(&s, 3, 1, 1);
    gguf_key(&s, "k", GGUF_STRING);
    gguf_put(&s, &(uint64_t){UINT64_MAX}, 8);
    REFUSE("k claims a length of 18446744073709551615");
    gguf_begin(&s, 3, 1, 1);
    gguf_array(&s, "k", GGUF_F64, (uint64_t)1 << 61);
    REFUSE("k claims 2305843009213693952 elements|0 bytes remain");
    gguf_begin(&s, 3, 1, 1);
    gguf_array(&s, "k", GGUF_STRING, 2);
    gguf_text(&s, "12345678901234567890");
    REFUSE("k needs 8 bytes, 0 remain");
    gguf_begin(&s, 3, 1, 0);
    gguf_tensor(&s, "t", 1, ne8, 0, 0);
    gguf_put(&s, "01234567", 8);
    REFUSE("tensor t takes 32 bytes|incomplete");
    strbuf_puts(&s, "GG");
    REFUSE("cut short|GGUF header");
    refuse(__LINE__, &s, JSC_E_FORMAT, "cut short");
}

Test(gguf, versions)
{
    struct strbuf s = {0};
    strbuf_puts(&s, "GGML....................");
    REFUSE("not a GGUF file");
    const uint32_t versions[] = {1, 4, 3u << 24};
    const char *const words[] = {"version 1 is not read", "version 4 is not read", "big-endian"};
    for (int i = 0; i < 3; i++) {
        gguf_begin(&s, versions[i], 0, 0);
        refuse(__LINE__, &s, JSC_E_UNSUPPORTED, words[i]);
    }
    gguf_begin(&s, 2, 0, 0);
    REFUSE("holds no weights");
}

Test(gguf, case_16_metadata)
{
    struct strbuf kv = {0}, s = {0};
    gguf_u32(&kv, "k", 1);
    gguf_u32(&kv, "k", 1);
    with_keys(&s, &kv, 2);
    REFUSE("metadata key k is listed twice");
    gguf_u32(&kv, "", 1);
    with_keys(&s, &kv, 1);
    REFUSE("key is empty");
    gguf_u32(&kv, "\xff\xfe", 1);
    with_keys(&s, &kv, 1);
    REFUSE("not text");
    gguf_key(&kv, "k", 13);
    with_keys(&s, &kv, 1);
    REFUSE("k has type 13, which does not exist");
    gguf_key(&kv, "k", GGUF_BOOL);
    gguf_put(&kv, "\2", 1);
    with_keys(&s, &kv, 1);
    REFUSE("k is a bool with the value 2");
    gguf_array(&kv, "k", GGUF_BOOL, 2);
    gguf_put(&kv, "\1\3", 2);
    with_keys(&s, &kv, 1);
    REFUSE("k is a bool with the value 3");
    gguf_array(&kv, "k", GGUF_ARRAY, 1);
    with_keys(&s, &kv, 1);
    refuse(__LINE__, &s, JSC_E_UNSUPPORTED, "k is an array of arrays");
    gguf_array(&kv, "k", 99, 1);
    with_keys(&s, &kv, 1);
    REFUSE("array of type 99");
    gguf_i32(&kv, "general.alignment", 32);
    with_keys(&s, &kv, 1);
    REFUSE("general.alignment is not of type u32");
    const uint32_t bad[] = {0, 4, 48, 1u << 21, UINT32_MAX};
    for (int i = 0; i < 5; i++) {
        gguf_u32(&kv, "general.alignment", bad[i]);
        with_keys(&s, &kv, 1);
        REFUSE("general.alignment is");
    }
    struct strbuf key = {0};
    for (int i = 0; i < 65536; i++)
        strbuf_puts(&key, "k");
    gguf_u32(&kv, key.text, 1);
    with_keys(&s, &kv, 1);
    REFUSE("length of 65536 bytes, limit is 65535");
    strbuf_free(&key);
}

/* One tensor with these properties; data_bytes follow. */
static void one_tensor(struct strbuf *s, const char *name, uint32_t rank, const uint64_t *ne, uint32_t type, uint64_t offset,
                       size_t data_bytes)
{
    gguf_begin(s, 3, 1, 0);
    gguf_tensor(s, name, rank, ne, type, offset);
    gguf_pad(s, 32);
    for (size_t i = 0; i < data_bytes; i++)
        strbuf_add(s, "d", 1);
}

Test(gguf, case_02_sizes_that_wrap)
{
    struct strbuf s = {0};
    const uint64_t wrap[4] = {(uint64_t)1 << 32, (uint64_t)1 << 32, 1, 1}, big[1] = {(uint64_t)1 << 62},
                   negative[2] = {(uint64_t)1 << 63, 1}, padded[1] = {((uint64_t)1 << 62) - 1}, zero[2] = {8, 0};
    one_tensor(&s, "t", 4, wrap, 0, 0, 64);
    REFUSE("tensor t|[4294967296, 4294967296, 1, 1]|overflows");
    one_tensor(&s, "t", 1, big, 0, 0, 64);
    REFUSE("tensor t|overflows");
    one_tensor(&s, "t", 2, negative, 0, 0, 64);
    REFUSE("tensor t|overflows");
    one_tensor(&s, "t", 1, padded, 0, 0, 64); /* bytes 2^64 - 4: the padding wraps */
    REFUSE("tensor t|overflows");
    one_tensor(&s, "t", 2, zero, 0, 0, 64);
    REFUSE("tensor t: dimension 1 is 0");
    gguf_begin(&s, 3, 2, 0);
    gguf_tensor(&s, "a", 1, &(uint64_t){((uint64_t)1 << 62) - 16}, 0, 0);
    gguf_tensor(&s, "b", 1, ne64, 0, UINT64_MAX - 63);
    gguf_pad(&s, 128);
    REFUSE("tensor b|overflows");
}

Test(gguf, case_03_tensor_table)
{
    struct strbuf s = {0};
    one_tensor(&s, "t", 0, ne8, 0, 0, 64);
    REFUSE("tensor t has 0 dimensions");
    one_tensor(&s, "t", 1, ne8, 0, 32, 64);
    REFUSE("tensor t: offset 32, but the tensors before it end at 0");
    one_tensor(&s, "", 1, ne8, 0, 0, 64);
    REFUSE("tensor name is not text");
    one_tensor(&s, "0123456789012345678901234567890123456789012345678901234567890123", 1, ne8, 0, 0, 64);
    REFUSE("length of 64 bytes, limit is 63");
    one_tensor(&s, "t", 1, ne8, 2, 0, 64);
    REFUSE("tensor t: rows of 8 elements are no whole number of Q4_0 blocks of 32");
    one_tensor(&s, "t", 1, ne8, 4711, 0, 64);
    REFUSE("tensor t: type 4711 does not exist");
    one_tensor(&s, "t", 1, ne8, 16, 0, 64);
    refuse(__LINE__, &s, JSC_E_UNSUPPORTED, "tensor t: type IQ2_XXS is not implemented");
    one_tensor(&s, "t", 1, ne8, 28, 0, 64);
    refuse(__LINE__, &s, JSC_E_UNSUPPORTED, "type F64 is not implemented");
    gguf_begin(&s, 3, 2, 0);
    gguf_tensor(&s, "t", 1, ne8, 0, 0);
    gguf_tensor(&s, "t", 1, ne8, 0, 32);
    gguf_pad(&s, 32);
    for (int i = 0; i < 64; i++)
        strbuf_add(&s, "d", 1);
    REFUSE("tensor t is listed twice");
    gguf_begin(&s, 3, 1, 0);
    gguf_text(&s, "t");
    gguf_put(&s, &(uint32_t){5}, 4);
    for (int i = 0; i < 64; i++)
        strbuf_add(&s, "d", 1);
    REFUSE("tensor t has 5 dimensions");
}

Test(gguf, case_04_file_cut_anywhere)
{
    struct strbuf s = {0};
    tiny_llama_gguf(&s);
    for (size_t n = 0; n < s.n; n += n < 600 ? 1 : 53) {
        struct gguf *g = NULL;
        jsc_error error = {0};
        struct strbuf part = {.text = s.text, .n = n};
        expect_refusal(open_named("x.gguf", &part, &g, &error), JSC_E_FORMAT, &error, "x.gguf: ");
        gguf_close(g);
    }
    strbuf_free(&s);
}

Test(gguf, last_padding_may_be_absent)
{
    struct strbuf s = {0};
    struct gguf *g = NULL;
    jsc_error error = {0};
    one_tensor(&s, "t", 1, &(uint64_t){3}, 0, 0, 12);
    cr_assert(eq(int, open_named("x.gguf", &s, &g, &error), JSC_OK), "%s", error.text);
    gguf_close(g);
    strbuf_free(&s);
}

/* ---- parts ----------------------------------------------------------------------------------------------------------------- */

static void put_part(int no, int count, const char *tensor, const char *file)
{
    struct strbuf s = {0};
    gguf_begin(&s, 3, 1, no == 0 ? 3 : 2);
    gguf_u16(&s, "split.no", (uint16_t)no);
    gguf_u16(&s, "split.count", (uint16_t)count);
    if (no == 0)
        gguf_i32(&s, "split.tensors.count", count);
    gguf_tensor(&s, tensor, 1, ne8, 0, 0);
    gguf_pad(&s, 32);
    for (int i = 0; i < 32; i++)
        strbuf_add(&s, tensor, 1);
    tiny_write(tiny_path(folder, file), s.text, s.n);
    strbuf_free(&s);
}

static void refuse_part(int line, const char *file, jsc_status want, const char *words)
{
    struct gguf *g = NULL;
    jsc_error error = {0};
    expect_refusal_at(line, gguf_open(tiny_path(folder, file), &g, &error), want, &error, words);
    gguf_close(g);
}

Test(gguf, case_17_parts)
{
    struct gguf *g = NULL;
    jsc_error error = {0};
    put_part(0, 3, "a", "m-00001-of-00003.gguf");
    put_part(1, 3, "b", "m-00002-of-00003.gguf");
    refuse_part(__LINE__, "m-00001-of-00003.gguf", JSC_E_FILE, "m-00003-of-00003.gguf: is absent|part 3 of 3|incomplete");
    put_part(2, 3, "c", "m-00003-of-00003.gguf");
    cr_assert(eq(int, gguf_open(tiny_path(folder, "m-00001-of-00003.gguf"), &g, &error), JSC_OK), "%s", error.text);
    cr_expect(g->tensors->n == 3 && g->tensors->n_files == 3 && g->n_values == 3);
    cr_expect(tensor_find(g->tensors, "c")->bytes[0] == 'c' && strstr(tensor_find(g->tensors, "c")->file, "00003-of") != NULL);
    gguf_close(g);
    refuse_part(__LINE__, "m-00002-of-00003.gguf", JSC_E_ARGUMENT, "part 2 of 3; give the first part|m-00001-of-00003.gguf");
    put_part(2, 3, "a", "m-00003-of-00003.gguf");
    refuse_part(__LINE__, "m-00001-of-00003.gguf", JSC_E_FORMAT, "tensor a is listed twice");
    put_part(1, 3, "c", "m-00003-of-00003.gguf");
    refuse_part(__LINE__, "m-00001-of-00003.gguf", JSC_E_FORMAT, "m-00003-of-00003.gguf|split.no 1 and split.count 3");
    put_part(0, 3, "a", "renamed.gguf");
    refuse_part(__LINE__, "renamed.gguf", JSC_E_FORMAT, "part 1 of 3|does not end in -00001-of-00003.gguf");
    put_part(2, 3, "a", "other.gguf");
    refuse_part(__LINE__, "other.gguf", JSC_E_ARGUMENT, "part 3 of 3|give the first part");
    put_part(0, 2, "a", "n-00001-of-00002.gguf");
    put_part(0, 1, "b", "n-00002-of-00002.gguf");
    refuse_part(__LINE__, "n-00001-of-00002.gguf", JSC_E_FORMAT, "n-00002-of-00002.gguf|split.no 0");
}

/* ---- memory ---------------------------------------------------------------------------------------------------------------- */

Test(gguf, case_01_many_keys_are_fast)
{
    enum { N = 250000 };
    struct strbuf kv = {0}, s = {0};
    struct gguf *g = NULL;
    jsc_error error = {0};
    for (int i = 0; i < N; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "%x", i);
        gguf_key(&kv, key, GGUF_U8);
        gguf_put(&kv, "\1", 1);
    }
    with_keys(&s, &kv, N);
    const size_t before = mem_live_bytes();
    const double start = clock_seconds();
    cr_assert(eq(int, open_named("x.gguf", &s, &g, &error), JSC_OK), "%s", error.text);
    cr_expect(lt(dbl, clock_seconds() - start, 20.0));
    cr_expect(lt(sz, mem_live_bytes() - before, 4 * s.n));
    gguf_close(g);
    strbuf_free(&s);
}

Test(gguf, every_allocation_may_fail)
{
    put_part(0, 2, "a", "m-00001-of-00002.gguf");
    put_part(1, 2, "b", "m-00002-of-00002.gguf");
    const size_t before = mem_live_bytes();
    for (long k = 1;; k++) {
        struct gguf *g = NULL;
        jsc_error error = {0};
        mem_fail_at(k, false);
        const jsc_status status = gguf_open(tiny_path(folder, "m-00001-of-00002.gguf"), &g, &error);
        mem_fail_at(0, false);
        if (status == JSC_OK) {
            gguf_close(g);
            cr_expect(k > 10);
            break;
        }
        expect_refusal(status, JSC_E_MEMORY, &error, "memory");
        cr_assert(g == NULL && mem_live_bytes() == before, "allocation %ld leaks", k);
    }
    cr_expect(mem_live_bytes() == before);
}

Test(gguf, tensors_may_outlive_the_file_object)
{
    struct strbuf s = {0};
    struct gguf *g = NULL;
    jsc_error error = {0};
    one_tensor(&s, "t", 1, ne8, 0, 0, 32);
    cr_assert(eq(int, open_named("x.gguf", &s, &g, &error), JSC_OK), "%s", error.text);
    struct tensor_set *set = g->tensors;
    g->tensors = NULL;
    gguf_close(g);
    cr_expect(tensor_find(set, "t")->bytes[31] == 'd');
    tensor_set_free(set);
    strbuf_free(&s);
}
