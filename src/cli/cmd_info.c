/* cmd_info.c: jscopes info: what a model is. */
#include "cli_internal.h"

#include <inttypes.h>
#include <string.h>

static void put_text_line(const char *name, const char *value)
{
    if (value == NULL)
        return;
    printf("%-13s ", name);
    put_shown(value, strlen(value));
    printf("\n");
}

static void put_field(const char *name, const char *value)
{
    if (value == NULL)
        return;
    printf(", \"%s\": ", name);
    put_json(value, strlen(value));
}

static void put_info_text(const jsc_model_info *m)
{
    put_text_line("name", m->name);
    put_text_line("path", m->path);
    put_text_line("family", m->family);
    put_text_line("format", m->format);
    printf("%-13s %d blocks, d %d, mlp %d, %d heads (%d for keys and values) of %d\n", "size", m->n_layers, m->d_model, m->d_ff, m->n_heads,
           m->n_kv_heads, m->head_dim);
    printf("%-13s %d tokens, head %s\n", "vocabulary", m->vocab_size, m->tied_head ? "tied to the embedding" : "of its own");
    if (m->max_position > 0)
        printf("%-13s %d\n", "positions", m->max_position);
    if (m->sliding_window > 0)
        printf("%-13s %d tokens\n", "window", m->sliding_window);
    if (m->rope_theta > 0.0)
        printf("%-13s theta %g, scaling %s\n", "rotary", m->rope_theta, m->rope_scaling != NULL ? m->rope_scaling : "none");
    put_text_line("traits", m->traits);
    printf("%-13s %" PRIu64 "\n", "parameters", m->parameters);
    put_text_line("on disk", m->weight_types);
    printf("%-13s %" PRIu64 " in files\n", "bytes", m->file_bytes);
    put_text_line("device", m->device);
    put_text_line("no GPU", m->no_gpu);
    printf("%-13s %" PRIu64 " bytes for the weights, %" PRIu64 " bytes free\n", "memory", m->weight_bytes, m->memory_left);
    put_text_line("precision", m->precision);
    put_text_line("tokeniser", m->tokeniser);
    if (m->bos_id >= 0)
        printf("%-13s id %" PRId32 ", %s\n", "begin", m->bos_id, m->adds_bos ? "put in front of texts" : "not put in front of texts");
    if (m->eos_id >= 0)
        printf("%-13s id %" PRId32 "\n", "end", m->eos_id);
    for (int i = 0; i < m->n_warnings; i++)
        put_text_line("warning", m->warnings[i]);
}

static void put_info_json(const jsc_model_info *m)
{
    printf("{\"name\": ");
    put_json(m->name != NULL ? m->name : "", m->name != NULL ? strlen(m->name) : 0);
    put_field("path", m->path);
    put_field("family", m->family);
    put_field("format", m->format);
    put_field("weight_types", m->weight_types);
    printf(",\n \"layers\": %d, \"d_model\": %d, \"d_ff\": %d, \"heads\": %d, \"kv_heads\": %d, \"head_dim\": %d, \"vocab_size\": %d",
           m->n_layers, m->d_model, m->d_ff, m->n_heads, m->n_kv_heads, m->head_dim, m->vocab_size);
    if (m->max_position > 0)
        printf(", \"max_position\": %d", m->max_position);
    if (m->sliding_window > 0)
        printf(", \"sliding_window\": %d", m->sliding_window);
    printf(", \"tied_head\": %s", m->tied_head ? "true" : "false");
    if (m->rope_theta > 0.0)
        printf(", \"rope_theta\": %.17g", m->rope_theta);
    put_field("rope_scaling", m->rope_scaling);
    put_field("traits", m->traits);
    printf(",\n \"parameters\": %" PRIu64 ", \"file_bytes\": %" PRIu64 ", \"weight_bytes\": %" PRIu64, m->parameters, m->file_bytes,
           m->weight_bytes);
    put_field("device", m->device);
    put_field("no_gpu", m->no_gpu);
    printf(", \"memory_left\": %" PRIu64, m->memory_left);
    put_field("backend", m->backend);
    put_field("precision", m->precision);
    put_field("tokeniser", m->tokeniser);
    printf(",\n \"has_tokeniser\": %s, \"adds_bos\": %s", m->has_tokeniser ? "true" : "false", m->adds_bos ? "true" : "false");
    if (m->bos_id >= 0)
        printf(", \"bos_id\": %" PRId32, m->bos_id);
    if (m->eos_id >= 0)
        printf(", \"eos_id\": %" PRId32, m->eos_id);
    printf(", \"warnings\": [");
    for (int i = 0; i < m->n_warnings; i++) {
        printf("%s", i == 0 ? "" : ", ");
        put_json(m->warnings[i], strlen(m->warnings[i]));
    }
    printf("]}\n");
}

enum { COLUMNS = 8 };
static const char *const column_names[COLUMNS] = {"model_type", "GGUF", "models", "norms", "positions", "attention", "MLP", "also"};

static const char *cell(const jsc_family_info *f, int column)
{
    const char *const cells[COLUMNS] = {
        f->name, f->gguf_name != NULL ? f->gguf_name : "-", f->models, f->norms, f->positions, f->attention, f->mlp, f->rest};
    return cells[column];
}

/* A table that Markdown reads too: README.md holds it. */
static int put_families_text(void)
{
    size_t width[COLUMNS];
    jsc_family_info f = JSC_FAMILY_INFO_INIT;
    jsc_error error;
    for (int c = 0; c < COLUMNS; c++)
        width[c] = strlen(column_names[c]);
    for (size_t i = 0; i < jsc_family_count(); i++) {
        if (jsc_family_describe(i, &f, &error) != JSC_OK)
            return fail_library(&error);
        for (int c = 0; c < COLUMNS; c++)
            width[c] = strlen(cell(&f, c)) > width[c] ? strlen(cell(&f, c)) : width[c];
    }
    for (int c = 0; c < COLUMNS; c++)
        printf("| %-*s ", (int)width[c], column_names[c]);
    printf("|\n");
    for (int c = 0; c < COLUMNS; c++) {
        printf("| ");
        for (size_t i = 0; i < width[c]; i++)
            printf("-");
        printf(" ");
    }
    printf("|\n");
    for (size_t i = 0; i < jsc_family_count(); i++) {
        (void)jsc_family_describe(i, &f, &error); /* it was described above */
        for (int c = 0; c < COLUMNS; c++)
            printf("| %-*s ", (int)width[c], cell(&f, c));
        printf("|\n");
    }
    return EXIT_DONE;
}

static int put_families_json(void)
{
    jsc_family_info f = JSC_FAMILY_INFO_INIT;
    jsc_error error;
    printf("[");
    for (size_t i = 0; i < jsc_family_count(); i++) {
        if (jsc_family_describe(i, &f, &error) != JSC_OK)
            return fail_library(&error);
        printf("%s{\"model_type\": ", i == 0 ? "" : ",\n ");
        put_json(f.name, strlen(f.name));
        put_field("gguf", f.gguf_name);
        put_field("models", f.models);
        put_field("norms", f.norms);
        put_field("positions", f.positions);
        put_field("attention", f.attention);
        put_field("mlp", f.mlp);
        put_field("also", f.rest);
        printf("}");
    }
    printf("]\n");
    return EXIT_DONE;
}

int cmd_info(const struct arguments *args)
{
    jsc_model_info info = JSC_MODEL_INFO_INIT;
    jsc_open_options options;
    jsc_model *model = NULL;
    jsc_error error;
    bool json = false;
    if (!wants_json(args, &json) || !open_options_parse(args, &options))
        return EXIT_USAGE;
    if (args->value[OPT_FAMILIES] != NULL)
        return args->model != NULL ? fail(EXIT_USAGE, "--families lists what can be read; it takes no MODEL")
               : json              ? put_families_json()
                                   : put_families_text();
    options.without_weights = 1;
    int status = model_open(args, &options, &model);
    if (status == EXIT_DONE && jsc_model_describe(model, &info, &error) != JSC_OK)
        status = fail_library(&error);
    if (status == EXIT_DONE) {
        if (json)
            put_info_json(&info);
        else
            put_info_text(&info);
    }
    jsc_model_close(model);
    return status;
}
