/* resident.h: resident memory of this process, now and at its peak, for tests and benchmarks. */
#ifndef JSC_RESIDENT_H
#define JSC_RESIDENT_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* A field of /proc/self/status ("VmRSS", "VmHWM") in bytes, -1 if there is none. */
static inline double resident_bytes(const char *field)
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

/* The peak begins anew; false where the kernel does not offer that. */
static inline bool resident_forget_peak(void)
{
    FILE *f = fopen("/proc/self/clear_refs", "w");
    const bool done = f != NULL && fputs("5", f) >= 0;
    return f != NULL && fclose(f) == 0 && done;
}

#endif
