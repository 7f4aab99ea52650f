/* fuzz_safetensors.c: libFuzzer entry: any bytes as a .safetensors file. */
#include "parse_all.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    jsc_error error = {0};
    (void)parse_safetensors_file(memory_file(bytes, n), &error);
    return 0;
}
