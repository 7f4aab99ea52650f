/* gguf.c: one GGUF file or all parts of a split one: header, metadata, tensor table; layout and checks as docs/formats.md says.
 *
 * Every count is compared with the bytes that remain before anything is allocated for it, so memory stays below 4 times the file. */
#include "files_internal.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define KEY_MAX       65535
#define NAME_MAX_GGUF 63
#define COUNT_MAX     ((uint64_t)1 << 30) /* ggml's own cap on lengths of strings and arrays */
#define KV_MIN        14                  /* bytes: key length, one character, type, one byte */
/* A tensor: name length and one character, n_dims, one ne, type, offset: 33 bytes; and at least 8 bytes of padded data. */
#define TENSOR_MIN 41
#define PART_MAX   9999

_Static_assert(offsetof(struct gguf_value, key) == 0, "name_table.c finds the name at the start of an item");

/* What is left of the file; n_kv and the like are named in messages. */
struct cursor {
    const char *path;
    const unsigned char *at, *end;
};

struct part {
    struct cursor c;
    const struct file *file;
    uint32_t version;
    uint64_t n_tensors, n_values, alignment;
    struct tensor_set *set; /* takes tensors, keys and names */
};

static jsc_status take(struct cursor *c, size_t n, void *out, const char *what, jsc_error *error)
{
    const size_t rest = (size_t)(c->end - c->at);
    if (n > rest)
        return status_set(error, JSC_E_FORMAT, "%s: cut short: %s needs %zu bytes, %zu remain (incomplete download?)", c->path, what, n,
                          rest);
    memcpy(out, c->at, n);
    c->at += n;
    return JSC_OK;
}

/* A string's bytes, inside the file. */
static jsc_status take_string(struct cursor *c, uint64_t limit, const char *what, const unsigned char **bytes, size_t *n, jsc_error *error)
{
    jsc_status status = JSC_OK;
    uint64_t length = 0;
    TRY(take(c, sizeof length, &length, what, error));
    const size_t rest = (size_t)(c->end - c->at);
    if (length > rest)
        FAIL(JSC_E_FORMAT, "%s: %s claims a length of %" PRIu64 " bytes, %zu remain of %s", c->path, what, length, rest,
             "the file (incomplete download?)");
    if (length > limit)
        FAIL(JSC_E_FORMAT, "%s: %s has a length of %" PRIu64 " bytes, limit is %" PRIu64, c->path, what, length, limit);
    *bytes = c->at;
    *n = (size_t)length;
    c->at += length;
done:
    return status;
}

/* ---- metadata -------------------------------------------------------------------------------------------------------------- */

static const unsigned char scalar_bytes[] = {
    [GGUF_U8] = 1,   [GGUF_I8] = 1,     [GGUF_U16] = 2,   [GGUF_I16] = 2, [GGUF_U32] = 4, [GGUF_I32] = 4, [GGUF_F32] = 4,
    [GGUF_BOOL] = 1, [GGUF_STRING] = 0, [GGUF_ARRAY] = 0, [GGUF_U64] = 8, [GGUF_I64] = 8, [GGUF_F64] = 8};

static jsc_status check_bools(const struct cursor *c, const struct gguf_value *v, jsc_error *error)
{
    for (uint64_t i = 0; i < v->count; i++)
        if (v->bytes[i] > 1)
            return status_set(error, JSC_E_FORMAT, "%s: %s is a bool with the value %u, 0 or 1 is wanted", c->path, v->key, v->bytes[i]);
    return JSC_OK;
}

static jsc_status read_array(struct cursor *c, struct gguf_value *v, jsc_error *error)
{
    jsc_status status = JSC_OK;
    uint32_t element = 0;
    TRY(take(c, sizeof element, &element, v->key, error));
    if (element > GGUF_F64)
        FAIL(JSC_E_FORMAT, "%s: %s is an array of type %u, which does not exist", c->path, v->key, element);
    if (element == GGUF_ARRAY)
        FAIL(JSC_E_UNSUPPORTED, "%s: %s is an array of arrays, which is not read", c->path, v->key);
    TRY(take(c, sizeof v->count, &v->count, v->key, error));
    const size_t rest = (size_t)(c->end - c->at), size = element == GGUF_STRING ? sizeof(uint64_t) : scalar_bytes[element];
    if (v->count > rest / size)
        FAIL(JSC_E_FORMAT, "%s: %s claims %" PRIu64 " elements of at least %zu bytes, %zu bytes remain", c->path, v->key, v->count, size,
             rest);
    if (v->count > COUNT_MAX)
        FAIL(JSC_E_FORMAT, "%s: %s has %" PRIu64 " elements, limit is %" PRIu64, c->path, v->key, v->count, COUNT_MAX);
    v->element = (enum gguf_type)element;
    v->bytes = c->at;
    if (element != GGUF_STRING)
        c->at += v->count * size;
    for (uint64_t i = 0; element == GGUF_STRING && i < v->count; i++) {
        const unsigned char *text;
        size_t n;
        TRY(take_string(c, COUNT_MAX, v->key, &text, &n, error));
    }
    if (element == GGUF_BOOL)
        TRY(check_bools(c, v, error));
done:
    return status;
}

static jsc_status read_value(struct part *p, struct gguf_value *v, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct cursor *c = &p->c;
    const unsigned char *bytes = NULL;
    size_t n = 0;
    uint32_t type = 0;
    TRY(take_string(c, KEY_MAX, "a metadata key", &bytes, &n, error));
    if (n == 0)
        FAIL(JSC_E_FORMAT, "%s: a metadata key is empty", c->path);
    if (memchr(bytes, 0, n) != NULL || utf8_check((const char *)bytes, n) < n)
        FAIL(JSC_E_FORMAT, "%s: a metadata key is not text: \"%.*s\"", c->path, n < 40 ? (int)n : 40, (const char *)bytes);
    TRY(tensor_set_string(p->set, (const char *)bytes, n, &v->key, error));
    TRY(take(c, sizeof type, &type, v->key, error));
    if (type > GGUF_F64)
        FAIL(JSC_E_FORMAT, "%s: %s has type %u, which does not exist", c->path, v->key, type);
    v->type = v->element = (enum gguf_type)type;
    v->count = 1;
    v->bytes = c->at;
    if (type == GGUF_ARRAY)
        TRY(read_array(c, v, error));
    else if (type == GGUF_STRING)
        TRY(take_string(c, COUNT_MAX, v->key, &bytes, &n, error));
    else {
        unsigned char scalar[8];
        TRY(take(c, scalar_bytes[type], scalar, v->key, error));
        if (type == GGUF_BOOL)
            TRY(check_bools(c, v, error));
    }
    v->n_bytes = (uint64_t)(c->at - v->bytes);
done:
    return status;
}

static jsc_status read_values(struct gguf *g, struct part *p, jsc_error *error)
{
    jsc_status status = JSC_OK;
    size_t other = 0;
    const size_t rest = (size_t)(p->c.end - p->c.at);
    if (p->n_values > rest / KV_MIN)
        FAIL(JSC_E_FORMAT, "%s: claims %" PRIu64 " metadata keys of at least %d bytes, %zu bytes remain", p->c.path, p->n_values, KV_MIN,
             rest);
    TRY(mem_new(&g->values, (size_t)p->n_values, error));
    TRY(name_table_make(g->values, sizeof *g->values, (size_t)p->n_values, &g->keys, error));
    for (; g->n_values < p->n_values; g->n_values++) {
        TRY(read_value(p, &g->values[g->n_values], error));
        if (!name_table_add(g->keys, g->n_values, &other))
            FAIL(JSC_E_FORMAT, "%s: metadata key %s is listed twice", p->c.path, g->values[g->n_values].key);
    }
    const struct gguf_value *a = gguf_find(g, "general.alignment");
    p->alignment = 32;
    if (a != NULL) {
        uint32_t value = 0;
        if (a->type != GGUF_U32)
            FAIL(JSC_E_FORMAT, "%s: general.alignment is not of type u32", p->c.path);
        memcpy(&value, a->bytes, sizeof value);
        if (value < 8 || value > 1u << 20 || (value & (value - 1)) != 0)
            FAIL(JSC_E_FORMAT, "%s: general.alignment is %u, a power of two from 8 to 1048576 is wanted", p->c.path, value);
        p->alignment = value;
    }
done:
    return status;
}

/* ---- tensors --------------------------------------------------------------------------------------------------------------- */

static const char *const other_types[] = {
    [4] = "Q4_2",   [5] = "Q4_3",        [9] = "Q8_1",        [15] = "Q8_K",       [16] = "IQ2_XXS",  [17] = "IQ2_XS",   [18] = "IQ3_XXS",
    [19] = "IQ1_S", [21] = "IQ3_S",      [22] = "IQ2_S",      [23] = "IQ4_XS",     [24] = "I8",       [25] = "I16",      [26] = "I32",
    [27] = "I64",   [28] = "F64",        [29] = "IQ1_M",      [31] = "Q4_0_4_4",   [32] = "Q4_0_4_8", [33] = "Q4_0_8_8", [34] = "TQ1_0",
    [35] = "TQ2_0", [36] = "IQ4_NL_4_4", [37] = "IQ4_NL_4_8", [38] = "IQ4_NL_8_8", [39] = "MXFP4",    [40] = "NVFP4",    [41] = "Q1_0",
};

static jsc_status find_type(const struct part *p, struct tensor *t, uint32_t id, jsc_error *error)
{
    for (int k = 0; k < DTYPE_COUNT; k++)
        if (dtype_info((enum dtype)k)->ggml_id == (int64_t)id) {
            t->type = (enum dtype)k;
            t->known_type = true;
            t->type_name = dtype_info(t->type)->name;
            return JSC_OK;
        }
    if (id < sizeof other_types / sizeof other_types[0] && other_types[id] != NULL)
        return status_set(
            error, JSC_E_UNSUPPORTED,
            "%s: tensor %s: type %s is not implemented; use a file in F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, IQ4_NL or Q2_K to Q6_K",
            p->c.path, t->name, other_types[id]);
    return status_set(error, JSC_E_FORMAT, "%s: tensor %s: type %u does not exist", p->c.path, t->name, id);
}

/* Shape (ne[0] runs fastest, so it comes last), number of elements and bytes. */
static jsc_status read_shape(struct part *p, struct tensor *t, jsc_error *error)
{
    jsc_status status = JSC_OK;
    uint32_t rank = 0, type = 0;
    uint64_t ne[4] = {0};
    size_t bytes = 0;
    bool fits = true;
    TRY(take(&p->c, sizeof rank, &rank, t->name, error));
    if (rank < 1 || rank > 4)
        FAIL(JSC_E_FORMAT, "%s: tensor %s has %u dimensions, 1 to 4 are wanted", p->c.path, t->name, rank);
    TRY(take(&p->c, rank * sizeof ne[0], ne, t->name, error));
    TRY(take(&p->c, sizeof type, &type, t->name, error));
    t->rank = (int)rank;
    t->n_elements = 1;
    for (uint32_t i = 0; i < rank; i++) {
        if (ne[i] < 1)
            FAIL(JSC_E_FORMAT, "%s: tensor %s: dimension %u is 0", p->c.path, t->name, i);
        t->shape[rank - 1 - i] = ne[i];
        fits = fits && !__builtin_mul_overflow(t->n_elements, ne[i], &t->n_elements) && t->n_elements <= INT64_MAX;
    }
    TRY(find_type(p, t, type, error));
    const size_t block = dtype_info(t->type)->block;
    if (fits && ne[0] % block != 0)
        FAIL(JSC_E_FORMAT, "%s: tensor %s: rows of %" PRIu64 " elements are no whole number of %s blocks of %zu", p->c.path, t->name, ne[0],
             t->type_name, block);
    if (!fits || !dtype_bytes(t->type, (size_t)t->n_elements, &bytes))
        FAIL(JSC_E_FORMAT, "%s: tensor %s: the size of shape [%" PRIu64 ", %" PRIu64 ", %" PRIu64 ", %" PRIu64 "] in %s overflows",
             p->c.path, t->name, ne[0], ne[1], ne[2], ne[3], t->type_name);
    t->n_bytes = bytes;
done:
    return status;
}

/* One entry of the table. *offset: where its data must begin, relative to the data section; moved to its padded end. */
static jsc_status read_tensor(struct part *p, struct tensor *t, uint64_t *offset, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const unsigned char *bytes = NULL;
    size_t n = 0;
    uint64_t own = 0, padded = 0;
    TRY(take_string(&p->c, NAME_MAX_GGUF, "a tensor name", &bytes, &n, error));
    if (n == 0 || memchr(bytes, 0, n) != NULL || utf8_check((const char *)bytes, n) < n)
        FAIL(JSC_E_FORMAT, "%s: a tensor name is not text: \"%.*s\"", p->c.path, (int)n, (const char *)bytes);
    TRY(tensor_set_string(p->set, (const char *)bytes, n, &t->name, error));
    t->file = p->c.path;
    t->mapped = p->file->mapped;
    TRY(read_shape(p, t, error));
    TRY(take(&p->c, sizeof own, &own, t->name, error));
    if (own != *offset)
        FAIL(JSC_E_FORMAT, "%s: tensor %s: offset %" PRIu64 ", but the tensors before it end at %" PRIu64, p->c.path, t->name, own,
             *offset);
    if (__builtin_add_overflow(t->n_bytes, p->alignment - 1, &padded) ||
        __builtin_add_overflow(*offset, padded & ~(p->alignment - 1), offset))
        FAIL(JSC_E_FORMAT, "%s: tensor %s: the end of its data overflows", p->c.path, t->name);
done:
    return status;
}

static jsc_status read_tensors(struct part *p, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct tensor_set *set = p->set;
    const size_t rest = (size_t)(p->c.end - p->c.at), first = set->n;
    uint64_t offset = 0;
    if (p->n_tensors > rest / TENSOR_MIN)
        FAIL(JSC_E_FORMAT, "%s: claims %" PRIu64 " tensors of at least %d bytes, %zu bytes remain (incomplete download?)", p->c.path,
             p->n_tensors, TENSOR_MIN, rest);
    if (set->tensors == NULL) { /* exactly: growing by doubling would take twice as much */
        TRY(mem_new(&set->tensors, (size_t)p->n_tensors, error));
        set->capacity = (size_t)p->n_tensors;
    } else
        TRY(mem_reserve(&set->tensors, &set->capacity, set->n + (size_t)p->n_tensors, error));
    for (uint64_t i = 0; i < p->n_tensors; i++, set->n++)
        TRY(read_tensor(p, &set->tensors[set->n], &offset, error));
    const uint64_t head = (uint64_t)(p->c.at - p->file->bytes), data = (head + p->alignment - 1) & ~(p->alignment - 1);
    uint64_t at = data;
    for (size_t i = first; i < set->n; i++) {
        struct tensor *t = &set->tensors[i];
        if (at > p->file->size || t->n_bytes > p->file->size - at) /* the last padding may be absent */
            FAIL(JSC_E_FORMAT, "%s: tensor %s takes %" PRIu64 " bytes from byte %" PRIu64 " on, the file has %zu (incomplete download?)",
                 p->c.path, t->name, t->n_bytes, at, p->file->size);
        t->bytes = p->file->bytes + at;
        at += (t->n_bytes + p->alignment - 1) & ~(p->alignment - 1);
    }
done:
    return status;
}

/* ---- one file -------------------------------------------------------------------------------------------------------------- */

static jsc_status read_start(struct part *p, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct cursor *c = &p->c;
    char magic[4];
    TRY(take(c, sizeof magic, magic, "a GGUF header", error));
    if (memcmp(magic, "GGUF", 4) != 0)
        FAIL(JSC_E_FORMAT, "%s: does not begin with \"GGUF\": not a GGUF file", c->path);
    TRY(take(c, sizeof p->version, &p->version, "a GGUF header", error));
    if ((p->version & 0xffff) == 0)
        FAIL(JSC_E_UNSUPPORTED, "%s: a big-endian GGUF file, only little-endian ones are read", c->path);
    if (p->version == 1)
        FAIL(JSC_E_UNSUPPORTED, "%s: GGUF version 1 is not read; convert the model again with a newer llama.cpp", c->path);
    if (p->version > 3)
        FAIL(JSC_E_UNSUPPORTED, "%s: GGUF version %u is not read, only 2 and 3", c->path, p->version);
    TRY(take(c, sizeof p->n_tensors, &p->n_tensors, "a GGUF header", error));
    TRY(take(c, sizeof p->n_values, &p->n_values, "a GGUF header", error));
done:
    return status;
}

/* Adds the file's tensors to set; its metadata goes to g, but the set owns the texts. */
static jsc_status read_file(struct tensor_set *set, const char *path, struct gguf *g, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct part p = {0};
    struct file *file = NULL;
    TRY(tensor_set_file(set, path, &file, error));
    p.file = file;
    p.c = (struct cursor){file->path, file->bytes, file->bytes + file->size};
    TRY(read_start(&p, error));
    g->path = file->path;
    g->version = p.version;
    p.set = set;
    TRY(read_values(g, &p, error));
    TRY(read_tensors(&p, error));
done:
    return status;
}

static void free_values(struct gguf *g)
{
    name_table_free(g->keys);
    mem_free(g->values);
    g->keys = NULL;
    g->values = NULL;
    g->n_values = 0;
}

void gguf_close(struct gguf *gguf)
{
    if (gguf == NULL)
        return;
    free_values(gguf);
    tensor_set_free(gguf->tensors);
    mem_free(gguf);
}

/* ---- split files ----------------------------------------------------------------------------------------------------------- */

/* NAME-00001-of-00003.gguf with another part number, into a new text. false in *split: path is not of that form. */
static jsc_status part_path(const char *path, int64_t part, int64_t count, bool *split, char **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    char tail[64];
    const size_t n = strlen(path), m = (size_t)snprintf(tail, sizeof tail, "-of-%05" PRId64 ".gguf", count), stem = n - m - 6;
    *split = false;
    if (n < m + 6 || strcmp(path + n - m, tail) != 0 || path[stem] != '-' || strspn(path + stem + 1, "0123456789") != 5)
        goto done;
    TRY(mem_new(out, n + 32, error));
    (void)snprintf(*out, n + 32, "%.*s-%05" PRId64 "%s", (int)stem, path, part, tail);
    *split = true;
done:
    return status;
}

/* Parts 2 to count, beside the first. */
static jsc_status read_other_parts(struct gguf *g, int64_t count, jsc_error *error)
{
    jsc_status status = JSC_OK;
    char *path = NULL;
    struct gguf other = {0};
    bool split = false;
    for (int pass = 0; pass < 2; pass++) /* what is absent is known before more is read */
        for (int64_t i = 2; i <= count; i++) {
            int64_t no = -1, parts = -1;
            TRY(part_path(g->path, i, count, &split, &path, error));
            if (!split)
                FAIL(JSC_E_FORMAT,
                     "%s: is part 1 of %" PRId64 ", but its name does not end in -00001-of-%05" PRId64
                     ".gguf: the other parts cannot be found",
                     g->path, count, count);
            if (pass == 0 && !path_exists(path))
                FAIL(JSC_E_FILE,
                     "%s: is absent, part %" PRId64 " of %" PRId64 " of a split model: the download looks incomplete, fetch it again", path,
                     i, count);
            if (pass == 1) {
                TRY(read_file(g->tensors, path, &other, error));
                TRY(gguf_get_int(&other, "split.no", 0, PART_MAX, &no, NULL, error));
                TRY(gguf_get_int(&other, "split.count", 0, PART_MAX, &parts, NULL, error));
                if (no != i - 1 || parts != count)
                    FAIL(JSC_E_FORMAT, "%s: says split.no %" PRId64 " and split.count %" PRId64 ", its name says %" PRId64 " and %" PRId64,
                         path, no, parts, i - 1, count);
                free_values(&other);
            }
            mem_free(path);
            path = NULL;
        }
done:
    mem_free(path);
    free_values(&other);
    return status;
}

static jsc_status read_parts(struct gguf *g, jsc_error *error)
{
    jsc_status status = JSC_OK;
    int64_t no = 0, count = 1, total = -1;
    char *first = NULL;
    bool split = false;
    TRY(gguf_get_int(g, "split.count", 0, PART_MAX, &count, NULL, error));
    TRY(gguf_get_int(g, "split.no", 0, PART_MAX, &no, NULL, error));
    if (count <= 1)
        goto done;
    if (no > 0) {
        TRY(part_path(g->path, 1, count, &split, &first, error));
        FAIL(JSC_E_ARGUMENT, "%s: is part %" PRId64 " of %" PRId64 "; give the first part, %s", g->path, no + 1, count,
             split ? first : "whose name ends in -00001-of-...");
    }
    TRY(read_other_parts(g, count, error));
    TRY(gguf_get_int(g, "split.tensors.count", 0, INT32_MAX, &total, NULL, error));
    if (total >= 0 && (uint64_t)total != g->tensors->n)
        FAIL(JSC_E_FORMAT, "%s: split.tensors.count is %" PRId64 ", the %" PRId64 " parts hold %zu", g->path, total, count, g->tensors->n);
done:
    mem_free(first);
    return status;
}

jsc_status gguf_open(const char *path, struct gguf **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct gguf *g = NULL;
    TRY(mem_new(&g, 1, error));
    TRY(mem_new(&g->tensors, 1, error));
    TRY(read_file(g->tensors, path, g, error));
    TRY(read_parts(g, error));
    if (g->tensors->n == 0)
        FAIL(JSC_E_FORMAT, "%s: holds no weights (a vocabulary-only file?)", path);
    TRY(tensor_set_index(g->tensors, error));
    *out = g;
    g = NULL;
done:
    gguf_close(g);
    return status;
}
