/* feed_question.c: a question becomes searches, and posts become candidates.
 *
 * No model rewrites the question: its words are taken that say something, each in its usual forms
 * ("fall" also as falls, falling), and weighed by how few posts have them. First posts are looked for
 * that have all of them, then all but the commonest, and so on, then any of the rare ones, at last any;
 * until there are enough.
 *
 *   covered    the share of the question's weight that the post's words have; below COVERED a post
 *              is no candidate, unless it has MANY of its words, all its names and numbers, and
 *              COVERED_BY_MANY of the weight: of a long question some words say how it is asked. Names
 *              and numbers weigh twice as much as others. One word of several is enough only where it
 *              is the only name or number and has PLAIN of the weight without that. "12,000" is one
 *              word; who trades is a trader, for 0.6 of the weight. A word that no post has weighs
 *              most, and where there is one PLAIN of the weight without the names' doubling is needed,
 *              so that a question about something that nobody mentions finds nothing. A date is no
 *              word: posts must be of it, or name it, for 0.6 of that (feed_when.c)
 *   relevance  covered x (1 + recency) / 2 x min(engagement, 4)^(1/4): how new and how liked a post is
 *              orders what says the same, and does not outweigh what it says */
#include "feed/ask/feed_ask_internal.h"

#include <strings.h>
#include <xxhash.h>

#define COVERED         0.55
#define PLAIN           0.5
#define COVERED_BY_MANY 0.4
#define MANY            3
#define NAME            2.0
#define DEED            0.6
#define NAMES_DATE      0.6
#define ENOUGH          60   /* candidates, then no wider search is made */
#define HITS            2000 /* of a search */
#define DEPTH           6000 /* newest matches that are ranked in it */

void feed_candidates_fini(struct feed_candidates *c)
{
    mem_free(c->items);
    feed_keys_fini(&c->seen);
    str_fini(&c->queries);
    *c = (struct feed_candidates){0};
}

/* ------------------------------------------------------------------ words */

static uint64_t stem_of(struct feed_slice word)
{
    char stem[256];
    return XXH3_64bits(stem, feed_stem(word.s, word.n, stem));
}

static bool is_number(struct feed_slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.s[i] < '0' || s.s[i] > '9') return false;
    return s.n > 0;
}

/* The stem of "fight" for "fighter" and "fighters" in `out`; 0: nobody is called so. */
static size_t deed_stem(struct feed_slice word, char out[256])
{
    size_t n = word.n - (word.n > 0 && word.s[word.n - 1] == 's');
    if (n < 6 || word.s[n - 1] != 'r' || word.s[n - 2] != 'e') return 0;
    char deed[256];
    memcpy(deed, word.s, n - 2);
    memcpy(deed + n - 2, "ed", 2); /* cut off again, with what it doubles */
    return feed_stem(deed, n, out);
}

static uint64_t deed_of(struct feed_slice word)
{
    char stem[256];
    size_t n = deed_stem(word, stem);
    return n ? XXH3_64bits(stem, n) : 0;
}

/* A word of the question, and what stands behind it where both are one number. */
static void add_word(struct feed_question *q, struct feed_slice word, struct feed_slice second,
                     bool name, struct arena *a)
{
    if (word.n >= 256 || second.n >= 256 || q->n == FEED_QUESTION_WORDS) return;
    struct feed_question_word w = {.stem = stem_of(word), .name = name || is_number(word)};
    if (second.n)
        w.second = stem_of(second);
    else
        w.deed = deed_of(word);
    for (size_t i = 0; i < q->n; i++) {
        if (q->words[i].stem != w.stem || q->words[i].second != w.second) continue;
        q->words[i].name |= name;
        return;
    }
    w.text = arena_printf(a, "%.*s%s%.*s", (int)word.n, word.s, second.n ? " " : "", (int)second.n,
                          second.n ? second.s : "");
    q->words[q->n++] = w;
}

/* Whether the text has the word as a name: a capital that does not begin the text, or a mark. */
static bool is_name(const char *text, struct feed_slice folded)
{
    for (const char *s = text; *s; s++) {
        bool begins =
            s == text || !((s[-1] >= 'a' && s[-1] <= 'z') || (s[-1] >= 'A' && s[-1] <= 'Z') ||
                           (s[-1] >= '0' && s[-1] <= '9') || (s[-1] & 0x80));
        if (!begins || strncasecmp(s, folded.s, folded.n) != 0) continue;
        if (s > text && strchr("#$@", s[-1])) return true;
        if (s > text && *s >= 'A' && *s <= 'Z') return true;
    }
    return false;
}

/* " OR \"sells\" OR \"selling\" ...": forms that have this stem, without `but`. */
static void put_forms_of(const char *stem, size_t k, const char *but, struct str *out)
{
    static const char *const plain[] = {"", "s", "e", "es", "ed", "ing", "ly", "eing"},
                             *const of_e[] = {"ed", "ing"}, *const of_y[] = {"y", "ying"};
    const bool e = stem[k - 1] == 'e', y = stem[k - 1] == 'i';
    const struct {
        size_t cut; /* bytes of the stem's end that are left out */
        bool twice; /* its last letter is doubled: "planned" */
        const char *const *endings;
        size_t n;
    } ways[] = {{0, false, plain, e ? 2 : ARRAY_LEN(plain)},
                {1, false, of_e, e ? ARRAY_LEN(of_e) : 0},
                {1, false, of_y, y ? ARRAY_LEN(of_y) : 0},
                {0, true, of_e, e || y ? 0 : ARRAY_LEN(of_e)}};
    for (size_t w = 0; w < ARRAY_LEN(ways); w++)
        for (size_t i = 0; i < ways[w].n; i++) {
            char form[256], again[256];
            int size = snprintf(form, sizeof(form), "%.*s%.*s%s", (int)(k - ways[w].cut), stem,
                                ways[w].twice, &stem[k - 1], ways[w].endings[i]);
            size_t same = feed_stem(form, (size_t)size, again);
            if (same != k || memcmp(again, stem, k) != 0 || strcmp(form, but) == 0) continue;
            str_printf(out, " OR \"%s\"", form);
        }
}

/* "(\"sell\" OR \"sells\" OR ...)": a word in the forms that have its stem, and those of its deed. */
static void put_forms(const struct feed_question_word *w, struct str *out)
{
    char stem[256];
    if (w->second) {
        str_printf(out, "\"%s\"", w->text);
        return;
    }
    size_t n = strlen(w->text), k = feed_stem(w->text, n, stem), at = 0;
    const char *base = feed_base_of(w->text, n), *form;
    if (!base) base = w->text;
    str_printf(out, "(\"%s\"", w->text);
    while ((form = feed_irregular_form(base, strlen(base), &at)))
        if (strcmp(form, w->text) != 0) str_printf(out, " OR \"%s\"", form);
    bool letters = k >= 3 && k < 200;
    for (size_t i = 0; i < n; i++)
        letters &= w->text[i] >= 'a' && w->text[i] <= 'z';
    if (letters) put_forms_of(stem, k, w->text, out);
    if (letters && w->deed) { /* trader: trade, trades, traded, trading */
        k = deed_stem((struct feed_slice){w->text, n}, stem);
        put_forms_of(stem, k, w->text, out);
    }
    str_append_char(out, ')');
}

/* How many posts have each word, asked of the index all at once. */
static int weigh(feed_store_t *s, struct feed_question *q, struct error *e)
{
    struct str text = {0};
    feed_query_t *query;
    int64_t posts = 0;
    for (size_t i = 0; i < q->n; i++) {
        if (i) str_puts(&text, " OR ");
        put_forms(&q->words[i], &text);
    }
    int rc = feed_query_parse(text.data, &query, e);
    str_fini(&text);
    TRY(rc);
    rc = feed_rank_prepare(s, query, &posts, e);
    for (size_t i = 0; i < query->n_scored && rc >= 0; i++) {
        char stem[256];
        const struct feed_node *node = query->scored[i];
        const struct feed_element *x = &node->elements[0];
        uint64_t hash = XXH3_64bits(stem, feed_stem(x->text, MIN(x->size, sizeof(stem) - 1), stem));
        for (size_t k = 0; k < q->n; k++)
            if (q->words[k].deed == hash) q->words[k].deeds += query->frequencies[i];
        for (size_t k = 0; k < q->n; k++)
            if (q->words[k].stem == hash && (q->words[k].second != 0) == (node->n_elements > 1))
                q->words[k].posts += query->frequencies[i];
    }
    feed_query_free(query);
    q->weight = 0;
    q->unknown = false;
    for (size_t i = 0; i < q->n; i++) {
        q->unknown |= q->words[i].posts + q->words[i].deeds == 0;
        double n = (double)MIN(q->words[i].posts, posts);
        q->words[i].weight =
            log(1 + ((double)posts + 1) / (n + 0.5)) * (q->words[i].name ? NAME : 1);
        q->weight += q->words[i].weight;
    }
    return rc;
}

static int by_weight(const void *a, const void *b)
{
    const struct feed_question_word *x = a, *y = b;
    if (x->weight != y->weight) return x->weight < y->weight ? 1 : -1;
    return strcmp(x->text, y->text);
}

/* "Which of the two fighters": how many, not which. */
static bool is_count_word(struct feed_slice s)
{
    static const char *const words[] = {"two", "three", "four", "five", "six", "ten"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (feed_is(s, words[i])) return true;
    return false;
}

/* Whether the text has "12,000" or "2.5" of the two. */
static bool is_one_number(const char *text, struct feed_slice a, struct feed_slice b)
{
    for (const char *s = text; (s = strpbrk(s, ",.")); s++) {
        if ((size_t)(s - text) < a.n || strncmp(s - a.n, a.s, a.n) != 0) continue;
        if (strncmp(s + 1, b.s, b.n) == 0) return true;
    }
    return false;
}

int feed_question_read(feed_store_t *s, const char *text, struct feed_question *q, struct arena *a,
                       struct error *e)
{
    struct feed_terms t = {0};
    size_t date = 0; /* where the last one begins */
    *q = (struct feed_question){0};
    if (!feed_utf8_valid(text, strlen(text)))
        return error_set_code(e, ERROR_USAGE, "the question is not UTF-8");
    feed_terms_of_text(&t, text, strlen(text));
    for (size_t i = 0; i < t.n; i++) {
        const size_t dated =
            q->n_dates < FEED_QUESTION_DATES ? feed_when_read(&t, i, &q->dates[q->n_dates]) : 0;
        if (dated) {
            struct feed_when *d = &q->dates[q->n_dates++];
            if (q->n_dates > 1) feed_when_join(&t, date, i, d - 1, d);
            date = i;
            i += dated - 1;
            continue;
        }
        const struct feed_term *x = &t.items[i], *y = i + 1 < t.n ? x + 1 : NULL;
        struct feed_slice word = {t.text.data + x->at, x->n}, next = {0};
        if (x->kind != FEED_WORD || feed_is_stop_word(word.s, word.n) || is_count_word(word))
            continue;
        if (y && y->kind == FEED_WORD && y->pos == x->pos + 1) {
            next = (struct feed_slice){t.text.data + y->at, y->n};
            if (!is_number(word) || !is_number(next) || !is_one_number(text, word, next))
                next.n = 0;
        }
        add_word(q, word, next, is_name(text, word), a);
        i += next.n > 0;
    }
    feed_terms_fini(&t);
    if (q->n == 0) {
        error_set_code(e, ERROR_USAGE,
                       q->n_dates ? "the question has a date, and nothing that can be looked for"
                                  : "no word of the question can be looked for");
        return error_hint(e, "name what it is about: \"what do people say about $TSLA?\"");
    }
    TRY(feed_manifest_refresh(&s->m, e));
    TRY(weigh(s, q, e));
    qsort(q->words, q->n, sizeof(q->words[0]), by_weight);
    return 0;
}

/* ------------------------------------------------------------------ candidates */

/* Whether the text has the number, "12 000" as 12,000 or 12.000. */
static bool has_number(struct feed_slice t, const char *number)
{
    const size_t n = strlen(number);
    for (size_t i = 0; i + n <= t.n; i++) {
        size_t k = 0;
        while (k < n && (number[k] == ' ' ? t.s[i + k] == ',' || t.s[i + k] == '.'
                                          : t.s[i + k] == number[k]))
            k++;
        bool begins = i == 0 || !is_number((struct feed_slice){t.s + i - 1, 1});
        bool ends = i + n == t.n || !is_number((struct feed_slice){t.s + i + n, 1});
        if (k == n && begins && ends) return true;
    }
    return false;
}

/* The share of the question's weight; 0: too little for a candidate. */
static double covered_by(const struct feed_question *q, const struct feed_stems *stems,
                         struct feed_slice text)
{
    double sum = 0, plain = 0, all = 0;
    size_t words = 0, names = 0, missing = 0;
    for (size_t i = 0; i < q->n; i++) {
        const struct feed_question_word *w = &q->words[i];
        bool there = w->second ? has_number(text, w->text) : feed_stems_have(stems, w->stem);
        bool deed = !there && w->deed && feed_stems_have(stems, w->deed);
        const double share = there  ? 1
                             : deed ? DEED
                                    : 0,
                     own = w->name ? w->weight / NAME : w->weight;
        sum += share * w->weight;
        plain += share * own;
        all += own;
        words += there || deed;
        names += there && w->name;
        missing += !there && w->name;
    }
    double covered = q->weight > 0 ? sum / q->weight : 0;
    if (words < 2 && q->n > 1 && (!names || missing || plain < PLAIN * all)) return 0;
    if (q->unknown && plain < PLAIN * all) return 0;
    if (covered >= COVERED) return covered;
    return words >= MANY && !missing && covered >= COVERED_BY_MANY ? covered : 0;
}

/* 1 for a post of one of the question's dates, NAMES_DATE for one that only names it. */
static double of_dates(const struct feed_question *q, const struct feed_post *p,
                       const struct feed_stems *stems)
{
    double best = q->n_dates ? 0 : 1;
    for (size_t i = 0; i < q->n_dates; i++) {
        if (q->dates[i].joined) continue;
        if (feed_when_is_of(&q->dates[i], p)) return 1;
        if (feed_when_is_named(&q->dates[i], stems)) best = NAMES_DATE;
    }
    return best;
}

static void keep_hit(struct feed_candidates *c, const struct feed_hit *h, double covered,
                     const struct feed_ask_options *o)
{
    if (c->n == c->cap) {
        c->cap = c->cap ? 2 * c->cap : 256;
        c->items = mem_realloc(c->items, c->cap * sizeof(*c->items));
    }
    /* the search was told of no age; here it counts */
    double half_life_s = o->half_life_s > 0 ? o->half_life_s : FEED_ASK_HALF_LIFE_S;
    double recency = exp2(-h->half_lives * FEED_NO_AGE_S / half_life_s);
    c->items[c->n++] = (struct feed_candidate){.post = h->post,
                                               .place = h->place,
                                               .covered = covered,
                                               .relevance = covered * (1 + recency) / 2 *
                                                            pow(MIN(h->engagement, 4.0), 0.25)};
}

static int search_for(feed_store_t *s, const struct feed_gather *g, const char *query,
                      struct feed_candidates *out, struct error *e)
{
    const struct feed_search_options o = {
        .limit = HITS, .depth = DEPTH, .half_life_s = FEED_NO_AGE_S, .now_ms = g->o->now_ms};
    struct feed_answer x;
    struct feed_terms scratch = {0};
    struct feed_stems stems = {0};
    feed_query_t *q;
    TRY(feed_query_parse(query, &q, e));
    str_printf(&out->queries, "%s\n", query);
    int rc = feed_search(s, q, &o, g->a, &x, e);
    for (size_t i = 0; rc >= 0 && i < x.n_hits; i++) {
        const struct feed_post *p = &x.hits[i].post;
        int64_t *seen = feed_keys_at(&out->seen, feed_key(p->service, "p", p->id), true);
        if (*seen) continue;
        *seen = 1;
        feed_stems_of(&scratch, p->text, true, &stems);
        double covered = covered_by(g->q, &stems, p->text);
        covered *= of_dates(g->q, p, &stems);
        if (covered <= 0) continue;
        if (feed_gives_orders(p->text)) {
            out->orders++;
            continue;
        }
        keep_hit(out, &x.hits[i], covered, g->o);
    }
    str_fini(&x.plan);
    feed_query_free(q);
    feed_terms_fini(&scratch);
    feed_stems_fini(&stems);
    return rc;
}

/* The n weightiest of the words that any post has; all must stand in a post, or one of them. date: posts
 * of that one only, or NULL. */
static bool put_query(const struct feed_gather *g, size_t n, bool any, const struct feed_when *date,
                      struct str *out)
{
    size_t k = 0;
    str_clear(out);
    str_append_char(out, '(');
    for (size_t i = 0; i < g->q->n && k < n; i++) {
        if (g->q->words[i].posts + g->q->words[i].deeds == 0) continue;
        if (k++) str_puts(out, any ? " OR " : " ");
        put_forms(&g->q->words[i], out);
    }
    str_append_char(out, ')');
    if (g->o->within) str_printf(out, " (%s)", g->o->within);
    if (g->without) str_printf(out, " %s", g->without);
    if (date) feed_when_query(date, out);
    return k > 0;
}

/* The weightiest words that together have so few posts that a search looks at each. */
static size_t count_rare(const struct feed_question *q)
{
    int64_t posts = 0;
    size_t n = 0;
    for (size_t i = 0; i < q->n; i++) {
        const int64_t own = q->words[i].posts + q->words[i].deeds;
        if (posts + own > DEPTH) break;
        posts += own;
        n += own > 0;
    }
    return n;
}

/* Narrow searches, then wider ones, until there are enough. */
static int gather(feed_store_t *s, const struct feed_gather *g, const struct feed_when *date,
                  struct feed_candidates *out, struct error *e)
{
    struct str query = {0};
    size_t known = 0, before = out->n;
    int rc = 0;
    for (size_t i = 0; i < g->q->n; i++)
        known += g->q->words[i].posts + g->q->words[i].deeds > 0;
    for (size_t n = known; n > 1 && rc >= 0 && out->n - before < ENOUGH; n--) {
        put_query(g, n, false, date, &query);
        rc = search_for(s, g, query.data, out, e);
    }
    const size_t rare = count_rare(g->q);
    if (rc >= 0 && rare && rare < known && out->n - before < ENOUGH) {
        put_query(g, rare, true, date, &query);
        rc = search_for(s, g, query.data, out, e);
    }
    if (rc >= 0 && known && out->n - before < ENOUGH) {
        put_query(g, known, true, date, &query);
        rc = search_for(s, g, query.data, out, e);
    }
    str_fini(&query);
    return rc;
}

int feed_question_gather(feed_store_t *s, const struct feed_gather *g, struct feed_candidates *out,
                         struct error *e)
{
    const size_t before = out->n;
    for (size_t i = 0; i < g->q->n_dates; i++) {
        const struct feed_when *d = &g->q->dates[i];
        if (!d->joined && (d->from || d->to)) TRY(gather(s, g, d, out, e));
    }
    /* those that name the date */
    return out->n - before < ENOUGH ? gather(s, g, NULL, out, e) : 0;
}
