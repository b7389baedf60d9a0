/* serve_queue.c: jobs that wait for the engine, and whose turn it is.
 *
 * Clients, not requests, share the server: of those that wait the one goes first whose jobs have the
 * fewest sequences now, of equal ones the one whose last turn is longest ago; a client's own jobs keep
 * their order. So one client with many requests waits behind itself, not others behind it.
 *
 * The queue is bounded for all together. A client whose own part of it is less than its share finds a
 * place when others have filled it; all such places together are no more than the queue again. */
#include "serve/api/serve_engine_internal.h"

static struct queue_client *find(const struct job_queue *q, uint64_t id)
{
    struct queue_client *c = q->clients;
    while (c && c->id != id)
        c = c->next;
    return c;
}

static struct queue_client *find_or_add(struct job_queue *q, uint64_t id)
{
    struct queue_client *c = find(q, id);
    if (c) return c;
    c = mem_calloc(1, sizeof(*c));
    c->id = id;
    c->end = &c->first;
    c->next = q->clients;
    q->clients = c;
    return c;
}

/* A client of whom nothing is here any more. */
static void forget_idle(struct job_queue *q, struct queue_client *c)
{
    if (c->waiting + c->places + c->jobs > 0) return;
    struct queue_client **at = &q->clients;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    mem_free(c);
}

bool job_queue_reserve(struct job_queue *q, uint64_t client)
{
    int64_t all = q->waiting + q->places, own = 0, clients = 1;
    for (const struct queue_client *c = q->clients; c; c = c->next) {
        if (c->id == client) own = c->waiting + c->places;
        clients += c->id != client && c->waiting + c->places > 0;
    }
    int64_t share = MAX(q->most / clients, 1);
    if (all >= q->most && (own >= share || all >= 2 * q->most)) return false;
    find_or_add(q, client)->places++;
    q->places++;
    return true;
}

void job_queue_unreserve(struct job_queue *q, uint64_t client)
{
    struct queue_client *c = find(q, client);
    CHECK(c && c->places > 0);
    c->places--;
    q->places--;
    forget_idle(q, c);
}

void job_queue_push(struct job_queue *q, struct engine_job *job)
{
    struct queue_client *c = find(q, job->client);
    CHECK(c && c->places > 0);
    c->places--;
    q->places--;
    c->waiting++;
    q->waiting++;
    c->jobs++;
    job->next = NULL;
    job->of = c;
    *c->end = job;
    c->end = &job->next;
}

struct engine_job *job_queue_first(const struct job_queue *q)
{
    const struct queue_client *best = NULL;
    for (const struct queue_client *c = q->clients; c; c = c->next) {
        if (!c->first) continue;
        if (!best || c->sequences < best->sequences ||
            (c->sequences == best->sequences && c->turn < best->turn) ||
            (c->sequences == best->sequences && c->turn == best->turn &&
             c->first->queued_s < best->first->queued_s))
            best = c;
    }
    return best ? best->first : NULL;
}

static void take(struct job_queue *q, struct engine_job **at)
{
    struct engine_job *job = *at;
    struct queue_client *c = job->of;
    *at = job->next;
    if (!*at) c->end = at;
    c->waiting--;
    q->waiting--;
    job->next = NULL;
}

void job_queue_take(struct job_queue *q, struct engine_job *job)
{
    struct queue_client *c = job->of;
    CHECK(c->first == job);
    take(q, &c->first);
    c->sequences += job->n;
    c->turn = ++q->turns;
}

struct engine_job *job_queue_sift(struct job_queue *q, bool (*leaves)(void *, struct engine_job *),
                                  void *ctx)
{
    struct engine_job *gone = NULL, *job;
    for (struct queue_client *c = q->clients; c; c = c->next)
        for (struct engine_job **at = &c->first; (job = *at);) {
            if (!leaves(ctx, job)) {
                at = &job->next;
                continue;
            }
            take(q, at);
            job->next = gone;
            gone = job;
        }
    return gone;
}

void job_queue_end(struct job_queue *q, struct engine_job *job, bool taken)
{
    struct queue_client *c = job->of;
    c->jobs--;
    if (taken) c->sequences -= job->n;
    job->of = NULL;
    forget_idle(q, c);
}
