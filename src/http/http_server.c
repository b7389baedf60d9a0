/* http_server.c: listening, routes, keys, origins, limits and the end of a server.
 *
 * libmicrohttpd's thread (epoll) reads requests and calls `access` for each part of one. Nothing is
 * answered before the whole body was read, as a client that still sends would lose the answer; but a
 * body that says beforehand that it is too large is refused at once, and one that turns out to be
 * ends the connection.
 *
 * A client that leaves while its connection is suspended is not noticed by libmicrohttpd. The
 * watcher polls such connections; a suspended one is never closed by others, so its descriptor is
 * its own while the request's lock is held. The watcher also shuts connections whose request does
 * not come in within its time (a header byte now and then would hold one for ever).
 *
 * Against pages of other sites: a browser names the page's site in Origin. One that is not among the
 * options' origins, nor the server's own, is answered with 403, as the request would be carried out
 * even where its answer is withheld. Without a key the Host of a request to a loopback address must
 * be a loopback name, or a site whose name points here could pose as the server's own. */
#include "http/http_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define MAX_BODY        ((size_t)16 << 20)
#define MAX_BODIES      ((size_t)256 << 20)
#define MAX_CONNECTIONS 1024
#define REQUEST_S       30.0
#define HEADER_BYTES    ((size_t)64 << 10) /* of a connection: headers, and what is on its way out */
#define IDLE_S          75u
#define WATCH_MS        100

/* ------------------------------------------------------------------ keys and origins */

bool http_same_key(const char *key, const char *given)
{
    size_t n = strlen(key), m = strlen(given);
    volatile unsigned char differs = n != m;
    for (size_t i = 0; i < n; i++)
        differs |= (unsigned char)(key[i] ^ given[m ? i % m : 0]) | (m == 0);
    return !differs;
}

/* "Authorization: Bearer KEY", or "x-api-key: KEY". Every key is looked at. Which of several it was says
 * who asks. */
static bool has_key(http_request_t *r)
{
    const struct http_options *o = &r->server->o;
    const char *given = http_header(r, "Authorization");
    bool found = false;
    if (given && strncasecmp(given, "Bearer ", 7) == 0)
        given += 7;
    else
        given = http_header(r, "x-api-key");
    for (size_t i = 0; given && i < o->n_keys; i++) {
        if (!http_same_key(o->keys[i], given)) continue;
        found = true;
        if (o->n_keys > 1) r->client = i;
    }
    return found;
}

/* NULL where the page's site may not ask; else what it is to be told. */
static const char *allowed_origin(const struct http_options *o, const char *origin)
{
    for (size_t i = 0; i < o->n_origins; i++) {
        if (strcmp(o->origins[i], "*") == 0) return "*";
        if (strcmp(o->origins[i], origin) == 0) return origin;
    }
    return NULL;
}

/* "http://HOST" of a page that this server gave out itself. */
static bool is_own_origin(http_request_t *r, const char *origin)
{
    const char *host = http_header(r, "Host"), *at = strstr(origin, "://");
    return host && at && strcasecmp(at + 3, host) == 0;
}

static bool is_loopback_name(const char *host)
{
    static const char *const names[] = {"localhost", "127.", "[::1]"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        size_t n = strlen(names[i]);
        if (strncasecmp(host, names[i], n) != 0) continue;
        if (i == 1) n += strspn(host + n, "0123456789.");
        return host[n] == '\0' || host[n] == ':';
    }
    return false;
}

static bool is_foreign(http_request_t *r)
{
    const struct http_options *o = &r->server->o;
    const char *origin = http_header(r, "Origin"), *host = http_header(r, "Host");
    if (origin && !allowed_origin(o, origin) && !is_own_origin(r, origin)) return true;
    return o->n_keys == 0 && host && is_loopback_name(o->host) && !is_loopback_name(host);
}

void http_server_headers(struct http_request *r, struct MHD_Response *response)
{
    const struct http_options *o = &r->server->o;
    const char *origin = http_header(r, "Origin");
    const char *allowed = origin ? allowed_origin(o, origin) : NULL;
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (o->n_origins) MHD_add_response_header(response, "Vary", "Origin");
    if (!allowed) return;
    MHD_add_response_header(response, "Access-Control-Allow-Origin", allowed);
    MHD_add_response_header(response, "Access-Control-Expose-Headers", "*");
}

/* ------------------------------------------------------------------ answers of the server itself */

static void answer_error(http_request_t *r, int status, const char *text)
{
    struct str body = {0};
    if (r->server->o.error_body) {
        r->server->o.error_body(status, text, &body);
    } else {
        struct json_writer w;
        jsonw_begin(&w, &body);
        jsonw_open(&w, NULL, '{');
        jsonw_string(&w, "error", text);
        jsonw_close(&w, '}');
    }
    if (status == 401) http_add_header(r, "WWW-Authenticate", "Bearer");
    http_reply(r, status, HTTP_JSON, body.data, body.len);
    str_fini(&body);
}

/* What a browser asks before it lets a page ask. */
static void answer_preflight(http_request_t *r)
{
    const char *headers = http_header(r, "Access-Control-Request-Headers");
    const char *origin = http_header(r, "Origin");
    if (origin && allowed_origin(&r->server->o, origin)) {
        bool plain = headers && strlen(headers) < 1024 &&
                     headers[strspn(headers, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                             "0123456789-_, ")] == '\0';
        http_add_header(r, "Access-Control-Allow-Methods", "GET, POST, OPTIONS");
        http_add_header(r, "Access-Control-Allow-Headers",
                        plain ? headers : "authorization, content-type, x-api-key");
        http_add_header(r, "Access-Control-Max-Age", "600");
    }
    http_reply(r, 204, "text/plain", "", 0);
}

/* ------------------------------------------------------------------ routes */

static bool path_fits(const struct http_route *route, const char *path, const char **rest)
{
    size_t n = strlen(route->path);
    *rest = "";
    if (route->path[n - 1] != '*') return strcmp(route->path, path) == 0;
    if (strncmp(route->path, path, n - 1) != 0 || path[n - 1] == '\0') return false;
    *rest = path + n - 1;
    return true;
}

/* Sets route and rest, or the status of the error. A route without '*' goes before one with it. */
static void find_route(http_request_t *r)
{
    const struct http_options *o = &r->server->o;
    const char *method = strcmp(r->method, "HEAD") == 0 ? "GET" : r->method;
    bool path = false, exact = false;
    for (size_t i = 0; i < o->n_routes; i++) {
        const char *rest;
        if (!path_fits(&o->routes[i], r->path, &rest) || (exact && rest[0])) continue;
        path = true;
        exact = exact || !rest[0];
        if (strcmp(o->routes[i].method, method) != 0) continue;
        r->route = &o->routes[i];
        r->rest = rest;
        if (!rest[0]) break;
    }
    if (r->route) return;
    r->status = path ? 405 : 404;
    r->why = path ? "this path does not take this method" : "there is nothing at this path";
}

/* Looks at method, path and headers, before the body is read. */
static void look_at(http_request_t *r)
{
    struct http_server *s = r->server;
    if (strcmp(r->method, "OPTIONS") == 0) return;
    find_route(r);
    if (is_foreign(r)) {
        r->status = 403;
        r->why = "pages of this site may not ask this server";
    } else if (s->o.n_keys && !(r->route && r->route->open) && !has_key(r)) {
        r->status = 401;
        r->why = "a valid API key is needed: Authorization: Bearer KEY";
    } else if (s->quiet) {
        r->status = 503;
        r->why = "the server is about to stop";
    }
}

/* ------------------------------------------------------------------ libmicrohttpd's calls */

static struct http_connection *connection_of(struct MHD_Connection *c)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

static void set_since(struct http_server *s, struct MHD_Connection *c, double since_s)
{
    struct http_connection *at = connection_of(c);
    pthread_mutex_lock(&s->lock);
    if (at) at->since_s = since_s;
    pthread_mutex_unlock(&s->lock);
}

static http_request_t *request_new(struct http_server *s, struct MHD_Connection *c,
                                   const char *method, const char *path)
{
    http_request_t *r = mem_calloc(1, sizeof(*r));
    r->server = s;
    r->connection = c;
    r->began_s = time_now_s();
    r->holds = 1;
    r->rest = "";
    r->client = connection_of(c) ? connection_of(c)->address : 0;
    r->method = arena_strdup(&r->arena, method);
    r->path = arena_strdup(&r->arena, path);
    pthread_mutex_init(&r->lock, NULL);
    pthread_mutex_lock(&s->lock);
    r->number = ++s->number;
    r->next = s->requests;
    if (r->next) r->next->previous = r;
    s->requests = r;
    s->n_requests++;
    pthread_mutex_unlock(&s->lock);
    return r;
}

/* 0 where it is not said, as in a chunked body. */
static uint64_t content_length(http_request_t *r)
{
    const char *text = http_header(r, "Content-Length");
    return text ? strtoull(text, NULL, 10) : 0;
}

/* A new request: whether its body shall be read. */
static enum MHD_Result begin_request(struct http_server *s, struct MHD_Connection *c, void **con,
                                     const char *method, const char *path)
{
    http_request_t *r = request_new(s, c, method, path);
    *con = r;
    set_since(s, c, time_now_s());
    look_at(r);
    if (content_length(r) <= s->o.max_body) return MHD_YES;
    char limit[32], text[96];
    snprintf(text, sizeof(text), "the body is too large: at most %s are taken",
             format_bytes(limit, (double)s->o.max_body));
    http_request_hold(r);
    r->started = true;
    answer_error(r, 413, text);
    return http_request_queue(r);
}

static void run_request(http_request_t *r)
{
    http_request_hold(r); /* the handler's */
    r->started = true;
    if (strcmp(r->method, "OPTIONS") == 0)
        answer_preflight(r);
    else if (r->status)
        answer_error(r, r->status, r->why);
    else
        r->route->run(r->server->o.ctx, r);
}

/* With the answer there, or soon. */
static enum MHD_Result answer_or_wait(http_request_t *r)
{
    enum MHD_Result rc = MHD_YES;
    bool queue = false;
    pthread_mutex_lock(&r->lock);
    if (r->answered && !r->queued) {
        queue = true;
    } else if (r->gone || r->server->stopping) {
        rc = MHD_NO;
    } else if (!r->answered) {
        CHECK_MSG(r->deferred, "the handler of %s has neither answered nor deferred", r->path);
        MHD_suspend_connection(r->connection);
        r->suspended = true;
    }
    pthread_mutex_unlock(&r->lock);
    return queue ? http_request_queue(r) : rc;
}

/* More of the body, unless those of all requests together grow too large: then what there is of this
 * one is let go, the rest passed over, and the request refused. */
static void take_body(http_request_t *r, const char *data, size_t size)
{
    struct http_server *s = r->server;
    if (r->status) return;
    if (s->body_bytes + size > s->o.max_bodies) {
        r->status = 503;
        r->why = "too much is being sent to this server at once: try again later";
        s->body_bytes -= r->body.len;
        str_fini(&r->body);
        return;
    }
    s->body_bytes += size;
    str_append(&r->body, data, size);
}

static enum MHD_Result access_handler(void *cls, struct MHD_Connection *c, const char *path,
                                      const char *method, const char *version, const char *data,
                                      size_t *size, void **con)
{
    struct http_server *s = cls;
    http_request_t *r = *con;
    (void)version;
    if (!r) return begin_request(s, c, con, method, path);
    if (*size) {
        if (r->body.len + *size > s->o.max_body) return MHD_NO;
        take_body(r, data, *size);
        *size = 0;
        return MHD_YES;
    }
    if (!r->started) {
        set_since(s, c, 0);
        run_request(r);
    }
    return answer_or_wait(r);
}

/* The connection has done with the request, well or not. */
static void completed(void *cls, struct MHD_Connection *c, void **con,
                      enum MHD_RequestTerminationCode code)
{
    struct http_server *s = cls;
    http_request_t *r = *con;
    if (!r) return;
    *con = NULL;
    pthread_mutex_lock(&r->lock);
    r->connection = NULL;
    r->suspended = false;
    if (code != MHD_REQUEST_TERMINATED_COMPLETED_OK) r->gone = true;
    const struct http_connection *at = connection_of(c);
    struct http_record record = {.number = r->number,
                                 .method = r->method,
                                 .path = r->path,
                                 .client = at ? at->client : "",
                                 .status = r->queued ? r->answer_status : 0,
                                 .body_bytes = r->body.len,
                                 .answer_bytes = r->total,
                                 .seconds = time_now_s() - r->began_s,
                                 .note = r->note};
    if (s->o.on_done) s->o.on_done(s->o.ctx, &record);
    pthread_mutex_unlock(&r->lock);
    set_since(s, c, time_now_s());
    http_request_release(r);
}

static void name_client(struct MHD_Connection *c, struct http_connection *at)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *a = info ? info->client_addr : NULL;
    if (a && a->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const void *)a;
        inet_ntop(AF_INET, &v4->sin_addr, at->client, sizeof(at->client));
        at->address = hash_xxh3(&v4->sin_addr, sizeof(v4->sin_addr));
    }
    if (a && a->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const void *)a;
        size_t n = IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr) ? sizeof(v6->sin6_addr) : 8;
        inet_ntop(AF_INET6, &v6->sin6_addr, at->client, sizeof(at->client));
        at->address = hash_xxh3(&v6->sin6_addr, n);
    }
}

static void connected(void *cls, struct MHD_Connection *c, void **socket_context,
                      enum MHD_ConnectionNotificationCode code)
{
    struct http_server *s = cls;
    struct http_connection *at = *socket_context;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
        at = mem_calloc(1, sizeof(*at));
        at->fd = info ? info->connect_fd : -1;
        at->since_s = time_now_s();
        name_client(c, at);
        pthread_mutex_lock(&s->lock);
        at->next = s->connections;
        if (at->next) at->next->previous = at;
        s->connections = at;
        pthread_mutex_unlock(&s->lock);
        *socket_context = at;
        return;
    }
    if (!at) return;
    pthread_mutex_lock(&s->lock);
    if (at->previous) at->previous->next = at->next;
    if (s->connections == at) s->connections = at->next;
    if (at->next) at->next->previous = at->previous;
    pthread_mutex_unlock(&s->lock);
    *socket_context = NULL;
    mem_free(at);
}

/* ------------------------------------------------------------------ the watcher */

/* A suspended connection's descriptor says whether the other end is still there. */
static void look_after_client(http_request_t *r)
{
    pthread_mutex_lock(&r->lock);
    bool left = false;
    if (r->suspended && r->connection && !r->gone) {
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        struct pollfd p = {.fd = info ? info->connect_fd : -1, .events = POLLRDHUP};
        left = poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL));
    }
    pthread_mutex_unlock(&r->lock);
    if (left) http_request_leave(r);
}

static void *watch(void *ctx)
{
    struct http_server *s = ctx;
    pthread_mutex_lock(&s->lock);
    while (!s->stopping) {
        double now = time_now_s();
        for (http_request_t *r = s->requests; r; r = r->next)
            look_after_client(r);
        for (struct http_connection *c = s->connections; c; c = c->next) {
            if (c->since_s == 0 || now - c->since_s < s->o.request_s) continue;
            shutdown(c->fd, SHUT_RDWR);
            c->since_s = 0;
        }
        pthread_mutex_unlock(&s->lock);
        poll(NULL, 0, WATCH_MS);
        pthread_mutex_lock(&s->lock);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* ------------------------------------------------------------------ beginning */

struct address {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } at;
    socklen_t size;
};

static int read_address(const struct http_options *o, struct address *a, struct error *e)
{
    const char *host = strcmp(o->host, "localhost") == 0 ? "127.0.0.1" : o->host;
    memset(a, 0, sizeof(*a));
    if (inet_pton(AF_INET, host, &a->at.v4.sin_addr) == 1) {
        a->at.v4.sin_family = AF_INET;
        a->at.v4.sin_port = htons((uint16_t)o->port);
        a->size = sizeof(a->at.v4);
        return 0;
    }
    if (inet_pton(AF_INET6, host, &a->at.v6.sin6_addr) == 1) {
        a->at.v6.sin6_family = AF_INET6;
        a->at.v6.sin6_port = htons((uint16_t)o->port);
        a->size = sizeof(a->at.v6);
        return 0;
    }
    error_set(e, "'%s' is no address to listen on", o->host);
    return error_hint(e, "for example 127.0.0.1 for programs of this machine, or the address of "
                         "one of its networks");
}

/* The descriptor, or negative. */
static int listen_on(struct http_server *s, struct error *e)
{
    struct address a;
    const int on = 1;
    TRY(read_address(&s->o, &a, e));
    int fd = socket(a.at.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (fd < 0 || bind(fd, &a.at.any, a.size) < 0 || listen(fd, 512) < 0) {
        error_set(e, "cannot listen on %s port %d: %s", s->o.host, s->o.port, strerror(errno));
        if (errno == EADDRINUSE)
            error_hint(e, "another program has that port: take another one, or 0 for any");
        if (fd >= 0) close(fd);
        return ERROR_FAILED;
    }
    getsockname(fd, &a.at.any, &a.size);
    s->port = ntohs(a.at.any.sa_family == AF_INET ? a.at.v4.sin_port : a.at.v6.sin6_port);
    return fd;
}

static void log_library(void *cls, const char *fmt, va_list args)
{
    char text[512];
    (void)cls;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    vsnprintf(text, sizeof(text), fmt, args);
#pragma GCC diagnostic pop
    text[strcspn(text, "\n")] = '\0';
    log_debug("libmicrohttpd: %s", text);
}

static int read_certificates(struct http_server *s, struct error *e)
{
    size_t size;
    if (!s->o.certificate && !s->o.private_key) return 0;
    if (!s->o.certificate || !s->o.private_key)
        return error_set(e, "TLS needs both a certificate and its private key");
    TRY(file_read(s->o.certificate, 1 << 20, &s->certificate, &size, e));
    return file_read(s->o.private_key, 1 << 20, &s->private_key, &size, e);
}

/* Connections that descriptors are there for, some left to the program. */
static unsigned connection_limit(const struct http_options *o)
{
    struct rlimit files;
    rlim_t wanted = (rlim_t)(o->max_connections ? o->max_connections : MAX_CONNECTIONS);
    if (getrlimit(RLIMIT_NOFILE, &files) < 0) return (unsigned)wanted;
    if (files.rlim_cur < wanted + 64) {
        files.rlim_cur = MIN(wanted + 64, files.rlim_max);
        setrlimit(RLIMIT_NOFILE, &files);
    }
    return (unsigned)(files.rlim_cur > wanted + 64 ? wanted : MAX(files.rlim_cur / 2, 1));
}

/* A path with a character 0, at which C would take it for ended, stays as it was sent. Parameters have a
 * size, and whoever reads them says what is wrong. */
static size_t unescape(void *ctx, struct MHD_Connection *c, char *text)
{
    (void)ctx;
    (void)c;
    return text[0] == '/' && strstr(text, "%00") ? strlen(text) : MHD_http_unescape(text);
}

static int start(struct http_server *s, struct error *e)
{
    TRY(read_certificates(s, e));
    int fd = listen_on(s, e);
    if (fd < 0) return fd;
    struct MHD_OptionItem tls[] = {{MHD_OPTION_HTTPS_MEM_CERT, 0, s->certificate},
                                   {MHD_OPTION_HTTPS_MEM_KEY, 0, s->private_key},
                                   {MHD_OPTION_END, 0, NULL}};
    struct MHD_OptionItem none[] = {{MHD_OPTION_END, 0, NULL}};
    /* Not epoll: libmicrohttpd 0.9.75 registers for edges and loses some, so connections whose other
     * end has gone fill the places until they idle out. */
    unsigned flags = MHD_USE_POLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG |
                     (s->certificate ? MHD_USE_TLS : 0);
    s->daemon = MHD_start_daemon(
        flags, (uint16_t)s->port, NULL, NULL, access_handler, s, MHD_OPTION_EXTERNAL_LOGGER,
        log_library, NULL, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
        connection_limit(&s->o), MHD_OPTION_CONNECTION_MEMORY_LIMIT, HEADER_BYTES,
        MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_UNESCAPE_CALLBACK, unescape, NULL,
        MHD_OPTION_CONNECTION_TIMEOUT, IDLE_S, MHD_OPTION_NOTIFY_COMPLETED, completed, s,
        MHD_OPTION_NOTIFY_CONNECTION, connected, s, MHD_OPTION_ARRAY, s->certificate ? tls : none,
        MHD_OPTION_END);
    if (!s->daemon) {
        close(fd);
        return error_set(e, s->certificate ? "the server could not be started: are certificate and "
                                             "private key a pair, and PEM?"
                                           : "the server could not be started");
    }
    s->watching = pthread_create(&s->watcher, NULL, watch, s) == 0;
    return s->watching ? 0 : error_set(e, "no thread for the server");
}

int http_server_new(const struct http_options *o, http_server_t **out, struct error *e)
{
    struct http_server *s = mem_calloc(1, sizeof(*s));
    s->o = *o;
    if (!s->o.max_body) s->o.max_body = MAX_BODY;
    if (!s->o.max_bodies) s->o.max_bodies = MAX_BODIES;
    if (s->o.request_s <= 0) s->o.request_s = REQUEST_S;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->done, NULL);
    int rc = start(s, e);
    if (rc < 0) {
        http_server_free(s);
        return rc;
    }
    *out = s;
    return 0;
}

int http_server_port(const http_server_t *s)
{
    return s->port;
}

/* ------------------------------------------------------------------ ending */

void http_server_quiesce(http_server_t *s)
{
    pthread_mutex_lock(&s->lock);
    bool first = !s->quiet;
    s->quiet = true;
    pthread_mutex_unlock(&s->lock);
    if (!first) return;
    MHD_socket fd = MHD_quiesce_daemon(s->daemon);
    if (fd >= 0) close(fd);
}

size_t http_server_busy(http_server_t *s)
{
    pthread_mutex_lock(&s->lock);
    size_t n = s->n_requests;
    pthread_mutex_unlock(&s->lock);
    return n;
}

/* Suspended connections must go on before the daemon may be stopped; a request that others still
 * hold is theirs to answer. */
static void drop_clients(struct http_server *s)
{
    pthread_mutex_lock(&s->lock);
    for (http_request_t *r = s->requests; r; r = r->next)
        http_request_leave(r);
    pthread_mutex_unlock(&s->lock);
}

void http_server_free(http_server_t *s)
{
    if (!s) return;
    if (s->daemon) http_server_quiesce(s);
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    pthread_mutex_unlock(&s->lock);
    if (s->watching) pthread_join(s->watcher, NULL);
    drop_clients(s);
    if (s->daemon) MHD_stop_daemon(s->daemon);
    pthread_mutex_lock(&s->lock);
    while (s->n_requests > 0)
        pthread_cond_wait(&s->done, &s->lock);
    pthread_mutex_unlock(&s->lock);
    pthread_cond_destroy(&s->done);
    pthread_mutex_destroy(&s->lock);
    mem_free(s->certificate);
    mem_free(s->private_key);
    mem_free(s);
}
