/* progress.c: how far a long call is, on standard error: one line that is written over on a terminal, a full line every 30 s in a log;
 * nothing in the first two seconds. Interruption by SIGINT. */
#include "cli_internal.h"

#include <math.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SILENT       2.0 /* seconds */
#define TERMINAL_GAP 0.2
#define LOG_GAP      30.0

static volatile sig_atomic_t interrupted;
static double started, last_shown, stage_started;
static char stage_now[32];
static int line_cells; /* of the unfinished line on the terminal */

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    interrupted = 1; /* the handler is gone after the first time (SA_RESETHAND): the second kills */
}

static double now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void progress_start(void)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_interrupt;
    action.sa_flags = (int)SA_RESETHAND | SA_RESTART;
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGINT, &action, NULL);
    started = now();
    last_shown = -1.0;
}

void progress_clear(void)
{
    if (line_cells > 0)
        fprintf(stderr, "\r%*s\r", line_cells, "");
    line_cells = 0;
}

/* 75 -> "1:15" */
static void put_time(double seconds, char out[24])
{
    const long s = seconds < 1e9 ? lround(seconds) : 999999999;
    if (s >= 3600)
        (void)snprintf(out, 24, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    else
        (void)snprintf(out, 24, "%ld:%02ld", s / 60, s % 60);
}

int progress_show(void *user, const char *stage, double done, double total)
{
    const bool terminal = isatty(STDERR_FILENO) != 0;
    const double t = now();
    char line[120], spent[24], left[24] = "?";
    (void)user;
    if (strncmp(stage, stage_now, sizeof stage_now - 1) != 0) {
        (void)snprintf(stage_now, sizeof stage_now, "%s", stage);
        stage_started = t;
    }
    const double quiet = terminal ? SILENT : LOG_GAP;
    const bool due = last_shown < 0.0 ? t - started >= quiet : t - last_shown >= (terminal ? TERMINAL_GAP : LOG_GAP);
    if (interrupted)
        return 1;
    if (!due || !(total > 0.0))
        return 0;
    last_shown = t;
    const double share = done / total < 1.0 ? done / total : 1.0;
    put_time(t - started, spent);
    if (share > 0.0 && t > stage_started)
        put_time((t - stage_started) * (1.0 - share) / share, left);
    const int n = snprintf(line, sizeof line, "jscopes: %.31s %3.0f %%, %s so far, %s left", stage_now, 100.0 * share, spent, left);
    if (terminal) {
        fprintf(stderr, "\r%s%*s", line, line_cells > n ? line_cells - n : 0, "");
        line_cells = line_cells > n ? line_cells : n;
    } else
        fprintf(stderr, "%s\n", line);
    return 0;
}

void log_line(void *user, int level, const char *line)
{
    char shown[4096];
    (void)user;
    (void)jsc_text_show(line, strlen(line), 0, shown, sizeof shown);
    progress_clear();
    fprintf(stderr, "jscopes: %s%s\n", level == 0 ? "warning: " : "", shown);
}
