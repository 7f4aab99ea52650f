/* refusal.h: what every error must be: the expected status, one line, and the words that tell the user what is wrong. */
#ifndef JSC_TEST_REFUSAL_H
#define JSC_TEST_REFUSAL_H

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <jscopes/status.h>

#include <string.h>

/* words: parts of the text that must all occur, separated by '|'. */
#define expect_refusal(got, want, error_, words) expect_refusal_at(__LINE__, (got), (want), (error_), (words))

static inline void expect_refusal_at(int line, jsc_status got, jsc_status want, const jsc_error *error, const char *words)
{
    cr_expect(got == want, "line %d: %s instead of %s (%s): %s", line, jsc_status_name(got), jsc_status_name(want), words,
              got == JSC_OK ? "" : error->text);
    if (got == JSC_OK)
        return;
    cr_expect(error->status == got, "line %d: the error's status is %d", line, (int)error->status);
    cr_expect(strlen(error->text) > 10 && strpbrk(error->text, "\n\r\t") == NULL, "line %d: no single line: %s", line, error->text);
    for (const char *w = words; *w != '\0';) {
        char word[256] = "";
        const size_t n = strcspn(w, "|");
        memcpy(word, w, n < sizeof word ? n : sizeof word - 1);
        cr_expect(strstr(error->text, word) != NULL, "line %d: \"%s\" is not in: %s", line, word, error->text);
        w += n + (w[n] == '|');
    }
}

#endif
