/* feed_stems.c: which words of a question or a sentence say something, and which are the same in
 * another form.
 *
 * The endings that are cut off are those of English nouns and verbs, fewer than Porter's (An algorithm
 * for suffix stripping, 1980): s, es, ies, ed, ied, ing, ly, and a last e, by his rules for what is
 * short: "loses" and "losing" are lose, "planned" is plan and "planes" is plane; y is i. Irregular forms
 * of common words are in a table. What is written in other letters stays as it is. */
#include "feed/ask/feed_ask_internal.h"

#include <stdlib.h>
#include <xxhash.h>

/* Sorted, for a binary search. */
static const char *const stop_words[] = {
    "a",       "about",    "according", "after",     "all",       "also",     "am",
    "an",      "and",      "another",   "any",       "anybody",   "anyone",   "anything",
    "are",     "arent",    "as",        "at",        "be",        "because",  "been",
    "before",  "being",    "both",      "but",       "by",        "can",      "cannot",
    "cant",    "come",     "could",     "couldnt",   "describe",  "did",      "didnt",
    "do",      "does",     "doesnt",    "doing",     "dont",      "during",   "each",
    "either",  "else",     "ever",      "every",     "everybody", "everyone", "everything",
    "explain", "for",      "from",      "get",       "give",      "given",    "gives",
    "go",      "got",      "had",       "hadnt",     "happen",    "happened", "happening",
    "happens", "has",      "hasnt",     "have",      "havent",    "having",   "he",
    "her",     "here",     "heres",     "hes",       "him",       "his",      "how",
    "hows",    "i",        "if",        "im",        "in",        "into",     "is",
    "isnt",    "it",       "its",       "ive",       "just",      "know",     "like",
    "made",    "make",     "many",      "may",       "me",        "mean",     "means",
    "meant",   "mention",  "mentioned", "might",     "more",      "most",     "much",
    "must",    "my",       "name",      "neither",   "never",     "no",       "nobody",
    "none",    "not",      "nothing",   "of",        "on",        "one",      "ones",
    "only",    "or",       "other",     "otherwise", "our",       "out",      "over",
    "people",  "post",     "posted",    "posts",     "really",    "reason",   "reasons",
    "rt",      "said",     "same",      "say",       "saying",    "says",     "see",
    "several", "she",      "shes",      "should",    "shouldnt",  "since",    "so",
    "some",    "somebody", "someone",   "something", "still",     "such",     "tell",
    "than",    "that",     "thats",     "the",       "their",     "them",     "then",
    "there",   "theres",   "these",     "they",      "theyre",    "think",    "this",
    "those",   "through",  "time",      "to",        "together",  "too",      "tweet",
    "tweeted", "tweets",   "under",     "until",     "up",        "us",       "user",
    "users",   "very",     "via",       "was",       "wasnt",     "we",       "were",
    "werent",  "weve",     "what",      "whatever",  "whats",     "when",     "where",
    "wheres",  "whether",  "which",     "whichever", "while",     "who",      "whoever",
    "whom",    "whos",     "whose",     "why",       "will",      "with",     "without",
    "wont",    "would",    "wouldnt",   "write",     "written",   "wrote",    "yet",
    "you",     "your",     "youre",     "youve",
};

static const char *const negations[] = {
    "aint",    "arent",    "cannot", "cant",     "couldnt", "debunk",  "debunked", "debunks",
    "denied",  "denies",   "deny",   "denying",  "didnt",   "doesnt",  "dont",     "fake",
    "false",   "hadnt",    "hasnt",  "havent",   "hoax",    "isnt",    "lie",      "lies",
    "never",   "no",       "nobody", "none",     "not",     "nothing", "refute",   "refuted",
    "refutes", "refuting", "reject", "rejected", "rejects", "rumor",   "rumors",   "rumour",
    "rumours", "shouldnt", "untrue", "wasnt",    "werent",  "without", "wont",     "wouldnt",
};

static int compare(const void *key, const void *item)
{
    const struct feed_slice *k = key;
    const char *s = *(const char *const *)item;
    int c = strncmp(k->s, s, k->n);
    return c ? c : s[k->n] ? -1 : 0;
}

static bool is_among(const char *s, size_t n, const char *const *words, size_t count)
{
    const struct feed_slice key = {(char *)(uintptr_t)s, n};
    return n && bsearch(&key, words, count, sizeof(*words), compare) != NULL;
}

bool feed_is_stop_word(const char *s, size_t n)
{
    return is_among(s, n, stop_words, ARRAY_LEN(stop_words));
}

bool feed_is_negation(const char *s, size_t n)
{
    return is_among(s, n, negations, ARRAY_LEN(negations));
}

static bool ends(const char *s, size_t n, const char *with)
{
    size_t k = strlen(with);
    return n > k && memcmp(s + n - k, with, k) == 0;
}

static bool is_vowel(const char *s, size_t i)
{
    return strchr("aeiou", s[i]) || (s[i] == 'y' && i > 0 && !is_vowel(s, i - 1));
}

/* Porter's measure: how often a vowel is followed by a consonant. */
static size_t measure(const char *s, size_t n)
{
    size_t m = 0;
    for (size_t i = 1; i < n; i++)
        m += is_vowel(s, i - 1) && !is_vowel(s, i);
    return m;
}

/* "hop", "los", not "show": what a last e has been cut off of, where it is short. */
static bool is_short(const char *s, size_t n)
{
    return n > 2 && measure(s, n) == 1 && !is_vowel(s, n - 1) && is_vowel(s, n - 2) &&
           !is_vowel(s, n - 3) && !strchr("wxy", s[n - 1]);
}

/* What "ed" or "ing" was cut off of: "stopp" is stop, "los" is lose, "sell" stays. */
static size_t mend(char *s, size_t n)
{
    if (n > 3 && s[n - 1] == s[n - 2] && !is_vowel(s, n - 1))
        return strchr("lsz", s[n - 1]) ? n : n - 1;
    if (ends(s, n, "at") || ends(s, n, "bl") || ends(s, n, "iz") || is_short(s, n)) s[n++] = 'e';
    return n;
}

static bool has_vowel(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (is_vowel(s, i)) return true;
    return false;
}

/* Irregular forms of common words, sorted, and what they are forms of, which is a byte longer
 * at most. */
static const char *const irregular[][2] = {
    {"ate", "eat"},      {"beaten", "beat"},    {"became", "become"}, {"began", "begin"},
    {"begun", "begin"},  {"bitten", "bite"},    {"bought", "buy"},    {"broke", "break"},
    {"broken", "break"}, {"brought", "bring"},  {"built", "build"},   {"burnt", "burn"},
    {"caught", "catch"}, {"children", "child"}, {"chose", "choose"},  {"chosen", "choose"},
    {"died", "die"},     {"drank", "drink"},    {"drawn", "draw"},    {"drew", "draw"},
    {"driven", "drive"}, {"drove", "drive"},    {"eaten", "eat"},     {"fallen", "fall"},
    {"feet", "foot"},    {"fell", "fall"},      {"felt", "feel"},     {"flew", "fly"},
    {"flown", "fly"},    {"forgot", "forget"},  {"fought", "fight"},  {"found", "find"},
    {"froze", "freeze"}, {"frozen", "freeze"},  {"gave", "give"},     {"gone", "go"},
    {"grew", "grow"},    {"grown", "grow"},     {"held", "hold"},     {"hidden", "hide"},
    {"kept", "keep"},    {"knew", "know"},      {"known", "know"},    {"laid", "lay"},
    {"led", "lead"},     {"left", "leave"},     {"lent", "lend"},     {"lost", "lose"},
    {"meant", "mean"},   {"men", "man"},        {"met", "meet"},      {"mice", "mouse"},
    {"paid", "pay"},     {"ran", "run"},        {"risen", "rise"},    {"rode", "ride"},
    {"rose", "rise"},    {"sang", "sing"},      {"sank", "sink"},     {"sent", "send"},
    {"shot", "shoot"},   {"shown", "show"},     {"slept", "sleep"},   {"sold", "sell"},
    {"spent", "spend"},  {"spoke", "speak"},    {"spoken", "speak"},  {"stole", "steal"},
    {"stolen", "steal"}, {"stood", "stand"},    {"struck", "strike"}, {"stuck", "stick"},
    {"sued", "sue"},     {"suing", "sue"},      {"sunk", "sink"},     {"swam", "swim"},
    {"swept", "sweep"},  {"swum", "swim"},      {"taken", "take"},    {"taught", "teach"},
    {"teeth", "tooth"},  {"thought", "think"},  {"threw", "throw"},   {"thrown", "throw"},
    {"took", "take"},    {"went", "go"},        {"woke", "wake"},     {"women", "woman"},
    {"won", "win"},      {"wore", "wear"},      {"worn", "wear"},
};

const char *feed_base_of(const char *s, size_t n)
{
    size_t low = 0, high = ARRAY_LEN(irregular);
    while (low < high) {
        const size_t middle = (low + high) / 2;
        const char *form = irregular[middle][0];
        int c = strncmp(s, form, n);
        if (c == 0 && form[n] == '\0') return irregular[middle][1];
        if (c == 0 || c < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

const char *feed_irregular_form(const char *base, size_t n, size_t *at)
{
    for (; *at < ARRAY_LEN(irregular); ++*at) {
        const char *of = irregular[*at][1];
        if (strncmp(of, base, n) == 0 && of[n] == '\0') return irregular[(*at)++][0];
    }
    return NULL;
}

/* Without "s" and what else marks more than one, or the third person. */
static size_t without_s(char *s, size_t n)
{
    if (n > 4 && ends(s, n, "ies")) return n - 2;
    if (n > 4 &&
        (ends(s, n, "sses") || ends(s, n, "shes") || ends(s, n, "ches") || ends(s, n, "xes")))
        return n - 2;
    if (n == 4 && memcmp(s, "news", 4) == 0) return n;
    return n > 3 && s[n - 1] == 's' && !strchr("sui", s[n - 2]) ? n - 1 : n;
}

/* Without "ed", "ied" and "ing". */
static size_t without_tense(char *s, size_t n)
{
    if (ends(s, n, "eed")) return measure(s, n - 3) > 0 ? n - 1 : n;
    if (n > 4 && ends(s, n, "ied")) return n - 2;
    if (n > 5 && ends(s, n, "ing") && has_vowel(s, n - 3)) return mend(s, n - 3);
    if (n > 4 && ends(s, n, "ed") && has_vowel(s, n - 2)) return mend(s, n - 2);
    return n;
}

size_t feed_stem(const char *s, size_t n, char *out)
{
    const char *base = feed_base_of(s, n);
    if (base) s = base, n = strlen(base);
    memcpy(out, s, n);
    for (size_t i = 0; i < n; i++)
        if (s[i] < 'a' || s[i] > 'z') return n;
    n = without_tense(out, without_s(out, n));
    if (n > 5 && ends(out, n, "ly")) n -= 2;
    if (n > 3 && out[n - 1] == 'e' && measure(out, n - 1) > 0 && !is_short(out, n - 1)) n--;
    if (n > 2 && out[n - 1] == 'y' && !is_vowel(out, n - 2)) out[n - 1] = 'i';
    return n;
}

static bool is_number(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (s[i] < '0' || s[i] > '9') return false;
    return true;
}

void feed_stems_push(struct feed_stems *out, uint64_t stem)
{
    if (out->n == out->cap) {
        out->cap = out->cap ? 2 * out->cap : 64;
        out->items = mem_realloc(out->items, out->cap * sizeof(*out->items));
    }
    out->items[out->n++] = stem;
}

void feed_stems_add(struct feed_stems *out, const char *word, size_t n)
{
    char stem[256];
    CHECK(n < sizeof(stem));
    feed_stems_push(out, XXH3_64bits(stem, feed_stem(word, n, stem)));
}

void feed_stems_of(struct feed_terms *scratch, struct feed_slice text, bool all,
                   struct feed_stems *out)
{
    enum { LONGEST = 256 };
    out->n = 0;
    out->negated = false;
    feed_terms_clear(scratch);
    feed_terms_of_text(scratch, text.s, text.n);
    for (size_t i = 0; i < scratch->n; i++) {
        const struct feed_term *t = &scratch->items[i];
        const char *s = feed_term_text(scratch, t);
        if (t->kind != FEED_WORD && t->kind != FEED_LAST) continue;
        if (t->n >= LONGEST) continue;
        if (feed_is_negation(s, t->n)) out->negated = true;
        if (feed_is_stop_word(s, t->n)) continue;
        if (!all && (is_number(s, t->n) || feed_is_symbol(s, t->n))) continue;
        feed_stems_add(out, s, t->n);
    }
}

void feed_stems_fini(struct feed_stems *s)
{
    mem_free(s->items);
    *s = (struct feed_stems){0};
}

bool feed_stems_have(const struct feed_stems *s, uint64_t stem)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->items[i] == stem) return true;
    return false;
}
