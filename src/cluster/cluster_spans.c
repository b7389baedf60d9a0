/* cluster_spans.c: what a rank does when, for a picture of a step: its own work as the caller names it,
 * and its calls of groups, which name themselves. Between cluster_record and the next one spans go
 * into the caller's array, of all threads; at any other time nothing is kept. */
#include "cluster/cluster_internal.h"

void cluster_record(cluster_t *c, struct cluster_span *spans, size_t cap)
{
    pthread_mutex_lock(&c->spans.lock);
    c->spans.list = spans;
    c->spans.cap = spans ? cap : 0;
    c->spans.n = c->spans.lost = 0;
    c->spans.start_s = time_now_s();
    atomic_store(&c->spans.on, spans != NULL);
    pthread_mutex_unlock(&c->spans.lock);
}

size_t cluster_recorded(cluster_t *c, size_t *lost)
{
    pthread_mutex_lock(&c->spans.lock);
    size_t n = c->spans.n;
    *lost = c->spans.lost;
    pthread_mutex_unlock(&c->spans.lock);
    return n;
}

double cluster_span_begin(const cluster_t *c)
{
    return c && atomic_load_explicit(&c->spans.on, memory_order_relaxed) ? time_now_s() : 0;
}

static void keep(cluster_t *c, struct cluster_span s)
{
    pthread_mutex_lock(&c->spans.lock);
    s.begin_s -= c->spans.start_s;
    s.end_s -= c->spans.start_s;
    if (!c->spans.list || s.begin_s < 0) {
        /* begun before the recording, or ended behind it */
    } else if (c->spans.n < c->spans.cap) {
        c->spans.list[c->spans.n++] = s;
    } else {
        c->spans.lost++;
    }
    pthread_mutex_unlock(&c->spans.lock);
}

void cluster_span_end(cluster_t *c, double begin_s, const char *name)
{
    if (begin_s > 0)
        keep(c, (struct cluster_span){name, NULL, CLUSTER_SPAN_WORK, begin_s, time_now_s()});
}

void cluster_span_messages(const group_t *g, enum cluster_lane lane, double begin_s,
                           const char *name)
{
    if (begin_s > 0)
        keep(g->cluster,
             (struct cluster_span){name, g->name,
                                   lane == LANE_BACK ? CLUSTER_SPAN_BACKGROUND : CLUSTER_SPAN_CALL,
                                   begin_s, time_now_s()});
}
