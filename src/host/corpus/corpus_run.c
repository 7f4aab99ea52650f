/* corpus_run.c: the walk over all input lines: whose chunk a line is in, what is there already, prompts to results to records. */
#include "corpus_internal.h"

#include <jscopes/plan.h>

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BEAT_SECONDS   30.0
#define STATUS_SECONDS 30.0
#define GROUP_BATCH    8 /* prompts per device in a batch, so that a slow one does not hold up the others for long */

struct run {
    const jsc_corpus_options *o;
    const jsc_model *model;
    const jsc_group *group;
    struct inputs inputs;
    jsc_corpus_counts counts;
    double began, last_status;
    _Atomic double last_beat;
    struct prompt *batch;
    jsc_request *requests;
    size_t *asked; /* which of the batch each request is */
    size_t n_batch, most;
    struct chunk_writer *chunk; /* NULL: these lines are another's, or done */
    struct chunk_totals totals; /* of the chunk */
    double chunk_began;
    uint64_t origin;
    uint64_t skip; /* records of the chunk that are there */
    struct strbuf record;
    uint64_t bytes_before, lines_left;
    json_t *lines, *records; /* of each input file read so far */
    bool stopping;
};

/* ---- state for `corpus status` ------------------------------------------------------------------------------------------------- */

static jsc_status save_status(struct run *run, const char *state, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const jsc_corpus_counts *c = &run->counts;
    char name[80], host[65] = "?";
    (void)gethostname(host, sizeof host - 1);
    (void)snprintf(name, sizeof name, "status-%" PRIu64 "-of-%" PRIu64 ".json", run->o->shard, run->o->shards);
    json_t *value = json_pack("{s:s, s:I, s:I, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:I}", "state", state, "shard",
                              (json_int_t)run->o->shard, "shards", (json_int_t)run->o->shards, "host", host, "pid", (json_int_t)getpid(),
                              "records", (json_int_t)c->records, "errors", (json_int_t)c->errors, "tokens", (json_int_t)c->tokens, "found",
                              (json_int_t)c->found, "found_errors", (json_int_t)c->found_errors, "bytes", (json_int_t)c->bytes, "bytes_all",
                              (json_int_t)c->bytes_all, "seconds", c->seconds, "time", (json_int_t)time(NULL));
    if (value == NULL)
        FAIL(JSC_E_MEMORY, "no memory for %s", name);
    TRY(json_save(run->o->folder, name, value, error));
done:
    json_decref(value);
    return status;
}

static jsc_status tell(struct run *run, jsc_error *error)
{
    run->counts.seconds = clock_seconds() - run->began;
    if (run->o->progress != NULL && run->o->progress(run->o->progress_user, &run->counts) != 0)
        run->stopping = true;
    if (run->counts.seconds - run->last_status < STATUS_SECONDS)
        return JSC_OK;
    run->last_status = run->counts.seconds;
    return save_status(run, "running", error);
}

/* ---- prompts to records --------------------------------------------------------------------------------------------------------- */

/* jsc_progress_fn, from any thread: keeps the lock alive while one prompt takes long. */
static int beat(void *user, const char *stage, double done, double total)
{
    struct run *run = user;
    const double now = clock_seconds();
    (void)stage, (void)done, (void)total;
    if (now - atomic_load(&run->last_beat) < BEAT_SECONDS)
        return 0;
    atomic_store(&run->last_beat, now);
    (void)chunk_beat(run->chunk, NULL); /* a lock that was lost is found at the next write */
    return 0;
}

static void take_answer(struct prompt *p, jsc_attribution *a, const jsc_error *why)
{
    p->result = a;
    if (a == NULL) {
        p->why = *why;
        p->code = prompt_code(why->status);
        p->fatal = p->code == NULL;
    }
}

static int on_answer(void *user, size_t i, jsc_attribution *a, const jsc_error *why)
{
    struct run *run = user;
    take_answer(&run->batch[run->asked[i]], a, why);
    return 0;
}

/* Results of the prompts in the batch that are not refused already. */
static jsc_status ask(struct run *run, jsc_error *error)
{
    jsc_status status = JSC_OK;
    size_t n = 0;
    for (size_t i = 0; i < run->n_batch; i++) {
        struct prompt *p = &run->batch[i];
        p->request.progress = beat;
        p->request.progress_user = run;
        if (p->code == NULL) {
            run->asked[n] = i;
            run->requests[n++] = p->request;
        }
    }
    if (run->group != NULL && n > 0)
        return jsc_group_attribute_each(run->group, run->requests, n, on_answer, run, error);
    for (size_t i = 0; i < n; i++) {
        jsc_attribution *a = NULL;
        jsc_error why = {JSC_OK, ""};
        (void)jsc_attribute(run->model, &run->requests[i], &a, &why);
        take_answer(&run->batch[run->asked[i]], a, &why);
    }
    return status;
}

static jsc_status write_prompt(struct run *run, const struct prompt *p, jsc_error *error)
{
    jsc_status status = JSC_OK;
    if (p->fatal)
        FAIL(p->why.status, "%s, line %" PRIu64 ": %s", p->file, p->line, p->why.text);
    run->record.n = 0;
    TRY(prompt_write(p, &run->record, error));
    TRY(chunk_add(run->chunk, run->record.text, run->record.n, run->o->flush_seconds, error));
    const uint64_t tokens = p->code == NULL ? p->request.n_ids : 0, failed = p->code != NULL;
    run->totals.records++, run->counts.records++;
    run->totals.errors += failed, run->counts.errors += failed;
    run->totals.tokens += tokens, run->counts.tokens += tokens;
    TRY(tell(run, error));
    if (run->o->max_errors >= 0 && run->counts.errors > (uint64_t)run->o->max_errors)
        FAIL(JSC_E_FORMAT, "%" PRIu64 " records failed, more than the %" PRId64 " allowed; the last: %s, line %" PRIu64 ": %s",
             run->counts.errors, run->o->max_errors, p->file, p->line, p->why.text);
done:
    return status;
}

/* Everything in the batch becomes records, in the order of the lines. */
static jsc_status finish_batch(struct run *run, jsc_error *error)
{
    jsc_status status = JSC_OK;
    TRY(ask(run, error));
    for (size_t i = 0; i < run->n_batch; i++)
        TRY(write_prompt(run, &run->batch[i], error));
done:
    for (size_t i = 0; i < run->n_batch; i++)
        prompt_free(&run->batch[i]);
    run->n_batch = 0;
    return status;
}

/* ---- lines to chunks ------------------------------------------------------------------------------------------------------------ */

/* A worker that was killed between a chunk's last name and the end of its lock leaves the lock behind. */
static jsc_status clear_lock(const struct run *run, uint64_t file, uint64_t block, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct chunk_lock *lock = NULL;
    char *path = NULL;
    TRY(chunk_path(run->o->folder, file, block, CHUNK_LOCK, &path, error));
    if (path_exists(path) && chunk_lock_take(path, &lock, NULL) == JSC_OK)
        chunk_lock_give(lock);
done:
    mem_free(path);
    return status;
}

static jsc_status begin_chunk(struct run *run, uint64_t file, uint64_t block, jsc_error *error)
{
    jsc_status status = JSC_OK;
    char *path = NULL;
    struct chunk_totals there = {0};
    run->totals = there;
    run->skip = 0;
    if ((file + block) % run->o->shards != run->o->shard)
        goto done;
    TRY(chunk_path(run->o->folder, file, block, CHUNK_FINISHED, &path, error));
    if (!path_exists(path))
        TRY(chunk_open(run->o->folder, file, block, &run->chunk, error));
    if (run->chunk == NULL) {
        TRY(chunk_footer(path, &there, error));
        TRY(clear_lock(run, file, block, error));
        run->counts.found += there.records;
        run->counts.found_errors += there.errors;
        goto done;
    }
    const struct chunk_content *found = chunk_found(run->chunk);
    run->skip = found->records;
    run->totals.records = found->records, run->totals.errors = found->errors, run->totals.tokens = found->tokens;
    run->counts.found += found->records;
    run->counts.found_errors += found->errors;
    run->chunk_began = clock_seconds();
done:
    mem_free(path);
    return status;
}

/* Also after a failure: what was computed is kept. */
static jsc_status end_chunk(struct run *run, bool whole, jsc_error *error)
{
    jsc_status status = JSC_OK;
    if (run->chunk == NULL)
        return JSC_OK;
    run->totals.seconds = clock_seconds() - run->chunk_began;
    run->totals.origin = run->origin;
    if (whole && run->skip > 0)
        status = status_set(error, JSC_E_FORMAT,
                            "a chunk holds %" PRIu64 " records more than its input has lines; the input has changed: name another folder",
                            run->skip);
    else
        status = whole ? chunk_finish(run->chunk, &run->totals, error) : chunk_flush(run->chunk, error);
    chunk_close(run->chunk);
    run->chunk = NULL;
    return status;
}

static jsc_status take_line(struct run *run, const char *file, const struct line *line, jsc_error *error)
{
    jsc_status status = JSC_OK;
    run->totals.lines++;
    if (line->blank)
        goto done;
    if (run->skip > 0) {
        run->skip--;
        goto done;
    }
    TRY(prompt_read(run->o, run->model, file, line, &run->batch[run->n_batch], error));
    if (++run->n_batch == run->most)
        TRY(finish_batch(run, error));
done:
    return status;
}

/* The lines of file number f. */
static jsc_status read_lines(struct run *run, uint64_t f, struct line_reader *reader, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const char *path = run->inputs.paths[f];
    uint64_t lines = 0, records = 0;
    struct line line;
    bool more = true;
    while (!run->stopping && run->lines_left > 0) {
        TRY(line_reader_next(reader, &line, &more, error));
        run->counts.bytes = run->bytes_before + line_reader_taken(reader);
        if (!more)
            break;
        if (lines % run->o->chunk == 0) {
            TRY(finish_batch(run, error));
            TRY(end_chunk(run, true, error));
            if (run->stopping)
                break;
            TRY(begin_chunk(run, f, lines / run->o->chunk, error));
        }
        lines++, run->lines_left--;
        records += !line.blank;
        if (run->chunk != NULL)
            TRY(take_line(run, path, &line, error));
    }
    TRY(finish_batch(run, error));
    TRY(end_chunk(run, !run->stopping, error));
    (void)json_array_append_new(run->lines, json_integer((json_int_t)lines));
    (void)json_array_append_new(run->records, json_integer((json_int_t)records));
done:
    return status;
}

static jsc_status read_files(struct run *run, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct line_reader *own = NULL;
    for (size_t f = 0; f < run->inputs.n && !run->stopping; f++) {
        const bool standard = strcmp(run->inputs.paths[f], "-") == 0;
        if (!standard)
            TRY(line_reader_open(run->inputs.paths[f], &own, error));
        TRY(read_lines(run, f, standard ? run->inputs.standard : own, error));
        run->bytes_before = run->counts.bytes;
        line_reader_close(own);
        own = NULL;
    }
done:
    line_reader_close(own);
    return status;
}

/* How many lines and records there are, known to whoever has read them all. */
static jsc_status save_input(const struct run *run, jsc_error *error)
{
    json_t *value = json_pack("{s:O, s:O}", "lines", run->lines, "records", run->records);
    const jsc_status status = value != NULL ? json_save(run->o->folder, INPUT_NAME, value, error)
                                            : status_set(error, JSC_E_MEMORY, "no memory for " INPUT_NAME);
    json_decref(value);
    return status;
}

/* ---- the run -------------------------------------------------------------------------------------------------------------------- */

static jsc_status check_options(const jsc_corpus_options *o, const jsc_model *model, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const jsc_request standard = JSC_REQUEST_INIT;
    jsc_plan plan = JSC_PLAN_INIT;
    if (o == NULL || o->size != sizeof *o)
        FAIL(JSC_E_ARGUMENT, "corpus options: begin with JSC_CORPUS_OPTIONS_INIT of this version");
    if (model == NULL || o->folder == NULL || o->n_inputs == 0 || o->inputs == NULL || o->text_field == NULL || o->id_field == NULL)
        FAIL(JSC_E_ARGUMENT, "a corpus needs a model, inputs and a folder");
    if (o->chunk == 0 || o->shards == 0 || o->shard >= o->shards || (unsigned)o->overlong > JSC_OVERLONG_RIGHT)
        FAIL(JSC_E_ARGUMENT,
             "shard %" PRIu64 " of %" PRIu64 ", chunks of %" PRIu64 " lines: 0 <= shard < shards and at least one line are wanted",
             o->shard, o->shards, o->chunk);
    jsc_request request = o->request != NULL ? *o->request : standard;
    request.ids = NULL;
    request.n_ids = (size_t)(request.position < 0 ? -request.position : request.position + 1);
    TRY(jsc_plan_make(model, &request, &plan, error)); /* what no prompt could be asked is refused at once */
done:
    return status;
}

static jsc_status prepare(struct run *run, jsc_error *error)
{
    jsc_status status = JSC_OK;
    run->most = run->group != NULL ? (size_t)jsc_group_size(run->group) * GROUP_BATCH : 1;
    run->lines_left = run->o->limit > 0 ? run->o->limit : UINT64_MAX;
    TRY(mem_new(&run->batch, run->most, error));
    TRY(mem_new(&run->requests, run->most, error));
    TRY(mem_new(&run->asked, run->most, error));
    run->lines = json_array();
    run->records = json_array();
    if (run->lines == NULL || run->records == NULL)
        FAIL(JSC_E_MEMORY, "no memory for a corpus");
    if (mkdir(run->o->folder, 0777) != 0 && errno != EEXIST)
        FAIL(JSC_E_FILE, "%s: this folder cannot be made: %s", run->o->folder, strerror(errno));
    if (!path_is_directory(run->o->folder))
        FAIL(JSC_E_FILE, "%s: is no folder; the results of a corpus need one", run->o->folder);
    TRY(inputs_find(run->o, &run->inputs, error));
    for (size_t i = 0; i < run->inputs.n; i++)
        run->counts.bytes_all += run->inputs.sizes[i];
    if (run->inputs.standard != NULL)
        run->counts.bytes_all = 0;
    TRY(manifest_agree(run->o, run->model, &run->inputs, &run->origin, error));
done:
    return status;
}

static void release(struct run *run)
{
    for (size_t i = 0; i < run->n_batch; i++)
        prompt_free(&run->batch[i]);
    mem_free(run->batch);
    mem_free(run->requests);
    mem_free(run->asked);
    strbuf_free(&run->record);
    inputs_free(&run->inputs);
    json_decref(run->lines);
    json_decref(run->records);
}

jsc_status jsc_corpus_run(const jsc_model *model, const jsc_group *group, const jsc_corpus_options *options, jsc_corpus_counts *counts,
                          jsc_error *error)
{
    jsc_status status = JSC_OK;
    const jsc_corpus_counts none = JSC_CORPUS_COUNTS_INIT;
    struct run run = {.o = options, .model = model, .group = group, .counts = none, .began = clock_seconds()};
    bool prepared = false;

    TRY(check_options(options, model, error));
    TRY(prepare(&run, error));
    prepared = true;
    TRY(save_status(&run, "running", error));
    TRY(read_files(&run, error));
    if (run.stopping)
        FAIL(JSC_E_CANCELLED, "interrupted: run the same command to go on");
    TRY(save_input(&run, error));
    TRY(save_status(&run, "done", error));
done:
    if (status != JSC_OK) {
        (void)end_chunk(&run, false, NULL); /* keeps what it can; the first failure is the one to tell */
        if (prepared)
            (void)save_status(&run, run.stopping ? "interrupted" : "failed", NULL);
    }
    run.counts.seconds = clock_seconds() - run.began;
    if (counts != NULL)
        *counts = run.counts;
    release(&run);
    return status;
}
