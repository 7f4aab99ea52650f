/* fuzz_attribution.c: libFuzzer entry: any bytes as a saved result. */
#include "parse_report.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    jsc_error error = {0};
    (void)parse_report((const char *)bytes, n, &error);
    return 0;
}
