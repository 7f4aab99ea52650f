/* test_directions_file.c: directions from a .npy file through the public functions. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base_internal.h"

#include <jscopes/jscopes.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Writes rows x columns float64 values 0, 1, 2 ... */
static void write_npy(const char *path, int rows, int columns)
{
    char head[128];
    FILE *file = fopen(path, "wb");
    cr_assert(file != NULL);
    memset(head, ' ', sizeof head);
    memcpy(head, "\x93NUMPY\x01\x00\x76\x00", 10);
    const int n = snprintf(head + 10, sizeof head - 10, "{'descr': '<f8', 'fortran_order': False, 'shape': (%d, %d), }", rows, columns);
    head[10 + n] = ' ';
    head[127] = '\n';
    fwrite(head, 1, sizeof head, file);
    for (int i = 0; i < rows * columns; i++) {
        const double value = i;
        fwrite(&value, sizeof value, 1, file);
    }
    cr_assert(eq(int, fclose(file), 0));
}

Test(directions_file, rows_and_columns)
{
    char path[] = "/tmp/jsc_directionsXXXXXX";
    double *values = NULL;
    size_t rows = 0, columns = 0;
    jsc_error error = {0};
    close(mkstemp(path));
    write_npy(path, 2, 3);
    cr_assert(eq(int, jsc_directions_read(path, &values, &rows, &columns, &error), JSC_OK), "%s", error.text);
    unlink(path);
    cr_expect(eq(sz, rows, 2));
    cr_expect(eq(sz, columns, 3));
    for (int i = 0; i < 6; i++)
        cr_expect(eq(dbl, values[i], (double)i));
    jsc_directions_free(values);
    cr_expect(eq(sz, mem_live_bytes(), 0));
}

Test(directions_file, failures_leave_the_outputs_alone)
{
    double *values = NULL;
    size_t rows = 7, columns = 8;
    jsc_error error = {0};
    cr_expect(eq(int, jsc_directions_read("/nonexistent.npy", &values, &rows, &columns, &error), JSC_E_FILE));
    cr_expect(strstr(error.text, "/nonexistent.npy") != NULL, "%s", error.text);
    cr_expect(eq(int, jsc_directions_read("/proc/self/cmdline", &values, &rows, &columns, &error), JSC_E_FORMAT));
    cr_expect(eq(int, jsc_directions_read(NULL, &values, &rows, &columns, &error), JSC_E_ARGUMENT));
    cr_expect(values == NULL);
    cr_expect(eq(sz, rows, 7));
    cr_expect(eq(sz, columns, 8));
    jsc_directions_free(NULL);
}
