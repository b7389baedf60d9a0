/* Tests of src/serve/api: a tiny random model with a byte tokenizer behind the interface, asked over
 * loopback. What is asked for is checked, and that answers are the same alone and in company. */
#include "http_client.h"
#include "serve_fixture.h"
#include "serve/api/serve_engine_internal.h"
#include "test_cmocka.h"

#include <pthread.h>

struct server {
    struct fixture f;
    struct serve_model m;
    serve_server_t *s;
    int port;
};

static void begin_changed(struct server *s, struct serve_server_options o,
                          void (*change)(const struct fixture *f))
{
    struct error e = {0};
    fixture_make(&s->f);
    if (change) change(&s->f);
    fixture_open(&s->f, 2, 1, 1, &s->m);
    o.host = "127.0.0.1";
    o.name = "tiny";
    if (!o.parallel) o.parallel = 4;
    if (!o.queue) o.queue = 64;
    assert_ok(serve_server_new(&s->m, &o, &s->s, &e), e);
    s->port = serve_server_port(s->s);
}

static void begin(struct server *s, struct serve_server_options o)
{
    begin_changed(s, o, NULL);
}

static void end(struct server *s)
{
    assert_true(serve_server_stop(s->s, 10));
    serve_server_free(s->s);
    serve_model_close(&s->m);
    fixture_remove(&s->f);
}

/* The answer to a POST, or a GET where there is no body; caller frees. */
static char *ask(int port, const char *path, const char *body, int *status)
{
    struct str request = {0}, out = {0};
    str_printf(&request, "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n",
               body ? "POST" : "GET", path);
    if (body) str_printf(&request, "Content-Length: %zu\r\n", strlen(body));
    str_printf(&request, "\r\n%s", body ? body : "");
    client_ask(port, request.data, &out);
    *status = out.len > 12 ? (int)strtol(out.data + 9, NULL, 10) : 0;
    const char *at = strstr(out.data, "\r\n\r\n");
    char *answer = mem_strdup(at ? at + 4 : "");
    str_fini(&request);
    str_fini(&out);
    return answer;
}

static json_t *ask_json(const struct server *s, const char *path, const char *body, int wanted)
{
    int status;
    char *text = ask(s->port, path, body, &status);
    json_t *o = json_loads(text, JSON_ALLOW_NUL, NULL);
    if (status != wanted || !o)
        fail_msg("%s %s: status %d, wanted %d: %s", path, body ? body : "", status, wanted, text);
    mem_free(text);
    return o;
}

static const char *at(const json_t *o, const char *a, size_t i, const char *b, const char *c)
{
    const json_t *v = json_object_get(json_array_get(json_object_get(o, a), i), b);
    return json_string_value(c ? json_object_get(v, c) : v);
}

static void expect_error(const struct server *s, const char *path, const char *body, int status,
                         const char *words)
{
    json_t *o = ask_json(s, path, body, status), *e = json_object_get(o, "error");
    const char *text = json_string_value(json_object_get(e, "message"));
    if (!text || !strstr(text, words)) fail_msg("%s: '%s' lacks '%s'", body, text, words);
    assert_non_null(json_string_value(json_object_get(e, "type")));
    json_decref(o);
}

#define CHAT  "/v1/chat/completions"
#define HELLO "\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]"

#define TOOL                                                                                   \
    "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":" \
    "\"object\",\"properties\":{\"n\":{\"enum\":[1]}},\"required\":[\"n\"]}}}]"

static void what_it_tells(void **unused)
{
    struct server s;
    (void)unused;
    begin(&s, (struct serve_server_options){0});
    json_t *o = ask_json(&s, "/v1/models", NULL, 200);
    assert_string_equal(at(o, "data", 0, "id", NULL), "tiny");
    json_decref(o);
    json_decref(ask_json(&s, "/v1/models/tiny", NULL, 200));
    expect_error(&s, "/v1/models/other", NULL, 404, "'tiny'");
    json_decref(ask_json(&s, "/health", NULL, 200));
    o = ask_json(&s, "/props", NULL, 200);
    assert_int_equal(json_integer_value(json_object_get(o, "n_ctx")), 64);
    json_decref(o);
    o = ask_json(&s, "/tokenize", "{\"content\":\"ab\"}", 200);
    json_t *tokens = json_object_get(o, "tokens");
    assert_int_equal(json_array_size(tokens), 2);
    assert_int_equal(json_integer_value(json_array_get(tokens, 0)), 'a' + 1);
    json_decref(o);
    o = ask_json(&s, "/detokenize", "{\"tokens\":[98,99]}", 200);
    assert_string_equal(json_string_value(json_object_get(o, "content")), "ab");
    json_decref(o);
    end(&s);
}

static void errors(void **unused)
{
    struct server s;
    (void)unused;
    begin(&s, (struct serve_server_options){0});
    expect_error(&s, CHAT, "{", 400, "body:1");
    expect_error(&s, CHAT, "[]", 400, "no JSON object");
    expect_error(&s, CHAT, "{}", 400, "'messages'");
    expect_error(&s, CHAT, "{\"messages\":[{\"role\":\"king\",\"content\":\"\"}]}", 400, "role");
    expect_error(&s, CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":7}]}", 400, "content");
    expect_error(&s, CHAT, "{\"messages\":[{\"role\":\"user\"}]}", 400, "messages[0].content");
    expect_error(&s, CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":null}]}", 400,
                 "messages[0].content");
    expect_error(&s, CHAT, "{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[]}]}", 400,
                 "messages[0].content");
    expect_error(&s, CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":[]}]}", 400,
                 "at least one part");
    expect_error(&s, CHAT,
                 "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"text\":"
                 "\"a\"}]}]}",
                 400, "part of text");
    expect_error(&s, CHAT, "{" HELLO ",\"stop\":\"a\\u0000b\"}", 400, "zero byte");
    expect_error(&s, CHAT, "{" HELLO ",\"chat_template_kwargs\":[]}", 400, "must be an object");
    expect_error(&s, CHAT, "{" HELLO "," TOOL ",\"parallel_tool_calls\":1}", 400,
                 "'parallel_tool_calls'");
    expect_error(&s, CHAT, "{" HELLO ",\"temperature\":-1}", 400, "'temperature' is -1");
    expect_error(&s, CHAT, "{" HELLO ",\"temperature\":\"hot\"}", 400, "must be a number");
    expect_error(&s, CHAT, "{" HELLO ",\"n\":1000}", 400, "'n' is 1000");
    expect_error(&s, CHAT, "{" HELLO ",\"max_tokens\":-1}", 400, "'max_tokens'");
    expect_error(&s, CHAT, "{" HELLO ",\"logit_bias\":{\"9999\":1}}", 400, "no token id");
    expect_error(&s, CHAT, "{" HELLO ",\"model\":\"other\"}", 404, "'tiny'");
    expect_error(&s, CHAT, "{" HELLO ",\"top_logprobs\":2}", 400, "'logprobs'");
    expect_error(&s, "/v1/responses", "{\"input\":\"a\",\"instructions\":5}", 400,
                 "'instructions'");
    expect_error(&s, "/v1/responses", "{\"input\":\"a\",\"tools\":{}}", 400,
                 "'tools' must be a list");
    expect_error(&s, "/v1/messages", "{\"max_tokens\":2,\"system\":5," HELLO "}", 400, "'system'");
    expect_error(&s, "/v1/completions", "{\"prompt\":7}", 400, "'prompt'");
    expect_error(&s, "/v1/completions", "{\"prompt\":[1,999]}", 400, "none of this model");
    expect_error(
        &s, "/v1/completions",
        "{\"prompt\":\"1234567890123456789012345678901234567890123456789012345678901234\"}", 400,
        "the context of this model 64");
    expect_error(&s, "/v1/nothing", "{}", 404, "nothing at this path");
    end(&s);
}

/* What no context could hold is refused before it is encoded, everywhere by its bytes. */
static void texts_beyond_any_context(void **unused)
{
    static const char *const asked[][2] = {
        {CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":\""},
        {"/v1/completions", "{\"prompt\":\""},
        {"/v1/embeddings", "{\"input\":\""}};
    struct server s;
    (void)unused;
    begin(&s, (struct serve_server_options){0});
    for (size_t i = 0; i < ARRAY_LEN(asked); i++) {
        struct str body = {0};
        str_puts(&body, asked[i][1]);
        for (int k = 0; k < 2000; k++)
            str_puts(&body, "0123456789");
        str_puts(&body, i == 0 ? "\"}]}" : "\"}");
        expect_error(&s, asked[i][0], body.data, 400, "bytes, and the context of this model is 64");
        str_fini(&body);
    }
    end(&s);
}

/* Fields that nobody reads are named; what may not stand in a header is spelled out. */
static void unknown_fields_are_named(void **unused)
{
    static const struct {
        const char *path, *body;
    } asked[] = {
        {CHAT, "{" HELLO ",\"max_tokens\":1,\"no such\":1,\"metadata\":{}}"},
        {"/v1/completions", "{\"prompt\":\"a\",\"max_tokens\":1,\"no such\":1,\"metadata\":{}}"},
        {"/v1/embeddings", "{\"input\":\"a\",\"no such\":1,\"metadata\":{}}"},
        {"/tokenize", "{\"content\":\"a\",\"no such\":1,\"metadata\":{}}"},
        {"/detokenize", "{\"tokens\":[5],\"no such\":1,\"metadata\":{}}"},
        {"/apply-template", "{" HELLO ",\"no such\":1,\"metadata\":{}}"}};
    struct server s;
    (void)unused;
    begin(&s, (struct serve_server_options){0});
    for (size_t i = 0; i < ARRAY_LEN(asked); i++) {
        struct str request = {0}, out = {0};
        str_printf(&request,
                   "POST %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                   "Content-Length: %zu\r\n\r\n%s",
                   asked[i].path, strlen(asked[i].body), asked[i].body);
        client_ask(s.port, request.data, &out);
        assert_contains(out.data, "X-Colossus-Ignored: no%20such, metadata\r\n");
        str_fini(&request);
        str_fini(&out);
    }
    end(&s);
}

/* Half of the weights become so large that sums of products with them are no numbers. */
static void spoil(const struct fixture *f)
{
    struct error e = {0};
    const float large = 1e38f;
    char *data;
    size_t size;
    assert_ok(file_read(f->weights, (size_t)1 << 30, &data, &size, &e), e);
    for (size_t at = size - sizeof(large); at > size / 2; at -= sizeof(large))
        memcpy(data + at, &large, sizeof(large));
    assert_ok(file_write(f->weights, data, size, &e), e);
    mem_free(data);
}

static void no_answer_from_what_is_no_number(void **unused)
{
    struct server s;
    const char *words = "not finite numbers";
    (void)unused;
    begin_changed(&s, (struct serve_server_options){0}, spoil);
    expect_error(&s, CHAT, "{" HELLO ",\"max_tokens\":3}", 500, words);
    expect_error(&s, "/v1/completions",
                 "{\"prompt\":\"ab\",\"max_tokens\":0,\"echo\":true,\"logprobs\":1}", 500, words);
    expect_error(&s, "/v1/embeddings", "{\"input\":\"ab\"}", 500, words);
    end(&s);
}

static char *chat_text(const struct server *s, const char *fields)
{
    struct str body = {0};
    str_printf(&body, "{" HELLO "%s%s}", fields[0] ? "," : "", fields);
    json_t *o = ask_json(s, CHAT, body.data, 200);
    char *text = mem_strdup(at(o, "choices", 0, "message", "content"));
    json_decref(o);
    str_fini(&body);
    return text;
}

static void chats(void **unused)
{
    struct server s;
    (void)unused;
    begin(&s, (struct serve_server_options){0});
    json_t *o = ask_json(
        &s, CHAT, "{" HELLO ",\"max_tokens\":5,\"ignore_eos\":true,\"n\":3,\"seed\":1}", 200);
    assert_string_equal(json_string_value(json_object_get(o, "object")), "chat.completion");
    assert_int_equal(json_array_size(json_object_get(o, "choices")), 3);
    assert_string_equal(at(o, "choices", 2, "finish_reason", NULL), "length");
    json_t *usage = json_object_get(o, "usage");
    assert_int_equal(json_integer_value(json_object_get(usage, "completion_tokens")), 15);
    json_decref(o);
    char *a = chat_text(&s, "\"max_tokens\":16,\"seed\":3,\"ignore_eos\":true");
    char *b = chat_text(&s, "\"max_tokens\":16,\"seed\":3,\"ignore_eos\":true");
    char *c = chat_text(&s, "\"max_tokens\":16,\"seed\":4,\"ignore_eos\":true");
    assert_string_equal(a, b);
    assert_string_not_equal(a, c);
    mem_free(a);
    mem_free(b);
    mem_free(c);
    a = chat_text(&s, "\"max_tokens\":4,\"logit_bias\":{\"98\":100}");
    assert_string_equal(a, "aaaa");
    mem_free(a);
    a = chat_text(&s, "\"max_tokens\":9,\"logit_bias\":{\"98\":100},\"stop\":\"aa\"");
    assert_string_equal(a, "");
    mem_free(a);
    end(&s);
}

/* All pieces of a stream's text, and what else there must be of it. */
static void streams(void **unused)
{
    struct server s;
    int status;
    (void)unused;
    begin(&s, (struct serve_server_options){0});
    char *whole = chat_text(&s, "\"max_tokens\":12,\"temperature\":0,\"ignore_eos\":true");
    char *text = ask(s.port, CHAT,
                     "{" HELLO ",\"max_tokens\":12,\"temperature\":0,\"ignore_eos\":true,"
                     "\"stream\":true,\"stream_options\":{\"include_usage\":true}}",
                     &status);
    struct str joined = {0};
    bool done = false, role = false, usage = false;
    str_reserve(&joined, 1);
    assert_int_equal(status, 200);
    for (char *line = strstr(text, "data: "); line; line = strstr(line + 6, "data: ")) {
        json_t *o = json_loads(line + 6, JSON_DISABLE_EOF_CHECK | JSON_ALLOW_NUL, NULL);
        assert_false(done);
        done = strncmp(line + 6, "[DONE]", 6) == 0;
        const char *piece = at(o, "choices", 0, "delta", "content");
        role = role || at(o, "choices", 0, "delta", "role");
        usage = usage || json_object_get(o, "usage");
        if (piece) str_puts(&joined, piece);
        json_decref(o);
    }
    assert_true(done && role && usage);
    assert_string_equal(joined.data, whole);
    str_fini(&joined);
    mem_free(text);
    mem_free(whole);
    end(&s);
}

static void completions(void **unused)
{
    struct server s;
    (void)unused;
    begin(&s, (struct serve_server_options){0});
    json_t *o = ask_json(&s, "/v1/completions",
                         "{\"prompt\":[[98,99,100]],\"echo\":true,\"logprobs\":1,\"max_tokens\":1,"
                         "\"temperature\":0}",
                         200);
    const json_t *choice = json_array_get(json_object_get(o, "choices"), 0);
    const json_t *lp = json_object_get(choice, "logprobs");
    const json_t *numbers = json_object_get(lp, "token_logprobs");
    assert_int_equal(json_array_size(numbers), 4);
    assert_true(json_is_null(json_array_get(numbers, 0)));
    for (size_t i = 1; i < 4; i++)
        assert_true(json_number_value(json_array_get(numbers, i)) <= 0);
    assert_memory_equal(json_string_value(json_object_get(choice, "text")), "abc", 3);
    json_decref(o);
    o = ask_json(&s, "/v1/completions",
                 "{\"prompt\":[\"ab\",\"cd\"],\"max_tokens\":3,\"temperature\":0}", 200);
    assert_int_equal(json_array_size(json_object_get(o, "choices")), 2);
    json_decref(o);
    o = ask_json(&s, "/v1/embeddings", "{\"input\":[\"ab\",\"cd\"]}", 200);
    const json_t *v = json_object_get(json_array_get(json_object_get(o, "data"), 1), "embedding");
    double sum = 0;
    for (size_t i = 0; i < json_array_size(v); i++)
        sum += pow(json_number_value(json_array_get(v, i)), 2);
    assert_int_equal(json_array_size(v), 32);
    assert_true(fabs(sum - 1) < 1e-5);
    json_decref(o);
    end(&s);
}

/* What a user writes is text, whatever it looks like. */
static void users_write_no_control_tokens(void **unused)
{
    struct server s;
    (void)unused;
    begin(&s, (struct serve_server_options){
                  .template_text =
                      "{% if a %}{{ tools | tojson }}{{ a | tojson }}{{ a.role }}{% endif %}"
                      "{% for m in messages %}{{ m.content }}{% endfor %}"});
    json_t *o = ask_json(&s, "/tokenize",
                         "{\"messages\":[{\"role\":\"user\",\"content\":\"<|eos|>\"}]}", 200);
    const json_t *tokens = json_object_get(o, "tokens");
    for (size_t i = 0; i < json_array_size(tokens); i++)
        assert_true(json_integer_value(json_array_get(tokens, i)) > 0);
    json_decref(o);
    /* nor where it is called a role, in what a template shows of tools or of its own settings */
    o = ask_json(&s, "/tokenize",
                 "{" HELLO ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\","
                 "\"parameters\":{\"role\":\"<|eos|>\"}}}],\"chat_template_kwargs\":{\"a\":{"
                 "\"role\":\"<|eos|>\"}}}",
                 200);
    tokens = json_object_get(o, "tokens");
    assert_true(json_array_size(tokens) > 40);
    for (size_t i = 0; i < json_array_size(tokens); i++)
        assert_true(json_integer_value(json_array_get(tokens, i)) > 0);
    json_decref(o);
    o = ask_json(&s, "/tokenize", "{\"content\":\"<|eos|>\",\"parse_special\":true}", 200);
    tokens = json_object_get(o, "tokens");
    assert_int_equal(json_array_size(tokens), 1);
    assert_int_equal(json_integer_value(json_array_get(tokens, 0)), 0);
    json_decref(o);
    end(&s);
}

#define SCHEMA                                                                        \
    "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\",\"minimum\":0," \
    "\"maximum\":99},\"k\":{\"enum\":[\"x\",\"yz\"]}},\"required\":[\"a\",\"k\"]}"

/* A model of random weights writes what a schema says, at any temperature. */
static void answers_fit_schemas(void **unused)
{
    struct server s;
    (void)unused;
    begin(&s, (struct serve_server_options){0});
    for (int seed = 0; seed < 6; seed++) {
        struct str fields = {0};
        str_printf(&fields,
                   "\"seed\":%d,\"temperature\":%d,\"response_format\":{\"type\":\"json_schema\","
                   "\"json_schema\":{\"name\":\"n\",\"schema\":" SCHEMA "}}",
                   seed, seed % 3);
        char *text = chat_text(&s, fields.data);
        json_t *v = json_loads(text, 0, NULL);
        const char *k = json_string_value(json_object_get(v, "k"));
        if (!k || (strcmp(k, "x") != 0 && strcmp(k, "yz") != 0)) fail_msg("%s", text);
        assert_in_range(json_integer_value(json_object_get(v, "a")), 0, 99);
        json_decref(v);
        mem_free(text);
        str_fini(&fields);
    }
    expect_error(&s, CHAT,
                 "{" HELLO ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{"
                 "\"schema\":{\"not\":{}}}}}",
                 400, "'not'");
    expect_error(&s, CHAT, "{" HELLO ",\"response_format\":{\"type\":\"yaml\"}}", 400, "'yaml");
    end(&s);
}

static void calls_of_tools(void **unused)
{
    struct server s;
    int status;
    (void)unused;
    begin(&s, (struct serve_server_options){.template_text = "{{ tools and '' }}:"});
    json_t *o = ask_json(&s, CHAT, "{" HELLO "," TOOL ",\"tool_choice\":\"required\"}", 200);
    const json_t *choice = json_array_get(json_object_get(o, "choices"), 0);
    const json_t *calls = json_object_get(json_object_get(choice, "message"), "tool_calls");
    const json_t *f = json_object_get(json_array_get(calls, 0), "function");
    assert_string_equal(json_string_value(json_object_get(f, "name")), "f");
    assert_string_equal(json_string_value(json_object_get(f, "arguments")), "{\"n\":1}");
    assert_string_equal(json_string_value(json_object_get(choice, "finish_reason")), "tool_calls");
    json_decref(o);
    char *text = ask(s.port, CHAT,
                     "{" HELLO "," TOOL ",\"tool_choice\":\"required\",\"stream\":true}", &status);
    assert_contains(text, "\"tool_calls\":[{\"index\":0,\"id\":\"call_");
    assert_contains(text, "\"finish_reason\":\"tool_calls\"");
    mem_free(text);
    o = ask_json(
        &s, "/v1/messages",
        "{\"max_tokens\":60,\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"tools\":"
        "[{\"name\":\"f\",\"input_schema\":{\"type\":\"object\",\"additionalProperties\":"
        "false}}],\"tool_choice\":{\"type\":\"any\"}}",
        200);
    assert_string_equal(at(o, "content", 0, "type", NULL), "tool_use");
    assert_string_equal(json_string_value(json_object_get(o, "stop_reason")), "tool_use");
    json_decref(o);
    expect_error(&s, CHAT, "{" HELLO ",\"tool_choice\":\"required\"}", 400, "needs 'tools'");
    expect_error(&s, CHAT, "{" HELLO "," TOOL ",\"tool_choice\":{\"function\":{\"name\":\"g\"}}}",
                 400, "no tool 'g'");
    end(&s);
}

static void other_interfaces(void **unused)
{
    struct server s;
    int status;
    (void)unused;
    begin(&s, (struct serve_server_options){0});
    json_t *o = ask_json(&s, "/v1/responses", "{\"input\":\"Hi\",\"max_output_tokens\":4}", 200);
    assert_string_equal(json_string_value(json_object_get(o, "object")), "response");
    assert_string_equal(at(o, "output", 0, "role", NULL), "assistant");
    json_decref(o);
    char *text = ask(s.port, "/v1/responses",
                     "{\"input\":[{\"role\":\"user\",\"content\":\"Hi\"}],\"max_output_"
                     "tokens\":4,\"stream\":"
                     "true}",
                     &status);
    assert_contains(text, "event: response.created\n");
    assert_contains(text, "event: response.incomplete\n");
    mem_free(text);
    o = ask_json(&s, "/v1/messages",
                 "{\"max_tokens\":4,\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}", 200);
    assert_string_equal(at(o, "content", 0, "type", NULL), "text");
    json_decref(o);
    text = ask(s.port, "/v1/messages",
               "{\"max_tokens\":4,\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":[{"
               "\"type\":\"text\",\"text\":\"Hi\"}]}]}",
               &status);
    assert_contains(text, "event: message_start\n");
    assert_contains(text, "event: message_stop\n");
    mem_free(text);
    o = ask_json(&s, "/v1/messages/count_tokens",
                 "{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}", 200);
    assert_int_equal(json_integer_value(json_object_get(o, "input_tokens")), 19);
    json_decref(o);
    json_decref(ask_json(&s, "/v1/messages/count_tokens",
                         "{\"messages\":[{\"role\":\"assistant\",\"content\":[{\"type\":"
                         "\"thinking\",\"thinking\":\"hm\",\"signature\":\"\"},{\"type\":\"text\","
                         "\"text\":\"Hi\"}]}]}",
                         200));
    int unused_status;
    text = ask(s.port, "/v1/messages", "{\"messages\":[]}", &unused_status);
    assert_int_equal(unused_status, 400);
    assert_contains(text, "{\"type\":\"error\"");
    mem_free(text);
    end(&s);
}

/* What comes of a job that is given to the engine as it is. */
struct told {
    struct engine_job job;
    int tokens, late_after; /* its deadline passes with that token; 0: not so */
    enum engine_end why;
    pthread_mutex_t lock;
    bool done;
};

static bool told_token(void *ctx, int choice, const struct engine_token *t)
{
    struct told *x = ctx;
    (void)choice;
    (void)t;
    if (++x->tokens == x->late_after) x->job.deadline_s = time_now_s() - 1;
    return true;
}

static void told_end(void *ctx, int choice, enum engine_end why)
{
    (void)choice;
    ((struct told *)ctx)->why = why;
}

static void told_wait(void *ctx)
{
    (void)ctx;
}

static bool told_is_gone(void *ctx)
{
    (void)ctx;
    return false;
}

static void told_done(void *ctx)
{
    struct told *x = ctx;
    pthread_mutex_lock(&x->lock);
    x->done = true;
    pthread_mutex_unlock(&x->lock);
}

static bool is_done(struct told *x)
{
    pthread_mutex_lock(&x->lock);
    bool done = x->done;
    pthread_mutex_unlock(&x->lock);
    return done;
}

/* Whose deadline has passed before it is taken in writes nothing; whose passes while it writes ends
 * at the next step; the others are written whole. */
static void deadlines(void **unused)
{
    static const uint32_t prompt[] = {5, 6, 7};
    enum { N = 4, TOKENS = 30 };
    struct fixture f = {0};
    struct serve_model m;
    struct error e = {0};
    engine_t *engine;
    struct engine_figures figures;
    struct told told[N];
    (void)unused;
    fixture_make(&f);
    fixture_open(&f, 2, 1, 1, &m);
    const struct engine_options o = {.sequences = 2, .context = 64, .queue = N, .pages = 64};
    assert_ok(engine_new(&m, &o, &engine, &e), e);
    for (int i = 0; i < N; i++) {
        told[i] = (struct told){.late_after = i == 1 ? 3 : 0};
        pthread_mutex_init(&told[i].lock, NULL);
        told[i].job = (struct engine_job){.prompt = prompt,
                                          .n_prompt = ARRAY_LEN(prompt),
                                          .max_tokens = TOKENS,
                                          .n = 1,
                                          .sampling = {.top_p = 1, .repetition_penalty = 1},
                                          .deadline_s = i == 2   ? time_now_s() - 1
                                                        : i == 3 ? time_now_s() + 1e6
                                                                 : 0,
                                          .ctx = &told[i],
                                          .on_token = told_token,
                                          .on_end = told_end,
                                          .on_wait = told_wait,
                                          .is_gone = told_is_gone,
                                          .on_done = told_done};
        assert_true(engine_reserve(engine, 0));
        engine_submit(engine, &told[i].job);
    }
    for (int i = 0; i < N; i++)
        for (int tries = 0; !is_done(&told[i]); tries++) {
            assert_true(tries < 3000); /* half a minute: it stands still */
            poll(NULL, 0, 10);
        }
    assert_int_equal(told[0].why, ENGINE_END_LENGTH);
    assert_int_equal(told[0].tokens, TOKENS);
    assert_int_equal(told[1].why, ENGINE_END_LATE);
    assert_int_equal(told[1].tokens, 3);
    assert_int_equal(told[2].why, ENGINE_END_LATE);
    assert_int_equal(told[2].tokens, 0);
    assert_int_equal(told[3].why, ENGINE_END_LENGTH);
    assert_int_equal(told[3].tokens, TOKENS);
    engine_figures(engine, &figures);
    assert_int_equal(figures.late, 2);
    engine_stop(engine);
    engine_free(engine);
    serve_model_close(&m);
    fixture_remove(&f);
}

/* The same seen from outside: a status, or an error in the stream, and no answer that looks whole. */
static void late_answers(void **unused)
{
    struct server s;
    int status;
    (void)unused;
    begin(&s, (struct serve_server_options){.timeout_s = 1e-9});
    expect_error(&s, CHAT, "{" HELLO "}", 504, "in time");
    expect_error(&s, "/v1/embeddings", "{\"input\":\"a\"}", 504, "in time");
    char *text = ask(s.port, CHAT, "{" HELLO ",\"stream\":true}", &status);
    assert_int_equal(status, 200);
    assert_contains(text, "\"type\":\"timeout_error\"");
    assert_null(strstr(text, "[DONE]"));
    assert_null(strstr(text, "\"finish_reason\":\"stop\""));
    mem_free(text);
    expect_error(&s, CHAT, "{" HELLO ",\"timeout\":0}", 400, "'timeout' is 0");
    end(&s);
}

/* The requests of Open WebUI (backend/open_webui/routers/openai.py and tasks.py): the list of models
 * below the base address, a chat that it knows to be a stream by its type alone, whose last chunks
 * have usage and times, and the calls for a title, for tags and for embeddings behind a turn. */
static void open_webui(void **unused)
{
    static const char body[] =
        "{\"stream\":true,\"model\":\"tiny\",\"stream_options\":{\"include_usage\":true},"
        "\"max_tokens\":3,\"temperature\":0.7,\"messages\":[{\"role\":\"system\",\"content\":"
        "\"S\"}"
        ","
        "{\"role\":\"user\",\"content\":\"Hi\"},{\"role\":\"assistant\",\"content\":\"\"},"
        "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"}]}]}";
    struct server s;
    struct str request = {0}, out = {0};
    (void)unused;
    begin(&s, (struct serve_server_options){0});
    json_t *o = ask_json(&s, "/v1/models", NULL, 200);
    assert_string_equal(at(o, "data", 0, "id", NULL), "tiny");
    assert_string_equal(at(o, "data", 0, "object", NULL), "model");
    json_decref(o);
    str_printf(&request,
               "POST " CHAT " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
               "Authorization: Bearer sk\r\nX-OpenWebUI-User-Role: user\r\n"
               "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
               strlen(body), body);
    client_ask(s.port, request.data, &out);
    assert_contains(out.data, "Content-Type: text/event-stream");
    assert_contains(out.data, "\"choices\":[],\"usage\":{\"prompt_tokens\":");
    assert_contains(out.data, "\"timings\":{\"prompt_n\":");
    assert_contains(out.data, "data: [DONE]\n\n");
    o = ask_json(&s, CHAT,
                 "{\"model\":\"tiny\",\"stream\":false,\"max_completion_tokens\":4,\"messages\":[{"
                 "\"role\":\"user\",\"content\":\"A title\"}],\"ignore_eos\":true}",
                 200);
    assert_non_null(at(o, "choices", 0, "message", "content"));
    json_decref(o);
    o = ask_json(&s, "/v1/embeddings", "{\"input\":[\"ab\",\"c\"],\"model\":\"tiny\"}", 200);
    assert_int_equal(json_array_size(json_object_get(o, "data")), 2);
    json_decref(o);
    str_fini(&request);
    str_fini(&out);
    end(&s);
}

/* The page and what it loads come with a policy; nothing else lies there. */
static void a_page(void **unused)
{
    static const char *const paths[] = {"/", "/web/chat.js", "/web/style.css"};
    struct server s;
    int status;
    (void)unused;
    begin(&s, (struct serve_server_options){0});
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        struct str request = {0}, out = {0};
        str_printf(&request, "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
                   paths[i]);
        client_ask(s.port, request.data, &out);
        assert_contains(out.data, "HTTP/1.1 200");
        assert_contains(out.data,
                        "Content-Security-Policy: default-src 'none'; script-src 'self'; ");
        assert_contains(out.data, "X-Content-Type-Options: nosniff");
        str_fini(&request);
        str_fini(&out);
    }
    mem_free(ask(s.port, "/web/nothing.js", NULL, &status));
    assert_int_equal(status, 404);
    mem_free(ask(s.port, "/web/../style.css", NULL, &status));
    assert_int_equal(status, 404);
    end(&s);
}

struct asker {
    const struct server *s;
    int i;
    char *text;
    pthread_t thread;
};

static void *ask_alone(void *ctx)
{
    struct asker *a = ctx;
    char fields[128];
    snprintf(fields, sizeof(fields),
             "\"max_tokens\":%d,\"seed\":%d,\"ignore_eos\":true,\"logprobs\":true", 8 + a->i, a->i);
    struct str body = {0};
    int status;
    str_printf(&body, "{\"messages\":[{\"role\":\"user\",\"content\":\"Number %d\"}],%s}", a->i,
               fields);
    char *text = ask(a->s->port, CHAT, body.data, &status);
    json_t *o = json_loads(text, JSON_ALLOW_NUL, NULL);
    CHECK_MSG(status == 200 && o, "%d: %s", status, text);
    a->text = json_dumps(json_object_get(o, "choices"), 0);
    json_decref(o);
    mem_free(text);
    str_fini(&body);
    return NULL;
}

/* One after the other, and all at once with others that leave: the same bytes, probabilities too. */
static void the_same_in_company(void **unused)
{
    enum { N = 12 };
    for (int cache = 0; cache < 2; cache++) {
        struct server s;
        struct asker alone[N], together[N];
        (void)unused;
        begin(&s, (struct serve_server_options){.no_cache = cache == 0});
        for (int i = 0; i < N; i++) {
            alone[i] = together[i] = (struct asker){.s = &s, .i = i};
            ask_alone(&alone[i]);
        }
        for (int i = 0; i < N; i++) {
            assert_int_equal(pthread_create(&together[i].thread, NULL, ask_alone, &together[i]), 0);
            int fd = client_connect(s.port); /* somebody who leaves */
            client_send(fd, "POST " CHAT
                            " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 63\r\n\r\n{" HELLO
                            ",\"ignore_eos\":true}");
            close(fd);
        }
        for (int i = 0; i < N; i++) {
            pthread_join(together[i].thread, NULL);
            assert_string_equal(alone[i].text, together[i].text);
            mem_free(alone[i].text);
            mem_free(together[i].text);
        }
        end(&s);
    }
}

static void a_full_queue_refuses(void **unused)
{
    struct server s;
    int status, refused = 0, fds[24];
    (void)unused;
    begin(&s, (struct serve_server_options){.parallel = 1, .queue = 2});
    for (int i = 0; i < 24; i++) {
        fds[i] = client_connect(s.port);
        client_send(fds[i], "POST " CHAT " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                            "Content-Length: 63\r\n\r\n{" HELLO ",\"ignore_eos\":true}");
    }
    for (int i = 0; i < 24; i++) {
        struct str out = {0};
        str_reserve(&out, 1);
        client_read(fds[i], NULL, &out);
        status = out.len > 12 ? (int)strtol(out.data + 9, NULL, 10) : 0;
        if (status != 200 && status != 429) fail_msg("an odd answer: %s", out.data);
        refused += status == 429;
        close(fds[i]);
        str_fini(&out);
    }
    assert_true(refused > 0);
    json_decref(ask_json(&s, "/health", NULL, 200));
    end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_it_tells),
        cmocka_unit_test(errors),
        cmocka_unit_test(texts_beyond_any_context),
        cmocka_unit_test(no_answer_from_what_is_no_number),
        cmocka_unit_test(chats),
        cmocka_unit_test(streams),
        cmocka_unit_test(completions),
        cmocka_unit_test(the_same_in_company),
        cmocka_unit_test(a_full_queue_refuses),
        cmocka_unit_test(users_write_no_control_tokens),
        cmocka_unit_test(answers_fit_schemas),
        cmocka_unit_test(calls_of_tools),
        cmocka_unit_test(other_interfaces),
        cmocka_unit_test(unknown_fields_are_named),
        cmocka_unit_test(deadlines),
        cmocka_unit_test(late_answers),
        cmocka_unit_test(open_webui),
        cmocka_unit_test(a_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
