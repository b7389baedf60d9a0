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

static void generate(int threads, const char *prompt, const struct serve_generation *g,
                     struct str *text, struct serve_generated *r)
{
    struct serve_model m;
    serve_session_t *s;
    struct error e = {0};
    fixture_open(&fix, threads, 1, 64, &m);
    assert_int_equal(serve_session_new(&m, &s, &e), 0);
    if (serve_generate(s, prompt, strlen(prompt), g, text, r, &e) < 0) fail_msg("%s", e.text);
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

static void test_prompt_errors(void **state)
{
    (void)state;
    struct serve_model m;
    serve_session_t *s;
    struct error e = {0};
    struct serve_generated r;
    struct serve_generation g = plain(4);
    char longer[100];
    memset(longer, 'a', sizeof(longer));
    fixture_open(&fix, 1, 1, 64, &m);
    assert_int_equal(serve_session_new(&m, &s, &e), 0);
    assert_true(serve_generate(s, longer, sizeof(longer), &g, NULL, &r, &e) < 0);
    assert_non_null(strstr(e.text, "context 64"));
    g.no_start_token = true;
    assert_true(serve_generate(s, "", 0, &g, NULL, &r, &e) < 0);
    assert_int_equal(serve_generate(s, "a", 1, &g, NULL, &r, &e), 0);
    assert_int_equal(r.prompt_tokens, 1);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_do_not_change_the_text),
        cmocka_unit_test(test_greedy_continuation_is_the_models_own),
        cmocka_unit_test(test_stop_string_is_held_back),
        cmocka_unit_test(test_streaming_gives_the_same_text_in_whole_characters),
        cmocka_unit_test(test_generation_goes_on_behind_the_context),
        cmocka_unit_test(test_prompt_errors),
        cmocka_unit_test(test_opening_reports_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
