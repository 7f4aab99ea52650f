/* line_reader.c: lines of a plain, gzip or zstd file (by their first bytes; members and frames one after another), or of standard input. */
#include "corpus_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>
#include <zlib.h>
#include <zstd.h>

#define RAW   ((size_t)1 << 20)
#define PIECE ((size_t)1 << 18)

enum packing { PACKING_NONE, PACKING_GZIP, PACKING_ZSTD };

struct line_reader {
    char *path;
    int fd;
    enum packing packing;
    unsigned char *raw; /* [RAW] of the file, not yet unpacked: raw_at..raw_n */
    size_t raw_at, raw_n;
    bool raw_ended;
    bool inside; /* of a member or frame: the file may not end here */
    uint64_t taken, size, hash;
    z_stream gzip;
    ZSTD_DStream *zstd;
    char *text; /* unpacked: from..to */
    size_t capacity, from, to;
    bool ended;
    uint64_t number;
};

/* More of the file behind what is there. */
static jsc_status fill_raw(struct line_reader *r, jsc_error *error)
{
    if (r->raw_at == r->raw_n)
        r->raw_at = r->raw_n = 0;
    while (r->raw_n < RAW && !r->raw_ended) {
        const ssize_t got = read(r->fd, r->raw + r->raw_n, RAW - r->raw_n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return status_set(error, JSC_E_FILE, "%s: reading failed after %" PRIu64 " bytes: %s", r->path, r->taken, strerror(errno));
        r->raw_ended = got == 0;
        r->raw_n += (size_t)got;
        r->taken += (uint64_t)got;
    }
    return JSC_OK;
}

static jsc_status find_packing(struct line_reader *r, jsc_error *error)
{
    const bool gzip = r->raw_n >= 2 && memcmp(r->raw, "\x1f\x8b", 2) == 0;
    const bool zstd = r->raw_n >= 4 && (memcmp(r->raw, "\x28\xb5\x2f\xfd", 4) == 0 ||
                                        ((r->raw[0] & 0xf0) == 0x50 && memcmp(r->raw + 1, "\x2a\x4d\x18", 3) == 0));
    if (gzip && inflateInit2(&r->gzip, 15 + 16) != Z_OK)
        return status_set(error, JSC_E_MEMORY, "%s: no memory to unpack it", r->path);
    if (zstd && (r->zstd = ZSTD_createDStream()) == NULL)
        return status_set(error, JSC_E_MEMORY, "%s: no memory to unpack it", r->path);
    r->packing = gzip ? PACKING_GZIP : zstd ? PACKING_ZSTD : PACKING_NONE;
    if (!gzip && !zstd && r->raw_n >= 3 && memcmp(r->raw, "\xef\xbb\xbf", 3) == 0)
        r->raw_at = 3; /* a byte order mark is no text */
    return JSC_OK;
}

jsc_status line_reader_open(const char *path, struct line_reader **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct line_reader *r = NULL;
    struct stat s;
    TRY(mem_new(&r, 1, error));
    r->fd = -1;
    TRY(mem_strdup(&r->path, strcmp(path, "-") == 0 ? "standard input" : path, error));
    r->fd = strcmp(path, "-") == 0 ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0) : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (r->fd < 0 || fstat(r->fd, &s) != 0)
        FAIL(JSC_E_FILE, "%s: cannot be opened: %s", r->path, strerror(errno));
    if (S_ISDIR(s.st_mode))
        FAIL(JSC_E_FILE, "%s: is a folder, a file is wanted", r->path);
    r->size = S_ISREG(s.st_mode) ? (uint64_t)s.st_size : 0;
    TRY(mem_new(&r->raw, RAW, error));
    TRY(fill_raw(r, error));
    r->hash = XXH3_64bits(r->raw, r->raw_n);
    TRY(find_packing(r, error));
    *out = r, r = NULL;
done:
    line_reader_close(r);
    return status;
}

void line_reader_close(struct line_reader *r)
{
    if (r == NULL)
        return;
    if (r->packing == PACKING_GZIP)
        (void)inflateEnd(&r->gzip);
    (void)ZSTD_freeDStream(r->zstd);
    if (r->fd >= 0)
        (void)close(r->fd);
    mem_free(r->raw);
    mem_free(r->text);
    mem_free(r->path);
    mem_free(r);
}

static jsc_status unpack_gzip(struct line_reader *r, char *out, size_t capacity, size_t *n, jsc_error *error)
{
    if (!r->inside) {
        while (r->raw_at < r->raw_n && r->raw[r->raw_at] == 0) /* tapes pad with zeros */
            r->raw_at++;
        if (r->raw_at == r->raw_n)
            return JSC_OK;
        (void)inflateReset(&r->gzip);
        r->inside = true;
    }
    r->gzip.next_in = r->raw + r->raw_at, r->gzip.avail_in = (uInt)(r->raw_n - r->raw_at);
    r->gzip.next_out = (unsigned char *)out, r->gzip.avail_out = (uInt)capacity;
    const int code = inflate(&r->gzip, Z_NO_FLUSH);
    r->raw_at = r->raw_n - r->gzip.avail_in;
    *n = capacity - r->gzip.avail_out;
    if (code == Z_STREAM_END)
        r->inside = false;
    else if (code == Z_MEM_ERROR)
        return status_set(error, JSC_E_MEMORY, "%s: no memory to unpack it", r->path);
    else if (code != Z_OK && code != Z_BUF_ERROR)
        return status_set(error, JSC_E_FORMAT, "%s: damaged gzip data near byte %" PRIu64 ": %s; fetch it again", r->path,
                          r->taken - (r->raw_n - r->raw_at), r->gzip.msg != NULL ? r->gzip.msg : "no such data");
    return JSC_OK;
}

static jsc_status unpack_zstd(struct line_reader *r, char *out, size_t capacity, size_t *n, jsc_error *error)
{
    ZSTD_inBuffer in = {r->raw, r->raw_n, r->raw_at};
    ZSTD_outBuffer to = {out, capacity, 0};
    const size_t code = ZSTD_decompressStream(r->zstd, &to, &in);
    if (ZSTD_isError(code))
        return status_set(error, JSC_E_FORMAT, "%s: damaged zstd data near byte %" PRIu64 ": %s; fetch it again", r->path,
                          r->taken - (r->raw_n - in.pos), ZSTD_getErrorName(code));
    r->inside = code != 0;
    r->raw_at = in.pos;
    *n = to.pos;
    return JSC_OK;
}

/* The next piece of unpacked text into out; *n 0: there is no more. */
static jsc_status unpack(struct line_reader *r, char *out, size_t capacity, size_t *n, jsc_error *error)
{
    jsc_status status = JSC_OK;
    *n = 0;
    for (;;) {
        if (r->raw_at == r->raw_n)
            TRY(fill_raw(r, error));
        const size_t before = r->raw_at, left = r->raw_n - r->raw_at;
        if (r->packing == PACKING_NONE) {
            *n = left < capacity ? left : capacity;
            memcpy(out, r->raw + r->raw_at, *n);
            r->raw_at += *n;
        } else if (left > 0 || r->inside)
            TRY(r->packing == PACKING_GZIP ? unpack_gzip(r, out, capacity, n, error) : unpack_zstd(r, out, capacity, n, error));
        if (*n > 0 || (r->raw_at == r->raw_n && r->raw_ended && r->raw_at == before))
            break;
    }
    if (*n == 0 && r->inside)
        FAIL(JSC_E_FORMAT, "%s: its packed data end after %" PRIu64 " bytes in the middle; it is cut short: fetch it again", r->path,
             r->taken);
done:
    return status;
}

/* More text behind what is there. */
static jsc_status fill_text(struct line_reader *r, jsc_error *error)
{
    jsc_status status = JSC_OK;
    size_t got = 0;
    if (r->from > 0 && r->from < r->to)
        memmove(r->text, r->text + r->from, r->to - r->from);
    r->to -= r->from;
    r->from = 0;
    TRY(mem_reserve(&r->text, &r->capacity, r->to + PIECE, error));
    TRY(unpack(r, r->text + r->to, PIECE, &got, error));
    r->ended = got == 0;
    r->to += got;
done:
    return status;
}

static bool only_space(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strchr(" \t\r", text[i]) == NULL || text[i] == '\0')
            return false;
    return true;
}

jsc_status line_reader_next(struct line_reader *r, struct line *out, bool *more, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const char *end = NULL;
    size_t seen = 0, dropped = 0; /* of this line: without an end so far; passed over */
    for (;;) {
        end = r->to - r->from > seen ? memchr(r->text + r->from + seen, '\n', r->to - r->from - seen) : NULL;
        if (end != NULL || r->ended)
            break;
        seen = r->to - r->from;
        if (seen > LINE_MAX_BYTES || dropped > 0) {
            dropped += seen;
            r->from = r->to;
            seen = 0;
        }
        TRY(fill_text(r, error));
    }
    const size_t n = end != NULL ? (size_t)(end - r->text) - r->from : r->to - r->from;
    *more = end != NULL || n > 0 || dropped > 0;
    *out = (struct line){r->text != NULL ? r->text + r->from : "", n, ++r->number, dropped > 0 || n > LINE_MAX_BYTES, false};
    out->blank = !out->too_long && only_space(out->text, n);
    r->from += n + (end != NULL ? 1 : 0);
done:
    return status;
}

uint64_t line_reader_taken(const struct line_reader *r)
{
    return r->taken - (r->raw_n - r->raw_at);
}

uint64_t line_reader_size(const struct line_reader *r)
{
    return r->size;
}

uint64_t line_reader_hash(const struct line_reader *r)
{
    return r->hash;
}
