/* Evaluation: each score against a plain recomputation from the model's logits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "serve_fixture.h"

#include <math.h>

#define V 257

static struct fixture fix;
static char path[128];

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

static const char *write_file(const char *name, const char *text)
{
    struct error e = {0};
    snprintf(path, sizeof(path), "%s/%s", fix.dir, name);
    CHECK_MSG(file_write(path, text, strlen(text), &e) == 0, "%s", e.text);
    return path;
}

/* -log p of text[from..) given the start token and text[..from), all within one context; with end,
 * that of the document's end too. */
static double plain_nll_end(struct serve_model *m, const char *text, size_t from, bool end,
                            bool *greedy)
{
    size_t n = strlen(text) + end;
    uint32_t ids[64] = {0}, targets[64] = {0};
    float *logits = mem_alloc(64 * V * sizeof(float));
    double nll = 0;
    *greedy = true;
    for (size_t i = 0; text[i]; i++)
        ids[i + 1] = (unsigned char)text[i] + 1u; /* the end is id 0 */
    struct model_batch b = {.B = 1, .T = (int64_t)n, .inputs = ids, .targets = targets};
    model_logits(m->model, &b, logits);
    for (size_t i = from; i < n; i++) {
        const float *z = logits + i * V;
        double sum = 0;
        for (int v = 0; v < V; v++) {
            sum += exp((double)z[v]);
            *greedy = *greedy && z[v] <= z[ids[i + 1]];
        }
        nll += log(sum) - (double)z[ids[i + 1]];
    }
    mem_free(logits);
    return nll;
}

static double plain_nll(struct serve_model *m, const char *text, size_t from, bool *greedy)
{
    return plain_nll_end(m, text, from, false, greedy);
}

static void test_text_scores_every_token_once(void **state)
{
    (void)state;
    struct serve_model one, many;
    struct serve_eval_result a, b, c;
    struct error e = {0};
    char text[400];
    for (size_t i = 0; i < sizeof(text) - 1; i++)
        text[i] = (char)('a' + i * i % 23);
    text[sizeof(text) - 1] = '\0';
    const char *file = write_file("long.txt", text);
    struct serve_eval_options o = {.stride = 7};
    fixture_open(&fix, 1, 1, 64, &one);
    fixture_open(&fix, 2, 5, 64, &many);
    assert_int_equal(serve_eval_text(&one, file, &o, &a, &e), 0);
    assert_int_equal(serve_eval_text(&many, file, &o, &b, &e), 0);
    assert_int_equal(a.tokens, 400); /* and the end */
    assert_int_equal(a.bytes, 399);
    assert_float_equal(a.bits_per_byte, b.bits_per_byte, 1e-5);
    assert_float_equal(a.bits_per_byte * 399, log2(a.perplexity) * 400, 1e-6);
    o.stride = 64;
    assert_int_equal(serve_eval_text(&many, file, &o, &c, &e), 0);
    assert_int_equal(c.tokens, 400);
    assert_true(fabs(c.bits_per_byte - a.bits_per_byte) > 1e-9); /* less history */
    serve_model_close(&one);
    serve_model_close(&many);
}

static void test_text_of_one_window_is_the_plain_likelihood(void **state)
{
    (void)state;
    struct serve_model m;
    struct serve_eval_result r;
    struct error e = {0};
    bool greedy;
    struct serve_eval_options o = {0};
    fixture_open(&fix, 1, 4, 64, &m);
    assert_int_equal(serve_eval_text(&m, write_file("s.txt", "what is said"), &o, &r, &e), 0);
    double nll = plain_nll_end(&m, "what is said", 0, true, &greedy);
    assert_float_equal(r.bits_per_byte, nll / M_LN2 / 12, 1e-4);
    assert_true(serve_eval_text(&m, write_file("empty.txt", ""), &o, &r, &e) < 0);
    assert_non_null(strstr(e.text, "no text to score"));
    serve_model_close(&m);
}

/* Documents of a fortune file: each alone, its end counted, separators and blank ones not. */
static void test_text_of_documents(void **state)
{
    (void)state;
    struct serve_model m;
    struct serve_eval_result r;
    struct error e = {0};
    bool greedy;
    fixture_open(&fix, 1, 4, 64, &m);
    struct serve_eval_options o = {.corpus = {.format = CORPUS_FORTUNE}};
    const char *file = write_file("f.txt", "one\n%\n \n%\ntwo of\nthem\n%\n");
    double nll = plain_nll_end(&m, "one", 0, true, &greedy) +
                 plain_nll_end(&m, "two of\nthem", 0, true, &greedy);
    assert_int_equal(serve_eval_text(&m, file, &o, &r, &e), 0);
    assert_int_equal(r.examples, 2);
    assert_int_equal(r.bytes, 14);
    assert_int_equal(r.tokens, 16);
    assert_float_equal(r.bits_per_byte, nll / M_LN2 / 14, 1e-4);

    file = write_file("t.jsonl", "{\"body\": \"one\"}\n{}\n{\"body\": \"two of\\nthem\"}\n");
    o.corpus = (struct corpus_options){.field = "body", .skip_missing = true};
    assert_string_equal(serve_eval_guess(file, &o.corpus, &e), "text");
    assert_int_equal(serve_eval_text(&m, file, &o, &r, &e), 0);
    assert_float_equal(r.bits_per_byte, nll / M_LN2 / 14, 1e-4);
    serve_model_close(&m);
}

static void expect_no_task(const char *file, const char *text, const char *hint)
{
    static const struct corpus_options c;
    struct error e = {0};
    assert_null(serve_eval_guess(file, &c, &e));
    if (!strstr(e.text, text)) fail_msg("'%s' lacks '%s'", e.text, text);
    if (!strstr(e.hint, hint)) fail_msg("'%s' lacks '%s'", e.hint, hint);
}

static void test_files_that_are_no_task(void **state)
{
    (void)state;
    expect_no_task(write_file("a.jsonl", ""), "has no examples", "one JSON object a line");
    expect_no_task(write_file("b.jsonl", "\n{\"text\": \"x\n"), "b.jsonl:2:", "one JSON object");
    expect_no_task(write_file("c.jsonl", "[1]\n"), "c.jsonl:1: not a JSON object",
                   "one JSON object");
    expect_no_task(write_file("d.jsonl", "{\"x\": 1}\n"), "d.jsonl:1: not a task", "--task");
}

static void test_blimp(void **state)
{
    (void)state;
    struct serve_model m;
    struct serve_eval_result r;
    struct error e = {0};
    bool greedy;
    static const char *const pairs[3][2] = {
        {"she runs", "she run"}, {"a cat", "an cat"}, {"zzqq", "the"}};
    char text[600] = "";
    int right = 0;
    fixture_open(&fix, 1, 2, 64, &m);
    for (int i = 0; i < 3; i++) {
        size_t n = strlen(text);
        snprintf(text + n, sizeof(text) - n,
                 "{\"sentence_good\": \"%s\", \"sentence_bad\": \"%s\"}\n\n", pairs[i][0],
                 pairs[i][1]);
        right += plain_nll(&m, pairs[i][0], 0, &greedy) < plain_nll(&m, pairs[i][1], 0, &greedy);
    }
    struct serve_eval_options o = {0};
    const char *file = write_file("blimp.jsonl", text);
    assert_string_equal(serve_eval_guess(file, &(struct corpus_options){0}, &e), "blimp");
    assert_int_equal(serve_eval_blimp(&m, file, &o, &r, &e), 0);
    assert_int_equal(r.examples, 3);
    assert_float_equal(r.accuracy, right / 3.0, 1e-12);
    o.limit = 2;
    assert_int_equal(serve_eval_blimp(&m, file, &o, &r, &e), 0);
    assert_int_equal(r.examples, 2);
    file = write_file("bad.jsonl", "{\"sentence_good\": \"a\"}\n");
    assert_true(serve_eval_blimp(&m, file, &o, &r, &e) < 0);
    assert_non_null(strstr(e.text, "bad.jsonl:1"));
    assert_non_null(strstr(e.text, "sentence_bad"));
    serve_model_close(&m);
}

static void test_lambada(void **state)
{
    (void)state;
    struct serve_model m;
    struct serve_eval_result r;
    struct error e = {0};
    struct serve_eval_options o = {0};
    bool first, second;
    fixture_open(&fix, 1, 2, 64, &m);
    const char *file = write_file("lambada_x.jsonl",
                                  "{\"text\": \"the dog ran\"}\n{\"text\": \"so it was he\\n\"}\n");
    assert_string_equal(serve_eval_guess(file, &(struct corpus_options){0}, &e), "lambada");
    assert_int_equal(serve_eval_lambada(&m, file, &o, &r, &e), 0);
    double nll =
        plain_nll(&m, "the dog ran", 7, &first) + plain_nll(&m, "so it was he", 9, &second);
    assert_float_equal(r.perplexity, exp(nll / 2), exp(nll / 2) * 1e-4);
    assert_float_equal(r.accuracy, (first + second) / 2.0, 1e-12);
    assert_int_equal(r.tokens, 7); /* " ran" and " he" */
    serve_model_close(&m);
}

static void test_choice_forms_and_normalisation(void **state)
{
    (void)state;
    struct serve_model m;
    struct serve_eval_result r;
    struct error e = {0};
    struct serve_eval_options o = {0};
    bool greedy;
    static const char *const forms[] = {
        "{\"question\": \"what\", \"choices\": [\"a longer one\", \"b\"], \"answer\": @}\n",
        "{\"ctx\": \"what \", \"endings\": [\"a longer one\", \" b\"], \"label\": \"@\"}\n",
        ("{\"question\": \"what\", \"choices\": {\"text\": [\"a longer one\", \"b\"],"
         " \"label\": [\"0\", \"1\"]}, \"answerKey\": \"@\"}\n")};
    fixture_open(&fix, 1, 3, 64, &m);
    double a = plain_nll(&m, "what a longer one", 4, &greedy);
    double b = plain_nll(&m, "what b", 4, &greedy);
    int best = a < b ? 0 : 1, best_norm = a / 12 < b / 1 ? 0 : 1;
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        char line[300];
        snprintf(line, sizeof(line), "%s", forms[i]);
        *strchr(line, '@') = (char)('0' + best);
        const char *file = write_file("choice.jsonl", line);
        assert_string_equal(serve_eval_guess(file, &(struct corpus_options){0}, &e), "choice");
        if (serve_eval_choice(&m, file, &o, &r, &e) < 0) fail_msg("form %zu: %s", i, e.text);
        assert_float_equal(r.accuracy, 1, 0);
        assert_float_equal(r.accuracy_norm, best == best_norm, 0);
        assert_float_equal(r.chance, 0.5, 0);
    }
    const char *file = write_file(
        "choice.jsonl", "{\"question\": \"q\", \"choices\": [\"x\", \"y\"], \"answer\": \"C\"}\n");
    assert_true(serve_eval_choice(&m, file, &o, &r, &e) < 0);
    assert_non_null(strstr(e.text, "choice.jsonl:1"));
    serve_model_close(&m);
}

/* A string that is one choice's text and another's index is not guessed at; labels go first. */
static void test_choice_that_is_text_and_index(void **state)
{
    (void)state;
    struct serve_model m;
    struct serve_eval_result r;
    struct error e = {0};
    struct serve_eval_options o = {0};
    static const char *const doubtful[] = {
        "{\"question\": \"q\", \"choices\": [\"3\", \"2\", \"1\", \"0\"], \"label\": \"1\"}\n",
        "{\"question\": \"q\", \"choices\": [\"B\", \"A\"], \"answer\": \"A\"}\n"};
    static const char *const clear[] = {
        "{\"question\": \"q\", \"choices\": [\"0\", \"1\"], \"label\": \"1\"}\n",
        "{\"question\": \"q\", \"choices\": [\"3\", \"7\"], \"answer\": \"7\"}\n",
        ("{\"question\": \"q\", \"choices\": {\"text\": [\"0\", \"1\"], \"label\": [\"1\", \"0\"]},"
         " \"answer\": \"0\"}\n")};
    fixture_open(&fix, 1, 3, 64, &m);
    for (size_t i = 0; i < ARRAY_LEN(doubtful); i++) {
        assert_true(serve_eval_choice(&m, write_file("d.jsonl", doubtful[i]), &o, &r, &e) < 0);
        assert_non_null(strstr(e.text, "the index of another"));
    }
    for (size_t i = 0; i < ARRAY_LEN(clear); i++) {
        char asked[200], by_number[200];
        snprintf(asked, sizeof(asked), "%s", clear[i]);
        assert_int_equal(serve_eval_choice(&m, write_file("c.jsonl", asked), &o, &r, &e), 0);
        double right = r.accuracy; /* each names the second choice, as the number 1 does */
        char *quoted = strrchr(asked, ' ');
        snprintf(by_number, sizeof(by_number), "%.*s 1}\n", (int)(quoted - asked), asked);
        assert_int_equal(serve_eval_choice(&m, write_file("c.jsonl", by_number), &o, &r, &e), 0);
        assert_float_equal(r.accuracy, right, 0);
    }
    serve_model_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_scores_every_token_once),
        cmocka_unit_test(test_text_of_one_window_is_the_plain_likelihood),
        cmocka_unit_test(test_text_of_documents),
        cmocka_unit_test(test_files_that_are_no_task),
        cmocka_unit_test(test_blimp),
        cmocka_unit_test(test_lambada),
        cmocka_unit_test(test_choice_forms_and_normalisation),
        cmocka_unit_test(test_choice_that_is_text_and_index),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
