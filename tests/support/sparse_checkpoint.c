/* sparse_checkpoint.c: safetensors files of holes. */
#include "sparse_checkpoint.h"

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

uint64_t sparse_add(struct sparse_checkpoint *c, const char *name, const char *dtype, int rank, const uint64_t *shape)
{
    const uint64_t size = strcmp(dtype, "U8") == 0 ? 1 : strcmp(dtype, "F32") == 0 ? 4 : 2;
    uint64_t elements = 1;
    json_t *dimensions = json_array();
    if (c->header == NULL)
        c->header = json_object();
    for (int i = 0; i < rank; i++) {
        json_array_append_new(dimensions, json_integer((json_int_t)shape[i]));
        elements *= shape[i];
    }
    json_object_set_new(c->header, name,
                        json_pack("{s:s,s:o,s:[I,I]}", "dtype", dtype, "shape", dimensions, "data_offsets", (json_int_t)c->bytes,
                                  (json_int_t)(c->bytes + size * elements)));
    c->bytes += size * elements;
    return elements;
}

void sparse_write(struct sparse_checkpoint *c, const char *folder, const char *twin)
{
    char path[512];
    const json_t *second = twin != NULL ? json_object_get(json_object_get(c->header, twin), "data_offsets") : NULL;
    const long again = twin != NULL ? (long)json_integer_value(json_array_get(second, 0)) : 0;
    char *text = json_dumps(c->header, JSON_COMPACT);
    const uint64_t n = strlen(text);
    const uint16_t one = 0x3f80;
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    FILE *f = fopen(path, "w");
    need(f != NULL && fwrite(&n, 8, 1, f) == 1 && fwrite(text, 1, n, f) == n && fwrite(&one, 2, 1, f) == 1, path);
    need(fseek(f, (long)(8 + n) + again, SEEK_SET) == 0 && fwrite(&one, 2, 1, f) == 1 && fclose(f) == 0, path);
    need(truncate(path, (off_t)(8 + n + c->bytes)) == 0, path);
    free(text);
    json_decref(c->header);
    *c = (struct sparse_checkpoint){NULL, 0};
}

static uint64_t kv_heads(const struct sparse_sizes *z)
{
    return z->kv_heads > 0 ? z->kv_heads : z->heads;
}

static void add_block(struct sparse_checkpoint *c, uint64_t layer, const struct sparse_sizes *z)
{
    const uint64_t d = z->d, f = z->f, kv = d / z->heads * kv_heads(z);
    const struct {
        const char *name;
        uint64_t rows, columns;
    } tensors[] = {{"input_layernorm", d, 0},   {"self_attn.q_proj", d, d}, {"self_attn.k_proj", kv, d},
                   {"self_attn.v_proj", kv, d}, {"self_attn.o_proj", d, d}, {"post_attention_layernorm", d, 0},
                   {"mlp.gate_proj", f, d},     {"mlp.up_proj", f, d},      {"mlp.down_proj", d, f}};
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++) {
        char name[128];
        snprintf(name, sizeof name, "model.layers.%lu.%s.weight", (unsigned long)layer, tensors[i].name);
        sparse_add(c, name, "BF16", tensors[i].columns > 0 ? 2 : 1, (const uint64_t[2]){tensors[i].rows, tensors[i].columns});
    }
}

void sparse_llama(const char *folder, const struct sparse_sizes *z)
{
    char path[512];
    struct sparse_checkpoint c = {NULL, 0};
    json_t *config = json_pack("{s:[s],s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:b,s:I,s:f,s:s}", "architectures", "LlamaForCausalLM", "model_type",
                               "llama", "hidden_size", (json_int_t)z->d, "intermediate_size", (json_int_t)z->f, "num_hidden_layers",
                               (json_int_t)z->layers, "num_attention_heads", (json_int_t)z->heads, "num_key_value_heads",
                               (json_int_t)kv_heads(z), "vocab_size", (json_int_t)z->vocabulary, "tie_word_embeddings", !z->own_head,
                               "max_position_embeddings", (json_int_t)2048, "rms_norm_eps", 1e-5, "hidden_act", "silu");
    const uint64_t embedding[2] = {z->vocabulary, z->d};
    snprintf(path, sizeof path, "%s/config.json", folder);
    need(config != NULL && json_dump_file(config, path, 0) == 0, path);
    json_decref(config);
    sparse_add(&c, "model.embed_tokens.weight", "BF16", 2, embedding);
    if (z->stored_twice || z->own_head)
        sparse_add(&c, "lm_head.weight", "BF16", 2, embedding);
    for (uint64_t l = 0; l < z->layers; l++)
        add_block(&c, l, z);
    sparse_add(&c, "model.norm.weight", "BF16", 1, &z->d);
    sparse_write(&c, folder, z->stored_twice ? "lm_head.weight" : NULL);
}
