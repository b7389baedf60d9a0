/* text_shard_set.c: the set of document hashes that finds exact duplicates.
 *
 * Eight bytes a slot and linear probing: the hashes are XXH3, so their low bits need no further
 * mixing. At most 7/8 full before it doubles: 9 to 18 bytes for every document kept, 18 GB at most
 * for a billion documents, which is why duplicates can be left in. With n documents the chance
 * that any two different ones share a hash is about n^2 / 2^65: one in 37 million for a million
 * documents, 1 in 37 for a billion; what it costs then is one dropped document. */
#include "text/dataset/text_dataset_internal.h"

#include <string.h>

enum { SET_FIRST_SLOTS = 1 << 12 };

/* Twice the slots. How many there are depends on the input, so no memory is an error here, not an
 * abort. */
static int set_grow(struct shard_set *s, struct error *e)
{
    size_t n = s->slots ? 2 * (s->mask + 1) : SET_FIRST_SLOTS;
    uint64_t *slots = mem_try_alloc(n * sizeof(*slots));

    if (!slots) {
        error_set(e, "no memory for the hashes of %zu documents", s->count);
        return error_hint(e, "--no-dedup needs no such table");
    }
    memset(slots, 0, n * sizeof(*slots));
    for (size_t i = 0; s->slots && i <= s->mask; i++) {
        if (s->slots[i] == 0) continue;
        size_t at = s->slots[i] & (n - 1);
        while (slots[at])
            at = (at + 1) & (n - 1);
        slots[at] = s->slots[i];
    }
    mem_free(s->slots);
    s->slots = slots;
    s->mask = n - 1;
    return 0;
}

int shard_set_add(struct shard_set *s, uint64_t hash, struct error *e)
{
    if (hash == 0) { /* marks a free slot, so it is kept beside the table */
        bool added = !s->has_zero;
        s->has_zero = true;
        return added;
    }
    if (!s->slots || s->count >= (s->mask + 1) / 8 * 7) TRY(set_grow(s, e));
    size_t at = hash & s->mask;
    for (; s->slots[at]; at = (at + 1) & s->mask) {
        if (s->slots[at] == hash) return 0;
    }
    s->slots[at] = hash;
    s->count++;
    return 1;
}

void shard_set_fini(struct shard_set *s)
{
    mem_free(s->slots);
    *s = (struct shard_set){0};
}
