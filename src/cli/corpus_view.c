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

static void put_left(const jsc_corpus_counts *now, char out[40])
{
    const double share = now->bytes_all > 0 ? (double)now->bytes / (double)now->bytes_all : 0.0;
    const long s = share > 0.0 && now->seconds / share < 1e9 ? lround(now->seconds * (1.0 - fmin(share, 1.0)) / share) : -1;
    if (s < 0)
        (void)snprintf(out, 40, "%s", "");
    else
        (void)snprintf(out, 40, ", %.0f %%, %ld:%02ld:%02ld left", 100.0 * fmin(share, 1.0), s / 3600, s / 60 % 60, s % 60);
}

void corpus_progress(struct corpus_view *view, const jsc_corpus_counts *now)
{
    char line[200], left[40];
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
