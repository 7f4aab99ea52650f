/* test_precision.c: which precision a cpu device takes, and what the plan may rely on in each: element sizes, bytes of weights, scratch. */
#include "testing.h"

#include "cpu_internal.h"

static struct jsc_device *open_cpu(jsc_precision precision, const char *how)
{
    const struct device_options options = {.precision = precision, .threads = 2};
    struct jsc_device *device = NULL;
    jsc_error error = {0};
    (void)(how != NULL ? setenv(env_name(ENV_CPU_FAST), how, 1) : unsetenv(env_name(ENV_CPU_FAST)));
    cr_assert(eq(int, ops_cpu.device_open(&options, &device, &error), JSC_OK), "%s", error.text);
    return device;
}

Test(precision, strict_and_auto_are_float32)
{
    const jsc_precision asked[] = {JSC_PRECISION_STRICT, JSC_PRECISION_AUTO};
    for (int i = 0; i < 4; i++) {
        struct jsc_device *device = open_cpu(asked[i / 2], i % 2 ? "emulate" : NULL);
        struct jsc_stream *stream = NULL;
        cr_expect(eq(int, device->precision, JSC_PRECISION_STRICT));
        cr_assert(ops_cpu.stream_open(device, &stream, NULL) == JSC_OK);
        cr_expect(stream->one_type && stream->size_of[ROLE_COT] == 4 && strstr(device->description, "bfloat16") == NULL, "%s",
                  device->description);
        ops_cpu.stream_close(stream);
        ops_cpu.device_close(device);
    }
}

Test(precision, fast_is_real_or_strict)
{
    struct jsc_device *device = open_cpu(JSC_PRECISION_FAST, NULL);
    struct cpu_device *cpu = (struct cpu_device *)device;
    if (device->precision == JSC_PRECISION_FAST) {
        cr_expect(cpu->native && cpu->cot == 2 && precision_multiplies_right(cpu));
    } else {
        cr_expect(cpu->cot == 4 && !cpu->native && strstr(device->description, "bfloat16") == NULL, "%s", device->description);
        cr_log_info("no native bfloat16 here: oneDNN's own kernels are not tested");
    }
    ops_cpu.device_close(device);
    device = open_cpu(JSC_PRECISION_FAST, "yes"); /* no other word means anything */
    cr_expect(eq(int, ((struct cpu_device *)device)->native, device->precision == JSC_PRECISION_FAST));
    ops_cpu.device_close(device);
}

Test(precision, emulation_keeps_bfloat16_and_multiplies_right)
{
    for (int builtin = 0; builtin < 2; builtin++) {
        (void)(builtin ? setenv(env_name(ENV_CPU_GEMM), "builtin", 1) : unsetenv(env_name(ENV_CPU_GEMM)));
        struct jsc_device *device = open_cpu(JSC_PRECISION_FAST, "emulate");
        struct jsc_stream *stream = NULL;
        cr_expect(eq(int, device->precision, JSC_PRECISION_FAST));
        cr_expect(strstr(device->description, "bfloat16 emulated") != NULL, "%s", device->description);
        cr_assert(ops_cpu.stream_open(device, &stream, NULL) == JSC_OK);
        cr_expect(stream->size_of[ROLE_COT] == 2 && !stream->one_type && stream->size_of[ROLE_REAL] == 4 && stream->size_of[ROLE_ACT] == 4);
        cr_expect(precision_multiplies_right((struct cpu_device *)device));
        ops_cpu.stream_close(stream);
        ops_cpu.device_close(device);
    }
}

/* The trial must be able to fail: a device that claims what the processor has not. */
Test(precision, the_trial_product_notices_what_is_not_there)
{
    struct jsc_device *device = open_cpu(JSC_PRECISION_FAST, "emulate");
    struct cpu_device *cpu = (struct cpu_device *)device;
    cpu->native = true;
    if (cpu->engine != NULL)
        cr_expect(eq(int, precision_multiplies_right(cpu), onednn_has_bf16(cpu->engine)));
    ops_cpu.device_close(device);
}

Test(precision, bytes_of_weights_are_foreseen)
{
    static float values[64 * 48];
    const struct weight_part part = {
        .bytes = values, .type = DTYPE_F32, .n = 64, .row_bytes = 48 * sizeof(float), .scale = 1.0, .name = "w"};
    uint64_t bytes[2][8];
    for (int fast = 0; fast < 2; fast++) {
        struct jsc_device *device = open_cpu(fast ? JSC_PRECISION_FAST : JSC_PRECISION_STRICT, "emulate");
        for (unsigned uses = 1; uses < 8; uses++) {
            struct jsc_weight *w = NULL;
            cr_assert(ops_cpu.weight_make(device, &part, 1, 48, uses, NULL, &w, NULL) == JSC_OK);
            bytes[fast][uses] = ops_cpu.weight_bytes(device, DTYPE_F32, 64, 48, uses);
            cr_expect(eq(u64, w->bytes, bytes[fast][uses]), "uses %u, %s", uses, fast ? "fast" : "strict");
            ops_cpu.weight_free(device, w);
        }
        ops_cpu.device_close(device);
    }
    cr_expect(eq(u64, bytes[1][USE_FORWARD], bytes[0][USE_FORWARD]));
    cr_expect(bytes[1][USE_VJP] >= 64 * 48 * 6, "floats and bfloat16");
}

/* Floats of dk and dv stay in scratch between tiles of queries; neither B nor T squared may show. */
Test(precision, scratch_of_attention_is_bounded)
{
    struct jsc_device *strict = open_cpu(JSC_PRECISION_STRICT, NULL), *fast = open_cpu(JSC_PRECISION_FAST, "emulate");
    const size_t one_tile = ops_cpu.attention_vjp_scratch(strict, 1, 96, 64, 9, 3, 64), carry = (size_t)2 << 22;
    cr_expect(eq(sz, ops_cpu.attention_vjp_scratch(fast, 1, 96, 64, 9, 3, 64), one_tile));
    for (int T = 97; T < 5000; T = T * 2 + 1) {
        const size_t plain = ops_cpu.attention_vjp_scratch(strict, 1, T, 1000, 9, 3, 64),
                     more = ops_cpu.attention_vjp_scratch(fast, 1, T, 1000, 9, 3, 64);
        cr_expect(more >= plain && more - plain <= carry, "T = %d: %zu and %zu bytes", T, plain, more);
    }
    ops_cpu.device_close(strict);
    ops_cpu.device_close(fast);
}
