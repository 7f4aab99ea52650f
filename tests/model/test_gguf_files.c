/* test_gguf_files.c: GGUF as whole models: in several parts (case 17), and with element types that are not implemented. */
#include "support/golden.h"
#include "support/refusal.h"
#include "support/tiny_files.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char folder[128];

static void setup(void)
{
    tiny_folder(folder);
}

static void teardown(void)
{
    tiny_remove(folder);
}

TestSuite(gguf_files, .init = setup, .fini = teardown, .timeout = 60);

#define WHOLE JSC_TEST_SOURCE "/tests/golden/tiny_llama.gguf"

/* ---- parts ----------------------------------------------------------------------------------------------------------------- */

static const char *part_path(int no, int count)
{
    char name[64];
    (void)snprintf(name, sizeof name, "tiny-%05d-of-%05d.gguf", no + 1, count);
    return tiny_path(folder, name);
}

static void put_values(struct strbuf *out, const struct gguf *g)
{
    for (size_t i = 0; i < g->n_values; i++) {
        const struct gguf_value *v = &g->values[i];
        if (v->type == GGUF_ARRAY)
            gguf_array(out, v->key, v->element, v->count);
        else
            gguf_key(out, v->key, v->type);
        gguf_put(out, v->bytes, v->n_bytes);
    }
}

/* What a part says of itself may differ from its name: no, count, total (split.tensors.count; < 0: no such key). Tensors first .. end-1. */
struct part {
    int no, count;
    long total;
    size_t first, end;
};

static void put_part(const struct gguf *g, const struct part *p, const char *path)
{
    struct strbuf s = {0};
    uint64_t offset = 0;
    gguf_begin(&s, 3, p->end - p->first, (p->no == 0 ? g->n_values : 0) + 2 + (p->total >= 0));
    if (p->no == 0)
        put_values(&s, g);
    gguf_u16(&s, "split.no", (uint16_t)p->no);
    gguf_u16(&s, "split.count", (uint16_t)p->count);
    if (p->total >= 0)
        gguf_i32(&s, "split.tensors.count", (int32_t)p->total);
    for (size_t i = p->first; i < p->end; i++) {
        const struct tensor *t = &g->tensors->tensors[i];
        uint64_t ne[4];
        for (int k = 0; k < t->rank; k++)
            ne[k] = t->shape[t->rank - 1 - k];
        gguf_tensor(&s, t->name, (uint32_t)t->rank, ne, (uint32_t)dtype_info(t->type)->ggml_id, offset);
        offset += (t->n_bytes + 31) / 32 * 32;
    }
    gguf_pad(&s, 32);
    for (size_t i = p->first; i < p->end; i++) {
        gguf_put(&s, g->tensors->tensors[i].bytes, g->tensors->tensors[i].n_bytes);
        gguf_pad(&s, 32);
    }
    tiny_write(path, s.text, s.n);
    strbuf_free(&s);
}

static struct gguf *open_whole(void)
{
    struct gguf *g = NULL;
    jsc_error error = {0};
    cr_assert(gguf_open(WHOLE, &g, &error) == JSC_OK, "%s", error.text);
    return g;
}

/* In count parts; the first without tensors if `bare`, as llama.cpp writes them with --no-tensor-first-split. */
static void split(const struct gguf *g, int count, bool bare)
{
    const size_t n = g->tensors->n;
    const int holders = bare ? count - 1 : count;
    for (int i = 0; i < count; i++) {
        const int k = bare ? i - 1 : i;
        struct part p = {i, count, (long)n, 0, 0};
        if (k >= 0)
            p.first = n * (size_t)k / (size_t)holders, p.end = n * (size_t)(k + 1) / (size_t)holders;
        put_part(g, &p, part_path(i, count));
    }
}

static void scores_of(const char *path, double scores[8])
{
    static const int32_t ids[8] = {5, 9, 100, 7, 31, 2, 88, 300};
    jsc_request request = JSC_REQUEST_INIT;
    request.ids = ids, request.n_ids = 8;
    jsc_model *model = golden_open(path, "cpu");
    jsc_attribution *a = golden_attribute(path, model, &request);
    cr_assert(a->n_tokens == 8);
    memcpy(scores, a->scores, 8 * sizeof *scores);
    jsc_attribution_free(a);
    jsc_model_close(model);
}

Test(gguf_files, case_17_parts_are_the_whole)
{
    struct gguf *g = open_whole();
    double want[8], got[8];
    scores_of(WHOLE, want);
    cr_assert(want[0] > 0.0 && want[7] > 0.0);
    for (int count = 2; count <= 5; count++)
        for (int bare = 0; bare < 2; bare++) {
            split(g, count, bare);
            scores_of(part_path(0, count), got);
            cr_expect(memcmp(got, want, sizeof want) == 0, "%d parts%s: %g, whole %g", count, bare ? ", the first bare" : "", got[0],
                      want[0]);
        }
    gguf_close(g);
}

static void refuse_model(int line, const char *path, jsc_status want, const char *words)
{
    jsc_open_options options = JSC_OPEN_OPTIONS_INIT;
    jsc_model *model = NULL;
    jsc_error error = {0};
    options.device = "cpu";
    expect_refusal_at(line, jsc_model_open(path, &options, &model, &error), want, &error, words);
    cr_expect(model == NULL, "line %d", line);
    jsc_model_close(model);
}
#define REFUSE(path, want, words) refuse_model(__LINE__, (path), (want), (words))

Test(gguf_files, case_17_parts_that_do_not_fit)
{
    struct gguf *g = open_whole();
    const size_t n = g->tensors->n, half = n / 2;
    split(g, 3, false);
    REFUSE(part_path(1, 3), JSC_E_ARGUMENT, "part 2 of 3; give the first part|tiny-00001-of-00003.gguf");
    REFUSE(part_path(2, 3), JSC_E_ARGUMENT, "part 3 of 3; give the first part|tiny-00001-of-00003.gguf");
    cr_assert(unlink(part_path(1, 3)) == 0);
    REFUSE(part_path(0, 3), JSC_E_FILE, "tiny-00002-of-00003.gguf: is absent|part 2 of 3|incomplete");
    split(g, 2, false);
    put_part(g, &(struct part){1, 3, (long)n, half, n}, part_path(1, 2));
    REFUSE(part_path(0, 2), JSC_E_FORMAT, "tiny-00002-of-00002.gguf|split.count 3, its name says 1 and 2");
    put_part(g, &(struct part){1, 2, (long)n, half, n - 1}, part_path(1, 2));
    REFUSE(part_path(0, 2), JSC_E_FORMAT, "split.tensors.count is|the 2 parts hold");
    put_part(g, &(struct part){0, 2, -1, 0, half}, part_path(0, 2)); /* nothing says how many tensors there are */
    put_part(g, &(struct part){1, 2, -1, half - 1, n}, part_path(1, 2));
    REFUSE(part_path(0, 2), JSC_E_FORMAT, "is listed twice");
    tiny_write_text(part_path(1, 2), "an error page, not a model");
    REFUSE(part_path(0, 2), JSC_E_FORMAT, "tiny-00002-of-00002.gguf|not a GGUF file");
    put_part(g, &(struct part){1, 2, -1, half + 1, n}, part_path(1, 2));
    REFUSE(part_path(0, 2), JSC_E_FORMAT, "tensor is missing");
    gguf_close(g);
}

/* ---- element types --------------------------------------------------------------------------------------------------------- */

static const struct {
    uint32_t id;
    const char *name;
} refused[] = {
    {4, "Q4_2"},   {5, "Q4_3"},        {9, "Q8_1"},        {15, "Q8_K"},     {16, "IQ2_XXS"},    {17, "IQ2_XS"},   {18, "IQ3_XXS"},
    {19, "IQ1_S"}, {21, "IQ3_S"},      {22, "IQ2_S"},      {23, "IQ4_XS"},   {24, "I8"},         {25, "I16"},      {26, "I32"},
    {27, "I64"},   {28, "F64"},        {29, "IQ1_M"},      {31, "Q4_0_4_4"}, {32, "Q4_0_4_8"},   {33, "Q4_0_8_8"}, {34, "TQ1_0"},
    {35, "TQ2_0"}, {36, "IQ4_NL_4_4"}, {37, "IQ4_NL_4_8"}, {39, "MXFP4"},    {38, "IQ4_NL_8_8"}, {40, "NVFP4"},    {41, "Q1_0"},
};

Test(gguf_files, case_14_types_that_are_not_implemented)
{
    const uint64_t ne[1] = {256};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        struct strbuf s = {0};
        char words[128];
        gguf_begin(&s, 3, 1, 1);
        gguf_string(&s, "general.architecture", "llama");
        gguf_tensor(&s, "blk.0.attn_q.weight", 1, ne, refused[i].id, 0);
        gguf_pad(&s, 32);
        for (int k = 0; k < 2048; k++)
            strbuf_add(&s, "d", 1);
        tiny_write(tiny_path(folder, "x.gguf"), s.text, s.n);
        strbuf_free(&s);
        (void)snprintf(words, sizeof words, "x.gguf: tensor blk.0.attn_q.weight: type %s is not implemented|use a file in F32",
                       refused[i].name);
        REFUSE(tiny_path(folder, "x.gguf"), JSC_E_UNSUPPORTED, words);
    }
}
