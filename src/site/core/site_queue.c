/* site_queue.c: events in the order of their times.
 *
 * A heap with four children a node: half as deep as one with two, and the children lie in two lines
 * of cache. An event that is no longer wanted stays until its time: what it is about counts
 * generations, and the event's own is then an old one. So a cancellation costs nothing. Ties are
 * broken by kind and number, so that the order does not depend on what was pushed when. */
#include "site/core/site_core_internal.h"

enum { FIRST_CAP = 256, CHILDREN = 4 };

site_us site_us_of(double seconds)
{
    if (!(seconds < 9e12)) return SITE_NEVER;
    return (site_us)ceil(fmax(seconds, 0.0) * 1e6);
}

static bool before(const struct site_queued *a, const struct site_queued *b)
{
    if (a->at != b->at) return a->at < b->at;
    if (a->kind != b->kind) return a->kind < b->kind;
    if (a->id != b->id) return a->id < b->id;
    return a->generation < b->generation;
}

void site_queue_fini(struct site_queue *q)
{
    mem_free(q->items);
    *q = (struct site_queue){0};
}

void site_queue_push(struct site_queue *q, struct site_queued item)
{
    if (item.at == SITE_NEVER) return;
    if (q->n == q->cap) {
        q->cap = q->cap ? 2 * q->cap : FIRST_CAP;
        q->items = mem_realloc(q->items, q->cap * sizeof(*q->items));
    }
    size_t i = q->n++;
    while (i > 0) {
        size_t parent = (i - 1) / CHILDREN;
        if (!before(&item, &q->items[parent])) break;
        q->items[i] = q->items[parent];
        i = parent;
    }
    q->items[i] = item;
}

const struct site_queued *site_queue_first(const struct site_queue *q)
{
    return q->n ? &q->items[0] : NULL;
}

struct site_queued site_queue_pop(struct site_queue *q)
{
    CHECK(q->n > 0);
    struct site_queued top = q->items[0], last = q->items[--q->n];
    size_t i = 0;
    for (;;) {
        size_t first = CHILDREN * i + 1, least = first;
        if (first >= q->n) break;
        for (size_t c = first + 1; c < MIN(first + CHILDREN, q->n); c++)
            if (before(&q->items[c], &q->items[least])) least = c;
        if (!before(&q->items[least], &last)) break;
        q->items[i] = q->items[least];
        i = least;
    }
    if (q->n) q->items[i] = last;
    return top;
}
