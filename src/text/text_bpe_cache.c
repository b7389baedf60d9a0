/* text_bpe_cache.c: words to ids through a cache, the hot path of encoding.
 *
 * Text repeats its words: of 200,000 words in a megabyte of English one in ten is new. The cache
 * holds words of up to 15 bytes that become up to 5 ids, in 2 MiB (the second-level cache of one
 * core): 32,768 sets of one cache line, two words each; a new word drives out the older of its set,
 * so the size never grows. A word of up to 15 bytes and its size are two 64-bit numbers, which are
 * compared whole: nothing depends on the hash. It only remembers what bpe_merge_word said, so ids
 * cannot depend on it either. */
#include "text/text_tokenizer_internal.h"

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
    CHECK_MSG(c->entries, "out of memory");
}

void bpe_cache_fini(struct bpe_cache *c)
{
    if (c->entries) bpe_table_free(c->entries, cache_bytes(c));
    bpe_work_fini(&c->work);
    *c = (struct bpe_cache){0};
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

void bpe_cache_encode(const struct bpe_model *m, struct bpe_cache *c, const char *word, size_t size,
                      struct token_array *out)
{
    if (size - 1 >= BPE_CACHE_KEY_BYTES) { /* empty or too long */
        bpe_merge_word(m, &c->work, word, size, out);
        return;
    }
    uint64_t key[2] = {0, (uint64_t)size << 56};
    if (size > 8) {
        key[0] = bytes_load64(word);
        key[1] |= bytes_load64(word + size - 8) >> (8 * (16 - size));
    } else {
        key[0] = bytes_load_short(word, size);
    }
    uint64_t hash = bytes_fold(key[0] ^ 0xa0761d6478bd642fu, key[1] ^ 0xe7037ed1a0b428dbu);
    struct bpe_cache_entry *set = &c->entries[2 * (hash & c->set_mask)];
    token_array_reserve(out, BPE_CACHE_IDS);
    for (int i = 0; i < 2; i++) {
        if (set[i].key[0] == key[0] && set[i].key[1] == key[1]) {
            entry_read(&set[i], out);
            return;
        }
    }
    size_t first = out->count;
    bpe_merge_word(m, &c->work, word, size, out);
    size_t n = out->count - first;
    if (n > BPE_CACHE_IDS) return;
    set[1] = set[0];
    entry_write(&set[0], key, out->ids + first, n);
}
