/* read_table.c: the tables of numbers of a JSON result: layers, matrix and what belongs to them. Their sizes are known beforehand. */
#include "read_json.h"

#define RANK_MAX 3

/* Lists in lists, size[0] x size[1] x ...: exactly as many members as wanted at every level. */
struct table {
    const char *name;
    int rank;
    size_t size[RANK_MAX];
};

static jsc_status read_list(struct json_reader *r, const struct table *t, int level, double **next, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const bool rows = level + 1 < t->rank && level + 1 < RANK_MAX;
    size_t count = 0;
    bool more = false;

    TRY(json_reader_enter(r, '[', error));
    for (;;) {
        TRY(json_reader_next(r, '[', &count, &more, error));
        if (!more || count > t->size[level])
            break;
        if (rows)
            TRY(read_list(r, t, level + 1, next, error));
        else {
            TRY(json_reader_double(r, t->name, *next, error));
            ++*next;
        }
    }
    if (more || count != t->size[level])
        FAIL(JSC_E_FORMAT, "%s: %s has %s %zu %s, %zu are wanted", READ_NAME, t->name, more ? "over" : "a list of",
             more ? count - 1 : count, rows ? "rows" : "numbers", t->size[level]);
done:
    return status;
}

/* A field into new memory; absent: *out stays NULL. */
static jsc_status read_table(struct reading *reading, enum read_field field, const struct table *t, double **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const struct json_span *where = &reading->where[field];
    size_t n = 1;
    double *next = NULL;

    if (where->to == 0)
        return JSC_OK;
    for (int i = 0; i < t->rank; i++)
        if (!size_mul(n, t->size[i], &n) || n > where->to - where->from) /* each number takes a byte and more */
            FAIL(JSC_E_FORMAT, "%s: %s is shorter than the tokens and the model's blocks say", READ_NAME, t->name);
    TRY(mem_new(out, n, error));
    next = *out;
    reading->text.at = where->from;
    TRY(read_list(&reading->text, t, 0, &next, error));
done:
    return status;
}

static jsc_status read_matrix_targets(struct reading *reading, jsc_error *error)
{
    jsc_status status = JSC_OK;
    jsc_attribution *a = reading->a;
    double *ids = NULL;

    TRY(read_table(reading, READ_MATRIX_TARGETS, &(struct table){"matrix_targets", 1, {a->n_tokens}}, &ids, error));
    if (ids == NULL)
        goto done;
    TRY(mem_new(&a->matrix_targets, a->n_tokens, error));
    for (size_t t = 0; t < a->n_tokens; t++) {
        if (!(ids[t] >= -1.0 && ids[t] <= INT32_MAX && ids[t] == (double)(int32_t)ids[t]))
            FAIL(JSC_E_FORMAT, "%s: matrix_targets holds %.17g for position %zu, which is no token id", READ_NAME, ids[t], t);
        a->matrix_targets[t] = (int32_t)ids[t];
    }
done:
    mem_free(ids);
    return status;
}

jsc_status read_tables(struct reading *reading, jsc_error *error)
{
    jsc_status status = JSC_OK;
    jsc_attribution *a = reading->a;
    const size_t L = (size_t)a->n_layers, T = a->n_tokens, S = a->n_scores;
    const struct table one = {"layers", 2, {L, T}}, several = {"layers", 3, {S, L, T}};

    TRY(read_table(reading, READ_LAYERS, S > 1 ? &several : &one, &a->layers, error));
    TRY(read_table(reading, READ_LAYER_STDERRS, &(struct table){"layer_stderrs", 2, {L, T}}, &a->layer_stderrs, error));
    TRY(read_table(reading, READ_MATRIX, &(struct table){"matrix", 2, {T, T}}, &a->matrix, error));
    TRY(read_matrix_targets(reading, error));
done:
    return status;
}
