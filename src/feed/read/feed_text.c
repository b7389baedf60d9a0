/* feed_text.c: texts as services write them: UTF-8 that has to be valid, entities and HTML. */
#include "feed/read/feed_read_internal.h"

bool feed_utf8_valid(const char *s, size_t n)
{
    const uint8_t *p = (const uint8_t *)s, *end = p + n;
    while (p < end) {
        uint8_t c = *p;
        size_t more = c < 0x80 ? 0 : c < 0xc2 ? 9 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : c < 0xf5 ? 3 : 9;
        if (more == 0) {
            p++;
            continue;
        }
        if (more == 9 || (size_t)(end - p) <= more) return false;
        for (size_t i = 1; i <= more; i++)
            if ((p[i] & 0xc0) != 0x80) return false;
        /* too long a form, a surrogate, beyond U+10FFFF */
        if ((c == 0xe0 && p[1] < 0xa0) || (c == 0xed && p[1] >= 0xa0) ||
            (c == 0xf0 && p[1] < 0x90) || (c == 0xf4 && p[1] >= 0x90))
            return false;
        p += more + 1;
    }
    return true;
}

static const struct entity {
    const char *name, *text;
} entities[] = {{"amp;", "&"},   {"lt;", "<"},   {"gt;", ">"},
                {"quot;", "\""}, {"apos;", "'"}, {"nbsp;", " "}};

static size_t put_character(char *to, unsigned long c)
{
    if (c == 0 || (c >= 0xd800 && c < 0xe000) || c > 0x10ffff) c = 0xfffd;
    if (c < 0x80) {
        to[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, c >>= 6)
        to[i] = (char)(0x80 | (c & 0x3f));
    to[0] = (char)((n == 2 ? 0xc0u : n == 3 ? 0xe0u : 0xf0u) | c);
    return n;
}

/* The entity behind '&' at p to `to`, never longer than what it stands for; its length at p, or 0
 * where it is none. *wrote: bytes at `to`. */
static size_t entity_at(const char *p, const char *end, char *to, size_t *wrote)
{
    size_t left = (size_t)(end - p);
    for (size_t i = 0; i < ARRAY_LEN(entities); i++) {
        size_t n = strlen(entities[i].name);
        if (left <= n || memcmp(p + 1, entities[i].name, n) != 0) continue;
        *wrote = strlen(entities[i].text);
        memcpy(to, entities[i].text, *wrote);
        return n + 1;
    }
    if (left < 4 || p[1] != '#') return 0;
    bool hex = p[2] == 'x' || p[2] == 'X';
    unsigned long v = 0;
    const char *q = p + 2 + hex, *digits = q;
    for (; q < end && q - digits < 7; q++) {
        int d = *q >= '0' && *q <= '9'          ? *q - '0'
                : hex && *q >= 'a' && *q <= 'f' ? *q - 'a' + 10
                : hex && *q >= 'A' && *q <= 'F' ? *q - 'A' + 10
                                                : -1;
        if (d < 0) break;
        v = v * (hex ? 16 : 10) + (unsigned long)d;
    }
    if (q == digits || q >= end || *q != ';') return 0;
    size_t taken = (size_t)(q + 1 - p);
    char buf[4];
    size_t n = put_character(buf, v);
    if (n > taken) return 0;
    memcpy(to, buf, n);
    *wrote = n;
    return taken;
}

void feed_unescape_html(struct feed_slice *s)
{
    char *at = s->n ? memchr(s->s, '&', s->n) : NULL;
    if (!at) return;
    char *p = at, *to = at, *end = s->s + s->n;
    while (p < end) {
        size_t wrote, taken = *p == '&' ? entity_at(p, end, to, &wrote) : 0;
        if (taken) {
            p += taken;
            to += wrote;
        } else {
            *to++ = *p++;
        }
    }
    s->n = (size_t)(to - s->s);
}

/* Whether the tag at p ("<br", "</p>") is called so. */
static bool tag_is(const char *p, const char *end, const char *name)
{
    size_t n = strlen(name);
    if ((size_t)(end - p) <= n || memcmp(p, name, n) != 0) return false;
    return p[n] == '>' || p[n] == '/' || p[n] == ' ';
}

void feed_strip_html(struct feed_slice *s)
{
    if (s->n == 0) return;
    char *p = s->s, *to = s->s, *end = s->s + s->n;
    while (p < end) {
        if (*p != '<') {
            *to++ = *p++;
            continue;
        }
        char *close = memchr(p, '>', (size_t)(end - p));
        if (!close) break; /* cut off within a tag */
        if (tag_is(p, end, "<br") || tag_is(p, end, "</p")) *to++ = '\n';
        p = close + 1;
    }
    while (to > s->s && to[-1] == '\n')
        to--;
    s->n = (size_t)(to - s->s);
    feed_unescape_html(s);
}

struct feed_slice feed_host_of(struct feed_slice url)
{
    const struct feed_slice none = {url.s, 0};
    size_t at = url.n > 8 && memcmp(url.s, "https://", 8) == 0  ? 8
                : url.n > 7 && memcmp(url.s, "http://", 7) == 0 ? 7
                                                                : 0;
    if (!at) return none;
    struct feed_slice h = {url.s + at, url.n - at};
    for (size_t i = 0; i < h.n; i++)
        if (strchr("/?#: \"<>", h.s[i])) h.n = i;
    if (h.n > 4 && memcmp(h.s, "www.", 4) == 0) {
        h.s += 4;
        h.n -= 4;
    }
    return h;
}
