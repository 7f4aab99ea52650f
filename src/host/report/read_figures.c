/* read_figures.c: what a JSON result says beside its tables: model, scope, target, fisher, path, predictions, run. */
#include "read_json.h"

#include <float.h>
#include <math.h>

/* null stands for a number that was not finite. */
static jsc_status get_number(const char *name, const json_t *object, const char *key, double *out, jsc_error *error)
{
    if (json_is_null(json_object_get(object, key))) {
        *out = (double)NAN;
        return JSC_OK;
    }
    return json_get_double(name, object, key, -DBL_MAX, DBL_MAX, out, NULL, error);
}

static jsc_status get_count(const char *name, const json_t *object, const char *key, int *out, jsc_error *error)
{
    int64_t value = *out;
    const jsc_status status = json_get_int(name, object, key, 0, INT32_MAX, &value, NULL, error);
    *out = (int)value;
    return status;
}

/* A copy; absent: *out stays NULL. */
static jsc_status get_copy(const char *name, const json_t *object, const char *key, char **out, jsc_error *error)
{
    const char *text = NULL;
    const jsc_status status = json_get_string(name, object, key, &text, NULL, error);
    return status == JSC_OK && text != NULL ? mem_strdup(out, text, error) : status;
}

static jsc_status get_word(const char *name, const json_t *object, const char *key, const char *const *words, unsigned *out,
                           jsc_error *error)
{
    const char *word = NULL;
    const jsc_status status = json_get_string(name, object, key, &word, NULL, error);
    if (status == JSC_OK && word != NULL && !word_find(words, word, out))
        return status_set(error, JSC_E_FORMAT, "%s: %s \"%.60s\" is not known to this version", name, key, word);
    return status;
}

/* *out NULL: absent. */
static jsc_status get_object(const char *name, const json_t *object, const char *key, const json_t **out, jsc_error *error)
{
    const json_t *value = json_object_get(object, key);
    *out = json_is_null(value) ? NULL : value;
    if (*out != NULL && !json_is_object(*out))
        return status_set(error, JSC_E_FORMAT, "%s: %s is no object", name, key);
    return JSC_OK;
}

static jsc_status get_list(const char *name, const json_t *object, const char *key, const json_t **out, jsc_error *error)
{
    const json_t *value = json_object_get(object, key);
    *out = json_is_null(value) ? NULL : value;
    if (*out != NULL && !json_is_array(*out))
        return status_set(error, JSC_E_FORMAT, "%s: %s is no list", name, key);
    return JSC_OK;
}

static jsc_status need(bool there, const char *name, const char *key, jsc_error *error)
{
    return there ? JSC_OK : status_set(error, JSC_E_FORMAT, "%s: there is no %s; a file that --format json wrote is wanted", name, key);
}

/* One number of a list. */
static jsc_status item_number(const char *name, const json_t *list, size_t i, double *out, jsc_error *error)
{
    const json_t *item = json_array_get(list, i);
    if (!json_is_number(item) && !json_is_null(item))
        return status_set(error, JSC_E_FORMAT, "%s: item %zu is no number", name, i);
    *out = json_is_null(item) ? (double)NAN : json_number_value(item);
    return JSC_OK;
}

static jsc_status read_model(const json_t *root, jsc_attribution *a, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const char *const name = READ_NAME ".model";
    const json_t *model = NULL;

    TRY(get_object(READ_NAME, root, "model", &model, error));
    TRY(need(model != NULL, READ_NAME, "model", error));
    TRY(get_copy(name, model, "name", &a->model_name, error));
    TRY(need(a->model_name != NULL, name, "name", error));
    TRY(get_copy(name, model, "family", &a->family, error));
    TRY(get_count(name, model, "layers", &a->n_layers, error));
    TRY(get_count(name, model, "d_model", &a->d_model, error));
    TRY(get_count(name, model, "vocab_size", &a->vocab_size, error));
done:
    return status;
}

/* The four parallel lists of an explained token. */
static jsc_status read_explained(const char *name, const json_t *object, jsc_prediction **out, size_t *n, jsc_error *error)
{
    static const char *const keys[] = {"ids", "texts", "probabilities", "logits"};
    jsc_status status = JSC_OK;
    const json_t *lists[4];

    for (int k = 0; k < 4; k++) {
        TRY(get_list(name, object, keys[k], &lists[k], error));
        if (lists[0] == NULL)
            goto done;
        if (lists[k] != NULL && json_array_size(lists[k]) != json_array_size(lists[0]))
            FAIL(JSC_E_FORMAT, "%s: %zu ids and %zu %s", name, json_array_size(lists[0]), json_array_size(lists[k]), keys[k]);
    }
    TRY(mem_new(out, json_array_size(lists[0]), error));
    *n = json_array_size(lists[0]);
    for (size_t i = 0; i < *n; i++) {
        jsc_prediction *p = &(*out)[i];
        const json_t *id = json_array_get(lists[0], i), *text = json_array_get(lists[1], i); /* NULL of no list */
        if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) > INT32_MAX)
            FAIL(JSC_E_FORMAT, "%s: ids: item %zu is no token id", name, i);
        p->id = (int32_t)json_integer_value(id);
        if (text != NULL && !json_is_string(text) && !json_is_null(text))
            FAIL(JSC_E_FORMAT, "%s: texts: item %zu is no text", name, i);
        if (json_is_string(text))
            TRY(mem_strdup(&p->text, json_string_value(text), error));
        if (lists[2] != NULL)
            TRY(item_number(name, lists[2], i, &p->probability, error));
        if (lists[3] != NULL)
            TRY(item_number(name, lists[3], i, &p->logit, error));
    }
done:
    return status;
}

static jsc_status read_target(const json_t *root, jsc_attribution *a, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const char *const name = READ_NAME ".target";
    const json_t *target = NULL, *contrast = NULL;
    int64_t position = -1;
    unsigned objective = JSC_OBJECTIVE_LOGIT;
    jsc_prediction *against = NULL;
    size_t n = 0;

    TRY(get_object(READ_NAME, root, "target", &target, error));
    TRY(need(target != NULL, READ_NAME, "target", error));
    TRY(json_get_int(name, target, "position", 0, INT64_MAX, &position, NULL, error));
    TRY(need(position >= 0, name, "position", error));
    a->position = (size_t)position;
    TRY(get_word(name, target, "objective", objective_words, &objective, error));
    a->objective = (jsc_objective)objective;
    TRY(read_explained(name, target, &a->targets, &a->n_targets, error));
    TRY(get_object(name, target, "contrast", &contrast, error));
    if (contrast != NULL && a->n_targets == 0)
        FAIL(JSC_E_FORMAT, "%s: contrast stands beside no targets", name);
    if ((a->objective == JSC_OBJECTIVE_CONTRAST) != (contrast != NULL))
        FAIL(JSC_E_FORMAT, "%s: %s", name,
             contrast != NULL ? "contrast stands beside another objective" : "the objective is contrast, but there is no contrast");
    if (contrast == NULL)
        goto done;
    TRY(read_explained(READ_NAME ".target.contrast", contrast, &against, &n, error));
    if (n != a->n_targets)
        FAIL(JSC_E_FORMAT, "%s: %zu targets are contrasted with %zu tokens", name, a->n_targets, n);
    a->contrast = against, against = NULL;
done:
    for (size_t i = 0; against != NULL && i < n; i++)
        mem_free(against[i].text);
    mem_free(against);
    return status;
}

static jsc_status read_fisher(const json_t *root, jsc_attribution *a, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const char *const name = READ_NAME ".fisher";
    const json_t *fisher = NULL, *eigenvalues = NULL;
    unsigned mode = JSC_FISHER_ADAPTIVE;

    TRY(get_object(READ_NAME, root, "fisher", &fisher, error));
    if (fisher == NULL)
        goto done;
    TRY(get_word(name, fisher, "mode", fisher_words, &mode, error));
    a->fisher.mode = (jsc_fisher_mode)mode;
    a->fisher.asked_adaptive = json_object_get(fisher, "rtol") != NULL;
    TRY(get_count(name, fisher, "directions", &a->fisher.directions, error));
    TRY(get_count(name, fisher, "probes", &a->fisher.probes, error));
    TRY(get_count(name, fisher, "tangents", &a->fisher.tangents, error));
    TRY(get_count(name, fisher, "rank", &a->fisher.rank, error));
    TRY(get_number(name, fisher, "trace", &a->fisher.trace, error));
    TRY(get_number(name, fisher, "explained", &a->fisher.explained, error));
    TRY(get_number(name, fisher, "dropped_mass", &a->fisher.dropped_mass, error));
    TRY(get_number(name, fisher, "rtol", &a->fisher.rtol, error));
    TRY(get_number(name, fisher, "reached", &a->fisher.reached, error));
    TRY(get_list(name, fisher, "eigenvalues", &eigenvalues, error));
    if (eigenvalues == NULL)
        goto done;
    const size_t n = json_array_size(eigenvalues);
    if (n > INT32_MAX)
        FAIL(JSC_E_FORMAT, "%s: %zu eigenvalues are more than a model has", name, n);
    TRY(mem_new(&a->fisher.eigenvalues, n, error));
    a->fisher.n_eigenvalues = (int)n;
    for (size_t i = 0; i < n; i++)
        TRY(item_number(READ_NAME ".fisher.eigenvalues", eigenvalues, i, &a->fisher.eigenvalues[i], error));
done:
    return status;
}

static jsc_status read_path(const json_t *root, jsc_attribution *a, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const char *const name = READ_NAME ".path";
    const json_t *path = NULL;
    unsigned rule = JSC_PATH_UNIFORM, baseline = JSC_BASELINE_ZERO;
    int64_t id = -1;

    TRY(get_object(READ_NAME, root, "path", &path, error));
    if (path == NULL)
        goto done;
    TRY(get_count(name, path, "steps", &a->path.steps, error));
    TRY(get_word(name, path, "rule", path_rule_words, &rule, error));
    TRY(get_word(name, path, "baseline", baseline_words, &baseline, error));
    TRY(json_get_int(name, path, "baseline_id", -1, INT32_MAX, &id, NULL, error));
    a->path.rule = (jsc_path_rule)rule, a->path.baseline = (jsc_baseline)baseline, a->path.baseline_id = (int32_t)id;
    TRY(get_number(name, path, "sum", &a->path.sum, error));
    TRY(get_number(name, path, "difference", &a->path.difference, error));
    TRY(get_number(name, path, "completeness_error", &a->path.completeness_error, error));
done:
    return status;
}

static jsc_status read_predictions(const json_t *root, jsc_attribution *a, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const char *const name = READ_NAME ".predictions";
    const json_t *list = NULL;

    TRY(get_list(READ_NAME, root, "predictions", &list, error));
    TRY(mem_new(&a->predictions, json_array_size(list), error));
    a->n_predictions = json_array_size(list);
    for (size_t i = 0; i < a->n_predictions; i++) {
        const json_t *item = json_array_get(list, i);
        jsc_prediction *p = &a->predictions[i];
        int64_t id = -1;
        if (!json_is_object(item))
            FAIL(JSC_E_FORMAT, "%s: item %zu is no object", name, i);
        TRY(json_get_int(name, item, "id", 0, INT32_MAX, &id, NULL, error));
        TRY(need(id >= 0, name, "id", error));
        p->id = (int32_t)id;
        TRY(get_copy(name, item, "text", &p->text, error));
        TRY(get_number(name, item, "probability", &p->probability, error));
        TRY(get_number(name, item, "logit", &p->logit, error));
    }
done:
    return status;
}

static jsc_status read_warnings(const json_t *root, jsc_attribution *a, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const json_t *list = NULL;

    TRY(get_list(READ_NAME, root, "warnings", &list, error));
    if (json_array_size(list) == 0)
        goto done;
    TRY(mem_new(&a->warnings, json_array_size(list), error));
    a->n_warnings = json_array_size(list);
    for (size_t i = 0; i < a->n_warnings; i++) {
        const json_t *item = json_array_get(list, i);
        if (!json_is_string(item))
            FAIL(JSC_E_FORMAT, "%s.warnings: item %zu is no text", READ_NAME, i);
        TRY(mem_strdup(&a->warnings[i], json_string_value(item), error));
    }
done:
    return status;
}

static jsc_status read_run(struct reading *reading, const json_t *root, jsc_error *error)
{
    static const char *const names[] = {"seed", "bytes_peak"};
    jsc_status status = JSC_OK;
    jsc_attribution *a = reading->a;
    uint64_t *const whole[] = {&a->seed, &a->bytes_peak};
    const json_t *seconds = NULL;

    TRY(get_number(READ_NAME, root, "y_norm", &a->y_norm, error));
    TRY(get_copy(READ_NAME, root, "backend", &a->backend, error));
    TRY(get_copy(READ_NAME, root, "precision", &a->precision, error));
    TRY(get_copy(READ_NAME, root, "plan", &a->plan, error));
    TRY(get_count(READ_NAME, root, "chunk", &a->chunk, error));
    TRY(read_warnings(root, a, error));
    TRY(get_object(READ_NAME, root, "seconds", &seconds, error));
    TRY(get_number(READ_NAME ".seconds", seconds, "load", &a->seconds_load, error));
    TRY(get_number(READ_NAME ".seconds", seconds, "forward", &a->seconds_forward, error));
    TRY(get_number(READ_NAME ".seconds", seconds, "backward", &a->seconds_backward, error));
    for (int i = 0; i < 2; i++) {
        const struct json_span *where = &reading->where[READ_SEED + i];
        if (where->to == 0)
            continue;
        reading->text.at = where->from;
        TRY(json_reader_u64(&reading->text, names[i], whole[i], error));
        (void)json_reader_peek(&reading->text);
        if (reading->text.at < where->to)
            FAIL(JSC_E_FORMAT, "%s: %s is no whole number", READ_NAME, names[i]);
    }
done:
    return status;
}

jsc_status read_figures(struct reading *reading, const json_t *root, jsc_error *error)
{
    jsc_status status = JSC_OK;
    jsc_attribution *a = reading->a;
    const char *scope = NULL;

    TRY(json_get_string(READ_NAME, root, "scope", &scope, NULL, error));
    TRY(need(scope != NULL, READ_NAME, "scope", error));
    TRY(jsc_scope_find(scope, &a->scope, error) == JSC_OK
            ? JSC_OK
            : status_set(error, JSC_E_FORMAT, "%s: scope \"%.60s\" is not known to this version", READ_NAME, scope));
    TRY(read_model(root, a, error));
    TRY(read_target(root, a, error));
    TRY(read_fisher(root, a, error));
    TRY(read_path(root, a, error));
    TRY(read_predictions(root, a, error));
    TRY(read_run(reading, root, error));
done:
    return status;
}

jsc_status read_path_nodes(struct reading *reading, const json_t *root, jsc_error *error)
{
    jsc_status status = JSC_OK;
    jsc_attribution *a = reading->a;
    const char *const name = READ_NAME ".path";
    const json_t *path = NULL, *alphas = NULL, *norms = NULL;

    TRY(get_object(READ_NAME, root, "path", &path, error));
    if (path == NULL)
        goto done;
    TRY(get_list(name, path, "alphas", &alphas, error));
    TRY(get_list(name, path, "norms", &norms, error));
    if (alphas == NULL && norms == NULL)
        goto done;
    const size_t n = json_array_size(alphas);
    if (json_array_size(norms) != n)
        FAIL(JSC_E_FORMAT, "%s: %zu rows of norms for %zu alphas", name, json_array_size(norms), n);
    TRY(mem_new(&a->path.alphas, n, error));
    for (size_t i = 0; i < n; i++) { /* all rows are there before memory is taken for them */
        const json_t *row = json_array_get(norms, i);
        TRY(item_number(READ_NAME ".path.alphas", alphas, i, &a->path.alphas[i], error));
        if (!json_is_array(row) || json_array_size(row) != a->n_tokens)
            FAIL(JSC_E_FORMAT, "%s.norms: row %zu is no list of %zu numbers, one per token", name, i, a->n_tokens);
    }
    TRY(mem_new(&a->path.norms, n * a->n_tokens, error));
    a->path.n_nodes = n;
    for (size_t i = 0; i < n; i++)
        for (size_t t = 0; t < a->n_tokens; t++)
            TRY(item_number(READ_NAME ".path.norms", json_array_get(norms, i), t, &a->path.norms[i * a->n_tokens + t], error));
done:
    return status;
}
