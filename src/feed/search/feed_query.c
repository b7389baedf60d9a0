/* feed_query.c: X's query language as a tree.
 *
 *   query = all ("OR" all)*      all = one one*      one = ["-"] ( "(" query ")" | atom )
 *   atom  = word | "words in a row" | #tag | $CASHTAG | @name | operator:value
 *
 * What stands side by side must all hold, and binds before OR. What X has and a store does not
 * (places, topics, lists) is refused by name; so is a word without a letter, and a query that names
 * nothing to look up, since every part of an OR has to. */
#include "feed/search/feed_search_internal.h"

#include <xxhash.h>

#define MAX_ATOMS 256
#define MAX_DEPTH 32
#define MAX_BYTES 8192

struct parse {
    const char *text, *p;
    struct feed_query *q;
    size_t atoms;
    int depth;
    struct error *e;
};

static int wrong(struct parse *x, const char *at, const char *fmt, ...) PRINTF_LIKE(3, 4);
static int wrong(struct parse *x, const char *at, const char *fmt, ...)
{
    char what[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof(what), fmt, args);
    va_end(args);
    return error_set_code(x->e, ERROR_USAGE, "query, byte %zu: %s", (size_t)(at - x->text) + 1,
                          what);
}

static void skip_blanks(struct parse *x)
{
    while (*x->p == ' ' || *x->p == '\t' || *x->p == '\n')
        x->p++;
}

static struct feed_node *node_new(struct parse *x, enum feed_node_kind kind)
{
    struct feed_node *n = arena_alloc(&x->q->arena, sizeof(*n));
    n->kind = kind;
    return n;
}

static void add_child(struct parse *x, struct feed_node *n, struct feed_node *child)
{
    struct feed_node **all = arena_alloc(&x->q->arena, (n->n + 1) * sizeof(struct feed_node *));
    if (n->n) memcpy(all, n->children, n->n * sizeof(struct feed_node *));
    all[n->n++] = child;
    n->children = all;
}

static void add_element(struct parse *x, struct feed_node *n, const char *s, size_t size, bool last)
{
    struct feed_element *all =
        arena_alloc(&x->q->arena, (n->n_elements + 1) * sizeof(struct feed_element));
    if (n->n_elements) memcpy(all, n->elements, n->n_elements * sizeof(*all));
    all[n->n_elements++] = (struct feed_element){arena_strndup(&x->q->arena, s, size),
                                                 XXH3_64bits(s, size), size, last, 0};
    n->elements = all;
}

static struct feed_node *range(struct parse *x, enum feed_number what, int64_t low, int64_t high)
{
    struct feed_node *n = node_new(x, FEED_NODE_ATOM);
    n->atom = FEED_ATOM_RANGE;
    n->number = what;
    n->low = low;
    n->high = high;
    return n;
}

/* ------------------------------------------------------------------ words */

static struct feed_node *term_node(struct parse *x, const struct feed_terms *t, size_t i,
                                   bool scored)
{
    struct feed_node *n = node_new(x, FEED_NODE_ATOM);
    n->atom = FEED_ATOM_TERM;
    n->scored = scored;
    add_element(x, n, feed_term_text(t, &t->items[i]), t->items[i].n, false);
    return n;
}

/* The words of t as one atom: a term, a character, or a phrase. */
static struct feed_node *words_node(struct parse *x, const struct feed_terms *t)
{
    struct feed_node *n = node_new(x, FEED_NODE_ATOM);
    for (size_t i = 0; i < t->n; i++) {
        const struct feed_term *term = &t->items[i];
        bool alone = term->kind == FEED_LAST && (i == 0 || t->items[i - 1].pos != term->pos);
        if (term->kind == FEED_WORD || alone)
            add_element(x, n, feed_term_text(t, term), term->n, alone);
    }
    n->scored = true;
    n->atom = n->n_elements > 1     ? FEED_ATOM_PHRASE
              : n->n_elements == 0  ? FEED_ATOM_TERM
              : n->elements[0].last ? FEED_ATOM_BEGIN
                                    : FEED_ATOM_TERM;
    return n;
}

static int read_words(struct parse *x, const char *s, size_t n, struct feed_node **out)
{
    struct feed_terms t = {0};
    *out = NULL;
    feed_terms_of_text(&t, s, n);
    enum feed_term_kind marked = s[0] == '#' ? FEED_TAG : s[0] == '$' ? FEED_CASH : FEED_AT;
    for (size_t i = 0; i < t.n && !*out && strchr("#$@", s[0]); i++)
        if (t.items[i].kind == marked) *out = term_node(x, &t, i, true);
    if (!*out) *out = words_node(x, &t);
    feed_terms_fini(&t);
    if ((*out)->n_elements) return 0;
    if (n > 7 && strncmp(s, "http", 4) == 0) {
        wrong(x, s, "'%.*s' is an address, which is no word", (int)MIN(n, (size_t)80), s);
        return error_hint(x->e, "url:\"%.*s\" finds posts that link to it", (int)MIN(n, (size_t)80),
                          s);
    }
    return wrong(x, s, "there is no word in '%.*s'", (int)MIN(n, (size_t)80), s);
}

/* ------------------------------------------------------------------ operators */

struct operator_row {
    const char *name;
    const char *fact;        /* the kind of term that says it, or NULL */
    enum feed_number number; /* where fact is NULL */
    bool lower, day;         /* a lower bound; a time */
};
static const struct operator_row operators[] = {
    {"from", "from"},
    {"to", "to"},
    {"lang", "lang"},
    {"url", "url"},
    {"is", "is"},
    {"has", "has"},
    {"filter", "filter"},
    {"conversation_id", "conversation_id"},
    {"in_reply_to_tweet_id", "in_reply_to_id"},
    {"in_reply_to_status_id", "in_reply_to_id"},
    {"retweets_of_tweet_id", "retweets_of_id"},
    {"quotes_of_tweet_id", "quotes_of_id"},
    {"since", NULL, FEED_NUMBER_TIME, true, true},
    {"until", NULL, FEED_NUMBER_TIME, false, true},
    {"since_time", NULL, FEED_NUMBER_TIME, true, true},
    {"until_time", NULL, FEED_NUMBER_TIME, false, true},
    {"since_id", NULL, FEED_NUMBER_ID, true},
    {"max_id", NULL, FEED_NUMBER_ID, false},
    {"min_faves", NULL, FEED_NUMBER_LIKES, true},
    {"min_likes", NULL, FEED_NUMBER_LIKES, true},
    {"min_retweets", NULL, FEED_NUMBER_REPOSTS, true},
    {"min_replies", NULL, FEED_NUMBER_REPLIES, true},
    {"min_quotes", NULL, FEED_NUMBER_QUOTES, true},
    {"min_followers", NULL, FEED_NUMBER_FOLLOWERS, true},
    {"followers_count", NULL, FEED_NUMBER_FOLLOWERS, true},
    {"sample", NULL, FEED_NUMBER_SAMPLE, false},
};

/* Operators of X that ask for what a store does not have. */
static const char *const refused[][2] = {
    {"place", "where a post was written is not kept"},
    {"place_country", "where a post was written is not kept"},
    {"point_radius", "where a post was written is not kept"},
    {"bounding_box", "where a post was written is not kept"},
    {"near", "where a post was written is not kept"},
    {"geocode", "where a post was written is not kept"},
    {"within", "where a post was written is not kept"},
    {"context", "X's topics are not kept"},
    {"entity", "X's topics are not kept"},
    {"list", "who is on a list is not known"},
    {"bio", "profiles are not kept"},
    {"bio_name", "profiles are not kept"},
    {"bio_location", "profiles are not kept"},
    {"source", "which program sent a post is not kept"},
    {"embedding", "meanings are not searched, words are"},
    {"embedding_threshold", "meanings are not searched, words are"},
    {"retweets_of", "reposts are known by the post's id: retweets_of_tweet_id:"},
    {"tweets_count", "numbers of an author's posts are not kept"},
    {"following_count", "whom an author follows is not kept"},
    {"listed_count", "who is on a list is not known"},
};

/* Values of is:, has: and filter:, and the terms that say so. */
static const struct {
    const char *operator, * value, *kind, *term;
} facts[] = {
    {"is", "reply", "is", "reply"},         {"is", "retweet", "is", "retweet"},
    {"is", "quote", "is", "quote"},         {"is", "verified", "is", "verified"},
    {"is", "edited", "is", "edited"},       {"is", "sensitive", "is", "sensitive"},
    {"has", "links", "has", "links"},       {"has", "images", "has", "images"},
    {"has", "videos", "has", "videos"},     {"has", "video_link", "has", "videos"},
    {"has", "media", "has", "media"},       {"has", "hashtags", "has", "hashtags"},
    {"has", "cashtags", "has", "cashtags"}, {"has", "mentions", "has", "mentions"},
    {"filter", "links", "has", "links"},    {"filter", "images", "has", "images"},
    {"filter", "videos", "has", "videos"},  {"filter", "media", "has", "media"},
    {"filter", "replies", "is", "reply"},   {"filter", "retweets", "is", "retweet"},
    {"filter", "quote", "is", "quote"},     {"filter", "verified", "is", "verified"},
};

static struct feed_node *fact_node(struct parse *x, const char *kind, const char *s, size_t n)
{
    struct feed_terms t = {0};
    feed_terms_add_fact(&t, kind, s, n);
    struct feed_node *out = t.n ? term_node(x, &t, 0, false) : NULL;
    feed_terms_fini(&t);
    return out;
}

static int read_named(struct parse *x, const struct operator_row *row, const char *at,
                      const char *value, struct feed_node **out)
{
    const char *names[32];
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(facts); i++) {
        if (strcmp(facts[i].operator, row->name) != 0) continue;
        if (n < ARRAY_LEN(names)) names[n++] = facts[i].value;
        if (strcmp(facts[i].value, value) != 0) continue;
        *out = fact_node(x, facts[i].kind, facts[i].term, strlen(facts[i].term));
        return 0;
    }
    wrong(x, at, "'%s:' does not know '%.60s'", row->name, value);
    const char *near = name_nearest(value, names, n);
    struct str all = {0};
    for (size_t i = 0; i < n; i++)
        str_printf(&all, "%s%s", i ? ", " : "", names[i]);
    error_hint(x->e, "%s%s%sit may be %s", near ? "did you mean '" : "", near ? near : "",
               near ? "'? " : "", all.data);
    str_fini(&all);
    return x->e ? x->e->code : ERROR_USAGE;
}

/* url:example.com/news: the pieces of an address, or a host or word alone, all of them. */
static int read_url(struct parse *x, const char *at, const char *value, struct feed_node **out)
{
    struct feed_terms t = {0};
    struct str whole = {0};
    bool plain = !strstr(value, "://") && !strchr(value, '.') && !strchr(value, '/');
    if (plain)
        feed_terms_add_fact(&t, "url", value, strlen(value));
    else {
        str_printf(&whole, "%s%s", strstr(value, "://") ? "" : "http://", value);
        feed_terms_add_url(&t, (struct feed_slice){whole.data, whole.len});
        /* parents of the host are implied by it */
    }
    *out = node_new(x, FEED_NODE_AND);
    for (size_t i = 0; i < t.n; i++)
        add_child(x, *out, term_node(x, &t, i, false));
    bool some = t.n > 0;
    feed_terms_fini(&t);
    str_fini(&whole);
    return some ? 0 : wrong(x, at, "'%.80s' is no address that is indexed", value);
}

static int read_number(struct parse *x, const struct operator_row *row, const char *at,
                       const char *value, struct feed_node **out)
{
    int64_t v;
    struct feed_slice text = {(char *)(uintptr_t)value, strlen(value)};
    if (row->day) {
        for (size_t i = 0; i < text.n; i++) /* 2026-07-04_12:00:00_UTC, as X's site writes it */
            if (value[i] == '_' && strcmp(value + i, "_UTC") == 0) text.n = i;
        char copy[40];
        snprintf(copy, sizeof(copy), "%.*s", (int)MIN(text.n, sizeof(copy) - 1), value);
        for (char *c = copy; *c; c++)
            if (*c == '_') *c = ' ';
        if (!feed_time_parse((struct feed_slice){copy, strlen(copy)}, &v)) {
            wrong(x, at, "'%s:' takes a time, not '%.60s'", row->name, value);
            return error_hint(x->e, "%s:2026-07-04, %s:2026-07-04T12:30:00Z, or seconds since 1970",
                              row->name, row->name);
        }
        *out = row->lower ? range(x, row->number, v, INT64_MAX)
                          : range(x, row->number, INT64_MIN, v - 1);
        return 0;
    }
    if (parse_int(value, &v) < 0 || v < 0) {
        wrong(x, at, "'%s:' takes a whole number, not '%.60s'", row->name, value);
        return error_hint(x->e, "for example %s:10", row->name);
    }
    if (row->number == FEED_NUMBER_SAMPLE) {
        if (v < 1 || v > 100) return wrong(x, at, "'sample:' takes a percentage from 1 to 100");
        *out = range(x, row->number, 0, v - 1);
    } else if (row->number == FEED_NUMBER_ID) {
        *out = row->lower ? range(x, row->number, v + 1, INT64_MAX) : range(x, row->number, 0, v);
    } else {
        *out = range(x, row->number, v, INT64_MAX);
    }
    return 0;
}

static int unknown_operator(struct parse *x, const char *at, const char *name)
{
    const char *names[ARRAY_LEN(operators)];
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        if (strcmp(refused[i][0], name) != 0) continue;
        wrong(x, at, "'%s:' is an operator of X's that a store cannot answer", name);
        return error_hint(x->e, "%s", refused[i][1]);
    }
    for (size_t i = 0; i < ARRAY_LEN(operators); i++)
        names[i] = operators[i].name;
    wrong(x, at, "'%.40s:' is no operator", name);
    const char *near = name_nearest(name, names, ARRAY_LEN(names));
    return error_hint(x->e, "%s%s%sput quotes around a text that holds ':'",
                      near ? "did you mean '" : "", near ? near : "", near ? ":'? " : "");
}

/* operator:value, where `at` is its first byte and value is copied, without quotes. */
static int read_operator(struct parse *x, const char *at, const char *name, const char *value,
                         struct feed_node **out)
{
    const struct operator_row *row = NULL;
    for (size_t i = 0; i < ARRAY_LEN(operators); i++)
        if (strcmp(operators[i].name, name) == 0) row = &operators[i];
    if (!row) return unknown_operator(x, at, name);
    if (!value[0]) {
        wrong(x, at, "'%s:' is given nothing", name);
        return error_hint(x->e, "the value stands right behind the colon, without a blank");
    }
    if (!row->fact) return read_number(x, row, at, value, out);
    if (strcmp(row->fact, "is") == 0 || strcmp(row->fact, "has") == 0 ||
        strcmp(row->fact, "filter") == 0)
        return read_named(x, row, at, value, out);
    if (strcmp(row->fact, "url") == 0) return read_url(x, at, value, out);
    if (value[0] == '@') value++;
    *out = fact_node(x, row->fact, value, strlen(value));
    return *out ? 0 : wrong(x, at, "'%s:' is given nothing", name);
}

/* ------------------------------------------------------------------ the grammar */

static int read_or(struct parse *x, struct feed_node **out);

static bool is_operator_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static int read_quoted(struct parse *x, const char **s, size_t *n)
{
    const char *begin = x->p++;
    const char *end = strchr(x->p, '"');
    if (!end) return wrong(x, begin, "a quote that does not end");
    *s = x->p;
    *n = (size_t)(end - x->p);
    x->p = end + 1;
    return 0;
}

static int read_atom(struct parse *x, struct feed_node **out)
{
    const char *at = x->p, *s = at, *colon = at;
    size_t n = 0;
    if (++x->atoms > MAX_ATOMS) return wrong(x, at, "more than %d words", MAX_ATOMS);
    if (*at == '"') {
        TRY(read_quoted(x, &s, &n));
        if (*x->p == '~') {
            wrong(x, x->p, "words near to each other ('~') are not searched");
            return error_hint(x->e, "without quotes, posts with all of them are found");
        }
        return read_words(x, s, n, out);
    }
    while (is_operator_char(*colon))
        colon++;
    if (colon > at && *colon == ':' && strncmp(colon, "://", 3) != 0) {
        char *name = arena_strndup(&x->q->arena, at, (size_t)(colon - at));
        x->p = colon + 1;
        if (*x->p == '"') {
            TRY(read_quoted(x, &s, &n));
        } else {
            s = x->p;
            n = strcspn(s, " \t\n()\"");
            x->p += n;
        }
        return read_operator(x, at, name, arena_strndup(&x->q->arena, s, n), out);
    }
    n = strcspn(at, " \t\n()\"");
    x->p += n;
    if (n > 1 && at[n - 1] == '*') {
        wrong(x, at, "beginnings of words ('*') are not searched, as in X");
        return error_hint(x->e, "(word OR words) names several forms");
    }
    return read_words(x, at, n, out);
}

static int read_one(struct parse *x, struct feed_node **out)
{
    const char *at = x->p;
    bool negated = false;
    struct feed_node *inner = NULL;
    while (*x->p == '-') {
        negated = !negated;
        x->p++;
    }
    if (*x->p == ' ' || *x->p == '\0') return wrong(x, at, "'-' stands before nothing");
    if (*x->p == '(') {
        if (++x->depth > MAX_DEPTH) return wrong(x, at, "brackets nested too deeply");
        x->p++;
        TRY(read_or(x, &inner));
        if (*x->p != ')') return wrong(x, at, "a bracket that is not closed");
        x->p++;
        x->depth--;
    } else {
        TRY(read_atom(x, &inner));
    }
    *out = inner;
    if (!negated) return 0;
    *out = node_new(x, FEED_NODE_NOT);
    add_child(x, *out, inner);
    return 0;
}

static bool at_or(const char *p)
{
    return p[0] == 'O' && p[1] == 'R' && (p[2] == ' ' || p[2] == '(' || p[2] == '"' || !p[2]);
}

static bool at_and(const char *p)
{
    return strncmp(p, "AND", 3) == 0 && (p[3] == ' ' || p[3] == '(' || !p[3]);
}

static int read_all(struct parse *x, struct feed_node **out)
{
    *out = node_new(x, FEED_NODE_AND);
    for (;;) {
        struct feed_node *one = NULL;
        skip_blanks(x);
        if (at_and(x->p) && (*out)->n) { /* what X says with a blank */
            x->p += 3;
            continue;
        }
        if (!*x->p || *x->p == ')' || at_or(x->p)) break;
        TRY(read_one(x, &one));
        add_child(x, *out, one);
    }
    if ((*out)->n) return 0;
    return wrong(x, x->p, *x->p ? "something was expected before '%.2s'" : "nothing is asked%s",
                 *x->p ? x->p : "");
}

static int read_or(struct parse *x, struct feed_node **out)
{
    struct feed_node *all = NULL;
    TRY(read_all(x, &all));
    *out = all;
    while (at_or(x->p)) {
        x->p += 2;
        if ((*out)->kind != FEED_NODE_OR) {
            struct feed_node *any = node_new(x, FEED_NODE_OR);
            add_child(x, any, *out);
            *out = any;
        }
        TRY(read_all(x, &all));
        add_child(x, *out, all);
    }
    return 0;
}

/* ------------------------------------------------------------------ what follows from the tree */

static void collect(struct parse *x, struct feed_node *n, bool negated)
{
    struct feed_query *q = x->q;
    for (size_t i = 0; i < n->n; i++)
        collect(x, n->children[i], negated != (n->kind == FEED_NODE_NOT));
    if (n->kind != FEED_NODE_ATOM) return;
    if (n->atom != FEED_ATOM_RANGE && !n->scored) q->facts = true;
    if (n->atom == FEED_ATOM_RANGE &&
        (n->number == FEED_NUMBER_ID || n->number == FEED_NUMBER_SAMPLE))
        q->ids = true;
    if (n->scored && !negated) q->scored[q->n_scored++] = n;
}

/* Bounds of time that every match keeps. */
static void bound(struct feed_query *q, const struct feed_node *n)
{
    if (n->kind == FEED_NODE_AND)
        for (size_t i = 0; i < n->n; i++)
            bound(q, n->children[i]);
    if (n->kind != FEED_NODE_ATOM || n->atom != FEED_ATOM_RANGE || n->number != FEED_NUMBER_TIME)
        return;
    if (n->low > q->since_ms) q->since_ms = n->low;
    if (n->high < q->until_ms) q->until_ms = n->high + 1;
}

static int settle(struct parse *x)
{
    struct feed_query *q = x->q;
    struct str match = {0};
    q->scored = arena_alloc(&q->arena, MAX_ATOMS * sizeof(struct feed_node *));
    q->frequencies = arena_alloc(&q->arena, MAX_ATOMS * sizeof(int64_t));
    q->weights = arena_alloc(&q->arena, MAX_ATOMS * sizeof(double));
    q->since_ms = INT64_MIN;
    q->until_ms = INT64_MAX;
    collect(x, q->root, false);
    bound(q, q->root);
    feed_look_prepare(q);
    bool some = feed_node_match(q->root, &match);
    if (some) q->match = arena_strdup(&q->arena, match.data);
    str_fini(&match);
    if (some) return 0;
    error_set_code(x->e, ERROR_USAGE, "the query names nothing to look up");
    return error_hint(x->e, "a word, a tag, from: or another thing that a post has must stand in "
                            "it, and in each part of an OR; '-' and numbers only narrow");
}

int feed_query_parse(const char *text, feed_query_t **out, struct error *e)
{
    feed_query_t *q = mem_calloc(1, sizeof(*q));
    struct parse x = {.text = text, .p = text, .q = q, .e = e};
    int rc = 0;
    if (strlen(text) > MAX_BYTES)
        rc = error_set_code(e, ERROR_USAGE, "a query has at most %d bytes", MAX_BYTES);
    else if (!feed_utf8_valid(text, strlen(text)))
        rc = error_set_code(e, ERROR_USAGE, "the query is not UTF-8");
    q->hash = XXH3_64bits(text, strlen(text));
    if (rc >= 0) rc = read_or(&x, &q->root);
    if (rc >= 0 && *x.p) rc = wrong(&x, x.p, "a bracket that was not opened");
    if (rc >= 0) rc = settle(&x);
    if (rc < 0) {
        feed_query_free(q);
        return rc;
    }
    *out = q;
    return 0;
}

void feed_query_free(feed_query_t *q)
{
    if (!q) return;
    arena_fini(&q->arena);
    feed_terms_fini(&q->terms);
    mem_free(q);
}
