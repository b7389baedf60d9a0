/* http.h: a server for pages and interfaces that knows nothing of what it serves, on libmicrohttpd,
 * and a small client.
 *
 * One thread of the server's own reads requests, calls handlers and writes answers. A handler that
 * needs long defers: it keeps the request and lets other threads answer it, at once or piece by
 * piece (a stream). A second thread looks every tenth of a second whether the clients of deferred
 * requests are still there, and closes connections that take too long to say what they want.
 *
 * Functions on a request may be called by any thread, but for a request by one at a time, unless it
 * says otherwise. */
#ifndef COLOSSUS_HTTP_H
#define COLOSSUS_HTTP_H

#include "base/base.h"

/* ------------------------------------------------------------------ requests (http_request.c) */

typedef struct http_request http_request_t;

const char *http_method(const http_request_t *r);
const char *http_path(const http_request_t *r); /* without the query */
/* What stands behind a route's '*'; "" where it has none. */
const char *http_rest(const http_request_t *r);
const char *http_query(const http_request_t *r, const char *key); /* decoded; NULL: not given */
/* Each parameter of the query is one of `known` (up to NULL, at most 32), is given once, and holds no
 * NUL; if not, ERROR_USAGE that names it, and the nearest of those (http_query.c). */
int http_query_check(const http_request_t *r, const char *const *known, struct error *e);
/* NULL where the client did not send it. For the thread that calls the handler only. */
const char *http_header(http_request_t *r, const char *name);
/* The body, NUL-terminated behind *size bytes. */
const char *http_body(const http_request_t *r, size_t *size);
/* The body as JSON. Errors say line and column of it; an empty body is one. Caller json_decrefs. */
int http_body_json(const http_request_t *r, json_t **root, struct error *e);
struct arena *http_arena(http_request_t *r);   /* lives as long as the request */
uint64_t http_number(const http_request_t *r); /* of the server's requests, from 1 */
/* Who asks, as a number: whoever has the same key, where there are several; else whoever comes from the
 * same address, of IPv6 the same network of 64 bits. */
uint64_t http_client(const http_request_t *r);

/* One header more for the answer; before it is given. Name and value are copied. */
void http_add_header(http_request_t *r, const char *name, const char *value);
/* The whole answer; data is copied. Ends the handler's hold of the request. */
void http_reply(http_request_t *r, int status, const char *type, const void *data, size_t size);
/* The same of a JSON value, which is freed. */
void http_reply_json(http_request_t *r, int status, json_t *value);
/* Answers {"error": {"message": ..., "hint": ...}}. */
void http_reply_error(http_request_t *r, int status, const struct error *e);

/* The request is answered later, by any thread: by http_reply, or by http_stream_begin, writes and
 * http_stream_end. It must be answered whatever happens; what is written for a client that has left
 * goes nowhere. */
void http_defer(http_request_t *r);
/* Whether the client has left, or the server ends: nobody waits for the answer. Any thread. */
bool http_is_gone(http_request_t *r);

/* An answer piece by piece: headers go out with the first piece. */
void http_stream_begin(http_request_t *r, int status, const char *type);
void http_stream_write(http_request_t *r, const void *data, size_t size);
/* Bytes that the client has not taken yet. */
size_t http_stream_waiting(http_request_t *r);
void http_stream_end(http_request_t *r);

/* Server-sent events (WHATWG HTML, 9.2): an event of one line of data; a comment that keeps the
 * connection alive. The stream's type is HTTP_EVENTS. */
#define HTTP_EVENTS "text/event-stream; charset=utf-8"
#define HTTP_JSON   "application/json"
void http_event(http_request_t *r, const char *name, const char *data, size_t size);
/* The same of a value, which it takes. */
void http_event_json(http_request_t *r, const char *name, json_t *value);
void http_event_comment(http_request_t *r, const char *text);

/* ------------------------------------------------------------------ pages (http_files.c) */

/* Answers with the file of web/ of that name ("chat.html"), which is part of the program, under a
 * policy that lets a page load and ask nothing else; false, and no answer, where there is none. */
bool http_reply_file(http_request_t *r, const char *name);

/* Pages that stand alone, with the look that they share and, where they have a script, its charts
 * (http_page.c). The policy that lets only these run, for a page's script of that hash ("'sha256-...'";
 * NULL: it has none), appended: for a header, too. */
void http_page_policy(const char *script_hash, struct str *out);
/* Answers with such a page, under that policy, and no other site may frame it. */
void http_reply_page(http_request_t *r, const char *script_hash, const char *page, size_t size);
/* Up to the beginning of the body; the title is text. */
void http_page_begin(const char *title, const char *script_hash, struct str *out);
/* The data, the charts, the page's own script, and the end; both NULL: the end only. */
void http_page_end(const struct str *json, const char *script, struct str *out);

/* ------------------------------------------------------------------ the server (http_server.c) */

typedef void http_handler(void *ctx, http_request_t *r);
struct http_route {
    const char *method; /* "GET" answers HEAD too */
    const char *path;   /* "/v1/models"; with a '*' at its end whatever begins so */
    http_handler *run;
    bool open; /* needs no key */
};

/* What a finished request was, for logs. Strings live during the call. */
struct http_record {
    uint64_t number;
    const char *method, *path, *client; /* address */
    int status;                         /* 0: the client left before there was one */
    size_t body_bytes, answer_bytes;
    double seconds;
    const char *note; /* of http_note, or NULL */
};
/* A few words about the request for the log; copied. */
void http_note(http_request_t *r, const char *fmt, ...) PRINTF_LIKE(2, 3);

struct http_options {
    const char *host; /* an address; "127.0.0.1" */
    int port;         /* 0: any that is free */
    const struct http_route *routes;
    size_t n_routes;
    void *ctx;               /* of the handlers */
    const char *const *keys; /* without any, nobody needs one */
    size_t n_keys;
    const char *const *origins; /* pages of which sites may ask (CORS); "*": of all */
    size_t n_origins;
    const char *certificate, *private_key; /* paths of PEM files; NULL: no TLS */
    size_t max_body;                       /* bytes; 0: 16 MiB */
    size_t max_bodies;                     /* of all requests at once; 0: 256 MiB */
    int max_connections;                   /* 0: 1,024 */
    double request_s;                      /* time for a request to come in; 0: 30 s */
    /* How errors of the server itself look (404, 405, 401, 413): writes the body of the answer. NULL:
     * {"error": "..."}. */
    void (*error_body)(int status, const char *text, struct str *out);
    void (*on_done)(void *ctx, const struct http_record *r); /* or NULL; the server's thread */
};
typedef struct http_server http_server_t;
/* Listens; what *o points at must outlive the server. */
int http_server_new(const struct http_options *o, http_server_t **out, struct error *e);
int http_server_port(const http_server_t *s);
/* Takes no connections any more, and answers new requests on old ones with 503. */
void http_server_quiesce(http_server_t *s);
/* Requests that are not answered yet. */
size_t http_server_busy(http_server_t *s);
/* Every client that still waits is told to be gone, and this waits until whoever has deferred a
 * request has answered it. NULL is allowed. */
void http_server_free(http_server_t *s);
/* Whether two keys are the same, in a time that depends on the first one's length only. */
bool http_same_key(const char *key, const char *given);

/* ------------------------------------------------------------------ a client (http_client.c) */

struct http_url {
    char host[256], path[512]; /* the path without '/' at its end */
    int port;
};
/* "http://HOST[:PORT][/PATH]" */
int http_url_parse(const char *url, struct http_url *out, struct error *e);

/* One request on a connection of its own. Returns the status, or an error where there is no whole
 * answer. */
struct http_call {
    const struct http_url *url;
    const char *method, *path; /* the path is put behind the URL's */
    const char *key;           /* bearer token, or NULL */
    const void *body;          /* JSON, or NULL */
    size_t size;
    double timeout_s; /* for all of it */
    /* Pieces of the answer's body as they come; false: enough, the connection is closed. */
    bool (*on_data)(void *ctx, const char *data, size_t n);
    void *ctx;
};
int http_call(const struct http_call *call, struct error *e);

/* ------------------------------------------------------------------ Prometheus (http_metrics.c) */

enum http_metric_kind { HTTP_COUNTER, HTTP_GAUGE, HTTP_HISTOGRAM };
struct http_bucket {
    double up_to; /* the last is INFINITY */
    uint64_t count;
};
struct http_metric {
    const char *name, *help; /* a counter's name ends in _total */
    enum http_metric_kind kind;
    const char *label, *label_value; /* one label, or NULL */
    double value;                    /* of a histogram: the sum */
    const struct http_bucket *buckets;
    size_t n_buckets;
};
/* Text exposition format 0.0.4. Metrics of one name stand together; their help is the first's. */
#define HTTP_METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"
void http_metrics_write(const struct http_metric *m, size_t n, struct str *out);

#endif
