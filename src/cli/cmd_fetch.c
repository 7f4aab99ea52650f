/* cmd_fetch.c: jscopes fetch: hands over to fetch.py, the only part of jscopes that ever opens a connection. */
#include "cli_internal.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Beside the installed program (bin/jscopes, share/jscopes/fetch.py), else where it was built from. */
static bool find_helper(char *out, size_t capacity)
{
    char program[PATH_MAX];
    const ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    if (n > 0) {
        program[n] = '\0';
        char *slash = strrchr(program, '/');
        if (slash != NULL)
            *slash = '\0';
        const int length = snprintf(out, capacity, "%s/../share/jscopes/fetch.py", program);
        if (length > 0 && (size_t)length < capacity && access(out, R_OK) == 0)
            return true;
    }
    (void)snprintf(out, capacity, "%s", JSC_FETCH_SOURCE);
    return access(out, R_OK) == 0;
}

int cmd_fetch(int argc, char **argv)
{
    char helper[PATH_MAX + 64], python[] = "python3";
    if (!find_helper(helper, sizeof helper))
        return fail(EXIT_FAILED, "fetch: its helper is not installed: neither share/jscopes/fetch.py nor %s is there", JSC_FETCH_SOURCE);
    char **arguments = calloc((size_t)argc + 2, sizeof *arguments);
    if (arguments == NULL)
        return fail(EXIT_FAILED, "no memory for the arguments");
    arguments[0] = python;
    arguments[1] = helper;
    for (int i = 1; i < argc; i++)
        arguments[i + 1] = argv[i];
    (void)signal(SIGPIPE, SIG_DFL);
    (void)execvp(python, arguments);
    const int cause = errno;
    free(arguments);
    return fail(EXIT_FAILED, "fetch: python3: %s (Debian: apt install python3 python3-pip)", strerror(cause));
}
