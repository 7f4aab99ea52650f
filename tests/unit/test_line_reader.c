/* test_line_reader.c: lines of any file, however its bytes come: ends, blanks, marks, members, torn data, lines that are too long. */
#include "corpus_internal.h"
#include "support/refusal.h"
#include "support/tiny_files.h"

#include <fcntl.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

static char folder[128];

static void setup(void)
{
    tiny_folder(folder);
}

static void teardown(void)
{
    tiny_remove(folder);
}

TestSuite(line_reader, .init = setup, .fini = teardown, .timeout = 120);

/* The lines as "1:text|2:text|", blank ones as "~", too long ones as "!". */
static jsc_status read_all(const char *path, struct strbuf *out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct line_reader *r = NULL;
    struct line line;
    bool more = true;
    TRY(line_reader_open(path, &r, error));
    for (;;) {
        TRY(line_reader_next(r, &line, &more, error));
        if (!more)
            break;
        strbuf_printf(out, "%d:", (int)line.number);
        strbuf_add(out, line.too_long ? "!" : line.blank ? "~" : line.text, line.too_long || line.blank ? 1 : line.n);
        strbuf_puts(out, "|");
    }
done:
    line_reader_close(r);
    return status;
}

static void expect_lines(int at, const void *bytes, size_t n, const char *want)
{
    struct strbuf got = {.text = NULL};
    jsc_error error;
    const char *path = tiny_path(folder, "in");
    tiny_write(path, bytes, n);
    const jsc_status status = read_all(path, &got, &error);
    cr_expect(status == JSC_OK, "line %d: %s", at, status == JSC_OK ? "" : error.text);
    cr_expect(strcmp(got.text != NULL ? got.text : "", want) == 0, "line %d: '%s', not '%s'", at, got.text, want);
    strbuf_free(&got);
}
#define EXPECT_LINES(text, want) expect_lines(__LINE__, text, sizeof(text) - 1, want)

Test(line_reader, ends_blanks_and_marks)
{
    EXPECT_LINES("", "");
    EXPECT_LINES("a", "1:a|");
    EXPECT_LINES("a\n", "1:a|");
    EXPECT_LINES("a\n\nb", "1:a|2:~|3:b|");
    EXPECT_LINES("\n", "1:~|");
    EXPECT_LINES(" \t\r\nx\r\n", "1:~|2:x\r|");
    EXPECT_LINES("\xef\xbb\xbf"
                 "a\n\xef\xbb\xbf"
                 "b",
                 "1:a|2:\xef\xbb\xbf"
                 "b|");
    EXPECT_LINES("\xff\xfe\n\xc3", "1:\xff\xfe|2:\xc3|");
    EXPECT_LINES("\r", "1:~|");
}

Test(line_reader, a_zero_byte_is_no_blank)
{
    struct line_reader *r = NULL;
    struct line line;
    bool more = false;
    tiny_write(tiny_path(folder, "in"), "\0\n", 2);
    cr_assert(line_reader_open(tiny_path(folder, "in"), &r, NULL) == JSC_OK);
    cr_assert(line_reader_next(r, &line, &more, NULL) == JSC_OK && more);
    cr_expect(line.blank == false && line.n == 1);
    line_reader_close(r);
}

/* n bytes of gzip in one member, appended. */
static void add_gzip(struct strbuf *out, const char *text, size_t n)
{
    unsigned char packed[4096];
    z_stream z = {.next_in = (unsigned char *)(uintptr_t)text, .avail_in = (uInt)n, .next_out = packed, .avail_out = sizeof packed};
    cr_assert(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    cr_assert(deflate(&z, Z_FINISH) == Z_STREAM_END);
    strbuf_add(out, (const char *)packed, sizeof packed - z.avail_out);
    (void)deflateEnd(&z);
}

static void add_zstd(struct strbuf *out, const char *text, size_t n)
{
    char packed[4096];
    const size_t size = ZSTD_compress(packed, sizeof packed, text, n, 3);
    cr_assert(ZSTD_isError(size) == 0);
    strbuf_add(out, packed, size);
}

Test(line_reader, packed_and_cut_at_every_byte)
{
    static void (*const add[])(struct strbuf *, const char *, size_t) = {add_gzip, add_zstd};
    for (int kind = 0; kind < 2; kind++) {
        struct strbuf all = {.text = NULL};
        add[kind](&all, "first\nsec", 9);
        const size_t member = all.n;
        add[kind](&all, "", 0);
        const size_t empty = all.n;
        add[kind](&all, "ond\nthird", 9);
        expect_lines(__LINE__, all.text, all.n, "1:first|2:second|3:third|");
        for (size_t n = 5; n < all.n; n++) {
            struct strbuf got = {.text = NULL};
            jsc_error error;
            tiny_write(tiny_path(folder, "in"), all.text, n);
            const jsc_status status = read_all(tiny_path(folder, "in"), &got, &error);
            if (n == member || n == empty)
                cr_expect(status == JSC_OK && strcmp(got.text, "1:first|2:sec|") == 0, "kind %d, %zu bytes", kind, n);
            else
                expect_refusal(status, JSC_E_FORMAT, &error, "cut short");
            strbuf_free(&got);
        }
        struct strbuf got = {.text = NULL};
        jsc_error error;
        strbuf_puts(&all, "garbage");
        tiny_write(tiny_path(folder, "in"), all.text, all.n);
        expect_refusal(read_all(tiny_path(folder, "in"), &got, &error), JSC_E_FORMAT, &error, "damaged");
        strbuf_free(&got);
        strbuf_free(&all);
    }
}

Test(line_reader, padding_after_gzip_is_passed_over)
{
    struct strbuf all = {.text = NULL};
    add_gzip(&all, "a\n", 2);
    strbuf_add(&all, "\0\0\0\0", 4);
    expect_lines(__LINE__, all.text, all.n, "1:a|");
    strbuf_free(&all);
}

/* A line of n letters between two short ones. */
static void expect_long(size_t n, const char *want, size_t middle)
{
    struct line_reader *r = NULL;
    struct line line;
    bool more = false;
    struct strbuf got = {.text = NULL};
    const char *path = tiny_path(folder, "long");
    FILE *f = fopen(path, "w");
    cr_assert(f != NULL);
    (void)fputs("a\n", f);
    for (size_t i = 0; i < n; i += 1024)
        (void)fprintf(f, "%.*s", (int)(n - i < 1024 ? n - i : 1024), (const char[1024]){[0 ... 1023] = 'x'});
    (void)fputs("\nb", f);
    cr_assert(fclose(f) == 0);
    cr_assert(line_reader_open(path, &r, NULL) == JSC_OK);
    while (line_reader_next(r, &line, &more, NULL) == JSC_OK && more) {
        strbuf_printf(&got, "%s", line.too_long ? "!" : line.n > 1 ? "x" : line.text[0] == 'a' ? "a" : "b");
        cr_expect(line.number != 2 || line.too_long || line.n == middle);
    }
    cr_expect(strcmp(got.text, want) == 0, "%zu: %s", n, got.text);
    cr_expect(line_reader_taken(r) == line_reader_size(r));
    strbuf_free(&got);
    line_reader_close(r);
}

Test(line_reader, a_line_may_be_64_mib_long_and_a_longer_one_takes_no_more_memory)
{
    expect_long(300000, "axb", 300000);
    expect_long(LINE_MAX_BYTES, "axb", LINE_MAX_BYTES);
    const size_t before = mem_live_bytes();
    expect_long(LINE_MAX_BYTES + 1, "a!b", 0);
    expect_long(3 * LINE_MAX_BYTES, "a!b", 0);
    cr_expect(mem_live_bytes() == before);
}

Test(line_reader, bytes_of_a_pipe_that_come_in_pieces)
{
    int ends[2];
    struct strbuf got = {.text = NULL};
    char path[32];
    cr_assert(pipe(ends) == 0);
    const pid_t child = fork();
    if (child == 0) {
        static const char *const pieces[] = {"a", "b\nc", "\n", "\nd"};
        (void)close(ends[0]);
        for (int i = 0; i < 4; i++) {
            (void)!write(ends[1], pieces[i], strlen(pieces[i]));
            (void)usleep(5000);
        }
        _exit(0);
    }
    (void)close(ends[1]);
    (void)snprintf(path, sizeof path, "/dev/fd/%d", ends[0]);
    cr_expect(read_all(path, &got, NULL) == JSC_OK);
    cr_expect(strcmp(got.text, "1:ab|2:c|3:~|4:d|") == 0, "%s", got.text);
    strbuf_free(&got);
    (void)close(ends[0]);
}

Test(line_reader, what_cannot_be_read)
{
    struct line_reader *r = NULL;
    jsc_error error;
    expect_refusal(line_reader_open(tiny_path(folder, "none"), &r, &error), JSC_E_FILE, &error, "none|No such file");
    expect_refusal(line_reader_open(folder, &r, &error), JSC_E_FILE, &error, "folder");
}
