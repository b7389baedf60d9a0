/* feed_orders.c: does a text speak to a machine instead of to people?
 *
 *   marks       control tokens and markup, which stand in no text for people
 *   phrases     words in a row by which machines are steered: "ignore previous instructions"; also in
 *               letters that look like these or stand apart ("i.g.n.o.r.e"), and a few of them in other
 *               languages
 *   clauses     where a machine is named anywhere: one that begins with a verb of speaking ("say", "and
 *               now print", "Grok reply"), that says what a machine or "you" must say, or that speaks to
 *               whoever is reading this; behind a clause that only calls a machine ("AI, write ...")
 *               also other verbs. People who write about machines ("AI must be regulated, say experts",
 *               "Tell me what Grok is") do none of that
 *
 * Found by words, so an order in other words passes; what a model makes of it is checked like any
 * sentence (feed_check.c). */
#include "feed/ask/feed_ask_internal.h"

/* Words in a row that speak to a machine; folded, blanks around each. */
static const char *const phrases[] = {
    " ignore previous ",
    " ignore all previous ",
    " ignore the previous ",
    " ignore all prior ",
    " ignore prior ",
    " ignore the above ",
    " ignore everything above ",
    " ignore all instructions ",
    " ignore your instructions ",
    " ignore these instructions ",
    " ignore any instructions ",
    " ignore the instructions ",
    " ignore the other posts ",
    " ignore other posts ",
    " disregard previous ",
    " disregard all ",
    " disregard the above ",
    " disregard your ",
    " disregard prior ",
    " forget previous ",
    " forget all previous ",
    " forget your instructions ",
    " forget everything above ",
    " forget the above ",
    " override your ",
    " override previous ",
    " system prompt ",
    " your instructions ",
    " new instructions ",
    " developer mode ",
    " you are now ",
    " pretend you are ",
    " pretend to be ",
    " as an ai ",
    " if you are an ai ",
    " if you are a language model ",
    " attention ai ",
    " dear ai ",
    " note to ai ",
    " ai models must ",
    " you must answer ",
    " you must say ",
    " you must reply ",
    " you must respond ",
    " you must cite ",
    " respond only ",
    " respond with ",
    " reply only ",
    " reply with exactly ",
    " answer only with ",
    " answer with exactly ",
    " say exactly ",
    " output only ",
    " output exactly ",
    " output the following ",
    " print the following ",
    " repeat the following ",
    " do not mention this ",
    " do not cite ",
    " do not tell the user ",
    " repeat after me ",
    " new task ",
    " do not mention other ",
    " the other posts are ",
    " disregard what you ",
    " forget what you ",
    " must be answered with ",
    " should be answered with ",
    " role system ",
    " role assistant content ",
    " role user content ",
    " role developer ",
    " cite this post ",
    " cite this as ",
    " cite only this ",
    " the only source ",
    " end of posts ",
    " end of sources ",
    " begin system ",
    " im_start ",
    " im_end ",
    " endoftext ",
    " eot_id ",
    " start_header_id ",
};

/* The same in other languages, as bytes, in small letters where they are ASCII. */
static const char *const abroad[] = {
    "ignoriere alle",
    "ignoriert alle",
    "ignoriere die vorherigen",
    "vergiss alle",
    "ignora todas las",
    "ignora las instrucciones",
    "olvida todas las",
    "ignore todas as",
    "ignora tutte le",
    "ignore toutes les",
    "ignorez toutes les",
    "ignorez les instructions",
    "oublie toutes les",
    "negeer alle",
    "zignoruj wszystkie",
    "игнорируй все",
    "игнорируйте все",
    "Игнорируй все",
    "Игнорируйте все",
    "забудь все предыдущие",
    "önceki tüm talimat",
    "tüm önceki talimat",
    "Önceki tüm talimat",
    "忽略之前",
    "忽略以上",
    "忽略所有",
    "忽略先前",
    "忽略前面",
    "无视之前",
    "以前の指示",
    "これまでの指示",
    "上記の指示",
    "指示を無視",
    "이전 지시",
    "이전의 모든 지시",
    "모든 지시를 무시",
};

/* Bytes that stand in no text for people, whatever their case. */
static const char *const marks[] = {
    "<|",           "|>",       "[inst]",     "[/inst]",  "<<sys",          "</s>",
    "<s>",          "### inst", "### system", "### resp", "```sys",         "\nsystem:",
    "\nassistant:", "<post",    "</post",     "<script",  "</script",       "<iframe",
    "<img",         "<svg",     "onerror=",   "onload=",  "javascript:",    "data:text",
    "<system",      "</system", "<source",    "<cite",    "<start_of_turn", "<end_of_turn",
};

static const char *const machines[] = {
    "ai",  "ais",  "bot",    "bots",   "chatbot", "chatbots", "chatgpt", "llm",       "llms",
    "gpt", "grok", "claude", "gemini", "copilot", "model",    "models",  "assistant", "assistants"};
/* What may stand before the verb of an order. */
static const char *const fillers[] = {
    "please", "just",   "now",     "then",      "and",  "so",  "but",   "ok",       "okay",
    "hey",    "hi",     "dear",    "attention", "all",  "any", "every", "you",      "always",
    "only",   "simply", "instead", "first",     "also", "to",  "the",   "language", "large"};
static const char *const speaking[] = {"say",    "reply", "respond", "output", "print",
                                       "repeat", "obey",  "cite",    "tell"};
static const char *const doing[] = {"write",     "answer",    "include",   "summarize",
                                    "summarise", "mention",   "state",     "quote",
                                    "link",      "recommend", "translate", "act"};
static const char *const modals[] = {"must", "should", "shall", "will"};
/* "say hello to Gemini", "tell me": to people. */
static const char *const to_people[] = {"hello", "goodbye", "media", "hi",  "bye", "what",
                                        "me",    "us",      "him",   "her", "them"};
static const char *const readers[] = {"reading",     "reads",       "read",   "processing",
                                      "summarizing", "summarising", "seeing", "parsing",
                                      "scraping",    "indexing"};

#define IS_AMONG(word, words) is_among((word), (words), ARRAY_LEN(words))

static bool is_among(struct feed_slice word, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (feed_is(word, words[i])) return true;
    return false;
}

static bool has_any(const char *words, const char *const *of, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strstr(words, of[i])) return true;
    return false;
}

/* Words of a clause; more than MOST are not looked at. */
enum { MOST = 64 };
struct clause {
    struct feed_slice words[MOST];
    size_t n;
};

static void read_clause(struct feed_terms *t, struct feed_slice text, struct clause *c)
{
    c->n = 0;
    feed_terms_clear(t);
    if (text.n) feed_terms_of_text(t, text.s, text.n);
    for (size_t i = 0; i < t->n && c->n < MOST; i++)
        if (t->items[i].kind == FEED_WORD)
            c->words[c->n++] = (struct feed_slice){t->text.data + t->items[i].at, t->items[i].n};
}

/* "you should print", "ai must only say"; "AI must say when it errs" is said about it. */
static bool says_what_must_be_said(const struct clause *c)
{
    bool named = false, spoken_to = false;
    for (size_t i = 0; i + 1 < c->n; i++) {
        size_t verb = i + 1;
        named |= IS_AMONG(c->words[i], machines);
        spoken_to |= feed_is(c->words[i], "you");
        if (!(named || spoken_to) || !IS_AMONG(c->words[i], modals)) continue;
        while (verb + 1 < c->n && IS_AMONG(c->words[verb], fillers))
            verb++;
        if (!spoken_to && verb == i + 1) continue;
        if (IS_AMONG(c->words[verb], speaking) && !feed_is(c->words[verb], "tell") &&
            !feed_is(c->words[verb], "respond"))
            return true;
    }
    return false;
}

/* "AI systems reading this post" */
static bool speaks_to_readers(const struct clause *c)
{
    bool named = false;
    for (size_t i = 0; i + 1 < c->n; i++) {
        named |= IS_AMONG(c->words[i], machines);
        if (named && IS_AMONG(c->words[i], readers) &&
            (feed_is(c->words[i + 1], "this") || feed_is(c->words[i + 1], "these")))
            return true;
    }
    return false;
}

/* called: the clause before did nothing but call a machine; *calls: this one does. */
static bool is_order(const struct clause *c, bool called, bool *calls)
{
    size_t i = 0;
    bool machine = false;
    while (i < c->n && (IS_AMONG(c->words[i], fillers) || IS_AMONG(c->words[i], machines))) {
        machine |= IS_AMONG(c->words[i], machines);
        i++;
    }
    *calls = i == c->n && machine;
    if (says_what_must_be_said(c) || speaks_to_readers(c)) return true;
    if (i == c->n) return false;
    if (i + 1 < c->n && IS_AMONG(c->words[i + 1], to_people)) return false;
    return IS_AMONG(c->words[i], speaking) || (called && IS_AMONG(c->words[i], doing));
}

static bool ends_clause(struct feed_slice s, size_t i)
{
    if (s.s[i] == '-') return i + 1 < s.n && s.s[i + 1] == ' ' && i > 0 && s.s[i - 1] == ' ';
    return s.s[i] && strchr(".,:;!?\n()[]{}\"", s.s[i]);
}

static bool has_order(struct feed_slice text)
{
    struct feed_terms t = {0};
    struct clause c;
    bool found = false, named = false, called = false, calls;
    read_clause(&t, text, &c);
    for (size_t i = 0; i < t.n && !named; i++)
        named =
            IS_AMONG(((struct feed_slice){t.text.data + t.items[i].at, t.items[i].n}), machines);
    for (size_t i = 0, from = 0; named && !found && i <= text.n; i++) {
        if (i < text.n && !ends_clause(text, i)) continue;
        read_clause(&t, (struct feed_slice){text.s + from, i - from}, &c);
        from = i + 1;
        if (c.n == 0) continue;
        found = is_order(&c, called, &calls);
        called = calls;
    }
    feed_terms_fini(&t);
    return found;
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool has_mark(struct feed_slice text)
{
    bool found = false;
    char *low = mem_alloc(text.n + 1); /* the text behind the end of a line */
    low[0] = '\n';
    for (size_t i = 0; i < text.n; i++)
        low[i + 1] = text.s[i] >= 'A' && text.s[i] <= 'Z' ? (char)(text.s[i] | 0x20) : text.s[i];
    for (size_t i = 0; i < ARRAY_LEN(marks) && !found; i++)
        found = memmem(low, text.n + 1, marks[i], strlen(marks[i])) != NULL;
    for (size_t i = 0; i < ARRAY_LEN(abroad) && !found; i++)
        found = memmem(low, text.n + 1, abroad[i], strlen(abroad[i])) != NULL;
    mem_free(low);
    return found;
}

/* Letters that look like Latin ones, and digits within a word, as what they look like. */
static void put_as_it_looks(struct feed_slice text, struct str *out)
{
    static const struct {
        const char *is, *looks;
    } alike[] = {{"а", "a"}, {"е", "e"}, {"о", "o"}, {"р", "p"}, {"с", "c"}, {"у", "y"}, {"х", "x"},
                 {"і", "i"}, {"ѕ", "s"}, {"ј", "j"}, {"А", "A"}, {"Е", "E"}, {"О", "O"}, {"Р", "P"},
                 {"С", "C"}, {"І", "I"}, {"Т", "T"}, {"М", "M"}, {"Н", "H"}, {"В", "B"}, {"К", "K"},
                 {"ο", "o"}, {"α", "a"}, {"ι", "i"}, {"ν", "v"}};
    static const char digits[] = "0o1i3e4a5s7t";
    for (size_t i = 0; i < text.n;) {
        size_t k = 0;
        while (k < ARRAY_LEN(alike) && (text.n - i < 2 || memcmp(text.s + i, alike[k].is, 2) != 0))
            k++;
        if (k < ARRAY_LEN(alike)) {
            str_puts(out, alike[k].looks);
            i += 2;
            continue;
        }
        const char *digit = text.s[i] ? strchr(digits, text.s[i]) : NULL;
        const bool in_word =
            (i > 0 && is_letter(text.s[i - 1])) || (i + 1 < text.n && is_letter(text.s[i + 1]));
        const bool is_digit = digit && (digit - digits) % 2 == 0;
        str_append_char(out, is_digit && in_word ? digit[1] : text.s[i]);
        i++;
    }
}

/* Letters that stand alone with the same mark between them, four and more of them, as a word. */
static void put_joined(struct feed_slice s, struct str *out)
{
    for (size_t i = 0; i < s.n;) {
        size_t k = i, letters = 1;
        const bool begins = is_letter(s.s[i]) && (i == 0 || !is_letter(s.s[i - 1]));
        const char mark = begins && i + 2 < s.n && s.s[i + 1] ? s.s[i + 1] : 'x';
        while (strchr(".-_*~+ /", mark) && k + 2 < s.n && s.s[k + 1] == mark &&
               is_letter(s.s[k + 2]) && (k + 3 == s.n || !is_letter(s.s[k + 3]))) {
            k += 2;
            letters++;
        }
        if (letters < 4) k = i;
        for (; i <= k; i += 2)
            str_append_char(out, s.s[i]);
        i = k + 1;
    }
}

static bool has_phrase(struct feed_slice text)
{
    struct feed_terms t = {0};
    struct str words = {0};
    feed_terms_of_text(&t, text.s, text.n);
    str_append_char(&words, ' ');
    for (size_t i = 0; i < t.n; i++) {
        if (t.items[i].kind != FEED_WORD) continue;
        str_append(&words, feed_term_text(&t, &t.items[i]), t.items[i].n);
        str_append_char(&words, ' ');
    }
    bool found = has_any(words.data, phrases, ARRAY_LEN(phrases));
    feed_terms_fini(&t);
    str_fini(&words);
    return found;
}

bool feed_gives_orders(struct feed_slice text)
{
    struct str looks = {0}, joined = {0};
    if (text.n == 0) return false;
    bool found = has_mark(text) || has_phrase(text) || has_order(text);
    if (!found) {
        put_as_it_looks(text, &looks);
        put_joined((struct feed_slice){looks.data, looks.len}, &joined);
        found = has_phrase((struct feed_slice){looks.data, looks.len}) ||
                has_phrase((struct feed_slice){joined.data, joined.len});
        str_fini(&looks);
        str_fini(&joined);
    }
    return found;
}
