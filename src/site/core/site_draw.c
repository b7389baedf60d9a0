/* site_draw.c: luck by entity.
 *
 * Draws are values of Philox at (seed, entity, number of the draw). What happens to one cohort or
 * turbine does not shift the draws of another, so that two scenarios with the same seed differ by
 * what was changed in them and not by luck: common random numbers. */
#include "site/core/site_core_internal.h"

struct site_stream site_stream_of(enum site_entity kind, uint64_t id)
{
    return (struct site_stream){(uint64_t)kind << 56 | id, 0};
}

double site_uniform(uint64_t seed, struct site_stream *s)
{
    return rng_uniform(seed, s->entity, s->n++) + 0x1p-54;
}

double site_exponential(uint64_t seed, struct site_stream *s)
{
    return -log(site_uniform(seed, s));
}

int site_pick(double u, const double *weights, int n)
{
    double all = 0.0, sum = 0.0;
    int last = -1;
    for (int i = 0; i < n; i++)
        all += weights[i];
    for (int i = 0; i < n && all > 0.0; i++) {
        if (weights[i] <= 0.0) continue;
        sum += weights[i];
        last = i;
        if (u * all < sum) return i;
    }
    return last; /* -1, or what rounding has left over */
}
