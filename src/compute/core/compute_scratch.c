/* compute_scratch.c: the context's scratch memory; what it is for: compute_internal.h. */
#include "compute/core/compute_internal.h"

enum { HUGE_PAGE = 2 << 20 }; /* growth in whole huge pages: a cache longer by a token costs none */

static void *scratch_at_least(struct compute_scratch *s, size_t bytes)
{
    if (bytes > s->size) {
        bytes = (size_t)round_up((int64_t)bytes, HUGE_PAGE);
        if (s->data) mem_unmap(s->data, s->size);
        s->data = mem_map(bytes);
        if (!s->data) mem_exhausted(bytes);
        s->size = bytes;
    }
    return s->data;
}

void *compute_shared_scratch(compute_t *c, size_t bytes)
{
    return scratch_at_least(&c->shared, bytes);
}

char *compute_private_scratch(compute_t *c, size_t bytes, size_t *stride)
{
    /* An odd number of pages apart, so that the threads' slices do not fall on the same cache
     * sets. */
    *stride = (size_t)round_up((int64_t)bytes, 8192) + 4096;
    return scratch_at_least(&c->private, *stride * (size_t)c->threads);
}
