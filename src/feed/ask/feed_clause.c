/* feed_clause.c: does a sentence leave out words of its post on which the rest depends?
 *
 * "Mayor Gurlitz resigned" has its words, side by side, from "The deputy of mayor Gurlitz resigned",
 * from "Mayor Gurlitz resigned, his enemies say", and from "I read in a novel that mayor Gurlitz
 * resigned". No list of such words is ever whole, so what may be left out is listed instead. A post's
 * text is cut into sentences, and these into parts at commas, semicolons, colons, brackets, dashes and
 * "and". There must be sentences of the post, one after the other, that have all words of the sentence
 * that is checked (but those that it has about posts), and of these
 *
 *   - the first part of each is said whole;
 *   - each other part is said whole, or left out whole; what is left out tells neither who says it nor
 *     a condition nor a contrast, and has no word of the sentence that no whole part has;
 *   - part of a whole are not: articles, possessives, forms of be and have, words of time and of
 *     emphasis, a company's form, symbols, and numbers with their preposition and their unit ("by 5
 *     percent", "on Friday").
 *
 * A sentence of an active post does not become passive, nor one of a passive post active. */
#include "feed/ask/feed_ask_internal.h"

#include <stdlib.h>
#include <xxhash.h>

#define MOST_PARTS 128
#define MOST_UNITS 4 /* sentences of a post that one sentence may put together */

/* What a text's parts may be cut short by; folded, each with a blank on both sides. */
static const char may_lack[] =
    " a an the this that these those his her its their our my your is are was were be been being "
    "am "
    "has have had having s re ve it he she they we there who which today yesterday tonight "
    "tomorrow "
    "now just also very really so too already again still currently officially finally recently "
    "breaking update alert rt via oh wow omg corp inc ltd plc llc ag corporation company please ";

/* Where one of these stands, a part says something of the other parts. */
static const char binding[] =
    " according per say says said saying tell tells told claim claims claimed think thinks thought "
    "believe believes believed feel feels felt guess hear heard read dream dreamt report reports "
    "reported sources source says if unless except but though although until till or nor only than "
    "then yet instead rather not no never none nothing hardly barely supposedly allegedly like "
    "pretend pretends game movie film novel story book joke satire fiction theory paper when once "
    "in whether because despite without while whereas however later ";

static const char times[] =
    " monday tuesday wednesday thursday friday saturday sunday january february march april may "
    "june "
    "july august september october november december jan feb mar apr jun jul aug sep sept oct nov "
    "dec "
    "morning afternoon evening night noon midnight today yesterday tomorrow week month year am pm ";

static const char prepositions[] = " at by for in of on since to from around about during ";

/* Words by which it turns around who does it to whom. */
static const char turning[] = " by from without against except before after until than ";

struct part {
    size_t unit;            /* the sentence of the post that it is of */
    struct feed_stems must; /* of the words that it is not whole without */
    struct feed_stems said; /* of those that say something */
    bool binds;
};
struct parts {
    struct part items[MOST_PARTS];
    size_t n;
    bool full; /* there are more than can be looked at */
};

static bool is_among(const char *list, const char *word, size_t n)
{
    for (const char *s = list; (s = memmem(s, strlen(s), word, n)); s++)
        if (s[-1] == ' ' && s[n] == ' ') return true;
    return false;
}

static bool is_number(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (s[i] < '0' || s[i] > '9') return false;
    return true;
}

enum kind { PLAIN, LIGHT, NUMBER, TIME, PREPOSITION };

static enum kind kind_of(const char *s, size_t n)
{
    if (is_number(s, n)) return NUMBER;
    if (is_among(times, s, n)) return TIME;
    if (is_among(prepositions, s, n)) return PREPOSITION;
    return is_among(may_lack, s, n) || feed_is_symbol(s, n) ? LIGHT : PLAIN;
}

static uint64_t stem_of(const char *s, size_t n)
{
    char stem[256];
    return XXH3_64bits(stem, feed_stem(s, n, stem));
}

/* The words of a part, those that it is not whole without apart; words: of the sentence, all. */
static void read_words(struct feed_terms *t, const struct feed_stems *words, struct part *p)
{
    enum kind before = PLAIN; /* of the last word that is not light */
    bool lacks_number = false;
    for (size_t i = 0; i < t->n; i++) {
        const struct feed_term *x = &t->items[i];
        const char *s = feed_term_text(t, x);
        if ((x->kind != FEED_WORD && x->kind != FEED_LAST) || x->n >= 256) continue;
        const bool says = !feed_is_stop_word(s, x->n);
        enum kind kind = kind_of(s, x->n), next = PLAIN;
        for (size_t k = i + 1; k < t->n; k++) {
            if (t->items[k].kind != FEED_WORD) continue;
            next = kind_of(feed_term_text(t, &t->items[k]), t->items[k].n);
            if (next != LIGHT) break;
        }
        const struct feed_slice word = {(char *)(uintptr_t)s, x->n};
        p->binds |= is_among(binding, s, x->n) || feed_is_negation(s, x->n) || feed_is_hedge(word);
        if (says && kind != NUMBER) feed_stems_add(&p->said, s, x->n);
        bool light = kind == LIGHT || kind == NUMBER || kind == TIME;
        if (kind == PREPOSITION) light = next == NUMBER || next == TIME;
        /* the unit of a number that is left out */
        if (before == NUMBER && lacks_number && kind == PLAIN && says) light = true;
        if (kind == NUMBER) lacks_number = !feed_stems_have(words, stem_of(s, x->n));
        if (!light) feed_stems_add(&p->must, s, x->n);
        if (kind != LIGHT) before = kind;
    }
}

static void add_part(struct parts *all, struct feed_terms *scratch, const struct feed_stems *words,
                     struct feed_slice text, size_t unit)
{
    feed_terms_clear(scratch);
    if (text.n) feed_terms_of_text(scratch, text.s, text.n);
    if (scratch->n == 0) return;
    all->full |= all->n == MOST_PARTS;
    if (all->full) return;
    struct part *p = &all->items[all->n++];
    p->unit = unit;
    read_words(scratch, words, p);
}

/* Bytes of the mark between two parts at i; 0: there is none. */
static size_t mark_at(struct feed_slice s, size_t i)
{
    static const char *const marks[] = {", ",  "; ",   ": ", " (",  ") ",  ")",
                                        " - ", " -- ", "—",  " – ", " | ", " and "};
    for (size_t k = 0; k < ARRAY_LEN(marks); k++) {
        const size_t n = strlen(marks[k]);
        if (i + n <= s.n && memcmp(s.s + i, marks[k], n) == 0) return n;
    }
    return 0;
}

static void cut(struct parts *all, struct feed_terms *scratch, const struct feed_stems *words,
                struct feed_slice text)
{
    size_t begin = 0, unit = 0;
    for (size_t i = 0; i < text.n; i++) {
        const bool ends = feed_sentence_ends(text, i);
        const size_t mark = ends ? 1 : mark_at(text, i);
        if (!mark) continue;
        add_part(all, scratch, words, (struct feed_slice){text.s + begin, i - begin}, unit);
        unit += ends;
        begin = i + mark;
        i += mark - 1;
    }
    add_part(all, scratch, words, (struct feed_slice){text.s + begin, text.n - begin}, unit);
}

static bool is_whole(const struct part *p, const struct feed_stems *words)
{
    for (size_t i = 0; i < p->must.n; i++)
        if (!feed_stems_have(words, p->must.items[i])) return false;
    return true;
}

/* Whether the sentence says what the parts [from, to) say; said: its words that some post has. */
static bool is_said_by(const struct parts *all, size_t from, size_t to,
                       const struct feed_stems *words, const struct feed_stems *said)
{
    bool whole[MOST_PARTS];
    for (size_t i = from; i < to; i++)
        whole[i] = is_whole(&all->items[i], words);
    for (size_t k = 0; k < said->n; k++) {
        bool there = false;
        for (size_t i = from; i < to && !there; i++)
            there = whole[i] && feed_stems_have(&all->items[i].said, said->items[k]);
        if (!there) return false;
    }
    for (size_t i = from; i < to; i++) {
        const bool first = i == 0 || all->items[i - 1].unit != all->items[i].unit;
        if (!whole[i] && (first || all->items[i].binds)) return false;
    }
    return true;
}

/* Each word of `turning` in the sentence that stands before a word of the post is in the post, too. */
static bool keeps_roles(struct feed_terms *scratch, struct feed_slice sentence,
                        const struct feed_stems *post, struct feed_slice text)
{
    struct str had = {0};
    bool good = true;
    str_append_char(&had, ' ');
    feed_terms_clear(scratch);
    feed_terms_of_text(scratch, text.s, text.n);
    for (size_t i = 0; i < scratch->n; i++)
        str_printf(&had, "%.*s ", (int)scratch->items[i].n,
                   feed_term_text(scratch, &scratch->items[i]));
    feed_terms_clear(scratch);
    feed_terms_of_text(scratch, sentence.s, sentence.n);
    for (size_t i = 0; i < scratch->n && good; i++) {
        const struct feed_term *t = &scratch->items[i];
        const char *s = feed_term_text(scratch, t);
        if (!is_among(turning, s, t->n) || is_among(had.data, s, t->n)) continue;
        for (size_t k = i + 1; k < scratch->n; k++) {
            const struct feed_term *next = &scratch->items[k];
            const char *word = feed_term_text(scratch, next);
            if (next->n >= 256 || feed_is_stop_word(word, next->n)) continue;
            good = !feed_stems_have(post, stem_of(word, next->n));
            break;
        }
    }
    str_fini(&had);
    return good;
}

const char *feed_clause_holds(struct feed_slice sentence, const struct feed_stems *said,
                              struct feed_slice post, const struct feed_stems *of_post)
{
    struct parts *all = mem_calloc(1, sizeof(*all));
    struct feed_terms scratch = {0};
    struct feed_stems words = {0}, wanted = {0};
    bool good = false;
    feed_terms_of_text(&scratch, sentence.s, sentence.n);
    for (size_t i = 0; i < scratch.n; i++)
        if (scratch.items[i].n < 256)
            feed_stems_add(&words, feed_term_text(&scratch, &scratch.items[i]), scratch.items[i].n);
    cut(all, &scratch, &words, post);
    for (size_t i = 0; i < all->n; i++) /* tags are words of a post, but of none of its parts */
        for (size_t k = 0; k < all->items[i].said.n; k++)
            if (feed_stems_have(said, all->items[i].said.items[k]))
                feed_stems_push(&wanted, all->items[i].said.items[k]);
    for (size_t from = 0; from < all->n && !good && !all->full; from++) {
        if (from && all->items[from - 1].unit == all->items[from].unit) continue;
        for (size_t to = from + 1; to <= all->n && !good; to++) {
            if (all->items[to - 1].unit >= all->items[from].unit + MOST_UNITS) break;
            const bool ends = to == all->n || all->items[to].unit != all->items[to - 1].unit;
            good = ends && is_said_by(all, from, to, &words, &wanted);
        }
    }
    const char *why = good ? NULL : "it leaves out words of the post that change what it says";
    if (good && !keeps_roles(&scratch, sentence, of_post, post))
        why = "it turns around who does it";
    for (size_t i = 0; i < all->n; i++) {
        feed_stems_fini(&all->items[i].must);
        feed_stems_fini(&all->items[i].said);
    }
    feed_stems_fini(&words);
    feed_stems_fini(&wanted);
    feed_terms_fini(&scratch);
    mem_free(all);
    return why;
}
