/* Evaluation: each score against a plain recomputation from the model's logits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "serve/serve_eval_internal.h"
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
    expect_no_task(write_file("c.jsonl", "[1]\n"), "c.jsonl:1:2: invalid JSON: the record",
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
        const char *guess = serve_eval_guess(file, &(struct corpus_options){0}, &e);
        assert_string_equal(guess, i == 2 ? "arc" : "choice"); /* whose prompt is another one */
        if (serve_eval(&m, "choice", file, &o, &r, &e) < 0) fail_msg("form %zu: %s", i, e.text);
        assert_float_equal(r.accuracy, 1, 0);
        assert_float_equal(r.accuracy_norm, best == best_norm, 0);
        assert_float_equal(r.chance, 0.5, 0);
    }
    const char *file = write_file(
        "choice.jsonl", "{\"question\": \"q\", \"choices\": [\"x\", \"y\"], \"answer\": \"C\"}\n");
    assert_true(serve_eval(&m, "choice", file, &o, &r, &e) < 0);
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
        "{\"question\": \"q\", \"choices\": [\"B\", \"A\"], \"answer\": \"A\"}\n",
        ("{\"question\": \"q\", \"choices\": {\"text\": [\"b\", \"c\", \"d\"], \"label\": [\"1\", "
         "\"2\", \"3\"]}, \"answerKey\": 1}\n"),
        ("{\"question\": \"q\", \"choices\": {\"text\": [\"b\", \"c\", \"d\"], \"label\": [1, 2, "
         "3]}, "
         "\"answerKey\": 2}\n")};
    static const char *const clear[] = {
        "{\"question\": \"q\", \"choices\": [\"0\", \"1\"], \"label\": \"1\"}\n",
        "{\"question\": \"q\", \"choices\": [\"3\", \"7\"], \"answer\": \"7\"}\n",
        ("{\"question\": \"q\", \"choices\": {\"text\": [\"0\", \"1\"], \"label\": [\"0\", \"1\"]},"
         " \"answer\": \"1\"}\n")};
    fixture_open(&fix, 1, 3, 64, &m);
    for (size_t i = 0; i < ARRAY_LEN(doubtful); i++) {
        assert_true(serve_eval(&m, "choice", write_file("d.jsonl", doubtful[i]), &o, &r, &e) < 0);
        assert_non_null(strstr(e.text, "the index of another"));
    }
    for (size_t i = 0; i < ARRAY_LEN(clear); i++) {
        char asked[200], by_number[200];
        snprintf(asked, sizeof(asked), "%s", clear[i]);
        assert_int_equal(serve_eval(&m, "choice", write_file("c.jsonl", asked), &o, &r, &e), 0);
        double right = r.accuracy; /* each names the second choice, as the number 1 does */
        char *quoted = strrchr(asked, ' ');
        snprintf(by_number, sizeof(by_number), "%.*s 1}\n", (int)(quoted - asked), asked);
        assert_int_equal(serve_eval(&m, "choice", write_file("c.jsonl", by_number), &o, &r, &e), 0);
        assert_float_equal(r.accuracy, right, 0);
    }
    serve_model_close(&m);
}

/* ------------------------------------------------------------------ published forms */

/* A line as it is published, and the pairs that the harness scores, written out by hand. The first
 * keys are those of the hub; marked in `gold` is the place of the right answer in the line. */
struct form_case {
    const char *task, *line;
    int n, gold;
    const char *contexts[4], *continuations[4];
};

#define MMLU_HEAD                                                                   \
    "The following are multiple choice questions (with answers) about high school " \
    "physics.\n\n"
static const struct form_case FORMS[] = {
    {"piqa",
     "{\"goal\": \"Open a jar\", \"sol1\": \"turn it\", \"sol2\": \"eat it\", \"label\": 1}",
     2,
     1,
     {"Question: Open a jar\nAnswer:", "Question: Open a jar\nAnswer:"},
     {" turn it", " eat it"}},
    {"winogrande",
     "{\"sentence\": \"Ann saw Sue as _ was up.\", \"option1\": \"Ann\", \"option2\": \"Sue\", "
     "\"answer\": \"2\"}",
     2,
     1,
     {"Ann saw Sue as Ann", "Ann saw Sue as Sue"},
     {" was up.", " was up."}},
    {"openbookqa",
     "{\"id\": \"7\", \"question_stem\": \"The sun is\", \"choices\": {\"text\": [\"hot\", "
     "\"wet\", "
     "\"an ox\"], \"label\": [\"A\", \"B\", \"C\"]}, \"answerKey\": \"C\"}",
     3,
     2,
     {"The sun is", "The sun is", "The sun is"},
     {" hot", " wet", " an ox"}},
    {"openbookqa",
     "{\"id\": \"7\", \"question\": {\"stem\": \"The sun is\", \"choices\": [{\"text\": \"hot\", "
     "\"label\": \"A\"}, {\"text\": \"wet\", \"label\": \"B\"}]}, \"answerKey\": \"A\"}",
     2,
     0,
     {"The sun is", "The sun is"},
     {" hot", " wet"}},
    {"arc",
     "{\"id\": \"M\", \"question\": \"What is ice?\", \"choices\": {\"text\": [\"gas\", "
     "\"water\"], "
     "\"label\": [\"1\", \"2\"]}, \"answerKey\": \"2\"}",
     2,
     1,
     {"Question: What is ice?\nAnswer:", "Question: What is ice?\nAnswer:"},
     {" gas", " water"}},
    {"hellaswag",
     "{\"ind\": 4, \"activity_label\": \"Roof\", \"ctx_a\": \"A man sits.\", \"ctx_b\": \"he IS\", "
     "\"ctx\": \"A man sits. he IS\", \"endings\": [\" up [title] x  y\", \"[step] down\"], "
     "\"label\": \"1\"}",
     2,
     1,
     {"Roof: A man sits. He is", "Roof: A man sits. He is"},
     {" up. x y", "  down"}},
    {"mmlu",
     "{\"question\": \" What falls? \", \"subject\": \"high_school_physics\", \"choices\": [\"a\", "
     "\"b\", \"c\", \"d\"], \"answer\": 3}",
     4,
     3,
     {MMLU_HEAD "What falls?\nA. a\nB. b\nC. c\nD. d\nAnswer:",
      MMLU_HEAD "What falls?\nA. a\nB. b\nC. c\nD. d\nAnswer:",
      MMLU_HEAD "What falls?\nA. a\nB. b\nC. c\nD. d\nAnswer:",
      MMLU_HEAD "What falls?\nA. a\nB. b\nC. c\nD. d\nAnswer:"},
     {" A", " B", " C", " D"}},
};

static void test_forms_become_the_harness_prompts(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(FORMS); i++) {
        const struct form_case *c = &FORMS[i];
        struct arena a = {0};
        struct error e = {0};
        struct eval_question q = {.arena = &a};
        json_t *o = json_loads(c->line, 0, NULL);
        assert_non_null(o);
        const struct eval_form *form = eval_form_of(o);
        assert_non_null(form);
        assert_string_equal(form->name, c->task);
        if (form->read(o, "line", &q, &e) < 0) fail_msg("%s: %s", c->task, e.text);
        assert_int_equal(q.n, c->n);
        assert_int_equal(q.gold, c->gold);
        for (int k = 0; k < c->n; k++) {
            assert_string_equal(q.context[k], c->contexts[k]);
            assert_string_equal(q.continuation[k], c->continuations[k]);
            if (strcmp(c->task, "winogrande") != 0)
                assert_string_equal(q.answer[k], c->continuations[k] + 1);
        }
        json_decref(o);
        arena_fini(&a);
    }
}

/* -log p of a continuation from the last 64 tokens before each of its own, which is what the model's
 * context holds. */
static double plain_pair(struct serve_model *m, const char *context, const char *continuation)
{
    char text[400];
    uint32_t ids[400] = {0}, targets[64] = {0};
    snprintf(text, sizeof(text), "%s%s", context, continuation);
    int n = (int)strlen(text) + 1, from = (int)strlen(context) + 1;
    for (int i = 1; i < n; i++)
        ids[i] = (unsigned char)text[i - 1] + 1u;
    int drop = MAX(n - 1 - 64, 0);
    struct model_batch b = {.B = 1, .T = n - 1 - drop, .inputs = ids + drop, .targets = targets};
    float *logits = mem_alloc(64 * V * sizeof(float));
    double nll = 0;
    model_logits(m->model, &b, logits);
    for (int i = from; i < n; i++) {
        const float *z = logits + (i - 1 - drop) * V;
        double sum = 0;
        for (int v = 0; v < V; v++)
            sum += exp((double)z[v]);
        nll += log(sum) - (double)z[ids[i]];
    }
    mem_free(logits);
    return nll;
}

/* Scored as published, and with the answer moved to the one that the model finds most likely. */
static void test_forms_are_scored(void **state)
{
    (void)state;
    struct serve_model m;
    fixture_open(&fix, 1, 3, 64, &m);
    for (size_t i = 0; i < ARRAY_LEN(FORMS); i++) {
        const struct form_case *c = &FORMS[i];
        struct serve_eval_options o = {0};
        struct serve_eval_result r;
        struct error e = {0};
        double nll[4], norm[4];
        int best = 0, best_norm = 0;
        for (int k = 0; k < c->n; k++) {
            nll[k] = plain_pair(&m, c->contexts[k], c->continuations[k]);
            norm[k] = nll[k] / (double)(strlen(c->continuations[k]) - 1);
            if (nll[k] < nll[best]) best = k;
            if (norm[k] < norm[best_norm]) best_norm = k;
        }
        const char *file = write_file("form.jsonl", c->line);
        assert_string_equal(serve_eval_guess(file, &(struct corpus_options){0}, &e), c->task);
        if (serve_eval(&m, c->task, file, &o, &r, &e) < 0) fail_msg("%s: %s", c->task, e.text);
        assert_string_equal(r.task, c->task);
        assert_float_equal(r.accuracy, best == c->gold, 0);
        assert_float_equal(r.chance, 1.0 / c->n, 1e-12);
        bool normed = strcmp(c->task, "winogrande") != 0 && strcmp(c->task, "mmlu") != 0;
        if (normed)
            assert_float_equal(r.accuracy_norm, best_norm == c->gold, 0);
        else
            assert_true(isnan(r.accuracy_norm));
    }
    serve_model_close(&m);
}

/* The line with the answer replaced names a choice that the plain likelihoods say is best. */
static void test_form_follows_the_likelihood(void **state)
{
    (void)state;
    struct serve_model m;
    struct serve_eval_options o = {0};
    struct serve_eval_result r;
    struct error e = {0};
    fixture_open(&fix, 1, 2, 64, &m);
    double ann = plain_pair(&m, "Ann saw Sue as Ann", " was up.");
    double sue = plain_pair(&m, "Ann saw Sue as Sue", " was up.");
    for (int answer = 1; answer <= 2; answer++) {
        char line[200];
        snprintf(line, sizeof(line),
                 "{\"sentence\": \"Ann saw Sue as _ was up.\", \"option1\": \"Ann\", "
                 "\"option2\": \"Sue\", \"answer\": \"%d\"}\n",
                 answer);
        assert_int_equal(serve_eval(&m, "winogrande", write_file("w.json", line), &o, &r, &e), 0);
        assert_float_equal(r.accuracy, (answer == 1) == (ann < sue), 0);
        assert_int_equal(r.tokens, 16);
    }
    serve_model_close(&m);
}

static void test_forms_that_are_not_known(void **state)
{
    (void)state;
    struct serve_model m;
    struct serve_eval_options o = {0};
    struct serve_eval_result r;
    struct error e = {0};
    fixture_open(&fix, 1, 2, 64, &m);
    const char *file = write_file("u.jsonl", "{\"premise\": \"a\", \"hypothesis\": \"b\"}\n");
    assert_null(serve_eval_guess(file, &(struct corpus_options){0}, &e));
    assert_non_null(strstr(e.text, "it has premise, hypothesis"));
    assert_non_null(strstr(e.hint, "piqa {goal, sol1, sol2, label}"));
    static const char *const bad[][3] = {
        {"piqa", "{\"goal\": \"a\", \"sol1\": \"b\", \"sol2\": \"c\", \"label\": -1}", "'label'"},
        {"piqa", "{\"goal\": \"a\", \"sol1\": \"b\", \"label\": 0}", "sol2"},
        {"winogrande",
         "{\"sentence\": \"no gap\", \"option1\": \"b\", \"option2\": \"c\", \"answer\": \"1\"}",
         "no '_'"},
        {"winogrande",
         "{\"sentence\": \"a _ b\", \"option1\": \"b\", \"option2\": \"c\", \"answer\": \"\"}",
         "'answer'"},
        {"openbookqa",
         "{\"question_stem\": \"a\", \"choices\": {\"text\": [\"x\", \"y\"], \"label\": [\"A\", "
         "\"B\"]}, \"answerKey\": \"E\"}",
         "'E' is the label of no choice"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        e = (struct error){0};
        assert_true(serve_eval(&m, bad[i][0], write_file("b.jsonl", bad[i][1]), &o, &r, &e) < 0);
        if (!strstr(e.text, bad[i][2])) fail_msg("no '%s' in: %s", bad[i][2], e.text);
        assert_non_null(strstr(e.text, "b.jsonl:1"));
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
        cmocka_unit_test(test_forms_become_the_harness_prompts),
        cmocka_unit_test(test_forms_are_scored),
        cmocka_unit_test(test_form_follows_the_likelihood),
        cmocka_unit_test(test_forms_that_are_not_known),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
