/* serve_api_prompt.c: from messages to ids.
 *
 * A chat template writes control tokens as text between what people said. Which bytes of the rendered
 * text are people's is known (serve_jinja_internal.h), and a control token is one only where none of
 * its bytes is: whatever a user writes stays text. Between control tokens the text is cut into ids
 * as a whole, so that the ids are those of other programs. */
#include "serve/api/serve_api_internal.h"

#include <string.h>

/* For a model that comes without a template: a plain transcript. */
static const char plain_template[] =
    "{% for m in messages %}{{ m.role | capitalize }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}";

/* ------------------------------------------------------------------ control tokens */

/* Tokens that end a turn of a conversation in published models; and what ends a text. */
static bool ends_turn(const char *text, size_t size)
{
    static const char *const names[] = {"<|im_end|>",      "<|eot_id|>",
                                        "<end_of_turn>",   "<|eom_id|>",
                                        "<|end|>",         "<|endoftext|>",
                                        "<|end_of_text|>", "</s>",
                                        "<eos>",           "<|eos|>",
                                        "<|return|>",      "<|call|>",
                                        "<|im_start|>",    "<|start_header_id|>"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strlen(names[i]) == size && memcmp(names[i], text, size) == 0) return true;
    return false;
}

static void find_specials(struct serve_server *s)
{
    const tokenizer_t *t = s->m->tokenizer;
    uint32_t n = tokenizer_vocab_size(t), count = 0;
    struct str text = {0};
    size_t size;
    for (uint32_t id = 0; id < n; id++) {
        if (!tokenizer_piece(t, id, &size)) continue;
        count += size == 0;
        s->longest_piece = MAX(s->longest_piece, size);
    }
    s->specials = arena_alloc(&s->arena, ((size_t)count + 1) * sizeof(*s->specials));
    s->stop = arena_alloc(&s->arena, ((size_t)count + 1) * sizeof(*s->stop));
    uint32_t eos = tokenizer_eos(t);
    for (uint32_t id = 0; id < n; id++) {
        struct error e;
        if (!tokenizer_piece(t, id, &size) || (size && id != eos)) continue;
        str_clear(&text);
        if (tokenizer_decode(t, &id, 1, TOKENIZER_PARSE_SPECIAL, &text, &e) < 0) continue;
        if (id == eos || ends_turn(text.data ? text.data : "", text.len)) s->stop[s->n_stop++] = id;
        s->longest_piece = MAX(s->longest_piece, text.len);
        if (text.len == 0 || size) continue;
        struct api_special *x = &s->specials[s->n_specials++];
        *x = (struct api_special){arena_strndup(&s->arena, text.data, text.len), text.len, id};
        s->special_first[(uint8_t)text.data[0]] = true;
    }
    str_fini(&text);
}

int api_prompt_init(struct serve_server *s, struct error *e)
{
    find_specials(s);
    const char *own = s->o.template_text ? s->o.template_text : s->m->chat_template;
    const char *text = own ? own : plain_template;
    s->template_text = text;
    return jinja_parse(text, strlen(text), "chat template", &s->jinja, e);
}

/* The longest control token at text[at] of which every byte is the template's. */
static const struct api_special *special_at(const struct serve_server *s,
                                            const struct jinja_text *t, size_t at)
{
    const struct api_special *best = NULL;
    for (size_t i = 0; i < s->n_specials; i++) {
        const struct api_special *x = &s->specials[i];
        if (x->size > t->size - at || (best && x->size <= best->size) ||
            memcmp(t->text + at, x->text, x->size) != 0 || memchr(t->user + at, 1, x->size))
            continue;
        best = x;
    }
    return best;
}

int api_check_size(const struct serve_server *s, size_t bytes, const char *name,
                   struct api_error *x)
{
    if (bytes / s->longest_piece <= (size_t)s->context) return 0;
    api_wrong(
        x, 400, name,
        "a text of %zu bytes, and the context of this model is %lld tokens, none of more than %zu "
        "bytes",
        bytes, (long long)s->context, s->longest_piece);
    x->code = "context_length_exceeded";
    return -1;
}

void api_encode(struct serve_server *s, const struct jinja_text *t, struct token_array *out)
{
    size_t from = 0;
    for (size_t at = 0; at < t->size;) {
        const struct api_special *x = NULL;
        if (s->special_first[(uint8_t)t->text[at]] && !t->user[at]) x = special_at(s, t, at);
        if (!x) {
            at++;
            continue;
        }
        if (at > from)
            tokenizer_encode(s->m->tokenizer, s->m->scratch, t->text + from, at - from, 0, out);
        token_array_push(out, x->id);
        from = at += x->size;
    }
    if (t->size > from)
        tokenizer_encode(s->m->tokenizer, s->m->scratch, t->text + from, t->size - from, 0, out);
}

void api_encode_text(struct serve_server *s, const char *text, size_t size, bool special,
                     bool start, struct token_array *out)
{
    if (start && s->m->text_start != TOKENIZER_NONE) token_array_push(out, s->m->text_start);
    tokenizer_encode(s->m->tokenizer, s->m->scratch, text, size,
                     special ? TOKENIZER_PARSE_SPECIAL : 0, out);
}

void api_token_text(struct serve_server *s, uint32_t id, struct str *out)
{
    size_t size;
    const char *piece = tokenizer_piece(s->m->tokenizer, id, &size);
    if (piece && size) str_append(out, piece, size);
    if (!piece || size) return;
    for (size_t i = 0; i < s->n_specials; i++)
        if (s->specials[i].id == id) str_append(out, s->specials[i].text, s->specials[i].size);
}

/* ------------------------------------------------------------------ messages */

static bool is_text_part(const char *type)
{
    static const char *const types[] = {"text", "input_text", "output_text"};
    for (size_t i = 0; type && i < ARRAY_LEN(types); i++)
        if (strcmp(type, types[i]) == 0) return true;
    return false;
}

/* A text, or a list of parts of text, as one text. */
static json_t *read_content(const json_t *v, size_t i, struct api_error *x)
{
    struct str all = {0};
    if (json_is_string(v)) return json_stringn(json_string_value(v), json_string_length(v));
    if (json_array_size(v) == 0) {
        api_wrong(x, 400, "messages",
                  "messages[%zu].content must be a string or a list of at least one part", i);
        return NULL;
    }
    str_reserve(&all, 1);
    for (size_t k = 0; k < json_array_size(v); k++) {
        const json_t *part = json_array_get(v, k), *text = json_object_get(part, "text");
        const char *type = json_string_value(json_object_get(part, "type"));
        if (!is_text_part(type) || !json_is_string(text)) {
            api_wrong(x, 400, "messages",
                      "messages[%zu].content[%zu] must be a part of text: this model reads nothing "
                      "else",
                      i, k);
            str_fini(&all);
            return NULL;
        }
        str_append(&all, json_string_value(text), json_string_length(text));
    }
    json_t *out = json_stringn(all.data, all.len);
    str_fini(&all);
    return out;
}

/* Templates want the arguments of earlier calls as what they mean. */
static json_t *read_calls(const json_t *v, size_t i, struct api_error *x)
{
    json_t *calls = json_deep_copy(v);
    for (size_t k = 0; k < json_array_size(calls); k++) {
        json_t *f = json_object_get(json_array_get(calls, k), "function");
        const json_t *arguments = json_object_get(f, "arguments");
        struct error e;
        json_t *parsed;
        if (!json_is_object(f) || !json_is_string(json_object_get(f, "name"))) {
            api_wrong(x, 400, "messages", "messages[%zu].tool_calls[%zu] names no function", i, k);
            json_decref(calls);
            return NULL;
        }
        if (!json_is_string(arguments)) continue;
        if (json_parse(json_string_value(arguments), json_string_length(arguments), "arguments",
                       &parsed, &e) == 0)
            json_object_set_new(f, "arguments", parsed);
    }
    return calls;
}

static int read_message(const json_t *m, size_t i, json_t *out, struct api_error *x)
{
    static const char *const roles[] = {"system",    "developer", "user",
                                        "assistant", "tool",      "function"};
    const char *role = json_string_value(json_object_get(m, "role"));
    const json_t *calls = json_object_get(m, "tool_calls");
    size_t known = 0;
    if (!json_is_object(m))
        return api_wrong(x, 400, "messages", "messages[%zu] must be an object", i);
    while (role && known < ARRAY_LEN(roles) && strcmp(role, roles[known]) != 0)
        known++;
    if (!role || known == ARRAY_LEN(roles))
        return api_wrong(x, 400, "messages",
                         "messages[%zu].role must be system, developer, user, assistant or tool",
                         i);
    const json_t *said = json_object_get(m, "content");
    bool calls_only = known == 3 && json_array_size(calls) > 0 && (!said || json_is_null(said));
    json_t *content = calls_only ? json_string("") : read_content(said, i, x);
    if (!content) return -1;
    json_t *o = json_pack("{s:s, s:o}", "role",
                          known == 1   ? "system"
                          : known == 5 ? "tool"
                                       : role,
                          "content", content);
    static const char *const copied[] = {"name", "tool_call_id", "reasoning_content"};
    for (size_t k = 0; k < ARRAY_LEN(copied); k++) {
        json_t *v = json_object_get(m, copied[k]);
        if (json_is_string(v)) json_object_set(o, copied[k], v);
    }
    json_array_append_new(out, o);
    if (!json_is_array(calls) || json_array_size(calls) == 0) return 0;
    json_t *read = read_calls(calls, i, x);
    if (!read) return -1;
    json_object_set_new(o, "tool_calls", read);
    return 0;
}

/* Tools of which the template knows nothing go to the system message, in the words that most
 * published models were taught (Hermes). */
static void tell_tools(json_t *messages, const json_t *tools)
{
    struct str text = {0};
    json_t *first = json_array_get(messages, 0);
    const char *role = json_string_value(json_object_get(first, "role"));
    bool system = role && strcmp(role, "system") == 0;
    if (system) str_printf(&text, "%s\n\n", json_string_value(json_object_get(first, "content")));
    str_puts(&text, "You may call functions. They are described within <tools></tools>:\n<tools>");
    for (size_t i = 0; i < json_array_size(tools); i++) {
        char *one = json_dumps(json_array_get(tools, i), JSON_COMPACT);
        str_printf(&text, "\n%s", one ? one : "");
        mem_free(one);
    }
    str_puts(&text, "\n</tools>\nTo call one, write its name and arguments as JSON within "
                    "<tool_call></tool_call>:\n<tool_call>\n{\"name\": NAME, \"arguments\": "
                    "ARGUMENTS}\n</tool_call>");
    json_t *content = json_stringn(text.data, text.len);
    if (system)
        json_object_set_new(first, "content", content);
    else
        json_array_insert_new(messages, 0,
                              json_pack("{s:s, s:o}", "role", "system", "content", content));
    str_fini(&text);
}

static int read_messages(const struct api_chat *chat, json_t *out, struct api_error *x)
{
    size_t n = json_array_size(chat->messages);
    if (!json_is_array(chat->messages) || n == 0)
        return api_wrong(x, 400, "messages", "'messages' must be a list of at least one message");
    if (n > 10000) return api_wrong(x, 400, "messages", "more than 10000 messages");
    for (size_t i = 0; i < n; i++)
        if (read_message(json_array_get(chat->messages, i), i, out, x) < 0) return -1;
    return 0;
}

/* ------------------------------------------------------------------ rendering */

static const char *token_name(struct serve_server *s, uint32_t id, struct arena *a)
{
    struct str text = {0};
    if (id != TOKENIZER_NONE) api_token_text(s, id, &text);
    const char *out = arena_strndup(a, text.data ? text.data : "", text.len);
    str_fini(&text);
    return out;
}

/* Cuts what the template writes behind the last message, so that the model goes on with it. */
static void cut_end(struct jinja_text *t, const json_t *messages)
{
    const json_t *last = json_array_get(messages, json_array_size(messages) - 1);
    const json_t *content = json_object_get(last, "content");
    size_t n = json_string_length(content);
    const char *text = json_string_value(content);
    while (n && strchr(" \t\r\n", text[n - 1]))
        n--; /* templates trim it */
    for (size_t at = t->size; n && at >= n; at--)
        if (memcmp(t->text + at - n, text, n) == 0) {
            t->size = at;
            return;
        }
}

int api_render(struct serve_server *s, const struct api_chat *chat, struct arena *a,
               struct jinja_text *out, struct api_error *x)
{
    struct error e = {0};
    json_t *messages = json_array(), *given, *trusted;
    if (chat->extra && !json_is_null(chat->extra) && !json_is_object(chat->extra)) {
        json_decref(messages);
        return api_wrong(x, 400, "chat_template_kwargs",
                         "'chat_template_kwargs' must be an object");
    }
    if (read_messages(chat, messages, x) < 0) {
        json_decref(messages);
        return -1;
    }
    bool tools = json_array_size(chat->tools) > 0;
    if (tools && !jinja_reads(s->jinja, "tools")) tell_tools(messages, chat->tools);
    given = json_is_object(chat->extra) ? json_deep_copy(chat->extra) : json_object();
    json_object_set(given, "messages", messages);
    if (tools)
        json_object_set(given, "tools", (json_t *)(uintptr_t)chat->tools);
    else
        json_object_set_new(given, "tools", json_null());
    trusted = json_pack("{s:b, s:s, s:s}", "add_generation_prompt",
                        chat->add_prompt && !chat->go_on, "bos_token", token_name(s, s->m->bos, a),
                        "eos_token", token_name(s, tokenizer_eos(s->m->tokenizer), a));
    int rc = jinja_render(s->jinja, trusted, given, a, out, &e);
    if (rc == 0 && chat->go_on) cut_end(out, messages);
    json_decref(messages);
    json_decref(given);
    json_decref(trusted);
    return rc < 0 ? api_wrong(x, 400, "messages", "%s", e.text) : 0;
}
