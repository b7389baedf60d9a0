/* serve_jinja_call.c: filters, tests, methods of strings, lists and maps, and functions: those that
 * the chat templates of published models call. Every other name is an error that says it. */
#include "serve/jinja/serve_jinja_internal.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static const struct jinja_value undefined = {.kind = JINJA_UNDEFINED};

/* ------------------------------------------------------------------ arguments */

/* Argument `place`, or the one of that name; undefined where it is not given. */
static struct jinja_value arg(const struct jinja_args *args, size_t place, const char *name)
{
    for (size_t i = 0; i < args->n; i++)
        if (args->names[i] ? name && strcmp(args->names[i], name) == 0 : i == place)
            return args->values[i];
    return undefined;
}

static int want_string(struct jinja_run *r, const char *what, const struct jinja_value *v)
{
    return v->kind == JINJA_STRING
               ? 0
               : jinja_error(r, "%s of %s, which is no string", what, jinja_kind_name(v));
}

static struct jinja_value part(const struct jinja_value *v, size_t from, size_t to)
{
    struct jinja_value out = *v;
    out.s = v->s + from;
    out.user = v->user ? v->user + from : NULL;
    out.n = to - from;
    return out;
}

/* ------------------------------------------------------------------ strings */

static bool strips(char c, const struct jinja_value *chars)
{
    if (chars->kind == JINJA_STRING) return memchr(chars->s, c, chars->n) != NULL;
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static struct jinja_value strip(const struct jinja_value *v, const struct jinja_value *chars,
                                bool left, bool right)
{
    size_t from = 0, to = v->n;
    while (left && from < to && strips(v->s[from], chars))
        from++;
    while (right && to > from && strips(v->s[to - 1], chars))
        to--;
    return part(v, from, to);
}

static int split(struct jinja_run *r, const struct jinja_value *v, const struct jinja_value *by,
                 int64_t most, struct jinja_value *out)
{
    TRY(jinja_list_new(r, 0, out));
    bool blank = by->kind != JINJA_STRING;
    if (!blank && by->n == 0) return jinja_error(r, "a string is split by an empty one");
    size_t at = 0;
    while (blank && at < v->n && strips(v->s[at], &undefined))
        at++;
    while (at < v->n || !blank) {
        const char *found = NULL;
        size_t end = v->n, next = v->n;
        if (most != 0 && blank)
            for (end = at; end < v->n && !strips(v->s[end], &undefined);)
                end++;
        if (blank && end < v->n) found = v->s + end;
        if (most != 0 && !blank && at < v->n) found = memmem(v->s + at, v->n - at, by->s, by->n);
        if (found && !blank) end = (size_t)(found - v->s);
        struct jinja_value piece = part(v, at, found ? end : v->n);
        TRY(jinja_list_add(r, out->list, &piece));
        if (!found) break;
        most--;
        next = end + (blank ? 1 : by->n);
        while (blank && next < v->n && strips(v->s[next], &undefined))
            next++;
        at = next;
    }
    return 0;
}

static int replace(struct jinja_run *r, const struct jinja_value *v, const struct jinja_args *args,
                   struct jinja_value *out)
{
    struct jinja_value from = arg(args, 0, "old"), to = arg(args, 1, "new");
    struct jinja_value most = arg(args, 2, "count");
    struct jinja_builder b = {0};
    int64_t left = most.kind == JINJA_INT && most.i >= 0 ? most.i : INT64_MAX;
    size_t at = 0;
    TRY(want_string(r, "replace", &from));
    TRY(want_string(r, "replace", &to));
    while (at < v->n && from.n && left-- > 0) {
        const char *found = memmem(v->s + at, v->n - at, from.s, from.n);
        if (!found) break;
        size_t end = (size_t)(found - v->s);
        TRY(jinja_put(r, &b, v->s + at, v->user ? v->user + at : NULL, end - at));
        TRY(jinja_put(r, &b, to.s, to.user, to.n));
        at = end + from.n;
    }
    TRY(jinja_put(r, &b, v->s + at, v->user ? v->user + at : NULL, v->n - at));
    *out = jinja_built(&b);
    return 0;
}

enum letter_case { UPPER, LOWER, TITLE, CAPITAL, WORDS };

/* Of ASCII's letters. TITLE as the method does it, WORDS as the filter. */
static int change_case(struct jinja_run *r, const struct jinja_value *v, enum letter_case to,
                       struct jinja_value *out)
{
    struct jinja_builder b = {0};
    bool begins = true;
    for (size_t i = 0; i < v->n; i++) {
        char c = v->s[i];
        bool lower = c >= 'a' && c <= 'z', upper = c >= 'A' && c <= 'Z';
        bool wanted = to == UPPER || ((to == TITLE || to == CAPITAL || to == WORDS) && begins);
        if (lower && wanted) c = (char)(c - 32);
        if (upper && !wanted) c = (char)(c + 32);
        begins = to == TITLE ? !lower && !upper : to == WORDS && strchr(" \t\n\r-({[<", c);
        TRY(jinja_put(r, &b, &c, v->user ? v->user + i : NULL, 1));
    }
    *out = jinja_built(&b);
    return 0;
}

static int join(struct jinja_run *r, const struct jinja_value *all, const struct jinja_value *by,
                struct jinja_value *out)
{
    struct jinja_builder b = {0};
    for (size_t i = 0; i < all->list->count; i++) {
        if (i && by->kind == JINJA_STRING) TRY(jinja_put(r, &b, by->s, by->user, by->n));
        TRY(jinja_print(r, &b, &all->list->items[i]));
    }
    *out = jinja_built(&b);
    return 0;
}

/* Lines but the first are moved in; `first` moves it too. */
static int indent(struct jinja_run *r, const struct jinja_value *v, const struct jinja_args *args,
                  struct jinja_value *out)
{
    struct jinja_value width = arg(args, 0, "width"), first = arg(args, 1, "first");
    struct jinja_builder b = {0};
    int64_t n = width.kind == JINJA_INT ? width.i : 4;
    bool begins = jinja_is_true(&first);
    for (size_t i = 0; i < v->n; i++) {
        for (int64_t k = 0; begins && v->s[i] != '\n' && k < n; k++)
            TRY(jinja_put(r, &b, " ", NULL, 1));
        begins = v->s[i] == '\n';
        TRY(jinja_put(r, &b, v->s + i, v->user ? v->user + i : NULL, 1));
    }
    *out = jinja_built(&b);
    return 0;
}

static int starts(struct jinja_run *r, const struct jinja_value *v, const struct jinja_value *with,
                  bool at_end, struct jinja_value *out)
{
    if (with->kind == JINJA_LIST) {
        *out = jinja_bool(false);
        for (size_t i = 0; i < with->list->count && !out->b; i++)
            TRY(starts(r, v, &with->list->items[i], at_end, out));
        return 0;
    }
    TRY(want_string(r, at_end ? "endswith" : "startswith", with));
    bool fits = with->n <= v->n;
    const char *at = at_end && fits ? v->s + v->n - with->n : v->s;
    *out = jinja_bool(fits && (with->n == 0 || memcmp(at, with->s, with->n) == 0));
    return 0;
}

static int string_method(struct jinja_run *r, const char *name, const struct jinja_value *v,
                         const struct jinja_args *args, struct jinja_value *out)
{
    struct jinja_value a = arg(args, 0, NULL), b = arg(args, 1, "maxsplit"), all;
    if (strcmp(name, "strip") == 0)
        *out = strip(v, &a, true, true);
    else if (strcmp(name, "lstrip") == 0)
        *out = strip(v, &a, true, false);
    else if (strcmp(name, "rstrip") == 0)
        *out = strip(v, &a, false, true);
    else if (strcmp(name, "split") == 0)
        return split(r, v, &a, b.kind == JINJA_INT ? b.i : -1, out);
    else if (strcmp(name, "splitlines") == 0) {
        struct jinja_value line = jinja_text_value("\n", 1);
        TRY(split(r, v, &line, -1, out));
        size_t n = out->list->count;
        if (n && out->list->items[n - 1].n == 0) out->list->count--;
    } else if (strcmp(name, "startswith") == 0)
        return starts(r, v, &a, false, out);
    else if (strcmp(name, "endswith") == 0)
        return starts(r, v, &a, true, out);
    else if (strcmp(name, "upper") == 0)
        return change_case(r, v, UPPER, out);
    else if (strcmp(name, "lower") == 0)
        return change_case(r, v, LOWER, out);
    else if (strcmp(name, "title") == 0)
        return change_case(r, v, TITLE, out);
    else if (strcmp(name, "capitalize") == 0)
        return change_case(r, v, CAPITAL, out);
    else if (strcmp(name, "replace") == 0)
        return replace(r, v, args, out);
    else if (strcmp(name, "join") == 0) {
        TRY(jinja_elements(r, &a, &all));
        return join(r, &all, v, out);
    } else if (strcmp(name, "find") == 0) {
        TRY(want_string(r, "find", &a));
        const char *at = memmem(v->s, v->n, a.s, a.n);
        struct jinja_value before = part(v, 0, at ? (size_t)(at - v->s) : 0);
        *out = jinja_int(at ? (int64_t)jinja_chars(&before) : -1);
    } else if (strcmp(name, "count") == 0) {
        TRY(want_string(r, "count", &a));
        TRY(split(r, v, &a, -1, &all));
        *out = jinja_int((int64_t)all.list->count - 1);
    } else if (strcmp(name, "isdigit") == 0) {
        bool is = v->n > 0;
        for (size_t i = 0; i < v->n; i++)
            is = is && v->s[i] >= '0' && v->s[i] <= '9';
        *out = jinja_bool(is);
    } else
        return jinja_error(r, "strings have no method '%s'", name);
    return 0;
}

/* ------------------------------------------------------------------ maps and lists */

static int map_items(struct jinja_run *r, const struct jinja_map *m, bool keys, bool values,
                     struct jinja_value *out)
{
    TRY(jinja_list_new(r, m->count, out));
    for (size_t i = 0; i < m->count; i++) {
        struct jinja_value item = values ? m->members[i].value : m->members[i].key;
        if (keys && values) {
            TRY(jinja_list_new(r, 2, &item));
            TRY(jinja_list_add(r, item.list, &m->members[i].key));
            TRY(jinja_list_add(r, item.list, &m->members[i].value));
        }
        TRY(jinja_list_add(r, out->list, &item));
    }
    return 0;
}

static int map_method(struct jinja_run *r, const char *name, const struct jinja_value *v,
                      const struct jinja_args *args, struct jinja_value *out)
{
    struct jinja_value key = arg(args, 0, NULL), other = arg(args, 1, "default");
    if (strcmp(name, "items") == 0) return map_items(r, v->map, true, true, out);
    if (strcmp(name, "keys") == 0) return map_items(r, v->map, true, false, out);
    if (strcmp(name, "values") == 0) return map_items(r, v->map, false, true, out);
    if (strcmp(name, "get") == 0) {
        const struct jinja_value *found = jinja_map_get(v->map, &key);
        if (other.kind == JINJA_UNDEFINED) other.kind = JINJA_NONE;
        *out = found ? *found : other;
        return 0;
    }
    if (strcmp(name, "update") == 0 && v->map->name_space && key.kind == JINJA_MAP) {
        for (size_t i = 0; i < key.map->count; i++)
            TRY(jinja_map_set(r, v->map, &key.map->members[i].key, &key.map->members[i].value));
        *out = (struct jinja_value){.kind = JINJA_NONE};
        return 0;
    }
    return jinja_error(r, "maps have no method '%s'", name);
}

static int list_method(struct jinja_run *r, const char *name, const struct jinja_value *v,
                       const struct jinja_args *args, struct jinja_value *out)
{
    struct jinja_value a = arg(args, 0, NULL);
    *out = (struct jinja_value){.kind = JINJA_NONE};
    if (strcmp(name, "append") == 0) return jinja_list_add(r, v->list, &a);
    if (strcmp(name, "pop") == 0 && v->list->count) {
        *out = v->list->items[--v->list->count];
        return 0;
    }
    if (strcmp(name, "index") == 0)
        for (size_t i = 0; i < v->list->count; i++)
            if (jinja_equal(&v->list->items[i], &a)) {
                *out = jinja_int((int64_t)i);
                return 0;
            }
    return jinja_error(r, "lists have no method '%s' that could be done here", name);
}

int jinja_method(struct jinja_run *r, const char *name, const struct jinja_value *self,
                 const struct jinja_args *args, struct jinja_value *out)
{
    switch (self->kind) {
    case JINJA_STRING: return string_method(r, name, self, args, out);
    case JINJA_MAP: return map_method(r, name, self, args, out);
    case JINJA_LIST: return list_method(r, name, self, args, out);
    default: return jinja_error(r, "%s has no method '%s'", jinja_kind_name(self), name);
    }
}

int jinja_member(struct jinja_run *r, const struct jinja_value *self, const struct jinja_value *key,
                 struct jinja_value *out)
{
    *out = undefined;
    if (self->kind == JINJA_UNDEFINED)
        return jinja_error(r, "a member of an undefined value is asked for");
    if (self->kind == JINJA_MAP) {
        const struct jinja_value *found = jinja_map_get(self->map, key);
        if (found) *out = *found;
    }
    if (key->kind != JINJA_INT) return 0;
    if (self->kind == JINJA_LIST) {
        int64_t n = (int64_t)self->list->count, i = key->i < 0 ? key->i + n : key->i;
        if (i >= 0 && i < n) *out = self->list->items[i];
    } else if (self->kind == JINJA_STRING) {
        struct jinja_value all;
        int64_t i = key->i;
        TRY(jinja_elements(r, self, &all));
        if (i < 0) i += (int64_t)all.list->count;
        if (i >= 0 && i < (int64_t)all.list->count) *out = all.list->items[i];
    }
    return 0;
}

/* ------------------------------------------------------------------ filters */

/* "a.b" of a value. */
static int attribute(struct jinja_run *r, const struct jinja_value *v,
                     const struct jinja_value *path, struct jinja_value *out)
{
    struct jinja_value by = jinja_text_value(".", 1), names, at = *v;
    if (path->kind != JINJA_STRING) return jinja_member(r, v, path, out);
    TRY(split(r, path, &by, -1, &names));
    for (size_t i = 0; i < names.list->count; i++) {
        *out = undefined;
        if (at.kind == JINJA_UNDEFINED) return 0;
        TRY(jinja_member(r, &at, &names.list->items[i], out));
        at = *out;
    }
    return 0;
}

static const char *text_of(struct jinja_run *r, const struct jinja_value *v)
{
    return v->kind == JINJA_STRING ? arena_strndup(r->a, v->s, v->n) : "";
}

/* select, reject, selectattr, rejectattr: by a test, or by truth. */
static int select_items(struct jinja_run *r, const struct jinja_value *self,
                        const struct jinja_args *args, const char *name, struct jinja_value *out)
{
    bool keep = strncmp(name, "select", 6) == 0, attr = strlen(name) > 6;
    size_t at = attr ? 1 : 0;
    struct jinja_value all, v, test = arg(args, at, NULL), path = arg(args, 0, NULL);
    struct jinja_args rest = {0};
    if (args->n > at + 1)
        rest = (struct jinja_args){args->values + at + 1, args->names + at + 1, args->n - at - 1};
    TRY(jinja_elements(r, self, &all));
    TRY(jinja_list_new(r, 0, out));
    for (size_t i = 0; i < all.list->count; i++) {
        bool is;
        v = all.list->items[i];
        if (attr) TRY(attribute(r, &all.list->items[i], &path, &v));
        is = jinja_is_true(&v);
        if (test.kind == JINJA_STRING) TRY(jinja_test(r, text_of(r, &test), &v, &rest, &is));
        if (is == keep) TRY(jinja_list_add(r, out->list, &all.list->items[i]));
    }
    return 0;
}

static int map_values(struct jinja_run *r, const struct jinja_value *self,
                      const struct jinja_args *args, struct jinja_value *out)
{
    struct jinja_value all, v, path = arg(args, SIZE_MAX, "attribute"), f = arg(args, 0, NULL);
    struct jinja_value other = arg(args, SIZE_MAX, "default");
    struct jinja_args rest = {0};
    if (args->n > 1) rest = (struct jinja_args){args->values + 1, args->names + 1, args->n - 1};
    TRY(jinja_elements(r, self, &all));
    TRY(jinja_list_new(r, all.list->count, out));
    for (size_t i = 0; i < all.list->count; i++) {
        if (path.kind != JINJA_UNDEFINED) {
            TRY(attribute(r, &all.list->items[i], &path, &v));
            if (v.kind == JINJA_UNDEFINED) v = other;
        } else {
            TRY(jinja_filter(r, text_of(r, &f), &all.list->items[i], &rest, &v));
        }
        TRY(jinja_list_add(r, out->list, &v));
    }
    return 0;
}

/* Stable; by an attribute where one is given. */
static int sort(struct jinja_run *r, const struct jinja_value *self, const struct jinja_args *args,
                struct jinja_value *out)
{
    struct jinja_value all, a, b, path = arg(args, SIZE_MAX, "attribute");
    struct jinja_value reverse = arg(args, 0, "reverse");
    TRY(jinja_elements(r, self, &all));
    TRY(jinja_list_new(r, all.list->count, out));
    for (size_t i = 0; i < all.list->count; i++) {
        size_t at = i;
        TRY(jinja_list_add(r, out->list, &all.list->items[i]));
        for (; at > 0; at--) {
            int order;
            a = out->list->items[at - 1];
            b = all.list->items[i];
            if (path.kind == JINJA_STRING) {
                TRY(attribute(r, &out->list->items[at - 1], &path, &a));
                TRY(attribute(r, &all.list->items[i], &path, &b));
            }
            TRY(jinja_order(r, &a, &b, &order));
            if (jinja_is_true(&reverse) ? order >= 0 : order <= 0) break;
            out->list->items[at] = out->list->items[at - 1];
            if (++r->steps > 4 << 20) return jinja_error(r, "a list is too long to be sorted");
        }
        out->list->items[at] = all.list->items[i];
    }
    return 0;
}

static int dictsort(struct jinja_run *r, const struct jinja_value *self, struct jinja_value *out)
{
    static const char *const no_names[1] = {NULL};
    struct jinja_args none = {NULL, no_names, 0};
    struct jinja_value keys;
    if (self->kind != JINJA_MAP) return jinja_error(r, "dictsort of no map");
    TRY(map_items(r, self->map, true, false, &keys));
    TRY(sort(r, &keys, &none, &keys));
    TRY(jinja_list_new(r, keys.list->count, out));
    for (size_t i = 0; i < keys.list->count; i++) {
        struct jinja_value pair;
        TRY(jinja_list_new(r, 2, &pair));
        TRY(jinja_list_add(r, pair.list, &keys.list->items[i]));
        TRY(jinja_list_add(r, pair.list, jinja_map_get(self->map, &keys.list->items[i])));
        TRY(jinja_list_add(r, out->list, &pair));
    }
    return 0;
}

static int to_number(struct jinja_run *r, const struct jinja_value *v, bool whole,
                     struct jinja_value *out)
{
    double f = v->kind == JINJA_INT     ? (double)v->i
               : v->kind == JINJA_FLOAT ? v->f
               : v->kind == JINJA_BOOL  ? (double)v->b
                                        : 0;
    if (v->kind == JINJA_STRING) f = strtod(text_of(r, v), NULL);
    *out = whole && fabs(f) < 9e18 ? jinja_int((int64_t)f)
                                   : (struct jinja_value){.kind = JINJA_FLOAT, .f = f};
    if (whole && v->kind == JINJA_INT) *out = *v;
    return 0;
}

static int length(struct jinja_run *r, const struct jinja_value *v, struct jinja_value *out)
{
    if (v->kind == JINJA_STRING)
        *out = jinja_int((int64_t)jinja_chars(v));
    else if (v->kind == JINJA_LIST)
        *out = jinja_int((int64_t)v->list->count);
    else if (v->kind == JINJA_MAP)
        *out = jinja_int((int64_t)v->map->count);
    else if (v->kind == JINJA_UNDEFINED)
        *out = jinja_int(0);
    else
        return jinja_error(r, "%s has no length", jinja_kind_name(v));
    return 0;
}

static int list_filter(struct jinja_run *r, const char *name, const struct jinja_value *self,
                       struct jinja_value *out)
{
    struct jinja_value all;
    TRY(jinja_elements(r, self, &all));
    size_t n = all.list->count;
    *out = undefined;
    if (strcmp(name, "first") == 0) {
        if (n) *out = all.list->items[0];
        return 0;
    }
    if (strcmp(name, "last") == 0) {
        if (n) *out = all.list->items[n - 1];
        return 0;
    }
    TRY(jinja_list_new(r, n, out));
    bool unique = strcmp(name, "unique") == 0, reverse = strcmp(name, "reverse") == 0;
    for (size_t i = 0; i < n; i++) {
        const struct jinja_value *v = &all.list->items[reverse ? n - 1 - i : i];
        bool there = false;
        for (size_t k = 0; unique && k < out->list->count && !there; k++)
            there = jinja_equal(&out->list->items[k], v);
        if (!there) TRY(jinja_list_add(r, out->list, v));
    }
    return 0;
}

static int to_json(struct jinja_run *r, const struct jinja_value *self,
                   const struct jinja_args *args, struct jinja_value *out)
{
    struct jinja_builder b = {0};
    struct jinja_value by = arg(args, 0, "indent");
    int width = by.kind == JINJA_INT && by.i >= 0 && by.i <= 16 ? (int)by.i : -1;
    TRY(jinja_to_json(r, &b, self, width, 0));
    *out = jinja_built(&b);
    return 0;
}

static bool is_one_of(const char *name, const char *const *names)
{
    for (; *names; names++)
        if (strcmp(name, *names) == 0) return true;
    return false;
}

int jinja_filter(struct jinja_run *r, const char *name, const struct jinja_value *self,
                 const struct jinja_args *args, struct jinja_value *out)
{
    static const char *const as_methods[] = {"upper",      "lower",   "title",
                                             "capitalize", "replace", NULL};
    static const char *const lists[] = {"first", "last", "list", "unique", "reverse", NULL};
    static const char *const selects[] = {"select", "reject", "selectattr", "rejectattr", NULL};
    struct jinja_value a = arg(args, 0, NULL), all;
    struct jinja_builder b = {0};
    if (strcmp(name, "tojson") == 0) return to_json(r, self, args, out);
    if (strcmp(name, "length") == 0 || strcmp(name, "count") == 0) return length(r, self, out);
    if (strcmp(name, "default") == 0 || strcmp(name, "d") == 0) {
        struct jinja_value other = arg(args, 0, "default_value"), truth = arg(args, 1, "boolean");
        bool keep =
            self->kind != JINJA_UNDEFINED && (!jinja_is_true(&truth) || jinja_is_true(self));
        *out = keep ? *self : other;
        return 0;
    }
    if (strcmp(name, "string") == 0 || strcmp(name, "trim") == 0 || strcmp(name, "safe") == 0 ||
        is_one_of(name, as_methods) || strcmp(name, "indent") == 0) {
        struct jinja_value text = *self;
        if (self->kind != JINJA_STRING) {
            TRY(jinja_print(r, &b, self));
            text = jinja_built(&b);
        }
        *out = text;
        if (strcmp(name, "trim") == 0) *out = strip(&text, &a, true, true);
        if (strcmp(name, "indent") == 0) return indent(r, &text, args, out);
        if (strcmp(name, "title") == 0) return change_case(r, &text, WORDS, out);
        return is_one_of(name, as_methods) ? string_method(r, name, &text, args, out) : 0;
    }
    if (strcmp(name, "join") == 0) {
        struct jinja_value by = arg(args, 0, "d"), path = arg(args, 1, "attribute");
        (void)path;
        TRY(jinja_elements(r, self, &all));
        return join(r, &all, &by, out);
    }
    if (strcmp(name, "items") == 0 && self->kind == JINJA_MAP)
        return map_items(r, self->map, true, true, out);
    if (is_one_of(name, selects)) return select_items(r, self, args, name, out);
    if (strcmp(name, "map") == 0) return map_values(r, self, args, out);
    if (is_one_of(name, lists)) return list_filter(r, name, self, out);
    if (strcmp(name, "sort") == 0) return sort(r, self, args, out);
    if (strcmp(name, "dictsort") == 0) return dictsort(r, self, out);
    if (strcmp(name, "int") == 0 || strcmp(name, "float") == 0)
        return to_number(r, self, name[0] == 'i', out);
    if (strcmp(name, "abs") == 0 && (self->kind == JINJA_INT || self->kind == JINJA_FLOAT)) {
        *out = self->kind == JINJA_INT
                   ? jinja_int(self->i < 0 ? -self->i : self->i)
                   : (struct jinja_value){.kind = JINJA_FLOAT, .f = fabs(self->f)};
        return 0;
    }
    return jinja_error(r, "there is no filter '%s' for %s", name, jinja_kind_name(self));
}

/* ------------------------------------------------------------------ tests */

static bool test_kind(const char *name, const struct jinja_value *v, bool *is)
{
    enum jinja_kind k = v->kind;
    bool number = k == JINJA_INT || k == JINJA_FLOAT;
    if (strcmp(name, "defined") == 0)
        *is = k != JINJA_UNDEFINED;
    else if (strcmp(name, "undefined") == 0)
        *is = k == JINJA_UNDEFINED;
    else if (strcmp(name, "none") == 0)
        *is = k == JINJA_NONE;
    else if (strcmp(name, "string") == 0)
        *is = k == JINJA_STRING;
    else if (strcmp(name, "mapping") == 0)
        *is = k == JINJA_MAP;
    else if (strcmp(name, "iterable") == 0 || strcmp(name, "sequence") == 0)
        *is = k == JINJA_LIST || k == JINJA_STRING || k == JINJA_MAP;
    else if (strcmp(name, "number") == 0)
        *is = number;
    else if (strcmp(name, "integer") == 0)
        *is = k == JINJA_INT;
    else if (strcmp(name, "float") == 0)
        *is = k == JINJA_FLOAT;
    else if (strcmp(name, "boolean") == 0)
        *is = k == JINJA_BOOL;
    else if (strcmp(name, "true") == 0)
        *is = k == JINJA_BOOL && v->b;
    else if (strcmp(name, "false") == 0)
        *is = k == JINJA_BOOL && !v->b;
    else if (strcmp(name, "callable") == 0)
        *is = k == JINJA_MACRO || k == JINJA_FUNCTION;
    else if (strcmp(name, "even") == 0)
        *is = k == JINJA_INT && v->i % 2 == 0;
    else if (strcmp(name, "odd") == 0)
        *is = k == JINJA_INT && v->i % 2 != 0;
    else
        return false;
    return true;
}

int jinja_test(struct jinja_run *r, const char *name, const struct jinja_value *self,
               const struct jinja_args *args, bool *out)
{
    static const char *const equal[] = {"equalto", "eq", "==", "sameas", NULL};
    struct jinja_value a = arg(args, 0, NULL);
    int order;
    if (test_kind(name, self, out)) return 0;
    if (is_one_of(name, equal)) {
        *out = jinja_equal(self, &a);
        return 0;
    }
    if (strcmp(name, "ne") == 0 || strcmp(name, "!=") == 0) {
        *out = !jinja_equal(self, &a);
        return 0;
    }
    if (strcmp(name, "in") == 0) {
        struct jinja_value all;
        TRY(jinja_elements(r, &a, &all));
        *out = a.kind == JINJA_STRING && self->kind == JINJA_STRING &&
               (self->n == 0 || memmem(a.s, a.n, self->s, self->n));
        for (size_t i = 0; i < all.list->count && !*out; i++)
            *out = jinja_equal(&all.list->items[i], self);
        return 0;
    }
    if (strcmp(name, "divisibleby") == 0 && self->kind == JINJA_INT && a.kind == JINJA_INT && a.i) {
        *out = a.i == -1 || self->i % a.i == 0;
        return 0;
    }
    static const char *const orders[] = {"lt", "le", "gt", "ge"};
    for (int i = 0; i < 4; i++) {
        if (strcmp(name, orders[i]) != 0) continue;
        TRY(jinja_order(r, self, &a, &order));
        *out = i == 0 ? order < 0 : i == 1 ? order <= 0 : i == 2 ? order > 0 : order >= 0;
        return 0;
    }
    return jinja_error(r, "there is no test '%s'", name);
}

/* ------------------------------------------------------------------ functions */

static int call_range(struct jinja_run *r, const struct jinja_value *self,
                      const struct jinja_args *args, struct jinja_value *out)
{
    struct jinja_value a = arg(args, 0, NULL), b = arg(args, 1, NULL), c = arg(args, 2, NULL);
    int64_t from = 0, to = a.i, step = c.kind == JINJA_INT ? c.i : 1;
    (void)self;
    if (b.kind == JINJA_INT) {
        from = a.i;
        to = b.i;
    }
    if (a.kind != JINJA_INT || step == 0 || llabs(step) > INT32_MAX || llabs(from) > INT32_MAX ||
        llabs(to) > INT32_MAX)
        return jinja_error(r, "range of no whole numbers");
    TRY(jinja_list_new(r, 0, out));
    for (int64_t i = from; step > 0 ? i < to : i > to; i += step) {
        struct jinja_value v = jinja_int(i);
        TRY(jinja_list_add(r, out->list, &v));
    }
    return 0;
}

static int make_map(struct jinja_run *r, const struct jinja_args *args, struct jinja_value *out)
{
    TRY(jinja_map_new(r, args->n, out));
    for (size_t i = 0; i < args->n; i++) {
        if (!args->names[i]) {
            const struct jinja_value *from = &args->values[i];
            for (size_t k = 0; from->kind == JINJA_MAP && k < from->map->count; k++)
                TRY(jinja_map_set(r, out->map, &from->map->members[k].key,
                                  &from->map->members[k].value));
            continue;
        }
        struct jinja_value key = jinja_text_value(args->names[i], strlen(args->names[i]));
        TRY(jinja_map_set(r, out->map, &key, &args->values[i]));
    }
    return 0;
}

static int call_namespace(struct jinja_run *r, const struct jinja_value *self,
                          const struct jinja_args *args, struct jinja_value *out)
{
    (void)self;
    TRY(make_map(r, args, out));
    out->map->name_space = true;
    return 0;
}

static int call_dict(struct jinja_run *r, const struct jinja_value *self,
                     const struct jinja_args *args, struct jinja_value *out)
{
    (void)self;
    return make_map(r, args, out);
}

static int call_raise(struct jinja_run *r, const struct jinja_value *self,
                      const struct jinja_args *args, struct jinja_value *out)
{
    struct jinja_value a = arg(args, 0, NULL);
    (void)self;
    (void)out;
    return jinja_error(r, "the template refuses this: %s", text_of(r, &a));
}

static int call_strftime(struct jinja_run *r, const struct jinja_value *self,
                         const struct jinja_args *args, struct jinja_value *out)
{
    struct jinja_value a = arg(args, 0, NULL);
    time_t now = time(NULL);
    struct tm when;
    char *text = jinja_alloc(r, 256);
    (void)self;
    TRY(want_string(r, "strftime_now", &a));
    if (!text) return ERROR_FAILED;
    localtime_r(&now, &when);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    size_t n = strftime(text, 256, text_of(r, &a), &when);
#pragma GCC diagnostic pop
    *out = jinja_text_value(text, n);
    return 0;
}

const struct jinja_function *jinja_global(const char *name)
{
    static const struct jinja_function functions[] = {{"range", call_range},
                                                      {"namespace", call_namespace},
                                                      {"dict", call_dict},
                                                      {"raise_exception", call_raise},
                                                      {"strftime_now", call_strftime}};
    for (size_t i = 0; i < ARRAY_LEN(functions); i++)
        if (strcmp(functions[i].name, name) == 0) return &functions[i];
    return NULL;
}
