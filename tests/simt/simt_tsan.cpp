/* simt_tsan.cpp: what the thread sanitizer is told of the emulator: a fiber per thread of a block, and which barriers order what.
 *
 * The engine is compiled without -fsanitize=thread, with SIMT_TSAN defined; kernels and tests with it. What the engine itself touches is
 * then invisible, but allocation and memcpy are intercepted everywhere: simt_ignore brackets them. */
#include "simt_engine.h"

#ifdef SIMT_TSAN

extern "C" {
void *__tsan_get_current_fiber(void);
void *__tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void *fiber);
void __tsan_switch_to_fiber(void *fiber, unsigned flags);
void __tsan_acquire(void *address);
void __tsan_release(void *address);
void AnnotateIgnoreReadsBegin(const char *file, int line);
void AnnotateIgnoreReadsEnd(const char *file, int line);
void AnnotateIgnoreWritesBegin(const char *file, int line);
void AnnotateIgnoreWritesEnd(const char *file, int line);
}

const bool simt_with_tsan = true;

void *simt_tsan_fiber_make()
{
    return __tsan_create_fiber(0);
}
void *simt_tsan_fiber_current()
{
    return __tsan_get_current_fiber();
}
void simt_tsan_fiber_free(void *fiber)
{
    __tsan_destroy_fiber(fiber);
}
void simt_tsan_switch(void *fiber)
{
    __tsan_switch_to_fiber(fiber, 1); /* 1: the switch orders nothing */
}
void simt_tsan_release(void *token)
{
    __tsan_release(token);
}
void simt_tsan_acquire(void *token)
{
    __tsan_acquire(token);
}
void simt_tsan_ignore(bool on)
{
    if (on) {
        AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
        AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
    } else {
        AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
        AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
    }
}

#else

const bool simt_with_tsan = false;

void *simt_tsan_fiber_make()
{
    return nullptr;
}
void *simt_tsan_fiber_current()
{
    return nullptr;
}
void simt_tsan_fiber_free(void *)
{
}
void simt_tsan_switch(void *)
{
}
void simt_tsan_release(void *)
{
}
void simt_tsan_acquire(void *)
{
}
void simt_tsan_ignore(bool)
{
}

#endif
