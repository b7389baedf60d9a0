/* text_bpe_cache.c: words to ids through a cache, the hot path of encoding.
 *
 * Words wait in groups of 16 before they are encoded. Memory is asked for what a word will need,
 * its set of the cache when it arrives and, where that does not hold it, the slots of the
 * vocabulary before the group is encoded, so that the waiting times overlap: a new word costs
 * about 20 places in 4 MiB, each a miss of the second-level cache.
 *
 * Text repeats its words: of 200,000 words in a megabyte of English one in ten is new. The cache
 * holds words of up to 15 bytes that become up to 5 ids, in 2 MiB (the second-level cache of one
 * core): 32,768 sets of one cache line, two words each; a new word drives out the older of its set,
 * so the size never grows. A word of up to 15 bytes and its size are two 64-bit numbers, which are
 * compared whole: nothing depends on the hash. It only remembers what bpe_merge_word said, so ids
 * cannot depend on it either. */
#include "text/pieces/text_pieces_internal.h"

_Static_assert(sizeof(struct bpe_cache_entry) == 32, "two entries are one cache line");

static size_t cache_bytes(const struct bpe_cache *c)
{
    return 2 * (c->set_mask + 1) * sizeof(struct bpe_cache_entry);
}

/* A vocabulary of a few hundred pieces is a test's; its cache is small. */
void bpe_cache_init(struct bpe_cache *c, const struct bpe_model *m)
{
    *c = (struct bpe_cache){.set_mask = (m->vocab.count < 1024 ? 64 : BPE_CACHE_SETS) - 1};
    c->entries = bpe_table_alloc(cache_bytes(c));
    if (!c->entries) mem_exhausted(cache_bytes(c));
}

void bpe_cache_fini(struct bpe_cache *c)
{
    if (c->entries) bpe_table_free(c->entries, cache_bytes(c));
    bpe_work_fini(&c->work);
    *c = (struct bpe_cache){0};
}

/* What is remembered holds for one of the two only. */
void bpe_cache_control(struct bpe_cache *c, bool control)
{
    CHECK(c->n_pending == 0);
    if (c->work.control == control) return;
    c->work.control = control;
    memset(c->entries, 0, cache_bytes(c));
}

static inline void entry_write(struct bpe_cache_entry *entry, const uint64_t key[2],
                               const uint32_t *ids, size_t n)
{
    entry->key[0] = key[0];
    entry->key[1] = key[1];
    entry->n_ids = (uint8_t)n;
    for (size_t i = 0; i < n; i++)
        memcpy(entry->ids + 3 * i, &ids[i], 3); /* little endian */
}

static inline void entry_read(const struct bpe_cache_entry *entry, struct token_array *out)
{
    uint32_t *ids = out->ids + out->count;
    for (size_t i = 0; i < BPE_CACHE_IDS; i++) /* the last reads into n_ids */
        ids[i] = bytes_load32(entry->ids + 3 * i) & 0xffffff;
    out->count += entry->n_ids;
}

/* ------------------------------------------------------------------ words in flight */

/* Asks for the slots that merging the word will look at, as far as they are known: those of all its
 * stretches of 2 to 5 bytes. Nearly all of them are pieces, or were asked whether they are. */
static void prefetch_stretches(const struct bpe_model *m, const char *word, size_t size)
{
    char bytes[BPE_CACHE_KEY_BYTES + 8] = {0};
    if (m->rule != BPE_JOIN_STRINGS) return;
    memcpy(bytes, word, size);
    for (size_t n = 2; n <= 5 && n <= size; n++)
        for (size_t i = 0; i + n <= size; i++)
            __builtin_prefetch(
                &m->vocab.slots[bpe_key_slot(&m->vocab, bpe_key_padded(bytes + i, n))]);
}

static inline const struct bpe_cache_entry *entry_find(const struct bpe_cache_entry *set,
                                                       const uint64_t key[2])
{
    for (int i = 0; i < 2; i++)
        if (set[i].key[0] == key[0] && set[i].key[1] == key[1]) return &set[i];
    return NULL;
}

static void encode_pending(const struct bpe_model *m, struct bpe_cache *c,
                           const struct bpe_pending *p, struct token_array *out)
{
    if (!p->set) {
        if (p->size)
            bpe_merge_word(m, &c->work, p->word, p->size, out);
        else
            token_array_push(out, p->id);
        return;
    }
    const struct bpe_cache_entry *entry = entry_find(p->set, p->key);
    if (entry) {
        entry_read(entry, out);
        return;
    }
    size_t first = out->count;
    bpe_merge_word(m, &c->work, p->word, p->size, out);
    size_t n = out->count - first;
    if (n > BPE_CACHE_IDS) return;
    p->set[1] = p->set[0];
    entry_write(&p->set[0], p->key, out->ids + first, n);
}

void bpe_cache_flush(const struct bpe_model *m, struct bpe_cache *c, struct token_array *out)
{
    for (int i = 0; i < c->n_pending; i++) {
        const struct bpe_pending *p = &c->pending[i];
        if (p->set && !entry_find(p->set, p->key)) prefetch_stretches(m, p->word, p->size);
    }
    token_array_reserve(out, BPE_PENDING * BPE_CACHE_IDS);
    for (int i = 0; i < c->n_pending; i++) {
        token_array_reserve(out, BPE_CACHE_IDS);
        encode_pending(m, c, &c->pending[i], out);
    }
    c->n_pending = 0;
}

void bpe_cache_id(const struct bpe_model *m, struct bpe_cache *c, uint32_t id,
                  struct token_array *out)
{
    if (c->n_pending == BPE_PENDING) bpe_cache_flush(m, c, out);
    c->pending[c->n_pending++] = (struct bpe_pending){.id = id};
}

void bpe_cache_word(const struct bpe_model *m, struct bpe_cache *c, const char *word, size_t size,
                    struct token_array *out)
{
    if (!size) return;
    if (c->n_pending == BPE_PENDING) bpe_cache_flush(m, c, out);
    struct bpe_pending *p = &c->pending[c->n_pending++];
    *p = (struct bpe_pending){.word = word, .size = size};
    if (size > BPE_CACHE_KEY_BYTES) return;
    p->key[1] = (uint64_t)size << 56;
    if (size > 8) {
        p->key[0] = bytes_load64(word);
        p->key[1] |= bytes_load64(word + size - 8) >> (8 * (16 - size));
    } else {
        p->key[0] = bytes_load_short(word, size);
    }
    uint64_t hash = bytes_fold(p->key[0] ^ 0xa0761d6478bd642fu, p->key[1] ^ 0xe7037ed1a0b428dbu);
    p->set = &c->entries[2 * (hash & c->set_mask)];
    __builtin_prefetch(p->set);
}
