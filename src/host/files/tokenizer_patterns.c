/* tokenizer_patterns.c: the splitting patterns that GGUF files name and ByteLevel implies, in the reference's own words (docs/tokenisers.md). */
#include "tokenizer_internal.h"

#include <string.h>

/* clang-format off */
#define G2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define SUFFIXES "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define TAIL "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define L3 SUFFIXES "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" TAIL
#define Q2 SUFFIXES "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" TAIL
#define Q35 SUFFIXES "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" TAIL
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define O2 "[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" SUFFIXES "?|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER "*" SUFFIXES "?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" TAIL
#define TK "[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER "*|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" TAIL
#define D3 "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|" TAIL
#define D3_DIGITS "\\p{N}{1,3}"
#define D3_ASIAN "[\xe4\xb8\x80-\xe9\xbe\xa5\xe3\x81\x80-\xe3\x82\x9f\xe3\x82\xa0-\xe3\x83\xbf]+"        /* U+4E00-9FA5, U+3040-309F, U+30A0-30FF */
#define DC_ASIAN "[\xe4\xb8\x80-\xe9\xbe\xa5\xe0\xa0\x80-\xe4\xb8\x80\xea\xb0\x80-\xed\x9f\xbf]+"        /* U+4E00-9FA5, U+0800-4E00, U+AC00-D7FF */

const char *const pattern_gpt2 = G2;

static const struct pre_tokenizer_row rows[] = {
    {"gpt-2",            {G2},            false, false, false},
    {"phi-2",            {G2},            false, false, false},
    {"mpt",              {G2},            false, false, true},
    {"olmo",             {G2},            false, false, true},
    {"jais",             {G2},            false, false, false},
    {"exaone4",          {G2},            false, false, false},
    {"modern-bert",      {G2},            false, false, false},
    {"smollm",           {"digit", G2},   false, false, false},
    {"starcoder",        {"digit", G2},   false, false, false},
    {"refact",           {"digit", G2},   false, false, false},
    {"command-r",        {"digit", G2},   false, false, true},
    {"codeshell",        {"digit", G2},   false, false, false},
    {"exaone",           {"digit", G2},   false, false, false},
    {"minerva-7b",       {"digit", G2},   false, false, false},
    {"llama-bpe",        {L3},            true,  true,  false},
    {"llama3",           {L3},            true,  true,  false},
    {"llama-v3",         {L3},            true,  true,  false},
    {"falcon3",          {L3},            true,  true,  false},
    {"pixtral",          {L3},            true,  true,  false},
    {"lfm2",             {L3},            true,  true,  false},
    {"dbrx",             {L3},            false, false, false},
    {"smaug-bpe",        {L3},            false, false, false},
    {"chatglm-bpe",      {L3},            false, false, false},
    {"glm4",             {L3},            true,  false, false},
    {"glm5",             {L3},            true,  false, false},
    {"qwen2",            {Q2},            false, false, true},
    {"deepseek-r1-qwen", {Q2},            false, false, true},
    {"stablelm2",        {Q2},            false, false, false},
    {"megrez",           {Q2},            false, false, false},
    {"hunyuan",          {Q2},            false, false, false},
    {"grok-2",           {Q2},            false, false, false},
    {"solar-open",       {Q2},            false, false, false},
    {"qwen35",           {Q35},           false, false, true},
    {"gpt-4o",           {O2},            false, false, false},
    {"llama4",           {O2},            false, false, false},
    {"tekken",           {TK},            true,  true,  false},
    {"deepseek-v3",      {D3_DIGITS, D3_ASIAN, D3}, false, false, false},
    {"hunyuan-dense",    {D3_DIGITS, D3_ASIAN, D3}, false, false, false},
    {"deepseek-coder",   {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", DC_ASIAN, "\\p{N}"}, false, false, false},
};
/* clang-format on */

const struct pre_tokenizer_row *pre_tokenizer_find(const char *name, size_t n)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (strlen(rows[i].name) == n && memcmp(rows[i].name, name, n) == 0)
            return &rows[i];
    return NULL;
}
