/* text_unigram.c: one word to its likeliest pieces (Kudo 2018; SentencePiece, T5, XLM-R).
 *
 * Every piece has a score, the logarithm of a probability; the pieces that make up the word and
 * have the highest sum are found from left to right (Viterbi): for each place, the best way to it.
 * A character that is no piece costs unknown_score. Of equal sums the one found first stays, which
 * is the one whose last piece is longest. Hugging Face adds up in double precision, SentencePiece in
 * single precision and from 0 again where a sum is beyond 100,000 (as of 0.2.3); ties depend on it,
 * so both are done as the original does. */
#include "text/pieces/text_pieces_internal.h"

#define CONTROL_BIT 0x80000000u /* with the id of a control piece; ids are below 2^24 */

struct unigram_best {
    double score;
    uint32_t start, id; /* start NONE: no way ends here yet; id NONE: unknown */
};

void unigram_fini(struct unigram *u)
{
    table_fini(&u->edges);
    mem_free(u->node_ids);
    mem_free(u->scores);
    *u = (struct unigram){0};
}

static uint64_t node_new(struct unigram *u)
{
    ARRAY_RESERVE(u->node_ids, u->node_cap, u->n_nodes + 1);
    CHECK(u->n_nodes < UINT32_MAX); /* an edge's key has 32 bits for its node */
    u->node_ids[u->n_nodes] = TOKENIZER_NONE;
    return u->n_nodes++;
}

void unigram_add(struct unigram *u, const char *bytes, size_t size, uint32_t id, bool control)
{
    CHECK(size > 0);
    if (!u->n_nodes) node_new(u);
    uint64_t node = 0;
    for (size_t i = 0; i < size; i++) {
        uint64_t *child = table_put(&u->edges, table_pair((uint32_t)node, (uint8_t)bytes[i]));
        if (*child == TABLE_NONE) {
            uint64_t made = node_new(u);
            *child = made;
        }
        node = *child;
    }
    u->node_ids[node] = id | (control ? CONTROL_BIT : 0);
}

static inline void offer(const struct unigram *u, struct unigram_best *best, size_t start,
                         double score, uint32_t id)
{
    if (u->single) score = (double)(float)score;
    if (best->start == TOKENIZER_NONE || score > best->score)
        *best = (struct unigram_best){score, (uint32_t)start, id};
}

/* SentencePiece's: sums far from 0 would have no room for the digits that decide. */
static void begin_again(struct unigram_best *best, size_t at, size_t size)
{
    double here = best[at].score;
    if (fabs(here) <= 100000) return;
    for (size_t i = at; i <= size && i - at <= TOKENIZER_MAX_PIECE; i++)
        if (i == at || best[i].start != TOKENIZER_NONE)
            best[i].score = (double)(float)(best[i].score - here);
}

/* Every piece that begins at the place; the character there is unknown where none is as long. */
static void offer_pieces(const struct bpe_model *m, const struct bpe_work *w, const char *word,
                         size_t size, size_t at)
{
    const struct unigram *u = &m->unigram;
    struct unigram_best *best = w->best;
    double here = best[at].score;
    uint64_t node = 0;
    size_t character = MAX(utf8_decode(word + at, size - at, NULL), 1);
    bool known = false;
    for (size_t i = at; i < size && u->n_nodes; i++) {
        node = table_slot(&u->edges, table_pair((uint32_t)node, (uint8_t)word[i]))->value;
        if (node == TABLE_NONE) break;
        uint32_t id = u->node_ids[node];
        if (id == TOKENIZER_NONE || (id & CONTROL_BIT && !w->control)) continue;
        id &= ~CONTROL_BIT;
        /* The piece of what is unknown is as unknown to Hugging Face as a character without one. */
        offer(u, &best[i + 1], at, u->scores[id] + here, id == m->unknown_id ? TOKENIZER_NONE : id);
        known |= i + 1 - at == character;
    }
    if (!known) offer(u, &best[at + character], at, u->unknown_score + here, TOKENIZER_NONE);
}

/* A run of unknown characters may be a piece as a whole, where scores are odd. */
static void push_unknown(const struct bpe_model *m, const struct bpe_work *w, const char *text,
                         size_t size, struct token_array *out)
{
    uint32_t id = m->unigram.single ? TOKENIZER_NONE : bpe_piece_spelt(m, w, text, size);
    if (id != TOKENIZER_NONE)
        token_array_push(out, id);
    else if (!m->byte_fallback || !bpe_push_bytes(m, text, size, out))
        token_array_push(out, m->unknown_id);
}

void unigram_word(const struct bpe_model *m, struct bpe_work *w, const char *word, size_t size,
                  struct token_array *out)
{
    ARRAY_RESERVE(w->best, w->best_cap, size + 1);
    struct unigram_best *best = w->best;
    for (size_t i = 0; i <= size; i++)
        best[i] = (struct unigram_best){.start = TOKENIZER_NONE};
    for (size_t at = 0; at < size; at += MAX(utf8_decode(word + at, size - at, NULL), 1)) {
        if (m->unigram.single) begin_again(best, at, size);
        offer_pieces(m, w, word, size, at);
    }
    w->symbols.count = 0; /* where the pieces end, from the last to the first */
    for (size_t end = size; end > 0; end = best[end].start)
        token_array_push(&w->symbols, (uint32_t)end);
    size_t unknown = SIZE_MAX; /* where a run of unknown characters began */
    for (size_t i = w->symbols.count; i-- > 0;) {
        const struct unigram_best *piece = &best[w->symbols.ids[i]];
        if (piece->id == TOKENIZER_NONE) {
            unknown = MIN(unknown, piece->start);
            continue;
        }
        if (unknown != SIZE_MAX) push_unknown(m, w, word + unknown, piece->start - unknown, out);
        unknown = SIZE_MAX;
        token_array_push(out, piece->id);
    }
    if (unknown != SIZE_MAX) push_unknown(m, w, word + unknown, size - unknown, out);
    if (w->best_cap > (1u << 20)) { /* a giant word is rare; its memory is not kept */
        mem_free(w->best);
        w->best = NULL;
        w->best_cap = 0;
    }
}
