#!/usr/bin/env python3
"""make_tokenizer_unicode.py: write src/host/files/tokenizer_unicode.c, the character classes of the reference tokeniser.

The `tokenizers` package knows a newer Unicode than the PCRE2 of Debian 12. Each class is written as the body of a PCRE2 character class:
PCRE2's own property (as of Unicode 14, its oldest accepted version) plus the code points that only the reference has. The reference's
normalisers, on the other hand, know an older Unicode than utf8proc: what they leave alone is listed; so are the lower cases it knows more.

    python3 tests/oracle/make_tokenizer_unicode.py > src/host/files/tokenizer_unicode.c        (takes about two minutes)
"""
import ctypes
import sys

import tokenizers
from tokenizers import Regex, normalizers, pre_tokenizers

CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
ALL = "".join(map(chr, CODE_POINTS))
UTF8PROC_STABLE, UTF8PROC_COMPAT, UTF8PROC_DECOMPOSE = 2, 4, 16
utf8proc = ctypes.CDLL("libutf8proc.so.2")
utf8proc.utf8proc_decompose_char.restype = ctypes.c_ssize_t
utf8proc.utf8proc_get_property.restype = ctypes.POINTER(ctypes.c_uint16)  # category, combining class, ...
PCRE2_UTF, PCRE2_UCP = 0x00080000, 0x00020000
pcre2 = ctypes.CDLL("libpcre2-8.so.0")
pcre2.pcre2_compile_8.restype = ctypes.c_void_p
pcre2.pcre2_match_data_create_8.restype = ctypes.c_void_p


def in_reference(pattern):
    return set(CODE_POINTS) - set(map(ord, normalizers.Replace(Regex(pattern), "").normalize_str(ALL)))


def in_pcre2(pattern):
    number, offset, text = ctypes.c_int(), ctypes.c_size_t(), pattern.encode()
    code = pcre2.pcre2_compile_8(text, ctypes.c_size_t(len(text)), ctypes.c_uint32(PCRE2_UTF | PCRE2_UCP), ctypes.byref(number),
                                 ctypes.byref(offset), None)
    if not code:
        sys.exit(f"{pattern}: PCRE2 error {number.value}")
    data = pcre2.pcre2_match_data_create_8(ctypes.c_uint32(1), None)
    found = set()
    for c in CODE_POINTS:
        one = chr(c).encode()
        if pcre2.pcre2_match_8(ctypes.c_void_p(code), one, ctypes.c_size_t(len(one)), ctypes.c_size_t(0), ctypes.c_uint32(0),
                               ctypes.c_void_p(data), None) >= 0:
            found.add(c)
    return found


def spans(code_points):
    out = []
    for c in sorted(code_points):
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def ranges(code_points):
    return "".join(f"\\x{{{a:X}}}" if a == b else f"\\x{{{a:X}}}-\\x{{{b:X}}}" for a, b in spans(code_points))


def body(name, wanted, base):
    known = in_pcre2(f"[{base}]") if base else set()
    if known - wanted:
        sys.exit(f"{name}: PCRE2 has {ranges(known - wanted)}, which the reference has not")
    return base + ranges(wanted - known)


def isolated(pre_tokenizer):
    """The characters that a pre-tokeniser makes pieces of their own."""
    pieces = pre_tokenizer.pre_tokenize_str("".join(chr(c) + "\n" for c in CODE_POINTS))
    return {ord(p) for p, _ in pieces if len(p) == 1 and p != "\n"}


def decomposed(c, options):
    points, boundary = (ctypes.c_int32 * 32)(), ctypes.c_int()
    n = utf8proc.utf8proc_decompose_char(ctypes.c_int32(c), points, ctypes.c_ssize_t(32), ctypes.c_int(options), ctypes.byref(boundary))
    return [points[i] for i in range(n)]


def unknown_to_normalizers():
    """Code points that utf8proc decomposes or orders and the reference does not, with the parts of those it therefore cannot compose."""
    nfd, nfkd, out = normalizers.NFD(), normalizers.NFKD(), set()
    for c in CODE_POINTS:
        plain = decomposed(c, UTF8PROC_STABLE | UTF8PROC_DECOMPOSE)
        if list(map(ord, nfd.normalize_str(chr(c)))) != plain:
            out |= {c, *plain}
        elif len(plain) == 1 and list(map(ord, nfkd.normalize_str(chr(c)))) != decomposed(c, UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT):
            out.add(c)
        elif 0 < utf8proc.utf8proc_get_property(ctypes.c_int32(c))[1] < 240 and nfd.normalize_str("a\u0345" + chr(c))[-1] != "\u0345":
            out.add(c)
    return out


def lower_cases():
    """[first, last, difference] where the reference's lower case is not utf8proc's. U+0130 becomes two characters: tokenizer_normalize.c."""
    lower, out = normalizers.Lowercase(), []
    for c in CODE_POINTS:
        wanted = lower.normalize_str(chr(c))
        if len(wanted) == 1 and ord(wanted) != utf8proc.utf8proc_tolower(ctypes.c_int32(c)):
            if out and out[-1][1] == c - 1 and out[-1][2] == ord(wanted) - c:
                out[-1][1] = c
            else:
                out.append([c, c, ord(wanted) - c])
    return out


def print_numbers(name, fields, rows):
    print(f"\n/* clang-format off */\nstatic const int32_t {name}[][{fields}] = {{")
    cells = ["{" + ", ".join(f"0x{v:X}" if v >= 0 else str(v) for v in row) + "}," for row in rows]
    for i in range(0, len(cells), 6):
        print("    " + " ".join(cells[i:i + 6]))
    print("};\n/* clang-format on */")


def main():
    rows = []
    for name in "L N M P S Z Lu Ll Lt Lm Lo Nd Nl No".split():
        rows.append((name, body(name, in_reference(f"\\p{{{name}}}"), f"\\p{{{name}}}")))
    for name in "Han Hiragana Katakana Hangul".split():
        rows.append((name, body(name, in_reference(f"\\p{{{name}}}"), f"\\p{{sc:{name}}}")))
    rows.append(("s", body("s", in_reference(r"\s"), r"\x09-\x0D\x20")))
    words = pre_tokenizers.Whitespace().pre_tokenize_str(" ".join(chr(c) + "a" for c in CODE_POINTS))
    words = {ord(p[0]) for p, _ in words if len(p) == 2} | {ord("a")}
    rows.append(("word", body("word", words, r"\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\x{200C}\x{200D}")))
    rows.append(("digit", body("digit", isolated(pre_tokenizers.Digits(True)), r"\p{N}")))
    rows.append(("punctuation", body("punctuation", isolated(pre_tokenizers.Punctuation("isolated")), "")))

    print(f"""/* tokenizer_unicode.c: character classes as the reference tokeniser has them (tokenizers {tokenizers.__version__}), for PCRE2 of any version from
 * Unicode 14 on. Written by tests/oracle/make_tokenizer_unicode.py; do not edit. */
#include "tokenizer_internal.h"

#include <string.h>

#include <utf8proc.h>

/* The body of a character class: without the brackets. */
struct unicode_class {{
    const char *name;
    const char *body;
}};

/* clang-format off */
static const struct unicode_class classes[] = {{""")
    for name, text in rows:
        print(f'    {{"{name}",')
        text = text.replace("\\", "\\\\")
        while text:
            cut = len(text) if len(text) <= 120 else text.rfind("\\\\", 0, 120)
            if cut < len(text) and text[cut - 1] == "-":
                cut = text.rfind("\\\\", 0, cut - 1)
            print(f'     "{text[:cut]}"' + ("}," if cut == len(text) else ""))
            text = text[cut:]
    print("""};
/* clang-format on */

const char *tokenizer_class(const char *name, size_t n)
{
    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++)
        if (strlen(classes[i].name) == n && memcmp(classes[i].name, name, n) == 0)
            return classes[i].body;
    return NULL;
}""")
    print_numbers("unknown", 2, spans(unknown_to_normalizers()))
    print_numbers("lower", 3, lower_cases())
    print("""
bool normal_is_unknown(int32_t c)
{
    size_t low = 0, high = sizeof unknown / sizeof unknown[0];
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (c > unknown[middle][1])
            low = middle + 1;
        else
            high = middle;
    }
    return low < sizeof unknown / sizeof unknown[0] && c >= unknown[low][0];
}

int32_t normal_lower(int32_t c)
{
    for (size_t i = 0; i < sizeof lower / sizeof lower[0]; i++)
        if (c >= lower[i][0] && c <= lower[i][1])
            return c + lower[i][2];
    return utf8proc_tolower(c);
}""")


main()
