/* checkpoint.h: read a safetensors folder of tests/golden, change its tensors or its config, write it to a fresh folder. */
#ifndef JSC_TEST_CHECKPOINT_H
#define JSC_TEST_CHECKPOINT_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

struct st_tensor {
    char name[96], dtype[8];
    uint64_t shape[2];
    int rank;
    unsigned char *bytes;
    size_t n_bytes;
};
struct checkpoint {
    json_t *config;
    struct st_tensor tensors[128];
    int n;
};
/* name: a folder below tests/golden, single-file or sharded. Aborts on any failure: the tests cannot go on. */
struct checkpoint *checkpoint_read(const char *name);
struct st_tensor *checkpoint_find(struct checkpoint *c, const char *name); /* NULL: absent */
void checkpoint_drop(struct checkpoint *c, const char *name);
struct st_tensor *checkpoint_add(struct checkpoint *c, const char *name, const char *dtype, int rank, uint64_t rows, uint64_t columns);
/* Writes to a fresh folder below the temporary directory; the path is static. */
const char *checkpoint_write(struct checkpoint *c);
void checkpoint_free(struct checkpoint *c);
/* Removes a folder that checkpoint_write made. */
void folder_remove(const char *path);
#endif
