/* train_reduce.c: gradients summed over the ranks under the backward pass, their norm, and the
 * updated weights given to all.
 *
 * In the backward pass of a step's last microbatch, the gradients of a bucket (train_shares.c) are
 * final when its layer is done. From then on a thread of the job sums them while the next layer is
 * computed: to all ranks (zero 0), or each part to the rank that keeps it (zero 1 and 2). Either way
 * a number is added in the order of the ranks, so the three give the same bits. With zero 2 and one
 * microbatch a step, what is not this rank's goes back to the system as soon as it was sent; with
 * several, gradients have to add up whole before that.
 *
 * With zero 1 and 2 a rank keeps the masters of its part, and of the rest what is read in fp32 as it
 * stands: embedding, norms, routers. The masters of the products pass through: a bucket is gathered
 * while the one before is copied to the format of the products, and then given back.
 *
 * The norm is the root of one sum: of the parts of all buckets, each added up by the rank that keeps
 * it, in the order of buckets and ranks. It is the same for zero 0, too. */
#include "train/train_internal.h"

#include <math.h>
#include <string.h>

void train_reduce_init(struct train_reduce *r, const struct train_ranks *ranks,
                       const struct train_shares *shares, const struct train_config *c,
                       struct arena *a)
{
    size_t parts = shares->n * (size_t)shares->size;
    *r = (struct train_reduce){.ranks = ranks, .shares = shares};
    r->zero = ranks->size > 1 ? (int)c->zero : 0;
    r->releases = r->zero == 2 && c->global_batch == c->micro_batch * ranks->size;
    r->tickets = arena_alloc(a, shares->n * sizeof(*r->tickets));
    r->order = arena_alloc(a, shares->n * sizeof(*r->order));
    r->squares = arena_alloc(a, parts * sizeof(*r->squares));
}

/* ------------------------------------------------------------------ gradients */

void train_reduce_begin(struct train_reduce *r, float *gradients)
{
    r->gradients = gradients;
    r->n_started = r->n_done = 0;
    r->running = r->ranks->size > 1;
}

/* Gives back what of a bucket other ranks keep. */
static void release_others(const struct train_reduce *r, size_t bucket)
{
    const struct train_bucket *b = &r->shares->buckets[bucket];
    struct train_range own = train_shares_own(r->shares, bucket);
    size_t own_end = own.first + own.count, end = b->offset + b->count;
    mem_release(r->gradients + b->offset, (own.first - b->offset) * sizeof(float));
    mem_release(r->gradients + own_end, (end - own_end) * sizeof(float));
}

/* Until the first n of the buckets that were started are done. */
static int settle(struct train_reduce *r, size_t n, struct error *e)
{
    while (r->n_done < n) {
        size_t bucket = r->order[r->n_done];
        TRY(group_wait(&r->tickets[bucket], e));
        if (r->releases) release_others(r, bucket);
        r->n_done++;
    }
    return 0;
}

static void start_bucket(struct train_reduce *r, size_t bucket)
{
    const struct train_bucket *b = &r->shares->buckets[bucket];
    r->tickets[bucket] = (struct group_ticket){
        .group = r->ranks->world,
        .work = r->zero == 0 ? GROUP_WORK_SUM : GROUP_WORK_REDUCE,
        .x = r->gradients + b->offset,
        .bounds = b->bounds,
        .n = b->count,
        .dtype = GROUP_F32,
    };
    r->order[r->n_started++] = bucket;
    group_start(&r->tickets[bucket]);
}

/* model.h's grads_ready. An error of a sum sticks, and is told by train_reduce_end. */
static void bucket_ready(void *ctx, size_t first, size_t count)
{
    struct train_reduce *r = ctx;
    if (!r->running) return;
    for (size_t i = 0; i < r->shares->n; i++) {
        const struct train_bucket *b = &r->shares->buckets[i];
        if (b->first_row < first || b->first_row >= first + count) continue;
        start_bucket(r, i);
    }
    if (r->releases && r->n_started > 2) settle(r, r->n_started - 2, NULL);
}

/* model.h's sum_routing: the balancing loss is of the microbatches of all ranks, as if they were one.
 * An error sticks, as above. */
static void sum_routing(void *ctx, double *x, size_t n)
{
    const struct train_reduce *r = ctx;
    group_sum(r->ranks->world, x, n, GROUP_F64, NULL);
}

struct model_hooks train_reduce_hooks(struct train_reduce *r)
{
    if (r->ranks->size == 1) return (struct model_hooks){0};
    return (struct model_hooks){.ctx = r, .grads_ready = bucket_ready, .sum_routing = sum_routing};
}

int train_reduce_end(struct train_reduce *r, struct error *e)
{
    if (!r->running) return 0;
    r->running = false;
    CHECK(r->n_started == r->shares->n);
    return settle(r, r->n_started, e);
}

int train_reduce_norm(struct train_reduce *r, compute_t *c, double *norm, struct error *e)
{
    const struct train_shares *s = r->shares;
    size_t size = (size_t)s->size, parts = s->n * size;
    double sum = 0;
    memset(r->squares, 0, parts * sizeof(*r->squares));
    for (size_t i = 0; i < s->n; i++) {
        struct train_range own = train_shares_own(s, i);
        r->squares[i * size + (size_t)s->rank] =
            compute_sum_squares(c, r->gradients + own.first, own.count);
    }
    TRY(group_sum(r->ranks->world, r->squares, parts, GROUP_F64, e)); /* each is one rank's alone */
    for (size_t i = 0; i < parts; i++)
        sum += r->squares[i];
    *norm = sqrt(sum);
    return 0;
}

/* ------------------------------------------------------------------ weights */

/* The masters of other ranks' parts that only the products read, which have copies by now. */
static void release_masters(const struct train_reduce *r, const struct param_table *t,
                            size_t bucket, float *weights)
{
    const struct train_bucket *b = &r->shares->buckets[bucket];
    for (size_t i = b->first_row; i < b->first_row + b->n_rows; i++) {
        const struct param *p = &t->rows[i];
        struct train_range own = train_shares_clip(r->shares, p->offset, p->count);
        size_t own_end = own.first + own.count, end = p->offset + p->count;
        if (!param_is_copied(p)) continue;
        if (own.count == 0) own.first = own_end = end;
        mem_release(weights + p->offset, (own.first - p->offset) * sizeof(float));
        mem_release(weights + own_end, (end - own_end) * sizeof(float));
    }
}

static void take_weights(const struct train_reduce *r, model_t *m, size_t bucket)
{
    const struct train_bucket *b = &r->shares->buckets[bucket];
    model_weights_changed_rows(m, b->first_row, b->n_rows);
    release_masters(r, model_params(m), bucket, model_weights(m));
}

static void start_gather(struct train_reduce *r, size_t bucket, float *weights)
{
    const struct train_bucket *b = &r->shares->buckets[bucket];
    r->tickets[bucket] = (struct group_ticket){.group = r->ranks->world,
                                               .work = GROUP_WORK_GATHER,
                                               .x = weights + b->offset,
                                               .bounds = b->bounds,
                                               .n = b->count,
                                               .dtype = GROUP_F32};
    group_start(&r->tickets[bucket]);
}

int train_reduce_gather(struct train_reduce *r, model_t *m, struct error *e)
{
    float *weights = model_weights(m);
    start_gather(r, 0, weights);
    for (size_t i = 0; i < r->shares->n; i++) {
        int rc = group_wait(&r->tickets[i], e);
        if (rc < 0) return rc;
        if (i + 1 < r->shares->n) start_gather(r, i + 1, weights);
        take_weights(r, m, i);
    }
    return 0;
}

int train_reduce_complete(struct train_reduce *r, float *flat, struct error *e)
{
    for (size_t i = 0; r->zero > 0 && i < r->shares->n; i++) {
        const struct train_bucket *b = &r->shares->buckets[i];
        TRY(group_gather(r->ranks->world, flat + b->offset, b->bounds, GROUP_F32, e));
    }
    return 0;
}

/* Bucket by bucket, so that the masters are never there as a whole. */
void train_reduce_init_weights(struct train_reduce *r, model_t *m, uint64_t seed)
{
    const struct param_table *t = model_params(m);
    for (size_t i = 0; i < r->shares->n; i++) {
        const struct train_bucket *b = &r->shares->buckets[i];
        for (size_t row = b->first_row; row < b->first_row + b->n_rows; row++) {
            const struct param *p = &t->rows[row];
            model_init_values(m, row, seed, 0, p->count, model_weights(m) + p->offset);
        }
        take_weights(r, m, i);
    }
}

/* ------------------------------------------------------------------ what it takes */

/* Floats of a bucket that other ranks keep: all of them, or the masters only that are given back. */
static size_t foreign(const struct train_reduce *r, const struct param_table *t, size_t bucket,
                      bool copied_only)
{
    const struct train_bucket *b = &r->shares->buckets[bucket];
    size_t n = 0;
    for (size_t i = b->first_row; i < b->first_row + b->n_rows; i++) {
        const struct param *p = &t->rows[i];
        if (copied_only && !param_is_copied(p)) continue;
        n += p->count - train_shares_clip(r->shares, p->offset, p->count).count;
    }
    return n;
}

/* The most that `window` buckets in a row have of it. */
static size_t most_foreign(const struct train_reduce *r, const struct param_table *t, size_t window,
                           bool copied_only)
{
    size_t most = 0;
    for (size_t i = 0; i < r->shares->n; i++) {
        size_t n = 0;
        for (size_t j = i; j < MIN(i + window, r->shares->n); j++)
            n += foreign(r, t, j, copied_only);
        most = MAX(most, n);
    }
    return most;
}

void train_reduce_plan(const struct train_reduce *r, const struct param_table *t, bool tied,
                       struct train_reduce_memory *m)
{
    size_t kept = 0, n = r->shares->n;
    for (size_t i = 0; i < n; i++)
        kept += foreign(r, t, i, false) - foreign(r, t, i, true);
    *m = (struct train_reduce_memory){.masters = t->total, .gradients = t->total};
    if (r->zero > 0) {
        m->masters = r->shares->own;
        m->read = kept;
        m->passing = most_foreign(r, t, 2, true);
    }
    if (r->releases) {
        m->gradients = r->shares->own;
        m->in_flight = most_foreign(r, t, 3, false);
        if (tied && n > 3) m->in_flight += foreign(r, t, 0, false); /* the head's, from the start */
    }
}

static uint64_t sum_sends(const struct train_shares *s, size_t n)
{
    struct group_ticket sum = {.work = GROUP_WORK_SUM, .n = n, .dtype = GROUP_F64};
    return n ? group_work_sends(&sum, s->rank, s->size) : 0;
}

void train_reduce_traffic(const struct train_reduce *r, const struct model_stats *stats,
                          size_t n_loads, int64_t microbatches, struct train_traffic *t)
{
    const struct train_shares *s = r->shares;
    *t = (struct train_traffic){0};
    if (s->size == 1) return;
    for (size_t i = 0; i < s->n; i++) {
        const struct train_bucket *b = &s->buckets[i];
        struct group_ticket work = {.n = b->count, .bounds = b->bounds, .dtype = GROUP_F32};
        work.work = r->zero == 0 ? GROUP_WORK_SUM : GROUP_WORK_REDUCE;
        t->gradients += group_work_sends(&work, s->rank, s->size);
        work.work = GROUP_WORK_GATHER;
        if (r->zero > 0) t->weights += group_work_sends(&work, s->rank, s->size);
    }
    /* Of each microbatch that all have read it, and its routing; norms, what train_ranks_sum_stats
     * sums, and two numbers agreed on at the end (train_run.c: agree). */
    uint64_t routing = stats->load ? sum_sends(s, 2 * n_loads + 1) : 0;
    t->verdict = (uint64_t)microbatches * (sum_sends(s, 1) + routing) +
                 sum_sends(s, s->n * (size_t)s->size) + sum_sends(s, TRAIN_STATS_SUMS) +
                 sum_sends(s, stats->load ? n_loads : 0) + sum_sends(s, stats->bias ? n_loads : 0) +
                 sum_sends(s, 2);
}
