/* model_exchange.c: experts that are divided over processes.
 *
 * Each of expert_size processes has rows of its own and E / expert_size of the experts. A layer's
 * rows are sorted by expert, so that what goes to one process is one range of them; it arrives
 * sorted by sender, and within a sender by expert. The rows of one expert are then held together,
 * in the order of the senders: an order that depends on nothing but the routing, so that sums over
 * an expert's rows are the same bits every time. No row is dropped, however uneven the routing is.
 *
 *   sorted [R, D]  --exchange-->  moved [rows that came, D]  --gather-->  held [Rh, D], with padding
 *
 * and back the same way. Counts go first, once for each routing; the backward pass uses them again. */
#include "model/model_internal.h"

#include <string.h>

static size_t *bytes_of(const size_t *rows, size_t row_bytes, int n, size_t *bytes)
{
    for (int i = 0; i <= n; i++)
        bytes[i] = rows[i] * row_bytes;
    return bytes;
}

/* Rows of row_bytes each; outward, or back. */
static int move(const struct model *m, const struct model_routing *r, bool back, size_t row_bytes,
                const void *from, void *to)
{
    size_t went[MODEL_MAX_EXPERT_SIZE + 1], came[MODEL_MAX_EXPERT_SIZE + 1];
    int n = m->shard.expert_size;
    bytes_of(r->went, row_bytes, n, went);
    bytes_of(r->came, row_bytes, n, came);
    struct model_exchange x = {from, back ? came : went, to, back ? went : came};
    return m->hooks.exchange(m->hooks.ctx, &x);
}

/* Rows that come from each process for each expert that is here; zeros where that is not known. */
static void exchange_counts(struct model *m, const struct model_routing *r)
{
    const struct model_dims *d = &m->dims;
    size_t at[MODEL_MAX_EXPERT_SIZE + 1], n = (size_t)m->shard.expert_size;
    for (size_t p = 0; p <= n; p++)
        at[p] = p * (size_t)d->Eh * sizeof(int32_t);
    struct model_exchange x = {r->count, at, m->scratch.counts, at};
    if (m->hooks.exchange(m->hooks.ctx, &x) < 0)
        memset(m->scratch.counts, 0, (size_t)d->E * sizeof(int32_t));
}

/* Where the rows that come are held: experts one after the other, each at a multiple of the alignment,
 * its rows in the order of their senders. */
static void place_rows(const struct model *m, const struct model_routing *r)
{
    const struct model_dims *d = &m->dims;
    const int32_t *counts = m->scratch.counts; /* [senders, Eh] */
    int n = m->shard.expert_size;
    int32_t at = 0;
    for (int64_t e = 0; e < d->Eh; e++) {
        size_t came = 0; /* rows in front of this sender's, and of this expert */
        r->held_offset[e] = at;
        for (int p = 0; p < n; p++) {
            const int32_t *row = counts + p * d->Eh;
            size_t first = r->came[p];
            for (int64_t k = 0; k < e; k++)
                first += (size_t)row[k];
            for (int32_t i = 0; i < row[e]; i++, came++, at++) {
                r->came_held[first + (size_t)i] = at;
                r->held_came[at] = (int32_t)(first + (size_t)i);
            }
        }
        for (; at % COMPUTE_ROW_ALIGN != 0; at++)
            r->held_came[at] = -1;
    }
    r->held_offset[d->Eh] = at;
}

void model_exchange_plan(struct model *m, const struct model_routing *r)
{
    const struct model_dims *d = &m->dims;
    float *came = m->scratch.moved;
    int n = m->shard.expert_size;
    exchange_counts(m, r);
    r->went[0] = r->came[0] = 0;
    for (int p = 0; p < n; p++) {
        r->went[p + 1] = (size_t)r->offset[(p + 1) * d->Eh];
        r->came[p + 1] = r->came[p];
        for (int64_t e = 0; e < d->Eh; e++)
            r->came[p + 1] += (size_t)m->scratch.counts[p * d->Eh + e];
    }
    place_rows(m, r);
    move(m, r, false, sizeof(float), r->row_weight, came);
    for (int32_t i = 0; i < r->held_offset[d->Eh]; i++)
        r->held_weight[i] = r->held_came[i] >= 0 ? came[r->held_came[i]] : 0;
}

static size_t act_row_bytes(const struct model *m)
{
    return (size_t)m->dims.D * compute_dtype_size(compute_act_dtype(m->compute));
}

void model_exchange_out(struct model *m, const struct model_routing *r, const void *sorted,
                        void *held)
{
    const struct model_dims *d = &m->dims;
    move(m, r, false, act_row_bytes(m), sorted, m->scratch.moved);
    struct compute_gather g = {.rows = r->held_rows, .D = d->D, .used = &r->held_offset[d->Eh]};
    g.row_token = r->held_came;
    g.x = m->scratch.moved;
    g.y = held;
    compute_gather(m->compute, &g);
}

void model_exchange_back(struct model *m, const struct model_routing *r, const void *held,
                         void *sorted)
{
    struct compute_gather g = {.rows = (int64_t)r->came[m->shard.expert_size], .D = m->dims.D};
    g.row_token = r->came_held;
    g.x = held;
    g.y = m->scratch.moved;
    compute_gather(m->compute, &g);
    move(m, r, true, act_row_bytes(m), m->scratch.moved, sorted);
}

void model_exchange_back_f32(struct model *m, const struct model_routing *r, const float *held,
                             float *sorted)
{
    float *came = m->scratch.moved; /* D of act are at least as long as one float */
    for (size_t i = 0; i < r->came[m->shard.expert_size]; i++)
        came[i] = held[r->came_held[i]];
    move(m, r, true, sizeof(float), came, sorted);
}
