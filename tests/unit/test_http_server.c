/* Tests of src/http: routes, limits, keys, origins, deferred answers and streams, clients that leave,
 * and the text that Prometheus reads. Servers listen on loopback, at ports that are free. */
#include "http/http.h"
#include "http_client.h"
#include "test_cmocka.h"

#include <pthread.h>

struct state {
    http_request_t *held; /* deferred, for the test to answer */
    pthread_mutex_t lock;
};

static void hello(void *ctx, http_request_t *r)
{
    (void)ctx;
    http_reply(r, 200, "text/plain", "hello", 5);
}

static void echo(void *ctx, http_request_t *r)
{
    size_t size;
    const char *body = http_body(r, &size);
    (void)ctx;
    http_add_header(r, "X-Rest", http_rest(r));
    http_reply(r, 200, "text/plain", body, size);
}

static void json(void *ctx, http_request_t *r)
{
    json_t *o;
    struct error e = {0};
    (void)ctx;
    if (http_body_json(r, &o, &e) < 0)
        http_reply(r, 400, "text/plain", e.text, strlen(e.text));
    else
        http_reply_json(r, 200, o);
}

static void who(void *ctx, http_request_t *r)
{
    char text[32];
    (void)ctx;
    int n = snprintf(text, sizeof(text), "<%llx>", (unsigned long long)http_client(r));
    http_reply(r, 200, "text/plain", text, (size_t)n);
}

static void hold(void *ctx, http_request_t *r)
{
    struct state *s = ctx;
    http_defer(r);
    pthread_mutex_lock(&s->lock);
    s->held = r;
    pthread_mutex_unlock(&s->lock);
}

static http_request_t *take_held(struct state *s)
{
    http_request_t *r = NULL;
    for (double end = time_now_s() + 10; !r && time_now_s() < end;) {
        pthread_mutex_lock(&s->lock);
        r = s->held;
        s->held = NULL;
        pthread_mutex_unlock(&s->lock);
        poll(NULL, 0, 5);
    }
    assert_non_null(r);
    return r;
}

static const struct http_route routes[] = {
    {"GET", "/", hello, true},      {"GET", "/private", hello, false},
    {"POST", "/echo", echo, false}, {"POST", "/echo/*", echo, false},
    {"POST", "/json", json, false}, {"POST", "/hold", hold, false},
    {"GET", "/who", who, false}};

static http_server_t *begin(struct state *s, struct http_options o)
{
    http_server_t *server;
    struct error e = {0};
    memset(s, 0, sizeof(*s));
    pthread_mutex_init(&s->lock, NULL);
    o.host = "127.0.0.1";
    o.routes = routes;
    o.n_routes = ARRAY_LEN(routes);
    o.ctx = s;
    if (http_server_new(&o, &server, &e) < 0) fail_msg("%s", e.text);
    return server;
}

#define END "Host: localhost\r\nConnection: close\r\n"

static void expect(http_server_t *server, const char *request, const char *status, const char *has)
{
    struct str out = {0};
    client_ask(http_server_port(server), request, &out);
    if (strncmp(out.data, "HTTP/1.1 ", 9) != 0 || strncmp(out.data + 9, status, 3) != 0 ||
        !strstr(out.data, has))
        fail_msg("wanted %s and '%s', got: %s", status, has, out.data);
    str_fini(&out);
}

static void routes_and_errors(void **unused)
{
    struct state s;
    http_server_t *server = begin(&s, (struct http_options){0});
    (void)unused;
    expect(server, "GET / HTTP/1.1\r\n" END "\r\n", "200", "hello");
    expect(server, "HEAD / HTTP/1.1\r\n" END "\r\n", "200", "Content-Length: 5");
    expect(server, "GET /nowhere HTTP/1.1\r\n" END "\r\n", "404", "{\"error\":");
    expect(server, "GET /%00 HTTP/1.1\r\n" END "\r\n", "404", "{\"error\":"); /* and not "/" */
    expect(server, "GET /echo HTTP/1.1\r\n" END "\r\n", "405", "{\"error\":");
    expect(server, "GET / HTTP/1.1\r\nConnection: close\r\n\r\n", "400", ""); /* of no host */
    expect(server, "POST /echo HTTP/1.1\r\nContent-Length: 3\r\n" END "\r\nabc", "200",
           "\r\n\r\nabc");
    expect(server, "POST /echo/a/b HTTP/1.1\r\nContent-Length: 0\r\n" END "\r\n", "200",
           "X-Rest: a/b");
    expect(server,
           "POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" END
           "\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
           "200", "\r\n\r\nabc");
    expect(server, "POST /json HTTP/1.1\r\nContent-Length: 7\r\n" END "\r\n{\"a\":1}", "200",
           "{\"a\":1}");
    expect(server, "POST /json HTTP/1.1\r\nContent-Length: 4\r\n" END "\r\n{\"a\"", "400",
           "body:1:4");
    expect(server, "POST /json HTTP/1.1\r\nContent-Length: 0\r\n" END "\r\n", "400", "empty");
    http_server_free(server);
}

static void a_busy_port_is_an_error(void **unused)
{
    struct state s;
    http_server_t *server = begin(&s, (struct http_options){0}), *second;
    struct http_options o = {.host = "127.0.0.1", .port = http_server_port(server)};
    struct error e = {0};
    (void)unused;
    assert_true(http_server_new(&o, &second, &e) < 0);
    assert_non_null(strstr(e.text, "in use"));
    o.host = "nowhere";
    assert_true(http_server_new(&o, &second, &e) < 0);
    assert_non_null(strstr(e.text, "'nowhere' is no address"));
    http_server_free(server);
}

static void bodies_have_a_limit(void **unused)
{
    struct state s;
    http_server_t *server = begin(&s, (struct http_options){.max_body = 8});
    struct str out = {0};
    (void)unused;
    expect(server, "POST /echo HTTP/1.1\r\nContent-Length: 8\r\n" END "\r\n12345678", "200",
           "12345678");
    expect(server, "POST /echo HTTP/1.1\r\nContent-Length: 9\r\n" END "\r\n", "413", "too large");
    client_ask(http_server_port(server),
               "POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" END
               "\r\n9\r\n123456789\r\n0\r\n\r\n",
               &out);
    assert_null(strstr(out.data, "123456789")); /* the connection ends */
    str_fini(&out);
    http_server_free(server);
}

/* What many send at once has a limit too; whoever is beyond it may come again. */
static void bodies_have_a_limit_together(void **unused)
{
    struct state s;
    http_server_t *server = begin(&s, (struct http_options){.max_bodies = 10});
    struct str out = {0};
    (void)unused;
    int fd = client_connect(http_server_port(server));
    client_send(fd, "POST /echo HTTP/1.1\r\nContent-Length: 8\r\n" END "\r\n123456");
    while (http_server_busy(server) == 0)
        poll(NULL, 0, 5);
    poll(NULL, 0,
         100); /* its six bytes have come by then, or the next line shows that they had not */
    expect(server, "POST /echo HTTP/1.1\r\nContent-Length: 8\r\n" END "\r\n12345678", "503",
           "too much");
    client_send(fd, "78");
    client_read(fd, NULL, &out);
    assert_contains(out.data, "\r\n\r\n12345678");
    expect(server, "POST /echo HTTP/1.1\r\nContent-Length: 8\r\n" END "\r\n12345678", "200",
           "12345678");
    close(fd);
    str_fini(&out);
    http_server_free(server);
}

static void tell_who(http_server_t *server, const char *header, char text[32])
{
    struct str out = {0};
    char *request = NULL;
    assert_true(asprintf(&request, "GET /who HTTP/1.1\r\n" END "%s\r\n", header) > 0);
    client_ask(http_server_port(server), request, &out);
    const char *at = strchr(out.data, '<');
    assert_non_null(at);
    snprintf(text, 32, "%s", at);
    free(request);
    str_fini(&out);
}

/* Of several keys each is a client of its own; with one, or none, whoever comes from one address. */
static void who_asks(void **unused)
{
    static const char *const known[] = {"one", "two"};
    struct state s;
    char a[32], b[32], c[32];
    (void)unused;
    http_server_t *server = begin(&s, (struct http_options){.keys = known, .n_keys = 2});
    tell_who(server, "Authorization: Bearer one\r\n", a);
    tell_who(server, "x-api-key: one\r\n", b);
    tell_who(server, "Authorization: Bearer two\r\n", c);
    assert_string_equal(a, b);
    assert_string_not_equal(a, c);
    http_server_free(server);
    server = begin(&s, (struct http_options){.keys = known, .n_keys = 1});
    tell_who(server, "Authorization: Bearer one\r\n", a);
    http_server_free(server);
    server = begin(&s, (struct http_options){0});
    tell_who(server, "", b);
    assert_string_equal(a, b);
    assert_string_not_equal(a, "<0>");
    http_server_free(server);
}

static void keys(void **unused)
{
    static const char *const known[] = {"one", "another"};
    struct state s;
    http_server_t *server = begin(&s, (struct http_options){.keys = known, .n_keys = 2});
    (void)unused;
    expect(server, "GET / HTTP/1.1\r\n" END "\r\n", "200", "hello");
    expect(server, "GET /private HTTP/1.1\r\n" END "\r\n", "401", "WWW-Authenticate: Bearer");
    expect(server, "GET /private HTTP/1.1\r\nAuthorization: Bearer on\r\n" END "\r\n", "401",
           "key");
    expect(server, "GET /private HTTP/1.1\r\nAuthorization: Bearer one2\r\n" END "\r\n", "401",
           "key");
    expect(server, "GET /private HTTP/1.1\r\nAuthorization: Bearer another\r\n" END "\r\n", "200",
           "hello");
    expect(server, "GET /private HTTP/1.1\r\nx-api-key: one\r\n" END "\r\n", "200", "hello");
    expect(server, "GET /nowhere HTTP/1.1\r\n" END "\r\n", "401", "key");
    assert_true(http_same_key("abc", "abc"));
    assert_false(http_same_key("abc", ""));
    assert_false(http_same_key("abc", "abcabc"));
    assert_false(http_same_key("abc", "abd"));
    http_server_free(server);
}

static void pages_of_other_sites(void **unused)
{
    static const char *const sites[] = {"https://ours.example"};
    struct state s;
    http_server_t *server = begin(&s, (struct http_options){.origins = sites, .n_origins = 1});
    (void)unused;
    expect(server,
           "OPTIONS /echo HTTP/1.1\r\nOrigin: https://ours.example\r\n"
           "Access-Control-Request-Headers: authorization, x-custom\r\n" END "\r\n",
           "204", "Access-Control-Allow-Headers: authorization, x-custom");
    expect(server, "GET / HTTP/1.1\r\nOrigin: https://ours.example\r\n" END "\r\n", "200",
           "Access-Control-Allow-Origin: https://ours.example");
    expect(server, "GET / HTTP/1.1\r\nOrigin: https://other.example\r\n" END "\r\n", "403", "site");
    expect(server, "GET / HTTP/1.1\r\nOrigin: http://localhost\r\n" END "\r\n", "200", "hello");
    expect(server, "GET / HTTP/1.1\r\nConnection: close\r\nHost: other.example\r\n\r\n", "403",
           "site");
    http_server_free(server);
}

static void answers_that_come_later(void **unused)
{
    struct state s;
    http_server_t *server = begin(&s, (struct http_options){0});
    struct str out = {0};
    (void)unused;
    int fd = client_connect(http_server_port(server));
    client_send(fd, "POST /hold HTTP/1.1\r\nContent-Length: 0\r\n" END "\r\n");
    http_request_t *r = take_held(&s);
    expect(server, "GET / HTTP/1.1\r\n" END "\r\n", "200", "hello"); /* nobody else waits */
    http_reply(r, 201, "text/plain", "later", 5);
    client_read(fd, NULL, &out);
    assert_non_null(strstr(out.data, "HTTP/1.1 201"));
    assert_non_null(strstr(out.data, "\r\n\r\nlater"));
    close(fd);
    str_fini(&out);
    http_server_free(server);
}

static void streams(void **unused)
{
    struct state s;
    http_server_t *server = begin(&s, (struct http_options){0});
    struct str out = {0};
    (void)unused;
    int fd = client_connect(http_server_port(server));
    client_send(fd, "POST /hold HTTP/1.1\r\nContent-Length: 0\r\n" END "\r\n");
    http_request_t *r = take_held(&s);
    http_stream_begin(r, 200, HTTP_EVENTS);
    http_event(r, NULL, "one", 3);
    assert_true(client_read(fd, "data: one\n\n", &out)); /* before the end is known */
    assert_non_null(strstr(out.data, "text/event-stream"));
    assert_non_null(strstr(out.data, "no-cache"));
    http_event_comment(r, "still here");
    http_event(r, "name", "two", 3);
    http_stream_end(r);
    client_read(fd, NULL, &out);
    assert_non_null(strstr(out.data, ": still here\n\n"));
    assert_non_null(strstr(out.data, "event: name\ndata: two\n\n"));
    close(fd);
    str_fini(&out);
    http_server_free(server);
}

static bool leaves_within(http_request_t *r, double seconds)
{
    for (double end = time_now_s() + seconds; time_now_s() < end; poll(NULL, 0, 10))
        if (http_is_gone(r)) return true;
    return false;
}

static void clients_that_leave(void **unused)
{
    struct state s;
    http_server_t *server = begin(&s, (struct http_options){0});
    (void)unused;
    for (int stream = 0; stream < 2; stream++) {
        int fd = client_connect(http_server_port(server));
        client_send(fd, "POST /hold HTTP/1.1\r\nContent-Length: 0\r\nHost: localhost\r\n\r\n");
        http_request_t *r = take_held(&s);
        if (stream) http_stream_begin(r, 200, HTTP_EVENTS);
        assert_false(leaves_within(r, 0.3));
        close(fd);
        assert_true(leaves_within(r, 5));
        if (stream) {
            http_event(r, NULL, "into the void", 13);
            http_stream_end(r);
        } else {
            http_reply(r, 200, "text/plain", "into the void", 13);
        }
    }
    http_server_free(server);
}

static void slow_requests_are_cut_off(void **unused)
{
    struct state s;
    http_server_t *server = begin(&s, (struct http_options){.request_s = 0.3});
    struct str out = {0};
    (void)unused;
    int fd = client_connect(http_server_port(server));
    client_send(fd, "GET / HTTP/1.1\r\nX-Slow: ");
    double t0 = time_now_s();
    assert_false(client_read(fd, "never", &out));
    assert_true(time_now_s() - t0 < 5);
    close(fd);
    str_fini(&out);
    http_server_free(server);
}

/* Sends what is no HTTP, or half a request, and leaves at once. */
static void *leave_at_once(void *ctx)
{
    int port = *(const int *)ctx;
    for (int i = 0; i < 1500; i++) {
        int fd = client_connect(port);
        client_send(fd, i % 2 ? "\x01\x02 nonsense"
                              : "POST /echo HTTP/1.1\r\nContent-Length: 9\r\n\r\n1");
        close(fd);
    }
    return NULL;
}

/* Their places are free again, whatever they left behind: others are answered all the while. */
static void clients_that_leave_take_no_places(void **unused)
{
    struct state s;
    http_server_t *server = begin(&s, (struct http_options){.max_connections = 48});
    pthread_t threads[2];
    int port = http_server_port(server);
    (void)unused;
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, leave_at_once, &port), 0);
    for (int i = 0; i < 500; i++)
        expect(server, "POST /echo HTTP/1.1\r\nContent-Length: 3\r\n" END "\r\nabc", "200", "abc");
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        pthread_join(threads[i], NULL);
    expect(server, "GET / HTTP/1.1\r\n" END "\r\n", "200", "hello");
    http_server_free(server);
}

struct ender {
    struct state *s;
    pthread_t thread;
};

/* Answers what is held as soon as its client is told to be gone. */
static void *answer_the_gone(void *ctx)
{
    struct ender *e = ctx;
    http_request_t *r = take_held(e->s);
    while (!http_is_gone(r))
        poll(NULL, 0, 5);
    http_reply(r, 200, "text/plain", "", 0);
    return NULL;
}

static void the_end_waits_for_who_answers(void **unused)
{
    struct state s;
    http_server_t *server = begin(&s, (struct http_options){0});
    struct ender e = {.s = &s};
    struct str out = {0};
    (void)unused;
    int fd = client_connect(http_server_port(server)),
        idle = client_connect(http_server_port(server));
    client_send(fd, "POST /hold HTTP/1.1\r\nContent-Length: 0\r\nHost: localhost\r\n\r\n");
    assert_int_equal(pthread_create(&e.thread, NULL, answer_the_gone, &e), 0);
    while (http_server_busy(server) == 0)
        poll(NULL, 0, 5);
    http_server_quiesce(server);
    client_send(idle, "GET / HTTP/1.1\r\n" END "\r\n");
    client_read(idle, NULL, &out);
    assert_non_null(strstr(out.data, "HTTP/1.1 503"));
    http_server_free(server);
    pthread_join(e.thread, NULL);
    close(fd);
    close(idle);
    str_fini(&out);
}

static void prometheus(void **unused)
{
    const struct http_bucket buckets[] = {{0.5, 2}, {INFINITY, 1}};
    const struct http_metric m[] = {
        {"a_total", "An \\ and\na line.", HTTP_COUNTER, NULL, NULL, 3, NULL, 0},
        {"g", "G.", HTTP_GAUGE, "kind", "a\"b", 0.25, NULL, 0},
        {"a_total", "", HTTP_COUNTER, "x", "y", 4, NULL, 0},
        {"h", "H.", HTTP_HISTOGRAM, NULL, NULL, 1.5, buckets, 2}};
    struct str out = {0};
    (void)unused;
    http_metrics_write(m, ARRAY_LEN(m), &out);
    assert_string_equal(out.data, "# HELP a_total An \\\\ and\\na line.\n# TYPE a_total counter\n"
                                  "a_total 3\na_total{x=\"y\"} 4\n# HELP g G.\n# TYPE g gauge\n"
                                  "g{kind=\"a\\\"b\"} 0.25\n# HELP h H.\n# TYPE h histogram\n"
                                  "h_bucket{le=\"0.5\"} 2\nh_bucket{le=\"+Inf\"} 3\nh_sum 1.5\n"
                                  "h_count 3\n");
    str_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(routes_and_errors),
        cmocka_unit_test(a_busy_port_is_an_error),
        cmocka_unit_test(bodies_have_a_limit),
        cmocka_unit_test(bodies_have_a_limit_together),
        cmocka_unit_test(keys),
        cmocka_unit_test(who_asks),
        cmocka_unit_test(pages_of_other_sites),
        cmocka_unit_test(answers_that_come_later),
        cmocka_unit_test(streams),
        cmocka_unit_test(clients_that_leave),
        cmocka_unit_test(clients_that_leave_take_no_places),
        cmocka_unit_test(slow_requests_are_cut_off),
        cmocka_unit_test(the_end_waits_for_who_answers),
        cmocka_unit_test(prometheus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
