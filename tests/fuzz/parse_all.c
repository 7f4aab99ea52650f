/* parse_all.c: parse a file and touch all that it promises, so that a wrong extent shows. */
#include "parse_all.h"

#include "model_internal.h"
#include "support/tiny_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Of the family that the file names, else of the first. */
static const struct config_rules *rules_of(const char *name, bool gguf)
{
    const struct family *family = family_find(name, gguf);
    return family != NULL ? &family->rules : &family_at(0)->rules;
}

const char *memory_file(const void *bytes, size_t n)
{
    static char path[64];
    static int fd = -1;
    if (fd >= 0)
        (void)close(fd);
    fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (fd < 0 || (n > 0 && write(fd, bytes, n) != (ssize_t)n))
        abort();
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return path;
}

/* A promise that does not hold is our fault, not the file's. */
static void must(bool holds)
{
    if (!holds)
        abort();
}

static void touch_tensors(const struct tensor_set *set)
{
    static volatile unsigned char sink;
    for (size_t i = 0; i < set->n; i++) {
        const struct tensor *t = &set->tensors[i];
        bool inside = false;
        for (size_t k = 0; k < set->n_files; k++) {
            const struct file *f = set->files[k];
            inside = inside || (t->bytes >= f->bytes && t->n_bytes <= f->size && t->bytes <= f->bytes + (f->size - t->n_bytes));
        }
        must(inside && tensor_find(set, t->name) == t && t->rank <= TENSOR_RANK_MAX);
        for (uint64_t b = 0; b < t->n_bytes; b++)
            sink = t->bytes[b];
        if (t->known_type && t->n_elements > 0) {
            double row[256];
            const size_t block = dtype_info(t->type)->block;
            size_t bytes = 0;
            must(dtype_bytes(t->type, t->n_elements, &bytes) && bytes == t->n_bytes);
            dtype_row_f64(t->type, t->bytes, block, row);
        }
    }
    (void)sink;
}

jsc_status parse_safetensors_file(const char *path, jsc_error *error)
{
    struct tensor_set *set = NULL;
    const jsc_status status = safetensors_open_file(path, &set, error);
    must((status == JSC_OK) == (set != NULL));
    if (set != NULL) {
        touch_tensors(set);
        const jsc_status packed = quantised_refuse_tensors(set, error);
        must(packed == JSC_OK || packed == JSC_E_UNSUPPORTED);
    }
    tensor_set_free(set);
    return status;
}

jsc_status parse_config(const char *path, const char *text, size_t n, jsc_error *error)
{
    jsc_status status = JSC_OK;
    json_t *root = NULL;
    struct config c = {0};
    char family[48];
    TRY(json_parse(path, text, n, &root, error));
    TRY(config_family_json(path, root, family, sizeof family, error));
    TRY(config_from_json(path, root, rules_of(family, false), &c, error));
    must(c.d > 0 && c.H > 0 && c.K > 0 && c.h > 0 && c.f > 0 && c.vocab > 0 && c.n_layers > 0 && c.norm_eps > 0 &&
         (!config_rotates(&c) || c.rope_theta > 1));
done:
    config_free(&c);
    json_decref(root);
    return status;
}

jsc_status parse_folder(const char *folder, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct tensor_set *set = NULL;
    struct file *file = NULL;
    char *path = NULL;
    TRY(path_join(folder, "config.json", &path, error));
    TRY(file_open(path, &file, error));
    TRY(parse_config(path, (const char *)file->bytes, file->size, error));
    TRY(safetensors_open(folder, &set, error));
    touch_tensors(set);
done:
    tensor_set_free(set);
    file_close(file);
    mem_free(path);
    return status;
}

/* Some text with a digit, an added token, half-known words and an emoji; then every token's bytes. */
static jsc_status use_tokenizer(const struct tokenizer *tok, size_t rows, jsc_error *error)
{
    static const char *const texts[] = {"", "hello hell 42", "a<|end|>b", "\xf0\x9f\x98\x80 \n\n  x"};
    jsc_status status = JSC_OK;
    struct token_list list = {0};
    for (size_t i = 0; tokenizer_takes_text(tok) && i < sizeof texts / sizeof texts[0]; i++) {
        TRY(tokenizer_encode(tok, texts[i], strlen(texts[i]), true, &list, error));
        for (size_t k = 0; k < list.n; k++)
            must(list.ids[k] >= 0 && (size_t)list.ids[k] < rows);
        token_list_free(&list);
        list = (struct token_list){0};
    }
    for (size_t id = 0; id < rows; id++) {
        const char *bytes = NULL;
        size_t n = 0;
        TRY(tokenizer_token(tok, (int32_t)id, &bytes, &n, error));
        must(bytes != NULL);
    }
    must(tokenizer_describe(tok) != NULL);
done:
    token_list_free(&list);
    return status;
}

jsc_status parse_tokenizer(const char *path, const char *text, size_t n, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct tokenizer *tok = NULL;
    TRY(tokenizer_from_json(path, text, n, TINY_V, &tok, error));
    TRY(use_tokenizer(tok, TINY_V, error));
done:
    tokenizer_free(tok);
    return status;
}

jsc_status parse_gguf(const char *path, jsc_error *error)
{
    jsc_status status = JSC_OK;
    char family[64];
    struct gguf *g = NULL;
    struct tokenizer *tok = NULL;
    struct config c = {0};
    TRY(gguf_open(path, &g, error));
    touch_tensors(g->tensors);
    for (size_t i = 0; i < g->n_values; i++) {
        const unsigned char *cursor = g->values[i].bytes;
        const char *text;
        size_t n;
        must(gguf_find(g, g->values[i].key) == &g->values[i]);
        while (gguf_next_string(&g->values[i], &cursor, &text, &n))
            (void)utf8_check(text, n);
    }
    TRY(config_family_gguf(g, family, sizeof family, error));
    TRY(config_from_gguf(g, rules_of(family, true), &c, error));
    TRY(tokenizer_from_gguf(g, (size_t)c.vocab, &tok, error));
    TRY(use_tokenizer(tok, (size_t)c.vocab < TINY_V ? (size_t)c.vocab : TINY_V, error));
done:
    tokenizer_free(tok);
    config_free(&c);
    gguf_close(g);
    return status;
}
