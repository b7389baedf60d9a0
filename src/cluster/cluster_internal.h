/* cluster_internal.h: what a transport gives, and what the files of the room share. */
#ifndef COLOSSUS_CLUSTER_INTERNAL_H
#define COLOSSUS_CLUSTER_INTERNAL_H

#include "cluster/cluster.h"
#include "cluster/cluster_transport_internal.h"

#include <pthread.h>
#include <stdatomic.h>

/* Work in the foreground and in the background may be under way at once in one group: each has a
 * lane of its own, so that their messages are never taken for each other. */
enum cluster_lane { LANE_FRONT, LANE_BACK, N_LANES };

/* A wait of one lane that has become long. */
struct cluster_wait {
    const char *what, *group; /* NULL: none */
    int rank;                 /* the first of the job that has not answered */
    double since_s;
};
struct cluster_hang { /* cluster_hang.c */
    bool running, stop;
    double limit_s;
    char *path;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
};

struct cluster {
    struct cluster_transport *transport; /* NULL: one process */
    void *library;                       /* dlopen's; NULL: the transport is the caller's */
    int rank, size;
    double timeout_s;
    bool patient; /* more ranks than CPUs here: a waiting rank gives its CPU away at once */
    uint32_t n_groups;
    group_t *world;
    pthread_mutex_t transport_lock; /* no two threads are inside the transport at once */

    atomic_bool failed; /* `error` is filled and stays */
    pthread_mutex_t error_lock;
    struct error error;
    struct cluster_wait waits[N_LANES]; /* under error_lock */
    struct cluster_hang hang;
    struct {
        atomic_bool on;
        pthread_mutex_t lock;
        struct cluster_span *list;
        size_t n, cap, lost;
        double start_s;
    } spans; /* cluster_spans.c */

    atomic_uint_fast64_t bytes, messages; /* sent */
    atomic_uint_fast64_t finished;        /* waits that came to an end */
    _Atomic double wait_s, blocked_s, blocked_cpu_s;
    _Atomic double starved_s; /* of the background's thread, as it said last */
    atomic_bool stands;       /* the caller's thread waits for the background's */

    /* The thread of the background, started with the first work. */
    pthread_t thread;
    bool has_thread;
    pthread_mutex_t queue_lock;
    pthread_cond_t queue_changed;
    struct group_ticket *first, *last;
    bool stop;
};

struct group {
    cluster_t *cluster;
    const char *name;
    uint32_t id;
    int rank, size;
    int *ranks; /* [size] of the job */
    struct group_lane {
        void *scratch; /* grows to what the largest call needs */
        size_t scratch_bytes;
        struct cluster_message *messages; /* [2, 2 * size] under way, of two rounds */
        const void **from;                /* [size] */
        size_t *bounds;                   /* [size + 1] */
    } lanes[N_LANES];
};

/* A job over a transport that the caller made (tests; cluster_open uses it, too). Takes ownership of
 * nothing; the transport must outlive the job. */
cluster_t *cluster_over(struct cluster_transport *t, const struct cluster_options *o);

/* ------------------------------------------------------------------ cluster_link.c */

/* A transport whose messages take at least as long as on a network of that rate and latency; takes
 * ownership of `below`. */
struct cluster_transport *cluster_link_over(struct cluster_transport *below, double bytes_per_s,
                                            double latency_s);
/* Puts one over *t where COLOSSUS_LINK asks for it. */
int cluster_link_from_environment(struct cluster_transport **t, struct error *e);

/* ------------------------------------------------------------------ cluster_spans.c */

/* A call of a group that began at cluster_span_begin's answer and is done. */
void cluster_span_messages(const group_t *g, enum cluster_lane lane, double begin_s,
                           const char *name);

/* ------------------------------------------------------------------ cluster_hang.c */

void cluster_hang_end(cluster_t *c);

/* ------------------------------------------------------------------ cluster_messages.c */

struct cluster_message {
    void *request; /* the transport's; NULL: done or none */
    int peer;      /* in the group */
    bool sends;
    size_t bytes; /* that must go or come */
};
/* Starts sending or receiving `bytes` and keeps the message at *m; 0 bytes: nothing is sent. */
int cluster_message_send(group_t *g, enum cluster_lane lane, struct cluster_message *m, int peer,
                         const void *data, size_t bytes);
int cluster_message_recv(group_t *g, enum cluster_lane lane, struct cluster_message *m, int peer,
                         void *data, size_t bytes);
/* Waits for n of them. `what` ("sum") is for the error. */
int cluster_messages_wait(group_t *g, enum cluster_lane lane, struct cluster_message *m, int n,
                          const char *what);
/* Forgets those of n that are still under way, after an error. */
void cluster_messages_cancel(group_t *g, struct cluster_message *m, int n);
/* The error that stuck, into *e; 0: none. */
int cluster_failed(cluster_t *c, struct error *e);
/* The rank that the caller's thread cannot go on without, for some milliseconds by now; -1: none. */
int cluster_waits_for(cluster_t *c);
void cluster_add_seconds(_Atomic double *sum, double seconds);
void *cluster_scratch(group_t *g, enum cluster_lane lane, size_t bytes);

/* ------------------------------------------------------------------ cluster_collectives.c
 * The work of a ticket, in one lane; the error sticks to the job. */
int cluster_work(const struct group_ticket *t, enum cluster_lane lane);

#endif
