/* corpus_summary.c: what the finished records of a folder add up to. */
#include "corpus_internal.h"

#include <math.h>
#include <stdlib.h>

#define BINS      10
#define IDS_MOST  ((size_t)1 << 26) /* no vocabulary is that large */
#define NOT_SMALL 0.01              /* share of a record from which a token's standard error counts */

static const char *const codes[] = {"bad_json", "bad_utf8", "no_text", "bad_target", "too_long", "out_of_memory", "not_finite", "internal"};
enum { N_CODES = sizeof codes / sizeof *codes };

const char *jsc_corpus_code(size_t i)
{
    return i < N_CODES ? codes[i] : NULL;
}

struct adding {
    jsc_corpus_summary *out;
    jsc_corpus_token *tokens; /* by id */
    size_t n, capacity;
    int64_t bos_id, eos_id;
    uint64_t with_scores;
    double stderrs;
    uint64_t n_stderrs;
};

static jsc_status add_token(struct adding *s, const jsc_scored_token *token, double share, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t id = (size_t)token->id;
    if (token->id < 0 || id >= IDS_MOST)
        goto done;
    TRY(mem_reserve(&s->tokens, &s->capacity, id + 1, error));
    s->n = id + 1 > s->n ? id + 1 : s->n;
    jsc_corpus_token *sum = &s->tokens[id];
    sum->id = token->id;
    sum->share += share;
    sum->count++;
    if (sum->text == NULL && token->text != NULL)
        TRY(mem_strdup(&sum->text, token->text, error));
    if (token->id == s->bos_id || token->id == s->eos_id)
        s->out->special_share += share;
done:
    return status;
}

/* Token t of n covers its n-th part of the bins: short prompts leave none empty. */
static void add_to_bins(double bins[BINS], size_t t, size_t n, double share)
{
    const double from = (double)BINS * (double)t / (double)n, to = (double)BINS * (double)(t + 1) / (double)n;
    for (int b = (int)from; b < BINS && b < to; b++)
        bins[b] += share * (fmin(to, b + 1) - fmax(from, b)) / (to - from);
}

static jsc_status add_scores(struct adding *s, const jsc_attribution *a, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t n = a->position + 1;
    double sum = 0.0;
    for (size_t t = 0; t < n; t++)
        sum += fabs(a->scores[t]);
    if (!(sum > 0.0) || !isfinite(sum))
        goto done;
    s->with_scores++;
    for (size_t t = 0; t < n; t++) {
        const double share = fabs(a->scores[t]) / sum;
        add_to_bins(s->out->position_share, t, n, share);
        if (a->stderrs != NULL && share >= NOT_SMALL) {
            s->stderrs += a->stderrs[t] / fabs(a->scores[t]);
            s->n_stderrs++;
        }
        TRY(add_token(s, &a->tokens[t], share, error));
    }
    s->out->first_share += fabs(a->scores[0]) / sum;
done:
    return status;
}

static void add_error(struct adding *s, const json_t *record)
{
    const char *code = json_string_value(json_object_get(json_object_get(record, "error"), "code"));
    for (size_t i = 0; code != NULL && i < N_CODES; i++)
        s->out->errors_by_code[i] += strcmp(code, codes[i]) == 0;
}

static jsc_status add_record(void *user, const char *line, size_t n, jsc_error *error)
{
    static const char head[] = "\"status\": \"error\"";
    jsc_status status = JSC_OK;
    struct adding *s = user;
    jsc_attribution *a = NULL;
    json_t *record = NULL;
    if (memmem(line, n, head, sizeof head - 1) != NULL)
        record = json_loadb(line, n, JSON_ALLOW_NUL, NULL);
    if (record != NULL && json_object_get(record, "error") != NULL) {
        add_error(s, record);
        goto done;
    }
    TRY(jsc_attribution_read(line, n, &a, error));
    s->out->tokens += a->n_tokens;
    s->out->seconds_forward += a->seconds_forward;
    s->out->seconds_backward += a->seconds_backward;
    TRY(add_scores(s, a, error));
done:
    json_decref(record);
    jsc_attribution_free(a);
    return status;
}

static int by_share(const void *a, const void *b)
{
    const jsc_corpus_token *x = a, *y = b;
    return x->share < y->share ? 1 : x->share > y->share ? -1 : (x->id > y->id) - (x->id < y->id);
}

/* Sums to means, and the tokens with most mass. */
static jsc_status finish(struct adding *s, size_t n_top, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const double n = s->with_scores > 0 ? (double)s->with_scores : 1.0;
    for (int i = 0; i < BINS; i++)
        s->out->position_share[i] /= n;
    s->out->first_share /= n;
    s->out->special_share /= n;
    s->out->relative_stderr = s->n_stderrs > 0 ? s->stderrs / (double)s->n_stderrs : (double)NAN;
    if (s->n > 0)
        qsort(s->tokens, s->n, sizeof *s->tokens, by_share);
    while (s->out->n_top < n_top && s->out->n_top < s->n && s->tokens[s->out->n_top].count > 0)
        s->out->n_top++;
    TRY(mem_new(&s->out->top, s->out->n_top, error));
    for (size_t i = 0; i < s->out->n_top; i++) {
        s->out->top[i] = s->tokens[i];
        s->tokens[i].text = NULL;
    }
done:
    return status;
}

/* The finished chunks in order; those that are not there are passed over. */
static jsc_status add_chunks(struct adding *s, const struct folder *f, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct chunk_content content;
    char *path = NULL;
    for (size_t file = 0; file < f->n_files; file++)
        for (uint64_t block = 0; block < folder_blocks(f, file); block++) {
            TRY(chunk_path(f->path, file, block, CHUNK_FINISHED, &path, error));
            if (path_exists(path)) {
                TRY(chunk_read(path, add_record, s, &content, error));
                s->out->records += content.records;
                s->out->errors += content.errors;
                if (!content.finished)
                    FAIL(JSC_E_FORMAT, "%s: is damaged; jscopes corpus check says more", path);
            }
            mem_free(path);
            path = NULL;
        }
done:
    mem_free(path);
    return status;
}

jsc_status jsc_corpus_summarise(const char *folder, size_t n_top, jsc_corpus_summary **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct folder f = {.path = folder};
    struct adding s = {.bos_id = -1, .eos_id = -1};
    if (out == NULL)
        return status_set(error, JSC_E_ARGUMENT, "jsc_corpus_summarise: an argument is NULL");
    TRY(folder_open(folder, &f, error));
    TRY(folder_needs_input(&f, error));
    const json_t *model = json_object_get(f.manifest, "model");
    TRY(json_get_int(folder, model, "bos_id", -1, INT32_MAX, &s.bos_id, NULL, error));
    TRY(json_get_int(folder, model, "eos_id", -1, INT32_MAX, &s.eos_id, NULL, error));
    s.bos_id = s.bos_id < 0 ? INT64_MIN : s.bos_id;
    s.eos_id = s.eos_id < 0 ? INT64_MIN : s.eos_id;
    TRY(mem_new(&s.out, 1, error));
    TRY(add_chunks(&s, &f, error));
    TRY(finish(&s, n_top, error));
    *out = s.out, s.out = NULL;
done:
    for (size_t i = 0; i < s.n; i++)
        mem_free(s.tokens[i].text);
    mem_free(s.tokens);
    jsc_corpus_summary_free(s.out);
    folder_close(&f);
    return status;
}

void jsc_corpus_summary_free(jsc_corpus_summary *summary)
{
    if (summary == NULL)
        return;
    for (size_t i = 0; i < summary->n_top; i++)
        mem_free(summary->top[i].text);
    mem_free(summary->top);
    mem_free(summary);
}
