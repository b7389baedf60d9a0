/* text_pieces_internal.h: pieces of a vocabulary, and how one word becomes ids of them.
 *
 * The parts, from the ground up:
 *   text_bpe_table.c   a hash from numbers to numbers, and a heap
 *   text_bpe_vocab.c   pieces, and the hash from a piece's bytes to its id
 *   text_bpe_merge.c   one word to ids by merging (byte pairs with ranks, or joined strings)
 *   text_unigram.c     one word to its likeliest pieces
 *   text_wordpiece.c   one word to its longest pieces from the left, or as a whole
 *   text_bpe_cache.c   all of these through a cache of short words: the hot path */
#ifndef COLOSSUS_TEXT_PIECES_INTERNAL_H
#define COLOSSUS_TEXT_PIECES_INTERNAL_H

#include "text/corpus/text_corpus_internal.h"

#define TOKENIZER_MAX_IDS   (1u << 24) /* ids above are a broken file */
#define TOKENIZER_MAX_PIECE 0xffffu    /* bytes of one piece */

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
    BPE_PIECE_CONTROL  /* decodes to nothing; the bytes are its name (see bpe_work.control) */
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
    bool doubles;           /* pieces may be the same; the highest id is found */
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
/* Builds the hash over NORMAL, USER and CONTROL pieces that are not dead. Errors: the same bytes
 * twice, where that is not allowed; a file made so that its hashes collide. */
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

/* How a word becomes pieces. Where neighbours join, the pair with the smallest priority is first,
 * then the leftmost. */
enum bpe_rule {
    BPE_JOIN_PAIRS,   /* (left id, right id) is in the table of merges; priority = its rank */
    BPE_JOIN_STRINGS, /* the joined bytes are a NORMAL or USER piece; priority = the piece's */
    BPE_UNIGRAM,      /* the pieces with the highest sum of scores (text_unigram.c) */
    BPE_WORDPIECE,    /* the longest piece, again and again (text_wordpiece.c) */
    BPE_WORDLEVEL     /* the word is a piece, or unknown */
};

/* Pieces in a trie, with their scores; {0} is empty. */
struct unigram {
    struct table edges; /* table_pair(node, byte) to the node behind it; node 0 is the root */
    uint32_t *node_ids; /* [n_nodes] the piece that ends here, or TOKENIZER_NONE */
    size_t n_nodes, node_cap;
    double *scores; /* [n_scores] by id */
    size_t n_scores, score_cap;
    double unknown_score;
    bool single; /* sums are rounded to single precision, as SentencePiece has them */
};

struct bpe_model {
    enum bpe_rule rule;
    bool whole_words;   /* a word that is a piece is taken whole, whatever merging would give */
    bool characters;    /* symbols begin as UTF-8 characters (SentencePiece), else as bytes */
    bool byte_fallback; /* an unknown symbol becomes its bytes where all of them have ids */
    bool fuse_unknown;  /* PAIRS: neighbouring unknown symbols are one */
    /* PAIRS: a symbol may be unknown, or is looked up between these two: a prefix for all but the
     * first of a word (and for all but the first piece with WORDPIECE), a suffix for the last. */
    bool looked_up;
    struct str prefix, suffix;
    size_t word_limit;   /* WORDPIECE: a word of more characters is unknown */
    uint32_t unknown_id; /* TOKENIZER_NONE: unknown symbols vanish (PAIRS) */
    /* The piece of each byte: byte-level's symbols, or those of byte fallback. */
    uint32_t byte_ids[256];
    struct bpe_vocab vocab;
    struct table pairs; /* table_pair(left id, right id) to table_pair(rank, joined id) */
    struct unigram unigram;
};

void bpe_model_fini(struct bpe_model *m);
/* Prepares the table for n merges; then each is added in order of rank. bpe_pairs_add returns
 * false where the file makes them collide on purpose. A pair that is there already is replaced. */
int bpe_pairs_init(struct bpe_model *m, size_t n_merges, struct error *e);
bool bpe_pairs_add(struct bpe_model *m, uint32_t left, uint32_t right, uint32_t rank, uint32_t id);

#define BPE_SHORT_SYMBOLS 64 /* words up to this many symbols are merged by scanning */
#define BPE_MAX_WORD      ((size_t)1 << 30)

struct bpe_node;
struct unigram_best;
/* Working memory of one thread; {0} to begin with. */
struct bpe_work {
    struct bpe_node *nodes; /* of merging long words */
    size_t node_cap;
    struct heap heap;
    struct token_array symbols; /* PAIRS with looked_up */
    struct unigram_best *best;  /* UNIGRAM: of each place in the word */
    size_t best_cap;
    struct str text; /* a symbol between prefix and suffix */
    /* A word that spells a control piece may be taken for it; otherwise it stays text. Merging does
     * not ask: pieces that merges lead to were learned from text. */
    bool control;
};
void bpe_work_fini(struct bpe_work *w);
/* Appends the ids of one word. For SentencePiece the word is valid UTF-8 with ' ' for U+2581.
 * O(n log n) in its size, O(n^2) below BPE_SHORT_SYMBOLS; a word beyond BPE_MAX_WORD is cut. */
void bpe_merge_word(const struct bpe_model *m, struct bpe_work *w, const char *word, size_t size,
                    struct token_array *out);

/* The id of the piece that a word, or a part of one, spells. */
uint32_t bpe_piece_spelt(const struct bpe_model *m, const struct bpe_work *w, const char *text,
                         size_t size);
/* Appends the pieces of an unknown symbol's bytes where all of them have one; false where not. */
bool bpe_push_bytes(const struct bpe_model *m, const char *symbol, size_t size,
                    struct token_array *out);

/* ------------------------------------------------------------------ other models */

/* A trie takes up to 40 bytes for a byte of its pieces; the largest known have 3 MB of them. */
#define UNIGRAM_MAX_BYTES ((size_t)16 << 20)
/* (text_unigram.c) Puts a piece into the trie; the last id given for the same bytes stays. size >
 * 0. A control piece matches only where work.control says so. Every id below n_scores has a score;
 * those that were not added never match. */
void unigram_add(struct unigram *u, const char *bytes, size_t size, uint32_t id, bool control);
void unigram_fini(struct unigram *u);
/* Appends the ids of one word of valid UTF-8; neighbouring unknown characters are one. The steps
 * are at most the word's size times the longest piece's. */
void unigram_word(const struct bpe_model *m, struct bpe_work *w, const char *word, size_t size,
                  struct token_array *out);
/* (text_wordpiece.c) The same for WORDPIECE. */
void wordpiece_word(const struct bpe_model *m, struct bpe_work *w, const char *word, size_t size,
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
/* Sets work.control for the words that follow; nothing may be pending. */
void bpe_cache_control(struct bpe_cache *c, bool control);
/* bpe_merge_word, remembered for short words. The ids appear in *out with bpe_cache_flush at the
 * latest; until then the word must stay where it is. */
void bpe_cache_word(const struct bpe_model *m, struct bpe_cache *c, const char *word, size_t size,
                    struct token_array *out);
/* An id between words. */
void bpe_cache_id(const struct bpe_model *m, struct bpe_cache *c, uint32_t id,
                  struct token_array *out);
void bpe_cache_flush(const struct bpe_model *m, struct bpe_cache *c, struct token_array *out);

#endif
