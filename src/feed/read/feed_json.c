/* feed_json.c: JSON read in place, in one pass, by whoever knows which members matter.
 *
 * Most of a post's JSON is of no use here (of a v1.1 status nine tenths), so what counts is how fast
 * a value is passed over: strings are searched sixteen bytes at a time (SSE2, which every x86-64
 * has), and no tree is built. What is passed over is still checked, so that a broken line is
 * counted as one and not half believed. */
#include "feed/read/feed_read_internal.h"

#include <emmintrin.h>

#define MAX_DEPTH 64

bool feed_json_fail(struct feed_json *j, const char *why)
{
    if (!j->why) j->why = why;
    return false;
}

static inline void skip_space(struct feed_json *j)
{
    while (j->p < j->end && (*j->p == ' ' || *j->p == '\t' || *j->p == '\n' || *j->p == '\r'))
        j->p++;
}

char feed_json_peek(struct feed_json *j)
{
    skip_space(j);
    return j->p < j->end ? *j->p : '\0';
}

/* The first quote, backslash or control character from p on, or end; *high collects bits of bytes
 * that are not ASCII. */
static inline char *plain_end(char *p, char *end, unsigned *high)
{
    const __m128i quote = _mm_set1_epi8('"'), back = _mm_set1_epi8('\\'),
                  last_control = _mm_set1_epi8(0x1f);
    while (p < end) {
        __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i hit = _mm_or_si128(_mm_cmpeq_epi8(x, quote), _mm_cmpeq_epi8(x, back));
        hit = _mm_or_si128(hit, _mm_cmpeq_epi8(_mm_min_epu8(x, last_control), x));
        unsigned m = (unsigned)_mm_movemask_epi8(hit), h = (unsigned)_mm_movemask_epi8(x);
        if (m) {
            unsigned at = (unsigned)__builtin_ctz(m);
            *high |= h & ((1u << at) - 1);
            p += at;
            return p < end ? p : end;
        }
        *high |= h;
        p += 16;
    }
    return end;
}

static int hex4(const char *p)
{
    int v = 0;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        int d = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : -1;
        if (d < 0) return -1;
        v = v * 16 + d;
    }
    return v;
}

/* Over a string whose opening quote is next. */
static bool skip_string(struct feed_json *j)
{
    unsigned high = 0;
    char *p = j->p + 1;
    for (;;) {
        p = plain_end(p, j->end, &high);
        if (p >= j->end) return feed_json_fail(j, "a string does not end");
        if (*p == '"') break;
        if (*p != '\\') return feed_json_fail(j, "a control character within a string");
        if (p + 1 >= j->end) return feed_json_fail(j, "a string does not end");
        if (p[1] == 'u') {
            if (j->end - p < 6 || hex4(p + 2) < 0) return feed_json_fail(j, "a wrong \\u escape");
            p += 6;
        } else if (strchr("\"\\/bfnrt", p[1]) && p[1]) {
            p += 2;
        } else {
            return feed_json_fail(j, "an unknown escape");
        }
    }
    j->p = p + 1;
    return true;
}

static inline bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool skip_number(struct feed_json *j)
{
    char *p = j->p, *end = j->end;
    if (p < end && *p == '-') p++;
    if (p >= end || !is_digit(*p)) return feed_json_fail(j, "a value was expected");
    if (*p == '0' && p + 1 < end && is_digit(p[1]))
        return feed_json_fail(j, "a number begins with 0");
    while (p < end && is_digit(*p))
        p++;
    if (p < end && *p == '.') {
        if (++p >= end || !is_digit(*p)) return feed_json_fail(j, "a wrong number");
        while (p < end && is_digit(*p))
            p++;
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        if (p < end && (*p == '+' || *p == '-')) p++;
        if (p >= end || !is_digit(*p)) return feed_json_fail(j, "a wrong number");
        while (p < end && is_digit(*p))
            p++;
    }
    j->p = p;
    return true;
}

static bool skip_word(struct feed_json *j, const char *word)
{
    size_t n = strlen(word);
    if ((size_t)(j->end - j->p) < n || memcmp(j->p, word, n) != 0)
        return feed_json_fail(j, "a value was expected");
    j->p += n;
    return true;
}

static bool skip_scalar(struct feed_json *j)
{
    switch (*j->p) {
    case '"': return skip_string(j);
    case 't': return skip_word(j, "true");
    case 'f': return skip_word(j, "false");
    case 'n': return skip_word(j, "null");
    default: return skip_number(j);
    }
}

/* What stands between two values of the innermost bracket, `kinds` being the open ones. 1: another
 * value comes; 0: the outermost bracket is closed; negative: wrong. */
static int skip_between(struct feed_json *j, const char *kinds, int *depth)
{
    for (;;) {
        char c = feed_json_peek(j);
        if (c == ',') {
            j->p++;
            return 1;
        }
        if (c != (kinds[*depth - 1] == '{' ? '}' : ']')) {
            feed_json_fail(j,
                           c ? "',' or a closing bracket was expected" : "the record is cut off");
            return -1;
        }
        j->p++;
        if (--*depth == 0) return 0;
    }
}

bool feed_json_skip(struct feed_json *j)
{
    char kinds[MAX_DEPTH];
    int depth = 0;
    for (;;) {
        char c = feed_json_peek(j);
        if (c == '\0' && j->p >= j->end) return feed_json_fail(j, "the record is cut off");
        if (depth && kinds[depth - 1] == '{') { /* a key is next */
            if (c != '"') return feed_json_fail(j, "a key was expected");
            if (!skip_string(j)) return false;
            if (feed_json_peek(j) != ':') return feed_json_fail(j, "':' was expected");
            j->p++;
            c = feed_json_peek(j);
        }
        if (c == '{' || c == '[') {
            if (depth == MAX_DEPTH) return feed_json_fail(j, "nested too deeply");
            kinds[depth++] = c;
            j->p++;
            char close = c == '{' ? '}' : ']';
            if (feed_json_peek(j) != close) continue;
            j->p++; /* empty */
            if (--depth == 0) return true;
        } else if (j->p >= j->end) {
            return feed_json_fail(j, "the record is cut off");
        } else if (!skip_scalar(j)) {
            return false;
        } else if (depth == 0) {
            return true;
        }
        int rc = skip_between(j, kinds, &depth);
        if (rc < 0) return false;
        if (rc == 0) return true;
    }
}

static char *put_utf8(char *to, unsigned c)
{
    if (c < 0x80) {
        *to++ = (char)c;
    } else if (c < 0x800) {
        *to++ = (char)(0xc0 | c >> 6);
        *to++ = (char)(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        *to++ = (char)(0xe0 | c >> 12);
        *to++ = (char)(0x80 | (c >> 6 & 0x3f));
        *to++ = (char)(0x80 | (c & 0x3f));
    } else {
        *to++ = (char)(0xf0 | c >> 18);
        *to++ = (char)(0x80 | (c >> 12 & 0x3f));
        *to++ = (char)(0x80 | (c >> 6 & 0x3f));
        *to++ = (char)(0x80 | (c & 0x3f));
    }
    return to;
}

/* The escape at p, which skip_string has found to be whole, to *to; what follows it. */
static char *unescape(char *p, const char *end, char **to)
{
    static const char from[] = "bfnrt", into[] = "\b\f\n\r\t";
    if (p[1] != 'u') {
        const char *at = strchr(from, p[1]);
        *(*to)++ = at ? into[at - from] : p[1];
        return p + 2;
    }
    unsigned c = (unsigned)hex4(p + 2);
    p += 6;
    if (c >= 0xd800 && c < 0xdc00 && end - p >= 6 && p[0] == '\\' && p[1] == 'u') {
        int low = hex4(p + 2);
        if (low >= 0xdc00 && low < 0xe000) {
            c = 0x10000 + ((c - 0xd800) << 10) + ((unsigned)low - 0xdc00);
            p += 6;
        }
    }
    if (c == 0 || (c >= 0xd800 && c < 0xe000)) c = 0xfffd;
    *to = put_utf8(*to, c);
    return p;
}

bool feed_json_string(struct feed_json *j, struct feed_slice *out)
{
    unsigned high = 0;
    if (feed_json_peek(j) != '"') return feed_json_fail(j, "a string was expected");
    char *begin = j->p + 1, *p = plain_end(begin, j->end, &high);
    if (p < j->end && *p == '"') { /* nothing to unescape */
        *out = (struct feed_slice){begin, (size_t)(p - begin)};
        j->p = p + 1;
    } else {
        if (!skip_string(j)) return false;
        char *last = j->p - 1, *to = p;
        while (p < last) {
            if (*p == '\\') {
                p = unescape(p, last, &to);
                continue;
            }
            char *next = plain_end(p, last, &high);
            memmove(to, p, (size_t)(next - p));
            to += next - p;
            p = next;
        }
        *out = (struct feed_slice){begin, (size_t)(to - begin)};
    }
    if (high && !feed_utf8_valid(out->s, out->n)) return feed_json_fail(j, "not UTF-8");
    return true;
}

static int next_of(struct feed_json *j, bool *first, char open, char close)
{
    char c = feed_json_peek(j);
    if (*first) {
        *first = false;
        if (c != open) {
            feed_json_fail(j, open == '{' ? "an object was expected" : "an array was expected");
            return -1;
        }
        j->p++;
        if (feed_json_peek(j) != close) return 1;
        j->p++;
        return 0;
    }
    if (c == close) {
        j->p++;
        return 0;
    }
    if (c != ',') {
        feed_json_fail(j, c ? "',' or a closing bracket was expected" : "the record is cut off");
        return -1;
    }
    j->p++;
    return 1;
}

int feed_json_member(struct feed_json *j, bool *first, struct feed_slice *key)
{
    int rc = next_of(j, first, '{', '}');
    if (rc <= 0) return rc;
    if (feed_json_peek(j) != '"') {
        feed_json_fail(j, "a key was expected");
        return -1;
    }
    char *begin = j->p + 1;
    if (!skip_string(j)) return -1;
    *key = (struct feed_slice){begin, (size_t)(j->p - 1 - begin)};
    if (feed_json_peek(j) != ':') {
        feed_json_fail(j, "':' was expected");
        return -1;
    }
    j->p++;
    return 1;
}

int feed_json_item(struct feed_json *j, bool *first)
{
    return next_of(j, first, '[', ']');
}

bool feed_json_text(struct feed_json *j, struct feed_slice *out)
{
    char c = feed_json_peek(j);
    if (c == '"') return feed_json_string(j, out);
    char *begin = j->p;
    *out = (struct feed_slice){begin, 0};
    if (!feed_json_skip(j)) return false;
    if (c == '-' || is_digit(c)) *out = (struct feed_slice){begin, (size_t)(j->p - begin)};
    return true;
}

bool feed_json_int(struct feed_json *j, int64_t *out)
{
    struct feed_slice s;
    *out = 0;
    if (!feed_json_text(j, &s)) return false;
    bool minus = s.n && s.s[0] == '-';
    int64_t v = 0;
    for (size_t i = minus; i < s.n; i++) {
        if (!is_digit(s.s[i])) break; /* what stands behind a point does not count */
        if (v > (INT64_MAX - 9) / 10) return true;
        v = v * 10 + (s.s[i] - '0');
    }
    *out = minus ? -v : v;
    return true;
}

bool feed_json_bool(struct feed_json *j, bool *out)
{
    *out = feed_json_peek(j) == 't';
    return feed_json_skip(j);
}

bool feed_json_value(struct feed_json *j, struct feed_json *out)
{
    char c = feed_json_peek(j), *begin = j->p;
    if (!feed_json_skip(j)) return false;
    *out = (struct feed_json){c == 'n' ? NULL : begin, j->p, NULL};
    return true;
}

bool feed_json_end(struct feed_json *j)
{
    skip_space(j);
    return j->p >= j->end || feed_json_fail(j, "something follows the record");
}

bool feed_read_media(struct feed_json *j, const char *still, struct feed_post *post)
{
    int item;
    for (bool f = true; (item = feed_json_item(j, &f)) > 0;) {
        struct feed_slice key, type = {0};
        int rc;
        for (bool first = true; (rc = feed_json_member(j, &first, &key)) > 0;)
            if (!(feed_is(key, "type") ? feed_json_text(j, &type) : feed_json_skip(j)))
                return false;
        if (rc < 0) return false;
        post->flags |= feed_is(type, still) ? FEED_IMAGES : FEED_VIDEO;
    }
    return item == 0;
}
