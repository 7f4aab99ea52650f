/* matmul_onednn.c: products by oneDNN: packed weights, primitives cached per stream.
 *
 * Weights stay plain rows wherever the library multiplies those as fast (its "gemm" kernels: all of AVX2); where it answers
 * format_tag_any with a blocked layout of its "brg" kernels (AVX-512), weight_make keeps a copy in that layout; JSC_CPU_GEMM=plain
 * does without.
 * Measured on Zen 2, one core of 105 GFLOP/s peak: plain rows, dX = dY W 100 at M = 23 and above; Y = X W^T 79 at M = 23, 92 at 64,
 * 97-102 above; a transposed copy for the forward gained 20 % at M = 23 and lost half at n = 3072.
 * Primitives are kept per stream and shape; making one takes 0.03-0.08 ms (gemm kernels), so M needs no buckets. */
#include "onednn_cpu.h"

#ifdef JSC_WITH_ONEDNN

#include <omp.h>
#include <stdio.h>
#include <string.h>

#define CACHE_ENTRIES   96
#define PACK_ROWS       256         /* M that the blocked layout is asked for */
#define PACK_BYTES_MOST (32u << 20) /* of a weight: larger ones would cost gigabytes a model for a gain at few rows only */

struct onednn_engine {
    dnnl_engine_t engine;
};

struct onednn_packed {
    struct desc desc;
    dnnl_memory_t memory;
    char *bytes;
    size_t size;
};

static jsc_status failure(dnnl_status_t result, const struct shape *s, jsc_error *error)
{
    if (result == dnnl_out_of_memory)
        return status_set(error, JSC_E_MEMORY, "oneDNN: no memory for a product of %zu x %zu x %zu; ask for less (smaller --memory)", s->m,
                          s->n, s->k);
    return status_set(error, JSC_E_DEVICE, "oneDNN: a product of %zu x %zu x %zu failed with status %d; JSC_CPU_GEMM=builtin does without",
                      s->m, s->n, s->k, (int)result);
}

/* ---- engine ------------------------------------------------------------------------------------------------------------------ */

void onednn_close(struct onednn_engine *e)
{
    if (e != NULL && e->engine != NULL)
        (void)dnnl_engine_destroy(e->engine);
    mem_free(e);
}

jsc_status onednn_open(struct onednn_engine **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct onednn_engine *e = NULL;

    TRY(mem_new(&e, 1, error));
    const dnnl_status_t result = dnnl_engine_create(&e->engine, dnnl_cpu, 0);
    if (result != dnnl_success)
        FAIL(JSC_E_DEVICE, "oneDNN does not start (status %d); JSC_CPU_GEMM=builtin does without", (int)result);
    *out = e;
    e = NULL;
done:
    onednn_close(e);
    return status;
}

void onednn_describe(char *text, size_t capacity)
{
    const dnnl_version_t *v = dnnl_version();
    (void)snprintf(text, capacity, "oneDNN %d.%d.%d", v->major, v->minor, v->patch);
}

bool onednn_has_bf16(const struct onednn_engine *engine)
{
    const unsigned wanted = dnnl_cpu_isa_avx512_core_bf16; /* AMX includes it: sets are bits */
    bool native = ((unsigned)dnnl_get_effective_cpu_isa() & wanted) == wanted;
    for (int types = TYPES_BF16; native && types <= TYPES_BF16_TO_FLOAT; types++) {
        const struct shape s = {PACK_ROWS, PACK_ROWS, PACK_ROWS, false, false, (enum product_types)types};
        struct product p = {0};
        native = product_plan(engine->engine, &s, NULL, &p) == dnnl_success && strncmp(product_kernel(&p), "ref", 3) != 0;
        product_free(&p);
    }
    return native;
}

size_t gemm_onednn_scratch(const struct cpu_device *device, size_t m, size_t n, size_t k)
{
    static const struct {
        bool transposed;
        enum product_types types;
    } kinds[] = {{false, TYPES_FLOAT}, {true, TYPES_FLOAT}, {false, TYPES_BF16}, {false, TYPES_BF16_TO_FLOAT}};
    size_t most = 0;
    for (size_t i = 0; i < (device->native ? sizeof kinds / sizeof *kinds : 2); i++) {
        const struct shape s = {m, n, k, kinds[i].transposed, false, kinds[i].types};
        struct product p = {0};
        struct desc b = {0};
        if (product_plain_b(&b, &s) == dnnl_success && product_plan(device->engine->engine, &s, desc_of(&b), &p) == dnnl_success) {
            const size_t bytes = product_scratch(&p);
            most = bytes > most ? bytes : most;
        }
        product_free(&p);
        desc_free(&b);
    }
    return most;
}

/* ---- packed weights ----------------------------------------------------------------------------------------------------------- */

void onednn_packed_free(struct onednn_packed *p)
{
    if (p == NULL)
        return;
    if (p->memory != NULL)
        (void)dnnl_memory_destroy(p->memory);
    desc_free(&p->desc);
    mem_free(p->bytes);
    mem_free(p);
}

uint64_t onednn_packed_bytes(const struct onednn_packed *p)
{
    return p == NULL ? 0 : p->size;
}

static dnnl_status_t reorder(const struct cpu_device *device, desc_ref from, const float *w, const struct onednn_packed *to)
{
    dnnl_status_t result = dnnl_success;
    dnnl_engine_t engine = device->engine->engine;
    dnnl_stream_t stream = NULL;
    dnnl_memory_t source = NULL;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_primitive_t primitive = NULL;
    const int before = omp_get_max_threads();

    omp_set_num_threads(device->base.threads);
    DNNL(dnnl_stream_create(&stream, engine, dnnl_stream_default_flags));
    DNNL(dnnl_memory_create(&source, from, engine, (void *)(uintptr_t)w)); /* read only */
    DNNL(dnnl_reorder_primitive_desc_create(&pd, from, engine, desc_of(&to->desc), engine, NULL));
    DNNL(dnnl_primitive_create(&primitive, pd));
    const dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, source}, {DNNL_ARG_TO, to->memory}};
    DNNL(dnnl_primitive_execute(primitive, stream, 2, args));
    DNNL(dnnl_stream_wait(stream));
done:
    omp_set_num_threads(before);
    if (primitive != NULL)
        (void)dnnl_primitive_destroy(primitive);
    if (pd != NULL)
        (void)dnnl_primitive_desc_destroy(pd);
    if (source != NULL)
        (void)dnnl_memory_destroy(source);
    if (stream != NULL)
        (void)dnnl_stream_destroy(stream);
    return result;
}

/* A bfloat16 layout replaces plain rows, so it must serve any number of rows, and other code than the reference's. */
static bool serves_few_rows(dnnl_engine_t engine, struct shape s, desc_ref b)
{
    bool serves = true;
    for (s.m = 1; serves && s.m < PACK_ROWS; s.m = 5 * s.m + 2) {
        struct product p = {0};
        serves = product_plan(engine, &s, b, &p) == dnnl_success && strncmp(product_kernel(&p), "ref", 3) != 0;
        product_free(&p);
    }
    return serves;
}

/* The layout that a weight is kept in besides plain floats; *liked NULL: none. It belongs to p, which the caller frees, plain too. */
static dnnl_status_t layout_plan(const struct cpu_device *device, const struct shape *s, struct product *p, struct desc *plain,
                                 desc_ref *liked)
{
    dnnl_status_t result = dnnl_success;
    dnnl_engine_t engine = device->engine->engine;
    const int before = omp_get_max_threads();

    *liked = NULL;
    omp_set_num_threads(device->base.threads);
    if (!device->packs || (s->types == TYPES_FLOAT && s->n * s->k * sizeof(float) > PACK_BYTES_MOST) ||
        (s->types != TYPES_FLOAT && !device->native))
        goto done;
    DNNL(product_plan(engine, s, NULL, p));
    DNNL(product_plain_b(plain, s));
    desc_ref any = dnnl_primitive_desc_query_md(p->pd, dnnl_query_weights_md, 0);
    if (strncmp(product_kernel(p), "brg", 3) == 0 && !dnnl_memory_desc_equal(any, desc_of(plain)) &&
        (s->types == TYPES_FLOAT || serves_few_rows(engine, *s, any)))
        *liked = any;
done:
    omp_set_num_threads(before);
    return result;
}

static struct shape layout_shape(const struct cpu_device *device, size_t n, size_t k, bool forward)
{
    const bool bf16 = !forward && device->cot != sizeof(float);
    return (struct shape){PACK_ROWS, forward ? n : k, forward ? k : n, forward, false, bf16 ? TYPES_BF16 : TYPES_FLOAT};
}

jsc_status onednn_pack(const struct cpu_device *device, const float *w, size_t n, size_t k, bool forward, struct onednn_packed **out,
                       jsc_error *error)
{
    jsc_status status = JSC_OK;
    dnnl_status_t result = dnnl_success;
    const struct shape s = layout_shape(device, n, k, forward);
    struct shape floats = s;
    struct product p = {0};
    struct desc plain = {0}, source = {0};
    desc_ref liked = NULL;
    struct onednn_packed *packed = NULL;

    DNNL(layout_plan(device, &s, &p, &plain, &liked));
    if (liked == NULL)
        goto done;
    TRY(mem_new(&packed, 1, error));
    DNNL(desc_copy(&packed->desc, liked));
    packed->size = dnnl_memory_desc_get_size(liked);
    TRY(mem_new(&packed->bytes, packed->size, error));
    DNNL(dnnl_memory_create(&packed->memory, liked, device->engine->engine, packed->bytes));
    floats.types = TYPES_FLOAT;
    DNNL(product_plain_b(&source, &floats));
    DNNL(reorder(device, desc_of(&source), w, packed));
    *out = packed;
    packed = NULL;
done:
    onednn_packed_free(packed);
    desc_free(&source);
    desc_free(&plain);
    product_free(&p);
    return status != JSC_OK || result == dnnl_success ? status : failure(result, &s, error);
}

uint64_t onednn_pack_bytes(const struct cpu_device *device, size_t n, size_t k, bool forward)
{
    const struct shape s = layout_shape(device, n, k, forward);
    struct product p = {0};
    struct desc plain = {0};
    desc_ref liked = NULL;
    uint64_t bytes = 0;

    if (layout_plan(device, &s, &p, &plain, &liked) == dnnl_success && liked != NULL)
        bytes = dnnl_memory_desc_get_size(liked);
    desc_free(&plain);
    product_free(&p);
    return bytes;
}

/* ---- cache of a stream --------------------------------------------------------------------------------------------------------- */

struct entry {
    struct shape shape;
    bool packed;
    dnnl_primitive_t primitive;
    dnnl_memory_t a, b, c, scratch; /* b: plain rows */
    size_t scratch_bytes;
};

struct onednn_cache {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    struct entry entries[CACHE_ENTRIES]; /* a ring: the oldest goes */
    size_t used, next;
};

static void entry_free(struct entry *e)
{
    if (e->primitive != NULL)
        (void)dnnl_primitive_destroy(e->primitive);
    dnnl_memory_t memories[] = {e->a, e->b, e->c, e->scratch};
    for (size_t i = 0; i < sizeof memories / sizeof *memories; i++)
        if (memories[i] != NULL)
            (void)dnnl_memory_destroy(memories[i]);
    *e = (struct entry){0};
}

void onednn_cache_free(struct onednn_cache *cache)
{
    if (cache == NULL)
        return;
    for (size_t i = 0; i < CACHE_ENTRIES; i++)
        entry_free(&cache->entries[i]);
    if (cache->stream != NULL)
        (void)dnnl_stream_destroy(cache->stream);
    mem_free(cache);
}

jsc_status onednn_cache_make(const struct onednn_engine *engine, struct onednn_cache **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct onednn_cache *cache = NULL;

    TRY(mem_new(&cache, 1, error));
    cache->engine = engine->engine;
    const dnnl_status_t result = dnnl_stream_create(&cache->stream, engine->engine, dnnl_stream_default_flags);
    if (result != dnnl_success)
        FAIL(JSC_E_DEVICE, "oneDNN makes no stream (status %d); JSC_CPU_GEMM=builtin does without", (int)result);
    *out = cache;
    cache = NULL;
done:
    onednn_cache_free(cache);
    return status;
}

/* packed NULL: plain rows. A blocked layout of floats that the library now refuses or multiplies by its reference code is no gain: *e stays
 * empty. */
static dnnl_status_t entry_make(const struct onednn_cache *cache, const struct shape *s, const struct onednn_packed *packed,
                                struct entry *e)
{
    dnnl_status_t result = dnnl_success;
    struct product p = {0};
    struct desc plain = {0};

    DNNL(product_plain_b(&plain, s));
    DNNL(product_plan(cache->engine, s, packed != NULL ? desc_of(&packed->desc) : desc_of(&plain), &p));
    if (packed != NULL && s->types == TYPES_FLOAT && strncmp(product_kernel(&p), "brg", 3) != 0)
        goto done;
    DNNL(dnnl_memory_create(&e->a, desc_of(&p.a), cache->engine, DNNL_MEMORY_NONE));
    DNNL(dnnl_memory_create(&e->b, desc_of(&plain), cache->engine, DNNL_MEMORY_NONE));
    DNNL(dnnl_memory_create(&e->c, desc_of(&p.c), cache->engine, DNNL_MEMORY_NONE));
    e->scratch_bytes = product_scratch(&p);
    DNNL(dnnl_memory_create(&e->scratch, dnnl_primitive_desc_query_md(p.pd, dnnl_query_scratchpad_md, 0), cache->engine, DNNL_MEMORY_NONE));
    DNNL(dnnl_primitive_create(&e->primitive, p.pd));
    e->shape = *s;
    e->packed = packed != NULL;
done:
    if (result != dnnl_success)
        entry_free(e);
    product_free(&p);
    desc_free(&plain);
    return result;
}

static bool shape_equal(const struct shape *a, const struct shape *b)
{
    return a->m == b->m && a->n == b->n && a->k == b->k && a->b_transposed == b->b_transposed && a->accumulate == b->accumulate &&
           a->types == b->types;
}

static dnnl_status_t entry_find(struct onednn_cache *cache, const struct shape *s, const struct onednn_packed *packed, struct entry **out)
{
    for (size_t i = 0; i < cache->used; i++)
        if (shape_equal(&cache->entries[i].shape, s) && cache->entries[i].packed == (packed != NULL)) {
            *out = &cache->entries[i];
            return dnnl_success;
        }
    struct entry *e = &cache->entries[cache->next];
    entry_free(e);
    const dnnl_status_t result = entry_make(cache, s, packed, e);
    if (e->primitive == NULL && packed != NULL && s->types == TYPES_FLOAT)
        return entry_find(cache, s, NULL, out);
    if (result != dnnl_success)
        return result;
    cache->next = (cache->next + 1) % CACHE_ENTRIES;
    cache->used = cache->used < CACHE_ENTRIES ? cache->used + 1 : CACHE_ENTRIES;
    *out = e;
    return dnnl_success;
}

static dnnl_status_t set(dnnl_memory_t memory, const void *at)
{
    return dnnl_memory_set_data_handle(memory, (void *)(uintptr_t)at);
}

struct operands {
    const void *a, *b;
    void *c;
    const struct onednn_packed *packed;
};

static jsc_status multiply(struct jsc_stream *stream, const struct shape *s, const struct operands *o, jsc_error *error)
{
    jsc_status status = JSC_OK;
    dnnl_status_t result = dnnl_success;
    struct onednn_cache *cache = ((struct cpu_stream *)stream)->cache;
    struct entry *e = NULL;
    char *scratch = NULL;
    const int before = omp_get_max_threads(); /* the library asks OpenMP, which answers per calling thread */

    omp_set_num_threads(cpu_threads(stream));
    DNNL(entry_find(cache, s, o->packed, &e));
    TRY(cpu_scratch(stream, SCRATCH_GEMM, e->scratch_bytes, &scratch, error));
    DNNL(set(e->a, o->a));
    DNNL(set(e->c, o->c));
    DNNL(set(e->scratch, scratch));
    if (!e->packed)
        DNNL(set(e->b, o->b));
    const dnnl_exec_arg_t args[] = {{DNNL_ARG_SRC, e->a},
                                    {DNNL_ARG_WEIGHTS, e->packed ? o->packed->memory : e->b},
                                    {DNNL_ARG_DST, e->c},
                                    {DNNL_ARG_SCRATCHPAD, e->scratch}};
    DNNL(dnnl_primitive_execute(e->primitive, cache->stream, 4, args));
    DNNL(dnnl_stream_wait(cache->stream));
done:
    omp_set_num_threads(before);
    return status != JSC_OK || result == dnnl_success ? status : failure(result, s, error);
}

jsc_status gemm_onednn(struct jsc_stream *stream, const struct gemm *g, jsc_error *error)
{
    const struct shape s = {g->m, g->n, g->k, g->b_transposed, g->accumulate, TYPES_FLOAT};
    return multiply(stream, &s, &(struct operands){g->a, g->b, g->c, g->packed}, error);
}

jsc_status gemm_onednn_cot(struct jsc_stream *stream, const struct cot_gemm *g, jsc_error *error)
{
    const struct shape s = {g->m, g->n, g->k, false, g->accumulate, g->c_real ? TYPES_BF16_TO_FLOAT : TYPES_BF16};
    return multiply(stream, &s, &(struct operands){g->a, g->b, g->c, g->packed}, error);
}

#endif
