/* test_base.c: statuses and error lines, checked memory, arena, growing text, UTF-8, random numbers, environment. */
#include "base_internal.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <jscopes/jscopes.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- errors ---------------------------------------------------------------------------------------------------------------- */

Test(base, status_names_and_texts)
{
#define CHECK(name, number, text)                                                                                                          \
    cr_expect(name == number && strcmp(jsc_status_name(name), #name) == 0 && strcmp(jsc_status_text(name), text) == 0);
    JSC_STATUS_LIST(CHECK)
    cr_expect(jsc_status_name((jsc_status)999) != NULL && jsc_status_text((jsc_status)999) != NULL);
}

Test(base, an_error_is_one_clean_line)
{
    jsc_error error = {0};
    cr_expect(status_set(&error, JSC_E_FORMAT, "a%s", "\n\x1b[31m\xff\xe2\x80\xa8\xc2\x85z\xc3\xa9") == JSC_E_FORMAT);
    cr_expect(strcmp(error.text, "a??[31m??????z\xc3\xa9") == 0, "%s", error.text);
    cr_expect(error.status == JSC_E_FORMAT);
    cr_expect(status_set(NULL, JSC_E_FILE, "x") == JSC_E_FILE);
    char text[1000]; /* cut inside a character: the line stays valid UTF-8 */
    for (int i = 0; i < 999; i += 3)
        memcpy(text + i, "\xe2\x82\xac", 3);
    text[999] = '\0';
    (void)status_set(&error, JSC_E_FORMAT, "%s", text);
    cr_expect(strlen(error.text) == sizeof error.text - 1 && utf8_check(error.text, strlen(error.text)) == strlen(error.text));
}

/* ---- memory ---------------------------------------------------------------------------------------------------------------- */

Test(base, memory_is_zeroed_aligned_and_counted)
{
    const size_t before = mem_live_bytes();
    jsc_error error = {0};
    double *p = NULL;
    cr_assert(mem_new(&p, 1000, &error) == JSC_OK && (uintptr_t)p % 64 == 0);
    for (int i = 0; i < 1000; i++)
        cr_assert(p[i] == 0.0);
    cr_expect(mem_live_bytes() == before + 8000);
    mem_free(p);
    cr_expect(mem_live_bytes() == before);
    cr_assert(mem_new(&p, 0, &error) == JSC_OK && p != NULL);
    mem_free(p);
    mem_free(NULL);
    cr_expect(mem_available() > 0);
}

Test(base, sizes_that_wrap_are_refused)
{
    char *p = NULL;
    jsc_error error = {0};
    size_t out = 0;
    cr_expect(mem_alloc(&p, SIZE_MAX / 2, 4, &error) == JSC_E_MEMORY && p == NULL && strstr(error.text, "items of 4 bytes") != NULL);
    cr_expect(mem_alloc(&p, SIZE_MAX - 8, 1, &error) == JSC_E_MEMORY && p == NULL);
    cr_expect(size_mul(SIZE_MAX, 2, &out) == false && size_add(SIZE_MAX, 1, &out) == false);
    cr_expect(size_mul(3, 4, &out) && out == 12 && size_add(3, 4, &out) && out == 7);
}

Test(base, growing_keeps_the_content)
{
    int *p = NULL;
    size_t capacity = 0;
    jsc_error error = {0};
    for (size_t n = 1; n <= 1000; n++) {
        cr_assert(mem_reserve(&p, &capacity, n, &error) == JSC_OK && capacity >= n);
        p[n - 1] = (int)n;
    }
    for (int i = 0; i < 1000; i++)
        cr_assert(p[i] == i + 1);
    for (size_t i = 1000; i < capacity; i++)
        cr_assert(p[i] == 0);
    cr_expect(mem_reserve(&p, &capacity, SIZE_MAX, &error) == JSC_E_MEMORY && p[0] == 1);
    mem_free(p);
    char *text = NULL;
    cr_assert(mem_strndup(&text, "abcdef", 3, &error) == JSC_OK && strcmp(text, "abc") == 0);
    mem_free(text);
}

Test(base, the_kth_allocation_fails)
{
    char *p[4] = {NULL};
    jsc_error error = {0};
    mem_fail_at(2, false);
    for (int i = 0; i < 4; i++)
        cr_expect(mem_new(&p[i], 10, &error) == (i == 1 ? JSC_E_MEMORY : JSC_OK));
    cr_expect(mem_calls() == 4 && strstr(error.text, "10 bytes") != NULL);
    for (int i = 0; i < 4; i++)
        mem_free(p[i]);
    memset(p, 0, sizeof p);
    mem_fail_at(2, true);
    for (int i = 0; i < 4; i++)
        cr_expect(mem_new(&p[i], 10, &error) == (i >= 1 ? JSC_E_MEMORY : JSC_OK));
    mem_fail_at(0, false);
    mem_free(p[0]);
}

/* ---- arena ----------------------------------------------------------------------------------------------------------------- */

Test(base, arena_is_laid_out_twice_the_same)
{
    struct arena dry = {0};
    cr_expect(arena_push(&dry, 3, 4) == NULL && arena_push(&dry, 5, 8) == NULL);
    char *block = NULL;
    jsc_error error = {0};
    cr_assert(mem_new(&block, dry.used, &error) == JSC_OK);
    struct arena real = {.base = block, .host = true};
    char *a = arena_push(&real, 3, 4), *b = arena_push(&real, 5, 8);
    cr_expect(real.used == dry.used && (uintptr_t)a % 64 == 0 && (uintptr_t)b % 64 == 0 && b >= a + 12);
    memset(a, 1, 12);
    memset(b, 2, 40);
    cr_expect(a[11] == 1 && b[0] == 2);
    struct arena full = {0};
    (void)arena_push(&full, SIZE_MAX / 4, 8);
    cr_expect(full.used == SIZE_MAX);
    (void)arena_push(&full, 1, 1);
    cr_expect(full.used == SIZE_MAX);
    mem_free(block);
}

/* ---- text ------------------------------------------------------------------------------------------------------------------ */

Test(base, strbuf)
{
    struct strbuf s = {0};
    char long_text[2000];
    memset(long_text, 'x', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = '\0';
    strbuf_puts(&s, "ab");
    strbuf_printf(&s, "%d %s", 7, "c");
    strbuf_printf(&s, "%s", long_text);
    cr_expect(s.n == 5 + 1999 && memcmp(s.text, "ab7 cxxx", 8) == 0 && s.text[s.n] == '\0' && s.failed == false);
    strbuf_free(&s);
    struct strbuf small = {.limit = 4};
    strbuf_puts(&small, "abc");
    strbuf_puts(&small, "de");
    strbuf_puts(&small, "f"); /* after a failure nothing is added, so no hole arises */
    cr_expect(small.failed && strcmp(small.text, "abc") == 0);
    strbuf_free(&small);
    struct strbuf broken = {0};
    mem_fail_at(1, false);
    strbuf_puts(&broken, "abc");
    mem_fail_at(0, false);
    cr_expect(broken.failed && broken.text == NULL);
    strbuf_free(&broken);
}

Test(base, utf8)
{
    static const char *const bad[] = {"\xff", "\xc0\x80", "\xed\xa0\x80",     "\xe2\x82",     "\xf5\x80\x80\x80",
                                      "\x80", "\xc3",     "\xf4\x90\x80\x80", "\xe0\x80\x80", "\xf0\x80\x80\x80"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_expect(utf8_check(bad[i], strlen(bad[i])) == 0, "bad %zu", i);
    cr_expect(utf8_check("a\xff"
                         "b",
                         3) == 1 &&
              utf8_check("", 0) == 0 && utf8_check("a\0b", 3) == 3);
    for (uint32_t cp = 1; cp < 0x110000; cp += cp < 0x3000 ? 1 : 97) {
        char text[4];
        uint32_t back = 0;
        if (cp >= 0xd800 && cp < 0xe000)
            continue;
        const size_t n = utf8_put(text, cp);
        cr_assert(utf8_char(text, n, &back) == n && back == cp, "U+%04X", cp);
        cr_assert(utf8_char(text, n - 1, &back) == 0, "U+%04X cut short", cp);
    }
}

/* ---- random numbers -------------------------------------------------------------------------------------------------------- */

Test(base, philox_known_answers)
{
    /* the vectors of Random123's kat_vectors */
    static const uint32_t in[3][6] = {
        {0}, {~0u, ~0u, ~0u, ~0u, ~0u, ~0u}, {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0}};
    static const uint32_t want[3][4] = {{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
                                        {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
                                        {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}};
    for (int i = 0; i < 3; i++) {
        uint32_t out[4];
        rng_philox(in[i], in[i] + 4, out);
        cr_expect(memcmp(out, want[i], sizeof out) == 0, "vector %d", i);
    }
}

Test(base, random_numbers_have_their_moments)
{
    enum { N = 100000 };
    double unit = 0, normal = 0, square = 0, sign = 0;
    for (uint64_t i = 0; i < N; i++) {
        const double u = rng_unit(1, 2, i), z = rng_normal(1, 3, i);
        cr_assert(u >= 0.0 && u < 1.0 && isfinite(z));
        unit += u, normal += z, square += z * z, sign += rng_sign(1, 4, i);
    }
    cr_expect(fabs(unit / N - 0.5) < 0.005 && fabs(normal / N) < 0.02 && fabs(square / N - 1) < 0.02 && fabs(sign / N) < 0.02);
    cr_expect(rng_u32(1, 2, 3) == rng_u32(1, 2, 3) && rng_u32(1, 2, 3) != rng_u32(1, 2, 4) && rng_u32(1, 2, 3) != rng_u32(1, 3, 3) &&
              rng_u32(1, 2, 3) != rng_u32(2, 2, 3));
}

/* ---- environment ----------------------------------------------------------------------------------------------------------- */

Test(base, environment)
{
    for (int v = 0; v < ENV_COUNT; v++) {
        const char *name = env_name((enum env_variable)v);
        cr_assert(name != NULL && (strncmp(name, "JSC", 3) == 0) == (v < ENV_TF32) && strlen(env_help((enum env_variable)v)) > 5);
        (void)setenv(name, "value", 1);
        cr_expect(strcmp(env_get((enum env_variable)v), "value") == 0);
        (void)setenv(name, "", 1);
        cr_expect(env_get((enum env_variable)v) == NULL);
        (void)unsetenv(name);
        cr_expect(env_get((enum env_variable)v) == NULL);
    }
    const double a = clock_seconds();
    cr_expect(clock_seconds() >= a);
}
