/* tokenizer_gguf_files.c: GGUF files that hold a tokeniser and one small tensor, in a folder of the test's own. */
#include "tokenizer_gguf_files.h"

#include <criterion/criterion.h>

static char folder[128];

void tokenizer_gguf_begin(void)
{
    tiny_folder(folder);
}

void tokenizer_gguf_end(void)
{
    tiny_remove(folder);
}

const char *tokenizer_gguf_write(struct strbuf *s, uint64_t n)
{
    const char *path = tiny_path(folder, "t.gguf");
    struct strbuf file = {0};
    gguf_begin(&file, 3, 1, n);
    strbuf_add(&file, s->text, s->n);
    gguf_tensor(&file, "w", 1, &(uint64_t){8}, 0, 0); /* a file without any is refused */
    gguf_pad(&file, 32);
    for (int i = 0; i < 8; i++)
        gguf_put(&file, &(float){1}, 4);
    tiny_write(path, file.text, file.n);
    strbuf_free(&file);
    strbuf_free(s);
    return path;
}

jsc_status tokenizer_gguf_open(struct strbuf *s, uint64_t n, size_t rows, struct tokenizer **out, jsc_error *error)
{
    struct gguf *gguf = NULL;
    cr_assert(gguf_open(tokenizer_gguf_write(s, n), &gguf, error) == JSC_OK, "%s", error->text);
    const jsc_status status = tokenizer_from_gguf(gguf, rows, out, error);
    gguf_close(gguf); /* a tokeniser does not need the file any more */
    return status;
}

struct tokenizer *tokenizer_gguf_must(struct strbuf *s, uint64_t n, size_t rows)
{
    struct tokenizer *tok = NULL;
    jsc_error error = {0};
    cr_assert(tokenizer_gguf_open(s, n, rows, &tok, &error) == JSC_OK, "%s", error.text);
    return tok;
}
