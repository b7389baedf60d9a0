/* site_core_internal.h: what every part of the twin stands on: the queue of events, and random
 * numbers that are hashed, so that the same entity draws the same luck whatever others do. */
#ifndef COLOSSUS_SITE_CORE_INTERNAL_H
#define COLOSSUS_SITE_CORE_INTERNAL_H

#include "site/site.h"

/* ------------------------------------------------------------------ time */

typedef int64_t site_us; /* microseconds since the scenario began */
#define SITE_SECOND ((site_us)1000000)
#define SITE_HOUR   (3600 * SITE_SECOND)
#define SITE_DAY    (24 * SITE_HOUR)
#define SITE_NEVER  INT64_MAX

/* The next whole microsecond; SITE_NEVER beyond what an int64_t holds. */
site_us site_us_of(double seconds);
static inline double site_seconds(site_us t)
{
    return (double)t * 1e-6;
}

/* ------------------------------------------------------------------ the queue (site_queue.c) */

struct site_queued {
    site_us at;
    uint32_t kind, id;   /* ties are handed out in this order */
    uint32_t generation; /* of what it is about: an older one was cancelled */
    uint32_t extra;
};
/* A heap of four children a node; {0} is empty. */
struct site_queue {
    struct site_queued *items;
    size_t n, cap;
};
void site_queue_fini(struct site_queue *q);
void site_queue_push(struct site_queue *q, struct site_queued item);
const struct site_queued *site_queue_first(const struct site_queue *q); /* NULL: empty */
struct site_queued site_queue_pop(struct site_queue *q);                /* not of an empty one */

/* ------------------------------------------------------------------ luck (site_draw.c) */

/* A series of draws of one entity; its n-th draw is a function of (seed, entity, n). */
struct site_stream {
    uint64_t entity, n;
};
/* Kinds of entities, in the high bits: no two share a series. */
enum site_entity {
    SITE_OF_COHORT = 1,
    SITE_OF_REPAIR,
    SITE_OF_JOB,
    SITE_OF_CAUSE,
    SITE_OF_GAS,
    SITE_OF_UNIT,
    SITE_OF_EVENT
};
struct site_stream site_stream_of(enum site_entity kind, uint64_t id);
double site_uniform(uint64_t seed, struct site_stream *s);     /* (0, 1) */
double site_exponential(uint64_t seed, struct site_stream *s); /* mean 1 */
/* A number below n in proportion to weights, of one uniform draw; -1 where all are 0. */
int site_pick(double u, const double *weights, int n);

#endif
