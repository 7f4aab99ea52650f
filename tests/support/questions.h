/* questions.h: requests of every kind that a tiny model answers, for tests that compare two ways of answering. */
#ifndef JSC_TEST_QUESTIONS_H
#define JSC_TEST_QUESTIONS_H

#include <jscopes/jscopes.h>

struct question {
    const char *name;
    jsc_scope scope;
    jsc_fisher_mode mode;
    int targets, layers, matrix;
};
enum { QUESTION_TOKENS = 9 };
extern const struct question questions[];
extern const int n_questions;
/* Of QUESTION_TOKENS tokens. */
jsc_request question_request(const struct question *question);

#endif
