/* corpus_view.c: how far a corpus is: records, rates, errors and the time left by bytes of input, so that nothing is counted beforehand. */
#include "cli_corpus.h"

#include <inttypes.h>
#include <math.h>
#include <unistd.h>

#define TERMINAL_GAP 0.5 /* seconds */
#define LINE_GAP     30.0

static int cells; /* of the unfinished line on the terminal */

bool corpus_view_parse(const struct arguments *args, struct corpus_view *out)
{
    static const char *const names[] = {"auto", "plain", "none", NULL};
    const char *given = args->value[OPT_PROGRESS];
    const int index = given != NULL ? choice(OPT_PROGRESS, given, names) : 0;
    out->quiet = index == 2;
    out->lines = index == 1 || isatty(STDERR_FILENO) == 0;
    return index >= 0;
}

void corpus_progress_clear(void)
{
    if (cells > 0)
        fprintf(stderr, "\r%*s\r", cells, "");
    cells = 0;
}

void corpus_put_time(double seconds, char out[24])
{
    const unsigned s = seconds >= 0.0 && seconds < 1e9 ? (unsigned)lround(seconds) : 999999999u;
    (void)snprintf(out, 24, "%u:%02u:%02u", s / 3600, s / 60 % 60, s % 60);
}

static void put_left(const jsc_corpus_counts *now, char out[48])
{
    const double share = now->bytes_all > 0 ? fmin((double)now->bytes / (double)now->bytes_all, 1.0) : 0.0;
    char left[24];
    out[0] = '\0';
    if (!(share > 0.0))
        return;
    corpus_put_time(now->seconds * (1.0 - share) / share, left);
    (void)snprintf(out, 48, ", %.0f %%, %s left", 100.0 * share, left);
}

void corpus_progress(struct corpus_view *view, const jsc_corpus_counts *now)
{
    char line[200], left[48];
    if (view->quiet || now->seconds - view->last < (view->lines ? LINE_GAP : TERMINAL_GAP))
        return;
    view->last = now->seconds;
    put_left(now, left);
    const double seconds = now->seconds > 0.0 ? now->seconds : 1.0;
    const int n = snprintf(line, sizeof line, "jscopes: %" PRIu64 " records, %.3g records/s, %.4g tokens/s, %" PRIu64 " errors%s",
                           now->records, (double)now->records / seconds, (double)now->tokens / seconds, now->errors, left);
    if (view->lines) {
        fprintf(stderr, "%s\n", line);
        return;
    }
    fprintf(stderr, "\r%s%*s", line, cells > n ? cells - n : 0, "");
    cells = cells > n ? cells : n;
}
