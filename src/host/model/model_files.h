/* model_files.h: what the kinds of checkpoint hand over to model.c. */
#ifndef JSC_MODEL_FILES_H
#define JSC_MODEL_FILES_H

#include "model_internal.h"

struct model_files {
    struct tensor_set *tensors;
    struct gguf *gguf; /* owns tensors; NULL: not of this kind */
    json_t *config;
    const char *tokenizer_json, *tokenizer_config; /* of tensors in memory: the caller's texts, NULL: none */
};
/* The folder or file at model->path. Sets family, config and format. */
jsc_status model_files_open(struct jsc_model *model, struct model_files *out, jsc_error *error);
/* Tensors and config of the caller; nothing is copied. */
jsc_status model_files_from_memory(struct jsc_model *model, const char *config_json, const jsc_tensor *tensors, size_t n,
                                   struct model_files *out, jsc_error *error);
/* Sets tokenizer, or no_tokenizer: why there is none. */
jsc_status model_files_tokenizer(struct jsc_model *model, const struct model_files *files, jsc_error *error);
void model_files_free(struct model_files *files);

#endif
