/* text_corpus_json.c: finds one string in an object of JSON, and where an object ends.
 *
 * A tree of every line (jansson) costs about ten times what the tokenizer's other input costs, and
 * the corpus needs one string of each object. So this scanner walks the line once, builds nothing,
 * and returns a pointer into the line where the string has no escapes. It is as strict as a parser:
 * the whole line must be one valid object (RFC 8259: numbers, escapes, surrogate pairs, UTF-8),
 * because a line that is only nearly JSON means that the file is not what its owner thinks.
 *
 * Eight bytes of a string are looked at at once: the usual trick of finding zero bytes in a word
 * (Mycroft) on the word xor '"' and xor '\\', together with bytes below 0x20 and above 0x7f. */
#include "text/corpus/text_corpus_internal.h"

/* What stands between two quotes of the line, not copied. */
struct raw_string {
    const uint8_t *p;
    size_t size;
    bool escapes;
};

struct scanner {
    const uint8_t *p, *end;
    const char *problem; /* set once, where scanning stops at p */
    enum corpus_bad bad; /* its kind */
    const struct corpus_json_path *path;
    struct str *scratch;
    /* what was found */
    bool found;
    const char *found_kind; /* NULL: a string; else "a number", ...; "null" */
    const uint8_t *found_at;
    struct raw_string string;
};

static bool scan_value(struct scanner *s, int level, int depth);

int corpus_json_path_parse(const char *field, struct arena *a, struct corpus_json_path *path,
                           struct error *e)
{
    char *to = arena_alloc(a, strlen(field) + 1);
    *path = (struct corpus_json_path){.text = to, .literal = !strchr(field, '\\')};
    for (const char *p = field;; p++) {
        const char *name = to;
        for (; *p && *p != '.'; *to++ = *p++) {
            if (*p == '\\' && *++p != '.' && *p != '\\') {
                error_set_code(e, ERROR_USAGE,
                               "field '%s' has a backslash before something else "
                               "than a dot or a backslash",
                               field);
                return error_hint(e, "a backslash itself is written twice");
            }
        }
        if (to == name) {
            error_set_code(e, ERROR_USAGE, "field '%s' has an empty part", field);
            return error_hint(e, "write it as text or user.name");
        }
        if (path->n_levels == CORPUS_JSON_MAX_LEVELS)
            return error_set_code(e, ERROR_USAGE, "field '%s' has more than %d parts", field,
                                  CORPUS_JSON_MAX_LEVELS);
        path->names[path->n_levels] = name;
        path->sizes[path->n_levels++] = (size_t)(to - name);
        if (*p == '\0') break;
        *to++ = '.';
    }
    path->literal &= path->n_levels > 1;
    return 0;
}

char *corpus_json_path_quote(const char *key, struct arena *a)
{
    char *quoted = arena_alloc(a, 2 * strlen(key) + 1), *to = quoted;
    for (; *key; *to++ = *key++)
        if (*key == '.' || *key == '\\') *to++ = '\\';
    return quoted;
}

/* Keeps the first problem, which is the one at s->p; always false. */
static bool scan_bad(struct scanner *s, enum corpus_bad bad, const char *problem)
{
    if (!s->problem) {
        s->problem = problem;
        s->bad = bad;
    }
    return false;
}

static bool scan_fail(struct scanner *s, const char *problem)
{
    return scan_bad(s, CORPUS_BAD_JSON, problem);
}

/* What stands where no value can begin. Some of it has names. */
static bool scan_no_value(struct scanner *s)
{
    size_t left = (size_t)(s->end - s->p);
    const char *p = (const char *)s->p + (left > 0 && *s->p == '-');
    left = (size_t)((const char *)s->end - p);
    if ((left >= 3 && memcmp(p, "NaN", 3) == 0) || (left >= 8 && memcmp(p, "Infinity", 8) == 0))
        return scan_bad(s, CORPUS_BAD_NUMBER, "NaN and Infinity are no numbers of JSON");
    if (left >= 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0)
        return scan_bad(s, CORPUS_BAD_BOM, "a byte-order mark belongs only where a file begins");
    return scan_fail(s, "no value here");
}

static void scan_space(struct scanner *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\r' || *s->p == '\n'))
        s->p++;
}

/* Skips bytes of a string that need no attention. */
static const uint8_t *skip_plain(const uint8_t *p, const uint8_t *end)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), highs = ones * 0x80;
    while (end - p >= 8) {
        uint64_t word = bytes_load64(p);
        uint64_t quote = word ^ ones * '"', slash = word ^ ones * '\\';
        uint64_t stop = ((quote - ones) & ~quote) | ((slash - ones) & ~slash) |
                        ((word - ones * 0x20) & ~word) | word;
        stop &= highs;
        if (stop) return p + __builtin_ctzll(stop) / 8; /* little endian: the first one */
        p += 8;
    }
    while (p < end && *p >= 0x20 && *p < 0x80 && *p != '"' && *p != '\\')
        p++;
    return p;
}

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The four hex digits at p, or negative. */
static int32_t hex4(const uint8_t *p, const uint8_t *end)
{
    int32_t v = 0;
    if (end - p < 4) return -1;
    for (int i = 0; i < 4; i++) {
        int h = hex_value(p[i]);
        if (h < 0) return -1;
        v = v * 16 + h;
    }
    return v;
}

/* Code point of the escape \u.... whose 'u' is at p, a surrogate pair taken as one; *size is what
 * follows the backslash. Negative: not valid. */
static int32_t unicode_escape(const uint8_t *p, const uint8_t *end, size_t *size)
{
    int32_t v = hex4(p + 1, end);
    *size = 5;
    if (v < 0xd800 || v > 0xdfff) return v;
    if (v > 0xdbff || end - p < 11 || p[5] != '\\' || p[6] != 'u') return -1;
    int32_t low = hex4(p + 7, end);
    if (low < 0xdc00 || low > 0xdfff) return -1;
    *size = 11;
    return 0x10000 + ((v - 0xd800) << 10) + (low - 0xdc00);
}

/* Behind a backslash. */
static bool scan_escape(struct scanner *s)
{
    if (s->p == s->end) return scan_fail(s, "the string is not closed");
    if (*s->p == 'u') {
        size_t size;
        if (hex4(s->p + 1, s->end) < 0) return scan_fail(s, "bad \\u escape (four hex digits)");
        if (unicode_escape(s->p, s->end, &size) < 0)
            return scan_bad(s, CORPUS_BAD_SURROGATE, "half a surrogate pair (they come in twos)");
        s->p += size;
        return true;
    }
    if (!memchr("\"\\/bfnrt", *s->p, 8)) return scan_fail(s, "unknown escape in the string");
    s->p++;
    return true;
}

/* At the byte behind the opening quote; ends behind the closing one. */
static bool scan_string(struct scanner *s, struct raw_string *out)
{
    *out = (struct raw_string){.p = s->p};
    for (;;) {
        s->p = skip_plain(s->p, s->end);
        if (s->p == s->end) return scan_fail(s, "the string is not closed");
        if (*s->p == '"') {
            out->size = (size_t)(s->p++ - out->p);
            return true;
        }
        if (*s->p == '\\') {
            out->escapes = true;
            s->p++;
            if (!scan_escape(s)) return false;
        } else if (*s->p < 0x20) {
            return scan_fail(s, "control character in the string (escape it)");
        } else {
            size_t n = utf8_decode((const char *)s->p, (size_t)(s->end - s->p), NULL);
            if (n == 0) return scan_bad(s, CORPUS_BAD_UTF8, "invalid UTF-8 in the string");
            s->p += n;
        }
    }
}

/* A string that scan_string took, with its escapes resolved in out, which is overwritten. */
static void unescape(const struct raw_string *raw, struct str *out)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    const uint8_t *p = raw->p, *end = p + raw->size;

    str_clear(out);
    str_reserve(out, raw->size); /* an escape is never shorter than what it stands for */
    while (p < end) {
        const uint8_t *slash = memchr(p, '\\', (size_t)(end - p));
        str_append(out, p, (size_t)((slash ? slash : end) - p));
        if (!slash) return;
        p = slash + 1;
        if (*p == 'u') {
            char utf8[4];
            size_t n;
            int32_t c = unicode_escape(p, end, &n);
            str_append(out, utf8, utf8_encode((uint32_t)c, utf8));
            p += n;
        } else {
            const char *name = memchr(names, *p++, sizeof(names) - 1);
            str_append_char(out, values[name - names]);
        }
    }
}

static bool scan_digits(struct scanner *s)
{
    const uint8_t *start = s->p;
    while (s->p < s->end && *s->p >= '0' && *s->p <= '9')
        s->p++;
    return s->p > start;
}

/* Only its form is checked: no number of a line is ever needed. */
static bool scan_number(struct scanner *s)
{
    static const char bad[] = "bad number";
    if (*s->p == '-' && s->end - s->p > 1 && s->p[1] == 'I') return scan_no_value(s);
    if (*s->p == '-') s->p++;
    if (s->p < s->end && *s->p == '0')
        s->p++;
    else if (!scan_digits(s))
        return scan_fail(s, bad);
    if (s->p < s->end && *s->p == '.') {
        s->p++;
        if (!scan_digits(s)) return scan_fail(s, bad);
    }
    if (s->p < s->end && (*s->p | 0x20) == 'e') {
        s->p++;
        if (s->p < s->end && (*s->p == '+' || *s->p == '-')) s->p++;
        if (!scan_digits(s)) return scan_fail(s, bad);
    }
    return true;
}

static bool scan_word(struct scanner *s, const char *word)
{
    size_t n = strlen(word);
    if ((size_t)(s->end - s->p) < n || memcmp(s->p, word, n) != 0) return scan_no_value(s);
    s->p += n;
    return true;
}

/* The level of the value behind a key at this level of the object: -1 where it is not on the path.
 * A key may be spelled with escapes, as any string. */
static int level_behind(struct scanner *s, int level, const struct raw_string *key)
{
    const struct corpus_json_path *path = s->path;
    if (level < 0 || level >= path->n_levels) return -1;
    const char *text = (const char *)key->p;
    size_t size = key->size;
    if (key->escapes) {
        unescape(key, s->scratch);
        text = s->scratch->data;
        size = s->scratch->len;
    }
    if (size == path->sizes[level] && memcmp(text, path->names[level], size) == 0) return level + 1;
    bool whole = level == 0 && path->literal && size > path->sizes[0] &&
                 strlen(path->text) == size && memcmp(text, path->text, size) == 0;
    return whole ? path->n_levels : -1;
}

/* Takes c if it is the next character behind white space. */
static bool accept(struct scanner *s, char c)
{
    scan_space(s);
    if (s->p == s->end || *s->p != (uint8_t)c) return false;
    s->p++;
    return true;
}

static bool scan_twice(struct scanner *s, const struct raw_string *key)
{
    s->p = key->p - 1;
    return scan_bad(s, CORPUS_BAD_TWICE, "the field is there twice");
}

/* Behind '{'. `level` is the part of the path that this object's keys are compared with, or -1. */
static bool scan_object(struct scanner *s, int level, int depth)
{
    int seen = -1, whole = -1; /* the levels behind keys that matched: a name's, the whole path's */

    if (accept(s, '}')) return true;
    do {
        struct raw_string key;
        if (!accept(s, '"')) return scan_fail(s, "a key in quotes belongs here");
        if (!scan_string(s, &key)) return false;
        int behind = level_behind(s, level, &key);
        int *before = behind == level + 1 ? &seen : &whole;
        /* a parser would take either; a corpus must not depend on which */
        if (behind >= 0 && (*before >= 0 || (s->found && behind == s->path->n_levels)))
            return scan_twice(s, &key);
        if (behind >= 0) *before = behind;
        if (!accept(s, ':')) return scan_fail(s, "':' belongs here");
        if (!scan_value(s, behind, depth)) return false;
    } while (accept(s, ','));
    if (accept(s, '}')) return true;
    return scan_fail(s, s->p == s->end ? "the object is not closed" : "',' or '}' belongs here");
}

/* Behind '['. */
static bool scan_array(struct scanner *s, int depth)
{
    if (accept(s, ']')) return true;
    do {
        if (!scan_value(s, -1, depth)) return false;
    } while (accept(s, ','));
    if (accept(s, ']')) return true;
    return scan_fail(s, s->p == s->end ? "the array is not closed" : "',' or ']' belongs here");
}

/* `level`: how many parts of the path lead to this value; -1: it is not on the path. */
static bool scan_value(struct scanner *s, int level, int depth)
{
    bool wanted = level == s->path->n_levels, ok;
    struct raw_string string = {0};
    const char *kind;

    if (depth == CORPUS_JSON_MAX_DEPTH)
        return scan_bad(s, CORPUS_BAD_DEEP, "nested deeper than 128");
    scan_space(s);
    if (s->p == s->end) return scan_fail(s, "no value here");
    const uint8_t *begin = s->p;
    switch (*s->p) {
    case '"':
        s->p++;
        kind = NULL;
        ok = scan_string(s, &string);
        break;
    case '{':
        s->p++;
        kind = "an object";
        ok = scan_object(s, wanted ? -1 : level, depth + 1);
        break;
    case '[':
        s->p++;
        kind = "an array";
        ok = scan_array(s, depth + 1);
        break;
    case 't': kind = "true", ok = scan_word(s, "true"); break;
    case 'f': kind = "false", ok = scan_word(s, "false"); break;
    case 'n': kind = "null", ok = scan_word(s, "null"); break;
    case '-':
    case '0' ... '9': kind = "a number", ok = scan_number(s); break;
    default: return scan_no_value(s);
    }
    if (ok && wanted) {
        s->found = true;
        s->found_at = begin;
        s->found_kind = kind;
        s->string = string;
    }
    return ok;
}

/* At the first byte of what does not begin as an object. */
static bool scan_not_object(struct scanner *s)
{
    static const char what[] = "the record is not an object";
    if (s->p < s->end && strchr("\"[-0123456789tfn", *s->p) && *s->p)
        return scan_bad(s, CORPUS_BAD_TYPE, what);
    scan_no_value(s);
    if (s->bad == CORPUS_BAD_JSON) s->problem = what;
    return false;
}

/* What was not found, or is no string. */
static enum corpus_json_verdict not_found(const struct scanner *s, const char *line,
                                          struct corpus_json_result *r)
{
    r->bad = CORPUS_BAD_MISSING;
    if (!s->found || strcmp(s->found_kind, "null") == 0) return CORPUS_JSON_MISSING;
    r->bad = CORPUS_BAD_TYPE;
    r->problem = s->found_kind;
    r->column = (size_t)((const char *)s->found_at - line) + 1;
    return CORPUS_JSON_OTHER;
}

/* The verdict comes after the last byte, not with the string: a line that is not JSON behind it is
 * none at all. */
enum corpus_json_verdict corpus_json_find(const char *line, size_t size,
                                          const struct corpus_json_path *path, struct str *scratch,
                                          struct corpus_json_result *r)
{
    static const struct corpus_json_path none;
    struct scanner s = {.p = (const uint8_t *)line,
                        .end = (const uint8_t *)line + size,
                        .path = path ? path : &none,
                        .scratch = scratch};

    *r = (struct corpus_json_result){0};
    scan_space(&s);
    bool ok = s.p < s.end && *s.p == '{' ? scan_value(&s, path ? 0 : -1, 0) : scan_not_object(&s);
    if (ok) {
        scan_space(&s);
        if (s.p < s.end) ok = scan_fail(&s, "something follows the object");
    }
    if (!ok) {
        r->problem = s.problem;
        r->bad = s.bad;
        r->column = (size_t)(s.p - (const uint8_t *)line) + 1;
        return CORPUS_JSON_INVALID;
    }
    if (path && (!s.found || s.found_kind)) return not_found(&s, line, r);
    r->text = path ? (const char *)s.string.p : line;
    r->size = path ? s.string.size : size;
    if (path && s.string.escapes) {
        unescape(&s.string, scratch);
        r->text = scratch->data;
        r->size = scratch->len;
    }
    return CORPUS_JSON_FOUND;
}

/* ------------------------------------------------------------------ extents */

static void push_bracket(struct corpus_json_extent *x, bool brace)
{
    const size_t most = sizeof(x->braces) * 8;
    if (x->depth < most) {
        uint64_t bit = UINT64_C(1) << x->depth % 64;
        x->braces[x->depth / 64] &= ~bit;
        if (brace) x->braces[x->depth / 64] |= bit;
    }
    x->depth++;
}

/* Brackets deeper than are kept count only: such a value is refused for its depth in any case. */
static void pop_bracket(struct corpus_json_extent *x, bool brace)
{
    const size_t most = sizeof(x->braces) * 8;
    if (x->depth == 0) {
        x->broken = true;
        return;
    }
    x->depth--;
    x->broken |= x->depth < most && (x->braces[x->depth / 64] >> x->depth % 64 & 1) != brace;
    x->done = x->depth == 0;
}

/* Inside a string: up to the byte behind its end. */
static size_t extent_string(struct corpus_json_extent *x, const char *text, size_t size)
{
    size_t i = 0;
    while (i < size && x->string && !x->broken) {
        if (x->escape) {
            x->escape = false;
            i++;
            continue;
        }
        i = (size_t)((const char *)skip_plain((const uint8_t *)text + i,
                                              (const uint8_t *)text + size) -
                     text);
        if (i == size) break;
        char c = text[i++];
        x->escape = c == '\\';
        x->string = c != '"';
        x->broken = c == '\n';
    }
    return i;
}

/* A number or a word ends before the byte that cannot belong to it. */
static bool ends_scalar(char c)
{
    return byte_is_space(c) || c == ',' || c == ']' || c == '}' || c == '[' || c == '{' || c == '"';
}

size_t corpus_json_extent(struct corpus_json_extent *x, const char *text, size_t size)
{
    size_t i = 0;
    while (i < size && !x->done && !x->broken) {
        char c = text[i];
        if (x->string) {
            i += extent_string(x, text + i, size - i);
            x->done = !x->string && x->depth == 0;
            continue;
        }
        if (x->depth == 0 && x->scalar && ends_scalar(c)) {
            x->done = true;
            break;
        }
        i++;
        if (c == '"')
            x->string = true;
        else if (c == '{' || c == '[')
            push_bracket(x, c == '{');
        else if (c == '}' || c == ']')
            pop_bracket(x, c == '}');
        else
            x->scalar = x->depth == 0;
    }
    return i;
}
