/* simt_report.cpp: settings from the environment, and the first fault of a run in words. */
#include "simt_engine.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>

static unsigned long long number_of(const char *name, unsigned long long otherwise)
{
    const char *text = getenv(name);
    return text && *text ? strtoull(text, nullptr, 0) : otherwise;
}

struct simt_settings simt_settings = {
    (unsigned)number_of("SIMT_SEED", 0),
    number_of("SIMT_LAZY", 0) != 0,
    number_of("SIMT_PROTECT", 0) != 0,
    number_of("SIMT_QUIET", 0) != 0,
    (size_t)number_of("SIMT_MEMORY", 8ull << 30),
    (long)number_of("SIMT_FAIL", 0),
    (size_t)number_of("SIMT_SHARED", 232448),
    (int)number_of("SIMT_CAPABILITY", 90),
    (int)number_of("SIMT_DEVICES", 1),
    CUDART_VERSION,
    22809,
    60.0,
};

static char message[1024];

const char *simt_message(void)
{
    return message;
}

static bool lost;

bool simt_lost()
{
    return lost;
}
void simt_set_lost(bool now)
{
    lost = now;
}

void simt_lose(void)
{
    struct simt_guard guard;
    lost = true;
}

void simt_record(const char *format, ...)
{
    if (message[0])
        return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    if (!simt_settings.quiet)
        fprintf(stderr, "simt: %s\n", message);
}

void simt_reset(void)
{
    struct simt_guard guard;
    simt_drop_queues();
    message[0] = 0;
    lost = false;
    cudaGetLastError();
}
