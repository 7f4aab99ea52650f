/* cli_corpus.h: parts of the command corpus. */
#ifndef JSC_CLI_CORPUS_H
#define JSC_CLI_CORPUS_H

#include "cli_internal.h"

/* ---- corpus_view.c: how far a run is, on standard error ----------------------------------------------------------------------- */

struct corpus_view {
    bool quiet, lines; /* lines: one after another, else one that is written over */
    double last;
};
bool corpus_view_parse(const struct arguments *args, struct corpus_view *out); /* --progress; false after a message */
void corpus_progress(struct corpus_view *view, const jsc_corpus_counts *now);
void corpus_progress_clear(void);
/* Hours, minutes and seconds. */
void corpus_put_time(double seconds, char out[24]);

/* ---- corpus_folder_commands.c: what is in a folder of results -------------------------------------------------------------------- */

int corpus_status(const struct arguments *args, const char *folder);
int corpus_check(const struct arguments *args, const char *folder);
int corpus_merge(const struct arguments *args, const char *folder);
int corpus_summary(const struct arguments *args, const char *folder);

#endif
