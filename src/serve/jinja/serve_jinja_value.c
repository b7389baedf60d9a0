/* serve_jinja_value.c: values of templates: made from JSON, compared, printed as Python does, and
 * turned to JSON again as json.dumps does without ensure_ascii. */
#include "serve/jinja/serve_jinja_internal.h"

#include <string.h>

#define MAX_BYTES ((size_t)256 << 20) /* of a rendering's memory */
enum { MAX_NESTED = 100 };

/* ------------------------------------------------------------------ errors, memory, strings */

int jinja_error(struct jinja_run *r, const char *fmt, ...)
{
    char text[500];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    return error_set(r->e, "%s:%d: %s", r->t->name, r->line, text);
}

void *jinja_alloc(struct jinja_run *r, size_t size)
{
    r->bytes += size;
    if (r->bytes > MAX_BYTES || size > MAX_BYTES) {
        char text[32];
        jinja_error(r, "the template takes more than %s", format_bytes(text, (double)MAX_BYTES));
        return NULL;
    }
    return arena_alloc(r->a, size);
}

int jinja_put(struct jinja_run *r, struct jinja_builder *b, const char *s, const uint8_t *user,
              size_t n)
{
    if (n > b->cap - b->n) {
        size_t cap = MAX(b->n + n, MAX(2 * b->cap, (size_t)64));
        char *text = jinja_alloc(r, cap);
        uint8_t *marks = text ? jinja_alloc(r, cap) : NULL;
        if (!marks) return ERROR_FAILED;
        if (b->n) memcpy(text, b->s, b->n);
        if (b->n) memcpy(marks, b->user, b->n);
        b->s = text;
        b->user = marks;
        b->cap = cap;
    }
    if (n == 0) return 0;
    memcpy(b->s + b->n, s, n);
    if (user) memcpy(b->user + b->n, user, n);
    b->any = b->any || user;
    b->n += n;
    return 0;
}

struct jinja_value jinja_built(struct jinja_builder *b)
{
    struct jinja_value v = {.kind = JINJA_STRING};
    v.s = b->n ? b->s : "";
    v.user = b->any ? b->user : NULL;
    v.n = b->n;
    return v;
}

struct jinja_value jinja_text_value(const char *s, size_t n)
{
    struct jinja_value v = {.kind = JINJA_STRING};
    v.s = s;
    v.user = NULL;
    v.n = n;
    return v;
}

size_t jinja_char_size(const char *s, size_t n)
{
    uint8_t c = (uint8_t)s[0];
    size_t size = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
    return MIN(size, n);
}

size_t jinja_chars(const struct jinja_value *v)
{
    size_t chars = 0;
    for (size_t i = 0; i < v->n; i++)
        chars += ((uint8_t)v->s[i] & 0xc0) != 0x80;
    return chars;
}

bool jinja_is_text(const struct jinja_value *v, const char *text)
{
    return v->kind == JINJA_STRING && v->n == strlen(text) && memcmp(v->s, text, v->n) == 0;
}

/* ------------------------------------------------------------------ lists and maps */

int jinja_list_new(struct jinja_run *r, size_t cap, struct jinja_value *out)
{
    struct jinja_list *l = jinja_alloc(r, sizeof(*l));
    if (!l) return ERROR_FAILED;
    *out = (struct jinja_value){.kind = JINJA_LIST, .list = l};
    if (cap == 0) return 0;
    l->items = jinja_alloc(r, cap * sizeof(*l->items));
    l->cap = cap;
    return l->items ? 0 : ERROR_FAILED;
}

int jinja_list_add(struct jinja_run *r, struct jinja_list *l, const struct jinja_value *v)
{
    if (l->count == l->cap) {
        size_t cap = MAX(2 * l->cap, (size_t)8);
        struct jinja_value *items = jinja_alloc(r, cap * sizeof(*items));
        if (!items) return ERROR_FAILED;
        if (l->count) memcpy(items, l->items, l->count * sizeof(*items));
        l->items = items;
        l->cap = cap;
    }
    l->items[l->count++] = *v;
    return 0;
}

int jinja_map_new(struct jinja_run *r, size_t cap, struct jinja_value *out)
{
    struct jinja_map *m = jinja_alloc(r, sizeof(*m));
    if (!m) return ERROR_FAILED;
    *out = (struct jinja_value){.kind = JINJA_MAP, .map = m};
    if (cap == 0) return 0;
    m->members = jinja_alloc(r, cap * sizeof(*m->members));
    m->cap = cap;
    return m->members ? 0 : ERROR_FAILED;
}

const struct jinja_value *jinja_map_get(const struct jinja_map *m, const struct jinja_value *key)
{
    for (size_t i = 0; i < m->count; i++)
        if (jinja_equal(&m->members[i].key, key)) return &m->members[i].value;
    return NULL;
}

int jinja_map_set(struct jinja_run *r, struct jinja_map *m, const struct jinja_value *key,
                  const struct jinja_value *value)
{
    for (size_t i = 0; i < m->count; i++) {
        if (!jinja_equal(&m->members[i].key, key)) continue;
        m->members[i].value = *value;
        return 0;
    }
    r->steps += m->count / 8;
    if (m->count == m->cap) {
        size_t cap = MAX(2 * m->cap, (size_t)8);
        struct jinja_member *members = jinja_alloc(r, cap * sizeof(*members));
        if (!members) return ERROR_FAILED;
        if (m->count) memcpy(members, m->members, m->count * sizeof(*members));
        m->members = members;
        m->cap = cap;
    }
    m->members[m->count++] = (struct jinja_member){*key, *value};
    return 0;
}

int jinja_elements(struct jinja_run *r, const struct jinja_value *v, struct jinja_value *list)
{
    if (v->kind == JINJA_LIST) {
        *list = *v;
        return 0;
    }
    if (v->kind == JINJA_UNDEFINED) return jinja_list_new(r, 0, list);
    if (v->kind == JINJA_MAP) {
        TRY(jinja_list_new(r, v->map->count, list));
        for (size_t i = 0; i < v->map->count; i++)
            TRY(jinja_list_add(r, list->list, &v->map->members[i].key));
        return 0;
    }
    if (v->kind != JINJA_STRING)
        return jinja_error(r, "%s cannot be gone through", jinja_kind_name(v));
    TRY(jinja_list_new(r, jinja_chars(v), list));
    for (size_t i = 0, n; i < v->n; i += n) {
        struct jinja_value c = *v;
        n = jinja_char_size(v->s + i, v->n - i);
        c.s = v->s + i;
        c.user = v->user ? v->user + i : NULL;
        c.n = n;
        TRY(jinja_list_add(r, list->list, &c));
    }
    return 0;
}

/* ------------------------------------------------------------------ truth and order */

bool jinja_is_true(const struct jinja_value *v)
{
    switch (v->kind) {
    case JINJA_UNDEFINED:
    case JINJA_NONE: return false;
    case JINJA_BOOL: return v->b;
    case JINJA_INT: return v->i != 0;
    case JINJA_FLOAT: return v->f != 0;
    case JINJA_STRING: return v->n > 0;
    case JINJA_LIST: return v->list->count > 0;
    case JINJA_MAP: return v->map->count > 0 || v->map->name_space;
    default: return true;
    }
}

static bool is_number(const struct jinja_value *v)
{
    return v->kind == JINJA_INT || v->kind == JINJA_FLOAT || v->kind == JINJA_BOOL;
}

static double number_of(const struct jinja_value *v)
{
    return v->kind == JINJA_FLOAT ? v->f : v->kind == JINJA_BOOL ? v->b : (double)v->i;
}

bool jinja_equal(const struct jinja_value *a, const struct jinja_value *b)
{
    if (is_number(a) && is_number(b)) return number_of(a) == number_of(b);
    if (a->kind != b->kind) return false;
    if (a->kind == JINJA_STRING) return a->n == b->n && memcmp(a->s, b->s, a->n) == 0;
    if (a->kind == JINJA_LIST) {
        bool same = a->list->count == b->list->count;
        for (size_t i = 0; same && i < a->list->count; i++)
            same = jinja_equal(&a->list->items[i], &b->list->items[i]);
        return same;
    }
    if (a->kind == JINJA_MAP) {
        bool same = a->map->count == b->map->count;
        for (size_t i = 0; same && i < a->map->count; i++) {
            const struct jinja_value *v = jinja_map_get(b->map, &a->map->members[i].key);
            same = v && jinja_equal(v, &a->map->members[i].value);
        }
        return same;
    }
    return a->kind == JINJA_NONE || a->kind == JINJA_UNDEFINED || a->macro == b->macro;
}

int jinja_order(struct jinja_run *r, const struct jinja_value *a, const struct jinja_value *b,
                int *order)
{
    if (is_number(a) && is_number(b)) {
        double x = number_of(a), y = number_of(b);
        *order = (x > y) - (x < y);
        return 0;
    }
    if (a->kind != JINJA_STRING || b->kind != JINJA_STRING)
        return jinja_error(r, "%s and %s have no order", jinja_kind_name(a), jinja_kind_name(b));
    size_t n = MIN(a->n, b->n);
    int c = n ? memcmp(a->s, b->s, n) : 0;
    *order = c ? (c > 0) - (c < 0) : (a->n > b->n) - (a->n < b->n);
    return 0;
}

const char *jinja_kind_name(const struct jinja_value *v)
{
    static const char *const names[] = {
        "an undefined value", "none",   "a truth value", "a number", "a number",
        "a string",           "a list", "a map",         "a macro",  "a function"};
    return names[v->kind];
}

/* ------------------------------------------------------------------ to text */

static int put_text(struct jinja_run *r, struct jinja_builder *b, const char *text)
{
    return jinja_put(r, b, text, NULL, strlen(text));
}

static int put_number(struct jinja_run *r, struct jinja_builder *b, const struct jinja_value *v)
{
    char text[48];
    if (v->kind == JINJA_INT) {
        snprintf(text, sizeof(text), "%lld", (long long)v->i);
        return put_text(r, b, text);
    }
    if (isnan(v->f)) return put_text(r, b, "nan");
    if (isinf(v->f)) return put_text(r, b, v->f > 0 ? "inf" : "-inf");
    json_real_text(text, v->f);
    TRY(put_text(r, b, text));
    return strpbrk(text, ".e") ? 0 : put_text(r, b, ".0");
}

/* Within a list or a map: as Python's repr. */
static int put_repr(struct jinja_run *r, struct jinja_builder *b, const struct jinja_value *v)
{
    if (v->kind != JINJA_STRING) return jinja_print(r, b, v);
    const char *quote = memchr(v->s, '\'', v->n) && !memchr(v->s, '"', v->n) ? "\"" : "'";
    TRY(put_text(r, b, quote));
    for (size_t i = 0; i < v->n; i++) {
        const uint8_t *user = v->user ? v->user + i : NULL;
        if (v->s[i] == '\n')
            TRY(put_text(r, b, "\\n"));
        else if (v->s[i] == '\\' || v->s[i] == quote[0]) {
            TRY(put_text(r, b, "\\"));
            TRY(jinja_put(r, b, v->s + i, user, 1));
        } else
            TRY(jinja_put(r, b, v->s + i, user, 1));
    }
    return put_text(r, b, quote);
}

static int print_nested(struct jinja_run *r, struct jinja_builder *b, const struct jinja_value *v)
{
    bool list = v->kind == JINJA_LIST;
    size_t n = list ? v->list->count : v->map->count;
    TRY(put_text(r, b, list ? "[" : "{"));
    for (size_t i = 0; i < n; i++) {
        if (i) TRY(put_text(r, b, ", "));
        if (!list) {
            TRY(put_repr(r, b, &v->map->members[i].key));
            TRY(put_text(r, b, ": "));
        }
        TRY(put_repr(r, b, list ? &v->list->items[i] : &v->map->members[i].value));
    }
    return put_text(r, b, list ? "]" : "}");
}

int jinja_print(struct jinja_run *r, struct jinja_builder *b, const struct jinja_value *v)
{
    switch (v->kind) {
    case JINJA_UNDEFINED: return 0;
    case JINJA_NONE: return put_text(r, b, "None");
    case JINJA_BOOL: return put_text(r, b, v->b ? "True" : "False");
    case JINJA_INT:
    case JINJA_FLOAT: return put_number(r, b, v);
    case JINJA_STRING: return jinja_put(r, b, v->s, v->user, v->n);
    case JINJA_LIST:
    case JINJA_MAP: break;
    default: return jinja_error(r, "%s cannot be printed", jinja_kind_name(v));
    }
    if (++r->depth > MAX_NESTED) return jinja_error(r, "nested more than %d deep", MAX_NESTED);
    int rc = print_nested(r, b, v);
    r->depth--;
    return rc;
}

static int json_string_out(struct jinja_run *r, struct jinja_builder *b,
                           const struct jinja_value *v)
{
    static const char short_from[] = "\"\\\n\r\t\b\f", short_to[] = "\"\\nrtbf";
    TRY(put_text(r, b, "\""));
    for (size_t i = 0; i < v->n; i++) {
        unsigned char c = (unsigned char)v->s[i];
        const char *known = c ? strchr(short_from, c) : NULL;
        char text[8];
        if (!known && c >= 32) {
            TRY(jinja_put(r, b, v->s + i, v->user ? v->user + i : NULL, 1));
            continue;
        }
        if (known)
            snprintf(text, sizeof(text), "\\%c", short_to[known - short_from]);
        else
            snprintf(text, sizeof(text), "\\u%04x", c);
        TRY(put_text(r, b, text));
    }
    return put_text(r, b, "\"");
}

static int new_line(struct jinja_run *r, struct jinja_builder *b, int indent, int level)
{
    if (indent < 0) return 0;
    TRY(put_text(r, b, "\n"));
    for (int i = 0; i < indent * level; i++)
        TRY(put_text(r, b, " "));
    return 0;
}

static int json_nested(struct jinja_run *r, struct jinja_builder *b, const struct jinja_value *v,
                       int indent, int level)
{
    bool list = v->kind == JINJA_LIST;
    size_t n = list ? v->list->count : v->map->count;
    if (n == 0) return put_text(r, b, list ? "[]" : "{}");
    TRY(put_text(r, b, list ? "[" : "{"));
    for (size_t i = 0; i < n; i++) {
        if (i) TRY(put_text(r, b, indent < 0 ? ", " : ","));
        TRY(new_line(r, b, indent, level + 1));
        if (!list) {
            const struct jinja_value *key = &v->map->members[i].key;
            bool text = key->kind == JINJA_STRING;
            if (!text) TRY(put_text(r, b, "\""));
            TRY(jinja_to_json(r, b, key, -1, 0));
            TRY(put_text(r, b, text ? ": " : "\": "));
        }
        TRY(jinja_to_json(r, b, list ? &v->list->items[i] : &v->map->members[i].value, indent,
                          level + 1));
    }
    TRY(new_line(r, b, indent, level));
    return put_text(r, b, list ? "]" : "}");
}

int jinja_to_json(struct jinja_run *r, struct jinja_builder *b, const struct jinja_value *v,
                  int indent, int level)
{
    switch (v->kind) {
    case JINJA_NONE: return put_text(r, b, "null");
    case JINJA_BOOL: return put_text(r, b, v->b ? "true" : "false");
    case JINJA_INT:
    case JINJA_FLOAT: return put_number(r, b, v);
    case JINJA_STRING: return json_string_out(r, b, v);
    case JINJA_LIST:
    case JINJA_MAP: break;
    default: return jinja_error(r, "%s cannot become JSON", jinja_kind_name(v));
    }
    if (level > MAX_NESTED) return jinja_error(r, "nested more than %d deep", MAX_NESTED);
    return json_nested(r, b, v, indent, level);
}

/* ------------------------------------------------------------------ from JSON */

static int string_from_json(struct jinja_run *r, const char *s, size_t n, bool user,
                            struct jinja_value *out)
{
    *out = jinja_text_value(s, n);
    if (!user || n == 0) return 0;
    uint8_t *marks = jinja_alloc(r, n);
    if (!marks) return ERROR_FAILED;
    memset(marks, 1, n);
    out->user = marks;
    return 0;
}

/* A role's name becomes part of a control token in some templates ("<|user|>"). Only names that are
 * known are the template's; whatever else somebody calls a role is a user's text. */
static bool is_role(const char *key, const json_t *value)
{
    static const char *const names[] = {"system",    "developer", "user",
                                        "assistant", "tool",      "function"};
    const char *name = json_string_value(value);
    for (size_t i = 0; name && i < ARRAY_LEN(names) && strcmp(key, "role") == 0; i++)
        if (strcmp(names[i], name) == 0 && strlen(name) == json_string_length(value)) return true;
    return false;
}

static int map_from_json(struct jinja_run *r, const json_t *j, bool user, struct jinja_value *out)
{
    json_t *object = (json_t *)(uintptr_t)j; /* jansson's iterators take no const */
    struct jinja_value value;
    const char *key;
    json_t *item;
    TRY(jinja_map_new(r, json_object_size(j), out));
    json_object_foreach(object, key, item)
    {
        struct jinja_member *m = &out->map->members[out->map->count++];
        TRY(string_from_json(r, key, strlen(key), user, &m->key));
        TRY(jinja_from_json(r, item, user && !is_role(key, item), &value));
        m->value = value;
    }
    return 0;
}

int jinja_from_json(struct jinja_run *r, const json_t *j, bool user, struct jinja_value *out)
{
    int rc = 0;
    if (++r->depth > MAX_NESTED) return jinja_error(r, "nested more than %d deep", MAX_NESTED);
    switch (json_typeof(j)) {
    case JSON_STRING:
        rc = string_from_json(r, json_string_value(j), json_string_length(j), user, out);
        break;
    case JSON_INTEGER: *out = jinja_int(json_integer_value(j)); break;
    case JSON_REAL:
        *out = (struct jinja_value){.kind = JINJA_FLOAT, .f = json_real_value(j)};
        break;
    case JSON_TRUE: *out = jinja_bool(true); break;
    case JSON_FALSE: *out = jinja_bool(false); break;
    case JSON_NULL: *out = (struct jinja_value){.kind = JINJA_NONE}; break;
    case JSON_OBJECT: rc = map_from_json(r, j, user, out); break;
    case JSON_ARRAY:
        rc = jinja_list_new(r, json_array_size(j), out);
        for (size_t i = 0; rc == 0 && i < json_array_size(j); i++) {
            struct jinja_value item;
            rc = jinja_from_json(r, json_array_get(j, i), user, &item);
            if (rc == 0) rc = jinja_list_add(r, out->list, &item);
        }
        break;
    }
    r->depth--;
    return rc;
}
