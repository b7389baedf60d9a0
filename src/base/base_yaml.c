/* base_yaml.c: run files and presets.
 *
 * libyaml's events are composed into a tree in an arena, in which every node remembers its line
 * and column, so that base_bind.c can name what is wrong by its place; why not libcyaml is written in
 * docs/decisions/yaml.md.
 *
 * What makes YAML surprising or dangerous is refused: aliases (a few lines can unfold to
 * gigabytes), merge keys, tags, repeated keys, more than one document. Depth, size and number of
 * nodes are limited, so the cost of a hostile file is bounded. */
#include "base/base.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>
#include <yaml.h>

#define YAML_MAX_DEPTH 64
#define YAML_MAX_SIZE  ((size_t)16 << 20)
#define YAML_MAX_NODES ((size_t)1000000)

struct composer {
    yaml_parser_t parser;
    const char *name, *input; /* of libyaml's offsets */
    size_t size;
    struct arena *arena;
    struct error *e;
    size_t n_nodes;
    /* Children collect here until their number is known; nested containers stack up. */
    struct yaml_node **stack;
    size_t n_stack, cap;
};

static int compose(struct composer *c, const yaml_event_t *event, int depth,
                   struct yaml_node **node);

PRINTF_LIKE(3, 4)
static int refuse(struct composer *c, yaml_mark_t at, const char *fmt, ...)
{
    char text[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    error_set_code(c->e, ERROR_CONFIG, "%s:%zu:%zu: %s", c->name, at.line + 1, at.column + 1, text);
    /* callers that know more say it */
    return error_hint(c->e, "one 'key: value' a line; for example 'a: 1'");
}

static int hint_anchor(struct composer *c)
{
    return error_hint(c->e,
                      "write the value out again: 'a: 1' and 'b: 1', not 'a: &x 1' and 'b: *x'; a "
                      "text that begins with & or * goes in quotes: \"*.txt\"");
}

static int refuse_anchor(struct composer *c, yaml_mark_t at)
{
    refuse(c, at, "anchors and aliases are not supported");
    return hint_anchor(c);
}

/* What stood there is not UTF-8, or a character that no text has: libyaml gives its offset alone. */
static int refuse_bytes(struct composer *c)
{
    size_t offset = MIN(c->parser.problem_offset, c->size);
    yaml_mark_t at = {offset, 0, 0};
    for (size_t i = 0; i < offset; i++) {
        at.column = c->input[i] == '\n' ? 0 : at.column + 1;
        at.line += c->input[i] == '\n';
    }
    refuse(c, at, "byte %zu: %s", offset, c->parser.problem);
    return error_hint(
        c->e, "the file must be text in UTF-8, one 'key: value' a line; for example 'a: 1'");
}

/* How a line should have looked that libyaml's parser gave up on. */
static void hint_syntax(struct composer *c)
{
    static const struct {
        const char *part, *hint; /* of the problem or its context */
    } hints[] = {
        {"tab", "YAML is indented with spaces, not tabs: '  key: value'"},
        {"cannot start any token",
         "YAML is indented with spaces, not tabs; a text that begins with @, ` or "
         "% goes in quotes: 'a: \"@x\"'"},
        {"',' or '}'",
         "a section in braces is closed, with commas between its keys: 'a: {b: 1, c: 2}'"},
        {"',' or ']'", "a list in brackets is closed, with commas between its items: 'a: [1, 2]'"},
        {"mapping values",
         "keys of one section stand in lines of their own, indented alike, or in "
         "braces: 'a: {b: 1, c: 2}'; a text that holds ': ' goes in quotes: 'a: \"b: c\"'"},
        {"quoted scalar", "a quoted text is closed, and has a backslash twice: 'a: \"b\"'"},
        {"expected key", "keys of one section are indented alike: 'a: 1' below 'b: 2'"},
        {"block mapping", "keys of one section are indented alike: 'a: 1' below 'b: 2'"},
        {"'-' indicator", "items of a list are indented alike, or stand in brackets: 'a: [1, 2]'"},
        {"block sequence", "a list is indented below its key, or stands in brackets: 'a: [1, 2]'"},
        {"simple key", "a line is a key and its value: 'a: 1'"},
        {"directive", "a line that begins with % goes in quotes: 'a: \"%x\"'"},
    };
    const yaml_parser_t *p = &c->parser;
    for (size_t i = 0; i < ARRAY_LEN(hints); i++) {
        if (!strstr(p->problem ? p->problem : "", hints[i].part) &&
            !strstr(p->context ? p->context : "", hints[i].part))
            continue;
        if (p->context && p->context_mark.line < p->problem_mark.line)
            error_hint(c->e, "%s (it begins in line %zu)", hints[i].hint, p->context_mark.line + 1);
        else
            error_hint(c->e, "%s", hints[i].hint);
        return;
    }
}

static int next_event(struct composer *c, yaml_event_t *event)
{
    if (yaml_parser_parse(&c->parser, event)) return 0;
    const yaml_parser_t *p = &c->parser;
    const char *problem = p->problem ? p->problem : "not YAML";
    if (p->error == YAML_READER_ERROR) return refuse_bytes(c);
    if (p->error == YAML_MEMORY_ERROR)
        return error_set_code(c->e, ERROR_FAILED, "%s: not enough memory to read it", c->name);
    refuse(c, p->problem_mark, "%s%s%s", problem, p->context ? ", " : "",
           p->context ? p->context : "");
    if (p->context && (strstr(p->context, "alias") || strstr(p->context, "anchor")))
        hint_anchor(c);
    else
        hint_syntax(c);
    return ERROR_CONFIG;
}

static void push(struct composer *c, struct yaml_node *node)
{
    if (c->n_stack == c->cap) {
        c->cap = MAX(c->cap * 2, 64);
        c->stack = mem_realloc(c->stack, c->cap * sizeof(*c->stack));
    }
    c->stack[c->n_stack++] = node;
}

static int new_node(struct composer *c, const yaml_event_t *event, enum yaml_kind kind,
                    const yaml_char_t *tag, struct yaml_node **node)
{
    if (++c->n_nodes > YAML_MAX_NODES)
        return refuse(c, event->start_mark, "more than %zu values in one file", YAML_MAX_NODES);
    if (tag) {
        refuse(c, event->start_mark, "tags such as '%.40s' are not supported", (const char *)tag);
        return error_hint(c->e, "write the value alone: 'a: 1', or 'a: \"1\"' for a text");
    }
    *node = arena_alloc(c->arena, sizeof(**node));
    (*node)->kind = kind;
    (*node)->line = (int)event->start_mark.line + 1;
    (*node)->column = (int)event->start_mark.column + 1;
    return 0;
}

static int compose_scalar(struct composer *c, const yaml_event_t *event, struct yaml_node **node)
{
    const char *text = (const char *)event->data.scalar.value;
    size_t n = event->data.scalar.length;
    if (event->data.scalar.anchor) return refuse_anchor(c, event->start_mark);
    TRY(new_node(c, event, YAML_KIND_SCALAR, event->data.scalar.tag, node));
    if (strlen(text) != n) return refuse(c, event->start_mark, "a value with a NUL character");
    (*node)->text = arena_strndup(c->arena, text, n);
    (*node)->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    return 0;
}

/* Moves what was pushed since `base` into *items. */
static void pop_into(struct composer *c, size_t base, struct yaml_node ***items, size_t *count)
{
    *count = c->n_stack - base;
    *items = arena_alloc(c->arena, (*count + 1) * sizeof(**items));
    if (*count) memcpy(*items, c->stack + base, *count * sizeof(**items));
    c->n_stack = base;
}

/* Composes nodes and pushes them until the closing event. */
static int compose_children(struct composer *c, yaml_event_type_t end, int depth)
{
    for (;;) {
        yaml_event_t event;
        struct yaml_node *child = NULL;
        TRY(next_event(c, &event));
        bool done = event.type == end;
        int rc = done ? 0 : compose(c, &event, depth + 1, &child);
        yaml_event_delete(&event);
        TRY(rc);
        if (done) return 0;
        push(c, child);
    }
}

static int compose_list(struct composer *c, const yaml_event_t *event, int depth,
                        struct yaml_node **node)
{
    if (event->data.sequence_start.anchor) return refuse_anchor(c, event->start_mark);
    TRY(new_node(c, event, YAML_KIND_LIST, event->data.sequence_start.tag, node));
    size_t base = c->n_stack;
    TRY(compose_children(c, YAML_SEQUENCE_END_EVENT, depth));
    pop_into(c, base, &(*node)->items, &(*node)->count);
    return 0;
}

static int compare_keys(const void *a, const void *b)
{
    const struct yaml_node *x = *(const struct yaml_node *const *)a;
    const struct yaml_node *y = *(const struct yaml_node *const *)b;
    int order = strcmp(x->text, y->text);
    return order ? order : x->line != y->line ? x->line - y->line : x->column - y->column;
}

/* Sorted, so that a map of a million keys is checked in n log n. */
static int check_keys(struct composer *c, const struct yaml_node *map)
{
    for (size_t i = 0; i < map->count; i++) {
        const struct yaml_node *key = map->keys[i];
        yaml_mark_t at = {0, (size_t)key->line - 1, (size_t)key->column - 1};
        if (key->kind != YAML_KIND_SCALAR)
            return refuse(c, at, "a key must be a word, not a list or a section");
        if (strcmp(key->text, "<<") == 0 && !key->quoted) {
            refuse(c, at, "merge keys ('<<') are not supported");
            return error_hint(c->e, "write the keys out, one a line: 'a: 1'");
        }
    }
    if (map->count < 2) return 0;
    size_t size = map->count * sizeof(struct yaml_node *);
    const struct yaml_node **sorted = mem_alloc(size);
    memcpy(sorted, map->keys, size);
    qsort(sorted, map->count, sizeof(*sorted), compare_keys);
    int rc = 0;
    for (size_t i = 1; i < map->count && rc == 0; i++) {
        const struct yaml_node *key = sorted[i];
        yaml_mark_t at = {0, (size_t)key->line - 1, (size_t)key->column - 1};
        if (strcmp(sorted[i - 1]->text, key->text) == 0) {
            rc = refuse(c, at, "'%.80s' is given twice, first in line %d", key->text,
                        sorted[i - 1]->line);
            error_hint(c->e, "keep one of the two lines; a list is '%.40s: [1, 2]'", key->text);
        }
    }
    mem_free(sorted);
    return rc;
}

static int compose_map(struct composer *c, const yaml_event_t *event, int depth,
                       struct yaml_node **node)
{
    if (event->data.mapping_start.anchor) return refuse_anchor(c, event->start_mark);
    TRY(new_node(c, event, YAML_KIND_MAP, event->data.mapping_start.tag, node));
    size_t base = c->n_stack;
    TRY(compose_children(c, YAML_MAPPING_END_EVENT, depth));
    struct yaml_node **both, *map = *node;
    size_t n;
    pop_into(c, base, &both, &n);
    map->count = n / 2; /* libyaml gives every key a value, an empty one where none is written */
    map->keys = arena_alloc(c->arena, (map->count + 1) * sizeof(*map->keys));
    map->items = arena_alloc(c->arena, (map->count + 1) * sizeof(*map->items));
    for (size_t i = 0; i < map->count; i++) {
        map->keys[i] = both[2 * i];
        map->items[i] = both[2 * i + 1];
    }
    return check_keys(c, map);
}

static int compose(struct composer *c, const yaml_event_t *event, int depth,
                   struct yaml_node **node)
{
    if (depth > YAML_MAX_DEPTH)
        return refuse(c, event->start_mark, "more than %d levels of nesting", YAML_MAX_DEPTH);
    switch (event->type) {
    case YAML_SCALAR_EVENT: return compose_scalar(c, event, node);
    case YAML_SEQUENCE_START_EVENT: return compose_list(c, event, depth, node);
    case YAML_MAPPING_START_EVENT: return compose_map(c, event, depth, node);
    case YAML_ALIAS_EVENT: return refuse_anchor(c, event->start_mark);
    default: return refuse(c, event->start_mark, "a value was expected here");
    }
}

/* STREAM-START, then DOCUMENT-START value DOCUMENT-END or nothing, then STREAM-END. */
static int compose_document(struct composer *c, struct yaml_node **root)
{
    bool seen = false;
    for (;;) {
        yaml_event_t event;
        TRY(next_event(c, &event));
        yaml_event_type_t type = event.type;
        int rc = 0;
        bool value = type == YAML_SCALAR_EVENT || type == YAML_SEQUENCE_START_EVENT ||
                     type == YAML_MAPPING_START_EVENT || type == YAML_ALIAS_EVENT;
        if (type == YAML_DOCUMENT_START_EVENT && seen)
            rc = refuse(c, event.start_mark, "a second document ('---'); one file holds one");
        else if (value)
            rc = compose(c, &event, 1, root);
        seen = seen || value;
        yaml_event_delete(&event);
        TRY(rc);
        if (type == YAML_STREAM_END_EVENT) return 0;
    }
}

bool yaml_is_null(const struct yaml_node *node)
{
    return node->kind == YAML_KIND_SCALAR && !node->quoted &&
           (!node->text[0] || strcmp(node->text, "~") == 0 || strcmp(node->text, "null") == 0);
}

int yaml_parse(const char *text, size_t size, const char *name, struct arena *a,
               struct yaml_node **root, struct error *e)
{
    struct error local = {0};
    struct composer c = {.name = name, .arena = a, .e = e ? e : &local};
    if (size > YAML_MAX_SIZE)
        return error_set_code(e, ERROR_CONFIG, "%s: larger than %zu MiB", name,
                              YAML_MAX_SIZE >> 20);
    if (!yaml_parser_initialize(&c.parser))
        return error_set(e, "%s: not enough memory to read it", name);
    yaml_parser_set_encoding(&c.parser, YAML_UTF8_ENCODING);
    if (size >= 3 &&
        memcmp(text, "\xef\xbb\xbf", 3) == 0) { /* byte-order mark, as some editors write */
        text += 3;
        size -= 3;
    }
    c.input = text;
    c.size = size;
    yaml_parser_set_input_string(&c.parser, (const unsigned char *)text, size);
    *root = NULL;
    int rc = compose_document(&c, root);
    yaml_parser_delete(&c.parser);
    mem_free(c.stack);
    if (rc == 0 && (!*root || yaml_is_null(*root))) {
        *root = arena_alloc(a, sizeof(**root));
        **root = (struct yaml_node){.kind = YAML_KIND_MAP, .line = 1, .column = 1};
    }
    return rc;
}

int yaml_load(const char *path, struct arena *a, struct yaml_node **root, struct error *e)
{
    char *text;
    size_t size;
    TRY(file_read(path, YAML_MAX_SIZE, &text, &size, e));
    int rc = yaml_parse(text, size, path, a, root, e);
    mem_free(text);
    return rc;
}

struct yaml_node *yaml_get(const struct yaml_node *map, const char *key)
{
    if (!map || map->kind != YAML_KIND_MAP) return NULL;
    for (size_t i = 0; i < map->count; i++)
        if (strcmp(map->keys[i]->text, key) == 0) return map->items[i];
    return NULL;
}

/* ------------------------------------------------------------------ printing */

struct printer {
    const struct option *rows;
    size_t n_rows;
    const void *target;
    const uint8_t *origins;
    const char *file_name;
    struct str *out;
};

/* Would a plain scalar with this text be read back as the same text? */
static bool is_plain_safe(const char *text)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-+";
    return text[0] && text[0] != '-' && !text[strspn(text, plain)] && strcmp(text, "null") != 0 &&
           strcmp(text, "...") != 0;
}

/* Characters that YAML does not allow as they stand, or takes for line breaks. */
static bool needs_escape(utf8proc_int32_t c)
{
    return (c >= 0x7F && c < 0xA0) || c == 0x2028 || c == 0x2029 || c == 0xFEFF || c == 0xFFFE ||
           c == 0xFFFF;
}

/* JSON's strings are YAML's, but for the characters above. */
void yaml_quote(struct str *out, const char *text)
{
    struct str json = {0};
    struct json_writer w;
    jsonw_begin(&w, &json);
    jsonw_string(&w, NULL, text);
    const unsigned char *s = (const unsigned char *)json.data;
    while (*s) {
        utf8proc_int32_t c;
        size_t n = (size_t)utf8proc_iterate(s, -1, &c); /* valid UTF-8 by now */
        if (needs_escape(c))
            str_printf(out, "\\u%04x", (unsigned)c);
        else
            str_append(out, s, n);
        s += n;
    }
    str_fini(&json);
}

static void print_value(const struct printer *p, const struct option *row)
{
    struct str text = {0};
    options_get(row, p->target, &text);
    const char *value = text.data ? text.data : "";
    if (row->type == OPTION_STRING && !is_plain_safe(value))
        yaml_quote(p->out, value);
    else
        str_puts(p->out, value);
    str_fini(&text);
}

static void print_origin(const struct printer *p, size_t i)
{
    enum option_origin origin = p->origins ? (enum option_origin)p->origins[i] : ORIGIN_DEFAULT;
    const char *words[] = {"default", p->file_name ? p->file_name : "file", "flag", "derived",
                           "preset"};
    str_printf(p->out, "  # %s\n", words[MIN((size_t)origin, ARRAY_LEN(words) - 1)]);
}

/* Prints the rows below prefix; a deeper section is printed where its first row stands. */
static void print_section(const struct printer *p, const char *prefix, int depth)
{
    size_t skip = prefix[0] ? strlen(prefix) + 1 : 0;
    for (size_t i = 0; i < p->n_rows; i++) {
        const char *name = p->rows[i].name;
        if (!options_below(name, prefix)) continue;
        const char *dot = strchr(name + skip, '.');
        if (!dot) {
            str_printf(p->out, "%*s%s: ", 2 * depth, "", name + skip);
            print_value(p, &p->rows[i]);
            print_origin(p, i);
            continue;
        }
        char section[128];
        snprintf(section, sizeof(section), "%.*s", (int)(dot - name), name);
        bool first = true;
        for (size_t k = 0; k < i && first; k++)
            first = !options_below(p->rows[k].name, section);
        if (!first) continue;
        str_printf(p->out, "%*s%s:\n", 2 * depth, "", section + skip);
        print_section(p, section, depth + 1);
    }
}

void yaml_print_options(const struct option *rows, size_t n_rows, const void *target,
                        const uint8_t *origins, const char *file_name, struct str *out)
{
    struct printer p = {rows, n_rows, target, origins, file_name, out};
    print_section(&p, "", 0);
}
