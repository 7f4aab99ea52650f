/* test_tokenizer_regex.c: patterns in the reference's syntax: what is translated, what is refused by name, costly patterns. */
#include "support/refusal.h"
#include "support/tokenizer_files.h"
#include "tokenizer_internal.h"

#include <stdio.h>
#include <string.h>

TestSuite(tokenizer_regex, .timeout = 60);

/* The spans of all matches as "0-1 3-5". */
static const char *matches(const char *pattern, const char *text)
{
    static char out[256];
    pcre2_code *code = NULL;
    pcre2_match_data *match = NULL;
    jsc_error error = {0};
    size_t n = 0, from = 0, to = 0;
    bool found = true;
    out[0] = '\0';
    if (regex_compile(pattern, strlen(pattern), &code, &error) != JSC_OK)
        return strcpy(out, "refused");
    cr_assert(regex_match_data(&match, &error) == JSC_OK);
    struct regex_walk walk = {.code = code, .match = match, .text = text, .n = strlen(text)};
    while (n < 200) {
        cr_assert(regex_next(&walk, &from, &to, &found, &error) == JSC_OK, "%s", error.text);
        if (!found)
            break;
        n += (size_t)snprintf(out + n, sizeof out - n, "%s%zu-%zu", n > 0 ? " " : "", from, to);
    }
    pcre2_match_data_free(match);
    pcre2_code_free(code);
    return out;
}

Test(tokenizer_regex, translated)
{
    static const struct {
        char pattern[48], text[24], want[32];
    } rows[] = {
        {"\\s", "a\xe1\xa0\x8e \xc2\x85", "4-5 5-7"}, /* U+180E is no white space, U+0085 is */
        {"[\\s]+", "\t\n\x0b \xe3\x80\x80", "0-7"},
        {"\\S+", "a\xe1\xa0\x8e b", "0-4 5-6"},
        {"[^\\S\\n]+", "a \n\t", "1-2 3-4"},
        {"\\p{L}+", "a\xf0\xb1\x8d\x90z", "0-6"}, /* U+31350, a letter since Unicode 15 */
        {"[^\\p{L}]", "a\xf0\xb1\x8d\x90!", "5-6"},
        {"\\P{L}+", "a12b", "1-3"},
        {"\\p{^L}+", "a12b", "1-3"},
        {"\\d+", "a1\xd9\xa1", "1-4"},
        {"\\D+", "a1b", "0-1 2-3"},
        {"\\v", "\x0b\n", "0-1"}, /* the character, not PCRE2's class */
        {"\\u0061\\x{62}\\x63", "abc", "0-3"},
        {"(?i:'s|'t|'re|'ve|'m|'ll|'d)", "'S'\xc5\xbf", "0-2 2-5"}, /* U+017F folds to s */
        {"^a|b$", "a\na\nb", "0-1 2-3 4-5"},                        /* anchors of lines */
        {"a.c", "a\nc abc", "4-7"},
        {"x*", "axb", "0-0 1-2 3-3"}, /* no empty match right behind a match */
        {"[a\\-\\]]+", "a-]b", "0-3"},
        {"a{2,3}", "aaaaa", "0-3 3-5"},
        {"(?<=a)b|(?<!a)c|d(?!e)|f(?=g)", "abcacdefg", "1-2 2-3 7-8"},
        {"a++|b?+", "aab", "0-2 2-3"},
        {"\\p{Han}", "\xe3\x80\x82\xe4\xbd\xa0", "3-6"}, /* the script, not its extensions */
        {"\\+|\\.", "+.", "0-1 1-2"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        cr_expect(strcmp(matches(rows[i].pattern, rows[i].text), rows[i].want) == 0, "%s on %s: %s instead of %s", rows[i].pattern,
                  rows[i].text, matches(rows[i].pattern, rows[i].text), rows[i].want);
}

Test(tokenizer_regex, refused)
{
    static const struct {
        char pattern[24], words[40];
    } rows[] = {{"\\w", "this escape"},
                {"\\h", "this escape"},
                {"\\bx", "this escape"},
                {"\\G", "this escape"},
                {"a\\K", "this escape"},
                {"(a)\\1", "this escape"},
                {"[a&&[b]]", "a set inside"},
                {"[[:alpha:]]", "a set inside"},
                {"[]a]", "begins with ]"},
                {"[a", "without its end"},
                {"(?i)a", "this kind of group"},
                {"(?i:ss)", "this kind of group"},
                {"(?<n>a)", "this kind of group"},
                {"(*UTF)a", "this kind of group"},
                {"(?m:a)", "this kind of group"},
                {"a{,2}", "this brace"},
                {"a{2}+", "this brace"},
                {"a{2}?", "this brace"},
                {"a{", "this brace"},
                {"\\pL", "without braces"},
                {"\\p{L", "closing brace"},
                {"\\p{Cased}", "this property"},
                {"\\p{word}", "this property"},
                {"\\p{}", "this property"},
                {"[\\P{L}]", "negated property"},
                {"[\\D]", "this escape"},
                {"\\xff", "numeric escape"},
                {"\\ud800", "numeric escape"},
                {"\\x{110000}", "numeric escape"},
                {"\\x{}", "numeric escape"},
                {"\\u12", "numeric escape"},
                {"a\\", "backslash at the end"},
                {"(a", "PCRE2 cannot compile"},
                {"[z-a]", "PCRE2 cannot compile"},
                {"", "0 bytes"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        pcre2_code *code = NULL;
        jsc_error error = {0};
        expect_refusal(regex_compile(rows[i].pattern, strlen(rows[i].pattern), &code, &error), JSC_E_UNSUPPORTED, &error, rows[i].words);
        cr_expect(code == NULL, "%s", rows[i].pattern);
    }
}

Test(tokenizer_regex, costly_pattern_is_an_error)
{
    pcre2_code *code = NULL;
    pcre2_match_data *match = NULL;
    jsc_error error = {0};
    static const char pattern[] = "(a|aa)+$", text[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab";
    size_t from = 0, to = 0;
    bool found = false;
    cr_assert(regex_compile(pattern, sizeof pattern - 1, &code, &error) == JSC_OK, "%s", error.text);
    cr_assert(regex_match_data(&match, &error) == JSC_OK);
    struct regex_walk walk = {.code = code, .match = match, .text = text, .n = sizeof text - 1};
    expect_refusal(regex_next(&walk, &from, &to, &found, &error), JSC_E_UNSUPPORTED, &error, "too costly");
    pcre2_match_data_free(match);
    pcre2_code_free(code);
}

Test(tokenizer_regex, byte_map_is_a_bijection)
{
    bool seen[0x144] = {0};
    for (unsigned b = 0; b < 256; b++) {
        const uint32_t c = byte_map_char((unsigned char)b);
        cr_assert(c < 0x144 && !seen[c] && byte_map_byte(c) == (int)b, "byte %02x", b);
        seen[c] = true;
    }
    for (uint32_t c = 0; c < 0x200; c++)
        CHECK((c < 0x144 && seen[c]) == (byte_map_byte(c) >= 0), "U+%04X", c);
    cr_expect(byte_map_char(' ') == 0x120 && byte_map_char('\n') == 0x10a && byte_map_char(0xad) == 0x143);
}
