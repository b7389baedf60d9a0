/* text_bpe_table.c: a hash from numbers to numbers, a heap and lists of ids, which merging and
 * learning share.
 *
 * Keys are pairs: of ids in the table of merges and in the trainer, of a node and a byte in the
 * trie of special tokens. A slot is 16 bytes, so that one cache line answers nearly every lookup.
 * The hash is fixed; whoever fills a table from a file bounds the damage of keys that collide. */
#include "text/pieces/text_pieces_internal.h"

void table_fini(struct table *t)
{
    mem_free(t->slots);
    *t = (struct table){0};
}

bool table_reserve(struct table *t, size_t count)
{
    size_t n_slots = 16;
    while (n_slots < 2 * count)
        n_slots *= 2;
    if (t->slots && n_slots <= (size_t)t->mask + 1) return true;
    struct table larger = {.mask = (uint32_t)(n_slots - 1), .count = t->count};
    CHECK(n_slots - 1 <= UINT32_MAX);
    larger.slots = mem_try_alloc(n_slots * sizeof(*larger.slots));
    if (!larger.slots) return false;
    memset(larger.slots, 0xff, n_slots * sizeof(*larger.slots)); /* TABLE_NONE everywhere */
    for (size_t i = 0; t->slots && i <= t->mask; i++)
        if (t->slots[i].key != TABLE_NONE) *table_slot(&larger, t->slots[i].key) = t->slots[i];
    mem_free(t->slots);
    *t = larger;
    return true;
}

uint64_t *table_put(struct table *t, uint64_t key)
{
    if ((!t->slots || 2 * t->count > t->mask) && !table_reserve(t, t->count + 1))
        mem_exhausted(2 * (t->mask + 1) * sizeof(*t->slots));
    struct table_slot *slot = table_slot(t, key);
    t->count += slot->key == TABLE_NONE;
    slot->key = key;
    return &slot->value;
}

/* ------------------------------------------------------------------ heap */

void heap_fini(struct heap *h)
{
    mem_free(h->entries);
    *h = (struct heap){0};
}

static bool before(const struct heap_entry *a, const struct heap_entry *b)
{
    return a->order != b->order ? a->order < b->order : a->tie < b->tie;
}

void heap_push(struct heap *h, struct heap_entry entry)
{
    ARRAY_RESERVE(h->entries, h->cap, h->count + 1);
    size_t i = h->count++;
    for (; i > 0 && before(&entry, &h->entries[(i - 1) / 2]); i = (i - 1) / 2)
        h->entries[i] = h->entries[(i - 1) / 2];
    h->entries[i] = entry;
}

struct heap_entry heap_pop(struct heap *h)
{
    struct heap_entry top = h->entries[0], last = h->entries[--h->count];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < h->count; i = child) {
        if (child + 1 < h->count && before(&h->entries[child + 1], &h->entries[child])) child++;
        if (!before(&h->entries[child], &last)) break;
        h->entries[i] = h->entries[child];
    }
    h->entries[i] = last;
    return top;
}

/* ------------------------------------------------------------------ ids */

void token_array_fini(struct token_array *a)
{
    mem_free(a->ids);
    *a = (struct token_array){0};
}

void token_array_push(struct token_array *a, uint32_t id)
{
    token_array_reserve(a, 1);
    a->ids[a->count++] = id;
}
