/* tokenizer_byte_map.c: byte-level vocabularies write each byte as one printable character. */
#include "tokenizer_internal.h"

/* 0x21-0x7E, 0xA1-0xAC and 0xAE-0xFF stand for themselves; the other 68 bytes, in rising order, are U+0100 to U+0143. */
static bool stands_for_itself(uint32_t c)
{
    return (c >= 0x21 && c <= 0x7e) || (c >= 0xa1 && c <= 0xac) || (c >= 0xae && c <= 0xff);
}

uint32_t byte_map_char(unsigned char byte)
{
    if (stands_for_itself(byte))
        return byte;
    if (byte <= 0x20)
        return 0x100U + byte;
    return byte <= 0xa0 ? 0x121U + (byte - 0x7fU) : 0x143U; /* 0x7F-0xA0, then 0xAD */
}

int byte_map_byte(uint32_t c)
{
    if (c < 0x100)
        return stands_for_itself(c) ? (int)c : -1;
    if (c <= 0x120)
        return (int)(c - 0x100);
    if (c < 0x143)
        return (int)(c - 0x121 + 0x7f);
    return c == 0x143 ? 0xad : -1;
}

size_t byte_map_text(const char *text, size_t n, char *out)
{
    size_t k = 0;
    for (size_t i = 0; i < n; i++)
        k += utf8_put(out + k, byte_map_char((unsigned char)text[i]));
    return k;
}
