/* feed_keys.c: keys of posts: a filter that says "never seen" in one load, and a table in memory.
 *
 * The filter is a Bloom filter of blocks (Putze, Sanders, Singler: Cache-, hash- and space-efficient
 * Bloom filters, 2007): a key chooses a block of 512 bits, and in each of its eight words one bit. */
#include "feed/store/feed_store_internal.h"

#include <xxhash.h>

uint64_t feed_key(enum feed_service service, const char *kind, struct feed_slice id)
{
    return XXH3_64bits_withSeed(id.s, id.n, (uint64_t)service * 256 + (uint8_t)kind[0]);
}

void feed_filter_init(struct feed_filter *f, uint64_t keys)
{
    f->blocks = (size_t)(keys / 32) + 1; /* sixteen bits a key */
    f->words = mem_calloc(f->blocks * 8, sizeof(*f->words));
}

void feed_filter_fini(struct feed_filter *f)
{
    mem_free(f->words);
    *f = (struct feed_filter){0};
}

static uint64_t *block_of(const struct feed_filter *f, uint64_t key)
{
    return f->words + 8 * (size_t)(((unsigned __int128)key * f->blocks) >> 64);
}

void feed_filter_add(struct feed_filter *f, uint64_t key)
{
    uint64_t *b = block_of(f, key), bits = key * 0x9e3779b97f4a7c15ULL;
    for (int i = 0; i < 8; i++, bits >>= 6)
        b[i] |= 1ULL << (bits & 63);
}

bool feed_filter_has(const struct feed_filter *f, uint64_t key)
{
    const uint64_t *b = block_of(f, key);
    uint64_t bits = key * 0x9e3779b97f4a7c15ULL, all = 1;
    for (int i = 0; i < 8; i++, bits >>= 6)
        all &= b[i] >> (bits & 63);
    return all & 1;
}

void feed_filter_prefetch(const struct feed_filter *f, uint64_t key)
{
    if (f->blocks) __builtin_prefetch(block_of(f, key));
}

void feed_keys_fini(struct feed_keys *k)
{
    mem_free(k->items);
    *k = (struct feed_keys){0};
}

void feed_keys_clear(struct feed_keys *k)
{
    if (k->n) memset(k->items, 0, k->cap * sizeof(*k->items));
    k->n = 0;
}

static void grow(struct feed_keys *k)
{
    struct feed_keys old = *k;
    k->cap = old.cap ? 2 * old.cap : 1024;
    k->items = mem_calloc(k->cap, sizeof(*k->items));
    k->n = 0;
    for (size_t i = 0; i < old.cap; i++)
        if (old.items[i].used) *feed_keys_at(k, old.items[i].key, true) = old.items[i].value;
    mem_free(old.items);
}

static size_t slot_of(const struct feed_keys *k, uint64_t key)
{
    return (size_t)(key * 0x9e3779b97f4a7c15ULL >> 20) & (k->cap - 1);
}

void feed_keys_prefetch(const struct feed_keys *k, uint64_t key)
{
    if (k->cap) __builtin_prefetch(&k->items[slot_of(k, key)]);
}

int64_t *feed_keys_at(struct feed_keys *k, uint64_t key, bool add)
{
    if (add && 2 * k->n >= k->cap) grow(k);
    if (k->cap == 0) return NULL;
    for (size_t i = slot_of(k, key);; i = (i + 1) & (k->cap - 1)) {
        struct feed_map_item *x = &k->items[i];
        if (x->used && x->key == key) return &x->value;
        if (x->used) continue;
        if (!add) return NULL;
        *x = (struct feed_map_item){key, 0, true};
        k->n++;
        return &x->value;
    }
}
