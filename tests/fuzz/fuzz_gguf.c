/* fuzz_gguf.c: libFuzzer entry: any bytes as a GGUF file, its configuration and tokeniser. */
#include "parse_all.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    jsc_error error = {0};
    (void)parse_gguf(memory_file(bytes, n), &error);
    return 0;
}
