/* Generation: same text for any number of threads, stop strings, whole characters, long contexts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "serve_fixture.h"

static struct fixture fix;

static int group_setup(void **state)
{
    (void)state;
    fixture_make(&fix);
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    fixture_remove(&fix);
    return 0;
}

static struct serve_generation plain(int64_t n)
{
    return (struct serve_generation){.sampling = {.temperature = 1,
                                                  .top_p = 1,
                                                  .repetition_penalty = 1,
                                                  .repetition_window = 64,
                                                  .seed = 11},
                                     .max_tokens = n,
                                     .ignore_eos = true};
}

/* The same with another prompt. */
static struct serve_generation *ask(struct serve_generation *g, const char *prompt, size_t size)
{
    g->prompt = prompt;
    g->prompt_size = size;
    return g;
}

static void generate(int threads, const char *prompt, const struct serve_generation *g,
                     struct str *text, struct serve_generated *r)
{
    struct serve_model m;
    serve_session_t *s;
    struct error e = {0};
    fixture_open(&fix, threads, 1, 64, &m);
    assert_int_equal(serve_session_new(&m, &s, &e), 0);
    struct serve_generation asked = *g;
    if (serve_generate(s, ask(&asked, prompt, strlen(prompt)), text, r, &e) < 0)
        fail_msg("%s", e.text);
    serve_session_free(s);
    serve_model_close(&m);
}

static void test_threads_do_not_change_the_text(void **state)
{
    (void)state;
    struct str one = {0}, two = {0}, three = {0};
    struct serve_generated r;
    struct serve_generation g = plain(40);
    generate(1, "abc", &g, &one, &r);
    assert_int_equal(r.new_tokens, 40);
    assert_int_equal(r.prompt_tokens, 4); /* the start token and three bytes */
    assert_int_equal(r.reason, SERVE_STOP_LENGTH);
    generate(2, "abc", &g, &two, &r);
    generate(3, "abc", &g, &three, &r);
    assert_int_equal(one.len, 40);
    assert_int_equal(two.len, one.len);
    assert_memory_equal(one.data, two.data, one.len);
    assert_memory_equal(one.data, three.data, one.len);
    str_fini(&one);
    str_fini(&two);
    str_fini(&three);
}

static void test_greedy_continuation_is_the_models_own(void **state)
{
    (void)state;
    struct str text = {0};
    struct serve_generated r;
    struct serve_generation g = plain(5);
    g.sampling.temperature = 0;
    generate(1, "hello", &g, &text, &r);

    struct serve_model m;
    fixture_open(&fix, 1, 1, 64, &m);
    uint32_t ids[16] = {0, 'h' + 1, 'e' + 1, 'l' + 1, 'l' + 1, 'o' + 1}, targets[16] = {0};
    float *logits = mem_alloc(16 * 257 * sizeof(float));
    for (int n = 6; n < 11; n++) {
        struct model_batch b = {.B = 1, .T = n, .inputs = ids, .targets = targets};
        model_logits(m.model, &b, logits);
        const float *last = logits + (n - 1) * 257;
        uint32_t best = 0;
        for (uint32_t v = 1; v < 257; v++)
            best = last[v] > last[best] ? v : best;
        ids[n] = best;
        assert_true(best > 0); /* eos would end the text */
        assert_int_equal((unsigned char)text.data[n - 6], best - 1);
    }
    mem_free(logits);
    serve_model_close(&m);
    str_fini(&text);
}

/* Samples in one batch are the texts of one session each, also where some end before others, and
 * where some go beyond the context. */
static void test_samples_at_once(void **state)
{
    (void)state;
    enum { N = 7 };
    struct serve_model m;
    struct error e = {0};
    struct str together[N] = {{0}};
    struct serve_generated r[N], one;
    struct serve_generation g = plain(30);
    g.stream = 3;
    fixture_open(&fix, 2, 1, 1, &m);
    ask(&g, "xyz", 3);
    if (serve_generate_samples(&m, &g, N, together, r, &e) < 0) fail_msg("%s", e.text);
    char stop[4] = {0}; /* something that one of them says */
    memcpy(stop, together[2].data + 10, 3);
    assert_true(strlen(stop) == 3);
    const char *const stops[] = {stop};
    g.stop = stops;
    g.n_stop = 1;
    for (int i = 0; i < N; i++)
        str_clear(&together[i]);
    if (serve_generate_samples(&m, &g, N, together, r, &e) < 0) fail_msg("%s", e.text);
    int short_ones = 0;
    for (int i = 0; i < N; i++) {
        struct str alone = {0};
        g.stream = 3 + (uint64_t)i;
        generate(1, "xyz", &g, &alone, &one);
        assert_int_equal(one.new_tokens, r[i].new_tokens);
        assert_int_equal(one.reason, r[i].reason);
        assert_int_equal(one.prompt_tokens, r[i].prompt_tokens);
        assert_int_equal(alone.len, together[i].len);
        assert_memory_equal(alone.data ? alone.data : "", together[i].data ? together[i].data : "",
                            alone.len);
        short_ones += one.new_tokens < 30;
        str_fini(&alone);
        str_fini(&together[i]);
    }
    assert_true(short_ones > 0 && short_ones < N);
    /* 4 of the prompt and 80 in a context of 64: the oldest are forgotten, as alone */
    struct serve_generation long_ones = plain(80);
    int forgot = 0;
    ask(&long_ones, "xyz", 3);
    if (serve_generate_samples(&m, &long_ones, N, together, r, &e) < 0) fail_msg("%s", e.text);
    for (int i = 0; i < N; i++) {
        struct str alone = {0};
        long_ones.stream = (uint64_t)i;
        generate(1, "xyz", &long_ones, &alone, &one);
        assert_int_equal(one.new_tokens, r[i].new_tokens);
        assert_int_equal(one.forgotten, r[i].forgotten);
        assert_int_equal(alone.len, together[i].len);
        assert_memory_equal(alone.data ? alone.data : "", together[i].data ? together[i].data : "",
                            alone.len);
        forgot += one.forgotten > 0;
        str_fini(&alone);
        str_fini(&together[i]);
    }
    assert_true(forgot > 0);
    serve_model_close(&m);
}

static void test_stop_string_is_held_back(void **state)
{
    (void)state;
    struct str all = {0}, cut = {0};
    struct serve_generated r;
    struct serve_generation g = plain(40);
    generate(1, "xyz", &g, &all, &r);
    char stop[4];
    memcpy(stop, all.data + 10, 3);
    stop[3] = '\0';
    assert_true(strlen(stop) == 3);
    const char *first = memmem(all.data, all.len, stop, 3);
    const char *const stops[] = {"never to be seen", stop};
    g.stop = stops;
    g.n_stop = 2;
    generate(1, "xyz", &g, &cut, &r);
    assert_int_equal(r.reason, SERVE_STOP_STRING);
    assert_int_equal(cut.len, first - all.data);
    assert_memory_equal(cut.data, all.data, cut.len);
    str_fini(&all);
    str_fini(&cut);
}

struct pieces {
    struct str text;
    size_t ends[64];
    int calls, stop_after;
};

static int take_piece(void *ctx, const char *text, size_t size)
{
    struct pieces *p = ctx;
    str_append(&p->text, text, size);
    if (p->calls < (int)ARRAY_LEN(p->ends)) p->ends[p->calls] = p->text.len;
    p->calls++;
    return p->calls == p->stop_after;
}

/* Whether cutting text before byte `at` separates the bytes of one character. */
static bool splits_character(const struct str *text, size_t at)
{
    if (at >= text->len || ((unsigned char)text->data[at] & 0xC0) != 0x80) return false;
    for (size_t back = 1; back <= 3 && back <= at; back++) {
        unsigned char c = (unsigned char)text->data[at - back];
        if ((c & 0xC0) != 0x80) return c >= 0xC0 && (c >= 0xF0 ? 4u : c >= 0xE0 ? 3u : 2u) > back;
    }
    return false;
}

static void test_streaming_gives_the_same_text_in_whole_characters(void **state)
{
    (void)state;
    struct str text = {0};
    struct serve_generated r;
    struct pieces p = {0};
    struct serve_generation g = plain(50);
    g.on_text = take_piece;
    g.ctx = &p;
    generate(1, "q", &g, &text, &r);
    assert_int_equal(p.text.len, text.len);
    assert_memory_equal(p.text.data, text.data, text.len);
    assert_true(p.calls > 10);
    for (int i = 0; i < p.calls; i++)
        assert_false(splits_character(&text, p.ends[i]));

    struct pieces few = {.stop_after = 3};
    g.ctx = &few;
    generate(1, "q", &g, NULL, &r);
    assert_int_equal(r.reason, SERVE_STOP_CALLER);
    assert_int_equal(few.calls, 3);
    str_fini(&text);
    str_fini(&p.text);
    str_fini(&few.text);
}

static void test_generation_goes_on_behind_the_context(void **state)
{
    (void)state;
    struct str text = {0};
    struct serve_generated r;
    struct serve_generation g = plain(200); /* the context has 64 */
    generate(2, "start", &g, &text, &r);
    assert_int_equal(r.new_tokens, 200);
    assert_int_equal(text.len, 200);
    str_fini(&text);
}

static void start_called(void *ctx)
{
    *(int *)ctx += 1;
}

/* Another configuration beside the same weights. */
static const char *write_config(const struct model_config *c)
{
    static char path[128];
    struct error e = {0};
    snprintf(path, sizeof(path), "%s/other.json", fix.dir);
    json_t *o = model_config_to_json(c);
    assert_int_equal(json_save_path(o, path, &e), 0);
    json_decref(o);
    return path;
}

/* Behind a full context a session is one that was given only what it kept: a turn is kept whole,
 * and what was forgotten is counted. Also where attention depends on the position itself. */
static void test_forgetting_is_starting_anew(void **state)
{
    (void)state;
    struct serve_model m;
    serve_session_t *s, *fresh;
    struct error e = {0};
    struct serve_generated r;
    struct str a = {0}, b = {0};
    char turn[64];
    struct serve_generation g = plain(10);
    g.sampling.temperature = 0;
    for (size_t i = 0; i < sizeof(turn); i++)
        turn[i] = (char)('a' + i * 7 % 26);
    struct model_config c = fixture_config();
    c.attn_temperature_len = 8;
    struct serve_options so = {
        .config = write_config(&c), .weights = fix.weights, .tokenizer = fix.tokenizer, .T = 1};
    if (serve_model_open(&so, &m, &e) < 0) fail_msg("%s", e.text);
    assert_int_equal(serve_session_new(&m, &s, &e), 0);
    assert_int_equal(serve_session_new(&m, &fresh, &e), 0);
    assert_int_equal(serve_generate(s, ask(&g, "earlier words", 13), NULL, &r, &e), 0);
    assert_int_equal(r.forgotten, 0);
    /* start, 13 and 10 tokens are there; 50 more do not fit, so only the 50 are kept */
    assert_int_equal(serve_generate(s, ask(&g, turn, 50), &a, &r, &e), 0);
    assert_int_equal(r.forgotten, 24);
    g.no_start_token = true;
    assert_int_equal(serve_generate(fresh, ask(&g, turn, 50), &b, &r, &e), 0);
    assert_int_equal(r.forgotten, 0);
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.data, b.data, a.len);
    str_fini(&a);
    str_fini(&b);
    serve_session_free(s);
    serve_session_free(fresh);
    serve_model_close(&m);
}

/* A context of millions costs nothing until it is used; scoring in windows of it is refused. */
static void test_memory_is_bounded(void **state)
{
    (void)state;
    struct serve_model m;
    serve_session_t *s;
    struct error e = {0};
    struct serve_generated r;
    struct serve_generation g = plain(20);
    struct model_config c = fixture_config();
    c.context_length = 1 << 24;
    struct serve_options so = {.config = write_config(&c),
                               .weights = fix.weights,
                               .tokenizer = fix.tokenizer,
                               .B = 1,
                               .T = 1};
    if (serve_model_open(&so, &m, &e) < 0) fail_msg("%s", e.text);
    assert_true(m.bytes < 64 << 20);
    assert_int_equal(serve_session_new(&m, &s, &e), 0);
    assert_int_equal(serve_generate(s, ask(&g, "a", 1), NULL, &r, &e), 0);
    serve_session_free(s);
    serve_model_close(&m);

    so.B = 64;
    so.T = 0;
    assert_true(serve_model_open(&so, &m, &e) < 0);
    assert_non_null(strstr(e.text, "64 x 16777216 tokens, this machine has"));
    assert_non_null(strstr(e.hint, "--context"));

    c.context_length = 64;
    c.d_model = 1 << 18;
    c.ffn_hidden = 1 << 20;
    so.config = write_config(&c);
    assert_true(serve_model_open(&so, &m, &e) < 0);
    assert_non_null(strstr(e.text, "needs"));
    assert_non_null(strstr(e.hint, "more memory"));
}

/* What is planned without the weights is what an opened model and its decoder take. */
static void test_plan_is_what_is_taken(void **state)
{
    (void)state;
    struct serve_model m;
    struct serve_plan p;
    struct error e = {0};
    struct serve_options o = {
        .config = fix.config, .precision = SERVE_PRECISION_FP32, .threads = 1, .B = 1, .T = 1};
    fixture_open(&fix, 1, 1, 1, &m);
    if (serve_model_plan(&o, (struct serve_texts){3, 0}, &p, &e) < 0) fail_msg("%s", e.text);
    size_t decoder = model_decoder_bytes(m.model, 3 * m.config.context_length);
    assert_int_equal(p.decoder_bytes, decoder);
    assert_true(p.bytes == m.bytes + (double)decoder && m.bytes > 0);
    double sum = (double)p.decoder_bytes;
    for (size_t i = 0; i < p.n_rows; i++)
        sum += (double)p.rows[i].bytes;
    assert_true(sum == p.bytes);
    serve_model_close(&m);
    o.config = "/nowhere/config.json";
    assert_true(serve_model_plan(&o, (struct serve_texts){1, 0}, &p, &e) < 0);
}

static void test_prompt_errors(void **state)
{
    (void)state;
    struct serve_model m;
    serve_session_t *s;
    struct error e = {0};
    struct serve_generated r;
    struct serve_generation g = plain(4);
    int started = 0;
    g.on_start = start_called;
    g.ctx = &started;
    char longer[100];
    memset(longer, 'a', sizeof(longer));
    fixture_open(&fix, 1, 1, 64, &m);
    assert_int_equal(serve_session_new(&m, &s, &e), 0);
    assert_true(serve_generate(s, ask(&g, longer, sizeof(longer)), NULL, &r, &e) < 0);
    assert_non_null(strstr(e.text, "context 64"));
    assert_int_equal(started, 0); /* nothing is shown of a prompt that does not fit */
    g.no_start_token = true;
    assert_true(serve_generate(s, ask(&g, "", 0), NULL, &r, &e) < 0);
    assert_int_equal(serve_generate(s, ask(&g, "a", 1), NULL, &r, &e), 0);
    assert_int_equal(r.prompt_tokens, 1);
    assert_int_equal(started, 1);
    serve_session_free(s);
    serve_model_close(&m);
}

static void test_opening_reports_what_is_wrong(void **state)
{
    (void)state;
    struct serve_model m;
    struct error e = {0};
    struct serve_options o = {.config = fix.config, .weights = fix.weights, .tokenizer = NULL};
    assert_true(serve_model_open(&o, &m, &e) < 0);
    assert_non_null(strstr(e.hint, "--tokenizer"));
    o.tokenizer = fix.tokenizer;
    o.weights = "/nowhere/weights.safetensors";
    assert_true(serve_model_open(&o, &m, &e) < 0);
    assert_non_null(strstr(e.text, "/nowhere/weights.safetensors"));
}

/* A checkpoint's manifest names the tokenizer; another that merely fits is refused. */
static void test_another_tokenizer_is_refused(void **state)
{
    (void)state;
    struct serve_model m;
    struct error e = {0};
    char manifest[128], text[128], hex[17];
    uint64_t hash;
    assert_int_equal(hash_file(fix.tokenizer, &hash, &e), 0);
    snprintf(manifest, sizeof(manifest), "%s/manifest.json", fix.dir);
    for (int right = 0; right < 2; right++) {
        hash_to_hex(right ? hash : hash + 1, hex);
        int n = snprintf(text, sizeof(text), "{\"state\": {\"tokenizer_hash\": \"%s\"}}", hex);
        assert_int_equal(file_write(manifest, text, (size_t)n, &e), 0);
        struct serve_options o = {
            .config = fix.config, .weights = fix.weights, .tokenizer = fix.tokenizer, .T = 8};
        int rc = serve_model_open(&o, &m, &e);
        if (right && rc < 0) fail_msg("%s", e.text);
        if (right) serve_model_close(&m);
        if (right) break;
        assert_true(rc < 0);
        assert_non_null(strstr(e.text, hex));
        assert_non_null(strstr(e.text, fix.tokenizer));
    }
    assert_int_equal(unlink(manifest), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_do_not_change_the_text),
        cmocka_unit_test(test_greedy_continuation_is_the_models_own),
        cmocka_unit_test(test_samples_at_once),
        cmocka_unit_test(test_stop_string_is_held_back),
        cmocka_unit_test(test_streaming_gives_the_same_text_in_whole_characters),
        cmocka_unit_test(test_generation_goes_on_behind_the_context),
        cmocka_unit_test(test_forgetting_is_starting_anew),
        cmocka_unit_test(test_memory_is_bounded),
        cmocka_unit_test(test_plan_is_what_is_taken),
        cmocka_unit_test(test_prompt_errors),
        cmocka_unit_test(test_opening_reports_what_is_wrong),
        cmocka_unit_test(test_another_tokenizer_is_refused),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
