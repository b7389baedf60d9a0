/* text_corpus_json.c: finds one string in a line of JSON.
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
    const struct corpus_json_path *path;
    struct str *scratch;
    /* what was found */
    bool found;
    const char *found_kind; /* NULL: a string; else "a number", ...; "null" */
    struct raw_string string;
};

static bool scan_value(struct scanner *s, int level, int depth);

int corpus_json_path_parse(const char *field, struct corpus_json_path *path, struct error *e)
{
    path->n_levels = 0;
    for (const char *p = field;;) {
        size_t n = strcspn(p, ".");
        if (n == 0) {
            error_set_code(e, ERROR_USAGE, "field '%s' has an empty part", field);
            return error_hint(e, "write it as text or user.name");
        }
        if (path->n_levels == CORPUS_JSON_MAX_LEVELS)
            return error_set_code(e, ERROR_USAGE, "field '%s' has more than %d parts", field,
                                  CORPUS_JSON_MAX_LEVELS);
        path->names[path->n_levels] = p;
        path->sizes[path->n_levels++] = n;
        if (p[n] == '\0') return 0;
        p += n + 1;
    }
}

/* Keeps the first problem, which is the one at s->p; always false. */
static bool scan_fail(struct scanner *s, const char *problem)
{
    if (!s->problem) s->problem = problem;
    return false;
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
        if (unicode_escape(s->p, s->end, &size) < 0)
            return scan_fail(s, "bad \\u escape (four hex digits; surrogates in pairs)");
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
            if (n == 0) return scan_fail(s, "invalid UTF-8 in the string");
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
    if ((size_t)(s->end - s->p) < n || memcmp(s->p, word, n) != 0)
        return scan_fail(s, "no value here");
    s->p += n;
    return true;
}

/* Whether the key at this level of the object is the one the path asks for. A key may be spelled
 * with escapes, as any string. */
static bool key_matches(struct scanner *s, int level, const struct raw_string *key)
{
    if (level < 0 || level >= s->path->n_levels) return false;
    const char *text = (const char *)key->p;
    size_t size = key->size;
    if (key->escapes) {
        unescape(key, s->scratch);
        text = s->scratch->data;
        size = s->scratch->len;
    }
    return size == s->path->sizes[level] && memcmp(text, s->path->names[level], size) == 0;
}

/* Takes c if it is the next character behind white space. */
static bool accept(struct scanner *s, char c)
{
    scan_space(s);
    if (s->p == s->end || *s->p != (uint8_t)c) return false;
    s->p++;
    return true;
}

/* Behind '{'. `level` is the part of the path that this object's keys are compared with, or -1. */
static bool scan_object(struct scanner *s, int level, int depth)
{
    bool matched = false;

    if (accept(s, '}')) return true;
    do {
        struct raw_string key;
        if (!accept(s, '"')) return scan_fail(s, "a key in quotes belongs here");
        if (!scan_string(s, &key)) return false;
        bool match = key_matches(s, level, &key);
        if (match && matched) { /* a parser would take either; a corpus must not depend on which */
            s->p = key.p - 1;
            return scan_fail(s, "the field is there twice");
        }
        matched |= match;
        if (!accept(s, ':')) return scan_fail(s, "':' belongs here");
        if (!scan_value(s, match ? level + 1 : -1, depth)) return false;
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

    if (depth == CORPUS_JSON_MAX_DEPTH) return scan_fail(s, "nested deeper than 128");
    scan_space(s);
    if (s->p == s->end) return scan_fail(s, "no value here");
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
    default: return scan_fail(s, "no value here");
    }
    if (ok && wanted) {
        s->found = true;
        s->found_kind = kind;
        s->string = string;
    }
    return ok;
}

/* The verdict comes after the last byte, not with the string: a line that is not JSON behind it is
 * none at all. */
enum corpus_json_verdict corpus_json_find(const char *line, size_t size,
                                          const struct corpus_json_path *path, struct str *scratch,
                                          struct corpus_json_result *r)
{
    struct scanner s = {.p = (const uint8_t *)line,
                        .end = (const uint8_t *)line + size,
                        .path = path,
                        .scratch = scratch};

    *r = (struct corpus_json_result){0};
    scan_space(&s);
    bool ok = s.p < s.end && *s.p == '{' ? scan_value(&s, 0, 0)
                                         : scan_fail(&s, "the line is not an object");
    if (ok) {
        scan_space(&s);
        if (s.p < s.end) ok = scan_fail(&s, "something follows the object");
    }
    if (!ok) {
        r->problem = s.problem;
        r->column = (size_t)(s.p - (const uint8_t *)line) + 1;
        return CORPUS_JSON_INVALID;
    }
    if (!s.found || (s.found_kind && strcmp(s.found_kind, "null") == 0)) return CORPUS_JSON_MISSING;
    if (s.found_kind) {
        r->problem = s.found_kind;
        return CORPUS_JSON_OTHER;
    }
    r->text = (const char *)s.string.p;
    r->size = s.string.size;
    if (s.string.escapes) {
        unescape(&s.string, scratch);
        r->text = scratch->data;
        r->size = scratch->len;
    }
    return CORPUS_JSON_FOUND;
}
