/* http_internal.h: what the files of src/http share: a request, and the server that it came to.
 *
 * A request is held by libmicrohttpd until its connection is done with it, and by whoever is to
 * answer it until it has; the last one frees it. `lock` guards everything below it: the answer is
 * written by one thread and read by the server's, which waits (the connection is suspended) while
 * there is nothing to send. No callback of ours is called within the lock. */
#ifndef COLOSSUS_HTTP_INTERNAL_H
#define COLOSSUS_HTTP_INTERNAL_H

#include "http/http.h"

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>

struct http_pair {
    char *name, *value;
};

struct http_request {
    struct http_server *server;
    uint64_t number, client;
    const char *method, *path, *rest; /* in the arena */
    const struct http_route *route;   /* NULL: `status` says why */
    int status;                       /* 0, or the error to answer once the body was read */
    const char *why;
    double began_s;
    struct arena arena;
    struct str body; /* its bytes count among the server's */
    bool started;    /* the handler was called */

    pthread_mutex_t lock;
    struct MHD_Connection *connection; /* NULL once it is done with the request */
    int holds;
    bool suspended, deferred, gone;
    struct http_pair *headers;
    size_t n_headers;
    bool answered, streaming, ended, queued; /* there is an answer; it comes in pieces; it is whole;
                                                libmicrohttpd has it */
    int answer_status;
    char *type;
    struct str out; /* of a stream: what was not sent yet, from `sent` on */
    size_t sent, total;
    char *note;
    struct http_request *next, *previous; /* of the server's, under its lock */
};

/* A connection of the server, from its beginning. */
struct http_connection {
    int fd;
    double since_s; /* its request began to come in; 0: the server is at work on it, or it idles */
    struct http_connection *next, *previous;
    char client[64];
    uint64_t address; /* a hash of it, or of its network */
};

struct http_server {
    struct http_options o;
    struct MHD_Daemon *daemon;
    int port;
    pthread_mutex_t lock; /* of the lists */
    pthread_cond_t done;  /* a request was freed */
    struct http_request *requests;
    struct http_connection *connections;
    size_t n_requests;
    uint64_t number;
    atomic_bool quiet, stopping;
    atomic_size_t body_bytes; /* of all requests that are there */
    pthread_t watcher;
    bool watching;
    char *certificate, *private_key; /* PEM */
};

void http_request_hold(http_request_t *r);
void http_request_release(http_request_t *r);
/* Gives an answer that there is to libmicrohttpd, once, in its thread. The lock is not held: the
 * library's own is taken, within which it calls the reader of a stream. */
enum MHD_Result http_request_queue(http_request_t *r);
/* The headers of the server itself for an answer. */
void http_server_headers(struct http_request *r, struct MHD_Response *response);
/* The client has left, or the server ends: what is suspended goes on. */
void http_request_leave(http_request_t *r);

#endif
