/* train_shares.c: which rank keeps which part of the flat arrays of weights, gradients and moments.
 *
 * The parameter table is cut into buckets: a layer's attention is one, its feed-forward another, and
 * so is what lies before and behind the layers. Experts that are divided over ranks are buckets of their own, since
 * fewer ranks hold the same of them. The backward pass finishes the gradients of a bucket at a time,
 * so a bucket is what is summed, and what is gathered, in one piece. Each bucket is dealt out to all
 * ranks that hold it, in their order, so that every rank receives as much as it sends; a rank's own
 * part of the whole is one range in every bucket.
 *
 * AdamW takes each number for itself, so a cut may fall on any cache line. Muon makes a matrix
 * orthogonal whole: a cut within one moves to its nearer end. What a rank gets too much by that in
 * one bucket it gets less in the next: the cuts aim at equal sums over all buckets so far. */
#include "train/train_internal.h"

#include <math.h>
#include <string.h>

#define CUT_ALIGN 16 /* floats: a cache line, and what tensors are padded to */

/* The bucket of a row: its layer, or -1. */
static int layer_of(const struct param *p)
{
    int layer = -1;
    return sscanf(p->name, "blk.%d.", &layer) == 1 ? layer : -1;
}

static size_t row_end(const struct param_table *t, size_t row)
{
    return row + 1 < t->n_rows ? t->rows[row + 1].offset : t->total;
}

/* Where a cut that is wanted at `at` may be, within a bucket. */
static size_t allowed_cut(const struct param_table *t, const struct train_bucket *b, size_t at,
                          bool muon)
{
    size_t row = b->first_row, end = b->first_row + b->n_rows;
    while (row + 1 < end && t->rows[row + 1].offset <= at)
        row++;
    const struct param *p = &t->rows[row];
    if (!muon || !train_muon_takes(p))
        return MIN((at + CUT_ALIGN / 2) / CUT_ALIGN * CUT_ALIGN, row_end(t, row));
    size_t matrices = p->n_dims == 3 ? (size_t)p->shape[0] : 1, size = p->count / matrices;
    size_t k = (at - p->offset + size / 2) / size;
    return k >= matrices ? row_end(t, row) : p->offset + k * size;
}

/* What was dealt so far to one group of ranks. */
struct dealt {
    size_t *to; /* [ranks] floats */
    size_t all;
};

/* Ranks that have less than their share of what was dealt so far get more of this bucket. */
static void deal(const struct param_table *t, struct train_bucket *b, struct dealt *so, bool muon)
{
    size_t so_far = so->all + b->count, n = (size_t)b->size, *dealt = so->to;
    double wanted = 0, at = 0;
    for (size_t r = 0; r < n; r++)
        wanted += fmax((double)so_far / (double)n - (double)dealt[r], 0);
    b->bounds[0] = 0;
    for (size_t r = 0; r < n; r++) {
        at += fmax((double)so_far / (double)n - (double)dealt[r], 0);
        size_t cut = b->count;
        if (r + 1 < n && wanted > 0) cut = (size_t)(at / wanted * (double)b->count);
        cut = MIN(cut, b->count);
        if (cut < b->count) cut = allowed_cut(t, b, b->offset + cut, muon) - b->offset;
        b->bounds[r + 1] = MAX(b->bounds[r], MIN(cut, b->count));
    }
    for (size_t r = 0; r < n; r++)
        dealt[r] += b->bounds[r + 1] - b->bounds[r];
    so->all = so_far;
}

static bool same_bucket(const struct param *p, const struct param *q, bool divided)
{
    if (layer_of(p) != layer_of(q) || param_is_of_ffn(p) != param_is_of_ffn(q)) return false;
    return !divided || (p->kind == PARAM_EXPERTS) == (q->kind == PARAM_EXPERTS);
}

void train_shares_build(const struct param_table *t, const struct train_config *c,
                        const struct train_ranks *ranks, struct arena *a, struct train_shares *s)
{
    bool divided = ranks->ep > 1;
    struct dealt dealt[3]; /* to all ranks of dp; of experts, to those that have the same; of one */
    for (int i = 0; i < 3; i++) {
        dealt[i] = (struct dealt){arena_alloc(a, (size_t)ranks->dp * sizeof(size_t)), 0};
        memset(dealt[i].to, 0, (size_t)ranks->dp * sizeof(size_t));
    }
    *s = (struct train_shares){0};
    s->buckets = arena_alloc(a, t->n_rows * sizeof(*s->buckets));
    for (size_t row = 0, n; row < t->n_rows; row += n) {
        n = 1;
        while (row + n < t->n_rows && same_bucket(&t->rows[row + n], &t->rows[row], divided))
            n++;
        struct train_bucket *b = &s->buckets[s->n++];
        *b = (struct train_bucket){.first_row = row, .n_rows = n, .offset = t->rows[row].offset};
        b->count = row_end(t, row + n - 1) - b->offset;
        b->experts = divided && t->rows[row].kind == PARAM_EXPERTS;
        enum train_group g = b->experts ? TRAIN_GROUP_TWINS : TRAIN_GROUP_DATA;
        b->size = train_ranks_group_size(ranks, g);
        b->rank = train_ranks_group_rank(ranks, g);
        b->bounds = arena_alloc(a, ((size_t)b->size + 1) * sizeof(*b->bounds));
        /* Parts of a vocabulary may differ in length, and what follows must be cut alike by all who
         * hold parts of the same matrices. */
        bool outside = layer_of(&t->rows[row]) < 0 && ranks->tp > 1;
        struct dealt apart = {dealt[2].to, 0};
        memset(apart.to, 0, (size_t)ranks->dp * sizeof(size_t));
        deal(t, b, outside ? &apart : &dealt[b->experts], c->optimizer == TRAIN_OPTIMIZER_MUON);
        s->own += b->bounds[b->rank + 1] - b->bounds[b->rank];
        s->largest = MAX(s->largest, b->count);
    }
}

struct train_range train_shares_own(const struct train_shares *s, size_t bucket)
{
    const struct train_bucket *b = &s->buckets[bucket];
    return (struct train_range){b->offset + b->bounds[b->rank],
                                b->bounds[b->rank + 1] - b->bounds[b->rank]};
}

struct train_range train_shares_clip(const struct train_shares *s, size_t first, size_t count)
{
    if (!s) return (struct train_range){first, count};
    for (size_t i = 0; i < s->n; i++) {
        const struct train_bucket *b = &s->buckets[i];
        if (first >= b->offset + b->count) continue;
        struct train_range own = train_shares_own(s, i);
        size_t end = MIN(first + count, own.first + own.count);
        size_t begin = MIN(MAX(first, own.first), first + count);
        return (struct train_range){begin, end > begin ? end - begin : 0};
    }
    return (struct train_range){first, 0};
}
