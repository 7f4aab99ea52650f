/* directions_file.c: directions that the caller has in a .npy file. */
#include "scopes_internal.h"
#include "files_internal.h"

jsc_status jsc_directions_read(const char *path, double **out, size_t *rows, size_t *columns, jsc_error *error)
{
    if (path == NULL || out == NULL || rows == NULL || columns == NULL)
        return status_set(error, JSC_E_ARGUMENT, "directions: a file name and places for the array and its two sizes are needed");
    return npy_read(path, out, rows, columns, error);
}

void jsc_directions_free(double *directions)
{
    mem_free(directions);
}
