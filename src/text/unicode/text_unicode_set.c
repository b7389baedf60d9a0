/* text_unicode_set.c: sets of characters as ranges in order, and those that have a name.
 *
 * Sets are built while a pattern is read, never while text is matched, so plain merging of sorted
 * ranges is fast enough. Property names are matched as Oniguruma does: without regard to case, and
 * without spaces, '-' and '_'. */
#include "text/unicode/text_unicode_internal.h"

void unicode_set_fini(struct unicode_set *s)
{
    mem_free(s->ranges);
    *s = (struct unicode_set){0};
}

/* Adds a range behind those that are there; one that touches the last widens it. */
static void append(struct unicode_set *s, uint32_t first, uint32_t last)
{
    if (s->count && s->ranges[s->count - 1].last + 1 >= first) {
        struct unicode_range *before = &s->ranges[s->count - 1];
        before->last = MAX(before->last, last);
        return;
    }
    ARRAY_RESERVE(s->ranges, s->cap, s->count + 1);
    s->ranges[s->count++] = (struct unicode_range){first, last};
}

static void union_ranges(struct unicode_set *s, const struct unicode_range *other, size_t n)
{
    struct unicode_set sum = {0};
    for (size_t i = 0, k = 0; i < s->count || k < n;) {
        bool ours = k == n || (i < s->count && s->ranges[i].first <= other[k].first);
        const struct unicode_range *r = ours ? &s->ranges[i++] : &other[k++];
        append(&sum, r->first, r->last);
    }
    unicode_set_fini(s);
    *s = sum;
}

void unicode_set_add(struct unicode_set *s, uint32_t first, uint32_t last)
{
    CHECK(first <= last && last < UNICODE_POINTS);
    struct unicode_range range = {first, last};
    if (!s->count || s->ranges[s->count - 1].first <= first)
        append(s, first, last);
    else
        union_ranges(s, &range, 1);
}

void unicode_set_union(struct unicode_set *s, const struct unicode_set *other)
{
    union_ranges(s, other->ranges, other->count);
}

void unicode_set_complement(struct unicode_set *s)
{
    struct unicode_set rest = {0};
    uint32_t next = 0;
    for (size_t i = 0; i < s->count; i++) {
        if (s->ranges[i].first > next) append(&rest, next, s->ranges[i].first - 1);
        next = s->ranges[i].last + 1;
    }
    if (next < UNICODE_POINTS) append(&rest, next, UNICODE_POINTS - 1);
    unicode_set_fini(s);
    *s = rest;
}

void unicode_set_intersect(struct unicode_set *s, const struct unicode_set *other)
{
    struct unicode_set both = {0};
    for (size_t i = 0, k = 0; i < s->count && k < other->count;) {
        const struct unicode_range *a = &s->ranges[i], *b = &other->ranges[k];
        uint32_t first = MAX(a->first, b->first), last = MIN(a->last, b->last);
        if (first <= last) append(&both, first, last);
        if (a->last < b->last)
            i++;
        else
            k++;
    }
    unicode_set_fini(s);
    *s = both;
}

bool unicode_ranges_have(const struct unicode_range *ranges, size_t n, uint32_t cp)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (ranges[middle].last < cp)
            low = middle + 1;
        else
            high = middle;
    }
    return low < n && ranges[low].first <= cp;
}

bool unicode_set_has(const struct unicode_set *s, uint32_t cp)
{
    return unicode_ranges_have(s->ranges, s->count, cp);
}

/* ------------------------------------------------------------------ what has a name */

#define BIT(category) (1u << UNICODE_##category)
#define CASED_LETTERS (BIT(LL) | BIT(LT) | BIT(LU))
#define LETTERS       (CASED_LETTERS | BIT(LM) | BIT(LO))
#define MARKS         (BIT(MC) | BIT(ME) | BIT(MN))
#define NUMBERS       (BIT(ND) | BIT(NL) | BIT(NO))
#define PUNCTUATION   (BIT(PC) | BIT(PD) | BIT(PE) | BIT(PF) | BIT(PI) | BIT(PO) | BIT(PS))
#define SYMBOLS       (BIT(SC) | BIT(SK) | BIT(SM) | BIT(SO))
#define SEPARATORS    (BIT(ZL) | BIT(ZP) | BIT(ZS))
#define OTHERS        (BIT(CC) | BIT(CF) | BIT(CN) | BIT(CO) | BIT(CS))
#define EVERY         (LETTERS | MARKS | NUMBERS | PUNCTUATION | SYMBOLS | SEPARATORS | OTHERS)
#define NAMES(a, b, of) \
    {a, of},            \
    {                   \
        b, of           \
    }

static const struct named_categories {
    const char *name;
    uint32_t categories;
} named_categories[] = {
    NAMES("c", "other", OTHERS),
    NAMES("cc", "control", BIT(CC)),
    NAMES("cf", "format", BIT(CF)),
    NAMES("cn", "unassigned", BIT(CN)),
    NAMES("co", "privateuse", BIT(CO)),
    NAMES("cs", "surrogate", BIT(CS)),
    NAMES("l", "letter", LETTERS),
    NAMES("lc", "casedletter", CASED_LETTERS),
    NAMES("ll", "lowercaseletter", BIT(LL)),
    NAMES("lm", "modifierletter", BIT(LM)),
    NAMES("lo", "otherletter", BIT(LO)),
    NAMES("lt", "titlecaseletter", BIT(LT)),
    NAMES("lu", "uppercaseletter", BIT(LU)),
    NAMES("m", "mark", MARKS),
    NAMES("combiningmark", "m", MARKS),
    NAMES("mc", "spacingmark", BIT(MC)),
    NAMES("me", "enclosingmark", BIT(ME)),
    NAMES("mn", "nonspacingmark", BIT(MN)),
    NAMES("n", "number", NUMBERS),
    NAMES("nd", "decimalnumber", BIT(ND)),
    NAMES("digit", "nd", BIT(ND)),
    NAMES("nl", "letternumber", BIT(NL)),
    NAMES("no", "othernumber", BIT(NO)),
    NAMES("p", "punctuation", PUNCTUATION),
    NAMES("punct", "p", PUNCTUATION),
    NAMES("pc", "connectorpunctuation", BIT(PC)),
    NAMES("pd", "dashpunctuation", BIT(PD)),
    NAMES("pe", "closepunctuation", BIT(PE)),
    NAMES("pf", "finalpunctuation", BIT(PF)),
    NAMES("pi", "initialpunctuation", BIT(PI)),
    NAMES("po", "otherpunctuation", BIT(PO)),
    NAMES("ps", "openpunctuation", BIT(PS)),
    NAMES("s", "symbol", SYMBOLS),
    NAMES("sc", "currencysymbol", BIT(SC)),
    NAMES("sk", "modifiersymbol", BIT(SK)),
    NAMES("sm", "mathsymbol", BIT(SM)),
    NAMES("so", "othersymbol", BIT(SO)),
    NAMES("z", "separator", SEPARATORS),
    NAMES("zl", "lineseparator", BIT(ZL)),
    NAMES("zp", "paragraphseparator", BIT(ZP)),
    NAMES("zs", "spaceseparator", BIT(ZS)),
    NAMES("cntrl", "cc", BIT(CC)),
    NAMES("any", "any", EVERY),
    NAMES("assigned", "assigned", EVERY & ~BIT(CN)),
};

static void add_categories(struct unicode_set *s, uint32_t categories)
{
    struct unicode_set found = {0};
    for (size_t i = 0; i < unicode_categories_count; i++) {
        uint32_t first = unicode_categories[i] >> 8;
        uint32_t next =
            i + 1 < unicode_categories_count ? unicode_categories[i + 1] >> 8 : UNICODE_POINTS;
        if (categories >> (unicode_categories[i] & 0xff) & 1) append(&found, first, next - 1);
    }
    unicode_set_union(s, &found);
    unicode_set_fini(&found);
}

static void add_script(struct unicode_set *s, uint8_t script)
{
    struct unicode_set found = {0};
    for (size_t i = 0; i < unicode_scripts_count; i++) {
        uint32_t first = unicode_scripts[i] >> 8;
        uint32_t next =
            i + 1 < unicode_scripts_count ? unicode_scripts[i + 1] >> 8 : UNICODE_POINTS;
        if ((unicode_scripts[i] & 0xff) == script) append(&found, first, next - 1);
    }
    unicode_set_union(s, &found);
    unicode_set_fini(&found);
}

void unicode_set_add_spaces(struct unicode_set *s)
{
    static const struct unicode_range spaces[] = {
        {0x9, 0xd},       {0x20, 0x20},     {0x85, 0x85},     {0xa0, 0xa0},     {0x1680, 0x1680},
        {0x2000, 0x200a}, {0x2028, 0x2029}, {0x202f, 0x202f}, {0x205f, 0x205f}, {0x3000, 0x3000},
    };
    union_ranges(s, spaces, ARRAY_LEN(spaces));
}

static void add_alphabetic(struct unicode_set *s)
{
    add_categories(s, LETTERS | BIT(NL));
    union_ranges(s, unicode_other_alphabetic, unicode_other_alphabetic_count);
}

static void add_alnum(struct unicode_set *s)
{
    add_alphabetic(s);
    add_categories(s, BIT(ND));
}

static void add_word(struct unicode_set *s)
{
    add_alnum(s);
    add_categories(s, MARKS | BIT(PC));
}

static void add_upper(struct unicode_set *s)
{
    add_categories(s, BIT(LU));
    union_ranges(s, unicode_other_uppercase, unicode_other_uppercase_count);
}

static void add_lower(struct unicode_set *s)
{
    add_categories(s, BIT(LL));
    union_ranges(s, unicode_other_lowercase, unicode_other_lowercase_count);
}

static void add_blank(struct unicode_set *s)
{
    add_categories(s, BIT(ZS));
    unicode_set_add(s, '\t', '\t');
}

/* All that is not white space, control, surrogate or unassigned. */
static void add_graph(struct unicode_set *s)
{
    struct unicode_set without = {0};
    unicode_set_add_spaces(&without);
    add_categories(&without, BIT(CC) | BIT(CS) | BIT(CN));
    unicode_set_complement(&without);
    unicode_set_union(s, &without);
    unicode_set_fini(&without);
}

static void add_print(struct unicode_set *s)
{
    add_graph(s);
    add_categories(s, BIT(ZS));
}

static void add_xdigit(struct unicode_set *s)
{
    unicode_set_add(s, '0', '9');
    unicode_set_add(s, 'A', 'F');
    unicode_set_add(s, 'a', 'f');
}

static void add_ascii(struct unicode_set *s)
{
    unicode_set_add(s, 0, 0x7f);
}

static void add_emoji(struct unicode_set *s)
{
    union_ranges(s, unicode_emoji, unicode_emoji_count);
}

static void add_pictographic(struct unicode_set *s)
{
    union_ranges(s, unicode_extended_pictographic, unicode_extended_pictographic_count);
}

void unicode_set_add_punctuation(struct unicode_set *s)
{
    union_ranges(s, unicode_punctuation_8, unicode_punctuation_8_count);
}

void unicode_set_add_numbers(struct unicode_set *s)
{
    add_categories(s, NUMBERS);
    union_ranges(s, unicode_new_numbers_17, unicode_new_numbers_17_count);
}

static const struct named_property {
    const char *name;
    void (*add)(struct unicode_set *s);
} named_properties[] = {
    NAMES("alphabetic", "alpha", add_alphabetic),
    NAMES("alnum", "alnum", add_alnum),
    NAMES("word", "word", add_word),
    NAMES("uppercase", "upper", add_upper),
    NAMES("lowercase", "lower", add_lower),
    NAMES("whitespace", "space", unicode_set_add_spaces),
    NAMES("wspace", "space", unicode_set_add_spaces),
    NAMES("blank", "blank", add_blank),
    NAMES("graph", "graph", add_graph),
    NAMES("print", "print", add_print),
    NAMES("xdigit", "xdigit", add_xdigit),
    NAMES("ascii", "ascii", add_ascii),
    NAMES("emoji", "emoji", add_emoji),
    NAMES("extendedpictographic", "extpict", add_pictographic),
};

bool unicode_set_add_posix(struct unicode_set *s, const char *name, size_t size)
{
    static const char *const names[] = {"alnum", "alpha", "ascii", "blank", "cntrl",
                                        "digit", "graph", "lower", "print", "punct",
                                        "space", "upper", "word",  "xdigit"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strlen(names[i]) != size || memcmp(names[i], name, size) != 0) continue;
        if (strcmp(names[i], "punct") == 0)
            add_categories(s, PUNCTUATION | SYMBOLS);
        else
            unicode_set_add_property(s, name, size);
        return true;
    }
    return false;
}

bool unicode_set_add_property(struct unicode_set *s, const char *name, size_t size)
{
    char plain[40];
    size_t n = 0;
    for (size_t i = 0; i < size; i++) {
        char c = name[i];
        if (c == ' ' || c == '-' || c == '_') continue;
        if (n + 1 == sizeof(plain)) return false;
        plain[n++] = c >= 'A' && c <= 'Z' ? (char)(c + 0x20) : c;
    }
    plain[n] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(named_properties); i++)
        if (strcmp(named_properties[i].name, plain) == 0) {
            named_properties[i].add(s);
            return true;
        }
    for (size_t i = 0; i < ARRAY_LEN(named_categories); i++)
        if (strcmp(named_categories[i].name, plain) == 0) {
            add_categories(s, named_categories[i].categories);
            return true;
        }
    for (size_t i = 0; i < unicode_script_names_count; i++)
        if (strcmp(unicode_script_names[i].name, plain) == 0) {
            add_script(s, unicode_script_names[i].script);
            return true;
        }
    return false;
}

/* ------------------------------------------------------------------ case folding */

size_t unicode_case_fold(uint32_t cp, uint32_t out[UNICODE_MAX_FOLD])
{
    out[0] = cp;
    for (size_t i = 0; i < unicode_long_fold_count; i++) {
        const struct unicode_long_fold *fold = &unicode_long_fold[i];
        size_t n = 0;
        if (fold->cp != cp) continue;
        while (n < UNICODE_MAX_FOLD && fold->to[n]) {
            out[n] = fold->to[n];
            n++;
        }
        return n;
    }
    const struct unicode_shift *s =
        unicode_shift_find(unicode_fold_shifts, unicode_fold_shifts_count, cp);
    if (s) out[0] = (uint32_t)((int32_t)cp + s->delta);
    return 1;
}
