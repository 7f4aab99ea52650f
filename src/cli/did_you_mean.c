/* did_you_mean.c: the known name that is nearest to a mistyped word. */
#include "cli_internal.h"

#include <string.h>

#define LONGEST 40

static int smallest(int a, int b, int c)
{
    const int ab = a < b ? a : b;
    return ab < c ? ab : c;
}

/* Insertions, deletions, replacements and swaps of neighbours that turn a into b (optimal string alignment). */
static int edits(const char *a, const char *b)
{
    int d[LONGEST + 1][LONGEST + 1];
    const int n = (int)strlen(a), m = (int)strlen(b);
    for (int i = 0; i <= n; i++)
        d[i][0] = i;
    for (int j = 0; j <= m; j++)
        d[0][j] = j;
    for (int i = 1; i <= n; i++)
        for (int j = 1; j <= m; j++) {
            d[i][j] = smallest(d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && d[i - 2][j - 2] + 1 < d[i][j])
                d[i][j] = d[i - 2][j - 2] + 1;
        }
    return d[n][m];
}

void guess_try(struct guess *guess, const char *name)
{
    if (strlen(guess->word) > LONGEST || strlen(name) > LONGEST)
        return;
    const int distance = edits(guess->word, name);
    if (guess->best == NULL || distance < guess->distance) {
        guess->best = name;
        guess->distance = distance;
    }
}

const char *guess_best(const struct guess *guess)
{
    const int letters = (int)strlen(guess->word);
    return guess->best != NULL && guess->distance <= (letters < 4 ? 1 : letters / 3 + 1) ? guess->best : NULL;
}
