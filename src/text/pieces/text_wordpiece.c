/* text_wordpiece.c: one word to the longest pieces from its left (BERT). Pieces behind the first
 * carry a prefix ("##"); a word in which some place has no piece is unknown as a whole. */
#include "text/pieces/text_pieces_internal.h"

static size_t count_characters(const char *text, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; i < size; i++)
        n += ((uint8_t)text[i] & 0xc0) != 0x80;
    return n;
}

/* Bytes of the longest piece that begins the text and ends at a character; 0: none. */
static size_t longest_piece(const struct bpe_model *m, struct bpe_work *w, const char *text,
                            size_t size, bool first, uint32_t *id)
{
    str_clear(&w->text);
    if (!first && m->prefix.len) str_append(&w->text, m->prefix.data, m->prefix.len);
    size_t begin = w->text.len;
    str_append(&w->text, text, size);
    for (size_t n = size; n > 0; n--) {
        if (n < size && ((uint8_t)text[n] & 0xc0) == 0x80) continue;
        *id = bpe_piece_spelt(m, w, w->text.data, begin + n);
        if (*id != TOKENIZER_NONE) return n;
    }
    return 0;
}

void wordpiece_word(const struct bpe_model *m, struct bpe_work *w, const char *word, size_t size,
                    struct token_array *out)
{
    size_t first = out->count;
    bool unknown = count_characters(word, size) > m->word_limit;
    for (size_t at = 0, n; at < size && !unknown; at += n) {
        uint32_t id;
        n = longest_piece(m, w, word + at, size - at, at == 0, &id);
        unknown = n == 0;
        if (n) token_array_push(out, id);
    }
    if (!unknown) return;
    out->count = first;
    token_array_push(out, m->unknown_id);
}
