/* test_chunk_file.c: a chunk that was cut at any byte goes on with its whole records; a finished one says what it holds; one writer at a time. */
#include "corpus_internal.h"
#include "support/refusal.h"
#include "support/tiny_files.h"

#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char folder[128];

static void setup(void)
{
    tiny_folder(folder);
}

static void teardown(void)
{
    tiny_remove(folder);
}

TestSuite(chunk_file, .init = setup, .fini = teardown, .timeout = 120);

#define RECORDS 4

/* Record i, of varying length; every third an error. */
static void make_record(int i, struct strbuf *out)
{
    out->n = 0;
    if (i % 3 == 2)
        strbuf_printf(out, "{\"id\": %d, \"status\": \"error\", \"line\": %d}\n", i, i + 1);
    else
        strbuf_printf(out, "{\"id\": %d, \"status\": \"ok\", \"line\": %d, \"n_tokens\": %d, \"x\": \"%*s\"}\n", i, i + 1, i + 1, 7 * i,
                      "");
}

/* Records from..to-1, each in a frame of its own. */
static void add_records(struct chunk_writer *w, int from, int to)
{
    struct strbuf record = {.text = NULL};
    for (int i = from; i < to; i++) {
        make_record(i, &record);
        cr_assert(chunk_add(w, record.text, record.n, 0.0, NULL) == JSC_OK);
    }
    strbuf_free(&record);
}

static const struct chunk_totals totals = {.records = RECORDS, .errors = 1, .tokens = 1 + 2 + 4, .lines = 12, .seconds = 1.5, .origin = 77};

static char *finish_chunk(size_t *n)
{
    struct chunk_writer *w = NULL;
    struct file *file = NULL;
    char *copy = NULL;
    cr_assert(chunk_open(folder, 0, 0, &w, NULL) == JSC_OK && w != NULL);
    add_records(w, (int)chunk_found(w)->records, RECORDS);
    cr_assert(chunk_finish(w, &totals, NULL) == JSC_OK);
    chunk_close(w);
    cr_assert(file_open(tiny_path(folder, "part-0000-000000.jsonl.zst"), &file, NULL) == JSC_OK);
    cr_assert(mem_new(&copy, file->size, NULL) == JSC_OK);
    memcpy(copy, file->bytes, file->size);
    *n = file->size;
    file_close(file);
    return copy;
}

Test(chunk_file, says_what_it_holds)
{
    struct chunk_content content;
    struct chunk_totals footer;
    size_t n = 0;
    mem_free(finish_chunk(&n));
    const char *path = tiny_path(folder, "part-0000-000000.jsonl.zst");
    cr_assert(chunk_read(path, NULL, NULL, &content, NULL) == JSC_OK);
    cr_expect(content.finished && content.records == RECORDS && content.errors == 1 && content.tokens == 7 && content.whole == n);
    cr_assert(chunk_footer(path, &footer, NULL) == JSC_OK);
    cr_expect(footer.records == RECORDS && footer.errors == 1 && footer.tokens == 7 && footer.lines == 12 && footer.origin == 77);
    cr_expect(footer.seconds > 1.49 && footer.seconds < 1.51);
    cr_expect(path_exists(tiny_path(folder, "part-0000-000000.lock")) == false);
}

Test(chunk_file, cut_at_every_byte_it_goes_on)
{
    size_t n = 0, last = 0;
    char *whole = finish_chunk(&n);
    const char *final = tiny_path(folder, "part-0000-000000.jsonl.zst");
    char partial[256];
    (void)snprintf(partial, sizeof partial, "%s.partial", final);
    for (size_t keep = 0; keep <= n; keep++) {
        struct chunk_content content;
        size_t again = 0;
        cr_assert(remove(final) == 0);
        tiny_write(partial, whole, keep);
        cr_assert(chunk_read(partial, NULL, NULL, &content, NULL) == JSC_OK);
        cr_expect(content.finished == (keep == n), "%zu of %zu bytes", keep, n);
        cr_expect(content.records >= last && content.whole <= keep, "%zu bytes: %d records", keep, (int)content.records);
        last = (size_t)content.records;
        char *same = finish_chunk(&again);
        cr_expect(again == n && memcmp(same, whole, n) == 0, "after %zu bytes", keep);
        mem_free(same);
    }
    cr_expect(last == RECORDS);
    mem_free(whole);
}

static jsc_status collect(void *user, const char *line, size_t n, jsc_error *error)
{
    (void)error;
    strbuf_add(user, line, n);
    return JSC_OK;
}

/* Some bits of a zstd frame mean nothing: then the records must be the same. */
Test(chunk_file, a_wrong_byte_is_found_or_changes_nothing)
{
    struct strbuf right = {.text = NULL}, got = {.text = NULL};
    struct chunk_content content;
    size_t n = 0, missed = 0;
    char *whole = finish_chunk(&n);
    const char *path = tiny_path(folder, "part-0000-000000.jsonl.zst");
    cr_assert(chunk_read(path, collect, &right, &content, NULL) == JSC_OK && content.finished);
    for (size_t i = 0; i < n; i++) {
        got.n = 0;
        whole[i] = (char)(whole[i] ^ 0x01);
        tiny_write(path, whole, n);
        cr_assert(chunk_read(path, collect, &got, &content, NULL) == JSC_OK);
        missed += content.finished;
        cr_expect(content.finished == false || (got.n == right.n && memcmp(got.text, right.text, got.n) == 0), "byte %zu of %zu", i, n);
        whole[i] = (char)(whole[i] ^ 0x01);
    }
    cr_expect(missed < n / 20, "%zu of %zu", missed, n);
    strbuf_free(&right);
    strbuf_free(&got);
    mem_free(whole);
}

Test(chunk_file, a_tail_of_zeros_is_no_record)
{
    struct chunk_content content;
    char zeros[64] = "";
    tiny_write(tiny_path(folder, "zeros"), zeros, sizeof zeros);
    cr_assert(chunk_read(tiny_path(folder, "zeros"), NULL, NULL, &content, NULL) == JSC_OK);
    cr_expect(content.records == 0 && content.whole == 0 && !content.finished);
}

Test(chunk_file, a_footer_alone_is_asked_of_finished_files)
{
    struct chunk_totals footer;
    jsc_error error;
    tiny_write_text(tiny_path(folder, "short"), "x");
    expect_refusal(chunk_footer(tiny_path(folder, "short"), &footer, &error), JSC_E_FORMAT, &error, "short|run the corpus again");
}

Test(chunk_file, a_second_writer_is_refused_until_the_first_has_ended)
{
    struct chunk_writer *first = NULL, *second = NULL;
    jsc_error error;
    cr_assert(chunk_open(folder, 3, 4, &first, NULL) == JSC_OK);
    expect_refusal(chunk_open(folder, 3, 4, &second, &error), JSC_E_FILE, &error, "part-0003-000004.lock|another process");
    chunk_close(first);
    cr_expect(chunk_open(folder, 3, 4, &second, &error) == JSC_OK);
    chunk_close(second);
}

Test(chunk_file, a_dead_process_holds_nothing)
{
    struct chunk_lock *lock = NULL;
    const char *path = tiny_path(folder, "x.lock");
    const pid_t child = fork();
    if (child == 0)
        _exit(chunk_lock_take(path, &lock, NULL) == JSC_OK ? 0 : 1); /* the file stays */
    int end = -1;
    cr_assert(waitpid(child, &end, 0) == child && end == 0);
    cr_assert(path_exists(path));
    cr_expect(chunk_lock_take(path, &lock, NULL) == JSC_OK);
    cr_expect(chunk_lock_beat(lock, NULL) == JSC_OK);
    chunk_lock_give(lock);
    cr_expect(path_exists(path) == false);
}

Test(chunk_file, another_machines_lock_is_taken_over_when_its_heart_stops)
{
    struct chunk_lock *lock = NULL;
    jsc_error error;
    const char *path = tiny_path(folder, "x.lock");
    struct timespec times[2] = {{.tv_sec = time(NULL) - 100}, {.tv_sec = time(NULL) - 100}};
    tiny_write_text(path, "elsewhere 12345678pid:[1] 7 1 0\n");
    cr_assert(utimensat(-1, path, times, 0) == 0);
    expect_refusal(chunk_lock_take(path, &lock, &error), JSC_E_FILE, &error, "elsewhere|last heard of 10|s ago");
    times[0].tv_sec = times[1].tv_sec = time(NULL) - 400;
    cr_assert(utimensat(-1, path, times, 0) == 0);
    cr_expect(chunk_lock_take(path, &lock, &error) == JSC_OK);
    tiny_write_text(path, "elsewhere\n"); /* a third one thought us dead */
    expect_refusal(chunk_lock_beat(lock, &error), JSC_E_FILE, &error, "taken this chunk over");
    chunk_lock_give(lock);
    cr_expect(path_exists(path)); /* not ours any more */
}
