/* test_corpus_run.c: a corpus through the library: stopped and gone on with, by a group, without memory; what no run may be asked. */
#include "corpus_internal.h"
#include "support/refusal.h"
#include "support/tiny_files.h"

#include <dirent.h>
#include <stdio.h>

#define TINY JSC_TEST_SOURCE "/tests/golden/tiny_llama"

static char folder[128];
static jsc_model *model;

static void setup(void)
{
    jsc_open_options options = JSC_OPEN_OPTIONS_INIT;
    options.device = "cpu";
    options.threads = 1;
    tiny_folder(folder);
    cr_assert(jsc_model_open(TINY, &options, &model, NULL) == JSC_OK);
    tiny_write_text(tiny_path(folder, "in.jsonl"),
                    "{\"ids\": [1, 2, 3]}\n{\"ids\": [4, 5]}\nnot json\n{\"ids\": [6, 7], \"target\": 4}\n\n"
                    "{\"ids\": [8], \"target\": {\"contrast\": [1, 2]}}\n{\"ids\": [9, 9], \"targets\": \"all\"}");
}

static void teardown(void)
{
    DIR *d = opendir(folder);
    for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d))
        if (e->d_name[0] != '.' && path_is_directory(tiny_path(folder, e->d_name)))
            tiny_remove(tiny_path(folder, e->d_name));
    (void)closedir(d);
    jsc_model_close(model);
    tiny_remove(folder);
}

TestSuite(corpus_run, .init = setup, .fini = teardown, .timeout = 300);

static const char *const *inputs(void)
{
    static const char *paths[1];
    static char path[256];
    (void)snprintf(path, sizeof path, "%s", tiny_path(folder, "in.jsonl"));
    paths[0] = path;
    return paths;
}

static jsc_corpus_options options_for(const char *name)
{
    static char out[256];
    jsc_corpus_options options = JSC_CORPUS_OPTIONS_INIT;
    (void)snprintf(out, sizeof out, "%s", tiny_path(folder, name));
    options.inputs = inputs();
    options.n_inputs = 1;
    options.folder = out;
    options.chunk = 4;
    options.flush_seconds = 0.0;
    return options;
}

static jsc_status collect(void *user, const char *line, size_t n, jsc_error *error)
{
    struct strbuf *out = user;
    const char *end = memmem(line, n, "\"y_norm\"", 8); /* behind it the run's times and memory */
    (void)error;
    strbuf_add(out, line, end != NULL ? (size_t)(end - line) : n);
    strbuf_puts(out, "\n");
    return JSC_OK;
}

/* All records of a finished folder, without what may differ. */
static void read_folder(const char *path, struct strbuf *out)
{
    struct chunk_content content;
    for (uint64_t block = 0; block < 2; block++) {
        char *name = NULL;
        cr_assert(chunk_path(path, 0, block, CHUNK_FINISHED, &name, NULL) == JSC_OK);
        cr_assert(chunk_read(name, collect, out, &content, NULL) == JSC_OK && content.finished, "%s", name);
        mem_free(name);
    }
}

static void make_whole(struct strbuf *out)
{
    jsc_corpus_options options = options_for("whole");
    jsc_corpus_counts counts = JSC_CORPUS_COUNTS_INIT;
    jsc_error error;
    cr_assert(jsc_corpus_run(model, NULL, &options, &counts, &error) == JSC_OK, "%s", error.text);
    cr_expect(counts.records == 6 && counts.errors == 1 && counts.tokens == 10 && counts.found == 0);
    cr_expect(counts.bytes == counts.bytes_all && counts.bytes > 0);
    read_folder(options.folder, out);
}

static int stop_after(void *user, const jsc_corpus_counts *now)
{
    return now->records >= *(const uint64_t *)user;
}

Test(corpus_run, stopped_after_any_record_it_goes_on)
{
    struct strbuf whole = {.text = NULL};
    make_whole(&whole);
    for (uint64_t stop = 1; stop <= 6; stop++) {
        struct strbuf got = {.text = NULL};
        char name[16];
        (void)snprintf(name, sizeof name, "stop%d", (int)stop);
        jsc_corpus_options options = options_for(name);
        jsc_corpus_counts counts = JSC_CORPUS_COUNTS_INIT;
        jsc_error error;
        options.progress = stop_after;
        options.progress_user = &stop;
        expect_refusal(jsc_corpus_run(model, NULL, &options, &counts, &error), JSC_E_CANCELLED, &error, "the same command");
        cr_expect(counts.records == stop);
        options.progress = NULL;
        cr_assert(jsc_corpus_run(model, NULL, &options, &counts, &error) == JSC_OK, "%s", error.text);
        cr_expect(counts.records == 6 - stop && counts.found == stop && counts.found_errors + counts.errors == 1, "%d", (int)stop);
        read_folder(options.folder, &got);
        cr_expect(strcmp(got.text, whole.text) == 0, "stopped after %d", (int)stop);
        strbuf_free(&got);
    }
    strbuf_free(&whole);
}

Test(corpus_run, a_group_writes_what_one_writes)
{
    struct strbuf whole = {.text = NULL}, got = {.text = NULL};
    const jsc_model *twice[2] = {model, model};
    jsc_group *group = NULL;
    jsc_error error;
    make_whole(&whole);
    cr_assert(jsc_group_make(twice, 2, &group, &error) == JSC_OK, "%s", error.text);
    jsc_corpus_options options = options_for("group");
    cr_assert(jsc_corpus_run(model, group, &options, NULL, &error) == JSC_OK, "%s", error.text);
    read_folder(options.folder, &got);
    cr_expect(strcmp(got.text, whole.text) == 0);
    jsc_group_close(group);
    strbuf_free(&whole);
    strbuf_free(&got);
}

Test(corpus_run, without_memory_nothing_is_lost)
{
    const size_t before = mem_live_bytes();
    bool failed = true;
    for (long k = 1; failed; k += 1 + k / 12) {
        jsc_corpus_options options = options_for("memory");
        jsc_corpus_counts counts = JSC_CORPUS_COUNTS_INIT;
        jsc_corpus_state state = JSC_CORPUS_STATE_INIT;
        jsc_error error = {JSC_OK, ""};
        uint64_t records = 0;
        mem_fail_at(k, true);
        const jsc_status status = jsc_corpus_run(model, NULL, &options, &counts, &error);
        failed = mem_calls() >= k;
        mem_fail_at(0, false);
        cr_expect(status == JSC_OK || status == JSC_E_MEMORY, "%ld: %s", k, error.text);
        cr_assert(jsc_corpus_run(model, NULL, &options, NULL, &error) == JSC_OK, "%ld: %s", k, error.text);
        cr_assert(jsc_corpus_status(options.folder, &state, &error) == JSC_OK, "%s", error.text);
        cr_expect(state.complete && state.records == 6);
        mem_fail_at(1 + k % 40, true);
        const jsc_status checked = jsc_corpus_check(options.folder, NULL, NULL, &records, NULL, &error);
        mem_fail_at(0, false);
        cr_expect(checked == JSC_OK || checked == JSC_E_MEMORY, "%s", error.text);
        cr_expect(mem_live_bytes() == before, "%ld: %zu bytes", k, mem_live_bytes() - before);
        tiny_remove(options.folder);
    }
}

Test(corpus_run, what_no_run_may_be_asked)
{
    jsc_error error;
    jsc_request request = JSC_REQUEST_INIT;
    jsc_corpus_options options = options_for("bad");
    options.shard = 2, options.shards = 2;
    expect_refusal(jsc_corpus_run(model, NULL, &options, NULL, &error), JSC_E_ARGUMENT, &error, "shard 2 of 2");
    options = options_for("bad");
    options.chunk = 0;
    expect_refusal(jsc_corpus_run(model, NULL, &options, NULL, &error), JSC_E_ARGUMENT, &error, "at least one line");
    options = options_for("bad");
    options.size--;
    expect_refusal(jsc_corpus_run(model, NULL, &options, NULL, &error), JSC_E_ARGUMENT, &error, "JSC_CORPUS_OPTIONS_INIT");
    options = options_for("bad");
    options.n_inputs = 0;
    expect_refusal(jsc_corpus_run(model, NULL, &options, NULL, &error), JSC_E_ARGUMENT, &error, "inputs");
    options = options_for("bad");
    request.scope = JSC_SCOPE_FISHER, request.fisher_mode = JSC_FISHER_RANK, request.fisher_rank = 100000;
    options.request = &request;
    expect_refusal(jsc_corpus_run(model, NULL, &options, NULL, &error), JSC_E_ARGUMENT, &error, "100000");
    cr_expect(path_exists(options.folder) == false);
}

Test(corpus_run, an_input_that_shrank_is_not_taken_for_the_same)
{
    jsc_error error;
    uint64_t stop = 3;
    jsc_corpus_options options = options_for("shrank");
    options.progress = stop_after;
    options.progress_user = &stop;
    cr_assert(jsc_corpus_run(model, NULL, &options, NULL, &error) == JSC_E_CANCELLED);
    tiny_write_text(options.inputs[0], "{\"ids\": [1, 2, 3]}\n");
    expect_refusal(jsc_corpus_run(model, NULL, &options, NULL, &error), JSC_E_ARGUMENT, &error, "inputs[0]|bytes|another folder");
}
