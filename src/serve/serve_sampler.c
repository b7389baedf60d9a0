/* serve_sampler.c: one token from logits.
 *
 * The draw is a pure function of logits, history, seed, stream and position: no state lives
 * between calls, so a stream can be continued or repeated from anywhere. Candidates are ordered
 * by logit, ties by the smaller id, which makes every cut (top-k, top-p, min-p) well defined.
 *
 * A candidate whose probability is below e^-30 of the most likely one is dropped: 131,072 of them
 * together weigh less than 2e-8. The others are sorted only as far as somebody looks, by a heap: of a
 * vocabulary most draws need a few hundred, and sorting all would cost more than the rest of a step. */
#include "serve/serve.h"

#include <math.h>

#define NEGLIGIBLE_LOG 30.0

static bool is_before(const struct serve_candidate *x, const struct serve_candidate *y)
{
    if (x->logit != y->logit) return x->logit > y->logit;
    return x->id < y->id;
}

/* n candidates, of which the first ones in order, `sorted` many, stand at the end, backwards; the
 * others before them are a heap, the first of them on top. */
struct order {
    struct serve_candidate *work;
    size_t n, sorted;
};

static void sift(struct serve_candidate *heap, size_t n, size_t i)
{
    struct serve_candidate x = heap[i];
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && is_before(&heap[child + 1], &heap[child])) child++;
        if (!is_before(&heap[child], &x)) break;
        heap[i] = heap[child];
    }
    heap[i] = x;
}

static struct order order_of(struct serve_candidate *work, size_t n)
{
    for (size_t i = n / 2; i-- > 0;)
        sift(work, n, i);
    return (struct order){work, n, 0};
}

/* The i-th in order. */
static const struct serve_candidate *nth(struct order *o, size_t i)
{
    while (o->sorted <= i) {
        size_t last = o->n - ++o->sorted;
        struct serve_candidate top = o->work[0];
        o->work[0] = o->work[last];
        sift(o->work, last, 0);
        o->work[last] = top;
    }
    return &o->work[o->n - 1 - i];
}

static uint32_t most_likely(const struct serve_candidate *work, uint32_t vocab)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < vocab; i++) {
        if (work[i].logit > work[best].logit) best = i;
    }
    return best;
}

/* The same of logits as they stand. */
static uint32_t highest(const float *logits, uint32_t vocab)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < vocab; i++)
        if (logits[i] > logits[best]) best = i;
    return best;
}

static bool penalises(const struct serve_sampling *s)
{
    return s->repetition_penalty != 1.0 && s->repetition_penalty > 0;
}

/* Each recent id is penalised once, however often it occurs. */
static void penalise(const struct serve_sampling *s, const struct serve_draw *d,
                     struct serve_candidate *work)
{
    if (!penalises(s)) return;
    size_t n = MIN(d->n_history, (size_t)MAX(s->repetition_window, 0));
    for (size_t i = d->n_history - n; i < d->n_history; i++) {
        uint32_t id = d->history[i];
        if (id >= d->vocab) continue;
        double l = d->logits[id];
        l = l > 0 ? l / s->repetition_penalty : l * s->repetition_penalty;
        work[id].logit = (float)l;
    }
}

/* How likely, beside the first one. */
static double weight(const struct serve_sampling *s, float logit, float first)
{
    return exp((double)(logit - first) / s->temperature);
}

/* How many stay; *total becomes their weight, which is that of all on entry. */
static size_t cut(const struct serve_sampling *s, struct order *o, double *total)
{
    float first = nth(o, 0)->logit;
    size_t n = o->n, keep = 0;
    double sum = 0;
    if (s->top_k > 0 && (size_t)s->top_k < n) {
        n = (size_t)s->top_k;
        for (size_t i = 0; i < n; i++)
            sum += weight(s, nth(o, i)->logit, first);
        *total = sum;
    }
    if (s->top_p < 1.0) {
        for (sum = 0; keep < n && (keep == 0 || sum < s->top_p * *total); keep++)
            sum += weight(s, nth(o, keep)->logit, first);
        n = keep;
        *total = sum;
    }
    if (s->min_p > 0) {
        sum = 1;
        for (keep = 1; keep < n; keep++) {
            double w = weight(s, nth(o, keep)->logit, first);
            if (w < s->min_p) break;
            sum += w;
        }
        n = keep;
        *total = sum;
    }
    return n;
}

uint32_t serve_sample(const struct serve_sampling *s, const struct serve_draw *d,
                      struct serve_candidate *work)
{
    uint32_t vocab = d->vocab;
    CHECK(vocab > 0);
    if (s->temperature <= 0 && !penalises(s)) return highest(d->logits, vocab);
    for (uint32_t i = 0; i < vocab; i++)
        work[i] = (struct serve_candidate){.logit = d->logits[i], .id = i};
    penalise(s, d, work);
    uint32_t best = most_likely(work, vocab);
    if (s->temperature <= 0) return best;
    float first = work[best].logit, least = (float)(first - NEGLIGIBLE_LOG * s->temperature);
    size_t n = 0;
    double total = 0, sum = 0;
    for (uint32_t i = 0; i < vocab; i++) {
        if (!(work[i].logit >= least)) continue;
        total += weight(s, work[i].logit, first);
        work[n++] = work[i];
    }
    if (n == 0) /* every logit is NaN */
        return best;
    struct order o = order_of(work, n);
    n = cut(s, &o, &total);
    double u = rng_uniform((uint64_t)s->seed, d->stream, d->position) * total;
    for (size_t i = 0; i < n; i++) {
        const struct serve_candidate *c = nth(&o, i);
        sum += weight(s, c->logit, first);
        if (u < sum) return c->id;
    }
    return nth(&o, n - 1)->id;
}
