/* text_spm_encode.c: SentencePiece: text to ids and back, exactly as the original.
 *
 * Encoding has three steps. The normaliser applies the character map, puts the dummy prefix in
 * front, turns U+2581 and ' ' into one thing (here ' ', see text_spm_load.c), and every byte that
 * is not UTF-8 into U+FFFD. What it gives is one word of a unigram model. With BPE, user-defined
 * symbols are matched from the left, the longest first, and never join; what lies between them is
 * merged (text_bpe_merge.c).
 *
 * The original merges a whole line at once. Here a line is cut in front of every space that follows
 * something else, so that words can be cached. That is exact: a pair joins only if its bytes
 * are a piece, so a merge across the cut would need a piece with a space behind a non-space; a
 * vocabulary that has one sets cut_at_spaces = false at load and is merged without cuts. And merges
 * on either side of a cut cannot influence each other, as a merge looks only at its two symbols. */
#include "text/tokenizer/text_tokenizer_internal.h"

/* ------------------------------------------------------------------ normaliser */

/* Appends valid UTF-8 with ' ' for U+2581. */
static void append_spaced(const struct tokenizer *t, struct str *out, const char *text, size_t size)
{
    const char *end = text + size;
    while (text < end && !t->literal_spaces) {
        const char *symbol = memmem(text, (size_t)(end - text), SPM_SPACE, 3);
        if (!symbol) break;
        str_append(out, text, (size_t)(symbol - text));
        str_append_char(out, ' ');
        text = symbol + 3;
    }
    str_append(out, text, (size_t)(end - text));
}

static void normalize_plain(const struct tokenizer *t, const char *text, size_t size,
                            struct str *out)
{
    str_reserve(out, size + 1);
    if (t->dummy_prefix) str_append_char(out, ' ');
    while (size) {
        size_t valid = utf8_valid_size(text, size);
        append_spaced(t, out, text, valid);
        text += valid;
        size -= valid;
        for (; size && !utf8_decode(text, size, NULL); text++, size--)
            str_append(out, TEXT_REPLACEMENT, 3);
    }
}

/* Bytes of text that the original's NormalizePrefix takes at once, and what they become: a
 * user-defined symbol, the longest key of the character map, a character, or one bad byte. */
static size_t normal_unit(const struct tokenizer *t, const char *text, size_t size,
                          const char **unit, size_t *unit_size)
{
    uint32_t id;
    size_t n = match_set_longest(&t->user_raw, text, size, &id);
    if (!n && (n = charsmap_match(&t->map, text, size, false, unit))) {
        *unit_size = strlen(*unit);
        return n;
    }
    if (!n) n = utf8_decode(text, size, NULL);
    *unit = n ? text : TEXT_REPLACEMENT;
    *unit_size = n ? n : 3;
    return MAX(n, 1);
}

/* The same with a character map, or where remove_extra_whitespaces is set: no spaces at the ends,
 * one between words, but user-defined symbols stay as they are. */
static void normalize_units(const struct tokenizer *t, const char *text, size_t size,
                            struct str *out)
{
    const char *unit;
    size_t n, unit_size;
    while (size && t->remove_extra_spaces) {
        n = normal_unit(t, text, size, &unit, &unit_size);
        if (unit_size != 1 || unit[0] != ' ') break;
        text += n;
        size -= n;
    }
    if (!size) return;
    if (t->dummy_prefix) str_append_char(out, ' ');
    bool after_space = t->remove_extra_spaces;
    for (; size; text += n, size -= n) {
        n = normal_unit(t, text, size, &unit, &unit_size);
        while (after_space && unit_size && unit[0] == ' ') {
            unit++;
            unit_size--;
        }
        if (!unit_size) continue;
        after_space = t->remove_extra_spaces && unit[unit_size - 1] == ' ';
        append_spaced(t, out, unit, unit_size);
    }
    while (t->remove_extra_spaces && out->len && out->data[out->len - 1] == ' ')
        out->len--;
}

/* ------------------------------------------------------------------ encoding */

/* Without byte fallback neighbouring unknown characters are one unknown piece. */
static void join_unknown(const struct tokenizer *t, struct token_array *out, size_t first)
{
    size_t n = first;
    for (size_t i = first; i < out->count; i++)
        if (i == first || out->ids[i] != t->bpe.unknown_id || out->ids[n - 1] != out->ids[i])
            out->ids[n++] = out->ids[i];
    out->count = n;
}

static void encode_normal(const struct tokenizer *t, struct bpe_cache *cache, const char *text,
                          size_t size, struct token_array *out)
{
    bool stop[256]; /* bytes at which something may begin */
    memcpy(stop, t->user.first, sizeof(stop));
    stop[' '] |= t->cut_at_spaces;
    size_t start = 0, at = 0;
    while (at < size) {
        if (!stop[(uint8_t)text[at]]) {
            at++;
            continue;
        }
        uint32_t id;
        size_t n = match_set_longest(&t->user, text + at, size - at, &id);
        bool cut = n || (text[at] == ' ' && at > start && text[at - 1] != ' ');
        if (cut && at > start) {
            bpe_cache_word(&t->bpe, cache, text + start, at - start, out);
            start = at;
        }
        if (n) {
            bpe_cache_id(&t->bpe, cache, id, out);
            start = at + n;
        }
        at += MAX(n, 1);
    }
    if (at > start) bpe_cache_word(&t->bpe, cache, text + start, at - start, out);
    bpe_cache_flush(&t->bpe, cache, out);
}

void spm_encode(const struct tokenizer *t, struct tokenizer_scratch *s, const char *text,
                size_t size, struct token_array *out)
{
    if (!size) return;
    size_t first = out->count;
    str_clear(&s->normal);
    if (t->remove_extra_spaces || t->map.n_units)
        normalize_units(t, text, size, &s->normal);
    else
        normalize_plain(t, text, size, &s->normal);
    if (t->bpe.rule == BPE_UNIGRAM)
        bpe_merge_word(&t->bpe, &s->cache.work, s->normal.data, s->normal.len, out);
    else
        encode_normal(t, &s->cache, s->normal.data, s->normal.len, out);
    if (!t->bpe.byte_fallback) join_unknown(t, out, first);
}

/* ------------------------------------------------------------------ decoding */

/* Bytes gathered from byte pieces: characters where they are valid, U+FFFD for each that is not. */
static void flush_bytes(struct str *bytes, struct str *out)
{
    for (size_t i = 0; i < bytes->len;) {
        size_t n = utf8_decode(bytes->data + i, bytes->len - i, NULL);
        if (n)
            str_append(out, bytes->data + i, n);
        else
            str_append(out, TEXT_REPLACEMENT, 3);
        i += MAX(n, 1);
    }
    str_clear(bytes);
}

/* Bytes of U+2581 at the beginning of a piece as it is kept. */
static size_t prefix_size(const struct tokenizer *t, const struct bpe_piece *piece,
                          const char *text)
{
    if (t->literal_spaces) return piece->size >= 3 && memcmp(text, SPM_SPACE, 3) == 0 ? 3 : 0;
    return piece->size && text[0] == ' ' && !piece->dead;
}

/* Where pieces are kept as written, U+2581 becomes a space here. */
static void append_literal(struct str *out, const char *text, size_t size)
{
    static const struct str symbol = {.data = (char *)(uintptr_t)SPM_SPACE, .len = 3};
    static const struct str space = {.data = (char *)(uintptr_t) " ", .len = 1};
    text_replace(text, size, &symbol, &space, out);
}

void spm_decode(const struct tokenizer *t, const uint32_t *ids, size_t count, unsigned flags,
                struct str *out)
{
    const struct bpe_vocab *v = &t->bpe.vocab;
    struct str bytes = {0};
    size_t begin = out->len;
    bool at_begin = true;     /* a space in front may still be the dummy prefix */
    bool took_prefix = false; /* the piece before gave one away */
    for (size_t i = 0; i < count; i++) {
        const struct bpe_piece *piece = &v->pieces[ids[i]];
        const char *text = bpe_vocab_bytes(v, ids[i]);
        size_t size = piece->size;
        if (piece->type == BPE_PIECE_BYTE) {
            str_append(&bytes, text, size);
            continue;
        }
        flush_bytes(&bytes, out);
        if (took_prefix || out->len > begin) at_begin = false;
        took_prefix = false;
        if (piece->type == BPE_PIECE_CONTROL && !(flags & TOKENIZER_PARSE_SPECIAL)) continue;
        bool spaced = piece->type == BPE_PIECE_NORMAL || piece->type == BPE_PIECE_USER;
        if (spaced && at_begin && (t->dummy_prefix || t->remove_extra_spaces)) {
            size_t n = prefix_size(t, piece, text);
            text += n;
            size -= n;
            took_prefix = n && !t->remove_extra_spaces;
        }
        if (spaced && t->literal_spaces)
            append_literal(out, text, size);
        else
            str_append(out, text, size);
    }
    flush_bytes(&bytes, out);
    str_fini(&bytes);
}
