/* cluster_messages.c: messages under way: starting them, waiting with patience, and the error that
 * sticks.
 *
 * A rank that waits asks the transport again and again, because MPI makes progress only inside its
 * calls. For the first microseconds it does nothing else; then it offers its CPU to others, and
 * after some milliseconds it sleeps between questions; beside a thread that computes it sleeps at once.
 * Where a machine has more ranks than CPUs it offers its CPU from the start: whoever it waits for may
 * need just that one. */
#include "cluster/cluster_internal.h"

#include <inttypes.h>
#include <sched.h>
#include <string.h>
#include <time.h>

#define SPIN_S      20e-6
#define YIELD_S     5e-3
#define NAP_NS      50000
#define LONG_NAP_NS 500000

/* ------------------------------------------------------------------ errors that stick */

int cluster_failed(cluster_t *c, struct error *e)
{
    if (!atomic_load_explicit(&c->failed, memory_order_acquire)) return 0;
    if (e) *e = c->error; /* not written again */
    return c->error.code;
}

/* The first one counts. */
static int stick(cluster_t *c, const struct error *e)
{
    pthread_mutex_lock(&c->error_lock);
    if (!atomic_load(&c->failed)) {
        c->error = *e;
        atomic_store_explicit(&c->failed, true, memory_order_release);
    }
    pthread_mutex_unlock(&c->error_lock);
    return e->code;
}

static int fail(group_t *g, int peer, const char *why)
{
    struct error e = {0};
    error_set(&e, "rank %d, group %s: a message with rank %d failed: %s", g->cluster->rank, g->name,
              g->ranks[peer], why);
    return stick(g->cluster, &e);
}

/* ------------------------------------------------------------------ starting */

static uint32_t tag_of(const group_t *g, enum cluster_lane lane)
{
    return (g->id * N_LANES + (uint32_t)lane) % CLUSTER_TAG_MAX;
}

int cluster_message_send(group_t *g, enum cluster_lane lane, struct cluster_message *m, int peer,
                         const void *data, size_t bytes)
{
    cluster_t *c = g->cluster;
    *m = (struct cluster_message){.peer = peer, .sends = true, .bytes = bytes};
    if (bytes == 0) return 0;
    TRY(cluster_failed(c, NULL));
    CHECK(bytes <= CLUSTER_MESSAGE_MAX);
    pthread_mutex_lock(&c->transport_lock);
    int rc =
        c->transport->send(c->transport, g->ranks[peer], tag_of(g, lane), data, bytes, &m->request);
    pthread_mutex_unlock(&c->transport_lock);
    atomic_fetch_add_explicit(&c->bytes, bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&c->messages, 1, memory_order_relaxed);
    return rc < 0 ? fail(g, peer, c->transport->error) : 0;
}

int cluster_message_recv(group_t *g, enum cluster_lane lane, struct cluster_message *m, int peer,
                         void *data, size_t bytes)
{
    cluster_t *c = g->cluster;
    *m = (struct cluster_message){.peer = peer, .bytes = bytes};
    if (bytes == 0) return 0;
    TRY(cluster_failed(c, NULL));
    CHECK(bytes <= CLUSTER_MESSAGE_MAX);
    pthread_mutex_lock(&c->transport_lock);
    int rc =
        c->transport->recv(c->transport, g->ranks[peer], tag_of(g, lane), data, bytes, &m->request);
    pthread_mutex_unlock(&c->transport_lock);
    return rc < 0 ? fail(g, peer, c->transport->error) : 0;
}

/* ------------------------------------------------------------------ waiting */

/* Asks once for each message that is under way; how many still are, or negative. */
static int ask(group_t *g, struct cluster_message *m, int n)
{
    cluster_t *c = g->cluster;
    int left = 0;
    for (int i = 0; i < n; i++) {
        size_t bytes = 0;
        if (!m[i].request) continue;
        pthread_mutex_lock(&c->transport_lock);
        int rc = c->transport->test(c->transport, &m[i].request, &bytes);
        pthread_mutex_unlock(&c->transport_lock);
        if (rc < 0) return fail(g, m[i].peer, c->transport->error);
        if (rc == 0) {
            left++;
        } else if (!m[i].sends && bytes != m[i].bytes) {
            char why[128];
            snprintf(why, sizeof(why), "%zu bytes arrived where %zu were expected", bytes,
                     m[i].bytes);
            return fail(g, m[i].peer, why);
        }
    }
    return left;
}

/* Names whom it waits for: the first that has not answered. */
static int too_late(group_t *g, const struct cluster_message *m, int n, const char *what)
{
    cluster_t *c = g->cluster;
    struct error e = {0};
    int i = 0;
    while (i < n && !m[i].request)
        i++;
    error_set(&e, "rank %d, group %s: %s has waited %g s for rank %d", c->rank, g->name, what,
              c->timeout_s, g->ranks[m[i].peer]);
    if (c->hang.running)
        error_hint(&e,
                   "that rank has died, hangs, or is slower than cluster.timeout; what each rank "
                   "was at stands beside '%s'",
                   c->hang.path);
    else
        error_hint(&e, "that rank has died, hangs, or is slower than the limit on waiting");
    return stick(c, &e);
}

/* While the other thread computes it wants this CPU: a wait in the back of more than a moment sleeps,
 * longer the longer it has taken, so that it costs that thread about a hundredth. */
static void pause_for(const cluster_t *c, enum cluster_lane lane, double waited_s)
{
    const bool back = lane == LANE_BACK && !atomic_load_explicit(&c->stands, memory_order_relaxed);
    if (waited_s > (back ? SPIN_S : YIELD_S)) {
        const double longer_ns = back ? fmin(1e9 * waited_s / 8, LONG_NAP_NS) : 0;
        struct timespec nap = {.tv_nsec = (long)fmax(NAP_NS, longer_ns)};
        nanosleep(&nap, NULL);
    } else if (c->patient || waited_s > SPIN_S) {
        sched_yield();
    }
}

void cluster_add_seconds(_Atomic double *sum, double seconds)
{
    double was = atomic_load_explicit(sum, memory_order_relaxed);
    while (!atomic_compare_exchange_weak(sum, &was, was + seconds)) {
    }
}

/* For who asks where this rank is: of a wait that has become long, the first that is awaited. */
static void note_wait(group_t *g, enum cluster_lane lane, const struct cluster_message *m,
                      const struct cluster_wait *w)
{
    cluster_t *c = g->cluster;
    struct cluster_wait now = *w;
    while (now.what && !m->request) /* there is one that has not come */
        m++;
    if (now.what) now.rank = g->ranks[m->peer];
    pthread_mutex_lock(&c->error_lock);
    c->waits[lane] = now;
    pthread_mutex_unlock(&c->error_lock);
}

int cluster_waits_for(cluster_t *c)
{
    pthread_mutex_lock(&c->error_lock);
    const struct cluster_wait *w = &c->waits[LANE_FRONT];
    if (!w->what && atomic_load_explicit(&c->stands, memory_order_relaxed))
        w = &c->waits[LANE_BACK];
    int rank = w->what ? w->rank : -1;
    pthread_mutex_unlock(&c->error_lock);
    return rank;
}

int cluster_messages_wait(group_t *g, enum cluster_lane lane, struct cluster_message *m, int n,
                          const char *what)
{
    cluster_t *c = g->cluster;
    double start_s = time_now_s(), waited_s = 0, cpu_s = thread_cpu_s();
    bool noted = false;
    int left;
    while ((left = ask(g, m, n)) > 0) {
        TRY(cluster_failed(c, NULL)); /* the other thread's */
        waited_s = time_now_s() - start_s;
        if (c->timeout_s > 0 && waited_s > c->timeout_s) return too_late(g, m, n, what);
        noted = waited_s > YIELD_S;
        if (noted) note_wait(g, lane, m, &(struct cluster_wait){what, g->name, 0, start_s});
        pause_for(c, lane, waited_s);
    }
    if (noted) note_wait(g, lane, m, &(struct cluster_wait){0});
    cluster_add_seconds(&c->wait_s, waited_s);
    if (lane == LANE_FRONT) {
        cluster_add_seconds(&c->blocked_s, waited_s);
        cluster_add_seconds(&c->blocked_cpu_s, thread_cpu_s() - cpu_s);
    }
    atomic_fetch_add_explicit(&c->finished, 1, memory_order_relaxed);
    return left;
}

void cluster_messages_cancel(group_t *g, struct cluster_message *m, int n)
{
    cluster_t *c = g->cluster;
    pthread_mutex_lock(&c->transport_lock);
    for (int i = 0; i < n; i++) {
        if (m[i].request) c->transport->cancel(c->transport, &m[i].request);
    }
    pthread_mutex_unlock(&c->transport_lock);
}

void *cluster_scratch(group_t *g, enum cluster_lane lane, size_t bytes)
{
    struct group_lane *l = &g->lanes[lane];
    if (bytes > l->scratch_bytes) {
        mem_free(l->scratch);
        l->scratch = mem_alloc_aligned(bytes, 64);
        l->scratch_bytes = bytes;
    }
    return l->scratch;
}

struct cluster_traffic cluster_traffic(const cluster_t *c)
{
    return (struct cluster_traffic){.bytes = atomic_load(&c->bytes),
                                    .messages = atomic_load(&c->messages),
                                    .wait_s = atomic_load(&c->wait_s),
                                    .blocked_s = atomic_load(&c->blocked_s),
                                    .blocked_cpu_s = atomic_load(&c->blocked_cpu_s),
                                    .starved_s = atomic_load(&c->starved_s)};
}
