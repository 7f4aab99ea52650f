/* peak.c: the process's resident memory: now, and the most since a row began. */
#include "bench.h"

#include <malloc.h>
#include <stdio.h>
#include <string.h>

static double mark; /* VmHWM that a row must exceed to say anything; 0 after a reset */

/* A field of /proc/self/status in bytes, -1 if there is none. */
static double status_bytes(const char *field)
{
    char line[256];
    double kilobytes = -1.0;
    FILE *f = fopen("/proc/self/status", "r");
    if (f == NULL)
        return -1.0;
    while (kilobytes < 0.0 && fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, field, strlen(field)) == 0 && sscanf(line + strlen(field), ": %lf kB", &kilobytes) != 1)
            kilobytes = -1.0;
    (void)fclose(f);
    return kilobytes < 0.0 ? -1.0 : kilobytes * 1024.0;
}

double peak_base(void)
{
    (void)malloc_trim(0);
    return status_bytes("VmRSS");
}

/* Where the kernel does not allow a reset, only a row that needs more than all before it can be told. */
void peak_begin(void)
{
    (void)malloc_trim(0);
    FILE *f = fopen("/proc/self/clear_refs", "w");
    bool reset = f != NULL && fputs("5", f) >= 0;
    if (f != NULL)
        reset = fclose(f) == 0 && reset;
    mark = reset ? 0.0 : status_bytes("VmHWM");
}

double peak_since(double base)
{
    const double most = status_bytes("VmHWM");
    return most > mark && base >= 0.0 && most >= base ? most - base : -1.0;
}
