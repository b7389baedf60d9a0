/* text_loader.c: deals windows of a dataset to ranks, and knows exactly where it is.
 *
 * The stream of N tokens is cut into W = (N - 1) / T windows; window w has the inputs [wT, wT + T)
 * and the targets one further. Each epoch visits every window once, in the order
 * rng_permute(seed, epoch, W, i), which needs no table however large W is.
 *
 * Epochs follow each other without a gap, so there is one endless sequence of windows, and a place
 * in it, (epoch, window), is the whole state: batches are B * n_ranks consecutive places and rank r
 * takes the rows [r B, (r + 1) B) of each. A batch may end one epoch and begin the next. The cursor
 * says nothing about B or the number of ranks, so a run can go on with other ones and still visits
 * every window of an epoch once. */
#include "text/text.h"

#include <string.h>

struct loader {
    const dataset_t *data;
    struct loader_options o;
    uint64_t windows;
    uint32_t eos;
    struct loader_cursor cursor;
};

int loader_open(const dataset_t *d, const struct loader_options *o, loader_t **out, struct error *e)
{
    uint64_t tokens = dataset_info(d)->tokens;

    CHECK(o->B > 0 && o->T > 0 && o->T <= INT32_MAX && o->n_ranks > 0 && o->rank < o->n_ranks);
    *out = NULL;
    if (tokens <= o->T) {
        error_set(e, "the split has %llu tokens, not enough for one window of %u and its target",
                  (unsigned long long)tokens, o->T);
        return error_hint(e, "take shorter sequences or tokenize more text");
    }
    struct loader *l = mem_calloc(1, sizeof(*l));
    l->data = d;
    l->o = *o;
    l->windows = (tokens - 1) / o->T;
    l->eos = dataset_info(d)->eos;
    *out = l;
    return 0;
}

void loader_close(loader_t *l)
{
    mem_free(l);
}

struct loader_cursor loader_get_cursor(const loader_t *l)
{
    return l->cursor;
}

int loader_set_cursor(loader_t *l, struct loader_cursor c, struct error *e)
{
    if (c.window >= l->windows) {
        error_set(e, "the cursor points at window %llu of an epoch of %llu",
                  (unsigned long long)c.window, (unsigned long long)l->windows);
        return error_hint(e, "the dataset or the sequence length is not that of the saved run");
    }
    l->cursor = c;
    return 0;
}

/* `steps` places further. */
static struct loader_cursor advance(const struct loader *l, struct loader_cursor c, uint64_t steps)
{
    uint64_t place = c.window + steps; /* both far below 2^63 */
    c.epoch += place / l->windows;
    c.window = place % l->windows;
    return c;
}

/* First token of the window at a place. */
static uint64_t window_start(const struct loader *l, struct loader_cursor c)
{
    uint64_t w = l->o.shuffle ? rng_permute(l->o.seed, c.epoch, l->windows, c.window) : c.window;
    return w * l->o.T;
}

/* A document begins with the EOS of the one before it, which is what its first token is predicted
 * from, here as when text is generated or scored. */
void loader_find_documents(const uint32_t *row, uint32_t T, uint32_t eos, int32_t *doc_start)
{
    int32_t start = 0;
    for (uint32_t i = 0; i < T; i++) {
        if (row[i] == eos) start = (int32_t)i;
        doc_start[i] = start;
    }
}

int loader_next(loader_t *l, uint32_t *inputs, uint32_t *targets, int32_t *doc_start,
                struct error *e)
{
    const uint64_t T = l->o.T, global = (uint64_t)l->o.B * l->o.n_ranks;
    struct loader_cursor next = advance(l, l->cursor, global);
    uint64_t first_row = (uint64_t)l->o.rank * l->o.B;

    for (uint64_t b = 0; b < l->o.B; b++) {
        uint32_t *in = inputs + b * T, *target = targets + b * T;
        uint64_t start = window_start(l, advance(l, l->cursor, first_row + b));
        TRY(dataset_read(l->data, start, T, in, e));
        memcpy(target, in + 1, (T - 1) * sizeof(*in));
        TRY(dataset_read(l->data, start + T, 1, target + T - 1, e));
        if (doc_start) loader_find_documents(in, l->o.T, l->eos, doc_start + b * T);
    }
    /* While the step computes, the kernel can fetch what the next one reads. */
    for (uint64_t b = 0; b < l->o.B; b++)
        dataset_prefetch(l->data, window_start(l, advance(l, next, first_row + b)), T + 1);
    l->cursor = next;
    return 0;
}
