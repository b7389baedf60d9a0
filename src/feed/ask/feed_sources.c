/* feed_sources.c: candidates become sources: each text once, by who said it first, and the texts that
 * others bear out before those that a few repeat.
 *
 * Posts of nearly one text, and reposts, are one group (feed_minhash.c), unless a word turns one of them
 * around (won and lost, all and few, nearly, a denial), one asks, or the words stand in another order
 * (who sued whom); and so are groups that have
 * seven tenths of their words in common, and the same numbers or an author (tags, cashtags, @names and
 * addresses do not count); the earliest post speaks for it, of those that cover nearly as much of the
 * question (0.95) as any of them. A group's worth is its best relevance, times
 *
 *   1 + 0.2 x agree     for up to five other groups of other authors, of which none wrote in this one,
 *                       that say the same: a third of the words that are not the question's in common,
 *                       two at least, both negated or none, no other numbers, and no word of one has its
 *                       opposite in the other (up, down); of what covers nearly as much as the best (0.8)
 *   0.3                 where ten posts and more are of a fifth as many authors or fewer, those of other
 *                       groups of its authors with half of its words among them: a few who repeat
 *                       themselves are no crowd, and bear nobody out
 *
 * So how often a text was posted never counts for it. Of one author at most two groups are sources.
 * The earliest group that is nearly as relevant as the best (0.8) is one of them. */
#include "feed/ask/feed_ask_internal.h"

#include <stdlib.h>
#include <xxhash.h>

#define MOST_GROUPS 64 /* that are compared with each other */
#define NEARLY      0.95
#define FULL        0.8 /* of the best cover: what others may bear out */
#define AGREE       5
#define REPEATED    10 /* posts, from which on their authors are counted against them */

/* What a text says beside its words in any order: two texts with other ones are not one. */
struct turn {
    uint64_t words; /* a sum over those that turn a sentence around */
    uint64_t all;   /* the same over all words */
    uint64_t order; /* and over all words in their places */
    bool asks;
};

struct group {
    struct turn turn;                   /* of the first */
    size_t next;                        /* another of the same near-duplicates, from 1; 0: none */
    const struct feed_candidate *first; /* the earliest */
    double relevance, covered, worth;
    size_t posts, authors, agree;
    uint64_t author;        /* of the first */
    struct feed_keys who;   /* authors */
    struct feed_stems said; /* by the first */
    uint64_t numbers;       /* of the first: a sum that their order does not change */
    uint64_t poles[2];      /* of first: bit i: it has that word of pair i of `opposites` */
    size_t copies, copiers; /* posts that repeat it, and their authors */
    bool repeated;
};

uint64_t feed_author_key(const struct feed_post *p)
{
    return feed_key(p->service, "u", p->author_id.n ? p->author_id : p->author);
}

static int by_relevance(const void *a, const void *b)
{
    const struct group *x = a, *y = b;
    if (x->relevance != y->relevance) return x->relevance < y->relevance ? 1 : -1;
    return x->first->place < y->first->place ? -1 : x->first->place > y->first->place;
}

static int by_worth(const void *a, const void *b)
{
    const struct group *x = a, *y = b;
    if (x->worth != y->worth) return x->worth < y->worth ? 1 : -1;
    return x->first->place < y->first->place ? -1 : x->first->place > y->first->place;
}

/* ------------------------------------------------------------------ folding */

/* Words of which one text says another thing than a text with the other; at most 64 pairs. */
static const char *const opposites[][2] = {
    {"up", "down"},           {"rise", "fall"},
    {"rose", "fell"},         {"open", "closed"},
    {"win", "lose"},          {"won", "lost"},
    {"buy", "sell"},          {"bought", "sold"},
    {"alive", "dead"},        {"higher", "lower"},
    {"high", "low"},          {"gain", "loss"},
    {"beat", "miss"},         {"increase", "decrease"},
    {"bull", "bear"},         {"bullish", "bearish"},
    {"start", "stop"},        {"begin", "end"},
    {"safe", "dangerous"},    {"guilty", "innocent"},
    {"accept", "refuse"},     {"approve", "block"},
    {"succeed", "fail"},      {"good", "bad"},
    {"growing", "shrinking"}, {"hire", "fire"},
    {"strong", "weak"},       {"overvalued", "undervalued"},
    {"upgrade", "downgrade"}, {"soar", "plunge"},
    {"surge", "slump"},       {"profit", "loss"},
    {"calls", "puts"},        {"rise", "plunge"},
    {"reach", "miss"},        {"safe", "unsafe"},
    {"likely", "unlikely"},   {"always", "never"},
    {"all", "few"},
};

/* Words by which nearly the same words say something else, beside negations, doubt and opposites. */
static const char *const turning[] = {"all",   "any",  "anything", "believe", "billion",
                                      "every", "few",  "half",     "many",    "million",
                                      "most",  "some", "thousand", "trillion"};

/* Hashes of stems: of the opposites, and of all these words, sorted. */
struct turning_stems {
    uint64_t poles[ARRAY_LEN(opposites)][2], all[ARRAY_LEN(turning) + 2 * ARRAY_LEN(opposites)];
};

static int by_number(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static uint64_t stem_hash(const char *s, size_t n)
{
    char stem[256];
    return XXH3_64bits(stem, feed_stem(s, n, stem));
}

static void find_turning(struct turning_stems *t)
{
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(turning); i++)
        t->all[n++] = stem_hash(turning[i], strlen(turning[i]));
    for (size_t i = 0; i < ARRAY_LEN(opposites); i++)
        for (size_t k = 0; k < 2; k++)
            t->all[n++] = t->poles[i][k] = stem_hash(opposites[i][k], strlen(opposites[i][k]));
    qsort(t->all, n, sizeof(t->all[0]), by_number);
}

/* Copies differ in tags, names, addresses and numbers, which do not count here. */
static struct turn turn_of(struct feed_terms *scratch, struct str *plain,
                           const struct turning_stems *turns, struct feed_slice text)
{
    struct turn t = {.asks = text.n && memchr(text.s, '?', text.n)};
    size_t place = 0;
    str_clear(plain);
    feed_plain_text(text, plain);
    feed_terms_clear(scratch);
    if (plain->len) feed_terms_of_text(scratch, plain->data, plain->len);
    for (size_t i = 0; i < scratch->n; i++) {
        const struct feed_term *x = &scratch->items[i];
        const struct feed_slice word = {scratch->text.data + x->at, x->n};
        if (x->kind != FEED_WORD || x->n >= 256) continue;
        const uint64_t hash = stem_hash(word.s, word.n);
        if (bsearch(&hash, turns->all, ARRAY_LEN(turns->all), sizeof(hash), by_number) ||
            feed_is_negation(word.s, word.n) || feed_is_hedge(word))
            t.words += hash;
        t.all += hash;
        t.order += hash * (2 * (uint64_t)place++ + 3);
    }
    return t;
}

static bool is_turned(const struct turn *a, const struct turn *b)
{
    return a->words != b->words || a->asks != b->asks || (a->all == b->all && a->order != b->order);
}

static void lead(struct group *g, const struct feed_candidate *x, uint64_t author)
{
    g->first = x;
    g->author = author;
}

/* Groups of near-duplicates; *n of them (mem_free). */
static struct group *fold(struct feed_candidates *c, const struct turning_stems *turns, size_t *n)
{
    struct feed_voice *v = mem_calloc(c->n + 1, sizeof(*v));
    struct feed_terms t = {0};
    struct feed_keys at = {0}, group_at = {0};
    size_t authors;
    *n = 0;
    for (size_t i = 0; i < c->n; i++) {
        const struct feed_post *p = &c->items[i].post;
        feed_terms_clear(&t);
        feed_terms_of_text(&t, p->text.s, p->text.n);
        v[i] = (struct feed_voice){.author = feed_author_key(p),
                                   .key = feed_key(p->service, "p", p->id),
                                   .seq = c->items[i].place};
        if (p->repost_of.n) v[i].original = feed_key(p->service, "p", p->repost_of);
        feed_signature_of(&t, &v[i].signature);
        *feed_keys_at(&at, v[i].key, true) = (int64_t)i + 1;
    }
    feed_fold_voices(v, c->n, &authors);
    struct group *all = mem_calloc(c->n + 1, sizeof(*all));
    struct str plain = {0};
    for (size_t i = 0; i < c->n; i++) { /* the earliest first */
        const struct feed_candidate *x = &c->items[*feed_keys_at(&at, v[i].key, false) - 1];
        int64_t *which = feed_keys_at(&group_at, v[i].group + 1, true);
        const struct turn turn = turn_of(&t, &plain, turns, x->post.text);
        size_t k = (size_t)*which;
        while (k && is_turned(&all[k - 1].turn, &turn))
            k = all[k - 1].next;
        if (k == 0) {
            k = ++*n;
            all[k - 1] = (struct group){
                .first = x, .author = v[i].author, .turn = turn, .next = (size_t)*which};
            *which = (int64_t)k;
        }
        struct group *g = &all[k - 1];
        if (g->first->covered < NEARLY * x->covered) lead(g, x, v[i].author);
        int64_t *seen = feed_keys_at(&g->who, v[i].author, true);
        g->authors += *seen == 0;
        *seen = 1;
        g->posts++;
        g->relevance = MAX(g->relevance, x->relevance);
        g->covered = MAX(g->covered, x->covered);
    }
    feed_terms_fini(&t);
    str_fini(&plain);
    feed_keys_fini(&at);
    feed_keys_fini(&group_at);
    mem_free(v);
    return all;
}

/* ------------------------------------------------------------------ who bears whom out */

/* Which of the opposites the text of a group has. */
static void find_poles(struct feed_terms *scratch, const struct turning_stems *turns,
                       struct feed_slice text, uint64_t poles[2])
{
    feed_terms_clear(scratch);
    if (text.n) feed_terms_of_text(scratch, text.s, text.n);
    poles[0] = poles[1] = 0;
    for (size_t i = 0; i < scratch->n; i++) {
        const struct feed_term *t = &scratch->items[i];
        if (t->kind != FEED_WORD || t->n >= 256) continue;
        const uint64_t hash = stem_hash(feed_term_text(scratch, t), t->n);
        for (size_t k = 0; k < 2 * ARRAY_LEN(opposites); k++)
            if (turns->poles[k / 2][k % 2] == hash) poles[k % 2] |= 1ULL << (k / 2);
    }
}

/* Whether one says of something the opposite of what the other says. */
static bool are_opposite(const struct group *a, const struct group *b)
{
    const uint64_t only_a[2] = {a->poles[0] & ~a->poles[1], a->poles[1] & ~a->poles[0]},
                   only_b[2] = {b->poles[0] & ~b->poles[1], b->poles[1] & ~b->poles[0]};
    return (only_a[0] & only_b[1]) || (only_a[1] & only_b[0]);
}

/* Whether seven tenths of all words of both are in both. */
static bool have_same_words(const struct group *a, const struct group *b)
{
    size_t both = 0;
    for (size_t i = 0; i < a->said.n; i++)
        both += feed_stems_have(&b->said, a->said.items[i]);
    both = MIN(both, b->said.n);
    return 10 * both >= 7 * (a->said.n + b->said.n - both);
}

static bool same_said(struct group *a, struct group *b, const struct feed_stems *common)
{
    size_t own = 0, other = 0, both = 0;
    if (a->said.negated != b->said.negated || are_opposite(a, b)) return false;
    if (a->turn.asks || b->turn.asks) return false; /* who asks says nothing */
    if (is_turned(&a->turn, &b->turn) && have_same_words(a, b)) return false;
    if (feed_numbers_clash(a->first->post.text, b->first->post.text)) return false;
    if (feed_keys_at(&a->who, b->author, false) || feed_keys_at(&b->who, a->author, false))
        return false;
    for (size_t i = 0; i < a->said.n; i++) {
        if (feed_stems_have(common, a->said.items[i])) continue;
        own++;
        both += feed_stems_have(&b->said, a->said.items[i]);
    }
    for (size_t i = 0; i < b->said.n; i++)
        other += !feed_stems_have(common, b->said.items[i]);
    return both >= 2 && 3 * both >= MIN(own, other);
}

/* Whether two texts have the same numbers, in whatever order; or an author in common, who only varies
 * them. */
static bool same_numbers(struct group *a, struct group *b)
{
    return a->numbers == b->numbers || feed_keys_at(&a->who, b->author, false) ||
           feed_keys_at(&b->who, a->author, false);
}

/* Whether two texts have nearly the same words, the same numbers, and both deny or neither does. */
static bool same_words(struct group *a, struct group *b)
{
    return same_numbers(a, b) && have_same_words(a, b) && !is_turned(&a->turn, &b->turn);
}

static void merge(struct group *into, struct group *from)
{
    into->posts += from->posts;
    into->relevance = MAX(into->relevance, from->relevance);
    into->covered = MAX(into->covered, from->covered);
    for (size_t i = 0; i < from->who.cap; i++) {
        if (!from->who.items[i].used) continue;
        int64_t *seen = feed_keys_at(&into->who, from->who.items[i].key, true);
        into->authors += *seen == 0;
        *seen = 1;
    }
    const double own = into->first->covered, other = from->first->covered;
    bool earlier = from->first->place < into->first->place && other >= NEARLY * own;
    if (earlier || own < NEARLY * other) lead(into, from->first, from->author);
}

/* What the folding of near-duplicates has left apart; how many groups are left of n. */
static size_t fold_words(struct group *g, size_t n, const struct turning_stems *turns)
{
    struct feed_terms scratch = {0};
    struct str plain = {0};
    size_t left = 0;
    for (size_t i = 0; i < n; i++) {
        size_t k = 0;
        str_clear(&plain);
        feed_plain_text(g[i].first->post.text, &plain);
        const struct feed_slice text = {plain.data, plain.len};
        feed_stems_of(&scratch, plain.len ? text : (struct feed_slice){0}, false, &g[i].said);
        g[i].numbers = feed_numbers_of((struct feed_slice){plain.data, plain.len});
        find_poles(&scratch, turns, plain.len ? text : (struct feed_slice){0}, g[i].poles);
        while (k < left && !same_words(&g[k], &g[i]))
            k++;
        if (k == left) {
            struct group next = g[i];
            g[i] = g[left];
            g[left++] = next;
        } else {
            merge(&g[k], &g[i]);
        }
    }
    feed_terms_fini(&scratch);
    str_fini(&plain);
    return left;
}

static bool shares_author(struct group *a, struct group *b)
{
    for (size_t i = 0; i < a->who.cap; i++)
        if (a->who.items[i].used && feed_keys_at(&b->who, a->who.items[i].key, false)) return true;
    return false;
}

/* Whether half of the words of the shorter text are in the other. */
static bool is_alike(const struct group *a, const struct group *b)
{
    size_t both = 0;
    for (size_t i = 0; i < a->said.n; i++)
        both += feed_stems_have(&b->said, a->said.items[i]);
    return both > 0 && 2 * both >= MIN(a->said.n, b->said.n);
}

/* Posts that repeat what g[i] says: of its own group, and of its authors' other groups that are much
 * alike, since copies that are varied fall into several. */
static void count_copies(struct group *g, size_t n, size_t i)
{
    struct feed_keys who = {0};
    g[i].copies = g[i].copiers = 0;
    for (size_t k = 0; k < n; k++) {
        if (k != i && (!shares_author(&g[i], &g[k]) || !is_alike(&g[i], &g[k]))) continue;
        g[i].copies += g[k].posts;
        for (size_t w = 0; w < g[k].who.cap; w++) {
            if (!g[k].who.items[w].used) continue;
            int64_t *seen = feed_keys_at(&who, g[k].who.items[w].key, true);
            g[i].copiers += *seen == 0;
            *seen = 1;
        }
    }
    feed_keys_fini(&who);
    g[i].repeated = g[i].copies >= REPEATED && 5 * g[i].copiers <= g[i].copies;
}

/* Who repeats bears nobody out. */
static void weigh(struct group *g, size_t n, const struct feed_stems *question)
{
    double best = 0;
    for (size_t i = 0; i < n; i++)
        count_copies(g, n, i);
    for (size_t i = 0; i < n; i++)
        best = MAX(best, g[i].covered);
    for (size_t i = 0; i < n; i++) {
        struct feed_keys voices = {0}; /* each author bears out once */
        for (size_t k = 0; k < n && g[i].agree < AGREE && g[i].covered >= FULL * best; k++) {
            if (k == i || g[k].repeated || !same_said(&g[i], &g[k], question)) continue;
            int64_t *seen = feed_keys_at(&voices, g[k].author, true);
            g[i].agree += *seen == 0;
            *seen = 1;
        }
        feed_keys_fini(&voices);
        g[i].worth = g[i].relevance * (1 + 0.2 * (double)g[i].agree) * (g[i].repeated ? 0.3 : 1);
    }
}

/* ------------------------------------------------------------------ choosing */

static size_t of_author(const struct feed_reply *x, uint64_t author)
{
    size_t n = 0;
    for (size_t i = 0; i < x->n_sources; i++)
        n += feed_author_key(&x->sources[i].post) == author;
    return n;
}

static struct feed_source source_of(const struct group *g, struct arena *a)
{
    struct feed_source s = {.post = g->first->post,
                            .place = g->first->place,
                            .posts = g->posts,
                            .authors = g->authors,
                            .agree = g->agree,
                            .covered = g->covered,
                            .relevance = g->worth};
    if (g->repeated)
        s.label = arena_printf(a, "%zu posts repeat this, of %zu %s", g->copies, g->copiers,
                               g->copiers == 1 ? "author" : "authors");
    return s;
}

/* Sources [0, most), and the early one in the last place where it is not among them. */
static void take(struct group *g, size_t n, size_t most, struct arena *a, struct feed_reply *x)
{
    const struct group *early = NULL;
    for (size_t i = 0; i < n; i++)
        if (g[i].worth >= 0.8 * g[0].worth && (!early || g[i].first->place < early->first->place))
            early = &g[i];
    bool has_early = false;
    for (size_t i = 0; i < n && x->n_sources < most; i++) {
        bool last = x->n_sources + 1 == most && !has_early && &g[i] != early;
        const struct group *next = last && early ? early : &g[i];
        if (next == early && has_early) continue;
        if (of_author(x, next->author) >= 2 && !last) continue;
        has_early |= next == early;
        x->sources[x->n_sources++] = source_of(next, a);
    }
}

int feed_sources_choose(struct feed_candidates *c, const struct feed_ask_options *o,
                        struct arena *a, struct feed_reply *x, struct feed_slice *flood)
{
    size_t n, most = o->sources > 0 ? (size_t)o->sources : FEED_ASK_SOURCES;
    struct feed_terms scratch = {0};
    struct feed_stems question = {0};
    struct feed_slice asked = {(char *)(uintptr_t)x->question, strlen(x->question)};
    most = MIN(most, (size_t)FEED_ASK_MOST);
    x->n_sources = 0;
    x->sources = arena_alloc(a, (most + 1) * sizeof(*x->sources));
    *flood = (struct feed_slice){0};
    if (c->n == 0) return 0;
    feed_stems_of(&scratch, asked, true, &question);
    struct turning_stems turns;
    find_turning(&turns);
    struct group *g = fold(c, &turns, &n);
    x->groups = n;
    for (size_t i = 0; i < n; i++)
        if (2 * g[i].posts > c->n && g[i].posts > 200) *flood = g[i].first->post.text;
    qsort(g, n, sizeof(*g), by_relevance);
    size_t compared = fold_words(g, MIN(n, (size_t)MOST_GROUPS), &turns);
    weigh(g, compared, &question);
    qsort(g, compared, sizeof(*g), by_worth);
    take(g, compared, most, a, x);
    for (size_t i = 0; i < n; i++) {
        feed_keys_fini(&g[i].who);
        feed_stems_fini(&g[i].said);
    }
    mem_free(g);
    feed_terms_fini(&scratch);
    feed_stems_fini(&question);
    return 0;
}
