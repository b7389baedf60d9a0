/* feed_market.c: days of trading, and when each begins in New York. */
#include "feed/signals/feed_signals_internal.h"

#include <strings.h>

/* Days since 1970 (Hinnant, chrono-compatible low-level date algorithms), and the weekday, 0: Sunday. */
static int64_t days_from(int64_t y, int64_t m, int64_t d)
{
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400, yoe = y - era * 400;
    int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static int64_t weekday(int64_t days)
{
    return ((days + 4) % 7 + 7) % 7;
}

/* The n-th Sunday of a month, as days since 1970; n 0: the last one of April or October. */
static int64_t sunday(int64_t y, int64_t m, int64_t n)
{
    if (n == 0) {
        int64_t last = days_from(y, m, m == 10 ? 31 : 30);
        return last - weekday(last);
    }
    int64_t first = days_from(y, m, 1);
    return first + (7 - weekday(first)) % 7 + 7 * (n - 1);
}

/* Clocks are an hour ahead from the second Sunday of March to the first of November; before 2007 from
 * the first of April to the last of October (15 U.S.C. 260a). Both changes are at two at night, before
 * any market opens. */
bool feed_new_york_open(const char *date, int64_t *ms)
{
    int y, m, d, used = 0;
    if (sscanf(date, "%4d-%2d-%2d%n", &y, &m, &d, &used) != 3 || used != 10 || date[10])
        return false;
    if (y < 1987 || y > 2100 || m < 1 || m > 12 || d < 1) return false;
    int64_t day = days_from(y, m, d);
    int64_t next = m == 12 ? days_from(y + 1, 1, 1) : days_from(y, m + 1, 1);
    if (day >= next) return false;
    bool modern = y >= 2007;
    bool summer = day >= sunday(y, modern ? 3 : 4, modern ? 2 : 1) &&
                  day < sunday(y, modern ? 11 : 10, modern ? 1 : 0);
    *ms = day * 86400000 + (int64_t)((9 * 60 + 30 + (summer ? 240 : 300)) * 60000);
    return true;
}

static int read_price(const struct csv *t, size_t row, const char *column, double *out,
                      struct error *e)
{
    const char *text = csv_field(t, row, csv_column(t, column)), *unit;
    if (unit_parse(text, UNIT_NONE, out, &unit) == UNIT_OK && *out > 0) return 0;
    error_set(e, "'%s' is no price: '%.40s'", column, text);
    return error_hint(e,
                      "a number above 0; a day without prices is left out where they are empty or "
                      "null");
}

/* Whether a table says that it has no price of that day. */
static bool is_missing(const struct csv *t, size_t row)
{
    static const char *const words[] = {"", "null", "NaN", "N/A", "-"};
    const char *open = csv_field(t, row, csv_column(t, "Open")),
               *close = csv_field(t, row, csv_column(t, "Close"));
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (strcasecmp(open, words[i]) == 0 || strcasecmp(close, words[i]) == 0) return true;
    return false;
}

int feed_market_read(const char *dir, const char *symbol, struct arena *a, struct feed_day **days,
                     size_t *n, struct error *e)
{
    static const char *const columns[] = {"Date", "Open", "Close"};
    struct csv t;
    const char *path = file_join(a, dir, arena_printf(a, "%s.csv", symbol));
    const int loaded = csv_load(path, a, &t, e);
    if (loaded < 0 && e && (!e->hint[0] || !file_exists(path)))
        error_hint(e, "prices of a symbol are read from SYMBOL.csv in the folder of --prices");
    TRY(loaded);
    for (size_t i = 0; i < ARRAY_LEN(columns); i++) {
        if (csv_column(&t, columns[i]) >= 0) continue;
        error_set(e, "'%s' has no column '%s'", path, columns[i]);
        return error_hint(e, "prices of a symbol are a table with Date, Open and Close");
    }
    *days = arena_alloc(a, (t.n_rows + 1) * sizeof(**days));
    *n = 0;
    for (size_t i = 0; i < t.n_rows; i++) {
        struct feed_day *day = &(*days)[*n];
        const char *date = csv_field(&t, i, csv_column(&t, "Date"));
        snprintf(day->date, sizeof(day->date), "%.10s", date);
        if (strlen(date) != 10 || !feed_new_york_open(day->date, &day->cut_ms)) {
            error_set(e, "%s:%d: '%.40s' is no day", path, t.lines[i], date);
            return error_hint(e, "days are written as 2026-07-02");
        }
        if (*n && day->cut_ms <= day[-1].cut_ms) {
            error_set(e, "%s:%d: days are not in their order", path, t.lines[i]);
            return error_hint(e, "the earliest comes first, each once");
        }
        if (is_missing(&t, i)) continue;
        int rc = read_price(&t, i, "Open", &day->open, e);
        if (rc >= 0) rc = read_price(&t, i, "Close", &day->close, e);
        if (rc < 0) return error_context(e, "%s:%d", path, t.lines[i]);
        day->target = day->close / day->open - 1;
        ++*n;
    }
    if (*n < t.n_rows)
        log_warn("%s: %zu of %zu days have no price and are left out", path, t.n_rows - *n,
                 t.n_rows);
    if (*n) return 0;
    error_set(e, "'%s' has no day with prices", path);
    return error_hint(e, "prices of a symbol are a table with Date, Open and Close, a day a row");
}
