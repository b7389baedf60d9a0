/* serve_schema_text.c: the small parts that JSON is made of: characters of strings, numbers in
 * ranges, and regular expressions. */
#include "serve/grammar/serve_grammar_internal.h"

#include <string.h>

/* ------------------------------------------------------------------ characters */

/* UTF-8 of more than one byte (RFC 3629, section 4). */
static const struct gnode *long_characters(grammar_t *g)
{
    const struct gnode *tail = grammar_range(g, 0x80, 0xbf);
    return GRAMMAR_ANY(
        g, GRAMMAR_ALL(g, grammar_range(g, 0xc2, 0xdf), tail),
        GRAMMAR_ALL(g, grammar_range(g, 0xe0, 0xe0), grammar_range(g, 0xa0, 0xbf), tail),
        GRAMMAR_ALL(g, grammar_range(g, 0xe1, 0xec), tail, tail),
        GRAMMAR_ALL(g, grammar_range(g, 0xed, 0xed), grammar_range(g, 0x80, 0x9f), tail),
        GRAMMAR_ALL(g, grammar_range(g, 0xee, 0xef), tail, tail),
        GRAMMAR_ALL(g, grammar_range(g, 0xf0, 0xf0), grammar_range(g, 0x90, 0xbf), tail, tail),
        GRAMMAR_ALL(g, grammar_range(g, 0xf1, 0xf3), tail, tail, tail),
        GRAMMAR_ALL(g, grammar_range(g, 0xf4, 0xf4), grammar_range(g, 0x80, 0x8f), tail, tail));
}

/* A character of a string, raw or as an escape; no half of a pair. */
static const struct gnode *any_character(grammar_t *g)
{
    const struct gnode *hex = grammar_bytes(g, "0123456789abcdefABCDEF");
    const struct gnode *not_d = grammar_bytes(g, "0123456789abcefABCEF");
    const struct gnode *low = grammar_bytes(g, "01234567");
    const struct gnode *four = GRAMMAR_ANY(g, GRAMMAR_ALL(g, not_d, hex, hex, hex),
                                           GRAMMAR_ALL(g, grammar_bytes(g, "dD"), low, hex, hex));
    return GRAMMAR_ANY(g, grammar_range(g, 0x20, 0x21), grammar_range(g, 0x23, 0x5b),
                       grammar_range(g, 0x5d, 0x7f), long_characters(g),
                       GRAMMAR_ALL(g, grammar_text(g, "\\"),
                                   GRAMMAR_ANY(g, grammar_bytes(g, "\"\\/bfnrt"),
                                               GRAMMAR_ALL(g, grammar_text(g, "u"), four))));
}

/* ------------------------------------------------------------------ numbers */

static const struct gnode *digits(grammar_t *g, uint32_t min, uint32_t max)
{
    return grammar_repeat(g, grammar_range(g, '0', '9'), min, max);
}

static const struct gnode *whole_number(grammar_t *g)
{
    return GRAMMAR_ALL(g, grammar_repeat(g, grammar_text(g, "-"), 0, 1),
                       GRAMMAR_ANY(g, grammar_text(g, "0"),
                                   GRAMMAR_ALL(g, grammar_range(g, '1', '9'), digits(g, 0, 14))));
}

static const struct gnode *any_number(grammar_t *g)
{
    return GRAMMAR_ALL(
        g, whole_number(g),
        grammar_repeat(g, GRAMMAR_ALL(g, grammar_text(g, "."), digits(g, 1, 16)), 0, 1),
        grammar_repeat(g,
                       GRAMMAR_ALL(g, grammar_bytes(g, "eE"),
                                   grammar_repeat(g, grammar_bytes(g, "+-"), 0, 1),
                                   grammar_range(g, '1', '9'), digits(g, 0, 1)),
                       0, 1));
}

/* Numbers of n digits from a to b, digit by digit. */
static const struct gnode *same_length(grammar_t *g, const char *a, const char *b, uint32_t n)
{
    if (n == 0) return grammar_text(g, "");
    const struct gnode *any[3];
    size_t count = 0;
    if (a[0] == b[0])
        return GRAMMAR_ALL(g, grammar_range(g, (unsigned char)a[0], (unsigned char)a[0]),
                           same_length(g, a + 1, b + 1, n - 1));
    static const char nines[] = "9999999999999999", zeros[] = "0000000000000000";
    any[count++] = GRAMMAR_ALL(g, grammar_range(g, (unsigned char)a[0], (unsigned char)a[0]),
                               same_length(g, a + 1, nines, n - 1));
    if (b[0] - a[0] > 1)
        any[count++] =
            GRAMMAR_ALL(g, grammar_range(g, (unsigned char)(a[0] + 1), (unsigned char)(b[0] - 1)),
                        digits(g, n - 1, n - 1));
    any[count++] = GRAMMAR_ALL(g, grammar_range(g, (unsigned char)b[0], (unsigned char)b[0]),
                               same_length(g, zeros, b + 1, n - 1));
    return grammar_any(g, count, any);
}

/* 0 <= least <= most */
static const struct gnode *positive(grammar_t *g, int64_t least, int64_t most)
{
    const struct gnode *any[16];
    size_t count = 0;
    for (uint32_t n = 1; n <= 16; n++) {
        int64_t from = 1, to;
        char a[24], b[24];
        for (uint32_t i = 1; i < n; i++)
            from *= 10;
        to = from * 10 - 1;
        if (n == 1) from = 0;
        from = MAX(from, least);
        to = MIN(to, most);
        if (from > to) continue;
        snprintf(a, sizeof(a), "%lld", (long long)from);
        snprintf(b, sizeof(b), "%lld", (long long)to);
        any[count++] = same_length(g, a, b, n);
    }
    return grammar_any(g, count, any);
}

const struct gnode *schema_whole(grammar_t *g, int64_t least, int64_t most)
{
    const struct gnode *any[2];
    size_t count = 0;
    if (most >= 0) any[count++] = positive(g, MAX(least, 0), most);
    if (least < 0)
        any[count++] = GRAMMAR_ALL(g, grammar_text(g, "-"), positive(g, MAX(-most, 1), -least));
    return grammar_any(g, count, any);
}

/* ------------------------------------------------------------------ shared */

void schema_share(grammar_t *g, struct schema_shared *s)
{
    struct gnode *value = grammar_ref(g);
    s->value = value;
    s->space = grammar_repeat(g, grammar_text(g, " "), 0, 1);
    s->character = any_character(g);
    s->string = GRAMMAR_ALL(g, grammar_text(g, "\""),
                            grammar_repeat(g, s->character, 0, UINT32_MAX), grammar_text(g, "\""));
    s->integer = whole_number(g);
    s->number = any_number(g);
    const struct gnode *comma = GRAMMAR_ALL(g, grammar_text(g, ","), s->space);
    const struct gnode *member =
        GRAMMAR_ALL(g, s->string, grammar_text(g, ":"), s->space, s->value);
    s->object = GRAMMAR_ALL(
        g, grammar_text(g, "{"),
        grammar_repeat(
            g,
            GRAMMAR_ALL(g, member, grammar_repeat(g, GRAMMAR_ALL(g, comma, member), 0, UINT32_MAX)),
            0, 1),
        grammar_text(g, "}"));
    const struct gnode *array =
        GRAMMAR_ALL(g, grammar_text(g, "["),
                    grammar_repeat(g,
                                   GRAMMAR_ALL(g, s->value,
                                               grammar_repeat(g, GRAMMAR_ALL(g, comma, s->value), 0,
                                                              UINT32_MAX)),
                                   0, 1),
                    grammar_text(g, "]"));
    value->target = GRAMMAR_ANY(g, s->object, array, s->string, s->number, grammar_text(g, "true"),
                                grammar_text(g, "false"), grammar_text(g, "null"));
}

/* ------------------------------------------------------------------ regular expressions */

enum { MAX_PATTERN = 4096, MAX_REPEAT = 10000, MAX_GROUPS = 50 };

struct regex {
    grammar_t *g;
    const char *p, *begin;
    int depth;
    struct error *e;
};
struct char_set { /* of ASCII; and whether all other characters are in it */
    uint32_t bits[4];
    bool others;
};

static const struct gnode *parse_choices(struct regex *r, bool top);

static const struct gnode *refuse(struct regex *r, const char *what)
{
    error_set(r->e, "the pattern '%.80s': %s at character %d", r->begin, what,
              (int)(r->p - r->begin) + 1);
    return NULL;
}

static void set_range(struct char_set *s, int from, int to)
{
    for (int c = from; c <= to; c++)
        s->bits[c / 32] |= 1u << c % 32;
}

static void set_invert(struct char_set *s)
{
    for (int i = 0; i < 4; i++)
        s->bits[i] = ~s->bits[i];
    s->others = !s->others;
}

/* \d \w \s and the like; false: c is none of these. */
static bool set_class(struct char_set *s, char c)
{
    struct char_set k = {{0}, false};
    switch (c | 0x20) {
    case 'd': set_range(&k, '0', '9'); break;
    case 'w':
        set_range(&k, '0', '9');
        set_range(&k, 'a', 'z');
        set_range(&k, 'A', 'Z');
        set_range(&k, '_', '_');
        break;
    case 's':
        set_range(&k, 9, 13);
        set_range(&k, ' ', ' ');
        break;
    default: return false;
    }
    if (!(c & 0x20)) set_invert(&k);
    for (int i = 0; i < 4; i++)
        s->bits[i] |= k.bits[i];
    s->others = s->others || k.others;
    return true;
}

/* A set as it stands in a JSON string. */
static const struct gnode *set_node(grammar_t *g, const struct char_set *s)
{
    static const char names[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
    const struct gnode *any[12];
    size_t count = 0;
    char plain[129];
    size_t n = 0;
    for (int c = 0x20; c < 0x80; c++)
        if (s->bits[c / 32] >> c % 32 & 1 && c != '"' && c != '\\') plain[n++] = (char)c;
    plain[n] = '\0';
    if (n) any[count++] = grammar_bytes(g, plain);
    for (int i = 0; names[i]; i++) {
        int c = (unsigned char)names[i];
        const char text[3] = {'\\', letters[i], '\0'};
        if (s->bits[c / 32] >> c % 32 & 1) any[count++] = grammar_text(g, text);
    }
    if (s->others) any[count++] = long_characters(g);
    return count ? grammar_any(g, count, any) : NULL;
}

static int escaped_char(char c)
{
    static const char from[] = "nrtfv0", to[] = "\n\r\t\f\v";
    const char *at = strchr(from, c);
    if (c && at) return at - from < 5 ? to[at - from] : 0;
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    return letter || !c || (c & 0x80) ? -1 : c;
}

/* One character of a class; -1: an error, -2: a class of its own, which is in *s now. */
static int class_char(struct regex *r, struct char_set *s)
{
    char c = *r->p++;
    if (c == '\0' || c & (char)0x80) {
        r->p--;
        refuse(r, c ? "a class of characters beyond ASCII is not done" : "']' is missing");
        return -1;
    }
    if (c != '\\') return c;
    if (set_class(s, *r->p)) {
        r->p++;
        return -2;
    }
    int known = escaped_char(*r->p);
    if (known < 0) refuse(r, "an escape that is not done");
    if (known >= 0) r->p++;
    return known < 0 ? -1 : known;
}

/* Behind '['. */
static const struct gnode *parse_class(struct regex *r)
{
    struct char_set s = {{0}, false};
    bool invert = *r->p == '^';
    r->p += invert;
    while (*r->p != ']') {
        int from = class_char(r, &s), to = from;
        if (from == -1) return NULL;
        if (from == -2) continue;
        if (r->p[0] == '-' && r->p[1] && r->p[1] != ']') {
            r->p++;
            to = class_char(r, &s);
            if (to < from) return to == -1 ? NULL : refuse(r, "a range that runs backwards");
        }
        set_range(&s, from, to);
    }
    r->p++;
    if (invert) set_invert(&s);
    const struct gnode *n = set_node(r->g, &s);
    return n ? n : refuse(r, "a class without a character");
}

static const struct gnode *one_char(struct regex *r, int c)
{
    struct char_set s = {{0}, false};
    set_range(&s, c, c);
    const struct gnode *n = set_node(r->g, &s);
    return n ? n : refuse(r, "a character that strings cannot hold");
}

static const struct gnode *parse_group(struct regex *r)
{
    if (r->p[0] == '?') {
        if (r->p[1] != ':') return refuse(r, "look-around and named groups are not done");
        r->p += 2;
    }
    if (++r->depth > MAX_GROUPS) return refuse(r, "groups nested too deep");
    const struct gnode *n = parse_choices(r, false);
    r->depth--;
    if (!n) return NULL;
    if (*r->p != ')') return refuse(r, "')' is missing");
    r->p++;
    return n;
}

static const struct gnode *parse_escape(struct regex *r)
{
    struct char_set s = {{0}, false};
    if (set_class(&s, *r->p)) {
        r->p++;
        return set_node(r->g, &s);
    }
    int known = escaped_char(*r->p);
    if (known < 0) return refuse(r, "an escape that is not done");
    r->p++;
    return one_char(r, known);
}

static const struct gnode *parse_atom(struct regex *r)
{
    char c = *r->p++;
    if (c == '[') return parse_class(r);
    if (c == '(') return parse_group(r);
    if (c == '\\') return parse_escape(r);
    if (c == '.') {
        struct char_set s = {{0}, false};
        set_range(&s, '\n', '\n');
        set_range(&s, '\r', '\r');
        set_invert(&s);
        return set_node(r->g, &s);
    }
    if (strchr("*+?{}|^$)", c)) {
        r->p--;
        return refuse(r, c == '^' || c == '$' ? "an anchor in the middle is not done"
                                              : "a sign that repeats nothing");
    }
    if (!(c & (char)0x80)) return one_char(r, c);
    size_t n = 1;
    while ((r->p[n - 1] & 0xc0) == 0x80)
        n++;
    r->p += n - 1;
    return grammar_text_n(r->g, r->p - n, n);
}

static bool parse_number_at(struct regex *r, uint32_t *out)
{
    if (*r->p < '0' || *r->p > '9') return false;
    for (*out = 0; *r->p >= '0' && *r->p <= '9' && *out <= MAX_REPEAT; r->p++)
        *out = *out * 10 + (uint32_t)(*r->p - '0');
    return *out <= MAX_REPEAT;
}

static const struct gnode *parse_repeat(struct regex *r)
{
    const struct gnode *n = parse_atom(r);
    uint32_t min = 1, max = 1;
    if (!n) return NULL;
    char c = *r->p;
    if (c != '*' && c != '+' && c != '?' && c != '{') return n;
    r->p++;
    if (c == '{') {
        if (!parse_number_at(r, &min)) return refuse(r, "no number of times from 0 to 10000");
        max = min;
        if (*r->p == ',') {
            r->p++;
            max = UINT32_MAX;
            if (*r->p != '}' && (!parse_number_at(r, &max) || max < min))
                return refuse(r, "no number of times");
        }
        if (*r->p++ != '}') return refuse(r, "'}' is missing");
    } else {
        min = c == '+';
        max = c == '?' ? 1 : UINT32_MAX;
    }
    if (*r->p == '?') r->p++; /* which of several ways a text is found is all the same here */
    return grammar_repeat(r->g, n, min, max);
}

static bool ends_here(const struct regex *r, bool top)
{
    return *r->p == '\0' || *r->p == '|' || (*r->p == ')' && !top) ||
           (top && r->p[0] == '$' && (r->p[1] == '\0' || r->p[1] == '|'));
}

/* At the top an alternative without anchors may stand anywhere in the string. */
static const struct gnode *parse_sequence(struct regex *r, bool top)
{
    const struct gnode *parts[3] = {NULL, NULL, NULL}, *all = grammar_text(r->g, "");
    const struct gnode *anything = grammar_repeat(r->g, any_character(r->g), 0, UINT32_MAX);
    bool begins = top && *r->p == '^';
    r->p += begins;
    while (!ends_here(r, top)) {
        const struct gnode *n = parse_repeat(r);
        if (!n) return NULL;
        all = GRAMMAR_ALL(r->g, all, n);
    }
    bool ends = top && *r->p == '$';
    r->p += ends;
    if (!top) return all;
    parts[0] = begins ? grammar_text(r->g, "") : anything;
    parts[1] = all;
    parts[2] = ends ? grammar_text(r->g, "") : anything;
    return grammar_all(r->g, 3, parts);
}

static const struct gnode *parse_choices(struct regex *r, bool top)
{
    const struct gnode *any = parse_sequence(r, top);
    while (any && *r->p == '|') {
        r->p++;
        const struct gnode *n = parse_sequence(r, top);
        any = n ? GRAMMAR_ANY(r->g, any, n) : NULL;
    }
    return any;
}

const struct gnode *schema_pattern(grammar_t *g, const char *pattern, struct error *e)
{
    struct regex r = {.g = g, .p = pattern, .begin = pattern, .e = e};
    if (strlen(pattern) > MAX_PATTERN) {
        error_set(e, "a pattern of more than %d bytes", MAX_PATTERN);
        return NULL;
    }
    const struct gnode *n = parse_choices(&r, true);
    if (n && *r.p) return refuse(&r, "')' without '('");
    return n;
}
