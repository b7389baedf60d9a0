/* feed_look.c: a post that the index named, looked at as little as the query needs.
 *
 * A search looks at thousands of posts, and most of that time went into terms of which the query asks
 * for one or two. So a text of ASCII is gone through once, and only the words and tags that the query
 * names are noted, with their places; what is noted is what feed_terms_of_text would have said of them.
 * A text that has anything else (another script, an address) is cut into terms as everywhere.
 *
 * A query of words and facts that must all hold (feed_query.sure) was answered by the index: only its
 * numbers are held against the post, and only what is scored is counted.
 *
 * A word that nearly every post has is dear to walk along in the index. Where another one of the query
 * is rare enough, the index is asked for that alone, and the text for both (feed_look_match). A scan
 * (feed_search_scan) uses nothing of this file, so that tests hold the two against each other. */
#include "feed/search/feed_search_internal.h"

#define MAX_WORD 64 /* of a word more is not kept: feed_words.c */

/* A look at a post costs about as much as so many steps along a list of the index. */
#define STEPS_A_LOOK 128
#define MANY_STEPS   1000

enum {
    WORD = 1,
    FOLD = 0x20, /* a large letter: its small one is so far behind it */
    TAG = 2,
    MARK = 4, /* an apostrophe */
    COLON = 8
};
static const uint8_t kinds[128] = {
    ['\''] = MARK,       ['#'] = TAG,         [':'] = COLON,       ['_'] = WORD,
    ['0'] = WORD,        ['1'] = WORD,        ['2'] = WORD,        ['3'] = WORD,
    ['4'] = WORD,        ['5'] = WORD,        ['6'] = WORD,        ['7'] = WORD,
    ['8'] = WORD,        ['9'] = WORD,        ['a'] = WORD,        ['b'] = WORD,
    ['c'] = WORD,        ['d'] = WORD,        ['e'] = WORD,        ['f'] = WORD,
    ['g'] = WORD,        ['h'] = WORD,        ['i'] = WORD,        ['j'] = WORD,
    ['k'] = WORD,        ['l'] = WORD,        ['m'] = WORD,        ['n'] = WORD,
    ['o'] = WORD,        ['p'] = WORD,        ['q'] = WORD,        ['r'] = WORD,
    ['s'] = WORD,        ['t'] = WORD,        ['u'] = WORD,        ['v'] = WORD,
    ['w'] = WORD,        ['x'] = WORD,        ['y'] = WORD,        ['z'] = WORD,
    ['A'] = WORD | FOLD, ['B'] = WORD | FOLD, ['C'] = WORD | FOLD, ['D'] = WORD | FOLD,
    ['E'] = WORD | FOLD, ['F'] = WORD | FOLD, ['G'] = WORD | FOLD, ['H'] = WORD | FOLD,
    ['I'] = WORD | FOLD, ['J'] = WORD | FOLD, ['K'] = WORD | FOLD, ['L'] = WORD | FOLD,
    ['M'] = WORD | FOLD, ['N'] = WORD | FOLD, ['O'] = WORD | FOLD, ['P'] = WORD | FOLD,
    ['Q'] = WORD | FOLD, ['R'] = WORD | FOLD, ['S'] = WORD | FOLD, ['T'] = WORD | FOLD,
    ['U'] = WORD | FOLD, ['V'] = WORD | FOLD, ['W'] = WORD | FOLD, ['X'] = WORD | FOLD,
    ['Y'] = WORD | FOLD, ['Z'] = WORD | FOLD,
};

static bool is_wide(uint8_t c)
{
    return c >= 0x80;
}

/* ------------------------------------------------------------------ what a query names */

static bool is_sure(const struct feed_node *n)
{
    if (n->kind == FEED_NODE_ATOM) return n->atom == FEED_ATOM_TERM || n->atom == FEED_ATOM_RANGE;
    if (n->kind != FEED_NODE_AND) return false;
    for (size_t i = 0; i < n->n; i++)
        if (!is_sure(n->children[i])) return false;
    return true;
}

/* Whether the node is words that must all hold, and numbers. */
static bool is_all_words(const struct feed_node *n)
{
    if (n->kind == FEED_NODE_ATOM)
        return n->atom == FEED_ATOM_RANGE || (n->scored && n->atom != FEED_ATOM_BEGIN);
    if (n->kind != FEED_NODE_AND) return false;
    for (size_t i = 0; i < n->n; i++)
        if (!is_all_words(n->children[i])) return false;
    return true;
}

/* Adds what the node names to q->named; false: a glance does not see it. */
static bool name_all(struct feed_query *q, const struct feed_node *n)
{
    for (size_t i = 0; i < n->n; i++)
        if (!name_all(q, n->children[i])) return false;
    if (n->kind != FEED_NODE_ATOM || n->atom == FEED_ATOM_RANGE) return true;
    if (!n->scored) return q->sure; /* a fact, which the index has answered */
    if (n->atom == FEED_ATOM_BEGIN) return false;
    for (size_t i = 0; i < n->n_elements; i++) {
        struct feed_element *x = &n->elements[i];
        bool there = false;
        if (x->text[0] == '$' || x->text[0] == '@') return false;
        for (size_t k = 0; k < q->n_named; k++)
            there |= q->named[k]->hash == x->hash;
        if (there) continue;
        if (q->n_named == FEED_MAX_NAMED) return false;
        q->named[q->n_named++] = x;
        q->tags |= x->text[0] == '#';
    }
    return true;
}

void feed_look_prepare(struct feed_query *q)
{
    q->sure = is_sure(q->root);
    q->glance = name_all(q, q->root);
    q->words = q->glance && is_all_words(q->root);
}

/* ------------------------------------------------------------------ a glance */

static void note(struct feed_query *q, const char *word, size_t size, enum feed_term_kind kind)
{
    struct feed_terms *t = &q->terms;
    uint32_t pos = kind == FEED_WORD ? ++t->pos : 0;
    for (size_t i = 0; i < q->n_named; i++) {
        const struct feed_element *x = q->named[i];
        if (x->size != size || memcmp(x->text, word, size) != 0) continue;
        if (t->n == t->cap) {
            t->cap = t->cap ? 2 * t->cap : 64;
            t->items = mem_realloc(t->items, t->cap * sizeof(*t->items));
        }
        t->items[t->n++] = (struct feed_term){.hash = x->hash, .kind = kind, .pos = pos};
        return;
    }
}

/* A word from p on, as add_word of feed_words.c; where it ends, NULL where a glance does not do. */
static const uint8_t *note_word(struct feed_query *q, const uint8_t *p, const uint8_t *end)
{
    char word[MAX_WORD];
    size_t size = 0;
    for (; p < end; p++) {
        if (is_wide(*p)) return NULL;
        uint8_t kind = kinds[*p];
        if (kind & WORD) {
            if (size < MAX_WORD) word[size++] = (char)(*p | (kind & FOLD));
        } else if (kind != MARK || p + 1 == end || !(is_wide(p[1]) || kinds[p[1]] & WORD)) {
            break;
        }
    }
    note(q, word, size, FEED_WORD);
    return p;
}

/* The tag whose '#' is at p, as add_marked; false where a glance does not do. */
static bool note_tag(struct feed_query *q, const uint8_t *p, const uint8_t *end)
{
    char tag[2 * MAX_WORD] = "#";
    size_t size = 1;
    for (p++; p < end && !is_wide(*p) && kinds[*p] & WORD; p++) {
        if (size == sizeof(tag)) return false;
        tag[size++] = (char)(*p | (kinds[*p] & FOLD));
    }
    if (size > 1) note(q, tag, size, FEED_TAG);
    return true;
}

/* Of the text's terms those that the query names, and how many words it has; false: it is not only
 * ASCII without addresses, and what was noted is worth nothing. */
static bool glance(struct feed_query *q, const char *s, size_t n)
{
    bool in_word = false;
    for (const uint8_t *p = (const uint8_t *)s, *end = p + n; p < end;) {
        if (is_wide(*p)) return false;
        uint8_t kind = kinds[*p];
        if (kind & WORD) {
            p = note_word(q, p, end);
            if (!p) return false;
            in_word = true;
            continue;
        }
        if (kind == COLON && end - p > 2 && p[1] == '/' && p[2] == '/') return false;
        if (kind == TAG && q->tags && !in_word && !note_tag(q, p, end)) return false;
        in_word = false;
        p++;
    }
    return true;
}

static void read_text(struct feed_query *q, const struct feed_post *p)
{
    feed_terms_clear(&q->terms);
    if (p->text.n == 0 || (q->glance && glance(q, p->text.s, p->text.n))) return;
    feed_terms_clear(&q->terms);
    feed_terms_of_text(&q->terms, p->text.s, p->text.n);
}

/* ------------------------------------------------------------------ a look */

static bool has_all(const struct feed_query *q)
{
    for (size_t k = 0; k < q->n_named; k++) {
        bool there = false;
        for (size_t i = 0; i < q->terms.n && !there; i++)
            there = q->terms.items[i].hash == q->named[k]->hash;
        if (!there) return false;
    }
    return true;
}

enum feed_look feed_look(struct feed_query *q, const struct feed_post *p, bool thin)
{
    if (q->sure && !thin) {
        if (!feed_numbers_hold(q->root, p)) return FEED_LOOK_OTHER;
        if (q->n_scored) read_text(q, p);
        return FEED_LOOK_MATCH;
    }
    if (!q->glance) return feed_query_matches(q, p) ? FEED_LOOK_MATCH : FEED_LOOK_OTHER;
    read_text(q, p);
    if (thin && !has_all(q)) return FEED_LOOK_UNNAMED;
    return feed_node_holds(q, q->root, p) ? FEED_LOOK_MATCH : FEED_LOOK_OTHER;
}

const char *feed_look_match(const struct feed_query *q, int64_t posts, struct arena *a)
{
    int64_t rare = INT64_MAX;
    struct str match = {0};
    bool fewer = false;
    if (!q->words) return NULL;
    for (size_t i = 0; i < q->n_named; i++)
        rare = MIN(rare, q->named[i]->frequency);
    for (size_t i = 0; i < q->n_named; i++) {
        /* dear: its list is long beside the looks that it would spare */
        double n = (double)q->named[i]->frequency, others = 1 - MIN(n / (double)MAX(posts, 1), 1);
        if (n > MANY_STEPS && n > STEPS_A_LOOK * (double)rare * others && rare > 0 &&
            q->named[i]->frequency > rare)
            fewer = true;
        else
            str_printf(&match, "%s\"%s\"", match.len ? " AND " : "", q->named[i]->text);
    }
    const char *out = fewer ? arena_strdup(a, match.data) : NULL;
    str_fini(&match);
    return out;
}
