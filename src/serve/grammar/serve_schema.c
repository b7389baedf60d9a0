/* serve_schema.c: a JSON schema (draft 2020-12 and before) as a grammar.
 *
 * Every text of the grammar fits the schema; not every value that fits is in it. So properties come
 * in the order in which they stand, properties that the schema does not name are not written unless
 * it says what they are, numbers have a bounded number of digits, and white space is at most one
 * blank behind a comma or a colon. What a keyword asks for is held to, or it is refused by its name:
 * a schema that would be held to in part is none.
 *
 * References lead into the schema itself ("#/$defs/x", "#"); each place that one leads to becomes a
 * node once, so that schemas may be recursive and a hostile one costs no more than its size. */
#include "serve/grammar/serve_grammar_internal.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 64, MAX_REFERENCES = 1024, MAX_TIMES = 100000 };
#define MAX_WHOLE INT64_C(999999999999999)

struct schema {
    grammar_t *g;
    const json_t *root;
    struct schema_shared shared;
    struct {
        const json_t *at;
        struct gnode *node;
        bool made;
    } places[MAX_REFERENCES];
    size_t n_places;
    int depth;
    struct error *e;
};

static const struct gnode *node_of(struct schema *s, const json_t *j);

static const struct gnode *refuse(struct schema *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
static const struct gnode *refuse(struct schema *s, const char *fmt, ...)
{
    char text[400];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    error_set(s->e, "the schema cannot be held to: %s", text);
    return NULL;
}

static bool has(const json_t *j, const char *key)
{
    return json_object_get(j, key) != NULL;
}

/* ------------------------------------------------------------------ keywords */

static bool is_one_of(const char *word, const char *const *words)
{
    for (; *words; words++)
        if (strcmp(word, *words) == 0) return true;
    return false;
}

/* Known ones are done below; those that only tell are passed over; all others are refused. */
static bool check_keywords(struct schema *s, const json_t *j)
{
    static const char *const known[] = {"type",
                                        "enum",
                                        "const",
                                        "anyOf",
                                        "oneOf",
                                        "allOf",
                                        "$ref",
                                        "properties",
                                        "required",
                                        "additionalProperties",
                                        "items",
                                        "prefixItems",
                                        "minItems",
                                        "maxItems",
                                        "minLength",
                                        "maxLength",
                                        "pattern",
                                        "format",
                                        "minimum",
                                        "maximum",
                                        "exclusiveMinimum",
                                        "exclusiveMaximum",
                                        "nullable",
                                        NULL};
    static const char *const told[] = {
        "title", "description", "default",  "examples",   "example",          "$schema",
        "$id",   "id",          "$comment", "deprecated", "readOnly",         "writeOnly",
        "$defs", "definitions", "$anchor",  "strict",     "contentMediaType", "contentEncoding",
        NULL};
    json_t *object = (json_t *)(uintptr_t)j, *v;
    const char *key;
    json_object_foreach(object, key, v)
    {
        if (is_one_of(key, known) || is_one_of(key, told) || strncmp(key, "x-", 2) == 0) continue;
        if (strcmp(key, "uniqueItems") == 0 && json_is_false(v)) continue;
        if (strcmp(key, "minProperties") == 0 && json_integer_value(v) == 0) continue;
        if (strcmp(key, "multipleOf") == 0 && json_is_integer(v) && json_integer_value(v) == 1)
            continue;
        refuse(s, "'%.60s' is not done", key);
        return false;
    }
    return true;
}

/* A count: *out stays where it is not given. */
static bool read_count(struct schema *s, const json_t *j, const char *key, uint32_t *out)
{
    const json_t *v = json_object_get(j, key);
    if (!v) return true;
    if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > MAX_TIMES) {
        refuse(s, "'%s' is no number from 0 to %d", key, MAX_TIMES);
        return false;
    }
    *out = (uint32_t)json_integer_value(v);
    return true;
}

/* ------------------------------------------------------------------ values that are written out */

static const struct gnode *literal(struct schema *s, const json_t *v)
{
    char *text = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);
    if (!text) return refuse(s, "a value cannot be written");
    const struct gnode *n = grammar_text(s->g, text);
    mem_free(text);
    return n;
}

static bool is_of_type(const json_t *v, const char *type)
{
    switch (json_typeof(v)) {
    case JSON_OBJECT: return strcmp(type, "object") == 0;
    case JSON_ARRAY: return strcmp(type, "array") == 0;
    case JSON_STRING: return strcmp(type, "string") == 0;
    case JSON_INTEGER: return strcmp(type, "integer") == 0 || strcmp(type, "number") == 0;
    case JSON_REAL: return strcmp(type, "number") == 0;
    case JSON_NULL: return strcmp(type, "null") == 0;
    default: return strcmp(type, "boolean") == 0;
    }
}

/* Whether `type` of the schema, a name or a list, allows the value; true where it says nothing. */
static bool type_allows(const json_t *type, const json_t *v)
{
    if (!type) return true;
    if (json_is_string(type)) return is_of_type(v, json_string_value(type));
    for (size_t i = 0; i < json_array_size(type); i++) {
        const char *name = json_string_value(json_array_get(type, i));
        if (name && is_of_type(v, name)) return true;
    }
    return false;
}

/* Values beside other limits would need these to be looked at. */
static const struct gnode *values_node(struct schema *s, const json_t *j)
{
    static const char *const others[] = {
        "minLength",  "maxLength", "pattern", "format", "minimum", "maximum", "items",
        "properties", "anyOf",     "oneOf",   "allOf",  "$ref",    NULL};
    const json_t *list = json_object_get(j, "enum"), *one = json_object_get(j, "const");
    size_t n = list ? json_array_size(list) : 1, count = 0;
    for (size_t i = 0; others[i]; i++)
        if (has(j, others[i])) return refuse(s, "'%s' beside enum or const", others[i]);
    if (list && one) return refuse(s, "'enum' beside 'const'");
    if (list && (!json_is_array(list) || n == 0 || n > 10000))
        return refuse(s, "'enum' is no list of 1 to 10000 values");
    const struct gnode **any = arena_alloc(&s->g->arena, (n + 1) * sizeof(struct gnode *));
    for (size_t i = 0; i < n; i++) {
        const json_t *v = list ? json_array_get(list, i) : one;
        if (!type_allows(json_object_get(j, "type"), v)) continue;
        any[count] = literal(s, v);
        if (!any[count++]) return NULL;
    }
    if (count == 0) return refuse(s, "no value of the enum is of the type");
    return grammar_any(s->g, count, any);
}

/* ------------------------------------------------------------------ strings */

static const struct gnode *format_node(struct schema *s, const char *format)
{
    static const struct {
        const char *name, *pattern;
    } formats[] = {
#define DATE "[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])"
#define TIME                                                                                       \
    "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9]" \
    ")"
        {"date", "^" DATE "$"},
        {"time", "^" TIME "$"},
        {"date-time", "^" DATE "T" TIME "$"},
        {"uuid", "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"},
        {"email",
         "^[a-z0-9]{1,32}([.+_-][a-z0-9]{1,32}){0,3}@[a-z0-9]{1,32}(\\.[a-z]{2,16}){1,3}$"},
        {"ipv4",
         "^((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\\.){3}(25[0-5]|2[0-4][0-9]|1[0-9]{2}|"
         "[1-9]?[0-9])$"},
        {"uri", "^https?://[a-z0-9]{1,32}(\\.[a-z0-9]{1,32}){1,4}(/[A-Za-z0-9._~-]{0,64}){0,8}$"},
#undef DATE
#undef TIME
    };
    for (size_t i = 0; i < ARRAY_LEN(formats); i++)
        if (strcmp(formats[i].name, format) == 0)
            return schema_pattern(s->g, formats[i].pattern, s->e);
    return refuse(s, "the format '%.40s' is not done", format);
}

static const struct gnode *quoted(struct schema *s, const struct gnode *inside)
{
    if (!inside) return NULL;
    return GRAMMAR_ALL(s->g, grammar_text(s->g, "\""), inside, grammar_text(s->g, "\""));
}

static const struct gnode *string_node(struct schema *s, const json_t *j)
{
    const json_t *pattern = json_object_get(j, "pattern"), *format = json_object_get(j, "format");
    uint32_t min = 0, max = UINT32_MAX;
    if (!read_count(s, j, "minLength", &min) || !read_count(s, j, "maxLength", &max)) return NULL;
    if (max < min) return refuse(s, "'maxLength' is below 'minLength'");
    bool lengths = has(j, "minLength") || has(j, "maxLength");
    if ((pattern != NULL) + (format != NULL) + lengths > 1)
        return refuse(s, "only one of pattern, format and lengths of a string is done");
    if ((pattern && !json_is_string(pattern)) || (format && !json_is_string(format)))
        return refuse(s, "'%s' is no string", pattern ? "pattern" : "format");
    if (pattern) {
        const struct gnode *n = schema_pattern(s->g, json_string_value(pattern), s->e);
        return n ? quoted(s, n) : refuse(s, "%s", arena_strdup(&s->g->arena, s->e->text));
    }
    if (format) return quoted(s, format_node(s, json_string_value(format)));
    return lengths ? quoted(s, grammar_repeat(s->g, s->shared.character, min, max))
                   : s->shared.string;
}

/* ------------------------------------------------------------------ numbers */

struct bounds {
    int64_t least, most; /* whole numbers within */
    int64_t low, high;   /* between which every fraction is within */
};

static bool read_bounds(struct schema *s, const json_t *j, struct bounds *b)
{
    static const char *const keys[] = {"minimum", "exclusiveMinimum", "maximum",
                                       "exclusiveMaximum"};
    *b = (struct bounds){-MAX_WHOLE, MAX_WHOLE, -MAX_WHOLE, MAX_WHOLE};
    for (int i = 0; i < 4; i++) {
        const json_t *v = json_object_get(j, keys[i]);
        if (!v) continue;
        if (!json_is_number(v) || fabs(json_number_value(v)) > (double)MAX_WHOLE) {
            refuse(s, "'%s' is no number within 10^15", keys[i]);
            return false;
        }
        double x = json_number_value(v);
        if (i == 0) b->least = MAX(b->least, (int64_t)ceil(x));
        if (i == 1) b->least = MAX(b->least, (int64_t)floor(x) + 1);
        if (i == 2) b->most = MIN(b->most, (int64_t)floor(x));
        if (i == 3) b->most = MIN(b->most, (int64_t)ceil(x) - 1);
        if (i < 2)
            b->low = MAX(b->low, (int64_t)ceil(x));
        else
            b->high = MIN(b->high, (int64_t)floor(x));
    }
    return true;
}

/* Whole numbers, and fractions that are none, between two whole numbers. */
static const struct gnode *fractions(struct schema *s, const struct bounds *b)
{
    grammar_t *g = s->g;
    const struct gnode *any[3];
    size_t n = 0;
    const struct gnode *fraction =
        GRAMMAR_ALL(g, grammar_text(g, "."), grammar_repeat(g, grammar_range(g, '0', '9'), 0, 5),
                    grammar_range(g, '1', '9'));
    if (b->least <= b->most) any[n++] = schema_whole(g, b->least, b->most);
    if (b->high >= 1 && b->low < b->high)
        any[n++] = GRAMMAR_ALL(g, schema_whole(g, MAX(b->low, 0), b->high - 1), fraction);
    if (b->low <= -1 && b->low < b->high)
        any[n++] = GRAMMAR_ALL(g, grammar_text(g, "-"),
                               schema_whole(g, MAX(-b->high, 0), -b->low - 1), fraction);
    return n ? grammar_any(g, n, any) : refuse(s, "the bounds are too narrow for a number");
}

static const struct gnode *number_node(struct schema *s, const json_t *j, bool whole)
{
    struct bounds b;
    bool given = has(j, "minimum") || has(j, "maximum") || has(j, "exclusiveMinimum") ||
                 has(j, "exclusiveMaximum");
    if (has(j, "multipleOf")) whole = true;
    if (!given) return whole ? s->shared.integer : s->shared.number;
    if (!read_bounds(s, j, &b)) return NULL;
    if (!whole) return fractions(s, &b);
    if (b.least > b.most) return refuse(s, "no whole number lies within the bounds");
    return schema_whole(s->g, b.least, b.most);
}

/* ------------------------------------------------------------------ lists */

static const struct gnode *array_node(struct schema *s, const json_t *j)
{
    grammar_t *g = s->g;
    const json_t *items = json_object_get(j, "items"), *first = json_object_get(j, "prefixItems");
    uint32_t min = 0, max = UINT32_MAX, n = (uint32_t)json_array_size(first);
    if (!read_count(s, j, "minItems", &min) || !read_count(s, j, "maxItems", &max)) return NULL;
    if (max < min) return refuse(s, "'maxItems' is below 'minItems'");
    if (json_is_array(items)) return refuse(s, "'items' as a list is not done: prefixItems is");
    const struct gnode *comma = GRAMMAR_ALL(g, grammar_text(g, ","), s->shared.space);
    const struct gnode *all = grammar_text(g, "["), *item;
    if (n > 0) { /* all of these, and nothing behind them that is not asked for */
        if (n > 1000 || max < n) return refuse(s, "'prefixItems' does not fit 'maxItems'");
        for (uint32_t i = 0; i < n; i++) {
            item = node_of(s, json_array_get(first, i));
            if (!item) return NULL;
            all = i ? GRAMMAR_ALL(g, all, comma, item) : GRAMMAR_ALL(g, all, item);
        }
        if (min > n && (!items || json_is_false(items)))
            return refuse(s, "'minItems' is above the number of 'prefixItems'");
        if (min > n) {
            item = node_of(s, items);
            if (!item) return NULL;
            all = GRAMMAR_ALL(g, all,
                              grammar_repeat(g, GRAMMAR_ALL(g, comma, item), min - n, min - n));
        }
        return GRAMMAR_ALL(g, all, grammar_text(g, "]"));
    }
    if (max == 0 || json_is_false(items))
        return min ? refuse(s, "no list fits") : grammar_text(g, "[]");
    item = items ? node_of(s, items) : s->shared.value;
    if (!item) return NULL;
    const struct gnode *list =
        GRAMMAR_ALL(g, item,
                    grammar_repeat(g, GRAMMAR_ALL(g, comma, item), min > 1 ? min - 1 : 0,
                                   max == UINT32_MAX ? max : max - 1));
    return GRAMMAR_ALL(g, all, grammar_repeat(g, list, min > 0, 1), grammar_text(g, "]"));
}

/* ------------------------------------------------------------------ objects */

static bool is_required(const json_t *required, const char *key)
{
    for (size_t i = 0; i < json_array_size(required); i++) {
        const char *name = json_string_value(json_array_get(required, i));
        if (name && strcmp(name, key) == 0) return true;
    }
    return false;
}

/* "key": value */
static const struct gnode *member(struct schema *s, const char *key, const struct gnode *value)
{
    json_t *name = json_string(key);
    const struct gnode *text = name ? literal(s, name) : NULL;
    json_decref(name);
    if (!text || !value) return NULL;
    return GRAMMAR_ALL(s->g, text, grammar_text(s->g, ":"), s->shared.space, value);
}

/* A map from any strings to values of one kind. */
static const struct gnode *map_node(struct schema *s, const struct gnode *value)
{
    grammar_t *g = s->g;
    const struct gnode *comma = GRAMMAR_ALL(g, grammar_text(g, ","), s->shared.space);
    const struct gnode *one =
        GRAMMAR_ALL(g, s->shared.string, grammar_text(g, ":"), s->shared.space, value);
    const struct gnode *many =
        GRAMMAR_ALL(g, one, grammar_repeat(g, GRAMMAR_ALL(g, comma, one), 0, UINT32_MAX));
    return GRAMMAR_ALL(g, grammar_text(g, "{"), grammar_repeat(g, many, 0, 1),
                       grammar_text(g, "}"));
}

/* The members in their order, from the last to the first: what may come from member i on, as the
 * first one that is written, or behind others. */
static const struct gnode *members_node(struct schema *s, const struct gnode **members,
                                        const bool *required, size_t n)
{
    grammar_t *g = s->g;
    const struct gnode *comma = GRAMMAR_ALL(g, grammar_text(g, ","), s->shared.space);
    const struct gnode *first = grammar_text(g, ""), *behind = first;
    while (n-- > 0) {
        const struct gnode *with = GRAMMAR_ALL(g, members[n], behind);
        const struct gnode *with_comma = GRAMMAR_ALL(g, comma, with);
        first = required[n] ? with : GRAMMAR_ANY(g, with, first);
        behind = required[n] ? with_comma : GRAMMAR_ANY(g, with_comma, behind);
    }
    return GRAMMAR_ALL(g, grammar_text(g, "{"), first, grammar_text(g, "}"));
}

static const struct gnode *object_node(struct schema *s, const json_t *j)
{
    json_t *properties = json_object_get(j, "properties"), *value;
    const json_t *required = json_object_get(j, "required");
    const json_t *more = json_object_get(j, "additionalProperties");
    size_t n = json_object_size(properties), extra = json_array_size(required), count = 0;
    const char *key;
    if ((properties && !json_is_object(properties)) || (required && !json_is_array(required)) ||
        n > 1000 || extra > 1000)
        return refuse(s, "'properties' or 'required' are not what they must be");
    if (n == 0 && extra == 0) {
        if (json_is_false(more)) return grammar_text(s->g, "{}");
        const struct gnode *any = more && !json_is_true(more) ? node_of(s, more) : s->shared.value;
        return any ? map_node(s, any) : NULL;
    }
    const struct gnode **members = arena_alloc(&s->g->arena, (n + extra) * sizeof(struct gnode *));
    bool *needed = arena_alloc(&s->g->arena, n + extra);
    json_object_foreach(properties, key, value)
    {
        if (json_is_false(value) && !is_required(required, key)) continue; /* never written */
        needed[count] = is_required(required, key);
        members[count] = member(s, key, node_of(s, value));
        if (!members[count++]) return NULL;
    }
    for (size_t i = 0; i < extra; i++) { /* required, but not described */
        key = json_string_value(json_array_get(required, i));
        if (!key) return refuse(s, "'required' is no list of names");
        if (properties && json_object_get(properties, key)) continue;
        if (json_is_false(more)) return refuse(s, "'%.40s' is required and may not be there", key);
        needed[count] = true;
        members[count] =
            member(s, key, more && !json_is_true(more) ? node_of(s, more) : s->shared.value);
        if (!members[count++]) return NULL;
    }
    return members_node(s, members, needed, count);
}

/* ------------------------------------------------------------------ choices and references */

/* Whether a value can fit two schemas is seen by their types, or by one property that has another
 * value in each. */
static bool are_apart(const json_t *a, const json_t *b)
{
    const char *x = json_string_value(json_object_get(a, "type"));
    const char *y = json_string_value(json_object_get(b, "type"));
    json_t *pa = json_object_get(a, "properties"), *pb = json_object_get(b, "properties"), *v;
    const json_t *ca = json_object_get(a, "const"), *cb = json_object_get(b, "const");
    const char *key;
    if (ca && cb) return !json_equal(ca, cb);
    if (x && y && strcmp(x, y) != 0)
        return !((strcmp(x, "integer") == 0 && strcmp(y, "number") == 0) ||
                 (strcmp(x, "number") == 0 && strcmp(y, "integer") == 0));
    json_object_foreach(pa, key, v)
    {
        const json_t *w = json_object_get(pb, key);
        ca = json_object_get(v, "const");
        cb = json_object_get(w, "const");
        if (ca && cb && !json_equal(ca, cb) && is_required(json_object_get(a, "required"), key) &&
            is_required(json_object_get(b, "required"), key))
            return true;
    }
    return false;
}

static const json_t *follow(struct schema *s, const char *path);

static const json_t *behind_reference(struct schema *s, const json_t *j)
{
    const char *path = json_string_value(json_object_get(j, "$ref"));
    const json_t *to = path ? follow(s, path) : NULL;
    return to ? to : j;
}

static const struct gnode *choice_node(struct schema *s, const json_t *j, const char *key)
{
    static const char *const beside[] = {"type",    "properties", "required", "items", "minimum",
                                         "maximum", "pattern",    "enum",     "$ref",  NULL};
    const json_t *list = json_object_get(j, key);
    size_t n = json_array_size(list);
    if (!json_is_array(list) || n == 0 || n > 1000)
        return refuse(s, "'%s' is no list of 1 to 1000 schemas", key);
    for (size_t i = 0; beside[i]; i++)
        if (has(j, beside[i])) return refuse(s, "'%s' beside '%s'", beside[i], key);
    for (size_t i = 0; i < n && strcmp(key, "oneOf") == 0; i++)
        for (size_t k = 0; k < i; k++)
            if (!are_apart(behind_reference(s, json_array_get(list, i)),
                           behind_reference(s, json_array_get(list, k))))
                return refuse(s, "a value could fit two schemas of 'oneOf': 'anyOf' allows that");
    if (strcmp(key, "allOf") == 0 && n > 1) return refuse(s, "'allOf' of several schemas");
    const struct gnode **any = arena_alloc(&s->g->arena, n * sizeof(struct gnode *));
    for (size_t i = 0; i < n; i++) {
        any[i] = node_of(s, json_array_get(list, i));
        if (!any[i]) return NULL;
    }
    return grammar_any(s->g, n, any);
}

/* RFC 6901, of a reference that begins with '#'. */
static const json_t *follow(struct schema *s, const char *path)
{
    const json_t *at = s->root;
    struct str name = {0};
    if (*path++ != '#') return NULL;
    while (at && *path == '/') {
        str_clear(&name);
        str_reserve(&name, 1);
        for (path++; *path && *path != '/'; path++) {
            bool escape = *path == '~' && (path[1] == '0' || path[1] == '1');
            str_append_char(&name, escape ? (path[1] == '0' ? '~' : '/') : *path);
            path += escape;
        }
        str_append_char(&name, '\0');
        if (json_is_object(at)) {
            at = json_object_get(at, name.data);
        } else {
            char *end;
            unsigned long i = strtoul(name.data, &end, 10);
            at = json_is_array(at) && end != name.data && !*end ? json_array_get(at, i) : NULL;
        }
    }
    str_fini(&name);
    return *path ? NULL : at;
}

static const struct gnode *reference_node(struct schema *s, const json_t *j)
{
    const char *path = json_string_value(json_object_get(j, "$ref"));
    const json_t *to = path ? follow(s, path) : NULL;
    if (!to) return refuse(s, "'$ref' '%.80s' leads nowhere", path ? path : "");
    for (size_t i = 0; i < s->n_places; i++)
        if (s->places[i].at == to) return s->places[i].node;
    if (s->n_places == MAX_REFERENCES) return refuse(s, "too many references");
    struct gnode *n = grammar_ref(s->g);
    s->places[s->n_places].at = to;
    s->places[s->n_places++].node = n;
    n->target = node_of(s, to);
    return n->target ? n : NULL;
}

/* ------------------------------------------------------------------ a schema */

static const struct gnode *type_node(struct schema *s, const json_t *j, const char *type)
{
    if (strcmp(type, "object") == 0) return object_node(s, j);
    if (strcmp(type, "array") == 0) return array_node(s, j);
    if (strcmp(type, "string") == 0) return string_node(s, j);
    if (strcmp(type, "integer") == 0) return number_node(s, j, true);
    if (strcmp(type, "number") == 0) return number_node(s, j, false);
    if (strcmp(type, "null") == 0) return grammar_text(s->g, "null");
    if (strcmp(type, "boolean") == 0)
        return GRAMMAR_ANY(s->g, grammar_text(s->g, "true"), grammar_text(s->g, "false"));
    return refuse(s, "there is no type '%.40s'", type);
}

/* The type that keywords speak of where none is given: a value of another would fit, but need not be
 * written. */
static const char *implied_type(const json_t *j)
{
    static const struct {
        const char *key, *type;
    } keys[] = {{"properties", "object"},
                {"required", "object"},
                {"additionalProperties", "object"},
                {"items", "array"},
                {"prefixItems", "array"},
                {"minItems", "array"},
                {"maxItems", "array"},
                {"pattern", "string"},
                {"format", "string"},
                {"minLength", "string"},
                {"maxLength", "string"},
                {"minimum", "number"},
                {"maximum", "number"},
                {"exclusiveMinimum", "number"},
                {"exclusiveMaximum", "number"}};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        if (has(j, keys[i].key)) return keys[i].type;
    return NULL;
}

static const struct gnode *object_of_keywords(struct schema *s, const json_t *j)
{
    static const char *const choices[] = {"anyOf", "oneOf", "allOf"};
    const json_t *type = json_object_get(j, "type");
    const struct gnode *any[8];
    if (!check_keywords(s, j)) return NULL;
    if (has(j, "$ref")) return reference_node(s, j);
    if (has(j, "enum") || has(j, "const")) return values_node(s, j);
    for (size_t i = 0; i < ARRAY_LEN(choices); i++)
        if (has(j, choices[i])) return choice_node(s, j, choices[i]);
    if (json_is_string(type)) return type_node(s, j, json_string_value(type));
    if (json_is_array(type)) {
        size_t n = json_array_size(type);
        if (n == 0 || n > ARRAY_LEN(any)) return refuse(s, "'type' is no list of types");
        for (size_t i = 0; i < n; i++) {
            const char *name = json_string_value(json_array_get(type, i));
            any[i] = name ? type_node(s, j, name) : refuse(s, "'type' is no list of types");
            if (!any[i]) return NULL;
        }
        return grammar_any(s->g, n, any);
    }
    if (type) return refuse(s, "'type' is neither a name nor a list");
    const char *implied = implied_type(j);
    return implied ? type_node(s, j, implied) : s->shared.value;
}

static const struct gnode *node_of(struct schema *s, const json_t *j)
{
    if (json_is_true(j)) return s->shared.value;
    if (!json_is_object(j)) return refuse(s, "a schema that is no object");
    if (++s->depth > MAX_DEPTH) return refuse(s, "nested more than %d deep", MAX_DEPTH);
    const struct gnode *n = object_of_keywords(s, j);
    s->depth--;
    if (n && json_is_true(json_object_get(j, "nullable")))
        return GRAMMAR_ANY(s->g, n, grammar_text(s->g, "null"));
    return n;
}

const struct gnode *schema_node(grammar_t *g, const json_t *schema, struct error *e)
{
    struct schema *s = mem_calloc(1, sizeof(*s));
    s->g = g;
    s->root = schema;
    s->e = e;
    schema_share(g, &s->shared);
    const struct gnode *n = node_of(s, schema);
    mem_free(s);
    return n;
}

const struct gnode *schema_any_object(grammar_t *g)
{
    struct schema_shared shared;
    schema_share(g, &shared);
    return shared.object;
}
