/* compute_ops_paged.c: attention over keys and values in pages (compute.h), over all threads.
 *
 * A task is a run and some of the query heads that share a key head, so that a page is read once for
 * all of them. Where there are few runs and key heads, heads get tasks of their own. */
#include "compute/compute_ops_internal.h"

enum {
    ROWS = 96,       /* queries times heads of a task, at most where heads can be divided */
    ENOUGH_TASKS = 8 /* fewer than these: a task for each query head */
};

size_t compute_page_bytes(const compute_t *c, int64_t K, int64_t h)
{
    return (size_t)(2 * K * h * COMPUTE_PAGE) * compute_dtype_size(c->dtype);
}

/* ------------------------------------------------------------------ storing */

struct paged {
    compute_t *c;
    const struct compute_paged *p;
    int64_t heads, parts; /* query heads of a task, tasks of a run */
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

void compute_paged_store(compute_t *c, const struct compute_paged *p)
{
    struct paged s = {.c = c, .p = p};
    pool_run(c->pool, (size_t)p->n_runs, store_task, &s);
}

/* ------------------------------------------------------------------ attention */

/* Late runs of a sequence see the most keys: they come first. */
static void attention_task(void *ctx, size_t task, int thread)
{
    const struct paged *s = ctx;
    int64_t run = s->p->n_runs - 1 - (int64_t)task / s->parts, part = (int64_t)task % s->parts;
    s->c->kernels.paged_attention(s->p, run, part * s->heads, s->heads,
                                  s->scratch + (size_t)thread * s->stride);
}

void compute_paged_attention(compute_t *c, const struct compute_paged *p)
{
    CHECK_MSG(p->K > 0 && p->H % p->K == 0, "%lld heads, %lld key heads", (long long)p->H,
              (long long)p->K);
    struct paged s = {.c = c, .p = p, .heads = p->H / p->K};
    int64_t n = 1;
    for (int64_t i = 0; i < p->n_runs; i++) {
        CHECK(p->runs[i].n >= 1 && p->runs[i].n <= COMPUTE_RUN);
        n = MAX(n, p->runs[i].n);
    }
    if (p->n_runs * p->K < ENOUGH_TASKS) s.heads = 1;
    while (s.heads > 1 && (n * s.heads > ROWS || p->H / p->K % s.heads != 0))
        s.heads--;
    s.parts = p->H / s.heads;
    s.scratch = compute_private_scratch(c, c->kernels.paged_scratch(n * s.heads, p->h), &s.stride);
    pool_run(c->pool, (size_t)(p->n_runs * s.parts), attention_task, &s);
}
