/* text_learn_internal.h: what learning a vocabulary from text needs.
 *
 *   text_bpe_count.c        words of a corpus and how often each occurs
 *   text_bpe_train.c        merges learned from them
 *   text_tokenizer_train.c  the whole, written as tokenizer.json */
#ifndef COLOSSUS_TEXT_LEARN_INTERNAL_H
#define COLOSSUS_TEXT_LEARN_INTERNAL_H

#include "text/tokenizer/text_tokenizer_internal.h"

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

#endif
