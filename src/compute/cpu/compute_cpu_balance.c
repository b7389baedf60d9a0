/* compute_cpu_balance.c: selection biases that deal rows to experts evenly.
 *
 * A row goes to the k experts with the largest p + b, p the router's probability and b the expert's
 * bias. With the other biases as they are, expert e is chosen where p_e + b_e exceeds what it has to
 * beat, the k-th largest score of the row without its own. So it gets its share, k of E, of the rows
 * where -b_e is the quantile 1 - k/E of
 *
 *     p_e - (k-th largest of p_j + b_j over j != e)
 *
 * This needs no step width: it says how far a bias is off in the unit of the bias, whether routers
 * hardly tell experts apart, as at the beginning, or strongly. A round moves all biases at once, each
 * as if the others stayed; all the way they would swing to and fro where experts share rows that are
 * sure of them. */
#include "compute/cpu/compute_cpu_internal.h"

#include <math.h>

/* From no bias at all these leave a largest load of 1.1 of the mean, as a rule. */
#define BALANCE_ROUNDS 4
#define BALANCE_SHARE  0.7

struct balance_run {
    compute_t *c;
    const struct compute_router *r;
    const float *bias; /* [E] of this round */
    float *next_bias;  /* [E] of the next one */
    float *kth, *next; /* [M] the k-th largest score of a row, and the one behind it */
    char *margins;     /* per thread: [M] */
    size_t stride;
    int64_t per_task; /* rows */
};

/* The value that `at` others are at least as large as; v is reordered. */
static float select_largest(float *v, int64_t n, int64_t at)
{
    int64_t low = 0, high = n - 1;
    while (low < high) {
        float a = v[low], b = v[low + (high - low) / 2], c = v[high];
        float pivot = fmaxf(fminf(a, b), fminf(fmaxf(a, b), c));
        int64_t i = low, j = high;
        while (i <= j) {
            while (v[i] > pivot)
                i++;
            while (v[j] < pivot)
                j--;
            if (i > j) break;
            float x = v[i];
            v[i++] = v[j];
            v[j--] = x;
        }
        if (at <= j)
            high = j;
        else if (at >= i)
            low = i;
        else
            break;
    }
    return v[at];
}

/* The n largest scores of a row, in order. */
static void largest_scores(const struct balance_run *b, int64_t row, int64_t n, float *top)
{
    const float *p = b->r->probs + row * b->r->E;
    int64_t have = 0;
    for (int64_t e = 0; e < b->r->E; e++) {
        float score = p[e] + b->bias[e];
        if (have == n && !(score > top[n - 1])) continue;
        int64_t at = have < n ? have++ : n - 1;
        for (; at > 0 && score > top[at - 1]; at--)
            top[at] = top[at - 1];
        top[at] = score;
    }
}

static void thresholds_task(void *ctx, size_t task, int thread)
{
    (void)thread;
    const struct balance_run *b = ctx;
    int64_t k = b->r->k, first = (int64_t)task * b->per_task;
    float top[COMPUTE_MAX_EXPERTS];
    for (int64_t i = first; i < MIN(b->r->M, first + b->per_task); i++) {
        largest_scores(b, i, k + 1, top);
        b->kth[i] = top[k - 1];
        b->next[i] = top[k];
    }
}

static void quantile_task(void *ctx, size_t e, int thread)
{
    const struct balance_run *b = ctx;
    int64_t M = b->r->M, E = b->r->E, share = MAX(1, (M * b->r->k + E / 2) / E);
    float *margin = (float *)(b->margins + (size_t)thread * b->stride), bias = b->bias[e];
    for (int64_t i = 0; i < M; i++) {
        float p = b->r->probs[i * E + (int64_t)e];
        margin[i] = p - (p + bias >= b->kth[i] ? b->next[i] : b->kth[i]);
    }
    b->next_bias[e] = -select_largest(margin, M, share - 1);
}

void compute_cpu_router_balance(compute_t *c, const struct compute_router *r, float *bias)
{
    struct balance_run b = {.c = c, .r = r, .bias = bias};
    int64_t M = r->M, E = r->E;
    if (r->k >= E) return;
    b.kth = compute_shared_scratch(c, (size_t)(2 * M + E) * sizeof(float));
    b.next = b.kth + M;
    b.next_bias = b.next + M;
    b.margins = compute_private_scratch(c, (size_t)M * sizeof(float), &b.stride);
    b.per_task = MAX(1, TASK_ELEMENTS / E);
    for (int round = 0; round < BALANCE_ROUNDS; round++) {
        double mean = 0;
        pool_run(c->pool, (size_t)ceil_div(M, b.per_task), thresholds_task, &b);
        pool_run(c->pool, (size_t)E, quantile_task, &b);
        for (int64_t e = 0; e < E; e++) {
            bias[e] += (float)BALANCE_SHARE * (b.next_bias[e] - bias[e]);
            mean += (double)bias[e] / (double)E;
        }
        for (int64_t e = 0; e < E; e++)
            bias[e] -= (float)mean;
    }
}

static void select_task(void *ctx, size_t task, int thread)
{
    (void)thread;
    const struct row_run *run = ctx;
    const struct compute_router *r = run->op;
    float score[COMPUTE_MAX_EXPERTS];
    int64_t first = run_first(run, task);
    for (int64_t i = first; i < first + run_rows(run, task); i++) {
        const float *p = r->probs + i * r->E;
        for (int64_t e = 0; e < r->E; e++)
            score[e] = p[e] + r->bias[e];
        for (int64_t j = 0; j < r->k; j++) {
            int64_t best = 0;
            for (int64_t e = 1; e < r->E; e++)
                if (score[e] > score[best]) best = e;
            r->top[i * r->k + j] = (int32_t)best;
            r->weight[i * r->k + j] = p[best];
            score[best] = -INFINITY;
        }
    }
}

void compute_cpu_router_select(compute_t *c, const struct compute_router *r)
{
    CHECK(r->bias && !r->renormalise);
    run_by_rows(c, select_task, (struct row_run){.op = r, .M = r->M}, r->E * r->k);
}
