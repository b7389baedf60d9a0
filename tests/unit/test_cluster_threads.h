/* test_cluster_threads.h: a transport whose ranks are threads of this process, for tests. Messages
 * are copied into mailboxes; they can be kept back, or swallowed, to play a slow or dead rank. */
#ifndef TEST_CLUSTER_THREADS_H
#define TEST_CLUSTER_THREADS_H

#include "cluster/cluster_internal.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct mail {
    int from, to;
    uint32_t tag;
    size_t bytes;
    double due_s; /* not delivered before */
    struct mail *next;
    uint8_t data[];
};
struct office { /* of one job */
    pthread_mutex_t lock;
    struct mail *first, *last;
    double delay_s;
    int dead;                                /* whose messages are swallowed; -1: nobody's */
    double link_bytes_per_s, link_latency_s; /* 0: no slower network is played */
    int size;
};
struct desk { /* of one rank */
    struct cluster_transport table;
    struct office *office;
};
struct mail_request {
    bool receives;
    int peer;
    uint32_t tag;
    void *data;
    size_t bytes;
};

static int desk_request(void **request, struct mail_request r)
{
    *request = mem_alloc(sizeof(r));
    memcpy(*request, &r, sizeof(r));
    return 0;
}

static int desk_send(struct cluster_transport *t, int peer, uint32_t tag, const void *data,
                     size_t bytes, void **request)
{
    struct office *o = ((struct desk *)t->ctx)->office;
    struct mail *m = mem_alloc(sizeof(*m) + bytes);
    *m = (struct mail){t->rank, peer, tag, bytes, time_now_s() + o->delay_s, NULL};
    memcpy(m->data, data, bytes);
    pthread_mutex_lock(&o->lock);
    if (o->dead == t->rank) {
        mem_free(m);
    } else {
        if (o->last)
            o->last->next = m;
        else
            o->first = m;
        o->last = m;
    }
    pthread_mutex_unlock(&o->lock);
    return desk_request(request, (struct mail_request){.peer = peer, .tag = tag, .bytes = bytes});
}

static int desk_recv(struct cluster_transport *t, int peer, uint32_t tag, void *data, size_t bytes,
                     void **request)
{
    (void)t;
    return desk_request(request, (struct mail_request){true, peer, tag, data, bytes});
}

/* Takes the first message of the pair and tag out of the office; NULL: there is none that is due. */
static struct mail *desk_take(struct office *o, int from, int to, uint32_t tag)
{
    struct mail *before = NULL;
    for (struct mail *m = o->first; m; before = m, m = m->next) {
        if (m->from != from || m->to != to || m->tag != tag) continue;
        if (m->due_s > time_now_s()) return NULL;
        if (before)
            before->next = m->next;
        else
            o->first = m->next;
        if (o->last == m) o->last = before;
        return m;
    }
    return NULL;
}

static int desk_test(struct cluster_transport *t, void **request, size_t *bytes)
{
    struct office *o = ((struct desk *)t->ctx)->office;
    struct mail_request *r = *request;
    if (r->receives) {
        pthread_mutex_lock(&o->lock);
        struct mail *m = desk_take(o, r->peer, t->rank, r->tag);
        pthread_mutex_unlock(&o->lock);
        if (!m) return 0;
        memcpy(r->data, m->data, MIN(m->bytes, r->bytes));
        *bytes = m->bytes;
        mem_free(m);
    }
    mem_free(r);
    *request = NULL;
    return 1;
}

static void desk_cancel(struct cluster_transport *t, void **request)
{
    (void)t;
    mem_free(*request);
    *request = NULL;
}

static void desk_close(struct cluster_transport *t)
{
    (void)t;
}

static void desk_init(struct desk *d, struct office *o, int rank)
{
    *d = (struct desk){.office = o};
    d->table = (struct cluster_transport){.version = CLUSTER_TRANSPORT_VERSION,
                                          .ctx = d,
                                          .rank = rank,
                                          .size = o->size,
                                          .local_size = o->size,
                                          .send = desk_send,
                                          .recv = desk_recv,
                                          .test = desk_test,
                                          .cancel = desk_cancel,
                                          .close = desk_close};
    snprintf(d->table.name, sizeof(d->table.name), "threads");
}

/* What each rank of a job does; ctx is the same for all. */
typedef void rank_fn(cluster_t *c, void *ctx);

struct rank_thread {
    struct desk desk;
    pthread_t thread;
    rank_fn *fn;
    void *ctx;
    struct cluster_options options;
};

static void *rank_main(void *arg)
{
    struct rank_thread *r = arg;
    const struct office *o = r->desk.office;
    struct cluster_transport *t = &r->desk.table;
    if (o->link_bytes_per_s > 0) t = cluster_link_over(t, o->link_bytes_per_s, o->link_latency_s);
    cluster_t *c = cluster_over(t, &r->options);
    r->fn(c, r->ctx);
    cluster_close(c);
    if (t != &r->desk.table) t->close(t);
    return NULL;
}

/* Runs fn on `size` ranks at once and returns when all are done; o->size is set. */
static void run_ranks(struct office *o, int size, double timeout_s, rank_fn *fn, void *ctx)
{
    struct rank_thread *ranks = mem_calloc((size_t)size, sizeof(*ranks));
    pthread_mutex_init(&o->lock, NULL);
    o->size = size;
    for (int i = 0; i < size; i++) {
        ranks[i].fn = fn;
        ranks[i].ctx = ctx;
        ranks[i].options.timeout_s = timeout_s;
        desk_init(&ranks[i].desk, o, i);
        CHECK(pthread_create(&ranks[i].thread, NULL, rank_main, &ranks[i]) == 0);
    }
    for (int i = 0; i < size; i++)
        pthread_join(ranks[i].thread, NULL);
    while (o->first) {
        struct mail *m = o->first;
        o->first = m->next;
        mem_free(m);
    }
    o->last = NULL;
    pthread_mutex_destroy(&o->lock);
    mem_free(ranks);
}

#endif
