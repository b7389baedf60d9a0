/* base_print.c: quantities and tables for people to read.
 *
 * Three significant digits are what an eye takes in; an unknown value is N/A, never 0. Tables
 * measure text in terminal cells, not bytes, so that accents and CJK keep the columns straight. */
#include "base/base.h"

#include <math.h>
#include <string.h>
#include <utf8proc.h>

/* Three significant digits without an exponent, for 0.1 <= |v| < 10000. */
static int print_3_digits(char *buf, size_t size, double v)
{
    double a = fabs(v);
    int decimals = a < 0.9995 ? 3 : a < 9.995 ? 2 : a < 99.95 ? 1 : 0;
    return snprintf(buf, size, "%.*f", decimals, v);
}

/* v in steps of `base`; the first unit stands alone and is whole where v is. */
static char *format_scaled(char buf[32], double v, double base, const char *const *units,
                           size_t n_units, const char *suffix)
{
    if (!isfinite(v)) {
        snprintf(buf, 32, "N/A");
        return buf;
    }
    size_t i = 0;
    double scaled = v;
    /* 999.5 would print as 1000: the next unit's turn */
    while (i + 1 < n_units && fabs(scaled) >= (base == 1000.0 ? 999.5 : 1023.5)) {
        scaled /= base;
        i++;
    }
    size_t n;
    if (i == 0 && v == floor(v))
        n = (size_t)snprintf(buf, 32, "%.0f", v);
    else if (fabs(v) < 0.1 || fabs(scaled) >= 1e5)
        n = (size_t)snprintf(buf, 32, "%.2e", scaled);
    else
        n = (size_t)print_3_digits(buf, 32, scaled);
    const char *gap = units[i][0] || suffix[0] ? " " : "";
    snprintf(buf + n, 32 - n, "%s%s%s", gap, units[i], suffix);
    return buf;
}

static const char *const decimal_units[] = {"", "k", "M", "G", "T", "P", "E"};

char *format_bytes(char buf[32], double bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    return format_scaled(buf, bytes, 1024.0, units, ARRAY_LEN(units), "");
}

char *format_count(char buf[32], double count)
{
    static const char *const units[] = {"", "k", "M", "B", "T"};
    return format_scaled(buf, count, 1000.0, units, ARRAY_LEN(units), "");
}

char *format_si(char buf[32], double value, const char *unit)
{
    return format_scaled(buf, value, 1000.0, decimal_units, ARRAY_LEN(decimal_units),
                         unit ? unit : "");
}

char *format_duration(char buf[32], double seconds)
{
    static const char *const small[] = {"ns", "us", "ms", "s"};
    double s = fabs(seconds);
    const char *sign = seconds < 0.0 ? "-" : "";
    if (!isfinite(seconds)) {
        snprintf(buf, 32, "N/A");
    } else if (s == 0.0) {
        snprintf(buf, 32, "0 s");
    } else if (s < 99.95) {
        size_t i = s < 999.5e-9 ? 0 : s < 999.5e-6 ? 1 : s < 999.5e-3 ? 2 : 3;
        double scale[] = {1e9, 1e6, 1e3, 1.0};
        size_t n = (size_t)print_3_digits(buf, 32, seconds * scale[i]);
        snprintf(buf + n, 32 - n, " %s", small[i]);
    } else if (s < 3599.5) {
        long whole = lround(s);
        snprintf(buf, 32, "%s%ld min %02ld s", sign, whole / 60, whole % 60);
    } else if (s < 86400.0 - 30.0) {
        long minutes = lround(s / 60.0);
        snprintf(buf, 32, "%s%ld h %02ld min", sign, minutes / 60, minutes % 60);
    } else if (s < 3.2e11) {
        long hours = lround(s / 3600.0);
        snprintf(buf, 32, "%s%ld d %ld h", sign, hours / 24, hours % 24);
    } else {
        snprintf(buf, 32, "%.2e s", seconds);
    }
    return buf;
}

/* ------------------------------------------------------------------ tables */

#define TABLE_MAX_COLUMNS 32
#define TABLE_GAP         2

struct table {
    struct arena arena;
    size_t n_columns, n_rows, cap;
    bool right[TABLE_MAX_COLUMNS];
    int width[TABLE_MAX_COLUMNS];
    const char ***rows; /* [n_rows][n_columns]; a NULL row is a rule */
};

/* Terminal cells; a byte that is not UTF-8 counts as one. */
static int text_width(const char *text)
{
    const utf8proc_uint8_t *s = (const utf8proc_uint8_t *)text;
    utf8proc_ssize_t left = (utf8proc_ssize_t)strlen(text);
    int width = 0;
    while (left > 0) {
        utf8proc_int32_t c;
        utf8proc_ssize_t n = utf8proc_iterate(s, left, &c);
        width += n > 0 ? utf8proc_charwidth(c) : 1;
        n = MAX(n, 1);
        s += n;
        left -= n;
    }
    return width;
}

static void table_push(struct table *t, const char **cells)
{
    if (t->n_rows == t->cap) {
        t->cap = MAX(t->cap * 2, 16);
        t->rows = mem_realloc(t->rows, t->cap * sizeof(*t->rows));
    }
    t->rows[t->n_rows++] = cells;
}

static const char *table_cell(struct table *t, size_t column, const char *text)
{
    char *copy = arena_strdup(&t->arena, text ? text : "N/A");
    for (char *s = copy; *s; s++) /* a cell is one line */
        if (*s == '\n' || *s == '\t' || *s == '\r') *s = ' ';
    t->width[column] = MAX(t->width[column], text_width(copy));
    return copy;
}

struct table *table_new(const char *const *heads, size_t n_columns, const char *align)
{
    CHECK(n_columns >= 1 && n_columns <= TABLE_MAX_COLUMNS);
    CHECK_MSG(strlen(align) == n_columns, "align '%s' for %zu columns", align, n_columns);
    struct table *t = mem_calloc(1, sizeof(*t));
    arena_init(&t->arena);
    t->n_columns = n_columns;
    for (size_t i = 0; i < n_columns; i++)
        t->right[i] = align[i] == 'r';
    table_cells(t, heads);
    table_rule(t);
    return t;
}

void table_cells(struct table *t, const char *const *cells)
{
    const char **copies = arena_alloc(&t->arena, t->n_columns * sizeof(*copies));
    for (size_t i = 0; i < t->n_columns; i++)
        copies[i] = table_cell(t, i, cells[i]);
    table_push(t, copies);
}

void table_row(struct table *t, ...)
{
    const char *cells[TABLE_MAX_COLUMNS];
    va_list args;
    va_start(args, t);
    for (size_t i = 0; i < t->n_columns; i++)
        cells[i] = va_arg(args, const char *);
    va_end(args);
    table_cells(t, cells);
}

void table_rule(struct table *t)
{
    table_push(t, NULL);
}

static void print_rule(const struct table *t, FILE *out)
{
    int width = TABLE_GAP * ((int)t->n_columns - 1);
    for (size_t i = 0; i < t->n_columns; i++)
        width += t->width[i];
    for (int i = 0; i < width; i++)
        fputs("\u2500", out);
    fputc('\n', out);
}

static void print_row(const struct table *t, const char *const *cells, FILE *out)
{
    for (size_t i = 0; i < t->n_columns; i++) {
        int pad = t->width[i] - text_width(cells[i]);
        bool last = i + 1 == t->n_columns;
        if (t->right[i])
            fprintf(out, "%*s%s", pad, "", cells[i]);
        else
            fprintf(out, "%s%*s", cells[i], last ? 0 : pad, "");
        if (!last) fprintf(out, "%*s", TABLE_GAP, "");
    }
    fputc('\n', out);
}

void table_print(const struct table *t, FILE *out)
{
    for (size_t i = 0; i < t->n_rows; i++) {
        if (t->rows[i])
            print_row(t, t->rows[i], out);
        else
            print_rule(t, out);
    }
}

void table_free(struct table *t)
{
    if (!t) return;
    arena_fini(&t->arena);
    mem_free(t->rows);
    mem_free(t);
}

size_t text_steers(const char *text, size_t n)
{
    const unsigned char *s = (const unsigned char *)text;
    if (s[0] < 0x20 || s[0] == 0x7f) return 1;
    if (n >= 2 && s[0] == 0xc2 && s[1] >= 0x80 && s[1] < 0xa0) return 2;
    if (n < 3 || s[0] != 0xe2) return 0;
    bool turns = (s[1] == 0x80 && s[2] >= 0xaa && s[2] <= 0xae) ||
                 (s[1] == 0x81 && s[2] >= 0xa6 && s[2] <= 0xa9);
    return turns ? 3 : 0;
}

char *arena_plain(struct arena *a, const char *text)
{
    size_t n = strlen(text), out = 0;
    char *plain = arena_alloc(a, n + 1);
    for (size_t i = 0, k; i < n; i += MAX(k, (size_t)1)) {
        k = text_steers(text + i, n - i);
        plain[out++] = k ? '?' : text[i];
    }
    return plain;
}
