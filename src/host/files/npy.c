/* npy.c: .npy arrays (NumPy's format 1 to 3) of float32 or float64, little-endian, C order, one or two dimensions. */
#include "files_internal.h"

#include <math.h>
#include <string.h>

/* Header: \x93NUMPY, major, minor, header length (u16, from version 2 on u32), then a Python dict with three keys, for example
 *   {'descr': '<f4', 'fortran_order': False, 'shape': (3, 576), }                                                            */
struct npy {
    const char *path;
    const char *at, *end; /* what is left of the dict */
    size_t item;          /* 4 or 8; 0: descr not seen */
    bool order_seen;
    int rank; /* -1: shape not seen */
    size_t shape[2];
};

static void skip_space(struct npy *y)
{
    while (y->at < y->end && (*y->at == ' ' || *y->at == '\n' || *y->at == '\t'))
        y->at++;
}

static bool eat(struct npy *y, const char *text)
{
    const size_t n = strlen(text);
    skip_space(y);
    if ((size_t)(y->end - y->at) < n || memcmp(y->at, text, n) != 0)
        return false;
    y->at += n;
    return true;
}

/* 'text' or "text" into out. */
static bool quoted(struct npy *y, char *out, size_t capacity)
{
    skip_space(y);
    if (y->at == y->end || (*y->at != '\'' && *y->at != '"'))
        return false;
    const char *start = y->at + 1, *close = memchr(start, *y->at, (size_t)(y->end - start));
    if (close == NULL || (size_t)(close - start) >= capacity)
        return false;
    memcpy(out, start, (size_t)(close - start));
    out[close - start] = '\0';
    y->at = close + 1;
    return true;
}

static jsc_status read_descr(struct npy *y, jsc_error *error)
{
    char descr[32];
    if (!quoted(y, descr, sizeof descr))
        return status_set(error, JSC_E_UNSUPPORTED, "%s: descr is no plain element type; save the array as float32 or float64", y->path);
    y->item = strcmp(descr, "<f4") == 0 ? 4 : strcmp(descr, "<f8") == 0 ? 8 : 0;
    if (y->item == 0)
        return status_set(error, JSC_E_UNSUPPORTED, "%s: elements of type \"%s\"; save the array as float32 or float64", y->path, descr);
    return JSC_OK;
}

static jsc_status read_order(struct npy *y, jsc_error *error)
{
    y->order_seen = true;
    if (eat(y, "False"))
        return JSC_OK;
    if (eat(y, "True"))
        return status_set(error, JSC_E_UNSUPPORTED, "%s: is in Fortran order; save numpy.ascontiguousarray(array)", y->path);
    return status_set(error, JSC_E_FORMAT, "%s: fortran_order is neither True nor False", y->path);
}

static jsc_status read_shape(struct npy *y, jsc_error *error)
{
    y->rank = 0;
    bool good = eat(y, "(");
    while (good && !eat(y, ")")) {
        size_t v = 0, digits = 0;
        skip_space(y);
        for (; y->at < y->end && *y->at >= '0' && *y->at <= '9' && good; y->at++, digits++)
            good = size_mul(v, 10, &v) && size_add(v, (size_t)(*y->at - '0'), &v);
        if (digits == 0)
            good = false;
        else if (y->rank == 2)
            return status_set(error, JSC_E_UNSUPPORTED, "%s: has more than 2 dimensions", y->path);
        else
            y->shape[y->rank++] = v;
        if (good && !eat(y, ",")) {
            good = eat(y, ")");
            break;
        }
    }
    if (!good)
        return status_set(error, JSC_E_FORMAT, "%s: its shape cannot be read", y->path);
    if (y->rank == 0)
        return status_set(error, JSC_E_FORMAT, "%s: is a single number, a list or table of numbers is wanted", y->path);
    return JSC_OK;
}

static jsc_status read_dict(struct npy *y, jsc_error *error)
{
    jsc_status status = JSC_OK;
    char key[32];
    if (!eat(y, "{"))
        FAIL(JSC_E_FORMAT, "%s: its header is not a dict", y->path);
    while (!eat(y, "}")) {
        if (!quoted(y, key, sizeof key) || !eat(y, ":"))
            FAIL(JSC_E_FORMAT, "%s: its header cannot be read", y->path);
        if (strcmp(key, "descr") == 0 && y->item == 0)
            TRY(read_descr(y, error));
        else if (strcmp(key, "fortran_order") == 0 && !y->order_seen)
            TRY(read_order(y, error));
        else if (strcmp(key, "shape") == 0 && y->rank < 0)
            TRY(read_shape(y, error));
        else
            FAIL(JSC_E_FORMAT, "%s: header key %s is unknown or given twice", y->path, key);
        if (!eat(y, ",")) {
            if (!eat(y, "}"))
                FAIL(JSC_E_FORMAT, "%s: its header cannot be read", y->path);
            break;
        }
    }
    skip_space(y);
    if (y->at != y->end || y->item == 0 || !y->order_seen || y->rank < 0)
        FAIL(JSC_E_FORMAT, "%s: its header must hold descr, fortran_order and shape, and nothing else", y->path);
done:
    return status;
}

/* The header's extent; data begins at y->end. */
static jsc_status find_header(const struct file *file, struct npy *y, jsc_error *error)
{
    const unsigned char *b = file->bytes;
    size_t n = 0, start = 10;
    if (file->size < 10 || memcmp(b, "\x93NUMPY", 6) != 0)
        return status_set(error, JSC_E_FORMAT, "%s: is not a .npy file", file->path);
    if (b[6] < 1 || b[6] > 3)
        return status_set(error, JSC_E_UNSUPPORTED, "%s: .npy format %u.%u is not read", file->path, b[6], b[7]);
    n = b[8] | (size_t)b[9] << 8;
    if (b[6] > 1 && file->size >= 12) {
        n |= (size_t)b[10] << 16 | (size_t)b[11] << 24;
        start = 12;
    }
    if (n > file->size - start)
        return status_set(error, JSC_E_FORMAT, "%s: header of %zu bytes in a file of %zu bytes", file->path, n, file->size);
    *y = (struct npy){.path = file->path, .at = (const char *)b + start, .end = (const char *)b + start + n, .rank = -1};
    return JSC_OK;
}

jsc_status npy_read(const char *path, double **out, size_t *rows, size_t *columns, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct file *file = NULL;
    struct npy y = {0};
    double *values = NULL;
    size_t n = 0, bytes = 0;
    TRY(file_open(path, &file, error));
    TRY(find_header(file, &y, error));
    TRY(read_dict(&y, error));
    const size_t r = y.rank == 2 ? y.shape[0] : 1, c = y.shape[y.rank - 1];
    const size_t rest = file->size - (size_t)(y.end - (const char *)file->bytes);
    if (r == 0 || c == 0 || !size_mul(r, c, &n) || !size_mul(n, y.item, &bytes))
        FAIL(JSC_E_FORMAT, "%s: a shape of %zu x %zu makes no sense", path, r, c);
    if (bytes != rest)
        FAIL(JSC_E_FORMAT, "%s: %zu x %zu numbers take %zu bytes, the file holds %zu", path, r, c, bytes, rest);
    TRY(mem_new(&values, n, error));
    if (y.item == 4)
        dtype_row_f64(DTYPE_F32, y.end, n, values);
    else
        dtype_row_f64(DTYPE_F64, y.end, n, values);
    for (size_t i = 0; i < n; i++)
        if (!isfinite(values[i]))
            FAIL(JSC_E_NUMERIC, "%s: element %zu of row %zu is not finite", path, i % c, i / c);
    *out = values;
    *rows = r;
    *columns = c;
    values = NULL;
done:
    mem_free(values);
    file_close(file);
    return status;
}
