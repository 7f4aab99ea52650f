/* terminal.c: what goes to standard output and standard error, and how: one-line errors, colour, width, characters. */
#include "cli_internal.h"

#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* The first failure to write to stdout. */
static int stdout_errno;

int fail(int status, const char *format, ...)
{
    char text[1024], shown[4096];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    (void)jsc_text_show(text, strlen(text), 0, shown, sizeof shown); /* one line, whatever names are in it */
    progress_clear();
    fprintf(stderr, "jscopes: %s\n", shown);
    return status;
}

int fail_library(const jsc_error *error)
{
    if (error->status == JSC_E_CANCELLED)
        return fail(EXIT_FAILED, "interrupted; nothing was written");
    return fail(EXIT_FAILED, "%s", error->text);
}

static const char *variable(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

/* The best colours that the terminal says it has. */
static jsc_colour colour_depth(void)
{
    static const char *const sixteen[] = {"linux", "ansi", "xterm-16color", "vt220", "cons25"};
    const char *term = variable("TERM"), *depth = variable("COLORTERM");
    if (depth != NULL && (strcmp(depth, "truecolor") == 0 || strcmp(depth, "24bit") == 0))
        return JSC_COLOUR_TRUE;
    for (size_t i = 0; term != NULL && i < sizeof sixteen / sizeof *sixteen; i++)
        if (strcmp(term, sixteen[i]) == 0)
            return JSC_COLOUR_16;
    return JSC_COLOUR_256;
}

/* --color, then NO_COLOR, then FORCE_COLOR, then whether anybody sees it. */
static jsc_colour colour_choose(int when, bool to_terminal)
{
    const char *term = variable("TERM"), *force = variable("FORCE_COLOR");
    if (when == 2)
        return JSC_COLOUR_NONE;
    if (when == 1)
        return colour_depth();
    if (variable("NO_COLOR") != NULL)
        return JSC_COLOUR_NONE;
    if (force != NULL)
        return strcmp(force, "0") == 0 ? JSC_COLOUR_NONE : colour_depth();
    return to_terminal && term != NULL && strcmp(term, "dumb") != 0 ? colour_depth() : JSC_COLOUR_NONE;
}

static int width_choose(void)
{
    struct winsize size = {0};
    const char *columns = variable("COLUMNS");
    const long given = columns != NULL ? strtol(columns, NULL, 10) : 0;
    if (isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    return given > 0 && given < 10000 ? (int)given : 80;
}

/* A locale that was asked for and is not UTF-8. Where none is set (containers), terminals are UTF-8 all the same. */
static bool wants_ascii(void)
{
    const bool asked = variable("LC_ALL") != NULL || variable("LC_CTYPE") != NULL || variable("LANG") != NULL;
    return asked && (setlocale(LC_CTYPE, "") == NULL || strcmp(nl_langinfo(CODESET), "UTF-8") != 0);
}

bool report_options_parse(const struct arguments *args, jsc_report_options *out)
{
    static const char *const when[] = {"auto", "always", "never", NULL};
    long long top_k = out->top_k;
    const int color = args->value[OPT_COLOR] == NULL ? 0 : choice(OPT_COLOR, args->value[OPT_COLOR], when);
    if (color < 0 || (args->value[OPT_TOP_K] != NULL && !number_int(OPT_TOP_K, args->value[OPT_TOP_K], 0, 1000000, &top_k)) ||
        (args->value[OPT_INCHES] != NULL && !number_double(OPT_INCHES, args->value[OPT_INCHES], 3.25, 6.75, &out->inches)))
        return false;
    out->colour = colour_choose(color, args->value[OPT_OUTPUT] == NULL && isatty(STDOUT_FILENO));
    out->width = width_choose();
    out->ascii = wants_ascii();
    out->top_k = (int)top_k;
    out->title = args->value[OPT_TITLE];
    out->series = args->value[OPT_SERIES] != NULL;
    out->difference = args->value[OPT_DIFFERENCE] != NULL;
    return true;
}

int write_stdout(void *user, const char *bytes, size_t n)
{
    (void)user;
    if (fwrite(bytes, 1, n, stdout) == n)
        return 0;
    if (stdout_errno == 0)
        stdout_errno = errno;
    return 1;
}

int finish_stdout(int status)
{
    errno = 0;
    const bool bad = ferror(stdout) != 0;
    if (fflush(stdout) != 0 || bad || fclose(stdout) != 0) {
        const int cause = stdout_errno != 0 ? stdout_errno : errno;
        return status != EXIT_DONE ? status : fail(EXIT_FAILED, "standard output: %s", cause != 0 ? strerror(cause) : "cannot be written");
    }
    return status;
}

/* Both helpers of the library have this form. */
static void put_escaped(const char *bytes, size_t n, bool json)
{
    const size_t length = json ? jsc_text_json(bytes, n, NULL, 0) : jsc_text_show(bytes, n, wants_ascii(), NULL, 0);
    char *text = malloc(length + 1);
    if (text == NULL) {
        stdout_errno = ENOMEM;
        return;
    }
    if (json)
        (void)jsc_text_json(bytes, n, text, length + 1);
    else
        (void)jsc_text_show(bytes, n, wants_ascii(), text, length + 1);
    (void)write_stdout(NULL, text, length);
    free(text);
}

void put_json(const char *bytes, size_t n)
{
    put_escaped(bytes, n, true);
}

void put_shown(const char *bytes, size_t n)
{
    put_escaped(bytes, n, false);
}

bool wants_json(const struct arguments *args, bool *json)
{
    static const char *const formats[] = {"text", "json", NULL};
    const int format = args->value[OPT_FORMAT] == NULL ? 0 : choice(OPT_FORMAT, args->value[OPT_FORMAT], formats);
    *json = format == 1;
    return format >= 0;
}
