/* feed_time.c: moments as services write them, in milliseconds since 1970, UTC. */
#include "feed/read/feed_read_internal.h"

/* Days since 1970 of a day of the Gregorian calendar (Howard Hinnant, chrono-compatible low-level
 * date algorithms). */
static int64_t days_of(int64_t y, int m, int d)
{
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t yoe = y - era * 400, doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

/* Whether a month of that year has such a day. */
static bool is_day(int y, int m, int d)
{
    if (m < 1 || m > 12 || d < 1) return false;
    int64_t next = m < 12 ? days_of(y, m + 1, 1) : days_of(y + 1, 1, 1);
    return d <= next - days_of(y, m, 1);
}

static bool digits(const char **p, const char *end, int n, int *v)
{
    *v = 0;
    if (end - *p < n) return false;
    for (int i = 0; i < n; i++, (*p)++) {
        if (**p < '0' || **p > '9') return false;
        *v = *v * 10 + (**p - '0');
    }
    return true;
}

static bool word(const char **p, const char *end, const char *allowed)
{
    if (*p >= end || !strchr(allowed, **p) || !**p) return false;
    (*p)++;
    return true;
}

/* "Z", "+02:00", "+0000", or nothing: UTC. */
static bool zone(const char **p, const char *end, int64_t *minutes)
{
    int h, m = 0;
    *minutes = 0;
    if (*p == end || word(p, end, "Zz")) return true;
    bool minus = **p == '-';
    if (!word(p, end, "+-") || !digits(p, end, 2, &h)) return false;
    if (*p < end && **p == ':') (*p)++;
    if (*p < end && !digits(p, end, 2, &m)) return false;
    if (h > 23 || m > 59) return false;
    *minutes = (minus ? -1 : 1) * (h * 60 + m);
    return true;
}

static bool moment(int64_t days, const int hms[3], int64_t ms, int64_t zone_min, int64_t *out)
{
    if (hms[0] > 23 || hms[1] > 59 || hms[2] > 60) return false;
    *out = ((days * 24 + hms[0]) * 60 + hms[1] - zone_min) * 60000 + hms[2] * 1000 + ms;
    return true;
}

static bool clock_time(const char **p, const char *end, int hms[3])
{
    hms[2] = 0;
    if (!digits(p, end, 2, &hms[0]) || !word(p, end, ":") || !digits(p, end, 2, &hms[1]))
        return false;
    return *p >= end || **p != ':' || (word(p, end, ":") && digits(p, end, 2, &hms[2]));
}

/* "2026-07-04T14:38:06.240Z", "2017-08-27 00:05:34", "2026-07-04": RFC 3339 and what is near it. */
static bool rfc3339(struct feed_slice s, int64_t *out)
{
    const char *p = s.s, *end = p + s.n;
    int y, m, d, hms[3] = {0, 0, 0};
    int64_t ms = 0, minutes = 0;
    if (!digits(&p, end, 4, &y) || !word(&p, end, "-") || !digits(&p, end, 2, &m) ||
        !word(&p, end, "-") || !digits(&p, end, 2, &d))
        return false;
    if (!is_day(y, m, d)) return false;
    if (p < end) {
        if (!word(&p, end, "Tt ") || !clock_time(&p, end, hms)) return false;
        if (p < end && *p == '.') {
            int scale = 100;
            for (p++; p < end && *p >= '0' && *p <= '9'; p++, scale /= 10)
                ms += (*p - '0') * scale;
        }
        if (p < end && *p == ' ') p++;
        if (!zone(&p, end, &minutes)) return false;
    }
    return p == end && moment(days_of(y, m, d), hms, ms, minutes, out);
}

/* "Wed Jan 01 03:59:03 +0000 2014": X's v1.1. */
static bool v1_time(struct feed_slice s, int64_t *out)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    if (s.n != 30) return false;
    char name[4] = {s.s[4], s.s[5], s.s[6], '\0'};
    const char *month = strstr(months, name), *p = s.s + 8, *end = s.s + s.n;
    int d, y, hms[3];
    int64_t minutes;
    if (!month || (month - months) % 3 != 0 || !digits(&p, end, 2, &d) || !word(&p, end, " ") ||
        !clock_time(&p, end, hms) || !word(&p, end, " ") || !zone(&p, p + 5, &minutes) ||
        !word(&p, end, " ") || !digits(&p, end, 4, &y))
        return false;
    int m = (int)(month - months) / 3 + 1;
    return is_day(y, m, d) && moment(days_of(y, m, d), hms, 0, minutes, out);
}

/* Seconds, milliseconds or microseconds since 1970, told by their size. */
static bool epoch(struct feed_slice s, int64_t *out)
{
    int64_t v = 0;
    if (s.n < 9 || s.n > 18) return false;
    size_t i = 0;
    for (; i < s.n && s.s[i] >= '0' && s.s[i] <= '9'; i++)
        v = v * 10 + (s.s[i] - '0');
    if (i < s.n && s.s[i] != '.') return false;
    *out = v < 100000000000LL ? v * 1000 : v < 100000000000000LL ? v : v / 1000;
    return v >= 100000000LL;
}

bool feed_time_parse(struct feed_slice s, int64_t *ms)
{
    while (s.n && s.s[s.n - 1] == ' ')
        s.n--;
    return s.n >= 8 && (rfc3339(s, ms) || v1_time(s, ms) || epoch(s, ms));
}

void feed_time_text(int64_t ms, char text[32])
{
    int64_t days = ms / 86400000 - (ms % 86400000 < 0), in_day = ms - days * 86400000;
    int64_t z = days + 719468, era = (z >= 0 ? z : z - 146096) / 146097, doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
    int64_t d = doy - (153 * mp + 2) / 5 + 1, m = mp < 10 ? mp + 3 : mp - 9;
    int64_t y = yoe + era * 400 + (m <= 2);
    snprintf(text, 32, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", (int)(y % 10000), (int)m, (int)d,
             (int)(in_day / 3600000), (int)(in_day / 60000 % 60), (int)(in_day / 1000 % 60),
             (int)(in_day % 1000));
}
