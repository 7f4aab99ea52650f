/* read_json.h: what the parts of the reader of JSON results share. */
#ifndef JSC_READ_JSON_H
#define JSC_READ_JSON_H

#include "files_internal.h"
#include "report_internal.h"

/* Fields that are read from the text itself: large tables, and whole numbers beyond what the JSON library holds. */
enum read_field { READ_TOKENS, READ_LAYERS, READ_LAYER_STDERRS, READ_MATRIX, READ_MATRIX_TARGETS, READ_SEED, READ_BYTES_PEAK, READ_COUNT };
#define READ_NAME "attribution" /* begins every message */

struct reading {
    struct json_reader text;            /* of one object */
    struct json_span where[READ_COUNT]; /* to 0: the field is absent or null */
    jsc_attribution *a;
};

/* A key into out; one that is longer than any known is read as "". */
#define READ_KEY_MAX 32
jsc_status read_key(struct json_reader *r, char out[READ_KEY_MAX], jsc_error *error);
/* A text into new memory. */
jsc_status read_text(struct json_reader *r, char **out, jsc_error *error);

/* read_tokens.c: the list of tokens with their scores. */
jsc_status read_tokens(struct reading *reading, jsc_error *error);
/* read_table.c: layers, matrix and what belongs to them; after the tokens and the model. */
jsc_status read_tables(struct reading *reading, jsc_error *error);
/* read_figures.c: everything else, from the tree of the object without the fields above. */
jsc_status read_figures(struct reading *reading, const json_t *root, jsc_error *error);
/* read_figures.c: the gradients along a path, as many rows of T numbers as there are places on it; after the tokens. */
jsc_status read_path_nodes(struct reading *reading, const json_t *root, jsc_error *error);

#endif
