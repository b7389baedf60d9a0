/* base_unit.c: numbers with units, as people write them in data sheets and on command lines.
 *
 * Everything is read strictly: what is not understood whole is refused, because "1O0" taken as 1
 * costs a training run.
 *
 * A description mixes GB with GiB, GB/s with Gb/s and MW with kW, and a slip of a prefix or of bits
 * for bytes is the commonest way to get a plan wrong by eight or a thousand. So a number may carry
 * its unit, which is then checked against what the key measures; a bare number is in the first unit
 * of its table. Decimal prefixes are powers of 1000, Ki, Mi, Gi of 1024; of a count, B is 10^9 as
 * G is. */
#include "base/base.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct unit {
    const char *name;
    double factor; /* to the first of its table */
};

static const struct unit none[] = {{"", 1}, {0}};
static const struct unit share[] = {{"", 1}, {"%", 0.01}, {0}};
static const struct unit bytes[] = {
    {"B", 1},      {"kB", 1e3},     {"MB", 1e6},     {"GB", 1e9},     {"TB", 1e12}, {"PB", 1e15},
    {"KiB", 1024}, {"MiB", 0x1p20}, {"GiB", 0x1p30}, {"TiB", 0x1p40}, {0}};
static const struct unit bytes_per_s[] = {{"B/s", 1},        {"MB/s", 1e6},      {"GB/s", 1e9},
                                          {"TB/s", 1e12},    {"GiB/s", 0x1p30},  {"Mb/s", 1e6 / 8},
                                          {"Gb/s", 1e9 / 8}, {"Tb/s", 1e12 / 8}, {0}};
static const struct unit flops[] = {
    {"FLOP/s", 1}, {"GFLOP/s", 1e9}, {"TFLOP/s", 1e12}, {"PFLOP/s", 1e15}, {0}};
static const struct unit watts[] = {{"W", 1}, {"kW", 1e3}, {"MW", 1e6}, {"GW", 1e9}, {0}};
static const struct unit watt_hours[] = {{"Wh", 1}, {"kWh", 1e3}, {"MWh", 1e6}, {"GWh", 1e9}, {0}};
static const struct unit watts_per_s[] = {{"W/s", 1},           {"kW/s", 1e3},        {"MW/s", 1e6},
                                          {"kW/min", 1e3 / 60}, {"MW/min", 1e6 / 60}, {0}};
static const struct unit dollars[] = {{"USD", 1}, {"kUSD", 1e3}, {"MUSD", 1e6}, {0}};
static const struct unit dollars_per_kwh[] = {{"USD/kWh", 1}, {"USD/MWh", 1e-3}, {0}};
static const struct unit dollars_per_w[] = {{"USD/W", 1}, {"USD/kW", 1e-3}, {"MUSD/MW", 1}, {0}};
/* 1 lb = 453.59237 g, so 1 lb/MWh is 0.45359 g/kWh */
static const struct unit grams_per_kwh[] = {
    {"g/kWh", 1}, {"kg/MWh", 1}, {"lb/MWh", 0.45359237}, {0}};
static const struct unit litres_per_kwh[] = {{"L/kWh", 1}, {0}};
static const struct unit tonnes_per_year[] = {
    {"t/year", 1}, {"short-t/year", 0.90718474}, {"kt/year", 1e3}, {0}};
static const struct unit litres_per_day[] = {
    {"L/day", 1}, {"m3/day", 1e3}, {"gal/day", 3.785411784}, {0}};
static const struct unit hertz[] = {{"Hz", 1}, {"kHz", 1e3}, {0}};
static const struct unit days[] = {{"days", 1}, {"years", 365.25}, {0}};
static const struct unit years[] = {{"years", 1}, {"days", 1 / 365.25}, {0}};
static const struct unit celsius[] = {{"C", 1}, {0}};
static const struct unit tokens[] = {{"tokens", 1}, {0}};
static const struct unit seconds[] = {{"s", 1},     {"ms", 1e-3},    {"min", 60}, {"h", 3600},
                                      {"d", 86400}, {"days", 86400}, {0}};
static const struct unit failures[] = {{"per 1000 node-days", 1}, {0}};

static const struct unit *const tables[UNIT_N_KINDS] = {
    [UNIT_NONE] = none,
    [UNIT_SHARE] = share,
    [UNIT_BYTES] = bytes,
    [UNIT_BYTES_PER_S] = bytes_per_s,
    [UNIT_FLOPS] = flops,
    [UNIT_W] = watts,
    [UNIT_WH] = watt_hours,
    [UNIT_W_PER_S] = watts_per_s,
    [UNIT_USD] = dollars,
    [UNIT_USD_PER_KWH] = dollars_per_kwh,
    [UNIT_USD_PER_W] = dollars_per_w,
    [UNIT_G_PER_KWH] = grams_per_kwh,
    [UNIT_L_PER_KWH] = litres_per_kwh,
    [UNIT_T_PER_YEAR] = tonnes_per_year,
    [UNIT_L_PER_DAY] = litres_per_day,
    [UNIT_HZ] = hertz,
    [UNIT_DAYS] = days,
    [UNIT_YEARS] = years,
    [UNIT_CELSIUS] = celsius,
    [UNIT_TOKENS] = tokens,
    [UNIT_FAILURES] = failures,
    [UNIT_SECONDS] = seconds,
};

/* A prefix without a unit, as in "15T tokens" written "15T". Tokens and parameters are counted in
 * billions, B; in every other table B is a byte, or nothing. */
static const struct unit prefixes[] = {{"k", 1e3},     {"M", 1e6},   {"G", 1e9},     {"T", 1e12},
                                       {"P", 1e15},    {"Ki", 1024}, {"Mi", 0x1p20}, {"Gi", 0x1p30},
                                       {"Ti", 0x1p40}, {0}};
static const double billion = 1e9;

char *unit_list(enum unit_kind d, char *buf, size_t size)
{
    size_t used = 0;
    buf[0] = 0;
    for (const struct unit *u = tables[d]; u->name; u++) {
        if (!u->name[0]) continue;
        const char *comma = !used ? "" : u[1].name ? ", " : " or ";
        int n = snprintf(buf + used, size - used, "%s%s", comma, u->name);
        used += MIN((size_t)MAX(n, 0), size - used - 1);
    }
    return buf;
}

/* 0 where the table has no such unit. */
static double factor_of(const struct unit *table, const char *name)
{
    for (const struct unit *u = table; u->name; u++)
        if (strcmp(u->name, name) == 0) return u->factor;
    return 0.0;
}

/* Of what stands behind a count. */
static double count_factor(const char *name)
{
    return strcmp(name, "B") == 0 ? billion : factor_of(prefixes, name);
}

static double factor_in(enum unit_kind d, const char *name)
{
    static const char word[] = " tokens";
    double factor = factor_of(tables[d], name);
    if (factor != 0.0) return factor;
    if (d != UNIT_NONE && d != UNIT_TOKENS) return factor_of(prefixes, name);
    char prefix[8];
    size_t n = strlen(name), tail = strlen(word);
    bool told = d == UNIT_TOKENS && n > tail && strcmp(name + n - tail, word) == 0;
    snprintf(prefix, sizeof(prefix), "%.*s", (int)(told ? n - tail : n), name);
    return count_factor(prefix);
}

enum { NUMBER_SIZE = 80 };

/* Copies digits, dropping single '_' between two of them; the number of digits copied. */
static size_t take_digits(const char **in, char *out, size_t *used)
{
    const char *s = *in;
    size_t digits = 0;
    for (; isdigit((unsigned char)*s) ||
           (*s == '_' && digits && s[-1] != '_' && isdigit((unsigned char)s[1]));
         s++) {
        if (*s == '_') continue;
        if (*used + 4 >= NUMBER_SIZE) return 0; /* longer than any number worth typing */
        out[(*used)++] = *s;
        digits++;
    }
    *in = s;
    return digits;
}

/* Copies [+-]digits[.digits][e[+-]digits] for strtod, which alone would also take hexadecimal, "inf"
 * and "nan". *whole: without point and exponent. Where the number ends, or NULL: there is none. */
static const char *number_split(const char *text, char plain[NUMBER_SIZE], bool *whole)
{
    size_t used = 0;
    const char *s = text;
    if (*s == '+' || *s == '-') plain[used++] = *s++;
    size_t digits = take_digits(&s, plain, &used);
    *whole = *s != '.' && *s != 'e' && *s != 'E';
    if (*s == '.') {
        plain[used++] = *s++;
        digits += take_digits(&s, plain, &used);
    }
    if (!digits) return NULL;
    if (*s == 'e' || *s == 'E') {
        plain[used++] = *s++;
        if (*s == '+' || *s == '-') plain[used++] = *s++;
        if (!take_digits(&s, plain, &used)) return NULL;
    }
    plain[used] = '\0';
    return s;
}

enum unit_result unit_parse(const char *text, enum unit_kind d, double *value, const char **unit)
{
    char plain[NUMBER_SIZE];
    bool whole;
    const char *rest = number_split(text, plain, &whole);
    *unit = rest ? rest + strspn(rest, " ") : text;
    if (!rest) return UNIT_BAD_NUMBER;
    double factor = **unit ? factor_in(d, *unit) : 1.0;
    if (factor == 0.0)
        return isalpha((unsigned char)**unit) || **unit == '%' ? UNIT_BAD_NAME : UNIT_BAD_NUMBER;
    double v = strtod(plain, NULL) * factor;
    if (!isfinite(v)) return UNIT_BAD_NUMBER;
    *value = v;
    return UNIT_OK;
}

int parse_number(const char *text, double *value)
{
    const char *unit;
    if (strchr(text, ' ')) return ERROR_FAILED;
    return unit_parse(text, UNIT_NONE, value, &unit) == UNIT_OK ? 0 : ERROR_FAILED;
}

int parse_int(const char *text, int64_t *value)
{
    char plain[NUMBER_SIZE];
    bool whole;
    const char *rest = number_split(text, plain, &whole);
    double factor = !rest ? 0.0 : *rest ? count_factor(rest) : 1.0;
    if (factor == 0.0) return ERROR_FAILED;
    if (!whole) { /* "1.5k", "2e9": exact in a double as long as it stays below 2^53 */
        double v = strtod(plain, NULL) * factor;
        if (!(fabs(v) <= 0x1p53) || v != floor(v)) return ERROR_FAILED;
        *value = (int64_t)v;
        return 0;
    }
    errno = 0;
    long long v = strtoll(plain, NULL, 10);
    int64_t scaled;
    if (errno == ERANGE || __builtin_mul_overflow((int64_t)v, (int64_t)factor, &scaled))
        return ERROR_FAILED;
    *value = scaled;
    return 0;
}
