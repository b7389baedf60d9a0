/* text_tokenizer_match.c: the longest of a set of strings that begins at a place in text.
 *
 * A trie whose edges live in one table keyed by (node, byte). Special tokens begin with few
 * distinct bytes ('<', a digit), so a table of first bytes answers nearly every question; a real
 * walk ends at the first byte that no string has. The cost at one place is at most the longest
 * string's size. */
#include "text/tokenizer/text_tokenizer_internal.h"

void match_set_fini(struct match_set *s)
{
    table_fini(&s->edges);
    mem_free(s->node_ids);
    *s = (struct match_set){0};
}

/* Node 0, the root, is made first. */
static uint64_t node_new(struct match_set *s)
{
    ARRAY_RESERVE(s->node_ids, s->node_cap, s->n_nodes + 1);
    CHECK(s->n_nodes < UINT32_MAX); /* an edge's key has 32 bits for its node */
    s->node_ids[s->n_nodes] = TOKENIZER_NONE;
    return s->n_nodes++;
}

void match_set_add(struct match_set *s, const char *text, size_t size, uint32_t id)
{
    CHECK(size > 0);
    if (!s->n_nodes) node_new(s);
    s->first[(uint8_t)text[0]] = s->any = true;
    uint64_t node = 0;
    for (size_t i = 0; i < size; i++) {
        uint64_t *child = table_put(&s->edges, table_pair((uint32_t)node, (uint8_t)text[i]));
        if (*child == TABLE_NONE) *child = node_new(s);
        node = *child;
    }
    if (s->node_ids[node] == TOKENIZER_NONE) s->node_ids[node] = id;
}

size_t match_set_find(const struct match_set *s, const char *text, size_t size, uint32_t *id)
{
    size_t longest = 0;
    uint64_t node = 0;
    for (size_t i = 0; i < size && s->n_nodes; i++) {
        node = table_slot(&s->edges, table_pair((uint32_t)node, (uint8_t)text[i]))->value;
        if (node == TABLE_NONE) break;
        if (s->node_ids[node] != TOKENIZER_NONE) {
            longest = i + 1;
            *id = s->node_ids[node];
        }
    }
    return longest;
}
