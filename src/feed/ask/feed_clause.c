/* feed_clause.c: does a sentence leave out words of its post on which the rest depends?
 *
 * "Mayor Gurlitz resigned" has its words, side by side, from "The deputy of mayor Gurlitz resigned",
 * from "Mayor Gurlitz resigned, his enemies say", and from "I read in a novel that mayor Gurlitz
 * resigned". No list of such words is ever whole, so what may be left out is listed instead. One sentence
 * of the post must have all words of the sentence that is checked (but those that it has about posts),
 * and be said whole, but for
 *
 *   - what news begin with ("BREAKING:", "RT @name:", "Update:");
 *   - articles, possessives, forms of be and have, words of emphasis and of today, a company's form, and
 *     symbols;
 *   - a weekday with its preposition; and its numbers, where all but years are left out, each with its
 *     preposition and its unit ("by 5 percent").
 *
 * What stands in quotation marks is not said without. The sentences of the post beside that one neither
 * tell who says it nor take it back. A sentence of an active post does not become passive, nor one of a
 * passive post active. */
#include "feed/ask/feed_ask_internal.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* Words that say nothing of their own; folded, each with a blank on both sides. */
static const char may_lack[] =
    " a an the this that these those his her its their our my your is are was were be been being "
    "am "
    "has have had having s re ve it he she they we there who which today yesterday tonight "
    "tomorrow "
    "now just also very really so too already again still currently officially finally recently "
    "rt oh wow omg corp inc ltd plc llc ag corporation company please ";

/* A sentence of these, up to a colon, says that news follow. */
static const char beginnings[] = " breaking news just in update updated alert rt developing "
                                 "exclusive latest live video watch new "
                                 "flash urgent now ";

/* Where one of these stands, a sentence says something of those beside it. */
static const char binding[] =
    " according say says said saying tell tells told claim claims claimed think "
    "thinks thought believe believes believed feel feels felt guess heard read "
    "dream dreamt reports reported sources wrote writes posted tweeted story novel "
    "movie film fiction joke satire parody correction corrected retracted "
    "retraction fools kidding called false fake wrong nope nah lied lie untrue ha "
    "haha lol lmao supposedly allegedly if unless except but though although "
    "however instead invented imagine imagined imagining pretend pretended "
    "pretending plan planned plans rumour rumours rumor rumors rumored rumoured "
    "unverified unconfirmed satirical ";

static const char times[] = " monday tuesday wednesday thursday friday saturday sunday morning "
                            "afternoon evening night noon midnight today yesterday tomorrow ";

static const char prepositions[] = " at by for in of on since to from around about during ";

/* Words by which it turns around who does it to whom. */
static const char turning[] = " by from without against except before after until than ";

static bool is_in(const char *list, const char *word, size_t n)
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

enum kind { PLAIN, LIGHT, YEAR, NUMBER, TIME, PREPOSITION };

static enum kind kind_of(const char *s, size_t n)
{
    if (is_number(s, n))
        return n == 4 && (memcmp(s, "19", 2) == 0 || memcmp(s, "20", 2) == 0) ? YEAR : NUMBER;
    if (is_in(times, s, n)) return TIME;
    if (is_in(prepositions, s, n)) return PREPOSITION;
    return is_in(may_lack, s, n) || feed_is_symbol(s, n) ? LIGHT : PLAIN;
}

static uint64_t stem_of(const char *s, size_t n)
{
    char stem[256];
    return XXH3_64bits(stem, feed_stem(s, n, stem));
}

/* Words of a text, in their order. */
struct word {
    struct feed_slice text;
    enum kind kind;
};
enum { MOST = 128 };
struct words {
    struct word items[MOST];
    size_t n;
    bool full; /* there are more */
};

static void read_words(struct feed_terms *t, struct feed_slice text, struct words *out)
{
    out->n = 0;
    out->full = false;
    feed_terms_clear(t);
    if (text.n) feed_terms_of_text(t, text.s, text.n);
    for (size_t i = 0; i < t->n; i++) {
        const struct feed_term *x = &t->items[i];
        const char *s = feed_term_text(t, x);
        if ((x->kind != FEED_WORD && x->kind != FEED_LAST) || x->n >= 256) continue;
        out->full |= out->n == MOST;
        if (out->full) return;
        out->items[out->n++] = (struct word){{(char *)(uintptr_t)s, x->n}, kind_of(s, x->n)};
    }
}

/* The next kind that is not light, from the i-th word on. */
static enum kind next_kind(const struct words *w, size_t i)
{
    while (i < w->n && w->items[i].kind == LIGHT)
        i++;
    return i < w->n ? w->items[i].kind : PLAIN;
}

/* Whether the words are said, but for those that need not be; said: stems of the sentence's. */
static bool is_whole(const struct words *w, const struct feed_stems *said)
{
    bool numbers = false, before_number = false;
    for (size_t i = 0; i < w->n; i++)
        numbers |= w->items[i].kind == NUMBER &&
                   feed_stems_have(said, stem_of(w->items[i].text.s, w->items[i].text.n));
    for (size_t i = 0; i < w->n; i++) {
        const struct word *x = &w->items[i];
        const enum kind next = next_kind(w, i + 1);
        bool light = x->kind == LIGHT || x->kind == TIME || (x->kind == NUMBER && !numbers);
        if (x->kind == PREPOSITION)
            light = (next == TIME || (next == NUMBER && !numbers)) && !before_number;
        /* the unit of a number that is left out */
        if (x->kind == PLAIN && before_number && !numbers)
            light = !feed_is_stop_word(x->text.s, x->text.n);
        if (x->kind != LIGHT) before_number = x->kind == NUMBER;
        if (!light && !feed_stems_have(said, stem_of(x->text.s, x->text.n))) return false;
    }
    return w->n > 0;
}

static bool has_all(const struct words *w, const struct feed_stems *wanted)
{
    for (size_t k = 0; k < wanted->n; k++) {
        bool there = false;
        for (size_t i = 0; i < w->n && !there; i++)
            there = stem_of(w->items[i].text.s, w->items[i].text.n) == wanted->items[k];
        if (!there) return false;
    }
    return true;
}

/* "I made that up": a form of make, and its "up" at most two words behind it. */
static bool is_made_up(const struct words *w, size_t i)
{
    static const char make[] = " make makes made making ";
    if (!is_in(make, w->items[i].text.s, w->items[i].text.n)) return false;
    for (size_t k = i + 1; k < w->n && k <= i + 3; k++)
        if (feed_is(w->items[k].text, "up")) return true;
    return false;
}

static bool binds(const struct words *w)
{
    for (size_t i = 0; i < w->n; i++) {
        const struct feed_slice x = w->items[i].text;
        if (is_in(binding, x.s, x.n) || is_made_up(w, i)) return true;
    }
    return false;
}

bool feed_clause_is_in_jest(const struct feed_terms *t)
{
    static const char names[] = " satire satirical parody joke fiction novel fake theonion onion "
                                "babylonbee thebabylonbee rumor rumour ";
    for (size_t i = 0; i < t->n; i++) {
        const struct feed_term *x = &t->items[i];
        const bool mark = x->kind == FEED_TAG || x->kind == FEED_AT;
        if (mark && x->n > 1 && is_in(names, feed_term_text(t, x) + 1, x->n - 1)) return true;
    }
    return false;
}

static bool has_quotes(struct feed_slice s)
{
    static const char *const marks[] = {"\"", "“", "”", "«", "„"};
    for (size_t i = 0; i < ARRAY_LEN(marks); i++)
        if (s.n && memmem(s.s, s.n, marks[i], strlen(marks[i]))) return true;
    return false;
}

/* Without what news begin with. */
static struct feed_slice without_beginning(struct feed_terms *t, struct words *w,
                                           struct feed_slice s)
{
    for (;;) {
        const char *colon = s.n ? memmem(s.s, s.n, ":", 1) : NULL;
        if (!colon) return s;
        const size_t n = (size_t)(colon - s.s);
        bool good = true;
        read_words(t, (struct feed_slice){s.s, n}, w);
        for (size_t i = 0; i < w->n && good; i++)
            good = is_in(beginnings, w->items[i].text.s, w->items[i].text.n);
        if (!good) return s;
        s = (struct feed_slice){s.s + n + 1, s.n - n - 1};
    }
}

/* Each word of `turning` in the sentence that stands before a word of the post is in the post, too. */
static bool keeps_roles(const struct words *sentence, const struct feed_stems *stems,
                        const struct words *post)
{
    for (size_t i = 0; i < sentence->n; i++) {
        const struct feed_slice x = sentence->items[i].text;
        bool had = !is_in(turning, x.s, x.n);
        for (size_t k = 0; k < post->n && !had; k++)
            had = post->items[k].text.n == x.n && memcmp(post->items[k].text.s, x.s, x.n) == 0;
        if (had) continue;
        size_t k = i + 1;
        while (k < sentence->n &&
               feed_is_stop_word(sentence->items[k].text.s, sentence->items[k].text.n))
            k++;
        if (k < sentence->n &&
            feed_stems_have(stems, stem_of(sentence->items[k].text.s, sentence->items[k].text.n)))
            return false;
    }
    return true;
}

static const char LESS[] = "it leaves out words of the post that change what it says";

struct held {
    struct feed_terms terms[2]; /* of the sentence; of what of the post is looked at */
    struct words sentence, unit;
    struct feed_stems said, wanted; /* of the sentence: all words; those that the post must have */
    bool bound;                     /* by the sentence of the post before */
};

/* Why this sentence of the post does not bear the checked one; NULL: it does. */
static const char *why_not(struct held *x, struct feed_slice sentence, struct feed_slice unit,
                           const struct feed_stems *of_post)
{
    read_words(&x->terms[1], without_beginning(&x->terms[1], &x->unit, unit), &x->unit);
    if (x->unit.full || !has_all(&x->unit, &x->wanted) || !is_whole(&x->unit, &x->said))
        return LESS;
    if (x->bound) return LESS;
    if (has_quotes(unit) && !has_quotes(sentence)) return LESS;
    if (!keeps_roles(&x->sentence, of_post, &x->unit)) return "it turns around who does it";
    return NULL;
}

/* Whether what follows or goes before says something of it; an empty one does not. */
static bool is_bound(struct held *x, struct feed_slice unit)
{
    read_words(&x->terms[1], unit, &x->unit);
    return binds(&x->unit);
}

/* The next sentence of a text from *at on; false: none is left. */
static bool next_unit(struct feed_slice text, size_t *at, struct feed_slice *unit)
{
    size_t i = *at;
    if (i >= text.n) return false;
    while (i < text.n && !feed_sentence_ends(text, i))
        i++;
    *unit = (struct feed_slice){text.s + *at, i - *at};
    *at = i + 1;
    return true;
}

/* Words that the post has: what the sentence says about posts is not among them, nor are tags, which are
 * words of a post, but of none of its sentences. */
static void find_wanted(struct held *x, const struct feed_stems *said, struct feed_slice post)
{
    struct feed_stems all = {0};
    struct feed_slice unit;
    for (size_t at = 0; next_unit(post, &at, &unit);) {
        read_words(&x->terms[1], unit, &x->unit);
        for (size_t i = 0; i < x->unit.n; i++)
            feed_stems_add(&all, x->unit.items[i].text.s, x->unit.items[i].text.n);
    }
    for (size_t k = 0; k < said->n; k++)
        if (feed_stems_have(&all, said->items[k])) feed_stems_push(&x->wanted, said->items[k]);
    feed_stems_fini(&all);
}

const char *feed_clause_holds(struct feed_slice sentence, const struct feed_stems *said,
                              struct feed_slice post, const struct feed_stems *of_post)
{
    struct held *x = mem_calloc(1, sizeof(*x));
    struct feed_slice unit;
    const char *why = LESS;
    bool good = false; /* one bears it, unless the next takes it back */
    read_words(&x->terms[0], sentence, &x->sentence);
    for (size_t i = 0; i < x->sentence.n; i++)
        feed_stems_add(&x->said, x->sentence.items[i].text.s, x->sentence.items[i].text.n);
    find_wanted(x, said, post);
    for (size_t at = 0; !x->sentence.full && next_unit(post, &at, &unit);) {
        const bool bound = is_bound(x, unit);
        if (x->unit.n == 0) continue;
        if (good && !bound) break;
        const char *reason = why_not(x, sentence, unit, of_post);
        good = !reason;
        if (reason && reason != LESS) why = reason;
        x->bound = bound;
    }
    for (int i = 0; i < 2; i++)
        feed_terms_fini(&x->terms[i]);
    feed_stems_fini(&x->said);
    feed_stems_fini(&x->wanted);
    mem_free(x);
    return good ? NULL : why;
}
