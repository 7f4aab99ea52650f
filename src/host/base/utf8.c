/* utf8.c: strict UTF-8: no overlong forms, no surrogates, nothing above U+10FFFF. */
#include "base_internal.h"

size_t utf8_char(const char *text, size_t n, uint32_t *code_point)
{
    const unsigned char *s = (const unsigned char *)text;
    uint32_t cp = 0, low = 0;
    size_t length = 0;

    if (n == 0)
        return 0;
    if (s[0] < 0x80) {
        *code_point = s[0];
        return 1;
    }
    if (s[0] >= 0xc2 && s[0] <= 0xdf)
        length = 2, low = 0x80, cp = s[0] & 0x1fU;
    else if ((s[0] & 0xf0) == 0xe0)
        length = 3, low = 0x800, cp = s[0] & 0x0fU;
    else if (s[0] >= 0xf0 && s[0] <= 0xf4)
        length = 4, low = 0x10000, cp = s[0] & 0x07U;
    else
        return 0;
    if (n < length)
        return 0;
    for (size_t i = 1; i < length; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        cp = cp << 6 | (s[i] & 0x3fU);
    }
    if (cp < low || cp > 0x10ffff || (cp >= 0xd800 && cp <= 0xdfff))
        return 0;
    *code_point = cp;
    return length;
}

size_t utf8_check(const char *text, size_t n)
{
    size_t i = 0;
    while (i < n) {
        uint32_t cp = 0;
        const size_t length = utf8_char(text + i, n - i, &cp);
        if (length == 0)
            return i;
        i += length;
    }
    return n;
}

size_t utf8_put(char *out, uint32_t cp)
{
    unsigned char *o = (unsigned char *)out;
    if (cp < 0x80) {
        o[0] = (unsigned char)cp;
        return 1;
    }
    if (cp < 0x800) {
        o[0] = (unsigned char)(0xc0 | cp >> 6);
        o[1] = (unsigned char)(0x80 | (cp & 0x3f));
        return 2;
    }
    if (cp < 0x10000) {
        o[0] = (unsigned char)(0xe0 | cp >> 12);
        o[1] = (unsigned char)(0x80 | (cp >> 6 & 0x3f));
        o[2] = (unsigned char)(0x80 | (cp & 0x3f));
        return 3;
    }
    o[0] = (unsigned char)(0xf0 | cp >> 18);
    o[1] = (unsigned char)(0x80 | (cp >> 12 & 0x3f));
    o[2] = (unsigned char)(0x80 | (cp >> 6 & 0x3f));
    o[3] = (unsigned char)(0x80 | (cp & 0x3f));
    return 4;
}
