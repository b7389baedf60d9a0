/* serve_api_constraint.c: what an answer must be: JSON, JSON that fits a schema, or a call of a tool,
 * held to token by token.
 *
 * The grammar is a call's, each of its choices has a place in it. A token may come when the grammar
 * allows its bytes one after the other; control tokens never may, and the end only where the grammar
 * has one. What cannot be held to is refused before anything is written. */
#include "serve/api/serve_api_internal.h"

#include <string.h>

enum { MOST_CALLS = 8 };  /* that are forced, in one answer */
enum { LOOK_FIRST = 16 }; /* tokens asked for, after which first bytes are looked at once for all */

struct api_held {
    struct serve_server *s;
    grammar_state_t *state;
    int asked;
    bool first_known, first[256];
};

static bool allows(void *ctx, uint32_t id)
{
    struct api_held *h = ctx;
    size_t size;
    const char *piece = tokenizer_piece(h->s->m->tokenizer, id, &size);
    if (!piece || size == 0) return false;
    if (++h->asked > LOOK_FIRST && !h->first_known) {
        for (int c = 0; c < 256; c++)
            h->first[c] = grammar_allows(h->state, &(char){(char)c}, 1);
        h->first_known = true;
    }
    if (h->first_known && !h->first[(uint8_t)piece[0]]) return false;
    return grammar_allows(h->state, piece, size);
}

static bool may_end(void *ctx)
{
    const struct api_held *h = ctx;
    return grammar_may_end(h->state);
}

static void take(void *ctx, uint32_t id)
{
    struct api_held *h = ctx;
    size_t size;
    const char *piece = tokenizer_piece(h->s->m->tokenizer, id, &size);
    grammar_take(h->state, piece, size);
    h->asked = 0;
    h->first_known = false;
}

void api_constrain(struct api_call *c, grammar_t *g)
{
    c->grammar = g;
    c->constraints = mem_calloc((size_t)c->n_choices, sizeof(*c->constraints));
    c->held = mem_calloc((size_t)c->n_choices, sizeof(*c->held));
    for (int i = 0; i < c->n_choices; i++) {
        c->held[i] = (struct api_held){.s = c->s, .state = grammar_state_new(g)};
        c->constraints[i] = (struct engine_constraint){&c->held[i], allows, may_end, take};
    }
}

bool api_is_whole(const struct api_call *c, int choice)
{
    return c->held && grammar_must_end(c->held[choice].state);
}

void api_constrain_free(struct api_call *c)
{
    for (int i = 0; c->held && i < c->n_choices; i++)
        grammar_state_free(c->held[i].state);
    mem_free(c->held);
    mem_free(c->constraints);
    grammar_free(c->grammar);
}

/* ------------------------------------------------------------------ from requests */

static int finish(grammar_t *g, const struct gnode *root, const char *param, struct error *e,
                  grammar_t **out, struct api_error *x)
{
    if (!root || grammar_finish(g, root, e) < 0) {
        grammar_free(g);
        return api_wrong(x, 400, param, "%s", e->text);
    }
    *out = g;
    return 0;
}

int api_read_format(const json_t *o, grammar_t **out, struct api_error *x)
{
    const json_t *v = json_object_get(o, "response_format");
    const char *type = json_string_value(json_object_get(v, "type"));
    const char *param = "response_format";
    struct error e = {0};
    *out = NULL;
    if (!v || json_is_null(v)) return 0;
    if (!type) return api_wrong(x, 400, param, "'response_format' must be an object with a type");
    if (strcmp(type, "text") == 0) return 0;
    if (strcmp(type, "json_object") == 0) {
        grammar_t *g = grammar_new();
        return finish(g, schema_any_object(g), param, &e, out, x);
    }
    if (strcmp(type, "json_schema") != 0)
        return api_wrong(x, 400, param,
                         "'response_format' has the type '%.40s': text, json_object "
                         "and json_schema are known",
                         type);
    const json_t *holder = json_object_get(v, "json_schema");
    const json_t *schema = json_object_get(holder ? holder : v, "schema");
    if (!schema) return api_wrong(x, 400, param, "'response_format' has no schema");
    grammar_t *g = grammar_new();
    return finish(g, schema_node(g, schema, &e), param, &e, out, x);
}

/* One tool as it may be called. */
static const struct gnode *tool_node(grammar_t *g, const json_t *tool, struct error *e)
{
    const json_t *f = json_object_get(tool, "function");
    const json_t *parameters = json_object_get(f, "parameters");
    json_t *name = json_object_get(f, "name");
    char *text = json_dumps(name, JSON_ENCODE_ANY);
    const struct gnode *arguments = parameters && !json_is_null(parameters)
                                        ? schema_node(g, parameters, e)
                                        : schema_any_object(g);
    if (!arguments || !text) {
        mem_free(text);
        return NULL;
    }
    const struct gnode *n = GRAMMAR_ALL(g, grammar_text(g, "<tool_call>\n{\"name\": "),
                                        grammar_text(g, text), grammar_text(g, ", \"arguments\": "),
                                        arguments, grammar_text(g, "}\n</tool_call>"));
    mem_free(text);
    return n;
}

static int check_tools(const json_t *tools, struct api_error *x)
{
    if (!tools || json_is_null(tools)) return 0;
    if (!json_is_array(tools) || json_array_size(tools) > 256)
        return api_wrong(x, 400, "tools", "'tools' must be a list of up to 256 tools");
    for (size_t i = 0; i < json_array_size(tools); i++) {
        const json_t *t = json_array_get(tools, i), *f = json_object_get(t, "function");
        const json_t *p = json_object_get(f, "parameters");
        const char *type = json_string_value(json_object_get(t, "type"));
        const char *name = json_string_value(json_object_get(f, "name"));
        if (!type || strcmp(type, "function") != 0 || !name || !name[0])
            return api_wrong(x, 400, "tools", "tools[%zu] must be a function with a name", i);
        if (p && !json_is_null(p) && !json_is_object(p))
            return api_wrong(x, 400, "tools", "tools[%zu].function.parameters must be an object",
                             i);
    }
    return 0;
}

int api_read_tools(const json_t *o, struct api_tools *t, struct api_error *x)
{
    const json_t *tools = json_object_get(o, "tools"), *choice = json_object_get(o, "tool_choice");
    const char *word = json_string_value(choice), *wanted = NULL;
    const struct gnode *any = NULL;
    struct error e = {0};
    *t = (struct api_tools){0};
    if (check_tools(tools, x) < 0) return -1;
    size_t n = json_is_array(tools) ? json_array_size(tools) : 0;
    if (json_is_object(choice)) {
        const json_t *f = json_object_get(choice, "function");
        wanted = json_string_value(json_object_get(f ? f : choice, "name"));
        if (!wanted) return api_wrong(x, 400, "tool_choice", "'tool_choice' names no function");
    } else if (choice && !json_is_null(choice)) {
        bool known = word && (strcmp(word, "auto") == 0 || strcmp(word, "none") == 0 ||
                              strcmp(word, "required") == 0);
        if (!known)
            return api_wrong(x, 400, "tool_choice",
                             "'tool_choice' must be none, auto, required or a function");
    }
    bool required = word && strcmp(word, "required") == 0;
    if ((required || wanted) && n == 0)
        return api_wrong(x, 400, "tool_choice", "'tool_choice' needs 'tools'");
    if (n == 0 || (word && strcmp(word, "none") == 0)) return 0;
    t->tools = tools;
    bool parallel = false;
    const json_t *many = json_object_get(o, "parallel_tool_calls");
    if (api_read_bool(o, "parallel_tool_calls", &parallel, x) < 0) return -1;
    t->one = !parallel && json_is_boolean(many);
    if (!required && !wanted) return 0;
    grammar_t *g = grammar_new();
    for (size_t i = 0; i < n; i++) {
        const json_t *tool = json_array_get(tools, i);
        const char *name =
            json_string_value(json_object_get(json_object_get(tool, "function"), "name"));
        if (wanted && strcmp(name, wanted) != 0) continue;
        const struct gnode *one = tool_node(g, tool, &e);
        if (!one) {
            grammar_free(g);
            return api_wrong(x, 400, "tools", "%s", e.text);
        }
        any = any ? GRAMMAR_ANY(g, any, one) : one;
    }
    if (!any) {
        grammar_free(g);
        return api_wrong(x, 400, "tool_choice", "there is no tool '%.60s'", wanted);
    }
    t->forced = true;
    if (required && parallel)
        any = GRAMMAR_ALL(
            g, any,
            grammar_repeat(g, GRAMMAR_ALL(g, grammar_text(g, "\n"), any), 0, MOST_CALLS - 1));
    return finish(g, any, "tools", &e, &t->grammar, x);
}
