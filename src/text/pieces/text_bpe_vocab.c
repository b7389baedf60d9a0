/* text_bpe_vocab.c: the pieces of a vocabulary and the hash from bytes to id.
 *
 * All pieces lie in one blob, with 12 bytes about each. The hash is open addressing with linear
 * probing, at most half full; a slot holds a short piece's bytes themselves, its id and its
 * priority, so that one cache line answers nearly every lookup. For Grok-1's 131,072 pieces that is
 * 4 MiB, built in a few milliseconds, which is why nothing is precomputed per pair of pieces. File
 * names are put into error messages by the callers.
 *
 * A file can be made so that its pieces collide under this hash and loading would take n^2 steps;
 * the number of probes is limited and such a file is refused. Text cannot do harm: it is only
 * looked up. */
#include "text/pieces/text_pieces_internal.h"

#define TABLE_HUGE ((size_t)1 << 20)

/* mem_map asks the kernel for huge pages, which pay from about this size on. */
void *bpe_table_alloc(size_t size)
{
    if (size >= TABLE_HUGE) return mem_map(size);
    void *p = mem_try_alloc(size);
    if (p) memset(p, 0, size);
    return p;
}

void bpe_table_free(void *p, size_t size)
{
    if (size >= TABLE_HUGE)
        mem_unmap(p, size);
    else
        mem_free(p);
}

void bpe_vocab_fini(struct bpe_vocab *v)
{
    if (v->table_size) {
        bpe_table_free(v->slots, v->table_size);
    } else {
        mem_free(v->blob);
        mem_free(v->pieces);
    }
    *v = (struct bpe_vocab){0};
}

static int out_of_memory(const char *what, size_t size, struct error *e)
{
    char text[32];
    return error_set(e, "no memory for %s (%s)", what, format_bytes(text, (double)size));
}

int bpe_vocab_reserve(struct bpe_vocab *v, uint32_t pieces, size_t bytes, struct error *e)
{
    if (pieces > v->cap) {
        void *p = mem_try_realloc(v->pieces, pieces * sizeof(*v->pieces));
        if (!p) return out_of_memory("pieces", pieces * sizeof(*v->pieces), e);
        v->pieces = p;
        v->cap = pieces;
    }
    if (bytes > v->blob_cap) {
        if (bytes > UINT32_MAX) return error_set(e, "pieces of more than 4 GiB");
        void *p = mem_try_realloc(v->blob, bytes);
        if (!p) return out_of_memory("pieces", bytes, e);
        v->blob = p;
        v->blob_cap = bytes;
    }
    return 0;
}

/* Real vocabularies leave few holes; 65,536 more are allowed for small ones with ids chosen
 * freely. */
void bpe_vocab_limit_ids(struct bpe_vocab *v, size_t n_pieces)
{
    v->id_limit = (uint32_t)MIN(16 * MIN(n_pieces, TOKENIZER_MAX_IDS) + 65536, TOKENIZER_MAX_IDS);
}

int bpe_vocab_set(struct bpe_vocab *v, uint32_t id, const char *bytes, size_t size,
                  enum bpe_piece_type type, struct error *e)
{
    uint32_t limit = v->id_limit ? v->id_limit : TOKENIZER_MAX_IDS;
    CHECK(!v->table_size);
    if (id >= limit)
        return error_set(e, "id %u is too large for this vocabulary, the limit is %u", id,
                         limit - 1);
    if (size > TOKENIZER_MAX_PIECE)
        return error_set(e, "id %u: a piece of %zu bytes, the limit is %u", id, size,
                         TOKENIZER_MAX_PIECE);
    if (id >= v->cap) TRY(bpe_vocab_reserve(v, MAX(id + 1, v->cap + v->cap / 2), 0, e));
    if (v->blob_size + size > v->blob_cap)
        TRY(bpe_vocab_reserve(v, 0, MAX(v->blob_size + size, v->blob_cap * 2 + 64), e));
    for (; v->count <= id; v->count++)
        v->pieces[v->count] = (struct bpe_piece){.priority = BPE_NO_PRIORITY};
    struct bpe_piece *piece = &v->pieces[id];
    if (piece->type != BPE_PIECE_NONE) return error_set(e, "id %u is given twice", id);
    if (size) memcpy(v->blob + v->blob_size, bytes, size);
    *piece = (struct bpe_piece){.offset = (uint32_t)v->blob_size,
                                .priority = BPE_NO_PRIORITY,
                                .size = (uint16_t)size,
                                .type = (uint8_t)type,
                                .dead = type == BPE_PIECE_CONTROL};
    v->blob_size += size;
    return 0;
}

/* Moves pieces and bytes behind the (empty) slots, into one block. */
static int move_together(struct bpe_vocab *v, uint32_t n_slots, struct error *e)
{
    size_t slots_size = n_slots * sizeof(*v->slots), pieces_size = v->count * sizeof(*v->pieces);
    size_t size = slots_size + pieces_size + v->blob_size;
    char *table = bpe_table_alloc(size);
    if (!table) return out_of_memory("the vocabulary", size, e);
    memset(table, 0xff, slots_size);
    if (pieces_size) memcpy(table + slots_size, v->pieces, pieces_size);
    if (v->blob_size) memcpy(table + slots_size + pieces_size, v->blob, v->blob_size);
    mem_free(v->pieces);
    mem_free(v->blob);
    v->slots = (struct bpe_slot *)(void *)table;
    v->pieces = (struct bpe_piece *)(void *)(table + slots_size);
    v->blob = table + slots_size + pieces_size;
    v->table_size = size;
    v->slot_mask = n_slots - 1;
    return 0;
}

/* Puts one piece in; false and *other set where the same bytes are there already and stay. */
static bool insert(struct bpe_vocab *v, uint32_t id, uint64_t key, uint64_t *probes_left,
                   uint32_t *other)
{
    const struct bpe_piece *piece = &v->pieces[id];
    const char *bytes = bpe_vocab_bytes(v, id);
    uint32_t i = bpe_key_slot(v, key);
    for (; v->slots[i].id != TOKENIZER_NONE && *probes_left; i = (i + 1) & v->slot_mask) {
        *other = v->slots[i].id;
        if (v->slots[i].key == key && v->pieces[*other].size == piece->size &&
            bytes_equal(bpe_vocab_bytes(v, *other), bytes, piece->size)) {
            if (v->doubles) v->slots[i].id = id;
            return v->doubles;
        }
        --*probes_left;
    }
    v->slots[i] = (struct bpe_slot){key, id, piece->priority};
    return true;
}

int bpe_vocab_index(struct bpe_vocab *v, struct error *e)
{
    enum { AHEAD = 32 }; /* slots asked for before they are needed */
    uint64_t keys[AHEAD], probes_left = 4096 + 32 * (uint64_t)v->count;
    uint32_t ids[AHEAD], n_slots = 16, other;
    while (n_slots < 2 * v->count)
        n_slots *= 2;
    TRY(move_together(v, n_slots, e));
    for (uint32_t id = 0; id < v->count && probes_left;) {
        int n = 0;
        for (; id < v->count && n < AHEAD; id++) {
            const struct bpe_piece *piece = &v->pieces[id];
            if (piece->dead || piece->type == BPE_PIECE_NONE || piece->type == BPE_PIECE_BYTE ||
                piece->type == BPE_PIECE_UNKNOWN)
                continue;
            ids[n] = id;
            keys[n] = bpe_key(bpe_vocab_bytes(v, id), piece->size);
            __builtin_prefetch(&v->slots[bpe_key_slot(v, keys[n++])], 1);
        }
        for (int i = 0; i < n; i++)
            if (!insert(v, ids[i], keys[i], &probes_left, &other))
                return error_set(e, "ids %u and %u are the same piece", other, ids[i]);
    }
    return probes_left ? 0 : error_set(e, "the pieces are made to collide");
}
