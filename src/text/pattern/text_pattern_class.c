/* text_pattern_class.c: escapes, and what stands in brackets.
 *
 * Oniguruma's rules: '&&' is an intersection of all that stands on its two sides, classes nest, '^'
 * holds for the whole of its bracket, '[:name:]' names, '-' is itself where it can be no range.
 * \w, \p{Word} and \b count six numbers of Latin-1 as letters where they stand outside of brackets;
 * that is an accident of Oniguruma's tables, but ids follow it. */
#include "text/pattern/text_pattern_internal.h"

static bool is_letter(char c)
{
    return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
}

/* ------------------------------------------------------------------ escapes of many */

static void add_word(struct pattern_parse *p, bool in_class, struct unicode_set *s)
{
    unicode_set_add_property(s, "word", 4);
    if (p->dialect == PATTERN_TIKTOKEN) {
        unicode_set_add(s, 0x200c, 0x200d);
    } else if (!in_class) {
        unicode_set_add(s, 0xb2, 0xb3);
        unicode_set_add(s, 0xb9, 0xb9);
        unicode_set_add(s, 0xbc, 0xbe);
    }
}

/* "{Name}" or "{^Name}" behind \p or \P. */
static int parse_property(struct pattern_parse *p, bool in_class, struct unicode_set *s)
{
    bool negative = p->at[0] == 'P';
    const char *at = p->at - 1, *name = p->at + 2;
    const char *close = memchr(name, '}', (size_t)(p->end - name));
    if (!close) return pattern_refuse(p, at, "a property without '}'");
    if (name < close && *name == '^' && p->dialect == PATTERN_ONIGURUMA) {
        negative = !negative;
        name++;
    }
    size_t size = (size_t)(close - name);
    struct unicode_set found = {0};
    bool known = unicode_set_add_property(&found, name, size);
    if (!known) {
        char what[96];
        snprintf(what, sizeof(what), "an unknown property '%.*s'", (int)MIN(size, 40), name);
        unicode_set_fini(&found);
        return pattern_refuse(p, at, what);
    }
    if (size == 4 && strncasecmp(name, "word", 4) == 0) add_word(p, in_class, &found);
    if (negative) unicode_set_complement(&found);
    unicode_set_union(s, &found);
    unicode_set_fini(&found);
    p->at = close + 1;
    return 1;
}

int pattern_parse_many(struct pattern_parse *p, bool in_class, struct unicode_set *s)
{
    struct unicode_set found = {0};
    char c = p->at < p->end ? *p->at : '\0';
    bool onig = p->dialect == PATTERN_ONIGURUMA;
    if ((c == 'p' || c == 'P') && p->end - p->at > 1 && p->at[1] == '{')
        return parse_property(p, in_class, s);
    if (!onig && (c == 'p' || c == 'P')) { /* Rust takes one letter */
        if (p->end - p->at < 2 || !unicode_set_add_property(&found, p->at + 1, 1))
            return pattern_refuse(p, p->at - 1, "a property that is not known");
        if (c == 'P') unicode_set_complement(&found);
        p->at++;
    } else if (c == 'd' || c == 'D') {
        unicode_set_add_property(&found, "Nd", 2);
    } else if (c == 's' || c == 'S') {
        unicode_set_add_spaces(&found);
    } else if (c == 'w' || c == 'W') {
        add_word(p, in_class, &found);
    } else if (c == 'h' || c == 'H') {
        unicode_set_add_property(&found, "xdigit", 6);
    } else if (!in_class && onig && (c == 'N' || c == 'O')) {
        unicode_set_add(&found, '\n', '\n');
        if (c == 'O') unicode_set_fini(&found);
        unicode_set_complement(&found);
    } else {
        return 0;
    }
    if (c == 'D' || c == 'S' || c == 'W' || c == 'H') unicode_set_complement(&found);
    unicode_set_union(s, &found);
    unicode_set_fini(&found);
    p->at++;
    return 1;
}

/* ------------------------------------------------------------------ escapes of one */

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Up to `most` digits of hexadecimal; how many were there. */
static size_t parse_hex(struct pattern_parse *p, size_t most, uint32_t *value)
{
    size_t n = 0;
    *value = 0;
    for (; n < most && p->at < p->end && hex_value(*p->at) >= 0; n++)
        *value = *value << 4 | (uint32_t)hex_value(*p->at++);
    return n;
}

/* \xHH, \x{H...}, \uHHHH; p->at behind the letter. */
static int parse_code(struct pattern_parse *p, char letter, uint32_t *cp)
{
    const char *at = p->at - 2;
    bool braces = letter == 'x' && p->at < p->end && *p->at == '{';
    if (braces) p->at++;
    size_t most = braces ? 8 : letter == 'x' ? 2 : 4;
    size_t n = parse_hex(p, most, cp);
    if (!n || (letter == 'u' && n != 4)) return pattern_refuse(p, at, "a code without its digits");
    if (braces && (p->at == p->end || *p->at++ != '}'))
        return pattern_refuse(p, at, "a code that is not one number");
    if (*cp >= UNICODE_POINTS || (*cp >= 0xd800 && *cp < 0xe000))
        return pattern_refuse(p, at, "a code that is no character");
    if (letter == 'x' && !braces && *cp >= 0x80 && p->dialect == PATTERN_ONIGURUMA)
        return pattern_refuse(p, at, "a byte that is no character: write \\x{..}");
    return 0;
}

int pattern_parse_one(struct pattern_parse *p, bool in_class, uint32_t *cp)
{
    static const char letters[] = "abefnrtv", means[] = "\a\b\033\f\n\r\t\v";
    const char *at = p->at - 1;
    if (p->at == p->end) return pattern_refuse(p, at, "a backslash at its end");
    char c = *p->at;
    if (c == 'x' || c == 'u') {
        p->at++;
        return parse_code(p, c, cp);
    }
    if (c == 'b' && !in_class) return pattern_refuse(p, at, "an escape that is not supported");
    const char *known = c ? strchr(letters, c) : NULL;
    if (known) {
        *cp = (uint8_t)means[known - letters];
        p->at++;
        return 0;
    }
    if (c == '0' && (p->end - p->at < 2 || p->at[1] < '0' || p->at[1] > '9')) {
        *cp = 0;
        p->at++;
        return 0;
    }
    /* Oniguruma takes a letter that is no escape for itself; Rust does not. */
    bool meant = is_letter(c) && (p->dialect == PATTERN_TIKTOKEN || strchr("ABCGKMRXYZcgkoyz", c));
    if (meant || (c >= '0' && c <= '9'))
        return pattern_refuse(p, at, "an escape that is not supported");
    p->at += utf8_decode(p->at, (size_t)(p->end - p->at), cp);
    return 0;
}

/* ------------------------------------------------------------------ brackets */

/* "[:name:]" or "[:^name:]", p->at behind "[:". */
static int parse_posix(struct pattern_parse *p, struct unicode_set *s)
{
    const char *at = p->at - 2;
    bool negative = p->at < p->end && *p->at == '^';
    if (negative) p->at++;
    const char *name = p->at;
    while (p->at < p->end && is_letter(*p->at))
        p->at++;
    struct unicode_set found = {0};
    bool known = p->end - p->at >= 2 && p->at[0] == ':' && p->at[1] == ']' &&
                 unicode_set_add_posix(&found, name, (size_t)(p->at - name));
    if (known && negative) unicode_set_complement(&found);
    unicode_set_union(s, &found);
    unicode_set_fini(&found);
    if (!known) return pattern_refuse(p, at, "an unknown POSIX class");
    p->at += 2;
    return 0;
}

/* One character of a class, written or escaped. */
static int parse_class_char(struct pattern_parse *p, uint32_t *cp)
{
    if (*p->at == '\\') {
        p->at++;
        return pattern_parse_one(p, true, cp);
    }
    p->at += utf8_decode(p->at, (size_t)(p->end - p->at), cp);
    return 0;
}

/* A character, or a range that begins with it. */
static int parse_range(struct pattern_parse *p, struct unicode_set *s)
{
    const char *at = p->at;
    uint32_t first, last;
    TRY(parse_class_char(p, &first));
    last = first;
    if (p->end - p->at >= 2 && p->at[0] == '-' && p->at[1] != ']') {
        p->at++;
        bool escape = *p->at == '\\';
        struct unicode_set many = {0};
        if (escape) p->at++;
        int rc = escape ? pattern_parse_many(p, true, &many) : 0;
        unicode_set_fini(&many);
        if (rc != 0 || *p->at == '[' || (p->end - p->at > 1 && p->at[0] == '&' && p->at[1] == '&'))
            return rc < 0 ? rc
                          : pattern_refuse(p, at, "a range that does not end with a character");
        if (escape) p->at--;
        TRY(parse_class_char(p, &last));
        if (last < first) return pattern_refuse(p, at, "a range that is out of order");
        /* Rust knows '-' behind a range only as the last character; Oniguruma takes it for itself,
         * and what follows for a character of its own. */
        if (p->end - p->at >= 2 && p->at[0] == '-' && p->at[1] != ']') {
            if (p->dialect == PATTERN_TIKTOKEN || (p->end - p->at >= 3 && p->at[1] == '-'))
                return pattern_refuse(p, at, "a range of a range");
            unicode_set_add(s, '-', '-');
            p->at++;
        }
    }
    unicode_set_add(s, first, last);
    return 0;
}

static int parse_set(struct pattern_parse *p, struct unicode_set *s, bool *negative);

/* One item of a class. */
static int parse_item(struct pattern_parse *p, struct unicode_set *s)
{
    if (*p->at == '[') {
        const char *at = p->at++;
        if (p->at < p->end && *p->at == ':') {
            p->at++;
            return parse_posix(p, s);
        }
        struct unicode_set inner = {0};
        bool negative;
        if (++p->depth > PATTERN_MAX_NEST) return pattern_refuse(p, at, "too many nested classes");
        int rc = parse_set(p, &inner, &negative);
        p->depth--;
        if (rc == 0 && negative) unicode_set_complement(&inner);
        if (rc == 0) unicode_set_union(s, &inner);
        unicode_set_fini(&inner);
        return rc;
    }
    if (*p->at == '\\') {
        p->at++;
        int rc = pattern_parse_many(p, true, s);
        if (rc < 0) return rc;
        if (rc > 0) {
            if (p->end - p->at >= 2 && p->at[0] == '-' && p->at[1] != ']')
                return pattern_refuse(p, p->at, "a range that does not begin with a character");
            return 0;
        }
        p->at--;
    }
    if (p->dialect == PATTERN_TIKTOKEN && p->end - p->at >= 2 && p->at[0] == p->at[1] &&
        (*p->at == '-' || *p->at == '~'))
        return pattern_refuse(p, p->at, "a difference of classes");
    return parse_range(p, s);
}

/* Up to and with ']'. The set is without the complement that '^' asks for. */
static int parse_set(struct pattern_parse *p, struct unicode_set *s, bool *negative)
{
    const char *open = p->at - 1;
    struct unicode_set both = {0}; /* what stood before the last '&&' */
    bool any_and = false, empty = true;
    int rc = 0;
    *negative = p->at < p->end && *p->at == '^';
    if (*negative) p->at++;
    if (p->at < p->end && *p->at == ']') return pattern_refuse(p, open, "an empty class");
    while (rc == 0 && p->at < p->end && *p->at != ']') {
        if (p->end - p->at >= 2 && p->at[0] == '&' && p->at[1] == '&') {
            if (empty) {
                rc = pattern_refuse(p, p->at, "'&&' with nothing before it");
                break;
            }
            if (any_and) unicode_set_intersect(s, &both);
            unicode_set_fini(&both);
            both = *s;
            *s = (struct unicode_set){0};
            any_and = empty = true;
            p->at += 2;
            continue;
        }
        rc = parse_item(p, s);
        empty = false;
    }
    if (rc == 0 && p->at == p->end) rc = pattern_refuse(p, open, "a class without ']'");
    if (rc == 0 && empty) rc = pattern_refuse(p, p->at, "'&&' with nothing behind it");
    if (rc == 0 && any_and) unicode_set_intersect(s, &both);
    unicode_set_fini(&both);
    if (rc == 0) p->at++;
    return rc;
}

int pattern_parse_class(struct pattern_parse *p, struct pattern_node **out)
{
    struct unicode_set s = {0};
    bool negative;
    int rc = parse_set(p, &s, &negative);
    if (rc < 0) {
        unicode_set_fini(&s);
        return rc;
    }
    if (p->icase) pattern_case_close(&s);
    if (negative) unicode_set_complement(&s);
    *out = pattern_node_set(p, &s);
    if (p->icase && !negative && p->dialect == PATTERN_ONIGURUMA)
        *out = pattern_case_class(p, *out);
    return 0;
}
