/* model.c: open a model (config, sizes, device, weights, tokeniser), close it. */
#include "model_files.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define GPU_NODE "/dev/nvidiactl" /* there where a driver has found a GPU that this process may see */

jsc_status model_warn(jsc_model *model, jsc_error *error, const char *format, ...)
{
    jsc_status status = JSC_OK;
    char line[400];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    TRY(mem_reserve(&model->warnings, &model->warnings_capacity, model->n_warnings + 1, error));
    TRY(mem_strdup(&model->warnings[model->n_warnings], line, error));
    model->n_warnings++;
done:
    return status;
}

static void free_norm(const jsc_model *m, const struct norm_weights *n)
{
    m->ops->free(m->device, n->w);
    m->ops->free(m->device, n->b);
}

static void free_blocks(jsc_model *m)
{
    for (int l = 0; m->blocks != NULL && l < m->L; l++) {
        struct block *b = &m->blocks[l];
        const struct norm_weights *const norms[] = {&b->attn_norm, &b->attn_post, &b->mlp_norm, &b->mlp_post, &b->q_norm, &b->k_norm};
        for (size_t i = 0; i < sizeof norms / sizeof norms[0]; i++)
            free_norm(m, norms[i]);
        m->ops->weight_free(m->device, b->qkv);
        m->ops->weight_free(m->device, b->o);
        m->ops->weight_free(m->device, b->up);
        m->ops->weight_free(m->device, b->down);
    }
}

/* What a stage has on its device, and the device. */
static void close_device(jsc_model *m)
{
    if (m->device == NULL)
        return;
    free_blocks(m);
    free_norm(m, &m->final_norm);
    if (m->head != m->embed)
        m->ops->weight_free(m->device, m->head);
    m->ops->weight_free(m->device, m->embed);
    m->ops->weight_free(m->device, m->positions);
    m->ops->weight_free(m->device, m->project_in);
    if (m->load_stream != NULL)
        m->ops->stream_close(m->load_stream);
    m->ops->device_close(m->device);
}

void jsc_model_close(jsc_model *m)
{
    if (m == NULL)
        return;
    if (m->device != NULL && m->traced.name != NULL)
        traced_report(m->log, m->log_user);
    for (jsc_model *stage = m->below, *next = NULL; stage != NULL; stage = next) {
        next = stage->below;
        close_device(stage);
        mem_free(stage->blocks);
        mem_free(stage);
    }
    close_device(m);
    mem_free(m->blocks);
    tokenizer_free(m->tokenizer);
    config_free(&m->config);
    for (size_t i = 0; i < m->n_warnings; i++)
        mem_free(m->warnings[i]);
    mem_free(m->warnings);
    mem_free(m->path);
    mem_free(m->name);
    mem_free(m->no_tokenizer);
    mem_free(m->no_gpu);
    mem_free(m->weight_types);
    mem_free(m->devices);
    mem_free(m);
}

static bool find_activation(const char *name, enum act_kind *out)
{
    static const struct {
        const char *name;
        enum act_kind kind;
    } table[] = {{"silu", ACT_SILU},
                 {"swish", ACT_SILU},
                 {"gelu", ACT_GELU_ERF},
                 {"gelu_new", ACT_GELU_TANH},
                 {"gelu_pytorch_tanh", ACT_GELU_TANH},
                 {"gelu_fast", ACT_GELU_TANH}, /* GPT-NeoX 20B's word */
                 {"relu", ACT_RELU}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (strcmp(table[i].name, name) == 0) {
            *out = table[i].kind;
            return true;
        }
    return false;
}

/* Sizes as ints, their relations, and the traits that follow. config.c has checked each field's own range. */
static jsc_status set_sizes(jsc_model *m, jsc_error *error)
{
    static const struct norm_places places[] = {[LAYOUT_SEQUENTIAL] = {.pre = true},
                                                [LAYOUT_PARALLEL] = {.pre = true, .parallel = true},
                                                [LAYOUT_PARALLEL_ONE] = {.pre = true, .parallel = true},
                                                [LAYOUT_POST_BRANCH] = {.post = true},
                                                [LAYOUT_SANDWICH] = {.pre = true, .post = true},
                                                [LAYOUT_POST_SUM] = {.sum = true}};
    const struct config *c = &m->config;
    const char *activation = c->activation[0] != '\0' ? c->activation : m->family->activation;

    m->L = (int)c->n_layers, m->d = (int)c->d, m->f = (int)c->f, m->H = (int)c->H, m->K = (int)c->K, m->h = (int)c->h, m->V = (int)c->vocab;
    if (m->K <= 0 || m->H % m->K != 0)
        return status_set(error, JSC_E_FORMAT, "%s: %d heads cannot be shared by %d key-value heads", m->path, m->H, m->K);
    m->rot = (int)c->rotated;
    if (c->embed_width > c->d)
        return status_set(error, JSC_E_UNSUPPORTED, "%s: embeddings of width %d above the hidden size %d are not implemented", m->path,
                          (int)c->embed_width, m->d);
    if (m->family->gelu_is_tanh && strcmp(activation, "gelu") == 0)
        activation = "gelu_pytorch_tanh";
    if (!find_activation(activation, &m->act))
        return status_set(error, JSC_E_UNSUPPORTED,
                          "%s: activation \"%s\" is not implemented (silu, gelu, gelu_new, gelu_fast, gelu_pytorch_tanh, relu are)",
                          m->path, activation);
    m->attn_cap = c->attn_cap, m->final_cap = c->final_cap;
    m->embed_scale = c->embed_scale, m->logit_scale = c->logit_scale;
    m->norms = places[c->layout];
    m->final_kind = c->final_norm ? m->family->norm : NORM_NONE;
    return JSC_OK;
}

int model_positions(const jsc_model *m)
{
    return m->family->hf.positions != NULL ? (int)m->config.max_position : 0;
}

static const char *last_part(const char *path)
{
    const char *name = path;
    for (const char *s = path; *s != '\0'; s++)
        if (*s == '/' && s[1] != '\0')
            name = s + 1;
    return name;
}

/* Why "auto" took no GPU: a detail where there is none, a warning where one is. */
static jsc_status say_no_gpu(jsc_model *m, const jsc_error *reason, jsc_error *error)
{
    jsc_status status = JSC_OK;
    char line[560];

    TRY(mem_strdup(&m->no_gpu, reason->text, error));
    (void)snprintf(line, sizeof line, "no GPU is used: %s", reason->text);
    if (path_exists(GPU_NODE))
        TRY(model_warn(m, error, "%s", line));
    else if (m->log != NULL)
        m->log(m->log_user, 1, line);
done:
    return status;
}

/* name: of one device. */
static jsc_status open_device(jsc_model *m, const char *name, const jsc_open_options *options, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct device_options device = {.precision = options->precision, .threads = options->threads, .index = 0};
    jsc_error passed_over;

    TRY(backend_find(name, &m->ops, &device.index, &passed_over, error));
    if (env_get(ENV_TRACE) != NULL) {
        m->traced = traced_ops(m->ops);
        m->ops = &m->traced;
    }
    m->log = options->log, m->log_user = options->log_user;
    if (passed_over.status != JSC_OK)
        TRY(say_no_gpu(m, &passed_over, error));
    TRY(m->ops->device_open(&device, &m->device, error));
    TRY(m->ops->stream_open(m->device, &m->load_stream, error));
    m->memory_left = m->ops->memory_left(m->device);
    m->precision = m->device->precision == JSC_PRECISION_FAST ? "fast" : "strict";
done:
    return status;
}

/* The stages below m, each on a device of its own; all have what m has read from the files. */
static jsc_status open_stages(jsc_model *m, const struct stage_names *names, const jsc_open_options *options, jsc_error *error)
{
    jsc_status status = JSC_OK;
    jsc_model *above = m;

    for (int i = names->n - 2; i >= 0; i--, above = above->below) {
        jsc_model *stage = NULL;
        TRY(mem_new(&stage, 1, error));
        *stage = *m;
        stage->below = NULL, stage->device = NULL, stage->load_stream = NULL, stage->blocks = NULL;
        stage->warnings = NULL, stage->n_warnings = stage->warnings_capacity = 0;
        above->below = stage;
        TRY(open_device(stage, names->name[i], options, error));
        TRY(mem_new(&stage->blocks, (size_t)m->L, error));
        if (strcmp(stage->ops->name, m->ops->name) != 0)
            FAIL(JSC_E_ARGUMENT, "devices %s and %s: stages of one kind are wanted", names->name[i], names->name[names->n - 1]);
    }
    TRY(stages_describe(m, error));
done:
    return status;
}

static jsc_status open_devices(jsc_model *m, const jsc_open_options *options, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const char *usual = env_get(ENV_DEVICE), *given = options->device;
    struct stage_names names;

    if ((given == NULL || strcmp(given, "auto") == 0) && usual != NULL && strchr(usual, '+') != NULL)
        given = usual; /* of one device, backends.c says where the name is from */
    TRY(stages_parse(given, &names, error));
    TRY(open_device(m, names.n > 1 ? names.name[names.n - 1] : given, options, error));
    if (options->precision == JSC_PRECISION_FAST && m->device->precision != JSC_PRECISION_FAST)
        TRY(model_warn(m, error, "precision fast is not to be had on %s: computing in strict", m->device->description));
    TRY(mem_new(&m->blocks, (size_t)m->L, error));
    if (names.n > 1)
        TRY(open_stages(m, &names, options, error));
done:
    return status;
}

static jsc_status collect_warnings(jsc_model *m, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const char *const *lines = NULL;

    for (size_t i = 0; i < m->config.n_warnings; i++)
        TRY(model_warn(m, error, "%s", m->config.warnings[i]));
    if (m->tokenizer != NULL) {
        const size_t n = tokenizer_warnings(m->tokenizer, &lines);
        for (size_t i = 0; i < n; i++)
            TRY(model_warn(m, error, "%s", lines[i]));
    }
done:
    return status;
}

static void log_warnings(const jsc_model *m, const jsc_open_options *options)
{
    if (options->log == NULL)
        return;
    for (size_t i = 0; i < m->n_warnings; i++)
        options->log(options->log_user, 0, m->warnings[i]);
    char line[256];
    (void)snprintf(line, sizeof line, "%s: %s, %" PRIu64 " weights on %s in %.2f s", m->name, m->family->name, m->parameters,
                   model_device(m), m->load_seconds);
    options->log(options->log_user, 1, line);
}

/* What follows once the checkpoint's files or tensors are known: sizes, tokeniser, device, weights. start: of the whole opening. */
static jsc_status open_checkpoint(jsc_model *m, const struct model_files *files, const jsc_open_options *options, double start,
                                  jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct load_progress progress = {options->progress, options->progress_user, 0, 1};

    m->has_weights = options->without_weights == 0;
    TRY(mem_strdup(&m->name, m->config.name[0] != '\0' ? m->config.name : last_part(m->path), error));
    TRY(set_sizes(m, error));
    model_traits(m, m->traits, sizeof m->traits);
    TRY(model_files_tokenizer(m, files, error));
    TRY(open_devices(m, options, error));
    TRY(model_load_weights(m, files->tensors, &progress, error));
    m->file_bytes = files->tensors->file_bytes;
    TRY(collect_warnings(m, error));
    for (const jsc_model *stage = m; stage != NULL; stage = stage->below)
        TRY(stage->ops->sync(stage->load_stream, error));
    m->load_seconds = clock_seconds() - start;
    log_warnings(m, options);
done:
    return status;
}

static const jsc_open_options defaults = JSC_OPEN_OPTIONS_INIT;

jsc_status jsc_model_open(const char *path, const jsc_open_options *given, jsc_model **out, jsc_error *error)
{
    const jsc_open_options *options = given != NULL ? given : &defaults;
    jsc_status status = JSC_OK;
    jsc_model *m = NULL;
    struct model_files files = {0};
    char found[4352];
    const double start = clock_seconds();

    if (out == NULL || options->size != sizeof *options)
        return status_set(error, JSC_E_ARGUMENT,
                          "jsc_model_open: out is NULL, or options do not begin with JSC_OPEN_OPTIONS_INIT of this version");
    TRY(jsc_model_find(path, found, sizeof found, error));
    TRY(mem_new(&m, 1, error));
    TRY(mem_strdup(&m->path, found, error));
    TRY(model_files_open(m, &files, error));
    TRY(open_checkpoint(m, &files, options, start, error));
    *out = m, m = NULL;
done:
    model_files_free(&files);
    jsc_model_close(m);
    return status;
}

jsc_status jsc_model_open_tensors(const char *name, const char *config_json, const char *tokenizer_json, const char *tokenizer_config_json,
                                  const jsc_tensor *tensors, size_t n, const jsc_open_options *given, jsc_model **out, jsc_error *error)
{
    const jsc_open_options *options = given != NULL ? given : &defaults;
    jsc_status status = JSC_OK;
    jsc_model *m = NULL;
    struct model_files files = {.tokenizer_json = tokenizer_json, .tokenizer_config = tokenizer_config_json};
    const double start = clock_seconds();

    if (name == NULL || config_json == NULL || tensors == NULL || out == NULL || options->size != sizeof *options)
        return status_set(error, JSC_E_ARGUMENT,
                          "jsc_model_open_tensors: name, config_json, tensors or out is NULL, or options do not begin with "
                          "JSC_OPEN_OPTIONS_INIT of this version");
    TRY(mem_new(&m, 1, error));
    TRY(mem_strdup(&m->path, name, error));
    TRY(model_files_from_memory(m, config_json, tensors, n, &files, error));
    TRY(open_checkpoint(m, &files, options, start, error));
    *out = m, m = NULL;
done:
    model_files_free(&files);
    jsc_model_close(m);
    return status;
}
