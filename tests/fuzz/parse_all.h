/* parse_all.h: what the fuzzers and the mutant test do with a file: parse it and, if it is accepted, touch all that it promises. */
#ifndef PARSE_ALL_H
#define PARSE_ALL_H

#include "files_internal.h"

jsc_status parse_safetensors_file(const char *path, jsc_error *error);
jsc_status parse_folder(const char *folder, jsc_error *error); /* config.json and the weights */
jsc_status parse_gguf(const char *path, jsc_error *error);     /* with configuration and tokeniser */
jsc_status parse_config(const char *path, const char *text, size_t n, jsc_error *error);
jsc_status parse_tokenizer(const char *path, const char *text, size_t n, jsc_error *error);

/* Path of a memory file with these bytes; valid until the next call. */
const char *memory_file(const void *bytes, size_t n);

#endif
