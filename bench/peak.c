/* peak.c: the process's resident memory: now, and the most since a row began. */
#include "bench.h"
#include "resident.h"

#include <malloc.h>

static double mark; /* VmHWM that a row must exceed to say anything; 0 after a reset */

double peak_base(void)
{
    (void)malloc_trim(0);
    return resident_bytes("VmRSS");
}

/* Where the kernel does not allow a reset, only a row that needs more than all before it can be told. */
void peak_begin(void)
{
    (void)malloc_trim(0);
    mark = resident_forget_peak() ? 0.0 : resident_bytes("VmHWM");
}

double peak_since(double base)
{
    const double most = resident_bytes("VmHWM");
    return most > mark && base >= 0.0 && most >= base ? most - base : -1.0;
}
