/* bench_count.c: what an operation of the table must compute and move, for the columns GFLOP/s and GB/s. */
#include "bench.h"

#include "cases.h"

/* Arithmetic that the contract asks for, and bytes of float32 that must move once. */
void bench_count(const struct op_case *c, struct row *row)
{
    const double N = (double)c->S * c->T, B = c->B, M = N * B, d = c->d, f = c->f, n = c->n;
    const double heads = (double)c->H * c->h, W = (double)(c->H + 2 * c->K) * c->h;
    const double live = c->live == LIVE_TOP ? (double)c->S * B : M, rotated = (double)(c->H + c->K) * c->rot;
    const double pairs = c->live == LIVE_TOP ? live * c->T : M * (c->T + 1) / 2.0; /* visible (query, key) of a head */
    switch (c->op) {
    case OP_EMBED:
    case OP_NORM:
        row->bytes = 8.0 * N * d;
        break;
    case OP_MATMUL:
        row->flops = 2.0 * N * d * f, row->bytes = 4.0 * (d * f + N * d + N * f);
        break;
    case OP_PART_NORM:
        row->bytes = 12.0 * N * heads;
        break;
    case OP_ROPE:
        row->bytes = 8.0 * N * rotated;
        break;
    case OP_ATTENTION:
        row->flops = 4.0 * N * (c->T + 1) / 2.0 * heads, row->bytes = 4.0 * N * (W + heads);
        break;
    case OP_GATE:
        row->bytes = (c->gated ? 20.0 : 12.0) * N * f;
        break;
    case OP_ADD:
        row->bytes = 12.0 * N * d;
        break;
    case OP_HEAD_VJP:
        row->flops = 2.0 * B * n * d, row->bytes = 4.0 * n * d;
        break;
    case OP_MATMUL_VJP:
        row->flops = 2.0 * M * d * f, row->bytes = 4.0 * (d * f + M * d + M * f);
        break;
    case OP_NORM_VJP:
        row->bytes = 12.0 * live * d;
        break;
    case OP_NORM_PULL:
        row->bytes = 8.0 * live * d;
        break;
    case OP_PART_NORM_VJP:
        row->bytes = 8.0 * M * heads;
        break;
    case OP_GATE_VJP:
        row->bytes = (c->gated ? 12.0 : 8.0) * live * f;
        break;
    case OP_MLP_COLLAPSE:
        row->flops = c->form == MLP_HALF ? 4.0 * M * d * f : N * (2.0 * d * d * f + 2.0 * B * d * d);
        row->bytes = 8.0 * M * d;
        break;
    case OP_ATTENTION_VJP:
        row->flops = 8.0 * pairs * heads, row->bytes = 4.0 * (live * heads + M * W);
        break;
    case OP_ROPE_VJP:
        row->bytes = 8.0 * M * rotated;
        break;
    case OP_SCATTER:
        row->bytes = 4.0 * M * d;
        break;
    case OP_FISHER_ROWS:
        row->bytes = 12.0 * n * d;
        break;
    case OP_GRAM:
        row->flops = n * d * d;
        break;
    case OP_FISHER_APPLY:
        row->flops = 4.0 * B * n * d;
        break;
    case OP_PROBES:
        row->flops = 2.0 * B * n * d;
        break;
    case OP_COUNT:
        break;
    }
}
