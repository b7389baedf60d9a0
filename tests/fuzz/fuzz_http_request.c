/* fuzz_http_request.c: any bytes sent to a server over loopback. What it is made of is answered or
 * the connection ends, within a time; and the server is there for the next one. */
#include "../unit/http_client.h"
#include "http/http.h"

#include <errno.h>
#include <netinet/tcp.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void echo(void *ctx, http_request_t *r)
{
    size_t size;
    const char *body = http_body(r, &size), *query = http_query(r, "q");
    (void)ctx;
    if (query) http_note(r, "%s", query);
    http_add_header(r, "X-Rest", "some");
    http_note(r, "%s %s", http_rest(r), http_header(r, "Accept") ? "accepts" : "");
    http_reply(r, 200, "text/plain", body, size);
}

static void json(void *ctx, http_request_t *r)
{
    struct error e = {0};
    json_t *o;
    (void)ctx;
    if (http_body_json(r, &o, &e) == 0)
        http_reply_json(r, 200, o);
    else
        http_reply(r, 400, "text/plain", e.text, strlen(e.text));
}

static void stream(void *ctx, http_request_t *r)
{
    size_t size;
    const char *body = http_body(r, &size);
    (void)ctx;
    http_stream_begin(r, 200, HTTP_EVENTS);
    http_event(r, "piece", body, MIN(size, (size_t)100));
    http_event_comment(r, "more");
    http_stream_end(r);
}

static void error_body(int status, const char *text, struct str *out)
{
    str_printf(out, "%d %s", status, text);
}

static http_server_t *start(void)
{
    static const char *const keys[] = {"k"}, *const origins[] = {"http://a.example"};
    static const struct http_route routes[] = {
        {"GET", "/", echo, true},   {"POST", "/a", echo, true},   {"POST", "/a/*", echo, true},
        {"POST", "/j", json, true}, {"POST", "/s", stream, true}, {"GET", "/k", echo, false}};
    const struct http_options o = {.host = "127.0.0.1",
                                   .routes = routes,
                                   .n_routes = ARRAY_LEN(routes),
                                   .keys = keys,
                                   .n_keys = 1,
                                   .origins = origins,
                                   .n_origins = 1,
                                   .max_body = 4096,
                                   .request_s = 5,
                                   .error_body = error_body};
    http_server_t *s;
    struct error e = {0};
    CHECK_MSG(http_server_new(&o, &s, &e) == 0, "%s", e.text);
    return s;
}

/* A connection from one of many addresses of loopback, so that ports do not run out. */
/* For 20 s; libFuzzer's alarm comes every eleven. */
static int wait_for(int fd, short events)
{
    struct pollfd p = {.fd = fd, .events = events};
    int rc;
    do {
        rc = poll(&p, 1, 20000);
    } while (rc < 0 && errno == EINTR);
    return rc;
}

static int dial(int port)
{
    static uint32_t number;
    struct sockaddr_in from = {.sin_family = AF_INET},
                       to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    const struct linger reset = {1, 0};
    const int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(fd >= 0);
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + number++ % 60000);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    CHECK(bind(fd, (const struct sockaddr *)&from, sizeof(from)) == 0);
    if (connect(fd, (const struct sockaddr *)&to, sizeof(to)) < 0) {
        CHECK(errno == EINTR); /* it goes on */
        CHECK(wait_for(fd, POLLOUT) > 0);
    }
    return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static http_server_t *s;
    char answer[4096];
    if (size > 16384) return 0;
    if (!s) s = start();
    int fd = dial(http_server_port(s));
    for (size_t at = 0; at < size;) {
        ssize_t n = send(fd, data + at, size - at, MSG_NOSIGNAL);
        if (n <= 0) break; /* the other end has heard enough */
        at += (size_t)n;
    }
    shutdown(fd, SHUT_WR);
    for (;;) {
        CHECK_MSG(wait_for(fd, POLLIN) > 0, "neither an answer nor an end");
        if (recv(fd, answer, sizeof(answer), 0) <= 0) break;
    }
    close(fd);
    return 0;
}
