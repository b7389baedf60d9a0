/* cluster_link.c: what a job would be on a slower network: a transport over another one, whose
 * messages take as long as those of a network of the given rate and latency.
 *
 * COLOSSUS_LINK="100 MB/s" or "1.25 GB/s, 0.02 ms" asks for it. Each rank has one way out: messages
 * leave one after the other, each for bytes / rate seconds, and are on their way for the latency. The
 * transport below carries each at once, behind a message of its own that says when it is due, and the
 * receiver does not see it before. So a step that is not slower for it has hidden that much
 * communication behind its work: nobody needs a CPU at the moment when a message leaves, as nobody
 * does with a network card. "When" is a clock that all ranks must share: they are of one machine. */
#include "cluster/cluster_internal.h"

#include <stdlib.h>
#include <string.h>

struct link_request {
    void *stamp, *data; /* requests of the transport below; NULL: done */
    double due_s;       /* when the receiver may have it: what the stamp carries */
    double left_s;      /* when the sender is rid of it; 0: this is a receiver's */
    size_t bytes;
    struct link_request *next; /* in the list of idle ones */
};
struct link {
    struct cluster_transport table;
    struct cluster_transport *below;
    double bytes_per_s, latency_s;
    double free_s; /* from then on the next message can leave */
    struct link_request *idle;
};

static struct link_request *take_request(struct link *l)
{
    struct link_request *r = l->idle;
    if (!r) return mem_calloc(1, sizeof(*r));
    l->idle = r->next;
    *r = (struct link_request){0};
    return r;
}

static void give_request(struct link *l, void **request)
{
    struct link_request *r = *request;
    r->next = l->idle;
    l->idle = r;
    *request = NULL;
}

/* What went wrong below is told by this table. */
static int told(struct link *l, int rc)
{
    if (rc < 0) memcpy(l->table.error, l->below->error, sizeof(l->table.error));
    return rc;
}

static void cancel_below(struct link *l, struct link_request *r)
{
    if (r->stamp) l->below->cancel(l->below, &r->stamp);
    if (r->data) l->below->cancel(l->below, &r->data);
}

/* Both messages are under way, or neither. */
static int begun(struct link *l, void **request, int rc)
{
    if (rc >= 0) return 0;
    cancel_below(l, *request);
    give_request(l, request);
    return told(l, rc);
}

static int link_send(struct cluster_transport *t, int peer, uint32_t tag, const void *data,
                     size_t bytes, void **request)
{
    struct link *l = t->ctx;
    struct link_request *r = take_request(l);
    double now_s = time_now_s();
    l->free_s = MAX(now_s, l->free_s) + (double)bytes / l->bytes_per_s;
    r->left_s = l->free_s;
    r->due_s = l->free_s + l->latency_s;
    *request = r;
    int rc = l->below->send(l->below, peer, tag, &r->due_s, sizeof(r->due_s), &r->stamp);
    if (rc >= 0) rc = l->below->send(l->below, peer, tag, data, bytes, &r->data);
    return begun(l, request, rc);
}

/* Messages of one tag between two ranks keep their order, so the stamp is taken for the stamp. */
static int link_recv(struct cluster_transport *t, int peer, uint32_t tag, void *data, size_t bytes,
                     void **request)
{
    struct link *l = t->ctx;
    struct link_request *r = take_request(l);
    *request = r;
    int rc = l->below->recv(l->below, peer, tag, &r->due_s, sizeof(r->due_s), &r->stamp);
    if (rc >= 0) rc = l->below->recv(l->below, peer, tag, data, bytes, &r->data);
    return begun(l, request, rc);
}

static int link_test(struct cluster_transport *t, void **request, size_t *bytes)
{
    struct link *l = t->ctx;
    struct link_request *r = *request;
    size_t stamp_bytes = 0;
    if (r->stamp) {
        int rc = l->below->test(l->below, &r->stamp, &stamp_bytes);
        if (rc <= 0) return told(l, rc);
    }
    if (r->data) {
        int rc = l->below->test(l->below, &r->data, &r->bytes);
        if (rc <= 0) return told(l, rc);
    }
    if (time_now_s() < (r->left_s > 0 ? r->left_s : r->due_s)) return 0;
    *bytes = r->bytes;
    give_request(l, request);
    return 1;
}

static void link_cancel(struct cluster_transport *t, void **request)
{
    struct link *l = t->ctx;
    cancel_below(l, *request);
    give_request(l, request);
}

static void link_close(struct cluster_transport *t)
{
    struct link *l = t->ctx;
    l->below->close(l->below);
    while (l->idle) {
        struct link_request *r = l->idle;
        l->idle = r->next;
        mem_free(r);
    }
    mem_free(l);
}

static void link_abort(struct cluster_transport *t, int exit_code)
{
    struct link *l = t->ctx;
    l->below->abort(l->below, exit_code);
}

struct cluster_transport *cluster_link_over(struct cluster_transport *below, double bytes_per_s,
                                            double latency_s)
{
    struct link *l = mem_calloc(1, sizeof(*l));
    *l = (struct link){
        .table = *below, .below = below, .bytes_per_s = bytes_per_s, .latency_s = latency_s};
    l->table.ctx = l;
    l->table.send = link_send;
    l->table.recv = link_recv;
    l->table.test = link_test;
    l->table.cancel = link_cancel;
    l->table.close = link_close;
    l->table.abort = link_abort;
    size_t used = strlen(l->table.name);
    snprintf(l->table.name + used, sizeof(l->table.name) - used, ", slowed by COLOSSUS_LINK");
    return &l->table;
}

/* All ranks find the same; one says it. No other start of theirs would go better. */
static int refuse(const struct cluster_transport *t, struct error *e)
{
    e->code = ERROR_CONFIG;
    if (t->rank > 0) e->text[0] = '\0';
    return error_hint(e, "for example COLOSSUS_LINK='1.25 GB/s, 0.02 ms'");
}

static int no_link(const struct cluster_transport *t, const char *text, struct error *e)
{
    error_set(e, "COLOSSUS_LINK is '%s', and that is no rate, with or without a latency", text);
    return refuse(t, e);
}

int cluster_link_from_environment(struct cluster_transport **t, struct error *e)
{
    const char *text = getenv("COLOSSUS_LINK"), *unit;
    char rate[64];
    double bytes_per_s, latency_s = 0;
    if (!text || !*text || !*t) return 0;
    size_t n = strcspn(text, ",");
    if (n >= sizeof(rate)) return no_link(*t, text, e);
    memcpy(rate, text, n);
    rate[n] = '\0';
    if (unit_parse(rate, UNIT_BYTES_PER_S, &bytes_per_s, &unit) != UNIT_OK || !*unit ||
        !(bytes_per_s > 0))
        return no_link(*t, text, e);
    const char *latency = text + n + (text[n] == ',');
    latency += strspn(latency, " ");
    if (text[n] == ',' &&
        (unit_parse(latency, UNIT_SECONDS, &latency_s, &unit) != UNIT_OK || !(latency_s >= 0)))
        return no_link(*t, text, e);
    if ((*t)->local_size > 0 && (*t)->local_size < (*t)->size) {
        error_set(e, "COLOSSUS_LINK plays a network between ranks of one machine, and these are of "
                     "several");
        return refuse(*t, e);
    }
    *t = cluster_link_over(*t, bytes_per_s, latency_s);
    return 0;
}
