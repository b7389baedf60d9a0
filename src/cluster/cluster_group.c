/* cluster_group.c: groups, and the thread that works for them in the background.
 *
 * A group sends nothing when it is made: every member counts its groups in the same order, and that
 * count, with the lane, is the tag of its messages. The background has one thread for each job,
 * started with the first work; it takes tickets in the order in which they were started, which must
 * be the same for all members. */
#include "cluster/cluster_internal.h"

#include <string.h>

group_t *group_new(cluster_t *c, const char *name, const int *ranks, int size)
{
    group_t *g = mem_calloc(1, sizeof(*g));
    *g = (group_t){.cluster = c, .name = name, .id = c->n_groups++, .rank = -1, .size = size};
    CHECK(size >= 1 && g->id * N_LANES + N_LANES <= CLUSTER_TAG_MAX);
    g->ranks = mem_calloc((size_t)size, sizeof(*g->ranks));
    for (int i = 0; i < size; i++) {
        CHECK(ranks[i] >= 0 && ranks[i] < c->size);
        g->ranks[i] = ranks[i];
        if (ranks[i] == c->rank) g->rank = i;
    }
    CHECK(g->rank >= 0);
    for (int i = 0; i < N_LANES; i++) {
        struct group_lane *l = &g->lanes[i];
        l->messages = mem_calloc(4 * (size_t)size, sizeof(*l->messages));
        l->from = mem_calloc((size_t)size, sizeof(*l->from));
        l->bounds = mem_calloc((size_t)size + 1, sizeof(*l->bounds));
    }
    return g;
}

void group_free(group_t *g)
{
    if (!g) return;
    for (int i = 0; i < N_LANES; i++) {
        mem_free(g->lanes[i].scratch);
        mem_free(g->lanes[i].messages);
        mem_free(g->lanes[i].from);
        mem_free(g->lanes[i].bounds);
    }
    mem_free(g->ranks);
    mem_free(g);
}

group_t *group_world(cluster_t *c)
{
    return c->world;
}

int group_rank(const group_t *g)
{
    return g->rank;
}

int group_size(const group_t *g)
{
    return g->size;
}

/* ------------------------------------------------------------------ the background */

static struct group_ticket *next_ticket(cluster_t *c)
{
    pthread_mutex_lock(&c->queue_lock);
    while (!c->first && !c->stop)
        pthread_cond_wait(&c->queue_changed, &c->queue_lock);
    struct group_ticket *t = c->first;
    pthread_mutex_unlock(&c->queue_lock);
    return t;
}

static void settle(cluster_t *c, struct group_ticket *t)
{
    pthread_mutex_lock(&c->queue_lock);
    c->first = t->next;
    if (!c->first) c->last = NULL;
    t->done = true; /* from here on it is the caller's */
    pthread_cond_broadcast(&c->queue_changed);
    pthread_mutex_unlock(&c->queue_lock);
}

static void *work_in_background(void *arg)
{
    cluster_t *c = arg;
    struct group_ticket *t;
    mem_alloc_count_skip_thread();
    while ((t = next_ticket(c))) {
        cluster_work(t, LANE_BACK); /* its error sticks */
        atomic_store(&c->starved_s, thread_time().starved_s);
        settle(c, t);
    }
    return NULL;
}

void group_start(struct group_ticket *t)
{
    cluster_t *c = t->group->cluster;
    t->next = NULL;
    t->done = t->group->size == 1;
    if (t->done) return;
    pthread_mutex_lock(&c->queue_lock);
    if (!c->has_thread) {
        int rc = pthread_create(&c->thread, NULL, work_in_background, c);
        c->has_thread = rc == 0;
    }
    if (c->has_thread) {
        if (c->last)
            c->last->next = t;
        else
            c->first = t;
        c->last = t;
        pthread_cond_broadcast(&c->queue_changed);
    }
    bool alone = !c->has_thread;
    pthread_mutex_unlock(&c->queue_lock);
    if (!alone) return;
    cluster_work(t, LANE_BACK); /* no thread to be had: here and now */
    t->done = true;
}

int group_wait(struct group_ticket *t, struct error *e)
{
    cluster_t *c = t->group->cluster;
    pthread_mutex_lock(&c->queue_lock);
    if (!t->done) {
        double start_s = time_now_s();
        atomic_store_explicit(&c->stands, true, memory_order_relaxed);
        while (!t->done)
            pthread_cond_wait(&c->queue_changed, &c->queue_lock);
        atomic_store_explicit(&c->stands, false, memory_order_relaxed);
        cluster_add_seconds(&c->blocked_s, time_now_s() - start_s);
    }
    pthread_mutex_unlock(&c->queue_lock);
    return cluster_failed(c, e);
}
