/* text_shard_count.c: what a split contains: lengths of documents and frequencies of ids.
 *
 * One pass over the ids with two tables: a count per id, and a count per document length. Lengths
 * of a million tokens and more share the last place, so a median or 95th percentile that lies there
 * is given as the largest length instead: an upper bound, in practice never reached. */
#include "text/dataset/text_dataset_internal.h"

#include <stdlib.h>
#include <string.h>

enum { COUNT_LENGTHS = 1 << 20, COUNT_BLOCK = 1 << 16 };

static int compare_counts(const void *pa, const void *pb)
{
    const struct dataset_token_count *a = pa, *b = pb;
    if (a->count != b->count) return a->count < b->count ? 1 : -1;
    return a->id < b->id ? -1 : a->id > b->id;
}

/* The length that `rank` documents (of those in the table, shortest first) do not exceed. */
static uint64_t length_at(const uint64_t *lengths, uint64_t rank, uint64_t longest)
{
    uint64_t seen = 0;
    for (size_t i = 0; i < COUNT_LENGTHS - 1; i++) {
        seen += lengths[i];
        if (seen > rank) return i;
    }
    return longest;
}

/* Sorting all ids that occur costs less than the pass over the text before it. */
static void take_top(const uint64_t *counts, uint32_t n, size_t n_top, struct arena *a,
                     struct dataset_stats *s)
{
    struct dataset_token_count *all = mem_alloc((n + 1) * sizeof(*all));
    size_t used = 0;

    for (uint32_t id = 0; id < n; id++) {
        if (counts[id] > 0) all[used++] = (struct dataset_token_count){id, counts[id]};
    }
    qsort(all, used, sizeof(*all), compare_counts);
    s->distinct_ids = used;
    s->n_top = MIN(n_top, used);
    s->top = arena_alloc(a, (s->n_top + 1) * sizeof(*s->top));
    memcpy(s->top, all, s->n_top * sizeof(*all));
    mem_free(all);
}

int dataset_count(const dataset_t *d, size_t n_top, struct arena *a, struct dataset_stats *s,
                  struct error *e)
{
    const uint32_t eos = dataset_info(d)->eos;
    uint64_t *counts = mem_calloc(dataset_info(d)->vocab_size, sizeof(*counts));
    uint64_t *lengths = mem_calloc(COUNT_LENGTHS, sizeof(*lengths));
    uint32_t *ids = mem_alloc(COUNT_BLOCK * sizeof(*ids));
    uint64_t length = 0, documents = 0;
    int rc = 0;

    *s = (struct dataset_stats){.tokens = dataset_info(d)->tokens,
                                .bytes = dataset_info(d)->bytes,
                                .min_document = UINT64_MAX};
    for (uint64_t at = 0; at < s->tokens && rc >= 0; at += COUNT_BLOCK) {
        uint64_t n = MIN((uint64_t)COUNT_BLOCK, s->tokens - at);
        rc = dataset_read(d, at, n, ids, e);
        for (uint64_t i = 0; i < n && rc >= 0; i++) {
            counts[ids[i]]++;
            if (ids[i] != eos) {
                length++;
                continue;
            }
            lengths[MIN(length, (uint64_t)COUNT_LENGTHS - 1)]++;
            s->min_document = MIN(s->min_document, length);
            s->max_document = MAX(s->max_document, length);
            documents++;
            length = 0;
        }
    }
    s->documents = documents;
    if (documents == 0) s->min_document = 0;
    uint64_t last = documents > 0 ? documents - 1 : 0;
    s->median_document = length_at(lengths, last / 2, s->max_document);
    /* 95 % of it, in an order that cannot overflow. */
    s->p95_document = length_at(lengths, last / 100 * 95 + last % 100 * 95 / 100, s->max_document);
    take_top(counts, dataset_info(d)->vocab_size, n_top, a, s);
    mem_free(counts);
    mem_free(lengths);
    mem_free(ids);
    return rc;
}
