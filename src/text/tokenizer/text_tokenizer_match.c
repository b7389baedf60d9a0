/* text_tokenizer_match.c: the longest of a set of strings that begins at a place in text.
 *
 * A trie whose edges live in one hash keyed by (node, byte). Special tokens begin with few distinct
 * bytes ('<', a digit), so a table of first bytes answers nearly every question; a real walk ends at
 * the first byte that no string has. The cost at one place is at most the longest string's size. */
#include "text/tokenizer/text_tokenizer_internal.h"

struct match_edge {
    uint32_t node; /* + 1; 0: empty slot */
    uint32_t child;
    uint8_t byte;
};

void match_set_fini(struct match_set *s)
{
    mem_free(s->edges);
    mem_free(s->node_ids);
    *s = (struct match_set){0};
}

/* The slot of the edge, or the empty slot where it belongs. */
static struct match_edge *edge_slot(const struct match_set *s, uint32_t node, uint8_t byte)
{
    uint64_t hash = bytes_fold((uint64_t)node << 8 | byte, 0x9e3779b97f4a7c15u);
    uint32_t i = (uint32_t)hash & s->edge_mask;
    while (s->edges[i].node && (s->edges[i].node != node + 1 || s->edges[i].byte != byte))
        i = (i + 1) & s->edge_mask;
    return &s->edges[i];
}

static void edges_grow(struct match_set *s)
{
    struct match_set larger = {.edge_mask = s->edges ? 2 * s->edge_mask + 1 : 63};
    larger.edges = mem_calloc(larger.edge_mask + 1, sizeof(*larger.edges));
    for (uint32_t i = 0; s->edges && i <= s->edge_mask; i++)
        if (s->edges[i].node)
            *edge_slot(&larger, s->edges[i].node - 1, s->edges[i].byte) = s->edges[i];
    mem_free(s->edges);
    s->edges = larger.edges;
    s->edge_mask = larger.edge_mask;
}

static uint32_t node_new(struct match_set *s)
{
    if (s->n_nodes == s->node_cap) {
        s->node_cap = s->node_cap * 2 + 64;
        s->node_ids = mem_realloc(s->node_ids, s->node_cap * sizeof(*s->node_ids));
    }
    s->node_ids[s->n_nodes] = TOKENIZER_NONE;
    return s->n_nodes++;
}

void match_set_add(struct match_set *s, const char *text, size_t size, uint32_t id)
{
    CHECK(size > 0);
    if (!s->n_nodes) node_new(s);
    s->first[(uint8_t)text[0]] = s->any = true;
    uint32_t node = 0;
    for (size_t i = 0; i < size; i++) {
        if (!s->edges || 2 * s->n_edges > s->edge_mask) edges_grow(s);
        struct match_edge *edge = edge_slot(s, node, (uint8_t)text[i]);
        if (!edge->node) {
            *edge = (struct match_edge){node + 1, node_new(s), (uint8_t)text[i]};
            s->n_edges++;
        }
        node = edge->child;
    }
    if (s->node_ids[node] == TOKENIZER_NONE) s->node_ids[node] = id;
}

size_t match_set_find(const struct match_set *s, const char *text, size_t size, uint32_t *id)
{
    size_t longest = 0;
    uint32_t node = 0;
    for (size_t i = 0; i < size && s->n_nodes; i++) {
        const struct match_edge *edge = edge_slot(s, node, (uint8_t)text[i]);
        if (!edge->node) break;
        node = edge->child;
        if (s->node_ids[node] != TOKENIZER_NONE) {
            longest = i + 1;
            *id = s->node_ids[node];
        }
    }
    return longest;
}
