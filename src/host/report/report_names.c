/* report_names.c: the words by which reports call the choices of a result, and back. */
#include "report_internal.h"

#include <string.h>

const char *const objective_words[] = {"logit", "log-probability", "contrast", NULL};
const char *const fisher_words[] = {"adaptive", "exact", "rank", NULL};
const char *const path_rule_words[] = {"uniform", "graded", NULL};
const char *const baseline_words[] = {"zero", "mean", "id", NULL};

const char *word_of(const char *const *words, unsigned choice)
{
    unsigned n = 0;
    while (words[n] != NULL)
        n++;
    return choice < n ? words[choice] : "?";
}

bool word_find(const char *const *words, const char *word, unsigned *choice)
{
    for (unsigned i = 0; words[i] != NULL; i++)
        if (strcmp(words[i], word) == 0) {
            *choice = i;
            return true;
        }
    return false;
}

void say_fisher_mode(struct sink *sink, const jsc_attribution *a)
{
    if (a->fisher.mode == JSC_FISHER_EXACT)
        sink_printf(sink, "exact: all %d directions of F%s", a->fisher.directions,
                    a->fisher.asked_adaptive ? " (adaptive was asked for; exact costs no more here)" : "");
    else if (a->fisher.mode == JSC_FISHER_RANK)
        sink_printf(sink, "rank %d: the scores lack what the other directions hold", a->fisher.directions);
    else
        sink_printf(sink, "adaptive: %d directions exactly, %d probes of the rest", a->fisher.directions, a->fisher.probes);
}
