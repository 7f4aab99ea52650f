/* simt_fiber.cpp: stacks that can be switched: 16 instructions on x86-64, ucontext elsewhere; told to the sanitizers. */
#include "simt_engine.h"

#include <cstdio>
#include <cstdlib>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

/* Sanitized frames are large. */
#if SIMT_ASAN || defined(SIMT_TSAN)
static const size_t stack_bytes = 256 * 1024;
#else
static const size_t stack_bytes = 64 * 1024;
#endif

static thread_local std::vector<char *> pool;

static char *stack_new()
{
    if (!pool.empty()) {
        char *stack = pool.back();
        pool.pop_back();
        return stack;
    }
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    void *memory = mmap(nullptr, page + stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory, page, PROT_NONE) != 0) {
        fprintf(stderr, "simt: no memory for a thread's stack\n");
        abort();
    }
    return static_cast<char *>(memory) + page;
}

static void stack_unmap(char *stack)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    munmap(stack - page, page + stack_bytes);
}

void simt_fiber_free(struct simt_fiber *fiber)
{
    if (!fiber->stack)
        return;
    if (simt_with_tsan) { /* a used stack holds accesses of another thread of the kernel: never again */
        simt_tsan_fiber_free(fiber->tsan);
        stack_unmap(fiber->stack);
    } else {
#if SIMT_ASAN
        __asan_unpoison_memory_region(fiber->stack, fiber->size);
#endif
        pool.push_back(fiber->stack);
    }
    fiber->stack = nullptr;
}

void simt_fiber_drop_pool()
{
    for (char *stack : pool)
        stack_unmap(stack);
    pool.clear();
}

void simt_fiber_main(struct simt_fiber *fiber)
{
    *fiber = {};
    fiber->tsan = simt_tsan_fiber_current();
}

#if defined(__x86_64__)

extern "C" void simt_swap_stacks(void **save, void *load);
/* The ABI's preserved registers go onto the old stack and come from the new one. */
asm(".text\n"
    ".globl simt_swap_stacks\n"
    ".type simt_swap_stacks, @function\n"
    "simt_swap_stacks:\n"
    "    pushq %rbp\n"
    "    pushq %rbx\n"
    "    pushq %r12\n"
    "    pushq %r13\n"
    "    pushq %r14\n"
    "    pushq %r15\n"
    "    movq %rsp, (%rdi)\n"
    "    movq %rsi, %rsp\n"
    "    popq %r15\n"
    "    popq %r14\n"
    "    popq %r13\n"
    "    popq %r12\n"
    "    popq %rbx\n"
    "    popq %rbp\n"
    "    ret\n"
    ".size simt_swap_stacks, .-simt_swap_stacks\n");

static void make_context(struct simt_fiber *fiber, void (*entry)())
{
    /* From the top: a zero, the entry that `ret` pops, six zeros for the registers: rsp = 8 (mod 16) at entry, as after a call. */
    void **top = reinterpret_cast<void **>(fiber->stack + fiber->size);
    *--top = nullptr;
    *--top = reinterpret_cast<void *>(entry);
    for (int i = 0; i < 6; i++)
        *--top = nullptr;
    fiber->sp = top;
}
static void swap_context(struct simt_fiber *from, struct simt_fiber *to)
{
    simt_swap_stacks(&from->sp, to->sp);
}

#else

#include <ucontext.h>

static void make_context(struct simt_fiber *fiber, void (*entry)())
{
    ucontext_t *context = new ucontext_t();
    getcontext(context);
    context->uc_stack.ss_sp = fiber->stack;
    context->uc_stack.ss_size = fiber->size;
    makecontext(context, entry, 0);
    fiber->sp = context;
}
static void swap_context(struct simt_fiber *from, struct simt_fiber *to)
{
    if (!from->sp)
        from->sp = new ucontext_t();
    swapcontext(static_cast<ucontext_t *>(from->sp), static_cast<ucontext_t *>(to->sp));
}

#endif

void simt_fiber_make(struct simt_fiber *fiber, void (*entry)())
{
    *fiber = {};
    fiber->stack = stack_new();
    fiber->size = stack_bytes;
    fiber->tsan = simt_tsan_fiber_make();
    make_context(fiber, entry);
}

/* First thing on a fresh stack: the switch that led here has ended. */
void simt_fiber_enter()
{
#if SIMT_ASAN
    __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
}

#if SIMT_ASAN
/* The address sanitizer wants the bounds of the stack that is switched to; those of a host thread it has to be told too. */
static void start_switch(struct simt_fiber *from, struct simt_fiber *to, bool last)
{
    static thread_local void *host_bottom;
    static thread_local size_t host_size;
    if (!host_bottom) {
        pthread_attr_t attributes;
        pthread_getattr_np(pthread_self(), &attributes);
        pthread_attr_getstack(&attributes, &host_bottom, &host_size);
        pthread_attr_destroy(&attributes);
    }
    __sanitizer_start_switch_fiber(last ? nullptr : &from->fake_stack, to->stack ? to->stack : host_bottom,
                                   to->stack ? to->size : host_size);
}
#endif

/* last: nothing comes back to `from`. */
void simt_fiber_switch(struct simt_fiber *from, struct simt_fiber *to, bool last)
{
#if SIMT_ASAN
    start_switch(from, to, last);
#else
    (void)last;
#endif
    simt_tsan_switch(to->tsan);
    swap_context(from, to);
#if SIMT_ASAN
    __sanitizer_finish_switch_fiber(from->fake_stack, nullptr, nullptr);
#endif
}
