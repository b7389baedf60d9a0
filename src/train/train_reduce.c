/* train_reduce.c: gradients summed under the backward pass over the ranks that hold the same weights,
 * their norm, and the updated weights given to all.
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
 * while the layers in front of it are at work in the next step's first forward pass, copied to the
 * format of the products when its layer's turn has come, and given back. Where products read bfloat16
 * it goes as that: half the bytes, and the same copies.
 *
 * A tied table is in the first stage of a pipeline and in the last: these two add up its gradients
 * before each sums it over its own ranks, and so make the same update.
 *
 * Where a pass is checked (train_check.c), each bucket is hashed when it is final and not summed yet.
 * A pass over another rank's rows is only hashed; what ranks must add up within it, they add up in the
 * order of the rows.
 *
 * The norm is the root of one sum: of what each rank keeps, added up by it in the order of the table,
 * and then in the order of the ranks. It is the same for zero 0, too. */
#include "train/train_internal.h"

#include <math.h>
#include <string.h>

void train_reduce_init(struct train_reduce *r, const struct train_ranks *ranks,
                       const struct train_shares *shares, const struct param_table *params,
                       const struct train_config *c, struct arena *a)
{
    size_t parts = (size_t)ranks->size;
    *r = (struct train_reduce){.ranks = ranks, .shares = shares, .params = params};
    r->tied = c->model.tied_embeddings && ranks->pp > 1;
    r->zero = ranks->dp > 1 ? (int)c->zero : 0;
    r->releases = r->zero == 2 && c->global_batch == c->micro_batch * ranks->dp;
    r->checks = c->check_every > 0 && ranks->dp > 1;
    r->tickets = arena_alloc(a, shares->n * sizeof(*r->tickets));
    r->order = arena_alloc(a, shares->n * sizeof(*r->order));
    r->squares = arena_alloc(a, parts * sizeof(*r->squares));
    r->packs = r->zero > 0 && c->precision == TRAIN_PRECISION_BF16;
    for (int i = 0; i < 2; i++)
        r->packed_bounds[i] = arena_alloc(a, (parts + 1) * sizeof(*r->packed_bounds[i]));
}

static group_t *group_of(const struct train_reduce *r, const struct train_bucket *b)
{
    return r->ranks->groups[b->experts ? TRAIN_GROUP_TWINS : TRAIN_GROUP_DATA];
}

/* The table, where the first and the last stage both have it; or NULL. */
static const struct param *tied_table(const struct train_reduce *r)
{
    return r->tied ? param_find(r->params, "token_embd.weight") : NULL;
}

/* ------------------------------------------------------------------ gradients */

void train_reduce_begin(struct train_reduce *r, float *gradients)
{
    r->gradients = gradients;
    r->n_started = r->n_done = 0;
    r->running = r->ranks->size > 1;
    r->hash = 0;
}

/* A wrong bit in what this rank has computed, for tests. */
static void falsify(const struct train_reduce *r, const struct train_bucket *b)
{
    uint32_t bits;
    float *x = &r->gradients[b->offset + b->count / 3];
    memcpy(&bits, x, sizeof(bits));
    bits ^= 1u << 21;
    memcpy(x, &bits, sizeof(bits));
}

/* What of a bucket this rank has computed is final, and will be summed. */
static void finish_bucket(struct train_reduce *r, size_t bucket)
{
    const struct train_bucket *b = &r->shares->buckets[bucket];
    if (bucket == 0 && cluster_watch_flips(r->ranks->watch)) falsify(r, b);
    if (r->checked)
        r->hash = r->hash * 0x9E3779B97F4A7C15u +
                  hash_xxh3(r->gradients + b->offset, b->count * sizeof(float));
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
        .group = group_of(r, b),
        .work = r->zero == 0 ? GROUP_WORK_SUM : GROUP_WORK_REDUCE,
        .x = r->gradients + b->offset,
        .bounds = b->bounds,
        .n = b->count,
        .dtype = GROUP_F32,
    };
    r->order[r->n_started++] = bucket;
    group_start(&r->tickets[bucket]);
}

/* Gradients that are of this rank's rows only, in the foreground: they are short. */
static void sum_norms(struct train_reduce *r, const struct train_bucket *b)
{
    group_t *g = r->ranks->groups[TRAIN_GROUP_TENSOR];
    for (size_t i = b->first_row; r->ranks->tp > 1 && i < b->first_row + b->n_rows; i++) {
        const struct param *p = &r->params->rows[i];
        if (param_is_of_rows(p)) group_sum(g, r->gradients + p->offset, p->count, GROUP_F32, NULL);
    }
}

static bool has_row(const struct train_reduce *r, const struct train_bucket *b,
                    const struct param *p)
{
    return p && (size_t)(p - r->params->rows) - b->first_row < b->n_rows;
}

/* model.h's grads_ready. An error of a sum sticks, and is told by train_reduce_end. */
static void bucket_ready(void *ctx, size_t first, size_t count)
{
    struct train_reduce *r = ctx;
    if (!r->running) return;
    for (size_t i = 0; i < r->shares->n; i++) {
        const struct train_bucket *b = &r->shares->buckets[i];
        if (b->first_row < first || b->first_row >= first + count) continue;
        sum_norms(r, b);
        if (has_row(r, b, tied_table(r))) continue;
        finish_bucket(r, i);
        if (r->turn == 0) start_bucket(r, i);
    }
    if (r->releases && r->n_started > 2) settle(r, r->n_started - 2, NULL);
}

/* model.h's sum_routing: the balancing loss is of the microbatches of all ranks, as if they were one.
 * An error sticks, as above. */
static void sum_routing(void *ctx, double *x, size_t n)
{
    const struct train_reduce *r = ctx;
    group_t *g = r->turn ? r->ranks->turned[r->turn - 1] : r->ranks->groups[TRAIN_GROUP_DATA];
    group_sum(g, x, n, GROUP_F64, NULL);
}

/* model.h's sum_tensor, sum_rows and gather_rows. */
static void sum_tensor(void *ctx, void *x, size_t n, enum compute_dtype dtype)
{
    const struct train_reduce *r = ctx;
    group_sum(r->ranks->groups[TRAIN_GROUP_TENSOR], x, n,
              dtype == COMPUTE_BF16 ? GROUP_BF16 : GROUP_F32, NULL);
}

static void sum_rows(void *ctx, void *x, const size_t *bounds, enum compute_dtype dtype)
{
    const struct train_reduce *r = ctx;
    group_reduce(r->ranks->groups[TRAIN_GROUP_TENSOR], x, bounds,
                 dtype == COMPUTE_BF16 ? GROUP_BF16 : GROUP_F32, NULL);
}

static void gather_rows(void *ctx, void *x, const size_t *bounds, enum compute_dtype dtype)
{
    const struct train_reduce *r = ctx;
    group_gather(r->ranks->groups[TRAIN_GROUP_TENSOR], x, bounds,
                 dtype == COMPUTE_BF16 ? GROUP_BF16 : GROUP_F32, NULL);
}

/* model.h's exchange. */
static int exchange_rows(void *ctx, const struct model_exchange *x)
{
    const struct train_reduce *r = ctx;
    const struct group_exchange g = {x->send, x->send_at, x->recv, x->recv_at};
    return group_exchange(r->ranks->groups[TRAIN_GROUP_EXPERTS], &g, NULL);
}

/* The bucket of the tied table, of the first stage and of the last. */
static int finish_tied(struct train_reduce *r, struct error *e)
{
    const struct param *p = tied_table(r);
    if (!p) return 0;
    for (size_t i = 0; i < r->shares->n; i++)
        if (has_row(r, &r->shares->buckets[i], p)) finish_bucket(r, i);
    if (r->turn) return 0;
    TRY(group_sum(r->ranks->groups[TRAIN_GROUP_ENDS], r->gradients + p->offset, p->count, GROUP_F32,
                  e));
    for (size_t i = 0; i < r->shares->n; i++)
        if (has_row(r, &r->shares->buckets[i], p)) start_bucket(r, i);
    return 0;
}

int train_reduce_end(struct train_reduce *r, struct error *e)
{
    if (!r->running) return 0;
    r->running = false;
    int rc = finish_tied(r, e);
    if (rc < 0) {
        settle(r, r->n_started, NULL); /* their arrays are in use until then */
        return rc;
    }
    if (r->turn) return 0;
    CHECK(r->n_started == r->shares->n);
    return settle(r, r->n_started, e);
}

/* Of what this rank keeps of a bucket. */
static double own_squares(const struct train_reduce *r, compute_t *c, size_t bucket)
{
    const struct train_bucket *b = &r->shares->buckets[bucket];
    double sum = 0;
    for (size_t i = b->first_row; i < b->first_row + b->n_rows; i++) {
        const struct param *p = &r->params->rows[i];
        struct train_range own = train_shares_clip(r->shares, p->offset, p->count);
        if (own.count > 0 && train_ranks_counts(r->ranks, p))
            sum += compute_sum_squares(c, r->gradients + own.first, own.count);
    }
    return sum;
}

int train_reduce_norm(struct train_reduce *r, compute_t *c, double *norm, struct error *e)
{
    size_t parts = (size_t)r->ranks->size;
    double sum = 0;
    memset(r->squares, 0, parts * sizeof(*r->squares));
    for (size_t i = 0; i < r->shares->n; i++)
        r->squares[r->ranks->rank] += own_squares(r, c, i);
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

/* What a bucket's rows have in part `part`, in the order of the table. */
struct piece {
    size_t first, count; /* floats of the flat arrays */
    bool narrow;         /* goes as bfloat16: products read it so, and nothing else reads it */
};
static struct piece piece_of(const struct train_reduce *r, const struct train_bucket *b, int part,
                             size_t row)
{
    const struct param *p = &r->params->rows[row];
    size_t from = b->offset + b->bounds[part], to = b->offset + b->bounds[part + 1];
    size_t first = MAX(from, p->offset), end = MIN(to, p->offset + p->count);
    return (struct piece){first, end > first ? end - first : 0, param_is_copied(p)};
}

static size_t piece_bytes(const struct piece *x)
{
    return x->count * (x->narrow ? sizeof(bf16_t) : sizeof(float));
}

/* Where each part of a bucket begins when it is packed. */
static void pack_bounds(const struct train_reduce *r, const struct train_bucket *b, size_t *bounds)
{
    bounds[0] = 0;
    for (int part = 0; part < b->size; part++) {
        bounds[part + 1] = bounds[part];
        for (size_t i = b->first_row; i < b->first_row + b->n_rows; i++) {
            const struct piece x = piece_of(r, b, part, i);
            bounds[part + 1] += piece_bytes(&x);
        }
    }
}

/* Whether a bucket has anything that comes in a narrower form than it is kept in. */
static bool is_packed(const struct train_reduce *r, const struct train_bucket *b)
{
    for (size_t i = b->first_row; r->packs && i < b->first_row + b->n_rows; i++)
        if (param_is_copied(&r->params->rows[i])) return true;
    return false;
}

static size_t largest_packed(const struct train_reduce *r)
{
    size_t largest = 0;
    for (size_t i = 0; i < r->shares->n; i++) {
        const struct train_bucket *b = &r->shares->buckets[i];
        if (!is_packed(r, b)) continue;
        pack_bounds(r, b, r->packed_bounds[0]);
        largest = MAX(largest, r->packed_bounds[0][b->size]);
    }
    return largest;
}

/* One part of a bucket between the flat array and its packed form. What is rounded here is rounded
 * once more when products get their copies, to the same bits. */
static void pack_part(const struct train_reduce *r, const struct train_bucket *b, int part,
                      const float *weights, uint8_t *to)
{
    for (size_t i = b->first_row; i < b->first_row + b->n_rows; i++) {
        const struct piece x = piece_of(r, b, part, i);
        for (size_t k = 0; k < x.count && x.narrow; k++) {
            bf16_t y = bf16_store(weights[x.first + k]);
            memcpy(to + k * sizeof(y), &y, sizeof(y));
        }
        if (!x.narrow && x.count > 0) memcpy(to, weights + x.first, x.count * sizeof(float));
        to += piece_bytes(&x);
    }
}

static void unpack_part(const struct train_reduce *r, const struct train_bucket *b, int part,
                        const uint8_t *from, float *weights)
{
    for (size_t i = b->first_row; i < b->first_row + b->n_rows; i++) {
        const struct piece x = piece_of(r, b, part, i);
        for (size_t k = 0; k < x.count && x.narrow; k++) {
            bf16_t y;
            memcpy(&y, from + k * sizeof(y), sizeof(y));
            weights[x.first + k] = bf16_load(y);
        }
        if (!x.narrow && x.count > 0) memcpy(weights + x.first, from, x.count * sizeof(float));
        from += piece_bytes(&x);
    }
}

static void start_gather(struct train_reduce *r, size_t bucket, float *weights)
{
    const struct train_bucket *b = &r->shares->buckets[bucket];
    struct group_ticket *t = &r->tickets[bucket];
    *t = (struct group_ticket){.group = group_of(r, b),
                               .work = GROUP_WORK_GATHER,
                               .x = weights + b->offset,
                               .bounds = b->bounds,
                               .n = b->count,
                               .dtype = GROUP_F32};
    if (is_packed(r, b)) {
        size_t *bounds = r->packed_bounds[bucket % 2];
        pack_bounds(r, b, bounds);
        pack_part(r, b, b->rank, weights, r->packed[bucket % 2] + bounds[b->rank]);
        t->x = r->packed[bucket % 2];
        t->bounds = bounds;
        t->dtype = GROUP_BYTE;
    }
    group_start(t);
}

static void unpack_bucket(const struct train_reduce *r, size_t bucket, float *weights)
{
    const struct train_bucket *b = &r->shares->buckets[bucket];
    if (!is_packed(r, b)) return;
    for (int part = 0; part < b->size; part++)
        if (part != b->rank)
            unpack_part(r, b, part, r->packed[bucket % 2] + r->packed_bounds[bucket % 2][part],
                        weights);
}

/* The next one is asked for when the last but one has been taken: two are on their way at most. */
static int take_next(struct train_reduce *r, struct error *e)
{
    size_t bucket = r->n_taken++;
    int rc = group_wait(&r->tickets[bucket], e);
    if (rc == 0) {
        unpack_bucket(r, bucket, model_weights(r->model));
        take_weights(r, r->model, bucket);
    }
    if (rc == 0 && r->n_asked < r->shares->n)
        start_gather(r, r->n_asked++, model_weights(r->model));
    if (r->n_taken == r->n_asked) r->model = NULL; /* all are there, or none will come any more */
    return rc;
}

/* model.h's weights_wanted. An error sticks, and whoever uses what the pass computes meets it. */
static void weights_wanted(void *ctx, size_t first, size_t count)
{
    struct train_reduce *r = ctx;
    if (!r->model) return;
    double begin_s = cluster_span_begin(r->ranks->cluster);
    while (r->model && r->shares->buckets[r->n_taken].first_row < first + count)
        take_next(r, NULL);
    cluster_span_end(r->ranks->cluster, begin_s, "wait");
}

void train_reduce_gather_ahead(struct train_reduce *r, model_t *m)
{
    CHECK(!r->model && !r->running);
    for (int i = 0; i < 2 && r->packs; i++)
        if (!r->packed[i]) r->packed[i] = mem_alloc(MAX(largest_packed(r), 1));
    r->model = m;
    r->n_asked = r->n_taken = 0;
    while (r->n_asked < MIN(2, r->shares->n))
        start_gather(r, r->n_asked++, model_weights(m));
}

int train_reduce_settle(struct train_reduce *r, struct error *e)
{
    int rc = 0;
    while (r->model) {
        int taken = take_next(r, rc < 0 ? NULL : e);
        rc = rc < 0 ? rc : taken;
    }
    return rc;
}

void train_reduce_close(struct train_reduce *r)
{
    train_reduce_settle(r, NULL);
    for (int i = 0; i < 2; i++) {
        mem_free(r->packed[i]);
        r->packed[i] = NULL;
    }
}

int train_reduce_gather(struct train_reduce *r, model_t *m, struct error *e)
{
    train_reduce_gather_ahead(r, m);
    return train_reduce_settle(r, e);
}

int train_reduce_complete(struct train_reduce *r, float *flat, struct error *e)
{
    for (size_t i = 0; r->zero > 0 && i < r->shares->n; i++) {
        const struct train_bucket *b = &r->shares->buckets[i];
        TRY(group_gather(group_of(r, b), flat + b->offset, b->bounds, GROUP_F32, e));
    }
    return 0;
}

/* Bucket by bucket, so that the masters are never there as a whole. */
int train_reduce_set_weights(struct train_reduce *r, model_t *m, train_fill_fn *fill, void *ctx,
                             struct error *e)
{
    const struct param_table *t = model_params(m);
    for (size_t i = 0; i < r->shares->n; i++) {
        const struct train_bucket *b = &r->shares->buckets[i];
        for (size_t row = b->first_row; row < b->first_row + b->n_rows; row++)
            TRY(fill(ctx, m, row, model_weights(m) + t->rows[row].offset, e));
        take_weights(r, m, i);
    }
    return 0;
}

static int draw(void *ctx, model_t *m, size_t row, float *out, struct error *e)
{
    const uint64_t *seed = ctx;
    (void)e;
    model_init_values(m, row, *seed, 0, model_params(m)->rows[row].count, out);
    return 0;
}

void train_reduce_init_weights(struct train_reduce *r, model_t *m, uint64_t seed)
{
    train_reduce_set_weights(r, m, draw, &seed, NULL);
}

/* ------------------------------------------------------------------ hooks */

struct model_hooks train_reduce_hooks(struct train_reduce *r)
{
    const struct train_ranks *ranks = r->ranks;
    struct model_hooks h = {.ctx = r};
    if (ranks->size > 1) {
        h.grads_ready = bucket_ready;
        h.weights_wanted = weights_wanted;
    }
    if (ranks->dp > 1) h.sum_routing = sum_routing;
    if (ranks->tp > 1) {
        h.sum_tensor = sum_tensor;
        h.sum_rows = sum_rows;
        h.gather_rows = gather_rows;
    }
    if (ranks->ep > 1) h.exchange = exchange_rows;
    return h;
}

/* ------------------------------------------------------------------ what it takes */

/* Floats of a bucket that other ranks keep: all of them, or the masters only that are given back. */
static size_t foreign(const struct train_reduce *r, size_t bucket, bool copied_only)
{
    const struct train_bucket *b = &r->shares->buckets[bucket];
    size_t n = 0;
    for (size_t i = b->first_row; i < b->first_row + b->n_rows; i++) {
        const struct param *p = &r->params->rows[i];
        if (copied_only && !param_is_copied(p)) continue;
        n += p->count - train_shares_clip(r->shares, p->offset, p->count).count;
    }
    return n;
}

/* The most that `window` buckets in a row have of it. */
static size_t most_foreign(const struct train_reduce *r, size_t window, bool copied_only)
{
    size_t most = 0;
    for (size_t i = 0; i < r->shares->n; i++) {
        size_t n = 0;
        for (size_t j = i; j < MIN(i + window, r->shares->n); j++)
            n += foreign(r, j, copied_only);
        most = MAX(most, n);
    }
    return most;
}

void train_reduce_plan(const struct train_reduce *r, bool tied, struct train_reduce_memory *m)
{
    const struct param_table *t = r->params;
    size_t kept = 0, n = r->shares->n;
    for (size_t i = 0; i < n; i++)
        kept += foreign(r, i, false) - foreign(r, i, true);
    *m = (struct train_reduce_memory){.masters = t->total, .gradients = t->total};
    if (r->zero > 0) {
        m->masters = r->shares->own;
        m->read = kept;
        m->passing = most_foreign(r, 2, true);
        if (r->packs) m->passing += 2 * largest_packed(r) / sizeof(float);
    }
    if (r->releases && !r->checks) {
        m->gradients = r->shares->own;
        m->in_flight = most_foreign(r, 3, false);
        if (tied && n > 3) m->in_flight += foreign(r, 0, false); /* the head's, from the start */
    }
}

uint64_t train_sum_sends(size_t n, enum group_dtype dtype, int rank, int size)
{
    struct group_ticket sum = {.work = GROUP_WORK_SUM, .n = n, .dtype = dtype};
    return n && size > 1 ? group_work_sends(&sum, rank, size) : 0;
}

void train_reduce_traffic(const struct train_reduce *r, struct train_traffic *t)
{
    const struct train_shares *s = r->shares;
    const struct train_ranks *ranks = r->ranks;
    for (size_t i = 0; i < s->n; i++) {
        const struct train_bucket *b = &s->buckets[i];
        struct group_ticket work = {.n = b->count, .bounds = b->bounds, .dtype = GROUP_F32};
        if (b->size == 1) continue;
        work.work = r->zero == 0 ? GROUP_WORK_SUM : GROUP_WORK_REDUCE;
        t->gradients += group_work_sends(&work, b->rank, b->size);
        work.work = GROUP_WORK_GATHER;
        if (is_packed(r, b)) {
            pack_bounds(r, b, r->packed_bounds[0]);
            work.bounds = r->packed_bounds[0];
            work.dtype = GROUP_BYTE;
        }
        if (r->zero > 0) t->weights += group_work_sends(&work, b->rank, b->size);
    }
    for (size_t i = 0; i < r->params->n_rows; i++)
        if (param_is_of_rows(&r->params->rows[i]))
            t->tensor +=
                train_sum_sends(r->params->rows[i].count, GROUP_F32, ranks->tensor, ranks->tp);
    if (tied_table(r))
        t->gradients += train_sum_sends(tied_table(r)->count, GROUP_F32,
                                        train_ranks_group_rank(ranks, TRAIN_GROUP_ENDS),
                                        train_ranks_group_size(ranks, TRAIN_GROUP_ENDS));
    t->verdict += train_sum_sends((size_t)ranks->size, GROUP_F64, ranks->rank, ranks->size);
}
