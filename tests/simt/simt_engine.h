/* simt_engine.h: inside the emulator: fibers, lanes, blocks, memory registry, streams. Not for device code or tests. */
#ifndef SIMT_ENGINE_H
#define SIMT_ENGINE_H

#include "simt.h"
#include "simt_device.h"

#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

/* The engine names the indices of lanes itself. */
#undef threadIdx
#undef blockIdx
#undef blockDim
#undef gridDim

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define SIMT_ASAN 1
#else
#define SIMT_ASAN 0
#endif

/* ---- simt_fiber.cpp: stacks that can be switched ---------------------------------------------------------------------------- */

struct simt_fiber {
    void *sp;         /* saved stack pointer, or the ucontext_t */
    char *stack;      /* lowest byte; NULL: the thread's own stack */
    size_t size;
    void *fake_stack; /* of the address sanitizer */
    void *tsan;       /* of the thread sanitizer */
};
void simt_fiber_make(struct simt_fiber *fiber, void (*entry)()); /* from the pool; entry never returns */
void simt_fiber_free(struct simt_fiber *fiber);
void simt_fiber_main(struct simt_fiber *fiber); /* the stack that we are on */
void simt_fiber_enter();                        /* first thing on a fresh fiber */
void simt_fiber_switch(struct simt_fiber *from, struct simt_fiber *to, bool last);
void simt_fiber_drop_pool();

/* ---- simt_tsan.cpp: what the thread sanitizer is told; nothing in other builds ------------------------------------------------ */

extern const bool simt_with_tsan;
void *simt_tsan_fiber_make();
void *simt_tsan_fiber_current();
void simt_tsan_fiber_free(void *fiber);
void simt_tsan_switch(void *fiber);
void simt_tsan_release(void *token); /* what this thread did is seen by whoever acquires later */
void simt_tsan_acquire(void *token);
void simt_tsan_ignore(bool on);      /* accesses of the engine itself are not the kernel's */

struct simt_ignore { /* for a scope */
    simt_ignore() { simt_tsan_ignore(true); }
    ~simt_ignore() { simt_tsan_ignore(false); }
};

/* ---- simt_block.cpp, simt_warp.cpp, simt_shared.cpp: one block at a time ------------------------------------------------------ */

enum simt_state { SIMT_READY, SIMT_AT_BARRIER, SIMT_AT_WARP, SIMT_DONE, SIMT_FAULTED };
enum simt_warp_kind { SIMT_SHUFFLE, SIMT_BALLOT, SIMT_MMA, SIMT_LDMATRIX };

struct simt_operands { /* of a warp operation, by kind */
    unsigned long long bits; /* shuffle: value; ballot: predicate. Also the result */
    unsigned source;         /* shuffle */
    float *c;                /* mma */
    const uint32_t *a, *b;
    uint32_t *r;             /* ldmatrix */
    const uint4 *row;
    bool transposed;
};

struct simt_lane : simt_ids {
    struct simt_fiber fiber;
    unsigned index; /* in the block */
    enum simt_state state;
    const char *file; /* where it waits */
    int line;
    int barrier;
    bool predicate;
    enum simt_warp_kind kind;
    unsigned mask;
    struct simt_operands op;
    void *token; /* of the barrier or warp operation that it waits at */
    std::vector<std::vector<struct simt_copy>> copies; /* groups of asynchronous copies; the last is open */
};

struct simt_barrier_state {
    unsigned expected, arrived, generation;
    const char *file;
    int line;
    int count, result;
    char token[2];
};

struct simt_part_of_shared {
    size_t at, bytes;  /* from the start of the dynamic area */
    size_t real_end;   /* where it would end without gaps */
};
struct simt_array_of_shared {
    const void *key;
    const char *name, *file;
    int line;
    unsigned char *start;
    size_t bytes;
};

struct simt_block {
    const struct simt_call *call;
    const char *kernel;
    std::vector<struct simt_lane> lanes;
    struct simt_fiber scheduler;
    struct simt_barrier_state barriers[16];
    std::vector<unsigned> warp_generation;
    std::vector<char> warp_token;
    unsigned done;
    bool failed;
    unsigned long long random;
    /* shared memory */
    unsigned char *arena;
    size_t arena_used, smem, static_bytes;
    unsigned char *dynamic;
    std::vector<struct simt_array_of_shared> arrays;
    std::vector<struct simt_part_of_shared> parts;
};

extern __thread struct simt_block *simt_running; /* NULL outside kernels */
struct simt_lane *simt_lane_now();
void simt_yield(struct simt_lane *lane);
unsigned simt_random(struct simt_block *block);
void simt_grid_begin(); /* the host's past is seen by all blocks, theirs by the host; blocks do not see each other */
void simt_grid_end();
/* false: a fault was recorded */
bool simt_block_run(struct simt_block *block, uint3 index, dim3 grid, dim3 size);
void simt_shared_begin(struct simt_block *block);
bool simt_shared_end(struct simt_block *block); /* false: something was written into a gap */
bool simt_shared_holds(const struct simt_block *block, const void *p, size_t bytes);

/* ---- simt_report.cpp ---------------------------------------------------------------------------------------------------------- */

void simt_record(const char *format, ...) __attribute__((format(printf, 1, 2))); /* keeps and prints the first */
bool simt_lost();          /* a kernel failed: nothing works any more, as with a real context */
void simt_set_lost(bool lost);

/* ---- simt_memory.cpp, simt_stream.cpp, simt_graph.cpp: the fake runtime. All under one lock ------------------------------------ */

extern std::recursive_mutex simt_lock;
struct simt_guard {
    std::lock_guard<std::recursive_mutex> held;
    simt_guard() : held(simt_lock) {}
};

/* Counts a call; the error it must return at once: an injected one, or that of a lost context; cudaSuccess: go on. */
cudaError_t simt_enter(const char *function);
cudaError_t simt_leave(cudaError_t error); /* remembers it for cudaGetLastError */

enum simt_space { SIMT_HOST, SIMT_PINNED, SIMT_DEVICE };
/* What holds p; bytes left from p to its end. p one past the end counts as inside, with 0 left. */
enum simt_space simt_space_of(const void *p, size_t *left);
int simt_device_of(const void *p); /* whose memory it is; -1: none's */
int simt_device_now();             /* this thread's */
void simt_memory_open();  /* kernels and copies may touch device memory; nests */
void simt_memory_close();
bool simt_memory_slack_clean(const char *kernel); /* false: recorded that a kernel wrote past an allocation */

cudaError_t simt_submit(cudaStream_t stream, std::function<cudaError_t()> run);
cudaError_t simt_drain(cudaStream_t stream); /* NULL: every stream, but for what waits behind a collective */
/* A collective holds up what comes behind it in its stream until every rank has come. Only these wait for it: cudaStreamQuery,
 * cudaStreamSynchronize. Ending the hold runs what has come behind. A stream that is no more is no stream. */
void simt_hold(cudaStream_t stream, bool held);
int simt_stream_device(cudaStream_t stream); /* -1: no such stream */
void simt_nccl_tick();                       /* gives up for ranks that never came */
bool simt_capturing(cudaStream_t stream);
bool simt_capturing_here(); /* this host thread has a capture open */
void simt_drop_queues();
extern size_t simt_live_objects;

#endif
