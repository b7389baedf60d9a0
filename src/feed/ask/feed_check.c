/* feed_check.c: does a sentence rest on the post that it cites?
 *
 * A sentence is held against each source, the ones that it cites first; the first that bears it is
 * cited, and where none does the sentence is dropped with the reason that the best one gives:
 *
 *   numbers   those of the sentence stand in the post in that order (1,200 is 1200); its year may stand
 *             anywhere
 *   names     each word with a capital inside the sentence, each @name, #tag and $CASHTAG stands in
 *             the post, or is its author's
 *   words     three words that say something, or all that the post has, where tags, cashtags, @names
 *             and addresses do not count; all are in the post in some form, but those that only say
 *             that somebody says it, and they stand in the same order (a longest common subsequence of
 *             0.75): who beat whom. Fewer than five stand side by side in the post
 *   clause    nothing of the post is left out on which they depend (feed_clause.c)
 *   negation  both deny, or neither does, and what the sentence denies is what the post denies
 *   certainty neither the sentence nor the post asks, and what the post holds possible, alleged, to
 *             come, conditional, hoped for, nearly so, refused or a joke is not said without such a word
 *   addresses each stands in the post
 *
 * This is about words. A sentence that uses a post's words in their order and bends what they mean
 * passes; one that says the same in other words is dropped. */
#include "feed/ask/feed_ask_internal.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define IN_ORDER  0.75
#define LEAST     3
#define FEW       5 /* below that, words that the post has far apart make a sentence of their own */
#define MAX_WORDS 200
#define MAX_KEPT  4

/* ------------------------------------------------------------------ numbers and names */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The next number from *at on, "1,200.50" as 1200.5, "-5" below 0; false: none is left. */
static bool next_number(struct feed_slice s, size_t *at, double *out)
{
    char text[64];
    size_t n = 0, i = *at;
    while (i < s.n && !is_digit(s.s[i]))
        i++;
    if (i == s.n) return false;
    bool minus = i > 0 && s.s[i - 1] == '-' && (i == 1 || strchr(" (", s.s[i - 2]));
    if (minus) text[n++] = '-';
    for (; i < s.n; i++) {
        bool mark = s.s[i] == ',' || s.s[i] == '.';
        bool inside = mark && i + 1 < s.n && is_digit(s.s[i + 1]);
        if (!is_digit(s.s[i]) && !inside) break;
        if (s.s[i] != ',' && n + 1 < sizeof(text)) text[n++] = s.s[i];
    }
    text[n] = '\0';
    *at = i;
    *out = strtod(text, NULL);
    return true;
}

uint64_t feed_numbers_of(struct feed_slice text)
{
    uint64_t sum = 0;
    double v;
    for (size_t at = 0; text.n && next_number(text, &at, &v);)
        sum += XXH3_64bits(&v, sizeof(v));
    return sum;
}

bool feed_numbers_clash(struct feed_slice a, struct feed_slice b)
{
    bool some = false;
    double v, w;
    for (size_t i = 0; a.n && next_number(a, &i, &v);)
        for (size_t k = 0; b.n && next_number(b, &k, &w); some = true)
            if (v == w) return false;
    return some;
}

static bool numbers_hold(struct feed_slice sentence, const struct feed_post *p)
{
    char when[32];
    double v, w;
    size_t of_post = 0;
    feed_time_text(p->created_ms, when);
    when[4] = '\0';
    double year = memmem(sentence.s, sentence.n, when, 4) ? strtod(when, NULL) : NAN;
    for (size_t at = 0; p->text.n && next_number(p->text, &at, &w);)
        if (w >= 1900 && w < 2100 && w == floor(w)) year = NAN; /* it tells of another one */
    for (size_t at = 0; next_number(sentence, &at, &v);) {
        size_t next = of_post;
        bool found = false;
        while (!found && next_number(p->text, &next, &w))
            found = v == w;
        if (found)
            of_post = next;
        else if (v != year)
            return false;
    }
    return true;
}

/* Each address of the sentence stands in the post as it is. */
static bool addresses_hold(struct feed_slice sentence, struct feed_slice post)
{
    for (size_t i = 0, k; i < sentence.n; i = k + 1) {
        const char *word = sentence.s + i;
        for (k = i; k < sentence.n && sentence.s[k] != ' ';)
            k++;
        size_t n = k - i;
        while (n && strchr(".,;:!?)\"'", word[n - 1]))
            n--;
        const bool address = memmem(word, n, "://", 3) || (n > 4 && memcmp(word, "www.", 4) == 0);
        if (address && !memmem(post.s, post.n, word, n)) return false;
    }
    return true;
}

static bool is_word_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '_' ||
           (unsigned char)c >= 0x80;
}

/* Whether a folded word is among the terms. */
static bool has_word(const struct feed_terms *t, struct feed_slice word)
{
    char a[256], b[256];
    if (word.n >= sizeof(a)) return false;
    size_t n = feed_stem(word.s, word.n, a);
    for (size_t i = 0; i < t->n; i++) {
        const struct feed_term *x = &t->items[i];
        if (x->n >= sizeof(b) || x->kind == FEED_FACT) continue;
        const char *s = feed_term_text(t, x);
        size_t k = feed_stem(s, x->n, b);
        if (k == n && memcmp(a, b, n) == 0) return true;
    }
    return false;
}

/* Whether the words of a token are among the terms. */
static bool token_holds(struct feed_terms *scratch, struct feed_slice token, bool marked,
                        const struct feed_terms *own)
{
    feed_terms_clear(scratch);
    feed_terms_of_text(scratch, token.s, token.n);
    for (size_t i = 0; i < scratch->n; i++) {
        const struct feed_term *x = &scratch->items[i];
        const struct feed_slice word = {scratch->text.data + x->at, x->n};
        if (x->kind != FEED_WORD || (!marked && feed_is_stop_word(word.s, word.n))) continue;
        if (!has_word(own, word)) return false;
    }
    return true;
}

/* Each name of the sentence is among what the post says; `own`: its text and its author's names. */
static bool names_hold(struct feed_slice sentence, const struct feed_terms *own)
{
    struct feed_terms scratch = {0};
    bool good = true, first = true;
    for (size_t i = 0, begin; i < sentence.n && good;) {
        if (!is_word_byte(sentence.s[i])) {
            i++;
            continue;
        }
        char before = i ? sentence.s[i - 1] : ' ';
        for (begin = i; i < sentence.n && (is_word_byte(sentence.s[i]) || sentence.s[i] == '\'');)
            i++;
        bool marked = before == '@' || before == '#' || before == '$';
        bool capital = sentence.s[begin] >= 'A' && sentence.s[begin] <= 'Z';
        const struct feed_slice token = {sentence.s + begin, i - begin};
        if (marked || (capital && !first)) good = token_holds(&scratch, token, marked, own);
        first = false;
    }
    feed_terms_fini(&scratch);
    return good;
}

/* ------------------------------------------------------------------ words */

/* Words about a post, which it need not have; the name of its author's account is such a word, too.
 * Any other word more than the post has may turn it around: "has been accused of". */
static const char about_posts[] =
    "account article author claim comment info information message note "
    "reader report source statement talk text told topic writer";

/* Words by which a text does not say that something is so, in classes: whoever says it has a word of
 * each class that the post has. */
static const struct {
    const char *word;
    unsigned class;
} hedges[] = {
    {"can", 1},          {"could", 1},      {"likely", 1},      {"may", 1},
    {"maybe", 1},        {"might", 1},      {"perhaps", 1},     {"possible", 1},
    {"possibly", 1},     {"should", 1},     {"alleged", 2},     {"allegedly", 2},
    {"apparently", 2},   {"claim", 2},      {"claimed", 2},     {"claims", 2},
    {"reportedly", 2},   {"rumored", 2},    {"rumors", 2},      {"rumoured", 2},
    {"rumours", 2},      {"supposedly", 2}, {"unconfirmed", 2}, {"expected", 4},
    {"expects", 4},      {"plans", 4},      {"prediction", 4},  {"predicts", 4},
    {"will", 4},         {"would", 4},      {"if", 8},          {"unless", 8},
    {"dream", 16},       {"dreamed", 16},   {"dreamt", 16},     {"hope", 16},
    {"hopes", 16},       {"hoping", 16},    {"imagine", 16},    {"wish", 16},
    {"almost", 32},      {"nearly", 32},    {"fail", 64},       {"failed", 64},
    {"fails", 64},       {"refuse", 64},    {"refused", 64},    {"refuses", 64},
    {"unable", 64},      {"unlikely", 64},  {"joke", 128},      {"joking", 128},
    {"kidding", 128},    {"satire", 128},   {"wrong", 128},     {"parody", 128},
    {"sarcasm", 128},    {"fools", 128},    {"fiction", 128},   {"retracted", 128},
    {"correction", 128}, {"fakenews", 128}, {"tbt", 512},       {"onthisday", 512},
    {"between", 256},
};

static unsigned hedge_of(struct feed_slice word)
{
    for (size_t i = 0; i < ARRAY_LEN(hedges); i++)
        if (feed_is(word, hedges[i].word)) return hedges[i].class;
    return 0;
}

bool feed_is_hedge(struct feed_slice word)
{
    return hedge_of(word) != 0;
}

/* The classes of such words; and the stems of what follows each negation, the next word that says
 * something, into *denied. */
static unsigned look_for_doubt(struct feed_terms *scratch, struct feed_slice text,
                               struct feed_stems *denied)
{
    bool pending = false;
    unsigned hedged = 0;
    char stem[256];
    feed_terms_clear(scratch);
    feed_terms_of_text(scratch, text.s, text.n);
    denied->n = 0;
    for (size_t i = 0; i < scratch->n; i++) {
        const struct feed_term *t = &scratch->items[i];
        const char *s = feed_term_text(scratch, t);
        const bool tag = t->kind == FEED_TAG;
        if ((t->kind != FEED_WORD && t->kind != FEED_LAST && !tag) || t->n >= sizeof(stem))
            continue;
        const size_t mark = tag && *s == '#';
        const struct feed_slice word = {(char *)(uintptr_t)s + mark, t->n - mark};
        hedged |= hedge_of(word);
        if (tag) continue;
        if (feed_is_negation(s, t->n)) {
            pending = true;
        } else if (pending && !feed_is_stop_word(s, t->n)) {
            feed_stems_add(denied, s, t->n);
            pending = false;
        }
    }
    return hedged;
}

/* "/s" at its end, and faces that people put beside what they do not mean. */
static bool is_meant_otherwise(struct feed_slice post)
{
    static const char *const marks[] = {" /s ", "\xf0\x9f\x99\x84", "\xf0\x9f\xa4\xa1",
                                        "\xe2\x9d\x8c"};
    struct str text = {0};
    bool found = false;
    str_append(&text, post.s, post.n);
    str_append_char(&text, ' ');
    for (size_t i = 0; i < ARRAY_LEN(marks) && !found; i++)
        found = strstr(text.data, marks[i]) != NULL;
    str_fini(&text);
    return found;
}

/* Whether the post is as certain as the sentence, and denies what that denies. */
static const char *doubt_holds(struct feed_terms *scratch, struct feed_slice sentence,
                               struct feed_slice post)
{
    struct feed_stems said = {0}, there = {0};
    const char *why = NULL;
    const unsigned hedged = look_for_doubt(scratch, sentence, &said);
    const unsigned doubts = look_for_doubt(scratch, post, &there);
    if (memchr(post.s, '?', post.n)) why = "the post asks";
    if (!why && is_meant_otherwise(post)) why = "the post does not mean it";
    if (!why && (doubts & ~hedged)) why = "the post does not say that it is so";
    for (size_t i = 0; i < said.n && !why; i++)
        if (!feed_stems_have(&there, said.items[i])) why = "it denies what the post does not deny";
    feed_stems_fini(&said);
    feed_stems_fini(&there);
    return why;
}

/* Of a's words, how many are in b, and how many of those in the same order. */
static void compare(const struct feed_stems *a, const struct feed_stems *b, size_t *common,
                    size_t *in_order)
{
    uint16_t row[MAX_WORDS + 1] = {0};
    size_t n = MIN(a->n, (size_t)MAX_WORDS), m = MIN(b->n, (size_t)MAX_WORDS);
    *common = 0;
    for (size_t i = 0; i < n; i++) {
        uint16_t diagonal = 0;
        *common += feed_stems_have(b, a->items[i]);
        for (size_t k = 1; k <= m; k++) {
            uint16_t above = row[k];
            row[k] =
                a->items[i] == b->items[k - 1] ? (uint16_t)(diagonal + 1) : MAX(row[k], row[k - 1]);
            diagonal = above;
        }
    }
    *in_order = row[m];
}

/* Whether those words of a that b has stand side by side in b. */
static bool is_run(const struct feed_stems *a, const struct feed_stems *b)
{
    uint64_t run[MAX_WORDS] = {0};
    size_t n = 0;
    for (size_t i = 0; i < a->n; i++)
        if (feed_stems_have(b, a->items[i])) run[n++] = a->items[i];
    for (size_t i = 0; i + n <= b->n; i++)
        if (memcmp(run, b->items + i, n * sizeof(*run)) == 0) return true;
    return false;
}

/* about: words that need not be in the post */
static const char *words_hold(const struct feed_stems *said, const struct feed_stems *post,
                              const struct feed_stems *about)
{
    size_t common, in_order, others = 0;
    if (said->n == 0 || said->n > MAX_WORDS) return "it says nothing";
    compare(said, post, &common, &in_order);
    for (size_t i = 0; i < said->n; i++)
        others += !feed_stems_have(post, said->items[i]) && !feed_stems_have(about, said->items[i]);
    if (common < MIN((size_t)LEAST, post->n) || others > 0) return "its words are not in a post";
    if ((double)in_order < IN_ORDER * (double)common) return "its words are in another order";
    if (common < FEW && !is_run(said, post)) return "its few words stand apart in the post";
    if (said->negated != post->negated)
        return "it denies what the post says, or the other way round";
    return NULL;
}

void feed_plain_text(struct feed_slice s, struct str *out)
{
    for (size_t i = 0; i < s.n;) {
        size_t k = i;
        while (k < s.n && s.s[k] != ' ')
            k++;
        bool marked = strchr("#$@", s.s[i]) || (k - i > 7 && memcmp(s.s + i, "http", 4) == 0);
        if (!marked) str_append(out, s.s + i, k - i);
        str_append_char(out, ' ');
        i = k + 1;
    }
}

const char *feed_check_support(struct feed_slice sentence, const struct feed_post *p)
{
    struct feed_terms own = {0}, scratch = {0};
    struct feed_stems said = {0}, post = {0}, about = {0};
    struct str plain = {0}, plain_post = {0}, names = {0};
    const char *why;
    if (sentence.n && sentence.s[sentence.n - 1] == '?') return "it asks";
    feed_plain_text(sentence, &plain);
    feed_plain_text(p->text, &plain_post);
    const struct feed_slice text = {plain.data, plain.len},
                            of_post = {plain_post.data, plain_post.len};
    if (text.n) feed_stems_of(&scratch, text, false, &said);
    feed_stems_of(&scratch, p->text, false, &post);
    str_printf(&names, "%s %.*s", about_posts, (int)p->author.n, p->author.n ? p->author.s : "");
    feed_stems_of(&scratch, (struct feed_slice){names.data, names.len}, false, &about);
    why = words_hold(&said, &post, &about);
    if (!why) why = doubt_holds(&scratch, sentence, p->text);
    if (!why && !addresses_hold(sentence, p->text)) why = "an address of it is not in the post";
    if (!why && !numbers_hold(sentence, p)) why = "a number of it is not in the post";
    if (!why) {
        feed_terms_of_text(&own, p->text.s, p->text.n);
        if (p->author.n) feed_terms_of_text(&own, p->author.s, p->author.n);
        if (!names_hold(sentence, &own)) why = "a name of it is not in the post";
        if (feed_clause_is_in_jest(&own)) why = "its post is marked as a joke, or as no fact";
    }
    if (!why) why = feed_clause_holds(text, &said, of_post, &post);
    str_fini(&plain);
    str_fini(&plain_post);
    str_fini(&names);
    feed_terms_fini(&own);
    feed_terms_fini(&scratch);
    feed_stems_fini(&said);
    feed_stems_fini(&post);
    feed_stems_fini(&about);
    return why;
}

/* ------------------------------------------------------------------ sentences */

struct sentence {
    struct str text; /* without citations */
    size_t cited[FEED_ASK_MOST];
    size_t n_cited;
    bool wrong; /* it cites a post that is not there */
};

/* "[1]", "[1, 2]", "[post 1]" at s: its bytes, and the numbers into x; 0: none is there. */
static size_t read_citation(struct feed_slice s, size_t n_sources, struct sentence *x)
{
    size_t i = 1, numbers = 0;
    if (s.n < 3 || s.s[0] != '[') return 0;
    while (i < s.n && s.s[i] != ']' && i < 40) {
        if (!is_digit(s.s[i])) {
            if (!strchr("post ,;#PS", s.s[i])) return 0;
            i++;
            continue;
        }
        size_t v = 0;
        for (; i < s.n && is_digit(s.s[i]); i++)
            v = MIN(v * 10 + (size_t)(s.s[i] - '0'), (size_t)1000000);
        numbers++;
        if (v == 0 || v > n_sources)
            x->wrong = true;
        else if (x->n_cited < ARRAY_LEN(x->cited))
            x->cited[x->n_cited++] = v - 1;
    }
    return numbers && i < s.n && s.s[i] == ']' ? i + 1 : 0;
}

bool feed_sentence_ends(struct feed_slice s, size_t i)
{
    if (s.s[i] == '\n') return true;
    if (!strchr(".!?", s.s[i])) return false;
    size_t k = i + 1;
    while (k < s.n && strchr(".!?\"')", s.s[k]))
        k++;
    if (k == s.n || s.s[k] == '\n') return true;
    if (s.s[k] != ' ') return false;
    while (k < s.n && s.s[k] == ' ')
        k++;
    return k == s.n || !(s.s[k] >= 'a' && s.s[k] <= 'z');
}

/* The next sentence from *at on, with the citations behind it; false: none is left. */
static bool next_sentence(struct feed_slice s, size_t *at, size_t n_sources, struct sentence *x)
{
    size_t i = *at, k;
    bool ended = false;
    str_clear(&x->text);
    x->n_cited = 0;
    x->wrong = false;
    while (i < s.n && strchr(" \n\t-*", s.s[i]))
        i++;
    for (k = i; k < s.n && is_digit(s.s[k]);) /* "1. " of a list */
        k++;
    if (k > i && k + 1 < s.n && s.s[k] == '.' && s.s[k + 1] == ' ') i = k + 2;
    for (; i < s.n && (!ended || strchr(" [", s.s[i])); i++) {
        size_t n = read_citation((struct feed_slice){s.s + i, s.n - i}, n_sources, x);
        if (n) {
            while (x->text.len && x->text.data[x->text.len - 1] == ' ')
                x->text.data[--x->text.len] = '\0';
            i += n - 1;
            continue;
        }
        if (ended && s.s[i] == '[') break;
        if (ended) continue;
        ended = feed_sentence_ends(s, i);
        if ((unsigned char)s.s[i] >= ' ' && s.s[i] != 0x7f) str_append_char(&x->text, s.s[i]);
    }
    *at = i;
    while (x->text.len && x->text.data[x->text.len - 1] == ' ')
        x->text.data[--x->text.len] = '\0';
    return x->text.len > 0 || i < s.n;
}

/* Authors who say it: of the sources that bear it. Those who repeat themselves bear nobody out. */
static size_t count_voices(const struct feed_reply *x, const char *text, size_t source)
{
    const struct feed_slice sentence = {(char *)(uintptr_t)text, strlen(text)};
    struct feed_keys seen = {0};
    size_t n = 0;
    for (size_t i = 0; i < x->n_sources; i++) {
        const struct feed_post *p = &x->sources[i].post;
        if (i != source && (x->sources[i].label || feed_check_support(sentence, p))) continue;
        int64_t *at = feed_keys_at(&seen, feed_author_key(p), true);
        n += *at == 0;
        *at = 1;
    }
    feed_keys_fini(&seen);
    return n;
}

static void keep(struct feed_reply *x, const char *text, size_t source, struct arena *a)
{
    struct feed_sentence *s = &x->sentences[x->n_sentences++];
    *s = (struct feed_sentence){
        .text = arena_strdup(a, text), .source = source, .voices = count_voices(x, text, source)};
    x->sources[source].cited = true;
    x->n_kept++;
}

/* The source that bears the sentence, those that it cites first; -1: none, and why. */
static int64_t supporter(const struct feed_reply *x, const struct sentence *s, const char **why)
{
    struct feed_slice text = {s->text.data, s->text.len};
    *why = NULL;
    for (size_t i = 0; i < s->n_cited; i++) {
        const char *reason = feed_check_support(text, &x->sources[s->cited[i]].post);
        if (!reason) return (int64_t)s->cited[i];
        if (!*why) *why = reason;
    }
    for (size_t i = 0; i < x->n_sources; i++) {
        const char *reason = feed_check_support(text, &x->sources[i].post);
        if (!reason) return (int64_t)i;
        if (!*why || strcmp(*why, "its words are not in a post") == 0) *why = reason;
    }
    return -1;
}

static bool is_said_already(const struct feed_reply *x, const char *text)
{
    for (size_t i = 0; i < x->n_sentences; i++)
        if (!x->sentences[i].dropped && strcmp(x->sentences[i].text, text) == 0) return true;
    return false;
}

void feed_check_text(struct feed_reply *x, const char *text, struct arena *a)
{
    const struct feed_slice s = {(char *)(uintptr_t)text, strlen(text)};
    struct sentence next = {0};
    const size_t most = 64;
    x->sentences = arena_alloc(a, most * sizeof(*x->sentences));
    x->n_sentences = x->n_kept = 0;
    for (size_t at = 0; x->n_sentences < most && x->n_kept < MAX_KEPT &&
                        next_sentence(s, &at, x->n_sources, &next);) {
        const char *why = NULL;
        if (next.text.len == 0) continue;
        if (is_said_already(x, next.text.data)) continue;
        int64_t source = feed_gives_orders((struct feed_slice){next.text.data, next.text.len})
                             ? -1
                             : supporter(x, &next, &why);
        if (source >= 0) {
            keep(x, next.text.data, (size_t)source, a);
            continue;
        }
        if (!why) why = "it gives orders to machines";
        x->sentences[x->n_sentences++] =
            (struct feed_sentence){.text = arena_strdup(a, next.text.data), .dropped = why};
    }
    str_fini(&next.text);
}
