/* test_element_types.c: whole models stored in every element type, GGUF and safetensors: the same bits as the F32 model of the decoded values
 * (test_dtype.c holds decoding to the reference). */
#include "support/checkpoint.h"
#include "support/golden.h"
#include "support/tiny_files.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- GGUF: a llama whose rows are whole blocks of 256 -------------------------------------------------------------------------- */

enum { D = 256, F = 512, H = 4, K = 2, HEAD = 64, V = 48, TENSORS = 13, T = 7 };

static const struct {
    const char *name;
    uint64_t rows, columns; /* rows 0: a vector, always F32 */
} tensors[TENSORS] = {
    {"token_embd.weight", V, D},
    {"output.weight", V, D},
    {"output_norm.weight", 0, D},
    {"blk.0.attn_norm.weight", 0, D},
    {"blk.0.attn_q.weight", (uint64_t)H *HEAD, D},
    {"blk.0.attn_k.weight", (uint64_t)K *HEAD, D},
    {"blk.0.attn_v.weight", (uint64_t)K *HEAD, D},
    {"blk.0.attn_output.weight", D, (uint64_t)H *HEAD},
    {"blk.0.ffn_norm.weight", 0, D},
    {"blk.0.ffn_gate.weight", F, D},
    {"blk.0.ffn_up.weight", F, D},
    {"blk.0.ffn_down.weight", D, F},
    {"unused.weight", 2, D},
};

/* Where the halves of a block stand (docs/formats.md); -1: none. */
static const struct {
    char name[8];
    int halves[2];
} blocks[] = {{"F16", {0, -1}},    {"Q4_0", {0, -1}},  {"Q4_1", {0, 2}},    {"Q5_0", {0, -1}}, {"Q5_1", {0, 2}}, {"Q8_0", {0, -1}},
              {"IQ4_NL", {0, -1}}, {"Q2_K", {80, 82}}, {"Q3_K", {108, -1}}, {"Q4_K", {0, 2}},  {"Q5_K", {0, 2}}, {"Q6_K", {208, -1}}};

/* Random blocks; their halves are of a size that makes weights of 0.5 at most. */
static unsigned char *random_tensor(enum dtype type, uint64_t seed, size_t n, size_t *bytes)
{
    const struct dtype_info *info = dtype_info(type);
    const unsigned exponent = type == DTYPE_F16 ? 12 : info->block == 256 ? 1 : 5;
    cr_assert(dtype_bytes(type, n, bytes));
    unsigned char *out = malloc(*bytes);
    for (size_t i = 0; i < *bytes; i++)
        out[i] = (unsigned char)rng_u32(31, seed, i);
    for (size_t i = 0; i < *bytes; i += info->bytes)
        for (size_t b = 0; b < sizeof blocks / sizeof *blocks; b++)
            for (int h = 0; h < 2 && strcmp(blocks[b].name, info->name) == 0; h++)
                if (blocks[b].halves[h] >= 0)
                    out[i + (size_t)blocks[b].halves[h] + 1] = (unsigned char)((out[i + (size_t)blocks[b].halves[h] + 1] & 0x83U) |
                                                                               exponent << 2);
    return out;
}

static unsigned char *tensor_of(enum dtype type, size_t i, size_t *n, size_t *bytes)
{
    *n = (tensors[i].rows > 0 ? tensors[i].rows : 1) * tensors[i].columns;
    if (tensors[i].rows > 0 && dtype_info(type)->block > 1)
        return random_tensor(type, i, *n, bytes);
    *bytes = *n * dtype_info(type)->bytes;
    unsigned char *out = malloc(*bytes);
    for (size_t k = 0; k < *n; k++) {
        const float x = (float)(tensors[i].rows > 0 ? 0.1 * rng_normal(33, i, k) : 1.0 + 0.1 * rng_normal(33, i, k));
        const uint16_t bf16 = bf16_bits(x);
        if (type == DTYPE_BF16)
            memcpy(out + 2 * k, &bf16, 2);
        else if (type == DTYPE_F32)
            memcpy(out + 4 * k, &x, 4);
    }
    if (type == DTYPE_F16) {
        free(out);
        return random_tensor(type, i, *n, bytes);
    }
    return out;
}

/* decoded: the values as F32 instead. */
static void put_gguf(const char *path, enum dtype type, bool decoded)
{
    struct strbuf head = {0}, data = {0};
    gguf_begin(&head, 3, TENSORS, 10);
    gguf_string(&head, "general.architecture", "llama");
    gguf_u32(&head, "llama.block_count", 1);
    gguf_u32(&head, "llama.context_length", 64);
    gguf_u32(&head, "llama.embedding_length", D);
    gguf_u32(&head, "llama.feed_forward_length", F);
    gguf_u32(&head, "llama.attention.head_count", H);
    gguf_u32(&head, "llama.attention.head_count_kv", K);
    gguf_f32(&head, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    gguf_u32(&head, "llama.rope.dimension_count", HEAD);
    gguf_u32(&head, "llama.vocab_size", V);
    for (size_t i = 0; i < TENSORS; i++) {
        const enum dtype own = tensors[i].rows > 0 ? type : DTYPE_F32, kept = decoded ? DTYPE_F32 : own;
        const uint64_t ne[2] = {tensors[i].columns, tensors[i].rows};
        size_t n = 0, bytes = 0;
        unsigned char *stored = tensor_of(own, i, &n, &bytes);
        gguf_tensor(&head, tensors[i].name, tensors[i].rows > 0 ? 2 : 1, ne, (uint32_t)dtype_info(kept)->ggml_id, data.n);
        if (decoded) {
            float *floats = malloc(n * sizeof *floats);
            dtype_row_f32(own, stored, n, floats);
            gguf_put(&data, floats, n * sizeof *floats);
            free(floats);
        } else
            gguf_put(&data, stored, bytes);
        gguf_pad(&data, 32);
        free(stored);
    }
    gguf_pad(&head, 32);
    strbuf_add(&head, data.text, data.n);
    tiny_write(path, head.text, head.n);
    strbuf_free(&head);
    strbuf_free(&data);
}

static void scores_of(const char *path, const char *device, double scores[T])
{
    static const int32_t ids[T] = {5, 9, 40, 7, 31, 2, 28};
    jsc_request request = JSC_REQUEST_INIT;
    request.ids = ids, request.n_ids = T;
    jsc_model *model = golden_open(path, device);
    jsc_attribution *a = golden_attribute(path, model, &request);
    cr_assert(a->n_tokens == T);
    memcpy(scores, a->scores, T * sizeof *scores);
    jsc_attribution_free(a);
    jsc_model_close(model);
}

struct type_case {
    int type;
    char device[8];
};

ParameterizedTestParameters(element_types, gguf)
{
    static struct type_case cases[2 * DTYPE_COUNT];
    size_t n = 0;
    for (int t = 0; t < DTYPE_COUNT; t++)
        for (int ref = 0; ref < 2; ref++)
            if (t != DTYPE_F64 && t != DTYPE_F32) /* GGUF with F64: refused (test_gguf_files.c); F32 is what is compared with */
                cases[n++] = ref ? (struct type_case){t, "ref"} : (struct type_case){t, "cpu"};
    return cr_make_param_array(struct type_case, cases, n);
}

ParameterizedTest(struct type_case *c, element_types, gguf, .timeout = 60)
{
    char folder[128];
    double want[T], got[T];
    const char *const name = dtype_info((enum dtype)c->type)->name;
    tiny_folder(folder);
    put_gguf(tiny_path(folder, "own.gguf"), (enum dtype)c->type, false);
    put_gguf(tiny_path(folder, "f32.gguf"), (enum dtype)c->type, true);
    scores_of(tiny_path(folder, "own.gguf"), c->device, got);
    scores_of(tiny_path(folder, "f32.gguf"), c->device, want);
    tiny_remove(folder);
    cr_expect(want[T - 1] > 1e-6 && isfinite(want[T - 1]), "%s: a score of %g", name, want[T - 1]);
    cr_expect(memcmp(got, want, sizeof want) == 0, "%s on %s: %.17g, as F32 %.17g", name, c->device, got[0], want[0]);
}

/* ---- safetensors: the tiny llama of tests/golden ------------------------------------------------------------------------------- */

/* x of half the size or less in a half, cut off; what is below 2^-14 is subnormal. */
static uint16_t half_of(float x)
{
    uint32_t bits;
    const uint16_t sign = (uint16_t)(x < 0.0f ? 0x8000 : 0);
    const float magnitude = fabsf(x);
    memcpy(&bits, &magnitude, sizeof bits);
    if (magnitude < ldexpf(1.0f, -14))
        return (uint16_t)(sign | (uint16_t)ldexpf(magnitude, 24));
    return (uint16_t)(sign | (uint16_t)((bits >> 13) - (112u << 10)));
}

static double value_of_half(uint16_t h)
{
    const int e = h >> 10 & 31, m = h & 1023;
    return (h & 0x8000 ? -1.0 : 1.0) * (e == 0 ? ldexp(m, -24) : ldexp(1024 + m, e - 25));
}

/* Every tensor of c (F32) in another type; the values that it then has stay in c's F32 twin. */
static void convert(struct checkpoint *c, struct checkpoint *twin, const char *type)
{
    const size_t size = strcmp(type, "F64") == 0 ? 8 : 2;
    for (int i = 0; i < c->n; i++) {
        struct st_tensor *t = &c->tensors[i];
        const size_t n = t->n_bytes / 4;
        unsigned char *bytes = malloc(n * size + 1);
        cr_assert(strcmp(t->dtype, "F32") == 0, "%s is %s", t->name, t->dtype);
        for (size_t k = 0; k < n; k++) {
            float x;
            memcpy(&x, t->bytes + 4 * k, 4);
            const double wide = (double)x;
            const uint16_t narrow = size == 8 ? 0 : strcmp(type, "F16") == 0 ? half_of(x) : bf16_bits(x);
            if (size == 8)
                memcpy(bytes + 8 * k, &wide, 8);
            else
                memcpy(bytes + 2 * k, &narrow, 2);
            x = size == 8 ? x : strcmp(type, "F16") == 0 ? (float)value_of_half(narrow) : bf16_value(narrow);
            memcpy(twin->tensors[i].bytes + 4 * k, &x, 4);
        }
        free(t->bytes);
        t->bytes = bytes;
        t->n_bytes = n * size;
        snprintf(t->dtype, sizeof t->dtype, "%s", type);
    }
}

static void scores_of_folder(struct checkpoint *c, const char *device, double scores[T])
{
    const char *folder = checkpoint_write(c);
    scores_of(folder, device, scores);
    folder_remove(folder);
    checkpoint_free(c);
}

Test(element_types, safetensors, .timeout = 120)
{
    static const char *const types[] = {"F64", "F16", "BF16"}, *const devices[] = {"cpu", "ref"};
    for (int t = 0; t < 3; t++)
        for (int d = 0; d < 2; d++) {
            struct checkpoint *c = checkpoint_read("tiny_llama"), *twin = checkpoint_read("tiny_llama");
            double want[T], got[T];
            convert(c, twin, types[t]);
            scores_of_folder(c, devices[d], got);
            scores_of_folder(twin, devices[d], want);
            cr_expect(want[0] > 0.0 && memcmp(got, want, sizeof want) == 0, "%s on %s: %.17g, as F32 %.17g", types[t], devices[d], got[0],
                      want[0]);
        }
}
