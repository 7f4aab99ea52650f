/* tokenizer_internal.h: the parts of a tokeniser: text -> added tokens -> normaliser -> pre-tokeniser -> BPE -> post-processor. */
#ifndef JSC_TOKENIZER_INTERNAL_H
#define JSC_TOKENIZER_INTERNAL_H

#include "files_internal.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

/* ---- vocabulary and merges (tokenizer_vocab.c) ----------------------------------------------------------------------------------- */

struct vocab_entry {
    uint32_t start, n; /* in bytes */
    int32_t id;
};
/* Texts in one block, found by hash; entries stay in the order of adding. */
struct vocab {
    char *bytes;
    size_t n_bytes, bytes_capacity;
    struct vocab_entry *entries;
    size_t n, capacity;
    uint32_t *slots; /* 0: empty, else entry + 1 */
    size_t n_slots;
};
jsc_status vocab_reserve(struct vocab *v, size_t entries, size_t bytes, jsc_error *error);
/* The caller has made sure that text is not in yet. */
jsc_status vocab_add(struct vocab *v, const char *text, size_t n, int32_t id, jsc_error *error);
int32_t vocab_find(const struct vocab *v, const char *text, size_t n); /* -1: absent */
void vocab_free(struct vocab *v);
uint64_t hash_bytes(const char *text, size_t n);

struct pair_entry {
    uint64_t pair;
    uint32_t rank; /* of the merge + 1; 0: empty slot */
    int32_t id;    /* what the pair becomes */
};
/* (left, right) -> (rank, id): merges, and the edges of the trie of added tokens. */
struct pair_map {
    struct pair_entry *slots;
    size_t n_slots, n;
};
jsc_status pair_reserve(struct pair_map *m, size_t pairs, jsc_error *error);
/* A pair that is in already gets the new rank and id. */
jsc_status pair_set(struct pair_map *m, int32_t left, int32_t right, uint32_t rank, int32_t id, jsc_error *error);
const struct pair_entry *pair_find(const struct pair_map *m, int32_t left, int32_t right); /* NULL: absent */

/* ---- regular expressions (tokenizer_regex.c, tokenizer_unicode.c) ------------------------------------------------------------------ */

/* The body of a PCRE2 character class for "L", "Nd", "Han", "s", "word", "digit", "punctuation" ...; NULL: no such name. */
const char *tokenizer_class(const char *name, size_t n);
/* The reference's normalisers leave this character alone, although newer tables say more about it. */
bool normal_is_unknown(int32_t code_point);
int32_t normal_lower(int32_t code_point);
bool is_white_space(uint32_t code_point);

/* pattern in the syntax of the reference (Oniguruma, Ruby); JSC_E_UNSUPPORTED names the part that would mean something else here. */
jsc_status regex_compile(const char *pattern, size_t n, pcre2_code **out, jsc_error *error);
/* A pattern that matches the text itself. */
jsc_status regex_compile_literal(const char *text, size_t n, pcre2_code **out, jsc_error *error);
/* PCRE2's own syntax, no rewriting. */
jsc_status regex_compile_raw(const char *pattern, size_t n, pcre2_code **out, jsc_error *error);
/* One character of a class of tokenizer_unicode.c. */
jsc_status regex_compile_class(const char *name, pcre2_code **out, jsc_error *error);
jsc_status regex_match_data(pcre2_match_data **out, jsc_error *error);

/* Walks the matches of one subject as the reference's find_iter does. Begin with {code, match, text, n}. */
struct regex_walk {
    const pcre2_code *code;
    pcre2_match_data *match;
    const char *text;
    size_t n, at, last_end;
    bool matched, over;
};
jsc_status regex_next(struct regex_walk *w, size_t *from, size_t *to, bool *found, jsc_error *error);

/* ---- normalisers (tokenizer_normalize.c) -------------------------------------------------------------------------------------------- */

enum normalizer_kind {
    NORMALIZE_NFC,
    NORMALIZE_NFD,
    NORMALIZE_NFKC,
    NORMALIZE_NFKD,
    NORMALIZE_LOWERCASE,
    NORMALIZE_PREPEND,
    NORMALIZE_REPLACE,
    NORMALIZE_STRIP
};
struct normalizer {
    enum normalizer_kind kind;
    pcre2_code *pattern; /* REPLACE */
    char *text;          /* REPLACE, PREPEND */
    size_t n;
    bool left, right; /* STRIP */
};
/* Memory of a run, kept from one call to the next. */
struct normal_buffers {
    char *text[2];
    size_t capacity[2];
    int32_t *points;
    unsigned char *classes;
    size_t points_capacity, classes_capacity;
};
/* *out points to text (nothing to do) or into the buffers. */
jsc_status normalize(const struct normalizer *list, size_t count, const char *text, size_t n, pcre2_match_data *match,
                     struct normal_buffers *b, const char **out, size_t *out_n, jsc_error *error);
void normal_buffers_free(struct normal_buffers *b);

/* ---- added tokens (tokenizer_added.c) ------------------------------------------------------------------------------------------------ */

struct added_token {
    int32_t id;
    bool single_word, lstrip, rstrip, normalized; /* special or not makes no difference to the ids */
};
/* Leftmost-longest matching over the tokens of one class. */
struct added_set {
    struct pair_map trie;
    int32_t *token; /* [nodes] the token that ends here, -1: none */
    size_t n_nodes, capacity;
    bool first[256];
};
#define ADDED_BYTES_MAX 256 /* a search costs at most so many steps per byte of text */
jsc_status added_set_add(struct added_set *set, const char *content, size_t n, int32_t token, jsc_error *error);
/* The token that begins at text, longest first; -1: none. */
int32_t added_set_match(const struct added_set *set, const char *text, size_t n, size_t *length);
void added_set_free(struct added_set *set);

/* ---- the tokeniser ---------------------------------------------------------------------------------------------------------------------- */

enum split_behavior { SPLIT_ISOLATED, SPLIT_REMOVED, SPLIT_MERGED_WITH_PREVIOUS, SPLIT_MERGED_WITH_NEXT, SPLIT_CONTIGUOUS };
enum stage_kind { STAGE_SPLIT, STAGE_PREFIX_SPACE, STAGE_BYTE_MAP, STAGE_METASPACE };
enum prepend_scheme { PREPEND_ALWAYS, PREPEND_FIRST, PREPEND_NEVER };
struct stage {
    enum stage_kind kind;
    pcre2_code *pattern;          /* SPLIT */
    enum split_behavior behavior; /* SPLIT */
    bool invert;                  /* SPLIT: what matches is the text, not the separator */
    char replacement[8];          /* METASPACE */
    size_t replacement_n;
    enum prepend_scheme prepend; /* METASPACE */
};
#define STAGES_MAX 32

enum bpe_kind { BPE_BY_RANK, BPE_BY_SCORE }; /* list of merges; or any two neighbours whose text is a token, best score first */
#define CHAR_TABLE 1024

struct tokenizer {
    char *path;
    size_t rows;   /* of the embedding */
    char *refusal; /* why text is refused; NULL: it is not */
    char *description;
    char **warnings;
    size_t n_warnings, warnings_capacity;

    struct vocab vocab; /* what BPE can reach */
    struct pair_map merges;
    enum bpe_kind kind;
    uint32_t *score_rank; /* [n_scores] BY_SCORE, by id: small is better */
    size_t n_scores;
    bool ignore_merges, byte_fallback, fuse_unk;
    char *unk_token;              /* NULL: none */
    int32_t unk_id;               /* -1: unk_token is not in the vocabulary */
    int32_t char_ids[CHAR_TABLE]; /* of code points; -1: not a token */
    int32_t byte_ids[256];        /* of <0x00> ... <0xFF>; -1 */

    struct vocab added_text; /* content -> index into added */
    struct added_token *added;
    size_t n_added, added_capacity;
    struct added_set raw, normalized;
    pcre2_code *word; /* matches one character of a word; NULL: no token asks for it */

    struct normalizer *normalizers;
    size_t n_normalizers, normalizers_capacity;
    struct stage *stages;
    size_t n_stages, stages_capacity;

    int32_t *prefix, *suffix; /* of the post-processor */
    size_t n_prefix, prefix_capacity, n_suffix, suffix_capacity;
    int32_t bos, eos;

    struct token_text {
        uint32_t start, n;
    } * texts; /* [rows] bytes that a token stands for */
    char *text_bytes;
    size_t n_text_bytes, text_bytes_capacity;
};

/* One piece of text on its way through the stages. */
struct piece {
    const char *text;
    size_t n;
    size_t origin; /* offset in the caller's text, for messages */
    bool exact;    /* false: origin is that of the whole fragment */
    bool first;    /* begins where the caller's text begins */
    bool mapped;   /* text is byte-mapped: one character per byte of the caller's text */
};

struct heap_entry {
    uint64_t key; /* rank, position */
    int32_t id;
};
struct symbol {
    int32_t id, prev, next; /* id -1: no token (BY_SCORE); next -1: the last; next -2: gone */
    uint32_t start, n;
};
#define PIECE_CACHE 4096 /* power of two */
struct cached_piece {
    uint64_t hash;
    size_t at; /* its ids stand in the output from here */
    uint32_t n_ids;
    uint8_t n;
    char text[43];
};
/* What one call needs; nothing of it is shared between threads. */
struct encoding {
    const struct tokenizer *tok;
    const char *text; /* as the caller gave it */
    size_t n;
    struct token_list out;
    pcre2_match_data *match;
    struct normal_buffers normal;
    char *scratch[STAGES_MAX];
    size_t scratch_capacity[STAGES_MAX];
    struct symbol *symbols;
    size_t n_symbols, symbols_capacity;
    struct heap_entry *heap;
    size_t n_heap, heap_capacity;
    struct cached_piece *cache; /* NULL: short text */
    struct drop {
        size_t offset;
        bool exact;
    } * drops; /* bytes that the vocabulary cannot express */
    size_t n_drops, drops_capacity;
};

/* tokenizer_byte_map.c: the 256 characters that stand for bytes in byte-level vocabularies. */
uint32_t byte_map_char(unsigned char byte);
int byte_map_byte(uint32_t code_point);                      /* -1: stands for none */
size_t byte_map_text(const char *text, size_t n, char *out); /* out holds 2 n bytes; returns the length */

/* tokenizer_bpe.c */
jsc_status bpe_encode(struct encoding *e, const struct piece *piece, jsc_error *error);
/* tokenizer_split.c: runs the stages from `stage` on and then BPE. */
jsc_status stage_run(struct encoding *e, size_t stage, const struct piece *piece, jsc_error *error);
/* tokenizer_encode.c */
jsc_status token_list_push(struct token_list *list, int32_t id, jsc_error *error);
jsc_status token_list_warn(struct token_list *list, const char *text, jsc_error *error);

/* tokenizer_build.c: what both kinds of files share. */
jsc_status tokenizer_new(const char *path, size_t rows, struct tokenizer **out, jsc_error *error);
jsc_status tokenizer_warn(struct tokenizer *tok, jsc_error *error, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Text is refused with this reason; the first one stays. */
jsc_status tokenizer_refuse(struct tokenizer *tok, jsc_error *error, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* JSC_E_UNSUPPORTED with the text why becomes a refusal of text; other failures are passed on. */
jsc_status tokenizer_absorb(struct tokenizer *tok, jsc_status status, const jsc_error *why, jsc_error *error);
jsc_status tokenizer_add_merge(struct tokenizer *tok, size_t number, const char *left, size_t left_n, const char *right, size_t right_n,
                               jsc_error *error);
jsc_status tokenizer_add_added(struct tokenizer *tok, const char *content, size_t n, const struct added_token *token, jsc_error *error);
int32_t tokenizer_added_find(const struct tokenizer *tok, const char *content, size_t n); /* id; -1 */
/* Tables that follow from vocabulary and added tokens; before it all parts are in place, after it nothing changes. */
jsc_status tokenizer_finish(struct tokenizer *tok, jsc_error *error);
enum token_style { TOKEN_RAW, TOKEN_BYTE_LEVEL, TOKEN_METASPACE };
/* The bytes that the token with this id stands for. hex: "<0x0A>" is one byte. */
jsc_status tokenizer_set_text(struct tokenizer *tok, int32_t id, const char *token, size_t n, enum token_style style, bool hex,
                              jsc_error *error);
jsc_status tokenizer_add_stage(struct tokenizer *tok, const struct stage *stage, jsc_error *error);
/* A stage that splits by pattern, isolating what matches. */
jsc_status tokenizer_add_split(struct tokenizer *tok, const char *pattern, jsc_error *error);
/* A stage that isolates each character (or run) of a class of tokenizer_unicode.c. */
jsc_status tokenizer_add_class_split(struct tokenizer *tok, const char *name, enum split_behavior behavior, jsc_error *error);
jsc_status tokenizer_add_normalizer(struct tokenizer *tok, enum normalizer_kind kind, const char *text, size_t n, jsc_error *error);

/* tokenizer_patterns.c: the splitting patterns by name. */
extern const char *const pattern_gpt2;
struct pre_tokenizer_row {
    const char *name;        /* tokenizer.ggml.pre */
    const char *patterns[5]; /* in turn; "digit" is the class of single digits */
    bool ignore_merges, add_bos, nfc;
};
const struct pre_tokenizer_row *pre_tokenizer_find(const char *name, size_t n); /* NULL: not implemented */

/* tokenizer_json_model.c: where the vocabulary and the merges lie in tokenizer.json; they are read from there, the rest as a tree. */
struct json_model {
    struct json_reader reader;      /* over the whole text, which must outlive this */
    struct json_span vocab, merges; /* to 0: absent, or neither list nor object */
    struct json_span cuts[2];       /* both in rising order */
    size_t n_cuts;
};
jsc_status json_model_find(const char *path, const char *text, size_t n, struct json_model *out, jsc_error *error);
/* options: the model in the tree, without the two. */
jsc_status tokenizer_read_model(struct tokenizer *tok, const struct json_model *model, const json_t *options, jsc_error *error);

/* tokenizer_json_stages.c */
jsc_status tokenizer_read_normalizer(struct tokenizer *tok, const json_t *node, int depth, jsc_error *error);
jsc_status tokenizer_read_pre_tokenizer(struct tokenizer *tok, const json_t *node, int depth, struct strbuf *names, jsc_error *error);
jsc_status tokenizer_read_post_processor(struct tokenizer *tok, const json_t *node, int depth, jsc_error *error);

#endif
