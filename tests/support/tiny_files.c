/* tiny_files.c: builders of tiny checkpoints and tokeniser files for tests and fuzzers. */
#include "tiny_files.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void must(bool ok, const char *what)
{
    if (!ok) {
        perror(what);
        abort();
    }
}

/* ---- files ----------------------------------------------------------------------------------------------------------------- */

void tiny_folder(char out[128])
{
    const char *tmp = getenv("TMPDIR");
    (void)snprintf(out, 128, "%s/jscopes_test_XXXXXX", tmp != NULL && strlen(tmp) < 90 ? tmp : "/tmp");
    must(mkdtemp(out) != NULL, out);
}

const char *tiny_path(const char *folder, const char *name)
{
    static char ring[8][512];
    static int next;
    char *out = ring[next++ % 8];
    must(snprintf(out, sizeof ring[0], "%s/%s", folder, name) < (int)sizeof ring[0], "path too long");
    return out;
}

void tiny_remove(const char *folder)
{
    DIR *d = opendir(folder);
    must(d != NULL, folder);
    for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d))
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            must(unlink(tiny_path(folder, e->d_name)) == 0 || rmdir(tiny_path(folder, e->d_name)) == 0, e->d_name);
    (void)closedir(d);
    must(rmdir(folder) == 0, folder);
}

void tiny_write(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    must(f != NULL, path);
    must(n == 0 || fwrite(bytes, 1, n, f) == n, path);
    must(fclose(f) == 0, path);
}

void tiny_write_text(const char *path, const char *text)
{
    tiny_write(path, text, strlen(text));
}

/* ---- safetensors ----------------------------------------------------------------------------------------------------------- */

void tiny_safetensors(struct strbuf *out, const char *header, size_t data_bytes)
{
    const uint64_t n = strlen(header);
    strbuf_add(out, (const char *)&n, sizeof n);
    strbuf_puts(out, header);
    for (size_t i = 0; i < data_bytes; i++) {
        const char byte = (char)(i * 37 & 0xff);
        strbuf_add(out, &byte, 1);
    }
}

/* ---- GGUF ------------------------------------------------------------------------------------------------------------------ */

void gguf_put(struct strbuf *out, const void *bytes, size_t n)
{
    strbuf_add(out, bytes, n);
}

void gguf_text(struct strbuf *out, const char *text)
{
    const uint64_t n = strlen(text);
    gguf_put(out, &n, sizeof n);
    gguf_put(out, text, n);
}

void gguf_begin(struct strbuf *out, uint32_t version, uint64_t n_tensors, uint64_t n_kv)
{
    gguf_put(out, "GGUF", 4);
    gguf_put(out, &version, sizeof version);
    gguf_put(out, &n_tensors, sizeof n_tensors);
    gguf_put(out, &n_kv, sizeof n_kv);
}

void gguf_key(struct strbuf *out, const char *key, uint32_t type)
{
    gguf_text(out, key);
    gguf_put(out, &type, sizeof type);
}

#define PUT_SCALAR(name, ctype, type)                                                                                                      \
    void name(struct strbuf *out, const char *key, ctype v)                                                                                \
    {                                                                                                                                      \
        gguf_key(out, key, type);                                                                                                          \
        gguf_put(out, &v, sizeof v);                                                                                                       \
    }
PUT_SCALAR(gguf_u16, uint16_t, GGUF_U16)
PUT_SCALAR(gguf_u32, uint32_t, GGUF_U32)
PUT_SCALAR(gguf_u64, uint64_t, GGUF_U64)
PUT_SCALAR(gguf_i32, int32_t, GGUF_I32)
PUT_SCALAR(gguf_f32, float, GGUF_F32)
PUT_SCALAR(gguf_bool, bool, GGUF_BOOL)

void gguf_string(struct strbuf *out, const char *key, const char *text)
{
    gguf_key(out, key, GGUF_STRING);
    gguf_text(out, text);
}

void gguf_array(struct strbuf *out, const char *key, uint32_t element, uint64_t count)
{
    gguf_key(out, key, GGUF_ARRAY);
    gguf_put(out, &element, sizeof element);
    gguf_put(out, &count, sizeof count);
}

void gguf_tensor(struct strbuf *out, const char *name, uint32_t rank, const uint64_t *ne, uint32_t type, uint64_t offset)
{
    gguf_text(out, name);
    gguf_put(out, &rank, sizeof rank);
    gguf_put(out, ne, rank * sizeof *ne);
    gguf_put(out, &type, sizeof type);
    gguf_put(out, &offset, sizeof offset);
}

void gguf_pad(struct strbuf *out, size_t alignment)
{
    while (out->n % alignment != 0)
        strbuf_add(out, "", 1);
}

/* ---- the tiny llama -------------------------------------------------------------------------------------------------------- */

/* rows 1: a vector (its columns are its length) */
static const struct tiny_tensor {
    const char *hf, *gguf;
    uint64_t rows, columns;
} tensors[] = {
    {"model.embed_tokens.weight", "token_embd.weight", TINY_V, 8},
    {"model.layers.0.input_layernorm.weight", "blk.0.attn_norm.weight", 1, 8},
    {"model.layers.0.self_attn.q_proj.weight", "blk.0.attn_q.weight", 8, 8},
    {"model.layers.0.self_attn.k_proj.weight", "blk.0.attn_k.weight", 4, 8},
    {"model.layers.0.self_attn.v_proj.weight", "blk.0.attn_v.weight", 4, 8},
    {"model.layers.0.self_attn.o_proj.weight", "blk.0.attn_output.weight", 8, 8},
    {"model.layers.0.post_attention_layernorm.weight", "blk.0.ffn_norm.weight", 1, 8},
    {"model.layers.0.mlp.gate_proj.weight", "blk.0.ffn_gate.weight", 12, 8},
    {"model.layers.0.mlp.up_proj.weight", "blk.0.ffn_up.weight", 12, 8},
    {"model.layers.0.mlp.down_proj.weight", "blk.0.ffn_down.weight", 8, 12},
    {"model.norm.weight", "output_norm.weight", 1, 8},
};
#define N_TENSORS (sizeof tensors / sizeof tensors[0])

static void put_weights(struct strbuf *out, const struct tiny_tensor *t, uint64_t stream)
{
    for (uint64_t i = 0; i < t->rows * t->columns; i++) {
        const float v = (float)((t->rows == 1 ? 1.0 : 0.0) + 0.1 * rng_normal(11, stream, i));
        strbuf_add(out, (const char *)&v, sizeof v);
    }
}

void tiny_llama_config(struct strbuf *out)
{
    strbuf_puts(out,
                "{\n  \"architectures\": [\"LlamaForCausalLM\"],\n  \"model_type\": \"llama\",\n  \"hidden_size\": 8,\n  "
                "\"intermediate_size\": 12,\n"
                "  \"num_hidden_layers\": 1,\n  \"num_attention_heads\": 2,\n  \"num_key_value_heads\": 1,\n  \"head_dim\": 4,\n"
                "  \"vocab_size\": 260,\n  \"max_position_embeddings\": 64,\n  \"rms_norm_eps\": 1e-05,\n  \"hidden_act\": \"silu\",\n"
                "  \"rope_theta\": 10000.0,\n  \"rope_scaling\": null,\n  \"tie_word_embeddings\": true,\n  \"attention_bias\": false,\n"
                "  \"mlp_bias\": false,\n  \"bos_token_id\": 259,\n  \"eos_token_id\": 259,\n  \"torch_dtype\": \"float32\"\n}\n");
}

void tiny_llama_safetensors(struct strbuf *out)
{
    struct strbuf header = {0};
    uint64_t at = 0;
    strbuf_puts(&header, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (size_t i = 0; i < N_TENSORS; i++) {
        const uint64_t n = 4 * tensors[i].rows * tensors[i].columns;
        strbuf_printf(&header, ",\"%s\":{\"dtype\":\"F32\",\"shape\":[", tensors[i].hf);
        if (tensors[i].rows > 1)
            strbuf_printf(&header, "%" PRIu64 ",", tensors[i].rows);
        strbuf_printf(&header, "%" PRIu64 "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", tensors[i].columns, at, at + n);
        at += n;
    }
    strbuf_puts(&header, "}");
    tiny_safetensors(out, header.text, 0);
    for (size_t i = 0; i < N_TENSORS; i++)
        put_weights(out, &tensors[i], i);
    strbuf_free(&header);
}

/* The character that the byte-level alphabet gives to a byte. */
static size_t byte_char(unsigned byte, char out[4])
{
    uint32_t extra = 0x100;
    for (unsigned b = 0; b < 256; b++) {
        const bool plain = (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
        if (b == byte)
            return utf8_put(out, plain ? b : extra);
        extra += !plain;
    }
    return 0;
}

static const char *const merges[] = {"h e", "l l", "he ll"}, *const merged[] = {"he", "ll", "hell"};

/* Six keys: byte-level BPE. */
static void put_gpt2_keys(struct strbuf *out)
{
    gguf_string(out, "tokenizer.ggml.model", "gpt2");
    gguf_string(out, "tokenizer.ggml.pre", "smollm");
    gguf_array(out, "tokenizer.ggml.tokens", GGUF_STRING, TINY_V);
    for (unsigned i = 0; i < 256; i++) {
        char text[5] = "";
        text[byte_char(i, text)] = '\0';
        gguf_text(out, text);
    }
    for (int i = 0; i < 3; i++)
        gguf_text(out, merged[i]);
    gguf_text(out, "<|end|>");
    gguf_array(out, "tokenizer.ggml.token_type", GGUF_I32, TINY_V);
    for (int32_t i = 0; i < TINY_V; i++)
        gguf_put(out, &(int32_t){i == TINY_V - 1 ? 3 : 1}, 4);
    gguf_array(out, "tokenizer.ggml.merges", GGUF_STRING, 3);
    for (int i = 0; i < 3; i++)
        gguf_text(out, merges[i]);
    gguf_u32(out, "tokenizer.ggml.eos_token_id", TINY_V - 1);
}

/* The pieces of the tokenisers in SentencePiece's style; \xe2\x96\x81 is the mark that stands for a space. */
static const char *const pieces[] = {"\xe2\x96\x81", "h", "e", "l", "o", "he", "ll", "hell", "\xe2\x96\x81hell", "  "};
#define N_PIECES (sizeof pieces / sizeof pieces[0])

/* Six keys: SentencePiece, with the tokens of most bytes. */
static void put_spm_keys(struct strbuf *out)
{
    const int first = TINY_V - (int)N_PIECES;
    gguf_string(out, "tokenizer.ggml.model", "llama");
    gguf_array(out, "tokenizer.ggml.tokens", GGUF_STRING, TINY_V);
    gguf_text(out, "<unk>");
    gguf_text(out, "<s>");
    for (int i = 2; i < TINY_V; i++) {
        char name[8];
        (void)snprintf(name, sizeof name, "<0x%02X>", (unsigned)(i - 2) & 0xffU);
        gguf_text(out, i < first ? name : pieces[i - first]);
    }
    gguf_array(out, "tokenizer.ggml.token_type", GGUF_I32, TINY_V);
    for (int32_t i = 0; i < TINY_V; i++)
        gguf_put(out, &(int32_t){i == 0 ? 2 : i == 1 ? 3 : i < first ? 6 : i == TINY_V - 1 ? 4 : 1}, 4);
    gguf_array(out, "tokenizer.ggml.scores", GGUF_F32, TINY_V);
    for (int i = 0; i < TINY_V; i++)
        gguf_put(out, &(float){i < first ? 0.0f : (float)(first - i)}, 4);
    gguf_u32(out, "tokenizer.ggml.bos_token_id", 1);
    gguf_u32(out, "tokenizer.ggml.unknown_token_id", 0);
}

static void put_llama_gguf(struct strbuf *out, void (*put_tokenizer)(struct strbuf *out))
{
    uint64_t at = 0;
    gguf_begin(out, 3, N_TENSORS, 18);
    gguf_string(out, "general.architecture", "llama");
    gguf_string(out, "general.name", "tiny");
    gguf_u32(out, "llama.block_count", 1);
    gguf_u32(out, "llama.context_length", 64);
    gguf_u32(out, "llama.embedding_length", 8);
    gguf_u32(out, "llama.feed_forward_length", 12);
    gguf_u32(out, "llama.attention.head_count", 2);
    gguf_u32(out, "llama.attention.head_count_kv", 1);
    gguf_f32(out, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    gguf_f32(out, "llama.rope.freq_base", 10000.0f);
    gguf_u32(out, "llama.rope.dimension_count", 4);
    gguf_u32(out, "llama.vocab_size", TINY_V);
    put_tokenizer(out);
    for (size_t i = 0; i < N_TENSORS; i++) {
        const uint64_t ne[2] = {tensors[i].columns, tensors[i].rows}, n = 4 * ne[0] * ne[1];
        gguf_tensor(out, tensors[i].gguf, tensors[i].rows > 1 ? 2 : 1, ne, 0, at);
        at += (n + 31) / 32 * 32;
    }
    for (size_t i = 0; i < N_TENSORS; i++) {
        gguf_pad(out, 32);
        put_weights(out, &tensors[i], i);
    }
}

void tiny_llama_gguf(struct strbuf *out)
{
    put_llama_gguf(out, put_gpt2_keys);
}

void tiny_spm_gguf(struct strbuf *out)
{
    put_llama_gguf(out, put_spm_keys);
}

void tiny_tokenizer(struct strbuf *out)
{
    strbuf_printf(
        out,
        "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":[{\"id\":%d,\"content\":\"<|end|>\",\"single_word\":"
        "false,"
        "\"lstrip\":false,\"rstrip\":false,\"normalized\":false,\"special\":true}],\"normalizer\":null,"
        "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\",\"individual_digits\":true},"
        "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":true}]},"
        "\"post_processor\":null,\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":true,\"use_regex\":true},"
        "\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":null,\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,"
        "\"fuse_unk\":false,\"byte_fallback\":false,\"ignore_merges\":false,\"vocab\":{",
        TINY_V - 1);
    for (unsigned i = 0; i < 256; i++) {
        char text[5] = "";
        text[byte_char(i, text)] = '\0';
        strbuf_printf(out, "\"%s%s\":%u,", i == '"' || i == '\\' ? "\\" : "", text, i);
    }
    for (int i = 0; i < 3; i++)
        strbuf_printf(out, "\"%s\":%d,", merged[i], 256 + i);
    strbuf_printf(out, "\"<|end|>\":%d},\"merges\":[\"%s\",\"%s\",\"%s\"]}}", TINY_V - 1, merges[0], merges[1], merges[2]);
}

void tiny_spm_tokenizer(struct strbuf *out)
{
    strbuf_puts(
        out,
        "{\"added_tokens\":[{\"id\":0,\"content\":\"<unk>\",\"single_word\":true,\"lstrip\":true,\"rstrip\":true,\"normalized\":true,"
        "\"special\":true},{\"id\":1,\"content\":\"<s>\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false,"
        "\"special\":true}],\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFKC\"},{\"type\":\"Lowercase\"},{\"type\":"
        "\"Strip\",\"strip_left\":false,\"strip_right\":true},{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"\\\\s{2,}\"},\"content\":\" "
        "\"},"
        "{\"type\":\"Prepend\",\"prepend\":\" \"}]},\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Metaspace\","
        "\"replacement\":\"\xe2\x96\x81\",\"prepend_scheme\":\"always\",\"split\":true},{\"type\":\"Split\",\"pattern\":{\"Regex\":"
        "\"\\\\p{N}{1,3}|[^\\\\r\\\\n]+\"},\"behavior\":\"MergedWithPrevious\",\"invert\":true}]},\"post_processor\":{\"type\":"
        "\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<s>\",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],"
        "\"pair\":[{\"Sequence\":{\"id\":\"B\",\"type_id\":1}}],\"special_tokens\":{\"<s>\":{\"id\":\"<s>\",\"ids\":[1],\"tokens\":"
        "[\"<s>\"]}}},\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":\"\xe2\x96\x81\"},"
        "\"content\":\" "
        "\"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"}]},\"model\":{\"type\":\"BPE\",\"unk_token\":\"<unk>\",\"fuse_unk\":"
        "true,\"byte_fallback\":true,\"vocab\":{\"<unk>\":0,\"<s>\":1");
    for (size_t i = 0; i < N_PIECES; i++)
        strbuf_printf(out, ",\"%s\":%zu", pieces[i], i + 2);
    for (unsigned i = 0; i < 240; i++)
        strbuf_printf(out, ",\"<0x%02X>\":%u", i, i + 2 + (unsigned)N_PIECES);
    strbuf_puts(out, "},\"merges\":[[\"h\",\"e\"],[\"l\",\"l\"],[\"he\",\"ll\"],[\"\xe2\x96\x81\",\"hell\"]]}}");
}
