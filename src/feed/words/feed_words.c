/* feed_words.c: the terms of a text and of a post.
 *
 *   words      runs of letters, digits, marks and '_', folded; an apostrophe between two letters is
 *              left out ("don't" is dont); of more than 64 bytes only those
 *   bigrams    runs of Chinese, Japanese, Korean, Thai, Lao, Khmer and Myanmar characters give each
 *              pair of neighbours, and the last one alone: a word of two or more characters is found
 *              as its pairs in a row, one of a single character as what begins a pair or ends a run
 *   emoji      one by one, without the colour of skin
 *   #tag       and its words; $AAPL (one to six letters, perhaps ".B") and its word; @name and its
 *              words. Names may hold '.' and '-' behind a letter, and a second '@' (Mastodon)
 *   addresses  are no words: "url:" with the host, its parents and the words of its path; of t.co,
 *              which says nothing, none
 *
 * Whatever the index holds comes from here, also for a post that is taken out of it again, so what
 * this file makes of the same post may not change without FEED_WORDS_VERSION. */
#include "feed/words/feed_fold_internal.h"

#include <strings.h>

#include <xxhash.h>

#define MAX_WORD 64

const struct feed_flag_term feed_flag_terms[] = {
    {FEED_REPLY, "is", "reply"},   {FEED_REPOST, "is", "retweet"},
    {FEED_QUOTE, "is", "quote"},   {FEED_VERIFIED, "is", "verified"},
    {FEED_EDITED, "is", "edited"}, {FEED_SENSITIVE, "is", "sensitive"},
    {FEED_LINKS, "has", "links"},  {FEED_IMAGES, "has", "images"},
    {FEED_VIDEO, "has", "videos"}, {FEED_IMAGES | FEED_VIDEO, "has", "media"},
};
const size_t feed_n_flag_terms = ARRAY_LEN(feed_flag_terms);

void feed_terms_clear(struct feed_terms *t)
{
    str_clear(&t->text);
    t->n = 0;
    t->pos = 0;
    t->links = false;
}

void feed_terms_fini(struct feed_terms *t)
{
    str_fini(&t->text);
    mem_free(t->items);
    *t = (struct feed_terms){0};
}

/* The bytes from `at` to the text's end become a term; none where there are none. */
static struct feed_term *close_term(struct feed_terms *t, size_t at, enum feed_term_kind kind)
{
    size_t n = t->text.len - at;
    if (n == 0) return NULL;
    if (t->n == t->cap) {
        t->cap = t->cap ? 2 * t->cap : 64;
        t->items = mem_realloc(t->items, t->cap * sizeof(*t->items));
    }
    struct feed_term *x = &t->items[t->n++];
    *x = (struct feed_term){XXH3_64bits(t->text.data + at, n), (uint32_t)at, (uint32_t)n, kind, 0};
    str_append_char(&t->text, ' ');
    return x;
}

static bool is_mark_of_word(const char *p, const char *end, unsigned *n)
{
    *n = 1;
    if (*p == '\'') return true;
    *n = 3;
    return end - p >= 3 && memcmp(p, "\xe2\x80\x99", 3) == 0;
}

static bool is_word_at(const char *p, const char *end)
{
    unsigned n;
    return p < end && feed_fold_char(feed_char_at(p, end, &n))->class == FEED_CHAR_WORD;
}

/* ASCII letters, digits and '_' as words have them; 0: of no word. */
static inline char ascii_folded(unsigned char c)
{
    if (c >= 'A' && c <= 'Z') return (char)(c | 32);
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' ? (char)c : 0;
}

/* A word from p on, folded; where it ends. */
static const char *add_word(struct feed_terms *t, const char *p, const char *end)
{
    char word[MAX_WORD];
    size_t size = 0, at = t->text.len;
    while (p < end) {
        unsigned n;
        char plain = ascii_folded((unsigned char)*p); /* most characters, without a table */
        if (plain) {
            if (size < MAX_WORD) word[size++] = plain;
            p++;
            continue;
        }
        const struct feed_fold_char *c = feed_fold_char(feed_char_at(p, end, &n));
        if (c->class == FEED_CHAR_WORD) {
            if (size + c->n <= MAX_WORD) {
                memcpy(word + size, c->text, c->n);
                size += c->n;
            }
        } else if (c->class != FEED_CHAR_DROP) {
            if (size == 0 || !is_mark_of_word(p, end, &n) || !is_word_at(p + n, end)) break;
        }
        p += n;
    }
    str_append(&t->text, word, size);
    struct feed_term *x = close_term(t, at, FEED_WORD);
    if (x) x->pos = ++t->pos;
    return p;
}

/* A run of a script without blanks, as pairs; where it ends. */
static const char *add_bigrams(struct feed_terms *t, const char *p, const char *end)
{
    const struct feed_fold_char *before = NULL;
    bool pairs = false;
    while (p < end) {
        unsigned n;
        const struct feed_fold_char *c = feed_fold_char(feed_char_at(p, end, &n));
        if (c->class == FEED_CHAR_DROP) {
            p += n;
            continue;
        }
        if (c->class != FEED_CHAR_BIGRAM) break;
        if (before) {
            size_t at = t->text.len;
            str_append(&t->text, before->text, before->n);
            str_append(&t->text, c->text, c->n);
            close_term(t, at, FEED_WORD)->pos = ++t->pos;
            pairs = true;
        }
        before = c;
        p += n;
    }
    if (before) {
        size_t at = t->text.len;
        str_append(&t->text, before->text, before->n);
        if (!pairs) t->pos++;
        close_term(t, at, FEED_LAST)->pos = t->pos;
    }
    return p;
}

void feed_fold(struct str *out, const char *s, size_t n)
{
    if (n == 0) return;
    for (const char *p = s, *end = s + n; p < end;) {
        unsigned size;
        const struct feed_fold_char *c = feed_fold_char(feed_char_at(p, end, &size));
        if (c->n)
            str_append(out, c->text, c->n);
        else if (c->class == FEED_CHAR_OTHER && (unsigned char)*p > ' ' && *p != '"')
            str_append(out, p, size);
        p += size;
    }
}

/* '#', '$' or '@' at p with what belongs to it; how many bytes, 0 where nothing does. */
static size_t add_marked(struct feed_terms *t, const char *p, const char *end)
{
    size_t at = t->text.len, name_n = 0;
    const char *q = p + 1;
    enum feed_term_kind kind = *p == '#' ? FEED_TAG : *p == '$' ? FEED_CASH : FEED_AT;
    str_append_char(&t->text, *p);
    while (q < end) {
        unsigned n;
        uint32_t code = feed_char_at(q, end, &n);
        const struct feed_fold_char *c = feed_fold_char(code);
        bool letter = c->class == FEED_CHAR_WORD || c->class == FEED_CHAR_BIGRAM;
        if (kind == FEED_CASH) letter = (code | 32) >= 'a' && (code | 32) <= 'z' && name_n < 6;
        bool inner = kind == FEED_AT && name_n && (code == '.' || code == '-' || code == '@') &&
                     is_word_at(q + n, end);
        if (kind == FEED_CASH && code == '.' && name_n && end - q > 1 && (q[1] | 32) >= 'a' &&
            (q[1] | 32) <= 'z' && !is_word_at(q + 2, end))
            inner = true;
        if (c->class == FEED_CHAR_DROP && name_n) {
            q += n;
            continue;
        }
        if (!letter && !inner) break;
        if (t->text.len - at < 2 * MAX_WORD) {
            if (inner)
                str_append_char(&t->text, (char)code);
            else
                str_append(&t->text, c->text, c->n);
        }
        name_n += kind != FEED_CASH || !inner;
        q += n;
    }
    if (name_n == 0 || (kind == FEED_CASH && is_word_at(q, end))) { /* "$100", "$abcdefgh" */
        t->text.len = at;
        return 0;
    }
    close_term(t, at, kind);
    return (size_t)(q - p);
}

/* Length of an address at p, 0 where there is none. */
static size_t address_at(const char *p, const char *end)
{
    size_t left = (size_t)(end - p);
    if (left < 9 || (p[0] | 32) != 'h' || (p[1] | 32) != 't') return 0;
    if (strncasecmp(p, "http://", 7) != 0 && strncasecmp(p, "https://", 8) != 0) return 0;
    size_t n = 7;
    while (n < left && (unsigned char)p[n] > ' ' && !strchr("\"<>", p[n]) &&
           (unsigned char)p[n] < 0xe2)
        n++;
    return n;
}

void feed_terms_of_text(struct feed_terms *t, const char *s, size_t n)
{
    if (n == 0) return;
    const char *p = s, *end = s + n;
    bool in_word = false; /* in_word: what stands before p is of a word */
    while (p < end) {
        unsigned size;
        uint32_t code = feed_char_at(p, end, &size);
        const struct feed_fold_char *c = feed_fold_char(code);
        size_t address = !in_word && c->class == FEED_CHAR_WORD ? address_at(p, end) : 0;
        if (address) {
            feed_terms_add_url(t, (struct feed_slice){(char *)(uintptr_t)p, address});
            p += address;
            t->pos++; /* no phrase reaches across */
            t->links = true;
        } else if (c->class == FEED_CHAR_WORD) {
            p = add_word(t, p, end);
            in_word = true;
            continue;
        } else if (c->class == FEED_CHAR_BIGRAM) {
            p = add_bigrams(t, p, end);
            in_word = true;
            continue;
        } else if (c->class == FEED_CHAR_SYMBOL) {
            size_t at = t->text.len;
            str_append(&t->text, c->text, c->n);
            struct feed_term *x = close_term(t, at, FEED_WORD);
            if (x) x->pos = ++t->pos;
            p += size;
        } else {
            if (!in_word && (code == '#' || code == '$' || code == '@')) add_marked(t, p, end);
            if (code == 0xff03 && !in_word) { /* the full-width '#' of Japanese keyboards */
                struct str tag = {0};
                str_append_char(&tag, '#');
                str_append(&tag, p + size, MIN((size_t)(end - p) - size, (size_t)4 * MAX_WORD));
                add_marked(t, tag.data, tag.data + tag.len);
                str_fini(&tag);
            }
            p += size;
        }
        in_word = false;
    }
}

void feed_terms_add_fact(struct feed_terms *t, const char *kind, const char *s, size_t n)
{
    size_t at = t->text.len, head;
    if (n == 0) return;
    str_puts(&t->text, kind);
    str_append_char(&t->text, ':');
    head = t->text.len;
    feed_fold(&t->text, s, MIN(n, (size_t)256));
    if (t->text.len == head) {
        t->text.len = at;
        return;
    }
    close_term(t, at, FEED_FACT);
}

void feed_terms_add_url(struct feed_terms *t, struct feed_slice url)
{
    struct feed_slice host = feed_host_of(url);
    if (host.n == 0 || (host.n == 4 && memcmp(host.s, "t.co", 4) == 0)) return;
    for (size_t i = 0; i < host.n; i++) { /* the host and its parents of two labels and more */
        bool first = i == 0 || host.s[i - 1] == '.';
        if (first && memchr(host.s + i, '.', host.n - i))
            feed_terms_add_fact(t, "url", host.s + i, host.n - i);
    }
    const char *p = host.s + host.n, *end = url.s + url.n;
    for (int words = 0; p < end && words < 8;) {
        const char *q = p;
        while (q < end && is_word_at(q, end)) {
            unsigned n;
            feed_char_at(q, end, &n);
            q += n;
        }
        if (q > p) {
            feed_terms_add_fact(t, "url", p, (size_t)(q - p));
            words++;
        }
        unsigned n = 1;
        if (q < end) feed_char_at(q, end, &n);
        p = q + n;
    }
}

void feed_terms_of_post(struct feed_terms *t, const struct feed_post *p)
{
    feed_terms_clear(t);
    feed_terms_of_text(t, p->text.s, p->text.n);
    feed_terms_add_fact(t, "from", p->author.s, p->author.n);
    if (p->author_id.n &&
        (p->author_id.n != p->author.n || memcmp(p->author_id.s, p->author.s, p->author.n) != 0))
        feed_terms_add_fact(t, "from", p->author_id.s, p->author_id.n);
    feed_terms_add_fact(t, "to", p->reply_user.s, p->reply_user.n);
    feed_terms_add_fact(t, "lang", p->lang.s, p->lang.n);
    feed_terms_add_fact(t, "conversation_id", p->conversation.s, p->conversation.n);
    feed_terms_add_fact(t, "retweets_of_id", p->repost_of.s, p->repost_of.n);
    feed_terms_add_fact(t, "quotes_of_id", p->quote_of.s, p->quote_of.n);
    feed_terms_add_fact(t, "in_reply_to_id", p->reply_to.s, p->reply_to.n);
    struct feed_slice urls = p->urls, url;
    while (feed_list_next(&urls, &url))
        feed_terms_add_url(t, url);
    bool tag = false, cash = false, name = false;
    for (size_t i = 0; i < t->n; i++) {
        tag |= t->items[i].kind == FEED_TAG;
        cash |= t->items[i].kind == FEED_CASH;
        name |= t->items[i].kind == FEED_AT;
    }
    if (tag) feed_terms_add_fact(t, "has", "hashtags", 8);
    if (cash) feed_terms_add_fact(t, "has", "cashtags", 8);
    if (name) feed_terms_add_fact(t, "has", "mentions", 8);
    unsigned flags = p->flags | (t->links ? FEED_LINKS : 0u);
    for (size_t i = 0; i < feed_n_flag_terms; i++) {
        const struct feed_flag_term *f = &feed_flag_terms[i];
        if (flags & f->flag) feed_terms_add_fact(t, f->kind, f->value, strlen(f->value));
    }
}
