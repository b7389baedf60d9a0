/* serve_sampler.c: one token from logits.
 *
 * The draw is a pure function of logits, history, seed, stream and position: no state lives
 * between calls, so a stream can be continued or repeated from anywhere. Candidates are ordered
 * by logit, ties by the smaller id, which makes every cut (top-k, top-p, min-p) well defined.
 *
 * A candidate whose probability is below e^-30 of the most likely one is dropped before sorting:
 * 131,072 of them together weigh less than 2e-8, and sorting a vocabulary would cost more than the
 * rest of the step. */
#include "serve/serve.h"

#include <math.h>
#include <stdlib.h>

#define NEGLIGIBLE_LOG 30.0

static int by_logit(const void *a, const void *b)
{
    const struct serve_candidate *x = a, *y = b;
    if (x->logit != y->logit) return x->logit > y->logit ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

static uint32_t most_likely(const struct serve_candidate *work, uint32_t vocab)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < vocab; i++) {
        if (work[i].logit > work[best].logit) best = i;
    }
    return best;
}

/* Each recent id is penalised once, however often it occurs. */
static void penalise(const struct serve_sampling *s, const struct serve_draw *d,
                     struct serve_candidate *work)
{
    if (s->repetition_penalty == 1.0 || s->repetition_penalty <= 0) return;
    size_t n = MIN(d->n_history, (size_t)MAX(s->repetition_window, 0));
    for (size_t i = d->n_history - n; i < d->n_history; i++) {
        uint32_t id = d->history[i];
        if (id >= d->vocab) continue;
        double l = d->logits[id];
        l = l > 0 ? l / s->repetition_penalty : l * s->repetition_penalty;
        work[id].logit = (float)l;
    }
}

/* Sorted candidates in, number that stay out. p(i) = exp((logit_i - logit_0) / temperature). */
static size_t cut(const struct serve_sampling *s, const struct serve_candidate *work, size_t n)
{
    if (s->top_k > 0) n = MIN(n, (size_t)s->top_k);
    double scale = 1.0 / s->temperature;
    if (s->top_p < 1.0) {
        double total = 0, sum = 0;
        for (size_t i = 0; i < n; i++)
            total += exp((work[i].logit - work[0].logit) * scale);
        size_t keep = 0;
        while (keep < n && sum < s->top_p * total)
            sum += exp((work[keep++].logit - work[0].logit) * scale);
        n = MAX(keep, (size_t)1);
    }
    if (s->min_p > 0) {
        double least = log(s->min_p);
        size_t keep = 1;
        while (keep < n && (work[keep].logit - work[0].logit) * scale >= least)
            keep++;
        n = keep;
    }
    return n;
}

uint32_t serve_sample(const struct serve_sampling *s, const struct serve_draw *d,
                      struct serve_candidate *work)
{
    uint32_t vocab = d->vocab;
    CHECK(vocab > 0);
    for (uint32_t i = 0; i < vocab; i++)
        work[i] = (struct serve_candidate){.logit = d->logits[i], .id = i};
    penalise(s, d, work);
    uint32_t best = most_likely(work, vocab);
    if (s->temperature <= 0) return best;
    float least = (float)(work[best].logit - NEGLIGIBLE_LOG * s->temperature);
    size_t n = 0;
    for (uint32_t i = 0; i < vocab; i++) {
        if (work[i].logit >= least) work[n++] = work[i];
    }
    if (n == 0) /* every logit is NaN */
        return best;
    qsort(work, n, sizeof(*work), by_logit);
    n = cut(s, work, n);

    double scale = 1.0 / s->temperature, total = 0, sum = 0;
    for (size_t i = 0; i < n; i++)
        total += exp((work[i].logit - work[0].logit) * scale);
    double u = rng_uniform((uint64_t)s->seed, d->stream, d->position) * total;
    for (size_t i = 0; i < n; i++) {
        sum += exp((work[i].logit - work[0].logit) * scale);
        if (u < sum) return work[i].id;
    }
    return work[n - 1].id;
}
