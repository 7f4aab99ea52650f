/* checkpoint.c: safetensors folders for tests, made from those of tests/golden. Independent of the library's own reader. */
#include "checkpoint.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void need(int ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "test support: %s\n", what);
        abort();
    }
}

static unsigned char *slurp(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    need(f != NULL, path);
    need(fseek(f, 0, SEEK_END) == 0, path);
    *n = (size_t)ftell(f);
    rewind(f);
    unsigned char *bytes = malloc(*n + 1);
    need(bytes != NULL && fread(bytes, 1, *n, f) == *n, path);
    bytes[*n] = 0;
    fclose(f);
    return bytes;
}

static void read_tensors(struct checkpoint *c, const char *path)
{
    size_t n = 0;
    unsigned char *file = slurp(path, &n);
    uint64_t header = 0;
    memcpy(&header, file, 8);
    json_t *root = json_loadb((const char *)file + 8, header, 0, NULL);
    need(root != NULL, "header");
    const char *name;
    json_t *entry;
    json_object_foreach(root, name, entry)
    {
        if (strcmp(name, "__metadata__") == 0)
            continue;
        struct st_tensor *t = &c->tensors[c->n++];
        snprintf(t->name, sizeof t->name, "%s", name);
        snprintf(t->dtype, sizeof t->dtype, "%s", json_string_value(json_object_get(entry, "dtype")));
        json_t *shape = json_object_get(entry, "shape"), *at = json_object_get(entry, "data_offsets");
        t->rank = (int)json_array_size(shape);
        for (int i = 0; i < t->rank; i++)
            t->shape[i] = (uint64_t)json_integer_value(json_array_get(shape, (size_t)i));
        const size_t begin = (size_t)json_integer_value(json_array_get(at, 0)), end = (size_t)json_integer_value(json_array_get(at, 1));
        t->n_bytes = end - begin;
        t->bytes = malloc(t->n_bytes + 1);
        memcpy(t->bytes, file + 8 + header + begin, t->n_bytes);
    }
    json_decref(root);
    free(file);
}

struct checkpoint *checkpoint_read(const char *name)
{
    char folder[1024], path[2048];
    struct checkpoint *c = calloc(1, sizeof *c);
    need(c != NULL, "memory");
    snprintf(folder, sizeof folder, "%s/tests/golden/%s", JSC_TEST_SOURCE, name);
    snprintf(path, sizeof path, "%s/config.json", folder);
    c->config = json_load_file(path, 0, NULL);
    need(c->config != NULL, path);
    DIR *d = opendir(folder);
    need(d != NULL, folder);
    for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        const size_t n = strlen(e->d_name);
        if (n > 12 && strcmp(e->d_name + n - 12, ".safetensors") == 0) {
            snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
            read_tensors(c, path);
        }
    }
    closedir(d);
    return c;
}

struct st_tensor *checkpoint_find(struct checkpoint *c, const char *name)
{
    for (int i = 0; i < c->n; i++)
        if (strcmp(c->tensors[i].name, name) == 0)
            return &c->tensors[i];
    return NULL;
}

void checkpoint_drop(struct checkpoint *c, const char *name)
{
    struct st_tensor *t = checkpoint_find(c, name);
    need(t != NULL, name);
    free(t->bytes);
    *t = c->tensors[--c->n];
}

struct st_tensor *checkpoint_add(struct checkpoint *c, const char *name, const char *dtype, int rank, uint64_t rows, uint64_t columns)
{
    struct st_tensor *t = &c->tensors[c->n++];
    need(c->n < 128, "too many tensors");
    snprintf(t->name, sizeof t->name, "%s", name);
    snprintf(t->dtype, sizeof t->dtype, "%s", dtype);
    t->rank = rank;
    t->shape[0] = rows, t->shape[1] = columns;
    t->n_bytes = rows * (rank > 1 ? columns : 1) *
                 (strcmp(dtype, "F32") == 0   ? 4
                  : strcmp(dtype, "I64") == 0 ? 8
                  : strcmp(dtype, "I8") == 0  ? 1
                                              : 2);
    t->bytes = calloc(1, t->n_bytes + 1);
    return t;
}

const char *checkpoint_write(struct checkpoint *c)
{
    static char folder[64];
    char path[128];
    snprintf(folder, sizeof folder, "/tmp/jscopes-test-XXXXXX");
    need(mkdtemp(folder) != NULL, folder);
    snprintf(path, sizeof path, "%s/config.json", folder);
    need(json_dump_file(c->config, path, JSON_ENCODE_ANY) == 0, path);
    json_t *root = json_object();
    size_t at = 0;
    for (int i = 0; i < c->n; i++) {
        const struct st_tensor *t = &c->tensors[i];
        json_t *shape = json_array();
        for (int r = 0; r < t->rank; r++)
            json_array_append_new(shape, json_integer((json_int_t)t->shape[r]));
        json_object_set_new(root, t->name,
                            json_pack("{s:s,s:o,s:[I,I]}", "dtype", t->dtype, "shape", shape, "data_offsets", (json_int_t)at,
                                      (json_int_t)(at + t->n_bytes)));
        at += t->n_bytes;
    }
    char *header = json_dumps(root, JSON_COMPACT | JSON_PRESERVE_ORDER);
    const uint64_t n = strlen(header);
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    FILE *f = fopen(path, "wb");
    need(f != NULL, path);
    fwrite(&n, 8, 1, f);
    fwrite(header, 1, n, f);
    for (int i = 0; i < c->n; i++)
        fwrite(c->tensors[i].bytes, 1, c->tensors[i].n_bytes, f);
    need(fclose(f) == 0, path);
    free(header);
    json_decref(root);
    return folder;
}

void checkpoint_free(struct checkpoint *c)
{
    for (int i = 0; i < c->n; i++)
        free(c->tensors[i].bytes);
    json_decref(c->config);
    free(c);
}

void folder_remove(const char *path)
{
    char file[512];
    DIR *d = opendir(path);
    if (d == NULL)
        return;
    for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        snprintf(file, sizeof file, "%s/%s", path, e->d_name);
        (void)unlink(file);
    }
    closedir(d);
    (void)rmdir(path);
}
