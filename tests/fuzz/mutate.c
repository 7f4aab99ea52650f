/* mutate.c: seeded damage: bits, boundary numbers, cut and doubled ranges, foreign words. */
#include "mutate.h"

#include <string.h>

struct dice {
    uint64_t seed, number, index;
};

/* 0 .. n-1 */
static size_t roll(struct dice *d, size_t n)
{
    return n == 0 ? 0 : rng_u32(d->seed, d->number, d->index++) % n;
}

/* Headers and counts stand in front: half of the edits go to the first 512 bytes. */
static size_t place(struct dice *d, size_t n)
{
    return roll(d, n > 512 && roll(d, 2) == 0 ? 512 : n);
}

static void flip_bit(unsigned char *bytes, size_t *n, struct dice *d)
{
    if (*n > 0)
        bytes[place(d, *n)] ^= (unsigned char)(1u << roll(d, 8));
}

static void set_byte(unsigned char *bytes, size_t *n, struct dice *d)
{
    static const unsigned char values[] = {0, 1, 0x7f, 0x80, 0xff, '"', '{', '}', '[', ']', ',', ':', '\\', '-', '9', '\n'};
    if (*n > 0)
        bytes[place(d, *n)] = values[roll(d, sizeof values)];
}

/* A little-endian number at a limit, 2, 4 or 8 bytes wide. */
static void set_number(unsigned char *bytes, size_t *n, struct dice *d)
{
    static const uint64_t values[] = {0,
                                      1,
                                      2,
                                      13,
                                      31,
                                      64,
                                      255,
                                      65535,
                                      65536,
                                      INT32_MAX,
                                      UINT32_MAX,
                                      (uint64_t)1 << 32,
                                      (uint64_t)1 << 61,
                                      INT64_MAX,
                                      (uint64_t)1 << 63,
                                      UINT64_MAX - 31,
                                      UINT64_MAX};
    const uint64_t v = values[roll(d, sizeof values / sizeof values[0])];
    const size_t width = (size_t)2 << roll(d, 3);
    if (*n >= width)
        memcpy(bytes + place(d, *n - width + 1), &v, width);
}

static void truncate_end(unsigned char *bytes, size_t *n, struct dice *d)
{
    (void)bytes;
    *n = roll(d, *n + 1);
}

/* Opens a gap of k bytes at `at`; false if there is no room. */
static bool open_gap(unsigned char *bytes, size_t *n, size_t capacity, size_t at, size_t k)
{
    if (k > capacity - *n)
        return false;
    memmove(bytes + at + k, bytes + at, *n - at);
    *n += k;
    return true;
}

static void remove_range(unsigned char *bytes, size_t *n, struct dice *d)
{
    const size_t at = place(d, *n), k = roll(d, (*n - at < 40 ? *n - at : 40) + 1);
    memmove(bytes + at, bytes + at + k, *n - at - k);
    *n -= k;
}

static void double_range(unsigned char *bytes, size_t *n, size_t capacity, struct dice *d)
{
    unsigned char copy[64];
    const size_t at = place(d, *n), k = roll(d, (*n - at < sizeof copy ? *n - at : sizeof copy) + 1);
    memcpy(copy, bytes + at, k);
    if (open_gap(bytes, n, capacity, at, k))
        memcpy(bytes + at, copy, k);
}

static void insert_word(unsigned char *bytes, size_t *n, size_t capacity, struct dice *d)
{
    static const char *const words[] = {"null",
                                        "true",
                                        "-1",
                                        "1e999",
                                        "0.5",
                                        "99999999999999999999",
                                        "18446744073709551615",
                                        "4294967296",
                                        "[[",
                                        "{}",
                                        "\"\"",
                                        "\"a\":1,",
                                        "\\u0000",
                                        "\\ud800",
                                        "\xff",
                                        "\xed\xa0\x80",
                                        "../",
                                        "[]",
                                        "0",
                                        "{\"a\":"};
    const char *word = words[roll(d, sizeof words / sizeof words[0])];
    const size_t at = place(d, *n + 1), k = strlen(word);
    if (open_gap(bytes, n, capacity, at, k))
        memcpy(bytes + at, word, k);
}

/* Another digit for one that stands there: shapes, offsets and counts of texts. */
static void change_digit(unsigned char *bytes, size_t *n, struct dice *d)
{
    for (int tries = 0; *n > 0 && tries < 40; tries++) {
        unsigned char *p = &bytes[place(d, *n)];
        if (*p >= '0' && *p <= '9') {
            *p = (unsigned char)('0' + roll(d, 10));
            return;
        }
    }
}

void mutate(unsigned char *bytes, size_t *n, size_t capacity, uint64_t seed, uint64_t number)
{
    struct dice d = {.seed = seed, .number = number};
    const size_t edits = 1 + roll(&d, 4);
    for (size_t i = 0; i < edits; i++)
        switch (roll(&d, 9)) {
        case 0:
            flip_bit(bytes, n, &d);
            break;
        case 1:
            set_byte(bytes, n, &d);
            break;
        case 2:
        case 3:
            set_number(bytes, n, &d);
            break;
        case 4:
            if (roll(&d, 4) == 0)
                truncate_end(bytes, n, &d);
            break;
        case 5:
            remove_range(bytes, n, &d);
            break;
        case 6:
            double_range(bytes, n, capacity, &d);
            break;
        case 7:
            insert_word(bytes, n, capacity, &d);
            break;
        default:
            change_digit(bytes, n, &d);
        }
}
