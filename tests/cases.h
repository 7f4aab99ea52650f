/* cases.h: the one table of operation x shape, shared by tests and benchmarks. Awkward shapes first, then those of a real model.
 *
 * A case holds no pointers: Criterion hands it to another process. Fields that an operation does not use are 0; S, T and B that are 0
 * mean 1. To add a case: a row. Rows marked `real` are at the size of SmolLM2-135M, which the float64 reference takes minutes for:
 * tests cut them by case_for_test(), benchmarks take them as they are. */
#ifndef JSC_CASES_H
#define JSC_CASES_H

#include "ops.h"

enum case_op {
    OP_EMBED,
    OP_NORM,
    OP_MATMUL,
    OP_PART_NORM,
    OP_ROPE,
    OP_ATTENTION,
    OP_GATE,
    OP_ADD,
    OP_HEAD_VJP,
    OP_MATMUL_VJP,
    OP_NORM_VJP,
    OP_NORM_PULL,
    OP_PART_NORM_VJP,
    OP_GATE_VJP,
    OP_MLP_COLLAPSE,
    OP_ATTENTION_VJP,
    OP_ROPE_VJP,
    OP_SCATTER,
    OP_FISHER_ROWS,
    OP_GRAM,
    OP_FISHER_APPLY,
    OP_PROBES,
    OP_COUNT
};
/* clang-format off: a row is a case */
static const char *const case_op_names[OP_COUNT] = {
    "embed",     "norm",          "matmul",   "part_norm",    "rope",          "attention", "gate",    "add",         "head_vjp", "matmul_vjp",   "norm_vjp",
    "norm_pull", "part_norm_vjp", "gate_vjp", "mlp_collapse", "attention_vjp", "rope_vjp",  "scatter", "fisher_rows", "gram",     "fisher_apply", "probes",
};
/* Which rows of a gradient live: all; those of one position per right-hand side (top block); those up to one (matrix). */
enum case_live { LIVE_ALL, LIVE_TOP, LIVE_LAST };

struct op_case {
    enum case_op op;
    char name[32];
    int S, T, B;     /* sequences, tokens, right-hand sides */
    int d, f;        /* matmul: k and n_out; else width and MLP width */
    int H, K, h;     /* heads, kv heads, head size */
    int window, rot; /* 0: none; rotated components */
    int V, n;        /* rows of the head; tokens or terms used of it (fisher, head_vjp) */
    int slab;        /* right-hand sides at once out of B; 0: all */
    double cap;      /* 0: none */
    double scale;    /* attention: of scores; 0: 1/sqrt(h) */
    enum norm_kind norm;
    enum act_kind act;
    enum rope_layout rope;
    enum mlp_form form;
    enum case_live live;
    bool gated, bias, accumulate, slope, real;
    bool own, one_part; /* part_norm: weights of each head's own; one part over all heads */
    bool apart;         /* G is an array of its own where it may be R; mlp_collapse: dy is, G is not wanted */
    bool turned;        /* the second part of a weight is stored [k][n] and scaled */
};

static const struct op_case op_cases[] = {
    {OP_EMBED, "one row", .T = 1, .d = 1, .V = 3},
    {OP_EMBED, "odd width", .T = 9, .d = 33, .V = 17},
    {OP_EMBED, "wide", .T = 3, .d = 2056, .V = 7},
    {OP_EMBED, "turned", .T = 9, .d = 33, .V = 17, .turned = true},
    {OP_EMBED, "smollm2", .T = 128, .d = 576, .V = 4096, .real = true},

    {OP_NORM, "one element", .T = 1, .d = 1},
    {OP_NORM, "one row", .T = 1, .d = 8},
    {OP_NORM, "odd width", .S = 2, .T = 3, .d = 33},
    {OP_NORM, "layer, one element", .T = 1, .d = 1, .norm = NORM_LAYER, .bias = true},
    {OP_NORM, "layer, odd width", .T = 5, .d = 33, .norm = NORM_LAYER, .bias = true},
    {OP_NORM, "layer, no bias", .T = 4, .d = 64, .norm = NORM_LAYER},
    {OP_NORM, "two pieces a lane", .T = 3, .d = 400},
    {OP_NORM, "four pieces a lane, odd", .T = 5, .d = 1023, .norm = NORM_LAYER, .bias = true},
    {OP_NORM, "a block, odd", .T = 3, .d = 1031},
    {OP_NORM, "a block, full", .T = 2, .d = 2048, .norm = NORM_LAYER},
    {OP_NORM, "a large block", .T = 2, .d = 2056},
    {OP_NORM, "two pieces a thread", .T = 2, .d = 4104, .norm = NORM_LAYER, .bias = true},
    {OP_NORM, "four pieces a thread", .T = 1, .d = 16384},
    {OP_NORM, "none, odd width", .S = 2, .T = 3, .d = 33, .norm = NORM_NONE},
    {OP_NORM, "none, vectors", .T = 5, .d = 64, .norm = NORM_NONE},
    {OP_NORM, "smollm2", .T = 23, .d = 576, .real = true},
    {OP_NORM, "smollm2, long", .T = 128, .d = 576, .real = true},

    {OP_MATMUL, "1 x 1 x 1", .T = 1, .d = 1, .f = 1},
    {OP_MATMUL, "one row", .T = 1, .d = 64, .f = 32},
    {OP_MATMUL, "odd everything", .T = 7, .d = 33, .f = 65},
    {OP_MATMUL, "bias", .T = 5, .d = 24, .f = 19, .bias = true},
    {OP_MATMUL, "accumulate", .T = 17, .d = 48, .f = 40, .accumulate = true},
    {OP_MATMUL, "accumulate, bias", .T = 3, .d = 31, .f = 9, .bias = true, .accumulate = true},
    {OP_MATMUL, "sequences", .S = 3, .T = 11, .d = 40, .f = 72},
    {OP_MATMUL, "many rows, just over tiles", .T = 131, .d = 97, .f = 49},
    {OP_MATMUL, "few rows, three lanes wide", .T = 23, .d = 403, .f = 77},
    {OP_MATMUL, "few rows, two strips, adds", .T = 33, .d = 96, .f = 130, .accumulate = true},
    {OP_MATMUL, "few rows, the most", .S = 4, .T = 24, .d = 97, .f = 9, .bias = true},
    {OP_MATMUL, "turned", .T = 9, .d = 40, .f = 33, .turned = true},
    {OP_MATMUL, "turned, bias, accumulate", .T = 130, .d = 65, .f = 48, .bias = true, .accumulate = true, .turned = true},
    {OP_MATMUL, "smollm2 qkv", .T = 23, .d = 576, .f = 960, .real = true},
    {OP_MATMUL, "smollm2 o", .T = 23, .d = 576, .f = 576, .accumulate = true, .real = true},
    {OP_MATMUL, "smollm2 up", .T = 23, .d = 576, .f = 3072, .real = true},
    {OP_MATMUL, "smollm2 down", .T = 23, .d = 1536, .f = 576, .accumulate = true, .real = true},
    {OP_MATMUL, "smollm2 up, long", .T = 128, .d = 576, .f = 3072, .real = true},

    {OP_PART_NORM, "one element", .T = 1, .H = 1, .K = 1, .h = 1},
    {OP_PART_NORM, "layer, one element", .T = 1, .H = 1, .K = 1, .h = 1, .norm = NORM_LAYER, .bias = true},
    {OP_PART_NORM, "h = 8", .S = 2, .T = 3, .H = 4, .K = 2, .h = 8},
    {OP_PART_NORM, "odd width", .T = 5, .H = 3, .K = 1, .h = 7},
    {OP_PART_NORM, "h = 12, layer, own, bias", .S = 2, .T = 2, .H = 3, .K = 2, .h = 12, .norm = NORM_LAYER, .own = true, .bias = true},
    {OP_PART_NORM, "h = 20, own", .T = 4, .H = 5, .K = 1, .h = 20, .own = true},
    {OP_PART_NORM, "h = 64, layer, own", .T = 5, .H = 5, .K = 5, .h = 64, .norm = NORM_LAYER, .own = true},
    {OP_PART_NORM, "h = 80", .T = 3, .H = 3, .K = 1, .h = 80, .bias = true},
    {OP_PART_NORM, "h = 96, layer, bias", .T = 3, .H = 2, .K = 2, .h = 96, .norm = NORM_LAYER, .bias = true},
    {OP_PART_NORM, "h = 200, own", .T = 3, .H = 2, .K = 1, .h = 200, .own = true},
    {OP_PART_NORM, "h = 333", .T = 2, .H = 2, .K = 1, .h = 333},
    {OP_PART_NORM, "h = 512, layer", .T = 2, .H = 2, .K = 1, .h = 512, .norm = NORM_LAYER},
    {OP_PART_NORM, "one part, odd", .S = 2, .T = 3, .H = 3, .K = 1, .h = 11, .one_part = true},
    {OP_PART_NORM, "one part, layer", .T = 3, .H = 9, .K = 3, .h = 64, .norm = NORM_LAYER, .bias = true, .one_part = true},
    {OP_PART_NORM, "one part, 5120 and 1024", .T = 2, .H = 40, .K = 8, .h = 128, .one_part = true},
    {OP_PART_NORM, "one part, 8192", .T = 2, .H = 64, .K = 1, .h = 128, .one_part = true},
    {OP_PART_NORM, "one part, 16384", .T = 1, .H = 128, .K = 1, .h = 128, .norm = NORM_LAYER, .one_part = true},
    {OP_PART_NORM, "qwen3 0.6b", .T = 128, .H = 16, .K = 8, .h = 128, .real = true},
    {OP_PART_NORM, "gemma 3 1b", .T = 128, .H = 4, .K = 1, .h = 256, .real = true},
    {OP_PART_NORM, "olmo 2 1b", .T = 128, .H = 16, .K = 16, .h = 128, .one_part = true, .real = true},

    {OP_ROPE, "one pair", .T = 1, .H = 1, .K = 1, .h = 2, .rot = 2},
    {OP_ROPE, "gqa", .T = 5, .H = 4, .K = 2, .h = 8, .rot = 8},
    {OP_ROPE, "part, odd head", .S = 2, .T = 7, .H = 3, .K = 1, .h = 7, .rot = 4},
    {OP_ROPE, "interleaved", .T = 6, .H = 2, .K = 2, .h = 16, .rot = 16, .rope = ROPE_INTERLEAVED},
    {OP_ROPE, "interleaved, part", .S = 2, .T = 3, .H = 2, .K = 1, .h = 9, .rot = 6, .rope = ROPE_INTERLEAVED},
    {OP_ROPE, "part, vectors", .S = 2, .T = 3, .H = 2, .K = 1, .h = 32, .rot = 16},
    {OP_ROPE, "h = 8, interleaved, half of it", .S = 2, .T = 5, .H = 4, .K = 2, .h = 8, .rot = 4, .rope = ROPE_INTERLEAVED},
    {OP_ROPE, "h = 12", .T = 9, .H = 4, .K = 2, .h = 12, .rot = 12},
    {OP_ROPE, "h = 20, ten turned", .T = 5, .H = 2, .K = 1, .h = 20, .rot = 10},
    {OP_ROPE, "h = 20, ten turned, interleaved", .T = 5, .H = 2, .K = 1, .h = 20, .rot = 10, .rope = ROPE_INTERLEAVED},
    {OP_ROPE, "h = 64, a quarter", .T = 5, .H = 3, .K = 3, .h = 64, .rot = 16},
    {OP_ROPE, "h = 80, 32 turned", .S = 2, .T = 3, .H = 2, .K = 2, .h = 80, .rot = 32},
    {OP_ROPE, "h = 96", .T = 4, .H = 2, .K = 2, .h = 96, .rot = 96},
    {OP_ROPE, "h = 128, half, interleaved", .T = 4, .H = 4, .K = 2, .h = 128, .rot = 64, .rope = ROPE_INTERLEAVED},
    {OP_ROPE, "h = 256, K = 1", .T = 3, .H = 4, .K = 1, .h = 256, .rot = 256},
    {OP_ROPE, "smollm2", .T = 128, .H = 9, .K = 3, .h = 64, .rot = 64, .real = true},

    {OP_ATTENTION, "one token", .T = 1, .H = 1, .K = 1, .h = 1},
    {OP_ATTENTION, "K = 1", .T = 9, .H = 4, .K = 1, .h = 8},
    {OP_ATTENTION, "K = H, odd head", .T = 10, .H = 3, .K = 3, .h = 7},
    {OP_ATTENTION, "window 1", .T = 5, .H = 2, .K = 1, .h = 8, .window = 1},
    {OP_ATTENTION, "window", .T = 19, .H = 4, .K = 2, .h = 16, .window = 5},
    {OP_ATTENTION, "window longer than T", .T = 6, .H = 2, .K = 2, .h = 8, .window = 9},
    {OP_ATTENTION, "cap that bites", .T = 12, .H = 2, .K = 1, .h = 8, .cap = 0.75},
    {OP_ATTENTION, "sequences, cap, window", .S = 3, .T = 8, .H = 6, .K = 2, .h = 5, .window = 3, .cap = 1.5},
    {OP_ATTENTION, "long", .T = 203, .H = 2, .K = 1, .h = 8},
    {OP_ATTENTION, "long, window", .T = 203, .H = 2, .K = 2, .h = 8, .window = 37},
    {OP_ATTENTION, "h = 128, group of 3", .S = 2, .T = 70, .H = 3, .K = 1, .h = 128},
    {OP_ATTENTION, "h = 200, window, cap", .T = 133, .H = 2, .K = 2, .h = 200, .window = 80, .cap = 2.0},
    {OP_ATTENTION, "h = 12, K = 1, window, cap", .S = 2, .T = 20, .H = 3, .K = 1, .h = 12, .window = 6, .cap = 1.5},
    {OP_ATTENTION, "h = 20, scores unscaled", .T = 17, .H = 4, .K = 2, .h = 20, .scale = 1.0},
    {OP_ATTENTION, "h = 16, scaled by 1/64", .T = 18, .H = 2, .K = 2, .h = 16, .scale = 0.015625},
    {OP_ATTENTION, "h = 64, K = H, window, cap", .T = 70, .H = 2, .K = 2, .h = 64, .window = 20, .cap = 2.0},
    {OP_ATTENTION, "h = 80, K = H", .T = 40, .H = 2, .K = 2, .h = 80},
    {OP_ATTENTION, "h = 96, window", .T = 70, .H = 2, .K = 1, .h = 96, .window = 33},
    {OP_ATTENTION, "h = 256, K = 1, window", .T = 67, .H = 4, .K = 1, .h = 256, .window = 21},
    {OP_ATTENTION, "h = 256, cap, window", .T = 40, .H = 2, .K = 1, .h = 256, .window = 9, .cap = 2.0},
    {OP_ATTENTION, "smollm2", .T = 23, .H = 9, .K = 3, .h = 64, .real = true},
    {OP_ATTENTION, "smollm2, long", .T = 128, .H = 9, .K = 3, .h = 64, .real = true},

    {OP_GATE, "one element", .T = 1, .f = 1, .gated = true},
    {OP_GATE, "silu", .T = 5, .f = 33, .gated = true},
    {OP_GATE, "gelu tanh", .T = 4, .f = 48, .gated = true, .act = ACT_GELU_TANH},
    {OP_GATE, "gelu erf", .T = 3, .f = 31, .gated = true, .act = ACT_GELU_ERF},
    {OP_GATE, "relu", .T = 3, .f = 17, .gated = true, .act = ACT_RELU},
    {OP_GATE, "plain silu", .T = 2, .f = 19, .act = ACT_SILU},
    {OP_GATE, "plain gelu tanh", .S = 2, .T = 3, .f = 29, .act = ACT_GELU_TANH},
    {OP_GATE, "plain gelu erf", .T = 3, .f = 64, .act = ACT_GELU_ERF},
    {OP_GATE, "plain relu", .T = 1, .f = 9, .act = ACT_RELU},
    {OP_GATE, "silu, vectors", .T = 3, .f = 1028, .gated = true},
    {OP_GATE, "gelu tanh, vectors", .T = 3, .f = 264, .gated = true, .act = ACT_GELU_TANH},
    {OP_GATE, "plain gelu tanh, vectors", .T = 3, .f = 3072, .act = ACT_GELU_TANH},
    {OP_GATE, "plain relu, vectors", .T = 3, .f = 264, .act = ACT_RELU},
    {OP_GATE, "smollm2", .T = 128, .f = 1536, .gated = true, .real = true},

    {OP_ADD, "one element", .T = 1, .d = 1},
    {OP_ADD, "odd", .T = 7, .d = 33},
    {OP_ADD, "smollm2", .T = 128, .d = 576, .real = true},

    {OP_HEAD_VJP, "one entry each", .B = 5, .d = 33, .V = 20, .n = 1},
    {OP_HEAD_VJP, "contrast", .B = 3, .d = 16, .V = 9, .n = 2},
    {OP_HEAD_VJP, "all rows", .B = 2, .d = 24, .V = 301, .n = 301},
    {OP_HEAD_VJP, "wide", .B = 3, .d = 2056, .V = 12, .n = 3},
    {OP_HEAD_VJP, "several segments", .B = 9, .d = 33, .V = 40, .n = 300},
    {OP_HEAD_VJP, "longer than a launch", .B = 3, .d = 8, .V = 9, .n = 24000},
    {OP_HEAD_VJP, "turned", .B = 3, .d = 33, .V = 20, .n = 9, .turned = true},
    {OP_HEAD_VJP, "smollm2, log-probability", .B = 4, .d = 576, .V = 4096, .n = 4096, .real = true},

    {OP_MATMUL_VJP, "1 x 1 x 1", .T = 1, .B = 1, .d = 1, .f = 1},
    {OP_MATMUL_VJP, "B = 1", .T = 9, .B = 1, .d = 32, .f = 48},
    {OP_MATMUL_VJP, "odd everything", .T = 3, .B = 7, .d = 33, .f = 65},
    {OP_MATMUL_VJP, "accumulate", .T = 2, .B = 5, .d = 40, .f = 24, .accumulate = true},
    {OP_MATMUL_VJP, "sequences", .S = 2, .T = 5, .B = 3, .d = 64, .f = 17},
    {OP_MATMUL_VJP, "many rows, just over tiles", .T = 13, .B = 11, .d = 49, .f = 97},
    {OP_MATMUL_VJP, "slabs, the last one short", .T = 5, .B = 7, .d = 33, .f = 40, .slab = 3},
    {OP_MATMUL_VJP, "slabs, sequences", .S = 2, .T = 3, .B = 4, .d = 24, .f = 19, .slab = 2},
    {OP_MATMUL_VJP, "turned", .T = 5, .B = 3, .d = 40, .f = 33, .turned = true},
    {OP_MATMUL_VJP, "turned, accumulate", .T = 13, .B = 11, .d = 65, .f = 48, .accumulate = true, .turned = true},
    {OP_MATMUL_VJP, "smollm2 qkv", .T = 23, .B = 64, .d = 576, .f = 960, .real = true},
    {OP_MATMUL_VJP, "smollm2 up", .T = 23, .B = 64, .d = 576, .f = 3072, .real = true},
    {OP_MATMUL_VJP, "smollm2 down", .T = 23, .B = 64, .d = 1536, .f = 576, .real = true},
    {OP_MATMUL_VJP, "smollm2 up, temperature", .T = 23, .B = 1, .d = 576, .f = 3072, .real = true},

    {OP_NORM_VJP, "one element", .T = 1, .B = 1, .d = 1},
    {OP_NORM_VJP, "B = 1", .T = 4, .B = 1, .d = 16},
    {OP_NORM_VJP, "odd width", .S = 2, .T = 3, .B = 5, .d = 33},
    {OP_NORM_VJP, "top", .S = 2, .T = 4, .B = 3, .d = 24, .live = LIVE_TOP},
    {OP_NORM_VJP, "layer", .T = 3, .B = 2, .d = 33, .norm = NORM_LAYER},
    {OP_NORM_VJP, "layer, top", .T = 5, .B = 7, .d = 40, .norm = NORM_LAYER, .live = LIVE_TOP},
    {OP_NORM_VJP, "slabs, the last one short", .S = 2, .T = 3, .B = 5, .d = 33, .slab = 2},
    {OP_NORM_VJP, "layer, slabs", .T = 4, .B = 4, .d = 24, .norm = NORM_LAYER, .slab = 3},
    {OP_NORM_VJP, "many right-hand sides", .T = 2, .B = 37, .d = 64},
    {OP_NORM_VJP, "two pieces a lane, slabs", .S = 2, .T = 2, .B = 5, .d = 400, .slab = 2},
    {OP_NORM_VJP, "four pieces a lane, odd", .T = 2, .B = 3, .d = 1023, .norm = NORM_LAYER},
    {OP_NORM_VJP, "a block, odd", .T = 2, .B = 17, .d = 1031},
    {OP_NORM_VJP, "a block, slabs", .T = 2, .B = 5, .d = 2048, .norm = NORM_LAYER, .slab = 3},
    {OP_NORM_VJP, "a large block, top", .S = 2, .T = 3, .B = 2, .d = 2056, .live = LIVE_TOP},
    {OP_NORM_VJP, "two pieces a thread", .T = 1, .B = 17, .d = 4104, .norm = NORM_LAYER},
    {OP_NORM_VJP, "four pieces a thread", .T = 1, .B = 2, .d = 16384},
    {OP_NORM_VJP, "none, odd width", .S = 2, .T = 3, .B = 5, .d = 33, .norm = NORM_NONE},
    {OP_NORM_VJP, "none, top", .S = 2, .T = 4, .B = 3, .d = 24, .norm = NORM_NONE, .live = LIVE_TOP},
    {OP_NORM_VJP, "none, slabs", .S = 2, .T = 3, .B = 5, .d = 40, .norm = NORM_NONE, .slab = 2},
    {OP_NORM_VJP, "none, a block", .T = 2, .B = 3, .d = 2056, .norm = NORM_NONE},
    {OP_NORM_VJP, "G apart", .T = 3, .B = 2, .d = 33, .apart = true},
    {OP_NORM_VJP, "layer, G apart, slabs", .T = 4, .B = 4, .d = 24, .norm = NORM_LAYER, .slab = 3, .apart = true},
    {OP_NORM_VJP, "G apart, a block", .T = 2, .B = 3, .d = 2048, .apart = true},
    {OP_NORM_VJP, "none, G apart", .T = 3, .B = 5, .d = 48, .norm = NORM_NONE, .apart = true},
    {OP_NORM_VJP, "smollm2", .T = 23, .B = 64, .d = 576, .real = true},
    {OP_NORM_VJP, "olmo 2 1b", .T = 23, .B = 64, .d = 2048, .norm = NORM_NONE, .real = true},

    {OP_NORM_PULL, "one element", .T = 1, .B = 1, .d = 1},
    {OP_NORM_PULL, "layer, three elements", .T = 1, .B = 1, .d = 3, .norm = NORM_LAYER},
    {OP_NORM_PULL, "odd width", .S = 2, .T = 3, .B = 5, .d = 33},
    {OP_NORM_PULL, "top", .S = 2, .T = 4, .B = 3, .d = 24, .live = LIVE_TOP},
    {OP_NORM_PULL, "layer", .T = 3, .B = 2, .d = 33, .norm = NORM_LAYER},
    {OP_NORM_PULL, "slabs, the last one short", .S = 2, .T = 3, .B = 5, .d = 33, .slab = 2},
    {OP_NORM_PULL, "layer, slabs", .T = 4, .B = 4, .d = 24, .norm = NORM_LAYER, .slab = 3},
    {OP_NORM_PULL, "top, slabs", .S = 3, .T = 5, .B = 5, .d = 16, .slab = 2, .live = LIVE_TOP},
    {OP_NORM_PULL, "layer, top, slabs, odd", .S = 2, .T = 7, .B = 7, .d = 39, .norm = NORM_LAYER, .slab = 3, .live = LIVE_TOP},
    {OP_NORM_PULL, "many right-hand sides", .T = 2, .B = 37, .d = 64},
    {OP_NORM_PULL, "four pieces a lane, odd", .T = 2, .B = 3, .d = 1023, .norm = NORM_LAYER},
    {OP_NORM_PULL, "a block, odd", .T = 2, .B = 17, .d = 1031},
    {OP_NORM_PULL, "a block, slabs", .T = 2, .B = 5, .d = 2048, .norm = NORM_LAYER, .slab = 3},
    {OP_NORM_PULL, "a large block, top", .S = 2, .T = 3, .B = 2, .d = 2056, .live = LIVE_TOP},
    {OP_NORM_PULL, "two pieces a thread", .T = 1, .B = 17, .d = 4104, .norm = NORM_LAYER},
    {OP_NORM_PULL, "four pieces a thread", .T = 1, .B = 2, .d = 16384},
    {OP_NORM_PULL, "gemma 3 1b", .T = 23, .B = 64, .d = 1152, .real = true},
    {OP_NORM_PULL, "olmo 2 1b", .T = 23, .B = 64, .d = 2048, .real = true},

    {OP_PART_NORM_VJP, "one element", .T = 1, .B = 1, .H = 1, .K = 1, .h = 1},
    {OP_PART_NORM_VJP, "layer, three elements", .T = 1, .B = 1, .H = 1, .K = 1, .h = 3, .norm = NORM_LAYER},
    {OP_PART_NORM_VJP, "h = 8", .S = 2, .T = 3, .B = 5, .H = 4, .K = 2, .h = 8},
    {OP_PART_NORM_VJP, "odd width", .T = 5, .B = 3, .H = 3, .K = 1, .h = 7},
    {OP_PART_NORM_VJP, "h = 12, layer, own", .S = 2, .T = 2, .B = 2, .H = 3, .K = 2, .h = 12, .norm = NORM_LAYER, .own = true},
    {OP_PART_NORM_VJP, "h = 20, own", .T = 4, .B = 5, .H = 5, .K = 1, .h = 20, .own = true},
    {OP_PART_NORM_VJP, "h = 64, layer, own", .T = 5, .B = 7, .H = 5, .K = 5, .h = 64, .norm = NORM_LAYER, .own = true},
    {OP_PART_NORM_VJP, "h = 80", .T = 3, .B = 3, .H = 3, .K = 1, .h = 80},
    {OP_PART_NORM_VJP, "h = 96, layer", .T = 3, .B = 2, .H = 2, .K = 2, .h = 96, .norm = NORM_LAYER},
    {OP_PART_NORM_VJP, "h = 200, own", .T = 3, .B = 13, .H = 2, .K = 1, .h = 200, .own = true},
    {OP_PART_NORM_VJP, "h = 333", .T = 2, .B = 3, .H = 2, .K = 1, .h = 333},
    {OP_PART_NORM_VJP, "h = 512, layer", .T = 2, .B = 2, .H = 2, .K = 1, .h = 512, .norm = NORM_LAYER},
    {OP_PART_NORM_VJP, "one part, odd", .S = 2, .T = 3, .B = 3, .H = 3, .K = 1, .h = 11, .one_part = true},
    {OP_PART_NORM_VJP, "one part, layer", .T = 3, .B = 3, .H = 9, .K = 3, .h = 64, .norm = NORM_LAYER, .one_part = true},
    {OP_PART_NORM_VJP, "one part, 5120 and 1024", .T = 2, .B = 2, .H = 40, .K = 8, .h = 128, .one_part = true},
    {OP_PART_NORM_VJP, "one part, 8192", .T = 2, .B = 17, .H = 64, .K = 1, .h = 128, .one_part = true},
    {OP_PART_NORM_VJP, "one part, 16384", .T = 1, .B = 2, .H = 128, .K = 1, .h = 128, .norm = NORM_LAYER, .one_part = true},
    {OP_PART_NORM_VJP, "qwen3 0.6b", .T = 23, .B = 64, .H = 16, .K = 8, .h = 128, .real = true},
    {OP_PART_NORM_VJP, "gemma 3 1b", .T = 23, .B = 64, .H = 4, .K = 1, .h = 256, .real = true},
    {OP_PART_NORM_VJP, "olmo 2 1b", .T = 23, .B = 64, .H = 16, .K = 16, .h = 128, .one_part = true, .real = true},

    {OP_GATE_VJP, "one element", .T = 1, .B = 1, .f = 1, .gated = true},
    {OP_GATE_VJP, "odd width", .S = 2, .T = 3, .B = 5, .f = 33, .gated = true},
    {OP_GATE_VJP, "top", .S = 2, .T = 4, .B = 3, .f = 40, .gated = true, .live = LIVE_TOP},
    {OP_GATE_VJP, "plain", .T = 4, .B = 2, .f = 31},
    {OP_GATE_VJP, "plain, top", .T = 6, .B = 3, .f = 16, .live = LIVE_TOP},
    {OP_GATE_VJP, "many right-hand sides", .T = 2, .B = 37, .f = 264, .gated = true},
    {OP_GATE_VJP, "plain, wide", .T = 2, .B = 3, .f = 2056},
    {OP_GATE_VJP, "smollm2", .T = 23, .B = 64, .f = 1536, .gated = true, .real = true},

    {OP_MLP_COLLAPSE, "half, one element", .T = 1, .B = 1, .d = 1, .f = 1, .form = MLP_HALF, .gated = true},
    {OP_MLP_COLLAPSE, "half, odd", .S = 2, .T = 3, .B = 5, .d = 17, .f = 33, .form = MLP_HALF, .gated = true},
    {OP_MLP_COLLAPSE, "half, plain, layer", .T = 4, .B = 3, .d = 24, .f = 40, .form = MLP_HALF, .norm = NORM_LAYER},
    {OP_MLP_COLLAPSE, "full, one element", .T = 1, .B = 1, .d = 1, .f = 1, .form = MLP_FULL, .gated = true},
    {OP_MLP_COLLAPSE, "full, odd", .S = 2, .T = 2, .B = 21, .d = 17, .f = 33, .form = MLP_FULL, .gated = true},
    {OP_MLP_COLLAPSE, "full, plain, layer", .T = 3, .B = 3, .d = 24, .f = 40, .form = MLP_FULL, .norm = NORM_LAYER},
    {OP_MLP_COLLAPSE, "half, many tokens", .T = 70, .B = 2, .d = 24, .f = 40, .form = MLP_HALF, .gated = true},
    {OP_MLP_COLLAPSE, "full, many tokens", .T = 70, .B = 2, .d = 24, .f = 40, .form = MLP_FULL, .gated = true},
    {OP_MLP_COLLAPSE, "half, turned", .T = 3, .B = 5, .d = 24, .f = 33, .form = MLP_HALF, .gated = true, .turned = true},
    {OP_MLP_COLLAPSE, "full, plain, layer, turned", .T = 3, .B = 3, .d = 24, .f = 40, .form = MLP_FULL, .norm = NORM_LAYER, .turned = true},
    {OP_MLP_COLLAPSE, "half, a norm behind", .S = 2, .T = 3, .B = 5, .d = 17, .f = 33, .form = MLP_HALF, .gated = true, .apart = true},
    {OP_MLP_COLLAPSE, "full, a norm behind", .T = 5, .B = 3, .d = 24, .f = 40, .form = MLP_FULL, .gated = true, .apart = true},
    {OP_MLP_COLLAPSE, "half, no norm in front", .T = 3, .B = 5, .d = 17, .f = 33, .form = MLP_HALF, .norm = NORM_NONE, .gated = true, .apart = true},
    {OP_MLP_COLLAPSE, "full, no norm in front", .T = 3, .B = 5, .d = 24, .f = 33, .form = MLP_FULL, .norm = NORM_NONE, .gated = true, .apart = true},
    {OP_MLP_COLLAPSE, "full, no norm in front, odd", .T = 3, .B = 5, .d = 17, .f = 33, .form = MLP_FULL, .norm = NORM_NONE, .apart = true},
    {OP_MLP_COLLAPSE, "half, parallel, layer", .T = 70, .B = 2, .d = 24, .f = 40, .form = MLP_HALF, .norm = NORM_LAYER, .apart = true},
    {OP_MLP_COLLAPSE, "full, parallel, layer", .T = 70, .B = 2, .d = 24, .f = 40, .form = MLP_FULL, .norm = NORM_LAYER, .apart = true},
    {OP_MLP_COLLAPSE, "smollm2, half", .T = 8, .B = 64, .d = 576, .f = 1536, .form = MLP_HALF, .gated = true, .real = true},
    {OP_MLP_COLLAPSE, "smollm2, full", .T = 8, .B = 576, .d = 576, .f = 1536, .form = MLP_FULL, .gated = true, .real = true},

    {OP_ATTENTION_VJP, "one token", .T = 1, .B = 1, .H = 1, .K = 1, .h = 1},
    {OP_ATTENTION_VJP, "K = 1", .T = 9, .B = 3, .H = 4, .K = 1, .h = 8},
    {OP_ATTENTION_VJP, "K = H, odd head", .T = 10, .B = 2, .H = 3, .K = 3, .h = 7},
    {OP_ATTENTION_VJP, "B odd", .T = 17, .B = 13, .H = 2, .K = 1, .h = 16},
    {OP_ATTENTION_VJP, "window 1", .T = 5, .B = 2, .H = 2, .K = 1, .h = 8, .window = 1},
    {OP_ATTENTION_VJP, "window", .T = 19, .B = 3, .H = 4, .K = 2, .h = 16, .window = 5},
    {OP_ATTENTION_VJP, "cap that bites", .T = 12, .B = 3, .H = 2, .K = 1, .h = 8, .cap = 0.75},
    {OP_ATTENTION_VJP, "sequences, cap, window", .S = 3, .T = 8, .B = 2, .H = 6, .K = 2, .h = 5, .window = 3, .cap = 1.5},
    {OP_ATTENTION_VJP, "top", .S = 2, .T = 9, .B = 5, .H = 4, .K = 2, .h = 8, .live = LIVE_TOP},
    {OP_ATTENTION_VJP, "top, cap, window", .T = 11, .B = 3, .H = 2, .K = 1, .h = 9, .window = 4, .cap = 1.0, .live = LIVE_TOP},
    {OP_ATTENTION_VJP, "last", .S = 2, .T = 9, .B = 5, .H = 4, .K = 2, .h = 8, .live = LIVE_LAST},
    {OP_ATTENTION_VJP, "last, cap, window", .T = 11, .B = 7, .H = 2, .K = 2, .h = 6, .window = 4, .cap = 1.0, .live = LIVE_LAST},
    {OP_ATTENTION_VJP, "long", .T = 203, .B = 3, .H = 2, .K = 1, .h = 8},
    {OP_ATTENTION_VJP, "long, window, cap", .T = 203, .B = 2, .H = 2, .K = 2, .h = 8, .window = 37, .cap = 2.0},
    {OP_ATTENTION_VJP, "long, window over tiles", .T = 203, .B = 2, .H = 2, .K = 2, .h = 8, .window = 120},
    {OP_ATTENTION_VJP, "long, top", .T = 203, .B = 5, .H = 4, .K = 2, .h = 8, .live = LIVE_TOP},
    {OP_ATTENTION_VJP, "long, last, window", .T = 203, .B = 5, .H = 2, .K = 1, .h = 8, .window = 50, .live = LIVE_LAST},
    {OP_ATTENTION_VJP, "T = 16, h = 64", .T = 16, .B = 3, .H = 2, .K = 2, .h = 64},
    {OP_ATTENTION_VJP, "T = 33, h = 64, group of 3", .S = 2, .T = 33, .B = 2, .H = 6, .K = 2, .h = 64},
    {OP_ATTENTION_VJP, "T = 64, h = 64, group of 4", .T = 64, .B = 2, .H = 4, .K = 1, .h = 64},
    {OP_ATTENTION_VJP, "T = 50, h = 64, cap, window", .S = 2, .T = 50, .B = 2, .H = 2, .K = 1, .h = 64, .window = 19, .cap = 1.5},
    {OP_ATTENTION_VJP, "T = 65, h = 64", .T = 65, .B = 2, .H = 2, .K = 2, .h = 64},
    {OP_ATTENTION_VJP, "T = 128, h = 64, window", .T = 128, .B = 2, .H = 3, .K = 1, .h = 64, .window = 37},
    {OP_ATTENTION_VJP, "T = 100, h = 64, last", .T = 100, .B = 3, .H = 2, .K = 1, .h = 64, .live = LIVE_LAST},
    {OP_ATTENTION_VJP, "T = 129, h = 64", .S = 2, .T = 129, .B = 2, .H = 1, .K = 1, .h = 64},
    {OP_ATTENTION_VJP, "T = 150, h = 64, last, window", .T = 150, .B = 3, .H = 3, .K = 1, .h = 64, .window = 70, .live = LIVE_LAST},
    {OP_ATTENTION_VJP, "T = 200, h = 64, cap", .T = 200, .B = 2, .H = 2, .K = 1, .h = 64, .cap = 2.0},
    {OP_ATTENTION_VJP, "T = 33, h = 32", .T = 33, .B = 2, .H = 2, .K = 1, .h = 32},
    {OP_ATTENTION_VJP, "T = 40, h = 80", .T = 40, .B = 2, .H = 2, .K = 1, .h = 80},
    {OP_ATTENTION_VJP, "T = 140, h = 96", .T = 140, .B = 1, .H = 2, .K = 2, .h = 96},
    {OP_ATTENTION_VJP, "T = 33, h = 128, group of 3", .T = 33, .B = 2, .H = 3, .K = 1, .h = 128},
    {OP_ATTENTION_VJP, "T = 100, h = 128, cap", .T = 100, .B = 1, .H = 2, .K = 2, .h = 128, .cap = 2.0},
    {OP_ATTENTION_VJP, "T = 136, h = 128, window", .T = 136, .B = 1, .H = 2, .K = 1, .h = 128, .window = 100},
    {OP_ATTENTION_VJP, "T = 30, h = 128", .T = 30, .B = 2, .H = 2, .K = 2, .h = 128},
    {OP_ATTENTION_VJP, "T = 70, h = 256, cap, window", .T = 70, .B = 2, .H = 2, .K = 1, .h = 256, .window = 50, .cap = 2.0},
    {OP_ATTENTION_VJP, "T = 66, h = 200", .T = 66, .B = 2, .H = 2, .K = 1, .h = 200},
    {OP_ATTENTION_VJP, "top, h = 64", .S = 2, .T = 40, .B = 3, .H = 4, .K = 1, .h = 64, .live = LIVE_TOP},
    {OP_ATTENTION_VJP, "h = 12, K = 1, window, cap", .S = 2, .T = 20, .B = 3, .H = 3, .K = 1, .h = 12, .window = 6, .cap = 1.5},
    {OP_ATTENTION_VJP, "h = 12, top, window, cap", .S = 2, .T = 20, .B = 3, .H = 4, .K = 2, .h = 12, .window = 6, .cap = 1.5, .live = LIVE_TOP},
    {OP_ATTENTION_VJP, "h = 20, scores unscaled", .T = 17, .B = 3, .H = 4, .K = 2, .h = 20, .scale = 1.0},
    {OP_ATTENTION_VJP, "h = 16, scaled by 1/64", .T = 18, .B = 2, .H = 2, .K = 2, .h = 16, .scale = 0.015625},
    {OP_ATTENTION_VJP, "h = 64, K = H, window, cap", .T = 70, .B = 2, .H = 2, .K = 2, .h = 64, .window = 20, .cap = 2.0},
    {OP_ATTENTION_VJP, "h = 80, K = H, last", .T = 40, .B = 3, .H = 2, .K = 2, .h = 80, .live = LIVE_LAST},
    {OP_ATTENTION_VJP, "h = 80, T = 130, cap, window", .T = 130, .B = 2, .H = 2, .K = 1, .h = 80, .window = 60, .cap = 2.0},
    {OP_ATTENTION_VJP, "h = 80, top", .S = 2, .T = 20, .B = 3, .H = 2, .K = 2, .h = 80, .live = LIVE_TOP},
    {OP_ATTENTION_VJP, "h = 96, T = 40, window, cap", .T = 40, .B = 2, .H = 2, .K = 1, .h = 96, .window = 13, .cap = 2.0},
    {OP_ATTENTION_VJP, "h = 96, top, K = 1", .T = 20, .B = 3, .H = 3, .K = 1, .h = 96, .live = LIVE_TOP},
    {OP_ATTENTION_VJP, "h = 256, K = 1, window, last", .T = 67, .B = 2, .H = 4, .K = 1, .h = 256, .window = 21, .live = LIVE_LAST},
    {OP_ATTENTION_VJP, "h = 256, top, window", .S = 2, .T = 20, .B = 3, .H = 4, .K = 1, .h = 256, .window = 9, .live = LIVE_TOP},
    {OP_ATTENTION_VJP, "smollm2", .T = 23, .B = 64, .H = 9, .K = 3, .h = 64, .real = true},
    {OP_ATTENTION_VJP, "smollm2, top", .T = 23, .B = 64, .H = 9, .K = 3, .h = 64, .live = LIVE_TOP, .real = true},
    {OP_ATTENTION_VJP, "smollm2, long", .T = 128, .B = 64, .H = 9, .K = 3, .h = 64, .real = true},
    {OP_ATTENTION_VJP, "phi 2", .T = 23, .B = 64, .H = 32, .K = 32, .h = 80, .real = true},
    {OP_ATTENTION_VJP, "qwen3 0.6b", .T = 23, .B = 64, .H = 16, .K = 8, .h = 128, .real = true},
    {OP_ATTENTION_VJP, "gemma 3 1b", .T = 23, .B = 64, .H = 4, .K = 1, .h = 256, .window = 512, .real = true},

    {OP_ROPE_VJP, "one pair", .T = 1, .B = 1, .H = 1, .K = 1, .h = 2, .rot = 2},
    {OP_ROPE_VJP, "gqa", .T = 5, .B = 3, .H = 4, .K = 2, .h = 8, .rot = 8},
    {OP_ROPE_VJP, "part, odd head", .S = 2, .T = 7, .B = 2, .H = 3, .K = 1, .h = 7, .rot = 4},
    {OP_ROPE_VJP, "interleaved, part", .S = 2, .T = 3, .B = 5, .H = 2, .K = 1, .h = 9, .rot = 6, .rope = ROPE_INTERLEAVED},
    {OP_ROPE_VJP, "vectors", .T = 3, .B = 4, .H = 3, .K = 1, .h = 16, .rot = 16},
    {OP_ROPE_VJP, "part, interleaved, vectors", .S = 2, .T = 3, .B = 3, .H = 2, .K = 1, .h = 32, .rot = 16, .rope = ROPE_INTERLEAVED},
    {OP_ROPE_VJP, "h = 8, interleaved, half of it", .S = 2, .T = 5, .B = 3, .H = 4, .K = 2, .h = 8, .rot = 4, .rope = ROPE_INTERLEAVED},
    {OP_ROPE_VJP, "h = 12", .T = 9, .B = 2, .H = 4, .K = 2, .h = 12, .rot = 12},
    {OP_ROPE_VJP, "h = 20, ten turned", .T = 5, .B = 5, .H = 2, .K = 1, .h = 20, .rot = 10},
    {OP_ROPE_VJP, "h = 20, ten turned, interleaved", .T = 5, .B = 3, .H = 2, .K = 1, .h = 20, .rot = 10, .rope = ROPE_INTERLEAVED},
    {OP_ROPE_VJP, "h = 64, a quarter", .T = 5, .B = 2, .H = 3, .K = 3, .h = 64, .rot = 16},
    {OP_ROPE_VJP, "h = 80, 32 turned", .S = 2, .T = 3, .B = 4, .H = 2, .K = 2, .h = 80, .rot = 32},
    {OP_ROPE_VJP, "h = 96", .T = 4, .B = 2, .H = 2, .K = 2, .h = 96, .rot = 96},
    {OP_ROPE_VJP, "h = 128, half, interleaved", .T = 4, .B = 3, .H = 4, .K = 2, .h = 128, .rot = 64, .rope = ROPE_INTERLEAVED},
    {OP_ROPE_VJP, "h = 256, K = 1", .T = 3, .B = 5, .H = 4, .K = 1, .h = 256, .rot = 256},
    {OP_ROPE_VJP, "smollm2", .T = 23, .B = 64, .H = 9, .K = 3, .h = 64, .rot = 64, .real = true},

    {OP_SCATTER, "one row", .T = 1, .B = 1, .d = 3, .live = LIVE_TOP},
    {OP_SCATTER, "top", .S = 2, .T = 5, .B = 3, .d = 17, .live = LIVE_TOP},
    {OP_SCATTER, "top, vectors", .T = 3, .B = 5, .d = 64, .live = LIVE_TOP},
    {OP_SCATTER, "top, G apart", .S = 2, .T = 5, .B = 3, .d = 17, .live = LIVE_TOP, .apart = true},
    {OP_SCATTER, "top, vectors, G apart", .T = 3, .B = 5, .d = 64, .live = LIVE_TOP, .apart = true},
    {OP_SCATTER, "smollm2", .T = 23, .B = 64, .d = 576, .live = LIVE_TOP, .real = true},

    {OP_FISHER_ROWS, "one token", .d = 8, .V = 4, .n = 1},
    {OP_FISHER_ROWS, "odd", .d = 33, .V = 50, .n = 17},
    {OP_FISHER_ROWS, "slope", .d = 24, .V = 64, .n = 64, .slope = true},
    {OP_FISHER_ROWS, "several segments, slope", .d = 17, .V = 320, .n = 300, .slope = true},
    {OP_FISHER_ROWS, "wide", .d = 2056, .V = 30, .n = 20},
    {OP_FISHER_ROWS, "smollm2", .d = 576, .V = 4096, .n = 2000, .real = true},

    {OP_GRAM, "one row", .d = 5, .n = 1},
    {OP_GRAM, "odd", .d = 33, .n = 17},
    {OP_GRAM, "more rows than columns", .d = 16, .n = 129},
    {OP_GRAM, "tiles", .d = 130, .n = 37},
    {OP_GRAM, "strips", .d = 520, .n = 3},
    {OP_GRAM, "smollm2", .d = 576, .n = 2000, .real = true},

    {OP_FISHER_APPLY, "one", .B = 1, .d = 1, .n = 1},
    {OP_FISHER_APPLY, "odd", .B = 5, .d = 33, .n = 17},
    {OP_FISHER_APPLY, "more tokens than width", .B = 3, .d = 16, .n = 130},
    {OP_FISHER_APPLY, "smollm2", .B = 64, .d = 576, .n = 2000, .real = true},

    {OP_PROBES, "one", .B = 1, .d = 1, .V = 1, .n = 1},
    {OP_PROBES, "odd", .B = 7, .d = 33, .V = 100, .n = 19},
    {OP_PROBES, "several blocks", .B = 9, .d = 300, .V = 100, .n = 70},
    {OP_PROBES, "segments of the list", .B = 6, .d = 8, .V = 700, .n = 600},
    {OP_PROBES, "segments, odd", .B = 3, .d = 5, .V = 700, .n = 513},
    {OP_PROBES, "smollm2", .B = 64, .d = 576, .V = 4096, .n = 2000, .real = true},
};
/* clang-format on */
enum { N_OP_CASES = sizeof op_cases / sizeof *op_cases };

/* Zero S, T and B made 1. */
static inline struct op_case case_filled(const struct op_case *c)
{
    struct op_case out = *c;
    out.S = out.S > 0 ? out.S : 1;
    out.T = out.T > 0 ? out.T : 1;
    out.B = out.B > 0 ? out.B : 1;
    return out;
}

static inline int case_least(int a, int b)
{
    return a < b ? a : b;
}

/* Filled, and a real shape cut to what the reference does in about a second: fewer rows; a collapse (d d f for one token) in a quarter of
 * the widths. */
static inline struct op_case case_for_test(const struct op_case *c)
{
    struct op_case out = case_filled(c);
    if (out.real) {
        out.T = case_least(out.T, 23);
        out.B = case_least(out.B, 2);
        out.n = case_least(out.n, 200);
        out.V = case_least(out.V, 512);
    }
    if (out.real && out.op == OP_MLP_COLLAPSE) {
        out.T = 2;
        out.d /= 4;
        out.f /= 4;
    }
    return out;
}

#endif
