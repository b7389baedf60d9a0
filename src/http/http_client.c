/* http_client.c: one request to a server, on a connection of its own, and the answer as it comes.
 *
 * Plain HTTP/1.1 over TCP, for measuring servers and asking them: no TLS, no redirection. What a
 * server sends is bounded: lines and headers by the limits below, the whole by the caller's time. */
#include "http/http.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_LINE = 1 << 16, MAX_HEADERS = 256, PART = 1 << 16 };

int http_url_parse(const char *url, struct http_url *out, struct error *e)
{
    static const char scheme[] = "http://";
    const char *at = url + sizeof(scheme) - 1;
    *out = (struct http_url){.port = 80};
    if (strncasecmp(url, scheme, sizeof(scheme) - 1) != 0) {
        error_set_code(e, ERROR_USAGE, "'%s' is no address that begins with http://", url);
        return error_hint(e, "for example http://127.0.0.1:8080/v1");
    }
    const char *end = at + strcspn(at, "/?#"), *name_end = end;
    if (*at == '[') { /* of IPv6 */
        const char *close = memchr(at, ']', (size_t)(end - at));
        name_end = close ? close : at;
    } else {
        name_end = at + strcspn(at, ":/?#");
    }
    const char *name = at + (*at == '['), *port = name_end + (*name_end == ']');
    if (name_end <= name || (size_t)(name_end - name) >= sizeof(out->host) || *end == '?' ||
        *end == '#' || strlen(end) >= sizeof(out->path))
        return error_set_code(e, ERROR_USAGE, "'%s' is no address of a server", url);
    memcpy(out->host, name, (size_t)(name_end - name));
    if (*port == ':') {
        int64_t number = 0;
        char digits[8] = "";
        size_t n = (size_t)(end - port - 1);
        if (n < sizeof(digits)) memcpy(digits, port + 1, n);
        if (n >= sizeof(digits) || parse_int(digits, &number) < 0 || number < 1 || number > 65535)
            return error_set_code(e, ERROR_USAGE, "'%s' has no port from 1 to 65535", url);
        out->port = (int)number;
    } else if (port != end) {
        return error_set_code(e, ERROR_USAGE, "'%s' is no address of a server", url);
    }
    size_t n = strlen(end);
    while (n > 0 && end[n - 1] == '/')
        n--;
    memcpy(out->path, end, n);
    return 0;
}

/* ------------------------------------------------------------------ the connection */

struct connection {
    const struct http_call *call;
    struct error *e;
    int fd;
    double until_s;
    struct str in; /* what came and is not used yet, from `at` on */
    size_t at;
    bool closed; /* by the other end */
};

static int failed(const struct connection *c, const char *what)
{
    const struct http_url *u = c->call->url;
    return error_set(c->e, "%s:%d: %s", u->host, u->port, what);
}

/* Until the socket can be read from or written to. */
static int await(const struct connection *c, short events)
{
    for (;;) {
        struct pollfd p = {.fd = c->fd, .events = events};
        double left = c->until_s - time_now_s();
        if (left <= 0) return failed(c, "no whole answer in time");
        int n = poll(&p, 1, (int)fmin(left * 1000 + 1, 60000));
        if (n > 0) return 0;
        if (n < 0 && errno != EINTR) return failed(c, strerror(errno));
    }
}

static int connect_one(struct connection *c, const struct addrinfo *a)
{
    int one = 1, why = 0;
    socklen_t size = sizeof(why);
    c->fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol);
    if (c->fd < 0) return failed(c, strerror(errno));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (connect(c->fd, a->ai_addr, a->ai_addrlen) == 0) return 0;
    if (errno != EINPROGRESS) return failed(c, strerror(errno));
    TRY(await(c, POLLOUT));
    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &why, &size) < 0 || why)
        return failed(c, strerror(why));
    return 0;
}

static int connect_to(struct connection *c)
{
    const struct http_url *u = c->call->url;
    struct addrinfo *list, hints = {.ai_socktype = SOCK_STREAM};
    char port[16];
    snprintf(port, sizeof(port), "%d", u->port);
    int rc = getaddrinfo(u->host, port, &hints, &list);
    if (rc != 0) return error_set(c->e, "%s: %s", u->host, gai_strerror(rc));
    rc = failed(c, "no address");
    for (const struct addrinfo *a = list; a && rc < 0; a = a->ai_next) {
        if (c->fd >= 0) close(c->fd);
        rc = connect_one(c, a);
    }
    freeaddrinfo(list);
    return rc;
}

static int send_all(const struct connection *c, const char *data, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(c->fd, data, n, MSG_NOSIGNAL);
        if (sent >= 0) {
            data += sent;
            n -= (size_t)sent;
        } else if (errno == EAGAIN) {
            TRY(await(c, POLLOUT));
        } else if (errno != EINTR) {
            return failed(c, strerror(errno));
        }
    }
    return 0;
}

static int send_request(const struct connection *c)
{
    const struct http_call *k = c->call;
    struct str head = {0};
    bool six = strchr(k->url->host, ':') != NULL;
    str_printf(&head, "%s %s%s HTTP/1.1\r\nHost: %s%s%s:%d\r\nConnection: close\r\n", k->method,
               k->url->path, k->path, six ? "[" : "", k->url->host, six ? "]" : "", k->url->port);
    if (k->key) str_printf(&head, "Authorization: Bearer %s\r\n", k->key);
    if (k->body)
        str_printf(&head, "Content-Type: application/json\r\nContent-Length: %zu\r\n", k->size);
    str_puts(&head, "\r\n");
    int rc = send_all(c, head.data, head.len);
    str_fini(&head);
    return rc < 0 || !k->body ? rc : send_all(c, k->body, k->size);
}

/* More of the answer; sets closed at its end. */
static int receive(struct connection *c)
{
    if (c->at > 0) {
        memmove(c->in.data, c->in.data + c->at, c->in.len - c->at);
        c->in.len -= c->at;
        c->at = 0;
    }
    for (;;) {
        str_reserve(&c->in, c->in.len + PART + 1);
        ssize_t n = recv(c->fd, c->in.data + c->in.len, PART, 0);
        if (n > 0) {
            c->in.len += (size_t)n;
            c->in.data[c->in.len] = '\0';
            return 0;
        }
        if (n == 0) {
            c->closed = true;
            return 0;
        }
        if (errno == EAGAIN)
            TRY(await(c, POLLIN));
        else if (errno != EINTR)
            return failed(c, strerror(errno));
    }
}

/* ------------------------------------------------------------------ the answer */

struct answer {
    int status;
    bool chunked;
    int64_t length; /* -1: until the other end closes */
};

/* The line at c->at, without its end, which is taken; it stays until more is received. */
static int read_line(struct connection *c, char **line)
{
    for (;;) {
        char *from = c->in.len ? c->in.data + c->at : NULL;
        char *end = from ? memchr(from, '\n', c->in.len - c->at) : NULL;
        if (end) {
            c->at = (size_t)(end + 1 - c->in.data);
            if (end > from && end[-1] == '\r') end--;
            *end = '\0';
            *line = from;
            return 0;
        }
        if (c->in.len - c->at > MAX_LINE) return failed(c, "a line of the answer does not end");
        if (c->closed) return failed(c, "the answer was cut off");
        TRY(receive(c));
    }
}

static bool is_header(const char *line, const char *name, const char **value)
{
    size_t n = strlen(name);
    if (strncasecmp(line, name, n) != 0 || line[n] != ':') return false;
    *value = line + n + 1 + strspn(line + n + 1, " \t");
    return true;
}

static int read_head(struct connection *c, struct answer *a)
{
    char *line;
    const char *value;
    do {
        *a = (struct answer){.length = -1};
        TRY(read_line(c, &line));
        if (strncmp(line, "HTTP/1.", 7) != 0 || strlen(line) < 12)
            return failed(c, "what answers does not speak HTTP/1");
        a->status = (int)strtol(line + 9, NULL, 10);
        for (int n = 0;; n++) {
            if (n > MAX_HEADERS) return failed(c, "the head of the answer does not end");
            TRY(read_line(c, &line));
            if (!*line) break;
            if (is_header(line, "Transfer-Encoding", &value))
                a->chunked = strcasecmp(value, "chunked") == 0;
            else if (is_header(line, "Content-Length", &value) &&
                     (parse_int(value, &a->length) < 0 || a->length < 0))
                return failed(c, "the answer has a length that is none");
        }
    } while (a->status >= 100 && a->status < 200);
    return 0;
}

/* `left` bytes of the body to the caller, -1: all until the end; *more false: he wants no more. */
static int pass_on(struct connection *c, int64_t left, bool *more)
{
    while (left != 0) {
        size_t here = c->in.len - c->at;
        if (here == 0) {
            if (c->closed) return left < 0 ? 0 : failed(c, "the answer was cut off");
            TRY(receive(c));
            continue;
        }
        if (left >= 0) here = MIN(here, (size_t)left);
        *more = c->call->on_data(c->call->ctx, c->in.data + c->at, here);
        c->at += here;
        if (left > 0) left -= (int64_t)here;
        if (!*more) return 0;
    }
    return 0;
}

static int read_body(struct connection *c, const struct answer *a)
{
    bool more = true;
    char *line, *end;
    if (!a->chunked) return pass_on(c, a->length, &more);
    for (;;) {
        TRY(read_line(c, &line));
        long long size = strtoll(line, &end, 16);
        if (end == line || size < 0) return failed(c, "a part of the answer has no length");
        if (size == 0) return 0;
        TRY(pass_on(c, size, &more));
        if (!more) return 0;
        TRY(read_line(c, &line));
    }
}

int http_call(const struct http_call *call, struct error *e)
{
    struct connection c = {.call = call, .e = e, .fd = -1};
    struct answer a = {0};
    c.until_s = time_now_s() + call->timeout_s;
    int rc = connect_to(&c);
    if (rc == 0) rc = send_request(&c);
    if (rc == 0) rc = read_head(&c, &a);
    if (rc == 0) rc = read_body(&c, &a);
    if (c.fd >= 0) close(c.fd);
    str_fini(&c.in);
    return rc < 0 ? rc : a.status;
}
