/* base_unit.c: numbers with units, as people write them in data sheets.
 *
 * A description mixes GB with GiB, GB/s with Gb/s and MW with kW, and a slip of a prefix or of bits
 * for bytes is the commonest way to get a plan wrong by eight or a thousand. So a number may carry
 * its unit, which is then checked against what the key measures; a bare number is in the first unit
 * of its table. Decimal prefixes are powers of 1000, Ki, Mi, Gi of 1024. */
#include "base/base.h"

#include <ctype.h>
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
};

/* A prefix without a unit, as in "15T tokens" written "15T". */
static const struct unit prefixes[] = {{"k", 1e3},     {"M", 1e6},   {"G", 1e9},     {"T", 1e12},
                                       {"P", 1e15},    {"Ki", 1024}, {"Mi", 0x1p20}, {"Gi", 0x1p30},
                                       {"Ti", 0x1p40}, {0}};

const char *unit_name(enum unit_kind d)
{
    return tables[d][0].name;
}

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

static bool look_up(const struct unit *table, const char *name, double *factor)
{
    for (const struct unit *u = table; u->name; u++) {
        if (strcmp(u->name, name) != 0) continue;
        *factor = u->factor;
        return true;
    }
    return false;
}

/* Reads [+-]digits[.digits][e[+-]digits], with '_' between digits, and says where it ends; strtod
 * alone would also take hexadecimal, "inf" and "nan". */
static const char *read_digits(const char *text, double *value)
{
    char plain[64];
    size_t n = 0, n_digits = 0;
    const char *s = text;
    if (*s == '+' || *s == '-') plain[n++] = *s++;
    for (bool point = false, exponent = false; *s && n + 3 < sizeof(plain); s++) {
        bool sign = (s[0] == 'e' || s[0] == 'E') && (s[1] == '+' || s[1] == '-');
        if (isdigit((unsigned char)*s)) {
            plain[n++] = *s;
            n_digits++;
        } else if (*s == '_' && n_digits > 0 && isdigit((unsigned char)s[1])) {
            continue;
        } else if (*s == '.' && !point && !exponent) {
            plain[n++] = *s;
            point = true;
        } else if ((*s == 'e' || *s == 'E') && !exponent && n_digits > 0 &&
                   isdigit((unsigned char)s[sign ? 2 : 1])) {
            plain[n++] = 'e';
            if (sign) plain[n++] = *++s;
            exponent = true;
        } else {
            break;
        }
    }
    plain[n] = 0;
    *value = n_digits ? strtod(plain, NULL) : NAN;
    return s;
}

enum unit_result unit_parse(const char *text, enum unit_kind d, double *value, const char **unit)
{
    double number, factor = 1;
    const char *rest = read_digits(text, &number);
    while (*rest == ' ')
        rest++;
    *unit = rest;
    if (!isfinite(number)) return UNIT_BAD_NUMBER;
    if (*rest && !look_up(tables[d], rest, &factor) && !look_up(prefixes, rest, &factor))
        return isalpha((unsigned char)*rest) || *rest == '%' ? UNIT_BAD_NAME : UNIT_BAD_NUMBER;
    *value = number * factor;
    return isfinite(*value) ? UNIT_OK : UNIT_BAD_NUMBER;
}
