/* manifest.c: manifest.json says what a folder's records were computed from; whoever goes on with it must say the same. */
#include "corpus_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <xxhash.h>

#define NAME "manifest.json"

static jsc_status no_memory(jsc_error *error)
{
    return status_set(error, JSC_E_MEMORY, "no memory for " NAME);
}

jsc_status json_save(const char *folder, const char *name, const json_t *value, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct file_writer *writer = NULL;
    char *path = NULL, *text = json_dumps(value, JSON_INDENT(2));
    if (text == NULL)
        FAIL(JSC_E_MEMORY, "no memory for %s", name);
    TRY(path_join(folder, name, &path, error));
    TRY(file_writer_open(path, &writer, error));
    status = file_writer_write(writer, text, strlen(text), error);
    if (status == JSC_OK)
        status = file_writer_write(writer, "\n", 1, error);
    if (status == JSC_OK)
        status = file_writer_commit(writer, error);
    else
        file_writer_abort(writer);
done:
    free(text); /* allowed: jansson allocated it */
    mem_free(path);
    return status;
}

jsc_status json_load_from(const char *folder, const char *name, json_t **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct file *file = NULL;
    char *path = NULL;
    *out = NULL;
    TRY(path_join(folder, name, &path, error));
    if (!path_exists(path))
        goto done;
    TRY(file_open(path, &file, error));
    TRY(json_parse(path, (const char *)file->bytes, file->size, out, error));
done:
    file_close(file);
    mem_free(path);
    return status;
}

jsc_status manifest_read(const char *folder, json_t **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    TRY(json_load_from(folder, NAME, out, error));
    if (*out == NULL)
        FAIL(JSC_E_FILE, "%s: there is no " NAME " in it; is it the folder of a corpus?", folder);
done:
    return status;
}

/* What scores and records depend on. What may differ between runs and workers (device, precision, threads, memory) is not in it. */
static json_t *describe_request(const jsc_corpus_options *o, size_t d_model)
{
    const jsc_request standard = JSC_REQUEST_INIT, *r = o->request != NULL ? o->request : &standard;
    json_t *targets = json_array();
    const size_t n = r->targets == NULL ? 0 : r->objective == JSC_OBJECTIVE_CONTRAST ? 2 * r->n_targets : r->n_targets;
    for (size_t i = 0; i < n; i++)
        (void)json_array_append_new(targets, json_integer(r->targets[i]));
    char directions[24] = "";
    if (r->directions != NULL)
        (void)snprintf(directions, sizeof directions, "%016" PRIx64,
                       (uint64_t)XXH3_64bits(r->directions, r->n_directions * d_model * sizeof *r->directions));
    return json_pack("{s:s, s:I, s:i, s:o, s:s, s:i, s:i, s:f, s:i, s:i, s:i, s:i, s:b, s:b, s:i, s:I}", "scope", jsc_scope_name(r->scope),
                     "position", (json_int_t)r->position, "objective", (int)r->objective, "targets", targets, "directions", directions,
                     "fisher_mode", (int)r->fisher_mode, "fisher_rank", r->fisher_rank, "fisher_rtol", r->fisher_rtol, "path_steps",
                     r->path_steps, "path_rule", (int)r->path_rule, "baseline", (int)r->baseline, "baseline_id", (int)r->baseline_id,
                     "layers", r->layers, "matrix", r->matrix, "top_predictions", r->top_predictions, "seed", (json_int_t)r->seed);
}

static json_t *describe_inputs(const struct inputs *inputs)
{
    json_t *list = json_array();
    char hash[24];
    for (size_t i = 0; i < inputs->n; i++) {
        (void)snprintf(hash, sizeof hash, "%016" PRIx64, inputs->hashes[i]);
        (void)json_array_append_new(
            list, json_pack("{s:s, s:I, s:s}", "path", inputs->paths[i], "bytes", (json_int_t)inputs->sizes[i], "hash_of_first_mib", hash));
    }
    return list;
}

static jsc_status make(const jsc_corpus_options *o, const jsc_model *model, const struct inputs *inputs, json_t **out, jsc_error *error)
{
    static const char *const overlong[] = {"error", "left", "right"};
    jsc_status status = JSC_OK;
    jsc_model_info info = JSC_MODEL_INFO_INIT;
    char fingerprint[33];
    TRY(jsc_model_describe(model, &info, error));
    TRY(model_fingerprint(model, fingerprint, error));
    *out = json_pack("{s:i, s:s, s:{s:s, s:s, s:i, s:i}, s:o, s:{s:s, s:s, s:I, s:s, s:I, s:b, s:b, s:i}, s:I, s:o}", "format", 1,
                     "version", jsc_version(), "model", "name", info.name, "fingerprint", fingerprint, "bos_id", (int)info.bos_id, "eos_id",
                     (int)info.eos_id, "request", describe_request(o, (size_t)info.d_model), "lines", "text_field", o->text_field,
                     "id_field", o->id_field, "max_tokens", (json_int_t)o->max_tokens, "overlong", overlong[o->overlong], "limit",
                     (json_int_t)o->limit, "keep_meta", o->keep_meta, "no_special", o->no_special, "front_pad", o->front_pad, "chunk",
                     (json_int_t)o->chunk, "inputs", describe_inputs(inputs));
    if (*out == NULL)
        status = no_memory(error);
done:
    return status;
}

/* A value as short text for a message. */
static void show(const json_t *value, char out[80])
{
    char *text = value != NULL ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    (void)snprintf(out, 80, "%.60s%s", text != NULL ? text : "nothing", text != NULL && strlen(text) > 60 ? "..." : "");
    free(text); /* allowed: jansson allocated it */
}

/* The path of the first difference, "request.scope", into where; false: there is none. */
static bool find_difference(const json_t *a, const json_t *b, struct strbuf *where, const json_t **left, const json_t **right)
{
    const char *key = NULL;
    json_t *value = NULL;
    *left = a, *right = b;
    if (!json_is_object(a) || !json_is_object(b)) {
        for (size_t i = 0; json_is_array(a) && json_is_array(b) && json_array_size(a) == json_array_size(b) && i < json_array_size(a); i++)
            if (!json_equal(json_array_get(a, i), json_array_get(b, i))) {
                strbuf_printf(where, "[%zu]", i);
                return find_difference(json_array_get(a, i), json_array_get(b, i), where, left, right);
            }
        return !json_equal(a, b);
    }
    json_object_foreach((json_t *)(uintptr_t)b, key, value)
    {
        if (json_equal(json_object_get(a, key), value))
            continue;
        strbuf_printf(where, "%s%s", where->n > 0 ? "." : "", key);
        return find_difference(json_object_get(a, key), value, where, left, right);
    }
    return false;
}

static jsc_status compare(const char *folder, const json_t *there, const json_t *now, jsc_error *error)
{
    struct strbuf where = {.text = NULL};
    const json_t *left = NULL, *right = NULL;
    char before[80], after[80];
    jsc_status status = JSC_OK;
    if (find_difference(there, now, &where, &left, &right)) {
        show(left, before);
        show(right, after);
        status = status_set(error, JSC_E_ARGUMENT,
                            "%s: its results were begun with another %s: %s, now %s; say the same again, or name another folder", folder,
                            where.text != NULL ? where.text : "manifest", before, after);
    }
    strbuf_free(&where);
    return status;
}

/* Under its final name at once and whole, and only if no other worker was first. */
static jsc_status save_first(const char *folder, const json_t *value, jsc_error *error)
{
    jsc_status status = JSC_OK;
    char name[48], *from = NULL, *to = NULL;
    (void)snprintf(name, sizeof name, ".manifest-%ld.json", (long)getpid());
    TRY(json_save(folder, name, value, error));
    TRY(path_join(folder, name, &from, error));
    TRY(path_join(folder, NAME, &to, error));
    if (link(from, to) != 0 && errno != EEXIST && rename(from, to) != 0) /* a file system without links: rename */
        FAIL(JSC_E_FILE, "%s: cannot be made: %s", to, strerror(errno));
done:
    if (from != NULL)
        (void)unlink(from);
    mem_free(from);
    mem_free(to);
    return status;
}

uint64_t manifest_origin(const json_t *manifest)
{
    json_t *rest = json_copy((json_t *)(uintptr_t)manifest);
    (void)json_object_del(rest, "inputs"); /* files may be added; a record names its own */
    char *text = json_dumps(rest, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(rest);
    const uint64_t origin = text != NULL ? XXH3_64bits(text, strlen(text)) : 0;
    free(text); /* allowed: jansson allocated it */
    return origin;
}

static void swap_inputs(struct inputs *in, size_t i, size_t k)
{
    char *path = in->paths[i];
    const uint64_t size = in->sizes[i], hash = in->hashes[i];
    in->paths[i] = in->paths[k], in->sizes[i] = in->sizes[k], in->hashes[i] = in->hashes[k];
    in->paths[k] = path, in->sizes[k] = size, in->hashes[k] = hash;
}

/* The files of the manifest first and in its order, for their chunks are numbered so; new ones behind them. */
static void order_inputs(const json_t *there, struct inputs *in)
{
    const json_t *list = json_object_get(there, "inputs");
    for (size_t i = 0; i < json_array_size(list) && i < in->n; i++) {
        const char *path = json_string_value(json_object_get(json_array_get(list, i), "path"));
        for (size_t k = i; path != NULL && k < in->n; k++)
            if (strcmp(in->paths[k], path) == 0) {
                for (; k > i; k--) /* the others keep their order */
                    swap_inputs(in, k, k - 1);
                break;
            }
    }
}

/* More files than the manifest has, which are all there: it is written anew. */
static jsc_status add_inputs(const char *folder, json_t *there, const json_t *now, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const json_t *list = json_object_get(now, "inputs");
    json_t *known = json_array(), *old = json_object_get(there, "inputs");
    char *input = NULL;
    const size_t n = json_array_size(old);
    if (known == NULL || json_array_size(list) <= n)
        goto done;
    for (size_t i = 0; i < n; i++)
        (void)json_array_append(known, json_array_get(list, i));
    if (!json_equal(known, old))
        goto done; /* what differs is told by who compares */
    TRY(path_join(folder, INPUT_NAME, &input, error));
    (void)unlink(input); /* how long all files are is not known any more */
    (void)json_object_set(there, "inputs", json_object_get(now, "inputs"));
    TRY(json_save(folder, NAME, there, error));
done:
    mem_free(input);
    json_decref(known);
    return status;
}

jsc_status manifest_agree(const jsc_corpus_options *options, const jsc_model *model, struct inputs *inputs, uint64_t *origin,
                          jsc_error *error)
{
    jsc_status status = JSC_OK;
    json_t *now = NULL, *there = NULL;
    TRY(json_load_from(options->folder, NAME, &there, error));
    if (options->new_only && there != NULL)
        order_inputs(there, inputs);
    TRY(make(options, model, inputs, &now, error));
    if (there == NULL) {
        TRY(save_first(options->folder, now, error));
        TRY(manifest_read(options->folder, &there, error));
    }
    json_t *name = json_object_get(json_object_get(there, "model"), "name"); /* for people: a copy may be called otherwise */
    if (name != NULL)
        (void)json_object_set(json_object_get(now, "model"), "name", name);
    if (options->new_only && manifest_origin(there) == manifest_origin(now))
        TRY(add_inputs(options->folder, there, now, error));
    TRY(compare(options->folder, there, now, error));
    *origin = manifest_origin(there);
done:
    json_decref(now);
    json_decref(there);
    return status;
}
