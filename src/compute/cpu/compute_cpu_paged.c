/* compute_cpu_paged.c: attention over keys and values in pages (compute.h), over all threads.
 *
 * A task is a run and some of the query heads that share a key head, so that a page is read once for
 * all of them. Where there are few runs and key heads, blocks of keys get tasks of their own, and what
 * comes of them is put together in order; with few keys, too, heads do. */
#include "compute/cpu/compute_cpu_internal.h"

enum {
    ROWS = 96,       /* queries times heads of a task, at most where heads can be divided */
    ENOUGH_TASKS = 8 /* fewer than these: a task for each block of keys, or for each query head */
};

size_t compute_page_bytes(const compute_t *c, int64_t K, int64_t h)
{
    return (size_t)(2 * K * h * COMPUTE_PAGE) * compute_dtype_size(c->dtype);
}

/* ------------------------------------------------------------------ storing */

struct paged {
    compute_t *c;
    const struct compute_paged *p;
    int64_t heads, parts; /* query heads of a task, tasks of the heads of a run */
    char *scratch;
    size_t stride;
};

/* Task: a run. */
static void store_task(void *ctx, size_t task, int thread)
{
    (void)thread;
    const struct paged *s = ctx;
    const struct compute_paged *p = s->p;
    const struct compute_paged_run *run = &p->runs[task];
    size_t size = compute_dtype_size(s->c->dtype), width = (size_t)p->h * size;
    for (int64_t i = 0; i < run->n; i++) {
        int64_t pos = run->pos + i, at = pos % COMPUTE_PAGE;
        char *keys = (char *)run->pages[pos / COMPUTE_PAGE] + p->at;
        char *values = keys + compute_page_bytes(s->c, p->K, p->h) / 2;
        const char *k = act_row(s->c, p->k, run->row + i, p->ld);
        const char *v = act_row(s->c, p->v, run->row + i, p->ld);
        for (int64_t d = 0; d < p->K * p->h; d++)
            memcpy(keys + (size_t)(d * COMPUTE_PAGE + at) * size, k + (size_t)d * size, size);
        for (int64_t head = 0; head < p->K; head++)
            memcpy(values + (size_t)(head * COMPUTE_PAGE + at) * width, v + (size_t)head * width,
                   width);
    }
}

void compute_cpu_paged_store(compute_t *c, const struct compute_paged *p)
{
    struct paged s = {.c = c, .p = p};
    pool_run(c->pool, (size_t)p->n_runs, store_task, &s);
}

/* ------------------------------------------------------------------ attention */

/* Task `task` of the heads: a run and some heads of it. Late runs of a sequence see the most keys: they
 * come first. */
static struct compute_paged_part part_of(const struct paged *s, int64_t task)
{
    const struct compute_paged *p = s->p;
    struct compute_paged_part t = {.p = p, .heads = s->heads};
    t.run = p->n_runs - 1 - task / s->parts;
    t.head = task % s->parts * s->heads;
    const struct compute_paged_run *run = &p->runs[t.run];
    int64_t first = p->window ? MAX(run->pos + 1 - p->window, 0) / COMPUTE_PAGED_BLOCK : 0;
    t.n = (run->pos + run->n - 1) / COMPUTE_PAGED_BLOCK - first + 1;
    return t;
}

static void attention_task(void *ctx, size_t task, int thread)
{
    const struct paged *s = ctx;
    struct compute_paged_part t = part_of(s, (int64_t)task);
    s->c->kernels.paged_attention(&t, s->scratch + (size_t)thread * s->stride);
}

/* Tasks [at[i], at[i + 1]) are blocks of part i. */
struct blocks {
    const struct paged *s;
    struct compute_paged_part parts[ENOUGH_TASKS];
    int64_t at[ENOUGH_TASKS + 1];
};

static void block_task(void *ctx, size_t task, int thread)
{
    const struct blocks *b = ctx;
    int64_t i = 0;
    while (b->at[i + 1] <= (int64_t)task)
        i++;
    struct compute_paged_part t = b->parts[i];
    t.first = (int64_t)task - b->at[i];
    t.n = 1;
    b->s->c->kernels.paged_sum(&t, b->s->scratch + (size_t)thread * b->s->stride);
}

/* Blocks of keys are tasks; what they come to is put together in their order. */
static void sum_blocks(const struct paged *s, int64_t n_parts)
{
    struct blocks b = {.s = s};
    size_t floats = 0;
    for (int64_t i = 0; i < n_parts; i++) {
        b.parts[i] = part_of(s, i);
        b.at[i + 1] = b.at[i] + b.parts[i].n;
        floats += (size_t)b.parts[i].n *
                  s->c->kernels.paged_floats(s->p->runs[b.parts[i].run].n * s->heads, s->p->h);
    }
    float *sums = compute_shared_scratch(s->c, floats * sizeof(*sums));
    for (int64_t i = 0; i < n_parts; i++) {
        b.parts[i].sums = sums;
        sums += (size_t)b.parts[i].n *
                s->c->kernels.paged_floats(s->p->runs[b.parts[i].run].n * s->heads, s->p->h);
    }
    pool_run(s->c->pool, (size_t)b.at[n_parts], block_task, &b);
    for (int64_t i = 0; i < n_parts; i++)
        s->c->kernels.paged_join(&b.parts[i], s->scratch);
}

/* Blocks of keys in all parts. */
static int64_t count_blocks(const struct paged *s)
{
    int64_t n = 0;
    for (int64_t i = 0; i < s->p->n_runs; i++)
        n += part_of(s, i * s->parts).n * s->parts;
    return n;
}

void compute_cpu_paged_attention(compute_t *c, const struct compute_paged *p)
{
    CHECK_MSG(p->K > 0 && p->H % p->K == 0, "%lld heads, %lld key heads", (long long)p->H,
              (long long)p->K);
    struct paged s = {.c = c, .p = p, .heads = p->H / p->K};
    int64_t n = 1;
    for (int64_t i = 0; i < p->n_runs; i++) {
        CHECK(p->runs[i].n >= 1 && p->runs[i].n <= COMPUTE_RUN);
        n = MAX(n, p->runs[i].n);
    }
    while (s.heads > 1 && (n * s.heads > ROWS || p->H / p->K % s.heads != 0))
        s.heads--;
    s.parts = p->H / s.heads;
    int64_t tasks = p->n_runs * s.parts;
    bool few = tasks < ENOUGH_TASKS && c->threads > 1;
    bool divides = few && c->kernels.paged_sum && count_blocks(&s) >= ENOUGH_TASKS;
    if (few && !divides) {
        s.heads = 1;
        s.parts = p->H;
        tasks = p->n_runs * s.parts;
    }
    s.scratch = compute_private_scratch(c, c->kernels.paged_scratch(n * s.heads, p->h), &s.stride);
    if (divides)
        sum_blocks(&s, tasks);
    else
        pool_run(c->pool, (size_t)tasks, attention_task, &s);
}
