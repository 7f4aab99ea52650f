/* tokenizer_split.c: the pre-tokeniser: each stage hands its pieces straight on to the next one, the last to BPE. */
#include "tokenizer_internal.h"

#include <string.h>

/* Joins spans of matching and of other text to pieces, as the behaviour says. */
struct joiner {
    struct encoding *e;
    const struct piece *piece;
    size_t next; /* stage that gets the pieces */
    enum split_behavior behavior;
    size_t from, to; /* span held back */
    bool held, last_match;
};

static jsc_status emit(struct joiner *j, size_t from, size_t to, jsc_error *error)
{
    if (from == to)
        return JSC_OK;
    struct piece sub = *j->piece;
    sub.text += from;
    sub.n = to - from;
    sub.first = sub.first && from == 0;
    sub.exact = sub.exact && !(sub.mapped && from > 0); /* characters were not counted up to here */
    if (sub.exact)
        sub.origin += from;
    return stage_run(j->e, j->next, &sub, error);
}

static jsc_status flush(struct joiner *j, jsc_error *error)
{
    const bool held = j->held;
    j->held = false;
    return held ? emit(j, j->from, j->to, error) : JSC_OK;
}

/* Takes the next span; spans follow each other without gaps. */
static jsc_status join(struct joiner *j, size_t from, size_t to, bool match, jsc_error *error)
{
    jsc_status status = JSC_OK;
    bool extend = false;
    switch (j->behavior) {
    case SPLIT_ISOLATED:
        return emit(j, from, to, error);
    case SPLIT_REMOVED:
        return match ? JSC_OK : emit(j, from, to, error);
    case SPLIT_CONTIGUOUS:
        extend = match == j->last_match;
        break;
    case SPLIT_MERGED_WITH_PREVIOUS:
        extend = match && !j->last_match;
        break;
    case SPLIT_MERGED_WITH_NEXT:
        extend = !match && j->last_match;
        break;
    }
    j->last_match = match;
    if (j->held && extend) {
        j->to = to;
        return JSC_OK;
    }
    TRY(flush(j, error));
    j->from = from;
    j->to = to;
    j->held = true;
done:
    return status;
}

static jsc_status run_split(struct encoding *e, const struct stage *stage, size_t next, const struct piece *piece, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct joiner j = {.e = e, .piece = piece, .next = next, .behavior = stage->behavior};
    struct regex_walk walk = {.code = stage->pattern, .match = e->match, .text = piece->text, .n = piece->n};
    size_t done_to = 0, from = 0, to = 0;
    bool found = false;
    for (;;) {
        TRY(regex_next(&walk, &from, &to, &found, error));
        if (!found)
            break;
        if (from > done_to)
            TRY(join(&j, done_to, from, stage->invert, error));
        TRY(join(&j, from, to, !stage->invert, error));
        done_to = to;
    }
    if (done_to < piece->n)
        TRY(join(&j, done_to, piece->n, stage->invert, error));
    TRY(flush(&j, error));
done:
    return status;
}

/* Memory of this stage; the next stage has its own. */
static jsc_status scratch(struct encoding *e, size_t stage, size_t n, jsc_error *error)
{
    return mem_reserve(&e->scratch[stage], &e->scratch_capacity[stage], n, error);
}

static bool starts_with(const struct piece *piece, const char *text, size_t n)
{
    return piece->n >= n && memcmp(piece->text, text, n) == 0;
}

static jsc_status run_prefix_space(struct encoding *e, size_t index, const struct piece *piece, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct piece longer = *piece;
    if (starts_with(piece, " ", 1))
        return stage_run(e, index + 1, piece, error);
    TRY(scratch(e, index, piece->n + 1, error));
    e->scratch[index][0] = ' ';
    memcpy(e->scratch[index] + 1, piece->text, piece->n);
    longer.text = e->scratch[index];
    longer.n++;
    longer.exact = false;
    TRY(stage_run(e, index + 1, &longer, error));
done:
    return status;
}

static jsc_status run_byte_map(struct encoding *e, size_t index, const struct piece *piece, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct piece mapped = *piece;
    TRY(scratch(e, index, 2 * piece->n, error)); /* the text's length is limited, so this does not overflow */
    mapped.n = byte_map_text(piece->text, piece->n, e->scratch[index]);
    mapped.text = e->scratch[index];
    mapped.exact = piece->exact && !piece->mapped;
    mapped.mapped = true;
    TRY(stage_run(e, index + 1, &mapped, error));
done:
    return status;
}

/* ' ' -> replacement, and one in front. */
static jsc_status run_metaspace(struct encoding *e, size_t index, const struct piece *piece, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const struct stage *stage = &e->tok->stages[index];
    const size_t width = stage->replacement_n;
    struct piece changed = *piece;
    TRY(scratch(e, index, (piece->n + 1) * sizeof stage->replacement, error));
    char *out = e->scratch[index];
    const bool asked = stage->prepend == PREPEND_ALWAYS || (stage->prepend == PREPEND_FIRST && piece->first);
    if (asked && !starts_with(piece, " ", 1) && !starts_with(piece, stage->replacement, width)) {
        memcpy(out, stage->replacement, width);
        out += width;
    }
    for (size_t i = 0; i < piece->n; i++) {
        if (piece->text[i] == ' ') {
            memcpy(out, stage->replacement, width);
            out += width;
        } else
            *out++ = piece->text[i];
    }
    changed.text = e->scratch[index];
    changed.n = (size_t)(out - e->scratch[index]);
    changed.exact = false;
    TRY(stage_run(e, index + 1, &changed, error));
done:
    return status;
}

jsc_status stage_run(struct encoding *e, size_t index, const struct piece *piece, jsc_error *error)
{
    if (index == e->tok->n_stages)
        return bpe_encode(e, piece, error);
    const struct stage *stage = &e->tok->stages[index];
    switch (stage->kind) {
    case STAGE_SPLIT:
        return run_split(e, stage, index + 1, piece, error);
    case STAGE_PREFIX_SPACE:
        return run_prefix_space(e, index, piece, error);
    case STAGE_BYTE_MAP:
        return run_byte_map(e, index, piece, error);
    case STAGE_METASPACE:
        return run_metaspace(e, index, piece, error);
    }
    return status_set(error, JSC_E_INTERNAL, "stage %zu of the tokeniser is of no known kind", index);
}
