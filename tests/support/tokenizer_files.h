/* tokenizer_files.h: tokenisers of tests/golden/tokenizer, tokenisers made of a few JSON words, and ids against what is wanted. */
#ifndef TOKENIZER_FILES_H
#define TOKENIZER_FILES_H

#include "files_internal.h"

/* cr_expect for conditions that do not begin with a word. */
#define CHECK(condition, ...)                                                                                                              \
    do {                                                                                                                                   \
        const bool check_ = (condition);                                                                                                   \
        cr_expect(check_, __VA_ARGS__);                                                                                                    \
    } while (0)

/* The JSON file tests/golden/tokenizer/name; the test fails if it cannot be read. Caller: json_decref. */
json_t *tokenizer_golden(const char *name);
/* Opens a tokenizer.json given as a tree. */
jsc_status tokenizer_of(const json_t *root, size_t rows, struct tokenizer **out, jsc_error *error);
/* The same for a file that must open. */
struct tokenizer *tokenizer_must(const json_t *root, size_t rows);

/* A tokenizer.json over characters: the tokens a ... z, ' ', '<', '>', then "ab" and "abc" by merges; model options and other top-level
 * parts can be set afterwards with json_object_set_new(). Added tokens come from added_token(). */
json_t *small_tokenizer(void);
#define SMALL_TOKENS 31
/* flags: letters of "wlrns" (single_word, lstrip, rstrip, normalized, special). */
void added_token(json_t *root, int id, const char *content, const char *flags);
json_t *model_of(json_t *root); /* borrowed */

/* The ids of a text are exactly these; says what, the text and both lists if not. */
void expect_ids(const char *what, const struct tokenizer *tok, const char *text, size_t n, bool special, const json_t *want);
/* want as text: "[0,1]". */
#define EXPECT_IDS(tok, text, special, want) expect_ids_text(__LINE__, tok, text, special, want)
void expect_ids_text(int line, const struct tokenizer *tok, const char *text, bool special, const char *want);
/* How many of the texts have other ids than wanted (each is reported). */
void expect_all_ids(const char *what, const struct tokenizer *tok, const json_t *texts, const json_t *want, bool special);

/* The first warning of this text, "" if there is none; in a static buffer. */
const char *text_warning(const struct tokenizer *tok, const char *text, size_t n, bool special);

#endif
