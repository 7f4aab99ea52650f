/* tokenizer_gguf_files.h: GGUF files that hold a tokeniser and one small tensor, in a folder of the test's own. */
#ifndef TOKENIZER_GGUF_FILES_H
#define TOKENIZER_GGUF_FILES_H

#include "tiny_files.h"
#include "tokenizer_files.h"

/* .init and .fini of a suite: the folder. */
void tokenizer_gguf_begin(void);
void tokenizer_gguf_end(void);
/* Writes the keys in s (n of them), frees s, and returns the file's path. */
const char *tokenizer_gguf_write(struct strbuf *s, uint64_t n);
/* Reads the tokeniser of such a file. */
jsc_status tokenizer_gguf_open(struct strbuf *s, uint64_t n, size_t rows, struct tokenizer **out, jsc_error *error);
struct tokenizer *tokenizer_gguf_must(struct strbuf *s, uint64_t n, size_t rows); /* must open */

#endif
