/* feed_when.c: the date of a question is that of the posts which may answer it.
 *
 * "Which company did Acme buy in April 2014?" asks for posts of that month, or for some that name it;
 * their words need not have it. A date is a month with a day or a year ("5 April", "April 5th, 2014"), a
 * year behind a preposition ("in 2014"), a month behind one ("in April", of any year), or 2014-04-05.
 * Behind "since" and "after" it is the first that counts, behind "before" and "until" the first that
 * does not. Posts are dated in UTC, so half a day more on both sides counts, too. */
#include "feed/ask/feed_ask_internal.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define HALF_DAY_MS (43200 * 1000LL)

static const char *const months[] = {"january",   "february", "march",    "april",
                                     "may",       "june",     "july",     "august",
                                     "september", "october",  "november", "december"};

static struct feed_slice word_at(const struct feed_terms *t, size_t i)
{
    const struct feed_slice none = {0};
    if (i >= t->n || t->items[i].kind != FEED_WORD) return none;
    return (struct feed_slice){t->text.data + t->items[i].at, t->items[i].n};
}

/* 1 to 12, "apr" too, where that is no other word; 0: none. */
static int month_of(struct feed_slice w)
{
    for (size_t i = 0; i < ARRAY_LEN(months); i++)
        if (feed_is(w, months[i]) || (w.n == 3 && i != 4 && memcmp(w.s, months[i], 3) == 0))
            return (int)i + 1;
    return feed_is(w, "sept") ? 9 : 0;
}

/* The number of a word of at most four digits, with what a day may end with; -1: it is none. */
static int number_of(struct feed_slice w, bool day)
{
    size_t n = 0;
    int v = 0;
    for (; n < w.n && w.s[n] >= '0' && w.s[n] <= '9' && n < 4; n++)
        v = v * 10 + (w.s[n] - '0');
    const struct feed_slice rest = {w.s + n, w.n - n};
    const bool ordinal = day && (feed_is(rest, "st") || feed_is(rest, "nd") ||
                                 feed_is(rest, "rd") || feed_is(rest, "th"));
    return n > 0 && (rest.n == 0 || ordinal) ? v : -1;
}

static int year_of(struct feed_slice w)
{
    const int v = w.n == 4 ? number_of(w, false) : -1;
    return v >= 1900 && v < 2100 ? v : 0;
}

static int day_of(struct feed_slice w)
{
    const int v = w.n <= 4 ? number_of(w, true) : -1;
    return v >= 1 && v <= 31 ? v : 0;
}

static bool is_one_of(struct feed_slice w, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (feed_is(w, words[i])) return true;
    return false;
}

/* How many words from the i-th on are a date; 0: none are. */
static size_t date_at(const struct feed_terms *t, size_t i, struct feed_when *d)
{
    static const char *const before[] = {"in",    "during", "since", "after", "before",
                                         "until", "of",     "from",  "by",    "around"};
    const struct feed_slice a = word_at(t, i), b = word_at(t, i + 1), c = word_at(t, i + 2);
    const bool behind = i > 0 && is_one_of(word_at(t, i - 1), before, ARRAY_LEN(before));
    *d = (struct feed_when){0};
    if (year_of(a) && b.n == 2 && c.n == 2 && number_of(b, false) >= 1 &&
        number_of(b, false) <= 12 && day_of(c)) {
        *d = (struct feed_when){.year = year_of(a), .month = number_of(b, false), .day = day_of(c)};
        return 3;
    }
    if (month_of(a)) {
        d->month = month_of(a);
        if ((d->year = year_of(b))) return 2;
        if ((d->day = day_of(b))) return (d->year = year_of(c)) ? 3 : 2;
        return behind ? 1 : 0;
    }
    if (day_of(a)) {
        const size_t of = feed_is(b, "of");
        d->day = day_of(a);
        d->month = month_of(word_at(t, i + 1 + of));
        if (d->month) return (d->year = year_of(word_at(t, i + 2 + of))) ? 3 + of : 2 + of;
    }
    d->day = 0;
    d->year = behind ? year_of(a) : 0;
    return d->year ? 1 : 0;
}

size_t feed_when_read(const struct feed_terms *t, size_t i, struct feed_when *d)
{
    const size_t n = date_at(t, i, d);
    const struct feed_slice before = i > 0 ? word_at(t, i - 1) : (struct feed_slice){0};
    d->since = n && (feed_is(before, "since") || feed_is(before, "after"));
    d->until = n && (feed_is(before, "before") || feed_is(before, "until"));
    for (size_t k = 0; k < n && d->n_stems < ARRAY_LEN(d->stems); k++) {
        const struct feed_slice w = word_at(t, i + k);
        char stem[256];
        if (w.n && w.n < sizeof(stem) && !feed_is_stop_word(w.s, w.n))
            d->stems[d->n_stems++] = XXH3_64bits(stem, feed_stem(w.s, w.n, stem));
    }
    return n;
}

/* year x 10000 + month x 100 + day of a time, in UTC */
static int day_of_ms(int64_t ms)
{
    char text[32];
    int y = 0, m = 0, d = 0;
    feed_time_text(ms, text);
    if (sscanf(text, "%d-%d-%d", &y, &m, &d) != 3) return 0;
    return y * 10000 + m * 100 + d;
}

static bool is_on(const struct feed_when *d, int day)
{
    const int first = d->year * 10000 + MAX(d->month, 1) * 100 + MAX(d->day, 1);
    if (d->year && d->since) return day >= first;
    if (d->year && d->until) return day < first;
    return (!d->year || day / 10000 == d->year) && (!d->month || day / 100 % 100 == d->month) &&
           (!d->day || day % 100 == d->day);
}

bool feed_when_holds(const struct feed_when *d, const struct feed_post *p,
                     const struct feed_stems *stems)
{
    for (int k = -1; k <= 1; k++)
        if (is_on(d, day_of_ms(p->created_ms + k * HALF_DAY_MS))) return true;
    for (size_t i = 0; i < d->n_stems; i++)
        if (!feed_stems_have(stems, d->stems[i])) return false;
    return d->n_stems > 0;
}

void feed_when_query(const struct feed_when *d, struct str *out)
{
    if (!d->year) return;
    const int first = MAX(d->month, 1), last = d->month ? d->month : 12;
    if (!d->until) str_printf(out, "since:%04d-%02d-01", d->year, first);
    if (!d->until && !d->since) str_append_char(out, ' ');
    if (!d->since) str_printf(out, "until:%04d-%02d-01", d->year + last / 12, last % 12 + 1);
}
