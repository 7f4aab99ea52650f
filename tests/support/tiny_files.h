/* tiny_files.h: builds tiny checkpoints and tokeniser files in memory and on disk, byte by byte, so that tests can damage them. */
#ifndef TINY_FILES_H
#define TINY_FILES_H

#include "files_internal.h"

/* A fresh folder under $TMPDIR (or /tmp); the caller passes it to tiny_remove in the end. Aborts on failure: a test cannot go on. */
void tiny_folder(char out[128]);
void tiny_remove(const char *folder);
/* folder/name, in a ring of 8 static buffers. */
const char *tiny_path(const char *folder, const char *name);
void tiny_write(const char *path, const void *bytes, size_t n);
void tiny_write_text(const char *path, const char *text);

/* u64 header length, the header as given, then data_bytes of data (byte i is i * 37 & 0xff). */
void tiny_safetensors(struct strbuf *out, const char *header, size_t data_bytes);

/* GGUF pieces: the caller knows how many keys and tensors will follow. */
void gguf_begin(struct strbuf *out, uint32_t version, uint64_t n_tensors, uint64_t n_kv);
void gguf_key(struct strbuf *out, const char *key, uint32_t type);
void gguf_put(struct strbuf *out, const void *bytes, size_t n);
void gguf_text(struct strbuf *out, const char *text); /* u64 length + bytes */
void gguf_u32(struct strbuf *out, const char *key, uint32_t v);
void gguf_u16(struct strbuf *out, const char *key, uint16_t v);
void gguf_u64(struct strbuf *out, const char *key, uint64_t v);
void gguf_i32(struct strbuf *out, const char *key, int32_t v);
void gguf_f32(struct strbuf *out, const char *key, float v);
void gguf_bool(struct strbuf *out, const char *key, bool v);
void gguf_string(struct strbuf *out, const char *key, const char *text);
void gguf_array(struct strbuf *out, const char *key, uint32_t element, uint64_t count); /* elements follow */
/* One entry of the tensor table: ne[0] runs fastest. */
void gguf_tensor(struct strbuf *out, const char *name, uint32_t rank, const uint64_t *ne, uint32_t type, uint64_t offset);
void gguf_pad(struct strbuf *out, size_t alignment);

/* A llama of 1 block: d 8, f 12, H 2, K 1, h 4, V 260, tied; weights of about 0.1. The same tensors in both formats. */
#define TINY_V 260
void tiny_llama_config(struct strbuf *out);      /* config.json */
void tiny_llama_safetensors(struct strbuf *out); /* model.safetensors in F32 */
void tiny_llama_gguf(struct strbuf *out);        /* F32, with the tokeniser below */
void tiny_spm_gguf(struct strbuf *out);          /* the same with SentencePiece by score */
/* tokenizer.json: byte-level BPE, 256 byte tokens, 3 merges, one added token: TINY_V tokens. */
void tiny_tokenizer(struct strbuf *out);
/* In SentencePiece's style: normalisers, Metaspace, byte fallback, a template. */
void tiny_spm_tokenizer(struct strbuf *out);

#endif
