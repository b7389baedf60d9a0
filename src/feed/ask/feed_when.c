/* feed_when.c: the dates of a question are those of the posts which may answer it.
 *
 * "Which company did Acme buy in April 2014?" asks for posts of that month, or for some that name it;
 * their words need not have it. A date is
 *
 *   a day       5 April, April 5th, 2014, 2014-04-05, 20.2.2014, 9/30/2014 (where both could be the month,
 *               either), with a weekday before it or without
 *   a month     April 2014, 2014-04, 04/2014; behind a preposition also alone, then of any year
 *   a year      behind a preposition, or behind "early", "mid" and "late", each for a third of it; a
 *               decade: the 2010s
 *   a part      the first half of 2015, Q3 2014, third quarter of 2014, summer of 2014 (of the north)
 *
 * Behind "since" and "from" it is the first that counts, behind "after" the last that does not, behind
 * "until", "by" and "up to" the last that does, behind "before" the first that does not; "between" and
 * "from" with another behind it are both and all between. Of several others each will do. Behind "not" it
 * is what does not count. Posts are dated in UTC; the eight hours after a day, which is still that day in
 * America, count for it, too. */
#include "feed/ask/feed_ask_internal.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define LATER_MS (8 * 3600 * 1000LL)

static const char *const months[] = {"january",   "february", "march",    "april",
                                     "may",       "june",     "july",     "august",
                                     "september", "october",  "november", "december"};
static const char *const weekdays[] = {"monday", "tuesday",  "wednesday", "thursday",
                                       "friday", "saturday", "sunday"};
static const char *const prepositions[] = {
    "in",   "during", "since",      "after",   "before", "until", "of", "from",    "by",  "around",
    "till", "to",     "throughout", "between", "year",   "and",   "or", "through", "for", "the"};

/* ------------------------------------------------------------------ words */

static struct feed_slice word_at(const struct feed_terms *t, size_t i)
{
    const struct feed_slice none = {0};
    if (i >= t->n || t->items[i].kind != FEED_WORD) return none;
    return (struct feed_slice){t->text.data + t->items[i].at, t->items[i].n};
}

/* Where the word stands in a list, from 1; 0: nowhere. Its first three letters are enough where `brief`. */
static int place_of(struct feed_slice w, const char *const *words, size_t n, bool brief)
{
    for (size_t i = 0; i < n && w.n; i++)
        if (feed_is(w, words[i]) || (brief && w.n == 3 && memcmp(w.s, words[i], 3) == 0))
            return (int)i + 1;
    return 0;
}

static int month_of(struct feed_slice w)
{
    return feed_is(w, "sept") ? 9 : place_of(w, months, ARRAY_LEN(months), true);
}

/* The number of a word of one to four digits, with what a day may end with; -1: it is none. */
static int number_of(struct feed_slice w, bool day)
{
    static const char *const endings[] = {"st", "nd", "rd", "th"};
    size_t n = 0;
    int v = 0;
    for (; n < w.n && w.s[n] >= '0' && w.s[n] <= '9' && n < 4; n++)
        v = v * 10 + (w.s[n] - '0');
    const struct feed_slice rest = {w.s + n, w.n - n};
    const bool ends = rest.n == 0 || (day && place_of(rest, endings, ARRAY_LEN(endings), false));
    return n > 0 && ends ? v : -1;
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

/* ------------------------------------------------------------------ spans */

/* year x 10000 + month x 100 + day: days are compared, not counted, so each month may have 31. */
static int pack(int year, int month, int day)
{
    return year * 10000 + month * 100 + day;
}

static void span(struct feed_when *d, int year, int first, int last)
{
    d->from = pack(year, first, 1);
    d->to = last < 12 ? pack(year, last + 1, 1) : pack(year + 1, 1, 1);
}

static void one_day(struct feed_when *d, int year, int month, int day)
{
    d->month = month;
    d->day = day;
    if (!year) return;
    d->from = pack(year, month, day);
    d->to = d->from + 1; /* no day is between */
}

static void one_month(struct feed_when *d, int year, int month)
{
    d->month = month;
    if (year) span(d, year, month, month);
}

/* ------------------------------------------------------------------ forms */

/* Three numbers: 2014-04-05, 20.02.2014, 9/30/2014. */
static size_t of_numbers(const struct feed_slice w[3], struct feed_when *d)
{
    int v[3];
    for (int i = 0; i < 3; i++)
        v[i] = w[i].n <= 4 ? number_of(w[i], false) : -1;
    if (year_of(w[0]) && w[1].n == 2 && v[1] >= 1 && v[1] <= 12) {
        const bool day = w[2].n == 2 && v[2] >= 1 && v[2] <= 31;
        if (day)
            one_day(d, v[0], v[1], v[2]);
        else
            one_month(d, v[0], v[1]);
        return day ? 3 : 2;
    }
    if (w[0].n == 2 && v[0] >= 1 && v[0] <= 12 && year_of(w[1])) {
        one_month(d, v[1], v[0]);
        return 2;
    }
    if (!year_of(w[2]) || v[0] < 1 || v[1] < 1 || MAX(v[0], v[1]) > 31 || MIN(v[0], v[1]) > 12 ||
        w[0].n > 2 || w[1].n > 2)
        return 0;
    one_day(d, v[2], v[1] <= 12 ? v[1] : v[0], v[1] <= 12 ? v[0] : v[1]);
    if (MAX(v[0], v[1]) <= 12 && v[0] != v[1]) d->other = pack(v[2], v[0], v[1]);
    return 3;
}

/* "first half of 2015", "Q3 2014", "third quarter of 2014", "summer of 2014", "early 2015", "2010s" */
static size_t of_parts(const struct feed_terms *t, size_t i, struct feed_when *d)
{
    static const char *const ordinals[] = {"first", "second", "third", "fourth"},
                             *const quarters[] = {"q1", "q2", "q3", "q4"},
                             *const seasons[] = {"winter", "spring", "summer", "autumn", "fall"},
                             *const thirds[] = {"early", "mid", "late"};
    const struct feed_slice a = word_at(t, i), b = word_at(t, i + 1);
    int first = 0, last = 0;
    size_t n = 1;
    if (a.n == 5 && a.s[4] == 's' && year_of((struct feed_slice){a.s, 4}) && a.s[3] == '0') {
        d->from = pack(year_of((struct feed_slice){a.s, 4}), 1, 1);
        d->to = d->from + 100000;
        return 1;
    }
    const int ordinal = place_of(a, ordinals, ARRAY_LEN(ordinals), false),
              quarter = place_of(a, quarters, ARRAY_LEN(quarters), false),
              season = place_of(a, seasons, ARRAY_LEN(seasons), false),
              third = place_of(a, thirds, ARRAY_LEN(thirds), false);
    if (ordinal && feed_is(b, "quarter"))
        first = 3 * ordinal - 2, last = 3 * ordinal, n = 2;
    else if (ordinal && ordinal < 3 && feed_is(b, "half"))
        first = 6 * ordinal - 5, last = 6 * ordinal, n = 2;
    else if (quarter)
        first = 3 * quarter - 2, last = 3 * quarter;
    else if (season > 1)
        first = 3 * MIN(season, 4) - 3, last = first + 2;
    else if (season)
        first = 1, last = 2;
    else if (third)
        first = 4 * third - 3, last = 4 * third;
    else
        return 0;
    while (place_of(word_at(t, i + n), prepositions, ARRAY_LEN(prepositions), false))
        n++;
    const int year = year_of(word_at(t, i + n));
    if (!year) return 0;
    span(d, year, first, last);
    return n + 1;
}

/* A month, or a day of one, with the year or without. */
static size_t of_month(const struct feed_terms *t, size_t i, bool behind, struct feed_when *d)
{
    size_t n = 0;
    int day = 0, month = month_of(word_at(t, i));
    if (month) {
        n = 1;
        day = day_of(word_at(t, i + 1));
        if (day) n = 2;
    } else if ((day = day_of(word_at(t, i)))) {
        const size_t of = feed_is(word_at(t, i + 1), "of");
        month = month_of(word_at(t, i + 1 + of));
        n = month ? 2 + of : 0;
    }
    if (!n) return 0;
    const size_t of = n == 1 && feed_is(word_at(t, i + n), "of");
    const int year = year_of(word_at(t, i + n + of));
    if (year) n += 1 + of;
    if (n == 1 && !behind) return 0; /* "may", "march" */
    if (day)
        one_day(d, year, month, day);
    else
        one_month(d, year, month);
    return n;
}

/* How many words from the i-th on are a date; 0: none are. */
static size_t date_at(const struct feed_terms *t, size_t i, struct feed_when *d)
{
    const struct feed_slice before = i > 0 ? word_at(t, i - 1) : (struct feed_slice){0};
    const bool behind = place_of(before, prepositions, ARRAY_LEN(prepositions), false) > 0;
    const struct feed_slice w[3] = {word_at(t, i), word_at(t, i + 1), word_at(t, i + 2)};
    size_t n = 0;
    *d = (struct feed_when){0};
    if (place_of(w[0], weekdays, ARRAY_LEN(weekdays), false)) {
        n = date_at(t, i + 1, d);
        return n && d->day ? n + 1 : 0;
    }
    if (!n) n = of_numbers(w, d);
    if (!n) n = of_month(t, i, behind, d);
    if (!n) n = of_parts(t, i, d);
    if (!n && behind && !feed_is(before, "the") && year_of(w[0])) {
        span(d, year_of(w[0]), 1, 12);
        n = 1;
    }
    return n;
}

/* What stands before a date says from when on, and until when. */
static void bound(const struct feed_terms *t, size_t i, struct feed_when *d)
{
    size_t k = i;
    while (k > 0 && (feed_is(word_at(t, k - 1), "the") || feed_is(word_at(t, k - 1), "year")))
        k--;
    const struct feed_slice w = k > 0 ? word_at(t, k - 1) : (struct feed_slice){0},
                            u = k > 1 ? word_at(t, k - 2) : (struct feed_slice){0};
    const int from = d->from, to = d->to;
    if (!from) return;
    if (feed_is(w, "since"))
        d->to = 0;
    else if (feed_is(w, "after"))
        d->from = to, d->to = 0;
    else if (feed_is(w, "before"))
        d->from = 0, d->to = from;
    else if (feed_is(w, "until") || feed_is(w, "till") || feed_is(w, "by") ||
             (feed_is(w, "to") && feed_is(u, "up")))
        d->from = 0;
    d->opens = d->from != 0 && d->to == 0;
    d->closes = d->to != 0 && d->from == 0;
    d->excludes = feed_is(w, "not") || feed_is(u, "not");
}

size_t feed_when_read(const struct feed_terms *t, size_t i, struct feed_when *d)
{
    const size_t n = date_at(t, i, d);
    if (!n) return 0;
    bound(t, i, d);
    for (size_t k = 0; k < n && d->n_stems < ARRAY_LEN(d->stems); k++) {
        const struct feed_slice w = word_at(t, i + k);
        char stem[256];
        if (w.n && w.n < sizeof(stem) && !feed_is_stop_word(w.s, w.n))
            d->stems[d->n_stems++] = XXH3_64bits(stem, feed_stem(w.s, w.n, stem));
    }
    return n;
}

/* The year of a later date is that of one before it that has none: "March and May 2015". */
static void lend_year(struct feed_when *d, const struct feed_when *next)
{
    if (d->from || d->to || !d->month || !next->from) return;
    const int year = next->from / 10000;
    if (d->day)
        one_day(d, year, d->month, d->day);
    else
        one_month(d, year, d->month);
}

void feed_when_join(const struct feed_terms *t, size_t first, size_t second, struct feed_when *a,
                    struct feed_when *b)
{
    const struct feed_slice before = first > 0 ? word_at(t, first - 1) : (struct feed_slice){0},
                            between = second > 0 ? word_at(t, second - 1) : (struct feed_slice){0};
    const bool all =
        (feed_is(before, "between") && feed_is(between, "and")) ||
        (feed_is(before, "from") && (feed_is(between, "to") || feed_is(between, "until") ||
                                     feed_is(between, "till") || feed_is(between, "through")));
    lend_year(a, b);
    if (all && a->from && b->to) {
        b->from = a->from;
        b->closes = false;
        b->n_stems = 0; /* neither name alone says it */
        a->joined = true;
    } else if (a->opens && b->closes) {
        b->from = a->from;
        b->closes = false;
        a->joined = true;
    }
}

/* ------------------------------------------------------------------ posts */

static int day_of_ms(int64_t ms)
{
    char text[32];
    int y = 0, m = 0, d = 0;
    feed_time_text(ms, text);
    return sscanf(text, "%d-%d-%d", &y, &m, &d) == 3 ? pack(y, m, d) : 0;
}

static bool is_on(const struct feed_when *d, int day)
{
    if (d->from || d->to)
        return (day >= d->from && (!d->to || day < d->to)) || (d->other && day == d->other);
    return (!d->month || day / 100 % 100 == d->month) && (!d->day || day % 100 == d->day);
}

bool feed_when_is_of(const struct feed_when *d, const struct feed_post *p)
{
    const bool on = is_on(d, day_of_ms(p->created_ms)) ||
                    (!d->opens && !d->closes && is_on(d, day_of_ms(p->created_ms - LATER_MS)));
    return on != d->excludes;
}

bool feed_when_is_named(const struct feed_when *d, const struct feed_stems *stems)
{
    for (size_t i = 0; i < d->n_stems; i++)
        if (!feed_stems_have(stems, d->stems[i])) return false;
    return d->n_stems > 0 && !d->excludes && !d->opens && !d->closes;
}

void feed_when_query(const struct feed_when *d, struct str *out)
{
    if (d->excludes || d->other || (!d->from && !d->to)) return;
    if (d->from) str_printf(out, " since:%04d-%02d-01", d->from / 10000, d->from / 100 % 100);
    if (!d->to) return;
    const int month = d->to / 100 % 100; /* the month behind the last: a day is within one */
    str_printf(out, " until:%04d-%02d-01", d->to / 10000 + month / 12, month % 12 + 1);
}
