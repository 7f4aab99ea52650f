/* status.h: statuses, error texts, log and progress callbacks.
 *
 * Every function that can fail returns a jsc_status and takes a jsc_error that the caller owns, so that neither another
 * thread nor a later call can spoil the text. The library never prints and never exits. */
#ifndef JSCOPES_STATUS_H
#define JSCOPES_STATUS_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define JSC_API __attribute__((visibility("default")))
#else
#define JSC_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/** All statuses: name, number, meaning. One list makes the codes, their names and their texts. */
#define JSC_STATUS_LIST(X)                                                                \
    X(JSC_OK, 0, "done")                                                                  \
    X(JSC_E_ARGUMENT, 1, "an argument is outside its range")                              \
    X(JSC_E_MEMORY, 2, "not enough memory")                                               \
    X(JSC_E_FILE, 3, "a file cannot be read or written")                                  \
    X(JSC_E_FORMAT, 4, "a file contradicts its format or another file")                   \
    X(JSC_E_UNSUPPORTED, 5, "valid, but not implemented here")                            \
    X(JSC_E_NUMERIC, 6, "a number became infinite or undefined")                          \
    X(JSC_E_DEVICE, 7, "the device is absent or failed")                                  \
    X(JSC_E_CANCELLED, 8, "the progress callback asked to stop")                          \
    X(JSC_E_INTERNAL, 9, "a fault of jscopes itself")

typedef enum jsc_status {
#define JSC_STATUS_CODE(name, number, text) name = number,
    JSC_STATUS_LIST(JSC_STATUS_CODE)
#undef JSC_STATUS_CODE
} jsc_status;

/** One line that says what failed, where, and what to do. Filled on failure only. */
typedef struct jsc_error {
    jsc_status status;
    char text[512];
} jsc_error;

/** jsc_status_name: "JSC_E_FORMAT" and the like; never NULL. */
JSC_API const char *jsc_status_name(jsc_status status);

/** jsc_status_text: the meaning of a status in a few words; never NULL. */
JSC_API const char *jsc_status_text(jsc_status status);

/** jsc_version: "0.1.0". */
JSC_API const char *jsc_version(void);

/** Receives one finished line (without newline) of information. level: 0 warning, 1 information, 2 detail. Called from
 * the thread that made the call. */
typedef void (*jsc_log_fn)(void *user, int level, const char *line);

/** Receives the progress of a call: done of total units of work in stage. Return 0 to go on, anything else to stop: the call then
 * ends with JSC_E_CANCELLED and has lost nothing that the caller owns. Called at least once per chunk of work. */
typedef int (*jsc_progress_fn)(void *user, const char *stage, double done, double total);

#ifdef __cplusplus
}
#endif
#endif
