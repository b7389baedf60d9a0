/* serve_jinja_parse.c: a template's text to a tree.
 *
 * As transformers sets Jinja up: a line end behind a statement or a comment is dropped
 * (trim_blocks), blanks in front of one that begins its line too (lstrip_blocks), and one line end
 * at the template's end. '-' beside a brace drops all white space there, '+' keeps it.
 *
 * Expressions are read with Jinja's own precedences (jinja2/parser.py): or, and, not, comparison,
 * + -, ~, * / // %, unary, **, then what stands behind an operand: .name, [index], (call), |filter
 * and `is test`. */
#include "serve/jinja/serve_jinja_internal.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 100 };

enum token_kind { T_END, T_NAME, T_STRING, T_INT, T_FLOAT, T_OP, T_TEXT, T_BEGIN, T_CLOSE };
struct token {
    enum token_kind kind;
    int line;
    const char *s; /* NAME and OP: as written; STRING: its value, in the arena */
    size_t n;
    char brace; /* BEGIN, CLOSE: '%' or '{' */
};
struct parser {
    struct jinja *t;
    struct arena *a;
    const char *text;
    size_t size, at;
    int line, depth;
    bool inside;    /* of braces */
    char brace;     /* of the ones around */
    bool trim;      /* white space in front of the next text goes */
    bool trim_line; /* a line end there goes */
    struct token token;
    struct error *e;
};

static int wrong(struct parser *p, const char *fmt, ...) PRINTF_LIKE(2, 3);
static int wrong(struct parser *p, const char *fmt, ...)
{
    char text[400];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    return error_set(p->e, "%s:%d: %s", p->t->name, p->token.line ? p->token.line : p->line, text);
}

/* ------------------------------------------------------------------ tokens */

static void count_lines(struct parser *p, size_t from, size_t to)
{
    for (; from < to; from++)
        p->line += p->text[from] == '\n';
}

static bool starts(const struct parser *p, const char *with)
{
    size_t n = strlen(with);
    return p->size - p->at >= n && memcmp(p->text + p->at, with, n) == 0;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

/* Text up to the next brace, with what the braces' signs drop of it. */
static void read_text(struct parser *p, struct token *t)
{
    size_t from = p->at, to = from, next;
    while (to < p->size &&
           !(p->text[to] == '{' && to + 1 < p->size &&
             (p->text[to + 1] == '{' || p->text[to + 1] == '%' || p->text[to + 1] == '#')))
        to++;
    next = to;
    char sign = next + 2 < p->size ? p->text[next + 2] : 0;
    if (p->trim)
        while (from < to && is_blank(p->text[from]))
            from++;
    else if (p->trim_line && from < to && p->text[from] == '\n')
        from++;
    else if (p->trim_line && from + 1 < to && p->text[from] == '\r' && p->text[from + 1] == '\n')
        from += 2;
    if (next < p->size && sign == '-')
        while (to > from && is_blank(p->text[to - 1]))
            to--;
    else if (next < p->size && sign != '+' && p->text[next + 1] != '{') {
        size_t line = to;
        while (line > p->at && (p->text[line - 1] == ' ' || p->text[line - 1] == '\t'))
            line--;
        if ((line == 0 || p->text[line - 1] == '\n') && line >= from) to = line;
    }
    *t = (struct token){.kind = T_TEXT, .line = p->line, .s = p->text + from, .n = to - from};
    count_lines(p, p->at, next);
    p->at = next;
    p->trim = p->trim_line = false;
}

/* Behind "{#". */
static int skip_comment(struct parser *p)
{
    const char *end = memmem(p->text + p->at, p->size - p->at, "#}", 2);
    if (!end) return wrong(p, "the comment has no end: '#}' is missing");
    p->trim = end > p->text && end[-1] == '-';
    p->trim_line = !(end > p->text && end[-1] == '+');
    count_lines(p, p->at, (size_t)(end - p->text));
    p->at = (size_t)(end - p->text) + 2;
    return 0;
}

static int read_string(struct parser *p, struct token *t)
{
    char quote = p->text[p->at++];
    size_t n = 0, end = p->at;
    while (end < p->size && p->text[end] != quote)
        end += p->text[end] == '\\' ? 2 : 1;
    char *out = arena_alloc(p->a, MIN(end, p->size) - p->at + 1);
    for (; p->at < p->size && p->text[p->at] != quote; p->at++) {
        char c = p->text[p->at];
        p->line += c == '\n';
        if (c == '\\' && p->at + 1 < p->size) {
            static const char from[] = "ntrbf\\'\"", to[] = "\n\t\r\b\f\\'\"";
            const char *known = strchr(from, p->text[p->at + 1]);
            if (known && *known) {
                c = to[known - from];
                p->at++;
            }
        }
        out[n++] = c;
    }
    if (p->at == p->size) return wrong(p, "a string has no end: %c is missing", quote);
    p->at++;
    *t = (struct token){.kind = T_STRING, .line = t->line, .s = out, .n = n};
    return 0;
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static void read_word(struct parser *p, struct token *t)
{
    size_t from = p->at;
    bool number = is_digit(p->text[from]);
    while (p->at < p->size && (is_letter(p->text[p->at]) || is_digit(p->text[p->at])))
        p->at++;
    t->kind = number ? T_INT : T_NAME;
    if (number && p->at + 1 < p->size && p->text[p->at] == '.' && is_digit(p->text[p->at + 1])) {
        t->kind = T_FLOAT;
        for (p->at++; p->at < p->size && is_digit(p->text[p->at]); p->at++)
            ;
    }
    t->s = p->text + from;
    t->n = p->at - from;
}

/* '-' or '+' in front of the closing braces says what becomes of the text behind them. */
static bool closes(struct parser *p, struct token *t)
{
    const char *end = p->brace == '%' ? "%}" : "}}";
    size_t sign = p->text[p->at] == '-' || p->text[p->at] == '+';
    if (p->size - p->at < sign + 2 || memcmp(p->text + p->at + sign, end, 2) != 0) return false;
    p->trim = sign && p->text[p->at] == '-';
    p->trim_line = p->brace == '%' && !(sign && p->text[p->at] == '+');
    p->at += sign + 2;
    p->inside = false;
    t->kind = T_CLOSE;
    t->brace = p->brace;
    return true;
}

static int read_inside(struct parser *p, struct token *t)
{
    static const char *const operators[] = {"==", "!=", "<=", ">=", "//", "**"};
    while (p->at < p->size && is_blank(p->text[p->at]))
        p->line += p->text[p->at++] == '\n';
    *t = (struct token){.kind = T_OP, .line = p->line};
    if (p->at == p->size) return wrong(p, "the template ends within braces");
    if (closes(p, t)) return 0;
    char c = p->text[p->at];
    if (c == '\'' || c == '"') return read_string(p, t);
    if (is_letter(c) || is_digit(c)) {
        read_word(p, t);
        return 0;
    }
    t->s = p->text + p->at;
    t->n = 1;
    for (size_t i = 0; i < ARRAY_LEN(operators); i++)
        if (starts(p, operators[i])) t->n = 2;
    if (!strchr("+-*/%~|.,:()[]{}=<>!", c)) return wrong(p, "'%c' has no meaning here", c);
    p->at += t->n;
    return 0;
}

/* The next token to p->token. */
static int advance(struct parser *p)
{
    struct token *t = &p->token;
    t->line = 0;
    while (!p->inside) {
        if (p->at == p->size) {
            *t = (struct token){.kind = T_END, .line = p->line};
            return 0;
        }
        if (p->text[p->at] != '{' || !(starts(p, "{{") || starts(p, "{%") || starts(p, "{#"))) {
            read_text(p, t);
            if (t->n) return 0;
            continue;
        }
        p->brace = p->text[p->at + 1];
        p->at += 2;
        if (p->brace == '#') {
            TRY(skip_comment(p));
            continue;
        }
        if (p->at < p->size && (p->text[p->at] == '-' || p->text[p->at] == '+')) p->at++;
        p->inside = true;
        *t = (struct token){.kind = T_BEGIN, .line = p->line, .brace = p->brace};
        return 0;
    }
    return read_inside(p, t);
}

static bool is_op(const struct parser *p, const char *op)
{
    return p->token.kind == T_OP && p->token.n == strlen(op) &&
           memcmp(p->token.s, op, p->token.n) == 0;
}

static bool is_name(const struct parser *p, const char *name)
{
    return p->token.kind == T_NAME && p->token.n == strlen(name) &&
           memcmp(p->token.s, name, p->token.n) == 0;
}

static const char *token_text(const struct parser *p)
{
    static const char *const kinds[] = {"the end", "", "a string", "", "", "", "text", "'{'", ""};
    if (p->token.kind == T_CLOSE) return p->token.brace == '%' ? "'%}'" : "'}}'";
    if (p->token.kind == T_NAME || p->token.kind == T_OP || p->token.kind == T_INT)
        return arena_printf(p->a, "'%.*s'", (int)MIN(p->token.n, 40), p->token.s);
    return kinds[p->token.kind];
}

static int want_op(struct parser *p, const char *op)
{
    if (!is_op(p, op)) return wrong(p, "'%s' is expected, not %s", op, token_text(p));
    return advance(p);
}

static int want_close(struct parser *p, char brace)
{
    if (p->token.kind != T_CLOSE || p->token.brace != brace)
        return wrong(p, "'%s' is expected, not %s", brace == '%' ? "%}" : "}}", token_text(p));
    return advance(p);
}

static int take_name(struct parser *p, const char **name)
{
    if (p->token.kind != T_NAME) return wrong(p, "a name is expected, not %s", token_text(p));
    *name = arena_strndup(p->a, p->token.s, p->token.n);
    return advance(p);
}

/* ------------------------------------------------------------------ expressions */

static int parse_expression(struct parser *p, struct jinja_node **out);
static int parse_unary(struct parser *p, bool filters, struct jinja_node **out);

static struct jinja_node *node(struct parser *p, enum jinja_node_kind kind)
{
    struct jinja_node *n = arena_alloc(p->a, sizeof(*n));
    n->kind = kind;
    n->line = p->token.line;
    return n;
}

static int deeper(struct parser *p)
{
    return ++p->depth > MAX_DEPTH ? wrong(p, "nested more than %d deep", MAX_DEPTH) : 0;
}

static void add_arg(struct parser *p, struct jinja_node *n, struct jinja_node *arg,
                    const char *name)
{
    if ((n->n_args & (n->n_args - 1)) == 0) {
        size_t cap = n->n_args ? 2 * n->n_args : 1;
        struct jinja_node **args = arena_alloc(p->a, cap * sizeof(struct jinja_node *));
        const char **names = arena_alloc(p->a, cap * sizeof(char *));
        if (n->n_args) memcpy(args, n->args, n->n_args * sizeof(struct jinja_node *));
        if (n->n_args) memcpy(names, n->arg_names, n->n_args * sizeof(char *));
        n->args = args;
        n->arg_names = names;
    }
    n->args[n->n_args] = arg;
    n->arg_names[n->n_args++] = name;
}

/* Behind '(', to behind ')'. */
static int parse_args(struct parser *p, struct jinja_node *n)
{
    while (!is_op(p, ")")) {
        struct jinja_node *arg;
        const char *name = NULL;
        TRY(parse_expression(p, &arg));
        if (is_op(p, "=")) {
            if (arg->kind != NODE_NAME) return wrong(p, "'=' stands behind no name");
            name = arg->name;
            TRY(advance(p));
            TRY(parse_expression(p, &arg));
        }
        add_arg(p, n, arg, name);
        if (!is_op(p, ")")) TRY(want_op(p, ","));
    }
    return advance(p);
}

/* Behind '[' or '(': elements up to `end`. */
static int parse_elements(struct parser *p, const char *end, struct jinja_node *list)
{
    while (!is_op(p, end)) {
        struct jinja_node *item;
        TRY(parse_expression(p, &item));
        add_arg(p, list, item, NULL);
        if (!is_op(p, end)) TRY(want_op(p, ","));
    }
    return advance(p);
}

static int parse_dict(struct parser *p, struct jinja_node *dict)
{
    while (!is_op(p, "}")) {
        struct jinja_node *item;
        TRY(parse_expression(p, &item));
        add_arg(p, dict, item, NULL);
        TRY(want_op(p, ":"));
        TRY(parse_expression(p, &item));
        add_arg(p, dict, item, NULL);
        if (!is_op(p, "}")) TRY(want_op(p, ","));
    }
    return advance(p);
}

static int parse_name(struct parser *p, struct jinja_node **out)
{
    static const struct {
        const char *name;
        struct jinja_value value;
    } constants[] = {{"true", {JINJA_BOOL, {.b = true}}},   {"True", {JINJA_BOOL, {.b = true}}},
                     {"false", {JINJA_BOOL, {.b = false}}}, {"False", {JINJA_BOOL, {.b = false}}},
                     {"none", {JINJA_NONE, {0}}},           {"None", {JINJA_NONE, {0}}}};
    *out = node(p, NODE_NAME);
    for (size_t i = 0; i < ARRAY_LEN(constants); i++) {
        if (!is_name(p, constants[i].name)) continue;
        (*out)->kind = NODE_VALUE;
        (*out)->value = constants[i].value;
        return advance(p);
    }
    TRY(take_name(p, &(*out)->name));
    struct jinja *t = p->t;
    for (size_t i = 0; i < t->n_read; i++)
        if (strcmp(t->read[i], (*out)->name) == 0) return 0;
    if ((t->n_read & (t->n_read - 1)) == 0) {
        const char **more = arena_alloc(p->a, MAX(2 * t->n_read, 1) * sizeof(char *));
        if (t->n_read) memcpy(more, t->read, t->n_read * sizeof(char *));
        t->read = more;
    }
    t->read[t->n_read++] = (*out)->name;
    return 0;
}

static int parse_numeral(struct parser *p, struct jinja_node **out)
{
    char text[64];
    *out = node(p, NODE_VALUE);
    if (p->token.n >= sizeof(text)) return wrong(p, "the number is too long");
    memcpy(text, p->token.s, p->token.n);
    text[p->token.n] = '\0';
    if (p->token.kind == T_INT)
        (*out)->value = jinja_int(strtoll(text, NULL, 10));
    else
        (*out)->value = (struct jinja_value){.kind = JINJA_FLOAT, .f = strtod(text, NULL)};
    return advance(p);
}

static int parse_primary(struct parser *p, struct jinja_node **out)
{
    if (p->token.kind == T_NAME) return parse_name(p, out);
    if (p->token.kind == T_INT || p->token.kind == T_FLOAT) return parse_numeral(p, out);
    if (p->token.kind == T_STRING) { /* neighbours are one */
        struct str all = {0};
        *out = node(p, NODE_VALUE);
        str_reserve(&all, 1);
        int rc = 0;
        while (rc == 0 && p->token.kind == T_STRING) {
            str_append(&all, p->token.s, p->token.n);
            rc = advance(p);
        }
        (*out)->value = jinja_text_value(arena_strndup(p->a, all.data, all.len), all.len);
        str_fini(&all);
        return rc;
    }
    if (is_op(p, "[")) {
        *out = node(p, NODE_LIST);
        TRY(advance(p));
        return parse_elements(p, "]", *out);
    }
    if (is_op(p, "{")) {
        *out = node(p, NODE_DICT);
        TRY(advance(p));
        return parse_dict(p, *out);
    }
    if (!is_op(p, "(")) return wrong(p, "a value is expected, not %s", token_text(p));
    struct jinja_node *list = node(p, NODE_LIST);
    TRY(advance(p));
    if (is_op(p, ")")) {
        *out = list;
        return advance(p);
    }
    TRY(parse_expression(p, out));
    if (is_op(p, ")")) return advance(p);
    add_arg(p, list, *out, NULL);
    *out = list;
    TRY(want_op(p, ","));
    return parse_elements(p, ")", list);
}

/* Behind '[': an index or a slice. */
static int parse_index(struct parser *p, struct jinja_node **out)
{
    struct jinja_node *n = node(p, NODE_INDEX), **parts[] = {&n->b, &n->c, &n->d};
    n->a = *out;
    *out = n;
    for (int i = 0; i < 3; i++) {
        if (!is_op(p, ":") && !is_op(p, "]")) TRY(parse_expression(p, parts[i]));
        if (is_op(p, "]")) break;
        n->kind = NODE_SLICE;
        TRY(want_op(p, ":"));
    }
    if (n->kind == NODE_INDEX && !n->b) return wrong(p, "an index is expected, not ']'");
    return want_op(p, "]");
}

static int parse_postfix(struct parser *p, struct jinja_node **out)
{
    for (;;) {
        struct jinja_node *n;
        if (is_op(p, ".")) {
            n = node(p, NODE_ATTRIBUTE);
            n->a = *out;
            TRY(advance(p));
            if (p->token.kind == T_INT) {
                n->kind = NODE_INDEX;
                TRY(parse_numeral(p, &n->b));
            } else {
                TRY(take_name(p, &n->name));
            }
            *out = n;
        } else if (is_op(p, "[")) {
            TRY(advance(p));
            TRY(parse_index(p, out));
        } else if (is_op(p, "(")) {
            n = node(p, NODE_CALL);
            n->a = *out;
            *out = n;
            TRY(advance(p));
            TRY(parse_args(p, n));
        } else {
            return 0;
        }
    }
}

/* Does an operand of a test without parentheses begin here? */
static bool begins_operand(const struct parser *p)
{
    static const char *const words[] = {"else", "or", "and", "if", "is", "in", "not"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (is_name(p, words[i])) return false;
    return p->token.kind == T_NAME || p->token.kind == T_STRING || p->token.kind == T_INT ||
           p->token.kind == T_FLOAT || is_op(p, "[") || is_op(p, "{");
}

static int parse_filters(struct parser *p, struct jinja_node **out)
{
    for (;;) {
        bool test = is_name(p, "is");
        if (!test && !is_op(p, "|") && !is_op(p, "(")) return 0;
        if (is_op(p, "(")) {
            TRY(parse_postfix(p, out));
            continue;
        }
        struct jinja_node *n = node(p, test ? NODE_TEST : NODE_FILTER), *arg;
        n->a = *out;
        *out = n;
        TRY(advance(p));
        if (test && is_name(p, "not")) {
            n->negated = true;
            TRY(advance(p));
        }
        TRY(take_name(p, &n->name));
        if (is_op(p, "(")) {
            TRY(advance(p));
            TRY(parse_args(p, n));
        } else if (test && begins_operand(p)) {
            TRY(parse_unary(p, false, &arg));
            add_arg(p, n, arg, NULL);
        }
    }
}

static int parse_unary(struct parser *p, bool filters, struct jinja_node **out)
{
    TRY(deeper(p));
    if (is_op(p, "-") || is_op(p, "+")) {
        struct jinja_node *n = node(p, NODE_UNARY);
        n->op = is_op(p, "-") ? OP_SUB : OP_ADD;
        TRY(advance(p));
        TRY(parse_unary(p, false, &n->a));
        *out = n;
    } else {
        TRY(parse_primary(p, out));
    }
    TRY(parse_postfix(p, out));
    if (filters) TRY(parse_filters(p, out));
    p->depth--;
    return 0;
}

struct level {
    const char *op;
    int code;
};
static const struct level powers[] = {{"**", OP_POW}, {NULL, 0}};
static const struct level products[] = {
    {"*", OP_MUL}, {"/", OP_DIV}, {"//", OP_FLOOR}, {"%", OP_MOD}, {NULL, 0}};
static const struct level concats[] = {{"~", OP_CONCAT}, {NULL, 0}};
static const struct level sums[] = {{"+", OP_ADD}, {"-", OP_SUB}, {NULL, 0}};
static const struct level *const levels[] = {sums, concats, products, powers};

static int parse_level(struct parser *p, size_t level, struct jinja_node **out)
{
    if (level == ARRAY_LEN(levels)) return parse_unary(p, true, out);
    TRY(parse_level(p, level + 1, out));
    for (;;) {
        const struct level *l = levels[level];
        while (l->op && !is_op(p, l->op))
            l++;
        if (!l->op) return 0;
        struct jinja_node *n = node(p, NODE_BINARY);
        n->op = l->code;
        n->a = *out;
        *out = n;
        TRY(advance(p));
        TRY(parse_level(p, level + 1, &n->b));
    }
}

/* a < b <= c is a < b and b <= c. */
static int parse_compare(struct parser *p, struct jinja_node **out)
{
    static const struct level compares[] = {{"==", OP_EQ}, {"!=", OP_NE}, {"<=", OP_LE},
                                            {">=", OP_GE}, {"<", OP_LT},  {">", OP_GT}};
    TRY(parse_level(p, 0, out));
    struct jinja_node *left = *out, *all = NULL;
    for (;;) {
        int op = is_name(p, "in") ? OP_IN : is_name(p, "not") ? OP_NOT_IN : 0;
        for (size_t i = 0; i < ARRAY_LEN(compares) && !op; i++)
            if (is_op(p, compares[i].op)) op = compares[i].code;
        if (!op) break;
        struct jinja_node *n = node(p, NODE_COMPARE), *both;
        TRY(advance(p));
        if (op == OP_NOT_IN) {
            if (!is_name(p, "in")) return wrong(p, "'in' is expected behind 'not'");
            TRY(advance(p));
        }
        n->op = op;
        n->a = left;
        TRY(parse_level(p, 0, &n->b));
        left = n->b;
        if (all) {
            both = node(p, NODE_AND);
            both->a = all;
            both->b = n;
            n = both;
        }
        all = n;
    }
    if (all) *out = all;
    return 0;
}

static int parse_not(struct parser *p, struct jinja_node **out)
{
    if (!is_name(p, "not")) return parse_compare(p, out);
    *out = node(p, NODE_NOT);
    TRY(deeper(p));
    TRY(advance(p));
    TRY(parse_not(p, &(*out)->a));
    p->depth--;
    return 0;
}

static int parse_and(struct parser *p, struct jinja_node **out)
{
    TRY(parse_not(p, out));
    while (is_name(p, "and")) {
        struct jinja_node *n = node(p, NODE_AND);
        n->a = *out;
        *out = n;
        TRY(advance(p));
        TRY(parse_not(p, &n->b));
    }
    return 0;
}

static int parse_or(struct parser *p, struct jinja_node **out)
{
    TRY(parse_and(p, out));
    while (is_name(p, "or")) {
        struct jinja_node *n = node(p, NODE_OR);
        n->a = *out;
        *out = n;
        TRY(advance(p));
        TRY(parse_and(p, &n->b));
    }
    return 0;
}

static int parse_expression(struct parser *p, struct jinja_node **out)
{
    TRY(deeper(p));
    TRY(parse_or(p, out));
    while (is_name(p, "if")) {
        struct jinja_node *n = node(p, NODE_TERNARY);
        n->a = *out;
        *out = n;
        TRY(advance(p));
        TRY(parse_or(p, &n->b));
        if (!is_name(p, "else")) continue;
        TRY(advance(p));
        TRY(parse_expression(p, &n->c));
    }
    p->depth--;
    return 0;
}

/* a, b, c without brackets is a list. */
static int parse_tuple(struct parser *p, struct jinja_node **out)
{
    TRY(parse_expression(p, out));
    if (!is_op(p, ",")) return 0;
    struct jinja_node *list = node(p, NODE_LIST), *item;
    add_arg(p, list, *out, NULL);
    while (is_op(p, ",")) {
        TRY(advance(p));
        if (p->token.kind == T_CLOSE) break;
        TRY(parse_expression(p, &item));
        add_arg(p, list, item, NULL);
    }
    *out = list;
    return 0;
}

/* ------------------------------------------------------------------ statements */

static int parse_body(struct parser *p, const char *const *ends, struct jinja_node **out);

static int parse_targets(struct parser *p, struct jinja_node *n)
{
    enum { MAX_TARGETS = 8 };
    bool brackets = is_op(p, "(");
    n->names = arena_alloc(p->a, MAX_TARGETS * sizeof(char *));
    if (brackets) TRY(advance(p));
    for (;;) {
        if (n->n_names == MAX_TARGETS) return wrong(p, "more than %d names", MAX_TARGETS);
        TRY(take_name(p, &n->names[n->n_names++]));
        if (!is_op(p, ",")) break;
        TRY(advance(p));
    }
    return brackets ? want_op(p, ")") : 0;
}

/* The names of the statement that ended a body, and its closing brace. */
static int end_statement(struct parser *p)
{
    TRY(advance(p));
    return want_close(p, '%');
}

static int parse_if(struct parser *p, struct jinja_node **out)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    static const char *const last[] = {"endif", NULL};
    struct jinja_node *n = *out = node(p, NODE_IF);
    TRY(deeper(p));
    TRY(parse_expression(p, &n->a));
    TRY(want_close(p, '%'));
    TRY(parse_body(p, ends, &n->body));
    if (is_name(p, "elif")) {
        TRY(advance(p));
        TRY(parse_if(p, &n->other)); /* it takes the endif */
        p->depth--;
        return 0;
    }
    if (is_name(p, "else")) {
        TRY(end_statement(p));
        TRY(parse_body(p, last, &n->other));
    }
    p->depth--;
    return end_statement(p);
}

static int parse_for(struct parser *p, struct jinja_node **out)
{
    static const char *const ends[] = {"else", "endfor", NULL}, *const last[] = {"endfor", NULL};
    struct jinja_node *n = *out = node(p, NODE_FOR);
    TRY(parse_targets(p, n));
    if (!is_name(p, "in")) return wrong(p, "'in' is expected, not %s", token_text(p));
    TRY(advance(p));
    TRY(parse_or(p, &n->a));
    if (is_op(p, ",")) return wrong(p, "a list in a for needs brackets");
    if (is_name(p, "if")) {
        TRY(advance(p));
        TRY(parse_expression(p, &n->b));
    }
    if (is_name(p, "recursive")) return wrong(p, "recursive loops are not done");
    TRY(want_close(p, '%'));
    TRY(parse_body(p, ends, &n->body));
    if (is_name(p, "else")) {
        TRY(end_statement(p));
        TRY(parse_body(p, last, &n->other));
    }
    return end_statement(p);
}

static int parse_set(struct parser *p, struct jinja_node **out)
{
    static const char *const ends[] = {"endset", NULL};
    struct jinja_node *n = *out = node(p, NODE_SET);
    TRY(parse_targets(p, n));
    if (is_op(p, ".")) {
        TRY(advance(p));
        TRY(take_name(p, &n->name));
    }
    if (is_op(p, "=")) {
        TRY(advance(p));
        TRY(parse_tuple(p, &n->a));
        return want_close(p, '%');
    }
    TRY(want_close(p, '%'));
    TRY(parse_body(p, ends, &n->body));
    return end_statement(p);
}

static int parse_macro(struct parser *p, struct jinja_node **out)
{
    static const char *const ends[] = {"endmacro", NULL};
    struct jinja_node *n = *out = node(p, NODE_MACRO);
    TRY(take_name(p, &n->name));
    TRY(want_op(p, "("));
    while (!is_op(p, ")")) {
        struct jinja_node *fallback = NULL;
        const char *name;
        TRY(take_name(p, &name));
        if (is_op(p, "=")) {
            TRY(advance(p));
            TRY(parse_expression(p, &fallback));
        }
        add_arg(p, n, fallback, name);
        if (!is_op(p, ")")) TRY(want_op(p, ","));
    }
    TRY(advance(p));
    TRY(want_close(p, '%'));
    TRY(parse_body(p, ends, &n->body));
    return end_statement(p);
}

/* {% generation %} marks the model's own words for training: its body as it stands. */
static int parse_generation(struct parser *p, struct jinja_node **out)
{
    static const char *const ends[] = {"endgeneration", NULL};
    *out = node(p, NODE_BLOCK);
    TRY(want_close(p, '%'));
    TRY(parse_body(p, ends, &(*out)->body));
    return end_statement(p);
}

static int parse_break(struct parser *p, struct jinja_node **out)
{
    *out = node(p, NODE_BREAK);
    return want_close(p, '%');
}

static int parse_continue(struct parser *p, struct jinja_node **out)
{
    *out = node(p, NODE_CONTINUE);
    return want_close(p, '%');
}

static int parse_statement(struct parser *p, struct jinja_node **out)
{
    static const struct {
        const char *name;
        int (*parse)(struct parser *p, struct jinja_node **out);
    } statements[] = {{"if", parse_if},
                      {"for", parse_for},
                      {"set", parse_set},
                      {"macro", parse_macro},
                      {"break", parse_break},
                      {"continue", parse_continue},
                      {"generation", parse_generation}};
    for (size_t i = 0; i < ARRAY_LEN(statements); i++) {
        if (!is_name(p, statements[i].name)) continue;
        TRY(advance(p));
        return statements[i].parse(p, out);
    }
    return wrong(p, "%s begins no statement that is known", token_text(p));
}

static bool ends_body(const struct parser *p, const char *const *ends)
{
    for (; *ends; ends++)
        if (is_name(p, *ends)) return true;
    return false;
}

/* Statements up to one of the names, which is the token then. */
static int parse_body(struct parser *p, const char *const *ends, struct jinja_node **out)
{
    struct jinja_node **next = out;
    TRY(deeper(p));
    for (;;) {
        if (p->token.kind == T_END) {
            if (!*ends) break;
            return wrong(p, "'%s' is missing: the template ends", ends[0]);
        }
        if (p->token.kind == T_TEXT) {
            *next = node(p, NODE_TEXT);
            (*next)->value = jinja_text_value(p->token.s, p->token.n);
            TRY(advance(p));
        } else if (p->token.brace == '{') {
            TRY(advance(p));
            *next = node(p, NODE_OUTPUT);
            TRY(parse_tuple(p, &(*next)->a));
            TRY(want_close(p, '{'));
        } else {
            TRY(advance(p));
            if (ends_body(p, ends)) break;
            TRY(parse_statement(p, next));
        }
        next = &(*next)->next;
    }
    p->depth--;
    return 0;
}

/* ------------------------------------------------------------------ the whole */

int jinja_parse(const char *text, size_t size, const char *name, jinja_t **out, struct error *e)
{
    static const char *const no_end[] = {NULL};
    jinja_t *t = mem_calloc(1, sizeof(*t));
    t->name = arena_strdup(&t->arena, name);
    if (size && text[size - 1] == '\n') size -= size > 1 && text[size - 2] == '\r' ? 2 : 1;
    struct parser p = {.t = t, .a = &t->arena, .size = size, .line = 1, .e = e};
    p.text = arena_strndup(&t->arena, text, size);
    int rc = memchr(text, 0, size) ? error_set(e, "%s: a NUL byte is no text", name) : advance(&p);
    if (rc == 0) rc = parse_body(&p, no_end, &t->body);
    if (rc < 0) {
        jinja_free(t);
        return rc;
    }
    *out = t;
    return 0;
}

void jinja_free(jinja_t *t)
{
    if (!t) return;
    arena_fini(&t->arena);
    mem_free(t);
}

bool jinja_reads(const jinja_t *t, const char *variable)
{
    for (size_t i = 0; i < t->n_read; i++)
        if (strcmp(t->read[i], variable) == 0) return true;
    return false;
}
