/* base_internal.h: what every other folder stands on: errors, checked memory, arena, strings, random numbers, environment. */
#ifndef JSC_BASE_INTERNAL_H
#define JSC_BASE_INTERNAL_H

#include <jscopes/status.h>

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" { /* for launchers of kernels */
#endif

/* ---- errors (status.c) -------------------------------------------------------------------------------------------------- */

/* Writes code and one line of text into error (may be NULL) and returns code. Control characters in the text are replaced, so that
 * a hostile file name or tensor name stays on one line. */
jsc_status status_set(jsc_error *error, jsc_status code, const char *format, ...) __attribute__((format(printf, 3, 4)));
#ifdef __clang_analyzer__ /* it does not look into status.c: a failure that was set is never JSC_OK */
#define status_set(error, code, ...) (status_set(error, code, __VA_ARGS__), (code))
#endif

/* TRY passes a failure on, FAIL begins one; both need `jsc_status status`, `jsc_error *error` and a label `done:`. */
#define TRY(call)                                                                                                                          \
    do {                                                                                                                                   \
        if ((status = (call)) != JSC_OK)                                                                                                   \
            goto done;                                                                                                                     \
    } while (0)
#define FAIL(...)                                                                                                                          \
    do {                                                                                                                                   \
        status = status_set(error, __VA_ARGS__);                                                                                           \
        goto done;                                                                                                                         \
    } while (0)

/* ---- instruction sets --------------------------------------------------------------------------------------------------- */

/* One function compiled per level of instruction set and chosen once when the program starts. Not under sanitizers, whose run time is
 * not up yet when the choice is made; clang and older gcc take the baseline. Only on functions without OpenMP regions. (A list such as
 * "avx2,fma" would make two clones, one of them without fused multiply-add.) */
#if defined(__x86_64__) && defined(__GNUC__) && __GNUC__ >= 12 && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) &&                 \
    !defined(__SANITIZE_THREAD__)
#define CPU_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define CPU_CLONES
#endif

/* ---- memory (mem.c): all allocation of the library --------------------------------------------------------------------- */

/* Zeroed memory for count items of size bytes into *out (a pointer to a pointer); JSC_E_MEMORY names the size. count 0 gives one
 * item, so that NULL always means absent. Aligned to 64 bytes. */
jsc_status mem_alloc(void *out, size_t count, size_t size, jsc_error *error);
#define mem_new(pointer, count, error) mem_alloc((pointer), (count), sizeof **(pointer), (error))
/* Grows *out from old_count to at least need items by doubling *capacity; old content kept, new zeroed. */
jsc_status mem_grow(void *out, size_t *capacity, size_t need, size_t size, jsc_error *error);
#define mem_reserve(pointer, capacity, need, error) mem_grow((pointer), (capacity), (need), sizeof **(pointer), (error))
void mem_free(void *pointer);
/* n bytes of a file mapped read-only will be read soon: what is not in the system's cache is asked of the disk now, all at once instead of
 * page after page. */
void mem_expect_mapped(const void *bytes, size_t n);
/* n bytes of a file mapped read-only were read and will not soon be again: their whole pages leave this process's memory (not the
 * system's cache) and come back when they are touched. Never for other memory, which would lose its content. */
void mem_forget_mapped(const void *bytes, size_t n);
jsc_status mem_strdup(char **out, const char *text, jsc_error *error);
jsc_status mem_strndup(char **out, const char *text, size_t n, jsc_error *error);
bool size_mul(size_t a, size_t b, size_t *out); /* false: overflow */
bool size_add(size_t a, size_t b, size_t *out);
/* Tests: the k-th allocation from now fails (k >= 1), and every one after it if keep_failing; 0 switches it off. Per thread. */
void mem_fail_at(long k, bool keep_failing);
long mem_calls(void);        /* allocations tried by this thread since mem_fail_at */
size_t mem_live_bytes(void); /* bytes now allocated through mem.c by the process */
size_t mem_available(void);  /* bytes that the machine (and its cgroup) has free for this process */

/* ---- arena (arena.c): one block, pushed in order; sizes are known beforehand ------------------------------------------ */

/* A layout is filled twice: first with base NULL to add up the bytes, then with the memory. Offsets are multiples of 64; under ASan a
 * poisoned gap lies between neighbours. The base may be device memory: it is never dereferenced here. */
struct arena {
    char *base;
    size_t used;
    bool host; /* base is host memory: gaps may be poisoned */
};
/* Address of count items of size bytes (NULL while base is NULL); overflow saturates used to SIZE_MAX. */
void *arena_push(struct arena *arena, size_t count, size_t size);

/* ---- growing text (strbuf.c) ------------------------------------------------------------------------------------------- */

struct strbuf {
    char *text; /* NUL-terminated; NULL when empty */
    size_t n, capacity;
    size_t limit; /* 0: 1 GiB */
    bool failed;  /* out of memory or over the limit: later calls do nothing, text is what fitted */
};
void strbuf_add(struct strbuf *s, const char *bytes, size_t n);
void strbuf_puts(struct strbuf *s, const char *text);
void strbuf_printf(struct strbuf *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
void strbuf_free(struct strbuf *s);
/* Formats into small, or into new memory if it does not fit: *text is small or mem_free()d by the caller. JSC_E_INTERNAL: a bad format. */
jsc_status text_format(char *small, size_t capacity, char **text, size_t *n, const char *format, va_list arguments)
    __attribute__((format(printf, 5, 0)));

/* ---- UTF-8 (utf8.c) ---------------------------------------------------------------------------------------------------- */

/* Length (1..4) of the valid character at text, 0 if the bytes there are none (overlong, surrogate, > U+10FFFF, cut short). */
size_t utf8_char(const char *text, size_t n, uint32_t *code_point);
/* Offset of the first byte that is not valid UTF-8, or n. */
size_t utf8_check(const char *text, size_t n);
/* Writes code point (valid) as 1..4 bytes; returns the count. */
size_t utf8_put(char *out, uint32_t code_point);

/* ---- random numbers (rng.c): Philox4x32-10, counter-based --------------------------------------------------------------- */

void rng_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);
/* The same value for the same (seed, stream, index) on every machine and backend. */
uint32_t rng_u32(uint64_t seed, uint64_t stream, uint64_t index);
double rng_unit(uint64_t seed, uint64_t stream, uint64_t index);   /* [0,1) */
double rng_normal(uint64_t seed, uint64_t stream, uint64_t index); /* mean 0, variance 1 */
int rng_sign(uint64_t seed, uint64_t stream, uint64_t index);      /* -1 or +1 (Rademacher) */

/* ---- environment (env.c): one table of variables --------------------------------------------------------------------- */

enum env_variable {
    ENV_DEVICE,
    ENV_TRACE,
    ENV_CACHE,
    ENV_CPU_GEMM,
    ENV_CPU_FAST,
    ENV_CUDA_PLUGIN,
    ENV_CUBLASLT,
    ENV_NCCL,
    ENV_RENDEZVOUS,
    ENV_TF32, /* from here on other programs' */
    ENV_RANK,
    ENV_WORLD_SIZE,
    ENV_LOCAL_RANK,
    ENV_TORCH_RUN,
    ENV_MASTER_ADDR,
    ENV_MASTER_PORT,
    ENV_SLURM_RANK,
    ENV_SLURM_SIZE,
    ENV_SLURM_LOCAL_RANK,
    ENV_SLURM_JOB,
    ENV_SLURM_STEP,
    ENV_SLURM_ARRAY_ID,
    ENV_SLURM_ARRAY_MIN,
    ENV_SLURM_ARRAY_MAX,
    ENV_SLURM_ARRAY_COUNT,
    ENV_OMPI_RANK,
    ENV_OMPI_SIZE,
    ENV_OMPI_LOCAL_RANK,
    ENV_PMI_RANK,
    ENV_PMI_SIZE,
    ENV_PMI_LOCAL_RANK,
    ENV_COUNT
};
const char *env_get(enum env_variable variable); /* NULL if unset or empty */
int64_t env_number(enum env_variable variable, int64_t most); /* -1 if unset or empty; -2 if no whole number from 0 to most */
const char *env_name(enum env_variable variable);
const char *env_help(enum env_variable variable);

double clock_seconds(void); /* monotonic */

/* ---- element types of files (dtype.c) ---------------------------------------------------------------------------------- */

enum dtype {
    DTYPE_F32,
    DTYPE_F64,
    DTYPE_F16,
    DTYPE_BF16,
    DTYPE_Q4_0,
    DTYPE_Q4_1,
    DTYPE_Q5_0,
    DTYPE_Q5_1,
    DTYPE_Q8_0,
    DTYPE_IQ4_NL,
    DTYPE_Q2_K,
    DTYPE_Q3_K,
    DTYPE_Q4_K,
    DTYPE_Q5_K,
    DTYPE_Q6_K,
    DTYPE_COUNT
};
struct dtype_info {
    const char *name;
    size_t block; /* elements per block */
    size_t bytes; /* bytes per block */
    int ggml_id;  /* -1: not a GGUF type */
};
const struct dtype_info *dtype_info(enum dtype type);
/* Bytes of n elements (n a multiple of the block); false on overflow or a part block. */
bool dtype_bytes(enum dtype type, size_t n, size_t *bytes);
/* Decodes n elements (whole blocks) at src, any alignment, bit for bit as the reference does. F64 is rounded to float; dtype_row_f64 keeps it. */
void dtype_row_f32(enum dtype type, const void *src, size_t n, float *out);
void dtype_row_f64(enum dtype type, const void *src, size_t n, double *out);

/* ---- bfloat16 -------------------------------------------------------------------------------------------------------------- */

/* float to bfloat16, to nearest even: NaN stays NaN, what is too large becomes infinite; and back, exact. */
static inline uint16_t bf16_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    const uint32_t even = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16, quiet = bits >> 16 | 0x40u;
    return (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? quiet : even);
}
static inline float bf16_value(uint16_t x)
{
    const uint32_t bits = (uint32_t)x << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

#ifdef __cplusplus
}
#endif

#endif
