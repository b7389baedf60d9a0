/* Tests of src/serve/load: rounds of requests to a server of this program, and what is made of them. */
#include "serve_fixture.h"
#include "test_cmocka.h"

struct server {
    struct fixture f;
    struct serve_model m;
    serve_server_t *s;
    struct load_server to;
    char name[256];
};

static void begin(struct server *s, struct serve_server_options o)
{
    struct error e = {0};
    fixture_make(&s->f);
    fixture_open(&s->f, 2, 1, 1, &s->m);
    o.host = "127.0.0.1";
    o.name = "tiny";
    o.parallel = 4;
    o.queue = 64;
    assert_ok(serve_server_new(&s->m, &o, &s->s, &e), e);
    s->to = (struct load_server){.url = {.host = "127.0.0.1", .path = "/v1"}};
    s->to.url.port = serve_server_port(s->s);
}

static void end(struct server *s)
{
    serve_server_free(s->s);
    serve_model_close(&s->m);
    fixture_remove(&s->f);
}

static const struct load_options usual = {
    .requests = 7, .clients = 3, .prompt_words = 4, .answer_tokens = 6, .seed = 2, .timeout_s = 60};

static void check_round(const struct load_options *o, const struct load_round *r)
{
    assert_int_equal(r->n, o->requests);
    assert_int_equal(r->n_errors, 0);
    for (size_t i = 0; i < r->n; i++) {
        const struct load_request *q = &r->requests[i];
        assert_false(q->failed);
        assert_int_equal(q->answer_tokens, o->answer_tokens);
        assert_true(q->prompt_tokens >= 4 * 5 && q->prompt_tokens <= 4 * 7); /* bytes */
        assert_true(q->first_s > 0 && q->first_s <= q->whole_s && q->whole_s <= r->seconds + 1);
        assert_true(q->pieces >= 1 && q->pieces <= o->answer_tokens + 1);
    }
}

static void rounds(void **unused)
{
    struct server s;
    struct error e = {0};
    struct load_round r;
    (void)unused;
    begin(&s, (struct serve_server_options){0});
    assert_int_equal(serve_load_model(&s.to, s.name, &e), 0);
    assert_string_equal(s.to.model, "tiny");
    for (int open = 0; open < 2; open++) {
        struct load_options o = usual;
        o.rate = open ? 500 : 0;
        assert_ok(serve_load_round(&o, &s.to, open, &r, &e), e);
        check_round(&o, &r);
        struct load_figures f = serve_load_figures(&r, 1e6);
        assert_int_equal(f.failed, 0);
        assert_true(f.good_share == 1 && f.answer_tokens == 6);
        assert_true(f.first.p50 <= f.first.p90 && f.first.p90 <= f.first.p99);
        assert_true(f.first.p50 <= f.whole.p50 && f.token.p50 > 0);
        assert_true(fabs(f.tokens_s - 42 / r.seconds) < 1e-6 * f.tokens_s);
        assert_true(fabs(f.good_s - 7 / r.seconds) < 1e-6 * f.good_s);
        f = serve_load_figures(&r, 0);
        assert_true(f.good_share == 0);
        serve_load_round_fini(&r);
    }
    end(&s);
}

/* Refused ones are counted, and said. */
static void failures(void **unused)
{
    static const char *const keys[] = {"secret"};
    struct server s;
    struct error e = {0};
    struct load_round r;
    (void)unused;
    begin(&s, (struct serve_server_options){.keys = keys, .n_keys = 1});
    assert_true(serve_load_model(&s.to, s.name, &e) < 0);
    assert_contains(e.text, "401");
    assert_contains(e.hint, "--api-key");
    s.to.model = "tiny";
    assert_ok(serve_load_round(&usual, &s.to, 0, &r, &e), e);
    struct load_figures f = serve_load_figures(&r, 1);
    assert_int_equal(f.failed, 7);
    assert_true(f.good_share == 0 && isnan(f.first.p50));
    assert_int_equal(r.n_errors, 3);
    assert_contains(r.errors[0], "401");
    serve_load_round_fini(&r);
    s.to.key = "secret";
    assert_int_equal(serve_load_model(&s.to, s.name, &e), 0);
    end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(rounds), cmocka_unit_test(failures)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
