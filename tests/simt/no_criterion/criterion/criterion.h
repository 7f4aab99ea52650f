/* criterion.h: Criterion's words as far as tests/support uses them, for the thread sanitizer, with which Criterion itself cannot start. */
#ifndef NO_CRITERION_H
#define NO_CRITERION_H

#include <stdio.h>
#include <stdlib.h>

#define eq(type, a, b) ((a) == (b))
#define ne(type, a, b) ((a) != (b))
#define le(type, a, b) ((a) <= (b))
#define lt(type, a, b) ((a) < (b))

#define cr_expect(condition, ...)                                                      \
    do {                                                                               \
        if (!(condition)) {                                                            \
            (void)fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition);       \
            (void)fprintf(stderr, "" __VA_ARGS__);                                     \
            (void)fprintf(stderr, "\n");                                               \
            exit(1);                                                                   \
        }                                                                              \
    } while (0)
#define cr_assert cr_expect
#define cr_log_info(...) (void)fprintf(stderr, __VA_ARGS__)

#endif
