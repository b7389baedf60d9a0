/* serve_api_parts.c: a model's text cut into what it is made of: what it says, what it thinks
 * (<think>...</think>), and calls of tools in the forms that published models use:
 *
 *   <tool_call>{"name": ..., "arguments": ...}</tool_call>   Hermes, Qwen, and what is asked of models
 *                                                            whose template knows no tools
 *   {"name": ..., "parameters": ...}                         Llama 3: the whole text
 *   [TOOL_CALLS][{"name": ..., "arguments": ...}, ...]       Mistral: the whole text
 *
 * Text goes out as soon as it cannot be the beginning of a tag. What looks like a call and is none of
 * a tool that was offered is text. */
#include "serve/api/serve_api_internal.h"

#include <string.h>

#define CALL        "<tool_call>"
#define CALL_END    "</tool_call>"
#define MISTRAL     "[TOOL_CALLS]"
#define THOUGHT     "<think>"
#define THOUGHT_END "</think>"

static bool is_blank(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!strchr(" \t\r\n", s[i]) || !s[i]) return false;
    return true;
}

static bool is_offered(const struct api_call *c, const char *name)
{
    for (size_t i = 0; i < json_array_size(c->tools); i++) {
        const json_t *f = json_object_get(json_array_get(c->tools, i), "function");
        if (strcmp(json_string_value(json_object_get(f, "name")), name) == 0) return true;
    }
    return false;
}

/* One call, where it is one. */
static bool take_call(struct api_choice *k, const json_t *o)
{
    const char *name = json_string_value(json_object_get(o, "name"));
    json_t *arguments = json_object_get(o, "arguments");
    if (!arguments) arguments = json_object_get(o, "parameters");
    if (!name || !is_offered(k->call, name)) return false;
    if (json_is_string(arguments)) {
        api_part_call(k, name, json_string_value(arguments));
        return true;
    }
    if (arguments && !json_is_object(arguments)) return false;
    char *text = arguments ? json_dumps(arguments, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
    api_part_call(k, name, text ? text : "{}");
    mem_free(text);
    return true;
}

/* A call or a list of them; nothing is taken unless all are calls. */
static bool take_calls(struct api_choice *k, const char *text, size_t n)
{
    json_t *o = json_loadb(text, n, 0, NULL);
    bool taken = false;
    if (json_is_object(o)) taken = take_call(k, o);
    bool all = json_array_size(o) > 0;
    for (size_t i = 0; i < json_array_size(o) && all; i++) {
        const char *name = json_string_value(json_object_get(json_array_get(o, i), "name"));
        all = name && is_offered(k->call, name);
    }
    for (size_t i = 0; i < json_array_size(o) && all; i++)
        taken = take_call(k, json_array_get(o, i)) || taken;
    json_decref(o);
    return taken;
}

/* The first n held bytes are said. White space between calls is not. */
static void say(struct api_choice *k, size_t n, bool thought)
{
    bool quiet = !thought && k->n_calls > 0 && is_blank(k->held.data, n);
    if (n && !quiet) api_part_text(k, k->held.data, n, thought);
    memmove(k->held.data, k->held.data + n, k->held.len - n);
    k->held.len -= n;
}

static void drop(struct api_choice *k, size_t n)
{
    memmove(k->held.data, k->held.data + n, k->held.len - n);
    k->held.len -= n;
}

/* Bytes at the end that begin the tag. */
static size_t begins(const struct str *s, const char *tag)
{
    size_t most = MIN(s->len, strlen(tag) - 1);
    for (size_t n = most; n > 0; n--)
        if (memcmp(s->data + s->len - n, tag, n) == 0) return n;
    return 0;
}

/* At its beginning a text shows what it is: a thought, or nothing but calls. */
static bool look_at_beginning(struct api_choice *k, bool end)
{
    const struct str *h = &k->held;
    size_t at = 0;
    while (at < h->len && strchr(" \t\r\n", h->data[at]) && h->data[at])
        at++;
    const char *s = h->data + at;
    size_t n = h->len - at;
    if (!end && n < strlen(MISTRAL) &&
        (n == 0 || memcmp(s, THOUGHT, MIN(n, strlen(THOUGHT))) == 0 || memcmp(s, MISTRAL, n) == 0))
        return false; /* not known yet */
    k->part = API_PART_TEXT;
    if (n >= strlen(THOUGHT) && memcmp(s, THOUGHT, strlen(THOUGHT)) == 0) {
        drop(k, at + strlen(THOUGHT));
        k->part = API_PART_THOUGHT;
    } else if (k->call->tools && n >= strlen(MISTRAL) && memcmp(s, MISTRAL, strlen(MISTRAL)) == 0) {
        drop(k, at + strlen(MISTRAL));
        k->part = API_PART_WHOLE;
    } else if (k->call->tools && n && s[0] == '{') {
        k->part = API_PART_WHOLE;
    }
    return true;
}

static bool step_text(struct api_choice *k)
{
    const char *tag = k->call->tools ? memmem(k->held.data, k->held.len, CALL, strlen(CALL)) : NULL;
    if (!tag) {
        say(k, k->held.len - (k->call->tools ? begins(&k->held, CALL) : 0), false);
        return false;
    }
    size_t at = (size_t)(tag - k->held.data), blank = at;
    while (blank > 0 && strchr(" \t\r\n", k->held.data[blank - 1]))
        blank--;
    say(k, blank, false);
    drop(k, at - blank + strlen(CALL));
    k->part = API_PART_CALL;
    return true;
}

static bool step_thought(struct api_choice *k)
{
    const char *tag = memmem(k->held.data, k->held.len, THOUGHT_END, strlen(THOUGHT_END));
    if (!tag) {
        say(k, k->held.len - begins(&k->held, THOUGHT_END), true);
        return false;
    }
    say(k, (size_t)(tag - k->held.data), true);
    drop(k, strlen(THOUGHT_END));
    while (k->held.len && strchr(" \t\r\n", k->held.data[0]) && k->held.data[0])
        drop(k, 1);
    k->part = API_PART_TEXT;
    return true;
}

/* What looked like a call and is none goes out as it was written. */
static void say_call(struct api_choice *k, size_t n, bool ended)
{
    struct str text = {0};
    if (!k->call->forced) {
        str_puts(&text, CALL);
        str_append(&text, k->held.data, n);
        if (ended) str_puts(&text, CALL_END);
        api_part_text(k, text.data, text.len, false);
    }
    str_fini(&text);
}

static bool step_call(struct api_choice *k)
{
    const char *tag = memmem(k->held.data, k->held.len, CALL_END, strlen(CALL_END));
    if (!tag) return false;
    size_t n = (size_t)(tag - k->held.data);
    if (!take_calls(k, k->held.data, n)) say_call(k, n, true);
    drop(k, n + strlen(CALL_END));
    k->part = API_PART_TEXT;
    return true;
}

void api_parts_add(struct api_choice *k, const char *text, size_t n)
{
    bool more = true;
    str_append(&k->held, text, n);
    while (more && k->held.len) {
        switch (k->part) {
        case API_PART_BEGINNING: more = look_at_beginning(k, false); break;
        case API_PART_TEXT: more = step_text(k); break;
        case API_PART_THOUGHT: more = step_thought(k); break;
        case API_PART_CALL: more = step_call(k); break;
        case API_PART_WHOLE: more = false; break;
        }
    }
}

void api_parts_end(struct api_choice *k)
{
    if (k->part == API_PART_BEGINNING && k->held.len) look_at_beginning(k, true);
    if (k->held.len == 0) return;
    if (k->part == API_PART_CALL) {
        if (!take_calls(k, k->held.data, k->held.len)) say_call(k, k->held.len, false);
        str_clear(&k->held);
    } else if (k->part == API_PART_WHOLE && take_calls(k, k->held.data, k->held.len)) {
        str_clear(&k->held);
    } else {
        say(k, k->held.len, k->part == API_PART_THOUGHT);
    }
}
