/* gguf_values.c: typed access to the metadata of a GGUF file; every value was checked against the file when it was opened. */
#include "files_internal.h"

#include <string.h>

static const char *const type_names[] = {"u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "string", "array", "u64", "i64", "f64"};

const struct gguf_value *gguf_find(const struct gguf *gguf, const char *key)
{
    size_t i = 0;
    return gguf->keys != NULL && name_table_find(gguf->keys, key, &i) ? &gguf->values[i] : NULL;
}

static jsc_status wrong_type(const struct gguf *gguf, const struct gguf_value *v, const char *wanted, jsc_error *error)
{
    return status_set(error, JSC_E_FORMAT, "%s: %s is of type %s%s, %s is wanted", gguf->path, v->key, type_names[v->type],
                      v->type == GGUF_ARRAY ? " (a list)" : "", wanted);
}

/* The value of key, or NULL; *present says which. */
static const struct gguf_value *get(const struct gguf *gguf, const char *key, bool *present)
{
    const struct gguf_value *v = gguf_find(gguf, key);
    if (present != NULL)
        *present = v != NULL;
    return v;
}

/* An integer of any type. u64 above the range of i64 becomes its largest value, which no field's range allows. */
static bool to_int(const struct gguf_value *v, int64_t *out)
{
    uint64_t u = 0;
    static const unsigned char bits[] = {
        [GGUF_U8] = 8, [GGUF_I8] = 8, [GGUF_U16] = 16, [GGUF_I16] = 16, [GGUF_U32] = 32, [GGUF_I32] = 32, [GGUF_U64] = 64, [GGUF_I64] = 64};
    if (v->type >= sizeof bits || bits[v->type] == 0)
        return false;
    memcpy(&u, v->bytes, bits[v->type] / 8);
    if (v->type == GGUF_U8 || v->type == GGUF_U16 || v->type == GGUF_U32 || v->type == GGUF_U64)
        *out = u > INT64_MAX ? INT64_MAX : (int64_t)u;
    else
        *out = (int64_t)(u << (64 - bits[v->type])) >> (64 - bits[v->type]);
    return true;
}

jsc_status gguf_get_int(const struct gguf *gguf, const char *key, int64_t low, int64_t high, int64_t *out, bool *present, jsc_error *error)
{
    const struct gguf_value *v = get(gguf, key, present);
    int64_t value = 0;
    if (v == NULL)
        return JSC_OK;
    if (!to_int(v, &value))
        return wrong_type(gguf, v, "a whole number", error);
    if (value < low || value > high)
        return status_set(error, JSC_E_FORMAT, "%s: %s is %" PRId64 ", outside %" PRId64 " to %" PRId64, gguf->path, key, value, low, high);
    *out = value;
    return JSC_OK;
}

jsc_status gguf_get_double(const struct gguf *gguf, const char *key, double low, double high, double *out, bool *present, jsc_error *error)
{
    const struct gguf_value *v = get(gguf, key, present);
    double value = 0.0;
    int64_t whole = 0;
    if (v == NULL)
        return JSC_OK;
    if (v->type == GGUF_F32) {
        float f;
        memcpy(&f, v->bytes, sizeof f);
        value = (double)f;
    } else if (v->type == GGUF_F64)
        memcpy(&value, v->bytes, sizeof value);
    else if (to_int(v, &whole))
        value = (double)whole;
    else
        return wrong_type(gguf, v, "a number", error);
    if (!(value >= low && value <= high))
        return status_set(error, JSC_E_FORMAT, "%s: %s is %.9g, outside %g to %g", gguf->path, key, value, low, high);
    *out = value;
    return JSC_OK;
}

jsc_status gguf_get_bool(const struct gguf *gguf, const char *key, bool *out, bool *present, jsc_error *error)
{
    const struct gguf_value *v = get(gguf, key, present);
    if (v == NULL)
        return JSC_OK;
    if (v->type != GGUF_BOOL)
        return wrong_type(gguf, v, "a bool", error);
    *out = v->bytes[0] != 0;
    return JSC_OK;
}

jsc_status gguf_get_string(const struct gguf *gguf, const char *key, const char **out, size_t *n, bool *present, jsc_error *error)
{
    const struct gguf_value *v = get(gguf, key, present);
    if (v == NULL)
        return JSC_OK;
    if (v->type != GGUF_STRING)
        return wrong_type(gguf, v, "a string", error);
    *out = (const char *)v->bytes + sizeof(uint64_t);
    *n = (size_t)v->n_bytes - sizeof(uint64_t);
    return JSC_OK;
}

bool gguf_next_string(const struct gguf_value *value, const unsigned char **cursor, const char **out, size_t *n)
{
    uint64_t length;
    if (value->type != GGUF_ARRAY || value->element != GGUF_STRING || *cursor >= value->bytes + value->n_bytes)
        return false;
    memcpy(&length, *cursor, sizeof length);
    *out = (const char *)*cursor + sizeof length;
    *n = (size_t)length;
    *cursor += sizeof length + length;
    return true;
}
