/* text_pattern_parse.c: a regular expression to a tree.
 *
 * Recursive descent over the text, at most PATTERN_MAX_NEST deep. What the two dialects read in
 * different ways is told apart here; what is not supported (absent operators, conditions, calls,
 * text segments, callouts) is refused with its byte. Oniguruma's quantifiers of quantifiers are
 * reduced by its own table: (?:a+)? is a*, and so on, which decides what a match of no characters
 * does. */
#include "text/pattern/text_pattern_internal.h"

int pattern_refuse(struct pattern_parse *p, const char *at, const char *what)
{
    return error_set(p->e, "the pattern has %s at byte %zu", what, (size_t)(at - p->start));
}

/* ------------------------------------------------------------------ nodes */

struct pattern_node *pattern_node(struct pattern_parse *p, enum pattern_kind kind)
{
    struct pattern_node *n = arena_alloc(&p->arena, sizeof(*n));
    n->kind = kind;
    p->n_nodes++;
    return n;
}

void pattern_node_add(struct pattern_parse *p, struct pattern_node *list, struct pattern_node *item)
{
    if (list->n_items == list->cap) {
        size_t cap = list->cap ? 2 * list->cap : 2;
        struct pattern_node **items = arena_alloc(&p->arena, cap * sizeof(struct pattern_node *));
        if (list->n_items) memcpy(items, list->items, list->n_items * sizeof(*items));
        list->items = items;
        list->cap = cap;
    }
    list->items[list->n_items++] = item;
}

struct pattern_node *pattern_node_set(struct pattern_parse *p, struct unicode_set *s)
{
    struct pattern_node *n = pattern_node(p, NODE_SET);
    ARRAY_RESERVE(p->sets, p->set_cap, p->n_sets + 1);
    n->set = (uint32_t)p->n_sets;
    p->sets[p->n_sets++] = *s;
    *s = (struct unicode_set){0};
    return n;
}

static struct pattern_node *wrap(struct pattern_parse *p, enum pattern_kind kind,
                                 struct pattern_node *body)
{
    struct pattern_node *n = pattern_node(p, kind);
    pattern_node_add(p, n, body);
    return n;
}

void pattern_parse_fini(struct pattern_parse *p)
{
    for (size_t i = 0; i < p->n_sets; i++)
        unicode_set_fini(&p->sets[i]);
    mem_free(p->sets);
    arena_fini(&p->arena);
}

/* ------------------------------------------------------------------ quantifiers */

struct quantifier {
    uint32_t min, max;
    bool greedy, possessive;
};

static size_t parse_count(struct pattern_parse *p, uint32_t *value)
{
    uint64_t v;
    size_t n = digits_parse(p->at, (size_t)(p->end - p->at), &v);
    *value = (uint32_t)MIN(v, (uint64_t)UINT32_MAX - 1);
    p->at += n;
    return n;
}

/* "{n}", "{n,}", "{n,m}", and "{,m}" in Oniguruma. 0: it is none, and '{' stands for itself. */
static int parse_interval(struct pattern_parse *p, struct quantifier *q)
{
    const char *at = p->at++;
    bool onig = p->dialect == PATTERN_ONIGURUMA;
    size_t low = parse_count(p, &q->min), high = low;
    q->max = q->min;
    if (p->at < p->end && *p->at == ',') {
        p->at++;
        high = parse_count(p, &q->max);
        if (!high) q->max = PATTERN_NO_LIMIT;
    }
    bool valid = p->at < p->end && *p->at == '}' && (low || (onig && high));
    if (!valid) {
        p->at = at;
        return onig ? 0 : pattern_refuse(p, at, "a '{' that begins no interval");
    }
    p->at++;
    if (q->min > PATTERN_MAX_COUNT || (q->max != PATTERN_NO_LIMIT && q->max > PATTERN_MAX_COUNT))
        return pattern_refuse(p, at, "an interval that is too large");
    if (q->max < q->min) {
        if (!onig) return pattern_refuse(p, at, "an interval that is out of order");
        uint32_t swapped = q->min; /* Oniguruma's way to write a possessive one */
        q->min = q->max;
        q->max = swapped;
        q->possessive = true;
    }
    return 1;
}

/* A quantifier at p->at: 1, with *q; 0: none; negative: an error. */
static int parse_quantifier(struct pattern_parse *p, struct quantifier *q)
{
    char c = p->at < p->end ? *p->at : '\0';
    bool onig = p->dialect == PATTERN_ONIGURUMA, interval = c == '{', fixed = false;
    *q = (struct quantifier){.max = PATTERN_NO_LIMIT, .greedy = true};
    if (c == '*' || c == '+' || c == '?') {
        q->min = c == '+';
        if (c == '?') q->max = 1;
        p->at++;
    } else if (interval) {
        const char *at = p->at;
        int rc = parse_interval(p, q);
        if (rc <= 0) return rc;
        fixed = !memchr(at, ',', (size_t)(p->at - at));
    } else {
        return 0;
    }
    if (p->at == p->end || q->possessive) return 1;
    if (*p->at == '?' && !(fixed && onig)) { /* {n}? is (?:{n})? */
        p->at++;
        q->greedy = false;
    } else if (*p->at == '+' && !(interval && onig)) {
        p->at++;
        q->possessive = true;
    }
    return 1;
}

/* ?, *, +, ??, *?, +? are 0 to 5; others -1. */
static int simple_kind(const struct pattern_node *n)
{
    int lazy = n->greedy ? 0 : 3;
    if (n->min == 0 && n->max == 1) return lazy;
    if (n->min == 0 && n->max == PATTERN_NO_LIMIT) return 1 + lazy;
    if (n->min == 1 && n->max == PATTERN_NO_LIMIT) return 2 + lazy;
    return -1;
}

static void set_repeat(struct pattern_node *n, uint32_t min, uint32_t max, bool greedy)
{
    n->min = min;
    n->max = max;
    n->greedy = greedy;
}

/* Oniguruma's table of quantifiers on quantifiers (its ReduceQTypeTable). */
static struct pattern_node *reduce(struct pattern_node *outer)
{
    enum { ASIS, DEL, A, AQ, QQ, P_QQ };
    static const uint8_t table[6][6] = {
        {DEL, A, A, QQ, AQ, ASIS},  {DEL, DEL, DEL, P_QQ, P_QQ, DEL}, {A, A, DEL, ASIS, P_QQ, DEL},
        {DEL, AQ, AQ, DEL, AQ, AQ}, {DEL, DEL, DEL, DEL, DEL, DEL},   {ASIS, A, DEL, AQ, AQ, DEL},
    };
    struct pattern_node *inner = outer->items[0];
    if (inner->kind != NODE_REPEAT) return outer;
    int o = simple_kind(outer), i = simple_kind(inner);
    if (o < 0 && (i == 1 || i == 2)) {
        if (outer->max != PATTERN_NO_LIMIT && outer->max > 1 && outer->greedy)
            outer->max = outer->min == 0 ? 1 : outer->min;
        return outer;
    }
    if (o < 0 || i < 0) {
        uint64_t product = (uint64_t)outer->min * inner->min;
        if (outer->min == outer->max && inner->min == inner->max && product <= PATTERN_MAX_COUNT) {
            outer->min = outer->max = (uint32_t)product;
            outer->items[0] = inner->items[0];
        }
        return outer;
    }
    switch (table[i][o]) {
    case DEL: return inner;
    case A: set_repeat(outer, 0, PATTERN_NO_LIMIT, true); break;
    case AQ: set_repeat(outer, 0, PATTERN_NO_LIMIT, false); break;
    case QQ: set_repeat(outer, 0, 1, false); break;
    case P_QQ:
        set_repeat(outer, 0, 1, false);
        set_repeat(inner, 1, PATTERN_NO_LIMIT, true);
        return outer;
    default: return outer;
    }
    outer->items[0] = inner->items[0];
    return outer;
}

static struct pattern_node *repeat(struct pattern_parse *p, struct pattern_node *body,
                                   struct quantifier q)
{
    bool onig = p->dialect == PATTERN_ONIGURUMA;
    if (onig && q.min == 1 && q.max == 1) return body;
    struct pattern_node *n = wrap(p, NODE_REPEAT, body);
    n->min = q.min;
    n->max = q.max;
    n->greedy = q.greedy;
    return onig ? reduce(n) : n;
}

/* ------------------------------------------------------------------ groups */

static int parse_alternatives(struct pattern_parse *p, struct pattern_node **out);

/* Behind the '<' or '\'' of a named group: the name, up to its end. */
static int parse_group_name(struct pattern_parse *p, char close, const char **name, size_t *size)
{
    const char *at = p->at;
    const char *end = memchr(at, close, (size_t)(p->end - at));
    if (!end || end == at) return pattern_refuse(p, at, "a group without its name");
    *name = at;
    *size = (size_t)(end - at);
    p->at = end + 1;
    return 0;
}

/* What a group holds, up to and with ')'. Options that it sets end with it. */
static int parse_joined(struct pattern_parse *p, const char *open, struct pattern_node **out)
{
    bool icase = p->icase, dotall = p->dotall, extended = p->extended, multiline = p->multiline;
    if (++p->depth > PATTERN_MAX_NEST) return pattern_refuse(p, open, "groups nested too deep");
    TRY(parse_alternatives(p, out));
    p->depth--;
    if (p->at == p->end) return pattern_refuse(p, open, "a group without ')'");
    p->at++;
    p->icase = icase;
    p->dotall = dotall;
    p->extended = extended;
    p->multiline = multiline;
    return 0;
}

/* The same where characters do not join those outside. */
static int parse_body(struct pattern_parse *p, const char *open, struct pattern_node **out)
{
    TRY(parse_joined(p, open, out));
    return pattern_case_run(p, *out, p->e);
}

static int parse_capture(struct pattern_parse *p, const char *open, const char *name, size_t size,
                         struct pattern_node **out)
{
    if (p->n_groups == PATTERN_MAX_GROUPS) return pattern_refuse(p, open, "too many groups");
    uint32_t number = ++p->n_groups;
    for (uint32_t i = 1; name && i < number; i++)
        if (p->names[i].size == size && memcmp(p->names[i].name, name, size) == 0)
            return pattern_refuse(p, open, "two groups of one name");
    p->names[number].name = name;
    p->names[number].size = size;
    struct pattern_node *body;
    TRY(parse_body(p, open, &body));
    *out = wrap(p, NODE_CAPTURE, body);
    (*out)->number = number;
    return 0;
}

/* The letters of (?imx-imx); up to the ')' or ':' that ends them. */
static int parse_options(struct pattern_parse *p, const char *open)
{
    bool on = true, onig = p->dialect == PATTERN_ONIGURUMA;
    for (; p->at < p->end && *p->at != ')' && *p->at != ':'; p->at++) {
        char c = *p->at;
        if (c == '-' && on)
            on = false;
        else if (c == 'i')
            p->icase = on;
        else if (c == 'x')
            p->extended = on;
        else if (c == (onig ? 'm' : 's'))
            p->dotall = on;
        else if (c == 'm')
            p->multiline = on;
        else
            return pattern_refuse(p, open, "a group that is not supported");
    }
    return p->at == p->end ? pattern_refuse(p, open, "a group without ')'") : 0;
}

/* (?i) alone, *node NULL, holds to the end of its group: in Oniguruma the alternatives that follow
 * belong to it, in Rust they do not. */
static int parse_option_group(struct pattern_parse *p, const char *open, struct pattern_node **node)
{
    bool icase = p->icase, dotall = p->dotall, extended = p->extended, multiline = p->multiline;
    TRY(parse_options(p, open));
    if (*p->at++ == ')') {
        *node = NULL;
        if (p->dialect == PATTERN_TIKTOKEN) return 0;
        if (++p->depth > PATTERN_MAX_NEST) return pattern_refuse(p, open, "groups nested too deep");
        TRY(parse_alternatives(p, node));
        TRY(pattern_case_run(p, *node, p->e));
        p->depth--;
    } else {
        TRY(parse_body(p, open, node));
    }
    p->icase = icase;
    p->dotall = dotall;
    p->extended = extended;
    p->multiline = multiline;
    return 0;
}

static int parse_look(struct pattern_parse *p, const char *open, bool behind,
                      struct pattern_node **out)
{
    bool negative = *p->at++ == '!';
    struct pattern_node *body;
    TRY(parse_body(p, open, &body));
    *out = wrap(p, NODE_LOOK, body);
    (*out)->behind = behind;
    (*out)->at = open;
    (*out)->negative = negative;
    return 0;
}

/* "(?#...)": p->at behind the '#'. */
static int parse_comment(struct pattern_parse *p, const char *open)
{
    while (p->at < p->end && *p->at != ')')
        p->at += *p->at == '\\' && p->end - p->at > 1 ? 2 : 1;
    if (p->at == p->end) return pattern_refuse(p, open, "a comment without ')'");
    p->at++;
    return 0;
}

/* p->at behind '('. *out NULL: nothing to add. */
static int parse_group(struct pattern_parse *p, struct pattern_node **out)
{
    const char *open = p->at - 1, *name;
    bool onig = p->dialect == PATTERN_ONIGURUMA;
    size_t size;
    *out = NULL;
    if (p->at < p->end && *p->at == '*' && onig)
        return pattern_refuse(p, open, "a group that is not supported");
    if (p->at == p->end || *p->at != '?') {
        if (!p->named) return parse_capture(p, open, NULL, 0, out);
        TRY(parse_joined(p, open, out));
        (*out)->joined = true;
        return 0;
    }
    p->at++;
    char c = p->at < p->end ? *p->at : '\0', next = p->end - p->at > 1 ? p->at[1] : '\0';
    if (c == ':') {
        p->at++;
        TRY(parse_joined(p, open, out));
        (*out)->joined = true;
        return 0;
    }
    if (c == '=' || c == '!') return parse_look(p, open, false, out);
    if (c == '<' && (next == '=' || next == '!')) {
        p->at++;
        return parse_look(p, open, true, out);
    }
    if (c == '>') {
        struct pattern_node *body;
        p->at++;
        TRY(parse_body(p, open, &body));
        *out = wrap(p, NODE_ATOMIC, body);
        return 0;
    }
    if (c == '#' && onig) {
        p->at++;
        return parse_comment(p, open);
    }
    if (c == '<' || (c == '\'' && onig) || (c == 'P' && next == '<' && !onig)) {
        p->at += c == 'P' ? 2 : 1;
        TRY(parse_group_name(p, c == '\'' ? '\'' : '>', &name, &size));
        return parse_capture(p, open, name, size, out);
    }
    return parse_option_group(p, open, out);
}

/* ------------------------------------------------------------------ atoms */

static struct pattern_node *anchor(struct pattern_parse *p, enum pattern_anchor which)
{
    struct pattern_node *n = pattern_node(p, NODE_ANCHOR);
    n->number = which;
    return n;
}

/* \1 to \9, \k<name>, \k<1>; p->at on what follows the backslash. */
static int parse_backref(struct pattern_parse *p, struct pattern_node **out)
{
    const char *at = p->at - 1, *name;
    uint64_t number = 0;
    size_t size, digits;
    if (*p->at == 'k') {
        char open = p->end - p->at > 1 ? p->at[1] : '\0';
        if (open != '<' && open != '\'') return pattern_refuse(p, at, "a reference to no group");
        p->at += 2;
        TRY(parse_group_name(p, open == '<' ? '>' : '\'', &name, &size));
        digits = digits_parse(name, size, &number);
        for (uint32_t i = 1; i <= p->n_groups && !digits; i++)
            if (p->names[i].size == size && memcmp(p->names[i].name, name, size) == 0) number = i;
    } else {
        digits = digits_parse(p->at, (size_t)(p->end - p->at), &number);
        p->at += digits;
    }
    if (digits && p->named) return pattern_refuse(p, at, "a number for a named group");
    if (number < 1 || number > p->n_groups)
        return pattern_refuse(p, at, "a reference to a group that is not before it");
    if (p->icase) return pattern_refuse(p, at, "a reference without regard to case");
    *out = pattern_node(p, NODE_BACKREF);
    (*out)->number = (uint32_t)number;
    return 0;
}

/* (?>\r\n|[\n-\r\x85\x{2028}\x{2029}]) */
static struct pattern_node *any_line_end(struct pattern_parse *p)
{
    struct unicode_set s = {0};
    struct pattern_node *either = pattern_node(p, NODE_ALT), *both = pattern_node(p, NODE_CAT);
    unicode_set_add(&s, '\n', '\r');
    unicode_set_add(&s, 0x85, 0x85);
    unicode_set_add(&s, 0x2028, 0x2029);
    for (int i = 0; i < 2; i++) {
        struct pattern_node *c = pattern_node(p, NODE_CHAR);
        c->cp = i ? '\n' : '\r';
        pattern_node_add(p, both, c);
    }
    pattern_node_add(p, either, both);
    pattern_node_add(p, either, pattern_node_set(p, &s));
    return wrap(p, NODE_ATOMIC, either);
}

static struct pattern_node *character(struct pattern_parse *p, uint32_t cp)
{
    struct pattern_node *n = pattern_node(p, NODE_CHAR);
    n->cp = cp;
    n->icase = p->icase;
    return n;
}

/* p->at behind the backslash. */
static int parse_escape(struct pattern_parse *p, struct pattern_node **out)
{
    static const struct {
        char letter;
        enum pattern_anchor anchor;
    } anchors[] = {
        {'A', ANCHOR_TEXT_BEGIN}, {'z', ANCHOR_TEXT_END}, {'Z', ANCHOR_TEXT_END_NEWLINE},
        {'b', ANCHOR_WORD},       {'B', ANCHOR_NOT_WORD}, {'G', ANCHOR_SEARCH_BEGIN},
    };
    char c = p->at < p->end ? *p->at : '\0';
    bool onig = p->dialect == PATTERN_ONIGURUMA;
    for (size_t i = 0; i < ARRAY_LEN(anchors); i++)
        if (anchors[i].letter == c) {
            p->at++;
            *out = anchor(p, anchors[i].anchor);
            return 0;
        }
    if ((c >= '1' && c <= '9') || c == 'k') return parse_backref(p, out);
    if (c == 'R' && onig) {
        p->at++;
        *out = any_line_end(p);
        return 0;
    }
    if (c == 'K' && onig) {
        if (p->depth) return pattern_refuse(p, p->at - 1, "\\K inside a group");
        p->at++;
        *out = pattern_node(p, NODE_KEEP);
        return 0;
    }
    struct unicode_set s = {0};
    int rc = pattern_parse_many(p, false, &s);
    if (rc > 0)
        *out = pattern_node_set(p, &s);
    else
        unicode_set_fini(&s);
    if (rc != 0) return MIN(rc, 0);
    uint32_t cp;
    TRY(pattern_parse_one(p, false, &cp));
    *out = character(p, cp);
    return 0;
}

static int parse_atom(struct pattern_parse *p, struct pattern_node **out)
{
    bool onig = p->dialect == PATTERN_ONIGURUMA;
    uint32_t cp;
    switch (*p->at) {
    case '(': p->at++; return parse_group(p, out);
    case '[': p->at++; return pattern_parse_class(p, out);
    case '\\': p->at++; return parse_escape(p, out);
    case '^':
        p->at++;
        *out = anchor(p, onig || p->multiline ? ANCHOR_LINE_BEGIN : ANCHOR_TEXT_BEGIN);
        return 0;
    case '$':
        p->at++;
        *out = anchor(p, onig || p->multiline ? ANCHOR_LINE_END : ANCHOR_TEXT_END);
        return 0;
    case '.': {
        struct unicode_set s = {0};
        p->at++;
        if (!p->dotall) unicode_set_add(&s, '\n', '\n');
        unicode_set_complement(&s);
        *out = pattern_node_set(p, &s);
        return 0;
    }
    case '\0': return pattern_refuse(p, p->at, "a zero byte");
    default:
        p->at += utf8_decode(p->at, (size_t)(p->end - p->at), &cp);
        *out = character(p, cp);
        return 0;
    }
}

/* ------------------------------------------------------------------ branches */

/* (?x): white space and comments mean nothing. */
static void skip_extended(struct pattern_parse *p)
{
    while (p->extended && p->at < p->end) {
        if (byte_is_space(*p->at)) {
            p->at++;
        } else if (*p->at == '#') {
            while (p->at < p->end && *p->at != '\n')
                p->at++;
        } else {
            return;
        }
    }
}

/* Adds a node, and what a group that joins holds one by one. */
static void add_joined(struct pattern_parse *p, struct pattern_node *list,
                       struct pattern_node *node)
{
    if (node->joined && node->kind == NODE_CAT)
        for (size_t i = 0; i < node->n_items; i++)
            pattern_node_add(p, list, node->items[i]);
    else
        pattern_node_add(p, list, node);
}

/* An atom and its quantifiers. */
static int parse_piece(struct pattern_parse *p, struct pattern_node *list)
{
    struct quantifier q;
    struct pattern_node *node = NULL;
    const char *at = p->at;
    int rc = parse_quantifier(p, &q);
    if (rc < 0) return rc;
    if (rc > 0) return pattern_refuse(p, at, "a quantifier with nothing before it");
    TRY(parse_atom(p, &node));
    if (!node) return 0;
    for (;;) {
        skip_extended(p);
        at = p->at;
        rc = parse_quantifier(p, &q);
        if (rc < 0) return rc;
        if (rc == 0) break;
        if (node->kind == NODE_ANCHOR || node->kind == NODE_LOOK || node->kind == NODE_KEEP)
            return pattern_refuse(p, at, "a quantifier of what takes no character");
        if (node->joined && node->kind == NODE_CAT && pattern_case_run(p, node, p->e) < 0)
            return ERROR_FAILED;
        node->joined = false;
        if (node->kind == NODE_CHAR && node->icase) node = pattern_case_char(p, node->cp);
        node = repeat(p, node, q);
        if (q.possessive) node = wrap(p, NODE_ATOMIC, node);
    }
    add_joined(p, list, node);
    return 0;
}

static int parse_branch(struct pattern_parse *p, struct pattern_node **out)
{
    struct pattern_node *list = pattern_node(p, NODE_CAT);
    for (;;) {
        skip_extended(p);
        if (p->at == p->end || *p->at == '|' || *p->at == ')') break;
        if (p->n_nodes > PATTERN_MAX_OPS) return pattern_refuse(p, p->at, "too much");
        TRY(parse_piece(p, list));
    }
    *out = list;
    return 0;
}

static int parse_alternatives(struct pattern_parse *p, struct pattern_node **out)
{
    struct pattern_node *branch = NULL, *list = NULL;
    for (;;) {
        TRY(parse_branch(p, &branch));
        bool more = p->at < p->end && *p->at == '|';
        if (!list && !more) {
            *out = branch;
            return 0;
        }
        if (pattern_case_run(p, branch, p->e) < 0) return ERROR_FAILED;
        if (!list) list = pattern_node(p, NODE_ALT);
        pattern_node_add(p, list, branch);
        if (!more) break;
        p->at++;
    }
    *out = list;
    return 0;
}

/* Named groups are looked for first: then '(' alone does not capture. */
static bool has_named_groups(const struct pattern_parse *p)
{
    bool in_class = false;
    for (const char *c = p->start; p->end - c > 3; c++) {
        if (*c == '\\') {
            c++;
        } else if (in_class) {
            in_class = *c != ']';
        } else if (*c == '[') {
            in_class = true;
        } else if (c[0] == '(' && c[1] == '?' &&
                   (c[2] == '\'' || (c[2] == '<' && c[3] != '=' && c[3] != '!'))) {
            return p->dialect == PATTERN_ONIGURUMA;
        }
    }
    return false;
}

int pattern_parse(struct pattern_parse *p, struct pattern_node **out)
{
    size_t valid = utf8_valid_size(p->start, (size_t)(p->end - p->start));
    if (p->start + valid < p->end)
        return pattern_refuse(p, p->start + valid, "a byte that is not UTF-8");
    p->at = p->start;
    p->named = has_named_groups(p);
    TRY(parse_alternatives(p, out));
    if (p->at < p->end) return pattern_refuse(p, p->at, "a ')' without its '('");
    return (*out)->kind == NODE_CAT ? pattern_case_run(p, *out, p->e) : 0;
}
