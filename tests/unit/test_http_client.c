/* Tests of the client in src/http, on answers of the server and on bytes that no server should send. */
#include "http/http.h"
#include "http_client.h"
#include "test_cmocka.h"

#include <pthread.h>

static bool take(void *ctx, const char *data, size_t n)
{
    str_append(ctx, data, n);
    return true;
}

static bool take_little(void *ctx, const char *data, size_t n)
{
    str_append(ctx, data, n);
    return ((struct str *)ctx)->len < 10;
}

static struct http_url address(int port, const char *path)
{
    struct http_url u = {.host = "127.0.0.1", .port = port};
    snprintf(u.path, sizeof(u.path), "%s", path);
    return u;
}

/* ------------------------------------------------------------------ addresses */

static void addresses(void **unused)
{
    static const struct {
        const char *text, *host, *path;
        int port;
    } good[] = {{"http://localhost", "localhost", "", 80},
                {"HTTP://127.0.0.1:8080/v1/", "127.0.0.1", "/v1", 8080},
                {"http://[::1]:9/a/b", "::1", "/a/b", 9},
                {"http://[::1]", "::1", "", 80}};
    static const char *const bad[] = {"",
                                      "127.0.0.1:8080",
                                      "https://x",
                                      "http://",
                                      "http:///v1",
                                      "http://x:0/",
                                      "http://x:y",
                                      "http://x:70000",
                                      "http://x:",
                                      "http://x?a",
                                      "http://[::1",
                                      "http://[]:1",
                                      "http://[::1]x",
                                      "http://x:123456789"};
    struct http_url u;
    struct error e = {0};
    (void)unused;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_ok(http_url_parse(good[i].text, &u, &e), e);
        assert_string_equal(u.host, good[i].host);
        assert_string_equal(u.path, good[i].path);
        assert_int_equal(u.port, good[i].port);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (http_url_parse(bad[i], &u, &e) != ERROR_USAGE) fail_msg("'%s' was taken", bad[i]);
}

/* ------------------------------------------------------------------ answers of the server */

static void echo(void *ctx, http_request_t *r)
{
    size_t size;
    const char *body = http_body(r, &size);
    (void)ctx;
    http_reply(r, 200, "text/plain", body, size);
}

static void stream(void *ctx, http_request_t *r)
{
    char piece[32];
    (void)ctx;
    http_defer(r);
    http_stream_begin(r, 200, HTTP_EVENTS);
    for (int i = 0; i < 1000; i++)
        http_event(r, NULL, piece, (size_t)snprintf(piece, sizeof(piece), "piece %d", i));
    http_stream_end(r);
}

static const struct http_route routes[] = {{"POST", "/v1/echo", echo, false},
                                           {"GET", "/v1/stream", stream, false}};

static void answers(void **unused)
{
    static const char *const keys[] = {"secret"};
    struct http_options o = {.host = "127.0.0.1",
                             .routes = routes,
                             .n_routes = ARRAY_LEN(routes),
                             .keys = keys,
                             .n_keys = 1};
    http_server_t *s;
    struct error e = {0};
    struct str got = {0}, large = {0};
    (void)unused;
    assert_ok(http_server_new(&o, &s, &e), e);
    struct http_url u = address(http_server_port(s), "/v1");
    for (int i = 0; i < 100000; i++)
        str_printf(&large, "%d ", i);
    struct http_call c = {.url = &u,
                          .method = "POST",
                          .path = "/echo",
                          .key = "secret",
                          .body = large.data,
                          .size = large.len,
                          .timeout_s = 10,
                          .on_data = take,
                          .ctx = &got};
    assert_int_equal(http_call(&c, &e), 200);
    assert_int_equal(got.len, large.len);
    assert_memory_equal(got.data, large.data, large.len);
    c.key = NULL;
    assert_int_equal(http_call(&c, &e), 401);
    c = (struct http_call){.url = &u, .method = "GET", .path = "/stream", .key = "secret"};
    c.timeout_s = 10;
    c.on_data = take;
    c.ctx = &got;
    str_clear(&got);
    assert_int_equal(http_call(&c, &e), 200);
    assert_true(strncmp(got.data, "data: piece 0\n\ndata: piece 1\n", 29) == 0);
    assert_non_null(strstr(got.data, "data: piece 999\n"));
    str_clear(&got);
    c.on_data = take_little; /* the client has enough, and leaves */
    assert_int_equal(http_call(&c, &e), 200);
    c.path = "/nowhere";
    assert_int_equal(http_call(&c, &e), 404);
    http_server_free(s);
    str_fini(&got);
    str_fini(&large);
}

/* ------------------------------------------------------------------ bytes that no server sends */

struct liar {
    int fd, port;
    const char *text;
    pthread_t thread;
};

static void *lie(void *ctx)
{
    struct liar *l = ctx;
    struct pollfd p = {.fd = l->fd, .events = POLLIN};
    char request[4096];
    if (poll(&p, 1, 10000) <= 0) return NULL;
    int fd = accept(l->fd, NULL, NULL);
    if (fd < 0) return NULL;
    if (recv(fd, request, sizeof(request), 0) > 0) client_send(fd, l->text);
    close(fd);
    return NULL;
}

static void expect(const char *text, int wanted, const char *words)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t size = sizeof(a);
    struct liar l = {.fd = socket(AF_INET, SOCK_STREAM, 0), .text = text};
    struct error e = {0};
    struct str got = {0};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(l.fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(l.fd, 1), 0);
    assert_int_equal(getsockname(l.fd, (struct sockaddr *)&a, &size), 0);
    struct http_url u = address(ntohs(a.sin_port), "");
    assert_int_equal(pthread_create(&l.thread, NULL, lie, &l), 0);
    struct http_call c = {.url = &u, .method = "GET", .path = "/", .timeout_s = 10};
    c.on_data = take;
    c.ctx = &got;
    int status = http_call(&c, &e);
    pthread_join(l.thread, NULL);
    close(l.fd);
    if (wanted != status) fail_msg("'%.60s': %d, wanted %d: %s", text, status, wanted, e.text);
    if (wanted < 0)
        assert_contains(e.text, words);
    else
        assert_string_equal(got.data ? got.data : "", words);
    str_fini(&got);
}

static void lies(void **unused)
{
    struct str endless = {0};
    (void)unused;
    expect("HTTP/1.1 200 OK\r\n\r\nall until the end", 200, "all until the end");
    expect("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Made\nContent-Length: 2\n\nabc", 201, "ab");
    expect(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1;x=y\r\nd\r\n0\r\n\r\n",
        200, "abcd");
    expect("", ERROR_FAILED, "cut off");
    expect("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", ERROR_FAILED, "cut off");
    expect("HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nabc", ERROR_FAILED, "length");
    expect("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", ERROR_FAILED, "length");
    expect("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", ERROR_FAILED, "cut off");
    expect("SSH-2.0-OpenSSH\r\n", ERROR_FAILED, "does not speak");
    str_puts(&endless, "HTTP/1.1 200 OK\r\nX: ");
    for (int i = 0; i < 20000; i++)
        str_puts(&endless, "0123456789");
    expect(endless.data, ERROR_FAILED, "does not end");
    str_clear(&endless);
    str_puts(&endless, "HTTP/1.1 200 OK\r\n");
    for (int i = 0; i < 500; i++)
        str_printf(&endless, "X-%d: 1\r\n", i);
    expect(endless.data, ERROR_FAILED, "does not end");
    str_fini(&endless);
}

static void nobody(void **unused)
{
    struct http_url u = address(1, "");
    struct http_call c = {.url = &u, .method = "GET", .path = "/", .timeout_s = 5, .on_data = take};
    struct str got = {0};
    struct error e = {0};
    (void)unused;
    c.ctx = &got;
    assert_true(http_call(&c, &e) < 0);
    assert_contains(e.text, "127.0.0.1:1: ");
    str_fini(&got);
}

/* A server that takes the connection and says nothing. */
static void silence(void **unused)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t size = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct str got = {0};
    struct error e = {0};
    (void)unused;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &size), 0);
    struct http_url u = address(ntohs(a.sin_port), "");
    struct http_call c = {.url = &u, .method = "GET", .path = "/", .timeout_s = 0.2};
    c.on_data = take;
    c.ctx = &got;
    assert_true(http_call(&c, &e) < 0);
    assert_contains(e.text, "in time");
    close(fd);
    str_fini(&got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(addresses), cmocka_unit_test(answers),
                                       cmocka_unit_test(lies), cmocka_unit_test(nobody),
                                       cmocka_unit_test(silence)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
