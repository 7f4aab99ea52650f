/* safetensors_header.c: the header of one .safetensors file: every number is checked against the file before it is used.
 *
 * Checks stand in the order of docs/formats.md. Two passes over the header: the first checks its grammar and counts, so that the
 * second fills arrays of the right size; memory stays below 4 times the file. */
#include "files_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_MAX   100000000u
#define METADATA_MAX 100000u /* keys of __metadata__; real files have some dozens */
#define UNKNOWN_MAX  16      /* fields of an entry that are not known; real files have none */

/* Element types of the format: bits, and ours if weights may have it. */
static const struct {
    const char *name;
    unsigned bits;
    int type; /* enum dtype or -1 */
} types[] = {
    {"F32", 32, DTYPE_F32}, {"F16", 16, DTYPE_F16}, {"BF16", 16, DTYPE_BF16}, {"F64", 64, DTYPE_F64},
    {"I64", 64, -1},        {"I32", 32, -1},        {"I16", 16, -1},          {"I8", 8, -1},
    {"U64", 64, -1},        {"U32", 32, -1},        {"U16", 16, -1},          {"U8", 8, -1},
    {"BOOL", 8, -1},        {"F8_E4M3", 8, -1},     {"F8_E5M2", 8, -1},       {"F8_E8M0", 8, -1},
    {"F8_E4M3FNUZ", 8, -1}, {"F8_E5M2FNUZ", 8, -1}, {"C64", 64, -1},          {"F4", 4, -1},
    {"F6_E2M3", 6, -1},     {"F6_E3M2", 6, -1},
};

bool safetensors_type(const char *name, struct tensor *out)
{
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (strcmp(types[i].name, name) == 0) {
            out->type_name = types[i].name;
            out->known_type = types[i].type >= 0;
            out->type = out->known_type ? (enum dtype)types[i].type : DTYPE_F32;
            return true;
        }
    return false;
}

/* data_offsets of the tensor index counted from the first one of the file. */
struct extent {
    uint64_t begin, end;
    size_t index;
};

struct header {
    struct json_reader r;
    struct tensor *tensors; /* of this file, inside the set */
    struct extent *extents;
    size_t n;
    const struct file *file;
    char *names;
};

/* ---- __metadata__ ---------------------------------------------------------------------------------------------------------- */

/* Counts the keys and their bytes; values must be texts. */
static jsc_status measure_metadata(struct json_reader *r, size_t *keys, size_t *bytes, jsc_error *error)
{
    jsc_status status = JSC_OK;
    bool more = false;
    TRY(json_reader_enter(r, '{', error));
    for (;;) {
        TRY(json_reader_next(r, '{', keys, &more, error));
        if (!more)
            break;
        (void)json_reader_peek(r);
        *bytes += json_reader_string_size(r);
        TRY(json_reader_key(r, NULL, NULL, error));
        if (json_reader_peek(r) != '"')
            FAIL(JSC_E_FORMAT, "%s: byte %zu: a value of __metadata__ is not text", r->name, r->base + r->at);
        TRY(json_reader_skip(r, error));
    }
    if (*keys > METADATA_MAX)
        FAIL(JSC_E_UNSUPPORTED, "%s: __metadata__ has %zu keys, at most %u are read", r->name, *keys, METADATA_MAX);
done:
    return status;
}

static jsc_status read_metadata(struct json_reader *r, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct json_reader again = *r;
    struct name_table *table = NULL;
    const char **keys = NULL;
    char *text = NULL;
    size_t n = 0, bytes = 0, count = 0, length = 0, other = 0;
    bool more = false;
    if (json_reader_peek(r) == 'n')
        return json_reader_skip(r, error);
    TRY(measure_metadata(r, &n, &bytes, error));
    TRY(mem_new(&keys, n, error));
    TRY(mem_new(&text, bytes, error));
    TRY(name_table_make(keys, sizeof *keys, n, &table, error));
    TRY(json_reader_enter(&again, '{', error));
    for (char *at = text;; at += length + 1) {
        TRY(json_reader_next(&again, '{', &count, &more, error));
        if (!more)
            break;
        TRY(json_reader_key(&again, at, &length, error));
        keys[count - 1] = at;
        if (!name_table_add(table, count - 1, &other))
            FAIL(JSC_E_FORMAT, "%s: __metadata__ lists %s twice", r->name, at);
        TRY(json_reader_skip(&again, error));
    }
done:
    name_table_free(table);
    mem_free(text);
    mem_free(keys);
    return status;
}

/* ---- one entry ------------------------------------------------------------------------------------------------------------- */

static jsc_status read_type(struct header *h, struct tensor *t, jsc_error *error)
{
    jsc_status status = JSC_OK;
    char name[48];
    if (json_reader_peek(&h->r) != '"')
        FAIL(JSC_E_FORMAT, "%s: tensor %s: dtype is not text", h->file->path, t->name);
    const size_t size = json_reader_string_size(&h->r);
    if (size > sizeof name)
        FAIL(JSC_E_FORMAT, "%s: tensor %s: element type %.*s... is unknown", h->file->path, t->name, 40, h->r.text + h->r.at + 1);
    TRY(json_reader_string(&h->r, name, NULL, error));
    if (!safetensors_type(name, t))
        FAIL(JSC_E_FORMAT, "%s: tensor %s: element type %s is unknown", h->file->path, t->name, name);
done:
    return status;
}

/* A list of whole numbers: field of tensor t; at most capacity of them. */
static jsc_status read_numbers(struct header *h, const struct tensor *t, const char *field, size_t capacity, uint64_t *out, size_t *n,
                               jsc_error *error)
{
    jsc_status status = JSC_OK;
    char what[160];
    bool more = false;
    (void)snprintf(what, sizeof what, "tensor %.100s: %s", t->name, field);
    if (json_reader_peek(&h->r) != '[')
        FAIL(JSC_E_FORMAT, "%s: %s is not a list", h->file->path, what);
    TRY(json_reader_enter(&h->r, '[', error));
    for (*n = 0;;) {
        TRY(json_reader_next(&h->r, '[', n, &more, error));
        if (!more)
            break;
        if (*n > capacity)
            FAIL(JSC_E_UNSUPPORTED, "%s: %s has more than %zu numbers", h->file->path, what, capacity);
        TRY(json_reader_u64(&h->r, what, &out[*n - 1], error));
    }
done:
    return status;
}

static const char *const fields[] = {"dtype", "shape", "data_offsets"};
enum field { FIELD_TYPE, FIELD_SHAPE, FIELD_OFFSETS, FIELD_UNKNOWN };

/* Reads the key of a field; one that occurs twice is refused, known (bits of *seen) or not (raw texts in unknown). */
static jsc_status read_field(struct header *h, const struct tensor *t, unsigned *seen, size_t unknown[UNKNOWN_MAX + 1], enum field *out,
                             jsc_error *error)
{
    jsc_status status = JSC_OK;
    char key[96] = ""; /* "data_offsets" with every character escaped needs 75 */
    (void)json_reader_peek(&h->r);
    const char *raw = h->r.text + h->r.at;
    const size_t size = json_reader_string_size(&h->r), known = sizeof fields / sizeof fields[0];
    size_t i = 0;
    TRY(json_reader_key(&h->r, size <= sizeof key ? key : NULL, NULL, error));
    while (i < known && strcmp(key, fields[i]) != 0)
        i++;
    *out = (enum field)i;
    if (i < known) {
        if (*seen >> i & 1)
            FAIL(JSC_E_FORMAT, "%s: tensor %s: field %s is given twice", h->file->path, t->name, key);
        *seen |= 1u << i;
        goto done;
    }
    size_t *n = &unknown[UNKNOWN_MAX];
    for (size_t k = 0; k < *n; k++)
        if (strncmp(h->r.text + unknown[k], raw, size) == 0)
            FAIL(JSC_E_FORMAT, "%s: tensor %s: field %.*s is given twice", h->file->path, t->name, size > 42 ? 40 : (int)size - 2, raw + 1);
    if (*n == UNKNOWN_MAX)
        FAIL(JSC_E_UNSUPPORTED, "%s: tensor %s: more than %d fields that are not known", h->file->path, t->name, UNKNOWN_MAX);
    unknown[(*n)++] = (size_t)(raw - h->r.text);
done:
    return status;
}

static jsc_status read_entry(struct header *h, struct tensor *t, struct extent *extent, jsc_error *error)
{
    jsc_status status = JSC_OK;
    unsigned seen = 0;
    size_t unknown[UNKNOWN_MAX + 1] = {0}; /* offsets of their keys; the last one is the count */
    size_t count = 0, n = 0;
    uint64_t offsets[2] = {0};
    bool more = false;
    if (json_reader_peek(&h->r) != '{')
        FAIL(JSC_E_FORMAT, "%s: tensor %s: not an object", h->file->path, t->name);
    TRY(json_reader_enter(&h->r, '{', error));
    for (;;) {
        enum field field = FIELD_UNKNOWN;
        TRY(json_reader_next(&h->r, '{', &count, &more, error));
        if (!more)
            break;
        TRY(read_field(h, t, &seen, unknown, &field, error));
        switch (field) {
        case FIELD_TYPE:
            TRY(read_type(h, t, error));
            break;
        case FIELD_SHAPE:
            TRY(read_numbers(h, t, "shape", TENSOR_RANK_MAX, t->shape, &n, error));
            t->rank = (int)n;
            break;
        case FIELD_OFFSETS:
            TRY(read_numbers(h, t, "data_offsets", 2, offsets, &n, error));
            if (n != 2)
                FAIL(JSC_E_FORMAT, "%s: tensor %s: data_offsets has %zu numbers, 2 are wanted", h->file->path, t->name, n);
            break;
        case FIELD_UNKNOWN:
            TRY(json_reader_skip(&h->r, error));
        }
    }
    for (unsigned i = 0; i < FIELD_UNKNOWN; i++)
        if (!(seen >> i & 1))
            FAIL(JSC_E_FORMAT, "%s: tensor %s: field %s is absent", h->file->path, t->name, fields[i]);
    *extent = (struct extent){offsets[0], offsets[1], (size_t)(t - h->tensors)};
done:
    return status;
}

/* ---- the whole header ------------------------------------------------------------------------------------------------------ */

/* First pass: grammar of all, number of tensors, bytes of their names. */
static jsc_status measure(struct json_reader r, size_t *n, size_t *bytes, jsc_error *error)
{
    jsc_status status = JSC_OK;
    bool more = false;
    TRY(json_reader_enter(&r, '{', error));
    for (;;) {
        TRY(json_reader_next(&r, '{', n, &more, error));
        if (!more)
            break;
        (void)json_reader_peek(&r);
        *bytes += json_reader_string_size(&r); /* at most the header's size in all */
        TRY(json_reader_key(&r, NULL, NULL, error));
        TRY(json_reader_skip(&r, error));
    }
    TRY(json_reader_end(&r, error));
done:
    return status;
}

/* Second pass. */
static jsc_status read_entries(struct header *h, jsc_error *error)
{
    jsc_status status = JSC_OK;
    bool more = false, metadata = false;
    size_t count = 0, length = 0;
    TRY(json_reader_enter(&h->r, '{', error));
    for (;;) {
        TRY(json_reader_next(&h->r, '{', &count, &more, error));
        if (!more)
            break;
        TRY(json_reader_key(&h->r, h->names, &length, error));
        if (strcmp(h->names, "__metadata__") == 0) {
            if (metadata)
                FAIL(JSC_E_FORMAT, "%s: __metadata__ is listed twice", h->file->path);
            metadata = true;
            TRY(read_metadata(&h->r, error));
            continue;
        }
        struct tensor *t = &h->tensors[h->n];
        t->name = h->names;
        t->file = h->file->path;
        t->mapped = h->file->mapped;
        TRY(read_entry(h, t, &h->extents[h->n], error));
        h->names += length + 1;
        h->n++;
    }
    if (h->n == 0)
        FAIL(JSC_E_FORMAT, "%s: holds no tensors", h->file->path);
done:
    return status;
}

static int compare_extents(const void *a, const void *b)
{
    const struct extent *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    if (x->end != y->end)
        return x->end < y->end ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

/* shape × element size against END - BEGIN. */
static jsc_status check_size(struct tensor *t, const struct extent *e, jsc_error *error)
{
    jsc_status status = JSC_OK;
    char text[TENSOR_RANK_MAX * 22 + 1] = ""; /* the shape */
    size_t n = 0;
    unsigned bits = 0;
    uint64_t elements = 1, all = 0;
    bool fits = true;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (types[i].name == t->type_name)
            bits = types[i].bits;
    for (int i = 0; i < t->rank; i++) {
        fits = fits && !__builtin_mul_overflow(elements, t->shape[i], &elements);
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%" PRIu64, i > 0 ? ", " : "", t->shape[i]);
    }
    if (!fits || __builtin_mul_overflow(elements, (uint64_t)bits, &all))
        FAIL(JSC_E_FORMAT, "%s: tensor %s: the size of shape [%s] in %s overflows", t->file, t->name, text, t->type_name);
    if (all % 8 != 0)
        FAIL(JSC_E_FORMAT, "%s: tensor %s: shape [%s] in %s is no whole number of bytes", t->file, t->name, text, t->type_name);
    if (e->end - e->begin != all / 8)
        FAIL(JSC_E_FORMAT, "%s: tensor %s: shape [%s] in %s takes %" PRIu64 " bytes, data_offsets give %" PRIu64, t->file, t->name, text,
             t->type_name, all / 8, e->end - e->begin);
    t->n_elements = elements;
    t->n_bytes = all / 8;
done:
    return status;
}

/* The tensors must cover the data, without holes and overlaps, and the data the file. */
static jsc_status check_extents(struct header *h, uint64_t data_bytes, const unsigned char *data, jsc_error *error)
{
    jsc_status status = JSC_OK;
    uint64_t end = 0;
    const char *before = "";
    qsort(h->extents, h->n, sizeof *h->extents, compare_extents);
    for (size_t i = 0; i < h->n; i++) {
        const struct extent *e = &h->extents[i];
        struct tensor *t = &h->tensors[e->index];
        if (e->end < e->begin)
            FAIL(JSC_E_FORMAT, "%s: tensor %s: data_offsets [%" PRIu64 ", %" PRIu64 "] are reversed", t->file, t->name, e->begin, e->end);
        if (e->begin < end)
            FAIL(JSC_E_FORMAT, "%s: tensors %s and %s overlap", t->file, before, t->name);
        if (e->begin > end)
            FAIL(JSC_E_FORMAT, "%s: hole of %" PRIu64 " bytes before tensor %s", t->file, e->begin - end, t->name);
        TRY(check_size(t, e, error));
        end = e->end;
        before = t->name;
    }
    if (end != data_bytes)
        FAIL(JSC_E_FORMAT, "%s: data of %" PRIu64 " bytes, header describes %" PRIu64 " (incomplete download?)", h->file->path, data_bytes,
             end);
    for (size_t i = 0; i < h->n; i++)
        h->tensors[h->extents[i].index].bytes = data + h->extents[i].begin;
done:
    return status;
}

/* The bytes of the header, in the order of the checks. */
static jsc_status find_header(const struct file *file, struct json_reader *r, jsc_error *error)
{
    uint64_t n = 0;
    if (file->size < sizeof n)
        return status_set(error, JSC_E_FORMAT, "%s: truncated: %zu bytes, a safetensors file has at least 8", file->path, file->size);
    memcpy(&n, file->bytes, sizeof n);
    if (n > HEADER_MAX)
        return status_set(error, JSC_E_FORMAT,
                          "%s: header of %" PRIu64 " bytes, limit is %u; not safetensors, or damaged (file of %zu bytes)", file->path, n,
                          HEADER_MAX, file->size);
    if (n > file->size - sizeof n)
        return status_set(error, JSC_E_FORMAT, "%s: header of %" PRIu64 " bytes in a file of %zu bytes (incomplete download?)", file->path,
                          n, file->size);
    const jsc_status status = json_reader_make(r, file->path, (const char *)file->bytes + sizeof n, (size_t)n, sizeof n, error);
    if (status != JSC_OK)
        return status;
    if (n == 0 || r->text[0] != '{')
        return status_set(error, JSC_E_FORMAT, "%s: header does not begin with '{'", file->path);
    return JSC_OK;
}

jsc_status safetensors_read(struct tensor_set *set, const char *path, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct header h = {0};
    struct file *file = NULL;
    size_t members = 0, bytes = 0;
    TRY(tensor_set_file(set, path, &file, error));
    h.file = file;
    TRY(find_header(file, &h.r, error));
    TRY(measure(h.r, &members, &bytes, error));
    if (set->tensors == NULL) { /* exactly: growing by doubling would take twice as much */
        TRY(mem_new(&set->tensors, members, error));
        set->capacity = members;
    } else
        TRY(mem_reserve(&set->tensors, &set->capacity, set->n + members, error));
    TRY(mem_new(&h.extents, members, error));
    TRY(tensor_set_text(set, bytes, &h.names, error));
    h.tensors = set->tensors + set->n;
    TRY(read_entries(&h, error));
    set->n += h.n;
    TRY(tensor_set_unique(set, set->n - h.n, error));
    TRY(check_extents(&h, file->size - sizeof(uint64_t) - h.r.n, file->bytes + sizeof(uint64_t) + h.r.n, error));
done:
    mem_free(h.extents);
    return status;
}
