/* test_weight_types.c: making a linear layer from every element type on every backend: rows out of order, odd counts, odd addresses, stored
 * transposed; against the type's own decoding (test_dtype.c holds that to the reference), exactly. Pages of mapped files. */
#include "testing.h"

#include <sys/mman.h>
#include <unistd.h>

enum { MOST = 512 };

/* Rows of `rows` x `columns`: random bytes whose halves, wherever they stand in a block, are finite and below 2, some of them subnormal. */
static unsigned char *stored_rows(enum dtype type, size_t rows, size_t columns, size_t *stride)
{
    size_t bytes = 0;
    cr_assert(dtype_bytes(type, columns, &bytes));
    *stride = bytes + 3; /* a gap, so that rows begin at odd addresses */
    unsigned char *out = malloc(rows * *stride + 1);
    cr_assert(out != NULL);
    for (size_t i = 0; i < rows * *stride + 1; i++) {
        const unsigned byte = rng_u32(21, type, i);
        out[i] = (unsigned char)(byte & (byte & 0x100 ? 0xbf : 0x83)); /* a half's exponent: below 16, or 0 (subnormal), either sign */
    }
    return out;
}

/* The rows of W by reading them (embed), and its columns by products with one-hot rows both ways. */
static void check(struct rig *rig, const struct jsc_weight *w, const double *want, const char *what)
{
    const size_t n = w->n, k = w->k;
    double *got = new_doubles(n * k);
    int32_t ids[MOST];
    bool in_rows = true;
    for (size_t i = 0; i < n; i++)
        ids[i] = (int32_t)i;
    dptr rows = rig_blank(rig, ROLE_REAL, n * k);
    RUN(rig, embed, .n = n, .ids = ids, .w = w, .scale = 1.0, .out = rows);
    rig_down(rig, ROLE_REAL, got, rows, n * k);
    for (size_t i = 0; i < n * k; i++)
        in_rows = in_rows && got[i] == want[i]; /* the sign of a zero may be lost */
    cr_expect(in_rows, "%s, %s: rows", rig->ops->name, what);
    check_products(rig, w, want, what);
    free(got);
}

/* What a backend should hold: doubles of F64 in ref, floats elsewhere. */
static void decoded(const struct jsc_ops *ops, enum dtype type, const unsigned char *row, size_t n, double *out)
{
    float floats[MOST];
    if (ops == &ops_ref) {
        dtype_row_f64(type, row, n, out);
        return;
    }
    dtype_row_f32(type, row, n, floats);
    for (size_t i = 0; i < n; i++)
        out[i] = (double)floats[i];
}

static void make_and_check(const struct jsc_ops *ops, const struct weight_part *part, size_t k, const double *want, const char *what)
{
    char text[64];
    struct rig rig;
    rig_open(&rig, ops, 3);
    (void)snprintf(text, sizeof text, "%s, %s", dtype_info(part->type)->name, what);
    struct jsc_weight *w = NULL;
    rig_ok(&rig, ops->weight_make(rig.device, part, 1, k, USE_FORWARD | USE_VJP | USE_ROWS, NULL, &w, &rig.error), text);
    check(&rig, w, want, text);
    ops->weight_free(rig.device, w);
    rig_close(&rig);
}

static size_t row_length(enum dtype type)
{
    return dtype_info(type)->block > 1 ? dtype_info(type)->block : 37;
}

/* 7 rows (no thread's share is another's), in a permuted order. */
Test(weight_types, case_15_rows_in_another_order, .timeout = 120)
{
    const int32_t order[7] = {6, 0, 3, 1, 5, 2, 4};
    FOR_EACH_BACKEND(ops)
    {
        for (int t = 0; t < DTYPE_COUNT; t++) {
            const enum dtype type = (enum dtype)t;
            const size_t k = row_length(type);
            size_t stride = 0;
            unsigned char *stored = stored_rows(type, 7, k, &stride);
            double *want = new_doubles(7 * k);
            struct weight_part part = {.bytes = stored + 1, .type = type, .n = 7, .row_bytes = stride, .scale = 1.0, .name = "w"};
            for (size_t r = 0; r < 7; r++)
                decoded(ops, type, stored + 1 + r * stride, k, want + r * k);
            make_and_check(ops, &part, k, want, "in order");
            for (size_t r = 0; r < 7; r++)
                decoded(ops, type, stored + 1 + (size_t)order[r] * stride, k, want + r * k);
            part.row_of = order;
            make_and_check(ops, &part, k, want, "permuted");
            free(want);
            free(stored);
        }
    }
}

/* Stored as [k][n] with n of one block (not cut between threads) and of two. */
Test(weight_types, stored_transposed, .timeout = 240)
{
    enum { K = 19 };
    FOR_EACH_BACKEND(ops)
    {
        for (int t = 0; t < DTYPE_COUNT; t++)
            for (size_t blocks = 1; blocks < 3; blocks++) {
                const enum dtype type = (enum dtype)t;
                const size_t n = blocks * row_length(type);
                size_t stride = 0;
                unsigned char *stored = stored_rows(type, K, n, &stride);
                double *want = new_doubles(n * K), *row = new_doubles(n);
                const struct weight_part part = {
                    .bytes = stored + 1, .type = type, .n = n, .row_bytes = stride, .scale = 1.0, .transposed = true, .name = "w"};
                for (size_t c = 0; c < K; c++) {
                    decoded(ops, type, stored + 1 + c * stride, n, row);
                    for (size_t r = 0; r < n; r++)
                        want[r * K + c] = row[r];
                }
                make_and_check(ops, &part, K, want, blocks == 1 ? "transposed" : "transposed, two blocks");
                free(row);
                free(want);
                free(stored);
            }
    }
}

/* ---- pages of mapped files ------------------------------------------------------------------------------------------------- */

enum { ROWS = 3000, COLUMNS = 1024 };

static size_t pages_held(void *map, size_t bytes)
{
    /* mincore() tells of the system's cache; this process's own pages are counted by the kernel in /proc/self/smaps */
    char line[256];
    size_t held = 0;
    bool inside = false;
    FILE *f = fopen("/proc/self/smaps", "r");
    cr_assert(f != NULL);
    while (fgets(line, sizeof line, f) != NULL) {
        unsigned long begin = 0, end = 0, kilobytes = 0;
        if (sscanf(line, "%lx-%lx ", &begin, &end) == 2)
            inside = begin >= (unsigned long)map && end <= (unsigned long)map + bytes + 4096;
        else if (inside && sscanf(line, "Rss: %lu kB", &kilobytes) == 1)
            held += kilobytes * 1024;
    }
    (void)fclose(f);
    return held;
}

/* What was decoded is given back and reads the same afterwards; what is not marked as mapped is left alone. */
Test(weight_types, decoded_pages_of_a_file_go_back, .timeout = 120)
{
    char path[] = "/tmp/jscopes_test_XXXXXX";
    const size_t bytes = (size_t)ROWS * COLUMNS * 2;
    const int fd = mkstemp(path);
    uint16_t *rows = malloc(bytes);
    int32_t *order = malloc(ROWS * sizeof *order);
    cr_assert(fd >= 0 && rows != NULL && order != NULL);
    for (size_t i = 0; i < (size_t)ROWS * COLUMNS; i++)
        rows[i] = (uint16_t)(0x3c00 + i % 251);
    for (int32_t i = 0; i < ROWS; i++)
        order[i] = i ^ 1;
    cr_assert(write(fd, rows, bytes) == (ssize_t)bytes);
    unsigned char *map = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    cr_assert(map != MAP_FAILED);
    FOR_EACH_BACKEND(ops)
    {
        for (int form = 0; form < 4 && ops != &ops_ref; form++) { /* ref, eight times as large as the file, keeps them */
            struct weight_part part = {.bytes = map, .type = DTYPE_BF16, .n = ROWS, .row_bytes = 2 * COLUMNS, .scale = 1.0, .name = "w"};
            size_t k = COLUMNS;
            part.mapped = form > 0;
            part.row_of = form == 2 ? order : NULL;
            if (form == 3)
                part.transposed = true, part.n = COLUMNS, k = ROWS;
            struct rig rig;
            rig_open(&rig, ops, 2);
            struct jsc_weight *w = NULL;
            rig_ok(&rig, ops->weight_make(rig.device, &part, 1, k, USE_ROWS, NULL, &w, &rig.error), "weight_make");
            const size_t held = pages_held(map, bytes);
            ops->weight_free(rig.device, w);
            rig_close(&rig);
            cr_expect(form == 0 ? held >= bytes / 2 : held <= 65536, "%s, form %d: %zu of %zu bytes held", ops->name, form, held, bytes);
            cr_expect(memcmp(map, rows, bytes) == 0, "%s, form %d: the file's bytes", ops->name, form);
        }
    }
    (void)munmap(map, bytes);
    (void)close(fd);
    (void)unlink(path);
    free(rows);
    free(order);
}
