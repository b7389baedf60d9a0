/* text_bpe_merge.c: one word to ids by byte-pair merging.
 *
 * A word begins as symbols (bytes, or UTF-8 characters for SentencePiece). As long as some pair of
 * neighbours may join, the pair with the smallest priority joins, the leftmost of equals. Which
 * pairs may join is the only thing in which the formats differ: Hugging Face names pairs of ids
 * and ranks them, SentencePiece and tiktoken join whatever gives a piece and go by the piece's
 * priority. Merging by pairs needs no bytes once every symbol has an id: where a symbol may be
 * unknown or is looked up with a prefix or suffix, a list of ids is merged instead of the word.
 *
 * Short words, nearly all there are, keep their symbols in arrays and look for the smallest
 * priority by scanning. Long ones (a line of Chinese, a megabyte of 'a') use a linked list and a
 * heap, n log n. An entry of the heap is never removed when its pair is gone: it is recognised when
 * it comes up. A symbol's start never moves and its end only grows, so a pair is still the one that
 * was entered exactly if its left symbol lives and its right symbol ends where it did. */
#include "text/pieces/text_pieces_internal.h"

#define ALWAYS_INLINE inline __attribute__((always_inline))

/* ------------------------------------------------------------------ the model */

void bpe_model_fini(struct bpe_model *m)
{
    bpe_vocab_fini(&m->vocab);
    table_fini(&m->pairs);
    unigram_fini(&m->unigram);
    str_fini(&m->prefix);
    str_fini(&m->suffix);
}

int bpe_pairs_init(struct bpe_model *m, size_t n_merges, struct error *e)
{
    if (n_merges > TOKENIZER_MAX_IDS)
        return error_set(e, "%zu merges, the limit is %u", n_merges, TOKENIZER_MAX_IDS);
    return table_reserve(&m->pairs, n_merges) ? 0
                                              : error_set(e, "no memory for %zu merges", n_merges);
}

bool bpe_pairs_add(struct bpe_model *m, uint32_t left, uint32_t right, uint32_t rank, uint32_t id)
{
    uint64_t key = table_pair(left, right);
    *table_put(&m->pairs, key) = table_pair(rank, id);
    uint32_t at = (uint32_t)(table_slot(&m->pairs, key) - m->pairs.slots);
    /* At half load the longest run of a good hash is some tens of slots. */
    return ((at - table_home(&m->pairs, key)) & m->pairs.mask) < 2048;
}

/* What two neighbours would give: the id in the low half, the priority in the high one. Slots of
 * either table end in exactly that, and empty ones in all ones. */
#define JOIN_NONE TABLE_NONE

static inline uint32_t join_priority(uint64_t join)
{
    return (uint32_t)(join >> 32);
}

static inline uint64_t join_pair(const struct bpe_model *m, uint32_t left, uint32_t right)
{
    return table_slot(&m->pairs, table_pair(left, right))->value;
}

/* padded: 8 bytes may be read at text whatever n is. */
static inline uint64_t join_string(const struct bpe_model *m, const char *text, size_t n,
                                   bool padded)
{
    uint64_t key = padded ? bpe_key_padded(text, n) : bpe_key(text, n);
    return bytes_load64(&bpe_vocab_slot(&m->vocab, key, text, n)->id);
}

/* Bytes of the first symbol of word, which is not empty. */
static inline uint32_t symbol_size(const struct bpe_model *m, const char *word, size_t size)
{
    static const uint8_t character_size[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 3, 4};
    if (!m->characters) return 1;
    return (uint32_t)MIN(character_size[(uint8_t)word[0] >> 4], size);
}

uint32_t bpe_piece_spelt(const struct bpe_model *m, const struct bpe_work *w, const char *text,
                         size_t size)
{
    uint32_t id = bpe_vocab_find(&m->vocab, text, size);
    if (id == TOKENIZER_NONE || w->control) return id;
    return m->vocab.pieces[id].type == BPE_PIECE_CONTROL ? TOKENIZER_NONE : id;
}

bool bpe_push_bytes(const struct bpe_model *m, const char *symbol, size_t size,
                    struct token_array *out)
{
    for (size_t i = 0; i < size; i++)
        if (m->byte_ids[(uint8_t)symbol[i]] == TOKENIZER_NONE) return false;
    for (size_t i = 0; i < size; i++)
        token_array_push(out, m->byte_ids[(uint8_t)symbol[i]]);
    return true;
}

/* id is TOKENIZER_NONE for a character that never joined. */
static void emit(const struct bpe_model *m, const char *symbol, size_t size, uint32_t id,
                 struct token_array *out)
{
    if (id == TOKENIZER_NONE) id = bpe_vocab_find(&m->vocab, symbol, size);
    if (id != TOKENIZER_NONE)
        token_array_push(out, id);
    else if (!m->byte_fallback || !bpe_push_bytes(m, symbol, size, out))
        token_array_push(out, m->unknown_id);
}

static inline uint32_t first_id(const struct bpe_model *m, char c)
{
    return m->characters ? TOKENIZER_NONE : m->byte_ids[(uint8_t)c];
}

/* ------------------------------------------------------------------ short words */

#define SHORT_BYTES (4 * BPE_SHORT_SYMBOLS)

/* Symbols keep their place; one that was joined to its left neighbour is skipped by next and prev,
 * and its join is JOIN_NONE. Place n stands for the end. */
struct short_word {
    char bytes[SHORT_BYTES + 8];      /* a copy with room to read behind it */
    uint64_t join[BPE_SHORT_SYMBOLS]; /* of the symbol here with the next one */
    uint32_t id[BPE_SHORT_SYMBOLS];
    uint16_t start[BPE_SHORT_SYMBOLS + 1];
    uint8_t next[BPE_SHORT_SYMBOLS + 1], prev[BPE_SHORT_SYMBOLS + 1];
    uint32_t n;
};

static ALWAYS_INLINE void short_join(const struct bpe_model *m, enum bpe_rule rule,
                                     struct short_word *s, uint32_t i)
{
    uint32_t right = s->next[i];
    if (right >= s->n)
        s->join[i] = JOIN_NONE;
    else if (rule == BPE_JOIN_PAIRS)
        s->join[i] = join_pair(m, s->id[i], s->id[right]);
    else
        s->join[i] = join_string(m, s->bytes + s->start[i],
                                 (size_t)s->start[s->next[right]] - s->start[i], true);
}

/* Compiled once for each rule. */
static ALWAYS_INLINE void merge_short(const struct bpe_model *m, enum bpe_rule rule,
                                      struct short_word *s, struct token_array *out)
{
    s->next[s->n] = (uint8_t)s->n;
    for (uint32_t i = 0; i < s->n; i++) {
        s->next[i] = (uint8_t)(i + 1);
        s->prev[i] = (uint8_t)(i - 1);
    }
    for (uint32_t i = 0; i < s->n; i++)
        short_join(m, rule, s, i);
    for (;;) {
        uint32_t best = 0, least = join_priority(s->join[0]);
        for (uint32_t i = 1; i < s->n; i++) {
            uint32_t priority = join_priority(s->join[i]);
            best = priority < least ? i : best;
            least = MIN(priority, least);
        }
        if (least == BPE_NO_PRIORITY) break;
        uint32_t right = s->next[best];
        s->id[best] = (uint32_t)s->join[best];
        s->next[best] = s->next[right];
        s->prev[s->next[right]] = (uint8_t)best;
        s->join[right] = JOIN_NONE;
        short_join(m, rule, s, best);
        if (best > 0) short_join(m, rule, s, s->prev[best]);
    }
    for (uint32_t i = 0; i < s->n; i = s->next[i])
        emit(m, s->bytes + s->start[i], (size_t)s->start[s->next[i]] - s->start[i], s->id[i], out);
}

/* ------------------------------------------------------------------ long words */

#define NODE_NONE UINT32_MAX
#define NODE_DEAD (UINT32_MAX - 1) /* in `next`: joined to the symbol before it */

struct bpe_node {
    uint32_t start, prev, next, id;
};

void bpe_work_fini(struct bpe_work *w)
{
    mem_free(w->nodes);
    heap_fini(&w->heap);
    token_array_fini(&w->symbols);
    mem_free(w->best);
    str_fini(&w->text);
    *w = (struct bpe_work){0};
}

/* A symbol ends where the next one begins. */
static uint32_t node_end(const struct bpe_work *w, uint32_t i, uint32_t size)
{
    return w->nodes[i].next == NODE_NONE ? size : w->nodes[w->nodes[i].next].start;
}

/* Puts the pair that begins with node i on the heap, where its two may join. The smallest priority
 * comes first, then the leftmost, as nodes are numbered from the left; the tie holds where the
 * right symbol ends now, and what the two give. */
static void candidate_add(const struct bpe_model *m, struct bpe_work *w, const char *word,
                          uint32_t size, uint32_t i)
{
    const struct bpe_node *left = &w->nodes[i];
    if (left->next == NODE_NONE) return;
    uint32_t end = node_end(w, left->next, size);
    uint64_t join = m->rule == BPE_JOIN_PAIRS
                        ? join_pair(m, left->id, w->nodes[left->next].id)
                        : join_string(m, word + left->start, end - left->start, false);
    if (join_priority(join) == BPE_NO_PRIORITY) return;
    heap_push(&w->heap, (struct heap_entry){table_pair(join_priority(join), i),
                                            table_pair(end, (uint32_t)join)});
}

/* Cuts the word into its first symbols; their number. word NULL: w->symbols, of which size is the
 * number, each one place wide. */
static uint32_t nodes_fill(const struct bpe_model *m, struct bpe_work *w, const char *word,
                           uint32_t size)
{
    if (w->node_cap < size) {
        w->node_cap = size;
        mem_free(w->nodes);
        w->nodes = mem_alloc(w->node_cap * sizeof(*w->nodes));
    }
    uint32_t n = 0;
    for (uint32_t at = 0; at < size; n++) {
        uint32_t id = word ? first_id(m, word[at]) : w->symbols.ids[at];
        w->nodes[n] = (struct bpe_node){at, n - 1, n + 1, id};
        at += word ? symbol_size(m, word + at, size - at) : 1;
    }
    w->nodes[0].prev = w->nodes[n - 1].next = NODE_NONE;
    return n;
}

static void merge_long(const struct bpe_model *m, struct bpe_work *w, const char *word,
                       uint32_t size, struct token_array *out)
{
    uint32_t n = nodes_fill(m, w, word, size);
    for (uint32_t i = 0; i < n; i++)
        candidate_add(m, w, word, size, i);
    while (w->heap.count) {
        struct heap_entry top = heap_pop(&w->heap);
        uint32_t i = (uint32_t)top.order;
        struct bpe_node *left = &w->nodes[i];
        if (left->next >= NODE_DEAD || node_end(w, left->next, size) != top.tie >> 32) continue;
        struct bpe_node *right = &w->nodes[left->next];
        left->id = (uint32_t)top.tie;
        left->next = right->next;
        if (right->next != NODE_NONE) w->nodes[right->next].prev = i;
        right->next = NODE_DEAD;
        candidate_add(m, w, word, size, i);
        if (left->prev != NODE_NONE) candidate_add(m, w, word, size, left->prev);
    }
    for (uint32_t i = 0; i != NODE_NONE; i = w->nodes[i].next)
        emit(m, word + w->nodes[i].start, node_end(w, i, size) - w->nodes[i].start, w->nodes[i].id,
             out);
    /* A giant word is rare; its working memory, up to 48 bytes per byte, is not kept. */
    if (w->node_cap > (1u << 20)) {
        mem_free(w->nodes);
        w->nodes = NULL;
        w->node_cap = 0;
        heap_fini(&w->heap);
    }
}

/* ------------------------------------------------------------------ either */

/* Tries the short way, and goes the long one when there are more symbols than it has places for.
 * word NULL: as for nodes_fill. */
static void merge_part(const struct bpe_model *m, struct bpe_work *w, const char *word, size_t size,
                       struct token_array *out)
{
    struct short_word s;
    uint32_t at = 0;
    for (s.n = 0; at < size && s.n < BPE_SHORT_SYMBOLS; s.n++) {
        s.start[s.n] = (uint16_t)at;
        s.id[s.n] = word ? first_id(m, word[at]) : w->symbols.ids[at];
        at += word ? symbol_size(m, word + at, size - at) : 1;
    }
    s.start[s.n] = (uint16_t)at;
    if (at < size) {
        merge_long(m, w, word, (uint32_t)size, out);
        return;
    }
    if (m->rule == BPE_JOIN_STRINGS) memcpy(s.bytes, word, size);
    if (m->rule == BPE_JOIN_PAIRS)
        merge_short(m, BPE_JOIN_PAIRS, &s, out);
    else
        merge_short(m, BPE_JOIN_STRINGS, &s, out);
}

/* The id of a symbol that is looked up, with the word's prefix and suffix where it takes them:
 * *symbol is then in w->text. */
static uint32_t symbol_find(const struct bpe_model *m, struct bpe_work *w, const char **symbol,
                            size_t *size, bool first, bool last)
{
    bool plain = (first || !m->prefix.len) && (!last || !m->suffix.len);
    if (plain && !m->characters) return m->byte_ids[(uint8_t) * *symbol];
    if (!plain) {
        str_clear(&w->text);
        if (!first && m->prefix.len) str_append(&w->text, m->prefix.data, m->prefix.len);
        str_append(&w->text, *symbol, *size);
        if (last && m->suffix.len) str_append(&w->text, m->suffix.data, m->suffix.len);
        *symbol = w->text.data;
        *size = w->text.len;
    }
    return bpe_vocab_find(&m->vocab, *symbol, *size);
}

/* The word's symbols in w->symbols, as Hugging Face's BPE::merge_word has them: an unknown one
 * waits for the next known one, whatever byte fallback puts between them. */
static void look_up_symbols(const struct bpe_model *m, struct bpe_work *w, const char *word,
                            size_t size)
{
    bool waiting = false;
    w->symbols.count = 0;
    for (size_t at = 0, n; at < size; at += n) {
        n = symbol_size(m, word + at, size - at);
        const char *symbol = word + at;
        size_t as_size = n;
        uint32_t id = symbol_find(m, w, &symbol, &as_size, at == 0, at + n == size);
        if (id != TOKENIZER_NONE) {
            if (waiting) token_array_push(&w->symbols, m->unknown_id);
            waiting = false;
            token_array_push(&w->symbols, id);
        } else if (m->byte_fallback && bpe_push_bytes(m, symbol, as_size, &w->symbols)) {
            continue;
        } else if (m->unknown_id != TOKENIZER_NONE) {
            if (waiting && !m->fuse_unknown) token_array_push(&w->symbols, m->unknown_id);
            waiting = true;
        }
    }
    if (waiting) token_array_push(&w->symbols, m->unknown_id);
}

/* At most BPE_MAX_WORD bytes. */
static void merge_any(const struct bpe_model *m, struct bpe_work *w, const char *word, size_t size,
                      struct token_array *out)
{
    if (m->rule == BPE_UNIGRAM) {
        unigram_word(m, w, word, size, out);
    } else if (m->looked_up) {
        look_up_symbols(m, w, word, size);
        if (w->symbols.count) merge_part(m, w, NULL, w->symbols.count, out);
    } else {
        merge_part(m, w, word, size, out);
    }
}

void bpe_merge_word(const struct bpe_model *m, struct bpe_work *w, const char *word, size_t size,
                    struct token_array *out)
{
    if (m->rule == BPE_WORDPIECE) {
        wordpiece_word(m, w, word, size, out);
        return;
    }
    if (m->whole_words) {
        uint32_t id = bpe_piece_spelt(m, w, word, size);
        if (id == TOKENIZER_NONE && m->rule == BPE_WORDLEVEL) id = m->unknown_id;
        if (id != TOKENIZER_NONE) token_array_push(out, id);
        if (id != TOKENIZER_NONE || m->rule == BPE_WORDLEVEL) return;
    }
    while (size > BPE_MAX_WORD) {
        size_t part = BPE_MAX_WORD;
        while (((uint8_t)word[part] & 0xc0) == 0x80 && part > BPE_MAX_WORD - 4)
            part--;
        merge_any(m, w, word, part, out);
        word += part;
        size -= part;
    }
    if (size) merge_any(m, w, word, size, out);
}
