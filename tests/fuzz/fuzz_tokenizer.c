/* fuzz_tokenizer.c: libFuzzer entry: any bytes as tokenizer.json. */
#include "parse_all.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    jsc_error error = {0};
    (void)parse_tokenizer("tokenizer.json", (const char *)bytes, n, &error);
    return 0;
}
