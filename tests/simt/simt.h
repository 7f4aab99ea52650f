/* simt.h: the emulator as tests see it: settings, the last report, counters. C and C++.
 *
 * The CUDA runtime, cuBLASLt and NCCL functions themselves are the real names (cudaMalloc, cublasLtMatmul, ncclAllGather ...), defined by the emulator.
 * Settings begin with the environment: SIMT_SEED=n order of threads and blocks (0: ascending), SIMT_LAZY=1, SIMT_PROTECT=1,
 * SIMT_MEMORY=bytes, SIMT_DEVICES=n, SIMT_FAIL=k (the k-th call of the runtime from now on fails), SIMT_QUIET=1. */
#ifndef SIMT_H
#define SIMT_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct simt_settings {
    unsigned seed;         /* order in which threads, warps and blocks run */
    bool lazy;             /* streams run at a synchronisation, not at the call: shows a host that reads too early */
    bool protect;          /* device memory faults when the host touches it outside kernels and copies */
    bool quiet;            /* a report is kept but not printed */
    size_t memory_limit;   /* bytes of memory of each device */
    long fail_call;        /* the fail_call-th call from now on returns an error; 0: none. Counts down */
    size_t shared_limit;   /* dynamic + static shared memory a block may have, bytes (232448: H100) */
    int capability;        /* 90: compute capability 9.0 */
    int devices;           /* that cudaGetDeviceCount finds; all are alike, each with memory of its own */
    int driver;            /* the CUDA version that the driver is for, 13000; 0: there is no driver */
    int nccl_version;      /* 22809: 2.28.9 */
    double nccl_patience;  /* seconds after which a rank that has not come never comes */
};
extern struct simt_settings simt_settings;

/* The first fault since simt_reset(): "kernel k, block (0,0,0), thread (5,0,0): ... at file:line"; "" if none. */
const char *simt_message(void);

/* As if a kernel had failed: nothing works any more. */
void simt_lose(void);

/* Forgets the fault (a real context would be lost) and drops what is queued; allocations stay. */
void simt_reset(void);

size_t simt_memory_used(void);        /* bytes of device memory allocated */
size_t simt_memory_most(void);        /* the most of them since this was last asked */
size_t simt_allocations(void);        /* device and pinned blocks alive */
size_t simt_objects(void);            /* streams, events, graphs, cuBLASLt objects alive */
unsigned long long simt_launches(void); /* kernels run so far */
unsigned long long simt_gathers(void);  /* collectives done so far */
unsigned long long simt_runtime_calls(void); /* calls that may fail, so far: the range of fail_call */

#ifdef __cplusplus
}
#endif

#endif
