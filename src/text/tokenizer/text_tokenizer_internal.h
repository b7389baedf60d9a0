/* text_tokenizer_internal.h: what the tokenizer's files share.
 *
 * The parts, from the ground up:
 *   text_tokenizer_match.c longest match of special tokens
 *   text_pretoken*.c       cutting text into words (patterns, and scanners for the usual ones)
 *   text_spm_*.c           SentencePiece .model files: reading, encoding, decoding
 *   text_normal*.c, text_charsmap.c   what happens to text before it is cut
 *   text_tokenizer_decode.c   what the pieces of a tokenizer.json become as text
 *   text_tokenizer_json.c, text_tokenizer_model.c, text_tokenizer_ranks.c   the other file formats
 *   text_tokenizer.c       the public functions: dispatch, encoding of byte-level text, decoding
 *   text_codec.c           text and ids between two descriptors */
#ifndef COLOSSUS_TEXT_TOKENIZER_INTERNAL_H
#define COLOSSUS_TEXT_TOKENIZER_INTERNAL_H

#include "text/pattern/text_pattern_internal.h"
#include "text/pieces/text_pieces_internal.h"

#define TOKENIZER_MAX_FILE ((size_t)256 << 20)

/* ------------------------------------------------------------------ special tokens
 * (text_tokenizer_match.c): the longest of a set of strings that begins at a place. */

struct match_set {
    struct table edges; /* table_pair(node, byte) to the node behind it; node 0 is the root */
    uint32_t *node_ids; /* [n_nodes] id of the string that ends here, or TOKENIZER_NONE */
    size_t n_nodes, node_cap;
    bool first[256]; /* a string begins with this byte */
    bool any;
};
void match_set_fini(struct match_set *s);
/* The first id given for a string stays. size > 0. */
void match_set_add(struct match_set *s, const char *text, size_t size, uint32_t id);
size_t match_set_find(const struct match_set *s, const char *text, size_t size, uint32_t *id);

/* match_set_find behind a look at the first byte. 0: none begins here. size > 0. */
static inline size_t match_set_longest(const struct match_set *s, const char *text, size_t size,
                                       uint32_t *id)
{
    return s->first[(uint8_t)text[0]] ? match_set_find(s, text, size, id) : 0;
}

/* ------------------------------------------------------------------ pre-tokenizers
 * (text_pretoken.c, text_pretoken_stage.c, text_pretoken_scan.c): text into words that are cut into
 * pieces one by one. */

enum { PRETOKEN_MAX_STAGES = 16 };

/* Character classes of the usual patterns: \p{L}, \p{N} and \s of Unicode 16. */
enum pretoken_class {
    PRETOKEN_OTHER,
    PRETOKEN_LETTER,
    PRETOKEN_NUMBER,
    PRETOKEN_SPACE,
    PRETOKEN_INVALID, /* a byte that is not UTF-8: matched by nothing */
    PRETOKEN_END
};

enum pretoken_scanner {
    PRETOKEN_PATTERN,    /* any pattern */
    PRETOKEN_CHARACTERS, /* every character of a set matches by itself */
    PRETOKEN_GPT2,       /* byte-level's own */
    PRETOKEN_GPT4,       /* GPT-4's family: GPT-4, Llama 3, Qwen2, Grok-2 */
    PRETOKEN_DIGITS,     /* a number is a word, and what lies between: \p{N}, \p{N}{1,3}, \p{N}+ */
    PRETOKEN_LENGTH,     /* so many characters */
    PRETOKEN_PREFIX,     /* a space in front where there is none */
    PRETOKEN_METASPACE,  /* spaces to another character, and one of it in front */
    PRETOKEN_BYTES       /* the characters that stand for bytes in a tokenizer.json */
};

/* What becomes of a match (Hugging Face's SplitDelimiterBehavior). */
enum pretoken_behavior {
    PRETOKEN_ISOLATED,
    PRETOKEN_REMOVED,
    PRETOKEN_WITH_PREVIOUS,
    PRETOKEN_WITH_NEXT,
    PRETOKEN_CONTIGUOUS /* neighbouring matches are one */
};
enum pretoken_prepend { PRETOKEN_PREPEND_ALWAYS, PRETOKEN_PREPEND_FIRST, PRETOKEN_PREPEND_NEVER };

struct pretoken_stage {
    enum pretoken_scanner scanner;
    size_t digits; /* GPT4 and DIGITS: the most that make one word; LENGTH: characters */
    enum pretoken_behavior behavior;
    bool invert; /* what lies between matches is taken for the match */
    enum pretoken_prepend prepend;
    uint32_t replacement; /* METASPACE */
    struct pattern *pattern;
    struct pattern_test *test; /* CHARACTERS */
};
struct pretoken {
    struct pretoken_stage stages[PRETOKEN_MAX_STAGES]; /* each cuts what the one before left */
    int n_stages;
};
/* Working memory of one thread. */
struct pretoken_scratch {
    struct pattern_work work;
    struct arena arena; /* text that a stage changed, until the next pretoken_split */
    bool at_begin;      /* set by the caller: the text begins where the whole text does */
};

#define PRETOKEN_PATTERN_GPT2 \
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
/* GPT-4's pattern, of which the family varies how many digits make a word. */
#define PRETOKEN_PATTERN_GPT4(digits)                                          \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}" digits \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define PRETOKEN_PATTERN_GROK2  PRETOKEN_PATTERN_GPT4("")
#define PRETOKEN_PATTERN_LLAMA3 PRETOKEN_PATTERN_GPT4("{1,3}")

/* Add a stage. A pattern that is written exactly like one of the usual ones gets a scanner where
 * its matches stay alone. Errors: a pattern that is wrong or not supported, too many stages. */
struct pretoken_cut {
    enum pattern_dialect dialect;
    enum pretoken_behavior behavior;
    bool invert;
};
int pretoken_add_pattern(struct pretoken *p, const char *pattern, size_t size,
                         struct pretoken_cut cut, struct error *e);
/* Oniguruma's dialect, matches isolated. */
int pretoken_add(struct pretoken *p, const char *pattern, size_t size, struct error *e);
/* The pattern of a rank file: Rust's dialect, matches isolated. */
int pretoken_add_tiktoken(struct pretoken *p, const char *pattern, size_t size, struct error *e);
/* Takes over the set's memory. */
int pretoken_add_characters(struct pretoken *p, struct unicode_set *set,
                            enum pretoken_behavior behavior, struct error *e);
/* Any other stage, which owns nothing. */
int pretoken_add_stage(struct pretoken *p, struct pretoken_stage stage, struct error *e);
void pretoken_fini(struct pretoken *p);
void pretoken_scratch_init(struct pretoken_scratch *s, const struct pretoken *p);
void pretoken_scratch_fini(struct pretoken_scratch *s);
/* Calls fn for every word of the text, in order; what a stage removes is left out. No stage: the
 * text is one word. Words stay where they are until the next call. */
typedef void pretoken_fn(void *ctx, const char *word, size_t size);
void pretoken_split(const struct pretoken *p, struct pretoken_scratch *s, const char *text,
                    size_t size, pretoken_fn *fn, void *ctx);
/* May the text be cut before text[at] (0 < at < size) without changing any word? True for the usual
 * patterns of GPT-4's family at a line end in front of a letter or digit; false where not known. */
bool pretoken_can_cut(const struct pretoken *p, const char *text, size_t at);
/* (text_pretoken_stage.c) Cuts one stage's text, and hands the parts to the next stages. */
struct pretoken_split {
    const struct pretoken *p;
    struct pretoken_scratch *scratch;
    pretoken_fn *fn;
    void *ctx;
    const char *raw, *mapped; /* behind BYTES: bytes not yet handed out, and their characters */
    const char *begin;        /* of the whole text; NULL: elsewhere */
};
void pretoken_run_stage(struct pretoken_split *s, int stage, const char *text, size_t size);
/* (text_pretoken_scan.c) End of the word that begins at text + at, at < size, by the stage's
 * scanner, which is GPT2, GPT4 or DIGITS. */
size_t pretoken_scan(const struct pretoken_stage *stage, const uint8_t *classes, const char *text,
                     size_t size, size_t at);
/* (text_pretoken_table.c) Classes of code points, built at the first call; any thread may call. */
#define PRETOKEN_CLASS_POINTS 0x32400u /* no letter, number or space lies above */
const uint8_t *pretoken_classes(void);

/* ------------------------------------------------------------------ characters
 * (text_normal_char.c): of valid UTF-8; bytes that are not are no space, mark or word. */

bool char_is_space(uint32_t cp); /* White_Space */
/* Bytes of white space that text begins or ends with. */
size_t text_spaces_at_start(const char *text, size_t size);
size_t text_spaces_at_end(const char *text, size_t size);
bool text_starts_with_word(const char *text, size_t size);
bool text_ends_with_word(const char *text, size_t size);

/* ------------------------------------------------------------------ character maps
 * (text_charsmap.c) */

struct charsmap {
    uint32_t *units; /* [n_units] a double array */
    size_t n_units;
    struct str strings;
};
int charsmap_load(struct charsmap *m, const void *data, size_t size, struct error *e);
void charsmap_fini(struct charsmap *m);
/* Bytes of the longest (or shortest) key that begins the text, and what it becomes; 0: none. */
size_t charsmap_match(const struct charsmap *m, const char *text, size_t size, bool shortest,
                      const char **to);
/* Appends the text as normalizer Precompiled makes it: cluster by cluster. */
void charsmap_apply_graphemes(const struct charsmap *m, const char *text, size_t size,
                              struct str *out);

/* ------------------------------------------------------------------ normalizers
 * (text_normal.c) */

struct normal {
    struct normal_step *steps; /* [count] */
    size_t count;
};
/* From a tokenizer.json, where it may be missing or null. */
int normal_read(struct normal *n, const json_t *normalizer, struct error *e);
void normal_fini(struct normal *n);
/* Appends the normalised text. work: memory between steps. Returns whether what it begins with stood at
 * the beginning of the text: false where the first character was taken away. */
bool normal_apply(const struct normal *n, struct str work[2], const char *text, size_t size,
                  struct str *out);

/* ------------------------------------------------------------------ Replace (text_replace.c) */

/* Appends text with each `what`, which is not empty, as `with`. */
void text_replace(const char *text, size_t size, const struct str *what, const struct str *with,
                  struct str *out);

struct replacement {
    struct str what, with;
    struct pattern *pattern; /* NULL: the string `what` */
};
/* Into a zeroed one, which the caller frees in any case. */
int replacement_read(struct replacement *r, const json_t *o, struct error *e);
void replacement_fini(struct replacement *r);
void replacement_apply(const struct replacement *r, const char *text, size_t size, struct str *out);
/* Whether the text's first character is taken away, with nothing in its place. */
bool replacement_takes_first(const struct replacement *r, const char *text, size_t size);
/* How many times as long a text may become at most. */
double replacement_growth(const struct replacement *r);

/* ------------------------------------------------------------------ decoders
 * (text_tokenizer_decode.c): what the pieces of a tokenizer.json become as text. */

struct piece_decoder {
    struct decoder_step *steps; /* [count] */
    size_t count;
    struct str shown;   /* each piece as it decodes by itself */
    uint32_t *shown_at; /* [vocabulary + 1] in shown */
};
/* Of a tokenizer whose model is read. */
int decoder_read(struct tokenizer *t, const json_t *decoder, struct error *e);
void decoder_fini(struct piece_decoder *d);
/* Appends the text of ids that exist. TOKENIZER_TEXT only. */
void decoder_run(const struct tokenizer *t, const uint32_t *ids, size_t count, unsigned flags,
                 struct str *out);

/* ------------------------------------------------------------------ tokenizers */

enum tokenizer_algorithm {
    TOKENIZER_BYTE_LEVEL,   /* tokenizer.json whose pieces are bytes */
    TOKENIZER_TEXT,         /* tokenizer.json whose pieces are text; bpe.rule says of which model */
    TOKENIZER_TIKTOKEN,     /* ranks */
    TOKENIZER_SENTENCEPIECE /* a .model, or llama2.c's */
};

/* A string that is cut out of text as it is and becomes one id. */
struct tokenizer_special {
    uint32_t id;
    bool control;     /* matched with TOKENIZER_PARSE_SPECIAL only, skipped by decoding */
    bool raw;         /* matched before Unicode normalisation (Hugging Face: normalized = false) */
    bool left, right; /* takes the white space on this side with it */
    bool single_word; /* only where no letter, digit or the like stands beside it */
    size_t name_at, name_size; /* in tokenizer.names; set by tokenizer_special_add */
};

struct tokenizer {
    enum tokenizer_algorithm algorithm;
    uint64_t hash;
    uint32_t eos, bos;
    bool eos_marked;        /* by the file itself, not only by its name */
    const char *eos_source; /* what says so, for people; static */
    struct bpe_model bpe;   /* its vocabulary holds special tokens too, by id, not in the hash */
    struct tokenizer_special *specials;
    size_t n_specials, special_cap;
    struct str names;
    /* All but SentencePiece: places in specials of what matches in text as it is, or normalised. */
    struct match_set raw, normal;
    struct normal normalizer;
    struct pretoken pretoken;
    bool byte_level; /* a pre_tokenizer ByteLevel: pieces are bytes */
    struct piece_decoder decoder;
    /* SentencePiece */
    bool dummy_prefix, remove_extra_spaces, cut_at_spaces, literal_spaces;
    struct charsmap map;
    struct match_set user;     /* user-defined symbols as they look in normalised text */
    struct match_set user_raw; /* the same in the text as given */
    struct str converted;      /* a rank file with what it lacks; text_tokenizer_ranks.c */
};

struct tokenizer_scratch {
    const struct tokenizer *tokenizer;
    struct bpe_cache cache;
    struct pretoken_scratch pretoken;
    struct str valid;   /* text without bytes that are not UTF-8, where pieces are text */
    struct str normal;  /* normalised text */
    struct str work[2]; /* while it is normalised */
};

/* Parsers, each into a zeroed tokenizer that the caller frees in any case. Only the first puts the
 * file's name into its errors. */
int tokenizer_parse_json(struct tokenizer *t, const char *data, size_t size, const char *name,
                         struct error *e);
int tokenizer_parse_ranks(struct tokenizer *t, const char *data, size_t size,
                          const struct tokenizer_options *o, struct error *e);
/* Appends the bytes of padded base64; false where it is none. */
bool base64_decode(const char *text, size_t size, struct str *out);
int spm_parse(struct tokenizer *t, const uint8_t *data, size_t size, struct error *e);
/* The priority of a piece that merges by its score: the highest first, equal ones equal (so -0 is
 * 0). Fails where the score is infinite or no number. */
int spm_set_score(struct tokenizer *t, uint32_t id, float score, struct error *e);
bool spm_looks_like_llama2(const uint8_t *data, size_t size);
int spm_parse_llama2(struct tokenizer *t, const uint8_t *data, size_t size, struct error *e);

/* (text_tokenizer.c) Adds a special token by its name. */
void tokenizer_special_add(struct tokenizer *t, struct tokenizer_special s, const char *name,
                           size_t size);
/* Puts every special token into the sets that encoding looks at, each as it looks normalised. */
void tokenizer_match_sets(struct tokenizer *t);
/* The id of the special token with this name, or TOKENIZER_NONE. */
uint32_t tokenizer_special_find(const struct tokenizer *t, const char *name, size_t size,
                                bool control_only);
/* The special token with this id, or NULL; its name is t->names.data + name_at. */
const struct tokenizer_special *tokenizer_special_of(const struct tokenizer *t, uint32_t id);
/* Finds BOS, and EOS where the file marks none, by their names among the control tokens. */
void tokenizer_specials_by_name(struct tokenizer *t);
/* Whether a token is called so in public models where it ends a document. */
bool tokenizer_name_ends_text(const char *name, size_t size);
bool tokenizer_ends_by_name(const struct tokenizer *t, uint32_t id);
/* The only control token that ends texts by its name, or TOKENIZER_NONE. */
uint32_t tokenizer_eos_by_name(const struct tokenizer *t);
/* Byte-level: fills byte_ids from the vocabulary; errors where one of the 256 is missing. */
int tokenizer_bytes_check(struct tokenizer *t, struct error *e);

/* (text_tokenizer_json.c) Members of a JSON object that may be missing: is it there and not null; a
 * string, or ""; is it true; and the error for a type that is not followed. */
bool form_has(const json_t *o, const char *key);
const char *form_text(const json_t *o, const char *key);
bool form_true(const json_t *o, const char *key);
int form_refused(const char *what, const char *type, struct error *e);
int form_id(const json_t *v, uint32_t *id, struct error *e);
/* Appends a key of an object; U+0000 in keys stands as this in memory. */
#define FORM_NUL "\xef\xb7\x90"
void form_key(const char *key, struct str *out);
/* (text_tokenizer_model.c) The model and the added tokens; t->byte_level is known. */
int tokenizer_read_model(struct tokenizer *t, const json_t *root, struct error *e);
/* (text_pretoken_json.c) Fills t->pretoken from the pre_tokenizer of a tokenizer.json. */
int pretoken_read(struct tokenizer *t, const json_t *pre, struct error *e);

/* (text_tokenizer.c) Appends text with U+FFFD for each byte that is not UTF-8. */
#define TEXT_REPLACEMENT "\xef\xbf\xbd"
void text_replace_invalid(const char *text, size_t size, struct str *out);

#define SPM_SPACE "\xe2\x96\x81" /* U+2581, a space in SentencePiece's pieces */

/* (text_spm_encode.c) */
void spm_encode(const struct tokenizer *t, struct tokenizer_scratch *s, const char *text,
                size_t size, struct token_array *out);
void spm_decode(const struct tokenizer *t, const uint32_t *ids, size_t count, unsigned flags,
                struct str *out);

/* ------------------------------------------------------------------ byte characters */

/* Byte <-> character of byte-level BPE in tokenizer.json (GPT-2's bytes_to_unicode). */
uint32_t tokenizer_byte_char(uint8_t byte);
int tokenizer_char_byte(uint32_t cp); /* negative: not one of the 256 characters */
/* A piece as tokenizer.json writes it to its bytes, into out; false where a character stands for no
 * byte. */
bool tokenizer_chars_to_bytes(const char *text, size_t size, struct str *out);

#endif
