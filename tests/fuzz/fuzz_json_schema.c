/* fuzz_json_schema.c: a schema, and behind its first newline a text. A schema is taken or refused with
 * a reason, in bounded work; a text is taken byte by byte as it is at once, and what is taken whole is
 * JSON. */
#include "serve/grammar/serve_grammar_internal.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_text(const grammar_t *g, const char *text, size_t n)
{
    grammar_state_t *s = grammar_state_new(g);
    size_t i = 0;
    bool all = n > 0 && grammar_allows(s, text, n);
    while (i < n && grammar_allows(s, text + i, 1))
        grammar_take(s, text + i++, 1);
    CHECK(!all || i == n);
    if (i == n && grammar_may_end(s)) {
        json_t *v = json_loadb(text, n, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        CHECK_MSG(v != NULL, "'%.*s' is no JSON", (int)n, text);
        json_decref(v);
    }
    CHECK(!grammar_must_end(s) || grammar_may_end(s));
    grammar_state_free(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error e = {0};
    const char *text = (const char *)data, *line = size ? memchr(text, '\n', size) : NULL;
    size_t n = line ? (size_t)(line - text) : size;
    json_t *schema = json_loadb(text, n, JSON_DECODE_ANY, NULL);
    if (!schema) return 0;
    grammar_t *g = grammar_new();
    const struct gnode *root = schema_node(g, schema, &e);
    json_decref(schema);
    if (root && grammar_finish(g, root, &e) == 0)
        write_text(g, line ? line + 1 : "", line ? size - n - 1 : 0);
    else
        CHECK(e.text[0]);
    grammar_free(g);
    return 0;
}
