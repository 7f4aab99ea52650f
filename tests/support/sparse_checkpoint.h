/* sparse_checkpoint.h: a model.safetensors of any size whose data are holes (zeros), so that it takes no disk. */
#ifndef JSC_TEST_SPARSE_CHECKPOINT_H
#define JSC_TEST_SPARSE_CHECKPOINT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct sparse_checkpoint {
    json_t *header;
    uint64_t bytes;
};
/* A tensor of the element type (BF16, F16, F32, U8) after those added before; returns its number of elements. */
uint64_t sparse_add(struct sparse_checkpoint *c, const char *name, const char *dtype, int rank, const uint64_t *shape);
/* folder/model.safetensors. The first tensor's first element is not 0, so that it differs from other tensors of its shape, unless `twin` (NULL:
 * none) is the name of one that gets the same. Frees what c holds. Aborts on failure: the tests cannot go on. */
void sparse_write(struct sparse_checkpoint *c, const char *folder, const char *twin);
/* A llama of these sizes in BF16, with a head that is the embedding (in the file a second time if stored_twice) or its own: config.json and
 * model.safetensors. */
struct sparse_sizes {
    uint64_t layers, d, f, heads, vocabulary;
    bool stored_twice, own_head;
    uint64_t kv_heads; /* 0: as many as heads */
};
void sparse_llama(const char *folder, const struct sparse_sizes *sizes);

#endif
