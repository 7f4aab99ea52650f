/* test_text_escape.c: any bytes as text for a terminal and for JSON. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <jscopes/jscopes.h>

#include <stdio.h>
#include <string.h>

struct case_ {
    const char *bytes;
    size_t n;
    const char *shown, *ascii, *json;
};

static const struct case_ cases[] = {
    {"", 0, "", "", "\"\""},
    {"a b", 3, "a b", "a b", "\"a b\""},
    {"\n\t\r", 3, "\\n\\t\\r", "\\n\\t\\r", "\"\\n\\t\\u000d\""},
    {"\x1b[2J", 4, "\\x1b[2J", "\\x1b[2J", "\"\\u001b[2J\""},
    {"\0x\x7f", 3, "\\x00x\\x7f", "\\x00x\\x7f", "\"\\u0000x\\u007f\""},
    {"\"\\", 2, "\"\\", "\"\\", "\"\\\"\\\\\""},
    {"caf\xc3\xa9", 5, "caf\xc3\xa9", "caf<U+00E9>", "\"caf\xc3\xa9\""},
    {"\xc2\x9b"
     "31m",
     5, "<U+009B>31m", "<U+009B>31m",
     "\"\xc2\x9b"
     "31m\""}, /* the one-byte form of ESC [ */
    {"\xe2\x80\xae"
     "evil",
     7, "<U+202E>evil", "<U+202E>evil",
     "\"\xe2\x80\xae"
     "evil\""},
    {"\xe2\x80\xa8", 3, "<U+2028>", "<U+2028>", "\"\\u2028\""},
    {"\xe2\x82", 2, "<0xE2><0x82>", "<0xE2><0x82>", "\"<0xE2><0x82>\""},                       /* half a character: case 42 */
    {"\xed\xa0\x80", 3, "<0xED><0xA0><0x80>", "<0xED><0xA0><0x80>", "\"<0xED><0xA0><0x80>\""}, /* surrogate */
    {"\xc0\xaf\xff", 3, "<0xC0><0xAF><0xFF>", "<0xC0><0xAF><0xFF>", "\"<0xC0><0xAF><0xFF>\""},
    {"\xf0\x9f\x91\x8d", 4, "\xf0\x9f\x91\x8d", "<U+1F44D>", "\"\xf0\x9f\x91\x8d\""},
};

Test(text_escape, table)
{
    char out[128];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct case_ *c = &cases[i];
        cr_expect(eq(sz, jsc_text_show(c->bytes, c->n, 0, out, sizeof out), strlen(c->shown)), "case %zu", i);
        cr_expect(eq(str, out, (char *)c->shown), "case %zu", i);
        cr_expect(eq(sz, jsc_text_show(c->bytes, c->n, 1, out, sizeof out), strlen(c->ascii)), "case %zu", i);
        cr_expect(eq(str, out, (char *)c->ascii), "case %zu", i);
        cr_expect(eq(sz, jsc_text_json(c->bytes, c->n, out, sizeof out), strlen(c->json)), "case %zu", i);
        cr_expect(eq(str, out, (char *)c->json), "case %zu", i);
    }
}

Test(text_escape, a_small_buffer_holds_whole_characters_and_its_nul)
{
    char out[6] = "?????";
    cr_expect(eq(sz, jsc_text_show("ab\xe6\x97\xa5zz", 7, 0, out, 5), 7));
    cr_expect(eq(str, out, "ab")); /* the three bytes of the next do not fit, nor does anything after them */
    cr_expect(eq(chr, out[5], '\0'));
    cr_expect(eq(sz, jsc_text_show("abc", 3, 0, NULL, 0), 3));
    cr_expect(eq(sz, jsc_text_json("abc", 3, NULL, 0), 5));
}

Test(text_escape, every_byte_alone_is_shown_without_control_characters)
{
    for (int b = 0; b < 256; b++) {
        const char byte = (char)b;
        char out[16];
        const size_t n = jsc_text_show(&byte, 1, 0, out, sizeof out);
        cr_expect(n >= 1 && n < sizeof out, "byte %d", b);
        for (size_t i = 0; i < n; i++)
            cr_expect(out[i] >= 0x20 && out[i] < 0x7f, "byte %d", b);
    }
}
