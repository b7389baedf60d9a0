/* text_tokenizer_internal.h: what the tokenizer's files share.
 *
 * The parts, from the ground up:
 *   text_bpe_table.c       a hash from numbers to numbers, and a heap
 *   text_bpe_vocab.c       pieces, and the hash from a piece's bytes to its id
 *   text_bpe_merge.c       one word to ids by merging (byte pairs with ranks, or joined strings)
 *   text_bpe_cache.c       the same through a cache of short words: the hot path
 *   text_tokenizer_match.c longest match of special tokens
 *   text_pretoken*.c       cutting text into words (PCRE2, and scanners for the usual patterns)
 *   text_spm_*.c           SentencePiece .model files: reading, encoding, decoding
 *   text_tokenizer_json.c, text_tokenizer_ranks.c   the other file formats
 *   text_bpe_count.c, text_bpe_train.c, text_tokenizer_train.c   training
 *   text_tokenizer.c       the public functions: dispatch, encoding of byte-level text, decoding
 *   text_codec.c           text and ids between two descriptors */
#ifndef COLOSSUS_TEXT_TOKENIZER_INTERNAL_H
#define COLOSSUS_TEXT_TOKENIZER_INTERNAL_H

#include "text/corpus/text_corpus_internal.h"

#define TOKENIZER_MAX_IDS   (1u << 24) /* ids above are a broken file */
#define TOKENIZER_MAX_PIECE 0xffffu    /* bytes of one piece */
#define TOKENIZER_MAX_FILE  ((size_t)256 << 20)

/* ------------------------------------------------------------------ bytes */

static inline uint64_t bytes_fold(uint64_t a, uint64_t b)
{
    __uint128_t product = (__uint128_t)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Spreads a number over all 64 bits, so that a table may take the lowest as the slot. */
static inline uint64_t bytes_mix(uint64_t v)
{
    return bytes_fold(v ^ 0xa0761d6478bd642fu, 0xe7037ed1a0b428dbu);
}

/* 1 to 8 bytes as a number, without reading behind them. */
static inline uint64_t bytes_load_short(const char *p, size_t n)
{
    if (n >= 4) return (uint64_t)bytes_load32(p + n - 4) << (8 * (n - 4)) | bytes_load32(p);
    if (n >= 2) return (uint64_t)bytes_load16(p + n - 2) << (8 * (n - 2)) | bytes_load16(p);
    return (uint8_t)p[0];
}

/* A hash for words of a few bytes, two multiplications at most for up to 16; never stored in a
 * file. hash_xxh3 is better for long input but costs a call. */
static inline uint64_t bytes_hash(const char *p, size_t n)
{
    uint64_t a, b = 0;
    if (n >= 8) {
        a = bytes_load64(p);
        b = bytes_load64(p + n - 8);
        for (size_t i = 8; i + 8 < n; i += 8)
            a = bytes_fold(a ^ 0x9e3779b97f4a7c15u, bytes_load64(p + i) ^ 0xe7037ed1a0b428dbu);
    } else if (n >= 4) {
        a = bytes_load32(p);
        b = bytes_load32(p + n - 4);
    } else if (n > 0) {
        a = (uint64_t)(uint8_t)p[0] << 16 | (uint64_t)(uint8_t)p[n >> 1] << 8 | (uint8_t)p[n - 1];
    } else {
        a = 0;
    }
    return bytes_fold(a ^ 0xa0761d6478bd642fu, b ^ 0x8ebc6af09c88c6e3u ^ ((uint64_t)n << 56));
}

static inline bool bytes_equal(const char *a, const char *b, size_t n)
{
    if (n >= 8) {
        for (size_t i = 0; i + 8 < n; i += 8)
            if (bytes_load64(a + i) != bytes_load64(b + i)) return false;
        return bytes_load64(a + n - 8) == bytes_load64(b + n - 8);
    }
    if (n >= 4)
        return bytes_load32(a) == bytes_load32(b) &&
               bytes_load32(a + n - 4) == bytes_load32(b + n - 4);
    for (size_t i = 0; i < n; i++)
        if (a[i] != b[i]) return false;
    return true;
}

/* ------------------------------------------------------------------ tables (text_bpe_table.c) */

#define TABLE_NONE UINT64_MAX /* no key; and the value of a key that is not there */

struct table_slot {
    uint64_t key, value;
};

/* Numbers to numbers, in open addressing with linear probing, at most half full. {0} is empty. For
 * lookups from many threads once it is filled. */
struct table {
    struct table_slot *slots; /* NULL: none yet */
    uint32_t mask;
    size_t count;
};
void table_fini(struct table *t);
/* Room for `count` keys; false where there is no memory. */
bool table_reserve(struct table *t, size_t count);

static inline uint32_t table_home(const struct table *t, uint64_t key)
{
    return (uint32_t)bytes_mix(key) & t->mask;
}

/* The slot of the key, or the empty one where it belongs. Slots must be there. */
static inline struct table_slot *table_slot(const struct table *t, uint64_t key)
{
    for (uint32_t i = table_home(t, key);; i = (i + 1) & t->mask) {
        struct table_slot *slot = &t->slots[i];
        if (slot->key == key || slot->key == TABLE_NONE) return slot;
    }
}

/* The value of the key, which is put in with the value TABLE_NONE where it was not there. Valid
 * until the next call; no memory aborts. */
uint64_t *table_put(struct table *t, uint64_t key);

static inline uint64_t table_pair(uint32_t left, uint32_t right)
{
    return (uint64_t)left << 32 | right;
}

/* A binary heap; the smallest comes first. {0} is empty. */
struct heap_entry {
    uint64_t order, tie; /* compared in this order */
};
struct heap {
    struct heap_entry *entries;
    size_t count, cap;
};
void heap_fini(struct heap *h);
void heap_push(struct heap *h, struct heap_entry entry);
struct heap_entry heap_pop(struct heap *h); /* of a heap that is not empty */

/* ------------------------------------------------------------------ pieces (text_bpe_vocab.c) */

enum bpe_piece_type {
    BPE_PIECE_NONE,    /* a hole: no piece has this id */
    BPE_PIECE_NORMAL,  /* may come out of merging */
    BPE_PIECE_BYTE,    /* SentencePiece byte fallback; the piece is the byte itself */
    BPE_PIECE_UNKNOWN, /* SentencePiece; the piece is its surface when decoded */
    BPE_PIECE_USER,    /* always matched in text */
    BPE_PIECE_CONTROL  /* decodes to nothing; the bytes are its name */
};

#define BPE_NO_PRIORITY UINT32_MAX /* "does not merge" */

struct bpe_piece {
    uint32_t offset;   /* in the blob */
    uint32_t priority; /* merging by string: the smallest joins first */
    uint16_t size;
    uint8_t type; /* enum bpe_piece_type */
    bool dead;    /* never comes out of encoding; not in the hash */
};

/* Everything that most lookups need, in one cache line. */
struct bpe_slot {
    uint64_t key;      /* bpe_key of the piece's bytes */
    uint32_t id;       /* TOKENIZER_NONE: empty */
    uint32_t priority; /* the piece's */
};

struct bpe_vocab {
    char *blob;
    size_t blob_size, blob_cap;
    struct bpe_piece *pieces; /* [count] */
    uint32_t count, cap;
    uint32_t id_limit;      /* ids must be below; 0: TOKENIZER_MAX_IDS */
    struct bpe_slot *slots; /* open addressing, at most half full; NULL before bpe_vocab_index */
    uint32_t slot_mask;
    size_t table_size; /* slots, pieces and blob are one block of this size once indexed */
};

/* Tables that are looked up at random are mapped in huge pages where they are large: half the time
 * of a lookup goes into address translation otherwise. Zeroed; NULL when there is no memory. */
void *bpe_table_alloc(size_t size);
void bpe_table_free(void *p, size_t size);

void bpe_vocab_fini(struct bpe_vocab *v);
/* A file of n pieces may leave holes, but not so many that a few bytes claim much memory. */
void bpe_vocab_limit_ids(struct bpe_vocab *v, size_t n_pieces);
/* Room for this many pieces and bytes, so that adding them does not reallocate. */
int bpe_vocab_reserve(struct bpe_vocab *v, uint32_t pieces, size_t bytes, struct error *e);
/* Sets piece `id` (holes are made up to it), which does not merge: whoever adds one that does
 * writes its priority into v->pieces[id]. Errors: an id too large or used twice, a piece too long;
 * they speak of "id N". */
int bpe_vocab_set(struct bpe_vocab *v, uint32_t id, const char *bytes, size_t size,
                  enum bpe_piece_type type, struct error *e);
/* Builds the hash over NORMAL and USER pieces that are not dead. Errors: the same bytes twice; a
 * file made so that its hashes collide. */
int bpe_vocab_index(struct bpe_vocab *v, struct error *e);

static inline const char *bpe_vocab_bytes(const struct bpe_vocab *v, uint32_t id)
{
    return v->blob + v->pieces[id].offset;
}

/* Up to 7 bytes are the key themselves, with their number in the top byte; more are hashed, with
 * 255 there. */
static inline uint64_t bpe_key(const char *p, size_t n)
{
    if (n >= 8) return bytes_hash(p, n) | 0xffull << 56;
    return (n ? bytes_load_short(p, n) : 0) | (uint64_t)n << 56;
}

/* The same where 8 bytes can be read at p whatever n is. */
static inline uint64_t bpe_key_padded(const char *p, size_t n)
{
    if (n >= 8) return bytes_hash(p, n) | 0xffull << 56;
    return (bytes_load64(p) & ((1ull << (8 * n)) - 1)) | (uint64_t)n << 56;
}

static inline uint32_t bpe_key_slot(const struct bpe_vocab *v, uint64_t key)
{
    return (uint32_t)bytes_mix(key) & v->slot_mask;
}

/* The slot of the piece with these bytes, whose key is given, or an empty slot. */
static inline const struct bpe_slot *bpe_vocab_slot(const struct bpe_vocab *v, uint64_t key,
                                                    const char *p, size_t n)
{
    for (uint32_t i = bpe_key_slot(v, key);; i = (i + 1) & v->slot_mask) {
        const struct bpe_slot *slot = &v->slots[i];
        if (slot->id == TOKENIZER_NONE) return slot;
        if (slot->key == key && (n < 8 || (v->pieces[slot->id].size == n &&
                                           bytes_equal(bpe_vocab_bytes(v, slot->id), p, n))))
            return slot;
    }
}

static inline uint32_t bpe_vocab_find(const struct bpe_vocab *v, const char *p, size_t n)
{
    return bpe_vocab_slot(v, bpe_key(p, n), p, n)->id;
}

/* ------------------------------------------------------------------ merging (text_bpe_merge.c) */

/* Which neighbours join, and which pair is first: the smallest priority, then the leftmost. */
enum bpe_rule {
    BPE_JOIN_PAIRS,  /* (left id, right id) is in the table of merges; priority = its rank */
    BPE_JOIN_STRINGS /* the joined bytes are a NORMAL or USER piece; priority = the piece's */
};

struct bpe_model {
    enum bpe_rule rule;
    bool whole_words;   /* a word that is a piece is taken whole, whatever merging would give */
    bool characters;    /* symbols begin as UTF-8 characters (SentencePiece), else as bytes */
    bool byte_fallback; /* with characters: an unknown one becomes its bytes, else unknown_id */
    uint32_t unknown_id;
    uint32_t byte_ids[256];
    struct bpe_vocab vocab;
    struct table pairs; /* table_pair(left id, right id) to table_pair(rank, joined id) */
};

void bpe_model_fini(struct bpe_model *m);
/* Prepares the table for n merges; then each is added in order of rank. bpe_pairs_add returns
 * false where the file makes them collide on purpose. A pair that is there already is replaced. */
int bpe_pairs_init(struct bpe_model *m, size_t n_merges, struct error *e);
bool bpe_pairs_add(struct bpe_model *m, uint32_t left, uint32_t right, uint32_t rank, uint32_t id);

#define BPE_SHORT_SYMBOLS 64 /* words up to this many symbols are merged by scanning */
#define BPE_MAX_WORD      ((size_t)1 << 30)

struct bpe_node;
/* Working memory of merging long words; {0} to begin with. */
struct bpe_work {
    struct bpe_node *nodes;
    size_t node_cap;
    struct heap heap;
};
void bpe_work_fini(struct bpe_work *w);
/* Appends the ids of one word. For SentencePiece the word is valid UTF-8 with ' ' for U+2581.
 * O(n log n) in its size, O(n^2) below BPE_SHORT_SYMBOLS; a word beyond BPE_MAX_WORD is cut. */
void bpe_merge_word(const struct bpe_model *m, struct bpe_work *w, const char *word, size_t size,
                    struct token_array *out);

static inline void token_array_reserve(struct token_array *a, size_t more)
{
    ARRAY_RESERVE(a->ids, a->cap, a->count + more);
}

/* ---------------------------------------------------------------- word cache (text_bpe_cache.c) */

#define BPE_CACHE_SETS      (1u << 15)
#define BPE_CACHE_KEY_BYTES 15
#define BPE_CACHE_IDS       5

/* Two make a set of one cache line. */
struct bpe_cache_entry {
    uint64_t key[2];                /* the word's bytes, its size in the last; 0: empty */
    uint8_t ids[3 * BPE_CACHE_IDS]; /* of three bytes each: TOKENIZER_MAX_IDS is 2^24 */
    uint8_t n_ids;
};

#define BPE_PENDING 16

/* A word, or an id alone (size 0), that waits for its turn. */
struct bpe_pending {
    const char *word;
    size_t size;
    uint32_t id;
    uint64_t key[2];
    struct bpe_cache_entry *set; /* NULL: not cached */
};

struct bpe_cache {
    struct bpe_cache_entry *entries; /* [set_mask + 1, 2] */
    uint64_t set_mask;
    struct bpe_pending pending[BPE_PENDING];
    int n_pending;
    struct bpe_work work;
};
void bpe_cache_init(struct bpe_cache *c, const struct bpe_model *m);
void bpe_cache_fini(struct bpe_cache *c);
/* bpe_merge_word, remembered for short words. The ids appear in *out with bpe_cache_flush at the
 * latest; until then the word must stay where it is. */
void bpe_cache_word(const struct bpe_model *m, struct bpe_cache *c, const char *word, size_t size,
                    struct token_array *out);
/* An id between words. */
void bpe_cache_id(const struct bpe_model *m, struct bpe_cache *c, uint32_t id,
                  struct token_array *out);
void bpe_cache_flush(const struct bpe_model *m, struct bpe_cache *c, struct token_array *out);

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
 * (text_pretoken.c, text_pretoken_scan.c): text into words that are merged one by one. */

enum { PRETOKEN_MAX_STAGES = 8, PRETOKEN_MAX_PATTERN = 4096 };

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
    PRETOKEN_PCRE,  /* any pattern */
    PRETOKEN_GPT2,  /* byte-level's own */
    PRETOKEN_GPT4,  /* GPT-4's family: GPT-4, Llama 3, Qwen2, Grok-2 */
    PRETOKEN_DIGITS /* a number is a word, and what lies between: \p{N}, \p{N}{1,3}, \p{N}+ */
};

struct pretoken_stage {
    enum pretoken_scanner scanner;
    size_t digits; /* GPT4 and DIGITS: the most that make one word */
    void *code;    /* pcre2_code, where scanner is PRETOKEN_PCRE */
};
struct pretoken {
    struct pretoken_stage stages[PRETOKEN_MAX_STAGES]; /* each cuts what the one before left */
    int n_stages;
};
/* Working memory of one thread. */
struct pretoken_scratch {
    void *match[PRETOKEN_MAX_STAGES]; /* pcre2_match_data */
    void *context, *jit_stack;
};

#define PRETOKEN_PATTERN_GPT2 \
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
/* GPT-4's pattern, of which the family varies how many digits make a word. */
#define PRETOKEN_PATTERN_GPT4(digits)                                          \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}" digits \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define PRETOKEN_PATTERN_GROK2  PRETOKEN_PATTERN_GPT4("")
#define PRETOKEN_PATTERN_LLAMA3 PRETOKEN_PATTERN_GPT4("{1,3}")

/* Adds a stage. A pattern that is written exactly like one of the usual ones gets a scanner, every
 * other runs on PCRE2. Errors: a pattern PCRE2 does not take, or one that means something else in
 * it. */
int pretoken_add(struct pretoken *p, const char *pattern, size_t size, struct error *e);
void pretoken_fini(struct pretoken *p);
/* Is it known that the pattern's matches cover any text, nothing being left between them? */
bool pretoken_covers(const char *pattern, size_t size);
void pretoken_scratch_init(struct pretoken_scratch *s, const struct pretoken *p);
void pretoken_scratch_fini(struct pretoken_scratch *s);
/* Calls fn for every word of the text, in order, without gaps: what no pattern matches is a word
 * of its own. No stage: the text is one word. */
typedef void pretoken_fn(void *ctx, const char *word, size_t size);
void pretoken_split(const struct pretoken *p, struct pretoken_scratch *s, const char *text,
                    size_t size, pretoken_fn *fn, void *ctx);
/* May the text be cut before text[at] (0 < at < size) without changing any word? True for the usual
 * patterns of GPT-4's family at a line end in front of a letter or digit; false where not known. */
bool pretoken_can_cut(const struct pretoken *p, const char *text, size_t at);
/* (text_pretoken_scan.c) End of the word that begins at text + at, at < size, by the stage's
 * scanner, which is not PRETOKEN_PCRE. */
size_t pretoken_scan(const struct pretoken_stage *stage, const uint8_t *classes, const char *text,
                     size_t size, size_t at);
/* (text_pretoken_table.c) Classes of code points, built at the first call; any thread may call. */
#define PRETOKEN_CLASS_POINTS 0x32400u /* no letter, number or space lies above */
const uint8_t *pretoken_classes(void);

/* ------------------------------------------------------------------ tokenizers */

enum tokenizer_algorithm { TOKENIZER_BYTE_LEVEL, TOKENIZER_TIKTOKEN, TOKENIZER_SENTENCEPIECE };

struct tokenizer_special {
    uint32_t id;
    bool control; /* matched with TOKENIZER_PARSE_SPECIAL only, skipped by decoding */
    bool raw;     /* matched before Unicode normalisation (Hugging Face: normalized = false) */
};

struct tokenizer {
    enum tokenizer_algorithm algorithm;
    uint64_t hash;
    uint32_t eos, bos;
    struct bpe_model bpe; /* its vocabulary holds special tokens too, by id, not in the hash */
    struct tokenizer_special *specials;
    size_t n_specials, special_cap;
    /* Byte-level: what matches [without, with] TOKENIZER_PARSE_SPECIAL, raw or normalised. */
    struct match_set raw[2], normal[2];
    struct pretoken pretoken;
    bool nfc;          /* text is brought to NFC first */
    bool prefix_space; /* Hugging Face's add_prefix_space */
    /* SentencePiece */
    bool dummy_prefix, remove_extra_spaces, cut_at_spaces;
    struct match_set user;     /* user-defined symbols as they look in normalised text */
    struct match_set user_raw; /* the same in the text as given; where extra spaces are removed */
};

struct tokenizer_scratch {
    const struct tokenizer *tokenizer;
    struct bpe_cache cache;
    struct pretoken_scratch pretoken;
    struct str normal;   /* normalised text */
    struct str prefixed; /* the same behind add_prefix_space */
};

/* Parsers, each into a zeroed tokenizer that the caller frees in any case. Only the first puts the
 * file's name into its errors. */
int tokenizer_parse_json(struct tokenizer *t, const char *data, size_t size, const char *name,
                         struct error *e);
int tokenizer_parse_ranks(struct tokenizer *t, const char *data, size_t size, struct error *e);
int spm_parse(struct tokenizer *t, const uint8_t *data, size_t size, struct error *e);
/* The priority of a piece that merges by its score: the highest first, equal ones equal (so -0 is
 * 0). Fails where the score is infinite or no number. */
int spm_set_score(struct tokenizer *t, uint32_t id, float score, struct error *e);
bool spm_looks_like_llama2(const uint8_t *data, size_t size);
int spm_parse_llama2(struct tokenizer *t, const uint8_t *data, size_t size, struct error *e);

/* (text_tokenizer.c) Adds a special token that was set in the vocabulary. */
void tokenizer_special_add(struct tokenizer *t, uint32_t id, bool control, bool raw);
/* The id of the special token with this name, or TOKENIZER_NONE. */
uint32_t tokenizer_special_find(const struct tokenizer *t, const char *name, size_t size,
                                bool control_only);
/* Finds EOS and BOS by their usual names among the control tokens. */
void tokenizer_specials_guess(struct tokenizer *t);
/* Byte-level: fills byte_ids from the vocabulary; errors where one of the 256 is missing. */
int tokenizer_bytes_check(struct tokenizer *t, struct error *e);

/* (text_tokenizer_nfc.c) text in Unicode's normal form C, appended to out; bytes that are not UTF-8
 * stay. */
void tokenizer_nfc(const char *text, size_t size, struct str *out);

/* (text_spm_encode.c) */
void spm_encode(const struct tokenizer *t, struct tokenizer_scratch *s, const char *text,
                size_t size, struct token_array *out);
void spm_decode(const struct tokenizer *t, const uint32_t *ids, size_t count, unsigned flags,
                struct str *out);

/* ------------------------------------------------------------------ training */

/* Distinct words and how often each occurs, in the order in which they were first seen. */
struct bpe_words {
    struct bpe_word *items; /* [count] */
    size_t count, cap;
    struct str bytes;
    uint32_t *slots; /* open addressing: index + 1, 0: empty */
    size_t slot_mask;
};
struct bpe_word {
    uint64_t hash, offset, n; /* n: occurrences */
    uint32_t size;
};
void bpe_words_fini(struct bpe_words *w);
void bpe_words_clear(struct bpe_words *w); /* keeps the memory */
void bpe_words_add(struct bpe_words *w, const char *bytes, size_t size, uint64_t n);
/* (text_bpe_count.c) Counts the words of a corpus. At most max_words distinct ones (0: 16 million)
 * are kept: beyond, the rarest go. */
int bpe_count_words(const struct corpus_options *corpus, const struct pretoken *pretoken,
                    const struct tokenizer_train_options *o, size_t max_words,
                    struct bpe_words *words, struct error *e);

/* A vocabulary being learned. Ids: special tokens, the 256 bytes in the order of their characters,
 * then what merges gave, each as its bytes. */
struct bpe_learned {
    struct bpe_token *tokens; /* [n_tokens] */
    size_t n_tokens, token_cap;
    struct str bytes;
    uint32_t (*merges)[2]; /* [n_merges] in order */
    size_t n_merges, merge_cap;
    uint32_t n_special;
};
struct bpe_token {
    size_t offset;
    uint32_t size;
};
/* (text_bpe_train.c) Adds merges until there are vocab_size tokens or no pair occurs twice. */
void bpe_learn(struct bpe_learned *l, const struct bpe_words *words, uint32_t vocab_size,
               bool show_progress);
void bpe_learned_fini(struct bpe_learned *l);
uint32_t bpe_learned_add(struct bpe_learned *l, const char *bytes, size_t size);
/* Byte <-> character of byte-level BPE in tokenizer.json (GPT-2's bytes_to_unicode). */
uint32_t tokenizer_byte_char(uint8_t byte);
int tokenizer_char_byte(uint32_t cp); /* negative: not one of the 256 characters */
/* A piece as tokenizer.json writes it to its bytes, into out; false where a character stands for no
 * byte. */
bool tokenizer_chars_to_bytes(const char *text, size_t size, struct str *out);

#endif
