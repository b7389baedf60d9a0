/* serve_jinja_eval.c: a template's tree run: statements write, expressions give values.
 *
 * Scopes as in Jinja: a for and a macro have one of their own, an if has none; what is set within a
 * for is gone behind it, which is what namespace() is for. */
#include "serve/jinja/serve_jinja_internal.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_STEPS = 4 << 20, MAX_CALLS = 100 };
#define MAX_TEXT ((size_t)32 << 20)

static int run_body(struct jinja_run *r, const struct jinja_node *n);

/* ------------------------------------------------------------------ scopes */

static struct jinja_variable *find(struct jinja_scope *s, const char *name)
{
    for (size_t i = 0; s && i < s->count; i++)
        if (strcmp(s->variables[i].name, name) == 0) return &s->variables[i];
    return NULL;
}

static struct jinja_value look_up(struct jinja_run *r, const char *name)
{
    for (struct jinja_scope *s = r->scope; s; s = s->parent) {
        struct jinja_variable *v = find(s, name);
        if (v) return v->value;
    }
    const struct jinja_function *f = jinja_global(name);
    if (f) return (struct jinja_value){.kind = JINJA_FUNCTION, .function = f};
    return (struct jinja_value){.kind = JINJA_UNDEFINED};
}

static int set(struct jinja_run *r, struct jinja_scope *s, const char *name,
               const struct jinja_value *value)
{
    struct jinja_variable *v = find(s, name);
    if (v) {
        v->value = *value;
        return 0;
    }
    if (s->count == s->cap) {
        size_t cap = MAX(2 * s->cap, (size_t)8);
        struct jinja_variable *more = jinja_alloc(r, cap * sizeof(*more));
        if (!more) return ERROR_FAILED;
        if (s->count) memcpy(more, s->variables, s->count * sizeof(*more));
        s->variables = more;
        s->cap = cap;
    }
    s->variables[s->count++] = (struct jinja_variable){name, *value};
    return 0;
}

/* ------------------------------------------------------------------ operators */

static double as_number(const struct jinja_value *v)
{
    return v->kind == JINJA_FLOAT ? v->f : v->kind == JINJA_BOOL ? v->b : (double)v->i;
}

static int64_t as_int(const struct jinja_value *v)
{
    return v->kind == JINJA_BOOL ? v->b : v->i;
}

static bool is_number(const struct jinja_value *v)
{
    return v->kind == JINJA_INT || v->kind == JINJA_FLOAT || v->kind == JINJA_BOOL;
}

static int divide(struct jinja_run *r, int op, const struct jinja_value *a,
                  const struct jinja_value *b, struct jinja_value *out)
{
    if (as_number(b) == 0) return jinja_error(r, "a division by 0");
    bool whole = a->kind != JINJA_FLOAT && b->kind != JINJA_FLOAT;
    if (whole && op != OP_DIV) {
        int64_t x = as_int(a), y = as_int(b);
        if (y == -1) {
            *out = jinja_int(op == OP_MOD ? 0 : (int64_t)(0 - (uint64_t)x));
            return 0;
        }
        int64_t q = x / y, m = x % y;
        if (m && (m < 0) != (y < 0)) {
            q--;
            m += y;
        }
        *out = jinja_int(op == OP_MOD ? m : q);
        return 0;
    }
    double x = as_number(a), y = as_number(b), q = floor(x / y);
    *out = (struct jinja_value){.kind = JINJA_FLOAT,
                                .f = op == OP_DIV   ? x / y
                                     : op == OP_MOD ? x - q * y
                                                    : q};
    return 0;
}

static int arithmetic(struct jinja_run *r, int op, const struct jinja_value *a,
                      const struct jinja_value *b, struct jinja_value *out)
{
    if (op == OP_DIV || op == OP_FLOOR || op == OP_MOD) return divide(r, op, a, b, out);
    if (a->kind == JINJA_FLOAT || b->kind == JINJA_FLOAT || op == OP_POW) {
        double x = as_number(a), y = as_number(b);
        double f = op == OP_ADD ? x + y : op == OP_SUB ? x - y : op == OP_MUL ? x * y : pow(x, y);
        bool whole = op == OP_POW && a->kind != JINJA_FLOAT && b->kind != JINJA_FLOAT && y >= 0 &&
                     fabs(f) < 9e15;
        *out = whole ? jinja_int((int64_t)f) : (struct jinja_value){.kind = JINJA_FLOAT, .f = f};
        return 0;
    }
    int64_t x = as_int(a), y = as_int(b), i;
    bool over = op == OP_ADD   ? __builtin_add_overflow(x, y, &i)
                : op == OP_SUB ? __builtin_sub_overflow(x, y, &i)
                               : __builtin_mul_overflow(x, y, &i);
    if (over) return jinja_error(r, "a number is too large");
    *out = jinja_int(i);
    return 0;
}

static int repeat(struct jinja_run *r, const struct jinja_value *text, int64_t times,
                  struct jinja_value *out)
{
    struct jinja_builder b = {0};
    for (int64_t i = 0; i < times && text->n; i++)
        TRY(jinja_put(r, &b, text->s, text->user, text->n));
    *out = jinja_built(&b);
    return 0;
}

static int join_values(struct jinja_run *r, const struct jinja_value *a,
                       const struct jinja_value *b, struct jinja_value *out)
{
    struct jinja_builder text = {0};
    TRY(jinja_print(r, &text, a));
    TRY(jinja_print(r, &text, b));
    *out = jinja_built(&text);
    return 0;
}

static int binary(struct jinja_run *r, int op, const struct jinja_value *a,
                  const struct jinja_value *b, struct jinja_value *out)
{
    if (op == OP_CONCAT) return join_values(r, a, b, out);
    if (is_number(a) && is_number(b)) return arithmetic(r, op, a, b, out);
    if (op == OP_ADD && a->kind == JINJA_STRING && b->kind == JINJA_STRING)
        return join_values(r, a, b, out);
    if (op == OP_MUL && a->kind == JINJA_STRING && b->kind == JINJA_INT)
        return repeat(r, a, b->i, out);
    if (op == OP_MUL && a->kind == JINJA_INT && b->kind == JINJA_STRING)
        return repeat(r, b, a->i, out);
    if (op == OP_ADD && a->kind == JINJA_LIST && b->kind == JINJA_LIST) {
        TRY(jinja_list_new(r, a->list->count + b->list->count, out));
        for (size_t i = 0; i < a->list->count; i++)
            TRY(jinja_list_add(r, out->list, &a->list->items[i]));
        for (size_t i = 0; i < b->list->count; i++)
            TRY(jinja_list_add(r, out->list, &b->list->items[i]));
        return 0;
    }
    return jinja_error(r, "this cannot be worked out of %s and %s", jinja_kind_name(a),
                       jinja_kind_name(b));
}

static int contains(struct jinja_run *r, const struct jinja_value *all,
                    const struct jinja_value *one, bool *found)
{
    *found = false;
    if (all->kind == JINJA_STRING && one->kind == JINJA_STRING) {
        *found = one->n == 0 || memmem(all->s, all->n, one->s, one->n) != NULL;
        return 0;
    }
    if (all->kind == JINJA_MAP) {
        *found = jinja_map_get(all->map, one) != NULL;
        return 0;
    }
    if (all->kind == JINJA_UNDEFINED) return 0;
    if (all->kind != JINJA_LIST)
        return jinja_error(r, "%s has no members to look among", jinja_kind_name(all));
    for (size_t i = 0; i < all->list->count && !*found; i++)
        *found = jinja_equal(&all->list->items[i], one);
    return 0;
}

static int compare(struct jinja_run *r, const struct jinja_node *n, struct jinja_value *out)
{
    struct jinja_value a, b;
    int order = 0;
    bool is = false;
    TRY(jinja_eval(r, n->a, &a));
    TRY(jinja_eval(r, n->b, &b));
    if (n->op == OP_EQ || n->op == OP_NE) {
        is = jinja_equal(&a, &b) == (n->op == OP_EQ);
    } else if (n->op == OP_IN || n->op == OP_NOT_IN) {
        TRY(contains(r, &b, &a, &is));
        is = is == (n->op == OP_IN);
    } else {
        TRY(jinja_order(r, &a, &b, &order));
        is = n->op == OP_LT   ? order < 0
             : n->op == OP_GT ? order > 0
             : n->op == OP_LE ? order <= 0
                              : order >= 0;
    }
    *out = jinja_bool(is);
    return 0;
}

/* ------------------------------------------------------------------ slices */

/* The place of character i in bytes. */
static size_t byte_of(const struct jinja_value *text, int64_t i)
{
    size_t at = 0;
    for (; i > 0 && at < text->n; i--)
        at += jinja_char_size(text->s + at, text->n - at);
    return at;
}

/* A bound of a slice of `count`, at least `least` (0, or -1 for steps back). */
static int bound(struct jinja_run *r, const struct jinja_node *n, int64_t count, int64_t least,
                 int64_t *out)
{
    struct jinja_value v;
    if (!n) return 0;
    TRY(jinja_eval(r, n, &v));
    if (v.kind == JINJA_NONE) return 0;
    if (v.kind != JINJA_INT) return jinja_error(r, "a slice by %s", jinja_kind_name(&v));
    int64_t i = v.i < 0 ? v.i + count : v.i;
    *out = MIN(MAX(i, least), least < 0 ? count - 1 : count);
    return 0;
}

static int slice(struct jinja_run *r, const struct jinja_node *n, struct jinja_value *out)
{
    struct jinja_value v, by = jinja_int(1);
    int64_t from, to;
    TRY(jinja_eval(r, n->a, &v));
    if (n->d) TRY(jinja_eval(r, n->d, &by));
    if (by.kind != JINJA_INT || by.i == 0 || llabs(by.i) > INT32_MAX)
        return jinja_error(r, "a slice by no whole step");
    if (v.kind != JINJA_STRING && v.kind != JINJA_LIST)
        return jinja_error(r, "%s cannot be sliced", jinja_kind_name(&v));
    int64_t count = (int64_t)(v.kind == JINJA_LIST ? v.list->count : jinja_chars(&v));
    int64_t least = by.i > 0 ? 0 : -1;
    from = by.i > 0 ? 0 : count - 1;
    to = by.i > 0 ? count : -1;
    TRY(bound(r, n->b, count, least, &from));
    TRY(bound(r, n->c, count, least, &to));
    if (v.kind == JINJA_STRING && by.i == 1) {
        size_t begin = byte_of(&v, from), end = from < to ? byte_of(&v, to) : begin;
        *out = v;
        out->s = v.s + begin;
        out->user = v.user ? v.user + begin : NULL;
        out->n = end - begin;
        return 0;
    }
    struct jinja_value all;
    struct jinja_builder b = {0};
    TRY(jinja_elements(r, &v, &all));
    TRY(jinja_list_new(r, 0, out));
    for (int64_t i = from; i >= 0 && i < count && (by.i > 0 ? i < to : i > to); i += by.i) {
        const struct jinja_value *item = &all.list->items[i];
        if (v.kind == JINJA_STRING)
            TRY(jinja_put(r, &b, item->s, item->user, item->n));
        else
            TRY(jinja_list_add(r, out->list, item));
    }
    if (v.kind == JINJA_STRING) *out = jinja_built(&b);
    return 0;
}

/* ------------------------------------------------------------------ calls */

static int eval_args(struct jinja_run *r, const struct jinja_node *n, struct jinja_args *args)
{
    struct jinja_value *values = jinja_alloc(r, (n->n_args + 1) * sizeof(*values));
    if (!values) return ERROR_FAILED;
    for (size_t i = 0; i < n->n_args; i++)
        TRY(jinja_eval(r, n->args[i], &values[i]));
    *args = (struct jinja_args){values, n->arg_names, n->n_args};
    return 0;
}

static int bind_macro(struct jinja_run *r, const struct jinja_node *macro,
                      const struct jinja_args *args, struct jinja_scope *scope)
{
    for (size_t i = 0; i < args->n; i++) {
        const char *name = args->names[i];
        if (!name && i >= macro->n_args)
            return jinja_error(r, "macro '%s' takes %zu arguments", macro->name, macro->n_args);
        if (!name) name = macro->arg_names[i];
        TRY(set(r, scope, name, &args->values[i]));
    }
    for (size_t i = 0; i < macro->n_args; i++) {
        struct jinja_value v = {.kind = JINJA_UNDEFINED};
        if (find(scope, macro->arg_names[i])) continue;
        if (macro->args[i]) TRY(jinja_eval(r, macro->args[i], &v));
        TRY(set(r, scope, macro->arg_names[i], &v));
    }
    return 0;
}

static int call_macro(struct jinja_run *r, const struct jinja_node *macro,
                      const struct jinja_args *args, struct jinja_value *out)
{
    struct jinja_scope scope = {.parent = r->globals}, *before = r->scope;
    struct jinja_builder text = {0}, *out_before = r->out;
    if (++r->depth > MAX_CALLS) return jinja_error(r, "calls nested more than %d deep", MAX_CALLS);
    r->scope = &scope;
    r->out = &text;
    int rc = bind_macro(r, macro, args, &scope);
    if (rc == 0) rc = run_body(r, macro->body);
    r->scope = before;
    r->out = out_before;
    r->depth--;
    *out = jinja_built(&text);
    return rc;
}

static int call(struct jinja_run *r, const struct jinja_node *n, struct jinja_value *out)
{
    struct jinja_args args;
    struct jinja_value self, f;
    TRY(eval_args(r, n, &args));
    if (n->a->kind == NODE_ATTRIBUTE) { /* a method, unless a member is called so */
        struct jinja_value key = jinja_text_value(n->a->name, strlen(n->a->name));
        TRY(jinja_eval(r, n->a->a, &self));
        TRY(jinja_member(r, &self, &key, &f));
        r->line = n->line;
        if (f.kind != JINJA_FUNCTION && f.kind != JINJA_MACRO)
            return jinja_method(r, n->a->name, &self, &args, out);
    } else {
        TRY(jinja_eval(r, n->a, &f));
        self = f;
    }
    r->line = n->line;
    if (f.kind == JINJA_MACRO) return call_macro(r, f.macro, &args, out);
    if (f.kind == JINJA_FUNCTION) return f.function->call(r, &self, &args, out);
    if (n->a->kind == NODE_NAME && f.kind == JINJA_UNDEFINED)
        return jinja_error(r, "there is no function '%s'", n->a->name);
    return jinja_error(r, "%s cannot be called", jinja_kind_name(&f));
}

/* ------------------------------------------------------------------ expressions */

static int eval_list(struct jinja_run *r, const struct jinja_node *n, struct jinja_value *out)
{
    struct jinja_value v;
    TRY(jinja_list_new(r, n->n_args, out));
    for (size_t i = 0; i < n->n_args; i++) {
        TRY(jinja_eval(r, n->args[i], &v));
        TRY(jinja_list_add(r, out->list, &v));
    }
    return 0;
}

static int eval_dict(struct jinja_run *r, const struct jinja_node *n, struct jinja_value *out)
{
    struct jinja_value key, value;
    TRY(jinja_map_new(r, n->n_args / 2, out));
    for (size_t i = 0; i + 1 < n->n_args; i += 2) {
        TRY(jinja_eval(r, n->args[i], &key));
        TRY(jinja_eval(r, n->args[i + 1], &value));
        TRY(jinja_map_set(r, out->map, &key, &value));
    }
    return 0;
}

static int eval_member(struct jinja_run *r, const struct jinja_node *n, struct jinja_value *out)
{
    struct jinja_value self, key;
    TRY(jinja_eval(r, n->a, &self));
    if (n->kind == NODE_ATTRIBUTE)
        key = jinja_text_value(n->name, strlen(n->name));
    else
        TRY(jinja_eval(r, n->b, &key));
    r->line = n->line;
    return jinja_member(r, &self, &key, out);
}

/* `x is defined` asks whether there is such a name, and does not need a value. */
static int eval_test(struct jinja_run *r, const struct jinja_node *n, struct jinja_value *out)
{
    struct jinja_value self;
    struct jinja_args args;
    bool is;
    TRY(jinja_eval(r, n->a, &self));
    TRY(eval_args(r, n, &args));
    r->line = n->line;
    TRY(jinja_test(r, n->name, &self, &args, &is));
    *out = jinja_bool(is != n->negated);
    return 0;
}

static int eval_operator(struct jinja_run *r, const struct jinja_node *n, struct jinja_value *out)
{
    struct jinja_value a, b;
    switch (n->kind) {
    case NODE_AND:
    case NODE_OR:
        TRY(jinja_eval(r, n->a, out));
        return jinja_is_true(out) == (n->kind == NODE_AND) ? jinja_eval(r, n->b, out) : 0;
    case NODE_NOT:
        TRY(jinja_eval(r, n->a, &a));
        *out = jinja_bool(!jinja_is_true(&a));
        return 0;
    case NODE_TERNARY:
        TRY(jinja_eval(r, n->b, &b));
        *out = (struct jinja_value){.kind = JINJA_UNDEFINED};
        if (jinja_is_true(&b)) return jinja_eval(r, n->a, out);
        return n->c ? jinja_eval(r, n->c, out) : 0;
    case NODE_UNARY:
        TRY(jinja_eval(r, n->a, &a));
        if (!is_number(&a)) return jinja_error(r, "%s has no sign", jinja_kind_name(&a));
        b = jinja_int(0);
        return arithmetic(r, n->op, &b, &a, out);
    default:
        TRY(jinja_eval(r, n->a, &a));
        TRY(jinja_eval(r, n->b, &b));
        r->line = n->line;
        return binary(r, n->op, &a, &b, out);
    }
}

int jinja_eval(struct jinja_run *r, const struct jinja_node *n, struct jinja_value *out)
{
    struct jinja_value self;
    struct jinja_args args;
    r->line = n->line;
    if (++r->steps > MAX_STEPS) return jinja_error(r, "the template takes too many steps");
    switch (n->kind) {
    case NODE_VALUE: *out = n->value; return 0;
    case NODE_NAME: *out = look_up(r, n->name); return 0;
    case NODE_LIST: return eval_list(r, n, out);
    case NODE_DICT: return eval_dict(r, n, out);
    case NODE_COMPARE: return compare(r, n, out);
    case NODE_ATTRIBUTE:
    case NODE_INDEX: return eval_member(r, n, out);
    case NODE_SLICE: return slice(r, n, out);
    case NODE_CALL: return call(r, n, out);
    case NODE_FILTER:
        TRY(jinja_eval(r, n->a, &self));
        TRY(eval_args(r, n, &args));
        r->line = n->line;
        return jinja_filter(r, n->name, &self, &args, out);
    case NODE_TEST: return eval_test(r, n, out);
    default: return eval_operator(r, n, out);
    }
}

/* ------------------------------------------------------------------ statements */

/* One name takes the value, several its elements. */
static int assign(struct jinja_run *r, struct jinja_scope *s, const struct jinja_node *n,
                  const struct jinja_value *value)
{
    struct jinja_value all;
    if (n->n_names == 1) return set(r, s, n->names[0], value);
    TRY(jinja_elements(r, value, &all));
    if (all.list->count != n->n_names)
        return jinja_error(r, "%zu names for %zu values", n->n_names, all.list->count);
    for (size_t i = 0; i < n->n_names; i++)
        TRY(set(r, s, n->names[i], &all.list->items[i]));
    return 0;
}

static int set_loop(struct jinja_run *r, struct jinja_scope *s, const struct jinja_list *items,
                    size_t i)
{
    static const struct jinja_value nothing = {.kind = JINJA_UNDEFINED};
    int64_t n = (int64_t)items->count, at = (int64_t)i;
    const struct {
        const char *name;
        struct jinja_value value;
    } members[] = {{"index", jinja_int(at + 1)},
                   {"index0", jinja_int(at)},
                   {"revindex", jinja_int(n - at)},
                   {"revindex0", jinja_int(n - at - 1)},
                   {"first", jinja_bool(i == 0)},
                   {"last", jinja_bool(at == n - 1)},
                   {"length", jinja_int(n)},
                   {"depth", jinja_int(1)},
                   {"previtem", i ? items->items[i - 1] : nothing},
                   {"nextitem", at + 1 < n ? items->items[i + 1] : nothing}};
    struct jinja_value loop;
    TRY(jinja_map_new(r, ARRAY_LEN(members), &loop));
    for (size_t k = 0; k < ARRAY_LEN(members); k++) {
        if (members[k].value.kind == JINJA_UNDEFINED) continue;
        loop.map->members[loop.map->count++] = (struct jinja_member){
            jinja_text_value(members[k].name, strlen(members[k].name)), members[k].value};
    }
    return set(r, s, "loop", &loop);
}

/* The elements that the loop's condition lets through. */
static int for_elements(struct jinja_run *r, const struct jinja_node *n, struct jinja_value *out)
{
    struct jinja_value v, all, is;
    TRY(jinja_eval(r, n->a, &v));
    TRY(jinja_elements(r, &v, &all));
    *out = all;
    if (!n->b) return 0;
    struct jinja_scope scope = {.parent = r->scope}, *before = r->scope;
    int rc = jinja_list_new(r, 0, out);
    r->scope = &scope;
    for (size_t i = 0; rc == 0 && i < all.list->count; i++) {
        rc = assign(r, &scope, n, &all.list->items[i]);
        if (rc == 0) rc = jinja_eval(r, n->b, &is);
        if (rc == 0 && jinja_is_true(&is)) rc = jinja_list_add(r, out->list, &all.list->items[i]);
    }
    r->scope = before;
    return rc;
}

static int run_for(struct jinja_run *r, const struct jinja_node *n)
{
    struct jinja_value all;
    TRY(for_elements(r, n, &all));
    struct jinja_scope *before = r->scope;
    int rc = 0;
    size_t count = all.list->count;
    for (size_t i = 0; rc == 0 && i < count && !r->breaking; i++) {
        struct jinja_scope scope = {.parent = before};
        r->scope = &scope;
        rc = assign(r, &scope, n, &all.list->items[i]);
        if (rc == 0) rc = set_loop(r, &scope, all.list, i);
        if (rc == 0) rc = run_body(r, n->body);
        r->continuing = false;
    }
    r->scope = before;
    r->breaking = false;
    return rc == 0 && count == 0 ? run_body(r, n->other) : rc;
}

static int run_set(struct jinja_run *r, const struct jinja_node *n)
{
    struct jinja_value v;
    if (n->a) {
        TRY(jinja_eval(r, n->a, &v));
    } else {
        struct jinja_builder text = {0}, *before = r->out;
        r->out = &text;
        int rc = run_body(r, n->body);
        r->out = before;
        TRY(rc);
        v = jinja_built(&text);
    }
    r->line = n->line;
    if (!n->name) return assign(r, r->scope, n, &v);
    struct jinja_value space = look_up(r, n->names[0]);
    struct jinja_value key = jinja_text_value(n->name, strlen(n->name));
    if (n->n_names != 1 || space.kind != JINJA_MAP || !space.map->name_space)
        return jinja_error(r, "'%s' is no namespace: its members cannot be set", n->names[0]);
    return jinja_map_set(r, space.map, &key, &v);
}

static int run_one(struct jinja_run *r, const struct jinja_node *n)
{
    struct jinja_value v;
    r->line = n->line;
    switch (n->kind) {
    case NODE_TEXT: return jinja_put(r, r->out, n->value.s, NULL, n->value.n);
    case NODE_OUTPUT:
        TRY(jinja_eval(r, n->a, &v));
        r->line = n->line;
        return jinja_print(r, r->out, &v);
    case NODE_IF:
        TRY(jinja_eval(r, n->a, &v));
        return run_body(r, jinja_is_true(&v) ? n->body : n->other);
    case NODE_FOR: return run_for(r, n);
    case NODE_SET: return run_set(r, n);
    case NODE_MACRO:
        v = (struct jinja_value){.kind = JINJA_MACRO, .macro = n};
        return set(r, r->scope, n->name, &v);
    case NODE_BREAK: r->breaking = true; return 0;
    case NODE_CONTINUE: r->continuing = true; return 0;
    default: return run_body(r, n->body);
    }
}

static int run_body(struct jinja_run *r, const struct jinja_node *n)
{
    for (; n && !r->breaking && !r->continuing; n = n->next) {
        if (++r->steps > MAX_STEPS) return jinja_error(r, "the template takes too many steps");
        TRY(run_one(r, n));
        if (r->out->n > MAX_TEXT) return jinja_error(r, "the template writes too much text");
    }
    return 0;
}

/* ------------------------------------------------------------------ the whole */

static int set_members(struct jinja_run *r, const json_t *o, bool user)
{
    json_t *object = (json_t *)(uintptr_t)o, *item;
    const char *key;
    struct jinja_value v;
    json_object_foreach(object, key, item)
    {
        TRY(jinja_from_json(r, item, user, &v));
        TRY(set(r, r->scope, key, &v));
    }
    return 0;
}

int jinja_render(const jinja_t *t, const json_t *trusted, const json_t *given, struct arena *a,
                 struct jinja_text *out, struct error *e)
{
    struct jinja_scope outer = {0}, top = {.parent = &outer};
    struct jinja_builder text = {0};
    struct jinja_run r = {
        .t = t, .a = a, .scope = &outer, .globals = &top, .out = &text, .e = e, .line = 1};
    TRY(set_members(&r, given, true));
    TRY(set_members(&r, trusted, false));
    r.scope = &top;
    TRY(run_body(&r, t->body));
    TRY(jinja_put(&r, &text, "", NULL, 1)); /* the NUL, which is not counted */
    text.n--;
    *out = (struct jinja_text){text.s, text.user, text.n};
    return 0;
}
