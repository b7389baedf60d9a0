/* cluster_collectives.c: sums, gathers and exchanges, made of messages.
 *
 * A sum has two halves: each member gets everybody's values of the part that it owns and adds them
 * in the order of the ranks (reduce), then it gives the result to all (gather). That moves the same
 * bytes as a ring, 2 (n - 1) / n of the array in and out, and fixes the order of every addition: a
 * ring would begin each part with another rank. Arrays are worked through in pieces, so that scratch
 * stays small whatever their size. A short array is not worth two rounds: everybody sends it to
 * everybody and adds by himself, in the same order and to the same bits. */
#include "cluster/cluster_internal.h"

#include "compute/compute.h"

#include <string.h>

#define SHORT_BYTES ((size_t)16 << 10)  /* a sum that takes one round */
#define PIECE_BYTES ((size_t)256 << 10) /* of a part; two are under way from each member */

size_t group_dtype_size(enum group_dtype d)
{
    static const size_t sizes[] = {
        [GROUP_F32] = 4, [GROUP_F64] = 8, [GROUP_BF16] = 2, [GROUP_BYTE] = 1};
    return sizes[d];
}

/* ------------------------------------------------------------------ adding in the order of ranks */

/* The values of every member for one stretch of n elements: from[r] NULL is our own, in `own`. */
struct addends {
    group_t *group;
    const void **from; /* [size] */
    void *own;         /* gets the result */
    size_t n;
};

static void add_f32(const struct addends *a)
{
    float *own = a->own, sum[512];
    for (size_t at = 0; at < a->n; at += ARRAY_LEN(sum)) {
        size_t n = MIN(ARRAY_LEN(sum), a->n - at);
        const float *x = a->from[0] ? a->from[0] : own;
        memcpy(sum, x + at, n * sizeof(float));
        for (int r = 1; r < a->group->size; r++) {
            x = (a->from[r] ? (const float *)a->from[r] : own) + at;
            for (size_t i = 0; i < n; i++)
                sum[i] += x[i];
        }
        memcpy(own + at, sum, n * sizeof(float));
    }
}

static void add_f64(const struct addends *a)
{
    double *own = a->own;
    for (size_t i = 0; i < a->n; i++) {
        double sum = a->from[0] ? ((const double *)a->from[0])[i] : own[i];
        for (int r = 1; r < a->group->size; r++)
            sum += a->from[r] ? ((const double *)a->from[r])[i] : own[i];
        own[i] = sum;
    }
}

static void add_bf16(const struct addends *a)
{
    bf16_t *own = a->own;
    float sum[512];
    for (size_t at = 0; at < a->n; at += ARRAY_LEN(sum)) {
        size_t n = MIN(ARRAY_LEN(sum), a->n - at);
        for (int r = 0; r < a->group->size; r++) {
            const bf16_t *x = (a->from[r] ? (const bf16_t *)a->from[r] : own) + at;
            for (size_t i = 0; i < n; i++)
                sum[i] = r == 0 ? bf16_load(x[i]) : sum[i] + bf16_load(x[i]);
        }
        for (size_t i = 0; i < n; i++)
            own[at + i] = bf16_store(sum[i]);
    }
}

static void add(const struct addends *a, enum group_dtype d)
{
    CHECK(d != GROUP_BYTE);
    if (d == GROUP_F32) add_f32(a);
    if (d == GROUP_F64) add_f64(a);
    if (d == GROUP_BF16) add_bf16(a);
}

/* ------------------------------------------------------------------ rounds of messages */

/* One round in which each member may send something to, and get something from, every other. */
struct round {
    group_t *group;
    enum cluster_lane lane;
    struct cluster_message *messages;
    int n;  /* messages started */
    int rc; /* of starting them: told by round_wait */
};

/* Two may be under way at once in a lane. */
static struct round round_of(group_t *g, enum cluster_lane lane, int which)
{
    return (struct round){
        .group = g, .lane = lane, .messages = g->lanes[lane].messages + 2 * g->size * which};
}

static void round_recv(struct round *r, int peer, void *data, size_t bytes)
{
    struct cluster_message *m = r->messages;
    if (bytes == 0 || peer == r->group->rank || r->rc < 0) return;
    r->rc = cluster_message_recv(r->group, r->lane, &m[r->n++], peer, data, bytes);
}

static void round_send(struct round *r, int peer, const void *data, size_t bytes)
{
    struct cluster_message *m = r->messages;
    if (bytes == 0 || peer == r->group->rank || r->rc < 0) return;
    r->rc = cluster_message_send(r->group, r->lane, &m[r->n++], peer, data, bytes);
}

/* Nothing of the round is under way afterwards, also where it failed. */
static int round_wait(struct round *r, const char *what)
{
    struct cluster_message *m = r->messages;
    int n = r->n;
    r->n = 0;
    if (r->rc >= 0) r->rc = cluster_messages_wait(r->group, r->lane, m, n, what);
    if (r->rc < 0) cluster_messages_cancel(r->group, m, n);
    return r->rc;
}

/* ------------------------------------------------------------------ sums and gathers */

static int sum_short(group_t *g, enum cluster_lane lane, void *x, size_t n, enum group_dtype d)
{
    size_t bytes = n * group_dtype_size(d), stride = (bytes + 63) / 64 * 64;
    struct round r = round_of(g, lane, 0);
    const void **from = g->lanes[lane].from;
    uint8_t *scratch = cluster_scratch(g, lane, stride * (size_t)g->size);
    for (int p = 0; p < g->size; p++) {
        from[p] = p == g->rank ? NULL : scratch + (size_t)p * stride;
        round_recv(&r, p, scratch + (size_t)p * stride, bytes);
    }
    for (int p = 0; p < g->size; p++)
        round_send(&r, p, x, bytes);
    TRY(round_wait(&r, "a sum"));
    add(&(struct addends){g, from, x, n}, d);
    return 0;
}

struct parts {
    uint8_t *x;
    const size_t *bounds;
    size_t size; /* of an element */
};

/* Elements of part p's piece that begins at `at`. */
static size_t piece_length(const struct parts *s, int p, size_t at, size_t piece)
{
    size_t n = s->bounds[p + 1] - s->bounds[p];
    return at < n ? MIN(piece, n - at) : 0;
}

static size_t longest_part(const struct parts *s, int n_parts)
{
    size_t longest = 0;
    for (int p = 0; p < n_parts; p++)
        longest = MAX(longest, s->bounds[p + 1] - s->bounds[p]);
    return longest;
}

/* A piece of every part on its way: what the others have of ours comes to scratch, a stretch of `piece`
 * elements for each. */
static void reduce_start(struct round *r, const struct parts *s, size_t at, size_t piece,
                         uint8_t *scratch)
{
    group_t *g = r->group;
    size_t mine = piece_length(s, g->rank, at, piece);
    for (int p = 0; p < g->size; p++)
        round_recv(r, p, scratch + (size_t)p * piece * s->size, mine * s->size);
    for (int i = 1; i < g->size; i++) { /* not all to the same one first */
        int p = (g->rank + i) % g->size;
        round_send(r, p, s->x + (s->bounds[p] + at) * s->size,
                   piece_length(s, p, at, piece) * s->size);
    }
}

static void reduce_add(const struct round *r, const struct parts *s, enum group_dtype d, size_t at,
                       size_t piece, const uint8_t *scratch)
{
    group_t *g = r->group;
    const void **from = g->lanes[r->lane].from;
    for (int p = 0; p < g->size; p++)
        from[p] = p == g->rank ? NULL : scratch + (size_t)p * piece * s->size;
    add(&(struct addends){g, from, s->x + (s->bounds[g->rank] + at) * s->size,
                          piece_length(s, g->rank, at, piece)},
        d);
}

/* While one piece is added the next one is on its way. */
static int reduce(group_t *g, enum cluster_lane lane, void *x, const size_t *bounds,
                  enum group_dtype d)
{
    struct parts s = {x, bounds, group_dtype_size(d)};
    struct round rounds[2] = {round_of(g, lane, 0), round_of(g, lane, 1)};
    size_t longest = longest_part(&s, g->size), piece = MIN(PIECE_BYTES / s.size, longest);
    size_t stretch = piece * s.size * (size_t)g->size;
    uint8_t *scratch = cluster_scratch(g, lane, 2 * stretch);
    int rc = 0;
    if (longest > 0) reduce_start(&rounds[0], &s, 0, piece, scratch);
    for (size_t at = 0, k = 0; at < longest && rc >= 0; at += piece, k = 1 - k) {
        uint8_t *here = scratch + k * stretch, *next = scratch + (1 - k) * stretch;
        if (at + piece < longest) reduce_start(&rounds[1 - k], &s, at + piece, piece, next);
        rc = round_wait(&rounds[k], "a reduction");
        if (rc < 0)
            round_wait(&rounds[1 - k], "a reduction"); /* fails at once, and leaves nothing */
        else
            reduce_add(&rounds[k], &s, d, at, piece, here);
    }
    return rc;
}

static int gather(group_t *g, enum cluster_lane lane, void *x, const size_t *bounds,
                  enum group_dtype d)
{
    struct parts s = {x, bounds, group_dtype_size(d)};
    struct round r = round_of(g, lane, 0);
    size_t piece = CLUSTER_MESSAGE_MAX / s.size, longest = longest_part(&s, g->size);
    for (size_t at = 0; at < longest; at += piece) {
        for (int p = 0; p < g->size; p++)
            round_recv(&r, p, s.x + (bounds[p] + at) * s.size,
                       piece_length(&s, p, at, piece) * s.size);
        for (int i = 1; i < g->size; i++)
            round_send(&r, (g->rank + i) % g->size, s.x + (bounds[g->rank] + at) * s.size,
                       piece_length(&s, g->rank, at, piece) * s.size);
        TRY(round_wait(&r, "a gather"));
    }
    return 0;
}

/* Where part r of a sum begins: parts of equal length, in whole cache lines of any type. */
static size_t sum_bound(size_t n, int size, int r)
{
    size_t part = ((n + (size_t)size - 1) / (size_t)size + 63) / 64 * 64;
    return MIN((size_t)r * part, n);
}

static int sum(group_t *g, enum cluster_lane lane, void *x, size_t n, enum group_dtype d)
{
    if (n * group_dtype_size(d) <= SHORT_BYTES) return sum_short(g, lane, x, n, d);
    size_t *bounds = g->lanes[lane].bounds;
    for (int r = 0; r <= g->size; r++)
        bounds[r] = sum_bound(n, g->size, r);
    TRY(reduce(g, lane, x, bounds, d));
    return gather(g, lane, x, bounds, d);
}

uint64_t group_work_sends(const struct group_ticket *t, int rank, int size)
{
    uint64_t others = (uint64_t)size - 1, all, own;
    size_t bytes = group_dtype_size(t->dtype);
    if (t->work == GROUP_WORK_SUM) {
        all = t->n;
        own = sum_bound(t->n, size, rank + 1) - sum_bound(t->n, size, rank);
        if (t->n * bytes <= SHORT_BYTES) return all * bytes * others;
        return (all - own + own * others) * bytes;
    }
    all = t->bounds[size] - t->bounds[0];
    own = t->bounds[rank + 1] - t->bounds[rank];
    return (t->work == GROUP_WORK_REDUCE ? all - own : own * others) * bytes;
}

size_t group_scratch_bytes(int size)
{
    return size > 1 ? N_LANES * 2 * PIECE_BYTES * (size_t)size : 0;
}

int cluster_work(const struct group_ticket *t, enum cluster_lane lane)
{
    group_t *g = t->group;
    if (g->size == 1) return 0;
    TRY(cluster_failed(g->cluster, NULL));
    static const char *const names[] = {
        [GROUP_WORK_SUM] = "sum", [GROUP_WORK_REDUCE] = "reduce", [GROUP_WORK_GATHER] = "gather"};
    double begin_s = cluster_span_begin(g->cluster);
    int rc = 0;
    switch (t->work) {
    case GROUP_WORK_SUM: rc = sum(g, lane, t->x, t->n, t->dtype); break;
    case GROUP_WORK_REDUCE: rc = reduce(g, lane, t->x, t->bounds, t->dtype); break;
    case GROUP_WORK_GATHER: rc = gather(g, lane, t->x, t->bounds, t->dtype); break;
    }
    cluster_span_messages(g, lane, begin_s, names[t->work]);
    return rc;
}

/* What was done in the foreground; the error that stuck is the caller's, too. */
static int now(const struct group_ticket *t, struct error *e)
{
    int rc = cluster_work(t, LANE_FRONT);
    return rc < 0 ? cluster_failed(t->group->cluster, e) : 0;
}

int group_sum(group_t *g, void *x, size_t n, enum group_dtype d, struct error *e)
{
    return now(
        &(struct group_ticket){.group = g, .work = GROUP_WORK_SUM, .x = x, .n = n, .dtype = d}, e);
}

int group_reduce(group_t *g, void *x, const size_t *bounds, enum group_dtype d, struct error *e)
{
    return now(
        &(struct group_ticket){
            .group = g, .work = GROUP_WORK_REDUCE, .x = x, .bounds = bounds, .dtype = d},
        e);
}

int group_gather(group_t *g, void *x, const size_t *bounds, enum group_dtype d, struct error *e)
{
    return now(
        &(struct group_ticket){
            .group = g, .work = GROUP_WORK_GATHER, .x = x, .bounds = bounds, .dtype = d},
        e);
}

/* ------------------------------------------------------------------ exchanges and messages */

static int exchange(group_t *g, const struct group_exchange *x)
{
    const uint8_t *send = x->send;
    uint8_t *recv = x->recv;
    struct round r = round_of(g, LANE_FRONT, 0);
    size_t longest = 0;
    for (int p = 0; p < g->size; p++) {
        longest = MAX(longest, x->send_at[p + 1] - x->send_at[p]);
        longest = MAX(longest, x->recv_at[p + 1] - x->recv_at[p]);
    }
    struct parts out = {NULL, x->send_at, 1}, in = {NULL, x->recv_at, 1};
    for (size_t at = 0; at < longest; at += CLUSTER_MESSAGE_MAX) {
        for (int p = 0; p < g->size; p++)
            round_recv(&r, p, recv + x->recv_at[p] + at,
                       piece_length(&in, p, at, CLUSTER_MESSAGE_MAX));
        for (int i = 1; i < g->size; i++) {
            int p = (g->rank + i) % g->size;
            round_send(&r, p, send + x->send_at[p] + at,
                       piece_length(&out, p, at, CLUSTER_MESSAGE_MAX));
        }
        TRY(round_wait(&r, "an exchange"));
    }
    return 0;
}

int group_exchange(group_t *g, const struct group_exchange *x, struct error *e)
{
    size_t mine = x->send_at[g->rank + 1] - x->send_at[g->rank];
    CHECK(mine == x->recv_at[g->rank + 1] - x->recv_at[g->rank]);
    if (mine > 0)
        memcpy((uint8_t *)x->recv + x->recv_at[g->rank],
               (const uint8_t *)x->send + x->send_at[g->rank], mine);
    double begin_s = cluster_span_begin(g->cluster);
    int rc = exchange(g, x);
    cluster_span_messages(g, LANE_FRONT, begin_s, "exchange");
    return rc < 0 ? cluster_failed(g->cluster, e) : 0;
}

static int pass(group_t *g, int peer, const void *out, void *in, size_t bytes, const char *what)
{
    struct round r = round_of(g, LANE_FRONT, 0);
    CHECK(peer >= 0 && peer < g->size && peer != g->rank);
    for (size_t at = 0; at < bytes; at += CLUSTER_MESSAGE_MAX) {
        size_t n = MIN(CLUSTER_MESSAGE_MAX, bytes - at);
        if (out)
            round_send(&r, peer, (const uint8_t *)out + at, n);
        else
            round_recv(&r, peer, (uint8_t *)in + at, n);
        TRY(round_wait(&r, what));
    }
    return 0;
}

int group_send(group_t *g, int to, const void *data, size_t bytes, struct error *e)
{
    return pass(g, to, data, NULL, bytes, "a message") < 0 ? cluster_failed(g->cluster, e) : 0;
}

int group_recv(group_t *g, int from, void *data, size_t bytes, struct error *e)
{
    return pass(g, from, NULL, data, bytes, "a message") < 0 ? cluster_failed(g->cluster, e) : 0;
}

static int broadcast(group_t *g, int root, void *data, size_t bytes)
{
    struct round r = round_of(g, LANE_FRONT, 0);
    for (size_t at = 0; at < bytes; at += CLUSTER_MESSAGE_MAX) {
        size_t n = MIN(CLUSTER_MESSAGE_MAX, bytes - at);
        if (g->rank != root) round_recv(&r, root, (uint8_t *)data + at, n);
        for (int p = 0; p < g->size && g->rank == root; p++)
            round_send(&r, p, (const uint8_t *)data + at, n);
        TRY(round_wait(&r, "a broadcast"));
    }
    return 0;
}

int group_broadcast(group_t *g, int root, void *data, size_t bytes, struct error *e)
{
    CHECK(root >= 0 && root < g->size);
    return broadcast(g, root, data, bytes) < 0 ? cluster_failed(g->cluster, e) : 0;
}

static int agree(group_t *g, int64_t *values, size_t n)
{
    struct round r = round_of(g, LANE_FRONT, 0);
    int64_t *theirs = cluster_scratch(g, LANE_FRONT, n * (size_t)g->size * sizeof(int64_t));
    for (int p = 0; p < g->size; p++)
        round_recv(&r, p, theirs + (size_t)p * n, n * sizeof(int64_t));
    for (int p = 0; p < g->size; p++)
        round_send(&r, p, values, n * sizeof(int64_t));
    TRY(round_wait(&r, "an agreement"));
    for (int p = 0; p < g->size; p++) {
        for (size_t i = 0; i < n && p != g->rank; i++)
            values[i] = MAX(values[i], theirs[(size_t)p * n + i]);
    }
    return 0;
}

int group_agree(group_t *g, int64_t *values, size_t n, struct error *e)
{
    if (g->size == 1) return 0;
    double begin_s = cluster_span_begin(g->cluster);
    int rc = agree(g, values, n);
    cluster_span_messages(g, LANE_FRONT, begin_s, "agree");
    return rc < 0 ? cluster_failed(g->cluster, e) : 0;
}

int group_barrier(group_t *g, struct error *e)
{
    int64_t nothing = 0;
    return group_agree(g, &nothing, 1, e);
}
