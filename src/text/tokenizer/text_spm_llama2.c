/* text_spm_llama2.c: llama2.c's tok*.bin, a SentencePiece BPE vocabulary exported by llama2.c.
 *
 *   int32            the longest piece's bytes
 *   then, to the end of the file, for every id:
 *     float32 score, int32 size, size bytes    (U+2581 is a space already)
 *
 * Ids are fixed by llama2.c: 0 unknown, 1 BOS, 2 EOS, 3 to 258 the bytes, then normal pieces. The
 * file has no magic number; it is recognised by its lengths ending exactly at its end. */
#include "text/tokenizer/text_tokenizer_internal.h"

enum { LLAMA2_FIRST_BYTE = 3, LLAMA2_FIRST_PIECE = 259, LLAMA2_MAX_PIECE = 1024 };

struct llama2_entry {
    float score;
    uint32_t size;
    const char *text;
};

/* Moves *at behind the entry; false where it does not fit. */
static bool next_entry(const uint8_t *data, size_t size, size_t *at, struct llama2_entry *entry)
{
    if (size - *at < 8) return false;
    memcpy(&entry->score, data + *at, 4);
    entry->size = bytes_load32(data + *at + 4);
    entry->text = (const char *)data + *at + 8;
    if (entry->size > LLAMA2_MAX_PIECE || entry->size > size - *at - 8) return false;
    *at += 8 + (size_t)entry->size;
    return true;
}

bool spm_looks_like_llama2(const uint8_t *data, size_t size)
{
    struct llama2_entry entry;
    size_t at = 4, n = 0;
    if (size < 4 || bytes_load32(data) > LLAMA2_MAX_PIECE) return false;
    for (; at < size; n++)
        if (!next_entry(data, size, &at, &entry)) return false;
    return n >= LLAMA2_FIRST_PIECE;
}

static int add_entry(struct tokenizer *t, uint32_t id, const struct llama2_entry *entry,
                     struct error *e)
{
    struct bpe_vocab *v = &t->bpe.vocab;
    if (id == 0) return bpe_vocab_set(v, id, entry->text, entry->size, BPE_PIECE_UNKNOWN, e);
    if (id < LLAMA2_FIRST_BYTE) {
        const char *name = id == 1 ? "<s>" : "</s>";
        struct tokenizer_special control = {.id = id, .control = true};
        tokenizer_special_add(t, control, name, strlen(name));
        return bpe_vocab_set(v, id, name, strlen(name), BPE_PIECE_CONTROL, e);
    }
    if (id < LLAMA2_FIRST_PIECE) {
        char byte = (char)(id - LLAMA2_FIRST_BYTE);
        t->bpe.byte_ids[(uint8_t)byte] = id;
        return bpe_vocab_set(v, id, &byte, 1, BPE_PIECE_BYTE, e);
    }
    if (!entry->size) return error_set(e, "piece %u is empty", id);
    for (uint32_t i = 1; i < entry->size; i++)
        if (entry->text[i] == ' ' && entry->text[i - 1] != ' ') t->cut_at_spaces = false;
    TRY(bpe_vocab_set(v, id, entry->text, entry->size, BPE_PIECE_NORMAL, e));
    return spm_set_score(t, id, entry->score, e);
}

int spm_parse_llama2(struct tokenizer *t, const uint8_t *data, size_t size, struct error *e)
{
    struct llama2_entry entry;
    size_t at = 4;
    t->algorithm = TOKENIZER_SENTENCEPIECE;
    t->bpe.rule = BPE_JOIN_STRINGS;
    t->bpe.characters = t->bpe.byte_fallback = true;
    t->dummy_prefix = t->cut_at_spaces = true;
    t->bpe.unknown_id = 0;
    t->bos = 1;
    t->eos = 2;
    t->eos_marked = true;
    for (uint32_t id = 0; at < size; id++) {
        if (!next_entry(data, size, &at, &entry))
            return error_set(e, "piece %u does not fit into the file", id);
        TRY(add_entry(t, id, &entry, e));
    }
    return bpe_vocab_index(&t->bpe.vocab, e);
}
