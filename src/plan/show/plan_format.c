/* plan_format.c: how the answers' quantities are written.
 *
 * Three significant digits: the model is not better than that. Words for money and hours, which
 * people say ("$72.3 million"), prefixes for what engineers measure ("110 MW"). */
#include "plan/show/plan_show_internal.h"

#include <math.h>
#include <string.h>

char *plan_format_whole(char buf[32], double x)
{
    char digits[32];
    if (!isfinite(x) || fabs(x) >= 1e15) return format_count(buf, x);
    int n = snprintf(digits, sizeof digits, "%.0f", fabs(x));
    size_t out = 0;
    if (x < 0) buf[out++] = '-';
    for (int i = 0; i < n; i++) {
        if (i > 0 && (n - i) % 3 == 0) buf[out++] = ',';
        buf[out++] = digits[i];
    }
    buf[out] = 0;
    return buf;
}

/* Three digits in front of a word. */
static char *in_words(char buf[32], double x, const char *before)
{
    static const char *const words[] = {"", " thousand", " million", " billion", " trillion"};
    size_t i = 0;
    double a = fabs(x);
    for (; i + 1 < ARRAY_LEN(words) && a >= 999.5; i++)
        a /= 1000;
    int decimals = a < 9.995 ? 2 : a < 99.95 ? 1 : 0;
    snprintf(buf, 32, "%s%s%.*f%s", x < 0 ? "-" : "", before, decimals, a, words[i]);
    return buf;
}

char *plan_format_usd(char buf[32], double usd)
{
    char digits[32];
    if (!isfinite(usd)) return format_count(buf, usd);
    if (usd > 0 && usd < 0.095) { /* two digits: a run of minutes costs less than a cent */
        snprintf(buf, 32, "$%.*f", MIN(1 - (int)floor(log10(usd)), 6), usd);
        return buf;
    }
    if (fabs(usd) < 999.5 || fabs(usd) >= 999.5e3) return in_words(buf, usd, "$");
    double unit = pow(10.0, floor(log10(fabs(usd))) - 2.0); /* three digits: $1,200, $12,300 */
    plan_format_whole(digits, fabs(round(usd / unit) * unit));
    snprintf(buf, 32, "%s$%.28s", usd < 0 ? "-" : "", digits);
    return buf;
}

char *plan_format_days(char buf[32], double days)
{
    if (days < 1) return format_duration(buf, days * 86400);
    if (days >= 999.5)
        plan_format_whole(buf, days);
    else
        snprintf(buf, 32, "%.*f", days < 9.995 ? 2 : days < 99.95 ? 1 : 0, days);
    strncat(buf, " days", 31 - strlen(buf));
    return buf;
}

char *plan_format_percent(char buf[32], double share)
{
    snprintf(buf, 32, "%.1f %%", 100 * share);
    return buf;
}

char *plan_format_words(char buf[32], double x)
{
    return in_words(buf, x, "");
}

char *plan_format_mwh(char buf[32], double mwh)
{
    return format_si(buf, mwh * 1e6, "Wh");
}

char *plan_format_watts(char buf[32], double w)
{
    return format_si(buf, w, "W");
}

char *plan_format_tonnes(char buf[32], double t)
{
    if (t == 0)
        snprintf(buf, 32, "none");
    else if (t > 0 && t < 0.995e-4)
        snprintf(buf, 32, "%.*f g", t < 0.995e-5 ? 2 : 1, 1e6 * t);
    else if (fabs(t) < 0.9995)
        snprintf(buf, 32, fabs(t) < 0.00995 ? "%.2f kg" : "%.0f kg", 1e3 * t);
    else if (fabs(t) < 99.95)
        snprintf(buf, 32, fabs(t) < 9.995 ? "%.2f t" : "%.1f t", t);
    else
        strncat(plan_format_whole(buf, t), " t", 31 - strlen(buf));
    return buf;
}

char *plan_format_litres(char buf[32], double l)
{
    bool drops = l > 0 && l < 0.0995;
    if (l == 0) {
        snprintf(buf, 32, "none");
        return buf;
    }
    in_words(buf, drops ? 1e3 * l : l, "");
    strncat(buf, drops ? " mL" : " L", 31 - strlen(buf));
    return buf;
}
