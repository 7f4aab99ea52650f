/* test_npy.c: .npy arrays as NumPy writes them, and what is refused. */
#include "support/refusal.h"
#include "support/tiny_files.h"

#include <math.h>
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

TestSuite(npy, .init = setup, .fini = teardown, .timeout = 60);

/* Header as NumPy writes it in version major, then the data. */
static jsc_status read_array(unsigned char major, const char *dict, const void *data, size_t n, double **out, size_t *rows, size_t *columns,
                             jsc_error *error)
{
    struct strbuf s = {0};
    const uint32_t length = (uint32_t)strlen(dict);
    strbuf_add(&s, "\x93NUMPY", 6);
    strbuf_add(&s, (const char[]){(char)major, 0}, 2);
    strbuf_add(&s, (const char *)&length, major == 1 ? 2 : 4);
    strbuf_puts(&s, dict);
    strbuf_add(&s, data, n);
    tiny_write(tiny_path(folder, "x.npy"), s.text, s.n);
    strbuf_free(&s);
    return npy_read(tiny_path(folder, "x.npy"), out, rows, columns, error);
}

static void refuse(int line, const char *dict, size_t n, jsc_status want, const char *words)
{
    static const float data[64];
    double *out = NULL;
    size_t rows, columns;
    jsc_error error = {0};
    expect_refusal_at(line, read_array(1, dict, data, n, &out, &rows, &columns, &error), want, &error, words);
    cr_expect(strstr(error.text, "x.npy: ") != NULL && out == NULL, "line %d: %s", line, error.text);
}

Test(npy, float32_and_float64)
{
    const float f[6] = {1, -2, 0.1f, 4, 5, 6};
    const double d[3] = {0.1, 1e300, -0.0};
    double *out = NULL;
    size_t rows = 0, columns = 0;
    jsc_error error = {0};
    cr_assert(
        eq(int,
           read_array(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }     \n", f, sizeof f, &out, &rows, &columns, &error),
           JSC_OK),
        "%s", error.text);
    cr_expect(rows == 2 && columns == 3 && out[2] == (double)0.1f && out[5] == 6.0);
    mem_free(out);
    cr_assert(eq(int,
                 read_array(2, "{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }\n", d, sizeof d, &out, &rows, &columns, &error),
                 JSC_OK),
              "%s", error.text);
    cr_expect(rows == 1 && columns == 3 && memcmp(out, d, sizeof d) == 0);
    mem_free(out);
    cr_assert(eq(int,
                 read_array(3, "{\"shape\":(1,3),\"fortran_order\":False,\"descr\":\"<f8\"}", d, sizeof d, &out, &rows, &columns, &error),
                 JSC_OK),
              "%s", error.text);
    mem_free(out);
}

Test(npy, refused)
{
    refuse(__LINE__, "{'descr': '<i8', 'fortran_order': False, 'shape': (1,), }", 8, JSC_E_UNSUPPORTED, "<i8|float32 or float64");
    refuse(__LINE__, "{'descr': '>f4', 'fortran_order': False, 'shape': (1,), }", 4, JSC_E_UNSUPPORTED, ">f4");
    refuse(__LINE__, "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", 4, JSC_E_UNSUPPORTED, "descr is no plain");
    refuse(__LINE__, "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 2), }", 16, JSC_E_UNSUPPORTED, "Fortran order");
    refuse(__LINE__, "{'descr': '<f4', 'fortran_order': 0, 'shape': (2, 2), }", 16, JSC_E_FORMAT, "fortran_order");
    refuse(__LINE__, "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 1), }", 4, JSC_E_UNSUPPORTED, "more than 2 dimensions");
    refuse(__LINE__, "{'descr': '<f4', 'fortran_order': False, 'shape': (), }", 4, JSC_E_FORMAT, "single number");
    refuse(__LINE__, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", 4, JSC_E_FORMAT,
           "1 x 2 numbers take 8 bytes, the file holds 4");
    refuse(__LINE__, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", 12, JSC_E_FORMAT, "take 8 bytes, the file holds 12");
    refuse(__LINE__, "{'descr': '<f4', 'fortran_order': False, 'shape': (0,), }", 0, JSC_E_FORMAT, "makes no sense");
    refuse(__LINE__, "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }", 4, JSC_E_FORMAT, "makes no sense");
    refuse(__LINE__, "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999999,), }", 4, JSC_E_FORMAT,
           "shape cannot be read");
    refuse(__LINE__, "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", 4, JSC_E_FORMAT, "shape cannot be read");
    refuse(__LINE__, "{'descr': '<f4', 'fortran_order': False, 'shape': (1 1), }", 4, JSC_E_FORMAT, "shape cannot be read");
    refuse(__LINE__, "{'descr': '<f4', 'shape': (1,), }", 4, JSC_E_FORMAT, "must hold descr, fortran_order and shape");
    refuse(__LINE__, "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", 4, JSC_E_FORMAT,
           "descr is unknown or given twice");
    refuse(__LINE__, "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), } x", 4, JSC_E_FORMAT, "nothing else");
    refuse(__LINE__, "'descr'", 4, JSC_E_FORMAT, "not a dict");
    refuse(__LINE__, "{'descr': '<f4'", 4, JSC_E_FORMAT, "cannot be read");
}

Test(npy, header_and_values)
{
    double *out = NULL;
    size_t rows = 0, columns = 0;
    jsc_error error = {0};
    const float bad[2] = {1.0f, NAN};
    expect_refusal(read_array(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", bad, 8, &out, &rows, &columns, &error),
                   JSC_E_NUMERIC, &error, "element 1 of row 0 is not finite");
    expect_refusal(read_array(9, "{}", bad, 8, &out, &rows, &columns, &error), JSC_E_UNSUPPORTED, &error, ".npy format 9.0");
    tiny_write(tiny_path(folder, "x.npy"), "\x93NUMPY\1\0\xff\xff", 10);
    expect_refusal(npy_read(tiny_path(folder, "x.npy"), &out, &rows, &columns, &error), JSC_E_FORMAT, &error,
                   "header of 65535 bytes in a file of 10");
    tiny_write(tiny_path(folder, "x.npy"), "\x93NUMPY\2\0\xff\xff\xff\xff", 12);
    expect_refusal(npy_read(tiny_path(folder, "x.npy"), &out, &rows, &columns, &error), JSC_E_FORMAT, &error, "header of 4294967295 bytes");
    tiny_write(tiny_path(folder, "x.npy"), "PK\3\4 not an array", 18);
    expect_refusal(npy_read(tiny_path(folder, "x.npy"), &out, &rows, &columns, &error), JSC_E_FORMAT, &error, "not a .npy file");
    expect_refusal(npy_read(tiny_path(folder, "none.npy"), &out, &rows, &columns, &error), JSC_E_FILE, &error, "none.npy");
}

Test(npy, every_allocation_may_fail)
{
    const float f[2] = {1, 2};
    const size_t before = mem_live_bytes();
    double *out = NULL;
    size_t rows, columns;
    jsc_error error = {0};
    cr_assert(eq(int,
                 read_array(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", f, sizeof f, &out, &rows, &columns, &error),
                 JSC_OK));
    mem_free(out);
    for (long k = 1; k <= 3; k++) {
        mem_fail_at(k, false);
        const jsc_status status = npy_read(tiny_path(folder, "x.npy"), &out, &rows, &columns, &error);
        mem_fail_at(0, false);
        expect_refusal(status, JSC_E_MEMORY, &error, "memory");
        cr_assert(mem_live_bytes() == before, "allocation %ld leaks", k);
    }
}
