/* chunk_file.c: records of one block of lines. Written under a name that ends in .partial, in zstd frames that each stand alone; finished by
 * a footer (a frame that every zstd program skips), fsync and rename. What a kill leaves behind is whole frames and a torn one. */
#include "corpus_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#include <xxhash.h>
#include <zstd.h>

#define FRAME_TEXT   ((size_t)1 << 20) /* a frame is written when so much has come together */
#define LEVEL        3
#define FOOTER_MAGIC 0x184D2A5Au /* a skippable frame */
#define FOOTER_MARK  UINT64_C(0x31304b4e5548434a)
enum {
    FOOTER_RECORDS = 1,
    FOOTER_ERRORS,
    FOOTER_TOKENS,
    FOOTER_LINES,
    FOOTER_HASH,
    FOOTER_NANOSECONDS,
    FOOTER_ORIGIN,
    FOOTER_SELF,
    FOOTER_WORDS
};
#define FOOTER_BYTES (8 + 8 * FOOTER_WORDS)

struct chunk_writer {
    char *folder, *partial, *final;
    struct chunk_lock *lock;
    int fd;
    size_t written; /* bytes of whole frames */
    struct strbuf text;
    double last_flush;
    XXH3_state_t *hash;
    ZSTD_CCtx *zstd;
    void *packed;
    size_t packed_capacity;
    struct chunk_content found;
};

jsc_status chunk_path(const char *folder, uint64_t file, uint64_t block, const char *ending, char **out, jsc_error *error)
{
    char name[80];
    (void)snprintf(name, sizeof name, "part-%04" PRIu64 "-%06" PRIu64 "%s", file, block, ending);
    return path_join(folder, name, out, error);
}

/* ---- reading --------------------------------------------------------------------------------------------------------------------- */

static void put_u64(unsigned char *at, uint64_t value)
{
    for (int i = 0; i < 8; i++)
        at[i] = (unsigned char)(value >> 8 * i);
}

static uint64_t get_u64(const unsigned char *at)
{
    uint64_t value = 0;
    for (int i = 7; i >= 0; i--)
        value = value << 8 | at[i];
    return value;
}

/* A footer whose own checksum is right. */
static bool is_footer(const unsigned char *bytes, size_t n)
{
    return n == FOOTER_BYTES && get_u64(bytes) == (FOOTER_MAGIC | (uint64_t)(FOOTER_BYTES - 8) << 32) &&
           get_u64(bytes + 8) == FOOTER_MARK && get_u64(bytes + 8 + 8 * FOOTER_SELF) == XXH3_64bits(bytes, 8 + 8 * FOOTER_SELF);
}

static struct chunk_totals footer_totals(const unsigned char *bytes)
{
    const unsigned char *word = bytes + 8;
    return (struct chunk_totals){get_u64(word + 8 * FOOTER_RECORDS),
                                 get_u64(word + 8 * FOOTER_ERRORS),
                                 get_u64(word + 8 * FOOTER_TOKENS),
                                 get_u64(word + 8 * FOOTER_LINES),
                                 1e-9 * (double)get_u64(word + 8 * FOOTER_NANOSECONDS),
                                 get_u64(word + 8 * FOOTER_ORIGIN)};
}

/* The end of a file whose records are what its footer says. */
static bool read_footer(const unsigned char *bytes, size_t n, struct chunk_content *out)
{
    if (!is_footer(bytes, n))
        return false;
    out->totals = footer_totals(bytes);
    out->finished = out->totals.records == out->records && out->totals.errors == out->errors && out->totals.tokens == out->tokens &&
                    get_u64(bytes + 8 + 8 * FOOTER_HASH) == out->hash;
    return out->finished;
}

/* What the head of a record says; records are written by prompt_write. */
static void count_record(const char *line, size_t n, struct chunk_content *out)
{
    struct json_reader r = {.name = "record", .text = line, .n = n};
    size_t count = 0;
    bool more = false;
    char key[32];
    out->records++;
    if (json_reader_enter(&r, '{', NULL) != JSC_OK)
        return;
    while (json_reader_next(&r, '{', &count, &more, NULL) == JSC_OK && more) {
        (void)json_reader_peek(&r);
        key[0] = '\0';
        if (json_reader_key(&r, json_reader_string_size(&r) <= sizeof key ? key : NULL, NULL, NULL) != JSC_OK)
            return;
        const char first = json_reader_peek(&r);
        const size_t from = r.at;
        uint64_t tokens = 0;
        if (strcmp(key, "status") == 0)
            out->errors += n - from < 4 || memcmp(line + from, "\"ok\"", 4) != 0;
        if (strcmp(key, "n_tokens") == 0 && first >= '0' && first <= '9' && json_reader_u64(&r, key, &tokens, NULL) == JSC_OK) {
            out->tokens += tokens;
            return; /* the last field of the head */
        }
        json_reader_hop(&r);
    }
}

static jsc_status take_frame(const char *text, size_t n, chunk_record_fn take, void *user, struct chunk_content *out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    for (const char *at = text, *end = NULL; at < text + n; at = end + 1) {
        end = memchr(at, '\n', (size_t)(text + n - at));
        if (end == NULL)
            FAIL(JSC_E_FORMAT, "a frame ends in the middle of a record");
        count_record(at, (size_t)(end - at), out);
        if (take != NULL)
            TRY(take(user, at, (size_t)(end - at), error));
    }
done:
    return status;
}

/* The frame at bytes; *n_frame 0: it is none, or torn. */
static jsc_status unpack_frame(const unsigned char *bytes, size_t n, char **text, size_t *capacity, size_t *n_text, size_t *n_frame,
                               jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t size = ZSTD_findFrameCompressedSize(bytes, n);
    *n_frame = 0;
    if (ZSTD_isError(size))
        goto done;
    const unsigned long long content = ZSTD_getFrameContentSize(bytes, n);
    if (content == ZSTD_CONTENTSIZE_ERROR || content == ZSTD_CONTENTSIZE_UNKNOWN || content > (uint64_t)1 << 31)
        goto done;
    TRY(mem_reserve(text, capacity, (size_t)content + 1, error));
    *n_text = ZSTD_decompress(*text, (size_t)content, bytes, size);
    if (!ZSTD_isError(*n_text) && *n_text == content)
        *n_frame = size;
done:
    return status;
}

static jsc_status read_frames(const struct file *file, XXH3_state_t *hash, chunk_record_fn take, void *user, struct chunk_content *out,
                              jsc_error *error)
{
    jsc_status status = JSC_OK;
    char *text = NULL;
    size_t capacity = 0, n = 0, n_frame = 0;
    while (out->whole < file->size) {
        const unsigned char *at = file->bytes + out->whole;
        out->hash = XXH3_64bits_digest(hash);
        if (read_footer(at, file->size - out->whole, out)) {
            out->whole = file->size;
            break;
        }
        TRY(unpack_frame(at, file->size - out->whole, &text, &capacity, &n, &n_frame, error));
        if (n_frame == 0 || n == 0)
            break;
        (void)XXH3_64bits_update(hash, text, n);
        TRY(take_frame(text, n, take, user, out, error));
        out->whole += n_frame;
    }
    out->hash = XXH3_64bits_digest(hash);
done:
    mem_free(text);
    return status;
}

/* hash: fed with the text that is there. */
static jsc_status read_hashing(const char *path, XXH3_state_t *hash, chunk_record_fn take, void *user, struct chunk_content *out,
                               jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct file *file = NULL;
    *out = (struct chunk_content){0};
    (void)XXH3_64bits_reset(hash);
    TRY(file_open(path, &file, error));
    out->size = file->size;
    TRY(read_frames(file, hash, take, user, out, error));
done:
    file_close(file);
    return status;
}

jsc_status chunk_read(const char *path, chunk_record_fn take, void *user, struct chunk_content *out, jsc_error *error)
{
    XXH3_state_t *hash = XXH3_createState();
    if (hash == NULL)
        return status_set(error, JSC_E_MEMORY, "no memory for a checksum");
    const jsc_status status = read_hashing(path, hash, take, user, out, error);
    (void)XXH3_freeState(hash);
    return status;
}

jsc_status chunk_footer(const char *path, struct chunk_totals *out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct file *file = NULL;
    TRY(file_open(path, &file, error));
    if (file->size < FOOTER_BYTES || !is_footer(file->bytes + file->size - FOOTER_BYTES, FOOTER_BYTES))
        FAIL(JSC_E_FORMAT, "%s: it does not end as a finished chunk does; remove it and run the corpus again", path);
    *out = footer_totals(file->bytes + file->size - FOOTER_BYTES);
done:
    file_close(file);
    return status;
}

/* ---- writing --------------------------------------------------------------------------------------------------------------------- */

/* Opens what an earlier run has left and cuts a torn tail off. */
static jsc_status continue_partial(struct chunk_writer *w, jsc_error *error)
{
    jsc_status status = JSC_OK;
    w->fd = open(w->partial, O_WRONLY | O_CREAT | O_CLOEXEC | O_APPEND, 0666);
    if (w->fd < 0)
        FAIL(JSC_E_FILE, "%s: cannot be opened for writing: %s", w->partial, strerror(errno));
    TRY(read_hashing(w->partial, w->hash, NULL, NULL, &w->found, error));
    if (w->found.finished)
        w->found.whole -= FOOTER_BYTES; /* killed before the rename: the footer is written again */
    w->written = w->found.whole;
    if (w->found.size > w->written && ftruncate(w->fd, (off_t)w->written) != 0)
        FAIL(JSC_E_FILE, "%s: its torn end cannot be cut off: %s", w->partial, strerror(errno));
done:
    return status;
}

jsc_status chunk_open(const char *folder, uint64_t file, uint64_t block, struct chunk_writer **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct chunk_writer *w = NULL;
    char *lock = NULL;
    *out = NULL;
    TRY(mem_new(&w, 1, error));
    w->fd = -1;
    TRY(mem_strdup(&w->folder, folder, error));
    TRY(chunk_path(folder, file, block, CHUNK_PARTIAL, &w->partial, error));
    TRY(chunk_path(folder, file, block, CHUNK_FINISHED, &w->final, error));
    TRY(chunk_path(folder, file, block, CHUNK_LOCK, &lock, error));
    TRY(chunk_lock_take(lock, &w->lock, error));
    if (path_exists(w->final)) /* another worker was faster */
        goto done;
    w->hash = XXH3_createState();
    w->zstd = ZSTD_createCCtx();
    if (w->hash == NULL || w->zstd == NULL)
        FAIL(JSC_E_MEMORY, "no memory to pack records");
    (void)ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_compressionLevel, LEVEL);
    (void)ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_checksumFlag, 1);
    TRY(continue_partial(w, error));
    w->last_flush = clock_seconds();
    *out = w, w = NULL;
done:
    chunk_close(w);
    mem_free(lock);
    return status;
}

const struct chunk_content *chunk_found(const struct chunk_writer *w)
{
    return &w->found;
}

static jsc_status write_whole(struct chunk_writer *w, const char *bytes, size_t n, jsc_error *error)
{
    jsc_status status = JSC_OK;
    size_t at = 0;
    while (at < n) {
        const ssize_t put = write(w->fd, bytes + at, n - at);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            FAIL(JSC_E_FILE, "%s: writing failed: %s; make room and run the same command to go on", w->partial,
                 strerror(put == 0 ? EIO : errno));
        at += (size_t)put;
    }
    if (fdatasync(w->fd) != 0)
        FAIL(JSC_E_FILE, "%s: writing failed: %s; run the same command to go on", w->partial, strerror(errno));
    w->written += n;
done:
    if (status != JSC_OK)
        (void)!ftruncate(w->fd, (off_t)w->written); /* as well as it goes: the next run cuts too */
    return status;
}

jsc_status chunk_flush(struct chunk_writer *w, jsc_error *error)
{
    jsc_status status = JSC_OK;
    TRY(chunk_lock_beat(w->lock, error));
    w->last_flush = clock_seconds();
    if (w->text.n == 0)
        goto done;
    const size_t bound = ZSTD_compressBound(w->text.n);
    TRY(mem_reserve((char **)&w->packed, &w->packed_capacity, bound, error));
    const size_t n = ZSTD_compress2(w->zstd, w->packed, w->packed_capacity, w->text.text, w->text.n);
    if (ZSTD_isError(n))
        FAIL(JSC_E_MEMORY, "%s: records cannot be packed: %s", w->partial, ZSTD_getErrorName(n));
    TRY(write_whole(w, w->packed, n, error));
    (void)XXH3_64bits_update(w->hash, w->text.text, w->text.n);
    w->text.n = 0;
done:
    return status;
}

jsc_status chunk_add(struct chunk_writer *w, const char *record, size_t n, double flush_seconds, jsc_error *error)
{
    strbuf_add(&w->text, record, n);
    if (w->text.failed)
        return status_set(error, JSC_E_MEMORY, "%s: no memory for a record of %zu bytes", w->partial, n);
    return w->text.n >= FRAME_TEXT || clock_seconds() - w->last_flush >= flush_seconds ? chunk_flush(w, error) : JSC_OK;
}

static jsc_status sync_folder(const char *folder, jsc_error *error)
{
    const int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const bool good = fd >= 0 && (fsync(fd) == 0 || errno == EINVAL); /* EINVAL: a file system that does not know it */
    const int reason = errno;
    if (fd >= 0)
        (void)close(fd);
    return good ? JSC_OK : status_set(error, JSC_E_FILE, "%s: writing failed: %s", folder, strerror(reason));
}

jsc_status chunk_finish(struct chunk_writer *w, const struct chunk_totals *totals, jsc_error *error)
{
    jsc_status status = JSC_OK;
    unsigned char footer[FOOTER_BYTES], *word = footer + 8;
    TRY(chunk_flush(w, error));
    put_u64(footer, FOOTER_MAGIC | (uint64_t)(FOOTER_BYTES - 8) << 32);
    put_u64(word, FOOTER_MARK);
    put_u64(word + 8 * FOOTER_RECORDS, totals->records);
    put_u64(word + 8 * FOOTER_ERRORS, totals->errors);
    put_u64(word + 8 * FOOTER_TOKENS, totals->tokens);
    put_u64(word + 8 * FOOTER_LINES, totals->lines);
    put_u64(word + 8 * FOOTER_HASH, XXH3_64bits_digest(w->hash));
    put_u64(word + 8 * FOOTER_NANOSECONDS, (uint64_t)(1e9 * totals->seconds));
    put_u64(word + 8 * FOOTER_ORIGIN, totals->origin);
    put_u64(word + 8 * FOOTER_SELF, XXH3_64bits(footer, 8 + 8 * FOOTER_SELF));
    TRY(write_whole(w, (const char *)footer, sizeof footer, error));
    if (fsync(w->fd) != 0)
        FAIL(JSC_E_FILE, "%s: writing failed: %s; run the same command to go on", w->partial, strerror(errno));
    if (rename(w->partial, w->final) != 0)
        FAIL(JSC_E_FILE, "%s: cannot be made: %s", w->final, strerror(errno));
    TRY(sync_folder(w->folder, error));
done:
    return status;
}

jsc_status chunk_beat(const struct chunk_writer *w, jsc_error *error)
{
    return chunk_lock_beat(w->lock, error);
}

void chunk_close(struct chunk_writer *w)
{
    if (w == NULL)
        return;
    if (w->fd >= 0)
        (void)close(w->fd);
    chunk_lock_give(w->lock);
    (void)XXH3_freeState(w->hash);
    (void)ZSTD_freeCCtx(w->zstd);
    strbuf_free(&w->text);
    mem_free(w->packed);
    mem_free(w->folder);
    mem_free(w->partial);
    mem_free(w->final);
    mem_free(w);
}
